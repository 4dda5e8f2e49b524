/** `pinhole run --simulate`, driven by agents over loopback. */
import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { RunReport } from '../src/app/run/report.ts'
import { connect, MidcomError, type Agent } from '../src/control/simco/agent.ts'
import { encodePcap } from '../src/phy/testing.ts'
import { buildPacket } from '../src/wire/build.ts'

const MAIN = path.resolve('build/src/app/cli/main.js')
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-run-'))
after(() => fs.rmSync(dir, { recursive: true }))
const TIMEOUT_MS = 60_000

const inDir = (name: string) => path.join(dir, name)
const read = (name: string) => fs.readFileSync(inDir(name), 'utf8')
function write(name: string, bytes: Uint8Array | string): string {
  fs.writeFileSync(inDir(name), bytes)
  return name
}

function pinhole(args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { cwd: dir, timeout: TIMEOUT_MS, encoding: 'utf8' })
  return { status, stdout, stderr }
}

const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true })
  .compile(JSON.parse(fs.readFileSync('docs/run-report.schema.json', 'utf8')) as object)

/** The configuration that `init --lab` prints, with a port that is free. */
const lab = pinhole(['init', '--lab']).stdout
write('lab.yaml', lab.replace('listen: [127.0.0.1:7626]', 'listen: [127.0.0.1:0]').replace('listen: [127.0.0.1:1161]', 'listen: []').replace('ports: 40000-49999', 'ports: 40000-40003')
  .replace('pool: [203.0.113.1-203.0.113.4]', 'pool: [203.0.113.1]'))

interface Box {
  port: number
  child: ChildProcess
  stderr: () => string
  stdout: () => string
  reportFile: string
  /** Ends it by that signal; what it printed after it was ready, and its report. */
  end: (signal?: NodeJS.Signals) => Promise<{ status: number | null; stdout: string; stderr: string; report: RunReport }>
}

let boxes = 0
async function run(args: readonly string[] = [], config = 'lab.yaml', seed: readonly string[] = ['--seed', '1'], env: Record<string, string> = {}): Promise<Box> {
  const name = `report-${boxes++}.json`
  const child = spawn(process.execPath, [MAIN, 'run', '--simulate', ...args, '--config', config, '--report', name, ...seed], { cwd: dir, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = '', stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS)
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve(code)
    })
  })
  const ready = new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      if (stdout.includes('\n')) resolve(stdout)
    })
    void ended.then(() => reject(new Error(`it ended: ${stderr}`)))
  })
  const port = Number(/^ready: (?:.+\.pcap \(\d+ packets\), )?simco 127\.0\.0\.1:(\d+)\n$/.exec(await ready)?.[1])
  assert.ok(port > 0, stdout)
  return {
    port, child, stderr: () => stderr, stdout: () => stdout, reportFile: name,
    async end(signal = 'SIGTERM') {
      child.kill(signal)
      const status = await ended
      const report = JSON.parse(read(name)) as RunReport
      assert.ok(validate(report), JSON.stringify(validate.errors, null, 1))
      return { status, stdout: stdout.slice(stdout.indexOf('\n') + 1), stderr, report }
    },
  }
}

/** The next event of an agent that is about a rule, or 'terminated'. */
async function until(agent: Agent, wanted: (event: { kind: string; rule?: number; lifetimeSec?: number }) => boolean): Promise<void> {
  for await (const event of agent.events()) if (wanted(event)) return
  throw new Error('the events ended first')
}

const refused = (code: number) => (error: unknown) => error instanceof MidcomError && error.code === code

test('run --simulate: an agent of this machine reserves, enables, asks, is told of the end, and deletes', async () => {
  const box = await run()
  const agent = await connect('127.0.0.1', box.port), watcher = await connect('127.0.0.1', box.port)
  const reserved = await agent.reserve({ protocol: 'udp', ports: 2, parity: 'even', lifetimeSec: 30 })
  assert.equal(reserved.outside.address, '203.0.113.1')
  assert.ok([40_000, 40_002].includes(reserved.outside.port))
  const expired = until(watcher, ({ kind, rule, lifetimeSec }) => kind === 'rule' && rule === reserved.rule && lifetimeSec === 0)
  const enabled = await agent.enable({ protocol: 'udp', internal: '10.0.0.5:5004+2', external: '*', direction: 'inbound', reservation: reserved.rule, lifetimeSec: 1 })
  assert.deepEqual([enabled.rule, enabled.outside], [reserved.rule, reserved.outside])
  assert.deepEqual(await agent.list(), [reserved.rule])
  // The lifetime is that of a clock which also runs while nobody asks anything.
  await expired
  assert.deepEqual(await watcher.list(), [])
  const blocked = await agent.disable({ protocol: 'udp', internal: '10.0.0.6', external: '198.51.100.7', lifetimeSec: 60 })
  await assert.rejects(watcher.enable({ protocol: 'udp', internal: '10.0.0.6:1', external: '198.51.100.7:2', direction: 'outbound', lifetimeSec: 9 }), refused(0x0350))
  await agent.delete(blocked.rule)
  await watcher.enable({ protocol: 'udp', internal: '10.0.0.6:1', external: '198.51.100.7:2', direction: 'outbound', lifetimeSec: 9 })
  await Promise.all([agent.end(), watcher.end()])
  const { status, stdout, stderr, report } = await box.end()
  assert.equal(status, 0)
  assert.match(stdout, /^midcom +\d+ transactions; 3 rules for packets, 1 alive, 1 expired, 0 idle$/m)
  assert.match(stderr, /^simco: session-opened #1 127\.0\.0\.1:\d+ lab$/m)
  assert.deepEqual([report.midcom?.rules, report.midcom?.failures, report.simco?.['sessions-opened']], [{ added: 3, current: 1, expired: 1, idle: 0 }, { 'blocked-by-disable-rule': 1 }, 2])
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`run --simulate: ${signal} tells agents that their sessions end (AST) and ends with status 0`, async () => {
    const box = await run()
    const agent = await connect('127.0.0.1', box.port)
    const over = until(agent, ({ kind }) => kind !== 'rule')
    const { status, report } = await box.end(signal)
    await over
    agent.close()
    assert.equal(status, 0)
    assert.equal(report.simco?.['out-termination-messages'], 1)
  })
}

test('run --simulate: SIGUSR2 tells what the box has done until now, in the report too, and the box goes on', async () => {
  write('count.pcap', encodePcap(Array.from({ length: 400 }, (_, n) => ({
    data: buildPacket({ link: 'ethernet', proto: 'udp', src: '10.0.0.5', srcPort: 5000, dst: '198.51.100.7', dstPort: 53 }), sec: 1, nsec: n * 250_000,
  }))))
  const box = await run(['count.pcap', '--loop', 'forever'])
  const agent = await connect('127.0.0.1', box.port)
  let packets = 0
  for (let asked = 1; asked <= 2; asked++) {
    await agent.enable({ protocol: 'udp', internal: `10.0.0.6:${asked}`, external: '198.51.100.7:2', direction: 'outbound', lifetimeSec: 30 })
    box.child.kill('SIGUSR2')
    const told = new RegExp(`^up .*(?:\\n(?!up ).*)*\\nmidcom +\\d+ transactions; ${asked} rules? for packets, ${asked} alive, 0 expired, 0 idle$`, 'm')
    for (let n = 0; !told.test(box.stdout()) && n < 500; n++) await new Promise((resolve) => { setTimeout(resolve, 10) })
    assert.match(box.stdout(), told)
    assert.match(box.stdout(), /^flows +1 opened, 0 expired, 0 evicted, 1 alive, peak 1 of /m)
    const report = JSON.parse(read(box.reportFile)) as RunReport
    assert.ok(validate(report), JSON.stringify(validate.errors, null, 1))
    assert.deepEqual([report.midcom?.rules.current, report.flows.current], [asked, 1])
    assert.ok(report.packets > packets, `${report.packets} packets`)
    packets = report.packets
  }
  agent.close()
  fs.rmSync(path.join(dir, box.reportFile))
  fs.mkdirSync(path.join(dir, box.reportFile))
  box.child.kill('SIGUSR2')
  for (let n = 0; !/^pinhole:/m.test(box.stderr()) && n < 500; n++) await new Promise((resolve) => { setTimeout(resolve, 10) })
  assert.match(box.stderr(), new RegExp(`^pinhole: cannot write ${box.reportFile}: .*EISDIR`, 'm'))
  fs.rmdirSync(path.join(dir, box.reportFile))
  const { status, report } = await box.end()
  assert.equal(status, 0)
  assert.ok(report.packets > packets)
})

test('run --simulate CAPTURE: without a configuration, or with one without agents, packets pass by it, no door is open, and its end is told', async () => {
  write('few.pcap', encodePcap(Array.from({ length: 30 }, (_, n) => ({
    data: buildPacket({ link: 'ethernet', proto: 'udp', src: '10.0.0.5', srcPort: 5000 + n, dst: '198.51.100.7', dstPort: 53 }), sec: 1, nsec: n,
  }))))
  write('plain.yaml', 'inside: [10.0.0.0/8]\n')
  for (const [played, ...more] of [[30], [30, '--config', 'plain.yaml'], [90, '--loop', '3'], [30, '--quiet']] as const) {
    const child = spawn(process.execPath, [MAIN, 'run', '--simulate', 'few.pcap', ...more], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = '', stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS)
    for (let n = 0; !stdout.includes(`outside ${played} packets, `) && n < 500; n++) {
      if (stdout.startsWith('ready: ')) child.kill('SIGUSR2')
      await new Promise((resolve) => { setTimeout(resolve, 20) })
    }
    child.kill('SIGTERM')
    assert.equal(await ended, 0)
    clearTimeout(timer)
    assert.match(stdout, /^ready: few\.pcap \(30 packets\)\n/)
    assert.match(stdout, new RegExp(`^out +inside 0 packets, 0 bytes, outside ${played} packets`, 'm'))
    const isQuiet = (more as readonly string[]).includes('--quiet')
    assert.equal(stderr, isQuiet ? '' : `few.pcap is over: ${played} packets; the box goes on until it is stopped\n`)
    assert.match(stdout, /^flows +30 opened, 0 expired, 0 evicted, 30 alive/m)
  }
})

// @req RFC6888 REQ-15
test('run --simulate: a box draws its seed and tells it, so that its ports cannot be foretold and its run can be repeated (RFC 6888 REQ-15)', async () => {
  const seeds = []
  for (const given of [[], [], ['--seed', '7']]) {
    const { stdout, report } = await (await run([], 'lab.yaml', given)).end()
    assert.match(stdout, new RegExp(`, seed ${report.settings.seed}\\n`))
    seeds.push(report.settings.seed)
  }
  assert.equal(seeds[2], 7)
  assert.equal(new Set([1, ...seeds]).size, 4, `${seeds}`)
})

test('run --simulate: an idle box has no turns', async () => {
  const box = await run()
  const agent = await connect('127.0.0.1', box.port)
  await agent.enable({ protocol: 'udp', internal: '10.0.0.5:1', external: '*', direction: 'inbound', lifetimeSec: 3000 })
  await new Promise((resolve) => { setTimeout(resolve, 500) })
  await agent.end()
  const { report } = await box.end()
  // One to begin with, one or two for each request; a box that polled would have hundreds.
  assert.ok(report.turns < 20, `${report.turns} turns`)
})

/** From outside to the four ports kept for rules, and from inside, so that the capture has both sides. */
const capture = write('knocking.pcap', encodePcap([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((n) => [40_000, 40_001, 40_002, 40_003].map((dstPort) => ({
  data: buildPacket({ link: 'ethernet', proto: 'udp', src: '198.51.100.7', srcPort: 6000, dst: '203.0.113.1', dstPort, payload: new Uint8Array(20) }), sec: 1_700_000_000, nsec: n * 10_000_000,
})))))

for (const [pace, what] of [['original', 'at their own pace'], ['max', 'as fast as they go']] as const) {
  test(`run --simulate: packets of a capture meet the rules, ${what}, again and again, while agents are served`, async () => {
    const box = await run([capture, '--loop', 'forever', '--pace', pace, '--quiet'])
    const agent = await connect('127.0.0.1', box.port)
    const { rule } = await agent.enable({ protocol: 'udp', internal: '10.0.0.5:5004+2', external: '198.51.100.7', direction: 'inbound', lifetimeSec: 60 })
    await new Promise((resolve) => { setTimeout(resolve, 300) })
    assert.deepEqual(await agent.list(), [rule])
    await agent.end()
    const { status, stderr, report } = await box.end()
    assert.equal(status, 0)
    assert.equal(stderr, '')
    // Two of four ports lead inside.
    assert.ok(report.out.inside.packets >= 2, JSON.stringify(report.out))
    assert.equal(report.out.inside.packets + report.dropped.packets, report.packets)
    assert.deepEqual(Object.keys(report.drops).filter((name) => !['no-mapping', 'filtered'].includes(name)), [])
    assert.deepEqual([report.settings.loops, report.settings.pace], [null, pace === 'max' ? 'max' : '1x'])
  })
}

test('run --simulate --log-mappings: what packets and agents map is added to a file while the box runs', async () => {
  const outward = write('outward.pcap', encodePcap(Array.from({ length: 20 }, (_, n) => ({
    data: buildPacket({ link: 'ethernet', proto: 'udp', src: `10.0.0.${1 + n}`, srcPort: 5000, dst: '198.51.100.7', dstPort: 53 }), sec: 1_700_000_000, nsec: n,
  }))))
  write('mappings.json', '{"event":"earlier"}\n')
  const box = await run([outward, '--pace', 'max', '--log-mappings', 'mappings.json'])
  const agent = await connect('127.0.0.1', box.port)
  const { rule } = await agent.enable({ protocol: 'udp', internal: '10.0.0.5:5004', external: '198.51.100.7:6000', direction: 'inbound', lifetimeSec: 60 })
  await agent.delete(rule)
  await agent.end()
  const started = Date.now()
  const lines = () => fs.readFileSync(`${dir}/mappings.json`, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, string>)
  while (lines().length < 23 && Date.now() - started < 10_000) await new Promise((resolve) => { setTimeout(resolve, 20) })
  const { status, report } = await box.end()
  assert.equal(status, 0)
  const [earlier, ...told] = lines()
  assert.equal(earlier.event, 'earlier')
  assert.equal(told.filter(({ event, inside }) => event === 'mapping-opened' && /^10\.0\.0\.\d+:5000$/.test(inside)).length, 20)
  assert.deepEqual(told.filter(({ inside }) => inside === '10.0.0.5:5004').map(({ event }) => event), ['mapping-opened', 'mapping-closed'])
  assert.ok(told.every(({ time }) => Math.abs(Date.parse(time) - Date.now()) < 60_000))
  assert.deepEqual(report.mappingLog, { written: told.length, lost: 0 })
})

test('run --simulate: a capture that is over leaves the box running', async () => {
  const box = await run([capture, '--loop', '2', '--pace', 'max'])
  const agent = await connect('127.0.0.1', box.port)
  assert.deepEqual(await agent.list(), [])
  await agent.end()
  const { report } = await box.end()
  assert.equal(report.packets, 80)
})

test('run --simulate: SIGHUP reads again what agents may do; who is gone loses its sessions; a bad file changes nothing', async () => {
  const key = '00112233445566778899aabbccddeeff'
  const config = (agents: string) => lab.replace('listen: [127.0.0.1:7626]', 'listen: [127.0.0.1:0]').replace('challenge: false', 'challenge: true')
    .replace('listen: [127.0.0.1:1161]', 'listen: []').replace(/ {4}users:\n {6}- name: lab\n(?: {8}.*\n)*/, '    users: []\n')
    .replace(/ {2}agents:\n {4}- name: lab\n.*\n/, `  agents: [${agents}]\n`)
  write('reload.yaml', config(`{name: lab}, {name: guest, key: ${key}}`))
  const box = await run([], 'reload.yaml')
  const agent = await connect('127.0.0.1', box.port)
  await agent.reserve({ protocol: 'udp', lifetimeSec: 30 })
  const reloaded = async (text: string, sign: RegExp) => {
    write('reload.yaml', text)
    box.child.kill('SIGHUP')
    for (let n = 0; !sign.test(box.stderr()) && n < 500; n++) await new Promise((resolve) => { setTimeout(resolve, 10) })
    assert.match(box.stderr(), sign)
  }
  await reloaded(config('{name: lab, may: [read]}'), /^reloaded what 1 agent may do, and 0 firewall rules; keys, doors and all other settings count from the next start$/m)
  await assert.rejects(agent.reserve({ protocol: 'udp', lifetimeSec: 30 }), refused(0x0341))
  assert.equal((await agent.list()).length, 1)
  await reloaded('midcom: {agents: 5}\n', /^reload\.yaml:1:18: midcom\.agents: a list is needed here, not 5.*\npinhole: reload\.yaml is not used; the box goes on as it was$/m)
  assert.equal((await agent.list()).length, 1)
  const over = until(agent, ({ kind }) => kind !== 'rule')
  await reloaded(config('{name: somebody}').replace('loopback-agent: lab', 'loopback-agent: somebody'), /^simco: session-closed #1 .* authorization$/m)
  await over
  agent.close()
  const { status } = await box.end()
  assert.equal(status, 0)
})

test('run --simulate: SIGHUP where no configuration can be read, for want of a thread, changes nothing; the next one reads it', async () => {
  write('no-threads.cjs', `const { isMainThread } = require('node:worker_threads')
    if (!isMainThread && require('node:fs').existsSync(${JSON.stringify(inDir('no-threads'))})) throw new Error('no room for a thread')`)
  write('no-threads', '')
  const box = await run([], 'lab.yaml', [], { NODE_OPTIONS: `--require ${inDir('no-threads.cjs')}` })
  const said = async (sign: RegExp) => {
    box.child.kill('SIGHUP')
    for (let n = 0; !sign.test(box.stderr()) && n < 500; n++) await new Promise((resolve) => { setTimeout(resolve, 10) })
    assert.match(box.stderr(), sign)
  }
  await said(/^pinhole: lab\.yaml cannot be read again: no room for a thread\npinhole: lab\.yaml is not used; the box goes on as it was$/m)
  fs.rmSync(inDir('no-threads'))
  await said(/^reloaded what 1 agent may do/m)
  assert.equal((await box.end()).status, 0)
})

test('run --simulate: SIGHUP and SIGUSR2 before the box is ready wait until it is', async () => {
  write('early.cjs', `if (require('node:worker_threads').isMainThread) {
    const { on } = process
    process.on = function (signal, ...rest) {
      const it = on.call(this, signal, ...rest)
      if (signal === 'SIGUSR2') for (const early of ['SIGHUP', 'SIGUSR2']) process.kill(process.pid, early)
      return it
    }
  }`)
  const box = await run([], 'lab.yaml', [], { NODE_OPTIONS: `--require ${inDir('early.cjs')}` })
  const isTold = () => /^up /m.test(box.stdout()) && /^reloaded what 1 agent/m.test(box.stderr())
  for (let n = 0; !isTold() && n < 500; n++) await new Promise((resolve) => { setTimeout(resolve, 10) })
  assert.ok(isTold(), box.stdout() + box.stderr())
  assert.equal((await box.end()).status, 0)
})

test('run --simulate: SIGHUP replaces the firewall rules while traffic flows: what they forbid ends at once, the rest loses nothing, and a broken file changes nothing', async () => {
  const udp = (src: string, srcPort: number, dst: string, dstPort: number) => buildPacket({ link: 'ethernet', proto: 'udp', src, srcPort, dst, dstPort })
  const [X, Y] = ['198.51.100.7', '198.51.100.9']
  // Both talk all the time, 2000 packets a second each; nothing is idle for long enough to end.
  const one = [udp('10.0.0.5', 5000, X, 53), udp(X, 53, '10.0.0.5', 5000), udp('10.0.0.5', 5000, Y, 53), udp(Y, 53, '10.0.0.5', 5000)]
  write('talk.pcap', encodePcap(Array.from({ length: 400 }, (_, n) => ({ data: one[n % 4]!, sec: 1, nsec: n * 250_000 }))))
  const plain = read('lab.yaml').replace(/^firewall:\n(?: {2}.*\n)*/m, '')
  const withRules = (...list: string[]) => write('rules.yaml', `${plain}\nfirewall:\n  rules:\n${list.map(text => `    - ${text}\n`).join('')}`)
  withRules('permit in 17 from any to any')
  const box = await run(['talk.pcap', '--loop', 'forever'], 'rules.yaml')
  const reloaded = async (sign: RegExp) => {
    box.child.kill('SIGHUP')
    for (let n = 0; !sign.test(box.stderr()) && n < 1000; n++) await new Promise((resolve) => { setTimeout(resolve, 10) })
    assert.match(box.stderr(), sign)
  }
  const aWhile = () => new Promise((resolve) => { setTimeout(resolve, 300) })
  await aWhile()
  withRules('permit in 17 from any to any', 'deny in 17 from any to 198.51.100.300')
  await reloaded(/^rules\.yaml:\d+:\d+: firewall\.rules\[1\]: .*198\.51\.100\.300.*\npinhole: rules\.yaml is not used; the box goes on as it was$/m)
  await aWhile()
  withRules(`deny in 17 from any to ${X} 53`, 'permit in 17 from any to any')
  await reloaded(/^reloaded what 1 agent may do, and 2 firewall rules;/m)
  await aWhile()
  const { status, report } = await box.end()
  assert.equal(status, 0)
  assert.ok(report.packets > 1000)
  // The flow to X ended, that to Y never did: each was opened once.
  assert.deepEqual([report.flows.opened, report.flows.current], [2, 1])
  const { 'denied-by-firewall': denied = 0, ...others } = report.drops as Record<string, number>
  const replies = Object.values(others).reduce((sum, n) => sum + n, 0)
  assert.deepEqual(Object.keys(others), ['filtered'], 'replies of X alone')
  assert.ok(denied > 100 && Math.abs(denied - replies) <= 1, `${denied} denied, ${replies} replies dropped`)
  assert.equal(report.out.outside.packets + report.out.inside.packets, report.packets - denied - replies + Number(report.icmpErrors.originated))
})

test('run: what cannot be run ends with status 2 and says why', async () => {
  const busy = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => { busy.once('listening', resolve) })
  const { port } = busy.address() as AddressInfo
  write('busy.yaml', lab.replace('listen: [127.0.0.1:7626]', `listen: [127.0.0.1:${port}]`))
  write('off.yaml', lab.replace('enabled: true', 'enabled: false'))
  write('closed.yaml', lab.replace('listen: [127.0.0.1:7626]', 'listen: [127.0.0.1:0]').replace('loopback-agent: lab', 'loopback-agent: ""'))
  write('cut.pcap', fs.readFileSync(inDir(capture)).subarray(0, 100))
  try {
    for (const [args, status, message] of [
      [[], 2, /^pinhole: which interfaces\? name them with --inside and --outside/],
      [['lab.pcap', '--inside', 'in0,10.0.0.1/24', '--outside', 'out0,203.0.113.1/24'], 2, /^pinhole: a capture is played with --simulate/],
      [['--simulate', '--config', 'lab.yaml', '--gateway', '203.0.113.254'], 2, /^pinhole: --gateway is for interfaces/],
      [['--simulate'], 2, /^pinhole: a configuration is needed: `pinhole init --lab/],
      [['--simulate', '--config', 'off.yaml'], 2, /^pinhole: off\.yaml: midcom\.enabled is false/],
      [['--simulate', '--config', 'busy.yaml'], 2, new RegExp(`^pinhole: cannot open the simco door: address already in use 127\\.0\\.0\\.1:${port} \\(EADDRINUSE\\)\\n$`, 'm')],
      [['--simulate', '--config', 'closed.yaml'], 2, /^pinhole: midcom\.simco: nobody could come in: give an agent a key or a certificate, or name a loopback-agent\n$/],
      [['--simulate', 'absent.pcap', '--config', 'lab.yaml'], 2, /^pinhole: .*ENOENT/],
      [['--simulate', 'absent.pcap'], 2, /^pinhole: cannot open absent\.pcap: no such file or directory \(ENOENT\)\n$/],
      [['--simulate', 'cut.pcap', '--config', 'lab.yaml'], 3, /^pinhole: cut\.pcap: byte \d+: /],
      [['--simulate', '-', '--config', 'lab.yaml'], 2, /^pinhole: the capture is read before the box starts: name a file\n$/],
      [['--simulate', '--config', 'lab.yaml', '--report', 'lab.yaml'], 2, /^pinhole: lab\.yaml is the configuration/],
      [['--simulate', '--config', 'lab.yaml', '--loop', 'often'], 2, /--loop/],
    ] as const) {
      const ended = pinhole(['run', ...args])
      assert.deepEqual([ended.status, ended.stdout], [status, ''], args.join(' ') + ended.stderr)
      assert.match(ended.stderr, message)
    }
  } finally {
    busy.close()
  }
})

const KEY = '00112233445566778899aabbccddeeff'
const key = Uint8Array.from(Buffer.from(KEY, 'hex'))

test('run --simulate: an agent proves that it has its key, and the box does too; another key opens no session', async () => {
  write('agent.key', `${KEY}\n`)
  write('keys.yaml', `midcom:
  enabled: true
  agents: [{name: b2bua, key-file: agent.key}, {name: other, key: ${KEY.replace('0', 'f')}}]
  simco: {listen: ['127.0.0.1:0']}
`)
  const box = await run([], 'keys.yaml')
  const agent = await connect('127.0.0.1', box.port, { sharedKey: { name: 'b2bua', key } })
  assert.deepEqual(await agent.list(), [])
  await agent.end()
  await assert.rejects(connect('127.0.0.1', box.port, { sharedKey: { name: 'other', key } }), MidcomError)
  await assert.rejects(connect('127.0.0.1', box.port), MidcomError)
  const { report } = await box.end()
  assert.equal(report.simco?.['sessions-opened'], 1)
})

test('run --simulate: TLS with a certificate of its own, where openssl can make one', { skip: spawnSync('openssl', ['version']).status === 0 ? false : 'no openssl' }, async () => {
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=softswitch',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'box.key', '-out', 'box.pem'], { cwd: dir, encoding: 'utf8' })
  assert.equal(made.status, 0, made.stderr)
  // It serves for both sides: a certificate that signs itself is its own authority.
  write('tls.yaml', `midcom:
  enabled: true
  agents: [{name: switch, certificates: ['CN:softswitch']}]
  simco: {listen: ['127.0.0.1:0'], tls: {cert: box.pem, key: box.key, ca: box.pem}, challenge: false}
`)
  const box = await run([], 'tls.yaml')
  const pem = { cert: read('box.pem'), key: read('box.key') }
  const agent = await connect('127.0.0.1', box.port, { tls: { ca: read('box.pem'), ...pem } })
  assert.deepEqual(await agent.list(), [])
  await agent.end()
  await assert.rejects(connect('127.0.0.1', box.port, { tls: { ca: read('box.pem') }, connectTimeoutMs: 5000 }), MidcomError)
  await assert.rejects(connect('127.0.0.1', box.port, { connectTimeoutMs: 5000 }), MidcomError)
  const { stderr } = await box.end()
  assert.match(stderr, /^simco: session-opened #\d+ 127\.0\.0\.1:\d+ switch$/m)
})

test('run --simulate: an external decision point is asked about the agents that say so, and no answer is a refusal (RFC 3303 2.9)', async () => {
  const questions: { kind: string; agent: string }[] = []
  const pdp = createHttpServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => {
      const question = JSON.parse(body) as { kind: string; agent: string; request?: { lifetimeSec: number } }
      questions.push(question)
      if (question.request?.lifetimeSec === 13) response.writeHead(500).end()
      else response.end(JSON.stringify({ permit: question.kind !== 'disable', reason: 'lack-of-resources', maxLifetimeSec: 5 }))
    })
  })
  await new Promise<void>((resolve) => { pdp.listen(0, '127.0.0.1', resolve) })
  const { port } = pdp.address() as AddressInfo
  write('pdp.yaml', read('lab.yaml').replace('url: ""', `url: http://127.0.0.1:${port}/decide`).replace('      acts-for: ["*"]', '      pdp: true'))
  const box = await run([], 'pdp.yaml')
  try {
    const agent = await connect('127.0.0.1', box.port)
    const { lifetimeSec } = await agent.reserve({ protocol: 'udp', lifetimeSec: 60 })
    assert.equal(lifetimeSec, 5)
    await assert.rejects(agent.disable({ protocol: 'udp', internal: '10.0.0.1', external: '*', lifetimeSec: 60 }), refused(0x0342))
    await assert.rejects(agent.reserve({ protocol: 'udp', lifetimeSec: 13 }), refused(0x0341))
    await agent.end()
  } finally {
    const { report, stderr } = await box.end()
    pdp.closeAllConnections()
    pdp.close()
    assert.deepEqual(questions.map(({ kind, agent }) => [kind, agent]), [['session', 'lab'], ['reserve', 'lab'], ['disable', 'lab'], ['reserve', 'lab']])
    assert.match(stderr, /^pdp: bad-status: status 500 \(reserve of lab\)$/m)
    assert.deepEqual([report.pdp?.questions, report.pdp?.permits, report.pdp?.refusals, report.pdp?.failures['bad-status']], [4, 2, 1, 1])
  }
})
