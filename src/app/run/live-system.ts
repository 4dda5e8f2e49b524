/** What the system has to be like for a live box: interfaces that can be used, and a kernel that leaves their packets alone. */
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { parseAddress, print4, printAddress, type Address } from '../../base/address.ts'
import type { LinkState } from '../../phy/addon.ts'
import { DeviceError } from '../../phy/device.ts'
import type { DriverName } from '../../phy/drivers.ts'
import { kernelVlan, linkState } from '../../phy/link-state.ts'
import { openOffloads, type Offload, type Offloads } from '../../phy/offload.ts'
import { linkName } from '../../phy/vlan.ts'
import { SIDE_INSIDE } from '../../wire/frames.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { sharedPool } from '../config/assemble-nat.ts'
import type { Config } from '../config/config.ts'
import type { LiveInterface } from '../config/interfaces.ts'

export interface SystemLink {
  /** Of the interface. */
  name: string
  /** 0: frames without a tag. */
  vlan: number
  state: LinkState
  /** The kernel's interface that has the same frames: of a VLAN, one above `name`, or null. */
  kernelName: string | null
  /** Addresses that the kernel has there, by how we print them. */
  kernel: Map<string, Address>
}

const JOINS = 'joins frames to some that no link takes'
const WHY: Record<Offload, string> = {
  gro: JOINS, lro: JOINS,
  // A program sees no tag that the hardware has taken off; that in the driver of veth asks for it.
  rxvlan: 'takes VLAN tags off before XDP sees them',
  'rx-vlan-filter': 'keeps frames of VLANs off that the kernel has no interface for',
}
const LABELS: Record<Offload, string> = { gro: 'GRO', lro: 'LRO', rxvlan: 'RXVLAN', 'rx-vlan-filter': 'its VLAN filter' }

/** RFC 8200 5: what a link takes at the least. Of cut packets more pieces would leave than there is room for (engine/egress.ts). */
const LEAST_MTU = 1280

export interface CheckOptions {
  fixOffload: boolean
  log: (line: string) => void
}

/** What is asked of the system: tests have one of their own. */
export interface System {
  linkState: (name: string) => LinkState
  kernelVlan: (name: string, vlan: number) => string | null | undefined
  addresses: (name: string) => Map<string, Address>
  /** Of a setting below /proc/sys/net, as it stands there; null: there is none. */
  setting: (path: string) => string | null
  offloads: () => Offloads | null
}

const SYSTEM: System = { linkState, kernelVlan, addresses: kernelAddresses, setting: kernelSetting, offloads: openOffloads }

/** @returns the two links, by SIDE_ constant. @throws DeviceError, Failure */
export function checkSystem(config: Config, driver: DriverName, options: CheckOptions, system = SYSTEM): SystemLink[] {
  const { inside, outside } = config.interfaces!
  const links = [inside, outside].map((one) => systemLink(one, options, system))
  for (const link of links) checkLink(link, config, driver, options, system)
  return links
}

/** The same of one side. @throws DeviceError, Failure */
export function checkSide(config: Config, driver: DriverName, side: number, options: CheckOptions, system = SYSTEM): SystemLink {
  const { inside, outside } = config.interfaces!
  const link = systemLink(side === SIDE_INSIDE ? inside : outside, options, system)
  checkLink(link, config, driver, options, system)
  return link
}

function checkLink(
  { name, vlan, state, kernelName, kernel }: SystemLink, config: Config, driver: DriverName, options: CheckOptions, system: System,
): void {
  const { inside, outside } = config.interfaces!
  if (kernelName !== null) {
    checkForwarding(kernelName, 'ipv4', system)
    const hasSix = [...inside.addresses, ...outside.addresses].some(({ version }) => version === 6)
    if (hasSix) checkForwarding(kernelName, 'ipv6', system)
  }
  const offloads: Offload[] = ['gro', 'lro']
  if (driver.startsWith('xdp') && state.driver !== 'veth') offloads.push('rxvlan')
  if (vlan !== 0 && kernelName === null) offloads.push('rx-vlan-filter')
  checkOffloads(name, offloads, options, system)
  const taken = outsideOf(config).map(print4).find((address) => kernel.has(address))
  if (taken !== undefined) {
    throw new Failure(STATUS.usage, `the kernel has ${taken} on ${kernelName} too, and would reset the connections of inside `
      + `hosts that use it: ip address del ${taken} dev ${kernelName}`)
  }
}

/** Where the kernel has an interface for the VLAN it takes its packets up the stack; where it has none it drops them. */
function systemLink({ name, vlan }: LiveInterface, { log }: CheckOptions, system: System): SystemLink {
  const state = usableLink(name, system)
  const kernelName = vlan === 0 ? name : system.kernelVlan(name, vlan)
  if (kernelName === undefined) {
    log(`${linkName({ name, vlan })}: whether the kernel has an interface for this VLAN cannot be seen without the compiled driver `
      + 'or root')
  }
  const kernel = typeof kernelName === 'string' ? system.addresses(kernelName) : new Map<string, Address>()
  return { name, vlan, state, kernelName: kernelName ?? null, kernel }
}

function usableLink(name: string, system: System): LinkState {
  const state = system.linkState(name)
  if (state.isEthernet === 0) throw new DeviceError('not-ethernet', `${name} is no Ethernet interface`)
  if (state.isUp === 0) throw new DeviceError('interface-down', `${name} is down: ip link set ${name} up`)
  if (state.mtu < LEAST_MTU) {
    throw new Failure(STATUS.usage, `${name}: an MTU of ${state.mtu} is too little: ip link set ${name} mtu ${LEAST_MTU}`)
  }
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
function checkForwarding(name: string, family: 'ipv4' | 'ipv6', system: System): void {
  // Without this family there is nothing that forwards.
  if ((system.setting(`${family}/conf/${name}/forwarding`) ?? '0') !== '0') {
    throw new Failure(STATUS.usage, `the kernel itself forwards ${family === 'ipv4' ? 'IPv4' : 'IPv6'} packets of ${name}: `
      + `sysctl -w net.${family}.conf.${name.replaceAll('.', '/')}.forwarding=0`)
  }
}

function kernelSetting(path: string): string | null {
  try {
    return readFileSync(`/proc/sys/net/${path}`, 'utf8').trim()
  } catch {
    return null
  }
}

function checkOffloads(name: string, list: readonly Offload[], { fixOffload, log }: CheckOptions, system: System): void {
  const offloads = system.offloads()
  if (offloads === null) return log(`${name}: whether GRO is off cannot be seen without the compiled driver or ethtool`)
  for (const what of list) {
    if (!offloads.isOn(name, what)) continue
    if (!fixOffload) {
      throw new Failure(STATUS.usage, `${name}: ${LABELS[what]} ${WHY[what]}: `
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
