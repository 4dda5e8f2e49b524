import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { apply, delta16, delta32, fold, invert, pseudo4, pseudo6, sumBytes } from './checksum.ts'
import { buildPacket } from './build.ts'

const word16 = fc.integer({ min: 0, max: 0xffff })
const word32 = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(0, -1, 0xffff, 0xffff0000 | 0))

/** The sum as RFC 1071 defines it, carries folded at every step. */
function slowSum(bytes: Uint8Array, start = 0): number {
  let sum = start
  for (let at = 0; at < bytes.length; at += 2) {
    sum += bytes[at] * 256 + (bytes[at + 1] ?? 0)
    if (sum > 0xffff) sum -= 0xffff
  }
  return sum
}
/** Zero has two forms in one's complement. */
const equal = (a: number, b: number) => a === b || a % 0xffff === 0 && b % 0xffff === 0
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

test('the worked example of RFC 1071 3', () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)
  assert.equal(sumBytes(viewOf(bytes), 0, 8, 0), 0xddf2)
})

test('sumBytes agrees with a sum that carries at every step, over any window', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300, size: 'max' }), fc.nat(20), fc.nat(20), word16, (bytes, before, after, start) => {
    const off = Math.min(before, bytes.length), end = Math.max(off, bytes.length - after)
    const sum = sumBytes(viewOf(bytes), off, end, start)
    assert.ok(equal(sum, slowSum(bytes.slice(off, end), start)))
    assert.ok(sum >= 0 && sum <= 0xffff)
  }))
})

test('the longest packet of all ones does not overflow the sum', () => {
  for (const length of [65535, 65534]) {
    const bytes = new Uint8Array(length).fill(255), v = viewOf(bytes)
    assert.ok(equal(sumBytes(v, 0, length, 0xffff), slowSum(bytes, 0xffff)))
    assert.ok(equal(sumBytes(v, 0, length, 4 * 0xffff), slowSum(bytes, 0xffff)))
  }
})

test('a checksum updated by a delta equals the checksum made anew (RFC 1624)', () => {
  const changes = fc.array(fc.tuple(fc.nat(9), word32), { maxLength: 4 })
  fc.assert(fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), changes, (bytes, list) => {
    const v = viewOf(bytes)
    bytes[39] |= 1   // a sum of nothing but zeros has a checksum of its own, see below
    const before = ~slowSum(bytes) & 0xffff
    let delta = 0
    for (const [at, becomes] of list) {
      const was = v.getInt32(4 * at)
      v.setInt32(4 * at, becomes)
      delta = fold(delta + delta32(was, becomes))
    }
    const after = apply(before, delta)
    assert.ok(equal(after, ~slowSum(bytes) & 0xffff))
    assert.ok(equal(apply(after, invert(delta)), before))
  }))
})

test('delta16 is delta32 of a word whose upper half stays', () => {
  fc.assert(fc.property(word16, word16, word16, (upper, was, becomes) => {
    const a = delta16(was, becomes), b = delta32(upper << 16 | was, upper << 16 | becomes)
    assert.ok(equal(fold(a), fold(b)))
  }))
})

test('RFC 1624 4: the example that equation 2 gets wrong', () => {
  assert.equal(apply(0xdd2f, delta16(0x5555, 0x3285)), 0x0000)
})

test('every result of apply is 16 bits wide, also at the edges', () => {
  for (const sum of [0, 1, 0x7fff, 0xfffe, 0xffff]) {
    for (const delta of [0, 1, 0xfffe, 0xffff]) {
      const after = apply(sum, delta)
      assert.ok(after >= 0 && after <= 0xffff)
      assert.ok(equal(fold((~after & 0xffff)), fold((~sum & 0xffff) + delta)))
    }
  }
})

test('the pseudo headers sum every byte of their fields', () => {
  fc.assert(fc.property(word32, word32, word16, (src, dst, bytes) => {
    const v = new DataView(new ArrayBuffer(12))
    v.setInt32(0, src)
    v.setInt32(4, dst)
    v.setUint16(8, 17)
    v.setUint16(10, bytes)
    assert.ok(equal(pseudo4(src, dst, 17, bytes), slowSum(new Uint8Array(v.buffer))))
  }))
  fc.assert(fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), fc.nat(0xfffff), (header, bytes) => {
    const drawn = new Uint8Array(40), v = viewOf(drawn)
    drawn.set(header.slice(8))
    v.setUint32(32, bytes)
    v.setUint32(36, 58)
    assert.ok(equal(pseudo6(viewOf(header), 0, 58, bytes), slowSum(drawn)))
  }))
})

test('the pseudo headers complete the checksums of real segments', () => {
  const payload = Uint8Array.from({ length: 31 }, (_, i) => 255 - i)
  const four = viewOf(buildPacket({ src: '203.0.113.255', dst: '255.1.2.3', proto: 'tcp', payload }))
  const head4 = pseudo4(four.getInt32(12), four.getInt32(16), 6, 51)
  assert.equal(sumBytes(four, 20, 71, head4), 0xffff)
  const six = viewOf(buildPacket({ src: '2001:db8::ffff', dst: 'fd00::ffff:ffff', proto: 'tcp', payload }))
  assert.equal(sumBytes(six, 40, 91, pseudo6(six, 0, 6, 51)), 0xffff)
})
