/**
 * The turn of a live box: frames that have come, what of them is the box's own, the packet path, neighbours, and out. While frames
 * come it polls; then it sleeps until the system has some.
 */
import { performance } from 'node:perf_hooks'
import { createPrefixSet, printAddress } from '../../base/address.ts'
import type { Device } from '../../phy/device.ts'
import { createTap } from '../../phy/tap.ts'
import { createIcmpErrors } from '../../plane/errors.ts'
import { liveCounterIndex } from '../../plane/live-counters.ts'
import { createNeighbours, NEIGHBOUR_SCRATCH_BYTES, type LinkEnd, type Neighbours } from '../../plane/neighbours.ts'
import { createOwn, OWN_SCRATCH_BYTES } from '../../plane/own.ts'
import { createRoutes } from '../../plane/routes.ts'
import { createTokenBucket } from '../../storage/token-bucket.ts'
import { LINK_ETHERNET, SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import * as ethernet from '../../wire/ethernet.ts'
import { MOST_BYTES } from '../../wire/icmp-error.ts'
import * as icmp from '../../wire/icmp.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import type { Machine } from '../compose.ts'
import type { Config } from '../config/config.ts'
import { insideOf } from '../config/interfaces.ts'
import { counted } from '../figures.ts'
import { DUMMY, linkEnd, ownAddresses, routesOf, shownAddresses } from './live-addresses.ts'
import type { SystemLink } from './live-system.ts'
import type { Traffic } from './turns.ts'

/** Neighbours known at once, and packets that wait for them. */
const NEIGHBOURS = 4096, WAITING_FRAMES = 256
/** The box polls so long after the last frame: to be woken takes about as much. */
const POLL_MS = 0.05
/**
 * While frames come one by one, so many at most, the turn goes on for so long and waits for the next ones itself: the way round by
 * the event loop takes 3 us and more. Round trips took a fifth to a quarter less by AF_XDP; the doors wait no longer than that.
 */
const TURN_MS = 0.05, FEW_ROWS = 16
/** Between workers, so long at a time: they have frames for each other as well. */
const SPIN_NS = 2000
const NS_PER_MS = 1e6
/** SYNs that wait for their answer are looked at so often. */
const LATE_MS = 50
/** RFC 5227 2.3: twice, two seconds apart. */
const ANNOUNCEMENTS = 2, ANNOUNCE_MS = 2000
/** An interface that failed is tried again after that. */
const RETRY_MS = 250
/** ICMP errors about undelivered packets in one turn. */
const ERRORS_PER_TURN = 8
/** That frames are too long is said so often, and that an address of ours is claimed by others. */
const HINT_MS = 60_000, CONFLICT_MS = 1000
/* From the specifications */
const NET_UNREACHABLE = 0, HOST_UNREACHABLE = 1, V6_NO_ROUTE = 0, V6_ADDRESS_UNREACHABLE = 3
const HEADER = ethernet.HEADER_BYTES
const BOTH = 1 << SIDE_INSIDE | 1 << SIDE_OUTSIDE

export interface LiveTraffic extends Traffic {
  packets(): number
  /** The interface of that side is another one, with this Ethernet address. */
  renewed(side: number, mac: readonly number[]): void
}

export interface LiveContext {
  machine: Machine
  /** Has the turn come. */
  wake: () => void
  turnNow: () => void
  log: (line: string) => void
  /** Where frames are copied to for whoever records; null: nobody can. */
  tapMemory: SharedArrayBuffer | null
}

/** One worker's part of a box that has several (app/workers/part.ts). */
export interface Part {
  /** Lets the others hear what neighbours say in rows 0 … count-1, before it is answered. */
  tell(count: number): void
  /** Forwards rows 0 … rows-1, which have been begun: those that are ours here, the others where they belong. */
  run(rows: number, nowMs: number): void
  /** Fills rows from 0 on with frames that others had for us. What they heard goes to `hear`. */
  receive(most: number, hear: (off: number, end: number, side: number) => void): number
  release(): void
  isWaiting(): boolean
  expire(nowMs: number): void
}

export interface LiveTrafficOptions extends LiveContext {
  /** null: there is one worker. */
  part: Part | null
  /** Tells both links of the box's addresses: one worker of several does. */
  isHerald: boolean
  config: Config
  /** By SIDE_ constant. */
  devices: readonly [Device, Device]
  links: readonly SystemLink[]
  /** Of the box. */
  counters: Float64Array
  /** Where `liveBytes` of the pool are, in no memory of an interface. */
  start: number
  /** Is to be called for what leaves the packet path. */
  onSender: (send: Neighbours['send']) => void
}

/** The longest frame that waits for a neighbour. */
function queueBytes(links: readonly SystemLink[]): number {
  return 64 * Math.ceil((Math.max(...links.map(({ state }) => state.mtu)) + HEADER) / 64)
}

const SCRATCH_BYTES = NEIGHBOUR_SCRATCH_BYTES + OWN_SCRATCH_BYTES + HEADER + MOST_BYTES

export function liveBytes(links: readonly SystemLink[]): number {
  return WAITING_FRAMES * queueBytes(links) + SCRATCH_BYTES
}

export function createLiveTraffic(options: LiveTrafficOptions): LiveTraffic {
  const { config, devices, links, counters, start, machine, wake, turnNow, log, onSender, tapMemory, part } = options
  const { frames, plane, engine } = machine
  const { view, off, capBytes, wireBytes, link, iface, sec, nsec, capacity } = frames
  const { begin, run } = plane
  const [inside, outside] = devices
  const ends = [SIDE_INSIDE, SIDE_OUTSIDE].map((side) => linkEnd(config.interfaces!, side, devices[side], links[side])) as
    [LinkEnd, LinkEnd]
  const routes = createRoutes(routesOf(config.interfaces!))
  const scratchStart = start + WAITING_FRAMES * queueBytes(links)
  const ownStart = scratchStart + NEIGHBOUR_SCRATCH_BYTES, errorStart = ownStart + OWN_SCRATCH_BYTES
  const neighbours = createNeighbours({
    frames, counters, routes, ends, most: NEIGHBOURS, queueFrames: WAITING_FRAMES, queueBytes: queueBytes(links), queueStart: start,
    scratchStart,
  })
  const errors = createIcmpErrors(frames, createTokenBucket(config.limits.icmpErrorsPerSecond).take)
  const addresses = ownAddresses(config, links)
  const { take, hear, announce } = createOwn({
    frames, counters, ends, neighbours, routes, addresses, shown: shownAddresses(config), errors, scratchStart: ownStart,
    inside: createPrefixSet(insideOf(config.interfaces!)),
    onConflict(address, side) {
      if (latestMs - conflictMs < CONFLICT_MS) return
      conflictMs = latestMs
      log(`${devices[side].name}: somebody else says that it has ${printAddress(address)}`)
    },
  })
  const { send, advance, nextMs, undelivered } = neighbours
  const tap = tapMemory === null ? null : createTap(frames, tapMemory, () => performance.timeOrigin + performance.now())
  const UNREACHABLE = liveCounterIndex('unreachable-errors')
  // Without it, frames are not there before the event loop has been.
  const { spin } = inside
  let packets = 0
  let pollUntilMs = 0
  // The turn polls now; the interfaces would wake it.
  let isPolling = false
  let isArmed = false
  let latestMs = -1
  let conflictMs = -Infinity
  let announcements = options.isHerald ? ANNOUNCEMENTS : 0, announceMs = 0
  // While an error about a packet that nobody took passes the packet path.
  let isTelling = false
  let oversized = 0
  let hintedMs = -Infinity

  onSender((side, p, bytes) => {
    if (isTelling && side === SIDE_INSIDE && view.getInt32(p + ipv4.SRC) === DUMMY) speakAsBox(p)
    send(side, p, bytes)
  })

  /** The error comes from the box, which has an address inside. */
  function speakAsBox(p: number): void {
    ipv4.setSrc(view, p, config.box.insideAddress)
    ipv4.setChecksum(view, p, 0)
    ipv4.setChecksum(view, p, ~ipv4.headerSum(view, p) & 0xffff)
  }

  /**
   * Tells the senders of packets that had no route or no neighbour (RFC 1812 5.2.7.1, RFC 4443 3.1). The packet path knows whom
   * they come from, so the error takes the way of one that a router beyond the box would have sent.
   */
  function tellUndelivered(nowMs: number): void {
    for (let n = 0; n < ERRORS_PER_TURN; n++) {
      const one = undelivered()
      if (one === null) return
      const { side, p, bytes, hadRoute } = one
      const to = errorStart + HEADER, isFour = view.getUint8(p) >>> 4 === 4
      if (isFromBox(p, isFour)) continue
      const from = side === SIDE_INSIDE ? config.box.insideAddress : DUMMY
      const written = isFour
        ? errors.write4(p, bytes, from, icmp.UNREACHABLE, hadRoute ? HOST_UNREACHABLE : NET_UNREACHABLE, to, nowMs)
        : errors.write6(p, bytes, config.box.address6, icmp.V6_UNREACHABLE, hadRoute ? V6_ADDRESS_UNREACHABLE : V6_NO_ROUTE, 0, to,
          nowMs)
      if (written === 0) continue
      counters[UNREACHABLE]++
      const type = isFour ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6
      ethernet.emit({ dst: ethernet.NOBODY, src: ethernet.NOBODY, tags: [], type }, view, errorStart)
      off[0] = errorStart
      capBytes[0] = wireBytes[0] = HEADER + written
      link[0] = LINK_ETHERNET
      iface[0] = side
      stamp(1, nowMs)
      isTelling = true
      begin(1)
      run(0, 1)
      isTelling = false
    }
  }

  function isFromBox(p: number, isFour: boolean): boolean {
    const at = p + (isFour ? ipv4.SRC : ipv6.SRC)
    return addresses.some(({ version, words, isShared }) => (version === 4) === isFour && !isShared
      && words.every((word, i) => view.getInt32(at + 4 * i) === word))
  }

  function stamp(rows: number, nowMs: number): void {
    const seconds = Math.floor(nowMs / 1000), nanos = nowMs % 1000 * 1e6
    for (let i = 0; i < rows; i++) {
      sec[i] = seconds
      nsec[i] = nanos
    }
  }

  /** What is done once a millisecond. */
  function tick(nowMs: number): void {
    // The interface that did not wake it: its own frames would ask one by one, as they leave, whether to wake it, 3 % of what a
    // frame costs the box.
    if (isArmed && isPolling) {
      inside.disarm()
      outside.disarm()
      isArmed = false
    }
    plane.advance(Math.floor(nowMs / 1000), nowMs % 1000 * 1e6)
    advance(nowMs)
    part?.expire(nowMs)
    if (announcements > 0 && nowMs >= announceMs) {
      announcements--
      announceMs = nowMs + ANNOUNCE_MS
      announce()
    }
    const seen = inside.oversized() + outside.oversized()
    if (seen > oversized && nowMs - hintedMs >= HINT_MS) {
      hintedMs = nowMs
      const frames = counted(seen - oversized, 'frame was longer than its', 'frames were longer than their')
      log(`${frames} link takes, and could not be cut. If somebody joins them, at the `
        + 'other end of a veth pair `ethtool -K eth0 tso off gso off` stops that')
    }
    oversized = seen
  }

  /** Fills rows from 0 on; while the box polls it waits for them. */
  function look(fromMs: number, untilMs: number): number {
    let sides = BOTH
    if (spin !== undefined) {
      sides = spin(isPolling && part === null ? (untilMs - fromMs) * NS_PER_MS | 0 : 0)
      while (isPolling && sides === 0 && part?.isWaiting() === false && performance.now() < untilMs) sides = spin(SPIN_NS)
    }
    const fromInside = (sides & 1 << SIDE_INSIDE) === 0 ? 0 : inside.receive(0, capacity >> 1)
    // Neither side starves the other.
    return fromInside + ((sides & 1 << SIDE_OUTSIDE) === 0 ? 0 : outside.receive(fromInside, capacity - fromInside))
  }

  function pass(rows: number, nowMs: number): void {
    packets += rows
    const isTapped = tap !== null && tap.isWanted()
    if (isTapped) tap.received(rows)
    if (part !== null) part.tell(rows)
    const left = take(rows, nowMs)
    if (isTapped) tap.kept(left)
    stamp(left, nowMs)
    begin(left)
    if (part === null) run(0, left)
    else part.run(left, nowMs)
  }

  function turn(clock: () => number): boolean {
    let fromMs = performance.now()
    const untilMs = fromMs + TURN_MS
    let rows: number, isPending: boolean, hasCome = false
    do {
      const nowMs = clock()
      if (nowMs !== latestMs) {
        latestMs = nowMs
        tick(nowMs)
      }
      tellUndelivered(nowMs)
      rows = look(fromMs, untilMs)
      if (rows > 0) pass(rows, nowMs)
      if (part !== null) rows += takeOver(part, nowMs)
      const isInsidePending = inside.kick()
      isPending = outside.kick() || isInsidePending
      // What follows does not hold the frames up.
      tap?.publish()
      // Even of frames that were all skipped, as those of another VLAN are.
      inside.release()
      outside.release()
      if (part !== null) part.release()
      if (rows > 0) hasCome = isPolling = true
    } while (rows > 0 && rows < FEW_ROWS && spin !== undefined && (fromMs = performance.now()) < untilMs)
    if (hasCome) pollUntilMs = performance.now() + POLL_MS
    else if (!isPending && performance.now() >= pollUntilMs) {
      inside.arm()
      outside.arm()
      isArmed = true
      isPolling = false
      return false
    }
    isPolling = true
    return true
  }

  /** What other workers had for this one. */
  function takeOver(of: Part, nowMs: number): number {
    const rows = of.receive(capacity, (at, end, side) => { hear(at, end, side, nowMs) })
    if (rows === 0) return 0
    stamp(rows, nowMs)
    begin(rows)
    run(0, rows)
    return rows
  }

  for (const [side, device] of devices.entries()) {
    if (tap !== null) device.onSent((list, many) => tap.sent(side, list, many))
    device.onFull?.(turnNow)
    device.onWake((hasFailed) => {
      if (!hasFailed) return wake()
      log(`${device.name}: ${device.failure() ?? 'failed'}; trying again`)
      setTimeout(wake, RETRY_MS).unref()
    })
  }

  return {
    turn, packets: () => packets,
    renewed(side, mac) {
      ends[side] = { ...ends[side], mac }
      neighbours.forget(side)
      announcements = ANNOUNCEMENTS
      announceMs = 0
      wake()
    },
    nextMs() {
      const nextAnnounceMs = announcements > 0 ? announceMs : Infinity
      return Math.min(nextMs(), nextAnnounceMs, engine.heldSyns() > 0 ? plane.virtualMs() + LATE_MS : Infinity)
    },
  }
}
