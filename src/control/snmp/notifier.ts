/**
 * The notification originator (RFC 3413 3.3): traps and informs to all targets that are to hear of something. Each target has a
 * queue with a bound. A trap leaves when it is its turn; an inform stays until it is confirmed, or was sent as often as its
 * target allows. For informs the receiver is the authoritative engine: its identity is asked for, its time learned, the keys are
 * localized to it.
 */
import { compareWords, parseAddress } from '../../base/address.ts'
import type { Writer } from './ber.ts'
import type { SnmpCounters } from './counters.ts'
import type { MasterKeys } from './keys.ts'
import type { LocalEngine } from './local-engine.ts'
import {
  AUTH_FLAG, envelopeBytes, MAX_INT, PRIV_FLAG, readMessage, REPORTABLE_FLAG, sealMessage, type Envelope,
} from './message.ts'
import { objectId, timeTicks, type Notification, type Varbind } from './mib.ts'
import { remoteOf, type SnmpLogRecord, type SnmpTimers } from './options.ts'
import { INFORM, REPORT, RESPONSE, TRAP, wrapScopedPdu } from './pdu.ts'
import { RemoteEngine } from './remote-engine.ts'
import { writeAll } from './responder.ts'
import { isVisible, isWanted, SNMP_TRAP_OID, SYS_UP_TIME, type Target } from './targets.ts'
import type { LocalUser } from './usm.ts'
import type { View } from './vacm.ts'

/** Traps that leave in one turn, of all targets together: a flood of them would be lost in the receiver's socket. */
const TRAPS_PER_TURN = 32
/** Informs of one target that wait for their confirmation. */
const INFORMS_UNDER_WAY = 16
/** Its identity, its time, and both again if it has just started anew: more than that in a row leads nowhere. */
const MAX_LESSONS = 4
/** Scoped PDU without its varbinds. */
const PDU_BYTES = 110

const SECURE_FLAGS = AUTH_FLAG | PRIV_FLAG
const NO_OCTETS: Uint8Array = new Uint8Array(0)

export interface NotifierOptions {
  readonly engine: LocalEngine
  readonly counters: SnmpCounters
  readonly targets: readonly Target[]
  readonly users: ReadonlyMap<string, NotifyUser>
  readonly writer: Writer
  readonly maxBytes: number
  readonly queuedNotifications: number
  readonly timers: SnmpTimers
  readonly randomBytes: (bytes: number) => Uint8Array
  nextSalt(): Uint8Array
  upTimeTicks(): number
  /** The notify view of that user, or null. */
  notifyView(user: string): View | null
  send(target: Target, message: Uint8Array): void
  log(record: SnmpLogRecord): void
}

export interface NotifyUser extends LocalUser { readonly master: MasterKeys }

/** One inform until it is over. */
interface Inform {
  readonly varbinds: readonly Varbind[]
  readonly requestId: number
  msgId: number
  /** Time-outs so far, and reports that told what it lacked. */
  timeouts: number
  lessons: number
  timer: { cancel(): void } | null
}

interface Receiver {
  readonly target: Target
  readonly user: NotifyUser
  /** Lists of varbinds that have not left yet, the oldest first. */
  readonly waiting: (readonly Varbind[])[]
  readonly remote: RemoteEngine | null
  /** By their msgIDs. */
  readonly underWay: Map<number, Inform>
  isSilent: boolean
}

export class Notifier {
  private readonly options: NotifierOptions
  private readonly receivers: readonly Receiver[]
  private isTurnDue = false
  private isClosed = false
  private nextId: number

  constructor(options: NotifierOptions) {
    this.options = options
    this.receivers = options.targets.map((target) => {
      const user = options.users.get(target.options.user)
      if (user === undefined) throw new Error(`target ${target.options.name}: there is no user ${target.options.user}`)
      return {
        target, user, waiting: [], underWay: new Map<number, Inform>(), isSilent: false,
        remote: target.options.type === 'inform' ? new RemoteEngine(user.master, () => options.timers.nowMs()) : null,
      }
    })
    this.nextId = Buffer.from(options.randomBytes(4)).readUInt32BE() & MAX_INT
  }

  notify(notification: Notification): void {
    const { counters, queuedNotifications } = this.options
    if (this.isClosed) return
    let varbinds: readonly Varbind[] | null = null
    for (const receiver of this.receivers) {
      const view = this.options.notifyView(receiver.user.name)
      if (!isWanted(receiver.target, notification)) counters['skip-filter-notifications']++
      else if (view === null || !isVisible(view, notification)) counters['skip-view-notifications']++
      else if (receiver.waiting.length >= queuedNotifications) counters['drop-queue-full-notifications']++
      else receiver.waiting.push(varbinds ??= this.varbindsOf(notification))
    }
    this.turnLater()
  }

  private varbindsOf({ name, varbinds }: Notification): readonly Varbind[] {
    const upTime = timeTicks(this.options.upTimeTicks())
    return [{ name: SYS_UP_TIME, value: upTime }, { name: SNMP_TRAP_OID, value: objectId(name) }, ...varbinds]
  }

  /** A notification that waits is sent no more. */
  close(): void {
    this.isClosed = true
    for (const { waiting, underWay } of this.receivers) {
      waiting.length = 0
      for (const { timer } of underWay.values()) timer?.cancel()
      underWay.clear()
    }
  }

  /** Traps that have not left yet. */
  get pendingTraps(): number {
    return this.receivers.reduce((sum, { waiting, remote }) => sum + (remote === null ? waiting.length : 0), 0)
  }

  private turnLater(): void {
    if (this.isTurnDue || this.isClosed) return
    this.isTurnDue = true
    setImmediate(() => {
      this.isTurnDue = false
      this.turn()
    })
  }

  private turn(): void {
    let left = TRAPS_PER_TURN
    for (const receiver of this.receivers) {
      const { waiting, underWay, remote } = receiver
      while (left > 0 && waiting.length > 0 && (remote === null || underWay.size < INFORMS_UNDER_WAY)) {
        left--
        const varbinds = waiting.shift()!
        if (remote === null) this.sendTrap(receiver, varbinds)
        else this.sendInform(receiver, { varbinds, requestId: this.newId(), msgId: 0, timeouts: 0, lessons: 0, timer: null })
      }
    }
    if (left <= 0) this.turnLater()
  }

  private newId(): number {
    this.nextId = this.nextId === MAX_INT ? 1 : this.nextId + 1
    return this.nextId
  }

  private sendTrap(receiver: Receiver, varbinds: readonly Varbind[]): void {
    const { engine, counters } = this.options
    const message = this.seal(TRAP, this.newId(), varbinds, engine.id, {
      msgId: this.newId(), maxBytes: this.options.maxBytes, flags: SECURE_FLAGS, engineId: engine.id, boots: engine.boots,
      time: engine.time, userName: receiver.user.nameOctets, keys: receiver.user.keys, salt: this.options.nextSalt(),
    })
    if (message === null) return
    counters['out-traps']++
    this.options.send(receiver.target, message)
  }

  /** null: too long, and counted. */
  private seal(
    type: number, requestId: number, varbinds: readonly Varbind[], contextEngineId: Uint8Array, envelope: Envelope,
  ): Buffer | null {
    const { writer, maxBytes, counters } = this.options
    writer.reset(maxBytes - envelopeBytes(envelope.engineId, envelope.userName, envelope.keys) - PDU_BYTES)
    if (!writeAll(writer, varbinds)) {
      counters['drop-too-big-notifications']++
      return null
    }
    wrapScopedPdu(writer, type, requestId, 0, 0, contextEngineId, NO_OCTETS)
    return sealMessage(writer, envelope)
  }

  /**
   * Sends it, or first asks who the receiver is. It comes here again with each report that brings it nearer, and with each retry.
   */
  private sendInform(receiver: Receiver, inform: Inform): void {
    const { target, remote, user, underWay } = receiver
    underWay.delete(inform.msgId)
    inform.timer?.cancel()
    inform.msgId = this.newId()
    const { isKnown, engineId } = remote!
    const envelope: Envelope = {
      msgId: inform.msgId, maxBytes: this.options.maxBytes, flags: isKnown ? SECURE_FLAGS | REPORTABLE_FLAG : REPORTABLE_FLAG,
      engineId, boots: remote!.boots, time: remote!.time, userName: isKnown ? user.nameOctets : NO_OCTETS, keys: remote!.keys,
      salt: isKnown ? this.options.nextSalt() : NO_OCTETS,
    }
    // What asks for the identity says nothing (RFC 3414 4).
    const message = this.seal(INFORM, inform.requestId, isKnown ? inform.varbinds : [], isKnown ? engineId : NO_OCTETS, envelope)
    if (message === null) return
    underWay.set(inform.msgId, inform)
    inform.timer = this.options.timers.after(target.options.timeoutMs, () => this.timedOut(receiver, inform))
    if (isKnown) this.options.counters['out-informs']++
    this.options.send(target, message)
  }

  private timedOut(receiver: Receiver, inform: Inform): void {
    const { target: { options } } = receiver
    if (inform.timeouts++ < options.retries) return this.sendInform(receiver, inform)
    receiver.underWay.delete(inform.msgId)
    this.options.counters['drop-inform-timeout-notifications']++
    this.complain(receiver, 'target-silent', '')
    // It may have become another engine meanwhile.
    receiver.remote!.forget()
    this.turnLater()
  }

  /** What came in from the address of a target. */
  receive(bytes: Uint8Array, host: string, port: number): void {
    const message = readMessage(bytes)
    if (typeof message === 'string') return
    const receiver = this.receivers.find(({ target: { options }, underWay }) => {
      return underWay.has(message.msgId) && options.port === port && isSameHost(options.host, host)
    })
    if (receiver === undefined) return
    const inform = receiver.underWay.get(message.msgId)!
    const heard = receiver.remote!.receive(bytes, message)
    if (heard === null) return
    if (heard.type === RESPONSE && heard.requestId === inform.requestId) return this.confirmed(receiver, inform)
    if (heard.type !== REPORT) return
    if (heard.isNearer && inform.lessons++ < MAX_LESSONS) return this.sendInform(receiver, inform)
    this.complain(receiver, 'target-refuses', heard.varbinds[0]?.name.join('.') ?? '')
  }

  /** Once, until it confirms something again. */
  private complain(receiver: Receiver, event: 'target-silent' | 'target-refuses', why: string): void {
    const { options } = receiver.target
    if (!receiver.isSilent) {
      this.options.log({ event, remote: remoteOf(options), user: options.user, detail: `${options.name} ${why}`.trimEnd() })
    }
    receiver.isSilent = true
  }

  private confirmed(receiver: Receiver, inform: Inform): void {
    inform.timer?.cancel()
    receiver.underWay.delete(inform.msgId)
    receiver.isSilent = false
    this.options.counters['informs-confirmed']++
    this.turnLater()
  }
}

/** The system may write an IPv6 address otherwise than the configuration. */
function isSameHost(configured: string, seen: string): boolean {
  if (configured === seen) return true
  const a = parseAddress(configured), b = parseAddress(seen.replace(/%.*$/, ''))
  return a.ok && b.ok && a.value.version === b.value.version && compareWords(a.value.words, b.value.words) === 0
}
