/** The driver of packet rings by itself (phy/packet.ts, native/packet.c): what rings of a few slots do when they are full, or wrap. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadAddon } from '../../src/phy/addon.ts'
import { DEVICE_COUNTERS, type Device, type DeviceCounter } from '../../src/phy/device.ts'
import { openPacketDevices, openRings, reservePool, ringBytes, type PacketOptions, type Slots } from '../../src/phy/packet.ts'
import { spareKernel } from '../../src/phy/program.ts'
import { buildPacket, verify } from '../../src/wire/build.ts'
import { createFrames } from '../../src/wire/frames.ts'
import { put, rows, wokenByFrames, type Pool } from './frames.ts'
import { enterNamespace, sh } from './namespace.ts'

const reason = enterNamespace()
const skip = reason ?? false
const SLOTS = { rx: 32, tx: 32 }
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-rings-'))
after(() => fs.rmSync(dir, { recursive: true }))
const JOINER = path.join(dir, 'joiner')
const noJoiner = reason ?? (spawnSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', JOINER, 'test/live/joiner.c']).status === 0 ? false
  : 'no C compiler for what sends joined frames')
if (reason === null) {
  // Nobody says anything of himself here.
  sh('sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1',
    'ip link add v0 type veth peer name v1', 'ip link set v0 up arp off', 'ip link set v1 up arp off')
}

interface Opened extends Pool {
  devices: Device[]
}

function open(links: readonly PacketOptions[], slots: Slots = SLOTS): Opened {
  const shareBytes = ringBytes(links, slots), spareBytes = 1 << 17
  const frames = createFrames({ capacity: 256, poolBytes: shareBytes + spareBytes, buffer: reservePool(shareBytes + spareBytes) })
  return { frames, spare: shareBytes, devices: openPacketDevices(links, frames, 0, slots) }
}

/** Opens both ends, and closes them after `work`. */
async function between(links: readonly PacketOptions[], work: (opened: Opened, near: Device, far: Device) => Promise<void> | void, slots?: Slots): Promise<void> {
  const opened = open(links, slots)
  try {
    await work(opened, opened.devices[0]!, opened.devices[1]!)
  } finally {
    for (const device of opened.devices) device.close()
  }
}

const PAIR = [{ name: 'v0', mtu: 1500 }, { name: 'v1', mtu: 1500 }]
const count = (device: Device, name: DeviceCounter) => device.counters()[DEVICE_COUNTERS.indexOf(name)]!

/** A frame of IPv4 as far as a driver looks; its octets from 14 on say which one it is. */
function frameOf(to: Pick<Device, 'mac'>, from: Pick<Device, 'mac'>, bytes: number, number: number): Uint8Array {
  const frame = new Uint8Array(bytes).map((_, i) => i * 7 + number)
  frame.set([...to.mac, ...from.mac, 0x88, 0xb5, number >> 8, number])
  return frame
}

async function kick(device: Device): Promise<number> {
  let calls = 1
  for (; device.kick(); calls++) await sleep(1)
  return calls
}

test('rings: frames come as they were sent, in order, however often the ring wraps, and rows say where they are and whose', { skip }, () => between(PAIR, async (opened, near, far) => {
  const { frames } = opened
  let number = 0, bytes = 0
  for (let n = 0; n < 12; n++) {
    const sent = Array.from({ length: 11 }, () => frameOf(far, near, 60 + number % 1455, number++))
    bytes += sent.reduce((sum, one) => sum + one.length, 0)
    put(opened, near, sent)
    assert.equal(await kick(near), 1)
    frames.off.fill(-1)
    frames.link.fill(-1)
    frames.iface.fill(-1)
    // In two pieces: what is not asked for waits.
    assert.deepEqual(rows(opened, far, 4, 5), sent.slice(0, 4))
    assert.deepEqual([frames.off[4], frames.off[9], frames.iface[5], frames.iface[8], frames.link[5]], [-1, -1, 1, 1, 1])
    assert.deepEqual(rows(opened, far), sent.slice(4))
    assert.equal(far.receive(0, 256), 0)
    far.release()
    assert.equal(far.kick(), false)
  }
  assert.deepEqual([count(near, 'sent-frames'), count(near, 'sent-bytes'), count(far, 'received-frames'), count(far, 'received-bytes')], [number, bytes, number, bytes])
  assert.deepEqual([count(near, 'received-frames'), count(far, 'ring-full-frames'), count(near, 'send-full-frames'), count(near, 'send-errors')], [0, 0, 0, 0])
}))

test('rings: a full one loses what comes, which is counted, and goes on where it was; a frame stays as it is until its release', { skip }, () => between(PAIR, async (opened, near, far) => {
  for (let n = 0; n < 3; n++) {
    const sent = Array.from({ length: 45 }, (_, i) => frameOf(far, near, 100, 100 * n + i))
    for (const part of [sent.slice(0, 20), sent.slice(20)]) {
      put(opened, near, part)
      await kick(near)
    }
    assert.deepEqual(rows(opened, far), sent.slice(0, 32))
    // All are looked at, and none is given back.
    put(opened, near, [frameOf(far, near, 100, 9999)])
    await kick(near)
    assert.equal(far.receive(0, 256), 0)
    assert.deepEqual([opened.frames.pool[opened.frames.off[0]! + 15], opened.frames.pool[opened.frames.off[31]! + 15]], [100 * n & 255, 100 * n + 31 & 255])
    far.release()
    assert.equal(count(far, 'ring-full-frames'), 14 * (n + 1))
  }
}))

test('an interface that is made anew: what waited to be sent is lost and counted, then frames come and go as before, by its own address', { skip }, async () => {
  const pair = 'ip link add r0 type veth peer name r1; ip link set r0 up arp off; ip link set r1 up arp off'
  const links = [{ name: 'r0', mtu: 1500 }, { name: 'r1', mtu: 1500 }]
  sh(pair)
  await between(links, async (opened, near, far) => {
    const woken: boolean[] = []
    near.onWake((hasFailed) => woken.push(hasFailed))
    const isWoken = async () => { for (let n = 0; n < 200 && woken.length === 0; n++) await sleep(5) }
    for (let n = 1; n <= 2; n++) {
      assert.deepEqual([near.isRemoved(), far.isRemoved()], [false, false])
      near.arm()
      sh('ip link set r0 down')
      assert.equal(near.isRemoved(), false)
      sh('ip link del r0')
      await isWoken()
      assert.deepEqual([woken.splice(0), near.failure(), near.failure()], [[true], 'Network is down', undefined])
      assert.deepEqual([near.isRemoved(), far.isRemoved()], [true, true])
      assert.throws(() => { near.renew!() }, { code: 'no-interface' })
      assert.equal(near.isRemoved(), true)
      put(opened, near, Array.from({ length: 7 }, (_, i) => frameOf(far, near, 100, i)))
      assert.equal(near.kick(), false)
      sh(pair)
      for (const device of [near, far]) device.renew!()
      assert.deepEqual([near.isRemoved(), far.isRemoved(), near.failure(), far.failure()], [false, false, undefined, undefined])
      // Those that waited, and that the call found none to send them by.
      assert.equal(count(near, 'send-errors'), 8 * n)
      const here = loadAddon().link('r0'), there = loadAddon().link('r1')
      const sent = Array.from({ length: 40 }, (_, i) => frameOf(there, here, 200, 1000 * n + i))
      const group = frameOf({ mac: [1, 0, 0x5e, 0, 0, 5] }, here, 60, 1)
      for (const part of [sent.slice(0, 30), [...sent.slice(30), group]]) {
        put(opened, near, part)
        await kick(near)
        assert.deepEqual(rows(opened, far), part)
        far.release()
      }
      near.arm()
      put(opened, far, [frameOf(here, there, 60, 5)])
      await kick(far)
      await isWoken()
      assert.deepEqual(woken.splice(0), [false])
      assert.equal(rows(opened, near).length, 1)
      near.release()
    }
    for (const device of [near, far]) device.close()
    assert.equal(near.isRemoved(), false)
    assert.throws(() => { near.renew!() }, /Invalid argument/)
  })
  sh('ip link del r0')
})

test('sending: more frames than slots leave all the same; what does not fit into a slot, or finds none, is counted', { skip }, () => between(PAIR, async (opened, near, far) => {
  const sent = Array.from({ length: 70 }, (_, i) => frameOf(far, near, 1514, i))
  put(opened, near, sent)
  await kick(near)
  assert.deepEqual(rows(opened, far), sent.slice(0, 32))
  assert.equal(count(near, 'send-full-frames'), 0)
  // More than a list of them holds, of a frame that lies where it came.
  for (let n = 0; n < 300; n++) far.send(opened.frames.off[0]!, 60)
  far.flush()
  assert.deepEqual([count(far, 'sent-frames'), count(far, 'sent-bytes')], [300, 18_000])
  far.release()
  // Of 2,048 bytes a slot has four for the length, and a tag has to find room.
  put(opened, near, [new Uint8Array(2041), new Uint8Array(60_000)])
  assert.equal(count(near, 'send-full-frames'), 2)
  // One that is too long for the link keeps none behind it from leaving.
  far.release()
  put(opened, near, [frameOf(far, near, 100, 1), new Uint8Array(2000), new Uint8Array(1600), frameOf(far, near, 100, 2)])
  await kick(near)
  assert.deepEqual(rows(opened, far), [frameOf(far, near, 100, 1), frameOf(far, near, 100, 2)])
  far.release()
  assert.equal(count(near, 'send-errors'), 2)
  sh('ip link set v0 down')
  put(opened, near, sent.slice(0, 40))
  assert.equal(near.kick(), false)
  assert.equal(count(near, 'send-full-frames'), 10)
  assert.equal(count(near, 'send-errors'), 2 + 9)
  assert.equal(count(near, 'sent-frames'), 70 + 4 + 32)
  sh('ip link set v0 up')
  assert.equal(near.failure(), 'Network is down')
  assert.equal(near.failure(), undefined)
  // What waited leaves with the next.
  put(opened, near, [frameOf(far, near, 60, 77)])
  await kick(near)
  assert.deepEqual(rows(opened, far), sent.slice(0, 32))
}))

const TBF = 'ip link add w0 type veth peer name w1; tc qdisc add dev w0 root tbf rate 50mbit burst 4k limit 10mb; ip link add link w0 name m0 type macvlan'

/** Why there is no driver that takes its time here, or false. */
function noSlowDriver(): string | false {
  const { status, stderr } = spawnSync('sh', ['-ec', TBF], { encoding: 'utf8' })
  spawnSync('ip', ['link', 'del', 'w0'], { stdio: 'ignore' })
  return status === 0 ? false : `this kernel has no macvlan or tbf: ${stderr.trim()}`
}

test('sending: a driver that gives nothing back at once gets all of a batch, in several calls, and none waits for a later frame', { skip: reason ?? noSlowDriver() }, async () => {
  sh(TBF, 'ip link set w0 up arp off', 'ip link set w1 up arp off', 'ip link set m0 up arp off')
  try {
    await between([{ name: 'm0', mtu: 1500 }, { name: 'w1', mtu: 1500 }], async (opened, near, far) => {
      const sent = Array.from({ length: 250 }, (_, i) => frameOf(far, near, 1000, i)), came: Uint8Array[] = []
      put(opened, near, sent)
      assert.ok(await kick(near) > 1)
      for (let n = 0; n < 300 && came.length < sent.length; n++) {
        came.push(...rows(opened, far))
        far.release()
        await sleep(10)
      }
      assert.deepEqual(came, sent)
      assert.deepEqual([count(near, 'sent-frames'), count(near, 'send-full-frames'), count(near, 'send-errors')], [250, 0, 0])
    }, { rx: 512, tx: 256 })
  } finally {
    spawnSync('ip', ['link', 'del', 'w0'])
  }
})

test('VLANs: the tag is put in before a frame leaves, at its place, and off one that comes', { skip }, async () => {
  for (const vlan of [7, 4094]) {
    await between([{ name: 'v0', mtu: 1500, vlan }, { name: 'v1', mtu: 1500, vlan }], async (opened, near, far) => {
      for (const bytes of [60, 61, 1514]) {
        const sent = frameOf(far, near, bytes, bytes)
        put(opened, near, [sent])
        await kick(near)
        assert.deepEqual(rows(opened, far), [sent])
        far.release()
      }
      assert.deepEqual([count(near, 'sent-bytes'), count(far, 'received-bytes')], [1635, 1635])
    })
  }
  await between([{ name: 'v0', mtu: 1500, vlan: 7 }, { name: 'v1', mtu: 1500 }], async (opened, near, far) => {
    put(opened, far, [frameOf(near, far, 60, 1)])
    await kick(far)
    put(opened, near, [frameOf(far, near, 60, 1), frameOf(far, near, 60, 1)])
    await kick(near)
    assert.deepEqual([near.receive(0, 9), far.receive(0, 9)], [0, 0])
    assert.deepEqual([count(near, 'untagged-frames'), count(near, 'priority-tagged-frames'), count(far, 'tagged-frames')], [1, 0, 2])
  })
  await between([{ name: 'v0', mtu: 1500, vlan: 0x705 }, { name: 'v1', mtu: 1500, vlan: 5 }], async (opened, near, far) => {
    put(opened, near, [frameOf(far, near, 60, 1)])
    await kick(near)
    // The last is not for who sees it.
    put(opened, far, [frameOf(near, far, 60, 1), frameOf(near, far, 60, 1), frameOf(far, near, 60, 1)])
    await kick(far)
    assert.deepEqual([near.receive(0, 9), far.receive(0, 9), count(near, 'tagged-frames'), count(far, 'tagged-frames')], [0, 0, 2, 1])
  })
})

/** As a host beside the box leaves it to hardware: by TCP in segments of so many bytes, or whole if that is 0. */
function joinedOf(to: Device, from: Device, payloadBytes: number, size: number, number: number, flags = 1): Uint8Array {
  const built = buildPacket({
    link: 'ethernet', proto: 'tcp', src: 0x0a000005, dst: 0xc6336407 | 0, srcPort: 4000 + number, dstPort: 80, id: 0, seq: 1, ack: 1, window: 1, tcpFlags: 0x10,
    payload: new Uint8Array(payloadBytes).map((_, i) => i * 7 + number),
  })
  built.set([...to.mac, ...from.mac])
  const view = new DataView(built.buffer, built.byteOffset)
  let pseudo = 0x0a00 + 0x0005 + 0xc633 + 0x6407 + 6 + built.length - 34
  while (pseudo > 0xffff) pseudo = (pseudo & 0xffff) + (pseudo >>> 16)
  if (flags === 1) view.setUint16(50, pseudo)
  const whole = new Uint8Array(12 + built.length)
  whole.set(new Uint8Array(Uint16Array.of(10 + built.length, flags | (size > 0 ? 0x100 : 0), 54, size, 34, 16).buffer))
  whole.set(built, 12)
  return whole
}

function join(all: readonly Uint8Array[], by = 'v1'): void {
  const { status, stderr } = spawnSync(JOINER, [by], { input: Buffer.concat(all), encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}

/** The payload of segments that are right by themselves. */
function payloadOf(segments: readonly Uint8Array[]): Uint8Array {
  for (const one of segments) assert.deepEqual(verify(one, 14), [])
  return Uint8Array.from(Buffer.concat(segments.map((one) => one.subarray(54))))
}

/** Kernels without 802.1Q drop what has a tag, and nobody sees by whom. */
const hasVlans = reason === null && spawnSync('sh', ['-c', 'ip link add link v1 name v1.7 type vlan id 7 && ip link del v1.7'], { stdio: 'ignore' }).status === 0

test(`sparing the kernel: of what the box takes its stack has nothing, of all else everything${hasVlans ? ', in a VLAN and without' : ''}; the box has both`, { skip }, async () => {
  if (hasVlans) for (const vlan of [7, 9]) sh(`ip link add link v1 name v1.${vlan} type vlan id ${vlan}`, `ip link set v1.${vlan} up arp off`)
  /** Packets that its stack has taken up. */
  const taken = () => {
    const [, names, values] = /^(Ip: .*)\n(Ip: .*)$/m.exec(fs.readFileSync('/proc/net/snmp', 'utf8'))!
    return Number(values!.split(' ')[names!.split(' ').indexOf('InReceives')])
  }
  const kernel = [0x0a000001, 0x0a0000fe].map((word) => ({ version: 4 as const, words: Int32Array.of(word) }))
  try {
    for (const spares of [0, 7]) for (const sends of hasVlans ? [0, 7, 9] : [0]) {
      await between([{ name: 'v0', mtu: 1500, vlan: sends }, { name: 'v1', mtu: 1500, vlan: sends }], async (opened, near, far) => {
        const spared = spareKernel([{ name: 'v1', vlan: spares, kernel }], assert.fail)
        const packet = (dst: number, to: readonly number[] = far.mac) => {
          const built = buildPacket({ link: 'ethernet', proto: 'udp', src: 0x0a000005, dst, srcPort: 1, dstPort: 2, payload: new Uint8Array(30) })
          built.set([...to, ...near.mac])
          return built
        }
        const own = [packet(0x0a000009), packet(0x08080808), packet(0x0a000002)]
        const kernels = [packet(0x0a000001), packet(0x0a0000fe), packet(0xe0000009 | 0, [1, 0, 0x5e, 0, 0, 9])]
        const reach = async (frames: Uint8Array[]) => {
          const before = taken()
          put(opened, near, frames)
          await kick(near)
          assert.deepEqual(rows(opened, far), frames)
          far.release()
          return taken() - before
        }
        const what = `spared ${spares}, sent ${sends}`
        assert.deepEqual([what, await reach(own), await reach(kernels)], [what, spares === sends ? 0 : own.length, kernels.length])
        spared.close()
        assert.deepEqual([what, await reach(own)], [what, own.length])
      })
    }
  } finally {
    if (hasVlans) sh('ip link del v1.7', 'ip link del v1.9')
  }
})

test('checksums that were left to hardware are completed, and counted; others are as they came', { skip: noJoiner }, () => between(PAIR, (opened, near, far) => {
  join([joinedOf(near, far, 100, 0, 1), joinedOf(near, far, 101, 0, 2, 0), joinedOf(near, far, 1460, 0, 3)])
  const came = rows(opened, near)
  assert.deepEqual(came.map((one) => one.length), [154, 155, 1514])
  for (const one of came) assert.deepEqual(verify(one, 14), [])
  assert.equal(count(near, 'completed-checksums'), 2)
}))

test('joined frames: the first shows that there are such; those after it are cut, in their place, and wait for room', { skip: noJoiner }, () => between(PAIR, (opened, near, far) => {
  join([joinedOf(near, far, 5000, 1000, 1)])
  assert.equal(near.receive(0, 256), 0)
  near.release()
  assert.equal(count(near, 'unsegmented-frames'), 1)
  const [one, other, plain] = [joinedOf(near, far, 5001, 1000, 2), joinedOf(near, far, 3000, 1460, 3), joinedOf(near, far, 70, 0, 4)]
  join([one!, plain!, other!])
  // Six segments, one frame, three segments; two rows at a time.
  const came: Uint8Array[] = []
  for (let n = 0; n < 12; n++) {
    const some = rows(opened, near, 2, n)
    assert.ok(some.length <= 2)
    came.push(...some)
    near.release()
  }
  assert.deepEqual(came.map((frame) => frame.length), [1054, 1054, 1054, 1054, 1054, 55, 124, 1514, 1514, 134])
  assert.deepEqual(payloadOf(came.slice(0, 6)), one!.subarray(12 + 54))
  assert.deepEqual(payloadOf(came.slice(7)), other!.subarray(12 + 54))
  assert.deepEqual([count(near, 'segmented-frames'), count(near, 'unsegmented-frames'), count(near, 'oversized-frames'), count(near, 'received-frames')], [2, 1, 0, 10])
  assert.equal(count(near, 'received-bytes'), came.reduce((sum, frame) => sum + frame.length, 0))
  // More segments than there is room for between two releases.
  join([joinedOf(near, far, 60_000, 300, 5), plain!])
  const [first, none, second, rest] = [rows(opened, near), rows(opened, near), (near.release(), rows(opened, near)), (near.release(), rows(opened, near))]
  assert.deepEqual([first.length, none.length, second.length, rest.length], [128, 0, 73, 0])
  assert.equal(payloadOf([...first, ...second.slice(0, 72)]).length, 60_000)
  assert.equal(second[72]!.length, 124)
  // Segments that would be too long for the link, as those of a host with another MTU.
  join([joinedOf(near, far, 5000, 1461, 6), plain!])
  assert.deepEqual(rows(opened, near).map((frame) => frame.length), [124])
  assert.equal(count(near, 'oversized-frames'), 1)
}))

test('joined frames: a full ring that loses some is not the end of cutting, though it is never seen empty', { skip: noJoiner }, () => between(PAIR, (_, near, far) => {
  join([joinedOf(near, far, 5000, 1460, 1)])
  near.receive(0, 256)
  near.release()
  for (let n = 0; n < 6; n++) {
    const before = count(near, 'segmented-frames')
    // Two segments each, and never more is asked for than there is.
    join(Array.from({ length: 40 }, (_, i) => joinedOf(near, far, 2000, 1000, 100 * n + i)))
    for (let i = 0; i < 62; i++) {
      near.receive(0, 1)
      near.release()
    }
    const cut = count(near, 'segmented-frames') - before
    assert.ok(cut >= 15, `${cut} cut in round ${n}`)
  }
  assert.ok(count(near, 'ring-full-frames') >= 40, `${count(near, 'ring-full-frames')} lost`)
}))

test('an MTU that has grown since it was asked for: slots do not overflow', { skip: noJoiner }, async () => {
  for (const name of ['v0', 'v1']) sh(`ip link set ${name} mtu 9000`)
  try {
    await between(PAIR, (opened, near, far) => {
      join([joinedOf(near, far, 40_000, 8000, 1)])
      assert.equal(near.receive(0, 256), 0)
      near.release()
      opened.frames.pool.fill(0xaa, opened.spare)
      for (let n = 0; n < 30; n++) {
        join([joinedOf(near, far, 40_000, 8000, 2), joinedOf(near, far, 4000, 1400, 3)])
        assert.equal(rows(opened, near).length, 3)
        near.release()
      }
      assert.equal(opened.frames.pool.subarray(opened.spare).findIndex((octet) => octet !== 0xaa), -1)
      assert.deepEqual([count(near, 'oversized-frames'), count(near, 'segmented-frames')], [30, 30])
    })
  } finally {
    for (const name of ['v0', 'v1']) sh(`ip link set ${name} mtu 1500`)
  }
})

test('being woken: once after each arming, not after disarming, with true when the interface fails, and never when it is closed', { skip }, () => between(PAIR, async (opened, near, far) => {
  const woken = await wokenByFrames(far, async () => {
    put(opened, near, [frameOf(far, near, 60, 1)])
    await kick(near)
    await sleep(20)
  })
  assert.throws(() => { far.onWake(() => { /* nobody */ }) }, /one listener/)
  far.receive(0, 256)
  far.release()
  far.arm()
  sh('ip link set v1 down')
  await sleep(50)
  assert.deepEqual(woken, [false, true])
  assert.equal(far.failure(), 'Network is down')
  sh('ip link set v1 up')
  far.arm()
  far.close()
  await sleep(20)
  assert.deepEqual(woken, [false, true])
}))

const held = () => ({ sockets: fs.readdirSync('/proc/self/fd').length, maps: fs.readFileSync('/proc/self/maps', 'utf8').split('\n').filter((line) => line.includes('socket:')).length })

test('closing gives everything back, twice does no harm, and neither does what still comes to a device then', { skip }, async () => {
  const before = held()
  for (let n = 0; n < 6; n++) {
    const opened = open(PAIR), [near, far] = opened.devices as [Device, Device]
    put(opened, far, [frameOf(near, far, 60, 1)])
    await kick(far)
    assert.equal(near.receive(0, 256), 1)
    const at = opened.frames.off[0]!
    near.onWake(() => { /* nobody */ })
    near.close()
    near.close()
    near.arm()
    near.disarm()
    near.release()
    near.send(at, 60)
    near.flush()
    assert.deepEqual([near.receive(0, 256), near.kick(), near.failure(), count(near, 'received-frames')], [0, false, undefined, 1])
    assert.equal(opened.frames.pool[at], 0)
    far.close()
  }
  await sleep(20)
  assert.deepEqual(held(), before)
})

test('what cannot be opened leaves nothing open, and says why', { skip }, () => {
  const before = held(), { rx, tx } = SLOTS
  const frames = createFrames({ capacity: 256, poolBytes: 65_536, buffer: reservePool(65_536) })
  assert.throws(() => openPacketDevices(PAIR.slice(0, 1), frames, 0, SLOTS), /open: Invalid argument/)
  assert.throws(() => openPacketDevices([{ name: 'v9', mtu: 1500 }], frames, 0, SLOTS), /there is no interface v9/)
  assert.throws(() => openPacketDevices([{ name: 'v'.repeat(16), mtu: 1500 }], frames, 0, SLOTS), /there is no interface/)
  assert.throws(() => openPacketDevices(PAIR.slice(0, 1), frames, 0, { rx: 33, tx }), /PACKET_RX_RING: Invalid argument/)
  assert.throws(() => openPacketDevices([{ name: 'v0', mtu: 65_391 }], frames, 0, SLOTS), /an MTU of 65391 is too much.*ip link set v0 mtu 65390/)
  const addon = loadAddon()
  const of = (number: number, name: string, socket: number) => {
    addon.open(number, frames.pool.buffer as ArrayBuffer, 0, name, socket, 2048, rx, tx, 0, [], new Int32Array(2), new Float64Array(20), null, 0)
  }
  for (const number of [-1, 8]) assert.throws(() => { of(number, 'v0', addon.socket('v0', 2048, rx)) }, /Invalid argument/)
  assert.throws(() => { of(0, 'v9', addon.socket('v0', 2048, rx)) }, /Invalid argument|No such device/)
  // Rings of another size than is mapped.
  const { spare, frames: big, devices } = open([])
  assert.deepEqual([spare, devices.length], [0, 0])
  big.pool.fill(1)
  assert.throws(() => {
    openRings([{ name: 'v0', mtu: 1500 }], createFrames({ capacity: 8, poolBytes: 1 << 20, buffer: reservePool(1 << 20) }), 0,
      () => ({ socket: addon.socket('v0', 2048, 64), kept: null, counters: new Float64Array(20) }), SLOTS)
  }, /mmap: Invalid argument/)
  assert.deepEqual(held(), before)
})

/** Has a socket with a ring for itself: takes what has come, stages three frames, which are lost with it, and ends. Says how far it came. */
const BEFORE = `
  const { openRings, reservePool } = await import(process.argv[1] + 'phy/packet.js'), { createFrames } = await import(process.argv[1] + 'wire/frames.js')
  const frames = createFrames({ capacity: 256, poolBytes: 1 << 20, buffer: reservePool(1 << 20) }), kept = Int32Array.from(JSON.parse(process.argv[2]))
  const [device] = openRings([{ name: 'v0', mtu: 1500 }], frames, 0, () => ({ socket: 3, kept, counters: new Float64Array(20) }), { rx: 32, tx: 32 })
  const came = device.receive(0, 256)
  device.release()
  frames.pool.fill(7, 1 << 19, (1 << 19) + 60)
  for (let n = 0; n < 3; n++) device.send(1 << 19, 60)
  device.flush()
  console.log(JSON.stringify({ came, kept: [...kept] }))`

test('who follows on the same socket goes on where the one before stopped: what waited is given back', { skip }, async () => {
  const addon = loadAddon(), socket = addon.socket('v0', 2048, SLOTS.rx)
  addon.admit(socket, 0, 0, 1)
  const near = { mac: addon.link('v0').mac }
  const send = async (opened: Opened, many: number, from: number) => {
    const [far] = opened.devices as [Device]
    put(opened, far, Array.from({ length: many }, (_, n) => frameOf(near, far, 60, from + n)))
    await kick(far)
  }
  const first = open([PAIR[1]!])
  let kept = [0]
  for (let n = 0; n < 3; n++) {
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', BEFORE, `${path.resolve('build/src')}/`, JSON.stringify(kept)], { stdio: ['ignore', 'pipe', 'inherit', socket], encoding: 'utf8' })
    const said = JSON.parse(child.stdout) as { came: number; kept: number[] }
    // What came while there was nobody was given back.
    assert.equal(said.came, 0)
    assert.deepEqual(said.kept, [kept[0]! + (n === 0 ? 0 : 19)])
    kept = said.kept
    await send(first, 19, 0)
  }
  first.devices[0]!.close()
  // It ended between giving the last slot back and saying so.
  const tail = Int32Array.of(kept[0]! - 1)
  const frames = createFrames({ capacity: 256, poolBytes: 1 << 20, buffer: reservePool(1 << 20) })
  const counters = new Float64Array(20), sockets = [addon.socket('v1', 2048, SLOTS.rx), socket]
  addon.admit(sockets[0]!, 0, 0, 1)
  const devices = openRings([PAIR[1]!, PAIR[0]!], frames, 0, (_, n) => ({ socket: sockets[n]!, kept: n === 0 ? null : tail, counters }), SLOTS)
  const opened = { frames, spare: ringBytes(PAIR, SLOTS), devices }, [far, device] = devices as [Device, Device]
  assert.equal(device.receive(0, 256), 0)
  assert.deepEqual([...tail], [kept[0]! + 19])
  for (let n = 0; n < 4; n++) {
    await send(opened, 10, 100 + 10 * n)
    assert.equal(device.receive(0, 256), 10)
    assert.deepEqual(Array.from({ length: 10 }, (_, i) => frames.pool[frames.off[i]! + 15]), Array.from({ length: 10 }, (_, i) => 100 + 10 * n + i))
    device.release()
  }
  assert.deepEqual([...tail], [kept[0]! + 59])
  put(opened, device, [frameOf(far, near, 60, 1)])
  await kick(device)
  assert.deepEqual(rows(opened, far).map((frame) => frame[15]), [1])
  for (const one of devices) one.close()
})
