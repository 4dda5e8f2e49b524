/** What the system has to be like for a live box: interfaces that can be used, and a kernel that leaves their packets alone. */
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { parseAddress, print4, printAddress, type Address } from '../../base/address.ts'
import type { LinkState } from '../../phy/addon.ts'
import { DeviceError } from '../../phy/device.ts'
import type { DriverName } from '../../phy/drivers.ts'
import { linkState } from '../../phy/link-state.ts'
import { openOffloads, type Offload } from '../../phy/offload.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { sharedPool } from '../config/assemble-nat.ts'
import type { Config } from '../config/config.ts'

export interface SystemLink {
  name: string
  state: LinkState
  /** Addresses that the kernel has on it, by how we print them. */
  kernel: Map<string, Address>
}

const JOINS = 'joins frames to some that no link takes'
/** A program in the driver sees no tag that the hardware has taken off; veth it can ask. */
const WHY: Record<Offload, string> = { gro: JOINS, lro: JOINS, rxvlan: 'takes VLAN tags off before XDP sees them' }

export interface CheckOptions {
  fixOffload: boolean
  log: (line: string) => void
}

/** @returns the two links, by SIDE_ constant. @throws DeviceError, Failure */
export function checkSystem(config: Config, driver: DriverName, options: CheckOptions): SystemLink[] {
  const { inside, outside } = config.interfaces!
  const links = [inside.name, outside.name].map((name) => ({ name, state: usableLink(name), kernel: kernelAddresses(name) }))
  for (const { name, state, kernel } of links) {
    checkForwarding(name, 'ipv4')
    if ([...inside.addresses, ...outside.addresses].some(({ version }) => version === 6)) checkForwarding(name, 'ipv6')
    checkOffloads(name, ['gro', 'lro'], options)
    if ((driver === 'xdp' || driver === 'xdpdrv') && state.driver !== 'veth') checkOffloads(name, ['rxvlan'], options)
    const taken = outsideOf(config).map(print4).find((address) => kernel.has(address))
    if (taken !== undefined) {
      throw new Failure(STATUS.usage, `the kernel has ${taken} on ${name} too, and would reset the connections of inside hosts `
        + `that use it: ip address del ${taken} dev ${name}`)
    }
  }
  return links
}

function usableLink(name: string): LinkState {
  const state = linkState(name)
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
  const offloads = openOffloads()
  if (offloads === null) return log(`${name}: whether GRO is off cannot be seen without the compiled driver or ethtool`)
  for (const what of list) {
    if (!offloads.isOn(name, what)) continue
    if (!fixOffload) {
      throw new Failure(STATUS.usage, `${name}: ${what.toUpperCase()} ${WHY[what]}: `
        + `ethtool -K ${name} ${what} off, or --fix-offload`)
    }
    try {
      offloads.switchOff(name, what)
    } catch (error) {
      throw new Failure(STATUS.usage, `${name}: cannot switch off ${what}: ${(error as Error).message}`, { cause: error })
    }
    if (offloads.isOn(name, what)) throw new Failure(STATUS.usage, `${name}: ${what} cannot be switched off`)
    log(`${name}: ${what} is switched off`)
  }
}

/** Every outside address that the NAT may show. */
export function outsideOf({ nat, midcom }: Config): number[] {
  if (!nat.nat44) return []
  const statics = nat.statics.flatMap(({ outside, bits }) => Array.from({ length: 2 ** (32 - bits) }, (_, n) => outside + n | 0))
  return [...new Set([...sharedPool(nat), ...statics, ...nat.forwards.map(({ outside }) => outside), ...midcom.addresses])]
}
