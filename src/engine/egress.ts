/**
 * What some packets still need once their way is known: an identification of their own (RFC 6864 5.3.1), a smaller MSS, and room
 * on the link that they leave by (RFC 791, RFC 792, RFC 8200 5). IPv4 that may be fragmented is; what may not be is dropped, and
 * its sender told. Packets that need none of it never come here: the first look tells them apart.
 */
import { pairedIndex } from '../channel/pairing.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { apply, delta16, fold, sumBytes } from '../wire/checksum.ts'
import { DROP, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as ipv4 from '../wire/ipv4.ts'
import { EXTRA_PIECE, EXTRA_RELEASED, HOLD_LINK_BYTES, HOLD_NET_BYTES, copyBytes } from './extras.ts'
import { IDENTIFY_ALL, IDENTIFY_KEEP, type EngineOptions } from './options.ts'
import { type Shared, countDrop, drop } from './shared.ts'

const TOO_BIG = reasonIndex('too-big')
const TCP = 6
const OPTION_MSS = 2
/** What an ICMP error quotes at the most. */
const SNAPSHOT_BYTES = 1280
/** Of one packet: 65,535 bytes in pieces of 1,256 and more. */
const MOST_PIECES = 54
/** Of a fragment that was held, beside the first piece. */
const HELD_PIECES = 8
const MOST_HEADERS = HOLD_LINK_BYTES + 60
const MOST_HELD = 64

type Egress = Pick<EngineOptions, 'mtuInside' | 'mtuOutside' | 'fragmentHold'>

/** Frames that may leave because of a packet on account of the MTU. */
export function egressExtras({ mtuInside = 0, mtuOutside = 0 }: Egress): number {
  return mtuInside === 0 && mtuOutside === 0 ? 0 : MOST_PIECES + MOST_HELD * HELD_PIECES
}

/** Bytes of the frame pool for that. */
export function egressBytes(options: Egress): number {
  if (egressExtras(options) === 0) return 0
  const held = Math.min(options.fragmentHold, MOST_HELD)
  return SNAPSHOT_BYTES + 65_536 + MOST_PIECES * MOST_HEADERS + held * (HOLD_NET_BYTES + HELD_PIECES * MOST_HEADERS)
}

/** The packet at row i, as it came in, is too big for the link it would leave by. */
export type TellTooBig = (i: number, mtu: number, nowMs: number) => void

export function createEgress(shared: Shared, scratch: number, tellTooBig: TellTooBig) {
  const { options, frames, rows, pool, counters, extras } = shared
  const { view, off, capBytes, l3, netBytes, verdict, link, iface } = frames
  const { kind: kindColumn, l4: l4Column } = rows
  const mtuInside = options.mtuInside ?? 0, mtuOutside = options.mtuOutside ?? 0
  const hasMtu = mtuInside !== 0 || mtuOutside !== 0
  const identify = options.identification ?? IDENTIFY_KEEP
  const seed = options.seed | 0
  // By index of a shared address: the next identification, and the step to the one after it.
  const next = new Int32Array(pool.shared), step = new Int32Array(pool.shared)
  for (let index = 0; index < pool.shared; index++) {
    const one = pairedIndex(~pool.addressAt(index), seed, 0x10000) | 1
    // Of several workers each has every n-th.
    next[index] = pairedIndex(pool.addressAt(index), seed, 0x10000) + (options.share?.worker ?? 0) * one & 0xffff
    step[index] = one * (options.share?.steering.workers ?? 1)
  }
  const pieces = scratch + SNAPSHOT_BYTES
  /** Snapshot: bytes, 0: none. Then where the next piece goes. */
  const $at = new Int32Array(2)
  const SNAPSHOT = 0, FREE = 1
  const mss = options.mss ?? 0

  function mtuOf(what: number): number {
    return what === TO_INSIDE ? mtuInside : mtuOutside
  }

  /* Identification. */

  // @req RFC7857 10
  /** A new identification if the packet at `p`, which came with `src`, has the source of several hosts by now; else -1. */
  function identification(p: number, src: number): number {
    const now = ipv4.src(view, p)
    if (identify === IDENTIFY_KEEP || now === src) return -1
    const index = pool.indexOf(now)
    if (index < 0 || index >= pool.shared) return -1
    const id = next[index]
    next[index] = (id + step[index]) & 0xffff
    return id
  }

  function setIdentification(p: number, id: number): void {
    const was = ipv4.id(view, p)
    view.setUint16(p + ipv4.ID, id)
    ipv4.setChecksum(view, p, apply(ipv4.checksum(view, p), delta16(was, id)))
  }

  /* MSS. */

  /** RFC 879, RFC 9293 3.7.1: makes the MSS of the SYN in row i fit, if it says one. */
  function clampMss(i: number): void {
    const l4 = l4Column[i], version = kindColumn[i] >>> 8
    const end = Math.min(l4 + (view.getUint8(l4 + 12) >>> 4 << 2), off[i] + capBytes[i], l3[i] + netBytes[i])
    for (let at = l4 + 20; at < end;) {
      const kind = view.getUint8(at)
      if (kind === 0) return
      if (kind === 1) {
        at++
        continue
      }
      const bytes = at + 1 < end ? view.getUint8(at + 1) : 0
      if (bytes < 2 || at + bytes > end) return
      if (kind === OPTION_MSS && bytes === 4) return lowerMss(l4, at + 2, mssOf(version))
      at += bytes
    }
  }

  function mssOf(version: number): number {
    if (mss > 0) return mss
    const mtu = Math.min(mtuInside || 65_535, mtuOutside || 65_535)
    return mtu - (version === 4 ? 40 : 60)
  }

  function lowerMss(l4: number, at: number, most: number): void {
    const was = view.getUint16(at)
    if (was <= most) return
    view.setUint16(at, most)
    let delta = delta16(was, most)
    // At an odd offset its two bytes are in two words.
    if (((at - l4) & 1) !== 0) delta = delta16(swap(was), swap(most))
    view.setUint16(l4 + 16, apply(view.getUint16(l4 + 16), delta))
  }

  function swap(word: number): number {
    return (word << 8 | word >>> 8) & 0xffff
  }

  /* MTU. */

  /** Before row i is decided: what an error would show of it. The pieces of the row before have left. */
  function before(i: number): void {
    $at[SNAPSHOT] = 0
    if (!hasMtu) return
    $at[FREE] = pieces
    $at[SNAPSHOT] = Math.min(netBytes[i], off[i] + capBytes[i] - l3[i], SNAPSHOT_BYTES)
    copyBytes(frames, l3[i], scratch, $at[SNAPSHOT])
  }

  /** Row i is decided. `src` is the IPv4 source that it came with; `id` what its datagram got already, or -1. */
  function after(i: number, src: number, id: number, nowMs: number): void {
    const what = verdict[i]
    if (what !== TO_INSIDE && what !== TO_OUTSIDE) return
    const p = l3[i], isFour = kindColumn[i] >>> 8 === 4
    const mayFragment = isFour && (ipv4.fragment(view, p) & ipv4.DONT_FRAGMENT) === 0
    let own = id
    if (own < 0 && mayFragment && identify === IDENTIFY_ALL) {
      own = identification(p, src)
      if (own >= 0) setIdentification(p, own)
    }
    if (mss !== 0 && isSyn(i)) clampMss(i)
    const mtu = mtuOf(what)
    if (mtu === 0 || netBytes[i] <= mtu) return
    if (!mayFragment) {
      // @req RFC4787 REQ-13
      // @req RFC5508 REQ-10a1
      // The packet is not needed any more, and its sender knows it by what it was.
      copyBytes(frames, scratch, p, $at[SNAPSHOT])
      drop(shared, i, TOO_BIG)
      tellTooBig(i, mtu, nowMs)
      return
    }
    if (own < 0) {
      own = identification(p, src)
      if (own >= 0) setIdentification(p, own)
    }
    // @req RFC4787 REQ-13a
    const linkBytes = p - off[i]
    netBytes[i] = split(p, linkBytes, off[i] + capBytes[i] - p, netBytes[i], mtu, what, link[i], iface[i])
  }

  function isSyn(i: number): boolean {
    if ((kindColumn[i] & 255) !== TCP) return false
    const word = kindColumn[i] >>> 8 === 4 ? ipv4.fragment(view, l3[i]) & ipv4.OFFSET_MASK
      : rows.fragment[i] === 0 ? 0 : view.getUint16(rows.fragment[i] + 2) & 0xfff8
    return word === 0 && (view.getUint8(l4Column[i] + 13) & 2) !== 0
  }

  /** Fragments that were held and leave now: split and dropped alike, but never answered. Their pieces come after them all. */
  function afterReleased(from: number): void {
    if (!hasMtu) return
    const count = extras.count()
    if (count === from) return
    for (let n = from; n < count; n++) {
      const mtu = mtuOf(extras.verdict[n]), p = extras.l3[n], linkBytes = p - extras.off[n]
      const bytes = extras.wireBytes[n] - linkBytes
      if (extras.kind[n] !== EXTRA_RELEASED || mtu === 0 || bytes <= mtu) continue
      const isFour = view.getUint8(p) >>> 4 === 4
      if (!isFour || (ipv4.fragment(view, p) & ipv4.DONT_FRAGMENT) !== 0) {
        countDrop(counters, TOO_BIG, extras.wireBytes[n])
        extras.verdict[n] = DROP
        continue
      }
      const present = extras.capBytes[n] - linkBytes
      const first = split(p, linkBytes, present, bytes, mtu, extras.verdict[n], extras.link[n], extras.iface[n])
      extras.wireBytes[n] = linkBytes + first
      extras.capBytes[n] = Math.min(extras.capBytes[n], linkBytes + first)
    }
    extras.drop(DROP)
  }

  /**
   * Cuts the IPv4 packet at `p` down to its first piece, and puts the others behind in `extras`, in order (RFC 791 3.2). `present`
   * bytes of it were captured. Returns the length of the first.
   */
  function split(
    p: number, linkBytes: number, present: number, bytes: number, mtu: number, what: number, linkType: number, ifaceId: number,
  ): number {
    const header = ipv4.headerBytes(view, p)
    const word = ipv4.fragment(view, p)
    const start = (word & ipv4.OFFSET_MASK) << 3, flags = word & ~(ipv4.OFFSET_MASK | ipv4.MORE_FRAGMENTS)
    const data = bytes - header
    const first = (mtu - header) & ~7
    for (let from = first; from < data;) {
      const at = $at[FREE], to = at + linkBytes
      copyBytes(frames, p - linkBytes, at, linkBytes)
      const own = copyHeader(p, header, to)
      const room = (mtu - own) & ~7, some = Math.min(room, data - from)
      const captured = Math.max(0, Math.min(some, present - header - from))
      copyBytes(frames, p + header + from, to + own, captured)
      const more = from + some < data ? ipv4.MORE_FRAGMENTS : word & ipv4.MORE_FRAGMENTS
      finishHeader(p, header, to, own, own + some, flags | more | (start + from) >>> 3)
      extras.push(EXTRA_PIECE, what, at, to, linkBytes + own + captured, linkBytes + own + some, linkType, ifaceId)
      $at[FREE] = to + own + captured
      from += some
    }
    const oldSum = sumWithout(p, header)
    ipv4.setTotalLength(view, p, header + first)
    view.setUint16(p + ipv4.FRAGMENT, word | ipv4.MORE_FRAGMENTS)
    ipv4.setChecksum(view, p, apply(ipv4.checksum(view, p), fold((~oldSum & 0xffff) + sumWithout(p, header))))
    return header + first
  }

  /** The header at `p` with those of its options that every piece has, at `to`. Its length. */
  function copyHeader(p: number, header: number, to: number): number {
    copyBytes(frames, p, to, ipv4.HEADER_BYTES)
    let length = ipv4.HEADER_BYTES
    for (let at = ipv4.HEADER_BYTES; at < header;) {
      const kind = view.getUint8(p + at)
      if (kind === ipv4.OPTION_END) break
      const bytes = kind === ipv4.OPTION_NOP ? 1 : view.getUint8(p + at + 1)
      if ((kind & 0x80) !== 0) {
        copyBytes(frames, p + at, to + length, bytes)
        length += bytes
      }
      at += bytes
    }
    while ((length & 3) !== 0) view.setUint8(to + length++, ipv4.OPTION_END)
    return length
  }

  function finishHeader(p: number, header: number, to: number, own: number, total: number, word: number): void {
    view.setUint8(to, 0x40 | own >>> 2)
    ipv4.setTotalLength(view, to, total)
    view.setUint16(to + ipv4.FRAGMENT, word)
    // As right, or as wrong, as the one it stands for.
    const delta = fold((~sumWithout(p, header) & 0xffff) + sumWithout(to, own))
    ipv4.setChecksum(view, to, apply(ipv4.checksum(view, p), delta))
  }

  /** Sum of a header but for its checksum. */
  function sumWithout(p: number, header: number): number {
    return fold(sumBytes(view, p, p + ipv4.CHECKSUM, 0) + sumBytes(view, p + ipv4.CHECKSUM + 2, p + header, 0))
  }

  return { before, after, afterReleased, identification, setIdentification }
}
