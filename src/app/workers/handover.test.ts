import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../../base/prng.ts'
import { createLiveCounters, liveCounterIndex, type LiveCounter } from '../../plane/live-counters.ts'
import { createFrames, LINK_ETHERNET } from '../../wire/frames.ts'
import { createHandover, HEARD } from './handover.ts'
import { HANDED_FRAMES, HANDED_HEADER_BYTES, handedSlotBytes, layOut, ringOf, stateOf, type MemoryShape } from './memory.ts'

const shape: MemoryShape = { workers: 3, commandRecords: 0, rules: 0, logRecords: 0, frameBytes: 100 }
const SCRATCH_BYTES = 4096, CAPACITY = 16

/** Workers whose pools are the same memory; each has a part of it for its own frames. */
function setUp() {
  const { memory, bytes } = layOut(shape, null), heads = new Int32Array(16 * 9)
  const poolBytes = bytes + SCRATCH_BYTES, buffer = createFrames({ capacity: 1, poolBytes }).pool.buffer as ArrayBuffer
  const open = (worker: number) => {
    const frames = createFrames({ capacity: CAPACITY, poolBytes, buffer }), counters = createLiveCounters()
    const handover = createHandover({ frames, shape, worker, heads, start: memory.handedStart, counters })
    return { ...handover, frames, counter: (name: LiveCounter) => counters[liveCounterIndex(name)]! }
  }
  return { open, heads, workers: [0, 1, 2].map(open), scratch: bytes }
}

interface Handed { bytes: number[]; kind: number }
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

test(`frames handed on come whole, in order and with their kind, or are counted as lost (against plain lists, seed ${seed})`, () => {
  const { below } = createPrng(seed), { workers, scratch } = setUp()
  const waiting = workers.map(() => workers.map((): Handed[] => []))
  let given = 0, lost = 0, taken = 0, heard = 0
  for (let step = 0; step < 20_000; step++) {
    const from = below(3), one = workers[from]!
    if (below(3) > 0) {
      // One in a while that is too long for a slot, and runs in which nobody takes.
      const to = below(3), bytes = below(50) === 0 ? 129 : below(129), kind = [0, 1, 2, HEARD, HEARD + 1][below(5)]!, list = waiting[from]![to]!
      for (let n = below(500) === 0 ? 300 : 1; n > 0; n--) {
        const frame = Array.from({ length: bytes }, () => below(256))
        one.frames.pool.set(frame, scratch + from * 200)
        one.give(to, scratch + from * 200, bytes, kind)
        if (bytes > 128 || list.length === HANDED_FRAMES) lost++
        else {
          list.push({ bytes: frame, kind })
          given++
        }
      }
      continue
    }
    assert.equal(one.isWaiting(), waiting.some((lists) => lists[from]!.length > 0), `step ${step}`)
    // From the first worker on, until there are as many rows as are asked for.
    const most = below(CAPACITY), rows: Handed[] = [], all: Handed[] = [], ears: Handed[] = []
    for (const lists of waiting) {
      const list = lists[from]!
      while (list.length > 0 && rows.length < most) {
        const next = list.shift()!
        all.push(next)
        ;(next.kind >= HEARD ? ears : rows).push(next)
      }
    }
    const said: Handed[] = []
    const bytesAt = (at: number, end: number) => [...one.frames.pool.subarray(at, end)]
    const count = one.receive(most, (at, end, side) => said.push({ bytes: bytesAt(at, end), kind: HEARD + side }))
    const { off, capBytes, wireBytes, link, iface } = one.frames
    const got = Array.from({ length: count }, (_, i): Handed => {
      assert.deepEqual([wireBytes[i], link[i]], [capBytes[i], LINK_ETHERNET])
      return { bytes: bytesAt(off[i]!, off[i]! + capBytes[i]!), kind: iface[i]! }
    })
    assert.deepEqual([got, said], [rows, ears], `step ${step}`)
    taken += rows.length
    heard += ears.length
    one.release()
  }
  const sum = (name: LiveCounter) => workers.reduce((all, { counter }) => all + counter(name), 0)
  assert.deepEqual([sum('handed-on-frames'), sum('handover-drops'), sum('taken-over-frames')], [given, lost, taken])
  assert.ok(taken > 3000 && heard > 2000 && lost > 100, `${taken} ${heard} ${lost}`)
})

test('frames stay where they are until they are released: until then their writer has no room for others', () => {
  const { workers, scratch } = setUp(), one = workers[0]!, other = workers[1]!
  for (let n = 0; n < HANDED_FRAMES; n++) one.give(1, scratch, 60, 0)
  assert.equal(other.receive(4, () => assert.fail('nobody spoke')), 4)
  one.give(1, scratch, 60, 0)
  assert.equal(one.counter('handover-drops'), 1)
  assert.equal(other.receive(4, () => assert.fail('nobody spoke')), 4, 'the next ones')
  other.release()
  for (let n = 0; n < 8; n++) one.give(1, scratch, 60, 0)
  assert.equal(one.counter('handover-drops'), 1)
  one.give(1, scratch, 60, 0)
  assert.equal(one.counter('handover-drops'), 2)
})

test('a worker is asked once for whom it has something', () => {
  const { workers, scratch } = setUp()
  workers[1]!.give(2, scratch, 60, 0)
  workers[1]!.give(0, scratch, 60, 0)
  assert.deepEqual([workers[1]!.givenTo(), workers[1]!.givenTo(), workers[0]!.givenTo()], [0b101, 0, 0])
})

test('one that takes the place of another goes on where that had released, and finds what a slot says within its bounds', () => {
  const { workers, open, scratch } = setUp(), [first] = workers, { pool, view } = first!.frames
  for (let n = 0; n < 5; n++) {
    pool.fill(n, scratch, scratch + 60)
    first!.give(1, scratch, 60, 0)
  }
  workers[1]!.receive(2, () => assert.fail())
  workers[1]!.release()
  workers[1]!.receive(1, () => assert.fail())
  const next = open(1)
  // Half written by one that died.
  const slot = layOut(shape, null).memory.handedStart + (ringOf(0, 1, 3) * HANDED_FRAMES + 3) * handedSlotBytes(shape)
  view.setInt32(slot, -5)
  view.setInt32(slot + handedSlotBytes(shape), 1 << 30)
  assert.equal(next.receive(9, () => assert.fail()), 3)
  const { off, capBytes } = next.frames
  assert.deepEqual([...capBytes.subarray(0, 3)], [60, 0, handedSlotBytes(shape) - HANDED_HEADER_BYTES])
  assert.equal(pool[off[0]!], 2)
})

test('what workers share lies side by side: no two views of it have a byte in common, nor a line of the cache', () => {
  const full: MemoryShape = { workers: 3, commandRecords: 8, rules: 5, logRecords: 4, frameBytes: 1514 }
  const { bytes } = layOut(full, null), at = 65_536, buffer = new ArrayBuffer(at + bytes), { memory } = layOut(full, buffer, at)
  const views = [memory.state, memory.commands, memory.handed, ...memory.workers.flatMap((one) =>
    [one.counters, one.live, ...one.devices, one.lastUsedMs, one.packets, one.bytes, one.logHead, one.logWords])]
  const places = [
    ...views.map((view) => [view.byteOffset, view.byteOffset + view.byteLength] as const),
    [at + memory.handedStart, at + memory.handedStart + 9 * HANDED_FRAMES * handedSlotBytes(full)] as const,
  ].sort(([a], [b]) => a - b)
  assert.equal(places.length, 3 + 3 * 9 + 1)
  for (const [n, [from, to]] of places.entries()) {
    assert.equal(from % 64, 0)
    assert.ok(to > from && from >= at && to <= (places[n + 1]?.[0] ?? buffer.byteLength), `${from} to ${to}`)
  }
  assert.equal(bytes % 65_536, 0)
  assert.deepEqual([memory.workers[0]!.packets.length, memory.commands.length], [6, 8 * 32])
  const words = [0, 1, 2].flatMap((worker) => [0, 1, 2, 4, 5, 6, 7].map((word) => stateOf(worker, word)))
  assert.equal(new Set([0, ...words]).size, 22)
  assert.ok(Math.max(...words) < memory.state.length)
  const rings = [0, 1, 2].flatMap((from) => [0, 1, 2].map((to) => ringOf(from, to, 3)))
  assert.deepEqual([...rings].sort((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7, 8])
  assert.equal(memory.handed.length, 9 * 16)
})
