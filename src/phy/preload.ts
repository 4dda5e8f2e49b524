/**
 * A capture held in memory: read once, then played as often as wanted without the disk. Frames lie one behind the
 * other in the order of the file, so that a batch of them is one stretch and goes into the pool in one copy.
 */
import { CaptureError } from './capture-error.ts'
import { NS_PER_SEC } from './cursor.ts'
import { openCapture } from './capture-reader.ts'
import type { CaptureFault, CaptureInterface, CaptureOptions, CaptureStats, FrameSource } from './capture-reader.ts'
import type { Frames } from '../wire/frames.ts'

/** A store addresses its bytes with 32 signed bits. */
const MAX_STORE_BYTES = 0x7fffffff
/** Making a view of a frame costs as much as copying this many bytes by words. */
const COPY_BY_WORDS_BYTES = 512
const FIRST_STORE_BYTES = 1024 * 1024, FIRST_STORE_FRAMES = 4096

export interface CaptureStore {
  readonly frames: number
  /** Frame i is `bytes[off[i] … off[i + 1] - 1]`: there is one offset more than frames. */
  readonly bytes: Uint8Array
  readonly off: Int32Array
  readonly wireBytes: Int32Array
  readonly link: Int32Array
  readonly iface: Int32Array
  readonly sec: Float64Array
  readonly nsec: Int32Array
  /** Time between the earliest and the latest stamp. */
  readonly durationSec: number
  readonly durationNsec: number
  /** What the reader said of the file. */
  readonly fault: CaptureFault | null
  readonly interfaces: readonly CaptureInterface[]
  readonly stats: Readonly<CaptureStats>
}

/**
 * Reads a whole capture; `frames` and its pool are used while it does. Throws `CaptureError`, as `openCapture` does,
 * and with ETOOBIG if the packets are 2 GiB or more.
 */
export async function preloadCapture(path: string, frames: Frames, options: CaptureOptions): Promise<CaptureStore> {
  const reader = await openCapture(path, frames, options)
  let count = 0, used = 0
  // A plain file is longer than its packets, so its size saves the growing.
  const { gzip, fileBytes } = reader.stats
  const guess = gzip || fileBytes > MAX_STORE_BYTES ? FIRST_STORE_BYTES : Math.max(fileBytes, FIRST_STORE_BYTES)
  let bytes = new Uint8Array(guess), view = new DataView(bytes.buffer)
  let off = new Int32Array(FIRST_STORE_FRAMES)
  let wireBytes = new Int32Array(FIRST_STORE_FRAMES), link = new Int32Array(FIRST_STORE_FRAMES)
  let iface = new Int32Array(FIRST_STORE_FRAMES), nsec = new Int32Array(FIRST_STORE_FRAMES)
  let sec = new Float64Array(FIRST_STORE_FRAMES)

  function grow(rows: number): void {
    if (count + rows < off.length) return
    const room = Math.max(off.length * 2, count + rows + 1)
    off = enlarged(off, new Int32Array(room))
    wireBytes = enlarged(wireBytes, new Int32Array(room))
    link = enlarged(link, new Int32Array(room))
    iface = enlarged(iface, new Int32Array(room))
    nsec = enlarged(nsec, new Int32Array(room))
    sec = enlarged(sec, new Float64Array(room))
  }
  function growBytes(more: number): void {
    if (used + more <= bytes.length) return
    if (used + more > MAX_STORE_BYTES) {
      throw new CaptureError('ETOOBIG', path, `cannot preload ${path}: its packets take more than 2 GiB`)
    }
    bytes = enlarged(bytes, new Uint8Array(Math.min(Math.max(bytes.length * 2, used + more), MAX_STORE_BYTES)))
    view = new DataView(bytes.buffer)
  }
  try {
    do {
      for (let rows = reader.fill(); rows > 0; rows = reader.fill()) {
        grow(rows)
        for (let i = 0; i < rows; i++) {
          const from = frames.off[i]!, length = frames.capBytes[i]!
          growBytes(length)
          if (length > COPY_BY_WORDS_BYTES) bytes.set(frames.pool.subarray(from, from + length), used)
          else copyWords(frames.view, from, view, used, length)
          off[count] = used
          wireBytes[count] = frames.wireBytes[i]!
          link[count] = frames.link[i]!
          iface[count] = frames.iface[i]!
          sec[count] = frames.sec[i]!
          nsec[count] = frames.nsec[i]!
          used += length
          count++
        }
      }
    } while (await reader.more())
    off[count] = used
  } finally {
    await reader.close()
  }
  const { fault, interfaces, stats } = reader
  const [durationSec, durationNsec] = duration(sec, nsec, count)
  return {
    frames: count, bytes, off, wireBytes, link, iface, sec, nsec, durationSec, durationNsec, fault, interfaces,
    stats: { ...stats },
  }
}

function copyWords(source: DataView, from: number, target: DataView, to: number, bytes: number): void {
  const whole = bytes & ~3
  for (let i = 0; i < whole; i += 4) target.setInt32(to + i, source.getInt32(from + i, true), true)
  for (let i = whole; i < bytes; i++) target.setUint8(to + i, source.getUint8(from + i))
}

function enlarged<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from)
  return to
}

/** Captures are not always in order of time. */
function duration(sec: Float64Array, nsec: Int32Array, count: number): [sec: number, nsec: number] {
  if (count === 0) return [0, 0]
  let first = 0, last = 0
  for (let i = 1; i < count; i++) {
    if (sec[i]! < sec[first]! || sec[i]! === sec[first]! && nsec[i]! < nsec[first]!) first = i
    if (sec[i]! > sec[last]! || sec[i]! === sec[last]! && nsec[i]! > nsec[last]!) last = i
  }
  const ns = nsec[last]! - nsec[first]!
  return [sec[last]! - sec[first]! - (ns < 0 ? 1 : 0), ns < 0 ? ns + NS_PER_SEC : ns]
}

export interface LoopOptions {
  /** The part of the pool frames are copied to; longer than the longest packet. */
  poolStart: number
  poolEnd: number
  /** How often the capture is played. */
  loops: number
  /** Time between the last packet of one round and the first of the next, any whole number ≥ 0. */
  gapNs: number
}

export interface LoopDevice extends FrameSource {
  /** Rounds that were played to their end. */
  readonly loopsDone: number
}

/** Where a round is: the frame that comes next, and what to add to stamps. */
interface Round { first: number; shiftSec: number; shiftNsec: number }

type CopyRows = (store: CaptureStore, round: Round, poolStart: number, shareBytes: number) => number

/** One loop for a pool, as `createPcapLoop` says. */
const copyRowsOf = new WeakMap<Frames, CopyRows>()

function copyRowsFor(frames: Frames): CopyRows {
  let found = copyRowsOf.get(frames)
  if (found === undefined) copyRowsOf.set(frames, found = createCopyRows(frames))
  return found
}

function createCopyRows(frames: Frames): CopyRows {
  const { pool, capacity, off, capBytes, wireBytes, link, iface, sec, nsec } = frames
  return function copyRows(store, round, poolStart, shareBytes) {
    const { first, shiftSec, shiftNsec } = round
    const storeOff = store.off, storeWire = store.wireBytes, storeLink = store.link, storeIface = store.iface
    const storeSec = store.sec, storeNsec = store.nsec
    const from = storeOff[first]!, lastEnd = from + shareBytes, moved = poolStart - from
    const mostRows = Math.min(capacity, store.frames - first)
    let row = 0, end = from
    while (row < mostRows) {
      const i = first + row, start = end
      end = storeOff[i + 1]!
      if (end > lastEnd) {
        end = start
        break
      }
      let seconds = storeSec[i]! + shiftSec, ns = storeNsec[i]! + shiftNsec
      if (ns >= NS_PER_SEC) {
        ns -= NS_PER_SEC
        seconds += 1
      }
      off[row] = start + moved
      capBytes[row] = end - start
      wireBytes[row] = storeWire[i]!
      link[row] = storeLink[i]!
      iface[row] = storeIface[i]!
      sec[row] = seconds
      nsec[row] = ns
      row++
    }
    // One view for a whole batch: less than a byte a packet, and the copy runs at the speed of memory.
    pool.set(store.bytes.subarray(from, end), poolStart)
    return row
  }
}

/** Plays a store `loops` times. Each round is later by the capture's duration and the gap: time never runs back. */
export function createLoopDevice(store: CaptureStore, frames: Frames, options: LoopOptions): LoopDevice {
  const { poolStart, poolEnd, loops, gapNs } = options
  const roundNsec = store.durationNsec + gapNs % NS_PER_SEC
  const carry = roundNsec >= NS_PER_SEC ? 1 : 0
  const stepSec = store.durationSec + Math.floor(gapNs / NS_PER_SEC) + carry, stepNsec = roundNsec - carry * NS_PER_SEC
  const shareBytes = poolEnd - poolStart, total = store.frames
  for (let i = 0; i < total; i++) {
    if (store.off[i + 1]! - store.off[i]! > shareBytes) throw new RangeError('the longest packet does not fit the pool')
  }
  const copyRows = copyRowsFor(frames)
  const round = { first: 0, shiftSec: 0, shiftNsec: 0 }
  let loopsDone = total === 0 ? loops : 0

  function fill(): number {
    if (loopsDone >= loops) return 0
    const rows = copyRows(store, round, poolStart, shareBytes)
    round.first += rows
    if (round.first === total) nextRound()
    return rows
  }
  function nextRound(): void {
    round.first = 0
    loopsDone++
    round.shiftSec += stepSec
    round.shiftNsec += stepNsec
    if (round.shiftNsec >= NS_PER_SEC) {
      round.shiftNsec -= NS_PER_SEC
      round.shiftSec += 1
    }
  }
  return {
    fill,
    async more() { return loopsDone < loops },
    async close() { /* nothing is open */ },
    get loopsDone() { return loopsDone },
  }
}
