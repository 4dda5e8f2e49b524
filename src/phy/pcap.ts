/**
 * The classic capture file (draft-ietf-opsawg-pcap), read in place: both byte orders, stamps in µs and ns, and the
 * "modified" format of Kuznetsov's patched libpcap with its longer record header. Versions other than 2.x are refused.
 */
import { MAX_PACKET_BYTES, NS_PER_SEC } from './cursor.ts'
import type { Cursor } from './cursor.ts'
import type { Frames } from '../wire/frames.ts'

/* "General File Structure": the magic as a little-endian reader sees it when the writer was little-endian. */
export const MAGIC_US = 0xa1b2c3d4
export const MAGIC_NS = 0xa1b23c4d
export const MAGIC_MODIFIED = 0xa1b2cd34

/* "File Header". */
export const FILE_HEADER_BYTES = 24
const VERSION_MAJOR = 4, SNAP_LEN = 16, LINK_TYPE = 20
/** The upper half carries the length of the frame check sequence and reserved bits. */
const LINK_TYPE_MASK = 0xffff

/* "Packet Record": seconds, fraction, captured and original length. */
const FRACTION = 4, CAPTURED = 8, ORIGINAL = 12
const RECORD_BYTES = 16
/** The modified format adds an interface index, a protocol, a packet type and padding: eight bytes of no use to us. */
const MODIFIED_RECORD_BYTES = 24

export interface PcapLayout {
  little: boolean
  recordBytes: number
  /** Stamps count these per second, 10^6 or 10^9. */
  unitsPerSec: number
  link: number
  snapBytes: number
}

/** True if a file with this magic (read little-endian) is a classic capture. */
export function isPcapMagic(magic: number): boolean { return unitsOf(magic) !== 0 || unitsOf(swap32(magic)) !== 0 }

function unitsOf(magic: number): number {
  return magic === MAGIC_NS ? NS_PER_SEC : magic === MAGIC_US || magic === MAGIC_MODIFIED ? 1_000_000 : 0
}

function swap32(x: number): number {
  return ((x >>> 24) | ((x >>> 8) & 0xff00) | ((x << 8) & 0xff0000) | (x << 24)) >>> 0
}

/** Reads the 24 bytes at `off`, whose magic is known to be good. The reason instead, if the version is not. */
export function readFileHeader(view: DataView, off: number): PcapLayout | string {
  const magic = view.getUint32(off, true)
  const little = unitsOf(magic) !== 0
  const written = little ? magic : swap32(magic)
  const major = view.getUint16(off + VERSION_MAJOR, little)
  if (major !== 2) return `pcap version ${major} is not supported`
  return {
    little,
    recordBytes: written === MAGIC_MODIFIED ? MODIFIED_RECORD_BYTES : RECORD_BYTES,
    unitsPerSec: unitsOf(written),
    link: view.getUint32(off + LINK_TYPE, little) & LINK_TYPE_MASK,
    snapBytes: view.getUint32(off + SNAP_LEN, little),
  }
}

export type PcapLoop = (cursor: Cursor, layout: PcapLayout) => number

/**
 * The loop over records, for one pool. Make it once: V8 compiles the columns into the code as constants as long as
 * there is one closure. It is written for little-endian files and for big-endian ones in one go, because the flag is
 * the same for every packet of a file and the branch costs nothing measurable.
 */
export function createPcapLoop(frames: Frames): PcapLoop {
  const { view, capacity, off, capBytes, wireBytes, link, iface, sec, nsec } = frames
  return function fill(cursor, layout) {
    const { end, shiftSec, shiftNsec } = cursor
    const { little, recordBytes, unitsPerSec } = layout
    const nsPerUnit = NS_PER_SEC / unitsPerSec | 0, fileLink = layout.link
    let pos = cursor.pos, row = 0
    while (row < capacity) {
      const data = pos + recordBytes
      if (data > end) break
      const captured = view.getInt32(pos + CAPTURED, little)
      if (captured < 0 || captured > MAX_PACKET_BYTES) {
        cursor.reason = `packet record longer than ${MAX_PACKET_BYTES} bytes`
        break
      }
      if (captured > end - data) break
      let original = view.getInt32(pos + ORIGINAL, little)
      // Some writers leave the original length short of the captured one; a negative one is 2 GiB and more.
      if (original < captured) original = original < 0 ? 0x7fffffff : captured
      let seconds = view.getUint32(pos, little) + shiftSec
      let fraction = view.getInt32(pos + FRACTION, little)
      if (fraction < 0 || fraction >= unitsPerSec) {
        const units = fraction >>> 0
        seconds += Math.floor(units / unitsPerSec)
        fraction = units % unitsPerSec
      }
      let ns = Math.imul(fraction, nsPerUnit) + shiftNsec
      if (ns >= NS_PER_SEC) {
        ns -= NS_PER_SEC
        seconds += 1
      }
      off[row] = data
      capBytes[row] = captured
      wireBytes[row] = original
      link[row] = fileLink
      iface[row] = 0
      sec[row] = seconds
      nsec[row] = ns
      row++
      pos = data + captured
    }
    cursor.pos = pos
    return row
  }
}
