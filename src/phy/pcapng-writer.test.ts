import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { createFrames } from '../wire/frames.ts'
import { CaptureError } from './capture-error.ts'
import { captureBytes, openCapture } from './capture-reader.ts'
import { openPcapngWriter, packetBlockBytes, writerBytes } from './pcapng-writer.ts'
import type { PcapngWriter, WriterOptions } from './pcapng-writer.ts'
import { readAll } from './testing.ts'
import type { ReadPacket } from './testing.ts'

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-phy-'))
after(() => fs.rmSync(dir, { recursive: true }))
const file = path.join(dir, 'out.pcapng')

const REGION_BYTES = 65_536, READER_END = captureBytes(REGION_BYTES), WRITER_END = READER_END + writerBytes(300_000)
const FRAMES_AT = WRITER_END
const frames = createFrames({ capacity: 32, poolBytes: FRAMES_AT + 300_000 })
const share = { poolStart: READER_END, poolEnd: WRITER_END }

const open = (options: Partial<WriterOptions> = {}, to = file) => openPcapngWriter(to, frames, { ...share, ...options })
async function readBack() {
  const reader = await openCapture(file, frames, { poolStart: 0, poolEnd: READER_END, regionBytes: REGION_BYTES })
  const packets = await readAll(reader, frames)
  assert.equal(reader.fault, null)
  return { packets, interfaces: reader.interfaces }
}
async function write(writer: PcapngWriter, { data, wireBytes, sec, nsec, link }: ReadPacket): Promise<void> {
  frames.pool.set(data, FRAMES_AT)
  while (!writer.write(FRAMES_AT, data.length, wireBytes, sec, nsec, link)) await writer.ready()
}
function packet(length: number, sec: number, nsec: number, link = 1): ReadPacket {
  const data = Uint8Array.from({ length }, (_, i) => i * 5 + length & 0xff)
  return { data, wireBytes: length + length % 3, link, iface: 0, sec, nsec }
}

test('what was written is read back: every length, every residue of a word, stamps at their limits', async () => {
  const random = createPrng(7)
  const packets: ReadPacket[] = []
  for (let length = 0; length < 700; length++) packets.push(packet(length, 1_700_000_000 + (length >> 4), random.next() >>> 2))
  packets.forEach((p) => { p.nsec %= 1_000_000_000 })
  for (const sec of [0, 1, 4, 2 ** 31, 2 ** 32 + 1, 18_446_744_072]) {
    for (const nsec of [0, 1, 294_967_295, 294_967_296, 999_999_999]) packets.push(packet(9, sec, nsec))
  }
  packets.push(packet(262_144, 1, 1), packet(1, 1, 2), packet(262_144, 1, 3), packet(262_144, 1, 4))
  const writer = await open({ ifName: 'outside' })
  for (const one of packets) await write(writer, one)
  await writer.close()
  const { packets: got, interfaces } = await readBack()
  assert.deepEqual(got, packets)
  assert.deepEqual(interfaces, [{ section: 0, id: 0, link: 1, name: 'outside', snapBytes: 262_144, tsResolution: 1e9 }])
  assert.equal(writer.stats.packets, packets.length)
  assert.equal(writer.stats.bytes, fs.statSync(file).size)
})

test('an interface is described when a packet of its link type first comes', async () => {
  const packets = [packet(4, 1, 0, 1), packet(5, 1, 0, 101), packet(6, 1, 0, 1), packet(7, 1, 0, 276), packet(8, 1, 0, 101)]
  const writer = await open()
  for (const one of packets) await write(writer, one)
  await writer.close()
  const { packets: got, interfaces } = await readBack()
  assert.deepEqual(got.map((p) => [p.link, p.iface]), [[1, 0], [101, 1], [1, 0], [276, 2], [101, 1]])
  assert.deepEqual(interfaces.map((i) => i.link), [1, 101, 276])
})

test('more link types than a buffer has room for interfaces', async () => {
  const packets = Array.from({ length: 3000 }, (_, i) => ({ ...packet(4, 1, i, i), iface: i }))
  const writer = await open({ ifName: 'a name that takes some room' })
  for (const one of packets) await write(writer, one)
  await writer.close()
  assert.deepEqual((await readBack()).packets, packets)
})

test('stamps that nanoseconds in 64 bits cannot hold become the nearest that can', async () => {
  const writer = await open()
  for (const sec of [-5, 1e12]) await write(writer, packet(1, sec, 0))
  await writer.close()
  assert.deepEqual((await readBack()).packets.map((p) => p.sec), [0, 18_446_744_072])
})

test('a file without packets is a capture; the same packets make the same bytes', async () => {
  const writer = await open()
  await writer.close()
  assert.deepEqual(await readBack(), { packets: [], interfaces: [] })
  const described = await open({ links: [1] })
  await described.close()
  assert.equal((await readBack()).interfaces.length, 1)
  const files = []
  for (let round = 0; round < 2; round++) {
    const again = await open({ ifName: 'x' })
    await write(again, packet(60, 5, 5))
    await again.close()
    files.push(fs.readFileSync(file))
  }
  assert.deepEqual(files[0], files[1])
})

test('room is a promise: what it granted is written without waiting', async () => {
  const writer = await open()
  frames.pool.set(packet(1500, 0, 0).data, FRAMES_AT)
  const batch = 100, bytes = batch * packetBlockBytes(1500)
  let waits = 0
  for (let round = 0; round < 200; round++) {
    if (!writer.room(bytes)) {
      waits++
      await writer.ready()
      assert.ok(writer.room(bytes))
    }
    // A new link type now and then must not use up what was granted.
    for (let i = 0; i < batch; i++) assert.ok(writer.write(FRAMES_AT, 1500, 1500, round, i, i === 50 ? round : 1))
  }
  await writer.close()
  assert.ok(waits > 0)
  assert.equal((await readBack()).packets.length, 200 * batch)
  assert.equal(writer.room(2 ** 30), false)
})

test('a packet may have a comment', async () => {
  const writer = await open()
  const one = packet(61, 3, 4)
  frames.pool.set(one.data, FRAMES_AT)
  assert.ok(writer.writeWithComment(FRAMES_AT, 61, 62, 3, 4, 1, 'dropped: no binding – ¿why?'))
  await write(writer, one)
  await writer.close()
  const { packets } = await readBack()
  assert.deepEqual(packets, [one, one])
  const tshark = spawnSync('tshark', ['-r', file, '-T', 'fields', '-e', 'frame.comment'], { encoding: 'utf8' })
  if (tshark.status === 0) assert.equal(tshark.stdout, 'dropped: no binding – ¿why?\n\n')
})

test('a file that cannot be opened or written is an error with code and path', async () => {
  const absent = path.join(dir, 'absent', 'file')
  await assert.rejects(open({}, absent), (error) => error instanceof CaptureError && error.code === 'ENOENT' && error.path === absent)
  if (!fs.existsSync('/dev/full')) return
  const full = (error: unknown) => error instanceof CaptureError && error.code === 'ENOSPC' && error.path === '/dev/full'
  const writer = await open({}, '/dev/full')
  await assert.rejects(writer.close(), full)
  const busy = await open({}, '/dev/full')
  let refused = false
  for (let i = 0; i < 10_000 && !refused; i++) refused = !busy.write(FRAMES_AT, 1500, 1500, 1, i, 1)
  assert.ok(refused)
  await assert.rejects(busy.ready(), full)
  assert.equal(busy.write(FRAMES_AT, 200_000, 200_000, 1, 1, 1) && busy.write(FRAMES_AT, 200_000, 200_000, 1, 1, 1), false)
  await assert.rejects(busy.close(), full)
})

const noTools = spawnSync('capinfos', ['-v']).status === 0 ? false : 'no capinfos on PATH'
test('capinfos and tshark read what was written', { skip: noTools }, async () => {
  const writer = await open({ ifName: 'inside' })
  for (let i = 0; i < 500; i++) await write(writer, packet(60 + i, 1_700_000_000 + i, 999_999_999 - i, i % 2 === 0 ? 1 : 101))
  await writer.close()
  const info = spawnSync('capinfos', ['-c', '-a', '-e', '-S', '-T', '-r', '-m', file], { encoding: 'utf8' })
  assert.equal(info.status, 0, info.stderr)
  assert.match(info.stdout, /500,1700000000\.999999999,1700000499\.999999500/)
  const { stdout } = spawnSync('tshark', ['-n', '-r', file, '-T', 'fields', '-e', 'frame.time_epoch', '-e', 'frame.cap_len',
    '-e', 'frame.len', '-e', 'frame.interface_name'], { encoding: 'utf8' })
  const lines = stdout.split('\n')
  assert.equal(lines[1], '1700000001.999999998\t61\t62\tinside')
  assert.equal(lines.length, 501)
})

test('standard output takes a capture', () => {
  const here = (name: string) => new URL(name + path.extname(import.meta.url), import.meta.url).href
  const script = `
    const { openPcapngWriter, writerBytes } = await import(${JSON.stringify(here('./pcapng-writer'))})
    const { createFrames } = await import(${JSON.stringify(here('../wire/frames'))})
    const frames = createFrames({ capacity: 16, poolBytes: writerBytes() + 2000 })
    const writer = await openPcapngWriter('-', frames, { poolStart: 0, poolEnd: writerBytes() })
    for (let i = 0; i < 3000; i++) while (!writer.write(writerBytes(), 1500, 1500, i, i, 1)) await writer.ready()
    await writer.close()`
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { maxBuffer: 2 ** 26 })
  assert.equal(status, 0)
  fs.writeFileSync(file, stdout)
  return readBack().then(({ packets }) => assert.equal(packets.length, 3000))
})
