/** Each timer to the millisecond: a packet one before the deadline still belongs to the flow, one at the deadline does not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, fragment, type PacketSpec } from '../wire/build.ts'
import { DROP, HELD, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { createRig } from './testing.ts'

const SYN = 2, ACK = 16, FIN = 17, RST = 4, SYN_ACK = 18, NO_FLAGS = 0
const UDP_MS = 300_000, ICMP_MS = 60_000, OTHER_MS = 300_000, TRANSITORY_MS = 240_000, OPENING_MS = 100_000, CLOSING_MS = 240_000, ESTABLISHED_MS = 7_440_000
const OUT = SIDE_INSIDE, IN = SIDE_OUTSIDE

/** Where time starts: it is modulo 2^32, and no edge of int32 may matter. */
const STARTS = [0, 0x7fff_ffff, 0x7fff_ffff - 200_000, -1, -200_000, -(2 ** 31)]

type Segment = [side: number, flags: number]
interface Kind { name: string; out: PacketSpec; back: PacketSpec; timeoutMs: number; gone: string }

const a = '10.0.0.1', b = '198.51.100.1', nat = '203.0.113.1', a6 = 'fd00::1', b6 = '2001:db8::1'
const ports = { srcPort: 5000, dstPort: 53 }, reverse = { srcPort: 53, dstPort: 5000 }
const KINDS: Kind[] = [
  { name: 'UDP (RFC 4787 REQ-5)', timeoutMs: UDP_MS, gone: 'no-mapping', out: { proto: 'udp', src: a, dst: b, ...ports }, back: { proto: 'udp', src: b, dst: nat, ...reverse } },
  { name: 'UDP over IPv6', timeoutMs: UDP_MS, gone: 'denied', out: { proto: 'udp', src: a6, dst: b6, ...ports }, back: { proto: 'udp', src: b6, dst: a6, ...reverse } },
  { name: 'UDP-Lite', timeoutMs: UDP_MS, gone: 'no-mapping', out: { proto: 'udplite', src: a, dst: b, ...ports }, back: { proto: 'udplite', src: b, dst: nat, ...reverse } },
  { name: 'ICMP query (RFC 5508 REQ-2)', timeoutMs: ICMP_MS, gone: 'no-mapping', out: { proto: 'icmp', src: a, dst: b, icmpId: 7 }, back: { proto: 'icmp', icmpType: 0, src: b, dst: nat, icmpId: 7 } },
  { name: 'ICMPv6 query', timeoutMs: ICMP_MS, gone: 'no-state', out: { proto: 'icmp6', src: a6, dst: b6, icmpId: 7 }, back: { proto: 'icmp6', icmpType: 129, src: b6, dst: a6, icmpId: 7 } },
  { name: 'GRE', timeoutMs: OTHER_MS, gone: 'no-mapping', out: { proto: 47, src: a, dst: b, payload: new Uint8Array(8) }, back: { proto: 47, src: b, dst: nat, payload: new Uint8Array(8) } },
]

for (const { name, out, back, timeoutMs, gone } of KINDS) {
  test(`timers: ${name} lives ${timeoutMs} ms from its last packet, in either direction, and no longer`, () => {
    for (const start of STARTS) {
      const at = (ms: number) => start + ms | 0
      for (const last of ['out', 'back'] as const) {
        const alive = createRig(), dead = createRig()
        for (const rig of [alive, dead]) {
          assert.equal(rig.send(OUT, buildPacket(out), at(0)).verdict, TO_OUTSIDE)
          // The second packet moves the deadline, whichever way it goes.
          const [side, spec] = last === 'out' ? [OUT, out] as const : [IN, back] as const
          rig.send(side, buildPacket(spec), at(timeoutMs - 1))
        }
        const deadline = 2 * timeoutMs - 1
        assert.equal(alive.send(IN, buildPacket(back), at(deadline - 1)).verdict, TO_INSIDE, `from ${start}: one before`)
        assert.equal(dead.send(IN, buildPacket(back), at(deadline)).reason, gone, `from ${start}: at the deadline`)
        assert.equal(dead.count('flows-expired'), 1)
        assert.equal(dead.count('flows-current'), 0)
      }
    }
  })
}

/** A TCP connection up to its last segment, and the timeout that this segment leaves it with. */
const CONNECTIONS: [name: string, segments: Segment[], timeoutMs: number][] = [
  ['SYN from inside', [[OUT, SYN]], TRANSITORY_MS],
  ['SYN, and an answer without ACK', [[OUT, SYN], [IN, NO_FLAGS]], TRANSITORY_MS],
  ['picked up in the middle', [[OUT, ACK]], TRANSITORY_MS],
  ['open', [[OUT, SYN], [IN, SYN_ACK], [OUT, ACK]], ESTABLISHED_MS],
  ['open, without its handshake seen', [[OUT, ACK], [IN, ACK]], ESTABLISHED_MS],
  ['simultaneous open', [[OUT, SYN], [IN, SYN]], ESTABLISHED_MS],
  ['half closed by us', [[OUT, SYN], [IN, SYN_ACK], [OUT, FIN]], ESTABLISHED_MS],
  ['half closed by them', [[OUT, SYN], [IN, SYN_ACK], [IN, FIN]], ESTABLISHED_MS],
  ['closed', [[OUT, SYN], [IN, SYN_ACK], [OUT, FIN], [IN, FIN]], TRANSITORY_MS],
  ['reset', [[OUT, SYN], [IN, SYN_ACK], [IN, RST]], TRANSITORY_MS],
  ['reset before it was open', [[OUT, SYN], [IN, RST]], TRANSITORY_MS],
  ['reset, and used again', [[OUT, SYN], [IN, SYN_ACK], [IN, RST], [OUT, ACK]], ESTABLISHED_MS],
  ['closed, and opened again (RFC 5382)', [[OUT, SYN], [IN, SYN_ACK], [OUT, FIN], [IN, FIN], [OUT, SYN], [IN, SYN_ACK]], ESTABLISHED_MS],
]

for (const [name, segments, timeoutMs] of CONNECTIONS) {
  test(`timers: a TCP connection that is ${name} lives ${timeoutMs} ms (RFC 5382 REQ-5)`, () => {
    for (const start of STARTS) {
      for (const beyond of [0, 1]) {
        // One of them has a segment without flags.
        const rig = createRig({ tcpFlags: false })
        let nowMs = start
        for (const [side, flags] of segments) {
          nowMs = nowMs + 1000 | 0
          rig.send(side, segment(side, flags), nowMs)
        }
        assert.equal(rig.count('flows-current'), 1)
        rig.engine.expire(nowMs + timeoutMs - 1 + beyond | 0)
        assert.equal(rig.count('flows-current'), 1 - beyond, `from ${start}, ${beyond === 0 ? 'one before' : 'at'} the deadline`)
      }
    }
  })
}

function segment(side: number, flags: number): Uint8Array {
  return buildPacket(side === OUT ? { proto: 'tcp', tcpFlags: flags, src: a, dst: b, ...ports } : { proto: 'tcp', tcpFlags: flags, src: b, dst: nat, ...reverse })
}

// @req RFC7857 2.1a
test('timers: opening and closing are timed apart (RFC 7857 2.1)', () => {
  const cases: [string, Segment[], number][] = [
    ['SYN from inside', [[OUT, SYN]], OPENING_MS], ['picked up', [[OUT, ACK]], OPENING_MS], ['answered', [[OUT, SYN], [IN, SYN_ACK]], ESTABLISHED_MS],
    ['closed', [[OUT, SYN], [IN, SYN_ACK], [OUT, FIN], [IN, FIN]], CLOSING_MS], ['refused', [[OUT, SYN], [IN, RST]], CLOSING_MS],
  ]
  for (const [name, segments, timeoutMs] of cases) {
    for (const beyond of [-1, 0, 1]) {
      const rig = createRig({ tcpOpeningMs: OPENING_MS, tcpClosingMs: CLOSING_MS })
      for (const [side, flags] of segments) rig.send(side, segment(side, flags), 0)
      rig.engine.expire(timeoutMs + beyond)
      assert.equal(rig.count('flows-current'), beyond < 0 ? 1 : 0, name)
    }
  }
})

// @req RFC5382 REQ-5
test('timers: a closed connection is kept while it is not idle (RFC 5382 REQ-5), resets apart', () => {
  for (const [late, prolongs] of [[[OUT, ACK], true], [[IN, ACK], true], [[IN, FIN], true], [[OUT, RST], false], [[IN, RST], false]] as [Segment, boolean][]) {
    for (const beyond of [-1, 0, 1]) {
      const rig = createRig()
      for (const [side, flags] of [[OUT, SYN], [IN, SYN_ACK], [OUT, FIN], [IN, FIN]]) rig.send(side, segment(side, flags), 0)
      const { verdict } = rig.send(late[0], segment(...late), CLOSING_MS - 1)
      assert.equal(verdict, late[0] === OUT ? TO_OUTSIDE : TO_INSIDE, 'it is translated all the same')
      rig.engine.expire((prolongs ? 2 * CLOSING_MS - 1 : CLOSING_MS) + beyond)
      assert.equal(rig.count('flows-current'), beyond < 0 ? 1 : 0)
    }
  }
})

// @req RFC7857 2.2b
test('timers: after a reset 4 minutes are waited, more resets prolong nothing, and any other segment takes the connection up again (RFC 7857 2.2)', () => {
  for (const from of [OUT, IN]) {
    for (const again of [OUT, IN]) {
      for (const beyond of [-1, 0, 1]) {
        const rig = createRig()
        for (const [side, flags] of [[OUT, SYN], [IN, SYN_ACK], [from, RST]]) rig.send(side, segment(side, flags), 0)
        assert.notEqual(rig.send(again, segment(again, RST), CLOSING_MS - 1).verdict, DROP)
        rig.engine.expire(CLOSING_MS + beyond)
        assert.equal(rig.count('flows-current'), beyond < 0 ? 1 : 0)

        const alive = createRig()
        for (const [side, flags] of [[OUT, SYN], [IN, SYN_ACK], [from, RST]]) alive.send(side, segment(side, flags), 0)
        assert.notEqual(alive.send(again, segment(again, ACK), CLOSING_MS - 1).verdict, DROP)
        alive.engine.expire(CLOSING_MS - 1 + ESTABLISHED_MS + beyond)
        assert.equal(alive.count('flows-current'), beyond < 0 ? 1 : 0)
      }
    }
  }
})

// @req RFC7857 7.1a
test('timers: a reset by which the inside refuses a connection from outside does not prolong it (RFC 7857 7.1)', () => {
  for (const first of [SYN, ACK]) {
    for (const beyond of [-1, 0, 1]) {
      const rig = createRig()
      rig.send(OUT, buildPacket({ proto: 'tcp', tcpFlags: SYN, src: a, dst: b, srcPort: 5000, dstPort: 99 }), 0)
      rig.engine.expire(1000)
      rig.send(IN, segment(IN, first), 1000)
      rig.send(OUT, segment(OUT, RST), 200_000)
      rig.engine.expire(1000 + TRANSITORY_MS + beyond)
      assert.equal(rig.count('flows-current'), beyond < 0 ? 1 : 0)
    }
  }
})

// @req RFC4787 REQ-5a
test('timers: UDP to a well-known port may have a time of its own, if the inside opened it (RFC 4787 REQ-5a)', () => {
  const udpPorts = [{ port: 53, idleMs: 5000 }, { port: 0, idleMs: 7000 }, { port: 1023, idleMs: 900_000 }]
  for (const [port, idleMs] of [[53, 5000], [0, 7000], [1023, 900_000], [54, UDP_MS], [1024, UDP_MS], [53 + 1024, UDP_MS]]) {
    for (const [src, dst] of [[a, b], [a6, b6]]) {
      for (const beyond of [-1, 0, 1]) {
        const rig = createRig({ udpPorts })
        rig.send(OUT, buildPacket({ proto: 'udp', src, dst, srcPort: 5000, dstPort: port }), 0)
        rig.send(OUT, buildPacket({ proto: 'udp', src, dst, srcPort: 5000, dstPort: port }), 1000)
        rig.engine.expire(1000 + idleMs + beyond)
        assert.equal(rig.count('flows-current'), beyond < 0 ? 1 : 0, `port ${port}`)
      }
    }
  }
  const rig = createRig({ udpPorts, inboundPermit: true })
  rig.send(IN, buildPacket({ proto: 'udp', src: b6, dst: a6, srcPort: 53, dstPort: 5000 }), 0)
  rig.engine.expire(UDP_MS - 1)
  assert.equal(rig.count('flows-current'), 1, 'who opens from outside chooses no timer by its port')
})

// @req RFC4787 REQ-6, REQ-6a
test('timers: packets from outside prolong UDP only if the setting says so, those from inside always (RFC 4787 REQ-6)', () => {
  for (const { out, back } of KINDS.slice(0, 3)) {
    for (const udpInboundRefresh of [true, false]) {
      for (const beyond of [-1, 0, 1]) {
        const rig = createRig({ udpInboundRefresh })
        rig.send(OUT, buildPacket(out), 0)
        assert.equal(rig.send(IN, buildPacket(back), 1000).verdict, TO_INSIDE)
        rig.engine.expire(UDP_MS + (udpInboundRefresh ? 1000 : 0) + beyond)
        assert.equal(rig.count('flows-current'), beyond < 0 ? 1 : 0)
      }
    }
  }
  // Neither TCP nor anything else is touched by it.
  const rig = createRig({ udpInboundRefresh: false })
  for (const [side, flags] of [[OUT, SYN], [IN, SYN_ACK]]) rig.send(side, segment(side, flags), 0)
  rig.send(IN, segment(IN, ACK), 1000)
  rig.engine.expire(ESTABLISHED_MS + 999)
  assert.equal(rig.count('flows-current'), 1)
})

test('timers: an ICMP error does not prolong the flow it is about (RFC 5508 REQ-10)', () => {
  const rig = createRig()
  const sent = rig.send(OUT, buildPacket(KINDS[0].out), 0).bytes!
  const error = buildPacket({ proto: 'icmp', icmpType: 3, icmpCode: 3, src: b, dst: nat, payload: sent })
  assert.equal(rig.send(IN, error, UDP_MS - 1).verdict, TO_INSIDE)
  assert.equal(rig.send(IN, error, UDP_MS).reason, 'icmp-error-no-flow')
})

test('timers: many flows end each at its own millisecond', () => {
  const rig = createRig({ flows: 2048 })
  const base = 0x7fff_ffff - 301_000
  const packet = (n: number) => buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 1024 + n, dstPort: 53 })
  for (let n = 0; n < 2000; n++) rig.send(OUT, packet(n), base + n | 0)
  for (let n = 0; n < 2000; n++) {
    rig.engine.expire(base + UDP_MS + n | 0)
    assert.equal(rig.count('flows-expired'), n + 1)
  }
})

const whole = buildPacket({ proto: 'udp', src: a, dst: b, ...ports, id: 9, payload: new Uint8Array(2000) })
const whole6 = buildPacket({ proto: 'udp', src: a6, dst: b6, ...ports, payload: new Uint8Array(2000) })
for (const [name, packet] of [['IPv4', whole], ['IPv6', whole6]] as const) {
  test(`timers: a fragment of ${name} waits 2 s for the first one of its datagram, to the millisecond`, () => {
    const [first, second, third] = fragment(packet, [800, 800])
    for (const start of STARTS) {
      const at = (ms: number) => start + ms | 0
      const rig = createRig()
      assert.equal(rig.send(OUT, second, at(0)).verdict, HELD)
      // The time of a datagram runs from its first piece; a later one does not prolong it.
      assert.equal(rig.send(OUT, third, at(1000)).verdict, HELD)
      const released = rig.send(OUT, first, at(1999))
      assert.equal(released.verdict, TO_OUTSIDE)
      assert.deepEqual(released.extras.map(({ verdict }) => verdict), [TO_OUTSIDE, TO_OUTSIDE])

      const late = createRig()
      late.send(OUT, second, at(0))
      late.send(OUT, third, at(1000))
      const alone = late.send(OUT, first, at(2000))
      assert.equal(alone.verdict, TO_OUTSIDE, 'the first one begins a datagram of its own')
      assert.deepEqual(alone.extras, [])
      assert.equal(late.count('drop-fragment-timeout-packets'), 2)
      assert.equal(late.count('fragments-held-current'), 0)
      // That datagram has 2 s again.
      assert.equal(late.send(OUT, second, at(3999)).verdict, TO_OUTSIDE)
      assert.equal(late.send(OUT, third, at(4000)).verdict, HELD)
    }
  })
}

test('timers: fragments after the first do not prolong the flow', () => {
  const [first, second] = fragment(whole, [800])
  const rig = createRig({ fragmentMs: 60_000, udpMs: 10_000 })
  rig.send(OUT, first, 0)
  assert.equal(rig.send(OUT, second, 9999).verdict, TO_OUTSIDE)
  rig.engine.expire(10_000)
  assert.equal(rig.count('flows-current'), 0)
})

test('timers: ICMP errors of our own come in a burst of a second, then at the rate; the rest is counted', () => {
  const rig = createRig({ icmpErrorsPerSecond: 10 })
  const spent = buildPacket({ proto: 'udp', src: a, dst: b, ...ports, ttl: 1 })
  const replies = (nowMs: number, times: number) => {
    let n = 0
    for (let i = 0; i < times; i++) n += rig.send(OUT, spent, nowMs).extras.length
    return n
  }
  assert.equal(replies(0, 30), 10)
  assert.equal(replies(99, 5), 0)
  assert.equal(replies(100, 5), 1)
  assert.equal(replies(60_000, 30), 10)
  assert.equal(rig.count('icmp-errors-originated'), 21)
  assert.equal(rig.count('icmp-errors-suppressed'), 70 - 21)
})
