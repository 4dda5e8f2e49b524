/** IPv6 packets: by the flow that they belong to or open, with another prefix where that is configured (RFC 6296). */
import { counterIndex } from '../channel/counters.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { SIDE_INSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as ipv6 from '../wire/ipv6.ts'
import type { Admission } from './admission.ts'
import { PERMITTED, REFUSED, SILENT, type Firewall } from './firewall.ts'
import { FLOW_BITS, KIND, RULED } from './flows.ts'
import { type PrefixGateParts, createPrefixGate, createPrefixes } from './prefixes.ts'
import { DISABLED, NO_RULE, type Rules } from './rules.ts'
import type { Shared } from './shared.ts'
import { DIR_IN, DIR_OUT } from './tcp-state.ts'

const INSIDE_TO_INSIDE = reasonIndex('inside-to-inside'), OUTSIDE_TO_OUTSIDE = reasonIndex('outside-to-outside')
const NO_STATE = reasonIndex('no-state'), DENIED = reasonIndex('denied')
const DENIED_BY_FIREWALL = reasonIndex('denied-by-firewall'), DENIED_BY_RULE = reasonIndex('denied-by-rule')
const FLOW_TABLE_FULL = reasonIndex('flow-table-full')
const ICMP6 = 58

export interface Path6Parts extends Omit<PrefixGateParts, 'seen'> {
  /** The time of the packet that is decided, one word. */
  now: Int32Array
  admission: Admission
  rules: Rules
  firewall: Firewall
}

export function createPath6(shared: Shared, parts: Path6Parts) {
  const { options, frames, rows, flows, counters, npt6, share } = shared
  const { view, l3, side, verdict } = frames
  const { ports: portsColumn, kind: kindColumn, hash: hashColumn } = rows
  const { F, find6, hash6, open6 } = flows
  const { has6 } = options.inside
  const { outboundPermit } = options
  const { now: $now, key: $key } = parts
  const { drop, refuse, prohibit, unavailing, opening, opened, isIcmpReply, meet, admitFromOutside } = parts.admission
  const { consult6, count } = parts.rules
  const { ask6, standing } = parts.firewall
  const HAIRPINS = counterIndex('hairpin-packets')
  // The ends as the outside sees them.
  const $seen = new Int32Array(8)
  const prefixes = npt6 === null ? null : createPrefixes(frames, npt6)
  const gate = npt6 === null ? null : createPrefixGate(shared, { ...parts, seen: $seen })

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
    if (dir === DIR_OUT && has6($key[4], $key[5], $key[6], $key[7])) return refuse(i, INSIDE_TO_INSIDE)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
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
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE) - 1
    const said = rule === NO_RULE ? ask6(i, DIR_OUT, $key, portsColumn[i]) : PERMITTED
    if (said === REFUSED) return prohibit(i, DENIED_BY_FIREWALL) - 1
    if (said === SILENT && !outboundPermit) return prohibit(i, DENIED) - 1
    return opening(i, DIR_OUT, 0, 0)
  }

  return { pass6 }
}
