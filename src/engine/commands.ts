/**
 * Carries out what policy has put into the ring (channel/commands.ts), in order and in slices: a record that concerns many flows
 * goes on where the last slice stopped, and counts as carried out when all of it is.
 */
import * as command from '../channel/commands.ts'
import { counterIndex } from '../channel/counters.ts'
import * as condition from '../storage/classifier.ts'
import { FLOW_BITS, INSIDE, KIND, MAPPED, OUTSIDE, PEER, PORTS } from './flows.ts'
import type { InsideBindings } from './inside-bindings.ts'
import { CLASS_OF, CLASS_TCP } from './ports.ts'
import type { Rules } from './rules.ts'
import type { Shared } from './shared.ts'

/** Flows looked at for the price of one that ends. */
const SCANS_PER_UNIT = 16
const ANY_PORTS = 0xffff
/** Re-indexing of the classifier done in one slice: nobody waits for it, so that those who do wait less. */
const UPKEEP_UNITS = 8

export function createCommands({ options, flows, counters }: Omit<Shared, 'extras'>, rules: Rules, inside: InsideBindings) {
  const ring = options.midcom?.ring ?? command.createCommandRing(1)
  const words = ring.words
  const { F, remove, bindPort, unbindPort, bindAddress, unbindAddress, highest } = flows
  const BINDINGS = counterIndex('bindings-current'), FLOWS_ENDED = counterIndex('rule-flows-ended')
  const $key = new Int32Array(condition.RULE_KEY_WORDS)
  // Of the record under way: the next flow or port, 0 before the first slice. Of a slice: the units left.
  const $progress = new Int32Array(1)
  const $left = new Int32Array(1)

  function addRule(at: number, nowMs: number): boolean {
    const flags = words[at + command.FLAGS]
    if ($progress[0] === 0) {
      $key[condition.KEY_VERSION] = words[at + command.VERSION]
      $key[condition.KEY_ZONES] = (flags & command.RULE_DISABLE) !== 0 ? 3 : (flags & (command.RULE_OUT | command.RULE_IN)) >>> 1
      $key[condition.KEY_PROTOCOL] = words[at + command.PROTOCOL]
      $key[condition.KEY_LOCAL_BITS] = words[at + command.LOCAL_BITS]
      $key[condition.KEY_PEER_BITS] = words[at + command.PEER_BITS]
      $key[condition.KEY_LOCAL_PORTS] = words[at + command.LOCAL_PORTS]
      $key[condition.KEY_PEER_PORTS] = words[at + command.PEER_PORTS]
      $key[condition.KEY_PAIRED] = (flags & command.RULE_DISABLE) === 0 && isPaired(at) ? 1 : 0
      for (let word = 0; word < 4; word++) {
        $key[condition.KEY_LOCAL + word] = words[at + command.LOCAL + word]
        $key[condition.KEY_PEER + word] = words[at + command.PEER + word]
      }
      rules.add(words[at + command.RULE], $key, words[at + command.PRIORITY], flags, nowMs)
    }
    if ((flags & command.RULE_DISABLE) === 0) return true
    return sweep(at, true)
  }

  /** RFC 5189 2.3.6: ranges of n ports stand for n rules, each with one port of either. */
  function isPaired(at: number): boolean {
    const local = words[at + command.LOCAL_PORTS], peer = words[at + command.PEER_PORTS]
    return local !== ANY_PORTS && peer !== ANY_PORTS && (local & 0xffff) - (local >>> 16) === (peer & 0xffff) - (peer >>> 16)
  }

  function deleteRule(at: number): boolean {
    const rule = words[at + command.RULE]
    if ($progress[0] === 0) rules.remove(rule)
    $progress[0] = 1
    const ended = rules.relinquish(rule, $left[0])
    const isDone = ended < $left[0]
    $left[0] -= ended
    return isDone
  }

  /** Ends every flow that a disable rule matches, or that uses an outside address which is no longer bound. */
  function sweep(at: number, isRule: boolean): boolean {
    const last = highest()
    let scanned = 0
    for (let slot = Math.max(1, $progress[0]); slot <= last; slot++) {
      if ($left[0] <= 0) {
        $progress[0] = slot
        return false
      }
      const base = slot << FLOW_BITS
      if (F[base + KIND] !== 0) {
        if (isRule ? matches(at, base) : uses(at, base)) {
          counters[FLOWS_ENDED]++
          remove(slot)
          $left[0]--
        }
      }
      if ((++scanned & (SCANS_PER_UNIT - 1)) === 0) $left[0]--
    }
    return true
  }

  function uses(at: number, base: number): boolean {
    return F[base + OUTSIDE] === words[at + command.OUTSIDE_ADDRESS] && (F[base + KIND] & MAPPED) !== 0
  }

  function within(at: number, base: number, bits: number): boolean {
    for (let word = 0; bits > 0; word++, bits -= 32) {
      const mask = bits >= 32 ? -1 : -1 << (32 - bits)
      if (((words[at + word] ^ F[base + word]) & mask) !== 0) return false
    }
    return true
  }

  /** Does the condition of the rule at `at` hold for the flow at `base`? */
  function matches(at: number, base: number): boolean {
    const version = words[at + command.VERSION]
    const protocol = (F[base + KIND] >>> 16) & 255
    if (F[base + KIND] >>> 24 !== version) return false
    if (words[at + command.PROTOCOL] >= 0 && words[at + command.PROTOCOL] !== protocol) return false
    const ports = CLASS_OF[protocol] <= CLASS_TCP ? F[base + PORTS] : 0
    return inRange(words[at + command.LOCAL_PORTS], ports >>> 16) && inRange(words[at + command.PEER_PORTS], ports & 0xffff)
      && within(at + command.LOCAL, base + INSIDE, words[at + command.LOCAL_BITS])
      && within(at + command.PEER, base + (version === 4 ? PEER : 4), words[at + command.PEER_BITS])
  }

  function inRange(range: number, port: number): boolean {
    return port >= range >>> 16 && port <= (range & 0xffff)
  }

  function bindPorts(at: number): boolean {
    const count = words[at + command.COUNT]
    for (let n = 0; n < count; n++) {
      bindPort(words[at + command.PROTOCOL], words[at + command.LOCAL], words[at + command.LOCAL_PORT] + n,
        words[at + command.OUTSIDE_ADDRESS], words[at + command.OUTSIDE_PORT] + n)
    }
    $left[0] -= count
    counters[BINDINGS] += count
    return true
  }

  function unbindPorts(at: number): boolean {
    const count = words[at + command.COUNT]
    for (let n = $progress[0]; n < count; n++) {
      const port = words[at + command.OUTSIDE_PORT] + n
      const ended = unbindPort(words[at + command.PROTOCOL], words[at + command.OUTSIDE_ADDRESS], port, $left[0])
      counters[FLOWS_ENDED] += ended
      const isDone = ended < $left[0]
      $left[0] -= ended
      if (!isDone) {
        $progress[0] = n
        return false
      }
      counters[BINDINGS]--
    }
    return true
  }

  function unbindWholeAddress(at: number): boolean {
    if ($progress[0] === 0) {
      unbindAddress(words[at + command.LOCAL], words[at + command.OUTSIDE_ADDRESS])
      counters[BINDINGS]--
    }
    return sweep(at, false)
  }

  /** Carries out the record at `at`, or as much of it as the slice allows: true when all is done. */
  function carryOut(at: number, nowMs: number): boolean {
    switch (words[at + command.OP]) {
      case command.OP_RULE_ADD: return addRule(at, nowMs)
      case command.OP_RULE_DELETE: return deleteRule(at)
      case command.OP_BIND_PORTS: return bindPorts(at)
      case command.OP_UNBIND_PORTS: return unbindPorts(at)
      case command.OP_BIND_ADDRESS:
        bindAddress(words[at + command.LOCAL], words[at + command.OUTSIDE_ADDRESS])
        counters[BINDINGS]++
        return true
      case command.OP_UNBIND_ADDRESS: return unbindWholeAddress(at)
      case command.OP_BIND_INSIDE:
        inside.bind(words[at + command.PROTOCOL], words[at + command.INSIDE_ADDRESS], words[at + command.INSIDE_PORT],
          words[at + command.PEER], words[at + command.PEER_PORT], words[at + command.COUNT])
        return true
      case command.OP_UNBIND_INSIDE:
        inside.unbind(words[at + command.PROTOCOL], words[at + command.INSIDE_ADDRESS], words[at + command.INSIDE_PORT],
          words[at + command.COUNT])
    }
    return true
  }

  /** At most about `budget` units of work (a record, a flow ended, 16 flows looked at); true while more is left. */
  function apply(nowMs: number, budget: number): boolean {
    $left[0] = Math.min(budget, 0x3fffffff)
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      if ($left[0] <= 0 || !carryOut(at, nowMs)) return true
      $progress[0] = 0
      $left[0]--
      ring.done()
    }
    return rules.maintain(Math.max(0, Math.min($left[0], UPKEEP_UNITS)))
  }

  return { apply }
}
