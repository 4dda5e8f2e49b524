/** The model against hand-written packets: "Order of checks" and "Rewriting" of docs/behaviour.md. */
import test from 'node:test'
import assert from 'node:assert/strict'
import { buildPacket, verify, type PacketSpec } from '../../src/wire/build.ts'
import { box, word, ends, paired, IN_A, IN_B, IN6, OUT, OUT6, POOL } from './setup.ts'
import { put16 } from './packet.ts'

const THREE = Uint8Array.of(1, 2, 3)
const UDP: PacketSpec = { src: IN_A, dst: OUT, proto: 'udp', srcPort: 5000, dstPort: 53, payload: THREE }
const UDP6: PacketSpec = { ...UDP, src: IN6, dst: OUT6 }
const set = (bytes: Uint8Array, at: number, value: number) => { const c = bytes.slice(); c[at] = value; return c }
const inside = (bytes: Uint8Array, cut = {}, options = {}) => word(box(options).in(bytes, cut))

test('a good packet from inside leaves with another source, one hop less and right checksums (RFC 3022 4.1)', () => {
  const { sent: [{ bytes, side }], verdict } = box().in(UDP)
  assert.equal(verdict, 'outside')
  assert.equal(side, 'outside')
  assert.equal(ends(bytes), paired(IN_A) + ':5000 > ' + OUT + ':53')
  assert.equal(bytes[8], 63)
  assert.deepEqual(verify(bytes), [])
})

test('the IPv4 header is checked in the order of RFC 1812 5.2.2', () => {
  const good = buildPacket(UDP)
  assert.equal(inside(good, { capBytes: 19 }), 'ip-truncated')
  assert.equal(inside(set(good, 0, 0x55)), 'ip-bad-version')
  assert.equal(inside(good, { net: 6 }), 'ip-truncated')
  assert.equal(inside(buildPacket({ ...UDP, payload: new Uint8Array(40) }), { net: 6 }), 'ip-bad-version')
  assert.equal(inside(set(good, 0, 0x44)), 'ipv4-bad-header-length')
  assert.equal(inside(put16(good, 2, 19)), 'ip-bad-length')
  assert.equal(inside(put16(good, 2, good.length + 1)), 'ip-bad-length')
  assert.equal(inside(buildPacket({ ...UDP, options: new Uint8Array(8) }), { capBytes: 27 }), 'ip-truncated')
  assert.equal(inside(set(good, 8, 63)), 'ipv4-bad-checksum')
  assert.equal(inside(set(set(good, 8, 63), 0, 0x46)), 'ipv4-bad-checksum')
})

test('a missing IPv4 checksum is filled in, believed or refused, by the setting', () => {
  const missing = buildPacket({ ...UDP, ipChecksum: 'zero' }), wrong = buildPacket({ ...UDP, ipChecksum: 'wrong' })
  assert.deepEqual(verify(box().in(missing).sent[0].bytes), [])
  assert.equal(inside(missing, {}, { ipv4Checksum: 'verify' }), 'ipv4-bad-checksum')
  assert.equal(inside(wrong), 'ipv4-bad-checksum')
  const { sent: [{ bytes }] } = box({ ipv4Checksum: 'ignore' }).in(wrong)
  assert.deepEqual(verify(bytes), ['ipv4: header checksum'])
  assert.deepEqual(verify(box({ ipv4Checksum: 'ignore' }).in(UDP).sent[0].bytes), [])
})

test('IPv4 options are walked, and a source route is refused (RFC 7126 4.3)', () => {
  const with_ = (...options: number[]) => inside(buildPacket({ ...UDP, options: Uint8Array.from(options) }))
  assert.equal(with_(1, 1, 1, 0), 'outside')
  assert.equal(with_(7, 5, 0, 0, 0), 'outside')
  assert.equal(with_(7, 1, 0, 0), 'ipv4-bad-options')
  assert.equal(with_(7, 9, 0, 0), 'ipv4-bad-options')
  assert.equal(with_(1, 1, 1, 7), 'ipv4-bad-options')
  assert.equal(with_(131, 3, 4), 'ipv4-source-route')
  assert.equal(with_(137, 3, 4, 7, 9, 0, 0, 0), 'ipv4-bad-options')
  assert.equal(with_(0, 131, 3, 4), 'outside')
})

test('the IPv6 header and its chain are checked (RFC 8200 4)', () => {
  const good = buildPacket(UDP6), ext = (...extensions: { header: number; body?: Uint8Array }[]) =>
    buildPacket({ ...UDP6, extensions })
  assert.equal(inside(good), 'outside')
  assert.equal(inside(good, { capBytes: 39 }), 'ip-truncated')
  assert.equal(inside(good, { net: 4 }), 'ip-bad-version')
  assert.equal(inside(put16(good, 4, good.length - 39)), 'ip-bad-length')
  const routing = { header: 43, body: Uint8Array.of(0, 0) }, authentication = { header: 51, body: new Uint8Array(10) }
  assert.equal(inside(ext({ header: 0 }, { header: 60 }, routing, authentication)), 'outside')
  assert.equal(inside(ext({ header: 60 }, { header: 0 })), 'ipv6-bad-extension')
  assert.equal(inside(ext({ header: 43, body: Uint8Array.of(0, 1) })), 'ipv6-routing-header-0')
  assert.equal(inside(ext({ header: 60 }), { capBytes: 47 }), 'ip-truncated')
  assert.equal(inside(set(ext({ header: 60 }), 41, 9)), 'ipv6-bad-extension')
  const nine = Array.from({ length: 9 }, () => ({ header: 60 }))
  assert.equal(inside(ext(...nine)), 'ipv6-bad-extension')
  assert.equal(inside(ext(...nine.slice(1))), 'outside')
  assert.equal(inside(buildPacket({ ...UDP6, proto: 135, payload: new Uint8Array(16).fill(59) })), 'outside')
})

test('an atomic fragment is a whole packet (RFC 6946)', () => {
  const atomic = buildPacket({ ...UDP6, extensions: [{ header: 44, body: new Uint8Array(6) }] })
  assert.equal(inside(atomic), 'outside')
  assert.equal(inside(put16(atomic, 40 + 8 + 4, 99)), 'transport-bad-length')
})

test('addresses that cannot be are refused (RFC 1812 5.3.7)', () => {
  const four = (src: string, dst: string) => inside(buildPacket({ ...UDP, src, dst }))
  for (const src of ['0.0.0.1', '127.0.0.1', '224.0.0.1', '255.255.255.255', POOL[1]]) {
    assert.equal(four(src, OUT), 'martian-source')
  }
  for (const dst of ['0.0.0.0', '127.1.1.1', '240.0.0.1', '255.255.255.254']) {
    assert.equal(four(IN_A, dst), 'martian-destination')
  }
  for (const dst of ['224.0.0.1', '255.255.255.255']) assert.equal(four(IN_A, dst), 'multicast')
  assert.equal(four('169.254.1.1', OUT), 'link-local')
  assert.equal(four(IN_A, '169.254.1.1'), 'link-local')
  const six = (src: string, dst: string) => inside(buildPacket({ ...UDP, src, dst }))
  for (const src of ['::', '::1', '::ffff:1.2.3.4', 'ff02::1']) assert.equal(six(src, OUT6), 'martian-source')
  for (const dst of ['::', '::1', '::ffff:1.2.3.4']) assert.equal(six(IN6, dst), 'martian-destination')
  assert.equal(six(IN6, 'ff02::1'), 'multicast')
  assert.equal(six('fe80::1', OUT6), 'link-local')
  assert.equal(six(IN6, 'febf::1'), 'link-local')
  for (const dst of ['fec0::1', '::9']) assert.equal(six(IN6, dst), 'martian-destination')
  assert.equal(six(IN6, '2001:db8::1'), 'outside')
})

test('what the link addressed to a group is not forwarded (RFC 1812 5.3.4)', () => {
  const bytes = buildPacket(UDP), input = { side: 'inside', nowMs: 0, bytes, wireBytes: bytes.length, group: true } as const
  assert.equal(word(box().model.packet(input)), 'multicast')
})

test('without NAT an outside address of ours is an address like others', () => {
  assert.equal(inside(buildPacket({ ...UDP, src: POOL[0] }), {}, { nat44: false }), 'outside')
})

test('the last hop is answered with time exceeded (RFC 1812 5.3.1)', () => {
  const { reason, sent: [{ bytes, side, kind }] } = box().in({ ...UDP, ttl: 1, tos: 0xbb })
  assert.deepEqual([reason, side, kind], ['ttl-exceeded', 'inside', 'reply'])
  assert.deepEqual(verify(bytes), [])
  assert.deepEqual([bytes[20], bytes[21], bytes[1], bytes[8]], [11, 0, 0xb8, 64])
  assert.equal(ends(bytes), '192.0.0.8 > ' + IN_A)
  assert.deepEqual(bytes.slice(28), buildPacket({ ...UDP, ttl: 1, tos: 0xbb }))
  const six = box().in({ ...UDP6, ttl: 0 }).sent[0].bytes
  assert.deepEqual([six[40], six[41], six[7]], [3, 0, 64])
  assert.deepEqual(verify(six), [])
})

test('transport headers must be there, and say no more than there is', () => {
  const udp = buildPacket(UDP), tcp = buildPacket({ ...UDP, proto: 'tcp' })
  assert.equal(inside(buildPacket({ ...UDP, proto: 17, payload: new Uint8Array(7) })), 'transport-bad-length')
  assert.equal(inside(udp, { capBytes: 27 }), 'transport-truncated')
  assert.equal(inside(udp, { capBytes: 28 }), 'outside')
  assert.equal(inside(put16(udp, 24, 7)), 'transport-bad-length')
  assert.equal(inside(put16(udp, 24, 12)), 'transport-bad-length')
  assert.equal(inside(put16(udp, 24, 8)), 'outside')
  assert.equal(inside(tcp, { capBytes: 39 }), 'transport-truncated')
  assert.equal(inside(set(tcp, 32, 0x40)), 'transport-bad-length')
  assert.equal(inside(set(tcp, 32, 0x60)), 'transport-bad-length')
  assert.equal(inside(buildPacket({ ...UDP, proto: 1, payload: new Uint8Array(7) })), 'transport-bad-length')
  assert.equal(inside(buildPacket({ ...UDP, proto: 47, payload: new Uint8Array(0) })), 'outside')
})

test('ICMP types that are neither errors nor queries stop here', () => {
  for (const icmpType of [4, 5, 9, 10, 15, 17]) {
    assert.equal(inside(buildPacket({ src: IN_A, dst: OUT, proto: 'icmp', icmpType })), 'icmp-not-forwarded')
  }
  for (const icmpType of [133, 135, 137, 0, 5]) {
    assert.equal(inside(buildPacket({ src: IN6, dst: OUT6, proto: 'icmp6', icmpType })), 'icmp-not-forwarded')
  }
  assert.equal(inside(buildPacket({ src: IN_A, dst: OUT, proto: 58, payload: new Uint8Array(8) })), 'outside')
})

test('checksums follow a change and keep their error (RFC 1624)', () => {
  for (const proto of ['udp', 'tcp', 'icmp', 'udplite', 'dccp'] as const) {
    const spec: PacketSpec = { ...UDP, proto, icmpId: 9 }
    assert.deepEqual(verify(box().in(spec).sent[0].bytes), [], proto)
    const at = 20 + { udp: 6, tcp: 16, icmp: 2, udplite: 6, dccp: 6 }[proto]
    const field = (bytes: Uint8Array) => bytes[at] * 256 + bytes[at + 1]
    const [right, wrong] = (['right', 'wrong'] as const).map(checksum => [
      field(buildPacket({ ...spec, checksum })), field(box().in({ ...spec, checksum }).sent[0].bytes)])
    assert.equal((right[1] - right[0] + 65535) % 65535, (wrong[1] - wrong[0] + 65535) % 65535, proto)
  }
})

test('a UDP checksum of 0 stays 0, and one that becomes 0 is sent as 0xffff (RFC 768)', () => {
  const field = (bytes: Uint8Array) => bytes[26] * 256 + bytes[27]
  const send = (sum: number) => field(box().in(put16(buildPacket(UDP), 26, sum)).sent[0].bytes)
  assert.equal(send(0), 0)
  const change = send(1) - 1
  assert.equal(send((65535 - change) % 65535), 0xffff)
  assert.equal(send(0xffff), change === 0 ? 0xffff : (change + 65535) % 65535)
})

test('padding is cut off, and what was not captured is not touched', () => {
  const padded = Uint8Array.from([...buildPacket(UDP), 9, 9, 9])
  const { sent: [whole] } = box().in(padded)
  assert.deepEqual([whole.bytes.length, whole.wireBytes], [31, 31])
  const { sent: [cut] } = box().in({ ...UDP, proto: 'udplite' }, { capBytes: 26 })
  assert.deepEqual([cut.bytes.length, cut.wireBytes], [26, 31])
})

test('between two inside hosts, or two outside ones, nothing is forwarded', () => {
  assert.equal(inside(buildPacket({ ...UDP, dst: IN_B })), 'inside-to-inside')
  assert.equal(word(box().out({ ...UDP, src: OUT, dst: '192.0.2.1' })), 'outside-to-outside')
  assert.equal(word(box().out({ ...UDP, src: OUT, dst: IN_A })), 'no-mapping')
})
