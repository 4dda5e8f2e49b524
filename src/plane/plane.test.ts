import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, fragment, verify, type PacketSpec } from '../wire/build.ts'
import { LINK_ETHERNET, LINK_RAW, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE, createFrames } from '../wire/frames.ts'
import { createCounters } from '../channel/counters.ts'
import { createEngine, engineScratchBytes } from '../engine/engine.ts'
import { TEST_OPTIONS } from '../engine/testing.ts'
import { PLANE_SCRATCH_BYTES, createPlane, type Outlet } from './plane.ts'
import { sidesBySource } from './sides.ts'
import { createPlaneRig, type FrameIn } from './testing.ts'

const a = '10.0.0.1', b = '198.51.100.1', nat = '203.0.113.1'
const udp = (more: Partial<PacketSpec> = {}) => buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 5000, dstPort: 53, ...more })
const back = (more: Partial<PacketSpec> = {}) => buildPacket({ proto: 'udp', src: b, dst: nat, srcPort: 53, dstPort: 5000, ...more })
/** Like `put`, at a time in milliseconds since the first packet. */
const at = (ms: number, data: Uint8Array): FrameIn => ({ data, sec: 1_000_000 + Math.floor(ms / 1000), nsec: ms % 1000 * 1e6 })

test('plane: time begins with the first packet and goes by stamps, to the millisecond', () => {
  const { plane, put } = createPlaneRig()
  put({ data: udp(), sec: 1000, nsec: 999_999_999 })
  assert.equal(plane.virtualMs(), 0)
  put({ data: udp(), sec: 1001, nsec: 0 })
  assert.equal(plane.virtualMs(), 0, '1 ns later')
  put({ data: udp(), sec: 1001, nsec: 999_998 })
  assert.equal(plane.virtualMs(), 0, '999,999 ns later')
  put({ data: udp(), sec: 1001, nsec: 999_999 })
  assert.equal(plane.virtualMs(), 1)
  put({ data: udp(), sec: 2 ** 32, nsec: 999_999_999 })
  assert.equal(plane.virtualMs(), (2 ** 32 - 1000) * 1000)
})

test('plane: a stamp before the latest one does not turn time back, nor does it prolong or end anything', () => {
  const { plane, put, count, reason } = createPlaneRig()
  put(at(0, udp()))
  put(at(200_000, udp({ srcPort: 5001 })))
  put(at(100_000, udp({ srcPort: 5002 })))
  assert.equal(plane.virtualMs(), 200_000)
  // Even before the first packet of all.
  put({ data: udp({ srcPort: 5003 }), sec: 0 })
  assert.equal(plane.virtualMs(), 200_000)
  put(at(299_999, back({ dst: nat, dstPort: 9 })))
  assert.equal(reason(), 'no-mapping')
  assert.equal(count('flows-current'), 4)
  // The flow of time 0 ends; those with stamps from the past were refreshed at 200,000.
  put(at(300_000, back({ dst: nat, dstPort: 9 })))
  assert.equal(count('flows-current'), 3)
  put(at(499_999, back({ dst: nat, dstPort: 9 })))
  assert.equal(count('flows-current'), 3)
  put(at(500_000, back({ dst: nat, dstPort: 9 })))
  assert.equal(count('flows-current'), 0)
})

const YEAR_MS = 31_557_600_000, TURN_MS = 2 ** 32, HALF_MS = 2 ** 31
const LEAPS = [
  300_000, 2 ** 30 - 1, 2 ** 30, 2 ** 30 + 1, HALF_MS - 1, HALF_MS, HALF_MS + 1, TURN_MS - 1, TURN_MS, TURN_MS + 1, TURN_MS + 299_999,
  TURN_MS * 2 - 1, TURN_MS * 7 + 299_999, YEAR_MS, 30 * YEAR_MS, 100 * YEAR_MS + 12_345,
]

test('plane: a leap of days or decades ends every flow and datagram, wherever the clock wraps', () => {
  for (const leapMs of LEAPS) {
    const { put, reason, count } = createPlaneRig()
    put(at(0, udp()))
    put(at(0, fragment(udp({ id: 5, payload: new Uint8Array(64) }), [32])[1]))
    assert.equal(count('fragments-held-current'), 1)
    put(at(leapMs, back()))
    assert.equal(reason(), 'no-mapping', `after ${leapMs} ms`)
    assert.deepEqual([count('flows-expired'), count('flows-current'), count('fragments-held-current')], [1, 0, 0])
    assert.equal(count('drop-fragment-timeout-packets'), 1)
  }
})

test('plane: after any leap the timers are exact to the millisecond again', () => {
  for (const leapMs of LEAPS) {
    for (const beyond of [0, 1]) {
      const { put, reason } = createPlaneRig()
      put(at(0, udp()))
      put(at(leapMs, udp()))
      put(at(leapMs + 299_999 + beyond, back()))
      assert.equal(reason(), beyond === 0 ? null : 'no-mapping', `after ${leapMs} ms`)
    }
  }
})

test('plane: the longest timers outlive leaps that are shorter than they are', () => {
  const days12 = 12 * 86_400_000
  for (const startMs of [0, HALF_MS - 1000, TURN_MS - 1000, 50 * YEAR_MS]) {
    for (const beyond of [0, 1]) {
      const { put, reason } = createPlaneRig({ engine: { udpMs: days12 } })
      put(at(0, udp({ srcPort: 1 })))
      put(at(startMs, udp()))
      put(at(startMs + days12 - 1 + beyond, back()))
      assert.equal(reason(), beyond === 0 ? null : 'no-mapping')
    }
  }
})

test('plane: what leaves keeps its stamp and link header; padding is cut off', () => {
  const { put } = createPlaneRig()
  const packet = udp({ link: 'ethernet', vlan: [7], payload: new Uint8Array(2) })
  const padded = new Uint8Array(packet.length + 20).fill(0xee)
  padded.set(packet)
  const [frame] = put({ data: padded, sec: 1000, nsec: 123_456_789, link: LINK_ETHERNET })
  assert.equal(frame.to, TO_OUTSIDE)
  assert.deepEqual([frame.sec, frame.nsec, frame.link], [1000, 123_456_789, LINK_ETHERNET])
  assert.equal(frame.data.length, packet.length)
  assert.equal(frame.wireBytes, packet.length)
  assert.deepEqual(frame.data.slice(0, 18), packet.slice(0, 18))
  assert.deepEqual(verify(frame.data, 18), [])
})

test('plane: a captured frame that is shorter than it was on the wire keeps both its lengths', () => {
  const { put, count } = createPlaneRig()
  const packet = udp({ payload: new Uint8Array(500) })
  const [frame] = put({ data: packet.slice(0, 64), wireBytes: packet.length })
  assert.deepEqual([frame.data.length, frame.wireBytes], [64, packet.length])
  assert.deepEqual([count('in-inside-bytes'), count('out-outside-bytes')], [packet.length, packet.length])
})

test('plane: a reply of our own goes back by the way its cause came, with link addresses exchanged', () => {
  const { put, count } = createPlaneRig()
  const cause = udp({ link: 'ethernet', vlan: [7], ttl: 1, srcMac: [2, 0, 0, 0, 0, 9], dstMac: [2, 0, 0, 0, 0, 8] })
  const [reply, ...none] = put({ data: cause, sec: 7, nsec: 8, link: LINK_ETHERNET })
  assert.deepEqual(none, [])
  assert.deepEqual([reply.to, reply.sec, reply.nsec, reply.link], [TO_INSIDE, 7, 8, LINK_ETHERNET])
  assert.deepEqual([...reply.data.slice(0, 18)], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x81, 0, 0, 7, 8, 0])
  assert.deepEqual(verify(reply.data, 18), [])
  assert.equal(reply.data[18 + 20], 11, 'time exceeded')
  assert.deepEqual(reply.data.slice(18 + 28), cause.slice(18), 'quotes the packet as it came')
  assert.deepEqual([count('out-inside-packets'), count('drop-ttl-exceeded-packets')], [1, 1])
})

test('plane: a SYN is answered at the end of its silence, by the way it came, however late the next packet is (RFC 5382 REQ-4)', () => {
  const macs = { link: 'ethernet', vlan: [7], srcMac: [2, 0, 0, 0, 0, 9], dstMac: [2, 0, 0, 0, 0, 8] } as const
  const syn = (srcPort: number) => buildPacket({ proto: 'tcp', tcpFlags: 2, src: b, dst: nat, srcPort, dstPort: 5000, ...macs })
  for (const leapMs of [6010, 60_000, ...LEAPS]) {
    for (const nsec of [0, 999_999_999]) {
      const { put } = createPlaneRig({ world: false })
      const first = { sec: 1000, nsec, link: LINK_ETHERNET }
      assert.deepEqual(put({ data: syn(1), ...first }, { data: syn(2), ...first, nsec: nsec === 0 ? 5_000_000 : 4_999_999, sec: nsec === 0 ? 1000 : 1001 }), [])
      const whole = 1000 * 1000 + leapMs
      const sent = put({ data: udp(), sec: Math.floor(whole / 1000) + (nsec === 0 ? 0 : 1), nsec: whole % 1000 * 1e6, link: LINK_RAW })
      assert.equal(sent.length, 3, `a leap of ${leapMs}`)
      assert.deepEqual(sent.slice(0, 2).map((frame) => [frame.to, frame.sec, frame.nsec, frame.link]), nsec === 0
        ? [[TO_OUTSIDE, 1006, 0, LINK_ETHERNET], [TO_OUTSIDE, 1006, 5_000_000, LINK_ETHERNET]]
        : [[TO_OUTSIDE, 1006, 999_999_999, LINK_ETHERNET], [TO_OUTSIDE, 1007, 4_999_999, LINK_ETHERNET]])
      const [{ data }] = sent
      assert.deepEqual([...data.slice(0, 18)], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x81, 0, 0, 7, 8, 0], 'link addresses exchanged')
      assert.deepEqual(verify(data.slice(18)), [])
    }
  }
})

test('plane: an answer to a SYN of some time ago leaves after the packets before it, in whatever batches they come', () => {
  const syn = at(0, buildPacket({ proto: 'tcp', tcpFlags: 2, src: b, dst: nat, srcPort: 1, dstPort: 5000 }))
  const frames = [syn, at(5999, udp()), at(6000, udp({ dstPort: 54 })), at(6001, udp({ dstPort: 55 }))]
  const together = createPlaneRig({ world: false }), apart = createPlaneRig({ world: false })
  together.put(...frames)
  for (const frame of frames) apart.put(frame)
  assert.deepEqual(together.sent.map(({ data }) => data[9]), [17, 1, 17, 17])
  assert.equal(together.plane.digest(), apart.plane.digest())
  assert.equal(createPlaneRig({ world: false }).put(syn, at(5999, udp())).length, 1, 'not before its time, nor when packets end')
})

test('plane: released fragments leave right after the first one, in order of arrival, and before the next packet', () => {
  const { put } = createPlaneRig()
  const [first, second, third] = fragment(udp({ id: 3, payload: new Uint8Array(1200).map((_, i) => i) }), [400, 400])
  const other = udp({ srcPort: 7777 })
  const left = put(...[third, second, other, first, other].map((data) => ({ data })))
  const kinds = left.map(({ data }) => data.length === other.length ? 'other' : (data[6] & 31) * 256 + data[7])
  assert.deepEqual(kinds, ['other', 0, 100, 50, 'other'])
  for (const { data, to } of left) {
    assert.equal(to, TO_OUTSIDE)
    assert.deepEqual(verify(data), [])
    assert.equal(data.slice(12, 16).join('.'), nat)
    assert.equal(data[8], 63)
  }
})

test('plane: a full outlet stops the batch at a row, and nothing is lost, doubled or reordered', () => {
  const packets: FrameIn[] = []
  for (let n = 0; n < 40; n++) {
    const src = '10.0.0.' + (1 + n % 5)
    const whole = buildPacket({ proto: 'udp', src, dst: b, srcPort: 5000 + n, dstPort: 53, id: n, payload: new Uint8Array(100 + n) })
    if (n % 4 === 0) packets.push(...fragment(whole, [48, 48]).reverse().map((data) => ({ data })))
    else if (n % 7 === 0) packets.push({ data: buildPacket({ proto: 'udp', src, dst: b, srcPort: 1, dstPort: n, ttl: 1 }) })
    else packets.push({ data: whole }, { data: back({ dst: nat, dstPort: 5000 + n }) })
  }
  const free = createPlaneRig({ capacity: 128, world: false })
  free.put(...packets)

  // The same through outlets that are full whenever they can be.
  const roomBytes = 1 << 16, scratchStart = roomBytes, planeStart = roomBytes + engineScratchBytes(TEST_OPTIONS)
  const frames = createFrames({ capacity: 128, poolBytes: planeStart + PLANE_SCRATCH_BYTES })
  const counters = createCounters()
  const options = { ...TEST_OPTIONS, scratchStart }
  const engine = createEngine(options, frames, counters)
  const sent: [number, string][] = []
  // Hardly more than one packet and all that it may cause.
  const left = { [TO_INSIDE]: 0, [TO_OUTSIDE]: 0 }
  const outlet = (to: typeof TO_INSIDE | typeof TO_OUTSIDE): Outlet => ({
    room: (bytes) => left[to] >= bytes,
    write(off, capBytes) {
      left[to] -= capBytes + 36
      assert.ok(left[to] >= 0, 'no more is written than there was room for')
      sent.push([to, Buffer.from(frames.pool.subarray(off, off + capBytes)).toString('hex')])
      return true
    },
  })
  const plane = createPlane({
    frames, counters, engine, sides: sidesBySource(frames, options.inside), world: null,
    inside: outlet(TO_INSIDE), outside: outlet(TO_OUTSIDE), scratchStart: planeStart, clockNs: () => 0,
  })
  let bytes = 0
  packets.forEach(({ data }, i) => {
    frames.pool.set(data, bytes)
    frames.off[i] = bytes
    frames.capBytes[i] = frames.wireBytes[i] = data.length
    frames.link[i] = LINK_RAW
    bytes += data.length
  })
  plane.begin(packets.length)
  let stops = 0
  for (let done = 0; done < packets.length; stops++) {
    left[TO_INSIDE] = left[TO_OUTSIDE] = 598_000
    const reached = plane.run(done, packets.length)
    assert.ok(reached > done, 'with room for one packet one goes on')
    done = reached
  }
  assert.ok(stops > 20, `it stopped ${stops} times`)
  assert.deepEqual(sent, free.sent.map(({ to, data }) => [to, Buffer.from(data).toString('hex')]))
  assert.equal(plane.digest(), free.plane.digest())
  assert.deepEqual(counters, free.counters)
})

test('plane: batches of any size give the same digest and counters', () => {
  const packets: FrameIn[] = Array.from({ length: 60 }, (_, n) => at(n * 50_000, n % 3 === 0 ? back({ dstPort: 5000 + n % 4 }) : udp({ srcPort: 5000 + n % 4 })))
  const results = [1, 2, 7, 60].map((size) => {
    const { put, plane, counters } = createPlaneRig()
    for (let n = 0; n < packets.length; n += size) put(...packets.slice(n, n + size))
    return [plane.digest(), [...counters]]
  })
  for (const result of results) assert.deepEqual(result, results[0])
})

test('plane: the digest tells one changed packet, one changed stamp and one packet less', () => {
  const digestOf = (...packets: FrameIn[]) => {
    const { put, plane } = createPlaneRig()
    put(...packets)
    return plane.digest()
  }
  const digests = [
    digestOf(at(0, udp()), at(1, udp())), digestOf(at(0, udp()), at(1, udp({ srcPort: 5001 }))), digestOf(at(0, udp()), at(2, udp())),
    digestOf(at(0, udp())), digestOf(at(0, udp()), at(1, back())), digestOf(at(0, udp()), at(1, back({ dstPort: 1 }))),
    digestOf(at(0, udp()), at(1, udp({ ttl: 63 }))), digestOf(at(0, udp()), at(1, udp({ checksum: 'zero' }))),
    digestOf(at(0, udp()), { ...at(1, udp()), wireBytes: 4000 }, at(1, udp())),
  ]
  assert.equal(new Set(digests).size, digests.length)
})

test('plane: the clock is asked around the work, and what it says is summed', () => {
  let now = 0
  const { put, plane } = createPlaneRig({ clockNs: () => now += 10 })
  put({ data: udp() })
  assert.ok(plane.spentNs() >= 20)
})

test('plane: time that begins with the box goes on without packets, and answers what is due (RFC 5382 REQ-4)', () => {
  const frames = createFrames({ capacity: 4, poolBytes: 4096 + engineScratchBytes(TEST_OPTIONS) + PLANE_SCRATCH_BYTES })
  const counters = createCounters()
  const engine = createEngine({ ...TEST_OPTIONS, scratchStart: 4096 }, frames, counters)
  const sent: number[] = []
  const outlet: Outlet = { room: () => true, write(...[, , , sec, nsec]) { sent.push(sec * 1000 + nsec / 1e6); return true } }
  const plane = createPlane({
    frames, counters, engine, sides: { isBySource: false, decide: () => { frames.side[0] = SIDE_OUTSIDE } }, world: null, inside: null, outside: outlet,
    scratchStart: 4096 + engineScratchBytes(TEST_OPTIONS), clockNs: () => 0, firstSec: 0,
  })
  const syn = buildPacket({ proto: 'tcp', src: b, dst: nat, srcPort: 80, dstPort: 5000, tcpFlags: 2 })
  frames.pool.set(syn, 100)
  frames.off[0] = 100
  frames.capBytes[0] = frames.wireBytes[0] = syn.length
  frames.link[0] = LINK_RAW
  frames.sec[0] = 10
  plane.begin(1)
  plane.run(0, 1)
  assert.equal(plane.virtualMs(), 10_000, 'time did not begin with this packet')
  plane.advance(15, 999e6)
  assert.deepEqual([sent, plane.virtualMs()], [[], 15_999])
  plane.advance(16, 0)
  assert.deepEqual([sent, plane.virtualMs()], [[16_000], 16_000])
})
