/**
 * Policy and engine together, on virtual time: for each kind of rule a packet is dropped before, passes with the promised addresses
 * once the request has succeeded, and is dropped after the rule's end (RFC 5189 2.3.9; docs/midcom.md).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as api from '../src/policy/api.ts'
import type { PacketSpec } from '../src/wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../src/wire/frames.ts'
import { POOL, createBox, textOf, tuple, words, type Box, type BoxOptions } from './rule-box.ts'

const OUT = SIDE_INSIDE, IN = SIDE_OUTSIDE
const SYN = 2, ACK = 16, SYN_ACK = 18
const SHOWN = '192.0.2.1'
const A = '10.0.0.5', B = '10.0.0.6', P = '198.51.100.7', Q = '198.51.100.8', A6 = 'fd00::5', P6 = '2001:db8::7'

const udp = (src: string, srcPort: number, dst: string, dstPort: number): PacketSpec => ({ proto: 'udp', src, srcPort, dst, dstPort })
const tcp = (src: string, srcPort: number, dst: string, dstPort: number, tcpFlags: number): PacketSpec => ({ proto: 'tcp', src, srcPort, dst, dstPort, tcpFlags })
const UDP = api.UDP, TCP = api.TCP, ANY = api.ANY_PROTOCOL
const firewall: BoxOptions = { engine: { nat44: false } }
const twice: BoxOptions = { policy: { service: 'twice', insidePool: [words(SHOWN)[0]] } }

/** One kind of rule: what it asks for, packets that pass while it lives (as the reply promises), packets that never do. */
interface Kind {
  name: string
  box?: BoxOptions
  request: Pick<api.EnableRequest, 'internal' | 'external' | 'direction'> & Partial<api.EnableRequest>
  /** Each with what becomes of it, in order; `o` is the promised outside endpoint, `i` the inside one. */
  passes: (o: { a: string; p: number }, i: { a: string; p: number }) => [side: number, packet: PacketSpec, becomes: string][]
  never: (o: { a: string; p: number }) => [side: number, packet: PacketSpec][]
}

const KINDS: Kind[] = [
  {
    name: 'NAPT, UDP inbound from one endpoint',
    request: { internal: tuple(A, UDP, 5004), external: tuple(P, UDP, 6000), direction: api.INBOUND },
    passes: (o) => [[IN, udp(P, 6000, o.a, o.p), `in ${P}:6000 > ${A}:5004`]],
    never: (o) => [[IN, udp(P, 6001, o.a, o.p)], [IN, udp(Q, 6000, o.a, o.p)], [IN, udp(P, 6000, o.a, o.p + 1)], [OUT, udp(A, 5004, Q, 6000)]],
  },
  {
    name: 'NAPT, UDP inbound from any port, a pair of ports that keeps parity (RTP and RTCP)',
    request: { internal: tuple(A, UDP, 5004, 2), external: tuple(P, UDP, 0, 2), direction: api.INBOUND, parity: api.PARITY_SAME },
    passes: (o) => [[IN, udp(P, 1, o.a, o.p), `in ${P}:1 > ${A}:5004`], [IN, udp(P, 2, o.a, o.p + 1), `in ${P}:2 > ${A}:5005`]],
    never: (o) => [[IN, udp(Q, 1, o.a, o.p)], [IN, udp(P, 1, o.a, o.p + 2)]],
  },
  {
    name: 'NAPT, UDP outbound: the answer is not part of it',
    request: { internal: tuple(A, UDP, 5004), external: tuple(P, UDP, 6000), direction: api.OUTBOUND },
    passes: (o) => [[OUT, udp(A, 5004, P, 6000), `out ${o.a}:${o.p} > ${P}:6000`]],
    never: (o) => [[IN, udp(P, 6000, o.a, o.p)], [OUT, udp(A, 5004, P, 6001)], [OUT, udp(B, 5004, P, 6000)]],
  },
  {
    name: 'NAPT, UDP in both directions',
    request: { internal: tuple(A, UDP, 5004), external: tuple(P, UDP, 6000), direction: api.BIDIRECTIONAL },
    passes: (o) => [
      [OUT, udp(A, 5004, P, 6000), `out ${o.a}:${o.p} > ${P}:6000`], [IN, udp(P, 6000, o.a, o.p), `in ${P}:6000 > ${A}:5004`],
    ],
    never: (o) => [[IN, udp(Q, 6000, o.a, o.p)]],
  },
  {
    name: 'NAPT, TCP inbound: a connection from outside, both ways',
    request: { internal: tuple(A, TCP, 80), external: tuple(P, TCP, 0), direction: api.INBOUND },
    passes: (o) => [
      [IN, tcp(P, 9000, o.a, o.p, SYN), `in ${P}:9000 > ${A}:80`], [OUT, tcp(A, 80, P, 9000, SYN_ACK), `out ${o.a}:${o.p} > ${P}:9000`],
      [IN, tcp(P, 9000, o.a, o.p, ACK), `in ${P}:9000 > ${A}:80`],
    ],
    never: (o) => [[OUT, tcp(A, 80, P, 9001, SYN)], [IN, tcp(P, 9002, o.a, o.p, ACK)], [IN, tcp(Q, 9000, o.a, o.p, SYN)]],
  },
  {
    name: 'NAPT, TCP outbound',
    request: { internal: tuple(A, TCP, 4000), external: tuple(P, TCP, 80), direction: api.OUTBOUND },
    passes: (o) => [
      [OUT, tcp(A, 4000, P, 80, SYN), `out ${o.a}:${o.p} > ${P}:80`], [IN, tcp(P, 80, o.a, o.p, SYN_ACK), `in ${P}:80 > ${A}:4000`],
    ],
    never: (o) => [[IN, tcp(P, 81, o.a, o.p, SYN)], [OUT, tcp(A, 4000, Q, 80, SYN)]],
  },
  {
    name: 'NAPT, every protocol of a host, from one peer: a whole address',
    request: { internal: tuple(A, ANY), external: tuple(P, ANY), direction: api.BIDIRECTIONAL },
    passes: (o) => [
      [IN, udp(P, 1, o.a, 53), `in ${P}:1 > ${A}:53`], [IN, { proto: 'icmp', src: P, dst: o.a, icmpId: 3 }, `in ${P} > ${A}`],
      [IN, { proto: 47, src: P, dst: o.a, payload: new Uint8Array(8) }, `in ${P} > ${A}`], [OUT, udp(A, 777, P, 2), `out ${o.a}:777 > ${P}:2`],
    ],
    never: (o) => [[IN, udp(Q, 1, o.a, 53)], [OUT, udp(A, 777, Q, 2)]],
  },
  {
    name: 'NAPT, every port of a host towards one peer: mapped dynamically',
    request: { internal: tuple(A, UDP, 0), external: tuple(P, UDP, 6000), direction: api.OUTBOUND },
    passes: (o) => [[OUT, udp(A, 1234, P, 6000), `out ${o.a}:1234 > ${P}:6000`], [OUT, udp(A, 1235, P, 6000), `out ${o.a}:1235 > ${P}:6000`]],
    never: () => [[OUT, udp(A, 1234, P, 6001)], [OUT, udp(B, 1234, P, 6000)]],
  },
  {
    name: 'NAPT, a network of hosts towards one peer',
    request: { internal: tuple('10.0.0.0/24', UDP, 0), external: tuple(P, UDP, 53), direction: api.OUTBOUND },
    passes: () => [[OUT, udp(A, 1234, P, 53), `out ${POOL}:1234 > ${P}:53`], [OUT, udp(B, 1235, P, 53), `out ${POOL}:1235 > ${P}:53`]],
    never: () => [[OUT, udp('10.0.1.1', 1234, P, 53)]],
  },
  {
    name: 'firewall, UDP inbound from a network',
    box: firewall,
    request: { internal: tuple(A, UDP, 5004, 4), external: tuple('198.51.100.0/24', UDP, 0, 4), direction: api.INBOUND },
    passes: () => [[IN, udp(P, 1, A, 5004), `in ${P}:1 > ${A}:5004`], [IN, udp(Q, 1, A, 5007), `in ${Q}:1 > ${A}:5007`]],
    never: () => [[IN, udp(P, 1, A, 5008)], [IN, udp('192.0.2.7', 1, A, 5004)], [OUT, udp(A, 5004, '192.0.2.7', 1)]],
  },
  {
    name: 'firewall, TCP inbound from anywhere',
    box: firewall,
    request: { internal: tuple(A, TCP, 22), external: tuple('*', TCP, 0), direction: api.INBOUND },
    passes: () => [[IN, tcp(P, 1, A, 22, SYN), `in ${P}:1 > ${A}:22`], [OUT, tcp(A, 22, P, 1, SYN_ACK), `out ${A}:22 > ${P}:1`]],
    never: () => [[IN, tcp(P, 2, A, 22, ACK)], [IN, tcp(P, 1, A, 23, SYN)]],
  },
  {
    name: 'firewall, ICMP in both directions',
    box: firewall,
    request: { internal: tuple(A, 1), external: tuple(P, 1), direction: api.BIDIRECTIONAL },
    passes: () => [[IN, { proto: 'icmp', src: P, dst: A, icmpId: 3 }, `in ${P} > ${A}`], [OUT, { proto: 'icmp', src: A, dst: P, icmpId: 4 }, `out ${A} > ${P}`]],
    never: () => [[IN, { proto: 'icmp', src: Q, dst: A, icmpId: 3 }], [IN, udp(P, 1, A, 1)]],
  },
  {
    name: 'IPv6, UDP in both directions',
    request: { internal: tuple(A6, UDP, 5004), external: tuple(P6, UDP, 6000), direction: api.BIDIRECTIONAL },
    passes: () => [[IN, udp(P6, 6000, A6, 5004), 'in'], [OUT, udp(A6, 5004, P6, 6000), 'out']],
    never: () => [[IN, udp(P6, 6001, A6, 5004)], [IN, udp('2001:db8::8', 6000, A6, 5004)]],
  },
  {
    name: 'IPv6, a prefix outside',
    request: { internal: tuple(A6, TCP, 443), external: tuple('2001:db8::/32', TCP, 0), direction: api.INBOUND },
    passes: () => [[IN, tcp(P6, 1, A6, 443, SYN), 'in'], [OUT, tcp(A6, 443, P6, 1, SYN_ACK), 'out']],
    never: () => [[IN, tcp('2001:db9::1', 1, A6, 443, SYN)]],
  },
  {
    name: 'twice-NAT, UDP in both directions',
    box: twice,
    request: { internal: tuple(A, UDP, 5004), external: tuple(P, UDP, 6000), direction: api.BIDIRECTIONAL },
    passes: (o, i) => [
      [OUT, udp(A, 5004, i.a, i.p), `out ${o.a}:${o.p} > ${P}:6000`], [IN, udp(P, 6000, o.a, o.p), `in ${i.a}:${i.p} > ${A}:5004`],
    ],
    never: (o) => [[IN, udp(Q, 6000, o.a, o.p)]],
  },
  {
    name: 'twice-NAT, TCP inbound from any port of one peer',
    box: twice,
    request: { internal: tuple(A, TCP, 80), external: tuple(P, TCP, 0), direction: api.INBOUND },
    passes: (o, i) => [
      [IN, tcp(P, 99, o.a, o.p, SYN), `in ${i.a}:99 > ${A}:80`], [OUT, tcp(A, 80, i.a, 99, SYN_ACK), `out ${o.a}:${o.p} > ${P}:99`],
    ],
    never: (o) => [[IN, tcp(Q, 99, o.a, o.p, SYN)]],
  },
]

function assertDropped(box: Box, packets: [side: number, packet: PacketSpec][], when: string): void {
  for (const [side, packet] of packets) {
    const became = box.go(side, packet)
    assert.doesNotMatch(became, /^(in|out)\b/, `${when}: ${JSON.stringify(packet)} became ${became}`)
  }
}

for (const { name, box: options, request, passes, never } of KINDS) {
  test(`${name}: dropped before, passed as promised, dropped after expiry and after deletion`, () => {
    // Which endpoints are promised is known after a rehearsal: the same box promises the same.
    const promised = createBox(options).enable(request)
    const o = { a: textOf(promised.outside), p: promised.outside.port }, i = { a: textOf(promised.inside), p: promised.inside.port }
    for (const ending of ['expiry', 'deletion'] as const) {
      const box = createBox(options)
      assertDropped(box, passes(o, i).map(([side, packet]) => [side, packet]), 'before')
      box.at(1000)
      const reply = box.enable({ ...request, lifetimeSec: 60 })
      assert.deepEqual({ ...reply, rule: 0, group: 0 }, { ...promised, rule: 0, group: 0 })
      box.at(60_999)
      for (const [side, packet, becomes] of passes(o, i)) assert.equal(box.go(side, packet), becomes)
      assertDropped(box, never(o), 'while it lives')
      const traffic = box.policy.ruleTraffic(reply.rule)
      assert.equal(traffic?.packets, passes(o, i).length)
      if (ending === 'expiry') {
        box.at(61_000)
        assert.deepEqual(box.events, [`${reply.rule} 0 expired`])
      } else box.end(reply.rule)
      assertDropped(box, passes(o, i).map(([side, packet]) => [side, packet]), `after ${ending}`)
      assert.equal(box.count('flows-current'), 0)
      assert.equal(box.count('rules-current') + box.count('bindings-current'), 0)
    }
  })
}

test('a reservation changes nothing for packets, and its address is what the enable rule gets (RFC 5189 2.3.8, 2.3.9)', () => {
  const box = createBox()
  const { rule, group, outside } = box.reserve({ range: 2, parity: api.PARITY_EVEN })
  assert.equal(outside.port & 1, 0)
  const packet = udp(P, 6000, textOf(outside), outside.port)
  assert.equal(box.go(IN, packet), 'no-mapping')
  assert.equal(box.count('rules-current'), 0)
  const reply = box.enable({ reservation: rule, internal: tuple(A, UDP, 5004, 2), external: tuple(P, UDP, 6000, 2), direction: api.INBOUND, parity: api.PARITY_SAME })
  assert.deepEqual([reply.rule, reply.group, reply.outside.port], [rule, group, outside.port])
  assert.equal(box.go(IN, packet), `in ${P}:6000 > ${A}:5004`)
  assert.equal(box.go(IN, udp(P, 6001, textOf(outside), outside.port + 1)), `in ${P}:6001 > ${A}:5005`)
})

test('two rules share a binding; it lives until the last of them ends, and each ends its own flows only', () => {
  const box = createBox()
  const first = box.enable({ internal: tuple(A, UDP, 5004), external: tuple(P, UDP, 0), direction: api.INBOUND })
  const second = box.enable({ internal: tuple(A, UDP, 5004), external: tuple(Q, UDP, 0), direction: api.INBOUND, lifetimeSec: 120 })
  assert.equal(first.outside.port, second.outside.port)
  const at = textOf(first.outside), port = first.outside.port
  for (const from of [P, Q]) assert.equal(box.go(IN, udp(from, 1, at, port)), `in ${from}:1 > ${A}:5004`)
  box.at(60_000)
  assert.equal(box.go(IN, udp(P, 1, at, port)), 'filtered')
  assert.equal(box.go(IN, udp(Q, 1, at, port)), `in ${Q}:1 > ${A}:5004`)
  assert.equal(box.count('flows-opened'), 2)
  box.at(120_000)
  assert.equal(box.go(IN, udp(Q, 1, at, port)), 'no-mapping')
})

test('a disable rule stops the flows of every owner at once and keeps them out while it lives (RFC 4540 8.8)', () => {
  const box = createBox({ engine: { outboundPermit: true } })
  const { rule, outside } = box.enable({ internal: tuple(A, UDP, 5004), external: tuple(P, UDP, 0), direction: api.INBOUND })
  const inward = udp(P, 1, textOf(outside), outside.port)
  assert.equal(box.go(IN, inward), `in ${P}:1 > ${A}:5004`)
  assert.equal(box.go(OUT, udp(B, 9, P, 9)), `out ${POOL}:9 > ${P}:9`)
  assert.equal(box.go(OUT, udp(B, 9, Q, 9)), `out ${POOL}:9 > ${Q}:9`)
  const { rule: block } = box.disable(tuple('10.0.0.0/8', UDP), tuple(P, UDP), 30)
  assert.deepEqual(box.events, [`${rule} 0 disabled`])
  assert.equal(box.go(IN, inward), 'no-mapping')
  assert.equal(box.go(OUT, udp(B, 9, P, 9)), 'denied-by-rule')
  assert.equal(box.go(OUT, udp(B, 9, Q, 9)), `out ${POOL}:9 > ${Q}:9`)
  assert.equal(box.go(OUT, tcp(B, 9, P, 9, SYN)), `out ${POOL}:9 > ${P}:9`)
  box.at(30_000)
  assert.deepEqual(box.events, [`${rule} 0 disabled`, `${block} 0 expired`])
  assert.equal(box.go(OUT, udp(B, 9, P, 9)), `out ${POOL}:9 > ${P}:9`)
})

test('an idle rule ends, one with traffic does not (RFC 5189 2.1.6)', () => {
  const box = createBox({ policy: { idleTimeoutSec: 10 } })
  const { rule, outside } = box.enable({ internal: tuple(A, UDP, 5004), external: tuple(P, UDP, 0), direction: api.INBOUND })
  const packet = udp(P, 1, textOf(outside), outside.port)
  for (let second = 1; second <= 30; second += 5) {
    box.at(second * 1000)
    assert.equal(box.go(IN, packet), `in ${P}:1 > ${A}:5004`)
  }
  box.at(26_000 + 9_999)
  assert.equal(box.count('rules-current'), 1)
  box.at(26_000 + 10_000)
  assert.deepEqual(box.events, [`${rule} 0 idle`])
  assert.equal(box.go(IN, packet), 'no-mapping')
})

test('rules outlive their session (RFC 5189 2.2.2)', () => {
  const box = createBox()
  const { outside } = box.enable({ internal: tuple(A, UDP, 5004), external: tuple(P, UDP, 0), direction: api.INBOUND })
  box.session.end()
  assert.equal(box.go(IN, udp(P, 1, textOf(outside), outside.port)), `in ${P}:1 > ${A}:5004`)
  box.at(60_000)
  assert.equal(box.go(IN, udp(P, 1, textOf(outside), outside.port)), 'no-mapping')
})
