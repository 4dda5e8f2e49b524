/**
 * Two results against each other. A row counts as changed when the confidence intervals of its medians lie apart and
 * the medians differ by 3 % at least. Where there is a C peer the ratio to it is compared, as the speed of a shared
 * machine changes from hour to hour; else nanoseconds are.
 */
import type { BenchResult, RowResult } from './result.ts'
import { SCHEMA } from './result.ts'
import type { Estimate } from './statistics.ts'

export type Verdict = 'regressed' | 'improved' | 'within noise' | 'new' | 'gone' | 'not comparable'

export interface RowComparison {
  name: string
  verdict: Verdict
  /** What was compared. */
  by: 'ratio' | 'value' | null
  old: number | null
  now: number | null
  /** New over old, less one. */
  change: number | null
  /** The least change, as a part, that these samples could have shown. */
  visible: number | null
  why: string | null
}

export const LEAST_EFFECT = 0.03
/** With fewer samples the interval between the least and the greatest of them holds the median less than 95 times in 100. */
export const LEAST_ROUNDS = 6

/** Differences that make two results incomparable as a whole; empty: none. */
export function obstacles(old: BenchResult, now: BenchResult): string[] {
  if (old.schema !== SCHEMA) return [`the schema was ${old.schema}, now it is ${SCHEMA}`]
  const pairs: [what: string, was: unknown, is: unknown][] = [
    ['the cpu', old.machine.cpu, now.machine.cpu], ['the number of cores', old.machine.cores, now.machine.cores],
    ['the memory', old.machine.memoryBytes, now.machine.memoryBytes],
    ['the platform', old.machine.platform, now.machine.platform],
    ['the version of node', old.node, now.node], ['the compiler', old.compiler, now.compiler],
    ['the number of rounds', old.rounds, now.rounds], ['--quick', old.quick, now.quick],
    ['the flags of node', old.flags.join(' '), now.flags.join(' ')],
    ['the default configuration', old.configDigest, now.configDigest],
  ]
  const found = pairs.filter(([, was, is]) => was !== is)
    .map(([what, was, is]) => `${what} was ${String(was)}, now it is ${String(is)}`)
  if (now.rounds < LEAST_ROUNDS) found.push(`${now.rounds} rounds are too few to compare: it takes ${LEAST_ROUNDS} (--rounds)`)
  return found
}

/** Rows that stand in both under one name with different parameters. */
export function changedParameters(old: BenchResult, now: BenchResult): string[] {
  const found: string[] = []
  for (const row of now.rows) {
    const was = old.rows.find(({ name }) => name === row.name)
    if (was === undefined) continue
    for (const key of new Set([...Object.keys(was.parameters), ...Object.keys(row.parameters)])) {
      if (was.parameters[key] === row.parameters[key]) continue
      found.push(`${row.name}: ${key} was ${was.parameters[key]}, now it is ${row.parameters[key]}`)
    }
  }
  return found
}

export function compareResults(old: BenchResult, now: BenchResult): RowComparison[] {
  const rows = now.rows.map(row => compareRow(old.rows.find(({ name }) => name === row.name), row))
  const gone = old.rows.filter(({ name }) => !now.rows.some(row => row.name === name))
  return [...rows, ...gone.map(({ name }) => ({ ...blank(name), verdict: 'gone' as const }))]
}

function blank(name: string): RowComparison {
  return { name, verdict: 'not comparable', by: null, old: null, now: null, change: null, visible: null, why: null }
}

export function compareRow(old: RowResult | undefined, now: RowResult): RowComparison {
  const row = blank(now.name)
  if (old === undefined) return { ...row, verdict: 'new' }
  if (old.inputDigest !== now.inputDigest) return { ...row, why: 'its captures or rules are other ones' }
  if (old.error !== null || now.error !== null) return { ...row, why: now.error ?? `the old row failed: ${old.error}` }
  if ((old.ratio === null) !== (now.ratio === null)) return { ...row, why: 'only one of the two has a C peer' }
  if (old.ratio !== null && now.ratio !== null) return { ...row, by: 'ratio', ...judge(old.ratio, now.ratio) }
  if (old.ts === null || now.ts === null) return { ...row, why: 'there are no samples' }
  return { ...row, by: 'value', ...judge(old.ts, now.ts) }
}

/** Lower is better. */
export function judge(
  old: Estimate, now: Estimate,
): Pick<RowComparison, 'verdict' | 'old' | 'now' | 'change' | 'visible'> {
  const change = now.median / old.median - 1
  // To be seen, a change must carry the nearer ends of the intervals past each other.
  const worse = (old.high - old.median + now.median - now.low) / old.median
  const better = (old.median - old.low + now.high - now.median) / old.median
  const visible = Math.max(LEAST_EFFECT, change < 0 ? better : worse)
  let verdict: Verdict = 'within noise'
  if (now.low > old.high && change >= LEAST_EFFECT) verdict = 'regressed'
  else if (now.high < old.low && -change >= LEAST_EFFECT) verdict = 'improved'
  return { verdict, old: old.median, now: now.median, change, visible }
}
