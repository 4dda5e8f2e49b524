/**
 * The engine: decides one packet at a time what docs/behaviour.md says, and rewrites it in place. It knows bytes, flows and
 * virtual time; it knows no device, no configuration file and no policy.
 *
 * Use: fill rows of `frames`, `lookAhead(count)`, then `forward(i, nowMs)` for each row in order; after each, the frames in
 * `extras` leave too. Build it once in a program and keep it: tables and functions are constants of this closure, and the compiler
 * treats them as such only while there is one of it (a second engine is right, but slower).
 */
import { type Counters, counterIndex } from '../channel/counters.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { type Frames, SIDE_INSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { RST } from '../wire/tcp.ts'
import { type Extras, HOLD_BYTES, REPLY_BYTES, createExtras } from './extras.ts'
import {
  CLASS_ICMP, CLASS_NONE, CLASS_OF, CLASS_TCP, CLASSES, CONFLICT, DEADLINE, DELTA, FLOW_BITS, HAIRPIN, INSIDE, KIND, OUTSIDE,
  OUTSIDE_PORTS, PEER, PORTS, createFlows, type Flows,
} from './flows.ts'
import { createFragments } from './fragments.ts'
import { createIcmpError } from './icmp-error.ts'
import { createIcmpReply } from './icmp-reply.ts'
import { createLook, isReply } from './look.ts'
import { type EngineOptions, FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT } from './options.ts'
import { type Pool, createPool } from './pool.ts'
import {
  FIRST_FRAGMENT, PATH_4, PATH_4_ERROR, PATH_4_OTHER, PATH_4_PLAIN, PATH_6, PATH_6_ERROR, PATH_DROP, PATH_EXPIRED, PATH_LATER,
  createRows, type Rows,
} from './rows.ts'
import { type Shared, drop as dropRow } from './shared.ts'
import { DIR_IN, DIR_OUT, EVENT, EVENT_SYN, NEXT, STATE_OF, isClosing, openingState, timeoutsByState } from './tcp-state.ts'

const TTL_EXCEEDED = reasonIndex('ttl-exceeded')
const INSIDE_TO_INSIDE = reasonIndex('inside-to-inside'), OUTSIDE_TO_OUTSIDE = reasonIndex('outside-to-outside')
const NO_MAPPING = reasonIndex('no-mapping'), FILTERED = reasonIndex('filtered'), NO_STATE = reasonIndex('no-state')
const DENIED = reasonIndex('denied'), TCP_MIDSTREAM = reasonIndex('tcp-midstream')
const NO_OUTSIDE_PORT = reasonIndex('no-outside-port'), PROTOCOL_CONFLICT = reasonIndex('protocol-conflict')

const ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, ICMP6 = 58, UDP_LITE = 136
/** Where the transport checksum that covers the addresses lies, or ICMP's; 0: there is none. */
const CHECKSUM_AT = new Uint8Array(256)
CHECKSUM_AT[TCP] = 16
CHECKSUM_AT[UDP] = CHECKSUM_AT[DCCP] = CHECKSUM_AT[UDP_LITE] = 6
CHECKSUM_AT[ICMP] = 2

/** The other zero of one's complement: an identifier that stays has this delta on its way out, so on its way in as well. */
const NO_CHANGE = 0xffff
/** What one hop less does to the sum of an IPv4 header: ~0x0100 in the word of the TTL. */
const HOP_DELTA = 0xfeff

export interface Engine {
  lookAhead(count: number): void
  /** Looks again at one row that was changed after `lookAhead`. */
  look(i: number): void
  /** Decides row i: verdict, reason, rewritten bytes. `nowMs` (int32, modulo 2^32) never goes back. */
  forward(i: number, nowMs: number): void
  /** Frames that leave because of the last row, after it. */
  readonly extras: Extras
  /** Drops what is still held. */
  finish(): void
  /** Removes flows and datagrams whose time is over. `forward` does it by itself. */
  expire(nowMs: number): void
  readonly rows: Rows
  readonly flows: Flows
  readonly pool: Pool
  /** See icmp-error.ts: gives the packet that row i quotes another source or destination. */
  rewriteQuote(
    i: number, e: number, addressAt: number, l4: number, protocol: number, address: number, port: number, portAt: number,
  ): void
  /** Bytes of all flow tables. */
  readonly tableBytes: number
}

/** Bytes of the frame pool that the engine needs for itself, from `scratchStart` on. */
export function engineScratchBytes(options: Pick<EngineOptions, 'fragmentHold'>): number {
  return options.fragmentHold * HOLD_BYTES + REPLY_BYTES
}

export function createEngine(options: EngineOptions, frames: Frames, counters: Counters): Engine {
  const pool = createPool(options.nat44 ? options.pool : [], options.seed | 0)
  const flows = createFlows(options, pool, counters)
  const rows = createRows(frames.capacity)
  const extras = createExtras()
  const shared: Shared = { options, frames, counters, rows, pool, flows, extras }
  const { look, lookAhead } = createLook(shared)
  const replyStart = options.scratchStart + options.fragmentHold * HOLD_BYTES
  const { timeExceeded, prohibited } = createIcmpReply(shared, replyStart)
  const { arrive, first, later, expire: expireFragments, finish, reclaim } = createFragments(shared, options.scratchStart)
  const { out4: errorOut4, in4: errorIn4, pass6: error6, rewriteQuote } = createIcmpError(shared)

  const { view, off, capBytes, l3, side, netBytes, verdict } = frames
  const { path, local: localColumn, peer: peerColumn, ports: portsColumn, kind: kindColumn, l4: l4Column } = rows
  const { word2: word2Column, hash: hashColumn, hint: hintColumn } = rows
  const { F, portOwner, hash4, find4, find6, findPeer, openOut, openIn, openPlain4, open6, schedule } = flows
  const { expire: expireFlows } = flows
  const { has4, has6 } = options.inside
  const { indexOf } = pool
  const { nat44, filtering, hairpinning, outboundPermit, inboundPermit, tcpMidstream } = options
  const HAIRPINS = counterIndex('hairpin-packets')
  const $key = new Int32Array(8)
  const timeouts = timeoutsByState(options)
  const closing = Uint8Array.from(timeouts, (_, state) => isClosing(state) ? 1 : 0)

  // The present, in a typed array: a variable that changes is checked and untagged wherever it is read.
  const $now = new Int32Array(1)

  function drop(i: number, reason: number): void {
    dropRow(shared, i, reason)
  }

  function refuse(i: number, reason: number): 0 {
    drop(i, reason)
    return 0
  }

  /** Drops row i and says so to its sender (RFC 5508 REQ-8). */
  function prohibit(i: number, reason: number): 0 {
    drop(i, reason)
    prohibited(i, $now[0])
    return 0
  }

  function expire(nowMs: number): void {
    $now[0] = nowMs
    expireFlows(nowMs)
    expireFragments(nowMs)
  }

  /* Timers and state. */

  /** A packet of the flow at `base` passed in direction `dir`. What is not TCP has a state that no event changes. */
  function refresh(base: number, dir: number, l4: number): void {
    const state = (F[base + KIND] >>> 8) & 255
    const next = NEXT[(state << 4) | (dir << 3) | EVENT[view.getUint8(l4 + 13) & 31]]
    if (next !== state) return enter(base, next)
    if (closing[state] === 0) F[base + DEADLINE] = $now[0] + timeouts[state]
  }

  function enter(base: number, state: number): void {
    F[base + KIND] = (F[base + KIND] & ~0xff00) | (state << 8)
    F[base + DEADLINE] = $now[0] + timeouts[state]
    // The deadline may have moved earlier, which the wheel must be told.
    schedule(base >>> FLOW_BITS)
  }

  /** State of the flow that row i would open, or -1 if it may open none. */
  function opening(i: number, dir: number): number {
    const protocol = kindColumn[i] & 255
    if (protocol !== TCP) return STATE_OF[protocol]
    const flags = view.getUint8(l4Column[i] + 13)
    const event = EVENT[flags & 31]
    if ((flags & RST) !== 0 || (!tcpMidstream && event !== EVENT_SYN)) return -1
    return openingState(dir, event)
  }

  /** Is row i the answer to an ICMP query? */
  function isIcmpReply(i: number): boolean {
    const kind = kindColumn[i]
    if (kind === (4 << 8 | ICMP)) return isReply(4, icmp.type(view, l4Column[i]))
    return kind === (6 << 8 | ICMP6) && isReply(6, icmp.type(view, l4Column[i]))
  }

  /* IPv4 with NAT. */

  /**
   * UDP or TCP, either direction. `dir` selects the face of the flow that the packet shows, and by its complement the one it gets:
   * there is no branch on direction or protocol before the checksum, because a forwarder cannot foretell either.
   */
  function pass4(i: number): void {
    const dir = side[i]
    const base = hintColumn[i] << FLOW_BITS
    if (F[base + dir] === localColumn[i] && F[base + PEER] === peerColumn[i] && F[base + PORTS + dir] === portsColumn[i]
      && F[base + KIND] >>> 16 === kindColumn[i]) {
      refresh(base, dir, l4Column[i])
      translate(i, base, dir)
    } else miss4(i, dir)
  }

  /** The hint was for another flow, or the flow was opened a moment ago by a packet of the same batch, or there is none. */
  function miss4(i: number, dir: number): void {
    const slot = dir === DIR_OUT ? findOrOpenOut(i) : findOrOpenIn(i, 0)
    if (slot !== 0) translate(i, slot << FLOW_BITS, dir)
  }

  /** Rewrites row i by the flow at `base`, less one hop, and sends it on. */
  function translate(i: number, base: number, dir: number): void {
    const p = l3[i], l4 = l4Column[i], word2 = word2Column[i]
    const protocol = (word2 >>> 16) & 255
    const delta = F[base + DELTA] ^ (0 - dir)
    let sum = (~word2 & 0xffff) + (delta >>> 16) + HOP_DELTA
    sum = (sum & 0xffff) + (sum >>> 16)
    sum = (sum & 0xffff) + (sum >>> 16)
    // TTL less one, protocol, checksum: one store.
    view.setInt32(p + ipv4.TTL, ((word2 & ~0xffff) - 0x01000000) | (~sum & 0xffff))
    view.setInt32(p + ipv4.SRC + (dir << 2), F[base + OUTSIDE - dir])
    view.setUint16(l4 + (dir << 1), F[base + OUTSIDE_PORTS - dir] >>> 16)
    updateSum(l4 + CHECKSUM_AT[protocol], protocol, delta & 0xffff)
    verdict[i] = TO_OUTSIDE - dir
    if ((F[base + KIND] & HAIRPIN) !== 0 && dir === DIR_OUT) hairpin(i, base >>> FLOW_BITS)
  }

  /** RFC 768: for UDP 0 says that there is no checksum, and a sum of 0 is sent as 0xffff. The latter also RFC 3828. */
  function updateSum(at: number, protocol: number, delta: number): void {
    const was = view.getUint16(at)
    if (was === 0 && protocol === UDP) return
    const sum = (~was & 0xffff) + delta
    const becomes = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff
    view.setUint16(at, becomes === 0 && (protocol === UDP || protocol === UDP_LITE) ? 0xffff : becomes)
  }

  /** ICMP queries and protocols without ports, either direction. */
  function passOther4(i: number): void {
    const dir = side[i]
    const slot = dir === DIR_OUT ? findOrOpenOut(i) : findOrOpenIn(i, 0)
    if (slot === 0) return
    translateOther(i, slot << FLOW_BITS, dir, 1)
    if ((F[(slot << FLOW_BITS) + KIND] & HAIRPIN) !== 0 && dir === DIR_OUT) hairpin(i, slot)
  }

  /** As `translate`, for any protocol. `hops` is 0 for a packet whose hop was counted already. */
  function translateOther(i: number, base: number, dir: number, hops: number): void {
    const p = l3[i], l4 = l4Column[i], word2 = word2Column[i]
    const protocol = (word2 >>> 16) & 255
    const delta = F[base + DELTA] ^ (0 - dir)
    let sum = (~word2 & 0xffff) + (delta >>> 16) + (hops !== 0 ? HOP_DELTA : 0)
    sum = (sum & 0xffff) + (sum >>> 16)
    sum = (sum & 0xffff) + (sum >>> 16)
    view.setInt32(p + ipv4.TTL, ((word2 & ~0xffff) - (hops << 24)) | (~sum & 0xffff))
    view.setInt32(p + ipv4.SRC + (dir << 2), F[base + OUTSIDE - dir])
    const port = F[base + OUTSIDE_PORTS - dir] >>> 16
    if (CLASS_OF[protocol] <= CLASS_TCP) view.setUint16(l4 + (dir << 1), port)
    else if (protocol === ICMP) icmp.setId(view, l4, port)
    const at = l4 + CHECKSUM_AT[protocol]
    const isThere = at !== l4 && at + 2 <= Math.min(p + netBytes[i], off[i] + capBytes[i])
    if (isThere) updateSum(at, protocol, (delta & 0xffff) || NO_CHANGE)
    verdict[i] = TO_OUTSIDE - dir
  }

  /** The flow of row i, from inside; opened if it may be. 0: dropped. */
  function findOrOpenOut(i: number): number {
    const local = localColumn[i], peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const slot = find4(hash4(local, peer, ports, kind), local, peer, ports, kind)
    if (slot === 0) return admitOut4(i)
    refresh(slot << FLOW_BITS, DIR_OUT, l4Column[i])
    return slot
  }

  /** Opens a flow for row i, from inside. 0: dropped. */
  function admitOut4(i: number): number {
    const local = localColumn[i], peer = peerColumn[i], kind = kindColumn[i]
    if (has4(peer)) return refuse(i, INSIDE_TO_INSIDE)
    if (nat44 && !hairpinning && indexOf(peer) >= 0) return refuse(i, DENIED)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    if (!outboundPermit) return prohibit(i, DENIED)
    const state = opening(i, DIR_OUT)
    if (state < 0) return refuse(i, TCP_MIDSTREAM)
    if (!nat44) return openPlain4(local, peer, portsColumn[i], kind, state, $now[0])
    const slot = openOut(local, peer, portsColumn[i], kind, state, $now[0])
    if (slot > 0) return slot
    return prohibit(i, slot === CONFLICT ? PROTOCOL_CONFLICT : NO_OUTSIDE_PORT)
  }

  /** The flow of row i, which is addressed to one of our addresses; opened if the filter admits it. 0: dropped. */
  function findOrOpenIn(i: number, keep: number): number {
    const peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const portClass = CLASS_OF[kind & 255]
    // Without ports only a flow can tell whom a packet is for.
    if (portClass === CLASS_NONE) {
      const slot = findPeer(localColumn[i], 0, peer, kind)
      if (slot === 0) return refuse(i, NO_MAPPING)
      refresh(slot << FLOW_BITS, DIR_IN, l4Column[i])
      return slot
    }
    const owner = ((indexOf(localColumn[i]) * CLASSES + portClass) << 16) | (ports >>> 16)
    const head = portOwner[owner]
    if (head === 0) return refuse(i, NO_MAPPING)
    const base = head << FLOW_BITS
    const inside = F[base + INSIDE]
    const own = (F[base + PORTS] & ~0xffff) | (ports & 0xffff)
    const slot = find4(hash4(inside, peer, own, kind), inside, peer, own, kind)
    if (slot === 0) return admitIn4(i, owner, keep)
    refresh(slot << FLOW_BITS, DIR_IN, l4Column[i])
    return slot
  }

  /** Opens a flow from outside in the mapping of `owner` in the port table, if its filter admits that. 0: dropped. */
  function admitIn4(i: number, owner: number, keep: number): number {
    const peer = peerColumn[i], kind = kindColumn[i]
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    if (filtering !== FILTER_ENDPOINT_INDEPENDENT) {
      if (filtering !== FILTER_ADDRESS_DEPENDENT || findPeer(localColumn[i], owner & 0xffff, peer, kind) === 0) {
        return refuse(i, FILTERED)
      }
    }
    const state = opening(i, DIR_IN)
    if (state < 0) return refuse(i, TCP_MIDSTREAM)
    const slot = openIn(owner, peer, portsColumn[i] & 0xffff, kind, state, keep, $now[0])
    return slot !== 0 ? slot : refuse(i, NO_MAPPING)
  }

  /** Row i left its host for one of our own addresses; it carries its outside source now (RFC 4787 REQ-9a) and turns round. */
  function hairpin(i: number, slot: number): void {
    const base = slot << FLOW_BITS
    const outsidePort = F[base + OUTSIDE_PORTS] >>> 16
    counters[HAIRPINS]++
    localColumn[i] = peerColumn[i]
    peerColumn[i] = F[base + OUTSIDE]
    word2Column[i] = view.getInt32(l3[i] + ipv4.TTL)
    // An ICMP query is for the one whose identifier it carries.
    portsColumn[i] = CLASS_OF[kindColumn[i] & 255] === CLASS_ICMP ? outsidePort << 16 : (portsColumn[i] << 16) | outsidePort
    const other = findOrOpenIn(i, slot)
    if (other !== 0) translateOther(i, other << FLOW_BITS, DIR_IN, 0)
  }

  /* IPv4 without NAT, and what is addressed to nobody. */

  function plain4(i: number): void {
    const dir = side[i]
    const local = localColumn[i], peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    if (dir === DIR_IN) {
      if (nat44) return drop(i, has4(local) ? NO_MAPPING : OUTSIDE_TO_OUTSIDE)
      if (!has4(local)) return drop(i, OUTSIDE_TO_OUTSIDE)
    }
    const slot = find4(hash4(local, peer, ports, kind), local, peer, ports, kind)
    if (slot !== 0) refresh(slot << FLOW_BITS, dir, l4Column[i])
    else if (dir === DIR_OUT) {
      if (admitOut4(i) === 0) return
    } else {
      const state = admitFromOutside(i)
      if (state < 0) return
      openPlain4(local, peer, ports, kind, state, $now[0])
    }
    const p = l3[i]
    ipv4.setTtl(view, p, ipv4.ttl(view, p) - 1)
    const sum = (~ipv4.checksum(view, p) & 0xffff) + HOP_DELTA
    ipv4.setChecksum(view, p, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
    verdict[i] = TO_OUTSIDE - dir
  }

  /** State of a new flow from outside where no NAT stands in its way, or -1: dropped. */
  function admitFromOutside(i: number): number {
    if (isIcmpReply(i)) return refuse(i, NO_STATE) - 1
    if (!inboundPermit) return refuse(i, DENIED) - 1
    const state = opening(i, DIR_IN)
    return state < 0 ? refuse(i, TCP_MIDSTREAM) - 1 : state
  }

  /* IPv6. */

  function pass6(i: number): void {
    const p = l3[i]
    const outward = side[i] === SIDE_INSIDE
    const insideAt = p + (outward ? ipv6.SRC : ipv6.DST)
    const peerAt = p + (outward ? ipv6.DST : ipv6.SRC)
    for (let word = 0; word < 4; word++) {
      $key[word] = view.getInt32(insideAt + (word << 2))
      $key[word + 4] = view.getInt32(peerAt + (word << 2))
    }
    if (!outward && !has6($key[0], $key[1], $key[2], $key[3])) return drop(i, OUTSIDE_TO_OUTSIDE)
    const ports = portsColumn[i], kind = kindColumn[i]
    const slot = find6(hashColumn[i], $key, ports, kind)
    if (slot !== 0) refresh(slot << FLOW_BITS, outward ? DIR_OUT : DIR_IN, l4Column[i])
    else {
      const state = outward ? admitOut6(i) : admitFromOutside(i)
      if (state < 0) return
      open6(hashColumn[i], $key, ports, kind, state, $now[0])
    }
    ipv6.setHopLimit(view, p, ipv6.hopLimit(view, p) - 1)
    verdict[i] = outward ? TO_OUTSIDE : TO_INSIDE
  }

  /** TCP state for a new IPv6 flow from inside, or -1: dropped. */
  function admitOut6(i: number): number {
    if (has6($key[4], $key[5], $key[6], $key[7])) return refuse(i, INSIDE_TO_INSIDE) - 1
    if (isIcmpReply(i)) return refuse(i, NO_STATE) - 1
    if (!outboundPermit) return prohibit(i, DENIED) - 1
    const state = opening(i, DIR_OUT)
    return state < 0 ? refuse(i, TCP_MIDSTREAM) - 1 : state
  }

  /* One packet. */

  function forward(i: number, nowMs: number): void {
    if (nowMs !== $now[0]) expire(nowMs)
    if (extras.count() !== 0) {
      extras.clear()
      reclaim()
    }
    const which = path[i]
    if (which === PATH_4) pass4(i)
    else if (which < PATH_LATER) decide(i, which)
    else fragment(i, which)
  }

  /** Is row i between the sides, so that we are the router whose TTL it is? Captures hold much that is not. */
  function wouldCross(i: number): boolean {
    const dir = side[i]
    if (kindColumn[i] >>> 8 === 4) {
      if (dir === DIR_OUT) return !has4(peerColumn[i])
      return nat44 ? indexOf(localColumn[i]) >= 0 : has4(localColumn[i])
    }
    const p = l3[i]
    const isInside = has6(ipv6.dstWord(view, p, 0), ipv6.dstWord(view, p, 1), ipv6.dstWord(view, p, 2), ipv6.dstWord(view, p, 3))
    return isInside === (dir === DIR_IN)
  }

  function decide(i: number, which: number): void {
    switch (which) {
      case PATH_DROP: return drop(i, frames.reason[i])
      case PATH_EXPIRED:
        drop(i, TTL_EXCEEDED)
        return wouldCross(i) ? timeExceeded(i, $now[0]) : undefined
      case PATH_4: return pass4(i)
      case PATH_4_OTHER: return passOther4(i)
      case PATH_4_PLAIN: return plain4(i)
      case PATH_4_ERROR: return side[i] === SIDE_INSIDE ? errorOut4(i) : errorIn4(i)
      case PATH_6: return pass6(i)
      case PATH_6_ERROR: return error6(i)
    }
  }

  function fragment(i: number, which: number): void {
    const datagram = arrive(i, $now[0])
    if (datagram === 0) return
    if (which === PATH_LATER) return later(i, datagram)
    decide(i, which - FIRST_FRAGMENT)
    first(i, datagram, verdict[i] === TO_INSIDE || verdict[i] === TO_OUTSIDE)
  }

  return { lookAhead, look, forward, extras, finish, expire, rows, flows, pool, rewriteQuote, tableBytes: flows.bytes }
}

