/**
 * A rule set as tables: which of the ordered rules is the first to match (docs/behaviour.md, Firewall rules). The classifier finds
 * what addresses, ports, protocol and direction say. Conditions that it cannot hold (negations, flags, options, ICMP types,
 * interfaces, long lists of protocols) are checked on its candidates: rules with such conditions lie in layers, in each of which no
 * two can match the same packet as far as the classifier sees it, so that a layer has one candidate at most, and the first of all
 * layers that passes its check decides. What fits no layer is looked at in order.
 *
 * A set is built once, off the packet path, in slices if wished, and never changes.
 */
import type { Prefix } from '../base/address.ts'
import * as condition from '../storage/classifier.ts'
import { type Classifier, createClassifier } from '../storage/classifier.ts'
import {
  ASPECT, ASPECT_IP_OPTIONS, ASPECT_TCP_OPTIONS, DIRECTION, INTERFACE, LATER, LOCAL, PEER, PORTS, PROTOCOL, VERSION,
} from './firewall-asked.ts'
import { type AddressTerm, type FirewallRule, ICMP, ICMP6, TCP, UDP, looksAtTransport, type Span } from './firewall-rule.ts'

/** Rules of a set; entries of its classifiers, which a rule with lists has many of. */
export const MOST_RULES = 4096, MOST_ENTRIES = 1 << 16
/** Distinct names of interfaces in a set: one bit each. */
export const MOST_INTERFACES = 31
/** Layers, and rules that are looked at one by one before a layer is worth it. */
const LAYERS = 8, FEW = 8
/** Longer lists of protocols are checked on candidates. */
const FEW_PROTOCOLS = 4
/** Of two entries, in a step of the building. */
const COMPARISONS = 64
const VERSIONS = [4, 6] as const
const ANY_PORTS = 0xffff

/** A rule's record in `words`. Lists begin at an offset, 0: none. */
const R_PERMIT = 0, R_DIRECTIONS = 1, R_FLAGS = 2, R_IP_OPTIONS = 3, R_INTERFACES = 4, R_FRAG = 5, R_SOURCE = 6, R_DESTINATION = 7
const R_SOURCE_PORTS = 8, R_DESTINATION_PORTS = 9, R_ICMP = 10, R_PROTOCOLS = 11
const RULE_BITS = 4
/** Of R_FLAGS: what must be set, what must not, and any of RST and ACK; flags and options in one mask. */
const FLAG_MASK = 0x7ff, ESTABLISHED = 1 << 30
const RST_ACK = 4 | 16
/** An address term: version | not << 8, prefix length, four words. */
const TERM_WORDS = 6
const TERM_NOT = 0x100

export interface RuleSet {
  readonly rules: readonly FirewallRule[]
  /** Number of the first rule that matches, from 1, or 0. `asked`: see firewall-asked.ts; a later fragment only with `hasFrag`. */
  match(asked: Int32Array): number
  permits(rule: number): boolean
  /** Does a rule ask for later fragments? If not, none says anything about them. */
  readonly hasFrag: boolean
  /** Names and numbers of interfaces that rules name; bit n of what `setInterfaceBits` is told stands for the n-th. */
  readonly interfaceNames: readonly string[]
  setInterfaceBits(of: (id: number) => number): void
  readonly bytes: () => number
}

export interface RuleSetBuilder {
  /** Does up to `units` steps, of a few microseconds each at the most; true while more are left. */
  step(units: number): boolean
  /** Once that is done. */
  set(): RuleSet
}

interface Entry { rule: number; key: Int32Array }

/** A rule set at once. `assigned`: the inside network. Throws RangeError beyond the limits above. */
export function createRuleSet(rules: readonly FirewallRule[], assigned: readonly Prefix[], seed: number): RuleSet {
  const builder = buildRuleSet(rules, assigned, seed)
  while (builder.step(MOST_ENTRIES));
  return builder.set()
}

export function buildRuleSet(rules: readonly FirewallRule[], assigned: readonly Prefix[], seed: number): RuleSetBuilder {
  if (rules.length > MOST_RULES) throw new RangeError('too many firewall rules')
  if (countEntries(rules, assigned) > MOST_ENTRIES) throw new RangeError('firewall rules with too many entries')
  const tables = compile(rules, assigned)
  const holds = createHolds(tables)
  const numbers = Array.from(rules, (_, i) => i + 1)
  const hasFrag = rules.some(({ frag }) => frag)
  const whole = buildMatcher(numbers.filter((number) => !rules[number - 1]!.frag), tables, false, seed, holds)
  const forLater = hasFrag ? numbers.filter((number) => !looksAtTransport(rules[number - 1]!)) : []
  const later = buildMatcher(forLater, tables, true, seed, holds)
  let isDone = false
  return {
    step(units) {
      for (let n = 0; n < units && !isDone; n++) isDone = !whole.step() && !later.step()
      return !isDone
    },
    set() {
      if (!isDone) throw new Error('the rule set is not built yet')
      const matchWhole = whole.match, matchLater = later.match
      return {
        rules, hasFrag, interfaceNames: tables.names,
        match: (asked) => asked[LATER] === 0 ? matchWhole(asked) : matchLater(asked),
        permits: (rule) => tables.words[(rule << RULE_BITS) + R_PERMIT] !== 0,
        setInterfaceBits(of) { tables.bits.of = of },
        bytes: () => 4 * tables.words.length + whole.bytes() + later.bytes(),
      }
    },
  }
}

/** Entries that these rules take, or more than `MOST_ENTRIES`. */
export function countEntries(rules: readonly FirewallRule[], assigned: readonly Prefix[]): number {
  let count = 0
  for (const rule of rules) {
    count += entryCount(rule, assigned)
    if (count > MOST_ENTRIES) break
  }
  return count
}

interface Tables {
  rules: readonly FirewallRule[]
  assigned: readonly Prefix[]
  words: Int32Array
  names: string[]
  bits: { of: (id: number) => number }
}

/* A rule as words. */

function compile(rules: readonly FirewallRule[], assigned: readonly Prefix[]): Tables {
  const words: number[] = new Array<number>((rules.length + 1) << RULE_BITS).fill(0)
  const names = [...new Set(rules.flatMap(({ interfaces }) => interfaces?.names ?? []))]
  if (names.length > MOST_INTERFACES) throw new RangeError('too many names of interfaces')
  const list = (parts: readonly number[], count: number): number => {
    words.push(count, ...parts)
    return words.length - parts.length - 1
  }
  const spans = (of: readonly Span[] | null) => of === null ? 0 : list(of.flatMap(({ low, high }) => [low, high]), of.length)
  const terms = (of: readonly AddressTerm[]) => {
    if (of.length === 0) return 0
    const all = of.flatMap((term) => 'prefix' in term ? [{ not: term.not, prefix: term.prefix }]
      : assigned.map((prefix) => ({ not: term.not, prefix })))
    return list(all.flatMap(({ not, prefix: { version, prefixBits, words: [w0 = 0, w1 = 0, w2 = 0, w3 = 0] } }) =>
      [version | (not ? TERM_NOT : 0), prefixBits, w0, w1, w2, w3]), all.length)
  }
  rules.forEach((rule, i) => {
    const r = (i + 1) << RULE_BITS
    const { tcpFlags, tcpOptions, ipOptions, interfaces, protocols } = rule
    words[r + R_PERMIT] = rule.permit ? 1 : 0
    words[r + R_DIRECTIONS] = rule.directions
    words[r + R_FLAGS] = tcpFlags.set | tcpOptions.set << ASPECT_TCP_OPTIONS
      | (tcpFlags.clear | tcpOptions.clear << ASPECT_TCP_OPTIONS) << 11 | (rule.established ? ESTABLISHED : 0)
    words[r + R_IP_OPTIONS] = ipOptions.set | ipOptions.clear << 4
    if (interfaces !== null) {
      words[r + R_INTERFACES] = interfaces.names.reduce((mask, name) => mask | 1 << names.indexOf(name), 0)
        | (interfaces.not ? 1 << MOST_INTERFACES : 0)
    }
    words[r + R_FRAG] = rule.frag ? 1 : 0
    words[r + R_SOURCE] = terms(rule.source)
    words[r + R_DESTINATION] = terms(rule.destination)
    words[r + R_SOURCE_PORTS] = spans(rule.sourcePorts)
    words[r + R_DESTINATION_PORTS] = spans(rule.destinationPorts)
    words[r + R_ICMP] = spans(rule.icmp)
    if (protocols !== null) {
      const mask = new Array<number>(8).fill(0)
      for (const protocol of protocols) mask[protocol >> 5]! |= 1 << (protocol & 31)
      words[r + R_PROTOCOLS] = list(mask, 8)
    }
  })
  return { rules, assigned, words: Int32Array.from(words), names, bits: { of: () => 0 } }
}

/** Every condition of a rule on what is asked: the exact and slow answer, for candidates. */
function createHolds({ words: w, bits }: Tables): (rule: number, asked: Int32Array) => boolean {
  function isWithin(asked: Int32Array, at: number, term: number, version: number): boolean {
    let left = w[term + 1]
    for (let word = 0; left > 0 && word < (version === 4 ? 1 : 4); word++, left -= 32) {
      const mask = left >= 32 ? -1 : -1 << (32 - left)
      if (((asked[at + word] ^ w[term + 2 + word]) & mask) !== 0) return false
    }
    return true
  }

  function isOneOf(asked: Int32Array, at: number, terms: number): boolean {
    if (terms === 0) return true
    const version = asked[VERSION]
    let known = false, wanted = false, found = false
    for (let n = 0, term = terms + 1; n < w[terms]; n++, term += TERM_WORDS) {
      if ((w[term] & 255) !== version) continue
      known = true
      const within = isWithin(asked, at, term, version)
      if ((w[term] & TERM_NOT) === 0) {
        wanted = true
        found ||= within
      } else if (within) return false
    }
    return known && (found || !wanted)
  }

  function isInSpans(spans: number, value: number): boolean {
    if (spans === 0) return true
    for (let n = 0, at = spans + 1; n < w[spans]; n++, at += 2) if (value >= w[at] && value <= w[at + 1]) return true
    return false
  }

  function holdsInTransport(r: number, asked: Int32Array): boolean {
    const protocol = asked[PROTOCOL], isLater = asked[LATER] !== 0
    const ports = w[r + R_SOURCE_PORTS] | w[r + R_DESTINATION_PORTS]
    if (ports !== 0) {
      if (isLater || (protocol !== TCP && protocol !== UDP)) return false
      const local = asked[PORTS] >>> 16, peer = asked[PORTS] & 0xffff
      const isOut = asked[DIRECTION] === 0
      if (!isInSpans(w[r + R_SOURCE_PORTS], isOut ? local : peer)) return false
      if (!isInSpans(w[r + R_DESTINATION_PORTS], isOut ? peer : local)) return false
    }
    if (w[r + R_ICMP] !== 0) {
      if (isLater || protocol !== (asked[VERSION] === 4 ? ICMP : ICMP6)) return false
      if (!isInSpans(w[r + R_ICMP], asked[ASPECT] & 0xffff)) return false
    }
    const flags = w[r + R_FLAGS]
    if (flags === 0) return true
    if (isLater || protocol !== TCP) return false
    const there = asked[ASPECT] & FLAG_MASK, set = flags & FLAG_MASK
    return (there & set) === set && (there & flags >>> 11 & FLAG_MASK) === 0
      && ((flags & ESTABLISHED) === 0 || (there & RST_ACK) !== 0)
  }

  return (rule, asked) => {
    const r = rule << RULE_BITS
    if ((w[r + R_DIRECTIONS] >>> asked[DIRECTION] & 1) === 0 || w[r + R_FRAG] > asked[LATER]) return false
    const protocols = w[r + R_PROTOCOLS]
    if (protocols !== 0 && (w[protocols + 1 + (asked[PROTOCOL] >>> 5)] >>> (asked[PROTOCOL] & 31) & 1) === 0) return false
    const isOut = asked[DIRECTION] === 0
    if (!isOneOf(asked, isOut ? LOCAL : PEER, w[r + R_SOURCE])) return false
    if (!isOneOf(asked, isOut ? PEER : LOCAL, w[r + R_DESTINATION])) return false
    const ipOptions = w[r + R_IP_OPTIONS]
    if (ipOptions !== 0) {
      const there = asked[ASPECT] >>> ASPECT_IP_OPTIONS & 15
      if ((there & ipOptions & 15) !== (ipOptions & 15) || (there & ipOptions >>> 4) !== 0) return false
    }
    const interfaces = w[r + R_INTERFACES]
    if (interfaces !== 0) {
      const isNamed = (interfaces & bits.of(asked[INTERFACE]) & 0x7fffffff) !== 0
      if (isNamed === interfaces < 0) return false
    }
    return holdsInTransport(r, asked)
  }
}

/* Finding the first rule. */

interface Matcher {
  /** Some of the work; true while more is left. */
  step(): boolean
  match(asked: Int32Array): number
  bytes(): number
}

/** Can the classifier say everything that the rule says? */
function isPlain(rule: FirewallRule, version: 4 | 6): boolean {
  const { source, destination, protocols, interfaces, icmp, tcpFlags, tcpOptions, ipOptions, established } = rule
  return !hasNot(source) && !hasNot(destination) && (protocols === null || protocols.length <= FEW_PROTOCOLS)
    && interfaces === null && icmp === null && !established
    && (tcpFlags.set | tcpFlags.clear | tcpOptions.set | tcpOptions.clear | ipOptions.set) === 0
    && (ipOptions.clear === 0 || version === 6)
}

function hasNot(terms: readonly AddressTerm[]): boolean {
  return terms.some(({ not }) => not)
}

/** `numbers` ascending. `later`: for later fragments, which have no ports. */
function buildMatcher(
  numbers: readonly number[], { rules, assigned }: Tables, later: boolean, seed: number,
  holds: (rule: number, asked: Int32Array) => boolean,
): Matcher {
  const plain: Entry[] = []
  const layers: Entry[][] = []
  const special: { number: number; entries: Entry[] }[] = []
  const others: number[] = []
  const classifiers: Classifier[] = []
  let rest = new Int32Array(0)
  // Where the work is: the next rule to make entries of, to find a layer for, to enter.
  let expanded = 0, layered = 0, layer = 0, member = 0, entered = 0

  function step(): boolean {
    if (expanded < numbers.length) expand(numbers[expanded++]!)
    else if (layered < special.length) findLayer()
    else if (classifiers.length <= layers.length) enter()
    else return false
    return true
  }

  function expand(number: number): void {
    const rule = rules[number - 1]!
    const own: Entry[] = []
    for (const version of VERSIONS) {
      const entries = isPlain(rule, version) ? plain : own
      for (const key of keysOf(rule, version, assigned, later)) entries.push({ rule: number, key })
    }
    if (own.length > 0) special.push({ number, entries: own })
  }

  /** Looks at some of the members of a layer. */
  function findLayer(): void {
    const { number, entries } = special[layered]!
    if (special.length <= FEW || layer === LAYERS) {
      others.push(number)
      nextSpecial()
      return
    }
    const members = layers[layer] ?? (layers[layer] = [])
    const end = Math.min(members.length, member + Math.ceil(COMPARISONS / entries.length))
    for (; member < end; member++) {
      const { key } = members[member]!
      if (!entries.some((one) => overlaps(one.key, key))) continue
      layer++
      member = 0
      return
    }
    if (member < members.length) return
    members.push(...entries)
    nextSpecial()
  }

  function nextSpecial(): void {
    layered++
    layer = member = 0
  }

  let filling: Classifier | null = null

  function enter(): void {
    const entries = classifiers.length === 0 ? plain : layers[classifiers.length - 1]!
    if (filling === null) {
      rest = Int32Array.from(others)
      entered = 0
      filling = createClassifier({ capacity: Math.max(1, entries.length), seed })
      return
    }
    if (entered < entries.length) {
      const { rule, key } = entries[entered++]!
      filling.insert(key, rule, rule)
    } else if (!filling.maintain(4)) {
      classifiers.push(filling)
      filling = null
    }
  }

  function look(classifier: Classifier, asked: Int32Array): number {
    const ports = later ? 0 : asked[PORTS]
    return asked[VERSION] === 4 ? classifier.lookup4(asked[DIRECTION], asked[PROTOCOL], asked[LOCAL], asked[PEER], ports)
      : classifier.lookup6(asked[DIRECTION], asked[PROTOCOL], asked, LOCAL, ports)
  }

  function match(asked: Int32Array): number {
    let best = look(classifiers[0]!, asked)
    for (let n = 1; n < classifiers.length; n++) {
      const found = look(classifiers[n]!, asked)
      if (found !== 0 && (best === 0 || found < best) && holds(found, asked)) best = found
    }
    for (let n = 0; n < rest.length; n++) {
      const rule = rest[n]
      if (best !== 0 && rule > best) break
      if (holds(rule, asked)) return rule
    }
    return best
  }

  return { step, match, bytes: () => classifiers.reduce((sum, one) => sum + one.bytes(), 4 * rest.length) }
}

/** Prefixes that stand for a list of terms in the classifier: those without `not`, or all addresses. */
function prefixesOf(terms: readonly AddressTerm[], version: 4 | 6, assigned: readonly Prefix[]): Prefix[] {
  const all = { version, words: new Int32Array(version === 4 ? 1 : 4), prefixBits: 0, hostBits: false }
  if (terms.length === 0) return [all]
  const known = terms.flatMap((term) => 'prefix' in term ? [term] : assigned.map((prefix) => ({ not: term.not, prefix })))
    .filter(({ prefix }) => prefix.version === version)
  const wanted = known.filter(({ not }) => !not).map(({ prefix }) => prefix)
  if (wanted.length > 0) return wanted
  return known.length === 0 ? [] : [all]
}

function versionsOf({ source, destination }: FirewallRule, assigned: readonly Prefix[], version: 4 | 6) {
  return { source: prefixesOf(source, version, assigned), destination: prefixesOf(destination, version, assigned) }
}

function directionsOf({ directions }: FirewallRule): number[] {
  return [0, 1].filter((dir) => (directions >>> dir & 1) !== 0)
}

function protocolsOf({ protocols, sourcePorts, destinationPorts }: FirewallRule): readonly number[] {
  // Other protocols have no ports here.
  if (sourcePorts !== null || destinationPorts !== null) {
    return [TCP, UDP].filter((one) => protocols === null || protocols.includes(one))
  }
  return protocols === null || protocols.length > FEW_PROTOCOLS ? [-1] : protocols
}

function entryCount(rule: FirewallRule, assigned: readonly Prefix[]): number {
  const ports = (rule.sourcePorts?.length ?? 1) * (rule.destinationPorts?.length ?? 1)
  let prefixes = 0
  for (const version of VERSIONS) {
    const { source, destination } = versionsOf(rule, assigned, version)
    prefixes += source.length * destination.length
  }
  return directionsOf(rule).length * protocolsOf(rule).length * ports * prefixes
}

function keysOf(rule: FirewallRule, version: 4 | 6, assigned: readonly Prefix[], later: boolean): Int32Array[] {
  const keys: Int32Array[] = []
  const { source, destination } = versionsOf(rule, assigned, version)
  const any: readonly Span[] = [{ low: 0, high: 0xffff }]
  const sourcePorts = later ? any : rule.sourcePorts ?? any, destinationPorts = later ? any : rule.destinationPorts ?? any
  for (const dir of directionsOf(rule)) {
    for (const protocol of protocolsOf(rule)) for (const from of source) for (const to of destination) {
      for (const fromPorts of sourcePorts) for (const toPorts of destinationPorts) {
        const key = new Int32Array(condition.RULE_KEY_WORDS)
        const [local, peer] = dir === 0 ? [from, to] : [to, from]
        const [localPorts, peerPorts] = dir === 0 ? [fromPorts, toPorts] : [toPorts, fromPorts]
        key[condition.KEY_VERSION] = version
        key[condition.KEY_ZONES] = 1 << dir
        key[condition.KEY_PROTOCOL] = protocol
        key[condition.KEY_LOCAL_BITS] = local.prefixBits
        key[condition.KEY_PEER_BITS] = peer.prefixBits
        key[condition.KEY_LOCAL_PORTS] = localPorts.low << 16 | localPorts.high
        key[condition.KEY_PEER_PORTS] = peerPorts.low << 16 | peerPorts.high
        key.set(local.words, condition.KEY_LOCAL)
        key.set(peer.words, condition.KEY_PEER)
        keys.push(key)
      }
    }
  }
  return keys
}

/** May a packet match both keys? */
function overlaps(a: Int32Array, b: Int32Array): boolean {
  return a[condition.KEY_VERSION] === b[condition.KEY_VERSION] && a[condition.KEY_ZONES] === b[condition.KEY_ZONES]
    && (a[condition.KEY_PROTOCOL] === b[condition.KEY_PROTOCOL] || a[condition.KEY_PROTOCOL] < 0 || b[condition.KEY_PROTOCOL] < 0)
    && meet(a[condition.KEY_LOCAL_PORTS], b[condition.KEY_LOCAL_PORTS])
    && meet(a[condition.KEY_PEER_PORTS], b[condition.KEY_PEER_PORTS])
    && share(a, b, condition.KEY_LOCAL, Math.min(a[condition.KEY_LOCAL_BITS], b[condition.KEY_LOCAL_BITS]))
    && share(a, b, condition.KEY_PEER, Math.min(a[condition.KEY_PEER_BITS], b[condition.KEY_PEER_BITS]))
}

function meet(a: number, b: number): boolean {
  return a >>> 16 <= (b & ANY_PORTS) && b >>> 16 <= (a & ANY_PORTS)
}

function share(a: Int32Array, b: Int32Array, at: number, bits: number): boolean {
  for (let word = 0; bits > 0; word++, bits -= 32) {
    const mask = bits >= 32 ? -1 : -1 << (32 - bits)
    if (((a[at + word] ^ b[at + word]) & mask) !== 0) return false
  }
  return true
}
