import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, constants, existsSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
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
async function feed(options: Partial<RecordFilesOptions>, stream: Buffer, seed: number) {
  const { below } = createPrng(seed)
  const files = openRecordFiles({ path: join(dir, 'x.pcapng'), files: Infinity, sizeBytes: Infinity, ageMs: Infinity, count: Infinity, nowMs: () => 0, ...options })
  let more = true
  for (let at = 0; at < stream.length;) {
    const bytes = 1 + below(300)
    more = await files.take(stream.subarray(at, at + bytes))
    at += bytes
  }
  return { more, ...files.close() }
}

const frames = Array.from({ length: 40 }, (_, i) => frame(20 + i))

test('files: one file is the stream itself, however it comes in pieces', async () => {
  for (let seed = 1; seed < 20; seed++) {
    const stream = Buffer.concat([head, ...frames, statistics])
    const { more, packets, bytes, files, lostPackets, isWhole } = await feed({}, stream, seed)
    assert.deepEqual([more, packets, bytes, lostPackets, isWhole], [true, 40, stream.length, 4, true])
    assert.ok(readFileSync(files[0]!).equals(stream))
  }
})

test('files: of a count no frame is one too many, and what ends a recording still comes', async () => {
  for (let seed = 1; seed < 20; seed++) {
    const { more, packets, files, isWhole } = await feed({ count: 7 }, Buffer.concat([head, ...frames, statistics]), seed)
    assert.deepEqual([more, packets, isWhole], [false, 7, true])
    assert.ok(readFileSync(files[0]!).equals(Buffer.concat([head, ...frames.slice(0, 7), statistics])), `seed ${seed}`)
  }
})

test('files: one that is full to the last octet is no octet too long, and a frame too long for any file has one of its own', async () => {
  const alike = Array.from({ length: 9 }, () => frames[0]!), stream = Buffer.concat([head, ...alike])
  const counts = async (sizeBytes: number) => (await feed({ path: join(dir, 'full.pcapng'), sizeBytes }, stream, 3)).files
    .map((file) => (readFileSync(file).length - head.length) / frames[0]!.length)
  assert.deepEqual(await counts(head.length + 3 * frames[0]!.length), [3, 3, 3])
  assert.deepEqual(await counts(head.length + 4 * frames[0]!.length - 1), [3, 3, 3])
  assert.deepEqual(await counts(head.length + 1), [1, 1, 1, 1, 1, 1, 1, 1, 1])
})

test('files: a ring has whole files of no more than the size, each with its head, and the oldest make room', async () => {
  const sizeBytes = head.length + 3 * frames[39]!.length
  const all = await feed({ sizeBytes }, Buffer.concat([head, ...frames]), 7)
  assert.equal(all.isWhole, false)
  const contents = all.files.map((file) => readFileSync(file))
  for (const content of contents) {
    assert.ok(content.length <= sizeBytes)
    assert.ok(content.subarray(0, head.length).equals(head))
  }
  assert.ok(Buffer.concat(contents.map((content) => content.subarray(head.length))).equals(Buffer.concat(frames)))
  const kept = await feed({ path: join(dir, 'y.pcapng'), sizeBytes, files: 2 }, Buffer.concat([head, ...frames]), 8)
  assert.deepEqual([kept.files.length, kept.deletedFiles], [2, all.files.length - 2])
  assert.ok(kept.files.every((file) => existsSync(file)))
  assert.equal(existsSync(join(dir, basename(all.files[0]!).replace('x_', 'y_'))), false)
})

test('files: a file is given up by its age when the next frame comes, and no empty one is made', async () => {
  let ms = 0
  const files = openRecordFiles({ path: join(dir, 'z.pcapng'), files: Infinity, sizeBytes: Infinity, ageMs: 1000, count: Infinity, nowMs: () => ms })
  await files.take(Buffer.concat([head, frames[0]!]))
  ms = 5000
  await files.take(frames[1]!)
  await files.take(frames[2]!)
  assert.equal(files.close().files.length, 2)
})

test('files: what is no stream of blocks is refused', async () => {
  await assert.rejects(feed({}, Buffer.alloc(64), 1), /no recording/)
})

test('files: names of a ring are those of dumpcap', () => {
  assert.equal(ringName('/tmp/lab.pcapng', 3, new Date(2026, 10, 29, 9, 5, 7)), '/tmp/lab_00003_20261129090507.pcapng')
  assert.equal(ringName('lab', 12_345, new Date(2026, 0, 1, 23, 59, 59)), 'lab_12345_20260101235959')
})

/** A FIFO, its reader if it has one, and a recording into it. */
function fifo(name: string, signal?: AbortSignal) {
  const path = join(dir, name)
  assert.equal(spawnSync('mkfifo', [path]).status, 0)
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return { reader, files: openRecordFiles({ path, files: Infinity, sizeBytes: Infinity, ageMs: Infinity, count: Infinity, nowMs: () => 0, ...signal !== undefined && { signal } }) }
}

test('files: a pipe whose reader is slow gets everything, and whoever writes it is not kept from other work', async () => {
  const { reader, files } = fifo('slow'), many = Array.from({ length: 400 }, () => frame(1400))
  const stream = Buffer.concat([head, ...many, statistics])
  let isTaken = false, turns = 0
  const taken = files.take(stream).then((more) => { isTaken = more })
  for (; turns < 10; turns++) await sleep(2)
  assert.equal(isTaken, false)
  const pieces: Buffer[] = [], room = Buffer.alloc(16_384)
  for (let bytes = 0; bytes < stream.length;) {
    try {
      const read = readSync(reader, room)
      pieces.push(Buffer.from(room.subarray(0, read)))
      bytes += read
    } catch { /* nothing there yet */ }
    await sleep(0)
  }
  await taken
  const { packets, bytes, isWhole } = files.close()
  closeSync(reader)
  assert.deepEqual([packets, bytes, isWhole], [400, stream.length, true])
  assert.ok(Buffer.concat(pieces).equals(stream))
})

test('files: when the reader of a pipe goes the recording ends; one that reads nothing is given up when it should end; without one it does not begin', async () => {
  const gone = fifo('gone')
  closeSync(gone.reader)
  assert.equal(await gone.files.take(Buffer.concat([head, frames[0]!])), false)
  assert.equal(gone.files.close().bytes, 0)
  const over = new AbortController(), idle = fifo('idle', over.signal)
  const taken = idle.files.take(Buffer.concat([head, ...Array.from({ length: 400 }, () => frame(1400))]))
  setTimeout(() => over.abort(), 20)
  await assert.rejects(taken, /^Failure: nobody reads .*idle: the end of the recording is lost$/)
  closeSync(idle.reader)
  idle.files.close()
  await assert.rejects(feed({ path: join(dir, 'idle') }, Buffer.from(head), 1), /cannot write .*idle: nobody reads this pipe: start its reader first/)
})
