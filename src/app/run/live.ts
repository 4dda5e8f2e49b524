/** Live interfaces as a source of packets, and where they go: looked at first, opened when there is memory for their frames. */
import type { Prefix } from '../../base/address.ts'
import { DEVICE_COUNTERS, DeviceError, type Device, type DeviceCounter } from '../../phy/device.ts'
import { chooseDriver, type Driver, type DriverName, type LinkOptions } from '../../phy/drivers.ts'
import { spareKernel, type Spared } from '../../phy/program.ts'
import type { RecordedLink } from '../../phy/recording.ts'
import { linkName } from '../../phy/vlan.ts'
import { createLiveCounters, LIVE_COUNTERS, type LiveCounter } from '../../plane/live-counters.ts'
import type { Neighbours } from '../../plane/neighbours.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE, type Frames } from '../../wire/frames.ts'
import { Failure, STATUS } from '../cli/status.ts'
import type { LiveFrames } from '../compose.ts'
import type { Config } from '../config/config.ts'
import { insideOf } from '../config/interfaces.ts'
import { filledIn } from './live-addresses.ts'
import { checkSide, checkSystem, type CheckOptions, type SystemLink } from './live-system.ts'
import { createLiveTraffic, liveBytes, type LiveContext, type LiveTraffic, type Part } from './live-traffic.ts'
import { watchLinks, type LinkWatch } from './link-watch.ts'

export interface LiveReport {
  /** `driver`, as in `packet` or `xdpdrv, copied`: for people. */
  links: { name: string; driver: string; mtu: number; counters: Record<DeviceCounter, number> }[]
  counters: Record<LiveCounter, number>
}

/** What was found before anything is opened. */
export interface Prepared {
  /** The settings, and what they leave open and the interfaces have. */
  config: Config
  links: SystemLink[]
  driver: Driver
  driverName: DriverName
  log: (line: string) => void
  /** Looks at the interface of a side again. @throws DeviceError, Failure */
  find: (side: number) => SystemLink
}

/** One worker's part, and what it has to do with what leaves to the outside. */
export interface LivePart extends Part { turn(p: number, bytes: number): boolean }

export interface Live {
  /** The settings, and what they leave open and the interfaces have. */
  readonly config: Config
  /** Of the interfaces, by SIDE_ constant. */
  readonly names: readonly [string, string]
  readonly inside: readonly Prefix[]
  readonly frames: LiveFrames
  /** @throws Failure */
  open(frames: Frames, poolStart: number): void
  /** What was opened, as in `in0 (packet, MTU 1500)`, by SIDE_ constant. */
  opened(): string[]
  /** `isHerald`: tells both links of the box's addresses. */
  traffic(context: LiveContext, part?: LivePart | null, isHerald?: boolean): LiveTraffic
  report(): LiveReport
  close(): void
}

/**
 * Looks at the interfaces that `given` names and at the system, and says what is wrong with them before anything is opened.
 * @throws Failure
 */
export function prepareLive(given: Config, options: CheckOptions): Prepared {
  const { name, driver } = asUsage(() => chooseDriver(given.interfaces!.driver, options.log))
  const links = asUsage(() => checkSystem(given, name, options))
  const find = (side: number) => checkSide(given, name, side, options)
  return { config: filledIn(given, links), links, driver, driverName: name, log: options.log, find }
}

export function linkOptions(links: readonly SystemLink[]): LinkOptions[] {
  return links.map(({ name, vlan, state, kernel }) =>
    ({ name, vlan, mtu: state.mtu, queues: state.queues, kernel: [...kernel.values()] }))
}

/** As they stand in a recording. */
export function recordedLinks({ links }: Pick<Prepared, 'links'>): RecordedLink[] {
  return links.map((link) => ({ name: linkName(link), mac: link.state.mac }))
}

/** One packet path between the interfaces. `counters` in the order of LIVE_COUNTERS. */
export function createLive(prepared: Omit<Prepared, 'driverName'>, counters = createLiveCounters()): Live {
  const { config, links, driver, log, find } = prepared
  const interfaces = config.interfaces!
  const ends = linkOptions(links)
  const shareBytes = asUsage(() => driver.shareBytes(ends))
  let devices: Device[] = []
  let poolStart = 0
  let part: LivePart | null = null
  let watch: LinkWatch | null = null
  let spared: Spared | null = null
  let send: Neighbours['send'] = () => { /* nothing leaves before all is open */ }

  const outlet = (side: number): LiveFrames['inside'] => ({
    room: () => true,
    write(...[off, capBytes, , , , , l3]) {
      if (part !== null && side === SIDE_OUTSIDE && part.turn(l3, off + capBytes - l3)) return true
      send(side, l3, off + capBytes - l3)
      return true
    },
  })

  return {
    config,
    names: [linkName(interfaces.inside), linkName(interfaces.outside)],
    inside: insideOf(interfaces),
    frames: {
      shareBytes: shareBytes + liveBytes(links),
      reserve: (poolBytes) => asUsage(() => driver.reserve(poolBytes)),
      inside: outlet(SIDE_INSIDE), outside: outlet(SIDE_OUTSIDE),
    },
    open(frames, start) {
      poolStart = start
      devices = asUsage(() => driver.open(ends, frames, start, log))
      if (driver.isBesideKernel) spared = spareKernel(ends, log)
    },
    opened: () => devices.map(linkText),
    traffic: (context, its = null, isHerald = true) => {
      part = its
      const traffic = createLiveTraffic({
        ...context, part, isHerald, config, links, counters, devices: devices as [Device, Device], start: poolStart + shareBytes,
        onSender: (sender) => { send = sender },
      })
      const onRenewed: typeof traffic.renewed = (side, mac) => {
        spared?.renew(side)
        traffic.renewed(side, mac)
      }
      // Of several workers one tells of it.
      if (isHerald) watch = watchLinks({ devices, find, onRenewed, log: context.log })
      return traffic
    },
    report: () => ({
      links: devices.map((device) => {
        const { name, driver, mtu } = device
        return { name, driver, mtu, counters: byName(DEVICE_COUNTERS, device.counters()) }
      }),
      counters: byName(LIVE_COUNTERS, counters),
    }),
    close() {
      watch?.stop()
      spared?.close()
      for (const device of devices) device.close()
    },
  }
}

/** For the line that says that packets pass. */
export function linkText({ name, driver, mtu }: Pick<Device, 'name' | 'driver' | 'mtu'>): string {
  return `${name} (${driver}, MTU ${mtu})`
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
