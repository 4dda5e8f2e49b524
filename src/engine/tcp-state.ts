/**
 * The state of a flow, which chooses its timer. TCP (RFC 5382 REQ-5) goes after the state machine of RFC 6146 3.5.2, with two more
 * states for connections whose SYN was not seen. Every other protocol has one state that nothing changes, so that the packet path
 * need not ask which protocol it has. Tables are built once; the packet path only indexes them.
 */
import type { EngineOptions } from './options.ts'
import { ACK_FLAG, FIN, RST, SYN } from '../wire/tcp.ts'

export const SYN_OUT = 1, SYN_IN = 2, MID_OUT = 3, MID_IN = 4
export const ESTABLISHED = 5, FIN_OUT = 6, FIN_IN = 7, FIN_BOTH = 8, RESET = 9
/** Not TCP. */
export const UDP_FLOW = 10, ICMP_FLOW = 11, OTHER_FLOW = 12
const STATES = 16

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
// @req RFC7857 2
function nextState(state: number, dir: number, event: number): number {
  const forth = dir === DIR_OUT
  // "Own" is the side that opened the connection, for the four opening states.
  const own = state === SYN_OUT || state === MID_OUT ? forth : !forth
  switch (state) {
    case SYN_OUT: case SYN_IN: case MID_OUT: case MID_IN:
      // @req RFC7857 2.2a, 2.2b
      // @req RFC7857 2.2c no[sequence numbers are not checked]
      // @req RFC7857 7.1a partly[an RST from inside that answers a SYN from outside prolongs]
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

/** States that live by the established timer; all others by the transitory one. */
export function isEstablished(state: number): boolean {
  return state === ESTABLISHED || state === FIN_OUT || state === FIN_IN
}

/** States whose deadline is set by the packet that enters them and by no other. */
export function isClosing(state: number): boolean {
  return state === FIN_BOTH || state === RESET
}

/** Idle time by state, in milliseconds. */
export function timeoutsByState(options: EngineOptions): Int32Array {
  const timeouts = new Int32Array(STATES).fill(options.tcpTransitoryMs)
  for (let state = 0; state < STATES; state++) if (isEstablished(state)) timeouts[state] = options.tcpEstablishedMs
  timeouts[UDP_FLOW] = options.udpMs
  timeouts[ICMP_FLOW] = options.icmpQueryMs
  timeouts[OTHER_FLOW] = options.otherMs
  return timeouts
}

/** The one state of protocols other than TCP, by protocol. */
export const STATE_OF = new Uint8Array(256).fill(OTHER_FLOW)
STATE_OF[17] = STATE_OF[136] = UDP_FLOW
STATE_OF[1] = STATE_OF[58] = ICMP_FLOW
