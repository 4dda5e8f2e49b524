/** A plane with hands on it: frames in, what left by either side out. For tests; inside is 10.0.0.0/8 and fd00::/8. */
import { createCounters, readCounters, type Counters } from '../channel/counters.ts'
import { DROP_REASONS, type DropReason } from '../channel/reasons.ts'
import { createEngine, engineScratchBytes, type Engine } from '../engine/engine.ts'
import type { EngineOptions } from '../engine/options.ts'
import { TEST_OPTIONS } from '../engine/testing.ts'
import { DROP, LINK_RAW, TO_INSIDE, TO_OUTSIDE, createFrames, type Frames } from '../wire/frames.ts'
import { PLANE_SCRATCH_BYTES, createPlane, type Outlet, type Plane } from './plane.ts'
import { sidesBySource, type Sides } from './sides.ts'
import { createWorld, needsWorld } from './world.ts'

export interface FrameIn {
  data: Uint8Array
  sec?: number
  nsec?: number
  /** Default LINK_RAW. */
  link?: number
  iface?: number
  wireBytes?: number
}

export interface FrameOut {
  /** TO_INSIDE or TO_OUTSIDE. */
  to: number
  data: Uint8Array
  wireBytes: number
  sec: number
  nsec: number
  link: number
  /** Offset in the pool it was written from: that of a row, unless the frame left because of another one. */
  off: number
}

export interface PlaneRigOptions {
  engine?: Partial<EngineOptions>
  /** Rows of a batch, default 64. */
  capacity?: number
  /** Does the replay play the outside world? Default: yes, if there is NAT. */
  world?: boolean
  sides?: (frames: Frames) => Sides
  /** False: outlets are null, frames are counted only. */
  outlets?: boolean
  clockNs?: () => number
  /** Bytes for the frames of a batch, default 1 MiB. */
  roomBytes?: number
}

export interface PlaneRig {
  frames: Frames
  counters: Counters
  engine: Engine
  plane: Plane
  /** Every frame that left so far. */
  sent: FrameOut[]
  /** Fills rows 0 … n-1. */
  load(batch: readonly FrameIn[]): void
  /** Loads one batch, runs it, and gives what left by it. */
  put(...batch: FrameIn[]): FrameOut[]
  /** Reason of the drop of row i of the last batch. */
  reason(i?: number): DropReason | null
  count(name: string): number
}

export function createPlaneRig(rigOptions: PlaneRigOptions = {}): PlaneRig {
  const { capacity = 64, outlets = true, clockNs = () => 0, roomBytes = 1 << 20 } = rigOptions
  const scratchStart = roomBytes
  const options = { ...TEST_OPTIONS, ...rigOptions.engine, scratchStart }
  const planeStart = scratchStart + engineScratchBytes(options)
  const frames = createFrames({ capacity, poolBytes: planeStart + PLANE_SCRATCH_BYTES })
  const counters = createCounters()
  const engine = createEngine(options, frames, counters)
  const sent: FrameOut[] = []
  const outlet = (to: number): Outlet => ({
    room: () => true,
    write(off, capBytes, wireBytes, sec, nsec, link) {
      sent.push({ to, data: frames.pool.slice(off, off + capBytes), wireBytes, sec, nsec, link, off })
      return true
    },
  })
  const plane = createPlane({
    frames, counters, engine, sides: rigOptions.sides?.(frames) ?? sidesBySource(frames, options.inside),
    world: rigOptions.world ?? needsWorld(options) ? createWorld(frames, engine, options.inside, options.nat44) : null,
    inside: outlets ? outlet(TO_INSIDE) : null, outside: outlets ? outlet(TO_OUTSIDE) : null,
    scratchStart: planeStart, clockNs,
  })

  function load(batch: readonly FrameIn[]): void {
    let at = 0
    batch.forEach(({ data, sec = 0, nsec = 0, link = LINK_RAW, iface = 0, wireBytes = data.length }, i) => {
      frames.pool.set(data, at)
      frames.off[i] = at
      frames.capBytes[i] = data.length
      frames.wireBytes[i] = wireBytes
      frames.link[i] = link
      frames.iface[i] = iface
      frames.sec[i] = sec
      frames.nsec[i] = nsec
      at += data.length
    })
    if (at > roomBytes || batch.length > capacity) throw new RangeError('the batch is too large')
  }

  function put(...batch: FrameIn[]): FrameOut[] {
    const before = sent.length
    load(batch)
    plane.begin(batch.length)
    plane.run(0, batch.length)
    return sent.slice(before)
  }

  return {
    frames, counters, engine, plane, sent, load, put,
    reason: (i = 0) => frames.verdict[i] === DROP ? DROP_REASONS[frames.reason[i]][0] : null,
    count: (name) => readCounters(counters)[name],
  }
}
