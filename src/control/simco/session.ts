/**
 * One SIMCO session (RFC 4540 6, 7): messages in their order of arrival to transactions of policy, and replies and notifications
 * back. It knows no sockets: `server.ts` gives it chunks and takes octets. What is done for a message is done without promises and
 * closures, unless policy answers with a promise; then the messages behind it wait, and nothing more is read.
 */
import {
  AST, AUTHENTICATION_FAILED, BAD, BFM, BROKEN, CHALLENGE, INSUFFICIENT_SECURITY, LACK_OF_RESOURCES,
  MAX_OPENING_PAYLOAD_BYTES, MORE, NOT_APPLICABLE, NO_AUTHORIZATION, PDR_REQUEST, PLC_REQUEST, PRL_REQUEST, PRR_REQUEST,
  PRS_REQUEST, REQUEST, SA_REPLY, SA_REQUEST, SE_REPLY, SE_REQUEST, ST_REPLY, ST_REQUEST, TOKEN, VERSION_3_0, VERSION_MISMATCH,
  WRONG_BASIC_TYPE, WRONG_SUB_TYPE, BADLY_FORMED, CONFIGURATION_FAILED, INCONSISTENT,
  EVENT_BYTES, createDecoder, createMessage, encode, encodeEvent, encodeHeader, type Decoder, type Message,
} from './codec.ts'
import { NONCE_BYTES, composeChallenge, composeToken, readCredential, verifyToken } from './authentication.ts'
import { Outbox, type Link, type OutputPool } from './outbox.ts'
import { UsedTids } from './tids.ts'
import { capabilityWord, reply, transact, type Result } from './transactions.ts'
import type { SimcoCounters } from './counters.ts'
import type { SimcoAgent, SimcoLimits, SimcoLogRecord } from './options.ts'
import type { Outcome, Policy, Session, SessionListener, TerminationReason } from '../../policy/api.ts'

/** RFC 4540 7.1; ENDED: nothing more is read, and the connection closes when everything is sent. */
export const CLOSED = 0, NOAUTH = 1, OPEN = 2, ENDED = 3
export type SessionState = typeof CLOSED | typeof NOAUTH | typeof OPEN | typeof ENDED

/** The clock is looked at after so many, and after each of those that may take long: their work grows with the number of rules. */
const MESSAGES_PER_LOOK = 16
/** Of a slice, what a message counts for that may take long. */
const HEAVY = 4
/**
 * A session that has ended reads on and forgets, so that its last words arrive before the system drops the connection: up to so
 * many octets, or who has nothing to lose could keep the box reading.
 */
export const FORGOTTEN_BYTES = 262_144
/** A session that waits for its turn reads on, up to so many octets. */
export const UNREAD_BYTES = 65_536

/** Numbers of notifications, two each, that a session keeps room for while it has none. */
const MOST_EVENTS = 512

/** Replies that a client may leave waiting before its session is open: it has proved nothing yet. */
const OPENING_QUEUED_BYTES = 4096

/** What the layers below say about the other end. */
export interface Peer {
  /** Number of the connection. */
  id: number
  /** Address and port, for logs. */
  remote: string
  secure: boolean
  /** Agent that the layers below vouch for: by certificate, or by being on this machine. */
  agent: string | undefined
  /** The agent must prove that it has its key (RFC 4540 7.2: explicit agent authentication). */
  challenged: boolean
  /** Too many failed before from there: its sessions are refused. Asked when authentication begins. */
  isThrottled(): boolean
  authenticationFailed(): void
  /** The session has to be ended: its client is refused, sends what cannot be, or exceeds a limit. */
  faulted(): void
}

/** A connection as its session sees it. */
export interface Connection extends Link {
  /** Stops and goes on reading. */
  pause(): void
  resume(): void
  /** Everything was sent: the connection may be closed. */
  end(): void
  /** At once; nothing more can be sent. */
  destroy(): void
}

/** What all sessions of a server share. */
export interface Shared {
  readonly policy: Policy
  readonly agents: ReadonlyMap<string, SimcoAgent>
  readonly limits: SimcoLimits
  readonly counters: SimcoCounters
  readonly pool: OutputPool
  nowMs(): number
  randomBytes(bytes: number): Uint8Array
  log(record: SimcoLogRecord): void
  /** A chunk is being worked on, up to `turned`: nothing is sent meanwhile. */
  inTurn: boolean
  /** This session has something to send, which it was not asked for. */
  wake(session: SimcoSession): void
  /** This session has a notification to send. */
  hear(session: SimcoSession): void
  /** So many messages have been worked on: their answers are sent, at once or with those of other sessions. */
  turned(session: SimcoSession, messages: number): void
  /** This session goes on when those before it had their turn; one that comes `again` when all had theirs that do not. */
  later(session: SimcoSession, again: boolean): void
  /** Some session waits for its first turn: whoever comes now stands behind it. */
  isBusy(): boolean
  /** What a session may do at once, in messages; then it is the others' turn. */
  slice: number
  /** What all sessions together may still work on in this turn. */
  messagesLeft: number
  /** All sessions together have worked long enough: packets come first now. */
  isTimeUp(): boolean
}

/* Work objects: filled, used and forgotten within one call. */
const $in = createMessage(), $out = createMessage()
const NONE: Uint8Array = new Uint8Array(0)
/** A key nobody has: unknown agents are checked as slowly as known ones. */
const NO_KEY: Uint8Array = Buffer.alloc(32)

function isPromise<T>(result: T | Promise<T>): result is Promise<T> { return typeof (result as Promise<T>).then === 'function' }

function isRuleRequest(type: number): boolean {
  return type >= PRR_REQUEST && type <= PLC_REQUEST || type === PRS_REQUEST || type === PRL_REQUEST
}

export class SimcoSession implements SessionListener {
  state: SessionState = CLOSED
  requests = 0
  /** When the connection came, the last octet came, the last request came, and the end began. */
  readonly bornMs: number
  lastOctetMs: number
  lastRequestMs: number
  endedMs = Infinity
  /** On the server's lists: has answers, has something to say unasked, will have a little later, waits for the data plane. */
  isAnswering = false
  isAwake = false
  isResting = false
  isHeld = false
  readonly peer: Peer
  readonly outbox: Outbox
  private readonly shared: Shared
  private readonly connection: Connection
  private readonly decoder: Decoder = createDecoder(MAX_OPENING_PAYLOAD_BYTES)
  private readonly usedTids = new UsedTids()
  private policySession: Session | null = null
  private agentChallenge: Uint8Array = NONE
  private boxChallenge: Uint8Array = NONE
  private notifications = 0
  /** Waits for its turn, or for its next one. */
  isLate = false
  /** Reasons not to read on: policy answers later; too much waits to be sent; or it is late. */
  private isAsking = false
  private isFull = false
  private isPaused = false
  /** It has had a turn, and there was more. */
  private hadTurn = false
  /** Rules and lifetimes of notifications that are not encoded: so many of `events`, which keeps its room for the next ones. */
  eventCount = 0
  /** When it was told of something last. */
  toldMs = -Infinity
  private events: number[] = []
  /** An end that waits for the answer of policy. */
  private pendingEnd: string | undefined
  private isOverLimit = false
  /** Since the end of the session. */
  private forgottenBytes = 0
  private lost = false

  constructor(shared: Shared, connection: Connection, peer: Peer) {
    this.shared = shared
    this.connection = connection
    this.peer = peer
    this.outbox = new Outbox(connection, shared.policy, shared.pool)
    this.bornMs = this.lastOctetMs = this.lastRequestMs = shared.nowMs()
  }

  get agent(): string | undefined { return this.policySession?.agent }

  /** Octets kept of a message whose rest has not come; 0 while it is not the client that we wait for. */
  get waitsForOctets(): boolean { return this.decoder.heldBytes > 0 && !this.isAsking && !this.isFull && !this.isLate }

  /** Nothing is asked of policy and nothing is left to read: the client has the word. */
  get isIdle(): boolean { return !this.isAsking && !this.isFull && !this.isLate }

  receive(chunk: Uint8Array, from = 0, to = chunk.length): void {
    if (this.state === ENDED) {
      this.forgottenBytes += to - from
      return this.updateReading()
    }
    this.lastOctetMs = this.shared.nowMs()
    this.shared.counters['in-bytes'] += to - from
    this.decoder.push(chunk, from, to)
    if (this.isLate) this.updateReading()
    else if (this.shared.isBusy()) this.later(false)
    else this.run()
  }

  /** As `receive`, of octets that are the session's only until this returns. */
  receiveLent(chunk: Uint8Array, from: number, to: number): void {
    this.receive(chunk, from, to)
    this.decoder.keep()
  }

  /** It is this session's turn again. */
  continue(): void {
    this.isLate = false
    this.run()
  }

  /** Everything was taken by the other side. */
  written(): void {
    this.outbox.written()
    this.send()
  }

  /** Sends what may leave, and goes on with what waited for it. */
  send(): void {
    if (this.isOverLimit && this.state !== ENDED) {
      this.isOverLimit = false
      this.shared.counters['drop-not-reading-connections']++
      this.fault('the client does not read')
    }
    this.shared.counters['out-bytes'] += this.outbox.flush()
    if (this.state === ENDED) {
      if (this.outbox.isEmpty && !this.lost) this.connection.end()
      return
    }
    if (this.isFull && this.outbox.queuedBytes <= this.shared.limits.queuedBytes >> 1) {
      this.isFull = false
      this.later(true)
    }
  }

  /** The connection is gone, or its other end has closed: the session is over, its rules stay (RFC 4540 7.1). */
  disconnected(): void {
    this.lost = true
    this.finish('connection lost')
    this.eventCount = 0
    this.outbox.clear()
  }

  /** The client has closed its half: what it is owed is still sent. */
  halfClosed(): void {
    if (this.isAsking) this.endLater('closed by the client')
    else {
      this.tellEvents()
      this.finish('closed by the client')
    }
    this.send()
  }

  /** AST, behind the answers to all that was asked (RFC 4540 7.5), or with the answer that policy owes. */
  terminate(detail: string): void {
    if (this.state === ENDED) return
    if (this.isAsking) return this.endLater(detail)
    this.tellEvents()
    if (this.state !== CLOSED) this.notify(AST)
    this.finish(detail)
    this.shared.wake(this)
  }

  /** AST, as the client exceeds a limit. */
  fault(detail: string): void {
    this.peer.faulted()
    this.terminate(detail)
  }

  /** The rest of a message does not come (RFC 4540 6): BFM, and AST if the session is open. */
  breakOff(detail: string): void {
    this.peer.faulted()
    this.shared.log({ event: 'bad-message', connection: this.peer.id, remote: this.peer.remote, detail })
    this.tellEvents()
    this.notify(BFM)
    if (this.state === OPEN) this.notify(AST)
    this.finish(detail)
    this.shared.wake(this)
  }

  /**
   * What policy tells (RFC 4540 8.9). It waits for `tellEvents`: whoever caused it has its answer first, and what many requests
   * cause leaves in one write. With fifty sessions of one agent a write each took nine tenths of the time: 1,400 PER/s, not 14,800.
   */
  ruleEvent(rule: number, lifetimeSec: number): void {
    if (this.state !== OPEN) return
    this.events[2 * this.eventCount] = rule
    this.events[2 * this.eventCount + 1] = lifetimeSec
    this.eventCount++
    if (this.eventCount * EVENT_BYTES > this.shared.limits.queuedBytes) this.isOverLimit = true
    this.shared.hear(this)
  }

  /** Puts what policy has told behind the answers; not before the one that is being worked on. */
  tellEvents(): void {
    const { events, eventCount, shared } = this
    if (this.isAsking || eventCount === 0) return
    const { output } = this.outbox, start = output.end
    for (let i = 0; i < eventCount; i++) encodeEvent(output, this.nextTid(), events[2 * i]!, events[2 * i + 1]!)
    // Not before the replies to the requests that caused them.
    this.outbox.holdFrom(start, shared.policy.ticket())
    shared.counters['out-event-messages'] += eventCount
    this.eventCount = 0
    this.toldMs = shared.nowMs()
    if (events.length > MOST_EVENTS) this.events = []
    if (this.outbox.queuedBytes > shared.limits.queuedBytes) this.isOverLimit = true
  }

  /** SIMCO has no group notifications: members were told one by one. */
  groupEvent(): void { /* nothing to say */ }

  terminated(reason: TerminationReason): void { this.terminate(reason) }

  private endLater(detail: string): void {
    if (this.pendingEnd !== undefined) return
    this.pendingEnd = detail
    this.endedMs = this.shared.nowMs()
  }

  private run(): void {
    const { shared, decoder } = this, { counters } = shared
    const mostQueued = shared.limits.queuedBytes >> 1, most = shared.messagesLeft
    let messages = 0, isHeavy = false, spent = 0
    shared.inTurn = true
    while (this.state !== ENDED && !this.isAsking && !this.isFull && !this.isLate) {
      if (spent >= shared.slice || messages === most || (messages % MESSAGES_PER_LOOK === 0 || isHeavy) && shared.isTimeUp()) {
        if (decoder.unreadBytes > 0) this.later(messages > 0 || this.hadTurn)
        else this.hadTurn = false
        break
      }
      const decoded = decoder.next($in)
      if (decoded === MORE) {
        this.hadTurn = false
        break
      }
      messages++
      isHeavy = $in.type === PRL_REQUEST || $in.type === PDR_REQUEST
      spent += isHeavy ? HEAVY : 1
      if (decoded === BROKEN) {
        counters['drop-bad-message-connections']++
        this.breakOff('payload too long: ' + ($in.type & 0xffff).toString(16))
        break
      }
      this.handle($in, decoded === BAD)
      if (this.state === OPEN) this.isFull = this.outbox.queuedBytes > mostQueued
      else if (this.outbox.queuedBytes > OPENING_QUEUED_BYTES) {
        this.isOverLimit = true
        break
      }
    }
    counters['in-messages'] += messages
    shared.turned(this, messages)
    this.updateReading()
  }

  private later(again: boolean): void {
    if (this.isLate) return
    this.isLate = true
    this.hadTurn = again
    this.shared.later(this, again)
    this.updateReading()
  }

  /** Reads only while a chunk can be worked on, or forgotten. */
  private updateReading(): void {
    const pause = this.state === ENDED ? this.forgottenBytes >= FORGOTTEN_BYTES
      : this.isAsking || this.isFull || this.isLate && this.decoder.unreadBytes >= UNREAD_BYTES
    if (pause === this.isPaused) return
    this.isPaused = pause
    if (pause) this.connection.pause()
    else this.connection.resume()
  }

  /** RFC 4540 6, steps 3 to 6, with the matrix of states and sub-types. */
  private handle(m: Message, bad: boolean): void {
    const { type, tid } = m
    if (type >> 8 !== REQUEST) return this.refuse(WRONG_BASIC_TYPE, tid, this.state !== OPEN)
    this.requests++
    this.lastRequestMs = this.lastOctetMs
    if (this.state === OPEN) return this.handleOpen(m, bad)
    if (this.state === NOAUTH && type === SE_REQUEST) return this.refuse(NOT_APPLICABLE, tid, false)
    const acceptable = this.state === CLOSED ? type === SE_REQUEST : type === SA_REQUEST || type === ST_REQUEST
    if (!acceptable) return this.refuse(WRONG_SUB_TYPE, tid, true)
    if (bad) return this.refuse(BADLY_FORMED, tid, true)
    this.usedTids.add(tid)
    if (type === SE_REQUEST) this.establish(m)
    else if (type === SA_REQUEST) this.authenticate(m)
    else this.close(tid)
  }

  private handleOpen(m: Message, bad: boolean): void {
    const { type, tid } = m
    if (type === SE_REQUEST || type === SA_REQUEST) return this.refuse(NOT_APPLICABLE, tid, false)
    const ruleRequest = isRuleRequest(type)
    if (!ruleRequest && type !== ST_REQUEST) return this.refuse(WRONG_SUB_TYPE, tid, false)
    if (bad) return this.refuse(BADLY_FORMED, tid, false)
    if (type === ST_REQUEST) return this.close(tid)
    // RFC 4540 4.2.5 forbids to use an identifier twice and has no code for it.
    if (!this.usedTids.add(tid)) return this.refuse(INCONSISTENT, tid, false)
    // Should policy end this session meanwhile, the answer still goes first.
    this.isAsking = true
    const result = transact(this.policySession!, m, this.shared.policy.capabilities)
    if (isPromise(result)) return this.await(type, tid, result)
    this.isAsking = false
    this.answer(type, tid, result)
    if (this.pendingEnd !== undefined) this.terminate(this.pendingEnd)
  }

  private answer(type: number, tid: number, result: Result): void {
    const { policy, counters } = this.shared
    const { output } = this.outbox, start = output.end
    if (reply(output, type, tid, result, policy.capabilities) === 0) {
      this.outbox.holdFrom(start, policy.ticket())
      counters['out-positive-messages']++
    } else counters['out-negative-messages']++
  }

  private await(type: number, tid: number, result: Promise<Result>): void {
    result.then(settled => {
      if (!this.lost) this.answer(type, tid, settled)
    }, (error: unknown) => {
      this.shared.log({ event: 'policy-failed', connection: this.peer.id, remote: this.peer.remote, detail: String(error) })
      if (!this.lost) this.refuse(CONFIGURATION_FAILED, tid, false)
    }).finally(() => this.answered())
  }

  /** Policy has answered: the end that waited for it, or the next request. */
  private answered(): void {
    this.isAsking = false
    this.lastOctetMs = this.lastRequestMs = this.shared.nowMs()
    if (this.lost) return
    if (this.eventCount > 0) this.shared.wake(this)
    const { pendingEnd } = this
    if (pendingEnd !== undefined) this.terminate(pendingEnd)
    this.run()
  }

  /** Negative reply; during session setup most of them end the connection, too. */
  private refuse(code: number, tid: number, close: boolean): void {
    encodeHeader(this.outbox.output, code, tid)
    this.shared.counters['out-negative-messages']++
    if (!close) return
    this.refused(code)
  }

  private refused(code: number): void {
    this.peer.faulted()
    this.shared.log({ event: 'session-refused', connection: this.peer.id, remote: this.peer.remote, code })
    this.finish('refused')
  }

  private positive(m: Message, tid: number): void {
    m.tid = tid
    encode(this.outbox.output, m)
    this.shared.counters['out-positive-messages']++
  }

  private notify(type: typeof BFM | typeof AST): void {
    encodeHeader(this.outbox.output, type, this.nextTid())
    this.shared.counters[type === BFM ? 'out-bad-message-messages' : 'out-termination-messages']++
  }

  private nextTid(): number { return this.notifications = this.notifications + 1 >>> 0 }

  /** SE (RFC 4540 7.2). */
  private establish(m: Message): void {
    const { peer } = this, { tid } = m
    const authenticates = peer.challenged || (m.present & 1 << CHALLENGE) !== 0
    if (authenticates && peer.isThrottled()) return this.refuse(LACK_OF_RESOURCES, tid, true)
    if (!peer.challenged && peer.agent === undefined && !peer.secure) return this.refuse(INSUFFICIENT_SECURITY, tid, true)
    if (m.version >>> 16 !== VERSION_3_0 >>> 16) {
      $out.type = VERSION_MISMATCH
      $out.tid = tid
      $out.version = VERSION_3_0
      encode(this.outbox.output, $out)
      this.shared.counters['out-negative-messages']++
      return this.refused(VERSION_MISMATCH)
    }
    if (!peer.challenged && peer.agent === undefined) return this.refuse(NO_AUTHORIZATION, tid, true)
    if (!authenticates) return this.open(peer.agent!, tid)
    this.state = NOAUTH
    $out.type = SA_REPLY
    $out.present = 0
    if (peer.challenged) {
      this.boxChallenge = composeChallenge('', this.shared.randomBytes(NONCE_BYTES))
      $out.present |= 1 << CHALLENGE
      $out.challenge = this.boxChallenge
    }
    if ((m.present & 1 << CHALLENGE) !== 0) {
      // A copy: what the decoder lends is written over by the next message.
      this.agentChallenge = Uint8Array.from(m.challenge)
      $out.present |= 1 << TOKEN
      $out.token = this.prove()
    }
    this.positive($out, tid)
    $out.challenge = $out.token = NONE
  }

  /** Our token for the agent's challenge; empty if it does not name an agent with whom we share a key. */
  private prove(): Uint8Array {
    const credential = readCredential(this.agentChallenge), { agent } = this.peer
    if (credential === undefined) return NONE
    const name = credential.name === '' ? agent : credential.name
    if (name === undefined || agent !== undefined && agent !== name) return NONE
    const key = this.shared.agents.get(name)?.key
    return key === undefined ? NONE : composeToken('', key, 'mbox', this.boxChallenge, this.agentChallenge)
  }

  /** SA (RFC 4540 7.3). A challenge is answered once: whatever the token is, the session leaves this state. */
  private authenticate(m: Message): void {
    const { peer, shared } = this
    if (!peer.challenged) return this.open(peer.agent!, m.tid)
    // Again, for sessions that were brought here first and fail together.
    if (peer.isThrottled()) return this.refuse(LACK_OF_RESOURCES, m.tid, true)
    const token = (m.present & 1 << TOKEN) !== 0 ? m.token : NONE
    const name = readCredential(token)?.name ?? '', key = shared.agents.get(name)?.key
    const named = readCredential(this.agentChallenge)?.name ?? ''
    const valid = verifyToken(token, key ?? NO_KEY, 'agent', this.agentChallenge, this.boxChallenge)
    const isThatAgent = key !== undefined && (peer.agent ?? name) === name && (named === '' || named === name)
    if (valid && isThatAgent) return this.open(name, m.tid)
    shared.counters['authentication-failures']++
    peer.authenticationFailed()
    shared.log({ event: 'authentication-failed', connection: peer.id, remote: peer.remote, agent: name })
    this.refuse(AUTHENTICATION_FAILED, m.tid, true)
  }

  private open(agent: string, tid: number): void {
    const result = this.shared.policy.openSession(agent, this)
    if (!isPromise(result)) return this.opened(tid, result)
    this.isAsking = true
    result.then(settled => {
      if (!this.lost && this.pendingEnd === undefined) this.opened(tid, settled)
      else if (settled.ok) settled.value.end()
    }, (error: unknown) => {
      this.shared.log({ event: 'policy-failed', connection: this.peer.id, remote: this.peer.remote, detail: String(error) })
      if (!this.lost) this.refuse(LACK_OF_RESOURCES, tid, true)
    }).finally(() => this.answered())
  }

  private opened(tid: number, result: Outcome<Session>): void {
    const { shared, peer } = this
    if (!result.ok) {
      return this.refuse(result.reason === 'lack-of-resources' ? LACK_OF_RESOURCES : NO_AUTHORIZATION, tid, true)
    }
    this.policySession = result.value
    this.state = OPEN
    this.lastRequestMs = shared.nowMs()
    this.decoder.maxPayloadBytes = shared.limits.payloadBytes
    this.agentChallenge = this.boxChallenge = NONE
    const { capabilities } = shared.policy
    $out.type = SE_REPLY
    $out.capabilities = capabilityWord(capabilities)
    $out.maxLifetimeSec = capabilities.maxLifetimeSec
    this.positive($out, tid)
    shared.counters['sessions-opened']++
    shared.counters['sessions-current']++
    shared.log({ event: 'session-opened', connection: peer.id, remote: peer.remote, agent: result.value.agent })
  }

  /** ST (RFC 4540 7.4): always granted; what comes behind it is ignored. */
  private close(tid: number): void {
    this.tellEvents()
    encodeHeader(this.outbox.output, ST_REPLY, tid)
    this.shared.counters['out-positive-messages']++
    this.finish('closed by the agent')
  }

  /** Ends the session towards policy. What waits to be sent is still sent, then the connection closes. */
  private finish(detail: string): void {
    if (this.state === ENDED) return
    const { shared, policySession, peer } = this
    this.state = ENDED
    this.endedMs = shared.nowMs()
    this.agentChallenge = this.boxChallenge = NONE
    this.decoder.forget()
    if (policySession !== null) {
      if (policySession.isOpen) policySession.end()
      shared.counters['sessions-closed']++
      shared.counters['sessions-current']--
      shared.log({ event: 'session-closed', connection: peer.id, remote: peer.remote, agent: policySession.agent, detail })
    }
    this.updateReading()
  }
}
