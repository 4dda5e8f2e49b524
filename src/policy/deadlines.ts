/**
 * When which rule is to be looked at: a binary heap of slots by time, of equals the lowest slot first. A heap and not the timer
 * wheel of storage, because the order within a millisecond is part of the contract, lifetimes may be longer than the wheel's 24
 * days, and the caller sleeps until the first deadline. Entering what ends last, the common case, costs one comparison.
 */
export interface Deadlines {
  /** Enters a slot (≥ 1) or moves it. */
  set(slot: number, atMs: number): void
  remove(slot: number): void
  /** Slot that is due first, or 0. */
  first(): number
  atMs(slot: number): number
  readonly bytes: () => number
}

/** @param slots highest slot */
export function createDeadlines(slots: number): Deadlines {
  const times = new Float64Array(slots + 1)
  /** heap[1 … count]: slots; place[slot]: where it stands there, 0: nowhere. */
  const heap = new Int32Array(slots + 1)
  const place = new Int32Array(slots + 1)
  let count = 0

  function before(a: number, b: number): boolean {
    return times[a] < times[b] || (times[a] === times[b] && a < b)
  }

  function rise(at: number, slot: number): void {
    while (at > 1) {
      const parent = heap[at >>> 1]
      if (!before(slot, parent)) break
      heap[at] = parent
      place[parent] = at
      at >>>= 1
    }
    heap[at] = slot
    place[slot] = at
  }

  function sink(at: number, slot: number): void {
    for (;;) {
      let child = at * 2
      if (child > count) break
      if (child < count && before(heap[child + 1], heap[child])) child++
      const lesser = heap[child]
      if (!before(lesser, slot)) break
      heap[at] = lesser
      place[lesser] = at
      at = child
    }
    heap[at] = slot
    place[slot] = at
  }

  function settle(at: number, slot: number): void {
    if (at > 1 && before(slot, heap[at >>> 1])) rise(at, slot)
    else sink(at, slot)
  }

  function set(slot: number, atMs: number): void {
    times[slot] = atMs
    if (place[slot] === 0) rise(++count, slot)
    else settle(place[slot], slot)
  }

  function remove(slot: number): void {
    const at = place[slot]
    if (at === 0) return
    place[slot] = 0
    const last = heap[count--]
    if (last !== slot) settle(at, last)
  }

  return {
    set, remove,
    first: () => count === 0 ? 0 : heap[1],
    atMs: (slot) => times[slot],
    bytes: () => times.byteLength + heap.byteLength + place.byteLength,
  }
}
