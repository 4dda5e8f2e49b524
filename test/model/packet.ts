/**
 * Packets of the model: bytes become a value, the value is judged, and a rewritten packet is a new array of bytes.
 * Nothing here is fast and nothing is changed in place. An address is its bytes in hexadecimal digits: 8 of them for
 * IPv4, 32 for IPv6. Sections of docs/behaviour.md: "Order of checks" 2, 3 and 6, and "Rewriting".
 */
import type { Prefix } from '../../src/base/address.ts'
import type { DropReason } from '../../src/channel/reasons.ts'

export type Addr = string
export type ChecksumMode = 'verify' | 'repair-zero' | 'ignore'

/** A fragment's place in its datagram; `end` is one past its last byte. */
export interface Piece { id: number; start: number; end: number; more: boolean }

export interface Packet {
  version: 4 | 6
  /** Captured bytes of the network packet, padding cut off, a missing IPv4 checksum filled in. */
  bytes: Uint8Array
  /** Length of the network packet by its own length field. */
  netBytes: number
  src: Addr
  dst: Addr
  ttl: number
  protocol: number
  /** Offset of the transport header, or of the data of a later fragment. */
  l4: number
  /** `null` for a whole packet. */
  piece: Piece | null
}

export type Judged<T> = { drop: DropReason } | { drop: null; value: T }

export const ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, ICMP6 = 58, SCTP = 132, UDPLITE = 136

export function isIcmp(p: { version: 4 | 6; protocol: number }): boolean {
  return p.protocol === (p.version === 4 ? ICMP : ICMP6)
}
export function hasPorts(p: { version: 4 | 6; protocol: number }): boolean {
  return p.protocol === UDP || p.protocol === TCP || isIcmp(p)
}

/* Bytes, words, addresses */

export function get16(bytes: Uint8Array, at: number): number { return bytes[at] * 256 + bytes[at + 1] }
export function put16(bytes: Uint8Array, at: number, value: number): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice()
  copy[at] = value >>> 8
  copy[at + 1] = value & 255
  return copy
}
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
}
export function unhex(digits: string): Uint8Array {
  return Uint8Array.from(digits.match(/../g) ?? [], pair => parseInt(pair, 16))
}
export function addrOf(words: ArrayLike<number>): Addr {
  return Array.from(words, word => (word >>> 0).toString(16).padStart(8, '0')).join('')
}
export function int32Of(addr: Addr): number { return parseInt(addr, 16) | 0 }

/** Is the address in `prefix`/`bits`? Both as numbers of 32 or 128 bits. */
export function under(addr: Addr, prefix: Addr, bits: number): boolean {
  if (addr.length !== prefix.length) return false
  const drop = BigInt(addr.length * 4 - bits)
  return BigInt('0x' + addr) >> drop === BigInt('0x' + prefix) >> drop
}
export function inPrefixes(addr: Addr, prefixes: readonly Prefix[]): boolean {
  return prefixes.some(p => under(addr, addrOf(p.words), p.prefixBits))
}

/* Checksums: plain sums modulo 65,535, where one's complement arithmetic lives (RFC 1071) */

export function sumOf(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at++) sum += at % 2 === 0 ? bytes[at] * 256 : bytes[at]
  return sum % 65535
}
/** The checksum of words with this sum, which are not all zero. */
export function complement(sum: number): number { return (65535 - sum % 65535) % 65535 }
function join(...parts: Uint8Array[]): Uint8Array { return Uint8Array.from(parts.flatMap(part => [...part])) }
function without(bytes: Uint8Array, at: number): Uint8Array { return put16(bytes, at, 0) }

/** Right, by full computation? The words cannot all be zero where this is asked. */
export function isRight(covered: Uint8Array): boolean {
  return sumOf(covered) === 0 && covered.some(byte => byte !== 0)
}

/**
 * RFC 1624, the slow way: a checksum that was right is computed in full; one that was wrong stays wrong by as much.
 * Both are the one number that keeps sum and checksum together where they were modulo 65,535. A checksum that follows a
 * change is never 0xffff: the sum of words that are not all zero is not zero. Reading: one that was 0xffff becomes 0
 * even when an identifier stays what it was.
 */
export function carried(was: Uint8Array, now: Uint8Array, at: number): number {
  return (get16(was, at) + sumOf(without(was, at)) + complement(sumOf(without(now, at)))) % 65535
}

/* Parsing */

/** Step 2 of the order of checks. `bytes` are captured from the network header on, `net` is the link header's word. */
export function parse(bytes: Uint8Array, wireBytes: number, net: 4 | 6, mode: ChecksumMode): Judged<Packet> {
  return net === 4 ? parse4(bytes, wireBytes, mode) : parse6(bytes, wireBytes)
}

function parse4(bytes: Uint8Array, wireBytes: number, mode: ChecksumMode): Judged<Packet> {
  if (bytes.length < 20) return { drop: 'ip-truncated' }
  if (bytes[0] >> 4 !== 4) return { drop: 'ip-bad-version' }
  const header = (bytes[0] & 15) * 4, netBytes = get16(bytes, 2)
  if (header < 20) return { drop: 'ipv4-bad-header-length' }
  if (netBytes < header || netBytes > wireBytes) return { drop: 'ip-bad-length' }
  if (header > bytes.length) return { drop: 'ip-truncated' }
  let present = bytes.slice(0, netBytes)
  if (mode !== 'ignore' && !isRight(bytes.slice(0, header))) {
    if (mode === 'verify' || get16(bytes, 10) !== 0) return { drop: 'ipv4-bad-checksum' }
    present = put16(present, 10, complement(sumOf(present.slice(0, header))))
  }
  const options = judgeOptions(bytes.slice(20, header))
  if (options !== null) return { drop: options }
  const word = get16(bytes, 6), start = (word & 0x1fff) * 8, more = (word & 0x2000) !== 0
  const whole = start === 0 && !more
  return { drop: null, value: {
    version: 4, bytes: present, netBytes,
    src: hex(bytes.slice(12, 16)), dst: hex(bytes.slice(16, 20)), ttl: bytes[8], protocol: bytes[9], l4: header,
    piece: whole ? null : { id: get16(bytes, 4), start, end: start + netBytes - header, more },
  } }
}

export function judgeOptions(options: Uint8Array): DropReason | null {
  let sourceRoute = false
  for (let at = 0; at < options.length;) {
    if (options[at] === 0) break
    if (options[at] === 1) { at++; continue }
    if (at + 1 >= options.length) return 'ipv4-bad-options'
    if (options[at + 1] < 2 || at + options[at + 1] > options.length) return 'ipv4-bad-options'
    if (options[at] === 131 || options[at] === 137) sourceRoute = true
    at += options[at + 1]
  }
  return sourceRoute ? 'ipv4-source-route' : null
}

function parse6(bytes: Uint8Array, wireBytes: number): Judged<Packet> {
  if (bytes.length < 40) return { drop: 'ip-truncated' }
  if (bytes[0] >> 4 !== 6) return { drop: 'ip-bad-version' }
  const netBytes = 40 + get16(bytes, 4)
  if (netBytes > wireBytes) return { drop: 'ip-bad-length' }
  const present = bytes.slice(0, netBytes), chain = walk(present, netBytes)
  if (chain.drop !== null) return chain
  const { protocol, l4, fragmentAt } = chain.value
  let piece: Piece | null = null
  if (fragmentAt !== null) {
    const word = get16(present, fragmentAt + 2), start = word - word % 8, more = word % 2 === 1
    const id = parseInt(hex(present.slice(fragmentAt + 4, fragmentAt + 8)), 16)
    if (start > 0 || more) piece = { id, start, end: start + netBytes - fragmentAt - 8, more }
  }
  return { drop: null, value: {
    version: 6, bytes: present, netBytes, src: hex(present.slice(8, 24)), dst: hex(present.slice(24, 40)),
    ttl: present[7], protocol, l4, piece,
  } }
}

interface Chain { protocol: number; l4: number; fragmentAt: number | null }

/**
 * RFC 8200 4: the chain of extension headers, at most 8. `bytes` are those captured, `end` is the length of the packet.
 * Mobility, HIP and Shim6 headers that name no next header are the payload themselves.
 */
function walk(bytes: Uint8Array, end: number): Judged<Chain> {
  let next = bytes[6], at = 40, fragmentAt: number | null = null
  for (let seen = 0; ; seen++) {
    if (![0, 43, 44, 51, 60, 135, 139, 140].includes(next)) break
    if (next === 0 && seen > 0) return { drop: 'ipv6-bad-extension' }
    if (next >= 135 && (at >= bytes.length || bytes[at] === 59)) break
    if (seen === 8 || at + 8 > end) return { drop: 'ipv6-bad-extension' }
    if (at + 8 > bytes.length) return { drop: 'ip-truncated' }
    if (next === 43 && bytes[at + 2] === 0 && bytes[at + 3] !== 0) return { drop: 'ipv6-routing-header-0' }
    let length = (bytes[at + 1] + 1) * 8
    if (next === 51) length = (bytes[at + 1] + 2) * 4
    if (next === 44) {
      if (fragmentAt !== null) return { drop: 'ipv6-bad-extension' }
      fragmentAt = at
      length = 8
      if (get16(bytes, at + 2) >= 8) return { drop: null, value: { protocol: bytes[at], l4: at + 8, fragmentAt } }
    }
    if (at + length > end) return { drop: 'ipv6-bad-extension' }
    if (at + length > bytes.length) return { drop: 'ip-truncated' }
    next = bytes[at]
    at += length
  }
  return { drop: null, value: { protocol: next, l4: at, fragmentAt } }
}

/** Step 3. `spoofed`: the source comes from the wrong side. */
export function judgeAddresses(
  p: Packet, ours: readonly Addr[], group: boolean, spoofed: boolean, reserved6 = false, local6 = false,
): DropReason | null {
  const { src, dst } = p, four = p.version === 4
  const mapped = '00000000000000000000ffff00000000', zero = '0'.repeat(32)
  const martian6 = (a: Addr) => under(a, zero, 96) || under(a, mapped, 96) || under(a, 'fec' + '0'.repeat(29), 10)
  const multicast6 = (a: Addr) => a.startsWith('ff')
  const is4 = (a: Addr, prefix: Addr, bits: number) => four && under(a, prefix, bits)
  const here4 = (a: Addr) => is4(a, '00000000', 8) || is4(a, '7f000000', 8)
  if (four ? here4(src) || is4(src, 'e0000000', 3) : martian6(src) || multicast6(src)) return 'martian-source'
  if (src === dst) return 'land'
  if (ours.includes(src)) return 'martian-source'
  const broadcast = dst === 'ffffffff'
  if (four ? here4(dst) || is4(dst, 'f0000000', 4) && !broadcast : martian6(dst)) return 'martian-destination'
  if (four ? is4(dst, 'e0000000', 4) || broadcast : multicast6(dst)) return 'multicast'
  const local = (a: Addr) => four ? under(a, 'a9fe0000', 16) : under(a, 'fe8' + '0'.repeat(29), 10)
  if (local(src) || local(dst)) return 'link-local'
  if (reserved6 && isReservedBlock(src)) return 'martian-source'
  if (reserved6 && isReservedBlock(dst)) return 'martian-destination'
  if (local6) return 'unique-local'
  if (spoofed) return 'spoofed-source'
  // RFC 1812 5.3.4: what the link sent to many is not forwarded to one.
  return group ? 'multicast' : null
}

const RESERVED6: [digits: string, bits: number][] = [['20010db8', 32], ['2001001', 28], ['2001002', 28], ['3ffe', 16], ['3fff0', 20]]
const PRIVATE4: [digits: string, bits: number][] = [
  ['00', 8], ['0a', 8], ['7f', 8], ['e0', 3], ['a9fe', 16], ['ac1', 12], ['c0a8', 16],
]

/** RFC 5156: blocks that nobody has, and 6to4 of an IPv4 address that nobody has. */
function isReservedBlock(addr: Addr): boolean {
  if (RESERVED6.some(([digits, bits]) => under(addr, digits.padEnd(32, '0'), bits))) return true
  return addr.startsWith('2002') && PRIVATE4.some(([digits, bits]) => under(addr.slice(4, 12), digits.padEnd(8, '0'), bits))
}

/** Protocols of all headers of an IPv6 packet. */
export function headersOf(p: Packet): number[] {
  const found = [p.bytes[6]]
  for (let at = 40; at < p.l4;) {
    const next = found.at(-1), length = next === 44 ? 8 : next === 51 ? (p.bytes[at + 1] + 2) * 4 : (p.bytes[at + 1] + 1) * 8
    found.push(p.bytes[at])
    at += length
  }
  return found
}

/** Bytes of transport header that step 6 wants to see. */
export function transportBytes(p: { version: 4 | 6; protocol: number }): number {
  return p.protocol === TCP ? 20 : p.protocol === UDP || isIcmp(p) ? 8 : 0
}

/** Step 6, for a whole packet or a first fragment. */
export function judgeTransport(p: Packet): DropReason | null {
  const needed = transportBytes(p)
  if (p.l4 + needed > p.netBytes) return p.piece === null ? 'transport-bad-length' : 'fragment-tiny'
  if (p.l4 + needed > p.bytes.length) return 'transport-truncated'
  const rest = p.netBytes - p.l4
  if (p.protocol === TCP) {
    const header = (p.bytes[p.l4 + 12] >> 4) * 4
    if (header < 20 || p.piece === null && header > rest) return 'transport-bad-length'
  }
  if (p.protocol === UDP) {
    const stated = get16(p.bytes, p.l4 + 4)
    if (stated < 8 || p.piece === null && stated > rest) return 'transport-bad-length'
  }
  return null
}

/** Flags that no connection has, by the names that scanners gave them. */
export function judgeFlags(p: Packet): DropReason | null {
  const [fin, syn, rst, psh, ack, urg] = [1, 2, 4, 8, 16, 32].map(bit => (p.bytes[p.l4 + 13] & bit) !== 0)
  if (!fin && !syn && !rst && !ack) return 'tcp-null'
  if (syn && fin) return 'tcp-syn-fin'
  if (syn && rst) return 'tcp-syn-rst'
  if (fin && rst) return 'tcp-fin-rst'
  if (fin && !ack) return psh && urg ? 'tcp-xmas' : 'tcp-fin-without-ack'
  return null
}

/** What step 7 makes of the type. */
export function icmpKind(version: 4 | 6, type: number): 'error' | 'request' | 'reply' | 'neither' {
  const of = (types: number[]) => types.includes(type)
  if (version === 4) return of([3, 11, 12]) ? 'error' : of([8, 13]) ? 'request' : of([0, 14]) ? 'reply' : 'neither'
  return of([1, 2, 3, 4]) ? 'error' : of([128, 144, 145, 146, 147]) ? 'request' : of([129]) ? 'reply' : 'neither'
}

/* Rewriting */

/** TTL or hop limit less one. */
export function hop(version: 4 | 6, bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  copy[version === 4 ? 8 : 7]--
  if (version === 6) return copy
  const header = (bytes[0] & 15) * 4
  return put16(copy, 10, carried(bytes.slice(0, header), copy.slice(0, header), 10))
}

/**
 * An IPv4 packet with another source or destination. `bytes` may be cut short, as a capture or a quotation is: what is
 * not there is not changed. `port` is the identifier for ICMP, and without meaning for protocols that have none.
 */
export function readdress4(bytes: Uint8Array, end: 'src' | 'dst', addr: Addr, port: number): Uint8Array {
  const header = (bytes[0] & 15) * 4, protocol = bytes[9], first = (get16(bytes, 6) & 0x1fff) === 0
  let next = bytes.slice()
  next.set(unhex(addr), end === 'src' ? 12 : 16)
  next = put16(next, 10, carried(bytes.slice(0, header), next.slice(0, header), 10))
  if (!first) return next
  const there = (at: number) => header + at + 2 <= bytes.length
  const at16 = (at: number, value: number) => { if (there(at)) next = put16(next, header + at, value) }
  const pseudo = (b: Uint8Array) => b.slice(12, 20)
  if (protocol === ICMP) {
    at16(4, port)
    if (there(2)) at16(2, carried(bytes.slice(header), next.slice(header), 2))
  } else if (protocol === TCP || protocol === UDP || protocol === UDPLITE || protocol === DCCP) {
    if (protocol === TCP || protocol === UDP) at16(end === 'src' ? 0 : 2, port)
    const sumAt = protocol === TCP ? 16 : 6
    // RFC 768: 0 says that there is no checksum, and stays.
    if (!there(sumAt) || protocol === UDP && get16(bytes, header + 6) === 0) return next
    const cover = (b: Uint8Array) => join(pseudo(b), b.slice(header))
    const sum = carried(cover(bytes), cover(next), 8 + sumAt)
    at16(sumAt, (protocol === UDP || protocol === UDPLITE) && sum === 0 ? 0xffff : sum)
  }
  return next
}

/** `part` takes the place of what is in an ICMP message from byte 8 on; the checksum follows, as wrong as it was. */
export function requote(bytes: Uint8Array, l4: number, part: Uint8Array): Uint8Array {
  const next = bytes.slice()
  next.set(part, l4 + 8)
  return put16(next, l4 + 2, carried(bytes.slice(l4), next.slice(l4), 2))
}

/** RFC 8200 8.1: what an ICMPv6 checksum covers. */
export function icmpCover(p: Packet): Uint8Array {
  const message = p.bytes.slice(p.l4, p.netBytes)
  if (p.version === 4) return message
  const length = p.netBytes - p.l4
  return join(unhex(p.src), unhex(p.dst), Uint8Array.of(0, 0, length >> 8, length & 255, 0, 0, 0, ICMP6), message)
}
