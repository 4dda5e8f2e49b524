import test from 'node:test'
import assert from 'node:assert/strict'
import { createPrng } from '../../src/base/prng.ts'
import { judgePairs, LEAST_PAIRS, looks, type Verdict } from './verdict.ts'

const around = (middle: number, spread: number) =>
  [-3, -2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3].map(step => middle + step * spread)

test('twelve pairs that all say slower are a regression, and all faster an improvement', () => {
  assert.equal(judgePairs(around(1.05, 0.01), 0.03).verdict, 'regressed')
  assert.equal(judgePairs(around(0.95, 0.01), 0.03).verdict, 'improved')
})

test('a change below two per cent is none, however sure', () => {
  assert.equal(judgePairs(around(1.015, 0.0001), 0.03).verdict, 'no change')
})

test('one pair of twelve that says the contrary leaves it undecided, and so does a spread in which the effect could hide', () => {
  assert.equal(judgePairs([...around(1.05, 0.001).slice(1), 0.99], 0.03).verdict, 'undecided')
  assert.equal(judgePairs(around(1, 0.02), 0.03).verdict, 'undecided')
  assert.equal(judgePairs(around(1, 0.005), 0.03).verdict, 'no change')
})

test('visible is what the spread would hide', () => {
  assert.equal(judgePairs(around(1, 0.02), 0.03).visible.toFixed(3), '0.060')
  assert.equal(judgePairs(around(1, 0.0001), 0.03).visible, 0.02)
})

test('looks: at twelve pairs, each twelve more, and at the most', () => {
  assert.deepEqual(looks(36), [12, 24, 36])
  assert.deepEqual(looks(20), [12, 20])
  assert.deepEqual(looks(3), [12])
  assert.throws(() => judgePairs([1, 1, 1], 0.03), RangeError)
})

// Noise as between processes on a shared machine: most pairs near each other, some far off.
function verdicts(change: number, runs: number, seed: number): Record<Verdict, number> {
  const { next } = createPrng(seed)
  const uniform = () => (next() >>> 0) / 2 ** 32
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
  const counts: Record<Verdict, number> = { regressed: 0, improved: 0, 'no change': 0, undecided: 0 }
  for (let run = 0; run < runs; run++) {
    const quotients: number[] = []
    let verdict: Verdict = 'undecided'
    for (const most of looks(36)) {
      while (quotients.length < most) quotients.push((1 + change) * Math.exp(normal() * (uniform() < 0.1 ? 0.1 : 0.015)))
      verdict = judgePairs(quotients, 0.03).verdict
      if (verdict !== 'undecided') break
    }
    counts[verdict]++
  }
  return counts
}

test('of 2000 comparisons of the same under noise hardly one is called changed, and five per cent are hardly ever missed', () => {
  const same = verdicts(0, 2000, 1), slower = verdicts(0.05, 2000, 2)
  assert.ok(same.regressed + same.improved <= 20, JSON.stringify(same))
  assert.ok(slower.regressed >= 1950, JSON.stringify(slower))
  assert.equal(LEAST_PAIRS, 12)
})
