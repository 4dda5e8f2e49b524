/**
 * A map from two int32 words to a positive int32: open addressing, at most half full, no tombstones. It grows by doubling, on
 * insertion alone, so looking up allocates nothing.
 */
export interface PairMap {
  /** Value of a key, or 0. */
  get(word0: number, word1: number): number
  /** Enters a key that is not there. `value` ≥ 1. */
  add(word0: number, word1: number, value: number): void
  /** Takes out a key that is there. */
  remove(word0: number, word1: number): void
  readonly count: () => number
  readonly bytes: () => number
}

const ENTRY_WORDS = 3
const LEAST_ENTRIES = 16

export function createPairMap(seed: number): PairMap {
  let table = new Int32Array(LEAST_ENTRIES * ENTRY_WORDS)
  let mask = LEAST_ENTRIES - 1
  let count = 0

  function home(word0: number, word1: number): number {
    let h = Math.imul(word0 ^ seed, 0x9e3779b1) ^ Math.imul(word1, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15), 0x27d4eb2f)
    return (h ^ (h >>> 13)) & mask
  }

  /** Offset of a key, or of the free entry where it would go. */
  function find(word0: number, word1: number): number {
    for (let at = home(word0, word1); ; at = (at + 1) & mask) {
      const base = at * ENTRY_WORDS
      if (table[base + 2] === 0 || (table[base] === word0 && table[base + 1] === word1)) return base
    }
  }

  function put(word0: number, word1: number, value: number): void {
    const base = find(word0, word1)
    table[base] = word0
    table[base + 1] = word1
    table[base + 2] = value
  }

  function grow(): void {
    const old = table
    mask = mask * 2 + 1
    table = new Int32Array((mask + 1) * ENTRY_WORDS)
    for (let base = 0; base < old.length; base += ENTRY_WORDS) {
      if (old[base + 2] !== 0) put(old[base], old[base + 1], old[base + 2])
    }
  }

  return {
    get: (word0, word1) => table[find(word0, word1) + 2],
    add(word0, word1, value) {
      if (++count * 2 > mask + 1) grow()
      put(word0, word1, value)
    },
    remove(word0, word1) {
      let at = find(word0, word1) / ENTRY_WORDS
      for (let next = (at + 1) & mask; table[next * ENTRY_WORDS + 2] !== 0; next = (next + 1) & mask) {
        const from = home(table[next * ENTRY_WORDS], table[next * ENTRY_WORDS + 1])
        if (((next - from) & mask) < ((next - at) & mask)) continue
        table.copyWithin(at * ENTRY_WORDS, next * ENTRY_WORDS, (next + 1) * ENTRY_WORDS)
        at = next
      }
      table[at * ENTRY_WORDS + 2] = 0
      count--
    },
    count: () => count,
    bytes: () => table.byteLength,
  }
}
