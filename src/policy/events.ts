/**
 * Notifications (RFC 5189 2.3.4, 2.3.13), kept until the transaction that caused them is over, then told to the sessions in order
 * of opening. A listener may start transactions of its own: what they cause is told after what came first.
 */
import type { Authorizer, Cause, RuleWatcher, SessionListener } from './api.ts'

/** One end of a session, as transactions and notifications know it. */
export interface Party {
  readonly agent: string
  /** The agent's number among the owners. */
  readonly owner: number
  readonly listener: SessionListener
  isOpen: boolean
  /** Grows with each session: who came later than an event does not hear it. */
  readonly serial: number
}

export interface Events {
  /** Sessions that are open, in order of opening. */
  readonly parties: readonly Party[]
  join(party: Party): void
  leave(party: Party): void
  /** Who may hear of whose rules has changed. */
  forget(): void
  /** REN to those with access to rules of `owner`, but for `except`. */
  rule(owner: string, id: number, lifetimeSec: number, cause: Cause, except: Party | null): void
  /** GEN. */
  group(owner: string, id: number, lifetimeSec: number, except: Party | null): void
  /** What GEN says of a group, about each of its members: only those who watch all rules hear it. */
  member(id: number, lifetimeSec: number, by: Party): void
  /** Hears of every rule, before the sessions do. */
  watch(watcher: RuleWatcher): void
  deliver(): void
}

/** Owners whose listeners are remembered: all but the largest boxes have fewer. */
const MOST_AUDIENCES = 4096
/** Notices that are kept to be used again: made anew for each rule, they had the collector come in the middle of many ends. */
const MOST_NOTICES = 1024

interface Notice {
  owner: string
  id: number
  lifetimeSec: number
  /** Null: about a group. */
  cause: Cause | null
  except: Party | null
  lastSerial: number
  /** For those who watch alone. */
  isQuiet: boolean
}

/** A session that acts in the name of another owner does so as a party with that owner's number. */
function isSame(party: Party, other: Party | null): boolean { return party.serial === other?.serial }

export function createEvents(authorizer: Authorizer): Events {
  const parties: Party[] = []
  /** Those below `count` are to be told; the others have been, and are used again. */
  let notices: Notice[] = []
  let count = 0
  let isDelivering = false
  // With fifty sessions, asking for each of them took a fifth of the time of a transaction.
  const audiences = new Map<string, readonly Party[]>()
  const watchers: RuleWatcher[] = []

  function add(owner: string, id: number, lifetimeSec: number, cause: Cause | null, except: Party | null): void {
    // Mostly the agent that asked is the only one that may know, and it has its answer.
    const listeners = audience(owner)
    const isQuiet = listeners.length === 0 || (listeners.length === 1 && isSame(listeners[0], except))
    if (isQuiet && watchers.length === 0) return
    note(owner, id, lifetimeSec, cause, except, parties.at(-1)?.serial ?? 0, isQuiet)
  }

  function note(
    owner: string, id: number, lifetimeSec: number, cause: Cause | null, except: Party | null, lastSerial: number, isQuiet: boolean,
  ): void {
    if (count === notices.length) {
      notices.push({ owner, id, lifetimeSec, cause, except, lastSerial, isQuiet })
    } else {
      const notice = notices[count]
      notice.owner = owner
      notice.id = id
      notice.lifetimeSec = lifetimeSec
      notice.cause = cause
      notice.except = except
      notice.lastSerial = lastSerial
      notice.isQuiet = isQuiet
    }
    count++
  }

  function member(id: number, lifetimeSec: number, by: Party): void {
    if (watchers.length === 0) return
    note('', id, lifetimeSec, 'agent', by, 0, true)
  }

  function hears({ agent }: Party, owner: string): boolean { return agent === owner || authorizer.mayAccess(agent, owner) }

  /** Sessions that may know of an owner's rules. A list is never changed, so it may be walked while sessions come and go. */
  function audience(owner: string): readonly Party[] {
    let listeners = audiences.get(owner)
    if (listeners === undefined) {
      listeners = parties.filter((party) => hears(party, owner))
      if (audiences.size === MOST_AUDIENCES) audiences.clear()
      audiences.set(owner, listeners)
    }
    return listeners
  }

  function tell(notice: Notice, party: Party): void {
    if (!party.isOpen || isSame(party, notice.except) || party.serial > notice.lastSerial) return
    try {
      if (notice.cause === null) party.listener.groupEvent(notice.id, notice.lifetimeSec)
      else party.listener.ruleEvent(notice.id, notice.lifetimeSec, notice.cause)
    } catch {
      // What goes wrong in one door is that door's to report; the other sessions are still to be told.
    }
  }

  function tellWatchers({ id, lifetimeSec, cause, except }: Notice): void {
    if (cause === null) return
    for (const watcher of watchers) {
      try {
        watcher(id, lifetimeSec, cause, except?.listener ?? null)
      } catch {
        // As with sessions.
      }
    }
  }

  function deliver(): void {
    if (isDelivering || count === 0) return
    isDelivering = true
    try {
      // What listeners cause comes behind, and is told by the same loop.
      for (let i = 0; i < count; i++) {
        const notice = notices[i]
        tellWatchers(notice)
        if (!notice.isQuiet) for (const party of audience(notice.owner)) tell(notice, party)
      }
    } finally {
      isDelivering = false
      if (notices.length > MOST_NOTICES) notices = []
      count = 0
    }
  }

  return {
    parties, deliver, member,
    watch(watcher) { watchers.push(watcher) },
    join(party) {
      parties.push(party)
      // Made anew, the lists of a thousand owners would cost a thousand questions each, whenever anybody comes or goes.
      for (const [owner, listeners] of audiences) if (hears(party, owner)) audiences.set(owner, [...listeners, party])
    },
    leave(party) {
      parties.splice(parties.indexOf(party), 1)
      for (const [owner, listeners] of audiences) {
        if (listeners.includes(party)) audiences.set(owner, listeners.filter((one) => one !== party))
      }
    },
    forget() { audiences.clear() },
    rule: add,
    group: (owner, id, lifetimeSec, except) => add(owner, id, lifetimeSec, null, except),
  }
}
