/** What the first look at a packet found, as values: from the bytes as they came and the columns that the engine filled. */
import { print4, print6 } from '../../base/address.ts'
import {
  FIRST_FRAGMENT, PATH_4, PATH_4_ERROR, PATH_4_OTHER, PATH_4_PLAIN, PATH_6, PATH_6_ERROR, PATH_DROP, PATH_EXPIRED, PATH_LATER,
} from '../../engine/rows.ts'
import * as ethernet from '../../wire/ethernet.ts'
import { LINK_ETHERNET, NET_ARP, NET_IPV4, NET_IPV6, NET_LINK_TRUNCATED } from '../../wire/frames.ts'
import * as icmp from '../../wire/icmp.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import type { Seen } from '../filter/match.ts'
import type { Parse } from './explanation.ts'

const PATHS: Record<number, string> = {
  [PATH_DROP]: 'refused by the first look', [PATH_EXPIRED]: 'no hop left', [PATH_4]: 'translation', [PATH_4_OTHER]: 'translation',
  [PATH_4_PLAIN]: 'IPv4 past the translation', [PATH_4_ERROR]: 'ICMP error', [PATH_6]: 'IPv6 firewall',
  [PATH_6_ERROR]: 'ICMPv6 error', [PATH_LATER]: 'fragment after the first',
}

const NAMES: Record<number, string> = {
  1: 'ICMP', 2: 'IGMP', 4: 'IP in IP', 6: 'TCP', 17: 'UDP', 33: 'DCCP', 41: 'IPv6 in IP', 47: 'GRE', 50: 'ESP', 51: 'AH',
  58: 'ICMPv6',  89: 'OSPF', 103: 'PIM', 112: 'VRRP', 115: 'L2TP', 132: 'SCTP', 136: 'UDP-Lite',
}

export function protocolName(protocol: number): string {
  return NAMES[protocol] ?? `protocol ${protocol}`
}

/** null: there is no IP header to read. `path` is the column of the engine after the look. */
export function parseResult({ view, off, capBytes, wireBytes, net, l3 }: Seen, path: number): Parse | null {
  const present = off + capBytes - l3
  const onWireBytes = off + wireBytes - l3
  const way = (path & FIRST_FRAGMENT) !== 0 ? `first fragment, ${PATHS[path & ~FIRST_FRAGMENT]}` : PATHS[path] ?? `path ${path}`
  if (net === NET_IPV4 && present >= ipv4.HEADER_BYTES) {
    const headerBytes = ipv4.headerBytes(view, l3), protocol = ipv4.protocol(view, l3), word = ipv4.fragment(view, l3)
    const offset = (word & ipv4.OFFSET_MASK) << 3, more = (word & ipv4.MORE_FRAGMENTS) !== 0
    return {
      ip: 4, protocol, name: protocolName(protocol), headerBytes, packetBytes: ipv4.totalLength(view, l3), onWireBytes,
      capturedBytes: present, ttl: ipv4.ttl(view, l3), checksum: checksum4(view, l3, headerBytes, present),
      dontFragment: (word & ipv4.DONT_FRAGMENT) !== 0,
      fragment: more || offset > 0 ? { id: ipv4.id(view, l3), offset, more } : null, path: way,
    }
  }
  if (net !== NET_IPV6 || present < ipv6.HEADER_BYTES) return null
  const walk = ipv6.createWalk()
  const packetBytes = ipv6.HEADER_BYTES + ipv6.payloadLength(view, l3)
  const isWalked = ipv6.walk(view, l3, l3 + present, l3 + packetBytes, walk) === ipv6.WALK_OK
  const protocol = isWalked ? walk.at[ipv6.WALK_PROTOCOL] : ipv6.nextHeader(view, l3)
  const at = isWalked ? walk.at[ipv6.WALK_FRAGMENT] : 0
  const word = at === 0 ? 0 : view.getUint16(at + 2)
  return {
    ip: 6, protocol, name: protocolName(protocol), headerBytes: isWalked ? walk.at[ipv6.WALK_L4] - l3 : ipv6.HEADER_BYTES,
    packetBytes, onWireBytes, capturedBytes: present, ttl: ipv6.hopLimit(view, l3), checksum: null, dontFragment: true,
    fragment: at === 0 ? null : { id: view.getUint32(at + 4), offset: word & 0xfff8, more: (word & ipv6.FRAGMENT_MORE) !== 0 },
    path: way,
  }
}

function checksum4(view: DataView, p: number, headerBytes: number, present: number): Parse['checksum'] {
  if (headerBytes < ipv4.HEADER_BYTES || headerBytes > present) return null
  let sum = 0
  for (let at = p; at < p + headerBytes; at += 2) sum += view.getUint16(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum === 0xffff ? 'right' : ipv4.checksum(view, p) === 0 ? 'zero' : 'wrong'
}

/** `10.0.0.5:5004`, `[2001:db8::1]:53`. */
export function endpointText(address: string, port: number | null): string {
  if (port === null) return address
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** Protocol and both ends, as a line of a summary says them: `udp 10.0.0.5:5004 > 203.0.113.7:53`. */
export function flowText({ view, off, capBytes, link, net, l3 }: Seen): string {
  const end = off + capBytes
  let protocol: number, l4: number, isLater: boolean, src: string, dst: string
  if (net === NET_IPV4 && end - l3 >= ipv4.HEADER_BYTES) {
    protocol = ipv4.protocol(view, l3)
    l4 = l3 + Math.max(ipv4.HEADER_BYTES, ipv4.headerBytes(view, l3))
    isLater = (ipv4.fragment(view, l3) & ipv4.OFFSET_MASK) !== 0
    src = print4(ipv4.src(view, l3))
    dst = print4(ipv4.dst(view, l3))
  } else if (net === NET_IPV6 && end - l3 >= ipv6.HEADER_BYTES) {
    const walk = ipv6.createWalk()
    const isWalked = ipv6.walk(view, l3, end, l3 + ipv6.HEADER_BYTES + ipv6.payloadLength(view, l3), walk) === ipv6.WALK_OK
    protocol = isWalked ? walk.at[ipv6.WALK_PROTOCOL] : ipv6.nextHeader(view, l3)
    l4 = isWalked ? walk.at[ipv6.WALK_L4] : end
    const at = isWalked ? walk.at[ipv6.WALK_FRAGMENT] : 0
    isLater = at !== 0 && (view.getUint16(at + 2) & 0xfff8) !== 0
    src = address6(view, l3 + ipv6.SRC)
    dst = address6(view, l3 + ipv6.DST)
  } else return otherText(view, off, end, link, net)
  const name = protocolName(protocol).toLowerCase()
  if (isLater) return `${name} ${src} > ${dst} fragment`
  if (protocol === 1 || protocol === 58) {
    return l4 + 2 > end ? `${name} ${src} > ${dst}` : `${name} ${icmp.type(view, l4)}/${icmp.code(view, l4)} ${src} > ${dst}`
  }
  const hasPorts = [6, 17, 33, 132, 136].includes(protocol) && l4 + 4 <= end
  if (!hasPorts) return `${name} ${src} > ${dst}`
  return `${name} ${endpointText(src, view.getUint16(l4))} > ${endpointText(dst, view.getUint16(l4 + 2))}`
}

function address6(view: DataView, at: number): string {
  return print6(Int32Array.of(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12)))
}

function otherText(view: DataView, off: number, end: number, link: number, net: number): string {
  if (net === NET_ARP) return 'arp'
  if (net === NET_IPV4 || net === NET_IPV6) return `IPv${net}, cut short`
  if (net === NET_LINK_TRUNCATED) return 'frame cut short'
  const header = link === LINK_ETHERNET ? ethernet.check(view, off, end) : 0
  return header === 0 ? `link type ${link}` : `ethertype 0x${ethernet.lastType(view, off, header).toString(16).padStart(4, '0')}`
}
