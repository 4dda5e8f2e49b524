/**
 * The transactions that change rules (RFC 5189 2.3.8-2.3.10, 2.4.2; RFC 4540 8.8), once the authorizer has agreed. Each checks and
 * plans first, in the order of docs/midcom.md, then makes sure of room in the ring, and from there on cannot fail.
 */
import { maskWord } from '../base/address.ts'
import { pairedIndex } from '../channel/pairing.ts'
import {
  ALL_PORTS, OUTBOUND, PARITY_ANY, PARITY_EVEN, PARITY_ODD, PARITY_SAME, TRADITIONAL, TWICE,
} from './api.ts'
import type {
  DisableReply, DisableRequest, EnableReply, EnableRequest, LifetimeReply, Outcome, Reason, ReserveReply, ReserveRequest, Tuple,
} from './api.ts'
import type { Hold } from './bindings.ts'
import { ownerName, remainingSec } from './box.ts'
import type { Box } from './box.ts'
import { createChecks, isWithin, wordOf } from './checks.ts'
import { overlaps } from './conflicts.ts'
import type { Ends } from './ends.ts'
import type { Party } from './events.ts'
import { hasPorts } from './records.ts'
import {
  ACTION, AS_SENT, BOUND, BY_ADDRESS, BY_PORTS, DIRECTION_SHIFT, DISABLE, DYNAMIC, ENABLE, GROUP, GROUP_NEXT, ID, INSIDE,
  INSIDE_SHIFT, IPV6, LOCAL, META, OUTSIDE, OUTSIDE_SHIFT, OWNER, PARITY_SHIFT, PORTS, RANGES, RESERVE, RULE_BITS, SERVICE_SHIFT,
  SHAPE, UNKNOWN, WAITING, WITH_LOCAL, field, insideKind, outsideKind,
} from './store.ts'
import { insideTuple, outsideTuple } from './tuples.ts'

export interface Rules {
  /** `maxSec`: the most that the authorizer allows. */
  reserve(actor: Party, request: ReserveRequest, maxSec: number): Outcome<ReserveReply>
  enable(actor: Party, request: EnableRequest, maxSec: number): Outcome<EnableReply>
  disable(actor: Party, request: DisableRequest, maxSec: number): Outcome<DisableReply>
  changeLifetime(actor: Party, rule: number, lifetimeSec: number, maxSec: number): Outcome<LifetimeReply>
  changeGroupLifetime(actor: Party, group: number, lifetimeSec: number, maxSec: number): Outcome<LifetimeReply>
  /** May this agent act on the rule in that slot? */
  mayAccess(actor: Party, slot: number): boolean
}

export function fail(reason: Reason): { ok: false; reason: Reason } { return { ok: false, reason } }

const NOTHING: Hold = { kind: 0, index: 0, port: 0 }
const PRIORITIES = 2 ** 30

/** Parity of a port as the sets of ports want it: 0, 1, or -1 for either. */
function wantedParity(parity: number): number {
  return parity === PARITY_ODD ? 1 : parity === PARITY_EVEN ? 0 : -1
}

export function createRules(box: Box, ends: Ends): Rules {
  const { options, store, owners, groups, outside, inside, records, events } = box
  const { ring, authorizer, nat44, pool, addresses, insidePool, limits, maxLifetimeSec, extend, seed } = options
  const { words, deadlineMs, lastUseMs, maxIdleSec, ticket } = store
  const checks = createChecks(options)
  const held: Hold = { kind: 0, index: 0, port: 0 }
  let enabled = 0

  function mayAccess(actor: Party, slot: number): boolean {
    if (words[(slot << RULE_BITS) + OWNER] === actor.owner) return true
    return authorizer.mayAccess(actor.agent, ownerName(box, slot))
  }

  /** Seconds that are granted; 0 asks for the end. */
  function grant(lifetimeSec: number, maxSec: number): number {
    const sec = Math.floor(Math.min(lifetimeSec, maxLifetimeSec, maxSec))
    return sec > 0 ? sec : 0
  }

  /** Why there is no place for a rule more of this owner, if so. What waits for the ring may have to go first. */
  function checkPlace(owner: number, hasRecords: boolean): Reason | null {
    const isSettled = ends.settle()
    if (store.isFull() || (hasRecords && !isSettled)) return 'lack-of-resources'
    const most = authorizer.maxRules?.(owners.name(owner)) ?? Infinity
    return owners.ruleCount(owner) >= most ? 'lack-of-resources' : null
  }

  function enter(slot: number, owner: number, group: number): void {
    owners.addRule(owner, slot)
    if (group === 0) groups.make(slot)
    else groups.join(group, slot)
  }

  function start(slot: number, grantedSec: number): void {
    deadlineMs[slot] = box.nowMs + grantedSec * 1000
    lastUseMs[slot] = box.nowMs
    ends.schedule(slot)
  }

  function isBlocked(local: Tuple, peer: Tuple): boolean {
    for (let slot = ends.firstDisable(); slot !== 0; slot = words[(slot << RULE_BITS) + GROUP_NEXT]) {
      if (overlaps(store, slot, local, peer)) return true
    }
    return false
  }

  /** The group that a new rule joins: its slot, 0 for one of its own, or why not. */
  function findGroup(actor: Party, id: number): number | Reason {
    if (id === 0) return 0
    const group = groups.find(id)
    if (group === 0) return 'no-such-group'
    return mayAccess(actor, groups.first(group)) ? group : 'not-authorized-for-group'
  }

  function ownerIn(actor: Party, group: number): number {
    return group === 0 ? actor.owner : words[(groups.first(group) << RULE_BITS) + OWNER]
  }

  function checkVersions(request: ReserveRequest): Reason | null {
    const { internalVersion, externalVersion, internal } = request
    const version = reserveVersion(request)
    const agrees = (v: number) => v === 0 || v === version
    if ((version !== 4 && version !== 6) || !agrees(internalVersion) || !agrees(externalVersion)) return 'ip-version-mismatch'
    return internal === null || internal.version === version ? null : 'ip-version-mismatch'
  }

  function reserveVersion({ internalVersion, externalVersion }: ReserveRequest): number {
    if (internalVersion === 4 || externalVersion === 4) return 4
    return internalVersion || externalVersion || 4
  }

  function reserve(actor: Party, request: ReserveRequest, maxSec: number): Outcome<ReserveReply> {
    const group = findGroup(actor, request.group)
    if (typeof group === 'string') return fail(group)
    const mismatch = checkVersions(request)
    if (mismatch !== null) return fail(mismatch)
    const { protocol, parity, internal } = request
    if (!isWithin(protocol, 0, 255)) return fail('protocol-not-supported')
    const isNat = nat44 && reserveVersion(request) === 4
    const range = isNat && !hasPorts(protocol) ? ALL_PORTS : request.range
    if (!isWithin(range, 1, ALL_PORTS) || (range !== ALL_PORTS && range > limits.portsPerRule)) return fail('illegal-range')
    if (!isWithin(parity, PARITY_ANY, PARITY_EVEN)) return fail('inconsistent')
    if (!isWithin(request.service, 0, TWICE)) return fail('inconsistent')
    if (request.service === TWICE && inside === null && options.strictNatMode) return fail('nat-mode-not-supported')
    const service = inside === null || request.service === TRADITIONAL ? TRADITIONAL : TWICE
    const grantedSec = grant(request.lifetimeSec, maxSec)
    if (grantedSec === 0) return fail('lifetime-zero')
    const owner = ownerIn(actor, group)
    const full = checkPlace(owner, false)
    if (full !== null) return fail(full)
    const isTwice = isNat && service === TWICE
    const why = isNat ? planReserve(protocol, range, parity, internal, isTwice) : null
    if (why !== null) return fail(why)

    const slot = store.take()
    const at = slot << RULE_BITS
    enter(slot, owner, group)
    let meta = RESERVE | parity << PARITY_SHIFT | service << SERVICE_SHIFT | (internal === null ? 0 : WITH_LOCAL)
    if (reserveVersion(request) === 6) meta |= IPV6
    store.setTuples(slot, internal, null)
    words[at + SHAPE] = protocol | (internal?.prefixBits ?? 0) << 8
    words[at + RANGES] = range << 16
    words[at + BOUND] = 0
    if (isNat) {
      const { kind, index, port } = outside!.plan
      meta |= kind << OUTSIDE_SHIFT
      words[at + OUTSIDE] = kind === BY_PORTS ? pool[index] : addresses[index]
      words[at + BOUND] = port << 16
      if (internal === null) outside!.holdAny(protocol, range)
      else outside!.hold(protocol, internal.word0, internal.port, range, false, 0)
    }
    if (isTwice) {
      const { kind, index, port } = inside!.plan
      meta |= kind << INSIDE_SHIFT
      words[at + INSIDE] = insidePool[index]
      words[at + BOUND] |= port
      inside!.holdAny(protocol, range)
    }
    words[at + META] = meta
    box.counts[RESERVE]++
    start(slot, grantedSec)
    events.rule(ownerName(box, slot), words[at + ID], grantedSec, 'agent', actor)
    return {
      ok: true,
      value: {
        rule: words[at + ID], group: groups.id(words[at + GROUP]), lifetimeSec: grantedSec,
        outside: outsideTuple(store, slot), inside: insideTuple(store, slot),
      },
    }
  }

  function planReserve(protocol: number, range: number, parity: number, internal: Tuple | null, isTwice: boolean): Reason | null {
    let reason: Reason | null
    const wanted = wantedParity(parity)
    if (internal === null) {
      reason = range === ALL_PORTS ? outside!.planAnyAddress() : outside!.planAnyPorts(protocol, range, wanted)
    } else {
      if (internal.prefixBits !== 32 || !isWithin(internal.port, 0, 0xffff)) return 'inconsistent'
      if (range === ALL_PORTS) reason = outside!.planAddress(internal.word0, NOTHING)
      else if (internal.port === 0) return 'inconsistent'
      else if (internal.port + range > 0x10000) return 'illegal-port'
      else reason = outside!.planPorts(protocol, internal.word0, internal.port, range, wanted, NOTHING)
    }
    if (reason !== null || !isTwice) return reason
    return range === ALL_PORTS ? inside!.planAnyAddress() : inside!.planAnyPorts(protocol, range, wanted)
  }

  /** The checks of a reservation that is to become this enable rule, before its bindings. */
  function checkReservation(slot: number, { internal, external, parity }: EnableRequest): Reason | null {
    const at = slot << RULE_BITS
    const meta = words[at + META]
    const protocol = words[at + SHAPE] & 255, range = words[at + RANGES] >>> 16
    if (((meta & IPV6) !== 0) !== (internal.version === 6)) return 'ip-version-mismatch'
    if (protocol !== internal.protocol) return 'protocol-mismatch'
    // A port wildcard says nothing about the range, but ports that are held need ports that they are for.
    const isRun = outsideKind(meta) !== AS_SENT && range !== ALL_PORTS
    if (hasPorts(protocol) && (internal.port !== 0 ? internal.range !== range : isRun)) return 'inconsistent'
    if (insideKind(meta) === BY_PORTS && external.port === 0) return 'inconsistent'
    if (parity === PARITY_SAME) {
      const bound = words[at + BOUND]
      if (outsideKind(meta) === BY_PORTS && ((bound >>> 16 ^ internal.port) & 1) !== 0) return 'parity-mismatch'
      if (insideKind(meta) === BY_PORTS && ((bound ^ external.port) & 1) !== 0) return 'parity-mismatch'
    }
    if ((meta & WITH_LOCAL) === 0) return null
    const bits = words[at + SHAPE] >>> 8 & 255
    if (bits !== internal.prefixBits) return 'reserved-internal-mismatch'
    for (let i = 0; i < 4; i++) {
      if (((store.word(slot, LOCAL, i) ^ wordOf(internal, i)) & maskWord(bits, i)) !== 0) return 'reserved-internal-mismatch'
    }
    const port = words[at + PORTS] >>> 16
    return hasPorts(protocol) && range !== ALL_PORTS && port !== internal.port ? 'reserved-internal-mismatch' : null
  }

  /** How A2 comes about (docs/midcom.md, Binding): its kind, planned, or why not. */
  function planOutside(reserved: number, { internal, direction, parity }: EnableRequest): number | Reason {
    const at = reserved << RULE_BITS
    held.kind = reserved === 0 ? 0 : outsideKind(words[at + META])
    if (held.kind === BY_PORTS) {
      held.index = outside!.portIndex(words[at + OUTSIDE])
      held.port = words[at + BOUND] >>> 16
    } else if (held.kind === BY_ADDRESS) held.index = outside!.wholeIndex(words[at + OUTSIDE])
    const { protocol, word0, port, range } = internal
    if (internal.prefixBits !== 32) {
      if (direction !== OUTBOUND || held.kind !== 0) return 'no-internal-wildcarding'
      return UNKNOWN
    }
    let reason: Reason | null
    if (held.kind === BY_PORTS || (held.kind === 0 && hasPorts(protocol) && port !== 0)) {
      reason = outside!.planPorts(protocol, word0, port, range, parity === PARITY_SAME ? port & 1 : -1, held)
    } else if (held.kind === BY_ADDRESS || direction !== OUTBOUND || outside!.wholeOf(word0) >= 0) {
      // An address that A0 has already is A2, so this rule holds it too: it must not become somebody else's.
      reason = outside!.planAddress(word0, held)
    } else return pool.length === 0 ? 'lack-of-addresses' : DYNAMIC
    return reason ?? outside!.plan.kind
  }

  /** The same for A1 of a twice-NAT rule. */
  function planInside(reserved: number, { external, parity }: EnableRequest): number | Reason {
    if (external.prefixBits !== 32) return 'no-external-wildcarding'
    const at = reserved << RULE_BITS
    held.kind = reserved === 0 ? 0 : insideKind(words[at + META])
    if (held.kind !== 0) held.index = inside!.portIndex(words[at + INSIDE])
    held.port = words[at + BOUND] & 0xffff
    const { protocol, word0, port, range } = external
    const reason = held.kind === BY_PORTS || (held.kind === 0 && hasPorts(protocol) && port !== 0)
      ? inside!.planPorts(protocol, word0, port, range, parity === PARITY_SAME ? port & 1 : -1, held)
      : inside!.planAddress(word0, held)
    return reason ?? inside!.plan.kind
  }

  function enable(actor: Party, request: EnableRequest, maxSec: number): Outcome<EnableReply> {
    const { internal, external } = request
    let reserved = 0, group: number | Reason = 0
    if (request.reservation !== 0) {
      reserved = store.find(request.reservation)
      if (reserved === 0) return fail('no-such-rule')
      if ((words[(reserved << RULE_BITS) + META] & ACTION) !== RESERVE) return fail('not-a-reservation')
      if (!mayAccess(actor, reserved)) return fail('not-authorized-for-rule')
    } else {
      group = findGroup(actor, request.group)
      if (typeof group === 'string') return fail(group)
    }
    const wrong = checks.enable(request)
    if (wrong !== null) return fail(wrong)
    if (isBlocked(internal, external)) return fail('blocked-by-disable-rule')
    if (reserved !== 0) {
      const mismatch = checkReservation(reserved, request)
      if (mismatch !== null) return fail(mismatch)
    }
    const grantedSec = grant(request.lifetimeSec, maxSec)
    if (grantedSec === 0) return fail('lifetime-zero')
    const owner = ownerIn(actor, group)
    const full = reserved === 0 ? checkPlace(owner, true) : ends.settle() ? null : 'lack-of-resources'
    if (full !== null) return fail(full)

    const isNat = nat44 && internal.version === 4
    const service = reserved !== 0 ? field(words[(reserved << RULE_BITS) + META], SERVICE_SHIFT)
      : options.service === 'twice' && inside !== null ? TWICE : TRADITIONAL
    const outsideBy = isNat ? planOutside(reserved, request) : AS_SENT
    if (typeof outsideBy === 'string') return fail(outsideBy)
    const insideBy = isNat && service === TWICE ? planInside(reserved, request) : AS_SENT
    if (typeof insideBy === 'string') return fail(insideBy)
    const isOutsideBound = outsideBy === BY_PORTS || outsideBy === BY_ADDRESS
    let needed = 1
    if (isOutsideBound) needed += outside!.planRecords(internal.protocol, internal.word0, internal.port, internal.range)
    if (insideBy !== AS_SENT) needed += inside!.planRecords(external.protocol, external.word0, external.port, external.range)
    if (!ends.makeRoom(needed)) return fail('lack-of-resources')

    const slot = reserved !== 0 ? reserved : store.take()
    const at = slot << RULE_BITS
    if (reserved === 0) enter(slot, owner, group)
    else box.counts[RESERVE]--
    store.setTuples(slot, internal, external)
    words[at + BOUND] = 0
    words[at + META] = ENABLE | (internal.version === 6 ? IPV6 : 0) | request.direction << DIRECTION_SHIFT
      | request.parity << PARITY_SHIFT | service << SERVICE_SHIFT | outsideBy << OUTSIDE_SHIFT | insideBy << INSIDE_SHIFT
    if (isOutsideBound) {
      const { index, port } = outside!.plan
      words[at + OUTSIDE] = outsideBy === BY_PORTS ? pool[index] : addresses[index]
      if (outsideBy === BY_PORTS) words[at + BOUND] = port << 16
      outside!.hold(internal.protocol, internal.word0, internal.port, internal.range, reserved !== 0, 1)
    } else if (outsideBy === DYNAMIC) words[at + OUTSIDE] = pool[pairedIndex(internal.word0, seed, pool.length)]
    if (insideBy !== AS_SENT) {
      const { index, port } = inside!.plan
      words[at + INSIDE] = insidePool[index]
      if (insideBy === BY_PORTS) words[at + BOUND] |= port
      inside!.hold(external.protocol, external.word0, external.port, external.range, reserved !== 0, 1)
    }
    records.addRule(slot, 1 + enabled)
    enabled = (enabled + 1) % PRIORITIES
    ticket[slot] = ring.written()
    maxIdleSec[slot] = request.maxIdleSec
    box.counts[ENABLE]++
    start(slot, grantedSec)
    events.rule(ownerName(box, slot), words[at + ID], grantedSec, 'agent', actor)
    return {
      ok: true,
      value: {
        rule: words[at + ID], group: groups.id(words[at + GROUP]), lifetimeSec: grantedSec,
        inside: insideTuple(store, slot)!, outside: outsideTuple(store, slot),
      },
    }
  }

  function disable(actor: Party, request: DisableRequest, maxSec: number): Outcome<DisableReply> {
    const { internal, external } = request
    if (!options.disableRules) return fail('transaction-not-supported')
    const wrong = checks.disable(internal, external)
    if (wrong !== null) return fail(wrong)
    const grantedSec = grant(request.lifetimeSec, maxSec)
    if (grantedSec === 0) return fail('lifetime-zero')
    const full = checkPlace(actor.owner, true)
    if (full !== null) return fail(full)
    if (!ends.makeRoom(1)) return fail('lack-of-resources')

    const slot = store.take()
    const at = slot << RULE_BITS
    owners.addRule(actor.owner, slot)
    store.setTuples(slot, internal, external)
    words[at + META] = DISABLE | (internal.version === 6 ? IPV6 : 0)
    words[at + GROUP] = 0
    ends.chain(slot)
    records.addRule(slot, 0)
    ticket[slot] = ring.written()
    box.counts[DISABLE]++
    start(slot, grantedSec)
    events.rule(actor.agent, words[at + ID], grantedSec, 'agent', actor)
    const rule = words[at + ID]
    const last = store.highest()
    for (let victim = 1; victim <= last; victim++) {
      if ((words[(victim << RULE_BITS) + META] & (ACTION | WAITING)) !== ENABLE) continue
      if (overlaps(store, victim, internal, external)) ends.endAloud(victim, 'disabled', null)
    }
    return { ok: true, value: { rule, lifetimeSec: grantedSec } }
  }

  function extendTo(slot: number, untilMs: number): void {
    deadlineMs[slot] = untilMs
    ends.schedule(slot)
  }

  function changeLifetime(actor: Party, rule: number, lifetimeSec: number, maxSec: number): Outcome<LifetimeReply> {
    const slot = store.find(rule)
    if (slot === 0) return fail('no-such-rule')
    if (!mayAccess(actor, slot)) return fail('not-authorized-for-rule')
    if (lifetimeSec === 0) {
      if (!ends.makeRoomForEnd(slot)) return fail('lack-of-resources')
      ends.endAloud(slot, 'agent', actor)
      return { ok: true, value: { lifetimeSec: 0 } }
    }
    const grantedSec = grant(lifetimeSec, maxSec)
    if (grantedSec === 0) return fail('lifetime-zero')
    const untilMs = box.nowMs + grantedSec * 1000
    if (!extend && untilMs > deadlineMs[slot]) return fail('lifetime-cannot-be-extended')
    extendTo(slot, untilMs)
    events.rule(ownerName(box, slot), rule, grantedSec, 'agent', actor)
    return { ok: true, value: { lifetimeSec: grantedSec } }
  }

  /** Slots of the members, in order. */
  function membersOf(group: number): number[] {
    const members: number[] = []
    for (let slot = groups.first(group); slot !== 0; slot = words[(slot << RULE_BITS) + GROUP_NEXT]) members.push(slot)
    return members.sort((a, b) => a - b)
  }

  function changeGroupLifetime(actor: Party, id: number, lifetimeSec: number, maxSec: number): Outcome<LifetimeReply> {
    const group = groups.find(id)
    if (group === 0) return fail('no-such-group')
    if (!mayAccess(actor, groups.first(group))) return fail('not-authorized-for-group')
    const owner = ownerName(box, groups.first(group))
    const members = membersOf(group)
    if (lifetimeSec === 0) {
      // A group that needs more records than the ring has goes through it piece by piece: those that do not fit wait.
      const needed = Math.min(ends.recordsOf(members), ring.capacity)
      if (!ends.settle() || !ends.makeRoom(needed)) return fail('lack-of-resources')
      for (const slot of members) ends.end(slot)
      events.group(owner, id, 0, actor)
      return { ok: true, value: { lifetimeSec: 0 } }
    }
    const grantedSec = grant(lifetimeSec, maxSec)
    if (grantedSec === 0) return fail('lifetime-zero')
    const untilMs = box.nowMs + grantedSec * 1000
    if (!extend && members.every((slot) => untilMs > deadlineMs[slot])) return fail('lifetime-cannot-be-extended')
    for (const slot of members) extendTo(slot, untilMs)
    events.group(owner, id, grantedSec, actor)
    return { ok: true, value: { lifetimeSec: grantedSec } }
  }

  return { reserve, enable, disable, changeLifetime, changeGroupLifetime, mayAccess }
}

/** What is left of a group: its longest member's lifetime. */
export function groupRemainingSec(box: Box, group: number): number {
  let longest = 0
  for (let slot = box.groups.first(group); slot !== 0; slot = box.store.words[(slot << RULE_BITS) + GROUP_NEXT]) {
    longest = Math.max(longest, remainingSec(box, slot))
  }
  return longest
}
