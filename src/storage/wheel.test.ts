import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPrng } from '../base/prng.ts'
import { createWheelModel } from './wheel.model.ts'
import { createWheel } from './wheel.ts'

const STRIDE_BITS = 3, DEADLINE = 2, NEXT = 4, PREV = 5
const MOST_AHEAD = 2 ** 31 - 1

/** A wheel and its model side by side. Time is an ordinary number; the wheel sees it modulo 2^32. */
function createPair(slots: number, startMs: number) {
  const records = new Int32Array((slots + 1) << STRIDE_BITS)
  const wheel = createWheel({ records, strideBits: STRIDE_BITS, deadlineWord: DEADLINE, nextWord: NEXT, prevWord: PREV })
  const model = createWheelModel()
  let now = 0
  // The wheel begins at 0; walk to the start as nobody can leap further than half a turn.
  while (now !== startMs) {
    now = Math.max(Math.min(startMs, now + MOST_AHEAD), now - MOST_AHEAD)
    assert.equal(wheel.expire(now | 0), 0)
  }

  function deadlineWord(slot: number): number {
    return (slot << STRIDE_BITS) + DEADLINE
  }

  return {
    records,
    schedule(slot: number, aheadMs: number): void {
      records[deadlineWord(slot)] = (now + aheadMs) | 0
      wheel.schedule(slot)
      model.schedule(slot, now + aheadMs)
    },
    /** A deadline that moves later, as a packet of a flow does it: the wheel is not told. */
    refreshLater(slot: number, byMs: number): void {
      const deadline = model.deadlineOf(slot)
      if (deadline === null) return
      const later = Math.min(deadline + byMs, now + MOST_AHEAD)
      if (later < deadline) return
      records[deadlineWord(slot)] = later | 0
      model.schedule(slot, later)
    },
    shorten(slot: number, byMs: number): void {
      const deadline = model.deadlineOf(slot)
      if (deadline === null) return
      this.schedule(slot, Math.max(deadline - byMs - now, -MOST_AHEAD))
    },
    cancel(slot: number): void {
      wheel.cancel(slot)
      model.cancel(slot)
    },
    advance(byMs: number): void {
      now += byMs
      const expected = model.expire(now)
      const got: number[] = []
      for (let slot = wheel.expire(now | 0); slot !== 0; slot = wheel.expire(now | 0)) {
        got.push(slot)
        assert.equal(records[(slot << STRIDE_BITS) + PREV], 0, `slot ${slot} is still in a bucket`)
      }
      // Records that end in the same millisecond come in any order, later ones after earlier ones.
      const deadlines = new Map(expected.map(({ slot, deadline }) => [slot, deadline]))
      assert.deepEqual([...got].sort((a, b) => a - b), [...deadlines.keys()].sort((a, b) => a - b), `at ${now}`)
      assert.deepEqual(got.map((slot) => deadlines.get(slot)).filter((at) => at! > now - byMs),
        expected.map(({ deadline }) => deadline).filter((at) => at > now - byMs), `order at ${now}`)
    },
    finish(): void {
      while (model.scheduled().length > 0) this.advance(MOST_AHEAD)
      this.advance(MOST_AHEAD)
    },
  }
}

type Pair = ReturnType<typeof createPair>
type Command =
  | { do: 'schedule' | 'refreshLater' | 'shorten'; slot: number; ms: number }
  | { do: 'cancel'; slot: number }
  | { do: 'advance'; ms: number }

function run(pair: Pair, command: Command): void {
  if (command.do === 'cancel') pair.cancel(command.slot)
  else if (command.do === 'advance') pair.advance(command.ms)
  else pair[command.do](command.slot, command.ms)
}

const SLOTS = 12
const slot = fc.integer({ min: 1, max: SLOTS })
/** Every level of the wheel, and the edges of its digits. */
const ms = fc.oneof(
  fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 2 ** 17 }),
  fc.integer({ min: 0, max: 2 ** 25 }), fc.integer({ min: 0, max: MOST_AHEAD }),
  fc.constantFrom(255, 256, 257, 65_535, 65_536, 65_537, 2 ** 24 - 1, 2 ** 24, 2 ** 24 + 1, 2 ** 30, MOST_AHEAD),
)
const commands: fc.Arbitrary<Command[]> = fc.array(fc.oneof(
  fc.record({ do: fc.constantFrom('schedule', 'refreshLater', 'shorten'), slot, ms }),
  fc.record({ do: fc.constant('cancel'), slot }),
  fc.record({ do: fc.constant('advance'), ms }),
) as fc.Arbitrary<Command>, { maxLength: 60, size: 'max' })
const starts = fc.constantFrom(0, 1, 255, 0x7fff_ff00, 0x7fff_ffff, 0xffff_ff00, 0xffff_ffff, 2 ** 32 + 5, -50, -(2 ** 31))

test('wheel: what ends, and when, is what a sorted list says, to the millisecond and around every wrap', () => {
  fc.assert(fc.property(starts, commands, (startMs, list) => {
    const pair = createPair(SLOTS, startMs)
    for (const command of list) run(pair, command)
    pair.finish()
    assert.ok(pair.records.every((word, at) => at % (1 << STRIDE_BITS) !== PREV || word === 0))
  }), { numRuns: 4000 })
})

test('wheel: thousands of records over a long time, mostly refreshed', (t) => {
  const seed = Date.now() & 0x7fffffff
  t.diagnostic(`seed ${seed}`)
  const { below } = createPrng(seed)
  const many = 600
  const pair = createPair(many, 2 ** 31 - 2_000_000)
  for (let n = 0; n < 12_000; n++) {
    const which = 1 + below(many), what = below(16)
    if (what < 5) pair.schedule(which, below(60_000) * (what === 0 ? 5000 : 1))
    else if (what < 12) pair.refreshLater(which, below(60_000))
    else if (what < 13) pair.shorten(which, below(60_000))
    else if (what < 14) pair.cancel(which)
    else pair.advance(below(2000))
  }
  pair.finish()
})

test('wheel: every distance around each power of two ends at its millisecond, not one before, not one after', () => {
  for (const startMs of [0, 0x7fff_fff0, 0xffff_fff0]) {
    for (let bit = 0; bit < 31; bit++) {
      for (const distance of [2 ** bit - 1, 2 ** bit, 2 ** bit + 1].filter((d) => d > 0 && d <= MOST_AHEAD)) {
        const pair = createPair(1, startMs)
        pair.schedule(1, distance)
        pair.advance(distance - 1)
        pair.advance(1)
      }
    }
  }
})

test('wheel: a deadline that has moved later, by little or much, is met to the millisecond', () => {
  for (const startMs of [0, 0x7fff_fff0, 0xffff_fff0]) {
    for (const first of [1, 200, 256, 70_000]) {
      for (const later of [1, 2, 3, 255, 256, 257, 65_536, 2 ** 24 + 1]) {
        const pair = createPair(1, startMs)
        pair.schedule(1, first)
        pair.refreshLater(1, later)
        for (const step of [first - 1, 1, later - 1, 1]) pair.advance(step)
      }
    }
  }
})

test('wheel: a record that is put right again and again keeps its place in time', () => {
  const pair = createPair(2, 0xffff_0000)
  pair.schedule(1, 300_000)
  pair.schedule(2, MOST_AHEAD)
  for (let n = 0; n < 3000; n++) {
    pair.advance(100_000)
    pair.refreshLater(1, 100_000)
  }
  pair.advance(299_999)
  pair.finish()
})

test('wheel: the longest leap is taken at once, not millisecond by millisecond', () => {
  const pair = createPair(1, 0)
  // Were stretches walked, this would be 10^13 steps.
  for (let n = 0; n < 5000; n++) {
    pair.schedule(1, MOST_AHEAD)
    pair.advance(MOST_AHEAD)
  }
})
