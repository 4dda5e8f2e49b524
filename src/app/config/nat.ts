/** The section `nat`: which addresses and ports packets get, and which keep theirs. */
import { choice, count, flag, item, list, ports, section, sections, value } from './setting.ts'

const ANY = 'An IPv4 address or prefix.'
const from = (fallback: string[], description: string) => list(item('hosts', '198.51.100.0/24', ANY), 64, fallback,
  [['198.51.100.0/24']], description)

export const NAT = section('Translation of addresses and ports (RFC 4787, RFC 5382, RFC 5508, RFC 7857).', {
  nat44: flag(true, 'Translate IPv4. With false the box is a pure firewall and IPv4 addresses stay as they are.'),
  // @req RFC6888 REQ-3 partly[at most 1024 addresses]
  pool: list(item('range', '203.0.113.1-203.0.113.4', 'An IPv4 address, range or prefix.'), 1024,
    ['203.0.113.1-203.0.113.4'], [['203.0.113.1-203.0.113.4'], ['198.51.100.0/28', '203.0.113.9']],
    'Outside addresses: single ones, ranges or prefixes (of which every address is used), at most '
    + '1024 together. An inside host keeps one of them (paired pooling, RFC 4787 REQ-2).', 1),
  pools: sections('Pools for some of the inside hosts; the others share the pool above. All pools together have at most 1024 '
    + 'addresses.', 256, 'A pool.', ['inside', 'addresses'], {
    inside: list(item('hosts', '10.1.0.0/16', ANY), 64, undefined, [['10.1.0.0/16']],
      'Whom it is for. Of several prefixes that hold a host the longest counts.', 1),
    addresses: list(item('range', '198.51.100.0/28', 'An IPv4 address, range or prefix.'), 1024, undefined, [['198.51.100.0/28']],
      'Its outside addresses.', 1),
    'hosts-per-address': count(0, '0', '32768', 'hosts', 'So many hosts have an address together, in the order of `inside`, and '
      + 'each an equal part of `ports` there, for all protocols: nothing has to be logged (RFC 7422). 0: hosts are spread, and '
      + 'share ports.'),
  }),
  ports: ports('1024-65535', '1024', '65535',
    'Outside ports handed out on each address of the pool. Inside ports below 1024 do not come from '
    + 'here: they map to 1-1023 (RFC 4787 REQ-3).'),
  reserve: list(item('ports', '5060-5061', 'First and last port.', { min: '1', max: '65535' }), 64, [],
    [['5060-5061', '8080-8080']],
    'Outside ports, UDP and TCP, that no flow gets by itself: for forwards, and for rules to come.'),
  'port-block': count(0, '16', '32768', 'ports', 'Ports of a block: all ports and ICMP identifiers of a host come from blocks that '
    + 'are its own, so that logs are short (RFC 6888 REQ-14). 0: there are none, and each port is given by itself.', { off: true }),
  'port-blocks-per-host': count(8, '1', '1024', 'blocks', 'Blocks that one host has at most.'),
  'port-hold': choice('exposed', ['never', 'exposed', 'all'], 'Ports, or blocks, that were given up wait for `timers.port-hold` '
    + 'before another host gets them: none, all, or those for which RFC 6888 REQ-8 has no exception: UDP and ICMP, if the filter '
    + 'is endpoint-independent.'),
  'port-preservation': flag(true, 'Keep the port that the inside host chose, if it is free outside.'),
  // @req RFC4787 REQ-8a
  // @req RFC5382 REQ-3a
  filtering: choice('address-dependent',
    ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'],
    'Who outside may send to a mapping: anybody, the addresses that the inside host has sent to, or only the '
    + 'addresses and ports that it has sent to (RFC 4787 REQ-8).'),
  // @req RFC5382 REQ-3b
  'tcp-filtering': choice('same', ['same', 'endpoint-independent', 'address-dependent', 'address-and-port-dependent'],
    'The same for TCP, if it shall not be as `filtering` (RFC 5382 REQ-3).'),
  hairpinning: flag(true, 'Let inside hosts reach each other by their outside addresses (RFC 4787 REQ-9).'),
  // @req RFC7857 10
  identification: choice('fragments', ['keep', 'fragments', 'all'],
    'Packets from inside that share an outside address with those of other hosts get an IPv4 identification of their own: those in '
    + 'fragments, all that a router may fragment, or none (RFC 6864 5.3.1).'),
  // @req RFC6296 4.1, 4.1a
  npt6: sections('IPv6 prefixes of the inside that stand for outside ones, host by host and without state (NPTv6, RFC 6296). What '
    + 'may open a flow is for the firewall to decide.', 64, 'Two prefixes of at most 64 bits. Of two lengths the shorter '
    + 'counts as if zeros followed.', ['inside', 'outside'], {
    inside: value('prefix', 'fd01:203:405::/48', 'Inside prefix. Of /48 or less subnet 0xffff has no counterpart.'),
    outside: value('prefix', '2001:db8:1::/48', 'Outside prefix.'),
  }),
  static: sections('Inside addresses that have outside addresses to themselves, with every protocol and port.', 1024,
    'An address, or a prefix that goes with another one address by address.', ['inside', 'outside'], {
      inside: value('hosts', '10.0.0.16/28', 'Inside address or prefix.'),
      outside: value('hosts', '198.51.100.16/28', 'Outside address, or a prefix of the same length. None is in a pool.'),
      from: from([], 'Who outside may open flows to them. The filter above admits those that it admits to any mapping.'),
    }),
  forwards: sections('Outside ports that lead to an inside host whether or not it has sent anything.', 1024, 'A forward.',
    ['outside', 'inside'], {
      protocol: choice('tcp', ['tcp', 'udp', 'both'], 'What is forwarded.'),
      outside: value('span', '203.0.113.1:8080-8081', 'Outside address, in a pool or not, and port or ports.'),
      inside: value('span', '10.0.0.5:80-81', 'Inside address and as many ports.'),
      from: from(['0.0.0.0/0'], 'Who outside may use it. Replies, and packets of known flows, pass in any case.'),
    }),
  untranslated: sections('Packets that keep their inside address (RFC 6888 REQ-6). To the outside such a host is behind a '
    + 'firewall only.', 256, 'What is not translated.', ['inside', 'outside'], {
    inside: value('hosts', '10.0.0.0/8', 'Inside address or prefix.'),
    outside: value('hosts', '192.0.2.0/24', 'Outside address or prefix.'),
    protocol: value('protocol', 'tcp', 'Protocol: a name such as udp, a number, or any.', 'any'),
    ports: ports('0-65535', '0', '65535', 'Ports of the outside end, for UDP and TCP.'),
  }),
  aliases: sections('Outside hosts that the inside knows by another address (twice-NAT): packets to the alias go to the outside '
    + 'host, and its packets come from the alias.', 1024, 'An alias.', ['alias', 'outside'], {
    alias: value('end', '10.99.0.7', 'Address, prefix, or address and ports, as the inside has it.'),
    outside: value('end', '198.51.100.7', 'The same of the outside.'),
    protocol: choice('both', ['tcp', 'udp', 'both'], 'With ports: of which protocol.'),
  }),
})
