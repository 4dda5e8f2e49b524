/**
 * Finding the first IPv4 rule. The words of the pruning index that belong to a packet's fields are combined into one, whose
 * bits are the tables worth a look; they are visited best first, until no later table can hold anything better.
 *
 * A batch goes through in stages, so that the loads of many packets are under way at once.
 */
import {
  ACTIVE, ANY_PROTOCOL, BUCKET_MASK, BUCKETS, COUNT, FIELDS, HEAD_MIXED, HEAD_RECORD, LOCAL_PORTS, LONG_MASK, META_LOCAL_BITS,
  META_PEER_BITS, META_ZONES, MULTIPLIERS, NEVER, PEER_PORTS, PLANES, portEntry, SHARED_RANK, SHIFT, SHORT_MASK, T_BEST,
  T_BEST_RULE, T_LOCAL, T_PEER, T_PORTS, T_SALT, T_SUFFIX, TABLE, TABLE_BITS, TABLES, WILD, ZONES,
} from './classifier-layout.ts'
import type { Rules } from './classifier-rules.ts'

export interface Finder4 {
  lookup4(zone: number, protocol: number, local: number, peer: number, ports: number): number
  lookupBatch4(count: number, zones: Uint8Array, protocols: Uint8Array, locals: Int32Array, peers: Int32Array, ports: Int32Array,
    answers: Int32Array): void
}

// A record of IPv4, see Layout.
const PORTS = 2, META = 4, PRIORITY = 5, VALUE = 6, NEXT = 7
const RECORD_BITS = 3
const STAGE = 64

export function createFinder4({ words, layout, tries }: Rules): Finder4 {
  const { heads, fieldWords, planeWords } = layout
  const masks = new Int32Array(STAGE), places = new Int32Array(STAGE)
  const localMultiplier = words[MULTIPLIERS + 1], peerMultiplier = words[MULTIPLIERS + 5], portMultiplier = words[MULTIPLIERS]
  const LOCAL_SHORT = FIELDS, LOCAL_LONG = FIELDS + fieldWords, PEER_SHORT = FIELDS + 2 * fieldWords, PEER_LONG = FIELDS + 3 * fieldWords

  /** Tables worth a look, by the plane at `g` of the generation at `base`. */
  function candidates(
    g: number, base: number, zone: number, protocol: number, local: number, peer: number, ports: number,
  ): number {
    const w = words
    const shift = w[base + SHIFT]
    return (w[g + LOCAL_SHORT + (Math.imul(local & SHORT_MASK, localMultiplier) >>> shift)] | w[g + WILD])
      & (w[g + LOCAL_LONG + (Math.imul(local & LONG_MASK, localMultiplier) >>> shift)] | w[g + WILD + 1])
      & (w[g + PEER_SHORT + (Math.imul(peer & SHORT_MASK, peerMultiplier) >>> shift)] | w[g + WILD + 2])
      & (w[g + PEER_LONG + (Math.imul(peer & LONG_MASK, peerMultiplier) >>> shift)] | w[g + WILD + 3])
      & w[g + LOCAL_PORTS + portEntry(ports >>> 16)] & w[g + PEER_PORTS + portEntry(ports & 0xffff)]
      & w[g + ZONES + (zone << 8 | protocol)]
  }

  function place(table: number, local: number, peer: number, ports: number): number {
    const w = words
    const sum = w[table + T_SALT] + Math.imul(ports & w[table + T_PORTS], portMultiplier)
      + Math.imul(local & w[table + T_LOCAL], localMultiplier) + Math.imul(peer & w[table + T_PEER], peerMultiplier) | 0
    const mixed = Math.imul(sum ^ sum >>> 15, 0x2c1b3c6d)
    return mixed ^ mixed >>> 13
  }

  function headOf(hashed: number): number {
    const mask = words[BUCKET_MASK], bucket = hashed & mask
    return heads + (bucket < words[BUCKETS] ? bucket : hashed & mask >>> 1)
  }

  /** Not negative if the condition of the record at `r` holds. One jump for all of it: each term is negative if it does not. */
  function applies(r: number, zone: number, protocol: number, local: number, peer: number, ports: number): number {
    const w = words
    const meta = w[r + META], localPorts = w[r + PORTS], peerPorts = w[r + PORTS + 1]
    const localPort = ports >>> 16, peerPort = ports & 0xffff
    return Math.clz32(w[r] ^ local) - (meta >>> META_LOCAL_BITS & 63) | Math.clz32(w[r + 1] ^ peer) - (meta >>> META_PEER_BITS & 63)
      | localPort - (localPorts >>> 16) | (localPorts & 0xffff) - localPort
      | peerPort - (peerPorts >>> 16) | (peerPorts & 0xffff) - peerPort
      | (meta & ANY_PROTOCOL) - ((meta ^ protocol) & 0xff) | (meta >>> META_ZONES + zone & 1) - 1
  }

  /** The better of rule `found` and the first one in a trie. */
  function searchTrie(
    r: number, found: number, zone: number, protocol: number, local: number, peer: number, ports: number,
  ): number {
    const w = words, value = -w[r + VALUE]
    let best = found === NEVER ? NEVER : w[(found << RECORD_BITS) + PRIORITY]
    tries.start(value & -2, (value & 1) === 0 ? ports >>> 16 : ports & 0xffff)
    for (let rule = tries.next(best); rule !== 0; rule = tries.next(best)) {
      const at = rule << RECORD_BITS
      if (applies(at, zone, protocol, local, peer, ports) < 0) tries.descend()
      else if (w[at + PRIORITY] < best || rule < found) {
        found = rule
        best = w[at + PRIORITY]
      }
    }
    return found
  }

  /** The record of the first rule, or NEVER. */
  function first(mask: number, zone: number, protocol: number, local: number, peer: number, ports: number): number {
    const w = words, base = w[ACTIVE]
    const shared = base + TABLE + (SHARED_RANK << TABLE_BITS), end = base + TABLE + (w[base + TABLES] << TABLE_BITS)
    let found = NEVER, best = NEVER
    let at = base + TABLE
    for (;;) {
      while (mask !== 0) {
        let table = at + (31 - Math.clz32(mask & -mask) << TABLE_BITS)
        mask &= mask - 1
        do {
          if (w[table + T_SUFFIX] > best) return found
          if (w[table + T_BEST] < best || (w[table + T_BEST] === best && w[table + T_BEST_RULE] < found)) {
            const hashed = place(table, local, peer, ports), head = w[headOf(hashed)]
            if ((head ^ hashed) >>> 24 === 0 || (head & HEAD_MIXED) !== 0) {
              for (let record = head & HEAD_RECORD; record !== 0;) {
                const r = record << RECORD_BITS
                if (w[r + PRIORITY] > best) break
                if (applies(r, zone, protocol, local, peer, ports) >= 0) {
                  if (w[r + VALUE] > 0) {
                    if (w[r + PRIORITY] < best || record < found) {
                      found = record
                      best = w[r + PRIORITY]
                    }
                    break
                  }
                  found = searchTrie(r, found, zone, protocol, local, peer, ports)
                  if (found !== NEVER) best = w[(found << RECORD_BITS) + PRIORITY]
                }
                record = w[r + NEXT]
              }
            }
          }
          table += 1 << TABLE_BITS
        } while (table > shared && table < end)
      }
      // The second word of the index is only for those who found nothing good enough by the first.
      if (at !== base + TABLE) return found
      at += 32 << TABLE_BITS
      if (at >= end || w[at + T_SUFFIX] > best) return found
      mask = candidates(base + PLANES + planeWords, base, zone, protocol, local, peer, ports)
    }
  }

  function lookup4(zone: number, protocol: number, local: number, peer: number, ports: number): number {
    if (words[COUNT] === 0) return 0
    const base = words[ACTIVE]
    const found = first(candidates(base + PLANES, base, zone, protocol, local, peer, ports), zone, protocol, local, peer, ports)
    return found === NEVER ? 0 : words[(found << RECORD_BITS) + VALUE]
  }

  function lookupBatch4(
    count: number, zones: Uint8Array, protocols: Uint8Array, locals: Int32Array, peers: Int32Array, ports: Int32Array,
    answers: Int32Array,
  ): void {
    const w = words
    if (w[COUNT] === 0) {
      for (let i = 0; i < count; i++) answers[i] = 0
      return
    }
    const base = w[ACTIVE]
    for (let start = 0; start < count; start += STAGE) {
      const many = Math.min(STAGE, count - start)
      for (let n = 0; n < many; n++) {
        const i = start + n
        masks[n] = candidates(base + PLANES, base, zones[i], protocols[i], locals[i], peers[i], ports[i])
      }
      for (let n = 0; n < many; n++) {
        const i = start + n, mask = masks[n]
        // With no table to look at this is the 32nd, which may be any: its place is loaded in vain.
        const table = base + TABLE + (31 - Math.clz32(mask & -mask) << TABLE_BITS)
        places[n] = w[headOf(place(table, locals[i], peers[i], ports[i]))]
      }
      for (let n = 0; n < many; n++) {
        const i = start + n
        const found = first(masks[n], zones[i], protocols[i], locals[i], peers[i], ports[i])
        answers[i] = found === NEVER ? 0 : w[(found << RECORD_BITS) + VALUE]
      }
    }
  }

  return { lookup4, lookupBatch4 }
}
