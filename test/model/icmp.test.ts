/** The model against hand-written packets: the two sections on ICMP errors of docs/behaviour.md. */
import test from 'node:test'
import assert from 'node:assert/strict'
import { buildPacket, icmpError, verify, type PacketSpec } from '../../src/wire/build.ts'
import { box, word, ends, paired, IN_A, IN_B, IN6, OUT, OUT_2, OUT6, POOL } from './setup.ts'

const A = paired(IN_A), ROUTER = '192.0.2.9', INNER = '10.9.9.9'
const UDP: PacketSpec = { src: IN_A, dst: OUT, proto: 'udp', srcPort: 5000, dstPort: 53, payload: new Uint8Array(20) }
const about = (original: Uint8Array, src: string, more = {}) =>
  icmpError({ src, original, icmpType: 3, icmpCode: 4, word: 1400, ...more })

test('an error about a packet that left comes back to its sender (RFC 5508 REQ-4)', () => {
  for (const proto of ['udp', 'tcp', 'icmp', 'udplite', 'dccp'] as const) {
    const b = box({ portPreservation: false }), spec = { ...UDP, proto, icmpId: 9 }
    const left = b.in(spec).sent[0].bytes
    const { sent: [{ bytes, side }] } = b.out(about(left, ROUTER))
    assert.equal(side, 'inside')
    assert.equal(ends(bytes), ROUTER + ' > ' + IN_A)
    assert.deepEqual(verify(bytes), [], proto)
    const original = buildPacket({ ...spec, ttl: 63 })
    assert.deepEqual(bytes.slice(28), original, proto)
  }
})

test('an error from inside hides who sent it (RFC 5508 REQ-5)', () => {
  const b = box()
  b.in(UDP)
  const arrived = b.out({ ...UDP, src: OUT, dst: A, srcPort: 53, dstPort: 5000 }).sent[0].bytes
  const { sent: [{ bytes }] } = b.in(about(arrived, INNER))
  assert.equal(ends(bytes), A + ' > ' + OUT)
  assert.equal(ends(bytes.slice(28)), OUT + ':53 > ' + A + ':5000')
  assert.deepEqual(verify(bytes), [])
})

test('an error about a hairpinned packet goes back by both mappings (RFC 5508 REQ-7)', () => {
  const b = box({ filtering: 'endpoint-independent' }), B = paired(IN_B)
  b.in({ ...UDP, src: IN_B, srcPort: 2000 })
  const arrived = b.in({ ...UDP, dst: B, dstPort: 2000 }).sent[0].bytes
  const { sent: [{ bytes, side }], verdict } = b.in(about(arrived, IN_B))
  assert.deepEqual([verdict, side], ['inside', 'inside'])
  assert.equal(ends(bytes), B + ' > ' + IN_A)
  assert.equal(ends(bytes.slice(28)), IN_A + ':5000 > ' + B + ':2000')
  assert.deepEqual(verify(bytes), [])
})

test('errors about nothing of ours are dropped', () => {
  const b = box(), left = b.in(UDP).sent[0].bytes
  const stranger = buildPacket({ ...UDP, src: A, srcPort: 5001 })
  assert.equal(word(b.out(about(stranger, ROUTER))), 'icmp-error-no-flow')
  assert.equal(word(b.out(about(buildPacket({ ...UDP, src: A, dst: OUT_2 }), ROUTER))), 'icmp-error-no-flow')
  assert.equal(word(b.out(about(left, ROUTER, { dst: POOL.find(p => p !== A) }))), 'icmp-error-no-flow')
  assert.equal(word(b.in(about(buildPacket({ ...UDP, src: OUT_2, dst: IN_A }), IN_A))), 'icmp-error-no-flow')
  const late = buildPacket({ ...UDP, src: A, proto: 17, fragOffset: 8 })
  assert.equal(word(b.out(about(late, ROUTER))), 'icmp-error-no-flow')
  const error = about(left, A, { dst: OUT })
  assert.equal(word(b.out(about(error, ROUTER, { dst: A }))), 'icmp-error-no-flow')
})

test('a bad checksum or a bad quotation is named (RFC 5508 REQ-3)', () => {
  const b = box(), left = b.in(UDP).sent[0].bytes
  assert.equal(word(b.out(about(left, ROUTER, { checksum: 'wrong' }))), 'icmp-bad-checksum')
  assert.equal(word(b.out(about(left, ROUTER, { checksum: 'wrong' }), { capBytes: 60 })), 'inside')
  assert.equal(word(b.out(about(left, ROUTER, { quoteBytes: 27 }))), 'icmp-bad-error')
  assert.equal(word(b.out(about(left, ROUTER, { quoteBytes: 28 }))), 'inside')
  assert.equal(word(b.out(about(left, ROUTER), { capBytes: 55 })), 'icmp-bad-error')
  assert.equal(word(b.out(about(left, ROUTER), { capBytes: 56 })), 'inside')
  const bent = left.slice()
  bent[8]--
  assert.equal(word(b.out(about(bent, ROUTER))), 'icmp-bad-error')
})

test('an error touches no deadline (RFC 5508 REQ-10)', () => {
  const b = box(), left = b.in(UDP).sent[0].bytes
  b.nowMs = 299_999
  assert.equal(word(b.out(about(left, ROUTER))), 'inside')
  b.nowMs = 300_000
  assert.equal(word(b.out(about(left, ROUTER))), 'icmp-error-no-flow')
})

test('ICMPv6 errors pass when they are about a flow (RFC 4890 4.3.1)', () => {
  const b = box(), spec: PacketSpec = { ...UDP, src: IN6, dst: OUT6 }, left = b.in(spec).sent[0].bytes
  const error = icmpError({ src: '2001:db8::9', original: left, icmpType: 2, word: 1280 })
  const { sent: [{ bytes, side }] } = b.out(error)
  assert.equal(side, 'inside')
  assert.deepEqual(bytes.slice(8), error.slice(8))
  assert.deepEqual(verify(bytes), [])
  const stranger = buildPacket({ ...spec, srcPort: 1 })
  assert.equal(word(b.out(icmpError({ src: OUT6, original: stranger, icmpType: 1 }))), 'icmp-error-no-flow')
  const wrong = icmpError({ src: OUT6, original: left, icmpType: 1, checksum: 'wrong' })
  assert.equal(word(b.out(wrong)), 'icmp-bad-checksum')
})

test('our own errors are limited, and none is about an error (RFC 1812 4.3.2.7, 4.3.2.8)', () => {
  const b = box({ icmpErrorsPerSecond: 2 }), answers = () => b.in({ ...UDP, ttl: 1 }).sent.length
  assert.deepEqual([answers(), answers(), answers()], [1, 1, 0])
  b.nowMs = 499
  assert.equal(answers(), 0)
  b.nowMs = 500
  assert.deepEqual([answers(), answers()], [1, 0])
  b.nowMs = 100_000
  assert.deepEqual([answers(), answers(), answers()], [1, 1, 0])
  assert.equal(b.model.icmpSuppressed(), 4)
  const error = about(buildPacket(UDP), IN_A, { dst: OUT, ttl: 1 })
  assert.deepEqual([word(box().in(error)), box().in(error).sent.length], ['ttl-exceeded', 0])
})

test('our own errors are cut to 576 bytes, or 1280, and come from where they were asked (RFC 1812 4.3.2.3)', () => {
  const long = { ...UDP, ttl: 1, payload: new Uint8Array(1400) }
  const four = box().in(long).sent[0].bytes, six = box().in({ ...long, src: IN6, dst: OUT6 }).sent[0].bytes
  assert.deepEqual([four.length, six.length], [576, 1280])
  assert.deepEqual([verify(four), verify(six)], [[], []])
  const back = (dst: string, options = {}) => ends(box(options).out({ ...UDP, src: OUT, dst, ttl: 1 }).sent[0].bytes)
  assert.equal(back(POOL[1]), POOL[1] + ' > ' + OUT)
  assert.equal(back(IN_A, { nat44: false }), '192.0.0.8 > ' + OUT)
})

test('a spent TTL is answered only where the packet would have crossed the box', () => {
  const sent = (outcome: { sent: unknown[] }) => outcome.sent.length
  assert.equal(sent(box().in({ ...UDP, ttl: 1 })), 1)
  assert.equal(sent(box().in({ ...UDP, dst: IN_B, ttl: 1 })), 0)
  assert.equal(sent(box().out({ ...UDP, src: OUT, dst: POOL[0], ttl: 1 })), 1)
  assert.equal(sent(box().out({ ...UDP, src: OUT, dst: '192.0.2.1', ttl: 1 })), 0)
  assert.equal(sent(box().out({ ...UDP, src: OUT, dst: IN_A, ttl: 1 })), 0)
})

test('a packet is quoted as it came, but with the header checksum that was filled in', () => {
  const came = buildPacket({ ...UDP, ttl: 1, ipChecksum: 'zero' })
  assert.deepEqual(box().in(came).sent[0].bytes.slice(28), buildPacket({ ...UDP, ttl: 1 }))
})
