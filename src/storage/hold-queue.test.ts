import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { createHoldQueue } from './hold-queue.ts'

test('hold-queue: does what a list does, around the end of int32 time', () => {
  const seed = Date.now() & 0xffff, prng = createPrng(seed)
  for (const capacity of [1, 2, 17, 100]) {
    const queue = createHoldQueue(capacity, seed)
    let list: { key: number; owner: number; endMs: number }[] = [], nowMs = 0x7fffff00
    for (let n = 0; n < 20_000; n++) {
      nowMs = nowMs + prng.below(4) | 0
      const key = prng.below(2 * capacity), known = list.find((one) => one.key === key), what = `seed ${seed}, step ${n}`
      assert.equal(queue.ownerOf(key), known?.owner ?? 0, what)
      if (prng.below(3) === 0) {
        for (const due of list.filter(({ endMs }) => (endMs - nowMs | 0) <= 0)) assert.equal(queue.takeDue(nowMs), due.key, what)
        list = list.filter(({ endMs }) => (endMs - nowMs | 0) > 0)
        assert.equal(queue.takeDue(nowMs), -1, what)
      } else if (known !== undefined) {
        queue.remove(key)
        list = list.filter((one) => one !== known)
      } else {
        if (list.length === capacity) assert.equal(queue.takeOldest(), list.shift()!.key, what)
        const owner = 1 + prng.below(1000), endMs = nowMs + 50 | 0
        queue.add(key, owner, endMs)
        list.push({ key, owner, endMs })
      }
      assert.equal(queue.count(), list.length, what)
    }
    assert.equal(createHoldQueue(capacity, seed).takeOldest(), -1)
  }
})
