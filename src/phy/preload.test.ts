import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { createFrames } from '../wire/frames.ts'
import { captureBytes } from './capture-reader.ts'
import { createLoopDevice, preloadCapture } from './preload.ts'
import { encodePcap, readAll } from './testing.ts'
import type { ReadPacket, TestPacket } from './testing.ts'

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-phy-'))
after(() => fs.rmSync(dir, { recursive: true }))
const frames = createFrames({ capacity: 16, poolBytes: captureBytes(4096) })
const share = { poolStart: 0, poolEnd: frames.pool.length, regionBytes: 4096 }

function preload(bytes: Uint8Array) {
  const file = path.join(dir, 'capture')
  fs.writeFileSync(file, bytes)
  return preloadCapture(file, frames, share)
}
function packet(length: number, sec: number, nsec: number): TestPacket {
  return { data: Uint8Array.from({ length }, (_, i) => i * 3 + length & 0xff), sec, nsec, wireBytes: length + 1 }
}
const data = (packets: readonly { data: Uint8Array }[]) => packets.map((p) => p.data)
const times = (packets: readonly ReadPacket[]) => packets.map((p) => [p.sec, p.nsec])

test('a capture is played as often as asked, each round later by its duration and the gap', async () => {
  // Out of order: the duration is between the earliest and the latest.
  const packets = [packet(60, 10, 900_000_000), packet(0, 10, 500_000_000), packet(1500, 12, 300_000_000), packet(3, 12, 0)]
  const store = await preload(encodePcap(packets, { nano: true, link: 101 }))
  assert.deepEqual([store.frames, store.durationSec, store.durationNsec], [4, 1, 800_000_000])
  const device = createLoopDevice(store, frames, { ...share, loops: 3, gapNs: 1_400_000_001 })
  const got = await readAll(device, frames)
  assert.deepEqual(data(got), data([...packets, ...packets, ...packets]))
  assert.deepEqual(times(got), [
    [10, 900_000_000], [10, 500_000_000], [12, 300_000_000], [12, 0],
    [14, 100_000_001], [13, 700_000_001], [15, 500_000_001], [15, 200_000_001],
    [17, 300_000_002], [16, 900_000_002], [18, 700_000_002], [18, 400_000_002]])
  assert.deepEqual(got.map((p) => [p.link, p.wireBytes]).slice(4, 6), [[101, 61], [101, 1]])
  assert.equal(device.loopsDone, 3)
  assert.equal(device.fill(), 0)
})

test('batches end where the share of the pool or the columns do', async () => {
  const packets = Array.from({ length: 5000 }, (_, i) => packet(i * 7 % 300, i, 0))
  const store = await preload(encodePcap(packets))
  const device = createLoopDevice(store, frames, { poolStart: 500, poolEnd: 1500, loops: 2, gapNs: 0 })
  frames.pool.fill(0xee)
  assert.deepEqual(data(await readAll(device, frames)), data([...packets, ...packets]))
  for (let i = 0; i < 500; i++) assert.equal(frames.pool[i], 0xee)
  for (let i = 1500; i < 2000; i++) assert.equal(frames.pool[i], 0xee)
  assert.throws(() => createLoopDevice(store, frames, { poolStart: 0, poolEnd: 100, loops: 1, gapNs: 0 }), RangeError)
})

test('rewriting a frame in the pool does not change the store', async () => {
  const store = await preload(encodePcap([packet(9, 1, 0)]))
  const device = createLoopDevice(store, frames, { ...share, loops: 2, gapNs: 0 })
  for (let round = 0; round < 2; round++) {
    assert.equal(device.fill(), 1)
    assert.equal(frames.pool[frames.off[0]!], 9)
    frames.pool[frames.off[0]!] = 77
    assert.equal(await device.more(), round === 0)
  }
})

test('a capture without packets is over at once, and a damaged one keeps its fault', async () => {
  const empty = createLoopDevice(await preload(encodePcap([])), frames, { ...share, loops: 5, gapNs: 0 })
  assert.equal(empty.fill(), 0)
  assert.equal(await empty.more(), false)
  const bytes = encodePcap([packet(9, 1, 0), packet(9, 1, 0)])
  const cut = await preload(bytes.slice(0, -1))
  assert.equal(cut.frames, 1)
  assert.equal(cut.fault!.offset, 24 + 16 + 9)
})
