/**
 * Seeded pseudo-random numbers (xorshift32, Marsaglia 2003). Not for secrets: the point is that a seed gives the same
 * sequence on every machine, which `Math.random` does not promise.
 */
export interface Prng {
  /** The next 32 bits, as int32. */
  next(): number
  /** Uniform in 0 … bound-1, for bound 1 … 2^16 (the bias of the multiplication is below 2^-16). */
  below(bound: number): number
}

export function createPrng(seed: number): Prng {
  const state = new Int32Array(1)
  // Zero is the generator's fixed point; mixing also parts neighbouring seeds.
  state[0] = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) | 1
  function next(): number {
    let x = state[0]
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (state[0] = x)
  }
  function below(bound: number): number {
    return Math.imul(next() >>> 16, bound) >>> 16
  }
  for (let i = 0; i < 8; i++) next()
  return { next, below }
}
