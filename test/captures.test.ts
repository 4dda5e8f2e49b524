/**
 * Every capture of ../shared/pcaps through the whole program: the same twice, counted fully, and with no checksum made worse.
 * Without that folder nothing is tested here, and one line says so. tshark is the independent reader.
 */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { performance } from 'node:perf_hooks'
import { engineOptions } from '../src/app/compose.ts'
import { defaultConfig } from '../src/app/config/load.ts'
import { replay, type ReplayResult } from '../src/app/replay/replay.ts'
import { createReport, type Report } from '../src/app/replay/report.ts'
import { DROP_FIRST, createCounters, readCounters } from '../src/channel/counters.ts'
import { createEngine, engineScratchBytes } from '../src/engine/engine.ts'
import { captureBytes, openCapture } from '../src/phy/capture-reader.ts'
import { PLANE_SCRATCH_BYTES, createPlane, type Outlet } from '../src/plane/plane.ts'
import { sidesBySource } from '../src/plane/sides.ts'
import { createWorld } from '../src/plane/world.ts'
import { verify } from '../src/wire/build.ts'
import { NET_IPV4, createFrames } from '../src/wire/frames.ts'
import { createLink } from '../src/wire/link.ts'

const MAIN = 'build/src/app/cli/main.js'
const pcaps = path.resolve('../shared/pcaps')
const absent = fs.existsSync(pcaps) ? false : `${pcaps} is not there: real captures are not replayed`
const names = absent ? [] : fs.readdirSync(pcaps).filter((name) => /\.(pcap|pcapng)(\.gz)?$/.test(name)).sort()
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-captures-'))
after(() => fs.rmSync(scratch, { recursive: true }))

/** Captures that are damaged, with the byte offset of the damage. All others are read to their end. */
const DAMAGED: Record<string, number> = {
  'fmt-PcapPlusPlus-crash-pcapng-epb-unbounded-length.pcapng': 48,
  'fmt-libpcap-pcap-invalid-version-1.pcap': 0,
  'fmt-libpcap-shb-option-too-long.pcapng': 0,
  'fmt-suricata-verify-tls_DER-incomplete-header.pcap': 5035,
}

interface Ended { status: number; stdout: string; stderr: string }

function execute(command: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(command, args, { maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

/** What a program prints that must not fail. */
async function run(command: string, args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await execute(command, args)
  assert.equal(status, 0, `${command}: ${stderr.slice(0, 500)}`)
  return stdout
}

const AT_ONCE = 2

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }))
}

const outputOf = (name: string, side: string) => path.join(scratch, `${name}.${side}.pcapng`)
const sides = ['outside', 'inside']

async function libraryReplay(name: string, preload: boolean): Promise<{ report: Report; result: ReplayResult }> {
  const config = defaultConfig()
  const options = {
    capture: path.join(pcaps, name), config, inside: config.inside, insideInterfaces: [], script: null, seed: 1, loops: 1, preload, pace: 0,
    outInside: outputOf(name, 'inside'), outOutside: outputOf(name, 'outside'), onProgress: null, stop: null,
  }
  const result = await replay(options)
  return { report: createReport(options, result, { version: '', configFile: null, scriptFile: null }), result }
}

/** What comes in goes out or is dropped, each drop has one reason, and what was held was released or dropped. */
function checkAccounts(report: Report, counters: Record<string, number>): void {
  const { in: came, out, dropped, drops, icmpErrors, fragments } = report
  const packetsIn = came.inside.packets + came.outside.packets, packetsOut = out.inside.packets + out.outside.packets
  assert.equal(packetsIn, report.packets)
  assert.equal(packetsIn, packetsOut - icmpErrors.originated + dropped.packets, 'in = out − our own + dropped')
  assert.equal(Object.values(drops).reduce((sum, n) => sum + n, 0), dropped.packets, 'drops have one reason each')
  assert.equal(Object.entries(counters).filter(([name]) => /^drop-.*-packets$/.test(name)).reduce((sum, [, n]) => sum + n, 0), dropped.packets)
  assert.equal(counters['fragments-held-current'], 0)
  assert.ok(fragments.released <= fragments.held)
  const lost = ['fragment-timeout', 'fragment-overlap', 'fragment-of-dropped'].reduce((sum, name) => sum + (drops[name] ?? 0), 0)
  assert.ok(fragments.held - fragments.released <= lost, 'what was held and not released was dropped by a reason of fragments')
  assert.equal(report.flows.opened - report.flows.expired - report.flows.evicted, report.flows.current)
  assert.ok(report.flows.peak >= report.flows.current && report.flows.peak <= report.flows.opened)
  for (const { packets, bytes } of [came.inside, came.outside, out.inside, out.outside]) assert.ok(packets > 0 || bytes === 0)
}

const reports = new Map<string, Report>()

test('captures: each one twice, from the file and from memory: same digest, same bytes, all packets accounted for', { skip: absent }, async (t) => {
  let packets = 0
  for (const name of names) {
    const first = await libraryReplay(name, true)
    for (const side of sides) fs.renameSync(outputOf(name, side), `${outputOf(name, side)}.first`)
    const { report, result } = await libraryReplay(name, false)
    for (const side of sides) {
      const file = outputOf(name, side)
      assert.ok(fs.readFileSync(file).equals(fs.readFileSync(`${file}.first`)), `${name}: the files towards ${side} differ`)
      fs.rmSync(`${file}.first`)
    }
    assert.equal(report.capture.fault?.offset, DAMAGED[name], name)
    for (const key of ['digest', 'packets', 'in', 'out', 'dropped', 'drops', 'flows', 'mappings', 'icmpErrors', 'fragments', 'virtualMs'] as const) {
      assert.deepEqual(first.report[key], report[key], `${name}: ${key}`)
    }
    checkAccounts(report, readCounters(result.machine.counters))
    reports.set(name, report)
    packets += report.packets
  }
  assert.deepEqual(Object.keys(DAMAGED).filter((name) => !names.includes(name)), [], 'a damaged capture is gone')
  t.diagnostic(`${names.length} captures, ${packets} packets`)
})

/** Starting a process takes longer than most captures: all odd formats and one capture of each class. */
const byCommand = names.filter((name, i) => name.startsWith('fmt-') || name in DAMAGED || name.split('-')[0] !== names[i - 1]?.split('-')[0])

test('captures: the command line gives the digest of the library, status 3 and the offset for damage, and says nothing else', { skip: absent }, async () => {
  await inParallel(byCommand, async (name) => {
    const file = path.join(pcaps, name), offset = DAMAGED[name], out = path.join(scratch, `${name}.out`)
    const { status, stdout, stderr } = await execute(process.execPath, [MAIN, 'replay', file, '--out-outside', out])
    if (offset === undefined) {
      assert.equal(stderr, '', name)
      assert.equal(status, 0, name)
    } else {
      assert.match(stderr, /^pinhole: [^\n]*\n$/, name)
      assert.ok(stderr.startsWith(`pinhole: ${file}: byte ${offset}: `), stderr)
      assert.equal(status, 3, `${name} is damaged`)
    }
    assert.match(stdout, new RegExp(`^digest +${reports.get(name)?.digest}$`, 'm'), name)
    assert.ok(fs.readFileSync(out).equals(fs.readFileSync(outputOf(name, 'outside'))), name)
    fs.rmSync(out)
  })
})

/* Checksums, packet by packet, by our own slow judge. */

test('captures: no packet leaves with a fault that it did not come with', { skip: absent }, async (t) => {
  const config = defaultConfig()
  const scratchStart = captureBytes(), planeStart = scratchStart + engineScratchBytes(config.limits)
  const frames = createFrames({ capacity: 256, poolBytes: planeStart + PLANE_SCRATCH_BYTES })
  const options = engineOptions(config, config.inside, 1, scratchStart)
  const link = createLink(frames)
  let faulty = 0, left = 0, mended = 0
  for (const name of names) {
    const counters = createCounters()
    const engine = createEngine(options, frames, counters)
    let row = -1, number = 0
    let came: string[] = []
    const outlet: Outlet = {
      room: () => true,
      write(off, bytes) {
        left++
        const l3 = off === frames.off[row] ? frames.l3[row] - off : -1
        if (l3 >= 0) {
          const gone = verify(frames.pool.subarray(off, off + bytes), l3)
          const worse = gone.filter((fault) => !came.includes(fault))
          assert.deepEqual(worse, [], `${name}, packet ${number}, came with [${came.join(', ')}]`)
          if (gone.length > 0) faulty++
          if (gone.length < came.length) mended++
          return true
        }
        // A reply of ours, or a fragment that was held: only a packet that it quotes may be faulty.
        // Its link header is as long as that of the row it leaves by.
        const gone = verify(frames.pool.subarray(off, off + bytes), frames.l3[row] - frames.off[row]).filter((fault) => !fault.startsWith('quoted '))
        assert.deepEqual(gone.filter((fault) => !/beyond the frame|cut short/.test(fault)), [], `${name}, because of packet ${number}`)
        return true
      },
    }
    const plane = createPlane({
      frames, counters, engine, sides: sidesBySource(frames, options.inside), world: createWorld(frames, engine, options.inside, options.nat44),
      inside: outlet, outside: outlet, scratchStart: planeStart, clockNs: () => performance.now() * 1e6,
    })
    const reader = await openCapture(path.join(pcaps, name), frames, { poolStart: 0, poolEnd: scratchStart })
    do {
      for (let count = reader.fill(); count > 0; count = reader.fill()) {
        // Looked at before the plane does, which fills in header checksums that offloading left empty.
        link.locate(count)
        const faults = Array.from({ length: count }, (_, i) => frames.net[i] < NET_IPV4 ? []
          : verify(frames.pool.subarray(frames.off[i], frames.off[i] + frames.capBytes[i]), frames.l3[i] - frames.off[i]))
        plane.begin(count)
        for (row = 0; row < count; row++) {
          came = faults[row]
          plane.run(row, row + 1)
          number++
        }
      }
    } while (await reader.more())
    await reader.close()
    plane.finish()
    assert.equal(counters.slice(DROP_FIRST).reduce((sum, n) => sum + n, 0), readCounters(counters)['drop-packets'])
  }
  t.diagnostic(`${left} packets left, ${faulty} of them with the fault they came with; ${mended} came out better (headers that offloading left empty)`)
})

/* The independent reader. */

const tshark = absent === false && spawnSync('tshark', ['-v']).status === 0
const noTshark = absent !== false ? absent : tshark || process.env['CI'] === 'true' ? false : 'no tshark on PATH: no independent reader has looked at the outputs'

const PREFERENCES = ['ip.check_checksum', 'tcp.check_checksum', 'udp.check_checksum', 'udplite.check_checksum', 'dccp.check_checksum']
  .flatMap((preference) => ['-o', `${preference}:TRUE`]).concat(['-o', 'sctp.checksum:CRC-32C'])
const STATUS_FIELDS = ['ip', 'tcp', 'udp', 'icmp', 'icmpv6', 'dccp', 'sctp', 'igmp'].map((protocol) => `${protocol}.checksum.status`)
const BAD = STATUS_FIELDS.map((field) => `${field} == 0`).join(' || ')

/** Numbers of the packets in which tshark sees a bad checksum, and what it says of them. */
async function badChecksums(file: string): Promise<string[]> {
  const fields = ['frame.number', 'frame.protocols', ...STATUS_FIELDS].flatMap((field) => ['-e', field])
  const stdout = await run('tshark', ['-n', '-r', file, ...PREFERENCES, '-Y', BAD, '-T', 'fields', ...fields])
  return stdout.split('\n').filter((line) => line !== '')
}

test('captures: where tshark finds no bad checksum in a capture, it finds none in what left', { skip: noTshark }, async (t) => {
  assert.ok(tshark, 'tshark is needed here')
  // tshark takes a third of a second to start: it reads many captures as one. It stops at damage with an error.
  const clean: string[] = []
  const readable = names.filter((name) => !(name in DAMAGED))
  await inParallel([readable.filter((_, i) => i % 2 === 0), readable.filter((_, i) => i % 2 === 1)], async (group) => {
    const files = group.map((name) => path.join(pcaps, name)), joined = path.join(scratch, `${group[0]}.joined`)
    await run('mergecap', ['-a', '-w', joined, ...files])
    const bad = (await badChecksums(joined)).map((line) => Number(line.split('\t')[0]))
    const counts = (await run('capinfos', ['-T', '-r', '-c', '-M', ...files])).trim().split('\n').map((line) => Number(line.split('\t')[1]))
    let first = 1
    group.forEach((name, i) => {
      if (!bad.some((number) => number >= first && number < first + counts[i])) clean.push(name)
      first += counts[i]
    })
  })
  assert.ok(clean.length > names.length / 3, `${clean.length} of ${names.length} are clean`)
  const outputs = clean.sort().flatMap((name) => sides.map((side) => outputOf(name, side)))
  const merged = path.join(scratch, 'merged.pcapng')
  await run('mergecap', ['-a', '-w', merged, ...outputs])
  const stdout = await run('capinfos', ['-T', '-r', '-c', '-M', ...outputs])
  const packets = stdout.trim().split('\n').reduce((sum, line) => sum + Number(line.split('\t')[1]), 0)
  assert.equal(stdout.trim().split('\n').length, outputs.length)
  const bad = await badChecksums(merged)
  assert.deepEqual(bad, [])
  t.diagnostic(`${clean.length} of ${names.length} captures are clean; ${packets} packets left and are clean, too`)
})

test('captures: every output is a capture that capinfos reads, with as many packets as the report says', { skip: noTshark }, async () => {
  const outputs = names.flatMap((name) => sides.map((side) => ({ name, side, file: outputOf(name, side) })))
  const stdout = await run('capinfos', ['-T', '-r', '-c', '-M', ...outputs.map(({ file }) => file)])
  const counted = new Map(stdout.trim().split('\n').map((line) => line.split('\t') as [string, string]))
  for (const { name, side, file } of outputs) {
    assert.equal(Number(counted.get(file)), reports.get(name)?.out[side as 'inside' | 'outside'].packets, file)
  }
})
