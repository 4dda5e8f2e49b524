/**
 * Another SNMP engine, which is authoritative for what we ask of it (RFC 3414 2.2, 3.2 step 7b): who it is, its time as far as it
 * has told us, and the keys of one user with it.
 */
import { Reader } from './ber.ts'
import { decrypt, localize, SALT_BYTES, type Keys, type MasterKeys } from './keys.ts'
import { LATCH, MAX_ENGINE_ID_BYTES, MIN_ENGINE_ID_BYTES, TIME_WINDOW_SEC } from './local-engine.ts'
import { AUTH_FLAG, PRIV_FLAG, type Message } from './message.ts'
import { compareOids } from './oid.ts'
import { readScopedPdu, REPORT, type ScopedPdu } from './pdu.ts'
import { hasGoodMac, isEqual, usmCounterName } from './usm.ts'

const NO_OCTETS: Uint8Array = new Uint8Array(0)
const MOST_VARBINDS = 256
const UNKNOWN_ENGINE_IDS = usmCounterName('usmStatsUnknownEngineIDs'), NOT_IN_TIME = usmCounterName('usmStatsNotInTimeWindows')

/** What it has said. `isNearer`: a report that tells what the message lacked, so that the next try may succeed. */
export interface Heard extends ScopedPdu { readonly isNearer: boolean }

const $reader = new Reader()

export class RemoteEngine {
  engineId: Uint8Array = NO_OCTETS
  keys: Keys | null = null
  boots = 0
  private latestTime = 0
  private latestAtMs = 0
  private readonly master: MasterKeys
  private readonly nowMs: () => number

  constructor(master: MasterKeys, nowMs: () => number) {
    this.master = master
    this.nowMs = nowMs
  }

  get isKnown(): boolean { return this.keys !== null }

  /** Its time by our clock. */
  get time(): number {
    return this.isKnown ? Math.min(LATCH, this.latestTime + Math.floor((this.nowMs() - this.latestAtMs) / 1000)) : 0
  }

  forget(): void {
    this.engineId = NO_OCTETS
    this.keys = null
    this.boots = this.latestTime = 0
  }

  /** null: it is not from there, or not of now, or it says nothing that we understand. */
  receive(bytes: Uint8Array, message: Message): Heard | null {
    return (message.flags & AUTH_FLAG) === 0 ? this.plain(message) : this.authentic(bytes, message)
  }

  /** Only reports may come so. Of these only the one about the identity is followed (RFC 3414 4). */
  private plain(message: Message): Heard | null {
    const pdu = this.read(message.scopedPdu)
    if (pdu === null || pdu.type !== REPORT) return null
    const { engineId } = message
    const isIdentity = isAbout(pdu, UNKNOWN_ENGINE_IDS)
      && engineId.length >= MIN_ENGINE_ID_BYTES && engineId.length <= MAX_ENGINE_ID_BYTES
    if (isIdentity && !isEqual(engineId, this.engineId)) {
      this.forget()
      this.engineId = Uint8Array.from(engineId)
      this.keys = localize(this.master, this.engineId)
      this.latestAtMs = this.nowMs()
    }
    return { ...pdu, isNearer: isIdentity }
  }

  private authentic(bytes: Uint8Array, message: Message): Heard | null {
    const { keys } = this, { boots, time, salt, scopedPdu } = message
    if (keys === null || !isEqual(message.engineId, this.engineId) || !hasGoodMac(bytes, message, keys)) return null
    if (boots === LATCH || boots < this.boots || boots === this.boots && time < this.time - TIME_WINDOW_SEC) return null
    if (boots > this.boots || boots === this.boots && time > this.latestTime) {
      this.boots = boots
      this.latestTime = time
      this.latestAtMs = this.nowMs()
    }
    const isPrivate = (message.flags & PRIV_FLAG) !== 0
    if (isPrivate && (keys.priv === null || salt.length !== SALT_BYTES)) return null
    const pdu = this.read(isPrivate ? decrypt(keys, boots, time, salt, scopedPdu) : scopedPdu)
    if (pdu === null) return null
    return { ...pdu, isNearer: pdu.type === REPORT && isAbout(pdu, NOT_IN_TIME) }
  }

  private read(plain: Uint8Array): ScopedPdu | null {
    $reader.reset(plain)
    return readScopedPdu($reader, MOST_VARBINDS)
  }
}

function isAbout({ varbinds }: ScopedPdu, name: readonly number[]): boolean {
  const [first] = varbinds
  return first !== undefined && compareOids(first.name, name) === 0
}
