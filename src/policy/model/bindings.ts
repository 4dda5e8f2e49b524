/**
 * Who holds which outside (A2) and inside (A1) addresses and ports, for the slow model. Nothing is kept but what each rule
 * holds; what is bound, shared or free is found by looking at all of them.
 */
import { createPrng } from '../../base/prng.ts'
import { PARITY_ANY, PARITY_EVEN, type Reason } from '../api.ts'
import type { PolicyOptions } from '../options.ts'

export interface Endpoint { address: number; port: number }

/**
 * What a rule holds on one side. `real` is A0 (A3), null while a reservation does not know it; `shown` is A2 (A1). `count` ports
 * from there on; 0: the whole address, and the ports say nothing.
 */
export interface Hold { protocol: number; real: Endpoint | null; shown: Endpoint; count: number }

export type Side = 'outside' | 'inside'

/** What is asked of a side: `real` null for a reservation without A0 and for every reserved A1. */
export interface Claim { protocol: number; real: Endpoint | null; count: number; parity: number }

export interface Holder { slot: number; action: 'reserve' | 'enable' | 'disable'; holds: Record<Side, Hold | null> }

export class Bindings {
  private readonly options: PolicyOptions
  private readonly holders: () => Holder[]
  private readonly prng: ReturnType<typeof createPrng>

  constructor(options: PolicyOptions, holders: () => Holder[]) {
    this.options = options
    this.holders = holders
    this.prng = createPrng(options.seed)
  }

  holds(side: Side): Hold[] {
    return [...this.fixed(side), ...this.asked(side)]
  }

  private asked(side: Side): Hold[] {
    return this.holders().map(({ holds }) => holds[side]).filter(hold => hold !== null)
  }

  /** What the configuration binds. */
  private fixed(side: Side): Hold[] {
    const { fixedOutside = [], fixedInside = [] } = this.options
    return (side === 'outside' ? fixedOutside : fixedInside).map(({ protocol, real, realPort, shown, shownPort, count }) =>
      ({ protocol, real: { address: real, port: realPort }, shown: { address: shown, port: shownPort }, count }))
  }

  /** The whole address that an address behind the box is bound to or has reserved. */
  wholeOf(side: Side, address: number): Hold | null {
    return this.holds(side).find(({ count, real }) => count === 0 && real?.address === address) ?? null
  }

  /** The shown port that a real one is bound to or has reserved. */
  private shownOf(side: Side, protocol: number, { address, port }: Endpoint): Endpoint | null {
    for (const hold of this.holds(side)) {
      if (hold.count === 0 || hold.real === null || hold.protocol !== protocol || hold.real.address !== address) continue
      const offset = port - hold.real.port
      if (offset >= 0 && offset < hold.count) return { address: hold.shown.address, port: hold.shown.port + offset }
    }
    return null
  }

  /** Takes over, shares or allocates what a rule needs, or says why not. `reserved` is what its own reservation holds. */
  claim(side: Side, claim: Claim, reserved: Hold | null): Hold | Reason {
    const { protocol, real, count, parity } = claim
    if (real !== null) {
      const whole = this.wholeOf(side, real.address)
      if (whole !== null) {
        if (reserved !== null && !isSame(reserved, whole)) return 'conflict'
        // With a whole address a port shows itself.
        if (count > 0 && !hasParity(real.port, parity)) return 'conflict'
        return { protocol, real, shown: whole.shown, count: 0 }
      }
      if (count > 0) {
        const shown = Array.from({ length: count }, (_, i) =>
          this.shownOf(side, protocol, { address: real.address, port: real.port + i }))
        if (shown.some(endpoint => endpoint !== null)) {
          const first = shown[0]
          const isRun = first !== null && shown.every((at, i) => at?.address === first.address && at.port === first.port + i)
          if (!isRun) return 'conflict'
          if (!hasParity(first.port, parity)) return 'conflict'
          const shared = { protocol, real, shown: first, count }
          return reserved === null || isSame(reserved, shared) ? shared : 'conflict'
        }
      } else if (this.holds(side).some(hold => hold.count > 0 && hold.real?.address === real.address)) return 'conflict'
    }
    if (reserved !== null) return { ...reserved, real }
    const shown = count > 0 ? this.allocatePorts(side, claim) : this.allocateAddress(side)
    return typeof shown === 'string' ? shown : { protocol, real, shown, count }
  }

  private takenPorts(side: Side, protocol: number, address: number): Set<number> {
    const taken = new Set<number>()
    for (const hold of this.holds(side)) {
      if (hold.count === 0 || hold.protocol !== protocol || hold.shown.address !== address) continue
      for (let i = 0; i < hold.count; i++) taken.add(hold.shown.port + i)
    }
    return taken
  }

  private allocatePorts(side: Side, { protocol, real, count, parity }: Claim): Endpoint | Reason {
    const { pool, insidePool, portLow, portHigh, limits } = this.options
    if (this.boundPorts(side) + count > limits.boundPorts) return 'lack-of-resources'
    if (side === 'outside') {
      const start = portLow + this.prng.below(portHigh - portLow + 1)
      const own = real === null ? pool : this.poolOf(real.address)
      const first = real === null ? 0 : this.pairedIndex(real.address)
      for (let i = 0; i < own.length; i++) {
        const address = own[(first + i) % own.length]
        const port = this.firstRun(side, { protocol, real, count, parity }, address, portLow, portHigh, start)
        if (port !== null) return { address, port }
      }
    } else {
      for (const address of insidePool) {
        if (this.holds(side).some(hold => hold.count === 0 && hold.shown.address === address)) continue
        const port = this.firstRun(side, { protocol, real, count, parity }, address, 1024, 65535, 1024)
        if (port !== null) return { address, port }
      }
    }
    return 'lack-of-ports'
  }

  /** First free run that begins at `start` or above; then from `low` on those that begin below `start`. */
  private firstRun(side: Side, { protocol, count, parity }: Claim, address: number, low: number, high: number,
    start: number): number | null {
    const taken = this.takenPorts(side, protocol, address)
    const fits = (port: number) => {
      if (!hasParity(port, parity) || port + count - 1 > high) return false
      for (let i = 0; i < count; i++) if (taken.has(port + i)) return false
      return true
    }
    for (let port = start; port <= high; port++) if (fits(port)) return port
    for (let port = low; port < start; port++) if (fits(port)) return port
    return null
  }

  private allocateAddress(side: Side): Endpoint | Reason {
    const list = side === 'outside' ? this.options.addresses : this.options.insidePool
    const address = list.find(candidate => !this.holds(side).some(({ shown }) => shown.address === candidate))
    return address === undefined ? 'lack-of-addresses' : { address, port: 0 }
  }

  /** `mix` of docs/behaviour.md: which outside address an inside host keeps. */
  private pairedIndex(address: number): number {
    const own = this.poolOf(address).length
    let h = Math.imul(address ^ this.options.seed, 0x9e3779b1)
    h ^= h >>> 15
    h = Math.imul(h, 0x85ebca6b)
    h ^= h >>> 13
    return (h >>> 0) % own
  }

  /** The outside addresses that a host may get: those of the pool with the longest prefix that it is in. */
  private poolOf(address: number): readonly number[] {
    const { pool, pools } = this.options
    if (pools === undefined) return pool
    let best = pools[0], longest = -1
    for (const one of pools.slice(1)) {
      for (const { address: network, bits } of one.inside) {
        if (bits <= longest || address >>> (32 - bits) !== network >>> (32 - bits)) continue
        best = one
        longest = bits
      }
    }
    return pool.slice(best.first, best.first + best.size)
  }

  pairedAddress(address: number): number {
    return this.poolOf(address)[this.pairedIndex(address)]
  }

  /** Ports of a side that are bound or reserved. */
  boundPorts(side: Side): number {
    const ports = new Set<string>()
    for (const { count, protocol, shown } of this.asked(side)) {
      for (let i = 0; i < count; i++) {
        const port = shown.port + i
        if (!this.isFixed(side, protocol, shown.address, port)) ports.add([protocol, shown.address, port].join())
      }
    }
    return ports.size
  }

  private isFixed(side: Side, protocol: number, address: number, port: number): boolean {
    return this.fixed(side).some(hold => hold.protocol === protocol && hold.shown.address === address && port >= hold.shown.port
      && port < hold.shown.port + hold.count)
  }

  /** Outside addresses bound or reserved as a whole. */
  boundAddresses(): number {
    const fixed = new Set(this.fixed('outside').filter(({ count }) => count === 0).map(({ shown }) => shown.address))
    const asked = this.asked('outside').filter(({ count, shown }) => count === 0 && !fixed.has(shown.address))
    return new Set(asked.map(({ shown }) => shown.address)).size
  }

  /**
   * The runs of a hold that no enable rule but this one holds: what the data plane is told to bind at the rule's beginning and to
   * unbind at its end.
   */
  ownRuns(side: Side, holder: Holder): Hold[] {
    const mine = holder.holds[side]
    if (mine === null || mine.real === null) return []
    const others = this.holders().filter(({ slot, action }) => action === 'enable' && slot !== holder.slot)
      .map(({ holds }) => holds[side]).filter(hold => hold !== null).concat(this.fixed(side))
    if (mine.count === 0) {
      return others.some(({ count, shown }) => count === 0 && shown.address === mine.shown.address) ? [] : [mine]
    }
    const runs: Hold[] = []
    for (let i = 0; i < mine.count; i++) {
      const shown = { address: mine.shown.address, port: mine.shown.port + i }
      const isHeld = others.some(({ count, protocol, shown: other }) => protocol === mine.protocol
        && other.address === shown.address && shown.port >= other.port && shown.port < other.port + count)
      if (isHeld) continue
      const last = runs.at(-1)
      if (last !== undefined && last.shown.port + last.count === shown.port) last.count++
      else runs.push({ ...mine, real: { address: mine.real.address, port: mine.real.port + i }, shown, count: 1 })
    }
    return runs
  }
}

function isSame(a: Hold, b: Hold): boolean {
  if ((a.count === 0) !== (b.count === 0)) return false
  if (a.count === 0) return a.shown.address === b.shown.address
  return a.protocol === b.protocol && a.count === b.count && a.shown.address === b.shown.address && a.shown.port === b.shown.port
}

function hasParity(port: number, parity: number): boolean {
  return parity === PARITY_ANY || (port % 2 === 0) === (parity === PARITY_EVEN)
}
