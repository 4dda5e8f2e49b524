import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import * as ipv6 from './ipv6.ts'
import { print6 } from '../base/address.ts'
import { buildPacket, fragment, type PacketSpec } from './build.ts'

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const ends = { src: '2001:db8::2', dst: '2001:db8:ffff::7' }
const base: PacketSpec = { ...ends, proto: 'udp', payload: new Uint8Array(20) }

function walked(bytes: Uint8Array, capEnd = bytes.length, netEnd = bytes.length) {
  const walk = ipv6.createWalk(), verdict = ipv6.walk(viewOf(bytes), 0, capEnd, netEnd, walk)
  return verdict === ipv6.WALK_OK
    ? { l4: walk.at[ipv6.WALK_L4], protocol: walk.at[ipv6.WALK_PROTOCOL], fragment: walk.at[ipv6.WALK_FRAGMENT] } : verdict
}

test('accessors read the fields that were built (RFC 8200 3)', () => {
  const v = viewOf(buildPacket({ ...base, ttl: 9, tos: 0xb8, flowLabel: 0xabcde }))
  assert.equal(ipv6.version(v, 0), 6)
  assert.equal(ipv6.payloadLength(v, 0), 28)
  assert.equal(ipv6.nextHeader(v, 0), 17)
  assert.equal(ipv6.hopLimit(v, 0), 9)
  assert.equal(print6(Int32Array.from([0, 1, 2, 3], i => ipv6.srcWord(v, 0, i))), ends.src)
  assert.equal(print6(Int32Array.from([0, 1, 2, 3], i => ipv6.dstWord(v, 0, i))), ends.dst)
  ipv6.setHopLimit(v, 0, 255)
  assert.equal(ipv6.hopLimit(v, 0), 255)
})

test('without extension headers the walk ends at once', () => {
  assert.deepEqual(walked(buildPacket(base)), { l4: 40, protocol: 17, fragment: 0 })
})

test('the walk follows headers of each length rule', () => {
  const extensions = [
    { header: ipv6.HOP_BY_HOP, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }, { header: ipv6.DESTINATION, body: new Uint8Array(14) },
    { header: ipv6.ROUTING, body: Uint8Array.of(4, 0, 0, 0, 0, 0) }, { header: ipv6.AUTHENTICATION, body: new Uint8Array(22) },
    { header: ipv6.DESTINATION },
  ]
  assert.deepEqual(walked(buildPacket({ ...base, extensions })), { l4: 40 + 8 + 16 + 8 + 24 + 8, protocol: 17, fragment: 0 })
})

test('a first fragment shows its transport header, a later one where its payload starts', () => {
  const [first, second] = fragment(buildPacket(base), [16])
  assert.deepEqual(walked(first), { l4: 48, protocol: 17, fragment: 40 })
  assert.deepEqual(walked(second), { l4: 48, protocol: 17, fragment: 40 })
  const later = buildPacket({ ...ends, proto: 60, fragOffset: 8, payload: Uint8Array.of(60, 255, 1, 2) })
  assert.deepEqual(walked(later), { l4: 48, protocol: 60, fragment: 40 }, 'payload of a later fragment is not a header')
})

test('malformed chains are told apart (RFC 8200 4)', () => {
  const late = buildPacket({ ...base, extensions: [{ header: 60 }, { header: 0 }] })
  assert.equal(walked(late), ipv6.WALK_BAD, 'hop-by-hop anywhere but first')
  const many = buildPacket({ ...base, extensions: Array.from({ length: ipv6.MAX_EXTENSIONS + 1 }, () => ({ header: 60 })) })
  assert.equal(walked(many), ipv6.WALK_BAD)
  const most = buildPacket({ ...base, extensions: Array.from({ length: ipv6.MAX_EXTENSIONS }, () => ({ header: 60 })) })
  assert.deepEqual(walked(most), { l4: 104, protocol: 17, fragment: 0 })
  const twice = buildPacket({ ...base, extensions: [{ header: 44, body: new Uint8Array(6) }, { header: 44, body: new Uint8Array(6) }] })
  assert.equal(walked(twice), ipv6.WALK_BAD)
  const long = buildPacket({ ...base, extensions: [{ header: 60 }] })
  long[41] = 200
  assert.equal(walked(long), ipv6.WALK_BAD, 'beyond the packet')
  assert.equal(walked(buildPacket({ ...base, extensions: [{ header: 60 }] }), 44), ipv6.WALK_TRUNCATED)
})

test('routing header 0 is refused while it has segments left (RFC 5095 3)', () => {
  const routed = (left: number) => buildPacket({ ...base, extensions: [{ header: 43, body: Uint8Array.of(0, left, 0, 0, 0, 0) }] })
  assert.equal(walked(routed(1)), ipv6.WALK_ROUTING_0)
  assert.deepEqual(walked(routed(0)), { l4: 48, protocol: 17, fragment: 0 })
  const other = buildPacket({ ...base, extensions: [{ header: 43, body: Uint8Array.of(4, 1, 0, 0, 0, 0) }] })
  assert.deepEqual(walked(other), { l4: 48, protocol: 17, fragment: 0 }, 'of another type')
})

test('ESP and no-next-header end the chain; mobility without a follower is the packet', () => {
  for (const protocol of [ipv6.ESP, ipv6.NO_NEXT]) {
    assert.deepEqual(walked(buildPacket({ ...ends, proto: protocol, payload: new Uint8Array(8) })), { l4: 40, protocol, fragment: 0 })
  }
  const mobility = buildPacket({ ...ends, proto: 135, payload: Uint8Array.of(59, 0, 1, 0, 0, 0, 0, 0) })
  assert.deepEqual(walked(mobility), { l4: 40, protocol: 135, fragment: 0 })
})

test('mobility, HIP and SHIM6 with a follower are walked over, and other headers are not taken for them', () => {
  for (const header of [ipv6.MOBILITY, ipv6.HIP, ipv6.SHIM6]) {
    assert.deepEqual(walked(buildPacket({ ...base, extensions: [{ header }] })), { l4: 48, protocol: 17, fragment: 0 })
    const alone = buildPacket({ ...ends, proto: header, payload: Uint8Array.of(59, 0, 1, 0, 0, 0, 0, 0) })
    assert.deepEqual(walked(alone), { l4: 40, protocol: header, fragment: 0 })
    assert.deepEqual(walked(alone, 40), { l4: 40, protocol: header, fragment: 0 }, 'nothing captured of it')
    const one = buildPacket({ ...base, extensions: [{ header }] })
    assert.equal(walked(one, 41), ipv6.WALK_TRUNCATED, 'its first byte names a follower')
  }
  const options = buildPacket({ ...ends, proto: ipv6.DESTINATION, payload: Uint8Array.of(59, 0, 1, 4, 0, 0, 0, 0) })
  assert.deepEqual(walked(options), { l4: 48, protocol: 59, fragment: 0 })
})

test('an extension header may end exactly where the packet or the capture does', () => {
  const options = buildPacket({ ...ends, proto: ipv6.DESTINATION, payload: Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0) })
  assert.deepEqual(walked(options), { l4: 48, protocol: 17, fragment: 0 })
  assert.deepEqual(walked(options, 48, 100), { l4: 48, protocol: 17, fragment: 0 })
  assert.equal(walked(options, 47, 100), ipv6.WALK_TRUNCATED)
  assert.equal(walked(options, 100, 47), ipv6.WALK_BAD)
})

test('verdicts are distinct, and the more-fragments flag is the lowest bit (RFC 8200 4.5)', () => {
  assert.equal(new Set([ipv6.WALK_OK, ipv6.WALK_TRUNCATED, ipv6.WALK_BAD, ipv6.WALK_ROUTING_0]).size, 4)
  const [first] = fragment(buildPacket(base), [16])
  assert.equal(viewOf(first).getUint16(42), ipv6.FRAGMENT_MORE)
})

test('the walk ends for any bytes, inside the packet, and never reads past the captured ones', () => {
  const header = fc.constantFrom(0, 43, 44, 50, 51, 59, 60, 135, 139, 140, 6, 17)
  fc.assert(fc.property(fc.uint8Array({ minLength: 40, maxLength: 200, size: 'max' }), fc.array(fc.tuple(fc.nat(19), header)), fc.nat(400), (bytes, set, more) => {
    for (const [at, value] of set) bytes[at === 0 ? 6 : Math.min(40 + 8 * at - 8, bytes.length - 1)] = value
    for (let at = 41; at < bytes.length; at += 8) bytes[at] &= 3
    const result = walked(bytes, bytes.length, bytes.length + more)
    if (typeof result === 'object') assert.ok(result.l4 >= 40 && result.l4 <= bytes.length + more)
  }), { numRuns: 3000 })
})
