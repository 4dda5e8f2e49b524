/** The section `midcom`: the rules that agents may set, who may set which, and the doors they come in by. */
import { DEFAULT_LIMITS } from '../../control/simco/options.ts'
import { durationToText } from './quantity.ts'
import { choice, count, duration, flag, item, list, LONGEST, oneOf, optional, ports, section, sections, value } from './setting.ts'
import { SNMP } from './snmp.ts'

const seconds = { seconds: true } as const
const portRange = item('ports', '1024-65535', 'First and last port.', { min: '1', max: '65535' })

function ms(fallbackMs: number, least: string, description: string, more: { off?: true } = {}) {
  return duration(durationToText(fallbackMs), least, '1d', '', description, more)
}

export const MIDCOM = section('Control by MIDCOM agents (RFC 5189). What the words mean is told in docs/midcom.md.', {
  enabled: flag(false, 'Let agents set rules. With false nothing below counts.'),
  ports: ports('40000-49999', '1', '65535',
    'Outside ports kept for rules, UDP and TCP, on each address of nat.pool: no other flow gets one of them.'),
  addresses: list(item('range', '203.0.113.9', 'An IPv4 address, range or prefix.'), 1024, [], [['203.0.113.9', '203.0.113.16/29']],
    'Outside addresses kept for rules that need one as a whole, such as those about protocols without ports. None is in nat.pool.'),
  'inside-pool': list(item('range', '192.0.2.1-192.0.2.8', 'An IPv4 address, range or prefix.'), 1024, [],
    [['192.0.2.1-192.0.2.8']],
    'Addresses that stand for outside hosts towards the inside. With any, the box can do twice-NAT.'),
  service: choice('traditional', ['traditional', 'twice'],
    'What a rule without a reservation gets on a box that can do twice-NAT.'),
  'strict-nat-mode': flag(true,
    'Refuse a reservation of twice-NAT on a NAT that cannot do it. With false it becomes a traditional one (RFC 5189 4.2). ' +
    'Where nothing is translated it is granted in any case (RFC 5189 2.3.8).'),
  'max-lifetime': duration('1h', '1s', LONGEST, '', 'Longest lifetime that a rule is granted.', seconds),
  'idle-timeout': duration('0s', '1s', LONGEST, '',
    'A rule without a packet for so long ends (RFC 5189 2.1.6). With 0s none ends for that, unless its agent asks for it.',
    { ...seconds, off: true }),
  extend: flag(true, 'Let a rule live longer than it was granted at first.'),
  'disable-rules': flag(true, 'Offer rules that block (RFC 4540 8.8): they end and bar what they overlap, whoever set it.'),
  wildcards: section('Which parts of an enable rule may be wildcards. The default is that of RFC 5189 6: ports, but no address.', {
    internal: flag(false, 'A prefix in place of an internal address.'),
    external: flag(false, 'A prefix in place of an external address.'),
    ports: flag(true, 'Any port, or any protocol.'),
  }),
  limits: section('Bounds of memory and of work. k is 1024, M is 1048576.', {
    rules: count('16k', '16', '1M', 'rules', 'Rules at once, those that reserve, enable and disable together.'),
    'ports-per-rule': count(64, '1', '32768', 'ports', 'Consecutive ports of one rule.'),
    sessions: count(1024, '1', '65536', 'sessions', 'Sessions of agents at once.'),
    'bound-ports': count('32k', '1', '16M', 'ports', 'Outside ports reserved or bound at once.'),
  }),
  agents: sections('Who may ask. Without an entry nobody may. What an entry leaves out it does not restrict.', 4096,
    'An agent.', ['name'], {
      name: value('name', 'softswitch', 'What the agent calls itself: its identity, and the owner of its rules.'),
      key: value('key', '00112233445566778899aabbccddeeff',
        'Shared key, hex or base64, 16 bytes or more, by which agent and box prove themselves to each other.'),
      'key-file': value('text', 'softswitch.key', 'The same in a file of its own, relative to this one.'),
      certificates: list(item('certificate', 'CN:softswitch', 'CN:, DNS: or URI: and a name.'), 16, undefined,
        [['CN:softswitch', 'DNS:switch.example']], 'Names in client certificates by which it may come in over TLS.'),
      may: list(oneOf(['reserve', 'enable', 'disable', 'lifetime', 'read'], 'A kind of transaction.'), 5, undefined,
        [['reserve', 'enable', 'lifetime', 'read']], 'What it may do.'),
      inside: list(item('prefix', '10.1.0.0/16', 'An IPv4 or IPv6 prefix.'), 256, undefined, [['10.1.0.0/16']],
        'Where the inside ends of its rules must be.', 1),
      outside: list(item('prefix', '198.51.100.0/24', 'An IPv4 or IPv6 prefix.'), 256, undefined, [['198.51.100.0/24']],
        'Where the outside ends of its rules must be.', 1),
      'inside-ports': list(portRange, 64, undefined, [['1024-65535']],
        'Ports of the inside ends.', 1),
      'outside-ports': list(portRange, 64, undefined, [['1024-65535']],
        'Ports of the outside ends.', 1),
      protocols: list(item('protocol', 'udp', 'A name such as udp, or a number.'), 64, undefined, [['udp', 'tcp']],
        'Protocols of its rules; any is the wildcard.', 1),
      directions: list(oneOf(['inbound', 'outbound', 'bidirectional'], 'A direction.'), 3, undefined, [['outbound']],
        'Directions of its enable rules.', 1),
      'max-lifetime': optional(duration('10m', '1s', LONGEST, '', 'Longest lifetime of its rules.', seconds)),
      'max-rules': optional(count(100, '0', '1M', 'rules', 'Rules that it may own at once.')),
      'acts-for': list(item('name', 'softswitch-2', 'Name of an agent, or * for all.'), 256, undefined, [['softswitch-2']],
        'Agents whose rules it may see and change as if they were its own.'),
      pdp: flag(false, 'Ask the policy decision point below too, about each of its transactions.'),
    }),
  simco: section('The SIMCO door (RFC 4540).', {
    // @req RFC6092 REC-50
    listen: list(item('endpoint', '127.0.0.1:7626', 'An address with a port.'), 16, ['127.0.0.1:7626'],
      [['127.0.0.1:7626', '[::1]:7626']], 'Where it listens; with [] it is shut. Port 0 lets the system choose.'),
    tls: section('Files in PEM, relative to this one. With a certificate the door speaks TLS only.', {
      cert: value('text', 'box.pem', 'Certificate of the box, with its chain; empty: plain TCP.', ''),
      key: value('text', 'box.key', 'Its private key.', ''),
      ca: value('text', 'agents-ca.pem',
        'Authorities of client certificates: clients are asked for one. Without challenge they must have one.', ''),
    }),
    'allow-plain': flag(false, 'Speak plain TCP on other addresses than those of loopback too.'),
    'loopback-agent': value('text', 'lab', 'Every client on a loopback address is this agent, unchallenged; empty: none is.', ''),
    challenge: flag(true, 'Agents prove that they have their key (RFC 4540 7.2).'),
    limits: section('What clients may take.', {
      connections: count(DEFAULT_LIMITS.connections, '1', '64k', 'connections', 'Connections at once.'),
      'connections-per-remote': count(DEFAULT_LIMITS.connectionsPerRemote, '1', '64k', 'connections',
        'The same from one IPv4 address or one IPv6 /64.'),
      open: ms(DEFAULT_LIMITS.openMs, '100ms', 'From connecting to an open session.'),
      idle: ms(DEFAULT_LIMITS.idleMs, '1s', 'Without a request in an open session; 0s: for ever.', { off: true }),
      message: ms(DEFAULT_LIMITS.messageMs, '100ms', 'Without a further byte of a message that has begun (RFC 4540 6).'),
      stalled: ms(DEFAULT_LIMITS.stalledMs, '100ms', 'Without a client taking anything of what waits for it.'),
      drain: ms(DEFAULT_LIMITS.drainMs, '10ms', 'For what is still to be sent when a connection or the box ends.'),
      'queued-bytes': count(DEFAULT_LIMITS.queuedBytes, '256k', '256M', 'bytes',
        'Replies and notifications that a client has not taken; beyond it is cut off.'),
      'failures-per-minute': count(DEFAULT_LIMITS.failuresPerMinute, '1', '1000000', 'failures',
        'Failed proofs from one IPv4 address or one IPv6 /64; then it is refused for a while.'),
      'faults-per-minute': count(DEFAULT_LIMITS.faultsPerMinute, '1', '1000000', 'sessions',
        'Sessions from one IPv4 address or IPv6 /64 that had to be ended; then the next ones wait, up to the end of that minute.'),
      'fault-wait': ms(DEFAULT_LIMITS.faultWaitMs, '1ms', 'How long each of them waits before it is read.'),
    }),
  }),
  state: value('text', 'pinhole-state',
    'Directory for what outlives the box, relative to this file and made if it is not there; empty: nothing does.', ''),
  snmp: SNMP,
  pdp: section('An external policy decision point (RFC 3303 2.9) over HTTP, asked about agents that say so. No answer means no.', {
    url: value('url', 'http://127.0.0.1:8180/decide', 'Where questions are posted; empty: there is none.', ''),
    timeout: duration('2s', '10ms', '1m', '', 'How long an answer may take.'),
    concurrent: count(16, '1', '1k', 'requests', 'Requests under way at once.'),
    waiting: count(256, '0', '64k', 'questions', 'Questions that may wait for their turn; one more is refused.'),
    cache: duration('0s', '1ms', '1h', '', 'How long a permit answers the same question again; 0s: never.', { off: true }),
    ca: value('text', 'pdp-ca.pem', 'PEM file of trusted authorities in place of those of the system, for https.', ''),
    'token-file': value('text', 'pdp.token', 'File that holds a bearer token for it.', ''),
  }),
})
