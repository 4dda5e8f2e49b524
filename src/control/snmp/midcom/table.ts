/**
 * midcomRuleTable over policy: rows follow what becomes of their rules, whoever asked for it, and rules of other doors get rows of
 * their own. What a manager sets goes through sets.ts; here is what happens by itself, what is counted, kept, and told.
 */
import { MOST_OWNER_OCTETS, createRows, groupIndex, rowIndex, type Group, type Row, type Rows } from './rows.ts'
import type { Book, Cause, SessionListener } from '../../../policy/api.ts'
import type { Journal, JournalChange } from '../../../policy/journal.ts'
import { integer, unsigned32, type Notification, type Originator } from '../mib.ts'
import type { Backlog, Kind } from '../backlog.ts'
import { failureOf, grantedOf, wantedOf, type BoxKind } from './asking.ts'
import { entryOf, keptOf, keyOf } from './keeping.ts'
import {
  ENABLE, ENABLED, GROUP_ENTRY, GROUP_LIFETIME, LIFETIME, NON_VOLATILE, OPER_STATUS, RESERVE, RESERVED, RULE_ENTRY,
  SETTING, SOLICITED_GROUP_EVENT, SOLICITED_RULE_EVENT, TERMINATED, TERMINATED_ON_REQUEST, TIMED_OUT, UNSOLICITED_RULE_EVENT,
  VOLATILE, isEstablished, isInitial, isOver,
} from './objects.ts'

export interface TableOptions {
  book: Book
  /** Where rules of other doors wait until somebody asks. */
  backlog: Backlog
  box: BoxKind
  /** Milliseconds on the clock of policy. */
  nowMs(): number
  /** Milliseconds of the calendar. */
  wallMs(): number
  /** null: nothing outlasts a restart. */
  journal: Journal | null
  /** Rows that cannot come back, and a journal that cannot be written. */
  log(line: string): void
}

/** Counts since the start, by what was asked for: [, reserve, enable]. */
export interface Totals {
  rejectedEntries: number
  incorrect: [number, number, number]
  rejected: [number, number, number]
  expired: [number, number, number]
  onRequest: [number, number, number]
  terminated: [number, number, number]
}

export interface Table {
  readonly rows: Rows
  readonly totals: Totals
  /** Whether rows can be nonVolatile: there is a journal, and it can be written. */
  isPersistent(): boolean
  /** Own sessions of policy; what they cause their own replies say. */
  readonly listeners: Set<SessionListener>
  /** Removes rows whose time is over, and has that kept. */
  purge(): void
  /** The same without writing: whoever calls it does. */
  sweep(): boolean
  leftSec(row: Row): number
  groupLeftSec(group: Group): number
  /** The row, with what policy says of its rule where that is what it shows. Whoever looks into a row asks this first. */
  readUp(row: Row): Row
  /** The rule of this row is over. */
  finish(row: Row, state: number): void
  remove(row: Row): void
  /** This row is to be kept as it is now. */
  changed(row: Row): void
  store(row: Row, storageType: number): void
  /** Number of a rule that is established now: rules come back in this order. */
  nextOrder(): number
  /** Writes what has changed; null: nothing has. */
  flush(): Promise<void> | null
  /** `state`: the one that it is about to enter. */
  tellRule(row: Row, name: 'solicited' | 'unsolicited', lifetimeSec: number, state?: number): Notification
  tellGroup(group: Group, lifetimeSec: number): Notification
}

/** Rules of other doors are numbered from here on, out of the way of managers, who begin with 1. */
const OTHERS = 0x8000_0000
const MOST_INDEX = 0xffff_ffff
/** A journal that cannot be written is tried again, when somebody asks for something. */
const RETRY_MS = 10_000

function stateAfter(cause: Cause): number {
  return cause === 'expired' || cause === 'idle' ? TIMED_OUT : cause === 'agent' ? TERMINATED_ON_REQUEST : TERMINATED
}

export function createTable(options: TableOptions, originator: Originator): Table {
  const { book, backlog, box, journal, log } = options
  const rows = createRows()
  const listeners = new Set<SessionListener>()
  const totals: Totals = {
    rejectedEntries: 0, incorrect: [0, 0, 0], rejected: [0, 0, 0], expired: [0, 0, 0], onRequest: [0, 0, 0], terminated: [0, 0, 0],
  }
  let isBroken = false, retryAtMs = 0
  let orders = 0
  const dirty = new Set<Row>()
  /** Keys of rows that are gone. */
  const dropped = new Set<string>()
  /** Keys at which a broken journal may hold something else than what there is: it goes as soon as that can be written. */
  const stale = new Set<string>()

  // What is kept.

  function changed(row: Row): void {
    if (row.storageType === NON_VOLATILE) dirty.add(row)
  }

  function forget(row: Row): void {
    dirty.delete(row)
    if (journal === null) return
    // Of a row that the disk shows otherwise the end is to be told as not kept, too.
    if (row.storageType === NON_VOLATILE || (stale.size > 0 && stale.has(keyOf(row)))) dropped.add(keyOf(row))
  }

  function store(row: Row, storageType: number): void {
    if (storageType !== NON_VOLATILE) forget(row)
    row.storageType = storageType
    changed(row)
  }

  function flush(): Promise<void> | null {
    return journal === null || (dirty.size === 0 && dropped.size === 0) ? null : write(journal)
  }

  function write(to: Journal): Promise<void> | null {
    const nowMs = options.nowMs(), offsetMs = options.wallMs() - nowMs
    const changes: JournalChange[] = []
    const keys = [...new Set([...stale, ...dropped])]
    for (const key of keys) changes.push({ key, text: null })
    // A key that is used again is written behind its end.
    const written = [...dirty].filter(({ isPending }) => !isPending)
    for (const row of written) {
      const text = row.storageType === NON_VOLATILE ? entryOf(row, book.save(row.rule), nowMs, offsetMs) : null
      changes.push({ key: keyOf(row), text })
      keys.push(keyOf(row))
    }
    dropped.clear()
    stale.clear()
    // What waits for the authorizer is not to be half kept.
    for (const row of written) dirty.delete(row)
    if (changes.length === 0) return null
    retryAtMs = nowMs + RETRY_MS
    return to.write(changes).then(() => {
      if (isBroken) log('midcom: the journal can be written again')
      isBroken = false
    }, (error: unknown) => {
      const why = (error as Error).message
      if (!isBroken) log(`midcom: the journal cannot be written, rows that change are volatile from now on: ${why}`)
      isBroken = true
      // What the disk holds of these rows is not how they are: that is no backing (RFC 2579 StorageType), and it has to go.
      for (const row of written) row.storageType = VOLATILE
      for (const key of keys) stale.add(key)
      throw error
    })
  }

  /** For what nobody waits for. */
  function flushSoon(): void {
    flush()?.catch(() => { /* logged */ })
  }

  // Rows.

  function remove(row: Row): void {
    forget(row)
    rows.remove(row)
  }

  function sweep(): boolean {
    let hasGone = false
    rows.purge(options.nowMs(), (row) => {
      forget(row)
      hasGone = true
    })
    return hasGone
  }

  function purge(): void {
    if (sweep()) flushSoon()
    if (isBroken && options.nowMs() >= retryAtMs) write(journal!)?.catch(() => { /* logged */ })
  }

  function countEnd(kind: typeof RESERVE | typeof ENABLE, state: number): void {
    const total = state === TIMED_OUT ? totals.expired : state === TERMINATED_ON_REQUEST ? totals.onRequest : totals.terminated
    total[kind]++
  }

  function finish(row: Row, state: number): void {
    if (isEstablished(row.operStatus)) countEnd(row.operStatus === ENABLED ? ENABLE : RESERVE, state)
    rows.enter(row, state, options.nowMs())
    if (row.storageTimeSec === 0) remove(row)
    else changed(row)
  }

  function indexAfter(index: number): number { return index === MOST_INDEX ? OTHERS : index + 1 }

  /** Its group of this number, or the next number that is free. */
  function newGroup(owner: string, wanted: number): Group {
    let group = rows.enterGroup(owner, wanted)
    while (group.rows > 0) group = rows.enterGroup(owner, indexAfter(group.index))
    return group
  }

  function isNameable(owner: string): boolean {
    return rows.owner(owner) !== undefined || Buffer.byteLength(owner) <= MOST_OWNER_OCTETS
  }

  /**
   * Nobody could tell when its row is made, if nobody is to be told of it and its group is not shown yet. A group that is shown may
   * have a manager's number, and that only as long as another of its rules is there.
   */
  function kindToPutOff(rule: number, by: SessionListener | null): Kind {
    if (originator.hasTargets || (by !== null && listeners.has(by))) return 0
    const identity = book.identify(rule)
    if (identity === undefined || !isNameable(identity.owner) || rows.ofPolicyGroup(identity.group) !== undefined) return 0
    return identity.action === 'reserve' ? RESERVE : ENABLE
  }

  function missed(kind: Kind, cause: Cause): void {
    if (kind !== 0) countEnd(kind, stateAfter(cause))
  }

  /** A row for a rule that no manager has asked for through this table. */
  function adopt(rule: number): void {
    const identity = book.identify(rule)
    if (identity === undefined) return
    const { owner: name, group: policyGroup, action } = identity
    if (!isNameable(name)) return
    const owner = rows.owner(name)
    const shown = rows.ofPolicyGroup(policyGroup)
    const known = shown !== undefined && shown.owner === owner ? shown : undefined
    const group = known ?? newGroup(name, OTHERS + policyGroup)
    let index = OTHERS + rule
    if (known !== undefined) while (rows.rowOf(known, index) !== undefined) index = indexAfter(index)
    const row = rows.addTo(group, index)
    row.adminStatus = action === 'reserve' ? RESERVE : ENABLE
    row.order = ++orders
    row.isUnread = row.isAdopted = true
    rows.establish(row, action === 'reserve' ? RESERVED : ENABLED, rule, policyGroup)
  }

  function readUp(row: Row): Row {
    const status = row.isUnread ? book.describe(row.rule) : undefined
    if (status === undefined) return row
    row.isUnread = false
    row.wanted = wantedOf(status)
    row.granted = grantedOf(status, box)
    return row
  }

  function heard(rule: number, lifetimeSec: number, cause: Cause, by: SessionListener | null): void {
    if (by !== null && listeners.has(by)) return
    const row = rows.ofRule(rule)
    if (lifetimeSec > 0) {
      if (row === undefined) adopt(rule)
      else follow(row, lifetimeSec)
    } else if (row !== undefined) {
      const state = stateAfter(cause)
      const told = originator.hasTargets ? tellRule(row, 'unsolicited', 0, state) : null
      finish(row, state)
      if (told !== null) originator.notify(told)
    }
    flushSoon()
  }

  /** Another door has changed the lifetime of a rule, or enabled what was reserved. */
  function follow(row: Row, lifetimeSec: number): void {
    const identity = row.operStatus === RESERVED ? book.identify(row.rule) : undefined
    if (identity?.action === 'enable') {
      readUp(row)
      const status = book.describe(row.rule)!
      rows.establish(row, ENABLED, row.rule, identity.group)
      if (row.isAdopted) row.adminStatus = ENABLE
      row.wanted = wantedOf(status, row.wanted)
      row.granted = grantedOf(status, box)
    }
    changed(row)
    if (originator.hasTargets) originator.notify(tellRule(row, 'unsolicited', lifetimeSec))
  }

  // Notifications (RFC 5190 7.9).

  function tellRule(row: Row, name: 'solicited' | 'unsolicited', lifetimeSec: number, state = row.operStatus): Notification {
    const index = rowIndex(row)
    return {
      name: name === 'solicited' ? SOLICITED_RULE_EVENT : UNSOLICITED_RULE_EVENT,
      varbinds: [
        { name: [...RULE_ENTRY, OPER_STATUS, ...index], value: integer(state) },
        { name: [...RULE_ENTRY, LIFETIME, ...index], value: unsigned32(lifetimeSec) },
      ],
    }
  }

  function tellGroup(group: Group, lifetimeSec: number): Notification {
    return {
      name: SOLICITED_GROUP_EVENT,
      varbinds: [{ name: [...GROUP_ENTRY, GROUP_LIFETIME, ...groupIndex(group)], value: unsigned32(lifetimeSec) }],
    }
  }

  function groupLeftSec(group: Group): number {
    let most = 0
    for (const row of rows.members(group)) if (row.rule !== 0) most = Math.max(most, book.lifetimeSec(row.rule))
    return most
  }

  // The start: what was kept comes back, in the order in which it came, then what there is already.

  function restore(): void {
    if (journal === null) return
    const wallMs = options.wallMs(), nowMs = options.nowMs()
    const kept = [...journal.entries].map(([key, text]) => {
      const entry = keptOf(key, text, wallMs)
      if (entry === null) log(`midcom: the journal holds an entry of another kind at ${key}; it stays there`)
      return entry
    }).filter((entry) => entry !== null).sort((a, b) => a.order - b.order)
    for (const entry of kept) {
      const row = rows.add(entry.owner, entry.group, entry.index)
      Object.assign(row, {
        rowStatus: entry.rowStatus, adminStatus: entry.adminStatus, storageType: NON_VOLATILE, storageTimeSec: entry.storageTimeSec,
        error: entry.error, wanted: entry.wanted, order: entry.order,
      })
      orders = Math.max(orders, entry.order)
      if (entry.rule !== null) bringBack(row, entry.rule, entry.operStatus)
      else {
        rows.enter(row, isOver(entry.operStatus) || isInitial(entry.operStatus) ? entry.operStatus : SETTING, nowMs)
        if (isOver(entry.operStatus)) rows.keep(row, Math.max(0, (entry.removeAtMs - wallMs) / 1000), nowMs)
      }
    }
    purge()
    flushSoon()
  }

  function bringBack(row: Row, saved: Parameters<Book['restore']>[0], state: number): void {
    const nowMs = options.nowMs()
    if (saved.remainingMs > 0) {
      const outcome = book.restore(saved, row.group.policyGroup)
      if (outcome.ok) {
        const status = book.describe(outcome.value.rule)!
        rows.establish(row, state, outcome.value.rule, outcome.value.group)
        row.granted = grantedOf(status, box)
        return
      }
      row.error = failureOf(outcome.reason).text
      log(`midcom: rule ${keyOf(row)} does not come back: ${outcome.reason}`)
    }
    // Its lifetime was over while the box was down, or what it had is not there any more (RFC 5190 midcomRuleStorageType).
    const told = tellRule(row, 'unsolicited', 0, saved.remainingMs > 0 ? TERMINATED : TIMED_OUT)
    const kind = state === ENABLED ? ENABLE : RESERVE
    totals[saved.remainingMs > 0 ? 'terminated' : 'expired'][kind]++
    rows.enter(row, saved.remainingMs > 0 ? TERMINATED : TIMED_OUT, nowMs)
    rows.keep(row, row.storageTimeSec + Math.min(0, saved.remainingMs / 1000), nowMs)
    changed(row)
    setImmediate(() => { originator.notify(told) })
  }

  restore()
  for (const rule of book.rules()) if (rows.ofRule(rule) === undefined) adopt(rule)
  backlog.add({ heard, kindToPutOff, missed })

  return {
    rows, totals, listeners, purge, sweep, readUp, finish, remove, changed, store, flush, groupLeftSec,
    nextOrder: () => ++orders,
    isPersistent: () => journal !== null && !isBroken,
    leftSec: (row) => row.rule === 0 ? 0 : book.lifetimeSec(row.rule),
    tellRule, tellGroup,
  }
}
