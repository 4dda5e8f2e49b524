/**
 * Writes pcapng (draft-ietf-opsawg-pcapng) with stamps in nanoseconds. Packets are copied into one of two buffers in
 * the pool; a full one goes to the disk in the background while the other takes over. Only whole blocks are ever handed
 * on, so the file is good whenever it is closed. Nothing in it depends on when or where it was written.
 */
import * as fs from 'node:fs'
import { CaptureError, captureError } from './capture-error.ts'
import { MAX_PACKET_BYTES, NS_PER_SEC } from './cursor.ts'
import { BLOCK_ENHANCED_PACKET, IF_NAME } from './pcapng.ts'
import { encodeOptions, interfaceBlock, OPT_COMMENT, sectionBlock } from './pcapng-blocks.ts'
import type { Frames } from '../wire/frames.ts'

export const DEFAULT_BUFFER_BYTES = 1024 * 1024

export interface WriterOptions {
  /** The part of the pool that belongs to this writer, such as `writerBytes()`: it holds both buffers. */
  poolStart: number
  poolEnd: number
  /** if_name of every interface, such as 'outside'. */
  ifName?: string
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
const TOTAL_BYTES = 4, INTERFACE_ID = 8, STAMP_HIGH = 12, STAMP_LOW = 16, CAPTURED = 20, ORIGINAL = 24, DATA = 28
const PACKET_OVERHEAD_BYTES = 32

/** Bytes a packet takes in the file. */
export function packetBlockBytes(capBytes: number): number { return PACKET_OVERHEAD_BYTES + (capBytes + 3 & ~3) }

/** Behind each buffer there is room for interface blocks, so that `room` need not know how many are new. */
const INTERFACE_SLACK_BYTES = 65_536
/**
 * Frames longer than this are moved by the runtime: on one buffer `copyWithin` allocates nothing and costs about as
 * much as copying this many bytes by words.
 */
const COPY_BY_WORDS_BYTES = 96
const RETRY_MS = 2

/** Bytes of the pool a writer needs. */
export function writerBytes(bufferBytes: number = DEFAULT_BUFFER_BYTES): number {
  return 2 * (bufferBytes + INTERFACE_SLACK_BYTES)
}

/** What `write` needs of a writer: small integers, but for the second. */
interface Staging {
  /** Where the next block goes, and where packets must end. An interface block moves both. */
  at: number
  limit: number
  // Stamps are 64 bits of nanoseconds. Packets mostly share their second, so its product is kept, as two int32.
  sec: number
  high: number
  low: number
  // Interface ids are given by link type. Almost every file has one type only.
  link: number
  interfaceId: number
  packets: number
}

type PutPacket = (to: Staging, bytes: number, off: number, capBytes: number, wireBytes: number, nsec: number) => void

/** One function for a pool, whatever the number of writers: V8 then has the address of the pool in the code. */
const putPacketOf = new WeakMap<Frames, PutPacket>()

function createPutPacket({ pool, view }: Frames): PutPacket {
  return function putPacket(to, bytes, off, capBytes, wireBytes, nsec) {
    const at = to.at, data = at + DATA, low = to.low + nsec | 0
    view.setInt32(at, BLOCK_ENHANCED_PACKET, true)
    view.setInt32(at + TOTAL_BYTES, bytes, true)
    view.setInt32(at + INTERFACE_ID, to.interfaceId, true)
    // The sum wrapped if it is less than a part of it.
    view.setInt32(at + STAMP_HIGH, low >>> 0 < nsec ? to.high + 1 : to.high, true)
    view.setInt32(at + STAMP_LOW, low, true)
    view.setInt32(at + CAPTURED, capBytes, true)
    view.setInt32(at + ORIGINAL, wireBytes, true)
    // Padding is zero: the last word is cleared before the bytes that are in it come.
    const end = data + capBytes, whole = capBytes & ~3
    if (whole !== capBytes) view.setInt32(data + whole, 0, true)
    if (capBytes > COPY_BY_WORDS_BYTES) pool.copyWithin(data, off, off + capBytes)
    else {
      const moved = data - off, wholeEnd = off + whole
      let from = off
      // Four words a turn: a tenth faster on short frames.
      for (const last = wholeEnd - 12; from < last; from += 16) {
        const word = from + moved
        view.setInt32(word, view.getInt32(from, true), true)
        view.setInt32(word + 4, view.getInt32(from + 4, true), true)
        view.setInt32(word + 8, view.getInt32(from + 8, true), true)
        view.setInt32(word + 12, view.getInt32(from + 12, true), true)
      }
      for (; from < wholeEnd; from += 4) view.setInt32(from + moved, view.getInt32(from, true), true)
      for (let i = data + whole; i < end; i++) view.setUint8(i, view.getUint8(i - moved))
    }
  }
}

function putPacketFor(frames: Frames): PutPacket {
  let found = putPacketOf.get(frames)
  if (found === undefined) putPacketOf.set(frames, found = createPutPacket(frames))
  return found
}

/** Opens `path`, or standard output for `-`, and empties it. Rejects with `CaptureError`. */
export async function openPcapngWriter(path: string, frames: Frames, options: WriterOptions): Promise<PcapngWriter> {
  const { poolStart, poolEnd, ifName, links = [] } = options
  const stride = Math.floor((poolEnd - poolStart) / 8) * 4, bufferBytes = stride - INTERFACE_SLACK_BYTES
  if (bufferBytes < packetBlockBytes(MAX_PACKET_BYTES) || poolEnd > frames.pool.length) {
    throw new RangeError('a writer needs room for two packets of the longest kind')
  }
  const fd = path === '-' ? 1 : await openForWriting(path)
  const { pool, view } = frames
  const putPacket = putPacketFor(frames)
  const staging: Staging = {
    at: poolStart, limit: poolStart + bufferBytes, sec: -1, high: 0, low: 0, link: -1, interfaceId: 0, packets: 0,
  }
  /** Where the buffer that takes packets begins. The other one is at the disk, or free. */
  let start = poolStart
  let inFlight = false, closed = false
  let failure: CaptureError | null = null
  let wake: (() => void) | null = null
  let sentBytes = 0
  const interfaceOf = new Map<number, number>()

  function write(off: number, capBytes: number, wireBytes: number, sec: number, nsec: number, link: number): boolean {
    const bytes = PACKET_OVERHEAD_BYTES + (capBytes + 3 & ~3)
    if (link !== staging.link && !useLink(link)) return false
    if (staging.at + bytes > staging.limit && !room(bytes)) return false
    if (sec !== staging.sec) useSecond(staging, sec)
    putPacket(staging, bytes, off, capBytes, wireBytes, nsec)
    finish(bytes)
    return true
  }
  function finish(bytes: number): void {
    view.setInt32(staging.at + bytes - 4, bytes, true)
    staging.at += bytes
    staging.packets++
  }
  function writeWithComment(off: number, capBytes: number, wireBytes: number, sec: number, nsec: number, link: number,
    comment: string): boolean {
    const options = encodeOptions([[OPT_COMMENT, comment]])
    const padded = capBytes + 3 & ~3, bytes = PACKET_OVERHEAD_BYTES + padded + options.length
    if (link !== staging.link && !useLink(link)) return false
    if (!room(bytes)) return false
    if (sec !== staging.sec) useSecond(staging, sec)
    putPacket(staging, bytes, off, capBytes, wireBytes, nsec)
    pool.set(options, staging.at + DATA + padded)
    finish(bytes)
    return true
  }

  /** Makes `link` the type of the packets that follow; describes it first if it is new. */
  function useLink(link: number): boolean {
    let id = interfaceOf.get(link)
    if (id === undefined) {
      const block = interfaceBlock(link, MAX_PACKET_BYTES, ifName === undefined ? [] : [[IF_NAME, ifName]])
      if (staging.limit + block.length > start + stride && !turn()) return false
      id = interfaceOf.size
      put(block)
      staging.limit += block.length
      interfaceOf.set(link, id)
    }
    staging.link = link
    staging.interfaceId = id
    return true
  }
  function put(bytes: Uint8Array): void {
    pool.set(bytes, staging.at)
    staging.at += bytes.length
  }

  function room(bytes: number): boolean {
    return staging.at + bytes <= staging.limit || bytes <= bufferBytes && turn()
  }
  /** Sends the buffer off and takes the other; false if that one is still on its way. */
  function turn(): boolean {
    if (inFlight || failure !== null) return false
    inFlight = true
    writeAll(start, staging.at)
    start = start === poolStart ? poolStart + stride : poolStart
    staging.at = start
    staging.limit = start + bufferBytes
    return true
  }
  function writeAll(from: number, to: number): void {
    fs.write(fd, pool, from, to - from, null, (error, wrote) => {
      if (error === null) {
        sentBytes += wrote
        if (from + wrote < to) writeAll(from + wrote, to)
        else sent(null)
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
    if (closed) return
    closed = true
    try {
      await ready()
      if (staging.at > start) turn()
      await ready()
    } finally {
      if (fd !== 1) await new Promise<void>((resolve) => { fs.close(fd, () => resolve()) })
    }
  }

  put(sectionBlock([]))
  for (const link of links) useLink(link)
  return {
    write, writeWithComment, room, ready, close,
    stats: {
      get packets() { return staging.packets },
      get bytes() { return sentBytes + staging.at - start },
    },
  }
}

/** sec × 10^9 in two halves, 16 bits of the seconds at a time. What 64 bits cannot hold becomes the nearest second. */
function useSecond(staging: Staging, sec: number): void {
  const whole = Math.min(Math.max(Math.floor(sec), 0), MAX_SEC)
  const upper = Math.floor(whole / 0x10000) * NS_PER_SEC, lower = whole % 0x10000 * NS_PER_SEC
  const low = lower + upper % 0x10000 * 0x10000
  staging.sec = sec
  staging.high = Math.floor(upper / 0x10000) + Math.floor(low / 2 ** 32) | 0
  staging.low = low | 0
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
