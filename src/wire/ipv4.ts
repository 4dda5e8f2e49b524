/**
 * IPv4 header (RFC 791), in place. The engine checks a header once, in the order of RFC 1812 5.2.2; after that no accessor
 * reads past the captured bytes. Addresses are host-order int32: small integers, made unsigned only when printed.
 */
import { fold } from './checksum.ts'

export const HEADER_BYTES = 20
export const TOTAL_LENGTH = 2, ID = 4, FRAGMENT = 6, TTL = 8, PROTOCOL = 9, CHECKSUM = 10, SRC = 12, DST = 16
export const MORE_FRAGMENTS = 0x2000, DONT_FRAGMENT = 0x4000, OFFSET_MASK = 0x1fff

/** Version in the high nibble, header length in words in the low one. */
export function versionIhl(v: DataView, off: number): number { return v.getUint8(off) }
export function headerBytes(v: DataView, off: number): number { return (v.getUint8(off) & 15) << 2 }
export function tos(v: DataView, off: number): number { return v.getUint8(off + 1) }
export function totalLength(v: DataView, off: number): number { return v.getUint16(off + TOTAL_LENGTH) }
export function id(v: DataView, off: number): number { return v.getUint16(off + ID) }
/** Flags and offset as one word, see the masks. */
export function fragment(v: DataView, off: number): number { return v.getUint16(off + FRAGMENT) }
export function ttl(v: DataView, off: number): number { return v.getUint8(off + TTL) }
export function protocol(v: DataView, off: number): number { return v.getUint8(off + PROTOCOL) }
export function checksum(v: DataView, off: number): number { return v.getUint16(off + CHECKSUM) }
export function src(v: DataView, off: number): number { return v.getInt32(off + SRC) }
export function dst(v: DataView, off: number): number { return v.getInt32(off + DST) }

export function setTotalLength(v: DataView, off: number, bytes: number): void { v.setUint16(off + TOTAL_LENGTH, bytes) }
export function setTtl(v: DataView, off: number, hops: number): void { v.setUint8(off + TTL, hops) }
export function setChecksum(v: DataView, off: number, sum: number): void { v.setUint16(off + CHECKSUM, sum) }
export function setSrc(v: DataView, off: number, address: number): void { v.setInt32(off + SRC, address) }
export function setDst(v: DataView, off: number, address: number): void { v.setInt32(off + DST, address) }

/** Sum of the 20 bytes every header has; 0xffff when there are no options and the checksum is right. */
export function headerSum(v: DataView, off: number): number {
  return fold(v.getUint16(off) + v.getUint16(off + 2) + v.getUint16(off + 4) + v.getUint16(off + 6) + v.getUint16(off + 8)
    + v.getUint16(off + 10) + v.getUint16(off + 12) + v.getUint16(off + 14) + v.getUint16(off + 16) + v.getUint16(off + 18))
}

export const OPTION_END = 0, OPTION_NOP = 1, OPTION_LSRR = 131, OPTION_SSRR = 137
export const OPTIONS_OK = 0, OPTIONS_BAD = 1, OPTIONS_SOURCE_ROUTE = 2

/** Walks the options between the fixed header and `end`. */
export function checkOptions(v: DataView, off: number, end: number): number {
  let found = OPTIONS_OK
  for (let at = off + HEADER_BYTES; at < end;) {
    const kind = v.getUint8(at)
    if (kind === OPTION_END) break
    if (kind === OPTION_NOP) { at++; continue }
    if (at + 1 >= end) return OPTIONS_BAD
    const bytes = v.getUint8(at + 1)
    if (bytes < 2 || at + bytes > end) return OPTIONS_BAD
    if (kind === OPTION_LSRR || kind === OPTION_SSRR) found = OPTIONS_SOURCE_ROUTE
    at += bytes
  }
  return found
}
