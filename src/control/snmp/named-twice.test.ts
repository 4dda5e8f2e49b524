import assert from 'node:assert/strict'
import test from 'node:test'
import { INCONSISTENT_VALUE, counter64, integer, objectId, octets, unsigned32, type Value } from './mib.ts'
import { createNames } from './named-twice.ts'

const bytes = (...values: number[]): Value => octets(Uint8Array.from(values))
const CASES: [a: Value, b: Value, isSame: boolean][] = [
  [integer(1), integer(1), true], [integer(1), integer(2), false], [integer(1), unsigned32(1), false],
  [bytes(1, 2), bytes(1, 2), true], [bytes(1, 2), bytes(1, 3), false], [bytes(), bytes(0), false],
  [objectId([1, 3]), objectId([1, 3]), true], [objectId([1, 3]), objectId([1, 3, 6]), false],
  [counter64(5n), counter64(5), true], [counter64(5n), counter64(6n), false],
]

test('an instance named twice is a contradiction unless the values are the same in type and octets (RFC 3416 4.2.5)', () => {
  for (const [first, second, isSame] of CASES) {
    const names = createNames()
    assert.equal(names.enter({ name: [1, 3, 6], value: first }), null)
    assert.equal(names.enter({ name: [1, 3], value: second }), null, 'another name')
    assert.equal(names.enter({ name: [1, 3, 6], value: second }), isSame ? 0 : INCONSISTENT_VALUE, `${first.tag} ${second.tag}`)
    assert.equal(names.enter({ name: [1, 3, 6], value: first }), 0, 'the first one counts')
  }
})
