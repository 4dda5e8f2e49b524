/** A box to hold against an RFC: packets by their description, on the engine with the defaults of the configuration. */
import { createRig, type Outcome, type Rig } from '../../src/engine/testing.ts'
import type { EngineOptions } from '../../src/engine/options.ts'
import { buildPacket, verify, type PacketSpec } from '../../src/wire/build.ts'
import { HELD, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../../src/wire/frames.ts'

/** Inside hosts, outside hosts, and a router on the way. */
export const A = '10.0.0.1', B = '10.0.0.2', C = '10.0.0.3', X = '198.51.100.1', Y = '198.51.100.2', ROUTER = '192.0.2.9'
/** The outside address, where there is one. */
export const NAT = '203.0.113.1'
export const FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16

export interface Box extends Rig {
  nowMs: number
  in(spec: PacketSpec | Uint8Array): Outcome
  out(spec: PacketSpec | Uint8Array): Outcome
}

export function box(changes: Partial<EngineOptions> = {}): Box {
  const rig = createRig(changes)
  const bytesOf = (spec: PacketSpec | Uint8Array) => spec instanceof Uint8Array ? spec : buildPacket(spec)
  const made: Box = {
    ...rig, nowMs: 0,
    /** A packet that comes from inside. */
    in: spec => rig.send(SIDE_INSIDE, bytesOf(spec), made.nowMs),
    /** A packet that comes from outside. */
    out: spec => rig.send(SIDE_OUTSIDE, bytesOf(spec), made.nowMs),
  }
  return made
}

/** One word for an outcome: where the packet went, or why it did not. */
export function word({ verdict, reason }: Outcome): string {
  if (reason !== null) return reason
  return verdict === TO_INSIDE ? 'inside' : verdict === TO_OUTSIDE ? 'outside' : verdict === HELD ? 'held' : 'lost'
}

export function udp(src: string, srcPort: number, dst: string, dstPort: number, more: Partial<PacketSpec> = {}): PacketSpec {
  return { proto: 'udp', src, srcPort, dst, dstPort, payload: new Uint8Array(16), ...more }
}
export function tcp(src: string, srcPort: number, dst: string, dstPort: number, tcpFlags: number, more: Partial<PacketSpec> = {}): PacketSpec {
  return { proto: 'tcp', src, srcPort, dst, dstPort, tcpFlags, ...more }
}
export function echo(src: string, dst: string, icmpId: number, more: Partial<PacketSpec> = {}): PacketSpec {
  return { proto: 'icmp', icmpType: 8, src, dst, icmpId, ...more }
}
export function reply(src: string, dst: string, icmpId: number): PacketSpec {
  return { proto: 'icmp', icmpType: 0, src, dst, icmpId }
}

/** `10.0.0.1:5000 > 198.51.100.1:53`: the ends of an IPv4 packet, its identifier at both if it is a query. */
export function ends(bytes: Uint8Array): string {
  const l4 = (bytes[0] & 15) * 4
  const quad = (at: number) => bytes.slice(at, at + 4).join('.')
  const port = (at: number) => ':' + (bytes[l4 + at] << 8 | bytes[l4 + at + 1])
  const [from, to] = bytes[9] === 1 ? [4, 4] : [0, 2]
  return `${quad(12)}${port(from)} > ${quad(16)}${port(to)}`
}

/** The port from which a packet left. */
export function sourcePort(outcome: Outcome): number {
  const { bytes } = outcome
  if (bytes === null) throw new Error(`nothing left: ${outcome.reason}`)
  const l4 = (bytes[0] & 15) * 4
  return bytes[l4] << 8 | bytes[l4 + 1]
}

/** What left, whose checksums were found right. */
export function sound(outcome: Outcome): Uint8Array {
  const { bytes } = outcome
  if (bytes === null) throw new Error(`nothing left: ${outcome.reason}`)
  const faults = verify(bytes)
  if (faults.length > 0) throw new Error(faults.join(', '))
  return bytes
}
