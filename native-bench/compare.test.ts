import test from 'node:test'
import assert from 'node:assert/strict'
import { changedParameters, compareResults, judge, LEAST_EFFECT, obstacles } from './compare.ts'
import { rowResult, SCHEMA, type BenchResult, type Sample } from './result.ts'
import { estimate } from './statistics.ts'

const sample = (value: number): Sample => ({
  value, p99: value * 2, mean: value, counts: { dropPackets: 0 }, packets: 10, bytesPerFlow: 90,
})
const row = (
  ts: number[], c: number[], name = 'forward/flows-1-64b', parameters: object = { flows: 1 }, error: string | null = null,
) => rowResult({ name, unit: 'ns/packet', parameters }, ts.map(sample), c.map(sample), error)
const result = (rows: BenchResult['rows'], more: Partial<BenchResult> = {}): BenchResult => ({
  schema: SCHEMA, when: '2024-01-01T00:00:00.000Z', commit: 'c0ffee', changed: false, node: 'v20.1.0', v8: '11',
  compiler: 'cc 12', machine: { cpu: 'one', cores: 2, memoryBytes: 2 ** 30, platform: 'linux-x64' }, flags: [], configDigest: 'd',
  rounds: 7, quick: false, rows, ...more,
})
const around = (middle: number) => [0.97, 0.98, 0.99, 1, 1.01, 1.02, 1.03].map(part => part * middle)

test('a ratio counts, not nanoseconds: twice as slow a machine is no regression', () => {
  const old = result([row(around(30), around(15))]), now = result([row(around(60), around(30))])
  assert.equal(compareResults(old, now)[0].verdict, 'within noise')
})

test('without a C peer nanoseconds count', () => {
  const [compared] = compareResults(result([row(around(30), [])]), result([row(around(60), [])]))
  assert.equal(compared.verdict, 'regressed')
  assert.equal(compared.by, 'value')
  assert.equal(compared.change, 1)
})

test('both directions, and the noise between them', () => {
  const at = (middle: number) => estimate(around(middle))
  assert.equal(judge(at(100), at(120)).verdict, 'regressed')
  assert.equal(judge(at(100), at(80)).verdict, 'improved')
  assert.equal(judge(at(100), at(104)).verdict, 'within noise')
  assert.equal(judge(at(100), at(100)).visible?.toFixed(2), '0.06')
})

test('a change below the least effect is none, however sure', () => {
  const sure = (middle: number) => estimate([middle, middle, middle, middle, middle, middle, middle])
  assert.equal(judge(sure(100), sure(102)).verdict, 'within noise')
  assert.equal(judge(sure(100), sure(102)).visible, LEAST_EFFECT)
  assert.equal(judge(sure(100), sure(103.1)).verdict, 'regressed')
})

test('a change as large as `visible` is seen, a smaller one is not', () => {
  const old = estimate(around(100)), { visible } = judge(old, old)
  const moved = (by: number) => estimate(around(100).map(value => value + 100 * by))
  assert.equal(judge(old, moved(visible! + 1e-6)).verdict, 'regressed')
  assert.equal(judge(old, moved(visible! - 1e-6)).verdict, 'within noise')
  assert.equal(judge(old, moved(-visible! - 1e-6)).verdict, 'improved')
})

test('rows that came, went or failed are named and decide nothing', () => {
  const old = result([row([1, 2], [], 'a'), row([1, 2], [], 'b'), row([1], [], 'd', {}, 'it crashed')])
  const now = result([row([1, 2], [], 'a'), row([9, 9], [], 'c'), row([1], [], 'd')])
  assert.deepEqual(compareResults(old, now).map(({ name, verdict }) => [name, verdict]),
    [['a', 'within noise'], ['c', 'new'], ['d', 'not comparable'], ['b', 'gone']])
})

test('a row with a C peer and one without are not compared', () => {
  const [compared] = compareResults(result([row([1, 2], [1, 2])]), result([row([5, 6], [])]))
  assert.equal(compared.verdict, 'not comparable')
})

test('what makes results incomparable is named', () => {
  const one = result([])
  assert.deepEqual(obstacles(one, result([])), [])
  assert.match(obstacles(one, result([], { node: 'v22.0.0' })).join(), /version of node was v20.1.0, now it is v22.0.0/)
  assert.match(obstacles(one, result([], { machine: { ...one.machine, cores: 4 } })).join(), /cores was 2, now it is 4/)
  assert.match(obstacles(one, result([], { rounds: 3 })).join(), /rounds was 7/)
  assert.match(obstacles({ ...one, schema: 'pinhole-bench/0' as typeof SCHEMA }, one).join(), /schema was/)
  const old = result([row([1], [], 'a', { flows: 1, packets: 5 })])
  const now = result([row([1], [], 'a', { flows: 1, packets: 6 })])
  assert.deepEqual(changedParameters(old, now), ['a: packets was 5, now it is 6'])
})

test('results of too few rounds are not compared: their intervals say too little', () => {
  const few = result([], { rounds: 5 })
  assert.match(obstacles(few, few).join(), /5 rounds are too few/)
  const enough = result([], { rounds: 6 })
  assert.deepEqual(obstacles(enough, enough), [])
})
