import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createNpt6 } from '../../channel/npt6.ts'
import { createSteering } from '../../channel/steering.ts'
import { TURNED } from '../../engine/share.ts'
import { createLiveCounters } from '../../plane/live-counters.ts'
import { buildPacket } from '../../wire/build.ts'
import { createFrames, SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import type { Machine } from '../compose.ts'
import { createGather, gatherBytes } from './gather.ts'
import { HEARD, type Handover } from './handover.ts'
import { createPart } from './part.ts'

const OURS = 0xcb007101 | 0, PEER = 0xc6336407 | 0, WORKERS = 3, ME = 1, FRAME_BYTES = 1514, SLOT = 2048
const steering = createSteering({ workers: WORKERS, stripeBase: 0, stripePorts: 64, bySubnet: false })
const { ofAddress4, ofPort } = steering
const hostOf = (worker: number) => Array.from({ length: 99 }, (_, n) => 0x0a000001 + n).find((host) => ofAddress4(host) === worker)!
const portOf = (worker: number) => Array.from({ length: 999 }, (_, n) => 1024 + n).find((port) => ofPort(port) === worker)!

interface Given { to: number; kind: number; bytes: number[] }

function setUp() {
  const frames = createFrames({ capacity: 16, poolBytes: 16 * SLOT + gatherBytes(FRAME_BYTES) }), { pool, off, capBytes, l3, side, net, iface } = frames
  const given: Given[] = [], ran: [number, number][] = []
  const handover = {
    give(to: number, at: number, bytes: number, kind: number) { given.push({ to, kind, bytes: [...pool.subarray(at, at + bytes)] }) },
  } as unknown as Handover
  const gather = createGather({ frames, datagrams: 64, fragmentMs: 1000, start: 16 * SLOT, frameBytes: FRAME_BYTES, counters: createLiveCounters() })
  const npt6 = createNpt6([{ inside: [0xfd000001 | 0, 0], insideBits: 48, outside: [0x20010db8, 0x70000], outsideBits: 48 }])
  const machine = {
    frames, plane: { run: (from: number, to: number) => ran.push([from, to]) },
    engine: { npt6, share: { isOurs: (address: number) => address === OURS, ownerOut: (_: number, __: number, port: number) => ofPort(port) } },
  } as unknown as Machine
  const part = createPart({ machine, worker: ME, nat44: true, handover, gather }, steering, WORKERS)
  function put(row: number, frame: Uint8Array, from = SIDE_OUTSIDE): number {
    off[row] = row * SLOT
    capBytes[row] = frame.length
    pool.set(frame, off[row])
    l3[row] = off[row]! + 14
    side[row] = iface[row] = from
    net[row] = frame[12] === 8 && frame[13] === 0 ? 4 : frame[12] === 0x86 ? 6 : 2
    return l3[row]!
  }
  return { part, put, given, ran, frames, gather }
}

const udp = (fields: Partial<Parameters<typeof buildPacket>[0]>) => buildPacket({ link: 'ethernet', proto: 'udp', src: PEER, dst: OURS, srcPort: 9, dstPort: 9, ...fields } as Parameters<typeof buildPacket>[0])
const toWorker = (worker: number) => udp({ dstPort: portOf(worker) })
const fromWorker = (worker: number) => udp({ src: hostOf(worker), dst: PEER })
/** A piece of a datagram for that worker, which the first one tells. */
const piece = (worker: number, id: number, offset: number) => {
  const frame = udp({ dstPort: portOf(worker), id, payload: new Uint8Array(64).fill(offset) }), view = new DataView(frame.buffer)
  view.setUint16(14 + ipv4.FRAGMENT, offset | ipv4.MORE_FRAGMENTS)
  if (offset > 0) view.setUint16(14 + 20 + 2, 0)
  return frame
}

test('part: what is its own is run in order and in runs as long as can be, and what is others\' is handed on by its side', () => {
  const { part, put, given, ran, frames } = setUp()
  const rows = [[1, 0], [1, 1], [0, 0], [2, 1], [1, 0], [2, 0], [1, 1]] as const
  rows.forEach(([worker, from], row) => put(row, from === SIDE_INSIDE ? fromWorker(worker) : toWorker(worker), from))
  put(7, udp({}))
  frames.net[7] = 2      // what is no IP is dropped here as well as anywhere
  part.run(8, 5)
  assert.deepEqual(ran, [[0, 2], [4, 5], [6, 8]])
  assert.deepEqual(given.map(({ to, kind }) => [to, kind]), [[0, 0], [2, 1], [2, 0]])
  assert.deepEqual(given[1]!.bytes, [...toWorker(2)])
  given.length = ran.length = 0
  put(0, toWorker(0))
  part.run(1, 6)
  assert.deepEqual([ran, given.length], [[], 1])
})

test('part: IPv6 is forwarded by the worker of its inside host too', () => {
  const { part, put, given, ran } = setUp()
  const hosts = Array.from({ length: 40 }, (_, n) => ({ n, worker: steering.ofSum6(0xfd00 + 1 + 0x100 + n) }))
  const from = (worker: number) => put(0, udp({ src: `fd00:1::${(0x100 + hosts.find((one) => one.worker === worker)!.n).toString(16)}`, dst: '2001:db8:9::7' }), SIDE_INSIDE)
  from(ME)
  part.run(1, 5)
  assert.deepEqual([ran.splice(0), given], [[[0, 1]], []])
  from(2)
  part.run(1, 5)
  assert.deepEqual([ran, given.map(({ to, kind }) => [to, kind])], [[], [[2, SIDE_INSIDE]]])
})

test('part: pieces of a datagram that came before its first one follow it to its worker, and to this one too', () => {
  for (const worker of [0, ME]) {
    const { part, put, given, ran } = setUp()
    put(0, piece(worker, 77, 3))
    put(1, piece(worker, 78, 3))
    put(2, toWorker(ME))
    part.run(3, 5)
    assert.deepEqual([given, ran], [[], [[2, 3]]])
    put(0, toWorker(2))
    put(1, piece(worker, 77, 0))
    put(2, toWorker(2))
    part.run(3, 6)
    const first = worker === ME ? [] : [0]
    assert.deepEqual(given.map(({ to }) => to), [2, ...first, worker, 2])
    assert.deepEqual(given.at(-2), { to: worker, kind: SIDE_OUTSIDE, bytes: [...piece(worker, 77, 3)] })
    assert.deepEqual(ran, worker === ME ? [[2, 3], [1, 2]] : [[2, 3]])
  }
})

test('part: what leaves for an address of ours turns round: to the worker that it is for, without an address of Ethernet, and as if it had not met a router yet', () => {
  const { part, put, given, frames } = setUp()
  const p = put(0, udp({ src: PEER, dstPort: portOf(2), ttl: 63 })), { view } = frames
  assert.equal(part.turn(p, frames.capBytes[0]! - 14), true)
  const { to, kind, bytes } = given[0]!
  assert.deepEqual([to, kind, bytes.slice(0, 14)], [2, TURNED, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]])
  assert.deepEqual(bytes.slice(14), [...udp({ src: PEER, dstPort: portOf(2), ttl: 64 }).subarray(14)], 'checksum and all')
  // Sums that carry.
  for (let ttl = 1; ttl < 255; ttl++) {
    const at = put(0, udp({ src: PEER, dstPort: portOf(2), ttl, id: ttl * 257 }))
    part.turn(at, frames.capBytes[0]! - 14)
    assert.equal(ipv4.headerSum(view, at), 0xffff, `hops ${ttl}`)
  }
  given.length = 0
  assert.equal(part.turn(put(0, udp({ src: OURS, dst: PEER })), 28), false)
  assert.equal(given.length, 0)
})

test('part: of a datagram that nobody has heard of for its time the pieces wait again', () => {
  const { part, put, given, gather } = setUp()
  put(0, piece(2, 66, 0))
  part.run(1, 5000)
  put(0, piece(2, 66, 3))
  part.run(1, 5999)
  assert.deepEqual([given.length, gather.isWaiting()], [2, false])
  part.run(1, 6000)
  assert.deepEqual([given.length, gather.isWaiting()], [2, true])
  part.expire(7000)
  assert.equal(gather.isWaiting(), false)
})

test('part: IPv6 turns round by its outside prefix', () => {
  const { part, put, given, frames } = setUp()
  const six = (dst: Int32Array, hops: number) => udp({ src: Int32Array.of(0x20010db8, 0x70000, 0, 5), dst, ttl: hops } as never)
  const ours = Int32Array.of(0x20010db8, 0x70000, 0, 9), p = put(0, six(ours, 9))
  assert.equal(part.turn(p, frames.capBytes[0]! - 14), true)
  assert.deepEqual([given[0]!.to, given[0]!.kind, given[0]!.bytes.slice(12, 14)], [steering.ofSum6(0x2001 + 0xdb8 + 7 + 9), TURNED, [0x86, 0xdd]])
  assert.deepEqual(given[0]!.bytes.slice(14), [...six(ours, 10).subarray(14)])
  assert.equal(part.turn(put(0, six(Int32Array.of(0x20010db8, 0x80000, 0, 9), 9)), frames.capBytes[0]! - 14), false)
})

test('part: pieces that turn round before the first one of their datagram follow it as what has turned round', () => {
  const { part, put, given, frames } = setUp()
  assert.equal(part.turn(put(0, piece(2, 55, 3)), frames.capBytes[0]! - 14), true)
  assert.equal(given.length, 0)
  assert.equal(part.turn(put(0, piece(2, 55, 0)), frames.capBytes[0]! - 14), true)
  assert.deepEqual(given.map(({ to, kind, bytes }) => [to, kind, bytes.at(-1)]), [[2, TURNED, 0], [2, TURNED, 3]])
  put(0, toWorker(0))
  part.run(1, 7)
  assert.equal(given.length, 3, 'and not the next frame that comes')
})

test('part: ARP and neighbour discovery are told to all others, by the side that they came from; nothing else is', () => {
  const { part, put, given, frames } = setUp()
  const arp = new Uint8Array(42)
  arp.set([8, 6], 12)
  const icmp6 = (type: number) => {
    const frame = new Uint8Array(14 + 40 + 8)
    frame.set([0x86, 0xdd, 0x60], 12)
    frame[20] = 58
    frame[54] = type
    return frame
  }
  put(0, arp, SIDE_INSIDE)
  put(1, icmp6(135))
  put(2, icmp6(136), SIDE_INSIDE)
  put(3, icmp6(134))
  put(4, icmp6(137))
  put(5, toWorker(0))
  const other = icmp6(135)
  other[20] = 17
  put(6, other)
  // Cut off: within the frame there is nothing that says what it is.
  put(7, icmp6(135))
  put(8, arp)
  frames.capBytes[7] = 61
  frames.capBytes[8] = 13
  part.tell(9)
  assert.deepEqual(given.map(({ to, kind }) => [to, kind]), [0, 1, 0].flatMap((side) => [[0, HEARD + side], [2, HEARD + side]]))
  assert.deepEqual(given[2]!.bytes, [...icmp6(135)])
  given.length = 0
  frames.capBytes[8] = 14
  part.tell(9)
  assert.equal(given.length, 8)
})
