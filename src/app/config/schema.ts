/**
 * The settings as a JSON Schema (draft 7): what editors complete from, what the checker checks with, and where `pinhole
 * init` takes its comments from.
 */
import { RULES } from './firewall.ts'
import { INTERFACES } from './interfaces.ts'
import { MIDCOM } from './midcom.ts'
import { NAT } from './nat.ts'
import {
  choice, count, duration, flag, isSection, isSectionList, item, list, LONGEST, optional, section, sections, value,
  type Node, type Section, type Setting,
} from './setting.ts'

export interface Schema extends Section {
  $schema: string
  title: string
}

export const SCHEMA: Schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Pinhole',
  description: 'Settings of the Pinhole NAT/firewall. Every setting may be left out and then has its default.',
  type: ['object', 'null'],
  additionalProperties: false,
  properties: {
    inside: list(item('prefix', '10.0.0.0/8', 'An IPv4 or IPv6 prefix.'), 256,
      ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'], [['10.0.0.0/8', 'fc00::/7']],
      'Prefixes of the inside network: a packet whose source is in one of them comes from inside. '
      + 'The default is RFC 1918 and RFC 4193.', 1),
    interfaces: INTERFACES,
    box: section('The box itself: the addresses it speaks from.', {
      'inside-address': value('ipv4', '192.0.0.8',
        'Source of the ICMP errors sent towards inside. The default is the IPv4 dummy address (RFC 7600).', '192.0.0.8'),
      address6: value('ipv6', 'fe80::1', 'Source of the ICMPv6 errors sent to either side.', 'fe80::1'),
      'mtu-inside': count(0, '1280', '65535', 'bytes',
        'Longest packet that the inside link takes; 0: any. IPv4 that may be fragmented is, anything else is refused with an ICMP '
        + 'error that names the MTU (RFC 4787 REQ-13, RFC 8200 5).', { off: true }),
      'mtu-outside': count(0, '1280', '65535', 'bytes', 'The same of the outside link.', { off: true }),
      mss: {
        ...count(0, '536', '65495', 'bytes', 'Longest TCP segment that a SYN may announce, by a number, or what fits both links: '
          + 'a larger MSS is lowered on its way. 0: none is. A SYN that says none gets none.', { off: true, word: 'mtu' }),
        pattern: '^(\\d+[kM]?|mtu)$',
      },
    }),
    nat: NAT,
    firewall: section('Which packets may open a flow.', {
      outbound: choice('permit', ['permit', 'deny'], 'New flows from inside.'),
      // @req RFC6092 REC-49
      // @req RFC6296 7
      inbound6: choice('deny', ['permit', 'deny'],
        'New IPv6 flows from outside, and with nat44 false new IPv4 flows too (RFC 6092).'),
      echo6: choice('permit', ['permit', 'deny'],
        'Echo requests, and messages of mobile IPv6 (types 144 to 147), from outside to IPv6 hosts, where `inbound6` denies '
        + '(RFC 4890 4.3.1, 4.3.2).'),
      ipsec6: choice('permit', ['permit', 'deny'],
        'ESP, AH, HIP, and UDP to ports 500 and 4500, from outside to IPv6 hosts, where `inbound6` denies (RFC 6092 REC-21 to '
        + 'REC-26).'),
      'tcp-midstream': flag(true,
        'Let a TCP segment without SYN open a flow: captures begin in the middle of connections.'),
      // @req RFC5382 REQ-4a
      'unsolicited-syn': choice('reject', ['reject', 'drop'],
        'A SYN from outside that no mapping or filter lets in: after some seconds of silence its sender is told by ICMP, or never '
        + '(RFC 5382 REQ-4, RFC 6092).'),
      rules: RULES,
    }),
    timers: section('How long a flow that says nothing is kept. Units: d, h, m, s, ms, as in 2h4m.', {
      // @req RFC4787 REQ-5, REQ-5b, REQ-5c
      // @req RFC6092 REC-14, REC-15, REC-16, REC-35
      udp: duration('5m', '2m', LONGEST, 'RFC 4787 REQ-5', 'UDP (RFC 4787 REQ-5).'),
      // @req RFC4787 REQ-5a
      'udp-ports': sections('UDP from inside to some well-known ports: shorter times for what asks once (RFC 4787 REQ-5a).', 16,
        'A port and its time.', ['port', 'idle'], {
          port: optional(count(53, '0', '1023', 'ports', 'The port of the outside host.')),
          idle: optional(duration('30s', '1s', LONGEST, '', 'How long such a flow is kept.')),
        }),
      // @req RFC4787 REQ-6a
      'udp-inbound-refresh': flag(true,
        'Does a UDP packet from outside prolong its flow? One from inside always does (RFC 4787 REQ-6).'),
      // @req RFC7857 2.1a, 2.1b, 2.1c
      'tcp-opening': duration('4m', '1s', LONGEST, '',
        'TCP that is being opened. Less than 4m is allowed where that seems excessive (RFC 7857 2.1).'),
      // @req RFC5382 REQ-5, REQ-5a
      'tcp-closing': duration('4m', '4m', LONGEST, 'RFC 5382 REQ-5',
        'TCP that both ends have closed, or one has reset (RFC 5382 REQ-5, RFC 7857 2.2).'),
      'tcp-established': duration('2h4m', '2h4m', LONGEST, 'RFC 5382 REQ-5', 'TCP that is open (RFC 5382 REQ-5).'),
      // @req RFC5508 REQ-2, REQ-2a
      'icmp-query': duration('60s', '60s', LONGEST, 'RFC 5508 REQ-2', 'ICMP echo and the like (RFC 5508 REQ-2).'),
      // @req RFC6092 REC-12 partly[the setting may be lower]
      other: duration('5m', '1s', LONGEST, '', 'Protocols without ports: GRE, ESP and all others.'),
      association: duration('2h4m', '2h4m', LONGEST, 'RFC 6092 REC-40',
        'SCTP and DCCP of which both ends were heard (RFC 6092 REC-40, REC-44).'),
      'association-opening': duration('8m', '8m', LONGEST, 'RFC 6092 REC-44', 'SCTP and DCCP of which one end alone was heard.'),
      fragment: duration('2s', '1s', '60s', '', 'How long fragments wait for the first one of their datagram.'),
      'port-hold': duration('2m', '1s', LONGEST, '', 'How long a port that was given up waits for another host (RFC 6888 REQ-8).'),
      'unsolicited-syn': duration('6s', '6s', '60s', 'RFC 5382 REQ-4',
        'How long nobody is told of a SYN from outside that was not let in (RFC 5382 REQ-4).'),
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
      'icmp-per-second': count(0, '0', '1000000', 'packets a second',
        'ICMP packets, queries and errors together, that are forwarded; the burst is the same number. With 0 there is no bound.'),
      'fragments-per-second': count(0, '0', '1000000', 'fragments a second',
        'Fragments that are forwarded; the burst is the same number. With 0 there is no bound.'),
      'half-open': count('16k', '0', '4M', 'connections',
        'TCP connections at once that were never open, and never more than half of `flows`: one more ends the oldest. With 0 '
        + 'there is no bound.'),
      'half-open-per-source': count('4k', '0', '4M', 'connections',
        'The same of one host, or of one IPv6 /64, which gets no more until some are open or over. With 0 there is no bound.'),
      'held-syns': count(512, '0', '512', 'segments',
        'SYNs from outside that wait at once for the end of their silence; those beyond are never answered.'),
      'held-ports': count('64k', '1', '4M', 'ports', 'Ports, or blocks of ports, that wait at once (`nat.port-hold`): one more '
        + 'lets the oldest go.'),
      'per-host': section('What one inside host may have, of IPv6 a /64; 0 is no bound. What it has goes on (RFC 6888 REQ-4, '
        + 'REQ-5).', {
        flows: count(0, '0', '4M', 'flows', 'Flows at once, whoever opened them.'),
        'flows-per-second': count(0, '0', '1000000', 'flows a second', 'Flows that it opens; the burst is the same number.'),
        ports: count(0, '0', '196608', 'ports',
          'Outside ports of UDP and TCP and ICMP identifiers, together, that its own packets have mapped.'),
        'udp-ports': count(0, '0', '64k', 'ports', 'Of these, ports of UDP.'),
        'tcp-ports': count(0, '0', '64k', 'ports', 'Of these, ports of TCP.'),
        'icmp-identifiers': count(0, '0', '64k', 'identifiers', 'Of these, ICMP identifiers.'),
      }),
      'full-table': choice('evict', ['evict', 'refuse'],
        'A new flow for which there is no room, in `flows` or in `half-open`: the flow with the least time left of eight, or the '
        + 'oldest half-open one, is given up for it, or it is refused (RFC 6888 REQ-11d). To refuse without bounds for each host '
        + 'lets one of them shut out all others.'),
      refusal: choice('prohibited', ['prohibited', 'host-unreachable'],
        'How the inside is told by ICMP that a bound, or lack of room or of ports, keeps a flow from being opened: code 13 '
        + '(RFC 5508 REQ-8), or code 1, after which TCP tries again (RFC 6888 REQ-11b).'),
    }),
    checks: section('What is checked beyond the lengths, which always are.', {
      'ipv4-checksum': choice('repair-zero', ['verify', 'repair-zero', 'ignore'],
        'The IPv4 header checksum: drop what is wrong; the same, but take 0 as left to the network card when the '
        + 'packet was captured, and fill it in; or do not look.'),
      'tcp-flags': choice('drop', ['drop', 'ignore'],
        'TCP segments whose flags no connection has: none at all, SYN with FIN or RST, FIN with RST or without ACK (RFC 9293).'),
      // @req RFC6092 REC-32
      'tcp-window': choice('off', ['off', 'loose', 'strict'],
        'Sequence numbers of TCP: do not look at them; drop an RST that is not of the connection; or drop every segment outside of '
        + 'the window and doubt resets and SYNs in it (RFC 5961). Looking costs some nanoseconds a packet, and an RST ends no flow '
        + 'at once anyway. Captures with gaps do not suit `strict`.'),
      reserved6: choice('forward', ['drop', 'forward'],
        'IPv6 addresses that nobody has on the Internet: documentation (2001:db8::/32, as in examples), ORCHID, 6bone, and 6to4 '
        + 'of private IPv4 (RFC 6092 REC-3). Loopback, IPv4-mapped, IPv4-compatible and site-local ones are always dropped.'),
      'unique-local': choice('forward', ['drop', 'forward'],
        'Unique local addresses (fc00::/7) that the outside would see: those that `nat.npt6` does not translate (RFC 6092 REC-7).'),
      spoofing: choice('outside', ['ignore', 'outside', 'both'],
        'Sources against the prefixes of `inside`, where interfaces decide the side: drop inside sources that come from outside, '
        + 'and with `both` also sources that are not inside and come from there (RFC 2827).'),
    }),
    midcom: MIDCOM,
  },
}

/**
 * Every setting with its path, as in `timers.udp`, in the order of the schema. A setting of each entry of a list of sections is
 * `midcom.agents[].name`, after the list itself.
 */
export function settings(parent: Section = SCHEMA, before = ''): [path: string, setting: Setting][] {
  return Object.entries(parent.properties).flatMap(([name, node]): [string, Setting][] => {
    const path = before + name
    if (isSection(node)) return settings(node, `${path}.`)
    if (isSectionList(node)) return [[path, listOf(node)], ...settings(node.items, `${path}[].`)]
    return [[path, node]]
  })
}

function listOf({ type, description, default: fallback, maxItems }: Exclude<Node, Setting | Section>): Setting {
  return { type, description, default: fallback, maxItems }
}

const FALLBACK = new Map(settings().map(([path, { default: fallback }]) => [path, fallback]))

/** What a section says of a setting, or its default, or undefined. `before` is the path of the section. */
export function setting(data: unknown, path: string, before = ''): unknown {
  let written = data
  for (const key of path.split('.')) {
    if (written === null || typeof written !== 'object' || !Object.hasOwn(written, key)) { written = undefined; break }
    written = (written as Record<string, unknown>)[key]
  }
  return written ?? FALLBACK.get(before + path)
}
