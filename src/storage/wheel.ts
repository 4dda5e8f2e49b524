/**
 * A hierarchical timer wheel over records that the caller owns: four levels of 256 buckets cover all of int32 milliseconds,
 * exact to the millisecond. Buckets are doubly linked through two words of the record, so nothing is allocated.
 *
 * Refreshing is lazy: a record whose deadline word moves *later* stays in its bucket and is put right when the bucket comes
 * up, so the packet that refreshes a flow touches no neighbour. A deadline that moves *earlier* needs `schedule` again.
 * Empty stretches are skipped by bit maps: a jump of a year costs what a jump of a millisecond does. Time is modulo 2^32, and
 * deadlines lie less than 2^31 ms ahead.
 */
export interface Wheel {
  /** Puts `slot` (≥ 1) where its deadline word says; takes it out of its old place first. */
  schedule(slot: number): void
  cancel(slot: number): void
  /** Moves on towards `nowMs`; gives the next slot whose deadline has passed, taken out, or 0 when time has arrived. */
  expire(nowMs: number): number
}

export interface WheelOptions {
  records: Int32Array
  /** Record of slot s starts at s << strideBits. */
  strideBits: number
  deadlineWord: number
  nextWord: number
  /** 0: in no bucket; > 0: the slot before; < 0: first of bucket -prev - 1. */
  prevWord: number
}

export function createWheel({ records, strideBits, deadlineWord, nextWord, prevWord }: WheelOptions): Wheel {
  const heads = new Int32Array(4 * 256)
  const occupied = new Int32Array(4 * 8)
  let time = 0

  function insert(slot: number): void {
    const base = slot << strideBits
    const deadline = records[base + deadlineWord]
    // The level is the highest byte in which deadline and time differ. What is late goes to the bucket of this instant.
    let bucket = time & 255
    if (((deadline - time) | 0) > 0) {
      const level = (31 - Math.clz32(deadline ^ time)) >>> 3
      bucket = (level << 8) | ((deadline >>> (level << 3)) & 255)
    }
    const first = heads[bucket]
    records[base + nextWord] = first
    records[base + prevWord] = -bucket - 1
    if (first !== 0) records[(first << strideBits) + prevWord] = slot
    else occupied[bucket >>> 5] |= 1 << (bucket & 31)
    heads[bucket] = slot
  }

  function cancel(slot: number): void {
    const base = slot << strideBits
    const prev = records[base + prevWord]
    if (prev === 0) return
    const next = records[base + nextWord]
    if (next !== 0) records[(next << strideBits) + prevWord] = prev
    if (prev > 0) records[(prev << strideBits) + nextWord] = next
    else {
      const bucket = -prev - 1
      heads[bucket] = next
      if (next === 0) occupied[bucket >>> 5] &= ~(1 << (bucket & 31))
    }
    records[base + prevWord] = 0
  }

  function schedule(slot: number): void {
    cancel(slot)
    insert(slot)
  }

  /** First occupied bucket of `level` with a number above `digit`, or -1. */
  function above(level: number, digit: number): number {
    let word = (level << 3) + (digit >>> 5)
    const last = (level << 3) + 8
    // Shifting twice keeps a shift by 32 from being a shift by 0.
    let bits = occupied[word] & ((-1 << (digit & 31)) << 1)
    for (;;) {
      if (bits !== 0) return ((word << 5) + 31 - Math.clz32(bits & -bits)) & 255
      if (++word === last) return -1
      bits = occupied[word]
    }
  }

  /** Empties a bucket of a higher level whose time has come into the levels below. */
  function cascade(bucket: number): void {
    let slot = heads[bucket]
    heads[bucket] = 0
    occupied[bucket >>> 5] &= ~(1 << (bucket & 31))
    while (slot !== 0) {
      const next = records[(slot << strideBits) + nextWord]
      records[(slot << strideBits) + prevWord] = 0
      insert(slot)
      slot = next
    }
  }

  /** Steps to the next occupied bucket not after `nowMs`, or to `nowMs`. False when `nowMs` is reached with nothing to do. */
  function step(nowMs: number): boolean {
    let at = above(0, time & 255)
    let level = 0
    let when = (time & ~255) | at
    if (at < 0) {
      level = 1
      at = above(1, (time >>> 8) & 255)
      when = (time & ~0xffff) | (at << 8)
    }
    if (at < 0) {
      level = 2
      at = above(2, (time >>> 16) & 255)
      when = (time & ~0xffffff) | (at << 16)
    }
    if (at < 0) {
      level = 3
      at = above(3, time >>> 24)
      // The top level is a ring: time wraps there.
      if (at < 0) at = (occupied[24] & 1) !== 0 ? 0 : above(3, 0)
      when = at << 24
    }
    if (at < 0 || ((when - nowMs) | 0) > 0) {
      time = nowMs
      return false
    }
    time = when
    if (level > 0) cascade((level << 8) | at)
    return true
  }

  function expire(nowMs: number): number {
    for (;;) {
      for (let slot = heads[time & 255]; slot !== 0; slot = heads[time & 255]) {
        cancel(slot)
        if (((records[(slot << strideBits) + deadlineWord] - time) | 0) <= 0) return slot
        insert(slot)
      }
      if (time === nowMs || !step(nowMs)) return 0
    }
  }

  return { schedule, cancel, expire }
}
