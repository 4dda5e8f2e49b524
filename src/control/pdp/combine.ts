/**
 * Built-in profiles and the external decision point as one authorizer. Profiles speak first, and what they refuse the external
 * point never hears of; it can narrow what they permit, not widen it.
 */
import type { Question, Verdict } from '../../policy/api.ts'
import type { PolicyAuthorizer } from '../../policy/options.ts'
import type { Pdp } from './pdp.ts'

/**
 * @param profiles the built-in authorizer; it alone says who may act on whose rules and how many rules an agent may own, and it
 *   alone answers for agents that are not external
 * @param isExternal agents about whom the external point is asked too
 */
export function combine(
  profiles: PolicyAuthorizer, pdp: Pick<Pdp, 'ask'>, isExternal: (agent: string) => boolean,
): PolicyAuthorizer {
  async function askToo(question: Question, own: Verdict): Promise<Verdict> {
    if (!own.permit) return own
    const theirs = await pdp.ask(question)
    if (!theirs.permit || own.maxLifetimeSec === undefined) return theirs
    return { permit: true, maxLifetimeSec: Math.min(own.maxLifetimeSec, theirs.maxLifetimeSec ?? Infinity) }
  }
  const combined: PolicyAuthorizer = {
    decide(question) {
      const own = profiles.decide(question)
      if (!isExternal(question.agent)) return own
      if (own instanceof Promise) return own.then((verdict) => askToo(question, verdict))
      return own.permit ? askToo(question, own) : own
    },
    mayAccess: (agent, owner) => profiles.mayAccess(agent, owner),
  }
  if (profiles.maxRules !== undefined) combined.maxRules = (agent) => profiles.maxRules?.(agent) ?? Infinity
  return combined
}
