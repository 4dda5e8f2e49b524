import assert from 'node:assert/strict'
import test from 'node:test'
import { counted, grouped, inColumns, seconds } from './figures.ts'

test('figures: one thing is one thing, none and many are many', () => {
  assert.deepEqual([0, 1, 2, 1000].map((n) => counted(n, 'packet')), ['0 packets', '1 packet', '2 packets', '1,000 packets'])
  assert.deepEqual([1, 2].map((n) => counted(n, 'IP address', 'IP addresses')), ['1 IP address', '2 IP addresses'])
})

test('figures: thousands are set apart, in seconds too, and not behind the point', () => {
  assert.deepEqual([7, 1234, 1234567].map(grouped), ['7', '1,234', '1,234,567'])
  assert.deepEqual([0, 1, 999.6, 46_376_186_390].map(seconds), ['0.000 s', '0.001 s', '1.000 s', '46,376,186.390 s'])
})

test('figures: what a line is about stands in a column of its own', () => {
  assert.equal(inColumns([['in', 'a'], ['', 'b']]), `in${' '.repeat(11)}a\n${' '.repeat(13)}b`)
})
