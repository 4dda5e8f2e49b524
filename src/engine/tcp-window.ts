/**
 * Sequence numbers of TCP flows (docs/behaviour.md, TCP windows), after G. van Rooij, "Real stateful TCP packet filtering in IP
 * Filter", with what RFC 5961 asks of resets and of SYNs within a connection. A flow has a line of 64 bytes of its own for that,
 * beside its record, so that a box that does not look at sequence numbers does not pay for them. Selective acknowledgements are not
 * read: they only ever repeat what was sent. All comparisons are modulo 2^32.
 */
import { counterIndex } from '../channel/counters.ts'
import { reasonIndex } from '../channel/reasons.ts'
import * as tcp from '../wire/tcp.ts'
import { WINDOW_STRICT } from './options.ts'
import { FIRST_FRAGMENT } from './rows.ts'
import type { Shared } from './shared.ts'
import { DIR_OUT, FIN_BOTH, MID_IN, MID_OUT, RESET, SYN_IN, SYN_OUT, isEstablished } from './tcp-state.ts'

const OUT_OF_WINDOW = reasonIndex('tcp-out-of-window'), BAD_ACK = reasonIndex('tcp-bad-ack')
const RST_OUT_OF_WINDOW = reasonIndex('tcp-rst-out-of-window'), SYN_IN_WINDOW = reasonIndex('tcp-syn-in-window')

/** Verdicts beside the reasons to drop, which are above 0: it belongs to the connection; it passes and nothing follows it. */
export const SEGMENT_GOOD = 0, SEGMENT_ASIDE = -1

// A flow is 16 words, eight for each direction.
const FLOW_BITS = 4, SIDE_BITS = 3
/** One past the last sequence number that this end has sent; the first that it may not send yet. */
const END = 0, EDGE = 1
/** The largest window that it has offered. */
const MAX = 2
/** The latest that it has acknowledged. */
const ACKED = 3
/** Its window scale (RFC 7323): 14, the largest, where its SYN was not seen. */
const SCALE = 4
/** KNOWN: it has sent; GUESSED: END is what the other end has acknowledged; HAS_ACKED; ASKS_SCALE: its SYN had the option. */
const FLAGS = 5
const KNOWN = 1, GUESSED = 2, HAS_ACKED = 4, ASKS_SCALE = 8

const MOST_SCALE = 14, MOST_WINDOW = 0xffff << MOST_SCALE
/** An old acknowledgement may lag as much behind: an unscaled window and some segments. */
const ACK_LAG = 66_000
const OPTION_END = 0, OPTION_NOP = 1, OPTION_SCALE = 3

export type Windows = ReturnType<typeof createWindows>

export function createWindows({ options, frames, rows, counters }: Pick<Shared, 'options' | 'frames' | 'rows' | 'counters'>) {
  const { view, off, capBytes, l3, netBytes } = frames
  const isOn = options.tcpWindow !== 0
  const isStrict = options.tcpWindow === WINDOW_STRICT
  const W = new Int32Array(isOn ? (options.flows + 1) << FLOW_BITS : 0)
  const STRANGE = counterIndex('tcp-out-of-window-passed'), ASIDE = counterIndex('tcp-challenges-expected')

  function sideOf(slot: number, dir: number): number {
    return (slot << FLOW_BITS) | (dir << SIDE_BITS)
  }

  /** Shift of the window scale option of a SYN: -1 without one, 14 if the options were not captured. */
  function scaleOf(i: number): number {
    const l4 = rows.l4[i]
    const end = l4 + tcp.headerBytes(view, l4)
    const captured = Math.min(off[i] + capBytes[i], l3[i] + netBytes[i])
    for (let at = l4 + tcp.HEADER_BYTES; at < end;) {
      if (at >= captured) return MOST_SCALE
      const kind = view.getUint8(at)
      if (kind === OPTION_END) return -1
      if (kind === OPTION_NOP) {
        at++
        continue
      }
      if (at + 1 >= end) return -1
      if (at + 1 >= captured) return MOST_SCALE
      const bytes = view.getUint8(at + 1)
      if (bytes < 2 || at + bytes > end) return -1
      if (kind === OPTION_SCALE && bytes === 3) {
        return at + 2 < captured ? Math.min(view.getUint8(at + 2), MOST_SCALE) : MOST_SCALE
      }
      at += bytes
    }
    return -1
  }

  /** Sequence numbers that the segment in row i takes. */
  function lengthOf(i: number, flags: number): number {
    const l4 = rows.l4[i]
    const data = l3[i] + netBytes[i] - l4 - tcp.headerBytes(view, l4)
    return Math.max(data, 0) + ((flags & tcp.SYN) >>> 1) + (flags & tcp.FIN)
  }

  /** The first segment of a flow, or the SYN of a connection that takes the place of one that is over. */
  function begin(i: number, slot: number, dir: number): void {
    const l4 = rows.l4[i]
    const flags = tcp.flags(view, l4), window = tcp.window(view, l4)
    const own = sideOf(slot, dir), other = sideOf(slot, dir ^ 1)
    W.fill(0, slot << FLOW_BITS, (slot + 1) << FLOW_BITS)
    const isSyn = (flags & tcp.SYN) !== 0
    // Of a datagram in pieces only the first is seen here: the others may be as long as any.
    const end = tcp.seq(view, l4) + lengthOf(i, flags) + ((rows.path[i] & FIRST_FRAGMENT) !== 0 ? 0xffff : 0) | 0
    W[own + END] = end
    W[own + FLAGS] = KNOWN
    if (isSyn && (flags & tcp.ACK_FLAG) === 0) {
      const scale = scaleOf(i)
      W[own + SCALE] = Math.max(scale, 0)
      if (scale >= 0) W[own + FLAGS] |= ASKS_SCALE
      W[own + MAX] = Math.max(window, 1)
      W[own + EDGE] = end
      return
    }
    // In the middle: scales and the other window are unknown, and taken for the largest there can be.
    W[own + SCALE] = W[other + SCALE] = MOST_SCALE
    W[own + MAX] = isSyn ? Math.max(window, 1) : Math.max(window << MOST_SCALE, 1)
    W[other + MAX] = MOST_WINDOW
    W[own + EDGE] = end + MOST_WINDOW | 0
    if ((flags & tcp.ACK_FLAG) !== 0) {
      const ack = tcp.ack(view, l4)
      W[own + ACKED] = ack
      W[own + FLAGS] |= HAS_ACKED
      W[other + END] = ack
      W[other + EDGE] = ack + W[own + MAX] | 0
      W[other + FLAGS] = GUESSED
    }
  }

  /** Fills in the end that answers by its first segment. */
  function answer(i: number, own: number, other: number, flags: number, end: number, window: number): void {
    if ((flags & tcp.SYN) !== 0) {
      const scale = scaleOf(i)
      // RFC 7323 2.2: windows are scaled only if both ends have asked for it.
      const both = scale >= 0 && (W[other + FLAGS] & ASKS_SCALE) !== 0
      W[own + SCALE] = both ? scale : 0
      if (!both) W[other + SCALE] = 0
      W[own + MAX] = Math.max(window, 1)
      W[own + EDGE] = end
    } else if ((W[own + FLAGS] & GUESSED) === 0) {
      // Its SYN was not seen.
      W[own + SCALE] = W[other + SCALE] = MOST_SCALE
      W[own + MAX] = Math.max(window << MOST_SCALE, 1)
      W[own + EDGE] = end + MOST_WINDOW | 0
    }
    if ((W[own + FLAGS] & GUESSED) === 0) W[own + END] = end
    W[own + FLAGS] |= KNOWN
  }

  /**
   * Judges the segment in row i, of the flow `slot` in `state`, by what came before, and remembers it: SEGMENT_GOOD, SEGMENT_ASIDE,
   * or the reason to drop it.
   */
  function judge(i: number, slot: number, dir: number, state: number): number {
    const l4 = rows.l4[i]
    const flags = tcp.flags(view, l4)
    const isSyn = (flags & tcp.SYN) !== 0, hasAck = (flags & tcp.ACK_FLAG) !== 0
    if (isSyn && !hasAck && (flags & tcp.RST) === 0 && isFirst(state, dir)) {
      begin(i, slot, dir)
      return SEGMENT_GOOD
    }
    const own = sideOf(slot, dir), other = sideOf(slot, dir ^ 1)
    const seq = tcp.seq(view, l4), ack = tcp.ack(view, l4)
    if ((flags & tcp.RST) !== 0) return judgeReset(own, other, seq, hasAck, ack)
    if (isSyn && isEstablished(state) && (W[other + FLAGS] & HAS_ACKED) !== 0 && (W[own + FLAGS] & KNOWN) !== 0) {
      return judgeSyn(own, other, seq)
    }
    const window = isSyn ? tcp.window(view, l4) : tcp.window(view, l4) << W[own + SCALE]
    let end = seq + lengthOf(i, flags) | 0
    if ((W[own + FLAGS] & (KNOWN | GUESSED)) !== 0 && !isInWindow(own, other, seq, end)) return outside(OUT_OF_WINDOW)
    if (hasAck && (W[other + FLAGS] & KNOWN) !== 0 && !isAckGood(own, other, ack)) return outside(BAD_ACK)
    if ((W[own + FLAGS] & KNOWN) === 0) answer(i, own, other, flags, end, tcp.window(view, l4))
    // Of a datagram in pieces the first says where it begins: it may reach as far as it is allowed to.
    if ((rows.path[i] & FIRST_FRAGMENT) !== 0 && ((W[own + EDGE] - end) | 0) > 0) end = W[own + EDGE]
    if (((end - W[own + END]) | 0) > 0) W[own + END] = end
    if (window > W[own + MAX]) W[own + MAX] = window
    if (!hasAck) return SEGMENT_GOOD
    if ((W[own + FLAGS] & HAS_ACKED) === 0 || ((ack - W[own + ACKED]) | 0) > 0) W[own + ACKED] = ack
    W[own + FLAGS] |= HAS_ACKED
    if ((W[other + FLAGS] & KNOWN) === 0) {
      W[other + END] = ack
      if ((W[other + FLAGS] & GUESSED) === 0) W[other + EDGE] = ack
      if (W[other + MAX] === 0) W[other + MAX] = MOST_WINDOW
      W[other + SCALE] = MOST_SCALE
      W[other + FLAGS] |= GUESSED
    }
    // One byte more than nothing: a closed window is probed (RFC 9293 3.8.6.1).
    const edge = ack + Math.max(window, 1) | 0
    if (((edge - W[other + EDGE]) | 0) > 0) W[other + EDGE] = edge
    return SEGMENT_GOOD
  }

  /** Does a SYN from that side begin a connection, in this state? */
  function isFirst(state: number, dir: number): boolean {
    if (state === FIN_BOTH || state === RESET) return true
    return dir === DIR_OUT ? state === SYN_OUT || state === MID_OUT : state === SYN_IN || state === MID_IN
  }

  function isInWindow(own: number, other: number, seq: number, end: number): boolean {
    return ((seq - W[own + EDGE]) | 0) <= 0 && ((end - W[own + END]) | 0) >= -Math.max(W[other + MAX], 1)
  }

  function isAckGood(own: number, other: number, ack: number): boolean {
    const ahead = (ack - W[other + END]) | 0
    return ahead <= 0 && ahead >= -Math.max(W[own + MAX], ACK_LAG)
  }

  /** What only the strict box drops. The other one follows its flags, but learns nothing from its numbers. */
  function outside(reason: number): number {
    if (isStrict) return reason
    counters[STRANGE]++
    return SEGMENT_GOOD
  }

  // @req RFC7857 2.2c
  function judgeReset(own: number, other: number, seq: number, hasAck: boolean, ack: number): number {
    // In answer to a SYN a reset has no number of its own: its acknowledgement tells (RFC 9293 3.10.7.3).
    if ((W[own + FLAGS] & (KNOWN | GUESSED)) === 0) {
      return hasAck && ack === W[other + END] ? SEGMENT_GOOD : RST_OUT_OF_WINDOW
    }
    // What the other end has acknowledged it does not expect again (RFC 5961 3.2).
    const isPast = (W[other + FLAGS] & HAS_ACKED) !== 0 && ((seq - W[other + ACKED]) | 0) < 0
    if (isPast || !isInWindow(own, other, seq, seq)) return RST_OUT_OF_WINDOW
    if (!isStrict || seq === W[own + END] || ((W[other + FLAGS] & HAS_ACKED) !== 0 && seq === W[other + ACKED])) return SEGMENT_GOOD
    // RFC 5961 3.2: its receiver challenges it; the answer to that comes with the right number.
    counters[ASIDE]++
    return SEGMENT_ASIDE
  }

  /** A SYN in an open connection: its receiver challenges it (RFC 5961 4.2), older ones reset if it lies in the window. */
  function judgeSyn(own: number, other: number, seq: number): number {
    if (isStrict && ((seq - W[other + ACKED]) | 0) >= 0 && ((seq - W[own + EDGE]) | 0) < 0) return SYN_IN_WINDOW
    counters[ASIDE]++
    return SEGMENT_ASIDE
  }

  return { isOn, begin, judge, bytes: W.byteLength }
}
