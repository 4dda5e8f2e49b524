/** The compiled driver, native/packet.node, which may not be there. Its functions, as native/*.c describe them. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DeviceError } from './device.ts'

export interface LinkState {
  index: number
  mtu: number
  /** Numbers as the kernel's flags: 0 or 1. */
  isUp: number
  isEthernet: number
  /** That receive. */
  queues: number
  /** In the kernel, or empty. */
  driver: string
  mac: number[]
}

/** Of each driver in it; devices are numbers. */
export interface RingCalls {
  receive(number: number, from: number, most: number): number
  release(number: number): void
  stage(number: number, frames: number): void
  /** Stages so many frames, too. 0, or the number of an error. */
  kick(number: number, frames: number): number
  statistics(number: number): void
  failure(number: number): string | undefined
  watch(number: number, wake: (hasFailed: boolean) => void): void
  arm(number: number): void
  disarm(number: number): void
  close(number: number): void
}

/** Where the frames of a UMEM are: their sum is `chunks`. */
export interface Census {
  chunks: number
  free: number
  held: number
  fill: number
  rx: number
  tx: number
  done: number
  /** In no ring: the system has them. */
  kernel: number
}

export interface XdpCalls extends RingCalls {
  umem(buffer: ArrayBuffer, at: number, chunkBytes: number, chunks: number): void
  attach(
    number: number, index: number, queues: number, isGeneric: number, asksTag: number, mostBytes: number, mac: number[],
    kernel4: Int32Array, kernel6: Int32Array, vlan: number,
  ): void
  /** 1 if frames are not copied. */
  open(
    number: number, isCopy: number, rxSlots: number, txSlots: number, columns: Int32Array[], outbox: Int32Array,
    counters: Float64Array,
  ): number
  census(): Census
}

export interface Addon extends RingCalls {
  reserve(bytes: number): ArrayBuffer
  link(name: string): LinkState
  /** The value, or -1 where the interface does not know the command. */
  offload(name: string, command: number, value: number): number
  /** Of a VLAN interface of the kernel's, what is below it. */
  vlan(name: string): { below: string; vlan: number } | undefined
  /** A feature by the kernel's name for it: 1 on, 0 off, -1 unknown; `value` -1 leaves it as it is, 0 or 1 switches it before. */
  feature(name: string, feature: string, value: number): number
  /** The kernel drops what the box takes there; a descriptor, which ends that when it is closed. The addresses: see `inPacket`. */
  spare(index: number, mac: number[], kernel4: Int32Array, kernel6: Int32Array, vlan: number): number
  /**
   * Waits, on the processor, until frames have come to a device, or the time is over: a bit for each, by its number, that has some.
   * Those of `xdp` are eight bits further up.
   */
  spin(ns: number): number
  /** A socket with a ring that receives nothing yet: its descriptor. */
  socket(name: string, slotBytes: number, rxSlots: number): number
  /** Each frame goes to the socket of which the program, as words of `struct sock_filter`, says the place in the list. */
  fanout(sockets: Int32Array, program: Int32Array): void
  /**
   * Frames come to the socket from now on. Of a VLAN, unless that is 0: then none of the VLAN `other`, and what is nobody's only if
   * it `counts` that.
   */
  admit(socket: number, vlan: number, other: number, counts: number): void
  /** Maps its ring; `kept` says how far the process before came, and null that there is none. The socket is the device's then. */
  open(
    number: number, buffer: ArrayBuffer, at: number, name: string, socket: number,
    slotBytes: number, rxSlots: number, txSlots: number, cutSlots: number, columns: Int32Array[], outbox: Int32Array,
    counters: Float64Array, kept: Int32Array | null, vlan: number,
  ): void
  /** 1: the interface is no more. */
  isRemoved(number: number): number
  /** Goes on with the interface that has that name now; not where sockets share one (`fanout`). */
  rebind(number: number, name: string): void
  /** For tests: cuts a joined frame by its virtio_net_hdr into slots of `into`; how many, or -1. */
  segments(
    joined: Uint8Array, header: Uint8Array, mostBytes: number, into: Uint8Array, slotBytes: number, lengths: Int32Array,
  ): number
  /** Memory that processes share: its descriptor. */
  memory(bytes: number): number
  /** Maps it into what `reserve` gave, at a multiple of 64 KiB. */
  share(buffer: ArrayBuffer, at: number, memory: number, bytes: number): void
  /** A descriptor that wakes whoever hears it. */
  bell(): number
  ring(bell: number): void
  /** Has `wake` called once it is rung, and again after `listen`. A process hears one, and does not live for it. */
  hear(bell: number, wake: () => void): void
  listen(): void
  /** Absent where it was compiled with headers of Linux before 5.4. */
  xdp?: XdpCalls
}

let loaded: Addon | null = null

/** @throws DeviceError if it is not there or does not fit this Node */
export function loadAddon(): Addon {
  if (loaded !== null) return loaded
  if (process.platform !== 'linux') throw new DeviceError('driver-absent', 'live interfaces need Linux')
  const path = join(packageRoot(), 'native/packet.node')
  const advice = `\`node ${join(packageRoot(), 'scripts/native.js')}\` builds it; that takes a C compiler and the headers of Node`
  if (!existsSync(path)) throw new DeviceError('driver-absent', `the driver for live interfaces is not built: ${advice}`)
  try {
    loaded = createRequire(import.meta.url)(path) as Addon
  } catch (error) {
    const why = (error as Error).message
    throw new DeviceError('driver-absent', `the driver for live interfaces cannot be loaded: ${why}; ${advice}`, error)
  }
  return loaded
}

/** This file may be compiled or bundled: the folder of the package is the one with its description. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) folder = dirname(folder)
  return folder
}

/** What the driver threw, for people. */
export function deviceError(name: string, error: unknown): DeviceError {
  const { code, message } = error as { code?: string; message: string }
  switch (code) {
    case 'ENODEV': return new DeviceError('no-interface', `there is no interface ${name}`, error)
    case 'EPERM': case 'EACCES':
      return new DeviceError('not-permitted', `${name}: ${message}: CAP_NET_RAW is needed: run as root`, error)
    case 'ENETDOWN': return new DeviceError('interface-down', `${name} is down: ip link set ${name} up`, error)
    case 'ENOMEM': return new DeviceError('no-memory', `${name}: no memory for its rings (${message})`, error)
    default: return new DeviceError('system', `${name}: ${message}`, error)
  }
}
