/**
 * The core and its model side by side: each step is done to both, and everything that can be seen from outside must be alike.
 * The data plane is played here: it takes commands from the core's ring and tells how rules are used.
 */
import { COMMAND_WORDS, createCommandRing, createRuleActivity } from '../../channel/commands.ts'
import type { Outcome, Policy, Question, Session, SessionListener, TerminationReason, Verdict } from '../api.ts'
import type { PolicyOptions } from '../options.ts'
import { PolicyModel } from '../policy.model.ts'
import { decode, type Command } from './commands.ts'
import { AccountingPlane } from './plane.ts'

/** The options but those that are the pair's own. */
export type PairOptions = Omit<PolicyOptions, 'ring' | 'activity' | 'pump' | 'authorizer'>

/** What the authorizer is made of. Agents in `slow` are answered when `settle` is called. */
export interface Rights {
  /** Decides by the question alone. */
  decide(question: Question): Verdict
  actsFor: Readonly<Record<string, readonly string[]>>
  maxRules: Readonly<Record<string, number>>
  slow: readonly string[]
}

export interface PairSession { agent: string; isBusy: boolean; core: Session; model: Session; number: number }

/** A value as text, keys in order: alike if and only if the texts are. */
export function text(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => part !== null && typeof part === 'object' && !Array.isArray(part)
    ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1)) : part)
}

export class Pair {
  readonly core: Policy
  readonly model: PolicyModel
  readonly sessions: PairSession[] = []
  readonly options: PolicyOptions
  nowMs = 0
  private readonly plane = new AccountingPlane()
  private readonly coreCommands: Command[] = []
  private readonly coreEvents: string[] = []
  private readonly modelEvents: string[] = []
  private compared = 0
  private waiting: (() => void)[] = []
  private pending: { what: string; core: Promise<unknown>; model: Promise<unknown>; then: (outcome: unknown) => void }[] = []

  private readonly isPrompt: boolean

  /**
   * `ringRecords` is a power of two. A prompt data plane empties the ring whenever the core asks for it, and after each step;
   * another one when `carryOut` is called or the ring is half full.
   */
  constructor(options: PairOptions, rights: Rights, createPolicy: (options: PolicyOptions) => Policy, ringRecords: number,
    isPrompt: boolean) {
    const ring = createCommandRing(ringRecords)
    this.isPrompt = isPrompt
    this.options = {
      ...options, ring, activity: createRuleActivity(options.limits.rules),
      pump: () => { if (isPrompt || ring.room() < ringRecords / 2) this.carryOut() },
      authorizer: {
        decide: question => !rights.slow.includes(question.agent) ? rights.decide(question)
          : new Promise(resolve => { this.waiting.push(() => resolve(rights.decide(question))) }),
        mayAccess: (agent, owner) => {
          const owners = rights.actsFor[agent] ?? []
          return agent === owner || owners.includes(owner) || owners.includes('*')
        },
        maxRules: agent => rights.maxRules[agent] ?? Infinity,
      },
    }
    this.core = createPolicy(this.options)
    this.model = new PolicyModel(this.options)
    this.model.carriedOut = 0
    same('capabilities', this.core.capabilities, this.model.capabilities)
    this.advance(0)
  }

  /** The data plane carries out what is in the ring. */
  carryOut(): void {
    const { ring, activity } = this.options
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      if (at % COMMAND_WORDS !== 0) throw new Error('a record off its place')
      const command = decode(ring.words, at)
      this.coreCommands.push(command)
      this.plane.carryOut(command)
      if (command.op === 'rule-add') {
        const rule = Number(command['rule'])
        activity.lastUsedMs[rule] = this.nowMs | 0
        activity.packets[rule] = activity.bytes[rule] = 0
      }
      ring.done()
    }
    this.model.carriedOut = this.coreCommands.length
  }

  private listener(number: number, log: string[]): SessionListener {
    return {
      ruleEvent: (rule, lifetimeSec, cause) => { log.push(`session ${number}: rule ${rule} ${lifetimeSec} s ${cause}`) },
      groupEvent: (group, lifetimeSec) => { log.push(`session ${number}: group ${group} ${lifetimeSec} s`) },
      terminated: reason => { log.push(`session ${number}: terminated ${reason}`) },
    }
  }

  /** Opens a session on both sides. It is in `sessions` if and when it is open. */
  open(agent: string, then: (outcome: Outcome<unknown>) => void): void {
    const number = this.sessions.length + 1
    const core = this.core.openSession(agent, this.listener(number, this.coreEvents))
    const model = this.model.openSession(agent, this.listener(number, this.modelEvents))
    const finish = (a: Outcome<Session>, b: Outcome<Session>) => {
      same(`session of ${agent}`, a.ok ? { ok: true } : a, b.ok ? { ok: true } : b)
      if (a.ok && b.ok) this.sessions.push({ agent, isBusy: false, core: a.value, model: b.value, number })
      then(a)
    }
    if (core instanceof Promise || model instanceof Promise) {
      if (!(core instanceof Promise && model instanceof Promise)) throw new Error('only one side waits for the authorizer')
      let first: Outcome<Session>
      this.pending.push({
        what: 'open', core: core.then(outcome => { first = outcome }),
        model: model.then(outcome => finish(first, outcome)), then: () => {},
      })
    } else finish(core, model)
    this.compare('open')
  }

  /** One transaction on both sides. `then` gets the core's outcome, at once or when the authorizer has answered. */
  ask<T>(session: PairSession, what: string, call: (session: Session) => Outcome<T> | Promise<Outcome<T>>,
    then: (outcome: Outcome<T>) => void): void {
    if (session.isBusy) return
    const core = call(session.core)
    const model = call(session.model)
    if (core instanceof Promise && model instanceof Promise) {
      session.isBusy = true
      this.pending.push({
        what, core, model, then: outcome => { session.isBusy = false; then(outcome as Outcome<T>) },
      })
    } else {
      if (core instanceof Promise || model instanceof Promise) throw new Error('only one side waits for the authorizer: ' + what)
      same(what, core, model)
      then(core)
    }
    this.compare(what)
  }

  /** The authorizer answers all that waits. */
  async settle(): Promise<void> {
    const { waiting, pending } = this
    this.waiting = []
    this.pending = []
    for (const answer of waiting) answer()
    for (const { what, core, model, then } of pending) {
      const [a, b] = await Promise.all([core, model])
      same(what, a, b)
      then(a)
    }
    this.compare('settle')
  }

  get isWaiting(): boolean { return this.pending.length > 0 }

  advance(nowMs: number, budget = Infinity): boolean {
    this.nowMs = nowMs
    const core = this.core.advance(nowMs, budget)
    const model = this.model.advance(nowMs, budget)
    same(`more after ${nowMs} ms`, core, model)
    this.compare(`advance to ${nowMs} ms`)
    return core
  }

  terminateRule(rule: number): boolean {
    const ended = this.core.terminateRule(rule, 'administrator')
    same('end of rule ' + rule, ended, this.model.terminateRule(rule, 'administrator'))
    this.compare('administrator ends rule')
    return ended
  }

  terminateSessions(agent: string | undefined, reason: TerminationReason): number {
    const ended = this.core.terminateSessions(agent, reason)
    same('end of sessions', ended, this.model.terminateSessions(agent, reason))
    this.compare('administrator ends sessions')
    return ended
  }

  endSession(session: PairSession): void {
    session.core.end()
    session.model.end()
    this.compare('session ends')
  }

  /** A packet of the rule in this slot passes. */
  use(slot: number): void {
    const { activity } = this.options
    activity.lastUsedMs[slot] = this.nowMs | 0
    activity.packets[slot]++
    activity.bytes[slot] += 100
  }

  compare(what: string): void {
    this.core.pump()
    if (this.isPrompt) this.carryOut()
    const { length } = this.coreCommands
    same(what + ': commands', this.coreCommands.slice(this.compared), this.model.commands.slice(this.compared, length))
    this.compared = this.coreCommands.length
    same(what + ': events', this.coreEvents, this.modelEvents)
    this.coreEvents.length = this.modelEvents.length = 0
    for (const { core, model, number } of this.sessions) same(`${what}: session ${number} open`, core.isOpen, model.isOpen)
    same(what + ': next deadline', this.core.nextDeadlineMs() + '', this.model.nextDeadlineMs() + '')
    if (!this.isWaiting) same(what + ': statistics', this.core.statistics(), this.model.statistics())
    same(what + ': commands that wait', this.core.ticket() - this.core.appliedTicket(), this.model.commands.length - length)
  }
}

function same(what: string, core: unknown, model: unknown): void {
  // Mostly even the order of the keys is alike, which is known sooner.
  if (JSON.stringify(core) === JSON.stringify(model)) return
  const a = text(core), b = text(model)
  if (a !== b) throw new Error(`${what}\n   core ${a}\n  model ${b}`)
}
