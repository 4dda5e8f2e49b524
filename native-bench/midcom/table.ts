/** The rows about agents as text: each kind has figures of its own. */
import type { RowResult } from '../result.ts'
import { figure, grid } from '../table.ts'

type Column = [head: string, cell: (row: RowResult) => string]

const finite = (value: number | undefined) => Number.isFinite(value) ? figure(value) : '-'
const own = (name: string) => (row: RowResult) => finite(row.figures.ts[name])
const peer = (name: string) => (row: RowResult) => finite(row.figures.c[name])
const interval = (row: RowResult) => {
  if (row.ratio === null) return '-'
  const { median, low, high } = row.ratio
  // Of times, so that the shorter one is the higher rate.
  return row.unit === 'us/rule' ? `${(1 / median).toFixed(2)} (${(1 / high).toFixed(2)} - ${(1 / low).toFixed(2)})`
    : `${median.toFixed(2)} (${low.toFixed(2)} - ${high.toFixed(2)})`
}
const spread = (row: RowResult) => row.ts === null ? '-' : `${figure(row.ts.low)} - ${figure(row.ts.high)}`

const RATES: Column[] = [
  ['agents ask as fast as they can', row => row.name], ['PER/s', own('perSecond')], ['SET/s', peer('perSecond')],
  ['PER / SET', interval], ['PER p50', own('p50')], ['p99 us', own('p99')], ['p99.9', own('p999')],
  ['SET p50', peer('p50')], ['p99 us', peer('p99')], ['our SET/s', peer('ourPerSecond')], ['our p99', peer('ourP99')],
  ['PLC/s', own('removedPerSecond')], ['both/s', own('transactionsPerSecond')], ['CPU us', own('cpuUs')], ['redis', peer('cpuUs')],
]
const REPLIES: Column[] = [
  ['agents ask at a rate', row => row.name], ['transactions/s', own('transactionsPerSecond')], ['PER p50', own('p50')],
  ['p99 us', own('p99')], ['p99.9', own('p999')], ['SET p50', peer('p50')], ['p99 us', peer('p99')], ['p99.9', peer('p999')],
  ['p99 PER / SET', interval],
]
const LOADED: Column[] = [
  ['engine', row => row.name], ['ns/packet without', own('withoutNs')], ['with agents', own('withNs')],
  ['with / without', row => `${figure(row.ts?.median)} (${spread(row)})`],
  ['of means', ({ figures: { ts } }) => figure(ts['meanWithNs'] / ts['meanWithoutNs'])],
  ['transactions/s', own('transactionsPerSecond')], ['PER p99 us', own('replyP99')],
  ['lost', row => String(row.figures.ts['lost'] ?? '-')], ['packets', row => String(row.packets)],
]
const CROWD: Column[] = [
  ['998 agents and two troublemakers', row => row.name], ['PER p50 without', own('withoutP50')], ['with', own('withP50')],
  ['p99 us without', own('withoutP99')], ['with', own('withP99')], ['elsewhere', own('elsewhereP99')],
  ['p99 with / without', row => `${figure(row.ts?.median)} (${spread(row)})`], ['with / elsewhere', own('p99OfElsewhere')],
  ['of p50', own('p50Rise')], ['p99 by itself', own('p99Spread')], ['MiB more', own('grownMiB')], ['peak MiB', own('peakMiB')],
  ['garbage MB/s', ({ figures: { ts } }) => finite(ts['garbageOctetsPerSecond'] / 1e6)],
  ['closed/s', own('garbageConnectionsPerSecond')],
  ['unread MB/s', ({ figures: { ts } }) => finite(ts['deafOctetsPerSecond'] / 1e6)], ['closed/s', own('deafConnectionsPerSecond')],
]
const BYTES: Column[] = [
  ['memory of rules', row => row.name], ['bytes/rule', row => figure(row.ts?.median)], ['policy', own('policy')],
  ['engine', own('engine')], ['activity', own('activity')], ['ring', own('ring')], ['resident', own('resident')],
]
const EXPIRY: Column[] = [
  ['rules that end in one second', row => row.name], ['longest turn ms', row => figure(row.ts?.median)], ['spread', spread],
  ['p99 ms', own('p99Ms')], ['by the clock ms', own('longestWallMs')],
  ['machine ms', own('machineMs')], ['turns', own('turns')], ['all ms', own('allMs')],
]

const KINDS: [begins: string, columns: Column[]][] = [
  ['midcom/per-', RATES], ['midcom/reply-', REPLIES], ['midcom/forward-', LOADED], ['midcom/agents-', CROWD],
  ['midcom/bytes-', BYTES], ['midcom/expiry-', EXPIRY],
]

export function midcomText(rows: readonly RowResult[]): string[] {
  const parts: string[] = []
  for (const [begins, columns] of KINDS) {
    const some = rows.filter(({ name }) => name.startsWith(begins))
    if (some.length === 0) continue
    parts.push(grid(columns.map(([head]) => head), some.map(row => columns.map(([, cell]) => cell(row)))))
    const notes = new Set(some.flatMap(({ note }) => note ?? []))
    parts.push(...notes)
  }
  return parts
}
