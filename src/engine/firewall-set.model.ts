/** What a rule set must do, by looking at every rule in order, condition by condition. */
import type { Prefix } from '../base/address.ts'
import * as asked from './firewall-asked.ts'
import { ICMP, ICMP6, TCP, UDP, type AddressTerm, type FirewallRule, type Span } from './firewall-rule.ts'

function isUnder(words: Int32Array, at: number, { words: prefix, prefixBits }: Prefix): boolean {
  for (let bit = 0; bit < prefixBits; bit++) {
    const one = 1 << 31 - (bit & 31)
    if ((words[at + (bit >> 5)] & one) !== (prefix[bit >> 5]! & one)) return false
  }
  return true
}

/** Number of the first rule that matches, from 1, or 0. `nameOf`: the name of an interface. */
export function firstMatch(
  rules: readonly FirewallRule[], assigned: readonly Prefix[], nameOf: (id: number) => string | undefined, words: Int32Array,
): number {
  const isOut = words[asked.DIRECTION] === 0, version = words[asked.VERSION], protocol = words[asked.PROTOCOL]
  const isLater = words[asked.LATER] !== 0, aspect = words[asked.ASPECT]
  const local = words[asked.PORTS] >>> 16, peer = words[asked.PORTS] & 0xffff

  function isOneOf(terms: readonly AddressTerm[], at: number): boolean {
    if (terms.length === 0) return true
    const own = terms.flatMap((term) => 'prefix' in term ? [term] : assigned.map((prefix) => ({ not: term.not, prefix })))
      .filter(({ prefix }) => prefix.version === version)
    const wanted = own.filter(({ not }) => !not)
    if (own.length === 0 || own.some(({ not, prefix }) => not && isUnder(words, at, prefix))) return false
    return wanted.length === 0 || wanted.some(({ prefix }) => isUnder(words, at, prefix))
  }

  function isIn(spans: readonly Span[] | null, value: number): boolean {
    return spans === null || spans.some(({ low, high }) => value >= low && value <= high)
  }

  function matches(rule: FirewallRule): boolean {
    const { interfaces, tcpFlags, tcpOptions, ipOptions, sourcePorts, destinationPorts } = rule
    if ((rule.directions & (isOut ? 1 : 2)) === 0 || (rule.frag && !isLater)) return false
    if (rule.protocols !== null && !rule.protocols.includes(protocol)) return false
    if (!isOneOf(rule.source, isOut ? asked.LOCAL : asked.PEER)) return false
    if (!isOneOf(rule.destination, isOut ? asked.PEER : asked.LOCAL)) return false
    if (interfaces !== null) {
      const id = words[asked.INTERFACE]
      if ((interfaces.names.includes(String(id)) || interfaces.names.includes(nameOf(id) ?? '?')) === interfaces.not) return false
    }
    const options = aspect >>> 16 & 15
    if ((options & ipOptions.set) !== ipOptions.set || (options & ipOptions.clear) !== 0) return false
    if (sourcePorts !== null || destinationPorts !== null) {
      if (isLater || (protocol !== TCP && protocol !== UDP)) return false
      if (!isIn(sourcePorts, isOut ? local : peer) || !isIn(destinationPorts, isOut ? peer : local)) return false
    }
    const isIcmp = !isLater && protocol === (version === 4 ? ICMP : ICMP6)
    if (rule.icmp !== null && (!isIcmp || !isIn(rule.icmp, aspect & 0xffff))) return false
    const flags = aspect & 63, there = aspect >>> 6 & 31
    const looksAtTcp = rule.established || (tcpFlags.set | tcpFlags.clear | tcpOptions.set | tcpOptions.clear) !== 0
    if (!looksAtTcp) return true
    return !isLater && protocol === TCP && (!rule.established || (flags & 20) !== 0)
      && (flags & tcpFlags.set) === tcpFlags.set && (flags & tcpFlags.clear) === 0
      && (there & tcpOptions.set) === tcpOptions.set && (there & tcpOptions.clear) === 0
  }

  return rules.findIndex(matches) + 1
}
