/** What the firewall rules did: as part of the reports, and as lines for people. */
import type { Engine } from '../../engine/engine.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import { counted, grouped, quantity } from '../figures.ts'
import { printRule } from './ipfilter.ts'

/** Packets and bytes that a rule has decided about: of flows opened or refused, not of all that flows carried. */
export interface RuleHits { number: number; name: string | null; line: number; rule: string; packets: number; bytes: number }

export interface FirewallReport {
  rules: RuleHits[]
  /** What the rules were asked about, and none matched. */
  unmatched: { packets: number; bytes: number }
  replacements: number
  /** Flows that a new set of rules forbade. */
  flowsEnded: number
}

/** null: there were no rules, and none could come. */
export function firewallReport({ firewall }: Engine, counters: Record<string, number>): FirewallReport | null {
  if (firewall.tableBytes === 0) return null
  return {
    rules: hitsOf(firewall.set()?.rules ?? [], firewall),
    unmatched: { packets: firewall.packets[0], bytes: firewall.bytes[0] },
    replacements: counters['firewall-replacements'], flowsEnded: counters['firewall-flows-ended'],
  }
}

export function hitsOf(rules: readonly FirewallRule[], { packets, bytes }: Pick<Engine['firewall'],
  'packets' | 'bytes'>): RuleHits[] {
  return rules.map((rule, i) => ({
    number: i + 1, name: rule.name, line: rule.line, rule: printRule({ ...rule, name: null }),
    packets: packets[i + 1]!, bytes: bytes[i + 1]!,
  }))
}

/** More lines than these nobody reads; the JSON report has them all. */
const MOST_LINES = 20

export function firewallLines(report: FirewallReport | null): string[][] {
  if (report === null) return []
  const { rules, unmatched, replacements, flowsEnded } = report
  const hit = rules.filter(({ packets }) => packets > 0)
  const replaced = replacements === 0 ? '' : `; replaced ${replacements === 1 ? 'once' : `${grouped(replacements)} times`}, `
    + `which ended ${counted(flowsEnded, 'flow')}`
  const text = ({ number, name, line, rule, packets, bytes }: RuleHits) => `${quantity({ packets, bytes })}  `
    + `rule ${number}${line === 0 ? '' : ` (line ${line})`}${name === null ? '' : ` '${name}'`}: ${rule}`
  return [
    ['firewall', `${counted(rules.length, 'rule')}, ${grouped(rules.length - hit.length)} without a packet; `
      + `${counted(unmatched.packets, 'packet')} matched none${replaced}`],
    ...hit.slice(0, MOST_LINES).map((one) => ['', text(one)]),
    ...hit.length > MOST_LINES ? [['', `and ${counted(hit.length - MOST_LINES, 'more rule')} with packets`]] : [],
  ]
}
