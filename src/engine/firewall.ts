/**
 * The firewall rule set at work (docs/behaviour.md, Firewall rules): it decides on packets that would open a flow and that no rule
 * of MIDCOM decides on, remembers of each flow what the packet was like that opened it, and ends the flows that a new set forbids.
 *
 * A set is replaced in one step. Flows that are there are then examined slot by slot, in slices; a packet that meets a flow which
 * is not examined yet has it examined first (`standing`). While no set is being replaced, a packet of a known flow pays nothing.
 */
import { counterIndex } from '../channel/counters.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import {
  ASKED_WORDS, ASPECT, ASPECT_DIRECTION, ASPECT_IP_OPTIONS, DIRECTION, INTERFACE, LATER, LOCAL, MOST_INTERFACE, PEER,
  PORTS as ASKED_PORTS, PROTOCOL, VERSION, ipOptions, tcpAspect,
} from './firewall-asked.ts'
import { MOST_RULES, type RuleSet } from './firewall-set.ts'
import { BLOCK_OUT, FLOW_BITS, INSIDE, KIND, MAPPED, PEER as FLOW_PEER, PEER6, PORTS, RULED } from './flows.ts'
import { FILTER_ENDPOINT_INDEPENDENT } from './options.ts'
import { CLASS_OF, CLASS_TCP } from './ports.ts'
import type { RuleLinks } from './rule-links.ts'
import { NO_RULE, type Rules } from './rules.ts'
import type { Shared } from './shared.ts'
import { DIR_IN, DIR_OUT } from './tcp-state.ts'

const TCP = 6, ICMP = 1, ICMP6 = 58

/** What the set says: the first rule that matches permits, or denies; or no rule matches. */
export const PERMITTED = 1, SILENT = 0, REFUSED = -1

/** What the last decision was: the number of the rule, 0: none matched; and how many decisions there were (modulo 2^32). */
export const DECIDED_RULE = 0, DECISIONS = 1

/** Flows looked at for the price of one that is examined. */
const SCANS_PER_UNIT = 16

export type Firewall = ReturnType<typeof createFirewall>

export function createFirewall(
  { options, frames, rows, flows, counters, npt6 }: Omit<Shared, 'extras'>, links: RuleLinks, midcom: Rules,
) {
  const { view, off, capBytes, l3, iface, netBytes, side } = frames
  const { kind: kindColumn, peer: peerColumn, l4: l4Column } = rows
  const { F, remove, highest } = flows
  const { filtering, outboundPermit, inboundPermit } = options
  const slots = options.firewall == null ? 0 : options.flows + 1
  const ENDED = counterIndex('firewall-flows-ended'), REPLACED = counterIndex('firewall-replacements')
  /** By slot: the aspect of the packet that opened the flow, and the rule that admitted it << 16 | interface. */
  const aspects = new Int32Array(slots), origins = new Int32Array(slots)
  const $asked = new Int32Array(ASKED_WORDS), $flow = new Int32Array(ASKED_WORDS)
  const $decided = new Int32Array(2)
  /** The next slot to be examined; 0: no set is being replaced. */
  const $next = new Int32Array(1)
  const packets = new Float64Array(slots === 0 ? 0 : MOST_RULES + 1), bytes = new Float64Array(packets.length)
  let set: RuleSet | null = null

  if (options.firewall != null) install(options.firewall.set)

  function install(next: RuleSet): void {
    const nameOf = options.firewall!.interfaceName
    const known: number[] = []
    next.setInterfaceBits((id) => known[id] ??= next.interfaceNames.reduce(
      (mask, name, bit) => name === nameOf(id) || name === String(id) ? mask | 1 << bit : mask, 0))
    packets.fill(0)
    bytes.fill(0)
    set = next.rules.length === 0 ? null : next
  }

  /* Packets. */

  function describe(i: number, dir: number, ports: number): void {
    const kind = kindColumn[i], protocol = kind & 255, l4 = l4Column[i]
    $asked[DIRECTION] = dir
    $asked[VERSION] = kind >>> 8
    $asked[PROTOCOL] = protocol
    $asked[ASKED_PORTS] = CLASS_OF[protocol] <= CLASS_TCP ? ports : 0
    $asked[INTERFACE] = Math.min(iface[i], MOST_INTERFACE)
    $asked[LATER] = 0
    let aspect = dir << ASPECT_DIRECTION
    if (protocol === TCP) aspect |= tcpAspect(view, l4, Math.min(off[i] + capBytes[i], l3[i] + netBytes[i]))
    else if (kind === (4 << 8 | ICMP) || kind === (6 << 8 | ICMP6)) aspect |= view.getUint16(l4)
    if (kind >>> 8 === 4) aspect |= ipOptions(view, l3[i], ipv4.headerBytes(view, l3[i])) << ASPECT_IP_OPTIONS
    $asked[ASPECT] = aspect
  }

  /** What the set says of the packet in row i, whose inside end is `local` with the ports `ports`. */
  function ask4(i: number, dir: number, local: number, ports: number): number {
    if (slots === 0) return SILENT
    describe(i, dir, ports)
    $asked[LOCAL] = local
    $asked[PEER] = peerColumn[i]
    return decide(i)
  }

  /** `key` holds inside and peer address. */
  function ask6(i: number, dir: number, key: Int32Array, ports: number): number {
    if (slots === 0) return SILENT
    describe(i, dir, ports)
    for (let word = 0; word < 8; word++) $asked[LOCAL + word] = key[word]
    return decide(i)
  }

  function decide(i: number): number {
    const rule = set === null ? 0 : set.match($asked)
    $decided[DECIDED_RULE] = rule
    if (set === null) return SILENT
    $decided[DECISIONS]++
    packets[rule]++
    bytes[rule] += netBytes[i]
    return rule === 0 ? SILENT : set.permits(rule) ? PERMITTED : REFUSED
  }

  /**
   * Does the set forbid the later fragment in row i? Its addresses are those that it carries. A rule that does not ask for
   * fragments leaves it to its first one.
   */
  function refusesLater(i: number): boolean {
    if (set === null || !set.hasFrag) return false
    const p = l3[i], kind = kindColumn[i], dir = side[i]
    $asked[DIRECTION] = dir
    $asked[VERSION] = kind >>> 8
    $asked[PROTOCOL] = kind & 255
    $asked[ASKED_PORTS] = 0
    $asked[INTERFACE] = Math.min(iface[i], MOST_INTERFACE)
    $asked[LATER] = 1
    let aspect = dir << ASPECT_DIRECTION
    if (kind >>> 8 === 4) {
      aspect |= ipOptions(view, p, ipv4.headerBytes(view, p)) << ASPECT_IP_OPTIONS
      $asked[LOCAL] = dir === DIR_OUT ? ipv4.src(view, p) : ipv4.dst(view, p)
      $asked[PEER] = dir === DIR_OUT ? ipv4.dst(view, p) : ipv4.src(view, p)
    } else {
      for (let word = 0; word < 4; word++) {
        $asked[LOCAL + word] = dir === DIR_OUT ? ipv6.srcWord(view, p, word) : ipv6.dstWord(view, p, word)
        $asked[PEER + word] = dir === DIR_OUT ? ipv6.dstWord(view, p, word) : ipv6.srcWord(view, p, word)
      }
    }
    $asked[ASPECT] = aspect
    const rule = set.match($asked)
    if (rule === 0 || !set.rules[rule - 1]!.frag) return false
    return decide(i) === REFUSED
  }

  /** The packet that was asked about last has opened a flow, unless `midcomRule`, a rule of MIDCOM, has admitted it. */
  function remember(slot: number, dir: number, midcomRule: number): void {
    if (slots === 0) return
    const isOurs = midcomRule === NO_RULE
    aspects[slot] = isOurs ? $asked[ASPECT] : dir << ASPECT_DIRECTION
    origins[slot] = isOurs ? $asked[INTERFACE] | $decided[DECIDED_RULE] << 16 : 0
  }

  /* Flows. */

  /** The slot, or 0 if the flow there has just ended: a set is being replaced, and the new one forbids it. */
  function standing(slot: number): number {
    if ($next[0] === 0 || slot < $next[0] || examine(slot)) return slot
    return 0
  }

  /** Asks the set about the packet that opened the flow, and ends the flow if it may not be there. False: it has ended. */
  function examine(slot: number): boolean {
    const base = slot << FLOW_BITS
    const word = F[base + KIND], aspect = aspects[slot]
    const dir = aspect >>> ASPECT_DIRECTION & 1
    if ((word & RULED) !== 0) {
      // Rules of MIDCOM admit it. What a firewall rule has opened besides asks again.
      blockUnruled(slot, base)
      return true
    }
    const protocol = word >>> 16 & 255
    $flow[DIRECTION] = dir
    $flow[VERSION] = word >>> 24
    $flow[PROTOCOL] = protocol
    $flow[ASKED_PORTS] = CLASS_OF[protocol] <= CLASS_TCP ? F[base + PORTS] : 0
    $flow[ASPECT] = aspect
    $flow[INTERFACE] = origins[slot] & 0xffff
    if (word >>> 24 === 4) {
      $flow[LOCAL] = F[base + INSIDE]
      $flow[PEER] = F[base + FLOW_PEER]
    } else for (let at = 0; at < 8; at++) $flow[LOCAL + at] = F[base + at]
    const rule = set === null ? 0 : set.match($flow)
    const isThrough = (word & MAPPED) !== 0
    const stays = rule !== 0 ? set!.permits(rule)
      : dir === DIR_OUT ? outboundPermit
        : inboundPermit && !isThrough || origins[slot] >>> 16 === 0 || (isThrough ? mayAnybody(slot) : isHairpin6(base))
    if (stays) {
      origins[slot] = (origins[slot] & 0xffff) | rule << 16
      return true
    }
    counters[ENDED]++
    remove(slot)
    return false
  }

  /** The second half of a hairpin by an IPv6 prefix: no policy about the outside keeps it out, and only it has such a peer. */
  function isHairpin6(base: number): boolean {
    return npt6 !== null && F[base + KIND] >>> 24 === 6 && npt6.isOutside(F[base + PEER6], F[base + PEER6 + 1])
  }

  /** Would the filter admit a packet from outside without an acquaintance? */
  function mayAnybody(slot: number): boolean {
    return filtering === FILTER_ENDPOINT_INDEPENDENT && outboundPermit && !midcom.isBound(slot)
  }

  function blockUnruled(slot: number, base: number): void {
    if ((F[base + KIND] >>> 16 & 255) === TCP || outboundPermit) return
    for (let dir = DIR_OUT; dir <= DIR_IN; dir++) if (links.ruleOf(slot, dir) === 0) F[base + KIND] |= BLOCK_OUT << dir
  }

  /* Replacing the set. */

  /** The set that counts from the next packet on. Its hits begin at 0. */
  function replace(next: RuleSet): void {
    if (slots === 0) throw new Error('the engine was made without a firewall')
    install(next)
    counters[REPLACED]++
    $next[0] = 1
  }

  /** Examines flows, at most about `budget` of them. Returns what is left of the budget; 0 or less: there may be more. */
  function sweep(budget: number): number {
    const last = highest()
    let scanned = 0
    for (let slot = $next[0]; slot <= last; slot++) {
      if (budget <= 0) {
        $next[0] = slot
        return 0
      }
      if (F[(slot << FLOW_BITS) + KIND] !== 0) {
        examine(slot)
        budget--
      } else if ((++scanned & (SCANS_PER_UNIT - 1)) === 0) budget--
    }
    $next[0] = 0
    return budget
  }

  return {
    ask4, ask6, refusesLater, remember, standing, replace, sweep,
    isChanging: () => $next[0] !== 0,
    decided: $decided,
    /** The rule of the present set that admitted the flow in a slot, or 0. */
    ruleOf: (slot: number) => slots === 0 ? 0 : origins[slot] >>> 16,
    /** By number of the rule; of number 0, of packets that no rule matched. */
    packets, bytes,
    set: () => set,
    tableBytes: 4 * (aspects.length + origins.length) + 8 * (packets.length + bytes.length),
  }
}
