/**
 * Policy that knows what time it is. Policy itself has no clock: whoever asks it something has to tell it first, or rules would be
 * granted from the time of the last question on. And what is asked may change when policy has to be called next.
 */
import type { DisableRequest, EnableRequest, Outcome, Policy, ReserveRequest, Session } from '../../policy/api.ts'

/**
 * @param before called before whatever needs the time
 * @param after called once it is done
 */
export function timed(policy: Policy, before: () => void, after: () => void): Policy {
  /** Between `before` and this stands the question itself: a function around it would be made anew for each. */
  function done<T>(answer: T | Promise<T>): T | Promise<T> {
    if (answer instanceof Promise) return answer.finally(after)
    after()
    return answer
  }

  /** A class, as one of many objects with a getter of its own is a dictionary, in which each call has to find its method. */
  class TimedSession implements Session {
    private readonly inner: Session

    constructor(inner: Session) { this.inner = inner }

    get agent(): string { return this.inner.agent }
    get isOpen(): boolean { return this.inner.isOpen }
    end(): void { this.inner.end() }

    reserve(request: ReserveRequest) {
      before()
      return done(this.inner.reserve(request))
    }

    enable(request: EnableRequest) {
      before()
      return done(this.inner.enable(request))
    }

    disable(request: DisableRequest) {
      before()
      return done(this.inner.disable(request))
    }

    changeLifetime(rule: number, lifetimeSec: number) {
      before()
      return done(this.inner.changeLifetime(rule, lifetimeSec))
    }

    listRules() {
      before()
      return done(this.inner.listRules())
    }

    ruleStatus(rule: number) {
      before()
      return done(this.inner.ruleStatus(rule))
    }

    changeGroupLifetime(group: number, lifetimeSec: number) {
      before()
      return done(this.inner.changeGroupLifetime(group, lifetimeSec))
    }

    listGroups() {
      before()
      return done(this.inner.listGroups())
    }

    groupStatus(group: number) {
      before()
      return done(this.inner.groupStatus(group))
    }
  }

  function wrapped(outcome: Outcome<Session>): Outcome<Session> {
    return outcome.ok ? { ok: true, value: new TimedSession(outcome.value) } : outcome
  }

  return {
    ...policy,
    openSession(agent, listener) {
      before()
      const opened = policy.openSession(agent, listener)
      return done(opened instanceof Promise ? opened.then(wrapped) : wrapped(opened))
    },
    terminateRule(rule, cause) {
      before()
      return done(policy.terminateRule(rule, cause)) as boolean
    },
    terminateSessions(agent, reason) {
      before()
      return done(policy.terminateSessions(agent, reason)) as number
    },
  }
}
