/**
 * ICMP errors about packets that the engine has no part in: those that are addressed to the box itself, and those that nobody on
 * the link takes. At a limited rate, never about an ICMP error, a fragment after the first, a group or nobody (RFC 1122 3.2.2,
 * RFC 4443 2.4 (e)).
 */
import { fold, pseudo6, sumBytes } from '../wire/checksum.ts'
import type { Frames } from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'

const ICMP = 1, ICMP6 = 58, TTL = 64
/** RFC 1812 4.3.2.3, RFC 4443 2.4 (c). */
const MOST_4 = 576, MOST_6 = 1280
export const ERROR_BYTES = MOST_6

export interface IcmpErrors {
  /** Writes at `to` an error from `src` about the IPv4 packet at `p`, of which `bytes` are there. Its length, or 0. */
  write4(p: number, bytes: number, src: number, type: number, code: number, to: number, nowMs: number): number
  write6(p: number, bytes: number, src: Int32Array, type: number, code: number, to: number, nowMs: number): number
}

/** @param take may one more leave? */
export function createIcmpErrors({ pool, view }: Frames, take: (nowMs: number) => boolean): IcmpErrors {
  const walk = ipv6.createWalk()

  function mayAnswer4(p: number, bytes: number): boolean {
    const src = ipv4.src(view, p), dst = ipv4.dst(view, p)
    if (bytes < ipv4.HEADER_BYTES || (ipv4.fragment(view, p) & ipv4.OFFSET_MASK) !== 0) return false
    if (src >>> 24 === 0 || src >>> 24 === 127 || src >>> 28 >= 14 || dst >>> 28 >= 14) return false
    if (ipv4.protocol(view, p) !== ICMP) return true
    const l4 = p + ipv4.headerBytes(view, p)
    if (l4 >= p + bytes) return false
    const type = icmp.type(view, l4)
    return type === icmp.ECHO_REQUEST || type === icmp.ECHO_REPLY || type === icmp.TIMESTAMP_REQUEST
  }

  function mayAnswer6(p: number, bytes: number): boolean {
    if (bytes < ipv6.HEADER_BYTES || view.getUint8(p + ipv6.SRC) === 0xff || view.getUint8(p + ipv6.DST) === 0xff) return false
    const src = p + ipv6.SRC
    if ((view.getInt32(src) | view.getInt32(src + 4) | view.getInt32(src + 8) | view.getInt32(src + 12)) === 0) return false
    if (ipv6.walk(view, p, p + bytes, p + bytes, walk) !== ipv6.WALK_OK) return false
    const fragment = walk.at[ipv6.WALK_FRAGMENT]
    if (fragment !== 0 && (view.getUint16(fragment + 2) & 0xfff8) !== 0) return false
    const l4 = walk.at[ipv6.WALK_L4]
    if (walk.at[ipv6.WALK_PROTOCOL] !== ICMP6) return true
    return l4 < p + bytes && icmp.type(view, l4) >= icmp.V6_ECHO_REQUEST && icmp.type(view, l4) !== icmp.V6_REDIRECT
  }

  return {
    write4(p, bytes, src, type, code, to, nowMs) {
      if (!mayAnswer4(p, bytes) || !take(nowMs)) return 0
      const l4 = to + ipv4.HEADER_BYTES
      const quoted = Math.min(bytes, MOST_4 - ipv4.HEADER_BYTES - icmp.HEADER_BYTES)
      const total = ipv4.HEADER_BYTES + icmp.HEADER_BYTES + quoted
      pool.copyWithin(l4 + icmp.HEADER_BYTES, p, p + quoted)
      view.setInt32(to, 0x45c00000 | total)
      view.setInt32(to + 4, ipv4.DONT_FRAGMENT)
      view.setInt32(to + 8, TTL << 24 | ICMP << 16)
      view.setInt32(to + ipv4.SRC, src)
      view.setInt32(to + ipv4.DST, ipv4.src(view, p))
      ipv4.setChecksum(view, to, ~ipv4.headerSum(view, to) & 0xffff)
      view.setInt32(l4, type << 24 | code << 16)
      view.setInt32(l4 + 4, 0)
      icmp.setChecksum(view, l4, ~fold(sumBytes(view, l4, to + total, 0)) & 0xffff)
      return total
    },
    write6(p, bytes, src, type, code, to, nowMs) {
      if (!mayAnswer6(p, bytes) || !take(nowMs)) return 0
      const l4 = to + ipv6.HEADER_BYTES
      const quoted = Math.min(bytes, MOST_6 - ipv6.HEADER_BYTES - icmp.HEADER_BYTES)
      const payload = icmp.HEADER_BYTES + quoted
      pool.copyWithin(l4 + icmp.HEADER_BYTES, p, p + quoted)
      view.setInt32(to, 6 << 28)
      view.setInt32(to + 4, payload << 16 | ICMP6 << 8 | TTL)
      for (let i = 0; i < 4; i++) {
        view.setInt32(to + ipv6.SRC + 4 * i, src[i])
        view.setInt32(to + ipv6.DST + 4 * i, ipv6.srcWord(view, p, i))
      }
      view.setInt32(l4, type << 24 | code << 16)
      view.setInt32(l4 + 4, 0)
      icmp.setChecksum(view, l4, ~fold(sumBytes(view, l4, l4 + payload, pseudo6(view, to, ICMP6, payload))) & 0xffff)
      return ipv6.HEADER_BYTES + payload
    },
  }
}
