/** What the engine is told once, when it is built: plain numbers, no configuration text. */
import type { CommandRing, RuleActivity } from '../channel/commands.ts'
import type { MappingLog } from '../channel/mapping-log.ts'
import type { Npt6Pair } from '../channel/npt6.ts'
import type { Steering } from '../channel/steering.ts'
import type { NatOptions } from './nat-options.ts'
import type { RuleSet } from './firewall-set.ts'

export const FILTER_ENDPOINT_INDEPENDENT = 0
export const FILTER_ADDRESS_DEPENDENT = 1
export const FILTER_ADDRESS_AND_PORT_DEPENDENT = 2

/** Which translated packets get an identification that is unique on their outside address (RFC 6864 5.3.1). */
export const IDENTIFY_KEEP = 0
/** Those that are in fragments, or become so here. */
export const IDENTIFY_FRAGMENTS = 1
/** All that may be fragmented on their way. */
export const IDENTIFY_ALL = 2

export const CHECKSUM_VERIFY = 0
export const CHECKSUM_REPAIR_ZERO = 1
export const CHECKSUM_IGNORE = 2

/** Which sources are held against the inside prefixes: none, those from outside, those from inside too. */
export const SPOOFING_IGNORE = 0
export const SPOOFING_OUTSIDE = 1
export const SPOOFING_BOTH = 2

/** Are sequence numbers of TCP looked at: not, for resets alone, for all? */
export const WINDOW_OFF = 0
export const WINDOW_LOOSE = 1
export const WINDOW_STRICT = 2

/** Answers whether an address is in the inside network. Words are host-order int32. */
export interface InsidePrefixes {
  has4(address: number): boolean
  /** The same as 1 or 0. */
  count4(address: number): number
  has6(word0: number, word1: number, word2: number, word3: number): boolean
}

/** Rules and bindings that policy sets while packets flow (docs/behaviour.md, Rules). */
export interface MidcomOptions {
  /** Rules at once, 1 … 2^20. */
  rules: number
  /** Ports bound at once; each takes a record of 64 bytes. */
  boundPorts: number
  /** Ports that policy hands out, on every address of the pool; no dynamic mapping takes them. */
  portLow: number
  portHigh: number
  /** Outside addresses that are bound as a whole; none of them in `pool`. */
  addresses: readonly number[]
  /** Addresses that stand for outside hosts towards inside (twice-NAT). */
  insidePool: readonly number[]
  ring: CommandRing
  activity: RuleActivity
}

/** Firewall rules (docs/behaviour.md, Firewall rules). */
export interface FirewallOptions {
  /** Those to begin with; may be none. */
  set: RuleSet
  /** The name of an interface of the capture, asked once for each set. */
  interfaceName: (id: number) => string | undefined
}

/** What one inside host may have; of IPv6 a /64 is one. 0: any number. */
export interface HostLimits {
  /** Flows at once, whoever opened them. */
  flows: number
  /** Flows that it opens, a second, at most 10^6; the burst is the same number. */
  flowsPerSecond: number
  /** Outside ports and ICMP identifiers of its own mappings, together and each. */
  ports: number
  udpPorts: number
  tcpPorts: number
  identifiers: number
}

/** Outside ports that were given up, and are not given to another host for a while (RFC 6888 REQ-8). */
export interface PortHold {
  /** 1 … 2^30 */
  holdMs: number
  /** Ports, or blocks, at once; one more lets the oldest go. 0: none. */
  most: number
  /** All ports, or only those for which RFC 6888 has no exception? */
  isAll: boolean
}

/** Ports of a host are those of blocks that it has alone. */
export interface PortBlocks {
  /** Ports of a block, at most as many as there are. */
  size: number
  /** Blocks of a host at most; 0: there are no blocks. */
  perHost: number
}

/** The part of a box that one worker of several has. */
export interface ShareOptions {
  steering: Steering
  /** Number of this worker, from 0 on. */
  worker: number
}

export interface EngineOptions {
  /** Absent or null: there is one worker, and everything is its own. */
  share?: ShareOptions | null
  /** Absent or null: nobody logs mappings. */
  mappingLog?: MappingLog | null
  /** Absent or null: ports are free at once. */
  portHold?: PortHold | null
  /** Absent or null: hosts share all ports. */
  portBlocks?: PortBlocks | null
  /** Absent: any number of everything. */
  perHost?: HostLimits
  /** A new flow for which there is no room is refused: none is given up for it (RFC 6888 REQ-11d). */
  keepsFlows?: boolean
  /** The inside is told of limits and lack of room by host unreachable (RFC 6888 REQ-11b), not prohibited (RFC 5508 REQ-8). */
  refusesByHost?: boolean
  /** Absent or null: there are no firewall rules, and none can come. */
  firewall?: FirewallOptions | null
  /** Absent or null: there are no rules. */
  midcom?: MidcomOptions | null
  inside: InsidePrefixes
  /** False: a firewall only, IPv4 addresses stay as they are. */
  nat44: boolean
  /** Bytes of a packet that fit each link, from 1280 on; 0 or absent: any. */
  mtuInside?: number
  mtuOutside?: number
  /** Most MSS that a SYN may say; 0 or absent: any; -1: what fits both links. */
  mss?: number
  /** IDENTIFY_ constant; absent: none. */
  identification?: number
  /** Outside addresses that hosts share, 1 … 1024 when `nat44`. */
  pool: readonly number[]
  /** Absent or null: the pool is all there is. */
  nat?: NatOptions | null
  /** IPv6 prefixes that stand for others (RFC 6296); absent or empty: none is translated. */
  npt6?: readonly Npt6Pair[]
  /** Dynamic outside ports, inclusive. */
  portLow: number
  portHigh: number
  portPreservation: boolean
  /** FILTER_ constants; that of TCP is its own (RFC 5382 REQ-3b). */
  filtering: number
  /** Absent: as `filtering`. */
  tcpFiltering?: number
  hairpinning: boolean
  /** May the inside open flows; may the outside, where no mapping stands in its way (IPv6, or IPv4 without NAT)? */
  outboundPermit: boolean
  inboundPermit: boolean
  /** What of IPv6 may open flows from outside in any case: echo requests and messages of mobile IPv6 (RFC 4890 4.3.1, 4.3.2) … */
  echo6?: boolean
  /** … ESP, AH, HIP, and UDP to ports 500 and 4500 (RFC 6092 REC-21 to REC-26). */
  ipsec6?: boolean
  tcpMidstream: boolean
  /** All timers in 1 … 2^30 ms. */
  udpMs: number
  /** Peer ports, 0 … 1023, each once, that give UDP flows opened from inside another idle time; at most 16. */
  udpPorts: readonly { port: number; idleMs: number }[]
  /** Does a UDP packet from outside prolong its flow? */
  udpInboundRefresh: boolean
  /** TCP whose opening is under way, and TCP that both ends have closed, or one has reset. */
  tcpOpeningMs: number
  tcpClosingMs: number
  tcpEstablishedMs: number
  icmpQueryMs: number
  otherMs: number
  /** SCTP and DCCP: of which one end alone was heard, and of which both were. Absent: as `otherMs`. */
  associationOpeningMs?: number
  associationMs?: number
  fragmentMs: number
  /** Flows at once, 16 … 2^22. */
  flows: number
  fragmentDatagrams: number
  fragmentHold: number
  icmpErrorsPerSecond: number
  /** Forwarded packets a second, at most 10^6; 0: no bound. */
  icmpPerSecond: number
  fragmentsPerSecond: number
  /** TCP flows that were never open, at once; 0: no bound. The first is never more than half of `flows`. */
  halfOpen: number
  halfOpenPerSource: number
  /** Unsolicited SYNs from outside that are remembered at once, 0 … 512, and how long; 0: none is ever answered. */
  heldSyns: number
  unsolicitedSynMs: number
  /** CHECKSUM_ constant. */
  ipv4Checksum: number
  /** Drop segments whose flags no connection has? */
  tcpFlags: boolean
  /** WINDOW_ constant. With any but off a flow takes 64 bytes more. */
  tcpWindow: number
  /** Are reserved IPv6 addresses martians: documentation, ORCHID, 6bone, and 6to4 of private IPv4 (RFC 5156, RFC 3964 5.3)? */
  reserved6?: boolean
  /** Do unique local addresses (RFC 4193) stay inside? */
  uniqueLocal?: boolean
  /** SPOOFING_ constant. Where a source decides the side, SPOOFING_IGNORE does the same and costs nothing. */
  spoofing: number
  /** Sources of the ICMP errors that the box originates. */
  boxAddress4: number
  boxAddress6: readonly [number, number, number, number]
  /** Seeds port choice, pairing and hashes. */
  seed: number
  /** Offset in the frame pool from which `engineScratchBytes` belong to the engine. */
  scratchStart: number
}
