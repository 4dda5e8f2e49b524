/** The figures the project has set itself. */
import type { RowResult } from './result.ts'

interface Goal { what: string; row: string; limit: number; unit: string }
export interface Target extends Goal { figure: (row: RowResult) => number | null }
export interface TargetResult extends Goal { figure: number | null; passed: boolean }

const ratio = (row: RowResult) => row.ratio?.median ?? null

export const TARGETS: readonly Target[] = [
  { what: 'forwarding, 16k flows', row: 'forward/flows-16k-64b', limit: 2.2, unit: '× C', figure: ratio },
  { what: 'forwarding, 1M flows, Zipf', row: 'forward/flows-1m-zipf-64b', limit: 2.2, unit: '× C', figure: ratio },
  { what: 'forwarding, 1M flows, uniform', row: 'forward/flows-1m-64b', limit: 2.2, unit: '× C', figure: ratio },
  { what: 'replay, file to file', row: 'replay/file-to-file', limit: 2.5, unit: '× C', figure: ratio },
  { what: 'memory of a flow', row: 'forward/flows-1m-64b', limit: 96, unit: 'bytes', figure: row => row.bytesPerFlow },
  { what: 'a new flow', row: 'open/new-flow', limit: 1000, unit: 'ns', figure: row => row.ts?.median ?? null },
  {
    what: 'cost of the last hour of churn', row: 'churn/hours', limit: 1.1, unit: '× first',
    figure: row => row.ts?.median ?? null,
  },
]

export function judgeTargets(rows: readonly RowResult[]): TargetResult[] {
  return TARGETS.map(({ what, row: name, limit, unit, figure }) => {
    const row = rows.find(one => one.name === name && one.error === null)
    const value = row === undefined ? null : figure(row)
    return { what, row: name, limit, unit, figure: value, passed: value !== null && value <= limit }
  })
}
