/**
 * The way of a message through the SNMP engine (RFC 3412 7.2): read it, see that it is genuine, find out what its user may see,
 * carry it out, answer. It knows no sockets: `server.ts` gives it datagrams and takes those that leave.
 */
import { Writer } from './ber.ts'
import type { SnmpCounter, SnmpCounters } from './counters.ts'
import { SALT_BYTES } from './keys.ts'
import type { LocalEngine } from './local-engine.ts'
import {
  AUTH_FLAG, envelopeBytes, MAX_MESSAGE_BYTES, PRIV_FLAG, readMessage, REPORTABLE_FLAG, sealMessage, type Message,
} from './message.ts'
import {
  AUTH_NO_PRIV, AUTH_PRIV, AUTHORIZATION_ERROR, counter32, NO_AUTH_NO_PRIV, NO_ERROR, RESOURCE_UNAVAILABLE, TOO_BIG,
  type Notification, type Request, type SecurityLevel,
} from './mib.ts'
import type { Oid } from './oid.ts'
import { remoteOf, type SnmpLimits, type SnmpLogRecord } from './options.ts'
import { GET, GET_BULK, GET_NEXT, REPORT, RESPONSE, SET, wrapScopedPdu, type ScopedPdu } from './pdu.ts'
import type { Registry } from './registry.ts'
import { Responder, writeAll, type Outcome } from './responder.ts'
import { isConfirmedClass, isEqual, Usm, usmCounterName, type Genuine, type LocalUser, type Refusal } from './usm.ts'
import type { Vacm, Views } from './vacm.ts'

/** Where a datagram came from, and its answer goes. */
export interface Peer {
  readonly host: string
  readonly port: number
  send(message: Uint8Array): void
}

export interface SnmpEngineOptions {
  readonly local: LocalEngine
  readonly users: ReadonlyMap<string, LocalUser>
  readonly registry: Registry
  readonly counters: SnmpCounters
  readonly limits: SnmpLimits
  readonly randomBytes: (bytes: number) => Uint8Array
  /** Who may what, as of now. */
  vacm(): Vacm
  /** Sends what modules have to tell. */
  notify(notification: Notification): void
  log(record: SnmpLogRecord): void
}

const NO_OCTETS: Uint8Array = new Uint8Array(0)
/** Scoped PDU without its varbinds and names. */
const PDU_BYTES = 32

const UNKNOWN_PDU_HANDLERS: Oid = [1, 3, 6, 1, 6, 3, 11, 2, 1, 3, 0], UNKNOWN_CONTEXTS: Oid = [1, 3, 6, 1, 6, 3, 12, 1, 5, 0]

const REQUEST_COUNTERS: Readonly<Record<number, SnmpCounter>> = {
  [GET]: 'in-get-requests', [GET_NEXT]: 'in-get-next-requests', [GET_BULK]: 'in-get-bulk-requests', [SET]: 'in-set-requests',
}

/** What an answer needs of the message that it answers. */
interface Exchange {
  readonly peer: Peer
  readonly msgId: number
  /** Octets that the other side takes. */
  readonly maxBytes: number
  /** null: it is answered without keys. */
  readonly user: LocalUser | null
  readonly userName: Uint8Array
  readonly level: SecurityLevel
}

export class SnmpEngine {
  /** Shared: filled and sealed within one call. */
  readonly writer = new Writer(MAX_MESSAGE_BYTES)
  private readonly options: SnmpEngineOptions
  private readonly usm: Usm
  private readonly responder: Responder
  private readonly salt: Buffer
  /** What was originated while a SET is being carried out. */
  private held: Notification[] | null = null
  private pendingCount = 0

  constructor(options: SnmpEngineOptions) {
    const { local, users, registry, counters, limits, randomBytes } = options
    this.options = options
    this.usm = new Usm({ engine: local, users, counters, mostVarbinds: limits.varbinds, rememberedSets: limits.rememberedSets })
    this.responder = new Responder({
      registry, mostVarbinds: limits.varbinds,
      onFailure: (error) => options.log({ event: 'module-failed', remote: '', detail: failureText(error) }),
    })
    this.salt = Buffer.from(randomBytes(SALT_BYTES))
  }

  /** SETs whose answers have not left yet. */
  get pendingSets(): number { return this.pendingCount }

  /** Never twice the same with one key (RFC 3826 3.1.2.1). Lent until the next call. */
  nextSalt(): Uint8Array {
    for (let i = SALT_BYTES - 1; i >= 0; i--) {
      const octet = this.salt[i]! + 1 & 255
      this.salt[i] = octet
      if (octet !== 0) break
    }
    return this.salt
  }

  /** For modules: at once, or behind the answer to the SET that causes it. */
  notify(notification: Notification): void {
    if (this.held === null) this.options.notify(notification)
    else this.held.push(notification)
  }

  /** One datagram. Its octets may be changed meanwhile. */
  receive(bytes: Buffer, peer: Peer): void {
    const { counters } = this.options
    counters['in-messages']++
    counters['in-bytes'] += bytes.length
    const message = readMessage(bytes)
    if (typeof message === 'string') {
      counters[message]++
      if (message === 'snmpInBadVersions') counters['drop-old-version-messages'] += isOldVersion(bytes) ? 1 : 0
      return
    }
    const result = this.usm.receive(bytes, message)
    if (typeof result === 'string') return
    if ('counter' in result) this.refused(message, result, peer)
    else this.genuine(message, result, peer)
  }

  private refused(message: Message, { counter, user, level, requestId, isConfirmed }: Refusal, peer: Peer): void {
    if (counter === 'usmStatsWrongDigests' || counter === 'usmStatsUnknownUserNames') {
      const claimed = utf8(message.userName)
      this.options.log({ event: 'authentication-failed', remote: remoteOf(peer), user: claimed, detail: counter })
    }
    const { msgId, maxBytes, flags } = message
    // Its user (RFC 3414 3.1 1), but of another engine nobody: a manager need not have that user with us and would not listen.
    const userName = counter === 'usmStatsUnknownEngineIDs' ? NO_OCTETS : message.userName
    // The flag counts only where the PDU cannot say what it is (RFC 3412 6.4).
    if (!(isConfirmed ?? (flags & REPORTABLE_FLAG) !== 0)) return
    const exchange: Exchange = { peer, msgId, maxBytes, user, userName, level }
    this.report(exchange, requestId, usmCounterName(counter), this.options.counters[counter])
  }

  private genuine({ msgId, maxBytes }: Message, { user, level, pdu }: Genuine, peer: Peer): void {
    // Answers to nothing that this engine has asked (RFC 3412 7.2 10).
    if (pdu.type === RESPONSE || pdu.type === REPORT) return
    const { counters, local } = this.options
    const exchange: Exchange = { peer, msgId, maxBytes, user, userName: user.nameOctets, level }
    const counter = REQUEST_COUNTERS[pdu.type]
    if (counter === undefined || !isEqual(pdu.contextEngineId, local.id)) {
      counters.snmpUnknownPDUHandlers++
      if (isConfirmedClass(pdu.type)) this.report(exchange, pdu.requestId, UNKNOWN_PDU_HANDLERS, counters.snmpUnknownPDUHandlers)
      return
    }
    counters[counter]++
    const contextName = utf8(pdu.contextName)
    const views = this.options.vacm().viewsOf(user.name, level, contextName)
    if (views === 'noSuchContext') {
      counters.snmpUnknownContexts++
      return this.report(exchange, pdu.requestId, UNKNOWN_CONTEXTS, counters.snmpUnknownContexts)
    }
    if (typeof views === 'string') {
      this.options.log({ event: 'access-denied', remote: remoteOf(peer), user: user.name, detail: views })
      return this.answer(exchange, pdu, { status: AUTHORIZATION_ERROR, index: 0 })
    }
    this.carryOut(exchange, pdu, views, contextName)
  }

  private carryOut(exchange: Exchange, pdu: ScopedPdu, views: Views, contextName: string): void {
    const { user, level } = exchange
    if (pdu.type === SET && this.pendingCount >= this.options.limits.pendingSets) {
      return this.answer(exchange, pdu, { status: RESOURCE_UNAVAILABLE, index: pdu.varbinds.length > 0 ? 1 : 0 })
    }
    const request: Request = {
      securityName: user!.name, securityLevel: level, contextName, agent: user!.agent,
      canRead: (name) => views.read?.contains(name) ?? false, canWrite: (name) => views.write?.contains(name) ?? false,
    }
    this.room(exchange, pdu)
    if (pdu.type !== SET) return this.answer(exchange, pdu, this.responder.respond(request, views, pdu, this.writer) as Outcome)
    const held: Notification[] = this.held = []
    const outcome = this.responder.respond(request, views, pdu, this.writer)
    this.held = null
    if (!(outcome instanceof Promise)) return this.finish(exchange, pdu, outcome, held)
    this.pendingCount++
    void outcome.then((settled) => {
      this.pendingCount--
      this.room(exchange, pdu)
      if (settled.status === NO_ERROR) writeAll(this.writer, pdu.varbinds)
      this.finish(exchange, pdu, settled, held)
    })
  }

  /** The answer, then what it has caused. */
  private finish(exchange: Exchange, pdu: ScopedPdu, outcome: Outcome, held: readonly Notification[]): void {
    this.answer(exchange, pdu, outcome)
    if (outcome.status === NO_ERROR) for (const notification of held) this.options.notify(notification)
  }

  /** Empties the writer, for as many octets of varbinds as may be sent. */
  private room({ maxBytes, user, userName, level }: Exchange, { contextName }: Pick<ScopedPdu, 'contextName'>): void {
    const { local, limits } = this.options
    const around = envelopeBytes(local.id, userName, level === NO_AUTH_NO_PRIV ? null : user!.keys)
      + PDU_BYTES + local.id.length + contextName.length
    this.writer.reset(Math.min(maxBytes, limits.messageBytes) - around)
  }

  /** Varbinds of a success are in the writer already; with an error they are those of the request. */
  private answer(exchange: Exchange, pdu: ScopedPdu, { status, index }: Outcome): void {
    const { counters } = this.options
    let itsStatus = status, itsIndex = index
    if (status !== NO_ERROR) {
      counters['out-error-responses']++
      this.room(exchange, pdu)
      if (status === TOO_BIG || !writeAll(this.writer, pdu.varbinds)) {
        itsStatus = TOO_BIG
        itsIndex = 0
        this.room(exchange, pdu)
      }
    }
    wrapScopedPdu(this.writer, RESPONSE, pdu.requestId, itsStatus, itsIndex, this.options.local.id, pdu.contextName)
    this.leave(exchange)
  }

  /** Reports are never about what could be asked again: one varbind, one counter. */
  private report(exchange: Exchange, requestId: number, counter: Oid, value: number): void {
    this.options.counters['out-reports']++
    this.room(exchange, { contextName: NO_OCTETS })
    this.writer.varbind(counter, counter32(value))
    wrapScopedPdu(this.writer, REPORT, requestId, 0, 0, this.options.local.id, NO_OCTETS)
    this.leave(exchange)
  }

  private leave({ peer, msgId, maxBytes, user, userName, level }: Exchange): void {
    const { local, limits, counters } = this.options
    const flags = level === AUTH_PRIV ? AUTH_FLAG | PRIV_FLAG : level === AUTH_NO_PRIV ? AUTH_FLAG : 0
    const message = sealMessage(this.writer, {
      msgId, maxBytes: limits.messageBytes, flags, engineId: local.id, boots: local.boots, time: local.time,
      userName, keys: flags === 0 ? null : user!.keys,
      salt: level === AUTH_PRIV ? this.nextSalt() : NO_OCTETS,
    })
    // Only a context of many octets can make even an empty answer too long.
    if (message.length > Math.min(maxBytes, limits.messageBytes)) {
      counters.snmpSilentDrops++
      return
    }
    counters['out-messages']++
    counters['out-bytes'] += message.length
    peer.send(message)
  }
}

/** Names that configuration knows are UTF-8 (SnmpAdminString, RFC 3411 5); octets that are none are none of these. */
function utf8(octets: Uint8Array): string { return Buffer.from(octets.buffer, octets.byteOffset, octets.length).toString('utf8') }

function failureText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message).replace(/\n\s*/g, ' ') : String(error)
}

/** SNMPv1 and SNMPv2c: a version 0 or 1 in one octet, where it always stands. */
function isOldVersion(bytes: Uint8Array): boolean {
  const at = 2 + (bytes[1]! > 0x80 ? bytes[1]! & 0x7f : 0)
  return bytes[at] === 2 && bytes[at + 1] === 1 && bytes[at + 2]! < 2
}
