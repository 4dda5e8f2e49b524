/**
 * The MIDCOM-MIB of a running box under Debian's net-snmp tools: the transactions of RFC 5189 as RFC 5190 7 shows them, what an agent may
 * see of another one, every error-status, and packets that pass because of it.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, before, test } from 'node:test'
import { connect } from '../src/control/simco/agent.ts'
import { encodePcap } from '../src/phy/testing.ts'
import { buildPacket } from '../src/wire/build.ts'
import { ENVIRONMENT, NO_NET_SNMP, asUser, receiveTraps, tool, type TrapReceiver, type User } from './net-snmp.ts'

const MAIN = path.resolve('build/src/app/cli/main.js')
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-mib-'))
const ENGINE_ID = '80001f8880706e686f6c65'
const user = (name: string): User => ({ name, auth: `${name}-authpass`, priv: `${name}-privpass` })
const LAB: User = { name: 'lab', auth: 'labauthpass', priv: 'labprivpass' }
const ALICE = user('alice'), BOB = user('bob'), CHIEF = user('chief'), MONITOR = user('monitor'), LOOKER = user('looker')

interface Box { child: ChildProcess; simco: number; snmp: number; stderr: () => string }
let box: Box
const receivers: TrapReceiver[] = []

async function freePort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => { socket.bind(0, '127.0.0.1', resolve) })
  const { port } = socket.address()
  await new Promise<void>((resolve) => { socket.close(() => resolve()) })
  return port
}

async function start(config: string, args: readonly string[]): Promise<Box> {
  const child = spawn(process.execPath, [MAIN, 'run', '--simulate', '--seed', '1', ...args, '--config', config], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = '', stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  for (let i = 0; i < 600 && !stdout.includes('\n'); i++) await new Promise((resolve) => { setTimeout(resolve, 50) })
  const [, simco, snmp] = /^ready: (?:.+\.pcap \(\d+ packets\), )?simco 127\.0\.0\.1:(\d+), snmp 127\.0\.0\.1:(\d+)\n/.exec(stdout) ?? []
  assert.ok(snmp !== undefined, `${stdout}${stderr}`)
  return { child, simco: Number(simco), snmp: Number(snmp), stderr: () => stderr }
}

/** A line of the configuration is another one. */
function changed(text: string, changes: readonly [string, string][]): string {
  return changes.reduce((config, [line, other]) => {
    assert.ok(config.includes(line), `${line} is not in the configuration`)
    return config.replace(line, other)
  }, text)
}

before(async () => {
  if (NO_NET_SNMP !== false) return
  const [traps, informs] = [await freePort(), await freePort()]
  const lab = spawnSync(process.execPath, [MAIN, 'init', '--lab'], { encoding: 'utf8' }).stdout
  const users = [ALICE, BOB, CHIEF].map(({ name, auth, priv }) => `      - {name: ${name}, agent: ${name}, auth-password: ${auth}, priv-password: ${priv}}`)
  const config = changed(lab, [
    ['listen: [127.0.0.1:7626]', 'listen: [127.0.0.1:0]'], ['listen: [127.0.0.1:1161]', 'listen: [127.0.0.1:0]'],
    ['mtu-outside: 0', 'mtu-outside: 1400'], ['ports: 40000-49999', 'ports: 40000-40003'], ['pool: [203.0.113.1-203.0.113.4]', 'pool: [203.0.113.1]'],
    ['engine-id: ""', `engine-id: "${ENGINE_ID}"`], ['state: pinhole-lab-state', 'state: state'],
    ['  agents:\n    - name: lab\n', '  agents:\n    - {name: alice, max-rules: 50}\n    - {name: bob}\n    - {name: chief, acts-for: ["*"]}\n    - name: lab\n'],
    ['    users:\n', `    users:\n${users.join('\n')}\n      - {name: monitor, group: monitors, auth-password: ${MONITOR.auth}, priv-password: ${MONITOR.priv}}
      - {name: looker, agent: bob, group: lookers, auth-password: ${LOOKER.auth}, priv-password: ${LOOKER.priv}}\n`],
    ['    groups: []', '    groups:\n      - {name: monitors, read: all}\n      - {name: lookers, read: all, write: bobs}'],
    ['    views: []', '    views:\n      - {name: all, include: [1.3.6.1]}\n      - {name: bobs, include: ["rules-of:bob"]}'],
    ['    targets: []', `    targets:
      - {name: alice-traps, address: "127.0.0.1:${traps}", user: alice, type: trap}
      - {name: alice-informs, address: "127.0.0.1:${informs}", user: alice, type: inform, timeout: 2s}`],
  ])
  fs.writeFileSync(path.join(dir, 'box.yaml'), config)
  const knock = (dstPort: number) => buildPacket({ link: 'ethernet', proto: 'udp', src: '198.51.100.9', srcPort: 7000, dst: '203.0.113.1', dstPort, payload: new Uint8Array(20) })
  const packets = Array.from({ length: 40 }, (_, n) => ({ data: knock(40_000 + n % 4), sec: 1_700_000_000, nsec: n * 1_000_000 }))
  fs.writeFileSync(path.join(dir, 'knock.pcap'), encodePcap(packets))
  receivers.push(...await Promise.all([receiveTraps(dir, traps, ALICE, ENGINE_ID), receiveTraps(dir, informs, ALICE, ENGINE_ID)]))
  box = await start('box.yaml', ['knock.pcap', '--loop', 'forever'])
})
after(() => {
  for (const receiver of receivers) receiver.stop()
  box?.child.kill('SIGKILL')
  fs.rmSync(dir, { recursive: true, force: true })
})

const at = (owner: string, group: number, rule: number) => (column: string) => `midcomRule${column}."${owner}".${group}.${rule}`

/** Values as net-snmp prints them, in order. */
async function get(who: User, ...names: string[]): Promise<string[]> {
  const { status, out, err } = await tool('snmpget', ['-OqvU', ...asUser(who, box.snmp), ...names])
  assert.equal(status, 0, err)
  return out.replace(/\n$/, '').split('\n').map((line) => line.replaceAll('"', '').trim())
}
async function walk(who: User, name: string, how = 'snmpwalk'): Promise<string[]> {
  const { status, out, err } = await tool(how, ['-OqU', ...asUser(who, box.snmp), name])
  assert.equal(status, 0, err)
  return out.trim().split('\n').filter((line) => !/No Such|No more/.test(line))
}
/** `name type value` three by three; returns the error-status by its name, or 'noError'. */
async function set(who: User, ...what: string[]): Promise<string> {
  const { out, err } = await tool('snmpset', [...asUser(who, box.snmp), ...what])
  return /Reason: \(?(\w+)/.exec(err)?.[1] ?? (out !== '' && err === '' ? 'noError' : `${out}${err}`)
}
function columns(name: (column: string) => string, values: Record<string, string>): string[] {
  return Object.entries(values).flatMap(([column, value]) => [name(column), ...value.split(/ (.*)/s).slice(0, 2)])
}

const RTP = { TransportProtocol: 'u 17', InternalIpAddr: 'd 10.0.0.5', InternalPort: 'u 5004', PortRange: 'i pair', StorageTime: 'u 60', Lifetime: 'u 300' }
const PEER = { ExternalIpAddr: 'd 198.51.100.9', ExternalPort: 'u 0', FlowDirection: 'i inbound' }
/** Packets that have left towards the inside. */
const passed = async () => Number((await get(LAB, 'ifHCOutUcastPkts.1'))[0])
/** Whether more of them do: of those that knock a thousand times a second one comes by soon. */
async function grows(): Promise<boolean> {
  const from = await passed()
  await new Promise((resolve) => { setTimeout(resolve, 150) })
  return await passed() > from
}

test('SE: the box says what it can do (RFC 5190 7.1)', { skip: NO_NET_SNMP }, async () => {
  assert.deepEqual(await get(ALICE, 'midcomConfigMaxLifetime.0', 'midcomConfigPersistentRules.0', 'midcomConfigIfEnabled.2'), ['3600', 'true', 'true'])
  const [bits] = await get(ALICE, 'midcomConfigIfBits.1')
  assert.match(bits!, /^(FE 40|ipv4)/)
})

// @req RFC6888 REQ-10
test('PRR and PER: ports are reserved, enabled, and packets pass from then on; RLC 0 ends that (RFC 5190 7.3, 7.4, 7.6)', { skip: NO_NET_SNMP }, async () => {
  const row = at('alice', 7, 1)
  assert.equal(await set(ALICE, ...columns(row, { RowStatus: 'i createAndGo', ...RTP, AdminStatus: 'i reserve' })), 'noError')
  const [state, address, port, lifetime] = await get(ALICE, row('OperStatus'), row('OutsideIpAddr'), row('OutsidePort'), row('Lifetime'))
  assert.deepEqual([state, address], ['reserved', 'CB 00 71 01'])
  assert.ok(['40000', '40002'].includes(port!), port)
  assert.ok(Number(lifetime) > 290 && Number(lifetime) <= 300)
  assert.equal(await grows(), false, 'what is reserved lets nothing pass')
  assert.equal(await set(ALICE, ...columns(row, { ...PEER, AdminStatus: 'i enable' })), 'noError')
  assert.deepEqual(await get(ALICE, row('OperStatus'), row('OutsidePort'), row('InsideIpAddr'), row('InsidePort'), row('Error')), ['enabled', port, 'C6 33 64 09', '0', ''])
  assert.equal(await grows(), true, 'packets of 198.51.100.9 pass')
  // midcomResourceTable points at a row of NAT-MIB.
  const [id] = await get(ALICE, 'midcomRscNatInternalAddrBindId."alice".7.1')
  assert.deepEqual(await get(ALICE, 'natAddrPortBindId.2.1.4.10.0.0.5.5004.4', 'natAddrPortBindGlobalPort.2.1.4.10.0.0.5.5004.4'), [id, port])
  assert.equal((await walk(ALICE, 'natv2PortMapInternalPort')).length, 2)
  assert.equal(await set(ALICE, row('Lifetime'), 'u', '120'), 'noError')
  assert.equal(await set(ALICE, row('Lifetime'), 'u', '0'), 'noError')
  assert.deepEqual(await get(ALICE, row('OperStatus'), row('Lifetime')), ['terminatedOnRequest', '0'])
  assert.equal(await grows(), false, 'and no more')
  assert.equal(await set(ALICE, row('StorageTime'), 'u', '0'), 'noError')
  assert.deepEqual(await walk(ALICE, 'midcomRuleOperStatus'), [])
  const index = '5\\.97\\.108\\.105\\.99\\.101\\.7\\.1'
  for (const receiver of receivers) {
    for (const [oper, left] of [[7, 300], [8, '\\d+'], [8, 120], [10, 0]]) {
      await receiver.until(new RegExp(`\\.171\\.0\\.2.*\\.171\\.1\\.1\\.3\\.1\\.5\\.${index} = INTEGER: ${oper}\\b.*\\.26\\.${index} = Gauge32: ${left}\\b`))
    }
  }
})

test('PER alone, PRL, PRS, GL, GS and GLC (RFC 5190 7.5 to 7.10)', { skip: NO_NET_SNMP }, async () => {
  for (const rule of [1, 2, 3]) {
    const row = at('alice', 9, rule)
    const what = { RowStatus: 'i createAndGo', ...RTP, PortRange: 'i single', InternalPort: `u ${6000 + rule}`, ...PEER, AdminStatus: 'i enable' }
    assert.equal(await set(ALICE, ...columns(row, what)), 'noError')
    assert.deepEqual(await get(ALICE, row('OperStatus')), ['enabled'])
  }
  assert.deepEqual((await walk(ALICE, 'midcomRuleOperStatus', 'snmpbulkwalk')).map((line) => line.split(' ').at(-1)), ['enabled', 'enabled', 'enabled'])
  assert.equal(await set(ALICE, 'midcomGroupLifetime."alice".9', 'u', '900'), 'noError')
  const [longest] = await get(ALICE, 'midcomGroupLifetime."alice".9')
  assert.ok(Number(longest) > 890)
  assert.equal((await walk(ALICE, 'midcomGroupLifetime')).length, 1)
  for (const line of await walk(ALICE, 'midcomRuleLifetime')) assert.ok(Number(line.split(' ').at(1)) > 890, line)
  assert.equal(await set(ALICE, 'midcomGroupLifetime."alice".9', 'u', '0'), 'noError')
  assert.deepEqual((await walk(ALICE, 'midcomRuleOperStatus')).map((line) => line.split(' ').at(-1)), Array<string>(3).fill('terminatedOnRequest'))
  await receivers[1]!.until(/\.171\.0\.3.*\.171\.1\.1\.4\.1\.3\.5\.97\.108\.105\.99\.101\.9 = Gauge32: 900/)
  for (const rule of [1, 2, 3]) assert.equal(await set(ALICE, at('alice', 9, rule)('RowStatus'), 'i', 'destroy'), 'noError')
})

test('ARE: the end of a lifetime is told, by trap and by inform (RFC 5190 7.9)', { skip: NO_NET_SNMP }, async () => {
  const row = at('alice', 10, 1)
  await set(ALICE, ...columns(row, { RowStatus: 'i createAndGo', ...RTP, Lifetime: 'u 1', AdminStatus: 'i reserve' }))
  for (const receiver of receivers) await receiver.until(/\.171\.0\.1.*\.101\.10\.1 = INTEGER: 9\b.*= Gauge32: 0\b/)
  assert.deepEqual(await get(ALICE, row('OperStatus')), ['timedOut'])
  await set(ALICE, row('RowStatus'), 'i', 'destroy')
})

test('an agent sees its own rows; by configuration it sees those of others, or sees and changes them (RFC 5190 10, RFC 3415)', { skip: NO_NET_SNMP }, async () => {
  const row = at('alice', 20, 1)
  await set(ALICE, ...columns(row, { RowStatus: 'i createAndGo', ...RTP, AdminStatus: 'i reserve' }))
  assert.deepEqual(await walk(BOB, 'midcomRuleOperStatus'), [])
  assert.match((await tool('snmpget', [...asUser(BOB, box.snmp), row('OperStatus')])).out, /No Such (Object|Instance)/)
  assert.equal(await set(BOB, row('Lifetime'), 'u', '9'), 'noAccess')
  assert.equal(await set(BOB, at('alice', 20, 2)('RowStatus'), 'i', 'createAndGo'), 'noAccess')
  assert.equal((await walk(MONITOR, 'midcomRuleOperStatus')).length, 1)
  assert.equal(await set(MONITOR, row('Lifetime'), 'u', '9'), 'authorizationError', 'it has no view to write at all')
  assert.equal((await walk(LOOKER, 'midcomRuleOperStatus')).length, 1)
  assert.equal(await set(LOOKER, row('Lifetime'), 'u', '9'), 'noAccess')
  assert.equal((await walk(CHIEF, 'midcomRuleOperStatus')).length, 1)
  assert.equal(await set(CHIEF, row('Lifetime'), 'u', '9'), 'noError')
  const made = at('bob', 1, 1)
  assert.equal(await set(CHIEF, ...columns(made, { RowStatus: 'i createAndGo', ...RTP, InternalPort: 'u 7000', AdminStatus: 'i reserve' })), 'noError')
  assert.deepEqual(await get(BOB, made('OperStatus')), ['reserved'])
  assert.equal(await set(BOB, made('RowStatus'), 'i', 'destroy'), 'noError')
  assert.equal(await set(CHIEF, row('RowStatus'), 'i', 'destroy'), 'noError')
})

test('rules of SIMCO are rows here, and SIMCO lists those of SNMP; either changes the other\'s', { skip: NO_NET_SNMP }, async () => {
  const agent = await connect('127.0.0.1', box.simco)
  const { rule } = await agent.enable({ protocol: 'udp', internal: '10.0.0.7:8000', external: '198.51.100.9:7000', direction: 'inbound', lifetimeSec: 100 })
  const [line] = await walk(LAB, 'midcomRuleOperStatus')
  const [, group, number] = /"lab"\.(\d+)\.(\d+) enabled$/.exec(line!)!
  const row = at('lab', Number(group), Number(number))
  assert.deepEqual(await get(LAB, row('InternalIpAddr'), row('InternalPort'), row('ExternalPort'), row('FlowDirection')), ['0A 00 00 07', '8000', '7000', 'inbound'])
  assert.equal(await set(LAB, row('Lifetime'), 'u', '50'), 'noError')
  assert.ok((await agent.status(rule)).lifetimeSec <= 50)
  const own = at('lab', 3, 1)
  assert.equal(await set(LAB, ...columns(own, { RowStatus: 'i createAndGo', ...RTP, AdminStatus: 'i reserve' })), 'noError')
  const rules = await agent.list()
  assert.equal(rules.length, 2)
  for (const one of rules) await agent.delete(one)
  assert.deepEqual(await get(LAB, own('OperStatus')), ['terminatedOnRequest'])
  await set(LAB, own('RowStatus'), 'i', 'destroy')
  await agent.end()
})

const RAW = '.1.3.6.1.2.1.171.1.1.3.1'
const INDEX = '5.97.108.105.99.101.30.1'
const ERRORS: [what: string, status: string, args: string[]][] = [
  ['notSet', 'inconsistentValue', [`${RAW}.4.${INDEX}`, 'i', '3']],
  ['a column that is read', 'notWritable', [`${RAW}.5.${INDEX}`, 'i', '8']],
  ['another type', 'wrongType', [`${RAW}.26.${INDEX}`, 's', 'abc']],
  ['a long address', 'wrongLength', [`${RAW}.16.${INDEX}`, 'x', '00'.repeat(256)]],
  ['a port of 70000', 'wrongValue', [`${RAW}.18.${INDEX}`, 'u', '70000']],
  ['StorageType permanent', 'inconsistentValue', [`${RAW}.6.${INDEX}`, 'i', '4']],
  ['a row that is not there', 'inconsistentName', [`${RAW}.26.5.97.108.105.99.101.30.999`, 'u', '60']],
  ['a group of 0', 'noCreation', [`${RAW}.27.5.97.108.105.99.101.0.1`, 'i', '4']],
  ['a row that is there', 'inconsistentValue', [`${RAW}.27.${INDEX}`, 'i', '4']],
  ['RowStatus notReady', 'wrongValue', [`${RAW}.27.${INDEX}`, 'i', '3']],
  ['the row of somebody else', 'noAccess', [`${RAW}.27.3.98.111.98.1.1`, 'i', '4']],
  ['a row with notSet', 'inconsistentValue', [`${RAW}.27.5.97.108.105.99.101.30.2`, 'i', '5', `${RAW}.4.5.97.108.105.99.101.30.2`, 'i', '3']],
]
test('every error-status that SETs end in, and nothing is left behind (RFC 3416 4.2.5)', { skip: NO_NET_SNMP }, async () => {
  assert.equal(await set(ALICE, at('alice', 30, 1)('RowStatus'), 'i', 'createAndGo'), 'noError')
  const before = await walk(ALICE, 'midcomRuleRowStatus')
  for (const [what, status, args] of ERRORS) {
    const { err } = await tool('snmpset', [...asUser(ALICE, box.snmp), ...args], { ...ENVIRONMENT, MIBS: '' })
    assert.match(err, new RegExp(`Reason: \\(?${status}`), what)
  }
  assert.deepEqual(await walk(ALICE, 'midcomRuleRowStatus'), before)
  const refused = await tool('snmpget', [...asUser({ ...ALICE, auth: 'wrong-password' }, box.snmp), 'midcomConfigMaxLifetime.0'])
  assert.match(refused.err, /Authentication failure/)
  let status = 'noError', rules = 0
  // The quota of alice is 50 rules; incomplete rows have a bound of their own, far above.
  for (; rules < 3 && status === 'noError'; rules++) status = await set(ALICE, at('alice', 30, 10 + rules)('RowStatus'), 'i', 'createAndWait')
  assert.equal(status, 'noError')
  await set(ALICE, ...[1, 10, 11, 12].flatMap((rule) => [at('alice', 30, rule)('RowStatus'), 'i', 'destroy']))
  assert.deepEqual(await walk(ALICE, 'midcomRuleTable'), [])
})

test('the five commands of README reserve, enable, extend, list and delete', { skip: NO_NET_SNMP }, async () => {
  const block = /<!-- snmp -->\n```sh\n(.*?)```/s.exec(fs.readFileSync('README.md', 'utf8'))![1]!
  const { status, out, err } = await tool('bash', ['-e', '-c', `${block.replace('127.0.0.1:1161', `-r 3 -t 5 127.0.0.1:${box.snmp}`)}
    for name in system ifTable natv2MIB snmpTargetMIB; do snmpwalk $lab $name; done`], { ...process.env, SNMPCONFPATH: '/nonexistent' })
  assert.deepEqual([status, err], [0, ''])
  assert.match(out, /midcomRuleOperStatus\."lab"\.7\.1 = INTEGER: enabled\(8\)/)
  assert.match(out, /midcomRuleLifetime\."lab"\.7\.1 = Gauge32: (600|59\d) seconds/)
  assert.match(out, /midcomRuleStorageType\."lab"\.7\.1 = INTEGER: nonVolatile\(3\)/)
  for (const other of [/^SNMPv2-MIB::sysDescr\.0/m, /^IF-MIB::ifMtu\.1 = INTEGER: 65535$/m, /^IF-MIB::ifMtu\.2 = INTEGER: 1400$/m, /^NATV2-MIB::/m, /^SNMP-TARGET-MIB::/m]) assert.match(out, other)
  assert.deepEqual(await walk(LAB, 'midcomRuleOperStatus'), [])
})

test('nonVolatile rules are there again after SIGKILL, with ports and lifetimes, and their packets pass at once (RFC 5190 midcomRuleStorageType)', { skip: NO_NET_SNMP }, async () => {
  const row = at('alice', 40, 1), other = at('alice', 40, 2)
  assert.equal(await set(ALICE, ...columns(row, { RowStatus: 'i createAndGo', ...RTP, ...PEER, StorageType: 'i nonVolatile', AdminStatus: 'i enable' })), 'noError')
  assert.equal(await set(ALICE, ...columns(other, { RowStatus: 'i createAndGo', ...RTP, InternalPort: 'u 9000', AdminStatus: 'i reserve' })), 'noError')
  const was = await get(ALICE, row('OperStatus'), row('OutsideIpAddr'), row('OutsidePort'), row('StorageType'))
  box.child.kill('SIGKILL')
  await new Promise((resolve) => { box.child.once('close', resolve) })
  box = await start('box.yaml', ['knock.pcap', '--loop', 'forever'])
  assert.deepEqual(await get(ALICE, row('OperStatus'), row('OutsideIpAddr'), row('OutsidePort'), row('StorageType')), was)
  assert.equal(await grows(), true)
  assert.deepEqual((await walk(ALICE, 'midcomRuleOperStatus')).length, 1, 'the volatile one is gone')
  const second = spawnSync(process.execPath, [MAIN, 'run', '--simulate', '--config', 'box.yaml'], { cwd: dir, encoding: 'utf8', timeout: 30_000 })
  assert.equal(second.status, 2)
  assert.match(second.stderr, /midcom\.state: .* is in use by another box/)
})

test('the modules in mibs/ load without a complaint', { skip: NO_NET_SNMP }, async () => {
  for (const file of fs.readdirSync('mibs').filter((name) => name.endsWith('.txt'))) {
    const { err } = await tool('snmptranslate', ['-Pw', '-Le', '-M', path.resolve('mibs'), '-m', file.replace('.txt', ''), '-Tp'])
    assert.equal(err.split('\n').filter((line) => line !== '' && !/MACRO \(lines/.test(line)).join('\n'), '', file)
  }
})
