/** The machine of a replay on one screen. Nothing below knows its neighbours. */
import { type Counters, createCounters } from '../channel/counters.ts'
import { createEngine, engineScratchBytes, type Engine } from '../engine/engine.ts'
import {
  CHECKSUM_IGNORE, CHECKSUM_REPAIR_ZERO, CHECKSUM_VERIFY, FILTER_ADDRESS_AND_PORT_DEPENDENT, FILTER_ADDRESS_DEPENDENT,
  FILTER_ENDPOINT_INDEPENDENT, type EngineOptions,
} from '../engine/options.ts'
import { captureBytes } from '../phy/capture-reader.ts'
import { openPcapngWriter, writerBytes, type PcapngWriter } from '../phy/pcapng-writer.ts'
import { PLANE_SCRATCH_BYTES, createPlane, type Plane } from '../plane/plane.ts'
import type { Sides } from '../plane/sides.ts'
import { createWorld } from '../plane/world.ts'
import { createPrefixSet, type Prefix } from '../base/address.ts'
import { createFrames, type Frames } from '../wire/frames.ts'
import type { Config } from './config/config.ts'

/** Frames looked at together. */
export const BATCH_FRAMES = 256
const WRITER_BUFFER_BYTES = 2 * 1024 * 1024

const FILTERS = {
  'endpoint-independent': FILTER_ENDPOINT_INDEPENDENT,
  'address-dependent': FILTER_ADDRESS_DEPENDENT,
  'address-and-port-dependent': FILTER_ADDRESS_AND_PORT_DEPENDENT,
}
const CHECKSUMS = { verify: CHECKSUM_VERIFY, 'repair-zero': CHECKSUM_REPAIR_ZERO, ignore: CHECKSUM_IGNORE }

/** The settings as the engine takes them. */
export function engineOptions(config: Config, inside: readonly Prefix[], seed: number, scratchStart: number): EngineOptions {
  const { box, nat, firewall, timers, limits, checks } = config
  const [word0, word1, word2, word3] = box.address6
  return {
    inside: createPrefixSet(inside),
    nat44: nat.nat44, pool: nat.pool, portLow: nat.ports.first, portHigh: nat.ports.last,
    portPreservation: nat.portPreservation, filtering: FILTERS[nat.filtering], hairpinning: nat.hairpinning,
    outboundPermit: firewall.outbound === 'permit', inboundPermit: firewall.inbound6 === 'permit',
    tcpMidstream: firewall.tcpMidstream,
    ...timers, ...limits,
    ipv4Checksum: CHECKSUMS[checks.ipv4Checksum],
    boxAddress4: box.insideAddress, boxAddress6: [word0, word1, word2, word3],
    seed, scratchStart,
  }
}

export interface ComposeOptions {
  config: Config
  /** Instead of the prefixes of the configuration. */
  inside: readonly Prefix[]
  seed: number
  /** Which side a frame came from; made once the frames exist. */
  sides: (frames: Frames, inside: EngineOptions['inside']) => Sides
  outInside: string | undefined
  outOutside: string | undefined
  clockNs: () => number
  /** Opens the source of frames in its part of the pool. The outputs are emptied after that, so it may yet refuse. */
  openInput: (frames: Frames, share: PoolShare) => Promise<void>
}

export interface PoolShare { poolStart: number; poolEnd: number }

export interface Machine {
  frames: Frames
  counters: Counters
  engine: Engine
  plane: Plane
  writers: { inside: PcapngWriter | null; outside: PcapngWriter | null }
}

export async function compose(options: ComposeOptions): Promise<Machine> {
  const { config, inside, seed } = options
  let poolBytes = 0
  const share = (bytes: number) => (poolBytes += bytes + 63 & ~63) - (bytes + 63 & ~63)
  const sourceStart = share(captureBytes())
  const insideStart = share(options.outInside === undefined ? 0 : writerBytes(WRITER_BUFFER_BYTES))
  const outsideStart = share(options.outOutside === undefined ? 0 : writerBytes(WRITER_BUFFER_BYTES))
  const engineStart = share(engineScratchBytes(config.limits))
  const planeStart = share(PLANE_SCRATCH_BYTES)

  const frames = createFrames({ capacity: BATCH_FRAMES, poolBytes })
  const counters = createCounters()
  const settings = engineOptions(config, inside, seed, engineStart)
  const engine = createEngine(settings, frames, counters)
  await options.openInput(frames, { poolStart: sourceStart, poolEnd: sourceStart + captureBytes() })
  const writer = (path: string | undefined, poolStart: number, ifName: string) => path === undefined ? null
    : openPcapngWriter(path, frames, { poolStart, poolEnd: poolStart + writerBytes(WRITER_BUFFER_BYTES), ifName })
  const towardsInside = await writer(options.outInside, insideStart, 'inside')
  let towardsOutside: PcapngWriter | null
  try {
    towardsOutside = await writer(options.outOutside, outsideStart, 'outside')
  } catch (error) {
    await towardsInside?.close()
    throw error
  }
  const writers = { inside: towardsInside, outside: towardsOutside }
  const plane = createPlane({
    frames, counters, engine, sides: options.sides(frames, settings.inside),
    world: config.nat.nat44 ? createWorld(frames, engine, settings.inside) : null,
    ...writers, scratchStart: planeStart, clockNs: options.clockNs,
  })
  return { frames, counters, engine, plane, writers }
}
