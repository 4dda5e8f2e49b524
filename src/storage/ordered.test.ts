import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { createOrdered } from './ordered.ts'

interface Entry { key: number }
const order = (a: Entry, b: Entry) => a.key - b.key
const at = (key: number) => (entry: Entry) => entry.key - key

test('ordered: an array that is sorted after each step holds the same, whatever is entered, removed and looked for', () => {
  const steps = fc.array(fc.record({ what: fc.constantFrom('add', 'add', 'add', 'remove', 'look'), key: fc.nat(3000) }), { minLength: 1500, maxLength: 3000, size: 'max' })
  fc.assert(fc.property(steps, (list) => {
    const ordered = createOrdered(order)
    let model: Entry[] = []
    for (const { what, key } of list) {
      const there = model.find((entry) => entry.key === key)
      if (what === 'add' && there === undefined) {
        const entry = { key }
        ordered.add(entry)
        model.push(entry)
        model.sort(order)
      } else if (what === 'remove' && there !== undefined) {
        ordered.remove(there)
        model = model.filter((entry) => entry !== there)
      }
      assert.equal(ordered.size, model.length)
      assert.equal(ordered.find(at(key)), model.find((entry) => entry.key === key))
      assert.equal(ordered.from(at(key)), model.find((entry) => entry.key >= key))
      assert.equal(ordered.first(), model[0])
      if (there !== undefined && what === 'look') assert.equal(ordered.after(there), model[model.indexOf(there) + 1])
    }
    assert.deepEqual([...ordered], model)
  }), { numRuns: 20, includeErrorInReport: true })
})

test('ordered: what is not there is not removed, and nothing is lost when all goes', () => {
  const ordered = createOrdered(order)
  const entries = Array.from({ length: 5000 }, (_, key) => ({ key }))
  for (const entry of entries) ordered.add(entry)
  ordered.remove({ key: 7 })
  assert.equal(ordered.size, 5000)
  for (const entry of entries.toReversed()) ordered.remove(entry)
  assert.equal(ordered.size, 0)
  assert.equal(ordered.first(), undefined)
  assert.equal(ordered.from(() => 0), undefined)
})
