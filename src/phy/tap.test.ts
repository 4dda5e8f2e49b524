import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { createFrames } from '../wire/frames.ts'
import { createTap, createTapMemory, createTapReader, EVERYTHING, MARK_OWN, MARK_SENT, type Tapped } from './tap.ts'

const POOL_BYTES = 131_072, TURNS = 3000

function setUp(ringBytes: number) {
  const frames = createFrames({ capacity: 16, poolBytes: POOL_BYTES })
  const memory = createTapMemory(ringBytes)
  let ms = 1_700_000_000_000
  return { frames, tap: createTap(frames, memory, () => ms += 0.25), reader: createTapReader(memory) }
}

test('tap: what is read is what passed, in order and with its marks, and what had no room is counted (against a plain list)', () => {
  const seed = Math.floor(Math.random() * 2 ** 32), random = createPrng(seed)
  const { frames, tap, reader } = setUp(4096)
  const { pool, off, capBytes, wireBytes, iface } = frames
  const model: { bytes: number[]; wire: number; marks: number }[] = []
  const { below } = random
  let stamped = 0, read = 0, passed = 0
  for (let i = 0; i < POOL_BYTES; i++) pool[i] = below(256)
  reader.want(EVERYTHING, 300)
  for (let turn = 0; turn < TURNS; turn++) {
    const count = below(6)
    const waiting: typeof model = []
    for (let i = 0; i < count; i++) {
      off[i] = i * 8000 + below(7000)
      capBytes[i] = below(500)
      wireBytes[i] = capBytes[i] + below(10)
      iface[i] = below(2)
    }
    tap.received(count)
    const rows = Array.from({ length: count }, (_, i) => ({ off: off[i], bytes: [...pool.subarray(off[i], off[i] + Math.min(capBytes[i], 300))], wire: wireBytes[i], marks: iface[i] }))
    // Some are for the box itself, which closes the gaps.
    const isOwn = rows.map(() => below(3) === 0)
    let left = 0
    rows.forEach((row, i) => { if (!isOwn[i]) off[left++] = row.off })
    tap.kept(left)
    rows.forEach((row, i) => { waiting.push({ bytes: row.bytes, wire: row.wire, marks: row.marks | (isOwn[i] ? MARK_OWN : 0) }) })
    const list = Int32Array.of(below(60_000), below(400), below(60_000), below(400)), side = below(2)
    tap.sent(side, list, 2)
    for (const n of [0, 2]) waiting.push({ bytes: [...pool.subarray(list[n], list[n] + Math.min(list[n + 1], 300))], wire: list[n + 1], marks: side | MARK_SENT })
    tap.publish()
    model.push(...waiting)
    passed += waiting.length
    if (below(2) === 0 && turn < TURNS - 1) continue
    const most = turn === TURNS - 1 ? Infinity : 1 + below(12)
    let seen = 0
    reader.read((one: Tapped) => {
      // Of those in front of it the ring had no room.
      const bytes = [...reader.bytes.subarray(one.off, one.off + one.keptBytes)]
      const at = model.findIndex((known) => known.marks === one.marks && known.wire === one.wireBytes && known.bytes.length === bytes.length && known.bytes.every((byte, i) => byte === bytes[i]))
      assert.ok(at >= 0, `seed ${seed}: turn ${turn}: a frame that nobody sent`)
      model.splice(0, at + 1)
      const stamp = one.sec * 1e9 + one.nsec
      assert.ok(stamp >= stamped && one.nsec >= 0 && one.nsec < 1e9, `seed ${seed}`)
      stamped = stamp
      read++
      return ++seen < most
    })
  }
  const lost = [0, 1, 2, 3].map((kind) => reader.lost(kind))
  assert.ok(read > 1000 && lost.every((n) => n > 0), `seed ${seed}: ${read} read, ${String(lost)} lost`)
  assert.equal(read + lost.reduce((sum, n) => sum + n), passed, `seed ${seed}`)
})

test('tap: nothing is lost while the reader keeps up', () => {
  const { frames, tap, reader } = setUp(8192)
  let sent = 0, read = 0
  reader.want(EVERYTHING, 65_535)
  for (let turn = 0; turn < 2000; turn++) {
    tap.sent(turn & 1, Int32Array.of(turn, turn % 1500), 1)
    sent++
    tap.publish()
    assert.equal(reader.read(({ off, keptBytes, wireBytes }) => {
      assert.deepEqual([keptBytes, wireBytes], [turn % 1500, turn % 1500])
      assert.equal(reader.bytes[off], frames.pool[turn])
      read++
      return true
    }), true)
  }
  assert.deepEqual([read, [0, 1, 2, 3].map((kind) => reader.lost(kind))], [sent, [0, 0, 0, 0]])
})

test('tap: only what is wanted is copied, and nothing once it is stopped', () => {
  const { frames, tap, reader } = setUp(8192)
  const marks: number[] = []
  const read = () => reader.read((one) => marks.push(one.marks) > 0)
  assert.equal(tap.isWanted(), false)
  reader.want(1 << (1 | MARK_SENT) | 1, 64)
  assert.equal(tap.isWanted(), true)
  frames.capBytes.fill(60)
  frames.iface.set([0, 1])
  tap.received(2)
  tap.kept(2)
  tap.sent(0, Int32Array.of(0, 60), 1)
  tap.sent(1, Int32Array.of(0, 60), 1)
  tap.publish()
  read()
  assert.deepEqual(marks, [0, 1 | MARK_SENT])
  reader.stop()
  assert.equal(tap.isWanted(), false)
  tap.sent(1, Int32Array.of(0, 60), 1)
  tap.publish()
  read()
  assert.equal(marks.length, 2)
})

test('tap: a frame has the time of its batch, to the nanosecond as far as a clock of milliseconds with fractions has them', () => {
  const { frames, tap, reader } = setUp(8192)
  const stamps: number[][] = []
  const read = () => reader.read(({ sec, nsec }) => stamps.push([sec, nsec]) > 0)
  reader.want(EVERYTHING, 64)
  frames.capBytes.fill(60)
  tap.received(2)
  tap.kept(2)
  tap.sent(0, Int32Array.of(0, 60), 1)
  tap.publish()
  read()
  assert.deepEqual(stamps, [[1_700_000_000, 250_000], [1_700_000_000, 250_000], [1_700_000_000, 500_000]])
})

test('tap: a recorder that comes later sees nothing of what was before it, and its own losses alone', () => {
  const { tap, reader } = setUp(4096)
  reader.want(EVERYTHING, 65_535)
  for (let n = 0; n < 9; n++) tap.sent(0, Int32Array.of(0, 1000), 1)
  tap.publish()
  assert.ok(reader.lost(MARK_SENT) > 0)
  reader.stop()
  reader.want(EVERYTHING, 65_535)
  assert.deepEqual([reader.lost(MARK_SENT), reader.read(() => assert.fail('an old frame'))], [0, true])
  tap.sent(1, Int32Array.of(0, 10), 1)
  tap.publish()
  let seen = 0
  reader.read(({ keptBytes }) => (seen += keptBytes) > 0)
  assert.equal(seen, 10)
})
