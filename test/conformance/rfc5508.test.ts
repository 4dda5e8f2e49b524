/** RFC 5508 9, one requirement after the other, on the engine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkConfig, defaultConfig } from '../../src/app/config/load.ts'
import { FILTER_ENDPOINT_INDEPENDENT } from '../../src/engine/options.ts'
import { buildPacket, icmpError, verify, type PacketSpec } from '../../src/wire/build.ts'
import { A, B, C, NAT, ROUTER, SYN, X, Y, box, echo, ends, reply, sound, sourcePort, tcp, udp, word, type Box } from './box.ts'

const TIMESTAMP = 13, TIMESTAMP_REPLY = 14
/** Inside router, between the box and A. */
const INNER = '10.9.9.9'

const addresses = (bytes: Uint8Array) => `${bytes.slice(12, 16).join('.')} > ${bytes.slice(16, 20).join('.')}`
const quoted = (bytes: Uint8Array) => bytes.slice((bytes[0] & 15) * 4 + 8)
const fieldOf = (bytes: Uint8Array, at: number) => bytes[at] << 8 | bytes[at + 1]

/** A box in which A has sent a packet to X, and that packet as it left. */
function withFlow(spec: PacketSpec, changes = {}): { b: Box; sent: Uint8Array } {
  const b = box({ portPreservation: false, ...changes })
  return { b, sent: b.in(spec).bytes! }
}

const FLOWS: PacketSpec[] = [
  udp(A, 5000, X, 53), tcp(A, 5000, X, 80, SYN), echo(A, X, 7), { ...udp(A, 5000, X, 53), proto: 'udplite' },
  { proto: 47, src: A, dst: X, payload: new Uint8Array(24) },
]

// @req RFC5508 REQ-1, REQ-10a3
// @req RFC5508 REQ-10b2
test('queries from inside leave and their answers come back: echo and timestamp (RFC 5508 REQ-1, REQ-10)', () => {
  for (const [query, answer] of [[8, 0], [TIMESTAMP, TIMESTAMP_REPLY]]) {
    const { b, sent } = withFlow({ ...echo(A, X, 7), icmpType: query, payload: new Uint8Array(12) })
    const icmpId = fieldOf(sent, 24)
    const back = b.out({ ...reply(X, NAT, icmpId), icmpType: answer, icmpSeq: 3, payload: new Uint8Array(12) })
    assert.equal(addresses(sound(back)), `${X} > ${A}`)
    assert.equal(fieldOf(back.bytes!, 24), 7)
    assert.equal(word(b.out({ ...reply(X, NAT, icmpId ^ 1), icmpType: answer })), 'no-mapping')
  }
  assert.equal(word(box({ outboundPermit: false }).in(echo(A, X, 7))), 'denied', 'unless policy forbids it')
})

// @req RFC5508 REQ-1a
test('an identifier is mapped alike for all hosts that are asked (RFC 5508 REQ-1a)', () => {
  const { b, sent } = withFlow(echo(A, X, 7))
  for (let n = 0; n < 50; n++) assert.equal(fieldOf(sound(b.in(echo(A, `192.0.2.${n}`, 7))), 24), fieldOf(sent, 24))
})

// @req RFC5508 REQ-2
test('a query session is there to the last millisecond of its timer, and no longer (RFC 5508 REQ-2)', () => {
  for (const late of [-1, 0, 1]) {
    const b = box()
    b.in(echo(A, X, 7))
    b.nowMs = 60_000 + late
    assert.equal(word(b.out(reply(X, NAT, 7))), late < 0 ? 'inside' : 'no-mapping')
  }
})

// @req RFC5508 REQ-2, REQ-2a
test('the query timer can be configured, but not below a minute (RFC 5508 REQ-2, REQ-2a)', () => {
  assert.equal(defaultConfig().timers.icmpQueryMs, 60_000)
  assert.equal(checkConfig('timers:\n  icmp-query: 5m\n').config!.timers.icmpQueryMs, 300_000)
  assert.match(checkConfig('timers:\n  icmp-query: 59s\n').problems[0].message, /RFC 5508 REQ-2/)
})

// @req RFC5508 REQ-3
test('an error with a wrong checksum is dropped in silence (RFC 5508 REQ-3)', () => {
  const { b, sent } = withFlow(FLOWS[0])
  const outcome = b.out(icmpError({ src: ROUTER, original: sent, icmpType: 3, checksum: 'wrong' }))
  assert.deepEqual([word(outcome), outcome.extras.length], ['icmp-bad-checksum', 0])
})

// @req RFC5508 REQ-3a
test('an error that quotes a wrong IP checksum is dropped in silence (RFC 5508 REQ-3a)', () => {
  const { b, sent } = withFlow(FLOWS[0])
  const bent = sent.slice()
  bent[10] ^= 1
  const outcome = b.out(icmpError({ src: ROUTER, original: bent, icmpType: 3 }))
  assert.deepEqual([word(outcome), outcome.extras.length], ['icmp-bad-error', 0])
})

// @req RFC5508 REQ-3b
test('IP options of the quoted packet are stepped over (RFC 5508 REQ-3b)', () => {
  const timestamps = Uint8Array.of(68, 36, 5, 0, ...new Uint8Array(32))
  for (const spec of FLOWS) {
    const { b, sent } = withFlow({ ...spec, options: timestamps })
    const bytes = sound(b.out(icmpError({ src: ROUTER, original: sent, icmpType: 11 })))
    assert.deepEqual(quoted(bytes), buildPacket({ ...spec, options: timestamps, ttl: 63 }))
  }
})

// @req RFC5508 REQ-3c
test('the transport checksum of the quoted packet is not checked, and a wrong one stays as wrong (RFC 5508 REQ-3c)', () => {
  for (const spec of FLOWS.slice(0, 3)) {
    const { b, sent } = withFlow({ ...spec, checksum: 'wrong' })
    const { bytes, reason } = b.out(icmpError({ src: ROUTER, original: sent, icmpType: 3 }))
    assert.equal(reason, null)
    assert.deepEqual(quoted(bytes!), buildPacket({ ...spec, checksum: 'wrong', ttl: 63 }))
  }
})

// @req RFC5508 REQ-3d
test('padding and extensions behind the quoted packet stay, and do not count for its checksum (RFC 5508 REQ-3d)', () => {
  const labels = Uint8Array.of(0x20, 0, 0xdf, 0xff, 0, 8, 1, 1, 1, 2, 3, 4)     // RFC 4950: one label
  for (const spec of FLOWS) {
    const { b, sent } = withFlow(spec)
    const error = icmpError({ src: ROUTER, original: sent, icmpType: 11, multipart: labels })
    const bytes = sound(b.out(error))
    assert.deepEqual(quoted(bytes).slice(0, sent.length), buildPacket({ ...spec, ttl: 63 }))
    assert.deepEqual(quoted(bytes).slice(sent.length), error.slice(28 + sent.length), 'padding and extensions')
  }
})

// @req RFC5508 REQ-4, REQ-4a, REQ-4b, REQ-4c
test('an error from outside goes to the inside host, type and code as they were, the quote as it was sent (RFC 5508 REQ-4)', () => {
  for (const spec of FLOWS) {
    for (const icmpType of [3, 11, 12]) {
      for (let icmpCode = 0; icmpCode < 16; icmpCode++) {
        const { b, sent } = withFlow(spec)
        const bytes = sound(b.out(icmpError({ src: ROUTER, original: sent, icmpType, icmpCode, word: 1400 })))
        assert.equal(addresses(bytes), `${ROUTER} > ${A}`)
        assert.deepEqual([...bytes.slice(20, 22)], [icmpType, icmpCode])
        assert.equal(fieldOf(bytes, 26), 1400, 'the rest of the header')
        assert.deepEqual(quoted(bytes), buildPacket({ ...spec, ttl: 63 }))
      }
    }
  }
})

// @req RFC5508 REQ-4
test('an error from outside about no mapping is dropped in silence (RFC 5508 REQ-4)', () => {
  const { b, sent } = withFlow(FLOWS[0], { portPreservation: true })
  for (const original of [buildPacket(udp(NAT, 5001, X, 53)), buildPacket(udp(NAT, 5000, Y, 53)), buildPacket(udp(NAT, 5000, X, 54))]) {
    const outcome = b.out(icmpError({ src: ROUTER, original, icmpType: 3 }))
    assert.deepEqual([word(outcome), outcome.extras.length], ['icmp-error-no-flow', 0])
  }
  assert.equal(word(b.out(icmpError({ src: ROUTER, original: sent, icmpType: 3 }))), 'inside')
})

// @req RFC5508 REQ-5, REQ-5a, REQ-5b, REQ-5c
test('an error from inside leaves from the outside address, type and code as they were, the quote as it came (RFC 5508 REQ-5)', () => {
  for (const spec of FLOWS.slice(0, 3)) {
    for (const src of [A, INNER]) {
      const { b, sent } = withFlow(spec)
      const answer: PacketSpec = spec.proto === 'icmp' ? reply(X, NAT, fieldOf(sent, 24))
        : { ...spec, src: X, dst: NAT, srcPort: spec.dstPort!, dstPort: fieldOf(sent, 20), ...spec.proto === 'tcp' && { tcpFlags: 18, ack: 1 } }
      const came = sound(b.out(answer))
      const bytes = sound(b.in(icmpError({ src, original: came, icmpType: 3, icmpCode: 3 })))
      assert.equal(addresses(bytes), `${NAT} > ${X}`)
      assert.deepEqual([...bytes.slice(20, 22)], [3, 3])
      assert.deepEqual(quoted(bytes), buildPacket({ ...answer, ttl: 63 }))
    }
  }
})

// @req RFC5508 REQ-5
test('an error from inside about no mapping is dropped in silence (RFC 5508 REQ-5)', () => {
  const { b } = withFlow(FLOWS[0])
  const outcome = b.in(icmpError({ src: A, original: buildPacket(udp(Y, 53, A, 5000)), icmpType: 3 }))
  assert.deepEqual([word(outcome), outcome.extras.length], ['icmp-error-no-flow', 0])
})

// @req RFC5508 REQ-6
test('an error about a query neither prolongs nor ends its session (RFC 5508 REQ-6)', () => {
  const { b, sent } = withFlow(echo(A, X, 7))
  const error = icmpError({ src: ROUTER, original: sent, icmpType: 3, icmpCode: 1 })
  b.nowMs = 59_999
  assert.equal(word(b.out(error)), 'inside')
  assert.equal(word(b.out(error)), 'inside', 'it did not end the session')
  b.nowMs = 60_000
  assert.equal(word(b.out(error)), 'icmp-error-no-flow', 'it did not prolong it')
})

// @req RFC5508 REQ-7, REQ-7a
// @req RFC7857 12b
test('an error about a hairpinned packet reaches its inside sender (RFC 5508 REQ-7, REQ-7a)', () => {
  const b = box({ filtering: FILTER_ENDPOINT_INDEPENDENT, portPreservation: false })
  const outsideB = sourcePort(b.in(udp(B, 2000, X, 53)))
  const came = sound(b.in(udp(A, 5000, NAT, outsideB)))
  for (const src of [B, INNER]) {
    const outcome = b.in(icmpError({ src, original: came, icmpType: 3, icmpCode: 3 }))
    assert.equal(word(outcome), 'inside')
    const bytes = sound(outcome)
    assert.equal(addresses(bytes), `${NAT} > ${A}`)
    assert.equal(ends(quoted(bytes)), `${A}:5000 > ${NAT}:${outsideB}`)
  }
})

// @req RFC5508 REQ-8
// @req RFC6888 REQ-11a
test('a flow that cannot be opened is answered with unreachable code 13 (RFC 5508 REQ-8)', () => {
  const full = box({ portLow: 1024, portHigh: 1024 })
  full.in(udp(A, 1024, X, 53))
  for (const [outcome, reason] of [
    [box({ outboundPermit: false }).in(udp(A, 5000, X, 53)), 'denied'],
    [box({ outboundPermit: false }).in(tcp(A, 5000, X, 80, SYN)), 'denied'],
    [box({ outboundPermit: false }).in(echo(A, X, 7)), 'denied'],
    [full.in(udp(B, 1024, X, 53)), 'no-outside-port'],
  ] as const) {
    assert.equal(word(outcome), reason)
    assert.equal(outcome.extras.length, 1)
    const { bytes } = outcome.extras[0]
    assert.deepEqual(verify(bytes), [])
    assert.deepEqual([...bytes.slice(20, 22)], [3, 13])
  }
})

// @req RFC5508 REQ-9
test('with a rate of 0 the box sends no ICMP of its own (RFC 5508 REQ-9)', () => {
  assert.equal(checkConfig('limits:\n  icmp-errors-per-second: 0\n').config!.limits.icmpErrorsPerSecond, 0)
  const b = box({ icmpErrorsPerSecond: 0, outboundPermit: false })
  assert.equal(b.in(udp(A, 5000, X, 53)).extras.length, 0)
  assert.equal(b.in(udp(A, 5000, X, 53, { ttl: 1 })).extras.length, 0)
  assert.equal(b.out(udp(X, 53, NAT, 5000, { ttl: 1 })).extras.length, 0)
})

// @req RFC5508 REQ-10a2
test('a spent TTL is answered with time exceeded, both ways (RFC 5508 REQ-10a2)', () => {
  const b = box()
  b.in(udp(A, 5000, X, 53))
  for (const [outcome, to] of [[b.in(udp(A, 5000, X, 53, { ttl: 1 })), A], [b.out(udp(X, 53, NAT, 5000, { ttl: 1 })), X]] as const) {
    assert.equal(word(outcome), 'ttl-exceeded')
    const { bytes } = outcome.extras[0]
    assert.deepEqual(verify(bytes), [])
    assert.equal(bytes.slice(16, 20).join('.'), to)
    assert.deepEqual([...bytes.slice(20, 22)], [11, 0])
  }
})

// @req RFC5508 REQ-10b1, REQ-10b4, REQ-10b6
// @req RFC5508 REQ-10c1, REQ-10c2, REQ-11
test('what is neither query nor error is dropped in silence: redirect, router discovery, source quench, information, mask (RFC 5508 REQ-10, REQ-11)', () => {
  const b = box()
  b.in(echo(A, X, 7))
  for (let icmpType = 0; icmpType < 256; icmpType++) {
    if ([0, 3, 8, 11, 12, TIMESTAMP, TIMESTAMP_REPLY].includes(icmpType)) continue
    for (const outcome of [b.in({ ...echo(A, X, 7), icmpType }), b.out({ ...echo(X, NAT, 7), icmpType })]) {
      assert.deepEqual([word(outcome), outcome.extras.length], ['icmp-not-forwarded', 0], `type ${icmpType}`)
    }
  }
})

// @req RFC5508 REQ-10b3
test('a source route stops an ICMP message, in its own header and in the one that it quotes (RFC 5508 REQ-10b3, 7.3)', () => {
  for (const kind of [131, 137]) {
    const options = Uint8Array.of(1, kind, 7, 4, 10, 0, 0, 9)
    assert.equal(word(box().in(echo(A, X, 7, { options }))), 'ipv4-source-route')
    const b = box()
    b.in(udp(A, 5000, X, 53))
    const quote = buildPacket(udp(X, 53, A, 5000, { options }))
    assert.equal(word(b.in(icmpError({ src: A, original: quote, icmpType: 3 }))), 'ipv4-source-route')
    assert.equal(word(b.out(icmpError({ src: ROUTER, original: buildPacket(udp(NAT, 5000, X, 53, { options })), icmpType: 3 }))), 'ipv4-source-route')
  }
})

// @req RFC5508 REQ-10b5
test('parameter problem is translated like other errors (RFC 5508 REQ-10b5)', () => {
  const { b, sent } = withFlow(FLOWS[0])
  const bytes = sound(b.out(icmpError({ src: ROUTER, original: sent, icmpType: 12, word: 20 << 24 })))
  assert.equal(bytes[24], 20, 'the pointer')
})

// @req RFC5508 REQ-10d
test('an error of the box has the class of the packet that it is about, without its ECN bits (RFC 5508 REQ-10d, 7.7)', () => {
  for (const tos of [0, 0xb8, 0x2e, 0xff, 0x03]) {
    const b = box({ outboundPermit: false })
    for (const spec of [udp(A, 5000, X, 53, { tos, ttl: 1 }), udp(A, 5000, X, 53, { tos })]) {
      const { bytes } = b.in(spec).extras[0]
      assert.equal(bytes[1], tos & 0xfc)
      assert.deepEqual(verify(bytes), [])
    }
  }
})

// @req RFC5508 REQ-10e
test('no error about an ICMP error, a later fragment, a group, or a source that is no host (RFC 5508 REQ-10e, RFC 1812 4.3.2.7)', () => {
  const b = box({ outboundPermit: false })
  const silent: PacketSpec[] = [
    { proto: 17, src: A, dst: X, id: 9, fragOffset: 64, ttl: 1, payload: new Uint8Array(8) },
    udp(A, 5000, '224.0.0.5', 53, { ttl: 1 }), udp(A, 5000, '255.255.255.255', 53, { ttl: 1 }),
    udp('0.0.0.0', 68, X, 67, { ttl: 1 }), udp('127.0.0.1', 5000, X, 53, { ttl: 1 }), udp('224.0.0.1', 5000, X, 53, { ttl: 1 }),
    udp('255.255.255.255', 5000, X, 53, { ttl: 1 }),
  ]
  for (const spec of silent) assert.equal(b.in(spec).extras.length, 0, JSON.stringify(spec))
  for (const icmpType of [3, 4, 5, 11, 12]) {
    assert.equal(b.in(icmpError({ src: A, original: buildPacket(udp(X, 53, A, 5000)), icmpType, ttl: 1 })).extras.length, 0)
  }
  assert.equal(b.in(udp(A, 5000, X, 53, { ttl: 1 })).extras.length, 1, 'and one about a whole packet')
})

// @req RFC5508 REQ-10f
test('errors of the box are limited in rate, and the rest is counted (RFC 5508 REQ-10f)', () => {
  assert.equal(defaultConfig().limits.icmpErrorsPerSecond, 100)
  const b = box()
  let n = 0
  for (let ms = 0; ms < 10_000; ms += 2) {
    b.nowMs = ms
    n += b.in(udp(C, 5000, X, 53, { ttl: 1 })).extras.length
  }
  assert.equal(n, 100 + 999, 'a burst of a second, then the rate')
  assert.equal(b.count('icmp-errors-suppressed'), 5000 - n)
})
