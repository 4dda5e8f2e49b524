/** The list `firewall.rules`: its schema, and from an entry, a section or a line of text, to a rule. */
import { MOST_RULES } from '../../engine/firewall-set.ts'
import { anyRule, INBOUND, OUTBOUND, type FirewallRule } from '../../engine/firewall-rule.ts'
import { conflictIn, icmpVersion, type Conflict } from '../firewall/conditions.ts'
import { parseRule } from '../firewall/ipfilter.ts'
import {
  readAddresses, readFlags, readIcmp, readInterfaces, readIpOptions, readPorts, readProtocols, readTcpOptions, type Read,
} from '../firewall/words.ts'
import { fault, type Parsed } from './address.ts'
import { choice, flag, value, type SectionList, type Setting } from './setting.ts'

/** A value that is one text or number, or a list of them. */
function part(example: unknown, description: string): Setting {
  return {
    type: ['string', 'integer', 'array'], description, examples: [example], 'x-value': { kind: 'rule-part' },
    items: { type: ['string', 'integer'], description: 'One of them; ! before it takes it out.',
      examples: [Array.isArray(example) ? example[0] : example] },
  }
}

const PARTS = {
  protocol: part('tcp', 'Name or number of a protocol, or a list. Without it any.'),
  source: part(['10.0.0.0/8', '!10.9.0.0/16'],
    'Addresses and prefixes, any, or assigned: the inside network. With ! all others of that IP version.'),
  'source-ports': part('1024-65535', 'Ports and ranges of ports, of TCP and UDP.'),
  destination: part('198.51.100.0/24', 'The same as source. From outside through NAT it is the inside address.'),
  'destination-ports': part([80, 443], 'The same as source-ports. From outside through NAT it is the inside port.'),
  'icmp-types': part('echo-request', 'Types of ICMP or ICMPv6 by name or number, and type/code.'),
  'tcp-flags': part('setup',
    'setup (SYN without ACK), established (RST or ACK), or flags: fin, syn, rst, psh, ack, urg, with ! those that are not set.'),
  'tcp-options': part('mss', 'TCP options that are there: mss, window, sack, ts, cc; with ! those that are not.'),
  'ip-options': part('rr', 'IPv4 options that are there: ssrr, lsrr, rr, ts; with ! those that are not.'),
  interface: part('eth1', 'Name or number of the interface by which the packet comes in.'),
}
type Name = keyof typeof PARTS

export const RULES: SectionList = {
  type: 'array',
  description: 'Rules in order: the first that matches a packet decides whether it may open a flow; if none matches, the settings '
    + 'above do. An entry is a section, or the same as text (RFC 6733 IPFilterRule), as in "permit in 6 from any to any 80,443".',
  default: [], maxItems: MOST_RULES,
  items: {
    type: ['object', 'string'], description: 'A rule: all that it names has to hold.', additionalProperties: false,
      required: ['action'],
    'x-value': { kind: 'rule' },
    properties: {
      name: value('name', 'web', 'A name for reports.'),
      action: { type: 'string', description: 'permit or deny.', examples: ['permit'], enum: ['permit', 'deny'] },
      direction: choice('both', ['outbound', 'inbound', 'both'],
        'Of the packet that would open the flow: outbound is from inside.'),
      ...PARTS,
      frag: flag(false, 'Match fragments after the first of their datagram, and nothing else.'),
    },
  },
}

const READERS: Record<Exclude<Name, 'icmp-types' | 'tcp-flags'>, (text: string) => Read<unknown>> = {
  protocol: readProtocols, source: readAddresses, 'source-ports': readPorts, destination: readAddresses,
    'destination-ports': readPorts,
  'tcp-options': readTcpOptions, 'ip-options': readIpOptions, interface: readInterfaces,
}

function isPart(name: string): name is Name {
  return name in PARTS
}

/** The entries of a value as one text. */
export function joined(written: unknown): string {
  return Array.isArray(written) ? written.map(String).join(',') : String(written)
}

/** Is the part of a rule at that path, as in `/firewall/rules/3/source`, well written by itself? */
export function parsePart(pointer: string, written: unknown): Parsed<unknown> {
  const name = pointer.slice(pointer.lastIndexOf('/') + 1), text = joined(written)
  if (!isPart(name)) throw new Error(`${pointer} is no part of a rule`)
  return asParsed(readPart(name, text, null))
}

/** `version`: whose ICMP types; null: either. */
function readPart(name: Name, text: string, version: 4 | 6 | null): Read<unknown> {
  if (name === 'icmp-types') {
    const four = readIcmp(text, version ?? 4)
    return four.ok || version !== null ? four : readIcmp(text, 6).ok ? readIcmp(text, 6) : four
  }
  if (name === 'tcp-flags') return readTcp(text)
  return READERS[name](text)
}

/** Flags, and the two words that stand for some. */
function readTcp(text: string): Read<Pick<FirewallRule, 'tcpFlags' | 'established'>> {
  const words = text.split(',')
  const flags = words.filter((word) => word !== 'established').flatMap((word) => word === 'setup' ? ['syn', '!ack'] : [word])
  const established = words.includes('established')
  if (flags.length === 0) return { ok: true, value: { tcpFlags: { set: 0, clear: 0 }, established } }
  const read = readFlags(flags.join(','))
  return read.ok ? { ok: true, value: { tcpFlags: read.value, established } } : read
}

function asParsed<T>(read: Read<T>): Parsed<T> {
  return read.ok ? read : fault(read.message, read.suggestion)
}

/** A rule as text: the column is told in the message, for its place in the file is that of the whole. */
export function parseRuleText(text: string): Parsed<FirewallRule> {
  const rule = parseRule(text)
  return rule.ok ? rule : fault(`column ${rule.column}: ${rule.message}`, rule.suggestion)
}

export type RuleEntry = { rule: FirewallRule; conflict: null } | { rule: null; conflict: Conflict }

/** Only for an entry whose parts have been found good one by one. */
export function ruleOf(entry: unknown): RuleEntry {
  if (typeof entry === 'string') {
    const parsed = parseRule(entry)
    if (!parsed.ok) throw new Error(parsed.message)
    return { rule: parsed.value, conflict: null }
  }
  const written = entry as Record<string, unknown>
  const rule = anyRule(written.action === 'permit')
  rule.name = (written.name as string | undefined)?.trim() ?? null
  rule.directions = written.direction === 'outbound' ? OUTBOUND : written.direction === 'inbound' ? INBOUND : OUTBOUND | INBOUND
  rule.frag = written.frag === true
  const read = <T>(name: Name, version: 4 | 6 | null = null): T | null => {
    if (written[name] === undefined) return null
    const found = readPart(name, joined(written[name]), version)
    if (!found.ok) throw new Error(found.message)
    return found.value as T
  }
  rule.protocols = read('protocol')
  rule.source = read<FirewallRule['source']>('source') ?? []
  rule.destination = read<FirewallRule['destination']>('destination') ?? []
  rule.sourcePorts = read('source-ports')
  rule.destinationPorts = read('destination-ports')
  rule.tcpOptions = read('tcp-options') ?? rule.tcpOptions
  rule.ipOptions = read('ip-options') ?? rule.ipOptions
  rule.interfaces = read('interface')
  const tcp = read<Pick<FirewallRule, 'tcpFlags' | 'established'>>('tcp-flags')
  if (tcp !== null) Object.assign(rule, tcp)
  const types = written['icmp-types']
  if (types !== undefined) {
    const found = readIcmp(joined(types), icmpVersion(rule.protocols))
    if (!found.ok) {
      const { message, suggestion } = found
      return { rule: null, conflict: { part: 'icmp-types', message, ...suggestion !== undefined && { suggestion } } }
    }
    rule.icmp = found.value
  }
  const conflict = conflictIn(rule)
  return conflict === null ? { rule, conflict: null } : { rule: null, conflict }
}
