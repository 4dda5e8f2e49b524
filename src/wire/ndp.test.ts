import assert from 'node:assert/strict'
import { test } from 'node:test'
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

test('ndp: the group of an address has its last three octets (RFC 4291 2.7.1)', () => {
  assert.deepEqual([...ndp.solicitedNode(target)], [0xff020000 | 0, 0, 1, 0xff0b0c0d | 0])
})
