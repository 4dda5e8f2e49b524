/** The driver of AF_XDP sockets by itself (phy/xdp.ts, native/xdp.c): where frames of the UMEM are, whatever becomes of them. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Address } from '../../src/base/address.ts'
import { DEVICE_COUNTERS, type Device, type DeviceCounter } from '../../src/phy/device.ts'
import { reservePool } from '../../src/phy/packet.ts'
import { census, openXdpDevices, umemBytes, xdpCalls, type XdpOptions } from '../../src/phy/xdp.ts'
import { buildPacket, verify } from '../../src/wire/build.ts'
import { createFrames } from '../../src/wire/frames.ts'
import { put, rows, wokenByFrames, type Pool } from './frames.ts'
import { xdpObstacle } from './lab.ts'
import { enterNamespace, sh } from './namespace.ts'

const skip = enterNamespace() ?? xdpObstacle() ?? false
const RX = 4096, TX = 2048, BATCH = 256, SPARE_BYTES = 4096
if (skip === false) {
  sh('sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1',
    'ip link add v0 numrxqueues 2 numtxqueues 2 type veth peer name v1 numrxqueues 2 numtxqueues 2', 'ip link set v0 up arp off', 'ip link set v1 up arp off')
}

interface Opened extends Pool {
  near: Device
  far: Device
}

const link = (name: string, more: Partial<XdpOptions> = {}): XdpOptions => ({ name, mtu: 1500, queues: 1, kernel: [], ...more })

/** Opens both ends, and closes them after `work`; then nothing is left. */
async function between(mode: 'driver' | 'generic', links: readonly [XdpOptions, XdpOptions], work: (opened: Opened) => Promise<void> | void): Promise<void> {
  const spare = umemBytes(links), said: string[] = [], before = held()
  const frames = createFrames({ capacity: BATCH, poolBytes: spare + SPARE_BYTES, buffer: reservePool(spare + SPARE_BYTES) })
  const devices = openXdpDevices(links, frames, 0, mode, (line) => said.push(line)) as [Device, Device]
  assert.deepEqual(said, links.map(({ name, vlan, queues }) => `${name}${vlan === undefined ? '' : `:${vlan}`}: AF_XDP in ${mode} mode, copied, ${queues} queue${queues === 1 ? '' : 's'}`))
  try {
    await work({ frames, spare, near: devices[0], far: devices[1] })
  } finally {
    for (const device of devices) device.close()
  }
  assert.deepEqual(held(), before)
  assert.equal(census().chunks, 0)
}

const held = () => ({ descriptors: fs.readdirSync('/proc/self/fd').length, rings: fs.readFileSync('/proc/self/maps', 'utf8').split('\n').filter((line) => line.includes('socket:')).length })
const count = (device: Device, name: DeviceCounter) => device.counters()[DEVICE_COUNTERS.indexOf(name)]!
const counts = (device: Device, ...names: DeviceCounter[]) => names.map((name) => count(device, name))

/** A datagram, of which 16 bits say which one it is. */
function frameOf(to: Device, from: Device, payloadBytes: number, number = 0, dst = 0xc6336407 | 0): Uint8Array {
  const built = buildPacket({ link: 'ethernet', proto: 'udp', src: 0x0a000005, dst, srcPort: number, dstPort: 7, payload: new Uint8Array(payloadBytes).map((_, i) => i * 7 + number) })
  built.set([...to.mac, ...from.mac])
  return built
}

async function kick(device: Device): Promise<void> {
  while (device.kick()) await sleep(1)
}

/** All that has come, with the room for more that the system gets meanwhile; the driver of veth works in its own time. */
async function all(opened: Opened, device: Device, wanted: number): Promise<Uint8Array[]> {
  const came: Uint8Array[] = []
  for (let n = 0; n < 200 && came.length < wanted; n++) {
    const some = rows(opened, device)
    came.push(...some)
    device.release()
    if (some.length === 0) await sleep(2)
  }
  return came
}

/** Nothing is under way: all is free, but for the room that the system has. */
async function assertSettled({ near, far }: Opened, room: number): Promise<void> {
  for (let n = 0; n < 100 && (census().fill !== room || census().done + census().tx + census().kernel > 0); n++) {
    for (const device of [near, far]) {
      device.release()
      await kick(device)
    }
    await sleep(2)
  }
  const { chunks, free, ...rest } = census()
  assert.deepEqual(rest, { held: 0, fill: room, rx: 0, tx: 0, done: 0, kernel: 0 })
  assert.equal(free, chunks - room)
}

for (const mode of ['driver', 'generic'] as const) {
  describe(`AF_XDP in ${mode} mode`, { skip }, () => {
    test('frames come as they were sent, in order, past the ends of all rings, and rows say where they are and whose', () => between(mode, [link('v0'), link('v1')], async (opened) => {
      const { near, far, frames } = opened
      const [{ xdp }] = JSON.parse(spawnSync('ip', ['-j', 'link', 'show', 'v1'], { encoding: 'utf8' }).stdout) as [{ xdp: { mode: number } }]
      assert.equal(xdp.mode, mode === 'driver' ? 1 : 2)
      let number = 0, bytes = 0
      while (number < RX + 1000) {
        const sent = Array.from({ length: 200 }, () => frameOf(far, near, number % 1473, number++))
        bytes += sent.reduce((sum, one) => sum + one.length, 0)
        put(opened, near, sent)
        await kick(near)
        assert.deepEqual(await all(opened, far, 200), sent)
      }
      assert.deepEqual(counts(near, 'sent-frames', 'sent-bytes', 'send-full-frames', 'send-errors'), [number, bytes, 0, 0])
      assert.deepEqual(counts(far, 'received-frames', 'received-bytes', 'ring-full-frames', 'completed-checksums'), [number, bytes, 0, 0])
      // What is not asked for waits, and stays where it is until its release.
      const sent = Array.from({ length: 9 }, (_, n) => frameOf(far, near, 100, n))
      put(opened, near, sent)
      await kick(near)
      for (let n = 0; n < 100 && census().rx < 9; n++) await sleep(2)
      for (const column of [frames.off, frames.iface, frames.link]) column.fill(-1)
      assert.deepEqual(rows(opened, far, 4, 5), sent.slice(0, 4))
      assert.deepEqual([frames.off[4], frames.off[9], frames.iface[5], frames.iface[8], frames.link[5]], [-1, -1, 1, 1, 1])
      assert.deepEqual(rows(opened, far, 200, 9), sent.slice(4))
      assert.deepEqual([census().held, census().rx, frames.pool[frames.off[5]! + 43], frames.pool[frames.off[13]! + 43]], [9, 0, 7, 15])
      far.release()
      await assertSettled(opened, 2 * RX)
    }))

    test('a frame of the UMEM leaves from where it is, once; the same again, and others, are copied; what was not sent is free again', () => between(mode, [link('v0'), link('v1')], async (opened) => {
      const { near, far, frames } = opened
      put(opened, near, Array.from({ length: 8 }, (_, n) => frameOf(far, near, 60, n)))
      await kick(near)
      for (let n = 0; n < 100 && census().rx < 8; n++) await sleep(2)
      const free = census().free
      assert.equal(far.receive(0, BATCH), 8)
      for (let row = 0; row < 8; row++) {
        const at = frames.off[row]!
        frames.pool.set([...near.mac, ...far.mac], at)
        if (row === 7) continue
        far.send(at, 102)
        if (row === 3) far.send(at, 102)
        // Cut short, and at the end of a chunk.
        if (row === 4) far.send(at, 2049)
      }
      far.flush()
      assert.deepEqual([census().held, census().free], [1, free - 1])
      assert.deepEqual(counts(far, 'sent-frames', 'sent-bytes', 'send-full-frames'), [8, 816, 1])
      await kick(far)
      assert.deepEqual((await all(opened, near, 8)).map((frame) => frame[35]), [0, 1, 2, 3, 3, 4, 5, 6])
      await assertSettled(opened, 2 * RX)
      put(opened, near, [new Uint8Array(2048), new Uint8Array(2049), new Uint8Array(4096)])
      assert.deepEqual(counts(near, 'send-full-frames'), [2])
      await kick(near)
      await assertSettled(opened, 2 * RX)
    }))

    test('more than there is room for: what comes to a full ring and what leaves by one is counted, and all room is there again', () => between(mode, [link('v0'), link('v1')], async (opened) => {
      const { near, far } = opened, one = frameOf(far, near, 18)
      for (let n = 0; n < 30; n++) {
        put(opened, near, Array.from({ length: 200 }, () => one))
        await kick(near)
        near.release()
      }
      for (let n = 0; n < 100 && count(far, 'ring-full-frames') < 6000 - RX; n++) await sleep(2)
      assert.deepEqual(counts(far, 'ring-full-frames'), [6000 - RX])
      assert.equal((await all(opened, far, RX)).length, RX)
      await assertSettled(opened, 2 * RX)
      sh('ip link set v0 down')
      for (let n = 0; n < 11; n++) put(opened, near, Array.from({ length: 200 }, () => one))
      assert.equal(near.kick(), false)
      assert.equal(near.failure(), 'Network is down')
      assert.deepEqual([census().tx, census().held, ...counts(near, 'send-full-frames', 'sent-frames')], [TX, 0, 2200 - TX, 6000 + TX])
      assert.ok(count(near, 'send-errors') >= 1)
      sh('ip link set v0 up')
      // What waited leaves with the next call for it.
      near.release()
      put(opened, near, [one])
      for (let n = 0; n < 50 && census().tx > 0; n++) {
        put(opened, near, [one])
        await kick(near)
        await sleep(10)
      }
      assert.ok((await all(opened, far, count(near, 'sent-frames') - 6000)).length >= TX)
      await assertSettled(opened, 2 * RX)
    }))

    test('the program takes what goes on, and leaves the system what is its own; the box sees that all the same', () => {
      const kernel: Address[] = [...Array.from({ length: 127 }, (_, n) => 0x0a010000 + n), 0x0a000001].map((word) => ({ version: 4, words: Int32Array.of(word) }))
      const kernel6: Address[] = [...Array.from({ length: 127 }, (_, n) => [0x20010db8, 0, n, 1]), [0x20010db8, 1, 2, 3]].map((words) => ({ version: 6, words: Int32Array.from(words) }))
      return between(mode, [link('v0'), link('v1', { kernel: [...kernel, ...kernel6] })], async (opened) => {
        const { near, far, spare, frames } = opened, sideStart = spare - 2 * (1024 + 128) * 2048
        const six = (dst: number[]) => {
          const built = buildPacket({ link: 'ethernet', proto: 'udp', src: Int32Array.of(1, 2, 3, 4), dst: Int32Array.from(dst), srcPort: 1, dstPort: 2, payload: new Uint8Array(30) })
          built.set([...far.mac, ...near.mac])
          return built
        }
        const others = (change: (frame: Uint8Array) => void) => {
          const frame = frameOf(far, near, 30)
          change(frame)
          return frame
        }
        const cases: [string, Uint8Array, boolean][] = [
          ['IPv4', frameOf(far, near, 30), true], ['shortest', frameOf(far, near, 0), true], ['longest', frameOf(far, near, 1472), true],
          ['longer', frameOf(far, near, 1473), false],
          ['the first of the kernel', frameOf(far, near, 30, 0, 0x0a010000), false], ['the last', frameOf(far, near, 30, 0, 0x0a000001), false], ['its neighbour', frameOf(far, near, 30, 0, 0x0a000002), true],
          ['IPv6', six([0x20010db8, 9, 9, 9]), true], ['IPv6 of the kernel', six([0x20010db8, 0, 0, 1]), false], ['the last', six([0x20010db8, 1, 2, 3]), false],
          ...[0, 1, 2, 3].map((word): [string, Uint8Array, boolean] => [`all but word ${word}`, six([0x20010db8, 1, 2, 3].map((one, i) => i === word ? one ^ 1 : one)), true]),
          ['ARP', others((frame) => frame.set([8, 6], 12)), false], ['all', others((frame) => frame.fill(0xff, 0, 6)), false],
          ...[0, 4].map((octet): [string, Uint8Array, boolean] => [`a group like it, octet ${octet}`, others((frame) => { frame[0]! |= 1; frame[octet]! ^= 2 }), false]),
        ]
        for (const [name, frame, isTaken] of cases) {
          put(opened, near, [frame])
          await kick(near)
          let rowsSeen = 0
          for (let n = 0; n < 100 && rowsSeen === 0; n++) {
            rowsSeen = far.receive(0, BATCH)
            if (rowsSeen === 0 && count(far, 'oversized-frames') + count(far, 'unsegmented-frames') > 0) break
            if (rowsSeen === 0) await sleep(2)
          }
          if (name === 'longer') assert.deepEqual([rowsSeen, ...counts(far, 'unsegmented-frames')], [0, 1])
          else assert.deepEqual([name, rowsSeen, frames.off[0]! < sideStart, frames.capBytes[0]], [name, 1, isTaken, frame.length])
          far.release()
        }
        await assertSettled(opened, 2 * RX)
      })
    })

    test('VLANs: tags come off and on where a frame is, and with a copy too, of which the sender is the box', () => between(mode, [link('v0', { vlan: 7 }), link('v1', { vlan: 7 })], async (opened) => {
      const { near, far, frames } = opened
      if (mode === 'generic') return
      const sent = [0, 1, 1472].map((bytes) => frameOf(far, near, bytes, bytes))
      put(opened, near, sent)
      await kick(near)
      const came: Uint8Array[] = []
      for (let n = 0; n < 100 && came.length < 3; n++) {
        came.push(...rows(opened, far, BATCH, came.length))
        await sleep(2)
      }
      assert.deepEqual(came, sent)
      assert.deepEqual(counts(far, 'received-bytes', 'tagged-frames', 'untagged-frames'), [sent.reduce((sum, one) => sum + one.length, 0), 0, 0])
      for (let row = 0; row < 3; row++) {
        frames.pool.set([...near.mac, ...far.mac], frames.off[row]!)
        for (let n = 0; n < 2; n++) far.send(frames.off[row]!, sent[row]!.length)
      }
      far.flush()
      await kick(far)
      far.release()
      const back = sent.map((frame) => Uint8Array.of(...near.mac, ...far.mac, ...frame.subarray(12)))
      assert.deepEqual(await all(opened, near, 6), [back[0], back[0], back[1], back[1], back[2], back[2]])
      assert.deepEqual(counts(far, 'sent-bytes', 'send-full-frames'), [2 * count(far, 'received-bytes'), 0])
      await assertSettled(opened, 2 * RX)
    }))

    test('checksums that hold the sum of the pseudo header alone are completed; others stay as they are, wrong ones too', () => between(mode, [link('v0'), link('v1')], async (opened) => {
      const { near, far } = opened
      const right = frameOf(far, near, 101, 3), partial = right.slice(), wrong = right.slice(), fragment = right.slice(), view = new DataView(partial.buffer)
      let pseudo = 0x0a00 + 0x0005 + 0xc633 + 0x6407 + 17 + 109
      while (pseudo > 0xffff) pseudo = (pseudo & 0xffff) + (pseudo >>> 16)
      view.setUint16(40, pseudo)
      wrong[41]! ^= 1
      fragment.set(partial)
      fragment[20] = 0x20
      put(opened, near, [right, partial, wrong, fragment])
      await kick(near)
      const came = await all(opened, far, 4)
      assert.deepEqual(came, [right, right, wrong, fragment])
      assert.deepEqual(verify(came[1]!, 14), [])
      assert.equal(count(far, 'completed-checksums'), 1)
    }))

    test('two queues: each has its frames, which go back by a queue of their own, and no more of either than is asked for', () => between(mode, [link('v0', { queues: 2 }), link('v1', { queues: 2 })], async (opened) => {
      const { near, far, frames } = opened
      let back = 0
      for (let n = 0; n < 30; n++) {
        put(opened, near, Array.from({ length: 100 }, (_, i) => frameOf(far, near, 60, i)))
        await kick(near)
        let came = 0
        for (let tries = 0; tries < 100 && came < 100; tries++) {
          const some = far.receive(0, 30)
          assert.ok(some <= 30)
          for (let row = 0; row < some; row++) {
            frames.pool.set([...near.mac, ...far.mac], frames.off[row]!)
            far.send(frames.off[row]!, frames.capBytes[row]!)
          }
          far.flush()
          await kick(far)
          far.release()
          came += some
          if (some === 0) await sleep(2)
        }
        assert.equal(came, 100)
        back += (await all(opened, near, 100)).length
        near.release()
      }
      assert.equal(back, 3000)
      await assertSettled(opened, 4 * 2048)
    }))

    test('being woken: once after each arming, and not after disarming; with true when the interface fails', () => between(mode, [link('v0'), link('v1')], async (opened) => {
      const { near, far } = opened
      const woken = await wokenByFrames(far, async () => {
        put(opened, near, [frameOf(far, near, 60)])
        await kick(near)
        await sleep(20)
      })
      await all(opened, far, 1)
      far.arm()
      sh('ip link set v1 down')
      await sleep(50)
      assert.ok(woken.length > 1 && woken.at(-1) === true, woken.join())
      assert.equal(far.failure(), 'Network is down')
      sh('ip link set v1 up')
    }))

    test('what still comes to a device that is closed does no harm, and it can be opened again', async () => {
      for (let n = 0; n < 3; n++) {
        await between(mode, [link('v0'), link('v1')], async (opened) => {
          const { near, far, frames } = opened
          put(opened, near, [frameOf(far, near, 60)])
          await kick(near)
          for (let tries = 0; tries < 100 && census().rx < 1; tries++) await sleep(2)
          assert.equal(far.receive(0, BATCH), 1)
          far.onWake(() => { /* nobody */ })
          far.arm()
          far.close()
          far.close()
          far.arm()
          far.disarm()
          far.release()
          far.send(frames.off[0]!, 60)
          far.flush()
          assert.deepEqual([far.receive(0, BATCH), far.kick(), far.failure(), count(far, 'received-frames')], [0, false, undefined, 1])
        })
      }
    })
  })
}

test('what cannot be opened leaves nothing behind that is in the way of the next', { skip }, async () => {
  const { xdp } = xdpCalls(), before = held(), buffer = reservePool(1 << 20), bare = new Int32Array(0), mac = [0, 0, 0, 0, 0, 0]
  for (let n = 0; n < 2; n++) xdp.umem(buffer, 0, 2048, 64)
  assert.equal(census().chunks, 64)
  for (const [at, bytes, chunks] of [[-1, 2048, 1], [0, 2048, 1 << 20], [0, 0, 8], [0, 2048, 0], [0, -2048, -8]] as const) assert.throws(() => { xdp.umem(buffer, at, bytes, chunks) }, /umem: Invalid argument/)
  const attach = (number: number, index: number, queues: number, addresses = bare) => { xdp.attach(number, index, queues, 1, 0, 1514, mac, addresses, bare, 0) }
  for (const number of [-1, 8]) assert.throws(() => { attach(number, 1, 1) }, /attach: Invalid argument/)
  for (const queues of [0, 17]) assert.throws(() => { attach(0, 1, queues) }, /attach: Invalid argument/)
  assert.throws(() => { attach(0, 1, 1, new Int32Array(129)) }, /attach: Invalid argument/)
  assert.throws(() => { attach(0, 9999, 1) }, /BPF_LINK_CREATE: /)
  assert.throws(() => xdp.open(0, 1, 512, 512, [], bare, new Float64Array(20)), /open: Invalid argument/)
  xdp.close(0)
  assert.equal(census().chunks, 0)
  assert.deepEqual(held(), before)
  // Queues that are not there.
  await assert.rejects(between('generic', [link('v0'), link('v1', { queues: 3 })], () => { /* nothing works */ }), /v1: bind: Invalid argument/)
  assert.equal(census().chunks, 0)
  assert.deepEqual(held(), before)
  await between('generic', [link('v0'), link('v1')], () => { assert.throws(() => { xdp.umem(buffer, 0, 2048, 64) }, /umem: Device or resource busy/) })
})
