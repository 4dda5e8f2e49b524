/**
 * Groups (RFC 5189 2.4): made with their first member, gone with the last. A group has no attribute but its members, a chain
 * through the rule records; its owner is that of any member.
 */
import { GROUP, GROUP_NEXT, GROUP_PREV, RULE_BITS } from './store.ts'

export interface Groups {
  /** Makes a group for its first member. There are as many as rules, so one is free. */
  make(slot: number): void
  join(group: number, slot: number): void
  leave(slot: number): void
  /** Group with this identifier, or 0. */
  find(id: number): number
  id(group: number): number
  /** First member; the others by GROUP_NEXT. */
  first(group: number): number
  count(): number
  readonly bytes: () => number
}

/** Two words a group: its identifier, and its first member; of a free one the next free one, negative, or 0. */
const ID = 0, FIRST = 1

export function createGroups(words: Int32Array, limit: number): Groups {
  const table = new Int32Array(2 * (limit + 1))
  const slotBits = 32 - Math.clz32(limit)
  const mask = (1 << slotBits) - 1
  let used = 0, free = 0, live = 0

  function join(group: number, slot: number): void {
    const at = slot << RULE_BITS
    const first = table[group * 2 + FIRST]
    words[at + GROUP] = group
    words[at + GROUP_NEXT] = first
    words[at + GROUP_PREV] = 0
    if (first !== 0) words[(first << RULE_BITS) + GROUP_PREV] = slot
    table[group * 2 + FIRST] = slot
  }

  function make(slot: number): void {
    let group = free
    if (group !== 0) {
      free = -table[group * 2 + FIRST]
      table[group * 2 + ID] = (table[group * 2 + ID] + (1 << slotBits)) & 0x7fffffff
    } else {
      group = ++used
      table[group * 2 + ID] = group
    }
    table[group * 2 + FIRST] = 0
    live++
    join(group, slot)
  }

  function leave(slot: number): void {
    const at = slot << RULE_BITS
    const group = words[at + GROUP], next = words[at + GROUP_NEXT], prev = words[at + GROUP_PREV]
    if (next !== 0) words[(next << RULE_BITS) + GROUP_PREV] = prev
    if (prev !== 0) words[(prev << RULE_BITS) + GROUP_NEXT] = next
    else table[group * 2 + FIRST] = next
    if (table[group * 2 + FIRST] !== 0) return
    table[group * 2 + FIRST] = -free
    free = group
    live--
  }

  function find(id: number): number {
    const group = id & mask
    return group >= 1 && group <= used && table[group * 2 + ID] === id && table[group * 2 + FIRST] > 0 ? group : 0
  }

  return {
    make, join, leave, find,
    id: (group) => table[group * 2 + ID],
    first: (group) => table[group * 2 + FIRST],
    count: () => live,
    bytes: () => table.byteLength,
  }
}
