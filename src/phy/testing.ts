/** Builds capture files out of packet values and copies packets out of batches, for tests. Slow and plain. */
import type { FrameSource } from './capture-reader.ts'
import type { Frames } from '../wire/frames.ts'

export interface TestPacket {
  data: Uint8Array
  sec: number
  nsec: number
  /** Length on the wire, that of `data` if not given. */
  wireBytes?: number
  /** pcapng only: id of the interface inside the section, 0 if not given. */
  iface?: number
  /** pcapng only: which block carries the packet, 'enhanced' if not given. */
  block?: 'enhanced' | 'simple' | 'obsolete'
  /** pcapng only: opt_comment. */
  comment?: string
}

export interface PcapOptions {
  bigEndian?: boolean
  nano?: boolean
  /** Kuznetsov's format with 24 bytes in front of each packet. */
  modified?: boolean
  /** The whole 32-bit field, upper bits included. */
  link?: number
  major?: number
  snapBytes?: number
}

export function encodePcap(packets: readonly TestPacket[], options: PcapOptions = {}): Uint8Array {
  const { bigEndian = false, nano = false, modified = false, link = 1, major = 2, snapBytes = 262_144 } = options
  const little = !bigEndian
  const out = new ByteList(little)
  out.u32(nano ? 0xa1b23c4d : modified ? 0xa1b2cd34 : 0xa1b2c3d4)
  out.u16(major).u16(4).u32(0).u32(0).u32(snapBytes).u32(link)
  for (const { data, sec, nsec, wireBytes = data.length } of packets) {
    out.u32(sec).u32(nano ? nsec : Math.floor(nsec / 1000)).u32(data.length).u32(wireBytes)
    if (modified) out.u32(0).u16(0).u16(0)
    out.put(data)
  }
  return out.take()
}

export interface TestInterface {
  link?: number
  snapBytes?: number
  /** if_tsresol as coded: 9 is ns, 0x80 + n is 2^-n. µs if not given. */
  tsresol?: number
  /** if_tsoffset, seconds. */
  tsoffset?: number
  name?: string
  description?: string
}

export interface TestSection {
  bigEndian?: boolean
  interfaces?: readonly TestInterface[]
  packets?: readonly TestPacket[]
  /** Blocks to put between interfaces and packets, from `encodeBlock`. */
  blocks?: readonly Uint8Array[]
}

export function encodePcapng(...sections: readonly TestSection[]): Uint8Array {
  const out = new ByteList(true)
  for (const { bigEndian = false, interfaces = [{}], packets = [], blocks = [] } of sections) {
    const little = !bigEndian
    const section = new ByteList(little).u32(0x1a2b3c4d).u16(1).u16(0).u64(0xffffffffffffffffn)
    out.put(encodeBlock(0x0a0d0d0a, section.take(), bigEndian))
    for (const one of interfaces) out.put(encodeBlock(1, interfaceBody(one, little), bigEndian))
    for (const block of blocks) out.put(block)
    for (const packet of packets) {
      const type = packet.block === 'simple' ? 3 : packet.block === 'obsolete' ? 2 : 6
      out.put(encodeBlock(type, packetBody(packet, interfaces[packet.iface ?? 0] ?? {}, little), bigEndian))
    }
  }
  return out.take()
}

/** "General Block Structure": lengths in front and behind, the body padded to 32 bits. */
export function encodeBlock(type: number, body: Uint8Array, bigEndian = false): Uint8Array {
  const bytes = 12 + (body.length + 3 & ~3)
  return new ByteList(!bigEndian).u32(type).u32(bytes).put(body).align().u32(bytes).take()
}

function interfaceBody({ link = 1, snapBytes = 0, tsresol, tsoffset, name, description }: TestInterface,
  little: boolean): Uint8Array {
  const out = new ByteList(little).u16(link).u16(0).u32(snapBytes)
  if (name !== undefined) out.option(2, new TextEncoder().encode(name))
  if (description !== undefined) out.option(3, new TextEncoder().encode(description))
  if (tsresol !== undefined) out.option(9, Uint8Array.of(tsresol))
  if (tsoffset !== undefined) out.option(14, new ByteList(little).u64(BigInt.asUintN(64, BigInt(tsoffset))).take())
  return out.u32(0).take()
}

function packetBody(packet: TestPacket, { tsresol = 6, tsoffset = 0 }: TestInterface, little: boolean): Uint8Array {
  const { data, sec, nsec, wireBytes = data.length, iface = 0, block = 'enhanced', comment } = packet
  const out = new ByteList(little)
  if (block === 'simple') return out.u32(wireBytes).put(data).take()
  const units = unitsOf(BigInt(sec - tsoffset) * 1_000_000_000n + BigInt(nsec), tsresol)
  if (block === 'obsolete') out.u16(iface).u16(0)
  else out.u32(iface)
  out.u32(Number(units >> 32n)).u32(Number(units & 0xffffffffn)).u32(data.length).u32(wireBytes).put(data).align()
  if (comment !== undefined) out.option(1, new TextEncoder().encode(comment)).u32(0)
  return out.take()
}

/** The smallest stamp that is not before `ns`, so that reading it back truncates to `ns` again if it can. */
function unitsOf(ns: bigint, tsresol: number): bigint {
  const perSec = (tsresol >= 0x80 ? 2n : 10n) ** BigInt(tsresol & 0x7f)
  return (ns * perSec + 999_999_999n) / 1_000_000_000n
}

/** Bytes that grow, in one byte order. */
export class ByteList {
  private readonly bytes: number[] = []
  private readonly little: boolean

  constructor(little: boolean) { this.little = little }
  u16(value: number): this { return this.integer(value, 2) }
  u32(value: number): this { return this.integer(value, 4) }
  u64(value: bigint): this {
    const low = Number(value & 0xffffffffn), high = Number(value >> 32n)
    return this.little ? this.u32(low).u32(high) : this.u32(high).u32(low)
  }
  put(bytes: Iterable<number>): this {
    for (const byte of bytes) this.bytes.push(byte)
    return this
  }
  align(): this {
    while (this.bytes.length % 4 !== 0) this.bytes.push(0)
    return this
  }
  option(code: number, value: Uint8Array): this { return this.u16(code).u16(value.length).put(value).align() }
  take(): Uint8Array { return Uint8Array.from(this.bytes) }

  private integer(value: number, bytes: number): this {
    for (let i = 0; i < bytes; i++) {
      const shift = 8 * (this.little ? i : bytes - 1 - i)
      this.bytes.push(value >>> shift & 0xff)
    }
    return this
  }
}

/** A packet as the reader delivered it, copied out of the pool. */
export interface ReadPacket {
  data: Uint8Array
  wireBytes: number
  link: number
  iface: number
  sec: number
  nsec: number
}

export function copyRow(frames: Frames, row: number): ReadPacket {
  const from = frames.off[row]!
  return {
    data: frames.pool.slice(from, from + frames.capBytes[row]!), wireBytes: frames.wireBytes[row]!,
    link: frames.link[row]!, iface: frames.iface[row]!, sec: frames.sec[row]!, nsec: frames.nsec[row]!,
  }
}

export async function readAll(source: FrameSource, frames: Frames): Promise<ReadPacket[]> {
  const packets: ReadPacket[] = []
  do {
    for (let count = source.fill(); count > 0; count = source.fill()) {
      for (let row = 0; row < count; row++) packets.push(copyRow(frames, row))
    }
  } while (await source.more())
  await source.close()
  return packets
}
