/** What the system has to be like for a live box: interfaces that can be used, and a kernel that leaves their packets alone. */
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { parseAddress, print4, printAddress, type Address } from '../../base/address.ts'
import { deviceError, loadAddon, type LinkState } from '../../phy/addon.ts'
import { DeviceError } from '../../phy/device.ts'
import type { DriverName } from '../../phy/drivers.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { sharedPool } from '../config/assemble-nat.ts'
import type { Config } from '../config/config.ts'

export interface SystemLink {
  name: string
  state: LinkState
  /** Addresses that the kernel has on it, by how we print them. */
  kernel: Map<string, Address>
}

export interface CheckOptions {
  fixOffload: boolean
  log: (line: string) => void
}

interface Offload { name: string; get: number; set: number; bit: number; why: string }

/** Commands of ethtool(8) by ioctl: ask and tell. What joins frames on their way in makes them longer than links take. */
const JOINS = 'joins frames to some that no link takes'
const OFFLOADS = [
  { name: 'gro', get: 0x2b, set: 0x2c, bit: 1, why: JOINS },
  { name: 'lro', get: 0x25, set: 0x26, bit: 1 << 15, why: JOINS },
] as const
/** A program in the driver sees no tag that the hardware has taken off; veth it can ask. */
const TAGS = { name: 'rxvlan', get: 0x25, set: 0x26, bit: 1 << 8, why: 'takes VLAN tags off before XDP sees them' } as const

/** @returns the two links, by SIDE_ constant. @throws DeviceError, Failure */
export function checkSystem(config: Config, driver: DriverName, options: CheckOptions): SystemLink[] {
  const { inside, outside } = config.interfaces!
  const links = [inside.name, outside.name].map((name) => ({ name, state: linkState(name), kernel: kernelAddresses(name) }))
  for (const { name, state, kernel } of links) {
    checkForwarding(name, 'ipv4')
    if ([...inside.addresses, ...outside.addresses].some(({ version }) => version === 6)) checkForwarding(name, 'ipv6')
    checkOffloads(name, OFFLOADS, options)
    if ((driver === 'xdp' || driver === 'xdpdrv') && state.driver !== 'veth') checkOffloads(name, [TAGS], options)
    const taken = outsideOf(config).map(print4).find((address) => kernel.has(address))
    if (taken !== undefined) {
      throw new Failure(STATUS.usage, `the kernel has ${taken} on ${name} too, and would reset the connections of inside hosts `
        + `that use it: ip address del ${taken} dev ${name}`)
    }
  }
  return links
}

function linkState(name: string): LinkState {
  let state: LinkState
  try {
    state = loadAddon().link(name)
  } catch (error) {
    if (error instanceof DeviceError) throw error
    throw deviceError(name, error)
  }
  if (state.isEthernet === 0) throw new DeviceError('not-ethernet', `${name} is no Ethernet interface`)
  if (state.isUp === 0) throw new DeviceError('interface-down', `${name} is down: ip link set ${name} up`)
  return state
}

function kernelAddresses(name: string): Map<string, Address> {
  const known = (networkInterfaces()[name] ?? []).flatMap(({ address }) => {
    const parsed = parseAddress(address.replace(/%.*$/, ''))
    return parsed.ok ? [[printAddress(parsed.value), parsed.value] as const] : []
  })
  return new Map(known)
}

/** The kernel would forward what the box forwards, a second time and without NAT. */
function checkForwarding(name: string, family: 'ipv4' | 'ipv6'): void {
  let text: string
  try {
    text = readFileSync(`/proc/sys/net/${family}/conf/${name}/forwarding`, 'utf8')
  } catch {
    // Without this family there is nothing that forwards.
    return
  }
  if (text.trim() !== '0') {
    throw new Failure(STATUS.usage, `the kernel itself forwards ${family === 'ipv4' ? 'IPv4' : 'IPv6'} packets of ${name}: `
      + `sysctl -w net.${family}.conf.${name.replaceAll('.', '/')}.forwarding=0`)
  }
}

function checkOffloads(name: string, list: readonly Offload[], { fixOffload, log }: CheckOptions): void {
  const addon = loadAddon()
  for (const { name: what, get, set, bit, why } of list) {
    const value = addon.offload(name, get, 0)
    if (value <= 0 || (value & bit) === 0) continue
    if (!fixOffload) {
      throw new Failure(STATUS.usage, `${name}: ${what.toUpperCase()} ${why}: `
        + `ethtool -K ${name} ${what} off, or --fix-offload`)
    }
    try {
      if (addon.offload(name, set, value & ~bit) >= 0 && (addon.offload(name, get, 0) & bit) === 0) {
        log(`${name}: ${what} is switched off`)
        continue
      }
    } catch (error) {
      throw new Failure(STATUS.usage, `${name}: cannot switch off ${what}: ${(error as Error).message}`, { cause: error })
    }
    throw new Failure(STATUS.usage, `${name}: ${what} cannot be switched off`)
  }
}

/** Every outside address that the NAT may show. */
export function outsideOf({ nat, midcom }: Config): number[] {
  if (!nat.nat44) return []
  const statics = nat.statics.flatMap(({ outside, bits }) => Array.from({ length: 2 ** (32 - bits) }, (_, n) => outside + n | 0))
  return [...new Set([...sharedPool(nat), ...statics, ...nat.forwards.map(({ outside }) => outside), ...midcom.addresses])]
}
