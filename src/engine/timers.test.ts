/** Each timer to the millisecond: a packet one before the deadline still belongs to the flow, one at the deadline does not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, fragment, type PacketSpec } from '../wire/build.ts'
import { HELD, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { createRig } from './testing.ts'

const SYN = 2, ACK = 16, FIN = 17, RST = 4, SYN_ACK = 18, NO_FLAGS = 0
const UDP_MS = 300_000, ICMP_MS = 60_000, OTHER_MS = 300_000, TRANSITORY_MS = 240_000, ESTABLISHED_MS = 7_440_000
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

for (const [name, closing] of [['closed', [[OUT, FIN], [IN, FIN]]], ['reset', [[IN, RST]]]] as const) {
  test(`timers: what still comes by a connection that is ${name} does not prolong it`, () => {
    for (const beyond of [0, 1]) {
      const rig = createRig()
      for (const [side, flags] of [[OUT, SYN], [IN, SYN_ACK], ...closing]) rig.send(side, segment(side, flags), 0)
      const late = name === 'reset' ? [[IN, RST]] : [[OUT, ACK], [IN, ACK], [IN, FIN], [OUT, RST]]
      for (const [side, flags] of late) {
        const { verdict } = rig.send(side, segment(side, flags), TRANSITORY_MS - 1)
        assert.equal(verdict, side === OUT ? TO_OUTSIDE : TO_INSIDE, 'it is translated all the same')
      }
      rig.engine.expire(TRANSITORY_MS - 1 + beyond)
      assert.equal(rig.count('flows-current'), 1 - beyond)
    }
  })
}

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
