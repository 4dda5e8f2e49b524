/** Outside addresses that belong to one inside host each, with every protocol and port, or to nobody at the moment. */
import { createPairMap } from '../storage/pair-map.ts'
import type { MappingRecords } from './mapping-records.ts'
import type { Pool } from './pool.ts'

export type BoundAddresses = ReturnType<typeof createBoundAddresses>

export function createBoundAddresses(pool: Pool, seed: number, records: MappingRecords) {
  const indexes = createPairMap(seed)
  /** Inside host to which the whole outside address of that index is bound; 0: none. */
  const addressOwner = new Int32Array(pool.size)
  const hasWhole = pool.size > pool.shared

  /** Index of the outside address that is bound to this inside host as a whole, or -1. */
  function boundIndex(inside: number): number {
    return indexes.count() === 0 ? -1 : indexes.get(inside, 0) - 1
  }

  function bindAddress(inside: number, outside: number): void {
    indexes.add(inside, 0, pool.indexOf(outside) + 1)
    addressOwner[pool.indexOf(outside)] = inside
    records.address(inside, outside, true)
  }

  function unbindAddress(inside: number, outside: number): void {
    indexes.remove(inside, 0)
    addressOwner[pool.indexOf(outside)] = 0
    records.address(inside, outside, false)
  }

  /** Is this outside address one that is bound as a whole, or not at all? */
  function isWholeAddress(outside: number): boolean {
    return hasWhole && pool.indexOf(outside) >= pool.shared
  }

  /** Is it one that is bound to nobody now? */
  function isUnbound(outside: number): boolean {
    return isWholeAddress(outside) && addressOwner[pool.indexOf(outside)] === 0
  }

  return { addressOwner, boundIndex, bindAddress, unbindAddress, isWholeAddress, isUnbound }
}
