/**
 * Frames that one worker hands to another: a ring in shared memory for each pair, one writer and one reader. They lie in the pool
 * of both, so that they are copied once. A full ring loses the frame, as that of an interface does.
 */
import { liveCounterIndex } from '../../plane/live-counters.ts'
import { LINK_ETHERNET, type Frames } from '../../wire/frames.ts'
import {
  HANDED_BYTES, HANDED_FRAMES, HANDED_HEADER_BYTES, HANDED_KIND, handedSlotBytes, ringOf, type MemoryShape,
} from './memory.ts'

/** Kinds: SIDE_ constants, TURNED, and what neighbours say, which all workers hear, by the side it came from. */
export const HEARD = 4

export interface HandoverOptions {
  frames: Frames
  shape: MemoryShape
  worker: number
  /** Heads of the rings, 16 words each. */
  heads: Int32Array
  /** Where the frames of the rings begin in the pool. */
  start: number
  /** Of the box. */
  counters: Float64Array
}

export interface Handover {
  /** Copies the frame for that worker. */
  give(to: number, off: number, bytes: number, kind: number): void
  /** Does anything wait for this worker? */
  isWaiting(): boolean
  /**
   * Fills rows from 0 on with frames of others, with their kind as `iface`. What is HEARD goes to `hear` instead. They stay until
   * `release`.
   */
  receive(most: number, hear: (off: number, end: number, side: number) => void): number
  release(): void
  /** Workers that have got something since it was asked last, a bit each. */
  givenTo(): number
}

export function createHandover({ frames, shape, worker, heads, start, counters }: HandoverOptions): Handover {
  const { pool, view, off: offs, capBytes, wireBytes, link, iface } = frames
  const { workers } = shape
  const slotBytes = handedSlotBytes(shape), mostBytes = slotBytes - HANDED_HEADER_BYTES
  const WRITTEN = 0, READ = 1
  const GIVEN = liveCounterIndex('handed-on-frames'), TAKEN = liveCounterIndex('taken-over-frames')
  const LOST = liveCounterIndex('handover-drops')
  /** How far each ring to this worker was looked at. */
  const seen = new Int32Array(workers)
  for (let from = 0; from < workers; from++) seen[from] = heads[16 * ringOf(from, worker, workers) + READ]
  let given = 0

  const slotOf = (ring: number, number: number) => start + (ring * HANDED_FRAMES + (number & HANDED_FRAMES - 1)) * slotBytes

  return {
    give(to, off, bytes, kind) {
      const ring = ringOf(worker, to, workers), at = 16 * ring, written = heads[at + WRITTEN]
      if ((written - Atomics.load(heads, at + READ) | 0) >= HANDED_FRAMES || bytes > mostBytes) {
        counters[LOST]++
        return
      }
      const slot = slotOf(ring, written)
      view.setInt32(slot + HANDED_BYTES, bytes)
      view.setInt32(slot + HANDED_KIND, kind)
      pool.copyWithin(slot + HANDED_HEADER_BYTES, off, off + bytes)
      Atomics.store(heads, at + WRITTEN, written + 1 | 0)
      counters[GIVEN]++
      given |= 1 << to
    },
    isWaiting() {
      for (let from = 0; from < workers; from++) {
        const at = 16 * ringOf(from, worker, workers)
        if (Atomics.load(heads, at + WRITTEN) !== heads[at + READ]) return true
      }
      return false
    },
    receive(most, hear) {
      let rows = 0
      for (let from = 0; from < workers; from++) {
        const ring = ringOf(from, worker, workers), written = Atomics.load(heads, 16 * ring + WRITTEN)
        for (; seen[from] !== written && rows < most; seen[from]++) {
          const slot = slotOf(ring, seen[from]), kind = view.getInt32(slot + HANDED_KIND)
          // What a worker that died may have left half written is within its slot, whatever it says.
          const bytes = Math.min(Math.max(view.getInt32(slot + HANDED_BYTES), 0), mostBytes), at = slot + HANDED_HEADER_BYTES
          if (kind >= HEARD) {
            hear(at, at + bytes, kind - HEARD)
            continue
          }
          offs[rows] = at
          capBytes[rows] = wireBytes[rows] = bytes
          link[rows] = LINK_ETHERNET
          iface[rows] = kind
          rows++
          counters[TAKEN]++
        }
      }
      return rows
    },
    release() {
      for (let from = 0; from < workers; from++) Atomics.store(heads, 16 * ringOf(from, worker, workers) + READ, seen[from])
    },
    givenTo() {
      const to = given
      given = 0
      return to
    },
  }
}
