/** RFC 7857, one section after the other, on the engine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkConfig, defaultConfig } from '../../src/app/config/load.ts'
import { FILTER_ENDPOINT_INDEPENDENT } from '../../src/engine/options.ts'
import { icmpError } from '../../src/wire/build.ts'
import { A, ACK, B, FIN, NAT, RST, SYN, X, Y, box, echo, ends, sound, sourcePort, tcp, udp, word, type Box } from './box.ts'

const EIF = { filtering: FILTER_ENDPOINT_INDEPENDENT }

function opened(b: Box): Box {
  b.in(tcp(A, 5000, X, 80, SYN, { seq: 100 }))
  b.out(tcp(X, 80, NAT, 5000, SYN | ACK, { seq: 900, ack: 101 }))
  b.in(tcp(A, 5000, X, 80, ACK, { seq: 101, ack: 901 }))
  return b
}

// @req RFC7857 2.1b, 2.1c
test('opening and closing have 4 min unless configured; the former may be configured below that, the latter not (RFC 7857 2.1)', () => {
  const { tcpOpeningMs, tcpClosingMs } = defaultConfig().timers
  assert.deepEqual([tcpOpeningMs, tcpClosingMs], [240_000, 240_000])
  assert.equal(checkConfig('timers:\n  tcp-opening: 30s\n').config?.timers.tcpOpeningMs, 30_000)
  assert.match(checkConfig('timers:\n  tcp-closing: 3m59s\n').problems[0].message, /RFC 5382 REQ-5/)
})

// @req RFC7857 2.2a, 2.2b
test('an RST is translated, and its session stays for 4 min to the millisecond, or goes on (RFC 7857 2.2)', () => {
  for (const way of ['out', 'in'] as const) {
    for (const late of [-1, 0, 1]) {
      const b = opened(box())
      b.nowMs = 10_000
      const rst = way === 'out' ? b.in(tcp(A, 5000, X, 80, RST, { seq: 101 })) : b.out(tcp(X, 80, NAT, 5000, RST, { seq: 901 }))
      assert.equal(word(rst), way === 'out' ? 'outside' : 'inside')
      assert.equal(ends(sound(rst)), way === 'out' ? `${NAT}:5000 > ${X}:80` : `${X}:80 > ${A}:5000`)
      b.nowMs += 240_000 + late
      assert.equal(word(b.out(tcp(X, 80, NAT, 5000, ACK, { seq: 901, ack: 101 }))), late < 0 ? 'inside' : 'no-mapping')
      if (late >= 0) continue
      // The segment that came brought the connection back.
      b.nowMs += 7_439_999
      assert.equal(word(b.out(tcp(X, 80, NAT, 5000, ACK, { seq: 901, ack: 101 }))), 'inside')
    }
  }
})

// @req RFC7857 3
test('two inside endpoints never share an outside port, even for different destinations (RFC 7857 3)', () => {
  const b = box({ portLow: 5000, portHigh: 5000 })
  assert.equal(sourcePort(b.in(udp(A, 5000, X, 53))), 5000)
  assert.equal(word(b.in(udp(B, 5000, Y, 53))), 'no-outside-port')
})

// @req RFC7857 4a, 4b, 4c
test('a host whose outside address has no port left gets none from another one (RFC 7857 4)', () => {
  const b = box({ pool: [1, 2, 3, 4].map(last => 0xcb007100 | last), portLow: 1024, portHigh: 1033 })
  for (const spec of [udp(A, 0, X, 53), tcp(A, 0, X, 80, SYN)]) {
    const from = new Set<string>()
    for (let n = 0; n < 10; n++) from.add(sound(b.in({ ...spec, srcPort: 5000 + n })).slice(12, 16).join('.'))
    assert.equal(from.size, 1)
    assert.equal(word(b.in({ ...spec, srcPort: 5010 })), 'no-outside-port')
  }
  assert.equal(word(b.in(echo(A, X, 7))), 'outside', 'identifiers are apart')
})

// @req RFC7857 5a, 5b
test('UDP, TCP and ICMP have mappings of their own (RFC 7857 5)', () => {
  const b = box({ portLow: 2000, portHigh: 2001 })
  assert.equal(sourcePort(b.in(udp(A, 5000, X, 53))), 2000)
  assert.equal(sourcePort(b.in(udp(B, 5000, X, 53))), 2001)
  assert.equal(word(b.in(udp('10.0.0.9', 5000, X, 53))), 'no-outside-port')
  assert.equal(sourcePort(b.in(tcp('10.0.0.9', 5000, X, 80, SYN))), 2000, 'TCP has all its ports still')
  assert.equal(b.count('mappings-opened'), 3)
})

// @req RFC7857 6a, 6b
test('a mapping of one protocol lets no other in (RFC 7857 6)', () => {
  const b = box(EIF)
  b.in(tcp(A, 5000, X, 80, SYN))
  assert.equal(word(b.out(udp(Y, 53, NAT, 5000))), 'no-mapping')
  assert.equal(word(b.out(echo(Y, NAT, 5000))), 'no-mapping')
  assert.equal(word(b.out(tcp(Y, 53, NAT, 5000, SYN))), 'inside')
  b.in(udp(B, 6000, X, 53))
  assert.equal(word(b.out(tcp(Y, 53, NAT, 6000, SYN))), 'no-mapping')
})

// @req RFC7857 7a, 7b
test('what the filter or the policy stops does not prolong the mapping (RFC 7857 7)', () => {
  const filtered = box()
  filtered.in(udp(A, 5000, X, 53))
  filtered.nowMs = 299_999
  assert.equal(word(filtered.out(udp(Y, 53, NAT, 5000))), 'filtered')
  filtered.nowMs = 300_000
  assert.equal(word(filtered.out(udp(X, 53, NAT, 5000))), 'no-mapping')
  // Endpoint-independent: all may come in, but a connection begins with a SYN.
  const strict = box({ ...EIF, tcpMidstream: false })
  strict.in(tcp(A, 5000, X, 80, SYN))
  strict.nowMs = 239_999
  for (const flags of [ACK, RST, FIN | ACK, SYN | ACK]) assert.equal(word(strict.out(tcp(Y, 80, NAT, 5000, flags))), 'tcp-midstream')
  strict.nowMs = 240_000
  assert.equal(word(strict.out(tcp(Y, 80, NAT, 5000, SYN))), 'no-mapping')
})

// @req RFC7857 7.1b
test('ICMP errors from inside do not prolong the mapping, packets do whatever they carry (RFC 7857 7.1)', () => {
  const b = box()
  b.in(udp(A, 5000, X, 53))
  const came = sound(b.out(udp(X, 53, NAT, 5000)))
  b.nowMs = 299_999
  assert.equal(word(b.in(icmpError({ src: A, original: came, icmpType: 3, icmpCode: 3 }))), 'outside')
  b.nowMs = 300_000
  assert.equal(word(b.out(udp(X, 53, NAT, 5000))), 'no-mapping')
  // A binding error response of STUN.
  const refusal = Uint8Array.of(1, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42, ...new Uint8Array(12))
  b.in(udp(A, 5000, X, 53))
  b.nowMs += 299_999
  b.in(udp(A, 5000, X, 53, { payload: refusal }))
  b.nowMs += 299_999
  assert.equal(word(b.out(udp(X, 53, NAT, 5000))), 'inside')
})

// @req RFC7857 8a
test('dynamic mappings keep the parity of their port (RFC 7857 8)', () => {
  const b = box({ portPreservation: false })
  for (let port = 5000; port < 5100; port++) assert.equal(sourcePort(b.in(udp(A, port, X, 53))) % 2, port % 2)
})

/** How far apart ports of successive mappings lie, least first. */
function steps(ports: number[]): number[] {
  return ports.slice(1).map((port, n) => Math.abs(port - ports[n])).sort((p, q) => p - q)
}

// @req RFC7857 9a, 9b, 9c
test('ports are kept while they are free; those that are not are drawn from the whole range, by another seed others (RFC 7857 9)', () => {
  for (const changes of [{ portPreservation: false }, {}]) {
    const drawn = [1, 2].map((seed) => {
      const b = box({ seed, flows: 4096, ...changes })
      if (changes.portPreservation === undefined) assert.equal(sourcePort(b.in(udp(A, 5000, X, 53))), 5000)
      return Array.from({ length: 1000 }, (_, n) => sourcePort(b.in(udp(`10.1.${n >> 8}.${n & 255}`, 5000, X, 53))))
    })
    for (const ports of drawn) {
      assert.ok(Math.min(...ports) < 2500 && Math.max(...ports) > 64_000, 'the whole range')
      // Of a thousand pairs of independent ports, half are further apart than 0.29 of the range.
      const middle = steps(ports)[500]
      assert.ok(middle > 14_000 && middle < 24_000, `half of the steps are below ${middle}`)
      assert.ok(ports.every(port => port % 2 === 0))
    }
    assert.notDeepEqual(drawn[0], drawn[1])
  }
})

// @req RFC7857 11
test('the mapping of a query ends with its last session (RFC 7857 11)', () => {
  const b = box({ portPreservation: false, ...EIF })
  b.in(echo(A, X, 7))
  b.nowMs = 30_000
  b.in(echo(A, Y, 7))
  assert.equal(b.count('mappings-opened'), 1)
  for (const [nowMs, sessions, closed] of [[59_999, 2, 0], [60_000, 1, 0], [89_999, 1, 0], [90_000, 0, 1]]) {
    b.engine.expire(nowMs)
    assert.deepEqual([b.count('flows-current'), b.count('mappings-closed')], [sessions, closed], `at ${nowMs}`)
  }
})
