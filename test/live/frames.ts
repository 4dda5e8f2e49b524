/** Frames into and out of devices, for tests of drivers by themselves. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Device } from '../../src/phy/device.ts'
import type { Frames } from '../../src/wire/frames.ts'

/** `spare`: where in the pool nothing of a device is. */
export interface Pool { frames: Frames; spare: number }

/** Has them taken at once, from memory that is nobody's. */
export function put({ frames, spare }: Pool, by: Device, all: readonly Uint8Array[]): void {
  for (const frame of all) {
    frames.pool.set(frame, spare)
    by.send(spare, frame.length)
  }
  by.flush()
}

/** What waits, row by row, in copies. */
export function rows({ frames }: Pick<Pool, 'frames'>, device: Device, most = 256, from = 0): Uint8Array[] {
  const many = device.receive(from, most)
  return Array.from({ length: many }, (_, i) => {
    const row = from + i
    assert.equal(frames.wireBytes[row], frames.capBytes[row])
    return frames.pool.slice(frames.off[row], frames.off[row]! + frames.capBytes[row]!)
  })
}

/** A device is woken once after each arming by what `send` sends it, and not after disarming. What it is told, now and later. */
export async function wokenByFrames(device: Device, send: () => Promise<void>): Promise<boolean[]> {
  const woken: boolean[] = []
  device.onWake((hasFailed) => woken.push(hasFailed))
  await send()
  assert.deepEqual(woken, [])
  device.arm()
  await sleep(20)
  assert.deepEqual(woken, [false])
  await send()
  assert.deepEqual(woken, [false])
  assert.equal(device.receive(0, 256), 2)
  device.release()
  device.arm()
  device.disarm()
  await send()
  assert.deepEqual(woken, [false])
  return woken
}
