/** `pinhole replay` from end to end, with captures made here. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { Report } from '../src/app/replay/report.ts'
import { DROP_REASONS } from '../src/channel/reasons.ts'
import { readModel, type ModelPacket } from '../src/phy/capture-reader.model.ts'
import { encodePcap, encodePcapng, type TestPacket } from '../src/phy/testing.ts'
import { print4 } from '../src/base/address.ts'
import { buildPacket, concat, verify, type PacketSpec } from '../src/wire/build.ts'

const MAIN = path.resolve('build/src/app/cli/main.js')
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-replay-'))
after(() => fs.rmSync(dir, { recursive: true }))
const TIMEOUT_MS = 60_000

interface Ended { status: number | null; stdout: string; stderr: string }

/** Runs the program in the scratch folder; its files are named without a path there. */
function pinhole(args: readonly string[], input: Uint8Array | string = ''): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'replay', ...args], {
    cwd: dir, input, timeout: TIMEOUT_MS, maxBuffer: 2 ** 27, encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

const inDir = (name: string) => path.join(dir, name)
const read = (name: string) => fs.readFileSync(inDir(name))
function write(name: string, bytes: Uint8Array | string): string {
  fs.writeFileSync(inDir(name), bytes)
  return name
}

/** A good file, packet by packet. */
function packetsOf(name: string): ModelPacket[] {
  const { packets, faultOffset } = readModel(new Uint8Array(read(name)))
  assert.equal(faultOffset, -1, `${name} is damaged`)
  return packets
}

const schema = JSON.parse(fs.readFileSync('docs/report.schema.json', 'utf8')) as { properties: { drops: { properties: Record<string, { description: string }> } } }
const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true }).compile(schema)

/** Replays with a report, expects that status, and checks the report against its schema. */
function replayed(args: readonly string[], status = 0, input: Uint8Array | string = ''): Ended & { report: Report } {
  const ended = pinhole([...args, '--report', 'report.json'], input)
  assert.equal(ended.status, status, ended.stderr)
  const report = JSON.parse(read('report.json').toString()) as Report
  assert.ok(validate(report), JSON.stringify(validate.errors, null, 1))
  return { ...ended, report }
}

const START_SEC = 1_700_000_000
function stamped(specs: readonly PacketSpec[], stepMs: number): TestPacket[] {
  return specs.map((spec, n) => ({
    data: buildPacket({ link: 'ethernet', ...spec }), sec: START_SEC + Math.floor(n * stepMs / 1000), nsec: Math.round(n * stepMs % 1000 * 1e6),
  }))
}

/** Hosts of `inside` talk to two servers by UDP, TCP and ICMP; the capture is from before the NAT. */
function talk(inside: string, rounds: number): PacketSpec[] {
  return Array.from({ length: rounds }, (_, n): PacketSpec[] => {
    const src = `${inside}.${1 + n % 7}`, dst = `198.51.100.${1 + n % 2}`, srcPort = 40_000 + n, payload = new Uint8Array(n % 50).fill(n)
    const icmpId = n
    if (n % 3 === 0) return [{ proto: 'udp', src, dst, srcPort, dstPort: 53, payload }, { proto: 'udp', src: dst, dst: src, srcPort: 53, dstPort: srcPort, payload }]
    if (n % 3 === 1) {
      return [{ proto: 'tcp', src, dst, srcPort, dstPort: 80, tcpFlags: 2 }, { proto: 'tcp', src: dst, dst: src, srcPort: 80, dstPort: srcPort, tcpFlags: 18 }]
    }
    return [{ proto: 'icmp', src, dst, icmpId, payload }, { proto: 'icmp', icmpType: 0, src: dst, dst: src, icmpId, payload }]
  }).flat()
}

const ROUNDS = 60, STEP_MS = 5
const traffic = stamped(talk('10.0.0', ROUNDS), STEP_MS)
write('talk.pcap', encodePcap(traffic, { nano: true }))
const both = ['--out-outside', 'outside.pcapng', '--out-inside', 'inside.pcapng']
const srcOf = (packet: ModelPacket, l3 = 14) => print4(new DataView(packet.data.buffer, packet.data.byteOffset).getInt32(l3 + 12))
const dstOf = (packet: ModelPacket, l3 = 14) => print4(new DataView(packet.data.buffer, packet.data.byteOffset).getInt32(l3 + 16))
const srcPortOf = (packet: ModelPacket) => packet.data[34] << 8 | packet.data[35]

test('replay: forwards a capture, writes both outputs, says what it did on stdout and nothing on stderr', () => {
  const { stdout, stderr, report } = replayed(['talk.pcap', ...both])
  assert.equal(stderr, '')
  for (const part of ['packets', 'in', 'out', 'dropped', 'flows', 'speed', 'engine', 'memory', `digest       ${report.digest}`]) assert.ok(stdout.includes(part), part)
  const outside = packetsOf('outside.pcapng'), inside = packetsOf('inside.pcapng')
  assert.deepEqual([outside.length, inside.length], [ROUNDS, ROUNDS])
  assert.deepEqual([report.out.outside.packets, report.out.inside.packets, report.dropped.packets], [ROUNDS, ROUNDS, 0])
  outside.forEach((packet, n) => {
    const came = traffic[2 * n]
    assert.deepEqual([packet.sec, packet.nsec, packet.wireBytes], [came.sec, came.nsec, came.data.length])
    assert.match(srcOf(packet), /^203\.0\.113\.[1-4]$/)
    assert.deepEqual(verify(packet.data, 14), [])
  })
  // What comes back arrives as it was captured, a hop later.
  inside.forEach((packet, n) => {
    assert.equal(dstOf(packet), `10.0.0.${1 + n % 7}`)
    assert.deepEqual(verify(packet.data, 14), [])
    assert.deepEqual(packet.data.slice(34), traffic[2 * n + 1].data.slice(34))
  })
  assert.equal(report.virtualMs, (2 * ROUNDS - 1) * STEP_MS)
  assert.deepEqual(report.settings.pace, 'max')
})

// @req RFC6888 REQ-12
test('replay --log-mappings: which host had which ports, with the times of the capture and no destination (RFC 6888 REQ-12)', () => {
  const { stdout, report } = replayed(['talk.pcap', '--log-mappings', 'log.json'])
  assert.match(stdout, /^mapping log {2}\d+ records, 0 lost$/m)
  const text = read('log.json').toString(), lines = text.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, string>)
  assert.deepEqual(report.mappingLog, { written: lines.length, lost: 0 })
  const opened = lines.filter(({ event }) => event === 'mapping-opened')
  assert.equal(opened.length, report.mappings.opened)
  assert.equal(lines.length - opened.length, report.mappings.closed)
  assert.doesNotMatch(text, /198\.51\.100/)
  const [first] = opened
  assert.deepEqual([first.time, first.protocol, first.inside], [new Date(START_SEC * 1000).toISOString(), 'udp', '10.0.0.1:40000'])
  assert.match(first.outside, /^203\.0\.113\.[1-4]:40000$/)
  write('blocks.yaml', 'nat: {port-block: 64}\n')
  const blocks = pinhole(['talk.pcap', '--config', 'blocks.yaml', '--log-mappings', '-'])
  const told = blocks.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, string>)
  assert.deepEqual(told.map(({ event, inside }) => `${event} ${inside}`), [1, 2, 3, 4, 5, 6, 7].map((n) => `block-opened 10.0.0.${n}`))
  for (const { ports } of told) assert.match(ports, /^\d+-\d+$/)
  assert.match(blocks.stderr, /^mapping log/m)
})

test('replay: what it writes does not depend on what it writes', () => {
  const { report: { digest } } = replayed(['talk.pcap', ...both])
  assert.equal(replayed(['talk.pcap']).report.digest, digest)
  assert.equal(replayed(['talk.pcap', '--out-inside', 'x.pcapng']).report.digest, digest)
  assert.ok(read('x.pcapng').equals(read('inside.pcapng')))
})

test('replay --inside: names the inside network in place of the default, repeatable', () => {
  const shared = talk('100.64.0', 6), doc = talk('192.0.2', 6), name = write('wide.pcap', encodePcap(stamped([...shared, ...doc], 1)))
  const none = replayed([name]).report
  assert.equal(none.in.inside.packets, 0)
  assert.deepEqual(none.drops, { 'outside-to-outside': 24 })
  const one = replayed([name, '--inside', '100.64.0.0/10']).report
  assert.deepEqual([one.in.inside.packets, one.out.inside.packets, one.drops], [6, 6, { 'outside-to-outside': 12 }])
  const two = replayed([name, '--inside', '100.64.0.0/10', '--inside', '192.0.2.0/24']).report
  assert.deepEqual([two.in.inside.packets, two.out.inside.packets, two.drops], [12, 12, {}])
  // The default is replaced, not added to.
  assert.equal(replayed(['talk.pcap', '--inside', '192.0.2.0/24']).report.in.inside.packets, 0)
})

test('replay --inside: what is no prefix is refused with status 2', () => {
  for (const text of ['10.0.0.0/33', '10.0.0.1/8', 'x', '']) {
    const { status, stdout, stderr } = pinhole(['talk.pcap', '--inside', text])
    assert.equal(status, 2, text)
    assert.equal(stdout, '')
    assert.match(stderr, /--inside/)
  }
})

const twoSided = (() => {
  // The other way round: addresses say one thing, interfaces another.
  const specs: PacketSpec[] = [
    { proto: 'udp', src: '10.0.0.1', dst: '10.0.0.2', srcPort: 1, dstPort: 2 },
    { proto: 'udp', src: '198.51.100.1', dst: '192.0.2.7', srcPort: 5000, dstPort: 53 },
    { proto: 'udp', src: '192.0.2.7', dst: '198.51.100.1', srcPort: 53, dstPort: 5000 },
  ]
  const packets = stamped(specs, 1).map((packet, n) => ({ ...packet, iface: [0, 1, 0][n] }))
  return write('sides.pcapng', encodePcapng({ interfaces: [{ name: 'wan0' }, { name: 'lan0' }, {}], packets }))
})()

test('replay --inside-if: by name or by number, the interface decides instead of the source', () => {
  const byName = replayed([twoSided, '--inside-if', 'lan0']).report, byNumber = replayed([twoSided, '--inside-if', '1']).report
  assert.equal(byName.digest, byNumber.digest)
  assert.deepEqual([byName.in.inside.packets, byName.in.outside.packets], [1, 2])
  assert.equal(byName.out.outside.packets, 1)
  assert.deepEqual(byName.capture.interfaces.map(({ id, name }) => [id, name]), [[0, 'wan0'], [1, 'lan0'], [2, null]])
  const both = replayed([twoSided, '--inside-if', 'lan0', '--inside-if', '0']).report
  assert.deepEqual([both.in.inside.packets, both.in.outside.packets], [3, 0])
  assert.notEqual(replayed([twoSided]).report.digest, byName.digest)
})

test('replay --inside-if: an interface that the capture does not have ends with status 2 and the list of those it has', () => {
  for (const args of [['--inside-if', 'eth9'], ['--inside-if', 'lan0', '--inside-if', '7']]) {
    const { status, stdout, stderr } = pinhole([twoSided, ...args])
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /^pinhole: --inside-if (eth9|7): .*0 \(wan0\), 1 \(lan0\), 2\n$/)
  }
})

test('replay --config: settings are used, and told by their digest', () => {
  write('box.yaml', 'nat:\n  pool: [192.0.2.200]\n  port-preservation: false\n  ports: 30000-30999\nlimits:\n  flows: 4k\n')
  const { report } = replayed(['talk.pcap', ...both, '--config', 'box.yaml'])
  assert.equal(report.settings.configFile, 'box.yaml')
  assert.equal(report.flows.capacity, 4096)
  assert.notEqual(report.settings.configDigest, replayed(['talk.pcap']).report.settings.configDigest)
  replayed(['talk.pcap', ...both, '--config', 'box.yaml'])
  for (const packet of packetsOf('outside.pcapng')) {
    assert.equal(srcOf(packet), '192.0.2.200')
    if (packet.data[23] !== 1) assert.ok(srcPortOf(packet) >= 30_000 && srcPortOf(packet) <= 30_999)
  }
})

test('replay --config: a bad one ends with status 2 and file:line:column, and nothing is written', () => {
  write('bad.yaml', 'timers:\n  udp: 300\n')
  const { status, stdout, stderr } = pinhole(['talk.pcap', '--config', 'bad.yaml', '--out-outside', 'never.pcapng'])
  assert.equal(status, 2)
  assert.equal(stdout, '')
  assert.match(stderr, /^bad\.yaml:2:8: /)
  assert.ok(!fs.existsSync(inDir('never.pcapng')))
  assert.equal(pinhole(['talk.pcap', '--config', 'absent.yaml']).status, 2)
})

test('replay --seed: chooses ports and addresses; the same seed gives the same bytes', () => {
  write('random.yaml', 'nat:\n  port-preservation: false\n')
  const run = (seed: string[]) => {
    const { report } = replayed(['talk.pcap', ...both, '--config', 'random.yaml', ...seed])
    return { report, bytes: concat(read('outside.pcapng'), read('inside.pcapng')), ports: packetsOf('outside.pcapng').filter((p) => p.data[23] !== 1).map(srcPortOf) }
  }
  const one = run(['--seed', '7']), again = run(['--seed', '7']), other = run(['--seed', '8'])
  assert.deepEqual(again.bytes, one.bytes)
  assert.equal(again.report.digest, one.report.digest)
  assert.notEqual(other.report.digest, one.report.digest)
  assert.notDeepEqual(other.ports, one.ports)
  assert.deepEqual(run([]).bytes, run(['--seed', '1']).bytes, 'the default is 1')
  for (const seed of ['0', '4294967295']) assert.equal(run(['--seed', seed]).report.settings.seed, Number(seed))
  for (const seed of ['-1', '4294967296', 'x', '1.5']) assert.equal(pinhole(['talk.pcap', `--seed=${seed}`]).status, 2, seed)
})

test('replay --loop: goes on in time; from the file or from memory, it is the same', () => {
  // Stamps out of order, with nanoseconds that carry.
  const jumbled = traffic.map((packet, n) => ({ ...packet, nsec: packet.nsec + 999_999 - n % 3 })).reverse()
  for (const name of ['talk.pcap', write('jumbled.pcap', encodePcap(jumbled, { nano: true }))]) {
    const runs = [[], ['--preload']].map((preload) => {
      const { report } = replayed([name, ...both, '--loop', '3', ...preload])
      return { digest: report.digest, virtualMs: report.virtualMs, in: report.in, flows: report.flows, files: [read('outside.pcapng'), read('inside.pcapng')] }
    })
    assert.deepEqual(runs[1], runs[0])
    assert.equal(runs[0].in.inside.packets, 3 * ROUNDS)
    assert.notEqual(replayed([name, ...both]).report.digest, runs[0].digest)
    // Three rounds, and a millisecond between them. The last packet of the file need not be the latest.
    const spanNs = (2 * ROUNDS - 1) * STEP_MS * 1e6 + (name === 'talk.pcap' ? 0 : -2)
    const firstNs = name === 'talk.pcap' ? 0 : spanNs
    assert.equal(runs[0].virtualMs, Math.floor((3 * spanNs + 2e6 - firstNs) / 1e6))
  }
  for (const loops of ['0', '-1', 'x', '1.5']) assert.equal(pinhole(['talk.pcap', `--loop=${loops}`]).status, 2, loops)
})

test('replay --preload: one round is what it is without', () => {
  const plain = replayed(['talk.pcap']).report, loaded = replayed(['talk.pcap', '--preload']).report
  assert.equal(loaded.digest, plain.digest)
  assert.deepEqual([plain.settings.preload, loaded.settings.preload], [false, true])
})

test('replay: standard input and gzip give the digest of the file', () => {
  const { digest } = replayed(['talk.pcap']).report
  const plain = read('talk.pcap'), packed = gzipSync(plain)
  write('talk.pcap.gz', packed)
  const cases: [string[], Uint8Array | string, boolean][] = [
    [['-'], plain, false], [['-'], packed, true], [['talk.pcap.gz'], '', true], [['-', '--preload'], plain, false],
  ]
  for (const [args, input, gzip] of cases) {
    const { report } = replayed(args, 0, input)
    assert.deepEqual([report.digest, report.capture.gzip, report.capture.path], [digest, gzip, args[0]])
    assert.equal(report.capture.streamBytes, plain.length)
  }
  const looped = replayed(['-', '--loop', '2', '--preload'], 0, plain).report
  assert.equal(looped.digest, replayed(['talk.pcap', '--loop', '2']).report.digest)
  const refused = pinhole(['-', '--loop', '2'], plain)
  assert.equal(refused.status, 2)
  assert.match(refused.stderr, /--preload/)
})

test('replay: outputs and report can go to standard output; the summary then makes way', () => {
  const { report } = replayed(['talk.pcap', ...both])
  const { status, stdout, stderr } = pinhole(['talk.pcap', '--report', '-'])
  assert.equal(status, 0)
  assert.equal((JSON.parse(stdout) as Report).digest, report.digest)
  assert.match(stderr, new RegExp(`^digest +${report.digest}$`, 'm'))
  for (const [option, file] of [['--out-outside', 'outside.pcapng'], ['--out-inside', 'inside.pcapng']]) {
    const run = spawnSync(process.execPath, [MAIN, 'replay', 'talk.pcap', option, '-'], { cwd: dir })
    assert.equal(run.status, 0)
    assert.ok(run.stdout.equals(read(file)), option)
  }
})

const SPAN_MS = 600
write('slow.pcap', encodePcap(stamped(talk('10.0.0', 20).slice(0, 31), SPAN_MS / 30)))

test('replay --pace: takes the time of the capture, or a part or a multiple of it, and changes nothing else', () => {
  const { digest } = replayed(['slow.pcap']).report
  for (const [pace, expectedMs] of [['original', SPAN_MS], ['2x', SPAN_MS / 2], ['0.5x', SPAN_MS * 2], ['max', 0], ['1000x', 0]] as const) {
    const { report } = replayed(['slow.pcap', '--pace', pace])
    assert.equal(report.digest, digest)
    const ms = report.measured.wallNs / 1e6
    // Never early, but for the resolution of timers; how late depends on the machine.
    assert.ok(ms >= expectedMs - 5 && ms < expectedMs + 500, `${pace}: ${ms} ms`)
  }
  for (const pace of ['2', '0x', '-1x', 'fast', '']) assert.equal(pinhole(['slow.pcap', `--pace=${pace}`]).status, 2, pace)
})

test('replay: a damaged capture is replayed up to the damage; status 3, the byte offset, good outputs', () => {
  const whole = read('talk.pcap')
  // The record that begins nearest to the middle, found by walking.
  let at = 24, n = 0
  while (n < ROUNDS) {
    at += 16 + whole.readUInt32LE(at + 8)
    n++
  }
  const gibberish = concat(whole.subarray(0, at), new Uint8Array(4000).fill(0xfe))
  for (const [name, bytes] of [
    ['cut in the header of a record', whole.subarray(0, at + 7)], ['cut in a packet', whole.subarray(0, at + 16 + 20)], ['gibberish', gibberish],
  ] as const) {
    const { stdout, stderr, report } = replayed([write('cut.pcap', bytes), ...both], 3)
    assert.match(stderr, new RegExp(`^pinhole: cut\\.pcap: byte ${at}: [^\\n]+\\n$`), name)
    assert.match(stdout, /^digest/m, 'the summary is there all the same')
    assert.equal(report.capture.fault?.offset, at)
    assert.equal(report.packets, n)
    assert.equal(packetsOf('outside.pcapng').length + packetsOf('inside.pcapng').length, n)
  }
  const broken = gzipSync(whole)
  replayed([write('cut.pcap.gz', broken.subarray(0, broken.length - 200)), ...both], 3)
  packetsOf('outside.pcapng')
})

test('replay: what is no capture, or an empty file, ends with status 3 at byte 0', () => {
  for (const bytes of ['', 'x', 'this is a text and no capture at all', '#!/bin/sh\n'.repeat(100)]) {
    const { report, stderr } = replayed([write('text', bytes), ...both], 3)
    assert.equal(report.capture.fault?.offset, 0)
    assert.match(stderr, /^pinhole: text: byte 0: /)
    assert.equal(report.packets, 0)
    assert.equal(packetsOf('outside.pcapng').length, 0)
  }
})

test('replay: a capture without packets is no error', () => {
  const { report, stderr } = replayed([write('empty.pcap', encodePcap([])), ...both])
  assert.equal(stderr, '')
  assert.deepEqual([report.packets, report.virtualMs, packetsOf('outside.pcapng').length], [0, 0, 0])
})

test('replay: an input that is not there, or a folder, ends with status 2', () => {
  for (const [name, message] of [['absent.pcap', /ENOENT/], ['.', /EISDIR|directory/]] as const) {
    for (const preload of [[], ['--preload']]) {
      const { status, stdout, stderr } = pinhole([name, ...preload])
      assert.equal(status, 2)
      assert.equal(stdout, '')
      assert.match(stderr, message)
      assert.match(stderr, /^pinhole: [^\n]+\n$/)
    }
  }
})

test('replay: an output that cannot be written ends with status 4 and one line', () => {
  const full = fs.existsSync('/dev/full') ? ['/dev/full'] : []
  for (const option of ['--out-outside', '--out-inside', '--report']) {
    for (const file of ['absent/x', '.', ...full]) {
      const { status, stderr } = pinhole(['talk.pcap', option, file])
      assert.equal(status, 4, `${option} ${file}: ${stderr}`)
      assert.match(stderr, /^pinhole: [^\n]+\n$/)
    }
  }
})

test('replay: two outputs in one file, or an output over the input, are refused with status 2 before anything is touched', () => {
  const before = read('talk.pcap')
  for (const args of [
    ['--out-outside', 'same', '--out-inside', 'same'], ['--out-outside', 'same', '--report', 'same'], ['--out-inside', '-', '--report', '-'],
    ['--out-outside', 'talk.pcap'], ['--report', 'talk.pcap'],
  ]) {
    const { status, stdout, stderr } = pinhole(['talk.pcap', ...args])
    assert.equal(status, 2, args.join(' '))
    assert.equal(stdout, '')
    assert.match(stderr, /^pinhole: /)
    assert.ok(!fs.existsSync(inDir('same')))
  }
  assert.ok(read('talk.pcap').equals(before))
})

test('replay: a file is the same file by whatever path it is named', () => {
  fs.symlinkSync('talk.pcap', inDir('link.pcap'))
  fs.copyFileSync(inDir('talk.pcap'), inDir('kept.pcap'))
  try {
    for (const args of [
      ['talk.pcap', '--out-outside', './talk.pcap'], ['talk.pcap', '--out-outside', inDir('talk.pcap')], ['talk.pcap', '--out-outside', 'link.pcap'],
      ['link.pcap', '--report', 'talk.pcap'], ['talk.pcap', '--out-outside', 'same', '--out-inside', './same'],
    ]) {
      const { status, stderr } = pinhole(args)
      assert.ok(read('talk.pcap').equals(read('kept.pcap')), `${args.join(' ')} destroyed its input`)
      assert.equal(status, 2, `${args.join(' ')}: ${stderr}`)
    }
  } finally {
    fs.copyFileSync(inDir('kept.pcap'), inDir('talk.pcap'))
  }
})

test('replay: there is no progress bar on a pipe, however long it takes', () => {
  const { stderr, stdout, status } = pinhole(['slow.pcap', '--pace', '0.5x'])
  assert.equal(status, 0)
  assert.equal(stderr, '')
  assert.ok(!stdout.includes('\u001b') && !stdout.includes('\r') && !stdout.includes('%'))
})

interface Running { ended: Promise<Ended>; kill(signal: NodeJS.Signals): void; stdin: NodeJS.WritableStream; pid: number }

function start(args: readonly string[]): Running {
  const child = spawn(process.execPath, [MAIN, 'replay', ...args], { cwd: dir, stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = '', stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  child.stdin.on('error', () => { /* it may be gone */ })
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS)
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      // As a shell tells it.
      resolve({ status: code ?? 128 + os.constants.signals[signal!], stdout, stderr })
    })
  })
  return { ended, kill: (signal) => child.kill(signal), stdin: child.stdin, pid: child.pid! }
}

const pause = (ms: number) => new Promise((resolve) => { setTimeout(resolve, ms) })

/** Waits until an output has been opened: the program is at work then. */
async function atWork(name: string): Promise<void> {
  for (let n = 0; !fs.existsSync(inDir(name)) && n < 1000; n++) await pause(10)
  await pause(300)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`replay: ${signal} ends it soon with a status of its own, a summary, a report and good outputs`, async () => {
    for (const name of ['outside.pcapng', 'inside.pcapng', 'report.json']) fs.rmSync(inDir(name), { force: true })
    // Ten minutes of capture.
    write('long.pcap', encodePcap(stamped(talk('10.0.0', 600), 500)))
    const running = start(['long.pcap', ...both, '--pace', '10x', '--report', 'report.json'])
    await atWork('outside.pcapng')
    running.kill(signal)
    const askedAt = Date.now()
    const { status, stdout, stderr } = await running.ended
    assert.ok(Date.now() - askedAt < 5000)
    assert.equal(stderr, '')
    assert.equal(status, signal === 'SIGINT' ? 130 : 143)
    assert.match(stdout, /^digest/m)
    const report = JSON.parse(read('report.json').toString()) as Report
    assert.ok(validate(report), JSON.stringify(validate.errors))
    assert.equal(report.stopped, true)
    assert.ok(report.packets > 0 && report.packets < 1200, `${report.packets} packets`)
    assert.equal(packetsOf('outside.pcapng').length, report.out.outside.packets)
    assert.equal(packetsOf('inside.pcapng').length, report.out.inside.packets)
  })
}

test('replay: SIGINT is heard while standard input is silent', async () => {
  for (const name of ['outside.pcapng', 'inside.pcapng']) fs.rmSync(inDir(name), { force: true })
  const running = start(['-', ...both])
  running.stdin.write(read('talk.pcap').subarray(0, 2000))
  await atWork('outside.pcapng')
  running.kill('SIGINT')
  const ended = await Promise.race([running.ended, pause(5000)]) as Ended | undefined
  if (ended === undefined) running.kill('SIGKILL')
  assert.equal(ended?.status, 130, 'it went on waiting')
  assert.ok(packetsOf('outside.pcapng').length > 0)
})

test('replay: a long stream takes constant memory', { skip: fs.existsSync('/proc/self/status') ? false : 'no /proc' }, async () => {
  const head = encodePcap([]), one = encodePcap(stamped([
    { proto: 'udp', src: '10.0.0.1', dst: '198.51.100.1', srcPort: 5000, dstPort: 53, payload: new Uint8Array(900) },
    { proto: 'udp', src: '198.51.100.1', dst: '10.0.0.1', srcPort: 53, dstPort: 5000, payload: new Uint8Array(900) },
  ], 1)).subarray(head.length)
  const chunk = Buffer.alloc(Math.floor(1_000_000 / one.length) * one.length)
  chunk.fill(one)
  const running = start(['-', '--out-outside', '/dev/null', '--report', 'report.json'])
  const resident = () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${running.pid}/status`, 'utf8'))?.[1]) * 1024
  running.stdin.write(head)
  const megabytes = 300
  let early = 0, most = 0
  for (let n = 0; n < megabytes; n++) {
    if (!running.stdin.write(chunk)) await Promise.race([running.ended, new Promise((resolve) => running.stdin.once('drain', resolve))])
    if (n === 50) early = resident()
    if (n > 50 && n % 10 === 0) most = Math.max(most, resident())
  }
  running.stdin.end()
  const { status, stderr } = await running.ended
  assert.equal(status, 0, stderr)
  const report = JSON.parse(read('report.json').toString()) as Report
  assert.equal(report.packets, megabytes * chunk.length / one.length * 2)
  assert.equal(report.dropped.packets, 0)
  assert.ok(most - early < 32 * 2 ** 20, `it grew from ${early} to ${most} bytes`)
  assert.ok(most < 256 * 2 ** 20, `it took ${most} bytes`)
})

test('replay: the schema of the report explains every reason for a drop, and every field', () => {
  const reasons = Object.entries(schema.properties.drops.properties).map(([name, { description }]) => [name, description.replace(/^Packets: /, '')])
  assert.deepEqual(reasons, DROP_REASONS.map(([name, text]) => [name, text]))
  const check = (node: Record<string, unknown>, where: string): void => {
    if (node['type'] !== 'null') assert.ok(typeof node['description'] === 'string' || where === '/', where)
    if (node['type'] === 'object') assert.equal(node['additionalProperties'], false, where)
    for (const [name, inner] of Object.entries(node['properties'] ?? {})) check(inner as Record<string, unknown>, `${where}${name}/`)
    for (const inner of (node['oneOf'] ?? []) as Record<string, unknown>[]) check(inner, where)
    if (node['items'] !== undefined) check(node['items'] as Record<string, unknown>, `${where}[]/`)
  }
  check(schema, '/')
})

test('replay: the schema refuses a report with a field more, a field less or another unit', () => {
  const { report } = replayed(['talk.pcap'])
  assert.ok(!validate({ ...report, more: 1 }))
  assert.ok(!validate({ ...report, digest: undefined }))
  assert.ok(!validate({ ...report, virtualMs: 0.5 }))
  assert.ok(!validate({ ...report, drops: { 'no-such-reason': 1 } }))
  assert.ok(!validate({ ...report, schema: 'pinhole-replay-report/2' }))
  assert.ok(validate(report))
})
