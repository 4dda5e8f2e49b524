/**
 * Watches the packet path and tells what became of packets. It wraps the engine and the outlets as they are handed to the plane,
 * looks before and after each decision at what the engine has in its rows, tables and counters, and changes nothing: the
 * decision is made by the same code, on the same bytes, as when nobody watches. When nobody does, none of this is there.
 */
import { print4, print6 } from '../../base/address.ts'
import { counterIndex, type Counters } from '../../channel/counters.ts'
import { NPT6_DONE } from '../../channel/npt6.ts'
import { DROP_REASONS, reasonIndex } from '../../channel/reasons.ts'
import type { Engine } from '../../engine/engine.ts'
import { EXTRA_LATE_REPLY, EXTRA_PIECE, EXTRA_RELEASED, EXTRA_REPLY } from '../../engine/extras.ts'
import {
  BLOCK_IN, BLOCK_OUT, DEADLINE, FLOW_BITS, INSIDE, INSIDE6, KIND, MAPPED, OUTSIDE, OUTSIDE_PORTS, PEER, PORTS, RING_NEXT,
} from '../../engine/flows.ts'
import { DECIDED_RULE, DECISIONS } from '../../engine/firewall.ts'
import { EGRESS, PATH_4_ERROR, PATH_6_ERROR } from '../../engine/rows.ts'
import * as tcpState from '../../engine/tcp-state.ts'
import type { Outlet } from '../../plane/plane.ts'
import { DROP, HELD, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE, type Frames } from '../../wire/frames.ts'
import { printFrame, printPacket } from '../../wire/print.ts'
import type { Match, Outcome, Seen } from '../filter/match.ts'
import { changes } from './changes.ts'
import type { Explanation, FlowInfo, LateAnswer, MappingInfo, ReasonInfo, RuleInfo, Side } from './explanation.ts'
import { createClock, createHeldNames } from './late.ts'
import { createFlowLookup, hasIdentifier, hasPorts, type RowKey } from './flow-lookup.ts'
import { endpointText, flowText, parseResult, protocolName } from './parse-result.ts'
import { REASON_TEXTS } from './reasons.ts'

/** Who explains, and what. */
export interface WatchOptions {
  /** Packets to explain. `asksOutcome`: it cannot be answered before the packet is decided. */
  match: Match
  asksOutcome: boolean
  /** Called for each of them, right after it was decided. */
  explained: ((explanation: Explanation) => void) | null
  /** Called for each of them that was dropped, with less effort. `reason` is an index. */
  dropped: ((reason: number, side: Side, flow: string, bytes: number, packet: number) => void) | null
  /** Called for each SYN that was explained when it came, and whose time is over (docs/behaviour.md, Unsolicited SYNs). */
  answered: ((answer: LateAnswer) => void) | null
  /** A comment on a packet that leaves, or because of one; null: none. */
  comment: ((explanation: Explanation, also: number) => string) | null
  /** What is known of the rule that the engine has under a number. */
  midcomRule: (number: number) => { rule: number; owner: string } | undefined
  /** The file in which firewall rules stand; null: none is known. */
  rulesFile: string | null
}

/** A capture writer. */
export interface CommentingOutlet extends Outlet {
  writeWithComment(
    off: number, capBytes: number, wireBytes: number, sec: number, nsec: number, link: number, comment: string,
  ): boolean
}

export interface CommentingOutlets { inside: CommentingOutlet | null; outside: CommentingOutlet | null }

export interface Watched {
  /** Instead of the engine, for the plane. */
  engine: Engine
  inside: Outlet | null
  outside: Outlet | null
  /** Rows below `count` are filled, and nobody has touched their bytes yet. */
  arrived(count: number): void
}

/** Names of states of flows, as docs/behaviour.md has them. */
const STATES = ['SYN_OUT', 'SYN_IN', 'MID_OUT', 'MID_IN', 'ESTABLISHED', 'FIN_OUT', 'FIN_IN', 'FIN_BOTH', 'RESET'] as const
const STATE_NAMES = new Map<number, string>([
  ...STATES.map((name): [number, string] => [tcpState[name], name.replace('_', '-')]),
  [tcpState.UDP_FLOW, 'open'],
  ...Array.from({ length: tcpState.MOST_UDP_PORTS }, (_, n): [number, string] => [tcpState.UDP_PORT_FIRST + n, 'open']),
  [tcpState.ICMP_FLOW, 'open'], [tcpState.OTHER_FLOW, 'open'],
  // SCTP and DCCP.
  [tcpState.ASSOCIATION_OUT, 'opening'], [tcpState.ASSOCIATION_IN, 'opening'], [tcpState.ASSOCIATION, 'answered'],
])
const DENIED_BY_RULE = reasonIndex('denied-by-rule')
const ALSO: Record<number, 'answer' | 'released' | 'fragment'> = {
  [EXTRA_REPLY]: 'answer', [EXTRA_LATE_REPLY]: 'answer', [EXTRA_RELEASED]: 'released', [EXTRA_PIECE]: 'fragment',
}
const MOST_PEERS = 8
/** Longest comment in characters, of three bytes at the most, on the packet and on what leaves because of it. */
const COMMENT_CHARS = 4000, ALSO_CHARS = 240, CHAR_BYTES = 3
/** Its option in the block. */
const OPTION_BYTES = 16

export function createWatch(
  frames: Frames, counters: Counters, engine: Engine, outlets: CommentingOutlets, options: WatchOptions,
): Watched {
  const { view, pool, off, capBytes, wireBytes, link, net, l3, side, verdict, reason, netBytes } = frames
  const { flows, rows, extras, ruleOf, ruleDecided, firewall, npt6 } = engine
  const { F, isBinding } = flows
  const configured = firewall.set()
  const { keyOf, mappingOf, flowOf, quotedFlow } = createFlowLookup(frames, engine)
  const watchedCounters = ['flows-opened', 'flows-evicted', 'mappings-opened', 'hairpin-packets', 'icmp-errors-originated',
    'icmp-errors-suppressed', 'syns-held'] as const
  const at = Object.fromEntries(watchedCounters.map((name) => [name, counterIndex(name)]))
  const before = new Float64Array(counters.length)

  /* The bytes of a batch as they came, and of the row that is being decided as it entered. */
  let came = new DataView(new ArrayBuffer(1 << 16))
  const cameAt = new Int32Array(frames.capacity)
  let entered = new Uint8Array(1 << 16), enteredView = new DataView(entered.buffer)
  let first = 1, arrivedRows = 0
  const clock = createClock(), held = createHeldNames(view)
  /** What is explained now, and how many frames have left because of it. */
  let current: Explanation | null = null
  let written = 0
  /** Of the firewall rules, before the row. */
  let decisions = 0

  function arrived(count: number): void {
    first += arrivedRows
    arrivedRows = count
    if (count > 0) clock.start(frames.sec[0], frames.nsec[0])
    let bytes = 0
    for (let i = 0; i < count; i++) bytes += capBytes[i]
    // A header is read in words of fixed size: some slack behind the last frame keeps that inside.
    if (bytes + 64 > came.byteLength) came = new DataView(new ArrayBuffer(2 * bytes + 64))
    const to = new Uint8Array(came.buffer)
    bytes = 0
    for (let i = 0; i < count; i++) {
      to.set(pool.subarray(off[i], off[i] + capBytes[i]), bytes)
      cameAt[i] = bytes
      bytes += capBytes[i]
    }
  }

  const sideOf = (i: number): Side => side[i] === SIDE_INSIDE ? 'inside' : 'outside'
  const seen: Seen = { view: came, off: 0, capBytes: 0, wireBytes: 0, link: 0, net: 0, l3: 0, outcome: outcomeBefore('inside') }

  /** Row i as it came. */
  function see(i: number): Seen {
    Object.assign(seen, {
      view: came, off: cameAt[i], capBytes: capBytes[i], wireBytes: wireBytes[i], link: link[i], net: net[i],
      l3: cameAt[i] + l3[i] - off[i], outcome: outcomeBefore(sideOf(i)),
    })
    return seen
  }

  function forward(i: number, nowMs: number): void {
    current = null
    written = 0
    clock.tick(nowMs)
    if (!options.asksOutcome && !options.match(see(i))) return engine.forward(i, nowMs)
    before.set(counters)
    ruleDecided[0] = 0
    decisions = firewall.decided[DECISIONS]
    if (options.explained === null && options.comment === null) {
      engine.forward(i, nowMs)
      const packet = see(i)
      packet.outcome = outcomeOf(i)
      if (verdict[i] === DROP && (!options.asksOutcome || options.match(packet))) {
        options.dropped?.(reason[i], sideOf(i), flowText(packet), wireBytes[i], first + i)
      }
      return
    }
    if (capBytes[i] + 64 > entered.length) {
      entered = new Uint8Array(2 * capBytes[i] + 64)
      enteredView = new DataView(entered.buffer)
    }
    entered.set(pool.subarray(off[i], off[i] + capBytes[i]))
    const key = keyOf(i), path = rows.path[i] & ~EGRESS
    const flow = flowBefore(key, i, nowMs)
    engine.forward(i, nowMs)
    const slot = flowAfter(key, i, flow), rules = rulesOf(i, slot)
    const packet = see(i)
    packet.outcome = { ...outcomeOf(i), rules: rules.map(({ rule }) => rule) }
    if (options.asksOutcome && !options.match(packet)) return
    current = explain(i, nowMs, key, path, flow, slot, rules)
    options.explained?.(current)
    if (rose('syns-held')) held.add(l3[i], current)
  }

  /** The answer to a SYN of some time ago, if it was explained: its comment names it. */
  function late(nowMs: number): boolean {
    current = null
    if (!engine.late(nowMs)) {
      if (engine.heldSyns() === 0) held.clear()
      return false
    }
    const about = held.take(engine.lateAbout.l3)
    if (about === null) return true
    const [answer = null] = alsoLeft()
    options.answered?.({
      packet: about.packet, came: about.came, time: clock.textOf(engine.lateAbout.dueMs), to: 'outside',
      answer: answer?.packet ?? null,
    })
    if (answer !== null) current = { ...about, also: [answer] }
    written = 0
    return true
  }

  /** What left because of the row, or because of a time that is over. */
  function alsoLeft(): Explanation['also'] {
    return Array.from({ length: extras.count() }, (_, n) => ({
      kind: ALSO[extras.kind[n]]!, to: extras.verdict[n] === TO_INSIDE ? 'inside' as const : 'outside' as const,
      packet: printPacket(view, extras.l3[n], extras.off[n] + extras.capBytes[n]),
    }))
  }

  interface Before { slot: number; state: string; endsInMs: number }

  function flowBefore(key: RowKey, i: number, nowMs: number): Before {
    const inward = side[i] === SIDE_OUTSIDE
    let slot = flowOf(key, inward)
    if (!inward && isError(key)) slot = quotedFlow(key, false, off[i] + capBytes[i])
    return { slot, ...slot === 0 ? { state: '', endsInMs: 0 } : stateOf(slot, nowMs) }
  }

  function isError({ path }: RowKey): boolean {
    return path === PATH_4_ERROR || path === PATH_6_ERROR
  }

  function stateOf(slot: number, nowMs: number): { state: string; endsInMs: number } {
    const base = slot << FLOW_BITS, state = (F[base + KIND] >>> 8) & 255
    return { state: STATE_NAMES.get(state) ?? `state ${state}`, endsInMs: (F[base + DEADLINE] - nowMs) | 0 }
  }

  function rose(counter: (typeof watchedCounters)[number]): boolean {
    return counters[at[counter]] > before[at[counter]]
  }

  function outcomeOf(i: number): Outcome {
    const what = verdict[i]
    return {
      verdict: what === DROP ? 'drop' : what === HELD ? 'held' : 'sent', reason: what === DROP ? DROP_REASONS[reason[i]][0] : null,
      side: sideOf(i), to: what === TO_INSIDE ? 'inside' : what === TO_OUTSIDE ? 'outside' : null, isNew: rose('flows-opened'),
      isAnswered: rose('icmp-errors-originated'), isHairpin: rose('hairpin-packets'),
      rules: [...ruleDecided[0] === 0 ? [] : [midcom(ruleDecided[0], '').rule], ...firewallAsked().map(({ rule }) => rule)],
    }
  }

  /** The firewall rule that decided about the last row, if there is one. */
  function firewallAsked(): RuleInfo[] {
    const { decided, set } = firewall, number = decided[DECIDED_RULE]
    if (decided[DECISIONS] === decisions || number === 0) return []
    return [firewallRule(number, set()!.permits(number) ? 'permits the packet' : 'denies the packet')]
  }

  function firewallRule(number: number, what: string): RuleInfo {
    const { name, line } = firewall.set()!.rules[number - 1]!
    // Rules that came later stand in another file.
    const file = firewall.set() === configured ? options.rulesFile : null
    const where = line === 0 ? null : file === null ? `line ${line}` : `${file}:${line}`
    return { kind: 'firewall', rule: name ?? String(number), owner: where, what }
  }

  /** The flow that row i belongs to, now that it was decided, or 0. */
  function flowAfter(key: RowKey, i: number, { slot }: Before): number {
    if (slot !== 0) return slot
    // What an outbound half opened stays, even where the packet was dropped on its way back in.
    if (!isSent(i) && !rose('flows-opened')) return 0
    if (isError(key)) return quotedFlow(key, verdict[i] === TO_INSIDE, off[i] + capBytes[i])
    const inward = side[i] === SIDE_OUTSIDE
    // Behind a twice-NAT the columns name the real peer now.
    return flowOf(key, inward) || (rose('hairpin-packets') ? 0 : flowOf(keyOf(i), inward))
  }

  function isSent(i: number): boolean {
    return verdict[i] === TO_INSIDE || verdict[i] === TO_OUTSIDE
  }

  /** Rules that the flow belongs to, and the one that was asked last, if it is another. */
  function rulesOf(i: number, slot: number): RuleInfo[] {
    const found: RuleInfo[] = []
    if (slot !== 0) {
      for (const [dir, what] of [[0, 'admits the flow outbound'], [1, 'admits the flow inbound']] as const) {
        const number = ruleOf(slot, dir) ?? 0
        if (number !== 0) found.push(midcom(number, what))
      }
    }
    const decided = firewallAsked(), origin = slot === 0 || decided.length > 0 ? 0 : firewall.ruleOf(slot)
    found.push(...decided, ...origin === 0 ? [] : [firewallRule(origin, 'admitted the flow')])
    const asked = ruleDecided[0]
    if (asked === 0) return found
    const isBlocked = verdict[i] === DROP && reason[i] === DENIED_BY_RULE
    const last = midcom(asked, isBlocked ? 'blocks the packet' : 'matches the packet')
    return found.some(({ rule }) => rule === last.rule) ? found : [last, ...found]
  }

  function midcom(number: number, what: string): RuleInfo {
    const known = options.midcomRule(number)
    return { kind: 'midcom', rule: String(known?.rule ?? number), owner: known?.owner ?? null, what }
  }

  function explain(
    i: number, nowMs: number, key: RowKey, path: number, was: Before, slot: number, rules: RuleInfo[],
  ): Explanation {
    const passed = isSent(i)
    const isHairpin = rose('hairpin-packets')
    const linkBytes = l3[i] - off[i]
    const isOpened = rose('flows-opened') && was.slot === 0
    const second = isHairpin && passed && !isError(key) ? flowOf(keyOf(i), true) : 0
    const isStranger = side[i] === SIDE_OUTSIDE && slot === 0
    const head = passed ? 0 : isHairpin ? mappingOf(keyOf(i)) : isStranger ? mappingOf(key) : 0
    const seenNow = see(i)
    const line = printFrame({ ...frames, view: came, off: cameAt, l3: shifted(i) }, i)
    const enteredLine = printPacket(enteredView, linkBytes, capBytes[i])
    const isIp = net[i] >= 4
    return {
      packet: first + i, time: `${frames.sec[i]}.${String(frames.nsec[i]).padStart(9, '0')}`, side: sideOf(i),
      interface: frames.iface[i],
      came: line, entered: isIp && printPacket(came, seenNow.l3, seenNow.off + capBytes[i]) !== enteredLine ? enteredLine : null,
      parse: parseResult(seenNow, path),
      flow: slot === 0 ? null : flowInfo(slot, nowMs, was, isOpened, isOpened && rose('mappings-opened')),
      hairpin: second === 0 ? null
        : flowInfo(second, nowMs, null, counters[at['flows-opened']] - before[at['flows-opened']] > (isOpened ? 1 : 0), false),
      mapping: head === 0 ? null : mappingInfo(head),
      rules,
      evicted: rose('flows-evicted'),
      rewrite: passed ? changes(enteredView, linkBytes, Math.min(capBytes[i], linkBytes + netBytes[i]) - linkBytes, view, l3[i],
        Math.min(capBytes[i], linkBytes + netBytes[i]) - linkBytes) : [],
      verdict: passed ? 'sent' : verdict[i] === HELD ? 'held' : 'dropped',
      to: verdict[i] === TO_INSIDE ? 'inside' : verdict[i] === TO_OUTSIDE ? 'outside' : null,
      left: passed ? printPacket(view, l3[i], Math.min(off[i] + capBytes[i], l3[i] + netBytes[i])) : null,
      reason: verdict[i] === DROP ? reasonInfo(reason[i]) : null,
      also: alsoLeft(),
      answerSuppressed: rose('icmp-errors-suppressed'),
    }
  }

  /** Column of network headers for the bytes as they came; only row i is set. */
  function shifted(i: number): Int32Array {
    const column = new Int32Array(frames.capacity)
    column[i] = cameAt[i] + l3[i] - off[i]
    return column
  }

  function flowInfo(slot: number, nowMs: number, was: Before | null, isOpened: boolean, isNewMapping: boolean): FlowInfo {
    const base = slot << FLOW_BITS, kind = F[base + KIND] >>> 16, flags = F[base + KIND]
    const { state, endsInMs } = stateOf(slot, nowMs)
    const known = was !== null && was.slot === slot
    const isMapped = (flags & MAPPED) !== 0
    const port = (value: number) => hasPorts(kind) || hasIdentifier(kind) ? value : null
    const is6 = kind >>> 8 === 6
    const word = (from: number) => print6(F, base + from)
    return {
      how: isOpened ? 'opened' : 'found', protocol: protocolName(kind & 255),
      inside: endpointText(is6 ? word(0) : print4(F[base + INSIDE]), port(F[base + PORTS] >>> 16)),
      outside: isMapped ? endpointText(print4(F[base + OUTSIDE]), port(F[base + OUTSIDE_PORTS] >>> 16))
        : is6 ? outsideOf6(base, port(F[base + PORTS] >>> 16)) : null,
      peer: endpointText(is6 ? word(4) : print4(F[base + PEER]), hasPorts(kind) ? F[base + PORTS] & 0xffff : null),
      mapping: !isMapped ? null : isNewMapping ? 'opened' : 'found',
      state, stateBefore: known ? was.state : null, endsInMs, endsInMsBefore: known ? was.endsInMs : null,
      blocked: [...(flags & BLOCK_OUT) !== 0 ? ['outbound' as const] : [], ...(flags & BLOCK_IN) !== 0 ? ['inbound' as const] : []],
    }
  }

  /** Inside endpoint of an IPv6 flow where another prefix stands for its own, or null. */
  function outsideOf6(base: number, port: number | null): string | null {
    const address = F.slice(base + INSIDE6, base + INSIDE6 + 4)
    return npt6?.outward(address, 0) === NPT6_DONE ? endpointText(print6(address), port) : null
  }

  function mappingInfo(head: number): MappingInfo {
    const base = head << FLOW_BITS
    const peers: string[] = []
    let slot = head, count = 0
    do {
      if (!isBinding(slot)) {
        count++
        if (peers.length < MOST_PEERS) {
          peers.push(endpointText(print4(F[(slot << FLOW_BITS) + PEER]), F[(slot << FLOW_BITS) + PORTS] & 0xffff || null))
        }
      }
      slot = F[(slot << FLOW_BITS) + RING_NEXT]
    } while (slot !== head && count <= MOST_PEERS)
    return {
      inside: endpointText(print4(F[base + INSIDE]), F[base + PORTS] >>> 16),
      outside: endpointText(print4(F[base + OUTSIDE]), F[base + OUTSIDE_PORTS] >>> 16),
      bound: isBinding(head), peers, morePeers: count > MOST_PEERS,
    }
  }

  function reasonInfo(index: number): ReasonInfo {
    const [name, meaning] = DROP_REASONS[index]
    const { clause, why, hint } = REASON_TEXTS[name]
    return { name, meaning, clause, why, hint }
  }

  /** The first frame that leaves is the packet, if it was sent; what follows are the others, in order. */
  function commentNow(comment: NonNullable<WatchOptions['comment']>, explained: Explanation): string {
    const also = written++ - (explained.verdict === 'sent' ? 1 : 0)
    return comment(explained, also).slice(0, also < 0 ? COMMENT_CHARS : ALSO_CHARS)
  }

  /** Does the next frame that leaves belong to what is explained? Answers of the box that were due by time do not. */
  function isOurs(explained: Explanation): boolean {
    return written < (explained.verdict === 'sent' ? 1 : 0) + explained.also.length
  }

  function commenting(outlet: CommentingOutlet | null): Outlet | null {
    const { comment } = options
    if (outlet === null || comment === null) return outlet
    const most = extras.kind.length
    const roomBytes = CHAR_BYTES * (COMMENT_CHARS + most * ALSO_CHARS) + (most + 1) * OPTION_BYTES
    return {
      room: (bytes) => outlet.room(bytes + roomBytes),
      write: (from, cap, wire, sec, nsec, type, l3) => current === null || !isOurs(current)
        ? outlet.write(from, cap, wire, sec, nsec, type, l3)
        : outlet.writeWithComment(from, cap, wire, sec, nsec, type, commentNow(comment, current)),
    }
  }

  return {
    engine: { ...engine, forward, late }, inside: commenting(outlets.inside), outside: commenting(outlets.outside), arrived,
  }
}

function outcomeBefore(side: Side): Outcome {
  return { verdict: 'sent', reason: null, side, to: null, isNew: false, isAnswered: false, isHairpin: false, rules: [] }
}
