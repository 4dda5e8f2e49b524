/** The transactions that only read (RFC 5189 2.3.11, 2.3.12, 2.4.3, 2.4.4). Lists are in order of slots. */
import type { GroupListEntry, GroupStatus, Outcome, RuleListEntry, RuleStatus } from './api.ts'
import { ownerName, remainingSec } from './box.ts'
import type { Box } from './box.ts'
import type { Party } from './events.ts'
import type { Rules } from './rules.ts'
import { fail, groupRemainingSec } from './rules.ts'
import {
  ACTION, DIRECTION_SHIFT, DISABLE, GROUP, GROUP_NEXT, ID, META, OWNER_NEXT, PARITY_SHIFT, RESERVE, RULE_BITS, SERVICE_SHIFT,
  WITH_LOCAL, field,
} from './store.ts'
import { insideTuple, outsideTuple } from './tuples.ts'

export interface Reading {
  listRules(actor: Party): Outcome<RuleListEntry[]>
  ruleStatus(actor: Party, rule: number): Outcome<RuleStatus>
  listGroups(actor: Party): Outcome<GroupListEntry[]>
  groupStatus(actor: Party, group: number): Outcome<GroupStatus>
  /** PRS without asking who wants to know; of a live slot. */
  describe(slot: number): RuleStatus
}

export function createReading(box: Box, rules: Rules): Reading {
  const { store, owners, groups, options: { authorizer } } = box
  const { words } = store

  /** Slots of the rules on which this agent may act, owner by owner, so that rules of others cost nothing. */
  function accessible(actor: Party): number[] {
    const slots: number[] = []
    for (let owner = 0; owner < owners.limit(); owner++) {
      let slot = owners.firstRule(owner)
      if (slot === 0 || (owner !== actor.owner && !authorizer.mayAccess(actor.agent, owners.name(owner)))) continue
      for (; slot !== 0; slot = words[(slot << RULE_BITS) + OWNER_NEXT]) slots.push(slot)
    }
    return slots
  }

  /** As typed, which sorts without asking a function: of a list of a thousand rules that was the dearest part. */
  function inOrder(slots: number[]): Uint32Array { return Uint32Array.from(slots).sort() }

  function listRules(actor: Party): Outcome<RuleListEntry[]> {
    const value: RuleListEntry[] = []
    for (const slot of inOrder(accessible(actor))) {
      value.push({ rule: words[(slot << RULE_BITS) + ID], owner: ownerName(box, slot) })
    }
    return { ok: true, value }
  }

  function listGroups(actor: Party): Outcome<GroupListEntry[]> {
    // Each group once: where its first member comes by.
    const found = accessible(actor).map((slot) => {
      const group = words[(slot << RULE_BITS) + GROUP]
      return group !== 0 && groups.first(group) === slot ? group : 0
    }).filter((group) => group !== 0)
    const value: GroupListEntry[] = []
    for (const group of inOrder(found)) value.push({ group: groups.id(group), owner: ownerName(box, groups.first(group)) })
    return { ok: true, value }
  }

  function ruleStatus(actor: Party, rule: number): Outcome<RuleStatus> {
    const slot = store.find(rule)
    if (slot === 0) return fail('no-such-rule')
    if (!rules.mayAccess(actor, slot)) return fail('not-authorized-for-rule')
    return { ok: true, value: describe(slot) }
  }

  function describe(slot: number): RuleStatus {
    const at = slot << RULE_BITS
    const meta = words[at + META], action = meta & ACTION, rule = words[at + ID]
    const owner = ownerName(box, slot), lifetimeSec = remainingSec(box, slot)
    if (action === DISABLE) {
      return { action: 'disable', rule, owner, lifetimeSec, internal: store.local(slot), external: store.peer(slot) }
    }
    const group = groups.id(words[at + GROUP]), parity = field(meta, PARITY_SHIFT), outside = outsideTuple(box, slot)
    if (action === RESERVE) {
      const internal = (meta & WITH_LOCAL) === 0 ? null : store.local(slot)
      const inside = insideTuple(store, slot), service = field(meta, SERVICE_SHIFT)
      return { action: 'reserve', rule, group, owner, lifetimeSec, internal, outside, inside, service, parity }
    }
    return {
      action: 'enable', rule, group, owner, lifetimeSec, direction: field(meta, DIRECTION_SHIFT), parity,
      internal: store.local(slot), inside: insideTuple(store, slot)!, outside, external: store.peer(slot),
      maxIdleSec: store.maxIdleSec[slot] >>> 0,
    }
  }

  function groupStatus(actor: Party, id: number): Outcome<GroupStatus> {
    const group = groups.find(id)
    if (group === 0) return fail('no-such-group')
    if (!rules.mayAccess(actor, groups.first(group))) return fail('not-authorized-for-group')
    const members: number[] = []
    for (let slot = groups.first(group); slot !== 0; slot = words[(slot << RULE_BITS) + GROUP_NEXT]) members.push(slot)
    return {
      ok: true,
      value: {
        group: id, owner: ownerName(box, groups.first(group)), lifetimeSec: groupRemainingSec(box, group),
        rules: Array.from(inOrder(members), (slot) => words[(slot << RULE_BITS) + ID]),
      },
    }
  }

  return { listRules, ruleStatus, listGroups, groupStatus, describe }
}
