/**
 * A capture file as a device: fills batches of frames straight from the file's bytes, which never leave the place in
 * the pool the system read them to. Reads pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), plain
 * or gzip, from a path or standard input, in constant memory.
 *
 *   const reader = await openCapture(path, frames, { poolStart: 0, poolEnd: frames.pool.length })
 *   do {
 *     for (let count = reader.fill(); count > 0; count = reader.fill()) process(count)
 *   } while (await reader.more())
 *   if (reader.fault !== null) …
 *   await reader.close()
 *
 * A damaged file is read up to the damage: see `fault`. Only a file that cannot be opened is thrown.
 */
import type { Cursor } from './cursor.ts'
import { createPcapLoop, FILE_HEADER_BYTES, isPcapMagic, readFileHeader } from './pcap.ts'
import type { PcapLayout, PcapLoop } from './pcap.ts'
import { createPcapngLoop, createPcapngState, isSection, SECTION_MAGIC_BYTES } from './pcapng.ts'
import type { CaptureInterface, PcapngLoop, SkippedBlocks } from './pcapng.ts'
import { createGzipSource, createPlainSource, openFile } from './source.ts'
import { createWindow, regionStart, windowBytes } from './window.ts'
import type { Frames } from '../wire/frames.ts'

export type { CaptureInterface, SkippedBlocks } from './pcapng.ts'

export const DEFAULT_REGION_BYTES = 4 * 1024 * 1024

/** A region holds at least a file header. */
const MIN_REGION_BYTES = 64
const GZIP_MAGIC = 0x1f8b

export interface CaptureOptions {
  /** The part of the pool that belongs to this reader, at least `captureBytes(regionBytes)` long. */
  poolStart: number
  poolEnd: number
  /** Bytes read from the file at a time, 4 MiB if not given. */
  regionBytes?: number
  /** Added to every time stamp: 0 … 999,999,999 ns and any whole seconds. For captures played in a loop. */
  shiftSec?: number
  shiftNsec?: number
  /** Which frames of a pcapng file are taken, told by their place in it; absent: all. */
  keep?: (view: DataView, off: number, capBytes: number) => boolean
}

export interface CaptureFault {
  /** Where the record at fault begins, in the uncompressed file; or where a broken stream ended. */
  offset: number
  reason: string
}

export interface CaptureStats {
  /** 'unknown' when the file is not a capture. */
  format: 'pcap' | 'pcapng' | 'unknown'
  gzip: boolean
  /** Size of the file and bytes read of it so far, compressed if it is. The size is 0 if it cannot be known. */
  fileBytes: number
  fileBytesRead: number
  /** Bytes of the uncompressed stream read so far. */
  streamBytes: number
  skipped: SkippedBlocks
}

/** What fills batches, be it a file or a capture held in memory. */
export interface FrameSource {
  /** Fill rows from 0 on, at most `frames.capacity`. 0: ask `more`. Ends the life of the rows before. */
  fill(): number
  /** Wait until there is more to fill; false at the end. Ends the life of the rows before. */
  more(): Promise<boolean>
  close(): Promise<void>
}

export interface CaptureReader extends FrameSource {
  /** Why the file could not be read to its end, or null. Valid once `more` returned false. */
  readonly fault: CaptureFault | null
  /** In order of `frames.iface`. Those of pcapng appear as their blocks are met. */
  readonly interfaces: readonly CaptureInterface[]
  readonly stats: Readonly<CaptureStats>
}

/** Bytes of the pool a reader needs. */
export function captureBytes(regionBytes: number = DEFAULT_REGION_BYTES): number { return windowBytes(regionBytes) }

interface Loops { pcap: PcapLoop; pcapng: PcapngLoop }
/** One pair of loops for a pool, however often a file is opened: a second closure would cost both their constants. */
const loopsOf = new WeakMap<Frames, Loops>()

function loops(frames: Frames): Loops {
  let found = loopsOf.get(frames)
  if (found === undefined) {
    found = { pcap: createPcapLoop(frames), pcapng: createPcapngLoop(frames) }
    loopsOf.set(frames, found)
  }
  return found
}

/** Opens a file, or standard input for `-`. Throws `CaptureError` if it cannot be opened. */
export async function openCapture(path: string, frames: Frames, options: CaptureOptions): Promise<CaptureReader> {
  const { poolStart, poolEnd, regionBytes = DEFAULT_REGION_BYTES, shiftSec = 0, shiftNsec = 0, keep } = options
  if (poolEnd - poolStart < windowBytes(regionBytes) || poolEnd > frames.pool.length) {
    throw new RangeError(`a reader with regions of ${regionBytes} bytes needs ${windowBytes(regionBytes)} of the pool`)
  }
  if (regionBytes < MIN_REGION_BYTES) throw new RangeError(`a region has at least ${MIN_REGION_BYTES} bytes`)
  const { fd, fileBytes } = await openFile(path)
  const { pool, view } = frames
  const first = regionStart(poolStart, regionBytes, 0)
  const cursor: Cursor = { pos: first, end: first, base: -first, reason: '', shiftSec, shiftNsec }

  // A file header, or what there is of it. A pipe may give it in pieces.
  let source = createPlainSource(fd, pool), ended = false
  async function need(bytes: number): Promise<void> {
    while (!ended && cursor.end - first < bytes) {
      const room = regionBytes - (cursor.end - first)
      const got = await new Promise<number>((resolve) => { source.read(cursor.end, room, resolve) })
      if (got === 0) ended = true
      cursor.end += got
    }
  }
  await need(2)
  if (cursor.end - first >= 2 && view.getUint16(first) === GZIP_MAGIC) {
    source = createGzipSource(fd, pool, pool.slice(first, cursor.end))
    cursor.end = first
    ended = false
  }
  await need(FILE_HEADER_BYTES)

  let format: CaptureStats['format'] = 'unknown', layout: PcapLayout | null = null
  const present = cursor.end - first
  if (source.fault !== '' && present < FILE_HEADER_BYTES) cursor.reason = source.fault
  else if (present === 0) cursor.reason = 'empty file'
  else if (present >= 4 && isPcapMagic(view.getUint32(first, true))) {
    format = 'pcap'
    const header = present < FILE_HEADER_BYTES ? 'file header cut short' : readFileHeader(view, first)
    if (typeof header === 'string') cursor.reason = header
    else {
      layout = header
      cursor.pos += FILE_HEADER_BYTES
    }
  } else if (present >= SECTION_MAGIC_BYTES && isSection(view, first)) format = 'pcapng'
  else cursor.reason = 'not a capture'

  const state = createPcapngState(cursor)
  if (layout !== null) {
    const { link, snapBytes, unitsPerSec } = layout
    state.interfaces.push({ section: 0, id: 0, link, snapBytes, tsResolution: unitsPerSec })
  }
  const { pcap, pcapng } = loops(frames)
  const fillRows = layout === null ? () => pcapng(cursor, state) : () => pcap(cursor, layout)
  let fault: CaptureFault | null = null, drained = false
  if (cursor.reason !== '') fault = { offset: 0, reason: cursor.reason }
  const window = createWindow(pool, poolStart, regionBytes, source, cursor, ended || fault !== null)

  /** Closes the gaps that frames leave which are not taken. */
  function kept(count: number): number {
    const { off, capBytes, wireBytes, link, iface, sec, nsec } = frames
    let rows = 0
    for (let i = 0; i < count; i++) {
      if (!keep!(view, off[i]!, capBytes[i]!)) continue
      for (const column of [off, capBytes, wireBytes, link, iface, sec, nsec]) column[rows] = column[i]!
      rows++
    }
    return rows
  }

  function cutShort(): CaptureFault | null {
    if (source.fault !== '') return { offset: window.streamBytes, reason: source.fault }
    if (state.skipLeft > 0) return { offset: state.skipFrom, reason: 'block cut short by the end of the file' }
    if (cursor.pos === cursor.end) return null
    return { offset: cursor.base + cursor.pos, reason: 'record cut short by the end of the file' }
  }
  return {
    fill() {
      if (fault !== null) return 0
      let count = fillRows()
      if (keep !== undefined && format === 'pcapng') {
        for (let all = count; all > 0 && (count = kept(all)) === 0;) all = count = fillRows()
      }
      drained = count === 0
      if (cursor.reason !== '') {
        fault = { offset: state.skipLeft > 0 ? state.skipFrom : cursor.base + cursor.pos, reason: cursor.reason }
      }
      return count
    },
    async more() {
      if (fault !== null) return false
      // Asked before there was need: what is at the cursor must not be taken for a record cut short.
      if (!drained) return true
      if (await window.more()) return true
      fault = cutShort()
      return false
    },
    close() { return source.close() },
    get fault() { return fault },
    interfaces: state.interfaces,
    stats: {
      format, gzip: source.gzip, fileBytes, skipped: state.skipped,
      get fileBytesRead() { return source.fileBytesRead },
      get streamBytes() { return window.streamBytes },
    },
  }
}
