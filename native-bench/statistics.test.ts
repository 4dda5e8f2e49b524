import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { estimate, median, ratios } from './statistics.ts'

test('the median of seven samples lies between the least and the greatest with 98 %', () => {
  const { low, high, confidence, median: middle } = estimate([5, 1, 7, 2, 6, 3, 4])
  assert.deepEqual([low, middle, high], [1, 4, 7])
  assert.ok(Math.abs(confidence - (1 - 2 / 128)) < 1e-12)
})

test('more samples narrow the interval: of 15 the fourth from both ends, of 30 the tenth', () => {
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)
  assert.deepEqual([estimate(upTo(15)).low, estimate(upTo(15)).high], [4, 12])
  assert.deepEqual([estimate(upTo(30)).low, estimate(upTo(30)).high], [10, 21])
  assert.ok(estimate(upTo(30)).confidence >= 0.95)
})

test('few samples say how little they say', () => {
  assert.equal(estimate([3]).confidence, 0)
  assert.equal(estimate([3, 4]).confidence, 0.5)
  assert.ok(estimate([1, 2, 3, 4, 5]).confidence < 0.95)
  assert.throws(() => estimate([]), RangeError)
})

test('an interval holds its median and does not depend on the order', () => {
  const some = fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 60 })
  fc.assert(fc.property(some, samples => {
    const one = estimate(samples)
    assert.ok(one.low <= one.median && one.median <= one.high)
    assert.deepEqual(estimate([...samples].reverse()), one)
  }))
})

test('the interval holds the true median about as often as it says', () => {
  // A crooked distribution with median 1: e^(u-1/2) to the fourth power.
  let state = 12345
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  let held = 0
  for (let run = 0; run < 2000; run++) {
    const { low, high } = estimate(Array.from({ length: 9 }, () => Math.exp((next() - 0.5) * 4)))
    if (low <= 1 && 1 <= high) held++
  }
  assert.ok(held / 2000 > 0.94, `${held} of 2000`)
})

test('medians and ratios', () => {
  assert.equal(median([3, 1, 2, 10]), 2.5)
  assert.deepEqual(ratios([4, 9], [2, 3]), [2, 3])
})
