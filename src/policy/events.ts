/**
 * Notifications (RFC 5189 2.3.4, 2.3.13), kept until the transaction that caused them is over, then told to the sessions in order
 * of opening. A listener may start transactions of its own: what they cause is told after what came first.
 */
import type { Authorizer, Cause, SessionListener } from './api.ts'

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
  readonly parties: Party[]
  /** REN to those with access to rules of `owner`, but for `except`. */
  rule(owner: string, id: number, lifetimeSec: number, cause: Cause, except: Party | null): void
  /** GEN. */
  group(owner: string, id: number, lifetimeSec: number, except: Party | null): void
  deliver(): void
}

interface Notice {
  owner: string
  id: number
  lifetimeSec: number
  /** Null: about a group. */
  cause: Cause | null
  except: Party | null
  lastSerial: number
}

export function createEvents(authorizer: Authorizer): Events {
  const parties: Party[] = []
  let notices: Notice[] = []
  let isDelivering = false

  function add(owner: string, id: number, lifetimeSec: number, cause: Cause | null, except: Party | null): void {
    // Most boxes have one session, which has its answer.
    if (parties.length === 0 || (parties.length === 1 && parties[0] === except)) return
    notices.push({ owner, id, lifetimeSec, cause, except, lastSerial: parties[parties.length - 1].serial })
  }

  function tell(notice: Notice, party: Party): void {
    if (!party.isOpen || party === notice.except || party.serial > notice.lastSerial) return
    if (party.agent !== notice.owner && !authorizer.mayAccess(party.agent, notice.owner)) return
    try {
      if (notice.cause === null) party.listener.groupEvent(notice.id, notice.lifetimeSec)
      else party.listener.ruleEvent(notice.id, notice.lifetimeSec, notice.cause)
    } catch {
      // What goes wrong in one door is that door's to report; the other sessions are still to be told.
    }
  }

  function deliver(): void {
    if (isDelivering || notices.length === 0) return
    isDelivering = true
    try {
      while (notices.length > 0) {
        const batch = notices
        notices = []
        for (const notice of batch) for (const party of parties.slice()) tell(notice, party)
      }
    } finally {
      isDelivering = false
    }
  }

  return {
    parties, deliver,
    rule: add,
    group: (owner, id, lifetimeSec, except) => add(owner, id, lifetimeSec, null, except),
  }
}
