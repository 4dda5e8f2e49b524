/**
 * The turn of the forwarder: looks at a batch, lets the engine decide row after row in order of arrival, and hands what leaves to
 * the outlet of its side. Nothing here waits; a full outlet stops the batch at a row, and the caller goes on from there.
 */
import { type Counters, counterIndex } from '../channel/counters.ts'
import type { Engine } from '../engine/engine.ts'
import { EXTRA_REPLY, HOLD_BYTES, LEAST_FRAMES, copyBytes } from '../engine/extras.ts'
import { DROP, HELD, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, type Frames } from '../wire/frames.ts'
import { createLink } from '../wire/link.ts'
import { createDigest } from './digest.ts'
import type { Sides } from './sides.ts'
import type { World } from './world.ts'

/** Where frames go; a capture writer is one. */
export interface Outlet {
  /** `l3` is the offset of the network header. */
  write(off: number, capBytes: number, wireBytes: number, sec: number, nsec: number, link: number, l3: number): boolean
  /** Is there room for packets of so many bytes together with their overhead? */
  room(bytes: number): boolean
}

export interface PlaneOptions {
  frames: Frames
  counters: Counters
  engine: Engine
  sides: Sides
  /** Plays the outside world of a replay; null when the frames come from real interfaces. */
  world: World | null
  /** Where frames towards each side go, or null: they are counted only. */
  inside: Outlet | null
  outside: Outlet | null
  /** Offset of `PLANE_SCRATCH_BYTES` in the pool. */
  scratchStart: number
  /** Monotonic nanoseconds, for the measurement of batches. */
  clockNs: () => number
  /** The second at which virtual time begins; absent: the stamp of the first packet. */
  firstSec?: number
}

export interface Plane {
  /** Looks at the rows below `count`. */
  begin(count: number): void
  /**
   * Decides rows `from` … `to`-1 and hands out what leaves. Returns the first row not decided because an outlet had no room:
   * wait for it and call again.
   */
  run(from: number, to: number): number
  /** Between batches: time goes on without a packet. */
  advance(seconds: number, nanos: number): void
  /** Drops what is held. */
  finish(): void
  /** Nanoseconds spent on rows, without handing them out. */
  readonly spentNs: () => number
  digest(): string
  /** Virtual milliseconds since the first packet. */
  virtualMs(): number
  /** When that was: milliseconds since 1970. */
  startMs(): number
}

/** Longest link header of a reply. */
const LINK_BYTES = 64
const REPLY_ROOM = 1400
export const PLANE_SCRATCH_BYTES = LINK_BYTES + REPLY_ROOM
/** pcapng: what a packet takes beside its bytes, padding included. */
const BLOCK_BYTES = 36
/** Link header and IPv4 header, of each piece that a packet is cut into for the link. */
const HEADER_BYTES = 64 + 60
/** What one packet may cause besides itself, where no link is narrow: all held fragments of a datagram, or a reply. */
const MOST_EXTRA_BYTES = 64 * (HOLD_BYTES + BLOCK_BYTES) + REPLY_ROOM + BLOCK_BYTES

/** What a SYN that waits may cause. */
const LATE_BYTES = REPLY_ROOM + BLOCK_BYTES

/** Virtual time is modulo 2^32 ms; larger leaps are taken in steps that no timer can jump over. */
const LEAP_MS = 2 ** 30
const TURN_MS = 2 ** 32

export function createPlane(options: PlaneOptions): Plane {
  const { frames, counters, engine, sides, world, inside, outside, scratchStart, clockNs } = options
  const { off, capBytes, wireBytes, l3, netBytes, side, verdict, reason, sec, nsec, link } = frames
  const { locate, headerForReply, headerFor } = createLink(frames)
  const { lookAhead, forward, expire, extras, late, lateAbout, heldSyns } = engine
  const mostPieceBytes = MOST_EXTRA_BYTES + (extras.kind.length - LEAST_FRAMES) * (HEADER_BYTES + BLOCK_BYTES)
  const extraCount = extras.count
  const digest = createDigest(frames)
  const { sent: digestSent, dropped: digestDropped, held: digestHeld } = digest
  const IN_INSIDE = counterIndex('in-inside-packets'), IN_OUTSIDE = counterIndex('in-outside-packets')
  const OUT_INSIDE = counterIndex('out-inside-packets'), OUT_OUTSIDE = counterIndex('out-outside-packets')
  // Doubles that change: as variables each change would allocate one.
  const measuring = new Float64Array(3)
  const SPENT = 0, LATEST = 1, SECOND = 2

  let started = options.firstSec !== undefined
  let firstSec = options.firstSec ?? 0
  let firstNsec = 0
  let nowMs = 0
  let nextNsec = -1

  /** Milliseconds from the first packet to row i. */
  function timeOf(i: number): number {
    return (sec[i] - firstSec) * 1000 + Math.floor((nsec[i] - firstNsec) / 1e6)
  }

  /** Moves virtual time to the stamp of row i; an earlier stamp than the latest one does not move it. */
  function tick(i: number): void {
    if (!started) {
      started = true
      firstSec = sec[i]
      firstNsec = nsec[i]
    }
    const at = timeOf(i)
    // Until the next millisecond of the same second, packets need no more than two comparisons.
    measuring[SECOND] = sec[i]
    nextNsec = firstNsec + (Math.floor((nsec[i] - firstNsec) / 1e6) + 1) * 1e6
    if (at <= measuring[LATEST]) return
    if (at - measuring[LATEST] > LEAP_MS) leap(at)
    measuring[LATEST] = at
    nowMs = at | 0
    expire(nowMs)
  }

  /** Days without a packet: everything ends in order, in steps. After 2^32 ms nothing is left to end. */
  function leap(at: number): void {
    let latest = measuring[LATEST]
    for (let n = 0; n < 4 && at - latest > LEAP_MS; n++) {
      latest += LEAP_MS
      expire(latest | 0)
    }
    const turns = Math.floor((at - latest) / TURN_MS)
    latest += turns * TURN_MS
    while (at - latest > LEAP_MS) {
      latest += LEAP_MS
      expire(latest | 0)
    }
  }

  function begin(count: number): void {
    const start = clockNs()
    locate(count)
    sides.decide(count)
    lookAhead(count)
    measuring[SPENT] += clockNs() - start
  }

  /**
   * Time goes on to row i: SYNs from outside whose silence ends before that are answered first, each at its own moment. Returns the
   * first row that was not handed out.
   */
  function answerLate(i: number, handed: number): number {
    const at = Math.max(timeOf(i), measuring[LATEST])
    // None waits for longer than a step of a leap.
    const untilMs = Math.min(at, measuring[LATEST] + LEAP_MS) | 0
    while (late(untilMs)) {
      handed = handOut(handed, i)
      if (extraCount() === 0) continue
      const bytes = extras.capBytes[0]
      const linkBytes = headerFor(lateAbout.off, lateAbout.l3, lateAbout.link, scratchStart, bytes)
      copyBytes(frames, extras.off[0], scratchStart + linkBytes, bytes)
      // Its stamp, from the difference to a time that is no int32.
      const dueMs = Math.min(at, measuring[LATEST] + LEAP_MS) - ((untilMs - lateAbout.dueMs) | 0)
      const nanos = firstNsec + dueMs % 1000 * 1e6
      const wire = linkBytes + bytes
      send(extras.verdict[0], scratchStart, scratchStart + linkBytes, wire, wire, firstSec + Math.floor(dueMs / 1000)
        + Math.floor(nanos / 1e9), nanos % 1e9, lateAbout.link)
    }
    return handed
  }

  function hasRoom(bytes: number): boolean {
    return (inside === null || inside.room(bytes)) && (outside === null || outside.room(bytes))
  }

  function run(from: number, to: number): number {
    // Most batches fit as a whole; the rest is let through row by row.
    let bytes = mostExtraBytes()
    for (let i = from; i < to; i++) bytes += capBytes[i] + BLOCK_BYTES
    const fits = hasRoom(bytes)
    let handed = from
    let start = clockNs()
    for (let i = from; i < to; i++) {
      if (!fits) {
        measuring[SPENT] += clockNs() - start
        handed = handOut(handed, i)
        if (!hasRoom(mostExtraBytes() + capBytes[i] + BLOCK_BYTES)) {
          countArrivals(from, i)
          return i
        }
        start = clockNs()
      }
      if (nsec[i] >= nextNsec || sec[i] !== measuring[SECOND]) {
        if (heldSyns() !== 0) handed = answerLate(i, handed)
        tick(i)
      }
      if (world !== null && side[i] === SIDE_OUTSIDE) world.meet(i)
      forward(i, nowMs)
      if (extraCount() !== 0) {
        measuring[SPENT] += clockNs() - start
        handed = handOut(handed, i + 1)
        handOutExtras(i)
        start = clockNs()
      }
    }
    countArrivals(from, to)
    measuring[SPENT] += clockNs() - start
    handOut(handed, to)
    return to
  }

  function advance(seconds: number, nanos: number): void {
    // No row is in use.
    sec[0] = seconds
    nsec[0] = nanos
    if (heldSyns() !== 0) answerLate(0, 0)
    tick(0)
  }

  /** What may leave besides the packets of a batch. */
  function mostExtraBytes(): number {
    return mostPieceBytes + heldSyns() * LATE_BYTES
  }

  function countArrivals(from: number, to: number): void {
    let outsidePackets = 0, outsideBytes = 0, bytes = 0
    for (let i = from; i < to; i++) {
      outsidePackets += side[i]
      outsideBytes += wireBytes[i] & (0 - side[i])
      bytes += wireBytes[i]
    }
    counters[IN_INSIDE] += to - from - outsidePackets
    counters[IN_INSIDE + 1] += bytes - outsideBytes
    counters[IN_OUTSIDE] += outsidePackets
    counters[IN_OUTSIDE + 1] += outsideBytes
  }

  /** Hands out rows `from` … `to`-1, all decided. */
  function handOut(from: number, to: number): number {
    for (let i = from; i < to; i++) {
      const what = verdict[i]
      if (what === DROP) digestDropped(reason[i])
      else if (what === HELD) digestHeld()
      else {
        const linkBytes = l3[i] - off[i]
        const wire = linkBytes + netBytes[i]
        send(what, off[i], l3[i], Math.min(capBytes[i], wire), wire, sec[i], nsec[i], link[i])
      }
    }
    return to
  }

  function send(
    what: number, at: number, p: number, present: number, wire: number, seconds: number, nanos: number, linkType: number,
  ): void {
    const toInside = what === TO_INSIDE
    const counter = toInside ? OUT_INSIDE : OUT_OUTSIDE
    counters[counter]++
    counters[counter + 1] += wire
    const linkBytes = p - at
    digestSent(toInside ? SIDE_INSIDE : SIDE_OUTSIDE, p, present - linkBytes, wire - linkBytes, seconds, nanos)
    const outlet = toInside ? inside : outside
    if (outlet !== null) outlet.write(at, present, wire, seconds, nanos, linkType, p)
  }

  /** Hands out what left because of row i, after it. */
  function handOutExtras(i: number): void {
    for (let n = 0; n < extraCount(); n++) {
      if (extras.kind[n] === EXTRA_REPLY) {
        const bytes = extras.capBytes[n]
        const linkBytes = headerForReply(i, scratchStart, bytes)
        copyBytes(frames, extras.off[n], scratchStart + linkBytes, bytes)
        const wire = linkBytes + bytes
        send(extras.verdict[n], scratchStart, scratchStart + linkBytes, wire, wire, sec[i], nsec[i], link[i])
      } else {
        send(extras.verdict[n], extras.off[n], extras.l3[n], extras.capBytes[n], extras.wireBytes[n], sec[i], nsec[i],
          extras.link[n])
      }
    }
  }

  return {
    begin, run, advance, finish: engine.finish, spentNs: () => measuring[SPENT], digest: digest.text,
    virtualMs: () => measuring[LATEST], startMs: () => firstSec * 1000 + firstNsec / 1e6,
  }
}

