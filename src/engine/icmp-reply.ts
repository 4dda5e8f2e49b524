/**
 * ICMP errors that the box itself originates: time exceeded, and unreachable for administrative reasons (RFC 1812 4.3, RFC 4443,
 * RFC 5508 REQ-8). At a limited rate, never about an ICMP error, never about a fragment after the first.
 *
 */
import { counterIndex } from '../channel/counters.ts'
import { createTokenBucket } from '../storage/token-bucket.ts'
import { SIDE_INSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as error from '../wire/icmp-error.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import { EXTRA_REPLY } from './extras.ts'
import type { Shared } from './shared.ts'

const ICMP = 1, ICMP6 = 58
/** RFC 5508 7.7: an error has the class of the packet that it is about (RFC 2474), where RFC 1812 4.3.2.5 had one for all. */
const CLASS_BITS = 0xfc

export function createIcmpReply({ options, frames, rows, pool, counters, extras, npt6 }: Shared, start: number) {
  const { view, off, capBytes, side, l3, netBytes, link, iface } = frames
  const { take } = createTokenBucket(options.icmpErrorsPerSecond)
  const ORIGINATED = counterIndex('icmp-errors-originated'), SUPPRESSED = counterIndex('icmp-errors-suppressed')
  const box = Int32Array.from(options.boxAddress6), boxOutside = box.slice()
  // The outside knows the box by its outside address, if its inside one is translated.
  npt6?.outward(boxOutside, 0)

  /** May an error be sent about row i? It has passed the address checks. */
  function mayAnswer(i: number): boolean {
    const version = rows.kind[i] >>> 8
    const p = l3[i]
    if (version === 4 && (ipv4.fragment(view, p) & ipv4.OFFSET_MASK) !== 0) return false
    if (version === 6 && rows.fragment[i] !== 0 && (view.getUint16(rows.fragment[i] + 2) & 0xfff8) !== 0) return false
    const protocol = rows.kind[i] & 255
    if (protocol !== (version === 4 ? ICMP : ICMP6)) return true
    const l4 = rows.l4[i]
    if (l4 >= off[i] + capBytes[i] || l4 >= p + netBytes[i]) return false
    return !(version === 4 ? error.isError4(icmp.type(view, l4)) : error.isError6(icmp.type(view, l4)))
  }

  /** Answers row i, as it came in, with an ICMP error of that type (ICMPv4 numbers for IPv4, ICMPv6 numbers for IPv6). */
  function reply(i: number, type4: number, code4: number, type6: number, code6: number, word: number, nowMs: number): void {
    // @req RFC5508 REQ-10e
    if (!mayAnswer(i)) return
    // @req RFC5508 REQ-9, REQ-10f
    if (!take(nowMs)) {
      counters[SUPPRESSED]++
      return
    }
    counters[ORIGINATED]++
    const toInside = side[i] === SIDE_INSIDE
    const present = Math.min(netBytes[i], off[i] + capBytes[i] - l3[i])
    const bytes = rows.kind[i] >>> 8 === 4 ? write4(l3[i], present, type4, code4, word, toInside)
      : write6(l3[i], present, type6, code6, word, toInside ? box : boxOutside)
    extras.push(EXTRA_REPLY, toInside ? TO_INSIDE : TO_OUTSIDE, start, start, bytes, bytes, link[i], iface[i])
  }

  /** An error about the packet at `p`, of which `present` bytes are there. Its length. */
  function write4(p: number, present: number, type: number, code: number, word: number, toInside: boolean): number {
    const dst = ipv4.dst(view, p)
    let from = options.boxAddress4
    if (!toInside && options.nat44) from = pool.indexOf(dst) >= 0 ? dst : pool.addressAt(0)
    // @req RFC5508 REQ-10d
    return error.write4(frames, p, present, from, ipv4.tos(view, p) & CLASS_BITS, type, code, word, start)
  }

  function write6(p: number, present: number, type: number, code: number, word: number, from: Int32Array): number {
    return error.write6(frames, p, present, from, type, code, word, start)
  }

  function timeExceeded(i: number, nowMs: number): void {
    reply(i, icmp.TIME_EXCEEDED, 0, icmp.V6_TIME_EXCEEDED, 0, 0, nowMs)
  }

  function prohibited(i: number, nowMs: number): void {
    reply(i, icmp.UNREACHABLE, icmp.ADMINISTRATIVELY_PROHIBITED, icmp.V6_UNREACHABLE, icmp.V6_ADMINISTRATIVELY_PROHIBITED,
      0, nowMs)
  }

  /** RFC 6888 REQ-11b: a soft error, so that TCP tries again; or prohibited, as RFC 5508 REQ-8 has it. */
  function unavailable(i: number, nowMs: number): void {
    if (options.refusesByHost !== true) return prohibited(i, nowMs)
    reply(i, icmp.UNREACHABLE, icmp.HOST_UNREACHABLE, icmp.V6_UNREACHABLE, icmp.V6_ADDRESS_UNREACHABLE, 0, nowMs)
  }

  /**
   * Writes at `start` the answer to an unsolicited SYN from outside, which lies at `p`: port unreachable (RFC 5382 REQ-4), or
   * prohibited for IPv6 (RFC 6092). Its length, or 0 if the rate forbids it.
   */
  function refuseSyn(p: number, present: number, version: number, nowMs: number): number {
    if (!take(nowMs)) {
      counters[SUPPRESSED]++
      return 0
    }
    counters[ORIGINATED]++
    return version === 4 ? write4(p, present, icmp.UNREACHABLE, icmp.PORT_UNREACHABLE, 0, false)
      : write6(p, present, icmp.V6_UNREACHABLE, icmp.V6_ADMINISTRATIVELY_PROHIBITED, 0, boxOutside)
  }

  /** RFC 1191 4, RFC 4443 3.2: the link that row i would leave by takes packets of `mtu` bytes. */
  function tooBig(i: number, mtu: number, nowMs: number): void {
    reply(i, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, icmp.V6_TOO_BIG, 0, mtu, nowMs)
  }

  /* For IPv6 alone (RFC 4443 3.1, 3.4). */

  /** No counterpart of its destination is there. */
  function noRoute(i: number, nowMs: number): void {
    reply(i, icmp.UNREACHABLE, icmp.ADMINISTRATIVELY_PROHIBITED, icmp.V6_UNREACHABLE, icmp.V6_NO_ROUTE, 0, nowMs)
  }

  /** Its source may not leave. */
  function badSource(i: number, nowMs: number): void {
    reply(i, icmp.UNREACHABLE, icmp.ADMINISTRATIVELY_PROHIBITED, icmp.V6_UNREACHABLE, icmp.V6_SOURCE_POLICY, 0, nowMs)
  }

  /** A field of its header, at that offset, is at fault. */
  function badField(i: number, field: number, nowMs: number): void {
    reply(i, icmp.PARAMETER_PROBLEM, 0, icmp.V6_PARAMETER_PROBLEM, 0, field, nowMs)
  }

  return { timeExceeded, prohibited, unavailable, refuseSyn, tooBig, noRoute, badSource, badField }
}
