/** The compiled driver, native/packet.node, which may not be there. Its functions, as native/packet.c describes them. */
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
  mac: number[]
}

export interface Addon {
  reserve(bytes: number): ArrayBuffer
  link(name: string): LinkState
  /** The value, or -1 where the interface does not know the command. */
  offload(name: string, command: number, value: number): number
  open(
    number: number, buffer: ArrayBuffer, at: number, name: string, slotBytes: number, rxSlots: number, txSlots: number,
    columns: Int32Array[], outbox: Int32Array, counters: Float64Array,
  ): void
  receive(number: number, from: number, most: number): number
  release(number: number): void
  stage(number: number, frames: number): void
  /** 0, or the number of an error. */
  kick(number: number): number
  statistics(number: number): void
  failure(number: number): string | undefined
  watch(number: number, wake: (hasFailed: boolean) => void): void
  arm(number: number): void
  disarm(number: number): void
  close(number: number): void
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
