/**
 * Ranges of 16-bit numbers that overlap, each with a priority: which of those around a number comes first?
 *
 * A range is cut into at most 30 aligned pieces, as in a segment tree. Four of its levels make one node of 32 words, so a
 * number passes four nodes: those of its first 0, 4, 8 and 12 bits. Pieces that are the same for several ranges form a heap with
 * the best on top. Where in the heap an item may stand is given by the bits of its own number, one a level, so that it is found
 * again without a link upwards, and the heap is as deep as a random tree, whatever the order of insertions.
 *
 * Memory is taken in chunks, so growing costs the same at any size.
 */
export interface RangeTries {
  /** An empty trie. Its number is a multiple of 32 and above 0. */
  create(): number
  /** Frees an empty trie. */
  destroy(root: number): void
  isEmpty(root: number): boolean
  /** `item` > 0 is in a trie at most once. Of equal priorities the lower item comes first. */
  insert(root: number, low: number, high: number, priority: number, item: number): void
  /** Takes out what was inserted with these very numbers. */
  remove(root: number, low: number, high: number, item: number): void
  /** Begins a search for items whose range holds `port`. One search at a time. */
  start(root: number, port: number): void
  /** The next item with priority ≤ `limit`, or 0. Of the items behind it none comes before it; they are only shown if it is
   * followed by `descend`. */
  next(limit: number): number
  /** The item that `next` gave last was of no use: show those behind it. */
  descend(): void
  bytes(): number
}

const CHUNK_BITS = 14, CHUNK_WORDS = 1 << CHUNK_BITS, CHUNK_MASK = CHUNK_WORDS - 1

// A node: 0 pointers in use   1 heap of the whole node   2..15 heaps of its halves, quarters and eighths
//         16..31 nodes below, or in the last level heaps of single numbers. A free node links through word 1.
const NODE_WORDS = 32
// An item of a heap. A free one links through word LEFT.
const PRIORITY = 0, ITEM = 1, LEFT = 2
const ITEM_WORDS = 4
const LEVELS = 4

export function createRangeTries(): RangeTries {
  const chunks: Int32Array[] = []
  /** Heaps to look at: 17 to begin with, and one more for each level that a search goes down in one of them. */
  const stack = new Int32Array(64)
  const path = new Int32Array(LEVELS)
  let top = 0, shown = 0
  let freeNode = 0, freeItem = 0
  // Number 0 is nothing, so the first node stays unused.
  let fresh = NODE_WORDS

  function read(id: number): number {
    return chunks[id >>> CHUNK_BITS][id & CHUNK_MASK]
  }

  function write(id: number, value: number): void {
    chunks[id >>> CHUNK_BITS][id & CHUNK_MASK] = value
  }

  function takeNode(): number {
    let node = freeNode
    if (node !== 0) {
      freeNode = read(node + 1)
      write(node + 1, 0)
      return node
    }
    node = fresh
    fresh += NODE_WORDS
    if (node >>> CHUNK_BITS >= chunks.length) chunks.push(new Int32Array(CHUNK_WORDS))
    return node
  }

  function giveNode(node: number): void {
    write(node + 1, freeNode)
    freeNode = node
  }

  function takeItem(): number {
    if (freeItem === 0) {
      const node = takeNode()
      for (let id = node + NODE_WORDS - ITEM_WORDS; id >= node; id -= ITEM_WORDS) {
        write(id + LEFT, freeItem)
        freeItem = id
      }
    }
    const id = freeItem
    freeItem = read(id + LEFT)
    return id
  }

  /** Bit `depth` of the way of an item. The product is another number for each item, so 32 bits part any two. */
  function side(item: number, depth: number): number {
    return Math.imul(item, 0x9e3779b1) >>> (31 - depth) & 1
  }

  function isBefore(a: number, b: number): boolean {
    const difference = read(a + PRIORITY) - read(b + PRIORITY)
    return difference !== 0 ? difference < 0 : read(a + ITEM) < read(b + ITEM)
  }

  function heapInsert(at: number, priority: number, item: number): void {
    let carried = takeItem()
    write(carried + PRIORITY, priority)
    write(carried + ITEM, item)
    write(carried + LEFT, 0)
    write(carried + LEFT + 1, 0)
    for (let depth = 0; ; depth++) {
      let there = read(at)
      if (there === 0) {
        write(at, carried)
        return
      }
      if (isBefore(carried, there)) {
        write(at, carried)
        write(carried + LEFT, read(there + LEFT))
        write(carried + LEFT + 1, read(there + LEFT + 1))
        write(there + LEFT, 0)
        write(there + LEFT + 1, 0)
        const lower = there
        there = carried
        carried = lower
      }
      at = there + LEFT + side(read(carried + ITEM), depth)
    }
  }

  /** Everything below the item that goes moves up along its own way: the better of two each time. */
  function heapRemove(at: number, item: number): void {
    let depth = 0
    while (read(read(at) + ITEM) !== item) at = read(at) + LEFT + side(item, depth++)
    for (;;) {
      const gone = read(at)
      const left = read(gone + LEFT), right = read(gone + LEFT + 1)
      if (left === 0 && right === 0) {
        write(at, 0)
        write(gone + LEFT, freeItem)
        freeItem = gone
        return
      }
      const better = left === 0 || (right !== 0 && isBefore(right, left)) ? 1 : 0
      const up = better === 0 ? left : right
      write(gone + PRIORITY, read(up + PRIORITY))
      write(gone + ITEM, read(up + ITEM))
      at = gone + LEFT + better
    }
  }

  /** Level of the node that keeps a piece. Pieces are numbered as in a heap: 1 is all, 2 and 3 its halves, 2^16 + n is n. */
  function levelOf(piece: number): number {
    return Math.min(31 - Math.clz32(piece) >>> 2, LEVELS - 1)
  }

  function insertPiece(root: number, piece: number, priority: number, item: number): void {
    const level = levelOf(piece), below = 31 - Math.clz32(piece) - 4 * level
    let node = root
    for (let n = 1; n <= level; n++) {
      const at = node + 16 + (piece >>> below + 4 * (level - n) & 15)
      let child = read(at)
      if (child === 0) {
        child = takeNode()
        write(at, child)
        write(node, read(node) + 1)
      }
      node = child
    }
    const at = node + (1 << below | piece & (1 << below) - 1)
    if (read(at) === 0) write(node, read(node) + 1)
    heapInsert(at, priority, item)
  }

  function removePiece(root: number, piece: number, item: number): void {
    const level = levelOf(piece), below = 31 - Math.clz32(piece) - 4 * level
    let node = root
    for (let n = 1; n <= level; n++) {
      path[n] = node + 16 + (piece >>> below + 4 * (level - n) & 15)
      node = read(path[n])
    }
    const at = node + (1 << below | piece & (1 << below) - 1)
    heapRemove(at, item)
    if (read(at) !== 0) return
    for (let n = level; ; n--) {
      write(node, read(node) - 1)
      if (n === 0 || read(node) !== 0) return
      giveNode(node)
      write(path[n], 0)
      node = path[n] & -NODE_WORDS
    }
  }

  function insert(root: number, low: number, high: number, priority: number, item: number): void {
    for (let first = low + 0x10000, last = high + 0x10001; first < last; first >>>= 1, last >>>= 1) {
      if ((first & 1) !== 0) insertPiece(root, first++, priority, item)
      if ((last & 1) !== 0) insertPiece(root, --last, priority, item)
    }
  }

  function remove(root: number, low: number, high: number, item: number): void {
    for (let first = low + 0x10000, last = high + 0x10001; first < last; first >>>= 1, last >>>= 1) {
      if ((first & 1) !== 0) removePiece(root, first++, item)
      if ((last & 1) !== 0) removePiece(root, --last, item)
    }
  }

  function start(root: number, port: number): void {
    let node = root
    top = 0
    for (let level = 0; level < LEVELS; level++) {
      const chunk = chunks[node >>> CHUNK_BITS], base = node & CHUNK_MASK
      const digit = port >>> 12 - 4 * level & 15 | 16
      for (let up = 4; up > 0; up--) {
        const heap = chunk[base + (digit >>> up)]
        if (heap !== 0) stack[top++] = heap
      }
      node = chunk[base + digit]
      if (node === 0) return
    }
    stack[top++] = node
  }

  function next(limit: number): number {
    while (top > 0) {
      const id = stack[--top]
      const chunk = chunks[id >>> CHUNK_BITS], base = id & CHUNK_MASK
      if (chunk[base + PRIORITY] > limit) continue
      shown = id
      return chunk[base + ITEM]
    }
    return 0
  }

  function descend(): void {
    const left = read(shown + LEFT), right = read(shown + LEFT + 1)
    if (left !== 0) stack[top++] = left
    if (right !== 0) stack[top++] = right
  }

  return {
    create: takeNode, destroy: giveNode, isEmpty: (root) => read(root) === 0,
    insert, remove, start, next, descend,
    bytes: () => chunks.length * CHUNK_WORDS * 4,
  }
}
