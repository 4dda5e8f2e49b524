import test from 'node:test'
import assert from 'node:assert/strict'
import { createPrng } from '../../base/prng.ts'
import { UsedTids } from './tids.ts'

const SEED = Number(process.env['PINHOLE_SEED'] ?? 4540)

test('an identifier is new once (RFC 4540 4.2.5): the same answers as a set, for counting and for jumping agents', () => {
  const prng = createPrng(SEED)
  for (let round = 0; round < 200; round++) {
    const used = new UsedTids(), set = new Set<number>(), span = [8, 60, 900][round % 3]!, base = [0, 1000, 0xffffffff - span][prng.below(3)]!
    let tid = base
    for (let n = 0; n < 400; n++) {
      tid = prng.below(3) === 0 ? base + prng.below(span) : Math.min(tid + 1, 0xffffffff)
      assert.equal(used.add(tid), !set.has(tid), `seed ${SEED}, round ${round}, tid ${tid}`)
      set.add(tid)
    }
    let runs = 0
    for (const one of set) if (!set.has(one - 1)) runs++
    assert.equal(used.size, runs, `seed ${SEED}, round ${round}`)
  }
})

test('an agent that counts takes one run, wherever it starts', () => {
  const used = new UsedTids()
  for (let tid = 0xfffff000; tid <= 0xffffffff; tid++) assert.ok(used.add(tid))
  assert.ok(used.add(0))
  assert.equal(used.size, 2)
  assert.ok(!used.add(0xfffff800))
})

test('identifiers at random are remembered up to 1,024 runs; the farthest from the newest is forgotten', () => {
  const used = new UsedTids()
  for (let n = 0; n < 5000; n++) assert.ok(used.add(2 * n))
  assert.equal(used.size, 1024)
  assert.ok(!used.add(2 * 4999))
  assert.ok(used.add(0), 'forgotten')
  for (let n = 5000; n > 0; n--) used.add(100_000 + 2 * n)
  assert.equal(used.size, 1024)
  assert.ok(!used.add(100_002))
})
