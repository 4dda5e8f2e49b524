/**
 * Firewall rules of the model: a list that is looked at from its first rule on, until one matches. Section "Firewall rules" of
 * docs/behaviour.md. Rules are values that engine and model share; what they mean is told twice.
 */
import type { AddressTerm, Bits, FirewallRule, Span } from '../../src/engine/firewall-rule.ts'
import type { Prefix } from '../../src/base/address.ts'
import type { Endpoint } from './flows.ts'
import { TCP, UDP, addrOf, isIcmp, under, type Addr, type Packet } from './packet.ts'
import type { Way } from './tcp.ts'

/** A packet as firewall rules see it. A flow keeps that of the packet that opened it. */
export interface Opener {
  way: Way
  version: 4 | 6
  protocol: number
  local: Endpoint
  peer: Endpoint
  interface: number
  /** Names of TCP flags, TCP options and IP options that are there. */
  flags: readonly string[]
  tcpOptions: readonly string[]
  ipOptions: readonly string[]
  /** Type and code. */
  icmp: readonly [number, number] | null
  later: boolean
}

export type Verdict = 'permit' | 'deny' | 'silent'

const FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg']
const TCP_KINDS: Record<number, string> = { 2: 'mss', 3: 'window', 4: 'sack', 5: 'sack', 8: 'ts', 11: 'cc', 12: 'cc', 13: 'cc' }
const TCP_NAMES = ['mss', 'window', 'sack', 'ts', 'cc']
const IP_KINDS: Record<number, string> = { 137: 'ssrr', 131: 'lsrr', 7: 'rr', 68: 'ts' }
const IP_NAMES = ['ssrr', 'lsrr', 'rr', 'ts']

/** Names of the options in a list, as far as it makes sense. */
function optionsIn(bytes: Uint8Array, kinds: Record<number, string>): string[] {
  if (bytes.length === 0 || bytes[0] === 0) return []
  if (bytes[0] === 1) return optionsIn(bytes.slice(1), kinds)
  if (bytes.length < 2 || bytes[1] < 2 || bytes[1] > bytes.length) return []
  const rest = optionsIn(bytes.slice(bytes[1]), kinds), name = kinds[bytes[0]]
  return name === undefined ? rest : [name, ...rest]
}

export function openerOf(p: Packet, way: Way, local: Endpoint, peer: Endpoint, interface_: number, later = false): Opener {
  const tcp = p.protocol === TCP && !later, header = tcp ? (p.bytes[p.l4 + 12] >> 4) * 4 : 0
  return {
    way, version: p.version, protocol: p.protocol, local, peer, interface: interface_, later,
    flags: tcp ? FLAGS.filter((_, bit) => (p.bytes[p.l4 + 13] >> bit & 1) === 1) : [],
    tcpOptions: tcp ? optionsIn(p.bytes.slice(p.l4 + 20, p.l4 + header), TCP_KINDS) : [],
    ipOptions: p.version === 4 ? optionsIn(p.bytes.slice(20, (p.bytes[0] & 15) * 4), IP_KINDS) : [],
    icmp: isIcmp(p) && !later ? [p.bytes[p.l4], p.bytes[p.l4 + 1]] : null,
  }
}

function named(names: readonly string[], mask: number): string[] { return names.filter((_, bit) => (mask >> bit & 1) === 1) }

function bitsHold({ set, clear }: Bits, names: readonly string[], there: readonly string[]): boolean {
  return named(names, set).every(name => there.includes(name)) && !named(names, clear).some(name => there.includes(name))
}

function termsHold(terms: readonly AddressTerm[], addr: Addr, assigned: readonly Prefix[]): boolean {
  if (terms.length === 0) return true
  const digits = addr.length
  const of = (not: boolean) => terms.filter(t => t.not === not).flatMap(t => 'prefix' in t ? [t.prefix] : [...assigned])
    .filter(p => addrOf(p.words).length === digits)
  const holds = (p: Prefix) => under(addr, addrOf(p.words), p.prefixBits)
  const [wanted, unwanted] = [of(false), of(true)]
  if (wanted.length + unwanted.length === 0) return false
  return (wanted.length === 0 || wanted.some(holds)) && !unwanted.some(holds)
}

function isIn(spans: readonly Span[], value: number): boolean { return spans.some(s => value >= s.low && value <= s.high) }

export class Firewall {
  rules: readonly FirewallRule[]
  /** By number of the rule, from 1; of 0 those that no rule matched. */
  hits: { packets: number; bytes: number }[] = []
  private readonly assigned: readonly Prefix[]

  constructor(rules: readonly FirewallRule[], assigned: readonly Prefix[]) {
    this.rules = rules
    this.assigned = assigned
    this.replace(rules)
  }

  replace(rules: readonly FirewallRule[]): void {
    this.rules = rules
    this.hits = Array.from({ length: rules.length + 1 }, () => ({ packets: 0, bytes: 0 }))
  }

  matches(rule: FirewallRule, p: Opener): boolean {
    const [source, destination] = p.way === 'out' ? [p.local, p.peer] : [p.peer, p.local]
    if ((rule.directions & (p.way === 'out' ? 1 : 2)) === 0) return false
    if (rule.frag && !p.later) return false
    if (rule.protocols !== null && !rule.protocols.includes(p.protocol)) return false
    if (!termsHold(rule.source, source.addr, this.assigned)) return false
    if (!termsHold(rule.destination, destination.addr, this.assigned)) return false
    const isNamed = (name: string) => name === String(p.interface) || name === `eth${p.interface}`
    if (rule.interfaces !== null && rule.interfaces.names.some(isNamed) === rule.interfaces.not) return false
    if (!bitsHold(rule.ipOptions, IP_NAMES, p.ipOptions)) return false
    if (rule.sourcePorts !== null || rule.destinationPorts !== null) {
      if (p.later || p.protocol !== TCP && p.protocol !== UDP) return false
      if (rule.sourcePorts !== null && !isIn(rule.sourcePorts, source.port)) return false
      if (rule.destinationPorts !== null && !isIn(rule.destinationPorts, destination.port)) return false
    }
    if (rule.icmp !== null && (p.icmp === null || !isIn(rule.icmp, p.icmp[0] * 256 + p.icmp[1]))) return false
    const { tcpFlags: f, tcpOptions: o } = rule
    if (rule.established || (f.set | f.clear | o.set | o.clear) !== 0) {
      if (p.protocol !== TCP || p.later) return false
      if (rule.established && !p.flags.includes('rst') && !p.flags.includes('ack')) return false
      if (!bitsHold(f, FLAGS, p.flags) || !bitsHold(o, TCP_NAMES, p.tcpOptions)) return false
    }
    return true
  }

  /** Number of the first rule that matches, or 0. */
  first(p: Opener): number { return this.rules.findIndex(rule => this.matches(rule, p)) + 1 }

  verdict(rule: number): Verdict { return rule === 0 ? 'silent' : this.rules[rule - 1].permit ? 'permit' : 'deny' }

  count(rule: number, bytes: number): void {
    if (this.rules.length === 0) return
    this.hits[rule].packets++
    this.hits[rule].bytes += bytes
  }
}
