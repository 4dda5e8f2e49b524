/**
 * Bindings of real endpoints to those shown on the other side of the box: A0 to A2, and with twice-NAT A3 to A1. One port to one
 * port, or a whole address to a whole address; an address has either or. A binding is shared by all rules that need it (RFC 5189
 * 2.3.9, RFC 5190 5.3.1): it lives while a rule holds it, and the data plane knows it while an enable rule does ("live").
 *
 * Ports that a reservation holds without knowing for whom are taken from their address, and have no entry yet.
 */
import type { Pairing } from '../channel/pairing.ts'
import { createPrng } from '../base/prng.ts'
import { createPortSets } from '../storage/port-set.ts'
import type { Reason } from './api.ts'
import { UDP } from './api.ts'
import { bucketCount, createHostCounts } from './hosts.ts'
import type { FixedBinding } from './options.ts'
import type { Tell } from './records.ts'
import { BY_ADDRESS, BY_PORTS } from './store.ts'

export interface BindingOptions {
  /** Addresses of which ports are bound, and the ports. */
  portAddresses: readonly number[]
  low: number
  high: number
  /** Addresses bound as a whole, in order of use. The same list: an address has ports bound or is bound itself. */
  wholeAddresses: readonly number[]
  /** Ports bound or reserved at a time. */
  ports: number
  seed: number
  /** Where to look for ports: in the real address's pool, from its own address and a port drawn on; null: at the first of both. */
  pairing: Pairing | null
  /** Bindings that nobody has to ask for. */
  fixed: readonly FixedBinding[]
  /** Told of what the data plane has to bind or unbind. */
  bind: Tell
  unbind: Tell
}

/** What a rule is going to hold, or holds as a reservation. */
export interface Hold {
  /** BY_PORTS, BY_ADDRESS or 0. */
  kind: number
  /** Of the address in its list. */
  index: number
  port: number
}

export interface Plan extends Hold {
  /** The real endpoint is not bound yet. */
  isNew: boolean
  /** Ports of it that are not, of which some or all may be. */
  missing: number
}

export interface Bindings {
  /**
   * Decides how ports or an address are to be shown, changing nothing but the generator. `parity` 0: even, 1: odd, -1: either.
   * `held`: what the reservation holds, `kind` 0 without one.
   */
  planPorts(protocol: number, real: number, realPort: number, count: number, parity: number, held: Hold): Reason | null
  planAddress(real: number, held: Hold): Reason | null
  /** The same for a reservation that does not say for whom. */
  planAnyPorts(protocol: number, count: number, parity: number): Reason | null
  planAnyAddress(): Reason | null
  /**
   * What a rule had before, once more, for the real endpoint or null, for nobody in particular. Other rules may have brought back
   * some of its ports already.
   */
  planHad(had: Hold, protocol: number, real: number | null, realPort: number, count: number): Reason | null
  /** Outcome of the last one that succeeded. */
  readonly plan: Plan
  /** Records that carrying out `plan` for an enable rule takes. */
  planRecords(protocol: number, real: number, realPort: number, count: number): number

  /** Carries out `plan`. `isHeld`: the rule holds it as a reservation already. `live`: 1 for an enable rule, else 0. */
  hold(protocol: number, real: number, realPort: number, count: number, isHeld: boolean, live: number): void
  holdAny(protocol: number, count: number): void
  /** Gives back what `hold` took. */
  releasePorts(protocol: number, real: number, realPort: number, count: number, live: number): void
  releaseAddress(real: number, live: number): void
  releaseAnyPorts(protocol: number, shown: number, shownPort: number, count: number): void
  releaseAnyAddress(shown: number): void

  /** Lowers (by: -1) or raises the live counts alone; returns how many records the lowering would have taken. */
  shiftLive(kind: number, protocol: number, real: number, realPort: number, count: number, by: number): number

  /** The address that an index of a port binding, or of a whole address, stands for. */
  portAddress(index: number): number
  wholeAddress(index: number): number
  /** Address that this one is bound to as a whole, as an index, or -1. */
  wholeOf(real: number): number
  /** Place of an address in its list; undefined: it is not there. */
  portIndex(shown: number): number | undefined
  wholeIndex(shown: number): number | undefined
  boundPorts(): number
  boundAddresses(): number
  readonly bytes: () => number
}

/* Six words a bound port. SHOWN: index of the address << 16 | port. */
const REAL = 0, KEY = 1, SHOWN = 2, HOLDS = 3, LIVE = 4, NEXT = 5, WORDS = 6

export function createBindings(options: BindingOptions): Bindings {
  const { low, high, seed, pairing, fixed, bind, unbind } = options
  const isSameList = options.portAddresses === options.wholeAddresses
  // Behind the addresses that are handed out come those that only fixed bindings use.
  const portAddresses = withFixed(options.portAddresses, fixed.filter(({ count }) => count > 0 || isSameList))
  const wholeAddresses = isSameList ? portAddresses : withFixed(options.wholeAddresses, fixed.filter(({ count }) => count === 0))
  const freePorts = options.portAddresses.length, freeWholes = options.wholeAddresses.length
  const fixedPorts = fixed.reduce((sum, { count }) => sum + count, 0)
  const prng = createPrng(seed)

  const entries = new Int32Array((options.ports + fixedPorts + 1) * WORDS)
  const heads = new Int32Array(bucketCount(options.ports))
  const mask = heads.length - 1
  let used = 0, freed = 0, bound = 0

  // Two sets an address: TCP, UDP.
  const sets = createPortSets(portAddresses.length * 2)
  const taken = new Int32Array(portAddresses.length * 2)
  const hosts = createHostCounts(options.ports + fixedPorts, seed)
  const portIndexes = new Map(portAddresses.map((address, index) => [address, index]))

  const wholeIndexes = new Map(wholeAddresses.map((address, index) => [address, index]))
  const wholeHolds = new Int32Array(wholeAddresses.length), wholeLive = new Int32Array(wholeAddresses.length)
  /** Bounded by the addresses that the box has, not by its rules. */
  const wholes = new Map<number, number>()
  let boundWholes = 0

  const plan: Plan = { kind: 0, index: 0, port: 0, isNew: false, missing: 0 }
  function planned(kind: number, index: number, port: number, isNew: boolean, missing = 0): null {
    plan.kind = kind
    plan.index = index
    plan.port = port
    plan.isNew = isNew
    plan.missing = missing
    return null
  }

  function keyOf(protocol: number, port: number): number { return (protocol === UDP ? 0x10000 : 0) | port }
  function setOf(index: number, protocol: number): number { return index * 2 + (protocol === UDP ? 1 : 0) }

  function bucket(real: number, key: number): number {
    let h = Math.imul(real ^ seed, 0x9e3779b1) ^ Math.imul(key, 0x85ebca6b)
    h ^= h >>> 15
    h = Math.imul(h, 0x2c1b3c6d)
    return (h ^ h >>> 13) & mask
  }

  /** Offset of the entry of a bound port, or 0. */
  function find(protocol: number, real: number, port: number): number {
    const key = keyOf(protocol, port)
    for (let at = heads[bucket(real, key)]; at !== 0; at = entries[at + NEXT]) {
      if (entries[at + REAL] === real && entries[at + KEY] === key) return at
    }
    return 0
  }

  function insert(protocol: number, real: number, port: number, shown: number, live: number): void {
    let at = freed
    if (at !== 0) freed = entries[at + NEXT]
    else at = ++used * WORDS
    const key = keyOf(protocol, port)
    const head = bucket(real, key)
    entries[at + REAL] = real
    entries[at + KEY] = key
    entries[at + SHOWN] = shown
    entries[at + HOLDS] = 1
    entries[at + LIVE] = live
    entries[at + NEXT] = heads[head]
    heads[head] = at
  }

  function remove(entry: number): void {
    const head = bucket(entries[entry + REAL], entries[entry + KEY])
    if (heads[head] === entry) heads[head] = entries[entry + NEXT]
    else {
      let at = heads[head]
      while (entries[at + NEXT] !== entry) at = entries[at + NEXT]
      entries[at + NEXT] = entries[entry + NEXT]
    }
    entries[entry + NEXT] = freed
    freed = entry
  }

  function takePorts(index: number, protocol: number, port: number, count: number): void {
    const set = setOf(index, protocol)
    for (let i = 0; i < count; i++) sets.take(set, port + i)
    taken[set] += count
    bound += count
  }

  function returnPort(index: number, protocol: number, port: number): void {
    const set = setOf(index, protocol)
    sets.release(set, port)
    taken[set]--
    bound--
  }

  /** docs/midcom.md, Binding: one draw an allocation, then address after address. */
  function allocate(
    protocol: number, from: number, firstIndex: number, size: number, count: number, parity: number,
  ): Reason | null {
    if (bound + count > options.ports) return 'lack-of-resources'
    const ports = high - low + 1
    const start = pairing !== null && ports > 0 ? low + prng.below(ports) : low
    const last = high - count + 1
    for (let i = 0; i < size; i++) {
      const index = from + (firstIndex - from + i) % size
      const set = setOf(index, protocol)
      if (taken[set] + count > ports || (isSameList && wholeHolds[index] > 0)) continue
      // @req RFC7857 8b
      let port = sets.firstFreeRun(set, start, last, count, parity)
      if (port < 0) port = sets.firstFreeRun(set, low, Math.min(start - 1, last), count, parity)
      if (port >= 0) return planned(BY_PORTS, index, port, true)
    }
    return 'lack-of-ports'
  }

  function planPorts(
    protocol: number, real: number, realPort: number, count: number, parity: number, held: Hold,
  ): Reason | null {
    const whole = wholeOf(real)
    // A port of a bound address is shown as itself.
    if (whole >= 0) {
      const isOther = held.kind === BY_PORTS || (parity >= 0 && (realPort & 1) !== parity)
      return isOther ? 'conflict' : planned(BY_ADDRESS, whole, realPort, false)
    }
    const first = find(protocol, real, realPort)
    for (let i = 1; i < count; i++) {
      const entry = find(protocol, real, realPort + i)
      // All or none of them, and side by side.
      if ((entry === 0) !== (first === 0)) return 'conflict'
      if (entry !== 0 && entries[entry + SHOWN] !== entries[first + SHOWN] + i) return 'conflict'
    }
    if (first === 0) {
      if (held.kind === BY_PORTS) return planned(BY_PORTS, held.index, held.port, true)
      if (pairing === null || freePorts === 0) return allocate(protocol, 0, 0, freePorts, count, parity)
      const { first: from, size } = pairing.poolOf(real)
      return allocate(protocol, from, pairing.index(real), size, count, parity)
    }
    const index = entries[first + SHOWN] >>> 16, port = entries[first + SHOWN] & 0xffff
    if (held.kind === BY_PORTS && (held.index !== index || held.port !== port)) return 'conflict'
    if (parity >= 0 && (port & 1) !== parity) return 'conflict'
    return planned(BY_PORTS, index, port, false)
  }

  function planAddress(real: number, held: Hold): Reason | null {
    const whole = wholeOf(real)
    if (whole >= 0) {
      return held.kind === BY_ADDRESS && held.index !== whole ? 'conflict' : planned(BY_ADDRESS, whole, 0, false)
    }
    if (hosts.has(real)) return 'conflict'
    return held.kind === BY_ADDRESS ? planned(BY_ADDRESS, held.index, 0, true) : planAnyAddress()
  }

  function planAnyPorts(protocol: number, count: number, parity: number): Reason | null {
    return allocate(protocol, 0, 0, freePorts, count, parity)
  }

  function planAnyAddress(): Reason | null {
    for (let i = 0; i < freeWholes; i++) {
      if (wholeHolds[i] > 0 || (isSameList && taken[i * 2] + taken[i * 2 + 1] > 0)) continue
      return planned(BY_ADDRESS, i, 0, true)
    }
    return 'lack-of-addresses'
  }

  function planHad(
    { kind, index, port }: Hold, protocol: number, real: number | null, realPort: number, count: number,
  ): Reason | null {
    if (kind === 0 || index < 0) return 'lack-of-addresses'
    const whole = real === null ? -1 : wholeOf(real)
    if (kind === BY_ADDRESS) {
      if (whole >= 0) return whole === index ? planned(BY_ADDRESS, index, realPort, false) : 'conflict'
      const isTaken = wholeHolds[index] > 0 || (isSameList && taken[index * 2] + taken[index * 2 + 1] > 0)
      return isTaken || (real !== null && hosts.has(real)) ? 'conflict' : planned(BY_ADDRESS, index, port, true)
    }
    if (whole >= 0 || (isSameList && wholeHolds[index] > 0)) return 'conflict'
    // A port that the configuration binds may be any.
    const shared = real === null ? 0 : find(protocol, real, realPort)
    const isShared = shared !== 0 && entries[shared + SHOWN] === (index << 16 | port)
    if (!isShared && (port < low || port + count - 1 > high)) return 'lack-of-ports'
    let missing = 0
    for (let i = 0; i < count; i++) {
      const entry = real === null ? 0 : find(protocol, real, realPort + i)
      if (entry === 0) missing++
      const isRight = entry === 0 ? sets.isFree(setOf(index, protocol), port + i)
        : entries[entry + SHOWN] === (index << 16 | port + i)
      if (!isRight) return 'conflict'
    }
    if (bound + missing > options.ports) return 'lack-of-resources'
    return planned(BY_PORTS, index, port, missing === count, missing)
  }

  function planRecords(protocol: number, real: number, realPort: number, count: number): number {
    if (plan.kind === BY_ADDRESS) return plan.isNew || wholeLive[plan.index] === 0 ? 1 : 0
    if (plan.isNew) return 1
    let records = 0
    for (let i = 0, wasQuiet = false; i < count; i++) {
      const isQuiet = entries[find(protocol, real, realPort + i) + LIVE] === 0
      if (isQuiet && !wasQuiet) records++
      wasQuiet = isQuiet
    }
    return records
  }

  function hold(protocol: number, real: number, realPort: number, count: number, isHeld: boolean, live: number): void {
    if (plan.kind === BY_ADDRESS) holdAddress(real, isHeld, live)
    else if (plan.isNew) {
      if (!isHeld) takePorts(plan.index, protocol, plan.port, count)
      for (let i = 0; i < count; i++) insert(protocol, real, realPort + i, plan.index << 16 | plan.port + i, live)
      hosts.add(real, count)
      if (live > 0) bind(protocol, real, realPort, portAddresses[plan.index], plan.port, count)
    } else {
      if (plan.missing > 0) adopt(protocol, real, realPort, count)
      sharePorts(protocol, real, realPort, count, isHeld ? 0 : 1, live)
    }
  }

  /** Binds the ports that are missing, held by nobody yet. */
  function adopt(protocol: number, real: number, realPort: number, count: number): void {
    for (let i = 0; i < count; i++) {
      if (find(protocol, real, realPort + i) !== 0) continue
      takePorts(plan.index, protocol, plan.port + i, 1)
      insert(protocol, real, realPort + i, plan.index << 16 | plan.port + i, 0)
      entries[find(protocol, real, realPort + i) + HOLDS] = 0
    }
    hosts.add(real, plan.missing)
  }

  function sharePorts(protocol: number, real: number, realPort: number, count: number, holds: number, live: number): void {
    let quietFrom = -1
    for (let i = 0; i < count; i++) {
      const entry = find(protocol, real, realPort + i)
      const isQuiet = entries[entry + LIVE] === 0
      entries[entry + HOLDS] += holds
      entries[entry + LIVE] += live
      if (live > 0 && isQuiet && quietFrom < 0) quietFrom = i
      if (quietFrom >= 0 && (!isQuiet || i === count - 1)) {
        const length = (isQuiet ? i + 1 : i) - quietFrom
        bind(protocol, real, realPort + quietFrom, portAddresses[plan.index], plan.port + quietFrom, length)
        quietFrom = -1
      }
    }
  }

  function holdAddress(real: number, isHeld: boolean, live: number): void {
    const index = plan.index
    if (plan.isNew) wholes.set(real, index)
    if (!isHeld && wholeHolds[index]++ === 0) boundWholes++
    if (live === 0) return
    if (wholeLive[index]++ === 0) bind(0, real, 0, wholeAddresses[index], 0, 0)
  }

  function holdAny(protocol: number, count: number): void {
    if (plan.kind === BY_PORTS) takePorts(plan.index, protocol, plan.port, count)
    else {
      wholeHolds[plan.index] = 1
      boundWholes++
    }
  }

  function releasePorts(protocol: number, real: number, realPort: number, count: number, live: number): void {
    const shown = entries[find(protocol, real, realPort) + SHOWN]
    const index = shown >>> 16, port = shown & 0xffff
    let quietFrom = -1, gone = 0
    for (let i = 0; i < count; i++) {
      const entry = find(protocol, real, realPort + i)
      const isQuiet = live > 0 && (entries[entry + LIVE] -= live) === 0
      if (isQuiet && quietFrom < 0) quietFrom = i
      if (quietFrom >= 0 && (!isQuiet || i === count - 1)) {
        const length = (isQuiet ? i + 1 : i) - quietFrom
        unbind(protocol, real, realPort + quietFrom, portAddresses[index], port + quietFrom, length)
        quietFrom = -1
      }
      if (--entries[entry + HOLDS] === 0) {
        remove(entry)
        returnPort(index, protocol, port + i)
        gone++
      }
    }
    if (gone > 0) hosts.add(real, -gone)
  }

  function releaseAddress(real: number, live: number): void {
    const index = wholeOf(real)
    if (live > 0 && --wholeLive[index] === 0) unbind(0, real, 0, wholeAddresses[index], 0, 0)
    if (--wholeHolds[index] > 0) return
    wholes.delete(real)
    boundWholes--
  }

  function releaseAnyPorts(protocol: number, shown: number, shownPort: number, count: number): void {
    for (let i = 0; i < count; i++) returnPort(portIndex(shown)!, protocol, shownPort + i)
  }

  function releaseAnyAddress(shown: number): void {
    wholeHolds[wholeIndex(shown)!] = 0
    boundWholes--
  }

  function shiftLive(kind: number, protocol: number, real: number, realPort: number, count: number, by: number): number {
    if (kind === BY_ADDRESS) return (wholeLive[wholeOf(real)] += by) === 0 ? 1 : 0
    let records = 0
    for (let i = 0, wasQuiet = false; i < count; i++) {
      const isQuiet = (entries[find(protocol, real, realPort + i) + LIVE] += by) === 0
      if (isQuiet && !wasQuiet) records++
      wasQuiet = isQuiet
    }
    return records
  }

  function wholeOf(real: number): number { return wholes.size === 0 ? -1 : wholes.get(real) ?? -1 }
  function portIndex(shown: number): number | undefined { return portIndexes.get(shown) }
  function wholeIndex(shown: number): number | undefined { return wholeIndexes.get(shown) }

  for (const { protocol, real, realPort, shown, shownPort, count } of fixed) {
    if (count === 0) {
      const index = wholeIndex(shown)!
      wholes.set(real, index)
      wholeHolds[index] = wholeLive[index] = 1
    }
    for (let i = 0; i < count; i++) {
      if (find(protocol, real, realPort + i) !== 0) continue
      insert(protocol, real, realPort + i, portIndex(shown)! << 16 | shownPort + i, 1)
      hosts.add(real, 1)
    }
  }

  return {
    portAddress: (index) => portAddresses[index], wholeAddress: (index) => wholeAddresses[index],
    planPorts, planAddress, planAnyPorts, planAnyAddress, planHad, plan, planRecords,
    hold, holdAny, releasePorts, releaseAddress, releaseAnyPorts, releaseAnyAddress, shiftLive, wholeOf, portIndex, wholeIndex,
    boundPorts: () => bound,
    boundAddresses: () => boundWholes,
    bytes: () => entries.byteLength + heads.byteLength + sets.bytes() + taken.byteLength + hosts.bytes()
      + wholeHolds.byteLength + wholeLive.byteLength,
  }
}

function withFixed(addresses: readonly number[], fixed: readonly FixedBinding[]): readonly number[] {
  return [...new Set([...addresses, ...fixed.map(({ shown }) => shown)])]
}
