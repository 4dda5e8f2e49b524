/**
 * Bindings that rules hold, as NAT-MIB numbers them (RFC 4008 natAddrBindTable and natAddrPortBindTable): each has a number while a
 * rule holds it, and rules that share one show the same (RFC 5190 5.3.1). Mappings that packets open by themselves are not among
 * them: they come and go on the packet path, which nobody here asks.
 */
import { createOrdered, type Ordered } from '../../../storage/ordered.ts'
import type { Book, SavedRule } from '../../../policy/api.ts'
import type { Oid } from '../oid.ts'

/** NatBindMode. */
export const ADDRESS_BIND = 1, ADDRESS_PORT_BIND = 2
/** Interfaces of the box: A0 is bound to A2 at the outside one, A3 to A1 at the inside one. */
const INSIDE_IF = 1, OUTSIDE_IF = 2
const IPV4 = 1, OCTETS = 4, TCP = 6, UDP = 17
/** NatProtocolType. */
const NAT_UDP = 4, NAT_TCP = 5

export interface Bind {
  readonly id: number
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

/** What a rule binds: `count` ports from `port` on, or the whole address with 0. */
interface Run {
  interface: number; count: number; protocol: number; local: number; localPort: number; global: number; globalPort: number
}

function runsOf(saved: SavedRule): Run[] {
  const { internal, external, outsideBy, outsideAddress, outsidePort, insideBy, insideAddress, insidePort, protocol } = saved
  if (internal === null || external === null) return []
  const runs: Run[] = []
  if (outsideBy === 1 || outsideBy === 2) {
    const count = outsideBy === 1 ? internal.range : 0
    runs.push({
      interface: OUTSIDE_IF, count, protocol, local: internal.word0, localPort: internal.port, global: outsideAddress,
      globalPort: outsidePort,
    })
  }
  if (insideBy === 1 || insideBy === 2) {
    const count = insideBy === 1 ? external.range : 0
    runs.push({
      interface: INSIDE_IF, count, protocol, local: insideAddress, localPort: insidePort, global: external.word0,
      globalPort: external.port,
    })
  }
  return runs
}

function natProtocol(protocol: number): number { return protocol === UDP ? NAT_UDP : protocol === TCP ? NAT_TCP : protocol }

export function createBinds(book: Book): Binds {
  const addresses = createOrdered(order), ports = createOrdered(order)
  const ofRule = new Map<number, Bind[]>()
  let lastId = 0, changes = 0

  function hold(table: Ordered<Bind>, run: Run, offset: number): Bind {
    const { interface: at, count, local, global } = run
    const wanted: Bind = {
      id: 0, mode: count === 0 ? ADDRESS_BIND : ADDRESS_PORT_BIND, interface: at, local: local >>> 0, global: global >>> 0,
      localPort: count === 0 ? 0 : run.localPort + offset, globalPort: count === 0 ? 0 : run.globalPort + offset,
      protocol: count === 0 ? 0 : run.protocol, holders: 0,
    }
    let bind = table.find((other) => order(other, wanted))
    if (bind === undefined) {
      lastId = lastId === 0xffff_ffff ? 1 : lastId + 1
      bind = { ...wanted, id: lastId }
      table.add(bind)
      changes++
    }
    bind.holders++
    return bind
  }

  function enter(rule: number): void {
    if (ofRule.has(rule)) return
    const saved = book.save(rule)
    if (saved === undefined || saved.action !== 'enable') return
    const binds = runsOf(saved).flatMap((run) => run.count === 0 ? [hold(addresses, run, 0)]
      : Array.from({ length: run.count }, (_, offset) => hold(ports, run, offset)))
    if (binds.length > 0) ofRule.set(rule, binds)
  }

  function leave(rule: number): void {
    for (const bind of ofRule.get(rule) ?? []) {
      if (--bind.holders > 0) continue
      ;(bind.mode === ADDRESS_BIND ? addresses : ports).remove(bind)
      changes++
    }
    ofRule.delete(rule)
  }

  for (const rule of book.rules()) enter(rule)
  book.watch((rule, lifetimeSec) => {
    if (lifetimeSec > 0) enter(rule)
    else leave(rule)
  })

  const at = (rule: number, where: number) => ofRule.get(rule)?.find((bind) => bind.interface === where)
  return {
    addresses, ports, changes: () => changes,
    outsideOf: (rule) => at(rule, OUTSIDE_IF), insideOf: (rule) => at(rule, INSIDE_IF),
  }
}
