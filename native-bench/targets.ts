/** The figures the project has set itself. */
import { CLASSIFY_TARGETS } from './classify/targets.ts'
import type { RowResult } from './result.ts'

/** `least`: the figure must not be below the limit; else it must not be above. */
interface Goal { what: string; row: string; limit: number; unit: string; least?: boolean }
export interface Target extends Goal { figure: (row: RowResult) => number | null }
/** A figure over many rows, at least its limit: there is none unless all of them are there. */
export interface GroupTarget {
  what: string
  rows: readonly string[]
  limit: number
  unit: string
  figure: (rows: readonly RowResult[]) => number | null
}
export interface TargetResult extends Goal { figure: number | null; passed: boolean }

const ratio = (row: RowResult) => row.ratio?.median ?? null
const value = (row: RowResult) => row.ts?.median ?? null
/** How often as many as the peer in the same time. */
const rate = (row: RowResult) => row.ratio === null ? null : 1 / row.ratio.median
const p99 = (row: RowResult) => row.ts?.p99 && row.c?.p99 ? row.ts.p99 / row.c.p99 : null

export const TARGETS: readonly Target[] = [
  { what: 'forwarding, 16k flows', row: 'forward/flows-16k-64b', limit: 2.2, unit: '× C', figure: ratio },
  { what: 'forwarding, 1M flows, Zipf', row: 'forward/flows-1m-zipf-64b', limit: 2.2, unit: '× C', figure: ratio },
  { what: 'forwarding, 1M flows, uniform', row: 'forward/flows-1m-64b', limit: 2.2, unit: '× C', figure: ratio },
  { what: 'replay, file to file', row: 'replay/file-to-file', limit: 2.5, unit: '× C', figure: ratio },
  { what: 'memory of a flow', row: 'forward/flows-1m-64b', limit: 96, unit: 'bytes', figure: row => row.bytesPerFlow },
  { what: 'a new flow', row: 'open/new-flow', limit: 1000, unit: 'ns', figure: value },
  {
    what: 'cost of the last hour of churn', row: 'churn/hours', limit: 1.1, unit: '× first',
    figure: value,
  },
  { what: 'PER/s, one at a time', row: 'midcom/per-c50-p1', limit: 0.3, unit: '× SET/s', least: true, figure: rate },
  { what: 'PER/s, 16 at a time', row: 'midcom/per-c50-p16', limit: 0.3, unit: '× SET/s', least: true, figure: rate },
  { what: 'p99 of its replies, one at a time', row: 'midcom/per-c50-p1', limit: 2, unit: '× redis', figure: p99 },
  { what: 'p99 of its replies, 16 at a time', row: 'midcom/per-c50-p16', limit: 2, unit: '× redis', figure: p99 },
  { what: 'p99 of replies, 10k transactions/s', row: 'midcom/reply-10k', limit: 2, unit: '× redis', figure: ratio },
  { what: 'forwarding, 10k transactions/s', row: 'midcom/forward-10k', limit: 1.1, unit: '× without', figure: value },
  {
    what: 'packets of other flows lost', row: 'midcom/forward-10k', limit: 0, unit: 'packets',
    figure: row => row.figures.ts['lost'] ?? null,
  },
  {
    what: 'p99 of 998 agents, two others do harm', row: 'midcom/agents-1000', limit: 1.2, unit: '× without', figure: value,
  },
  {
    what: 'p99 of 998 agents, over harm done elsewhere', row: 'midcom/agents-1000', limit: 1.2, unit: '× elsewhere',
    figure: row => row.figures.ts['p99OfElsewhere'] ?? null,
  },
  {
    what: 'memory of the harm', row: 'midcom/agents-1000', limit: 64, unit: 'MiB',
    figure: row => row.figures.ts['grownMiB'] ?? null,
  },
  { what: 'memory of a rule, 100k rules', row: 'midcom/bytes-100k', limit: 400, unit: 'bytes', figure: value },
  { what: 'longest turn, 100k rules expire', row: 'midcom/expiry-100k', limit: 1, unit: 'ms', figure: value },
  { what: 'GETs/s', row: 'snmp/get-w64', limit: 0.8, unit: '× snmpd', least: true, figure: rate },
  { what: 'SETs/s', row: 'snmp/set-w64', limit: 0.8, unit: '× snmpd', least: true, figure: rate },
  { what: 'walk of 10k rows', row: 'snmp/walk-10k', limit: 1.5, unit: '× snmpd', figure: ratio },
  { what: 'bulkwalk of 10k rows', row: 'snmp/bulkwalk-r400-10k', limit: 100, unit: 'ms', figure: value },
  {
    what: 'memory of a rule for packets, 100k', row: 'classify/ipc1_100k', limit: 120, unit: 'bytes',
    figure: row => row.figures.ts['bytesPerRule'] ?? null,
  },
  {
    what: 'time to enter 100k rules', row: 'classify/ipc1_100k', limit: 60, unit: 'ms',
    figure: row => row.figures.ts['buildMs'] ?? null,
  },
]

export function judgeTargets(
  rows: readonly RowResult[], targets: readonly Target[] = TARGETS, groups: readonly GroupTarget[] = CLASSIFY_TARGETS,
): TargetResult[] {
  const named = (name: string) => rows.find(one => one.name === name && one.error === null)
  const judged = (goal: Goal, figure: number | null): TargetResult => {
    const { what, row, limit, unit, least = false } = goal
    return { what, row, limit, unit, least, figure, passed: figure !== null && (least ? figure >= limit : figure <= limit) }
  }
  return [
    ...targets.map(target => {
      const row = named(target.row)
      return judged(target, row === undefined ? null : target.figure(row))
    }),
    ...groups.map(target => {
      const found = target.rows.map(named).filter(row => row !== undefined)
      const figure = found.length < target.rows.length ? null : target.figure(found)
      return judged({ ...target, row: target.rows.join(' '), least: true }, figure)
    }),
  ]
}
