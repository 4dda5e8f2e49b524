/** Live interfaces as a source of packets, and where they go: looked at first, opened when there is memory for their frames. */
import type { Prefix } from '../../base/address.ts'
import { DEVICE_COUNTERS, DeviceError, type Device, type DeviceCounter } from '../../phy/device.ts'
import { chooseDriver, type LinkOptions } from '../../phy/drivers.ts'
import type { RecordedLink } from '../../phy/recording.ts'
import { createLiveCounters, LIVE_COUNTERS, type LiveCounter } from '../../plane/live-counters.ts'
import type { Neighbours } from '../../plane/neighbours.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE, type Frames } from '../../wire/frames.ts'
import { Failure, STATUS } from '../cli/status.ts'
import type { LiveFrames } from '../compose.ts'
import type { Config } from '../config/config.ts'
import { insideOf } from '../config/interfaces.ts'
import { filledIn } from './live-addresses.ts'
import { checkSystem, type CheckOptions } from './live-system.ts'
import { createLiveTraffic, liveBytes, type LiveContext, type LiveTraffic } from './live-traffic.ts'

export interface LiveReport {
  links: { name: string; counters: Record<DeviceCounter, number> }[]
  counters: Record<LiveCounter, number>
}

export interface Live {
  /** The settings, and what they leave open and the interfaces have. */
  readonly config: Config
  /** Of the interfaces, by SIDE_ constant. */
  readonly names: readonly [string, string]
  readonly links: readonly RecordedLink[]
  readonly inside: readonly Prefix[]
  readonly frames: LiveFrames
  /** @throws Failure */
  open(frames: Frames, poolStart: number): void
  traffic(context: LiveContext): LiveTraffic
  report(): LiveReport
  close(): void
}

/**
 * Looks at the interfaces that `given` names and at the system, and says what is wrong with them before anything is opened.
 * @throws Failure
 */
export function prepareLive(given: Config, options: CheckOptions): Live {
  const interfaces = given.interfaces!
  const { name, driver } = asUsage(() => chooseDriver(interfaces.driver, options.log))
  const links = asUsage(() => checkSystem(given, name, options))
  const config = filledIn(given, links)
  const ends = links.map(({ name, state, kernel }): LinkOptions => ({
    name, mtu: state.mtu, queues: state.queues, kernel: [...kernel.values()],
  }))
  const shareBytes = asUsage(() => driver.shareBytes(ends))
  const counters = createLiveCounters()
  let devices: Device[] = []
  let poolStart = 0
  let send: Neighbours['send'] = () => { /* nothing leaves before all is open */ }

  const outlet = (side: number): LiveFrames['inside'] => ({
    room: () => true,
    write(...[off, capBytes, , , , , l3]) {
      send(side, l3, off + capBytes - l3)
      return true
    },
  })

  return {
    config,
    names: [interfaces.inside.name, interfaces.outside.name],
    links: links.map(({ name, state }) => ({ name, mac: state.mac })),
    inside: insideOf(interfaces),
    frames: {
      shareBytes: shareBytes + liveBytes(links),
      reserve: (poolBytes) => asUsage(() => driver.reserve(poolBytes)),
      inside: outlet(SIDE_INSIDE), outside: outlet(SIDE_OUTSIDE),
    },
    open(frames, start) {
      poolStart = start
      devices = asUsage(() => driver.open(ends, frames, start, options.log))
    },
    traffic: (context) => createLiveTraffic({
      ...context, config, links, counters, devices: devices as [Device, Device], start: poolStart + shareBytes,
      onSender: (its) => { send = its },
    }),
    report: () => ({
      links: devices.map((device) => ({ name: device.name, counters: byName(DEVICE_COUNTERS, device.counters()) })),
      counters: byName(LIVE_COUNTERS, counters),
    }),
    close() {
      for (const device of devices) device.close()
    },
  }
}

function byName<T extends string>(names: readonly T[], values: Float64Array): Record<T, number> {
  return Object.fromEntries(names.map((name, i) => [name, values[i]])) as Record<T, number>
}

function asUsage<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof DeviceError) throw new Failure(STATUS.usage, error.message, { cause: error })
    throw error
  }
}
