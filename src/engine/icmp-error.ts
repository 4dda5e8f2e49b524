/**
 * ICMP errors crossing the box (RFC 5508 4): an error belongs to the flow of the packet it quotes. The quoted packet is put back to
 * what the receiver sent, the checksums with it, as far as they are quoted. Errors never touch a timer or a state (REQ-10).
 */
import { counterIndex } from '../channel/counters.ts'
import { NPT6_DONE, NPT6_NONE } from '../channel/npt6.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { apply, delta16, delta32, fold, pseudo6, sumBytes } from '../wire/checksum.ts'
import { SIDE_INSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { FLOW_BITS, INSIDE, KIND, MAPPED, OUTSIDE, OUTSIDE_PORTS, PEER, PORTS, TWICE } from './flows.ts'
import { CLASSES, CLASS_NONE, CLASS_OF, CLASS_TCP } from './ports.ts'
import { rewriteAddresses } from './fragments.ts'
import { FOUND_ADDRESS, FOUND_PORT, type InsideBindings } from './inside-bindings.ts'
import { isQuery, isReply } from './look.ts'
import { CHECKSUM_IGNORE } from './options.ts'
import { createPrefixes, npt6Reason } from './prefixes.ts'
import { FIRST_FRAGMENT } from './rows.ts'
import { type Shared, drop } from './shared.ts'
import { CHECKSUM_AT } from './transport-sums.ts'

const BAD_CHECKSUM = reasonIndex('icmp-bad-checksum'), BAD_ERROR = reasonIndex('icmp-bad-error')
const NO_FLOW = reasonIndex('icmp-error-no-flow'), SOURCE_ROUTE = reasonIndex('ipv4-source-route')
const ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58, UDP_LITE = 136
/** What must be quoted of the transport header: enough for ports or identifier (RFC 792). */
const QUOTED_BYTES = 8

/** `standing` ends a flow that new firewall rules forbid, and says 0 for it then. */
export function createIcmpError(shared: Shared, inside: InsideBindings, standing: (slot: number) => number) {
  const { options, frames, rows, pool, flows, counters, npt6, share } = shared
  const { view, off, capBytes, l3, netBytes, side, verdict } = frames
  const { F, portOwner, addressOwner, find4, find6, findPeer, boundIndex, hash4, hash6 } = flows
  const TRANSLATED = counterIndex('icmp-errors-translated'), HAIRPINS = counterIndex('hairpin-packets')
  const walk = ipv6.createWalk()
  const $key = new Int32Array(8)
  const nat44 = options.nat44
  const prefixes = npt6 === null ? null : createPrefixes(frames, npt6)
  const { has, toPeer, toInside, found } = inside

  /** Is the checksum of the ICMP message in row i known to be wrong? Not if it is fragmented or cut by the capture. */
  function isCorrupt(i: number, pseudo: number): boolean {
    const end = l3[i] + netBytes[i]
    if ((rows.path[i] & FIRST_FRAGMENT) !== 0 || off[i] + capBytes[i] < end) return false
    return fold(sumBytes(view, rows.l4[i], end, pseudo)) !== 0xffff
  }

  /** Checks the packet quoted by row i: offset of its transport header, or 0 after dropping the row. */
  function quoted4(i: number): number {
    // @req RFC5508 REQ-3
    if (isCorrupt(i, 0)) return refuse(i, BAD_CHECKSUM)
    const e = rows.l4[i] + icmp.HEADER_BYTES
    const end = Math.min(l3[i] + netBytes[i], off[i] + capBytes[i])
    if (e + ipv4.HEADER_BYTES > end) return refuse(i, BAD_ERROR)
    const versionIhl = ipv4.versionIhl(view, e)
    const headerBytes = (versionIhl & 15) << 2
    if (versionIhl >>> 4 !== 4 || headerBytes < ipv4.HEADER_BYTES || e + headerBytes + QUOTED_BYTES > end) {
      return refuse(i, BAD_ERROR)
    }
    // @req RFC5508 REQ-3a
    if (options.ipv4Checksum !== CHECKSUM_IGNORE && sumBytes(view, e, e + headerBytes, 0) !== 0xffff) return refuse(i, BAD_ERROR)
    // @req RFC5508 REQ-10b3
    if (ipv4.checkOptions(view, e, e + headerBytes) === ipv4.OPTIONS_SOURCE_ROUTE) return refuse(i, SOURCE_ROUTE)
    if ((ipv4.fragment(view, e) & ipv4.OFFSET_MASK) !== 0) return refuse(i, NO_FLOW)
    // @req RFC5508 REQ-3b
    const l4 = e + headerBytes
    if (ipv4.protocol(view, e) === ICMP && !isQuery(4, icmp.type(view, l4)) && !isReply(4, icmp.type(view, l4))) {
      return refuse(i, NO_FLOW)
    }
    return l4
  }

  function refuse(i: number, reason: number): 0 {
    drop(shared, i, reason)
    return 0
  }

  /** Ports of the quoted packet, source above destination; an identifier stands at the end that `insideIsSource` names. */
  function quotedPorts(kind: number, l4: number, insideIsSource: boolean): number {
    const protocol = kind & 255
    if (protocol === TCP || protocol === UDP) return view.getInt32(l4)
    if (kind === (4 << 8 | ICMP) || kind === (6 << 8 | ICMP6)) return icmp.id(view, l4) << (insideIsSource ? 16 : 0)
    return 0
  }

  function swap(ports: number): number {
    return (ports << 16) | (ports >>> 16)
  }

  /** An error from inside about a packet that came in. */
  function out4(i: number): void {
    const l4 = quoted4(i)
    if (l4 === 0) return
    const e = rows.l4[i] + icmp.HEADER_BYTES
    const p = l3[i]
    const protocol = ipv4.protocol(view, e)
    const kind = (4 << 8) | protocol
    if (ipv4.src(view, e) !== ipv4.dst(view, p)) return drop(shared, i, NO_FLOW)
    // Twice-NAT: the inside knows its peer by another address.
    if (has(ipv4.src(view, e)) && !replaceInQuote(i, e, ipv4.SRC, l4, protocol, 0, toPeer)) return drop(shared, i, NO_FLOW)
    const local = ipv4.dst(view, e), peer = ipv4.src(view, e)
    const ports = swap(quotedPorts(kind, l4, false))
    const slot = standing(find4(hash4(local, peer, ports, kind), local, peer, ports, kind))
    // @req RFC5508 REQ-5
    if (slot === 0) return drop(shared, i, NO_FLOW)
    const base = slot << FLOW_BITS
    const isMapped = (F[base + KIND] & MAPPED) !== 0
    const outside = isMapped ? F[base + OUTSIDE] : ipv4.src(view, p)
    // @req RFC5508 REQ-5a
    if (isMapped) rewriteQuote(i, e, ipv4.DST, l4, protocol, outside, F[base + OUTSIDE_PORTS] >>> 16, 2)
    // @req RFC5508 REQ-5b
    // @req RFC5508 REQ-5c
    const own = isMapped ? boundIndex(ipv4.src(view, p)) : -1
    rewriteAddresses(view, p, own >= 0 ? pool.addressAt(own) : outside, peer)
    verdict[i] = TO_OUTSIDE
    // @req RFC5508 REQ-7, REQ-7a
    // @req RFC7857 12b
    if (isMapped && pool.indexOf(peer) >= 0) return hairpin(i, l4)
    counters[TRANSLATED]++
  }

  /** Gives one end of the quoted packet the endpoint that `find` knows for it. False: it knows none. */
  function replaceInQuote(
    i: number, e: number, addressAt: number, l4: number, protocol: number, portAt: number, find: InsideBindings['toPeer'],
  ): boolean {
    const hasPorts = CLASS_OF[protocol] <= CLASS_TCP
    const port = hasPorts ? view.getUint16(l4 + portAt) : 0
    if (!find(protocol, view.getInt32(e + addressAt), port)) return false
    // The identifier of an ICMP query is neither end's, and stays.
    const stays = hasPorts ? port : protocol === ICMP ? icmp.id(view, l4) : 0
    const newPort = hasPorts && found[FOUND_PORT] >= 0 ? found[FOUND_PORT] : stays
    rewriteQuote(i, e, addressAt, l4, protocol, found[FOUND_ADDRESS], newPort, portAt)
    return true
  }

  /** Port or identifier of the sender of a quoted packet. */
  function quotedPort(protocol: number, l4: number): number {
    return protocol === ICMP ? icmp.id(view, l4) : view.getUint16(l4)
  }

  /** An error that one inside host sends another through their outside endpoints (RFC 5508 REQ-7). */
  function hairpin(i: number, l4: number): void {
    const p = l3[i]
    const e = rows.l4[i] + icmp.HEADER_BYTES
    counters[HAIRPINS]++
    // Whose packet it quotes is for another worker to say.
    const protocol = ipv4.protocol(view, e)
    if (share !== null && share.isForeign(ipv4.dst(view, p), CLASS_OF[protocol], quotedPort(protocol, l4))) return
    const slot = flowOfQuoteIn4(i, e, l4)
    if (slot === 0) return drop(shared, i, NO_FLOW)
    translateIn4(i, e, l4, slot)
    counters[TRANSLATED]++
    // The hop was counted on the way out.
    const hops = ipv4.ttl(view, p)
    ipv4.setTtl(view, p, hops + 1)
    ipv4.setChecksum(view, p, apply(ipv4.checksum(view, p), 0x0100))
  }

  /** The flow whose outside endpoint sent the quoted packet, or 0. */
  function flowOfQuoteIn4(i: number, e: number, l4: number): number {
    const protocol = ipv4.protocol(view, e)
    const kind = (4 << 8) | protocol
    const outside = ipv4.src(view, e), peer = ipv4.dst(view, e)
    if (outside !== ipv4.dst(view, l3[i])) return 0
    const ports = quotedPorts(kind, l4, true)
    const poolIndex = nat44 ? pool.indexOf(outside) : -1
    if (poolIndex < 0) {
      const slot = standing(find4(hash4(outside, peer, ports, kind), outside, peer, ports, kind))
      return (F[(slot << FLOW_BITS) + KIND] & MAPPED) === 0 ? slot : 0
    }
    const portClass = CLASS_OF[protocol]
    if (portClass === CLASS_NONE) return standing(findPeer(outside, 0, peer, kind))
    let local = poolIndex < pool.shared ? 0 : addressOwner[poolIndex]
    let own = ports
    if (poolIndex < pool.shared) {
      const head = portOwner[((poolIndex * CLASSES + portClass) << 16) | (ports >>> 16)]
      if (head === 0) return 0
      const base = head << FLOW_BITS
      local = F[base + INSIDE]
      own = (F[base + PORTS] & ~0xffff) | (ports & 0xffff)
    }
    const slot = find4(hash4(local, peer, own, kind), local, peer, own, kind)
    // A flow that is older than a binding of its inside endpoint has another outside endpoint.
    const isOwn = F[(slot << FLOW_BITS) + OUTSIDE] === outside && F[(slot << FLOW_BITS) + OUTSIDE_PORTS] >>> 16 === ports >>> 16
    return isOwn ? standing(slot) : 0
  }

  function translateIn4(i: number, e: number, l4: number, slot: number): void {
    const base = slot << FLOW_BITS
    const p = l3[i]
    const local = F[base + INSIDE]
    // @req RFC5508 REQ-4a
    if ((F[base + KIND] & MAPPED) !== 0) rewriteQuote(i, e, ipv4.SRC, l4, ipv4.protocol(view, e), local, F[base + PORTS] >>> 16, 0)
    let from = ipv4.src(view, p)
    if ((F[base + KIND] & TWICE) !== 0 && replaceInQuote(i, e, ipv4.DST, l4, ipv4.protocol(view, e), 2, toInside)
      && from === F[base + PEER]) from = found[FOUND_ADDRESS]
    // @req RFC5508 REQ-4b, REQ-4c
    rewriteAddresses(view, p, from, local)
    // @req RFC4787 REQ-12, REQ-12a, REQ-12b
    // @req RFC5382 REQ-9, REQ-10
    // @req RFC5508 REQ-6, REQ-10b5
    verdict[i] = TO_INSIDE
  }

  /** An error from outside about a packet that went out. */
  function in4(i: number): void {
    const l4 = quoted4(i)
    if (l4 === 0) return
    const e = rows.l4[i] + icmp.HEADER_BYTES
    const slot = flowOfQuoteIn4(i, e, l4)
    // @req RFC5508 REQ-4
    if (slot === 0) return drop(shared, i, NO_FLOW)
    translateIn4(i, e, l4, slot)
    counters[TRANSLATED]++
  }

  /**
   * Gives the quoted packet at `e` another address at `e + addressAt` and another port at `l4 + portAt` (an identifier for ICMP),
   * and carries every change into the checksum of the ICMP message around it.
   */
  function rewriteQuote(
    i: number, e: number, addressAt: number, l4: number, protocol: number, address: number, port: number, portAt: number,
  ): void {
    const addressDelta = delta32(view.getInt32(e + addressAt), address)
    view.setInt32(e + addressAt, address)
    const headerSum = ipv4.checksum(view, e)
    const newHeaderSum = apply(headerSum, addressDelta)
    ipv4.setChecksum(view, e, newHeaderSum)
    let message = addressDelta + delta16(headerSum, newHeaderSum)

    let transportDelta = protocol === ICMP ? 0 : addressDelta
    if (CLASS_OF[protocol] !== CLASS_NONE) {
      const at = protocol === ICMP ? l4 + icmp.ID : l4 + portAt
      const portDelta = delta16(view.getUint16(at), port)
      view.setUint16(at, port)
      transportDelta = fold(transportDelta + portDelta)
      message += portDelta
    }
    const sumAt = CHECKSUM_AT[protocol]
    if (sumAt !== 0 && l4 + sumAt + 2 <= Math.min(l3[i] + netBytes[i], off[i] + capBytes[i])) {
      const sum = view.getUint16(l4 + sumAt)
      // A UDP sum of 0 says that there is none (RFC 768).
      if (protocol !== UDP || sum !== 0) {
        // @req RFC5508 REQ-3c, REQ-3d
        let newSum = apply(sum, transportDelta)
        if ((protocol === UDP || protocol === UDP_LITE) && newSum === 0) newSum = 0xffff
        view.setUint16(l4 + sumAt, newSum)
        message += delta16(sum, newSum)
      }
    }
    const outer = rows.l4[i]
    icmp.setChecksum(view, outer, apply(icmp.checksum(view, outer), fold(message)))
  }

  /**
   * IPv6 errors, either way: what matters is whether the quoted packet has a flow. Where prefixes are translated, both headers are;
   * each sum stays as it is (RFC 6296 2.6).
   */
  function pass6(i: number): void {
    const p = l3[i]
    const l4 = rows.l4[i]
    const messageBytes = p + netBytes[i] - l4
    if (isCorrupt(i, pseudo6(view, p, ICMP6, messageBytes))) return drop(shared, i, BAD_CHECKSUM)
    const e = l4 + icmp.HEADER_BYTES
    const end = Math.min(p + netBytes[i], off[i] + capBytes[i])
    if (e + ipv6.HEADER_BYTES > end || ipv6.version(view, e) !== 6) return drop(shared, i, BAD_ERROR)
    if (ipv6.walk(view, e, end, end, walk) !== ipv6.WALK_OK) return drop(shared, i, BAD_ERROR)
    const quotedL4 = walk.at[ipv6.WALK_L4]
    if (quotedL4 + QUOTED_BYTES > end) return drop(shared, i, BAD_ERROR)
    const fragment = walk.at[ipv6.WALK_FRAGMENT]
    if (fragment !== 0 && (view.getUint16(fragment + 2) & 0xfff8) !== 0) return drop(shared, i, NO_FLOW)
    const protocol = walk.at[ipv6.WALK_PROTOCOL]
    if (protocol === ICMP6 && !isQuery(6, icmp.type(view, quotedL4)) && !isReply(6, icmp.type(view, quotedL4))) {
      return drop(shared, i, NO_FLOW)
    }
    const fromInside = side[i] === SIDE_INSIDE
    const insideAt = fromInside ? ipv6.DST : ipv6.SRC
    const peerAt = fromInside ? ipv6.SRC : ipv6.DST
    let agrees = true
    for (let word = 0; word < 4; word++) {
      $key[word] = view.getInt32(e + insideAt + (word << 2))
      $key[word + 4] = view.getInt32(e + peerAt + (word << 2))
      // The error goes to whoever sent the packet it quotes.
      if (view.getInt32(e + ipv6.SRC + (word << 2)) !== ipv6.dstWord(view, p, word)) agrees = false
    }
    // What goes to an inside address by its own name is about no flow that the outside sees, if that address is translated.
    if (npt6 !== null && !fromInside) {
      const result = npt6.inward($key, 0)
      if (result !== NPT6_DONE && (result !== NPT6_NONE || npt6.isInside($key, 0))) agrees = false
    }
    const kind = (6 << 8) | protocol
    const ports = quotedPorts(kind, quotedL4, !fromInside)
    const key = fromInside ? swap(ports) : ports
    if (!agrees || !hasFlow6(key, kind)) return drop(shared, i, NO_FLOW)
    if (prefixes !== null) {
      const result = fromInside ? prefixes.outwardAt(p + ipv6.SRC) : prefixes.inwardAt(p + ipv6.DST)
      // A router further inside, whose address has no counterpart.
      if (result > NPT6_DONE) return drop(shared, i, npt6Reason(result))
      if (fromInside) prefixes.outwardAt(e + ipv6.DST)
      else prefixes.inwardAt(e + ipv6.SRC)
    }
    ipv6.setHopLimit(view, p, ipv6.hopLimit(view, p) - 1)
    verdict[i] = fromInside ? TO_OUTSIDE : TO_INSIDE
    if (prefixes !== null && fromInside && npt6!.isOutside($key[4], $key[5])) return hairpin6(i, e, key, kind)
    counters[TRANSLATED]++
  }

  // @req RFC6092 REC-10, REC-18, REC-19, REC-23, REC-30, REC-36, REC-37, REC-41, REC-42, REC-45, REC-46
  /** Has the connection of the ends in $key a flow? */
  function hasFlow6(ports: number, kind: number): boolean {
    const hash = hash6($key[0], $key[1], $key[2], $key[3], $key[4], $key[5], $key[6], $key[7], ports, kind)
    return standing(find6(hash, $key, ports, kind)) !== 0
  }

  /** An error that one inside host sends another through our own prefix; `ports` are those of the sender's flow. */
  function hairpin6(i: number, e: number, ports: number, kind: number): void {
    const p = l3[i]
    counters[HAIRPINS]++
    if (share !== null) {
      for (let word = 0; word < 4; word++) $key[word] = ipv6.dstWord(view, p, word)
      if (share.isForeign6($key, 0)) return
    }
    for (let word = 0; word < 4; word++) {
      $key[word] = view.getInt32(e + ipv6.SRC + (word << 2))
      $key[word + 4] = view.getInt32(e + ipv6.DST + (word << 2))
    }
    npt6!.inward($key, 0)
    if (!hasFlow6(kind === (6 << 8 | ICMP6) ? ports : swap(ports), kind)) return drop(shared, i, NO_FLOW)
    prefixes!.inwardAt(p + ipv6.DST)
    prefixes!.inwardAt(e + ipv6.SRC)
    counters[TRANSLATED]++
    verdict[i] = TO_INSIDE
  }

  return { out4, in4, pass6, rewriteQuote }
}
