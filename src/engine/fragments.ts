/**
 * Datagrams in fragments. Nothing is put together: a NAT needs the transport header of the first fragment only, so the table
 * remembers what the first one became and does the same to the others. Those that come before it are held, in bounded memory.
 * Which bytes came is remembered too, because overlapping fragments are an attack (RFC 1858, RFC 3128, RFC 5722).
 */
import { counterIndex } from '../channel/counters.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { HELD, SIDE_INSIDE, type Frames } from '../wire/frames.ts'
import { apply, delta16 } from '../wire/checksum.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { EXTRA_RELEASED, HOLD_BYTES, HOLD_LINK_BYTES, HOLD_NET_BYTES, copyBytes } from './extras.ts'
import { transportBytes } from './look.ts'
import { createPrefixes } from './prefixes.ts'
import { type Shared, countDrop, drop } from './shared.ts'

const BAD_LENGTH = reasonIndex('fragment-bad-length'), TINY = reasonIndex('fragment-tiny')
const OVERLAP = reasonIndex('fragment-overlap'), OF_DROPPED = reasonIndex('fragment-of-dropped')
const TABLE_FULL = reasonIndex('fragment-table-full'), HOLD_FULL = reasonIndex('fragment-hold-full')
const TIMEOUT = reasonIndex('fragment-timeout')

/** Pieces of one datagram that are remembered: 65,535 bytes in pieces of 1,024. */
export const MOST_PIECES = 64
const TCP = 6

// A datagram is 32 words, of which 26 are used.
const DATAGRAM_BITS = 5
const SRC = 0, DST = 4                       // four words each; IPv4 uses the first
const ID = 8, KIND = 9                       // KIND is side << 16 | version << 8 | protocol, for IPv6 without the protocol
const DEADLINE = 10, CHAIN = 11, QUEUE_NEXT = 12, QUEUE_PREV = 13
const STATE = 14, MARK = 15                  // MARK is the reason that its fragments are dropped for
const NEW_SRC = 16, NEW_DST = 17, VERDICT = 18
const NEW_ID = 25                           // that the pieces leave with, or -1
const PIECES = 19, GOT_BYTES = 20, TOTAL_BYTES = 21, HELD_FIRST = 22, HELD_LAST = 23, BUCKET = 24

const WAITING = 0, OPEN = 1, MARKED = 2

// A held fragment is 8 words.
const HOLD_BITS = 3
const HOLD_NEXT = 0, HOLD_CAP = 1, HOLD_WIRE = 2, HOLD_L3 = 3, HOLD_LINK = 4, HOLD_IFACE = 5, HOLD_NET = 6

// @req RFC4787 REQ-14, REQ-14a
export function createFragments(shared: Shared, scratch: number) {
  const { options, frames, rows, counters, extras, npt6 } = shared
  const { view, off, l3, capBytes, wireBytes, netBytes, link, iface, side, verdict } = frames
  const capacity = options.fragmentDatagrams
  const holds = options.fragmentHold
  const D = new Int32Array((capacity + 1) << DATAGRAM_BITS)
  /** First byte << 16 | last byte of each piece that came. */
  const pieces = new Int32Array((capacity + 1) * MOST_PIECES)
  const chainMask = (1 << (32 - Math.clz32(capacity))) - 1
  const chains = new Int32Array(chainMask + 1)
  const H = new Int32Array((holds + 1) << HOLD_BITS)
  const prefixes = npt6 === null ? null : createPrefixes(frames, npt6)
  const HELD_COUNT = counterIndex('fragments-held'), RELEASED = counterIndex('fragments-released')
  const HELD_NOW = counterIndex('fragments-held-current')

  let freeDatagram = 0
  for (let id = capacity; id > 0; id--) { D[id << DATAGRAM_BITS] = freeDatagram; freeDatagram = id }
  let freeHold = 0
  for (let hold = holds; hold > 0; hold--) { H[hold << HOLD_BITS] = freeHold; freeHold = hold }
  // All datagrams wait equally long, so a queue in order of arrival is in order of deadlines too.
  let oldest = 0
  let newest = 0
  /** Holds whose frames are in `extras`: theirs again when the next row is decided. */
  let lent = 0

  function holdStart(hold: number): number {
    return scratch + (hold - 1) * HOLD_BYTES
  }

  function bucketOf(i: number, version: number, id: number): number {
    const p = l3[i]
    let h = Math.imul(id ^ options.seed, 0x9e3779b1)
    const from = p + (version === 4 ? ipv4.SRC : ipv6.SRC)
    const to = p + (version === 4 ? ipv4.DST + 4 : ipv6.DST + 16)
    for (let at = from; at < to; at += 4) h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(at), 0x85ebca6b)
    return (h ^ (h >>> 13)) & chainMask
  }

  function isSame(base: number, i: number, version: number, id: number, kind: number): boolean {
    if (D[base + ID] !== id || D[base + KIND] !== kind) return false
    const p = l3[i]
    if (version === 4) return D[base + SRC] === ipv4.src(view, p) && D[base + DST] === ipv4.dst(view, p)
    for (let word = 0; word < 4; word++) {
      if (D[base + SRC + word] !== ipv6.srcWord(view, p, word) || D[base + DST + word] !== ipv6.dstWord(view, p, word)) return false
    }
    return true
  }

  /** Enters row i as the first known piece of a datagram; 0 when the table is full. */
  function open(i: number, version: number, id: number, kind: number, bucket: number, nowMs: number): number {
    const datagram = freeDatagram
    if (datagram === 0) return 0
    const base = datagram << DATAGRAM_BITS
    freeDatagram = D[base]
    const p = l3[i]
    D.fill(0, base, base + (1 << DATAGRAM_BITS))
    if (version === 4) {
      D[base + SRC] = ipv4.src(view, p)
      D[base + DST] = ipv4.dst(view, p)
    } else {
      for (let word = 0; word < 4; word++) {
        D[base + SRC + word] = ipv6.srcWord(view, p, word)
        D[base + DST + word] = ipv6.dstWord(view, p, word)
      }
    }
    D[base + ID] = id
    D[base + KIND] = kind
    D[base + DEADLINE] = nowMs + options.fragmentMs
    D[base + TOTAL_BYTES] = -1
    D[base + BUCKET] = bucket
    D[base + CHAIN] = chains[bucket]
    chains[bucket] = datagram
    D[base + QUEUE_PREV] = newest
    if (newest !== 0) D[(newest << DATAGRAM_BITS) + QUEUE_NEXT] = datagram
    else oldest = datagram
    newest = datagram
    return datagram
  }

  function close(datagram: number, reason: number): void {
    const base = datagram << DATAGRAM_BITS
    dropHeld(base, reason)
    const bucket = D[base + BUCKET]
    if (chains[bucket] === datagram) chains[bucket] = D[base + CHAIN]
    else {
      let at = chains[bucket]
      while (D[(at << DATAGRAM_BITS) + CHAIN] !== datagram) at = D[(at << DATAGRAM_BITS) + CHAIN]
      D[(at << DATAGRAM_BITS) + CHAIN] = D[base + CHAIN]
    }
    const next = D[base + QUEUE_NEXT], prev = D[base + QUEUE_PREV]
    if (prev !== 0) D[(prev << DATAGRAM_BITS) + QUEUE_NEXT] = next
    else oldest = next
    if (next !== 0) D[(next << DATAGRAM_BITS) + QUEUE_PREV] = prev
    else newest = prev
    D[base] = freeDatagram
    freeDatagram = datagram
  }

  function dropHeld(base: number, reason: number): void {
    for (let hold = D[base + HELD_FIRST]; hold !== 0;) {
      const row = hold << HOLD_BITS
      const next = H[row + HOLD_NEXT]
      countDrop(counters, reason, H[row + HOLD_WIRE])
      counters[HELD_NOW]--
      H[row] = freeHold
      freeHold = hold
      hold = next
    }
    D[base + HELD_FIRST] = D[base + HELD_LAST] = 0
  }

  function mark(base: number, reason: number): void {
    D[base + STATE] = MARKED
    D[base + MARK] = reason
    dropHeld(base, reason)
  }

  function refuse(i: number, reason: number): 0 {
    drop(shared, i, reason)
    return 0
  }

  /** Checks row i, a fragment, and finds its datagram. 0: dropped. */
  function arrive(i: number, nowMs: number): number {
    const p = l3[i]
    const version = rows.kind[i] >>> 8
    const protocol = rows.kind[i] & 255
    let start: number, bytes: number, id: number, more: boolean
    // RFC 791 counts the header of an IPv4 datagram in its length, RFC 8200 does not.
    let most = 65535
    let kind = rows.kind[i]
    if (version === 4) {
      const word = ipv4.fragment(view, p)
      start = (word & ipv4.OFFSET_MASK) << 3
      more = (word & ipv4.MORE_FRAGMENTS) !== 0
      bytes = netBytes[i] - ipv4.headerBytes(view, p)
      most -= ipv4.headerBytes(view, p)
      id = ipv4.id(view, p)
    } else {
      const header = rows.fragment[i]
      const word = view.getUint16(header + 2)
      start = word & 0xfff8
      more = (word & ipv6.FRAGMENT_MORE) !== 0
      bytes = p + netBytes[i] - header - ipv6.FRAGMENT_BYTES
      id = view.getInt32(header + 4)
      // RFC 8200 4.5: addresses and identification alone tell which datagram.
      kind = 6 << 8
    }
    // The two sides may use the same addresses, one of them falsely.
    kind |= side[i] << 16
    if (bytes === 0 || (more && (bytes & 7) !== 0) || start + bytes > most) return refuse(i, BAD_LENGTH)
    if (version === 4 && protocol === TCP && start === 8) return refuse(i, TINY)
    if (start === 0 && p + netBytes[i] - rows.l4[i] < transportBytes(rows.kind[i])) return refuse(i, TINY)

    const bucket = bucketOf(i, version, id)
    let datagram = chains[bucket]
    while (datagram !== 0 && !isSame(datagram << DATAGRAM_BITS, i, version, id, kind)) {
      datagram = D[(datagram << DATAGRAM_BITS) + CHAIN]
    }
    if (datagram === 0) datagram = open(i, version, id, kind, bucket, nowMs)
    if (datagram === 0) return refuse(i, TABLE_FULL)
    const base = datagram << DATAGRAM_BITS
    if (D[base + STATE] === MARKED) return refuse(i, D[base + MARK])

    const end = start + bytes - 1
    const list = datagram * MOST_PIECES
    const count = D[base + PIECES]
    for (let n = 0; n < count; n++) {
      const from = pieces[list + n] >>> 16, to = pieces[list + n] & 0xffff
      if (end < from || start > to) continue
      // An exact repeat is a duplicate from the network (RFC 8200 4.5): it goes, the datagram stays.
      if (start !== from || end !== to) mark(base, OVERLAP)
      return refuse(i, OVERLAP)
    }
    if (count === MOST_PIECES) return refuse(i, TABLE_FULL)
    if (start !== 0 && D[base + STATE] === WAITING && !hold(i, base)) return refuse(i, HOLD_FULL)
    pieces[list + count] = (start << 16) | end
    D[base + PIECES] = count + 1
    D[base + GOT_BYTES] += bytes
    if (!more) D[base + TOTAL_BYTES] = end + 1
    return datagram
  }

  /** Keeps row i until the first fragment comes. */
  function hold(i: number, base: number): boolean {
    const linkBytes = l3[i] - off[i]
    const present = Math.min(capBytes[i], linkBytes + netBytes[i])
    const slot = freeHold
    if (slot === 0 || linkBytes > HOLD_LINK_BYTES || netBytes[i] > HOLD_NET_BYTES) return false
    const row = slot << HOLD_BITS
    freeHold = H[row]
    copyBytes(frames, off[i], holdStart(slot), present)
    H[row + HOLD_NEXT] = 0
    H[row + HOLD_CAP] = present
    H[row + HOLD_WIRE] = wireBytes[i]
    H[row + HOLD_L3] = l3[i] - off[i]
    H[row + HOLD_LINK] = link[i]
    H[row + HOLD_IFACE] = iface[i]
    H[row + HOLD_NET] = netBytes[i]
    const last = D[base + HELD_LAST]
    if (last === 0) D[base + HELD_FIRST] = slot
    else H[(last << HOLD_BITS) + HOLD_NEXT] = slot
    D[base + HELD_LAST] = slot
    verdict[i] = HELD
    counters[HELD_COUNT]++
    counters[HELD_NOW]++
    return true
  }

  /** What a later fragment at `p` becomes: the addresses of the first, and a hop less. */
  function rewrite(base: number, p: number): void {
    if (((D[base + KIND] >>> 8) & 255) === 4) {
      rewriteAddresses(view, p, D[base + NEW_SRC], D[base + NEW_DST])
      if (D[base + NEW_ID] >= 0) {
        const delta = delta16(ipv4.id(view, p), D[base + NEW_ID])
        view.setUint16(p + ipv4.ID, D[base + NEW_ID])
        ipv4.setChecksum(view, p, apply(ipv4.checksum(view, p), delta))
      }
    } else {
      ipv6.setHopLimit(view, p, ipv6.hopLimit(view, p) - 1)
      // Without state, so nothing need be remembered of the first.
      if (prefixes !== null) prefixes.cross(p, D[base + KIND] >>> 16 === SIDE_INSIDE)
    }
  }

  /**
   * The first fragment in row i has been decided: `sent` to a side, or dropped. Releases or drops the held ones. `id`: the
   * identification that it leaves with, if that is another than it came with, else -1.
   */
  function first(i: number, datagram: number, sent: boolean, id: number): void {
    const base = datagram << DATAGRAM_BITS
    D[base + NEW_ID] = id
    if (!sent) return mark(base, OF_DROPPED)
    D[base + STATE] = OPEN
    D[base + VERDICT] = verdict[i]
    if (((D[base + KIND] >>> 8) & 255) === 4) {
      D[base + NEW_SRC] = ipv4.src(view, l3[i])
      D[base + NEW_DST] = ipv4.dst(view, l3[i])
    }
    for (let hold = D[base + HELD_FIRST]; hold !== 0;) {
      const row = hold << HOLD_BITS
      const next = H[row + HOLD_NEXT]
      const at = holdStart(hold)
      const start = at + H[row + HOLD_L3]
      rewrite(base, start)
      extras.push(EXTRA_RELEASED, verdict[i], at, start, H[row + HOLD_CAP], H[row + HOLD_L3] + H[row + HOLD_NET],
        H[row + HOLD_LINK], H[row + HOLD_IFACE])
      counters[RELEASED]++
      counters[HELD_NOW]--
      H[row] = lent
      lent = hold
      hold = next
    }
    D[base + HELD_FIRST] = D[base + HELD_LAST] = 0
    finishIfWhole(datagram)
  }

  /** A later fragment in row i that `arrive` has let in. */
  function later(i: number, datagram: number): void {
    const base = datagram << DATAGRAM_BITS
    if (D[base + STATE] === WAITING) return
    rewrite(base, l3[i])
    verdict[i] = D[base + VERDICT]
    finishIfWhole(datagram)
  }

  function finishIfWhole(datagram: number): void {
    const base = datagram << DATAGRAM_BITS
    if (D[base + GOT_BYTES] === D[base + TOTAL_BYTES]) close(datagram, TIMEOUT)
  }

  /** Forgets every datagram whose time is over. */
  function expire(nowMs: number): void {
    while (oldest !== 0 && ((D[(oldest << DATAGRAM_BITS) + DEADLINE] - nowMs) | 0) <= 0) close(oldest, TIMEOUT)
  }

  /** Forgets all. */
  function finish(): void {
    while (oldest !== 0) close(oldest, TIMEOUT)
  }

  /** Takes back the frames lent to `extras`. */
  function reclaim(): void {
    while (lent !== 0) {
      const hold = lent
      lent = H[hold << HOLD_BITS]
      H[hold << HOLD_BITS] = freeHold
      freeHold = hold
    }
  }

  return { arrive, first, later, expire, finish, reclaim }
}

/** Gives the IPv4 packet at `p` other addresses and a hop less; its checksum follows (RFC 1624). */
export function rewriteAddresses(view: Frames['view'], p: number, src: number, dst: number): void {
  const was = ~ipv4.checksum(view, p) & 0xffff
  const oldSrc = ipv4.src(view, p), oldDst = ipv4.dst(view, p)
  let sum = was + 0xfeff
    + (~oldSrc & 0xffff) + (~oldSrc >>> 16) + (src & 0xffff) + (src >>> 16)
    + (~oldDst & 0xffff) + (~oldDst >>> 16) + (dst & 0xffff) + (dst >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  ipv4.setTtl(view, p, ipv4.ttl(view, p) - 1)
  ipv4.setSrc(view, p, src)
  ipv4.setDst(view, p, dst)
  ipv4.setChecksum(view, p, ~sum & 0xffff)
}
