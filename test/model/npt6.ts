/** NPTv6 of the model: what an address stands for on the other side. Section "IPv6 prefixes" of docs/behaviour.md. */
import { npt6Model } from '../../src/channel/npt6.model.ts'
import type { Npt6Pair } from '../../src/channel/npt6.ts'
import { unhex, under, type Addr } from './packet.ts'

export type Counterpart = { is: 'none' | 'unmapped' | 'bad-iid' } | { is: 'done'; addr: Addr }

export class Prefixes {
  private readonly pairs: readonly Npt6Pair[]
  private readonly translators: ReturnType<typeof npt6Model>

  constructor(pairs: readonly Npt6Pair[]) {
    this.pairs = pairs
    this.translators = npt6Model(pairs)
  }

  outward(addr: Addr): Counterpart { return this.across(addr, 'outward') }
  inward(addr: Addr): Counterpart { return this.across(addr, 'inward') }

  private across(addr: Addr, way: 'outward' | 'inward'): Counterpart {
    if (addr.length !== 32) return { is: 'none' }
    const found = this.translators[way](addr.match(/..../g)!.map(digits => parseInt(digits, 16)))
    return found.is === 'done' ? { is: 'done', addr: found.words.map(word => word.toString(16).padStart(4, '0')).join('') } : found
  }

  /** Is it an inside address that stands behind another one? */
  hides(addr: Addr): boolean {
    return this.pairs.some(({ inside, insideBits }) => under(addr, this.digits(inside), insideBits))
  }

  /** Is it one of ours, outside? */
  isOurs(addr: Addr): boolean {
    return this.pairs.some(({ outside, outsideBits, insideBits }) => under(addr, this.digits(outside), Math.max(outsideBits, insideBits)))
  }

  private digits(words: readonly [number, number]): Addr {
    return words.map(word => (word >>> 0).toString(16).padStart(8, '0')).join('').padEnd(32, '0')
  }
}

/** An IPv6 packet, or a quoted one, with another source or destination: no sum over it changes (RFC 6296 2.6). */
export function readdress6(bytes: Uint8Array, end: 'src' | 'dst', addr: Addr, at = 0): Uint8Array {
  const next = bytes.slice()
  next.set(unhex(addr), at + (end === 'src' ? 8 : 24))
  return next
}

/** The same of a value. */
export function seenAs<T extends { bytes: Uint8Array }>(p: T, end: 'src' | 'dst', addr: Addr): T {
  return { ...p, [end]: addr, bytes: readdress6(p.bytes, end, addr) }
}

