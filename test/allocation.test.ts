/** The packet path allocates nothing: less than a byte a packet, over millions of them and every path that packets take often. */
import assert from 'node:assert/strict'
import { performance } from 'node:perf_hooks'
import { test } from 'node:test'
import { createPlaneRig, type FrameIn, type PlaneRig } from '../src/plane/testing.ts'
import { buildPacket, fragment, icmpError, type PacketSpec } from '../src/wire/build.ts'
import { WINDOW_LOOSE } from '../src/engine/options.ts'
import { BATCH, MAX_BYTES, judge, measure } from './allocation.ts'

/** Reading the clock makes a number: 16 bytes, once or twice a batch, but also for each packet that provokes others. */
let clockStands = false
// Functions that run for several mixes would be compiled for all of them: one machine, as in the program, runs every mix.
const rig = createPlaneRig({
  capacity: BATCH, outlets: false, roomBytes: 1 << 18, clockNs: () => clockStands ? 0 : performance.now() * 1e6,
  engine: { flows: 4096, fragmentHold: 64, portPreservation: true, halfOpen: 1000, halfOpenPerSource: 500, tcpWindow: WINDOW_LOOSE },
})
let nowMs = 0

/** Plays a prepared batch again and again: its bytes are put back each time, and time goes on. */
function replayer({ frames, load, plane }: PlaneRig, packets: readonly FrameIn[], stepMs: number): () => void {
  const batch = Array.from({ length: BATCH }, (_, i) => packets[i % packets.length])
  load(batch)
  const bytes = frames.off[BATCH - 1] + frames.capBytes[BATCH - 1]
  const original = frames.pool.slice(0, bytes)
  const columns = [frames.off, frames.capBytes, frames.wireBytes, frames.link]
  const rows = columns.map((column) => column.slice())
  return () => {
    frames.pool.set(original, 0)
    for (let n = 0; n < columns.length; n++) columns[n].set(rows[n])
    nowMs += stepMs
    frames.sec.fill(1_700_000_000 + Math.floor(nowMs / 1000))
    frames.nsec.fill(nowMs % 1000 * 1_000_000)
    plane.begin(BATCH)
    plane.run(0, BATCH)
  }
}

const a = '10.0.0.1', b = '198.51.100.1'
const many = (n: number, spec: (i: number) => PacketSpec): FrameIn[] => Array.from({ length: n }, (_, i) => ({ data: buildPacket(spec(i)) }))
const both = (out: (i: number) => PacketSpec, back: (i: number) => PacketSpec) =>
  many(64, out).flatMap((frame, i) => [frame, { data: buildPacket(back(i)) }])
const original = buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 5000, dstPort: 53, payload: new Uint8Array(8) })
const pieces = fragment(buildPacket({ proto: 'udp', src: a, dst: b, srcPort: 6000, dstPort: 53, id: 7, payload: new Uint8Array(300) }), [104, 104])

const MIXES: Record<string, FrameIn[]> = {
  'UDP, out and in': both(
    (i) => ({ proto: 'udp', src: a, dst: b, srcPort: 5000 + i, dstPort: 53, payload: new Uint8Array(18) }),
    (i) => ({ proto: 'udp', src: b, dst: a, srcPort: 53, dstPort: 5000 + i, payload: new Uint8Array(18) })),
  'TCP, out and in': both(
    (i) => ({ proto: 'tcp', src: a, dst: b, srcPort: 5000 + i, dstPort: 80, tcpFlags: i % 16 === 0 ? 2 : 16 }),
    (i) => ({ proto: 'tcp', src: b, dst: a, srcPort: 80, dstPort: 5000 + i, tcpFlags: i % 16 === 0 ? 18 : 16 })),
  'TCP that opens, closes and resets': many(64, (i) => ({
    proto: 'tcp', src: a, dst: b, srcPort: 8000 + (i >> 3), dstPort: 80, tcpFlags: [2, 16, 17, 4, 16, 2, 17, 16][i & 7],
  })),
  'ICMP queries': both(
    (i) => ({ proto: 'icmp', src: a, dst: b, icmpId: i }), (i) => ({ proto: 'icmp', icmpType: 0, src: b, dst: a, icmpId: i })),
  'ICMP errors about a flow': [{ data: original }, { data: icmpError({ src: '192.0.2.9', dst: a, original, icmpType: 3, icmpCode: 1 }) }],
  'IPv6, out and in': both(
    (i) => ({ proto: 'udp', src: 'fd00::1', dst: '2001:db8::1', srcPort: 5000 + i, dstPort: 53 }),
    (i) => ({ proto: i % 2 === 0 ? 'udp' : 'tcp', src: '2001:db8::1', dst: 'fd00::1', srcPort: 53, dstPort: 5000 + i })),
  'GRE': both(() => ({ proto: 47, src: a, dst: b, payload: new Uint8Array(20) }), () => ({ proto: 47, src: b, dst: a, payload: new Uint8Array(20) })),
  'hairpinning': [
    ...many(1, () => ({ proto: 'udp', src: a, dst: '203.0.113.1', srcPort: 5000, dstPort: 7000 })),
    ...many(16, (i) => ({ proto: 'udp', src: '10.0.0.2', dst: '203.0.113.1', srcPort: 7000 + i, dstPort: 5000 })),
  ],
  'fragments, in and out of order': [pieces[0], pieces[1], pieces[2], pieces[2], pieces[1], pieces[0]].map((data) => ({ data })),
  'drops of every common kind': [
    ...many(8, (i) => ({ proto: 'udp', src: b, dst: '203.0.113.1', srcPort: 1, dstPort: 60_000 + i })),
    ...many(8, () => ({ proto: 'udp', src: a, dst: '224.0.0.1', srcPort: 1, dstPort: 2 })),
    ...many(8, () => ({ proto: 'udp', src: a, dst: '10.0.0.2', srcPort: 1, dstPort: 2 })),
    ...many(8, () => ({ proto: 'udp', src: '127.0.0.1', dst: b, srcPort: 1, dstPort: 2 })),
    ...many(8, () => ({ proto: 'udp', src: a, dst: b, srcPort: 1, dstPort: 2, ttl: 1 })),
    ...many(8, () => ({ proto: 'udp', src: a, dst: b, srcPort: 1, dstPort: 2, ipChecksum: 'wrong' })),
    ...many(8, () => ({ proto: 'tcp', src: '2001:db8::1', dst: 'fd00::99', srcPort: 1, dstPort: 2 })),
    ...many(8, () => ({ proto: 'icmp', icmpType: 5, src: b, dst: a })),
    { data: new Uint8Array(60), link: 1 }, { data: new Uint8Array(9), link: 1 }, { data: new Uint8Array(60), link: 9 },
  ],
}

test('allocation: the meter sees two words for each packet, or even for each fourth', () => {
  let kept: unknown = null
  const every = measure(() => { for (let i = 0; i < BATCH; i++) kept = { i } }, 8)
  assert.ok(every.collected === 0 && every.bytesPerPacket > 8, `${every.bytesPerPacket}`)
  const fourth = measure(() => { for (let i = 0; i < BATCH; i += 4) kept = { i } }, 8)
  assert.ok(fourth.collected === 0 && fourth.bytesPerPacket > MAX_BYTES, `${fourth.bytesPerPacket}`)
  assert.notEqual(kept, null)
  judge(measure(() => { /* nothing */ }, 8))
})

for (const [name, packets] of Object.entries(MIXES)) {
  test(`allocation: less than ${MAX_BYTES} byte a packet: ${name}`, () => {
    const forwarded = rig.count('out-inside-packets') + rig.count('out-outside-packets'), dropped = rig.count('drop-packets')
    clockStands = name.startsWith('fragments')
    judge(measure(replayer(rig, packets, 1), 64))
    clockStands = false
    // The mix does what its name says.
    const left = rig.count('out-inside-packets') + rig.count('out-outside-packets') - forwarded
    const total = left + rig.count('drop-packets') - dropped
    assert.ok(name.startsWith('drops') ? left < total / 20 : left > total / 2, `${left} of ${total} left`)
  })
}

/* Flows that are new with every packet. */

for (const [name, stepMs, what] of [['flows that open and expire', 100_000, 'flows-expired'], ['flows that open and evict', 0, 'flows-evicted']] as const) {
  test(`allocation: less than ${MAX_BYTES} byte a packet: ${name}`, () => {
    const { frames, plane } = rig
    const packets = Array.from({ length: BATCH }, (_, i): FrameIn => ({
      data: i % 4 === 3 ? buildPacket({ proto: 'udp', src: 'fd00::7', dst: '2001:db8::7', srcPort: 1, dstPort: 53 })
        : buildPacket({ proto: i % 4 === 2 ? 'tcp' : 'udp', tcpFlags: 2, src: '10.0.1.1', dst: b, srcPort: 1, dstPort: 53, checksum: 'zero' }),
    }))
    rig.load(packets)
    const bytes = frames.off[BATCH - 1] + frames.capBytes[BATCH - 1]
    const pristine = frames.pool.slice(0, bytes), off = frames.off.slice(), capBytes = frames.capBytes.slice()
    let next = 0
    const opened = rig.count('flows-opened'), ended = rig.count(what)
    const measured = measure(() => {
      frames.pool.set(pristine, 0)
      frames.off.set(off)
      frames.capBytes.set(capBytes)
      frames.wireBytes.set(capBytes)
      frames.link.fill(101)
      for (let i = 0; i < BATCH; i++) {
        const at = off[i] + (i % 4 === 3 ? 40 : 20)
        next = next + 1 & 0x7fffffff
        frames.view.setUint16(at, 1024 + next % 60_000)
        frames.view.setUint16(at + 2, next >>> 12)
      }
      nowMs += stepMs
      frames.sec.fill(1_700_000_000 + Math.floor(nowMs / 1000))
      frames.nsec.fill(nowMs % 1000 * 1_000_000)
      plane.begin(BATCH)
      plane.run(0, BATCH)
    }, 64)
    judge(measured)
    assert.ok(rig.count('flows-opened') - opened > measured.packets * 0.9, 'nearly every packet opened a flow')
    assert.ok(rig.count(what) - ended > measured.packets * 0.9, 'and nearly every flow came to its end')
  })
}
