/**
 * What a packet meets whatever its version is: refusals and what is said about them, timers and TCP state of the flow that it
 * belongs to, limits on flows that it would open, and the rules that a direction of its flow waits for.
 */
import { reasonIndex } from '../channel/reasons.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { RST } from '../wire/tcp.ts'
import { BLOCK_OUT, DEADLINE, FLOW_BITS, INSIDE, KIND, MAPPED, PORTS } from './flows.ts'
import { PERMITTED, REFUSED, SILENT, type Firewall } from './firewall.ts'
import { type GuardParts, createGuard } from './guard.ts'
import { isReply } from './look.ts'
import { DISABLED, NO_RULE, type Rules } from './rules.ts'
import { isSecured } from './secured.ts'
import { TURNED } from './share.ts'
import { type Shared, drop as dropRow } from './shared.ts'
import {
  DIR_IN, DIR_OUT, EVENT, EVENT_SYN, NEXT, STATE_OF, isEstablished, isRefusal, keepsDeadline, openingState, timeoutsByState,
  udpStates,
} from './tcp-state.ts'
import { SEGMENT_ASIDE, SEGMENT_GOOD } from './tcp-window.ts'

const FILTERED = reasonIndex('filtered'), DENIED = reasonIndex('denied')
const TCP_MIDSTREAM = reasonIndex('tcp-midstream')
const DENIED_BY_FIREWALL = reasonIndex('denied-by-firewall'), DENIED_BY_RULE = reasonIndex('denied-by-rule')
const ICMP = 1, IPIP = 4, TCP = 6, UDP = 17, IP6IP = 41, ICMP6 = 58

export interface AdmissionParts extends Omit<GuardParts, 'unavailing'> {
  /** The time of the packet that is decided, one word. */
  now: Int32Array
  rules: Rules
  firewall: Firewall
  /** Tell the sender of a row why it was dropped. */
  prohibited(i: number, nowMs: number): void
  unavailable(i: number, nowMs: number): void
  /** Puts back what twice-NAT has replaced in a row. */
  restore(i: number): void
}

export type Admission = ReturnType<typeof createAdmission>

export function createAdmission(shared: Shared, parts: AdmissionParts) {
  const { options, frames, rows, flows, share } = shared
  const { view, off, capBytes, l3, netBytes } = frames
  const { local: localColumn, ports: portsColumn, kind: kindColumn, l4: l4Column } = rows
  const { F, find6, hash6, hosts, schedule } = flows
  const { now: $now, key: $key, halfOpen, windows, prohibited, unavailable, restore } = parts
  const { inboundPermit, tcpMidstream } = options
  const { consult4, consult6, adopt, unblock, isBound } = parts.rules
  const { ask4, ask6, remember: rememberOpener } = parts.firewall
  const { judge } = windows
  const guard = createGuard(shared, { ...parts, unavailing })
  const { leave: leaveHalfOpen } = guard
  const timeouts = timeoutsByState(options)
  const keeps = keepsDeadline(options)
  const udpState = udpStates(options)
  const isBounded = halfOpen.isOn, isWindowed = windows.isOn, areHostsLimited = hosts.isOn

  function drop(i: number, reason: number): void {
    dropRow(shared, i, reason)
  }

  function refuse(i: number, reason: number): 0 {
    drop(i, reason)
    return 0
  }

  /** Drops row i, from outside, which nobody inside has asked for. */
  function unsolicited(i: number, reason: number): 0 {
    guard.unsolicited(i, reason, $now[0])
    return 0
  }

  /** Drops row i and says so to its sender (RFC 5508 REQ-8), who is shown the packet as it came. */
  function prohibit(i: number, reason: number): 0 {
    // @req RFC5508 REQ-8
    drop(i, reason)
    restore(i)
    prohibited(i, $now[0])
    return 0
  }

  /** The same of row i, from inside, which lacks room or meets a limit: it may be better luck later. */
  function unavailing(i: number, reason: number): 0 {
    // @req RFC6888 REQ-11, REQ-11a, REQ-11b
    drop(i, reason)
    restore(i)
    unavailable(i, $now[0])
    return 0
  }

  /** A packet of the flow at `base` passed in direction `dir`. What is not TCP has a state that no event changes. */
  function refresh(base: number, dir: number, l4: number): void {
    const state = (F[base + KIND] >>> 8) & 255
    const at = (state << 4) | (dir << 3) | EVENT[view.getUint8(l4 + 13) & 31]
    const next = NEXT[at]
    if (next !== state) return enter(base, next, isRefusal(at))
    // @req RFC4787 REQ-6
    // @req RFC7857 7a, 7b, 7.1b
    if (keeps[at] === 0) F[base + DEADLINE] = $now[0] + timeouts[state]
  }

  function enter(base: number, state: number, refused: boolean): void {
    F[base + KIND] = (F[base + KIND] & ~0xff00) | (state << 8)
    if (isBounded && isEstablished(state)) leaveHalfOpen(base >>> FLOW_BITS)
    const deadline = $now[0] + timeouts[state] | 0
    if (refused && ((F[base + DEADLINE] - deadline) | 0) < 0) return
    F[base + DEADLINE] = deadline
    // The deadline may have moved earlier, which the wheel must be told.
    schedule(base >>> FLOW_BITS)
  }

  /**
   * Row i is a packet of the flow at `base`, and its timer and state follow it. False: by its sequence number it is none, and was
   * dropped. Where numbers are not looked at, the compiler leaves nothing of the question.
   */
  function advance(i: number, base: number, dir: number): boolean {
    if (isWindowed && (kindColumn[i] & 255) === TCP) {
      const judged = judge(i, base >>> FLOW_BITS, dir, (F[base + KIND] >>> 8) & 255)
      if (judged > 0) drop(i, judged)
      if (judged !== SEGMENT_GOOD) return judged === SEGMENT_ASIDE
    }
    refresh(base, dir, l4Column[i])
    return true
  }

  /**
   * State of the flow that row i would open, or -1 if it may open none, and was dropped. `keep`: see guard.ts. `inside`: the IPv4
   * host whose flow it would be; of IPv6 it is in $key.
   */
  function opening(i: number, dir: number, keep: number, inside: number): number {
    const protocol = kindColumn[i] & 255
    if (protocol !== TCP) {
      if (areHostsLimited && !mayHaveMore(i, dir, inside)) return -1
      return protocol === UDP && dir === DIR_OUT ? udpState(portsColumn[i] & 0xffff) : STATE_OF[dir << 8 | protocol]
    }
    const flags = view.getUint8(l4Column[i] + 13)
    const event = EVENT[flags & 31]
    if ((flags & RST) !== 0 || (!tcpMidstream && event !== EVENT_SYN)) return refuse(i, TCP_MIDSTREAM) - 1
    if (areHostsLimited && !mayHaveMore(i, dir, inside)) return -1
    if (!guard.admit(i, dir, keep)) return -1
    return openingState(dir, event)
  }

  /** May the host have the flow that row i would open? If not the row was dropped. */
  function mayHaveMore(i: number, dir: number, inside: number): boolean {
    const isSix = kindColumn[i] >>> 8 === 6
    const reason = hosts.refusal(isSix ? 6 : 4, isSix ? $key[0] : inside, isSix ? $key[1] : 0, dir, $now[0])
    if (reason < 0) return true
    if (dir === DIR_OUT) unavailing(i, reason)
    else drop(i, reason)
    return false
  }

  /** Row i has opened the flow `slot`; rule and firewall rule that said so are known. */
  function opened(i: number, slot: number, dir: number, rule: number, keep: number): void {
    rememberOpener(slot, dir, rule)
    adopt(slot, dir, rule)
    guard.opened(i, slot, dir, keep)
    if (!areHostsLimited || dir !== DIR_OUT) return
    const base = slot << FLOW_BITS, version = F[base + KIND] >>> 24
    hosts.charge(version, F[base], version === 6 ? F[base + 1] : 0)
  }

  /** Is row i the answer to an ICMP query? */
  function isIcmpReply(i: number): boolean {
    const kind = kindColumn[i]
    if (kind === (4 << 8 | ICMP)) return isReply(4, icmp.type(view, l4Column[i]))
    return kind === (6 << 8 | ICMP6) && isReply(6, icmp.type(view, l4Column[i]))
  }

  /** Row i found its flow: a blocked direction asks the rules. 0: dropped. */
  function meet(i: number, slot: number, dir: number): number {
    const base = slot << FLOW_BITS
    if ((F[base + KIND] & (BLOCK_OUT << dir)) !== 0) {
      const isNat = (F[base + KIND] & MAPPED) !== 0
      const rule = F[base + KIND] >>> 24 === 4 ? consult4(i, dir, F[base + INSIDE], F[base + PORTS], isBound(slot))
        : consult6(i, dir, $key, portsColumn[i])
      if (rule === DISABLED) return refuse(i, DENIED_BY_RULE)
      if (rule === NO_RULE) {
        const said = F[base + KIND] >>> 24 === 4 ? ask4(i, dir, F[base + INSIDE], F[base + PORTS])
          : ask6(i, dir, $key, portsColumn[i])
        if (said === REFUSED) return refuse(i, DENIED_BY_FIREWALL)
        if (said === SILENT) return refuse(i, dir === DIR_IN && isNat ? FILTERED : DENIED)
      }
      unblock(slot, dir, rule)
    }
    return advance(i, base, dir) ? slot : 0
  }

  /**
   * State of a new flow from outside, or hairpinned by way of `keep`, where no NAT stands in its way, or -1: dropped. Row i is no
   * answer to a query.
   */
  function admitFromOutside(i: number, rule: number, keep: number): number {
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE) - 1
    const said = rule !== NO_RULE ? PERMITTED : kindColumn[i] >>> 8 === 4 ? ask4(i, DIR_IN, localColumn[i], portsColumn[i])
      : ask6(i, DIR_IN, $key, portsColumn[i])
    if (said === REFUSED) return refuse(i, DENIED_BY_FIREWALL) - 1
    // The policy is about the outside: a host inside may reach another one by its outside address (RFC 6296 4.3).
    if (said === SILENT && !inboundPermit && keep === 0 && !isTurned(i) && !isWelcome(i)) return unsolicited(i, DENIED) - 1
    return opening(i, DIR_IN, keep, localColumn[i])
  }

  /** Has another worker turned row i round? */
  function isTurned(i: number): boolean {
    return share !== null && frames.iface[i] === TURNED
  }

  /** Is row i an IPv6 packet that may open a flow from outside, whatever the policy is? */
  function isWelcome(i: number): boolean {
    if (kindColumn[i] >>> 8 !== 6) return false
    const protocol = kindColumn[i] & 255
    // @req RFC4890 4.3.1b, 4.3.2b
    if (protocol === ICMP6) return options.echo6 === true
    // @req RFC6092 REC-29
    if (protocol === IPIP || protocol === IP6IP) return isMobile()
    const end = Math.min(off[i] + capBytes[i], l3[i] + netBytes[i])
    return options.ipsec6 === true && isSecured(view, l3[i], end, l4Column[i], protocol)
  }

  /** Have the ends in $key a flow of mobility headers, to which a tunnel belongs? */
  function isMobile(): boolean {
    const kind = 6 << 8 | ipv6.MOBILITY
    return find6(hash6($key[0], $key[1], $key[2], $key[3], $key[4], $key[5], $key[6], $key[7], 0, kind), $key, 0, kind) !== 0
  }

  return {
    drop, refuse, unsolicited, prohibit, unavailing, advance, opening, opened, isIcmpReply, meet, admitFromOutside,
    leaveHalfOpen,
  }
}
