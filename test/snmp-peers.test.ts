/** The SNMP engine against others: Debian's net-snmp, and the npm package net-snmp, over loopback. */
import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { AUTH_NAMES, PRIV_NAMES } from '../src/control/snmp/keys.ts'
import { integer } from '../src/control/snmp/mib.ts'
import type { ModuleFactory, Notification } from '../src/control/snmp/mib.ts'
import { createSnmpServer, type SnmpServer, type SnmpServerOptions, type SnmpTarget, type SnmpUser } from '../src/control/snmp/server.ts'
import { createTestMib, memoryStore, openAccess, TEST_ROOT, type TestMib } from '../src/control/snmp/testing.ts'

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-snmp-'))
after(() => fs.rmSync(dir, { recursive: true }))
// The first tool to run would make it, and say so.
fs.mkdirSync(path.join(dir, 'cert_indexes'))

/** No MIB files are needed, and no state is kept. */
const ENV = { ...process.env, MIBS: '', SNMP_PERSISTENT_DIR: dir, SNMPCONFPATH: dir }
const PASSWORDS = ['-A', 'labauthpass', '-X', 'labprivpass']

const installed = ['snmpget', 'snmptrapd'].every((tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined)
const options = { skip: !installed && process.env['CI'] === undefined ? 'snmp and snmptrapd are not installed' : false }

function user(name: string, more: Partial<SnmpUser> = {}): SnmpUser {
  return { name, auth: 'SHA-256', authPassword: 'labauthpass', priv: 'AES', privPassword: 'labprivpass', agent: name, ...more }
}

interface Box { port: number; server: SnmpServer; mib: TestMib; notify: (notification: Notification) => void }

async function serve(t: { after: (end: () => Promise<void>) => void }, more: Partial<SnmpServerOptions> = {}, rows = 100): Promise<Box> {
  const mib = createTestMib(rows), users = more.users ?? [user('lab')]
  let notify: Box['notify'] = () => { /* set below */ }
  const factory: ModuleFactory = (originator) => {
    notify = (notification) => originator.notify(notification)
    return mib
  }
  const server = createSnmpServer({
    listeners: [{ host: '127.0.0.1', port: 0 }], users, access: openAccess(users.map(({ name }) => name)), store: memoryStore(),
    modules: [factory], system: { description: 'a box', contact: 'me', name: 'box', location: 'here' }, ...more,
  })
  const [{ port }] = await server.listen()
  t.after(() => server.close())
  return { port, server, mib, notify }
}

/** Runs one of net-snmp's tools. What it says on both streams, and its status. */
function run(tool: string, args: readonly string[]): Promise<{ status: number | null; text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, { env: ENV, stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000 })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => { text += part })
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, text }))
  })
}

const SYS_DESCR = '.1.3.6.1.2.1.1.1.0', CELL = `.${TEST_ROOT.join('.')}.1.1`
const client = (port: number, name = 'lab', more: readonly string[] = ['-a', 'SHA-256', '-x', 'AES']) => {
  return ['-v3', '-l', 'authPriv', '-u', name, ...more, ...PASSWORDS, '-r0', '-t5', '-On', `udp:127.0.0.1:${port}`]
}

test('net-snmp: every authentication and both encryptions agree with ours', options, async (t) => {
  const users = AUTH_NAMES.flatMap((auth) => PRIV_NAMES.map((priv) => user(`${auth} ${priv}`, { auth, priv })))
  const { port } = await serve(t, { users })
  const wrong: string[] = []
  for (const { name, auth, priv } of users) {
    const { text } = await run('snmpget', [...client(port, name, ['-a', auth, '-x', priv]), SYS_DESCR])
    if (text !== `${SYS_DESCR} = STRING: "a box"\n`) wrong.push(`${name}: ${text}`)
  }
  assert.deepEqual(wrong, [])
})

test('net-snmp: get, next, bulk, walk and set, in the shapes that it knows', options, async (t) => {
  const { port, mib, server } = await serve(t)
  const on = (tool: string, ...args: string[]) => run(tool, [...client(port), ...args]).then(({ text }) => text)
  assert.equal(await on('snmpget', `${CELL}.3`, `${CELL}.999`, '.1.3.9'), `${CELL}.3 = INTEGER: 2\n${CELL}.999 = No Such Instance currently exists at this OID\n.1.3.9 = No Such Object available on this agent at this OID\n`)
  assert.equal(await on('snmpgetnext', `${CELL}.3`, `${CELL}.100`), `${CELL}.4 = INTEGER: 3\n.1.3.6.1.6.3.1.1.6.1.0 = INTEGER: 0\n`)
  const bulk = await run('snmpbulkget', ['-Cn1', '-Cr2', ...client(port), SYS_DESCR, `${CELL}.3`, `${CELL}.5`])
  assert.deepEqual(bulk.text.trim().split('\n').map((line) => line.split(' = ')[0]), ['.1.3.6.1.2.1.1.2.0', `${CELL}.4`, `${CELL}.6`, `${CELL}.5`, `${CELL}.7`])
  const walked = (await on('snmpwalk', CELL)).trim().split('\n')
  assert.deepEqual([walked.length, walked[99]], [100, `${CELL}.100 = INTEGER: 99`])
  assert.deepEqual((await on('snmpbulkwalk', CELL)).trim().split('\n'), walked)
  assert.equal(await on('snmpset', `${CELL}.1`, 'i', '7', `${CELL}.2`, 'i', '8'), `${CELL}.1 = INTEGER: 7\n${CELL}.2 = INTEGER: 8\n`)
  assert.match(await on('snmpset', `${CELL}.1`, 'i', '9', `${CELL}.2`, 'i', '-1'), /Reason: inconsistentValue.*\nFailed object: \S+\.1\.1\.2\n/)
  assert.match(await on('snmpset', `${CELL}.1`, 's', 'x'), /Reason: wrongType/)
  assert.match(await on('snmpset', SYS_DESCR, 's', 'x'), /Reason: notWritable/)
  assert.deepEqual([mib.cells.get(`${CELL.slice(1)}.1`), mib.commits], [7, 1])
  assert.equal(server.counters['in-set-requests'], 4)
  // The whole tree is in order, or the walk would say so and stop.
  const all = await on('snmpbulkwalk', '-Cc', '.1')
  assert.doesNotMatch(all, /Error|not increasing/)
  assert.ok(all.split('\n').length > 180, all)
})

test('net-snmp: who may not come in is told what it understands', options, async (t) => {
  const { port, server } = await serve(t)
  const get = (...args: string[]) => run('snmpget', [...args, '-r0', '-t2', `udp:127.0.0.1:${port}`, SYS_DESCR]).then(({ text }) => text.trim())
  const known = ['-v3', '-u', 'lab', '-a', 'SHA-256', '-x', 'AES']
  assert.match(await get(...known, '-l', 'authPriv', '-A', 'wrongpassword', '-X', 'labprivpass'), /Authentication failure/)
  assert.match(await get(...known, '-l', 'authPriv', '-A', 'labauthpass', '-X', 'wrongpassword'), /Decryption error|Timeout/)
  assert.match(await get('-v3', '-u', 'nobody', '-a', 'SHA-256', '-x', 'AES', '-l', 'authPriv', ...PASSWORDS), /Unknown user name/)
  assert.match(await get(...known, '-l', 'authNoPriv', '-A', 'labauthpass'), /authorizationError/)
  assert.match(await get('-v3', '-u', 'lab', '-l', 'noAuthNoPriv'), /authorizationError/)
  assert.match(await get(...known, '-l', 'authPriv', ...PASSWORDS, '-n', 'nowhere'), /Bad context|[Uu]nknown context/)
  for (const version of ['1', '2c']) assert.match(await get('-v', version, '-c', 'public'), /Timeout/)
  const { counters } = server
  assert.deepEqual([counters.usmStatsWrongDigests, counters.usmStatsDecryptionErrors, counters.usmStatsUnknownUserNames, counters.snmpUnknownContexts, counters['drop-old-version-messages']], [1, 1, 1, 1, 2])
})

test('net-snmp: other engines, contexts and times are told what it understands, and what it can mend it mends', options, async (t) => {
  const { port, server } = await serve(t), { counters } = server
  const get = async (...args: string[]) => (await run('snmpget', [...client(port).slice(0, -1), ...args, `udp:127.0.0.1:${port}`, SYS_DESCR])).text.trim()
  const value = `${SYS_DESCR} = STRING: "a box"`, own = Buffer.from(server.engineId).toString('hex'), other = '80007ed90500000099'
  assert.equal(await get('-n', 'other'), value)
  // Who is told the engine does not ask for its time: a report says what that is, instead of none and of a wrong one.
  assert.equal(await get('-e', `0x${own}`, '-E', `0x${own}`), value)
  assert.equal(counters.usmStatsNotInTimeWindows, 1)
  assert.equal(await get('-e', `0x${own}`, '-Z', '77,5'), value)
  assert.equal(counters.usmStatsNotInTimeWindows, 2)
  assert.equal(await get('-e', `0x${other}`), 'snmpget: Unknown engine ID')
  // That is its word for snmpUnknownPDUHandlers.
  assert.equal(await get('-E', `0x${other}`), 'snmpget: Bad version specified')
  // One is the wrong identity, two are discoveries, of those who were not told whom they ask.
  assert.deepEqual([counters.usmStatsUnknownEngineIDs, counters.snmpUnknownPDUHandlers, counters.usmStatsNotInTimeWindows], [3, 1, 2])
})

test('net-snmp: IPv6, and several doors at once', options, async (t) => {
  const mib = createTestMib()
  const server = createSnmpServer({
    listeners: [{ host: '::1', port: 0 }, { host: '127.0.0.1', port: 0 }], users: [user('lab')], access: openAccess(['lab']), store: memoryStore(),
    modules: [() => mib], system: { description: 'a box', contact: '', name: '', location: '' },
  })
  const [six, four] = await server.listen()
  t.after(() => server.close())
  for (const door of [`udp6:[::1]:${six!.port}`, `udp:127.0.0.1:${four!.port}`]) {
    const { text } = await run('snmpget', [...client(0).slice(0, -1), door, SYS_DESCR])
    assert.equal(text, `${SYS_DESCR} = STRING: "a box"\n`)
  }
})

/** A UDP port that nobody uses now. */
async function freePort(): Promise<number> {
  const probe = createSocket('udp4')
  await new Promise<void>((resolve) => { probe.bind(0, '127.0.0.1', resolve) })
  const { port } = probe.address()
  await new Promise<void>((resolve) => { probe.close(resolve) })
  return port
}

/** snmptrapd until the test ends; what it has logged. */
async function trapd(t: { after: (end: () => void) => void }, port: number, config: string): Promise<() => string> {
  fs.writeFileSync(path.join(dir, `trapd-${port}.conf`), config)
  const child: ChildProcess = spawn('snmptrapd', ['-f', '-On', '-Lo', '-F', '%V|%v\n', '-C', '-c', path.join(dir, `trapd-${port}.conf`), `udp:127.0.0.1:${port}`], { env: ENV })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (part: string) => { text += part })
  await until(() => /NET-SNMP version/.test(text), () => text)
  return () => text
}

async function until(is: () => boolean, why: () => string): Promise<void> {
  for (let n = 0; n < 1000; n++) {
    if (is()) return
    await new Promise((resolve) => { setTimeout(resolve, 10) })
  }
  assert.fail(why())
}

test('snmptrapd: takes our traps by our engine, and our informs by its own, and confirms these', options, async (t) => {
  const port = await freePort(), store = memoryStore(), id = Buffer.from(store.engineId).toString('hex')
  const keys = 'SHA-256 labauthpass AES labprivpass'
  const said = await trapd(t, port, `createUser -e 0x${id} lab ${keys}\ncreateUser lab ${keys}\nauthUser log lab priv\n`)
  const target = (name: string, type: SnmpTarget['type']): SnmpTarget => ({ name, type, host: '127.0.0.1', port, user: 'lab', timeoutMs: 3000, retries: 2, isOn: true })
  const { notify, server } = await serve(t, { store, targets: [target('t', 'trap'), target('i', 'inform')] })
  notify({ name: [1, 3, 6, 1, 2, 1, 171, 0, 2], varbinds: [{ name: [...TEST_ROOT, 1, 1, 4_294_967_295], value: integer(8) }] })
  await until(() => server.counters['informs-confirmed'] === 2 && said().split('171.0.2').length === 3, said)
  const lines = said().split('\n').filter((line) => line.includes('171.0.2'))
  for (const line of lines) assert.match(line, /\.1\.3\.6\.1\.6\.3\.1\.1\.4\.1\.0 = OID: \.1\.3\.6\.1\.2\.1\.171\.0\.2\|\.1\.3\.6\.1\.4\.1\.32473\.1\.1\.1\.4294967295 = INTEGER: 8$/)
  assert.equal(said().split('1.3.6.1.6.3.1.1.5.1').length, 3, 'coldStart, twice')
})

/* The npm package: another implementation, by other people. */
interface NpmVarbind { oid: string; type?: number; value: unknown }
interface NpmSession {
  get(oids: string[], done: (error: Error | null, varbinds: NpmVarbind[]) => void): void
  getBulk(oids: string[], nonRepeaters: number, maxRepetitions: number, done: (error: Error | null, varbinds: unknown[]) => void): void
  set(varbinds: NpmVarbind[], done: (error: Error | null, varbinds: NpmVarbind[]) => void): void
  subtree(oid: string, maxRepetitions: number, feed: (varbinds: NpmVarbind[]) => void, done: (error: Error | null) => void): void
  on(event: 'error', handler: (error: Error) => void): void
  close(): void
}
const npm = createRequire(import.meta.url)('net-snmp') as {
  createV3Session(host: string, user: object, options: object): NpmSession
  SecurityLevel: { authPriv: number }
  AuthProtocols: Record<string, number>
  PrivProtocols: Record<string, number>
  ObjectType: { Integer: number }
}

test('npm net-snmp: gets, walks and sets with every authentication', async (t) => {
  const names = { 'SHA': 'sha', 'SHA-224': 'sha224', 'SHA-256': 'sha256', 'SHA-384': 'sha384', 'SHA-512': 'sha512' } as const
  const users = AUTH_NAMES.flatMap((auth) => PRIV_NAMES.map((priv) => user(`${auth} ${priv}`, { auth, priv })))
  const { port, mib } = await serve(t, { users })
  for (const { name, auth, priv } of users) {
    const session = npm.createV3Session('127.0.0.1', {
      name, level: npm.SecurityLevel.authPriv, authProtocol: npm.AuthProtocols[names[auth]], authKey: 'labauthpass',
      privProtocol: npm.PrivProtocols[priv === 'AES' ? 'aes' : 'aes256b'], privKey: 'labprivpass',
    }, { port, version: 3, retries: 0, timeout: 5000 })
    const got = await new Promise<NpmVarbind[]>((resolve, reject) => {
      session.on('error', reject)
      session.get([SYS_DESCR.slice(1)], (error, varbinds) => error === null ? resolve(varbinds) : reject(error))
    })
    assert.equal(String(got[0]!.value), 'a box', name)
    if (name === 'SHA-256 AES') {
      const walked: NpmVarbind[] = []
      await new Promise<void>((resolve, reject) => {
        session.subtree(CELL.slice(1), 20, (varbinds) => { walked.push(...varbinds) }, (error) => error === null || error === undefined ? resolve() : reject(error))
      })
      assert.deepEqual(walked.map(({ value }) => value), Array.from({ length: 100 }, (_, i) => i))
      await new Promise<void>((resolve, reject) => {
        session.set([{ oid: `${CELL.slice(1)}.5`, type: npm.ObjectType.Integer, value: 55 }], (error) => error === null ? resolve() : reject(error))
      })
      assert.equal(mib.cells.get(`${CELL.slice(1)}.5`), 55)
    }
    session.close()
  }
})

test('server: an address that is taken is the system\'s error, and nothing stays open', async (t) => {
  const { port } = await serve(t)
  const second = createSnmpServer({
    listeners: [{ host: '127.0.0.1', port: 0 }, { host: '127.0.0.1', port }], users: [user('lab')], access: openAccess(['lab']), store: memoryStore(),
    system: { description: '', contact: '', name: '', location: '' },
  })
  await assert.rejects(second.listen(), /EADDRINUSE/)
})

test('server: what modules have put off is done in pieces before a message is served, and others have their turn between', options, async (t) => {
  const mib = createTestMib(5)
  let left = 0, pieces = 0, turns = 0
  const late: ModuleFactory = () => ({
    ...mib,
    get: (request, name) => left > 0 ? integer(-1) : mib.get(request, name),
    catchUp() {
      if (left === 0) return true
      left--
      pieces++
      const untilMs = performance.now() + 0.5
      while (performance.now() < untilMs) { /* as real work would */ }
      return left === 0
    },
  })
  const { port, server } = await serve(t, { modules: [late] })
  left = 100
  const count = () => { turns++; if (left > 0) setImmediate(count) }
  setImmediate(count)
  const answers = await Promise.all([1, 2, 3].map((n) => run('snmpget', [...client(port), `${CELL}.${n}`])))
  answers.forEach(({ status, text }, n) => { assert.deepEqual([status, /INTEGER: (.*)/.exec(text)?.[1]], [0, `${n}`], text) })
  // Three milliseconds at a time: 100 pieces of half a millisecond are seventeen turns, and fewer only if pieces take longer.
  assert.deepEqual([pieces, left, server.counters['drop-queue-full-messages']], [100, 0, 0])
  assert.ok(turns > 10, `${turns} turns`)
})

test('server: what cannot work is refused by name before anything is counted', () => {
  const base: SnmpServerOptions = { listeners: [], users: [user('lab')], access: openAccess(['lab']), store: memoryStore(), system: { description: '', contact: '', name: '', location: '' } }
  const target: SnmpTarget = { name: 't', host: '127.0.0.1', port: 1, user: 'lab', type: 'trap', timeoutMs: 1, retries: 0, isOn: true }
  const cases: [Partial<SnmpServerOptions>, string, RegExp][] = [
    [{ users: [user('')] }, 'snmp-bad-user', /users\[0\]\.name/], [{ users: [user('lab'), user('lab')] }, 'snmp-bad-user', /users\[1\]\.name: 'lab' is the name of two/],
    [{ users: [user('lab', { authPassword: 'short' })] }, 'snmp-bad-user', /users\[0\]\.authPassword: .* 8 characters/],
    [{ targets: [{ ...target, host: 'localhost' }] }, 'snmp-bad-target', /targets\[0\]\.host/], [{ targets: [{ ...target, user: 'x' }] }, 'snmp-bad-target', /no user 'x'/],
    [{ limits: { messageBytes: 483 } }, 'snmp-bad-limit', /limits\.messageBytes: 483/], [{ store: memoryStore(Buffer.alloc(4, 1)) }, 'snmp-bad-engine', /4 octets/],
  ]
  for (const [more, code, message] of cases) {
    assert.throws(() => createSnmpServer({ ...base, ...more }), (error: { code?: string; message?: string }) => error.code === code && message.test(error.message!))
  }
  assert.equal((base.store as { boots: number }).boots, 0)
})

/* The door of a box. */
const MAIN = path.resolve('build/src/app/cli/main.js')

async function box(t: { after: (end: () => void) => void }, config: string): Promise<{ child: ChildProcess; port: number; text: () => string; ended: Promise<number | null> }> {
  const child = spawn(process.execPath, [MAIN, 'run', '--simulate', '--seed', '1', '--config', config], { cwd: dir })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => { text += part })
  const ended = new Promise<number | null>((resolve) => { child.on('close', resolve) })
  let isOver = false
  void ended.then(() => { isOver = true })
  await until(() => isOver || /^ready: .*\n/m.test(text), () => text)
  assert.match(text, /^(?:ready|pinhole): /m)
  return { child, port: Number(/^ready: snmp 127\.0\.0\.1:(\d+)$/m.exec(text)?.[1]), text: () => text, ended }
}

const lab = (more: (text: string) => string = (text) => text) => {
  const { stdout } = spawnSync(process.execPath, [MAIN, 'init', '--lab'], { encoding: 'utf8' })
  return more(stdout.replace('listen: [127.0.0.1:7626]', 'listen: []').replace('listen: [127.0.0.1:1161]', 'listen: [127.0.0.1:0]'))
}

test('run --simulate: the ready line names the SNMP door; starts are counted across SIGKILL; SIGHUP takes away what a user sees; SIGTERM ends it', options, async (t) => {
  fs.writeFileSync(path.join(dir, 'door.yaml'), lab())
  const ask = async (port: number, oid = '.1.3.6.1.6.3.10.2.1.2.0') => (await run('snmpget', [...client(port), oid])).text.trim()
  const first = await box(t, 'door.yaml')
  assert.equal(await ask(first.port), '.1.3.6.1.6.3.10.2.1.2.0 = INTEGER: 1')
  first.child.kill('SIGKILL')
  await first.ended
  const second = await box(t, 'door.yaml')
  assert.equal(await ask(second.port), '.1.3.6.1.6.3.10.2.1.2.0 = INTEGER: 2')
  fs.writeFileSync(path.join(dir, 'door.yaml'), lab((text) => text.replace('        agent: lab\n', '        group: nothing\n').replace('    groups: []', '    groups: [{name: nothing}]')))
  second.child.kill('SIGHUP')
  await until(() => /^reloaded/m.test(second.text()), second.text)
  assert.match(await ask(second.port), /authorizationError/)
  second.child.kill('SIGTERM')
  assert.equal(await second.ended, 0)
  assert.match(second.text(), /^snmp +\d+ messages, 0 SETs, 1 refused, 0 notifications$/m)
})

test('run --simulate: a door that cannot be opened, and a state that cannot be read, end it with status 2 and a reason', async (t) => {
  const taken = createSocket('udp4')
  await new Promise<void>((resolve) => { taken.bind(0, '127.0.0.1', resolve) })
  t.after(() => { taken.close() })
  const { port } = taken.address()
  const cases: [string, RegExp][] = [
    [lab((text) => text.replace('[127.0.0.1:0]', `[127.0.0.1:${port}]`)), new RegExp(`^pinhole: cannot open the snmp door: 127\\.0\\.0\\.1:${port} \\(EADDRINUSE\\)$`, 'm')],
    [lab((text) => text.replace('state: pinhole-lab-state', 'state: broken')), /^pinhole: midcom\.state: .*snmp-engine\.json is damaged/m],
  ]
  fs.mkdirSync(path.join(dir, 'broken'))
  fs.writeFileSync(path.join(dir, 'broken/snmp-engine.json'), '{')
  for (const [config, reason] of cases) {
    fs.writeFileSync(path.join(dir, 'bad.yaml'), config)
    const { ended, text } = await box(t, 'bad.yaml')
    assert.equal(await ended, 2, text())
    assert.match(text(), reason)
  }
})
