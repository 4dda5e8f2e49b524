/**
 * A sorted list in pieces: entering and removing move a few hundred entries whatever the length, and a walk from any place costs
 * one search. For objects off the packet path, which are compared by a function; no two in a list compare alike.
 */
export interface Ordered<T> {
  readonly size: number
  /**
   * The entry that is looked for, or undefined. `compare`: below 0, 0 or above, as an entry stands to that.
   */
  find(compare: (entry: T) => number): T | undefined
  /** First entry for which `compare` is not below 0, or undefined. */
  from(compare: (entry: T) => number): T | undefined
  /** The entry after this one, which is in the list. */
  after(entry: T): T | undefined
  first(): T | undefined
  /** Enters what is not there yet. */
  add(entry: T): void
  /** The entry that compares alike; if there is none, this one, entered. */
  enter(entry: T): T
  /** Takes out what is there. */
  remove(entry: T): void
  /** All, in order; the list must not change meanwhile. */
  [Symbol.iterator](): Iterator<T>
}

/** A piece that grows beyond is halved; one that is empty goes. */
const MOST = 512

export function createOrdered<T>(order: (a: T, b: T) => number): Ordered<T> {
  const pieces: T[][] = []
  let size = 0

  /** First piece whose last entry does not stand before what is looked for. */
  function pieceOf(compare: (entry: T) => number): number {
    let low = 0, high = pieces.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const piece = pieces[middle]
      if (compare(piece[piece.length - 1]) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  function placeIn(piece: readonly T[], compare: (entry: T) => number): number {
    let low = 0, high = piece.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compare(piece[middle]) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  function from(compare: (entry: T) => number): T | undefined {
    const piece = pieces[pieceOf(compare)]
    return piece?.[placeIn(piece, compare)]
  }

  /* The same two for an entry, without a closure. */
  function pieceFor(entry: T): number {
    let low = 0, high = pieces.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const piece = pieces[middle]
      if (order(piece[piece.length - 1], entry) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  function placeFor(piece: readonly T[], entry: T): number {
    let low = 0, high = piece.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (order(piece[middle], entry) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  function enter(entry: T): T {
    const index = pieceFor(entry)
    if (index === pieces.length) {
      append(entry)
      return entry
    }
    const piece = pieces[index], place = placeFor(piece, entry), there = piece[place]
    if (order(there, entry) === 0) return there
    size++
    piece.splice(place, 0, entry)
    if (piece.length > MOST) pieces.splice(index + 1, 0, piece.splice(MOST >>> 1))
    return entry
  }

  /** Behind all others, where most come that are numbered; a full piece stays full. */
  function append(entry: T): void {
    size++
    const last = pieces.at(-1)
    if (last === undefined || last.length === MOST) pieces.push([entry])
    else last.push(entry)
  }

  function remove(entry: T): void {
    const index = pieceFor(entry), piece = pieces[index]
    const place = piece === undefined ? 0 : placeFor(piece, entry)
    if (piece?.[place] !== entry) return
    if (place === piece.length - 1) piece.pop()
    else piece.splice(place, 1)
    if (piece.length === 0) pieces.splice(index, 1)
    size--
  }

  return {
    get size() { return size },
    from, enter, remove,
    add(entry) { enter(entry) },
    find(compare) {
      const entry = from(compare)
      return entry !== undefined && compare(entry) === 0 ? entry : undefined
    },
    after: (entry) => from((other) => order(other, entry) <= 0 ? -1 : 1),
    first: () => pieces[0]?.[0],
    [Symbol.iterator]: () => pieces.flat()[Symbol.iterator](),
  }
}
