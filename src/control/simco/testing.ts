/**
 * For tests of this folder: a policy that grants everything well formed and does as it is told, time that stands still, and a
 * connection that is a pair of arrays. The policy makes a table entry for each rule and knows neither ports nor lifetimes that run.
 */
import { OPEN, SimcoSession, type Connection, type Peer, type Shared } from './session.ts'
import { createSimcoCounters } from './counters.ts'
import { DEFAULT_LIMITS, type SimcoAgent, type SimcoLimits, type SimcoLogRecord, type SimcoTimers } from './options.ts'
import { OutputPool } from './outbox.ts'
import { BAD, MORE, createDecoder, createMessage, createOutput, encode, type Message } from './codec.ts'
import { createPrng } from '../../base/prng.ts'
import {
  UDP, type Capabilities, type EnableRequest, type Outcome, type Policy, type PolicyStatistics, type Reason, type ReserveRequest,
  type RuleStatus, type Session, type SessionListener, type TerminationReason, type Tuple,
} from '../../policy/api.ts'

export const CAPABILITIES: Capabilities = {
  firewall: true, nat: true, portTranslation: true, protocolTranslation: false, twiceNat: false, disableRules: true,
  internalWildcards: false, externalWildcards: true, portWildcards: true, persistentRules: true, internalVersions: [4, 6],
  externalVersions: [4], interfaceRules: false, groupTransactions: true, maxLifetimeSec: 3600, idleTimeoutSec: 0, maxSessions: 0,
}

export interface FakePolicy extends Policy {
  capabilities: Capabilities
  /** Asked before every transaction and session: a reason refuses it. */
  refuse: (transaction: string, agent: string) => Reason | undefined
  /** Answers come when `settle` is called. */
  isSlow: boolean
  settle(): void
  /** What was asked, such as 'enable'. */
  readonly asked: string[]
  /** Commands are carried out by `apply` and not by `pump`. */
  isRemote: boolean
  apply(): void
  pumps: number
  /** Ends a rule and tells everybody. */
  expire(rule: number): void
  readonly listeners: Map<FakeSession, SessionListener>
}
interface FakeSession extends Session { open: boolean }

const OUTSIDE: Tuple = tuple4('198.51.100.9', 40000, 1)

/** An IPv4 tuple, UDP. */
export function tuple4(address: string, port: number, range: number, fields: Partial<Tuple> = {}): Tuple {
  const word0 = address.split('.').reduce((sum, octet) => sum << 8 | Number(octet), 0)
  return { version: 4, word0, word1: 0, word2: 0, word3: 0, prefixBits: 32, protocol: UDP, port, range, ...fields }
}

function wide(t: Tuple): boolean { return t.prefixBits < (t.version === 4 ? 32 : 128) }

/** The order of docs/midcom.md, as far as the fake goes. */
function tupleReason(a0: Tuple, a3: Tuple, c: Capabilities, disables: boolean): Reason | undefined {
  if (a0.version !== a3.version) return 'ip-version-mismatch'
  if (a0.protocol !== a3.protocol) return 'inconsistent'
  for (const { prefixBits, version } of [a0, a3]) if (prefixBits > (version === 4 ? 32 : 128)) return 'inconsistent'
  if ((a0.protocol === 6 || a0.protocol === UDP) && a0.port > 0 && a3.port > 0) {
    if (a0.range !== a3.range) return 'inconsistent'
    if (a0.range === 0) return 'illegal-range'
    if (a0.port + a0.range > 65_536 || a3.port + a3.range > 65_536) return 'illegal-port'
  }
  if (disables) return undefined
  if (wide(a0) && !c.internalWildcards) return 'no-internal-wildcarding'
  if (wide(a3) && !c.externalWildcards) return 'no-external-wildcarding'
  return (a0.port === 0 || a3.port === 0 || a0.protocol === 0) && !c.portWildcards ? 'no-port-wildcarding' : undefined
}

export function createFakePolicy(): FakePolicy {
  const rules = new Map<number, RuleStatus>(), groups = new Map<number, number>()
  const listeners = new Map<FakeSession, SessionListener>()
  const callbacks: (() => void)[] = []
  let lastRule = 0, lastGroup = 0, ticket = 0, applied = 0, waiting: (() => void)[] = []

  function later<T>(answer: () => T): T | Promise<T> {
    if (!policy.isSlow) return answer()
    return new Promise<T>(resolve => { waiting.push(() => resolve(answer())) })
  }
  function tell(rule: number, lifetimeSec: number, but?: FakeSession): void {
    for (const [session, listener] of listeners) if (session !== but) listener.ruleEvent(rule, lifetimeSec, 'agent')
  }
  function no(reason: Reason): { ok: false; reason: Reason } { return { ok: false, reason } }
  /** `change` has succeeded: others are told and the data plane has one thing more to do. */
  function done<T>(value: T, rule: number, lifetimeSec: number, session: FakeSession): Outcome<T> {
    ticket = ticket + 1 | 0
    tell(rule, lifetimeSec, session)
    return { ok: true, value }
  }
  function granted(lifetimeSec: number): number { return Math.min(lifetimeSec, policy.capabilities.maxLifetimeSec) }
  function group(asked: number): number { return asked === 0 ? ++lastGroup : asked }

  function reserve(r: ReserveRequest, session: FakeSession) {
    if (r.group !== 0 && !groups.has(r.group)) return no('no-such-group')
    const versions = [r.internalVersion, r.externalVersion].filter(version => version !== 0)
    if (new Set(versions).size > 1) return no('ip-version-mismatch')
    if (r.range === 0) return no('illegal-range')
    if (r.parity > 2) return no('inconsistent')
    if (r.service === 2 && !policy.capabilities.twiceNat) return no('nat-mode-not-supported')
    if (granted(r.lifetimeSec) === 0) return no('lifetime-zero')
    const rule = ++lastRule, { nat } = policy.capabilities
    const { protocol, range } = r
    const outside = nat ? { ...OUTSIDE, protocol, range } : tuple4('0.0.0.0', 0, 0, { prefixBits: 0, protocol })
    const inside = r.service === 2 ? { ...OUTSIDE, word0: OUTSIDE.word0 + 1, protocol, range } : null
    const reply = { rule, group: group(r.group), lifetimeSec: granted(r.lifetimeSec), outside, inside }
    groups.set(reply.group, rule)
    rules.set(rule, { action: 'reserve', ...reply, owner: session.agent, internal: r.internal, service: r.service,
      parity: r.parity })
    return done(reply, rule, reply.lifetimeSec, session)
  }

  function enable(r: EnableRequest, session: FakeSession) {
    const reserved = rules.get(r.reservation)
    if (r.reservation !== 0 && reserved === undefined) return no('no-such-rule')
    if (reserved !== undefined && reserved.action !== 'reserve') return no('not-a-reservation')
    if (reserved === undefined && r.group !== 0 && !groups.has(r.group)) return no('no-such-group')
    const reason = tupleReason(r.internal, r.external, policy.capabilities, false)
    if (reason !== undefined) return no(reason)
    if (r.direction < 1 || r.direction > 3 || r.parity !== 0 && r.parity !== 3) return no('inconsistent')
    if (granted(r.lifetimeSec) === 0) return no('lifetime-zero')
    const rule = reserved?.rule ?? ++lastRule
    const { protocol, range, version } = r.internal
    const outside = reserved?.action === 'reserve' ? reserved.outside
      : policy.capabilities.nat && version === 4 ? { ...OUTSIDE, protocol, range } : r.internal
    const reply = {
      rule, group: reserved?.action === 'reserve' ? reserved.group : group(r.group), lifetimeSec: granted(r.lifetimeSec),
      inside: r.external, outside,
    }
    groups.set(reply.group, rule)
    rules.set(rule, {
      action: 'enable', ...reply, owner: reserved?.owner ?? session.agent, direction: r.direction, parity: r.parity,
      internal: r.internal, external: r.external, maxIdleSec: 0,
    })
    return done(reply, rule, reply.lifetimeSec, session)
  }

  function openSession(agent: string, listener: SessionListener): Outcome<Session> {
    const refused = policy.refuse('session', agent)
    if (refused !== undefined) return no(refused)
    const ask = <T>(what: string, answer: () => Outcome<T>) => {
      policy.asked.push(what)
      const reason = policy.refuse(what, agent)
      return later<Outcome<T>>(() => !session.open ? no('session-not-open') : reason !== undefined ? no(reason) : answer())
    }
    const session: FakeSession = {
      agent, open: true,
      get isOpen() { return session.open },
      reserve: r => ask('reserve', () => reserve(r, session)),
      enable: r => ask('enable', () => enable(r, session)),
      disable: r => ask('disable', () => {
        const reason = tupleReason(r.internal, r.external, policy.capabilities, true)
        if (reason !== undefined) return no(reason)
        const rule = ++lastRule, lifetimeSec = granted(r.lifetimeSec)
        if (lifetimeSec === 0) return no('lifetime-zero')
        rules.set(rule, { action: 'disable', rule, owner: agent, lifetimeSec, internal: r.internal, external: r.external })
        return done({ rule, lifetimeSec }, rule, lifetimeSec, session)
      }),
      changeLifetime: (rule, lifetimeSec) => ask('lifetime', () => {
        const status = rules.get(rule)
        if (status === undefined) return no('no-such-rule')
        const now = granted(lifetimeSec)
        if (now === 0) rules.delete(rule)
        else status.lifetimeSec = now
        return done({ lifetimeSec: now }, rule, now, session)
      }),
      listRules: () => ask('list', () => ({ ok: true, value: [...rules.values()].map(({ rule, owner }) => ({ rule, owner })) })),
      ruleStatus: rule => ask('status', () => {
        const status = rules.get(rule)
        return status === undefined ? no('no-such-rule') : { ok: true, value: status }
      }),
      changeGroupLifetime: () => no('transaction-not-supported'),
      listGroups: () => no('transaction-not-supported'),
      groupStatus: () => no('transaction-not-supported'),
      end() {
        session.open = false
        listeners.delete(session)
      },
    }
    listeners.set(session, listener)
    return { ok: true, value: session }
  }

  const policy: FakePolicy = {
    capabilities: CAPABILITIES, refuse: () => undefined, isSlow: false, isRemote: false, asked: [], pumps: 0, listeners,
    settle() {
      const now = waiting
      waiting = []
      for (const one of now) one()
    },
    apply() {
      applied = ticket
      policy.applied()
    },
    expire(rule) {
      rules.delete(rule)
      tell(rule, 0)
    },
    openSession: (agent, listener) => later(() => openSession(agent, listener)),
    advance: () => false, nextDeadlineMs: () => Infinity,
    ticket: () => ticket, appliedTicket: () => applied,
    onApplied(callback) { callbacks.push(callback) },
    pump() {
      policy.pumps++
      if (!policy.isRemote) policy.apply()
    },
    applied() { for (const callback of callbacks) callback() },
    terminateRule: rule => rules.has(rule),
    terminateSessions(agent: string | undefined, reason: TerminationReason) {
      const ended = [...listeners].filter(([session]) => agent === undefined || session.agent === agent)
      for (const [session, listener] of ended) {
        session.end()
        listener.terminated(reason)
      }
      return ended.length
    },
    authorizationChanged() {},
    ruleTraffic: () => undefined,
    ruleInSlot: () => undefined,
    statistics: () => ({ sessions: listeners.size, rules: rules.size } as PolicyStatistics),
    bytes: () => 0,
  }
  return policy
}

/** Time that moves when it is told to. */
export interface FakeTimers extends SimcoTimers { advance(ms: number): void }

export function createFakeTimers(): FakeTimers {
  let nowMs = 1000, due: { atMs: number; callback: () => void }[] = []
  return {
    nowMs: () => nowMs,
    after(ms, callback) {
      const one = { atMs: nowMs + ms, callback }
      due.push(one)
      return { cancel() { due = due.filter(other => other !== one) } }
    },
    advance(ms) {
      const endMs = nowMs + ms
      for (;;) {
        const next = due.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
        if (next === undefined) break
        due = due.filter(other => other !== next)
        nowMs = next.atMs
        next.callback()
      }
      nowMs = endMs
    },
  }
}

/** So long a test waits for what does not come. Seconds are counted one by one: while the process is stopped it does not wait. */
const PATIENCE_SEC = 20

/** What `coming` brings; fails with that reason if it takes too long. */
export async function patiently<T>(coming: Promise<T>, reason: () => string): Promise<T> {
  let left = PATIENCE_SEC, timer: NodeJS.Timeout | undefined
  const late = new Promise<'late'>(resolve => {
    timer = setInterval(() => { if (--left === 0) resolve('late') }, 1000)
  })
  try {
    const first = await Promise.race([coming.then(value => ({ value })), late])
    if (first === 'late') throw new Error(`after ${PATIENCE_SEC} s ${reason()}`)
    return first.value
  } finally {
    clearInterval(timer)
  }
}

export function bytesOf(hex: string): Buffer { return Buffer.from(hex.replace(/\s+/g, ''), 'hex') }

/** Octets of a message of that type with these fields. */
export function octets(type: number, tid: number, fields: Partial<Message> = {}): Buffer {
  const out = createOutput()
  encode(out, { ...createMessage(), ...fields, type, tid })
  return Buffer.from(out.bytes.subarray(0, out.end))
}

/** Every message in these octets as a record of its own; fails if one is bad. */
export function messagesIn(bytes: Uint8Array): Message[] {
  const decoder = createDecoder(), found: Message[] = []
  decoder.push(bytes)
  for (;;) {
    const message = createMessage(), decoded = decoder.next(message)
    if (decoded === MORE) return found
    if (decoded >= BAD) throw new Error(`bad message ${message.type.toString(16)}: ${decoder.fault.reason}`)
    found.push(message)
  }
}

export interface RigOptions {
  policy?: FakePolicy
  peer?: Partial<Peer>
  agents?: SimcoAgent[]
  limits?: Partial<SimcoLimits>
  /** Messages; else there is no end to it. */
  slice?: number
}

/** One session with a connection that a test reads and writes. */
export class Rig {
  readonly policy: FakePolicy
  readonly timers = createFakeTimers()
  readonly logged: SimcoLogRecord[] = []
  readonly shared: Shared
  readonly session: SimcoSession
  readonly counters = createSimcoCounters()
  isPaused = false
  isEnded = false
  isThrottled = false
  isTimeUp = (): boolean => false
  isBusy = false
  /** Why the session waited for its turn, each time. */
  readonly came: ('first' | 'again')[] = []
  failures = 0
  faults = 0
  /** Octets the client does not take. */
  stuckBytes = 0
  isStuck = false
  writes = 0
  private sent: Buffer[] = []

  constructor(options: RigOptions = {}) {
    this.policy = options.policy ?? createFakePolicy()
    const prng = createPrng(4540), awake = new Set<SimcoSession>()
    const flush = () => {
      this.policy.pump()
      for (const session of awake) session.send()
      for (const session of awake) {
        session.tellEvents()
        session.send()
      }
    }
    this.shared = {
      policy: this.policy, limits: { ...DEFAULT_LIMITS, ...options.limits }, counters: this.counters, pool: new OutputPool(),
      agents: new Map((options.agents ?? []).map(agent => [agent.name, agent])),
      nowMs: () => this.timers.nowMs(), randomBytes: bytes => Buffer.from(Array.from({ length: bytes }, () => prng.next() & 255)),
      log: record => { this.logged.push(record) }, inTurn: false,
      wake: session => { awake.add(session) },
      hear: session => { awake.add(session) },
      turned: session => {
        awake.add(session)
        flush()
      },
      later: (session, again) => {
        this.came.push(again ? 'again' : 'first')
        this.timers.after(0, () => session.continue())
      },
      isBusy: () => this.isBusy, slice: options.slice ?? Infinity, messagesLeft: Infinity, isTimeUp: () => this.isTimeUp(),
    }
    const connection: Connection = {
      write: (buffer, bytes) => {
        this.writes++
        this.sent.push(Buffer.from(buffer.subarray(0, bytes)))
        if (this.isStuck) this.stuckBytes += bytes
      },
      pause: () => { this.isPaused = true },
      resume: () => { this.isPaused = false },
      end: () => { this.isEnded = true },
      destroy: () => { this.isEnded = true },
      queuedBytes: 0,
    }
    Object.defineProperty(connection, 'queuedBytes', { get: () => this.stuckBytes })
    const peer: Peer = {
      id: 1, remote: '127.0.0.1:1', secure: false, agent: 'tester', challenged: false,
      isThrottled: () => this.isThrottled, authenticationFailed: () => { this.failures++ }, faulted: () => { this.faults++ },
      ...options.peer,
    }
    this.session = new SimcoSession(this.shared, connection, peer)
  }

  /** What the server does when all answers have left. */
  send(): void {
    this.session.tellEvents()
    this.session.send()
  }

  /** Octets sent since the last call. */
  take(): Buffer {
    const all = Buffer.concat(this.sent)
    this.sent = []
    return all
  }

  /** Sends and returns what came back, as hex texts of whole messages. */
  say(...chunks: (Uint8Array | string)[]): string[] {
    for (const chunk of chunks) this.session.receive(typeof chunk === 'string' ? bytesOf(chunk) : chunk)
    return this.heard()
  }

  /** Whole messages sent since the last call, as hex. */
  heard(): string[] {
    const bytes = this.take(), found: string[] = []
    for (let at = 0; at < bytes.length;) {
      const end = at + 8 + bytes.readUInt16BE(at + 2)
      found.push(bytes.toString('hex', at, end))
      at = end
    }
    return found
  }

  /** Opens a session without authentication; the SE request has TID 1. */
  open(): this {
    this.say('0101000800000001 0001000403000000')
    if (this.session.state !== OPEN) throw new Error('the session did not open')
    return this
  }
}
