/**
 * midcomRuleTable as RFC 5190 9 and docs/midcom-mib.md describe it, slow and obvious: rows are an array, columns a plain record,
 * every question looks through all of them, and a SET is judged one varbind at a time against literal lists. It has a policy core
 * of its own, which is asked the same things in the same order. How columns become a request is shared (asking.ts).
 */
import type { BookSession, Cause, Outcome, PolicyCore, SessionListener } from '../../../policy/api.ts'
import type { Rig } from '../../../policy/testing.ts'
import type { Value } from '../mib.ts'
import { enableRequest, failureOf, grantedOf, reserveRequest, wantedOf } from './asking.ts'
import { DEFAULTS, type Granted, type Wanted } from './rows.ts'

type Cell = number | string
interface ModelRow {
  owner: string; group: number; rule: number
  admin: number; state: number; storageType: number; storageTime: number; error: string; status: number
  wanted: Wanted; granted: Granted | null
  policyRule: number; removeAtMs: number; isAdopted?: boolean
}

const BOX = { nat: true, service: 1 }
/** Columns by number: tag, lowest and highest value (of octets: length), states in which they are written. */
const INT = 2, OCT = 4, UNS = 0x42, ANY = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], NEW = [1, 2], TO7 = [1, 2, 7], TO8 = [1, 2, 7, 8]
const WRITABLE: Record<number, [tag: number, low: number, high: number, states: number[]]> = {
  4: [INT, 1, 3, ANY], 6: [INT, 1, 5, ANY], 7: [UNS, 0, 2 ** 32 - 1, ANY], 9: [INT, 0, 2 ** 31 - 1, NEW], 10: [INT, 1, 3, TO7],
  11: [UNS, 0, 2 ** 32 - 1, TO7], 12: [UNS, 0, 255, NEW], 13: [INT, 1, 2, NEW], 14: [INT, 1, 4, NEW], 15: [INT, 1, 2, NEW],
  16: [OCT, 0, 255, NEW], 17: [UNS, 0, 2040, NEW], 18: [UNS, 0, 65535, NEW], 19: [OCT, 0, 255, TO7], 20: [UNS, 0, 2040, TO7],
  21: [UNS, 0, 65535, TO7], 26: [UNS, 0, 2 ** 32 - 1, TO8], 27: [INT, 1, 6, ANY],
}
const NAMES: Record<number, keyof Wanted> = {
  9: 'interface', 10: 'direction', 11: 'maxIdleSec', 12: 'protocol', 13: 'portRange', 14: 'internalVersion', 15: 'externalVersion',
  16: 'internalAddress', 17: 'internalPrefix', 18: 'internalPort', 19: 'externalAddress', 20: 'externalPrefix', 21: 'externalPort',
  26: 'lifetimeSec',
}
const OVER = [4, 6, 9, 10, 11, 12], LIVE = [7, 8]

/** What a varbind of the generator says; the OID is made of it. */
export interface Said {
  table: 'rule' | 'group'; column: number; owner: string; group: number; rule: number; value: Value; isBadIndex: boolean
}

export class TableModel {
  rows: ModelRow[] = []
  readonly notes: string[] = []
  readonly totals = new Array<number>(16).fill(0)
  private readonly rig: Rig
  private readonly core: PolicyCore
  private readonly causes = new Map<number, Cause>()
  private isOwn = false
  private readonly sessions = new Map<string, BookSession>()
  private readonly idleRows: number
  private readonly idleRowsPerOwner: number

  constructor(rig: Rig, { idleRows, idleRowsPerOwner }: { idleRows: number; idleRowsPerOwner: number }) {
    this.rig = rig
    this.idleRows = idleRows
    this.idleRowsPerOwner = idleRowsPerOwner
    this.core = rig.policy as PolicyCore
    this.core.book.watch((rule, lifetimeSec, cause) => {
      if (lifetimeSec === 0) this.causes.set(rule, cause)
      if (!this.isOwn) this.follow(rule, lifetimeSec)
    })
  }

  private book() { return this.core.book }

  /** Something happened at another door, or by itself. */
  private follow(rule: number, lifetimeSec: number): void {
    const row = this.rows.find(({ policyRule }) => policyRule === rule)
    if (lifetimeSec === 0) {
      if (row === undefined) return
      const cause = this.causes.get(rule)!
      const state = cause === 'agent' ? 10 : cause === 'expired' || cause === 'idle' ? 9 : 11
      this.end(row, state, 'unsolicited')
      return
    }
    const status = this.book().describe(rule)
    if (status === undefined || status.action === 'disable') return
    if (row === undefined) {
      const shown = this.rows.find((other) => other.owner === status.owner && LIVE.includes(other.state)
        && (this.book().describe(other.policyRule) as { group: number }).group === status.group)
      let group = shown?.group ?? 2 ** 31 + status.group
      while (shown === undefined && this.rows.some((other) => other.owner === status.owner && other.group === group)) group++
      let index = 2 ** 31 + rule
      while (this.rows.some((other) => other.owner === status.owner && other.group === group && other.rule === index)) index++
      this.rows.push({
        owner: status.owner, group, rule: index, storageType: 2, storageTime: 0, error: '', status: 1, removeAtMs: Infinity,
        admin: status.action === 'reserve' ? 1 : 2, state: status.action === 'reserve' ? 7 : 8, policyRule: rule,
        isAdopted: true,
        wanted: wantedOf(status), granted: grantedOf(status, BOX),
      })
      return
    }
    if (status.action === 'enable' && row.state === 7) {
      row.state = 8
      if (row.isAdopted === true) row.admin = 2
      row.wanted = wantedOf(status, row.wanted)
      row.granted = grantedOf(status, BOX)
    }
    this.note('unsolicited', row, status.lifetimeSec)
  }

  private note(event: string, row: ModelRow, lifetimeSec: number, state = row.state): void {
    this.notes.push(`${event} ${indexOf(row.owner, row.group, row.rule)} ${state} ${lifetimeSec}`)
  }

  private end(row: ModelRow, state: number, event: string | null): void {
    const base = row.state === 8 ? 10 : 4
    if (LIVE.includes(row.state)) this.totals[base + (state === 9 ? 3 : state === 10 ? 4 : 5)]!++
    if (event !== null) this.note(event, row, 0, state)
    row.state = state
    row.policyRule = 0
    row.granted = null
    row.removeAtMs = this.rig.nowMs + row.storageTime * 1000
    if (row.storageTime === 0) this.rows = this.rows.filter((other) => other !== row)
  }

  /** Time has passed. */
  settle(): void {
    this.rig.policy.advance(this.rig.nowMs, 1000)
    this.rows = this.rows.filter(({ removeAtMs }) => removeAtMs > this.rig.nowMs)
  }

  private find({ owner, group, rule }: Said): ModelRow | undefined {
    return this.rows.find((row) => row.owner === owner && row.group === group && row.rule === rule)
  }

  private judge(agent: string, all: readonly Said[], i: number): number {
    const said = all[i]!, { value, column } = said
    if (!said.isBadIndex && agent !== said.owner && agent !== 'root') return 6
    if (said.table === 'group') {
      if (column !== 3) return 17
      if (value.tag !== UNS) return 7
      if (said.isBadIndex) return 11
      const before = all.slice(0, i).find((other) => other.table === 'group' && isSameCell(other, said))
      if (before !== undefined) return text(before.value) === text(value) ? 0 : 12
      return this.rows.some((row) => row.owner === said.owner && row.group === said.group) ? 0 : 18
    }
    const form = WRITABLE[column]
    if (form === undefined) return 17
    const [tag, low, high, states] = form
    if (value.tag !== tag) return 7
    const size = tag === OCT ? (value.value as Uint8Array).length : Number(value.value)
    if (tag === OCT && size > high) return 8
    if (size < low || size > high || (column === 27 && size === 3)) return 10
    if (said.isBadIndex) return 11
    const before = all.slice(0, i).find((other) => other.table === 'rule' && isSameCell(other, said))
    if (before !== undefined) return text(before.value) === text(value) ? 0 : 12
    const row = this.find(said)
    const isMade = all.some((other) => other.table === 'rule' && !other.isBadIndex && other.column === 27 && isSameRow(other, said)
      && (other.value.value === 4 || other.value.value === 5))
    if (column === 27) {
      if (row === undefined && size !== 4 && size !== 5 && (size !== 6 || isMade)) return 12
    } else if (row === undefined && !isMade) return 18
    const isFirst = !all.slice(0, i).some((other) => other.table === 'rule' && isSameRow(other, said))
    if (row === undefined && isFirst && !(column === 27 && size === 6) && !this.hasRoom(all.slice(0, i + 1))) return 13
    if (column === 27) return row !== undefined && (size === 4 || size === 5) ? 12 : 0
    const state = row?.state ?? 1
    if (!states.includes(state)) return 12
    if (column === 4) {
      if (size === 3) return 12
      if (OVER.includes(state)) return 12
      if (state === 8 && size === 1) return 12
    }
    if (column === 6 && size !== 2) return 12
    return 0
  }

  /** For all rows that these name and that are not there: rows that are over give way. */
  private hasRoom(named: readonly Said[]): boolean {
    const made = new Map<string, string>()
    for (const said of named) {
      const isNew = said.table === 'rule' && this.find(said) === undefined && !(said.column === 27 && said.value.value === 6)
      if (isNew) made.set(indexOf(said.owner, said.group, said.rule), said.owner)
    }
    const last = named.at(-1)!.owner
    const incomplete = this.rows.filter(({ state }) => !LIVE.includes(state) && !OVER.includes(state)).map(({ owner }) => owner)
    const then = [...incomplete, ...made.values()]
    return then.length <= this.idleRows && then.filter((owner) => owner === last).length <= this.idleRowsPerOwner
  }

  private make({ owner, group, rule }: Said): void {
    const idle = this.rows.filter(({ state }) => !LIVE.includes(state))
    const own = idle.filter((row) => row.owner === owner)
    const giving = own.length >= this.idleRowsPerOwner ? own : idle.length >= this.idleRows ? idle : []
    const over = giving.filter(({ state }) => OVER.includes(state))
    const first = over.find(({ removeAtMs }) => over.every((other) => removeAtMs <= other.removeAtMs))
    this.rows = this.rows.filter((row) => row !== first)
    this.rows.push({
      owner, group, rule, admin: 3, state: 1, storageType: 2, storageTime: 0, error: '', status: 1, wanted: DEFAULTS, granted: null,
      policyRule: 0, removeAtMs: Infinity,
    })
  }

  set(agent: string | null, all: readonly Said[]): [number, number] {
    this.settle()
    if (agent === null) return [6, 1]
    const made = new Set(all.filter((said) => said.table === 'rule' && !said.isBadIndex && said.column === 27
      && (said.value.value === 4 || said.value.value === 5) && this.find(said) === undefined)
      .map((said) => indexOf(said.owner, said.group, said.rule)))
    for (let i = 0; i < all.length; i++) {
      const status = this.judge(agent, all, i)
      if (status === 0) continue
      this.totals[2]! += made.size
      return [status, i + 1]
    }
    // Rows in the order in which they are named, with what is written to each.
    const cells = new Map<string, { said: Said; row: ModelRow | undefined; written: Map<number, Value>; at: number }>()
    const changes: { at: number; row?: ModelRow; said?: Said; value: number }[] = []
    all.forEach((said, at) => {
      if (said.table === 'group') {
        const isAgain = changes.some((other) => other.said !== undefined && isSameCell(other.said, said))
        if (!isAgain) changes.push({ at, said, value: Number(said.value.value) })
        return
      }
      if (said.column === 27 && said.value.value === 6 && this.find(said) === undefined) return
      const key = indexOf(said.owner, said.group, said.rule)
      const one = cells.get(key) ?? { said, row: this.find(said), written: new Map<number, Value>(), at }
      one.written.set(said.column, said.value)
      cells.set(key, one)
    })
    for (const { row, written, at } of cells.values()) {
      const isDestroyed = written.get(27)?.value === 6
      const asks = this.asks(row, written)
      if (isDestroyed && asks !== 0) return [12, at + 1]
      const where = (column: number) =>
        all.findIndex((said) => said.table === 'rule' && said.column === column && this.find(said) === row)
      if (isDestroyed && row !== undefined && LIVE.includes(row.state)) changes.push({ at, row, value: 0 })
      else if (row !== undefined && asks === 0 && !isDestroyed && LIVE.includes(row.state) && written.has(26)) {
        changes.push({ at: where(26), row, value: Number(written.get(26)!.value) })
      }
    }
    changes.sort((a, b) => a.at - b.at)
    const session = this.session(agent)
    for (const { at, row, said, value } of changes) {
      const group = said === undefined ? 0 : this.policyGroup(said)
      if (said !== undefined && group === 0) continue
      if (session.refusal([{ rule: row?.policyRule ?? 0, group, lifetimeSec: value }]) !== null) return [12, at + 1]
    }

    for (const { said, row, written } of cells.values()) if (row === undefined && written.get(27)?.value !== 6) this.make(said)
    this.isOwn = true
    const groupsOf = new Map(changes.map((change) => [change, change.said === undefined ? 0 : this.policyGroup(change.said)]))
    const granted = changes.map((change) => {
      const { row, said, value } = change
      if (said === undefined) return valueOf(session.changeLifetime(row!.policyRule, value))
      const group = groupsOf.get(change)!
      return group === 0 ? 0 : valueOf(session.changeGroupLifetime(group, value))
    })
    for (const { said, row, written } of cells.values()) this.write(said, row, written)
    changes.forEach(({ row, said }, i) => {
      const lifetimeSec = granted[i]!
      if (said !== undefined) {
        this.notes.push(`group ${indexOf(said.owner, said.group, 0).replace(/\.0$/, '')} ${lifetimeSec}`)
        if (lifetimeSec > 0) return
        const members = this.rows.filter((other) => other.owner === said.owner && other.group === said.group)
        for (const member of members) if (LIVE.includes(member.state)) this.end(member, 10, null)
      } else if (LIVE.includes(row!.state)) {
        if (lifetimeSec === 0) this.end(row!, 10, 'solicited')
        else this.note('solicited', row!, lifetimeSec)
      }
    })
    for (const { row, written } of cells.values()) {
      if (written.get(27)?.value === 6) this.rows = this.rows.filter((other) => other !== row)
    }
    for (const { said, row, written } of cells.values()) {
      const asks = this.asks(row, written)
      const it = this.find(said)
      if (asks !== 0 && it !== undefined && !OVER.includes(it.state)) this.ask(session, it, asks, written.has(26))
    }
    this.isOwn = false
    return [0, 0]
  }

  /** What is asked for: 1 reserve, 2 enable, 0 nothing. */
  private asks(row: ModelRow | undefined, written: ReadonlyMap<number, Value>): number {
    const admin = Number(written.get(4)?.value ?? 0)
    const state = row?.state ?? 1
    if (admin === 0 || state === 8 || (state === 7 && admin === 1)) return 0
    return admin
  }

  private policyGroup({ owner, group }: Said): number {
    const member = this.rows.find((row) => row.owner === owner && row.group === group && LIVE.includes(row.state))
    return member === undefined ? 0 : (this.book().describe(member.policyRule) as { group: number } | undefined)?.group ?? 0
  }

  private session(agent: string): BookSession {
    const known = this.sessions.get(agent)
    if (known !== undefined) return known
    const listener: SessionListener = { ruleEvent() {}, groupEvent() {}, terminated() {} }
    const session = (this.book().openSession(agent, listener) as { value: BookSession }).value
    this.sessions.set(agent, session)
    return session
  }

  private write(said: Said, before: ModelRow | undefined, written: ReadonlyMap<number, Value>): void {
    if (written.get(27)?.value === 6) return
    const row = this.find(said)
    // One that was over may have given way to those that are new.
    if (row === undefined) return
    const asks = this.asks(before, written)
    for (const [column, { value }] of written) {
      if (column === 27) row.status = value === 4 ? 1 : value === 5 ? 2 : Number(value)
      else if (row.state === 1) row.state = 2
      if (column === 4 && asks !== 0) row.admin = Number(value)
      if (column === 7) {
        row.storageTime = Number(value)
        if (OVER.includes(row.state)) row.removeAtMs = this.rig.nowMs + row.storageTime * 1000
      }
      const name = NAMES[column]
      if (name !== undefined) row.wanted = { ...row.wanted, [name]: value instanceof Uint8Array ? Uint8Array.from(value) : value }
    }
    this.rows = this.rows.filter(({ removeAtMs }) => removeAtMs > this.rig.nowMs)
  }

  private ask(session: BookSession, row: ModelRow, asks: number, hasLifetime: boolean): void {
    row.error = ''
    if (row.policyRule !== 0 && !hasLifetime) row.wanted = { ...row.wanted, lifetimeSec: this.book().lifetimeSec(row.policyRule) }
    const group = this.policyGroup({ owner: row.owner, group: row.group } as Said)
    const request = asks === 2 ? enableRequest(row.wanted, row.policyRule, group, BOX) : reserveRequest(row.wanted, group, BOX)
    const outcome = 'text' in request ? request
      : 'direction' in request ? session.enableFor(row.owner, request) : session.reserveFor(row.owner, request)
    if (outcome instanceof Promise) throw new Error('the authorizer answers at once here')
    const failure = 'text' in outcome ? outcome : outcome.ok ? null : failureOf(outcome.reason)
    if (failure !== null) {
      const base = asks === 2 ? 10 : 4
      if (failure.state === 4) this.totals[base]!++
      if (failure.state === 6) this.totals[base + 1]!++
      row.error = failure.text
      if (row.policyRule !== 0) this.note('solicited', row, this.book().lifetimeSec(row.policyRule))
      else this.end(row, failure.state, 'solicited')
      return
    }
    const { value } = outcome as { ok: true; value: { rule: number; lifetimeSec: number } }
    row.policyRule = value.rule
    row.state = asks === 2 ? 8 : 7
    row.granted = grantedOf(this.book().describe(value.rule)!, BOX)
    this.note('solicited', row, value.lifetimeSec)
  }

  /** All instances of the two tables, by column and in order. */
  cells(): [string, Cell][] {
    this.settle()
    const rows = [...this.rows].sort((a, b) => compareOwners(a.owner, b.owner) || a.group - b.group || a.rule - b.rule)
    const found: [string, Cell][] = []
    for (let column = 4; column <= 27; column++) {
      for (const row of rows) found.push([`3.1.${column}.${indexOf(row.owner, row.group, row.rule)}`, this.cell(row, column)])
    }
    const groups = [...new Set(rows.map(({ owner, group }) => `${indexOf(owner, group, 0).replace(/\.0$/, '')}`))]
    for (const group of groups) {
      const members = rows.filter((row) => `${indexOf(row.owner, row.group, 0).replace(/\.0$/, '')}` === group)
      found.push([`4.1.3.${group}`, Math.max(0, ...members.map(({ policyRule }) => this.book().lifetimeSec(policyRule)))])
    }
    return found
  }

  private cell(row: ModelRow, column: number): Cell {
    const name = NAMES[column]
    const hex = (octets: Uint8Array | undefined) => Buffer.from(octets ?? []).toString('hex')
    switch (column) {
      case 4: return row.admin
      case 5: return row.state
      case 6: return row.storageType
      case 7: return OVER.includes(row.state) ? Math.ceil((row.removeAtMs - this.rig.nowMs) / 1000) : row.storageTime
      case 8: return hex(Buffer.from(row.error))
      case 9: return row.granted?.interface ?? row.wanted.interface
      case 22: return hex(row.granted?.insideAddress)
      case 23: return row.granted?.insidePort ?? 0
      case 24: return hex(row.granted?.outsideAddress)
      case 25: return row.granted?.outsidePort ?? 0
      case 26: {
        if (LIVE.includes(row.state)) return this.book().lifetimeSec(row.policyRule)
        return OVER.includes(row.state) ? 0 : row.wanted.lifetimeSec
      }
      case 27: return row.status
      default: {
        const value = row.wanted[name!]
        return typeof value === 'number' ? value : hex(value)
      }
    }
  }

  /** midcomStatistics 1 to 15. */
  statistics(): number[] {
    this.settle()
    const count = (...states: number[]) => this.rows.filter(({ state }) => states.includes(state)).length
    const all = this.totals.slice()
    all[1] = new Set(this.rows.map(({ owner }) => owner)).size
    all[3] = count(1, 2)
    all[6] = count(7)
    all[12] = count(8)
    return all.slice(1)
  }
}

function valueOf(outcome: Outcome<{ lifetimeSec: number }> | Promise<unknown>): number {
  if (outcome instanceof Promise || !outcome.ok) return 0
  return outcome.value.lifetimeSec
}
function text({ value }: Value): string { return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value) }
function isSameRow(a: Said, b: Said): boolean { return a.owner === b.owner && a.group === b.group && a.rule === b.rule }
function isSameCell(a: Said, b: Said): boolean {
  return !a.isBadIndex && !b.isBadIndex && a.column === b.column && a.owner === b.owner && a.group === b.group
    && (a.table === 'group' || a.rule === b.rule)
}
function compareOwners(a: string, b: string): number { return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0) }
export function indexOf(owner: string, group: number, rule: number): string {
  return [owner.length, ...Buffer.from(owner), group, rule].join('.')
}
