/**
 * Checksums that a sender on the same host has left to hardware: the field of a TCP or UDP header then holds the sum of the pseudo
 * header alone (Linux, CHECKSUM_PARTIAL). Who is not told so by the system sees it by that. A whole checksum that happens to be the
 * same number comes out as it was.
 */
import { fold, pseudo4, pseudo6, sumBytes } from '../wire/checksum.ts'
import * as ethernet from '../wire/ethernet.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'

const TCP = 6, UDP = 17, TCP_CHECKSUM = 16, UDP_CHECKSUM = 6, TCP_BYTES = 20, UDP_BYTES = 8

/** Completes the checksum of an untagged Ethernet frame if it is a partial one; true if it was. */
export function completeChecksum(view: DataView, off: number, end: number): boolean {
  const p = off + ethernet.HEADER_BYTES
  if (p + ipv4.HEADER_BYTES + UDP_BYTES > end) return false
  const type = view.getUint16(off + ethernet.TYPE)
  if (type === ethernet.TYPE_IPV4) {
    if ((ipv4.fragment(view, p) & (ipv4.OFFSET_MASK | ipv4.MORE_FRAGMENTS)) !== 0) return false
    const protocol = ipv4.protocol(view, p), l4 = p + ipv4.headerBytes(view, p), last = p + ipv4.totalLength(view, p)
    if (!holds(protocol, l4, last, end)) return false
    return completeAt(view, l4, last, protocol, pseudo4(ipv4.src(view, p), ipv4.dst(view, p), protocol, last - l4))
  }
  if (type !== ethernet.TYPE_IPV6) return false
  const protocol = ipv6.nextHeader(view, p), l4 = p + ipv6.HEADER_BYTES, last = l4 + ipv6.payloadLength(view, p)
  if (!holds(protocol, l4, last, end)) return false
  return completeAt(view, l4, last, protocol, pseudo6(view, p, protocol, last - l4))
}

function holds(protocol: number, l4: number, last: number, end: number): boolean {
  return last <= end && (protocol === TCP && l4 + TCP_BYTES <= last || protocol === UDP && l4 + UDP_BYTES <= last)
}

function completeAt(view: DataView, l4: number, last: number, protocol: number, pseudo: number): boolean {
  const at = l4 + (protocol === TCP ? TCP_CHECKSUM : UDP_CHECKSUM)
  if (view.getUint16(at) !== pseudo) return false
  const checksum = ~fold(sumBytes(view, l4, last, 0)) & 0xffff
  view.setUint16(at, checksum === 0 && protocol === UDP ? 0xffff : checksum)
  return true
}
