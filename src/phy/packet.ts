/**
 * Live interfaces by AF_PACKET sockets with TPACKET_V2 rings (Linux packet_mmap.rst). The rings of both interfaces lie in the pool
 * of frames itself, so that a frame is read and rewritten where the kernel put it, and copied once, to where the kernel sends it
 * from. V3 would hand frames over in blocks, a millisecond late.
 */
import { constants } from 'node:os'
import { POOL_SLACK_BYTES, type Frames } from '../wire/frames.ts'
import { deviceError, loadAddon, type Addon } from './addon.ts'
import { DEVICE_COUNTERS, DeviceError, type Device } from './device.ts'

/** Frames that wait for the box, and for the wire: at a million a second, 4 ms of them. */
const RX_SLOTS = 4096, TX_SLOTS = 2048
/** Header of a slot, address of the sender and what aligns them: TPACKET2_HDRLEN and a little. */
const SLOT_HEADER_BYTES = 128, LEAST_SLOT_BYTES = 2048
const ETHERNET_BYTES = 14 + 4
const PAGE_BYTES = 65_536
const OVERSIZED = DEVICE_COUNTERS.indexOf('oversized-frames')
const { EAGAIN, ENOBUFS } = constants.errno

export interface PacketOptions {
  name: string
  /** MTU that the interface has. */
  mtu: number
}

function slotBytes(mtu: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(LEAST_SLOT_BYTES, mtu + ETHERNET_BYTES + SLOT_HEADER_BYTES)))
}

/** Bytes of the pool that the rings of these interfaces need, from an offset that is a multiple of 64 KiB. */
export function ringBytes(interfaces: readonly PacketOptions[]): number {
  return interfaces.reduce((bytes, { mtu }) => bytes + (RX_SLOTS + TX_SLOTS) * slotBytes(mtu), 0)
}

/** Memory for a pool that rings can lie in. @throws DeviceError */
export function reservePool(poolBytes: number): ArrayBuffer {
  try {
    return loadAddon().reserve(poolBytes + POOL_SLACK_BYTES)
  } catch (error) {
    if (error instanceof DeviceError) throw error
    throw new DeviceError('no-memory', `no memory for ${poolBytes} bytes of frames: ${(error as Error).message}`, error)
  }
}

/** Opens interfaces with their rings at `ringStart` of the pool, each the `iface` of its place in the list. @throws DeviceError */
export function openPacketDevices(interfaces: readonly PacketOptions[], frames: Frames, ringStart: number): Device[] {
  const addon = loadAddon()
  if (ringStart % PAGE_BYTES !== 0) throw new RangeError(`rings begin at a multiple of ${PAGE_BYTES}`)
  const ringEnd = ringStart + ringBytes(interfaces)
  const devices: Device[] = []
  let at = ringStart
  try {
    for (const [number, one] of interfaces.entries()) {
      devices.push(openDevice(addon, number, one, frames, at, ringStart, ringEnd))
      at += ringBytes([one])
    }
  } catch (error) {
    for (const device of devices) device.close()
    throw error
  }
  return devices
}

function openDevice(
  addon: Addon, number: number, { name, mtu }: PacketOptions, frames: Frames, at: number, ringStart: number, ringEnd: number,
): Device {
  const { off, capBytes, wireBytes, link, iface, capacity } = frames
  const outbox = new Int32Array(2 * capacity)
  const counters = new Float64Array(DEVICE_COUNTERS.length)
  let waiting = 0
  let isPending = false
  let isWatched = false
  let see: ((list: Int32Array, frames: number) => void) | null = null
  let mac: number[]
  try {
    mac = addon.link(name).mac
    addon.open(number, frames.pool.buffer as ArrayBuffer, at, name, slotBytes(mtu), RX_SLOTS, TX_SLOTS,
      [off, capBytes, wireBytes, link, iface], outbox, counters)
  } catch (error) {
    throw deviceError(name, error)
  }

  function flush(): void {
    if (waiting === 0) return
    if (see !== null) see(outbox, waiting)
    addon.stage(number, waiting)
    waiting = 0
    isPending = true
  }

  return {
    name, mac, mtu, flush,
    receive: (from, most) => addon.receive(number, from, most),
    release() { addon.release(number) },
    send(frameOff, bytes) {
      outbox[2 * waiting] = frameOff
      outbox[2 * waiting + 1] = bytes
      // What lies elsewhere is overwritten by what comes next.
      if (++waiting === capacity || frameOff < ringStart || frameOff >= ringEnd) flush()
    },
    onSent(its) { see = its },
    kick() {
      if (!isPending) return false
      const failed = addon.kick(number)
      // What an interface that is down could not send waits for the next frame.
      isPending = failed === EAGAIN || failed === ENOBUFS
      return isPending
    },
    arm() { addon.arm(number) },
    onWake(wake) {
      if (isWatched) throw new Error('an interface wakes one listener')
      isWatched = true
      addon.watch(number, wake)
    },
    oversized: () => counters[OVERSIZED],
    failure: () => addon.failure(number),
    counters() {
      addon.statistics(number)
      return counters
    },
    close() { addon.close(number) },
  }
}
