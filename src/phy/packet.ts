/**
 * Live interfaces by AF_PACKET sockets with TPACKET_V2 rings (Linux packet_mmap.rst). The rings of both interfaces lie in the pool
 * of frames itself, so that a frame is read and rewritten where the kernel put it, and copied once, behind the ring, to where it
 * is sent from. V3 would hand frames over in blocks, a millisecond late. The system takes a VLAN tag off a frame that comes, and
 * one that leaves gets its tag with the copy, so nobody else sees any. Frames that a sender left joined are cut, and their segments
 * lie behind the rings.
 */
import { closeSync } from 'node:fs'
import { POOL_SLACK_BYTES, type Frames } from '../wire/frames.ts'
import { deviceError, loadAddon } from './addon.ts'
import { DEVICE_COUNTERS, DeviceError, type Device } from './device.ts'
import { createRingDevice } from './rings.ts'
import { besideOf, linkName, type VlanLink } from './vlan.ts'

/** Frames that wait for the box, and for the wire: at a million a second, 4 ms of them. */
const SLOTS = { rx: 4096, tx: 2048 }
/** Segments of joined frames, between `receive` and `release`: more wait. */
const CUT_SLOTS = 128
/** Header of a slot, address of the sender and what aligns them: TPACKET2_HDRLEN and a little. */
const SLOT_HEADER_BYTES = 128, LEAST_SLOT_BYTES = 2048
const ETHERNET_BYTES = 14 + 4
const PAGE_BYTES = 65_536
/** A slot has to be within a page. */
const MOST_MTU = PAGE_BYTES - ETHERNET_BYTES - SLOT_HEADER_BYTES

export interface PacketOptions extends VlanLink {
  /** MTU that the interface has. */
  mtu: number
}

/** Of the rings, each a multiple of 32. */
export interface Slots {
  rx: number
  /** 0: nothing is sent there. */
  tx: number
}

function slotBytes(mtu: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(LEAST_SLOT_BYTES, mtu + ETHERNET_BYTES + SLOT_HEADER_BYTES)))
}

/** Bytes of the pool that the rings of these interfaces need, from an offset that is a multiple of 64 KiB. */
export function ringBytes(interfaces: readonly PacketOptions[], slots: Slots = SLOTS): number {
  return interfaces.reduce((bytes, { mtu }) => bytes + (slots.rx + slots.tx + CUT_SLOTS) * slotBytes(mtu), 0)
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
export function openPacketDevices(
  interfaces: readonly PacketOptions[], frames: Frames, ringStart: number, slots: Slots = SLOTS,
): Device[] {
  return openRings(interfaces, frames, ringStart, (one, number) => {
    const socket = openSocket(one, slots)
    try {
      admit(socket, interfaces, number)
    } catch (error) {
      closeSync(socket)
      throw error
    }
    return { socket, kept: null, counters: new Float64Array(DEVICE_COUNTERS.length) }
  }, slots)
}

/** Sockets of interfaces that somebody else will map the rings of. */
export interface PacketSockets {
  /** Descriptors by worker, then by place in the list of interfaces. */
  readonly of: readonly (readonly number[])[]
}

/**
 * A socket of each interface for each of several workers. The kernel deals frames out to them as the programs say, words of
 * `struct sock_filter` for each interface: the result is the number of a worker. @throws DeviceError
 */
export function openPacketSockets(
  interfaces: readonly PacketOptions[], workers: number, programs: readonly Int32Array[],
): PacketSockets {
  const addon = loadAddon()
  const byInterface = interfaces.map((one, n) => {
    const sockets = Array.from({ length: workers }, () => openSocket(one, SLOTS))
    try {
      addon.fanout(Int32Array.from(sockets), programs[n]!)
      for (const socket of sockets) admit(socket, interfaces, n)
    } catch (error) {
      throw deviceError(linkName(one), error)
    }
    return sockets
  })
  return { of: Array.from({ length: workers }, (_, worker) => byInterface.map((sockets) => sockets[worker]!)) }
}

/** What a worker knows of a socket that was opened for it. */
export interface OpenSocket {
  socket: number
  /** A word that outlives the worker; null: there will be no other one. */
  kept: Int32Array | null
  /** In the order of DEVICE_COUNTERS. */
  counters: Float64Array
}

/** Maps the rings of sockets at `ringStart` of the pool: as `openPacketDevices`, but that sockets come from elsewhere. */
export function openRings(
  interfaces: readonly PacketOptions[], frames: Frames, ringStart: number,
  socketOf: (one: PacketOptions, number: number) => OpenSocket, slots: Slots = SLOTS,
): Device[] {
  const addon = loadAddon()
  if (ringStart % PAGE_BYTES !== 0) throw new RangeError(`rings begin at a multiple of ${PAGE_BYTES}`)
  const { off, capBytes, wireBytes, link, iface, capacity } = frames
  const end = ringStart + ringBytes(interfaces, slots)
  const devices: Device[] = []
  let at = ringStart
  for (const [number, one] of interfaces.entries()) {
    const { name, mtu, vlan = 0 } = one
    const outbox = new Int32Array(2 * capacity)
    try {
      const { mac } = addon.link(name)
      const { socket, kept, counters } = socketOf(one, number)
      addon.open(number, frames.pool.buffer as ArrayBuffer, at, name, socket, slotBytes(mtu), slots.rx, slots.tx, CUT_SLOTS,
        [off, capBytes, wireBytes, link, iface], outbox, counters, kept, vlan)
      const rings = {
        calls: addon, spin: addon.spin, number, name: linkName(one), driver: 'packet', mac, mtu, start: ringStart, end, outbox,
        counters,
      }
      devices.push(createRingDevice({ ...rings, takesBack: false, isRemoved: () => addon.isRemoved(number) !== 0 }))
      // Of those that share an interface the kernel binds none to another.
      if (kept === null) devices[number].renew = () => { rebind(number, one) }
    } catch (error) {
      for (const device of devices) device.close()
      throw error instanceof DeviceError ? error : deviceError(name, error)
    }
    at += ringBytes([one], slots)
  }
  return devices
}

function rebind(number: number, one: PacketOptions): void {
  try {
    loadAddon().rebind(number, one.name)
  } catch (error) {
    throw deviceError(linkName(one), error)
  }
}

/** Frames of a link come to its socket from now on. */
function admit(socket: number, links: readonly PacketOptions[], number: number): void {
  const { other, counts } = besideOf(links, number)
  loadAddon().admit(socket, links[number].vlan ?? 0, other, Number(counts))
}

function openSocket({ name, mtu }: PacketOptions, slots: Slots): number {
  if (mtu > MOST_MTU) {
    throw new DeviceError('system', `${name}: an MTU of ${mtu} is too much for the rings of a live box: `
      + `ip link set ${name} mtu ${MOST_MTU}`)
  }
  try {
    return loadAddon().socket(name, slotBytes(mtu), slots.rx)
  } catch (error) {
    throw deviceError(name, error)
  }
}
