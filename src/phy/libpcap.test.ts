import assert from 'node:assert/strict'
import { setImmediate as nextLoop } from 'node:timers/promises'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { createFrames } from '../wire/frames.ts'
import { DEVICE_COUNTERS, DeviceError, type Device, type DeviceCounter } from './device.ts'
import { createLibpcapDriver, type SessionClass } from './libpcap.ts'

const MAC = [2, 0, 0, 0, 0, 1], MTU = 1500

/** `cap` without libpcap: frames that `arrive` gives are events of one run, and what is sent is kept. */
function setUp() {
  const sent: Buffer[] = []
  let buffer: Buffer = Buffer.alloc(0)
  let fails = ''
  const opened: string[] = []
  class Cap {
    open(device: string, filter: string, _bytes: number, into: Buffer): string {
      opened.push(`${device}: ${filter}`)
      buffer = into
      return device === 'tun0' ? 'RAW' : 'ETHERNET'
    }
    send(from: Buffer, bytes: number): void {
      if (fails !== '') throw new Error(fails)
      sent.push(Buffer.from(from.subarray(0, bytes)))
    }
    close(): boolean { return true }
    // The driver puts its own in the place of this.
    emit(event: string, bytes: number): boolean { throw new Error(`${event} of ${bytes} bytes`) }
  }
  let emit = (event: string, bytes: number): boolean => { throw new Error(`${event} of ${bytes} bytes`) }
  class Kept extends Cap {
    constructor() {
      super()
      emit = this.emit.bind(this)
    }
  }
  let ms = 0
  const driver = createLibpcapDriver(() => Kept as SessionClass, () => ms, () => ({ index: 1, mtu: MTU, isUp: 1, isEthernet: 1, queues: 1, driver: '', mac: MAC }))
  const links = [{ name: 'in0', mtu: MTU }]
  const poolBytes = driver.shareBytes(links) + 4096
  const frames = createFrames({ capacity: 256, poolBytes, buffer: driver.reserve(poolBytes) })
  const [device] = driver.open(links, frames, 0) as [Device]
  const arrive = (frame: Uint8Array) => {
    buffer.set(frame)
    emit('packet', frame.length)
  }
  return {
    driver, device, frames, sent, opened, arrive, scratch: poolBytes - 4096, setMs: (to: number) => { ms = to }, failWith: (what: string) => { fails = what },
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
  assert.throws(() => driver.open([{ name: 'tun0', mtu: MTU }], frames, 0), (error) => error instanceof DeviceError && error.code === 'not-ethernet')
})
