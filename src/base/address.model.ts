/** Slow twin of the prefix set: addresses and prefixes as strings of binary digits. */
import type { Prefix } from './address.ts'

function digits(words: ArrayLike<number>): string {
  return Array.from(words, word => (word >>> 0).toString(2).padStart(32, '0')).join('')
}

export function createModelPrefixSet(prefixes: readonly Prefix[]) {
  function has(version: 4 | 6, words: number[]): boolean {
    const address = digits(words)
    return prefixes.some(p => p.version === version && address.startsWith(digits(p.words).slice(0, p.prefixBits)))
  }
  return {
    has4: (addr: number) => has(4, [addr]),
    has6: (w0: number, w1: number, w2: number, w3: number) => has(6, [w0, w1, w2, w3]),
  }
}
