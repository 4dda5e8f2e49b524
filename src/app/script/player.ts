/**
 * Plays a script against the policy of a replay, on its virtual time: steps happen at their times and rules end at theirs, in
 * order, each before the first packet whose stamp is at or after it.
 */
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import {
  BIDIRECTIONAL, INBOUND, OUTBOUND, PARITY_ANY, PARITY_EVEN, PARITY_ODD, PARITY_SAME, TRADITIONAL, TWICE,
  type Cause, type Outcome, type Policy, type RuleStatus, type Session, type SessionListener, type Tuple,
} from '../../policy/api.ts'
import { completeTuple, tupleText, type WrittenTuple } from '../config/tuple.ts'
import type { Reference, Step } from './script.ts'

/** What a step came to; null where the answer says nothing of the kind. */
export interface StepResult {
  line: number
  atMs: number
  agent: string
  do: Step['action']
  as: string | null
  ok: boolean
  reason: string | null
  expected: string | null
  /** false: something else was expected. */
  met: boolean
  rule: number | null
  group: number | null
  owner: string | null
  lifetimeSec: number | null
  direction: Step['direction'] | null
  /** A0, A1, A2, A3. */
  internal: string | null
  inside: string | null
  outside: string | null
  external: string | null
  /** Of a list of rules or groups, or of a group's rules. */
  entries: { id: number; owner: string }[] | null
  /** What the enable rule let through, to its end or to that of the replay. */
  traffic: { packets: number; bytes: number } | null
  /** When and why the rule that was made here ended; `cause` null: nobody was there to hear it. */
  ended: { atMs: number; cause: Cause | null } | null
}

/** A set of firewall rules that took the place of another. */
export interface Replacement { line: number; atMs: number; file: string; rules: number; flowsEnded: number }

/** What a session was told without having asked. */
export interface ScriptEvent {
  atMs: number
  /** Who heard it. */
  agent: string
  kind: 'rule' | 'group' | 'session'
  /** Of the rule or group; 0: of a session. */
  id: number
  lifetimeSec: number
  cause: string | null
}

export interface Player {
  /** When something happens next, in milliseconds after the first packet, or Infinity. */
  nextMs(): number
  /** Lets happen what is due up to `untilMs`. */
  happen(untilMs: number): Promise<void>
  /** After the last packet: the rest of the script. */
  finish(): Promise<void>
  readonly results: readonly StepResult[]
  readonly replacements: readonly Replacement[]
  readonly events: readonly ScriptEvent[]
}

const DIRECTIONS = { inbound: INBOUND, outbound: OUTBOUND, bidirectional: BIDIRECTIONAL } as const
const PARITIES = { any: PARITY_ANY, odd: PARITY_ODD, even: PARITY_EVEN, same: PARITY_SAME } as const
const SERVICES = { any: 0, traditional: TRADITIONAL, twice: TWICE } as const
/** Stands for what a step that failed did not make: no identifier is so large. */
const NOTHING = 0xffffffff
const RULES_AT_ONCE = 1024

/**
 * @param policy null: no step is a transaction
 * @param move tells the packet path that time is `nowMs`; what policy tells it from then on happens at that time
 * @param replaceRules gives the packet path new firewall rules, and says how many flows they have ended
 */
export function createPlayer(
  steps: readonly Step[], policy: Policy | null, move: (nowMs: number) => void,
    replaceRules: (rules: readonly FirewallRule[]) => number,
): Player {
  /** By step; a step that replaces firewall rules has none. */
  const resultOf: StepResult[] = []
  const replacements: Replacement[] = []
  const results: StepResult[] = []
  const events: ScriptEvent[] = []
  const sessions = new Map<string, Session>()
  /** Agents whose sessions the script opens and closes; those of others open by themselves. */
  const closed = new Set<string>()
  /** Rules made here that have not ended, by the step that made them. */
  const live = new Map<number, StepResult>()
  const causes = new Map<number, Cause>()
  let next = 0
  let nowMs = 0

  function listener(agent: string): SessionListener {
    const heard = (kind: ScriptEvent['kind'], id: number, lifetimeSec: number, cause: string | null) => {
      events.push({ atMs: nowMs, agent, kind, id, lifetimeSec, cause })
    }
    return {
      ruleEvent(rule, lifetimeSec, cause) {
        heard('rule', rule, lifetimeSec, cause)
        if (lifetimeSec === 0) causes.set(rule, cause)
      },
      groupEvent: (group, lifetimeSec) => heard('group', group, lifetimeSec, null),
      terminated(reason) {
        heard('session', 0, 0, reason)
        sessions.delete(agent)
        closed.add(agent)
      },
    }
  }

  /** Moves time; ends what is over. */
  function advance(atMs: number): void {
    readTraffic()
    nowMs = atMs
    move(atMs)
    if (policy === null) return
    let more: boolean
    do {
      more = policy.advance(atMs, RULES_AT_ONCE)
      apply()
    } while (more)
    noteEnds(null)
  }

  /** The packet path does all that it has been told before the next packet. */
  function apply(): void {
    if (policy === null) return
    do {
      policy.pump()
      policy.applied()
    } while ((policy.appliedTicket() - policy.ticket() | 0) < 0)
  }

  function readTraffic(): void {
    for (const result of live.values()) {
      if (result.do === 'enable') result.traffic = policy!.ruleTraffic(result.rule!) ?? result.traffic
    }
  }

  /** What has ended since traffic was read; `cause` where no session was told of one. */
  function noteEnds(cause: Cause | null): void {
    for (const [step, result] of live) {
      if (policy!.ruleTraffic(result.rule!) !== undefined) continue
      result.ended = { atMs: nowMs, cause: causes.get(result.rule!) ?? cause }
      live.delete(step)
    }
    causes.clear()
  }

  async function play(index: number): Promise<void> {
    const step = steps[index]!
    const { line, atMs, agent, action, label, expect, firewall } = step
    if (firewall !== null) {
      const { file, rules } = firewall
      replacements.push({ line, atMs, file, rules: rules.length, flowsEnded: replaceRules(rules) })
      return
    }
    const result: StepResult = {
      line, atMs, agent, do: action, as: label, ok: true, reason: null, expected: expect, met: true,
      rule: null, group: null, owner: null, lifetimeSec: null, direction: null,
      internal: null, inside: null, outside: null, external: null, entries: null, traffic: null, ended: null,
    }
    results.push(result)
    resultOf[index] = result
    const outcome = await perform(step, result)
    apply()
    if (!outcome.ok) {
      result.ok = false
      result.reason = outcome.reason
    }
    result.met = expect === null || expect === (result.reason ?? 'ok')
    noteEnds(action === 'disable' ? 'disabled' : 'agent')
    const made = result.ok && (action === 'reserve' || action === 'enable' || action === 'disable')
    // A reservation that was enabled goes on as the enable rule, which has its number.
    for (const [other, { rule }] of live) if (made && rule === result.rule) live.delete(other)
    if (made) live.set(index, result)
  }

  async function perform(step: Step, result: StepResult): Promise<Outcome<unknown>> {
    const { agent, action } = step
    if (action === 'close') {
      sessions.get(agent)?.end()
      sessions.delete(agent)
      closed.add(agent)
      return { ok: true, value: null }
    }
    if (action === 'open' || !sessions.has(agent) && !closed.has(agent)) {
      const before = sessions.get(agent)
      if (before !== undefined) return { ok: true, value: null }
      const opened = await policy!.openSession(agent, listener(agent))
      if (!opened.ok) return opened
      closed.delete(agent)
      sessions.set(agent, opened.value)
      if (action === 'open') return opened
    }
    const session = sessions.get(agent)
    return session === undefined ? { ok: false, reason: 'session-not-open' } : transact(session, step, result)
  }

  async function transact(session: Session, step: Step, result: StepResult): Promise<Outcome<unknown>> {
    const { action, lifetimeSec } = step
    const rule = resolve(step.rule, 'rule'), group = resolve(step.group, 'group')
    const tuple = (one: WrittenTuple | null, other: WrittenTuple | null) => completeTuple(one!, other)
    const ends = () => ({ internal: tuple(step.internal, step.external), external: tuple(step.external, step.internal) })
    switch (action) {
      case 'reserve': {
        const { service, parity, protocol, ports: range, internalVersion, externalVersion } = step
        return granted(result, await session.reserve({
          group, service: SERVICES[service], internalVersion, externalVersion, protocol, range, parity: PARITIES[parity],
          lifetimeSec,
          internal: step.internal === null ? null : { ...tuple(step.internal, null), protocol },
        }))
      }
      case 'enable': {
        const request = ends()
        result.direction = step.direction
        Object.assign(result, { internal: tupleText(request.internal), external: tupleText(request.external) })
        return granted(result, await session.enable({
          ...request, reservation: resolve(step.reservation, 'rule'), group, direction: DIRECTIONS[step.direction],
          parity: PARITIES[step.parity], lifetimeSec, maxIdleSec: step.maxIdleSec,
        }))
      }
      case 'disable': {
        const request = ends()
        Object.assign(result, { internal: tupleText(request.internal), external: tupleText(request.external) })
        return granted(result, await session.disable({ ...request, lifetimeSec }))
      }
      case 'lifetime': return granted(result, await session.changeLifetime(rule, lifetimeSec), { rule })
      case 'group-lifetime': return granted(result, await session.changeGroupLifetime(group, lifetimeSec), { group })
      case 'status': {
        const status = await session.ruleStatus(rule)
        if (status.ok) readStatus(result, status.value)
        return status
      }
      case 'group-status': {
        const status = await session.groupStatus(group)
        if (status.ok) {
          const { owner, lifetimeSec, rules } = status.value
          Object.assign(result, { group, owner, lifetimeSec, entries: rules.map((id) => ({ id, owner })) })
        }
        return status
      }
      case 'list': {
        const list = await session.listRules()
        if (list.ok) result.entries = list.value.map(({ rule: id, owner }) => ({ id, owner }))
        return list
      }
      case 'group-list': {
        const list = await session.listGroups()
        if (list.ok) result.entries = list.value.map(({ group: id, owner }) => ({ id, owner }))
        return list
      }
      case 'open':
      case 'firewall':
      case 'close': throw new Error('a session is no transaction')
    }
  }

  /** 0: none was named. */
  function resolve(reference: Reference | null, of: 'rule' | 'group'): number {
    if (reference === null) return 0
    return 'number' in reference ? reference.number : resultOf[reference.step]![of] ?? NOTHING
  }

  return {
    nextMs: () => Math.min(steps[next]?.atMs ?? Infinity, policy?.nextDeadlineMs() ?? Infinity),
    async happen(untilMs) {
      for (;;) {
        const stepMs = steps[next]?.atMs ?? Infinity
        // Never back: a deadline that was missed is past.
        const atMs = Math.max(nowMs, Math.min(stepMs, policy?.nextDeadlineMs() ?? Infinity))
        if (atMs > untilMs || atMs === Infinity) return
        advance(atMs)
        if (stepMs <= atMs) await play(next++)
      }
    },
    async finish() {
      while (next < steps.length) await this.happen(steps[next]!.atMs)
      readTraffic()
    },
    results, replacements, events,
  }
}

/** What an answer promises. */
type Promised = Partial<{ rule: number; group: number; lifetimeSec: number; inside: Tuple | null; outside: Tuple }>

function granted(result: StepResult, outcome: Outcome<Promised>, asked: Promised = {}): Outcome<unknown> {
  if (!outcome.ok) return outcome
  const { rule, group, lifetimeSec, inside, outside } = { ...asked, ...outcome.value }
  result.rule = rule ?? null
  result.group = group ?? null
  result.lifetimeSec = lifetimeSec ?? null
  result.inside = inside === undefined || inside === null ? null : tupleText(inside)
  result.outside = outside === undefined ? null : tupleText(outside)
  return outcome
}

function readStatus(result: StepResult, status: RuleStatus): void {
  const { rule, owner, lifetimeSec } = status
  Object.assign(result, { rule, owner, lifetimeSec })
  if (status.action !== 'disable') result.group = status.group
  const texts = (tuples: Record<string, Tuple | null>) => {
    for (const [name, tuple] of Object.entries(tuples)) Object.assign(result, { [name]: tuple === null ? null : tupleText(tuple) })
  }
  if (status.action === 'reserve') texts({ inside: status.inside, outside: status.outside })
  else if (status.action === 'disable') texts({ internal: status.internal, external: status.external })
  else {
    texts({ internal: status.internal, inside: status.inside, outside: status.outside, external: status.external })
    const names = Object.keys(DIRECTIONS) as Step['direction'][]
    result.direction = names.find((name) => DIRECTIONS[name] === status.direction) ?? null
  }
}
