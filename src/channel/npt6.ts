/**
 * Network prefix translation of IPv6 (NPTv6, RFC 6296): an inside prefix stands for an outside one, host by host, without state.
 * What the change of prefix does to a checksum over the address is undone in one 16-bit word of it, so no transport header changes.
 * The engine translates so, and policy tells agents of it: both must arrive at one address without asking each other.
 *
 * Addresses are four host-order int32 words in an array, translated in place. Sums are those of one's complement (RFC 1071).
 */

/** Both by their first 64 bits, with 0 behind the prefix. 0 … 64 bits; the shorter counts as if zeros followed (RFC 6296 3.1). */
export interface Npt6Pair {
  inside: readonly [number, number]
  insideBits: number
  outside: readonly [number, number]
  outsideBits: number
}

/** The address is in no prefix that is translated, and stays as it is. */
export const NPT6_NONE = 0
export const NPT6_DONE = 1
/** Its subnet has no counterpart: 0xffff, or one that only the shorter of the two prefixes has (RFC 6296 3.2). */
export const NPT6_UNMAPPED = 2
/** Its interface identifier cannot be translated: all zeros or all ones (RFC 6296 3.7). */
export const NPT6_BAD_IID = 3

export interface Npt6 {
  /** Gives the inside address at `words[at]` the outside one that stands for it: an NPT6_ constant. All but DONE change nothing. */
  outward(words: Int32Array, at: number): number
  /** The way back. */
  inward(words: Int32Array, at: number): number
  /** Is the address in the inside prefix, the outside prefix, of a pair? */
  isInside(words: Int32Array, at: number): boolean
  isOutside(word0: number, word1: number): boolean
}

/** Longest prefix whose subnet field, bits 48 to 63, takes the adjustment (RFC 6296 3.4); longer ones have it in the identifier. */
const SUBNET_BITS = 48
const ALL_ONES = 0xffff

/** @param pairs no two overlap, on either side */
export function createNpt6(pairs: readonly Npt6Pair[]): Npt6 {
  const count = pairs.length
  const bits = Int32Array.from(pairs, ({ insideBits, outsideBits }) => Math.max(insideBits, outsideBits))
  // Two words each: the inside prefix as written with its mask, then the common mask, and both prefixes extended to it.
  const column = (word: (pair: Npt6Pair, n: number) => number) => Int32Array.from(pairs, word)
  const own0 = column(({ insideBits }) => maskOf(insideBits, 0)), own1 = column(({ insideBits }) => maskOf(insideBits, 1))
  const mask0 = column((_, n) => maskOf(bits[n], 0)), mask1 = column((_, n) => maskOf(bits[n], 1))
  const in0 = column(({ inside }) => inside[0]), in1 = column(({ inside }) => inside[1])
  const out0 = column(({ outside }) => outside[0]), out1 = column(({ outside }) => outside[1])
  // @req RFC6296 3.1b
  const adjustment = column(({ inside, outside }) => add(sumOf(inside), ALL_ONES - sumOf(outside)))

  function pairInside(word0: number, word1: number): number {
    for (let n = 0; n < count; n++) if (((word0 ^ in0[n]) & own0[n]) === 0 && ((word1 ^ in1[n]) & own1[n]) === 0) return n
    return -1
  }

  function pairOutside(word0: number, word1: number): number {
    for (let n = 0; n < count; n++) if (((word0 ^ out0[n]) & mask0[n]) === 0 && ((word1 ^ out1[n]) & mask1[n]) === 0) return n
    return -1
  }

  function outward(words: Int32Array, at: number): number {
    const n = pairInside(words[at], words[at + 1])
    if (n < 0) return NPT6_NONE
    // @req RFC6296 3.1a, 3.2a
    if (((words[at] ^ in0[n]) & mask0[n]) !== 0 || ((words[at + 1] ^ in1[n]) & mask1[n]) !== 0) return NPT6_UNMAPPED
    return translate(words, at, n, out0[n], out1[n], adjustment[n])
  }

  function inward(words: Int32Array, at: number): number {
    const n = pairOutside(words[at], words[at + 1])
    if (n < 0) return NPT6_NONE
    return translate(words, at, n, in0[n], in1[n], ALL_ONES - adjustment[n])
  }

  /** Overwrites the prefix of pair n, and adds `delta` to the word that makes up for it. */
  function translate(words: Int32Array, at: number, n: number, to0: number, to1: number, delta: number): number {
    const word0 = (words[at] & ~mask0[n]) | to0, word1 = (words[at + 1] & ~mask1[n]) | to1
    if (bits[n] <= SUBNET_BITS) {
      // @req RFC6296 3.4, 4.2
      const subnet = words[at + 1] & ALL_ONES
      if (subnet === ALL_ONES) return NPT6_UNMAPPED
      words[at + 1] = (word1 & ~ALL_ONES) | add(subnet, delta)
    } else {
      // @req RFC6296 3.5, 3.7a
      const word2 = words[at + 2], word3 = words[at + 3]
      if ((word2 === 0 && word3 === 0) || (word2 === -1 && word3 === -1)) return NPT6_BAD_IID
      if (word2 >>> 16 !== ALL_ONES) words[at + 2] = (add(word2 >>> 16, delta) << 16) | (word2 & ALL_ONES)
      else if (word2 !== -1) words[at + 2] = (word2 & ~ALL_ONES) | add(word2 & ALL_ONES, delta)
      else if (word3 >>> 16 !== ALL_ONES) words[at + 3] = (add(word3 >>> 16, delta) << 16) | (word3 & ALL_ONES)
      else words[at + 3] = (word3 & ~ALL_ONES) | add(word3 & ALL_ONES, delta)
      words[at + 1] = word1
    }
    words[at] = word0
    return NPT6_DONE
  }

  return {
    outward, inward,
    isInside: (words, at) => pairInside(words[at], words[at + 1]) >= 0,
    isOutside: (word0, word1) => pairOutside(word0, word1) >= 0,
  }
}

/** Sum of two words; what would be 0xffff is 0 (RFC 6296 3.2, 3.3). */
function add(a: number, b: number): number {
  const sum = a + b
  const folded = (sum & ALL_ONES) + (sum >>> 16)
  return folded === ALL_ONES ? 0 : folded
}

/** Sum of the four 16-bit words of a prefix. */
function sumOf([word0, word1]: readonly [number, number]): number {
  return add(add(word0 >>> 16, word0 & ALL_ONES), add(word1 >>> 16, word1 & ALL_ONES))
}

/** Mask of word 0 or 1 under a prefix of that length. */
function maskOf(prefixBits: number, word: number): number {
  const own = prefixBits - 32 * word
  return own <= 0 ? 0 : own >= 32 ? -1 : -1 << (32 - own)
}
