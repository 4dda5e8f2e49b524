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
import type { Kernel4Imports } from './classifier-kernel4.ts'
import type { Rules } from './classifier-rules.ts'

export interface Finder4 extends Kernel4Imports {
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
  const masks = new Int32Array(STAGE), hashes = new Int32Array(STAGE), found = new Int32Array(STAGE)
  /** Local and peer address, ports, zone << 8 | protocol of a packet: the caller's arrays are read once. */
  const stage = new Int32Array(STAGE << 2)
  const sink = new Int32Array(1)
  const localMultiplier = words[MULTIPLIERS + 1], peerMultiplier = words[MULTIPLIERS + 5], portMultiplier = words[MULTIPLIERS]
  const localShort = FIELDS, localLong = FIELDS + fieldWords
  const peerShort = FIELDS + 2 * fieldWords, peerLong = FIELDS + 3 * fieldWords

  /** Tables worth a look, by the plane at `g` of the generation at `base`. */
  function candidates(
    g: number, base: number, zone: number, protocol: number, local: number, peer: number, ports: number,
  ): number {
    const w = words
    const shift = w[base + SHIFT]
    return (w[g + localShort + (Math.imul(local & SHORT_MASK, localMultiplier) >>> shift)] | w[g + WILD])
      & (w[g + localLong + (Math.imul(local & LONG_MASK, localMultiplier) >>> shift)] | w[g + WILD + 1])
      & (w[g + peerShort + (Math.imul(peer & SHORT_MASK, peerMultiplier) >>> shift)] | w[g + WILD + 2])
      & (w[g + peerLong + (Math.imul(peer & LONG_MASK, peerMultiplier) >>> shift)] | w[g + WILD + 3])
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
    // Negative, in a paired rule, if the ports are not the n-th of both ranges.
    const apart = (localPort - (localPorts >>> 16) - peerPort + (peerPorts >>> 16)) & (meta << 2 >> 31)
    return Math.clz32(w[r] ^ local) - (meta >>> META_LOCAL_BITS & 63) | Math.clz32(w[r + 1] ^ peer) - (meta >>> META_PEER_BITS & 63)
      | localPort - (localPorts >>> 16) | (localPorts & 0xffff) - localPort
      | peerPort - (peerPorts >>> 16) | (peerPorts & 0xffff) - peerPort
      | (meta & ANY_PROTOCOL) - ((meta ^ protocol) & 0xff) | (meta >>> META_ZONES + zone & 1) - 1 | apart | 0 - apart
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

  /**
   * The record of the first rule, or NEVER. `table` is the descriptor of the first candidate, whose `hashed` and `head` are known
   * already, and `mask` has the bits of the others.
   */
  function first(
    table: number, hashed: number, head: number, mask: number,
    zone: number, protocol: number, local: number, peer: number, ports: number,
  ): number {
    const w = words, base = w[ACTIVE]
    let found = NEVER, best = NEVER
    let at = base + TABLE
    for (;;) {
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
      // The next table that can hold something better.
      do {
        table += 1 << TABLE_BITS
        if (table <= base + TABLE + (SHARED_RANK << TABLE_BITS) || table >= base + TABLE + (w[base + TABLES] << TABLE_BITS)) {
          if (mask === 0) {
            // The second plane is only for those who found nothing good enough by the first.
            if (at !== base + TABLE) return found
            at += 32 << TABLE_BITS
            if (w[base + TABLES] <= 32 || w[at + T_SUFFIX] > best) return found
            mask = candidates(base + PLANES + planeWords, base, zone, protocol, local, peer, ports)
            if (mask === 0) return found
          }
          table = at + (31 - Math.clz32(mask & -mask) << TABLE_BITS)
          mask &= mask - 1
        }
        if (w[table + T_SUFFIX] > best) return found
      } while (w[table + T_BEST] > best || (w[table + T_BEST] === best && w[table + T_BEST_RULE] > found))
      hashed = place(table, local, peer, ports)
      head = w[headOf(hashed)]
    }
  }

  function lookup4(zone: number, protocol: number, local: number, peer: number, ports: number): number {
    const w = words
    if (w[COUNT] === 0) return 0
    const base = w[ACTIVE], mask = candidates(base + PLANES, base, zone, protocol, local, peer, ports)
    const table = base + TABLE + (31 - Math.clz32(mask & -mask) << TABLE_BITS), hashed = place(table, local, peer, ports)
    // Without a candidate this looks into the 32nd table in vain.
    const found = first(table, hashed, w[headOf(hashed)], mask & mask - 1, zone, protocol, local, peer, ports)
    return found === NEVER ? 0 : w[(found << RECORD_BITS) + VALUE]
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
    // What `candidates` loads for each packet is loaded once here.
    const base = w[ACTIVE], plane = base + PLANES, shift = w[base + SHIFT]
    const wild0 = w[plane + WILD], wild1 = w[plane + WILD + 1], wild2 = w[plane + WILD + 2], wild3 = w[plane + WILD + 3]
    let touched = 0
    for (let start = 0; start < count; start += STAGE) {
      const many = Math.min(STAGE, count - start)
      for (let n = 0; n < many; n++) {
        const i = start + n, local = locals[i], peer = peers[i], both = ports[i], zone = zones[i] << 8 | protocols[i]
        stage[n << 2] = local
        stage[(n << 2) + 1] = peer
        stage[(n << 2) + 2] = both
        stage[(n << 2) + 3] = zone
        masks[n] = (w[plane + localShort + (Math.imul(local & SHORT_MASK, localMultiplier) >>> shift)] | wild0)
          & (w[plane + localLong + (Math.imul(local & LONG_MASK, localMultiplier) >>> shift)] | wild1)
          & (w[plane + peerShort + (Math.imul(peer & SHORT_MASK, peerMultiplier) >>> shift)] | wild2)
          & (w[plane + peerLong + (Math.imul(peer & LONG_MASK, peerMultiplier) >>> shift)] | wild3)
          & w[plane + LOCAL_PORTS + portEntry(both >>> 16)] & w[plane + PEER_PORTS + portEntry(both & 0xffff)]
          & w[plane + ZONES + zone]
      }
      for (let n = 0; n < many; n++) {
        const mask = masks[n], s = n << 2
        const hashed = place(base + TABLE + (31 - Math.clz32(mask & -mask) << TABLE_BITS), stage[s], stage[s + 1], stage[s + 2])
        hashes[n] = hashed
        found[n] = w[headOf(hashed)]
      }
      // Nothing but loads: many are under way at once.
      for (let n = 0; n < many; n++) touched ^= w[(found[n] & HEAD_RECORD) << RECORD_BITS]
      for (let n = 0; n < many; n++) {
        const mask = masks[n], s = n << 2, zone = stage[s + 3]
        const table = base + TABLE + (31 - Math.clz32(mask & -mask) << TABLE_BITS)
        const record = first(
          table, hashes[n], found[n], mask & mask - 1, zone >>> 8, zone & 0xff, stage[s], stage[s + 1], stage[s + 2],
        )
        answers[start + n] = record === NEVER ? 0 : w[(record << RECORD_BITS) + VALUE]
      }
    }
    sink[0] = touched
  }

  return { lookup4, lookupBatch4, searchTrie }
}
