import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createDeadlines } from './deadlines.ts'

const SLOTS = 24
const slot = fc.integer({ min: 1, max: SLOTS })
const step = fc.oneof(
  // Few times, so that many slots share one; some beyond what int32 holds.
  fc.record({ do: fc.constant('set' as const), slot, atMs: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom(2 ** 31, 2 ** 45)) }),
  fc.record({ do: fc.constant('remove' as const), slot }),
  fc.record({ do: fc.constant('pop' as const) }),
)

test('deadlines: the first is the earliest, of equals the lowest slot, whatever was entered, moved and removed', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
    const deadlines = createDeadlines(SLOTS)
    const model = new Map<number, number>()
    const first = () => [...model].sort(([a, x], [b, y]) => x - y || a - b)[0]?.[0] ?? 0
    for (const one of steps) {
      if (one.do === 'set') {
        deadlines.set(one.slot, one.atMs)
        model.set(one.slot, one.atMs)
      } else {
        const gone = one.do === 'remove' ? one.slot : first()
        deadlines.remove(gone)
        model.delete(gone)
      }
      assert.equal(deadlines.first(), first())
      if (model.size > 0) assert.equal(deadlines.firstMs(), model.get(first()))
    }
  }))
})
