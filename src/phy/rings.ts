/** A device whose rings the addon has: what the drivers in it have in common. */
import { constants } from 'node:os'
import type { RingCalls } from './addon.ts'
import { DEVICE_COUNTERS, type Device } from './device.ts'

const OVERSIZED = DEVICE_COUNTERS.indexOf('oversized-frames')
const { EAGAIN, EBUSY, ENOBUFS } = constants.errno

export interface RingOptions {
  calls: RingCalls
  /** As `Device.spin`. */
  spin: (ns: number) => number
  number: number
  name: string
  driver: string
  mac: readonly number[]
  mtu: number
  /** Where devices have their frames, in the pool. */
  start: number
  end: number
  /** Pairs of offset and bytes: frames that wait for `stage`. */
  outbox: Int32Array
  counters: Float64Array
  isRemoved: () => boolean
  /** `release` takes back frames that were sent, too. */
  takesBack: boolean
}

export function createRingDevice(options: RingOptions): Device {
  const { calls, spin, number, name, driver, mac, mtu, start, end, outbox, counters, isRemoved, takesBack } = options
  const most = outbox.length >> 1
  let waiting = 0
  let isPending = false
  let isWatched = false
  let isHolding = false
  let see: ((list: Int32Array, frames: number) => void) | null = null

  function flush(): void {
    if (waiting === 0) return
    if (see !== null) see(outbox, waiting)
    calls.stage(number, waiting)
    waiting = 0
    isPending = true
  }

  /** With what is not staged yet, by the same call. */
  function kick(): boolean {
    if (waiting > 0) {
      if (see !== null) see(outbox, waiting)
    } else if (!isPending) return false
    const failed = calls.kick(number, waiting)
    waiting = 0
    // What an interface that is down could not send waits for the next frame.
    isPending = failed === EAGAIN || failed === EBUSY || failed === ENOBUFS
    return isPending
  }

  return {
    name, driver, mac, mtu, flush, kick, isRemoved, spin,
    receive(from, count) {
      isHolding = true
      return calls.receive(number, from, count)
    },
    release() {
      if (isHolding || takesBack) calls.release(number)
      isHolding = false
    },
    send(frameOff, bytes) {
      outbox[2 * waiting] = frameOff
      outbox[2 * waiting + 1] = bytes
      // What lies elsewhere is overwritten by what comes next.
      if (++waiting === most || frameOff < start || frameOff >= end) flush()
    },
    onSent(its) { see = its },
    arm() { calls.arm(number) },
    disarm() { calls.disarm(number) },
    onWake(wake) {
      if (isWatched) throw new Error('an interface wakes one listener')
      isWatched = true
      calls.watch(number, wake)
    },
    oversized: () => counters[OVERSIZED],
    failure: () => calls.failure(number),
    counters() {
      calls.statistics(number)
      return counters
    },
    close() { calls.close(number) },
  }
}
