import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse4, print4 } from '../base/address.ts'
import { buildPacket, icmpError, type PacketSpec } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { plainNat, type NatOptions } from './nat-options.ts'
import { createRig, OUTSIDE_ADDRESS, type Outcome, type Rig } from './testing.ts'

function ip(text: string): number {
  const parsed = parse4(text)
  assert.ok(parsed.ok)
  return parsed.value
}

const ANYBODY = [{ address: 0, bits: 0 }]
const POOL = print4(OUTSIDE_ADDRESS)
const HOST = '10.0.0.5', OTHER = '10.0.0.6', PEER = '198.51.100.7', STRANGER = '198.51.100.8'

function rigWith(nat: Partial<NatOptions>, options: Parameters<typeof createRig>[0] = {}): Rig {
  return createRig({ nat: { ...plainNat(options.pool?.length ?? 1), ...nat }, ...options })
}

/** `198.51.100.7:80 > 10.0.0.5:5000`, or why not. */
function told({ bytes, reason }: Outcome): string {
  if (bytes === null) return reason ?? 'held'
  const view = new DataView(bytes.buffer, bytes.byteOffset), l4 = (bytes[0] & 15) * 4
  const ports = bytes[9] === 6 || bytes[9] === 17 ? [view.getUint16(l4), view.getUint16(l4 + 2)] : null
  const end = (at: number, n: number) => print4(view.getInt32(at)) + (ports === null ? '' : `:${ports[n]}`)
  return `${end(12, 0)} > ${end(16, 1)}`
}

const out = (rig: Rig, spec: PacketSpec, nowMs = 0) => told(rig.send(SIDE_INSIDE, buildPacket({ tcpFlags: 2, ...spec }), nowMs))
const into = (rig: Rig, spec: PacketSpec, nowMs = 0) => told(rig.send(SIDE_OUTSIDE, buildPacket({ tcpFlags: 2, ...spec }), nowMs))
const udp = (src: string, srcPort: number, dst: string, dstPort: number): PacketSpec => ({ src, srcPort, dst, dstPort, proto: 'udp' })
const tcp = (src: string, srcPort: number, dst: string, dstPort: number): PacketSpec => ({ src, srcPort, dst, dstPort, proto: 'tcp' })

const FORWARD = { protocol: 6, outside: OUTSIDE_ADDRESS, outsidePort: 8080, inside: ip(HOST), insidePort: 80, count: 2, from: ANYBODY }

test('a forward leads strangers to the inside port, and replies carry the outside one', () => {
  const rig = rigWith({ forwards: [FORWARD] })
  assert.equal(into(rig, tcp(STRANGER, 999, POOL, 8081)), `${STRANGER}:999 > ${HOST}:81`)
  assert.equal(out(rig, tcp(HOST, 81, STRANGER, 999)), `${POOL}:8081 > ${STRANGER}:999`)
  assert.equal(into(rig, tcp(STRANGER, 999, POOL, 8082)), 'no-mapping')
  assert.equal(into(rig, udp(STRANGER, 999, POOL, 8080)), 'no-mapping')
})

test('packets that a forwarded port sends first carry the outside port too, and no other flow gets it', () => {
  const rig = rigWith({ forwards: [FORWARD] })
  assert.equal(out(rig, tcp(HOST, 80, PEER, 5)), `${POOL}:8080 > ${PEER}:5`)
  assert.notEqual(out(rig, tcp(OTHER, 8080, PEER, 5)), `${POOL}:8080 > ${PEER}:5`)
})

test('who may use a forward is a matter of its prefixes alone', () => {
  const rig = rigWith({ forwards: [{ ...FORWARD, from: [{ address: ip('198.51.100.0'), bits: 29 }] }] })
  assert.equal(into(rig, tcp(PEER, 999, POOL, 8080)), `${PEER}:999 > ${HOST}:80`)
  assert.equal(into(rig, tcp(STRANGER, 999, POOL, 8080)), 'filtered')
})

test('a forward may have an outside address that is in no pool', () => {
  const rig = rigWith({ forwards: [{ ...FORWARD, outside: ip('203.0.113.99') }] })
  assert.equal(into(rig, tcp(STRANGER, 999, '203.0.113.99', 8080)), `${STRANGER}:999 > ${HOST}:80`)
  assert.equal(into(rig, tcp(STRANGER, 999, '203.0.113.99', 22)), 'no-mapping')
  assert.equal(into(rig, tcp('203.0.113.99', 1, POOL, 8080)), 'martian-source')
})

// RFC 4787 REQ-9a
test('a forward is reached from inside by its outside address, with the outside source', () => {
  const rig = rigWith({ forwards: [FORWARD] })
  assert.equal(out(rig, tcp(OTHER, 4000, POOL, 8080)), `${POOL}:4000 > ${HOST}:80`)
  assert.equal(rig.count('hairpin-packets'), 1)
  assert.equal(out(rig, { ...tcp(HOST, 80, POOL, 4000), tcpFlags: 18 }), `${POOL}:8080 > ${OTHER}:4000`)
})

test('two outside ports may lead to one inside port, which itself sends by the first', () => {
  const rig = rigWith({ forwards: [{ ...FORWARD, count: 1 }, { ...FORWARD, outsidePort: 9090, count: 1 }] })
  assert.equal(into(rig, tcp(STRANGER, 999, POOL, 9090)), `${STRANGER}:999 > ${HOST}:80`)
  assert.equal(out(rig, { ...tcp(HOST, 80, STRANGER, 999), tcpFlags: 18 }), `${POOL}:9090 > ${STRANGER}:999`)
  assert.equal(out(rig, tcp(HOST, 80, PEER, 5)), `${POOL}:8080 > ${PEER}:5`)
})

const STATIC = { inside: ip('10.0.0.4'), outside: ip('203.0.113.64'), bits: 30, from: [] }
const WHOLE = '203.0.113.65'

test('a static prefix translates address by address and keeps ports, for every protocol', () => {
  const rig = rigWith({ statics: [STATIC] })
  assert.equal(out(rig, udp(HOST, 7, PEER, 53)), `${WHOLE}:7 > ${PEER}:53`)
  assert.equal(out(rig, { src: '10.0.0.7', dst: PEER, proto: 47, payload: new Uint8Array(8) }), `203.0.113.67 > ${PEER}`)
  assert.equal(out(rig, { src: HOST, dst: PEER, proto: 'icmp', icmpId: 9 }), `${WHOLE} > ${PEER}`)
})

// @req RFC4787 REQ-8
test('the filter decides who may send to a static address as to any mapping', () => {
  const rig = rigWith({ statics: [STATIC] })
  assert.equal(into(rig, udp(PEER, 53, WHOLE, 7)), 'filtered')
  out(rig, udp(HOST, 7, PEER, 53))
  assert.equal(into(rig, udp(PEER, 99, WHOLE, 7)), `${PEER}:99 > ${HOST}:7`)
  assert.equal(into(rig, udp(STRANGER, 53, WHOLE, 7)), 'filtered')
  assert.equal(into(rig, udp(PEER, 53, WHOLE, 8)), 'filtered')
})

// @req RFC7857 12a
// @req RFC5508 REQ-7
test('whoever is admitted to a static address reaches every port and may ping, from inside too', () => {
  const rig = rigWith({ statics: [{ ...STATIC, from: ANYBODY }] })
  assert.equal(into(rig, tcp(STRANGER, 1, WHOLE, 22)), `${STRANGER}:1 > ${HOST}:22`)
  assert.equal(into(rig, { src: STRANGER, dst: WHOLE, proto: 'icmp', icmpId: 9 }), `${STRANGER} > ${HOST}`)
  assert.equal(into(rig, { src: STRANGER, dst: WHOLE, proto: 47, payload: new Uint8Array(8) }), `${STRANGER} > ${HOST}`)
  assert.equal(out(rig, { src: '10.0.0.9', dst: WHOLE, proto: 'icmp', icmpId: 9 }), `${POOL} > ${HOST}`)
  assert.equal(into(rig, tcp(STRANGER, 1, '203.0.113.68', 22)), 'outside-to-outside')
})

test('an ICMP error about a packet from a static address finds its way in', () => {
  const rig = rigWith({ statics: [STATIC] })
  const sent = rig.send(SIDE_INSIDE, buildPacket(udp(HOST, 7, PEER, 53)), 0).bytes!
  const { verdict, bytes } = rig.send(SIDE_OUTSIDE, icmpError({ src: PEER, original: sent, icmpType: 3, icmpCode: 3 }), 0)
  assert.equal(verdict, TO_INSIDE)
  assert.deepEqual([told({ verdict, reason: null, bytes, extras: [] }), print4(new DataView(bytes!.buffer).getInt32(28 + 12))], [`${PEER} > ${HOST}`, HOST])
})

// @req RFC6888 REQ-6
test('what is not translated keeps its address and port both ways, and is behind a firewall all the same', () => {
  const kept = { inside: { address: ip('10.0.0.0'), bits: 8 }, peer: { address: ip(PEER), bits: 32 }, protocol: 17, peerPorts: { low: 53, high: 53 } }
  const rig = rigWith({ untranslated: [kept] })
  assert.equal(into(rig, udp(PEER, 53, HOST, 5000)), 'denied')
  assert.equal(out(rig, udp(HOST, 5000, PEER, 53)), `${HOST}:5000 > ${PEER}:53`)
  assert.equal(into(rig, udp(PEER, 53, HOST, 5000)), `${PEER}:53 > ${HOST}:5000`)
  assert.equal(out(rig, udp(HOST, 5000, PEER, 54)), `${POOL}:5000 > ${PEER}:54`)
  assert.equal(into(rig, udp(PEER, 54, HOST, 5000)), 'no-mapping')
  assert.equal(out(rig, tcp(HOST, 5000, PEER, 53)), `${POOL}:5000 > ${PEER}:53`)
  const { verdict } = rig.send(SIDE_OUTSIDE, icmpError({ src: STRANGER, original: buildPacket(udp(HOST, 5000, PEER, 53)), icmpType: 3 }), 0)
  assert.equal(verdict, TO_INSIDE)
})

test('an alias stands for an outside host both ways, with both sides rewritten', () => {
  const alias = { protocol: 0, alias: ip('10.99.0.7'), aliasPort: 0, peer: ip(PEER), peerPort: 0, count: 0 }
  const rig = rigWith({ aliases: [alias], forwards: [FORWARD] })
  assert.equal(out(rig, udp(HOST, 5000, '10.99.0.7', 53)), `${POOL}:5000 > ${PEER}:53`)
  assert.equal(into(rig, udp(PEER, 53, POOL, 5000)), `10.99.0.7:53 > ${HOST}:5000`)
  // Opened from outside the flow shows the alias too.
  assert.equal(into(rig, tcp(PEER, 999, POOL, 8080)), `10.99.0.7:999 > ${HOST}:80`)
  assert.equal(out(rig, { ...tcp(HOST, 80, '10.99.0.7', 999), tcpFlags: 18 }), `${POOL}:8080 > ${PEER}:999`)
  assert.equal(into(rig, tcp(STRANGER, 999, POOL, 8080)), `${STRANGER}:999 > ${HOST}:80`)
})

test('an alias stands for its host where the inside is not translated too, in packets and in errors', () => {
  const alias = { protocol: 0, alias: ip('10.99.0.7'), aliasPort: 0, peer: ip(PEER), peerPort: 0, count: 0 }
  const untranslated = { inside: { address: ip('10.0.0.0'), bits: 8 }, peer: { address: ip(PEER), bits: 32 }, protocol: -1, peerPorts: { low: 0, high: 65535 } }
  const rig = rigWith({ aliases: [alias], untranslated: [untranslated] }, { inboundPermit: true })
  const left = rig.send(SIDE_INSIDE, buildPacket(udp(HOST, 5, '10.99.0.7', 53)), 0)
  assert.equal(told(left), `${HOST}:5 > ${PEER}:53`)
  assert.equal(into(rig, udp(PEER, 53, HOST, 5)), `10.99.0.7:53 > ${HOST}:5`)
  const error = rig.send(SIDE_OUTSIDE, icmpError({ src: PEER, original: left.bytes!, icmpType: 3, icmpCode: 3 }), 0).bytes!
  assert.equal(told({ verdict: TO_INSIDE, reason: null, bytes: error.slice(28), extras: [] }), `${HOST}:5 > 10.99.0.7:53`)
  assert.equal(print4(new DataView(error.buffer).getInt32(12)), '10.99.0.7')
  assert.equal(into(rig, udp(PEER, 9, HOST, 6)), `10.99.0.7:9 > ${HOST}:6`, 'opened from outside')
})

test('an alias of a port stands for that port alone', () => {
  const alias = { protocol: 17, alias: ip('10.99.0.7'), aliasPort: 53, peer: ip(PEER), peerPort: 5353, count: 1 }
  const rig = rigWith({ aliases: [alias] })
  assert.equal(out(rig, udp(HOST, 5000, '10.99.0.7', 53)), `${POOL}:5000 > ${PEER}:5353`)
  assert.equal(into(rig, udp(PEER, 5353, POOL, 5000)), `10.99.0.7:53 > ${HOST}:5000`)
  assert.equal(out(rig, udp(HOST, 5000, '10.99.0.7', 54)), 'no-mapping')
})

// @req RFC4787 REQ-2
test('a host has an address of the pool with the longest prefix that it is in', () => {
  const pool = ['203.0.113.1', '203.0.113.2', '203.0.113.3'].map(ip)
  const rig = rigWith({ pools: [
    { inside: [], first: 0, size: 1, hostsPerAddress: 0 },
    { inside: [{ address: ip('10.1.0.0'), bits: 16 }], first: 1, size: 1, hostsPerAddress: 0 },
    { inside: [{ address: ip('10.1.2.0'), bits: 24 }], first: 2, size: 1, hostsPerAddress: 0 },
  ] }, { pool })
  assert.equal(out(rig, udp('10.9.0.1', 5, PEER, 6)), `203.0.113.1:5 > ${PEER}:6`)
  assert.equal(out(rig, udp('10.1.9.1', 5, PEER, 6)), `203.0.113.2:5 > ${PEER}:6`)
  assert.equal(out(rig, udp('10.1.2.1', 5, PEER, 6)), `203.0.113.3:5 > ${PEER}:6`)
})

test('a port that is reserved goes to nobody, not even to the host that has it inside', () => {
  const rig = rigWith({ reserved: [{ low: 5060, high: 5061 }] })
  for (const port of [5060, 5061]) assert.notEqual(out(rig, udp(HOST, port, PEER, 6)), `${POOL}:${port} > ${PEER}:6`)
  assert.equal(out(rig, udp(HOST, 5062, PEER, 6)), `${POOL}:5062 > ${PEER}:6`)
  assert.equal(rig.send(SIDE_INSIDE, buildPacket(udp(HOST, 5060, PEER, 6)), 0).verdict, TO_OUTSIDE)
})
