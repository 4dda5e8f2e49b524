/**
 * The agent's side of SIMCO 3.0 (RFC 4540) with the semantics of RFC 5189: `pinhole/agent`.
 *
 *   const agent = await connect('192.0.2.1', 7626, { sharedKey: { name: 'b2bua', key } })
 *   const { rule, outside } = await agent.enable({ protocol: 'udp', internal: '10.0.0.5:5004+2', external: '*',
 *     direction: 'inbound', lifetimeSec: 300 })
 *   for await (const event of agent.events()) if (event.kind === 'rule' && event.lifetimeSec === 0) gone(event.rule)
 *
 * Each agent is a session with one middlebox; there may be any number, and they share nothing. Requests do not wait for each
 * other's replies. Rules outlive sessions (RFC 5189 2.2.3): a middlebox keeps them until their lifetime ends.
 */
import { createEventQueue, type EventQueue, type Overflow } from './agent-events.ts'
import { MidcomError, type Transaction } from './agent-error.ts'
import {
  checkSharedKey, checkTls, openLink, type Link, type LinkOptions, type SharedKey, type TlsOptions,
} from './agent-link.ts'
import {
  disableExchange, enableExchange, endExchange, lifetimeExchange, listExchange, reserveExchange, statusExchange, Unexpected,
  type Capabilities, type DisabledRule, type DisableRequest, type EnabledRule, type EnableRequest, type Exchange,
  type Reservation, type ReserveRequest, type RuleStatus,
} from './agent-messages.ts'
import {
  ARE, AST, BFM, NEGATIVE_REPLY, NO_SUCH_RULE, NOT_SUPPORTED, NOTIFICATION, POSITIVE_REPLY, SIMCO_PORT, type Message,
} from './messages.ts'

export { MidcomError, LOCAL_REASONS, type LocalReason, type Transaction } from './agent-error.ts'
export {
  EndpointError, parseEndpoint, parseProtocol, printEndpoint, printProtocol, type Endpoint, type EndpointFault, type ParsedEndpoint,
} from './agent-endpoint.ts'
export type { SharedKey, TlsOptions } from './agent-link.ts'
export type { Overflow } from './agent-events.ts'
export type {
  Capabilities, Direction, DisabledRule, DisableRequest, EnabledRule, EnableRequest, Protocol, Reservation, ReserveRequest,
  RuleStatus,
} from './agent-messages.ts'
export { SIMCO_PORT }

export interface ConnectOptions {
  /** TLS, 1.2 or later; with `cert` and `key` it tells who the agent is. */
  tls?: TlsOptions
  /** Challenge and response, in which the middlebox proves itself too. Over TLS whose certificate was verified it need not. */
  sharedKey?: SharedKey
  /** For TCP, TLS and the opening of the session together, in milliseconds; 10 s by default. */
  connectTimeoutMs?: number
  /** For each request, waiting for its turn included, in milliseconds; 30 s by default. */
  requestTimeoutMs?: number
  /** Idle time after which TCP asks whether the other side is still there, in milliseconds; 30 s by default. */
  keepAliveMs?: number
  /** Requests sent and not answered, given up or not; further ones wait. 256 by default. */
  maxOutstanding?: number
  /** Requests that may wait, for their turn or for a connection; one more fails. 10,000 by default. */
  maxWaiting?: number
  /** Events kept for each reader; 1024 by default. */
  maxEvents?: number
  /** Connect again when the session is lost; not done by default. */
  reconnect?: ReconnectOptions
  /** Gives up while connecting. */
  signal?: AbortSignal
}

/** The n-th attempt comes a random time after the one before, up to base × 2^n and at most `maxMs`. */
export interface ReconnectOptions {
  /** In milliseconds; 500 by default. */
  baseMs?: number
  /** In milliseconds; 30 s by default. */
  maxMs?: number
  /** Attempts in a row, 1 or more; without end by default. */
  attempts?: number
  /** 0 … 1; `Math.random` by default. */
  random?: () => number
}

export interface CallOptions {
  /** In milliseconds, instead of `requestTimeoutMs`. */
  timeoutMs?: number
  /** Gives the request up; if it was sent, the middlebox may carry it out (see the event `late`). */
  signal?: AbortSignal
}

export type AgentEvent =
  /** A rule that this agent may access is new, has another lifetime, or is gone (0), by another session or by itself. */
  | { kind: 'rule'; rule: number; lifetimeSec: number }
  /** A request that was given up has made or found this rule after all: it lives, `lifetimeSec` seconds from then. */
  | { kind: 'late'; transaction: Transaction; rule: number; lifetimeSec: number }
  /** The middlebox could not read what we sent; it will end the session. */
  | { kind: 'malformed' }
  /** The middlebox has ended the session (AST). `lost` follows. */
  | { kind: 'terminated' }
  /** There is no session any more. */
  | { kind: 'lost'; error: MidcomError; reconnecting: boolean }
  /** There is one again. Events in between are lost: `resynchronise` tells which rules there are. */
  | { kind: 'reconnected'; capabilities: Capabilities; attempts: number }
  /** This reader was too slow, and so many events are not here. */
  | Overflow

export interface Agent {
  readonly state: 'open' | 'reconnecting' | 'closed'
  /** Of the session that is open, or of the last one. */
  readonly capabilities: Capabilities
  /** Settles when it is over for good: with the error that ended it, or null after `end` or `close`. */
  readonly closed: Promise<MidcomError | null>
  // Each of these rejects with a MidcomError, and with a RangeError or EndpointError if the request cannot be said in SIMCO.
  reserve(request: ReserveRequest, call?: CallOptions): Promise<Reservation>
  enable(request: EnableRequest, call?: CallOptions): Promise<EnabledRule>
  /** An extension of SIMCO: fails at once where `capabilities.disableRules` is false. */
  disable(request: DisableRequest, call?: CallOptions): Promise<DisabledRule>
  /** Answers with the seconds granted; 0: the rule is gone. */
  changeLifetime(rule: number, lifetimeSec: number, call?: CallOptions): Promise<number>
  delete(rule: number, call?: CallOptions): Promise<void>
  /** Numbers of all rules that this agent may access. */
  list(call?: CallOptions): Promise<number[]>
  status(rule: number, call?: CallOptions): Promise<RuleStatus>
  /** Status of all rules that this agent may access and that live long enough to be asked for. */
  resynchronise(call?: CallOptions): Promise<RuleStatus[]>
  /** For `for await`. The first reader gets what came since the session was opened; each has a queue of its own. */
  events(): AsyncIterableIterator<AgentEvent, undefined, undefined>
  /** Ends the session (RFC 5189 2.2.2), after the replies to what was sent; does not fail. */
  end(call?: Pick<CallOptions, 'timeoutMs'>): Promise<void>
  /** Drops the connection at once. */
  close(): void
}

interface Pending {
  readonly transaction: Transaction
  readonly message: Message
  /** Settles the promise with what the reply says. */
  readonly answered: (reply: Message) => void
  readonly failed: (error: Error) => void
  /** Ends timer and signal. */
  readonly release: () => void
  /** The caller has been told; only the reply is still to come. */
  abandoned: boolean
}

const DEFAULTS = {
  connectTimeoutMs: 10_000, requestTimeoutMs: 30_000, keepAliveMs: 30_000, maxOutstanding: 256, maxWaiting: 10_000, maxEvents: 1024,
}
const RECONNECT = { baseMs: 500, maxMs: 30_000, attempts: Infinity }
const MOST_MS = 0x7fffffff
/** More attempts would bring the same answer: refused (RFC 4540 7.2), or not whom we trust. */
const FINAL_CODES = [0x0322, 0x0323, 0x0324, 0x0326]
const FINAL_REASONS = ['tls-failed', 'not-authenticated', 'authentication-required', 'protocol-error']

/**
 * Opens a session.
 * @throws {MidcomError} there is none; {RangeError} for options that cannot be
 */
export async function connect(host: string, port: number = SIMCO_PORT, options: ConnectOptions = {}): Promise<Agent> {
  const { signal } = options
  const limits = { ...DEFAULTS }
  for (const name of Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]) {
    limits[name] = positive(options[name] ?? DEFAULTS[name], name)
  }
  const again = options.reconnect === undefined ? null : { ...RECONNECT, random: Math.random, ...options.reconnect }
  if (again !== null) {
    for (const name of ['baseMs', 'maxMs'] as const) positive(again[name], name)
    if (!(again.attempts >= 1)) throw new RangeError('attempts is 1 or more')
  }
  if (options.sharedKey !== undefined) checkSharedKey(options.sharedKey)
  if (options.tls !== undefined) checkTls(options.tls)
  if (positive(port, 'port') > 65_535) throw new RangeError('port is a whole number from 1 to 65535')
  if (signal?.aborted === true) throw new MidcomError('aborted', 'connect')
  const link: LinkOptions = {
    host, port, tls: options.tls ?? null, sharedKey: options.sharedKey ?? null,
    connectTimeoutMs: limits.connectTimeoutMs, keepAliveMs: limits.keepAliveMs,
  }
  return new Promise((resolve, reject) => createAgent(link, limits, again, signal, resolve, reject))
}

function positive(value: number, what: string): number {
  if (Number.isInteger(value) && value >= 1 && value <= MOST_MS) return value
  throw new RangeError(`${what} is a whole number from 1 to ${MOST_MS}`)
}

function createAgent(
  options: LinkOptions, limits: typeof DEFAULTS, again: Required<ReconnectOptions> | null, signal: AbortSignal | undefined,
  resolve: (agent: Agent) => void, reject: (error: MidcomError) => void,
): void {
  let link: Link | null = null
  let dialling: ReturnType<typeof openLink> | null = null
  let retryTimer: NodeJS.Timeout | undefined
  let state: Agent['state'] = 'reconnecting'
  let capabilities: Capabilities | null = null
  let attempts = 0
  let ending: Promise<void> | null = null
  /** What ended it for good; null: we did. */
  let over: MidcomError | null = null
  /** By TID, on the link that is open. */
  let sent = new Map<number, Pending>()
  const waiting = new Set<Pending>()
  const queues = new Set<EventQueue<AgentEvent>>()
  let unclaimed: EventQueue<AgentEvent> | null = addQueue()
  let settleClosed: (error: MidcomError | null) => void = () => {}
  const closed = new Promise<MidcomError | null>((settle) => { settleClosed = settle })
  const onAbort = () => dialling?.abort(new MidcomError('aborted', 'connect'))
  signal?.addEventListener('abort', onAbort, { once: true })
  dial()

  function addQueue(): EventQueue<AgentEvent> {
    const queue: EventQueue<AgentEvent> = createEventQueue(limits.maxEvents, () => queues.delete(queue))
    queues.add(queue)
    return queue
  }
  function tell(event: AgentEvent): void { for (const queue of queues) queue.push(event) }

  function dial(): void {
    let mine: Link | null = null
    dialling = openLink(options, {
      opened(opened) {
        mine = link = opened
        dialling = null
        signal?.removeEventListener('abort', onAbort)
        state = 'open'
        const first = capabilities === null
        capabilities = opened.capabilities
        if (first) resolve(agent)
        else tell({ kind: 'reconnected', capabilities, attempts })
        attempts = 0
        sendWaiting()
      },
      // What still comes on a connection that we have given up concerns nobody.
      message(message) { if (link === mine) receive(message) },
      bad(message, fault) {
        if (link !== mine) return
        const basic = message.type >> 8
        const detail = `${fault.reason} at octet ${fault.position}`
        const pending = basic === POSITIVE_REPLY || basic === NEGATIVE_REPLY ? take(message.tid) : undefined
        // A notification that we do not know is for newer agents.
        if (pending !== undefined) pending.failed(new MidcomError('protocol-error', pending.transaction, true, detail))
        else if (basic !== NOTIFICATION) breakOff(detail)
      },
      closed(error) {
        dialling = null
        if (mine === null) return notOpened(error)
        if (link === mine) lose(error)
      },
    })
  }

  function notOpened(error: MidcomError): void {
    if (state === 'closed') return
    if (capabilities === null) {
      signal?.removeEventListener('abort', onAbort)
      state = 'closed'
      return reject(error)
    }
    attempts++
    if (!isFinal(error) && again !== null && attempts < again.attempts) return dialLater()
    tell({ kind: 'lost', error, reconnecting: false })
    finish(error)
  }

  function dialLater(): void {
    const { baseMs, maxMs, random } = again!
    const delayMs = random() * Math.min(maxMs, baseMs * 2 ** Math.min(attempts, 31))
    retryTimer = setTimeout(dial, delayMs)
  }

  /** The session is over, and not because we ended it. What was sent and not answered fails; what was not sent may wait. */
  function lose(error: MidcomError): void {
    link = null
    const reconnecting = again !== null && ending === null
    state = 'reconnecting'
    tell({ kind: 'lost', error, reconnecting })
    const left = sent
    sent = new Map()
    // Before it ends a session, a middlebox has answered all that it has carried out (RFC 4540 7.5).
    for (const pending of left.values()) {
      pending.failed(asFate(error, pending.transaction, error.local !== 'session-terminated'))
    }
    if (reconnecting) dialLater()
    else finish(ending === null ? error : null)
  }

  /** It is over for good. */
  function finish(error: MidcomError | null): void {
    if (state === 'closed') return
    state = 'closed'
    over = error
    clearTimeout(retryTimer)
    const last = link
    link = null
    dialling?.abort(new MidcomError('session-ended', 'connect'))
    for (const pending of [...sent.values()]) pending.failed(asFate(error, pending.transaction, true))
    for (const pending of [...waiting]) pending.failed(asFate(error, pending.transaction, false))
    sent.clear()
    waiting.clear()
    for (const queue of queues) queue.finish()
    settleClosed(error)
    last?.end()
  }

  function breakOff(detail: string): void {
    const broken = link
    if (broken === null) return
    lose(new MidcomError('protocol-error', 'session', false, detail))
    broken.destroy()
  }

  function take(tid: number): Pending | undefined {
    const pending = sent.get(tid)
    sent.delete(tid)
    return pending
  }

  function receive(message: Message): void {
    switch (message.type) {
      case ARE: return tell({ kind: 'rule', rule: message.pid, lifetimeSec: message.lifetimeSec })
      case BFM: return tell({ kind: 'malformed' })
      case AST: {
        tell({ kind: 'terminated' })
        const last = link
        lose(new MidcomError('session-terminated', 'session'))
        return last?.end()
      }
    }
    const pending = take(message.tid)
    if (pending === undefined) return breakOff(`a reply to TID ${message.tid}, which is not outstanding`)
    if (pending.abandoned) tellLate(pending, message)
    else pending.answered(message)
    sendWaiting()
  }

  /** What nobody waits for any more has happened all the same, and a rule that nobody knows of is a hole in a firewall. */
  function tellLate({ transaction }: Pending, { type, pid, lifetimeSec }: Message): void {
    if (type >> 8 !== POSITIVE_REPLY || !['reserve', 'enable', 'disable'].includes(transaction)) return
    tell({ kind: 'late', transaction, rule: pid, lifetimeSec })
  }

  function sendWaiting(): void {
    for (const pending of waiting) {
      if (link === null || sent.size >= limits.maxOutstanding) return
      waiting.delete(pending)
      transmit(link, pending)
    }
  }

  function transmit(to: Link, pending: Pending): void {
    const tid = to.send(pending.message)
    if (tid !== 0) sent.set(tid, pending)
    else pending.failed(new MidcomError('too-many-requests', pending.transaction, false, 'all TIDs of the session are used up'))
  }

  function request<T>(transaction: Transaction, exchange: Exchange<T>, call: CallOptions = {}): Promise<T> {
    const timeoutMs = positive(call.timeoutMs ?? limits.requestTimeoutMs, 'timeoutMs')
    if (state === 'closed' || (ending !== null && transaction !== 'end')) return Promise.reject(asFate(over, transaction, false))
    if (call.signal?.aborted === true) return Promise.reject(new MidcomError('aborted', transaction))
    const now = link !== null && (transaction === 'end' || sent.size < limits.maxOutstanding)
    if (!now && waiting.size >= limits.maxWaiting) return Promise.reject(new MidcomError('too-many-requests', transaction))
    return new Promise((resolve, reject) => {
      const giveUp = (reason: 'timed-out' | 'aborted', detail = '') => {
        const uncertain = !waiting.delete(pending)
        pending.failed(new MidcomError(reason, transaction, uncertain, detail))
      }
      const onAbort = () => giveUp('aborted')
      const timer = setTimeout(() => giveUp('timed-out', `${timeoutMs} ms`), timeoutMs)
      const release = () => {
        clearTimeout(timer)
        call.signal?.removeEventListener('abort', onAbort)
      }
      const pending: Pending = {
        transaction, message: exchange.message, release, abandoned: false,
        answered(reply) {
          release()
          if (reply.type >> 8 === NEGATIVE_REPLY) return reject(new MidcomError(reply.type, transaction))
          try {
            resolve(exchange.read(reply))
          } catch (error) {
            if (!(error instanceof Unexpected)) throw error
            reject(new MidcomError('protocol-error', transaction, true, error.message))
          }
        },
        failed(error) {
          pending.abandoned = true
          release()
          reject(error)
        },
      }
      call.signal?.addEventListener('abort', onAbort, { once: true })
      if (now) transmit(link!, pending)
      else waiting.add(pending)
    })
  }

  async function end(call: Pick<CallOptions, 'timeoutMs'> = {}): Promise<void> {
    if (state === 'closed') return
    for (const pending of [...waiting]) pending.failed(new MidcomError('session-ended', pending.transaction))
    waiting.clear()
    if (link === null) return finish(null)
    try {
      await request('end', endExchange(), call)
    } catch {
      // Whatever the middlebox says or does not say, we leave.
    }
    finish(null)
  }

  async function resynchronise(call: CallOptions = {}): Promise<RuleStatus[]> {
    const rules = await agent.list(call)
    const found = await Promise.allSettled(rules.map((rule) => agent.status(rule, call)))
    return found.flatMap((one) => {
      if (one.status === 'fulfilled') return [one.value]
      // A rule may end between the list and its status.
      if (one.reason instanceof MidcomError && one.reason.code === NO_SUCH_RULE) return []
      throw one.reason
    })
  }

  const agent: Agent = {
    get state() { return state },
    get capabilities() { return capabilities! },
    closed,
    reserve: async (asked, call) => request('reserve', reserveExchange(asked), call),
    enable: async (asked, call) => request('enable', enableExchange(asked), call),
    async disable(asked, call) {
      const exchange = disableExchange(asked)
      if (!capabilities!.disableRules) throw new MidcomError(NOT_SUPPORTED, 'disable')
      return request('disable', exchange, call)
    },
    changeLifetime: async (rule, lifetimeSec, call) => request('lifetime', lifetimeExchange(rule, lifetimeSec), call),
    async delete(rule, call) {
      const left = await request('delete', lifetimeExchange(rule, 0), call)
      if (left !== 0) throw new MidcomError('protocol-error', 'delete', true, `the rule has ${left} s left`)
    },
    list: async (call) => request('list', listExchange(), call),
    status: async (rule, call) => request('status', statusExchange(rule), call),
    resynchronise,
    events() {
      const queue = unclaimed ?? addQueue()
      unclaimed = null
      if (state === 'closed') queue.finish()
      return queue
    },
    end(call) {
      ending ??= end(call)
      return ending
    },
    close() {
      const last = link
      finish(null)
      last?.destroy()
    },
  }
}

function isFinal({ code, local }: MidcomError): boolean {
  return FINAL_CODES.includes(code) || (local !== null && FINAL_REASONS.includes(local))
}

/** What befell the session, as the fate of one of its requests; null: we ended it. */
function asFate(error: MidcomError | null, transaction: Transaction, uncertain: boolean): MidcomError {
  if (error === null) return new MidcomError('session-ended', transaction, uncertain)
  return new MidcomError(error.local ?? error.code, transaction, uncertain, error.detail, { cause: error })
}
