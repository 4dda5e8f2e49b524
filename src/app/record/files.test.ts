import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, test } from 'node:test'
import { createPrng } from '../../base/prng.ts'
import { frameBlockBytes, putFrame, recordingHead, statisticsBlock } from '../../phy/recording.ts'
import { openRecordFiles, ringName, type RecordFilesOptions } from './files.ts'

const dir = mkdtempSync(join(tmpdir(), 'pinhole-files-'))
after(() => rmSync(dir, { recursive: true }))

const head = recordingHead([{ name: 'in0', mac: [2, 0, 0, 0, 0, 1] }, { name: 'out0', mac: [2, 0, 0, 0, 0, 2] }], 65_535, '', '',
  { insideInterface: 'in0', seed: 1, timeScale: 1, configuration: null })

function frame(bytes: number): Buffer {
  const to = Buffer.alloc(frameBlockBytes(bytes, 0))
  putFrame(to, new DataView(to.buffer, to.byteOffset), 0, new Uint8Array(bytes).fill(bytes), bytes, 0, 1, 2)
  return to
}
const statistics = statisticsBlock(0, 0, 0, { seen: 9, lost: 4, accepted: 5 })

/** In pieces of any length. */
function feed(options: Partial<RecordFilesOptions>, stream: Buffer, seed: number) {
  const { below } = createPrng(seed)
  const files = openRecordFiles({ path: join(dir, 'x.pcapng'), files: Infinity, sizeBytes: Infinity, ageMs: Infinity, count: Infinity, nowMs: () => 0, ...options })
  let more = true
  for (let at = 0; at < stream.length;) {
    const bytes = 1 + below(300)
    more = files.take(stream.subarray(at, at + bytes))
    at += bytes
  }
  return { more, ...files.close() }
}

const frames = Array.from({ length: 40 }, (_, i) => frame(20 + i))

test('files: one file is the stream itself, however it comes in pieces', () => {
  for (let seed = 1; seed < 20; seed++) {
    const stream = Buffer.concat([head, ...frames, statistics])
    const { more, packets, bytes, files, lostPackets, isWhole } = feed({}, stream, seed)
    assert.deepEqual([more, packets, bytes, lostPackets, isWhole], [true, 40, stream.length, 4, true])
    assert.ok(readFileSync(files[0]!).equals(stream))
  }
})

test('files: of a count no frame is one too many, and what ends a recording still comes', () => {
  for (let seed = 1; seed < 20; seed++) {
    const { more, packets, files, isWhole } = feed({ count: 7 }, Buffer.concat([head, ...frames, statistics]), seed)
    assert.deepEqual([more, packets, isWhole], [false, 7, true])
    assert.ok(readFileSync(files[0]!).equals(Buffer.concat([head, ...frames.slice(0, 7), statistics])), `seed ${seed}`)
  }
})

test('files: one that is full to the last octet is no octet too long, and a frame too long for any file has one of its own', () => {
  const alike = Array.from({ length: 9 }, () => frames[0]!), stream = Buffer.concat([head, ...alike])
  const counts = (sizeBytes: number) => feed({ path: join(dir, 'full.pcapng'), sizeBytes }, stream, 3).files
    .map((file) => (readFileSync(file).length - head.length) / frames[0]!.length)
  assert.deepEqual(counts(head.length + 3 * frames[0]!.length), [3, 3, 3])
  assert.deepEqual(counts(head.length + 4 * frames[0]!.length - 1), [3, 3, 3])
  assert.deepEqual(counts(head.length + 1), [1, 1, 1, 1, 1, 1, 1, 1, 1])
})

test('files: a ring has whole files of no more than the size, each with its head, and the oldest make room', () => {
  const sizeBytes = head.length + 3 * frames[39]!.length
  const all = feed({ sizeBytes }, Buffer.concat([head, ...frames]), 7)
  assert.equal(all.isWhole, false)
  const contents = all.files.map((file) => readFileSync(file))
  for (const content of contents) {
    assert.ok(content.length <= sizeBytes)
    assert.ok(content.subarray(0, head.length).equals(head))
  }
  assert.ok(Buffer.concat(contents.map((content) => content.subarray(head.length))).equals(Buffer.concat(frames)))
  const kept = feed({ path: join(dir, 'y.pcapng'), sizeBytes, files: 2 }, Buffer.concat([head, ...frames]), 8)
  assert.deepEqual([kept.files.length, kept.deletedFiles], [2, all.files.length - 2])
  assert.ok(kept.files.every((file) => existsSync(file)))
  assert.equal(existsSync(join(dir, basename(all.files[0]!).replace('x_', 'y_'))), false)
})

test('files: a file is given up by its age when the next frame comes, and no empty one is made', () => {
  let ms = 0
  const files = openRecordFiles({ path: join(dir, 'z.pcapng'), files: Infinity, sizeBytes: Infinity, ageMs: 1000, count: Infinity, nowMs: () => ms })
  files.take(Buffer.concat([head, frames[0]!]))
  ms = 5000
  files.take(frames[1]!)
  files.take(frames[2]!)
  assert.equal(files.close().files.length, 2)
})

test('files: what is no stream of blocks is refused', () => {
  assert.throws(() => feed({}, Buffer.alloc(64), 1), /no recording/)
})

test('files: names of a ring are those of dumpcap', () => {
  assert.equal(ringName('/tmp/lab.pcapng', 3, new Date(2026, 10, 29, 9, 5, 7)), '/tmp/lab_00003_20261129090507.pcapng')
  assert.equal(ringName('lab', 12_345, new Date(2026, 0, 1, 23, 59, 59)), 'lab_12345_20260101235959')
})
