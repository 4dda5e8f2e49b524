/** What the SIMCO server is told: who may connect where, as whom, and how much of everything. */
import type { Policy } from '../../policy/api.ts'

export interface SimcoServerOptions {
  policy: Policy
  /** One or more. */
  listeners: readonly SimcoListener[]
  /** Agents that authenticate by a key or a certificate. */
  agents: readonly SimcoAgent[]
  /** Whatever is left out has its default. */
  limits?: Partial<SimcoLimits>
  /** Told what happens to connections and sessions, not what they ask. */
  log?: (record: SimcoLogRecord) => void
  /** Plain TCP by native/streams.node where that was built; false: by Node's sockets, as TLS. By default true. */
  streams?: boolean
  /** Time and randomness; by default the system's. */
  timers?: SimcoTimers
  randomBytes?: (bytes: number) => Uint8Array
}

export interface SimcoListener {
  /** Address to listen on, such as '127.0.0.1' or '::'. */
  host: string
  /** 0..65535; 0: the system chooses. The protocol's own is SIMCO_PORT. */
  port: number
  /** Without it the listener speaks plain TCP. */
  tls?: SimcoTls
  /** Plain TCP on an address that is not loopback is a configuration error unless this is true. */
  allowPlain?: boolean
  /** Name of the agent that every client on a loopback address is, without a challenge. */
  loopbackAgent?: string
  /** Agents prove that they have their key (RFC 4540 7.2: explicit agent authentication). */
  challenge: boolean
}

/** TLS 1.3, nothing older (RFC 8996). PEM texts. */
export interface SimcoTls {
  cert: string | Uint8Array
  key: string | Uint8Array
  /** Authorities of client certificates. With it clients are asked for one, and must have one unless `challenge` is true. */
  ca?: string | Uint8Array | readonly (string | Uint8Array)[]
}

export interface SimcoAgent {
  /** 1..255 octets of UTF-8: owner of the rules. */
  name: string
  /** Shared key of challenge and response, 16 octets or more. */
  key?: Uint8Array
  /** Names in client certificates that are this agent: 'CN:…' the subject's common name, 'DNS:…' and 'URI:…' alternative names. */
  certificates?: readonly string[]
}

export interface SimcoLimits {
  connections: number
  /** From one IPv4 address or one IPv6 /64. */
  connectionsPerRemote: number
  /** Longest payload of a message in an open session, at most 65,528 octets. */
  payloadBytes: number
  /** From connecting to OPEN, TLS included. */
  openMs: number
  /** Without a request in an open session; 0: for ever. */
  idleMs: number
  /** Without a further octet of a message that has begun (RFC 4540 6). */
  messageMs: number
  /**
   * Octets of replies and notifications that a client has not taken, 262,144 or more: above half of it no more is read from this
   * client, above all of it the client is cut off.
   */
  queuedBytes: number
  /** Without a client taking anything of what waits for it. */
  stalledMs: number
  /** For what is still to be sent when a connection ends, and for `close`. */
  drainMs: number
  /** Failed authentications a minute from one IPv4 address or one IPv6 /64; then its sessions are refused (0x0321). */
  failuresPerMinute: number
  /**
   * Sessions a minute from one IPv4 address or one IPv6 /64 that had to be ended: refused, broken off, or beyond a limit. Then for
   * the rest of that minute nothing is read from its new connections for `faultWaitMs`.
   */
  faultsPerMinute: number
  faultWaitMs: number
}

export const DEFAULT_LIMITS: Readonly<SimcoLimits> = {
  connections: 4096, connectionsPerRemote: 1024, payloadBytes: 65_528, openMs: 90_000, idleMs: 0, messageMs: 60_000,
  queuedBytes: 1_048_576, stalledMs: 60_000, drainMs: 2_000, failuresPerMinute: 10,
  faultsPerMinute: 60, faultWaitMs: 500,
}

/** One line of a log. */
export interface SimcoLogRecord {
  event: 'listening' | 'connection-refused' | 'connection-delayed' | 'session-opened' | 'session-refused' | 'session-closed'
    | 'bad-message' | 'authentication-failed' | 'policy-failed'
  /** Number of the connection, from 1; 0: none. */
  connection: number
  /** Address and port of the other end, or where the listener is. */
  remote: string
  agent?: string
  /** SIMCO's code, where one was sent. */
  code?: number
  detail?: string
}

/** Milliseconds that do not go back, and a call after some of them. */
export interface SimcoTimers {
  nowMs(): number
  /** Calls back once. */
  after(ms: number, callback: () => void): SimcoTimer
}
export interface SimcoTimer { cancel(): void }
