/** The tables of one policy core, made together, and what several transactions ask of them. */
import { createNpt6, type Npt6 } from '../channel/npt6.ts'
import { type Pairing, createPairing, wholePool } from '../channel/pairing.ts'
import { createBindings } from './bindings.ts'
import type { Bindings } from './bindings.ts'
import { createDeadlines } from './deadlines.ts'
import type { Deadlines } from './deadlines.ts'
import { createEvents } from './events.ts'
import type { Events } from './events.ts'
import { createGroups } from './groups.ts'
import type { Groups } from './groups.ts'
import type { PolicyOptions } from './options.ts'
import { createOwners } from './owners.ts'
import type { Owners } from './owners.ts'
import { createRecords } from './records.ts'
import type { Records } from './records.ts'
import { OWNER, RULE_BITS, createStore } from './store.ts'
import type { Store } from './store.ts'

export interface Box {
  readonly options: PolicyOptions
  readonly store: Store
  /** Which outside address a host has. */
  readonly pairing: Pairing
  /** What IPv6 addresses stand for those of the inside; null: they are their own. */
  readonly npt6: Npt6 | null
  readonly owners: Owners
  readonly groups: Groups
  readonly deadlines: Deadlines
  /** A0 to A2; null on a pure firewall. */
  readonly outside: Bindings | null
  /** A3 to A1; null if the box is not twice-NAT capable. */
  readonly inside: Bindings | null
  readonly records: Records
  readonly events: Events
  /** The clock as `advance` told it. */
  nowMs: number
  /** Live rules by what they are: [, reserve, enable, disable]. */
  readonly counts: number[]
  expired: number
  idle: number
}

const FIRST_INSIDE_PORT = 1024        // docs/midcom.md, The box

export function createBox(options: PolicyOptions): Box {
  const { ring, limits, nat44, pool, addresses, insidePool, portLow, portHigh, seed, fixedOutside = [], fixedInside = [] } = options
  const pairing = createPairing(options.pools ?? wholePool(pool.length), seed)
  const sides = nat44 ? insidePool.length > 0 ? 2 : 1 : 0
  const atOnce = 1 + sides * Math.ceil(limits.portsPerRule / 2)
  // The end of a rule is told in one piece; others may share every second port of it, and then each piece takes a record.
  if (ring.capacity < atOnce) {
    throw new RangeError(`${limits.portsPerRule} ports a rule need a command ring of ${atOnce} records; it has ${ring.capacity}`)
  }
  const store = createStore(limits.rules)
  const records = createRecords(ring, store)
  return {
    options, store, records, pairing,
    npt6: (options.npt6?.length ?? 0) === 0 ? null : createNpt6(options.npt6!),
    owners: createOwners(store.words),
    groups: createGroups(store.words, limits.rules),
    deadlines: createDeadlines(limits.rules),
    outside: sides === 0 ? null : createBindings({
      portAddresses: pool, low: portLow, high: portHigh, wholeAddresses: addresses, ports: limits.boundPorts, seed, pairing,
      fixed: fixedOutside,
      bind: records.bindOutside, unbind: records.unbindOutside,
    }),
    inside: sides < 2 ? null : createBindings({
      portAddresses: insidePool, low: FIRST_INSIDE_PORT, high: 0xffff, wholeAddresses: insidePool, ports: limits.boundPorts, seed,
      pairing: null, fixed: fixedInside, bind: records.bindInside, unbind: records.unbindInside,
    }),
    events: createEvents(options.authorizer),
    nowMs: 0,
    counts: [0, 0, 0, 0],
    expired: 0,
    idle: 0,
  }
}

export function ownerName(box: Box, slot: number): string {
  return box.owners.name(box.store.words[(slot << RULE_BITS) + OWNER])
}

/** What is left of a rule, rounded up. */
export function remainingSec(box: Box, slot: number): number {
  return Math.max(0, Math.ceil((box.store.deadlineMs[slot] - box.nowMs) / 1000))
}

export function bytesOf({ store, groups, deadlines, outside, inside }: Box): number {
  return store.bytes() + groups.bytes() + deadlines.bytes() + (outside?.bytes() ?? 0) + (inside?.bytes() ?? 0)
}
