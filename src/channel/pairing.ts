/**
 * Which outside address an inside host gets (RFC 4787 REQ-2), as docs/behaviour.md says under Ports. The engine pairs hosts so when
 * it maps them, and policy when it looks for ports to bind: both must arrive at one address without asking each other. A function
 * of the host's address and the settings alone: nothing to keep, nothing to lose.
 */

/** Outside addresses that follow one another in the list of all, and whom they are for. */
export interface PairedPool {
  /** Inside prefixes, host-order; empty: whoever is in no other pool. */
  inside: readonly { address: number; bits: number }[]
  /** Index of the first address, and how many there are, at least 1. */
  first: number
  size: number
  /** Hosts are dealt out in order, so many to an address (RFC 7422); 0: by a hash. */
  hostsPerAddress: number
}

export interface Pairing {
  /** Index of the outside address of a host. */
  index(insideAddr: number): number
  /** The pool that a host is in. */
  poolOf(insideAddr: number): PairedPool
  /** Number of a host in the prefixes of its pool, counted through in order; -1: it is in none of them. */
  hostNumber(insideAddr: number): number
}

/**
 * Index of a host in a pool of `size` addresses by the hash that docs/behaviour.md calls mix.
 *
 * @param insideAddr host-order int32
 */
export function pairedIndex(insideAddr: number, seed: number, size: number): number {
  let h = Math.imul(insideAddr ^ seed, 0x9e3779b1)
  h ^= h >>> 15
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  return (h >>> 0) % size
}

/** One pool of `size` addresses for everybody. */
export function wholePool(size: number): PairedPool[] {
  return [{ inside: [], first: 0, size, hostsPerAddress: 0 }]
}

/** @param pools the first of them is for hosts that no other one names; of several that name a host, the longest prefix counts */
export function createPairing(pools: readonly PairedPool[], seed: number): Pairing {
  const entries = pools.slice(1).flatMap((pool) => pool.inside
    .map(({ address, bits }) => ({ address, mask: maskOf(bits), bits, pool })))
    .sort((a, b) => b.bits - a.bits)
  const networks = Int32Array.from(entries, ({ address, mask }) => address & mask)
  const masks = Int32Array.from(entries, ({ mask }) => mask)
  const [fallback] = pools

  function poolOf(insideAddr: number): PairedPool {
    for (let n = 0; n < masks.length; n++) if (((insideAddr ^ networks[n]) & masks[n]) === 0) return entries[n].pool
    return fallback
  }

  function hostNumber(insideAddr: number): number {
    let before = 0
    for (const { address, bits } of poolOf(insideAddr).inside) {
      const mask = maskOf(bits)
      if (((insideAddr ^ address) & mask) === 0) return before + ((insideAddr & ~mask) >>> 0)
      before += 2 ** (32 - bits)
    }
    return -1
  }

  function index(insideAddr: number): number {
    const { first, size, hostsPerAddress } = poolOf(insideAddr)
    if (hostsPerAddress === 0) return first + pairedIndex(insideAddr, seed, size)
    const number = hostNumber(insideAddr)
    return first + (number < 0 ? 0 : Math.min(Math.floor(number / hostsPerAddress), size - 1))
  }

  return { index, poolOf, hostNumber }
}

function maskOf(bits: number): number {
  return bits === 0 ? 0 : -1 << (32 - bits)
}
