import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { createFrames } from '../wire/frames.ts'
import { captureBytes, openCapture } from './capture-reader.ts'
import { frameBlockBytes, isForwarded, lostInStatistics, putFrame, readRecordedSettings, recordingHead, statisticsBlock } from './recording.ts'
import { MARK_OUTSIDE, MARK_OWN, MARK_SENT } from './tap.ts'

const dir = mkdtempSync(join(tmpdir(), 'pinhole-recording-'))
after(() => rmSync(dir, { recursive: true }))

const LINKS = [{ name: 'in0', mac: [2, 0, 0, 0, 0, 1] }, { name: 'out0', mac: [2, 0, 0, 0, 0, 2] }]
const SETTINGS = { insideInterface: 'in0', seed: 4_000_000_000, timeScale: 2, configuration: '{"nat":{"pool":["203.0.113.1"]}}' }
const head = (filter = '') => recordingHead(LINKS, 65_535, filter, 'about it', SETTINGS)

function block(bytes: number[], marks: number, sec = 1_700_000_000, nsec = 999_999_999): Buffer {
  const to = Buffer.alloc(frameBlockBytes(bytes.length, marks), 0xaa)
  assert.equal(putFrame(to, new DataView(to.buffer, to.byteOffset), 0, Uint8Array.from(bytes), bytes.length + 4, marks, sec, nsec), to.length)
  return to
}

async function read(file: string, keep?: typeof isForwarded) {
  const frames = createFrames({ capacity: 4, poolBytes: captureBytes(4096) })
  const reader = await openCapture(file, frames, { poolStart: 0, poolEnd: frames.pool.length, regionBytes: 4096, ...keep !== undefined && { keep } })
  const rows: { bytes: number[]; wire: number; iface: number; sec: number; nsec: number }[] = []
  do {
    for (let count = reader.fill(); count > 0; count = reader.fill()) {
      for (let i = 0; i < count; i++) {
        rows.push({
          bytes: [...frames.pool.subarray(frames.off[i], frames.off[i]! + frames.capBytes[i]!)], wire: frames.wireBytes[i]!, iface: frames.iface[i]!,
          sec: frames.sec[i]!, nsec: frames.nsec[i]!,
        })
      }
    }
  } while (await reader.more())
  await reader.close()
  assert.equal(reader.fault, null)
  return { rows, interfaces: reader.interfaces }
}

test('recording: what is written is read again, and of it only what the packet path took is kept for a replay', async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.record({
    bytes: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 40, size: 'max' }), marks: fc.integer({ min: 0, max: 7 }), sec: fc.integer({ min: 0, max: 2 ** 32 }), nsec: fc.integer({ min: 0, max: 999_999_999 }),
  }), { maxLength: 30, size: 'max' }), async (list) => {
    const file = join(dir, 'written.pcapng')
    writeFileSync(file, Buffer.concat([head('udp'), ...list.map(({ bytes, marks, sec, nsec }) => block(bytes, marks, sec, nsec)), statisticsBlock(0, 1, 2, { seen: 5, lost: 3, accepted: 2 })]))
    const expected = list.map(({ bytes, marks, sec, nsec }) => ({ bytes, wire: bytes.length + 4, iface: marks & MARK_OUTSIDE, sec, nsec }))
    const { rows, interfaces } = await read(file)
    assert.deepEqual(rows, expected)
    assert.deepEqual(interfaces.map(({ name, description }) => [name, description]), [['in0', 'inside'], ['out0', 'outside']])
    assert.deepEqual((await read(file, isForwarded)).rows, expected.filter((_, i) => (list[i]!.marks & (MARK_SENT | MARK_OWN)) === 0))
  }), { numRuns: 60 })
})

test('recording: its settings are found again, and in no other file', () => {
  const file = join(dir, 'settings.pcapng')
  const settings = (bytes: Uint8Array) => {
    writeFileSync(file, bytes)
    return readRecordedSettings(file)
  }
  assert.deepEqual(settings(head()), SETTINGS)
  assert.deepEqual(settings(recordingHead(LINKS, 96, '', 'x', { ...SETTINGS, configuration: null })), { ...SETTINGS, configuration: null })
  assert.equal(settings(Buffer.from(head()).fill(0, 0, 4)), null)
  assert.equal(readRecordedSettings(join(dir, 'none')), null)
  assert.equal(readRecordedSettings('-'), null)
  assert.equal(readRecordedSettings(dir), null)
  // Any damage is another kind of file, or settings of the right kinds.
  fc.assert(fc.property(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(), (at, value, length) => {
    const bytes = Buffer.from(head())
    bytes[at % bytes.length] = value
    const found = settings(bytes.subarray(0, length % 2 === 0 ? bytes.length : length % bytes.length))
    if (found === null) return
    assert.deepEqual(Object.values(found).map((one) => typeof one), ['string', 'number', 'number', 'string'])
  }), { numRuns: 400 })
})

test('recording: a statistics block says what was lost', () => {
  assert.equal(lostInStatistics(statisticsBlock(1, Date.now(), Date.now(), { seen: 2 ** 40, lost: 12_345, accepted: 9 })), 12_345)
})
