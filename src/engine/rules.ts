/**
 * Rules that policy sets (docs/behaviour.md, Rules): which rule decides on a packet, which flows belong to which rule, and what
 * a packet of theirs counts. Rules are asked when a flow is opened and when a packet meets a blocked direction; a packet of an
 * open flow never waits for them.
 */
import { RULE_BOUND, RULE_DISABLE, RULE_TWICE } from '../channel/commands.ts'
import { counterIndex } from '../channel/counters.ts'
import { createClassifier } from '../storage/classifier.ts'
import * as tcp from '../wire/tcp.ts'
import { BLOCK_IN, BLOCK_OUT, FLOW_BITS, INSIDE, KIND, MAPPED, OUTSIDE, OUTSIDE_PORTS, PEER, PORTS, RULED, TWICE } from './flows.ts'
import { CLASSES, CLASS_NONE, CLASS_OF, CLASS_TCP } from './ports.ts'
import type { RuleLinks } from './rule-links.ts'
import type { Shared } from './shared.ts'
import { DIR_IN } from './tcp-state.ts'

const TCP = 6
/** What `judge` says beside the number of an enable rule. */
export const NO_RULE = 0, DISABLED = -1

export type Rules = ReturnType<typeof createRules>

// @req RFC6092 REC-48
export function createRules({ options, frames, rows, flows, pool, counters }: Omit<Shared, 'extras'>, links: RuleLinks) {
  const midcom = options.midcom ?? null
  const limit = midcom?.rules ?? 0
  const { view, netBytes } = frames
  const { kind: kindColumn, peer: peerColumn, l4: l4Column } = rows
  const { F, portOwner, isBinding, addressOwner, remove } = flows
  const { outboundPermit } = options
  const classifier = createClassifier({ capacity: Math.max(1, limit), seed: options.seed })
  const { lookup4, lookup6 } = classifier
  /** RULE_ flags by number; 0: free. */
  const flags = new Uint8Array(limit + 1)
  const handles = new Int32Array(limit + 1)
  const active = new Int32Array(1)
  const lastUsedMs = midcom?.activity.lastUsedMs ?? new Int32Array(1)
  const packets = midcom?.activity.packets ?? new Float64Array(1)
  const bytes = midcom?.activity.bytes ?? new Float64Array(1)
  const CURRENT = counterIndex('rules-current'), ADDED = counterIndex('rules-added'), ENDED = counterIndex('rules-ended')
  const FLOWS_OPENED = counterIndex('rule-flows-opened'), FLOWS_ENDED = counterIndex('rule-flows-ended')
  const $key = new Int32Array(8)
  /** The rule that was looked at last, whatever came of it; for those who explain, who set it back to 0. */
  const decided = new Int32Array(1)

  function add(rule: number, key: Int32Array, priority: number, ruleFlags: number, nowMs: number): void {
    handles[rule] = classifier.insert(key, priority, rule)
    flags[rule] = ruleFlags
    active[0]++
    lastUsedMs[rule] = nowMs
    packets[rule] = bytes[rule] = 0
    counters[CURRENT]++
    counters[ADDED]++
  }

  /** Takes the rule out of the classifier; its flows are `relinquish`'s. */
  function remove1(rule: number): void {
    classifier.remove(handles[rule])
    active[0]--
    counters[CURRENT]--
    counters[ENDED]++
  }

  /** Ports count for TCP and UDP only. */
  function portsOf(protocol: number, ports: number): number {
    return CLASS_OF[protocol] <= CLASS_TCP ? ports : 0
  }

  /** RFC 5189 2.3.5: TCP is admitted by the first segment of a connection. */
  function isFirstSegment(i: number): boolean {
    const set = view.getUint8(l4Column[i] + tcp.FLAGS)
    return (set & (tcp.SYN | tcp.ACK_FLAG | tcp.RST)) === tcp.SYN
  }

  /** The enable rule that admits row i in direction `dir`, NO_RULE or DISABLED. `bound`: it came to a binding. */
  function judge(i: number, rule: number, dir: number, bound: boolean): number {
    if (rule === 0) return NO_RULE
    decided[0] = rule
    if ((flags[rule] & RULE_DISABLE) !== 0) return DISABLED
    if (dir === DIR_IN && !bound && (flags[rule] & RULE_BOUND) !== 0) return NO_RULE
    return (kindColumn[i] & 255) === TCP && !isFirstSegment(i) ? NO_RULE : rule
  }

  function consult4(i: number, dir: number, local: number, ports: number, bound: boolean): number {
    if (active[0] === 0) return NO_RULE
    const protocol = kindColumn[i] & 255
    return judge(i, lookup4(dir, protocol, local, peerColumn[i], portsOf(protocol, ports)), dir, bound)
  }

  /** `key` holds inside and peer address. */
  function consult6(i: number, dir: number, key: Int32Array, ports: number): number {
    if (active[0] === 0) return NO_RULE
    const protocol = kindColumn[i] & 255
    return judge(i, lookup6(dir, protocol, key, 0, portsOf(protocol, ports)), dir, true)
  }

  /** `rule` admitted a new flow in direction `dir`. But for TCP it is one-way unless the firewall permits more (RFC 5189 2.3.5). */
  function adopt(slot: number, dir: number, rule: number): void {
    if (rule === NO_RULE) return
    const base = slot << FLOW_BITS
    links.link(slot, dir, rule)
    let set = RULED
    if (((F[base + KIND] >>> 16) & 255) !== TCP && !outboundPermit) set |= BLOCK_IN >>> dir
    if (dir === DIR_IN && (flags[rule] & RULE_TWICE) !== 0) set |= TWICE
    F[base + KIND] |= set
    counters[FLOWS_OPENED]++
  }

  /** Opens a blocked direction of a flow, for `rule`, or for none. */
  function unblock(slot: number, dir: number, rule: number): void {
    if (rule !== NO_RULE) links.link(slot, dir, rule)
    F[(slot << FLOW_BITS) + KIND] = (F[(slot << FLOW_BITS) + KIND] & ~(BLOCK_OUT << dir)) | RULED
  }

  /** Does what comes to this flow from outside come to a binding? */
  function isBound(slot: number): boolean {
    const base = slot << FLOW_BITS
    if ((F[base + KIND] & MAPPED) === 0) return true
    const index = pool.indexOf(F[base + OUTSIDE])
    if (index >= pool.shared) return addressOwner[index] !== 0
    const portClass = CLASS_OF[(F[base + KIND] >>> 16) & 255]
    if (portClass === CLASS_NONE) return false
    return isBinding(portOwner[((index * CLASSES + portClass) << 16) | (F[base + OUTSIDE_PORTS] >>> 16)])
  }

  /** The rule that would admit a known flow in direction `dir` now, or NO_RULE. */
  function ruleFor(slot: number, dir: number): number {
    const base = slot << FLOW_BITS
    const protocol = (F[base + KIND] >>> 16) & 255
    const ports = portsOf(protocol, F[base + PORTS])
    let rule: number
    if (F[base + KIND] >>> 24 === 4) rule = lookup4(dir, protocol, F[base + INSIDE], F[base + PEER], ports)
    else {
      for (let word = 0; word < 8; word++) $key[word] = F[base + word]
      rule = lookup6(dir, protocol, $key, 0, ports)
    }
    if (rule === 0 || (flags[rule] & RULE_DISABLE) !== 0) return NO_RULE
    return dir === DIR_IN && (flags[rule] & RULE_BOUND) !== 0 && !isBound(slot) ? NO_RULE : rule
  }

  /** Gives up to `most` flows of a rule that has ended to another rule, or ends them. Returns how many; fewer than `most`: done. */
  function relinquish(rule: number, most: number): number {
    for (let n = 0; n < most; n++) {
      const dir = links.first(rule, 0) !== 0 ? 0 : 1
      const slot = links.first(rule, dir)
      if (slot === 0) {
        flags[rule] = 0
        return n
      }
      links.unlink(slot, dir)
      const heir = ruleFor(slot, dir)
      if (heir !== NO_RULE) links.link(slot, dir, heir)
      else if (links.ruleOf(slot, dir ^ 1) !== 0) F[(slot << FLOW_BITS) + KIND] |= BLOCK_OUT << dir
      else {
        counters[FLOWS_ENDED]++
        remove(slot)
      }
    }
    return most
  }

  /** Row i passed by a flow with RULED. */
  function count(i: number, slot: number, dir: number, nowMs: number): void {
    let rule = links.ruleOf(slot, dir)
    if (rule === 0 && (kindColumn[i] & 255) === TCP) rule = links.ruleOf(slot, dir ^ 1)
    if (rule === 0) return
    lastUsedMs[rule] = nowMs
    packets[rule]++
    bytes[rule] += netBytes[i]
  }

  return {
    add, remove: remove1, relinquish, consult4, consult6, adopt, unblock, isBound, count, flags, decided,
    maintain: classifier.maintain,
    bytes: () => links.bytes + classifier.bytes() + flags.byteLength + handles.byteLength,
  }
}
