import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPool } from './pool.ts'

const address = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const seed = address

/** docs/behaviour.md, Ports: mix. */
function mix(a: number, seed: number): number {
  const times = (x: number, y: number) => Number(BigInt.asUintN(32, BigInt(x >>> 0) * BigInt(y)))
  let h = times(a ^ seed, 0x9e3779b1)
  h = (h ^ h >>> 15) >>> 0
  h = times(h, 0x85ebca6b)
  return (h ^ h >>> 13) >>> 0
}

test('pool: knows the index of each of its addresses, and no other address', () => {
  fc.assert(fc.property(fc.uniqueArray(address, { minLength: 1, maxLength: 1024, size: 'max' }), fc.array(address), seed,
    (addresses, others, seed) => {
      const pool = createPool(addresses, seed)
      assert.equal(pool.size, addresses.length)
      addresses.forEach((one, index) => {
        assert.equal(pool.indexOf(one), index)
        assert.equal(pool.addressAt(index), one)
      })
      // Neighbours are the likeliest mistakes.
      for (const other of [...others, ...addresses.flatMap((one) => [one + 1 | 0, one - 1 | 0, one ^ 0x01000000])]) {
        assert.equal(pool.indexOf(other), addresses.indexOf(other))
      }
    }), { numRuns: 50 })
})

test('pool: the largest pool, of neighbouring addresses, is searched too', () => {
  const first = 0xc6336400 | 0
  const pool = createPool(Array.from({ length: 1024 }, (_, i) => first + i), 1)
  for (let i = -1024; i < 2048; i++) assert.equal(pool.indexOf(first + i), i >= 0 && i < 1024 ? i : -1)
})

test('pool: an empty one knows none', () => {
  const pool = createPool([], 1)
  for (const address of [0, 1, -1]) assert.equal(pool.indexOf(address), -1)
})

test('pool: a host is paired by mix(address) mod n, and always alike (RFC 4787 REQ-2)', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 1024 }), address, seed, (size, host, seed) => {
    const pool = createPool(Array.from({ length: size }, (_, i) => i), seed)
    assert.equal(pool.pairedIndex(host), mix(host, seed) % size)
  }))
})

test('pool: hosts are spread over the addresses', () => {
  const pool = createPool(Array.from({ length: 16 }, (_, i) => i), 7)
  const hosts = new Array<number>(16).fill(0)
  for (let host = 0; host < 16_000; host++) hosts[pool.pairedIndex(0x0a000000 + host)]++
  assert.ok(hosts.every((n) => n > 800 && n < 1200), hosts.join(' '))
})
