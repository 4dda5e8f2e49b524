/**
 * Entering many IPv4 rules at once into an empty classifier. They go where they would go one by one, but in short loops over all of
 * them, which cost little even before they are compiled: the records, then tables and hashes, then the chains. Rules that a coarse
 * table has too many of, about one in ten, are left for the long way.
 */
import {
  ANY_PROTOCOL, BUCKET_MASK, BUCKETS, FIELDS, HEAD_MIXED, HEAD_RECORD, HEAD_TAG, HOME_TABLE, IS_TRIE, LONG_BITS, LONG_MASK,
  LOCAL_PORTS, META_LOCAL_BITS, META_PAIRED, META_PEER_BITS, META_ZONES, MOST_TABLES, MULTIPLIERS, PEER_PORTS, portEntry,
  SHORT_BITS, SHORT_MASK, SPREAD_BITS, WILD, ZONES, type Layout, type Tables,
} from './classifier-layout.ts'

/** Columns of the rules: word `at` of rule n stands at n * stride + at. */
export interface BulkKeys {
  keys: Int32Array
  stride: number
  zones: number
  protocol: number
  localBits: number
  peerBits: number
  localPorts: number
  peerPorts: number
  paired: number
  local: number
  peer: number
}

/** What a classifier's half lends for it. */
export interface BulkRules {
  readonly layout: Layout
  readonly words: Int32Array
  readonly homes: Uint16Array
  readonly tables: Tables
  /** Rules in one place, beyond which another table is chosen. */
  readonly crowd: number
  /** The table that a rule is tried in first. */
  firstTable(localBits: number, peerBits: number, localPorts: number, peerPorts: number): number
  /** Puts a record into the chain of its bucket, by priority. */
  link(record: number): void
}

/** The steps. They want the same `many`, and come in this order. */
export interface Builder4 {
  /** Writes the first records, and chooses tables for them. */
  write(many: number, columns: BulkKeys, priorities: Int32Array, values: Int32Array): void
  /** Puts records from the n-th to `many` into their chains. Stops at one whose place has too many others, takes it out of its
   * table, and returns its number; `many`: all are in. */
  link(n: number, many: number): number
  /** For the tables that have one of the first `many` records, the best of them and its priority. */
  findBest(many: number, best: Int32Array, bestRule: Int32Array): void
  /** Sets the bits of the first `many` records in an empty generation of the pruning index. */
  addAll(many: number, bits: Bits, shift: number): void
}

export function createBuilder4(bulk: BulkRules): Builder4 {
  const { layout, words: w, homes } = bulk
  let hashes = new Int32Array(0)
  return {
    write(many, columns, priorities, values) {
      writeRecords(bulk, many, columns, priorities, values)
      hashes = new Int32Array(many)
      chooseTables(bulk, many, hashes)
    },
    link: (n, many) => linkRecords(bulk, n, many, hashes),
    findBest: (many, best, bestRule) => { findBest(bulk, many, best, bestRule) },
    addAll(many, bits, shift) {
      addAddresses(w, layout, homes, many, bits, shift, 0, META_LOCAL_BITS, w[MULTIPLIERS + 1])
      addAddresses(w, layout, homes, many, bits, shift, PEER, META_PEER_BITS, w[MULTIPLIERS + 5])
      addPorts(w, layout, homes, many, bits, PORTS, LOCAL_PORTS)
      addPorts(w, layout, homes, many, bits, PORTS + 1, PEER_PORTS)
      addZones(w, layout, homes, many, bits)
    },
  }
}

// A record of IPv4, see Layout.
const RECORD_BITS = 3, PEER = 1, PORTS = 2, META = 4, PRIORITY = 5, VALUE = 6, NEXT = 7

/** Writes the first `many` records. */
function writeRecords(
  { layout, words }: BulkRules, many: number, columns: BulkKeys, priorities: Int32Array, values: Int32Array,
): void {
  const { keys, stride, zones, protocol, localBits, peerBits, localPorts, peerPorts, paired, local, peer } = columns
  const w = words
  let r = layout.firstRecord << RECORD_BITS
  for (let n = 0, at = 0; n < many; n++, at += stride, r += 1 << RECORD_BITS) {
    const ofLocal = keys[at + localBits], ofPeer = keys[at + peerBits], wanted = keys[at + protocol]
    w[r] = ofLocal === 0 ? 0 : keys[at + local] & -1 << 32 - ofLocal
    w[r + PEER] = ofPeer === 0 ? 0 : keys[at + peer] & -1 << 32 - ofPeer
    w[r + PORTS] = keys[at + localPorts]
    w[r + PORTS + 1] = keys[at + peerPorts]
    w[r + META] = (wanted < 0 ? ANY_PROTOCOL : wanted) | (keys[at + zones] & 0xff) << META_ZONES
      | (keys[at + paired] !== 0 ? META_PAIRED : 0) | ofLocal << META_LOCAL_BITS | ofPeer << META_PEER_BITS
    w[r + PRIORITY] = priorities[n]
    w[r + VALUE] = values[n]
  }
}

/** Chooses tables for the first `many` records; their hashes go into `hashes`. */
function chooseTables({ layout, words, homes, tables, firstTable }: BulkRules, many: number, hashes: Int32Array): void {
  const w = words, { localMasks, peerMasks, portMasks, salt, count } = tables
  const ofPorts = w[MULTIPLIERS], ofLocal = w[MULTIPLIERS + 1], ofPeer = w[MULTIPLIERS + 5]
  // Tables that were asked for already, plus 1, by both prefix lengths and by which ports are exact.
  const known = new Uint8Array(1 << 14)
  let r = layout.firstRecord << RECORD_BITS
  for (let n = 0; n < many; n++, r += 1 << RECORD_BITS) {
    const localPorts = w[r + PORTS], peerPorts = w[r + PORTS + 1], meta = w[r + META]
    const kind = (localPorts >>> 16 === (localPorts & 0xffff) ? 1 : 0) | (peerPorts >>> 16 === (peerPorts & 0xffff) ? 2 : 0)
    const cell = (meta >>> META_LOCAL_BITS & 0xfff) << 2 | kind
    let table = known[cell] - 1
    if (table < 0) {
      table = firstTable(meta >>> META_LOCAL_BITS & 63, meta >>> META_PEER_BITS & 63, localPorts, peerPorts)
      known[cell] = table + 1
    }
    const sum = salt[table] + Math.imul((localPorts & -65536 | peerPorts >>> 16) & portMasks[table], ofPorts)
      + Math.imul(w[r] & localMasks[table], ofLocal) + Math.imul(w[r + PEER] & peerMasks[table], ofPeer) | 0
    const mixed = Math.imul(sum ^ sum >>> 15, 0x2c1b3c6d)
    hashes[n] = mixed ^ mixed >>> 13
    homes[n] = table + 1
    count[table]++
  }
}

function linkRecords(
  { layout, words, homes, tables, crowd, link }: BulkRules, n: number, many: number, hashes: Int32Array,
): number {
  const w = words, { localMasks, peerMasks, portMasks } = tables
  const { heads, firstRecord } = layout, mask = w[BUCKET_MASK], buckets = w[BUCKETS]
  for (; n < many; n++) {
    const record = firstRecord + n, r = record << RECORD_BITS, hashed = hashes[n], home = homes[n], table = home - 1
    const bucket = hashed & mask, at = heads + (bucket < buckets ? bucket : bucket & mask >>> 1), head = w[at]
    let last = 0, others = 0
    if (head !== 0) {
      const localMask = localMasks[table], peerMask = peerMasks[table], portMask = portMasks[table]
      for (let one = head & HEAD_RECORD; one !== 0;) {
        const o = one << RECORD_BITS, itsHome = homes[one - firstRecord]
        const apart = (w[o] ^ w[r]) & localMask | (w[o + PEER] ^ w[r + PEER]) & peerMask
          | ((w[o + PORTS] ^ w[r + PORTS]) & portMask & -65536) | ((w[o + PORTS + 1] ^ w[r + PORTS + 1]) & portMask & 0xffff)
        if ((itsHome & HOME_TABLE) === home && apart === 0) others += itsHome >= IS_TRIE ? crowd : 1
        last = o
        one = w[o + NEXT]
      }
      if (others >= crowd) {
        homes[n] = 0
        tables.count[table]--
        return n
      }
    }
    if (last === 0) w[at] = hashed & HEAD_TAG | record
    else if (w[last + PRIORITY] <= w[r + PRIORITY]) {
      w[last + NEXT] = record
      if ((head ^ hashed) >>> 24 !== 0) w[at] = head | HEAD_MIXED
    } else link(record)
  }
  return many
}

function findBest({ layout, words: w, homes }: BulkRules, many: number, best: Int32Array, bestRule: Int32Array): void {
  const { firstRecord } = layout
  for (let n = 0, r = firstRecord << RECORD_BITS; n < many; n++, r += 1 << RECORD_BITS) {
    const home = homes[n], table = (home & HOME_TABLE) - 1
    if (home === 0 || home >= IS_TRIE || w[r + PRIORITY] >= best[table]) continue
    best[table] = w[r + PRIORITY]
    bestRule[table] = firstRecord + n
  }
}

/** What a generation of the pruning index has for each table: where its plane begins, and its bit there. */
export interface Bits { readonly planes: Int32Array; readonly ones: Int32Array }

/** Prefixes from this length on are not found by the word for short ones. */
export const LEAST_BITS = SHORT_BITS - SPREAD_BITS

/** Sets the bits of the addresses of `end` records, of one side: `word` is 0 for the local address, PEER for the peer's. */
function addAddresses(
  w: Int32Array, { firstRecord, fieldWords }: Layout, homes: Uint16Array, end: number, { planes, ones }: Bits, shift: number,
  word: number, bitsAt: number, multiplier: number,
): void {
  let between = 0
  const wild = WILD + 2 * word, field = FIELDS + 2 * word * fieldWords
  for (let n = 0, r = firstRecord << RECORD_BITS; n < end; n++, r += 1 << RECORD_BITS) {
    const home = homes[n]
    if (home === 0 || home >= IS_TRIE) continue
    const table = (home & HOME_TABLE) - 1, g = planes[table], one = ones[table]
    // No jumps to what is rare: code for it would not be compiled with the rest, and then all of it be compiled again.
    const address = w[r + word], bits = w[r + META] >>> bitsAt & 63
    const short = field + (Math.imul(address & SHORT_MASK, multiplier) >>> shift)
    const long = field + fieldWords + (Math.imul(address & LONG_MASK, multiplier) >>> shift)
    w[g + (bits >= LEAST_BITS ? short : wild)] |= one
    w[g + (bits >= LONG_BITS ? long : wild + 1)] |= one
    between |= bits - SHORT_BITS & LEAST_BITS - 1 - bits
  }
  if (between >= 0) return
  // Prefixes too short for one entry, but not for all of them.
  for (let n = 0, r = firstRecord << RECORD_BITS; n < end; n++, r += 1 << RECORD_BITS) {
    const bits = w[r + META] >>> bitsAt & 63, home = homes[n]
    if (bits < LEAST_BITS || bits >= SHORT_BITS || home === 0 || home >= IS_TRIE) continue
    const table = (home & HOME_TABLE) - 1, at = planes[table] + field
    for (let other = (1 << SHORT_BITS - bits) - 1; other >= 0; other--) {
      w[at + (Math.imul(w[r + word] + (other << 32 - SHORT_BITS), multiplier) >>> shift)] |= ones[table]
    }
  }
}

/** The same of ports: `field` is that of the side's entries, `word` that of its range. A range within one that its table has all of
 * by now, between `low` and `high`, has nothing to add. */
function addPorts(
  w: Int32Array, { firstRecord }: Layout, homes: Uint16Array, end: number, { planes, ones }: Bits, word: number, field: number,
): void {
  const low = new Int32Array(MOST_TABLES).fill(1), high = new Int32Array(MOST_TABLES)
  for (let n = 0, r = firstRecord << RECORD_BITS; n < end; n++, r += 1 << RECORD_BITS) {
    const home = homes[n]
    if (home === 0 || home >= IS_TRIE) continue
    const table = (home & HOME_TABLE) - 1, g = planes[table] + field, one = ones[table], range = w[r + word]
    const first = portEntry(range >>> 16), last = portEntry(range & 0xffff)
    if (first === last) w[g + first] |= one
    else if (first < low[table] || last > high[table]) {
      for (let entry = first; entry <= last; entry++) w[g + entry] |= one
      if (last - first >= high[table] - low[table]) {
        low[table] = first
        high[table] = last
      }
    }
  }
}

/** The same of zones and protocols. */
function addZones(
  w: Int32Array, { firstRecord }: Layout, homes: Uint16Array, end: number, { planes, ones }: Bits,
): void {
  // Zones that a table has all protocols of.
  const covered = new Uint8Array(MOST_TABLES)
  for (let n = 0, r = firstRecord << RECORD_BITS; n < end; n++, r += 1 << RECORD_BITS) {
    const home = homes[n]
    if (home === 0 || home >= IS_TRIE) continue
    const table = (home & HOME_TABLE) - 1, g = planes[table] + ZONES, one = ones[table], meta = w[r + META]
    for (let zones = meta >>> META_ZONES & 0xff & ~covered[table]; zones !== 0; zones &= zones - 1) {
      const zone = 31 - Math.clz32(zones & -zones)
      if ((meta & ANY_PROTOCOL) === 0) w[g + (zone << 8 | meta & 0xff)] |= one
      else {
        covered[table] |= 1 << zone
        for (let protocol = 0; protocol < 256; protocol++) w[g + (zone << 8 | protocol)] |= one
      }
    }
  }
}
