/** Finding the first IPv6 rule: as for IPv4, with the index over /32, /48 and /64 of both addresses. */
import {
  ACTIVE, ANY_PROTOCOL, BUCKET_MASK, BUCKETS, COUNT, FIELDS, HEAD_MIXED, HEAD_RECORD, LOCAL_PORTS, META_ZONES, MULTIPLIERS, NEVER,
  PEER_PORTS, PLANES, portEntry, SHARED_RANK, SHIFT, T_BEST, T_BEST_RULE, T_LOCAL, T_PORTS, T_SALT, T_SUFFIX, TABLE, TABLE_BITS,
  TABLES, WILD, ZONES,
} from './classifier-layout.ts'
import type { Rules } from './classifier-rules.ts'

export interface Finder6 {
  lookup6(zone: number, protocol: number, key: Int32Array, at: number, ports: number): number
}

// A record of IPv6, see Layout.
const PORTS = 8, META = 10, PRIORITY = 11, VALUE = 12, NEXT = 13, BITS = 14
const RECORD_BITS = 4

export function createFinder6({ words, layout, tries }: Rules): Finder6 {
  const { heads, fieldWords, planeWords } = layout

  /** Tables that the address at key[from] leaves, by its three fields from `field` on. */
  function allowed(g: number, base: number, field: number, key: Int32Array, from: number, multiplier: number): number {
    const w = words
    const at = g + FIELDS + field * fieldWords, wild = g + WILD + field
    const low = Math.imul(key[from], w[multiplier])
    const middle = low + Math.imul(key[from + 1] & -65536, w[multiplier + 1]) | 0
    const high = low + Math.imul(key[from + 1], w[multiplier + 1]) | 0
    return (w[at + (low >>> w[base + SHIFT])] | w[wild])
      & (w[at + fieldWords + (middle >>> w[base + SHIFT])] | w[wild + 1])
      & (w[at + 2 * fieldWords + (high >>> w[base + SHIFT])] | w[wild + 2])
  }

  function candidates(
    g: number, base: number, zone: number, protocol: number, key: Int32Array, from: number, ports: number,
  ): number {
    const w = words
    return w[g + ZONES + (zone << 8 | protocol)]
      & w[g + LOCAL_PORTS + portEntry(ports >>> 16)] & w[g + PEER_PORTS + portEntry(ports & 0xffff)]
      & allowed(g, base, 0, key, from, MULTIPLIERS + 1) & allowed(g, base, 3, key, from + 4, MULTIPLIERS + 5)
  }

  function place(table: number, key: Int32Array, from: number, ports: number): number {
    const w = words
    let sum = w[table + T_SALT] + Math.imul(ports & w[table + T_PORTS], w[MULTIPLIERS])
    for (let word = 0; word < 8; word++) {
      sum = sum + Math.imul(key[from + word] & w[table + T_LOCAL + word], w[MULTIPLIERS + 1 + word]) | 0
    }
    const mixed = Math.imul(sum ^ sum >>> 15, 0x2c1b3c6d)
    return mixed ^ mixed >>> 13
  }

  function isWithin(r: number, bits: number, key: Int32Array, from: number): boolean {
    const w = words
    let word = 0
    for (; bits >= 32; bits -= 32, word++) if (w[r + word] !== key[from + word]) return false
    return bits === 0 || Math.clz32(w[r + word] ^ key[from + word]) >= bits
  }

  function applies(r: number, zone: number, protocol: number, key: Int32Array, from: number, ports: number): boolean {
    const w = words
    const meta = w[r + META], localPorts = w[r + PORTS], peerPorts = w[r + PORTS + 1]
    const localPort = ports >>> 16, peerPort = ports & 0xffff
    const apart = (localPort - (localPorts >>> 16) - peerPort + (peerPorts >>> 16)) & (meta << 2 >> 31)
    return (localPort - (localPorts >>> 16) | (localPorts & 0xffff) - localPort
      | peerPort - (peerPorts >>> 16) | (peerPorts & 0xffff) - peerPort
      | (meta & ANY_PROTOCOL) - ((meta ^ protocol) & 0xff) | (meta >>> META_ZONES + zone & 1) - 1
      | apart | 0 - apart) >= 0
      && isWithin(r, w[r + BITS] >>> 8, key, from) && isWithin(r + 4, w[r + BITS] & 0xff, key, from + 4)
  }

  function searchTrie(
    r: number, found: number, zone: number, protocol: number, key: Int32Array, from: number, ports: number,
  ): number {
    const w = words, value = -w[r + VALUE]
    let best = found === NEVER ? NEVER : w[(found << RECORD_BITS) + PRIORITY]
    tries.start(value & -2, (value & 1) === 0 ? ports >>> 16 : ports & 0xffff)
    for (let rule = tries.next(best); rule !== 0; rule = tries.next(best)) {
      const at = rule << RECORD_BITS
      if (!applies(at, zone, protocol, key, from, ports)) tries.descend()
      else if (w[at + PRIORITY] < best || rule < found) {
        found = rule
        best = w[at + PRIORITY]
      }
    }
    return found
  }

  /** The better of rule `found` and the first one in the bucket of a table. */
  function probe(
    table: number, found: number, zone: number, protocol: number, key: Int32Array, from: number, ports: number,
  ): number {
    const w = words
    const hashed = place(table, key, from, ports), mask = w[BUCKET_MASK], bucket = hashed & mask
    const head = w[heads + (bucket < w[BUCKETS] ? bucket : hashed & mask >>> 1)]
    if ((head ^ hashed) >>> 24 !== 0 && (head & HEAD_MIXED) === 0) return found
    for (let record = head & HEAD_RECORD; record !== 0; record = w[(record << RECORD_BITS) + NEXT]) {
      const r = record << RECORD_BITS, best = found === NEVER ? NEVER : w[(found << RECORD_BITS) + PRIORITY]
      if (w[r + PRIORITY] > best) return found
      if (!applies(r, zone, protocol, key, from, ports)) continue
      if (w[r + VALUE] > 0) return w[r + PRIORITY] < best || record < found ? record : found
      found = searchTrie(r, found, zone, protocol, key, from, ports)
    }
    return found
  }

  function lookup6(zone: number, protocol: number, key: Int32Array, from: number, ports: number): number {
    const w = words
    if (w[COUNT] === 0) return 0
    const base = w[ACTIVE], end = base + TABLE + (w[base + TABLES] << TABLE_BITS)
    let found = NEVER
    for (let half = 0; half < 2; half++) {
      const at = base + TABLE + (32 * half << TABLE_BITS)
      let mask = at < end ? candidates(base + PLANES + half * planeWords, base, zone, protocol, key, from, ports) : 0
      for (; mask !== 0; mask &= mask - 1) {
        let table = at + (31 - Math.clz32(mask & -mask) << TABLE_BITS)
        do {
          const best = found === NEVER ? NEVER : w[(found << RECORD_BITS) + PRIORITY]
          if (w[table + T_SUFFIX] > best) return w[(found << RECORD_BITS) + VALUE]
          if (w[table + T_BEST] < best || (w[table + T_BEST] === best && w[table + T_BEST_RULE] < found)) {
            found = probe(table, found, zone, protocol, key, from, ports)
          }
          table += 1 << TABLE_BITS
        } while (table > base + TABLE + (SHARED_RANK << TABLE_BITS) && table < end)
      }
    }
    return found === NEVER ? 0 : w[(found << RECORD_BITS) + VALUE]
  }

  return { lookup6 }
}
