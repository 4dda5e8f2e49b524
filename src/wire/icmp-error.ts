/**
 * An ICMP error of our own about a packet (RFC 792, RFC 4443), as bytes: whom it is from and whether it may be sent is for others
 * to say.
 */
import { fold, pseudo6, sumBytes } from './checksum.ts'
import type { Frames } from './frames.ts'
import * as icmp from './icmp.ts'
import * as ipv4 from './ipv4.ts'
import * as ipv6 from './ipv6.ts'

const ICMP = 1, ICMP6 = 58, TTL = 64
/** RFC 1812 4.3.2.3: as much of the packet as fits without going over 576 bytes. RFC 4443 2.4 (c): over 1280. */
const MOST_BYTES_4 = 576, MOST_BYTES_6 = 1280
export const MOST_BYTES = MOST_BYTES_6

/** RFC 1122 3.2.2: source quench and redirect are errors too. */
export function isError4(type: number): boolean {
  return (type >= icmp.UNREACHABLE && type <= icmp.REDIRECT) || type === icmp.TIME_EXCEEDED || type === icmp.PARAMETER_PROBLEM
}

/** RFC 4443 2.4 (e): errors, those to come as well, and redirects. */
export function isError6(type: number): boolean {
  return type < icmp.V6_ECHO_REQUEST || type === icmp.V6_REDIRECT
}

/**
 * Writes at `to` an error from `from` about the packet at `p`, of which `present` bytes are there, to its source. `word` is the
 * second one of the ICMP header. Its length.
 */
export function write4(
  { pool, view }: Frames, p: number, present: number, from: number, tos: number,
  type: number, code: number, word: number, to: number,
): number {
  const l4 = to + ipv4.HEADER_BYTES
  const quoted = Math.min(present, MOST_BYTES_4 - ipv4.HEADER_BYTES - icmp.HEADER_BYTES)
  const total = ipv4.HEADER_BYTES + icmp.HEADER_BYTES + quoted
  pool.copyWithin(l4 + icmp.HEADER_BYTES, p, p + quoted)
  view.setInt32(to, (0x45 << 24) | (tos << 16) | total)
  view.setInt32(to + 4, ipv4.DONT_FRAGMENT)
  view.setInt32(to + ipv4.TTL, (TTL << 24) | (ICMP << 16))
  view.setInt32(to + ipv4.SRC, from)
  view.setInt32(to + ipv4.DST, ipv4.src(view, p))
  ipv4.setChecksum(view, to, ~ipv4.headerSum(view, to) & 0xffff)
  writeIcmp(view, l4, type, code, word, to + total, 0)
  return total
}

/** The same over IPv6; `from` holds four words. */
export function write6(
  { pool, view }: Frames, p: number, present: number, from: Int32Array, type: number, code: number, word: number, to: number,
): number {
  const l4 = to + ipv6.HEADER_BYTES
  const quoted = Math.min(present, MOST_BYTES_6 - ipv6.HEADER_BYTES - icmp.HEADER_BYTES)
  const payload = icmp.HEADER_BYTES + quoted
  pool.copyWithin(l4 + icmp.HEADER_BYTES, p, p + quoted)
  view.setInt32(to, 6 << 28)
  view.setInt32(to + ipv6.PAYLOAD_LENGTH, (payload << 16) | (ICMP6 << 8) | TTL)
  for (let n = 0; n < 4; n++) {
    view.setInt32(to + ipv6.SRC + 4 * n, from[n])
    view.setInt32(to + ipv6.DST + 4 * n, ipv6.srcWord(view, p, n))
  }
  writeIcmp(view, l4, type, code, word, l4 + payload, pseudo6(view, to, ICMP6, payload))
  return ipv6.HEADER_BYTES + payload
}

function writeIcmp(view: DataView, l4: number, type: number, code: number, word: number, end: number, pseudo: number): void {
  view.setInt32(l4, (type << 24) | (code << 16))
  view.setInt32(l4 + 4, word)
  icmp.setChecksum(view, l4, ~fold(sumBytes(view, l4, end, pseudo)) & 0xffff)
}
