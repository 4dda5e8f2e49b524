/**
 * Rules that can never decide about a packet, whatever comes: what they match is matched by rules before them, or is never asked
 * about. A rule is a product of sets, one for each thing it may look at, for either IP version; what rules before it leave of that
 * is computed exactly, as a list of such products. Where that list grows too long nothing is said of the rule.
 */
import type { Prefix } from '../../base/address.ts'
import { ICMP, ICMP6, looksAtTransport, TCP, UDP, type AddressTerm, type Bits,
  type FirewallRule } from '../../engine/firewall-rule.ts'
import { isQuery } from '../../engine/look.ts'

export interface Finding {
  /** From 1. */
  number: number
  kind: 'shadowed' | 'never'
  /** Numbers of the rules that leave nothing of it. */
  by: number[]
  /** Do they all decide as it would? */
  redundant: boolean
  /** `never`: why. */
  reason: string | null
}

/** IPv6 addresses are bigints, everything else numbers. */
type Value = number | bigint
interface Span { low: Value; high: Value }
/** Ascending, apart from one another. */
type Values = readonly Span[]
type Box = readonly Values[]

/**
 * Of a product: direction, protocol, source, destination, source ports, destination ports, TCP flags, TCP options, type and code of
 * ICMP, IP options, interface (the last stands for those that no rule names), later fragment.
 */
const PROTOCOL = 1, SOURCE = 2, TYPES = 8, IP_OPTIONS = 9, LATER = 11
/** Products that one rule may fall into, and comparisons of two products in all. */
const MOST_PIECES = 2000, MOST_STEPS = 2_000_000

const after = (value: Value) => typeof value === 'bigint' ? value + 1n : value + 1
const before = (value: Value) => typeof value === 'bigint' ? value - 1n : value - 1
const span = (low: Value, high: Value): Values => [{ low, high }]

function intersect(a: Values, b: Values): Values {
  const both: Span[] = []
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const low = a[i]!.low > b[j]!.low ? a[i]!.low : b[j]!.low
    const high = a[i]!.high < b[j]!.high ? a[i]!.high : b[j]!.high
    if (low <= high) both.push({ low, high })
    if (a[i]!.high < b[j]!.high) i++
    else j++
  }
  return both
}

function subtract(a: Values, b: Values): Values {
  let left: Values = a
  for (const { low, high } of b) {
    left = left.flatMap((one) => {
      if (one.high < low || one.low > high) return [one]
      return [...one.low < low ? span(one.low, before(low)) : [], ...one.high > high ? span(after(high), one.high) : []]
    })
  }
  return left
}

function join(spans: readonly Span[]): Values {
  const sorted = [...spans].sort((a, b) => a.low < b.low ? -1 : a.low > b.low ? 1 : 0)
  const joined: Span[] = []
  for (const { low, high } of sorted) {
    const last = joined.at(-1)
    if (last !== undefined && low <= after(last.high)) last.high = last.high > high ? last.high : high
    else joined.push({ low, high })
  }
  return joined
}

function pick(most: number, holds: (value: number) => boolean): Values {
  return join(Array.from({ length: most + 1 }, (_, value) => value).filter(holds).map((value) => ({ low: value, high: value })))
}

/* A rule as products. */

function addressSpan({ version, words, prefixBits }: Prefix): Span {
  if (version === 4) {
    const low = words[0]! >>> 0
    return { low, high: low + 2 ** (32 - prefixBits) - 1 }
  }
  const low = words.reduce((sum, word) => sum << 32n | BigInt(word >>> 0), 0n)
  return { low, high: low + (1n << BigInt(128 - prefixBits)) - 1n }
}

function everywhere(version: 4 | 6): Values {
  return version === 4 ? span(0, 0xffffffff) : span(0n, (1n << 128n) - 1n)
}

function addresses(terms: readonly AddressTerm[], version: 4 | 6, assigned: readonly Prefix[]): Values {
  if (terms.length === 0) return everywhere(version)
  const of = (not: boolean) => terms.filter((term) => term.not === not).flatMap((term) => 'prefix' in term ? [term.prefix]
    : assigned)
    .filter((prefix) => prefix.version === version)
  const wanted = of(false), unwanted = of(true)
  if (wanted.length + unwanted.length === 0) return []
  const from = wanted.length === 0 ? everywhere(version) : join(wanted.map(addressSpan))
  return subtract(from, join(unwanted.map(addressSpan)))
}

function bits({ set, clear }: Bits, most: number): Values {
  return (set | clear) === 0 ? span(0, most) : pick(most, (value) => (value & set) === set && (value & clear) === 0)
}

function boxOf(rule: FirewallRule, version: 4 | 6, assigned: readonly Prefix[], names: readonly string[]): Box {
  const { protocols, sourcePorts, destinationPorts, icmp, tcpFlags, tcpOptions, established, interfaces } = rule
  let protocol = protocols === null ? span(0, 255) : join(protocols.map((one) => ({ low: one, high: one })))
  if (sourcePorts !== null || destinationPorts !== null) protocol = intersect(protocol, join([span(TCP, TCP), span(UDP,
    UDP)].flat()))
  const icmpProtocol = version === 4 ? ICMP : ICMP6
  if (icmp !== null) protocol = intersect(protocol, span(icmpProtocol, icmpProtocol))
  const flags = bits(tcpFlags, 63)
  const looksAtTcp = established || (tcpFlags.set | tcpFlags.clear | tcpOptions.set | tcpOptions.clear) !== 0
  if (looksAtTcp) protocol = intersect(protocol, span(TCP, TCP))
  const isNamed = (index: number) => interfaces === null || interfaces.names.includes(names[index] ?? '') !== interfaces.not
  return [
    pick(1, (dir) => (rule.directions >>> dir & 1) !== 0), protocol, addresses(rule.source, version, assigned),
    addresses(rule.destination, version, assigned), sourcePorts ?? span(0, 65535), destinationPorts ?? span(0, 65535),
    established ? intersect(flags, pick(63, (value) => (value & 20) !== 0)) : flags, bits(tcpOptions, 31), icmp ?? span(0, 0xffff),
    bits(rule.ipOptions, 15), pick(names.length, isNamed), rule.frag ? span(1, 1) : looksAtTransport(rule) ? span(0, 0) : span(0,
      1),
  ]
}

function both(a: Box, b: Box): Box | null {
  const box = a.map((values, i) => intersect(values, b[i]!))
  return box.some((values) => values.length === 0) ? null : box
}

/** What `b` leaves of `a`, as products that have nothing in common. */
function rest(a: Box, b: Box): Box[] {
  const shared = both(a, b)
  if (shared === null) return [a]
  const pieces: Box[] = []
  for (let i = 0; i < a.length; i++) {
    const left = subtract(a[i]!, b[i]!)
    if (left.length > 0) pieces.push(a.map((values, n) => n < i ? shared[n]! : n === i ? left : values))
  }
  return pieces
}

/* What rules are ever asked about. */

const WORLD: { dimension: number; values: (version: 4 | 6, hasFrag: boolean) => Values; reason: string }[] = [
  { dimension: IP_OPTIONS, values: (version) => version === 6 ? span(0, 0) : pick(15, (value) => (value & 3) === 0),
    reason: 'packets with a source route are dropped before, and IPv6 has none of these options' },
  { dimension: LATER, values: (_, hasFrag) => span(0, hasFrag ? 1 : 0), reason: 'no rule asks for fragments' },
]

/** Types of ICMP open flows only as queries; of other protocols the column says nothing. */
function typesThatOpen(box: Box, version: 4 | 6): Box[] {
  const icmp = version === 4 ? ICMP : ICMP6
  const others = subtract(box[PROTOCOL]!, span(icmp, icmp))
  const queries = join(Array.from({ length: 256 }, (_, type) => type).filter((type) => isQuery(version, type))
    .map((type) => ({ low: type << 8, high: type << 8 | 255 })))
  const own = intersect(box[PROTOCOL]!, span(icmp, icmp)), types = intersect(box[TYPES]!, queries)
  const withTypes = (protocol: Values, values: Values) => protocol.length === 0 || values.length === 0 ? []
    : [box.map((one, i) => i === PROTOCOL ? protocol : i === TYPES ? values : one)]
  // A later fragment of ICMP has no type.
  const isLater = intersect(box[LATER]!, span(1, 1)).length > 0
  return [...withTypes(others, box[TYPES]!), ...isLater ? withTypes(own, box[TYPES]!) : withTypes(own, types)]
}

/** What the rule can be asked about, by IP version; or why that is nothing. */
function possible(boxes: { version: 4 | 6; box: Box }[], hasFrag: boolean): { boxes: Box[]; reason: string | null } {
  if (boxes.every(({ box }) => box.some((values) => values.length === 0))) {
    return { boxes: [],
      reason: 'no packet has all that it asks for: its addresses are of no IP version in common, or nothing is left of a list' }
  }
  const left: Box[] = []
  let reason = 'an ICMP message of these types opens no flow: errors and replies go with the flow they belong to, and others are '
    + 'not forwarded'
  for (const { version, box } of boxes) {
    let now: Box | null = box.some((values) => values.length === 0) ? null : box
    for (const { dimension, values, reason: why } of WORLD) {
      if (now === null) break
      const held = intersect(now[dimension]!, values(version, hasFrag))
      if (held.length === 0) reason = why
      now = held.length === 0 ? null : now.map((one, i) => i === dimension ? held : one)
    }
    if (now !== null) left.push(...typesThatOpen(now, version))
  }
  return { boxes: left, reason: left.length === 0 ? reason : null }
}

/** Rules that never decide, in order. `undecided`: rules about which nothing could be said. */
export function findShadows(rules: readonly FirewallRule[],
  assigned: readonly Prefix[]): { findings: Finding[]; undecided: number[] } {
  const names = [...new Set(rules.flatMap(({ interfaces }) => interfaces?.names ?? []))]
  const hasFrag = rules.some(({ frag }) => frag)
  const all = rules.map((rule) => ([4, 6] as const).map((version) => ({ version, box: boxOf(rule, version, assigned, names) })))
  const findings: Finding[] = [], undecided: number[] = []
  let steps = 0
  all.forEach((boxes, i) => {
    const number = i + 1
    const { boxes: start, reason } = possible(boxes, hasFrag)
    if (reason !== null) {
      findings.push({ number, kind: 'never', by: [], redundant: false, reason })
      return
    }
    let left = start
    const by: number[] = []
    for (let n = 0; n < i && left.length > 0; n++) {
      steps += 2 * left.length
      if (steps > MOST_STEPS || left.length > MOST_PIECES) break
      const earlier = all[n]!.map(({ box }) => box).filter((box) => box.every((values) => values.length > 0))
      let touched = false
      left = left.flatMap((piece) => {
        // Of either IP version; products of different versions have no address in common, for numbers are no bigints.
        const same = earlier.filter((box) => typeof box[SOURCE]![0]!.low === typeof piece[SOURCE]![0]!.low)
        let pieces: Box[] = [piece]
        for (const box of same) {
          touched ||= pieces.some((one) => both(one, box) !== null)
          pieces = pieces.flatMap((one) => rest(one, box))
        }
        return pieces
      })
      if (touched) by.push(n + 1)
    }
    if (left.length === 0) {
      const redundant = by.every((other) => rules[other - 1]!.permit === rules[i]!.permit)
      findings.push({ number, kind: 'shadowed', by, redundant, reason: null })
    } else if (steps > MOST_STEPS || left.length > MOST_PIECES) undecided.push(number)
  })
  return { findings, undecided }
}

/** A finding in words. */
export function findingText({ kind, by, redundant, reason }: Finding): string {
  if (kind === 'never') return `never matches: ${reason}`
  const numbers = by.length === 1 ? `rule ${by[0]}`
    : `rules ${by.slice(0, 8).join(', ')}${by.length > 8 ? ` and ${by.length - 8} more` : ''}`
  return `shadowed: ${numbers} before it ${by.length === 1 ? 'matches' : 'match'} all that it could match`
    + (redundant ? ', with the same result' : '')
}
