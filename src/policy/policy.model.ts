/**
 * The policy core as docs/midcom.md describes it, slow and obvious: the judge in our random tests. A rule is an object that
 * keeps its request; groups, bindings, lifetimes and lists are found by looking through all rules. Commands are kept as plain
 * objects. Our readings where the contract leaves room are marked "Reading:".
 */
import {
  ALL_PORTS, BIDIRECTIONAL, INBOUND, OUTBOUND, PARITY_ANY, PARITY_EVEN, PARITY_ODD, PARITY_SAME, TRADITIONAL, TWICE,
  type Capabilities, type Cause, type DisableReply, type DisableRequest, type EnableReply, type EnableRequest,
  type GroupListEntry, type GroupStatus, type LifetimeReply, type Outcome, type Policy, type PolicyStatistics, type Question,
  type Reason, type ReserveReply, type ReserveRequest, type RuleListEntry, type RuleStatus, type Session, type SessionListener,
  type TerminationReason, type Tuple, type Verdict,
} from './api.ts'
import type { PolicyOptions } from './options.ts'
import { npt6Model } from '../channel/npt6.model.ts'
import { RULE_BOUND, RULE_DISABLE, RULE_IN, RULE_OUT, RULE_TWICE } from '../channel/commands.ts'
import { Bindings, type Claim, type Hold, type Side } from './model/bindings.ts'
import type { Command } from './model/commands.ts'
import { Slots } from './model/slots.ts'
import {
  checkAddresses, checkPorts, fixedBits, hasPorts, isFull, isOpen, namesPorts, overlaps, parityOf, portsWord, tuple, wordsOf,
} from './model/tuples.ts'

const NEVER_IDLE_SEC = 0xffffffff

interface Group { slot: number; id: number; owner: string }

interface Rule {
  slot: number
  id: number
  owner: string
  group: Group | null
  deadlineMs: number
  /** Last known use; Infinity for `idleMs` is never. */
  lastUseMs: number
  idleMs: number
  action: 'reserve' | 'enable' | 'disable'
  reserve?: ReserveRequest
  service: number
  direction: number
  parity: number
  internal: Tuple
  external: Tuple
  inside: Tuple | null
  outside: Tuple
  maxIdleSec: number
  /** Number of the command that added it. */
  added: number
  holds: Record<Side, Hold | null>
}

/** A request is over for this reason. Thrown and caught inside the model only, which keeps the checks in one column. */
class Refusal extends Error {
  readonly reason: Reason
  constructor(reason: Reason) { super(reason); this.reason = reason }
}

function refuse(reason: Reason): never {
  throw new Refusal(reason)
}

function refuseIf(failed: boolean, reason: Reason): void {
  if (failed) refuse(reason)
}

interface ModelSession extends Session { isOpen: boolean; listener: SessionListener }

export class PolicyModel implements Policy {
  readonly commands: Command[] = []
  /** How many commands the data plane has carried out: before, it knows nothing of a new rule. */
  carriedOut = Infinity
  readonly capabilities: Capabilities
  private readonly options: PolicyOptions
  private readonly bindings: Bindings
  private readonly ruleSlots: Slots
  private readonly groupSlots: Slots
  private rules: Rule[] = []
  private readonly sessions: ModelSession[] = []
  private nowMs = 0
  private enabled = 0
  private readonly counts = { transactions: 0, expired: 0, idle: 0 }
  private readonly failures: Partial<Record<Reason, number>> = {}

  constructor(options: PolicyOptions) {
    this.options = options
    this.bindings = new Bindings(options, () => this.rules)
    this.ruleSlots = new Slots(options.limits.rules)
    this.groupSlots = new Slots(options.limits.rules)
    this.capabilities = {
      firewall: true, nat: options.nat44, portTranslation: options.nat44, protocolTranslation: false, twiceNat: this.isTwiceCapable,
      disableRules: options.disableRules, internalWildcards: options.wildcards.internal,
      externalWildcards: options.wildcards.external, portWildcards: options.wildcards.ports, persistentRules: false,
      internalVersions: [4, 6], externalVersions: [4, 6], interfaceRules: false, groupTransactions: true,
      maxLifetimeSec: options.maxLifetimeSec, idleTimeoutSec: options.idleTimeoutSec, maxSessions: options.limits.sessions,
    }
  }

  private get isTwiceCapable(): boolean { return this.options.nat44 && this.options.insidePool.length > 0 }

  // Sessions.

  openSession(agent: string, listener: SessionListener): Outcome<Session> | Promise<Outcome<Session>> {
    const finish = (verdict: Verdict) => this.count(() => {
      if (!verdict.permit) return refuse(verdict.reason ?? 'not-authorized-for-transaction')
      refuseIf(this.openSessions().length >= this.options.limits.sessions, 'lack-of-resources')
      const session = this.makeSession(agent, listener)
      this.sessions.push(session)
      return session
    })
    const verdict = this.options.authorizer.decide({ kind: 'session', agent })
    return verdict instanceof Promise ? verdict.then(finish) : finish(verdict)
  }

  private makeSession(agent: string, listener: SessionListener): ModelSession {
    const session: ModelSession = {
      agent, listener, isOpen: true,
      reserve: request => this.transact(session, { kind: 'reserve', agent, request }, most => this.reserve(session, request, most)),
      enable: request => this.transact(session, { kind: 'enable', agent, request }, most => this.enable(session, request, most)),
      disable: request => this.transact(session, { kind: 'disable', agent, request }, most => this.disable(session, request, most)),
      changeLifetime: (id, lifetimeSec) => this.transact(session,
        { kind: 'lifetime', agent, owner: this.rules.find(rule => rule.id === id)?.owner ?? '', rule: id, lifetimeSec },
        most => this.changeLifetime(session, id, lifetimeSec, most)),
      changeGroupLifetime: (id, lifetimeSec) => this.transact(session,
        { kind: 'lifetime', agent, owner: this.rules.find(rule => rule.group?.id === id)?.owner ?? '', rule: 0, lifetimeSec },
        most => this.changeGroupLifetime(session, id, lifetimeSec, most)),
      listRules: () => this.transact(session, { kind: 'read', agent }, () => this.listRules(agent)),
      ruleStatus: id => this.transact(session, { kind: 'read', agent }, () => this.ruleStatus(agent, id)),
      listGroups: () => this.transact(session, { kind: 'read', agent }, () => this.listGroups(agent)),
      groupStatus: id => this.transact(session, { kind: 'read', agent }, () => this.groupStatus(agent, id)),
      end: () => { session.isOpen = false },
    }
    return session
  }

  private openSessions(): ModelSession[] { return this.sessions.filter(({ isOpen }) => isOpen) }

  private mayAccess(agent: string, owner: string): boolean {
    return agent === owner || this.options.authorizer.mayAccess(agent, owner)
  }

  private transact<T>(session: ModelSession, question: Question, run: (mostSec: number) => T): Outcome<T> | Promise<Outcome<T>> {
    const finish = (verdict: Verdict) => this.count(() => {
      refuseIf(!session.isOpen, 'session-not-open')
      if (!verdict.permit) return refuse(verdict.reason ?? 'not-authorized-for-transaction')
      if (question.kind === 'disable') refuseIf(!this.options.disableRules, 'transaction-not-supported')
      return run(verdict.maxLifetimeSec ?? Infinity)
    })
    if (!session.isOpen) return finish({ permit: false })
    const verdict = this.options.authorizer.decide(question)
    return verdict instanceof Promise ? verdict.then(finish) : finish(verdict)
  }

  /** The result of a transaction, SE too, or the reason that was thrown in it. */
  private count<T>(run: () => T): Outcome<T> {
    this.counts.transactions++
    try {
      return { ok: true, value: run() }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.failures[error.reason] = (this.failures[error.reason] ?? 0) + 1
      return { ok: false, reason: error.reason }
    }
  }

  // Transactions. What fails throws; nothing is changed before the last check.

  private reserve(session: ModelSession, request: ReserveRequest, mostSec: number): ReserveReply {
    const { options } = this
    const { internal, protocol } = request
    const group = this.groupToJoin(session.agent, request.group)
    const either = [request.internalVersion, request.externalVersion]
    const other = either.includes(4) || !either.includes(6) ? 4 : 6
    const [version, externalVersion] = either.map(asked => asked === 0 ? other : asked) as (4 | 6)[]
    refuseIf(version !== externalVersion || (internal !== null && internal.version !== version), 'ip-version-mismatch')
    refuseIf(protocol < 0 || protocol > 255, 'inconsistent')
    const isNat = version === 4 && options.nat44
    const range = isNat && !hasPorts(protocol) ? ALL_PORTS : request.range
    const isTooMany = hasPorts(protocol) && range !== ALL_PORTS && range > options.limits.portsPerRule
    refuseIf(request.range < 1 || request.range > ALL_PORTS || isTooMany, 'illegal-range')
    refuseIf(![PARITY_ANY, PARITY_ODD, PARITY_EVEN].includes(request.parity), 'inconsistent')
    refuseIf(internal !== null && (internal.prefixBits < 0 || internal.prefixBits > (version === 4 ? 32 : 128)), 'inconsistent')
    // Reading: the box is capable, so a service is granted to IPv6 too, where it means nothing: a firewall ignores it
    // (RFC 5189 2.3.8).
    const isCapable = this.isTwiceCapable
    refuseIf(isNat && request.service === TWICE && !isCapable && options.strictNatMode, 'nat-mode-not-supported')
    const service = isCapable && request.service !== TRADITIONAL ? TWICE : TRADITIONAL
    const lifetimeSec = this.grant(request.lifetimeSec, mostSec)
    this.checkRoom(group?.owner ?? session.agent)
    const holds: Rule['holds'] = { outside: null, inside: null }
    let outside = tuple({ version, prefixBits: 0, protocol, range }), inside: Tuple | null = null
    if (isNat) {
      const claim = { protocol, real: null, count: range === ALL_PORTS ? 0 : range, parity: request.parity }
      const real = internal === null ? null : { address: internal.word0, port: internal.port }
      if (internal !== null) {
        refuseIf(!isFull(internal) || (claim.count > 0 && internal.port === 0), 'inconsistent')
        refuseIf(claim.count > 0 && internal.port + claim.count - 1 > 65535, 'illegal-port')
      }
      const held = this.claim('outside', { ...claim, real }, null)
      // A port of an address that is A0's as a whole shows itself.
      const port = claim.count > 0 && held.count === 0 ? real!.port : held.shown.port
      outside = tuple({ word0: held.shown.address, protocol, port, range })
      holds.outside = held
      if (service === TWICE) {
        holds.inside = this.claim('inside', claim, null)
        inside = tuple({ word0: holds.inside.shown.address, protocol, port: holds.inside.shown.port, range })
      }
    }
    const rule = this.addRule(session, {
      action: 'reserve', reserve: { ...request, range }, service, parity: request.parity, holds, outside, inside,
    }, group, lifetimeSec)
    this.tellRule(rule.id, lifetimeSec, 'agent', rule.owner, session)
    return { rule: rule.id, group: rule.group!.id, lifetimeSec, outside, inside }
  }

  /** RFC 6296: what the outside sees of A0. Of more than one address nothing is told. */
  private seenOutside(a0: Tuple): Tuple {
    const { npt6 = [] } = this.options
    if (npt6.length === 0) return a0
    const mapped = npt6Model(npt6).outward([a0.word0, a0.word1, a0.word2, a0.word3].flatMap(word => [word >>> 16, word & 0xffff]))
    if (a0.prefixBits === 128 && mapped.is === 'none') return a0
    const [word0, word1, word2, word3, prefixBits] = a0.prefixBits < 128 || mapped.is !== 'done' ? [0, 0, 0, 0, 0]
      : [...[0, 2, 4, 6].map(at => mapped.words[at] << 16 | mapped.words[at + 1]), 128]
    return { ...a0, word0, word1, word2, word3, prefixBits }
  }

  private enable(session: ModelSession, request: EnableRequest, mostSec: number): EnableReply {
    const { options } = this
    const { internal, external, direction, parity, maxIdleSec } = request
    const reservation = this.reservationOf(session.agent, request.reservation)
    const group = reservation === null ? this.groupToJoin(session.agent, request.group) : reservation.group
    refuseAny(checkPorts(internal, external, options.limits.portsPerRule))
    refuseIf(![INBOUND, OUTBOUND, BIDIRECTIONAL].includes(direction), 'inconsistent')
    refuseIf(![PARITY_ANY, PARITY_SAME].includes(parity), 'inconsistent')
    refuseAny(checkAddresses(internal, external, options, options.wildcards))
    refuseIf(isOpen(internal, external), 'no-external-wildcarding')
    const isBlocked = this.rules.some(rule => rule.action === 'disable'
      && overlaps(rule.internal, internal) && overlaps(rule.external, external))
    refuseIf(isBlocked, 'blocked-by-disable-rule')
    if (reservation !== null) this.checkReservation(reservation, request)
    const lifetimeSec = this.grant(request.lifetimeSec, mostSec)
    if (reservation === null) this.checkRoom(group?.owner ?? session.agent)
    const isNat = internal.version === 4 && options.nat44
    let outside = internal.version === 6 ? this.seenOutside(internal) : internal, inside = external
    const holds: Rule['holds'] = { outside: null, inside: null }
    if (isNat) {
      const bound = this.bindOutside(request, reservation)
      holds.outside = bound.hold
      outside = bound.shown
      const isTwice = this.isTwiceCapable && (reservation === null ? options.service === 'twice' : reservation.service === TWICE)
      if (isTwice) {
        holds.inside = this.bindInside(request, reservation)
        // Ports that show themselves on a whole address are A3's own.
        const port = holds.inside.count === 0 ? external.port : holds.inside.shown.port
        inside = { ...external, word0: holds.inside.shown.address, port }
      }
    }
    const idleSec = maxIdleSec === 0 ? options.idleTimeoutSec : maxIdleSec === NEVER_IDLE_SEC ? 0 : maxIdleSec
    const enabled = {
      action: 'enable' as const, direction, parity, internal, external, inside, outside, maxIdleSec, holds,
      idleMs: idleSec === 0 ? Infinity : idleSec * 1000,
    }
    let rule: Rule
    if (reservation === null) rule = this.addRule(session, enabled, group, lifetimeSec)
    else {
      rule = reservation
      Object.assign(rule, enabled, { lastUseMs: this.nowMs, deadlineMs: this.nowMs + lifetimeSec * 1000 })
    }
    this.emitBindings(rule, 'bind')
    this.emitRule(rule, ((direction & OUTBOUND) !== 0 ? RULE_OUT : 0) | ((direction & INBOUND) !== 0 ? RULE_IN : 0)
      | (holds.outside === null ? 0 : RULE_BOUND) | (holds.inside === null ? 0 : RULE_TWICE), (1 + this.enabled++) % 2 ** 30)
    this.tellRule(rule.id, lifetimeSec, 'agent', rule.owner, session)
    return { rule: rule.id, group: rule.group!.id, lifetimeSec, inside, outside }
  }

  private disable(session: ModelSession, request: DisableRequest, mostSec: number): DisableReply {
    const { internal, external } = request
    refuseAny(checkPorts(internal, external, this.options.limits.portsPerRule))
    refuseAny(checkAddresses(internal, external, this.options, { internal: true, external: true, ports: true }))
    // Reading: "all at once" is a rule for every packet: any protocol between any two addresses.
    refuseIf(isOpen(internal, external) && internal.protocol === 0, 'no-external-wildcarding')
    const lifetimeSec = this.grant(request.lifetimeSec, mostSec)
    this.checkRoom(session.agent)
    const rule = this.addRule(session, { action: 'disable', internal, external }, null, lifetimeSec)
    this.emitRule(rule, RULE_DISABLE, 0)
    const victims = this.inOrderOfSlots().filter(other => other.action === 'enable'
      && overlaps(other.internal, internal) && overlaps(other.external, external))
    for (const victim of victims) this.remove(victim)
    this.tellRule(rule.id, lifetimeSec, 'agent', rule.owner, session)
    for (const victim of victims) this.tellRule(victim.id, 0, 'disabled', victim.owner, null)
    return { rule: rule.id, lifetimeSec }
  }

  private changeLifetime(session: ModelSession, id: number, asked: number, mostSec: number): LifetimeReply {
    const rule = this.ruleToUse(session.agent, id)
    const lifetimeSec = Math.min(asked, this.options.maxLifetimeSec, mostSec)
    this.checkExtension(lifetimeSec, rule.deadlineMs)
    if (lifetimeSec === 0) this.remove(rule)
    else rule.deadlineMs = this.nowMs + lifetimeSec * 1000
    this.tellRule(id, lifetimeSec, 'agent', rule.owner, session)
    return { lifetimeSec }
  }

  private changeGroupLifetime(session: ModelSession, id: number, asked: number, mostSec: number): LifetimeReply {
    const members = this.membersToUse(session.agent, id)
    const lifetimeSec = Math.min(asked, this.options.maxLifetimeSec, mostSec)
    const deadlineMs = Math.max(...members.map(member => member.deadlineMs))
    this.checkExtension(lifetimeSec, deadlineMs)
    for (const member of members) {
      if (lifetimeSec === 0) this.remove(member)
      else member.deadlineMs = this.nowMs + lifetimeSec * 1000
    }
    for (const other of this.openSessions()) {
      if (other !== session && this.mayAccess(other.agent, members[0].owner)) other.listener.groupEvent(id, lifetimeSec)
    }
    return { lifetimeSec }
  }

  private listRules(agent: string): RuleListEntry[] {
    return this.inOrderOfSlots().filter(({ owner }) => this.mayAccess(agent, owner)).map(({ id, owner }) => ({ rule: id, owner }))
  }

  private listGroups(agent: string): GroupListEntry[] {
    return this.groups().filter(({ owner }) => this.mayAccess(agent, owner)).map(({ id, owner }) => ({ group: id, owner }))
  }

  private ruleStatus(agent: string, id: number): RuleStatus {
    const rule = this.ruleToUse(agent, id)
    const { action, owner, service, direction, parity, internal, inside, outside, external, maxIdleSec } = rule
    const lifetimeSec = this.remainingSec(rule)
    if (action === 'disable') return { action, rule: id, owner, lifetimeSec, internal, external }
    const group = rule.group!.id
    if (action === 'reserve') {
      // A reservation of ports of A0 counts as many as were asked for.
      const asked = rule.reserve!.internal
      const a0 = asked === null ? null : { ...asked, protocol: rule.reserve!.protocol, range: rule.reserve!.range }
      return { action, rule: id, group, owner, lifetimeSec, internal: a0, outside, inside, service, parity }
    }
    return {
      action, rule: id, group, owner, lifetimeSec, direction, parity, internal, inside: inside!, outside, external, maxIdleSec,
    }
  }

  private groupStatus(agent: string, id: number): GroupStatus {
    const members = this.membersToUse(agent, id)
    return {
      group: id, owner: members[0].owner, lifetimeSec: Math.max(...members.map(member => this.remainingSec(member))),
      rules: members.map(member => member.id),
    }
  }

  // What transactions share.

  private inOrderOfSlots(): Rule[] { return [...this.rules].sort((a, b) => a.slot - b.slot) }

  private groups(): Group[] {
    const groups = new Set(this.rules.map(({ group }) => group).filter(group => group !== null))
    return [...groups].sort((a, b) => a.slot - b.slot)
  }

  private groupToJoin(agent: string, id: number): Group | null {
    if (id === 0) return null
    const group = this.groups().find(candidate => candidate.id === id) ?? refuse('no-such-group')
    refuseIf(!this.mayAccess(agent, group.owner), 'not-authorized-for-group')
    return group
  }

  private ruleToUse(agent: string, id: number): Rule {
    const rule = this.rules.find(candidate => candidate.id === id) ?? refuse('no-such-rule')
    refuseIf(!this.mayAccess(agent, rule.owner), 'not-authorized-for-rule')
    return rule
  }

  private membersToUse(agent: string, id: number): Rule[] {
    const members = this.inOrderOfSlots().filter(({ group }) => group?.id === id)
    refuseIf(members.length === 0, 'no-such-group')
    refuseIf(!this.mayAccess(agent, members[0].owner), 'not-authorized-for-group')
    return members
  }

  private reservationOf(agent: string, id: number): Rule | null {
    if (id === 0) return null
    const rule = this.rules.find(candidate => candidate.id === id) ?? refuse('no-such-rule')
    refuseIf(rule.action !== 'reserve', 'not-a-reservation')
    refuseIf(!this.mayAccess(agent, rule.owner), 'not-authorized-for-rule')
    return rule
  }

  private checkReservation(reservation: Rule, { internal, external, parity }: EnableRequest): void {
    const reserve = reservation.reserve!
    // Reading: what was reserved for one IP version serves no other.
    refuseIf(internal.version !== reservation.outside.version, 'ip-version-mismatch')
    refuseIf(internal.protocol !== reserve.protocol, 'protocol-mismatch')
    refuseIf(namesPorts(internal) && internal.range !== reserve.range, 'inconsistent')
    // Reading: ports that are reserved cannot serve a port wildcard.
    refuseIf(reservation.holds.outside !== null && reserve.range !== ALL_PORTS && internal.port === 0, 'inconsistent')
    if (hasPorts(reserve.protocol) && reserve.range !== ALL_PORTS) {
      refuseIf(reservation.holds.inside !== null && external.port === 0, 'inconsistent')
      // Reading: A1 and A3 as A2 and A0 (RFC 5189 2.3.6). Every port of a whole address has its own parity.
      const pairs: [Hold | null, Tuple][] = [[reservation.holds.outside, internal], [reservation.holds.inside, external]]
      for (const [hold, real] of pairs) {
        const differs = hold !== null && hold.count > 0 && hold.shown.port % 2 !== real.port % 2
        refuseIf(parity === PARITY_SAME && differs, 'parity-mismatch')
      }
    }
    if (reserve.internal !== null) {
      const isOther = fixedBits(reserve.internal) !== fixedBits(internal)
        || (hasPorts(reserve.protocol) && reserve.range !== ALL_PORTS && reserve.internal.port !== internal.port)
      refuseIf(isOther, 'reserved-internal-mismatch')
    }
  }

  /** A2 of an enable rule on NAT, IPv4. */
  private bindOutside(request: EnableRequest, reservation: Rule | null): { hold: Hold | null; shown: Tuple } {
    const { internal, direction, parity } = request
    const { protocol, range } = internal
    const reserved = reservation?.holds.outside ?? null
    if (!isFull(internal)) {
      // Reading: a reservation serves one host, so a prefix cannot use it.
      refuseIf(direction !== OUTBOUND || reserved !== null, 'no-internal-wildcarding')
      return { hold: null, shown: tuple({ prefixBits: 0, protocol, range }) }
    }
    const real = { address: internal.word0, port: internal.port }
    if (namesPorts(internal) && reserved?.count !== 0) {
      const asked = parity === PARITY_SAME ? parityOf(internal.port) : PARITY_ANY
      const hold = this.claim('outside', { protocol, real, count: range, parity: asked }, reserved)
      const port = hold.count === 0 ? internal.port : hold.shown.port
      return { hold, shown: tuple({ word0: hold.shown.address, protocol, port, range }) }
    }
    if (reserved === null && direction === OUTBOUND && this.bindings.wholeOf('outside', real.address) === null) {
      return { hold: null, shown: tuple({ word0: this.bindings.pairedAddress(real.address), protocol, port: 0, range }) }
    }
    const hold = this.claim('outside', { protocol, real, count: 0, parity: PARITY_ANY }, reserved)
    return { hold, shown: { ...internal, word0: hold.shown.address } }
  }

  /** A1 of an enable rule on a box that does twice-NAT for it. */
  private bindInside({ external, parity }: EnableRequest, reservation: Rule | null): Hold {
    refuseIf(!isFull(external), 'no-external-wildcarding')
    const { protocol, port, range } = external
    const reserved = reservation?.holds.inside ?? null
    const count = namesPorts(external) && reserved?.count !== 0 ? range : 0
    const asked = parity === PARITY_SAME && count > 0 ? parityOf(port) : PARITY_ANY
    return this.claim('inside', { protocol, real: { address: external.word0, port }, count, parity: asked }, reserved)
  }

  private claim(side: Side, claim: Claim, reserved: Hold | null): Hold {
    const hold = this.bindings.claim(side, claim, reserved)
    return typeof hold === 'string' ? refuse(hold) : hold
  }

  private grant(asked: number, mostSec: number): number {
    const lifetimeSec = Math.min(asked, this.options.maxLifetimeSec, mostSec)
    refuseIf(lifetimeSec === 0, 'lifetime-zero')
    return lifetimeSec
  }

  private checkExtension(lifetimeSec: number, deadlineMs: number): void {
    const isLonger = lifetimeSec > 0 && this.nowMs + lifetimeSec * 1000 > deadlineMs
    refuseIf(isLonger && !this.options.extend, 'lifetime-cannot-be-extended')
  }

  /** Reading: the quota is that of the agent who will own the rule. */
  private checkRoom(owner: string): void {
    const owned = this.rules.filter(rule => rule.owner === owner).length
    refuseIf(this.ruleSlots.isFull || owned >= (this.options.authorizer.maxRules?.(owner) ?? Infinity), 'lack-of-resources')
  }

  private addRule(session: ModelSession, parts: Partial<Rule>, group: Group | null, lifetimeSec: number): Rule {
    const owner = group?.owner ?? session.agent
    const idleSec = parts.action === 'disable' ? 0 : this.options.idleTimeoutSec
    const rule: Rule = {
      ...this.ruleSlots.take(), owner,
      group: parts.action === 'disable' ? null : group ?? { ...this.groupSlots.take(), owner },
      deadlineMs: this.nowMs + lifetimeSec * 1000, lastUseMs: this.nowMs, idleMs: idleSec === 0 ? Infinity : idleSec * 1000,
      action: 'reserve', service: TRADITIONAL, direction: 0, parity: PARITY_ANY, internal: tuple({}), external: tuple({}),
      inside: null, outside: tuple({}), maxIdleSec: 0, added: Infinity, holds: { outside: null, inside: null },
      ...parts,
    }
    this.rules.push(rule)
    return rule
  }

  private remainingSec({ deadlineMs }: Rule): number { return Math.max(0, Math.ceil((deadlineMs - this.nowMs) / 1000)) }

  // Ends, commands and events.

  private remove(rule: Rule): void {
    if (rule.action !== 'reserve') this.commands.push({ op: 'rule-delete', rule: rule.slot })
    if (rule.action === 'enable') this.emitBindings(rule, 'unbind')
    this.rules = this.rules.filter(other => other !== rule)
    this.ruleSlots.release(rule.slot)
    if (rule.group !== null && !this.rules.some(({ group }) => group === rule.group)) this.groupSlots.release(rule.group.slot)
  }

  private emitBindings(rule: Rule, verb: 'bind' | 'unbind'): void {
    for (const { protocol, real, shown, count } of this.bindings.ownRuns('outside', rule)) {
      this.commands.push(count === 0 ? { op: verb + '-address', local: real!.address, outside: shown.address }
        : { op: verb + '-ports', protocol, count, local: real!.address, localPort: real!.port, outside: shown.address,
          outsidePort: shown.port })
    }
    for (const { protocol, real, shown, count } of this.bindings.ownRuns('inside', rule)) {
      this.commands.push(count === 0 ? { op: verb + '-inside', count, peer: real!.address, inside: shown.address }
        : { op: verb + '-inside', protocol, count, peer: real!.address, peerPort: real!.port, inside: shown.address,
          insidePort: shown.port })
    }
  }

  private emitRule(rule: Rule, flags: number, priority: number): void {
    const { slot, internal, external } = rule
    rule.added = this.commands.length + 1
    const command: Command = {
      op: 'rule-add', rule: slot, flags, priority, version: internal.version,
      protocol: internal.protocol === 0 ? -1 : internal.protocol,
      localBits: internal.prefixBits, peerBits: external.prefixBits,
      localPorts: portsWord(internal), peerPorts: portsWord(external),
    }
    wordsOf(fixedBits(internal)).forEach((word, i) => { command['local' + i] = word })
    wordsOf(fixedBits(external)).forEach((word, i) => { command['peer' + i] = word })
    this.commands.push(command)
  }

  /** REN to every open session with access but `except`, in order of opening. */
  private tellRule(id: number, lifetimeSec: number, cause: Cause, owner: string, except: ModelSession | null): void {
    for (const session of this.openSessions()) {
      if (session !== except && this.mayAccess(session.agent, owner)) session.listener.ruleEvent(id, lifetimeSec, cause)
    }
  }

  /** Identifiers in use, in order of slots: so that those who test can name what exists. */
  live(kind: 'rule' | 'reservation' | 'group'): number[] {
    if (kind === 'group') return this.groups().map(({ id }) => id)
    return this.inOrderOfSlots().filter(({ action }) => kind === 'rule' || action === 'reserve').map(({ id }) => id)
  }

  // Time.

  /** When a rule is over or must be looked at, whichever comes first. */
  private dueMs({ deadlineMs, lastUseMs, idleMs }: Rule): number { return Math.min(deadlineMs, lastUseMs + idleMs) }

  private nextDue(): Rule | undefined {
    return this.inOrderOfSlots().sort((a, b) => this.dueMs(a) - this.dueMs(b))[0]
  }

  advance(nowMs: number, budget: number): boolean {
    this.nowMs = nowMs
    for (;;) {
      const rule = this.nextDue()
      if (rule === undefined || this.dueMs(rule) > nowMs) return false
      const isExpired = rule.deadlineMs <= rule.lastUseMs + rule.idleMs
      if (!isExpired && rule.action === 'enable' && rule.added <= this.carriedOut) {
        const usedMs = nowMs - ((nowMs | 0) - this.options.activity.lastUsedMs[rule.slot] | 0)
        if (usedMs > rule.lastUseMs) {
          rule.lastUseMs = usedMs
          continue
        }
      }
      if (budget-- <= 0) return true
      this.counts[isExpired ? 'expired' : 'idle']++
      this.remove(rule)
      this.tellRule(rule.id, 0, isExpired ? 'expired' : 'idle', rule.owner, null)
    }
  }

  nextDeadlineMs(): number {
    const rule = this.nextDue()
    return rule === undefined ? Infinity : this.dueMs(rule)
  }

  // The administrator.

  terminateRule(id: number, cause: Cause): boolean {
    const rule = this.rules.find(candidate => candidate.id === id)
    if (rule === undefined) return false
    this.remove(rule)
    this.tellRule(id, 0, cause, rule.owner, null)
    return true
  }

  /** It remembers nothing. */
  authorizationChanged(): void {}

  terminateSessions(agent: string | undefined, reason: TerminationReason): number {
    const ended = this.openSessions().filter(session => agent === undefined || session.agent === agent)
    for (const session of ended) {
      session.isOpen = false
      session.listener.terminated(reason)
    }
    return ended.length
  }

  ruleTraffic(id: number): { packets: number; bytes: number } | undefined {
    const rule = this.rules.find(candidate => candidate.id === id)
    if (rule === undefined) return undefined
    if (rule.added > this.carriedOut) return { packets: 0, bytes: 0 }
    const { packets, bytes } = this.options.activity
    return { packets: packets[rule.slot], bytes: bytes[rule.slot] }
  }

  ruleInSlot(slot: number): { rule: number; owner: string } | undefined {
    const rule = this.rules.find(candidate => candidate.slot === slot)
    return rule === undefined ? undefined : { rule: rule.id, owner: rule.owner }
  }

  readonly statistics = (): PolicyStatistics => {
    const rulesOf = (action: Rule['action']) => this.rules.filter(rule => rule.action === action).length
    return {
      sessions: this.openSessions().length, rules: this.rules.length,
      reserveRules: rulesOf('reserve'), enableRules: rulesOf('enable'), disableRules: rulesOf('disable'),
      groups: this.groups().length, boundPorts: this.bindings.boundPorts('outside'), boundAddresses: this.bindings.boundAddresses(),
      ...this.counts, failures: { ...this.failures },
    }
  }

  // The model has no data plane of its own.
  ticket(): number { return this.commands.length | 0 }
  appliedTicket(): number { return Math.min(this.carriedOut, this.commands.length) | 0 }
  onApplied(): void {}
  pump(): void {}
  applied(): void {}
  readonly bytes = (): number => 0
}

function refuseAny(reason: Reason | null): void {
  if (reason !== null) refuse(reason)
}
