/**
 * The transactions that change rules (RFC 5189 2.3.8-2.3.10, 2.4.2; RFC 4540 8.8), once the authorizer has agreed. Each checks and
 * plans first, in the order of docs/midcom.md, then makes sure of room in the ring, and from there on cannot fail.
 */
import { maskWord } from '../base/address.ts'
import {
  ALL_PORTS, OUTBOUND, PARITY_ANY, PARITY_EVEN, PARITY_ODD, PARITY_SAME, TRADITIONAL, TWICE,
} from './api.ts'
import type {
  BatchOutcome, DisableReply, DisableRequest, EnableReply, EnableRequest, LifetimeChange, LifetimeReply, Outcome, Reason,
  ReserveReply, ReserveRequest, SavedRule, Tuple,
} from './api.ts'
import type { Bindings, Hold } from './bindings.ts'
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
  /** `maxSec`: the most that the authorizer allows. `saved`: what the rule had before, and has again or is refused. */
  reserve(actor: Party, request: ReserveRequest, maxSec: number, saved?: SavedRule): Outcome<ReserveReply>
  enable(actor: Party, request: EnableRequest, maxSec: number, saved?: SavedRule): Outcome<EnableReply>
  disable(actor: Party, request: DisableRequest, maxSec: number): Outcome<DisableReply>
  changeLifetime(actor: Party, rule: number, lifetimeSec: number, maxSec: number): Outcome<LifetimeReply>
  changeGroupLifetime(actor: Party, group: number, lifetimeSec: number, maxSec: number): Outcome<LifetimeReply>
  /** Why not all of these may be done, or null. `maxSecs`: for each, the most that the authorizer allows. */
  refusal(actor: Party, changes: readonly LifetimeChange[], maxSecs: readonly number[]): { reason: Reason; index: number } | null
  changeLifetimes(actor: Party, changes: readonly LifetimeChange[], maxSecs: readonly number[]): BatchOutcome<LifetimeReply[]>
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
  const { options, store, owners, groups, outside, inside, records, events, pairing } = box
  const { ring, authorizer, nat44, pool, limits, maxLifetimeSec, extend } = options
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

  function start(slot: number, grantedMs: number): void {
    deadlineMs[slot] = box.nowMs + grantedMs
    lastUseMs[slot] = box.nowMs
    ends.schedule(slot)
  }

  /** Of a rule that comes back, in whole seconds: enough to tell whether there is anything left. */
  function grantAgain({ remainingMs }: SavedRule): number { return grant(Math.ceil(remainingMs / 1000), Infinity) }
  function grantedMs(grantedSec: number, saved: SavedRule | undefined): number {
    return saved === undefined ? grantedSec * 1000 : Math.min(saved.remainingMs, grantedSec * 1000)
  }

  /** A rule that was translated must not come back as one that is not, nor the other way round. */
  function isOtherBox(saved: SavedRule | undefined, isNat: boolean): boolean {
    return saved !== undefined && isNat !== (saved.outsideBy !== AS_SENT)
  }

  /** What a rule had, as if it were a reservation; of an address that is no longer the box's the index is -1. */
  function hadOf(side: Bindings, kind: number, address: number, port: number): Hold {
    held.kind = kind === BY_PORTS || kind === BY_ADDRESS ? kind : 0
    held.index = held.kind === 0 ? 0 : (kind === BY_PORTS ? side.portIndex(address) : side.wholeIndex(address)) ?? -1
    held.port = port
    return held
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

  function reserve(actor: Party, request: ReserveRequest, maxSec: number, saved?: SavedRule): Outcome<ReserveReply> {
    const group = findGroup(actor, request.group)
    if (typeof group === 'string') return fail(group)
    const mismatch = checkVersions(request)
    if (mismatch !== null) return fail(mismatch)
    const { protocol, parity, internal } = request
    if (!isWithin(protocol, 0, 255)) return fail('protocol-not-supported')
    const isNat = nat44 && reserveVersion(request) === 4
    // Zero is not valid (RFC 4540 4.3.9, RFC 5189 2.3.5); without ports any other number says nothing.
    if (!isWithin(request.range, 1, ALL_PORTS)) return fail('illegal-range')
    const range = isNat && !hasPorts(protocol) ? ALL_PORTS : request.range
    if (hasPorts(protocol) && range !== ALL_PORTS && range > limits.portsPerRule) return fail('illegal-range')
    if (!isWithin(parity, PARITY_ANY, PARITY_EVEN)) return fail('inconsistent')
    if (!isWithin(request.service, 0, TWICE)) return fail('inconsistent')
    if (internal !== null && !isWithin(internal.prefixBits, 0, internal.version === 4 ? 32 : 128)) return fail('inconsistent')
    // A firewall ignores the service (RFC 5189 2.3.8, RFC 4540 8.2.2).
    if (isNat && request.service === TWICE && inside === null && options.strictNatMode) return fail('nat-mode-not-supported')
    const service = inside === null || request.service === TRADITIONAL ? TRADITIONAL : TWICE
    const grantedSec = saved === undefined ? grant(request.lifetimeSec, maxSec) : grantAgain(saved)
    if (grantedSec === 0) return fail('lifetime-zero')
    const owner = ownerIn(actor, group)
    const full = checkPlace(owner, false)
    if (full !== null) return fail(full)
    if (isOtherBox(saved, isNat)) return fail('lack-of-addresses')
    const isTwice = isNat && service === TWICE
    const why = !isNat ? null : saved !== undefined ? planAgain(saved, isTwice)
      : planReserve(protocol, range, parity, internal, isTwice)
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
      words[at + OUTSIDE] = kind === BY_PORTS ? outside!.portAddress(index) : outside!.wholeAddress(index)
      words[at + BOUND] = port << 16
      if (internal === null) outside!.holdAny(protocol, range)
      else outside!.hold(protocol, internal.word0, internal.port, range, false, 0)
    }
    if (isTwice) {
      const { kind, index, port } = inside!.plan
      meta |= kind << INSIDE_SHIFT
      words[at + INSIDE] = inside!.portAddress(index)
      words[at + BOUND] |= port
      inside!.holdAny(protocol, range)
    }
    words[at + META] = meta
    box.counts[RESERVE]++
    start(slot, grantedMs(grantedSec, saved))
    events.rule(ownerName(box, slot), words[at + ID], grantedSec, 'agent', actor)
    return {
      ok: true,
      value: {
        rule: words[at + ID], group: groups.id(words[at + GROUP]), lifetimeSec: grantedSec,
        outside: outsideTuple(box, slot), inside: insideTuple(store, slot),
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

  /** The same for a reserve rule that comes back. */
  function planAgain(saved: SavedRule, isTwice: boolean): Reason | null {
    const { protocol, range, internal } = saved
    return planSaved(outside!, saved.outsideBy, saved.outsideAddress, saved.outsidePort, protocol, internal, range)
      ?? (isTwice ? planSaved(inside!, saved.insideBy, saved.insideAddress, saved.insidePort, protocol, null, range) : null)
  }

  function planSaved(
    side: Bindings, kind: number, address: number, port: number, protocol: number, real: Tuple | null, count: number,
  ): Reason | null {
    return side.planHad(hadOf(side, kind, address, port), protocol, real?.word0 ?? null, real?.port ?? 0, count)
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
  function planOutside(reserved: number, { internal, direction, parity }: EnableRequest, saved?: SavedRule): number | Reason {
    if (saved !== undefined && saved.outsideBy !== BY_PORTS && saved.outsideBy !== BY_ADDRESS) {
      return pool.length === 0 ? 'lack-of-addresses' : saved.outsideBy
    }
    if (saved !== undefined) {
      const { outsideBy, outsideAddress, outsidePort } = saved
      return planSaved(outside!, outsideBy, outsideAddress, outsidePort, internal.protocol, internal, internal.range) ?? outsideBy
    }
    const at = reserved << RULE_BITS
    if (reserved === 0) held.kind = 0
    else hadOf(outside!, outsideKind(words[at + META]), words[at + OUTSIDE], words[at + BOUND] >>> 16)
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
  function planInside(reserved: number, { external, parity }: EnableRequest, saved?: SavedRule): number | Reason {
    if (external.prefixBits !== 32) return 'no-external-wildcarding'
    if (saved !== undefined) {
      const { insideBy, insideAddress, insidePort } = saved
      return planSaved(inside!, insideBy, insideAddress, insidePort, external.protocol, external, external.range) ?? insideBy
    }
    const at = reserved << RULE_BITS
    if (reserved === 0) held.kind = 0
    else hadOf(inside!, insideKind(words[at + META]), words[at + INSIDE], words[at + BOUND] & 0xffff)
    const { protocol, word0, port, range } = external
    const reason = held.kind === BY_PORTS || (held.kind === 0 && hasPorts(protocol) && port !== 0)
      ? inside!.planPorts(protocol, word0, port, range, parity === PARITY_SAME ? port & 1 : -1, held)
      : inside!.planAddress(word0, held)
    return reason ?? inside!.plan.kind
  }

  function enable(actor: Party, request: EnableRequest, maxSec: number, saved?: SavedRule): Outcome<EnableReply> {
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
    const grantedSec = saved === undefined ? grant(request.lifetimeSec, maxSec) : grantAgain(saved)
    if (grantedSec === 0) return fail('lifetime-zero')
    const owner = ownerIn(actor, group)
    const full = reserved === 0 ? checkPlace(owner, true) : ends.settle() ? null : 'lack-of-resources'
    if (full !== null) return fail(full)

    const isNat = nat44 && internal.version === 4
    if (isOtherBox(saved, isNat)) return fail('lack-of-addresses')
    const service = saved !== undefined ? saved.service
      : reserved !== 0 ? field(words[(reserved << RULE_BITS) + META], SERVICE_SHIFT)
      : options.service === 'twice' && inside !== null ? TWICE : TRADITIONAL
    const outsideBy = isNat ? planOutside(reserved, request, saved) : AS_SENT
    if (typeof outsideBy === 'string') return fail(outsideBy)
    if (service === TWICE && inside === null) return fail('nat-mode-not-supported')
    const insideBy = isNat && service === TWICE ? planInside(reserved, request, saved) : AS_SENT
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
      words[at + OUTSIDE] = outsideBy === BY_PORTS ? outside!.portAddress(index) : outside!.wholeAddress(index)
      if (outsideBy === BY_PORTS) words[at + BOUND] = port << 16
      outside!.hold(internal.protocol, internal.word0, internal.port, internal.range, reserved !== 0, 1)
    } else if (outsideBy === DYNAMIC) words[at + OUTSIDE] = pool[pairing.index(internal.word0)]
    if (insideBy !== AS_SENT) {
      const { index, port } = inside!.plan
      words[at + INSIDE] = inside!.portAddress(index)
      if (insideBy === BY_PORTS) words[at + BOUND] |= port
      inside!.hold(external.protocol, external.word0, external.port, external.range, reserved !== 0, 1)
    }
    records.addRule(slot, 1 + enabled)
    enabled = (enabled + 1) % PRIORITIES
    ticket[slot] = ring.written()
    maxIdleSec[slot] = request.maxIdleSec
    box.counts[ENABLE]++
    start(slot, grantedMs(grantedSec, saved))
    events.rule(ownerName(box, slot), words[at + ID], grantedSec, 'agent', actor)
    return {
      ok: true,
      value: {
        rule: words[at + ID], group: groups.id(words[at + GROUP]), lifetimeSec: grantedSec,
        inside: insideTuple(store, slot)!, outside: outsideTuple(box, slot),
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
    start(slot, grantedSec * 1000)
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

  /** Seconds that this rule may live from now on, or why not. */
  function checkRule(actor: Party, rule: number, lifetimeSec: number, maxSec: number): number | Reason {
    const slot = store.find(rule)
    if (slot === 0) return 'no-such-rule'
    if (!mayAccess(actor, slot)) return 'not-authorized-for-rule'
    if (lifetimeSec === 0) return 0
    const grantedSec = grant(lifetimeSec, maxSec)
    if (grantedSec === 0) return 'lifetime-zero'
    return !extend && box.nowMs + grantedSec * 1000 > deadlineMs[slot] ? 'lifetime-cannot-be-extended' : grantedSec
  }

  function checkGroup(actor: Party, id: number, lifetimeSec: number, maxSec: number): number | Reason {
    const group = groups.find(id)
    if (group === 0) return 'no-such-group'
    if (!mayAccess(actor, groups.first(group))) return 'not-authorized-for-group'
    if (lifetimeSec === 0) return 0
    const grantedSec = grant(lifetimeSec, maxSec)
    if (grantedSec === 0) return 'lifetime-zero'
    const untilMs = box.nowMs + grantedSec * 1000
    const isExtended = membersOf(group).every((slot) => untilMs > deadlineMs[slot])
    return !extend && isExtended ? 'lifetime-cannot-be-extended' : grantedSec
  }

  function applyRule(actor: Party, slot: number, grantedSec: number): void {
    if (grantedSec === 0) {
      ends.endAloud(slot, 'agent', actor)
      return
    }
    extendTo(slot, box.nowMs + grantedSec * 1000)
    events.rule(ownerName(box, slot), words[(slot << RULE_BITS) + ID], grantedSec, 'agent', actor)
  }

  function applyGroup(actor: Party, group: number, grantedSec: number): void {
    const id = groups.id(group), owner = ownerName(box, groups.first(group))
    for (const slot of membersOf(group)) {
      events.member(words[(slot << RULE_BITS) + ID], grantedSec, actor)
      if (grantedSec === 0) ends.end(slot)
      else extendTo(slot, box.nowMs + grantedSec * 1000)
    }
    events.group(owner, id, grantedSec, actor)
  }

  function changeLifetime(actor: Party, rule: number, lifetimeSec: number, maxSec: number): Outcome<LifetimeReply> {
    const granted = checkRule(actor, rule, lifetimeSec, maxSec)
    if (typeof granted === 'string') return fail(granted)
    const slot = store.find(rule)
    if (granted === 0 && !ends.makeRoomForEnd(slot)) return fail('lack-of-resources')
    applyRule(actor, slot, granted)
    return { ok: true, value: { lifetimeSec: granted } }
  }

  /** Slots of the members, in order. */
  function membersOf(group: number): number[] {
    const members: number[] = []
    for (let slot = groups.first(group); slot !== 0; slot = words[(slot << RULE_BITS) + GROUP_NEXT]) members.push(slot)
    return members.sort((a, b) => a - b)
  }

  function changeGroupLifetime(actor: Party, id: number, lifetimeSec: number, maxSec: number): Outcome<LifetimeReply> {
    const granted = checkGroup(actor, id, lifetimeSec, maxSec)
    if (typeof granted === 'string') return fail(granted)
    const group = groups.find(id)
    if (granted === 0) {
      // A group that needs more records than the ring has goes through it piece by piece: those that do not fit wait.
      const needed = Math.min(ends.recordsOf(membersOf(group)), ring.capacity)
      if (!ends.settle() || !ends.makeRoom(needed)) return fail('lack-of-resources')
    }
    applyGroup(actor, group, granted)
    return { ok: true, value: { lifetimeSec: granted } }
  }

  function checkChange(actor: Party, { rule, group, lifetimeSec }: LifetimeChange, maxSec: number): number | Reason {
    return rule !== 0 ? checkRule(actor, rule, lifetimeSec, maxSec) : checkGroup(actor, group, lifetimeSec, maxSec)
  }

  function refusal(
    actor: Party, changes: readonly LifetimeChange[], maxSecs: readonly number[],
  ): { reason: Reason; index: number } | null {
    for (let index = 0; index < changes.length; index++) {
      const granted = checkChange(actor, changes[index], maxSecs[index])
      if (typeof granted === 'string') return { reason: granted, index }
    }
    return null
  }

  function changeLifetimes(
    actor: Party, changes: readonly LifetimeChange[], maxSecs: readonly number[],
  ): BatchOutcome<LifetimeReply[]> {
    const refused = refusal(actor, changes, maxSecs)
    if (refused !== null) return { ok: false, ...refused }
    // Ends that find no room in the ring wait, so nothing can fail from here on. What an earlier change has ended stays so.
    const value = changes.map((change, i): LifetimeReply => {
      const granted = checkChange(actor, change, maxSecs[i])
      if (typeof granted === 'string') return { lifetimeSec: 0 }
      if (change.rule !== 0) applyRule(actor, store.find(change.rule), granted)
      else applyGroup(actor, groups.find(change.group), granted)
      return { lifetimeSec: granted }
    })
    return { ok: true, value }
  }

  return { reserve, enable, disable, changeLifetime, changeGroupLifetime, refusal, changeLifetimes, mayAccess }
}

/** What is left of a group: its longest member's lifetime. */
export function groupRemainingSec(box: Box, group: number): number {
  let longest = 0
  for (let slot = box.groups.first(group); slot !== 0; slot = box.store.words[(slot << RULE_BITS) + GROUP_NEXT]) {
    longest = Math.max(longest, remainingSec(box, slot))
  }
  return longest
}
