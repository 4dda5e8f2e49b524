/** Medians and how far to trust them. Nothing is assumed of the distribution: noise on a shared machine is not normal. */
import { median as medianOf } from 'simple-statistics'

export interface Estimate {
  median: number
  /** Ends of the interval that holds the true median with probability `confidence`. */
  low: number
  high: number
  confidence: number
}

const WANTED = 0.95

export function median(samples: readonly number[]): number {
  return medianOf([...samples])
}

/** Probability that at most k of n fair coins show heads. */
function atMost(k: number, n: number): number {
  let term = 0.5 ** n, sum = 0
  for (let i = 0; i <= k; i++) {
    sum += term
    term *= (n - i) / (i + 1)
  }
  return sum
}

/**
 * The median, between two of the samples: the d-th from below and from above, d as large as `wanted` allows, which is 95 %.
 * Fewer than six samples do not reach that; then it is the least and the greatest one, and `confidence` tells how little that
 * says.
 */
export function estimate(samples: readonly number[], wanted = WANTED): Estimate {
  const n = samples.length
  if (n === 0) throw new RangeError('no samples')
  const sorted = [...samples].sort((a, b) => a - b)
  let d = 1
  while (2 * (d + 1) <= n && 1 - 2 * atMost(d, n) >= wanted) d++
  const confidence = Math.max(0, 1 - 2 * atMost(d - 1, n))
  return { median: median(samples), low: sorted[d - 1], high: sorted[n - d], confidence }
}

/** Quotients of what was measured in the same round. */
export function ratios(over: readonly number[], under: readonly number[]): number[] {
  return over.slice(0, under.length).map((value, round) => value / under[round])
}
