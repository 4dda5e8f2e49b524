/** A capture from before the NAT: replies in it are addressed to inside hosts, and the world has to find their way in. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { buildPacket, fragment, icmpError, verify, type PacketSpec } from '../wire/build.ts'
import { TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { print4 } from '../base/address.ts'
import { createPlaneRig, type PlaneRig } from './testing.ts'

const a = '10.0.0.1', b = '198.51.100.1'
const POOL = [0xcb007101 | 0, 0xcb007102 | 0, 0xcb007103 | 0]
/** Ports are never kept and addresses differ, so that nothing comes back by luck. */
const engine = { portPreservation: false, pool: POOL }
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset)
const srcOf = (bytes: Uint8Array) => print4(view(bytes).getInt32(12)), dstOf = (bytes: Uint8Array) => print4(view(bytes).getInt32(16))

/** Sends one packet and expects it to leave by `to`, clean. */
function pass({ put, reason }: PlaneRig, packet: Uint8Array, to: number): Uint8Array {
  const [frame] = put({ data: packet })
  assert.equal(reason(), null)
  assert.equal(frame.to, to)
  assert.deepEqual(verify(frame.data), [])
  return frame.data
}

const EXCHANGES: [name: string, out: PacketSpec, back: PacketSpec][] = [
  ['UDP', { proto: 'udp', src: a, dst: b, srcPort: 5000, dstPort: 53 }, { proto: 'udp', src: b, dst: a, srcPort: 53, dstPort: 5000 }],
  ['UDP without a checksum', { proto: 'udp', src: a, dst: b, srcPort: 5000, dstPort: 53, checksum: 'zero' },
    { proto: 'udp', src: b, dst: a, srcPort: 53, dstPort: 5000, checksum: 'zero' }],
  ['TCP', { proto: 'tcp', src: a, dst: b, srcPort: 5000, dstPort: 80, tcpFlags: 2 },
    { proto: 'tcp', src: b, dst: a, srcPort: 80, dstPort: 5000, tcpFlags: 18 }],
  ['ICMP echo', { proto: 'icmp', src: a, dst: b, icmpId: 7 }, { proto: 'icmp', icmpType: 0, src: b, dst: a, icmpId: 7 }],
  ['UDP-Lite', { proto: 'udplite', src: a, dst: b, srcPort: 5000, dstPort: 53 }, { proto: 'udplite', src: b, dst: a, srcPort: 53, dstPort: 5000 }],
  ['DCCP', { proto: 'dccp', src: a, dst: b, srcPort: 5000, dstPort: 53 }, { proto: 'dccp', src: b, dst: a, srcPort: 53, dstPort: 5000 }],
  ['GRE', { proto: 47, src: a, dst: b, payload: new Uint8Array(8) }, { proto: 47, src: b, dst: a, payload: new Uint8Array(8) }],
]

for (const [name, out, back] of EXCHANGES) {
  test(`world: a reply by ${name} finds the mapping and arrives as it was captured, a hop later`, () => {
    const rig = createPlaneRig({ engine })
    for (const payload of [new Uint8Array(8), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 255), new Uint8Array(600).fill(0xab)]) {
      const left = pass(rig, buildPacket({ ...out, payload }), TO_OUTSIDE)
      assert.notEqual(srcOf(left), a)
      const arrived = pass(rig, buildPacket({ ...back, payload }), TO_INSIDE)
      // Address and port are those of the capture again; only the hop was counted.
      assert.deepEqual(arrived, buildPacket({ ...back, payload, ttl: 63 }))
    }
  })
}

test('world: every payload gives right checksums and the captured packet back', () => {
  fc.assert(fc.property(fc.constantFrom(...EXCHANGES.slice(0, 5)), fc.uint8Array({ maxLength: 40, size: 'max' }), fc.integer(), ([, out, back], payload, seed) => {
    const rig = createPlaneRig({ engine: { ...engine, seed } })
    pass(rig, buildPacket({ ...out, payload }), TO_OUTSIDE)
    const [frame] = rig.put({ data: buildPacket({ ...back, payload }) })
    assert.deepEqual(verify(frame.data), [])
    assert.deepEqual(frame.data, buildPacket({ ...back, payload, ttl: 63 }))
  }), { numRuns: 150 })
})

test('world: a UDP checksum that becomes 0 on the way in is 0xffff there, and not taken for none (RFC 768)', () => {
  const rig = createPlaneRig({ engine })
  const [, out, back] = EXCHANGES[0]
  const left = pass(rig, buildPacket(out), TO_OUTSIDE)
  // With this payload, the sum over the packet to the outside endpoint is all ones.
  const entering = { ...back, dst: srcOf(left), dstPort: view(left).getUint16(20) }
  const payload = buildPacket({ ...entering, payload: new Uint8Array(2) }).slice(26, 28)
  assert.equal(view(buildPacket({ ...entering, payload })).getUint16(26), 0xffff)
  assert.deepEqual(pass(rig, buildPacket({ ...back, payload }), TO_INSIDE), buildPacket({ ...back, payload, ttl: 63 }))
})

test('world: a wrong checksum of the capture stays wrong and is not mended on the way', () => {
  const rig = createPlaneRig({ engine })
  const [, out, back] = EXCHANGES[0]
  pass(rig, buildPacket(out), TO_OUTSIDE)
  const [frame] = rig.put({ data: buildPacket({ ...back, checksum: 'wrong' }) })
  assert.deepEqual(verify(frame.data), ['udp: checksum'])
})

for (const [name, out] of EXCHANGES.slice(0, 4)) {
  test(`world: an ICMP error about ${name} arrives with the packet it quotes as the host sent it`, () => {
    const rig = createPlaneRig({ engine })
    const original = buildPacket({ ...out, payload: Uint8Array.of(9, 8, 7, 6, 5) })
    pass(rig, original, TO_OUTSIDE)
    for (const quoteBytes of [28, 600]) {
      // A router on the way, not the peer itself; it captured the packet with the inside address.
      const error = icmpError({ src: '192.0.2.77', dst: a, original, icmpType: 3, icmpCode: 1, quoteBytes })
      const arrived = pass(rig, error, TO_INSIDE)
      assert.equal(dstOf(arrived), a)
      assert.deepEqual(arrived.slice(28), error.slice(28), 'the quoted packet')
      assert.deepEqual(arrived, icmpError({ src: '192.0.2.77', dst: a, original, icmpType: 3, icmpCode: 1, quoteBytes, ttl: 63 }))
    }
    assert.equal(rig.count('icmp-errors-translated'), 2)
  })
}

test('world: fragments in both directions, in and out of order, all take the addresses of the first', () => {
  const payload = new Uint8Array(900).map((_, i) => i * 7)
  const [, out, back] = EXCHANGES[0]
  for (const order of [[0, 1, 2], [2, 1, 0], [1, 0, 2]]) {
    const rig = createPlaneRig({ engine: { ...engine, pool: POOL } })
    const outPieces = fragment(buildPacket({ ...out, id: 77, payload }), [304, 304])
    const sent = rig.put(...order.map((n) => ({ data: outPieces[n] })))
    assert.equal(sent.length, 3)
    const outside = srcOf(sent[0].data)
    assert.ok(sent.every(({ data, to }) => to === TO_OUTSIDE && srcOf(data) === outside && verify(data).length === 0))

    const backWhole = buildPacket({ ...back, id: 88, payload, ttl: 63 })
    const backPieces = fragment(buildPacket({ ...back, id: 88, payload }), [304, 304])
    const arrived = rig.put(...order.map((n) => ({ data: backPieces[n] })))
    assert.equal(arrived.length, 3)
    for (const { data, to } of arrived) {
      assert.equal(to, TO_INSIDE)
      assert.equal(dstOf(data), a)
      assert.deepEqual(verify(data), [])
    }
    // Put together they are the datagram as it was captured, so its UDP checksum is right, too.
    const whole = backWhole.slice()
    for (const { data } of arrived) whole.set(data.slice(20), 20 + ((view(data).getUint16(6) & 0x1fff) << 3))
    assert.deepEqual(verify(whole), [])
    assert.deepEqual(whole, backWhole)
  }
})

test('world: a packet that no mapping waits for goes to the paired address with its own port, and meets the filter', () => {
  const rig = createPlaneRig({ engine, world: true })
  rig.put({ data: buildPacket({ proto: 'udp', src: b, dst: a, srcPort: 53, dstPort: 5000 }) })
  assert.equal(rig.reason(), 'no-mapping')
  // It was re-addressed before it was dropped.
  const entered = rig.frames.pool.slice(0, 28)
  assert.equal(dstOf(entered), print4(rig.engine.pool.addressAt(rig.engine.pool.pairedIndex(0x0a000001))))
  assert.equal(view(entered).getUint16(22), 5000)
  assert.deepEqual(verify(entered), [])
  // A stranger to a mapping that there is: the filter says no (RFC 4787 REQ-8).
  pass(rig, buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 5000, dstPort: 53 }), TO_OUTSIDE)
  rig.put({ data: buildPacket({ proto: 'udp', src: '198.51.100.99', dst: a, srcPort: 53, dstPort: 5000 }) })
  assert.equal(rig.reason(), 'filtered')
})

test('world: a mapping that has ended is not used', () => {
  const rig = createPlaneRig({ engine })
  const [, out, back] = EXCHANGES[0]
  rig.put({ data: buildPacket(out), sec: 0 })
  rig.put({ data: buildPacket(back), sec: 300 })
  assert.equal(rig.reason(), 'no-mapping')
})

test('world: a mapping that is opened earlier in the same batch is found', () => {
  const rig = createPlaneRig({ engine })
  const left = rig.put(...EXCHANGES.flatMap(([, out, back]) => [{ data: buildPacket({ ...out, payload: new Uint8Array(8) }) },
    { data: buildPacket({ ...back, payload: new Uint8Array(8) }) }]))
  assert.deepEqual(left.map(({ to }) => to), EXCHANGES.flatMap(() => [TO_OUTSIDE, TO_INSIDE]))
})

test('world: what is addressed to an outside address already, or to nobody inside, enters as it is', () => {
  const rig = createPlaneRig({ engine: { pool: [POOL[0]] } })
  const [, out] = EXCHANGES[0]
  pass(rig, buildPacket(out), TO_OUTSIDE)
  const direct = buildPacket({ proto: 'udp', src: b, dst: '203.0.113.1', srcPort: 53, dstPort: 5000 })
  assert.equal(dstOf(pass(rig, direct, TO_INSIDE)), a)
  const stray = buildPacket({ proto: 'udp', src: b, dst: '192.0.2.5', srcPort: 53, dstPort: 5000 })
  rig.put({ data: stray })
  assert.equal(rig.reason(), 'outside-to-outside')
  assert.deepEqual(rig.frames.pool.slice(0, stray.length), stray)
})

test('world: what is broken enters as it is, and the engine says why it goes no further', () => {
  const rig = createPlaneRig({ engine })
  const good = buildPacket({ proto: 'udp', src: b, dst: a, srcPort: 53, dstPort: 5000, payload: new Uint8Array(20) })
  const variants: [string, (bytes: Uint8Array) => void][] = [
    ['ipv4-bad-checksum', (bytes) => { bytes[10] ^= 1 }], ['transport-bad-length', (bytes) => { bytes[25] = 7 }],
    ['ip-bad-version', (bytes) => { bytes[0] = 0x75 }], ['ip-bad-length', (bytes) => { bytes[3] = 19 }],
  ]
  for (const [reason, damage] of variants) {
    const bytes = good.slice()
    damage(bytes)
    const left = createPlaneRig({ engine })
    left.load([{ data: bytes, link: 228 }])
    left.plane.begin(1)
    left.plane.run(0, 1)
    assert.equal(left.reason(), reason)
    assert.deepEqual(left.frames.pool.slice(0, bytes.length), bytes)
  }
  // An error that quotes too little, or not the host it is sent to.
  const original = buildPacket({ ...EXCHANGES[0][1], payload: new Uint8Array(8) })
  for (const error of [
    icmpError({ src: b, dst: a, original, icmpType: 3, quoteBytes: 27 }), icmpError({ src: b, dst: '10.0.0.9', original, icmpType: 3 }),
  ]) {
    rig.put({ data: error })
    assert.deepEqual(rig.frames.pool.slice(0, error.length), error)
    assert.notEqual(rig.reason(), null)
  }
})
