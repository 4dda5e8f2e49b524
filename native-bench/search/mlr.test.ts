import test from 'node:test'
import assert from 'node:assert/strict'
import { createPrng } from '../../src/base/prng.ts'
import { classify, search, type Goal, type SearchOptions, type Trial } from './mlr.ts'

const NDR: Goal = { name: 'no loss', lossRatio: 0, trialSeconds: 1, totalSeconds: 5, exceedRatio: 0.5, width: 0.02 }
const PDR: Goal = { ...NDR, name: 'half a per cent', lossRatio: 0.005 }
const options = (more: Partial<SearchOptions> = {}): SearchOptions =>
  ({ least: 10_000, most: 2_000_000, goals: [NDR, PDR], shortSeconds: 0.1, mostTrials: 400, ...more })
const at = (lossRatio: number, seconds: number): Trial => ({ load: 1, seconds, lossRatio })

test('a load is decided when the time of its long trials leaves no doubt, whatever the short ones said for it', () => {
  assert.equal(classify([], NDR), 'undecided')
  assert.equal(classify([at(0, 0.1), at(0, 0.1)], NDR), 'undecided')
  assert.equal(classify([at(0, 1)], NDR), 'undecided')
  assert.equal(classify([at(0, 1), at(0, 1), at(0, 1)], NDR), 'lower')
  assert.equal(classify([at(0.1, 1), at(0, 1), at(0, 1), at(0, 1)], NDR), 'lower')
  assert.equal(classify([at(0.1, 1), at(0.1, 1), at(0.1, 1)], NDR), 'upper')
  assert.equal(classify([at(0.001, 1), at(0.001, 1), at(0.001, 1)], PDR), 'lower')
})

/** Loses what is beyond its rate, and at the end of a trial with some likelihood a burst, as a machine does that somebody else uses. */
function lossy(rate: number, hiccups: number, seed: number) {
  const { next } = createPrng(seed)
  return async (load: number, seconds: number) => {
    const isUnlucky = (next() >>> 0) / 2 ** 32 < hiccups
    return Math.max(0, 1 - rate / load) + (isUnlucky ? 0.01 / seconds : 0)
  }
}

test('the bounds hold what the device can do, as near as was asked for, and the goal that may lose lies above', async () => {
  for (const rate of [20_000, 123_456, 999_999]) {
    const { bounds: [none, half] } = await search(options(), lossy(rate, 0, 1))
    assert.ok(none!.lower! <= rate && rate <= none!.upper!, `${rate}: ${JSON.stringify(none)}`)
    assert.ok(none!.upper! - none!.lower! <= 0.02 * none!.upper!)
    assert.equal(none!.lowerLossRatio, 0)
    const most = rate / (1 - 0.005)
    assert.ok(half!.lower! <= most + 1 && most <= half!.upper! + 1, `${rate}: ${JSON.stringify(half)}`)
  }
})

test('a machine that loses a burst in every tenth trial is measured all the same', async () => {
  let right = 0
  for (let seed = 1; seed <= 50; seed++) {
    const { bounds: [none] } = await search(options({ goals: [NDR] }), lossy(300_000, 0.1, seed))
    if (none!.lower !== null && none!.upper !== null && none!.lower <= 300_000 && none!.upper >= 300_000 * 0.95) right++
  }
  assert.ok(right >= 45, `${right} of 50`)
})

test('most of the time goes where the bounds are: fewer than half of the trials are long', async () => {
  const { trials } = await search(options({ goals: [NDR] }), lossy(777_777, 0, 1))
  assert.ok(trials.filter(({ seconds }) => seconds >= 1).length < trials.length)
  assert.ok(trials.reduce((sum, { seconds }) => sum + seconds, 0) < 60, `${trials.length} trials`)
})

test('what loses always has no lower bound, what never loses no upper one, and a search that cannot decide ends', async () => {
  const always = (await search(options(), async () => 0.5)).bounds
  assert.deepEqual(always.map(({ lower, upper }) => [lower, upper]), [[null, 10_000], [null, 10_000]])
  const never = (await search(options(), async () => 0)).bounds
  assert.deepEqual(never.map(({ lower, upper }) => [lower, upper]), [[2_000_000, null], [2_000_000, null]])
  const { next } = createPrng(3)
  const { trials } = await search(options({ mostTrials: 50 }), async () => (next() & 1) * 0.5)
  assert.ok(trials.length <= 52)
})
