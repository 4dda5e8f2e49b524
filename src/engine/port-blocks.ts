/**
 * Blocks of outside ports that inside hosts get whole (RFC 6888 REQ-14): the ports of a host, of every protocol, come from blocks
 * that are its own, so that a log needs a line for a block and none for a mapping. A host gets a block when it needs one, and gives
 * it back when it uses no port of it any more.
 */
import { createPortSets } from '../storage/port-set.ts'
import type { Hosts } from './hosts.ts'
import type { EngineOptions } from './options.ts'

export type PortBlocks = ReturnType<typeof createPortBlocks>

/** @param isUsable has the block from that port on, on the address of that index, a port of each class to give? */
export function createPortBlocks(
  options: Pick<EngineOptions, 'portBlocks' | 'portLow' | 'portHigh'>, addresses: number, hosts: Hosts,
  isUsable: (index: number, low: number, high: number) => boolean,
) {
  const { size, perHost } = options.portBlocks ?? { size: 1, perHost: 0 }
  const isOn = perHost > 0
  const low = options.portLow
  // Blocks of an address; a block is index * each + its number there.
  const each = isOn ? Math.floor((options.portHigh - low + 1) / size) : 0
  const owner = new Int32Array(addresses * each), used = new Int32Array(addresses * each)
  /** The next block of the same host + 1, in the order in which it got them. */
  const next = new Int32Array(addresses * each)
  const free = createPortSets(isOn ? addresses : 0)
  let current = 0

  if (isOn) {
    for (let block = 0; block < owner.length; block++) {
      const start = low + block % each * size
      if (!isUsable(Math.floor(block / each), start, start + size - 1)) free.take(Math.floor(block / each), block % each)
    }
  }

  /** The block that a port is in, or -1. */
  function blockOf(index: number, port: number): number {
    const number = Math.floor((port - low) / size)
    return port < low || number >= each ? -1 : index * each + number
  }

  /** A block more for a host: one that is free, from a place chosen by `start` on; or -1: it may have none, or none is free. */
  function open(index: number, inside: number, start: number): number {
    let number = free.firstFreeRun(index, start, each - 1, 1, -1)
    if (number < 0) number = free.firstFreeRun(index, 0, start - 1, 1, -1)
    if (number < 0) return -1
    free.take(index, number)
    const block = index * each + number
    owner[block] = inside
    next[block] = 0
    let at = hosts.firstBlock(inside)
    if (at < 0) hosts.setFirstBlock(inside, block)
    else {
      while (next[at] !== 0) at = next[at] - 1
      next[at] = block + 1
    }
    current++
    return block
  }

  /** How many blocks a host has: few. */
  function countOf(inside: number): number {
    let count = 0
    for (let block = hosts.firstBlock(inside); block >= 0; block = next[block] - 1) count++
    return count
  }

  /** A port of a block is not used any more: true, if that was the last one and the block is nobody's. */
  function release(block: number): boolean {
    if (--used[block] > 0) return false
    const inside = owner[block]
    let at = hosts.firstBlock(inside)
    if (at === block) hosts.setFirstBlock(inside, next[block] - 1)
    else {
      while (next[at] !== block + 1) at = next[at] - 1
      next[at] = next[block]
    }
    owner[block] = 0
    current--
    return true
  }

  return {
    isOn, each, size, blockOf, open, release,
    mayOpen: (inside: number) => countOf(inside) < perHost,
    isOf: (block: number, inside: number) => block >= 0 && owner[block] === inside,
    use(block: number) { used[block]++ },
    ownerOf: (block: number) => owner[block],
    /** First block of a host, and the one after another; -1: none. */
    first: hosts.firstBlock, after: (block: number) => next[block] - 1,
    lowOf: (block: number) => low + block % each * size,
    indexOf: (block: number) => Math.floor(block / each),
    /** A block may be given again. */
    giveBack(block: number) { free.release(Math.floor(block / each), block % each) },
    count: () => current,
    bytes: isOn ? 4 * (owner.length + used.length + next.length) + free.bytes() : 0,
  }
}
