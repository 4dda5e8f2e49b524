import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPrng } from '../base/prng.ts'
import { createCounters, readCounters } from '../channel/counters.ts'
import { buildPacket, type PacketSpec } from '../wire/build.ts'
import { DROP, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import {
  DEADLINE, FLOW_BITS, INSIDE, KIND, MAPPED, MAPPING_HEAD, OUTSIDE, OUTSIDE_PORTS, PEER, PEER_HEAD, PEER_NEXT, PEER_PREV, PORTS,
  RING_NEXT, RING_PREV, WHEEL_PREV, createFlows,
} from './flows.ts'
import { CLASSES, CLASS_NONE, CLASS_OF } from './ports.ts'
import type { EngineOptions } from './options.ts'
import { FILTER_ENDPOINT_INDEPENDENT } from './options.ts'
import { createPool } from './pool.ts'
import { OUTSIDE_ADDRESS, TEST_OPTIONS, createRig, type Rig } from './testing.ts'

/** Walks all tables and checks that they tell the same story. Returns the number of live flows. */
function checkTables({ engine: { flows, pool }, count }: Rig, capacity: number, nowMs: number): number {
  const { F, index, slotMask, portOwner, find4, find6, hash4, hash6, findMapping, findPeer } = flows
  const word = (slot: number, at: number) => F[(slot << FLOW_BITS) + at]
  const live: number[] = []
  for (let slot = 1; slot <= capacity; slot++) if (word(slot, KIND) !== 0) live.push(slot)

  const indexed = [...index].filter((entry) => entry !== 0).map((entry) => entry & slotMask).sort((a, b) => a - b)
  assert.deepEqual(indexed, live, 'the index holds each live flow once, and nothing else')
  assert.equal(count('flows-current'), live.length)
  assert.equal(count('flows-opened') - count('flows-expired') - count('flows-evicted'), live.length)

  const mappings = new Map<string, number[]>(), peers = new Map<string, number[]>()
  const join = (groups: Map<string, number[]>, key: (number | string)[], slot: number) => {
    const name = key.join(' ')
    groups.set(name, [...groups.get(name) ?? [], slot])
  }
  for (const slot of live) {
    const kind = word(slot, KIND) >>> 16, ports = word(slot, PORTS)
    assert.ok(((word(slot, DEADLINE) - nowMs) | 0) > 0, 'a live flow has time left')
    assert.notEqual(word(slot, WHEEL_PREV), 0, 'and stands in the wheel')
    if (kind >>> 8 === 6) {
      const key = F.slice(slot << FLOW_BITS, (slot << FLOW_BITS) + 8)
      const [a, b, c, d, e, f, g, h] = key
      assert.equal(find6(hash6(a, b, c, d, e, f, g, h, ports, kind), key, ports, kind), slot)
      assert.equal(word(slot, KIND) & MAPPED, 0)
      continue
    }
    const inside = word(slot, INSIDE), peer = word(slot, PEER)
    assert.equal(find4(hash4(inside, peer, ports, kind), inside, peer, ports, kind), slot)
    if ((word(slot, KIND) & MAPPED) === 0) continue
    join(mappings, [inside, ports >>> 16, kind], slot)
    join(peers, [word(slot, OUTSIDE), word(slot, OUTSIDE_PORTS) >>> 16, kind, peer], slot)
  }

  const owners = new Map<number, number>()
  for (const slots of mappings.values()) {
    const head = headOf(slots, MAPPING_HEAD, RING_NEXT, RING_PREV)
    const kind = word(head, KIND) >>> 16
    assert.equal(findMapping(word(head, INSIDE), word(head, PORTS) >>> 16, kind), head)
    for (const slot of slots) {
      assert.equal(word(slot, OUTSIDE), word(head, OUTSIDE), 'all flows of a mapping share its outside endpoint')
      assert.equal(word(slot, OUTSIDE_PORTS) >>> 16, word(head, OUTSIDE_PORTS) >>> 16)
      assert.equal(word(slot, OUTSIDE_PORTS) & 0xffff, word(slot, PORTS) & 0xffff, 'both faces have the same peer port')
    }
    const portClass = CLASS_OF[kind & 255]
    if (portClass === CLASS_NONE) continue
    const owner = (pool.indexOf(word(head, OUTSIDE)) * CLASSES + portClass) << 16 | word(head, OUTSIDE_PORTS) >>> 16
    assert.ok(!owners.has(owner), 'no outside port is owned twice')
    owners.set(owner, head)
  }
  for (const slots of peers.values()) {
    const head = headOf(slots, PEER_HEAD, PEER_NEXT, PEER_PREV)
    assert.equal(findPeer(word(head, OUTSIDE), word(head, OUTSIDE_PORTS) >>> 16, word(head, PEER), word(head, KIND) >>> 16), head)
  }
  let owned = 0
  for (let at = 0; at < portOwner.length; at++) {
    if (portOwner[at] === 0) continue
    owned++
    assert.equal(owners.get(at), portOwner[at], 'the port table names heads only')
  }
  assert.equal(owned, owners.size)
  assert.equal(count('mappings-opened') - count('mappings-closed'), mappings.size)
  return live.length

  /** `slots` form one ring, and one of them is its head. */
  function headOf(slots: readonly number[], flag: number, next: number, prev: number): number {
    const ring: number[] = []
    for (let at = slots[0]; ring.length <= slots.length; at = word(at, next)) {
      assert.equal(word(word(at, next), prev), at, 'links go both ways')
      if (ring.length > 0 && at === slots[0]) break
      ring.push(at)
    }
    assert.deepEqual(ring.sort((a, b) => a - b), [...slots].sort((a, b) => a - b), 'a ring holds its flows and no other')
    const heads = slots.filter((slot) => (word(slot, KIND) & flag) !== 0)
    assert.equal(heads.length, 1, 'one of them is the head')
    return heads[0]
  }
}

const UDP = { proto: 'udp' } as const
const host = (n: number) => '10.0.0.' + (1 + n)
const remote = (n: number) => '198.51.100.' + (1 + n)
const outside = '203.0.113.1'

/** A step of random traffic: many flows between few endpoints, so that mappings and peers are shared. */
interface Step { what: number; host: number; remote: number; port: number; peerPort: number; flags: number; gapMs: number }
const small = (max: number) => fc.integer({ min: 0, max })
const step: fc.Arbitrary<Step> = fc.record({
  what: small(9), host: small(3), remote: small(3), port: small(5), peerPort: small(3),
  flags: fc.constantFrom(2, 16, 18, 17, 4), gapMs: fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, fc.constantFrom(0, 20_000, 61_000, 250_000)),
})

function packetOf({ what, host: h, remote: r, port, peerPort, flags }: Step, rig: Rig): [side: number, spec: PacketSpec] {
  const srcPort = 5000 + port, dstPort = 53 + peerPort
  switch (what) {
    case 0: case 1: return [SIDE_INSIDE, { ...UDP, src: host(h), dst: remote(r), srcPort, dstPort }]
    case 2: return [SIDE_INSIDE, { proto: 'tcp', src: host(h), dst: remote(r), srcPort, dstPort, tcpFlags: flags }]
    case 3: return [SIDE_INSIDE, { proto: 'icmp', src: host(h), dst: remote(r), icmpId: port }]
    case 4: return [SIDE_INSIDE, { proto: 47, src: host(h), dst: remote(r), payload: new Uint8Array(8) }]
    case 5: return [SIDE_INSIDE, { ...UDP, src: 'fd00::' + h, dst: '2001:db8::' + r, srcPort, dstPort }]
    // Hairpinning: towards one of our own ports.
    case 6: return [SIDE_INSIDE, { ...UDP, src: host(h), dst: outside, srcPort, dstPort: 5000 + peerPort }]
    case 7: return [SIDE_OUTSIDE, { proto: 'tcp', src: remote(r), dst: outside, srcPort: dstPort, dstPort: srcPort, tcpFlags: flags }]
    case 8: return [SIDE_OUTSIDE, { proto: 47, src: remote(r), dst: outside, payload: new Uint8Array(8) }]
    default: {
      // Whatever port was really given: the world outside answers to that.
      const slot = 1 + port + 6 * (h & 1)
      return [SIDE_OUTSIDE, {
        ...UDP, src: remote(r), dst: outside, srcPort: dstPort, dstPort: rig.engine.flows.F[(slot << FLOW_BITS) + OUTSIDE_PORTS] >>> 16,
      }]
    }
  }
}

function play(options: Partial<EngineOptions>, steps: readonly Step[], capacity: number): void {
  const rig = createRig({ ...options, flows: capacity })
  let nowMs = 0x7fff_0000
  steps.forEach((one, n) => {
    nowMs = nowMs + one.gapMs | 0
    const [side, spec] = packetOf(one, rig)
    rig.send(side, buildPacket(spec), nowMs)
    if (n % 16 === 15) checkTables(rig, capacity, nowMs)
  })
  checkTables(rig, capacity, nowMs)

  // When all time is over nothing is left anywhere.
  nowMs = nowMs + 8_000_000 | 0
  rig.engine.expire(nowMs)
  assert.equal(checkTables(rig, capacity, nowMs), 0)
  for (let h = 0; h < 4; h++) {
    for (let port = 0; port < 8; port++) {
      for (const protocol of [1, 6, 17, 47]) {
        for (const p of [port, 5000 + port, 0]) assert.equal(rig.engine.flows.findMapping(0x0a000001 + h, p, 4 << 8 | protocol), 0)
      }
    }
  }
  // And the whole table can be filled again without a single eviction.
  const evicted = rig.count('flows-evicted')
  for (let n = 0; n < capacity; n++) {
    rig.send(SIDE_INSIDE, buildPacket({ proto: 89, src: '10.1.0.' + (n & 255), dst: '198.51.100.' + (n >> 8), payload: new Uint8Array(8) }), nowMs)
  }
  // Rivals for one peer are refused, so let each have a peer of its own where that happened.
  for (let n = 0; rig.count('flows-current') < capacity; n++) {
    rig.send(SIDE_INSIDE, buildPacket({ ...UDP, src: 'fd00::1', dst: '2001:db8::1', srcPort: n, dstPort: 1 }), nowMs)
    assert.ok(n <= capacity, 'the table cannot be filled')
  }
  assert.equal(rig.count('flows-evicted'), evicted)
  assert.equal(checkTables(rig, capacity, nowMs), capacity)
  rig.send(SIDE_INSIDE, buildPacket({ ...UDP, src: 'fd00::2', dst: '2001:db8::1', srcPort: 1, dstPort: 1 }), nowMs)
  assert.equal(rig.count('flows-evicted'), evicted + 1)
  checkTables(rig, capacity, nowMs)
}

const options = fc.record({
  portPreservation: fc.boolean(), portHigh: fc.constantFrom(1029, 65535), seed: fc.integer(),
  filtering: fc.constantFrom(TEST_OPTIONS.filtering, FILTER_ENDPOINT_INDEPENDENT), nat44: fc.boolean(),
}).map((o) => ({ ...o, nat44: o.nat44 || o.portHigh === 1029, inboundPermit: true }))

test('flows: index, rings, chains and ports agree under random traffic with room for all', () => {
  fc.assert(fc.property(options, fc.array(step, { maxLength: 120, size: 'max' }), (o, steps) => play(o, steps, 200)), { numRuns: 100 })
})

test('flows: they agree when the table is always full, too', () => {
  fc.assert(fc.property(options, fc.array(step, { maxLength: 120, size: 'max' }), (o, steps) => play(o, steps, 16)), { numRuns: 100 })
})

test('flows: long churn leaves no slot, no port and no mapping behind', (t) => {
  const seed = Date.now() & 0x7fffffff
  t.diagnostic(`seed ${seed}`)
  const { below } = createPrng(seed)
  const capacity = 300
  const rig = createRig({ flows: capacity, portHigh: 1024 + 199, portPreservation: false })
  let nowMs = -40_000_000
  const spec = (): PacketSpec => ({ ...UDP, src: host(below(40)), dst: remote(below(5)), srcPort: 2000 + below(20), dstPort: 53 + below(3) })
  for (let n = 0; n < 40_000; n++) {
    nowMs = nowMs + below(4000) | 0
    rig.send(SIDE_INSIDE, buildPacket({ ...spec(), proto: below(4) === 0 ? 'tcp' : 'udp' }), nowMs)
    if (n % 2000 === 0) checkTables(rig, capacity, nowMs)
  }
  assert.ok(rig.count('flows-expired') > 1000, 'flows ran out')

  // What the port table calls free can be had, each port once, and no more.
  const free = 200 - rig.engine.flows.portOwner.slice(1024, 1224).filter((slot) => slot !== 0).length
  const before = rig.count('mappings-opened')
  let given = 0
  for (let n = 0; n < 300; n++) {
    const evictedBefore = rig.count('flows-evicted')
    if (rig.count('flows-current') === capacity) break
    const outcome = rig.send(SIDE_INSIDE, buildPacket({ ...UDP, src: '10.9.0.1', dst: remote(0), srcPort: 30_000 + n, dstPort: 1 }), nowMs)
    assert.equal(rig.count('flows-evicted'), evictedBefore)
    if (outcome.reason === 'no-outside-port') break
    given++
  }
  assert.equal(rig.count('mappings-opened') - before, given)
  assert.ok(rig.count('flows-current') === capacity || given === free, `${given} of ${free} free ports were given`)
  checkTables(rig, capacity, nowMs)
})

// @req RFC6888 REQ-13
test('flows: all ports of a class go, then none is left, and all come back with their time', () => {
  const rig = createRig({ flows: 4096, portLow: 2000, portHigh: 2999 })
  for (const [round, nowMs] of [0, 300_000, 600_000].entries()) {
    const ports = new Set<number>()
    for (let n = 0; n < 1000; n++) {
      const { verdict, bytes } = rig.send(SIDE_INSIDE, buildPacket({ ...UDP, src: host(n % 200), dst: remote(0), srcPort: 5000 + n, dstPort: 53 }), nowMs)
      assert.equal(verdict, TO_OUTSIDE)
      ports.add(bytes![20] << 8 | bytes![21])
    }
    assert.equal(ports.size, 1000)
    assert.ok([...ports].every((port) => port >= 2000 && port <= 2999))
    const refused = rig.send(SIDE_INSIDE, buildPacket({ ...UDP, src: host(0), dst: remote(0), srcPort: 4999, dstPort: 53 }), nowMs)
    assert.equal(refused.reason, 'no-outside-port')
    assert.equal(refused.extras.length, 1, 'its sender is told')
    // The classes are apart: TCP has them all still.
    const tcp = rig.send(SIDE_INSIDE, buildPacket({ proto: 'tcp', tcpFlags: 2, src: host(0), dst: remote(0), srcPort: 4999, dstPort: 53 }), nowMs)
    assert.equal(tcp.verdict, TO_OUTSIDE)
    assert.equal(rig.count('mappings-opened'), (round + 1) * 1001)
  }
})

test('flows: a refused flow leaves its slot free', () => {
  const rig = createRig({ flows: 16, portLow: 2000, portHigh: 2000 })
  rig.send(SIDE_INSIDE, buildPacket({ ...UDP, src: host(0), dst: remote(0), srcPort: 5000, dstPort: 53 }), 0)
  for (let n = 0; n < 100; n++) {
    assert.equal(rig.send(SIDE_INSIDE, buildPacket({ ...UDP, src: host(1), dst: remote(0), srcPort: 5000, dstPort: 53 }), 0).reason, 'no-outside-port')
  }
  for (let n = 0; n < 15; n++) {
    rig.send(SIDE_INSIDE, buildPacket({ ...UDP, src: host(0), dst: remote(0), srcPort: 5000, dstPort: 54 + n }), 0)
  }
  assert.equal(rig.count('flows-current'), 16)
  assert.equal(rig.count('flows-evicted'), 0)
  checkTables(rig, 16, 0)
})

test('flows: a reset opens none, from neither side', () => {
  const rig = createRig({ inboundPermit: true, filtering: FILTER_ENDPOINT_INDEPENDENT, tcpFlags: false })
  const tcp = { proto: 'tcp', srcPort: 5000, dstPort: 5000 } as const
  for (let flags = 0; flags < 256; flags++) {
    if ((flags & 4) === 0) continue
    const out = rig.send(SIDE_INSIDE, buildPacket({ ...tcp, src: host(0), dst: remote(0), tcpFlags: flags }), 0)
    const in6 = rig.send(SIDE_OUTSIDE, buildPacket({ ...tcp, src: '2001:db8::1', dst: 'fd00::1', tcpFlags: flags }), 0)
    assert.deepEqual([out.reason, in6.reason], ['tcp-midstream', 'tcp-midstream'])
  }
  assert.equal(rig.count('flows-opened'), 0)
  assert.equal(rig.send(SIDE_INSIDE, buildPacket({ ...tcp, src: host(0), dst: remote(0), tcpFlags: 2 }), 0).verdict, TO_OUTSIDE)
  // Into the mapping that there is now, from another peer.
  const into = rig.send(SIDE_OUTSIDE, buildPacket({ ...tcp, src: remote(1), dst: outside, tcpFlags: 4 }), 0)
  assert.deepEqual([into.verdict, into.reason], [DROP, 'tcp-midstream'])
  assert.equal(rig.send(SIDE_OUTSIDE, buildPacket({ ...tcp, src: remote(1), dst: outside, tcpFlags: 2 }), 0).verdict, TO_INSIDE)
})

/** Bytes of typed arrays that a flow table takes, by its own account and by that of the runtime. */
async function tableBytes(changes: Partial<EngineOptions>): Promise<[stated: number, measured: number]> {
  const settings = { ...TEST_OPTIONS, ...changes }
  // What earlier tests left behind must not be collected while this one measures.
  for (let n = 0; n < 3; n++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const before = process.memoryUsage().arrayBuffers
  const flows = createFlows(settings, createPool(settings.pool, settings.seed), createCounters())
  return [flows.bytes, process.memoryUsage().arrayBuffers - before]
}

const MAX_FLOW_BYTES = 96
for (const [name, flows, addresses] of [['256k flows, 4 addresses: the default', 262_144, 4], ['1M flows, 20 addresses', 1_048_576, 20]] as const) {
  test(`flows: at most ${MAX_FLOW_BYTES} bytes a flow with both directions, ports, timers and index (${name})`, async () => {
    const [stated, measured] = await tableBytes({ flows, pool: Array.from({ length: addresses }, (_, i) => OUTSIDE_ADDRESS + i) })
    assert.ok(measured / flows <= MAX_FLOW_BYTES, `${measured / flows} bytes`)
    // The pool's own table and the timeouts are not flow tables: a few KiB.
    assert.ok(measured >= stated && measured - stated < 65_536, `${stated} stated, ${measured} measured`)
  })
}

test('flows: counters begin at nothing', () => {
  const rig = createRig()
  assert.ok(Object.values(readCounters(rig.counters)).every((value) => value === 0))
})
