import assert from 'node:assert/strict'
import test from 'node:test'
import { rowResult, type Sample } from '../result.ts'
import { allRows } from '../rows.ts'
import { judgeTargets } from '../targets.ts'
import { classifyRows, DPDK_NAME } from './rows.ts'
import { classifyText } from './table.ts'
import { CLASSIFY_TARGETS } from './targets.ts'

/** Nanoseconds a lookup of the three programs. */
function row(name: string, ts: number, c: number, dpdk: number | null, ofStatic = 1) {
  const blank = { p99: null, mean: null, counts: {}, packets: 1, bytesPerFlow: null }
  const own: Sample = { ...blank, value: ts, figures: { typescriptNs: 80, ofStatic, buildMs: 50, bytesPerRule: 90, rules: 1000 } }
  const peer: Sample = { ...blank, value: c, figures: { buildMs: 1, bytesPerRule: 40 } }
  if (dpdk !== null) peer.others = { [DPDK_NAME]: dpdk }
  return rowResult({ name, unit: 'ns/lookup', parameters: {} }, [own], [peer], null, 'DPDK')
}
const names = classifyRows(false).map(({ name }) => name)
const figures = (rows: ReturnType<typeof row>[]) => judgeTargets(rows).slice(-CLASSIFY_TARGETS.length).map(({ figure }) => figure)

test('targets over sets: geometric means, and the worst one', () => {
  const rows = names.map((name, n) => row(name, 50, n === 0 ? 50 : 100, n === 1 ? 25 : 200, n === 2 ? 0.9 : 1))
  const [large, worst, mean, updatedMean, updated] = figures(rows)
  assert.deepEqual([large, worst, updated], [4, 0.5, 90])
  assert.ok(Math.abs(updatedMean! - 100 * 0.9 ** (1 / names.length)) < 1e-9)
  assert.ok(Math.abs(mean! - 2 ** ((names.length - 1) / names.length)) < 1e-9)
  assert.deepEqual(judgeTargets(rows).slice(-CLASSIFY_TARGETS.length).map(({ passed }) => passed), [true, false, false, true, false])
})

test('targets over sets: none if a set is missing, has failed, or DPDK is not there', () => {
  const rows = names.map(name => row(name, 50, 100, 200))
  assert.deepEqual(figures(rows.slice(1)), [4, null, null, null, null])
  assert.deepEqual(figures([...rows.slice(1), { ...rows[0], error: 'differs' }]), [4, null, null, null, null])
  const without = figures(names.map(name => row(name, 50, 100, null)))
  assert.deepEqual(without.slice(0, 2), [null, null])
  assert.ok(Math.abs(without[2]! - 2) < 1e-9)
})

test('targets over sets name rows that exist', () => {
  const all = allRows(false).map(({ name }) => name)
  for (const { rows } of CLASSIFY_TARGETS) for (const name of rows) assert.ok(all.includes(name), name)
})

test('table: rates, times as fast, and why a row has no figures', () => {
  const empty = rowResult({ name: 'classify/fw1_1k', unit: 'ns/lookup', parameters: {} }, [], [], null, 'no sets')
  const text = classifyText([row('classify/acl1_1k', 50, 100, 25, 0.955), row('classify/ipc1_1k', 50, 100, null), empty]).join('\n')
  assert.match(text, /classify\/acl1_1k .* 20\.00 \(20\.00 - 20\.00\) +12\.50 +40\.00 .* 10\.00 .* 0\.50 .* 2\.00 .* 95\.5 % .* 50\.0 \/ - \/ 1\.0 +90 \/ - \/ 40/)
  assert.match(text, /classify\/ipc1_1k .*\) +12\.50 +- +10\.00 /)
  assert.match(text, /\nclassify\/fw1_1k: no sets$/)
})
