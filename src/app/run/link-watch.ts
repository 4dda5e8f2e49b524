/**
 * An interface that is removed, as those of containers and virtual machines are, and made anew: the system has another one then,
 * of the same name, with an Ethernet address of its own. The box goes on with that, once it is as it has to be at the start.
 */
import type { Device } from '../../phy/device.ts'
import { DeviceError } from '../../phy/device.ts'
import { Failure } from '../cli/status.ts'
import type { SystemLink } from './live-system.ts'

/** How often it is asked whether interfaces are there. */
export const LOOK_MS = 500

export interface LinkWatchOptions {
  /** By SIDE_ constant. */
  devices: readonly Device[]
  /** The interface that has the name of that side's, if it can be used. @throws DeviceError, Failure */
  find: (side: number) => Pick<SystemLink, 'name' | 'state'>
  /** From here on frames of that side come from the new interface. */
  onRenewed: (side: number, mac: readonly number[]) => void
  log: (line: string) => void
}

export interface LinkWatch { stop(): void }

export function watchLinks({ devices, find, onRenewed, log }: LinkWatchOptions): LinkWatch {
  /** What was said last of each side while it has no interface; empty: it has one. */
  const said = devices.map(() => '')

  function say(side: number, line: string): void {
    if (said[side] !== line) log(line)
    said[side] = line
  }

  function look(side: number, device: Device): void {
    const { name, mtu } = device
    if (device.renew === undefined) {
      return say(side, `${name}: the interface was removed; one of that name counts from the next start`)
    }
    if (said[side] === '') say(side, `${name}: the interface was removed; the box waits for one of that name`)
    try {
      const { name: of, state } = find(side)
      if (state.mtu < mtu) return say(side, `${name} is there again with an MTU of ${state.mtu}: ip link set ${of} mtu ${mtu}`)
      device.renew()
      said[side] = ''
      log(`${name} is there again, with the Ethernet address ${macText(state.mac)}`)
      onRenewed(side, state.mac)
    } catch (error) {
      if (error instanceof DeviceError && error.code === 'no-interface') return
      if (!(error instanceof DeviceError || error instanceof Failure)) throw error
      say(side, error.message)
    }
  }

  const timer = setInterval(() => {
    for (const [side, device] of devices.entries()) if (device.isRemoved()) look(side, device)
  }, LOOK_MS).unref()
  return { stop() { clearInterval(timer) } }
}

function macText(mac: readonly number[]): string {
  return mac.map((octet) => octet.toString(16).padStart(2, '0')).join(':')
}
