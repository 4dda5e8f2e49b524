/** `pinhole run --driver libpcap` in the lab: a part of what live.test.ts asks of every box. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { spawnSync } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { INTERFACES, MAIN, OFFLOAD, capObstacle, obstacle, openLab, type Lab, type Place, type RunningBox } from './lab.ts'
import type { RunReport } from '../../src/app/run/report.ts'

const PEER = path.resolve('build/test/live/peer.js'), OUT = '198.51.100.7', OUT6 = '2001:db8:9::7'
const noCap = capObstacle()
const found = obstacle() ?? (noCap === null ? null : { reason: noCap, isFault: true })
if (found?.isFault === true && process.env.CI !== undefined) throw new Error(found.reason)
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-libpcap-'))
after(() => fs.rmSync(dir, { recursive: true }))

/** Headers of Node for what is compiled against it, or null. */
const headers = [process.env.npm_config_nodedir ?? '', path.resolve(fs.realpathSync(process.execPath), '../..')]
  .map((root) => path.join(root, 'include/node')).find((folder) => fs.existsSync(path.join(folder, 'node.h'))) ?? null
/** Why no other `cap` can be compiled here; false: one can. */
const noCompiler = spawnSync('g++', ['--version']).status !== 0 ? 'missing: g++' : headers === null ? 'headers of Node are missing' : false
if (noCompiler !== false && process.env.CI !== undefined) throw new Error(noCompiler)

if (found !== null) test('libpcap', { skip: found.reason }, () => { /* there is no lab */ })
else describe('libpcap', () => {
  let lab: Lab
  before(async () => {
    lab = openLab()
    await serve('outside', 'serve', '::', '8080')
    await serve('outside', 'echo', OUT, '7000')
  })
  after(() => lab.close())

  const peer = (where: Place, ...command: string[]) => lab.must(where, process.execPath, PEER, ...command).trim()
  async function serve(where: Place, ...command: string[]): Promise<void> {
    const child = lab.start(where, process.execPath, PEER, ...command)
    await new Promise<void>((resolve) => child.stdout!.once('data', () => resolve()))
  }

  async function withBox(args: string[], work: (box: RunningBox) => Promise<void> | void): Promise<RunReport> {
    const file = path.join(dir, 'report.json')
    const box = await lab.box(...INTERFACES, '--driver', 'libpcap', ...args, '--report', file)
    try {
      await work(box)
    } catch (error) {
      await box.end()
      throw error
    }
    const { status, stdout, stderr } = await box.end()
    assert.equal(status, 0, stdout + stderr)
    return JSON.parse(fs.readFileSync(file, 'utf8')) as RunReport
  }

  test('echo, fragments and 10 MB of TCP each way pass, over IPv4 and IPv6, and no frame of the box comes back to it', async () => {
    const report = await withBox([], () => {
      for (const address of ['10.0.0.1', OUT, OUT6]) assert.match(lab.must('inside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', address), /2 received, 0% packet loss/)
      assert.equal(peer('inside', 'ask', OUT, '7000', '5000'), 'answered')
      assert.equal(peer('inside', 'post', `http://${OUT}:8080/`, '10485760'), 'same')
      assert.equal(peer('inside', 'fetch', `http://${OUT}:8080/10485760`, '10485760'), 'same')
      assert.equal(peer('inside', 'fetch', `http://[${OUT6}]:8080/1048576`, '1048576'), 'same')
    })
    const [inside, outside] = report.interfaces!.links.map(({ counters }) => counters)
    // What went in by one link left by the other, but for what the box says itself.
    assert.ok(Math.abs(inside!['received-frames'] - outside!['sent-frames']) < 100, JSON.stringify(report.interfaces))
    assert.ok(Math.abs(outside!['received-frames'] - inside!['sent-frames']) < 100, JSON.stringify(report.interfaces))
    assert.ok(outside!['received-frames'] > 7000)
    assert.deepEqual([inside!['send-errors'], outside!['send-errors'], inside!['oversized-frames']], [0, 0, 0])
  })

  test('checksums that a peer leaves to hardware are seen and filled in; VLANs and joined frames are counted', async () => {
    const checksums = (value: string) => lab.must('inside', process.execPath, OFFLOAD, 'eth0', value, 'checksum')
    const { interfaces } = await withBox([], (box) => {
      checksums('1')
      try {
        assert.equal(peer('inside', 'post', `http://${OUT}:8080/`, '200000'), 'same')
        assert.equal(peer('inside', 'ask', OUT, '7000', '300'), 'answered')
      } finally {
        checksums('0')
      }
      const [{ address }] = JSON.parse(lab.must('box', 'ip', '-j', 'link', 'show', 'in0')) as [{ address: string }]
      peer('inside', 'tagged', address, '200')
      lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
      assert.equal(box.child.exitCode, null)
    })
    const { counters } = interfaces!.links[0]!
    assert.ok(counters['completed-checksums'] > 100, `${counters['completed-checksums']} completed`)
    assert.equal(counters['tagged-frames'], 200)
  })

  test('auto: where there is no compiled driver it is libpcap that is taken, and a line says why', async () => {
    const root = path.join(dir, 'package')
    fs.mkdirSync(root)
    for (const name of ['package.json', 'dist', 'node_modules']) fs.symlinkSync(path.resolve(name), path.join(root, name))
    // Not the place that the link leads to: nothing is compiled here.
    const box = lab.start('box', process.execPath, '--preserve-symlinks', '--preserve-symlinks-main', path.join(root, 'dist/pinhole.js'), 'run', ...INTERFACES)
    let said = ''
    box.stderr!.setEncoding('utf8').on('data', (text: string) => { said += text })
    const ready = new Promise<string>((resolve) => { box.stdout!.setEncoding('utf8').once('data', resolve) })
    const ended = new Promise<number | null>((resolve) => box.on('close', (status) => resolve(status)))
    assert.match(await Promise.race([ready, ended.then((status) => `it ended: ${status}: ${said}`)]), /^ready: in0 \(libpcap, MTU 1500\) to out0 \(libpcap, MTU 1500\)/)
    assert.match(said, /driver packet: the driver for live interfaces is not built.*; trying libpcap/)
    assert.match(lab.must('inside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', OUT), /2 received, 0% packet loss/)
    box.kill('SIGTERM')
    assert.equal(await ended, 0)
  })

  test('links that go down, and come up again, are met again, if cap was compiled without assertions', { skip: noCompiler }, () => withLasting(async (program) => {
    const box = lab.start('box', process.execPath, ...program, 'run', ...INTERFACES, '--driver', 'libpcap')
    let said = ''
    box.stderr!.setEncoding('utf8').on('data', (text: string) => { said += text })
    const ended = new Promise<number | null>((resolve) => box.on('close', (status) => resolve(status)))
    await new Promise<void>((resolve) => box.stdout!.once('data', () => resolve()))
    assert.equal(/ends the box if/.test(said), false, said)
    const isThrough = () => lab.run('inside', 'ping', '-c', '1', '-W', '1', OUT).status === 0
    assert.equal(isThrough(), true)
    for (const name of ['out0', 'in0']) {
      lab.must('box', 'ip', 'link', 'set', name, 'down')
      await sleep(700)
      assert.match(said, new RegExp(`${name}: Network is down; trying again`))
      assert.equal(isThrough(), false)
      lab.must('box', 'ip', 'link', 'set', name, 'up')
      await sleep(700)
      for (let n = 0; n < 10 && !isThrough(); n++) await sleep(100)
      assert.equal(isThrough(), true, `after ${name} went down: ${said}`)
    }
    // So quickly that nobody sees it but by what the system counts.
    lab.must('box', 'sh', '-c', 'ip link set out0 down; ip link set out0 up')
    await sleep(700)
    for (let n = 0; n < 10 && !isThrough(); n++) await sleep(100)
    assert.equal(isThrough(), true, said)
    box.kill('SIGTERM')
    assert.equal(await ended, 0, said)
  }))

  /** The program, with a `cap` as docs/live.md says how to compile one. */
  async function withLasting(work: (program: string[]) => Promise<void>): Promise<void> {
    const root = path.join(dir, 'lasting'), cap = path.join(root, 'node_modules/cap'), built = path.join(cap, 'build/Release')
    fs.mkdirSync(built, { recursive: true })
    for (const name of ['package.json', 'dist']) fs.symlinkSync(path.resolve(name), path.join(root, name))
    for (const name of fs.readdirSync('node_modules')) if (name !== 'cap') fs.symlinkSync(path.resolve('node_modules', name), path.join(root, 'node_modules', name))
    for (const name of ['package.json', 'lib']) fs.symlinkSync(path.resolve('node_modules/cap', name), path.join(cap, name))
    const { status, stderr } = spawnSync('g++', [
      '-shared', '-fPIC', '-O1', '-std=c++17', '-w', '-DNDEBUG', '-DNODE_GYP_MODULE_NAME=cap', `-I${headers}`, `-I${path.resolve('node_modules/nan')}`,
      path.resolve('node_modules/cap/src/binding.cc'), '-lpcap', '-o', path.join(built, 'cap.node'),
    ], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    await work(['--preserve-symlinks', '--preserve-symlinks-main', path.join(root, 'dist/pinhole.js')])
  }

  test('under a flood the doors of the box still have their turn, and what found no room is counted', async () => {
    const file = path.join(dir, 'door.yaml')
    fs.writeFileSync(file, `midcom:
  enabled: true
  agents: [{name: lab, key: 00112233445566778899aabbccddeeff, inside: [10.0.0.0/24]}]
  simco: {listen: ["127.0.0.1:7626"], allow-plain: true}
`)
    const key = path.join(dir, 'lab.key')
    fs.writeFileSync(key, '00112233445566778899aabbccddeeff')
    let slowestMs = 0
    const report = await withBox(['--config', file], async () => {
      const [{ address }] = JSON.parse(lab.must('box', 'ip', '-j', 'link', 'show', 'in0')) as [{ address: string }]
      const flood = lab.later('inside', process.execPath, PEER, 'flood', address, '300000')
      for (let n = 0; n < 4; n++) {
        const fromMs = performance.now()
        const { status, stderr } = await lab.later('box', process.execPath, MAIN, 'ctl', '--server', '127.0.0.1:7626', '--agent', 'lab', '--key-file', key, 'session')
        assert.equal(status, 0, stderr)
        slowestMs = Math.max(slowestMs, performance.now() - fromMs)
      }
      await flood
      lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
    })
    const { counters } = report.interfaces!.links[0]!
    assert.ok(counters['received-frames'] > 10_000, `${counters['received-frames']} received`)
    assert.ok(slowestMs < 5000, `an answer took ${slowestMs} ms, program and all`)
  })
})
