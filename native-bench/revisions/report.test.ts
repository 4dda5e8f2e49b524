import test from 'node:test'
import assert from 'node:assert/strict'
import { actionBenchmark, COMPARISON_SCHEMA, comparisonReport, hasRegressed, markdown, type ComparedRow, type Comparison } from './report.ts'
import { judgePairs } from './verdict.ts'

const around = (middle: number) => [-3, -2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3].map(step => middle + step / 200)
const row = (name: string, middle: number, more: Partial<ComparedRow> = {}): ComparedRow => ({
  name, unit: 'ns/packet', parameters: { flows: 1 }, inputDigest: 'i', base: 60, head: 60 * middle, quotients: around(middle),
  judgement: judgePairs(around(middle), 0.03), instructions: null, difference: null, error: null, ...more,
})
const comparison = (rows: ComparedRow[]): Comparison => ({
  schema: COMPARISON_SCHEMA, when: '2024-01-01T00:00:00.000Z', base: { name: 'main', commit: 'c0ffee1234567890' },
  head: { name: '.', commit: 'deadbeef12345678+' },
  passport: { machine: { cpu: 'one', cores: 2, memoryBytes: 1, platform: 'p' }, node: 'v20', v8: '11', flags: [], harnessDigest: 'h' },
  effect: 0.03, rows, notes: ['main has other packages than this checkout: its own were installed'],
})
const failed = row('forward/c', 1, { base: null, head: null, quotients: [], judgement: null, error: 'it broke' })

test('the text says for each row what became of it, how much, and what could have been seen', () => {
  const text = comparisonReport(comparison([row('forward/a', 1.05), row('forward/b', 1), failed]))
  assert.match(text, /^main \(c0ffee1234\) against \. \(deadbeef12 and changes\), node v20, one$/m)
  assert.match(text, /^forward\/a +regressed +ns\/packet +60\.00 +63\.00 +\+5\.0 % \(\+3\.5 % … \+6\.5 %\) +2\.0 % +12 +-$/m)
  assert.match(text, /^forward\/b +no change/m)
  assert.match(text, /^forward\/c +failed/m)
  assert.match(text, /^forward\/c failed: it broke$/m)
  assert.match(text, /its own were installed$/m)
})

test('markdown is one table, and names regressions in its title', () => {
  const lines = markdown(comparison([row('forward/a|b', 1.05), row('forward/b', 1)])).split('\n')
  assert.equal(lines[0], '### Regressed: `forward/a|b`')
  const table = lines.filter(line => line.startsWith('|'))
  assert.equal(table.length, 4)
  assert.deepEqual([...new Set(table.map(line => line.replaceAll('\\|', '').split('|').length))], [11])
  assert.equal(markdown(comparison([row('x', 1)])).split('\n')[0], '### No regression')
})

test('more instructions are a regression too, though time has not shown it', () => {
  assert.equal(hasRegressed(row('x', 1)), false)
  assert.equal(hasRegressed(row('x', 1, { instructions: { base: 100, head: 103, change: 0.03 } })), true)
  assert.equal(hasRegressed(row('x', 1, { instructions: { base: 100, head: 101, change: 0.01 } })), false)
  assert.match(comparisonReport(comparison([row('x', 1, { instructions: { base: 400, head: 412, change: 0.03 } })])), /400 → 412 \(\+3\.0 %\)/)
})

test('github-action-benchmark gets name, unit, value, range and a word, and no row that failed', () => {
  assert.deepEqual(actionBenchmark(comparison([row('forward/a', 1.05), failed])), [{
    name: 'forward/a', unit: 'ns/packet', value: 63, range: '± 1.5 %', extra: 'regressed: +5.0 % against base, 12 pairs',
  }])
})
