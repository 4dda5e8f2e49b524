import assert from 'node:assert/strict'
import { setImmediate as nextLoop } from 'node:timers/promises'
import { mock, test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { createFrames } from '../wire/frames.ts'
import { DEVICE_COUNTERS, DeviceError, type Device, type DeviceCounter } from './device.ts'
import { createLibpcapDriver, type SessionClass } from './libpcap.ts'
import type { PacketOptions } from './packet.ts'

const MAC = [2, 0, 0, 0, 0, 1], MTU = 1500

/** `cap` without libpcap: frames that `arrive` gives are events of one run, and what is sent is kept. */
function setUp(links: PacketOptions[] = [{ name: 'in0', mtu: MTU }]) {
  const sent: Buffer[] = [], log: string[] = []
  const link = { isUp: 1, changes: 2, isAbrupt: false, refuses: '', isGone: false }
  let sessions = 0
  const buffers: Buffer[] = []
  let fails = ''
  const opened: string[] = []
  class Cap {
    open(device: string, filter: string, _bytes: number, into: Buffer): string {
      if (link.refuses !== '') throw new Error(link.refuses)
      opened.push(`${device}: ${filter}`)
      sessions++
      buffers.push(into)
      return device === 'tun0' ? 'RAW' : 'ETHERNET'
    }
    send(from: Buffer, bytes: number): void {
      if (fails !== '') throw new Error(fails)
      sent.push(Buffer.from(from.subarray(0, bytes)))
    }
    close(): boolean {
      assert.ok(sessions-- > 0)
      return true
    }
    // The driver puts its own in the place of this.
    emit(event: string, bytes: number): boolean { throw new Error(`${event} of ${bytes} bytes`) }
  }
  const emits: ((event: string, bytes: number) => boolean)[] = []
  class Kept extends Cap {
    constructor() {
      super()
      emits.push(this.emit.bind(this))
    }
  }
  let ms = 0
  const driver = createLibpcapDriver({
    load: () => Kept as SessionClass, nowMs: () => ms, isAbrupt: () => link.isAbrupt, changesOf: () => link.changes,
    linkOf(name) {
      if (link.isGone) throw new DeviceError('no-interface', `there is no interface ${name}`)
      return { isUp: link.isUp, mac: MAC }
    },
  })
  const poolBytes = driver.shareBytes(links) + 4096
  const frames = createFrames({ capacity: 256, poolBytes, buffer: driver.reserve(poolBytes) })
  const devices = driver.open(links, frames, 0, (line) => log.push(line)), [device] = devices as [Device]
  const arriveAt = (session: number, frame: Uint8Array) => {
    buffers[session]!.set(frame)
    emits[session]!('packet', frame.length)
  }
  const arrive = (frame: Uint8Array) => { arriveAt(0, frame) }
  return {
    driver, device, devices, frames, sent, opened, arrive, arriveAt, log, link, sessions: () => sessions, scratch: poolBytes - 4096, setMs: (to: number) => { ms = to }, failWith: (what: string) => { fails = what },
    counter: (name: DeviceCounter) => device.counters()[DEVICE_COUNTERS.indexOf(name)],
  }
}

/** An Ethernet frame of no protocol, with its number. */
function frame(n: number, bytes = 60, type = 0x88b5): Buffer {
  const made = Buffer.alloc(bytes, n)
  made.set(MAC)
  made.writeUInt16BE(type, 12)
  made.writeUInt32BE(n, 14)
  return made
}

test('libpcap: frames come out in order and whole, whatever the batches, and stay until they are released', () => {
  const { device, frames, arrive, counter } = setUp(), seed = Date.now() >>> 0, { below } = createPrng(seed)
  const waiting: Buffer[] = []
  let n = 0
  for (let round = 0; round < 2000; round++) {
    for (let count = below(40); count > 0 && waiting.length < 1000; count--) {
      const one = frame(n++, 60 + below(MTU + 14 - 60))
      waiting.push(one)
      arrive(one)
    }
    const rows = device.receive(3, below(60))
    for (let i = 3; i < 3 + rows; i++) {
      const got = frames.pool.subarray(frames.off[i], frames.off[i]! + frames.capBytes[i]!)
      assert.ok(waiting.shift()!.equals(got), `seed ${seed}, round ${round}`)
      assert.deepEqual([frames.wireBytes[i], frames.link[i], frames.iface[i]], [frames.capBytes[i], 1, 0])
    }
    device.release()
  }
  assert.equal(counter('ring-full-frames'), 0)
  assert.equal(counter('received-frames'), n - waiting.length)
})

test('libpcap: what is released makes room, and what nobody has looked at yet does not', () => {
  const { device, frames, arrive, counter } = setUp()
  for (let n = 0; n < 1024; n++) arrive(frame(n))
  assert.equal(device.receive(0, 100), 100)
  arrive(frame(1024))
  assert.equal(counter('ring-full-frames'), 1)
  device.release()
  for (let n = 1024; n < 1126; n++) arrive(frame(n))
  assert.equal(counter('ring-full-frames'), 3)
  for (let next = 100; next < 1124; next += 256) {
    const rows = device.receive(0, 256)
    assert.equal(rows, 256)
    for (let i = 0; i < rows; i++) assert.equal(Buffer.from(frames.pool.buffer, frames.off[i]!).readUInt32BE(14), next + i)
    device.release()
  }
})

test('libpcap: a run of events has the turn come in its middle, and ends in dropped frames if it goes on and on', async () => {
  const { device, arrive, counter, setMs } = setUp()
  let turns = 0, taken = 0
  device.onFull!(() => {
    turns++
    taken += device.receive(0, 256)
    device.release()
  })
  for (let n = 0; n < 2560; n++) arrive(frame(n))
  assert.deepEqual([turns, taken, counter('ring-full-frames')], [10, 2560, 0])
  // The loop has not come round since.
  setMs(60)
  for (let n = 0; n < 3000; n++) arrive(frame(n))
  assert.deepEqual([turns, counter('ring-full-frames')], [10, 3000 - 1024])
  await nextLoop()
  await nextLoop()
  arrive(frame(0))
  assert.equal(turns, 10, 'the queue is full, and the turn of the loop is to come first')
  taken = device.receive(0, 256)
  device.release()
  assert.equal(taken, 256)
  arrive(frame(0))
  assert.equal(turns, 11)
})

test('libpcap: an idle box is woken once, and at once if frames wait already', () => {
  const { device, arrive } = setUp()
  let woken = 0
  device.onWake(() => { woken++ })
  arrive(frame(1))
  assert.equal(woken, 0)
  device.arm()
  assert.equal(woken, 1)
  device.receive(0, 10)
  device.release()
  device.arm()
  assert.equal(woken, 1)
  arrive(frame(2))
  arrive(frame(3))
  assert.equal(woken, 2)
})

test('libpcap: tags of VLANs are counted and those of priority taken off; too long frames are counted', () => {
  const { device, frames, arrive, counter } = setUp()
  const tagged = (id: number, bytes = 64) => {
    const made = frame(7, bytes, 0x8100)
    made.writeUInt16BE(5 << 13 | id, 14)
    made.writeUInt16BE(0x88b5, 16)
    return made
  }
  arrive(tagged(7))
  arrive(frame(1, MTU + 15))
  arrive(tagged(0, MTU + 18))
  arrive(tagged(0))
  assert.equal(device.receive(0, 10), 2)
  assert.deepEqual([frames.capBytes[0], frames.capBytes[1]], [MTU + 14, 60])
  const got = Buffer.from(frames.pool.subarray(frames.off[1], frames.off[1]! + 60))
  const bare = tagged(0)
  assert.ok(got.equals(Buffer.concat([bare.subarray(0, 12), bare.subarray(16)])))
  assert.deepEqual([counter('tagged-frames'), counter('oversized-frames'), device.oversized()], [1, 1, 1])
})

/** The same with tags, each as type and control. */
function withTags(made: Buffer, ...tags: [number, number][]): Buffer {
  const words = Buffer.alloc(4 * tags.length)
  for (const [i, [type, control]] of tags.entries()) {
    words.writeUInt16BE(type, 4 * i)
    words.writeUInt16BE(control, 4 * i + 2)
  }
  return Buffer.concat([made.subarray(0, 12), words, made.subarray(12)])
}

test('libpcap: of a VLAN come the frames with its tag, without it; all others are counted by what they are', () => {
  const { device, frames, arrive, counter } = setUp([{ name: 'in0', mtu: MTU, vlan: 7 }])
  assert.equal(device.name, 'in0:7')
  const heard: [Buffer, DeviceCounter | null][] = [
    [withTags(frame(1), [0x8100, 7]), null], [withTags(frame(2), [0x8100, 5 << 13 | 7]), null], [withTags(frame(3, MTU + 14), [0x8100, 7]), null],
    [frame(4), 'untagged-frames'], [withTags(frame(5), [0x8100, 8]), 'tagged-frames'], [withTags(frame(6), [0x8100, 4095]), 'tagged-frames'],
    [withTags(frame(7), [0x8100, 3 << 13]), 'priority-tagged-frames'], [withTags(frame(8), [0x88a8, 7]), 'service-tagged-frames'],
    [withTags(frame(9), [0x88a8, 7], [0x8100, 7]), 'service-tagged-frames'], [withTags(frame(10, MTU + 15), [0x8100, 7]), 'oversized-frames'],
    // Whose that is the box asks itself.
    [withTags(frame(11), [0x8100, 7], [0x8100, 9]), null],
  ]
  const counts: Partial<Record<DeviceCounter, number>> = {}
  for (const [one, why] of heard) {
    arrive(one)
    if (why !== null) counts[why] = (counts[why] ?? 0) + 1
  }
  for (const [name, many] of Object.entries(counts)) assert.equal(counter(name as DeviceCounter), many, name)
  const rows = device.receive(0, 16)
  const got = Array.from({ length: rows }, (_, i) => Buffer.from(frames.pool.subarray(frames.off[i], frames.off[i]! + frames.capBytes[i]!)))
  assert.deepEqual(got, [frame(1), frame(2), frame(3, MTU + 14), withTags(frame(11), [0x8100, 9])])
})

test('libpcap: what leaves by a VLAN has its tag, and whoever records sees it without', () => {
  const { device, frames, sent, counter, scratch } = setUp([{ name: 'in0', mtu: MTU, vlan: 0xabc }])
  let seen: number[] = []
  device.onSent((list, many) => { seen = [...list.subarray(0, 2 * many)] })
  frames.pool.set(frame(9), scratch)
  device.send(scratch, 60)
  assert.deepEqual([...sent[0]!], [...withTags(frame(9), [0x8100, 0xabc])])
  assert.deepEqual([seen, counter('sent-frames'), counter('sent-bytes')], [[scratch, 60], 1, 60])
})

test('libpcap: two VLANs of an interface are two devices; what is of neither is counted by the first', () => {
  const { devices, frames, arriveAt, opened } = setUp([{ name: 'in0', mtu: MTU, vlan: 7 }, { name: 'in0', mtu: MTU, vlan: 9 }])
  assert.deepEqual(opened.map((text) => text.split(':')[0]), ['in0', 'in0'])
  for (const session of [0, 1]) {
    for (const one of [withTags(frame(1), [0x8100, 7]), withTags(frame(2), [0x8100, 9]), withTags(frame(3), [0x8100, 8]), frame(4), withTags(frame(5), [0x8100, 0])]) arriveAt(session, one)
  }
  const counts = devices.map((device) => {
    assert.equal(device.receive(0, 16), 1)
    return [frames.iface[0], frames.pool[frames.off[0]! + 17], ...(['received-frames', 'tagged-frames', 'untagged-frames', 'priority-tagged-frames'] as const).map((name) => device.counters()[DEVICE_COUNTERS.indexOf(name)])]
  })
  assert.deepEqual(counts, [[0, 1, 1, 1, 1, 1], [1, 2, 1, 0, 0, 0]])
})

test('libpcap: what is sent is sent at once and shown to who records; failures are counted by what they are', () => {
  const { device, frames, sent, counter, scratch, failWith } = setUp()
  const seen: number[] = []
  device.onSent((list, many) => seen.push(...list.subarray(0, 2 * many)))
  frames.pool.set(frame(9), scratch)
  device.send(scratch, 60)
  assert.ok(sent[0]!.equals(frame(9)))
  assert.deepEqual(seen, [scratch, 60])
  failWith('send: No buffer space available')
  device.send(scratch, 60)
  failWith('send: Network is down')
  device.send(scratch, 60)
  assert.deepEqual([counter('sent-frames'), counter('send-full-frames'), counter('send-errors'), device.failure(), device.failure()],
    [1, 1, 1, 'Network is down', undefined])
})

test('libpcap: it captures neither what the box sends nor what is for others, and takes Ethernet alone', () => {
  const { opened, driver, frames } = setUp()
  assert.deepEqual(opened, ['in0: not ether src 02:00:00:00:00:01 and (ether dst 02:00:00:00:00:01 or ether[0] & 1 != 0)'])
  assert.throws(() => driver.open([{ name: 'tun0', mtu: MTU }], frames, 0, () => { /* nothing */ }), (error) => error instanceof DeviceError && error.code === 'not-ethernet')
})

test('libpcap: a session that its link went away under is followed by another one when that is back, also if nobody saw it go', (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.after(() => mock.timers.reset())
  const { device, frames, sent, arrive, counter, scratch, link, opened, sessions } = setUp()
  const woken: boolean[] = []
  device.onWake((hasFailed) => woken.push(hasFailed))
  const look = () => mock.timers.tick(500)
  const state = () => [opened.length, sessions(), woken.length, device.failure()]
  look()
  assert.deepEqual(state(), [1, 1, 0, undefined])
  link.isUp = 0
  look()
  assert.deepEqual(state(), [1, 0, 1, 'Network is down'])
  look()
  link.isGone = true
  look()
  assert.deepEqual(state(), [1, 0, 1, undefined], 'it is said once')
  frames.pool.set(frame(9), scratch)
  device.send(scratch, 60)
  assert.deepEqual([sent.length, counter('send-errors')], [0, 1])
  Object.assign(link, { isUp: 1, isGone: false, refuses: 'socket: Operation not permitted' })
  look()
  assert.deepEqual(state(), [1, 0, 2, 'socket: Operation not permitted: CAP_NET_RAW is needed: run as root'])
  link.refuses = ''
  look()
  assert.deepEqual(state(), [2, 1, 2, undefined])
  arrive(frame(3))
  device.send(scratch, 60)
  assert.deepEqual([device.receive(0, 10), sent.length], [1, 1])
  // It went and came between two looks.
  link.changes += 2
  look()
  assert.deepEqual(state(), [3, 1, 2, undefined])
  look()
  assert.deepEqual(state(), [3, 1, 2, undefined])
  link.isUp = 0
  look()
  assert.deepEqual(state(), [3, 0, 3, 'Network is down'])
  link.isUp = 1
  look()
  link.isUp = 0
  look()
  assert.deepEqual(state(), [4, 0, 4, 'Network is down'], 'each outage is told')
  link.isUp = 1
  look()
  assert.deepEqual(state(), [5, 1, 4, undefined])
  device.close()
  assert.equal(sessions(), 0)
  look()
  assert.deepEqual([opened.length, sessions()], [5, 0])
})

test('libpcap: where `cap` would end the box with a link, a line says so', () => {
  const { driver, frames, link, log } = setUp(), said: string[] = []
  assert.deepEqual(log, [])
  link.isAbrupt = true
  driver.open([{ name: 'in0', mtu: MTU }], frames, 0, (line) => said.push(line))
  assert.match(said.join('\n'), /^in0: the package cap, as it was compiled, ends the box if one of them goes down; CXXFLAGS=-DNDEBUG npm rebuild cap /)
})
