import test from 'node:test'
import assert from 'node:assert/strict'
import * as tcp from './tcp.ts'
import { buildPacket } from './build.ts'

test('accessors read the fields that were built (RFC 9293 3.1)', () => {
  const bytes = buildPacket({
    src: '192.0.2.1', dst: '192.0.2.2', proto: 'tcp', srcPort: 0xf123, dstPort: 443, seq: 0xfffffffe, ack: 0x12345678,
    tcpFlags: tcp.SYN | tcp.ACK_FLAG, window: 0x8001, tcpOptions: Uint8Array.of(2, 4, 5, 0xb4, 1), checksum: 'wrong',
  })
  const v = new DataView(bytes.buffer)
  assert.equal(tcp.srcPort(v, 20), 0xf123)
  assert.equal(tcp.dstPort(v, 20), 443)
  assert.equal(tcp.ports(v, 20), 0xf12301bb | 0)
  assert.equal(tcp.seq(v, 20), -2)
  assert.equal(tcp.ack(v, 20), 0x12345678)
  assert.equal(tcp.headerBytes(v, 20), 28)
  assert.equal(tcp.flags(v, 20), 0x12)
  assert.equal(tcp.window(v, 20), 0x8001)
  assert.equal(tcp.checksum(v, 20), bytes[36] << 8 | bytes[37])
})

test('setters write the field that the getter reads, and nothing else', () => {
  const bytes = new Uint8Array(24), v = new DataView(bytes.buffer)
  const setters = [
    [tcp.setSrcPort, tcp.srcPort], [tcp.setDstPort, tcp.dstPort], [tcp.setChecksum, tcp.checksum],
  ] as const
  for (const [set, get] of setters) {
    set(v, 2, 0xabcd)
    assert.equal(get(v, 2), 0xabcd)
    set(v, 2, 0)
    assert.deepEqual(bytes, new Uint8Array(24))
  }
})
