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
import { type Frames, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { RST } from '../wire/tcp.ts'
import { type Extras, HOLD_BYTES, REPLY_BYTES, createExtras } from './extras.ts'
import {
  CLASSES, CLASS_ICMP, CLASS_NONE, CLASS_OF, CONFLICT, DEADLINE, DELTA, FLOW_BITS, HAIRPIN, INSIDE, KIND, OUTSIDE,
  OUTSIDE_PORT, PEER, PORTS, createFlows, type Flows,
} from './flows.ts'
import { createFragments } from './fragments.ts'
import { createIcmpError } from './icmp-error.ts'
import { createIcmpReply } from './icmp-reply.ts'
import { createLook, isReply } from './look.ts'
import { type EngineOptions, FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT } from './options.ts'
import { type Pool, createPool } from './pool.ts'
import {
  FIRST_FRAGMENT, PATH_4, PATH_4_ERROR, PATH_4_OWNER, PATH_4_PEER, PATH_6, PATH_6_ERROR, PATH_DROP, PATH_EXPIRED, PATH_LATER,
  createRows, type Rows,
} from './rows.ts'
import { type Shared, drop as dropRow } from './shared.ts'
import {
  DIR_IN, DIR_OUT, EVENT, EVENT_SYN, NEXT, isClosing, isEstablished, openingState,
} from './tcp-state.ts'

const TTL_EXCEEDED = reasonIndex('ttl-exceeded')
const INSIDE_TO_INSIDE = reasonIndex('inside-to-inside'), OUTSIDE_TO_OUTSIDE = reasonIndex('outside-to-outside')
const NO_MAPPING = reasonIndex('no-mapping'), FILTERED = reasonIndex('filtered'), NO_STATE = reasonIndex('no-state')
const DENIED = reasonIndex('denied'), TCP_MIDSTREAM = reasonIndex('tcp-midstream')
const NO_OUTSIDE_PORT = reasonIndex('no-outside-port'), PROTOCOL_CONFLICT = reasonIndex('protocol-conflict')

const ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, ICMP6 = 58, UDP_LITE = 136
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
  const { timeExceeded, prohibited } = createIcmpReply(shared, extras, replyStart)
  const { arrive, first, later, expire: expireFragments, finish, reclaim } = createFragments(shared, extras, options.scratchStart)
  const { out4: errorOut4, in4: errorIn4, pass6: error6, rewriteQuote } = createIcmpError(shared)

  const { view, off, capBytes, l3, side, netBytes, verdict } = frames
  const { path, src: srcColumn, dst: dstColumn, ports: portsColumn, kind: kindColumn, l4: l4Column, word2: word2Column } = rows
  const { hash: hashColumn, hint: hintColumn } = rows
  const { F, portOwner, timeouts, hash4, find4, find6, findPeer, openOut, openIn, openPlain4, open6, schedule } = flows
  const { expire: expireFlows } = flows
  const { has4, has6 } = options.inside
  const { indexOf } = pool
  const { nat44, filtering, hairpinning, outboundPermit, inboundPermit, tcpMidstream } = options
  const HAIRPINS = counterIndex('hairpin-packets')
  const $key = new Int32Array(8)

  // Timeout by TCP state; 0 for the closing states, whose deadline later packets leave alone.
  const tcpTimeouts = new Int32Array(16)
  const closing = new Uint8Array(16)
  for (let state = 0; state < 16; state++) {
    tcpTimeouts[state] = isEstablished(state) ? options.tcpEstablishedMs : options.tcpTransitoryMs
    closing[state] = isClosing(state) ? 1 : 0
  }

  let clock = 0

  function drop(i: number, reason: number): void {
    dropRow(shared, i, reason)
  }

  function expire(nowMs: number): void {
    clock = nowMs
    expireFlows(nowMs)
    expireFragments(nowMs)
  }

  /* Timers and TCP state. */

  /** A packet of the flow at `base` passed, seen from inside in direction `dir`. */
  function refresh(base: number, dir: number, protocol: number, l4: number): void {
    if (protocol !== TCP) {
      F[base + DEADLINE] = clock + timeouts[protocol]
      return
    }
    const kind = F[base + KIND]
    const state = (kind >>> 8) & 255
    const next = NEXT[(state << 4) | (dir << 3) | EVENT[view.getUint8(l4 + 13) & 31]]
    if (next !== state) {
      F[base + KIND] = (kind & ~0xff00) | (next << 8)
      F[base + DEADLINE] = clock + tcpTimeouts[next]
      // The deadline may have moved earlier, which the wheel must be told.
      schedule(base >>> FLOW_BITS)
    } else if (closing[state] === 0) F[base + DEADLINE] = clock + tcpTimeouts[state]
  }

  /** TCP state of the flow that row i would open, or -1 if it may open none. */
  function opening(i: number, protocol: number, dir: number): number {
    if (protocol !== TCP) return 0
    const flags = view.getUint8(l4Column[i] + 13)
    const event = EVENT[flags & 31]
    if ((flags & RST) !== 0 || (!tcpMidstream && event !== EVENT_SYN)) return -1
    return openingState(dir, event)
  }

  function openingTimeout(protocol: number): number {
    return timeouts[protocol]
  }

  /** Is row i the answer to an ICMP query? */
  function isIcmpReply(i: number): boolean {
    const kind = kindColumn[i]
    if (kind === (4 << 8 | ICMP)) return isReply(4, icmp.type(view, l4Column[i]))
    return kind === (6 << 8 | ICMP6) && isReply(6, icmp.type(view, l4Column[i]))
  }

  /* IPv4 with NAT, from inside. */

  function out4(i: number): void {
    const src = srcColumn[i], dst = dstColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const protocol = kind & 255
    const l4 = l4Column[i]
    let slot = hintColumn[i]
    let base = slot << FLOW_BITS
    if (slot !== 0 && F[base + INSIDE] === src && F[base + PORTS] === ports && F[base + PEER] === dst
      && F[base + KIND] >>> 16 === kind) {
      refresh(base, DIR_OUT, protocol, l4)
    } else {
      // The guess was for another flow, or this one was opened a moment ago by a packet of the same batch.
      slot = find4(hashColumn[i], src, dst, ports, kind)
      base = slot << FLOW_BITS
      if (slot !== 0) refresh(base, DIR_OUT, protocol, l4)
      else {
        slot = admitOut4(i)
        if (slot === 0) return
        base = slot << FLOW_BITS
      }
    }
    rewriteSource(i, base, protocol, l4)
    verdict[i] = TO_OUTSIDE
    if ((F[base + KIND] & HAIRPIN) !== 0) hairpin(i, slot)
  }

  /** Opens a flow for row i, from inside. 0: dropped. */
  function admitOut4(i: number): number {
    const src = srcColumn[i], dst = dstColumn[i], kind = kindColumn[i]
    if (has4(dst)) return refuse(i, INSIDE_TO_INSIDE)
    if (nat44 && !hairpinning && indexOf(dst) >= 0) return refuse(i, DENIED)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    if (!outboundPermit) return prohibit(i, DENIED)
    const state = opening(i, kind & 255, DIR_OUT)
    if (state < 0) return refuse(i, TCP_MIDSTREAM)
    if (!nat44) return openPlain4(src, dst, portsColumn[i], kind, state, openingTimeout(kind & 255), clock)
    const slot = openOut(src, dst, portsColumn[i], kind, state, openingTimeout(kind & 255), clock)
    if (slot > 0) return slot
    return prohibit(i, slot === CONFLICT ? PROTOCOL_CONFLICT : NO_OUTSIDE_PORT)
  }

  function refuse(i: number, reason: number): 0 {
    drop(i, reason)
    return 0
  }

  /** Drops row i and says so to its sender (RFC 5508 REQ-8). */
  function prohibit(i: number, reason: number): 0 {
    drop(i, reason)
    prohibited(i, clock)
    return 0
  }

  function rewriteSource(i: number, base: number, protocol: number, l4: number): void {
    const p = l3[i]
    const delta = F[base + DELTA]
    const word2 = word2Column[i]
    let sum = (~word2 & 0xffff) + (delta >>> 16) + HOP_DELTA
    sum = (sum & 0xffff) + (sum >>> 16)
    sum = (sum & 0xffff) + (sum >>> 16)
    // TTL less one, protocol, checksum: one store.
    view.setInt32(p + ipv4.TTL, ((word2 & ~0xffff) - 0x01000000) | (~sum & 0xffff))
    view.setInt32(p + ipv4.SRC, F[base + OUTSIDE])
    const transport = delta & 0xffff
    if (protocol === UDP) {
      view.setUint16(l4, F[base + OUTSIDE_PORT] >>> 16)
      updateUdpSum(l4 + 6, transport)
    } else if (protocol === TCP) {
      view.setUint16(l4, F[base + OUTSIDE_PORT] >>> 16)
      updateSum(l4 + 16, transport)
    } else rewriteOther(i, protocol, l4, F[base + OUTSIDE_PORT] >>> 16, transport)
  }

  function updateSum(at: number, delta: number): void {
    const sum = (~view.getUint16(at) & 0xffff) + delta
    view.setUint16(at, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
  }

  /** RFC 768: 0 says that there is no checksum, and a sum of 0 is sent as 0xffff. */
  function updateUdpSum(at: number, delta: number): void {
    const was = view.getUint16(at)
    if (was === 0) return
    const sum = (~was & 0xffff) + delta
    const becomes = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff
    view.setUint16(at, becomes === 0 ? 0xffff : becomes)
  }

  /** ICMP queries, and the protocols whose checksum covers addresses only. */
  function rewriteOther(i: number, protocol: number, l4: number, id: number, delta: number): void {
    if (protocol === ICMP) {
      icmp.setId(view, l4, id)
      updateSum(l4 + icmp.CHECKSUM, delta)
    } else if ((protocol === UDP_LITE || protocol === DCCP)
      && l4 + 8 <= Math.min(l3[i] + netBytes[i], off[i] + capBytes[i])) updateSum(l4 + 6, delta)
  }

  /* IPv4 with NAT, from outside. */

  function in4(i: number): void {
    inward(i, 0, 1)
  }

  /** To an outside endpoint. `keep` is a flow that must not be evicted; `hops` is 0 when the hop was counted already. */
  function inward(i: number, keep: number, hops: number): void {
    const src = srcColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const protocol = kind & 255
    const head = portOwner[hashColumn[i]]
    if (head === 0) return drop(i, NO_MAPPING)
    let base = head << FLOW_BITS
    const peerPort = ports >>> 16
    if (F[base + PEER] === src && (F[base + PORTS] & 0xffff) === peerPort) refresh(base, DIR_IN, protocol, l4Column[i])
    else {
      const inside = F[base + INSIDE]
      const own = (F[base + PORTS] & ~0xffff) | peerPort
      let slot = find4(hash4(inside, src, own, kind), inside, src, own, kind)
      if (slot !== 0) refresh(slot << FLOW_BITS, DIR_IN, protocol, l4Column[i])
      else {
        slot = admitIn4(i, keep)
        if (slot === 0) return
      }
      base = slot << FLOW_BITS
    }
    rewriteDestination(i, base, protocol, hops)
    verdict[i] = TO_INSIDE
  }

  /** Opens a flow from outside in the mapping that row i is addressed to, if its filter admits that. 0: dropped. */
  function admitIn4(i: number, keep: number): number {
    const kind = kindColumn[i]
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    if (filtering !== FILTER_ENDPOINT_INDEPENDENT) {
      const outsidePort = hashColumn[i] & 0xffff
      if (filtering !== FILTER_ADDRESS_DEPENDENT || findPeer(dstColumn[i], outsidePort, srcColumn[i], kind) === 0) {
        return refuse(i, FILTERED)
      }
    }
    const state = opening(i, kind & 255, DIR_IN)
    if (state < 0) return refuse(i, TCP_MIDSTREAM)
    const slot = openIn(hashColumn[i], srcColumn[i], portsColumn[i] >>> 16, kind, state, openingTimeout(kind & 255), keep, clock)
    return slot !== 0 ? slot : refuse(i, NO_MAPPING)
  }

  /** From outside by a protocol without ports: only a flow can tell whom it is for. */
  function inwardByPeer(i: number, hops: number): void {
    const kind = kindColumn[i]
    const slot = findPeer(dstColumn[i], 0, srcColumn[i], kind)
    if (slot === 0) return drop(i, NO_MAPPING)
    refresh(slot << FLOW_BITS, DIR_IN, kind & 255, l4Column[i])
    rewriteDestination(i, slot << FLOW_BITS, kind & 255, hops)
    verdict[i] = TO_INSIDE
  }

  function rewriteDestination(i: number, base: number, protocol: number, hops: number): void {
    const p = l3[i]
    const l4 = l4Column[i]
    const delta = ~F[base + DELTA]
    const word2 = word2Column[i]
    let sum = (~word2 & 0xffff) + (delta >>> 16) + (hops !== 0 ? HOP_DELTA : 0)
    sum = (sum & 0xffff) + (sum >>> 16)
    sum = (sum & 0xffff) + (sum >>> 16)
    view.setInt32(p + ipv4.TTL, ((word2 & ~0xffff) - (hops << 24)) | (~sum & 0xffff))
    view.setInt32(p + ipv4.DST, F[base + INSIDE])
    const transport = delta & 0xffff
    if (protocol === UDP) {
      view.setUint16(l4 + 2, F[base + PORTS] >>> 16)
      updateUdpSum(l4 + 6, transport)
    } else if (protocol === TCP) {
      view.setUint16(l4 + 2, F[base + PORTS] >>> 16)
      updateSum(l4 + 16, transport)
    } else rewriteOther(i, protocol, l4, F[base + PORTS] >>> 16, transport)
  }

  /** Row i left its host for one of our own outside addresses; it carries its outside source now (RFC 4787 REQ-9a). */
  function hairpin(i: number, slot: number): void {
    const p = l3[i]
    const base = slot << FLOW_BITS
    const outsidePort = F[base + OUTSIDE_PORT] >>> 16
    const portClass = CLASS_OF[kindColumn[i] & 255]
    counters[HAIRPINS]++
    srcColumn[i] = F[base + OUTSIDE]
    word2Column[i] = view.getInt32(p + ipv4.TTL)
    if (portClass === CLASS_NONE) return inwardByPeer(i, 0)
    // An ICMP query has its identifier at the end it is sent to.
    portsColumn[i] = portClass === CLASS_ICMP ? outsidePort : (outsidePort << 16) | (portsColumn[i] & 0xffff)
    hashColumn[i] = ((indexOf(dstColumn[i]) * CLASSES + portClass) << 16) | (portsColumn[i] & 0xffff)
    inward(i, slot, 0)
  }

  /* IPv4 without NAT, and what is addressed to nobody. */

  function plain4(i: number): void {
    const outward = side[i] === SIDE_INSIDE
    if (!outward) {
      if (nat44) return drop(i, has4(dstColumn[i]) ? NO_MAPPING : OUTSIDE_TO_OUTSIDE)
      if (!has4(dstColumn[i])) return drop(i, OUTSIDE_TO_OUTSIDE)
    }
    const inside = outward ? srcColumn[i] : dstColumn[i]
    const peer = outward ? dstColumn[i] : srcColumn[i]
    const ports = outward ? portsColumn[i] : (portsColumn[i] << 16) | (portsColumn[i] >>> 16)
    const kind = kindColumn[i]
    let slot = find4(hashColumn[i], inside, peer, ports, kind)
    if (slot !== 0) refresh(slot << FLOW_BITS, outward ? DIR_OUT : DIR_IN, kind & 255, l4Column[i])
    else {
      if (outward) slot = admitOut4(i)
      else {
        const state = admitFromOutside(i, kind & 255)
        if (state >= 0) slot = openPlain4(inside, peer, ports, kind, state, openingTimeout(kind & 255), clock)
      }
      if (slot === 0) return
    }
    const p = l3[i]
    ipv4.setTtl(view, p, ipv4.ttl(view, p) - 1)
    const sum = (~ipv4.checksum(view, p) & 0xffff) + HOP_DELTA
    ipv4.setChecksum(view, p, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
    verdict[i] = outward ? TO_OUTSIDE : TO_INSIDE
  }

  /** TCP state for a new flow from outside where no NAT stands in its way, or -1: dropped. */
  function admitFromOutside(i: number, protocol: number): number {
    let reason = -1
    let state = 0
    if (isIcmpReply(i)) reason = NO_STATE
    else if (!inboundPermit) reason = DENIED
    else {
      state = opening(i, protocol, DIR_IN)
      if (state < 0) reason = TCP_MIDSTREAM
    }
    if (reason < 0) return state
    drop(i, reason)
    return -1
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
    const ports = outward ? portsColumn[i] : (portsColumn[i] << 16) | (portsColumn[i] >>> 16)
    const kind = kindColumn[i]
    const protocol = kind & 255
    const slot = find6(hashColumn[i], $key, ports, kind)
    if (slot !== 0) refresh(slot << FLOW_BITS, outward ? DIR_OUT : DIR_IN, protocol, l4Column[i])
    else {
      const state = outward ? admitOut6(i, protocol) : admitFromOutside(i, protocol)
      if (state < 0) return
      open6(hashColumn[i], $key, ports, kind, state, openingTimeout(protocol), clock)
    }
    ipv6.setHopLimit(view, p, ipv6.hopLimit(view, p) - 1)
    verdict[i] = outward ? TO_OUTSIDE : TO_INSIDE
  }

  /** TCP state for a new IPv6 flow from inside, or -1: dropped. */
  function admitOut6(i: number, protocol: number): number {
    if (has6($key[4], $key[5], $key[6], $key[7])) return refuse(i, INSIDE_TO_INSIDE) - 1
    if (isIcmpReply(i)) return refuse(i, NO_STATE) - 1
    if (!outboundPermit) return prohibit(i, DENIED) - 1
    const state = opening(i, protocol, DIR_OUT)
    return state < 0 ? refuse(i, TCP_MIDSTREAM) - 1 : state
  }

  /* One packet. */

  function forward(i: number, nowMs: number): void {
    if (nowMs !== clock) expire(nowMs)
    if (extras.count() !== 0) {
      extras.clear()
      reclaim()
    }
    const which = path[i]
    // The two everyday paths first; the rest by what they are.
    if (which === PATH_4_OWNER) in4(i)
    else if (which === PATH_4 && nat44 && side[i] !== SIDE_OUTSIDE) out4(i)
    else if (which < PATH_LATER) decide(i, which)
    else fragment(i, which)
  }

  function decide(i: number, which: number): void {
    switch (which) {
      case PATH_DROP: return drop(i, frames.reason[i])
      case PATH_EXPIRED:
        drop(i, TTL_EXCEEDED)
        return timeExceeded(i, clock)
      case PATH_4: return nat44 && side[i] === SIDE_INSIDE ? out4(i) : plain4(i)
      case PATH_4_OWNER: return in4(i)
      case PATH_4_PEER: return inwardByPeer(i, 1)
      case PATH_4_ERROR: return side[i] === SIDE_INSIDE ? errorOut4(i) : errorIn4(i)
      case PATH_6: return pass6(i)
      case PATH_6_ERROR: return error6(i)
    }
  }

  function fragment(i: number, which: number): void {
    const datagram = arrive(i, clock)
    if (datagram === 0) return
    if (which === PATH_LATER) return later(i, datagram)
    decide(i, which - FIRST_FRAGMENT)
    first(i, datagram, verdict[i] === TO_INSIDE || verdict[i] === TO_OUTSIDE)
  }

  return { lookAhead, look, forward, extras, finish, expire, rows, flows, pool, rewriteQuote, tableBytes: flows.bytes }
}

