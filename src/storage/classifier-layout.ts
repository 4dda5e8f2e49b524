/**
 * Where everything lies in the one Int32Array of a classifier's half (one half for IPv4, one for IPv6). It is reserved for the
 * whole capacity at once; a page costs memory when it is first written, and everything grows from its low end.
 *
 *   state | generation 0 | generation 1 | heads of buckets | rules
 *
 * A generation is the pruning index: the descriptors of the tables, and two planes of words, one word for each value of each
 * field. Bit b of a word of the first plane tells that the table of rank b may hold a rule for such a value; the second plane is
 * for the tables from rank 32 on, and few packets need it. One generation is in use; the other is empty, or being built.
 */

/**
 * State. Its first words are also a record of IPv4, number 0, that applies to nothing: what an empty bucket begins with, and what
 * has been found as long as nothing has.
 */
export const COUNT = 0, BUCKETS = 1        // rules; buckets in use
export const NO_PORTS = 2                  // a range that ends before it begins
export const ACTIVE = 3                    // where the generation in use begins
export const FREE = 4                      // first free record
export const LAST_PRIORITY = 5             // NEVER; the two words that follow stay 0
export const BUCKET_MASK = 17              // 2^k - 1 with 2^k ≥ buckets: those not there yet are found with a bit less
export const HIGH = 18                     // first record that was never used
export const MULTIPLIERS = 8               // of the hash, odd: ports, then a word of local and peer address each
const STATE_WORDS = 32

/** A generation. */
export const TABLES = 0                    // ranks in use
export const SHIFT = 1                     // how far the hash of an address is cut to make an entry of a field
export const TABLE = 32                    // descriptors, by rank
export const MOST_TABLES = 128
/** The last bit stands for all ranks from here on. */
export const SHARED_RANK = 63

/** A descriptor: what a look-up needs of a table. */
export const T_LOCAL = 0, T_PEER = 4       // masks of the addresses, up to four words each
export const T_MASKS_4 = 0                 // IPv4: masks of local and peer address and port side by side, and again as above
export const T_PORTS = 8, T_SALT = 9       // mask of the ports; what sets its hashes apart
export const T_BEST = 10, T_BEST_RULE = 11 // nothing in the table comes before this
export const T_SUFFIX = 12                 // nor has anything in this and all later tables a lower priority number
export const TABLE_BITS = 4
export const NEVER = 0x7fffffff

export const PLANES = TABLE + (MOST_TABLES << TABLE_BITS)

/** A plane. A word for each address field comes first: tables with a prefix too short for it. */
export const WILD = 0
/** Ports below 4096 have an entry each, those above share it with 31 others. */
export const PORT_ENTRIES = 6016
export const LOCAL_PORTS = 16
export const PEER_PORTS = LOCAL_PORTS + PORT_ENTRIES
/** Entry zone << 8 | protocol. */
export const ZONES = PEER_PORTS + PORT_ENTRIES
export const ZONE_ENTRIES = 2048
/** Address fields: of the local address, then of the peer's, from the shortest prefix to the longest. */
export const FIELDS = ZONES + ZONE_ENTRIES

export function portEntry(port: number): number {
  // All ones for ports from 4096 on: a jump here would be foretold wrongly every other time.
  const high = 4095 - port >> 31
  return port & ~high | 3968 + (port >>> 5) & high
}

/** What the two fields of an IPv4 address hold: prefixes of these lengths, hashed. They are among those of the coarse tables. */
export const SHORT_BITS = 18, LONG_BITS = 30
/** How many bits too short a prefix may be to have all its entries set. */
export const SPREAD_BITS = 6
export const SHORT_MASK = -1 << 32 - SHORT_BITS, LONG_MASK = -1 << 32 - LONG_BITS

/** A head of a bucket: the first record, and eight bits of the hash if all in the bucket have the same. */
export const HEAD_RECORD = 0x7fffff, HEAD_MIXED = 0x800000, HEAD_TAG = 0xff000000 | 0

/** What is known of a table outside the path of packets, by its number. */
export interface Tables {
  readonly localBits: Uint8Array
  readonly peerBits: Uint8Array
  /** 1: the local port is part of the hash, 2: the peer's. */
  readonly exact: Uint8Array
  /** What of the addresses (in words, of each table one after the other) and ports is part of the hash. */
  readonly localMasks: Int32Array
  readonly peerMasks: Int32Array
  readonly portMasks: Int32Array
  readonly salt: Int32Array
  readonly count: Int32Array
}

/** Where a record belongs, kept beside it: its table's number + 1, or 0 if it is free, and what it is. */
export const HOME_TABLE = 0xff, IN_TRIE = 0x4000, IS_TRIE = 0x8000

/** META of a record: protocol, ANY_PROTOCOL, then (IPv4) prefix lengths of local and peer, then zones. */
export const ANY_PROTOCOL = 0x100
export const META_LOCAL_BITS = 9, META_PEER_BITS = 15, META_ZONES = 21
/** The n-th local port goes with the n-th peer port. */
export const META_PAIRED = 1 << 29

export interface Layout {
  version: 4 | 6
  /** Words of an address. */
  width: 1 | 4
  /** A record is 1 << recordBits words: addresses, then these. */
  recordBits: number
  ports: number
  meta: number
  priority: number
  /** > 0: of a rule. < 0: the record stands for a trie, -(root | 1 if it is over the peer's port). 0: free. */
  value: number
  next: number
  /** IPv6 only: prefix lengths, local << 8 | peer. */
  bits: number
  /** Address fields a side. Field f of the peer is field `kinds` + f. */
  kinds: number
  /** Most entries of a field, as a power of two. */
  fieldBits: number
  fieldWords: number
  generations: readonly [number, number]
  planeWords: number
  heads: number
  mostBuckets: number
  firstRecord: number
  mostRecords: number
  words: number
}

/** Entries of a field for so many rules, as a power of two. More would save few probes, and cost more in loads that miss. */
export function fieldBitsFor(rules: number): number {
  return Math.min(Math.max(32 - Math.clz32(rules), 10), 16)
}

export function createLayout(version: 4 | 6, capacity: number): Layout {
  const width = version === 4 ? 1 : 4, recordBits = version === 4 ? 3 : 4, kinds = version === 4 ? 2 : 3
  const fieldBits = fieldBitsFor(capacity), fieldWords = 1 << fieldBits
  const planeWords = FIELDS + 2 * kinds * fieldWords, generationWords = PLANES + 2 * planeWords
  const heads = STATE_WORDS + 2 * generationWords
  const mostBuckets = Math.max(64, 4 << 32 - Math.clz32(capacity - 1))
  const firstRecord = (heads + mostBuckets >>> recordBits) + 1
  // Each trie stands for more than eight rules and takes a record itself.
  const mostRecords = capacity + (capacity >>> 3) + 1
  return {
    version, width, recordBits, ports: 2 * width, meta: 2 * width + 2, priority: 2 * width + 3, value: 2 * width + 4,
    next: 2 * width + 5, bits: 2 * width + 6, kinds, fieldBits, fieldWords,
    generations: [STATE_WORDS, STATE_WORDS + generationWords], planeWords, heads, mostBuckets, firstRecord, mostRecords,
    words: firstRecord + mostRecords << recordBits,
  }
}
