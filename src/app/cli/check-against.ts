/** `pinhole check --against`: what a configuration would change for the flows of a capture, and which of its rules do nothing. */
import type { Prefix } from '../../base/address.ts'
import { compareAgainst, type ChangedFlow, type Comparison, type RuleFinding } from '../firewall/against.ts'
import { defaultConfig, loadConfig } from '../config/load.ts'
import { counted, grouped } from '../figures.ts'
import { Failure, STATUS } from './status.ts'

export interface AgainstFlags { against: string; config?: string; inside: Prefix[]; json?: boolean }

const MOST_LINES = 50

export async function checkAgainst(file: string, { against, config, inside, json }: AgainstFlags): Promise<void> {
  if (against === '-') throw new Failure(STATUS.usage, 'the capture is read twice: name a file')
  const next = loadConfig(file), old = config === undefined ? defaultConfig() : loadConfig(config)
  const found = await compareAgainst({ capture: against, old, next, inside: inside.length > 0 ? inside : null })
  const { fault, ...rest } = found
  process.stdout.write(json === true
    ? JSON.stringify({ version: 1, file, config: config ?? null, capture: against, ...rest, fault }, null, 2) + '\n'
    : text(file, config ?? null, against, found))
  const never = found.findings.some(({ kind }) => kind === 'shadowed' || kind === 'never')
  if (found.changed.flows > 0 || never) process.exitCode = STATUS.found
  if (fault !== null) {
    process.stderr.write(`pinhole: ${against}: byte ${fault.offset}: ${fault.reason}\n`)
    process.exitCode = STATUS.input
  }
}

function text(file: string, old: string | null, capture: string, { packets, flows, changed, findings }: Comparison): string {
  const lines = [
    `${file} in place of ${old ?? 'the default settings'}, on ${counted(packets, 'packet')} of ${capture}:`,
    changed.flows === 0 ? 'no flow would change'
        : `${counted(changed.flows, 'flow')} would change: ${counted(changed.noLongerPass, 'no longer passes', 'no longer pass')}, `
      + `${counted(changed.passNow, 'passes now', 'pass now')}`,
    ...flows.slice(0, MOST_LINES).map((flow) => `  ${flowText(flow)}`),
    ...changed.flows > MOST_LINES ? [`  and ${grouped(changed.flows - Math.min(flows.length, MOST_LINES))} more`] : [],
    ...findings.map((finding) => `${file}:${finding.line}: ${ruleText(finding)}: ${finding.text}`),
  ]
  return lines.join('\n') + '\n'
}

function flowText({ protocol, direction, inside, peer, packets, first, passesNow, reason, rule }: ChangedFlow): string {
  const ends = direction === 'outbound' ? `${inside} > ${peer}` : `${peer} > ${inside}`
  const by = rule === null ? '' : ` by ${ruleText(rule)} in line ${rule.line}`
  const what = passesNow ? `passes now${by} (was ${reason})` : `${reason}${by}`
  return `${protocol} ${ends}: ${what}; ${counted(packets, 'packet')}, the first is ${grouped(first)}`
}

function ruleText({ number, name }: Pick<RuleFinding, 'number' | 'name'>): string {
  return `rule ${number}${name === null ? '' : ` '${name}'`}`
}
