import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { CaptureError } from './capture-error.ts'
import { captureBytes, openCapture } from './capture-reader.ts'
import type { CaptureOptions, CaptureReader } from './capture-reader.ts'
import { createFrames } from '../wire/frames.ts'
import { ByteList, encodeBlock, encodePcap, encodePcapng, readAll } from './testing.ts'
import type { ReadPacket, TestPacket } from './testing.ts'

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-phy-'))
after(() => fs.rmSync(dir, { recursive: true }))

const REGION_BYTES = 4096
// The share begins and ends inside the pool, and what lies outside must not be touched.
const SHARE_START = 100, SHARE_END = SHARE_START + captureBytes(REGION_BYTES)
const frames = createFrames({ capacity: 7, poolBytes: SHARE_END + 100 })

let files = 0
function store(bytes: Uint8Array): string {
  const file = path.join(dir, `${files++}.pcap`)
  fs.writeFileSync(file, bytes)
  return file
}
function open(file: string, options: Partial<CaptureOptions> = {}): Promise<CaptureReader> {
  return openCapture(file, frames, { poolStart: SHARE_START, poolEnd: SHARE_END, regionBytes: REGION_BYTES, ...options })
}
async function read(bytes: Uint8Array, options: Partial<CaptureOptions> = {}) {
  const reader = await open(store(bytes), options)
  const packets = await readAll(reader, frames)
  return { packets, fault: reader.fault, interfaces: reader.interfaces, stats: reader.stats }
}
function packet(length: number, sec: number, nsec: number): TestPacket {
  return { data: Uint8Array.from({ length }, (_, i) => i * 7 + length & 0xff), sec, nsec }
}
function expected(packets: readonly TestPacket[], link = 1): ReadPacket[] {
  return packets.map(({ data, sec, nsec, wireBytes = data.length, iface = 0 }) => ({ data, wireBytes, link, iface, sec, nsec }))
}
const SOME = [packet(60, 1_700_000_000, 1000), packet(0, 1_700_000_000, 999_999_000), packet(1514, 4_294_967_295, 0),
  packet(61, 0, 5000), packet(62, 1, 0), packet(63, 2, 0), packet(64, 3, 0), packet(1, 4, 0)]

for (const bigEndian of [false, true]) {
  for (const kind of [{}, { nano: true }, { modified: true }]) {
    const name = `${bigEndian ? 'big' : 'little'}-endian ${JSON.stringify(kind)}`
    test(`pcap is read in ${name}`, async () => {
      const { packets, fault, interfaces, stats } = await read(encodePcap(SOME, { bigEndian, ...kind }))
      assert.deepEqual(packets, expected(SOME))
      assert.equal(fault, null)
      assert.deepEqual(interfaces, [{ section: 0, id: 0, link: 1, snapBytes: 262_144, tsResolution: 'nano' in kind ? 1e9 : 1e6 }])
      assert.equal(stats.format, 'pcap')
    })
  }
  test(`pcapng is read in ${bigEndian ? 'big' : 'little'}-endian`, async () => {
    const { packets, fault, stats } = await read(encodePcapng({ bigEndian, packets: SOME }))
    assert.deepEqual(packets, expected(SOME))
    assert.equal(fault, null)
    assert.equal(stats.format, 'pcapng')
  })
}

test('pcap nanoseconds are exact', async () => {
  const packets = [packet(1, 1_700_000_000, 123_456_789), packet(1, 1_700_000_000, 999_999_999)]
  assert.deepEqual((await read(encodePcap(packets, { nano: true }))).packets, expected(packets))
})

test('pcap fractions of a second and more are carried', async () => {
  const file = encodePcap([packet(0, 5, 0)])
  new DataView(file.buffer).setUint32(24 + 4, 3_000_001, true)
  const [only] = (await read(file)).packets
  assert.deepEqual([only!.sec, only!.nsec], [8, 1000])
})

test('the upper bits of the link type field are not part of the link type', async () => {
  assert.equal((await read(encodePcap(SOME, { link: 0x14000071 }))).packets[0]!.link, 113)
})

test('versions of pcap other than 2 are refused', async () => {
  const { packets, fault } = await read(encodePcap(SOME, { major: 1 }))
  assert.equal(packets.length, 0)
  assert.deepEqual(fault, { offset: 0, reason: 'pcap version 1 is not supported' })
})

test('a capture without packets is no fault', async () => {
  assert.equal((await read(encodePcap([]))).fault, null)
  assert.equal((await read(encodePcapng({}))).fault, null)
})

test('an empty file and a file of another kind are told apart', async () => {
  assert.deepEqual((await read(new Uint8Array())).fault, { offset: 0, reason: 'empty file' })
  assert.deepEqual((await read(gzipSync(''))).fault, { offset: 0, reason: 'empty file' })
  for (const other of ['x', '#!/bin/sh\nexit 0\n', '\n\r\r\n and more of it']) {
    const { fault, stats } = await read(new TextEncoder().encode(other))
    assert.deepEqual(fault, { offset: 0, reason: 'not a capture' })
    assert.equal(stats.format, 'unknown')
  }
})

test('a packet on the wire is at least as long as what was captured of it', async () => {
  const packets = [{ ...packet(60, 1, 0), wireBytes: 10 }, { ...packet(60, 1, 0), wireBytes: 1500 },
    { ...packet(60, 1, 0), wireBytes: 0xffffffff }]
  for (const file of [encodePcap(packets), encodePcapng({ packets })]) {
    assert.deepEqual((await read(file)).packets.map((p) => p.wireBytes), [60, 1500, 0x7fffffff])
  }
})

test('a record longer than 262,144 bytes is a fault, one of that length is not', async () => {
  const packets = [packet(20, 1, 0), packet(262_144, 2, 0)]
  for (const file of [encodePcap(packets), encodePcapng({ packets })]) {
    assert.deepEqual((await read(file)).packets, expected(packets))
  }
  const { packets: good, fault } = await read(encodePcap([...packets, packet(262_145, 3, 0), packet(4, 4, 0)]))
  assert.equal(good.length, 2)
  assert.deepEqual(fault, { offset: 24 + 16 + 20 + 16 + 262_144, reason: 'packet record longer than 262144 bytes' })
})

test('stamps are shifted by the time asked for', async () => {
  const file = encodePcap([packet(1, 10, 600_000_000)])
  const [only] = (await read(file, { shiftSec: 100, shiftNsec: 500_000_000 })).packets
  assert.deepEqual([only!.sec, only!.nsec], [111, 100_000_000])
  const [other] = (await read(encodePcapng({ packets: [packet(1, 10, 600_000_000)] }), { shiftSec: -3, shiftNsec: 400_000_000 })).packets
  assert.deepEqual([other!.sec, other!.nsec], [8, 0])
})

test('sections change byte order and restart interface ids; frames count interfaces over the file', async () => {
  const { packets, interfaces, fault } = await read(encodePcapng(
    { interfaces: [{ link: 1 }, { link: 0, name: 'lo' }], packets: [packet(1, 1, 0), { ...packet(2, 2, 0), iface: 1 }] },
    { bigEndian: true, interfaces: [{ link: 101, description: 'tun', snapBytes: 96 }], packets: [packet(3, 3, 0)] },
    { interfaces: [] },
    { interfaces: [{}, {}, { tsresol: 9, link: 276 }], packets: [{ ...packet(4, 4, 77), iface: 2 }] }))
  assert.equal(fault, null)
  assert.deepEqual(packets.map((p) => [p.data.length, p.iface, p.link, p.sec, p.nsec]),
    [[1, 0, 1, 1, 0], [2, 1, 0, 2, 0], [3, 2, 101, 3, 0], [4, 5, 276, 4, 77]])
  assert.deepEqual(interfaces[1], { section: 0, id: 1, link: 0, name: 'lo', snapBytes: 0, tsResolution: 1e6 })
  assert.deepEqual(interfaces[2], { section: 1, id: 0, link: 101, description: 'tun', snapBytes: 96, tsResolution: 1e6 })
  assert.deepEqual(interfaces[5], { section: 3, id: 2, link: 276, snapBytes: 0, tsResolution: 1e9 })
})

test('more interfaces than tables hold at first', async () => {
  const interfaces = Array.from({ length: 300 }, (_, i) => ({ link: i }))
  const packets = interfaces.map((_, iface) => ({ ...packet(4, iface, 1000), iface }))
  const { packets: got } = await read(encodePcapng({ interfaces, packets }))
  assert.deepEqual(got.map((p) => [p.link, p.iface, p.sec]), interfaces.map((_, i) => [i, i, i]))
})

// Nanoseconds that the resolution can express.
const RESOLUTIONS: readonly (readonly [tsresol: number, nsec: number])[] = [
  [0, 0], [1, 300_000_000], [3, 123_000_000], [6, 123_456_000], [7, 123_456_700], [9, 123_456_789], [10, 123_456_789],
  [0x80, 0], [0x81, 500_000_000], [0x8a, 123_046_875], [0x9d, 123_046_875], [0x9e, 123_456_789], [0xa0, 123_456_789],
]
for (const [tsresol, nsec] of RESOLUTIONS) {
  test(`if_tsresol ${tsresol < 0x80 ? 10 : 2}^-${tsresol & 0x7f} is exact`, async () => {
    const packets = [packet(1, 1_700_000_000, nsec), packet(2, 1_700_000_001, nsec), packet(3, 1_600_000_000, nsec), packet(4, 5, 0)]
    const { packets: got } = await read(encodePcapng({ interfaces: [{ tsresol }], packets }))
    assert.deepEqual(got, expected(packets))
  })
}

test('if_tsoffset moves stamps either way', async () => {
  for (const bigEndian of [false, true]) {
    const interfaces = [{ tsoffset: 1_600_000_000 }, { tsoffset: -1_000_000, tsresol: 0xa0 }]
    const packets = [packet(1, 1_700_000_000, 5000), { ...packet(1, 1_700_000_000, 5000), iface: 1 }]
    const { packets: got } = await read(encodePcapng({ bigEndian, interfaces, packets }))
    assert.deepEqual(got.map((p) => [p.sec, p.nsec]), [[1_700_000_000, 5000], [1_700_000_000, 5000]])
  }
})

test('Simple Packet Blocks are cut at the snap length and take the stamp before them', async () => {
  const packets: TestPacket[] = [{ ...packet(3, 0, 0), block: 'simple' }, packet(10, 7, 9000),
    { ...packet(50, 0, 0), block: 'simple', wireBytes: 1000 }, { ...packet(33, 0, 0), block: 'simple' }]
  const { packets: got, fault } = await read(encodePcapng({ interfaces: [{ snapBytes: 50, link: 101 }], packets }))
  assert.equal(fault, null)
  assert.deepEqual(got.map((p) => [p.data.length, p.wireBytes, p.link, p.sec, p.nsec]),
    [[3, 3, 101, 0, 0], [10, 10, 101, 7, 9000], [50, 1000, 101, 7, 9000], [33, 33, 101, 7, 9000]])
  assert.deepEqual(got[2]!.data, packets[2]!.data)
})

test('the obsolete Packet Block is read, comments in packet blocks are passed over', async () => {
  const packets: TestPacket[] = [{ ...packet(41, 9, 8000), block: 'obsolete', iface: 1 }, { ...packet(5, 10, 0), comment: 'x'.repeat(9999) }]
  for (const bigEndian of [false, true]) {
    assert.deepEqual((await read(encodePcapng({ bigEndian, interfaces: [{}, {}], packets }))).packets, expected(packets))
  }
})

test('other blocks are passed over and counted, whatever their size', async () => {
  const big = new Uint8Array(300_000).fill(6)
  const blocks = [4, 5, 5, 10, 0xbad, 0x40000bad, 77].map((type) => encodeBlock(type, big))
  const { packets, fault, stats } = await read(encodePcapng({ blocks, packets: SOME }))
  assert.equal(fault, null)
  assert.deepEqual(packets, expected(SOME))
  assert.deepEqual(stats.skipped, { nameResolution: 1, interfaceStatistics: 2, decryptionSecrets: 1, custom: 2, other: 1 })
})

test('block lengths in front and behind must agree', async () => {
  const head = encodePcapng({ packets: [packet(8, 1, 0)] })
  for (const type of [1, 3, 5, 6]) {
    const block = encodeBlock(type, new Uint8Array(32))
    block[block.length - 4]! ^= 4
    const { packets, fault } = await read(Uint8Array.of(...head, ...block))
    assert.equal(packets.length, 1)
    assert.deepEqual(fault, { offset: head.length, reason: 'block lengths in front and behind disagree' })
  }
})

test('a packet of an interface nobody described is a fault', async () => {
  const before = encodePcapng({ interfaces: [{}, {}], packets: [packet(1, 1, 0)] })
  const next = encodePcapng({ interfaces: [{}], packets: [{ ...packet(1, 1, 0), iface: 1 }] })
  const { packets, fault } = await read(Uint8Array.of(...before, ...next))
  assert.equal(packets.length, 1)
  assert.deepEqual(fault, { offset: before.length + 28 + 24, reason: 'packet of unknown interface 1' })
})

test('a bad second section is a fault where it begins', async () => {
  const head = encodePcapng({ packets: [packet(8, 1, 0)] })
  const bad = encodeBlock(0x0a0d0d0a, new ByteList(true).u32(0x1a2b3c4d).u16(2).u16(0).u64(0n).take())
  assert.deepEqual((await read(Uint8Array.of(...head, ...bad))).fault,
    { offset: head.length, reason: 'pcapng version 2 is not supported' })
  bad[8] = 0
  assert.deepEqual((await read(Uint8Array.of(...head, ...bad))).fault, { offset: head.length, reason: 'bad byte-order magic' })
})

test('gzip is known by its magic, in several members, and counts compressed bytes', async () => {
  const file = encodePcap(SOME), cut = 700
  const members = Uint8Array.of(...gzipSync(file.subarray(0, cut)), ...gzipSync(''), ...gzipSync(file.subarray(cut)))
  const { packets, fault, stats } = await read(members)
  assert.equal(fault, null)
  assert.deepEqual(packets, expected(SOME))
  assert.equal(stats.gzip, true)
  assert.equal(stats.fileBytes, members.length)
  assert.equal(stats.fileBytesRead, members.length)
  assert.equal(stats.streamBytes, file.length)
})

test('a gzip stream that ends early or is damaged says so; packets before are delivered', async () => {
  const noise = Array.from({ length: 400 }, (_, i) => packet(200 + i, i, 0))
  noise.forEach(({ data }, i) => { for (let j = 0; j < data.length; j++) data[j] = Math.imul(i * 1000 + j, 0x9e3779b1) >>> 24 })
  const file = encodePcap(noise), zipped = gzipSync(file)
  const short = await read(zipped.subarray(0, zipped.length / 2))
  assert.match(short.fault!.reason, /^gzip stream broken: /)
  assert.equal(short.fault!.offset, short.stats.streamBytes)
  assert.ok(short.packets.length > 100, `${short.packets.length} packets`)
  assert.deepEqual(short.packets, expected(noise.slice(0, short.packets.length)))

  const damaged = zipped.slice()
  damaged.fill(0xff, damaged.length / 2, damaged.length / 2 + 100)
  const { packets, fault } = await read(damaged)
  assert.match(fault!.reason, /^gzip stream broken: /)
  assert.ok(packets.length > 50, `${packets.length} packets`)
  assert.deepEqual(packets.slice(0, 50), expected(noise.slice(0, 50)))
})

test('a file that cannot be opened is an error with code and path', async () => {
  for (const [file, code] of [[path.join(dir, 'absent'), 'ENOENT'], [dir, 'EISDIR']] as const) {
    await assert.rejects(open(file), (error) => error instanceof CaptureError && error.code === code && error.path === file)
  }
})

test('bytes of the pool outside the share are left alone', async () => {
  frames.pool.fill(0xee)
  const many = Array.from({ length: 300 }, (_, i) => packet(i * 5, i, 0))
  assert.deepEqual((await read(encodePcap(many))).packets, expected(many))
  for (let i = 0; i < 100; i++) {
    assert.equal(frames.pool[i], 0xee)
    assert.equal(frames.pool[SHARE_END + i], 0xee)
  }
})

test('a share too small for its regions is refused', async () => {
  await assert.rejects(open(store(encodePcap([])), { poolEnd: SHARE_END - 1 }), RangeError)
})

test('records that straddle regions of any size arrive in one piece', async () => {
  const many = Array.from({ length: 60 }, (_, i) => packet(i * 13 % 400, i, 0))
  const enhanced = encodePcapng({ packets: many, blocks: [encodeBlock(5, new Uint8Array(1000))] })
  for (const bytes of [encodePcap(many), encodePcap(many, { modified: true, bigEndian: true }), enhanced, gzipSync(enhanced)]) {
    for (let regionBytes = 64; regionBytes < 1200; regionBytes += 61) {
      assert.deepEqual((await read(bytes, { regionBytes })).packets, expected(many))
    }
  }
})

test('more may be asked before fill', async () => {
  const reader = await open(store(encodePcap(SOME)))
  let total = 0
  while (await reader.more()) for (let count = reader.fill(); count > 0; count = reader.fill()) total += count
  await reader.close()
  assert.equal(total, SOME.length)
  assert.equal(reader.fault, null)
})

test('a pipe that gives its bytes in fragments is read to its end', async () => {
  const many = Array.from({ length: 40 }, (_, i) => packet(i * 3, i, 0))
  for (const bytes of [encodePcap(many), encodePcapng({ packets: many }), new Uint8Array(gzipSync(encodePcap(many)))]) {
    const pipe = path.join(dir, `pipe-${files++}`)
    execFileSync('mkfifo', [pipe])
    const writing = (async () => {
      const to = await fs.promises.open(pipe, 'w')
      for (let at = 0, size = 1; at < bytes.length; at += size, size = size * 3 % 101) {
        await to.write(bytes.subarray(at, at + size))
        await new Promise((resolve) => { setImmediate(resolve) })
      }
      await to.close()
    })()
    const reader = await open(pipe, { regionBytes: 256 })
    assert.deepEqual(await readAll(reader, frames), expected(many))
    assert.equal(reader.fault, null)
    assert.equal(reader.stats.fileBytes, 0)
    await writing
  }
})

test('standard input is read for the path -', async () => {
  const here = (name: string) => new URL(name + path.extname(import.meta.url), import.meta.url).href
  const script = `
    const { openCapture, captureBytes } = await import(${JSON.stringify(here('./capture-reader'))})
    const { createFrames } = await import(${JSON.stringify(here('../wire/frames'))})
    const frames = createFrames({ capacity: 16, poolBytes: captureBytes(65536) })
    const reader = await openCapture('-', frames, { poolStart: 0, poolEnd: frames.pool.length, regionBytes: 65536 })
    let total = 0
    do { for (let count; (count = reader.fill()) > 0;) total += count } while (await reader.more())
    await reader.close()
    console.log(total, reader.fault, reader.stats.gzip)`
  for (const [bytes, gzip] of [[encodePcap(SOME), false], [gzipSync(encodePcapng({ packets: SOME })), true]] as const) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.on('data', (chunk) => { said += chunk })
    child.stdin.write(bytes.subarray(0, 30))
    setTimeout(() => { child.stdin.end(bytes.subarray(30)) }, 50)
    await new Promise((resolve) => { child.on('close', resolve) })
    assert.equal(said.trim(), `${SOME.length} null ${gzip}`)
  }
})
