/** A token bucket in whole numbers: `perSecond` tokens a second, as many saved up at the most. */
export interface TokenBucket {
  /** Takes a token if there is one. `nowMs` is modulo 2^32 and never goes back. */
  take(nowMs: number): boolean
}

/** A token is a thousand of what a bucket counts in, so that a millisecond at one a second is one. */
export const TOKEN = 1000

/** What a bucket that had `credit` has after `passedMs`. */
export function refill(credit: number, passedMs: number, perSecond: number): number {
  // A second fills it; capping first keeps the product small.
  return Math.min(perSecond * TOKEN, credit + Math.min(passedMs, 1000) * perSecond)
}

export function createTokenBucket(perSecond: number): TokenBucket {
  let credit = perSecond * TOKEN
  let filledMs = 0

  function take(nowMs: number): boolean {
    credit = refill(credit, (nowMs - filledMs) >>> 0, perSecond)
    filledMs = nowMs
    if (credit < TOKEN) return false
    credit -= TOKEN
    return true
  }

  return { take }
}
