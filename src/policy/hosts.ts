/** How many ports of each address are bound: such an address cannot be bound as a whole. A chained hash of int32 counts. */
export interface HostCounts {
  add(address: number, by: number): void
  has(address: number): boolean
  readonly bytes: () => number
}

/* Three words an address. */
const ADDRESS = 0, COUNT = 1, NEXT = 2, WORDS = 3

/** @param limit addresses at once */
export function createHostCounts(limit: number, seed: number): HostCounts {
  const table = new Int32Array((limit + 1) * WORDS)
  const heads = new Int32Array(bucketCount(limit))
  const mask = heads.length - 1
  let used = 0, free = 0

  function bucket(address: number): number {
    const h = Math.imul(address ^ seed, 0x9e3779b1)
    return (h ^ h >>> 15) & mask
  }

  function add(address: number, by: number): void {
    const head = bucket(address)
    let before = 0
    let at = heads[head]
    while (at !== 0 && table[at * WORDS + ADDRESS] !== address) {
      before = at
      at = table[at * WORDS + NEXT]
    }
    if (at === 0) {
      at = free
      if (at === 0) at = ++used
      else free = table[at * WORDS + NEXT]
      table[at * WORDS + ADDRESS] = address
      table[at * WORDS + COUNT] = 0
      table[at * WORDS + NEXT] = heads[head]
      heads[head] = at
      before = 0
    }
    if ((table[at * WORDS + COUNT] += by) !== 0) return
    if (before === 0) heads[head] = table[at * WORDS + NEXT]
    else table[before * WORDS + NEXT] = table[at * WORDS + NEXT]
    table[at * WORDS + NEXT] = free
    free = at
  }

  function has(address: number): boolean {
    let at = heads[bucket(address)]
    while (at !== 0 && table[at * WORDS + ADDRESS] !== address) at = table[at * WORDS + NEXT]
    return at !== 0
  }

  return { add, has, bytes: () => table.byteLength + heads.byteLength }
}

/** Heads of chains for `limit` entries: one or two entries a chain when full. */
export function bucketCount(limit: number): number {
  return 1 << Math.max(4, 31 - Math.clz32(limit))
}
