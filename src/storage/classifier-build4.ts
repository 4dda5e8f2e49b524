/**
 * As `classifier-bulk4`, in WebAssembly over the same memory: a loop that runs once is compiled before it begins, while one of
 * TypeScript is over before it is compiled well. Records, hashes, chains and the index become the same, bit by bit.
 */
import {
  ANY_PROTOCOL, BUCKET_MASK, BUCKETS, FIELDS, HEAD_MIXED, HEAD_RECORD, HEAD_TAG, HOME_TABLE, IS_TRIE, LOCAL_PORTS, LONG_BITS,
  LONG_MASK, META_LOCAL_BITS, META_PAIRED, META_PEER_BITS, META_ZONES, MOST_TABLES, MULTIPLIERS, PEER_PORTS, SHORT_BITS,
  SHORT_MASK, WILD, ZONES, type Layout,
} from './classifier-layout.ts'
import { LEAST_BITS, type Builder4, type BulkKeys, type BulkRules } from './classifier-bulk4.ts'
import {
  and, atLeast, atMost, call, drop, equal, get, greater, instantiate, isZero, leave, less, lessUnsigned, load, load16,
  loadByte, locals, minus, moduleOf, notEqual, or, plus, repeatWhile, select, set, shiftLeft, shiftRightUnsigned, store,
  store16, storeByte, times, trailingZeros, when, xor, type Code, type FunctionCode, type Value,
} from './wasm-code.ts'

type Columns = Omit<BulkKeys, 'keys'>
type Room = ReturnType<typeof builderRoom>

/** Records in a call: when it has run for a while, its code may be compiled again, better, for the next one. */
const CHUNK = 1024
const COLUMN_BYTES = 4 * MOST_TABLES

/** From the byte `begin` on: columns with a word for each table, what rules are like and which table that is, rules to be written,
 * and a table for each record. */
export function builderRoom({ mostRecords }: Layout, begin: number, stride: number) {
  const column = (n: number) => (begin + 15 & -16) + n * COLUMN_BYTES
  const known = column(14), keys = known + (1 << 14), priorities = keys + 4 * stride * CHUNK, values = priorities + 4 * CHUNK
  const homes = values + 4 * CHUNK
  return {
    localMasks: column(0), peerMasks: column(1), portMasks: column(2), salt: column(3), count: column(4), best: column(5),
    bestRule: column(6), planes: column(7), ones: column(8),
    // Entries of a port field that a table has all of, of the local port and the peer's, and zones that it has all protocols of.
    low: [column(9), column(10)] as const, high: [column(11), column(12)] as const, covered: column(13),
    known, keys, priorities, values, homes, end: homes + 2 * mostRecords,
  }
}

// A record of IPv4, in bytes.
const PEER = 4, PORTS = 8, META = 16, PRIORITY = 20, VALUE = 24, NEXT = 28
const RECORD_BITS = 5

/** Functions by number: what is imported comes first. */
const FIRST_TABLE = 0, LINK = 1

interface Exports {
  write(from: number, end: number, home: number): void
  link(from: number, end: number, home: number): number
  findBest(from: number, end: number, home: number): void
  addAll(from: number, end: number, home: number, shift: number): void
}

/** Null where there is no WebAssembly. `memory` has the rules and their room. */
export function createWasmBuilder4(
  memory: { buffer: ArrayBuffer }, room: Room, columns: Columns, { layout, words, crowd, firstTable, link }: BulkRules,
): Builder4 | null {
  const made = instantiate(moduleOf({ firstTable: 4, link: 1 }, {
    write: writeCode(words, room, columns), link: linkCode(layout, room, crowd), findBest: findBestCode(room),
    addAll: addAllCode(words, layout, room),
  }), { memory, firstTable, link }) as Exports | null
  if (made === null) return null
  const { buffer } = memory, { stride } = columns
  const view = (at: number, many = MOST_TABLES) => new Int32Array(buffer, at, many)
  const keysHere = view(room.keys, stride * CHUNK)
  const prioritiesHere = view(room.priorities, CHUNK), valuesHere = view(room.values, CHUNK)
  const addressOf = (n: number) => layout.firstRecord + n << RECORD_BITS, homeOf = (n: number) => room.homes + 2 * n

  function inChunks(many: number, work: (from: number, end: number, home: number) => void): void {
    for (let n = 0; n < many; n += CHUNK) work(addressOf(n), addressOf(Math.min(many, n + CHUNK)), homeOf(n))
  }

  return {
    write(many, { keys }, priorities, values) {
      for (let n = 0; n < many; n += CHUNK) {
        const end = Math.min(many, n + CHUNK)
        keysHere.set(keys.subarray(n * stride, end * stride))
        prioritiesHere.set(priorities.subarray(n, end))
        valuesHere.set(values.subarray(n, end))
        made.write(addressOf(n), addressOf(end), homeOf(n))
      }
    },
    link(n, many) {
      while (n < many) {
        const end = Math.min(many, n + CHUNK)
        const stopped = (made.link(addressOf(n), addressOf(end), homeOf(n)) >>> RECORD_BITS) - layout.firstRecord
        if (stopped < end) return stopped
        n = end
      }
      return many
    },
    findBest(many, best, bestRule) {
      const bestHere = view(room.best), rulesHere = view(room.bestRule)
      bestHere.set(best)
      rulesHere.set(bestRule)
      inChunks(many, made.findBest)
      best.set(bestHere)
      bestRule.set(rulesHere)
    },
    addAll(many, { planes, ones }, shift) {
      view(room.planes).set(planes)
      view(room.ones).set(ones)
      for (const side of [0, 1]) {
        view(room.low[side]).fill(1)
        view(room.high[side]).fill(0)
      }
      view(room.covered).fill(0)
      inChunks(many, (from, end, home) => { made.addAll(from, end, home, shift) })
    },
  }
}

/** Mixes the hash in a local. */
function mixed(hash: number): Code[] {
  return [
    set(hash, times(xor(get(hash), shiftRightUnsigned(get(hash), 15)), 0x2c1b3c6d)),
    set(hash, xor(get(hash), shiftRightUnsigned(get(hash), 13))),
  ]
}

/** Writes records up to `end`, chooses their tables, and leaves their hashes where NEXT will be. */
function writeCode(w: Int32Array, room: Room, columns: Columns): FunctionCode {
  const $ = locals('r', 'end', 'home', 'key', 'one', 'local', 'peer', 'localPorts', 'peerPorts', 'protocol', 'cell', 'table',
    'hash')
  const word = (column: number) => load(get($.key), column << 2), field = (at: number) => load(get($.r), at)
  const ofTable = (column: number) => load(get($.table), column)
  const prefix = (address: Value, bits: number) => select(get(bits), and(address, shiftLeft(-1, minus(32, get(bits)))), 0)
  const isExact = (ports: number) => equal(shiftRightUnsigned(get(ports), 16), and(get(ports), 0xffff))
  const body = [
    set($.key, room.keys),
    repeatWhile(less(get($.r), get($.end)),
      set($.local, word(columns.localBits)), set($.peer, word(columns.peerBits)),
      set($.localPorts, word(columns.localPorts)), set($.peerPorts, word(columns.peerPorts)),
      set($.protocol, word(columns.protocol)),
      store(get($.r), 0, prefix(word(columns.local), $.local)), store(get($.r), PEER, prefix(word(columns.peer), $.peer)),
      store(get($.r), PORTS, get($.localPorts)), store(get($.r), PORTS + 4, get($.peerPorts)),
      store(get($.r), META, or(select(less(get($.protocol), 0), ANY_PROTOCOL, get($.protocol)),
        shiftLeft(and(word(columns.zones), 0xff), META_ZONES), select(word(columns.paired), META_PAIRED, 0),
        shiftLeft(get($.local), META_LOCAL_BITS), shiftLeft(get($.peer), META_PEER_BITS))),
      store(get($.r), PRIORITY, load(get($.one), room.priorities)), store(get($.r), VALUE, load(get($.one), room.values)),
      // Rules of one kind are asked about once.
      set($.cell, or(shiftLeft(or(get($.local), shiftLeft(get($.peer), 6)), 2), isExact($.localPorts),
        shiftLeft(isExact($.peerPorts), 1))),
      set($.table, loadByte(get($.cell), room.known)),
      when(isZero(get($.table)),
        set($.table, plus(call(FIRST_TABLE, get($.local), get($.peer), get($.localPorts), get($.peerPorts)), 1)),
        storeByte(get($.cell), room.known, get($.table))),
      store16(get($.home), 0, get($.table)),
      set($.table, shiftLeft(minus(get($.table), 1), 2)),
      set($.hash, plus(
        plus(ofTable(room.salt), times(and(or(and(get($.localPorts), -65536), shiftRightUnsigned(get($.peerPorts), 16)),
          ofTable(room.portMasks)), w[MULTIPLIERS])),
        plus(times(and(field(0), ofTable(room.localMasks)), w[MULTIPLIERS + 1]),
          times(and(field(PEER), ofTable(room.peerMasks)), w[MULTIPLIERS + 5])))),
      ...mixed($.hash),
      store(get($.r), NEXT, get($.hash)),
      store(get($.table), room.count, plus(ofTable(room.count), 1)),
      set($.key, plus(get($.key), columns.stride << 2)), set($.one, plus(get($.one), 4)),
      set($.r, plus(get($.r), 1 << RECORD_BITS)), set($.home, plus(get($.home), 2))),
  ]
  return { parameters: 3, locals: Object.keys($).length - 3, vectors: 0, returns: false, body }
}

/** Returns `end`, or the record that is not in its chain because its place has too many others. */
function linkCode({ heads, firstRecord }: Layout, room: Room, crowd: number): FunctionCode {
  const $ = locals('r', 'end', 'home', 'hash', 'bucket', 'head', 'own', 'table', 'localMask', 'peerMask', 'portMask', 'o', 'its',
    'last', 'others', 'mask', 'buckets')
  const field = (at: number) => load(get($.r), at), other = (at: number) => load(get($.o), at)
  const apart = (at: number, mask: Value) => and(xor(other(at), field(at)), mask)
  const number = shiftRightUnsigned(get($.r), RECORD_BITS), headAt = heads << 2
  const behind = [
    set($.own, load16(get($.home))),
    set($.table, shiftLeft(minus(get($.own), 1), 2)),
    set($.localMask, load(get($.table), room.localMasks)), set($.peerMask, load(get($.table), room.peerMasks)),
    set($.portMask, load(get($.table), room.portMasks)),
    set($.o, shiftLeft(and(get($.head), HEAD_RECORD), RECORD_BITS)), set($.others, 0),
    repeatWhile(notEqual(get($.o), 0),
      set($.its, load16(shiftRightUnsigned(get($.o), RECORD_BITS - 1), room.homes - 2 * firstRecord)),
      set($.others, plus(get($.others), select(
        and(equal(and(get($.its), HOME_TABLE), get($.own)), isZero(or(apart(0, get($.localMask)), apart(PEER, get($.peerMask)),
          apart(PORTS, and(get($.portMask), -65536)), apart(PORTS + 4, and(get($.portMask), 0xffff))))),
        select(atLeast(get($.its), IS_TRIE), crowd, 1), 0))),
      set($.last, get($.o)),
      set($.o, shiftLeft(other(NEXT), RECORD_BITS))),
    when(atLeast(get($.others), crowd),
      store16(get($.home), 0, 0),
      store(get($.table), room.count, minus(load(get($.table), room.count), 1)),
      leave(get($.r))),
    when(atMost(load(get($.last), PRIORITY), field(PRIORITY)),
      store(get($.last), NEXT, number),
      when(shiftRightUnsigned(xor(get($.head), get($.hash)), 24),
        store(get($.bucket), headAt, or(get($.head), HEAD_MIXED)))),
    when(greater(load(get($.last), PRIORITY), field(PRIORITY)), drop(call(LINK, number))),
  ]
  const body = [
    set($.mask, load(0, BUCKET_MASK << 2)), set($.buckets, load(0, BUCKETS << 2)),
    repeatWhile(less(get($.r), get($.end)),
      set($.hash, field(NEXT)), store(get($.r), NEXT, 0),
      set($.bucket, and(get($.hash), get($.mask))),
      set($.bucket, shiftLeft(select(lessUnsigned(get($.bucket), get($.buckets)), get($.bucket),
        and(get($.bucket), shiftRightUnsigned(get($.mask), 1))), 2)),
      set($.head, load(get($.bucket), headAt)),
      when(isZero(get($.head)), store(get($.bucket), headAt, or(and(get($.hash), HEAD_TAG), number))),
      when(get($.head), ...behind),
      set($.r, plus(get($.r), 1 << RECORD_BITS)), set($.home, plus(get($.home), 2))),
    get($.r),
  ]
  return { parameters: 3, locals: Object.keys($).length - 3, vectors: 0, returns: true, body }
}

interface Walk { r: number; end: number; home: number; table: number }

/** For each record up to `end` that is a rule's, with the offset of its table's words. */
function eachRule($: Walk, ...body: Code[]): Code {
  return repeatWhile(less(get($.r), get($.end)),
    set($.table, load16(get($.home))),
    when(and(notEqual(get($.table), 0), less(get($.table), IS_TRIE)),
      set($.table, shiftLeft(minus(and(get($.table), HOME_TABLE), 1), 2)), ...body),
    set($.r, plus(get($.r), 1 << RECORD_BITS)), set($.home, plus(get($.home), 2)))
}

function findBestCode(room: Room): FunctionCode {
  const $ = locals('r', 'end', 'home', 'table', 'priority')
  const body = eachRule($,
    set($.priority, load(get($.r), PRIORITY)),
    when(less(get($.priority), load(get($.table), room.best)),
      store(get($.table), room.best, get($.priority)),
      store(get($.table), room.bestRule, shiftRightUnsigned(get($.r), RECORD_BITS))))
  return { parameters: 3, locals: Object.keys($).length - 3, vectors: 0, returns: false, body }
}

function addAllCode(w: Int32Array, { fieldWords }: Layout, room: Room): FunctionCode {
  const $ = locals('r', 'end', 'home', 'shift', 'table', 'plane', 'one', 'meta', 'bits', 'address', 'at', 'more', 'port', 'first',
    'last', 'zones', 'zone')
  /** Sets the table's bit in a word of the plane, `entry` words and `offset` bytes from its beginning. */
  const add = (entry: Value, offset: number): Code[] => [
    set($.at, plus(get($.plane), shiftLeft(entry, 2))),
    store(get($.at), offset, or(load(get($.at), offset), get($.one))),
  ]

  const prefixes = ([0, 1] as const).map(side => {
    const multiplier = w[MULTIPLIERS + 1 + 4 * side], field = FIELDS + 2 * side * fieldWords, wild = WILD + 2 * side
    const entry = (address: Value) => shiftRightUnsigned(times(address, multiplier), get($.shift))
    return [
      set($.bits, and(shiftRightUnsigned(get($.meta), side === 0 ? META_LOCAL_BITS : META_PEER_BITS), 63)),
      set($.address, load(get($.r), 4 * side)),
      ...add(select(atLeast(get($.bits), LEAST_BITS), plus(entry(and(get($.address), SHORT_MASK)), field), wild), 0),
      ...add(select(atLeast(get($.bits), LONG_BITS), plus(entry(and(get($.address), LONG_MASK)), field + fieldWords), wild + 1), 0),
      // Too short for one entry, but not for all of them; the first is there already.
      when(and(atLeast(get($.bits), LEAST_BITS), less(get($.bits), SHORT_BITS)),
        set($.more, minus(shiftLeft(1, minus(SHORT_BITS, get($.bits))), 1)),
        repeatWhile(greater(get($.more), 0),
          ...add(entry(plus(get($.address), shiftLeft(get($.more), 32 - SHORT_BITS))), field << 2),
          set($.more, minus(get($.more), 1)))),
    ]
  })

  const ports = ([0, 1] as const).map(side => {
    const field = (side === 0 ? LOCAL_PORTS : PEER_PORTS) << 2, range = load(get($.r), PORTS + 4 * side)
    const entryOf = (port: Value): Code => [
      set($.port, port), select(less(get($.port), 4096), get($.port), plus(shiftRightUnsigned(get($.port), 5), 3968)),
    ]
    const low = load(get($.table), room.low[side]), high = load(get($.table), room.high[side])
    return [
      set($.first, entryOf(shiftRightUnsigned(range, 16))), set($.last, entryOf(and(range, 0xffff))),
      when(equal(get($.first), get($.last)), ...add(get($.first), field)),
      when(and(notEqual(get($.first), get($.last)), or(less(get($.first), low), greater(get($.last), high))),
        set($.more, get($.first)),
        repeatWhile(atMost(get($.more), get($.last)), ...add(get($.more), field), set($.more, plus(get($.more), 1))),
        when(atLeast(minus(get($.last), get($.first)), minus(high, low)),
          store(get($.table), room.low[side], get($.first)), store(get($.table), room.high[side], get($.last)))),
    ]
  })

  const zones = [
    set($.zones, and(shiftRightUnsigned(get($.meta), META_ZONES), 0xff, xor(load(get($.table), room.covered), -1))),
    when(get($.zones), repeatWhile(get($.zones),
      set($.zone, trailingZeros(get($.zones))),
      set($.more, and(get($.meta), 0xff)), set($.last, get($.more)),
      when(and(get($.meta), ANY_PROTOCOL),
        set($.more, 0), set($.last, 255),
        store(get($.table), room.covered, or(load(get($.table), room.covered), shiftLeft(1, get($.zone))))),
      repeatWhile(atMost(get($.more), get($.last)),
        ...add(or(shiftLeft(get($.zone), 8), get($.more)), ZONES << 2), set($.more, plus(get($.more), 1))),
      set($.zones, and(get($.zones), minus(get($.zones), 1))))),
  ]

  const body = eachRule($,
    set($.plane, shiftLeft(load(get($.table), room.planes), 2)), set($.one, load(get($.table), room.ones)),
    set($.meta, load(get($.r), META)),
    prefixes.flat(), ports.flat(), zones)
  return { parameters: 4, locals: Object.keys($).length - 4, vectors: 0, returns: false, body }
}
