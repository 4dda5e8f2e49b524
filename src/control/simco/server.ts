/**
 * SIMCO over TCP and TLS 1.3 (RFC 4540 3): listeners, who may connect, limits and time. Sessions do the rest. All sessions of a
 * server share one thread, so they take turns, and are served in the order in which their requests came: some messages are carried
 * out, the data plane is pumped once, and the answers leave, in one write a session; then packets have their turn.
 */
// @req RFC6888 REQ-9 partly[SIMCO (RFC 4540) in the place of PCP]
import { randomBytes } from 'node:crypto'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls'
import { MAX_NAME_BYTES } from './authentication.ts'
import { createSimcoCounters, type SimcoCounters } from './counters.ts'
import { MAX_OPENING_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES } from './messages.ts'
import { DEFAULT_LIMITS } from './options.ts'
import { OutputPool } from './outbox.ts'
import { Failures, RemoteConnections, certificateNames, isLoopback, remoteKey } from './remotes.ts'
import { CLOSED, ENDED, NOAUTH, OPEN, SimcoSession, type Connection, type Peer, type Shared } from './session.ts'
import { SocketConnection } from './socket.ts'
import { takeStream, type Stream } from './streams.ts'
import type { SimcoAgent, SimcoLimits, SimcoListener, SimcoServerOptions, SimcoTimer, SimcoTimers } from './options.ts'

export * from './options.ts'
export { SIMCO_COUNTERS, type SimcoCounter, type SimcoCounters } from './counters.ts'

/** The server cannot work as configured. */
export class SimcoConfigError extends Error {
  readonly code: 'simco-plain-refused' | 'simco-no-identity' | 'simco-bad-agent' | 'simco-bad-limit' | 'simco-bad-listener'
  /** Setting, such as `listeners[0].challenge`. */
  readonly path: string
  constructor(code: SimcoConfigError['code'], path: string, message: string) {
    super(`${path}: ${message}`)
    this.name = 'SimcoConfigError'
    this.code = code
    this.path = path
  }
}

/** One connection, for `sessions()`. */
export interface SimcoSessionInfo {
  /** Number of the connection, from 1. */
  id: number
  /** Address and port. */
  remote: string
  agent: string | undefined
  state: 'closed' | 'noauth' | 'open' | 'ended'
  tls: boolean
  requests: number
  ageMs: number
  /** Octets for the client that it has not taken. */
  queuedBytes: number
}

export interface SimcoServer {
  /** Opens all listeners, or none. Rejects with the system's error, or SimcoConfigError. */
  listen(): Promise<AddressInfo[]>
  /** AST to everybody, behind the replies they are owed; resolves when all are gone, `drainMs` later at the latest. */
  close(): Promise<void>
  readonly counters: Readonly<SimcoCounters>
  sessions(): SimcoSessionInfo[]
}

const STATE_NAMES = { [CLOSED]: 'closed', [NOAUTH]: 'noauth', [OPEN]: 'open', [ENDED]: 'ended' } as const
/** Time limits are looked at this often. */
const SWEEP_MS = 250
/**
 * So many messages are worked on before answers leave, or all that wait, if they are fewer: with 50 connections of one request each
 * that is a quarter more PERs a second than a write after each, and no less with 16. More would leave the agents idle meanwhile.
 */
const MESSAGES_PER_FLUSH = 64
/**
 * So many make a turn; then the sockets are looked at again. The system tells of them in the order of the last look, not in that
 * in which requests came, so what is worked on between two looks must be little: of 50 connections with 16 requests each, 99 % of
 * the answers came within 3.7 ms instead of 6.3, and as many a second. With 64 they were fewer.
 */
const MESSAGES_PER_TURN = 4 * MESSAGES_PER_FLUSH
/**
 * While some sessions ask for little, those that ask for more do a slice, so many messages, and come again when all others
 * had their turn: together so long at each look at the sockets. The others wait no longer, however much they ask for.
 * Alone they do what a turn allows: with slices, eight sessions of 128 requests each were answered a third less.
 */
const SLICE = 16, AGAIN_MS = 0.25
/** So long after a session that asked for little there may be another one. */
const MODEST_MS = 100
/** So many sessions are told what others did, however long the sessions have worked. */
const TOLD_AT_LEAST = 16
/** All sessions together work so long, and then packets have their turn. */
const TURN_MS = 4
/**
 * Who has just been told something hears more after that, in one write, or when so much has come together: a write, with the waking
 * of who reads it, takes as long as the end of sixty rules.
 */
const REST_MS = 1, EVENTS_A_WRITE = 128
const KEEP_ALIVE_MS = 60_000
/** HMAC-SHA-256 with less than this is guessed. */
const MIN_KEY_BYTES = 16
/** Three of the largest messages, for replies, and something for notifications. */
const MIN_QUEUED_BYTES = 262_144
const NAME_RULE = `a name has 1 to ${MAX_NAME_BYTES} octets of UTF-8`

const systemTimers: SimcoTimers = {
  nowMs: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms)
    return { cancel: () => clearTimeout(timer) }
  },
}

function checkAgents(agents: readonly SimcoAgent[]): void {
  const names = new Set<string>(), certificates = new Set<string>()
  agents.forEach(({ name, key, certificates: own }, i) => {
    const path = `agents[${i}]`, bytes = Buffer.byteLength(name, 'utf8')
    const fail = (where: string, why: string) => { throw new SimcoConfigError('simco-bad-agent', path + where, why) }
    if (bytes < 1 || bytes > MAX_NAME_BYTES) fail('.name', NAME_RULE)
    if (names.has(name)) fail('.name', `there are two agents named ${name}`)
    names.add(name)
    if (key !== undefined && key.length < MIN_KEY_BYTES) fail('.key', `a key has ${MIN_KEY_BYTES} octets or more`)
    for (const certificate of own ?? []) {
      if (!/^(CN|DNS|URI):./.test(certificate)) fail('.certificates', `${certificate} does not begin with CN:, DNS: or URI:`)
      if (certificates.has(certificate)) fail('.certificates', `${certificate} would be two agents`)
      certificates.add(certificate)
    }
  })
}

function checkListeners(listeners: readonly SimcoListener[], agents: readonly SimcoAgent[]): void {
  if (listeners.length === 0) throw new SimcoConfigError('simco-bad-listener', 'listeners', 'there is none')
  listeners.forEach(({ host, port, tls, allowPlain, loopbackAgent, challenge }, i) => {
    const path = `listeners[${i}]`
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      throw new SimcoConfigError('simco-bad-listener', path + '.port', 'a port is 0 to 65,535')
    }
    if (tls === undefined && allowPlain !== true && !isLoopback(host)) {
      throw new SimcoConfigError('simco-plain-refused', path, `plain TCP on ${host}, which is not loopback, without allowPlain`)
    }
    if (challenge && !agents.some(({ key }) => key !== undefined)) {
      throw new SimcoConfigError('simco-no-identity', path + '.challenge', 'no agent has a key')
    }
    const certified = tls?.ca !== undefined && agents.some(({ certificates = [] }) => certificates.length > 0)
    if (!challenge && loopbackAgent === undefined && !certified) {
      throw new SimcoConfigError('simco-no-identity', path, 'neither a challenge nor client certificates nor a loopback agent')
    }
    if (loopbackAgent !== undefined && (loopbackAgent === '' || Buffer.byteLength(loopbackAgent) > MAX_NAME_BYTES)) {
      throw new SimcoConfigError('simco-bad-listener', path + '.loopbackAgent', NAME_RULE)
    }
  })
}

function checkLimits(limits: SimcoLimits): void {
  const least: Partial<Record<keyof SimcoLimits, number>> = {
    connections: 1, connectionsPerRemote: 1, payloadBytes: MAX_OPENING_PAYLOAD_BYTES, openMs: 1, idleMs: 0, messageMs: 1,
    queuedBytes: MIN_QUEUED_BYTES, stalledMs: 1, drainMs: 1, failuresPerMinute: 1, faultsPerMinute: 1, faultWaitMs: 1,
  }
  for (const [name, from] of Object.entries(least)) {
    const value = limits[name as keyof SimcoLimits], to = name === 'payloadBytes' ? MAX_PAYLOAD_BYTES : Number.MAX_SAFE_INTEGER
    if (!Number.isInteger(value) || value < from || value > to) {
      throw new SimcoConfigError('simco-bad-limit', `limits.${name}`, `${value} is not a whole number from ${from} to ${to}`)
    }
  }
}

/** What carries a connection. */
type Carrier = Socket | Stream

/** A connection whose time limits are looked at. */
interface Watched {
  connection: Connection
  /** Octets that waited for the client when the sweep last came by, and since when they have not become less. */
  stalledBytes: number
  stalledSinceMs: number
}

/** @throws SimcoConfigError */
export function createSimcoServer(options: SimcoServerOptions): SimcoServer {
  const { policy, listeners, log = () => { /* nobody listens */ } } = options
  const limits: SimcoLimits = { ...DEFAULT_LIMITS, ...options.limits }
  const timers = options.timers ?? systemTimers
  checkLimits(limits)
  checkAgents(options.agents)
  checkListeners(listeners, options.agents)

  const counters = createSimcoCounters()
  const connections = new Map<SimcoSession, Watched>()
  const sockets = new Set<Carrier>()
  const remotes = new RemoteConnections(), failures = new Failures(limits.failuresPerMinute)
  const faults = new Failures(limits.faultsPerMinute), waiting = new Map<Carrier, SimcoTimer>()
  const certified = new Map<string, string>()
  for (const { name, certificates = [] } of options.agents) for (const text of certificates) certified.set(text, name)
  const servers: Server[] = []
  let lastId = 0, sweeper: SimcoTimer | null = null, isClosing = false, onAllGone: (() => void) | null = null

  /*
   * Sessions that have answers to send, that have notifications, that wait for the data plane, and whose turn comes again. Answers
   * to several chunks leave together, and the data plane is pumped once for them. Notifications leave when all answers have, so
   * that whoever caused one has its answer before anybody hears of it (RFC 4540 8.9).
   */
  let answering: SimcoSession[] = [], held: SimcoSession[] = []
  const awake: SimcoSession[] = []
  /** Sessions that have been told something within REST_MS, and have more to hear. */
  let resting: SimcoSession[] = [], restTimer: SimcoTimer | null = null
  const late: SimcoSession[] = [], again: SimcoSession[] = []
  let unanswered = 0, isTurnDue = false, isAppliedDue = false
  /** Who came again last, and when somebody else last asked for no more than a slice. */
  let greedy: SimcoSession | null = null, modestMs = -Infinity
  /** When the turn is over; null: nobody has looked at the clock. */
  let turnEndMs: number | null = null

  const shared: Shared = {
    policy, limits, counters, log, pool: new OutputPool(),
    agents: new Map(options.agents.map(agent => [agent.name, agent])),
    nowMs: () => timers.nowMs(),
    randomBytes: options.randomBytes ?? randomBytes,
    wake(session) {
      if (!session.isAwake) awake.push(session)
      session.isAwake = true
      if (!shared.inTurn) turnLater()
    },
    hear(session) {
      if (session.isAwake) return
      const isMuch = session.eventCount >= EVENTS_A_WRITE
      if (isMuch || (!session.isResting && timers.nowMs() - session.toldMs >= REST_MS)) return shared.wake(session)
      if (session.isResting) return
      session.isResting = true
      resting.push(session)
      restTimer ??= timers.after(REST_MS, wakeResting)
    },
    inTurn: false,
    turned(session, messages) {
      shared.inTurn = false
      if (messages > 0 && messages <= SLICE && session !== greedy) modestMs = session.lastOctetMs
      shared.messagesLeft -= messages
      unanswered += messages
      if (!session.isAnswering) answering.push(session)
      session.isAnswering = true
      if (unanswered >= MESSAGES_PER_FLUSH) flush()
      turnLater()
    },
    later(session, comesAgain) {
      if (comesAgain) {
        greedy = session
        again.push(session)
      } else late.push(session)
      turnLater()
    },
    isBusy: () => late.length > 0,
    slice: MESSAGES_PER_TURN,
    messagesLeft: MESSAGES_PER_TURN,
    isTimeUp() {
      const nowMs = timers.nowMs()
      turnEndMs ??= nowMs + TURN_MS
      return nowMs >= turnEndMs
    },
  }

  function wakeResting(): void {
    const rested = resting
    resting = []
    restTimer = null
    for (const session of rested) {
      session.isResting = false
      if (session.eventCount > 0) shared.wake(session)
    }
  }

  function turnLater(): void {
    if (isTurnDue) return
    isTurnDue = true
    setImmediate(turn)
  }

  /** Comes when all sockets have been read once, and so has what the turn of those that were read first has left. */
  function turn(): void {
    isTurnDue = false
    renew()
    // Each once, those first that have waited longest.
    for (let n = late.length; n > 0 && shared.messagesLeft > 0 && !shared.isTimeUp(); n--) late.shift()!.continue()
    flush()
    // These have a time of their own, however long the others have worked.
    renew()
    const nowMs = timers.nowMs(), isShared = nowMs - modestMs < MODEST_MS
    shared.slice = isShared ? SLICE : MESSAGES_PER_TURN
    turnEndMs = nowMs + (isShared ? AGAIN_MS : TURN_MS)
    while (again.length > 0 && shared.messagesLeft > 0 && !shared.isTimeUp()) again.shift()!.continue()
    flush()
    renew()
    if (late.length > 0 || again.length > 0) turnLater()
  }

  function renew(): void {
    shared.messagesLeft = MESSAGES_PER_TURN
    turnEndMs = null
  }

  /** Sends what may leave: answers, then notifications. */
  function flush(): void {
    if ((policy.appliedTicket() - policy.ticket() | 0) < 0) policy.pump()
    if (isAppliedDue) sendHeld()
    const first = answering
    answering = []
    unanswered = 0
    for (const session of first) {
      session.isAnswering = false
      send(session)
    }
    for (let told = 0; awake.length > 0; told++) {
      if (told >= TOLD_AT_LEAST && shared.isTimeUp()) return turnLater()
      const session = awake.shift()!
      session.isAwake = false
      session.tellEvents()
      send(session)
    }
  }

  /** What the data plane has not yet made true stays, and is sent in the same order when it has. */
  function send(session: SimcoSession): void {
    session.send()
    if (!session.outbox.isHeld || session.isHeld) return
    session.isHeld = true
    held.push(session)
  }

  policy.onApplied(sendHeld)

  function sendHeld(): void {
    // In the middle of a request, which may ask the data plane for room: when it is over.
    isAppliedDue = shared.inTurn
    if (shared.inTurn || held.length === 0) return
    const now = held
    held = []
    for (const session of now) session.isHeld = false
    for (const session of now) send(session)
  }

  function sweep(): void {
    const nowMs = timers.nowMs()
    for (const [session, watched] of connections) sweepOne(session, watched, nowMs)
    flush()
    sweeper = connections.size > 0 ? timers.after(SWEEP_MS, sweep) : null
  }

  function sweepOne(session: SimcoSession, watched: Watched, nowMs: number): void {
    const { connection } = watched
    if (nowMs - session.endedMs >= limits.drainMs) {
      if (!session.outbox.isEmpty || session.state !== ENDED) counters['drop-drain-timeout-connections']++
      connection.destroy()
      return
    }
    if (session.state === ENDED) return
    const { queuedBytes } = connection
    if (watched.stalledBytes === 0 || queuedBytes < watched.stalledBytes) watched.stalledSinceMs = nowMs
    watched.stalledBytes = queuedBytes
    if (queuedBytes > 0 && nowMs - watched.stalledSinceMs >= limits.stalledMs) {
      counters['drop-stalled-connections']++
      session.fault('the client has stopped reading')
    } else if (session.waitsForOctets && nowMs - session.lastOctetMs >= limits.messageMs) {
      counters['drop-message-timeout-connections']++
      session.breakOff('the rest of a message did not come')
    } else if (session.state !== OPEN && nowMs - session.bornMs >= limits.openMs) {
      counters['drop-open-timeout-connections']++
      if (session.waitsForOctets) session.breakOff('the session was not opened in time')
      else session.fault('the session was not opened in time')
    } else if (limits.idleMs > 0 && session.state === OPEN && session.isIdle && nowMs - session.lastRequestMs >= limits.idleMs) {
      counters['drop-idle-connections']++
      session.terminate('idle')
    }
  }

  /** Takes a connection, or closes it. */
  function admit(socket: Carrier): boolean {
    const address = socket.remoteAddress
    if (address === undefined || isClosing) return false
    const remote = remoteKey(address)
    const reason = sockets.size >= limits.connections ? 'drop-limit-connections'
      : remotes.count(remote) >= limits.connectionsPerRemote ? 'drop-remote-limit-connections' : undefined
    if (reason !== undefined) {
      counters[reason]++
      log({ event: 'connection-refused', connection: 0, remote: name(socket), detail: reason })
      return false
    }
    counters['in-connections']++
    sockets.add(socket)
    remotes.add(remote)
    counters['connections-current'] = sockets.size
    counters['connections-peak'] = Math.max(counters['connections-peak'], sockets.size)
    socket.on('close', () => {
      sockets.delete(socket)
      remotes.remove(remote)
      counters['connections-current'] = sockets.size
      if (sockets.size === 0) onAllGone?.()
    })
    return true
  }

  /**
   * Calls `begin`; if sessions from there had to be ended too often, only after a while. Till then nothing is read, so who comes
   * again at once is not answered at once: refused, it would come all the sooner.
   */
  function welcome(socket: Carrier, begin: () => void): void {
    if (!faults.isThrottled(remoteKey(socket.remoteAddress ?? ''), timers.nowMs())) return begin()
    counters['in-delayed-connections']++
    log({ event: 'connection-delayed', connection: 0, remote: name(socket), detail: 'too many of its sessions had to be ended' })
    waiting.set(socket, timers.after(limits.faultWaitMs, () => {
      waiting.delete(socket)
      if (!socket.destroyed) begin()
    }))
    socket.once('close', () => {
      waiting.get(socket)?.cancel()
      waiting.delete(socket)
    })
  }

  /** Nothing if it is gone already. */
  function name(socket: Carrier): string {
    const { remoteAddress, remotePort = 0 } = socket
    if (remoteAddress === undefined) return ''
    return remoteAddress.includes(':') ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`
  }

  function peerOf(socket: Carrier, listener: SimcoListener): Peer {
    const address = socket.remoteAddress ?? '', remote = remoteKey(address)
    const certificate = listener.tls === undefined ? undefined : (socket as TLSSocket).getPeerX509Certificate()
    const names = certificate === undefined ? [] : certificateNames(certificate)
    const byCertificate = names.map(text => certified.get(text)).find(agent => agent !== undefined)
    const granted = listener.loopbackAgent !== undefined && isLoopback(address)
    return {
      id: ++lastId, remote: name(socket), secure: listener.tls !== undefined,
      agent: byCertificate ?? (granted ? listener.loopbackAgent : undefined), challenged: listener.challenge && !granted,
      isThrottled() {
        const throttled = failures.isThrottled(remote, timers.nowMs())
        if (throttled) counters['drop-throttled-sessions']++
        return throttled
      },
      authenticationFailed() { failures.add(remote, timers.nowMs()) },
      faulted() { faults.add(remote, timers.nowMs()) },
    }
  }

  function begin(socket: Carrier, connection: Stream | SocketConnection, listener: SimcoListener): SimcoSession {
    const session = new SimcoSession(shared, connection, peerOf(socket, listener))
    connection.session = session
    connections.set(session, { connection, stalledBytes: 0, stalledSinceMs: 0 })
    sweeper ??= timers.after(SWEEP_MS, sweep)
    socket.on('end', () => session.halfClosed())
    socket.on('close', () => {
      connections.delete(session)
      session.disconnected()
    })
    if (isClosing) session.terminate('shutdown')
    return session
  }

  function beginSocket(socket: Socket, listener: SimcoListener): void {
    const session = begin(socket, new SocketConnection(socket), listener)
    socket.on('data', (chunk: Buffer) => session.receive(chunk))
    socket.resume()
  }

  function beginStream(stream: Stream, listener: SimcoListener): void {
    begin(stream, stream, listener)
    stream.resume()
  }

  function beginPlain(accepted: Socket, listener: SimcoListener): void {
    const stream = options.streams === false ? null : takeStream(accepted)
    if (!admit(stream ?? accepted)) (stream ?? accepted).destroy()
    else if (stream === null) welcome(accepted, () => beginSocket(accepted, listener))
    else welcome(stream, () => beginStream(stream, listener))
  }

  function serve(listener: SimcoListener): Server {
    const { tls, challenge, loopbackAgent } = listener
    let secure: TlsServer | undefined
    if (tls !== undefined) {
      const { cert, key, ca } = tls
      const secret = (pem: string | Uint8Array) => typeof pem === 'string' ? pem : Buffer.from(pem)
      const authorities = ca === undefined ? [] : typeof ca === 'string' || ca instanceof Uint8Array ? [ca] : ca
      secure = createTlsServer({
        cert: secret(cert), key: secret(key), minVersion: 'TLSv1.3', handshakeTimeout: limits.openMs,
        requestCert: ca !== undefined, rejectUnauthorized: ca !== undefined && !challenge && loopbackAgent === undefined,
        ...ca === undefined ? {} : { ca: authorities.map(secret) },
      })
      secure.on('secureConnection', socket => {
        socket.on('error', () => { /* 'close' follows */ })
        // Only now may the client close its half; before, that is the end of the handshake.
        socket.allowHalfOpen = true
        // A certificate nobody vouches for is not the same as none.
        if (ca !== undefined && !socket.authorized && socket.getPeerX509Certificate() !== undefined) {
          counters['drop-tls-connections']++
          socket.destroy()
        } else beginSocket(socket, listener)
      })
      secure.on('tlsClientError', (error, socket) => {
        counters['drop-tls-connections']++
        // Who only looks whether the port is open, as monitors do, does no harm.
        const isGone = (error as NodeJS.ErrnoException).code === 'ECONNRESET'
        if (!isGone && socket.remoteAddress !== undefined) faults.add(remoteKey(socket.remoteAddress), timers.nowMs())
        log({ event: 'connection-refused', connection: 0, remote: name(socket), detail: error.message.trimEnd() })
        socket.destroy()
      })
    }
    const server = createServer({
      noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, allowHalfOpen: tls === undefined,
      pauseOnConnect: tls === undefined,
    })
    server.on('connection', socket => {
      socket.on('error', () => { /* 'close' follows */ })
      if (secure === undefined) beginPlain(socket, listener)
      else if (admit(socket)) welcome(socket, () => { secure.emit('connection', socket) })
      else socket.destroy()
    })
    return server
  }

  function listenOn(server: Server, { host, port }: SimcoListener): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, () => {
        server.removeListener('error', reject)
        // Running out of descriptors ends no session; the connection waits in the backlog.
        server.on('error', (error: Error) => log({ event: 'connection-refused', connection: 0, remote: '', detail: error.message }))
        const address = server.address() as AddressInfo
        const where = address.family === 'IPv6' ? `[${address.address}]` : address.address
        log({ event: 'listening', connection: 0, remote: `${where}:${address.port}` })
        resolve(address)
      })
    })
  }

  const stop = (server: Server) => new Promise<void>(resolve => { server.close(() => resolve()) })

  return {
    counters,
    async listen() {
      const addresses: AddressInfo[] = []
      try {
        for (const listener of listeners) {
          const server = serve(listener)
          servers.push(server)
          addresses.push(await listenOn(server, listener))
        }
        return addresses
      } catch (error) {
        await Promise.all(servers.splice(0).map(stop))
        throw error
      }
    },
    async close() {
      isClosing = true
      const stopped = servers.splice(0).map(stop)
      for (const session of connections.keys()) session.terminate('shutdown')
      for (const socket of waiting.keys()) socket.destroy()
      const gone = sockets.size === 0 ? Promise.resolve() : new Promise<void>(resolve => { onAllGone = resolve })
      // Handshakes have no session that could end them.
      const last = timers.after(limits.drainMs, () => { for (const socket of sockets) socket.destroy() })
      await gone
      last.cancel()
      restTimer?.cancel()
      sweeper?.cancel()
      sweeper = null
      await Promise.all(stopped)
    },
    sessions() {
      const nowMs = timers.nowMs()
      return [...connections.keys()].map(session => ({
        id: session.peer.id, remote: session.peer.remote, agent: session.agent, state: STATE_NAMES[session.state],
        tls: session.peer.secure, requests: session.requests, ageMs: nowMs - session.bornMs,
        queuedBytes: session.outbox.queuedBytes,
      }))
    },
  }
}
