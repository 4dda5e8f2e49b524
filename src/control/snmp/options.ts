/** What the SNMP server is told: who may ask what, where it listens, whom it tells, and how much of everything. */
import type { AuthName, PrivName } from './keys.ts'
import type { EngineStore } from './local-engine.ts'
import type { ModuleFactory } from './mib.ts'
import type { AccessOptions } from './vacm.ts'

export interface SnmpServerOptions {
  /** One or more. */
  listeners: readonly SnmpListener[]
  users: readonly SnmpUser[]
  access: AccessOptions
  targets?: readonly SnmpTarget[]
  /** Identity of the engine, and where the number of its starts is kept. */
  store: EngineStore
  /** What is served beside the engine's own MIBs. */
  modules?: readonly ModuleFactory[]
  system: SystemTexts
  /** Whatever is left out has its default. */
  limits?: Partial<SnmpLimits>
  log?: (record: SnmpLogRecord) => void
  /** Time and randomness; by default the system's. */
  timers?: SnmpTimers
  randomBytes?: (bytes: number) => Uint8Array
}

export interface SnmpListener {
  /** Address to listen on, such as '127.0.0.1' or '::'. */
  host: string
  /** 0..65535; 0: the system chooses. */
  port: number
}

/** A user of the user-based security model: always with authentication and privacy. */
export interface SnmpUser {
  /** 1..32 octets of UTF-8. */
  name: string
  auth: AuthName
  /** Eight characters or more (RFC 3414 11.2), both. */
  authPassword: string
  priv: PrivName
  privPassword: string
  /** MIDCOM agent that this user is; null: none. */
  agent: string | null
}

/** A receiver of notifications: a row in each of the tables of SNMP-TARGET-MIB and SNMP-NOTIFICATION-MIB. */
export interface SnmpTarget {
  /** 1..32 octets of UTF-8. */
  name: string
  host: string
  port: number
  /** Whose keys and whose notify view. */
  user: string
  /** An inform is confirmed by its receiver, and sent again if it is not. */
  type: 'trap' | 'inform'
  timeoutMs: number
  /** 0..255: how often it is sent again. */
  retries: number
  /** Events of MIDCOM are let through from the start; its user may change that (RFC 5190 7.1). */
  isOn: boolean
}

/** sysDescr and so on, at most 255 octets each. */
export interface SystemTexts { description: string; contact: string; name: string; location: string }

export interface SnmpLimits {
  /** Longest message, 484..65,507 octets. */
  messageBytes: number
  /** Varbinds of a request, and of a GETBULK's answer. */
  varbinds: number
  /** Messages that wait for their turn, and their octets. */
  queuedMessages: number
  queuedBytes: number
  /** SETs remembered so that none is carried out twice. */
  rememberedSets: number
  /** SETs whose answers wait for the packet path or the disk. */
  pendingSets: number
  /** Notifications that wait for one target. */
  queuedNotifications: number
}

export const DEFAULT_SNMP_LIMITS: Readonly<SnmpLimits> = {
  messageBytes: 65_507, varbinds: 2048, queuedMessages: 1024, queuedBytes: 4_194_304, rememberedSets: 65_536, pendingSets: 1024,
  queuedNotifications: 1024,
}

/** One line of a log. */
export interface SnmpLogRecord {
  event: 'listening' | 'authentication-failed' | 'access-denied' | 'module-failed' | 'target-silent' | 'target-refuses'
    | 'socket-error'
  /** Address and port of the other end, or where the listener is. */
  remote: string
  /** Only what the message claims, if the event is authentication-failed. */
  user?: string
  detail?: string
}

/** As it stands in logs: `127.0.0.1:1161`, `[::1]:1161`. */
export function remoteOf({ host, port }: { host: string; port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Milliseconds that do not go back, and a call after some of them. */
export interface SnmpTimers {
  nowMs(): number
  /** Calls back once. */
  after(ms: number, callback: () => void): { cancel(): void }
}

/** The server cannot work as configured. */
export class SnmpConfigError extends Error {
  readonly code: 'snmp-bad-user' | 'snmp-bad-target' | 'snmp-bad-limit' | 'snmp-bad-engine'
  /** Setting, such as `users[0].name`. */
  readonly path: string
  constructor(code: SnmpConfigError['code'], path: string, message: string, cause?: unknown) {
    super(`${path}: ${message}`, { cause })
    this.name = 'SnmpConfigError'
    this.code = code
    this.path = path
  }
}
