/** What the conditions of a firewall rule ask of one another, whichever form the rule is written in. */
import { ICMP, ICMP6, TCP, UDP, looksAtTransport, type FirewallRule } from '../../engine/firewall-rule.ts'

export type Part = 'protocol' | 'source-ports' | 'destination-ports' | 'icmp-types' | 'tcp-flags' | 'tcp-options' | 'frag'

export interface Conflict { part: Part; message: string; suggestion?: string }

function isOnly(protocols: FirewallRule['protocols'], allowed: readonly number[]): boolean {
  return protocols !== null && protocols.every((one) => allowed.includes(one))
}

/** The first conflict between conditions, or null. */
export function conflictIn(rule: FirewallRule): Conflict | null {
  const { protocols, tcpFlags, tcpOptions } = rule
  for (const part of ['source-ports', 'destination-ports'] as const) {
    const ports = part === 'source-ports' ? rule.sourcePorts : rule.destinationPorts
    if (ports !== null && !isOnly(protocols, [TCP, UDP])) {
      return { part, message: 'ports are those of TCP and UDP, and the rule is about other protocols too',
        suggestion: 'name tcp or udp' }
    }
  }
  if (rule.icmp !== null && !isOnly(protocols, [ICMP]) && !isOnly(protocols, [ICMP6])) {
    return { part: 'icmp-types', message: 'types of ICMP need the protocol icmp, or icmp6, alone',
      suggestion: 'make a rule for each' }
  }
  const looksAtFlags = rule.established || (tcpFlags.set | tcpFlags.clear) !== 0
  if (looksAtFlags && !isOnly(protocols, [TCP])) return { part: 'tcp-flags', message: 'TCP flags need the protocol tcp alone' }
  if ((tcpOptions.set | tcpOptions.clear) !== 0 && !isOnly(protocols, [TCP])) {
    return { part: 'tcp-options', message: 'TCP options need the protocol tcp alone' }
  }
  // RFC 6733 4.3.1: frag may not be used with tcpflags or ports. The same holds for all that only a first fragment has.
  if (rule.frag && looksAtTransport(rule)) {
    return { part: 'frag', message: 'a fragment after the first has no ports, flags, TCP options or ICMP types' }
  }
  return null
}

/** The ICMP of the rule's protocols, for the names of types. */
export function icmpVersion(protocols: FirewallRule['protocols']): 4 | 6 {
  return isOnly(protocols, [ICMP6]) ? 6 : 4
}
