/**
 * One packet as one line, in the manner of tcpdump. For people and tests, never on the packet path. Takes any bytes:
 * what is cut short prints as `[|udp]`, lengths that lie as `bad length`. Checksums are not judged, see `verify`.
 */
import { print4, print6 } from '../base/address.ts'
import * as arp from './arp.ts'
import * as ethernet from './ethernet.ts'
import {
  LINK_ETHERNET, NET_ARP, NET_IPV4, NET_IPV6, NET_LINK_TRUNCATED, NET_LINK_UNSUPPORTED, type Frames,
} from './frames.ts'
import * as icmp from './icmp.ts'
import * as ipv4 from './ipv4.ts'
import * as ipv6 from './ipv6.ts'
import * as tcp from './tcp.ts'
import * as udp from './udp.ts'

/** Row `i` of a batch, after `locate`. */
export function printFrame(frames: Frames, i: number): string {
  const { view } = frames, off = frames.off[i], end = off + frames.capBytes[i]
  const ethernetBytes = frames.link[i] === LINK_ETHERNET ? ethernet.check(view, off, end) : 0
  let prefix = ''
  if (ethernetBytes > 0) {
    for (const tag of ethernet.parse(view, off, ethernetBytes).tags) prefix += 'vlan ' + (tag.control & 0xfff) + ', '
  }
  switch (frames.net[i]) {
    case NET_IPV4: case NET_IPV6: return prefix + printPacket(view, frames.l3[i], end)
    case NET_ARP: return prefix + printArp(view, frames.l3[i], end)
    case NET_LINK_TRUNCATED: return prefix + '[|link]'
    case NET_LINK_UNSUPPORTED:
      if (ethernetBytes === 0) return 'link type ' + frames.link[i] + ', length ' + frames.wireBytes[i]
  }
  const type = ethernetBytes > 0 ? ' 0x' + hex4(ethernet.lastType(view, off, ethernetBytes)) : ' unknown'
  return prefix + 'ethertype' + type + ', length ' + frames.wireBytes[i]
}

/** The packet whose IP header is at `off`; `end` is one past the bytes present. */
export function printPacket(v: DataView, off: number, end: number): string {
  return packet(v, off, end, 0)
}

/** For tests: the packet in `bytes`. */
export function printBytes(bytes: Uint8Array, l3off = 0): string {
  return printPacket(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), l3off, bytes.byteLength)
}

function printArp(v: DataView, off: number, end: number): string {
  const bytes = arp.check(v, off, end)
  if (bytes === 0) return 'ARP [|arp]'
  const repr = arp.parse(v, off)
  return 'ARP, ' + (repr ? arp.print(repr) : 'operation ' + arp.operation(v, off)) + ', length ' + bytes
}

function packet(v: DataView, off: number, end: number, depth: number): string {
  if (end <= off) return 'IP [|ip]'
  const version = v.getUint8(off) >>> 4
  if (version === 4) return packet4(v, off, end, depth)
  if (version === 6) return packet6(v, off, end, depth)
  return 'IP version ' + version
}

function packet4(v: DataView, off: number, end: number, depth: number): string {
  if (end - off < ipv4.HEADER_BYTES) return 'IP [|ip]'
  const header = ipv4.headerBytes(v, off), total = ipv4.totalLength(v, off), fragment = ipv4.fragment(v, off)
  const src = print4(ipv4.src(v, off)), dst = print4(ipv4.dst(v, off))
  if (header < ipv4.HEADER_BYTES) return ends('IP', src, dst) + 'bad header length ' + header
  if (total < header) return ends('IP', src, dst) + 'bad length ' + total
  const netEnd = off + total, l4 = off + header, offset = (fragment & ipv4.OFFSET_MASK) << 3
  const more = (fragment & ipv4.MORE_FRAGMENTS) !== 0
  const line = transport('IP', v, l4, Math.min(end, netEnd), netEnd, ipv4.protocol(v, off), src, dst, offset, depth)
  return more || offset > 0 ? line + cut(ipv4.id(v, off), total - header, offset, more) : line
}

function packet6(v: DataView, off: number, end: number, depth: number): string {
  if (end - off < ipv6.HEADER_BYTES) return 'IP6 [|ip6]'
  const netEnd = off + ipv6.HEADER_BYTES + ipv6.payloadLength(v, off), capEnd = Math.min(end, netEnd)
  const src = print6(Int32Array.from([0, 1, 2, 3], word => ipv6.srcWord(v, off, word)))
  const dst = print6(Int32Array.from([0, 1, 2, 3], word => ipv6.dstWord(v, off, word)))
  const walk = ipv6.createWalk()
  switch (ipv6.walk(v, off, capEnd, netEnd, walk)) {
    case ipv6.WALK_TRUNCATED: return ends('IP6', src, dst) + '[|extension header]'
    case ipv6.WALK_BAD: return ends('IP6', src, dst) + 'bad extension header'
    case ipv6.WALK_ROUTING_0: return ends('IP6', src, dst) + 'routing header 0'
  }
  const l4 = walk.at[ipv6.WALK_L4], protocol = walk.at[ipv6.WALK_PROTOCOL], at = walk.at[ipv6.WALK_FRAGMENT]
  const word = at > 0 ? v.getUint16(at + 2) : 0, offset = word & 0xfff8
  const line = transport('IP6', v, l4, capEnd, netEnd, protocol, src, dst, offset, depth)
  if (at === 0) return line
  return line + cut(v.getUint32(at + 4), netEnd - at - ipv6.FRAGMENT_BYTES, offset, (word & ipv6.FRAGMENT_MORE) !== 0)
}

/** As tcpdump once did without -v: identification, bytes carried, offset, and + when more follow. */
function cut(id: number, bytes: number, offset: number, more: boolean): string {
  return ' (frag ' + id + ':' + bytes + '@' + offset + (more ? '+' : '') + ')'
}

function ends(ip: string, src: string, dst: string): string {
  return ip + ' ' + src + ' > ' + dst + ': '
}

const NAMES: Record<number, string> = {
  0: 'hop-by-hop', 1: 'ICMP', 2: 'IGMP', 4: 'IP', 6: 'TCP', 17: 'UDP', 33: 'DCCP', 41: 'IP6', 47: 'GRE', 50: 'ESP',
  51: 'AH', 58: 'ICMP6', 59: 'no next header', 88: 'EIGRP', 89: 'OSPF', 103: 'PIM', 112: 'VRRP', 115: 'L2TP',
  132: 'SCTP', 136: 'UDP-Lite',
}
const HEADER_BYTES: Record<number, number> = { 1: 8, 6: 20, 17: 8, 33: 12, 58: 8, 132: 12, 136: 8 }

/** `capEnd` is one past the bytes present, `netEnd` one past the packet by its own length. */
function transport(
  ip: string, v: DataView, l4: number, capEnd: number, netEnd: number, protocol: number, src: string, dst: string,
  fragOffset: number, depth: number,
): string {
  const name = NAMES[protocol] ?? 'proto ' + protocol, bytes = netEnd - l4, header = HEADER_BYTES[protocol] ?? 0
  if (fragOffset > 0 || header === 0) return ends(ip, src, dst) + name + ', length ' + bytes
  if (bytes < header) return ends(ip, src, dst) + name + ', bad length ' + bytes
  if (capEnd - l4 < header) return ends(ip, src, dst) + '[|' + name.toLowerCase() + ']'
  if (protocol === 1 || protocol === 58) {
    const what = protocol === 1 ? icmp4(v, l4, capEnd, depth) : icmp6(v, l4, capEnd, depth)
    return ends(ip, src, dst) + name + ' ' + what + ', length ' + bytes
  }
  const line = ends(ip, src + '.' + udp.srcPort(v, l4), dst + '.' + udp.dstPort(v, l4))
  if (protocol === 6) return line + segment(v, l4, bytes)
  if (protocol !== 17) return line + name + ', length ' + (bytes - header)
  const stated = udp.length(v, l4)
  return line + (stated < header || stated > bytes ? 'UDP, bad length ' + stated : 'UDP, length ' + (stated - header))
}

const FLAG_LETTERS: [number, string][] = [
  [tcp.FIN, 'F'], [tcp.SYN, 'S'], [tcp.RST, 'R'], [tcp.PSH, 'P'], [tcp.ACK_FLAG, '.'], [tcp.URG, 'U'],
  [64, 'E'], [128, 'W'],   // RFC 3168 6.1
]

function segment(v: DataView, l4: number, bytes: number): string {
  const header = tcp.headerBytes(v, l4), flags = tcp.flags(v, l4), seq = tcp.seq(v, l4) >>> 0
  const letters = FLAG_LETTERS.map(([flag, letter]) => flags & flag ? letter : '').join('')
  let line = 'Flags [' + (letters === '' ? 'none' : letters) + ']'
  if (header < tcp.HEADER_BYTES || header > bytes) return line + ', bad header length ' + header
  const payload = bytes - header
  if (payload > 0) line += ', seq ' + seq + ':' + (seq + payload) % 2 ** 32
  else if (flags & (tcp.SYN | tcp.FIN | tcp.RST)) line += ', seq ' + seq
  if (flags & tcp.ACK_FLAG) line += ', ack ' + (tcp.ack(v, l4) >>> 0)
  return line + ', win ' + tcp.window(v, l4) + ', length ' + payload
}

const TYPES_4: Record<number, string> = {
  0: 'echo reply', 3: 'unreachable', 4: 'source quench', 5: 'redirect', 8: 'echo request', 9: 'router advertisement',
  10: 'router solicitation', 11: 'time exceeded', 12: 'parameter problem', 13: 'time stamp query',
  14: 'time stamp reply', 15: 'information request', 16: 'information reply', 17: 'address mask request',
  18: 'address mask reply',
}
const TYPES_6: Record<number, string> = {
  1: 'unreachable', 2: 'packet too big', 3: 'time exceeded', 4: 'parameter problem', 128: 'echo request',
  129: 'echo reply', 133: 'router solicitation', 134: 'router advertisement', 135: 'neighbor solicitation',
  136: 'neighbor advertisement', 137: 'redirect',
}

function icmp4(v: DataView, l4: number, capEnd: number, depth: number): string {
  const type = icmp.type(v, l4), name = TYPES_4[type] ?? 'type ' + type
  if ([0, 8, 13, 14, 15, 16, 17, 18].includes(type)) return name + query(v, l4)
  const word = type === 3 && icmp.code(v, l4) === 4 ? ', mtu ' + v.getUint16(l4 + 6) : ''
  return name + about(v, l4, capEnd, word, [3, 4, 5, 11, 12].includes(type), depth)
}

function icmp6(v: DataView, l4: number, capEnd: number, depth: number): string {
  const type = icmp.type(v, l4), name = TYPES_6[type] ?? 'type ' + type
  if (type === 128 || type === 129) return name + query(v, l4)
  const word = type === 2 ? ', mtu ' + v.getUint32(l4 + 4) : ''
  return name + about(v, l4, capEnd, word, type >= 1 && type <= 4, depth)
}

function query(v: DataView, l4: number): string {
  return ', id ' + icmp.id(v, l4) + ', seq ' + v.getUint16(l4 + icmp.SEQUENCE)
}

/** Quotes are printed one deep: an error never quotes an error (RFC 1122 3.2.2), but bytes can nest without end. */
function about(v: DataView, l4: number, capEnd: number, word: string, quotes: boolean, depth: number): string {
  const quote = l4 + icmp.HEADER_BYTES
  const inner = quotes && depth === 0 && quote < capEnd ? ' (' + packet(v, quote, capEnd, 1) + ')' : ''
  return ' code ' + icmp.code(v, l4) + word + inner
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, '0')
}
