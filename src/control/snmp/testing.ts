/**
 * For tests: a manager that seals and opens messages by itself, an engine without sockets for it, and a small MIB that can be
 * set.
 */
import { Reader, Writer } from './ber.ts'
import { createSnmpCounters, type SnmpCounters } from './counters.ts'
import { SnmpEngine, type Peer } from './engine.ts'
import { decrypt, localize, masterKeys, type AuthName, type Keys, type MasterKeys, type PrivName } from './keys.ts'
import { LocalEngine, type EngineStore } from './local-engine.ts'
import { AUTH_FLAG, PRIV_FLAG, readMessage, REPORTABLE_FLAG, sealMessage, type Message } from './message.ts'
import {
  INCONSISTENT_NAME, INCONSISTENT_VALUE, integer, INTEGER, NO_SUCH_INSTANCE, NO_SUCH_OBJECT, WRONG_TYPE, type MibModule,
  type Notification, type Value, type Varbind,
} from './mib.ts'
import type { NotifyUser } from './notifier.ts'
import { compareOids, startsWith, type Oid } from './oid.ts'
import { DEFAULT_SNMP_LIMITS, type SnmpLimits, type SnmpLogRecord, type SnmpTimers } from './options.ts'
import { readScopedPdu, wrapScopedPdu, type ScopedPdu } from './pdu.ts'
import { Registry } from './registry.ts'
import { hasGoodMac, octetsKey } from './usm.ts'
import { NO_MASK, Vacm, View, type AccessOptions } from './vacm.ts'

export const SECURE = AUTH_FLAG | PRIV_FLAG | REPORTABLE_FLAG

/** Time that a test moves. */
export class TestTimers implements SnmpTimers {
  private ms = 0
  private readonly waiting: { atMs: number; callback: (() => void) | null }[] = []
  nowMs(): number { return this.ms }
  after(ms: number, callback: () => void): { cancel(): void } {
    const timer: { atMs: number; callback: (() => void) | null } = { atMs: this.ms + ms, callback }
    this.waiting.push(timer)
    return { cancel() { timer.callback = null } }
  }
  pass(ms: number): void {
    const untilMs = this.ms + ms
    for (;;) {
      const [due] = this.waiting.filter(({ atMs, callback }) => callback !== null && atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs)
      if (due === undefined) break
      this.ms = due.atMs
      const { callback } = due
      due.callback = null
      callback!()
    }
    this.ms = untilMs
  }
}

const MASTERS = new Map<string, MasterKeys>()
/** Keys from passwords take a while to compute: once for a run. */
export function testKeys(auth: AuthName = 'SHA-256', priv: PrivName | null = 'AES', password = 'maplesyrup'): MasterKeys {
  const name = `${auth} ${priv} ${password}`
  const known = MASTERS.get(name) ?? masterKeys(auth, password, priv, priv === null ? null : password)
  MASTERS.set(name, known)
  return known
}

export interface Sent {
  type: number
  varbinds: readonly Varbind[]
  first?: number
  second?: number
  flags?: number
  requestId?: number
  msgId?: number
  maxBytes?: number
  userName?: string
  engineId?: Uint8Array
  boots?: number
  time?: number
  contextName?: string
  contextEngineId?: Uint8Array
}

/** What came back. */
export interface Answer extends ScopedPdu { message: Message }

/** One user of one engine, whose identity and time it knows. */
export class Manager {
  boots = 1
  time = 0
  readonly keys: Keys
  readonly engineId: Uint8Array
  readonly name: string
  private readonly writer = new Writer(65_507)
  private readonly reader = new Reader()
  private salt = 0
  private id = 0

  constructor(name: string, master: MasterKeys, engineId: Uint8Array) {
    this.name = name
    this.engineId = engineId
    this.keys = localize(master, engineId)
  }

  seal(sent: Sent): Buffer {
    const { writer } = this, flags = sent.flags ?? SECURE, id = ++this.id
    writer.reset()
    for (const { name, value } of sent.varbinds) writer.varbind(name, value)
    const context = Buffer.from(sent.contextName ?? ''), contextEngineId = sent.contextEngineId ?? this.engineId
    wrapScopedPdu(writer, sent.type, sent.requestId ?? id, sent.first ?? 0, sent.second ?? 0, contextEngineId, context)
    const salt = Buffer.alloc(8)
    salt.writeUInt32BE(++this.salt, 4)
    return sealMessage(writer, {
      msgId: sent.msgId ?? id, maxBytes: sent.maxBytes ?? 65_507, flags, engineId: sent.engineId ?? this.engineId,
      boots: sent.boots ?? this.boots, time: sent.time ?? this.time, userName: Buffer.from(sent.userName ?? this.name),
      keys: this.keys, salt,
    })
  }

  /** Throws if it is not a message of that engine, or not genuine. */
  open(bytes: Buffer): Answer {
    const message = readMessage(bytes)
    if (typeof message === 'string') throw new Error(message)
    if ((message.flags & AUTH_FLAG) !== 0 && !hasGoodMac(bytes, message, this.keys)) throw new Error('wrong digest')
    const { flags, boots, time, salt, scopedPdu } = message
    this.reader.reset((flags & PRIV_FLAG) === 0 ? scopedPdu : decrypt(this.keys, boots, time, salt, scopedPdu))
    const pdu = readScopedPdu(this.reader, 65_536)
    if (pdu === null) throw new Error(this.reader.fault ?? '')
    return { ...pdu, message }
  }
}

/** Of a memory that outlives engines. */
export function memoryStore(
  engineId: Uint8Array = Buffer.from('80007ed90500000001', 'hex'), boots = 0,
): EngineStore & { boots: number } {
  return {
    engineId, boots,
    save(count) { this.boots = count },
  }
}

/** The one view that holds everything, and users who may all. */
export function openAccess(users: readonly string[]): AccessOptions {
  return {
    contexts: ['', 'other'], groups: new Map(users.map((user) => [user, 'all'])),
    access: [{
      group: 'all', contextPrefix: '', isExact: false, securityModel: 3, level: 3, read: 'all', write: 'all', notify: 'all',
    }],
    views: [new View('all', [{ subtree: [1, 3], mask: NO_MASK, included: true }])],
  }
}

export interface TestEngineOptions {
  modules?: readonly MibModule[]
  access?: AccessOptions
  limits?: Partial<SnmpLimits>
  store?: EngineStore
  timers?: TestTimers
  users?: Record<string, MasterKeys>
}

/** An engine without sockets. `ask` gives it a datagram and returns what it has sent at once. */
export class TestEngine {
  readonly counters: SnmpCounters = createSnmpCounters()
  readonly timers: TestTimers
  readonly local: LocalEngine
  readonly engine: SnmpEngine
  readonly sent: Buffer[] = []
  readonly notifications: Notification[] = []
  readonly log: SnmpLogRecord[] = []
  readonly users = new Map<string, NotifyUser>()
  vacm: Vacm
  private readonly peer: Peer = { host: '192.0.2.1', port: 5, send: (message) => { this.sent.push(Buffer.from(message)) } }

  constructor(options: TestEngineOptions = {}) {
    const masters = options.users ?? { lab: testKeys() }
    this.timers = options.timers ?? new TestTimers()
    this.local = new LocalEngine(options.store ?? memoryStore(), () => this.timers.nowMs())
    for (const [name, master] of Object.entries(masters)) {
      const nameOctets = Buffer.from(name)
      this.users.set(octetsKey(nameOctets), { name, nameOctets, agent: name, master, keys: localize(master, this.local.id) })
    }
    this.vacm = new Vacm(options.access ?? openAccess(Object.keys(masters)))
    this.engine = new SnmpEngine({
      local: this.local, users: this.users, registry: new Registry(options.modules ?? [createTestMib()]), counters: this.counters,
      limits: { ...DEFAULT_SNMP_LIMITS, ...options.limits }, randomBytes: (bytes) => Buffer.alloc(bytes, 0xff),
      vacm: () => this.vacm, notify: (notification) => { this.notifications.push(notification) },
      log: (record) => { this.log.push(record) },
    })
  }

  manager(name = 'lab', master: MasterKeys = this.users.get(name)!.master): Manager {
    const manager = new Manager(name, master, this.local.id)
    manager.boots = this.local.boots
    manager.time = this.local.time
    return manager
  }

  receive(bytes: Buffer): void { this.engine.receive(bytes, this.peer) }

  /** The one answer to a datagram, or null. */
  ask(bytes: Buffer): Buffer | null {
    this.sent.length = 0
    this.receive(Buffer.from(bytes))
    if (this.sent.length > 1) throw new Error('more than one answer')
    return this.sent[0] ?? null
  }

  /** The same, sealed and opened. */
  request(manager: Manager, sent: Sent): Answer {
    const answer = this.ask(manager.seal(sent))
    if (answer === null) throw new Error('no answer')
    return manager.open(answer)
  }
}

export const TEST_ROOT: Oid = [1, 3, 6, 1, 4, 1, 32473, 1]

export interface TestMib extends MibModule {
  /** SETs carried out. */
  commits: number
  readonly cells: Map<string, number>
  /** What `commit` returns. */
  wait: Promise<void> | null
  failCommit: boolean
  failUndo: boolean
  /** Called inside `commit`. */
  onCommit: () => void
}

/** Column 1 of some rows, each an integer; a negative one is refused, and so is a row that is not there. */
export function createTestMib(rows = 10, root: Oid = TEST_ROOT): TestMib {
  const entry: Oid = [...root, 1, 1]
  const names: Oid[] = Array.from({ length: rows }, (_, i) => [...entry, i + 1])
  const cells = new Map(names.map((name, i) => [name.join('.'), i]))
  const at = (i: number): Varbind => ({ name: names[i]!, value: integer(cells.get(names[i]!.join('.'))!) })
  const mib: TestMib = {
    root, identity: { oid: root, description: 'rows to test with' }, cells,
    commits: 0, wait: null, failCommit: false, failUndo: false, onCommit: () => { /* nothing happens */ },
    get(_request, name): Value {
      const value = cells.get(name.join('.'))
      return value !== undefined ? integer(value) : startsWith(name, entry) ? NO_SUCH_INSTANCE : NO_SUCH_OBJECT
    },
    next(_request, from, isIncluding) {
      let low = 0, high = names.length
      while (low < high) {
        const middle = low + high >> 1, order = compareOids(names[middle]!, from)
        if (order > 0 || isIncluding && order === 0) high = middle
        else low = middle + 1
      }
      return low < names.length ? at(low) : null
    },
    prepare(_request, varbinds) {
      for (const [index, { name, value }] of varbinds.entries()) {
        if (value.tag !== INTEGER) return { status: WRONG_TYPE, index }
        if (!cells.has(name.join('.'))) return { status: INCONSISTENT_NAME, index }
        if (value.value < 0) return { status: INCONSISTENT_VALUE, index }
      }
      const before = varbinds.map(({ name }) => [name.join('.'), cells.get(name.join('.'))!] as const)
      return {
        commit() {
          if (mib.failCommit) throw new Error('this commit fails')
          mib.commits++
          for (const { name, value } of varbinds) cells.set(name.join('.'), value.value as number)
          mib.onCommit()
          return mib.wait
        },
        undo() {
          if (mib.failUndo) throw new Error('this undo fails')
          mib.commits--
          for (const [name, value] of before) cells.set(name, value)
        },
      }
    },
  }
  return mib
}
