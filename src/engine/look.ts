/**
 * The first look at a packet: every length and offset that later steps rely on is checked here, in the order of
 * docs/behaviour.md, and what they need is put into the row. Nothing is decided that depends on flows or time, so a whole batch
 * can be looked at ahead of the decisions; doing so lets the loads of many packets from large tables overlap (engine.ts).
 */
import { reasonIndex } from '../channel/reasons.ts'
import {
  NET_ARP, NET_IPV4, NET_IPV6, NET_LINK_TRUNCATED, NET_LINK_UNSUPPORTED, NET_NOT_IP, SIDE_INSIDE, SIDE_OUTSIDE,
} from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { CLASSES, CLASS_NONE, CLASS_OF } from './flows.ts'
import { CHECKSUM_IGNORE, CHECKSUM_REPAIR_ZERO } from './options.ts'
import {
  FIRST_FRAGMENT, PATH_4, PATH_4_ERROR, PATH_4_OWNER, PATH_4_PEER, PATH_6, PATH_6_ERROR, PATH_EXPIRED, PATH_LATER,
} from './rows.ts'
import { type Shared, reject } from './shared.ts'

const IP_TRUNCATED = reasonIndex('ip-truncated'), IP_BAD_VERSION = reasonIndex('ip-bad-version')
const BAD_HEADER_LENGTH = reasonIndex('ipv4-bad-header-length'), IP_BAD_LENGTH = reasonIndex('ip-bad-length')
const BAD_CHECKSUM = reasonIndex('ipv4-bad-checksum')
const BAD_OPTIONS = reasonIndex('ipv4-bad-options'), SOURCE_ROUTE = reasonIndex('ipv4-source-route')
const BAD_EXTENSION = reasonIndex('ipv6-bad-extension'), ROUTING_0 = reasonIndex('ipv6-routing-header-0')
const MARTIAN_SOURCE = reasonIndex('martian-source'), MARTIAN_DESTINATION = reasonIndex('martian-destination')
const MULTICAST = reasonIndex('multicast'), LINK_LOCAL = reasonIndex('link-local')
const TRANSPORT_TRUNCATED = reasonIndex('transport-truncated'), TRANSPORT_BAD_LENGTH = reasonIndex('transport-bad-length')
const FRAGMENT_TINY = reasonIndex('fragment-tiny')
const ICMP_NOT_FORWARDED = reasonIndex('icmp-not-forwarded')

const LINK_REASON = new Uint8Array(16)
LINK_REASON[NET_LINK_UNSUPPORTED] = reasonIndex('link-unsupported')
LINK_REASON[NET_LINK_TRUNCATED] = reasonIndex('link-truncated')
LINK_REASON[NET_NOT_IP] = reasonIndex('not-ip')
LINK_REASON[NET_ARP] = reasonIndex('arp')

const UDP = 17, TCP = 6, ICMP = 1, ICMP6 = 58
const KIND_4 = 4 << 8, KIND_6 = 6 << 8

/** What an ICMP type is to a NAT. */
const TYPE_OTHER = 0, TYPE_ERROR = 1, TYPE_QUERY = 2, TYPE_REPLY = 3
const TYPES_4 = new Uint8Array(256)
TYPES_4[icmp.UNREACHABLE] = TYPES_4[icmp.TIME_EXCEEDED] = TYPES_4[icmp.PARAMETER_PROBLEM] = TYPE_ERROR
TYPES_4[icmp.ECHO_REQUEST] = TYPES_4[icmp.TIMESTAMP_REQUEST] = TYPE_QUERY
TYPES_4[icmp.ECHO_REPLY] = TYPES_4[icmp.TIMESTAMP_REPLY] = TYPE_REPLY
const TYPES_6 = new Uint8Array(256)
TYPES_6.fill(TYPE_ERROR, icmp.V6_UNREACHABLE, icmp.V6_PARAMETER_PROBLEM + 1)
TYPES_6[icmp.V6_ECHO_REQUEST] = TYPE_QUERY
TYPES_6[icmp.V6_ECHO_REPLY] = TYPE_REPLY

/** Is this ICMP type an error message, a query, the answer to one? By version 4 or 6. */
export function isError(version: number, type: number): boolean {
  return (version === 4 ? TYPES_4 : TYPES_6)[type] === TYPE_ERROR
}
export function isQuery(version: number, type: number): boolean {
  return (version === 4 ? TYPES_4 : TYPES_6)[type] === TYPE_QUERY
}
export function isReply(version: number, type: number): boolean {
  return (version === 4 ? TYPES_4 : TYPES_6)[type] === TYPE_REPLY
}

/** Bytes of transport header that must be there, by protocol; the numbers of ICMP and ICMPv6 do not clash. */
export const TRANSPORT_BYTES = new Uint8Array(256)
TRANSPORT_BYTES[TCP] = 20
TRANSPORT_BYTES[UDP] = TRANSPORT_BYTES[ICMP] = TRANSPORT_BYTES[ICMP6] = 8

export type Look = ReturnType<typeof createLook>

export function createLook({ options, frames, rows, pool, flows }: Omit<Shared, 'extras'>) {
  const { view, off, capBytes, wireBytes, net, l3, side, netBytes } = frames
  const { path, src: srcColumn, dst: dstColumn, ports: portsColumn, kind: kindColumn, l4: l4Column, word2: word2Column } = rows
  const { hash: hashColumn, fragment: fragmentColumn, hint: hintColumn } = rows
  const { index, indexMask, slotMask, portOwner, F, hash4, hash6, guess } = flows
  const { indexOf } = pool
  const nat44 = options.nat44
  const checksumMode = options.ipv4Checksum
  const walk = ipv6.createWalk()
  const sink = new Int32Array(1)

  // First octets that need a closer look; nearly all addresses pass by one load.
  const closerSource = new Uint8Array(256), closerDestination = new Uint8Array(256)
  for (const octet of [0, 127, 169]) closerSource[octet] = closerDestination[octet] = 1
  closerSource.fill(1, 224)
  closerDestination.fill(1, 224)
  if (nat44) for (const address of options.pool) closerSource[address >>> 24] = 1

  function isMartian(address: number): boolean {
    const octet = address >>> 24
    return octet === 0 || octet === 127 || (octet >= 240 && address !== -1)
  }

  /** Reason to drop a packet between these addresses, or -1. */
  function judgeAddresses4(src: number, dst: number): number {
    if (isMartian(src) || src >>> 24 >= 224 || (nat44 && indexOf(src) >= 0)) return MARTIAN_SOURCE
    if (isMartian(dst)) return MARTIAN_DESTINATION
    if (dst >>> 28 === 14 || dst === -1) return MULTICAST
    if (src >>> 16 === 0xa9fe || dst >>> 16 === 0xa9fe) return LINK_LOCAL
    return -1
  }

  /** The IPv4 header apart from its everyday form: returns its length, or 0 after rejecting the row. */
  function lookAtHeader4(i: number, p: number, captured: number, onWire: number): number {
    if (captured < ipv4.HEADER_BYTES) return fail(i, IP_TRUNCATED)
    const versionIhl = ipv4.versionIhl(view, p)
    if (versionIhl >>> 4 !== 4) return fail(i, IP_BAD_VERSION)
    const bytes = (versionIhl & 15) << 2
    if (bytes < ipv4.HEADER_BYTES) return fail(i, BAD_HEADER_LENGTH)
    const total = ipv4.totalLength(view, p)
    if (total < bytes || total > onWire) return fail(i, IP_BAD_LENGTH)
    if (bytes > captured) return fail(i, IP_TRUNCATED)
    if (checksumMode !== CHECKSUM_IGNORE) {
      let sum = ipv4.headerSum(view, p)
      for (let at = p + ipv4.HEADER_BYTES; at < p + bytes; at += 2) sum += view.getUint16(at)
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
      if (sum !== 0xffff) {
        if (checksumMode !== CHECKSUM_REPAIR_ZERO || ipv4.checksum(view, p) !== 0) return fail(i, BAD_CHECKSUM)
        // Left to the hardware when it was captured: a header sum is never 0, so 0 is no checksum.
        ipv4.setChecksum(view, p, ~sum & 0xffff)
      }
    }
    if (bytes > ipv4.HEADER_BYTES) {
      const options = ipv4.checkOptions(view, p, p + bytes)
      if (options === ipv4.OPTIONS_BAD) return fail(i, BAD_OPTIONS)
      if (options === ipv4.OPTIONS_SOURCE_ROUTE) return fail(i, SOURCE_ROUTE)
    }
    return bytes
  }

  function fail(i: number, reason: number): 0 {
    reject(rows, frames, i, reason)
    return 0
  }

  function look4(i: number): void {
    const p = l3[i]
    const captured = off[i] + capBytes[i] - p
    const onWire = off[i] + wireBytes[i] - p
    let headerBytes = ipv4.HEADER_BYTES
    netBytes[i] = onWire
    let word0 = 0, word1 = 0, word2 = 0, src = 0, dst = 0
    let plain = false
    if (captured >= ipv4.HEADER_BYTES) {
      // Five loads serve every field of the header, its checksum included.
      word0 = view.getInt32(p)
      word1 = view.getInt32(p + 4)
      word2 = view.getInt32(p + 8)
      src = view.getInt32(p + 12)
      dst = view.getInt32(p + 16)
      const sum = (word0 >>> 16) + (word0 & 0xffff) + (word1 >>> 16) + (word1 & 0xffff) + (word2 >>> 16) + (word2 & 0xffff)
        + (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff)
      plain = word0 >>> 24 === 0x45 && (word0 & 0xffff) >= ipv4.HEADER_BYTES && (word0 & 0xffff) <= onWire
        && (sum & 0xffff) + (sum >>> 16) === 0xffff
    }
    if (!plain) {
      headerBytes = lookAtHeader4(i, p, captured, onWire)
      if (headerBytes === 0) return
      word2 = view.getInt32(p + 8)
    }
    const total = word0 & 0xffff
    netBytes[i] = total

    if ((closerSource[src >>> 24] | closerDestination[dst >>> 24]) !== 0) {
      const reason = judgeAddresses4(src, dst)
      if (reason >= 0) return reject(rows, frames, i, reason)
    }
    const protocol = (word2 >>> 16) & 255
    const kind = KIND_4 | protocol
    srcColumn[i] = src
    dstColumn[i] = dst
    kindColumn[i] = kind
    word2Column[i] = word2
    const l4 = p + headerBytes
    l4Column[i] = l4
    hintColumn[i] = 0
    if (word2 >>> 24 <= 1) {
      path[i] = PATH_EXPIRED
      return
    }
    let first = 0
    if ((word1 & 0x3fff) !== 0) {
      if ((word1 & ipv4.OFFSET_MASK) !== 0) {
        path[i] = PATH_LATER
        return
      }
      first = FIRST_FRAGMENT
    }
    lookAtTransport(i, p, l4, captured, total, protocol, first)
    if (path[i] !== PATH_4) {
      path[i] |= first
      return
    }

    const ports = portsColumn[i]
    if (side[i] === SIDE_INSIDE) hashColumn[i] = hash4(src, dst, ports, kind)
    else {
      const poolIndex = nat44 ? indexOf(dst) : -1
      if (poolIndex >= 0) {
        const portClass = CLASS_OF[protocol]
        if (portClass !== CLASS_NONE) {
          hashColumn[i] = ((poolIndex * CLASSES + portClass) << 16) | (ports & 0xffff)
          path[i] = PATH_4_OWNER | first
        } else path[i] = PATH_4_PEER | first
        return
      }
      hashColumn[i] = hash4(dst, src, (ports << 16) | (ports >>> 16), kind)
    }
    path[i] |= first
  }

  /** Checks the transport header and sets ports and path: PATH_4, PATH_4_ERROR or a rejection. */
  function lookAtTransport(
    i: number, p: number, l4: number, captured: number, total: number, protocol: number, first: number,
  ): void {
    const need = TRANSPORT_BYTES[protocol]
    path[i] = PATH_4
    if (need === 0 || protocol === ICMP6) {
      portsColumn[i] = 0
      return
    }
    const payload = p + total - l4
    if (payload < need) return reject(rows, frames, i, first !== 0 ? FRAGMENT_TINY : TRANSPORT_BAD_LENGTH)
    if (l4 + need > p + captured) return reject(rows, frames, i, TRANSPORT_TRUNCATED)
    if (protocol === ICMP) {
      const what = TYPES_4[icmp.type(view, l4)]
      if (what === TYPE_ERROR) path[i] = PATH_4_ERROR
      else if (what === TYPE_OTHER) reject(rows, frames, i, ICMP_NOT_FORWARDED)
      portsColumn[i] = icmp.id(view, l4) << (side[i] === SIDE_INSIDE ? 16 : 0)
      return
    }
    portsColumn[i] = view.getInt32(l4)
    if (protocol === UDP) {
      const bytes = view.getUint16(l4 + 4)
      if (bytes < 8 || (bytes > payload && first === 0)) reject(rows, frames, i, TRANSPORT_BAD_LENGTH)
    } else {
      const bytes = (view.getUint8(l4 + 12) >>> 4) << 2
      if (bytes < 20 || (bytes > payload && first === 0)) reject(rows, frames, i, TRANSPORT_BAD_LENGTH)
    }
  }

  /** Reason to drop an IPv6 packet for its addresses, or -1. */
  function judgeAddresses6(p: number): number {
    const s0 = ipv6.srcWord(view, p, 0), d0 = ipv6.dstWord(view, p, 0)
    // Nearly all addresses are global or unique local: their first word is not 0, their first octet neither fe nor ff.
    if (s0 !== 0 && d0 !== 0 && s0 >>> 25 !== 0x7f && d0 >>> 25 !== 0x7f) return -1
    if (s0 >>> 24 === 0xff || isReserved6(p + ipv6.SRC)) return MARTIAN_SOURCE
    if (isReserved6(p + ipv6.DST)) return MARTIAN_DESTINATION
    if (d0 >>> 24 === 0xff) return MULTICAST
    if (s0 >>> 22 === 0x3fa || d0 >>> 22 === 0x3fa) return LINK_LOCAL
    return -1
  }

  /** ::, ::1 and ::ffff:0:0/96. */
  function isReserved6(at: number): boolean {
    if (view.getInt32(at) !== 0 || view.getInt32(at + 4) !== 0) return false
    const word2 = view.getInt32(at + 8), word3 = view.getInt32(at + 12)
    return word2 === 0xffff || (word2 === 0 && word3 >>> 1 === 0)
  }

  function look6(i: number): void {
    const p = l3[i]
    const captured = off[i] + capBytes[i] - p
    const onWire = off[i] + wireBytes[i] - p
    netBytes[i] = onWire
    if (captured < ipv6.HEADER_BYTES) return reject(rows, frames, i, IP_TRUNCATED)
    if (ipv6.version(view, p) !== 6) return reject(rows, frames, i, IP_BAD_VERSION)
    const total = ipv6.HEADER_BYTES + ipv6.payloadLength(view, p)
    if (total > onWire) return reject(rows, frames, i, IP_BAD_LENGTH)
    netBytes[i] = total
    const walked = ipv6.walk(view, p, p + captured, p + total, walk)
    if (walked === ipv6.WALK_TRUNCATED) return reject(rows, frames, i, IP_TRUNCATED)
    if (walked === ipv6.WALK_BAD) return reject(rows, frames, i, BAD_EXTENSION)
    if (walked === ipv6.WALK_ROUTING_0) return reject(rows, frames, i, ROUTING_0)
    const reason = judgeAddresses6(p)
    if (reason >= 0) return reject(rows, frames, i, reason)

    const protocol = walk.at[ipv6.WALK_PROTOCOL]
    const fragment = walk.at[ipv6.WALK_FRAGMENT]
    const kind = KIND_6 | protocol
    const l4 = walk.at[ipv6.WALK_L4]
    kindColumn[i] = kind
    l4Column[i] = l4
    fragmentColumn[i] = fragment
    hintColumn[i] = 0
    portsColumn[i] = 0
    if (ipv6.hopLimit(view, p) <= 1) {
      path[i] = PATH_EXPIRED
      return
    }
    let first = 0
    if (fragment !== 0) {
      const word = view.getUint16(fragment + 2)
      if ((word & 0xfff8) !== 0) {
        path[i] = PATH_LATER
        return
      }
      if ((word & ipv6.FRAGMENT_MORE) !== 0) first = FIRST_FRAGMENT
    }
    path[i] = PATH_6
    if (protocol === ICMP6) lookAtIcmp6(i, p, l4, captured, total, first)
    else if (protocol !== ICMP) {
      lookAtTransport(i, p, l4, captured, total, protocol, first)
      if (path[i] === PATH_4) path[i] = PATH_6
    }
    if (path[i] === PATH_6) hashColumn[i] = hashRow6(i)
    path[i] |= first
  }

  function lookAtIcmp6(i: number, p: number, l4: number, captured: number, total: number, first: number): void {
    if (p + total - l4 < 8) return reject(rows, frames, i, first !== 0 ? FRAGMENT_TINY : TRANSPORT_BAD_LENGTH)
    if (l4 + 8 > p + captured) return reject(rows, frames, i, TRANSPORT_TRUNCATED)
    const what = TYPES_6[icmp.type(view, l4)]
    if (what === TYPE_ERROR) path[i] = PATH_6_ERROR
    else if (what === TYPE_OTHER) reject(rows, frames, i, ICMP_NOT_FORWARDED)
    portsColumn[i] = icmp.id(view, l4) << (side[i] === SIDE_INSIDE ? 16 : 0)
  }

  function hashRow6(i: number): number {
    const p = l3[i]
    const outside = side[i] === SIDE_OUTSIDE
    const inside = p + (outside ? ipv6.DST : ipv6.SRC)
    const peer = p + (outside ? ipv6.SRC : ipv6.DST)
    const ports = portsColumn[i]
    return hash6(view.getInt32(inside), view.getInt32(inside + 4), view.getInt32(inside + 8), view.getInt32(inside + 12),
      view.getInt32(peer), view.getInt32(peer + 4), view.getInt32(peer + 8), view.getInt32(peer + 12),
      outside ? (ports << 16) | (ports >>> 16) : ports, kindColumn[i])
  }

  /** Looks at row i. Its `off`, `capBytes`, `wireBytes`, `net`, `l3` and `side` are set. */
  function look(i: number): void {
    const what = net[i]
    if (what === NET_IPV4) look4(i)
    else if (what === NET_IPV6) look6(i)
    else {
      netBytes[i] = wireBytes[i]
      reject(rows, frames, i, LINK_REASON[what])
    }
  }

  /**
   * Looks at rows 0 … count-1 and touches what their decisions will read. The three loops are the point: within one, no load
   * waits for another, so a batch pays for memory latency a few times instead of once or twice a packet.
   */
  function lookAhead(count: number): void {
    for (let i = 0; i < count; i++) look(i)
    for (let i = 0; i < count; i++) {
      const which = path[i] & (FIRST_FRAGMENT - 1)
      if (which === PATH_4 || which === PATH_6) {
        const hash = hashColumn[i]
        const entry = index[hash & indexMask]
        hintColumn[i] = entry === 0 ? 0 : ((entry ^ hash) & ~slotMask) === 0 ? entry & slotMask : guess(hash)
      } else if (which === PATH_4_OWNER) hintColumn[i] = portOwner[hashColumn[i]]
    }
    let touched = 0
    for (let i = 0; i < count; i++) touched = touched + F[hintColumn[i] << 4] | 0
    // Stored so that the loads cannot be dropped as unused.
    sink[0] = touched
  }

  return { look, lookAhead }
}

