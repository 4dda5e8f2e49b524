import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import * as arp from './arp.ts'

const mac = fc.array(fc.nat(255), { minLength: 6, maxLength: 6 }), int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const packets = fc.record(
  { operation: fc.nat(65535), senderMac: mac, senderAddr: int32, targetMac: mac, targetAddr: int32 }, { noNullPrototype: true })

test('a packet emitted is the packet parsed', () => {
  fc.assert(fc.property(packets, repr => {
    const v = new DataView(new ArrayBuffer(30))
    assert.equal(arp.emit(repr, v, 2), arp.PACKET_BYTES)
    assert.equal(arp.check(v, 2, 30), 28)
    assert.equal(arp.check(v, 2, 29), 0)
    assert.deepEqual(arp.parse(v, 2), repr)
  }))
})

test('other hardware than Ethernet has a length but no value', () => {
  const v = new DataView(new ArrayBuffer(60))
  arp.emit({ operation: 1, senderMac: [0, 0, 0, 0, 0, 0], senderAddr: 1, targetMac: [0, 0, 0, 0, 0, 0], targetAddr: 2 }, v, 0)
  v.setUint8(4, 16)
  assert.equal(arp.check(v, 0, 60), 48)
  assert.equal(arp.parse(v, 0), null)
  assert.equal(arp.check(v, 0, 40), 0)
})

test('requests and replies print as tcpdump has them', () => {
  const repr = { operation: 1, senderMac: [2, 0, 0, 0, 0, 1], senderAddr: 0x0a000001, targetMac: [0, 0, 0, 0, 0, 0], targetAddr: 0x0a000002 }
  assert.equal(arp.print(repr), 'Request who-has 10.0.0.2 tell 10.0.0.1')
  assert.equal(arp.print({ ...repr, operation: 2 }), 'Reply 10.0.0.1 is-at 02:00:00:00:00:01')
  assert.equal(arp.print({ ...repr, operation: 9 }), 'operation 9')
})
