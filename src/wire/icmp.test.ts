import test from 'node:test'
import assert from 'node:assert/strict'
import * as icmp from './icmp.ts'
import { buildPacket, verify } from './build.ts'

const ends = { src: '192.0.2.1', dst: '192.0.2.2' }

test('accessors read the fields that were built (RFC 792)', () => {
  const bytes = buildPacket({ ...ends, proto: 'icmp', icmpType: icmp.ECHO_REPLY, icmpCode: 3, icmpId: 0xf123, icmpSeq: 9 })
  const v = new DataView(bytes.buffer)
  assert.equal(icmp.type(v, 20), 0)
  assert.equal(icmp.code(v, 20), 3)
  assert.equal(icmp.id(v, 20), 0xf123)
  assert.equal(v.getUint16(20 + icmp.SEQUENCE), 9)
  assert.equal(icmp.checksum(v, 20), bytes[22] << 8 | bytes[23])
  assert.deepEqual(verify(bytes), [])
})

test('ICMPv6 has them in the same places (RFC 4443 2.1)', () => {
  const six = { src: '2001:db8::1', dst: '2001:db8::2' }
  const bytes = buildPacket({ ...six, proto: 'icmp6', icmpType: icmp.V6_ECHO_REQUEST, icmpId: 7 })
  const v = new DataView(bytes.buffer)
  assert.equal(icmp.type(v, 40), 128)
  assert.equal(icmp.id(v, 40), 7)
  assert.deepEqual(verify(bytes), [])
})

test('setters write the field that the getter reads, and nothing else', () => {
  const bytes = new Uint8Array(12), v = new DataView(bytes.buffer)
  for (const [set, get] of [[icmp.setChecksum, icmp.checksum], [icmp.setId, icmp.id]] as const) {
    set(v, 2, 0xabcd)
    assert.equal(get(v, 2), 0xabcd)
    set(v, 2, 0)
    assert.deepEqual(bytes, new Uint8Array(12))
  }
})
