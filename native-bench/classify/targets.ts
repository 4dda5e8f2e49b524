/** What the project has set itself about finding rules, over many sets at once. */
import type { RowResult } from '../result.ts'
import type { GroupTarget } from '../targets.ts'
import { classifyRows, DPDK_NAME } from './rows.ts'

type Figure = (row: RowResult) => number | null

const overDpdk: Figure = row => row.others?.[DPDK_NAME] === undefined ? null : 1 / row.others[DPDK_NAME].ratio.median
const overTupleMerge: Figure = row => row.ratio === null ? null : 1 / row.ratio.median
const ofStatic: Figure = row => row.figures.ts['ofStatic'] === undefined ? null : row.figures.ts['ofStatic'] * 100

/** Null unless each row has a figure. */
function over(figure: Figure, combine: (figures: number[]) => number): (rows: readonly RowResult[]) => number | null {
  return rows => {
    const all = rows.map(figure), known = all.filter(it => it !== null)
    return all.length === 0 || known.length < all.length ? null : combine(known)
  }
}

const least = (figures: number[]) => Math.min(...figures)
const geometricMean = (figures: number[]) => Math.exp(figures.reduce((sum, it) => sum + Math.log(it), 0) / figures.length)
const ALL = classifyRows(false).map(({ name }) => name)
const LARGE = ALL.filter(name => name.endsWith('_100k'))

export const CLASSIFY_TARGETS: readonly GroupTarget[] = [
  { what: 'finding rules, 100k, geometric mean', rows: LARGE, limit: 4, unit: '× DPDK', figure: over(overDpdk, geometricMean) },
  { what: 'finding rules, the worst set', rows: ALL, limit: 1, unit: '× DPDK', figure: over(overDpdk, least) },
  { what: 'finding rules, geometric mean', rows: ALL, limit: 6, unit: '× C++', figure: over(overTupleMerge, geometricMean) },
  { what: 'with 50k updates/s, geometric mean', rows: ALL, limit: 95, unit: '% without', figure: over(ofStatic, geometricMean) },
  { what: 'with 50k updates/s, the worst set', rows: ALL, limit: 95, unit: '% without', figure: over(ofStatic, least) },
]
