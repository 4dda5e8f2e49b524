/**
 * This SNMP engine's own identity and time (RFC 3411 5, RFC 3414 2.2): its identifier, how often it has started under that
 * identifier, and the seconds since. A file keeps the first two; the count is on disk before the engine answers anything, so that
 * no message of an earlier life is ever timely again.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export const MIN_ENGINE_ID_BYTES = 5, MAX_ENGINE_ID_BYTES = 32
/** snmpEngineBoots and snmpEngineTime end here (RFC 3414 2.2.2). */
export const LATCH = 0x7fff_ffff
/** RFC 3414 2.2.3. */
export const TIME_WINDOW_SEC = 150

/** What is known of an engine before it starts, and a place to keep it. */
export interface EngineStore {
  readonly engineId: Uint8Array
  /** Of the last life; 0: this is the first. */
  readonly boots: number
  /** On disk when it returns. Throws if that cannot be. */
  save(boots: number): void
}

export class LocalEngine {
  readonly id: Uint8Array
  private readonly store: EngineStore
  private readonly nowMs: () => number
  private startedMs: number
  private bootCount: number

  /** Counts this start, on disk. Throws if that cannot be. */
  constructor(store: EngineStore, nowMs: () => number) {
    this.id = store.engineId
    this.store = store
    this.nowMs = nowMs
    this.startedMs = nowMs()
    this.bootCount = Math.min(LATCH, store.boots + 1)
    store.save(this.bootCount)
  }

  get boots(): number { return this.bootCount }

  /** snmpEngineTime: seconds. */
  get time(): number {
    const time = Math.floor((this.nowMs() - this.startedMs) / 1000)
    return time < LATCH ? time : this.wrap(time)
  }

  /** The time has run full: as if started again (RFC 3414 2.2.2). */
  private wrap(time: number): number {
    this.startedMs += 1000 * LATCH
    this.bootCount = Math.min(LATCH, this.bootCount + 1)
    this.store.save(this.bootCount)
    return time - LATCH
  }
}

/** RFC 5612: the enterprise number for examples. The project has none of its own. */
const ENTERPRISE = 32473
/** RFC 3411: snmpEngineID, format 5: octets. */
const OCTETS_FORMAT = 5
const RANDOM_BYTES = 12

export function newEngineId(randomBytes: (bytes: number) => Uint8Array): Uint8Array {
  const id = Buffer.alloc(5 + RANDOM_BYTES)
  id.writeUInt32BE((0x8000_0000 | ENTERPRISE) >>> 0)
  id[4] = OCTETS_FORMAT
  id.set(randomBytes(RANDOM_BYTES), 5)
  return id
}

const FILE_NAME = 'snmp-engine.json'
interface Kept { engineId: string; engineBoots: number }

function isKept(value: unknown): value is Kept {
  const { engineId, engineBoots } = (value ?? {}) as Partial<Record<keyof Kept, unknown>>
  return typeof engineId === 'string' && /^([0-9a-f]{2}){5,32}$/.test(engineId)
    && Number.isInteger(engineBoots) && (engineBoots as number) >= 0 && (engineBoots as number) <= LATCH
}

/** Octets on disk under that name, or the old ones, whatever happens meanwhile. */
function replaceFile(directory: string, name: string, text: string): void {
  const temporary = join(directory, `${name}.new`), file = openSync(temporary, 'w', 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, join(directory, name))
  const folder = openSync(directory, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/**
 * Reads what an engine was in that directory, which is made if it is not there. With another identifier than the one kept there
 * it begins a new life, and with none configured it keeps the one it has, or makes one. Throws an Error with the path if it
 * cannot be read, or is damaged: guessing would let messages of an earlier life pass.
 */
export function openEngineStore(
  directory: string, configuredId: Uint8Array | null, randomBytes: (bytes: number) => Uint8Array,
): EngineStore {
  const path = join(directory, FILE_NAME)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  let kept: Kept | null = null
  try {
    const read: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (!isKept(read)) throw new SyntaxError('not the state of an engine')
    kept = read
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new Error(`${path} is damaged (${error.message}): remove it, and the engine gets a new identifier`, { cause: error })
    }
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const configured = configuredId === null ? null : Buffer.from(configuredId).toString('hex')
  const isSame = kept !== null && (configured === null || configured === kept.engineId)
  const engineId = isSame ? Buffer.from(kept!.engineId, 'hex') : configuredId ?? newEngineId(randomBytes)
  return {
    engineId, boots: isSame ? kept!.engineBoots : 0,
    save(engineBoots) {
      const text = JSON.stringify({ engineId: Buffer.from(engineId).toString('hex'), engineBoots } satisfies Kept)
      replaceFile(directory, FILE_NAME, `${text}\n`)
    },
  }
}
