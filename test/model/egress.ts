/**
 * What the model does to a packet whose way is known: identification, MSS, MTU. Section "The link a packet leaves by" of
 * docs/behaviour.md.
 */
import { addrOf, carried, get16, put16, TCP, type Addr, type Packet } from './packet.ts'

export interface EgressOptions {
  /** 0: any. */
  mtuInside: number
  mtuOutside: number
  /** 0: any, -1: by the MTUs. */
  mss: number
  identification: 'keep' | 'fragments' | 'all'
}

const PLAIN: EgressOptions = { mtuInside: 0, mtuOutside: 0, mss: 0, identification: 'keep' }
/** A piece that leaves: captured bytes, and the length that it says. */
export interface Cut { bytes: Uint8Array; netBytes: number }

export class Egress {
  readonly options: EgressOptions
  private readonly seed: number
  /** Addresses that hosts share, and how many identifications each has given. */
  private readonly given: Map<Addr, number>

  constructor(options: Partial<EgressOptions> | undefined, seed: number, shared: readonly Addr[]) {
    this.options = { ...PLAIN, ...options }
    this.seed = seed
    this.given = new Map(shared.map(addr => [addr, 0]))
  }

  mtu(to: 'inside' | 'outside'): number { return to === 'inside' ? this.options.mtuInside : this.options.mtuOutside }

  /** The next identification of an outside address, if it is one that hosts share. */
  identify(src: Addr): number | null {
    const n = this.given.get(src)
    if (n === undefined || this.options.identification === 'keep') return null
    this.given.set(src, n + 1)
    const word = parseInt(src, 16) | 0
    return (this.mix(word) + n * (this.mix(~word) | 1)) % 65536
  }

  private mix(a: number): number {
    let h = Math.imul(a ^ this.seed, 0x9e3779b1)
    h ^= h >>> 15
    h = Math.imul(h, 0x85ebca6b)
    return ((h ^ h >>> 13) >>> 0) % 65536
  }

  /** A SYN with an MSS that fits. */
  clamp(p: Packet): Packet {
    const { mss, mtuInside, mtuOutside } = this.options
    const header = p.protocol === TCP && (p.piece === null || p.piece.start === 0) ? (p.bytes[p.l4 + 12] >> 4) * 4 : 0
    if (mss === 0 || header === 0 || (p.bytes[p.l4 + 13] & 2) === 0) return p
    const most = mss > 0 ? mss : Math.min(mtuInside || 65535, mtuOutside || 65535) - (p.version === 4 ? 40 : 60)
    const options = p.bytes.slice(p.l4 + 20, p.l4 + header)
    for (let at = 0; at < options.length && options[at] !== 0;) {
      if (options[at] === 1) { at++; continue }
      const length = options[at + 1] ?? 0
      if (length < 2 || at + length > options.length) break
      if (options[at] === 2 && length === 4) {
        if (get16(options, at + 2) <= most) break
        const next = put16(p.bytes, p.l4 + 20 + at + 2, most)
        return { ...p, bytes: put16(next, p.l4 + 16, carried(p.bytes.slice(p.l4), next.slice(p.l4), 16)) }
      }
      at += length
    }
    return p
  }
}

export function mayFragment(version: 4 | 6, bytes: Uint8Array): boolean { return version === 4 && (bytes[6] & 0x40) === 0 }

export function withId(bytes: Uint8Array, id: number): Uint8Array {
  const header = (bytes[0] & 15) * 4, next = put16(bytes, 4, id)
  return put16(next, 10, carried(bytes.slice(0, header), next.slice(0, header), 10))
}

/** RFC 791 3.2: the pieces of an IPv4 packet, each of `mtu` bytes at the most. */
export function fit({ bytes, netBytes }: Cut, mtu: number): Cut[] {
  if (netBytes <= mtu) return [{ bytes, netBytes }]
  const header = bytes.slice(0, (bytes[0] & 15) * 4), word = get16(bytes, 6), more = (word & 0x2000) !== 0
  const data = bytes.slice(header.length), dataBytes = netBytes - header.length, cuts: Cut[] = []
  for (let from = 0; from < dataBytes;) {
    const own = from === 0 ? header : Uint8Array.from([...header.slice(0, 20), ...copied(header.slice(20))])
    const some = Math.min(mtu - own.length - (mtu - own.length) % 8, dataBytes - from), isLast = from + some === dataBytes
    let head = put16(own, 2, own.length + some)
    head[0] = 0x40 + own.length / 4
    head = put16(head, 6, (word & 0xc000) + (isLast && !more ? 0 : 0x2000) + (word & 0x1fff) + from / 8)
    head = put16(head, 10, (get16(header, 10) + sumBut(header) + 65535 - sumBut(head)) % 65535)
    cuts.push({ bytes: Uint8Array.from([...head, ...data.slice(from, from + some)]), netBytes: own.length + some })
    from += some
  }
  return cuts
}

/** Options that every fragment has, filled up to words. */
function copied(options: Uint8Array): number[] {
  const kept: number[] = []
  for (let at = 0; at < options.length && options[at] !== 0;) {
    const length = options[at] === 1 ? 1 : options[at + 1]
    if (options[at] >= 128) kept.push(...options.slice(at, at + length))
    at += length
  }
  while (kept.length % 4 !== 0) kept.push(0)
  return kept
}

function sumBut(header: Uint8Array): number {
  const zeroed = put16(header, 10, 0)
  let sum = 0
  for (let at = 0; at < zeroed.length; at += 2) sum += get16(zeroed, at)
  return sum % 65535
}

export const sharedAddresses = (pool: readonly number[], ported: readonly number[]): Addr[] =>
  [...pool, ...ported].map(word => addrOf([word]))
