import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fold, pseudo6, sumBytes } from './checksum.ts'
import * as ndp from './ndp.ts'

const AT = 3, ICMP = AT + 40, END = AT + ndp.PACKET_BYTES
const src = Int32Array.of(0xfe800000 | 0, 0, 0x11223344, 0x55667788), dst = Int32Array.of(0x20010db8, 1, 2, 3)
const target = Int32Array.of(0x20010db8, 4, 5, 0x0a0b0c0d), mac = [2, 0x11, 0x22, 0x33, 0x44, 0x55]
const message = (type: number, flags = 0): DataView => {
  const v = new DataView(new ArrayBuffer(END + 4))
  assert.equal(ndp.emit({ type, src, dst, target, flags, mac }, v, AT), ndp.PACKET_BYTES)
  return v
}

test('ndp: a message emitted is sound, and says what it was given', () => {
  for (const type of [ndp.SOLICITATION, ndp.ADVERTISEMENT]) {
    const v = message(type, type === ndp.ADVERTISEMENT ? ndp.SOLICITED | ndp.OVERRIDE | ndp.ROUTER : 0)
    assert.ok(ndp.check(v, AT, ICMP, END))
    assert.deepEqual([0, 1, 2, 3].map((word) => ndp.targetWord(v, ICMP, word)), [...target])
    const at = ndp.addressAt(v, ICMP, END)
    assert.deepEqual(Array.from({ length: 6 }, (_, i) => v.getUint8(at + i)), mac)
    assert.equal(ndp.flags(v, ICMP), type === ndp.ADVERTISEMENT ? ndp.SOLICITED | ndp.OVERRIDE | ndp.ROUTER : 0)
  }
})

test('ndp: no bit of a message may be wrong, and none of it may be missing (RFC 4861 7.1)', () => {
  const v = message(ndp.SOLICITATION)
  for (let at = ICMP; at < END; at++) {
    for (let bit = 0; bit < 8; bit++) {
      v.setUint8(at, v.getUint8(at) ^ 1 << bit)
      assert.equal(ndp.check(v, AT, ICMP, END), false, `bit ${bit} of byte ${at - ICMP}`)
      v.setUint8(at, v.getUint8(at) ^ 1 << bit)
    }
  }
  for (let end = ICMP; end < END; end++) assert.equal(ndp.check(v, AT, ICMP, end), false)
  v.setUint8(AT + 7, 254)
  assert.equal(ndp.check(v, AT, ICMP, END), false, 'it came through a router')
})

/** A message without options, with a sum that is right whatever it says. */
const bare = (type: number, from: Int32Array, to: Int32Array, options: number[] = [], flags = 0): boolean => {
  const end = ICMP + ndp.MESSAGE_BYTES + options.length, v = new DataView(new ArrayBuffer(end))
  v.setUint16(AT + 4, end - ICMP)
  v.setUint16(AT + 6, 58 << 8 | 255)
  for (let i = 0; i < 4; i++) {
    v.setInt32(AT + 8 + 4 * i, from[i]!)
    v.setInt32(AT + 24 + 4 * i, to[i]!)
    v.setInt32(ICMP + 8 + 4 * i, target[i]!)
  }
  v.setUint8(ICMP, type)
  v.setInt32(ICMP + 4, flags)
  options.forEach((octet, i) => v.setUint8(ICMP + ndp.MESSAGE_BYTES + i, octet))
  v.setUint16(ICMP + 2, ~fold(sumBytes(v, ICMP, end, pseudo6(v, AT, 58, end - ICMP))) & 0xffff)
  return ndp.check(v, AT, ICMP, end)
}
const UNSPECIFIED = new Int32Array(4), ALL = Int32Array.of(0xff020000 | 0, 0, 0, 1), GROUP = ndp.solicitedNode(target)

test('ndp: a solicitation from nobody goes to a solicited-node group and tells no address (RFC 4861 7.1.1)', () => {
  const source = [1, 1, ...mac], unknown = [14, 1, 0, 0, 0, 0, 0, 0]
  assert.ok(bare(ndp.SOLICITATION, UNSPECIFIED, GROUP))
  assert.ok(bare(ndp.SOLICITATION, UNSPECIFIED, GROUP, unknown), 'RFC 7527 nonces come so')
  assert.ok(bare(ndp.SOLICITATION, UNSPECIFIED, ndp.solicitedNode(dst)), 'of another address')
  for (const to of [dst, ALL, target]) assert.ok(!bare(ndp.SOLICITATION, UNSPECIFIED, to), [...to].join())
  for (const word of [0, 1, 2]) {
    const near = GROUP.slice()
    near[word]! ^= 0x10000
    assert.ok(!bare(ndp.SOLICITATION, UNSPECIFIED, near), `word ${word}`)
  }
  assert.ok(!bare(ndp.SOLICITATION, UNSPECIFIED, GROUP, source))
  assert.ok(!bare(ndp.SOLICITATION, UNSPECIFIED, GROUP, [...unknown, ...source]))
  for (const to of [dst, ALL, GROUP]) assert.ok(bare(ndp.SOLICITATION, src, to, source), 'whoever has an address may ask anybody')
  assert.ok(bare(ndp.SOLICITATION, Int32Array.of(0, 0, 0, 1), dst), 'one bit is enough')
})

test('ndp: an advertisement to a group is solicited by nobody, and options of a solicitation do not matter there (RFC 4861 7.1.2)', () => {
  assert.ok(!bare(ndp.ADVERTISEMENT, src, ALL, [], ndp.SOLICITED | ndp.OVERRIDE))
  assert.ok(bare(ndp.ADVERTISEMENT, src, ALL, [], ndp.OVERRIDE))
  assert.ok(bare(ndp.ADVERTISEMENT, src, dst, [], ndp.SOLICITED))
  assert.ok(bare(ndp.ADVERTISEMENT, UNSPECIFIED, dst, [1, 1, ...mac]))
})

test('ndp: options of no length, or longer than the message, void it; others are passed over (RFC 4861 4.6)', () => {
  const filler = [253, 2, ...new Array<number>(14).fill(0)]
  for (const type of [ndp.SOLICITATION, ndp.ADVERTISEMENT]) {
    assert.ok(bare(type, src, dst, filler))
    for (const options of [[1, 0, 0, 0, 0, 0, 0, 0], [...filler, 2, 0], [1], [1, 2, ...mac], [...filler, 0]]) {
      assert.ok(!bare(type, src, dst, options), options.join())
    }
  }
})

test('ndp: the group of an address has its last three octets (RFC 4291 2.7.1)', () => {
  assert.deepEqual([...ndp.solicitedNode(target)], [0xff020000 | 0, 0, 1, 0xff0b0c0d | 0])
})
