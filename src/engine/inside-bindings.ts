/**
 * Twice-NAT: outside endpoints (A3) that the inside sees as addresses of its own (A1). A binding is of a port of TCP or UDP, or of
 * a whole address with all protocols and ports; a port comes before its address.
 */
import { createPairMap } from '../storage/pair-map.ts'

/** Words of `found`. */
export const FOUND_ADDRESS = 0, FOUND_PORT = 1, FOUND_FIXED = 2

export type InsideBindings = ReturnType<typeof createInsideBindings>

const RECORD_WORDS = 4
const A1 = 0, A1_KEY = 1, A3 = 2, A3_KEY = 3

export function createInsideBindings(pool: readonly number[], seed: number) {
  const addresses = createPairMap(seed), byInside = createPairMap(seed), byPeer = createPairMap(seed)
  pool.forEach((address, index) => addresses.add(address, 0, index + 1))
  let records = new Int32Array(RECORD_WORDS * 16)
  let fresh = 1
  let freed = 0
  /** What the last successful look-up found; FOUND_PORT is -1 where the port stays, FOUND_FIXED 1 if no agent bound it. */
  const found = new Int32Array(3)
  // Records up to this one are the configuration's.
  let fixed = 0

  function keyOf(protocol: number, port: number): number {
    return protocol === 0 ? 0 : (protocol << 16) | port
  }

  function lookUp(record: number, from: number): boolean {
    if (record === 0) return false
    found[FOUND_ADDRESS] = records[record * RECORD_WORDS + from]
    const key = records[record * RECORD_WORDS + from + 1]
    found[FOUND_PORT] = key === 0 ? -1 : key & 0xffff
    found[FOUND_FIXED] = record <= fixed ? 1 : 0
    return true
  }

  function bindOne(inside: number, insideKey: number, peer: number, peerKey: number): void {
    let record = freed
    if (record === 0) {
      record = fresh++
      if (fresh * RECORD_WORDS > records.length) {
        const old = records
        records = new Int32Array(old.length * 2)
        records.set(old)
      }
    } else freed = records[record * RECORD_WORDS]
    const at = record * RECORD_WORDS
    records[at + A1] = inside
    records[at + A1_KEY] = insideKey
    records[at + A3] = peer
    records[at + A3_KEY] = peerKey
    byInside.add(inside, insideKey, record)
    byPeer.add(peer, peerKey, record)
  }

  function unbindOne(inside: number, insideKey: number): void {
    const record = byInside.get(inside, insideKey)
    const at = record * RECORD_WORDS
    byInside.remove(inside, insideKey)
    byPeer.remove(records[at + A3], records[at + A3_KEY])
    records[at] = freed
    freed = record
  }

  return {
    found,
    /** Is this an address that stands for outside hosts? */
    has: (address: number) => addresses.count() !== 0 && addresses.get(address, 0) !== 0,
    /** A3 of an A1. `port` counts for TCP and UDP only. */
    toPeer: (protocol: number, inside: number, port: number) =>
      lookUp(byInside.get(inside, keyOf(protocol, port)) || byInside.get(inside, 0), A3),
    /** A1 of an A3. */
    toInside: (protocol: number, peer: number, port: number) =>
      lookUp(byPeer.get(peer, keyOf(protocol, port)) || byPeer.get(peer, 0), A1),
    /** `count` ports of `protocol`, or 0: the address. */
    bind(protocol: number, inside: number, insidePort: number, peer: number, peerPort: number, count: number): void {
      if (count === 0) return bindOne(inside, 0, peer, 0)
      for (let n = 0; n < count; n++) bindOne(inside, keyOf(protocol, insidePort + n), peer, keyOf(protocol, peerPort + n))
    },
    unbind(protocol: number, inside: number, insidePort: number, count: number): void {
      if (count === 0) return unbindOne(inside, 0)
      for (let n = 0; n < count; n++) unbindOne(inside, keyOf(protocol, insidePort + n))
    },
    /** What is bound by now stays for good. */
    fix() { fixed = fresh - 1 },
    bytes: () => addresses.bytes() + byInside.bytes() + byPeer.bytes() + records.byteLength,
  }
}
