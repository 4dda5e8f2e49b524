/**
 * Sets of 65,536 ports as bit maps, with a summary bit for each word and parity, so that looking for a free port in a nearly
 * full set reads at most 64 summary words.
 */
export interface PortSets {
  isFree(set: number, port: number): boolean
  take(set: number, port: number): void
  release(set: number, port: number): void
  /** First free port with `port & 1 === parity` in lo … hi, or -1. */
  firstFree(set: number, lo: number, hi: number, parity: number): number
  /**
   * First port in lo … hi from which `count` ports in a row are free, or -1. `parity` 0 or 1: of that port; -1: either.
   * hi + count - 1 is at most 65,535.
   */
  firstFreeRun(set: number, lo: number, hi: number, count: number, parity: number): number
  readonly bytes: () => number
}

const WORDS = 2048
const SUMMARY_WORDS = 64
const EVEN = 0x55555555
const ODD = ~EVEN

export function createPortSets(count: number): PortSets {
  const used = new Int32Array(count * WORDS)
  // Two summaries a set, even then odd: a bit is set when all 16 ports of that parity in the word are used.
  const full = new Int32Array(count * 2 * SUMMARY_WORDS)

  function isFree(set: number, port: number): boolean {
    return (used[set * WORDS + (port >>> 5)] & (1 << (port & 31))) === 0
  }

  function take(set: number, port: number): void {
    const word = port >>> 5
    const bits = (used[set * WORDS + word] |= 1 << (port & 31))
    const mask = (port & 1) === 0 ? EVEN : ODD
    if ((bits & mask) === mask) full[(set * 2 + (port & 1)) * SUMMARY_WORDS + (word >>> 5)] |= 1 << (word & 31)
  }

  function release(set: number, port: number): void {
    const word = port >>> 5
    used[set * WORDS + word] &= ~(1 << (port & 31))
    full[(set * 2 + (port & 1)) * SUMMARY_WORDS + (word >>> 5)] &= ~(1 << (word & 31))
  }

  function firstFree(set: number, lo: number, hi: number, parity: number): number {
    if (lo > hi) return -1
    const mask = parity === 0 ? EVEN : ODD
    const summary = (set * 2 + parity) * SUMMARY_WORDS
    const lastWord = hi >>> 5
    let word = lo >>> 5
    // The first word is cut below lo; after it whole words follow, found by the summary.
    let free = ~used[set * WORDS + word] & mask & (-1 << (lo & 31))
    for (;;) {
      if (free !== 0) {
        const port = (word << 5) + 31 - Math.clz32(free & -free)
        return port <= hi ? port : -1
      }
      if (++word > lastWord) return -1
      let open = ~full[summary + (word >>> 5)] & (-1 << (word & 31))
      while (open === 0) {
        word = ((word >>> 5) + 1) << 5
        if (word > lastWord) return -1
        open = ~full[summary + (word >>> 5)]
      }
      word = (word & ~31) + 31 - Math.clz32(open & -open)
      if (word > lastWord) return -1
      free = ~used[set * WORDS + word] & mask
    }
  }

  /** Lowest bit of `starts` (of word `word`) as a port, if it is not above hi, else -1. */
  function lowest(starts: number, word: number, hi: number): number {
    const port = (word << 5) + 31 - Math.clz32(starts & -starts)
    return port <= hi ? port : -1
  }

  /** Runs of 32 ports at most: those that begin in a word end in the next one at the latest. */
  function firstShortRun(set: number, lo: number, hi: number, count: number, mask: number): number {
    const even = set * 2 * SUMMARY_WORDS, odd = even + SUMMARY_WORDS
    const lastWord = hi >>> 5
    let first = -1 << (lo & 31)
    for (let word = lo >>> 5; word <= lastWord; word++) {
      const shut = full[even + (word >>> 5)] & full[odd + (word >>> 5)]
      if ((shut >>> (word & 31) & 1) !== 0) {
        // In a crowded set most words are full: step over them by the summary, 32 at a time where it is.
        if (shut === -1) word |= 31
        first = -1
        continue
      }
      // Bit b of `starts` stays set while the ports from b on that were looked at so far are free.
      let starts = ~used[set * WORDS + word]
      let beyond = word + 1 < WORDS ? ~used[set * WORDS + word + 1] : 0
      for (let length = 1; length < count && starts !== 0;) {
        const by = Math.min(length, count - length)
        // A shift by 32 would be one by 0: by is at most 16 here.
        starts &= (starts >>> by) | (beyond << (32 - by))
        beyond &= beyond >>> by
        length += by
      }
      starts &= first & mask
      if (starts !== 0) return lowest(starts, word, hi)
      first = -1
    }
    return -1
  }

  /** Longer runs: such a run holds the top port of the word it begins in, so one candidate a word is enough. */
  function firstLongRun(set: number, lo: number, hi: number, count: number, parity: number): number {
    const lastWord = (hi + count - 1) >>> 5
    // Free from here on, as far as we looked.
    let from = lo
    for (let word = lo >>> 5; word <= lastWord; word++) {
      let bits = used[set * WORDS + word]
      if (word === lo >>> 5) bits &= -1 << (lo & 31)
      if (bits !== 0) {
        const start = parity < 0 || (from & 1) === parity ? from : from + 1
        const lowestUsed = (word << 5) + 31 - Math.clz32(bits & -bits)
        if (start <= hi && lowestUsed - start >= count) return start
        from = (word << 5) + 32 - Math.clz32(bits)
      }
      if (from > hi) return -1
    }
    const start = parity < 0 || (from & 1) === parity ? from : from + 1
    return start <= hi ? start : -1
  }

  function firstFreeRun(set: number, lo: number, hi: number, count: number, parity: number): number {
    if (lo > hi) return -1
    if (count > 32) return firstLongRun(set, lo, hi, count, parity)
    if (count === 1 && parity >= 0) return firstFree(set, lo, hi, parity)
    return firstShortRun(set, lo, hi, count, parity < 0 ? -1 : parity === 0 ? EVEN : ODD)
  }

  return { isFree, take, release, firstFree, firstFreeRun, bytes: () => used.byteLength + full.byteLength }
}
