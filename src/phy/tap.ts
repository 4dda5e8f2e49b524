/**
 * What passes the interfaces of a live box, copied for whoever records it: a ring in shared memory with one writer, the thread that
 * forwards, and one reader, another thread. The writer never waits: where there is no room, frames are lost and counted.
 *
 * Behind the control words lie records, each a multiple of eight bytes long and in one piece. Positions count bytes since the
 * beginning, modulo 2^32; the length of the ring divides that.
 */
import type { Frames } from '../wire/frames.ts'

/* Control words. */
const HEAD = 0, TAIL = 1, WANTED = 2, SNAP = 3
/** Frames lost, by what they were: four words. */
const LOST = 4
const CONTROL_BYTES = 64

// A record. The length alone, negative, stands where the rest of the ring is too short for the next one.
//   0 bytes of the record   4 bytes kept of the frame   8 bytes that it had   12 marks   16 seconds since 1970   24 nanoseconds
const KEPT = 4, WIRE = 8, MARKS = 12, SEC = 16, NSEC = 24, FRAME = 32

/** Marks of a frame: its side, SIDE_ constant; whether the box sent it; whether it was for the box itself. */
export const MARK_OUTSIDE = 1, MARK_SENT = 2, MARK_OWN = 4
/** Kinds of frames that can be asked for and counted: side and whether sent. */
export const KINDS = 4
export const EVERYTHING = (1 << KINDS) - 1

/** A power of two, of which a batch of the longest frames takes a small part. */
export const TAP_BYTES = 1 << 24

/** @param bytes a power of two */
export function createTapMemory(bytes = TAP_BYTES): SharedArrayBuffer {
  return new SharedArrayBuffer(CONTROL_BYTES + bytes)
}

export interface Tap {
  /** Somebody records. Costs a load. */
  isWanted(): boolean
  /** Rows 0 … count-1 have come. */
  received(count: number): void
  /** Of those, rows 0 … rows-1 are left, in the same order; all others were for the box itself. */
  kept(rows: number): void
  /** Frames that leave by `side`: pairs of offset and length. */
  sent(side: number, list: Int32Array, frames: number): void
  /** Shows the reader what was put in. */
  publish(): void
}

/** The writer's end. @param nowMs milliseconds since 1970, with fractions; never goes back */
export function createTap(frames: Frames, memory: SharedArrayBuffer, nowMs: () => number): Tap {
  const { pool, off, capBytes, wireBytes, iface, capacity } = frames
  const control = new Int32Array(memory, 0, CONTROL_BYTES >> 2)
  const ring = new Uint8Array(memory, CONTROL_BYTES), view = new DataView(memory, CONTROL_BYTES)
  const mask = ring.length - 1
  /** Of the frames that came last: where they are in the pool, and their records in the ring, or -1. */
  const cameOff = new Int32Array(capacity), cameAt = new Int32Array(capacity)
  let came = 0
  let head = 0
  let tail = 0
  let sec = 0
  let nsec = 0

  function stamp(): void {
    const ms = nowMs()
    sec = Math.floor(ms / 1000)
    nsec = Math.floor((ms - sec * 1000) * 1e6)
  }

  function hasRoom(bytes: number): boolean {
    if (ring.length - (head - tail | 0) >= bytes) return true
    tail = Atomics.load(control, TAIL)
    return ring.length - (head - tail | 0) >= bytes
  }

  /** Where its record begins, or -1. */
  function put(at: number, bytes: number, wire: number, marks: number): number {
    const kept = Math.min(bytes, control[SNAP]), record = FRAME + kept + 7 & ~7
    const rest = ring.length - (head & mask), skipped = rest < record ? rest : 0
    if (!hasRoom(record + skipped)) {
      control[LOST + (marks & 3)]++
      return -1
    }
    if (skipped > 0) {
      view.setInt32(head & mask, -skipped)
      head = head + skipped | 0
    }
    const to = head & mask
    view.setInt32(to, record)
    view.setInt32(to + KEPT, kept)
    view.setInt32(to + WIRE, wire)
    view.setInt32(to + MARKS, marks)
    view.setFloat64(to + SEC, sec)
    view.setInt32(to + NSEC, nsec)
    ring.set(pool.subarray(at, at + kept), to + FRAME)
    head = head + record | 0
    return to
  }

  return {
    isWanted: () => control[WANTED] !== 0,
    received(count) {
      stamp()
      came = count
      const wanted = control[WANTED]
      for (let i = 0; i < count; i++) {
        cameOff[i] = off[i]
        cameAt[i] = (wanted >> iface[i] & 1) === 0 ? -1 : put(off[i], capBytes[i], wireBytes[i], iface[i])
      }
    },
    kept(rows) {
      for (let i = 0, left = 0; i < came; i++) {
        if (left < rows && off[left] === cameOff[i]) left++
        else if (cameAt[i] >= 0) view.setInt32(cameAt[i] + MARKS, view.getInt32(cameAt[i] + MARKS) | MARK_OWN)
      }
      came = 0
    },
    sent(side, list, count) {
      const marks = side | MARK_SENT
      if ((control[WANTED] >> marks & 1) === 0) return
      stamp()
      for (let i = 0; i < count; i++) put(list[2 * i], list[2 * i + 1], list[2 * i + 1], marks)
    },
    publish() { Atomics.store(control, HEAD, head) },
  }
}

/** A frame of the ring, as `read` shows it. Valid until `visit` returns. */
export interface Tapped {
  /** Where its bytes are in the memory. */
  off: number
  keptBytes: number
  wireBytes: number
  marks: number
  sec: number
  nsec: number
}

export interface TapReader {
  /** All of the memory, which `off` is about. */
  readonly bytes: Uint8Array
  /** Has frames of these kinds copied from now on, a bit for each, as far as `snapBytes`. */
  want(kinds: number, snapBytes: number): void
  /** Nothing more; what is there can still be read. */
  stop(): void
  /** Shows frames one by one, until `visit` is false, or all that are there were shown: then true. */
  read(visit: (one: Tapped) => boolean): boolean
  /** Frames of a kind that were lost since `want`: the ring was full. */
  lost(kind: number): number
}

/** The reader's end. */
export function createTapReader(memory: SharedArrayBuffer): TapReader {
  const control = new Int32Array(memory, 0, CONTROL_BYTES >> 2)
  const view = new DataView(memory, CONTROL_BYTES)
  const mask = view.byteLength - 1
  const $one: Tapped = { off: 0, keptBytes: 0, wireBytes: 0, marks: 0, sec: 0, nsec: 0 }
  return {
    bytes: new Uint8Array(memory),
    want(kinds, snapBytes) {
      Atomics.store(control, TAIL, Atomics.load(control, HEAD))
      for (let kind = 0; kind < KINDS; kind++) Atomics.store(control, LOST + kind, 0)
      Atomics.store(control, SNAP, snapBytes)
      Atomics.store(control, WANTED, kinds)
    },
    stop() { Atomics.store(control, WANTED, 0) },
    read(visit) {
      const head = Atomics.load(control, HEAD)
      let tail = control[TAIL]
      let more = true
      while (more && tail !== head) {
        const at = tail & mask, bytes = view.getInt32(at)
        if (bytes > 0) {
          $one.off = CONTROL_BYTES + at + FRAME
          $one.keptBytes = view.getInt32(at + KEPT)
          $one.wireBytes = view.getInt32(at + WIRE)
          $one.marks = view.getInt32(at + MARKS)
          $one.sec = view.getFloat64(at + SEC)
          $one.nsec = view.getInt32(at + NSEC)
          more = visit($one)
        }
        tail = tail + Math.abs(bytes) | 0
      }
      Atomics.store(control, TAIL, tail)
      return tail === head
    },
    lost: (kind) => Atomics.load(control, LOST + kind),
  }
}
