/** The structures beside the flow table: port sets and the timer wheel. */
import { createPrng } from '../../src/base/prng.ts'
import { createPortSets } from '../../src/storage/port-set.ts'
import { createWheel } from '../../src/storage/wheel.ts'
import { OPERATIONS, type Task } from './task.ts'

const LOW = 1024, HIGH = 65535

/** Frees a port and takes the first free one from a random place on, at a constant load. */
export function allocFree(load: number): Task {
  const { take, release, firstFree } = createPortSets(1)
  const { next } = createPrng(1)
  const many = Math.floor((HIGH - LOW + 1) * load)
  // A random choice of ports, each held by one place of `held`.
  const held = Int32Array.from({ length: HIGH - LOW + 1 }, (_, i) => LOW + i)
  for (let i = held.length - 1; i > 0; i--) {
    const j = Math.floor((next() >>> 0) / 2 ** 32 * (i + 1))
    const kept = held[i]
    held[i] = held[j]
    held[j] = kept
  }
  for (let i = 0; i < many; i++) take(0, held[i])
  let at = 0, random = 1, failed = 0
  return {
    run() {
      for (let n = 0; n < OPERATIONS; n++) {
        random = Math.imul(random, 1664525) + 1013904223 | 0
        release(0, held[at])
        const parity = held[at] & 1
        let port = firstFree(0, LOW + (random >>> 16) % (HIGH - LOW + 1), HIGH, parity)
        if (port < 0) port = firstFree(0, LOW, HIGH, parity)
        if (port < 0) failed++
        else take(0, port)
        held[at] = port
        at = at + 1 === many ? 0 : at + 1
      }
    },
    isRight: () => failed === 0,
  }
}

const STRIDE_BITS = 2, DEADLINE = 0, NEXT = 1, PREV = 2
const RECORDS = 1 << 20
const LIFE_MS = 300_000

function wheel() {
  const records = new Int32Array((RECORDS + 1) << STRIDE_BITS)
  const timers = createWheel({ records, strideBits: STRIDE_BITS, deadlineWord: DEADLINE, nextWord: NEXT, prevWord: PREV })
  const { next } = createPrng(1)
  for (let slot = 1; slot <= RECORDS; slot++) {
    records[(slot << STRIDE_BITS) + DEADLINE] = 1 + (next() >>> 0) % LIFE_MS
    timers.schedule(slot)
  }
  return { records, timers }
}

/** What a packet does to the timer of its flow: a deadline that moves later, which the wheel is not told. And what that costs
 * when the bucket comes up: time moves on by a thousandth of a life with each thousandth of the table refreshed. */
export function refresh(): Task {
  const { records, timers: { expire } } = wheel()
  let now = 0, at = 1, left = 0, expired = 0
  return {
    run() {
      for (let n = 0; n < OPERATIONS; n++) {
        records[(at << STRIDE_BITS) + DEADLINE] = now + LIFE_MS | 0
        at = at === RECORDS ? 1 : at + 1
      }
      // The whole table is refreshed in two thirds of a life.
      left += OPERATIONS * LIFE_MS * 2 / 3 / RECORDS
      now = now + Math.floor(left) | 0
      left -= Math.floor(left)
      while (expire(now) !== 0) expired++
    },
    isRight: () => expired < RECORDS,
  }
}

/** Timers that end and are set anew: as many as the wheel holds in one life. */
export function churn(): Task {
  const { records, timers: { expire, schedule } } = wheel()
  let now = 0, done = 0
  return {
    run() {
      for (let n = 0; n < OPERATIONS;) {
        const slot = expire(now)
        if (slot === 0) {
          now = now + 1 | 0
          continue
        }
        records[(slot << STRIDE_BITS) + DEADLINE] = now + LIFE_MS | 0
        schedule(slot)
        n++
        done++
      }
    },
    isRight: () => done > 0,
  }
}
