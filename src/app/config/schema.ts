/**
 * The settings as a JSON Schema (draft 7): what editors complete from, what the checker checks with, and where `pinhole
 * init` takes its comments from. Standard keywords say what a schema can say; `x-value` names the grammar of a text and
 * its limits, which only our checker reads.
 */
import { COUNT_PATTERN, DURATION_PATTERN, PORTS_PATTERN } from './quantity.ts'

/** What a text means, and the least and the most it may be, both as they are written in the file. */
export interface ValueRule {
  kind: 'duration' | 'count' | 'ports' | 'prefix' | 'range' | 'ipv4' | 'ipv6'
  min?: string
  max?: string
  /** Who sets the limit, to be cited, or what is counted. */
  source?: string
  unit?: string
}

/** One setting. */
export interface Setting {
  type: string | string[]
  description: string
  default: unknown
  examples?: unknown[]
  pattern?: string
  enum?: string[]
  items?: { type: 'string'; description: string; examples: string[]; 'x-value': ValueRule }
  minItems?: number
  maxItems?: number
  'x-value'?: ValueRule
}

export interface Section {
  type: ['object', 'null']
  description: string
  additionalProperties: false
  properties: Record<string, Setting>
}

export interface Schema {
  $schema: string
  title: string
  description: string
  type: ['object', 'null']
  additionalProperties: false
  properties: Record<string, Setting | Section>
}

export function isSection(node: Setting | Section): node is Section {
  return 'properties' in node
}

/** Everything that waits, waits at most so long: in milliseconds it stays below 2^30. */
const LONGEST = '12d'

function duration(fallback: string, min: string, max: string, source: string, description: string): Setting {
  return {
    type: 'string', description, default: fallback, examples: [fallback], pattern: DURATION_PATTERN,
    'x-value': { kind: 'duration', min, max, ...source !== '' && { source } },
  }
}

function count(fallback: number | string, min: string, max: string, unit: string, description: string): Setting {
  return {
    type: ['integer', 'string'], description, default: fallback, examples: [fallback], pattern: COUNT_PATTERN,
    'x-value': { kind: 'count', min, max, unit },
  }
}

function flag(fallback: boolean, description: string): Setting {
  return { type: 'boolean', description, default: fallback, examples: [fallback] }
}

function choice(fallback: string, choices: string[], description: string): Setting {
  return { type: 'string', description, default: fallback, examples: [fallback], enum: choices }
}

// A section may be null: `timers:` with nothing but comments under it is a section whose settings are all defaults.
function section(description: string, properties: Record<string, Setting>): Section {
  return { type: ['object', 'null'], description, additionalProperties: false, properties }
}

export const SCHEMA: Schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Pinhole',
  description: 'Settings of the Pinhole NAT/firewall. Every setting may be left out and then has its default.',
  type: ['object', 'null'],
  additionalProperties: false,
  properties: {
    inside: {
      type: 'array',
      description: 'Prefixes of the inside network: a packet whose source is in one of them comes from inside. '
        + 'The default is RFC 1918 and RFC 4193.',
      default: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
      examples: [['10.0.0.0/8', 'fc00::/7']],
      minItems: 1,
      maxItems: 256,
      items: {
        type: 'string', description: 'An IPv4 or IPv6 prefix.', examples: ['10.0.0.0/8'],
        'x-value': { kind: 'prefix' },
      },
    },
    box: section('The box itself: the addresses it speaks from.', {
      'inside-address': {
        type: 'string',
        description: 'Source of the ICMP errors sent towards inside. The default is the IPv4 dummy address (RFC 7600).',
        default: '192.0.0.8', examples: ['192.0.0.8'], 'x-value': { kind: 'ipv4' },
      },
      address6: {
        type: 'string',
        description: 'Source of the ICMPv6 errors sent to either side.',
        default: 'fe80::1', examples: ['fe80::1'], 'x-value': { kind: 'ipv6' },
      },
    }),
    nat: section('Translation of IPv4 addresses and ports (RFC 4787, RFC 5382, RFC 5508).', {
      nat44: flag(true, 'Translate IPv4. With false the box is a pure firewall and IPv4 addresses stay as they are.'),
      pool: {
        type: 'array',
        description: 'Outside addresses: single ones, ranges or prefixes (of which every address is used), at most '
          + '1024 together. An inside host keeps one of them (paired pooling, RFC 4787 REQ-2).',
        default: ['203.0.113.1-203.0.113.4'],
        examples: [['203.0.113.1-203.0.113.4'], ['198.51.100.0/28', '203.0.113.9']],
        minItems: 1,
        maxItems: 1024,
        items: {
          type: 'string', description: 'An IPv4 address, range or prefix.', examples: ['203.0.113.1-203.0.113.4'],
          'x-value': { kind: 'range' },
        },
      },
      ports: {
        type: 'string',
        description: 'Outside ports handed out on each address of the pool. Inside ports below 1024 do not come from '
          + 'here: they map to 1-1023 (RFC 4787 REQ-3).',
        default: '1024-65535', examples: ['1024-65535'], pattern: PORTS_PATTERN,
        'x-value': { kind: 'ports', min: '1024', max: '65535' },
      },
      'port-preservation': flag(true, 'Keep the port that the inside host chose, if it is free outside.'),
      filtering: choice('address-dependent',
        ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'],
        'Who outside may send to a mapping: anybody, the addresses that the inside host has sent to, or only the '
        + 'addresses and ports that it has sent to (RFC 4787 REQ-8).'),
      hairpinning: flag(true, 'Let inside hosts reach each other by their outside addresses (RFC 4787 REQ-9).'),
    }),
    firewall: section('Which packets may open a flow.', {
      outbound: choice('permit', ['permit', 'deny'], 'New flows from inside.'),
      inbound6: choice('deny', ['permit', 'deny'],
        'New IPv6 flows from outside, and with nat44 false new IPv4 flows too (RFC 6092).'),
      'tcp-midstream': flag(true,
        'Let a TCP segment without SYN open a flow: captures begin in the middle of connections.'),
    }),
    timers: section('How long a flow that says nothing is kept. Units: d, h, m, s, ms, as in 2h4m.', {
      udp: duration('5m', '2m', LONGEST, 'RFC 4787 REQ-5', 'UDP (RFC 4787 REQ-5).'),
      'tcp-transitory': duration('4m', '4m', LONGEST, 'RFC 5382 REQ-5',
        'TCP that is being opened or closed (RFC 5382 REQ-5).'),
      'tcp-established': duration('2h4m', '2h4m', LONGEST, 'RFC 5382 REQ-5', 'TCP that is open (RFC 5382 REQ-5).'),
      'icmp-query': duration('60s', '60s', LONGEST, 'RFC 5508 REQ-2', 'ICMP echo and the like (RFC 5508 REQ-2).'),
      other: duration('5m', '1s', LONGEST, '', 'Protocols without ports: GRE, ESP and all others.'),
      fragment: duration('2s', '1s', '60s', '', 'How long fragments wait for the first one of their datagram.'),
    }),
    limits: section('Bounds of memory and of work. k is 1024, M is 1048576.', {
      flows: count('256k', '16', '4M', 'flows',
        'Flows known at once. The tables are made at the start and never grow; '
        + 'a full one gives up, of eight flows, the one with the least time left.'),
      'fragment-datagrams': count(1024, '1', '65536', 'datagrams', 'Datagrams in fragments that are followed at once.'),
      'fragment-hold': count(256, '0', '4096', 'fragments',
        'Fragments held at once because they came before the first one of their datagram. With 0 these are dropped.'),
      'icmp-errors-per-second': count(100, '0', '1000000', 'errors a second',
        'ICMP errors that the box itself originates; the burst is the same number. With 0 it sends none.'),
    }),
    checks: section('What is checked beyond the lengths, which always are.', {
      'ipv4-checksum': choice('repair-zero', ['verify', 'repair-zero', 'ignore'],
        'The IPv4 header checksum: drop what is wrong; the same, but take 0 as left to the network card when the '
        + 'packet was captured, and fill it in; or do not look.'),
    }),
  },
}

/** Every setting with its path, as in `timers.udp`, in the order of the schema. */
export function settings(): [path: string, setting: Setting][] {
  return Object.entries(SCHEMA.properties).flatMap(([name, node]): [string, Setting][] => isSection(node)
    ? Object.entries(node.properties).map(([key, setting]) => [`${name}.${key}`, setting])
    : [[name, node]])
}
