/**
 * The first look at a packet: every length and offset that later steps rely on is checked here, in the order of
 * docs/behaviour.md, and what they need is put into the row. Nothing is decided that depends on flows or time, so a whole batch
 * can be looked at ahead of the decisions, and what these will read can be on its way from memory meanwhile.
 */
import { counterIndex } from '../channel/counters.ts'
import { reasonIndex } from '../channel/reasons.ts'
import {
  NET_ARP, NET_IPV4, NET_IPV6, NET_LINK_TRUNCATED, NET_LINK_UNSUPPORTED, NET_NOT_IP, SIDE_OUTSIDE,
} from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as tcp from '../wire/tcp.ts'
import { FLOW_BITS, INSIDE, OUTSIDE_PORTS, PEER, PORTS } from './flows.ts'
import { CLASSES, CLASS_NONE, CLASS_OF, CLASS_TCP } from './ports.ts'
import { CHECKSUM_IGNORE, CHECKSUM_REPAIR_ZERO, IDENTIFY_ALL, SPOOFING_BOTH, SPOOFING_IGNORE } from './options.ts'
import {
  EGRESS, FIRST_FRAGMENT, PATH_4, PATH_4_ERROR, PATH_4_OTHER, PATH_4_PLAIN, PATH_6, PATH_6_ERROR, PATH_DROP, PATH_EXPIRED,
  PATH_LATER,
} from './rows.ts'
import { TURNED } from './share.ts'
import { type Shared, reject } from './shared.ts'
import { BAD_FLAGS, judgeFlags } from './tcp-flags.ts'

const IP_TRUNCATED = reasonIndex('ip-truncated'), IP_BAD_VERSION = reasonIndex('ip-bad-version')
const BAD_HEADER_LENGTH = reasonIndex('ipv4-bad-header-length'), IP_BAD_LENGTH = reasonIndex('ip-bad-length')
const BAD_CHECKSUM = reasonIndex('ipv4-bad-checksum')
const BAD_OPTIONS = reasonIndex('ipv4-bad-options'), SOURCE_ROUTE = reasonIndex('ipv4-source-route')
const BAD_EXTENSION = reasonIndex('ipv6-bad-extension'), ROUTING_0 = reasonIndex('ipv6-routing-header-0')
const MARTIAN_SOURCE = reasonIndex('martian-source'), MARTIAN_DESTINATION = reasonIndex('martian-destination')
const LAND = reasonIndex('land'), SPOOFED_SOURCE = reasonIndex('spoofed-source'), UNIQUE_LOCAL = reasonIndex('unique-local')
const MULTICAST = reasonIndex('multicast'), LINK_LOCAL = reasonIndex('link-local')
const TRANSPORT_TRUNCATED = reasonIndex('transport-truncated'), TRANSPORT_BAD_LENGTH = reasonIndex('transport-bad-length')
const FRAGMENT_TINY = reasonIndex('fragment-tiny')
const ICMP_NOT_FORWARDED = reasonIndex('icmp-not-forwarded')
/** Of bytes in a packet. */
const NO_LIMIT = 1 << 24

const LINK_REASON = new Uint8Array(16)
LINK_REASON[NET_LINK_UNSUPPORTED] = reasonIndex('link-unsupported')
LINK_REASON[NET_LINK_TRUNCATED] = reasonIndex('link-truncated')
LINK_REASON[NET_NOT_IP] = reasonIndex('not-ip')
LINK_REASON[NET_ARP] = reasonIndex('arp')

const UDP = 17, TCP = 6, ICMP = 1, ICMP6 = 58

/** What an ICMP type is to a NAT. */
const TYPE_OTHER = 0, TYPE_ERROR = 1, TYPE_QUERY = 2, TYPE_REPLY = 3
// @req RFC5508 REQ-10b1, REQ-10b4, REQ-10b6, REQ-10c1, REQ-10c2, REQ-11
const TYPES_4 = new Uint8Array(256)
TYPES_4[icmp.UNREACHABLE] = TYPES_4[icmp.TIME_EXCEEDED] = TYPES_4[icmp.PARAMETER_PROBLEM] = TYPE_ERROR
// @req RFC5508 REQ-10b2
TYPES_4[icmp.ECHO_REQUEST] = TYPES_4[icmp.TIMESTAMP_REQUEST] = TYPE_QUERY
TYPES_4[icmp.ECHO_REPLY] = TYPES_4[icmp.TIMESTAMP_REPLY] = TYPE_REPLY
// @req RFC4890 4.3.1a, 4.3.1b, 4.3.2a, 4.3.3, 4.3.4a, 4.3.4b, 4.3.4c, 4.3.5a, 4.3.5b, 4.3.5c
const TYPES_6 = new Uint8Array(256)
TYPES_6.fill(TYPE_ERROR, icmp.V6_UNREACHABLE, icmp.V6_PARAMETER_PROBLEM + 1)
TYPES_6[icmp.V6_ECHO_REQUEST] = TYPE_QUERY
// @req RFC4890 4.3.2b
// Mobile IPv6 (RFC 6275 6.5 to 6.8): they have an identifier too, but an answer comes from another address than was asked.
TYPES_6.fill(TYPE_QUERY, icmp.V6_HOME_AGENT_REQUEST, icmp.V6_MOBILE_PREFIX_ADVERTISEMENT + 1)
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

/** Bytes of header that UDP and TCP must have. */
const TRANSPORT_BYTES = new Uint8Array(256)
TRANSPORT_BYTES[TCP] = 20
TRANSPORT_BYTES[UDP] = 8

/** Bytes of transport header that must be there, by version << 8 | protocol. ICMP over IPv6, or the reverse, has none here. */
export function transportBytes(kind: number): number {
  return kind === (4 << 8 | ICMP) || kind === (6 << 8 | ICMP6) ? icmp.HEADER_BYTES : TRANSPORT_BYTES[kind & 255]
}

/** All ones for UDP: chooses between two loads without a branch. */
const IS_UDP = new Int32Array(256)
IS_UDP[UDP] = -1

export function createLook({ options, frames, rows, pool, flows, counters, npt6, share }: Omit<Shared, 'extras'>) {
  const { view, off, capBytes, wireBytes, net, l3, group, side, netBytes } = frames
  const { path, local: localColumn, peer: peerColumn, ports: portsColumn, kind: kindColumn, l4: l4Column } = rows
  const { word2: word2Column, place: placeColumn, tag: tagColumn, hash: hashColumn } = rows
  const { fragment: fragmentColumn, hint: hintColumn } = rows
  const { places, indexMask, slotMask, ownerStart, F, hash4, hash6, addressOwner } = flows
  const { indexOf } = pool
  const tagMask = ~slotMask
  const nat44 = options.nat44
  const checksumMode = options.ipv4Checksum
  const badFlags = options.tcpFlags ? BAD_FLAGS : 0
  const isGuarded = options.spoofing !== SPOOFING_IGNORE
  const isStrict6 = options.reserved6 === true, staysLocal = options.uniqueLocal === true
  const judgesMore6 = isStrict6 || staysLocal || npt6 !== null
  const guardedInside = options.spoofing === SPOOFING_BOTH ? 1 : 0
  const { count4, has6 } = options.inside
  const poolSize = pool.shared
  const hasWhole = pool.size > pool.shared
  const poolStart = pool.start ?? 0
  const isContiguous = pool.start !== null
  const mostBytes = Math.min(options.mtuInside || NO_LIMIT, options.mtuOutside || NO_LIMIT)
  const clampsMss = (options.mss ?? 0) !== 0
  const identifiesAll = nat44 && options.identification === IDENTIFY_ALL
  const watchesMore = clampsMss || identifiesAll, mayNeedMore = watchesMore || mostBytes !== NO_LIMIT
  const walk = ipv6.createWalk()
  const sink = new Int32Array(1)
  const CURRENT = counterIndex('flows-current')
  const MAPPINGS_OPENED = counterIndex('mappings-opened'), MAPPINGS_CLOSED = counterIndex('mappings-closed')
  const $again = new Int32Array(frames.capacity)
  const $inside = new Int32Array(4)

  // First octets that need a closer look; nearly all addresses pass by one load.
  const closerSource = new Uint8Array(256), closerDestination = new Uint8Array(256)
  for (const octet of [0, 127, 169]) closerSource[octet] = closerDestination[octet] = 1
  closerSource.fill(1, 224)
  closerDestination.fill(1, 224)
  if (nat44) for (let index = 0; index < pool.size; index++) closerSource[pool.addressAt(index) >>> 24] = 1

  function isMartian(address: number): boolean {
    const octet = address >>> 24
    return octet === 0 || octet === 127 || (octet >= 240 && address !== -1)
  }

  // @req RFC6092 REC-5, REC-6
  /** Does a source that is inside (1) or not (0) come from the wrong side (RFC 2827)? */
  function isSpoofed(fromOutside: number, isInside: number): boolean {
    return ((fromOutside ^ isInside ^ 1) & (fromOutside | guardedInside)) !== 0
  }

  /** Comes row i from another worker, which gave it a source of ours? */
  function isTurned(i: number): boolean {
    return share !== null && frames.iface[i] === TURNED
  }

  /** Reason to drop a packet between these addresses, or -1. */
  function judgeAddresses4(i: number, src: number, dst: number): number {
    if (isMartian(src) || src >>> 24 >= 224) return MARTIAN_SOURCE
    if (src === dst && !isTurned(i)) return LAND
    if (nat44 && indexOf(src) >= 0 && !isTurned(i)) return MARTIAN_SOURCE
    if (isMartian(dst)) return MARTIAN_DESTINATION
    if (dst >>> 28 === 14 || dst === -1) return MULTICAST
    if (src >>> 16 === 0xa9fe || dst >>> 16 === 0xa9fe) return LINK_LOCAL
    if (isGuarded && isSpoofed(side[i], count4(src))) return SPOOFED_SOURCE
    return -1
  }

  /**
   * Looks at rows `from` … `to`-1. The everyday packet, IPv4 without options or fragments carrying UDP or TCP, is dealt with in
   * this loop, which has no branch on what varies from one such packet to the next (side, protocol): with them, at traffic of both
   * kinds from both sides, a look took 26 ns, without 13. Everything else goes to functions of its own.
   */
  function lookRange(from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const p = l3[i]
      const captured = off[i] + capBytes[i] - p
      if (net[i] !== NET_IPV4 || captured < ipv4.HEADER_BYTES + 8) {
        lookCloser(i)
        continue
      }
      // Five loads serve every field of the header, its checksum included.
      const word0 = view.getInt32(p), word1 = view.getInt32(p + 4), word2 = view.getInt32(p + 8)
      const src = view.getInt32(p + 12), dst = view.getInt32(p + 16)
      const sum = (word0 >>> 16) + (word0 & 0xffff) + (word1 >>> 16) + (word1 & 0xffff) + (word2 >>> 16) + (word2 & 0xffff)
        + (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff)
      const total = word0 & 0xffff
      const payload = total - ipv4.HEADER_BYTES
      const protocol = (word2 >>> 16) & 255
      const need = TRANSPORT_BYTES[protocol]
      const l4 = p + ipv4.HEADER_BYTES
      if (word0 >>> 24 !== 0x45 || (sum & 0xffff) + (sum >>> 16) !== 0xffff || (word1 & 0x3fff) !== 0 || word2 >>> 24 <= 1
        || CLASS_OF[protocol] > CLASS_TCP || payload < need || captured < ipv4.HEADER_BYTES + need
        || total > captured + wireBytes[i] - capBytes[i]
        || total > mostBytes || (watchesMore && needsMore(i, l4, protocol, word1))
        || (closerSource[src >>> 24] | closerDestination[dst >>> 24] | group[i]) !== 0 || src === dst
        || (isGuarded && isSpoofed(side[i], count4(src)))) {
        lookCloser(i)
        continue
      }
      // The length of UDP, or the data offset of TCP, 0 with impossible flags. For UDP the second load may read behind the packet;
      // it is masked out.
      const udp = IS_UDP[protocol]
      const offsetFlags = view.getUint16(l4 + tcp.DATA_OFFSET)
      const stated = (view.getUint16(l4 + 4) & udp) | ((offsetFlags >>> 12 << 2) & ~udp & ((badFlags >>> offsetFlags & 1) - 1))
      if (stated < need || stated > payload) {
        lookCloser(i)
        continue
      }
      netBytes[i] = total
      l4Column[i] = l4
      word2Column[i] = word2
      setKey(i, src, dst, view.getInt32(l4), (4 << 8) | protocol)
    }
  }

  /** Does a whole IPv4 packet with ports need more once its way is known: a SYN a smaller MSS, or its own identification? */
  function needsMore(i: number, l4: number, protocol: number, word1: number): boolean {
    if (clampsMss && protocol === TCP && (view.getUint8(l4 + 13) & tcp.SYN) !== 0) return true
    return identifiesAll && side[i] !== SIDE_OUTSIDE && (word1 & ipv4.DONT_FRAGMENT) === 0
  }

  /** The same for a packet that was looked at closer: EGRESS or 0. */
  function more(i: number, p: number, l4: number, protocol: number): number {
    if (netBytes[i] > mostBytes) return EGRESS
    if (identifiesAll && kindColumn[i] >>> 8 === 4 && side[i] !== SIDE_OUTSIDE
      && (ipv4.fragment(view, p) & ipv4.DONT_FRAGMENT) === 0) return EGRESS
    if (!clampsMss || protocol !== TCP || (path[i] & PATH_LATER) !== 0) return 0
    return (view.getUint8(l4 + 13) & tcp.SYN) !== 0 ? EGRESS : 0
  }

  /** Key, place and path of an IPv4 packet with ports. `raw` has the source port above the destination port. */
  function setKey(i: number, src: number, dst: number, raw: number, kind: number): void {
    const fromOutside = side[i]
    // 0 - x, because -x of 0 is -0, for which the compiler would fall back on doubles.
    const turn = (src ^ dst) & (0 - fromOutside)
    const local = src ^ turn, peer = dst ^ turn
    const shift = fromOutside << 4
    const ports = (raw << shift) | (raw >>> (32 - shift & 31))
    localColumn[i] = local
    peerColumn[i] = peer
    portsColumn[i] = ports
    kindColumn[i] = kind
    // An inside source is never one of our addresses, so `other` is all ones for all that comes from inside.
    const poolIndex = isContiguous ? local - poolStart | 0 : indexOf(local)
    const other = (poolIndex | (poolSize - 1 - poolIndex)) >> 31
    const hash = hash4(local, peer, ports, kind)
    const owner = ownerStart + (((poolIndex * CLASSES + CLASS_OF[kind & 255]) << 16) | (ports >>> 16))
    placeColumn[i] = (hash & indexMask & other) | (owner & ~other)
    tagColumn[i] = hash & tagMask & other
    path[i] = nat44 ? PATH_4 + ((fromOutside & other) << 1) : PATH_4_PLAIN
  }

  /** Whatever is not an everyday packet. */
  function lookCloser(i: number): void {
    const what = net[i]
    if (what === NET_IPV4) look4(i)
    else if (what === NET_IPV6) look6(i)
    else {
      netBytes[i] = wireBytes[i]
      reject(rows, frames, i, LINK_REASON[what])
    }
  }

  function fail(i: number, reason: number): 0 {
    reject(rows, frames, i, reason)
    return 0
  }

  /** Checks an IPv4 header: its length, or 0 after rejecting the row. */
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

  function look4(i: number): void {
    const p = l3[i]
    const captured = off[i] + capBytes[i] - p
    const onWire = off[i] + wireBytes[i] - p
    netBytes[i] = onWire
    const headerBytes = lookAtHeader4(i, p, captured, onWire)
    if (headerBytes === 0) return
    const total = ipv4.totalLength(view, p)
    netBytes[i] = total
    const src = ipv4.src(view, p), dst = ipv4.dst(view, p)
    const reason = judgeAddresses4(i, src, dst)
    if (reason >= 0) return reject(rows, frames, i, reason)
    // RFC 1812 5.3.4: a link-layer broadcast with a unicast destination is not forwarded.
    if (group[i] !== 0) return reject(rows, frames, i, MULTICAST)

    const protocol = ipv4.protocol(view, p)
    const kind = (4 << 8) | protocol
    const l4 = p + headerBytes
    const fromOutside = side[i] === SIDE_OUTSIDE
    localColumn[i] = fromOutside ? dst : src
    peerColumn[i] = fromOutside ? src : dst
    kindColumn[i] = kind
    word2Column[i] = view.getInt32(p + ipv4.TTL)
    l4Column[i] = l4
    if (ipv4.ttl(view, p) <= 1) {
      path[i] = PATH_EXPIRED
      return
    }
    const fragment = ipv4.fragment(view, p) & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK)
    if ((fragment & ipv4.OFFSET_MASK) !== 0) {
      path[i] = PATH_LATER
      if (mayNeedMore) path[i] |= more(i, p, l4, protocol)
      return
    }
    const first = fragment !== 0 ? FIRST_FRAGMENT : 0
    if (protocol === ICMP) lookAtIcmp(i, p, l4, captured, total, TYPES_4, first)
    else lookAtTransport(i, p, l4, captured, total, protocol, first)
    if (path[i] === PATH_4) {
      const raw = CLASS_OF[protocol] <= CLASS_TCP ? view.getInt32(l4) : portsColumn[i] >>> (fromOutside ? 16 : 0)
      setKey(i, src, dst, raw, kind)
      if (CLASS_OF[protocol] > CLASS_TCP && path[i] === PATH_4) {
        path[i] = PATH_4_OTHER
        // Nothing to look ahead at: the port table has no place for it.
        if (CLASS_OF[protocol] === CLASS_NONE && fromOutside) placeColumn[i] = tagColumn[i] = 0
      }
    }
    path[i] |= first
    if (mayNeedMore && path[i] !== PATH_DROP) path[i] |= more(i, p, l4, protocol)
  }

  /** Checks the header of UDP and TCP; sets PATH_4 or rejects. Other protocols have none here. */
  function lookAtTransport(
    i: number, p: number, l4: number, captured: number, total: number, protocol: number, first: number,
  ): void {
    path[i] = PATH_4
    portsColumn[i] = 0
    if (protocol !== UDP && protocol !== TCP) return
    const need = TRANSPORT_BYTES[protocol]
    const payload = p + total - l4
    if (payload < need) return reject(rows, frames, i, first !== 0 ? FRAGMENT_TINY : TRANSPORT_BAD_LENGTH)
    if (l4 + need > p + captured) return reject(rows, frames, i, TRANSPORT_TRUNCATED)
    const stated = protocol === UDP ? view.getUint16(l4 + 4) : view.getUint8(l4 + 12) >>> 4 << 2
    if (stated < need || (stated > payload && first === 0)) return reject(rows, frames, i, TRANSPORT_BAD_LENGTH)
    if (protocol === TCP && (badFlags >>> tcp.flags(view, l4) & 1) !== 0) reject(rows, frames, i, judgeFlags(tcp.flags(view, l4)))
  }

  /** Checks the header of ICMP or ICMPv6; sets the ports of a query and PATH_4, or PATH_4_ERROR, or rejects. */
  function lookAtIcmp(
    i: number, p: number, l4: number, captured: number, total: number, types: Uint8Array, first: number,
  ): void {
    if (p + total - l4 < 8) return reject(rows, frames, i, first !== 0 ? FRAGMENT_TINY : TRANSPORT_BAD_LENGTH)
    if (l4 + 8 > p + captured) return reject(rows, frames, i, TRANSPORT_TRUNCATED)
    const what = types[icmp.type(view, l4)]
    path[i] = what === TYPE_ERROR ? PATH_4_ERROR : PATH_4
    if (what === TYPE_OTHER) reject(rows, frames, i, ICMP_NOT_FORWARDED)
    portsColumn[i] = icmp.id(view, l4) << 16
  }

  /** Reason to drop an IPv6 packet for its addresses, or -1. */
  function judgeAddresses6(i: number, p: number): number {
    const s0 = ipv6.srcWord(view, p, 0), d0 = ipv6.dstWord(view, p, 0)
    // Nearly all addresses are global or unique local: their first word is not 0, their first octet neither fe nor ff.
    if (s0 !== 0 && d0 !== 0 && s0 >>> 25 !== 0x7f && d0 >>> 25 !== 0x7f && s0 !== d0) {
      return judgesMore6 ? judgeMore6(i, p, s0, d0) : judgeSource6(i, p)
    }
    // @req RFC6092 REC-1, REC-2, REC-3
    if (s0 >>> 24 === 0xff || isReserved6(p + ipv6.SRC)) return MARTIAN_SOURCE
    if (s0 === d0 && ipv6.srcWord(view, p, 1) === ipv6.dstWord(view, p, 1)
      && ipv6.srcWord(view, p, 2) === ipv6.dstWord(view, p, 2) && ipv6.srcWord(view, p, 3) === ipv6.dstWord(view, p, 3)) return LAND
    if (npt6 !== null && npt6.isOutside(s0, ipv6.srcWord(view, p, 1)) && !isTurned(i)) return MARTIAN_SOURCE
    if (isReserved6(p + ipv6.DST)) return MARTIAN_DESTINATION
    if (d0 >>> 24 === 0xff) return MULTICAST
    if (s0 >>> 22 === 0x3fa || d0 >>> 22 === 0x3fa) return LINK_LOCAL
    return judgesMore6 ? judgeMore6(i, p, s0, d0) : judgeSource6(i, p)
  }

  /** What settings ask of IPv6 addresses beside. */
  function judgeMore6(i: number, p: number, s0: number, d0: number): number {
    if (npt6 !== null && npt6.isOutside(s0, ipv6.srcWord(view, p, 1)) && !isTurned(i)) return MARTIAN_SOURCE
    // @req RFC6092 REC-3
    if (isStrict6 && isReservedBlock6(s0, ipv6.srcWord(view, p, 1))) return MARTIAN_SOURCE
    if (isStrict6 && isReservedBlock6(d0, ipv6.dstWord(view, p, 1))) return MARTIAN_DESTINATION
    if (staysLocal && showsLocal(i, p, s0, d0)) return UNIQUE_LOCAL
    return judgeSource6(i, p)
  }

  /** Blocks that no packet of the Internet has (RFC 5156, RFC 7343, RFC 9637), and 6to4 of no public IPv4 (RFC 3964 5.3). */
  function isReservedBlock6(word0: number, word1: number): boolean {
    if (word0 === 0x20010db8 || word0 >>> 4 === 0x2001001 || word0 >>> 4 === 0x2001002 || word0 >>> 16 === 0x3ffe) return true
    if (word0 >>> 12 === 0x3fff0) return true
    return word0 >>> 16 === 0x2002 && isPrivate4(word0 << 16 | word1 >>> 16)
  }

  function isPrivate4(address: number): boolean {
    const octet = address >>> 24
    return octet === 0 || octet === 10 || octet === 127 || octet >= 224 || address >>> 16 === 0xa9fe || address >>> 20 === 0xac1
      || address >>> 16 === 0xc0a8
  }

  // @req RFC6092 REC-7
  /** Would the outside see a unique local address (RFC 4193)? What another prefix stands for it does not. */
  function showsLocal(i: number, p: number, s0: number, d0: number): boolean {
    const fromOutside = side[i] === SIDE_OUTSIDE
    if (s0 >>> 25 === 0x7e && (fromOutside || !isHidden(p + ipv6.SRC))) return !isBetweenHosts(i, p)
    return d0 >>> 25 === 0x7e && !(fromOutside && isHidden(p + ipv6.DST)) && !isBetweenHosts(i, p)
  }

  function isHidden(at: number): boolean {
    for (let word = 0; word < 4; word++) $inside[word] = view.getInt32(at + (word << 2))
    return npt6 !== null && npt6.isInside($inside, 0)
  }

  /** From inside to inside: it would not cross. */
  function isBetweenHosts(i: number, p: number): boolean {
    return side[i] !== SIDE_OUTSIDE
      && has6(ipv6.dstWord(view, p, 0), ipv6.dstWord(view, p, 1), ipv6.dstWord(view, p, 2), ipv6.dstWord(view, p, 3))
  }

  function judgeSource6(i: number, p: number): number {
    if (!isGuarded) return -1
    const isInside = has6(ipv6.srcWord(view, p, 0), ipv6.srcWord(view, p, 1), ipv6.srcWord(view, p, 2), ipv6.srcWord(view, p, 3))
    return isSpoofed(side[i], isInside ? 1 : 0) ? SPOOFED_SOURCE : -1
  }

  /** ::/96 (unspecified, loopback, IPv4-compatible), ::ffff:0:0/96 and fec0::/10 (RFC 4291 2.5, RFC 3879). */
  function isReserved6(at: number): boolean {
    if (view.getInt32(at) >>> 22 === 0x3fb) return true
    if (view.getInt32(at) !== 0 || view.getInt32(at + 4) !== 0) return false
    return view.getInt32(at + 8) === 0 || view.getInt32(at + 8) === 0xffff
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
    // @req RFC6092 REC-4
    if (walked === ipv6.WALK_ROUTING_0) return reject(rows, frames, i, ROUTING_0)
    const reason = judgeAddresses6(i, p)
    if (reason >= 0) return reject(rows, frames, i, reason)
    if (group[i] !== 0) return reject(rows, frames, i, MULTICAST)

    const protocol = walk.at[ipv6.WALK_PROTOCOL]
    const fragment = walk.at[ipv6.WALK_FRAGMENT]
    const l4 = walk.at[ipv6.WALK_L4]
    kindColumn[i] = (6 << 8) | protocol
    l4Column[i] = l4
    fragmentColumn[i] = fragment
    if (ipv6.hopLimit(view, p) <= 1) {
      path[i] = PATH_EXPIRED
      return
    }
    let first = 0
    if (fragment !== 0) {
      const word = view.getUint16(fragment + 2)
      if ((word & 0xfff8) !== 0) {
        path[i] = PATH_LATER
        if (mayNeedMore) path[i] |= more(i, p, l4, protocol)
        return
      }
      if ((word & ipv6.FRAGMENT_MORE) !== 0) first = FIRST_FRAGMENT
    }
    if (protocol === ICMP6) lookAtIcmp(i, p, l4, captured, total, TYPES_6, first)
    else lookAtTransport(i, p, l4, captured, total, protocol, first)
    if (path[i] === PATH_4_ERROR) path[i] = PATH_6_ERROR
    else if (path[i] !== PATH_DROP) setKey6(i, p, l4, protocol)
    path[i] |= first
    if (mayNeedMore && path[i] !== PATH_DROP) path[i] |= more(i, p, l4, protocol)
  }

  function setKey6(i: number, p: number, l4: number, protocol: number): void {
    const fromOutside = side[i] === SIDE_OUTSIDE
    const inside = p + (fromOutside ? ipv6.DST : ipv6.SRC)
    const peer = p + (fromOutside ? ipv6.SRC : ipv6.DST)
    if (protocol === UDP || protocol === TCP) {
      const raw = view.getInt32(l4)
      portsColumn[i] = fromOutside ? (raw << 16) | (raw >>> 16) : raw
    }
    let i0 = view.getInt32(inside), i1 = view.getInt32(inside + 4), i2 = view.getInt32(inside + 8), i3 = view.getInt32(inside + 12)
    if (npt6 !== null && fromOutside) {
      // Flows are known by their inside address. What has none is dropped when its turn comes.
      $inside[0] = i0
      $inside[1] = i1
      $inside[2] = i2
      $inside[3] = i3
      npt6.inward($inside, 0)
      i0 = $inside[0]
      i1 = $inside[1]
      i2 = $inside[2]
      i3 = $inside[3]
    }
    const hash = hash6(i0, i1, i2, i3, view.getInt32(peer), view.getInt32(peer + 4), view.getInt32(peer + 8),
      view.getInt32(peer + 12), portsColumn[i], kindColumn[i])
    hashColumn[i] = hash
    placeColumn[i] = hash & indexMask
    tagColumn[i] = hash & tagMask
    path[i] = PATH_6
  }

  /** Looks at row i. Its `off`, `capBytes`, `wireBytes`, `net`, `l3` and `side` are set. */
  function look(i: number): void {
    lookRange(i, i + 1)
  }

  /** First slot from `at` on whose tag agrees, in the index: the flow, or one that looks like it. 0 when there is none. */
  function guess(at: number, tag: number): number {
    for (;; at = (at + 1) & indexMask) {
      const entry = places[at]
      if (entry === 0) return 0
      if (((entry ^ tag) & tagMask) === 0) return entry & slotMask
    }
  }

  /**
   * Looks at rows 0 … count-1, finds for each the flow it probably belongs to, and has its record loaded.
   *
   * A load that misses the caches stops the processor a few hundred instructions on, so memory is asked for in loops that do
   * nothing else: there, many loads are under way at once (measured at 16k flows: 5 ns each; beside other work, 40).
   */
  function lookAhead(count: number): void {
    lookRange(0, count)
    if (hasWhole) aimAtOwners(count)
    touchPlaces(count)
    // A row that has no flow to look for finds what an earlier packet left in its columns, which is harmless: a hint is never
    // believed before the key was compared.
    for (let i = 0; i < count; i++) {
      const at = placeColumn[i]
      const entry = places[at]
      hintColumn[i] = ((entry ^ tagColumn[i]) & tagMask) === 0 ? entry & slotMask : guess(at, tagColumn[i])
    }
    touchFlows(count)
    if (hasSharedMappings()) lookBehindHeads(count)
  }

  /** From outside to an address that is one host's: its flow is looked for by the inside endpoint. */
  function aimAtOwners(count: number): void {
    for (let i = 0; i < count; i++) {
      if ((path[i] & (FIRST_FRAGMENT - 1)) !== PATH_4_PLAIN || side[i] !== SIDE_OUTSIDE) continue
      const index = indexOf(localColumn[i])
      if (index < poolSize) continue
      const hash = hash4(addressOwner[index], peerColumn[i], portsColumn[i], kindColumn[i])
      placeColumn[i] = hash & indexMask
      tagColumn[i] = hash & tagMask
    }
  }

  /** Four at a time: the fewer instructions between loads, the more of them are under way. `sink` keeps them from being dropped. */
  function touchPlaces(count: number): void {
    let a = 0, b = 0, c = 0, d = 0
    let i = 0
    for (; i < count - 3; i += 4) {
      a = a + places[placeColumn[i]] | 0
      b = b + places[placeColumn[i + 1]] | 0
      c = c + places[placeColumn[i + 2]] | 0
      d = d + places[placeColumn[i + 3]] | 0
    }
    for (; i < count; i++) a = a + places[placeColumn[i]] | 0
    sink[0] = a ^ b ^ c ^ d
  }

  function touchFlows(count: number): void {
    let a = 0, b = 0, c = 0, d = 0
    let i = 0
    for (; i < count - 3; i += 4) {
      a = a + F[hintColumn[i] << FLOW_BITS] | 0
      b = b + F[hintColumn[i + 1] << FLOW_BITS] | 0
      c = c + F[hintColumn[i + 2] << FLOW_BITS] | 0
      d = d + F[hintColumn[i + 3] << FLOW_BITS] | 0
    }
    for (; i < count; i++) a = a + F[hintColumn[i] << FLOW_BITS] | 0
    sink[0] = a ^ b ^ c ^ d
  }

  /** Does one flow in eight or more share its mapping with others? */
  function hasSharedMappings(): boolean {
    return (counters[CURRENT] - counters[MAPPINGS_OPENED] + counters[MAPPINGS_CLOSED]) * 8 > counters[CURRENT]
  }

  /**
   * From outside a hint is the head of the mapping, which may be another of its flows. The only way to the right one is by the
   * inside endpoint, which the head knows: a second round, for these rows.
   */
  function lookBehindHeads(count: number): void {
    let again = 0
    for (let i = 0; i < count; i++) {
      const base = hintColumn[i] << FLOW_BITS
      const unlike = ((F[base + PEER] ^ peerColumn[i]) | ((F[base + OUTSIDE_PORTS] ^ portsColumn[i]) & 0xffff)) & (0 - side[i])
      if (unlike === 0 || path[i] !== PATH_4) continue
      const ports = (F[base + PORTS] & ~0xffff) | (portsColumn[i] & 0xffff)
      const hash = hash4(F[base + INSIDE], peerColumn[i], ports, kindColumn[i])
      placeColumn[again] = hash & indexMask
      tagColumn[again] = hash & tagMask
      $again[again++] = i
    }
    touchPlaces(again)
    for (let n = 0; n < again; n++) {
      const entry = places[placeColumn[n]]
      hintColumn[$again[n]] = ((entry ^ tagColumn[n]) & tagMask) === 0 ? entry & slotMask : guess(placeColumn[n], tagColumn[n])
    }
    let touched = 0
    for (let n = 0; n < again; n++) touched = touched + F[hintColumn[$again[n]] << FLOW_BITS] | 0
    sink[0] = touched
  }

  return { look, lookAhead }
}
