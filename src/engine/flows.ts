/**
 * The flow table: records, the five-tuple index over them, mappings, the peers that filters ask for, ports, timers and
 * eviction. One record of 64 bytes, a cache line, holds a flow with both of its directions; all that a packet of a known flow
 * needs is in it. Nothing is allocated after creation.
 *
 * A mapping (RFC 4787: inside endpoint to outside endpoint) has no record of its own. The flows of one inside endpoint form a
 * ring, and one of them, the head, stands for the mapping in two places: the chain that is searched by inside endpoint, and the
 * port table, which is indexed by outside address, class and port. So the way in is an array read and a look at the head; only
 * when the head is another flow of that mapping is the five-tuple index asked, with the inside endpoint that the head knows.
 *
 * Flows of one mapping to the same peer address form a ring too, and one of them stands in a chain searched by outside endpoint
 * and peer address: that answers address-dependent filtering, and the way in for protocols without ports.
 */
import { sortFirst } from '../storage/sort.ts'
import { createWheel } from '../storage/wheel.ts'
import { type Counters, counterIndex } from '../channel/counters.ts'
import { createBoundAddresses } from './bound-addresses.ts'
import { mappingDelta } from './delta.ts'
import {
  DEADLINE, DELTA, FLOW_BITS, FLOW_WORDS, HAIRPIN, INSIDE, KIND, MAPPED, MAPPING_CHAIN, MAPPING_HEAD, OUTSIDE, OUTSIDE_PORTS,
  PEER, PEER_CHAIN, PEER_HEAD, PEER_NEXT, PEER_PREV, PORTS, RING_NEXT, RING_PREV, RULED, WHEEL_NEXT, WHEEL_PREV,
} from './flow-record.ts'
import { createHosts } from './hosts.ts'
import { createMappingRecords } from './mapping-records.ts'
import { forwardedPorts } from './nat-options.ts'
import type { EngineOptions } from './options.ts'
import type { Pool } from './pool.ts'
import { CLASSES, CLASS_NONE, CLASS_OF, createPorts } from './ports.ts'
import { timeoutsByState, wasMaybeNeverOpen } from './tcp-state.ts'

export * from './flow-record.ts'

/** Why no flow could be opened. */
export const NO_PORT = -1, CONFLICT = -2, NO_ROOM = -3, TOO_MANY_PORTS = -4

/** Flows that end in the same millisecond and are put in order of their slots. */
const MOST_SORTED = 4096
/** Slots looked at for one eviction. */
const EVICTION_SAMPLE = 8

export type Flows = ReturnType<typeof createFlows>

/**
 * Before its record goes, `unlink` is told of every flow with RULED, and `forgetHalfOpen` of every TCP flow that may never
 * have been open.
 */
export function createFlows(
  options: EngineOptions, pool: Pool, counters: Counters, unlink: (slot: number) => void = () => {},
  forgetHalfOpen: ((slot: number) => void) | null = null,
) {
  const capacity = options.flows
  const midcom = options.nat44 ? options.midcom ?? null : null
  const forwarded = options.nat44 && options.nat ? forwardedPorts(options.nat) : 0
  const boundPorts = forwarded + (midcom?.boundPorts ?? 0)
  const seed = options.seed | 0
  // Records above the flows are port bindings: heads of mappings that last until they are unbound, and belong to no flow.
  const F = new Int32Array((capacity + boundPorts + 1) * FLOW_WORDS)
  const { schedule, cancel, expire: nextExpired } = createWheel({
    records: F, strideBits: FLOW_BITS, deadlineWord: DEADLINE, nextWord: WHEEL_NEXT, prevWord: WHEEL_PREV,
  })

  // An index entry is the slot with the hash bits above it as a tag; 0 is empty. Half full at the most.
  const slotBits = 32 - Math.clz32(capacity + boundPorts)
  const slotMask = (1 << slotBits) - 1
  const tagMask = ~slotMask
  const indexMask = Math.max(16, 1 << (32 - Math.clz32(capacity * 2 - 1))) - 1
  // Index and port table are one array: the look-ahead reads a place in it without asking which of them it is.
  const ownerStart = indexMask + 1
  const places = new Int32Array(ownerStart + (options.nat44 ? pool.shared * CLASSES * 0x10000 : 1))
  const index = new Int32Array(places.buffer, 0, ownerStart)

  const chainMask = Math.max(16, 1 << (32 - Math.clz32(capacity - 1 || 1))) - 1
  const mappingChains = new Int32Array(options.nat44 ? chainMask + 1 : 1)
  const peerChains = new Int32Array(options.nat44 ? chainMask + 1 : 1)
  /** Head of the mapping that holds (index of a shared address * CLASSES + class) << 16 | port, or 0. */
  const portOwner = new Int32Array(places.buffer, ownerStart * 4)
  const hosts = createHosts(options)
  const allPorts = createPorts(options, pool, counters, hosts)
  const { choose: choosePort, release, expire: expirePorts } = allPorts
  const records = createMappingRecords(options, pool, allPorts, F)
  const addresses = createBoundAddresses(pool, seed, records)
  const { boundIndex, isUnbound } = addresses
  const isCounted = hosts.isOn, keepsFlows = options.keepsFlows ?? false

  const OPENED = counterIndex('flows-opened'), EXPIRED = counterIndex('flows-expired')
  const EVICTED = counterIndex('flows-evicted'), CURRENT = counterIndex('flows-current'), PEAK = counterIndex('flows-peak')
  const MAPPINGS_OPENED = counterIndex('mappings-opened'), MAPPINGS_CLOSED = counterIndex('mappings-closed')

  const timeouts = timeoutsByState(options)
  const $ended = new Int32Array(Math.min(capacity, MOST_SORTED))

  // Slots never used so far start at `fresh`; freed ones are linked through their first word.
  let fresh = 1
  let freed = 0
  let hand = 1
  let freshBinding = capacity + 1
  let freedBinding = 0

  /* The five-tuple index. */

  function hash4(inside: number, peer: number, ports: number, kind: number): number {
    let h = Math.imul(inside ^ seed, 0x9e3779b1) ^ Math.imul(peer ^ (kind << 8), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15) ^ ports, 0xc2b2ae35)
    h = Math.imul(h ^ (h >>> 13), 0x27d4eb2f)
    return h ^ (h >>> 16)
  }

  function hash6(
    i0: number, i1: number, i2: number, i3: number, p0: number, p1: number, p2: number, p3: number, ports: number, kind: number,
  ): number {
    let h = Math.imul(i0 ^ seed, 0x9e3779b1) ^ Math.imul(i1, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15) ^ i2, 0xc2b2ae35) ^ Math.imul(i3, 0x27d4eb2f)
    h = Math.imul(h ^ (h >>> 13) ^ p0, 0x9e3779b1) ^ Math.imul(p1, 0x165667b1)
    h = Math.imul(h ^ (h >>> 15) ^ p2, 0xc2b2ae35) ^ Math.imul(p3, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13) ^ ports ^ (kind << 8), 0x27d4eb2f)
    h = Math.imul(h ^ (h >>> 15), 0x9e3779b1)
    return h ^ (h >>> 16)
  }

  function hashOf(base: number): number {
    const kind = F[base + KIND] >>> 16
    if (kind < 0x600) return hash4(F[base + INSIDE], F[base + PEER], F[base + PORTS], kind)
    return hash6(F[base], F[base + 1], F[base + 2], F[base + 3], F[base + 4], F[base + 5], F[base + 6], F[base + 7],
      F[base + PORTS], kind)
  }

  /** Slot of an IPv4 flow, or 0. `kind` is version << 8 | protocol. */
  function find4(hash: number, inside: number, peer: number, ports: number, kind: number): number {
    for (let at = hash & indexMask; ; at = (at + 1) & indexMask) {
      const entry = index[at]
      if (entry === 0) return 0
      if (((entry ^ hash) & tagMask) !== 0) continue
      const base = (entry & slotMask) << FLOW_BITS
      if (F[base + INSIDE] === inside && F[base + PORTS] === ports && F[base + PEER] === peer
        && F[base + KIND] >>> 16 === kind) return entry & slotMask
    }
  }

  /** Slot of an IPv6 flow, or 0. `key` holds inside and peer address, eight words. */
  function find6(hash: number, key: Int32Array, ports: number, kind: number): number {
    for (let at = hash & indexMask; ; at = (at + 1) & indexMask) {
      const entry = index[at]
      if (entry === 0) return 0
      if (((entry ^ hash) & tagMask) === 0 && isFlow6((entry & slotMask) << FLOW_BITS, key, ports, kind)) return entry & slotMask
    }
  }

  function isFlow6(base: number, key: Int32Array, ports: number, kind: number): boolean {
    return F[base + PORTS] === ports && F[base + KIND] >>> 16 === kind
      && F[base] === key[0] && F[base + 1] === key[1] && F[base + 2] === key[2] && F[base + 3] === key[3]
      && F[base + 4] === key[4] && F[base + 5] === key[5] && F[base + 6] === key[6] && F[base + 7] === key[7]
  }

  /** First slot whose tag agrees with `hash`: a guess that loads the lines `find4` will want. 0 when there is none. */
  function guess(hash: number): number {
    for (let at = hash & indexMask; ; at = (at + 1) & indexMask) {
      const entry = index[at]
      if (entry === 0) return 0
      if (((entry ^ hash) & tagMask) === 0) return entry & slotMask
    }
  }

  function indexInsert(hash: number, slot: number): void {
    let at = hash & indexMask
    while (index[at] !== 0) at = (at + 1) & indexMask
    index[at] = (hash & tagMask) | slot
  }

  function indexDelete(hash: number, slot: number): void {
    let at = hash & indexMask
    while ((index[at] & slotMask) !== slot) at = (at + 1) & indexMask
    // Close the gap by moving back what may stand there: no tombstones, so no clean-up and a flat cost under churn.
    for (let next = (at + 1) & indexMask; index[next] !== 0; next = (next + 1) & indexMask) {
      const home = hashOf((index[next] & slotMask) << FLOW_BITS) & indexMask
      if (((next - home) & indexMask) < ((next - at) & indexMask)) continue
      index[at] = index[next]
      at = next
    }
    index[at] = 0
  }

  /* Mappings. */

  function mappingBucket(inside: number, insidePort: number, kind: number): number {
    let h = Math.imul(inside ^ seed, 0x85ebca6b) ^ Math.imul((insidePort << 12) ^ kind, 0x9e3779b1)
    h = Math.imul(h ^ (h >>> 15), 0x27d4eb2f)
    return (h ^ (h >>> 13)) & chainMask
  }

  /** Head of the mapping of an inside endpoint, or 0. What flows of an address that is unbound are left do not count. */
  function findMapping(inside: number, insidePort: number, kind: number): number {
    let slot = mappingChains[mappingBucket(inside, insidePort, kind)]
    while (slot !== 0) {
      const base = slot << FLOW_BITS
      if (F[base + INSIDE] === inside && F[base + PORTS] >>> 16 === insidePort && F[base + KIND] >>> 16 === kind
        && !isUnbound(F[base + OUTSIDE])) return slot
      slot = F[base + MAPPING_CHAIN]
    }
    return 0
  }

  function peerBucket(outside: number, outsidePort: number, peer: number, kind: number): number {
    let h = Math.imul(outside ^ seed, 0xc2b2ae35) ^ Math.imul(peer, 0x9e3779b1) ^ Math.imul((outsidePort << 12) ^ kind, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15), 0x27d4eb2f)
    return (h ^ (h >>> 13)) & chainMask
  }

  /** A flow of the mapping with that outside endpoint to that peer address, or 0. */
  function findPeer(outside: number, outsidePort: number, peer: number, kind: number): number {
    let slot = peerChains[peerBucket(outside, outsidePort, peer, kind)]
    while (slot !== 0) {
      const base = slot << FLOW_BITS
      if (F[base + OUTSIDE] === outside && F[base + PEER] === peer && F[base + OUTSIDE_PORTS] >>> 16 === outsidePort
        && F[base + KIND] >>> 16 === kind) return slot
      slot = F[base + PEER_CHAIN]
    }
    return 0
  }

  /** Replaces `slot` by `other` in the chain that starts at `chains[bucket]`. */
  function relink(chains: Int32Array, bucket: number, link: number, slot: number, other: number): void {
    let at = chains[bucket]
    if (at === slot) {
      chains[bucket] = other
      return
    }
    while (F[(at << FLOW_BITS) + link] !== slot) at = F[(at << FLOW_BITS) + link]
    F[(at << FLOW_BITS) + link] = other
  }

  function setOwner(base: number, slot: number): void {
    const portClass = CLASS_OF[(F[base + KIND] >>> 16) & 255]
    if (portClass === CLASS_NONE) return
    const port = F[base + OUTSIDE_PORTS] >>> 16
    const index = pool.indexOf(F[base + OUTSIDE])
    // All ports of such an address are one host's.
    if (index >= pool.shared) return
    const set = index * CLASSES + portClass
    portOwner[(set << 16) | port] = slot
    if (slot !== 0) return
    release(set, port, F[base + INSIDE])
    if (isCounted) hosts.countPort(F[base + INSIDE], portClass, -1)
  }

  /** Enters a flow whose record is filled into the ring of its mapping (`head`, or 0: it is the first) and of its peer. */
  function attach(slot: number, head: number): void {
    const base = slot << FLOW_BITS
    const kind = F[base + KIND] >>> 16
    let flags = MAPPED
    if (head === 0) {
      flags |= MAPPING_HEAD
      F[base + RING_NEXT] = F[base + RING_PREV] = slot
      const bucket = mappingBucket(F[base + INSIDE], F[base + PORTS] >>> 16, kind)
      F[base + MAPPING_CHAIN] = mappingChains[bucket]
      mappingChains[bucket] = slot
      setOwner(base, slot)
      counters[MAPPINGS_OPENED]++
      records.mapping(base, true)
    } else insertAfter(head, slot, RING_NEXT, RING_PREV)
    const outside = F[base + OUTSIDE], outsidePort = F[base + OUTSIDE_PORTS] >>> 16, peer = F[base + PEER]
    const sibling = findPeer(outside, outsidePort, peer, kind)
    if (sibling === 0) {
      flags |= PEER_HEAD
      F[base + PEER_NEXT] = F[base + PEER_PREV] = slot
      const bucket = peerBucket(outside, outsidePort, peer, kind)
      F[base + PEER_CHAIN] = peerChains[bucket]
      peerChains[bucket] = slot
    } else insertAfter(sibling, slot, PEER_NEXT, PEER_PREV)
    F[base + KIND] |= flags
  }

  function insertAfter(head: number, slot: number, nextWord: number, prevWord: number): void {
    const next = F[(head << FLOW_BITS) + nextWord]
    F[(slot << FLOW_BITS) + nextWord] = next
    F[(slot << FLOW_BITS) + prevWord] = head
    F[(head << FLOW_BITS) + nextWord] = slot
    F[(next << FLOW_BITS) + prevWord] = slot
  }

  /** Takes a flow out of both rings; the next in a ring inherits the place of a head, or the mapping ends. */
  function detach(slot: number): void {
    const base = slot << FLOW_BITS
    const flags = F[base + KIND]
    const kind = flags >>> 16
    const heir = F[base + RING_NEXT]
    if ((flags & MAPPING_HEAD) !== 0) {
      const bucket = mappingBucket(F[base + INSIDE], F[base + PORTS] >>> 16, kind)
      const chain = F[base + MAPPING_CHAIN]
      // @req RFC7857 11
      if (heir === slot) {
        relink(mappingChains, bucket, MAPPING_CHAIN, slot, chain)
        setOwner(base, 0)
        counters[MAPPINGS_CLOSED]++
        records.mapping(base, false)
      } else {
        relink(mappingChains, bucket, MAPPING_CHAIN, slot, heir)
        F[(heir << FLOW_BITS) + MAPPING_CHAIN] = chain
        F[(heir << FLOW_BITS) + KIND] |= MAPPING_HEAD
        setOwner(base, heir)
      }
    }
    F[(F[base + RING_PREV] << FLOW_BITS) + RING_NEXT] = heir
    F[(heir << FLOW_BITS) + RING_PREV] = F[base + RING_PREV]

    const sibling = F[base + PEER_NEXT]
    if ((flags & PEER_HEAD) !== 0) {
      const bucket = peerBucket(F[base + OUTSIDE], F[base + OUTSIDE_PORTS] >>> 16, F[base + PEER], kind)
      const chain = F[base + PEER_CHAIN]
      if (sibling === slot) relink(peerChains, bucket, PEER_CHAIN, slot, chain)
      else {
        relink(peerChains, bucket, PEER_CHAIN, slot, sibling)
        F[(sibling << FLOW_BITS) + PEER_CHAIN] = chain
        F[(sibling << FLOW_BITS) + KIND] |= PEER_HEAD
      }
    }
    F[(F[base + PEER_PREV] << FLOW_BITS) + PEER_NEXT] = sibling
    F[(sibling << FLOW_BITS) + PEER_PREV] = F[base + PEER_PREV]
  }

  /* Slots. */

  /** The host of a filled record has a flow more, or one less. */
  function enterHost(base: number, nowMs: number): void {
    const version = F[base + KIND] >>> 24
    hosts.enter(version, F[base], version === 6 ? F[base + 1] : 0, nowMs)
  }

  function leaveHost(base: number): void {
    const version = F[base + KIND] >>> 24
    hosts.leave(version, F[base], version === 6 ? F[base + 1] : 0)
  }

  /** Takes a flow out of every structure and gives its slot back. */
  function remove(slot: number): void {
    const base = slot << FLOW_BITS
    if ((F[base + KIND] & RULED) !== 0) unlink(slot)
    if (forgetHalfOpen !== null && wasMaybeNeverOpen((F[base + KIND] >>> 8) & 255)) forgetHalfOpen(slot)
    cancel(slot)
    indexDelete(hashOf(base), slot)
    if ((F[base + KIND] & MAPPED) !== 0) detach(slot)
    if (isCounted) leaveHost(base)
    F[base + KIND] = 0
    F[base] = freed
    freed = slot
    counters[CURRENT]--
  }

  /** The least time left among the next slots of a ring: an established TCP flow outlives UDP and half-open ones. */
  function evict(keep: number, nowMs: number): void {
    let victim = 0
    let least = 0
    for (let n = 0; n < EVICTION_SAMPLE; n++) {
      if (hand !== keep) {
        const left = (F[(hand << FLOW_BITS) + DEADLINE] - nowMs) | 0
        if (victim === 0 || left < least) {
          victim = hand
          least = left
        }
      }
      hand = hand === capacity ? 1 : hand + 1
    }
    counters[EVICTED]++
    remove(victim)
  }

  /** A slot for a new flow, by eviction if need be. NO_ROOM: there is none, and no flow is to be given up. */
  function takeSlot(keep: number, nowMs: number): number {
    if (freed === 0 && fresh > capacity) {
      // @req RFC6888 REQ-11d
      if (keepsFlows) return NO_ROOM
      evict(keep, nowMs)
    }
    if (freed === 0) return fresh++
    const slot = freed
    freed = F[slot << FLOW_BITS]
    return slot
  }

  /** Of a record that was filled: no flow comes of it. */
  function giveUp(slot: number, why: number): number {
    const base = slot << FLOW_BITS
    if (isCounted) leaveHost(base)
    F[base + KIND] = 0
    giveBack(slot)
    return why
  }

  function giveBack(slot: number): void {
    F[slot << FLOW_BITS] = freed
    freed = slot
  }

  /** Puts a filled record to work: index, timer, counters. */
  function start(slot: number, hash: number, state: number, nowMs: number): void {
    const base = slot << FLOW_BITS
    F[base + KIND] |= state << 8
    F[base + DEADLINE] = nowMs + timeouts[state]
    F[base + WHEEL_PREV] = 0
    indexInsert(hash, slot)
    schedule(slot)
    counters[OPENED]++
    if (++counters[CURRENT] > counters[PEAK]) counters[PEAK] = counters[CURRENT]
  }

  /* Opening flows. */

  function fill4(slot: number, inside: number, peer: number, ports: number, kind: number): void {
    const base = slot << FLOW_BITS
    F[base + INSIDE] = inside
    F[base + PEER] = peer
    F[base + PORTS] = ports
    F[base + KIND] = kind << 16
  }

  /** Gives a filled IPv4 flow its outside endpoint and enters it into its mapping. */
  function map(slot: number, head: number, outside: number, outsidePort: number): void {
    const base = slot << FLOW_BITS
    F[base + OUTSIDE] = outside
    F[base + OUTSIDE_PORTS] = (outsidePort << 16) | (F[base + PORTS] & 0xffff)
    F[base + DELTA] = mappingDelta((F[base + KIND] >>> 16) & 255, F[base + INSIDE], outside, F[base + PORTS] >>> 16, outsidePort)
    if (pool.indexOf(F[base + PEER]) >= 0) F[base + KIND] |= HAIRPIN
    attach(slot, head)
  }

  /**
   * Opens an IPv4 flow with the mapping of its inside endpoint or a new one: from inside, or from outside to a bound address.
   * Slot, or why not.
   */
  function openOut(
    inside: number, peer: number, ports: number, kind: number, state: number, keep: number, nowMs: number,
  ): number {
    // Room first: eviction may end the very mapping that is looked for next.
    const slot = takeSlot(keep, nowMs)
    if (slot < 0) return slot
    fill4(slot, inside, peer, ports, kind)
    if (isCounted) enterHost(slot << FLOW_BITS, nowMs)
    const portClass = CLASS_OF[kind & 255]
    const bound = boundIndex(inside)
    // @req RFC4787 REQ-2
    // @req RFC6888 REQ-2
    // @req RFC7857 4a, 4b, 4c
    const poolIndex = bound >= 0 ? bound : pool.pairedIndex(inside)
    let outside = pool.addressAt(poolIndex)
    let outsidePort = 0
    let head: number
    if (portClass === CLASS_NONE) {
      const rival = findPeer(outside, 0, peer, kind)
      if (rival !== 0) return giveUp(slot, CONFLICT)
      head = findMapping(inside, 0, kind)
      if (head !== 0 && !isJoinable(head, bound, outside)) head = 0
    } else {
      // @req RFC4787 REQ-1, REQ-11
      // @req RFC5382 REQ-1
      // @req RFC5508 REQ-1a
      head = findMapping(inside, ports >>> 16, kind)
      if (head !== 0 && !isJoinable(head, bound, outside)) head = 0
      if (head === 0 && bound >= 0) outsidePort = ports >>> 16
      else if (head === 0) {
        if (isCounted && !hosts.mayMap(inside, portClass)) return giveUp(slot, TOO_MANY_PORTS)
        outsidePort = choosePort(poolIndex, portClass, ports >>> 16, inside)
        if (outsidePort < 0) return giveUp(slot, NO_PORT)
        if (isCounted) hosts.countPort(inside, portClass, 1)
      } else {
        outside = F[(head << FLOW_BITS) + OUTSIDE]
        outsidePort = F[(head << FLOW_BITS) + OUTSIDE_PORTS] >>> 16
      }
    }
    map(slot, head, outside, outsidePort)
    start(slot, hash4(inside, peer, ports, kind), state, nowMs)
    return slot
  }

  /** May a new flow join the mapping at `head`? A bound address comes before a mapping that was there, not before a bound port. */
  function isJoinable(head: number, bound: number, outside: number): boolean {
    return head > capacity || bound < 0 || F[(head << FLOW_BITS) + OUTSIDE] === outside
  }

  /** Opens a flow from outside in the mapping that owns `owner` in the port table. Slot, NO_ROOM, or 0: eviction just ended it. */
  function openIn(
    owner: number, peer: number, peerPort: number, kind: number, state: number, keep: number, nowMs: number,
  ): number {
    const slot = takeSlot(keep, nowMs)
    if (slot < 0) return slot
    const head = portOwner[owner]
    if (head === 0) {
      giveBack(slot)
      return 0
    }
    const headBase = head << FLOW_BITS
    const inside = F[headBase + INSIDE]
    const ports = (F[headBase + PORTS] & ~0xffff) | peerPort
    fill4(slot, inside, peer, ports, kind)
    if (isCounted) enterHost(slot << FLOW_BITS, nowMs)
    map(slot, head, F[headBase + OUTSIDE], F[headBase + OUTSIDE_PORTS] >>> 16)
    start(slot, hash4(inside, peer, ports, kind), state, nowMs)
    return slot
  }

  /** Opens an IPv4 flow without NAT, from either side. Slot or NO_ROOM. */
  function openPlain4(
    inside: number, peer: number, ports: number, kind: number, state: number, nowMs: number,
  ): number {
    const slot = takeSlot(0, nowMs)
    if (slot < 0) return slot
    fill4(slot, inside, peer, ports, kind)
    if (isCounted) enterHost(slot << FLOW_BITS, nowMs)
    // Whoever translates by this record changes nothing.
    const base = slot << FLOW_BITS
    F[base + OUTSIDE] = inside
    F[base + OUTSIDE_PORTS] = ports
    F[base + DELTA] = 0
    start(slot, hash4(inside, peer, ports, kind), state, nowMs)
    return slot
  }

  /** Opens an IPv6 flow, from either side. `key` holds inside and peer address. Slot or NO_ROOM. */
  function open6(
    hash: number, key: Int32Array, ports: number, kind: number, state: number, keep: number, nowMs: number,
  ): number {
    const slot = takeSlot(keep, nowMs)
    if (slot < 0) return slot
    const base = slot << FLOW_BITS
    for (let word = 0; word < 8; word++) F[base + word] = key[word]
    F[base + PORTS] = ports
    F[base + KIND] = kind << 16
    if (isCounted) enterHost(base, nowMs)
    start(slot, hash, state, nowMs)
    return slot
  }

  /** Removes every flow whose deadline has passed at `nowMs`. */
  function expire(nowMs: number): void {
    expirePorts(nowMs)
    for (let slot = nextExpired(nowMs); slot !== 0;) {
      // Those of one instant go in order of slots, whatever the order of the wheel: it decides which slots are free.
      const deadline = F[(slot << FLOW_BITS) + DEADLINE]
      let count = 0
      for (; slot !== 0 && count < $ended.length && F[(slot << FLOW_BITS) + DEADLINE] === deadline; slot = nextExpired(nowMs)) {
        $ended[count++] = slot
      }
      if (count > 1) sortFirst($ended, count)
      counters[EXPIRED] += count
      allPorts.setTime(deadline)
      for (let n = 0; n < count; n++) remove($ended[n])
    }
    allPorts.setTime(nowMs)
  }

  /* Bindings that policy and the configuration make. */

  /** Binds an inside port to an outside port, which no dynamic mapping gets. False: no record is free. */
  function bindPort(protocol: number, inside: number, insidePort: number, outside: number, outsidePort: number): boolean {
    if (freedBinding === 0 && freshBinding > capacity + boundPorts) return false
    let slot = freedBinding
    if (slot === 0) slot = freshBinding++
    else freedBinding = F[slot << FLOW_BITS]
    const base = slot << FLOW_BITS
    const kind = (4 << 8) | protocol
    fill4(slot, inside, 0, insidePort << 16, kind)
    F[base + OUTSIDE] = outside
    F[base + OUTSIDE_PORTS] = outsidePort << 16
    F[base + KIND] |= MAPPED | MAPPING_HEAD
    F[base + RING_NEXT] = F[base + RING_PREV] = slot
    const bucket = mappingBucket(inside, insidePort, kind)
    F[base + MAPPING_CHAIN] = mappingChains[bucket]
    mappingChains[bucket] = slot
    portOwner[((pool.indexOf(outside) * CLASSES + CLASS_OF[protocol]) << 16) | outsidePort] = slot
    if (!isForward(slot)) records.port(slot, true)
    return true
  }

  /** Ends up to `most` flows of a port binding, the newest first, and then the binding. How many; fewer than `most`: done. */
  function unbindPort(protocol: number, outside: number, outsidePort: number, most: number): number {
    const owner = ((pool.indexOf(outside) * CLASSES + CLASS_OF[protocol]) << 16) | outsidePort
    const slot = portOwner[owner]
    const base = slot << FLOW_BITS
    for (let n = 0; n < most; n++) {
      if (F[base + RING_NEXT] === slot) {
        relink(mappingChains, mappingBucket(F[base + INSIDE], F[base + PORTS] >>> 16, F[base + KIND] >>> 16), MAPPING_CHAIN, slot,
          F[base + MAPPING_CHAIN])
        portOwner[owner] = 0
        records.port(slot, false)
        F[base + KIND] = 0
        F[base] = freedBinding
        freedBinding = slot
        return n
      }
      remove(F[base + RING_NEXT])
    }
    return most
  }

  /** Is this the record of a port binding? */
  function isBinding(slot: number): boolean {
    return slot > capacity
  }

  /** Of one that the configuration made, and nobody unbinds? */
  function isForward(slot: number): boolean {
    return slot > capacity && slot <= capacity + forwarded
  }

  return {
    capacity, highest: () => fresh - 1,
    ...addresses, bindPort, unbindPort, isBinding, isForward,
    F, places, index, indexMask, slotMask, ownerStart, portOwner, timeouts,
    hash4, hash6, find4, find6, isFlow6, guess, findMapping, findPeer,
    openOut, openIn, openPlain4, open6, remove, schedule, expire, hosts,
    /** Bytes of all tables together. */
    bytes: 4 * (F.length + places.length + mappingChains.length + peerChains.length + $ended.length) + hosts.bytes + allPorts.bytes
      + (options.nat44 ? pool.shared * CLASSES * (8192 + 512) : 0),
  }
}
