import test from 'node:test'
import assert from 'node:assert/strict'
import * as udp from './udp.ts'
import { buildPacket } from './build.ts'

test('accessors read the fields that were built (RFC 768)', () => {
  const bytes = buildPacket({
    src: '192.0.2.1', dst: '192.0.2.2', proto: 'udp', srcPort: 0xf123, dstPort: 53, payload: new Uint8Array(5),
  })
  const v = new DataView(bytes.buffer)
  assert.equal(udp.srcPort(v, 20), 0xf123)
  assert.equal(udp.dstPort(v, 20), 53)
  assert.equal(udp.length(v, 20), 13)
  assert.equal(udp.checksum(v, 20), bytes[26] << 8 | bytes[27])
})

test('setters write the field that the getter reads, and nothing else', () => {
  const bytes = new Uint8Array(12), v = new DataView(bytes.buffer)
  const setters = [
    [udp.setSrcPort, udp.srcPort], [udp.setDstPort, udp.dstPort], [udp.setChecksum, udp.checksum],
  ] as const
  for (const [set, get] of setters) {
    set(v, 2, 0xabcd)
    assert.equal(get(v, 2), 0xabcd)
    set(v, 2, 0)
    assert.deepEqual(bytes, new Uint8Array(12))
  }
})
