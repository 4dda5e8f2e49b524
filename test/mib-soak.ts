/**
 * Kills a box with SIGKILL in the middle of random SETs, again and again: after each start every row that an answer has promised is
 * there as it was promised, with its ports, and nothing else. A SET that was under way may have been carried out or not, as a whole.
 * `node build/test/mib-soak.js [ROUNDS] [SETS] [SEED]`; a short form is in mib-soak.test.ts.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as os from 'node:os'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'
import { createPrng } from '../src/base/prng.ts'

const MAIN = path.resolve('build/src/app/cli/main.js')
interface NpmVarbind { oid: string; type?: number; value: unknown }
interface NpmSession {
  set(varbinds: readonly NpmVarbind[], done: (error: Error | null, varbinds: NpmVarbind[]) => void): void
  get(oids: readonly string[], done: (error: Error | null, varbinds: NpmVarbind[]) => void): void
  subtree(oid: string, repetitions: number, feed: (varbinds: NpmVarbind[]) => void, done: (error: Error | null | undefined) => void): void
  close(): void
  on(event: 'error', listener: (error: Error) => void): void
}
const npm = createRequire(import.meta.url)('net-snmp') as {
  createV3Session(host: string, user: object, options: object): NpmSession
  SecurityLevel: { authPriv: number }
  AuthProtocols: Record<string, number>
  PrivProtocols: Record<string, number>
  ObjectType: { Integer: number; OctetString: number; Unsigned32: number }
}
const { Integer, OctetString, Unsigned32 } = npm.ObjectType

const COLUMN = '1.3.6.1.2.1.171.1.1.3.1'
const OPER = 5, STORAGE_TYPE = 6, STORAGE_TIME = 7, ADDRESS = 16, PORT = 18, OUTSIDE_PORT = 25, LIFETIME = 26
/** Of midcomRuleOperStatus: those that are compared. */
const RESERVED = 7, ENABLED = 8, OVER = 10
const ROWS = 60

/** What a row was promised to be. */
interface Row { oper: number; port: number; lifetimeSec: number; sinceMs: number; outsidePort: number | null }
/** null: it is not there after a restart. */
type Promised = Row | null

interface Box { child: ChildProcess; port: number }

async function start(folder: string): Promise<Box> {
  const child = spawn(process.execPath, [MAIN, 'run', '--simulate', '--quiet', '--seed', '1', '--config', 'box.yaml'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  for (let i = 0; i < 1200 && !stdout.includes('\n') && child.exitCode === null; i++) await new Promise((resolve) => { setTimeout(resolve, 25) })
  const port = Number(/snmp 127\.0\.0\.1:(\d+)/.exec(stdout)?.[1])
  if (!(port > 0)) throw new Error(`the box did not start: ${stdout}`)
  return { child, port }
}

function open(port: number): NpmSession {
  const session = npm.createV3Session('127.0.0.1', {
    name: 'lab', level: npm.SecurityLevel.authPriv, authProtocol: npm.AuthProtocols['sha256'], authKey: 'labauthpass',
    privProtocol: npm.PrivProtocols['aes'], privKey: 'labprivpass',
  }, { port, version: 3, retries: 0, timeout: 8000 })
  session.on('error', () => { /* each request says so itself */ })
  return session
}

export interface SoakReport { rounds: number; acknowledged: number; found: number; underWay: number; carriedOut: number }

/** @throws Error if a promise was not kept */
export async function soak(rounds: number, sets: number, seed: number): Promise<SoakReport> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-soak-'))
  const prng = createPrng(seed)
  const report: SoakReport = { rounds: 0, acknowledged: 0, found: 0, underWay: 0, carriedOut: 0 }
  const rows = new Map<number, Promised>()
  const started: ChildProcess[] = []
  try {
    const lab = spawnSync(process.execPath, [MAIN, 'init', '--lab'], { encoding: 'utf8' }).stdout
    fs.writeFileSync(path.join(folder, 'box.yaml'), lab.replace('listen: [127.0.0.1:7626]', 'listen: []').replace('listen: [127.0.0.1:1161]', 'listen: [127.0.0.1:0]'))
    let box = await start(folder)
    started.push(box.child)
    for (let round = 0; round < rounds; round++) {
      const session = open(box.port)
      const under = await disturb(box, session, rows, sets, prng, report)
      session.close()
      box = await start(folder)
      started.push(box.child)
      const again = open(box.port)
      await compare(again, rows, under, report)
      again.close()
      report.rounds++
    }
  } finally {
    for (const child of started) child.kill('SIGKILL')
    fs.rmSync(folder, { recursive: true, force: true })
  }
  return report
}

interface UnderWay { row: number; before: Promised; after: Promised }

/** SETs, eight at a time and never two for one row, until the box is killed in the midst of them. */
async function disturb(box: Box, session: NpmSession, rows: Map<number, Promised>, sets: number, prng: ReturnType<typeof createPrng>, report: SoakReport): Promise<UnderWay[]> {
  const killAfter = 1 + prng.below(sets)
  const under = new Map<number, UnderWay>()
  const volatile = new Set<number>()
  let sent = 0, answered = 0, isDead = false
  const closed = new Promise((resolve) => { box.child.once('close', resolve) })
  const name = (column: number, row: number) => `${COLUMN}.${column}.3.108.97.98.1.${row + 1}`
  const ask = (varbinds: readonly NpmVarbind[]) => new Promise<boolean>((resolve) => { session.set(varbinds, (error) => resolve(error === null || error === undefined)) })

  async function one(): Promise<void> {
    while (!isDead && sent < sets) {
      const row = prng.below(ROWS)
      if (under.has(row)) continue
      sent++
      const before = rows.get(row) ?? null
      const { varbinds, after, isVolatile } = next(row, before, volatile.has(row))
      under.set(row, { row, before, after })
      const isGood = await ask(varbinds)
      if (isDead) return
      if (!isGood) throw new Error(`a SET of row ${row + 1} was refused: ${JSON.stringify(varbinds)}`)
      if (after !== null) after.outsidePort ??= await outsidePort(row)
      if (isDead) return
      under.delete(row)
      rows.set(row, after)
      if (isVolatile) volatile.add(row)
      else volatile.delete(row)
      report.acknowledged++
      if (++answered === killAfter) {
        box.child.kill('SIGKILL')
        isDead = true
      }
    }
  }

  function outsidePort(row: number): Promise<number | null> {
    return new Promise((resolve) => { session.get([name(OUTSIDE_PORT, row)], (error, found) => resolve(error === null || error === undefined ? Number(found[0]!.value) : null)) })
  }

  function next(row: number, before: Promised, isThere: boolean): { varbinds: NpmVarbind[]; after: Promised; isVolatile: boolean } {
    const status = (value: number): NpmVarbind => ({ oid: name(27, row), type: Integer, value })
    const port = 1024 + prng.below(60_000), lifetimeSec = 100 + prng.below(3000)
    const sinceMs = Date.now()
    const what = prng.below(10)
    if (before === null && !isThere) {
      const isVolatile = what < 2, isEnabled = what % 2 === 0
      const varbinds: NpmVarbind[] = [
        status(4), { oid: name(STORAGE_TYPE, row), type: Integer, value: isVolatile ? 2 : 3 }, { oid: name(STORAGE_TIME, row), type: Unsigned32, value: 10_000 },
        { oid: name(12, row), type: Unsigned32, value: 17 }, { oid: name(ADDRESS, row), type: OctetString, value: Buffer.from([10, 0, 1, row + 1]) },
        { oid: name(PORT, row), type: Unsigned32, value: port }, { oid: name(19, row), type: OctetString, value: Buffer.from([198, 51, 100, 7]) },
        { oid: name(LIFETIME, row), type: Unsigned32, value: lifetimeSec }, { oid: name(4, row), type: Integer, value: isEnabled ? 2 : 1 },
      ]
      const after = { oper: isEnabled ? ENABLED : RESERVED, port, lifetimeSec, sinceMs, outsidePort: null }
      return { varbinds, after: isVolatile ? null : after, isVolatile }
    }
    if (before === null || what < 3 || before.oper === OVER) return { varbinds: [status(6)], after: null, isVolatile: false }
    if (what === 3) return { varbinds: [{ oid: name(STORAGE_TYPE, row), type: Integer, value: 2 }], after: null, isVolatile: true }
    if (what === 4) return { varbinds: [{ oid: name(LIFETIME, row), type: Unsigned32, value: 0 }], after: { ...before, oper: OVER, lifetimeSec: 0, outsidePort: 0 }, isVolatile: false }
    if (before.oper === RESERVED && what < 7) return { varbinds: [{ oid: name(4, row), type: Integer, value: 2 }], after: { ...before, oper: ENABLED }, isVolatile: false }
    return { varbinds: [{ oid: name(LIFETIME, row), type: Unsigned32, value: lifetimeSec }], after: { ...before, lifetimeSec, sinceMs }, isVolatile: false }
  }

  await Promise.all(Array.from({ length: 8 }, one))
  box.child.kill('SIGKILL')
  await closed
  return [...under.values()]
}

/** What is there is what was promised; what was under way is there as before or as after, and from now on counts as it is. */
async function compare(session: NpmSession, rows: Map<number, Promised>, under: readonly UnderWay[], report: SoakReport): Promise<void> {
  const cells = new Map<string, unknown>()
  for (const column of [OPER, STORAGE_TYPE, PORT, OUTSIDE_PORT, LIFETIME]) {
    await new Promise<void>((resolve, reject) => {
      session.subtree(`${COLUMN}.${column}`, 50, (varbinds) => { for (const { oid, value } of varbinds) cells.set(oid, value) },
        (error) => error === null || error === undefined ? resolve() : reject(error))
    })
  }
  const cell = (column: number, row: number) => cells.get(`${COLUMN}.${column}.3.108.97.98.1.${row + 1}`)
  for (let row = 0; row < ROWS; row++) {
    const doubt = under.find((one) => one.row === row)
    const allowed = doubt === undefined ? [rows.get(row) ?? null] : [doubt.before, doubt.after]
    if (doubt !== undefined) report.underWay++
    const fits = allowed.find((promised) => whyNot(promised, row) === null)
    if (fits === undefined) throw new Error(`row ${row + 1}: ${allowed.map((promised) => whyNot(promised, row)).join('; or ')}`)
    if (doubt !== undefined && fits === doubt.after) report.carriedOut++
    if (fits !== null) {
      report.found++
      fits.outsidePort ??= Number(cell(OUTSIDE_PORT, row))
    }
    rows.set(row, fits)
  }
  const many = [...cells.keys()].filter((oid) => oid.startsWith(`${COLUMN}.${OPER}.`)).length
  if (many !== [...rows.values()].filter((row) => row !== null).length) throw new Error(`${many} rows are there, which is not what was promised`)

  function whyNot(promised: Promised, row: number): string | null {
    const oper = cell(OPER, row)
    if (promised === null) return oper === undefined ? null : `it is there in state ${oper as number}`
    if (oper === undefined) return `it is gone, and was in state ${promised.oper}`
    if (oper !== promised.oper) return `it is in state ${oper as number}, and was in ${promised.oper}`
    if (cell(STORAGE_TYPE, row) !== 3 || cell(PORT, row) !== promised.port) return 'its columns are others'
    if (promised.outsidePort !== null && cell(OUTSIDE_PORT, row) !== promised.outsidePort) return `port ${cell(OUTSIDE_PORT, row) as number} in place of ${promised.outsidePort}`
    const left = cell(LIFETIME, row) as number, most = promised.lifetimeSec, least = most - (Date.now() - promised.sinceMs) / 1000 - 3
    return left <= most && left >= Math.max(0, least) ? null : `${left} s are left of ${most} s, and not ${Math.floor(least)} s`
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [rounds = 20, sets = 1000, seed = Date.now() % 1_000_000] = process.argv.slice(2).map(Number)
  console.log(`seed ${seed}`)
  console.log(await soak(rounds, sets, seed))
}
