/** `pinhole ctl` against a middlebox on loopback: what it prints, and what it answers to the shell. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { InvalidArgumentError } from 'commander'
import { createCertificates, NO_OPENSSL } from '../../../test/certificates.ts'
import { createMiddlebox, type Middlebox, type MiddleboxOptions } from '../../../test/middlebox.ts'
import { connect, MidcomError, type LocalReason } from '../../control/simco/agent.ts'
import { asFailure } from './ctl-failure.ts'
import { identifier, ports, protocol, seconds, server, timeout, version } from './ctl-options.ts'
import { table } from './ctl-print.ts'
import type { Failure } from './status.ts'

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const TIMEOUT_MS = 60_000
const scratch = mkdtempSync(join(tmpdir(), 'pinhole-ctl-'))
const toClose: (() => unknown)[] = [() => rmSync(scratch, { recursive: true })]
after(async () => { for (const close of toClose.reverse()) await close() })

interface Ended { status: number | null; stdout: string; stderr: string }

function start(port: number, args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [MAIN, 'ctl', ...args], {
    cwd: scratch, stdio: ['ignore', 'pipe', 'pipe'], timeout: TIMEOUT_MS,
    env: { ...process.env, PINHOLE_DEBUG: '', PINHOLE_SERVER: `127.0.0.1:${port}`, ...env },
  })
  let stdout = '', stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  const ended = new Promise<Ended>((resolve) => child.on('close', (status) => resolve({ status, stdout, stderr })))
  return { child, ended, seen: () => stdout }
}

async function middlebox(options: MiddleboxOptions = {}) {
  const box = await createMiddlebox(options)
  toClose.push(() => box.close())
  const ctl = (...args: string[]) => start(box.port, args).ended
  return { box, ctl }
}

/** Until so many sessions are open; none of the commands may end meanwhile. */
async function untilOpen(box: Middlebox, sessions: number, commands: { ended: Promise<Ended> }[]): Promise<void> {
  let early: Ended | null = null
  for (const { ended } of commands) void ended.then((how) => { early = how })
  for (let n = 0; box.policy.statistics().sessions !== sessions; n++) {
    assert.equal(early, null)
    assert(n < 3000, `${box.policy.statistics().sessions} sessions`)
    await new Promise((resolve) => { setTimeout(resolve, 10) })
  }
}

/** What `watch` says first, to whoever has no key. */
const listening = ({ port }: Middlebox) => `listening to 127.0.0.1:${port} as its loopback-agent\n`

const [A0, A3] = ['10.0.0.5:5004+2', '198.51.100.7:6000+2']
const UDP_IN = ['--protocol', 'udp', '--direction', 'inbound']

test('ctl: rules are made, shown, changed and ended', async () => {
  const { ctl } = await middlebox()
  const reserved = await ctl('reserve', '--protocol', 'udp', '--ports', '2', '--parity', 'even', '--lifetime', '5m')
  assert.deepEqual({ status: reserved.status, stderr: reserved.stderr }, { status: 0, stderr: '' })
  const row = /^RULE +GROUP +SECONDS +PROTOCOL +OUTSIDE +INSIDE\n +(\d+) +\d+ +300 +udp +(203\.0\.113\.\d:\d+-\d+) +-\n$/.exec(reserved.stdout)
  assert(row !== null, reserved.stdout)
  const [, rule, outside] = row as unknown as [string, string, string]

  const enabled = await ctl('enable', A0, A3, ...UDP_IN, '--reservation', rule, '--parity', 'same', '--json')
  assert.equal(enabled.status, 0)
  assert.deepEqual((JSON.parse(enabled.stdout) as { rule: number }).rule, Number(rule))

  const list = await ctl('list')
  assert.equal(list.stdout, table(
    ['rule', 'action', 'group', 'owner', 'seconds', 'protocol', 'direction', 'internal', 'inside', 'outside', 'external'],
    [[Number(rule), 'enable', 1, 'tester', 300, 'udp', 'inbound', '10.0.0.5:5004-5005', '198.51.100.7:6000-6001', outside, '198.51.100.7:6000-6001']],
  ))
  assert.deepEqual(await ctl('lifetime', rule, '10m'), { status: 0, stdout: `RULE  SECONDS\n${rule.padStart(4)}      600\n`, stderr: '' })
  assert.deepEqual(await ctl('delete', rule), { status: 0, stdout: `rule ${rule}: gone\n`, stderr: '' })
  assert.deepEqual(JSON.parse((await ctl('list', '--json')).stdout), [])
})

test('ctl: deny ends what it blocks', async () => {
  const { ctl } = await middlebox()
  assert.equal((await ctl('enable', A0, A3, ...UDP_IN)).status, 0)
  const denied = await ctl('deny', '*', '198.51.100.7', '--protocol', 'any', '--lifetime', '1h')
  assert.deepEqual([denied.status, denied.stderr], [0, ''])
  assert.match((await ctl('list')).stdout, /^RULE.*\n +\d+ +disable +- +tester +3600 +any +- +\* +- +- +198\.51\.100\.7\n$/)
  const refused = await ctl('enable', A0, A3, ...UDP_IN)
  assert.deepEqual(refused, { status: 7, stdout: '', stderr: 'pinhole: enable: conflict with existing rule (0x0350)\n' })
})

test('ctl: session shows what the middlebox can do', async () => {
  const { box, ctl } = await middlebox()
  const { status, stdout } = await ctl('session')
  assert.equal(status, 0)
  for (const line of [`server                   127.0.0.1:${box.port}`, 'NAT                      addresses, ports', 'longest lifetime         3600 s']) {
    assert(stdout.includes(`${line}\n`), stdout)
  }
})

test('ctl: several rules are each tried, and the first failure is the status', async () => {
  const { box, ctl } = await middlebox()
  const agent = await connect('127.0.0.1', box.port)
  toClose.push(() => agent.close())
  const { rule } = await agent.reserve({ protocol: 'udp', lifetimeSec: 100 })
  const shown = await ctl('status', '77', String(rule), '--json')
  assert.deepEqual([shown.status, (JSON.parse(shown.stdout) as unknown[]).length], [7, 1])
  assert.match(shown.stderr, /^rule 77: specified policy rule does not exist\n/)
  const gone = await ctl('delete', '77', String(rule))
  assert.deepEqual([gone.status, gone.stdout], [7, `rule ${rule}: gone\n`])
  assert.deepEqual(await agent.list(), [])
})

test('ctl: the status tells the class of a failure', async () => {
  const silent = createServer(), gone = createServer()
  const ports: number[] = []
  for (const one of [silent, gone]) {
    await new Promise<void>((resolve) => { one.listen(0, '127.0.0.1', resolve) })
    ports.push((one.address() as AddressInfo).port)
  }
  toClose.push(() => silent.close())
  silent.on('connection', (socket) => toClose.push(() => socket.destroy()))
  await new Promise((resolve) => gone.close(resolve))
  assert.deepEqual(await start(ports[1]!, ['list']).ended, {
    status: 5, stdout: '',
    stderr: `pinhole: nothing listens at 127.0.0.1:${ports[1]}: is the box running, with this address in midcom.simco.listen? (ECONNREFUSED)\n`,
  })
  const late = await start(ports[0]!, ['list', '--timeout', '100ms']).ended
  assert.deepEqual([late.status, late.stderr], [9, `pinhole: 127.0.0.1:${ports[0]}: no session after 100 ms: is the host up, and does a firewall let this port through?\n`])

  const { ctl } = await middlebox({ policy: { limits: { rules: 100, portsPerRule: 16, sessions: 16, boundPorts: 1 } } })
  const none = await ctl('reserve', '--protocol', 'udp', '--ports', '2')
  assert.equal(none.status, 8, none.stderr)
  const allowed = await middlebox({ authorizer: { decide: ({ kind }) => ({ permit: kind !== 'reserve' }), mayAccess: () => true } })
  assert.equal((await allowed.ctl('reserve', '--protocol', 'udp')).status, 6)
})

test('ctl: a shared key opens the session, another one does not', async () => {
  const key = '00112233445566778899aabbccddeeff'
  writeFileSync(join(scratch, 'good.key'), key + '\n')
  writeFileSync(join(scratch, 'other.key'), key.replaceAll('0', '1'))
  writeFileSync(join(scratch, 'short.key'), '0011')
  const { ctl } = await middlebox({ agents: [{ name: 'b2bua-1', key: Buffer.from(key, 'hex') }], listener: { challenge: true } })
  const as = (file: string) => ctl('list', '--agent', 'b2bua-1', '--key-file', file)
  assert.equal((await as('good.key')).status, 0)
  assert.equal((await as('other.key')).status, 6)
  assert.equal((await ctl('list')).status, 6)
  const short = await as('short.key')
  assert.equal(short.status, 2)
  assert.match(short.stderr, /^pinhole: short\.key: /)
})

test('ctl: a certificate opens the session', { skip: NO_OPENSSL }, async () => {
  const { ca, of } = createCertificates('box', 'b2bua-1')
  writeFileSync(join(scratch, 'ca.pem'), ca)
  writeFileSync(join(scratch, 'cert.pem'), of['b2bua-1']!.cert)
  writeFileSync(join(scratch, 'key.pem'), of['b2bua-1']!.key)
  const { ctl } = await middlebox({
    agents: [{ name: 'b2bua-1', certificates: ['CN:b2bua-1'] }], listener: { tls: { ...of.box!, ca }, challenge: false },
  })
  assert.equal((await ctl('list', '--ca', 'ca.pem', '--cert', 'cert.pem', '--key', 'key.pem')).status, 0)
  const plain = await middlebox()
  const refused: [Promise<Ended>, number, RegExp][] = [
    [ctl('list', '--tls', '--cert', 'cert.pem', '--key', 'key.pem'), 6, /: --ca names the file of [^(]*\((?:UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO)/],
    [ctl('list', '--ca', 'ca.pem'), 6, /: it wants to see a certificate: --cert and --key/],
    [ctl('list'), 5, /does it want --tls\?/],
    [plain.ctl('list', '--ca', 'ca.pem'), 6, /: no TLS is spoken there: leave out --tls/],
  ]
  for (const [ended, status, wanted] of refused) {
    const { status: said, stderr } = await ended
    assert.equal(said, status, stderr)
    assert.match(stderr, /^pinhole: 127\.0\.0\.1:\d+: [^\n]*\n$/)
    assert.match(stderr, wanted)
  }
})

test('ctl: what the system says about a host that cannot be reached is told as what an operator can do', () => {
  const told = (local: LocalReason, code: string) => {
    const error = new MidcomError(local, 'connect', false, 'x', { cause: Object.assign(new Error('x'), { code }) })
    const { status, message } = asFailure(error, 'box:7626') as Failure
    return `${status} ${message}`
  }
  const cases: [LocalReason, string, string][] = [
    ['unreachable', 'ENOTFOUND', '5 box:7626: there is no host of this name (ENOTFOUND)'],
    ['unreachable', 'ETIMEDOUT', '5 box:7626: the host does not answer: is it up, and does a firewall let this port through? (ETIMEDOUT)'],
    ['unreachable', 'EHOSTUNREACH', '5 box:7626: the host cannot be reached: is it up, and on this network? (EHOSTUNREACH)'],
    ['unreachable', 'EXDEV', '5 box:7626: the middlebox cannot be reached: x'],
    ['tls-failed', 'CERT_HAS_EXPIRED', '6 box:7626: its certificate has expired (CERT_HAS_EXPIRED)'],
    ['tls-failed', 'ERR_TLS_CERT_ALTNAME_INVALID', '6 box:7626: its certificate is for other names than this: --server takes the name that it is for (ERR_TLS_CERT_ALTNAME_INVALID)'],
    ['tls-failed', 'ERR_SSL_OTHER', '6 box:7626: TLS does not accept the other side: x'],
  ]
  for (const [local, code, wanted] of cases) assert.equal(told(local, code), wanted)
  const lost = new MidcomError('connection-lost', 'enable', true, '', {})
  assert.equal((asFailure(lost, 'box:7626') as Failure).message, 'enable: the connection was lost; it may have been carried out')
})

test('ctl: watch prints each change, and ends after --count', async () => {
  const { box } = await middlebox()
  const agent = await connect('127.0.0.1', box.port)
  toClose.push(() => agent.close())
  const watching = start(box.port, ['watch', '--count', '2'])
  const asJson = start(box.port, ['watch', '--count', '1', '--json'])
  await untilOpen(box, 3, [watching, asJson])
  const { rule } = await agent.enable({ protocol: 'tcp', internal: '10.0.0.5:80', external: '*', direction: 'inbound', lifetimeSec: 60 })
  await agent.delete(rule)
  const told = listening(box)
  assert.deepEqual(await watching.ended, { status: 0, stdout: `rule ${rule}: 60 s\nrule ${rule}: gone\n`, stderr: told })
  assert.deepEqual(await asJson.ended, { status: 0, stdout: `{"kind":"rule","rule":${rule},"lifetimeSec":60}\n`, stderr: '' })
})

test('ctl: watch ends by a signal, and when nobody reads any more', async () => {
  const { box } = await middlebox()
  const interrupted = start(box.port, ['watch']), terminated = start(box.port, ['watch']), unread = start(box.port, ['watch'])
  const told = [interrupted, terminated, unread].map(({ child }) => once(child.stderr, 'data'))
  await untilOpen(box, 3, [interrupted, terminated, unread])
  await Promise.all(told)
  interrupted.child.kill('SIGINT')
  terminated.child.kill('SIGTERM')
  assert.deepEqual(await interrupted.ended, { status: 130, stdout: '', stderr: listening(box) })
  assert.deepEqual(await terminated.ended, { status: 143, stdout: '', stderr: listening(box) })
  await untilOpen(box, 1, [unread])
  unread.child.stdout.destroy()
  const agent = await connect('127.0.0.1', box.port)
  toClose.push(() => agent.close())
  const tell = setInterval(() => { agent.reserve({ protocol: 'udp', lifetimeSec: 60 }).catch(() => {}) }, 20)
  toClose.push(() => clearInterval(tell))
  const { status, stderr } = await unread.ended
  clearInterval(tell)
  assert.deepEqual({ status, stderr }, { status: 0, stderr: listening(box) })
})

test('ctl: watch says at once to whom it listens, as which agent', async () => {
  const key = '00112233445566778899aabbccddeeff'
  writeFileSync(join(scratch, 'watch.key'), key)
  const { box } = await middlebox({ agents: [{ name: 'b2bua-1', key: Buffer.from(key, 'hex') }], listener: { challenge: true } })
  const watching = start(box.port, ['watch', '--agent', 'b2bua-1', '--key-file', 'watch.key'])
  const [said] = await once(watching.child.stderr, 'data') as [string]
  assert.equal(said, `listening to 127.0.0.1:${box.port} as agent b2bua-1\n`)
  watching.child.kill('SIGTERM')
  await watching.ended
})

test('ctl: what cannot be asked ends with status 2 before anything is sent', async () => {
  const { box, ctl } = await middlebox()
  const cases: [string[], RegExp][] = [
    [['enable', '10.0.0.5:99999', A3, ...UDP_IN], /'10\.0\.0\.5:99999' is invalid.*Column 10: port is above 65535/],
    [['enable', A0, A3, '--protocol', 'udp'], /required option '--direction/],
    [['enable', A0, A3, ...UDP_IN, '--group', '1', '--reservation', '2'], /cannot be used with/],
    [['list', '--cert', 'x'], /--cert and --key come together/],
    [['lst'], /unknown command 'lst'/],
  ]
  const ended = await Promise.all(cases.map(([args]) => ctl(...args)))
  ended.forEach(({ status, stdout, stderr }, i) => {
    assert.deepEqual([status, stdout], [2, ''], cases[i]![0].join(' '))
    assert.match(stderr, cases[i]![1])
  })
  assert.equal(box.policy.statistics().transactions, 0)
})

test('ctl: columns are as wide as their widest cell, numbers at the right', () => {
  assert.equal(table(['rule', 'group', 'owner'], [[7, '-', 'a'], [12345, 3, '-']]), [
    ' RULE  GROUP  OWNER',
    '    7      -  a',
    '12345      3  -', ''].join('\n'))
  assert.equal(table(['rule', 'inside'], []), 'RULE  INSIDE\n')
})

test('ctl: arguments are read as people write them', () => {
  assert.deepEqual(['box.example', 'box.example:1', '[2001:db8::1]:9', '2001:db8::1', '192.0.2.1:7626'].map(server), [
    { host: 'box.example', port: 7626 }, { host: 'box.example', port: 1 }, { host: '2001:db8::1', port: 9 },
    { host: '2001:db8::1', port: 7626 }, { host: '192.0.2.1', port: 7626 },
  ])
  for (const text of ['', ':7626', 'a:b', 'a:70000', '[2001:db8::1', 'a:1:x', '127.0.0.1:0']) assert.throws(() => server(text), InvalidArgumentError, text)
  assert.deepEqual(['0', '300', '5m', '1h30m'].map(seconds), [0, 300, 300, 5400])
  for (const text of ['', '-1', '1.5', '500ms', '5x', '99999999999']) assert.throws(() => seconds(text), InvalidArgumentError, text)
  assert.deepEqual([timeout('500ms'), timeout('10s')], [500, 10_000])
  for (const text of ['5', '0s', '30d', 'soon']) assert.throws(() => timeout(text), InvalidArgumentError, text)
  assert.deepEqual([ports('all'), ports('1'), ports('65534')], ['all', 1, 65534])
  for (const text of ['0', '65535', 'some', '-1']) assert.throws(() => ports(text), InvalidArgumentError, text)
  assert.deepEqual([protocol('udp'), protocol('132'), version('4'), version('6'), identifier('4294967295')], [17, 132, 4, 6, 0xffffffff])
  assert.deepEqual(['sctp', 'GRE', 'any'].map(protocol), [132, 47, 0])
  for (const text of ['', 'udpx', '256']) assert.throws(() => protocol(text), /Expected udp, tcp, another name such as gre, any, or a number/, text)
  for (const text of ['', '5', '46']) assert.throws(() => version(text), InvalidArgumentError, text)
  for (const text of ['', '-1', '4294967296', '1e3']) assert.throws(() => identifier(text), InvalidArgumentError, text)
})
