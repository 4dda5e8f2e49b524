/** Random firewall rules for tests, out of a seeded generator: a small universe, so that rules and packets meet. */
import { parsePrefix, type Prefix } from '../base/address.ts'
import type { Prng } from '../base/prng.ts'
import {
  anyRule, ICMP, ICMP6, looksAtTransport, normalSpans, TCP, UDP, type AddressTerm, type Bits, type FirewallRule, type Span,
} from './firewall-rule.ts'

const PREFIXES = [
  '10.0.0.0/8', '10.0.0.0/30', '10.0.0.1/32', '10.0.0.2/31', '198.51.100.0/24', '198.51.100.1/32', '192.0.2.1/32', '203.0.113.0/24',
  '0.0.0.0/0', '::/0', 'fd00::/8', 'fd00::1/128', '2001:db8::/32', '2001:db8::2/128',
]
const PORTS = [0, 1, 53, 80, 81, 1000, 1023, 1024, 1025, 1026, 1028, 5000, 5001, 65535]
const PROTOCOLS = [TCP, TCP, TCP, UDP, UDP, UDP, ICMP, ICMP, ICMP6, 47, 50, 33, 136]
const TYPES = [0, 3, 8, 8, 13, 14, 128, 128, 129]

export function prefixOf(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (!parsed.ok) throw new RangeError(text)
  return parsed.value
}

export function randomRule(prng: Prng): FirewallRule {
  const { below } = prng
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!
  const chance = (one: number) => below(one) === 0
  const many = <T>(least: number, most: number, make: () => T) => Array.from({ length: least + below(most - least + 1) }, make)
  const term = (): AddressTerm => {
    const not = chance(4)
    return chance(8) ? { not, assigned: true } : { not, prefix: prefixOf(pick(PREFIXES)) }
  }
  const terms = (): AddressTerm[] => chance(2) ? [] : many(1, chance(4) ? 4 : 1, term)
  const span = (): Span => {
    const [a, b] = [pick(PORTS), chance(2) ? pick(PORTS) : null]
    return b === null ? { low: a, high: a } : { low: Math.min(a, b), high: Math.max(a, b) }
  }
  const ports = () => chance(2) ? null : normalSpans(many(1, 2, span))
  const bits = (count: number): Bits => {
    const set = prng.next() & prng.next() & (1 << count) - 1, clear = prng.next() & prng.next() & (1 << count) - 1
    return { set: set & ~clear, clear }
  }
  const rule = anyRule(chance(2))
  rule.directions = pick([1, 1, 2, 2, 3])
  if (chance(6)) rule.name = 'rule ' + String(below(100))
  if (chance(8)) {
    const names = [...new Set(many(1, 2, () => pick(['eth0', 'eth1', '1', '2', 'dsl'])))]
    rule.interfaces = { names, not: chance(3) }
  }
  rule.source = terms()
  rule.destination = terms()
  if (chance(8)) rule.ipOptions = bits(4)
  switch (below(6)) {
    case 0: break
    case 1: {
      const length = pick([1, 2, 6, 200])
      rule.protocols = [...new Set(Array.from({ length }, () => length > 6 ? below(256) : pick(PROTOCOLS)))].sort((a, b) => a - b)
      break
    }
    case 2:
      rule.protocols = [pick([ICMP, ICMP6])]
      if (chance(2)) {
        rule.icmp = normalSpans(many(1, 2, () => {
          const type = pick(TYPES), code = pick([0, 0, 4])
          return chance(2) ? { low: type << 8, high: type << 8 | 255 } : { low: type << 8 | code, high: type << 8 | code }
        }))
      }
      break
    default:
      rule.protocols = pick([[TCP], [TCP], [UDP], [TCP, UDP]])
      rule.sourcePorts = ports()
      rule.destinationPorts = ports()
      if (rule.protocols.length === 1 && rule.protocols[0] === TCP && chance(3)) {
        rule.tcpFlags = pick([{ set: 2, clear: 16 }, bits(6)])
        rule.established = chance(4)
        rule.tcpOptions = chance(3) ? bits(5) : rule.tcpOptions
      }
  }
  if (!looksAtTransport(rule)) rule.frag = chance(4)
  return rule
}

export function randomRules(prng: Prng, most: number): FirewallRule[] {
  return Array.from({ length: prng.below(most + 1) }, () => randomRule(prng))
}
