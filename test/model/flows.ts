/**
 * Flows of the model: a list of slots that is searched from one end to the other. A mapping is not kept anywhere: it is
 * what the flows of one inside endpoint have in common, so that it ends with the last of them by itself. Sections of
 * docs/behaviour.md: "Flows and mappings", "Ports", "Full table", and of "Rules (MIDCOM)" what a flow keeps.
 */
import type { DropReason } from '../../src/channel/reasons.ts'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import { plainNat, type NatOptions } from '../../src/engine/nat-options.ts'
import type { PortBlocks, PortHold } from '../../src/engine/options.ts'
import { hostNumberOf, pairedIndexOf, poolOf } from './fixed.ts'
import { addrOf, ICMP, TCP, UDP, type Addr } from './packet.ts'
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
  /** Has the end that did not open it sent? */
  answered: boolean
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

export interface Block { addr: Addr; number: number; owner: Addr }
export interface Held { protocol: number; addr: Addr; port: number; block: Block | null; owner: Addr; until: number }

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
  filtering: string
  portHold?: PortHold | null
  portBlocks?: PortBlocks | null
}

export class Flows {
  /** By slot number, from 1; slot 0 is not one. */
  readonly slots: (Flow | null)[]
  private readonly free: number[] = []
  private hand = 1
  private nowMs = 0
  /** Blocks of ports that hosts have, in order of opening; ports or blocks that were given up and wait, the oldest first. */
  blocks: Block[] = []
  held: Held[] = []
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
    this.nowMs = nowMs
    this.held = this.held.filter(({ until }) => ((until - nowMs) | 0) > 0)
    const passed = this.all().filter(flow => ((flow.deadline - nowMs) | 0) <= 0)
    passed.sort((a, b) => a.deadline - b.deadline | 0)      // `all` is in order of slots, and the sort is stable
    for (const flow of passed) this.release(this.slots.indexOf(flow))
  }

  /** Ends a flow before its time. */
  end(flow: Flow): void { this.release(this.slots.indexOf(flow)) }

  private release(slot: number): void {
    const mapping = this.slots[slot]?.mapping ?? null
    this.slots[slot] = null
    this.free.push(slot)
    if (mapping === null || mapping.bound || !isPorted(mapping.protocol)) return
    if (this.flowsOf(mapping).length === 0) this.letGo(mapping)
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

  /** An outside port on `addr` for port `p` of an inside host, or `null`. */
  freePort(protocol: number, addr: Addr, p: number, inside: Addr): number | null {
    const { portLo, portHi, portPreservation, nat } = this.options
    const taken = new Set([...this.kept(protocol, addr), ...this.all()
      .filter(f => f.mapping !== null && f.protocol === protocol && f.mapping.outside.addr === addr)
      .map(f => f.mapping!.outside.port)])
    if (this.options.portBlocks) return this.portOfBlocks(addr, p, inside, taken)
    let [lo, hi] = protocol === ICMP ? [0, 65535] : p <= 1023 ? [1, 1023] : [portLo, portHi]
    const share = this.shareOf(inside)
    if (share > 0) {
      const each = Math.floor((portHi - portLo + 1) / share)
      lo = portLo + Math.max(hostNumberOf(nat!, inside), 0) % share * each
      hi = lo + each - 1
    }
    const waiting = this.held.filter(h => h.protocol === protocol && h.addr === addr), own = waiting.find(h => h.port === p)
    if (portPreservation && p >= lo && p <= hi && !taken.has(p) && (own === undefined || own.owner === inside)) {
      this.held = this.held.filter(h => h !== own)
      return p
    }
    for (const { port } of waiting) taken.add(port)
    return firstOf(taken, lo, hi, lo + this.prng.below(hi - lo + 1), [p % 2, 1 - p % 2])
  }

  /** Does its outside port say by itself, or by its block, whose it is? */
  isAttributed({ protocol, inside }: Mapping): boolean {
    return isPorted(protocol) && (this.options.portBlocks != null || this.shareOf(inside.addr) > 0)
  }

  /** Hosts that share an address by fixed parts of its ports (RFC 7422); 0: not so. */
  private shareOf(inside: Addr): number {
    const { nat } = this.options
    return nat ? poolOf(nat, inside).hostsPerAddress : 0
  }

  /** Ports that no dynamic mapping takes. */
  private kept(protocol: number, addr: Addr): number[] {
    const { midcom, nat } = this.options, { reserved = [], forwards = [] } = nat ?? {}
    const ranges = [...reserved, ...midcom === null ? [] : [{ low: midcom.portLo, high: midcom.portHi }], ...forwards
      .filter(f => f.protocol === protocol && addrOf([f.outside]) === addr)
      .map(f => ({ low: f.outsidePort, high: f.outsidePort + f.count - 1 }))]
    return protocol === ICMP ? [] : ranges.flatMap(({ low, high }) => Array.from({ length: high - low + 1 }, (_, n) => low + n))
  }

  /* Blocks, and what waits */

  private portOfBlocks(addr: Addr, p: number, inside: Addr, taken: ReadonlySet<number>): number | null {
    const { portLo, portHi, portPreservation, portBlocks } = this.options, { size, perHost } = portBlocks!
    const own = this.blocks.filter(b => b.owner === inside), each = Math.floor((portHi - portLo + 1) / size)
    if (portPreservation && !taken.has(p) && own.some(b => this.isIn(b, addr, p))) return p
    const offset = this.prng.below(size), parities = [p % 2, 1 - p % 2]
    const inBlock = ({ number }: Block, ...wanted: number[]) => {
      const lo = portLo + number * size
      return firstOf(taken, lo, lo + size - 1, lo + offset, wanted)
    }
    for (const parity of parities) for (const block of own) {
      const port = inBlock(block, parity)
      if (port !== null) return port
    }
    if (own.length >= perHost) return null
    const start = this.prng.below(each)
    for (let step = 0; step < each; step++) {
      const block = { addr, number: (start + step) % each, owner: inside }
      const isIt = (b: Block) => b.addr === addr && b.number === block.number
      if (this.blocks.some(isIt) || this.held.some(h => h.block !== null && isIt(h.block)) || !this.isUsable(block)) continue
      this.blocks.push(block)
      return inBlock(block, ...parities)
    }
    return null
  }

  /** Has a block ports of UDP and of TCP to give? */
  private isUsable({ addr, number }: Block): boolean {
    const { portLo, portBlocks } = this.options, { size } = portBlocks!
    const ports = Array.from({ length: size }, (_, n) => portLo + number * size + n)
    return [UDP, TCP].every(protocol => {
      const kept = new Set(this.kept(protocol, addr))
      return ports.some(port => !kept.has(port))
    })
  }

  private isIn({ addr, number }: Block, other: Addr, port: number): boolean {
    const { portLo, portBlocks } = this.options
    return addr === other && Math.floor((port - portLo) / portBlocks!.size) === number
  }

  /** The last flow of a dynamic mapping is gone. */
  private letGo({ protocol, inside, outside }: Mapping): void {
    const { portBlocks, portHold, filtering } = this.options
    const waits = (of: number) => portHold != null && portHold.most > 0
      && (portHold.isAll || filtering === 'endpoint-independent' && of !== TCP)
    const wait = (what: Omit<Held, 'owner' | 'until'>) => {
      if (this.held.length === portHold!.most) this.held.shift()
      this.held.push({ ...what, owner: inside.addr, until: this.nowMs + portHold!.holdMs | 0 })
    }
    if (!portBlocks) {
      if (waits(protocol) && this.shareOf(inside.addr) === 0) wait({ protocol, ...outside, block: null })
      return
    }
    const block = this.blocks.find(b => this.isIn(b, outside.addr, outside.port))!
    const uses = ({ mapping }: Flow) => mapping !== null && !mapping.bound && isPorted(mapping.protocol)
      && this.isIn(block, mapping.outside.addr, mapping.outside.port)
    if (this.all().some(uses)) return
    this.blocks = this.blocks.filter(b => b !== block)
    if (waits(UDP)) wait({ protocol: -1, addr: block.addr, port: -1, block })
  }
}

function isPorted(protocol: number): boolean { return [UDP, TCP, ICMP].includes(protocol) }

/** The first port of lo … hi that is not taken, from `start` on and around the end, of the parities in their order. */
function firstOf(taken: ReadonlySet<number>, lo: number, hi: number, start: number, parities: readonly number[]): number | null {
  for (const parity of parities) {
    for (let port = start; port <= hi; port++) if (port % 2 === parity && !taken.has(port)) return port
    for (let port = lo; port < start; port++) if (port % 2 === parity && !taken.has(port)) return port
  }
  return null
}
