/**
 * Unsolicited SYNs from outside (RFC 5382 REQ-4): each was dropped, but is remembered for some seconds of silence, because an
 * inside host may be about to open the same connection from its end. If it does, the SYN is forgotten; else the sender is told
 * that nobody listens. A fixed number of them, in order of arrival, which is the order of their deadlines too.
 */
import { counterIndex } from '../channel/counters.ts'
import { TO_OUTSIDE } from '../wire/frames.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { EXTRA_LATE_REPLY, copyBytes } from './extras.ts'
import type { Shared } from './shared.ts'

/** A link header, and as much of the packet as an ICMPv6 error may quote (RFC 4443 2.4 (c)). */
const HELD_LINK_BYTES = 64, HELD_NET_BYTES = 1232
export const HELD_SYN_BYTES = HELD_LINK_BYTES + HELD_NET_BYTES

// A record is 32 words, of which 21 are used.
const RECORD_BITS = 5
/** Our end and the peer, four words each; IPv4 uses the first. */
const LOCAL = 0, PEER = 4
/** Local port << 16 | peer port. */
const PORTS = 8, VERSION = 9, DEADLINE = 10, CHAIN = 11, NEXT = 12, PREV = 13, BUCKET = 14
const CAPTURED = 15, NET = 16, L3 = 17, LINK = 18, IFACE = 19

export type HeldSyns = ReturnType<typeof createHeldSyns>

/** Answers a packet of which `bytes` are there at `p`: port unreachable, or for IPv6 prohibited. Bytes of the answer; 0: none. */
export type Refuse = (p: number, bytes: number, version: number, nowMs: number) => number

export function createHeldSyns(shared: Shared, scratch: number, replyStart: number, refuse: Refuse) {
  const { options, frames, rows, counters, extras, npt6 } = shared
  const { view, off, capBytes, l3, netBytes, link, iface } = frames
  const capacity = options.heldSyns
  const R = new Int32Array((capacity + 1) << RECORD_BITS)
  const mask = Math.max(16, 1 << (32 - Math.clz32(capacity))) - 1
  const buckets = new Int32Array(mask + 1)
  const HELD = counterIndex('syns-held'), CURRENT = counterIndex('syns-held-current')
  const SOLICITED = counterIndex('syns-solicited'), UNHELD = counterIndex('syns-unheld')
  let free = 0
  for (let record = capacity; record > 0; record--) { R[record << RECORD_BITS] = free; free = record }
  let oldest = 0, newest = 0
  /** Where the frame of the last answer came from, for its link header. */
  const about = { off: 0, l3: 0, link: 0, dueMs: 0 }
  const $key = new Int32Array(8)

  function frameStart(record: number): number {
    return scratch + (record - 1) * HELD_SYN_BYTES
  }

  function bucketOf(version: number, ports: number): number {
    let h = Math.imul(ports ^ options.seed, 0x9e3779b1) ^ version
    for (let word = 0; word < 8; word++) h = Math.imul(h ^ (h >>> 15) ^ $key[word], 0x85ebca6b)
    return (h ^ (h >>> 13)) & mask
  }

  /** The record of the connection in $key, or 0. */
  function find(bucket: number, version: number, ports: number): number {
    for (let record = buckets[bucket]; record !== 0; record = R[(record << RECORD_BITS) + CHAIN]) {
      const base = record << RECORD_BITS
      if (R[base + PORTS] !== ports || R[base + VERSION] !== version) continue
      let word = 0
      while (word < 8 && R[base + word] === $key[word]) word++
      if (word === 8) return record
    }
    return 0
  }

  function setKey4(local: number, peer: number): void {
    $key.fill(0)
    $key[LOCAL] = local
    $key[PEER] = peer
  }

  function setKey6(p: number, localAt: number, peerAt: number): void {
    for (let word = 0; word < 4; word++) {
      $key[LOCAL + word] = view.getInt32(p + localAt + (word << 2))
      $key[PEER + word] = view.getInt32(p + peerAt + (word << 2))
    }
  }

  /** Remembers row i, a SYN from outside that was dropped. One that is remembered already keeps its time. */
  function hold(i: number, nowMs: number): void {
    const version = rows.kind[i] >>> 8, ports = rows.ports[i]
    if (version === 4) setKey4(rows.local[i], rows.peer[i])
    else setKey6(l3[i], ipv6.DST, ipv6.SRC)
    const bucket = bucketOf(version, ports)
    if (find(bucket, version, ports) !== 0) return
    const linkBytes = l3[i] - off[i]
    if (free === 0 || linkBytes > HELD_LINK_BYTES) {
      counters[UNHELD]++
      return
    }
    const record = free
    const base = record << RECORD_BITS
    free = R[base]
    const present = Math.min(netBytes[i], off[i] + capBytes[i] - l3[i], HELD_NET_BYTES)
    copyBytes(frames, off[i], frameStart(record), linkBytes + present)
    R.set($key, base)
    R[base + PORTS] = ports
    R[base + VERSION] = version
    R[base + DEADLINE] = nowMs + options.unsolicitedSynMs
    R[base + CAPTURED] = present
    R[base + NET] = netBytes[i]
    R[base + L3] = linkBytes
    R[base + LINK] = link[i]
    R[base + IFACE] = iface[i]
    R[base + BUCKET] = bucket
    R[base + CHAIN] = buckets[bucket]
    buckets[bucket] = record
    R[base + NEXT] = 0
    R[base + PREV] = newest
    if (newest !== 0) R[(newest << RECORD_BITS) + NEXT] = record
    else oldest = record
    newest = record
    counters[HELD]++
    counters[CURRENT]++
  }

  function forget(record: number): void {
    const base = record << RECORD_BITS
    const bucket = R[base + BUCKET]
    if (buckets[bucket] === record) buckets[bucket] = R[base + CHAIN]
    else {
      let at = buckets[bucket]
      while (R[(at << RECORD_BITS) + CHAIN] !== record) at = R[(at << RECORD_BITS) + CHAIN]
      R[(at << RECORD_BITS) + CHAIN] = R[base + CHAIN]
    }
    const next = R[base + NEXT], prev = R[base + PREV]
    if (prev !== 0) R[(prev << RECORD_BITS) + NEXT] = next
    else oldest = next
    if (next !== 0) R[(next << RECORD_BITS) + PREV] = prev
    else newest = prev
    R[base] = free
    free = record
    counters[CURRENT]--
  }

  function solicit(version: number, ports: number): void {
    const record = find(bucketOf(version, ports), version, ports)
    if (record === 0) return
    counters[SOLICITED]++
    forget(record)
  }

  /** The inside has opened this connection: `outside` is where it is seen. */
  function solicited4(outside: number, outsidePort: number, peer: number, peerPort: number): void {
    if (oldest === 0) return
    setKey4(outside, peer)
    solicit(4, (outsidePort << 16) | peerPort)
  }

  /** The same for row i, an IPv6 packet from inside. */
  function solicited6(i: number): void {
    if (oldest === 0) return
    setKey6(l3[i], ipv6.SRC, ipv6.DST)
    if (npt6 !== null) npt6.outward($key, LOCAL)
    solicit(6, rows.ports[i])
  }

  /** Puts the answer to the oldest one whose time is over into `extras`, if there is one: false, if none is due. */
  function late(nowMs: number): boolean {
    if (oldest === 0) return false
    const record = oldest
    const base = record << RECORD_BITS
    if (((R[base + DEADLINE] - nowMs) | 0) > 0) return false
    const start = frameStart(record)
    about.off = start
    about.l3 = start + R[base + L3]
    about.link = R[base + LINK]
    about.dueMs = R[base + DEADLINE]
    extras.clear()
    const bytes = refuse(about.l3, R[base + CAPTURED], R[base + VERSION], about.dueMs)
    if (bytes > 0) {
      extras.push(EXTRA_LATE_REPLY, TO_OUTSIDE, replyStart, replyStart, bytes, bytes, about.link, R[base + IFACE])
    }
    forget(record)
    return true
  }

  return { hold, solicited4, solicited6, late, about, count: () => counters[CURRENT] }
}
