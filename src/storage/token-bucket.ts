/** A token bucket in whole numbers: `perSecond` tokens a second, as many saved up at the most. */
export interface TokenBucket {
  /** Takes a token if there is one. `nowMs` is modulo 2^32 and never goes back. */
  take(nowMs: number): boolean
}

export function createTokenBucket(perSecond: number): TokenBucket {
  const full = perSecond * 1000
  let credit = full
  let filledMs = 0

  function take(nowMs: number): boolean {
    const passedMs = (nowMs - filledMs) >>> 0
    filledMs = nowMs
    // A second fills it; capping first keeps the product small.
    credit = Math.min(full, credit + Math.min(passedMs, 1000) * perSecond)
    if (credit < 1000) return false
    credit -= 1000
    return true
  }

  return { take }
}
