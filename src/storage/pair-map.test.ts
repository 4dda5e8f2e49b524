import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createPairMap } from './pair-map.ts'

test('a pair map holds what a Map with text keys holds, through growth and removal', () => {
  const step = fc.record({ a: fc.integer({ min: 0, max: 12 }), b: fc.integer({ min: -6, max: 6 }), remove: fc.boolean() })
  fc.assert(fc.property(fc.array(step, { maxLength: 400, size: 'max' }), fc.integer(), (steps, seed) => {
    const map = createPairMap(seed)
    const model = new Map<string, number>()
    let value = 0
    for (const { a, b, remove } of steps) {
      const key = `${a} ${b}`
      assert.equal(map.get(a, b), model.get(key) ?? 0)
      if (model.has(key) && remove) {
        map.remove(a, b)
        model.delete(key)
      } else if (!model.has(key)) {
        map.add(a, b, ++value)
        model.set(key, value)
      }
      assert.equal(map.count(), model.size)
    }
    for (let a = 0; a <= 12; a++) for (let b = -6; b <= 6; b++) assert.equal(map.get(a, b), model.get(`${a} ${b}`) ?? 0)
  }))
})
