/**
 * Writes pcapng (draft-ietf-opsawg-pcapng) with stamps in nanoseconds. Packets are copied into one of two buffers; a
 * full one goes to the disk in the background while the other takes over, and only whole blocks are ever handed on, so
 * the file is good whenever it is closed. Nothing in it depends on when or where it was written.
 */
import * as fs from 'node:fs'
import { CaptureError, captureError } from './capture-error.ts'
import { MAX_PACKET_BYTES, NS_PER_SEC } from './cursor.ts'
import {
  BLOCK_ENHANCED_PACKET, BLOCK_INTERFACE, BLOCK_SECTION, BYTE_ORDER_MAGIC, IF_NAME, IF_TSRESOL,
} from './pcapng.ts'
import type { Frames } from '../wire/frames.ts'

export const DEFAULT_BUFFER_BYTES = 1024 * 1024

export interface WriterOptions {
  /** if_name of every interface, such as 'outside'. */
  ifName?: string
  /** Size of each of the two buffers, 1 MiB if not given. */
  bufferBytes?: number
  /** Link types to describe at once, so that a file without packets has an interface, too. */
  links?: readonly number[]
}

export interface PcapngWriter {
  /**
   * Copy a packet out of the pool. False if both buffers are on their way to the disk: await `ready`, then write it
   * again. True is sure while the bytes promised by `room` last.
   */
  write(off: number, capBytes: number, wireBytes: number, sec: number, nsec: number, link: number): boolean
  /** The same with a comment (opt_comment), for the few packets that deserve one. */
  writeWithComment(off: number, capBytes: number, wireBytes: number, sec: number, nsec: number, link: number,
    comment: string): boolean
  /** True if packets whose `packetBlockBytes` sum up to `bytes` fit without waiting. */
  room(bytes: number): boolean
  /** Resolves when a buffer is free. Rejects with `CaptureError` if the disk failed. */
  ready(): Promise<void>
  /** Writes what is left and closes. Rejects with `CaptureError` if the disk failed, now or before. */
  close(): Promise<void>
  readonly stats: { readonly packets: number; readonly bytes: number }
}

/* "Enhanced Packet Block". */
const INTERFACE_ID = 8, STAMP_HIGH = 12, STAMP_LOW = 16, CAPTURED = 20, ORIGINAL = 24, DATA = 28
const PACKET_OVERHEAD_BYTES = 32
const OPT_COMMENT = 1, SHB_USERAPPL = 4
const MAX_OPTION_BYTES = 65_535

/** Bytes a packet takes in the file. */
export function packetBlockBytes(capBytes: number): number { return PACKET_OVERHEAD_BYTES + (capBytes + 3 & ~3) }

/** Behind each buffer there is room for interface blocks, so that `room` need not know how many are new. */
const INTERFACE_SLACK_BYTES = 65_536
/** Frames longer than this are copied by the runtime: the call costs as much as copying so many bytes by words. */
const COPY_BY_WORDS_BYTES = 512
const RETRY_MS = 2

/** Opens `path`, or standard output for `-`, and empties it. Rejects with `CaptureError`. */
export async function openPcapngWriter(path: string, frames: Frames, options: WriterOptions = {}): Promise<PcapngWriter> {
  const { ifName, bufferBytes = DEFAULT_BUFFER_BYTES, links = [] } = options
  if (bufferBytes < packetBlockBytes(MAX_PACKET_BYTES)) throw new RangeError('a buffer must hold the longest packet')
  const fd = path === '-' ? 1 : await openForWriting(path)

  // Both buffers are one array with one view, as the pool is.
  const { pool, view } = frames
  const stride = bufferBytes + INTERFACE_SLACK_BYTES
  const staged = new Uint8Array(2 * stride), out = new DataView(staged.buffer)
  const bytesOfPool = Buffer.from(pool.buffer, pool.byteOffset, pool.byteLength)

  let current = 0                       // the buffer that takes packets
  let at = 0, limit = bufferBytes       // where the next block goes, and where packets end; interfaces move both
  let inFlight = false
  let failure: CaptureError | null = null
  let wake: (() => void) | null = null
  let packets = 0, sentBytes = 0

  // Stamps: 64 bits of nanoseconds. Packets mostly share their second, so its product is kept.
  let keptSec = -1, keptHigh = 0, keptLow = 0
  // Interface ids by link type. Almost every file has one type only, which is asked first.
  const interfaceOf = new Map<number, number>()
  let keptLink = -1, keptInterface = 0

  function write(off: number, capBytes: number, wireBytes: number, sec: number, nsec: number, link: number): boolean {
    if (link !== keptLink && !useLink(link)) return false
    const padded = capBytes + 3 & ~3, bytes = PACKET_OVERHEAD_BYTES + padded
    if (at + bytes > limit && !makeRoom(bytes)) return false
    putHead(at, bytes, capBytes, wireBytes, sec, nsec)
    const data = at + DATA
    if (padded <= COPY_BY_WORDS_BYTES) copyWords(off, data, capBytes)
    else bytesOfPool.copy(staged, data, off, off + capBytes)
    pad(data + capBytes, data + padded)
    out.setInt32(data + padded, bytes, true)
    at += bytes
    packets++
    return true
  }

  function putHead(to: number, bytes: number, capBytes: number, wireBytes: number, sec: number, nsec: number): void {
    if (sec !== keptSec) keepSec(sec)
    let low = keptLow + nsec, high = keptHigh
    if (low >= 2 ** 32) {
      low -= 2 ** 32
      high += 1
    }
    out.setInt32(to, BLOCK_ENHANCED_PACKET, true)
    out.setInt32(to + 4, bytes, true)
    out.setInt32(to + INTERFACE_ID, keptInterface, true)
    out.setUint32(to + STAMP_HIGH, high, true)
    out.setUint32(to + STAMP_LOW, low, true)
    out.setInt32(to + CAPTURED, capBytes, true)
    out.setInt32(to + ORIGINAL, wireBytes, true)
  }

  /** The last word may take up to three bytes too many; `pad` makes them zero. */
  function copyWords(from: number, to: number, bytes: number): void {
    const whole = bytes & ~3
    for (let i = 0; i < whole; i += 4) out.setInt32(to + i, view.getInt32(from + i, true), true)
    for (let i = whole; i < bytes; i++) out.setUint8(to + i, view.getUint8(from + i))
  }
  function pad(from: number, to: number): void {
    for (let i = from; i < to; i++) out.setUint8(i, 0)
  }

  /** sec × 10^9 in two halves, by 16 bits of the seconds at a time. Before 1970 and after 2554 there is no stamp. */
  function keepSec(sec: number): void {
    keptSec = sec
    const whole = Math.min(Math.max(Math.floor(sec), 0), MAX_SEC)
    const upper = Math.floor(whole / 0x10000) * NS_PER_SEC, lower = whole % 0x10000 * NS_PER_SEC
    const low = lower + upper % 0x10000 * 0x10000
    keptHigh = Math.floor(upper / 0x10000) + Math.floor(low / 2 ** 32)
    keptLow = low % 2 ** 32
  }

  /** Makes `link` the type of the packets that follow; describes it first if it is new. */
  function useLink(link: number): boolean {
    let id = interfaceOf.get(link)
    if (id === undefined) {
      const block = interfaceBlock(link, ifName)
      if (limit + block.length > (current + 1) * stride) {
        if (inFlight || failure !== null) return false
        send()
      }
      id = interfaceOf.size
      put(block)
      limit += block.length
      interfaceOf.set(link, id)
    }
    keptLink = link
    keptInterface = id
    return true
  }
  function put(bytes: Uint8Array): void {
    staged.set(bytes, at)
    at += bytes.length
  }

  /** Room for `bytes` in the current buffer, if need be by sending it off and taking the other. */
  function makeRoom(bytes: number): boolean {
    if (at + bytes <= limit) return true
    if (inFlight || failure !== null || bytes > bufferBytes) return false
    send()
    return true
  }
  function send(): void {
    const from = current * stride
    inFlight = true
    writeAll(from, at)
    current = 1 - current
    at = current * stride
    limit = at + bufferBytes
  }
  function writeAll(from: number, to: number): void {
    if (from === to) return sent(null)
    fs.write(fd, staged, from, to - from, null, (error, wrote) => {
      if (error === null) {
        sentBytes += wrote
        writeAll(from + wrote, to)
      } else if (error.code === 'EAGAIN') setTimeout(writeAll, RETRY_MS, from, to)
      else sent(captureError('write', path, error))
    })
  }
  function sent(error: CaptureError | null): void {
    inFlight = false
    failure ??= error
    if (wake !== null) {
      const resume = wake
      wake = null
      resume()
    }
  }

  async function ready(): Promise<void> {
    while (inFlight) await new Promise<void>((resolve) => { wake = resolve })
    if (failure !== null) throw failure
  }
  async function close(): Promise<void> {
    try {
      await ready()
      if (at > current * stride) send()
      await ready()
    } finally {
      if (fd !== 1) await new Promise<void>((resolve) => { fs.close(fd, () => resolve()) })
    }
  }

  function writeWithComment(off: number, capBytes: number, wireBytes: number, sec: number, nsec: number, link: number,
    comment: string): boolean {
    if (link !== keptLink && !useLink(link)) return false
    const options = encodeOptions([[OPT_COMMENT, comment]])
    const padded = capBytes + 3 & ~3, bytes = PACKET_OVERHEAD_BYTES + padded + options.length
    if (!makeRoom(bytes)) return false
    putHead(at, bytes, capBytes, wireBytes, sec, nsec)
    const data = at + DATA
    staged.set(pool.subarray(off, off + capBytes), data)
    pad(data + capBytes, data + padded)
    staged.set(options, data + padded)
    out.setInt32(at + bytes - 4, bytes, true)
    at += bytes
    packets++
    return true
  }

  put(sectionBlock())
  for (const link of links) useLink(link)
  return {
    write, writeWithComment, room: makeRoom, ready, close,
    stats: {
      get packets() { return packets },
      get bytes() { return sentBytes + (at - current * stride) },
    },
  }
}

/** 2^64 ns, rounded down to seconds. */
const MAX_SEC = 18_446_744_072

function openForWriting(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, 'w', (error, fd) => {
      if (error === null) resolve(fd)
      else reject(captureError('open', path, error))
    })
  })
}

/** "Section Header Block". The length of the section is left open (all ones): a pipe cannot be rewound to fill it in. */
function sectionBlock(): Uint8Array {
  const options = encodeOptions([[SHB_USERAPPL, 'pinhole']])
  const body = new DataView(new ArrayBuffer(16))
  body.setUint32(0, BYTE_ORDER_MAGIC, true)
  body.setUint16(4, 1, true)
  body.setInt32(8, -1, true)
  body.setInt32(12, -1, true)
  return encodeBlock(BLOCK_SECTION, new Uint8Array(body.buffer), options)
}

/** "Interface Description Block", with stamps in 10^-9 s. */
function interfaceBlock(link: number, ifName: string | undefined): Uint8Array {
  const body = new DataView(new ArrayBuffer(8))
  body.setUint16(0, link, true)
  body.setUint32(4, MAX_PACKET_BYTES, true)
  const options: [number, string | Uint8Array][] = [[IF_TSRESOL, Uint8Array.of(9)]]
  if (ifName !== undefined) options.unshift([IF_NAME, ifName])
  return encodeBlock(BLOCK_INTERFACE, new Uint8Array(body.buffer), encodeOptions(options))
}

function encodeBlock(type: number, body: Uint8Array, options: Uint8Array): Uint8Array {
  const bytes = 12 + body.length + options.length
  const block = new Uint8Array(bytes), view = new DataView(block.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, bytes, true)
  block.set(body, 8)
  block.set(options, 8 + body.length)
  view.setUint32(bytes - 4, bytes, true)
  return block
}

/** "Options": each padded to 32 bits, an empty one at the end. A text that is too long loses its end. */
function encodeOptions(options: readonly [code: number, value: string | Uint8Array][]): Uint8Array {
  const parts: number[] = []
  for (const [code, value] of options) {
    const all = typeof value === 'string' ? new TextEncoder().encode(value) : value
    const bytes = all.subarray(0, MAX_OPTION_BYTES)
    parts.push(code & 0xff, code >> 8, bytes.length & 0xff, bytes.length >> 8)
    for (const byte of bytes) parts.push(byte)
    while (parts.length % 4 !== 0) parts.push(0)
  }
  parts.push(0, 0, 0, 0)
  return Uint8Array.from(parts)
}
