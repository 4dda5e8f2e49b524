/**
 * The engine: decides one packet at a time what docs/behaviour.md says, and rewrites it in place. It knows bytes, flows and
 * virtual time; it knows no device, no configuration file and no policy.
 *
 * Use: fill rows of `frames`, `lookAhead(count)`, then `forward(i, nowMs)` for each row in order; after each, the frames in
 * `extras` leave too. Build it once in a program and keep it: tables and functions are constants of its closures, and the compiler
 * treats them as such only while there is one of each (a second engine is right, but slower).
 *
 * Here it is put together, and each packet sent on its path: path4.ts, path6.ts, icmp-error.ts, fragments.ts. What packets of all
 * paths meet is in admission.ts.
 */
import type { Counters } from '../channel/counters.ts'
import { createNpt6, type Npt6 } from '../channel/npt6.ts'
import { createPairing } from '../channel/pairing.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { createTokenBucket } from '../storage/token-bucket.ts'
import { type Frames, SIDE_INSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { createAdmission } from './admission.ts'
import { createCommands } from './commands.ts'
import { createEgress, egressBytes, egressExtras } from './egress.ts'
import { createEnds } from './ends.ts'
import { type Extras, HOLD_BYTES, REPLY_BYTES, createExtras } from './extras.ts'
import { createFirewall, type Firewall } from './firewall.ts'
import type { RuleSet } from './firewall-set.ts'
import { aliasAddresses, createFixedNat, fixedAddresses } from './fixed-nat.ts'
import { createFlows, type Flows } from './flows.ts'
import { createFragments } from './fragments.ts'
import { createHalfOpen } from './half-open.ts'
import { HELD_SYN_BYTES, createHeldSyns, type HeldSyns } from './held-syns.ts'
import { createIcmpError } from './icmp-error.ts'
import { createIcmpReply } from './icmp-reply.ts'
import { createInsideBindings } from './inside-bindings.ts'
import { createLook } from './look.ts'
import { plainNat } from './nat-options.ts'
import type { EngineOptions } from './options.ts'
import { createPath4 } from './path4.ts'
import { createPath6 } from './path6.ts'
import { type Pool, createPool } from './pool.ts'
import {
  EGRESS, FIRST_FRAGMENT, NO_PATH, PATH_4, PATH_4_ERROR, PATH_4_OTHER, PATH_4_PLAIN, PATH_6, PATH_6_ERROR, PATH_DROP,
  PATH_EXPIRED, PATH_LATER, createRows, type Rows,
} from './rows.ts'
import { createRuleLinks } from './rule-links.ts'
import { createRules } from './rules.ts'
import { createShare, type Share } from './share.ts'
import type { Shared } from './shared.ts'
import { DIR_IN, DIR_OUT } from './tcp-state.ts'
import { createWindows } from './tcp-window.ts'
import { createUpdateSum } from './transport-sums.ts'

const TTL_EXCEEDED = reasonIndex('ttl-exceeded'), DENIED_BY_FIREWALL = reasonIndex('denied-by-firewall')
const ICMP_RATE = reasonIndex('icmp-rate'), FRAGMENT_RATE = reasonIndex('fragment-rate')
const ICMP = 1, ICMP6 = 58

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
  const isTwice = insidePool.length !== 0
  const insideBindings = createInsideBindings(insidePool, options.seed | 0)
  const fixedNat = createFixedNat(nat, flows, insideBindings, options.seed | 0)
  const rules = createRules(shared, links)
  const firewall = createFirewall(shared, links, rules)
  const { out4: errorOut4, in4: errorIn4, pass6: error6, rewriteQuote } = createIcmpError(shared, insideBindings, firewall.standing)
  const commands = createCommands(shared, rules, insideBindings)
  const syns = createHeldSyns(shared, replyStart + REPLY_BYTES, replyStart, refuseSyn)
  const windows = createWindows(shared)

  // The present, in a typed array: a variable that changes is checked and untagged wherever it is read.
  const $now = new Int32Array(1)
  const $key = new Int32Array(8)
  // The path whose rows need no more than their flow: PATH_4, or none while firewall rules are being replaced.
  const $direct = Int32Array.of(PATH_4)
  const updateSum = createUpdateSum(frames.view)
  const ends = createEnds(shared, updateSum)
  const admission = createAdmission(shared, {
    now: $now, key: $key, rules, firewall, halfOpen, syns, windows, prohibited, unavailable, restore: ends.restore,
  })
  const { drop, leaveHalfOpen } = admission
  const { pass4, miss4, passOther4, plain4 } = createPath4(shared, {
    now: $now, admission, rules, firewall, insideBindings, fixedNat, ends, updateSum, isTwice,
    firstStatic: pool.size - fixed.whole.length,
  })
  const { pass6 } = createPath6(shared, { now: $now, key: $key, admission, rules, firewall, noRoute, badSource, badField })

  const { view, l3, side, verdict } = frames
  const { path, local: localColumn, peer: peerColumn, kind: kindColumn } = rows
  const { expire: expireFlows } = flows
  const { has4, has6 } = options.inside
  const { indexOf } = pool
  const { nat44 } = options
  const { has: hasInside } = insideBindings
  const { isUntranslated, mayBeUntranslated } = fixedNat
  const { refusesLater } = firewall
  const isIcmpBounded = options.icmpPerSecond > 0, areFragmentsBounded = options.fragmentsPerSecond > 0
  const { take: takeIcmp } = createTokenBucket(options.icmpPerSecond)
  const { take: takeFragment } = createTokenBucket(options.fragmentsPerSecond)

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
    // Of those that were all too big for their link nothing is left to be sent.
    if (extras.count() === 0) reclaim()
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

