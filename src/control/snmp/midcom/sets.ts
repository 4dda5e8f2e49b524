/**
 * SETs of the MIDCOM-MIB: transactions of RFC 5189 as RFC 5190 7 spells them. Phase one makes drafts (drafts.ts) and asks policy
 * whether lifetimes may change; phase two assigns everything, then reserves and enables. What a reservation or an enable rule
 * comes to never fails the SET: it is a state of the row. An answer leaves when packets do what it says and, of rows that are to
 * outlast a restart, when the journal is on disk.
 */
import type {
  BatchOutcome, BookSession, EnableReply, LifetimeChange, LifetimeReply, Outcome, Policy, PolicyCore, Reason, ReserveReply,
  SessionListener,
} from '../../../policy/api.ts'
import {
  INCONSISTENT_VALUE, NO_ACCESS, NotUndone, RESOURCE_UNAVAILABLE, type Notification, type Originator, type Request, type SetFault,
  type SetPlan, type Varbind,
} from '../mib.ts'
import { enableRequest, failureOf, grantedOf, reserveRequest, type BoxKind, type Failure } from './asking.ts'
import { draft, type Draft, type DraftLimits, type Drafts, type LifetimeDraft } from './drafts.ts'
import {
  CHECKING_REQUEST, ENABLE, ENABLED, INCORRECT_REQUEST, REQUEST_REJECTED, RESERVED, TERMINATED, TERMINATED_ON_REQUEST,
  isEstablished, isOver,
} from './objects.ts'
import { touch, type Row } from './rows.ts'
import type { Table } from './table.ts'

export interface SetsOptions {
  policy: Pick<PolicyCore, 'book'> & Pick<Policy, 'ticket' | 'appliedTicket' | 'onApplied' | 'pump'>
  table: Table
  box: BoxKind
  limits: DraftLimits
  nowMs(): number
  /** Policy has something new to be looked at. */
  wake(): void
}

export type Prepare = (request: Request, varbinds: readonly Varbind[]) => SetFault | SetPlan

/** An agent's session with policy, or why it has none: an error-status. */
type Opened = BookSession | { status: number }

export function createSets({ policy, table, box, limits, nowMs, wake }: SetsOptions, originator: Originator): Prepare {
  const { book } = policy, { rows, totals } = table
  const sessions = new Map<string, BookSession>()
  /** Those that the authorizer has not decided about yet: what the same agent asks for meanwhile waits for the same one. */
  const opening = new Map<string, Promise<Opened>>()
  /** Answers that wait for the packet path. */
  let waiting: { ticket: number; resolve: () => void }[] = []

  policy.onApplied(() => {
    if (waiting.length === 0) return
    const applied = policy.appliedTicket()
    const ready = waiting.filter(({ ticket }) => (applied - ticket | 0) >= 0)
    if (ready.length === 0) return
    waiting = waiting.filter(({ ticket }) => (applied - ticket | 0) < 0)
    for (const { resolve } of ready) resolve()
  })

  /** null: what policy has said so far is true for packets. */
  function whenApplied(): Promise<void> | null {
    const ticket = policy.ticket()
    if ((policy.appliedTicket() - ticket | 0) < 0) policy.pump()
    if ((policy.appliedTicket() - ticket | 0) >= 0) return null
    return new Promise((resolve) => { waiting.push({ ticket, resolve }) })
  }

  function open(agent: string): Opened | Promise<Opened> {
    const known = sessions.get(agent)
    if (known?.isOpen === true) return known
    const underWay = opening.get(agent)
    if (underWay !== undefined) return underWay
    const listener: SessionListener = {
      ruleEvent() { /* the table watches */ }, groupEvent() { /* so it does */ },
      terminated() {
        table.listeners.delete(listener)
        if (sessions.get(agent) === session) sessions.delete(agent)
      },
    }
    let session: BookSession | null = null
    const opened = (outcome: Outcome<BookSession>): Opened => {
      if (!outcome.ok) return { status: outcome.reason === 'lack-of-resources' ? RESOURCE_UNAVAILABLE : NO_ACCESS }
      session = outcome.value
      table.listeners.add(listener)
      sessions.set(agent, session)
      return session
    }
    const outcome = book.openSession(agent, listener)
    if (!(outcome instanceof Promise)) return opened(outcome)
    const pending = outcome.then(opened).finally(() => { opening.delete(agent) })
    opening.set(agent, pending)
    return pending
  }

  function changesOf(lifetimes: readonly LifetimeDraft[]): LifetimeChange[] {
    return lifetimes.map(({ row, group, lifetimeSec }) => ({ rule: row?.rule ?? 0, group: group?.policyGroup ?? 0, lifetimeSec }))
  }

  function statusOf(reason: Reason): number {
    return reason === 'not-authorized-for-rule' || reason === 'not-authorized-for-group' ? NO_ACCESS : INCONSISTENT_VALUE
  }

  function prepare(request: Request, varbinds: readonly Varbind[]): SetFault | SetPlan {
    table.purge()
    const { agent } = request
    if (agent === null) return { status: NO_ACCESS, index: 0 }
    const drafts = draft(table, varbinds, (owner) => book.mayAccess(agent, owner), limits)
    if ('status' in drafts) return drafts
    // A group without an established rule has no lifetime to change.
    const changing = drafts.lifetimes.filter(({ group }) => group === null || group.policyGroup !== 0)
    const asksPolicy = changing.length > 0 || drafts.rows.some(({ action }) => action !== 0)
    const session = asksPolicy ? open(agent) : null
    if (session !== null && 'status' in session) return { status: session.status, index: 0 }
    if (session !== null && !(session instanceof Promise)) {
      const refused = session.refusal(changesOf(changing))
      if (refused !== null) return { status: statusOf(refused.reason), index: changing[refused.index]!.at }
    }
    let hasAsked = false
    return {
      commit: () => {
        hasAsked = asksPolicy
        return commit(drafts, changing, session)
      },
      // Columns alone could be set back; what packets were promised cannot.
      undo() { throw new Error(hasAsked ? 'what policy has granted stays granted' : 'rows stay as they were set') },
    }
  }

  function commit(drafts: Drafts, changing: LifetimeDraft[], session: Opened | Promise<Opened> | null): Promise<void> | null {
    const told: Notification[] = []
    // Now, and not when the authorizer has made up its mind: names and room are taken from here on.
    const made = makeRows(drafts)
    const locked = [...changing.map(({ row }) => row), ...drafts.rows.map(({ row }) => row)].filter((row) => row !== null)
    const finish = () => {
      wake()
      // The rows are as they were set, and packets pass; they will not outlast a restart.
      const kept = table.flush()?.catch((cause: unknown) => { throw new NotUndone('the journal cannot be written', cause) }) ?? null
      const applied = whenApplied()
      return kept === null ? applied : applied === null ? kept : Promise.all([kept, applied]).then(() => { /* both */ })
    }
    const granted = (outcome: BatchOutcome<LifetimeReply[]> | null, opened: BookSession | null): Promise<void> | null => {
      for (const row of locked) row.isPending = false
      if (outcome !== null && !outcome.ok) {
        takeBack(made)
        throw new Error(`refused: ${outcome.reason}`)
      }
      assign(drafts)
      tellLifetimes(drafts.lifetimes, changing, outcome?.value ?? [], told)
      destroy(drafts)
      const asked = drafts.rows.filter(({ action, row }) => action !== 0 && !isGone(row!))
        .map((one) => ask(opened!, one, told)).filter((one) => one !== null)
      return asked.length === 0 ? null : Promise.all(asked).then(() => { /* all */ })
    }
    const changed = changeLifetimes(session, changing)
    if (!(changed instanceof Promise)) {
      const asked = granted(changed.outcome, changed.session)
      if (asked === null) {
        for (const one of told) originator.notify(one)
        return finish()
      }
      return asked.then(finish).then(() => { tellLater(told) })
    }
    // The authorizer takes its time: nobody touches these rows meanwhile.
    for (const row of locked) row.isPending = true
    return changed.then(({ outcome, session: opened }) => granted(outcome, opened), (error: unknown) => {
      for (const row of locked) row.isPending = false
      takeBack(made)
      throw error
    }).then(finish).then(() => { tellLater(told) })
  }

  /** Behind the answer, which leaves when the promise of the plan has been kept. */
  function tellLater(told: readonly Notification[]): void {
    setImmediate(() => { for (const one of told) originator.notify(one) })
  }

  type Changed = { outcome: BatchOutcome<LifetimeReply[]> | null; session: BookSession | null }

  function changeLifetimes(session: Opened | Promise<Opened> | null, changing: LifetimeDraft[]): Changed | Promise<Changed> {
    if (session === null) return { outcome: null, session: null }
    if (session instanceof Promise) {
      return session.then((opened) => {
        if ('status' in opened) throw new Error('refused: no session')
        return changeLifetimes(opened, changing)
      })
    }
    if ('status' in session) throw new Error('refused: no session')
    if (changing.length === 0) return { outcome: null, session }
    const outcome = session.changeLifetimes(changesOf(changing))
    return outcome instanceof Promise ? outcome.then((later) => ({ outcome: later, session })) : { outcome, session }
  }

  /** The rows that are new. Without room one that is over goes for each; `draft` has seen to it that there are as many. */
  function makeRows({ rows: drafts }: Drafts): Row[] {
    const made: Row[] = []
    for (const one of drafts) {
      if (one.row !== null) continue
      const owner = rows.owner(one.owner)
      const isFull = owner !== undefined && owner.idleRows >= limits.idleRowsPerOwner
      const oldest = isFull ? rows.oldest(owner) : rows.idleRows() >= limits.idleRows ? rows.oldest() : undefined
      if (oldest !== undefined) table.remove(oldest)
      made.push(one.row = rows.add(one.owner, one.group, one.index))
    }
    return made
  }

  function takeBack(made: readonly Row[]): void {
    for (const row of made) table.remove(row)
    totals.rejectedEntries += made.length
  }

  /** Writes columns, all but what is asked of policy. */
  function assign({ rows: drafts }: Drafts): void {
    for (const one of drafts) {
      // While the authorizer took its time the row may have gone.
      const row = one.isDestroyed ? null : one.row
      if (row === null || !rows.has(row)) continue
      if (one.rowStatus !== 0) row.rowStatus = one.rowStatus
      row.wanted = one.wanted
      row.adminStatus = one.adminStatus
      if (one.isTouched) touch(rows, row, nowMs())
      if (one.storageTimeSec !== null) rows.keep(row, one.storageTimeSec, nowMs())
      if (one.storageType !== row.storageType) table.store(row, one.storageType)
      table.changed(row)
    }
    table.sweep()
  }

  /** What became of lifetimes that were changed, for their rows and for those who are told. */
  function tellLifetimes(
    all: readonly LifetimeDraft[], changing: readonly LifetimeDraft[], replies: readonly LifetimeReply[], told: Notification[],
  ): void {
    for (const change of all) {
      const lifetimeSec = replies[changing.indexOf(change)]?.lifetimeSec ?? 0
      const { row, group } = change
      if (row !== null) {
        if (!isEstablished(row.operStatus)) continue
        if (lifetimeSec === 0) end(row, TERMINATED_ON_REQUEST, told)
        else {
          told.push(table.tellRule(row, 'solicited', lifetimeSec))
          table.changed(row)
        }
        continue
      }
      told.push(table.tellGroup(group!, lifetimeSec))
      for (const member of rows.members(group!)) {
        if (!isEstablished(member.operStatus)) continue
        if (lifetimeSec === 0) table.finish(member, TERMINATED_ON_REQUEST)
        else table.changed(member)
      }
    }
  }

  function end(row: Row, state: number, told: Notification[]): void {
    told.push(table.tellRule(row, 'solicited', 0, state))
    table.finish(row, state)
  }

  function isGone(row: Row): boolean { return !rows.has(row) || isOver(row.operStatus) }

  function destroy({ rows: drafts }: Drafts): void {
    for (const { isDestroyed, row } of drafts) if (isDestroyed && row !== null && rows.has(row)) table.remove(row)
  }

  /** Reserves or enables; null: it is done already. */
  function ask(session: BookSession, one: Draft, told: Notification[]): Promise<void> | null {
    const row = one.row!
    row.error = ''
    // Of a reservation the lifetime counts down: what is left is what is asked for, if nothing else is.
    if (row.rule !== 0 && !one.hasLifetime) row.wanted = { ...row.wanted, lifetimeSec: table.leftSec(row) }
    const request = one.action === ENABLE ? enableRequest(row.wanted, row.rule, row.group.policyGroup, box)
      : reserveRequest(row.wanted, row.group.policyGroup, box)
    if ('text' in request) {
      failed(row, one, request, told)
      return null
    }
    const outcome = 'direction' in request ? session.enableFor(one.owner, request) : session.reserveFor(one.owner, request)
    if (!(outcome instanceof Promise)) {
      settle(row, one, outcome, told)
      return null
    }
    row.isPending = true
    if (row.rule === 0) rows.enter(row, CHECKING_REQUEST, nowMs())
    return outcome.then((later) => {
      row.isPending = false
      settle(row, one, later, told)
    })
  }

  function settle(row: Row, one: Draft, outcome: Outcome<ReserveReply | EnableReply>, told: Notification[]): void {
    if (isGone(row)) {
      // A reservation that ended while the authorizer took its time: there was nothing left to enable.
      told.push(table.tellRule(row, 'solicited', 0))
      return
    }
    if (!outcome.ok) {
      failed(row, one, failureOf(outcome.reason), told)
      return
    }
    const { rule, group, lifetimeSec } = outcome.value
    const status = book.describe(rule)
    rows.establish(row, one.action === ENABLE ? ENABLED : RESERVED, rule, group)
    row.order = table.nextOrder()
    if (status === undefined) {
      // It was ended in the moment between: whoever did it could not know that this row is about it.
      end(row, TERMINATED, told)
      return
    }
    row.granted = grantedOf(status, box)
    table.changed(row)
    told.push(table.tellRule(row, 'solicited', lifetimeSec))
  }

  function failed(row: Row, one: Draft, { state, text }: Failure, told: Notification[]): void {
    const kind = one.action === ENABLE ? 2 : 1
    if (state === INCORRECT_REQUEST) totals.incorrect[kind]++
    else if (state === REQUEST_REJECTED) totals.rejected[kind]++
    row.error = text
    if (row.rule !== 0) {
      // RFC 5189 2.3.9: the reservation that was named stays as it is.
      told.push(table.tellRule(row, 'solicited', table.leftSec(row)))
      table.changed(row)
      return
    }
    end(row, state, told)
  }

  return prepare
}
