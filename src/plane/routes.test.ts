import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maskWord } from '../base/address.ts'
import { createPrng } from '../base/prng.ts'
import { createRoutes, type Route } from './routes.ts'

/** Every route that holds the address, longest first: the first is the one. */
function slow(routes: readonly Route[], side: number, words: Int32Array): Route | undefined {
  const matching = routes.filter((route) => route.side === side && route.words.length === words.length
    && words.every((word, i) => (word & maskWord(route.prefixBits, i)) === (route.words[i] & maskWord(route.prefixBits, i))))
  return matching.reduce<Route | undefined>((best, route) => best === undefined || route.prefixBits > best.prefixBits ? route : best, undefined)
}

test('routes: the longest prefix of the side decides', () => {
  const seed = Date.now() & 0xffff, prng = createPrng(seed)
  const word = () => (prng.next() & 0x0f0f0003) | 0
  for (let round = 0; round < 200; round++) {
    const routes = Array.from({ length: 12 }, (_, n): Route => {
      const version = n % 2 === 0 ? 4 : 6, length = version === 4 ? 1 : 4
      const bits = [0, 8, 24, 30, 32, 64, 96, 127, 128].filter((one) => one <= 32 * length)
      return { side: prng.next() & 1, version, words: Int32Array.from({ length }, word), prefixBits: bits[(prng.next() >>> 0) % bits.length]!, via: (prng.next() & 1) === 0 ? null : Int32Array.from({ length }, word) }
    })
    const table = createRoutes(routes)
    for (let n = 0; n < 50; n++) {
      const side = n & 1, hop = new Int32Array(4), dst = Int32Array.from({ length: n % 4 < 2 ? 1 : 4 }, word)
      const expected = slow(routes, side, dst)
      hop.set(dst)
      const found = dst.length === 1 ? table.next4(side, dst[0]!, hop) : table.next6(side, hop)
      assert.equal(found, expected !== undefined, `seed ${seed}`)
      if (found) assert.deepEqual([...hop.subarray(0, dst.length)], [...expected!.via ?? dst], `seed ${seed}`)
      assert.equal(table.isOnLink(side, dst.length === 1 ? 4 : 6, dst), expected !== undefined && expected.via === null, `seed ${seed}`)
    }
  }
})

test('routes: link-local addresses are on either link, without a route (RFC 4291 2.5.6)', () => {
  const table = createRoutes([]), hop = Int32Array.of(0xfe800000 | 0, 0, 0, 1)
  assert.ok(table.next6(0, hop) && table.next6(1, hop))
  assert.deepEqual([...hop], [0xfe800000 | 0, 0, 0, 1])
  assert.equal(table.next4(0, 1, hop), false)
})
