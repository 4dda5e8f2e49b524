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

  return { isFree, take, release, firstFree }
}
