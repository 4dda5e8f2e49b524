/** Sequence numbers: what belongs to a connection, by RFC 9293, and what an attacker off the path can do no more, by RFC 5961. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, fragment, type PacketSpec } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../wire/frames.ts'
import { WINDOW_LOOSE, WINDOW_OFF, WINDOW_STRICT, type EngineOptions } from './options.ts'
import { createRig, type Rig } from './testing.ts'

const FIN = 1, SYN = 2, RST = 4, ACK = 16
const a = '10.0.0.1', b = '198.51.100.1', nat = '203.0.113.1'
const SCALE_7 = Uint8Array.of(1, 3, 3, 7)

type Wire = (way: 'out' | 'in', flags: number, seq: number, ack?: number, more?: Partial<PacketSpec> & { bytes?: number }) => string

function wire(changes: Partial<EngineOptions> = {}): Wire & { rig: Rig; nowMs: number } {
  const rig = createRig({ tcpWindow: WINDOW_STRICT, ...changes })
  const send: Wire = (way, tcpFlags, seq, ack = 0, { bytes = 0, ...more } = {}) => {
    const ends = way === 'out' ? { src: a, dst: b, srcPort: 5000, dstPort: 80 } : { src: b, dst: nat, srcPort: 80, dstPort: 5000 }
    const packet = buildPacket({ proto: 'tcp', tcpFlags, seq: seq >>> 0, ack: ack >>> 0, payload: new Uint8Array(bytes), ...ends, ...more })
    return rig.send(way === 'out' ? SIDE_INSIDE : SIDE_OUTSIDE, packet, made.nowMs).reason ?? 'passes'
  }
  const made = Object.assign(send, { rig, nowMs: 0 })
  return made
}

/** A connection whose ends have sent 1000 and 5000 as their first numbers, with windows of 1000 bytes, and of 128,000 to the inside. */
function connected(changes: Partial<EngineOptions> = {}, from = 1000, to = 5000) {
  const w = wire(changes)
  assert.equal(w('out', SYN, from, 0, { window: 1000, tcpOptions: SCALE_7 }), 'passes')
  assert.equal(w('in', SYN | ACK, to, from + 1, { window: 1000, tcpOptions: Uint8Array.of(3, 3, 0) }), 'passes')
  assert.equal(w('out', ACK, from + 1, to + 1, { window: 1000 }), 'passes')
  return w
}

const ISNS: [number, number][] = [[1000, 5000], [0xffff_fffe, 0x7fff_fffe], [0x7fff_ff00, 0xffff_ff00], [0, 0xffff_ffff]]

test('windows: data inside of the offered window passes, with scaling, across both wraps of the number; data beyond does not', () => {
  for (const [from, to] of ISNS) {
    const w = connected({}, from, to)
    // The outside has 1000 << 7 bytes of room, the inside 1000.
    assert.equal(w('in', ACK, to + 1, from + 1, { bytes: 1400, window: 1000 }), 'passes')
    assert.equal(w('in', ACK, to + 1 + 100_000, from + 1, { bytes: 1400, window: 1000 }), 'passes')
    assert.equal(w('in', ACK, to + 1 + 128_000, from + 1, { window: 1000 }), 'passes', 'the first byte that is not allowed yet: a probe')
    assert.equal(w('in', ACK, to + 1 + 128_001, from + 1, { window: 1000 }), 'tcp-out-of-window')
    assert.equal(w('out', ACK, from + 1, to + 1, { bytes: 1000, window: 1000 }), 'passes')
    assert.equal(w('out', ACK, from + 1002, to + 1, { bytes: 10, window: 1000 }), 'tcp-out-of-window')
    assert.equal(w('in', ACK, to + 1, from + 1001, { window: 2000 }), 'passes')
    assert.equal(w('out', ACK, from + 1002, to + 1, { bytes: 10, window: 1000 }), 'passes', 'acknowledged, it goes on')
  }
})

test('windows: what is repeated passes as far as a window back, and keep-alives do', () => {
  const w = connected()
  for (let n = 0; n < 10; n++) {
    w('out', ACK, 1001 + n * 1000, 5001, { bytes: 1000, window: 1000 })
    w('in', ACK, 5001, 2001 + n * 1000, { window: 1000 })
  }
  assert.equal(w('out', ACK, 10_001, 5001, { bytes: 1000, window: 1000 }), 'passes', 'sent again')
  assert.equal(w('out', ACK, 11_000, 5001, { bytes: 1, window: 1000 }), 'passes', 'a keep-alive')
  assert.equal(w('out', ACK, 10_001, 5001, { window: 1000 }), 'passes')
  assert.equal(w('out', ACK, 10_000, 5001, { window: 1000 }), 'tcp-out-of-window')
})

test('windows: acknowledgements of what was not sent, or is long past, are dropped', () => {
  const w = connected()
  assert.equal(w('out', ACK, 1001, 5002, { window: 1000 }), 'tcp-bad-ack')
  assert.equal(w('out', ACK, 1001, 5001 - 128_000, { window: 1000 }), 'passes', 'a window back')
  assert.equal(w('out', ACK, 1001, 5001 - 128_001, { window: 1000 }), 'tcp-bad-ack')
})

// @req RFC7857 2.2c
test('windows: an RST is of the connection by its number: exact it counts, in the window it is left to the ends, else it is dropped (RFC 7857 2.2, RFC 5961 3)', () => {
  for (const [tcpWindow, near] of [[WINDOW_STRICT, 7_440_000], [WINDOW_LOOSE, 240_000]] as const) {
    for (const [seq, expected, leftMs] of [
      [5001, 'passes', 240_000], [5001 + 500, 'passes', near], [5001 + 128_001, 'tcp-rst-out-of-window', 7_440_000],
      [5000, 'tcp-rst-out-of-window', 7_440_000], [5001 + 2 ** 30, 'tcp-rst-out-of-window', 7_440_000],
    ] as const) {
      const w = connected({ tcpWindow })
      assert.equal(w('in', RST, seq), expected, `${seq}`)
      w.rig.engine.expire(leftMs - 1)
      assert.equal(w.rig.count('flows-current'), 1)
      w.rig.engine.expire(leftMs)
      assert.equal(w.rig.count('flows-current'), 0)
    }
  }
  const off = connected({ tcpWindow: WINDOW_OFF })
  assert.equal(off('in', RST, 77), 'passes', 'unless numbers are not looked at')
})

test('windows: a challenged reset comes again with the right number (RFC 5961 3.2)', () => {
  const w = connected()
  assert.equal(w('in', RST, 5100), 'passes')
  assert.equal(w('out', ACK, 1001, 5001, { window: 1000 }), 'passes', 'the challenge')
  assert.equal(w('in', RST, 5001), 'passes')
  w.rig.engine.expire(240_000)
  assert.equal(w.rig.count('flows-current'), 0)
})

test('windows: a refused connection is told so by the number that is acknowledged (RFC 9293 3.10.7.3)', () => {
  const w = wire()
  w('out', SYN, 1000)
  assert.equal(w('in', RST | ACK, 0, 1000), 'tcp-rst-out-of-window')
  assert.equal(w('in', RST, 1001), 'tcp-rst-out-of-window', 'without an acknowledgement')
  assert.equal(w('in', RST | ACK, 0, 1001), 'passes')
})

test('windows: a SYN in an open connection changes nothing; in the window it is dropped, where an old receiver would reset (RFC 5961 4)', () => {
  for (const flags of [SYN, SYN | ACK]) {
    const w = connected()
    assert.equal(w('in', flags, 5001, 1001), 'tcp-syn-in-window')
    assert.equal(w('in', flags, 5001 + 127_999, 1001), 'tcp-syn-in-window')
    assert.equal(w('in', flags, 5000, 1001), 'passes', 'the SYN of this connection, again')
    assert.equal(w('in', flags, 5001 + 2 ** 30, 1001), 'passes', 'for a challenge: its sender may have started anew')
    assert.equal(w('in', ACK, 5001, 1001, { bytes: 10 }), 'passes', 'and the connection goes on')
    assert.equal(w.rig.count('tcp-challenges-expected'), 2)
    // The challenge is answered by a reset, and then the SYN opens a connection.
    assert.equal(w('out', ACK, 1001, 5011), 'passes')
    assert.equal(w('in', RST, 5011), 'passes')
    if (flags === SYN) {
      assert.equal(w('in', SYN, 700_000), 'passes')
      assert.equal(w('out', SYN | ACK, 9_000_000, 700_001), 'passes')
      assert.equal(w('in', ACK, 700_001, 9_000_001, { bytes: 100 }), 'passes')
    }
  }
})

test('windows: without the option of both ends windows are not scaled (RFC 7323 2.2)', () => {
  for (const [first, second, most] of [[SCALE_7, undefined, 1000], [undefined, SCALE_7, 1000], [SCALE_7, SCALE_7, 128_000], [Uint8Array.of(3, 3, 99), SCALE_7, 16_384_000]] as const) {
    const w = wire()
    w('out', SYN, 1000, 0, { window: 1000, ...first && { tcpOptions: first } })
    w('in', SYN | ACK, 5000, 1001, { window: 1000, ...second && { tcpOptions: second } })
    w('out', ACK, 1001, 5001, { window: 1000 })
    assert.equal(w('in', ACK, 5001 + most, 1001, { bytes: 1 }), 'passes')
    assert.equal(w('in', ACK, 5001 + most + 2, 1001, { bytes: 1 }), 'tcp-out-of-window')
  }
})

test('windows: both ends may open at once (RFC 9293 3.5), and either may speak first', () => {
  const w = wire()
  assert.equal(w('out', SYN, 1000, 0, { window: 1000 }), 'passes')
  assert.equal(w('in', SYN, 5000, 0, { window: 1000 }), 'passes')
  assert.equal(w('out', SYN | ACK, 1000, 5001, { window: 1000 }), 'passes')
  assert.equal(w('in', SYN | ACK, 5000, 1001, { window: 1000 }), 'passes')
  assert.equal(w('in', ACK, 5001, 1001, { bytes: 500, window: 1000 }), 'passes')
  assert.equal(w('in', ACK, 5501, 1001, { bytes: 500, window: 1000 }), 'passes')
  assert.equal(w('in', ACK, 6002, 1001, { bytes: 500, window: 1000 }), 'tcp-out-of-window')
})

test('windows: a connection that is met in its middle is followed from there', () => {
  const w = wire()
  assert.equal(w('out', ACK, 1000, 5000, { bytes: 100 }), 'passes')
  assert.equal(w('in', ACK, 5000, 1100, { bytes: 1400 }), 'passes')
  assert.equal(w('out', ACK, 1100, 6400), 'passes')
  assert.equal(w('out', ACK, 1100, 6401), 'tcp-bad-ack')
  assert.equal(w('in', RST, 77), 'tcp-rst-out-of-window')
  assert.equal(w('in', RST, 6400), 'passes')
})

test('windows: of a connection of which one end is seen alone nothing is dropped', () => {
  const w = wire()
  w('out', SYN, 1000)
  for (let n = 0; n < 100; n++) assert.equal(w('out', ACK, 1001, 5001 + n * 50_000), 'passes')
})

test('windows: closing is followed, and a new connection by the same ends begins with new numbers', () => {
  const w = connected()
  assert.equal(w('out', FIN | ACK, 1001, 5001), 'passes')
  assert.equal(w('in', ACK, 5001, 1002), 'passes')
  assert.equal(w('in', FIN | ACK, 5001, 1002), 'passes')
  assert.equal(w('out', ACK, 1002, 5002), 'passes')
  assert.equal(w('out', ACK, 1002, 5003), 'tcp-bad-ack')
  assert.equal(w('out', SYN, 3_000_000_000), 'passes')
  assert.equal(w('in', SYN | ACK, 7, 3_000_000_001), 'passes')
  assert.equal(w('out', ACK, 3_000_000_001, 8), 'passes')
})

test('windows: the first piece of a fragmented segment does not tell how long it is, and does not stop its acknowledgement', () => {
  const w = connected()
  const whole = buildPacket({ proto: 'tcp', tcpFlags: ACK, src: b, dst: nat, srcPort: 80, dstPort: 5000, seq: 5001, ack: 1001, payload: new Uint8Array(3000), id: 3 })
  for (const piece of fragment(whole, [1480, 1480], { id: 3 })) assert.equal(w.rig.send(SIDE_OUTSIDE, piece, 0).reason, null)
  assert.equal(w('out', ACK, 1001, 8001), 'passes')
})

test('windows: the loose box drops resets alone, and counts what it would not have seen', () => {
  const w = connected({ tcpWindow: WINDOW_LOOSE })
  assert.equal(w('in', ACK, 1_000_000_000, 1001), 'passes')
  assert.equal(w('out', ACK, 1001, 99_999), 'passes')
  assert.equal(w.rig.count('tcp-out-of-window-passed'), 2)
  w.nowMs = 7_000_000
  assert.equal(w('in', ACK, 1_000_000_000, 1001), 'passes')
  w.rig.engine.expire(7_440_001)
  assert.equal(w.rig.count('flows-current'), 1, 'such a segment keeps the flow all the same')
  assert.equal(w('in', RST, 77), 'tcp-rst-out-of-window')
})

test('windows: hairpinned connections are followed at both of their flows', () => {
  const rig = createRig({ tcpWindow: WINDOW_STRICT })
  rig.send(SIDE_INSIDE, buildPacket({ proto: 'tcp', tcpFlags: SYN, src: a, dst: b, srcPort: 5000, dstPort: 80 }), 0)
  const from = (src: string, srcPort: number, dstPort: number, tcpFlags: number, seq: number, ack = 0) =>
    rig.send(SIDE_INSIDE, buildPacket({ proto: 'tcp', tcpFlags, src, dst: nat, srcPort, dstPort, seq, ack, window: 1000 }), 0).reason
  rig.send(SIDE_INSIDE, buildPacket({ proto: 'tcp', tcpFlags: SYN, src: a, dst: nat, srcPort: 5000, dstPort: 6000, seq: 5000 }), 0)
  assert.equal(from('10.0.0.2', 6000, 5000, SYN, 1000), null)
  assert.equal(from(a, 5000, 6000, SYN | ACK, 5000, 1001), null)
  assert.equal(from('10.0.0.2', 6000, 5000, ACK, 1001, 5001), null)
  assert.equal(from('10.0.0.2', 6000, 5000, ACK, 9001, 5001), 'tcp-out-of-window')
})
