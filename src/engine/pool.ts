import { type Pairing, createPairing, wholePool } from '../channel/pairing.ts'

/** The outside addresses: index of an address, address of an index, and which one a host is paired with (RFC 4787 REQ-2). */
export interface Pool {
  readonly size: number
  /** How many of them, the first ones, have ports that belong to different hosts. The others belong to one host each, if to any. */
  readonly shared: number
  /** The first address if the shared ones follow one another without a gap, else null: then an index is a difference. */
  readonly start: number | null
  /** Index of an outside address, or -1. */
  indexOf(address: number): number
  addressAt(index: number): number
  /** Index of the address that this inside host always gets. */
  pairedIndex(insideAddr: number): number
  readonly pairing: Pairing
}

const LEAST_TABLE_BITS = 12

export function createPool(
  addresses: readonly number[], seed: number, shared = addresses.length, pairing = createPairing(wholePool(addresses.length), seed),
): Pool {
  const size = addresses.length
  const list = Int32Array.from(addresses)
  // Open addressing at a load of at most a quarter. An entry is index + 1; 0 is empty.
  const tableBits = Math.max(LEAST_TABLE_BITS, 34 - Math.clz32(size))
  const table = new Int32Array(1 << tableBits)
  const mask = (1 << tableBits) - 1
  const home = (address: number) => Math.imul(address, 0x9e3779b1) >>> (32 - tableBits)
  list.forEach((address, index) => {
    let at = home(address)
    while (table[at] !== 0) at = (at + 1) & mask
    table[at] = index + 1
  })

  function indexOf(address: number): number {
    for (let at = home(address); ; at = (at + 1) & mask) {
      const entry = table[at]
      if (entry === 0) return -1
      if (list[entry - 1] === address) return entry - 1
    }
  }

  const isRow = shared > 0 && addresses.slice(0, shared).every((address, index) => address === (addresses[0] + index | 0))
  return {
    size, shared, start: isRow ? addresses[0] : null, indexOf, addressAt: (index) => list[index],
    pairedIndex: pairing.index, pairing,
  }
}
