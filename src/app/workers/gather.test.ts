import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLiveCounters, liveCounterIndex } from '../../plane/live-counters.ts'
import { createFrames } from '../../wire/frames.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import { createGather, gatherBytes, WAITS } from './gather.ts'

const FRAME_BYTES = 128, HEADER = 14

function rig() {
  const frames = createFrames({ capacity: 4, poolBytes: 1024 + gatherBytes(FRAME_BYTES) }), counters = createLiveCounters()
  const gather = createGather({ frames, datagrams: 64, fragmentMs: 1000, start: 1024, frameBytes: FRAME_BYTES, counters })
  const asked: number[] = []
  /** Who has the fragment with this identification and offset; byte 40 of it is `mark`. */
  function meet(id: number, offset: number, nowMs: number, mark = 0, owner = 2): number {
    const { view } = frames, p = HEADER
    view.setUint8(p, 0x45)
    view.setUint16(p + ipv4.ID, id)
    view.setUint16(p + ipv4.FRAGMENT, offset | ipv4.MORE_FRAGMENTS)
    view.setUint8(p + ipv4.PROTOCOL, 17)
    view.setInt32(p + ipv4.SRC, 1)
    view.setInt32(p + ipv4.DST, 2)
    view.setUint8(p + 40, mark)
    return gather.ownerOf(0, p, p + 60, nowMs, () => {
      asked.push(id)
      return owner
    })
  }
  function follow(): number[] {
    const marks: number[] = []
    gather.follow((off, bytes) => {
      assert.equal(bytes, HEADER + 60)
      marks.push(frames.view.getUint8(off + HEADER + 40))
    })
    return marks
  }
  return { meet, follow, gather, asked, drops: () => counters[liveCounterIndex('early-fragment-drops')]! }
}

test('pieces of a datagram go where its first one went, whose ports are looked at once', () => {
  const { meet, asked, drops } = rig()
  assert.equal(meet(7, 0, 0), 2)
  assert.deepEqual([meet(7, 3, 1), meet(7, 6, 2), meet(7, 0, 3)], [2, 2, 2])
  assert.equal(meet(8, 0, 4, 0, 1), 1)
  assert.deepEqual(asked, [7, 8])
  assert.equal(drops(), 0)
})

test('pieces before the first one wait for it, and follow it in the order in which they came', () => {
  const { meet, follow, gather, drops } = rig()
  assert.deepEqual([meet(7, 6, 0, 1), meet(9, 6, 0, 9), meet(7, 3, 1, 2)], [WAITS, WAITS, WAITS])
  assert.deepEqual(follow(), [], 'nothing has come that they wait for')
  assert.equal(meet(7, 0, 2), 2)
  assert.deepEqual(follow(), [1, 2])
  assert.deepEqual(follow(), [])
  assert.equal(gather.isWaiting(), true)
  gather.expire(999)
  assert.equal(drops(), 0)
  gather.expire(1000)
  assert.equal(drops(), 1)
  assert.equal(gather.isWaiting(), false)
})

test('a datagram is forgotten after its time, and what waits is bounded: the oldest makes room', () => {
  const { meet, follow, drops } = rig()
  assert.equal(meet(7, 0, 0), 2)
  assert.equal(meet(7, 3, 1000), WAITS)
  for (let id = 1000; id < 1200; id++) assert.equal(meet(id, 3, 1000, id & 127), WAITS)
  assert.equal(drops(), 201 - 128)
  assert.equal(meet(1000, 0, 1000), 2)
  assert.deepEqual(follow(), [])
  assert.equal(meet(1199, 0, 1000), 2)
  assert.deepEqual(follow(), [1199 & 127])
})
