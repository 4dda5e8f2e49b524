/**
 * The block capture file (draft-ietf-opsawg-pcapng), read in place. Packets come from Enhanced and Simple Packet Blocks
 * and from the obsolete Packet Block; sections may differ in byte order. All other blocks are passed over as a stream,
 * whatever their size, and counted. Options are read for interfaces only.
 */
import { MAX_PACKET_BYTES, MAX_RECORD_BYTES, NS_PER_SEC } from './cursor.ts'
import type { Cursor } from './cursor.ts'
import { REST, SEC, splitExact, splitUnits, stamp$ } from './stamp.ts'
import type { Frames } from '../wire/frames.ts'

/* "Block Types". */
export const BLOCK_SECTION = 0x0a0d0d0a
export const BLOCK_INTERFACE = 1
export const BLOCK_PACKET = 2                    // obsolete, "Packet Block"
export const BLOCK_SIMPLE_PACKET = 3
export const BLOCK_NAME_RESOLUTION = 4
export const BLOCK_INTERFACE_STATISTICS = 5
export const BLOCK_ENHANCED_PACKET = 6
export const BLOCK_DECRYPTION_SECRETS = 10
export const BLOCK_CUSTOM = 0x0bad
export const BLOCK_CUSTOM_NO_COPY = 0x40000bad

/* "General Block Structure": type, total length, body, total length again. */
const TOTAL_BYTES = 4, BODY = 8
const MIN_BLOCK_BYTES = 12

/* "Section Header Block". The byte-order magic comes before anything whose order matters, the length aside. */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d
const BYTE_ORDER = 8, VERSION_MAJOR = 12
const SECTION_HEAD_BYTES = 24
/** Bytes that tell a section from anything else. */
export const SECTION_MAGIC_BYTES = 12
const MIN_SECTION_BYTES = 28

/* "Interface Description Block". */
const LINK_TYPE = 8, SNAP_LEN = 12, INTERFACE_OPTIONS = 16
const MIN_INTERFACE_BYTES = 20
export const IF_NAME = 2, IF_DESCRIPTION = 3, IF_TSRESOL = 9, IF_TSOFFSET = 14

/* "Enhanced Packet Block". The Packet Block differs in its first word only: 16 bits of interface, 16 of drops. */
const INTERFACE_ID = 8, STAMP_HIGH = 12, STAMP_LOW = 16, CAPTURED = 20, ORIGINAL = 24
export const PACKET_DATA = 28
const MIN_PACKET_BYTES = 32

/* "Simple Packet Block". */
const SIMPLE_ORIGINAL = 8, SIMPLE_DATA = 12
const MIN_SIMPLE_BYTES = 16

/** More interfaces than this are an attack on our memory: their descriptions are kept for the whole file. */
const MAX_INTERFACES = 65_536
/** Names are cut here, for the same reason. */
const MAX_NAME_BYTES = 256

// What the loop needs of an interface: eight doubles. Packets mostly fall into the second of the one before, so that
// second is kept, and a stamp inside it needs no division.
//   0 link   1 snapBytes, 0 = no limit   2 unitsPerSec, 0 = take the exact, slow way   3 nsPerUnit
//   4 offsetSec (if_tsoffset)   5 kept: high half of the stamp, -1 = none   6 kept: low half at which the second
//   begins, negative if it began under another high half   7 kept: the second
const IF_WORDS = 8
const LINK = 0, SNAP = 1, UNITS = 2, NS_PER_UNIT = 3, OFFSET_SEC = 4, HIGH = 5, LOW_BEGIN = 6, KEPT_SEC = 7

/** An interface of the capture, for printing. */
export interface CaptureInterface {
  /** Section and id inside it, both from 0. `frames.iface` is the place in the list of all. */
  section: number
  id: number
  link: number
  name?: string
  description?: string
  /** 0 is no limit. */
  snapBytes: number
  /** Units a second: a power of 10 or of 2. */
  tsResolution: number
}

/** Blocks that were passed over. */
export interface SkippedBlocks {
  nameResolution: number
  interfaceStatistics: number
  decryptionSecrets: number
  custom: number
  other: number
}

export interface PcapngState {
  little: boolean
  section: number
  /** The interfaces of this section are `firstIface` … `firstIface + sectionIfaces - 1`. */
  firstIface: number
  sectionIfaces: number
  table: Float64Array
  /** if_tsresol of each interface, for the slow way. */
  tsresol: Uint8Array
  readonly interfaces: CaptureInterface[]
  readonly skipped: SkippedBlocks
  /** Stamp of the last packet, for Simple Packet Blocks, which have none. */
  readonly last: Float64Array
  /** Bytes left of a block that is being passed over, its trailer included; its length and where it began. */
  skipLeft: number
  skipBytes: number
  skipFrom: number
}

export function createPcapngState(cursor: Cursor): PcapngState {
  return {
    little: true, section: -1, firstIface: 0, sectionIfaces: 0,
    table: new Float64Array(8 * IF_WORDS), tsresol: new Uint8Array(8), interfaces: [],
    skipped: { nameResolution: 0, interfaceStatistics: 0, decryptionSecrets: 0, custom: 0, other: 0 },
    last: Float64Array.of(cursor.shiftSec, cursor.shiftNsec),
    skipLeft: 0, skipBytes: 0, skipFrom: 0,
  }
}

/** True if the twelve bytes at `off` begin a section. */
export function isSection(view: DataView, off: number): boolean {
  return view.getUint32(off) === BLOCK_SECTION
    && (view.getUint32(off + BYTE_ORDER, true) === BYTE_ORDER_MAGIC
      || view.getUint32(off + BYTE_ORDER, false) === BYTE_ORDER_MAGIC)
}

export type PcapngLoop = (cursor: Cursor, state: PcapngState) => number

/** The loop over blocks, for one pool. Make it once, as `createPcapLoop` says. */
export function createPcapngLoop(frames: Frames): PcapngLoop {
  const { view, capacity, off, capBytes, wireBytes, link, iface, sec, nsec } = frames

  return function fill(cursor, state) {
    const { end, shiftSec, shiftNsec } = cursor
    const last = state.last
    let pos = cursor.pos, row = 0
    let little = state.little, firstIface = state.firstIface, sectionIfaces = state.sectionIfaces, table = state.table
    while (row < capacity) {
      if (end - pos < MIN_BLOCK_BYTES && state.skipLeft === 0) break
      const type = view.getInt32(pos, little)
      if (state.skipLeft === 0 && (type === BLOCK_ENHANCED_PACKET || type === BLOCK_PACKET)) {
        const bytes = view.getInt32(pos + TOTAL_BYTES, little)
        if (bytes < MIN_PACKET_BYTES || bytes > MAX_RECORD_BYTES || (bytes & 3) !== 0) {
          cursor.reason = `packet block of impossible length ${bytes >>> 0}`
          break
        }
        if (bytes > end - pos) break
        if (view.getInt32(pos + bytes - 4, little) !== bytes) {
          cursor.reason = TRAILER_DISAGREES
          break
        }
        const id = type === BLOCK_PACKET ? view.getUint16(pos + INTERFACE_ID, little)
          : view.getInt32(pos + INTERFACE_ID, little)
        if (id < 0 || id >= sectionIfaces) {
          cursor.reason = `packet of unknown interface ${id >>> 0}`
          break
        }
        const captured = view.getInt32(pos + CAPTURED, little)
        if (captured < 0 || captured > MAX_PACKET_BYTES) {
          cursor.reason = PACKET_TOO_LONG
          break
        }
        // Padding of the data is not asked for: a block whose padding is missing has all the same a readable packet.
        if (captured > bytes - MIN_PACKET_BYTES) {
          cursor.reason = PACKET_PAST_BLOCK
          break
        }
        let original = view.getInt32(pos + ORIGINAL, little)
        if (original < captured) original = original < 0 ? 0x7fffffff : captured

        const at = (firstIface + id) * IF_WORDS
        const high = view.getUint32(pos + STAMP_HIGH, little), low = view.getUint32(pos + STAMP_LOW, little)
        const unitsPerSec = table[at + UNITS]!
        let seconds: number, ns: number
        if (unitsPerSec !== 0) {
          let units = low - table[at + LOW_BEGIN]!
          if (units < 0 || units >= unitsPerSec || high !== table[at + HIGH]!) {
            keepSecond(table, at, high, low)
            units = low - table[at + LOW_BEGIN]!
          }
          seconds = table[at + KEPT_SEC]! + shiftSec
          ns = (units * table[at + NS_PER_UNIT]! | 0) + shiftNsec
        } else {
          splitExact(high, low, state.tsresol[firstIface + id]!)
          seconds = stamp$[SEC]! + table[at + OFFSET_SEC]! + shiftSec
          ns = (stamp$[REST]! | 0) + shiftNsec
        }
        if (ns >= NS_PER_SEC) {
          ns -= NS_PER_SEC
          seconds += 1
        }
        off[row] = pos + PACKET_DATA
        capBytes[row] = captured
        wireBytes[row] = original
        link[row] = table[at + LINK]!
        iface[row] = firstIface + id
        sec[row] = seconds
        nsec[row] = ns
        row++
        pos += bytes
        continue
      }
      if (state.skipLeft === 0 && type === BLOCK_SIMPLE_PACKET) {
        const captured = simplePacket(cursor, state, pos)
        if (captured < 0) break
        off[row] = pos + SIMPLE_DATA
        capBytes[row] = captured
        const original = view.getInt32(pos + SIMPLE_ORIGINAL, little)
        wireBytes[row] = original < 0 ? 0x7fffffff : original
        link[row] = table[firstIface * IF_WORDS + LINK]!
        iface[row] = firstIface
        sec[row] = row > 0 ? sec[row - 1]! : last[0]!
        nsec[row] = row > 0 ? nsec[row - 1]! : last[1]!
        row++
        pos += view.getInt32(pos + TOTAL_BYTES, little)
        continue
      }
      const next = otherBlock(cursor, state, pos)
      if (next < 0) break
      pos = next
      little = state.little
      firstIface = state.firstIface
      sectionIfaces = state.sectionIfaces
      table = state.table
    }
    if (row > 0) {
      last[0] = sec[row - 1]!
      last[1] = nsec[row - 1]!
    }
    cursor.pos = pos
    return row
  }

  /** Captured bytes of a Simple Packet Block, or -1 if it is not all there or bad. */
  function simplePacket(cursor: Cursor, state: PcapngState, pos: number): number {
    const bytes = view.getInt32(pos + TOTAL_BYTES, state.little)
    if (bytes < MIN_SIMPLE_BYTES || bytes > MAX_RECORD_BYTES || (bytes & 3) !== 0) {
      return fault(cursor, `packet block of impossible length ${bytes >>> 0}`)
    }
    if (bytes > cursor.end - pos) return -1
    if (view.getInt32(pos + bytes - 4, state.little) !== bytes) return fault(cursor, TRAILER_DISAGREES)
    if (state.sectionIfaces === 0) return fault(cursor, 'packet of unknown interface 0')
    // "Simple Packet Block": the captured length is not in the file, it is the smaller of original and snap length.
    const snap = state.table[state.firstIface * IF_WORDS + SNAP]!
    const original = view.getUint32(pos + SIMPLE_ORIGINAL, state.little)
    const captured = snap !== 0 && snap < original ? snap : original
    if (captured > MAX_PACKET_BYTES) return fault(cursor, PACKET_TOO_LONG)
    return captured > bytes - MIN_SIMPLE_BYTES ? fault(cursor, PACKET_PAST_BLOCK) : captured
  }

  /** Takes or passes over what is not a packet. Where to go on, or -1 if the rest of it is not here yet, or is bad. */
  function otherBlock(cursor: Cursor, state: PcapngState, pos: number): number {
    if (state.skipLeft > 0) return skip(cursor, state, pos)
    const present = cursor.end - pos
    // The same read in either byte order.
    if (view.getInt32(pos) === BLOCK_SECTION) return section(cursor, state, pos)
    const type = view.getInt32(pos, state.little), bytes = view.getUint32(pos + TOTAL_BYTES, state.little)
    if (bytes < MIN_BLOCK_BYTES || bytes % 4 !== 0) return fault(cursor, `block of impossible length ${bytes}`)
    if (type !== BLOCK_INTERFACE) {
      countSkipped(state.skipped, type)
      return startSkip(cursor, state, pos, BODY, bytes)
    }
    if (bytes < MIN_INTERFACE_BYTES || bytes > MAX_RECORD_BYTES) {
      return fault(cursor, `interface block of impossible length ${bytes}`)
    }
    if (bytes > present) return -1
    if (view.getUint32(pos + bytes - 4, state.little) !== bytes) return fault(cursor, TRAILER_DISAGREES)
    const reason = addInterface(view, pos, bytes, state)
    return reason === '' ? pos + bytes : fault(cursor, reason)
  }

  /** "Section Header Block": interfaces are numbered from 0 again, and the byte order may be another. */
  function section(cursor: Cursor, state: PcapngState, pos: number): number {
    if (cursor.end - pos < SECTION_HEAD_BYTES) return -1
    if (!isSection(view, pos)) return fault(cursor, 'bad byte-order magic')
    const little = view.getUint32(pos + BYTE_ORDER, true) === BYTE_ORDER_MAGIC
    const bytes = view.getUint32(pos + TOTAL_BYTES, little), major = view.getUint16(pos + VERSION_MAJOR, little)
    if (bytes < MIN_SECTION_BYTES || bytes % 4 !== 0) return fault(cursor, `block of impossible length ${bytes}`)
    if (major !== 1) return fault(cursor, `pcapng version ${major} is not supported`)
    state.little = little
    state.section++
    state.firstIface += state.sectionIfaces
    state.sectionIfaces = 0
    return startSkip(cursor, state, pos, SECTION_HEAD_BYTES, bytes)
  }

  /** Passes over a block of which the first `taken` bytes were looked at. */
  function startSkip(cursor: Cursor, state: PcapngState, pos: number, taken: number, bytes: number): number {
    state.skipFrom = cursor.base + pos
    state.skipBytes = bytes
    state.skipLeft = bytes - taken
    return pos + taken
  }

  function skip(cursor: Cursor, state: PcapngState, pos: number): number {
    const present = cursor.end - pos
    const bodyLeft = state.skipLeft - 4
    if (bodyLeft > 0) {
      const step = Math.min(bodyLeft, present)
      state.skipLeft -= step
      return step > 0 ? pos + step : -1
    }
    if (present < 4) return -1
    if (view.getUint32(pos, state.little) !== state.skipBytes) return fault(cursor, TRAILER_DISAGREES)
    state.skipLeft = 0
    return pos + 4
  }
}

const TRAILER_DISAGREES = 'block lengths in front and behind disagree'
const PACKET_TOO_LONG = `packet longer than ${MAX_PACKET_BYTES} bytes`
const PACKET_PAST_BLOCK = 'packet runs past its block'

function fault(cursor: Cursor, reason: string): number {
  cursor.reason = reason
  return -1
}

function countSkipped(skipped: SkippedBlocks, type: number): void {
  switch (type) {
    case BLOCK_NAME_RESOLUTION: skipped.nameResolution++; break
    case BLOCK_INTERFACE_STATISTICS: skipped.interfaceStatistics++; break
    case BLOCK_DECRYPTION_SECRETS: skipped.decryptionSecrets++; break
    case BLOCK_CUSTOM: case BLOCK_CUSTOM_NO_COPY: skipped.custom++; break
    default: skipped.other++
  }
}

/** Divides a stamp, and keeps the second it falls in. */
function keepSecond(table: Float64Array, at: number, high: number, low: number): void {
  splitUnits(high, low, table[at + UNITS]!)
  table[at + HIGH] = high
  table[at + LOW_BEGIN] = low - stamp$[REST]!
  table[at + KEPT_SEC] = stamp$[SEC]! + table[at + OFFSET_SEC]!
}

/** Adds the interface whose block begins at `pos`. The reason it cannot be, or ''. */
function addInterface(view: DataView, pos: number, bytes: number, state: PcapngState): string {
  const index = state.interfaces.length, little = state.little
  if (index === MAX_INTERFACES) return `more than ${MAX_INTERFACES} interfaces`
  if (index === state.tsresol.length) growTables(state)

  // "Interface Description Block": stamps are in µs unless if_tsresol says otherwise.
  let tsresol = -1, offsetSec = NaN                 // the first of each option counts
  const options: { name?: string; description?: string } = {}
  const end = pos + bytes - 4
  for (let at = pos + INTERFACE_OPTIONS; at + 4 <= end;) {
    const code = view.getUint16(at, little), length = view.getUint16(at + 2, little)
    if (code === 0) break
    const value = at + 4
    if (value + length > end) return 'option runs past its block'
    if (code === IF_NAME) options.name ??= text(view, value, length)
    else if (code === IF_DESCRIPTION) options.description ??= text(view, value, length)
    else if (code === IF_TSRESOL && length === 1 && tsresol < 0) tsresol = view.getUint8(value)
    else if (code === IF_TSOFFSET && length === 8 && Number.isNaN(offsetSec)) {
      offsetSec = little ? view.getInt32(value + 4, true) * 2 ** 32 + view.getUint32(value, true)
        : view.getInt32(value, false) * 2 ** 32 + view.getUint32(value + 4, false)
    }
    at = value + length + 3 - (length + 3) % 4
  }

  if (tsresol < 0) tsresol = 6
  if (Number.isNaN(offsetSec)) offsetSec = 0
  const exponent = tsresol & 0x7f, tsResolution = (tsresol >= 0x80 ? 2 : 10) ** exponent
  const link = view.getUint16(pos + LINK_TYPE, little), snapBytes = view.getUint32(pos + SNAP_LEN, little)
  const row = index * IF_WORDS, table = state.table
  // Up to here a product of units and nsPerUnit has at most 50 significant bits, so a double holds it exactly.
  const fast = tsResolution <= NS_PER_SEC
  table[row + LINK] = link
  table[row + SNAP] = snapBytes
  table[row + UNITS] = fast ? tsResolution : 0
  table[row + NS_PER_UNIT] = fast ? NS_PER_SEC / tsResolution : 0
  table[row + OFFSET_SEC] = offsetSec
  table[row + HIGH] = -1
  state.tsresol[index] = tsresol
  state.interfaces.push({ section: state.section, id: state.sectionIfaces, link, ...options, snapBytes, tsResolution })
  state.sectionIfaces++
  return ''
}

function growTables(state: PcapngState): void {
  const table = new Float64Array(state.table.length * 2), tsresol = new Uint8Array(state.tsresol.length * 2)
  table.set(state.table)
  tsresol.set(state.tsresol)
  state.table = table
  state.tsresol = tsresol
}

function text(view: DataView, off: number, bytes: number): string {
  // Some writers count the zero that ends a C string.
  const encoded = new Uint8Array(view.buffer, view.byteOffset + off, Math.min(bytes, MAX_NAME_BYTES))
  const all = new TextDecoder().decode(encoded)
  const zero = all.indexOf('\0')
  return zero < 0 ? all : all.slice(0, zero)
}
