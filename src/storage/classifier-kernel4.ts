/**
 * Finding the first IPv4 rules of a batch in WebAssembly, over the same memory as `classifier-find4`, whose answers it gives. The
 * code is made for one classifier: what is constant there is constant in it.
 *
 * Packets go in step. All get the word of tables worth a look and their bucket in the first of them, four at a time (1.1 to 1.3
 * times as fast as one at a time); then, round by round, all those that are at a record compare it, and all those that need another
 * table find their place in it. Nothing is jumped over: a packet is written to the end of each list it may belong to, and the list
 * becomes longer only if it does. So no jump is foretold wrongly but at the end of a list, while one by one every other packet
 * would have one for each table and each record too many.
 *
 * Before records are compared, a word of each is loaded for nothing: these loads wait for nobody, so many are under way at once
 * (1.5 to 1.7 times as fast with 100,000 rules, and no slower with 1,000).
 *
 * Tries are asked by way of TypeScript.
 */
import {
  ACTIVE, ANY_PROTOCOL, BUCKET_MASK, BUCKETS, COUNT, FIELDS, HEAD_RECORD, LOCAL_PORTS, LONG_MASK, META_LOCAL_BITS, META_PAIRED,
  META_PEER_BITS, META_ZONES, MULTIPLIERS, NEVER, PEER_PORTS, PLANES, SHIFT, SHORT_MASK, T_BEST, T_BEST_RULE, T_MASKS_4,
  T_SALT, T_SUFFIX, TABLE, TABLE_BITS, TABLES, WILD, type Layout,
} from './classifier-layout.ts'
import {
  allLanes, and, andVectors, atLeastHalves, atMost, bytesAsWords, bytesByNumber, call, equal, get, greater, interleaveHigh,
  interleaveLow, instantiate, isZero, leadingZeros, leastLanes, less, lessLanes, lessUnsigned, load, loadFourBytes, loadLane,
  loadVector, locals, minus, moduleOf, notEqual, or, orVectors, pairHigh, pairLow, plus, plusLanes, repeatWhile, select, set,
  shiftLeft, shiftLeftLanes, shiftRight, shiftRightUnsigned, shiftRightUnsignedLanes, signsOfBytes, store, storeLane,
  storeVector, times, timesLanes, trailingZeros, vectorOf, when, wordOf, xor, xorVectors, type Code, type FunctionCode,
  type Value,
} from './wasm-code.ts'

/** Packets in a run. */
export const RUN = 256

// A packet: addresses, ports as they are compared, zone and protocol, tables still worth a look, the record to look at, the best
// record yet. Records are named by their addresses.
const LOCAL = 0, PEER = 4, LOCAL_PORT = 8, PEER_PORT = 12, KIND = 16, MASK = 20, RECORD = 24, FOUND = 28
const PACKET_BITS = 5
/** KIND: the protocol, and the bit of the zone where META has it. */
const KIND_ZONE_BYTES = vectorOf(0x08040201, 0x80402010 | 0, 0, 0)
/** Some table without a bit of its own may be worth a look. */
const KIND_SHARED = 1 << 31

/**
 * Behind the rules: packets, columns of the caller, and lists of packets: at a record, at a table, for the second plane; a word
 * that is written and not read.
 */
export function kernelRoom({ words }: Layout) {
  const packets = (words + 7 & -8) << 2
  const locals = packets + (RUN << PACKET_BITS), peers = locals + 4 * RUN, ports = peers + 4 * RUN, answers = ports + 4 * RUN
  const zones = answers + 4 * RUN, protocols = zones + RUN
  const atRecord = protocols + RUN, atTable = atRecord + 4 * RUN, forSecond = atTable + 4 * RUN
  const sink = forSecond + 4 * RUN
  return { packets, locals, peers, ports, answers, zones, protocols, atRecord, atTable, forSecond, sink, end: sink + 4 }
}

export interface Kernel4Imports {
  /** The better of record `found` and the first in the trie of record `r`. */
  searchTrie(r: number, found: number, zone: number, protocol: number, local: number, peer: number, ports: number): number
}

// A record of IPv4, in bytes.
const R_META = 16, R_PRIORITY = 20, R_VALUE = 24, R_NEXT = 28
const RECORD_BITS = 5, DESCRIPTOR_BITS = TABLE_BITS + 2

type BatchLookup4 = (
  count: number, zones: Uint8Array, protocols: Uint8Array, locals: Int32Array, peers: Int32Array, ports: Int32Array,
  answers: Int32Array,
) => void

/** As `Classifier.lookupBatch4`; null where there are no vectors. `memory` has the rules in it, and `kernelRoom`. */
export function createBatch4(
  memory: { buffer: ArrayBuffer }, { words, layout }: { words: Int32Array; layout: Layout }, imports: Kernel4Imports,
): BatchLookup4 | null {
  const room = kernelRoom(layout), { buffer } = memory
  const column = (at: number) => new Int32Array(buffer, at, RUN), bytes = (at: number) => new Uint8Array(buffer, at, RUN)
  const localColumn = column(room.locals), peerColumn = column(room.peers), portColumn = column(room.ports)
  const zoneColumn = bytes(room.zones), protocolColumn = bytes(room.protocols), answerColumn = column(room.answers)
  const run = createKernel4(memory, words, layout, imports)
  if (run === null) return null
  return (count, zones, protocols, locals, peers, ports, answers) => {
    if (words[COUNT] === 0) {
      answers.fill(0, 0, count)
      return
    }
    for (let start = 0; start < count; start += RUN) {
      const many = Math.min(RUN, count - start), end = start + many
      copy(zones, start, end, zoneColumn)
      copy(protocols, start, end, protocolColumn)
      copy(locals, start, end, localColumn)
      copy(peers, start, end, peerColumn)
      copy(ports, start, end, portColumn)
      run(many)
      if (many === RUN) answers.set(answerColumn, start)
      else for (let n = 0; n < many; n++) answers[start + n] = answerColumn[n]
    }
  }
}

/** Fastest from arrays of just the right length; of others no view is made, which would cost memory. */
function copy(from: Int32Array | Uint8Array, start: number, end: number, to: Int32Array | Uint8Array): void {
  if (start === 0 && end === from.length) to.set(from)
  else for (let n = start; n < end; n++) to[n - start] = from[n]
}

/** Finds the answers of the first `count` ≤ RUN packets in the columns. */
function createKernel4(
  memory: object, words: Int32Array, layout: Layout, { searchTrie }: Kernel4Imports,
): ((count: number) => void) | null {
  const bytes = moduleOf({ searchTrie: 7 }, { rounds: roundsCode(words, layout), run: runCode(words, layout) })
  const made = instantiate(bytes, { memory, searchTrie }) as { run: (count: number) => void } | null
  return made === null ? null : made.run
}

/** Functions by number: what is imported comes first. */
const SEARCH_TRIE = 0, ROUNDS = 1

/** A word of the classifier whose place is known. */
function state(index: number): Code {
  return load(0, index << 2)
}

/** Writes a packet to the end of a list, and makes the list longer if the condition is 1. */
function append(end: number, packet: number, condition: Value): Code[] {
  return [store(get(end), 0, get(packet)), set(end, plus(get(end), shiftLeft(condition, 2)))]
}

const FIELD_MASKS = [SHORT_MASK, LONG_MASK, SHORT_MASK, LONG_MASK]

/** What addresses are multiplied with. */
function multipliers(w: Int32Array): { local: number; peer: number; ports: number } {
  return { local: w[MULTIPLIERS + 1], peer: w[MULTIPLIERS + 5], ports: w[MULTIPLIERS] }
}

/** The tables that a packet's fields leave, in the plane at `plane`. Its protocol would leave few less, so it is not asked. */
function candidates(
  { fieldWords }: Layout, w: Int32Array, plane: Value, shift: Value, addresses: [local: Value, peer: Value], ports: Value,
  port: number, wild: (n: number) => Value,
): Code {
  const { local, peer } = multipliers(w)
  const fields = FIELD_MASKS.map((mask, n) => or(
    load(plus(plane, shiftLeft(shiftRightUnsigned(times(and(addresses[n >> 1], mask), n < 2 ? local : peer), shift), 2)),
      FIELDS + n * fieldWords << 2),
    wild(n)))
  // As portEntry: of the two ways to number them, the right one gives less.
  const ofPort = (value: Value, entries: number): Code => [
    set(port, value),
    load(plus(plane, shiftLeft(select(less(get(port), 4096), get(port), plus(shiftRightUnsigned(get(port), 5), 3968)), 2)),
      entries << 2),
  ]
  return and(fields[0], fields[1], fields[2], fields[3],
    ofPort(shiftRightUnsigned(ports, 16), LOCAL_PORTS), ofPort(and(ports, 0xffff), PEER_PORTS))
}

/** Locals that are set on the way to the bucket of a table, and to the comparison with a record. */
interface Work { packet: number; table: number; hash: number; bucket: number; r: number; meta: number; kind: number; bad: number }
interface Vectors { rule: number; wanted: number }

/** What the words of a packet, masked as a table wants it, are multiplied with before they are added up. Of a port the last sixteen
 * bits are left. */
function hashMultipliers(w: Int32Array): Code {
  const { local, peer, ports } = multipliers(w)
  return vectorOf(local, peer, ports << 16, ports)
}

const MIXED_WITH = 0x2c1b3c6d

/** The first record in the bucket of the table at $.table, or 0. */
function firstRecord({ heads }: Layout, w: Int32Array, $: Work, { wanted }: Vectors, bucketMask: Value, buckets: Value): Code {
  return [
    set(wanted, timesLanes(andVectors(loadVector(get($.packet)), loadVector(get($.table), T_MASKS_4 << 2)), hashMultipliers(w))),
    set(wanted, plusLanes(get(wanted), pairHigh(get(wanted), get(wanted)))),
    set($.hash, plus(plus(wordOf(get(wanted), 0), wordOf(get(wanted), 1)), load(get($.table), T_SALT << 2))),
    set($.hash, times(xor(get($.hash), shiftRightUnsigned(get($.hash), 15)), MIXED_WITH)),
    set($.hash, xor(get($.hash), shiftRightUnsigned(get($.hash), 13))),
    set($.bucket, and(get($.hash), bucketMask)),
    set($.bucket, select(lessUnsigned(get($.bucket), buckets), get($.bucket),
      and(get($.bucket), shiftRightUnsigned(bucketMask, 1)))),
    shiftLeft(and(load(shiftLeft(get($.bucket), 2), heads << 2), HEAD_RECORD), RECORD_BITS),
  ]
}

/** Flips the low ends of ranges, so that a port must not be above either end: as it is, or flipped too. */
const LOW_ENDS = vectorOf(0, 0, -65536, -65536)
/** The signs of both ports' bytes. */
const PORTS_SIGNS = 0xff00

/** 0 if the record at $.r applies to the packet at $.packet, else -1. */
function differs($: Work, v: Vectors): Code {
  const difference = xorVectors(get(v.rule), get(v.wanted))
  const beyond = (lane: number, bitsAt: number) =>
    minus(leadingZeros(wordOf(difference, lane)), and(shiftRightUnsigned(get($.meta), bitsAt), 63))
  const field = (at: number) => load(get($.packet), at), range = (lane: number) => wordOf(get(v.rule), lane)
  return [
    set(v.rule, loadVector(get($.r))), set(v.wanted, loadVector(get($.packet))),
    set($.meta, load(get($.r), R_META)), set($.kind, field(KIND)),
    // Each of these is negative if it does not hold.
    set($.bad, or(
      beyond(0, META_LOCAL_BITS), beyond(1, META_PEER_BITS),
      minus(and(get($.meta), ANY_PROTOCOL), and(xor(get($.meta), get($.kind)), 0xff)),
      minus(and(get($.meta), get($.kind)), 1 << META_ZONES),
      minus(and(signsOfBytes(atLeastHalves(xorVectors(get(v.rule), LOW_ENDS), get(v.wanted))), PORTS_SIGNS), PORTS_SIGNS),
    )),
    // How far the two ports are apart, in the few that go in pairs.
    when(and(get($.meta), META_PAIRED),
      set($.hash, minus(
        minus(and(field(LOCAL_PORT), 0xffff), shiftRightUnsigned(range(2), 16)),
        minus(and(field(PEER_PORT), 0xffff), shiftRightUnsigned(range(3), 16)))),
      set($.bad, or(get($.bad), get($.hash), minus(0, get($.hash))))),
    shiftRight(get($.bad), 31),
  ]
}

/** Arguments that what is imported wants of the packet at $.packet. */
function argumentsOf({ packet }: { packet: number }): Code[] {
  const field = (at: number) => load(get(packet), at)
  return [
    minus(trailingZeros(and(field(KIND), 0xff << META_ZONES)), META_ZONES), and(field(KIND), 0xff),
    field(LOCAL), field(PEER), portsOf(packet),
  ]
}

function portsOf(packet: number): Code {
  return or(shiftLeft(load(get(packet), LOCAL_PORT), 16), and(load(get(packet), PEER_PORT), 0xffff))
}

/**
 * From the tables at `tables` on: packets that are at a record, up to `recordEnd`, or at a table, up to `tableEnd`, until none is
 * left. One at a table may have no more of them: then, if `hasSecond` is 1, it goes to the list for the second plane. Returns the
 * end of that list, which is `second` before.
 */
function roundsCode(w: Int32Array, layout: Layout): FunctionCode {
  const room = kernelRoom(layout), { atRecord, atTable } = room
  const $ = locals('tables', 'recordEnd', 'tableEnd', 'second', 'hasSecond', 'list', 'end', 'packet', 'r', 'meta', 'kind', 'bad',
    'applies', 'priority', 'best', 'found', 'hit', 'next', 'mask', 'table', 'go', 'hash', 'bucket', 'bucketMask', 'buckets',
    'touched')
  const many = Object.keys($).length, v = { rule: many, wanted: many + 1 }
  const field = (offset: number) => load(get($.packet), offset)
  const ofRecord = (offset: number) => load(get($.r), offset)
  const ofTable = (word: number) => load(get($.table), word << 2)
  const begin = [
    set($.packet, load(get($.list))), set($.mask, field(MASK)), set($.found, field(FOUND)),
    set($.best, load(get($.found), R_PRIORITY)),
  ]
  const toTable = set($.table, plus(get($.tables), shiftLeft(trailingZeros(get($.mask)), DESCRIPTOR_BITS)))

  const compare: Code[] = [
    begin,
    set($.r, field(RECORD)),
    set($.applies, plus(differs($, v), 1)),
    set($.priority, ofRecord(R_PRIORITY)),
    when(and(get($.applies), less(ofRecord(R_VALUE), 0), atMost(get($.priority), get($.best))),
      set($.found, call(SEARCH_TRIE, shiftRightUnsigned(get($.r), 2),
        select(get($.found), shiftRightUnsigned(get($.found), RECORD_BITS), NEVER), ...argumentsOf($))),
      set($.found, select(equal(get($.found), NEVER), 0, shiftLeft(get($.found), RECORD_BITS))),
      set($.best, load(get($.found), R_PRIORITY)),
      set($.applies, 0)),
    // Nothing found is after every record.
    set($.hit, and(get($.applies), or(less(get($.priority), get($.best)), and(
      equal(get($.priority), get($.best)), lessUnsigned(get($.r), minus(get($.found), 1)))))),
    set($.next, shiftLeft(ofRecord(R_NEXT), RECORD_BITS)),
    // Does it go on in the chain?
    set($.go, and(isZero(get($.applies)), atMost(get($.priority), get($.best)), notEqual(get($.next), 0))),
    set($.best, select(get($.hit), get($.priority), get($.best))),
    store(get($.packet), FOUND, select(get($.hit), get($.r), get($.found))),
    store(get($.packet), RECORD, get($.next)),
    append($.recordEnd, $.packet, get($.go)),
    toTable,
    append($.tableEnd, $.packet, and(xor(get($.go), 1), atMost(ofTable(T_SUFFIX), get($.best)))),
  ]

  const visit: Code[] = [
    begin,
    toTable,
    set($.go, notEqual(get($.mask), 0)),
    set($.mask, and(get($.mask), minus(get($.mask), 1))),
    store(get($.packet), MASK, get($.mask)),
    set($.r, firstRecord(layout, w, $, v, get($.bucketMask), get($.buckets))),
    // Is there a table, and can it hold something better?
    set($.r, select(and(get($.go), or(less(ofTable(T_BEST), get($.best)), and(equal(ofTable(T_BEST), get($.best)),
      lessUnsigned(shiftLeft(ofTable(T_BEST_RULE), RECORD_BITS), minus(get($.found), 1))))), get($.r), 0)),
    store(get($.packet), RECORD, get($.r)),
    append($.recordEnd, $.packet, notEqual(get($.r), 0)),
    toTable,
    set($.go, and(isZero(get($.r)), atMost(ofTable(T_SUFFIX), get($.best)))),
    append($.second, $.packet, and(get($.go), isZero(get($.mask)), get($.hasSecond))),
    append($.end, $.packet, and(get($.go), notEqual(get($.mask), 0))),
  ]

  const body = [
    set($.bucketMask, state(BUCKET_MASK)),
    set($.buckets, state(BUCKETS)),
    repeatWhile(or(greater(get($.recordEnd), atRecord), greater(get($.tableEnd), atTable)),
      // A list is written anew while it is read: it never becomes longer than what was read.
      set($.end, atTable), set($.list, atTable),
      when(less(get($.list), get($.tableEnd)),
        repeatWhile(less(get($.list), get($.tableEnd)), ...visit, set($.list, plus(get($.list), 4)))),
      set($.tableEnd, get($.end)),
      set($.end, get($.recordEnd)), set($.list, atRecord), set($.recordEnd, atRecord),
      when(less(get($.list), get($.end)),
        // Nothing but loads, as for the first records.
        repeatWhile(less(get($.list), get($.end)),
          set($.touched, plus(get($.touched), load(load(load(get($.list)), RECORD)))), set($.list, plus(get($.list), 4))),
        store(room.sink, 0, get($.touched)),
        set($.list, atRecord),
        repeatWhile(less(get($.list), get($.end)), ...compare, set($.list, plus(get($.list), 4))))),
    get($.second),
  ]
  return { parameters: 5, locals: many - 5, vectors: 2, returns: true, body }
}

function runCode(w: Int32Array, layout: Layout): FunctionCode {
  const room = kernelRoom(layout), { packets, atRecord, atTable, forSecond } = room, { fieldWords, heads } = layout
  const $ = locals('count', 'base', 'plane', 'shift', 'place', 'four', 'packet', 'packetEnd', 'local', 'peer', 'ports', 'port',
    'mask', 'tables', 'hasSecond', 'recordEnd', 'tableEnd', 'second', 'list', 'wild0', 'wild1', 'wild2', 'wild3', 'table', 'hash',
    'bucket', 'meta', 'kind', 'bad', 'r', 'differs', 'isTrie', 'best', 'bucketMask', 'buckets', 'tablesLeft', 'touched')
  const many = Object.keys($).length
  const [rule, wanted, locals4, peers4, ports4, localPort, peerPort, low, high, sums, ...fields] =
    Array.from({ length: 14 }, (_, n) => many + n)
  const v = { rule, wanted }
  const wilds = [$.wild0, $.wild1, $.wild2, $.wild3]
  const loadWilds = wilds.map((one, n) => set(one, load(get($.plane), WILD + n << 2)))
  const field = (offset: number) => load(get($.packet), offset)
  const ofRecord = (offset: number) => load(get($.r), offset)
  const left = candidates(
    layout, w, get($.plane), get($.shift), [get($.local), get($.peer)], get($.ports), $.port, n => get(wilds[n]),
  )
  const toTable = set($.table, plus(get($.tables), shiftLeft(trailingZeros(get($.mask)), DESCRIPTOR_BITS)))
  const forEach = (packetsAtOnce: number, body: Code[]) => [
    set($.packet, packets), set($.four, 0),
    repeatWhile(less(get($.packet), get($.packetEnd)), ...body,
      set($.packet, plus(get($.packet), packetsAtOnce << PACKET_BITS)), set($.four, plus(get($.four), 4 * packetsAtOnce))),
  ]
  /** For each packet and, at `four`, its place in the columns. */
  const each = (...body: Code[]) => forEach(1, body)
  /** For four packets at a time: behind the last one there may be some that nobody asks about. */
  const eachFour = (...body: Code[]) => forEach(4, body)
  const ofFour = (code: (lane: number) => Code | Code[]): Code => [0, 1, 2, 3].map(code)
  const ofPacket = (lane: number, at: number) => (lane << PACKET_BITS) + at
  /** Addresses of words of the plane, by their numbers. */
  const inPlane = (entries: Code) => plusLanes(shiftLeftLanes(entries, 2), allLanes(get($.plane)))
  /** A port, and above it the same flipped. */
  const asCompared = (above: Code, port: Code) => xorVectors(orVectors(above, port), allLanes(-65536))
  const portEntries = (port: number) =>
    leastLanes(get(port), plusLanes(shiftRightUnsignedLanes(get(port), 5), allLanes(3968)))

  const { local, peer } = multipliers(w)
  const mask: Code[] = [
    set(locals4, loadVector(get($.four), room.locals)), set(peers4, loadVector(get($.four), room.peers)),
    set(ports4, loadVector(get($.four), room.ports)),
    set(localPort, shiftRightUnsignedLanes(get(ports4), 16)), set(peerPort, andVectors(get(ports4), allLanes(0xffff))),
    // Columns become packets.
    set(low, asCompared(andVectors(get(ports4), allLanes(-65536)), get(localPort))),
    set(high, asCompared(shiftLeftLanes(get(ports4), 16), get(peerPort))),
    set(rule, interleaveLow(get(locals4), get(peers4))), set(wanted, interleaveLow(get(low), get(high))),
    storeVector(get($.packet), ofPacket(0, 0), pairLow(get(rule), get(wanted))),
    storeVector(get($.packet), ofPacket(1, 0), pairHigh(get(rule), get(wanted))),
    set(rule, interleaveHigh(get(locals4), get(peers4))), set(wanted, interleaveHigh(get(low), get(high))),
    storeVector(get($.packet), ofPacket(2, 0), pairLow(get(rule), get(wanted))),
    storeVector(get($.packet), ofPacket(3, 0), pairHigh(get(rule), get(wanted))),
    set($.place, shiftRightUnsigned(get($.four), 2)),
    set(low, orVectors(bytesAsWords(loadFourBytes(get($.place), room.protocols)), shiftLeftLanes(
      bytesAsWords(bytesByNumber(KIND_ZONE_BYTES, loadFourBytes(get($.place), room.zones))), META_ZONES))),
    ofFour(lane => storeLane(get($.packet), ofPacket(lane, KIND), get(low), lane)),
    // Which tables: as `candidates`.
    ...FIELD_MASKS.map((bits, n) => set(fields[n], inPlane(shiftRightUnsignedLanes(
      timesLanes(andVectors(get(n < 2 ? locals4 : peers4), allLanes(bits)), allLanes(n < 2 ? local : peer)), get($.shift))))),
    set(localPort, inPlane(portEntries(localPort))), set(peerPort, inPlane(portEntries(peerPort))),
    ofFour(lane => {
      const prefix = (n: number) => or(load(wordOf(get(fields[n]), lane), FIELDS + n * fieldWords << 2), get(wilds[n]))
      return store(get($.packet), ofPacket(lane, MASK), and(prefix(0), prefix(1), prefix(2), prefix(3),
        load(wordOf(get(localPort), lane), LOCAL_PORTS << 2), load(wordOf(get(peerPort), lane), PEER_PORTS << 2)))
    }),
  ]

  // The first record in the first table: as `firstRecord`.
  const visit: Code[] = [
    ofFour(lane => [
      set($.mask, load(get($.packet), ofPacket(lane, MASK))),
      toTable,
      store(get($.packet), ofPacket(lane, MASK), and(get($.mask), minus(get($.mask), 1))),
      set(fields[lane], timesLanes(andVectors(
        loadVector(get($.packet), ofPacket(lane, 0)), loadVector(get($.table), T_MASKS_4 << 2)), hashMultipliers(w))),
      set(sums, loadLane(get($.table), T_SALT << 2, get(sums), lane)),
    ]),
    set(low, plusLanes(interleaveLow(get(fields[0]), get(fields[1])), interleaveHigh(get(fields[0]), get(fields[1])))),
    set(high, plusLanes(interleaveLow(get(fields[2]), get(fields[3])), interleaveHigh(get(fields[2]), get(fields[3])))),
    set(sums, plusLanes(get(sums), plusLanes(pairLow(get(low), get(high)), pairHigh(get(low), get(high))))),
    set(sums, timesLanes(xorVectors(get(sums), shiftRightUnsignedLanes(get(sums), 15)), allLanes(MIXED_WITH))),
    set(sums, xorVectors(get(sums), shiftRightUnsignedLanes(get(sums), 13))),
    set(sums, andVectors(get(sums), allLanes(get($.bucketMask)))),
    set(sums, shiftLeftLanes(andVectors(get(sums), orVectors(lessLanes(get(sums), allLanes(get($.buckets))),
      allLanes(shiftRightUnsigned(get($.bucketMask), 1)))), 2)),
    ofFour(lane => store(get($.packet), ofPacket(lane, RECORD),
      shiftLeft(and(load(wordOf(get(sums), lane), heads << 2), HEAD_RECORD), RECORD_BITS))),
  ]

  // Nothing but loads: many are under way at once.
  const touch: Code[] = [
    ofFour(lane => set($.touched, plus(get($.touched), load(load(get($.packet), ofPacket(lane, RECORD)))))),
  ]

  // Most packets are through after their first record.
  const look: Code[] = [
    set($.r, field(RECORD)),
    set($.differs, differs($, v)),
    set($.isTrie, and(xor(get($.differs), -1), shiftRight(ofRecord(R_VALUE), 31))),
    // The next record; none after one that applies; the same again if it stands for a trie.
    set($.list, or(and(get($.r), get($.isTrie)), and(shiftLeft(ofRecord(R_NEXT), RECORD_BITS), get($.differs)))),
    set($.r, and(get($.r), xor(or(get($.differs), get($.isTrie)), -1))),
    set($.best, ofRecord(R_PRIORITY)),
    store(get($.packet), RECORD, get($.list)),
    store(get($.packet), FOUND, get($.r)),
    append($.recordEnd, $.packet, notEqual(get($.list), 0)),
    set($.mask, field(MASK)),
    toTable,
    append($.tableEnd, $.packet, and(isZero(get($.list)), atMost(load(get($.table), T_SUFFIX << 2), get($.best)))),
  ]

  /** Those for whom the tables before had no more, if what follows has better. */
  const again = (...masked: Code[]) => [
    set($.list, forSecond), set($.tableEnd, atTable),
    repeatWhile(less(get($.list), get($.second)),
      set($.packet, load(get($.list))),
      masked,
      store(get($.packet), MASK, get($.mask)),
      toTable,
      append($.tableEnd, $.packet, and(notEqual(get($.mask), 0), atMost(
        load(get($.table), T_SUFFIX << 2), load(field(FOUND), R_PRIORITY)))),
      set($.list, plus(get($.list), 4))),
    set($.second, call(ROUNDS, get($.tables), atRecord, get($.tableEnd), forSecond, get($.hasSecond))),
  ]
  const nextTables = [
    set($.tables, plus(get($.tables), 32 << DESCRIPTOR_BITS)),
    set($.tablesLeft, minus(get($.tablesLeft), 32)),
    set($.hasSecond, greater(get($.tablesLeft), 32)),
  ]
  const inSecond = again(
    set($.local, field(LOCAL)), set($.peer, field(PEER)), set($.ports, portsOf($.packet)),
    set($.mask, left),
    store(get($.packet), KIND, or(field(KIND), and(get($.mask), KIND_SHARED))),
  )
  // The last bit of the second plane stands for all of these.
  const inRest = again(
    set($.mask, select(less(field(KIND), 0),
      select(greater(get($.tablesLeft), 31), -1, minus(shiftLeft(1, get($.tablesLeft)), 1)), 0)),
  )

  const answer: Code[] = [
    ofFour(lane => store(get($.four), room.answers + 4 * lane, load(load(get($.packet), ofPacket(lane, FOUND)), R_VALUE))),
  ]

  const body = [
    set($.base, shiftLeft(state(ACTIVE), 2)),
    set($.shift, load(get($.base), SHIFT << 2)),
    set($.tablesLeft, load(get($.base), TABLES << 2)),
    set($.hasSecond, greater(get($.tablesLeft), 32)),
    set($.tables, plus(get($.base), TABLE << 2)),
    set($.plane, plus(get($.base), PLANES << 2)),
    set($.bucketMask, state(BUCKET_MASK)), set($.buckets, state(BUCKETS)),
    set($.packetEnd, plus(packets, shiftLeft(get($.count), PACKET_BITS))),
    loadWilds,
    eachFour(...mask),
    eachFour(...visit),
    eachFour(...touch),
    store(room.sink, 0, get($.touched)),
    set($.recordEnd, atRecord), set($.tableEnd, atTable),
    each(...look),
    set($.second, call(ROUNDS, get($.tables), get($.recordEnd), get($.tableEnd), forSecond, get($.hasSecond))),
    when(greater(get($.second), forSecond),
      nextTables,
      set($.plane, plus(get($.plane), layout.planeWords << 2)),
      loadWilds,
      inSecond,
      when(greater(get($.second), forSecond),
        repeatWhile(greater(get($.second), forSecond), nextTables, inRest))),
    eachFour(...answer),
  ]
  return { parameters: 1, locals: many - 1, vectors: 14, returns: false, body }
}
