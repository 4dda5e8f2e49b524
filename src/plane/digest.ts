/**
 * A 64-bit digest of what a run did: for each packet, in order, its verdict and reason; for each one sent also its side, time
 * stamp, lengths and the first bytes of its headers as they left, so that two runs that rewrote, dropped or timed something
 * differently differ here. It is no defence against forgery. Words are summed with a factor each, which keeps the
 * multiplications independent of one another.
 */
import type { Frames } from '../wire/frames.ts'

export interface Digest {
  /** A packet that left: network header at `p`, of `present` captured bytes up to its end. */
  sent(side: number, p: number, present: number, netBytes: number, sec: number, nsec: number): void
  dropped(reason: number): void
  held(): void
  /** 16 hex digits. */
  text(): string
}

/** Odd constants (golden ratio, primes of common mixers). */
const A = 0x9e3779b1 | 0, B = 0x85ebca6b | 0, C = 0xc2b2ae35 | 0, D = 0x27d4eb2f, E = 0x165667b1

const ICMP = 1, ICMP6 = 58
/** IPv4 headers with all options, the ICMP header between them, and TCP up to its checksum. */
const REWRITTEN_BYTES = 60 + 8 + 60 + 18

export function createDigest({ view }: Frames): Digest {
  let low = 0x6a09e667
  let high = 0x3c6ef372

  function mix(a: number, b: number): void {
    low = Math.imul(((low << 7) | (low >>> 25)) ^ a, A)
    high = Math.imul(((high << 11) | (high >>> 21)) ^ b ^ low, B)
  }

  function sent(side: number, p: number, present: number, netBytes: number, sec: number, nsec: number): void {
    // Every sum is brought back to int32 at once: left to grow it would become a double.
    let a = (Math.imul(netBytes + 1, C) + Math.imul(sec | 0, D) | 0) + (Math.imul(nsec, E) + side | 0) | 0
    let b = Math.imul(present + 1, D) + Math.imul(nsec ^ sec, C) | 0
    if (present >= 40) {
      // IPv4 with TCP or UDP wholly, IPv6 up to its addresses: the words that a NAT may touch and their neighbours.
      const w0 = view.getInt32(p), w1 = view.getInt32(p + 4), w2 = view.getInt32(p + 8), w3 = view.getInt32(p + 12)
      const w4 = view.getInt32(p + 16), w5 = view.getInt32(p + 20), w6 = view.getInt32(p + 24), w7 = view.getInt32(p + 28)
      const w8 = view.getInt32(p + 32), w9 = view.getInt32(p + 36)
      a = a + (Math.imul(w0, A) + Math.imul(w1, B) | 0) | 0
      a = a + (Math.imul(w2, C) + Math.imul(w3, D) | 0) + Math.imul(w4, E) | 0
      b = b + (Math.imul(w5, A) + Math.imul(w6, B) | 0) | 0
      b = b + (Math.imul(w7, C) + Math.imul(w8, D) | 0) | 0
      b = b + (Math.imul(w9, E) + Math.imul(w3, B) | 0) | 0
      // Behind IPv4 options, and in what ICMP quotes, the words that a NAT touches lie further on.
      const isLonger = w0 >>> 28 === 4 ? w0 >>> 24 !== 0x45 || ((w2 >>> 16) & 255) === ICMP : ((w1 >>> 8) & 255) === ICMP6
      if (isLonger) {
        const end = p + Math.min(present, REWRITTEN_BYTES)
        for (let at = p + 40; at < end; at++) {
          a = Math.imul(a ^ view.getUint8(at), A)
          b = Math.imul(b ^ view.getUint8(at), B)
        }
      }
    } else {
      for (let at = 0; at < present; at++) {
        a = Math.imul(a ^ view.getUint8(p + at), A)
        b = Math.imul(b ^ view.getUint8(p + at), B)
      }
    }
    mix(a, b)
  }

  function dropped(reason: number): void {
    mix(reason + 1, C)
  }

  function held(): void {
    mix(D, E)
  }

  function text(): string {
    return [high, low].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
  }

  return { sent, dropped, held, text }
}
