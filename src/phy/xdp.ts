/**
 * Live interfaces by AF_XDP sockets (Linux af_xdp.rst). One UMEM for all of them lies in the pool of frames, so that a frame is
 * read and rewritten where the kernel put it, and sent from there by the other interface. A small program at each interface takes
 * what the box forwards, before the kernel has it; everything else goes the usual way, and a packet ring beside the sockets shows
 * it to the box as well: ARP, groups, frames of other VLANs or too long, and what is for addresses of the kernel's.
 */
import type { Frames } from '../wire/frames.ts'
import { deviceError, loadAddon, type Addon, type Census, type XdpCalls } from './addon.ts'
import { DEVICE_COUNTERS, DeviceError, type Device } from './device.ts'
import { openPacketDevices, ringBytes, type PacketOptions } from './packet.ts'
import { inPacket, MOST_ADDRESSES, type ProgramLink } from './program.ts'
import { createRingDevice } from './rings.ts'
import { besideOf, linkName } from './vlan.ts'

/** Frames that wait for the box, and for the wire, of all queues of an interface; no queue has less than the least. */
const RX_SLOTS = 4096, TX_SLOTS = 2048, LEAST_SLOTS = 512, MOST_QUEUES = 16
/** What comes beside the sockets: slots, and frames of it in one turn, before all others. */
const SIDE_SLOTS = { rx: 1024, tx: 0 }, SIDE_FRAMES = 32
/** The kernel keeps this free before each frame (XDP_PACKET_HEADROOM); a chunk is at most a page. */
const HEADROOM_BYTES = 256, ETHERNET_BYTES = 14, LEAST_CHUNK_BYTES = 2048, PAGE_BYTES = 4096
const MOST_MTU = PAGE_BYTES - HEADROOM_BYTES - ETHERNET_BYTES - 4
/** Frames that are ours at a time, at most. */
const BATCH = 256

export interface XdpOptions extends PacketOptions, ProgramLink {
  queues: number
}

/** Where the program runs: in the driver of the interface, after it for any interface, or the first that goes. */
export type XdpMode = 'auto' | 'driver' | 'generic'

/** @throws DeviceError */
export function xdpCalls(): { addon: Addon; xdp: XdpCalls } {
  const addon = loadAddon()
  if (addon.xdp !== undefined) return { addon, xdp: addon.xdp }
  throw new DeviceError('driver-absent', 'AF_XDP was left out when the driver for live interfaces was built: the headers of Linux '
    + 'here are older than 5.4; --driver packet does without')
}

interface Plan { chunkBytes: number; chunks: number; umemBytes: number; rx: number[]; tx: number[] }

function plan(links: readonly XdpOptions[]): Plan {
  const longest = Math.max(...links.map(({ mtu }) => mtu)) + HEADROOM_BYTES + ETHERNET_BYTES + 4
  const chunkBytes = longest <= LEAST_CHUNK_BYTES ? LEAST_CHUNK_BYTES : PAGE_BYTES
  const share = (slots: number) => links.map(({ queues }) => Math.max(LEAST_SLOTS, 2 ** Math.floor(Math.log2(slots / queues))))
  const rx = share(RX_SLOTS), tx = share(TX_SLOTS)
  // Everything may be with the kernel at once, and a batch with us.
  const chunks = links.reduce((sum, { queues }, i) => sum + queues * (rx[i] + tx[i]), links.length * BATCH)
  const umemBytes = Math.ceil(chunks * chunkBytes / 65_536) * 65_536
  return { chunkBytes, chunks: umemBytes / chunkBytes, umemBytes, rx, tx }
}

/** Bytes of the pool that the frames of these interfaces need, from an offset that is a multiple of 64 KiB. @throws DeviceError */
export function umemBytes(links: readonly XdpOptions[]): number {
  for (const [number, { name, mtu, queues, kernel }] of links.entries()) {
    if (besideOf(links, number).other !== 0) {
      throw new DeviceError('system', `${name}: AF_XDP has all of an interface for one side, and here are both: --driver packet`)
    }
    if (mtu > MOST_MTU) {
      throw new DeviceError('system', `${name}: AF_XDP takes no frames longer than a page, so an MTU of ${mtu} is too much for it: `
        + `ip link set ${name} mtu ${MOST_MTU}, or --driver packet`)
    }
    if (queues > MOST_QUEUES) {
      throw new DeviceError('system', `${name}: ${queues} queues receive, and a box looks at ${MOST_QUEUES} at most: `
        + `ethtool -L ${name} combined 1`)
    }
    for (const version of [4, 6]) {
      const count = kernel.filter((one) => one.version === version).length
      if (count <= MOST_ADDRESSES) continue
      throw new DeviceError('system', `${name}: the kernel has ${count} IPv${version} addresses there, and AF_XDP leaves it `
        + `${MOST_ADDRESSES} at most: --driver packet`)
    }
  }
  return plan(links).umemBytes + ringBytes(links, SIDE_SLOTS)
}

/**
 * Opens interfaces with their frames at `start` of the pool, each the `iface` of its place in the list; `log` is told how each one
 * works. @throws DeviceError
 */
export function openXdpDevices(
  links: readonly XdpOptions[], frames: Frames, start: number, mode: XdpMode, log: (line: string) => void,
): Device[] {
  const { addon, xdp } = xdpCalls()
  const { chunkBytes, chunks, umemBytes, rx, tx } = plan(links)
  const { off, capBytes, wireBytes, link, iface, capacity } = frames
  const end = start + umemBytes + ringBytes(links, SIDE_SLOTS)
  const beside = openPacketDevices(links, frames, start + umemBytes, SIDE_SLOTS)
  const close = () => {
    for (const number of links.keys()) xdp.close(number)
  }

  /** Programs at all interfaces, then sockets. The first decides for all whether frames are copied. */
  function open(isCopy: boolean): Device[] {
    xdp.umem(frames.pool.buffer as ArrayBuffer, start, chunkBytes, chunks)
    const modes = links.map((one, number) => attach(addon, xdp, one, number, mode, log))
    const copies = isCopy || modes.includes('generic')
    let isZeroCopy = false
    const sides = createSides(addon.spin)
    return links.map((one, number) => {
      const { mtu, queues } = one, name = linkName(one)
      const outbox = new Int32Array(2 * capacity), counters = new Float64Array(DEVICE_COUNTERS.length)
      try {
        const columns = [off, capBytes, wireBytes, link, iface]
        isZeroCopy = xdp.open(number, Number(copies), rx[number], tx[number], columns, outbox, counters) !== 0
      } catch (error) {
        const failure = xdpError(name, error)
        throw isZeroCopy ? new CopyNeeded(failure) : failure
      }
      log(`${name}: AF_XDP in ${modes[number]} mode, ${isZeroCopy ? 'without a copy' : 'copied'}, ${queues} `
        + (queues === 1 ? 'queue' : 'queues'))
      const { mac, isRemoved } = beside[number]
      const driver = `${modes[number] === 'driver' ? 'xdpdrv' : 'xdpgeneric'}, ${isZeroCopy ? 'without a copy' : 'copied'}`
      const rings = {
        calls: xdp, spin: sides.spin, number, name, driver, mac, mtu, start, end, outbox, counters, isRemoved, takesBack: true,
      }
      return withSide(createRingDevice(rings), beside[number], () => sides.mayHave(number))
    })
  }

  try {
    try {
      return open(false)
    } catch (error) {
      if (!(error instanceof CopyNeeded)) throw error
      log(`${error.message}: frames are copied`)
      close()
      return open(true)
    }
  } catch (error) {
    close()
    for (const device of beside) device.close()
    throw error
  }
}

/** An interface does not do without copies as one before it does. */
class CopyNeeded extends Error {
  constructor(failure: DeviceError) {
    super(failure.message, { cause: failure })
    this.name = 'CopyNeeded'
  }
}

function attach(
  addon: Addon, xdp: XdpCalls, link: XdpOptions, number: number, mode: XdpMode, log: (line: string) => void,
): 'driver' | 'generic' {
  const { name, mtu, queues, kernel, vlan = 0 } = link
  const { index, mac, driver } = addon.link(name)
  const by = (isGeneric: boolean) => {
    // Of others, live boxes ask that they leave tags where they are.
    const asksTag = !isGeneric && driver === 'veth'
    xdp.attach(number, index, queues, Number(isGeneric), Number(asksTag), mtu + ETHERNET_BYTES, mac, inPacket(kernel, 4),
      inPacket(kernel, 6), vlan)
    return isGeneric ? 'generic' : 'driver'
  }
  try {
    return by(mode === 'generic')
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (mode !== 'auto' || code === 'EBUSY' || code === 'EEXIST' || code === 'EPERM') throw xdpError(name, error)
    log(`${name}: no XDP program in its driver (${message}); generic mode`)
    try {
      return by(true)
    } catch (second) {
      throw xdpError(name, second)
    }
  }
}

/** What the calls throw, for people. */
function xdpError(name: string, error: unknown): DeviceError {
  const { code, message } = error as { code?: string; message: string }
  switch (code) {
    case 'EPERM': case 'EACCES':
      return new DeviceError('not-permitted', `${name}: ${message}: AF_XDP needs CAP_NET_ADMIN, CAP_BPF and CAP_NET_RAW: run as `
        + 'root, or --driver packet', error)
    case 'EBUSY': case 'EEXIST':
      return new DeviceError('system', `${name}: ${message}: another XDP program is there, or another box: `
        + `ip link set ${name} xdp off`, error)
    case 'EAFNOSUPPORT':
      return new DeviceError('system', 'this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): --driver packet', error)
    case 'ENOBUFS':
      return new DeviceError('no-memory', `${name}: ${message}: more memory has to be locked: ulimit -l unlimited, or `
        + 'LimitMEMLOCK=infinity for a service', error)
    case 'EINVAL': case 'EOPNOTSUPP':
      return new DeviceError('system', `${name}: ${message}: AF_XDP takes Linux 5.9 or later, and in driver mode a driver that `
        + 'has it: --driver xdpgeneric, or packet', error)
    default: return deviceError(name, error)
  }
}

/** Which devices have frames beside their sockets, as `spin` found it: each is told once, and looks for itself after that. */
function createSides(spin: Addon['spin']) {
  const XDP_BITS = 8
  let found = 0, told = -1
  return {
    spin(ns: number) {
      found = spin(ns)
      told = 0
      return found | found >>> XDP_BITS
    },
    mayHave(number: number) {
      const may = ((found | told) & 1 << number) !== 0
      told |= 1 << number
      return may
    },
  }
}

/** The device, and what goes past its sockets: `mayHaveBeside` saves calls for nothing, of 0.1 us each. */
export function withSide(device: Device, side: Device, mayHaveBeside: () => boolean): Device {
  const all = new Float64Array(DEVICE_COUNTERS.length)
  let isHolding = false
  return {
    ...device,
    receive(from, most) {
      if (!mayHaveBeside()) return device.receive(from, most)
      isHolding = true
      const count = side.receive(from, Math.min(most, SIDE_FRAMES))
      return count + device.receive(from + count, most - count)
    },
    release() {
      device.release()
      if (isHolding) side.release()
      isHolding = false
    },
    arm() {
      device.arm()
      side.arm()
    },
    disarm() {
      device.disarm()
      side.disarm()
    },
    onWake(wake) {
      device.onWake(wake)
      side.onWake(wake)
    },
    oversized: () => side.oversized(),
    failure: () => side.failure() ?? device.failure(),
    counters() {
      const ours = device.counters(), its = side.counters()
      for (let i = 0; i < all.length; i++) all[i] = ours[i] + its[i]
      return all
    },
    close() {
      device.close()
      side.close()
    },
  }
}

/** Where the frames of the UMEM are. */
export function census(): Census {
  return xdpCalls().xdp.census()
}
