/** What the interfaces of a live box make of its settings: routes, the addresses that are its own, and those that its NAT shows. */
import { printAddress, type Address } from '../../base/address.ts'
import type { Device } from '../../phy/device.ts'
import type { LinkEnd } from '../../plane/neighbours.ts'
import type { OwnAddress } from '../../plane/own.ts'
import type { Route } from '../../plane/routes.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import type { Config } from '../config/config.ts'
import { holds, isLinkLocal, linkOf, prefixOf, type InterfacesConfig } from '../config/interfaces.ts'
import { outsideOf, type SystemLink } from './live-system.ts'

/** RFC 7600: what a box without an address speaks from. */
export const DUMMY = 0xc0000008 | 0
/** Of IP. */
const MOST_MTU = 65_535

/** Settings that nobody has set: the box speaks from its own addresses, and knows how long a packet its links take. */
export function filledIn(config: Config, links: readonly SystemLink[]): Config {
  const { box } = config
  const { inside, outside } = config.interfaces!
  const first4 = inside.addresses.find(({ version }) => version === 4)
  const isGlobal = (one: Address) => one.version === 6 && !isLinkLocal(one)
  const first6 = outside.addresses.find(isGlobal) ?? inside.addresses.find(isGlobal)
  const isUnset6 = printAddress({ version: 6, words: box.address6 }) === 'fe80::1'
  const limit = (set: number, mtu: number) => Math.min(set || MOST_MTU, mtu, MOST_MTU)
  return {
    ...config,
    box: {
      ...box,
      insideAddress: box.insideAddress === DUMMY ? first4?.words[0] ?? DUMMY : box.insideAddress,
      address6: isUnset6 && first6 !== undefined ? first6.words : box.address6,
      mtuInside: limit(box.mtuInside, links[SIDE_INSIDE].state.mtu),
      mtuOutside: limit(box.mtuOutside, links[SIDE_OUTSIDE].state.mtu),
    },
  }
}

export function routesOf(interfaces: InterfacesConfig): Route[] {
  const side = (name: 'inside' | 'outside' | null) => name === 'inside' ? SIDE_INSIDE : SIDE_OUTSIDE
  const links = (['inside', 'outside'] as const).flatMap((name) => interfaces[name].addresses.map((own): Route =>
    ({ ...prefixOf(own), side: side(name), via: null })))
  const behind = interfaces.routes.map(({ to, via }): Route => ({ ...to, side: side(linkOf(interfaces, via)), via: via.words }))
  const rest = interfaces.gateways.map(({ version, words }): Route =>
    ({ side: SIDE_OUTSIDE, version, words: new Int32Array(words.length), prefixBits: 0, via: words }))
  return [...links, ...behind, ...rest]
}

/** RFC 4291 appendix A: the link-local address that an Ethernet address makes. */
function linkLocalOf(mac: readonly number[]): Int32Array {
  return Int32Array.of(0xfe800000 | 0, 0, (mac[0] ^ 2) << 24 | mac[1] << 16 | mac[2] << 8 | 0xff,
    0xfe << 24 | mac[3] << 16 | mac[4] << 8 | mac[5])
}

export function linkEnd(interfaces: InterfacesConfig, side: number, device: Device, link: SystemLink): LinkEnd {
  const { addresses } = side === SIDE_INSIDE ? interfaces.inside : interfaces.outside
  const own4 = addresses.filter(({ version }) => version === 4), own6 = addresses.filter(({ version }) => version === 6)
  return {
    mac: link.state.mac,
    source4(target) {
      const address = { version: 4 as const, words: Int32Array.of(target) }
      return (own4.find((own) => holds(own, address)) ?? own4[0])?.words[0] ?? 0
    },
    source6: own6.length === 0 ? null : own6.find(isLinkLocal)?.words ?? linkLocalOf(link.state.mac),
    send: device.send,
  }
}

/** Those of the interfaces; IPv6 has a link-local one on each link too. */
export function ownAddresses(config: Config, links: readonly SystemLink[]): OwnAddress[] {
  const shared = new Set(outsideOf(config))
  const { inside, outside } = config.interfaces!
  return [SIDE_INSIDE, SIDE_OUTSIDE].flatMap((side) => {
    const { addresses } = side === SIDE_INSIDE ? inside : outside
    const { kernel, state } = links[side]
    const all = addresses.some(({ version }) => version === 6) && !addresses.some(isLinkLocal)
      ? [...addresses, { version: 6 as const, words: linkLocalOf(state.mac), prefixBits: 64 }] : addresses
    return all.map(({ version, words }): OwnAddress => {
      const isKernels = kernel.has(printAddress({ version, words }))
      return { side, version, words, isKernels, isShared: version === 4 && shared.has(words[0]) }
    })
  })
}

/** What the NAT shows, by SIDE_ constant: inside, addresses that stand for outside hosts. */
export function shownAddresses(config: Config): [number[], number[]] {
  const { nat, midcom } = config
  return nat.nat44 ? [[...midcom.insidePool, ...nat.aliases.map(({ alias }) => alias)], outsideOf(config)] : [[], []]
}
