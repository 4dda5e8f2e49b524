/** RFC 5382 8, one requirement after the other, on the engine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkConfig, defaultConfig } from '../../src/app/config/load.ts'
import {
  FILTER_ADDRESS_AND_PORT_DEPENDENT, FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT,
} from '../../src/engine/options.ts'
import { icmpError, verify, type PacketSpec } from '../../src/wire/build.ts'
import { A, ACK, B, FIN, NAT, PSH, ROUTER, RST, SYN, X, Y, box, ends, sound, sourcePort, tcp, word, type Box } from './box.ts'

/** A segment of the connection of A and X, by the side that it comes from. */
const out = (flags: number, more: Partial<PacketSpec> = {}) => tcp(A, 5000, X, 80, flags, more)
const back = (flags: number, more: Partial<PacketSpec> = {}) => tcp(X, 80, NAT, 5000, flags, more)

type Segment = [way: 'out' | 'in', flags: number, seq: number, ack: number, payloadBytes?: number]

/** Sends segments by turns; each must pass with right checksums. Without ACK the field is 0. */
function pass(b: Box, segments: Segment[]): void {
  segments.forEach(([way, flags, seq, ack, payloadBytes = 0], n) => {
    const more = { seq, ack: (flags & ACK) !== 0 ? ack : 0, payload: new Uint8Array(payloadBytes) }
    const outcome = way === 'out' ? b.in(out(flags, more)) : b.out(back(flags, more))
    assert.equal(word(outcome), way === 'out' ? 'outside' : 'inside', `segment ${n}`)
    sound(outcome)
  })
}

const OPEN: Segment[] = [['out', SYN, 100, 0], ['in', SYN | ACK, 900, 101], ['out', ACK, 101, 901]]

// @req RFC5382 REQ-1
test('all destinations see one outside endpoint of an inside TCP endpoint (RFC 5382 REQ-1)', () => {
  for (const portPreservation of [true, false]) {
    const b = box({ portPreservation })
    const seen = new Set<number>()
    for (let n = 0; n < 200; n++) seen.add(sourcePort(b.in(tcp(A, 5000, `198.51.100.${n}`, 1 + n, SYN))))
    assert.equal(seen.size, 1)
  }
})

// @req RFC5382 REQ-2
test('connections open, carry data both ways, close from either side or both, and open again (RFC 5382 REQ-2)', () => {
  const data: Segment[] = [['out', ACK | PSH, 101, 901, 10], ['in', ACK, 901, 111], ['in', ACK | PSH, 901, 111, 1000], ['out', ACK, 111, 1901]]
  const closes: Segment[][] = [
    [['out', FIN | ACK, 111, 1901], ['in', ACK, 1901, 112], ['in', ACK | PSH, 1901, 112, 20], ['out', ACK, 112, 1921], ['in', FIN | ACK, 1921, 112], ['out', ACK, 112, 1922]],
    [['in', FIN | ACK, 1901, 111], ['out', ACK, 111, 1902], ['out', ACK | PSH, 111, 1902, 20], ['in', ACK, 1902, 131], ['out', FIN | ACK, 131, 1902], ['in', ACK, 1902, 132]],
    [['out', FIN | ACK, 111, 1901], ['in', FIN | ACK, 1901, 111], ['out', ACK, 112, 1902], ['in', ACK, 1902, 112]],
    [['out', RST | ACK, 111, 1901]],
    [['in', RST | ACK, 1901, 111]],
  ]
  for (const close of closes) pass(box(), [...OPEN, ...data, ...close])
  // TIME-WAIT may be left by a new SYN, RFC 1122 4.2.2.13.
  pass(box(), [...OPEN, ...data, ...closes[0], ['out', SYN, 5000, 0], ['in', SYN | ACK, 9000, 5001], ['out', ACK, 5001, 9001]])
  // A SYN that is lost on the way is sent again, and a SYN-ACK too.
  pass(box(), [['out', SYN, 100, 0], ['out', SYN, 100, 0], ['in', SYN | ACK, 900, 101], ['in', SYN | ACK, 900, 101], ['out', ACK, 101, 901]])
})

// @req RFC5382 REQ-2
test('a connection that is opened from outside passes where the filter permits it (RFC 5382 REQ-2)', () => {
  const b = box({ filtering: FILTER_ENDPOINT_INDEPENDENT })
  b.in(tcp(A, 5000, Y, 80, SYN))
  pass(b, [['in', SYN, 900, 0], ['out', SYN | ACK, 100, 901], ['in', ACK, 901, 101], ['in', ACK | PSH, 901, 101, 50], ['out', ACK, 101, 951],
    ['out', FIN | ACK, 101, 951], ['in', FIN | ACK, 951, 102], ['out', ACK, 102, 952]])
})

// @req RFC5382 REQ-2a
test('a connection opens from both ends at once, whichever SYN the box sees first (RFC 5382 REQ-2a)', () => {
  const answers: Segment[] = [['out', SYN | ACK, 100, 901], ['in', SYN | ACK, 900, 101], ['out', ACK, 101, 901], ['in', ACK, 901, 101],
    ['out', ACK | PSH, 101, 901, 5], ['in', ACK, 901, 106]]
  const first = box()
  pass(first, [['out', SYN, 100, 0], ['in', SYN, 900, 0], ...answers])
  const second = box({ filtering: FILTER_ENDPOINT_INDEPENDENT })
  second.in(tcp(A, 5000, Y, 80, SYN))
  pass(second, [['in', SYN, 900, 0], ['out', SYN, 100, 0], ...answers])
  for (const b of [first, second]) {
    b.nowMs = 7_439_999
    assert.equal(word(b.out(back(ACK, { seq: 901, ack: 106 }))), 'inside', 'it is established')
  }
})

// @req RFC5382 REQ-3, REQ-3a, REQ-3b
test('the TCP filter is address-dependent, or of the other two kinds by its setting (RFC 5382 REQ-3, REQ-3a)', () => {
  for (const [filtering, otherPort, otherHost] of [
    [FILTER_ENDPOINT_INDEPENDENT, 'inside', 'inside'], [FILTER_ADDRESS_DEPENDENT, 'inside', 'filtered'],
    [FILTER_ADDRESS_AND_PORT_DEPENDENT, 'filtered', 'filtered'],
  ] as const) {
    const b = box({ filtering })
    b.in(out(SYN))
    assert.equal(word(b.out(tcp(X, 80, NAT, 5000, SYN | ACK))), 'inside')
    assert.equal(word(b.out(tcp(X, 81, NAT, 5000, SYN))), otherPort)
    assert.equal(word(b.out(tcp(Y, 80, NAT, 5000, SYN))), otherHost)
  }
})

// @req RFC5382 REQ-4a
test('an unsolicited SYN from outside is dropped in silence (RFC 5382 REQ-4, REQ-4a)', () => {
  const b = box()
  b.in(tcp(A, 5000, Y, 80, SYN))
  for (const port of [5000, 5001]) {
    const { verdict, reason, extras } = b.out(tcp(X, 80, NAT, port, SYN))
    assert.deepEqual([verdict, extras.length], [0, 0])
    assert.equal(reason, port === 5000 ? 'filtered' : 'no-mapping')
  }
  // The SYN of the other side opens the connection, which goes on.
  pass(b, [['out', SYN, 100, 0], ['in', SYN, 900, 0], ['out', SYN | ACK, 100, 901], ['in', ACK, 901, 101]])
})

// @req RFC5382 REQ-5
test('open connections live 2 h 4 min in silence, half-open and closing ones 4 min, to the millisecond (RFC 5382 REQ-5)', () => {
  for (const [segments, lifeMs] of [
    [OPEN.slice(0, 1), 240_000], [OPEN, 7_440_000],
    [[...OPEN, ['out', FIN | ACK, 101, 901] satisfies Segment], 7_440_000],
    [[...OPEN, ['out', FIN | ACK, 101, 901] satisfies Segment, ['in', FIN | ACK, 901, 102] satisfies Segment], 240_000],
  ] as const) {
    for (const late of [-1, 0, 1]) {
      const b = box()
      pass(b, [...segments])
      b.engine.expire(lifeMs + late)
      assert.equal(b.count('flows-current'), late < 0 ? 1 : 0, `${segments.length} segments, ${late} ms late`)
    }
  }
})

// @req RFC5382 REQ-5, REQ-5a
test('TCP timers can be configured, but not below what the RFC says (RFC 5382 REQ-5, REQ-5a)', () => {
  const { tcpEstablishedMs, tcpOpeningMs, tcpClosingMs } = defaultConfig().timers
  assert.deepEqual([tcpEstablishedMs, tcpOpeningMs, tcpClosingMs], [7_440_000, 240_000, 240_000])
  const longer = checkConfig('timers:\n  tcp-established: 5h\n  tcp-opening: 9m\n  tcp-closing: 10m\n').config!.timers
  assert.deepEqual([longer.tcpEstablishedMs, longer.tcpOpeningMs, longer.tcpClosingMs], [18_000_000, 540_000, 600_000])
  assert.match(checkConfig('timers:\n  tcp-established: 2h3m59s\n').problems[0].message, /RFC 5382 REQ-5/)
})

// @req RFC5382 REQ-6
test('a payload that names addresses leaves as it came: there is no application gateway for TCP (RFC 5382 REQ-6)', () => {
  const b = box()
  const payload = new TextEncoder().encode('PORT 10,0,0,1,19,136\r\n')
  for (const port of [21, 554, 1720, 1723, 5060]) {
    b.in(tcp(A, port, X, port, SYN))
    b.out(tcp(X, port, NAT, port, SYN | ACK, { ack: 1 }))
    assert.deepEqual(sound(b.in(tcp(A, port, X, port, ACK | PSH, { seq: 1, ack: 1, payload }))).slice(40), payload)
  }
})

// @req RFC5382 REQ-7
test('an outside TCP port belongs to one inside endpoint at a time (RFC 5382 REQ-7)', () => {
  const b = box({ portLow: 1024, portHigh: 1123 })
  const ports = new Set<number>()
  for (let n = 0; n < 100; n++) ports.add(sourcePort(b.in(tcp(`10.0.1.${n}`, 5000, n % 2 === 0 ? X : Y, 80, SYN))))
  assert.equal(ports.size, 100)
  assert.equal(word(b.in(tcp('10.0.2.1', 5000, X, 80, SYN))), 'no-outside-port')
})

// @req RFC5382 REQ-8, REQ-8a
test('inside hosts connect to each other by outside endpoints, and are seen as those (RFC 5382 REQ-8, REQ-8a)', () => {
  const b = box({ filtering: FILTER_ENDPOINT_INDEPENDENT })
  b.in(tcp(B, 2000, X, 80, SYN))
  assert.equal(ends(sound(b.in(tcp(A, 3000, NAT, 2000, SYN, { seq: 10 })))), `${NAT}:3000 > ${B}:2000`)
  assert.equal(ends(sound(b.in(tcp(B, 2000, NAT, 3000, SYN | ACK, { seq: 20, ack: 11 })))), `${NAT}:2000 > ${A}:3000`)
  assert.equal(ends(sound(b.in(tcp(A, 3000, NAT, 2000, ACK, { seq: 11, ack: 21 })))), `${NAT}:3000 > ${B}:2000`)
})

// @req RFC5382 REQ-9
test('destination unreachable about a segment reaches its sender, with the segment as it was sent (RFC 5382 REQ-9)', () => {
  for (let icmpCode = 0; icmpCode < 16; icmpCode++) {
    const b = box({ portPreservation: false })
    const sent = sound(b.in(out(SYN, { seq: 100 })))
    const outcome = b.out(icmpError({ src: ROUTER, original: sent, icmpType: 3, icmpCode, word: icmpCode === 4 ? 1400 : 0 }))
    const bytes = sound(outcome)
    assert.equal(`${bytes.slice(12, 16).join('.')} > ${bytes.slice(16, 20).join('.')}`, `${ROUTER} > ${A}`)
    assert.deepEqual([...bytes.slice(20, 22)], [3, icmpCode])
    assert.equal(ends(bytes.slice(28)), `${A}:5000 > ${X}:80`)
  }
})

// @req RFC5382 REQ-10
test('no ICMP message ends a TCP mapping or connection (RFC 5382 REQ-10)', () => {
  const b = box()
  pass(b, OPEN)
  const sent = sound(b.in(out(ACK | PSH, { seq: 101, ack: 901, payload: new Uint8Array(5) })))
  for (let icmpType = 0; icmpType < 256; icmpType++) {
    for (let icmpCode = 0; icmpCode < 16; icmpCode++) {
      const { bytes } = b.out(icmpError({ src: X, original: sent, icmpType, icmpCode }))
      if (bytes !== null) assert.deepEqual(verify(bytes), [])
    }
  }
  pass(b, [['in', ACK, 901, 106]])
  b.nowMs = 7_439_999
  pass(b, [['in', ACK, 901, 106]])
})
