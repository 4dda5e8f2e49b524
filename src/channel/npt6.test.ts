import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse6, parsePrefix, print6 } from '../base/address.ts'
import { createPrng } from '../base/prng.ts'
import { createNpt6, NPT6_BAD_IID, NPT6_DONE, NPT6_NONE, NPT6_UNMAPPED, type Npt6Pair } from './npt6.ts'
import { npt6Model, type Mapped } from './npt6.model.ts'

function words(text: string): Int32Array {
  const parsed = parse6(text, new Int32Array(4), 0)
  assert.ok(parsed.ok, text)
  return parsed.value
}
function pair(inside: string, outside: string): Npt6Pair {
  const [a, b] = [inside, outside].map((text) => {
    const parsed = parsePrefix(text)
    assert.ok(parsed.ok, text)
    return { words: [parsed.value.words[0]!, parsed.value.words[1]!] as const, bits: parsed.value.prefixBits }
  })
  return { inside: a!.words, insideBits: a!.bits, outside: b!.words, outsideBits: b!.bits }
}
const NAMES = { [NPT6_NONE]: 'none', [NPT6_UNMAPPED]: 'unmapped', [NPT6_BAD_IID]: 'bad-iid' } as Record<number, string>

/** The address on the other side, or why there is none. */
function out(npt: ReturnType<typeof createNpt6>, text: string): string {
  const address = words(text), result = npt.outward(address, 0)
  return result === NPT6_DONE ? print6(address) : NAMES[result]!
}
function back(npt: ReturnType<typeof createNpt6>, text: string): string {
  const address = words(text), result = npt.inward(address, 0)
  return result === NPT6_DONE ? print6(address) : NAMES[result]!
}

// @req RFC6296 3.1b, 3.4
test('the example of RFC 6296 3.6: fd01:203:405:1::1234 is 2001:db8:1:d550::1234 outside, and back', () => {
  const npt = createNpt6([pair('fd01:203:405::/48', '2001:db8:1::/48')])
  assert.equal(out(npt, 'fd01:203:405:1::1234'), '2001:db8:1:d550::1234')
  assert.equal(back(npt, '2001:db8:1:d550::1234'), 'fd01:203:405:1::1234')
  assert.deepEqual([out(npt, 'fd01:203:406:1::1'), back(npt, '2001:db8:2::1')], ['none', 'none'])
})

// @req RFC6296 3.2a, 4.2
test('subnet 0xffff of a /48 has no counterpart, and every other one has its own (RFC 6296 3.2, 4.2, appendix B)', () => {
  const npt = createNpt6([pair('fd01:203:405::/48', '2001:db8:1::/48')])
  assert.equal(out(npt, 'fd01:203:405:ffff::1'), 'unmapped')
  assert.equal(back(npt, '2001:db8:1:ffff::1'), 'unmapped')
  const seen = new Set<number>(), sumOf = (a: Int32Array) => a.reduce((sum, word) => (sum + (word >>> 16) + (word & 0xffff)) % 0xffff, 0)
  const inner = words('fd01:203:405:1:2:3:4:5')
  for (let subnet = 0; subnet < 0xffff; subnet++) {
    inner[1] = (inner[1]! & ~0xffff) | subnet
    const address = inner.slice()
    assert.equal(npt.outward(address, 0), NPT6_DONE)
    seen.add(address[1]!)
    assert.equal(sumOf(address), sumOf(inner))
    assert.equal(npt.inward(address, 0), NPT6_DONE)
    assert.deepEqual(address, inner)
  }
  assert.equal(seen.size, 0xffff)
})

// @req RFC6296 3.5, 3.7a
test('a longer prefix has the adjustment in the first word of the identifier that is not 0xffff (RFC 6296 3.5, 3.7)', () => {
  const npt = createNpt6([pair('fd01:203:405:600::/56', '2001:db8:1:200::/56')])
  for (const iid of ['1:2:3:4', 'ffff:2:3:4', 'ffff:ffff:3:4', 'ffff:ffff:ffff:4']) {
    const outside = out(npt, `fd01:203:405:607:${iid}`)
    assert.match(outside, /^2001:db8:1:207:/)
    assert.equal(outside.split(':').filter((word, n) => n >= 4 && word === 'ffff').length, iid.split('ffff').length - 1)
    assert.equal(back(npt, outside), `fd01:203:405:607:${iid}`)
  }
  assert.equal(out(npt, 'fd01:203:405:607:ffff:ffff:ffff:ffff'), 'bad-iid')
  assert.equal(out(npt, 'fd01:203:405:607::'), 'bad-iid')
  assert.equal(back(npt, '2001:db8:1:207::'), 'bad-iid')
  assert.equal(out(npt, 'fd01:203:405:507::1'), 'none')
})

// @req RFC6296 3.1a
test('of two lengths the shorter prefix counts as if zeros followed; what only it has is not mapped (RFC 6296 3.1, 3.7)', () => {
  const npt = createNpt6([pair('fd01:203:405::/48', '2001:db8:1:200::/56')])
  assert.equal(back(npt, out(npt, 'fd01:203:405:7::1')), 'fd01:203:405:7::1')
  assert.match(out(npt, 'fd01:203:405:7::1'), /^2001:db8:1:207:/)
  assert.equal(out(npt, 'fd01:203:405:107::1'), 'unmapped')
  assert.equal(back(npt, '2001:db8:1:307::1'), 'none')
  const other = createNpt6([pair('fd01:203:405:200::/56', '2001:db8:1::/48')])
  assert.match(out(other, 'fd01:203:405:207::1'), /^2001:db8:1:7:/)
  assert.deepEqual([out(other, 'fd01:203:405:7::1'), back(other, '2001:db8:1:107::1')], ['none', 'none'])
})

// @req RFC6296 4.1
test('any unicast prefixes of up to 64 bits translate as the model says, both ways, checksum-neutral', (t) => {
  const seed = Date.now() & 0x7fffffff
  t.diagnostic(`seed ${seed}`)
  const { below, next } = createPrng(seed)
  const odd = () => [0, 0xffff, 0xfffe, 1, below(0x10000)][below(5)]!
  for (let round = 0; round < 3000; round++) {
    const lengths = [1, 8, 16, 31, 32, 33, 40, 47, 48, 49, 52, 56, 60, 63, 64]
    const prefix = (): [number, number] => below(4) === 0 ? [odd() << 16 | odd(), odd() << 16 | odd()] : [next(), next()]
    const cut = ([a, b]: [number, number], bits: number): [number, number] => {
      const all = (BigInt(a >>> 0) << 32n | BigInt(b >>> 0)) >> BigInt(64 - bits) << BigInt(64 - bits)
      return [Number(all >> 32n) | 0, Number(all & 0xffffffffn) | 0]
    }
    const insideBits = lengths[below(lengths.length)]!, outsideBits = below(3) === 0 ? lengths[below(lengths.length)]! : insideBits
    const [inside, outside] = [cut(prefix(), insideBits), cut(prefix(), outsideBits)]
    const pairs = [{ inside, insideBits, outside, outsideBits }], npt = createNpt6(pairs), model = npt6Model(pairs)
    for (let n = 0; n < 8; n++) {
      const [high, low] = below(2) === 0 ? inside : outside
      const address = Int32Array.of(high, low, odd() << 16 | odd(), odd() << 16 | odd())
      if (below(3) > 0) address[1]! |= below(0x10000) & (1 << below(17)) - 1
      const asWords = Array.from(address).flatMap((word) => [word >>> 16, word & 0xffff])
      for (const way of ['outward', 'inward'] as const) {
        const engine = address.slice(), result = npt[way](engine, 0), expected: Mapped = model[way](asWords)
        const where = `seed ${seed}: ${way} ${asWords.map((word) => word.toString(16)).join(':')} by ${JSON.stringify(pairs)}`
        if (expected.is !== 'done') {
          assert.equal(NAMES[result], expected.is, where)
          assert.deepEqual(engine, address, where)
          continue
        }
        assert.equal(result, NPT6_DONE, where)
        const words16 = Array.from(engine).flatMap((word) => [word >>> 16, word & 0xffff])
        assert.deepEqual(words16, expected.words, where)
        const sum = (list: readonly number[]) => list.reduce((total, word) => total + word, 0) % 0xffff
        assert.equal(sum(words16), sum(asWords), where)
        const back = npt[way === 'outward' ? 'inward' : 'outward'](engine, 0)
        // An identifier that becomes all zeros, of which 1:0:0:0 is one, has no way back: 3.7 has such an address dropped.
        if (Math.max(insideBits, outsideBits) > 48 && words16.slice(4).every((word) => word === 0)) {
          assert.equal(NAMES[back], 'bad-iid', where)
          continue
        }
        assert.equal(back, NPT6_DONE, where)
        assert.deepEqual(engine, address, where)
      }
    }
  }
})

test('of several pairs each prefix has its own counterpart', () => {
  const npt = createNpt6([pair('fd01:203:405::/48', '2001:db8:1::/48'), pair('fd01:203:406::/48', '2001:db8:2::/48')])
  assert.match(out(npt, 'fd01:203:406:1::1'), /^2001:db8:2:/)
  assert.match(back(npt, '2001:db8:1:1::1'), /^fd01:203:405:/)
  assert.ok(npt.isInside(words('fd01:203:406::1'), 0) && !npt.isInside(words('fd01:203:407::1'), 0))
  const [a, b] = words('2001:db8:2::1')
  assert.ok(npt.isOutside(a!, b!) && !npt.isOutside(0, 0))
})
