/** The section `interfaces`: the two links of a live box, and whom packets go to there. */
import {
  maskWord, parseAddress, parsePrefix as readPrefix, printAddress, printPrefix, type Address, type Prefix,
} from '../../base/address.ts'
import { fault, type Parsed, type Range } from './address.ts'
import { DRIVER_CHOICES, type DriverChoice } from '../../phy/drivers.ts'
import { LAST_VLAN, linkName } from '../../phy/vlan.ts'
import { choice, item, list, section, sections, value } from './setting.ts'

/** An address with the length of the prefix that is on its link. */
export interface InterfaceAddress extends Address { prefixBits: number }

export interface LiveInterface {
  name: string
  /** 0: frames without a tag. */
  vlan: number
  addresses: InterfaceAddress[]
}

export interface InterfacesConfig {
  inside: LiveInterface
  outside: LiveInterface
  /** Routers of the default routes, at most one of each version. */
  gateways: Address[]
  routes: { to: Prefix; via: Address }[]
  driver: DriverChoice
}

const NAME_MOST_BYTES = 15
/** In place of a number: frames without a tag. */
export const NO_VLAN = 'none'

const one = (what: string, example: string) => section(what, {
  name: value('interface', example, 'The name that the system has for it.', ''),
  vlan: {
    type: ['integer', 'string'], default: NO_VLAN, examples: [7], pattern: `^([0-9]+|${NO_VLAN})$`,
    description: 'The VLAN of that interface (802.1Q) that is meant: of no others are frames taken, and those sent have its tag. '
      + 'Both sides may have one of the same interface. The system need not have an interface for it.',
    'x-value': { kind: 'vlan', min: '1', max: String(LAST_VLAN), word: NO_VLAN },
  },
  addresses: list(item('interface-address', '10.0.0.1/24', 'An address, and how long the prefix of its link is.'), 16, [],
    [['10.0.0.1/24', '2001:db8:1::1/64']],
    'Addresses of the box there, IPv4 and IPv6. The system need not have them, and must not where nat.pool has them too.'),
})

export const INTERFACES = section(
  'The interfaces of `pinhole run`. What is routed to the inside one is inside there, whatever `inside` says.', {
    inside: one('The link of the inside hosts.', 'in0'),
    outside: one('The link to everybody else.', 'out0'),
    gateways: list(item('address', '203.0.113.254', 'A router on one of the links.'), 2, [], [['203.0.113.254']],
      'Where packets go for which there is no other route: one for IPv4, one for IPv6.'),
    routes: sections('Networks behind other routers.', 1024, 'A network and the router that leads to it.', ['to', 'via'], {
      to: value('prefix', '10.1.0.0/16', 'The network.'),
      via: value('address', '10.0.0.2', 'The router, on one of the links.'),
    }),
    driver: choice('auto', DRIVER_CHOICES, 'How frames come from and go to the interfaces: see docs/live.md.'),
  })

export function parseInterfaceName(text: string): Parsed<string> {
  if (text === '') return { ok: true, value: text }
  const [, name, vlan] = /^([^:]+):(\d+)$/.exec(text) ?? []
  if (name !== undefined) {
    return fault(`'${text}' is no name of an interface`, `did you mean {name: ${name}, vlan: ${vlan}}?`)
  }
  if (Buffer.byteLength(text) > NAME_MOST_BYTES || /[\s/:]/.test(text) || text === '.' || text === '..') {
    return fault(`'${text}' is no name of an interface`, `\`ip link\` lists them; they have at most ${NAME_MOST_BYTES} bytes`)
  }
  return { ok: true, value: text }
}

/** A number that a tag may have; 0 is none. */
export function parseVlan(text: string): Parsed<number> {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : NaN
  if (Number.isNaN(number)) return fault(`'${text}' is not the number of a VLAN`, `write one from 1 to ${LAST_VLAN}`)
  if (number === 0) return fault('a tag with 0 has a priority, and is of no VLAN', `write ${NO_VLAN} for frames without a tag`)
  if (number === LAST_VLAN + 1) return fault(`VLAN ${number} is reserved (802.1Q)`, `write one from 1 to ${LAST_VLAN}`)
  if (number > LAST_VLAN) return fault(`VLAN ${number} is too high: a tag has 12 bits`, `write one from 1 to ${LAST_VLAN}`)
  return { ok: true, value: number }
}

/** `in0`, or `in0:7`: VLAN 7 of it. */
export function parseLinkName(text: string): Parsed<Pick<LiveInterface, 'name' | 'vlan'>> {
  const at = text.indexOf(':')
  const name = parseInterfaceName(at < 0 ? text : text.slice(0, at)), vlan = at < 0 ? null : parseVlan(text.slice(at + 1))
  if (!name.ok) return name
  if (vlan === null) return { ok: true, value: { name: name.value, vlan: 0 } }
  return vlan.ok ? { ok: true, value: { name: name.value, vlan: vlan.value } } : vlan
}

/** `10.0.0.1/24`, `2001:db8:1::1/64`. */
export function parseInterfaceAddress(text: string): Parsed<InterfaceAddress> {
  const parsed = readPrefix(text)
  if (!parsed.ok) {
    return fault(`'${text}' is not an address with a prefix length: ${parsed.reason}`, 'write one such as 10.0.0.1/24')
  }
  const { version, words, prefixBits } = parsed.value
  if (!text.includes('/')) return fault(`'${text}' has no prefix length`, `did you mean ${text}/${version === 4 ? 24 : 64}?`)
  const why = unusable(version, words)
  if (why !== null) return fault(`'${text}' ${why}`)
  const host = words.map((word, i) => word & ~maskWord(prefixBits, i))
  const isShort = prefixBits < (version === 4 ? 31 : 127)
  const isLast = version === 4 && isShort && host[0] === ~maskWord(prefixBits, 0)
  if (isShort && (host.every((word) => word === 0) || isLast)) {
    return fault(`'${text}' is the ${isLast ? 'broadcast address' : 'number'} of its network`, 'write that of a host')
  }
  return { ok: true, value: { version, words, prefixBits } }
}

/** An address of a host, of either version. */
export function parseHostAddress(text: string): Parsed<Address> {
  const parsed = parseAddress(text)
  if (!parsed.ok) return fault(`'${text}' is not an address: ${parsed.reason}`, 'write one such as 203.0.113.254 or fe80::1')
  const why = unusable(parsed.value.version, parsed.value.words)
  return why === null ? parsed : fault(`'${text}' ${why}`)
}

function unusable(version: number, words: Int32Array): string | null {
  const first = words[0] >>> 24
  if (version === 4) {
    if (first === 0) return 'is in 0.0.0.0/8, which is this network'
    if (first === 127) return 'is a loopback address'
    return first >= 224 ? 'is no address of a host' : null
  }
  if (first === 0xff) return 'is a multicast address'
  return (words[0] | words[1] | words[2]) === 0 && words[3] >>> 0 <= 1 ? 'is no address of an interface' : null
}

export function prefixOf({ version, words, prefixBits }: InterfaceAddress): Prefix {
  return { version, words: words.map((word, i) => word & maskWord(prefixBits, i)), prefixBits, hostBits: false }
}

export function holds({ version, words, prefixBits }: Prefix | InterfaceAddress, address: Address): boolean {
  return version === address.version && words.every((word, i) => ((word ^ address.words[i]) & maskWord(prefixBits, i)) === 0)
}

export function isLinkLocal({ version, words }: Address): boolean {
  return version === 6 && words[0] >>> 22 === 0x3fa
}

/** Which link the address is on; a link-local one is on the outside, where routers are. null: on neither. */
export function linkOf({ inside, outside }: InterfacesConfig, address: Address): 'inside' | 'outside' | null {
  if (isLinkLocal(address)) return 'outside'
  if (outside.addresses.some((own) => holds(own, address))) return 'outside'
  return inside.addresses.some((own) => holds(own, address)) ? 'inside' : null
}

/** Prefixes that are reached by the inside interface. */
export function insideOf(interfaces: InterfacesConfig): Prefix[] {
  const behind = interfaces.routes.filter(({ via }) => linkOf(interfaces, via) === 'inside').map(({ to }) => to)
  const all = [...interfaces.inside.addresses.filter((one) => !isLinkLocal(one)).map(prefixOf), ...behind]
  return all.filter((prefix, i) => all.findIndex((other) => printPrefix(other) === printPrefix(prefix)) === i)
}

/** Something that does not fit, at a path below `interfaces`, as `inside.addresses.0`. */
export interface InterfaceFault { path: string; message: string; suggestion?: string }

/** What lies between the settings, and between them and the pool. */
export function interfaceFaults(interfaces: InterfacesConfig, pool: readonly Range[]): InterfaceFault[] {
  const { inside, outside, gateways, routes } = interfaces
  const faults: InterfaceFault[] = []
  const found = (path: string, message: string, suggestion?: string) => {
    faults.push({ path, message, ...suggestion !== undefined && { suggestion } })
  }
  for (const [side, { name, addresses }] of [['inside', inside], ['outside', outside]] as const) {
    if (name === '') found(side, `the ${side} interface has no name`, 'name both interfaces, or none')
    if (addresses.length === 0) found(side, `${name || `the ${side} interface`} has no address`, 'write one such as 10.0.0.1/24')
  }
  if (inside.name === outside.name && inside.name !== '') {
    const other = inside.vlan === 0 ? 'inside' : 'outside'
    if (inside.vlan === outside.vlan) {
      found(inside.vlan === 0 ? 'outside.name' : 'outside.vlan', `${linkName(inside)} is inside already`,
        inside.vlan === 0 ? 'name another one, or a VLAN for each side' : 'name another VLAN')
    } else if (inside.vlan === 0 || outside.vlan === 0) {
      found(`${other}.name`, `both sides are on ${inside.name}, and the ${other} one has no VLAN`, 'name a VLAN for each side')
    }
  }
  const seen = new Set<string>()
  for (const [side, { addresses }] of [['inside', inside], ['outside', outside]] as const) {
    for (const [i, own] of addresses.entries()) {
      const text = printAddress(own)
      if (seen.has(text) && !isLinkLocal(own)) found(`${side}.addresses.${i}`, `${text} is there twice`, 'remove it')
      seen.add(text)
    }
  }
  for (const [i, own] of outside.addresses.entries()) {
    const both = isLinkLocal(own) ? undefined
      : inside.addresses.find((other) => !isLinkLocal(other) && (holds(other, own) || holds(own, other)))
    if (both !== undefined) {
      found(`outside.addresses.${i}`, `${printPrefix(prefixOf(own))} is on both links`, 'each link has prefixes of its own')
    }
  }
  for (const prefix of insideOf(interfaces).filter(({ version }) => version === 4)) {
    const first = prefix.words[0] >>> 0, last = (prefix.words[0] | ~maskWord(prefix.prefixBits, 0)) >>> 0
    const both = pool.find((range) => range.first <= last && range.last >= first)
    if (both !== undefined) {
      found('inside', `addresses of the pool are in ${printPrefix(prefix)}, which is inside`,
        'outside addresses must not be inside ones')
    }
  }
  const own = [...inside.addresses, ...outside.addresses]
  const router = (path: string, address: Address) => {
    const text = printAddress(address)
    if (linkOf(interfaces, address) === null) found(path, `${text} is on neither link`, 'name a router that is')
    else if (own.some((mine) => printAddress(mine) === text)) found(path, `${text} is the box itself`)
  }
  for (const [i, gateway] of gateways.entries()) {
    router(`gateways.${i}`, gateway)
    if (linkOf(interfaces, gateway) === 'inside') {
      found(`gateways.${i}`, `${printAddress(gateway)} is inside`, 'write a route instead')
    }
    if (gateways.findIndex(({ version }) => version === gateway.version) !== i) {
      found(`gateways.${i}`, `this is the second gateway for IPv${gateway.version}`, 'write a route instead')
    }
  }
  for (const [i, { to, via }] of routes.entries()) {
    if (to.version !== via.version) found(`routes.${i}.via`, `${printAddress(via)} leads to no IPv${to.version}`)
    else router(`routes.${i}.via`, via)
  }
  return faults
}
