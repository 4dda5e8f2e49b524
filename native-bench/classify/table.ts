/** The rows about finding rules as text. */
import type { RowResult } from '../result.ts'
import type { Estimate } from '../statistics.ts'
import { figure, grid } from '../table.ts'
import { DPDK_NAME } from './rows.ts'

const dpdkOf = (row: RowResult) => row.others?.[DPDK_NAME]
/** Of nanoseconds. */
const millions = (ns: number | undefined) => ns === undefined ? '-' : figure(1000 / ns)
const spread = (it: Estimate | null | undefined) => it ? `${millions(it.median)} (${millions(it.high)} - ${millions(it.low)})` : '-'
/** How often as fast: the inverse of times. */
const times = (it: Estimate | null | undefined) => it
  ? `${figure(1 / it.median)} (${figure(1 / it.high)} - ${figure(1 / it.low)})` : '-'
const three = (a: number | undefined, b: number | undefined, c: number | undefined, digits: number) =>
  [a, b, c].map(it => it === undefined ? '-' : it.toFixed(digits)).join(' / ')

const COLUMNS: [head: string, cell: (row: RowResult) => string][] = [
  ['M lookups/s, headers in random order', row => row.name], ['rules', row => figure(row.figures.ts['rules'])],
  ['Pinhole', row => spread(row.ts)],
  ['by TypeScript', ({ figures: { ts } }) => millions(ts['typescriptNs'])],
  ['DPDK scalar', row => spread(dpdkOf(row)?.side)], ['C++ tuple merge', row => spread(row.c)],
  ['x DPDK', row => times(dpdkOf(row)?.ratio)], ['x C++', row => times(row.ratio)],
  ['updated', ({ figures: { ts } }) => `${(ts['ofStatic'] * 100).toFixed(1)} %`],
  ['build ms', ({ figures: { ts, c } }) => three(ts['buildMs'], c['dpdkBuildMs'], c['buildMs'], 1)],
  ['bytes/rule', ({ figures: { ts, c } }) => three(ts['bytesPerRule'], c['dpdkBytesPerRule'], c['bytesPerRule'], 0)],
]

export function classifyText(rows: readonly RowResult[]): string[] {
  const measured = rows.filter(({ ts }) => ts !== null)
  const parts: string[] = []
  if (measured.length > 0) {
    parts.push(grid(COLUMNS.map(([head]) => head), measured.map(row => COLUMNS.map(([, cell]) => cell(row)))))
    parts.push('In brackets the interval of the median. Updated: the rate while rules are deleted and inserted, of that without. '
      + 'Build and bytes: Pinhole / DPDK / C++.')
  }
  const notes = rows.flatMap(({ name, ts, note }) => note === null ? [] : ts === null ? `${name}: ${note}` : note)
  return [...parts, ...new Set(notes)]
}
