/**
 * Flows of the model: a list of slots that is searched from one end to the other. A mapping is not kept anywhere: it is
 * what the flows of one inside endpoint have in common, so that it ends with the last of them by itself. Sections of
 * docs/behaviour.md: "Flows and mappings", "Ports", "Full table", and of "Rules (MIDCOM)" what a flow keeps.
 */
import type { DropReason } from '../../src/channel/reasons.ts'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import { plainNat, type NatOptions } from '../../src/engine/nat-options.ts'
import { pairedIndexOf } from './fixed.ts'
import { addrOf, ICMP, type Addr } from './packet.ts'
import type { Opener } from './firewall.ts'
import type { TcpState, Way } from './tcp.ts'
import type { Ends } from './window.ts'

export interface Endpoint { addr: Addr; port: number }
/** `bound`: by a port or address binding, else dynamic. */
export interface Mapping { protocol: number; inside: Endpoint; outside: Endpoint; bound: boolean }
/** One direction of a flow: the rule it belongs to (0: none), the number of that event, and whether nothing may pass. */
export interface Half { rule: number; since: number; blocked: boolean }
export interface Flow {
  version: 4 | 6
  protocol: number
  inside: Endpoint
  peer: Endpoint
  /** `null` where nothing is translated. */
  mapping: Mapping | null
  deadline: number
  tcp: TcpState | null
  openedBy: Way
  /** TCP that was never open: its source if that is counted, else ''; null: it is none. */
  halfOpen: string | null
  ends: Ends | null
  halves: Record<Way, Half>
  /** Does it show A1 to the inside (twice-NAT)? */
  twice: boolean
  /** Number of its opening. */
  born: number
  /** The packet that opened it, if firewall rules were asked about it, and the one that admitted it; 0: none. */
  opener: Opener | null
  admittedBy: number
}

export function same(a: Endpoint, b: Endpoint): boolean { return a.addr === b.addr && a.port === b.port }

export function sameMapping(a: Mapping, b: Mapping): boolean {
  return a.protocol === b.protocol && same(a.inside, b.inside) && same(a.outside, b.outside)
}

export interface FlowsOptions {
  capacity: number
  pool: readonly number[]
  portLo: number
  portHi: number
  portPreservation: boolean
  seed: number
  /** Ports of UDP and TCP that no dynamic mapping takes, on every address of the pool. */
  midcom: { portLo: number; portHi: number } | null
  nat?: NatOptions | null
  keepsFlows?: boolean
}

export class Flows {
  /** By slot number, from 1; slot 0 is not one. */
  readonly slots: (Flow | null)[]
  private readonly free: number[] = []
  private hand = 1
  private readonly options: FlowsOptions
  private readonly prng: Prng
  /** Slots that were taken from a living flow; for tests. */
  evicted = 0

  constructor(options: FlowsOptions) {
    this.options = options
    const { capacity } = options
    this.slots = new Array<Flow | null>(capacity + 1).fill(null)
    // The end of the list is taken first: 1, 2, … n at the start, later what was freed last.
    for (let slot = capacity; slot >= 1; slot--) this.free.push(slot)
    this.prng = createPrng(options.seed)
  }

  all(): Flow[] { return this.slots.filter(flow => flow !== null) }

  find(wanted: (flow: Flow) => boolean): Flow | null { return this.all().find(wanted) ?? null }

  /** Of two mappings the bound one, which new flows take. */
  mappingOf(protocol: number, inside: Endpoint): Mapping | null {
    const of = this.all().filter(f => f.mapping !== null && f.protocol === protocol && same(f.inside, inside))
    return (of.find(f => f.mapping?.bound) ?? of[0])?.mapping ?? null
  }

  mappingAt(protocol: number, outside: Endpoint): Mapping | null {
    const holds = (m: Mapping | null) => m !== null && m.protocol === protocol && same(m.outside, outside)
    return this.find(f => holds(f.mapping))?.mapping ?? null
  }

  flowsOf(mapping: Mapping): Flow[] { return this.all().filter(f => f.mapping !== null && sameMapping(f.mapping, mapping)) }

  /** Frees what has passed its deadline. Reading: by deadline, and by slot where deadlines are equal. */
  expire(nowMs: number): void {
    const passed = this.all().filter(flow => ((flow.deadline - nowMs) | 0) <= 0)
    passed.sort((a, b) => a.deadline - b.deadline | 0)      // `all` is in order of slots, and the sort is stable
    for (const flow of passed) this.release(this.slots.indexOf(flow))
  }

  /** Ends a flow before its time. */
  end(flow: Flow): void { this.release(this.slots.indexOf(flow)) }

  private release(slot: number): void {
    this.slots[slot] = null
    this.free.push(slot)
  }

  add(flow: Flow): void {
    const slot = this.free.pop()
    if (slot === undefined) throw new Error('no room was made')
    this.slots[slot] = flow
  }

  /** In a full table another flow is given up, but never `inUse`. A reason: none is, and there is no room. */
  makeRoom(nowMs: number, inUse: Flow | null): DropReason | null {
    if (this.free.length > 0) return null
    const { capacity, keepsFlows = false } = this.options
    if (keepsFlows) return 'flow-table-full'
    let victim = 0, least = Infinity
    for (let step = 0; step < 8; step++) {
      const slot = (this.hand - 1 + step) % capacity + 1, flow = this.slots[slot]
      if (flow === null || flow === inUse) continue
      const leftMs = (flow.deadline - nowMs) | 0
      if (leftMs < least) {
        least = leftMs
        victim = slot
      }
    }
    this.hand = (this.hand - 1 + 8) % capacity + 1
    this.evicted++
    this.release(victim)
    return null
  }

  /** The outside address of an inside host (RFC 4787 REQ-2). */
  pairedAddr(inside: Addr): Addr {
    const { pool, seed, nat } = this.options
    return addrOf([pool[pairedIndexOf(nat ?? plainNat(pool.length), inside, seed)]])
  }

  /** An outside port on `addr` for inside port `p`, or `null`. */
  freePort(protocol: number, addr: Addr, p: number): number | null {
    const { portLo, portHi, portPreservation, midcom, nat } = this.options
    const [lo, hi] = protocol === ICMP ? [0, 65535] : p <= 1023 ? [1, 1023] : [portLo, portHi]
    const taken = new Set(this.all()
      .filter(f => f.mapping !== null && f.protocol === protocol && f.mapping.outside.addr === addr)
      .map(f => f.mapping?.outside.port))
    const { reserved = [], forwards = [] } = nat ?? {}
    const kept = [...reserved, ...midcom === null ? [] : [{ low: midcom.portLo, high: midcom.portHi }], ...forwards
      .filter(f => f.protocol === protocol && addrOf([f.outside]) === addr)
      .map(f => ({ low: f.outsidePort, high: f.outsidePort + f.count - 1 }))]
    if (protocol !== ICMP) for (const { low, high } of kept) for (let port = low; port <= high; port++) taken.add(port)
    if (portPreservation && p >= lo && p <= hi && !taken.has(p)) return p
    const start = lo + this.prng.below(hi - lo + 1)
    for (const parity of [p % 2, 1 - p % 2]) {
      for (let port = start; port <= hi; port++) if (port % 2 === parity && !taken.has(port)) return port
      for (let port = lo; port < start; port++) if (port % 2 === parity && !taken.has(port)) return port
    }
    return null
  }
}
