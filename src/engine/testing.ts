/** An engine with hands on it: one packet in, what became of it out. For tests; inside is 10.0.0.0/8 and fd00::/8. */
import { createCounters, readCounters, type Counters } from '../channel/counters.ts'
import { DROP_REASONS, type DropReason } from '../channel/reasons.ts'
import { DROP, HELD, LINK_RAW, NET_IPV4, NET_IPV6, createFrames, type Frames } from '../wire/frames.ts'
import { createEngine, engineScratchBytes, type Engine } from './engine.ts'
import { CHECKSUM_REPAIR_ZERO, FILTER_ADDRESS_DEPENDENT, SPOOFING_IGNORE, WINDOW_OFF, type EngineOptions } from './options.ts'

/** 203.0.113.1 */
export const OUTSIDE_ADDRESS = 0xcb007101 | 0

/** The defaults of the configuration, but for a table that a test can fill and one outside address. */
export const TEST_OPTIONS: EngineOptions = {
  inside: {
    has4: (address) => address >>> 24 === 10, count4: (address) => address >>> 24 === 10 ? 1 : 0,
    has6: (word0) => word0 >>> 24 === 0xfd,
  },
  nat44: true, pool: [OUTSIDE_ADDRESS], portLow: 1024, portHigh: 65535, portPreservation: true,
  filtering: FILTER_ADDRESS_DEPENDENT, hairpinning: true, outboundPermit: true, inboundPermit: false, tcpMidstream: true,
  udpMs: 300_000, udpPorts: [], udpInboundRefresh: true, tcpOpeningMs: 240_000,
  tcpClosingMs: 240_000, tcpEstablishedMs: 7_440_000, icmpQueryMs: 60_000, otherMs: 300_000, fragmentMs: 2000,
  flows: 1024, fragmentDatagrams: 64, fragmentHold: 16, icmpErrorsPerSecond: 100, ipv4Checksum: CHECKSUM_REPAIR_ZERO,
  icmpPerSecond: 0, fragmentsPerSecond: 0, halfOpen: 0, halfOpenPerSource: 0, heldSyns: 64, unsolicitedSynMs: 6000,
  tcpFlags: true, tcpWindow: WINDOW_OFF, spoofing: SPOOFING_IGNORE,
  boxAddress4: 0xc0000008 | 0, boxAddress6: [0xfe800000 | 0, 0, 0, 1], seed: 1, scratchStart: 0,
}

export interface Departure {
  verdict: number
  bytes: Uint8Array
}

export interface Outcome {
  /** DROP, TO_INSIDE, TO_OUTSIDE or HELD. */
  verdict: number
  reason: DropReason | null
  /** The packet as it left, without padding; null if it did not. */
  bytes: Uint8Array | null
  /** What left because of it. */
  extras: Departure[]
}

/** What a packet comes in. */
export interface FrameAround {
  /** Before it. */
  linkBytes: number
  /** Behind it, as Ethernet fills up short frames. */
  padding: Uint8Array
  /** Of link and packet, all that was captured. */
  capBytes: number
}

export interface Rig {
  engine: Engine
  frames: Frames
  counters: Counters
  /** A packet that starts with its IP header. `side` is a SIDE_ constant. */
  send(side: number, packet: Uint8Array, nowMs: number, frame?: Partial<FrameAround>): Outcome
  count(name: string): number
}

/** The longest packet, behind a link header. */
const PACKET_ROOM = 65_536 + 128

export function createRig(changes: Partial<EngineOptions> = {}): Rig {
  const options = { ...TEST_OPTIONS, ...changes, scratchStart: PACKET_ROOM }
  const frames = createFrames({ capacity: 1, poolBytes: PACKET_ROOM + engineScratchBytes(options) })
  const counters = createCounters()
  const engine = createEngine(options, frames, counters)

  function send(
    side: number, packet: Uint8Array, nowMs: number,
    { linkBytes = 0, padding = new Uint8Array(0), capBytes = Infinity }: Partial<FrameAround> = {},
  ): Outcome {
    frames.pool.set(packet, linkBytes)
    frames.pool.set(padding, linkBytes + packet.length)
    frames.off[0] = 0
    frames.l3[0] = linkBytes
    frames.wireBytes[0] = linkBytes + packet.length + padding.length
    frames.capBytes[0] = Math.min(capBytes, frames.wireBytes[0])
    frames.link[0] = LINK_RAW
    frames.net[0] = packet[0] >>> 4 === 6 ? NET_IPV6 : NET_IPV4
    frames.side[0] = side
    engine.lookAhead(1)
    engine.forward(0, nowMs)
    const { extras } = engine
    const verdict = frames.verdict[0]
    return {
      verdict, reason: verdict === DROP ? DROP_REASONS[frames.reason[0]][0] : null,
      bytes: verdict === DROP || verdict === HELD ? null : frames.pool.slice(linkBytes, linkBytes + frames.netBytes[0]),
      extras: Array.from({ length: extras.count() }, (_, n) => ({
        verdict: extras.verdict[n], bytes: frames.pool.slice(extras.l3[n], extras.off[n] + extras.capBytes[n]),
      })),
    }
  }

  return { engine, frames, counters, send, count: (name) => readCounters(counters)[name] }
}
