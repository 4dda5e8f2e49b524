/**
 * The slow twin of the reader: the whole file at once, 64-bit integers, an object a packet. The judge in its tests.
 * Knows nothing of gzip: give it the uncompressed bytes.
 */
import { MAX_PACKET_BYTES, MAX_RECORD_BYTES } from './cursor.ts'

export interface ModelPacket {
  data: Uint8Array
  wireBytes: number
  link: number
  iface: number
  sec: number
  nsec: number
}

export interface ModelCapture {
  packets: ModelPacket[]
  interfaces: number
  /** Offset of the record at fault, or -1. */
  faultOffset: number
}

class Bad extends Error {}

export function readModel(file: Uint8Array): ModelCapture {
  const found: ModelCapture = { packets: [], interfaces: 0, faultOffset: -1 }
  let at = 0
  try {
    const blocks = file.length >= 12 && word(file, 0, false) === 0x0a0d0d0a
    for (const next of blocks ? pcapng(file, found) : pcap(file, found)) at = next
  } catch (error) {
    if (!(error instanceof Bad || error instanceof RangeError)) throw error
    found.faultOffset = at
  }
  return found
}

function view(file: Uint8Array): DataView { return new DataView(file.buffer, file.byteOffset, file.byteLength) }
function word(file: Uint8Array, off: number, little: boolean): number { return view(file).getUint32(off, little) }
function half(file: Uint8Array, off: number, little: boolean): number { return view(file).getUint16(off, little) }
function must(condition: boolean): void { if (!condition) throw new Bad() }

/** Yields the offset of every next record. */
function* pcap(file: Uint8Array, found: ModelCapture): Generator<number> {
  must(file.length >= 24)
  const magics = new Map([[0xa1b2c3d4, 1_000_000n], [0xa1b2cd34, 1_000_000n], [0xa1b23c4d, 1_000_000_000n]])
  const little = magics.has(word(file, 0, true))
  const magic = word(file, 0, little)
  must(magics.has(magic))
  must(half(file, 4, little) === 2)
  const perSec = magics.get(magic)!, header = magic === 0xa1b2cd34 ? 24 : 16
  const link = word(file, 20, little) % 0x10000
  found.interfaces = 1
  for (let at = 24; ;) {
    yield at
    if (at === file.length) return
    const captured = word(file, at + 8, little), original = word(file, at + 12, little)
    must(captured <= MAX_PACKET_BYTES)
    const data = file.slice(at + header, at + header + captured)
    must(at + header + captured <= file.length)
    const units = BigInt(word(file, at, little)) * perSec + BigInt(word(file, at + 4, little))
    const ns = units * (1_000_000_000n / perSec)
    found.packets.push({ data, wireBytes: wire(captured, original), link, iface: 0, ...split(ns) })
    at += header + captured
  }
}

function wire(captured: number, original: number): number { return Math.min(Math.max(captured, original), 0x7fffffff) }

function split(ns: bigint): { sec: number; nsec: number } {
  const nsec = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  return { sec: Number((ns - nsec) / 1_000_000_000n), nsec: Number(nsec) }
}

interface ModelInterface { link: number; snap: number; perSec: bigint; offset: bigint }

function* pcapng(file: Uint8Array, found: ModelCapture): Generator<number> {
  let little = true, interfaces: ModelInterface[] = [], first = 0
  let last = { sec: 0, nsec: 0 }
  for (let at = 0; at < file.length;) {
    yield at
    const type = word(file, at, little)
    if (type === 0x0a0d0d0a) {
      const order = word(file, at + 8, true)
      must(order === 0x1a2b3c4d || order === 0x4d3c2b1a)
      little = order === 0x1a2b3c4d
      must(half(file, at + 12, little) === 1)
      first += interfaces.length
      interfaces = []
    }
    const bytes = word(file, at + 4, little)
    const least = type === 0x0a0d0d0a ? 28 : type === 1 ? 20 : type === 2 || type === 6 ? 32 : type === 3 ? 16 : 12
    must(bytes >= least && bytes % 4 === 0)
    must(![1, 2, 3, 6].includes(type) || bytes <= MAX_RECORD_BYTES)
    must(word(file, at + bytes - 4, little) === bytes)
    const block = file.slice(at, at + bytes)
    const take = (id: number, from: number, captured: number, original: number) => {
      must(id < interfaces.length)
      must(captured <= MAX_PACKET_BYTES && from + captured <= bytes - 4)
      return { data: block.slice(from, from + captured), wireBytes: wire(captured, original),
        link: interfaces[id]!.link, iface: first + id }
    }
    if (type === 1) {
      must(interfaces.length + first < 65_536)
      interfaces.push(readInterface(block, little))
      found.interfaces++
    } else if (type === 6 || type === 2) {
      const id = type === 6 ? word(block, 8, little) : half(block, 8, little)
      const packet = take(id, 28, word(block, 20, little), word(block, 24, little))
      const { perSec, offset } = interfaces[id]!
      const units = BigInt(word(block, 12, little)) * 2n ** 32n + BigInt(word(block, 16, little))
      last = split(units * 1_000_000_000n / perSec + offset * 1_000_000_000n)
      found.packets.push({ ...packet, ...last })
    } else if (type === 3) {
      must(interfaces.length > 0)
      const original = word(block, 8, little), snap = interfaces[0]!.snap
      found.packets.push({ ...take(0, 12, snap === 0 ? original : Math.min(original, snap), original), ...last })
    }
    at += bytes
  }
}

function readInterface(block: Uint8Array, little: boolean): ModelInterface {
  let tsresol: number | null = null, offset: bigint | null = null
  for (let at = 16; at + 4 <= block.length - 4;) {
    const code = half(block, at, little), length = half(block, at + 2, little)
    if (code === 0) break
    must(at + 4 + length <= block.length - 4)
    if (code === 9 && length === 1) tsresol ??= block[at + 4]!
    if (code === 14 && length === 8) offset ??= view(block).getBigInt64(at + 4, little)
    at += 4 + Math.ceil(length / 4) * 4
  }
  const coded = tsresol ?? 6
  const perSec = (coded >= 0x80 ? 2n : 10n) ** BigInt(coded % 0x80)
  return { link: half(block, 8, little), snap: word(block, 12, little), perSec, offset: offset ?? 0n }
}
