/**
 * Whose packet is it, where a box has several workers: by what its bytes say, and for what comes from outside by the bindings that
 * each worker's engine has. The rules, in order (docs/live.md, Workers):
 *
 * - from inside: the inside host; of an ICMP error the one whose packet is quoted; IPv4 through NAT without ports: the first
 *   worker;
 * - from outside through NAT: the host that a binding of the port or of the address leads to, else the worker whose stripe the
 *   port or identifier is in; of an ICMP error by the quoted packet; without ports: the first worker; a fragment: by its datagram;
 * - from outside without NAT, and IPv6: the inside host.
 *
 * What is malformed, or for nobody, belongs to whoever has it: it is dropped the same everywhere.
 */
import type { Steering } from '../channel/steering.ts'
import { CLASS_NONE, CLASS_OF } from '../engine/ports.ts'
import type { Share } from '../engine/share.ts'
import { SIDE_INSIDE, type Frames } from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'

/** Anybody may have it. */
export const ANYONE = -1
/** A fragment from outside: whoever has the datagram knows. */
export const BY_DATAGRAM = -2

const ICMP = 1, ICMP6 = 58
/** IPv4 through NAT without ports: one mapping for all flows between two addresses, of whichever host. */
export const PORTLESS_WORKER = 0
const PIECE = ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK
/** Types of ICMP that quote a packet. */
const isError4 = (type: number) => type === 3 || type === 11 || type === 12

export interface Owner {
  /** Worker that the IP packet at `p`, present up to `end`, belongs to, or ANYONE or BY_DATAGRAM. `side`: where it came from. */
  ownerOf(p: number, end: number, side: number): number
  /** The same of the first fragment of a datagram, which has the ports: never BY_DATAGRAM. */
  ownerOfFirst(p: number, end: number): number
}

export function createOwner(
  { view }: Pick<Frames, 'view'>, steering: Steering, engine: Pick<Share, 'ownerOut' | 'isOurs'>, nat44: boolean,
): Owner {
  const { ofAddress4, ofSum6, bySubnet } = steering
  const walk = ipv6.createWalk()
  const sumWords = bySubnet ? 2 : 4

  function of6(at: number): number {
    let sum = 0
    for (let word = 0; word < sumWords; word++) {
      const bits = view.getInt32(at + (word << 2))
      sum += (bits >>> 16) + (bits & 0xffff)
    }
    return ofSum6(sum)
  }

  function ownerOf(p: number, end: number, side: number): number {
    if (p >= end) return ANYONE
    const version = view.getUint8(p) >>> 4
    if (version === 6) return p + ipv6.HEADER_BYTES > end ? ANYONE : ownerOf6(p, end, side)
    if (version !== 4 || p + ipv4.HEADER_BYTES > end) return ANYONE
    return side === SIDE_INSIDE ? ownerOut4(p, end) : ownerIn4(p, end, false)
  }

  /* From inside. */

  function ownerOut4(p: number, end: number): number {
    const protocol = ipv4.protocol(view, p)
    // An error in pieces is none that anybody sends: it stays with its sender.
    if (protocol === ICMP && (ipv4.fragment(view, p) & PIECE) === 0) {
      const quoted = p + ipv4.headerBytes(view, p) + icmp.HEADER_BYTES
      if (quoted <= end && isError4(icmp.type(view, quoted - icmp.HEADER_BYTES))) {
        if (quoted + ipv4.HEADER_BYTES > end) return ANYONE
        return isPortless(ipv4.protocol(view, quoted)) ? PORTLESS_WORKER : ofAddress4(ipv4.dst(view, quoted))
      }
    }
    return isPortless(protocol) ? PORTLESS_WORKER : ofAddress4(ipv4.src(view, p))
  }

  function isPortless(protocol: number): boolean {
    return nat44 && CLASS_OF[protocol] === CLASS_NONE
  }

  /* From outside. */

  function ownerIn4(p: number, end: number, isFirst: boolean): number {
    const protocol = ipv4.protocol(view, p), dst = ipv4.dst(view, p)
    if (!nat44) return ofAddress4(dst)
    if (isPortless(protocol)) return PORTLESS_WORKER
    const isPiece = (ipv4.fragment(view, p) & PIECE) !== 0, isNat = engine.isOurs(dst)
    if (isNat && isPiece && !isFirst) return BY_DATAGRAM
    // Nothing but the address counts for what is not translated.
    if (!isNat && (isPiece || protocol !== ICMP)) return ofAddress4(dst)
    const l4 = p + ipv4.headerBytes(view, p)
    if (l4 + icmp.HEADER_BYTES > end) return ANYONE
    if (protocol === ICMP && isError4(icmp.type(view, l4))) return ownerOfQuote4(l4 + icmp.HEADER_BYTES, end)
    if (!isNat) return ofAddress4(dst)
    return engine.ownerOut(dst, CLASS_OF[protocol], protocol === ICMP ? icmp.id(view, l4) : view.getUint16(l4 + 2))
  }

  /** Who sent the packet that an error from outside quotes. */
  function ownerOfQuote4(e: number, end: number): number {
    if (e + ipv4.HEADER_BYTES > end) return ANYONE
    const protocol = ipv4.protocol(view, e), l4 = e + ipv4.headerBytes(view, e), src = ipv4.src(view, e)
    if (isPortless(protocol)) return PORTLESS_WORKER
    if (!engine.isOurs(src)) return ofAddress4(src)
    if (l4 + icmp.HEADER_BYTES > end) return ANYONE
    return engine.ownerOut(src, CLASS_OF[protocol], protocol === ICMP ? icmp.id(view, l4) : view.getUint16(l4))
  }

  function ownerOf6(p: number, end: number, side: number): number {
    if (side !== SIDE_INSIDE) return of6(p + ipv6.DST)
    if (ipv6.walk(view, p, end, end, walk) === ipv6.WALK_OK && walk.at[ipv6.WALK_PROTOCOL] === ICMP6) {
      const l4 = walk.at[ipv6.WALK_L4], quoted = l4 + icmp.HEADER_BYTES
      const fragment = walk.at[ipv6.WALK_FRAGMENT]
      const isLater = fragment !== 0 && (view.getUint16(fragment + 2) & 0xfff8) !== 0
      if (!isLater && quoted + ipv6.HEADER_BYTES <= end && icmp.type(view, l4) < 128) return of6(quoted + ipv6.DST)
    }
    return of6(p + ipv6.SRC)
  }

  return { ownerOf, ownerOfFirst: (p, end) => ownerIn4(p, end, true) }
}
