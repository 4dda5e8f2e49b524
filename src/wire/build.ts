/**
 * Packets as bytes from values, and the judge of packets: for tests and generated captures, never on the packet path.
 * It shares no code with the accessors and the checksum of the packet path, so that one can be held against the other.
 * Bad values here are a mistake of the caller, and throw.
 */
import { parseAddress, type Address } from '../base/address.ts'

/** An address as text, as IPv4 in host-order int32, or as the four words of IPv6. */
export type AddressLike = string | number | Int32Array

export type Protocol = 'icmp' | 'tcp' | 'udp' | 'dccp' | 'icmp6' | 'udplite'
const PROTOCOLS: Record<Protocol, number> = { icmp: 1, tcp: 6, udp: 17, dccp: 33, icmp6: 58, udplite: 136 }
const HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, DESTINATION = 60
const EXTENSIONS = [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION]

/** `zero` and `wrong` are for tests of what happens then. */
export type ChecksumChoice = 'right' | 'zero' | 'wrong'

export interface LinkSpec {
  /** Default `raw`: the packet starts with its IP header. */
  link?: 'ethernet' | 'raw'
  /** VLAN identifiers, outermost first; each becomes a tag with ethertype 0x8100. */
  vlan?: readonly number[]
  srcMac?: readonly number[]
  dstMac?: readonly number[]
}

export interface IpSpec extends LinkSpec {
  /** Default: the version of `src`. */
  ip?: 4 | 6
  src: AddressLike
  dst: AddressLike
  /** Or hop limit; default 64. */
  ttl?: number
  /** Or traffic class. */
  tos?: number
  flowLabel?: number
  /** IPv4 identification, or that of the IPv6 fragment header. */
  id?: number
  dontFragment?: boolean
  /** In IPv6 this or `fragOffset` adds a fragment header, behind `extensions`. */
  moreFragments?: boolean
  /** In bytes. Above 0 the payload follows the IP header directly: a later fragment has no transport header. */
  fragOffset?: number
  /** IPv4 options, padded here to a multiple of 4. */
  options?: Uint8Array
  /** IPv6 extension headers in order. `body` is what follows the next-header and length bytes, padded here. */
  extensions?: readonly { header: number; body?: Uint8Array }[]
  /** Of the IPv4 header; default `right`. */
  ipChecksum?: ChecksumChoice
  /** Of the transport header; default `right`. */
  checksum?: ChecksumChoice
}

export interface PacketSpec extends IpSpec {
  /** A number means that `payload` is everything behind the IP header. */
  proto: Protocol | number
  srcPort?: number
  dstPort?: number
  seq?: number
  ack?: number
  /** Default ACK (16). */
  tcpFlags?: number
  window?: number
  /** Padded here to a multiple of 4. */
  tcpOptions?: Uint8Array
  /** UDP-Lite: covered bytes, 0 for all. DCCP: CsCov, 0 for all. */
  coverage?: number
  /** DCCP type, default 0 (Request); extended sequence numbers throughout. */
  dccpType?: number
  /** Default: echo request. */
  icmpType?: number
  icmpCode?: number
  icmpId?: number
  icmpSeq?: number
  payload?: Uint8Array
}

const NOTHING = new Uint8Array(0)

function wordsOf(like: AddressLike): Address {
  if (typeof like === 'number') return { version: 4, words: Int32Array.of(like) }
  if (typeof like !== 'string') return { version: 6, words: like }
  const parsed = parseAddress(like)
  if (!parsed.ok) throw new RangeError(like + ': ' + parsed.reason)
  return parsed.value
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

function padded(bytes: Uint8Array, unit: number, extra = 0): Uint8Array {
  return concat(bytes, new Uint8Array((unit - (bytes.length + extra) % unit) % unit))
}

function viewOf(bytes: Uint8Array): DataView { return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
function get16(bytes: Uint8Array, at: number): number { return bytes[at] << 8 | bytes[at + 1] }
function set16(bytes: Uint8Array, at: number, value: number): void { viewOf(bytes).setUint16(at, value) }

/** RFC 1071, the plain way: one's complement sum of all 16-bit words. */
function onesSum(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) {
    sum += bytes[at] << 8 | (at + 1 < bytes.length ? bytes[at + 1] : 0)
    if (sum > 0xffff) sum -= 0xffff
  }
  return sum
}

function bigEndian(words: Int32Array): Uint8Array {
  const bytes = new Uint8Array(4 * words.length)
  words.forEach((word, i) => viewOf(bytes).setInt32(4 * i, word))
  return bytes
}

/** Both versions as RFC 8200 8.1 draws it: the zeros and the wider fields add nothing to the sum of IPv4. */
function pseudo(src: Uint8Array, dst: Uint8Array, protocol: number, bytes: number): Uint8Array {
  return concat(src, dst, bigEndian(Int32Array.of(bytes, protocol)))
}

function chosen(right: number, choice: ChecksumChoice | undefined): number {
  return choice === 'zero' ? 0 : choice === 'wrong' ? right ^ 0x5555 : right
}

const DCCP_EXTRA_BYTES = [4, 12, 0, 8, 8, 8, 8, 12, 8, 8]   // by type, RFC 4340 5.1 … 5.8

function transport(spec: PacketSpec, src: Uint8Array, dst: Uint8Array): Uint8Array {
  const { proto, payload = NOTHING, srcPort = 0, dstPort = 0, coverage = 0 } = spec
  if (typeof proto === 'number' || spec.fragOffset) return payload
  const protocol = PROTOCOLS[proto]
  let header: Uint8Array, sumAt: number, covered = -1
  if (proto === 'tcp') {
    header = concat(new Uint8Array(20), padded(spec.tcpOptions ?? NOTHING, 4))
    const v = viewOf(header)
    v.setUint32(4, spec.seq ?? 0)
    v.setUint32(8, spec.ack ?? 0)
    header[12] = header.length << 2
    header[13] = spec.tcpFlags ?? 16
    v.setUint16(14, spec.window ?? 65535)
    sumAt = 16
  } else if (proto === 'udp' || proto === 'udplite') {
    header = new Uint8Array(8)
    set16(header, 4, proto === 'udp' ? 8 + payload.length : coverage)
    sumAt = 6
    if (proto === 'udplite' && coverage > 0) covered = coverage
  } else if (proto === 'dccp') {
    const type = spec.dccpType ?? 0
    header = new Uint8Array(16 + DCCP_EXTRA_BYTES[type])
    header[4] = header.length >> 2
    header[5] = coverage
    header[8] = type << 1 | 1
    viewOf(header).setUint32(12, spec.seq ?? 0)
    if (DCCP_EXTRA_BYTES[type] >= 8) viewOf(header).setUint32(20, spec.ack ?? 0)
    sumAt = 6
    if (coverage > 0) covered = Math.min(header.length + 4 * (coverage - 1), header.length + payload.length)
  } else {
    header = new Uint8Array(8)
    header[0] = spec.icmpType ?? (proto === 'icmp' ? 8 : 128)
    header[1] = spec.icmpCode ?? 0
    set16(header, 4, spec.icmpId ?? 0)
    set16(header, 6, spec.icmpSeq ?? 0)
    sumAt = 2
  }
  if (sumAt !== 2) {
    set16(header, 0, srcPort)
    set16(header, 2, dstPort)
  }
  const bytes = concat(header, payload)
  return withChecksum(bytes, sumAt, protocol, covered < 0 ? bytes.length : covered, src, dst, spec.checksum)
}

function withChecksum(
  bytes: Uint8Array, sumAt: number, protocol: number, covered: number, src: Uint8Array, dst: Uint8Array,
  choice: ChecksumChoice | undefined,
): Uint8Array {
  const head = protocol === 1 ? NOTHING : pseudo(src, dst, protocol, bytes.length)
  let sum = ~onesSum(concat(head, bytes.slice(0, covered))) & 0xffff
  // RFC 768, RFC 3828 3.1: a computed zero is sent as all ones, because zero says that none was computed.
  if (sum === 0 && (protocol === 17 || protocol === 136)) sum = 0xffff
  set16(bytes, sumAt, chosen(sum, choice))
  return bytes
}

/** Bytes that `spec` puts in front of the IP header. */
export function linkBytes(spec: LinkSpec): number {
  return spec.link === 'ethernet' ? 14 + 4 * (spec.vlan?.length ?? 0) : 0
}

function withLink(spec: LinkSpec, packet: Uint8Array): Uint8Array {
  if (spec.link !== 'ethernet') return packet
  const header = new Uint8Array(linkBytes(spec))
  header.set(spec.dstMac ?? [2, 0, 0, 0, 0, 2], 0)
  header.set(spec.srcMac ?? [2, 0, 0, 0, 0, 1], 6)
  let at = 12
  for (const vlan of spec.vlan ?? []) {
    set16(header, at, 0x8100)
    set16(header, at + 2, vlan)
    at += 4
  }
  set16(header, at, packet[0] >> 4 === 6 ? 0x86dd : 0x0800)
  return concat(header, packet)
}

function withIp(spec: IpSpec, protocol: number, body: Uint8Array): Uint8Array {
  const src = wordsOf(spec.src), dst = wordsOf(spec.dst), version = spec.ip ?? src.version
  if (src.version !== version || dst.version !== version) throw new RangeError('addresses of two IP versions')
  const { fragOffset = 0, moreFragments = false, id = 0, ttl = 64, tos = 0 } = spec
  if (fragOffset % 8 !== 0) throw new RangeError('a fragment starts at a multiple of 8')
  if (version === 4) {
    const header = concat(new Uint8Array(20), padded(spec.options ?? NOTHING, 4))
    if (header.length > 60) throw new RangeError('more than 40 bytes of options')
    header[0] = 0x40 | header.length >> 2
    header[1] = tos
    set16(header, 2, header.length + body.length)
    set16(header, 4, id)
    set16(header, 6, (spec.dontFragment ? 0x4000 : 0) | (moreFragments ? 0x2000 : 0) | fragOffset >> 3)
    header[8] = ttl
    header[9] = protocol
    header.set(bigEndian(src.words), 12)
    header.set(bigEndian(dst.words), 16)
    set16(header, 10, chosen(~onesSum(header) & 0xffff, spec.ipChecksum))
    return concat(header, body)
  }
  const extensions = [...spec.extensions ?? []]
  if (moreFragments || fragOffset > 0) {
    const body = bigEndian(Int32Array.of(fragOffset | Number(moreFragments), id)).slice(2)
    extensions.push({ header: FRAGMENT, body })
  }
  const parts = extensions.map(({ header, body: rest = NOTHING }, i) => {
    const bytes = padded(concat(Uint8Array.of(0, 0), rest), header === AUTHENTICATION ? 4 : 8)
    bytes[0] = i + 1 < extensions.length ? extensions[i + 1].header : protocol
    if (header !== FRAGMENT) bytes[1] = header === AUTHENTICATION ? (bytes.length >> 2) - 2 : (bytes.length >> 3) - 1
    return bytes
  })
  const content = concat(...parts, body), header = new Uint8Array(40)
  viewOf(header).setInt32(0, 6 << 28 | tos << 20 | (spec.flowLabel ?? 0))
  set16(header, 4, content.length)
  header[6] = extensions.length > 0 ? extensions[0].header : protocol
  header[7] = ttl
  header.set(bigEndian(src.words), 8)
  header.set(bigEndian(dst.words), 24)
  return concat(header, content)
}

export function buildPacket(spec: PacketSpec): Uint8Array {
  const protocol = typeof spec.proto === 'number' ? spec.proto : PROTOCOLS[spec.proto]
  const body = transport(spec, bigEndian(wordsOf(spec.src).words), bigEndian(wordsOf(spec.dst).words))
  return withLink(spec, withIp(spec, protocol, body))
}

export interface FragmentOptions {
  /** Where the IP header starts; what is before it is put before every fragment. */
  l3?: number
  /** Identification of an IPv6 fragment header. */
  id?: number
}

/**
 * Cuts a packet into fragments that carry `sizes` bytes each, and one more with what is left. A size that is no
 * multiple of 8 throws unless nothing is left behind it.
 */
export function fragment(
  packet: Uint8Array, sizes: readonly number[], { l3 = 0, id = 1 }: FragmentOptions = {},
): Uint8Array[] {
  const link = packet.slice(0, l3), bytes = packet.slice(l3)
  const four = bytes[0] >> 4 === 4
  const end = four ? get16(bytes, 2) : 40 + get16(bytes, 4)
  const kept = four ? (bytes[0] & 15) << 2 : perFragmentBytes(bytes)
  const header = bytes.slice(0, kept), content = bytes.slice(kept, end)
  const pieces: Uint8Array[] = []
  let at = 0
  for (const size of [...sizes, content.length]) {
    if (at >= content.length && at > 0) break
    const piece = content.slice(at, at + size), more = at + piece.length < content.length
    if (more && size % 8 !== 0) throw new RangeError('only the last fragment may have any length')
    pieces.push(concat(link, four ? piece4(header, piece, at, more) : piece6(header, bytes, piece, at, more, id)))
    at += size
  }
  return pieces
}

function piece4(header: Uint8Array, piece: Uint8Array, at: number, more: boolean): Uint8Array {
  const was = get16(header, 6)
  const copy = (was & 0x1fff) === 0 && at === 0 ? header.slice() : concat(header.slice(0, 20), copiedOptions(header))
  copy[0] = 0x40 | copy.length >> 2
  set16(copy, 2, copy.length + piece.length)
  set16(copy, 6, was & 0xc000 | (more ? 0x2000 : was & 0x2000) | (was & 0x1fff) + (at >> 3))
  set16(copy, 10, 0)
  set16(copy, 10, ~onesSum(copy) & 0xffff)
  return concat(copy, piece)
}

/** RFC 791 3.1: options whose copied flag is set go into every fragment, the others only into the first. */
function copiedOptions(header: Uint8Array): Uint8Array {
  const kept: Uint8Array[] = []
  for (let at = 20; at < header.length && header[at] !== 0;) {
    const bytes = header[at] === 1 ? 1 : Math.max(header[at + 1], 2)
    if (header[at] & 128) kept.push(header.slice(at, at + bytes))
    at += bytes
  }
  return padded(concat(...kept), 4)
}

function piece6(
  header: Uint8Array, whole: Uint8Array, piece: Uint8Array, at: number, more: boolean, id: number,
): Uint8Array {
  const copy = header.slice(), extension = new Uint8Array(8), nextAt = lastNextHeaderAt(whole, header.length)
  extension[0] = copy[nextAt]
  copy[nextAt] = FRAGMENT
  set16(extension, 2, at | Number(more))
  viewOf(extension).setInt32(4, id)
  set16(copy, 4, copy.length - 40 + 8 + piece.length)
  return concat(copy, extension, piece)
}

/** RFC 8200 4.5: the part repeated in every fragment ends with the routing header, or else the hop-by-hop header. */
function perFragmentBytes(bytes: Uint8Array): number {
  let at = 40, next = bytes[6], kept = 40
  while ((next === HOP_BY_HOP || next === ROUTING || next === DESTINATION) && at + 8 <= bytes.length) {
    const header = next
    next = bytes[at]
    at += (bytes[at + 1] + 1) * 8
    if (header !== DESTINATION) kept = at
  }
  return kept
}

/** Offset of the next-header byte that names what begins at `end`. */
function lastNextHeaderAt(bytes: Uint8Array, end: number): number {
  let nextAt = 6
  for (let at = 40; at < end; at += (bytes[at + 1] + 1) * 8) nextAt = at
  return nextAt
}

export interface IcmpErrorSpec extends Omit<IpSpec, 'dst'> {
  /** The packet complained about, from its IP header on. */
  original: Uint8Array
  /** Default: the source of `original`. */
  dst?: AddressLike
  icmpType: number
  icmpCode?: number
  /** Second word of the header: MTU (RFC 1191, RFC 4443 3.2), pointer (RFC 4443 3.4; shift it by 24 for RFC 792). */
  word?: number
  /** Most bytes of `original` to quote; default: what fits 576 bytes (RFC 1812 4.3.2.3) or 1280 (RFC 4443 2.4). */
  quoteBytes?: number
  /** Extension structure (RFC 4884), behind a quote padded to 128 bytes. */
  multipart?: Uint8Array
}

/** An ICMP or ICMPv6 error about `original`. */
export function icmpError(spec: IcmpErrorSpec): Uint8Array {
  const { original, multipart } = spec
  const four = original[0] >> 4 === 4
  const src = wordsOf(spec.src)
  const dst = spec.dst ?? wordsIn(original, four ? 12 : 8, four)
  const room = four ? 576 - 28 : 1280 - 48
  let quote: Uint8Array = original.slice(0, Math.min(spec.quoteBytes ?? room, original.length))
  const header = new Uint8Array(8)
  header[0] = spec.icmpType
  header[1] = spec.icmpCode ?? 0
  viewOf(header).setUint32(4, spec.word ?? 0)
  if (multipart) {
    quote = padded(quote.length < 128 ? concat(quote, new Uint8Array(128 - quote.length)) : quote, four ? 4 : 8)
    header[four ? 5 : 4] = quote.length / (four ? 4 : 8)
  }
  const body = concat(header, quote, multipart ?? NOTHING), protocol = four ? 1 : 58
  withChecksum(body, 2, protocol, body.length, bigEndian(src.words), bigEndian(wordsOf(dst).words), spec.checksum)
  return withLink(spec, withIp({ ...spec, dst }, protocol, body))
}

function wordsIn(bytes: Uint8Array, at: number, four: boolean): AddressLike {
  const v = viewOf(bytes)
  return four ? v.getInt32(at) : Int32Array.from([0, 4, 8, 12], step => v.getInt32(at + step))
}

/**
 * Everything that is wrong with the lengths and checksums of a packet, in words; an empty list is a clean packet.
 * Packets quoted by ICMP errors are judged too, as far as they are quoted, and their faults begin with `quoted`.
 * Fragments have no checksum of their own above IPv4. What lies behind ESP is not judged, and packets with a home
 * address option (RFC 6275 6.3) are judged wrongly.
 */
export function verify(bytes: Uint8Array, l3off = 0, end = bytes.length): string[] {
  const problems: string[] = []
  judge(bytes.slice(l3off, end), problems, '')
  return problems
}

function judge(bytes: Uint8Array, problems: string[], quoted: string): void {
  const say = (what: string) => { problems.push(quoted + what) }
  const version = bytes.length > 0 ? bytes[0] >> 4 : 0
  if (version !== 4 && version !== 6) return say('ip: version ' + version)
  if (bytes.length < (version === 4 ? 20 : 40)) return say('ip: header cut short')
  if (version === 4) {
    const header = (bytes[0] & 15) << 2, total = get16(bytes, 2), flags = get16(bytes, 6)
    if (header < 20 || header > bytes.length) return say('ipv4: header length ' + header)
    if (onesSum(bytes.slice(0, header)) !== 0xffff) say('ipv4: header checksum')
    if (total < header) return say('ipv4: total length ' + total)
    if (total > bytes.length && quoted === '') return say('ipv4: total length ' + total + ' beyond the frame')
    const offset = (flags & 0x1fff) << 3, more = (flags & 0x2000) !== 0
    if (more && (total - header) % 8 !== 0) say('ipv4: fragment length ' + (total - header))
    if (offset + total - header > 65535) say('ipv4: fragment ends past 65535')
    if (more || offset > 0) return
    const body = bytes.slice(header, total)
    judgeTransport(body, total - header, bytes[9], bytes.slice(12, 16), bytes.slice(16, 20), problems, quoted)
    return
  }
  const end = 40 + get16(bytes, 4)
  if (end > bytes.length && quoted === '') return say('ipv6: payload length ' + (end - 40) + ' beyond the frame')
  let at = 40, next = bytes[6], dst: Uint8Array | null = bytes.slice(24, 40)
  const have = Math.min(end, bytes.length)
  while (EXTENSIONS.includes(next)) {
    if (at + 8 > have) return quoted === '' ? say('ipv6: extension header cut short') : undefined
    let length = (bytes[at + 1] + 1) * 8
    if (next === AUTHENTICATION) length = (bytes[at + 1] + 2) * 4
    if (next === FRAGMENT) {
      length = 8
      const word = get16(bytes, at + 2)
      if ((word & 1) !== 0 && (end - at - 8) % 8 !== 0) say('ipv6: fragment length ' + (end - at - 8))
      if ((word & 0xfff8) + end - at - 8 > 65535) say('ipv6: fragment ends past 65535')
      // An atomic fragment (RFC 6946) is a whole packet.
      if ((word & 0xfff9) !== 0) return
    }
    if (at + length > have) return quoted === '' ? say('ipv6: extension header cut short') : undefined
    // RFC 8200 8.1: the pseudo header has the final destination, which a routing header holds until it is used up.
    if (next === ROUTING && bytes[at + 3] > 0) dst = finalDestination(bytes.slice(at, at + length))
    next = bytes[at]
    at += length
  }
  if (dst === null) return
  judgeTransport(bytes.slice(at, end), end - at, next, bytes.slice(8, 24), dst, problems, quoted)
}

function finalDestination(header: Uint8Array): Uint8Array | null {
  const type = header[2]
  if (type === 0 && header.length >= 24) return header.slice(-16)              // RFC 2460 4.4
  if ((type === 2 || type === 4) && header.length >= 24) return header.slice(8, 24)   // RFC 6275 6.4, RFC 8754 2
  return null
}

const SMALLEST: Record<number, number> = { 1: 8, 6: 20, 17: 8, 33: 12, 58: 4, 136: 8 }
const NAMES: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 33: 'dccp', 58: 'icmp6', 136: 'udplite' }

/** `bytes` are those present, `length` those the IP header promises; a quote may have fewer. */
function judgeTransport(
  bytes: Uint8Array, length: number, protocol: number, src: Uint8Array, dst: Uint8Array,
  problems: string[], quoted: string,
): void {
  const name = NAMES[protocol]
  if (name === undefined) return
  const say = (what: string) => { problems.push(quoted + name + ': ' + what) }
  if (bytes.length < SMALLEST[protocol]) return bytes.length === length ? say('header cut short') : undefined
  let covered = length
  if (protocol === 17) {
    const stated = get16(bytes, 4)
    if (stated < 8 || stated > length) return say('length ' + stated)
    if (get16(bytes, 6) === 0) return src.length === 16 ? say('no checksum over IPv6') : undefined
    covered = length = stated
  } else if (protocol === 136) {
    const stated = get16(bytes, 4)
    if (stated !== 0 && stated < 8 || stated > length) return say('coverage ' + stated)
    if (get16(bytes, 6) === 0) return say('no checksum')
    covered = stated || length
  } else if (protocol === 6 || protocol === 33) {
    const header = protocol === 6 ? bytes[12] >> 4 << 2 : bytes[4] << 2
    if (header < SMALLEST[protocol] || header > length) return say('header length ' + header)
    // RFC 4340 9.2: 0 covers all, n the header and n-1 words.
    if (protocol === 33 && (bytes[5] & 15) !== 0) {
      covered = header + 4 * ((bytes[5] & 15) - 1)
      if (covered > length) return say('checksum coverage ' + (bytes[5] & 15))
    }
  }
  if (covered <= bytes.length) {
    const head = protocol === 1 ? NOTHING : pseudo(src, dst, protocol, length)
    if (onesSum(concat(head, bytes.slice(0, covered))) !== 0xffff) say('checksum')
  }
  if (quoted !== '') return
  // RFC 792: types 3, 4, 5, 11, 12; RFC 4443: types 1 to 4.
  const errors = protocol === 1 ? [3, 4, 5, 11, 12] : protocol === 58 ? [1, 2, 3, 4] : []
  if (!errors.includes(bytes[0])) return
  const unit = protocol === 1 ? 4 : 8, stated = bytes[protocol === 1 ? 5 : 4] * unit
  // RFC 4884 4: a length means that an extension structure follows the quote. Too big and redirect have none.
  const multipart = (protocol === 1 ? [3, 11, 12] : [1, 3]).includes(bytes[0])
  judge(bytes.slice(8, multipart && stated > 0 ? 8 + stated : bytes.length), problems, 'quoted ')
}
