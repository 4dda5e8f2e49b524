/**
 * Traffic for two boxes, Linux with nftables and ours: packets one after the other, from inside or from outside. A packet may depend on
 * what the same box has sent before, as an answer depends on the outside port.
 */
import { buildPacket, concat, fragment, icmpError, type PacketSpec } from '../../src/wire/build.ts'
import { A, ACK, B, FIN, NAT, PSH, ROUTER, RST, SYN, X, Y, echo, reply, tcp, udp } from '../conformance/box.ts'

export type Way = 'in' | 'out'
/** What a box has sent so far. */
export interface Seen {
  /** The latest packet that left towards outside, or inside; an empty one if none has. */
  outside: Uint8Array
  inside: Uint8Array
}
export type Make = PacketSpec | Uint8Array | ((seen: Seen) => PacketSpec | Uint8Array)
/** Where the packet comes from: `in` from inside. */
export type Step = [from: Way, packet: Make]
export interface Case {
  name: string
  steps: Step[]
  /** Compare all that left, not what left after each step: a box that puts datagrams together sends them later. */
  together?: true
}

const URG = 32
/** Inside router on the way to A, addresses of IPv6, and one that is local to a link. */
const INNER = '10.9.9.9', A6 = 'fd00::1', B6 = 'fd00::2', X6 = '2001:db8::1', Y6 = '2001:db8::2', ROUTER6 = '2001:db8:9::9'

/** Ends of the latest packet to the outside, exchanged: for an answer to it. */
function answerTo(seen: Seen): { dstPort: number; icmpId: number } {
  const { outside } = seen
  if (outside.length === 0) return { dstPort: 5000, icmpId: 7 }
  const l4 = (outside[0] & 15) * 4, field = (at: number) => outside[at] << 8 | outside[at + 1]
  return { dstPort: field(l4), icmpId: field(l4 + 4) }
}

const text = (n: number) => Uint8Array.from({ length: n }, (_, at) => 97 + at % 26)
const out = (flags: number, seq: number, ack: number, bytes = 0): Step =>
  ['in', tcp(A, 5000, X, 80, flags, { seq, ack: flags & ACK ? ack : 0, payload: text(bytes) })]
const back = (flags: number, seq: number, ack: number, bytes = 0): Step =>
  ['out', tcp(X, 80, NAT, 5000, flags, { seq, ack: flags & ACK ? ack : 0, payload: text(bytes) })]
const OPEN: Step[] = [out(SYN, 100, 0), back(SYN | ACK, 900, 101), out(ACK, 101, 901)]
const DATA: Step[] = [out(ACK | PSH, 101, 901, 10), back(ACK, 901, 111), back(ACK | PSH, 901, 111, 200), out(ACK, 111, 1101)]

const TCP: Case[] = [
  { name: 'TCP opens, carries data and is closed by the inside', steps: [...OPEN, ...DATA, out(FIN | ACK, 111, 1101), back(ACK, 1101, 112), back(FIN | ACK, 1101, 112), out(ACK, 112, 1102)] },
  { name: 'TCP is closed by the outside', steps: [...OPEN, ...DATA, back(FIN | ACK, 1101, 111), out(ACK, 111, 1102), out(ACK | PSH, 111, 1102, 5), back(ACK, 1102, 116), out(FIN | ACK, 116, 1102), back(ACK, 1102, 117)] },
  { name: 'TCP is closed by both at once', steps: [...OPEN, out(FIN | ACK, 101, 901), back(FIN | ACK, 901, 101), out(ACK, 102, 902), back(ACK, 902, 102)] },
  { name: 'TCP is opened again from TIME-WAIT', steps: [...OPEN, out(FIN | ACK, 101, 901), back(FIN | ACK, 901, 102), out(ACK, 102, 902), out(SYN, 70_000, 0), back(SYN | ACK, 90_000, 70_001), out(ACK, 70_001, 90_001)] },
  { name: 'TCP is reset by the outside', steps: [...OPEN, back(RST | ACK, 901, 101), out(ACK | PSH, 101, 901, 5), back(RST, 901, 0)] },
  { name: 'TCP is reset by the inside', steps: [...OPEN, out(RST | ACK, 101, 901), back(ACK | PSH, 901, 101, 5), out(RST, 101, 0)] },
  { name: 'TCP is refused', steps: [out(SYN, 100, 0), back(RST | ACK, 0, 101), out(SYN, 300, 0), back(SYN | ACK, 5000, 301)] },
  { name: 'TCP opens from both ends at once', steps: [out(SYN, 100, 0), back(SYN, 900, 0), out(SYN | ACK, 100, 901), back(SYN | ACK, 900, 101), out(ACK, 101, 901), back(ACK, 901, 101), ...DATA] },
  { name: 'a SYN and a SYN-ACK come twice', steps: [out(SYN, 100, 0), out(SYN, 100, 0), back(SYN | ACK, 900, 101), back(SYN | ACK, 900, 101), out(ACK, 101, 901)] },
  { name: 'TCP is picked up in the middle, from inside', steps: [out(ACK | PSH, 101, 901, 10), back(ACK, 901, 111), back(ACK | PSH, 901, 111, 20), out(ACK, 111, 921)] },
  { name: 'TCP is picked up in the middle, from outside', steps: [back(ACK | PSH, 901, 101, 10)] },
  { name: 'TCP from a port that the inside has not talked to', steps: [...OPEN, ['out', tcp(X, 81, NAT, 5000, SYN, { seq: 1 })]] },
  { name: 'TCP from a stranger', steps: [...OPEN, ['out', tcp(Y, 80, NAT, 5000, SYN, { seq: 1 })], ['out', tcp(Y, 80, NAT, 5000, ACK, { seq: 1, ack: 1 })], ['out', tcp(Y, 80, NAT, 5000, RST, { seq: 1 })]] },
  { name: 'TCP from outside to a port of nobody', steps: [['out', tcp(X, 80, NAT, 5001, SYN)], ['out', tcp(X, 80, NAT, 5001, ACK, { ack: 1 })], ['out', tcp(X, 80, NAT, 5001, RST)]] },
  { name: 'data far outside of the window', steps: [...OPEN, back(ACK | PSH, 2_000_000_901, 101, 10), out(ACK | PSH, 2_000_000_101, 901, 10), ...DATA] },
  { name: 'an RST far outside of the window', steps: [...OPEN, back(RST, 2_000_000_901, 0), ...DATA] },
  { name: 'a SYN in an open connection', steps: [...OPEN, out(SYN, 777, 0), back(SYN, 777, 0), ...DATA] },
  { name: 'an answer to a SYN that acknowledges something else', steps: [out(SYN, 100, 0), back(SYN | ACK, 900, 5000), back(SYN | ACK, 900, 101), out(ACK, 101, 901)] },
  ...([['no flags', 0], ['FIN alone', FIN], ['SYN and FIN', SYN | FIN], ['SYN and RST', SYN | RST], ['FIN and RST', FIN | RST],
    ['FIN, PSH and URG', FIN | PSH | URG], ['all flags', 63], ['PSH alone', PSH], ['URG alone', URG], ['SYN and PSH', SYN | PSH],
    ['SYN and URG', SYN | URG]] as const).map(([name, flags]): Case => ({ name: `TCP flags from inside, first segment: ${name}`, steps: [out(flags, 100, 0)] })),
  ...([['no flags', 0], ['SYN and FIN', SYN | FIN], ['SYN and RST', SYN | RST], ['FIN, PSH and URG', FIN | PSH | URG], ['all flags', 63]] as const)
    .map(([name, flags]): Case => ({ name: `TCP flags from outside, in an open connection: ${name}`, steps: [...OPEN, back(flags, 901, 101)] })),
  { name: 'ECN and reserved bits of TCP', steps: [out(SYN | 0xc0, 100, 0), back(SYN | ACK | 0x40, 900, 101), out(ACK, 101, 901)] },
  { name: 'a wrong TCP checksum', steps: [['in', tcp(A, 5000, X, 80, SYN, { checksum: 'wrong' })]] },
  { name: 'inside hosts with one port to one TCP server', steps: [['in', tcp(A, 5000, X, 80, SYN)], ['in', tcp(B, 5000, X, 80, SYN)], ['out', (seen) => tcp(X, 80, NAT, answerTo(seen).dstPort, SYN | ACK, { ack: 1 })]] },
  { name: 'TCP by hairpin', steps: [['in', tcp(B, 2000, X, 80, SYN)], ['in', tcp(A, 3000, X, 80, SYN)], ['in', tcp(B, 2000, NAT, 3000, SYN)], ['in', tcp(A, 3000, NAT, 2000, SYN)]] },
]

const UDP: Case[] = [
  { name: 'UDP and its answers', steps: [['in', udp(A, 5000, X, 53)], ['out', udp(X, 53, NAT, 5000)], ['out', udp(X, 53, NAT, 5000)], ['in', udp(A, 5000, X, 53)]] },
  { name: 'UDP from one port to several hosts', steps: [['in', udp(A, 5000, X, 53)], ['in', udp(A, 5000, Y, 53)], ['in', udp(A, 5000, Y, 54)], ['out', udp(Y, 54, NAT, 5000)], ['out', udp(X, 53, NAT, 5000)]] },
  { name: 'UDP from another port of a known host', steps: [['in', udp(A, 5000, X, 53)], ['out', udp(X, 54, NAT, 5000)]] },
  { name: 'UDP from a stranger', steps: [['in', udp(A, 5000, X, 53)], ['out', udp(Y, 53, NAT, 5000)]] },
  { name: 'UDP from outside to a port of nobody', steps: [['out', udp(X, 53, NAT, 5000)]] },
  { name: 'UDP from outside to an inside address', steps: [['in', udp(A, 5000, X, 53)], ['out', udp(X, 53, A, 5000)]] },
  { name: 'inside hosts with one port to one UDP server', steps: [['in', udp(A, 5000, X, 53)], ['in', udp(B, 5000, X, 53)], ['out', (seen) => udp(X, 53, NAT, answerTo(seen).dstPort)]] },
  { name: 'inside hosts with one port to two UDP servers', steps: [['in', udp(A, 5000, X, 53)], ['in', udp(B, 5000, Y, 53)]] },
  { name: 'UDP by hairpin', steps: [['in', udp(B, 2000, X, 53)], ['in', udp(A, 3000, X, 53)], ['in', udp(B, 2000, NAT, 3000)], ['in', udp(A, 3000, NAT, 2000)]] },
  { name: 'UDP between inside hosts', steps: [['in', udp(A, 5000, B, 53)]] },
  { name: 'UDP without checksum', steps: [['in', udp(A, 5000, X, 53, { checksum: 'zero' })], ['out', udp(X, 53, NAT, 5000, { checksum: 'zero' })]] },
  { name: 'a wrong UDP checksum', steps: [['in', udp(A, 5000, X, 53, { checksum: 'wrong' })]] },
  { name: 'a well-known port', steps: [['in', udp(A, 123, X, 123)], ['out', udp(X, 123, NAT, 123)]] },
  { name: 'type of service, identification and DF', steps: [['in', udp(A, 5000, X, 53, { tos: 0xb8, id: 0x1234, dontFragment: true })], ['out', udp(X, 53, NAT, 5000, { tos: 0x03, id: 0x4321, dontFragment: true })]] },
]

/** The latest packet that left for the outside; a stand-in where a box has let none out. */
const sent = (seen: Seen) => seen.outside.length > 0 ? seen.outside : buildPacket(udp(NAT, 5000, X, 53))
const came = (seen: Seen) => seen.inside.length > 0 ? seen.inside : buildPacket(udp(X, 53, A, 5000))
const errorFrom = (src: string, icmpType: number, icmpCode = 0, word = 0): Step => ['out', (seen) => icmpError({ src, original: sent(seen), icmpType, icmpCode, word })]
const OUT_UDP: Step = ['in', udp(A, 5000, X, 53)]

const ICMP: Case[] = [
  { name: 'echo and its answer', steps: [['in', echo(A, X, 7, { payload: text(20) })], ['out', reply(X, NAT, 7)], ['out', reply(X, NAT, 8)], ['out', reply(Y, NAT, 7)]] },
  { name: 'timestamp and its answer', steps: [['in', { ...echo(A, X, 7), icmpType: 13, payload: text(12) }], ['out', { ...reply(X, NAT, 7), icmpType: 14, payload: text(12) }]] },
  { name: 'information, address mask', steps: [['in', { ...echo(A, X, 7), icmpType: 15 }], ['in', { ...echo(A, X, 7), icmpType: 17 }]] },
  { name: 'echo from outside', steps: [['out', echo(X, NAT, 7)]] },
  { name: 'an answer to no echo', steps: [['out', reply(X, NAT, 7)], ['in', reply(A, X, 7)]] },
  { name: 'inside hosts with one identifier', steps: [['in', echo(A, X, 7)], ['in', echo(B, X, 7)], ['out', (seen) => reply(X, NAT, answerTo(seen).icmpId)]] },
  { name: 'a wrong ICMP checksum', steps: [['in', echo(A, X, 7, { checksum: 'wrong' })]] },
  ...([[3, 0], [3, 1], [3, 3], [3, 4], [3, 13], [4, 0], [5, 1], [11, 0], [11, 1], [12, 0]] as const).map(([type, code]): Case =>
    ({ name: `ICMP error type ${type} code ${code} about UDP, from a router`, steps: [OUT_UDP, errorFrom(ROUTER, type, code, type === 3 && code === 4 ? 1400 : 0), ['out', udp(X, 53, NAT, 5000)]] })),
  { name: 'unreachable about TCP, from the host', steps: [...OPEN.slice(0, 1), errorFrom(X, 3, 3), ...OPEN.slice(1)] },
  { name: 'unreachable about echo', steps: [['in', echo(A, X, 7, { payload: text(20) })], errorFrom(ROUTER, 3, 1), ['out', reply(X, NAT, 7)]] },
  { name: 'unreachable about GRE', steps: [['in', { proto: 47, src: A, dst: X, payload: concat(Uint8Array.of(0, 0, 8, 0), text(20)) }], errorFrom(ROUTER, 3, 2)] },
  { name: 'an error about a packet that was never sent', steps: [['out', icmpError({ src: ROUTER, original: buildPacket(udp(NAT, 5000, X, 53)), icmpType: 3, icmpCode: 3 })]] },
  { name: 'an error with a wrong checksum', steps: [OUT_UDP, ['out', (seen) => icmpError({ src: ROUTER, original: sent(seen), icmpType: 3, icmpCode: 3, checksum: 'wrong' })]] },
  { name: 'an error that quotes 8 bytes behind the header', steps: [OUT_UDP, ['out', (seen) => icmpError({ src: ROUTER, original: sent(seen), icmpType: 3, icmpCode: 3, quoteBytes: 28 })]] },
  { name: 'an error that quotes 7 bytes behind the header', steps: [OUT_UDP, ['out', (seen) => icmpError({ src: ROUTER, original: sent(seen), icmpType: 3, icmpCode: 3, quoteBytes: 27 })]] },
  { name: 'an error with extensions behind the quote', steps: [OUT_UDP, ['out', (seen) => icmpError({ src: ROUTER, original: sent(seen), icmpType: 11, multipart: Uint8Array.of(0x20, 0, 0xdf, 0xff, 0, 8, 1, 1, 1, 2, 3, 4) })]] },
  { name: 'unreachable from inside, from the host', steps: [OUT_UDP, ['out', udp(X, 53, NAT, 5000)], ['in', (seen) => icmpError({ src: A, original: came(seen), icmpType: 3, icmpCode: 3 })]] },
  { name: 'unreachable from inside, from a router on the way', steps: [OUT_UDP, ['out', udp(X, 53, NAT, 5000)], ['in', (seen) => icmpError({ src: INNER, original: came(seen), icmpType: 3, icmpCode: 1 })]] },
  { name: 'an error from inside about a packet that never came', steps: [['in', icmpError({ src: A, original: buildPacket(udp(X, 53, A, 5000)), icmpType: 3, icmpCode: 3 })]] },
  { name: 'the last hop from inside', steps: [['in', udp(A, 5000, X, 53, { ttl: 1, payload: text(30) })], ['in', echo(A, X, 7, { ttl: 1 })]] },
  { name: 'the last hop from outside', steps: [OUT_UDP, ['out', udp(X, 53, NAT, 5000, { ttl: 1 })]] },
  { name: 'the last hop but one', steps: [['in', udp(A, 5000, X, 53, { ttl: 2 })]] },
]

/** Three pieces of a datagram from inside, or from outside. Linux remembers pieces between cases, so each has an identification of its own. */
const piecesOf = (id: number, spec: PacketSpec = udp(A, 5000, X, 53)) => fragment(buildPacket({ ...spec, id, payload: text(1000) }), [400, 400], { id })
const inOrder = (from: Way, list: Uint8Array[], ...order: number[]): Step[] => order.map(at => [from, list[at]])
const ANSWER = udp(X, 53, NAT, 5000)

const FRAGMENTS: Case[] = [
  { name: 'fragments in order', together: true, steps: [...inOrder('in', piecesOf(71), 0, 1, 2), ...inOrder('out', piecesOf(71, ANSWER), 0, 1, 2)] },
  { name: 'fragments in reverse order', together: true, steps: [...inOrder('in', piecesOf(72), 2, 1, 0), ...inOrder('out', piecesOf(72, ANSWER), 2, 1, 0)] },
  { name: 'fragments of which the first is missing', together: true, steps: inOrder('in', piecesOf(73), 1, 2) },
  { name: 'fragments of which the last is missing', together: true, steps: inOrder('in', piecesOf(74), 0, 1) },
  { name: 'a fragment that comes twice', together: true, steps: inOrder('in', piecesOf(75), 0, 1, 1, 2) },
  { name: 'fragments that overlap', together: true, steps: [...inOrder('in', piecesOf(76), 0), ['in', { proto: 17, src: A, dst: X, id: 76, fragOffset: 392, moreFragments: true, payload: text(400) }], ...inOrder('in', piecesOf(76), 2)] },
  { name: 'a first fragment that ends in the TCP header', together: true, steps: fragment(buildPacket({ ...tcp(A, 5000, X, 80, SYN), id: 78 }), [16]).map((piece): Step => ['in', piece]) },
  { name: 'a TCP fragment at offset 8', together: true, steps: [['in', { proto: 6, src: A, dst: X, id: 79, fragOffset: 8, payload: text(12) }]] },
  { name: 'fragments of a stranger', together: true, steps: [OUT_UDP, ...inOrder('out', piecesOf(80, udp(Y, 53, NAT, 5000)), 0, 1, 2)] },
]

const IP: Case[] = [
  { name: 'a wrong IP checksum', steps: [['in', udp(A, 5000, X, 53, { ipChecksum: 'wrong' })]] },
  { name: 'an IP checksum of 0', steps: [['in', udp(A, 5000, X, 53, { ipChecksum: 'zero' })]] },
  { name: 'padding behind the packet', steps: [['in', concat(buildPacket(udp(A, 5000, X, 53)), new Uint8Array(6))]] },
  { name: 'a packet shorter than it says', steps: [['in', buildPacket(udp(A, 5000, X, 53)).slice(0, 40)]] },
  { name: 'router alert', steps: [['in', udp(A, 5000, X, 53, { options: Uint8Array.of(148, 4, 0, 0) })]] },
  { name: 'record route', steps: [['in', udp(A, 5000, X, 53, { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0) })]] },
  { name: 'a source route', steps: [['in', udp(A, 5000, X, 53, { options: Uint8Array.of(131, 7, 4, 192, 0, 2, 1) })]] },
  { name: 'from 127.0.0.1, 0.0.0.0, 224.0.0.1 and 240.0.0.1', steps: ['127.0.0.1', '0.0.0.0', '224.0.0.1', '240.0.0.1'].map((src): Step => ['in', udp(src, 5000, X, 53)]) },
  { name: 'to 127.0.0.1, 0.0.0.0, 240.0.0.1, 224.0.0.1 and 255.255.255.255', steps: ['127.0.0.1', '0.0.0.0', '240.0.0.1', '224.0.0.1', '255.255.255.255'].map((dst): Step => ['in', udp(A, 5000, dst, 53)]) },
  { name: 'from outside with an inside source', steps: [OUT_UDP, ['out', udp(B, 53, NAT, 5000)]] },
  { name: 'from outside with the outside address as source', steps: [OUT_UDP, ['out', udp(NAT, 53, NAT, 5000)]] },
  { name: 'from outside to another outside address', steps: [['out', udp(X, 53, Y, 5000)]] },
  { name: 'GRE', steps: [['in', { proto: 47, src: A, dst: X, payload: concat(Uint8Array.of(0, 0, 8, 0), text(20)) }], ['out', { proto: 47, src: X, dst: NAT, payload: concat(Uint8Array.of(0, 0, 8, 0), text(20)) }], ['out', { proto: 47, src: Y, dst: NAT, payload: concat(Uint8Array.of(0, 0, 8, 0), text(20)) }]] },
  { name: 'ESP of two inside hosts to one peer', steps: [['in', { proto: 50, src: A, dst: X, payload: text(24) }], ['in', { proto: 50, src: B, dst: X, payload: text(24) }], ['out', { proto: 50, src: X, dst: NAT, payload: text(24) }]] },
  { name: 'an unknown protocol', steps: [['in', { proto: 253, src: A, dst: X, payload: text(24) }], ['out', { proto: 253, src: X, dst: NAT, payload: text(24) }]] },
]

const udp6 = (src: string, srcPort: number, dst: string, dstPort: number, more: Partial<PacketSpec> = {}): PacketSpec =>
  udp(src, srcPort, dst, dstPort, more)
const echo6 = (src: string, dst: string, icmpType: number, icmpId = 7): PacketSpec => ({ proto: 'icmp6', icmpType, src, dst, icmpId })
const error6 = (src: string, icmpType: number, word = 0): Step => ['out', (seen) => icmpError({ src, original: seen.outside.length > 0 ? seen.outside : buildPacket(udp6(A6, 5000, X6, 53)), icmpType, word })]
const OUT_UDP6: Step = ['in', udp6(A6, 5000, X6, 53)]

const IPV6: Case[] = [
  { name: 'IPv6: UDP and its answer', steps: [OUT_UDP6, ['out', udp6(X6, 53, A6, 5000)]] },
  { name: 'IPv6: UDP from outside', steps: [['out', udp6(X6, 53, A6, 5000)], OUT_UDP6, ['out', udp6(X6, 54, A6, 5000)], ['out', udp6(Y6, 53, A6, 5000)]] },
  { name: 'IPv6: TCP opens', steps: [['in', tcp(A6, 5000, X6, 80, SYN, { seq: 100 })], ['out', tcp(X6, 80, A6, 5000, SYN | ACK, { seq: 900, ack: 101 })], ['in', tcp(A6, 5000, X6, 80, ACK, { seq: 101, ack: 901 })]] },
  { name: 'IPv6: TCP from outside', steps: [['out', tcp(X6, 80, A6, 22, SYN)], ['out', tcp(X6, 80, A6, 22, ACK, { ack: 1 })], ['out', tcp(X6, 80, A6, 22, RST)]] },
  { name: 'IPv6: echo and its answer', steps: [['in', echo6(A6, X6, 128)], ['out', echo6(X6, A6, 129)], ['out', echo6(X6, A6, 129, 8)]] },
  { name: 'IPv6: echo from outside', steps: [['out', echo6(X6, A6, 128)]] },
  ...[1, 2, 3, 4].map((type): Case => ({ name: `IPv6: ICMPv6 error type ${type} about UDP`, steps: [OUT_UDP6, error6(ROUTER6, type, type === 2 ? 1280 : 0)] })),
  { name: 'IPv6: an error about a packet that was never sent', steps: [['out', icmpError({ src: ROUTER6, original: buildPacket(udp6(A6, 5000, X6, 53)), icmpType: 1, icmpCode: 4 })]] },
  { name: 'IPv6: between inside hosts', steps: [['in', udp6(A6, 5000, B6, 53)]] },
  { name: 'IPv6: the last hop', steps: [['in', udp6(A6, 5000, X6, 53, { ttl: 1 })], OUT_UDP6, ['out', udp6(X6, 53, A6, 5000, { ttl: 1 })]] },
  { name: 'IPv6: fragments in order', together: true, steps: inOrder('in', piecesOf(81, udp6(A6, 5000, X6, 53)), 0, 1, 2) },
  { name: 'IPv6: fragments in reverse order', together: true, steps: inOrder('in', piecesOf(82, udp6(A6, 5000, X6, 53)), 2, 1, 0) },
  { name: 'IPv6: a destination option and a routing header of type 0', steps: [['in', udp6(A6, 5000, X6, 53, { extensions: [{ header: 60, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }] })], ['in', udp6(A6, 5001, X6, 53, { extensions: [{ header: 43, body: concat(Uint8Array.of(0, 1, 0, 0, 0, 0), new Uint8Array(16).fill(0x20)) }] })]] },
  { name: 'IPv6: from outside with an inside source', steps: [OUT_UDP6, ['out', udp6(B6, 53, A6, 5000)]] },
]

export const CASES: readonly Case[] = [...TCP, ...UDP, ...ICMP, ...FRAGMENTS, ...IP, ...IPV6]
