import test from 'node:test'
import assert from 'node:assert/strict'
import { rowResult, type Sample } from './result.ts'
import { allRows } from './rows.ts'
import { judgeTargets, TARGETS } from './targets.ts'

const sample = (value: number): Sample => ({ value, p99: null, mean: null, counts: {}, packets: 1, bytesPerFlow: 95 })

test('every target is the figure of a row that exists', () => {
  const names = allRows(false).map(({ name }) => name)
  for (const { row } of TARGETS) assert.ok(names.includes(row), row)
})

test('a target holds up to its limit; without a figure, or with a failed row, it does not', () => {
  const row = (ts: number, error: string | null = null) => rowResult(
    { name: 'forward/flows-16k-64b', unit: 'ns/packet', parameters: {} }, [sample(ts)], [sample(10)], error)
  const passed = (ts: number, error: string | null = null) => judgeTargets([row(ts, error)])[0]
  assert.deepEqual([passed(22).passed, passed(22.1).passed, passed(10, 'differs').passed], [true, false, false])
  assert.equal(passed(22).figure, 2.2)
  assert.equal(judgeTargets([])[0].passed, false)
})

test('a rate is at least its limit, in units of what the peer does in the same time', () => {
  const row = (tsUs: number) => rowResult(
    { name: 'midcom/per-c50-p1', unit: 'us/rule', parameters: {} }, [sample(tsUs)], [sample(10)], null)
  const judged = (tsUs: number) => judgeTargets([row(tsUs)]).find(({ least }) => least)!
  assert.deepEqual([judged(33).passed, judged(34).passed], [true, false])
  assert.equal(judged(20).figure, 0.5)
})
