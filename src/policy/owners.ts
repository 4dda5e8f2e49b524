/**
 * Agents by number, and the rules that each owns as a ring through the rule records (RFC 5189 2.1.5: who may act on a rule depends
 * on its owner). An agent is forgotten when it has neither rules nor sessions.
 */
import { OWNER, OWNER_NEXT, OWNER_PREV, RULE_BITS } from './store.ts'

export interface Owners {
  /** Number of an agent; each call is answered by one `leave`. */
  enter(agent: string): number
  leave(owner: number): void
  name(owner: number): string
  addRule(owner: number, slot: number): void
  removeRule(slot: number): void
  /** First rule of an owner, or 0; the others by OWNER_NEXT. */
  firstRule(owner: number): number
  ruleCount(owner: number): number
  /** Owners have numbers below this one; those that are gone have no rules. */
  limit(): number
}

interface Owner { agent: string; sessions: number; rules: number; first: number }

export function createOwners(words: Int32Array): Owners {
  const list: Owner[] = []
  const free: number[] = []
  const byName = new Map<string, number>()

  function enter(agent: string): number {
    let owner = byName.get(agent)
    if (owner === undefined) {
      owner = free.pop() ?? list.length
      list[owner] = { agent, sessions: 0, rules: 0, first: 0 }
      byName.set(agent, owner)
    }
    list[owner].sessions++
    return owner
  }

  function forget(owner: number): void {
    const { agent, sessions, rules } = list[owner]
    if (sessions > 0 || rules > 0) return
    byName.delete(agent)
    free.push(owner)
  }

  function leave(owner: number): void {
    list[owner].sessions--
    forget(owner)
  }

  function addRule(owner: number, slot: number): void {
    const entry = list[owner]
    const at = slot << RULE_BITS
    words[at + OWNER] = owner
    words[at + OWNER_NEXT] = entry.first
    words[at + OWNER_PREV] = 0
    if (entry.first !== 0) words[(entry.first << RULE_BITS) + OWNER_PREV] = slot
    entry.first = slot
    entry.rules++
  }

  function removeRule(slot: number): void {
    const at = slot << RULE_BITS
    const owner = words[at + OWNER], next = words[at + OWNER_NEXT], prev = words[at + OWNER_PREV]
    if (next !== 0) words[(next << RULE_BITS) + OWNER_PREV] = prev
    if (prev !== 0) words[(prev << RULE_BITS) + OWNER_NEXT] = next
    else list[owner].first = next
    list[owner].rules--
    forget(owner)
  }

  return {
    enter, leave, addRule, removeRule,
    name: (owner) => list[owner].agent,
    firstRule: (owner) => list[owner].rules === 0 ? 0 : list[owner].first,
    ruleCount: (owner) => list[owner].rules,
    limit: () => list.length,
  }
}
