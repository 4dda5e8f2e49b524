/**
 * What TCP does when a flow is opened, or is not: half-open flows are bounded (half-open.ts), unsolicited SYNs wait for the other
 * end (held-syns.ts), sequence numbers begin (tcp-window.ts). A packet of a known flow comes here only when its connection opens.
 */
import { counterIndex } from '../channel/counters.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { SIDE_OUTSIDE } from '../wire/frames.ts'
import * as tcp from '../wire/tcp.ts'
import { FLOW_BITS, INSIDE, KIND, MAPPED, OUTSIDE, OUTSIDE_PORTS, PEER, PORTS } from './flows.ts'
import type { HalfOpen } from './half-open.ts'
import type { HeldSyns } from './held-syns.ts'
import { type Shared, drop } from './shared.ts'
import { DIR_OUT, EVENT, EVENT_SYN } from './tcp-state.ts'
import type { Windows } from './tcp-window.ts'

const HALF_OPEN_SOURCE = reasonIndex('half-open-source'), HALF_OPEN_FULL = reasonIndex('half-open-full')
const TCP = 6

export interface GuardParts {
  halfOpen: HalfOpen
  syns: HeldSyns
  windows: Windows
  /** Both ends of the IPv6 packet that is being decided: the one on our side first. */
  key: Int32Array
  /** Drops a row, from inside, and tells its sender that there is no room for it. */
  unavailing(i: number, reason: number): void
}

export function createGuard(shared: Shared, { halfOpen, syns, windows, key, unavailing }: GuardParts) {
  const { options, frames, rows, flows, counters } = shared
  const { view, side } = frames
  const { kind: kindColumn, local: localColumn, peer: peerColumn, l4: l4Column } = rows
  const { F, remove } = flows
  const isBounded = halfOpen.isOn, isWindowed = windows.isOn, holdsSyns = options.heldSyns > 0
  const HALF_OPEN = counterIndex('half-open-current'), HALF_OPEN_EVICTED = counterIndex('half-open-evicted')
  const EVICTED = counterIndex('flows-evicted')
  const keepsFlows = options.keepsFlows ?? false

  /** The source that opens the flow of row i: the words of it that are counted. An IPv6 host has a /64 to itself. */
  function sourceWord(i: number, dir: number, word: number): number {
    if (kindColumn[i] >>> 8 === 6) return key[(dir << 2) + word]
    return word !== 0 ? 0 : dir === DIR_OUT ? localColumn[i] : peerColumn[i]
  }

  /**
   * Makes room for the flow that row i, a TCP segment, would open; false if there is none, or its source has as many half-open ones
   * as it may, and the row was dropped. `keep` is the flow by which it was hairpinned, or 0: then its source was counted there.
   */
  function admit(i: number, dir: number, keep: number): boolean {
    if (!isBounded) return true
    if (keep === 0 && halfOpen.isSourceFull(kindColumn[i] >>> 8, sourceWord(i, dir, 0), sourceWord(i, dir, 1))) {
      return refuse(i, dir, HALF_OPEN_SOURCE)
    }
    if (!halfOpen.isFull()) return true
    if (keepsFlows) return refuse(i, dir, HALF_OPEN_FULL)
    const oldest = halfOpen.victim(keep)
    if (oldest !== 0) {
      counters[EVICTED]++
      counters[HALF_OPEN_EVICTED]++
      remove(oldest)
    }
    return true
  }

  function refuse(i: number, dir: number, reason: number): false {
    if (dir === DIR_OUT) unavailing(i, reason)
    else drop(shared, i, reason)
    return false
  }

  /** Row i has opened the flow `slot`. */
  function opened(i: number, slot: number, dir: number, keep: number): void {
    if ((kindColumn[i] & 255) !== TCP) return
    if (isBounded) {
      halfOpen.enter(slot, keep === 0 ? kindColumn[i] >>> 8 : 0, sourceWord(i, dir, 0), sourceWord(i, dir, 1))
      counters[HALF_OPEN] = halfOpen.count()
    }
    if (isWindowed) windows.begin(i, slot, dir)
    if (holdsSyns && dir === DIR_OUT) solicit(i, slot << FLOW_BITS)
  }

  /** The other end of this connection may have sent its SYN already. */
  function solicit(i: number, base: number): void {
    if (kindColumn[i] >>> 8 === 6) return syns.solicited6(i)
    const peerPort = F[base + PORTS] & 0xffff
    if ((F[base + KIND] & MAPPED) !== 0) {
      return syns.solicited4(F[base + OUTSIDE], F[base + OUTSIDE_PORTS] >>> 16, F[base + PEER], peerPort)
    }
    syns.solicited4(F[base + INSIDE], F[base + PORTS] >>> 16, F[base + PEER], peerPort)
  }

  /** A flow is open now, or ends: it is not half-open. */
  function leave(slot: number): void {
    halfOpen.leave(slot)
    counters[HALF_OPEN] = halfOpen.count()
  }

  /** Drops row i, which nobody inside has asked for. If it is a SYN from outside, it waits whether somebody does. */
  function unsolicited(i: number, reason: number, nowMs: number): void {
    drop(shared, i, reason)
    // @req RFC6092 REC-34
    // @req RFC6092 REC-39 no[an INIT is dropped in silence]
    // @req RFC5382 REQ-4, REQ-4a
    if (!holdsSyns || side[i] !== SIDE_OUTSIDE || (kindColumn[i] & 255) !== TCP) return
    if (EVENT[tcp.flags(view, l4Column[i]) & 31] === EVENT_SYN) syns.hold(i, nowMs)
  }

  return { admit, opened, leave, unsolicited }
}
