import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { sortFirst } from './sort.ts'

test('the first numbers of a list are sorted, the others stay', () => {
  fc.assert(fc.property(fc.int32Array({ maxLength: 200, size: 'max' }), fc.nat(200), (list, wanted) => {
    const count = Math.min(wanted, list.length)
    const expected = [...[...list.slice(0, count)].sort((a, b) => a - b), ...list.slice(count)]
    sortFirst(list, count)
    assert.deepEqual([...list], expected)
  }))
})
