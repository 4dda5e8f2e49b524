/**
 * Phase one of a SET (RFC 3416 4.2.5): all its varbinds against the tables as they are. What is found good is a list of drafts,
 * one a row, as if everything were assigned at once; nothing has changed. error-status and order of checks: RFC 3416; when a
 * column may be written: RFC 5190.
 */
import {
  INCONSISTENT_NAME, INCONSISTENT_VALUE, NO_ACCESS, NO_CREATION, NOT_WRITABLE, RESOURCE_UNAVAILABLE, UNSIGNED32, WRONG_TYPE,
  type SetFault, type Value, type Varbind,
} from '../mib.ts'
import { createNames } from '../named-twice.ts'
import { checkValue, isWritable, isWritableIn, write } from './columns.ts'
import { named, type Named } from './names.ts'
import {
  ACTIVE, ADMIN_STATUS, CREATE_AND_GO, CREATE_AND_WAIT, DESTROY, ENABLE, ENABLED, GROUP_LIFETIME, LIFETIME, NEW_ENTRY, NON_VOLATILE,
  NOT_IN_SERVICE, NOT_SET, RESERVE, RESERVED, ROW_STATUS, STORAGE_TIME, STORAGE_TYPE, VOLATILE, isEstablished, isInitial,
} from './objects.ts'
import { DEFAULTS, type Group, type Row, type Wanted } from './rows.ts'
import type { Table } from './table.ts'

export interface Draft {
  owner: string
  group: number
  index: number
  /** null: it is to be made. */
  row: Row | null
  /** Which varbind names it first. */
  at: number
  isDestroyed: boolean
  /** As it will read; 0: as it was. */
  rowStatus: number
  wanted: Wanted
  storageType: number
  storageTimeSec: number | null
  /** RESERVE, ENABLE, or 0: nothing is asked for. */
  action: number
  adminStatus: number
  /** Columns other than RowStatus are written. */
  isTouched: boolean
  hasLifetime: boolean
}

export interface LifetimeDraft {
  /** One of them. */
  row: Row | null
  group: Group | null
  lifetimeSec: number
  at: number
}

export interface Drafts { rows: Draft[]; lifetimes: LifetimeDraft[] }

export interface DraftLimits {
  /** Rows without a rule: in the table, and of one owner. */
  idleRows: number
  idleRowsPerOwner: number
}

/** `mayChange`: may whoever asks act on rules of this owner? */
export function draft(
  table: Table, varbinds: readonly Varbind[], mayChange: (owner: string) => boolean, limits: DraftLimits,
): Drafts | SetFault {
  const { rows } = table
  const names = varbinds.map(({ name }) => named(name))
  const made = creations(table, varbinds, names)
  const drafts = new Map<string, Draft>()
  const lifetimes: LifetimeDraft[] = []
  const once = createNames()
  const making = new Map<string, number>()

  for (let i = 0; i < varbinds.length; i++) {
    const { value } = varbinds[i]!
    const name = names[i] ?? null
    const fault = (status: number): SetFault => {
      // RFC 5190 midcomTotalRejectedRuleEntries: attempts that failed.
      table.totals.rejectedEntries += made.size
      return { status, index: i }
    }
    if (name === null) return fault(NOT_WRITABLE)
    const { index, column } = name
    if (index !== null && !mayChange(index.owner)) return fault(NO_ACCESS)
    const wrong = checkSyntax(name, value)
    if (wrong !== 0) return fault(wrong)
    if (index === null) return fault(NO_CREATION)
    const key = name.suffix.join('.')
    const again = once.enter(varbinds[i]!)
    if (again === INCONSISTENT_VALUE) return fault(again)
    if (again !== null) continue
    if (name.table === 'group') {
      const group = rows.findGroup(name.suffix)
      if (group === undefined) return fault(INCONSISTENT_NAME)
      if (rows.members(group).some(({ isPending }) => isPending)) return fault(INCONSISTENT_VALUE)
      lifetimes.push({ row: null, group, lifetimeSec: value.value as number, at: i })
      continue
    }
    const found = rows.find(name.suffix)
    const row = found === undefined ? null : table.readUp(found)
    const isDestroyingNothing = row === null && column === ROW_STATUS && value.value === DESTROY
    if (row === null && !made.has(key) && !isDestroyingNothing) {
      return fault(column === ROW_STATUS ? INCONSISTENT_VALUE : INCONSISTENT_NAME)
    }
    if (isDestroyingNothing) {
      if (made.has(key)) return fault(INCONSISTENT_VALUE)
      continue
    }
    let one = drafts.get(key)
    if (one === undefined) {
      if (row === null && !hasRoom(table, index.owner, making, limits)) return fault(RESOURCE_UNAVAILABLE)
      one = {
        owner: index.owner, group: index.group, index: index.rule, row, at: i, isDestroyed: false, rowStatus: 0,
        wanted: row?.wanted ?? DEFAULTS, storageType: row?.storageType ?? VOLATILE, storageTimeSec: null, action: 0,
        adminStatus: row?.adminStatus ?? NOT_SET, isTouched: false, hasLifetime: false,
      }
      drafts.set(key, one)
    }
    const bad = assign(table, one, column, value, i, lifetimes)
    if (bad !== 0) return fault(bad)
  }
  return settle([...drafts.values()], lifetimes)
}

/** Keys of the rows that are to be made. */
function creations(table: Table, varbinds: readonly Varbind[], names: readonly (Named | null)[]): Set<string> {
  const keys = new Set<string>()
  names.forEach((name, i) => {
    const { value } = varbinds[i]!.value
    if (name?.table !== 'rule' || name.column !== ROW_STATUS || name.index === null) return
    const isCreation = value === CREATE_AND_GO || value === CREATE_AND_WAIT
    if (isCreation && table.rows.find(name.suffix) === undefined) keys.add(name.suffix.join('.'))
  })
  return keys
}

function checkSyntax({ table, column }: Named, value: Value): number {
  if (table === 'group') return column !== GROUP_LIFETIME ? NOT_WRITABLE : value.tag === UNSIGNED32 ? 0 : WRONG_TYPE
  return isWritable(column) ? checkValue(column, value) : NOT_WRITABLE
}

/**
 * Is there room for one more row of this owner? Then it is among those that are being made, by owner. Rows that are over are kept
 * as long as nobody needs their room.
 */
function hasRoom({ rows }: Table, name: string, making: Map<string, number>, limits: DraftLimits): boolean {
  const owner = rows.owner(name)
  let all = 1
  for (const count of making.values()) all += count
  const own = (making.get(name) ?? 0) + 1
  making.set(name, own)
  const incomplete = owner === undefined ? 0 : owner.idleRows - owner.leaving.size
  return incomplete + own <= limits.idleRowsPerOwner && rows.idleRows() - rows.overRows() + all <= limits.idleRows
}

/** error-status of this column in this row, or 0. */
function assign(table: Table, one: Draft, column: number, value: Value, at: number, lifetimes: LifetimeDraft[]): number {
  const { row } = one
  const state = row?.operStatus ?? NEW_ENTRY
  const number = typeof value.value === 'number' ? value.value : 0
  if (row?.isPending === true) return INCONSISTENT_VALUE
  if (column === ROW_STATUS) return assignStatus(one, number)
  one.isTouched = true
  if (!isWritableIn(column, state)) return INCONSISTENT_VALUE
  if (column === ADMIN_STATUS) return assignAdmin(one, state, number)
  if (column === STORAGE_TYPE) {
    // RFC 5190: permanent cannot be set; other and readOnly are not for managers either.
    if (number !== VOLATILE && number !== NON_VOLATILE) return INCONSISTENT_VALUE
    if (number === NON_VOLATILE && !table.isPersistent()) return INCONSISTENT_VALUE
    one.storageType = number
    return 0
  }
  if (column === STORAGE_TIME) {
    one.storageTimeSec = number
    return 0
  }
  // In an established row this is RLC, unless it goes with a request for something new (see `settle`).
  if (column === LIFETIME) one.hasLifetime = true
  if (column === LIFETIME && row !== null && isEstablished(state)) lifetimes.push({ row, group: null, lifetimeSec: number, at })
  one.wanted = write(one.wanted, column, value)
  return 0
}

function assignStatus(one: Draft, number: number): number {
  const isThere = one.row !== null
  if (number === CREATE_AND_GO || number === CREATE_AND_WAIT) {
    if (isThere) return INCONSISTENT_VALUE
    one.rowStatus = number === CREATE_AND_GO ? ACTIVE : NOT_IN_SERVICE
  } else if (!isThere) return INCONSISTENT_VALUE
  else if (number === DESTROY) one.isDestroyed = true
  else one.rowStatus = number
  return 0
}

function assignAdmin(one: Draft, state: number, number: number): number {
  if (number === NOT_SET) return INCONSISTENT_VALUE
  one.adminStatus = number
  if (isInitial(state)) one.action = number
  else if (state === RESERVED) one.action = number === ENABLE ? ENABLE : 0
  else if (state !== ENABLED || number === RESERVE) return INCONSISTENT_VALUE
  // What is in force already has no effect (RFC 5190 midcomRuleAdminStatus).
  if (one.action === 0) one.adminStatus = one.row!.adminStatus
  return 0
}

/** What only all varbinds together say. */
function settle(rows: Draft[], lifetimes: LifetimeDraft[]): Drafts | SetFault {
  /** Rows of which a lifetime that is written is no change of its own: it is part of a request, or the row goes. */
  const others = new Set<Row | null>()
  const ends: LifetimeDraft[] = []
  for (const { row, at, action, isDestroyed } of rows) {
    if (isDestroyed && action !== 0) return { status: INCONSISTENT_VALUE, index: at }
    if (row === null || (action === 0 && !isDestroyed)) continue
    others.add(row)
    if (isDestroyed && isEstablished(row.operStatus)) ends.push({ row, group: null, lifetimeSec: 0, at })
  }
  const changes = lifetimes.filter(({ row }) => row === null || !others.has(row))
  return { rows, lifetimes: [...changes, ...ends].sort((a, b) => a.at - b.at) }
}
