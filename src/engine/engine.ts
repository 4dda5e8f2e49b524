/**
 * The engine: decides one packet at a time what docs/behaviour.md says, and rewrites it in place. It knows bytes, flows and
 * virtual time; it knows no device, no configuration file and no policy.
 *
 * Use: fill rows of `frames`, `lookAhead(count)`, then `forward(i, nowMs)` for each row in order; after each, the frames in
 * `extras` leave too. Build it once in a program and keep it: tables and functions are constants of this closure, and the compiler
 * treats them as such only while there is one of it (a second engine is right, but slower).
 */
import { type Counters, counterIndex } from '../channel/counters.ts'
import { createNpt6, type Npt6 } from '../channel/npt6.ts'
import { createPairing } from '../channel/pairing.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { createTokenBucket } from '../storage/token-bucket.ts'
import { type Frames, SIDE_INSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { RST } from '../wire/tcp.ts'
import { createCommands } from './commands.ts'
import { type Extras, HOLD_BYTES, REPLY_BYTES, createExtras } from './extras.ts'
import {
  BLOCK_OUT, CONFLICT, DEADLINE, DELTA, FLOW_BITS, HAIRPIN, INSIDE, KIND, MAPPED, NO_PORT, NO_ROOM, OUTSIDE, OUTSIDE_PORTS, PEER,
  PORTS, RULED, TOO_MANY_PORTS, TWICE, createFlows, type Flows,
} from './flows.ts'
import { CLASS_ICMP, CLASS_NONE, CLASS_OF, CLASS_TCP, CLASSES } from './ports.ts'
import { createEgress, egressBytes, egressExtras } from './egress.ts'
import { createEnds } from './ends.ts'
import { aliasAddresses, createFixedNat, fixedAddresses } from './fixed-nat.ts'
import { PERMITTED, REFUSED, SILENT, createFirewall, type Firewall } from './firewall.ts'
import type { RuleSet } from './firewall-set.ts'
import { createFragments } from './fragments.ts'
import { createGuard } from './guard.ts'
import { createHalfOpen } from './half-open.ts'
import { HELD_SYN_BYTES, createHeldSyns, type HeldSyns } from './held-syns.ts'
import { createIcmpError } from './icmp-error.ts'
import { createIcmpReply } from './icmp-reply.ts'
import { FOUND_ADDRESS, FOUND_FIXED, FOUND_PORT, createInsideBindings } from './inside-bindings.ts'
import { createLook, isReply } from './look.ts'
import { plainNat } from './nat-options.ts'
import { type EngineOptions, FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT } from './options.ts'
import { type Pool, createPool } from './pool.ts'
import { createPrefixGate, createPrefixes } from './prefixes.ts'
import {
  EGRESS, FIRST_FRAGMENT, NO_PATH, PATH_4, PATH_4_ERROR, PATH_4_OTHER, PATH_4_PLAIN, PATH_6, PATH_6_ERROR, PATH_DROP,
  PATH_EXPIRED, PATH_LATER, createRows, type Rows,
} from './rows.ts'
import { createRuleLinks } from './rule-links.ts'
import { DISABLED, NO_RULE, createRules } from './rules.ts'
import { createShare, TURNED, type Share } from './share.ts'
import { type Shared, drop as dropRow } from './shared.ts'
import {
  DIR_IN, DIR_OUT, EVENT, EVENT_SYN, NEXT, STATE_OF, isEstablished, isRefusal, keepsDeadline, openingState, timeoutsByState,
  udpStates,
} from './tcp-state.ts'
import { isSecured } from './secured.ts'
import { SEGMENT_ASIDE, SEGMENT_GOOD, createWindows } from './tcp-window.ts'

const TTL_EXCEEDED = reasonIndex('ttl-exceeded')
const INSIDE_TO_INSIDE = reasonIndex('inside-to-inside'), OUTSIDE_TO_OUTSIDE = reasonIndex('outside-to-outside')
const NO_MAPPING = reasonIndex('no-mapping'), FILTERED = reasonIndex('filtered'), NO_STATE = reasonIndex('no-state')
const DENIED = reasonIndex('denied'), TCP_MIDSTREAM = reasonIndex('tcp-midstream')
const DENIED_BY_FIREWALL = reasonIndex('denied-by-firewall')
const DENIED_BY_RULE = reasonIndex('denied-by-rule'), MARTIAN_SOURCE = reasonIndex('martian-source')
const ICMP_RATE = reasonIndex('icmp-rate'), FRAGMENT_RATE = reasonIndex('fragment-rate')
const FLOW_TABLE_FULL = reasonIndex('flow-table-full'), PROTOCOL_CONFLICT = reasonIndex('protocol-conflict')
/** Why no flow could be opened, by the negative of what `Flows` says. */
const WHY_NOT: number[] = []
WHY_NOT[-NO_PORT] = reasonIndex('no-outside-port')
WHY_NOT[-CONFLICT] = PROTOCOL_CONFLICT
WHY_NOT[-NO_ROOM] = FLOW_TABLE_FULL
WHY_NOT[-TOO_MANY_PORTS] = reasonIndex('host-ports')

const ICMP = 1, IPIP = 4, TCP = 6, UDP = 17, DCCP = 33, IP6IP = 41, ICMP6 = 58, UDP_LITE = 136
/** Where the transport checksum that covers the addresses lies, or ICMP's; 0: there is none. */
const CHECKSUM_AT = new Uint8Array(256)
CHECKSUM_AT[TCP] = 16
CHECKSUM_AT[UDP] = CHECKSUM_AT[DCCP] = CHECKSUM_AT[UDP_LITE] = 6
CHECKSUM_AT[ICMP] = 2

/** The other zero of one's complement: an identifier that stays has this delta on its way out, so on its way in as well. */
const NO_CHANGE = 0xffff
/** What one hop less does to the sum of an IPv4 header: ~0x0100 in the word of the TTL. */
const HOP_DELTA = 0xfeff

export interface Engine {
  lookAhead(count: number): void
  /** Looks again at one row that was changed after `lookAhead`. */
  look(i: number): void
  /** Decides row i: verdict, reason, rewritten bytes. `nowMs` (int32, modulo 2^32) never goes back. */
  forward(i: number, nowMs: number): void
  /** Frames that leave because of the last row, after it. */
  readonly extras: Extras
  /** Drops what is still held. */
  finish(): void
  /**
   * Deals with the oldest unsolicited SYN whose silence is over; false: there is none. Its answer, if it gets one, is alone in
   * `extras` (EXTRA_LATE_REPLY), and `lateAbout` tells of the frame that it answers. Before time moves on it is called until it is
   * false.
   */
  late(nowMs: number): boolean
  readonly lateAbout: HeldSyns['about']
  /** SYNs that wait. */
  readonly heldSyns: () => number
  /** Removes flows and datagrams whose time is over. `forward` does it by itself. */
  expire(nowMs: number): void
  /**
   * Between packets: examines flows after a replacement of firewall rules, then carries out what is in the ring of
   * `options.midcom`.
   * At most about `budget` units of work, of which each takes well under a microsecond. True while more is left.
   */
  applyCommands(nowMs: number, budget: number): boolean
  /** Replaces the firewall rules: they count from the next packet on, and `applyCommands` examines the flows that are there. */
  replaceRules(set: RuleSet): void
  readonly firewall: Firewall
  readonly rows: Rows
  readonly flows: Flows
  readonly pool: Pool
  /** null: no IPv6 prefix is translated. */
  readonly npt6: Npt6 | null
  /** null: there is one worker. */
  readonly share: Share | null
  /** Does a packet from this peer reach this inside endpoint by its own address? `hasPorts` false: by addresses alone. */
  isUntranslated(protocol: number, local: number, peer: number, ports: number, hasPorts: boolean): boolean
  /** See icmp-error.ts: gives the packet that row i quotes another source or destination. */
  rewriteQuote(
    i: number, e: number, addressAt: number, l4: number, protocol: number, address: number, port: number, portAt: number,
  ): void
  /** What can be asked about the last row: the rule that a flow belongs to in a direction (0: none), and the last one looked at. */
  readonly ruleOf: (slot: number, dir: number) => number
  readonly ruleDecided: Int32Array
  /** Bytes of all flow tables, port bindings included. */
  readonly tableBytes: number
  /** Bytes of everything else that rules take, now. */
  readonly ruleBytes: () => number
}

/** Bytes of the frame pool that the engine needs for itself, from `scratchStart` on. */
export function engineScratchBytes(options: Pick<EngineOptions, 'fragmentHold' | 'heldSyns' | 'mtuInside' | 'mtuOutside'>): number {
  return options.fragmentHold * HOLD_BYTES + REPLY_BYTES + options.heldSyns * HELD_SYN_BYTES + egressBytes(options)
}

// @req RFC6888 REQ-1 partly[DCCP is forwarded as a protocol without ports]
// @req RFC6888 REQ-1a, REQ-1b, REQ-1c
// @req RFC6888 REQ-1d no[DCCP is forwarded as a protocol without ports]
export function createEngine(options: EngineOptions, frames: Frames, counters: Counters): Engine {
  const midcom = options.midcom ?? null
  const nat = (options.nat44 ? options.nat : null) ?? plainNat(options.pool.length)
  const fixed = fixedAddresses(nat, options.pool)
  const sharedAddresses = options.nat44 ? [...options.pool, ...fixed.ported] : []
  const wholeAddresses = options.nat44 ? [...midcom?.addresses ?? [], ...fixed.whole] : []
  const pool = createPool([...sharedAddresses, ...wholeAddresses], options.seed | 0, sharedAddresses.length,
    createPairing(nat.pools, options.seed | 0))
  const firstStatic = pool.size - fixed.whole.length
  const links = createRuleLinks(options.flows, midcom?.rules ?? 0)
  const halfOpen = createHalfOpen(options)
  const flows = createFlows(options, pool, counters, links.unlinkFlow, halfOpen.isOn ? (slot) => leaveHalfOpen(slot) : null)
  const rows = createRows(frames.capacity)
  const extras = createExtras(egressExtras(options))
  const npt6 = (options.npt6?.length ?? 0) === 0 ? null : createNpt6(options.npt6!)
  const share = createShare(options, pool, flows)
  const shared: Shared = { options, frames, counters, rows, pool, flows, extras, npt6, share }
  const { look, lookAhead } = createLook(shared)
  const replyStart = options.scratchStart + options.fragmentHold * HOLD_BYTES
  const {
    timeExceeded, prohibited, unavailable, refuseSyn, tooBig, noRoute, badSource, badField,
  } = createIcmpReply(shared, replyStart)
  const {
    before: beforeEgress, after: afterEgress, afterReleased, identification, setIdentification,
  } = createEgress(shared, replyStart + REPLY_BYTES + options.heldSyns * HELD_SYN_BYTES, tooBig)
  const { arrive, first, later, expire: expireFragments, finish, reclaim } = createFragments(shared, options.scratchStart)
  const insidePool = options.nat44 ? [...midcom?.insidePool ?? [], ...aliasAddresses(nat)] : []
  const insideBindings = createInsideBindings(insidePool, options.seed | 0)
  const { isUntranslated, mayBeUntranslated, admits } = createFixedNat(nat, flows, insideBindings, options.seed | 0)
  const rules = createRules(shared, links)
  const firewall = createFirewall(shared, links, rules)
  const { out4: errorOut4, in4: errorIn4, pass6: error6, rewriteQuote } = createIcmpError(shared, insideBindings, firewall.standing)
  const commands = createCommands(shared, rules, insideBindings)

  const { view, off, capBytes, l3, side, netBytes, verdict } = frames
  const { path, local: localColumn, peer: peerColumn, ports: portsColumn, kind: kindColumn, l4: l4Column } = rows
  const { word2: word2Column, hash: hashColumn, hint: hintColumn } = rows
  const { F, portOwner, addressOwner, isBinding, isForward, hash4, find4, find6, findMapping, findPeer, schedule } = flows
  const { openOut, openIn, openPlain4, open6, hash6, remove, hosts } = flows
  const { expire: expireFlows } = flows
  const { has4, has6 } = options.inside
  const { indexOf } = pool
  const { nat44, filtering, hairpinning, outboundPermit, inboundPermit, tcpMidstream } = options
  const HAIRPINS = counterIndex('hairpin-packets'), RULE_FLOWS_ENDED = counterIndex('rule-flows-ended')
  const { consult4, consult6, adopt, unblock, isBound, count } = rules
  const { ask4, ask6, refusesLater, remember: rememberOpener, standing } = firewall
  const isTwice = insidePool.length !== 0
  const { has: hasInside, toPeer, toInside, found } = insideBindings
  const { replaceEnd, remember, restore, forget } = createEnds(shared, updateSum)
  const tcpFiltering = options.tcpFiltering ?? filtering
  const $key = new Int32Array(8)
  const $seen = new Int32Array(8)
  const prefixes = npt6 === null ? null : createPrefixes(frames, npt6)
  const gate = npt6 === null ? null : createPrefixGate(shared, { key: $key, seen: $seen, noRoute, badSource, badField })
  const timeouts = timeoutsByState(options)
  const keeps = keepsDeadline(options)
  const udpState = udpStates(options)
  const syns = createHeldSyns(shared, replyStart + REPLY_BYTES, replyStart, refuseSyn)
  const windows = createWindows(shared)
  const { judge } = windows
  const guard = createGuard(shared, { halfOpen, syns, windows, key: $key, unavailing })
  const { leave: leaveHalfOpen } = guard
  const isBounded = halfOpen.isOn, isWindowed = windows.isOn, areHostsLimited = hosts.isOn
  const isIcmpBounded = options.icmpPerSecond > 0, areFragmentsBounded = options.fragmentsPerSecond > 0
  const { take: takeIcmp } = createTokenBucket(options.icmpPerSecond)
  const { take: takeFragment } = createTokenBucket(options.fragmentsPerSecond)

  // The present, in a typed array: a variable that changes is checked and untagged wherever it is read.
  const $now = new Int32Array(1)
  // The path whose rows need no more than their flow: PATH_4, or none while firewall rules are being replaced.
  const $direct = Int32Array.of(PATH_4)

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
    if (isTwice) restore(i)
    prohibited(i, $now[0])
    return 0
  }

  /** The same of row i, from inside, which lacks room or meets a limit: it may be better luck later. */
  function unavailing(i: number, reason: number): 0 {
    // @req RFC6888 REQ-11, REQ-11a, REQ-11b
    drop(i, reason)
    if (isTwice) restore(i)
    unavailable(i, $now[0])
    return 0
  }

  function expire(nowMs: number): void {
    $now[0] = nowMs
    expireFlows(nowMs)
    expireFragments(nowMs)
  }

  function late(nowMs: number): boolean {
    if (extras.count() !== 0) {
      extras.clear()
      reclaim()
    }
    return syns.late(nowMs)
  }

  function applyCommands(nowMs: number, budget: number): boolean {
    if (nowMs !== $now[0]) expire(nowMs)
    const left = firewall.isChanging() ? firewall.sweep(budget) : budget
    if (firewall.isChanging()) return true
    $direct[0] = PATH_4
    return commands.apply(nowMs, left)
  }

  function replaceRules(set: RuleSet): void {
    firewall.replace(set)
    $direct[0] = NO_PATH
  }

  /* Timers and state. */

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

  /* IPv4 with NAT. */

  /**
   * UDP or TCP, either direction. `dir` selects the face of the flow that the packet shows, and by its complement the one it gets:
   * there is no branch on direction or protocol before the checksum, because a forwarder cannot foretell either.
   */
  function pass4(i: number): void {
    const dir = side[i]
    const base = hintColumn[i] << FLOW_BITS
    // Version and protocol, and the direction is not blocked.
    if (F[base + dir] === localColumn[i] && F[base + PEER] === peerColumn[i] && F[base + PORTS + dir] === portsColumn[i]
      && (F[base + KIND] & (~0xffff | (BLOCK_OUT << dir))) === kindColumn[i] << 16) {
      if (advance(i, base, dir)) translate(i, base, dir)
    } else miss4(i, dir)
  }

  /** The hint was for another flow, or the flow was opened a moment ago by a packet of the same batch, or there is none. */
  function miss4(i: number, dir: number): void {
    const slot = dir === DIR_OUT ? findOrOpenOut(i) : findOrOpenIn(i, 0)
    if (slot !== 0) translate(i, slot << FLOW_BITS, dir)
  }

  /** Rewrites row i by the flow at `base`, less one hop, and sends it on. */
  function translate(i: number, base: number, dir: number): void {
    const p = l3[i], l4 = l4Column[i], word2 = word2Column[i]
    const protocol = (word2 >>> 16) & 255
    const delta = F[base + DELTA] ^ (0 - dir)
    let sum = (~word2 & 0xffff) + (delta >>> 16) + HOP_DELTA
    sum = (sum & 0xffff) + (sum >>> 16)
    sum = (sum & 0xffff) + (sum >>> 16)
    // TTL less one, protocol, checksum: one store.
    view.setInt32(p + ipv4.TTL, ((word2 & ~0xffff) - 0x01000000) | (~sum & 0xffff))
    view.setInt32(p + ipv4.SRC + (dir << 2), F[base + OUTSIDE - dir])
    // @req RFC4787 REQ-10, REQ-10a
    // @req RFC5382 REQ-6
    view.setUint16(l4 + (dir << 1), F[base + OUTSIDE_PORTS - dir] >>> 16)
    updateSum(l4 + CHECKSUM_AT[protocol], protocol, delta & 0xffff)
    verdict[i] = TO_OUTSIDE - dir
    if ((F[base + KIND] & (HAIRPIN | RULED | TWICE)) !== 0) afterwards(i, base >>> FLOW_BITS, dir)
  }

  /** Row i was translated by a flow that is not an everyday one. */
  function afterwards(i: number, slot: number, dir: number): void {
    const flags = F[(slot << FLOW_BITS) + KIND]
    if ((flags & RULED) !== 0) count(i, slot, dir, $now[0])
    if (dir === DIR_IN) {
      if ((flags & TWICE) !== 0) showPeer(i)
    } else if ((flags & HAIRPIN) !== 0) hairpin(i, slot)
  }

  /** Row i, on its way in, gets the source that the inside knows its peer by, if there is one (twice-NAT). */
  function showPeer(i: number): void {
    if (toInside(kindColumn[i] & 255, peerColumn[i], portsColumn[i] & 0xffff)) {
      replaceEnd(i, ipv4.SRC, 0, found[FOUND_ADDRESS], found[FOUND_PORT])
    }
  }

  /**
   * Row i is for an address that stands for an outside host: it gets the real one, and goes on with it (RFC 5189, twice-NAT).
   * Its flow shows that address to the inside from now on. 0: dropped.
   */
  function findOrOpenThrough(i: number): number {
    const kind = kindColumn[i], local = localColumn[i]
    const address = peerColumn[i], port = portsColumn[i] & 0xffff
    if (!toPeer(kind & 255, address, port)) return refuse(i, NO_MAPPING)
    const hasPorts = CLASS_OF[kind & 255] <= CLASS_TCP
    remember(i)
    const peer = found[FOUND_ADDRESS]
    const newPort = hasPorts && found[FOUND_PORT] >= 0 ? found[FOUND_PORT] : port
    replaceEnd(i, ipv4.DST, 2, peer, newPort)
    word2Column[i] = view.getInt32(l3[i] + ipv4.TTL)
    peerColumn[i] = peer
    portsColumn[i] = (portsColumn[i] & ~0xffff) | newPort
    const slot = standing(find4(hash4(local, peer, portsColumn[i], kind), local, peer, portsColumn[i], kind))
    const known = slot === 0 ? admitOut4(i) : meet(i, slot, DIR_OUT)
    forget()
    if (known !== 0) F[(known << FLOW_BITS) + KIND] |= TWICE
    return known
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

  /** RFC 768: for UDP 0 says that there is no checksum, and a sum of 0 is sent as 0xffff. The latter also RFC 3828. */
  function updateSum(at: number, protocol: number, delta: number): void {
    const was = view.getUint16(at)
    if (was === 0 && protocol === UDP) return
    const sum = (~was & 0xffff) + delta
    const becomes = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff
    view.setUint16(at, becomes === 0 && (protocol === UDP || protocol === UDP_LITE) ? 0xffff : becomes)
  }

  /** ICMP queries and protocols without ports, either direction. */
  function passOther4(i: number): void {
    const dir = side[i]
    const slot = dir === DIR_OUT ? findOrOpenOut(i) : findOrOpenIn(i, 0)
    if (slot === 0) return
    if ((F[(slot << FLOW_BITS) + KIND] & MAPPED) === 0) return passUnchanged(i, slot, dir)
    translateOther(i, slot << FLOW_BITS, dir, 1)
    if ((F[(slot << FLOW_BITS) + KIND] & (HAIRPIN | RULED | TWICE)) !== 0) afterwards(i, slot, dir)
  }

  /** As `translate`, for any protocol. `hops` is 0 for a packet whose hop was counted already. */
  function translateOther(i: number, base: number, dir: number, hops: number): void {
    const p = l3[i], l4 = l4Column[i], word2 = word2Column[i]
    const protocol = (word2 >>> 16) & 255
    const delta = F[base + DELTA] ^ (0 - dir)
    let sum = (~word2 & 0xffff) + (delta >>> 16) + (hops !== 0 ? HOP_DELTA : 0)
    sum = (sum & 0xffff) + (sum >>> 16)
    sum = (sum & 0xffff) + (sum >>> 16)
    view.setInt32(p + ipv4.TTL, ((word2 & ~0xffff) - (hops << 24)) | (~sum & 0xffff))
    view.setInt32(p + ipv4.SRC + (dir << 2), F[base + OUTSIDE - dir])
    const port = F[base + OUTSIDE_PORTS - dir] >>> 16
    if (CLASS_OF[protocol] <= CLASS_TCP) view.setUint16(l4 + (dir << 1), port)
    else if (protocol === ICMP) icmp.setId(view, l4, port)
    const at = l4 + CHECKSUM_AT[protocol]
    const isThere = at !== l4 && at + 2 <= Math.min(p + netBytes[i], off[i] + capBytes[i])
    if (isThere) updateSum(at, protocol, (delta & 0xffff) || NO_CHANGE)
    verdict[i] = TO_OUTSIDE - dir
  }

  /** The flow of row i, from inside; opened if it may be. 0: dropped. */
  function findOrOpenOut(i: number): number {
    const local = localColumn[i], peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const slot = standing(find4(hash4(local, peer, ports, kind), local, peer, ports, kind))
    if (isTwice && hasInside(peer)) return findOrOpenThrough(i)
    return slot === 0 ? admitOut4(i) : meet(i, slot, DIR_OUT)
  }

  /** Opens a flow for row i, from inside. 0: dropped. */
  function admitOut4(i: number): number {
    const local = localColumn[i], peer = peerColumn[i], kind = kindColumn[i]
    if (has4(peer)) return refuse(i, INSIDE_TO_INSIDE)
    if (nat44 && !hairpinning && indexOf(peer) >= 0) return refuse(i, DENIED)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    const rule = consult4(i, DIR_OUT, local, portsColumn[i], false)
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE)
    const said = rule === NO_RULE ? ask4(i, DIR_OUT, local, portsColumn[i]) : PERMITTED
    if (said === REFUSED) return prohibit(i, DENIED_BY_FIREWALL)
    if (said === SILENT && !outboundPermit) return prohibit(i, DENIED)
    const state = opening(i, DIR_OUT, 0, local)
    if (state < 0) return 0
    // @req RFC5508 REQ-1, REQ-10a3
    // @req RFC6888 REQ-6
    const isMapped = nat44 && (indexOf(peer) >= 0 || !isUntranslated(kind & 255, local, peer, portsColumn[i]))
    const slot = isMapped ? openOut(local, peer, portsColumn[i], kind, state, 0, $now[0])
      : openPlain4(local, peer, portsColumn[i], kind, state, $now[0])
    if (slot < 0) return unavailing(i, WHY_NOT[-slot])
    opened(i, slot, DIR_OUT, rule, 0)
    return slot
  }

  /** The flow of row i, which is addressed to one of our addresses; opened if the filter admits it. 0: dropped. */
  function findOrOpenIn(i: number, keep: number): number {
    const peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const portClass = CLASS_OF[kind & 255]
    // Without ports only a flow can tell whom a packet is for.
    if (portClass === CLASS_NONE) {
      const slot = standing(findPeer(localColumn[i], 0, peer, kind))
      return slot === 0 ? admitBound4(i, keep) : meet(i, slot, DIR_IN)
    }
    const index = indexOf(localColumn[i])
    if (index >= pool.shared) return findOrOpenWhole(i, addressOwner[index], keep)
    const owner = ((index * CLASSES + portClass) << 16) | (ports >>> 16)
    const head = portOwner[owner]
    if (head === 0) return unsolicited(i, NO_MAPPING)
    const base = head << FLOW_BITS
    const inside = F[base + INSIDE]
    // @req RFC7857 6a, 6b
    const own = (F[base + PORTS] & ~0xffff) | (ports & 0xffff)
    const slot = find4(hash4(inside, peer, own, kind), inside, peer, own, kind)
    // The mapping may have ended with the flow.
    if (slot !== 0 && standing(slot) === 0) return findOrOpenIn(i, keep)
    if (slot === 0) return admitIn4(i, owner, 0, keep)
    // A flow that is older than the binding has another outside endpoint.
    const isOwn = F[(slot << FLOW_BITS) + OUTSIDE] === localColumn[i] && F[(slot << FLOW_BITS) + OUTSIDE_PORTS] === ports
    return isOwn ? meet(i, slot, DIR_IN) : admitIn4(i, owner, slot, keep)
  }

  /** The same to an address that is `inside`'s alone; 0: nobody's. */
  function findOrOpenWhole(i: number, inside: number, keep: number): number {
    const peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const slot = inside === 0 ? 0 : standing(find4(hash4(inside, peer, ports, kind), inside, peer, ports, kind))
    const isOwn = F[(slot << FLOW_BITS) + OUTSIDE] === localColumn[i] && F[(slot << FLOW_BITS) + OUTSIDE_PORTS] === ports
    return slot !== 0 && isOwn ? meet(i, slot, DIR_IN) : admitBound4(i, keep)
  }

  /**
   * Opens a flow from outside in the mapping of `owner` in the port table, if its filter admits that. `rival` has the same five
   * words on another mapping, or is 0. 0: dropped.
   */
  function admitIn4(i: number, owner: number, rival: number, keep: number): number {
    const peer = peerColumn[i], kind = kindColumn[i]
    if (isTwice && hasInside(peer)) return refuse(i, MARTIAN_SOURCE)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    const base = portOwner[owner] << FLOW_BITS
    const ports = (F[base + PORTS] & ~0xffff) | (portsColumn[i] & 0xffff)
    const bound = isBinding(portOwner[owner])
    const rule = consult4(i, DIR_IN, F[base + INSIDE], ports, bound)
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE)
    // RFC 5189 2.3.9: a binding admits what its rules do, and nobody by acquaintance; nor does a mapping that only rules can open.
    const isOpen = bound ? isForward(portOwner[owner]) && admits(kind & 255, F[base + INSIDE], peer, ports)
      : isAcquainted(i, owner & 0xffff)
    const said = rule === NO_RULE ? ask4(i, DIR_IN, F[base + INSIDE], ports) : PERMITTED
    if (said === REFUSED) return refuse(i, DENIED_BY_FIREWALL)
    if (said === SILENT && !isOpen) return unsolicited(i, FILTERED)
    const state = opening(i, DIR_IN, keep, F[base + INSIDE])
    if (state < 0) return 0
    // Unless it was half-open, and has just made room.
    if (rival !== 0 && F[(rival << FLOW_BITS) + KIND] !== 0) supersede(rival)
    const slot = openIn(owner, peer, portsColumn[i] & 0xffff, kind, state, keep, $now[0])
    if (slot <= 0) return refuse(i, slot === 0 ? NO_MAPPING : FLOW_TABLE_FULL)
    opened(i, slot, DIR_IN, rule, keep)
    showAlias(slot)
    return slot
  }

  /** Does the filter of the mapping at an outside port, which has a flow, admit the peer of row i (RFC 4787 REQ-8)? */
  function isAcquainted(i: number, outsidePort: number): boolean {
    // @req RFC4787 REQ-8
    // @req RFC5382 REQ-3, REQ-3b
    // @req RFC6888 REQ-7
    const filter = (kindColumn[i] & 255) === TCP ? tcpFiltering : filtering
    if (!outboundPermit || filter === FILTER_ENDPOINT_INDEPENDENT) return outboundPermit
    return filter === FILTER_ADDRESS_DEPENDENT && findPeer(localColumn[i], outsidePort, peerColumn[i], kindColumn[i]) !== 0
  }

  /** A flow opened from outside: the inside sees its peer by the name that the configuration gives it, if it does. */
  function showAlias(slot: number): void {
    const base = slot << FLOW_BITS
    if (isTwice && toInside((F[base + KIND] >>> 16) & 255, F[base + PEER], F[base + PORTS] & 0xffff) && found[FOUND_FIXED] === 1) {
      F[base + KIND] |= TWICE
    }
  }

  /** Ends a flow that is older than the binding that a packet of its five words came to. */
  function supersede(slot: number): void {
    counters[RULE_FLOWS_ENDED]++
    remove(slot)
  }

  /** May the peer of row i open a flow to a whole address that the configuration gave to `inside`? Agents' are for rules. */
  function isOpenWhole(i: number, inside: number): boolean {
    if (indexOf(localColumn[i]) < firstStatic) return false
    const port = portsColumn[i] >>> 16
    if (admits(kindColumn[i] & 255, inside, peerColumn[i], portsColumn[i])) return true
    const head = findMapping(inside, port, kindColumn[i])
    return head !== 0 && F[(head << FLOW_BITS) + OUTSIDE] === localColumn[i] && isAcquainted(i, port)
  }

  /** Opens a flow from outside to an address that is bound as a whole, where no port is mapped yet. 0: dropped. */
  function admitBound4(i: number, keep: number): number {
    const inside = addressOwner[indexOf(localColumn[i])]
    if (inside === 0) return unsolicited(i, NO_MAPPING)
    const peer = peerColumn[i]
    // @req RFC7857 12a
    if (isTwice && hasInside(peer)) return refuse(i, MARTIAN_SOURCE)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    const rule = consult4(i, DIR_IN, inside, portsColumn[i], true)
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE)
    const said = rule === NO_RULE ? ask4(i, DIR_IN, inside, portsColumn[i]) : PERMITTED
    if (said === REFUSED) return refuse(i, DENIED_BY_FIREWALL)
    if (said === SILENT && !isOpenWhole(i, inside)) return unsolicited(i, FILTERED)
    const state = opening(i, DIR_IN, keep, inside)
    if (state < 0) return 0
    const rival = find4(hash4(inside, peer, portsColumn[i], kindColumn[i]), inside, peer, portsColumn[i], kindColumn[i])
    if (rival !== 0) supersede(rival)
    const slot = openOut(inside, peer, portsColumn[i], kindColumn[i], state, keep, $now[0])
    if (slot < 0) return refuse(i, WHY_NOT[-slot])
    opened(i, slot, DIR_IN, rule, keep)
    showAlias(slot)
    return slot
  }

  /** Row i left its host for one of our own addresses; it carries its outside source now (RFC 4787 REQ-9a) and turns round. */
  function hairpin(i: number, slot: number): void {
    const base = slot << FLOW_BITS
    const outsidePort = F[base + OUTSIDE_PORTS] >>> 16
    counters[HAIRPINS]++
    // As it is now it has left for the worker that it is for.
    if (share !== null && isForeign(share, i, outsidePort)) return
    // @req RFC4787 REQ-9, REQ-9a
    // @req RFC5382 REQ-8, REQ-8a
    localColumn[i] = peerColumn[i]
    peerColumn[i] = F[base + OUTSIDE]
    word2Column[i] = view.getInt32(l3[i] + ipv4.TTL)
    // An ICMP query is for the one whose identifier it carries.
    portsColumn[i] = CLASS_OF[kindColumn[i] & 255] === CLASS_ICMP ? outsidePort << 16 : (portsColumn[i] << 16) | outsidePort
    const other = findOrOpenIn(i, slot)
    if (other === 0) return
    translateOther(i, other << FLOW_BITS, DIR_IN, 0)
    if ((F[(other << FLOW_BITS) + KIND] & (RULED | TWICE)) !== 0) afterwards(i, other, DIR_IN)
  }

  function isForeign({ isForeign: isElsewhere }: Share, i: number, outsidePort: number): boolean {
    const portClass = CLASS_OF[kindColumn[i] & 255]
    return isElsewhere(peerColumn[i], portClass, portClass === CLASS_ICMP ? outsidePort : portsColumn[i] & 0xffff)
  }

  /* IPv4 without NAT, and what is addressed to nobody. */

  function plain4(i: number): void {
    const dir = side[i]
    const local = localColumn[i], peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    if (dir === DIR_IN) {
      if (nat44 && indexOf(local) >= 0) return passOther4(i)
      if (!has4(local)) return drop(i, OUTSIDE_TO_OUTSIDE)
      if (nat44 && !isUntranslated(kind & 255, local, peer, ports)) return drop(i, NO_MAPPING)
    }
    let slot = standing(find4(hash4(local, peer, ports, kind), local, peer, ports, kind))
    // These five words may be of a flow that an outside address leads to.
    if ((F[(slot << FLOW_BITS) + KIND] & MAPPED) !== 0) return drop(i, NO_MAPPING)
    if (slot !== 0) slot = meet(i, slot, dir)
    else slot = dir === DIR_OUT ? admitOut4(i) : admitPlain4(i)
    if (slot !== 0) passUnchanged(i, slot, dir)
  }

  /** Sends row i on as it is, less one hop, by an IPv4 flow that is not translated. */
  function passUnchanged(i: number, slot: number, dir: number): void {
    if ((F[(slot << FLOW_BITS) + KIND] & RULED) !== 0) count(i, slot, dir, $now[0])
    const p = l3[i]
    ipv4.setTtl(view, p, ipv4.ttl(view, p) - 1)
    const sum = (~ipv4.checksum(view, p) & 0xffff) + HOP_DELTA
    ipv4.setChecksum(view, p, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
    verdict[i] = TO_OUTSIDE - dir
    if (dir === DIR_IN && (F[(slot << FLOW_BITS) + KIND] & TWICE) !== 0) showPeer(i)
  }

  function admitPlain4(i: number): number {
    const rule = consult4(i, DIR_IN, localColumn[i], portsColumn[i], true)
    const state = admitFromOutside(i, rule, 0)
    if (state < 0) return 0
    const slot = openPlain4(localColumn[i], peerColumn[i], portsColumn[i], kindColumn[i], state, $now[0])
    if (slot < 0) return refuse(i, FLOW_TABLE_FULL)
    opened(i, slot, DIR_IN, rule, 0)
    showAlias(slot)
    return slot
  }

  /** State of a new flow from outside, or hairpinned by way of `keep`, where no NAT stands in its way, or -1: dropped. */
  function admitFromOutside(i: number, rule: number, keep: number): number {
    if (isIcmpReply(i)) return refuse(i, NO_STATE) - 1
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

  /* IPv6. */

  function pass6(i: number): void {
    const p = l3[i]
    const outward = side[i] === SIDE_INSIDE
    const insideAt = p + (outward ? ipv6.SRC : ipv6.DST)
    const peerAt = p + (outward ? ipv6.DST : ipv6.SRC)
    for (let word = 0; word < 4; word++) {
      $key[word] = view.getInt32(insideAt + (word << 2))
      $key[word + 4] = view.getInt32(peerAt + (word << 2))
    }
    if (gate !== null && !(outward ? gate.leaves(i, $now[0]) : gate.enters(i, $now[0]))) return
    if (!outward && !has6($key[0], $key[1], $key[2], $key[3])) return drop(i, OUTSIDE_TO_OUTSIDE)
    const slot = findOrOpen6(i, side[i], hashColumn[i], 0)
    if (slot === 0) return
    ipv6.setHopLimit(view, p, ipv6.hopLimit(view, p) - 1)
    verdict[i] = outward ? TO_OUTSIDE : TO_INSIDE
    if (prefixes === null) return
    prefixes.store(insideAt, outward ? $seen : $key, 0)
    if (outward && npt6!.isOutside($key[4], $key[5])) hairpin6(i, slot)
  }

  // @req RFC6092 REC-11, REC-17, REC-33 partly[a peer is admitted by address and port; rules and agents admit more]
  // @req RFC6092 REC-27, REC-28, REC-31, REC-38, REC-47
  // @req RFC6092 REC-43 partly[service codes are not looked at]
  // @req RFC6092 REC-20 partly[it is matched by addresses, not ports]
  /** The flow of row i, whose ends are in $key; opened if it may be. `keep`: see guard.ts. 0: dropped. */
  function findOrOpen6(i: number, dir: number, hash: number, keep: number): number {
    const found = standing(find6(hash, $key, portsColumn[i], kindColumn[i]))
    const slot = found === 0 ? admit6(i, dir, hash, keep) : meet(i, found, dir)
    if (slot !== 0 && (F[(slot << FLOW_BITS) + KIND] & RULED) !== 0) count(i, slot, dir, $now[0])
    return slot
  }

  /** Opens an IPv6 flow, either way. 0: dropped. */
  function admit6(i: number, dir: number, hash: number, keep: number): number {
    const rule = consult6(i, dir, $key, portsColumn[i])
    const state = dir === DIR_OUT ? admitOut6(i, rule) : admitFromOutside(i, rule, keep)
    if (state < 0) return 0
    const slot = open6(hash, $key, portsColumn[i], kindColumn[i], state, keep, $now[0])
    if (slot < 0) return dir === DIR_OUT ? unavailing(i, FLOW_TABLE_FULL) : refuse(i, FLOW_TABLE_FULL)
    opened(i, slot, dir, rule, keep)
    return slot
  }

  /** Row i has its outside source, and is for one of our own prefixes: it turns round. */
  function hairpin6(i: number, keep: number): void {
    // @req RFC6296 4.3
    counters[HAIRPINS]++
    if (share !== null && share.isForeign6($seen, 4)) return
    for (let word = 0; word < 4; word++) {
      $key[word] = $seen[word + 4]
      $key[word + 4] = $seen[word]
    }
    if ((kindColumn[i] & 255) !== ICMP6) portsColumn[i] = (portsColumn[i] << 16) | (portsColumn[i] >>> 16)
    const hash = hash6($key[0], $key[1], $key[2], $key[3], $key[4], $key[5], $key[6], $key[7], portsColumn[i], kindColumn[i])
    if (findOrOpen6(i, DIR_IN, hash, keep) === 0) return
    prefixes!.store(l3[i] + ipv6.DST, $key, 0)
    verdict[i] = TO_INSIDE
  }

  /** TCP state for a new IPv6 flow from inside, or -1: dropped. */
  function admitOut6(i: number, rule: number): number {
    if (has6($key[4], $key[5], $key[6], $key[7])) return refuse(i, INSIDE_TO_INSIDE) - 1
    if (isIcmpReply(i)) return refuse(i, NO_STATE) - 1
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE) - 1
    const said = rule === NO_RULE ? ask6(i, DIR_OUT, $key, portsColumn[i]) : PERMITTED
    if (said === REFUSED) return prohibit(i, DENIED_BY_FIREWALL) - 1
    if (said === SILENT && !outboundPermit) return prohibit(i, DENIED) - 1
    return opening(i, DIR_OUT, 0, 0)
  }

  /* One packet. */

  function forward(i: number, nowMs: number): void {
    if (nowMs !== $now[0]) expire(nowMs)
    if (extras.count() !== 0) {
      extras.clear()
      reclaim()
    }
    const which = path[i]
    if (which === $direct[0]) pass4(i)
    else if (which < PATH_LATER) decide(i, which)
    else if ((which & (PATH_LATER | FIRST_FRAGMENT)) !== 0) fragment(i, which & ~EGRESS, which >= EGRESS)
    else egress(i, which & ~EGRESS)
  }

  /** A packet that is more than its headers to the link it leaves by, or to the host it goes to (egress.ts). */
  function egress(i: number, which: number): void {
    const src = view.getInt32(l3[i] + ipv4.SRC)
    beforeEgress(i)
    decide(i, which)
    afterEgress(i, src, -1, $now[0])
  }

  /** Is row i between the sides, so that we are the router whose TTL it is? Captures hold much that is not. */
  function wouldCross(i: number): boolean {
    const dir = side[i]
    if (kindColumn[i] >>> 8 === 4) {
      if (dir === DIR_OUT) return !has4(peerColumn[i]) || (isTwice && hasInside(peerColumn[i]))
      if (!nat44 || mayBeUntranslated(localColumn[i], peerColumn[i])) return has4(localColumn[i])
      return indexOf(localColumn[i]) >= 0
    }
    const p = l3[i]
    const isInside = has6(ipv6.dstWord(view, p, 0), ipv6.dstWord(view, p, 1), ipv6.dstWord(view, p, 2), ipv6.dstWord(view, p, 3))
    if (npt6 !== null && dir === DIR_IN) {
      for (let word = 0; word < 4; word++) $key[word] = ipv6.dstWord(view, p, word)
      return npt6.isOutside($key[0], $key[1]) || (isInside && !npt6.isInside($key, 0))
    }
    return isInside === (dir === DIR_IN)
  }

  function isIcmp(i: number): boolean {
    const kind = kindColumn[i]
    return kind === (4 << 8 | ICMP) || kind === (6 << 8 | ICMP6)
  }

  function decide(i: number, which: number): void {
    if (isIcmpBounded && which >= PATH_4 && isIcmp(i) && !takeIcmp($now[0])) return drop(i, ICMP_RATE)
    switch (which) {
      case PATH_DROP: return drop(i, frames.reason[i])
      case PATH_EXPIRED:
        drop(i, TTL_EXCEEDED)
        // @req RFC5508 REQ-10
        // @req RFC5508 REQ-10a2
        return wouldCross(i) ? timeExceeded(i, $now[0]) : undefined
      case PATH_4: return $direct[0] === PATH_4 ? pass4(i) : miss4(i, side[i])
      case PATH_4_OTHER: return passOther4(i)
      case PATH_4_PLAIN: return plain4(i)
      case PATH_4_ERROR: return side[i] === SIDE_INSIDE ? errorOut4(i) : errorIn4(i)
      case PATH_6: return pass6(i)
      case PATH_6_ERROR: return error6(i)
    }
  }

  function fragment(i: number, which: number, isMore: boolean): void {
    if (areFragmentsBounded && !takeFragment($now[0])) return drop(i, FRAGMENT_RATE)
    if (which === PATH_LATER && refusesLater(i)) return drop(i, DENIED_BY_FIREWALL)
    const datagram = arrive(i, $now[0])
    if (datagram === 0) return
    const src = view.getInt32(l3[i] + ipv4.SRC)
    beforeEgress(i)
    if (which === PATH_LATER) {
      later(i, datagram)
      if (isMore) afterEgress(i, src, 0, $now[0])
      return
    }
    decide(i, which - FIRST_FRAGMENT)
    // @req RFC7857 10
    const id = isSent(i) && kindColumn[i] >>> 8 === 4 ? identification(l3[i], src) : -1
    if (id >= 0) setIdentification(l3[i], id)
    if (isMore) afterEgress(i, src, Math.max(id, 0), $now[0])
    const already = extras.count()
    first(i, datagram, isSent(i), id)
    afterReleased(already)
  }

  function isSent(i: number): boolean {
    return verdict[i] === TO_INSIDE || verdict[i] === TO_OUTSIDE
  }

  return {
    lookAhead, look, forward, late, lateAbout: syns.about, heldSyns: syns.count, extras, finish, expire, applyCommands,
    replaceRules, firewall, rows, flows, pool, npt6, share, rewriteQuote,
    isUntranslated: (protocol, local, peer, ports, hasPorts) =>
      hasPorts ? isUntranslated(protocol, local, peer, ports) : mayBeUntranslated(local, peer),
    ruleOf: links.ruleOf, ruleDecided: rules.decided, tableBytes: flows.bytes + windows.bytes + halfOpen.bytes,
    ruleBytes: () => midcom === null ? 0 : rules.bytes() + insideBindings.bytes(),
  }
}

