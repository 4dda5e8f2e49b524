import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { createRangeTries } from './range-trie.ts'

interface Entry { low: number; high: number; priority: number; item: number }

/** All items that a search shows when none of them is of use, and those it shows when each is. */
function search(tries: ReturnType<typeof createRangeTries>, root: number, port: number) {
  const all: number[] = [], tops: number[] = []
  tries.start(root, port)
  for (let item = tries.next(0x7fffffff); item !== 0; item = tries.next(0x7fffffff)) {
    all.push(item)
    tries.descend()
  }
  tries.start(root, port)
  for (let item = tries.next(0x7fffffff); item !== 0; item = tries.next(0x7fffffff)) tops.push(item)
  return { all: all.sort((a, b) => a - b), tops }
}

test('range-trie: shows the items around a number and no others, the first of them at once, whatever comes and goes', (t) => {
  const seed = Date.now() & 0x7fffffff
  t.diagnostic(`seed ${seed}`)
  const { below } = createPrng(seed)
  const tries = createRangeTries()
  const root = tries.create(), other = tries.create()
  tries.insert(other, 0, 0xffff, 0, 1)
  let entries: Entry[] = []
  const edge = () => [below(0x10000), below(64), 0xffff - below(64), below(16) << 12, (below(16) << 12) - 1 & 0xffff][below(5)]
  for (let n = 0; n < 4000; n++) {
    if (below(5) < 3) {
      const [low, high] = [edge(), edge()].sort((a, b) => a - b)
      let item = 1 + below(5000)
      while (entries.some((entry) => entry.item === item)) item++
      const entry = { low, high, priority: below(50), item }
      entries.push(entry)
      tries.insert(root, low, high, entry.priority, item)
    } else if (entries.length > 0) {
      const [gone] = entries.splice(below(entries.length), 1)
      tries.remove(root, gone.low, gone.high, gone.item)
    }
    // At times it runs empty.
    if (n % 1000 === 999) {
      for (const gone of entries) tries.remove(root, gone.low, gone.high, gone.item)
      entries = []
      assert.ok(tries.isEmpty(root))
    }
    if (n % 4 !== 0) continue
    for (const port of [edge(), edge(), ...entries.slice(0, 2).flatMap(({ low, high }) => [low, high])]) {
      const around = entries.filter(({ low, high }) => low <= port && port <= high)
      const { all, tops } = search(tries, root, port)
      assert.deepEqual(all, around.map(({ item }) => item).sort((a, b) => a - b), `port ${port}`)
      around.sort((a, b) => a.priority - b.priority || a.item - b.item)
      if (around.length > 0) assert.ok(tops.includes(around[0].item), `port ${port}: the first is not on top`)
    }
  }
  assert.deepEqual(search(tries, other, 77).all, [1])
})

test('range-trie: a limit leaves out what comes later, and not what comes with it', () => {
  const tries = createRangeTries(), root = tries.create()
  tries.insert(root, 10, 20, 5, 1)
  tries.insert(root, 10, 20, 6, 2)
  tries.start(root, 15)
  assert.equal(tries.next(4), 0)
  tries.start(root, 15)
  assert.equal(tries.next(5), 1)
  tries.descend()
  assert.equal(tries.next(5), 0)
})

test('range-trie: what is given back is used again', () => {
  const tries = createRangeTries(), root = tries.create()
  const { below } = createPrng(1)
  let most = 0
  for (let round = 0; round < 20; round++) {
    const lows = Array.from({ length: 300 }, () => below(0x8000))
    lows.forEach((low, n) => tries.insert(root, low, low + 0x7000, n, n + 1))
    if (round === 4) most = tries.bytes()
    lows.forEach((low, n) => tries.remove(root, low, low + 0x7000, n + 1))
    assert.ok(tries.isEmpty(root))
  }
  assert.ok(tries.bytes() <= most * 1.2, `${tries.bytes()} bytes, after five rounds ${most}`)
})
