/**
 * The state of a flow, which chooses its timer. TCP goes after the state machine of RFC 7857 2 (of RFC 6146 3.5.2), with two more
 * states for connections whose SYN was not seen. A flow of every other protocol has a state that nothing changes, so that the
 * packet path need not ask which protocol it has. Tables are built once; the packet path only indexes them.
 */
import type { EngineOptions } from './options.ts'
import { ACK_FLAG, FIN, RST, SYN } from '../wire/tcp.ts'

export const SYN_OUT = 1, SYN_IN = 2, MID_OUT = 3, MID_IN = 4
export const ESTABLISHED = 5, FIN_OUT = 6, FIN_IN = 7, FIN_BOTH = 8, RESET = 9
/** Not TCP. */
export const UDP_FLOW = 10, ICMP_FLOW = 11, OTHER_FLOW = 12
/** SCTP and DCCP: opened from inside, from outside, and answered. Any packet of the other end is an answer. */
export const ASSOCIATION_OUT = 13, ASSOCIATION_IN = 14, ASSOCIATION = 15
/** UDP to ports with an idle time of their own (RFC 4787 REQ-5a): one state for each entry of the list, from here on. */
export const UDP_PORT_FIRST = 16, MOST_UDP_PORTS = 16
/** Ports that may have one: the well-known ones. */
const WELL_KNOWN_PORTS = 1024
const STATES = 32

export const DIR_OUT = 0, DIR_IN = 1

/** The strongest flag of a segment: RST > SYN > FIN > ACK. */
export const EVENT_OTHER = 0, EVENT_ACK = 1, EVENT_FIN = 2, EVENT_SYN = 3, EVENT_SYN_ACK = 4, EVENT_RST = 5

function eventOf(flags: number): number {
  if ((flags & RST) !== 0) return EVENT_RST
  if ((flags & SYN) !== 0) return (flags & ACK_FLAG) !== 0 ? EVENT_SYN_ACK : EVENT_SYN
  if ((flags & FIN) !== 0) return EVENT_FIN
  return (flags & ACK_FLAG) !== 0 ? EVENT_ACK : EVENT_OTHER
}

/** Event by the low five bits of the flags byte. What stands in its place in another protocol is an event without effect. */
export const EVENT = Uint8Array.from({ length: 32 }, (_, flags) => eventOf(flags))

// @req RFC5382 REQ-2, REQ-2a
// @req RFC7857 2 partly[silence for the time of open connections ends one, where the figure leads to TRANS first]
function nextState(state: number, dir: number, event: number): number {
  const forth = dir === DIR_OUT
  // "Own" is the side that opened the connection, for the four opening states.
  const own = state === SYN_OUT || state === MID_OUT ? forth : !forth
  switch (state) {
    case SYN_OUT: case SYN_IN: case MID_OUT: case MID_IN:
      // @req RFC7857 2.2a, 2.2b
      if (event === EVENT_RST) return RESET
      if (own) return state
      if (event === EVENT_FIN) return forth ? FIN_OUT : FIN_IN
      if (event === EVENT_OTHER && (state === SYN_OUT || state === SYN_IN)) return state
      return ESTABLISHED
    case ESTABLISHED:
      if (event === EVENT_RST) return RESET
      if (event === EVENT_FIN) return forth ? FIN_OUT : FIN_IN
      return ESTABLISHED
    case FIN_OUT: case FIN_IN:
      if (event === EVENT_RST) return RESET
      return event === EVENT_FIN && forth !== (state === FIN_OUT) ? FIN_BOTH : state
    case ASSOCIATION_OUT: case ASSOCIATION_IN:
      return forth === (state === ASSOCIATION_OUT) ? state : ASSOCIATION
    case FIN_BOTH:
      return event === EVENT_SYN ? (forth ? SYN_OUT : SYN_IN) : FIN_BOTH
    case RESET:
      if (event === EVENT_RST) return RESET
      return event === EVENT_SYN ? (forth ? SYN_OUT : SYN_IN) : ESTABLISHED
  }
  return state
}

/** Next state, indexed by state << 4 | direction << 3 | event. */
export const NEXT = new Uint8Array(STATES << 4)
for (let state = 0; state < STATES; state++) {
  for (let at = 0; at < 16; at++) NEXT[(state << 4) | at] = nextState(state, at >>> 3, at & 7)
}

/** State of a new flow by its first segment; an RST opens none (the caller has seen to that). */
export function openingState(dir: number, event: number): number {
  if (event === EVENT_SYN) return dir === DIR_OUT ? SYN_OUT : SYN_IN
  return dir === DIR_OUT ? MID_OUT : MID_IN
}

/** States that live by the established timer. */
export function isEstablished(state: number): boolean {
  return state === ESTABLISHED || state === FIN_OUT || state === FIN_IN
}

/** States that live by the timer of closing; the other ones of TCP by that of opening. */
export function isClosing(state: number): boolean {
  return state === FIN_BOTH || state === RESET
}

/** May a connection in this state never have been open? */
export function wasMaybeNeverOpen(state: number): boolean {
  return state < ESTABLISHED || state === RESET
}

/** Idle time by state, in milliseconds. */
export function timeoutsByState(options: EngineOptions): Int32Array {
  const timeouts = new Int32Array(STATES).fill(options.tcpOpeningMs)
  for (let state = 0; state < STATES; state++) {
    if (isEstablished(state)) timeouts[state] = options.tcpEstablishedMs
    if (isClosing(state)) timeouts[state] = options.tcpClosingMs
  }
  options.udpPorts.forEach(({ idleMs }, n) => { timeouts[UDP_PORT_FIRST + n] = idleMs })
  timeouts[UDP_FLOW] = options.udpMs
  timeouts[ICMP_FLOW] = options.icmpQueryMs
  timeouts[OTHER_FLOW] = options.otherMs
  // @req RFC6092 REC-40, REC-44
  timeouts[ASSOCIATION_OUT] = timeouts[ASSOCIATION_IN] = options.associationOpeningMs ?? options.otherMs
  timeouts[ASSOCIATION] = options.associationMs ?? options.otherMs
  return timeouts
}

/** The state in which a flow of another protocol than TCP begins, by direction << 8 | protocol. */
export const STATE_OF = new Uint8Array(512).fill(OTHER_FLOW)
for (let dir = DIR_OUT; dir <= DIR_IN; dir++) {
  const first = dir << 8
  STATE_OF[first | 17] = STATE_OF[first | 136] = UDP_FLOW
  STATE_OF[first | 1] = STATE_OF[first | 58] = ICMP_FLOW
  STATE_OF[first | 132] = STATE_OF[first | 33] = dir === DIR_OUT ? ASSOCIATION_OUT : ASSOCIATION_IN
}

/** State of a UDP flow that the inside opens, by the peer's port (RFC 4787 REQ-5a). */
export function udpStates(options: Pick<EngineOptions, 'udpPorts'>): (port: number) => number {
  const states = new Uint8Array(WELL_KNOWN_PORTS).fill(UDP_FLOW)
  options.udpPorts.forEach(({ port }, n) => { states[port] = UDP_PORT_FIRST + n })
  return (port) => port < WELL_KNOWN_PORTS ? states[port] : UDP_FLOW
}

/**
 * Does this change of state, an index of NEXT, come of a reset from inside that answers what the outside began? It never prolongs
 * the flow (RFC 7857 7.1): nobody there wants packets.
 */
export function isRefusal(at: number): boolean {
  const state = at >>> 4
  // @req RFC7857 7.1a
  return (state === SYN_IN || state === MID_IN) && (at & 15) === (DIR_OUT << 3 | EVENT_RST)
}

/**
 * Packets that leave the deadline of their flow as it is, indexed as NEXT: resets of a connection that is closed or reset already
 * (RFC 7857 7.1 of those from inside; a forged one from outside shall not do more), and UDP from outside if the setting says so
 * (RFC 4787 REQ-6a).
 */
export function keepsDeadline(options: Pick<EngineOptions, 'udpInboundRefresh'>): Uint8Array {
  const isUdp = (state: number) => state === UDP_FLOW || state >= UDP_PORT_FIRST
  return Uint8Array.from(NEXT, (_, at) => {
    const state = at >>> 4, isIn = (at & 8) !== 0
    return (isClosing(state) && (at & 7) === EVENT_RST) || (isUdp(state) && isIn && !options.udpInboundRefresh) ? 1 : 0
  })
}
