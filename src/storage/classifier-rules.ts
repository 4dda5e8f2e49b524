/**
 * The rules of one half of a classifier: which merged table each belongs to, and the buckets of all tables in one hash.
 *
 * A table hashes what its rules have in common: so many bits of both addresses, and perhaps ports. A rule fits into every table
 * that asks for no more than it has, so it goes into a coarse one of few, and into finer ones when the rules that share its place
 * there become many. A bucket is a chain of rules by priority, of whatever table: a rule that does not apply is no harm, for its
 * whole condition is compared. The hash grows by one bucket at a time (linear hashing: Litwin, VLDB 1980).
 *
 * Rules that share a place in the finest table too are put into a trie over one of their port ranges. A record stands for the
 * trie in the chain, with the condition that all its rules have in common.
 */
import {
  ANY_PROTOCOL, BUCKET_MASK, BUCKETS, COUNT, createLayout, FREE, HEAD_MIXED, HEAD_RECORD, HEAD_TAG, HIGH, HOME_TABLE, IN_TRIE,
  IS_TRIE, LAST_PRIORITY, META_LOCAL_BITS, META_PAIRED, META_PEER_BITS, META_ZONES, MOST_TABLES, MULTIPLIERS, NEVER, NO_PORTS,
  type Layout, type Tables,
} from './classifier-layout.ts'
import { createIndex, type PruningIndex } from './classifier-index.ts'
import { createBuilder4, type BulkKeys, type BulkRules, type Builder4 } from './classifier-bulk4.ts'
import { createRangeTries, type RangeTries } from './range-trie.ts'
import type { Prng } from '../base/prng.ts'

export interface Rules {
  readonly layout: Layout
  readonly words: Int32Array
  readonly tries: RangeTries
  readonly index: PruningIndex
  /** The record. */
  insert(condition: Condition, priority: number, value: number): number
  /** Makes room in the hash for so many rules at once, and leaves what is inserted out of the index until `finish`. */
  begin(count: number): void
  finish(): void
  /** Between those two: enters the first `many` IPv4 rules. Their records are consecutive; returns the first one, or 0 if there
   * have been rules before, and they have to be inserted one by one. */
  enterAll(many: number, columns: BulkKeys, priorities: Int32Array, values: Int32Array): number
  /** False if there is no such rule. */
  remove(record: number): boolean
  bytes(): number
}

/** A rule's condition, checked and with the host bits cleared. */
export interface Condition {
  readonly addresses: Int32Array
  localBits: number
  peerBits: number
  localPorts: number
  peerPorts: number
  paired: boolean
  /** 0..255 or -1 */
  protocol: number
  zones: number
}

/** Prefix lengths of the coarse tables. Chosen, as all here, by counting probes and comparisons in the ClassBench sets. */
const COARSE_4 = [0, 10, 18, 30], COARSE_6 = [0, 24, 32, 48, 64, 128]
const ANY_PORT = 0xffff
/** Rules in one place of a coarse table, of the finest; more are sent on, or put into a trie. */
const CROWD = 10, FINEST_CROWD = 16
/** Bit of a table's kind: it takes rules that come before all that a table of so many has, which thus keeps its place. */
const AHEAD = 4, LARGE_TABLE = 256
/** Above so many tables a new one has to save more. */
const FEW_TABLES = 32, MANY_TABLES = 60
const BUCKETS_A_RULE = 4
const CROWD_AT_MANY = 8
/** For fewer it does not pay to make a builder. */
const MANY_RULES = 2048

/** Where IPv4 rules lie in memory that is given, all 0: `layout.words` from its beginning on, then, by their addresses in bytes, a
 * word of each record, and columns of MOST_TABLES words for what is known of tables. */
export interface RulesMemory {
  readonly buffer: ArrayBuffer
  readonly homes: number
  readonly localMasks: number
  readonly peerMasks: number
  readonly portMasks: number
  readonly salt: number
  readonly count: number
  /** What enters many rules at once into this memory; null: what does it in memory of any kind. */
  createBuilder(rules: BulkRules): Builder4 | null
}

/** Rules in memory of their own, unless some is given. */
export function createRules(
  version: 4 | 6, capacity: number, prng: Prng, layout = createLayout(version, capacity), memory: RulesMemory | null = null,
): Rules {
  const { width, recordBits, heads, firstRecord, mostRecords, mostBuckets } = layout
  const { ports: PORTS, meta: META, priority: PRIORITY, value: VALUE, next: NEXT, bits: BITS } = layout
  const words = memory === null ? new Int32Array(layout.words) : new Int32Array(memory.buffer, 0, layout.words), w = words
  const homes = memory === null ? new Uint16Array(mostRecords) : new Uint16Array(memory.buffer, memory.homes, mostRecords)
  const column = (name: 'localMasks' | 'peerMasks' | 'portMasks' | 'salt' | 'count', wide = 1) => memory === null
    ? new Int32Array(wide * MOST_TABLES) : new Int32Array(memory.buffer, memory[name], MOST_TABLES)
  const tables: Tables = {
    localBits: new Uint8Array(MOST_TABLES), peerBits: new Uint8Array(MOST_TABLES), exact: new Uint8Array(MOST_TABLES),
    localMasks: column('localMasks', width), peerMasks: column('peerMasks', width),
    portMasks: column('portMasks'), salt: column('salt'), count: column('count'),
  }
  const numbers = new Map<number, number>()
  const tries = createRangeTries()
  let trieCount = 0, isFindable = true
  const coarse = new Uint8Array(129)
  for (let bits = 0, at = 0; bits <= 128; bits++) {
    const grid = width === 1 ? COARSE_4 : COARSE_6
    if (at + 1 < grid.length && bits >= grid[at + 1]) at++
    coarse[bits] = grid[at]
  }

  for (let n = 0; n < 9; n++) w[MULTIPLIERS + n] = prng.next() | 1
  for (let table = 0; table < MOST_TABLES; table++) tables.salt[table] = prng.next()
  w[NO_PORTS] = -65536
  w[LAST_PRIORITY] = NEVER
  w[BUCKETS] = 64
  w[BUCKET_MASK] = 63
  w[HIGH] = firstRecord
  const index = createIndex(layout, words, homes, tables)
  openTable(0, 0, 0)

  function mask(bits: number, word: number): number {
    const left = bits - 32 * word
    return left <= 0 ? 0 : left >= 32 ? -1 : -1 << 32 - left
  }

  function isExact(ports: number): boolean {
    return ports >>> 16 === (ports & 0xffff)
  }

  function tableKey(localBits: number, peerBits: number, exact: number): number {
    return localBits << 16 | peerBits << 8 | exact
  }

  /** A table of that kind, new if need be and if there is a number left. -1: none. */
  function openTable(localBits: number, peerBits: number, exact: number): number {
    const key = tableKey(localBits, peerBits, exact)
    const known = numbers.get(key)
    if (known !== undefined) return known
    let table = 0
    // Table 0 takes any rule and stays.
    if (numbers.size > 0) for (table = 1; table < MOST_TABLES; table++) if (!isNamed(table)) break
    if (table === MOST_TABLES) table = retire()
    if (table < 0) return -1
    numbers.set(key, table)
    tables.localBits[table] = localBits
    tables.peerBits[table] = peerBits
    tables.exact[table] = exact
    tables.portMasks[table] = ((exact & 1) !== 0 ? -65536 : 0) | ((exact & 2) !== 0 ? 0xffff : 0)
    for (let word = 0; word < width; word++) {
      tables.localMasks[table * width + word] = mask(localBits, word)
      tables.peerMasks[table * width + word] = mask(peerBits, word)
    }
    return table
  }

  function keyOf(table: number): number {
    return tableKey(tables.localBits[table], tables.peerBits[table], tables.exact[table])
  }

  function isNamed(table: number): boolean {
    return numbers.get(keyOf(table)) === table
  }

  /** A table that is of no more use, forgotten; or -1. */
  function retire(): number {
    for (let table = 1; table < MOST_TABLES; table++) {
      if (!index.isRetired(table)) continue
      numbers.delete(keyOf(table))
      return table
    }
    return -1
  }

  function hash(addresses: Int32Array, at: number, ports: number, table: number): number {
    const { localMasks, peerMasks } = tables
    let sum = tables.salt[table] + Math.imul(ports & tables.portMasks[table], w[MULTIPLIERS])
    for (let word = 0, m = table * width; word < width; word++, m++) {
      sum = sum + Math.imul(addresses[at + word] & localMasks[m], w[MULTIPLIERS + 1 + word]) | 0
      sum = sum + Math.imul(addresses[at + width + word] & peerMasks[m], w[MULTIPLIERS + 5 + word]) | 0
    }
    sum = Math.imul(sum ^ sum >>> 15, 0x2c1b3c6d)
    return sum ^ sum >>> 13
  }

  function lowPorts(localPorts: number, peerPorts: number): number {
    return localPorts & -65536 | peerPorts >>> 16
  }

  function hashOf(record: number): number {
    const r = record << recordBits
    return hash(w, r, lowPorts(w[r + PORTS], w[r + PORTS + 1]), (homes[record - firstRecord] & HOME_TABLE) - 1)
  }

  function bucketOf(hashed: number): number {
    const bucket = hashed & w[BUCKET_MASK]
    return heads + (bucket < w[BUCKETS] ? bucket : hashed & w[BUCKET_MASK] >>> 1)
  }

  /** Whether a record of `table` has the place in it that the rule at `r` has. */
  function sharesPlace(record: number, r: number, table: number): boolean {
    if ((homes[record - firstRecord] & HOME_TABLE) - 1 !== table) return false
    const other = record << recordBits
    const { localMasks, peerMasks } = tables
    for (let word = 0, m = table * width; word < width; word++, m++) {
      if (((w[other + word] ^ w[r + word]) & localMasks[m]) !== 0) return false
      if (((w[other + width + word] ^ w[r + width + word]) & peerMasks[m]) !== 0) return false
    }
    const exact = tables.exact[table], ports = other + PORTS
    return ((exact & 1) === 0 || w[ports] === w[r + PORTS]) && ((exact & 2) === 0 || w[ports + 1] === w[r + PORTS + 1])
  }

  /** What the walk through a bucket has found: how many share the place, and their trie; and the hash that led there. */
  let crowd = 0, trie = 0, walked = 0

  function inspect(r: number, table: number): void {
    crowd = trie = 0
    walked = hash(w, r, lowPorts(w[r + PORTS], w[r + PORTS + 1]), table)
    for (let record = w[bucketOf(walked)] & HEAD_RECORD; record !== 0; record = w[(record << recordBits) + NEXT]) {
      if (!sharesPlace(record, r, table)) continue
      if (homes[record - firstRecord] >= IS_TRIE) trie = record
      else crowd++
    }
  }

  /** The order of a chain. A trie may hold a rule of any number, so it comes before rules of the same priority. */
  function isBefore(a: number, b: number): boolean {
    const difference = w[(a << recordBits) + PRIORITY] - w[(b << recordBits) + PRIORITY]
    if (difference !== 0) return difference < 0
    const trieA = homes[a - firstRecord] >= IS_TRIE, trieB = homes[b - firstRecord] >= IS_TRIE
    return trieA !== trieB ? trieA : a < b
  }

  function link(record: number): void {
    linkBy(record, hashOf(record))
  }

  function linkBy(record: number, hashed: number): void {
    const at = bucketOf(hashed), head = w[at]
    const others = (head ^ hashed) >>> 24 === 0 ? 0 : HEAD_MIXED
    const flags = head === 0 ? hashed & HEAD_TAG : head & ~HEAD_RECORD | others
    let before = 0, next = head & HEAD_RECORD
    while (next !== 0 && isBefore(next, record)) {
      before = next
      next = w[(next << recordBits) + NEXT]
    }
    w[(record << recordBits) + NEXT] = next
    if (before === 0) w[at] = flags | record
    else {
      w[(before << recordBits) + NEXT] = record
      w[at] = flags | head & HEAD_RECORD
    }
  }

  function unlink(record: number): void {
    const at = bucketOf(hashOf(record)), next = w[(record << recordBits) + NEXT]
    let before = w[at] & HEAD_RECORD
    if (before === record) {
      w[at] = next === 0 ? 0 : w[at] & ~HEAD_RECORD | next
      return
    }
    while (w[(before << recordBits) + NEXT] !== record) before = w[(before << recordBits) + NEXT]
    w[(before << recordBits) + NEXT] = next
  }

  /** Adds a bucket: its rules are those of the bucket half as far whose hash has one more bit set. */
  function split(): void {
    const bucket = w[BUCKETS]
    if (bucket > w[BUCKET_MASK]) w[BUCKET_MASK] = 2 * w[BUCKET_MASK] + 1
    w[BUCKETS] = bucket + 1
    const from = heads + (bucket & w[BUCKET_MASK] >>> 1)
    let record = w[from] & HEAD_RECORD, lastKept = 0, lastMoved = 0
    let kept = 0, moved = 0
    while (record !== 0) {
      const next = w[(record << recordBits) + NEXT], hashed = hashOf(record)
      const moves = (hashed & w[BUCKET_MASK]) === bucket
      const last = moves ? lastMoved : lastKept
      if (last !== 0) w[(last << recordBits) + NEXT] = record
      w[(record << recordBits) + NEXT] = 0
      if (moves) {
        moved = moved === 0 ? hashed & HEAD_TAG | record : (moved ^ hashed) >>> 24 === 0 ? moved : moved | HEAD_MIXED
        lastMoved = record
      } else {
        kept = kept === 0 ? hashed & HEAD_TAG | record : (kept ^ hashed) >>> 24 === 0 ? kept : kept | HEAD_MIXED
        lastKept = record
      }
      record = next
    }
    w[from] = kept
    w[heads + bucket] = moved
  }

  function take(): number {
    const record = w[FREE]
    if (record === 0) return w[HIGH]++
    w[FREE] = w[(record << recordBits) + NEXT]
    return record
  }

  function give(record: number): void {
    homes[record - firstRecord] = 0
    w[(record << recordBits) + VALUE] = 0
    w[(record << recordBits) + NEXT] = w[FREE]
    w[FREE] = record
  }

  function write(record: number, rule: Condition): void {
    const { addresses, localBits, peerBits, localPorts, peerPorts, paired, protocol, zones } = rule
    const r = record << recordBits
    for (let word = 0; word < 2 * width; word++) w[r + word] = addresses[word]
    w[r + PORTS] = localPorts
    w[r + PORTS + 1] = peerPorts
    w[r + META] = (protocol < 0 ? ANY_PROTOCOL : protocol) | zones << META_ZONES | (paired ? META_PAIRED : 0)
    if (width === 1) w[r + META] |= localBits << META_LOCAL_BITS | peerBits << META_PEER_BITS
    else w[r + BITS] = localBits << 8 | peerBits
  }

  /** The table for a rule that would have to go into `table`: mostly that, but see AHEAD. */
  function orAhead(table: number, priority: number): number {
    if (tables.count[table] < LARGE_TABLE || priority >= index.bestOf(table)) return table
    const local = tables.localBits[table], peer = tables.peerBits[table], kind = tables.exact[table] | AHEAD
    if (index.rankOf(table) < 0 || (numbers.size >= MANY_TABLES && !numbers.has(tableKey(local, peer, kind)))) return table
    const ahead = openTable(local, peer, kind)
    return ahead < 0 ? table : ahead
  }

  /** The coarse table for a rule. */
  function firstTable(localBits: number, peerBits: number, localPorts: number, peerPorts: number): number {
    const exact = (isExact(localPorts) ? 1 : 0) | (isExact(peerPorts) ? 2 : 0)
    return Math.max(0, openTable(coarse[localBits], coarse[peerBits], exact === 3 ? 1 : exact))
  }

  let ownBuilder: Builder4 | null = null
  const bulk: BulkRules = { layout, words, homes, tables, crowd: CROWD, firstTable, link }

  /** Chooses a table for the rule at `r`; `crowd` and `trie` tell of the place it has there. */
  function choose(r: number, { localBits, peerBits, localPorts, peerPorts }: Condition): number {
    const exact = (isExact(localPorts) ? 1 : 0) | (isExact(peerPorts) ? 2 : 0)
    let chosen = 0, least = -1
    for (let level = 0; level < 3; level++) {
      const local = level < 2 ? coarse[localBits] : localBits, peer = level < 2 ? coarse[peerBits] : peerBits
      // A port of two that are exact is enough to begin with.
      const kind = level === 0 && exact === 3 ? 1 : exact
      if (level > 0 && !numbers.has(tableKey(local, peer, kind))) {
        const many = numbers.size
        if (many >= MANY_TABLES || least < (many < FEW_TABLES ? CROWD : CROWD_AT_MANY)) continue
      }
      const usual = openTable(local, peer, kind)
      if (usual < 0) continue
      const table = orAhead(usual, w[r + PRIORITY])
      inspect(r, table)
      if (crowd < CROWD || trie !== 0) return table
      if (least < 0 || crowd < least) {
        least = crowd
        chosen = table
      }
    }
    inspect(r, chosen)
    return chosen
  }

  function insert(condition: Condition, priority: number, value: number): number {
    const record = take(), r = record << recordBits
    write(record, condition)
    w[r + PRIORITY] = priority
    w[r + VALUE] = value
    index.touch(record)
    enter(record, condition)
    for (let n = 0; n < 2 * BUCKETS_A_RULE && w[BUCKETS] < BUCKETS_A_RULE * w[COUNT] && w[BUCKETS] < mostBuckets; n++) split()
    return record
  }

  /** Gives a record that is written its place. */
  function enter(record: number, condition: Condition): void {
    const table = choose(record << recordBits, condition)
    homes[record - firstRecord] = table + 1
    tables.count[table]++
    w[COUNT]++
    if (trie === 0 && crowd >= FINEST_CROWD && trieCount < capacity >>> 3) convert(record, table)
    else if (trie === 0) linkBy(record, walked)
    else enterTrie(trie, record)
    if (isFindable) index.enter(record, table)
  }

  function begin(count: number): void {
    isFindable = false
    // Of an empty hash the size can be set as it will be.
    if (w[COUNT] > 0) return
    w[BUCKETS] = Math.max(w[BUCKETS], Math.min(BUCKETS_A_RULE * count, mostBuckets))
    while (w[BUCKET_MASK] < w[BUCKETS] - 1) w[BUCKET_MASK] = 2 * w[BUCKET_MASK] + 1
  }

  function enterAll(many: number, columns: BulkKeys, priorities: Int32Array, values: Int32Array): number {
    if (w[HIGH] !== firstRecord) return 0
    const builder = builderFor(many)
    builder.write(many, columns, priorities, values)
    w[HIGH] += many
    const condition = { addresses: w, localBits: 0, peerBits: 0, localPorts: 0, peerPorts: 0, paired: false, protocol: 0, zones: 0 }
    for (let n = builder.link(0, many); n < many; n = builder.link(n + 1, many)) {
      const r = firstRecord + n << recordBits
      condition.localBits = w[r + META] >>> META_LOCAL_BITS & 63
      condition.peerBits = w[r + META] >>> META_PEER_BITS & 63
      condition.localPorts = w[r + PORTS]
      condition.peerPorts = w[r + PORTS + 1]
      enter(firstRecord + n, condition)
      w[COUNT]--
    }
    w[COUNT] += many
    return firstRecord
  }

  function builderFor(many: number): Builder4 {
    if (memory !== null && many >= MANY_RULES) ownBuilder ??= memory.createBuilder(bulk)
    return ownBuilder ?? createBuilder4(bulk)
  }

  function finish(): void {
    isFindable = true
    index.rebuild(width === 1 ? builderFor(w[COUNT]) : null)
  }

  function side(trie: number): number {
    return -w[(trie << recordBits) + VALUE] & 1
  }

  function root(trie: number): number {
    return -w[(trie << recordBits) + VALUE] & -2
  }

  function enterTrie(trie: number, record: number): void {
    const t = trie << recordBits, r = record << recordBits
    const range = w[r + PORTS + side(trie)], priority = w[r + PRIORITY]
    tries.insert(root(trie), range >>> 16, range & 0xffff, priority, record)
    homes[record - firstRecord] |= IN_TRIE
    if (priority >= w[t + PRIORITY]) return
    unlink(trie)
    w[t + PRIORITY] = priority
    link(trie)
  }

  /** Puts a rule and those that share its place into a trie, over the side whose ranges are the narrower. */
  function convert(record: number, table: number): void {
    const trie = take(), t = trie << recordBits, r = record << recordBits
    const members: number[] = [record]
    const at = bucketOf(hashOf(record))
    for (let one = w[at] & HEAD_RECORD; one !== 0; one = w[(one << recordBits) + NEXT]) {
      if (sharesPlace(one, r, table)) members.push(one)
    }
    let local = 0, peer = 0
    for (const one of members) {
      if (one !== record) unlink(one)
      const ports = (one << recordBits) + PORTS
      local += (w[ports] & 0xffff) - (w[ports] >>> 16)
      peer += (w[ports + 1] & 0xffff) - (w[ports + 1] >>> 16)
    }
    const localBits = tables.localBits[table], peerBits = tables.peerBits[table], exact = tables.exact[table]
    const addresses = new Int32Array(2 * width)
    for (let word = 0; word < width; word++) {
      addresses[word] = w[r + word] & mask(localBits, word)
      addresses[width + word] = w[r + width + word] & mask(peerBits, word)
    }
    write(trie, {
      addresses, localBits, peerBits, localPorts: (exact & 1) !== 0 ? w[r + PORTS] : ANY_PORT,
      peerPorts: (exact & 2) !== 0 ? w[r + PORTS + 1] : ANY_PORT, paired: false, protocol: -1, zones: 0xff,
    })
    w[t + VALUE] = -(tries.create() | (peer < local ? 1 : 0))
    w[t + PRIORITY] = w[r + PRIORITY]
    homes[trie - firstRecord] = table + 1 | IS_TRIE
    trieCount++
    link(trie)
    for (const one of members) enterTrie(trie, one)
  }

  function remove(record: number): boolean {
    const home = record < firstRecord || record >= w[HIGH] ? 0 : homes[record - firstRecord]
    if (home === 0 || home >= IS_TRIE) return false
    const table = (home & HOME_TABLE) - 1, r = record << recordBits
    if ((home & IN_TRIE) === 0) unlink(record)
    else leaveTrie(record, r, table)
    give(record)
    tables.count[table]--
    w[COUNT]--
    index.noteRemoval()
    return true
  }

  function leaveTrie(record: number, r: number, table: number): void {
    inspect(r, table)
    const range = w[r + PORTS + side(trie)]
    tries.remove(root(trie), range >>> 16, range & 0xffff, record)
    if (!tries.isEmpty(root(trie))) return
    unlink(trie)
    tries.destroy(root(trie))
    trieCount--
    give(trie)
  }

  function bytes(): number {
    return words.BYTES_PER_ELEMENT * (32 + w[BUCKETS] + (w[HIGH] - firstRecord << recordBits)) + 2 * (w[HIGH] - firstRecord)
      + 16 * MOST_TABLES + index.bytes() + tries.bytes()
  }

  return { layout, words, tries, index, insert, begin, enterAll, finish, remove, bytes }
}
