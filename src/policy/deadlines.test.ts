import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPrng } from '../base/prng.ts'
import { createDeadlines } from './deadlines.ts'

/** Five levels of places. */
const SLOTS = 200
const slot = fc.integer({ min: 1, max: SLOTS })
// Few times, so that many slots share one; some beyond what int32 holds.
const atMs = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 1000 }), fc.constantFrom(2 ** 31, 2 ** 45))
const step = fc.oneof(
  fc.record({ do: fc.constant('set' as const), slot, atMs }),
  fc.record({ do: fc.constant('remove' as const), slot }),
  fc.record({ do: fc.constant('pop' as const) }),
)
// Without `size` most lists would have ten entries.
const entered = fc.array(atMs, { maxLength: SLOTS, size: 'max' }), steps = fc.array(step, { maxLength: 300, size: 'max' })

test('deadlines: the first is the earliest, of equals the lowest slot, whatever was entered, moved and removed', () => {
  fc.assert(fc.property(entered, steps, (times, list) => {
    const deadlines = createDeadlines(SLOTS), model = new Map<number, number>()
    const first = () => {
      let least = 0
      for (const [one, ms] of model) if (least === 0 || ms < model.get(least)! || (ms === model.get(least) && one < least)) least = one
      return least
    }
    const set = (one: number, ms: number) => {
      deadlines.set(one, ms)
      model.set(one, ms)
    }
    const remove = (one: number) => {
      deadlines.remove(one)
      model.delete(one)
    }
    const check = () => {
      assert.equal(deadlines.first(), first())
      if (model.size > 0) assert.equal(deadlines.firstMs(), model.get(first()))
    }
    times.forEach((ms, n) => { set(n + 1, ms) })
    for (const one of list) {
      if (one.do === 'set') set(one.slot, one.atMs)
      else remove(one.do === 'remove' ? one.slot : first())
      check()
    }
    // Whatever lies wrong in the middle comes to the first place in the end.
    while (model.size > 0) {
      remove(first())
      check()
    }
  }))
})

test('deadlines: as many as there is room for leave in order, with slots beyond 16 bits', () => {
  const many = 70_000, deadlines = createDeadlines(many), { below } = createPrng(1)
  const times = Float64Array.from({ length: many + 1 }, () => below(many >> 1))
  // All stand somewhere else at first.
  for (let one = 1; one <= many; one++) deadlines.set(one, times[many + 1 - one])
  for (let one = many; one >= 1; one--) deadlines.set(one, times[one])
  const left = Array.from({ length: many }, (_, n) => n + 1).sort((a, b) => times[a] - times[b] || a - b)
  for (const one of left) {
    assert.equal(deadlines.first(), one)
    assert.equal(deadlines.firstMs(), times[one])
    deadlines.remove(one)
  }
  assert.equal(deadlines.first(), 0)
})
