/** A small network for tests of the model: options, hosts, and words for the packets between them. */
import { parsePrefix, parseAddress } from '../../src/base/address.ts'
import { buildPacket, type PacketSpec } from '../../src/wire/build.ts'
import type { Command } from './commands.ts'
import { createModel, type Model, type ModelOptions, type Outcome, type Side } from '../nat.model.ts'

export function prefix(text: string) {
  const parsed = parsePrefix(text)
  if (!parsed.ok) throw new RangeError(text)
  return parsed.value
}
export function words(text: string): Int32Array {
  const parsed = parseAddress(text)
  if (!parsed.ok) throw new RangeError(text)
  return parsed.value.words
}
export function int32(text: string): number { return words(text)[0] }

export const IN_A = '10.0.0.1', IN_B = '10.0.0.2', IN_C = '10.0.0.3', OUT = '198.51.100.1', OUT_2 = '198.51.100.2'
export const POOL = ['203.0.113.1', '203.0.113.2']
export const IN6 = 'fd00::1', OUT6 = '2001:db8::1'

export const OPTIONS: ModelOptions = {
  insidePrefixes: [prefix('10.0.0.0/8'), prefix('fc00::/7')],
  pool: POOL.map(int32), nat44: true, portLo: 1024, portHi: 65535, portPreservation: true,
  filtering: 'address-dependent', tcpFiltering: 'address-dependent', hairpinning: true, outboundPermit: true, inboundPermit: false, tcpMidstream: true,
  timers: {
    udpMs: 300_000, udpPorts: [], udpInboundRefresh: true, tcpOpeningMs: 240_000, tcpClosingMs: 240_000, tcpEstablishedMs: 7_440_000, icmpQueryMs: 60_000, otherMs: 300_000,
    fragmentMs: 2000, unsolicitedSynMs: 6000,
  },
  flows: 16, fragmentDatagrams: 4, fragmentHold: 4, icmpErrorsPerSecond: 10, icmpPerSecond: 0, fragmentsPerSecond: 0,
  halfOpen: 0, halfOpenPerSource: 0, heldSyns: 4, ipv4Checksum: 'repair-zero', tcpFlags: true, tcpWindow: 'off', spoofing: 'ignore',
  boxAddress4: int32('192.0.0.8'), boxAddress6: words('fe80::1'), seed: 1,
  midcom: null, firewall: null,
}

export interface Box {
  model: Model
  order(...commands: Command[]): void
  nowMs: number
  in(spec: PacketSpec | Uint8Array, cut?: Cut): Outcome
  out(spec: PacketSpec | Uint8Array, cut?: Cut): Outcome
}
/** A snap length, or more bytes on the wire. */
export interface Cut { capBytes?: number; wireBytes?: number; net?: 4 | 6 }

export function box(changes: Partial<ModelOptions> = {}): Box {
  const model = createModel({ ...OPTIONS, ...changes })
  const send = (side: Side) => (spec: PacketSpec | Uint8Array, cut: Cut = {}) => {
    const bytes = spec instanceof Uint8Array ? spec : buildPacket(spec)
    const wireBytes = cut.wireBytes ?? bytes.length
    const input = { side, nowMs: made.nowMs, bytes: bytes.slice(0, cut.capBytes), wireBytes }
    return model.packet(cut.net === undefined ? input : { ...input, net: cut.net })
  }
  const order = (...commands: Command[]) => model.command(commands, made.nowMs)
  const made: Box = { model, nowMs: 0, order, in: send('inside'), out: send('outside') }
  return made
}

/** One word for an outcome: where it went, or why not. */
export function word(outcome: Outcome): string { return outcome.reason ?? outcome.verdict }

/** Source and destination of a packet, as text with ports: `10.0.0.1:5 > 198.51.100.1:53`. */
export function ends(bytes: Uint8Array): string {
  const quad = (at: number) => bytes.slice(at, at + 4).join('.')
  const l4 = (bytes[0] & 15) * 4, port = (at: number) => ':' + (bytes[l4 + at] * 256 + bytes[l4 + at + 1])
  const ported = [6, 17].includes(bytes[9]) && (bytes[6] & 31) === 0 && bytes[7] === 0
  return quad(12) + (ported ? port(0) : '') + ' > ' + quad(16) + (ported ? port(2) : '')
}

/** The paired outside address of an inside host. */
export function paired(host: string, changes: Partial<ModelOptions> = {}): string {
  const addr = box(changes).model.flows.pairedAddr((int32(host) >>> 0).toString(16).padStart(8, '0'))
  return (addr.match(/../g) ?? []).map(pair => parseInt(pair, 16)).join('.')
}
