/**
 * The outside world of a replay, slowly: a capture from before the NAT holds replies addressed to inside hosts, and the
 * world re-addresses them to where these hosts are seen from outside. Last section of docs/behaviour.md.
 */
import type { Model, Side } from '../nat.model.ts'
import { readdress6 } from './npt6.ts'
import {
  addrOf, get16, hasPorts, hex, icmpKind, inPrefixes, isIcmp, judgeAddresses, judgeFlags, judgeTransport, parse, readdress4,
  requote, under, ICMP, TCP,
} from './packet.ts'

export interface WorldInput { side: Side; nowMs: number; bytes: Uint8Array; wireBytes: number; net?: 4 | 6; group?: boolean }

/** What enters the box in the place of the packet: its captured bytes, changed or as they are. */
/** The same of IPv6, where a prefix stands for that of the packet's destination. */
function enter6(model: Model, input: WorldInput): Uint8Array {
  const { options, prefixes } = model, { bytes } = input
  const parsed = parse(bytes, input.wireBytes, 6, options.ipv4Checksum)
  if (parsed.drop !== null) return bytes
  const p = parsed.value, outward = prefixes.outward(p.dst)
  if (outward.is !== 'done') return bytes
  const spoofed = options.spoofing !== 'ignore' && inPrefixes(p.src, options.insidePrefixes)
  const ours = prefixes.isOurs(p.src) ? [p.src] : [], local = options.uniqueLocal === true && under(p.src, 'fc' + '0'.repeat(30), 7)
  if (judgeAddresses(p, ours, input.group ?? false, spoofed, options.reserved6, local) !== null || p.ttl <= 1) return bytes
  const moved = readdress6(bytes, 'dst', outward.addr)
  if (p.piece !== null && p.piece.start > 0) return moved
  if (judgeTransport(p) !== null || p.protocol === TCP && options.tcpFlags && judgeFlags(p) !== null) return bytes
  const kind = isIcmp(p) ? icmpKind(6, p.bytes[p.l4]) : null
  if (kind === 'neither') return bytes
  if (kind !== 'error') return moved
  const quote = p.bytes.slice(p.l4 + 8)
  if (quote.length < 40 || quote[0] >> 4 !== 6 || hex(quote.slice(8, 24)) !== p.dst) return bytes
  return readdress6(moved, 'src', outward.addr, p.l4 + 8)
}

export function enter(model: Model, input: WorldInput): Uint8Array {
  const { options } = model, { bytes } = input
  const net = input.net ?? (bytes.length > 0 && bytes[0] >> 4 === 6 ? 6 : 4)
  if (input.side === 'outside' && net === 6) return enter6(model, input)
  if (input.side === 'inside' || net === 6 || !options.nat44) return bytes
  const parsed = parse(bytes, input.wireBytes, 4, options.ipv4Checksum)
  if (parsed.drop !== null) return bytes
  const p = parsed.value
  if (!inPrefixes(p.dst, options.insidePrefixes)) return bytes
  // Reading: what the box drops before it looks at flows enters as it is.
  const pool = [...[...options.pool, ...options.midcom?.addresses ?? []].map(word => addrOf([word])), ...model.fixed.outside()]
  const spoofed = options.spoofing !== 'ignore' && inPrefixes(p.src, options.insidePrefixes)
  if (judgeAddresses(p, pool, input.group ?? false, spoofed) !== null || p.ttl <= 1) return bytes
  const untranslated = (protocol: number, peer: { addr: string; port: number } | null, peerAddr = p.src) =>
    model.fixed.isUntranslated(protocol, p.dst, peerAddr, peer)
  const padded = (packet: Uint8Array) => Uint8Array.from([...packet, ...bytes.slice(packet.length)])
  // Reading: the paired address is the bound one of a host that has one, as above.
  const paired = model.midcom.bindings.addressOf(p.dst) ?? model.flows.pairedAddr(p.dst)
  if (p.piece !== null && p.piece.start > 0) {
    if (untranslated(p.protocol, null)) return bytes
  }
  if (p.piece !== null && p.piece.start > 0) return padded(readdress4(p.bytes, 'dst', paired, 0))
  if (judgeTransport(p) !== null || p.protocol === TCP && options.tcpFlags && judgeFlags(p) !== null) return bytes

  const header = p.l4, kind = isIcmp(p) ? icmpKind(4, p.bytes[p.l4]) : null
  if (kind === 'neither') return bytes
  if (kind === 'error') {
    // Reading: an error about somebody else's packet, or about one too short to tell, enters as it is.
    const quote = p.bytes.slice(p.l4 + 8), at = (quote[0] & 15) * 4
    const readable = quote.length >= 28 && quote[0] >> 4 === 4 && at >= 20 && quote.length >= at + 8
    if (!readable || hex(quote.slice(12, 16)) !== p.dst) return bytes
    const protocol = quote[9]
    const port = protocol === ICMP ? get16(quote, at + 4) : hasPorts({ version: 4, protocol }) ? get16(quote, at) : 0
    const peer = { addr: hex(quote.slice(16, 20)), port: get16(quote, at + 2) }
    if (untranslated(protocol, peer, peer.addr)) return bytes
    const endpoint = model.outsideEndpoint(protocol, p.dst, port, peer, input.nowMs)
    const next = requote(p.bytes, p.l4, readdress4(quote, 'src', endpoint.addr, endpoint.port))
    const outer = readdress4(next.slice(0, header), 'dst', endpoint.addr, 0)
    return padded(Uint8Array.from([...outer, ...next.slice(header)]))
  }
  const port = isIcmp(p) ? get16(p.bytes, p.l4 + 4) : hasPorts(p) ? get16(p.bytes, p.l4 + 2) : 0
  const peer = { addr: p.src, port: hasPorts(p) ? get16(p.bytes, p.l4) : 0 }
  if (untranslated(p.protocol, peer)) return bytes
  const endpoint = model.outsideEndpoint(p.protocol, p.dst, port, peer, input.nowMs)
  return padded(readdress4(p.bytes, 'dst', endpoint.addr, endpoint.port))
}
