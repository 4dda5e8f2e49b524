/** What became of a packet, as a value: printed as text, as a line of JSON, and as a comment on the packet. docs/explain.md. */
import type { DropReason } from '../../channel/reasons.ts'

export type Side = 'inside' | 'outside'

export interface Explanation {
  /** Place in the capture, from 1. */
  packet: number
  /** Time stamp, as seconds since 1970 with nine decimals. */
  time: string
  side: Side
  /** Capture interface. */
  interface: number
  /** The packet as the capture has it, in a line. */
  came: string
  /** The packet as the replay's outside world gave it to the box, where that differs. */
  entered: string | null
  parse: Parse | null
  flow: FlowInfo | null
  /** The second flow of a packet between two inside hosts (RFC 4787 REQ-9). */
  hairpin: FlowInfo | null
  /** Of a packet from outside that met a mapping and no flow of it. */
  mapping: MappingInfo | null
  /** Rules that were asked or that the flow belongs to. */
  rules: RuleInfo[]
  /** A flow that a full table gave up for this one. */
  evicted: boolean
  /** Fields that left other than they entered. */
  rewrite: Change[]
  verdict: 'sent' | 'dropped' | 'held'
  to: Side | null
  /** The packet as it left. */
  left: string | null
  reason: ReasonInfo | null
  /** What left because of it, after it: an answer, held fragments, further pieces of what was cut for the link. */
  also: { kind: 'answer' | 'released' | 'fragment'; to: Side; packet: string }[]
  /** An answer by ICMP was due and the limit of them reached. */
  answerSuppressed: boolean
}

/** What became, when its time was over, of a SYN from outside that nobody inside wanted (RFC 5382 REQ-4). */
export interface LateAnswer {
  /** The SYN: its place in the capture, and the line of it. */
  packet: number
  came: string
  /** Time stamp of the answer. */
  time: string
  to: 'outside'
  /** null: the limit of our errors was reached. */
  answer: string | null
}

export interface Parse {
  ip: 4 | 6
  protocol: number
  name: string
  headerBytes: number
  packetBytes: number
  onWireBytes: number
  capturedBytes: number
  ttl: number
  checksum: 'right' | 'wrong' | 'zero' | null
  dontFragment: boolean
  fragment: { id: number; offset: number; more: boolean } | null
  /** Which way it takes through the engine. */
  path: string
}

export interface FlowInfo {
  how: 'found' | 'opened'
  protocol: string
  inside: string
  /** The inside endpoint as the outside sees it; null: untranslated. */
  outside: string | null
  peer: string
  /** Was the mapping there already, which flows of one inside endpoint share (RFC 4787 REQ-1)? null: there is none. */
  mapping: 'found' | 'opened' | null
  state: string
  /** State before this packet; null: the flow is new. */
  stateBefore: string | null
  /** Milliseconds until the flow ends if no packet comes. */
  endsInMs: number
  endsInMsBefore: number | null
  /** Directions that are blocked (RFC 5189 2.3.5). */
  blocked: ('outbound' | 'inbound')[]
}

export interface MappingInfo {
  inside: string
  outside: string
  /** An agent bound it, or a setting; else packets from inside made it. */
  bound: boolean
  /** Remote ends that the inside endpoint has flows with, the first few. */
  peers: string[]
  morePeers: boolean
}

export interface RuleInfo {
  kind: 'midcom' | 'firewall'
  /** Identifier of the rule, or its name in the configuration. */
  rule: string
  /** Agent that owns it, or where it stands in the configuration. */
  owner: string | null
  what: string
}

export interface Change { field: string; before: string; after: string }

export interface ReasonInfo { name: DropReason; meaning: string; clause: string; why: string; hint: string }
