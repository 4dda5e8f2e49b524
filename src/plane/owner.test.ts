/** What app/workers/program.test.ts does not ask of it, which holds it against the kernel's program: malformed packets, and errors of ICMPv6. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSteering } from '../channel/steering.ts'
import { buildPacket } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../wire/frames.ts'
import * as ipv4 from '../wire/ipv4.ts'
import { ANYONE, BY_DATAGRAM, createOwner, PORTLESS_WORKER } from './owner.ts'

const OURS = 0xcb007101 | 0, PEER = 0xc6336407 | 0, HOST = 0x0a000005, P = 3
const steering = createSteering({ workers: 7, stripeBase: 0, stripePorts: 64, bySubnet: false })
const { ofAddress4, ofPort, ofSum6 } = steering

/** Owner of the first `present` octets of a packet, which lie at an odd place. */
function setUp(packet: Uint8Array, nat44 = true) {
  const bytes = new Uint8Array(P + packet.length + 64)
  bytes.set(packet, P)
  const view = new DataView(bytes.buffer)
  const owner = createOwner({ view }, steering, {
    isOurs: (address) => address === OURS, ownerOut: (address, _, port) => address === OURS ? ofPort(port) : ANYONE,
  }, nat44)
  return { view, of: (side: number, present = packet.length) => owner.ownerOf(P, P + present, side), ofFirst: (present = packet.length) => owner.ownerOfFirst(P, P + present) }
}

const udp = (fields: object) => buildPacket({ proto: 'udp', src: PEER, dst: OURS, srcPort: 640, dstPort: 1280, ...fields } as Parameters<typeof buildPacket>[0])
/** An error with the quote of a packet, of which nothing else is looked at. */
function error4(dst: number, quoted: Uint8Array, type = 3): Uint8Array {
  const packet = new Uint8Array(28 + quoted.length)
  packet.set(udp({ dst }).subarray(0, 20))
  packet[9] = 1
  packet[20] = type
  packet.set(quoted, 28)
  return packet
}

test('owner: nothing at all, and what is no IP or has no whole header, anybody may have', () => {
  for (const side of [SIDE_INSIDE, SIDE_OUTSIDE]) {
    const { of, view } = setUp(udp({ src: HOST }))
    for (const present of [0, 1, 19]) assert.equal(of(side, present), ANYONE)
    assert.equal(of(side, -1), ANYONE)
    for (const version of [0, 5, 7, 15]) {
      view.setUint8(P, version << 4 | 5)
      assert.equal(of(side), ANYONE)
    }
    view.setUint8(P, 0x65)
    assert.equal(of(side), ANYONE, 'no 40 octets')
  }
})

test('owner: each kind of packet needs what its owner is told by, and not an octet more', () => {
  const inside = setUp(udp({ src: HOST, dst: PEER }))
  assert.deepEqual([inside.of(SIDE_INSIDE, 20), inside.of(SIDE_INSIDE, 28)], [ofAddress4(HOST), ofAddress4(HOST)])
  const outside = setUp(udp({}))
  assert.deepEqual([outside.of(SIDE_OUTSIDE, 27), outside.of(SIDE_OUTSIDE, 28)], [ANYONE, ofPort(1280)])
  // To an address that is not translated only that counts, and without NAT as well.
  assert.deepEqual([setUp(udp({ dst: HOST })).of(SIDE_OUTSIDE, 20), setUp(udp({}), false).of(SIDE_OUTSIDE, 20)], [ofAddress4(HOST), ofAddress4(OURS)])
  const out = setUp(error4(PEER, udp({ src: PEER, dst: HOST }).subarray(0, 28)))
  assert.deepEqual([47, 48, 56].map((present) => out.of(SIDE_INSIDE, present)), [ANYONE, ofAddress4(HOST), ofAddress4(HOST)])
  assert.equal(out.of(SIDE_INSIDE, 27), ofAddress4(PEER), 'not even the type is there')
  const back = setUp(error4(OURS, udp({ src: OURS, dst: PEER }).subarray(0, 28)))
  assert.deepEqual([27, 47, 48, 55, 56].map((present) => back.of(SIDE_OUTSIDE, present)), [ANYONE, ANYONE, ANYONE, ANYONE, ofPort(640)])
  const untranslated = setUp(error4(HOST, udp({ src: HOST + 1, dst: PEER }).subarray(0, 28)))
  assert.deepEqual([47, 48].map((present) => untranslated.of(SIDE_OUTSIDE, present)), [ANYONE, ofAddress4(HOST + 1)])
})

test('owner: an error about a packet without ports is the first worker\'s, as that is', () => {
  const gre = udp({ src: OURS, dst: PEER })
  gre[9] = 47
  assert.deepEqual([setUp(gre).of(SIDE_INSIDE), setUp(error4(OURS, gre)).of(SIDE_OUTSIDE), setUp(error4(PEER, gre)).of(SIDE_INSIDE)],
    [PORTLESS_WORKER, PORTLESS_WORKER, PORTLESS_WORKER])
  assert.equal(setUp(gre, false).of(SIDE_INSIDE), ofAddress4(OURS))
})

test('owner: a first fragment is by its datagram, and by its ports for who keeps that', () => {
  for (const fragment of [ipv4.MORE_FRAGMENTS, 5, ipv4.MORE_FRAGMENTS | 5]) {
    const { of, ofFirst, view } = setUp(udp({}))
    view.setUint16(P + ipv4.FRAGMENT, fragment)
    assert.deepEqual([of(SIDE_OUTSIDE), of(SIDE_INSIDE), ofFirst()], [BY_DATAGRAM, ofAddress4(PEER), ofPort(1280)])
  }
  const whole = setUp(udp({}))
  whole.view.setUint16(P + ipv4.FRAGMENT, ipv4.DONT_FRAGMENT)
  assert.equal(whole.of(SIDE_OUTSIDE), ofPort(1280))
  const error = setUp(error4(OURS, udp({ src: OURS })))
  error.view.setUint16(P + ipv4.FRAGMENT, ipv4.MORE_FRAGMENTS)
  assert.deepEqual([error.of(SIDE_OUTSIDE), error.ofFirst()], [BY_DATAGRAM, ofPort(640)])
})

const IN6 = Int32Array.of(0x20010db8, 0x10000, 0, 5), OUT6 = Int32Array.of(0x20010db8, 0x90000, 0, 7), FAR6 = Int32Array.of(0x20010db8, 0x50000, 0, 99)
const sumOf = (words: Int32Array) => ofSum6([...words].reduce((sum, word) => sum + (word >>> 16) + (word & 0xffff), 0))
/** From `src`, of ICMPv6, about a packet to `quotedDst`; behind a fragment header if `offset` is no null. */
function error6(type: number, offset: number | null, src = FAR6, quotedDst = IN6): Uint8Array {
  const quoted = buildPacket({ proto: 'udp', src: OUT6, dst: quotedDst, srcPort: 1, dstPort: 2 } as Parameters<typeof buildPacket>[0]).subarray(0, 40)
  const fragment = offset === null ? [] : [58, 0, offset >> 8, offset & 255, 0, 0, 0, 9]
  const packet = new Uint8Array(40 + fragment.length + 8 + 40), view = new DataView(packet.buffer)
  packet[0] = 0x60
  view.setUint16(4, packet.length - 40)
  packet[6] = offset === null ? 58 : 44
  packet[7] = 9
  for (const [n, word] of src.entries()) view.setInt32(8 + 4 * n, word)
  for (const [n, word] of OUT6.entries()) view.setInt32(24 + 4 * n, word)
  packet.set(fragment, 40)
  packet[40 + fragment.length] = type
  packet.set(quoted, 40 + fragment.length + 8)
  return packet
}

test('owner: an ICMPv6 error from inside belongs to the host whose packet it quotes, and other ICMPv6 to its sender', () => {
  assert.equal(new Set([sumOf(IN6), sumOf(FAR6), sumOf(OUT6)]).size, 3)
  for (const type of [1, 2, 3, 4, 127]) assert.equal(setUp(error6(type, null)).of(SIDE_INSIDE), sumOf(IN6), `type ${type}`)
  for (const type of [128, 129, 255]) assert.equal(setUp(error6(type, null)).of(SIDE_INSIDE), sumOf(FAR6), `type ${type}`)
  // Of the pieces of one the first alone has what it quotes.
  assert.equal(setUp(error6(1, 1)).of(SIDE_INSIDE), sumOf(IN6))
  assert.equal(setUp(error6(1, 8)).of(SIDE_INSIDE), sumOf(FAR6))
  const whole = setUp(error6(1, null))
  assert.deepEqual([87, 88].map((present) => whole.of(SIDE_INSIDE, present)), [sumOf(FAR6), sumOf(IN6)])
  assert.equal(whole.of(SIDE_OUTSIDE), sumOf(OUT6))
  assert.deepEqual([setUp(error6(1, null)).of(SIDE_OUTSIDE, 39), setUp(error6(1, null)).of(SIDE_OUTSIDE, 40)], [ANYONE, sumOf(OUT6)])
})
