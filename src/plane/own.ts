/**
 * What a live box answers itself, and its engine never sees: ARP and neighbour discovery for its own addresses and for those that
 * its NAT shows, echo requests to its own addresses, and refusals of all else that is sent there. Addresses that the kernel has
 * on the same interface are the kernel's to answer.
 */
import type { Address } from '../base/address.ts'
import { SIDE_OUTSIDE, type Frames } from '../wire/frames.ts'
import * as arp from '../wire/arp.ts'
import { apply, delta16, fold, pseudo6, sumBytes } from '../wire/checksum.ts'
import * as ethernet from '../wire/ethernet.ts'
import { MOST_BYTES } from '../wire/icmp-error.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as ndp from '../wire/ndp.ts'
import type { IcmpErrors } from './errors.ts'
import { type LiveCounter, liveCounterIndex } from './live-counters.ts'
import { ANSWERS, ASKS, TELLS, type LinkEnd, type Neighbours, groupMac } from './neighbours.ts'
import type { Routes } from './routes.ts'

const ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58, TTL = 64
const PROTOCOL_UNREACHABLE = 2, V6_PORT_UNREACHABLE = 4, V6_UNRECOGNIZED_NEXT_HEADER = 1
const HEADER = ethernet.HEADER_BYTES
export const OWN_SCRATCH_BYTES = HEADER + MOST_BYTES

/** An address of an interface of ours. */
export interface OwnAddress {
  side: number
  version: 4 | 6
  words: Int32Array
  /** The kernel has it as well, and answers for it. */
  isKernels: boolean
  /** The NAT uses it too: of what comes to it only echo requests are ours. */
  isShared: boolean
}

export interface OwnOptions {
  frames: Frames
  counters: Float64Array
  ends: readonly [LinkEnd, LinkEnd]
  neighbours: Neighbours
  routes: Routes
  addresses: readonly OwnAddress[]
  /** IPv4 addresses that the NAT shows on a side, by SIDE_ constant: ARP is answered for them. */
  shown: readonly [readonly number[], readonly number[]]
  inside: { has4(address: number): boolean; has6(w0: number, w1: number, w2: number, w3: number): boolean }
  errors: IcmpErrors
  /** Room for one frame of ours. */
  scratchStart: number
  /** Somebody else says that it has this address of ours. The words are valid during the call. */
  onConflict: (address: Address, side: number) => void
}

export interface Own {
  /** Takes what is the box's own out of rows 0 … count-1, and answers it. Returns how many rows are left. */
  take(count: number, nowMs: number): number
  /** Learns from what neighbours say in a frame that somebody else has answered, if it is to be. */
  hear(off: number, end: number, side: number, nowMs: number): void
  /** Tells both links which addresses are here (RFC 5227 2.3, RFC 4861 7.2.6). */
  announce(): void
}

// @req RFC4890 4.4 partly[echo, errors and neighbour discovery, but no MLD and no router advertisements]
export function createOwn(options: OwnOptions): Own {
  const { frames, counters, ends, neighbours, routes, addresses, shown, inside, errors, scratchStart, onConflict } = options
  const { view, off, capBytes, wireBytes, link, iface } = frames
  const count = (name: LiveCounter) => { counters[liveCounterIndex(name)]++ }
  // While `hear` is under way nothing is answered.
  let isQuiet = false
  const own4 = addresses.filter(({ version }) => version === 4), own6 = addresses.filter(({ version }) => version === 6)
  const $words = new Int32Array(4)
  const walk = ipv6.createWalk()

  /** IPv4 addresses that ARP is answered for, by side. */
  const answered = [0, 1].map((side) => new Set([
    ...own4.filter((one) => one.side === side && !one.isKernels).map(({ words }) => words[0]), ...shown[side],
  ]))
  // Last octets of addresses of ours: nearly all packets pass by one load.
  const maybe4 = new Uint8Array(256), maybe6 = new Uint8Array(256)
  for (const { words } of own4) maybe4[words[0] & 255] = 1
  for (const { words } of own6) maybe6[words[3] & 255] = 1

  function ownAt4(address: number): OwnAddress | undefined {
    return own4.find(({ words }) => words[0] === address)
  }

  /** A link-local address is one on its link alone: where both sides are VLANs of one interface, both have the same. */
  function ownAt6(at: number, on: number): OwnAddress | undefined {
    return own6.find(({ side, words }) => words[0] === view.getInt32(at) && words[1] === view.getInt32(at + 4)
      && words[2] === view.getInt32(at + 8) && words[3] === view.getInt32(at + 12) && (side === on || words[0] >>> 22 !== 0x3fa))
  }

  function take(rows: number, nowMs: number): number {
    let kept = 0
    for (let i = 0; i < rows; i++) {
      const at = off[i], bytes = capBytes[i]
      const type = bytes >= HEADER ? view.getUint16(at + ethernet.TYPE) : 0
      if (type === ethernet.TYPE_IPV4) {
        if (bytes >= HEADER + 20 && maybe4[view.getUint8(at + HEADER + 19)] !== 0 && isOwn4(i, at + HEADER, nowMs)) continue
      } else if (type === ethernet.TYPE_IPV6) {
        const p = at + HEADER
        if (bytes >= HEADER + 40 && (maybe6[view.getUint8(p + 39)] !== 0 || view.getUint8(p + ipv6.DST) === 0xff)
          && isOwn6(i, p, nowMs)) continue
      } else if (type === ethernet.TYPE_ARP) {
        heardArp(at + HEADER, at + bytes, iface[i], nowMs)
        continue
      } else if (ethernet.isTag(type)) {
        count('stacked-tag-frames')
        continue
      }
      if (kept !== i) move(i, kept)
      kept++
    }
    return kept
  }

  function hear(at: number, end: number, side: number, nowMs: number): void {
    const type = view.getUint16(at + ethernet.TYPE), p = at + HEADER
    isQuiet = true
    if (type === ethernet.TYPE_ARP) heardArp(p, end, side, nowMs)
    else {
      const whole = p + ipv6.HEADER_BYTES + ipv6.payloadLength(view, p)
      if (whole <= end) heardNeighbour(p, p + ipv6.HEADER_BYTES, whole, side, nowMs)
    }
    isQuiet = false
  }

  function move(from: number, to: number): void {
    off[to] = off[from]
    capBytes[to] = capBytes[from]
    wireBytes[to] = wireBytes[from]
    link[to] = link[from]
    iface[to] = iface[from]
  }

  /* ARP. */

  function heardArp(p: number, end: number, side: number, nowMs: number): void {
    const heard = arp.check(view, p, end) < arp.PACKET_BYTES ? null : arp.parse(view, p)
    const isReply = heard?.operation === arp.REPLY
    // No host has the address of a group (RFC 1812 3.3.2).
    if (heard === null || (!isReply && heard.operation !== arp.REQUEST) || (heard.senderMac[0] & 1) !== 0) {
      if (!isQuiet) count('arp-packets-bad')
      return
    }
    if (!isQuiet) count(isReply ? 'arp-replies' : 'arp-requests')
    const { senderAddr, targetAddr } = heard
    const isMine = answered[side].has(targetAddr)
    $words.fill(0)
    $words[0] = senderAddr
    if (answered[side].has(senderAddr)) return claimed(4, $words, side, p + arp.SENDER_MAC)
    // An ARP probe (RFC 5227) has no sender yet. Of who is not on this link, nothing is learned.
    if (senderAddr !== 0 && routes.isOnLink(side, 4, $words)) {
      const why = !isReply ? isMine ? ASKS : TELLS : isMineAsSource(side, targetAddr) ? ANSWERS : TELLS
      neighbours.learn(side, 4, $words, p + arp.SENDER_MAC, why, nowMs)
    }
    if (isReply || !isMine || isQuiet) return
    count('arp-replies-sent')
    sendArp(side, heard.senderMac, arp.REPLY, targetAddr, heard.senderMac, senderAddr)
  }

  /** An answer is addressed to us: to an address that the kernel has as well, too. */
  function isMineAsSource(side: number, address: number): boolean {
    return answered[side].has(address) || ownAt4(address)?.side === side
  }

  /** Whoever has the Ethernet address at `macAt` says that it has an address of ours: a conflict, unless that is ourselves. */
  function claimed(version: 4 | 6, words: Int32Array, side: number, macAt: number): void {
    if (isQuiet || ends[side].mac.every((octet, i) => octet === view.getUint8(macAt + i))) return
    count('address-conflicts')
    onConflict({ version, words }, side)
  }

  function sendArp(
    side: number, to: readonly number[], operation: number, address: number, targetMac: readonly number[], targetAddr: number,
  ): void {
    const { mac } = ends[side]
    ethernet.emit({ dst: to, src: mac, tags: [], type: ethernet.TYPE_ARP }, view, scratchStart)
    arp.emit({ operation, senderMac: mac, senderAddr: address, targetMac, targetAddr }, view, scratchStart + HEADER)
    ends[side].send(scratchStart, HEADER + arp.PACKET_BYTES)
  }

  function announce(): void {
    for (const [side, set] of answered.entries()) {
      for (const address of set) {
        $words.fill(0)
        $words[0] = address
        if (routes.isOnLink(side, 4, $words)) sendArp(side, ethernet.BROADCAST, arp.REQUEST, address, ethernet.NOBODY, address)
      }
    }
    for (const { side, words, isKernels } of own6) {
      if (!isKernels) advertise(side, words, ALL_NODES, groupMac(ALL_NODES), ndp.ROUTER | ndp.OVERRIDE)
    }
  }

  /* IPv4. */

  /** Is row i, to an address that looks like one of ours, the box's alone? Then it is dealt with. */
  function isOwn4(i: number, p: number, nowMs: number): boolean {
    const own = ownAt4(ipv4.dst(view, p))
    if (own === undefined) return false
    if (own.isKernels) {
      count('kernel-packets')
      return true
    }
    const header = ipv4.headerBytes(view, p), total = ipv4.totalLength(view, p)
    const side = iface[i], src = ipv4.src(view, p)
    // What is not sound, or comes from the wrong side, is dropped by the engine, which has names for that.
    if (ipv4.versionIhl(view, p) >>> 4 !== 4 || header < 20 || total < header || p + total > off[i] + capBytes[i]) return false
    if (fold(sumBytes(view, p, p + header, 0)) !== 0xffff || (view.getUint8(off[i]) & 1) !== 0) return false
    if (src >>> 24 === 0 || src >>> 24 === 127 || src >>> 28 >= 14 || inside.has4(src) === (side === SIDE_OUTSIDE)) return false
    if (ownAt4(src) !== undefined) return false
    const l4 = p + header, protocol = ipv4.protocol(view, p)
    const isWhole = (ipv4.fragment(view, p) & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK)) === 0
    if (protocol === ICMP) {
      if (isWhole && total - header >= icmp.HEADER_BYTES && icmp.type(view, l4) === icmp.ECHO_REQUEST) {
        return echo4(side, p, header, total)
      }
      // Errors about what the box itself has sent, and answers to nothing.
      return !own.isShared
    }
    if (own.isShared) return false
    const isPort = protocol === TCP || protocol === UDP
    const bytes = errors.write4(p, total, own.words[0], icmp.UNREACHABLE, isPort ? icmp.PORT_UNREACHABLE : PROTOCOL_UNREACHABLE,
      scratchStart + HEADER, nowMs)
    count('own-packets-refused')
    if (bytes > 0) neighbours.send(side, scratchStart + HEADER, bytes)
    return true
  }

  /** RFC 1122 3.2.2.6: the request is the answer, turned round where it lies. */
  function echo4(side: number, p: number, header: number, total: number): boolean {
    const l4 = p + header
    if (fold(sumBytes(view, l4, p + total, 0)) !== 0xffff) return false
    count('echo-requests')
    const src = ipv4.src(view, p)
    ipv4.setSrc(view, p, ipv4.dst(view, p))
    ipv4.setDst(view, p, src)
    ipv4.setTtl(view, p, TTL)
    ipv4.setChecksum(view, p, 0)
    ipv4.setChecksum(view, p, ~fold(sumBytes(view, p, p + header, 0)) & 0xffff)
    view.setUint8(l4, icmp.ECHO_REPLY)
    icmp.setChecksum(view, l4, apply(icmp.checksum(view, l4), delta16(icmp.ECHO_REQUEST << 8, icmp.ECHO_REPLY << 8)))
    neighbours.send(side, p, total)
    return true
  }

  /* IPv6. */

  function isOwn6(i: number, p: number, nowMs: number): boolean {
    const end = p + ipv6.HEADER_BYTES + ipv6.payloadLength(view, p), side = iface[i]
    if (ipv6.version(view, p) !== 6 || end > off[i] + capBytes[i]) return false
    const isGroup = view.getUint8(p + ipv6.DST) === 0xff
    if (ipv6.nextHeader(view, p) === ICMP6 && end - p >= ipv6.HEADER_BYTES + icmp.HEADER_BYTES) {
      const type = icmp.type(view, p + ipv6.HEADER_BYTES)
      if (type === ndp.SOLICITATION || type === ndp.ADVERTISEMENT) {
        heardNeighbour(p, p + ipv6.HEADER_BYTES, end, side, nowMs)
        return true
      }
    }
    if (isGroup) return false
    const own = ownAt6(p + ipv6.DST, side)
    if (own === undefined) return false
    if (own.isKernels) {
      count('kernel-packets')
      return true
    }
    if (!isFair6(p, side)) return false
    if (ipv6.walk(view, p, end, end, walk) !== ipv6.WALK_OK) return false
    const l4 = walk.at[ipv6.WALK_L4], protocol = walk.at[ipv6.WALK_PROTOCOL]
    if (protocol === ICMP6) {
      const isEcho = walk.at[ipv6.WALK_FRAGMENT] === 0 && end - l4 >= icmp.HEADER_BYTES
        && icmp.type(view, l4) === icmp.V6_ECHO_REQUEST
      return !isEcho || echo6(side, p, l4, end)
    }
    const isPort = protocol === TCP || protocol === UDP
    // RFC 4443 3.4: the pointer is that of the field that names the header.
    const bytes = isPort
      ? errors.write6(p, end - p, own.words, icmp.V6_UNREACHABLE, V6_PORT_UNREACHABLE, 0, scratchStart + HEADER, nowMs)
      : errors.write6(p, end - p, own.words, icmp.V6_PARAMETER_PROBLEM, V6_UNRECOGNIZED_NEXT_HEADER, ipv6.NEXT_HEADER,
        scratchStart + HEADER, nowMs)
    count('own-packets-refused')
    if (bytes > 0) neighbours.send(side, scratchStart + HEADER, bytes)
    return true
  }

  /** A source that may be answered, on the side that it comes from. */
  function isFair6(p: number, side: number): boolean {
    const w0 = ipv6.srcWord(view, p, 0), w1 = ipv6.srcWord(view, p, 1), w2 = ipv6.srcWord(view, p, 2), w3 = ipv6.srcWord(view, p, 3)
    if (w0 >>> 24 === 0xff || ((w0 | w1 | w2) === 0 && w3 >>> 0 <= 1) || ownAt6(p + ipv6.SRC, side) !== undefined) return false
    return w0 >>> 22 === 0x3fa || inside.has6(w0, w1, w2, w3) !== (side === SIDE_OUTSIDE)
  }

  function echo6(side: number, p: number, l4: number, end: number): boolean {
    if (fold(sumBytes(view, l4, end, pseudo6(view, p, ICMP6, end - l4))) !== 0xffff) return false
    count('echo-requests')
    for (let i = 0; i < 16; i += 4) {
      const src = view.getInt32(p + ipv6.SRC + i)
      view.setInt32(p + ipv6.SRC + i, view.getInt32(p + ipv6.DST + i))
      view.setInt32(p + ipv6.DST + i, src)
    }
    ipv6.setHopLimit(view, p, TTL)
    view.setUint8(l4, icmp.V6_ECHO_REPLY)
    icmp.setChecksum(view, l4, apply(icmp.checksum(view, l4), delta16(icmp.V6_ECHO_REQUEST << 8, icmp.V6_ECHO_REPLY << 8)))
    neighbours.send(side, p, end - p)
    return true
  }

  function heardNeighbour(p: number, at: number, end: number, side: number, nowMs: number): void {
    if (!isQuiet) count('neighbour-messages')
    if (ends[side].source6 === null) return
    if (!ndp.check(view, p, at, end)) {
      if (!isQuiet) count('neighbour-messages-bad')
      return
    }
    const macAt = ndp.addressAt(view, at, end), sayerAt = macAt === 0 ? p - HEADER + ethernet.SRC : macAt
    const isMine = (one: OwnAddress) => one.side === side && !one.isKernels && one.words.every((word, i) => word === $words[i])
    if (icmp.type(view, at) === ndp.ADVERTISEMENT) {
      for (let i = 0; i < 4; i++) $words[i] = ndp.targetWord(view, at, i)
      // RFC 4862 5.4.4: it is told, and the address stays.
      if (own6.some(isMine)) return claimed(6, $words, side, sayerAt)
      return neighbours.advertised(side, $words, macAt, ndp.flags(view, at), nowMs)
    }
    const own = own6.find((one) => one.side === side && one.words.every((word, i) => word === ndp.targetWord(view, at, i)))
    if (own === undefined || own.isKernels) return
    for (let i = 0; i < 4; i++) $words[i] = ipv6.srcWord(view, p, i)
    if (own6.some(isMine)) return claimed(6, $words, side, sayerAt)
    const isUnspecified = $words.every((word) => word === 0)
    if (!isUnspecified && macAt !== 0 && routes.isOnLink(side, 6, $words)) neighbours.learn(side, 6, $words, macAt, ASKS, nowMs)
    if (isQuiet) return
    count('advertisements-sent')
    // Somebody looks whether the address is free (RFC 4862 5.4): all are told that it is not.
    if (isUnspecified) return advertise(side, own.words, ALL_NODES, groupMac(ALL_NODES), ndp.ROUTER | ndp.OVERRIDE)
    const mac = Array.from({ length: 6 }, (_, i) => view.getUint8(sayerAt + i))
    advertise(side, own.words, $words, mac, ndp.ROUTER | ndp.SOLICITED | ndp.OVERRIDE)
  }

  function advertise(side: number, address: Int32Array, dst: Int32Array, to: readonly number[], flags: number): void {
    const { mac } = ends[side]
    ethernet.emit({ dst: to, src: mac, tags: [], type: ethernet.TYPE_IPV6 }, view, scratchStart)
    const bytes = ndp.emit({ type: ndp.ADVERTISEMENT, src: address, dst, target: address, flags, mac }, view, scratchStart + HEADER)
    ends[side].send(scratchStart, HEADER + bytes)
  }

  return { take, hear, announce }
}

/** ff02::1. */
const ALL_NODES = Int32Array.of(0xff020000 | 0, 0, 0, 1)
