/** Six seconds of silence for a SYN that nobody has asked for (RFC 5382 REQ-4), to the millisecond. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, verify, type PacketSpec } from '../wire/build.ts'
import { DROP, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { FILTER_ENDPOINT_INDEPENDENT, type EngineOptions } from './options.ts'
import { createRig, type Rig } from './testing.ts'

const SYN = 2, ACK = 16, SYN_ACK = 18, RST = 4
const a = '10.0.0.1', b = '198.51.100.1', nat = '203.0.113.1', a6 = 'fd00::1', b6 = '2001:db8::1'
const STARTS = [0, 0x7fff_ffff, 0x7fff_ffff - 3000, -1, -(2 ** 31)]
const WAIT_MS = 6000

const fromOutside = (more: Partial<PacketSpec> = {}) => buildPacket({ proto: 'tcp', src: b, dst: nat, srcPort: 80, dstPort: 5000, tcpFlags: SYN, seq: 900, ...more })
const fromInside = (more: Partial<PacketSpec> = {}) => buildPacket({ proto: 'tcp', src: a, dst: b, srcPort: 5000, dstPort: 80, tcpFlags: SYN, seq: 100, ...more })
const from6 = (more: Partial<PacketSpec> = {}) => buildPacket({ proto: 'tcp', src: b6, dst: a6, srcPort: 80, dstPort: 5000, tcpFlags: SYN, ...more })

/** Everything that is told by `nowMs`, as packets. */
function told(rig: Rig, nowMs: number): Uint8Array[] {
  const answers: Uint8Array[] = []
  const { extras } = rig.engine
  while (rig.engine.late(nowMs)) {
    for (let n = 0; n < extras.count(); n++) {
      assert.equal(extras.verdict[n], TO_OUTSIDE)
      answers.push(rig.frames.pool.slice(extras.l3[n], extras.l3[n] + extras.capBytes[n]))
    }
  }
  return answers
}

// @req RFC5382 REQ-4
test('syns: one that no mapping waits for is met by silence for 6 s, then by port unreachable that quotes it (RFC 5382 REQ-4)', () => {
  for (const start of STARTS) {
    const rig = createRig(), syn = fromOutside({ payload: new Uint8Array(1000) })
    const { verdict, reason, extras } = rig.send(SIDE_OUTSIDE, syn, start)
    assert.deepEqual([verdict, reason, extras.length], [DROP, 'no-mapping', 0])
    assert.equal(rig.count('syns-held-current'), 1)
    assert.deepEqual(told(rig, start + WAIT_MS - 1 | 0), [], 'one before')
    const [answer, ...more] = told(rig, start + WAIT_MS | 0)
    assert.equal(more.length, 0)
    assert.deepEqual(verify(answer), [])
    assert.deepEqual([answer[20], answer[21]], [3, 3], 'destination unreachable, port unreachable')
    assert.deepEqual([answer.slice(12, 16).join('.'), answer.slice(16, 20).join('.')], [nat, b], 'from the address that was asked')
    assert.equal(answer.length, 576, 'as much of it as fits (RFC 1812 4.3.2.3)')
    assert.deepEqual(answer.slice(28), syn.slice(0, 576 - 28))
    assert.equal(rig.count('syns-held-current'), 0)
    assert.equal(rig.count('icmp-errors-originated'), 1)
    assert.deepEqual(told(rig, start + 100_000 | 0), [], 'and only once')
  }
})

// @req RFC5382 REQ-4, REQ-2a
test('syns: if the inside opens the connection meanwhile the SYN is forgotten in silence, and the repeated one passes (RFC 5382 REQ-4, REQ-2a)', () => {
  for (const atMs of [0, 1, WAIT_MS - 1]) {
    const rig = createRig()
    rig.send(SIDE_OUTSIDE, fromOutside(), 0)
    assert.equal(rig.send(SIDE_INSIDE, fromInside(), atMs).verdict, TO_OUTSIDE)
    assert.equal(rig.count('syns-solicited'), 1)
    assert.deepEqual(told(rig, 100_000), [])
    // Simultaneous open goes on: both SYNs, both SYN-ACKs.
    for (const [side, flags] of [[SIDE_OUTSIDE, SYN], [SIDE_INSIDE, SYN_ACK], [SIDE_OUTSIDE, SYN_ACK], [SIDE_INSIDE, ACK]] as const) {
      const packet = side === SIDE_INSIDE ? fromInside({ tcpFlags: flags }) : fromOutside({ tcpFlags: flags })
      assert.notEqual(rig.send(side, packet, 3000).verdict, DROP)
    }
  }
})

test('syns: another connection of the same hosts does not excuse it', () => {
  for (const other of [{ dstPort: 81 }, { srcPort: 5001 }, { dst: '198.51.100.2' }, { src: '10.0.0.2', srcPort: 5001 }]) {
    const rig = createRig()
    rig.send(SIDE_OUTSIDE, fromOutside(), 0)
    rig.send(SIDE_INSIDE, fromInside(other), 1000)
    assert.equal(told(rig, WAIT_MS).length, 1)
  }
})

test('syns: one that the filter stops is treated alike, one that it admits passes', () => {
  const rig = createRig()
  rig.send(SIDE_INSIDE, fromInside({ dst: '198.51.100.2' }), 0)
  assert.equal(rig.send(SIDE_OUTSIDE, fromOutside(), 0).reason, 'filtered')
  assert.equal(told(rig, WAIT_MS).length, 1)
  const open = createRig({ filtering: FILTER_ENDPOINT_INDEPENDENT })
  open.send(SIDE_INSIDE, fromInside({ dst: '198.51.100.2' }), 0)
  assert.equal(open.send(SIDE_OUTSIDE, fromOutside(), 0).verdict, TO_INSIDE)
  assert.deepEqual(told(open, 100_000), [])
})

// @req RFC5382 REQ-3b
test('syns: TCP may be filtered otherwise than UDP (RFC 5382 REQ-3b)', () => {
  const rig = createRig({ tcpFiltering: FILTER_ENDPOINT_INDEPENDENT })
  rig.send(SIDE_INSIDE, fromInside(), 0)
  rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 5000, dstPort: 80 }), 0)
  const stranger = { src: '192.0.2.7', dst: nat, srcPort: 9, dstPort: 5000 }
  assert.equal(rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'tcp', tcpFlags: SYN, ...stranger }), 0).verdict, TO_INSIDE)
  assert.equal(rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'udp', ...stranger }), 0).reason, 'filtered')
})

test('syns: IPv6 is told that it is prohibited (RFC 6092), and forgotten if the inside opens', () => {
  const rig = createRig(), syn = from6({ payload: new Uint8Array(1300) })
  assert.equal(rig.send(SIDE_OUTSIDE, syn, 0).reason, 'denied')
  assert.deepEqual(told(rig, WAIT_MS - 1), [])
  const [answer] = told(rig, WAIT_MS)
  assert.deepEqual(verify(answer), [])
  assert.deepEqual([answer[40], answer[41], answer.length], [1, 1, 1280])
  assert.deepEqual(answer.slice(48), syn.slice(0, 1232))
  rig.send(SIDE_OUTSIDE, from6(), 10_000)
  rig.send(SIDE_INSIDE, buildPacket({ proto: 'tcp', src: a6, dst: b6, srcPort: 5000, dstPort: 80, tcpFlags: SYN }), 12_000)
  assert.deepEqual(told(rig, 100_000), [])
})

test('syns: IPv4 without NAT is told of the port by the box', () => {
  const rig = createRig({ nat44: false })
  assert.equal(rig.send(SIDE_OUTSIDE, fromOutside({ dst: a }), 0).reason, 'denied')
  const [answer] = told(rig, WAIT_MS)
  assert.deepEqual([answer.slice(12, 16).join('.'), answer[20], answer[21]], ['192.0.0.8', 3, 3])
  rig.send(SIDE_OUTSIDE, fromOutside({ dst: a }), 10_000)
  rig.send(SIDE_INSIDE, fromInside(), 11_000)
  assert.deepEqual(told(rig, 100_000), [])
})

test('syns: a repeated one is not held twice, and keeps the time of the first', () => {
  const rig = createRig()
  for (const ms of [0, 1000, 3000]) rig.send(SIDE_OUTSIDE, fromOutside(), ms)
  assert.equal(rig.count('syns-held'), 1)
  assert.equal(told(rig, WAIT_MS).length, 1)
  rig.send(SIDE_OUTSIDE, fromOutside(), 7000)
  assert.deepEqual(told(rig, 7000 + WAIT_MS - 1), [])
  assert.equal(told(rig, 7000 + WAIT_MS).length, 1)
})

test('syns: what is no SYN, or hairpinned, or blocked by policy is never answered', () => {
  const rig = createRig()
  for (const tcpFlags of [ACK, SYN_ACK, RST, RST | ACK]) rig.send(SIDE_OUTSIDE, fromOutside({ tcpFlags }), 0)
  rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'udp', src: b, dst: nat, srcPort: 80, dstPort: 5000 }), 0)
  rig.send(SIDE_INSIDE, fromInside({ dst: nat, dstPort: 9 }), 0)
  assert.equal(rig.count('syns-held'), 0)
})

// @req RFC5382 REQ-4a
test('syns: if the policy of the box is silence there is silence (RFC 5382 REQ-4a)', () => {
  const rig = createRig({ heldSyns: 0 })
  assert.equal(rig.send(SIDE_OUTSIDE, fromOutside(), 0).reason, 'no-mapping')
  assert.deepEqual(told(rig, 100_000), [])
  assert.equal(rig.count('syns-unheld'), 0)
})

test('syns: a fixed number waits; those beyond are dropped in silence and counted, and room comes back', () => {
  const rig = createRig({ heldSyns: 3, icmpErrorsPerSecond: 1000 })
  for (let n = 0; n < 10; n++) rig.send(SIDE_OUTSIDE, fromOutside({ srcPort: 1000 + n }), n)
  assert.deepEqual([rig.count('syns-held'), rig.count('syns-unheld'), rig.count('syns-held-current')], [3, 7, 3])
  // One of the middle is solicited; the others keep their order.
  rig.send(SIDE_INSIDE, fromInside({ dstPort: 1001 }), 100)
  rig.send(SIDE_OUTSIDE, fromOutside({ src: '192.0.2.9', srcPort: 2000 }), 200)
  const ports = told(rig, 100_000).map((answer) => answer[48] << 8 | answer[49])
  assert.deepEqual(ports, [1000, 1002, 2000])
})

test('syns: a flood of them is answered at the rate of ICMP errors; the rest is counted as suppressed', () => {
  const rig = createRig({ heldSyns: 512, icmpErrorsPerSecond: 10 })
  for (let n = 0; n < 400; n++) rig.send(SIDE_OUTSIDE, fromOutside({ srcPort: 1000 + n }), 0)
  assert.equal(told(rig, 100_000).length, 10)
  assert.equal(rig.count('icmp-errors-suppressed'), 390)
  assert.equal(rig.count('syns-held-current'), 0)
})

test('syns: the silence may be longer by its setting, each ends at its own millisecond', () => {
  const options: Partial<EngineOptions> = { unsolicitedSynMs: 60_000, heldSyns: 100, icmpErrorsPerSecond: 1000 }
  for (const start of STARTS) {
    const rig = createRig(options)
    for (let n = 0; n < 100; n++) rig.send(SIDE_OUTSIDE, fromOutside({ srcPort: 1000 + n }), start + n | 0)
    for (let n = 0; n < 100; n++) {
      assert.deepEqual(told(rig, start + 59_999 + n | 0), [])
      assert.equal(told(rig, start + 60_000 + n | 0).length, 1)
    }
  }
})

test('syns: a connection of IPv4 is found again after one of IPv6 was looked for', () => {
  const rig = createRig()
  rig.send(SIDE_OUTSIDE, fromOutside(), 0)
  rig.send(SIDE_OUTSIDE, from6(), 0)
  rig.send(SIDE_INSIDE, fromInside(), 1000)
  assert.equal(rig.count('syns-solicited'), 1)
  assert.deepEqual(told(rig, WAIT_MS).map((answer) => answer[0] >>> 4), [6])
})

test('syns: whichever of many is solicited, the others are still known, and it can be held again', () => {
  const ports = Array.from({ length: 15 }, (_, n) => 1000 + n)
  for (const many of [1, 4, 5, 7, 14]) {
    const rig = createRig({ heldSyns: 15, icmpErrorsPerSecond: 1000 })
    for (const srcPort of ports) rig.send(SIDE_OUTSIDE, fromOutside({ srcPort }), 0)
    for (let n = 0; n < 15; n++) rig.send(SIDE_INSIDE, fromInside({ dstPort: ports[n * many % 15] }), 0)
    const different = new Set(ports.map((_, n) => n * many % 15)).size
    assert.deepEqual([rig.count('syns-solicited'), rig.count('syns-held-current')], [different, 15 - different])
    for (const srcPort of ports) rig.send(SIDE_OUTSIDE, fromOutside({ srcPort, src: '192.0.2.9' }), 0)
    assert.deepEqual([rig.count('syns-held-current'), rig.count('syns-unheld')], [15, 15 - different])
    assert.equal(told(rig, WAIT_MS).length, 15)
  }
})

test('syns: what is quoted is the packet, without its link header and what fills its frame; a longer link header than is kept is not held', () => {
  const rig = createRig(), syn = fromOutside()
  rig.frames.iface[0] = 5
  rig.send(SIDE_OUTSIDE, syn, 0, { linkBytes: 64, padding: new Uint8Array(20).fill(9) })
  rig.send(SIDE_OUTSIDE, fromOutside({ srcPort: 81 }), 0, { linkBytes: 65 })
  assert.deepEqual([rig.count('syns-held'), rig.count('syns-unheld')], [1, 1])
  const [answer] = told(rig, WAIT_MS)
  assert.deepEqual(answer.slice(28), syn)
  assert.deepEqual([rig.engine.extras.iface[0], rig.engine.lateAbout.l3 - rig.engine.lateAbout.off], [5, 64])
})
