import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { buildPacket, type PacketSpec } from '../wire/build.ts'
import { pseudo4, pseudo6 } from '../wire/checksum.ts'
import { completeChecksum } from './partial-checksum.ts'

const specs = fc.record({
  proto: fc.constantFrom('tcp' as const, 'udp' as const), isSix: fc.boolean(), port: fc.integer({ min: 1, max: 65_535 }), bytes: fc.integer({ min: 0, max: 1200 }),
  padding: fc.integer({ min: 0, max: 20 }),
})

function frameOf({ proto, isSix, port, bytes, padding }: { proto: 'tcp' | 'udp'; isSix: boolean; port: number; bytes: number; padding: number }) {
  const spec: PacketSpec = {
    proto, src: isSix ? '2001:db8::5' : '10.0.0.5', dst: isSix ? '2001:db8:9::7' : '198.51.100.7', srcPort: port, dstPort: 443, payload: new Uint8Array(bytes).map((_, i) => i * port),
  }
  const built = buildPacket({ link: 'ethernet', ...spec })
  const frame = new Uint8Array(built.length + padding)
  frame.set(built)
  const view = new DataView(frame.buffer), l4 = isSix ? 54 : 34, l4Bytes = built.length - l4
  const number = proto === 'tcp' ? 6 : 17
  const pseudo = isSix ? pseudo6(view, 14, number, l4Bytes) : pseudo4(view.getInt32(26), view.getInt32(30), number, l4Bytes)
  return { frame, view, at: l4 + (proto === 'tcp' ? 16 : 6), pseudo }
}

test('partial checksums: one that holds the sum of the pseudo header alone becomes what it has to be', () => {
  fc.assert(fc.property(specs, (spec) => {
    const { frame, view, at, pseudo } = frameOf(spec)
    const whole = view.getUint16(at)
    view.setUint16(at, pseudo)
    assert.equal(completeChecksum(view, 0, frame.length), true)
    assert.equal(view.getUint16(at), whole)
  }), { numRuns: 500 })
})

test('partial checksums: all others are left alone, and any bytes are taken', () => {
  fc.assert(fc.property(specs, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(), (spec, where, value, length) => {
    const { frame, view, at, pseudo } = frameOf(spec)
    if (view.getUint16(at) !== pseudo) {
      const before = frame.slice()
      assert.equal(completeChecksum(view, 0, frame.length), false)
      assert.deepEqual(frame, before)
    }
    frame[where % frame.length] = value
    completeChecksum(view, 0, length % (frame.length + 1))
  }), { numRuns: 500 })
})
