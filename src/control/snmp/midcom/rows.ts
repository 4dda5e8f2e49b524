/**
 * The rows of midcomRuleTable and midcomGroupTable (RFC 5190): which there are, in what order, how many in which state. A row is
 * more than a rule: it is there before its rule is asked for, and for a while after that is over. What a rule is only policy knows.
 */
import { createOrdered, type Ordered } from '../../../storage/ordered.ts'
import {
  ACTIVE, IPV4, NEW_ENTRY, NOT_SET, SETTING, SINGLE, STATES, VOLATILE, isEstablished, isInitial, isOver,
} from './objects.ts'

export interface Owner {
  readonly name: string
  /** Length and octets: how each index of this owner begins. */
  readonly prefix: readonly number[]
  rows: number
  /** Rows without a rule. */
  idleRows: number
  /** Those of them that are over, as they are to go. */
  readonly leaving: Ordered<Row>
}

export interface Group {
  readonly owner: Owner
  readonly index: number
  /** Group of policy that holds the rules of its rows; 0: none of them is established. */
  policyGroup: number
  rows: number
  /** Rows that are established. */
  live: number
}

/** What a manager asks for: columns 9 to 21 and the lifetime. Never changed, but replaced. */
export interface Wanted {
  readonly interface: number
  readonly direction: number
  readonly maxIdleSec: number
  readonly protocol: number
  readonly portRange: number
  readonly internalVersion: number
  readonly externalVersion: number
  readonly internalAddress: Uint8Array
  readonly internalPrefix: number
  readonly internalPort: number
  readonly externalAddress: Uint8Array
  readonly externalPrefix: number
  readonly externalPort: number
  readonly lifetimeSec: number
}

/** What was granted: A1, A2, and where the rule is translated. */
export interface Granted {
  readonly insideAddress: Uint8Array
  readonly insidePort: number
  readonly outsideAddress: Uint8Array
  readonly outsidePort: number
  readonly interface: number
}

export interface Row {
  readonly group: Group
  readonly index: number
  /** Grows from row to row: of two that go at the same time the older goes first. */
  readonly serial: number
  rowStatus: number
  adminStatus: number
  operStatus: number
  storageType: number
  storageTimeSec: number
  error: string
  wanted: Wanted
  /** null: nothing. */
  granted: Granted | null
  /** Rule of policy; 0 unless established. */
  rule: number
  /** `wanted` and `granted` are not here yet: they are what policy says of the rule, which another door has asked for. */
  isUnread: boolean
  /** Another door has asked for its rule. */
  isAdopted: boolean
  /** Of rows that have been established, in that order; 0: never. */
  order: number
  /** A request about it waits for the authorizer. */
  isPending: boolean
  /** It has been removed. */
  isGone: boolean
  /** When it goes, on the clock of the box; Infinity unless it is over. */
  removeAtMs: number
}

const NO_OCTETS = new Uint8Array(0)
const DEFAULT_PREFIX = 128, DEFAULT_LIFETIME_SEC = 180, OUTBOUND = 2
export const DEFAULTS: Wanted = {
  interface: 0, direction: OUTBOUND, maxIdleSec: 0, protocol: 0, portRange: SINGLE, internalVersion: IPV4, externalVersion: IPV4,
  internalAddress: NO_OCTETS, internalPrefix: DEFAULT_PREFIX, internalPort: 0,
  externalAddress: NO_OCTETS, externalPrefix: DEFAULT_PREFIX, externalPort: 0, lifetimeSec: DEFAULT_LIFETIME_SEC,
}

/** midcomRuleOwner: SnmpAdminString (SIZE (0..32)). Longer ones do not fit, and their rules have no row. */
export const MOST_OWNER_OCTETS = 32

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}

function compareOwners(a: Owner, b: Owner): number { return a === b ? 0 : compareNumbers(a.prefix, b.prefix) }
function compareGroups(a: Group, b: Group): number { return compareOwners(a.owner, b.owner) || a.index - b.index }

function compareLeaving(a: Row, b: Row): number { return a.removeAtMs - b.removeAtMs || a.serial - b.serial }

/** As the index of this owner, with these numbers behind it, stands to another index, which may be of any length. */
function compareIndex(owner: Owner, first: number, second: number, index: readonly number[]): number {
  const { prefix } = owner
  for (let i = 0; i < prefix.length; i++) {
    if (i === index.length) return 1
    if (prefix[i] !== index[i]) return prefix[i]! - index[i]!
  }
  let at = prefix.length
  if (at === index.length) return 1
  if (first !== index[at]) return first - index[at]!
  at++
  if (second === 0) return at - index.length
  if (at === index.length) return 1
  if (second !== index[at]) return second - index[at]!
  return at + 1 - index.length
}

export function compareRow(row: Row, index: readonly number[]): number {
  return compareIndex(row.group.owner, row.group.index, row.index, index)
}
export function compareGroup(group: Group, index: readonly number[]): number {
  return compareIndex(group.owner, group.index, 0, index)
}
export function groupIndex(group: Group): number[] { return [...group.owner.prefix, group.index] }
export function rowIndex(row: Row): number[] { return [...row.group.owner.prefix, row.group.index, row.index] }

export interface Rows {
  readonly rows: Ordered<Row>
  readonly groups: Ordered<Group>
  find(index: readonly number[]): Row | undefined
  findGroup(index: readonly number[]): Group | undefined
  rowOf(group: Group, index: number): Row | undefined
  /** The row that shows this rule of policy. */
  ofRule(rule: number): Row | undefined
  ofPolicyGroup(group: number): Group | undefined
  owner(name: string): Owner | undefined
  /** In order of their indices. */
  members(group: Group): Row[]
  /** Makes a row that is not there, in state newEntry. */
  add(owner: string, group: number, index: number): Row
  /** The same in a group of which this is known. */
  addTo(group: Group, index: number): Row
  /** The group that is there, or else a new one, which has no rows yet and must get one. */
  enterGroup(owner: string, group: number): Group
  remove(row: Row): void
  /** It has not been removed. */
  has(row: Row): boolean
  /** Enters another state; leaving an established one gives up its rule. `nowMs`: from then on a row that is over is kept. */
  enter(row: Row, state: number, nowMs: number): void
  /** A rule of policy is this row's now. */
  establish(row: Row, state: number, rule: number, policyGroup: number): void
  /** How long a row that is over is still kept. */
  keep(row: Row, storageTimeSec: number, nowMs: number): void
  /** Removes what has been kept long enough; `gone` hears of each. */
  purge(nowMs: number, gone: (row: Row) => void): void
  /** Of rows that are over, in all or of one owner, the one that is to go first. */
  oldest(owner?: Owner): Row | undefined
  /** Rows that are over. */
  overRows(): number
  /** Rows in this state now. */
  count(state: number): number
  owners(): number
  /** Rows without a rule. */
  idleRows(): number
}

export function createRows(): Rows {
  const rows = createOrdered<Row>((a, b) => compareGroups(a.group, b.group) || a.index - b.index)
  const groups = createOrdered<Group>(compareGroups)
  const leaving = createOrdered(compareLeaving)
  const owners = new Map<string, Owner>()
  const byRule = new Map<number, Row>()
  const byPolicyGroup = new Map<number, Group>()
  const counts = new Array<number>(STATES + 1).fill(0)
  let serial = 0, established = 0

  function ownerOf(name: string): Owner {
    let owner = owners.get(name)
    if (owner === undefined) {
      const octets = [...new TextEncoder().encode(name)]
      owner = { name, prefix: [octets.length, ...octets], rows: 0, idleRows: 0, leaving: createOrdered(compareLeaving) }
      owners.set(name, owner)
    }
    return owner
  }

  function enterGroup(ownerName: string, index: number): Group {
    return groups.enter({ owner: ownerOf(ownerName), index, policyGroup: 0, rows: 0, live: 0 })
  }

  function add(ownerName: string, group: number, index: number): Row {
    return addTo(enterGroup(ownerName, group), index)
  }

  function addTo(group: Group, index: number): Row {
    const { owner } = group
    const row: Row = {
      group, index, serial: ++serial, rowStatus: ACTIVE, adminStatus: NOT_SET, operStatus: NEW_ENTRY, storageType: VOLATILE,
      storageTimeSec: 0, error: '', wanted: DEFAULTS, granted: null, rule: 0, isUnread: false, isAdopted: false, order: 0,
      isPending: false, isGone: false, removeAtMs: Infinity,
    }
    rows.add(row)
    group.rows++
    owner.rows++
    owner.idleRows++
    counts[NEW_ENTRY]!++
    return row
  }

  function members(group: Group): Row[] {
    const found: Row[] = []
    let row = rows.from((other) => compareGroups(other.group, group))
    for (; row !== undefined && row.group === group; row = rows.after(row)) found.push(row)
    return found
  }

  /** The rule is over, or never was. */
  function release(row: Row): void {
    if (row.rule === 0) return
    const { group } = row
    byRule.delete(row.rule)
    row.rule = 0
    established--
    group.owner.idleRows++
    if (--group.live > 0) return
    byPolicyGroup.delete(group.policyGroup)
    group.policyGroup = 0
  }

  function remove(row: Row): void {
    const { group } = row, { owner } = group
    release(row)
    stay(row)
    counts[row.operStatus]!--
    rows.remove(row)
    row.isGone = true
    if (--group.rows === 0) groups.remove(group)
    owner.idleRows--
    if (--owner.rows === 0) owners.delete(owner.name)
  }

  /** It goes at no time. */
  function stay(row: Row): void {
    if (row.removeAtMs === Infinity) return
    leaving.remove(row)
    row.group.owner.leaving.remove(row)
    row.removeAtMs = Infinity
  }

  function keep(row: Row, storageTimeSec: number, nowMs: number): void {
    row.storageTimeSec = storageTimeSec
    stay(row)
    if (!isOver(row.operStatus)) return
    row.removeAtMs = nowMs + storageTimeSec * 1000
    leaving.add(row)
    row.group.owner.leaving.add(row)
  }

  function enter(row: Row, state: number, nowMs: number): void {
    counts[row.operStatus]!--
    counts[state]!++
    row.operStatus = state
    if (!isEstablished(state)) {
      release(row)
      row.granted = null
    }
    if (isOver(state)) keep(row, row.storageTimeSec, nowMs)
  }

  function establish(row: Row, state: number, rule: number, policyGroup: number): void {
    const { group } = row
    if (row.rule === 0) {
      established++
      group.live++
      group.owner.idleRows--
    } else byRule.delete(row.rule)
    row.rule = rule
    byRule.set(rule, row)
    group.policyGroup = policyGroup
    byPolicyGroup.set(policyGroup, group)
    counts[row.operStatus]!--
    counts[state]!++
    row.operStatus = state
  }

  function purge(nowMs: number, gone: (row: Row) => void): void {
    for (let row = leaving.first(); row !== undefined && row.removeAtMs <= nowMs; row = leaving.first()) {
      remove(row)
      gone(row)
    }
  }

  return {
    rows, groups, members, add, addTo, enterGroup, remove, enter, establish, keep, purge,
    has: (row) => !row.isGone,
    find: (index) => rows.find((row) => compareRow(row, index)),
    findGroup: (index) => groups.find((group) => compareGroup(group, index)),
    rowOf: (group, index) => rows.find((other) => compareGroups(other.group, group) || other.index - index),
    ofRule: (rule) => byRule.get(rule),
    ofPolicyGroup: (group) => byPolicyGroup.get(group),
    owner: (name) => owners.get(name),
    oldest: (owner) => (owner?.leaving ?? leaving).first(),
    overRows: () => leaving.size,
    count: (state) => counts[state]!,
    owners: () => owners.size,
    idleRows: () => rows.size - established,
  }
}

/** A column was written: nothing was before. */
export function touch(rows: Rows, row: Row, nowMs: number): void {
  if (isInitial(row.operStatus)) rows.enter(row, SETTING, nowMs)
}
