/**
 * Packets for a box without interfaces: those of a capture, over and over if wished, at the pace of their stamps. Each arrives when
 * it is its turn, so it is stamped with the time of the box, as an interface would do it.
 */
import type { Plane } from '../../plane/plane.ts'
import { createLoopDevice, type CaptureStore } from '../../phy/preload.ts'
import type { Frames } from '../../wire/frames.ts'
import type { PoolShare } from '../compose.ts'
import type { Traffic } from './turns.ts'

export interface TrafficOptions extends PoolShare {
  store: CaptureStore
  frames: Frames
  plane: Plane
  /** Capture seconds in a second; 0: as fast as it goes. */
  pace: number
  loops: number
  /** The last packet has had its turn, so many altogether. */
  onOver(packets: number): void
}

/** Between the last packet of one round and the first of the next. */
const LOOP_GAP_NS = 1_000_000
/** What is due within this is due: a timer for less would be late. */
const SOON_MS = 1

export interface PlayedTraffic extends Traffic {
  packets(): number
}

export function createTraffic({ store, frames, plane, pace, loops, onOver, poolStart, poolEnd }: TrafficOptions): PlayedTraffic {
  const { sec, nsec } = frames
  const device = createLoopDevice(store, frames, { poolStart, poolEnd, loops, gapNs: LOOP_GAP_NS })
  // Rows `done` … `count`-1 of the batch are still to come, with the stamps of the capture.
  let count = 0
  let done = 0
  let isOver = false
  let packets = 0
  let firstStampMs = NaN
  let firstMs = 0

  const stampMs = (i: number) => sec[i] * 1000 + nsec[i] / 1e6

  function fill(): boolean {
    if (done < count) return true
    if (isOver) return false
    count = device.fill()
    done = 0
    isOver = count === 0
    if (isOver) {
      onOver(packets)
      return false
    }
    plane.begin(count)
    return true
  }

  function dueMs(i: number): number {
    return pace === 0 ? firstMs : firstMs + (stampMs(i) - firstStampMs) / pace
  }

  return {
    turn(nowMs) {
      if (!fill()) return false
      const now = nowMs()
      if (Number.isNaN(firstStampMs)) {
        firstStampMs = stampMs(done)
        firstMs = now
      }
      let due = done
      while (due < count && dueMs(due) < now + SOON_MS) due++
      for (let i = done; i < due; i++) {
        sec[i] = Math.floor(now / 1000)
        nsec[i] = now % 1000 * 1e6
      }
      packets += due - done
      if (due > done) done = plane.run(done, due)
      return done < count ? dueMs(done) < now + SOON_MS : pace === 0 && !isOver
    },
    nextMs() {
      return fill() ? dueMs(done) : Infinity
    },
    packets: () => packets,
  }
}
