/**
 * The book of all rules (`Book` in api.ts): for doors that show them to whoever may see them, and for what keeps them over a
 * restart. Nothing here asks the authorizer.
 */
import type { Book, EnableRequest, Outcome, ReserveRequest, RuleStatus, SavedRule, SessionListener } from './api.ts'
import { ownerName, remainingSec } from './box.ts'
import type { Box } from './box.ts'
import type { Party } from './events.ts'
import type { Reading } from './reading.ts'
import { fail } from './rules.ts'
import type { Rules } from './rules.ts'
import {
  ACTION, AS_SENT, BOUND, BY_PORTS, DIRECTION_SHIFT, DISABLE, GROUP, ID, INSIDE, IPV6, META, OUTSIDE, PARITY_SHIFT, RANGES, RESERVE,
  RULE_BITS, SERVICE_SHIFT, SHAPE, UNKNOWN, WAITING, WITH_LOCAL, field, insideKind, outsideKind,
} from './store.ts'

/** Who asks for a rule that comes back: nobody is to be told. */
const NOBODY: SessionListener = { ruleEvent() { /* none */ }, groupEvent() { /* none */ }, terminated() { /* none */ } }

export function createBook(
  box: Box, rules: Rules, reading: Reading, whole: <T>(work: () => T) => T,
): Omit<Book, 'openSession'> {
  const { store, owners, groups, events, options: { authorizer } } = box
  const { words } = store

  function describe(rule: number): RuleStatus | undefined {
    const slot = store.find(rule)
    return slot === 0 ? undefined : reading.describe(slot)
  }

  function identify(rule: number): { owner: string; group: number; action: 'reserve' | 'enable' } | undefined {
    const slot = store.find(rule), at = slot << RULE_BITS
    const action = words[at + META] & ACTION
    if (slot === 0 || action === DISABLE) return undefined
    return { owner: ownerName(box, slot), group: groups.id(words[at + GROUP]), action: action === RESERVE ? 'reserve' : 'enable' }
  }

  function list(): number[] {
    const found: number[] = []
    for (let slot = 1; slot <= store.highest(); slot++) {
      const meta = words[(slot << RULE_BITS) + META]
      if (meta !== 0 && (meta & WAITING) === 0 && (meta & ACTION) !== DISABLE) found.push(words[(slot << RULE_BITS) + ID])
    }
    return found
  }

  function save(rule: number): SavedRule | undefined {
    const slot = store.find(rule)
    const at = slot << RULE_BITS
    const meta = words[at + META]
    if (slot === 0 || (meta & ACTION) === DISABLE) return undefined
    const isReserve = (meta & ACTION) === RESERVE
    const outsideBy = outsideKind(meta), insideBy = insideKind(meta)
    return {
      action: isReserve ? 'reserve' : 'enable', owner: ownerName(box, slot),
      internal: isReserve && (meta & WITH_LOCAL) === 0 ? null : store.local(slot),
      external: isReserve ? null : store.peer(slot),
      version: (meta & IPV6) === 0 ? 4 : 6, protocol: words[at + SHAPE] & 255, range: words[at + RANGES] >>> 16,
      direction: field(meta, DIRECTION_SHIFT), parity: field(meta, PARITY_SHIFT), service: field(meta, SERVICE_SHIFT),
      // What a kind does not use may be left over from another rule.
      outsideBy, outsideAddress: outsideBy === AS_SENT || outsideBy === UNKNOWN ? 0 : words[at + OUTSIDE],
      outsidePort: outsideBy === BY_PORTS ? words[at + BOUND] >>> 16 : 0,
      insideBy, insideAddress: insideBy === AS_SENT ? 0 : words[at + INSIDE],
      insidePort: insideBy === BY_PORTS ? words[at + BOUND] & 0xffff : 0,
      maxIdleSec: isReserve ? 0 : store.maxIdleSec[slot] >>> 0,
      remainingMs: Math.max(0, store.deadlineMs[slot] - box.nowMs),
    }
  }

  function restore(saved: SavedRule, group: number): Outcome<{ rule: number; group: number }> {
    const { owner: agent, internal, external, version, protocol, range, direction, parity, service, maxIdleSec } = saved
    const owner = owners.enter(agent)
    const actor: Party = { agent, owner, listener: NOBODY, isOpen: true, serial: 0 }
    const outcome = whole(() => {
      if (saved.action === 'reserve') {
        const request: ReserveRequest = {
          group, service, internalVersion: version, externalVersion: version, internal, protocol, range, parity, lifetimeSec: 1,
        }
        return rules.reserve(actor, request, Infinity, saved)
      }
      if (internal === null || external === null) return fail('inconsistent')
      const request: EnableRequest = { reservation: 0, group, direction, parity, maxIdleSec, lifetimeSec: 1, internal, external }
      return rules.enable(actor, request, Infinity, saved)
    })
    owners.leave(owner)
    return outcome.ok ? { ok: true, value: { rule: outcome.value.rule, group: outcome.value.group } } : outcome
  }

  return {
    describe, identify, save, restore,
    rules: list,
    watch: events.watch,
    lifetimeSec(rule) {
      const slot = store.find(rule)
      return slot === 0 ? 0 : remainingSec(box, slot)
    },
    mayAccess: (agent, owner) => agent === owner || authorizer.mayAccess(agent, owner),
  }
}
