/**
 * Link headers: where in a frame the network header starts, and of which kind it is. Read: Ethernet with VLAN tags and
 * LLC/SNAP, raw IP, BSD loopback, both cooked forms of Linux. Refused as unsupported: every other link type, and MPLS
 * and PPPoE sessions, whose own fields a forwarder would have to keep. Link headers are read, never changed.
 */
import {
  LINK_ETHERNET, LINK_IPV4, LINK_IPV6, LINK_LINUX_SLL, LINK_LINUX_SLL2, LINK_LOOP, LINK_NULL, LINK_RAW,
  NET_ARP, NET_IPV4, NET_IPV6, NET_LINK_TRUNCATED, NET_LINK_UNSUPPORTED, NET_NOT_IP, type Frames,
} from './frames.ts'
import * as ethernet from './ethernet.ts'

/* From the specifications */
/** DLT_RAW of BSD and of OpenBSD, which some writers put into files (LINKTYPE_RAW is 101). */
const DLT_RAW = 12, DLT_RAW_OPENBSD = 14
/** Address families of BSD loopback headers: IPv6 is Linux, NetBSD and OpenBSD, FreeBSD, Darwin. */
const AF_INET = 2, AF_INET6_LINUX = 10, AF_INET6_BSD = 24, AF_INET6_FREEBSD = 28, AF_INET6_DARWIN = 30
const LOOPBACK_BYTES = 4
const SLL_BYTES = 16, SLL_PROTOCOL = 14
const SLL2_BYTES = 20, SLL2_PROTOCOL = 0, SLL2_PACKET_TYPE = 10
/** Packet types of cooked headers. */
const SLL_BROADCAST = 1, SLL_MULTICAST = 2
/** In a cooked header: an LLC header follows. Smaller numbers name other payloads without a type. */
const SLL_LLC = 4
/** LLC (IEEE 802.2) AA-AA-03, organization 00-00-00 (RFC 1042), ethertype. */
const LLC_BYTES = 3, SNAP_BYTES = 8

export interface Link {
  /** Sets `net`, `l3` and `group` of the rows below `count`. */
  locate(count: number): void
  /**
   * Writes at pool offset `to` the link header for a packet of `netBytes` that answers row `i`, of the same IP version:
   * a copy with the addresses exchanged where the link has a pair of them (Ethernet). Returns its length, which is
   * `l3 - off` of the row. A frame to a group must not be answered (RFC 1122 3.2.2): the reply would come from the
   * group.
   */
  headerForReply(i: number, to: number, netBytes: number): number
  /** The same for a frame that is in no row: from `from` in the pool, its network header at `p`, of link type `type`. */
  headerFor(from: number, p: number, type: number, to: number, netBytes: number): number
}

export function createLink(frames: Frames): Link {
  const { pool, view, off, capBytes, link, net, l3, group } = frames

  function locate(count: number): void {
    for (let i = 0; i < count; i++) {
      const at = off[i]
      // Most frames are IP on Ethernet behind one tag or none: they take this straight line, and nothing else does.
      if (link[i] === LINK_ETHERNET && capBytes[i] >= ethernet.HEADER_BYTES + ethernet.TAG_BYTES) {
        group[i] = view.getUint8(at) & 1
        let type = view.getUint16(at + ethernet.TYPE), bytes = ethernet.HEADER_BYTES
        if (type === ethernet.TYPE_VLAN) {
          type = view.getUint16(at + ethernet.TYPE + ethernet.TAG_BYTES)
          bytes = ethernet.HEADER_BYTES + ethernet.TAG_BYTES
        }
        if (type === ethernet.TYPE_IPV4) {
          net[i] = NET_IPV4
          l3[i] = at + bytes
          continue
        }
        if (type === ethernet.TYPE_IPV6) {
          net[i] = NET_IPV6
          l3[i] = at + bytes
          continue
        }
      }
      net[i] = locateOther(i, at, at + capBytes[i])
    }
  }

  function locateOther(i: number, at: number, end: number): number {
    l3[i] = at
    group[i] = 0
    switch (link[i]) {
      case LINK_ETHERNET:
        if (end - at < ethernet.HEADER_BYTES) return NET_LINK_TRUNCATED
        group[i] = view.getUint8(at) & 1
        return behindType(i, view.getUint16(at + ethernet.TYPE), at + ethernet.HEADER_BYTES, end)
      case LINK_RAW: case DLT_RAW: case DLT_RAW_OPENBSD: {
        if (end === at) return NET_LINK_TRUNCATED
        const version = view.getUint8(at) >>> 4
        return version === 4 ? NET_IPV4 : version === 6 ? NET_IPV6 : NET_NOT_IP
      }
      case LINK_IPV4: return NET_IPV4
      case LINK_IPV6: return NET_IPV6
      case LINK_NULL: case LINK_LOOP: {
        if (end - at < LOOPBACK_BYTES) return NET_LINK_TRUNCATED
        let family = view.getUint32(at)
        // NULL is in the byte order of the machine that captured, which no file tells; families are small numbers.
        if (link[i] === LINK_NULL && family > 0xffff) family = view.getUint32(at, true)
        l3[i] = at + LOOPBACK_BYTES
        return netOfFamily(family)
      }
      case LINK_LINUX_SLL:
        if (end - at < SLL_BYTES) return NET_LINK_TRUNCATED
        group[i] = isGroupType(view.getUint16(at))
        return behindCooked(i, view.getUint16(at + SLL_PROTOCOL), at + SLL_BYTES, end)
      case LINK_LINUX_SLL2:
        if (end - at < SLL2_BYTES) return NET_LINK_TRUNCATED
        group[i] = isGroupType(view.getUint8(at + SLL2_PACKET_TYPE))
        return behindCooked(i, view.getUint16(at + SLL2_PROTOCOL), at + SLL2_BYTES, end)
      default: return NET_LINK_UNSUPPORTED
    }
  }

  function isGroupType(type: number): number {
    return type === SLL_BROADCAST || type === SLL_MULTICAST ? 1 : 0
  }

  function netOfFamily(family: number): number {
    switch (family) {
      case AF_INET: return NET_IPV4
      case AF_INET6_LINUX: case AF_INET6_BSD: case AF_INET6_FREEBSD: case AF_INET6_DARWIN: return NET_IPV6
      default: return NET_NOT_IP
    }
  }

  function behindCooked(i: number, type: number, at: number, end: number): number {
    return type < ethernet.TYPE_FIRST && type !== SLL_LLC ? NET_NOT_IP : behindType(i, type, at, end)
  }

  /** What `type` says of the bytes from `at`, through tags. */
  function behindType(i: number, type: number, at: number, end: number): number {
    for (let tags = 0; ethernet.isTag(type); tags++) {
      if (tags === ethernet.MAX_TAGS) return NET_LINK_UNSUPPORTED
      if (end - at < ethernet.TAG_BYTES) return NET_LINK_TRUNCATED
      type = view.getUint16(at + 2)
      at += ethernet.TAG_BYTES
    }
    if (type < ethernet.TYPE_FIRST) {
      if (end - at < LLC_BYTES) return NET_LINK_TRUNCATED
      if (view.getUint16(at) !== 0xaaaa || view.getUint8(at + 2) !== 3) return NET_NOT_IP
      if (end - at < SNAP_BYTES) return NET_LINK_TRUNCATED
      if (view.getUint16(at + 3) !== 0 || view.getUint8(at + 5) !== 0) return NET_NOT_IP
      type = view.getUint16(at + 6)
      at += SNAP_BYTES
    }
    l3[i] = at
    switch (type) {
      case ethernet.TYPE_IPV4: return NET_IPV4
      case ethernet.TYPE_IPV6: return NET_IPV6
      case ethernet.TYPE_ARP: return NET_ARP
      case ethernet.TYPE_MPLS: case ethernet.TYPE_MPLS_UPSTREAM: case ethernet.TYPE_PPPOE_SESSION:
        return NET_LINK_UNSUPPORTED
      default: return NET_NOT_IP
    }
  }

  function headerForReply(i: number, to: number, netBytes: number): number {
    return headerFor(off[i], l3[i], link[i], to, netBytes)
  }

  function headerFor(from: number, p: number, type: number, to: number, netBytes: number): number {
    const bytes = p - from
    pool.copyWithin(to, from, p)
    if (type !== LINK_ETHERNET) return bytes
    ethernet.swapAddresses(view, to)
    // An 802.3 header ends with the length of what follows it: LLC, SNAP and the packet.
    const header = ethernet.check(view, to, to + bytes)
    if (header < bytes) ethernet.setLastType(view, to, header, bytes - header + netBytes)
    return bytes
  }

  return { locate, headerForReply, headerFor }
}
