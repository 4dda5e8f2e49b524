/** The model by hand: "Flows and mappings", "Ports", "Timers" and "Full table" of docs/behaviour.md. */
import test from 'node:test'
import assert from 'node:assert/strict'
import { verify, type PacketSpec } from '../../src/wire/build.ts'
import type { ModelOptions } from '../nat.model.ts'
import { box, word, ends, paired, IN_A, IN_B, IN_C, IN6, OUT, OUT_2, OUT6, POOL, type Box } from './setup.ts'
import { after, opened, type TcpState } from './tcp.ts'

const udp = (src: string, srcPort: number, dst: string, dstPort: number): PacketSpec =>
  ({ src, srcPort, dst, dstPort, proto: 'udp' })
const tcp = (src: string, srcPort: number, dst: string, dstPort: number, tcpFlags: number): PacketSpec =>
  ({ src, srcPort, dst, dstPort, proto: 'tcp', tcpFlags })
const FIN = 1, SYN = 2, RST = 4, ACK = 16
const A = paired(IN_A), outPort = (bytes: Uint8Array) => bytes[20] * 256 + bytes[21]
const EIF: Partial<ModelOptions> = { filtering: 'endpoint-independent' }
const oneAddress = { pool: [0xcb007101 | 0] }

test('one mapping serves all peers of an inside endpoint (RFC 4787 REQ-1)', () => {
  const b = box({ portPreservation: false })
  const first = b.in(udp(IN_A, 5, OUT, 53)).sent[0].bytes, second = b.in(udp(IN_A, 5, OUT_2, 99)).sent[0].bytes
  assert.equal(outPort(first), outPort(second))
  assert.equal(b.model.flows.all().length, 2)
})

test('a reply finds its way back', () => {
  const b = box()
  b.in(udp(IN_A, 5000, OUT, 53))
  const { sent: [{ bytes, side }] } = b.out(udp(OUT, 53, A, 5000))
  assert.equal(side, 'inside')
  assert.equal(ends(bytes), OUT + ':53 > ' + IN_A + ':5000')
  assert.deepEqual(verify(bytes), [])
})

test('filtering is as RFC 4787 REQ-8 names it', () => {
  for (const [filtering, otherPort, otherHost] of [
    ['endpoint-independent', 'inside', 'inside'], ['address-dependent', 'inside', 'filtered'],
    ['address-and-port-dependent', 'filtered', 'filtered'],
  ] as const) {
    const b = box({ filtering })
    b.in(udp(IN_A, 5000, OUT, 53))
    assert.equal(word(b.out(udp(OUT, 54, A, 5000))), otherPort)
    assert.equal(word(b.out(udp(OUT_2, 53, A, 5000))), otherHost)
    assert.equal(word(b.out(udp(OUT, 53, A, 5001))), 'no-mapping')
  }
})

test('ICMP queries are flows by their identifier (RFC 5508 REQ-1)', () => {
  const b = box(), echo = (src: string, dst: string, icmpType: number, icmpId: number): PacketSpec =>
    ({ src, dst, proto: 'icmp', icmpType, icmpId })
  assert.equal(word(b.in(echo(IN_A, OUT, 0, 7))), 'no-state')
  assert.equal(word(b.in(echo(IN_A, OUT, 8, 7))), 'outside')
  assert.equal(word(b.out(echo(OUT, A, 0, 7))), 'inside')
  assert.equal(word(b.out(echo(OUT_2, A, 0, 7))), 'no-state')
  assert.equal(word(b.out(echo(OUT_2, A, 8, 7))), 'filtered')
  assert.equal(word(b.out(echo(OUT, A, 0, 8))), 'no-mapping')
  assert.equal(word(b.in(echo(IN_A, OUT, 0, 7))), 'outside')
})

test('the outbound policy answers with communication prohibited (RFC 1812 5.2.7.1)', () => {
  const { reason, sent: [{ bytes }] } = box({ outboundPermit: false }).in(udp(IN_A, 5, OUT, 53))
  assert.deepEqual([reason, bytes[20], bytes[21]], ['denied', 3, 13])
  const six = box({ outboundPermit: false }).in(udp(IN6, 5, OUT6, 53)).sent[0].bytes
  assert.deepEqual([six[40], six[41], verify(six)], [1, 1, []])
})

test('port-less protocols share an outside address as long as their peers differ', () => {
  const b = box(oneAddress)
  const gre = (src: string, dst: string): PacketSpec => ({ src, dst, proto: 47, payload: new Uint8Array(4) })
  const A1 = '203.0.113.1'
  assert.equal(word(b.in(gre(IN_A, OUT))), 'outside')
  const conflict = b.in(gre(IN_B, OUT))
  assert.deepEqual([conflict.reason, conflict.sent[0].bytes[21]], ['protocol-conflict', 13])
  assert.equal(word(b.in(gre(IN_B, OUT_2))), 'outside')
  assert.equal(word(b.in(gre(IN_A, OUT_2))), 'protocol-conflict')
  assert.equal(ends(b.out(gre(OUT_2, A1)).sent[0].bytes), OUT_2 + ' > ' + IN_B)
  assert.equal(word(b.out({ ...gre(OUT_2, A1), proto: 50 })), 'no-mapping')
})

test('hairpinned packets carry the outside source (RFC 4787 REQ-9a)', () => {
  const b = box(), B = paired(IN_B)
  b.in(udp(IN_B, 2000, A, 3000))            // B allows whoever speaks from A
  b.in(udp(IN_A, 3000, OUT, 53))
  const { sent: [{ bytes, side }] } = b.in(udp(IN_A, 3000, B, 2000))
  assert.equal(side, 'inside')
  assert.equal(ends(bytes), A + ':3000 > ' + IN_B + ':2000')
  assert.equal(bytes[8], 63)
  assert.deepEqual(verify(bytes), [])
})

test('a hairpinned packet that is dropped leaves its outbound flow', () => {
  const b = box()
  assert.equal(word(b.in(udp(IN_A, 3000, paired(IN_B), 2000))), 'no-mapping')
  assert.equal(b.model.flows.all().length, 1)
})

test('without hairpinning nothing is opened', () => {
  const b = box({ hairpinning: false })
  const outcome = b.in(udp(IN_A, 3000, POOL[0], 2000))
  assert.deepEqual([outcome.reason, outcome.sent.length], ['denied', 0])
  assert.equal(b.model.flows.all().length, 0)
})

test('IPv6 is let out, and in when it was let out or the policy permits (RFC 6092)', () => {
  const b = box()
  const echo6 = (src: string, dst: string, icmpType: number): PacketSpec => ({ src, dst, proto: 'icmp6', icmpType })
  assert.equal(word(b.out(udp(OUT6, 53, IN6, 5))), 'denied')
  assert.equal(word(b.in(udp(IN6, 5, OUT6, 53))), 'outside')
  assert.equal(word(b.out(udp(OUT6, 53, IN6, 5))), 'inside')
  assert.equal(word(b.out(udp(OUT6, 54, IN6, 5))), 'denied')
  assert.equal(word(b.out(echo6(OUT6, IN6, 129))), 'no-state')
  assert.equal(word(b.out(udp(OUT6, 53, '2001:db8::2', 5))), 'outside-to-outside')
  assert.equal(word(box({ inboundPermit: true }).out(udp(OUT6, 53, IN6, 5))), 'inside')
  const sent = b.in(udp(IN6, 5, OUT6, 53)).sent[0].bytes
  assert.equal(sent[7], 63)
  assert.deepEqual(verify(sent), [])
})

test('without NAT IPv4 is a firewall like IPv6', () => {
  const b = box({ nat44: false })
  assert.equal(word(b.out(udp(OUT, 53, IN_A, 5))), 'denied')
  assert.equal(ends(b.in(udp(IN_A, 5, OUT, 53)).sent[0].bytes), IN_A + ':5 > ' + OUT + ':53')
  assert.equal(word(b.out(udp(OUT, 53, IN_A, 5))), 'inside')
})

test('a port is kept if it can be, else drawn with its parity (RFC 4787 REQ-3, REQ-4)', () => {
  const b = box({ ...oneAddress, portLo: 1024, portHi: 1031 })
  assert.equal(outPort(b.in(udp(IN_A, 1025, OUT, 1)).sent[0].bytes), 1025)
  const odd = new Set<number>()
  for (const host of [IN_B, IN_C, '10.0.0.4']) odd.add(outPort(b.in(udp(host, 1025, OUT, 1)).sent[0].bytes))
  assert.deepEqual([...odd].sort(), [1027, 1029, 1031])
  assert.equal(outPort(b.in(udp('10.0.0.5', 1025, OUT, 1)).sent[0].bytes) % 2, 0)
  assert.ok(outPort(b.in(udp(IN_A, 80, OUT, 1)).sent[0].bytes) < 1024)
  for (let i = 0; i < 3; i++) assert.equal(word(b.in(udp(IN_B, 2000 + i, OUT, 1))), 'outside')
  const none = b.in(udp(IN_B, 3000, OUT, 1))
  assert.deepEqual([none.reason, none.sent[0].bytes[21]], ['no-outside-port', 13])
  assert.equal(word(b.in(tcp(IN_B, 3000, OUT, 1, SYN))), 'outside')
})

test('a flow is gone when its deadline is now, and its mapping with the last one (RFC 4787 REQ-5, REQ-6)', () => {
  const b = box()
  b.in(udp(IN_A, 5000, OUT, 53))
  b.nowMs = 299_999
  assert.equal(word(b.out(udp(OUT, 53, A, 5000))), 'inside')
  b.nowMs += 299_999
  assert.equal(word(b.out(udp(OUT, 53, A, 5000))), 'inside')
  b.nowMs += 300_000
  assert.equal(word(b.out(udp(OUT, 53, A, 5000))), 'no-mapping')
})

test('time wraps at 2^32 and never runs backwards', () => {
  const b = box()
  b.nowMs = 0x7fffffff - 1000
  b.in(udp(IN_A, 5000, OUT, 53))
  b.nowMs = (b.nowMs + 299_999) | 0
  assert.equal(word(b.out(udp(OUT, 54, A, 5000))), 'inside')
  b.nowMs -= 100_000
  assert.equal(word(b.out(udp(OUT, 53, A, 5000))), 'inside')
  b.nowMs = (b.nowMs + 400_000 - 1) | 0
  assert.equal(word(b.out(udp(OUT, 53, A, 5000))), 'inside')
})

test('a full table gives up the one with the least time left, of eight', () => {
  const b = box({ flows: 18, ...EIF })
  const takes = (slot: number, dstPort: number) => {
    b.in(udp(IN_A, 5000, OUT, dstPort))
    assert.equal(b.model.flows.slots[slot]?.peer.port, dstPort)
  }
  for (let i = 1; i <= 18; i++) {
    b.nowMs = i
    takes(i, i)
  }
  b.nowMs = 100
  b.in(udp(IN_A, 5000, OUT, 1))                      // slot 1 is now the youngest
  takes(2, 101)                                      // of 1 … 8
  takes(9, 102)                                      // of 9 … 16
  takes(3, 103)                                      // of 17, 18, 1 … 6, and 17 is younger
  takes(7, 104)                                      // of 7 … 14
  takes(4, 105)                                      // of 15 … 18, 1 … 4
})

test('room is made before the mapping is looked for: an endpoint may lose its own one', () => {
  const b = box({ flows: 16, portPreservation: false, ...EIF })
  for (let i = 0; i < 16; i++) {
    b.nowMs = i
    b.in(udp(IN_A, 100 + i, OUT, 1))
  }
  const before = outPort(b.in(udp(IN_A, 100, OUT, 1)).sent[0].bytes)
  b.nowMs = 50
  for (let i = 1; i < 16; i++) b.in(udp(IN_A, 100 + i, OUT, 1))
  assert.notEqual(outPort(b.in(udp(IN_A, 100, OUT, 2)).sent[0].bytes), before)
  assert.deepEqual(b.model.flows.all().filter(f => f.inside.port === 100).map(f => f.peer.port), [2])
})

test('room is made even for a flow that then finds no port', () => {
  const b = box({ ...oneAddress, flows: 16, portLo: 1024, portHi: 1024 })
  for (let i = 0; i < 16; i++) b.in(udp(IN_A, 1024, OUT, i + 1))
  assert.equal(word(b.in(udp(IN_B, 1024, OUT, 1))), 'no-outside-port')
  assert.equal(b.model.flows.all().length, 15)
})

test('a packet from outside finds no mapping when making room has ended it', () => {
  const b = box({ flows: 16, ...EIF })
  for (let i = 0; i < 16; i++) {
    b.nowMs = i
    b.in(udp(IN_A, 100 + i, OUT, 1))
  }
  assert.equal(word(b.out(udp(OUT_2, 1, A, 100))), 'no-mapping')
  assert.equal(word(b.out(udp(OUT_2, 1, A, 101))), 'inside')
})

test('a hairpinned packet does not evict its own first half', () => {
  const b = box({ flows: 16, ...EIF })
  for (let i = 0; i < 16; i++) b.in(udp(IN_B, 2000, OUT, i + 1))
  b.nowMs = 1
  for (let i = 1; i < 16; i++) b.in(udp(IN_B, 2000, OUT, i + 1))
  assert.equal(word(b.in(udp(IN_A, 3000, paired(IN_B), 2000))), 'inside')
  assert.equal(b.model.flows.all().filter(f => f.inside.port === 3000).length, 1)
  assert.equal(b.model.flows.all().filter(f => f.peer.port === 3000).length, 1)
})

test('TCP flows open and close as the table of states says (RFC 5382 REQ-5)', () => {
  const run = (first: [flags: number, way: 'out' | 'in'], ...rest: [flags: number, way: 'out' | 'in'][]) =>
    rest.reduce((state: TcpState, [flags, way]) => after(state, way, flags), opened(first[1], first[0]))
  assert.equal(run([SYN, 'out']), 'SYN-OUT')
  assert.equal(run([SYN, 'out'], [SYN | ACK, 'in']), 'ESTABLISHED')
  assert.equal(run([SYN, 'out'], [SYN, 'in']), 'ESTABLISHED')
  assert.equal(run([SYN, 'out'], [0, 'in']), 'SYN-OUT')
  assert.equal(run([SYN, 'in'], [ACK, 'in']), 'SYN-IN')
  assert.equal(run([SYN | ACK, 'out'], [0, 'in']), 'ESTABLISHED')
  assert.equal(run([SYN, 'out'], [ACK, 'in'], [FIN, 'out'], [FIN | ACK, 'in']), 'FIN-BOTH')
  assert.equal(run([SYN, 'out'], [FIN, 'in'], [FIN, 'out'], [RST, 'in'], [SYN | ACK, 'in'], [SYN, 'in']), 'SYN-IN')
  assert.equal(run([SYN, 'out'], [RST | SYN, 'in'], [RST, 'out'], [ACK, 'out']), 'ESTABLISHED')
  assert.equal(run([SYN, 'out'], [RST, 'in'], [SYN, 'out']), 'SYN-OUT')
})

test('an open connection lives long, one that is reset is not kept alive by more resets', () => {
  const alive = (b: Box, ms: number) => {
    b.nowMs += ms
    b.model.advance(b.nowMs)
    return b.model.flows.all().length > 0
  }
  const b = box()
  b.in(tcp(IN_A, 5000, OUT, 80, SYN))
  b.out(tcp(OUT, 80, A, 5000, SYN | ACK))
  assert.ok(alive(b, 7_439_999))
  b.in(tcp(IN_A, 5000, OUT, 80, RST))
  assert.ok(alive(b, 200_000))
  b.in(tcp(IN_A, 5000, OUT, 80, RST))
  assert.ok(!alive(b, 40_000))
})

test('a reset opens nothing, and with midstream pick-up off only a SYN does', () => {
  assert.equal(word(box({ tcpFlags: false }).in(tcp(IN_A, 5, OUT, 80, RST | SYN))), 'tcp-midstream')
  assert.equal(word(box().in(tcp(IN_A, 5, OUT, 80, RST | ACK))), 'tcp-midstream')
  assert.equal(word(box().in(tcp(IN_A, 5, OUT, 80, ACK))), 'outside')
  for (const flags of [ACK, SYN | ACK, FIN, 0]) {
    assert.equal(word(box({ tcpMidstream: false, tcpFlags: false }).in(tcp(IN_A, 5, OUT, 80, flags))), 'tcp-midstream')
  }
  assert.equal(word(box({ tcpMidstream: false }).in(tcp(IN_A, 5, OUT, 80, SYN))), 'outside')
})
