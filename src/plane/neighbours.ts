/**
 * Whom a packet goes to on its link: the next hop by the routes, and its Ethernet address by ARP (RFC 826) or neighbour discovery
 * (RFC 4861 7). A packet whose next hop is known costs one look into a small cache by destination, and four stores. Others wait,
 * some for each next hop and some in all, until it answers or is given up.
 *
 * A neighbour is confirmed for 30 s after its last answer. Then, if packets went to it, it is asked again, at its own address and
 * while packets go on; one that does not answer is asked for by all, and given up after three seconds.
 */
import type { Frames } from '../wire/frames.ts'
import * as arp from '../wire/arp.ts'
import * as ethernet from '../wire/ethernet.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as ndp from '../wire/ndp.ts'
import { type LiveCounter, liveCounterIndex } from './live-counters.ts'
import type { Routes } from './routes.ts'

/* From the specifications */
/** RFC 4861 10: MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT, RETRANS_TIMER, REACHABLE_TIME, DELAY_FIRST_PROBE_TIME. */
const TRIES = 3, RETRY_MS = 1000, REACHABLE_MS = 30_000, DELAY_MS = 5000
/* Ours */
/** Kept that long without a packet or an answer. */
const IDLE_MS = 600_000
/** Packets that wait for one neighbour. */
export const QUEUE_PER_NEIGHBOUR = 16
/** Neighbours that are asked for at once and have not answered: a scan of a link must not fill the table. */
const MOST_INCOMPLETE = 512
/** Packets without a route whose senders are still to be told; others are not told. */
const MOST_UNROUTED = 16

/** It wants something of us and will be answered; it tells everybody, and only who knows it listens (RFC 826); it was asked. */
export const ASKS = 0, TELLS = 1, ANSWERS = 2

const FREE = 0, INCOMPLETE = 1, REACHABLE = 2, STALE = 3, PROBE = 4
const CACHE_BITS = 11
const HEADER = ethernet.HEADER_BYTES

/** One interface: its address, and the way out. */
export interface LinkEnd {
  readonly mac: readonly number[]
  /** Our IPv4 address on that link from which we would ask for this one; 0: there is none. */
  source4(target: number): number
  /** The address that neighbour discovery speaks from: a link-local one; null: no IPv6 here. */
  readonly source6: Int32Array | null
  /** Takes a frame at an offset of the pool; what is not in memory of an interface is copied at once. */
  send(off: number, bytes: number): void
}

export interface NeighboursOptions {
  frames: Frames
  counters: Float64Array
  routes: Routes
  /** By SIDE_ constant. */
  ends: readonly [LinkEnd, LinkEnd]
  /** Neighbours at once, at most 65,535. */
  most: number
  /** Packets that wait in all, of so many bytes with their Ethernet header, from `queueStart` in the pool on. */
  queueFrames: number
  queueBytes: number
  queueStart: number
  /** Room for one frame of ours, `NEIGHBOUR_SCRATCH_BYTES`. */
  scratchStart: number
}

export const NEIGHBOUR_SCRATCH_BYTES = 128

/** A packet that could not be sent: valid until the next call. */
export interface Undelivered {
  side: number
  /** Offset of the network header, and bytes. */
  p: number
  bytes: number
  /** False: there was no route. */
  hadRoute: boolean
}

export interface Neighbours {
  /** Sends the packet at `p`, of `bytes`, which has room for an Ethernet header in front of it. */
  send(side: number, p: number, bytes: number): void
  /** What somebody has said of its own address, and why: ASKS, TELLS or ANSWERS. MAC at `macAt`. */
  learn(side: number, version: number, words: Int32Array, macAt: number, why: number, nowMs: number): void
  /** RFC 4861 7.2.5: an advertisement about a neighbour that is known. `macAt` 0: it tells no address. */
  advertised(side: number, words: Int32Array, macAt: number, flags: number, nowMs: number): void
  /** Asks, gives up, forgets. */
  advance(nowMs: number): void
  /** When `advance` has something to do, or Infinity. */
  nextMs(): number
  /** That link is another one: whoever was known there is asked for anew, from the address of the link's end as it is now. */
  forget(side: number): void
  /** The next packet that nobody takes, or null. */
  undelivered(): Undelivered | null
  /** Ethernet address of a neighbour as six octets, or null: for tests and reports. */
  macOf(side: number, version: number, words: Int32Array): number[] | null
  readonly count: () => number
}

export function createNeighbours(options: NeighboursOptions): Neighbours {
  const { frames, counters, routes, ends, most, queueFrames, queueBytes, queueStart, scratchStart } = options
  const { pool, view } = frames
  const index = (name: LiveCounter) => liveCounterIndex(name)
  const SOLICITATIONS = index('solicitations-sent'), RESOLVED = index('neighbours-resolved'), FAILED = index('neighbours-failed')
  const QUEUE_DROPS = index('neighbour-queue-drops'), NO_ROUTE = index('no-route-packets'), CURRENT = index('neighbours-current')
  const FULL = index('neighbours-full')

  // Neighbours, from 1 on. A header is three words: destination, source, as they stand in a frame.
  const state = new Uint8Array(most + 1), sideOf = new Uint8Array(most + 1), versionOf = new Uint8Array(most + 1)
  const tries = new Uint8Array(most + 1), used = new Uint8Array(most + 1)
  const key = new Int32Array(4 * (most + 1)), header = new Int32Array(3 * (most + 1))
  const due = new Float64Array(most + 1), lastUsed = new Float64Array(most + 1)
  const bucketMask = 2 ** Math.ceil(Math.log2(most * 2)) - 1
  const bucket = new Uint16Array(bucketMask + 1), chain = new Uint16Array(most + 1)
  const queueHead = new Int32Array(most + 1), queueTail = new Int32Array(most + 1), queued = new Uint8Array(most + 1)
  let freeList = 0
  for (let n = most; n >= 1; n--) {
    chain[n] = freeList
    freeList = n
  }
  let incomplete = 0
  let known = 0
  let nextDue = Infinity
  let now = 0

  // Packets that wait, from 1 on.
  const waitNext = new Int32Array(queueFrames + 1), waitBytes = new Int32Array(queueFrames + 1)
  let waitFree = 0
  for (let q = queueFrames; q >= 1; q--) {
    waitNext[q] = waitFree
    waitFree = q
  }
  // And those that were given up, until somebody has told their senders: side, had route, slot.
  const given: { side: number; hadRoute: boolean; slot: number }[] = []
  let taken = 0

  // Destination -> neighbour; side in the lowest bit of the place. 0 is no destination, and no neighbour.
  const cache4 = new Int32Array(2 << CACHE_BITS), hop4 = new Uint16Array(2 << CACHE_BITS)
  const cache6 = new Int32Array(4 * (2 << CACHE_BITS)), hop6 = new Uint16Array(2 << CACHE_BITS)
  const $hop = new Int32Array(4)

  function slotAt(q: number): number { return queueStart + (q - 1) * queueBytes }

  function send(side: number, p: number, bytes: number): void {
    if (view.getUint8(p) >>> 4 === 4) {
      const dst = view.getInt32(p + ipv4.DST)
      const at = Math.imul(dst, 0x9e3779b1) >>> (32 - CACHE_BITS) << 1 | side
      const n = cache4[at] === dst ? hop4[at] : 0
      if (n !== 0 && state[n] >= REACHABLE) leave(n, p, bytes, ethernet.TYPE_IPV4)
      else sendSlowly4(side, p, bytes, dst, at)
      return
    }
    const w0 = view.getInt32(p + ipv6.DST), w1 = view.getInt32(p + ipv6.DST + 4)
    const w2 = view.getInt32(p + ipv6.DST + 8), w3 = view.getInt32(p + ipv6.DST + 12)
    const at = Math.imul(w0 ^ Math.imul(w1, 5) ^ Math.imul(w2, 3) ^ w3, 0x9e3779b1) >>> (32 - CACHE_BITS) << 1 | side
    const c = at << 2
    const n = cache6[c] === w0 && cache6[c + 1] === w1 && cache6[c + 2] === w2 && cache6[c + 3] === w3 ? hop6[at] : 0
    if (n !== 0 && state[n] >= REACHABLE) leave(n, p, bytes, ethernet.TYPE_IPV6)
    else sendSlowly6(side, p, bytes, at)
  }

  /** Puts the header of neighbour n in front of the packet. */
  function leave(n: number, p: number, bytes: number, type: number): void {
    const at = 3 * n
    view.setInt32(p - 14, header[at])
    view.setInt32(p - 10, header[at + 1])
    view.setInt32(p - 6, header[at + 2])
    view.setUint16(p - 2, type)
    used[n] = 1
    ends[sideOf[n]].send(p - HEADER, HEADER + bytes)
  }

  function sendSlowly4(side: number, p: number, bytes: number, dst: number, at: number): void {
    if (!routes.next4(side, dst, $hop)) return noRoute(side, p, bytes)
    $hop[1] = $hop[2] = $hop[3] = 0
    const n = want(side, 4, $hop)
    if (n === 0) return
    cache4[at] = dst
    hop4[at] = n
    if (state[n] >= REACHABLE) leave(n, p, bytes, ethernet.TYPE_IPV4)
    else wait(n, p, bytes)
  }

  function sendSlowly6(side: number, p: number, bytes: number, at: number): void {
    for (let i = 0; i < 4; i++) $hop[i] = cache6[4 * at + i] = view.getInt32(p + ipv6.DST + 4 * i)
    hop6[at] = 0
    if (!routes.next6(side, $hop)) return noRoute(side, p, bytes)
    const n = want(side, 6, $hop)
    if (n === 0) return
    hop6[at] = n
    if (state[n] >= REACHABLE) leave(n, p, bytes, ethernet.TYPE_IPV6)
    else wait(n, p, bytes)
  }

  /* The table. */

  function bucketOf(side: number, version: number, words: Int32Array): number {
    const mixed = words[0] ^ Math.imul(words[1], 5) ^ Math.imul(words[2], 3) ^ words[3] ^ side << 3 ^ version
    return (Math.imul(mixed, 0x9e3779b1) >>> 8) & bucketMask
  }

  function find(side: number, version: number, words: Int32Array): number {
    for (let n = bucket[bucketOf(side, version, words)]; n !== 0; n = chain[n]) {
      const k = 4 * n
      if (sideOf[n] === side && versionOf[n] === version && key[k] === words[0] && key[k + 1] === words[1]
        && key[k + 2] === words[2] && key[k + 3] === words[3]) return n
    }
    return 0
  }

  function add(side: number, version: number, words: Int32Array): number {
    if (freeList === 0) evict()
    const n = freeList
    if (n === 0) {
      counters[FULL]++
      return 0
    }
    freeList = chain[n]
    const at = bucketOf(side, version, words)
    chain[n] = bucket[at]
    bucket[at] = n
    sideOf[n] = side
    versionOf[n] = version
    for (let i = 0; i < 4; i++) key[4 * n + i] = words[i]
    tries[n] = used[n] = 0
    lastUsed[n] = now
    queueHead[n] = queueTail[n] = queued[n] = 0
    counters[CURRENT] = ++known
    return n
  }

  /** Gives up the neighbour that nobody needed for longest. Those that are asked for have a bound of their own. */
  function evict(): void {
    let oldest = 0
    for (let n = 1; n <= most; n++) {
      if (state[n] === STALE && used[n] === 0 && (oldest === 0 || lastUsed[n] < lastUsed[oldest])) oldest = n
    }
    if (oldest !== 0) remove(oldest)
  }

  function remove(n: number): void {
    drop(n)
    // Whoever was sent there has to ask again.
    hop4.fill(0)
    hop6.fill(0)
  }

  function drop(n: number): void {
    const at = bucketOf(sideOf[n], versionOf[n], key.slice(4 * n, 4 * n + 4))
    if (bucket[at] === n) bucket[at] = chain[n]
    else {
      let before = bucket[at]
      while (chain[before] !== n) before = chain[before]
      chain[before] = chain[n]
    }
    if (state[n] === INCOMPLETE) incomplete--
    state[n] = FREE
    chain[n] = freeList
    freeList = n
    counters[CURRENT] = --known
  }

  function forget(side: number): void {
    for (let n = 1; n <= most; n++) {
      if (sideOf[n] !== side) continue
      if (state[n] === INCOMPLETE) tries[n] = 0
      else if (state[n] !== FREE) drop(n)
    }
    hop4.fill(0)
    hop6.fill(0)
  }

  /** The neighbour, asked for if it is new; 0: there is no room to ask. */
  function want(side: number, version: number, words: Int32Array): number {
    const there = find(side, version, words)
    if (there !== 0) return there
    if (incomplete >= MOST_INCOMPLETE) {
      counters[FULL]++
      return 0
    }
    const n = add(side, version, words)
    if (n === 0) return 0
    state[n] = INCOMPLETE
    incomplete++
    ask(n, false)
    return n
  }

  function at(n: number, ms: number): void {
    due[n] = ms
    if (ms < nextDue) nextDue = ms
  }

  /* Packets that wait. */

  /** A slot with a copy of the packet, or 0. */
  function keep(p: number, bytes: number): number {
    const q = waitFree
    if (q === 0 || bytes + HEADER > queueBytes) return 0
    waitFree = waitNext[q]
    pool.copyWithin(slotAt(q) + HEADER, p, p + bytes)
    waitBytes[q] = bytes
    waitNext[q] = 0
    return q
  }

  function release(q: number): void {
    waitNext[q] = waitFree
    waitFree = q
  }

  function wait(n: number, p: number, bytes: number): void {
    // The oldest makes room (RFC 4861 7.2.2).
    if (queued[n] === QUEUE_PER_NEIGHBOUR) {
      const first = queueHead[n]
      queueHead[n] = waitNext[first]
      queued[n]--
      release(first)
      counters[QUEUE_DROPS]++
    }
    const q = keep(p, bytes)
    if (q === 0) {
      counters[QUEUE_DROPS]++
      return
    }
    if (queued[n]++ === 0) queueHead[n] = q
    else waitNext[queueTail[n]] = q
    queueTail[n] = q
  }

  function sendWaiting(n: number): void {
    const type = versionOf[n] === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6
    for (let q = queueHead[n]; q !== 0;) {
      leave(n, slotAt(q) + HEADER, waitBytes[q], type)
      const next = waitNext[q]
      release(q)
      q = next
    }
    queueHead[n] = queueTail[n] = queued[n] = 0
  }

  function noRoute(side: number, p: number, bytes: number): void {
    counters[NO_ROUTE]++
    const slot = given.length < MOST_UNROUTED ? keep(p, bytes) : 0
    if (slot !== 0) given.push({ side, hadRoute: false, slot })
  }

  /* Asking and being told. */

  /** Asks for neighbour n: at its own address, or everybody. */
  function ask(n: number, isProbe: boolean): void {
    const side = sideOf[n], end = ends[side], words = key.slice(4 * n, 4 * n + 4)
    tries[n]++
    at(n, now + RETRY_MS)
    const p = scratchStart + HEADER
    let bytes: number
    if (versionOf[n] === 4) {
      const source = end.source4(words[0])
      if (source === 0) return
      putHeader(n, isProbe, ethernet.BROADCAST, ethernet.TYPE_ARP)
      bytes = arp.emit({
        operation: arp.REQUEST, senderMac: end.mac, senderAddr: source, targetMac: ethernet.NOBODY, targetAddr: words[0],
      }, view, p)
    } else {
      if (end.source6 === null) return
      const group = ndp.solicitedNode(words)
      putHeader(n, isProbe, groupMac(group), ethernet.TYPE_IPV6)
      const dst = isProbe ? words : group
      bytes = ndp.emit({ type: ndp.SOLICITATION, src: end.source6, dst, target: words, flags: 0, mac: end.mac }, view, p)
    }
    counters[SOLICITATIONS]++
    end.send(scratchStart, HEADER + bytes)
  }

  function putHeader(n: number, isProbe: boolean, group: readonly number[], type: number): void {
    if (isProbe) {
      for (let i = 0; i < 3; i++) view.setInt32(scratchStart + 4 * i, header[3 * n + i])
      view.setUint16(scratchStart + 12, type)
    } else ethernet.emit({ dst: group, src: ends[sideOf[n]].mac, tags: [], type }, view, scratchStart)
  }

  /** True: it has another address than before. */
  function setMac(n: number, macAt: number): boolean {
    const { mac } = ends[sideOf[n]], h = 3 * n
    const word0 = view.getInt32(macAt)
    const word1 = view.getUint16(macAt + 4) << 16 | mac[0] << 8 | mac[1]
    const isNew = state[n] === INCOMPLETE || header[h] !== word0 || header[h + 1] !== word1
    header[h] = word0
    header[h + 1] = word1
    header[h + 2] = mac[2] << 24 | mac[3] << 16 | mac[4] << 8 | mac[5]
    return isNew
  }

  function become(n: number, next: number): void {
    if (state[n] === INCOMPLETE) {
      incomplete--
      counters[RESOLVED]++
    }
    state[n] = next
    if (queued[n] !== 0) sendWaiting(n)
    tries[n] = used[n] = 0
    lastUsed[n] = now
    at(n, now + (next === REACHABLE ? REACHABLE_MS : DELAY_MS))
  }

  function learn(side: number, version: number, words: Int32Array, macAt: number, why: number, nowMs: number): void {
    now = nowMs
    if ((view.getUint8(macAt) & 1) !== 0) return
    let n = find(side, version, words)
    if (n === 0) {
      // What nobody asked for is nobody's neighbour.
      if (why !== ASKS) return
      n = add(side, version, words)
      if (n === 0) return
      setMac(n, macAt)
      return become(n, STALE)
    }
    const isNew = setMac(n, macAt)
    if (why === ANSWERS) become(n, REACHABLE)
    else if (isNew || state[n] === INCOMPLETE) become(n, STALE)
  }

  function advertised(side: number, words: Int32Array, macAt: number, flags: number, nowMs: number): void {
    now = nowMs
    const n = find(side, 6, words)
    if (n === 0 || (macAt !== 0 && (view.getUint8(macAt) & 1) !== 0)) return
    const isSolicited = (flags & ndp.SOLICITED) !== 0
    if (state[n] === INCOMPLETE) {
      if (macAt === 0) return
      setMac(n, macAt)
      return become(n, isSolicited ? REACHABLE : STALE)
    }
    const h = 3 * n
    const isOther = macAt !== 0 && (header[h] !== view.getInt32(macAt) || header[h + 1] >>> 16 !== view.getUint16(macAt + 4))
    if (isOther && (flags & ndp.OVERRIDE) === 0) {
      if (state[n] === REACHABLE) become(n, STALE)
      return
    }
    if (isOther) setMac(n, macAt)
    if (isSolicited) become(n, REACHABLE)
    else if (isOther) become(n, STALE)
  }

  function advance(nowMs: number): void {
    now = nowMs
    if (nowMs < nextDue) return
    nextDue = Infinity
    for (let n = 1; n <= most; n++) {
      if (state[n] === FREE) continue
      if (due[n] <= nowMs) grow(n)
      if (state[n] !== FREE && due[n] < nextDue) nextDue = due[n]
    }
  }

  /** The time of neighbour n has come. */
  function grow(n: number): void {
    if (used[n] !== 0) lastUsed[n] = now
    if (state[n] === INCOMPLETE) {
      if (tries[n] < TRIES) ask(n, false)
      else giveUp(n)
    } else if (state[n] === PROBE) {
      if (tries[n] < TRIES) return ask(n, true)
      // It may have got another address.
      state[n] = INCOMPLETE
      incomplete++
      tries[n] = 0
      ask(n, false)
    } else if (used[n] !== 0) {
      state[n] = PROBE
      tries[n] = used[n] = 0
      ask(n, true)
    } else if (now - lastUsed[n] >= IDLE_MS) remove(n)
    else {
      state[n] = STALE
      at(n, now + DELAY_MS)
    }
  }

  function giveUp(n: number): void {
    counters[FAILED]++
    for (let q = queueHead[n]; q !== 0; q = waitNext[q]) given.push({ side: sideOf[n], hadRoute: true, slot: q })
    queueHead[n] = queueTail[n] = queued[n] = 0
    remove(n)
  }

  function undelivered(): Undelivered | null {
    if (taken !== 0) release(taken)
    taken = 0
    const one = given.shift()
    if (one === undefined) return null
    taken = one.slot
    return { side: one.side, p: slotAt(one.slot) + HEADER, bytes: waitBytes[one.slot], hadRoute: one.hadRoute }
  }

  return {
    send, learn, advertised, advance, undelivered, forget,
    nextMs: () => given.length > 0 ? 0 : nextDue,
    macOf(side, version, words) {
      const n = find(side, version, words)
      if (n === 0 || state[n] < REACHABLE) return null
      const h = 3 * n
      return Array.from({ length: 6 }, (_, i) => header[h + (i >> 2)] >>> 24 - 8 * (i & 3) & 255)
    },
    count: () => known,
  }
}

/** RFC 2464 7. */
export function groupMac(group: Int32Array): number[] {
  return [0x33, 0x33, group[3] >>> 24, group[3] >>> 16 & 255, group[3] >>> 8 & 255, group[3] & 255]
}
