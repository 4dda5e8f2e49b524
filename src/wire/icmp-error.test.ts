import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, icmpError, verify, type PacketSpec } from './build.ts'
import { createFrames } from './frames.ts'
import { MOST_BYTES, isError4, isError6, write4, write6 } from './icmp-error.ts'

const P = 3, TO = 4096
const frames = createFrames({ capacity: 1, poolBytes: 8192 })
const written = (packet: Uint8Array, write: () => number) => {
  frames.pool.fill(0xa5)
  frames.pool.set(packet, P)
  const bytes = write()
  assert.deepEqual(frames.pool.subarray(P, P + packet.length), packet, 'the packet stays as it is')
  assert.equal(frames.pool[TO + bytes], 0xa5, 'nothing is written behind it')
  const error = frames.pool.slice(TO, TO + bytes)
  assert.deepEqual(verify(error), [])
  return error
}

test('icmp-error: an error is sound and quotes all of the packet that fits (RFC 1812 4.3.2.3, RFC 4443 2.4 (c))', () => {
  for (const size of [0, 7, 520, 521, 1187, 1188, 1189, 1400]) {
    const ends: PacketSpec = { proto: 'udp', src: '10.0.0.5', dst: '192.0.2.1', srcPort: 1, dstPort: 2, payload: new Uint8Array(size).fill(size) }
    const four = buildPacket(ends), six = buildPacket({ ...ends, src: '2001:db8::5', dst: '2001:db8::9' })
    const quoted4 = four.subarray(0, 548), quoted6 = six.subarray(0, 1232)
    const error4 = written(four, () => write4(frames, P, four.length, 0x0a000001, 0xb8, 3, 4, 1400, TO))
    assert.deepEqual(error4.subarray(28), quoted4)
    assert.deepEqual([...error4.subarray(0, 2), error4[8], ...error4.subarray(12, 22)], [0x45, 0xb8, 64, 10, 0, 0, 1, 10, 0, 0, 5, 3, 4])
    assert.deepEqual([...error4.subarray(24, 28)], [0, 0, 1400 >> 8, 1400 & 255])
    const error6 = written(six, () => write6(frames, P, six.length, Int32Array.of(0x20010db8, 0, 0, 1), 2, 0, 1400, TO))
    assert.deepEqual(error6.subarray(48), quoted6)
    assert.ok(error4.length <= 576 && error6.length <= MOST_BYTES)
    assert.deepEqual(error6, written(six, () => {
      const like = icmpError({ src: '2001:db8::1', dst: '2001:db8::5', original: quoted6, icmpType: 2, icmpCode: 0, word: 1400, ttl: 64 })
      frames.pool.set(like, TO)
      return like.length
    }))
  }
})

test('icmp-error: what is an error is known by its type (RFC 1122 3.2.2, RFC 4443 2.4 (e))', () => {
  const types = Array.from({ length: 256 }, (_, type) => type)
  assert.deepEqual(types.filter(isError4), [3, 4, 5, 11, 12])
  assert.deepEqual(types.filter(isError6), [...types.slice(0, 128), 137])
})
