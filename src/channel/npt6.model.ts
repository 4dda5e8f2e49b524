/**
 * NPTv6 as RFC 6296 tells it, section by section: an address is a list of eight 16-bit words, bits are a text of zeros and ones,
 * and sums are remainders of division by 0xffff, where one's complement lives.
 */
import type { Npt6Pair } from './npt6.ts'

export type Mapped = { is: 'none' | 'unmapped' | 'bad-iid' } | { is: 'done'; words: number[] }

const PREFIX_BITS = 64
const bitsOf = (words: readonly number[]) => words.map((word) => word.toString(2).padStart(16, '0')).join('')
const wordsOf = (bits: string) => (bits.match(/.{16}/g) ?? []).map((word) => parseInt(word, 2))
const sum = (words: readonly number[]) => words.reduce((total, word) => total + word, 0) % 0xffff

/** 3.1: a prefix of `length` bits, filled up with zeros to 64. */
function prefixBits([word0, word1]: readonly [number, number], length: number): string {
  return bitsOf([word0 >>> 16, word0 & 0xffff, word1 >>> 16, word1 & 0xffff]).slice(0, length).padEnd(PREFIX_BITS, '0')
}

export function npt6Model(pairs: readonly Npt6Pair[]) {
  const translators = pairs.map(({ inside, insideBits, outside, outsideBits }) => {
    const length = Math.max(insideBits, outsideBits)
    const internal = prefixBits(inside, insideBits), external = prefixBits(outside, outsideBits)
    const adjustment = (sum(wordsOf(internal)) + 0xffff - sum(wordsOf(external))) % 0xffff
    return { length, written: insideBits, internal, external, adjustment }
  })

  function overwrite(words: readonly number[], length: number, prefix: string, adjustment: number): Mapped {
    const next = wordsOf(prefix.slice(0, length) + bitsOf(words).slice(length))
    let at = 3
    if (length > 48) {
      const iid = words.slice(4)
      if (iid.every((word) => word === 0) || iid.every((word) => word === 0xffff)) return { is: 'bad-iid' }
      at = 4 + iid.findIndex((word) => word !== 0xffff)
    } else if (words[3] === 0xffff) return { is: 'unmapped' }
    next[at] = (words[at]! + adjustment) % 0xffff
    return { is: 'done', words: next }
  }

  return {
    /** 3.2 */
    outward(words: readonly number[]): Mapped {
      const bits = bitsOf(words)
      const found = translators.find(({ written, internal }) => bits.startsWith(internal.slice(0, written)))
      if (found === undefined) return { is: 'none' }
      const { length, internal, external, adjustment } = found
      if (!bits.startsWith(internal.slice(0, length))) return { is: 'unmapped' }
      return overwrite(words, length, external, adjustment)
    },
    /** 3.3 */
    inward(words: readonly number[]): Mapped {
      const bits = bitsOf(words)
      const found = translators.find(({ length, external }) => bits.startsWith(external.slice(0, length)))
      if (found === undefined) return { is: 'none' }
      return overwrite(words, found.length, found.internal, 0xffff - found.adjustment)
    },
  }
}
