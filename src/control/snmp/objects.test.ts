import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../../base/prng.ts'
import { integer, NO_SUCH_INSTANCE, NO_SUCH_OBJECT, type Request } from './mib.ts'
import { createObjects, inOrder, nameIndex, scalar, table } from './objects.ts'
import { compareOids, type Oid } from './oid.ts'
import { Registry } from './registry.ts'
import { createTestMib } from './testing.ts'
import { NO_MASK, View } from './vacm.ts'

const REQUEST: Request = { securityName: 'u', securityLevel: 3, contextName: '', agent: null, canRead: () => true, canWrite: () => true }
const ROOT: Oid = [1, 3, 9]
const rows = inOrder([[2, 1], [1], [1, 5], [3]].map((index, row) => ({ index, row })))
const module = createObjects(ROOT, { oid: ROOT, description: '' }, [
  scalar([...ROOT, 1], () => integer(-1)), scalar([...ROOT, 7], () => integer(-7)),
  // Column 4 has no instance in row 0.
  table<number>([...ROOT, 3, 1], { 2: (row) => integer(row), 4: (row) => row === 0 ? null : integer(row) }, () => rows),
  table<number>([...ROOT, 5, 1], { 1: integer }, () => []),
])
const ALL: readonly Oid[] = [
  [...ROOT, 1, 0], ...[2, 4].flatMap((id) => [[1], [1, 5], [2, 1], [3]].map((index) => [...ROOT, 3, 1, id, ...index])), [...ROOT, 7, 0],
].filter((name) => compareOids(name, [...ROOT, 3, 1, 4, 2, 1]) !== 0)

test('objects: a walk meets every instance once, in order, from wherever it begins', () => {
  const walk: Oid[] = []
  for (let at = module.next(REQUEST, [1], false); at !== null; at = module.next(REQUEST, at.name, false)) {
    walk.push(at.name)
    assert.deepEqual(module.get(REQUEST, at.name), at.value)
    assert.deepEqual(module.next(REQUEST, at.name, true)?.name, at.name)
  }
  assert.deepEqual(walk, ALL)
  const prng = createPrng(1)
  for (let i = 0; i < 5000; i++) {
    const from = [...prng.below(2) ? ROOT : [1, 3, 8 + prng.below(3)], ...Array.from({ length: prng.below(6) }, () => prng.below(9))]
    assert.deepEqual(module.next(REQUEST, from, false)?.name, ALL.find((name) => compareOids(name, from) > 0), from.join('.'))
    assert.deepEqual(module.next(REQUEST, from, true)?.name, ALL.find((name) => compareOids(name, from) >= 0), from.join('.'))
  }
})

test('objects: an unknown object is told from an unknown instance (RFC 3416 4.2.1)', () => {
  const get = (...rest: number[]) => module.get(REQUEST, [...ROOT, ...rest])
  assert.deepEqual([get(1), get(1, 1), get(3, 1, 2, 9), get(3, 1, 4, 2, 1)], [NO_SUCH_INSTANCE, NO_SUCH_INSTANCE, NO_SUCH_INSTANCE, NO_SUCH_INSTANCE])
  assert.deepEqual([get(2), get(3, 1, 3, 1), get(3), get()], [NO_SUCH_OBJECT, NO_SUCH_OBJECT, NO_SUCH_OBJECT, NO_SUCH_OBJECT])
})

test('objects: names as indices have a length in front unless they are IMPLIED (RFC 2578 7.7)', () => {
  assert.deepEqual(nameIndex('fA', false), [2, 102, 65])
  assert.deepEqual(nameIndex('fA', true), [102, 65])
})

test('registry: names go to the module whose root they lie below, walks go on from one to the next', () => {
  const first = createTestMib(2, [1, 3, 5]), last = createTestMib(2, [1, 3, 11])
  const registry = new Registry([last, module, first])
  assert.deepEqual([[1, 3, 5], [1, 3, 5, 1], [1, 3, 9, 1, 0], [1, 3, 11, 4], [1, 3, 10], [1, 3], [2]].map((name) => registry.find(name)), [0, 0, 1, 2, -1, -1, -1])
  const all = new View('all', [{ subtree: [1], mask: NO_MASK, included: true }])
  const walk: Oid[] = []
  for (let at = registry.next(REQUEST, [1, 3], all); at !== null; at = registry.next(REQUEST, at.name, all)) walk.push(at.name)
  assert.equal(walk.length, ALL.length + 4)
  assert.deepEqual(walk, [...walk].sort(compareOids))
  assert.throws(() => new Registry([module, createTestMib(1, [...ROOT, 3])]), /1\.3\.9\.3 lies below 1\.3\.9/)
})

test('registry: a walk passes by what its view does not hold in as many steps as there are gaps', () => {
  const mib = createTestMib(10_000), registry = new Registry([mib])
  let calls = 0
  const counted = { ...mib, next: (...args: Parameters<typeof mib.next>) => (calls++, mib.next(...args)) }
  const view = new View('v', [{ subtree: [...mib.root, 1, 1, 9000], mask: NO_MASK, included: true }, { subtree: [1, 3, 7], mask: NO_MASK, included: true }])
  assert.deepEqual(new Registry([counted]).next(REQUEST, [1, 3], view)?.name, [...mib.root, 1, 1, 9000])
  assert.ok(calls <= 3, `${calls} calls`)
  assert.equal(registry.next(REQUEST, [...mib.root, 1, 1, 9000], view), null)
})
