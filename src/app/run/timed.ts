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
  function asking<T>(ask: () => T | Promise<T>): T | Promise<T> {
    before()
    const answer = ask()
    if (answer instanceof Promise) return answer.finally(after)
    after()
    return answer
  }

  function session(inner: Session): Session {
    return {
      get agent() { return inner.agent },
      get isOpen() { return inner.isOpen },
      reserve: (request) => asking(() => inner.reserve(request)),
      enable: (request) => asking(() => inner.enable(request)),
      disable: (request) => asking(() => inner.disable(request)),
      changeLifetime: (rule, lifetimeSec) => asking(() => inner.changeLifetime(rule, lifetimeSec)),
      listRules: () => asking(() => inner.listRules()),
      ruleStatus: (rule) => asking(() => inner.ruleStatus(rule)),
      changeGroupLifetime: (group, lifetimeSec) => asking(() => inner.changeGroupLifetime(group, lifetimeSec)),
      listGroups: () => asking(() => inner.listGroups()),
      groupStatus: (group) => asking(() => inner.groupStatus(group)),
      end: () => { inner.end() },
    }
  }

  return {
    ...policy,
    openSession: (agent, listener) => asking(() => {
      const opened = policy.openSession(agent, listener)
      const wrapped = (outcome: Outcome<Session>): Outcome<Session> => {
        return outcome.ok ? { ok: true, value: session(outcome.value) } : outcome
      }
      return opened instanceof Promise ? opened.then(wrapped) : wrapped(opened)
    }),
    terminateRule: (rule, cause) => asking(() => policy.terminateRule(rule, cause)) as boolean,
    terminateSessions: (agent, reason) => asking(() => policy.terminateSessions(agent, reason)) as number,
  }
}
