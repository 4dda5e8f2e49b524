/**
 * Fragments from outside, whose pieces after the first do not say whom they are for. The kernel gives all pieces of a datagram to
 * one worker, by its identification; that one knows from the first piece on whose they are, and keeps those that came before it
 * until then. Bounded: a set of the table forgets its oldest datagram, and the oldest piece that waits makes room.
 */
import { liveCounterIndex } from '../../plane/live-counters.ts'
import type { Frames } from '../../wire/frames.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import type { Handover } from './handover.ts'

/** What `ownerOf` says of a piece that waits now. */
export const WAITS = -3

const SET_WAYS = 4, ENTRY_WORDS = 5
/** Words of an entry. OWNER is one more than the worker; 0: free. */
const SRC = 0, DST = 1, KEY = 2, OWNER = 3, SINCE_MS = 4
/** Pieces that wait at once. */
const HELD = 128
/** Of a piece that waits: as an entry, but for its bytes. */
const BYTES = 3

export interface GatherOptions {
  frames: Frames
  /** Datagrams that are followed at once, at least. */
  datagrams: number
  fragmentMs: number
  /** Where `gatherBytes` of the pool are. */
  start: number
  frameBytes: number
  counters: Float64Array
}

export interface Gather {
  /**
   * Worker that the fragment at `p` belongs to, or WAITS. `first`: whose it is by its ports, asked for the first piece alone. The
   * frame is at `off`.
   */
  ownerOf(off: number, p: number, end: number, nowMs: number, first: (p: number, end: number) => number): number
  /** After the first piece of a datagram has gone to its owner, as that kind of frame: gives those that waited for it. */
  follow(give: Handover['give'], owner: number, kind: number): void
  /** Drops what has waited for too long. */
  expire(nowMs: number): void
  isWaiting(): boolean
}

export function gatherBytes(frameBytes: number): number {
  return HELD * (64 * Math.ceil(frameBytes / 64))
}

export function createGather({ frames, datagrams, fragmentMs, start, frameBytes, counters }: GatherOptions): Gather {
  const { view, pool } = frames
  const sets = 2 ** Math.ceil(Math.log2(Math.max(16, datagrams) / SET_WAYS))
  const table = new Int32Array(sets * SET_WAYS * ENTRY_WORDS), held = new Int32Array(HELD * ENTRY_WORDS)
  const slotBytes = 64 * Math.ceil(frameBytes / 64)
  const DROPS = liveCounterIndex('early-fragment-drops')
  let nextHeld = 0, heldCount = 0
  // The datagram whose first piece came just now.
  const $first = new Int32Array(3)
  let isFirst = false

  const isAt = (list: Int32Array, at: number, src: number, dst: number, key: number) =>
    list[at + SRC] === src && list[at + DST] === dst && list[at + KEY] === key

  function ownerOf(off: number, p: number, end: number, nowMs: number, first: (p: number, end: number) => number): number {
    const src = ipv4.src(view, p), dst = ipv4.dst(view, p), key = ipv4.protocol(view, p) << 16 | ipv4.id(view, p)
    let h = Math.imul(src ^ Math.imul(dst, 0x85ebca6b) ^ key, 0x9e3779b1)
    h ^= h >>> 15
    const set = (h & sets - 1) * SET_WAYS * ENTRY_WORDS
    const now = nowMs | 0
    let oldest = set
    for (let way = 0; way < SET_WAYS; way++) {
      const at = set + way * ENTRY_WORDS
      // Unsigned: what nobody has asked for in 25 days is not of the future.
      const isLive = table[at + OWNER] !== 0 && now - table[at + SINCE_MS] >>> 0 < fragmentMs
      if (!isLive) table[at + OWNER] = 0
      else if (isAt(table, at, src, dst, key)) return table[at + OWNER] - 1
      if (table[oldest + OWNER] !== 0 && (!isLive || (table[at + SINCE_MS] - table[oldest + SINCE_MS] | 0) < 0)) oldest = at
    }
    if ((ipv4.fragment(view, p) & ipv4.OFFSET_MASK) !== 0) return wait(off, end, src, dst, key, now)
    const owner = first(p, end)
    if (owner < 0) return owner
    table[oldest + SRC] = $first[SRC] = src
    table[oldest + DST] = $first[DST] = dst
    table[oldest + KEY] = $first[KEY] = key
    table[oldest + OWNER] = owner + 1
    table[oldest + SINCE_MS] = now
    isFirst = heldCount > 0
    return owner
  }

  function wait(off: number, end: number, src: number, dst: number, key: number, now: number): number {
    const bytes = end - off, at = nextHeld * ENTRY_WORDS
    if (bytes > frameBytes) {
      counters[DROPS]++
      return WAITS
    }
    if (held[at + BYTES] !== 0) drop(at)
    held[at + SRC] = src
    held[at + DST] = dst
    held[at + KEY] = key
    held[at + BYTES] = bytes
    held[at + SINCE_MS] = now
    pool.copyWithin(start + nextHeld * slotBytes, off, end)
    nextHeld = (nextHeld + 1) % HELD
    heldCount++
    return WAITS
  }

  function drop(at: number): void {
    held[at + BYTES] = 0
    heldCount--
    counters[DROPS]++
  }

  return {
    ownerOf, isWaiting: () => heldCount > 0,
    follow(give, owner, kind) {
      if (!isFirst) return
      isFirst = false
      // In order of arrival.
      for (let n = 0; n < HELD; n++) {
        const slot = (nextHeld + n) % HELD, at = slot * ENTRY_WORDS
        if (held[at + BYTES] === 0 || !isAt(held, at, $first[SRC], $first[DST], $first[KEY])) continue
        give(owner, start + slot * slotBytes, held[at + BYTES], kind)
        held[at + BYTES] = 0
        heldCount--
      }
    },
    expire(nowMs) {
      if (heldCount === 0) return
      for (let at = 0; at < held.length; at += ENTRY_WORDS) {
        if (held[at + BYTES] !== 0 && ((nowMs | 0) - held[at + SINCE_MS] | 0) >= fragmentMs) drop(at)
      }
    },
  }
}
