/**
 * Tells management of flows that could not be opened for want of room or by a limit of their host (RFC 6888 REQ-11c): a line of the
 * log for all of some seconds, so that a flood of them makes none.
 */
import { type Counters, DROP_FIRST } from '../../channel/counters.ts'
import { type DropReason, reasonIndex } from '../../channel/reasons.ts'
import { counted } from '../figures.ts'

export const REFUSALS_EVERY_MS = 10_000
const REASONS: readonly DropReason[] = [
  'host-flows', 'host-rate', 'host-ports', 'half-open-source', 'half-open-full', 'flow-table-full', 'no-outside-port',
  'protocol-conflict',
]

export interface Refusals {
  /** Says what was refused since it was called last, if anything was. */
  tell(): void
}

export function createRefusals(counters: Counters, line: (text: string) => void): Refusals {
  const at = REASONS.map((reason) => DROP_FIRST + reasonIndex(reason))
  let before = at.map((index) => counters[index]!)
  return {
    tell() {
      const now = at.map((index) => counters[index]!)
      const risen = REASONS.map((reason, n) => ({ reason, count: now[n]! - before[n]! })).filter(({ count }) => count > 0)
      before = now
      if (risen.length === 0) return
      const all = risen.reduce((sum, { count }) => sum + count, 0)
      // @req RFC6888 REQ-11c partly[a line of the log, no SNMP notification]
      const parts = risen.map(({ reason, count }) => `${reason} ${count}`).join(', ')
      line(`limits: ${counted(all, 'packet was', 'packets were')} refused a flow: ${parts}`)
    },
  }
}
