/** The MIDCOM-MIB over a real policy core, without messages: for tests. */
import type { PolicyCore } from '../../../policy/api.ts'
import type { Journal, JournalChange } from '../../../policy/journal.ts'
import { createRig, type Rig, type RigOptions } from '../../../policy/testing.ts'
import {
  COMMIT_FAILED, NO_ERROR, NO_SUCH_INSTANCE_TAG, NO_SUCH_OBJECT_TAG, NotUndone, UNDO_FAILED,
  isFault, integer, octets, type MibModule, type Notification,
  type Request, type Value, type Varbind,
} from '../mib.ts'
import { oidText, type Oid } from '../oid.ts'
import { createBacklog, type Backlog } from '../backlog.ts'
import { createBinds, type Binds } from '../nat/binds.ts'
import { midcomMib } from './module.ts'
import { CREATE_AND_GO, GROUP_ENTRY, RULE_ENTRY, ROW_STATUS } from './objects.ts'

export function index(owner: string, ...numbers: number[]): number[] {
  const bytes = [...Buffer.from(owner)]
  return [bytes.length, ...bytes, ...numbers]
}
export function cell(column: number, owner: string, group: number, rule: number): Oid {
  return [...RULE_ENTRY, column, ...index(owner, group, rule)]
}
export function groupCell(owner: string, group: number): Oid { return [...GROUP_ENTRY, 3, ...index(owner, group)] }
export function ip4(text: string): Value { return octets(Uint8Array.from(text.split('.').map(Number))) }

/** A journal in memory; `lost` holds what was not yet written when it is told to hold back. */
export class MemoryJournal implements Journal {
  readonly entries: Map<string, string>
  isStuck = false
  isBroken = false
  writes = 0
  private waiting: (() => void)[] = []
  constructor(entries: ReadonlyMap<string, string> = new Map()) { this.entries = new Map(entries) }
  write(changes: readonly JournalChange[]): Promise<void> {
    this.writes++
    if (this.isBroken) return Promise.reject(new Error('no space left on device'))
    const apply = () => {
      for (const { key, text } of changes) {
        if (text === null) this.entries.delete(key)
        else this.entries.set(key, text)
      }
    }
    if (!this.isStuck) {
      apply()
      return Promise.resolve()
    }
    return new Promise((resolve) => { this.waiting.push(() => { apply(); resolve() }) })
  }
  release(): void { for (const one of this.waiting.splice(0)) one() }
}

export interface MibRig {
  rig: Rig
  policy: PolicyCore
  backlog: Backlog
  binds: Binds
  module: MibModule
  /** As `solicited 5.97… 8 60`, since the last call. */
  notes(): string[]
  notifications: Notification[]
  logged: string[]
  wallMs: number
  get(name: Oid, agent?: string | null): number | string | null
  /** error-status and, from 1 on, error-index. */
  set(varbinds: readonly [Oid, Value][], agent?: string | null): Promise<[number, number]>
  /** The same for a row that is to be made with these columns. */
  make(owner: string, group: number, rule: number, columns: readonly [number, Value][], agent?: string): Promise<[number, number]>
  walk(from: Oid): Varbind[]
  request(agent: string | null): Request
}

export function plain(value: Value): number | string | null {
  if (value.tag === NO_SUCH_OBJECT_TAG) return 'noSuchObject'
  if (value.tag === NO_SUCH_INSTANCE_TAG) return 'noSuchInstance'
  if (value.value instanceof Uint8Array) return Buffer.from(value.value).toString('hex')
  if (Array.isArray(value.value)) return oidText(value.value as Oid)
  return value.value === null ? null : Number(value.value)
}

export interface MibRigOptions extends RigOptions {
  journal?: Journal | null
  wallMs?: number
  idleRows?: number
  idleRowsPerOwner?: number
  startMs?: number
  /** false: nobody is told of anything. */
  hasTargets?: boolean
}

export function createMibRig(
  {
    journal = null, wallMs = 1.7e12, idleRows = 1000, idleRowsPerOwner = 100, startMs, hasTargets = true, ...options
  }: MibRigOptions = {},
): MibRig {
  const rig = createRig(options)
  if (startMs !== undefined) {
    rig.nowMs = startMs
    rig.policy.advance(startMs, 1)
  }
  const policy = rig.policy as PolicyCore
  const notifications: Notification[] = []
  const logged: string[] = []
  const zeroMs = rig.nowMs
  const backlog = createBacklog(policy.book), binds = createBinds(policy.book, backlog)
  const factory = midcomMib({
    policy, backlog, binds, journal, idleRows, idleRowsPerOwner,
    advance: () => { rig.policy.advance(rig.nowMs, 1000) }, wake() {}, nowMs: () => rig.nowMs,
    wallMs: () => wallMs + rig.nowMs - zeroMs, log: (line) => logged.push(line),
  })
  const module = factory({ hasTargets, notify: (one) => notifications.push(one), upTimeTicks: () => 0 })
  const request = (agent: string | null): Request => ({
    securityName: agent ?? 'nobody', securityLevel: 3, contextName: '', agent, canRead: () => true, canWrite: () => true,
  })

  async function set(varbinds: readonly [Oid, Value][], agent: string | null = 'alice'): Promise<[number, number]> {
    const plan = module.prepare!(request(agent), varbinds.map(([name, value]) => ({ name, value })))
    if (isFault(plan)) return [plan.status, plan.index + 1]
    try {
      await plan.commit()
    } catch (error) {
      return [error instanceof NotUndone ? UNDO_FAILED : COMMIT_FAILED, 0]
    }
    return [NO_ERROR, 0]
  }

  return {
    rig, policy, backlog, binds, module, notifications, logged, set, request,
    get wallMs() { return wallMs + rig.nowMs - zeroMs },
    notes: () => notifications.splice(0).map(({ name, varbinds }) => {
      const event = ['', 'unsolicited', 'solicited', 'group'][name.at(-1)!]
      const index = oidText(varbinds[0]!.name.slice(RULE_ENTRY.length + 1))
      return [event, index, ...varbinds.map(({ value }) => plain(value))].join(' ')
    }),
    get: (name, agent = 'alice') => plain(module.get(request(agent), name)),
    make: (owner, group, rule, columns, agent = owner) => set([
      [cell(ROW_STATUS, owner, group, rule), integer(CREATE_AND_GO)],
      ...columns.map(([column, value]): [Oid, Value] => [cell(column, owner, group, rule), value]),
    ], agent),
    walk(from) {
      const found: Varbind[] = []
      for (let at = module.next(request('root'), from, true); at !== null; at = module.next(request('root'), at.name, false)) {
        if (from.some((subId, i) => at!.name[i] !== subId)) break
        found.push(at)
      }
      return found
    },
  }
}

