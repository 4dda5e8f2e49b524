import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../../base/prng.ts'
import { parseFilters } from './filters.ts'
import { parseHeaders } from './headers.ts'
import { batchesOf, createMatcher, type Batch, type Matcher } from './matcher.ts'
import { measure, type MeasureOptions } from './measure.ts'

const headers = (many: number) => parseHeaders(Buffer.from(Array.from({ length: many }, (_, n) => `${n} 2 3 4 6\n`).join('')))

/** Time goes by with what is done, a batch or a rule. */
function fake(answer: (header: number, updates: number) => number, stepMs = 1) {
  let nowMs = 0, updates = 0, draws = 0
  const sizes = new Set<number>()
  const matcher: Matcher = {
    engine: 'linear',
    find({ count, sources }: Batch, answers: Int32Array) {
      nowMs += stepMs
      sizes.add(count)
      for (let i = 0; i < count; i++) answers[i] = answer(sources[i], updates)
    },
    expect(rules) {
      draws++
      assert.ok(rules.length > 1000 && rules.every((rule) => rule >= 0 && rule < 10))
    },
    replace() {
      assert.ok(draws > 0)
      nowMs += stepMs
      updates++
    },
    bytes: () => 0,
  }
  return { matcher, sizes, clockMs: () => nowMs, updates: () => updates, draws: () => draws }
}

const options = (clockMs: () => number, more: Partial<MeasureOptions>): MeasureOptions => ({
  batch: 256, rounds: 3, updatesPerSecond: 0, rules: 10, seed: 1, onProgress: null, clockMs, ...more,
})

test('measure: answers are those of each header, in batches and a rest', () => {
  const { matcher, sizes, clockMs } = fake((header) => header % 7)
  const { answers, lookupsPerSecond, updated } = measure(matcher, headers(1000), options(clockMs, {}))
  assert.deepEqual(answers, Int32Array.from({ length: 1000 }, (_, n) => n % 7 - 1))
  assert.deepEqual([...sizes].sort((a, b) => a - b), [232, 256])
  // Four batches of a millisecond each.
  assert.deepEqual(lookupsPerSecond, [250_000, 250_000, 250_000])
  assert.equal(updated, null)
})

test('measure: updates come at the rate that was asked for, and their time counts', () => {
  const { matcher, clockMs, updates, draws } = fake(() => 1)
  const { updated, lookupsPerSecond } = measure(matcher, headers(256 * 100), options(clockMs, { updatesPerSecond: 500 }))
  assert.ok(updates() > 0)
  // For the passes that warm up together, and for each round: a draw takes longer than a short pass.
  assert.equal(draws(), 4)
  for (const rate of updated!.updatesPerSecond) assert.ok(Math.abs(rate - 500) < 15, `${rate}`)
  // Half of the time goes into them.
  for (const [round, rate] of updated!.lookupsPerSecond.entries()) {
    assert.ok(Math.abs(rate / lookupsPerSecond[round] - 0.5) < 0.02, `${rate}`)
  }
})

test('measure: with more updates than the machine can do, lookups go on', () => {
  const { matcher, clockMs } = fake(() => 1)
  const { updated } = measure(matcher, headers(256 * 4), options(clockMs, { updatesPerSecond: 100_000 }))
  for (const rate of updated!.updatesPerSecond) assert.ok(rate > 900 && rate < 1000, `${rate}`)
})

test('measure: answers that updates have changed are a bug', () => {
  const { matcher, clockMs } = fake((_, updates) => updates > 3 ? 1 : 2)
  assert.throws(() => measure(matcher, headers(1000), options(clockMs, { updatesPerSecond: 100 })), /other answers than before/)
})

test('measure: progress never goes back or beyond its end', () => {
  // Of the fast one some passes are made to warm up.
  for (const stepMs of [1, 0.01]) {
    const { matcher, clockMs } = fake(() => 1, stepMs)
    let last = 0, ends = 0
    measure(matcher, headers(256 * 400), options(clockMs, {
      updatesPerSecond: 100,
      onProgress: (done, all) => {
        assert.ok(done >= last && done <= all, `${last}, ${done} of ${all}`)
        last = done
        ends = all
      },
    }))
    assert.ok(last > ends / 2)
  }
})

test('batches: one header at a time and the whole trace at once are looked up alike, by each engine', () => {
  const { next, below } = createPrng(4)
  const byte = () => below(3), rules = Array.from({ length: 200 }, () =>
    `@10.${byte()}.${byte()}.0/${16 + below(9)} 10.${byte()}.0.${byte()}/${below(33)} 0:65535 ${below(9)}:${9 + below(9)} 0x06/0x${below(2) === 0 ? 'FF' : '00'}`)
  const filters = parseFilters(Buffer.from(rules.join('\n')))
  assert.deepEqual(filters.faults, [])
  const lines = Array.from({ length: 3000 }, () =>
    `${0x0a000000 + (byte() << 16 | byte() << 8 | (next() & 3))} ${0x0a000000 + (byte() << 16 | byte())} 1 ${below(20)} ${5 + below(2)}`)
  const trace = parseHeaders(Buffer.from(lines.join('\n')))
  const answers = (['wasm', 'typescript', 'linear'] as const).flatMap((engine) => [1, 7, 256, 5000].map((size) => {
    const matcher = createMatcher(engine, filters, 1), all = new Int32Array(trace.count), found = new Int32Array(size)
    matcher.expect(Int32Array.from({ length: 40 }, () => below(filters.count)))
    for (let n = 0; n < 50; n++) matcher.replace(n % 40)
    batchesOf(trace, size).forEach((batch, n) => {
      matcher.find(batch, found)
      all.set(found.subarray(0, batch.count), n * size)
    })
    return all
  }))
  for (const other of answers) assert.deepEqual(other, answers[0])
  assert.ok(answers[0].some((answer) => answer === 0) && new Set(answers[0]).size > 20)
})
