/** The drivers of live interfaces, by the names that `--driver` takes. Another one is another entry. */
import type { Frames } from '../wire/frames.ts'
import { loadAddon } from './addon.ts'
import { DeviceError, type Device } from './device.ts'
import { libpcapDriver } from './libpcap.ts'
import { openPacketDevices, reservePool, ringBytes } from './packet.ts'
import type { ProgramLink } from './program.ts'
import { openXdpDevices, umemBytes, xdpCalls, type XdpMode } from './xdp.ts'

export interface LinkOptions extends ProgramLink {
  /** MTU that the interface has. */
  mtu: number
  /** Queues that receive. */
  queues: number
}

export interface Driver {
  /** Does the kernel have the frames as well, and can be spared them (`spareKernel`)? */
  isBesideKernel: boolean
  /** @throws DeviceError if it is not here, with what to do about it */
  check(): void
  /** Bytes of the pool that the devices need, from an offset that is a multiple of 64 KiB. */
  shareBytes(links: readonly LinkOptions[]): number
  /** Memory for a pool that their frames can lie in. @throws DeviceError */
  reserve(poolBytes: number): ArrayBuffer
  /** Opens the links, each as the `iface` of its place in the list. `log` is told what one should know. @throws DeviceError */
  open(links: readonly LinkOptions[], frames: Frames, start: number, log: (line: string) => void): Device[]
}

const xdp = (mode: XdpMode): Driver => ({
  isBesideKernel: false, check: xdpCalls, shareBytes: umemBytes, reserve: reservePool,
  open: (links, frames, start, log) => openXdpDevices(links, frames, start, mode, log),
})

export const DRIVERS = {
  packet: {
    isBesideKernel: true, check: loadAddon, shareBytes: (links) => ringBytes(links), reserve: reservePool,
    open: (links, frames, start) => openPacketDevices(links, frames, start),
  },
  // As `ip link` calls them.
  xdp: xdp('auto'), xdpdrv: xdp('driver'), xdpgeneric: xdp('generic'),
  libpcap: libpcapDriver,
} satisfies Record<string, Driver>
export type DriverName = keyof typeof DRIVERS
export type DriverChoice = DriverName | 'auto'

/** What `auto` takes: the first that is here. */
const AUTO: readonly DriverName[] = ['packet', 'libpcap']
export const DRIVER_CHOICES = ['auto', ...Object.keys(DRIVERS)] as DriverChoice[]

/** The driver that is wanted; `log` is told why `auto` passes over one. @throws DeviceError */
export function chooseDriver(wanted: DriverChoice, log: (line: string) => void): { name: DriverName; driver: Driver } {
  const names = wanted === 'auto' ? AUTO : [wanted]
  for (const [i, name] of names.entries()) {
    const driver: Driver = DRIVERS[name]
    try {
      driver.check()
      return { name, driver }
    } catch (error) {
      if (!(error instanceof DeviceError) || i === names.length - 1) throw error
      log(`driver ${name}: ${error.message}; trying ${names[i + 1]}`)
    }
  }
  throw new RangeError('there is no driver')
}
