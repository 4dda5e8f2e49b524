/** What `pinhole replay` must not destroy, when it stops, and what it answers to the shell. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readModel } from '../../phy/capture-reader.model.ts'
import { encodePcap, encodePcapng, type TestPacket } from '../../phy/testing.ts'
import { buildPacket } from '../../wire/build.ts'
import { template } from '../config/template.ts'
import type { Report } from '../replay/report.ts'

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'pinhole-replay-cli-'))
after(() => rmSync(scratch, { recursive: true }))
const TIMEOUT_MS = 60_000
const NO_FIFO = spawnSync('mkfifo', ['--version']).error === undefined ? false : 'no mkfifo'

const at = (name: string) => join(scratch, name)
const read = (name: string) => readFileSync(at(name))
function file(name: string, bytes: Uint8Array | string): string {
  writeFileSync(at(name), bytes)
  return name
}

function replay(args: string[], input: Uint8Array | string = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'replay', ...args], {
    cwd: scratch, encoding: 'utf8', input, timeout: TIMEOUT_MS,
  })
  return { status, stdout, stderr }
}

/** Through a shell, for redirections. "$0" is node, "$1" the program. */
function shell(script: string) {
  const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', script, process.execPath, MAIN], {
    cwd: scratch, encoding: 'utf8', timeout: TIMEOUT_MS,
  })
  return { status, stdout, stderr }
}

interface Ended { status: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }

function start(args: string[], node: string[] = []) {
  const child = spawn(process.execPath, [...node, MAIN, 'replay', ...args], { cwd: scratch, stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT_MS })
  let stdout = '', stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  child.stdin.on('error', () => { /* it may be gone */ })
  const ended = new Promise<Ended>((resolve) => child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr })))
  return { child, ended, stderr: () => stderr }
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; !condition(); n++) {
    assert(n < 3000, `still not: ${condition}`)
    await new Promise((resolve) => { setTimeout(resolve, 10) })
  }
}
/** The program listens for signals before it opens an output. */
const opened = (name: string) => until(() => existsSync(at(name)))

/** A file that is whole, with so many packets. */
function packetsIn(name: string): number {
  const { packets, faultOffset } = readModel(read(name))
  assert.equal(faultOffset, -1, `${name} is damaged`)
  return packets.length
}

function packets(count: number, stepMs = 1, { src = '10.0.0.1', dst = '198.51.100.7' } = {}): TestPacket[] {
  const data = buildPacket({ link: 'ethernet', proto: 'udp', src, dst, srcPort: 5000, dstPort: 53 })
  return Array.from({ length: count }, (_, n) => ({
    data, sec: 1_700_000_000 + Math.floor(n * stepMs / 1000), nsec: n * stepMs % 1000 * 1_000_000,
  }))
}

const capture = encodePcap(packets(20))
file('in.pcap', capture)

test('replay: no output may be the input, the configuration or another output, whatever their paths look like', () => {
  file('box.yaml', template())
  file('other', 'precious')
  mkdirSync(at('folder'))
  symlinkSync('in.pcap', at('soft'))
  symlinkSync(at('folder'), at('folder-link'))
  symlinkSync('to-come', at('dangling'))
  linkSync(at('in.pcap'), at('hard'))
  const cases: string[][] = [
    ['in.pcap', '--out-outside', 'in.pcap'], ['in.pcap', '--out-outside', './in.pcap'], ['in.pcap', '--out-inside', at('in.pcap')],
    ['in.pcap', '--out-inside', 'folder/../in.pcap'], ['in.pcap', '--report', 'soft'], ['soft', '--out-outside', 'hard'],
    ['in.pcap', '--out-outside', 'box.yaml', '--config', './box.yaml'], ['in.pcap', '--report', 'box.yaml', '--config', 'box.yaml'],
    ['in.pcap', '--out-outside', 'other', '--out-inside', './other'], ['in.pcap', '--out-outside', 'other', '--report', at('other')],
    ['in.pcap', '--out-outside', 'new', '--out-inside', './new'], ['in.pcap', '--out-inside', 'folder/new', '--report', 'folder-link/new'],
    ['in.pcap', '--out-inside', 'to-come', '--report', 'dangling'], ['in.pcap', '--out-inside', '-', '--report', '-'],
  ]
  for (const args of cases) {
    const { status, stdout, stderr } = replay(args)
    assert.equal(status, 2, args.join(' '))
    assert.equal(stdout, '')
    assert.match(stderr, /^pinhole: [^\n]+(write elsewhere|cannot both go to standard output \(-\): name a file for one of them)\n$/)
  }
  assert.deepEqual(new Uint8Array(read('in.pcap')), capture)
  assert.equal(read('box.yaml').toString(), template())
  assert.equal(read('other').toString(), 'precious')
  for (const name of ['new', 'folder/new', 'to-come']) assert(!existsSync(at(name)), name)
})

test('replay: a redirected standard stream is a file, too', () => {
  const over = shell('"$0" "$1" replay - --out-outside ./in.pcap < in.pcap')
  assert.equal(over.status, 2)
  assert.match(over.stderr, /is the input/)
  assert.deepEqual(new Uint8Array(read('in.pcap')), capture)
  const twice = shell('"$0" "$1" replay in.pcap --out-outside - --report both >> both')
  assert.equal(twice.status, 2)
  assert.equal(read('both').length, 0)
})

test('replay: devices are no files: both outputs may go to /dev/null', () => {
  assert.equal(replay(['in.pcap', '--out-outside', '/dev/null', '--out-inside', '/dev/null', '--report', '/dev/null']).status, 0)
})

test('replay: outputs are left alone if the input cannot be opened', () => {
  file('kept', 'precious')
  for (const args of [['nosuch.pcap'], ['.'], ['nosuch.pcap', '--preload'], ['nosuch.pcap', '--inside-if', '0'], ['nosuch.pcap', '--loop', '2']]) {
    const { status, stderr } = replay([...args, '--out-outside', 'kept', '--out-inside', 'made', '--report', 'made.json'])
    assert.equal(status, 2, args.join(' '))
    assert.match(stderr, /^pinhole: cannot open [^\n]+\n$/)
    assert.equal(read('kept').toString(), 'precious')
    for (const name of ['made', 'made.json']) assert(!existsSync(at(name)), name)
  }
})

test('replay: outputs are left alone if one of them cannot be written', () => {
  file('kept', 'precious')
  mkdirSync(at('a-folder'))
  const options = ['--out-inside', '--out-outside', '--report']
  for (const bad of ['absent/x', 'a-folder']) {
    for (const option of options) {
      const others = options.filter((one) => one !== option).flatMap((one, n) => [one, n === 0 ? 'kept' : 'made'])
      const { status, stdout, stderr } = replay(['in.pcap', option, bad, ...others])
      assert.equal(status, 4, `${option} ${bad}`)
      assert.equal(stdout, '', 'noticed before the run')
      assert.match(stderr, new RegExp(`^pinhole: cannot write ${bad}: [^\\n]+\\n$`))
      assert.equal(read('kept').toString(), 'precious')
      assert(!existsSync(at('made')))
    }
  }
})

const twoSided = encodePcapng({
  interfaces: [{ name: 'wan0' }, { name: 'lan0' }], packets: packets(6).map((packet, n) => ({ ...packet, iface: n % 2 })),
})
// Interfaces may be described as late as this.
const late = encodePcapng({ interfaces: [{ name: 'wan0' }], packets: packets(3) }, { interfaces: [{ name: 'lan0' }], packets: packets(3) })

test('replay --inside-if: outputs are left alone if a file has no such interface', () => {
  file('kept', 'precious')
  for (const name of [file('two.pcapng', twoSided), file('late.pcapng', late), 'in.pcap']) {
    for (const preload of [[], ['--preload']]) {
      const { status, stdout, stderr } = replay([name, '--inside-if', 'eth9', ...preload, '--out-outside', 'kept', '--report', 'made.json'])
      assert.equal(status, 2)
      assert.equal(stdout, '')
      assert.equal(stderr, `pinhole: --inside-if eth9: the capture has no such interface; ${name === 'in.pcap'
        ? 'it has one, without a name: its number is 0' : 'it has 0 (wan0), 1 (lan0)'}\n`)
      assert.equal(read('kept').toString(), 'precious')
      assert(!existsSync(at('made.json')))
    }
  }
  for (const name of ['two.pcapng', 'late.pcapng']) assert.equal(replay([name, '--inside-if', 'lan0']).status, 0)
})

test('replay --inside-if: a stream is known at its end only; the outputs are good files then', () => {
  const { status, stderr } = replay(['-', '--inside-if', 'eth9', '--out-outside', 'out', '--out-inside', 'in'], twoSided)
  assert.equal(status, 2)
  assert.match(stderr, /^pinhole: --inside-if eth9: [^\n]+\n$/)
  for (const name of ['out', 'in']) packetsIn(name)
})

test('replay --inside-if: damage that hides all interfaces is told as damage', () => {
  const { status, stderr } = replay([file('text', 'this is no capture'), '--inside-if', '0'])
  assert.equal(status, 3)
  assert.match(stderr, /^pinhole: text: byte 0: /)
})

test('replay --loop: a capture without packets is played once', () => {
  file('none.pcap', encodePcap([]))
  for (const preload of [[], ['--preload']]) {
    assert.equal(replay(['none.pcap', '--loop', '999999999', ...preload]).status, 0)
  }
  assert.equal(replay([file('broken', 'x'), '--loop', '999999999']).status, 3)
})

test('replay --loop: what can be read only once is refused, unless it is held in memory', { skip: NO_FIFO }, () => {
  spawnSync('mkfifo', [at('fifo')])
  for (const [args, name] of [[['-'], 'standard input'], [['/dev/stdin'], '/dev/stdin'], [['fifo'], 'fifo']] as const) {
    const { status, stderr } = shell(`cat in.pcap | "$0" "$1" replay ${args.join(' ')} --loop 2`)
    assert.equal(status, 2, name)
    assert.equal(stderr, `pinhole: ${name} can be read once only: --loop needs --preload then\n`)
  }
  const { status, stdout } = shell('cat in.pcap | "$0" "$1" replay /dev/stdin --loop 2 --preload')
  assert.equal(status, 0)
  assert.match(stdout, /^packets +40 in/)
})

test('replay --loop: a signal between rounds is heard', async () => {
  rmSync(at('out'), { force: true })
  const { child, ended } = start(['in.pcap', '--loop', '999999999', '--out-outside', 'out', '--report', 'report.json'])
  await opened('out')
  child.kill('SIGINT')
  assert.equal((await ended).status, 130)
  const { packets, stopped } = JSON.parse(read('report.json').toString()) as Report
  assert.equal(stopped, true)
  assert.equal(packetsIn('out'), packets)
})

for (const [signal, status] of [['SIGINT', 130], ['SIGTERM', 143]] as const) {
  test(`replay --pace: after ${signal} no packet is forwarded that was not due; status ${status}`, async () => {
    rmSync(at('out'), { force: true })
    // All in one batch; the last is due in minutes.
    file('slow.pcap', encodePcap([...packets(5), ...packets(200, 5000).slice(1)]))
    const { child, ended, stderr } = start(['slow.pcap', '--pace', 'original', '--out-outside', 'out', '--report', 'report.json'])
    await opened('out')
    await new Promise((resolve) => { setTimeout(resolve, 500) })
    child.kill('SIGUSR2')
    await until(() => stderr().endsWith('\n'))
    const askedMs = Date.now()
    child.kill(signal)
    const end = await ended
    assert(Date.now() - askedMs < 4000, 'a nap of seconds is ended')
    assert.deepEqual([end.status, end.signal], [status, null])
    assert.match(end.stderr, /^\d+ packets so far, \d+\.\d{3} s of capture time\n$/)
    assert.match(end.stdout, /^interrupted {2}before the end of the capture; [^]*^digest/m)
    const report = JSON.parse(read('report.json').toString()) as Report
    assert.equal(report.stopped, true)
    assert(report.packets < 20, `${report.packets} packets`)
    assert.equal(report.in.inside.packets, report.packets)
    assert.equal(packetsIn('out'), report.packets)
  })

  // The signal itself ends it; a shell tells the same status.
  test(`replay: ${signal} is heard while the input is silent`, async () => {
    rmSync(at('out'), { force: true })
    const { child, ended } = start(['-', '--out-outside', 'out', '--report', 'report.json'])
    child.stdin.write(capture)
    await until(() => existsSync(at('out')))
    await new Promise((resolve) => { setTimeout(resolve, 300) })
    child.kill(signal)
    const end = await ended
    assert.equal(end.status ?? 128 + constants.signals[end.signal!], status)
    assert.match(end.stdout, /^digest/m)
    assert.equal((JSON.parse(read('report.json').toString()) as Report).packets, 20)
    assert.equal(packetsIn('out'), 20)
  })
}

/** Makes a file once the program listens for SIGINT and its event loop has turned since: by then it waits for its input. */
const LISTENS = `process.on('newListener', (name) => {
  if (name === 'SIGINT') setTimeout(() => require('node:fs').writeFileSync('listens', ''), 50)
})`

test('replay: a signal before the first packet leaves the outputs alone', { skip: NO_FIFO }, async () => {
  file('kept', 'precious')
  file('listens.cjs', LISTENS)
  spawnSync('mkfifo', [at('silent')])
  for (const args of [['-'], ['-', '--preload'], ['silent']]) {
    rmSync(at('listens'), { force: true })
    const { child, ended } = start([...args, '--out-outside', 'kept', '--report', 'made.json'], ['--require', './listens.cjs'])
    await opened('listens')
    child.kill('SIGINT')
    const end = await ended
    assert.equal(end.status ?? 128 + constants.signals[end.signal!], 130, args.join(' '))
    assert.equal(end.stdout, '')
    assert.equal(end.stderr, 'pinhole: stopped before the first packet; no output was touched\n')
    assert.equal(read('kept').toString(), 'precious')
    assert(!existsSync(at('made.json')))
  }
})

test('replay: a report that fails at the end does not take the summary with it', { skip: existsSync('/dev/full') ? false : 'no /dev/full' }, () => {
  const { status, stdout, stderr } = replay(['in.pcap', '--report', '/dev/full'])
  assert.equal(status, 4)
  assert.match(stdout, /^digest/m)
  assert.match(stderr, /^pinhole: cannot write \/dev\/full: [^\n]+\n$/)
})

test('replay: a disk that fills up ends with status 4, and the other output is a good file', { skip: existsSync('/dev/full') ? false : 'no /dev/full' }, () => {
  const { status, stderr } = replay(['in.pcap', '--out-inside', '/dev/full', '--out-outside', 'out'])
  assert.equal(status, 4)
  assert.match(stderr, /^pinhole: cannot write \/dev\/full: [^\n]+\n$/)
  assert.equal(packetsIn('out'), 20)
})

test('replay: an output that exists is replaced', () => {
  writeFileSync(at('out'), Buffer.alloc(100_000))
  assert.equal(replay(['in.pcap', '--out-outside', 'out']).status, 0)
  assert(statSync(at('out')).size < 10_000)
  assert.equal(packetsIn('out'), 20)
})

test('replay: the summary says what to do when a link type is not read', () => {
  const { stdout } = replay([file('odd.pcap', encodePcap(packets(3), { link: 239 }))])
  assert.match(stdout, /^hint +most packets are of a link type, or in an encapsulation, that is not read; README\.md/m)
})

test('replay: of one thing the summary speaks as of one; who was not interrupted hears nothing of it', () => {
  const { stdout } = replay([file('one.pcap', encodePcap(packets(1)))])
  assert.match(stdout, /^in +inside 1 packet, [\d,]+ bytes, outside 0 packets, 0 bytes\n/m)
  assert.doesNotMatch(stdout, /\b1 (packets|rules|SYNs|rounds)\b|interrupted/)
})

test('replay: the summary hints at --inside when most packets stay on one side', () => {
  const hintOf = (src: string, dst: string, args: string[] = []) =>
    /^hint {9}(.*)$/m.exec(replay([file('sides.pcap', encodePcap(packets(10, 1, { src, dst }))), ...args]).stdout)?.[1]
  assert.match(hintOf('192.0.2.1', '198.51.100.1')!, /both ends outside.*--inside 198\.51\.100\.0\/24/)
  assert.match(hintOf('10.0.0.1', '192.168.1.1')!, /both ends inside.*--inside 192\.168\.1\.0\/24/)
  assert.match(hintOf('127.0.0.1', '127.0.0.1')!, /127\.0\.0\.1 in a capture of lo/)
  assert.equal(hintOf('10.0.0.1', '198.51.100.1'), undefined)
  assert.equal(hintOf('192.0.2.1', '198.51.100.1', ['--inside', '192.0.2.0/24']), undefined)
})

test('replay: a few packets are not enough to print a speed; the report keeps the figures', () => {
  const few = replay(['in.pcap', '--report', 'report.json'])
  assert.match(few.stdout, /^speed +too few packets to measure; from file to end in \d+\.\d\d s$/m)
  assert.match(few.stdout, /^engine +too few packets to measure$/m)
  const { measured } = JSON.parse(read('report.json').toString()) as Report
  assert(measured.packetsPerSecond > 0 && measured.nsPerPacket.mean > 0)
  assert.deepEqual([measured.nsPerPacket.p50, measured.nsPerPacket.p99, measured.nsPerPacket.max], [0, 0, 0], 'a batch of 20 says nothing')
  const many = replay(['in.pcap', '--loop', '500', '--preload', '--report', 'report.json'])
  assert.match(many.stdout, /^speed +[\d,]+ packets\/s from file to end in /m)
  assert.match(many.stdout, /^engine +[\d.]+ ns\/packet/m)
})
