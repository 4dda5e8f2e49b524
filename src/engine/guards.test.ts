/** What no honest host sends: flags, addresses and sides, one by one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, fragment, icmpError, type PacketSpec } from '../wire/build.ts'
import { HELD, SIDE_INSIDE, SIDE_OUTSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { SPOOFING_BOTH, SPOOFING_IGNORE, SPOOFING_OUTSIDE } from './options.ts'
import { BAD_FLAGS, judgeFlags } from './tcp-flags.ts'
import { createRig } from './testing.ts'

const a = '10.0.0.1', b = '198.51.100.1', nat = '203.0.113.1', a6 = 'fd00::1', b6 = '2001:db8::1'
const FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32

/** What Linux's connection tracking takes (its table of valid flags), without PSH, ECE and CWR; a reset with URG besides. */
const VALID = new Set([SYN, SYN | URG, SYN | ACK, SYN | ACK | URG, RST, RST | URG, RST | ACK, RST | ACK | URG, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG])

test('guards: of all 256 flags bytes exactly those of a connection pass, from either side, new or known (RFC 9293 3.10.7)', () => {
  const segment = (side: number, tcpFlags: number): PacketSpec => side === SIDE_INSIDE
    ? { proto: 'tcp', src: a, dst: b, srcPort: 5000, dstPort: 80, tcpFlags }
    : { proto: 'tcp', src: b, dst: nat, srcPort: 80, dstPort: 5000, tcpFlags }
  const rig = createRig()
  rig.send(SIDE_INSIDE, buildPacket(segment(SIDE_INSIDE, SYN)), 0)
  for (let flags = 0; flags < 256; flags++) {
    const expected = VALID.has(flags & (FIN | SYN | RST | ACK | URG))
    assert.equal(judgeFlags(flags) < 0, expected, `flags ${flags}`)
    assert.equal(BAD_FLAGS >>> (flags & 31) & 1, expected ? 0 : 1)
    for (const side of [SIDE_INSIDE, SIDE_OUTSIDE]) {
      const { reason } = rig.send(side, buildPacket(segment(side, flags)), 0)
      assert.equal(reason === null, expected, `flags ${flags}: ${reason}`)
      const stranger = createRig({ flows: 16 }).send(side, buildPacket({ ...segment(side, flags), options: new Uint8Array(4) }), 0)
      if (!expected) assert.equal(stranger.reason, reason, 'whether the flow is known or not')
    }
  }
  assert.equal(rig.count('flows-current'), 1)
})

for (const [name, flags, reason] of [
  ['null', 0, 'tcp-null'], ['null with PSH and URG', PSH | URG, 'tcp-null'], ['Xmas', FIN | PSH | URG, 'tcp-xmas'], ['FIN', FIN, 'tcp-fin-without-ack'],
  ['SYN and FIN', SYN | FIN, 'tcp-syn-fin'], ['all six', 63, 'tcp-syn-fin'], ['SYN and RST', SYN | RST, 'tcp-syn-rst'], ['FIN and RST', FIN | RST | ACK, 'tcp-fin-rst'],
] as const) {
  test(`guards: a ${name} scan is dropped by its name, IPv4 and IPv6, whole or as a first fragment`, () => {
    for (const [src, dst] of [[a, b], [a6, b6]]) {
      const spec: PacketSpec = { proto: 'tcp', src, dst, srcPort: 5000, dstPort: 80, tcpFlags: flags, payload: new Uint8Array(64) }
      const rig = createRig()
      assert.equal(rig.send(SIDE_INSIDE, buildPacket(spec), 0).reason, reason)
      const [first, second] = fragment(buildPacket(spec), [40], { id: 7 })
      assert.equal(rig.send(SIDE_INSIDE, first, 0).reason, reason)
      assert.equal(rig.send(SIDE_INSIDE, second, 0).reason, 'fragment-of-dropped')
      assert.equal(rig.count(`drop-${reason}-packets`), 2)
      assert.equal(createRig({ tcpFlags: false }).send(SIDE_INSIDE, buildPacket(spec), 0).reason, (flags & RST) !== 0 ? 'tcp-midstream' : null)
    }
  })
}

test('guards: source and destination alike are a LAND attack, whoever sends it and whatever the address', () => {
  const rig = createRig(), plain = createRig({ nat44: false })
  for (const one of [rig, plain]) {
    for (const side of [SIDE_INSIDE, SIDE_OUTSIDE]) {
      for (const address of [a, b, nat, a6, b6]) {
        for (const proto of ['tcp', 'udp'] as const) {
          const packet = buildPacket({ proto, src: address, dst: address, srcPort: 80, dstPort: 80, tcpFlags: SYN })
          assert.equal(one.send(side, packet, 0).reason, 'land', `${address} ${proto}`)
        }
      }
      // What is a martian first stays one.
      assert.equal(one.send(side, buildPacket({ proto: 'udp', src: '127.0.0.1', dst: '127.0.0.1' }), 0).reason, 'martian-source')
    }
  }
})

test('guards: an inside source does not come from outside (RFC 2827), unless the setting says so', () => {
  const spoofed = buildPacket({ proto: 'udp', src: a, dst: nat, srcPort: 1, dstPort: 2 })
  const spoofed6 = buildPacket({ proto: 'udp', src: a6, dst: 'fd00::2', srcPort: 1, dstPort: 2 })
  const error = icmpError({ src: a, dst: nat, original: buildPacket({ proto: 'udp', src: nat, dst: b, srcPort: 1, dstPort: 2 }), icmpType: 3 })
  for (const spoofing of [SPOOFING_OUTSIDE, SPOOFING_BOTH]) {
    const rig = createRig({ spoofing })
    for (const packet of [spoofed, spoofed6, error]) assert.equal(rig.send(SIDE_OUTSIDE, packet, 0).reason, 'spoofed-source')
    assert.equal(rig.count('drop-spoofed-source-packets'), 3)
  }
  const open = createRig({ spoofing: SPOOFING_IGNORE })
  assert.deepEqual([spoofed, spoofed6].map((packet) => open.send(SIDE_OUTSIDE, packet, 0).reason), ['no-mapping', 'denied'])
})

test('guards: a source that is not inside comes from inside only if egress is not guarded', () => {
  const strange = buildPacket({ proto: 'udp', src: '192.0.2.1', dst: b }), strange6 = buildPacket({ proto: 'udp', src: '2001:db8::2', dst: b6 })
  for (const [spoofing, reason] of [[SPOOFING_OUTSIDE, null], [SPOOFING_BOTH, 'spoofed-source']] as const) {
    const rig = createRig({ spoofing })
    for (const packet of [strange, strange6]) assert.equal(rig.send(SIDE_INSIDE, packet, 0).reason, reason)
    assert.equal(rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: a, dst: b }), 0).verdict, TO_OUTSIDE)
    assert.equal(rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: '169.254.0.1', dst: b }), 0).reason, 'link-local', 'the better name comes first')
  }
})

test('guards: fragments of the two sides are of two datagrams, whatever their addresses and identification', () => {
  const rig = createRig({ spoofing: SPOOFING_IGNORE })
  const whole = buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 1, dstPort: 2, id: 9, payload: new Uint8Array(64) })
  const [first, second] = fragment(whole, [32])
  assert.equal(rig.send(SIDE_INSIDE, first, 0).verdict, TO_OUTSIDE)
  // A forged piece from outside neither rides along nor spoils the datagram.
  assert.equal(rig.send(SIDE_OUTSIDE, second, 0).verdict, HELD)
  assert.equal(rig.send(SIDE_INSIDE, second, 0).verdict, TO_OUTSIDE)
})
