/** The engine and the plane as the command line composes them, for batches that lie in memory. */
import { createCounters, readCounters } from '../../src/channel/counters.ts'
import { DROP_REASONS } from '../../src/channel/reasons.ts'
import { createChannel, engineOptions } from '../../src/app/compose.ts'
import { defaultConfig } from '../../src/app/config/load.ts'
import { createEngine, engineScratchBytes } from '../../src/engine/engine.ts'
import { SPOOFING_IGNORE } from '../../src/engine/options.ts'
import { PLANE_SCRATCH_BYTES, createPlane } from '../../src/plane/plane.ts'
import { sidesBySource } from '../../src/plane/sides.ts'
import { LINK_ETHERNET, createFrames } from '../../src/wire/frames.ts'
import type { Config } from '../../src/app/config/config.ts'
import type { Capture } from './capture.ts'

export interface MachineOptions {
  flows: number
  poolFirst: number
  poolSize: number
  seed: number
  batchFrames: number
  /** Bytes of a frame, at the most. */
  frameBytes: number
  /** Changes what the other options do not speak of. */
  configure?: (config: Config) => void
}

/** Frames start at multiples of a cache line, as they do in natbase. */
const FRAME_ALIGN = 64

export function benchConfig({ flows, poolFirst, poolSize }: Pick<MachineOptions, 'flows' | 'poolFirst' | 'poolSize'>): Config {
  const config = defaultConfig()
  config.limits.flows = flows
  config.nat.pool = Array.from({ length: poolSize }, (_, i) => poolFirst + i | 0)
  return config
}

const clockNs = () => performance.now() * 1e6

export type Machine = ReturnType<typeof createMachine>

export function createMachine(options: MachineOptions) {
  const { batchFrames, seed } = options
  const config = benchConfig(options)
  options.configure?.(config)
  const frameBytes = (options.frameBytes + FRAME_ALIGN - 1) & -FRAME_ALIGN
  const framesEnd = frameBytes * batchFrames
  const scratch = (engineScratchBytes(config.limits) + 63) & ~63
  const frames = createFrames({ capacity: batchFrames, poolBytes: framesEnd + scratch + PLANE_SCRATCH_BYTES })
  const counters = createCounters()
  const channel = createChannel(config)
  const settings = engineOptions(config, config.inside, seed, framesEnd, channel)
  const sides = sidesBySource(frames, settings.inside)
  settings.spoofing = SPOOFING_IGNORE
  const engine = createEngine(settings, frames, counters)
  const plane = createPlane({
    frames, counters, engine, sides, world: null, inside: null, outside: null,
    scratchStart: framesEnd + scratch, clockNs,
  })
  frames.link.fill(LINK_ETHERNET)
  const { verdict, netBytes, l3, off } = frames
  // The plane counts what leaves while it hands it out, which is not timed; natbase counts inside its measure. So it is done here.
  const left = new Float64Array(4)

  function countLeaving(count: number): void {
    let outPackets = 0, outBytes = 0, inPackets = 0, inBytes = 0
    for (let i = 0; i < count; i++) {
      // TO_INSIDE is 1, TO_OUTSIDE 2, HELD 3. `0 - x`, because `-x` may be -0, which is a float.
      const what = verdict[i]
      const out = what >>> 1 & ~what & 1, back = what & ~(what >>> 1) & 1
      const bytes = netBytes[i] + l3[i] - off[i]
      outPackets += out
      outBytes += bytes & 0 - out
      inPackets += back
      inBytes += bytes & 0 - back
    }
    left[0] += outPackets
    left[1] += outBytes
    left[2] += inPackets
    left[3] += inBytes
  }

  /** Forwards rows 0 … count-1, which lie in the pool. Returns nanoseconds. */
  function run(count: number): number {
    const spent = plane.spentNs()
    plane.begin(count)
    plane.run(0, count)
    const start = clockNs()
    countLeaving(count)
    return plane.spentNs() - spent + clockNs() - start
  }

  /** Copies frames into the pool, as a device would: not timed. */
  function fill(capture: Capture, from: number, count: number, shiftNs: number): void {
    const start = capture.off[from]
    frames.pool.set(capture.bytes.subarray(start, capture.off[from + count]), 0)
    for (let i = 0; i < count; i++) {
      frames.off[i] = capture.off[from + i] - start
      frames.capBytes[i] = capture.capBytes[from + i]
      frames.wireBytes[i] = capture.wireBytes[from + i]
      stamp(i, capture.ns[from + i] + shiftNs)
    }
  }

  /** `ns` since `EPOCH_SEC`, which keeps it exact in a double. */
  function stamp(i: number, ns: number): void {
    const seconds = Math.floor(ns / 1e9)
    frames.sec[i] = EPOCH_SEC + seconds
    frames.nsec[i] = ns - seconds * 1e9
  }

  function clearCounts(): void {
    left.fill(0)
    const kept = readCounters(counters)
    counters.fill(0)
    for (const name of ['flows-opened', 'flows-expired', 'flows-evicted', 'flows-current', 'flows-peak'] as const) {
      counters[Object.keys(kept).indexOf(name)] = kept[name]
    }
  }

  /** Counts as natbase prints them. */
  function counts() {
    const now = readCounters(counters)
    const drops = Object.fromEntries(DROP_REASONS.map(([name]) => [name, now[`drop-${name}-packets`]])
      .filter(([, packets]) => packets !== 0))
    return {
      packets: now['in-inside-packets'] + now['in-outside-packets'],
      bytes: now['in-inside-bytes'] + now['in-outside-bytes'],
      toOutside: { packets: left[0], bytes: left[1] },
      toInside: { packets: left[2], bytes: left[3] },
      dropPackets: now['drop-packets'],
      drops,
      flows: {
        opened: now['flows-opened'], expired: now['flows-expired'], evicted: now['flows-evicted'],
        current: now['flows-current'], peak: now['flows-peak'], capacity: options.flows,
      },
      bytesPerFlow: engine.tableBytes / options.flows,
    }
  }

  return { config, channel, frames, engine, plane, counters, fill, stamp, run, clearCounts, counts }
}

/** Stamps count from here. */
export const EPOCH_SEC = 1_700_000_000
