/**
 * What was given up and is not to be had for a while: a key, an owner, and when the wait is over. All wait equally long, so the
 * order of coming is the order of ends. A fixed number of them; keys are found by hash, and nothing is allocated after creation.
 */
export interface HoldQueue {
  /** Enters a key that is not there. `owner` is not 0. The caller has made room. */
  add(key: number, owner: number, endMs: number): void
  /** Whose key it was, or 0: it does not wait. */
  ownerOf(key: number): number
  /** Takes out a key that waits. */
  remove(key: number): void
  /** Takes out the oldest if its end has come (modulo 2^32), or whenever it comes: its key, or -1. */
  takeDue(nowMs: number): number
  takeOldest(): number
  readonly count: () => number
  readonly bytes: number
}

const KEY = 0, OWNER = 1, END = 2, NEXT = 3, PREV = 4, CHAIN = 5
const WORDS = 8

/** @param capacity at least 1  @param seed of the hash */
export function createHoldQueue(capacity: number, seed: number): HoldQueue {
  const R = new Int32Array((capacity + 1) * WORDS)
  const mask = Math.max(16, 1 << (32 - Math.clz32(capacity))) - 1
  const buckets = new Int32Array(mask + 1)
  let freed = 0, fresh = 1, oldest = 0, newest = 0, count = 0

  function bucketOf(key: number): number {
    const h = Math.imul(key ^ seed, 0x9e3779b1)
    return (h ^ (h >>> 15)) & mask
  }

  function find(key: number): number {
    let at = buckets[bucketOf(key)]
    while (at !== 0 && R[at + KEY] !== key) at = R[at + CHAIN]
    return at
  }

  function add(key: number, owner: number, endMs: number): void {
    const at = freed !== 0 ? freed : fresh++ * WORDS
    if (at === freed) freed = R[at + NEXT]
    const bucket = bucketOf(key)
    R[at + KEY] = key
    R[at + OWNER] = owner
    R[at + END] = endMs
    R[at + NEXT] = 0
    R[at + PREV] = newest
    R[at + CHAIN] = buckets[bucket]
    buckets[bucket] = at
    if (newest !== 0) R[newest + NEXT] = at
    else oldest = at
    newest = at
    count++
  }

  function drop(at: number): void {
    const next = R[at + NEXT], prev = R[at + PREV], bucket = bucketOf(R[at + KEY])
    if (prev !== 0) R[prev + NEXT] = next
    else oldest = next
    if (next !== 0) R[next + PREV] = prev
    else newest = prev
    if (buckets[bucket] === at) buckets[bucket] = R[at + CHAIN]
    else {
      let before = buckets[bucket]
      while (R[before + CHAIN] !== at) before = R[before + CHAIN]
      R[before + CHAIN] = R[at + CHAIN]
    }
    R[at + NEXT] = freed
    freed = at
    count--
  }

  function takeOldest(): number {
    if (oldest === 0) return -1
    const key = R[oldest + KEY]
    drop(oldest)
    return key
  }

  return {
    add, takeOldest,
    ownerOf(key) {
      const at = find(key)
      return at === 0 ? 0 : R[at + OWNER]
    },
    remove(key) { drop(find(key)) },
    takeDue: (nowMs) => oldest !== 0 && ((R[oldest + END] - nowMs) | 0) <= 0 ? takeOldest() : -1,
    count: () => count, bytes: 4 * (R.length + buckets.length),
  }
}
