import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import * as ipv4 from './ipv4.ts'
import { parse4, print4 } from '../base/address.ts'
import { buildPacket, verify } from './build.ts'

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const ends = { src: '192.168.1.2', dst: '198.51.100.7' }

test('accessors read the fields that were built (RFC 791 3.1)', () => {
  const bytes = buildPacket({
    ...ends, proto: 'udp', link: 'ethernet', id: 0xbeef, ttl: 7, tos: 0xb8, dontFragment: true, moreFragments: true,
    fragOffset: 1480, options: Uint8Array.of(1, 1, 1), payload: new Uint8Array(16),
  })
  const v = viewOf(bytes)
  assert.equal(ipv4.versionIhl(v, 14), 0x46)
  assert.equal(ipv4.headerBytes(v, 14), 24)
  assert.equal(ipv4.tos(v, 14), 0xb8)
  assert.equal(ipv4.totalLength(v, 14), 40)
  assert.equal(ipv4.id(v, 14), 0xbeef)
  assert.equal(ipv4.fragment(v, 14), ipv4.DONT_FRAGMENT | ipv4.MORE_FRAGMENTS | 185)
  assert.equal(ipv4.fragment(v, 14) & ipv4.OFFSET_MASK, 185)
  assert.equal(ipv4.ttl(v, 14), 7)
  assert.equal(ipv4.protocol(v, 14), 17)
  assert.equal(print4(ipv4.src(v, 14)), ends.src)
  assert.equal(print4(ipv4.dst(v, 14)), ends.dst)
})

test('setters write the field that the getter reads, and nothing else', () => {
  const setters = [
    [ipv4.setTotalLength, ipv4.totalLength, 0xabcd], [ipv4.setTtl, ipv4.ttl, 0xab], [ipv4.setChecksum, ipv4.checksum, 0xabcd],
    [ipv4.setSrc, ipv4.src, -2], [ipv4.setDst, ipv4.dst, -3],
  ] as const
  for (const [set, get, value] of setters) {
    const bytes = new Uint8Array(24), v = viewOf(bytes)
    set(v, 2, value)
    assert.equal(get(v, 2), value)
    set(v, 2, 0)
    assert.deepEqual(bytes, new Uint8Array(24))
  }
})

test('addresses are signed words in host order', () => {
  const v = viewOf(buildPacket({ ...ends, proto: 'udp' })), parsed = parse4(ends.dst)
  assert.ok(parsed.ok)
  assert.equal(ipv4.dst(v, 0), parsed.value)
})

test('headerSum is all ones for a right checksum without options (RFC 1071 1)', () => {
  fc.assert(fc.property(fc.integer(), fc.integer(), fc.nat(0xffff), fc.nat(255), (src, dst, id, ttl) => {
    const fragOffset = 8 * (id & 0xfff)
    const v = viewOf(buildPacket({ src: src | 0, dst: dst | 0, proto: 'udp', id, ttl, fragOffset, dontFragment: true }))
    assert.equal(ipv4.headerSum(v, 0), 0xffff)
    ipv4.setTtl(v, 0, ttl ^ 1)
    assert.notEqual(ipv4.headerSum(v, 0), 0xffff)
  }))
  assert.deepEqual(verify(buildPacket({ ...ends, proto: 'udp' })), [])
})

test('options are walked to their end (RFC 1122 3.2.1.8)', () => {
  const check = (...options: number[]) => {
    const bytes = new Uint8Array(20 + options.length)
    bytes.set(options, 20)
    return ipv4.checkOptions(viewOf(bytes), 0, bytes.length)
  }
  assert.equal(new Set([ipv4.OPTIONS_OK, ipv4.OPTIONS_BAD, ipv4.OPTIONS_SOURCE_ROUTE]).size, 3)
  assert.equal(check(), ipv4.OPTIONS_OK)
  assert.equal(check(1, 1, 7, 2), ipv4.OPTIONS_OK, 'an option of nothing but kind and length')
  assert.equal(check(1, 1, 1, 0), ipv4.OPTIONS_OK)
  assert.equal(check(148, 4, 0, 0), ipv4.OPTIONS_OK)
  assert.equal(check(0, 131, 0, 0), ipv4.OPTIONS_OK, 'nothing counts behind the end')
  assert.equal(check(131, 3, 4, 0), ipv4.OPTIONS_SOURCE_ROUTE)
  assert.equal(check(1, 137, 3, 4), ipv4.OPTIONS_SOURCE_ROUTE)
  assert.equal(check(7, 1, 0, 0), ipv4.OPTIONS_BAD)
  assert.equal(check(7, 0, 0, 0), ipv4.OPTIONS_BAD)
  assert.equal(check(7, 5, 0, 0), ipv4.OPTIONS_BAD)
  assert.equal(check(1, 1, 1, 7), ipv4.OPTIONS_BAD, 'a kind without its length')
  assert.equal(check(131, 3, 4, 7), ipv4.OPTIONS_BAD, 'malformed outweighs source route')
})

test('the walk over options never reads past the header', () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 20, maxLength: 60, size: 'max' }), bytes => {
    ipv4.checkOptions(viewOf(bytes), 0, bytes.length)
  }))
})
