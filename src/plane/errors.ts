/**
 * ICMP errors about packets that the engine has no part in: those that are addressed to the box itself, and those that nobody on
 * the link takes. At a limited rate, never about an ICMP error, a fragment after the first, a group or nobody (RFC 1122 3.2.2,
 * RFC 4443 2.4 (e)).
 */
import type { Frames } from '../wire/frames.ts'
import * as error from '../wire/icmp-error.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'

const ICMP = 1, ICMP6 = 58
/** RFC 1812 4.3.2.5: internetwork control. */
const CLASS = 0xc0

export interface IcmpErrors {
  /** Writes at `to` an error from `src` about the IPv4 packet at `p`, of which `bytes` are there. Its length, or 0. */
  write4(p: number, bytes: number, src: number, type: number, code: number, to: number, nowMs: number): number
  /** The same over IPv6; `word` is the second one of the ICMP header. */
  write6(p: number, bytes: number, src: Int32Array, type: number, code: number, word: number, to: number, nowMs: number): number
}

/** @param take may one more leave? */
export function createIcmpErrors(frames: Frames, take: (nowMs: number) => boolean): IcmpErrors {
  const { view } = frames
  const walk = ipv6.createWalk()

  function mayAnswer4(p: number, bytes: number): boolean {
    const src = ipv4.src(view, p), dst = ipv4.dst(view, p)
    if (bytes < ipv4.HEADER_BYTES || (ipv4.fragment(view, p) & ipv4.OFFSET_MASK) !== 0) return false
    if (src >>> 24 === 0 || src >>> 24 === 127 || src >>> 28 >= 14 || dst >>> 28 >= 14) return false
    if (ipv4.protocol(view, p) !== ICMP) return true
    const l4 = p + ipv4.headerBytes(view, p)
    return l4 < p + bytes && !error.isError4(icmp.type(view, l4))
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
    return l4 < p + bytes && !error.isError6(icmp.type(view, l4))
  }

  return {
    write4(p, bytes, src, type, code, to, nowMs) {
      if (!mayAnswer4(p, bytes) || !take(nowMs)) return 0
      return error.write4(frames, p, bytes, src, CLASS, type, code, 0, to)
    },
    write6(p, bytes, src, type, code, word, to, nowMs) {
      if (!mayAnswer6(p, bytes) || !take(nowMs)) return 0
      return error.write6(frames, p, bytes, src, type, code, word, to)
    },
  }
}
