import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../../base/prng.ts'
import { createLiveCounters, liveCounterIndex } from '../../plane/live-counters.ts'
import { createFrames } from '../../wire/frames.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import { createGather, gatherBytes, WAITS } from './gather.ts'

const FRAME_BYTES = 128, HEADER = 14

function rig(datagrams = 64) {
  const frames = createFrames({ capacity: 4, poolBytes: 1024 + gatherBytes(FRAME_BYTES) }), counters = createLiveCounters()
  const gather = createGather({ frames, datagrams, fragmentMs: 1000, start: 1024, frameBytes: FRAME_BYTES, counters })
  const asked: number[] = []
  /** Who has the fragment with this identification and offset; byte 40 of it is `mark`. */
  function meet(id: number, offset: number, nowMs: number, mark = 0, owner = 2, change: (view: DataView, p: number) => void = () => { /* none */ }): number {
    const { view } = frames, p = HEADER
    view.setUint8(p, 0x45)
    view.setUint16(p + ipv4.ID, id)
    view.setUint16(p + ipv4.FRAGMENT, offset | ipv4.MORE_FRAGMENTS)
    view.setUint8(p + ipv4.PROTOCOL, 17)
    view.setInt32(p + ipv4.SRC, 1)
    view.setInt32(p + ipv4.DST, 2)
    view.setUint8(p + 40, mark)
    change(view, p)
    return gather.ownerOf(0, p, p + 60, nowMs, () => {
      asked.push(id)
      return owner
    })
  }
  function follow(): number[] {
    const marks: number[] = []
    gather.follow((to, off, bytes, kind) => {
      assert.deepEqual([to, bytes, kind], [2, HEADER + 60, 1])
      marks.push(frames.view.getUint8(off + HEADER + 40))
    }, 2, 1)
    return marks
  }
  return { meet, follow, gather, asked, frames, drops: () => counters[liveCounterIndex('early-fragment-drops')]! }
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

test('a datagram is forgotten after its time when that is not asked about for weeks, too', () => {
  const { meet } = rig()
  assert.equal(meet(7, 0, 0, 0, 2), 2)
  for (const [days, owner] of [[30, 1], [60, 0], [90, 3]] as const) assert.equal(meet(7, 0, days * 86_400_000, 0, owner), owner, `${days} days`)
})

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

test(`pieces in any order go where a plain list says, with what it forgets (seed ${seed})`, () => {
  const { below } = createPrng(seed)
  // Of four datagrams none is forgotten before its time.
  const { meet, follow, gather, drops } = rig(4)
  interface Known { id: number; sinceMs: number; owner: number }
  interface Held { id: number; sinceMs: number; number: number; mark: number }
  let known: Known[] = [], held: Held[] = [], number = 0, dropped = 0, nowMs = 0, followed = 0
  for (let step = 0; step < 20_000; step++) {
    nowMs += 1 + below(40)
    const id = below(4), isFirst = below(12) === 0, mark = below(256)
    known = known.filter((one) => nowMs - one.sinceMs < 1000)
    const found = known.find((one) => one.id === id)
    const owner = below(4)
    const said = meet(id, isFirst ? 0 : 1 + below(100), nowMs, mark, owner - 1)
    let follows: number[] = []
    if (found !== undefined) assert.equal(said, found.owner, `step ${step}`)
    else if (!isFirst) {
      assert.equal(said, WAITS, `step ${step}`)
      if (held.some((one) => one.number === number - 128)) dropped++
      held = held.filter((one) => one.number !== number - 128)
      held.push({ id, sinceMs: nowMs, number: number++, mark })
    } else {
      assert.equal(said, owner - 1, `step ${step}`)
      if (owner > 0) {
        known.push({ id, sinceMs: nowMs, owner: owner - 1 })
        follows = held.filter((one) => one.id === id).map((one) => one.mark)
        held = held.filter((one) => one.id !== id)
      }
    }
    assert.deepEqual(follow(), follows, `step ${step}`)
    followed += follows.length
    if (below(20) === 0) {
      gather.expire(nowMs)
      dropped += held.filter((one) => nowMs - one.sinceMs >= 1000).length
      held = held.filter((one) => nowMs - one.sinceMs < 1000)
    }
    assert.deepEqual([gather.isWaiting(), drops()], [held.length > 0, dropped], `step ${step}`)
  }
  assert.ok(followed > 500 && dropped > 100, `${followed} followed, ${dropped} dropped`)
})

test('of many datagrams those that began last are known, whatever became of the others', () => {
  const { meet } = rig(16)
  for (let id = 1; id < 1000; id++) {
    assert.equal(meet(id, 0, id, 0, id % 7), id % 7)
    for (let back = 0; back < 4 && id > back; back++) assert.equal(meet(id - back, 9, id), (id - back) % 7)
  }
  const known = Array.from({ length: 999 }, (_, n) => meet(n + 1, 9, 999)).filter((owner) => owner !== WAITS)
  assert.equal(known.length, 16)
})

test('a piece of another sender, receiver or protocol is of another datagram; one that is longer than frames are does not wait', () => {
  const { meet, gather, drops, frames } = rig()
  assert.equal(meet(7, 0, 0), 2)
  for (const [at, value] of [[ipv4.SRC + 3, 9], [ipv4.DST + 3, 9], [ipv4.PROTOCOL, 6]] as const) {
    assert.equal(meet(7, 3, 1, 0, 2, (view, p) => view.setUint8(p + at, value)), WAITS)
  }
  const p = HEADER
  frames.view.setUint16(p + ipv4.ID, 99)
  assert.equal(gather.ownerOf(0, p, FRAME_BYTES, 1, () => 0), WAITS)
  assert.equal(drops(), 0)
  assert.equal(gather.ownerOf(0, p, FRAME_BYTES + 1, 1, () => 0), WAITS)
  assert.equal(drops(), 1)
})
