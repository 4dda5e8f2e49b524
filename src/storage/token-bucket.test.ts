import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createTokenBucketModel } from './token-bucket.model.ts'
import { createTokenBucket } from './token-bucket.ts'

const perSecond = fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 1_000_000 }))
const gapMs = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 2 ** 31 }))
const starts = fc.constantFrom(0, 0x7fff_fff0, 0xffff_fff0)

test('token-bucket: gives what exact fractions give, also when time wraps', () => {
  fc.assert(fc.property(perSecond, starts, fc.array(gapMs, { maxLength: 200, size: 'max' }), (rate, start, gaps) => {
    const bucket = createTokenBucket(rate), model = createTokenBucketModel(rate)
    let now = start
    gaps.forEach((gap, n) => {
      now += gap
      assert.equal(bucket.take(now | 0), model.take(now), `request ${n} at ${now}`)
    })
  }), { numRuns: 2000 })
})

test('token-bucket: who always asks gets a burst of one second, then exactly the rate', () => {
  for (const rate of [1, 3, 7, 100, 999]) {
    const bucket = createTokenBucket(rate)
    let given = 0
    for (let n = 0; n < rate + 10; n++) if (bucket.take(-5000)) given++
    assert.equal(given, rate, 'burst')
    // Over the wrap of the sign and of zero; a token is there at the millisecond that completes it.
    for (let ms = 1; ms <= 10_000; ms++) {
      while (bucket.take(-5000 + ms)) given++
      assert.equal(given, rate + Math.floor(ms * rate / 1000), `${rate} a second, after ${ms} ms`)
    }
  }
})

test('token-bucket: a rate of 0 gives nothing', () => {
  const bucket = createTokenBucket(0)
  for (const now of [0, 1000, 2 ** 30]) assert.equal(bucket.take(now), false)
})
