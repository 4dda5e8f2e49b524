/** What several workers tell, as if one did. */
import { counterIndex } from '../../channel/counters.ts'
import { LOG_WORDS, type MappingLog } from '../../channel/mapping-log.ts'
import type { FirewallReport } from '../firewall/report.ts'

/** Records of all workers: those of each in order, which of two workers' came first their times say. */
export function joinedLog(logs: readonly MappingLog[]): MappingLog {
  const words = new Int32Array(LOG_WORDS)
  let current = 0
  return {
    words,
    write() { /* workers do */ },
    peek() {
      for (let n = 0; n < logs.length; n++) {
        const log = logs[(current + n) % logs.length]!, at = log.peek()
        if (at < 0) continue
        current = (current + n) % logs.length
        words.set(log.words.subarray(at, at + LOG_WORDS))
        return 0
      }
      return -1
    },
    done() {
      logs[current]!.done()
      current = (current + 1) % logs.length
    },
    lost: () => logs.reduce((sum, log) => sum + log.lost() | 0, 0),
  }
}

/** Hits of the rules that all workers have. */
export function joinedFirewall(reports: readonly FirewallReport[], counters: Float64Array): FirewallReport | null {
  const [first] = reports
  if (first === undefined) return null
  const sum = (of: (report: FirewallReport) => number) => reports.reduce((all, report) => all + of(report), 0)
  return {
    rules: first.rules.map((rule, n) => ({
      ...rule, packets: sum(({ rules }) => rules[n]?.packets ?? 0), bytes: sum(({ rules }) => rules[n]?.bytes ?? 0),
    })),
    unmatched: { packets: sum(({ unmatched }) => unmatched.packets), bytes: sum(({ unmatched }) => unmatched.bytes) },
    replacements: Math.max(...reports.map(({ replacements }) => replacements)),
    flowsEnded: counters[counterIndex('firewall-flows-ended')]!,
  }
}
