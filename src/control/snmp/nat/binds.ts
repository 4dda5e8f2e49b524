/**
 * Bindings that rules hold, as NAT-MIB numbers them (RFC 4008 natAddrBindTable and natAddrPortBindTable): each has a number while a
 * rule holds it, and rules that share one show the same (RFC 5190 5.3.1). Mappings that packets open by themselves are not among
 * them: they come and go on the packet path, which nobody here asks.
 */
import { createOrdered, type Ordered } from '../../../storage/ordered.ts'
import type { Book } from '../../../policy/api.ts'
import type { Backlog } from '../backlog.ts'
import type { Oid } from '../oid.ts'

/** NatBindMode. */
export const ADDRESS_BIND = 1, ADDRESS_PORT_BIND = 2
/** Interfaces of the box: A0 is bound to A2 at the outside one, A3 to A1 at the inside one. */
const INSIDE_IF = 1, OUTSIDE_IF = 2
const IPV4 = 1, OCTETS = 4, TCP = 6, UDP = 17
/** What SavedRule says of A2 and A1. */
const BY_PORTS = 1, BY_ADDRESS = 2
/** NatProtocolType. */
const NAT_UDP = 4, NAT_TCP = 5

export interface Bind {
  /** Given when it is entered. */
  id: number
  readonly mode: number
  readonly interface: number
  /** Towards the inside: A0, or A1; as an unsigned number, like all addresses here. */
  readonly local: number
  readonly localPort: number
  /** IANA number, 0 in an address bind. */
  readonly protocol: number
  /** Towards the outside: A2, or A3. */
  readonly global: number
  readonly globalPort: number
  /** Rules that hold it. */
  holders: number
}

export interface Binds {
  readonly addresses: Ordered<Bind>
  readonly ports: Ordered<Bind>
  /** A0 to A2 of a rule, the lowest port of several; undefined: it has none. */
  outsideOf(rule: number): Bind | undefined
  /** A3 to A1. */
  insideOf(rule: number): Bind | undefined
  /** Grows whenever a binding comes or goes. */
  changes(): number
}

export function octetsOf(address: number): number[] {
  return [address >>> 24, address >>> 16 & 255, address >>> 8 & 255, address & 255]
}

/** Its index in the table that it stands in. */
export function bindIndex({ interface: at, mode, local, localPort, protocol }: Bind): Oid {
  return [at, IPV4, OCTETS, ...octetsOf(local), ...mode === ADDRESS_BIND ? [] : [localPort, natProtocol(protocol)]]
}

/** As their indices stand. Those of one table: numbers alone, for each rule that comes or goes asks this some dozen times. */
function order(a: Bind, b: Bind): number {
  return a.interface - b.interface || a.local - b.local || a.localPort - b.localPort
    || natProtocol(a.protocol) - natProtocol(b.protocol)
}

function natProtocol(protocol: number): number { return protocol === UDP ? NAT_UDP : protocol === TCP ? NAT_TCP : protocol }

export function createBinds(book: Book, backlog: Backlog): Binds {
  const addresses = createOrdered(order), ports = createOrdered(order)
  /** Most rules hold one. */
  const ofRule = new Map<number, Bind | Bind[]>()
  let lastId = 0, changes = 0

  function hold(rule: number, wanted: Bind): void {
    const bind = (wanted.mode === ADDRESS_BIND ? addresses : ports).enter(wanted)
    if (bind === wanted) {
      bind.id = lastId = lastId === 0xffff_ffff ? 1 : lastId + 1
      changes++
    }
    bind.holders++
    const held = ofRule.get(rule)
    if (held === undefined) ofRule.set(rule, bind)
    else if (Array.isArray(held)) held.push(bind)
    else ofRule.set(rule, [held, bind])
  }

  /** `count` ports from these on, or with 0 the whole addresses. */
  function holdRun(
    rule: number, at: number, count: number, protocol: number, local: number, localPort: number, global: number, globalPort: number,
  ): void {
    const mode = count === 0 ? ADDRESS_BIND : ADDRESS_PORT_BIND
    for (let n = 0; n < Math.max(1, count); n++) {
      hold(rule, {
        id: 0, mode, interface: at, local: local >>> 0, localPort: count === 0 ? 0 : localPort + n,
        protocol: count === 0 ? 0 : protocol, global: global >>> 0, globalPort: count === 0 ? 0 : globalPort + n, holders: 0,
      })
    }
  }

  function enter(rule: number): void {
    if (ofRule.has(rule)) return
    const saved = book.save(rule)
    if (saved === undefined || saved.action !== 'enable') return
    const { internal, external, outsideBy, insideBy, protocol } = saved
    if (internal === null || external === null) return
    if (outsideBy === BY_PORTS || outsideBy === BY_ADDRESS) {
      const count = outsideBy === BY_PORTS ? internal.range : 0
      holdRun(rule, OUTSIDE_IF, count, protocol, internal.word0, internal.port, saved.outsideAddress, saved.outsidePort)
    }
    if (insideBy === BY_PORTS || insideBy === BY_ADDRESS) {
      const count = insideBy === BY_PORTS ? external.range : 0
      holdRun(rule, INSIDE_IF, count, protocol, saved.insideAddress, saved.insidePort, external.word0, external.port)
    }
  }

  function letGo(bind: Bind): void {
    if (--bind.holders > 0) return
    ;(bind.mode === ADDRESS_BIND ? addresses : ports).remove(bind)
    changes++
  }

  function leave(rule: number): void {
    const held = ofRule.get(rule)
    if (held === undefined) return
    if (Array.isArray(held)) held.forEach(letGo)
    else letGo(held)
    ofRule.delete(rule)
  }

  for (const rule of book.rules()) enter(rule)
  backlog.add({
    heard(rule, lifetimeSec) {
      if (lifetimeSec > 0) enter(rule)
      else leave(rule)
    },
  })

  function at(rule: number, where: number): Bind | undefined {
    const held = ofRule.get(rule)
    return Array.isArray(held) ? held.find((bind) => bind.interface === where) : held?.interface === where ? held : undefined
  }
  return {
    addresses, ports, changes: () => changes,
    outsideOf: (rule) => at(rule, OUTSIDE_IF), insideOf: (rule) => at(rule, INSIDE_IF),
  }
}
