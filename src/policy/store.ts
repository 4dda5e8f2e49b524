/**
 * Rule records. A rule is 16 int32 words here, 64 bytes, and four numbers beside; everything is made at the start from the limit of
 * rules, so nothing grows while the box works, but for the addresses of IPv6 rules: their table grows in steps of a half.
 *
 *   0 identifier: generation << bits | slot; kept while the slot is free      8 A0: address, or place in the long table
 *   1 meta, 0 = free                                                           9 A3: address
 *   2 owner    3, 4 next and previous rule of the owner                       10 protocol | A0 prefix << 8 | A3 prefix << 16
 *   5 group    6, 7 next and previous rule of the group                       11 A0 port << 16 | A3 port
 *     (of a disable rule: of the disable rules; when waiting: next to go;      12 A0 range << 16 | A3 range
 *      when free: next free slot)                                              13 A2   14 A1   15 A2 port << 16 | A1 port
 */
import type { Tuple } from './api.ts'

export const RULE_BITS = 4
export const ID = 0, META = 1, OWNER = 2, OWNER_NEXT = 3, OWNER_PREV = 4, GROUP = 5, GROUP_NEXT = 6, GROUP_PREV = 7
export const LOCAL = 8, PEER = 9, SHAPE = 10, PORTS = 11, RANGES = 12, OUTSIDE = 13, INSIDE = 14, BOUND = 15

/* META. Bits 0-1: what the rule is. */
export const ACTION = 3, RESERVE = 1, ENABLE = 2, DISABLE = 3
/** Over for everyone, but the data plane has not been told yet. */
export const WAITING = 1 << 2
export const IPV6 = 1 << 3
export const DIRECTION_SHIFT = 4, PARITY_SHIFT = 6, SERVICE_SHIFT = 8
/* Bits 10-12: A2. What BY_PORTS and BY_ADDRESS name is held, and given back at the end. */
export const OUTSIDE_SHIFT = 10
/* Bits 13-15: A1, by the same numbers. */
export const INSIDE_SHIFT = 13
/** As in the request, or nothing at all: a pure firewall, and A1 without twice-NAT. */
export const AS_SENT = 0
export const BY_PORTS = 1
export const BY_ADDRESS = 2
/** The engine maps packets as they come: A2 is what it will be, without a port; or nobody knows, as A0 is a wildcard. */
export const DYNAMIC = 3, UNKNOWN = 4
/** A reserve rule that names A0. */
export const WITH_LOCAL = 1 << 16

export function outsideKind(meta: number): number { return meta >>> OUTSIDE_SHIFT & 7 }
export function insideKind(meta: number): number { return meta >>> INSIDE_SHIFT & 7 }
export function field(meta: number, shift: number): number { return meta >>> shift & 3 }

export interface Store {
  readonly words: Int32Array
  /** When the lifetime is over. */
  readonly deadlineMs: Float64Array
  /** Last known use, or the granting. */
  readonly lastUseMs: Float64Array
  /** Of an enable rule as it was asked for. */
  readonly maxIdleSec: Int32Array
  /** Number of the record that told the data plane of the rule. */
  readonly ticket: Int32Array
  /** A free slot, with an identifier that it has not had for long, or 0. */
  take(): number
  /** Gives a slot back; `meta` becomes 0. */
  free(slot: number): void
  /** Whether `take` would fail. */
  isFull(): boolean
  /** Slot of a rule that is not over, or 0. */
  find(id: number): number
  /** Slots from 1 to this one have been used. */
  highest(): number
  setTuples(slot: number, local: Tuple | null, peer: Tuple | null): void
  /** A0 and A3 as they were sent. */
  local(slot: number): Tuple
  peer(slot: number): Tuple
  /** Word 0..3 of A0 or A3, `tuple` LOCAL or PEER. */
  word(slot: number, tuple: number, index: number): number
  readonly bytes: () => number
}

export function createStore(limit: number): Store {
  const words = new Int32Array((limit + 1) << RULE_BITS)
  const deadlineMs = new Float64Array(limit + 1), lastUseMs = new Float64Array(limit + 1)
  const maxIdleSec = new Int32Array(limit + 1), ticket = new Int32Array(limit + 1)
  const slotBits = 32 - Math.clz32(limit)
  const mask = (1 << slotBits) - 1
  let used = 0, freed = 0
  /** Eight words for each IPv6 rule, A0 and A3; place 0 is nobody's. Word 0 of a free place leads to the next one. */
  let long = new Int32Array(0)
  let longUsed = 0, longFreed = 0

  function take(): number {
    let slot = freed
    if (slot !== 0) {
      const at = slot << RULE_BITS
      freed = words[at + GROUP_NEXT]
      words[at + ID] = (words[at + ID] + (1 << slotBits)) & 0x7fffffff
    } else if (used < limit) {
      slot = ++used
      words[(slot << RULE_BITS) + ID] = slot
    }
    return slot
  }

  function free(slot: number): void {
    const at = slot << RULE_BITS
    dropLong(slot)
    words[at + META] = 0
    words[at + GROUP_NEXT] = freed
    freed = slot
  }

  function find(id: number): number {
    const slot = id & mask
    if (slot < 1 || slot > used) return 0
    const at = slot << RULE_BITS
    return words[at + ID] === id && words[at + META] !== 0 && (words[at + META] & WAITING) === 0 ? slot : 0
  }

  function dropLong(slot: number): void {
    const at = slot << RULE_BITS
    if ((words[at + META] & IPV6) === 0 || words[at + LOCAL] === 0) return
    const place = words[at + LOCAL]
    long[place * 8] = longFreed
    longFreed = place
    words[at + LOCAL] = 0
  }

  function takeLong(): number {
    if (longFreed !== 0) {
      const place = longFreed
      longFreed = long[place * 8]
      return place
    }
    const place = ++longUsed
    if ((place + 1) * 8 > long.length) {
      const grown = new Int32Array(8 * Math.min(Math.max(64, place + (place >>> 1)), limit + 1))
      grown.set(long)
      long = grown
    }
    return place
  }

  function setTuples(slot: number, local: Tuple | null, peer: Tuple | null): void {
    const at = slot << RULE_BITS
    const some = local ?? peer
    dropLong(slot)
    words[at + LOCAL] = words[at + PEER] = 0
    if (some?.version === 6) {
      const place = takeLong()
      words[at + META] |= IPV6
      words[at + LOCAL] = place
      putLong(place * 8, local)
      putLong(place * 8 + 4, peer)
    } else {
      words[at + LOCAL] = local?.word0 ?? 0
      words[at + PEER] = peer?.word0 ?? 0
    }
    words[at + SHAPE] = (some?.protocol ?? 0) | (local?.prefixBits ?? 0) << 8 | (peer?.prefixBits ?? 0) << 16
    words[at + PORTS] = (local?.port ?? 0) << 16 | (peer?.port ?? 0)
    words[at + RANGES] = (local?.range ?? 0) << 16 | (peer?.range ?? 0)
  }

  function putLong(to: number, tuple: Tuple | null): void {
    long[to] = tuple?.word0 ?? 0
    long[to + 1] = tuple?.word1 ?? 0
    long[to + 2] = tuple?.word2 ?? 0
    long[to + 3] = tuple?.word3 ?? 0
  }

  function word(slot: number, tuple: number, index: number): number {
    const at = slot << RULE_BITS
    if ((words[at + META] & IPV6) === 0) return index === 0 ? words[at + tuple] : 0
    const place = words[at + LOCAL]
    return place === 0 ? 0 : long[place * 8 + (tuple - LOCAL) * 4 + index]
  }

  function read(slot: number, tuple: number): Tuple {
    const at = slot << RULE_BITS
    const shape = words[at + SHAPE]
    const isLocal = tuple === LOCAL
    return {
      version: (words[at + META] & IPV6) === 0 ? 4 : 6,
      word0: word(slot, tuple, 0), word1: word(slot, tuple, 1), word2: word(slot, tuple, 2), word3: word(slot, tuple, 3),
      prefixBits: shape >>> (isLocal ? 8 : 16) & 255,
      protocol: shape & 255,
      port: isLocal ? words[at + PORTS] >>> 16 : words[at + PORTS] & 0xffff,
      range: isLocal ? words[at + RANGES] >>> 16 : words[at + RANGES] & 0xffff,
    }
  }

  return {
    words, deadlineMs, lastUseMs, maxIdleSec, ticket, take, free, find, setTuples, word,
    isFull: () => freed === 0 && used === limit,
    highest: () => used,
    local: (slot) => read(slot, LOCAL),
    peer: (slot) => read(slot, PEER),
    bytes: () => words.byteLength + deadlineMs.byteLength + lastUseMs.byteLength + maxIdleSec.byteLength + ticket.byteLength
      + long.byteLength,
  }
}
