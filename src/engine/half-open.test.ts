/** Floods: of SYNs, of ICMP, of fragments. What was open goes on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { buildPacket, fragment, icmpError, type PacketSpec } from '../wire/build.ts'
import { DROP, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { createHalfOpen } from './half-open.ts'
import { FILTER_ENDPOINT_INDEPENDENT } from './options.ts'
import { createRig, type Rig } from './testing.ts'

const SYN = 2, ACK = 16, SYN_ACK = 18, RST = 4, FIN_ACK = 17
const a = '10.0.0.1', b = '198.51.100.1', nat = '203.0.113.1'

const syn = (n: number, src = a, more: Partial<PacketSpec> = {}) => buildPacket({ proto: 'tcp', tcpFlags: SYN, src, dst: b, srcPort: 1024 + n % 60_000, dstPort: 80 + Math.floor(n / 60_000), ...more })
const back = (n: number, tcpFlags = SYN_ACK) => buildPacket({ proto: 'tcp', tcpFlags, src: b, dst: nat, srcPort: 80, dstPort: 1024 + n })

function connect(rig: Rig, n: number, src = a): void {
  assert.equal(rig.send(SIDE_INSIDE, syn(n, src), 0).verdict, TO_OUTSIDE)
  assert.equal(rig.send(SIDE_OUTSIDE, back(n), 0).verdict, TO_INSIDE)
}

test('half-open: a flood from inside takes its part of the table, and what is open or UDP goes on', () => {
  const rig = createRig({ flows: 1000, halfOpen: 100 })
  for (let n = 0; n < 400; n++) connect(rig, n)
  const udp = (n: number) => buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 1024 + n, dstPort: 53 })
  for (let n = 0; n < 400; n++) rig.send(SIDE_INSIDE, udp(n), 0)
  for (let n = 0; n < 50_000; n++) rig.send(SIDE_INSIDE, syn(1000 + n, '10.0.0.2'), n & 255)
  assert.equal(rig.count('half-open-current'), 100)
  assert.equal(rig.count('half-open-evicted'), 49_900)
  assert.equal(rig.count('flows-current'), 900)
  for (let n = 0; n < 400; n++) {
    assert.equal(rig.send(SIDE_OUTSIDE, back(n, ACK), 1000).verdict, TO_INSIDE)
    assert.equal(rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'udp', src: b, dst: nat, srcPort: 53, dstPort: 1024 + n }), 1000).verdict, TO_INSIDE)
  }
  // And who connects in the middle of it gets through.
  rig.send(SIDE_INSIDE, syn(5, '10.0.0.3', { srcPort: 999 }), 1000)
  for (let n = 0; n < 50; n++) rig.send(SIDE_INSIDE, syn(n, '10.0.0.2'), 1000)
  assert.equal(rig.count('half-open-current'), 100)
})

test('half-open: without the bound the same flood costs connections that are open', () => {
  const rig = createRig({ flows: 1000, halfOpen: 0 })
  for (let n = 0; n < 400; n++) connect(rig, n)
  for (let n = 0; n < 20_000; n++) rig.send(SIDE_INSIDE, syn(1000 + n, '10.0.0.2'), 0)
  assert.equal(rig.count('half-open-current'), 0, 'nobody counts')
  let lost = 0
  for (let n = 0; n < 400; n++) if (rig.send(SIDE_OUTSIDE, back(n, ACK), 1000).verdict === DROP) lost++
  assert.ok(lost > 0)
})

test('half-open: the oldest makes room for the newest, and half the table is the most', () => {
  const rig = createRig({ flows: 16, halfOpen: 1000 })
  for (let n = 0; n < 9; n++) rig.send(SIDE_INSIDE, syn(n), n)
  assert.deepEqual([rig.count('half-open-current'), rig.count('half-open-evicted'), rig.count('flows-evicted')], [8, 1, 1])
  assert.equal(rig.send(SIDE_OUTSIDE, back(0), 20).reason, 'no-mapping', 'the first is gone')
  for (let n = 1; n < 9; n++) assert.equal(rig.send(SIDE_OUTSIDE, back(n), 20).verdict, TO_INSIDE)
  assert.equal(rig.count('half-open-current'), 0)
})

// @req RFC5508 REQ-8
test('half-open: a host may have so many; it is told that more are prohibited (RFC 5508 REQ-8), others may have theirs', () => {
  const rig = createRig({ halfOpenPerSource: 5 })
  for (let n = 0; n < 5; n++) assert.equal(rig.send(SIDE_INSIDE, syn(n), 0).verdict, TO_OUTSIDE)
  const refused = rig.send(SIDE_INSIDE, syn(5), 0)
  assert.equal(refused.reason, 'half-open-source')
  assert.deepEqual(refused.extras.map(({ verdict, bytes }) => [verdict, bytes[20], bytes[21]]), [[TO_INSIDE, 3, 13]])
  assert.equal(rig.send(SIDE_INSIDE, syn(0), 0).verdict, TO_OUTSIDE, 'a SYN again is of the same flow')
  assert.equal(rig.send(SIDE_INSIDE, syn(5, '10.0.0.2'), 0).verdict, TO_OUTSIDE)
  assert.equal(rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 9, dstPort: 9 }), 0).verdict, TO_OUTSIDE)
  // One that opens makes room, and so does one that ends.
  rig.send(SIDE_OUTSIDE, back(0), 0)
  assert.equal(rig.send(SIDE_INSIDE, syn(5), 0).verdict, TO_OUTSIDE)
  assert.equal(rig.send(SIDE_INSIDE, syn(6), 0).reason, 'half-open-source')
  rig.engine.expire(240_000)
  assert.equal(rig.count('half-open-current'), 0)
  for (let n = 10; n < 15; n++) assert.equal(rig.send(SIDE_INSIDE, syn(n), 240_000).verdict, TO_OUTSIDE)
  assert.equal(rig.send(SIDE_INSIDE, syn(15), 240_000).reason, 'half-open-source')
})

test('half-open: where one may be, a connection that turns round has its two halves, and they go like others', () => {
  const rig = createRig({ halfOpen: 1, filtering: FILTER_ENDPOINT_INDEPENDENT })
  connect(rig, 1, '10.0.0.9')
  assert.equal(rig.send(SIDE_INSIDE, syn(2, a, { dst: nat, dstPort: 1025 }), 0).verdict, TO_INSIDE)
  assert.equal(rig.count('half-open-current'), 2)
  for (let n = 0; n < 5; n++) assert.equal(rig.send(SIDE_INSIDE, syn(10 + n), 0).verdict, TO_OUTSIDE)
  rig.engine.expire(240_000)
  assert.deepEqual([rig.count('half-open-current'), rig.count('flows-current')], [0, 1])
})

test('half-open: resetting what was never open does not hide it', () => {
  const rig = createRig({ halfOpenPerSource: 2 })
  for (let n = 0; n < 2; n++) {
    rig.send(SIDE_INSIDE, syn(n), 0)
    rig.send(SIDE_INSIDE, syn(n, a, { tcpFlags: RST }), 0)
  }
  assert.equal(rig.send(SIDE_INSIDE, syn(2), 0).reason, 'half-open-source')
  // What was open once is not counted again when it is opened anew.
  const other = createRig({ halfOpenPerSource: 1 })
  connect(other, 0)
  for (const [side, flags] of [[SIDE_INSIDE, FIN_ACK], [SIDE_OUTSIDE, FIN_ACK], [SIDE_INSIDE, SYN]] as const) {
    assert.notEqual(other.send(side, side === SIDE_INSIDE ? syn(0, a, { tcpFlags: flags }) : back(0, flags), 0).verdict, DROP)
  }
  assert.equal(other.count('half-open-current'), 0)
})

test('half-open: sources outside are counted as well, IPv6 by its /64, and are told nothing', () => {
  const rig = createRig({ halfOpenPerSource: 3, filtering: FILTER_ENDPOINT_INDEPENDENT, inboundPermit: true })
  rig.send(SIDE_INSIDE, syn(0), 0)
  const inbound = (n: number, src: string) => buildPacket({ proto: 'tcp', tcpFlags: SYN, src, dst: nat, srcPort: 2000 + n, dstPort: 1024 })
  for (let n = 0; n < 3; n++) assert.equal(rig.send(SIDE_OUTSIDE, inbound(n, '192.0.2.1'), 0).verdict, TO_INSIDE)
  const refused = rig.send(SIDE_OUTSIDE, inbound(3, '192.0.2.1'), 0)
  assert.deepEqual([refused.reason, refused.extras.length], ['half-open-source', 0])
  assert.equal(rig.send(SIDE_OUTSIDE, inbound(3, '192.0.2.2'), 0).verdict, TO_INSIDE)
  const inbound6 = (n: number, src: string) => buildPacket({ proto: 'tcp', tcpFlags: SYN, src, dst: 'fd00::1', srcPort: 2000 + n, dstPort: 80 })
  for (let n = 0; n < 3; n++) assert.equal(rig.send(SIDE_OUTSIDE, inbound6(n, `2001:db8::${n + 1}`), 0).verdict, TO_INSIDE)
  assert.equal(rig.send(SIDE_OUTSIDE, inbound6(3, '2001:db8::ffff'), 0).reason, 'half-open-source')
  assert.equal(rig.send(SIDE_OUTSIDE, inbound6(3, '2001:db8:0:1::1'), 0).verdict, TO_INSIDE)
})

test('half-open: a hairpinned connection counts at its host, not at our own address', () => {
  const rig = createRig({ halfOpenPerSource: 2, filtering: FILTER_ENDPOINT_INDEPENDENT })
  rig.send(SIDE_INSIDE, syn(0), 0)
  for (let host = 2; host < 12; host++) {
    const to = { dst: nat, dstPort: 1024, srcPort: 7000 + host }
    assert.equal(rig.send(SIDE_INSIDE, syn(0, `10.0.0.${host}`, to), 0).verdict, TO_INSIDE)
  }
  assert.equal(rig.count('half-open-current'), 21)
})

test('half-open: the queue and its sources agree with a list that is searched', () => {
  const seed = 20261129
  const { below } = createPrng(seed)
  for (const [halfOpen, halfOpenPerSource] of [[0, 3], [8, 0], [8, 3], [20, 1], [1000, 100]]) {
    const options = { halfOpen, halfOpenPerSource, flows: 64, seed: 7 }
    const table = createHalfOpen(options)
    let list: { slot: number; source: string }[] = []
    for (let n = 0; n < 20_000; n++) {
      const slot = 1 + below(64), version = [0, 4, 6][below(3)], source: [number, number, number] = [version, below(4), version === 6 ? below(2) : 0]
      const known = list.findIndex((one) => one.slot === slot)
      if (known >= 0 || below(3) === 0) {
        table.leave(slot)
        list = list.filter((one) => one.slot !== slot)
      } else {
        const full = version !== 0 && halfOpenPerSource > 0 && list.filter((one) => one.source === source.join()).length >= halfOpenPerSource
        if (version !== 0) assert.equal(table.isSourceFull(...source), full, `seed ${seed}`)
        const keep = list.length > 0 ? list[below(list.length)].slot : 0
        const limit = Math.min(halfOpen, 32)
        const victim = limit === 0 || list.length < limit ? 0 : list.find((one) => one.slot !== keep)?.slot ?? 0
        assert.equal(table.isFull() ? table.victim(keep) : 0, victim)
        if (full) continue
        if (victim !== 0) {
          table.leave(victim)
          list = list.filter((one) => one.slot !== victim)
        }
        table.enter(slot, ...source)
        list.push({ slot, source: version === 0 ? '' : source.join() })
      }
      assert.equal(table.count(), list.length)
    }
  }
})

test('rates: ICMP is forwarded as fast as it may be, queries and errors together; the rest has a name', () => {
  const rig = createRig({ icmpPerSecond: 10 })
  const ping = buildPacket({ proto: 'icmp', src: a, dst: b, icmpId: 7 }), ping6 = buildPacket({ proto: 'icmp6', src: 'fd00::1', dst: '2001:db8::1', icmpId: 7 })
  const error = icmpError({ src: b, dst: nat, original: buildPacket({ proto: 'udp', src: nat, dst: b, srcPort: 5000, dstPort: 53 }), icmpType: 3 })
  const passed = (nowMs: number) => {
    rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 5000, dstPort: 53 }), nowMs)
    let n = 0
    for (let i = 0; i < 30; i++) n += [[SIDE_INSIDE, ping], [SIDE_INSIDE, ping6], [SIDE_OUTSIDE, error]].map(([side, packet]) => rig.send(side as number, packet as Uint8Array, nowMs)).filter(({ verdict }) => verdict !== DROP).length
    return n
  }
  assert.equal(passed(0), 10)
  assert.equal(passed(99), 0)
  assert.equal(passed(100), 1)
  assert.equal(passed(60_000), 10)
  assert.equal(rig.count('drop-icmp-rate-packets'), 360 - 21)
})

test('rates: fragments are forwarded as fast as they may be, all pieces count', () => {
  const rig = createRig({ fragmentsPerSecond: 4 })
  const pieces = (id: number) => fragment(buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 1, dstPort: 2, id, payload: new Uint8Array(40) }), [24], { id })
  const verdicts = [1, 2, 3].flatMap((id) => pieces(id).map((piece) => rig.send(SIDE_INSIDE, piece, 0).reason))
  assert.deepEqual(verdicts, [null, null, null, null, 'fragment-rate', 'fragment-rate'])
  assert.equal(rig.send(SIDE_INSIDE, pieces(4)[0], 249).reason, 'fragment-rate')
  assert.equal(rig.send(SIDE_INSIDE, pieces(4)[0], 250).reason, null)
  assert.equal(rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 1, dstPort: 2 }), 250).reason, null, 'whole packets are not meant')
})
