/**
 * Compiles a filter into a question about one packet. What it sees is the packet as it came, and what became of it. It differs
 * from tcpdump in three points, all on purpose (docs/explain.md): it looks behind VLAN tags by itself, `tcp[…]` and its like
 * read IPv6 too, and of frames whose link header Pinhole does not read it sees no packet.
 */
import { LINK_ETHERNET, NET_ARP, NET_IPV4, NET_IPV6, NET_LINK_TRUNCATED } from '../../wire/frames.ts'
import * as ethernet from '../../wire/ethernet.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import type { DropReason } from '../../channel/reasons.ts'
import type { Header } from './names.ts'
import type { Arithmetic, Dir, Expr, Own, Relation } from './syntax.ts'

/** A frame with its place in `view`, and what became of it. */
export interface Seen {
  view: DataView
  off: number
  capBytes: number
  wireBytes: number
  link: number
  /** NET_ constant and offset of the network header. */
  net: number
  l3: number
  outcome: Outcome
}

export interface Outcome {
  verdict: 'drop' | 'sent' | 'held'
  reason: DropReason | null
  side: 'inside' | 'outside'
  to: 'inside' | 'outside' | null
  isNew: boolean
  isAnswered: boolean
  isHairpin: boolean
  /** Names and numbers of the rules that decided. */
  rules: readonly string[]
}

export type Match = (packet: Seen) => boolean
type Value = (packet: Seen) => number

/** A read beyond the captured bytes: as in BPF the packet does not match, whatever else the filter asks. */
class Beyond extends Error {}
const BEYOND = new Beyond()

export function compileFilter(tree: Expr): Match {
  const match = compile(tree)
  return (packet) => {
    try {
      return match(packet)
    } catch (error) {
      if (error instanceof Beyond) return false
      throw error
    }
  }
}

/** Does a filter ask for the outcome? Then only the outcome can answer. */
export function asksOutcome(tree: Expr): boolean {
  switch (tree.kind) {
    case 'and': case 'or': return asksOutcome(tree.left) || asksOutcome(tree.right)
    case 'not': return asksOutcome(tree.of)
    case 'verdict': case 'reason': case 'to': case 'new': case 'answered': case 'hairpin': case 'rule': return true
    default: return false
  }
}

function load(packet: Seen, at: number, bytes: number): number {
  if (at < packet.off || at + bytes > packet.off + packet.capBytes) throw BEYOND
  return bytes === 1 ? packet.view.getUint8(at) : bytes === 2 ? packet.view.getUint16(at) : packet.view.getUint32(at)
}

/** NET_ constant of a frame whose link header was captured whole. */
function netOf({ net }: Seen): number {
  if (net === NET_LINK_TRUNCATED) throw BEYOND
  return net
}

function compile(tree: Expr): Match {
  switch (tree.kind) {
    case 'and': case 'or': {
      const left = compile(tree.left), right = compile(tree.right)
      return tree.kind === 'and' ? (packet) => left(packet) && right(packet) : (packet) => left(packet) || right(packet)
    }
    case 'not': {
      const of = compile(tree.of)
      return (packet) => !of(packet)
    }
    case 'net': {
      const net = tree.what === 'ip' ? NET_IPV4 : tree.what === 'ip6' ? NET_IPV6 : NET_ARP
      return (packet) => netOf(packet) === net
    }
    case 'address': return compileAddress(tree)
    case 'port': return compilePort(tree)
    case 'protocol': {
      const { version, number } = tree
      return (packet) => isProtocol(packet, version, number)
    }
    case 'mac': return compileMac(tree.dir, tree.octets)
    case 'cast': return compileCast(tree.family, tree.what)
    case 'ethertype': return (packet) => etherType(packet) === tree.number
    case 'vlan': return (packet) => hasTag(packet, tree.id)
    case 'fragment': return isFragment
    case 'compare': return compileComparison(tree.relation, tree.left, tree.right)
    default: return compileOwn(tree)
  }
}

function compileOwn(tree: Own): Match {
  switch (tree.kind) {
    case 'verdict': return ({ outcome }) => outcome.verdict === tree.what
    case 'reason': return ({ outcome }) => outcome.reason === tree.name
    case 'side': return ({ outcome }) => outcome.side === tree.what
    case 'to': return ({ outcome }) => outcome.to === tree.what
    case 'new': return ({ outcome }) => outcome.isNew
    case 'answered': return ({ outcome }) => outcome.isAnswered
    case 'hairpin': return ({ outcome }) => outcome.isHairpin
    case 'rule': return ({ outcome }) => outcome.rules.includes(tree.name)
  }
}

/** `dir` of two tests. */
function towards(dir: Dir, src: () => boolean, dst: () => boolean): boolean {
  switch (dir) {
    case 'src': return src()
    case 'dst': return dst()
    case 'either': return src() || dst()
    case 'both': return src() && dst()
  }
}

/** ARP for IPv4 over Ethernet: the protocol addresses of sender and target. */
const ARP_SENDER = 14, ARP_TARGET = 24

function compileAddress({ family, dir, version, words, masks }: Extract<Expr, { kind: 'address' }>): Match {
  const holds = (packet: Seen, at: number) => words.every((word, index) =>
    ((load(packet, at + 4 * index, 4) & masks[index]) | 0) === word)
  return (packet) => {
    const { l3 } = packet, net = netOf(packet)
    if (version === 6) {
      return net === NET_IPV6 && towards(dir, () => holds(packet, l3 + ipv6.SRC), () => holds(packet, l3 + ipv6.DST))
    }
    if (net === NET_IPV4 && family !== 'arp') {
      return towards(dir, () => holds(packet, l3 + ipv4.SRC), () => holds(packet, l3 + ipv4.DST))
    }
    return net === NET_ARP && family !== 'ip'
      && towards(dir, () => holds(packet, l3 + ARP_SENDER), () => holds(packet, l3 + ARP_TARGET))
  }
}

function isProtocol(packet: Seen, version: 4 | 6 | null, number: number): boolean {
  const { l3 } = packet, net = netOf(packet)
  if (net === NET_IPV4 && version !== 6) return load(packet, l3 + ipv4.PROTOCOL, 1) === number
  if (net !== NET_IPV6 || version === 4) return false
  const header = load(packet, l3 + ipv6.NEXT_HEADER, 1)
  return header === number || header === ipv6.FRAGMENT && load(packet, l3 + ipv6.HEADER_BYTES, 1) === number
}

/** Offset of the header behind IP where its protocol is one of those, in the first fragment; -1: there is none. */
function transportAt(packet: Seen, version: 4 | 6 | null, protocols: readonly number[]): number {
  const { l3 } = packet, net = netOf(packet)
  if (net === NET_IPV4 && version !== 6) {
    if (!protocols.includes(load(packet, l3 + ipv4.PROTOCOL, 1))) return -1
    if ((load(packet, l3 + ipv4.FRAGMENT, 2) & ipv4.OFFSET_MASK) !== 0) return -1
    return l3 + ((load(packet, l3, 1) & 15) << 2)
  }
  if (net !== NET_IPV6 || version === 4) return -1
  return protocols.includes(load(packet, l3 + ipv6.NEXT_HEADER, 1)) ? l3 + ipv6.HEADER_BYTES : -1
}

function compilePort({ version, protocols, dir, low, high }: Extract<Expr, { kind: 'port' }>): Match {
  const holds = (packet: Seen, at: number) => {
    const port = load(packet, at, 2)
    return port >= low && port <= high
  }
  return (packet) => {
    const l4 = transportAt(packet, version, protocols)
    return l4 >= 0 && towards(dir, () => holds(packet, l4), () => holds(packet, l4 + 2))
  }
}

function isEthernet({ link }: Seen): boolean {
  return link === LINK_ETHERNET
}

function compileMac(dir: Dir, octets: readonly number[]): Match {
  const holds = (packet: Seen, at: number) => octets.every((octet, n) => load(packet, at + n, 1) === octet)
  return (packet) => isEthernet(packet) && towards(dir, () => holds(packet, packet.off + 6), () => holds(packet, packet.off))
}

function compileCast(family: 'ether' | 'ip' | 'ip6', what: 'multicast' | 'broadcast'): Match {
  if (family === 'ip') return (packet) => netOf(packet) === NET_IPV4 && load(packet, packet.l3 + ipv4.DST, 1) >= 224
  if (family === 'ip6') return (packet) => netOf(packet) === NET_IPV6 && load(packet, packet.l3 + ipv6.DST, 1) === 255
  if (what === 'multicast') return (packet) => isEthernet(packet) && (load(packet, packet.off, 1) & 1) === 1
  return (packet) => isEthernet(packet) && load(packet, packet.off, 4) === 0xffffffff && load(packet, packet.off + 4, 2) === 0xffff
}

/** Ethertype behind tags, or -1. */
function etherType(packet: Seen): number {
  if (!isEthernet(packet)) return -1
  let at = packet.off + ethernet.TYPE
  while (ethernet.isTag(load(packet, at, 2))) at += ethernet.TAG_BYTES
  return load(packet, at, 2)
}

function hasTag(packet: Seen, id: number | null): boolean {
  if (!isEthernet(packet)) return false
  for (let at = packet.off + ethernet.TYPE; ethernet.isTag(load(packet, at, 2)); at += ethernet.TAG_BYTES) {
    if (id === null || (load(packet, at + 2, 2) & 0xfff) === id) return true
  }
  return false
}

function isFragment(packet: Seen): boolean {
  const { l3 } = packet, net = netOf(packet)
  if (net === NET_IPV4) return (load(packet, l3 + ipv4.FRAGMENT, 2) & (ipv4.OFFSET_MASK | ipv4.MORE_FRAGMENTS)) !== 0
  return net === NET_IPV6 && load(packet, l3 + ipv6.NEXT_HEADER, 1) === ipv6.FRAGMENT
}

/* Numbers. */

/** A header that is not there: the comparison is false. */
class Absent extends Error {}
const ABSENT = new Absent()

const PROTOCOL_OF: Partial<Record<Header, number>> = { tcp: 6, udp: 17, sctp: 132, icmp: 1, icmp6: 58, igmp: 2 }

/** Offset of a header; throws if it is not there. */
function startOf(packet: Seen, header: Header): number {
  switch (header) {
    case 'ether': case 'link': return packet.off
    case 'ip': if (netOf(packet) === NET_IPV4) return packet.l3; break
    case 'ip6': if (netOf(packet) === NET_IPV6) return packet.l3; break
    case 'arp': case 'rarp': if (netOf(packet) === NET_ARP) return packet.l3; break
    default: {
      const version = header === 'icmp' || header === 'igmp' ? 4 : header === 'icmp6' ? 6 : null
      const at = transportAt(packet, version, [PROTOCOL_OF[header]!])
      if (at >= 0) return at
    }
  }
  throw ABSENT
}

function compileComparison(relation: Relation, left: Arithmetic, right: Arithmetic): Match {
  const a = compileArithmetic(left), b = compileArithmetic(right)
  const test = RELATIONS[relation]
  return (packet) => {
    try {
      return test(a(packet), b(packet))
    } catch (error) {
      if (error instanceof Absent) return false
      throw error
    }
  }
}

/** Of numbers modulo 2^32. */
const RELATIONS: Record<Relation, (a: number, b: number) => boolean> = {
  '=': (a, b) => a === b, '!=': (a, b) => a !== b, '<': (a, b) => a < b, '>': (a, b) => a > b, '<=': (a, b) => a <= b,
  '>=': (a, b) => a >= b,
}

function compileArithmetic(tree: Arithmetic): Value {
  switch (tree.kind) {
    case 'number': return () => tree.value
    case 'length': return (packet) => packet.wireBytes
    case 'minus': {
      const of = compileArithmetic(tree.of)
      return (packet) => -of(packet) >>> 0
    }
    case 'load': {
      const at = compileArithmetic(tree.at)
      return (packet) => load(packet, startOf(packet, tree.header) + at(packet), tree.bytes)
    }
    case 'binary': {
      const left = compileArithmetic(tree.left), right = compileArithmetic(tree.right)
      const work = BINARY[tree.sign]
      return (packet) => work(left(packet), right(packet)) >>> 0
    }
  }
}

const BINARY: Record<Extract<Arithmetic, { kind: 'binary' }>['sign'], (a: number, b: number) => number> = {
  '+': (a, b) => a + b, '-': (a, b) => a - b, '*': (a, b) => Math.imul(a, b), '&': (a, b) => a & b, '|': (a, b) => a | b,
  '^': (a, b) => a ^ b, '<<': (a, b) => b < 32 ? a << b : 0, '>>': (a, b) => b < 32 ? a >>> b : 0,
  '/': (a, b) => { if (b === 0) throw BEYOND; return Math.floor(a / b) },
  '%': (a, b) => { if (b === 0) throw BEYOND; return a % b },
}
