/**
 * Neighbour solicitations and advertisements (RFC 4861 4.3, 4.4), in place: `off` is that of the ICMPv6 header, `end` one past the
 * message. After `check`, no accessor reads past `end`. Router messages and redirects are not read.
 */
import { fold, pseudo6, sumBytes } from './checksum.ts'
import * as icmp from './icmp.ts'
import * as ipv6 from './ipv6.ts'

export const SOLICITATION = 135, ADVERTISEMENT = 136
/** Type, code, checksum, flags, target. */
export const MESSAGE_BYTES = 24
const FLAGS = 4, TARGET = 8
/** Flags of an advertisement, in its first word. */
export const ROUTER = 0x80000000 | 0, SOLICITED = 0x40000000, OVERRIDE = 0x20000000
const SOURCE_OPTION = 1, TARGET_OPTION = 2
/** An option with an Ethernet address, and a packet with one message and one such option. */
const OPTION_BYTES = 8
export const PACKET_BYTES = ipv6.HEADER_BYTES + MESSAGE_BYTES + OPTION_BYTES
/** First word of a group on the link. */
const GROUP_0 = 0xff020000 | 0
/** RFC 4861 7.1: nothing that came through a router is believed. */
const HOP_LIMIT = 255

/** Is the packet at `p`, ICMPv6 from `off` to `end`, a message as RFC 4861 7.1.1 and 7.1.2 want it? */
export function check(v: DataView, p: number, off: number, end: number): boolean {
  if (ipv6.hopLimit(v, p) !== HOP_LIMIT || end - off < MESSAGE_BYTES || icmp.code(v, off) !== 0) return false
  if (v.getUint8(off + TARGET) === 0xff) return false
  if (fold(sumBytes(v, off, end, pseudo6(v, p, 58, end - off))) !== 0xffff) return false
  const isSolicitation = icmp.type(v, off) === SOLICITATION
  // What is told to a group answers nobody.
  if (!isSolicitation && v.getUint8(p + ipv6.DST) === 0xff && (flags(v, off) & SOLICITED) !== 0) return false
  const isProbe = isSolicitation
    && (ipv6.srcWord(v, p, 0) | ipv6.srcWord(v, p, 1) | ipv6.srcWord(v, p, 2) | ipv6.srcWord(v, p, 3)) === 0
  if (isProbe && !isToSolicitedNode(v, p)) return false
  for (let at = off + MESSAGE_BYTES; at < end;) {
    const bytes = at + 1 < end ? v.getUint8(at + 1) << 3 : 0
    if (bytes === 0 || at + bytes > end) return false
    if (isProbe && v.getUint8(at) === SOURCE_OPTION) return false
    at += bytes
  }
  return true
}

/** Is the destination a solicited-node group (RFC 4291 2.7.1), of whatever address? */
function isToSolicitedNode(v: DataView, p: number): boolean {
  const at = p + ipv6.DST
  return v.getInt32(at) === GROUP_0 && v.getInt32(at + 4) === 0 && v.getInt32(at + 8) === 1 && v.getUint8(at + 12) === 0xff
}

export function targetWord(v: DataView, off: number, word: number): number { return v.getInt32(off + TARGET + (word << 2)) }
export function flags(v: DataView, off: number): number { return v.getInt32(off + FLAGS) }

/** Offset of the Ethernet address that the message tells of its source, or its target; 0: none. */
export function addressAt(v: DataView, off: number, end: number): number {
  const wanted = icmp.type(v, off) === SOLICITATION ? SOURCE_OPTION : TARGET_OPTION
  for (let at = off + MESSAGE_BYTES; at + OPTION_BYTES <= end; at += v.getUint8(at + 1) << 3) {
    if (v.getUint8(at) === wanted && v.getUint8(at + 1) === 1) return at + 2
  }
  return 0
}

/** Four words each; `mac` is that of the sender. */
export interface Message {
  type: number
  src: Int32Array
  dst: Int32Array
  target: Int32Array
  /** ROUTER, SOLICITED, OVERRIDE; 0 in a solicitation. */
  flags: number
  mac: readonly number[]
}

/** Writes a whole packet at `off`, of PACKET_BYTES. */
export function emit({ type, src, dst, target, flags: said, mac }: Message, v: DataView, off: number): number {
  v.setInt32(off, 6 << 28)
  v.setUint16(off + ipv6.PAYLOAD_LENGTH, MESSAGE_BYTES + OPTION_BYTES)
  v.setUint8(off + ipv6.NEXT_HEADER, 58)
  ipv6.setHopLimit(v, off, HOP_LIMIT)
  for (let i = 0; i < 4; i++) {
    v.setInt32(off + ipv6.SRC + 4 * i, src[i])
    v.setInt32(off + ipv6.DST + 4 * i, dst[i])
    v.setInt32(off + ipv6.HEADER_BYTES + TARGET + 4 * i, target[i])
  }
  const at = off + ipv6.HEADER_BYTES, end = off + PACKET_BYTES
  v.setInt32(at, type << 24)
  v.setInt32(at + FLAGS, said)
  v.setUint8(at + MESSAGE_BYTES, type === SOLICITATION ? SOURCE_OPTION : TARGET_OPTION)
  v.setUint8(at + MESSAGE_BYTES + 1, 1)
  for (let i = 0; i < 6; i++) v.setUint8(at + MESSAGE_BYTES + 2 + i, mac[i])
  icmp.setChecksum(v, at, ~fold(sumBytes(v, at, end, pseudo6(v, off, 58, end - at))) & 0xffff)
  return PACKET_BYTES
}

/** The group that the owner of an address listens to (RFC 4291 2.7.1). */
export function solicitedNode(words: Int32Array): Int32Array {
  return Int32Array.of(GROUP_0, 0, 1, 0xff000000 | words[3] & 0xffffff)
}
