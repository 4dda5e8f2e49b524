/**
 * When which rule is to be looked at: a heap of slots by time, of equals the lowest slot first. A heap and not the timer wheel of
 * storage, because the order within a millisecond is part of the contract, lifetimes may be longer than the wheel's 24 days, and
 * the caller sleeps until the first deadline. Entering what ends last, the common case, costs one comparison.
 *
 * A place has four children, whose times lie side by side in one line of the cache: from the first to the last place a rule passes
 * half as many lines as with two, and none of a rule that it does not change places with.
 */
export interface Deadlines {
  /** Enters a slot (≥ 1) or moves it. */
  set(slot: number, atMs: number): void
  remove(slot: number): void
  /** Slot that is due first, or 0, and when. */
  first(): number
  firstMs(): number
  readonly bytes: () => number
}

/** The children of place p are 4 (p - 2) and the three that follow, so those of the first place begin at a multiple of four. */
const FIRST = 3

/** @param slots highest slot */
export function createDeadlines(slots: number): Deadlines {
  /** By place: slot and its time. */
  const heap = new Int32Array(slots + FIRST), times = new Float64Array(slots + FIRST)
  /** By slot; 0: nowhere. */
  const place = new Int32Array(slots + 1)
  let last = FIRST - 1

  function put(at: number, slot: number, atMs: number): void {
    heap[at] = slot
    times[at] = atMs
    place[slot] = at
  }

  /** Is what stands at `at` due after this slot? */
  function isAfter(at: number, slot: number, atMs: number): boolean {
    return times[at] > atMs || (times[at] === atMs && heap[at] > slot)
  }

  /** Finds the place of a slot from the empty one at `at` on, towards the first. */
  function rise(at: number, slot: number, atMs: number): void {
    while (at > FIRST) {
      const parent = (at >>> 2) + 2
      if (!isAfter(parent, slot, atMs)) break
      put(at, heap[parent], times[parent])
      at = parent
    }
    put(at, slot, atMs)
  }

  /** The same towards the last. */
  function sink(at: number, slot: number, atMs: number): void {
    for (let child = at - 2 << 2; child <= last; child = at - 2 << 2) {
      let least = child
      const end = Math.min(child + 3, last)
      for (let other = child + 1; other <= end; other++) if (isAfter(least, heap[other], times[other])) least = other
      if (isAfter(least, slot, atMs)) break
      put(at, heap[least], times[least])
      at = least
    }
    put(at, slot, atMs)
  }

  function settle(at: number, slot: number, atMs: number): void {
    if (at > FIRST && isAfter((at >>> 2) + 2, slot, atMs)) rise(at, slot, atMs)
    else sink(at, slot, atMs)
  }

  function set(slot: number, atMs: number): void {
    if (place[slot] === 0) rise(++last, slot, atMs)
    else settle(place[slot], slot, atMs)
  }

  function remove(slot: number): void {
    const at = place[slot]
    if (at === 0) return
    place[slot] = 0
    const from = last--
    if (from !== at) settle(at, heap[from], times[from])
  }

  return {
    set, remove,
    first: () => last < FIRST ? 0 : heap[FIRST],
    firstMs: () => times[FIRST],
    bytes: () => times.byteLength + heap.byteLength + place.byteLength,
  }
}
