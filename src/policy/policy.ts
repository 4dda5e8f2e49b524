/**
 * The policy core: the middlebox of RFC 5189 behind the door of `api.ts`. What it does is in docs/midcom.md.
 *
 * A transaction asks the authorizer first. If the answer takes time, nothing is held meanwhile: when it comes, everything is
 * checked as if the request had come then, so transactions take effect one after the other in the order in which they were
 * permitted. State is touched synchronously only; notifications follow when it is whole again.
 */
import type {
  BatchOutcome, BookSession, Capabilities, Cause, DisableReply, DisableRequest, EnableReply, EnableRequest, LifetimeChange,
  LifetimeReply, Outcome, PolicyCore, PolicyStatistics, Question, Reason, ReserveReply, ReserveRequest, SessionListener,
  TerminationReason, Verdict,
} from './api.ts'
import { createBook } from './book.ts'
import { bytesOf, createBox, ownerName } from './box.ts'
import { createEnds } from './ends.ts'
import type { Party } from './events.ts'
import type { PolicyOptions } from './options.ts'
import { createReading } from './reading.ts'
import { createRules, fail } from './rules.ts'
import { ACTION, DISABLE, ENABLE, ID, META, RESERVE, RULE_BITS } from './store.ts'

export type { PolicyAuthorizer, PolicyOptions } from './options.ts'

type QuestionOf<K extends Question['kind']> = Question & { kind: K }
/** Carries out what was asked once it is permitted, for `maxSec` seconds at most. */
type Work<Q extends Question, T> = (party: Party, question: Q, maxSec: number) => Outcome<T>

const REFUSED: Verdict = { permit: false }
const MOST_NAME_BYTES = 255

/** Bytes of a text in UTF-8. */
function utf8Bytes(text: string): number {
  let bytes = 0
  for (const char of text) {
    const code = char.codePointAt(0)!
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
  }
  return bytes
}

/** @throws RangeError if the ring is too small for the end of the largest rule */
export function createPolicy(options: PolicyOptions): PolicyCore {
  const { ring, activity, authorizer, limits, nat44, wildcards, insidePool } = options
  const box = createBox(options)
  const { store, owners, groups, events } = box
  const { words } = store
  const ends = createEnds(box)
  const rules = createRules(box, ends)
  const reading = createReading(box, rules)
  const twiceNat = nat44 && insidePool.length > 0
  const capabilities: Capabilities = {
    firewall: true, nat: nat44, portTranslation: nat44, protocolTranslation: false, twiceNat,
    disableRules: options.disableRules,
    internalWildcards: wildcards.internal, externalWildcards: wildcards.external, portWildcards: wildcards.ports,
    persistentRules: false,
    internalVersions: [4, 6], externalVersions: [4, 6],
    interfaceRules: false, groupTransactions: true,
    maxLifetimeSec: options.maxLifetimeSec, idleTimeoutSec: options.idleTimeoutSec, maxSessions: limits.sessions,
  }

  const failures: Partial<Record<Reason, number>> = {}
  let transactions = 0, sessionsSoFar = 0
  /** Above 0 while tables may be half way between two states. */
  let busy = 0
  let isAppliedDue = false
  const appliedCallbacks: (() => void)[] = []

  /** Runs what changes state, then tells those who wait to hear of it. */
  function whole<T>(work: () => T): T {
    busy++
    try {
      return work()
    } finally {
      isWhole()
    }
  }

  function isWhole(): void {
    busy--
    if (busy > 0) return
    events.deliver()
    tellApplied()
  }

  /** Every transaction ends here. */
  function answer<T>(outcome: Outcome<T>): Outcome<T> {
    transactions++
    if (!outcome.ok) failures[outcome.reason] = (failures[outcome.reason] ?? 0) + 1
    return outcome
  }

  function decide(question: Question): Verdict | Promise<Verdict> {
    try {
      return authorizer.decide(question)
    } catch {
      return REFUSED      // who cannot decide does not permit
    }
  }

  /** Asks, at once or later, and goes on with the verdict. */
  function ask<T>(question: Question, goOn: (verdict: Verdict) => Outcome<T>): Outcome<T> | Promise<Outcome<T>> {
    const verdict = decide(question)
    return 'then' in verdict ? verdict.then(goOn, () => goOn(REFUSED)) : goOn(verdict)
  }

  function reasonOf(verdict: Verdict & { permit: false }): Reason { return verdict.reason ?? 'not-authorized-for-transaction' }
  function refusal(verdict: Verdict & { permit: false }): { ok: false; reason: Reason } { return fail(reasonOf(verdict)) }

  function openSession(agent: string, listener: SessionListener): Outcome<BookSession> | Promise<Outcome<BookSession>> {
    const bytes = utf8Bytes(agent)
    if (bytes < 1 || bytes > MOST_NAME_BYTES) return answer(refusal({ permit: false }))
    return ask(
      { kind: 'session', agent },
      (verdict) => {
        if (!verdict.permit) return answer(refusal(verdict))
        if (events.parties.length >= limits.sessions) return answer(fail('lack-of-resources'))
        return answer({ ok: true, value: new PolicySession(agent, listener) })
      })
  }

  function close(party: Party): void {
    party.isOpen = false
    events.leave(party)
    owners.leave(party.owner)
  }

  const reserve: Work<QuestionOf<'reserve'>, ReserveReply> = (party, { request }, maxSec) => rules.reserve(party, request, maxSec)
  const enable: Work<QuestionOf<'enable'>, EnableReply> = (party, { request }, maxSec) => rules.enable(party, request, maxSec)
  const disable: Work<QuestionOf<'disable'>, DisableReply> = (party, { request }, maxSec) => rules.disable(party, request, maxSec)
  const changeLifetime: Work<QuestionOf<'lifetime'>, LifetimeReply> = (party, { rule, lifetimeSec }, maxSec) =>
    rules.changeLifetime(party, rule, lifetimeSec, maxSec)

  /** `work` is one function for all its questions: one made for each was a tenth of what a transaction allocates. */
  function transact<Q extends Question, T>(party: Party, question: Q, work: Work<Q, T>): Outcome<T> | Promise<Outcome<T>> {
    if (!party.isOpen) return answer(fail('session-not-open'))
    const verdict = decide(question)
    if (!('then' in verdict)) return carryOut(party, question, verdict, work)
    return verdict.then((late) => carryOut(party, question, late, work), () => carryOut(party, question, REFUSED, work))
  }

  function carryOut<Q extends Question, T>(party: Party, question: Q, verdict: Verdict, work: Work<Q, T>): Outcome<T> {
    if (!party.isOpen) return answer(fail('session-not-open'))
    if (!verdict.permit) return answer(refusal(verdict))
    busy++
    try {
      return answer(work(party, question, verdict.maxLifetimeSec ?? Infinity))
    } finally {
      isWhole()
    }
  }

  /** Of a rule or group whose first rule this is; of none, the authorizer hears of no owner. */
  function ownerOf(slot: number): string { return slot === 0 ? '' : ownerName(box, slot) }
  function ownerOfGroup(id: number): string {
    const group = groups.find(id)
    return group === 0 ? '' : ownerOf(groups.first(group))
  }

  function inNameOf<T>(party: Party, owner: string, work: (actor: Party) => Outcome<T>): Outcome<T> {
    if (owner === party.agent) return work(party)
    if (!authorizer.mayAccess(party.agent, owner)) return fail('not-authorized-for-group')
    const number = owners.enter(owner)
    const outcome = work({ ...party, owner: number })
    owners.leave(number)
    return outcome
  }

  // Rule 0 says that it is about a group.
  function questionOf(agent: string, { rule, group, lifetimeSec }: LifetimeChange): Question {
    return { kind: 'lifetime', agent, owner: rule === 0 ? ownerOfGroup(group) : ownerOf(store.find(rule)), rule, lifetimeSec }
  }

  /** A class, as one of many objects with a getter of its own is a dictionary, in which each call has to find its method. */
  class PolicySession implements BookSession {
    readonly agent: string
    private readonly party: Party
    private readonly read: Question

    constructor(agent: string, listener: SessionListener) {
      this.agent = agent
      this.party = { agent, listener, owner: owners.enter(agent), isOpen: true, serial: ++sessionsSoFar }
      this.read = { kind: 'read', agent }
      events.join(this.party)
    }

    get isOpen(): boolean { return this.party.isOpen }
    reserve(request: ReserveRequest) { return transact(this.party, { kind: 'reserve', agent: this.agent, request }, reserve) }
    enable(request: EnableRequest) { return transact(this.party, { kind: 'enable', agent: this.agent, request }, enable) }
    disable(request: DisableRequest) { return transact(this.party, { kind: 'disable', agent: this.agent, request }, disable) }

    reserveFor(owner: string, request: ReserveRequest) {
      return transact(this.party, { kind: 'reserve', agent: this.agent, request },
        (party, _, maxSec) => inNameOf(party, owner, (actor) => rules.reserve(actor, request, maxSec)))
    }

    enableFor(owner: string, request: EnableRequest) {
      return transact(this.party, { kind: 'enable', agent: this.agent, request },
        (party, _, maxSec) => inNameOf(party, owner, (actor) => rules.enable(actor, request, maxSec)))
    }

    changeLifetime(rule: number, lifetimeSec: number) {
      const owner = ownerOf(store.find(rule))
      return transact(this.party, { kind: 'lifetime', agent: this.agent, owner, rule, lifetimeSec }, changeLifetime)
    }

    changeGroupLifetime(group: number, lifetimeSec: number) {
      return transact(this.party, questionOf(this.agent, { rule: 0, group, lifetimeSec }),
        (party, _, maxSec) => rules.changeGroupLifetime(party, group, lifetimeSec, maxSec))
    }

    listRules() { return transact(this.party, this.read, (party) => reading.listRules(party)) }
    ruleStatus(rule: number) { return transact(this.party, this.read, (party) => reading.ruleStatus(party, rule)) }
    listGroups() { return transact(this.party, this.read, (party) => reading.listGroups(party)) }
    groupStatus(group: number) { return transact(this.party, this.read, (party) => reading.groupStatus(party, group)) }
    end(): void { if (this.party.isOpen) close(this.party) }

    refusal(changes: readonly LifetimeChange[]): { reason: Reason; index: number } | null {
      if (!this.party.isOpen) return { reason: 'session-not-open', index: 0 }
      const maxSecs: number[] = []
      for (let index = 0; index < changes.length; index++) {
        const verdict = decide(questionOf(this.agent, changes[index]))
        if (!('then' in verdict) && !verdict.permit) return { reason: reasonOf(verdict), index }
        maxSecs.push('then' in verdict ? Infinity : verdict.maxLifetimeSec ?? Infinity)
      }
      return rules.refusal(this.party, changes, maxSecs)
    }

    changeLifetimes(changes: readonly LifetimeChange[]): BatchOutcome<LifetimeReply[]> | Promise<BatchOutcome<LifetimeReply[]>> {
      const goOn = (verdicts: Verdict[]): BatchOutcome<LifetimeReply[]> => {
        const refused = verdicts.findIndex(({ permit }) => !permit)
        const verdict = verdicts[refused]
        const maxSecs = verdicts.map((each) => each.permit ? each.maxLifetimeSec ?? Infinity : 0)
        const outcome: BatchOutcome<LifetimeReply[]> = !this.party.isOpen ? { ok: false, reason: 'session-not-open', index: 0 }
          : verdict !== undefined && !verdict.permit ? { ok: false, reason: reasonOf(verdict), index: refused }
            : whole(() => rules.changeLifetimes(this.party, changes, maxSecs))
        answer(outcome)
        return outcome
      }
      const verdicts = changes.map((change) => decide(questionOf(this.agent, change)))
      const isLater = verdicts.some((verdict) => 'then' in verdict)
      if (!isLater) return goOn(verdicts as Verdict[])
      const all = verdicts.map((verdict) => 'then' in verdict ? verdict.then((said) => said, () => REFUSED) : verdict)
      return Promise.all(all).then(goOn)
    }
  }

  function advance(nowMs: number, budget: number): boolean {
    if (nowMs > box.nowMs) box.nowMs = nowMs
    return whole(() => {
      ends.flush()
      return ends.expire(budget)
    })
  }

  function tellApplied(): void {
    while (isAppliedDue && busy === 0) {
      isAppliedDue = false
      for (const callback of appliedCallbacks) {
        try {
          callback()
        } catch {
          // As with listeners: the others are still to be told.
        }
      }
    }
  }

  function applied(): void {
    // In the middle of a transaction that asked the data plane for room, callers must not find tables half changed.
    isAppliedDue = true
    if (busy === 0) whole(ends.flush)
  }

  function pump(): void {
    whole(() => {
      ends.settle()
      options.pump?.()
    })
  }

  function terminateRule(rule: number, cause: Cause): boolean {
    const slot = store.find(rule)
    if (slot === 0) return false
    whole(() => ends.endAloud(slot, cause, null))
    return true
  }

  function terminateSessions(agent: string | undefined, reason: TerminationReason): number {
    const ending = events.parties.filter((party) => agent === undefined || party.agent === agent)
    for (const party of ending) close(party)
    for (const party of ending) {
      try {
        party.listener.terminated(reason)
      } catch {
        // The others are ended all the same.
      }
    }
    return ending.length
  }

  function ruleTraffic(rule: number): { packets: number; bytes: number } | undefined {
    const slot = store.find(rule)
    if (slot === 0) return undefined
    // Until the data plane knows the rule, its numbers are those of the one before.
    const isKnown = (words[(slot << RULE_BITS) + META] & ACTION) !== RESERVE && ((ring.applied() - store.ticket[slot]) | 0) >= 0
    activity.refresh?.(slot)
    return isKnown ? { packets: activity.packets[slot], bytes: activity.bytes[slot] } : { packets: 0, bytes: 0 }
  }

  function ruleInSlot(slot: number): { rule: number; owner: string } | undefined {
    if (slot < 1 || slot > store.highest()) return undefined
    const at = slot << RULE_BITS
    return words[at + META] === 0 ? undefined : { rule: words[at + ID], owner: ownerName(box, slot) }
  }

  function statistics(): PolicyStatistics {
    const { counts, outside, expired, idle } = box
    return {
      sessions: events.parties.length,
      rules: counts[RESERVE] + counts[ENABLE] + counts[DISABLE],
      reserveRules: counts[RESERVE], enableRules: counts[ENABLE], disableRules: counts[DISABLE],
      groups: groups.count(),
      boundPorts: outside?.boundPorts() ?? 0, boundAddresses: outside?.boundAddresses() ?? 0,
      transactions, failures: { ...failures }, expired, idle,
    }
  }

  return {
    capabilities, openSession, book: { ...createBook(box, rules, reading, whole), openSession },
    authorizationChanged: events.forget, advance, applied, pump, terminateRule, terminateSessions,
    ruleTraffic, ruleInSlot, statistics,
    nextDeadlineMs: () => box.deadlines.first() === 0 ? Infinity : box.deadlines.firstMs(),
    ticket: () => (ring.written() + ends.waitingRecords()) | 0,
    appliedTicket: () => ring.applied(),
    onApplied(callback) { appliedCallbacks.push(callback) },
    bytes: () => bytesOf(box),
  }
}
