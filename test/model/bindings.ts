/**
 * Bindings of the model: three lists. Section "Rules (MIDCOM)" of docs/behaviour.md: "Port binding", "Address binding",
 * "Twice-NAT".
 */
import { same, type Endpoint, type Mapping } from './flows.ts'
import type { Addr } from './packet.ts'

/** Protocol `null`: the whole address, and the ports say nothing. */
interface InsideBinding { protocol: number | null; peer: Endpoint; inside: Endpoint; fixed?: true }

export class Bindings {
  /** One port each. Of several for one inside port the first is the one that its own packets take. */
  ports: { protocol: number; local: Endpoint; outside: Endpoint; fixed?: true }[] = []
  addresses: { local: Addr; outside: Addr; fixed?: true }[] = []
  inside: InsideBinding[] = []

  /** How an inside endpoint shall be seen from outside; ICMP has its identifier for a port, port-less protocols 0. */
  mappingOf(protocol: number, inside: Endpoint): Mapping | null {
    const addr = this.addressOf(inside.addr)
    return this.portOf(protocol, inside)
      ?? (addr === null ? null : { protocol, inside, outside: { addr, port: inside.port }, bound: true })
  }

  portOf(protocol: number, inside: Endpoint): Mapping | null {
    const port = this.ports.find(b => b.protocol === protocol && same(b.local, inside))
    return port === undefined ? null : { protocol, inside, outside: port.outside, bound: true }
  }

  addressOf(inside: Addr): Addr | null { return this.addresses.find(b => b.local === inside)?.outside ?? null }

  /** Who is behind an outside endpoint. */
  mappingAt(protocol: number, outside: Endpoint): Mapping | null {
    const port = this.ports.find(b => b.protocol === protocol && same(b.outside, outside))
    if (port !== undefined) return { protocol, inside: port.local, outside, bound: true }
    const address = this.addresses.find(b => b.outside === outside.addr)
    if (address === undefined) return null
    return { protocol, inside: { addr: address.local, port: outside.port }, outside, bound: true }
  }

  /** A3 for an A1. */
  peerAt(protocol: number, inside: Endpoint): Endpoint | null {
    const port = this.inside.find(b => b.protocol === protocol && same(b.inside, inside))
    if (port !== undefined) return port.peer
    const address = this.inside.find(b => b.protocol === null && b.inside.addr === inside.addr)
    return address === undefined ? null : { addr: address.peer.addr, port: inside.port }
  }

  /** Has the configuration a name for an A3? Only if no agent's comes before it. */
  hasFixedName(protocol: number, peer: Endpoint): boolean {
    const name = this.inside.find(b => b.protocol === protocol && same(b.peer, peer))
      ?? this.inside.find(b => b.protocol === null && b.peer.addr === peer.addr)
    return name?.fixed === true
  }

  /** A1 for an A3. Reading: the binding of a port comes before that of its address. */
  shownFor(protocol: number, peer: Endpoint): Endpoint | null {
    const port = this.inside.find(b => b.protocol === protocol && same(b.peer, peer))
    if (port !== undefined) return port.inside
    const address = this.inside.find(b => b.protocol === null && b.peer.addr === peer.addr)
    return address === undefined ? null : { addr: address.inside.addr, port: peer.port }
  }
}
