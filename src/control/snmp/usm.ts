/**
 * The user-based security model where this engine is authoritative (RFC 3414 3.2): is a message from whom it says, meant for this
 * engine, of now, and what does it say. The order of the checks is that of the RFC; the MAC is checked before anything is
 * decrypted.
 */
import { Reader } from './ber.ts'
import type { SnmpCounters } from './counters.ts'
import { decrypt, isSameMac, messageMac, SALT_BYTES, type Keys } from './keys.ts'
import { LATCH, TIME_WINDOW_SEC, type LocalEngine } from './local-engine.ts'
import { AUTH_FLAG, PRIV_FLAG, type Message } from './message.ts'
import { AUTH_NO_PRIV, AUTH_PRIV, NO_AUTH_NO_PRIV, type SecurityLevel } from './mib.ts'
import type { Oid } from './oid.ts'
import { GET, GET_BULK, GET_NEXT, INFORM, readRequestId, readScopedPdu, SET, type ScopedPdu } from './pdu.ts'
import { SeenSets } from './replays.ts'

const USM_STATS: Oid = [1, 3, 6, 1, 6, 3, 15, 1, 1]
/** usmStats, by the last number of their OIDs, from 1. */
export const USM_COUNTERS = [
  'usmStatsUnsupportedSecLevels', 'usmStatsNotInTimeWindows', 'usmStatsUnknownUserNames', 'usmStatsUnknownEngineIDs',
  'usmStatsWrongDigests', 'usmStatsDecryptionErrors',
] as const satisfies readonly (keyof SnmpCounters)[]
export type UsmCounter = (typeof USM_COUNTERS)[number]

export function usmCounterName(counter: UsmCounter): Oid { return [...USM_STATS, USM_COUNTERS.indexOf(counter) + 1, 0] }

/** A user as this engine knows it: keys localized to it. */
export interface LocalUser {
  readonly name: string
  readonly nameOctets: Uint8Array
  readonly keys: Keys
  /** MIDCOM agent that this user is. */
  readonly agent: string | null
}

/** A message that is what it claims to be. */
export interface Genuine { readonly user: LocalUser; readonly level: SecurityLevel; readonly pdu: ScopedPdu }

/**
 * A message that is not. It is answered by a report of the counter, if it wants one, at the level of authentication only with
 * `keys`.
 */
export interface Refusal {
  readonly counter: UsmCounter
  /** The user whose keys sign the report, or null. */
  readonly user: LocalUser | null
  readonly level: SecurityLevel
  /** 0 if it cannot be read. */
  readonly requestId: number
  /** What it asked for is answered at all (Confirmed Class, RFC 3411 2.8); null: it cannot be read. */
  readonly isConfirmed: boolean | null
}

/** The same SET has come before; or it is authentic or needs not be, and what it says is no PDU. Both are dropped. */
export type Dropped = 'replay' | 'unreadable'
export type UsmResult = Genuine | Refusal | Dropped

const $reader = new Reader()

export interface UsmOptions {
  readonly engine: LocalEngine
  readonly counters: SnmpCounters
  /** By the name, as latin1 of its octets. */
  readonly users: ReadonlyMap<string, LocalUser>
  readonly mostVarbinds: number
  /** SETs remembered, so that none is carried out twice. */
  readonly rememberedSets: number
}

export function octetsKey(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.length).toString('latin1')
}

export class Usm {
  private readonly options: UsmOptions
  private readonly seen: SeenSets

  constructor(options: UsmOptions) {
    this.options = options
    this.seen = new SeenSets(options.rememberedSets, TIME_WINDOW_SEC)
  }

  /** @param bytes the whole message, whose MAC is set to zero and back while it is checked */
  receive(bytes: Uint8Array, message: Message): UsmResult {
    const { engine, users } = this.options
    const { flags, engineId, boots, time } = message
    if (!isEqual(engineId, engine.id)) return this.refuse('usmStatsUnknownEngineIDs', message)
    const user = users.get(octetsKey(message.userName))
    if (user === undefined) return this.refuse('usmStatsUnknownUserNames', message)
    const { keys } = user
    const isAuthentic = (flags & AUTH_FLAG) !== 0, isPrivate = (flags & PRIV_FLAG) !== 0
    if (isPrivate && keys.priv === null) return this.refuse('usmStatsUnsupportedSecLevels', message)
    if (!isAuthentic) return this.open(message, user, message.scopedPdu, NO_AUTH_NO_PRIV)
    if (!hasGoodMac(bytes, message, keys)) return this.refuse('usmStatsWrongDigests', message)
    const now = engine.time
    if (engine.boots === LATCH || boots !== engine.boots || Math.abs(time - now) > TIME_WINDOW_SEC) {
      return this.refuse('usmStatsNotInTimeWindows', message, user)
    }
    if (!isPrivate) return this.once(this.open(message, user, message.scopedPdu, AUTH_NO_PRIV), message, user, now)
    if (message.salt.length !== SALT_BYTES) return this.refuse('usmStatsDecryptionErrors', message)
    const plain = decrypt(keys, boots, time, message.salt, message.scopedPdu)
    return this.once(this.open(message, user, plain, AUTH_PRIV), message, user, now)
  }

  private open(message: Message, user: LocalUser, plain: Uint8Array, level: SecurityLevel): UsmResult {
    $reader.reset(plain)
    const pdu = readScopedPdu($reader, this.options.mostVarbinds)
    if (pdu !== null) return { user, level, pdu }
    if (level === AUTH_PRIV) return this.refuse('usmStatsDecryptionErrors', message)
    this.options.counters.snmpInASNParseErrs++
    return 'unreadable'
  }

  /** Lets each SET pass once. */
  private once(result: UsmResult, message: Message, user: LocalUser, now: number): UsmResult {
    if (typeof result === 'string' || 'counter' in result || result.pdu.type !== SET) return result
    const { mac, time } = message
    if (this.seen.isForgotten(user.name, time)) return this.refuse('usmStatsNotInTimeWindows', message, user)
    if (this.seen.add(user.name, mac, time, now)) return result
    this.options.counters['drop-replayed-messages']++
    return 'replay'
  }

  /** Counts. Of a message that cannot be trusted, what is not encrypted is still read for its request-id. */
  private refuse(counter: UsmCounter, { flags, scopedPdu }: Message, user: LocalUser | null = null): Refusal {
    this.options.counters[counter]++
    const level = user === null ? NO_AUTH_NO_PRIV : AUTH_NO_PRIV
    if ((flags & PRIV_FLAG) !== 0) return { counter, user, level, requestId: 0, isConfirmed: null }
    $reader.reset(scopedPdu)
    const pdu = readScopedPdu($reader, 0)
    $reader.reset(scopedPdu)
    const requestId = pdu?.requestId ?? readRequestId($reader)
    return { counter, user, level, requestId, isConfirmed: pdu === null ? null : isConfirmedClass(pdu.type) }
  }
}

export function isConfirmedClass(type: number): boolean {
  return type === GET || type === GET_NEXT || type === GET_BULK || type === SET || type === INFORM
}

export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

const $mac = new Uint8Array(64)

/** RFC 3414 6.3.2 and 7.3.2, RFC 7860 4.2.2. */
export function hasGoodMac(bytes: Uint8Array, { mac, macAt }: Message, keys: Keys): boolean {
  if (mac.length !== keys.auth.macBytes) return false
  const end = macAt + mac.length
  const claimed = $mac.subarray(0, mac.length)
  claimed.set(mac)
  bytes.fill(0, macAt, end)
  const isGood = isSameMac(messageMac(keys, bytes), claimed)
  bytes.set(claimed, macAt)
  return isGood
}
