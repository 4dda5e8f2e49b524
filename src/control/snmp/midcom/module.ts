/**
 * The MIDCOM-MIB (RFC 5190) over policy: midcomRuleTable and midcomGroupTable, what the box can do, resources, statistics and the
 * three notifications. midcomConfig objects are read only, as midcomCompliance allows.
 */
import { TRADITIONAL, type Policy, type PolicyCore } from '../../../policy/api.ts'
import type { Journal } from '../../../policy/journal.ts'
import {
  counter32, gauge32, integer, octets, text, truth, unsigned32, type MibModule, type ModuleFactory, type Value,
} from '../mib.ts'
import type { Backlog } from '../backlog.ts'
import type { Binds } from '../nat/binds.ts'
import { createObjects, scalar, table as smallTable } from '../objects.ts'
import { orderedTable } from '../ordered-table.ts'
import { COLUMNS, read } from './columns.ts'
import {
  CONFIG, ENABLED, GROUP_ENTRY, GROUP_LIFETIME, INSIDE_IF, MIDCOM_MIB, NEW_ENTRY, OUTSIDE_IF, RESERVED, RESOURCE_ENTRY,
  RULE_ENTRY, SETTING, STATISTICS, isEstablished,
} from './objects.ts'
import { compareGroup, compareRow, groupIndex, rowIndex, type Group, type Row } from './rows.ts'
import { createSets } from './sets.ts'
import { createTable } from './table.ts'

export interface MidcomMibOptions {
  policy: Pick<Policy, 'capabilities' | 'ticket' | 'appliedTicket' | 'onApplied' | 'pump'> & Pick<PolicyCore, 'book'>
  backlog: Backlog
  /** Bindings of rules as NAT-MIB numbers them, for midcomResourceTable; null: the box does not translate. */
  binds: Binds | null
  /** TRADITIONAL or TWICE: what a rule gets on a box that is twice-NAT capable. */
  service?: number
  journal: Journal | null
  /** Rows without a rule at a time: in all, and of one owner. */
  idleRows: number
  idleRowsPerOwner: number
  /** Moves policy's time; called before anything is asked of it. */
  advance(): void
  /** Policy has something new to be looked at. */
  wake(): void
  /** Milliseconds on the clock of policy. */
  nowMs(): number
  /** Milliseconds of the calendar. */
  wallMs(): number
  log(line: string): void
}

/* midcomConfigIfBits: bit 0 is the highest of the first octet. */
const IPV4_BIT = 0, IPV6_BIT = 1, ADDRESS_WILDCARDS = 2, PORT_WILDCARDS = 3, FIREWALL = 4, NAT = 5, PORT_TRANSLATION = 6,
  PROTOCOL_TRANSLATION = 7, TWICE_NAT = 8, INSIDE = 9
/** The group that shows all rules of agents in the packet filter, and where it stands: before what the configuration says. */
const FIREWALL_GROUP = 'midcom', FIREWALL_PRIORITY = 0
const RESOURCES = [4, 5, 6, 7, 8, 9, 10]
/** Entered at a time: a tenth of a millisecond or two. */
const RULES_A_PIECE = 64
/** MidcomNatBindMode. */
const NO_BIND = 3

function bits(set: readonly number[], count: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(count / 8))
  for (const bit of set) bytes[bit >> 3]! |= 0x80 >> (bit & 7)
  return bytes
}

export function midcomMib(options: MidcomMibOptions): ModuleFactory {
  const { policy, backlog, binds } = options, { book, capabilities } = policy
  const box = { nat: capabilities.nat, service: options.service ?? TRADITIONAL }

  return (originator): MibModule => {
    options.advance()
    const table = createTable({ ...options, book, box }, originator)
    const { rows, totals } = table
    const prepare = createSets({
      policy, table, box, nowMs: () => options.nowMs(), wake: () => { options.wake() },
      limits: { idleRows: options.idleRows, idleRowsPerOwner: options.idleRowsPerOwner },
    }, originator)

    function capabilityBits(interfaceIndex: number): Value {
      const can = capabilities
      const all: [number, boolean][] = [
        [IPV4_BIT, true], [IPV6_BIT, true], [ADDRESS_WILDCARDS, can.internalWildcards || can.externalWildcards],
        [PORT_WILDCARDS, can.portWildcards], [FIREWALL, can.firewall], [NAT, can.nat], [PORT_TRANSLATION, can.portTranslation],
        [PROTOCOL_TRANSLATION, can.protocolTranslation], [TWICE_NAT, can.twiceNat], [INSIDE, interfaceIndex === INSIDE_IF],
      ]
      return octets(bits(all.filter(([, is]) => is).map(([bit]) => bit), INSIDE + 1))
    }

    /** midcomResourceTable: what a rule uses of NAT-MIB and of the packet filter. */
    function resource(row: Row, column: number): Value {
      const isUsed = row.rule !== 0 && isEstablished(row.operStatus)
      if (column === 10) return unsigned32(isUsed && row.operStatus === ENABLED ? row.rule : 0)
      if (column === 8 || column === 9) return unsigned32(0)
      const bind = isUsed && binds !== null ? column < 6 ? binds.outsideOf(row.rule) : binds.insideOf(row.rule) : undefined
      if (column === 4 || column === 6) return integer(bind?.mode ?? NO_BIND)
      return unsigned32(bind?.id ?? 0)
    }

    const interfaces = [INSIDE_IF, OUTSIDE_IF].map((index) => ({ index: [index], row: index }))
    const total = (n: number, get: () => number) => scalar([...STATISTICS, n], () => counter32(get()))
    const current = (n: number, get: () => number) => scalar([...STATISTICS, n], () => gauge32(get()))
    const kinds = ([[4, 1, RESERVED], [10, 2, ENABLED]] as const).flatMap(([first, kind, state]) => [
      total(first, () => totals.incorrect[kind]), total(first + 1, () => totals.rejected[kind]),
      current(first + 2, () => rows.count(state)), total(first + 3, () => totals.expired[kind]),
      total(first + 4, () => totals.onRequest[kind]), total(first + 5, () => totals.terminated[kind]),
    ])
    const identity = { oid: MIDCOM_MIB, description: 'MIDCOM-MIB: policy rules of MIDCOM agents (RFC 5190)' }
    const objects = createObjects(MIDCOM_MIB, identity, [
      orderedTable<Row>({
        entry: RULE_ENTRY, columns: COLUMNS, rows: rows.rows, compare: compareRow, index: rowIndex,
        read: (row, column) => read(table.readUp(row), column, table.leftSec(row), options.nowMs()),
      }),
      orderedTable<Group>({
        entry: GROUP_ENTRY, columns: [GROUP_LIFETIME], rows: rows.groups, compare: compareGroup, index: groupIndex,
        read: (group) => unsigned32(table.groupLeftSec(group)),
      }),
      scalar([...CONFIG, 1], () => unsigned32(capabilities.maxLifetimeSec)),
      scalar([...CONFIG, 2], () => truth(table.isPersistent())),
      smallTable<number>([...CONFIG, 3, 1], { 2: capabilityBits, 3: () => truth(true) }, () => interfaces),
      // Row 0 stands for both interfaces.
      smallTable<null>([...CONFIG, 4, 1], { 2: () => text(FIREWALL_GROUP), 3: () => unsigned32(FIREWALL_PRIORITY) },
        () => [{ index: [0], row: null }]),
      orderedTable<Row>({
        entry: RESOURCE_ENTRY, columns: RESOURCES, rows: rows.rows, compare: compareRow, index: rowIndex, read: resource,
      }),
      current(1, rows.owners), total(2, () => totals.rejectedEntries),
      current(3, () => rows.count(NEW_ENTRY) + rows.count(SETTING)), ...kinds,
    ])

    function atNow<A extends unknown[], R>(work: (...args: A) => R): (...args: A) => R {
      return (...args) => {
        options.advance()
        backlog.catchUp()
        table.purge()
        return work(...args)
      }
    }

    function catchUp(): boolean {
      backlog.catchUp(RULES_A_PIECE)
      return backlog.size === 0
    }

    return { ...objects, get: atNow(objects.get), next: atNow(objects.next), prepare: atNow(prepare), catchUp }
  }
}

