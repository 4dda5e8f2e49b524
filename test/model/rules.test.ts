/** The model by hand: "Rules (MIDCOM)" of docs/behaviour.md. */
import test from 'node:test'
import assert from 'node:assert/strict'
import { icmpError, verify, type PacketSpec } from '../../src/wire/build.ts'
import type { ModelOptions } from '../nat.model.ts'
import type { Command } from './commands.ts'
import { addrOf } from './packet.ts'
import type { Range, Rule } from './rules.ts'
import { box, ends, int32, paired, word, words, IN_A, IN_B, IN6, OUT, OUT_2, OUT6, type Box } from './setup.ts'

const BOUND = '203.0.113.9', SHOWN = '10.9.9.1', BLOCK = 5000, SYN = 2, ACK = 16, RST = 4
const midcom = { rules: 8, boundPorts: 8, portLo: BLOCK, portHi: 5009, addresses: [int32(BOUND)], insidePool: [int32(SHOWN)] }
const A = paired(IN_A)
const UDP = 17, GRE = 47

function ruled(changes: Partial<ModelOptions> = {}): Box { return box({ midcom, ...changes }) }
const addr = (text: string) => addrOf(words(text))
const all = (version: 4 | 6): Range => ({ addr: addr(version === 4 ? '0.0.0.0' : '::'), bits: 0, lo: 0, hi: 65535 })
const host = (text: string, lo = 0, hi = lo === 0 ? 65535 : lo): Range =>
  ({ addr: addr(text), bits: text.includes(':') ? 128 : 32, lo, hi })

let priorities = 0
function enable(rule: number, way: 'out' | 'in' | 'both', changes: Partial<Rule> = {}): Command {
  const { version = 4 } = changes
  return { op: 'add', rule: {
    rule, priority: ++priorities, version, protocol: -1, local: all(version), peer: all(version),
    disable: false, out: way !== 'in', in: way !== 'out', bound: false, twice: false, ...changes,
  } }
}
function disable(rule: number, changes: Partial<Rule> = {}): Command {
  return enable(rule, 'both', { disable: true, priority: 0, ...changes })
}
const end = (rule: number): Command => ({ op: 'delete', rule })
function ports(op: 'bind-ports' | 'unbind-ports', local: string, port: number, outsidePort = BLOCK, count = 1): Command {
  return { op, protocol: UDP, local: { addr: addr(local), port }, outside: { addr: addr(A), port: outsidePort }, count }
}
function address(op: 'bind-address' | 'unbind-address', local: string): Command {
  return { op, local: addr(local), outside: addr(BOUND) }
}
function inside(op: 'bind-inside' | 'unbind-inside', peer: string, port = 0, shownPort = 0, count = 0): Command {
  return { op, protocol: UDP, peer: { addr: addr(peer), port }, inside: { addr: addr(SHOWN), port: shownPort }, count }
}
const udp = (src: string, srcPort: number, dst: string, dstPort: number): PacketSpec =>
  ({ src, srcPort, dst, dstPort, proto: 'udp' })
const tcp = (src: string, srcPort: number, dst: string, dstPort: number, tcpFlags: number): PacketSpec =>
  ({ src, srcPort, dst, dstPort, proto: 'tcp', tcpFlags })
const gre = (src: string, dst: string): PacketSpec => ({ src, dst, proto: GRE, payload: new Uint8Array(4) })
const echo = (src: string, dst: string, icmpType: number): PacketSpec => ({ src, dst, proto: 'icmp', icmpType, icmpId: 7 })
const CLOSED: Partial<ModelOptions> = { outboundPermit: false }
const counted = (b: Box, rule: number) => b.model.midcom.activity[rule]

test('the rule with the lowest priority that matches decides, and addresses, ports and protocol must hold', () => {
  const b = ruled(CLOSED)
  b.order(enable(1, 'out', { protocol: UDP, local: { addr: addr('10.0.0.99'), bits: 24, lo: 5, hi: 6 }, peer: host(OUT, 53) }))
  for (const [spec, outcome] of [
    [udp(IN_A, 5, OUT, 53), 'outside'], [udp(IN_B, 6, OUT, 53), 'outside'], [udp(IN_A, 7, OUT, 53), 'denied'],
    [udp(IN_A, 5, OUT, 54), 'denied'], [udp(IN_A, 5, OUT_2, 53), 'denied'], [udp('10.0.1.1', 5, OUT, 53), 'denied'],
    [tcp(IN_A, 5, OUT, 53, SYN), 'denied'],
  ] as const) assert.equal(word(b.in(spec)), outcome)
  b.order(disable(2, { peer: host(OUT) }))
  const refused = b.in(udp(IN_A, 5, OUT, 53))
  assert.deepEqual([refused.reason, refused.sent.length], ['denied-by-rule', 0])
})

test('ports of ICMP are 0 to rules', () => {
  const b = ruled(CLOSED)
  b.order(enable(1, 'out', { local: host(IN_A, 7) }))
  assert.equal(word(b.in(echo(IN_A, OUT, 8))), 'denied')
  b.order(enable(2, 'out', { local: host(IN_A, 0, 0) }))
  assert.equal(word(b.in(echo(IN_A, OUT, 8))), 'outside')
})

test('a rule admits TCP only by a SYN without ACK and RST (RFC 5189 2.3.5), a disable rule blocks any segment', () => {
  const b = ruled({ ...CLOSED, tcpMidstream: true, tcpFlags: false })
  b.order(enable(1, 'out'))
  for (const flags of [ACK, SYN | ACK, SYN | RST]) assert.equal(word(b.in(tcp(IN_A, 5, OUT, 80, flags))), 'denied')
  assert.equal(word(b.in(tcp(IN_A, 5, OUT, 80, SYN))), 'outside')
  assert.equal(word(b.out(tcp(OUT, 80, A, 5, SYN | ACK))), 'inside')
  b.order(disable(2))
  assert.equal(word(b.in(tcp(IN_A, 5, OUT, 80, ACK))), 'denied-by-rule')
})

test('UDP that a rule lets out is one-way where the policy denies, until another rule lets it in', () => {
  const b = ruled(CLOSED)
  b.order(enable(1, 'out', { protocol: UDP }))
  b.in(udp(IN_A, 5, OUT, 53))
  assert.equal(word(b.out(udp(OUT, 53, A, 5))), 'filtered')
  b.order(enable(2, 'in', { protocol: UDP }))
  assert.equal(word(b.out(udp(OUT, 53, A, 5))), 'inside')
  assert.deepEqual([counted(b, 1).packets, counted(b, 2).packets], [1, 1])
  b.order(end(2))
  assert.equal(word(b.out(udp(OUT, 53, A, 5))), 'filtered')
  assert.equal(word(b.in(udp(IN_A, 5, OUT, 53))), 'outside')
  const open = ruled()
  open.order(enable(1, 'out', { protocol: UDP }))
  open.in(udp(IN_A, 5, OUT, 53))
  assert.equal(word(open.out(udp(OUT, 53, A, 5))), 'inside')
  assert.equal(counted(open, 1).packets, 1)
})

test('errors pass whatever is blocked', () => {
  const b = ruled(CLOSED)
  b.order(enable(1, 'out'))
  const { sent: [{ bytes }] } = b.in(udp(IN_A, 5, OUT, 53))
  assert.equal(word(b.out(icmpError({ src: OUT_2, original: bytes, icmpType: 3 }))), 'inside')
})

test('IPv6 is let in by a rule, and out again only by another where the policy denies', () => {
  const b = ruled(CLOSED)
  b.order(enable(1, 'in', { version: 6, local: host(IN6, 5) }))
  assert.equal(word(b.out(udp(OUT6, 53, IN6, 6))), 'denied')
  assert.equal(word(b.out(udp(OUT6, 53, IN6, 5))), 'inside')
  const back = b.in(udp(IN6, 5, OUT6, 53))
  assert.deepEqual([back.reason, back.sent.length], ['denied', 0])
  b.order(enable(2, 'out', { version: 6 }))
  assert.equal(word(b.in(udp(IN6, 5, OUT6, 53))), 'outside')
  b.order(disable(3, { version: 6 }))
  assert.equal(b.model.flows.all().length, 0)
  assert.equal(word(b.out(udp(OUT6, 53, IN6, 5))), 'denied-by-rule')
})

test('a port binding is the way in for whom a rule admits, and for nobody else', () => {
  const b = ruled({ filtering: 'endpoint-independent' })
  assert.equal(word(b.out(udp(OUT, 53, A, BLOCK))), 'no-mapping')
  b.order(ports('bind-ports', IN_A, 7000, BLOCK, 2), enable(1, 'in', { bound: true, peer: host(OUT) }))
  assert.equal(word(b.out(udp(OUT_2, 53, A, BLOCK))), 'filtered')
  assert.equal(ends(b.out(udp(OUT, 53, A, BLOCK + 1)).sent[0].bytes), OUT + ':53 > ' + IN_A + ':7001')
  assert.equal(word(b.out(udp(OUT, 53, A, BLOCK + 2))), 'no-mapping')
  assert.equal(word(b.out(udp(OUT_2, 53, A, BLOCK + 1))), 'filtered')
  assert.equal(ends(b.in(udp(IN_A, 7000, OUT_2, 9)).sent[0].bytes), A + ':' + BLOCK + ' > ' + OUT_2 + ':9')
})

test('a bound rule does not open a dynamic mapping', () => {
  const b = ruled()
  b.in(udp(IN_A, 5, OUT, 53))
  b.order(enable(1, 'in', { bound: true }))
  assert.equal(word(b.out(udp(OUT_2, 53, A, 5))), 'filtered')
  b.order(end(1), enable(1, 'in'))
  assert.equal(word(b.out(udp(OUT_2, 53, A, 5))), 'inside')
})

test('no dynamic mapping takes a reserved port or a reserved address', () => {
  const b = ruled({ portLo: BLOCK, portHi: 5010 })
  assert.match(ends(b.in(udp(IN_A, BLOCK, OUT, 53)).sent[0].bytes), /:5010 >/)
  assert.equal(word(b.in(udp(IN_A, BLOCK + 1, OUT, 53))), 'no-outside-port')
  assert.equal(word(b.out(udp(BOUND, 1, A, 5010))), 'martian-source')
})

test('a dynamic mapping stays for its flows, and new flows take the binding until it ends', () => {
  const b = ruled()
  b.in(udp(IN_A, 7000, OUT, 53))
  b.order(ports('bind-ports', IN_A, 7000))
  assert.equal(ends(b.in(udp(IN_A, 7000, OUT, 53)).sent[0].bytes), A + ':7000 > ' + OUT + ':53')
  assert.equal(ends(b.in(udp(IN_A, 7000, OUT, 54)).sent[0].bytes), A + ':' + BLOCK + ' > ' + OUT + ':54')
  b.order(ports('unbind-ports', IN_A, 7000))
  assert.deepEqual(b.model.flows.all().map(f => f.peer.port), [53])
  assert.equal(word(b.out(udp(OUT, 54, A, BLOCK))), 'no-mapping')
  b.order(ports('bind-ports', IN_B, 9))
  assert.equal(word(b.out(udp(OUT, 54, A, BLOCK))), 'filtered')
})

test('a packet that is admitted at a binding takes the place of a flow with the same five words', () => {
  const b = ruled()
  b.in(udp(IN_A, 7000, OUT, 53))
  b.order(ports('bind-ports', IN_A, 7000))
  assert.equal(word(b.out(udp(OUT, 53, A, BLOCK))), 'filtered')
  b.order(enable(1, 'in'))
  assert.equal(word(b.out(udp(OUT, 53, A, BLOCK))), 'inside')
  assert.equal(ends(b.in(udp(IN_A, 7000, OUT, 53)).sent[0].bytes), A + ':' + BLOCK + ' > ' + OUT + ':53')
  assert.equal(b.model.flows.all().length, 1)
})

test('an address binding carries every protocol with its own ports', () => {
  const b = ruled()
  assert.equal(word(b.out(gre(OUT, BOUND))), 'no-mapping')
  b.order(address('bind-address', IN_A))
  assert.equal(word(b.out(gre(OUT, BOUND))), 'filtered')
  assert.equal(word(b.out(echo(OUT, BOUND, 0))), 'no-state')
  b.order(enable(1, 'in', { bound: true }))
  for (const spec of [gre(OUT, BOUND), echo(OUT, BOUND, 8), udp(OUT, 53, BOUND, 9), tcp(OUT, 53, BOUND, 9, SYN)]) {
    const { sent: [{ bytes, side }] } = b.out(spec)
    assert.equal(side, 'inside')
    assert.match(ends(bytes), new RegExp(IN_A))
    assert.deepEqual(verify(bytes), [])
  }
  assert.equal(ends(b.in(udp(IN_A, 33, OUT, 53)).sent[0].bytes), BOUND + ':33 > ' + OUT + ':53')
  b.order(end(1), address('unbind-address', IN_A))
  assert.equal(b.model.flows.all().length, 0)
  assert.match(ends(b.in(gre(IN_A, OUT)).sent[0].bytes), new RegExp(A))
})

test('inside hosts reach a binding by hairpinning, and count for both their rules', () => {
  const b = ruled(CLOSED)
  b.order(ports('bind-ports', IN_A, 7000), enable(1, 'in', { local: host(IN_A) }), enable(2, 'out', { local: host(IN_B) }))
  assert.match(ends(b.in(udp(IN_B, 9, A, BLOCK)).sent[0].bytes), / > 10\.0\.0\.1:7000/)
  assert.deepEqual([counted(b, 1).packets, counted(b, 2).packets], [1, 1])
})

test('when a rule ends another takes its flows, and the rest end', () => {
  const b = ruled(CLOSED)
  b.order(enable(1, 'out'), enable(2, 'out', { peer: host(OUT) }))
  b.in(udp(IN_A, 5, OUT, 53))
  b.in(udp(IN_A, 5, OUT_2, 53))
  b.order(end(1))
  assert.deepEqual(b.model.flows.all().map(f => f.halves.out.rule), [2])
  assert.equal(word(b.in(udp(IN_A, 5, OUT, 53))), 'outside')
  assert.deepEqual([counted(b, 1).packets, counted(b, 2).packets], [2, 1])
  b.order(end(2))
  assert.equal(b.model.flows.all().length, 0)
})

test('flows of an ended rule free their slots with the last one first', () => {
  const b = ruled(CLOSED)
  b.order(enable(1, 'out'))
  for (let i = 1; i <= 3; i++) b.in(udp(IN_A, i, OUT, 53))
  b.order(end(1), enable(1, 'out'))
  b.in(udp(IN_A, 9, OUT, 53))
  assert.equal(b.model.flows.slots[1]?.inside.port, 9)
})

test('a disable rule ends the flows it matches, whoever admitted them (RFC 4540 8.8)', () => {
  const b = ruled()
  b.order(enable(1, 'out', { peer: host(OUT) }))
  for (const peer of [OUT, OUT_2]) b.in(udp(IN_A, 5, peer, 53))
  b.order(disable(2, { peer: host(OUT_2) }))
  assert.equal(b.model.flows.all().length, 1)
  assert.equal(word(b.in(udp(IN_A, 5, OUT_2, 53))), 'denied-by-rule')
  b.order(end(2))
  assert.equal(word(b.in(udp(IN_A, 5, OUT_2, 53))), 'outside')
})

test('a rule counts packets, bytes and the time of the last one, and starts at nothing', () => {
  const b = ruled()
  b.nowMs = 10
  b.order(enable(1, 'out'))
  assert.deepEqual(counted(b, 1), { packets: 0, bytes: 0, lastUsedMs: 10 })
  b.nowMs = 20
  b.in(tcp(IN_A, 5, OUT, 80, SYN))
  b.nowMs = 30
  b.out(tcp(OUT, 80, A, 5, SYN | ACK))
  assert.deepEqual(counted(b, 1), { packets: 2, bytes: 80, lastUsedMs: 30 })
  b.order(end(1), enable(1, 'out'))
  assert.deepEqual(counted(b, 1), { packets: 0, bytes: 0, lastUsedMs: 30 })
})

test('twice-NAT shows an inside address for an outside host, by its ports', () => {
  const b = ruled()
  assert.equal(word(b.in(udp(IN_A, 5, SHOWN, 1025))), 'no-mapping')
  b.order(inside('bind-inside', OUT, 53, 1024, 2))
  const { sent: [{ bytes }] } = b.in(udp(IN_A, 5, SHOWN, 1025))
  assert.equal(ends(bytes), A + ':5 > ' + OUT + ':54')
  assert.deepEqual(verify(bytes), [])
  const back = b.out(udp(OUT, 54, A, 5)).sent[0].bytes
  assert.equal(ends(back), SHOWN + ':1025 > ' + IN_A + ':5')
  assert.deepEqual(verify(back), [])
  assert.equal(word(b.in(tcp(IN_A, 5, SHOWN, 1025, SYN))), 'no-mapping')
  b.order(inside('unbind-inside', OUT, 53, 1024, 2))
  assert.equal(ends(b.out(udp(OUT, 54, A, 5)).sent[0].bytes), OUT + ':54 > ' + IN_A + ':5')
  assert.equal(word(b.in(udp(IN_A, 5, SHOWN, 1025))), 'no-mapping')
})

test('twice-NAT of a whole address holds for all protocols, for errors, and for flows from outside', () => {
  const b = ruled()
  b.order(inside('bind-inside', OUT), address('bind-address', IN_A), enable(1, 'in', { twice: true }))
  const { sent: [{ bytes: came }] } = b.out(udp(OUT, 53, BOUND, 9))
  assert.equal(ends(came), SHOWN + ':53 > ' + IN_A + ':9')
  const { sent: [{ bytes: refused }] } = b.in(icmpError({ src: IN_A, original: came, icmpType: 3 }))
  assert.deepEqual([ends(refused), ends(refused.slice(28))], [BOUND + ' > ' + OUT, OUT + ':53 > ' + BOUND + ':9'])
  assert.deepEqual(verify(refused), [])
  const { sent: [{ bytes: left }] } = b.in(echo(IN_A, SHOWN, 8))
  assert.equal(ends(left), BOUND + ' > ' + OUT)
  const { sent: [{ bytes: error }] } = b.out(icmpError({ src: OUT, original: left, icmpType: 3 }))
  assert.deepEqual([ends(error), ends(error.slice(28))], [SHOWN + ' > ' + IN_A, IN_A + ' > ' + SHOWN])
  assert.deepEqual(verify(error), [])
})

test('a bound address needs no flow: making room may end its only one, and still opens the next', () => {
  const b = ruled({ flows: 16 })
  b.order(address('bind-address', IN_A), enable(1, 'in', { bound: true }))
  assert.equal(word(b.out(udp(OUT, 1, BOUND, 9))), 'inside')
  for (let i = 1; i < 16; i++) b.in(udp(IN_B, 2000 + i, OUT, 53))
  assert.equal(word(b.out(udp(OUT, 2, BOUND, 9))), 'inside')
  assert.deepEqual(b.model.flows.all().filter(f => f.inside.port === 9).map(f => f.peer.port), [2])
})
