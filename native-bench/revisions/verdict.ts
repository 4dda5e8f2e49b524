/**
 * What pairs of processes say of two revisions. Each pair is one quotient, head over base, and no distribution is assumed: a
 * verdict is an interval of order statistics. Looking again and again until one likes what one sees would find changes that are
 * none; so the interval is one of 99.5 %, there are few looks, and a change below 2 % is none.
 */
import { estimate } from '../statistics.ts'

export type Verdict = 'regressed' | 'improved' | 'no change' | 'undecided'

export interface Judgement {
  verdict: Verdict
  /** Median of the quotients, and the ends of its interval, less one: 0.05 is five per cent slower. */
  change: number
  low: number
  high: number
  /** The smallest change, as a part, that so many pairs with this spread could have shown. */
  visible: number
  pairs: number
}

export const LEAST_CHANGE = 0.02
export const LEAST_PAIRS = 12
const PAIRS_A_LOOK = 12
const CONFIDENCE = 0.995

/** Pairs after which to look, up to the most. */
export function looks(most: number): number[] {
  const all: number[] = []
  for (let pairs = LEAST_PAIRS; pairs < most; pairs += PAIRS_A_LOOK) all.push(pairs)
  return [...all, Math.max(most, LEAST_PAIRS)]
}

/**
 * @param quotients head over base, lower is better; at least `LEAST_PAIRS`
 * @param effect a change that must not go unseen: if that is not excluded the verdict is `undecided`
 */
export function judgePairs(quotients: readonly number[], effect: number): Judgement {
  if (quotients.length < LEAST_PAIRS) throw new RangeError(`${quotients.length} pairs are too few: it takes ${LEAST_PAIRS}`)
  const { median, low, high } = estimate(quotients, CONFIDENCE)
  const change = median - 1
  const found = {
    change, low: low - 1, high: high - 1, visible: Math.max(LEAST_CHANGE, median - low, high - median), pairs: quotients.length,
  }
  if (low > 1 && change >= LEAST_CHANGE) return { verdict: 'regressed', ...found }
  if (high < 1 && -change >= LEAST_CHANGE) return { verdict: 'improved', ...found }
  return { verdict: found.high < effect && -found.low < effect ? 'no change' : 'undecided', ...found }
}
