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

  function add(entry: T): void {
    const compare = (other: T) => order(other, entry)
    size++
    if (pieces.length === 0) {
      pieces.push([entry])
      return
    }
    const index = Math.min(pieceOf(compare), pieces.length - 1)
    const piece = pieces[index]
    piece.splice(placeIn(piece, compare), 0, entry)
    if (piece.length > MOST) pieces.splice(index + 1, 0, piece.splice(MOST >>> 1))
  }

  function remove(entry: T): void {
    const compare = (other: T) => order(other, entry)
    const index = pieceOf(compare)
    const piece = pieces[index]
    const place = piece === undefined ? 0 : placeIn(piece, compare)
    if (piece?.[place] !== entry) return
    piece.splice(place, 1)
    if (piece.length === 0) pieces.splice(index, 1)
    size--
  }

  return {
    get size() { return size },
    from, add, remove,
    find(compare) {
      const entry = from(compare)
      return entry !== undefined && compare(entry) === 0 ? entry : undefined
    },
    after: (entry) => from((other) => order(other, entry) <= 0 ? -1 : 1),
    first: () => pieces[0]?.[0],
    [Symbol.iterator]: () => pieces.flat()[Symbol.iterator](),
  }
}
