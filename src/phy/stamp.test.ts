import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { REST, SEC, splitExact, splitUnits, stamp$ } from './stamp.ts'

const word = fc.oneof(fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff), fc.integer({ min: 0, max: 0xffffffff }))

test('a stamp of any resolution is split exactly and truncated to nanoseconds', () => {
  fc.assert(fc.property(word, word, fc.integer({ min: 0, max: 255 }), (hi, lo, tsresol) => {
    splitExact(hi, lo, tsresol)
    const perSec = (tsresol >= 0x80 ? 2n : 10n) ** BigInt(tsresol & 0x7f)
    const units = BigInt(hi) * 2n ** 32n + BigInt(lo)
    assert.equal(stamp$[SEC], Number(units / perSec))
    assert.equal(stamp$[REST], Number(units % perSec * 1_000_000_000n / perSec))
  }), { numRuns: 2000 })
})

test('a stamp is split into seconds and units', () => {
  fc.assert(fc.property(word, word, fc.integer({ min: 1, max: 1_000_000_000 }), (hi, lo, perSec) => {
    splitUnits(hi, lo, perSec)
    const units = BigInt(hi) * 2n ** 32n + BigInt(lo)
    assert.equal(stamp$[SEC], Number(units / BigInt(perSec)))
    assert.equal(stamp$[REST], Number(units % BigInt(perSec)))
  }), { numRuns: 2000 })
})
