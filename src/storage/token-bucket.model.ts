/** A token bucket in exact fractions: credit is in thousandths of a token, and time never wraps. */
export function createTokenBucketModel(perSecond: number): { take(now: number): boolean } {
  const rate = BigInt(perSecond)
  let credit = rate * 1000n
  let last = 0n
  return {
    take(now) {
      credit += (BigInt(now) - last) * rate
      last = BigInt(now)
      if (credit > rate * 1000n) credit = rate * 1000n
      if (credit < 1000n) return false
      credit -= 1000n
      return true
    },
  }
}
