/** Slots, generations and the places of long addresses (docs/midcom.md, Identifiers and time). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createGroups } from './groups.ts'
import { bucketCount, createHostCounts } from './hosts.ts'
import { ENABLE, ID, LOCAL, META, PEER, RULE_BITS, createStore } from './store.ts'
import { tuple } from './testing.ts'

test('store: the generations of a slot come round after 2^(31 - bits), and identifiers stay positive', () => {
  const store = createStore(65_535)
  const ids = Array.from({ length: 2 ** 15 + 2 }, () => {
    const slot = store.take()
    const id = store.words[(slot << RULE_BITS) + ID]
    store.free(slot)
    return id
  })
  assert.equal(ids[1], 0x10000 + 1)
  assert.equal(Math.min(...ids), 1)
  assert.equal(Math.max(...ids), 0x7fff0001)
  assert.deepEqual(ids.slice(2 ** 15), [1, 0x10001])
})

test('groups: their generations come round alike', () => {
  const groups = createGroups(new Int32Array(32), 65_535)
  const ids = Array.from({ length: 2 ** 15 + 2 }, () => {
    groups.make(1)
    groups.leave(1)
    return groups.id(1)
  })
  assert.equal(Math.max(...ids), 0x7fff0001)
  assert.deepEqual(ids.slice(2 ** 15), [1, 0x10001])
  assert.equal(groups.count(), 0)
})

test('store: free slots are taken in order, then the one freed last first, until there is none', () => {
  const store = createStore(3)
  assert.deepEqual([store.take(), store.take(), store.take(), store.take()], [1, 2, 3, 0])
  assert.equal(store.isFull(), true)
  store.free(3)
  store.free(1)
  assert.equal(store.isFull(), false)
  assert.deepEqual([store.take(), store.take(), store.take()], [1, 3, 0])
})

test('store: an identifier finds its rule only while it lives', () => {
  const store = createStore(5)
  const slot = store.take()
  assert.equal(store.find(1), 0, 'not made yet')
  store.words[(slot << RULE_BITS) + META] = ENABLE
  assert.equal(store.find(1), 1)
  for (const id of [0, 2, 6, 7, 9, -7, 2 ** 31 + 1]) assert.equal(store.find(id), 0, String(id))
  store.free(slot)
  assert.equal(store.find(1), 0)
})

test('store: long addresses of many rules are kept apart, in places that are used again', () => {
  const store = createStore(300)
  const host = (n: number) => ({ ...tuple('fd00::1', n), word3: n })
  const fill = (count: number) => Array.from({ length: count }, () => {
    const slot = store.take()
    store.words[(slot << RULE_BITS) + META] = ENABLE
    store.setTuples(slot, host(slot), { ...host(slot), word0: 7 })
    return slot
  })
  const check = (slots: number[]) => {
    for (const slot of slots) {
      assert.deepEqual(store.local(slot), host(slot))
      assert.deepEqual(store.peer(slot), { ...host(slot), word0: 7 })
      assert.deepEqual([store.word(slot, LOCAL, 3), store.word(slot, PEER, 0)], [slot, 7])
    }
  }
  const first = fill(300)
  check(first)
  const bytes = store.bytes()
  for (const slot of first.filter((slot) => slot % 3 === 0)) store.free(slot)
  check(first.filter((slot) => slot % 3 !== 0))
  check(fill(100))
  assert.equal(store.bytes(), bytes)
})

test('host counts: an address is known while a port of it is bound', () => {
  const address = fc.integer({ min: 0, max: 12 })
  fc.assert(fc.property(fc.array(fc.record({ address, by: fc.constantFrom(1, 2, -1) }), { maxLength: 100, size: 'max' }), (steps) => {
    const hosts = createHostCounts(13, 5), model = new Map<number, number>()
    for (const { address, by } of steps) {
      const count = (model.get(address) ?? 0) + by
      if (count < 0) continue
      hosts.add(address, by)
      model.set(address, count)
      for (const [one, bound] of model) assert.equal(hosts.has(one), bound > 0)
    }
  }))
})

test('host counts: heads of chains are a power of two, for one or two entries each', () => {
  assert.deepEqual([1, 16, 1000, 1024, 100_000].map(bucketCount), [16, 16, 512, 1024, 65_536])
})
