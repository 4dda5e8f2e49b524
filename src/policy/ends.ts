/**
 * How rules end: their time is over, nothing used them, an agent or the administrator or a disable rule ends them.
 *
 * For everyone but the data plane a rule is over at once. If the ring has no room for its records it waits, with all that it holds,
 * in a queue through the records of the rules themselves; nobody else gets its slot or its ports before the data plane was told.
 * Whoever has commands of its own writes them behind that queue, so the ring keeps the order of events.
 */
import type { Cause } from './api.ts'
import type { Bindings } from './bindings.ts'
import { ownerName } from './box.ts'
import type { Box } from './box.ts'
import type { Party } from './events.ts'
import {
  ACTION, BOUND, BY_ADDRESS, BY_PORTS, DISABLE, ENABLE, GROUP_NEXT, GROUP_PREV, ID, INSIDE, LOCAL, META, OUTSIDE, PEER, PORTS,
  RANGES, RESERVE, RULE_BITS, SHAPE, WAITING, WITH_LOCAL, insideKind, outsideKind,
} from './store.ts'

export interface Ends {
  /** Puts a rule where its lifetime or its idle time will be looked at. */
  schedule(slot: number): void
  /** Enters a disable rule among those that are live. */
  chain(slot: number): void
  /** First live disable rule, or 0; the others by GROUP_NEXT. */
  firstDisable(): number
  /** Ends a rule; who is to hear of it hears it from the caller. */
  end(slot: number): void
  /** The same, and REN to every session with access but `except`. */
  endAloud(slot: number, cause: Cause, except: Party | null): void
  /** Ends at most `budget` rules whose time is over; true if there are more. */
  expire(budget: number): boolean
  /** Tells the data plane of what has ended, as far as the ring has room. */
  flush(): void
  /** The same, with the data plane's help; false if something still waits, and then nothing may be written. */
  settle(): boolean
  /** Room for so many records, with the data plane's help. */
  makeRoom(records: number): boolean
  /** The same for the end of this rule, behind what waits. */
  makeRoomForEnd(slot: number): boolean
  /** Records that the ends of these rules take, in this order. */
  recordsOf(slots: ArrayLike<number>): number
  /** Records of the rules that wait. */
  waitingRecords(): number
}

/** Rules that turn out to be in use are looked at and put back: so many for each that may end, and some. */
const LOOKS_PER_END = 16, LOOKS = 64
/** A rule is looked at this often at least, so that the last use, known modulo 2^32 ms, is never mistaken. */
const LOOK_MS = 2 ** 30

export function createEnds(box: Box): Ends {
  const { store, owners, groups, deadlines, outside, inside, records, events, options } = box
  const { words, deadlineMs, lastUseMs, maxIdleSec, ticket } = store
  const { ring, activity, pump, idleTimeoutSec } = options
  const one = [0]
  let disables = 0
  let firstWaiting = 0, lastWaiting = 0

  function idleMs(slot: number): number {
    const action = words[(slot << RULE_BITS) + META] & ACTION
    const own = action === ENABLE ? maxIdleSec[slot] : 0
    if (action === DISABLE || own === -1) return Infinity
    if (own !== 0) return (own >>> 0) * 1000
    return idleTimeoutSec === 0 ? Infinity : idleTimeoutSec * 1000
  }

  function schedule(slot: number): void {
    const idle = idleMs(slot)
    let atMs = deadlineMs[slot]
    if (idle !== Infinity) atMs = Math.min(atMs, lastUseMs[slot] + idle, box.nowMs + LOOK_MS)
    deadlines.set(slot, atMs)
  }

  /** Brings `lastUseMs` up to what the data plane has seen, if that is about this rule already. */
  function learnUse(slot: number): void {
    if ((words[(slot << RULE_BITS) + META] & ACTION) !== ENABLE || ((ring.applied() - ticket[slot]) | 0) < 0) return
    activity.refresh?.(slot)
    const raw = activity.lastUsedMs[slot]
    if (raw === (lastUseMs[slot] | 0)) return
    const useMs = box.nowMs - (((box.nowMs | 0) - raw) | 0)
    if (useMs > lastUseMs[slot]) lastUseMs[slot] = useMs
  }

  function expire(budget: number): boolean {
    let ended = 0, looks = LOOKS + budget * LOOKS_PER_END
    for (;;) {
      const slot = deadlines.first()
      if (slot === 0) return false
      const atMs = deadlines.firstMs()
      if (atMs > box.nowMs) return false
      if (deadlineMs[slot] > atMs) {
        learnUse(slot)
        if (lastUseMs[slot] + idleMs(slot) > atMs) {
          if (--looks < 0) return true
          schedule(slot)
          continue
        }
      }
      if (ended === budget) return true
      ended++
      if (deadlineMs[slot] <= atMs) {
        box.expired++
        endAloud(slot, 'expired', null)
      } else {
        box.idle++
        endAloud(slot, 'idle', null)
      }
    }
  }

  function chain(slot: number): void {
    words[(slot << RULE_BITS) + GROUP_NEXT] = disables
    words[(slot << RULE_BITS) + GROUP_PREV] = 0
    if (disables !== 0) words[(disables << RULE_BITS) + GROUP_PREV] = slot
    disables = slot
  }

  function unchain(slot: number): void {
    const at = slot << RULE_BITS
    const next = words[at + GROUP_NEXT], prev = words[at + GROUP_PREV]
    if (next !== 0) words[(next << RULE_BITS) + GROUP_PREV] = prev
    if (prev !== 0) words[(prev << RULE_BITS) + GROUP_NEXT] = next
    else disables = next
  }

  function endAloud(slot: number, cause: Cause, except: Party | null): void {
    events.rule(ownerName(box, slot), words[(slot << RULE_BITS) + ID], 0, cause, except)
    end(slot)
  }

  function end(slot: number): void {
    const at = slot << RULE_BITS
    const action = words[at + META] & ACTION
    box.counts[action]--
    deadlines.remove(slot)
    owners.removeRule(slot)
    if (action === DISABLE) unchain(slot)
    else groups.leave(slot)
    if (makeRoomForEnd(slot)) {
      carryOut(slot)
      return
    }
    words[at + META] |= WAITING
    words[at + GROUP_NEXT] = 0
    if (firstWaiting === 0) firstWaiting = slot
    else words[(lastWaiting << RULE_BITS) + GROUP_NEXT] = slot
    lastWaiting = slot
  }

  /** Tells the data plane and gives everything back. */
  function carryOut(slot: number): void {
    const at = slot << RULE_BITS
    const meta = words[at + META], action = meta & ACTION
    if (action !== RESERVE) records.deleteRule(slot)
    const protocol = words[at + SHAPE] & 255, ports = words[at + PORTS], ranges = words[at + RANGES], bound = words[at + BOUND]
    const isEnable = action === ENABLE
    const outsideBy = outsideKind(meta), insideBy = insideKind(meta)
    if (isEnable || (meta & WITH_LOCAL) !== 0) {
      release(outside, outsideBy, protocol, words[at + LOCAL], ports >>> 16, ranges >>> 16, isEnable ? 1 : 0)
    } else releaseAny(outside, outsideBy, protocol, words[at + OUTSIDE], bound >>> 16, ranges >>> 16)
    if (isEnable) release(inside, insideBy, protocol, words[at + PEER], ports & 0xffff, ranges & 0xffff, 1)
    else releaseAny(inside, insideBy, protocol, words[at + INSIDE], bound & 0xffff, ranges >>> 16)
    store.free(slot)
  }

  function release(
    side: Bindings | null, kind: number, protocol: number, real: number, realPort: number, count: number, live: number,
  ): void {
    if (kind === BY_PORTS) side!.releasePorts(protocol, real, realPort, count, live)
    else if (kind === BY_ADDRESS) side!.releaseAddress(real, live)
  }

  /** What a reservation holds for nobody in particular. */
  function releaseAny(
    side: Bindings | null, kind: number, protocol: number, shown: number, shownPort: number, count: number,
  ): void {
    if (kind === BY_PORTS) side!.releaseAnyPorts(protocol, shown, shownPort, count)
    else if (kind === BY_ADDRESS) side!.releaseAnyAddress(shown)
  }

  /** Counts what a rule is known to the data plane for; returns the records that lowering the counts takes, with its deletion. */
  function shiftLive(slot: number, by: number): number {
    const at = slot << RULE_BITS
    const meta = words[at + META], action = meta & ACTION
    if (action !== ENABLE) return action === RESERVE ? 0 : 1
    const protocol = words[at + SHAPE] & 255, ports = words[at + PORTS], ranges = words[at + RANGES]
    let needed = 1
    if (outsideKind(meta) === BY_PORTS || outsideKind(meta) === BY_ADDRESS) {
      needed += outside!.shiftLive(outsideKind(meta), protocol, words[at + LOCAL], ports >>> 16, ranges >>> 16, by)
    }
    if (insideKind(meta) !== 0) {
      needed += inside!.shiftLive(insideKind(meta), protocol, words[at + PEER], ports & 0xffff, ranges & 0xffff, by)
    }
    return needed
  }

  function recordsOf(slots: ArrayLike<number>): number {
    let needed = 0
    for (let i = 0; i < slots.length; i++) needed += shiftLive(slots[i], -1)
    for (let i = 0; i < slots.length; i++) shiftLive(slots[i], 1)
    return needed
  }

  function hasRoomForEnd(slot: number): boolean {
    // With plenty of room there is no need to count: no rule takes more than this.
    const ranges = words[(slot << RULE_BITS) + RANGES]
    const room = ring.room()
    if (room >= 3 + (ranges >>> 16) + (ranges & 0xffff)) return true
    one[0] = slot
    return room >= recordsOf(one)
  }

  function makeRoomForEnd(slot: number): boolean {
    // The data plane knows nothing of reservations.
    if ((words[(slot << RULE_BITS) + META] & ACTION) === RESERVE) return true
    if (!settle()) return false
    if (!hasRoomForEnd(slot)) pump?.()
    return hasRoomForEnd(slot)
  }

  function waitingRecords(): number {
    if (firstWaiting === 0) return 0
    let needed = 0
    for (let slot = firstWaiting; slot !== 0; slot = words[(slot << RULE_BITS) + GROUP_NEXT]) needed += shiftLive(slot, -1)
    for (let slot = firstWaiting; slot !== 0; slot = words[(slot << RULE_BITS) + GROUP_NEXT]) shiftLive(slot, 1)
    return needed
  }

  function makeRoom(needed: number): boolean {
    if (ring.room() < needed) pump?.()
    return ring.room() >= needed
  }

  function flush(): void {
    while (firstWaiting !== 0 && hasRoomForEnd(firstWaiting)) {
      const slot = firstWaiting
      firstWaiting = words[(slot << RULE_BITS) + GROUP_NEXT]
      carryOut(slot)
    }
  }

  function settle(): boolean {
    while (firstWaiting !== 0) {
      const before = firstWaiting
      if (pump !== undefined) pump()
      flush()
      if (firstWaiting === before) return false
      if (pump === undefined) return firstWaiting === 0
    }
    return true
  }

  return {
    schedule, chain, end, endAloud, expire, flush, settle, makeRoom, makeRoomForEnd, recordsOf, waitingRecords,
    firstDisable: () => disables,
  }
}
