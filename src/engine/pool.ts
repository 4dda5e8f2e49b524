import { pairedIndex } from '../channel/pairing.ts'

/** The outside addresses: index of an address, address of an index, and which one a host is paired with (RFC 4787 REQ-2). */
export interface Pool {
  readonly size: number
  /** The first address if they follow one another without a gap, else null: then an index is a difference. */
  readonly start: number | null
  /** Index of an outside address, or -1. */
  indexOf(address: number): number
  addressAt(index: number): number
  /** Index of the address that this inside host always gets. A function of the address alone: nothing to keep, nothing to lose. */
  pairedIndex(insideAddr: number): number
}

const TABLE_BITS = 12

/** `paired`: how many of the addresses, from the first on, hosts are paired with; the others are bound as a whole, by policy. */
export function createPool(addresses: readonly number[], seed: number, paired = addresses.length): Pool {
  const size = addresses.length
  const list = Int32Array.from(addresses)
  // Open addressing at a load of at most a quarter. An entry is index + 1; 0 is empty.
  const table = new Int32Array(1 << TABLE_BITS)
  const mask = (1 << TABLE_BITS) - 1
  const home = (address: number) => Math.imul(address, 0x9e3779b1) >>> (32 - TABLE_BITS)
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

  const start = size > 0 && addresses.every((address, index) => address === (addresses[0] + index | 0)) ? addresses[0] : null
  return {
    size, start, indexOf, addressAt: (index) => list[index], pairedIndex: (insideAddr) => pairedIndex(insideAddr, seed, paired),
  }
}
