/**
 * Policy that knows what time it is. Policy itself has no clock: whoever asks it something has to tell it first, or rules would be
 * granted from the time of the last question on. And what is asked may change when policy has to be called next.
 */
import type { Outcome, Policy, Session } from '../../policy/api.ts'

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

  function session(inner: Session): Session {
    return {
      get agent() { return inner.agent },
      get isOpen() { return inner.isOpen },
      reserve(request) {
        before()
        return done(inner.reserve(request))
      },
      enable(request) {
        before()
        return done(inner.enable(request))
      },
      disable(request) {
        before()
        return done(inner.disable(request))
      },
      changeLifetime(rule, lifetimeSec) {
        before()
        return done(inner.changeLifetime(rule, lifetimeSec))
      },
      listRules() {
        before()
        return done(inner.listRules())
      },
      ruleStatus(rule) {
        before()
        return done(inner.ruleStatus(rule))
      },
      changeGroupLifetime(group, lifetimeSec) {
        before()
        return done(inner.changeGroupLifetime(group, lifetimeSec))
      },
      listGroups() {
        before()
        return done(inner.listGroups())
      },
      groupStatus(group) {
        before()
        return done(inner.groupStatus(group))
      },
      end: () => { inner.end() },
    }
  }

  function wrapped(outcome: Outcome<Session>): Outcome<Session> {
    return outcome.ok ? { ok: true, value: session(outcome.value) } : outcome
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
