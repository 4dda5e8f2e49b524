/** From good settings of the section `nat` to its part of `Config`. */
import type { Prefix } from '../../base/address.ts'
import type { NatOptions, PeerAlias, PortForward } from '../../engine/nat-options.ts'
import type { PolicyOptions } from '../../policy/options.ts'
import type { Range } from './address.ts'
import type { Config, Filtering } from './config.ts'
import type { End, Hosts } from './ends.ts'
import type { Ports } from './quantity.ts'
import type { Reader } from './reader.ts'

const TCP = 6, UDP = 17
const PROTOCOLS = { tcp: [TCP], udp: [UDP], both: [TCP, UDP] } as const
type ProtocolName = keyof typeof PROTOCOLS

/** @param read reads settings of the whole, or of an entry of a list */
export function assembleNat(read: (data: unknown, before: string) => Reader, data: unknown): Config['nat'] {
  const { plain, value, list } = read(data, '')
  const entries = (path: string) => plain<unknown[]>(path).map((entry) => read(entry, `${path}[].`))
  return {
    nat44: plain('nat.nat44'),
    pool: list<Range>('nat.pool')!.flatMap(rangeWords),
    pools: entries('nat.pools').map((one) => ({
      inside: one.list<Hosts>('inside')!, addresses: one.list<Range>('addresses')!.flatMap(rangeWords),
      hostsPerAddress: one.value<number>('hosts-per-address'),
    })),
    ports: value('nat.ports'),
    reserve: list<Ports>('nat.reserve')!,
    portBlock: value('nat.port-block'), portBlocksPerHost: value('nat.port-blocks-per-host'), portHold: plain('nat.port-hold'),
    portPreservation: plain('nat.port-preservation'),
    filtering: plain<Filtering>('nat.filtering'),
    tcpFiltering: plain<string>('nat.tcp-filtering') === 'same' ? plain('nat.filtering') : plain('nat.tcp-filtering'),
    hairpinning: plain('nat.hairpinning'),
    identification: plain('nat.identification'),
    statics: entries('nat.static').map((one) => {
      const { address, bits } = one.value<Hosts>('inside')
      return { inside: address, outside: one.value<Hosts>('outside').address, bits, from: one.list<Hosts>('from')! }
    }),
    forwards: entries('nat.forwards').flatMap((one): PortForward[] => {
      const outside = one.value<End>('outside'), inside = one.value<End>('inside'), from = one.list<Hosts>('from')!
      return PROTOCOLS[one.plain<ProtocolName>('protocol')].map((protocol) => ({
        protocol, outside: outside.address, outsidePort: outside.first, inside: inside.address, insidePort: inside.first,
        count: outside.last - outside.first + 1, from,
      }))
    }),
    untranslated: entries('nat.untranslated').map((one) => {
      const { first, last } = one.value<Ports>('ports'), protocol = one.value<number>('protocol')
      const peer = one.value<Hosts>('outside')
      return { inside: one.value<Hosts>('inside'), peer, protocol: protocol || -1, peerPorts: { low: first, high: last } }
    }),
    aliases: entries('nat.aliases').flatMap((one) => aliasesOf(one.value('alias'), one.value('outside'), one.plain('protocol'))),
    npt6: entries('nat.npt6').map((one) => {
      const inside = one.value<Prefix>('inside'), outside = one.value<Prefix>('outside')
      return {
        inside: [inside.words[0]!, inside.words[1]!], insideBits: inside.prefixBits,
        outside: [outside.words[0]!, outside.words[1]!], outsideBits: outside.prefixBits,
      }
    }),
  }
}

function aliasesOf(alias: End, peer: End, protocol: ProtocolName): PeerAlias[] {
  if (alias.first < 0) {
    return Array.from({ length: 2 ** (32 - alias.bits) }, (_, n) =>
      ({ protocol: 0, alias: alias.address + n | 0, aliasPort: 0, peer: peer.address + n | 0, peerPort: 0, count: 0 }))
  }
  return PROTOCOLS[protocol].map((one) => ({
    protocol: one, alias: alias.address, aliasPort: alias.first, peer: peer.address, peerPort: peer.first,
    count: alias.last - alias.first + 1,
  }))
}

export function rangeWords({ first, last }: Range): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i | 0)
}

/** Outside addresses that hosts share: of the pool, then of the other pools. */
export function sharedPool({ pool, pools }: Config['nat']): number[] {
  return [...pool, ...pools.flatMap(({ addresses }) => addresses)]
}

/** The section as the engine takes it. */
export function natOptions(nat: Config['nat']): NatOptions {
  const { pool, pools, reserve, statics, forwards, untranslated, aliases } = nat
  let first = pool.length
  const parts = pools.map(({ inside, addresses, hostsPerAddress }) => {
    const part = { inside, first, size: addresses.length, hostsPerAddress }
    first += addresses.length
    return part
  })
  return {
    pools: [{ inside: [], first: 0, size: pool.length, hostsPerAddress: 0 }, ...parts],
    reserved: reserve.map((one) => ({ low: one.first, high: one.last })), statics, forwards, untranslated, aliases,
  }
}

/** What policy has to know of it: which host has which addresses, and what is bound already. */
export function fixedForPolicy(nat: Config['nat']): Pick<PolicyOptions, 'pools' | 'fixedOutside' | 'fixedInside'> {
  if (!nat.nat44) return {}
  const { pools, statics, forwards, aliases } = natOptions(nat)
  return {
    pools,
    fixedOutside: [
      ...forwards.map(({ protocol, inside, insidePort, outside, outsidePort, count }) =>
        ({ protocol, real: inside, realPort: insidePort, shown: outside, shownPort: outsidePort, count })),
      ...statics.flatMap(({ inside, outside, bits }) => Array.from({ length: 2 ** (32 - bits) }, (_, n) =>
        ({ protocol: 0, real: inside + n | 0, realPort: 0, shown: outside + n | 0, shownPort: 0, count: 0 }))),
    ],
    fixedInside: aliases.map(({ protocol, peer, peerPort, alias, aliasPort, count }) =>
      ({ protocol, real: peer, realPort: peerPort, shown: alias, shownPort: aliasPort, count })),
  }
}
