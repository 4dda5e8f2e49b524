/**
 * What stands behind each reason of a drop: the clause or setting that asks for it, a sentence for people, and what to change.
 * The type holds the table complete: a reason without an entry does not compile. `settings` are paths of the configuration.
 */
import type { DropReason } from '../../channel/reasons.ts'

export interface ReasonText {
  /** The standard's clause, or the setting, that asks for the drop. */
  clause: string
  /** Why such a packet is dropped, in a sentence. */
  why: string
  /** What to change so that it passes, or that nothing does. */
  hint: string
  /** Settings that can turn the verdict; empty: there is none. */
  settings: readonly string[]
}

const NONE = 'No setting lets it pass; the sender has to be mended.'

export const REASON_TEXTS: Readonly<Record<DropReason, ReasonText>> = {
  'link-unsupported': {
    clause: 'README, By layer: Links',
    why: 'Pinhole cannot read this link type or what is wrapped inside it (MPLS, PPPoE), so it sees no packet to forward.',
    hint: 'Capture on an Ethernet, cooked or raw IP interface, or convert the file (editcap -T, or strip the encapsulation).',
    settings: [],
  },
  'link-truncated': {
    clause: 'the length of the link header',
    why: 'The frame ends before its link header does.',
    hint: 'Capture with a larger snap length (tcpdump -s 0).',
    settings: [],
  },
  'not-ip': {
    clause: 'RFC 1812 5.2.1',
    why: 'The frame carries neither IPv4 nor IPv6, and a router forwards nothing else.',
    hint: 'Nothing to change: the frame belongs to the link.',
    settings: [],
  },
  'arp': {
    clause: 'RFC 826',
    why: 'ARP is between neighbours on one link and never crosses a router.',
    hint: 'Nothing to change: the frame belongs to the link.',
    settings: [],
  },
  'ip-truncated': {
    clause: 'RFC 1812 5.2.2',
    why: 'The captured bytes end inside the IP header or an extension header, so that the packet cannot be judged.',
    hint: 'Capture with a larger snap length (tcpdump -s 0).',
    settings: [],
  },
  'ip-bad-version': {
    clause: 'RFC 1812 5.2.2 (3)',
    why: 'The version in the IP header is not the one that the link header announces.',
    hint: NONE,
    settings: [],
  },
  'ipv4-bad-header-length': {
    clause: 'RFC 1812 5.2.2 (4)',
    why: 'The header length is below 20 bytes.',
    hint: NONE,
    settings: [],
  },
  'ip-bad-length': {
    clause: 'RFC 1812 5.2.2 (5), RFC 8200 3',
    why: 'The length in the IP header is below the header itself, or more than the frame had on the wire.',
    hint: 'A length of 0 is left by segmentation offload: capture outside the host, or with offload off (ethtool -K IF tso off).',
    settings: [],
  },
  'ipv4-bad-checksum': {
    clause: 'RFC 1812 5.2.2 (2)',
    why: 'The checksum of the IPv4 header is wrong, so any of its fields may be.',
    hint: 'If offload left it wrong, not the network: checks.ipv4-checksum: ignore.',
    settings: ['checks.ipv4-checksum'],
  },
  'ipv4-bad-options': {
    clause: 'RFC 1122 3.2.1.8',
    why: 'An IPv4 option runs past the end of the header.',
    hint: NONE,
    settings: [],
  },
  'ipv4-source-route': {
    clause: 'RFC 7126 4.3, 4.4',
    why: 'A source route would lead the packet past the mapping and the filter.',
    hint: NONE,
    settings: [],
  },
  'ipv6-bad-extension': {
    clause: 'RFC 8200 4',
    why: 'An IPv6 extension header is malformed, stands where it must not, or is one of too many.',
    hint: NONE,
    settings: [],
  },
  'ipv6-routing-header-0': {
    clause: 'RFC 5095 3',
    why: 'Routing header type 0 is deprecated, because it multiplies traffic.',
    hint: NONE,
    settings: [],
  },
  'martian-source': {
    clause: 'RFC 1812 5.3.7',
    why: 'The source can belong to no sender: it is unspecified, loopback, multicast, broadcast, or an address of this box.',
    hint: 'If the source is in nat.pool, the capture was taken outside the box, or the pool is another network: set nat.pool.',
    settings: ['nat.pool'],
  },
  'land': {
    clause: 'RFC 1812 5.3.7',
    why: 'Source and destination are the same address: no host sends itself packets through a router (a LAND attack).',
    hint: NONE,
    settings: [],
  },
  'martian-destination': {
    clause: 'RFC 1812 5.3.7',
    why: 'The destination can belong to no receiver: it is unspecified, loopback or reserved.',
    hint: NONE,
    settings: [],
  },
  'multicast': {
    clause: 'RFC 1812 5.3.4, 5.2.1.2',
    why: 'Multicast and broadcast, of the network or of the link, are not forwarded between the sides.',
    hint: 'Nothing to change: Pinhole forwards no multicast.',
    settings: [],
  },
  'link-local': {
    clause: 'RFC 3927 2.7, RFC 4291 2.5.6',
    why: 'A link-local address has no meaning beyond its link.',
    hint: NONE,
    settings: [],
  },
  'unique-local': {
    clause: 'checks.unique-local (RFC 4193 4.1, RFC 6092 REC-7)',
    why: 'A unique local address (fc00::/7), which means nothing to the Internet, would cross to or from the outside.',
    hint: 'Translate its prefix (nat.npt6), or let it cross: checks.unique-local: forward.',
    settings: ['checks.unique-local'],
  },
  'spoofed-source': {
    clause: 'checks.spoofing, RFC 2827',
    why: 'The source does not belong to the side that the packet came from, so somebody forged it.',
    hint: 'If hosts there do have such addresses, set inside (or --inside) to what is inside; or checks.spoofing: ignore.',
    settings: ['checks.spoofing', 'inside'],
  },
  'ttl-exceeded': {
    clause: 'RFC 1812 5.3.1, RFC 8200 3',
    why: 'The TTL or hop limit would reach zero here; the sender is told by ICMP if the packet was on its way through the box.',
    hint: 'The sender has to use a larger TTL. In a traceroute this is what is meant to happen.',
    settings: [],
  },
  'fragment-rate': {
    clause: 'limits.fragments-per-second',
    why: 'More fragments came in this second than the box forwards.',
    hint: 'Raise limits.fragments-per-second, or set it to 0.',
    settings: ['limits.fragments-per-second'],
  },
  'transport-truncated': {
    clause: 'docs/behaviour.md, Order of checks 6',
    why: 'The captured bytes end inside the transport header, so that ports or flags are unknown.',
    hint: 'Capture with a larger snap length (tcpdump -s 0).',
    settings: [],
  },
  'transport-bad-length': {
    clause: 'RFC 9293 3.1, RFC 768',
    why: 'The packet ends inside its transport header, or that header claims more bytes than there are.',
    hint: NONE,
    settings: [],
  },
  'tcp-null': {
    clause: 'checks.tcp-flags, RFC 9293 3.10.7',
    why: 'No flag says what the segment is for: a null scan, or a broken stack.',
    hint: 'If a peer really speaks so: checks.tcp-flags: ignore.',
    settings: ['checks.tcp-flags'],
  },
  'tcp-xmas': {
    clause: 'checks.tcp-flags, RFC 9293 3.10.7',
    why: 'FIN, PSH and URG without ACK belong to no connection: a Christmas tree scan.',
    hint: 'If a peer really speaks so: checks.tcp-flags: ignore.',
    settings: ['checks.tcp-flags'],
  },
  'tcp-syn-fin': {
    clause: 'checks.tcp-flags, RFC 9293 3.10.7',
    why: 'A segment cannot open and close a connection at once.',
    hint: 'If a peer really speaks so: checks.tcp-flags: ignore.',
    settings: ['checks.tcp-flags'],
  },
  'tcp-syn-rst': {
    clause: 'checks.tcp-flags, RFC 9293 3.10.7',
    why: 'A segment cannot open and reset a connection at once.',
    hint: 'If a peer really speaks so: checks.tcp-flags: ignore.',
    settings: ['checks.tcp-flags'],
  },
  'tcp-fin-rst': {
    clause: 'checks.tcp-flags, RFC 9293 3.10.7',
    why: 'A segment cannot close and reset a connection at once.',
    hint: 'If a peer really speaks so: checks.tcp-flags: ignore.',
    settings: ['checks.tcp-flags'],
  },
  'tcp-fin-without-ack': {
    clause: 'checks.tcp-flags, RFC 9293 3.10.7',
    why: 'Every segment but the first SYN and a reset carries ACK; this FIN does not: a FIN scan.',
    hint: 'If a peer really speaks so: checks.tcp-flags: ignore.',
    settings: ['checks.tcp-flags'],
  },
  'fragment-tiny': {
    clause: 'RFC 1858 3, RFC 3128',
    why: 'The first fragment does not hold the transport header, or one begins inside it: a way round filters.',
    hint: NONE,
    settings: [],
  },
  'fragment-overlap': {
    clause: 'RFC 5722 4, RFC 1858 4',
    why: 'The fragment covers bytes that another one of its datagram has brought: a way round filters.',
    hint: 'Nothing to change. An exact repeat costs that piece only, anything else the rest of the datagram.',
    settings: [],
  },
  'fragment-bad-length': {
    clause: 'RFC 791 3.2, RFC 8200 4.5',
    why: 'The fragment is empty, not a multiple of 8 bytes though more follow, or ends past 65,535.',
    hint: NONE,
    settings: [],
  },
  'fragment-of-dropped': {
    clause: 'docs/behaviour.md, Fragments',
    why: 'The first fragment of its datagram was dropped, and the others go with it.',
    hint: 'See why the first fragment was dropped.',
    settings: [],
  },
  'fragment-table-full': {
    clause: 'limits.fragment-datagrams; 64 pieces a datagram',
    why: 'As many datagrams in fragments as fit are known already, or the datagram has too many pieces.',
    hint: 'Raise limits.fragment-datagrams, or find out who sends so many fragments.',
    settings: ['limits.fragment-datagrams'],
  },
  'fragment-hold-full': {
    clause: 'limits.fragment-hold (RFC 4787 REQ-14)',
    why: 'It came before the first fragment, and there was no room to hold it until that comes.',
    hint: 'Raise limits.fragment-hold.',
    settings: ['limits.fragment-hold'],
  },
  'fragment-timeout': {
    clause: 'timers.fragment (RFC 4787 REQ-14)',
    why: 'The first fragment, which alone tells the ports, did not come in time.',
    hint: 'Raise timers.fragment if the first fragment came later.',
    settings: ['timers.fragment'],
  },
  'inside-to-inside': {
    clause: 'inside',
    why: 'Both ends are in the inside network: the packet would never have come to this box.',
    hint: 'If one end is outside after all, name only the inner part: --inside, or the setting inside.',
    settings: ['inside'],
  },
  'outside-to-outside': {
    clause: 'inside',
    why: 'It came from outside for an address that is neither an outside address of this box nor in the inside network.',
    hint: 'If one end is inside, add its network: --inside, or the setting inside.',
    settings: ['inside', 'nat.pool'],
  },
  'no-mapping': {
    clause: 'RFC 4787 REQ-8',
    why: 'Nobody inside has opened that outside address and port, so there is nobody to send it to.',
    hint: 'The inside host has to send first, a forward has to lead there (nat.forwards), or an agent has to open a pinhole.',
    settings: ['nat.forwards', 'nat.nat44'],
  },
  'npt6-unmapped': {
    clause: 'nat.npt6 (RFC 6296 3.2, 4.2)',
    why: 'The subnet has no counterpart on the other side: it is 0xffff, or only the shorter of the two prefixes has it.',
    hint: 'Use another subnet, or write two prefixes of one length in nat.npt6.',
    settings: [],
  },
  'npt6-bad-identifier': {
    clause: 'nat.npt6 (RFC 6296 3.7)',
    why: 'Prefixes longer than /48 take help of the interface identifier, and one of all zeros or all ones gives none.',
    hint: 'Give the host another identifier; with prefixes of /48 or less it would not matter.',
    settings: [],
  },
  'filtered': {
    clause: 'nat.filtering (RFC 4787 REQ-8)',
    why: 'The mapping exists, but its filter does not admit this remote end: the inside host has not sent to it.',
    hint: 'The inside host has to send to that address first, or a rule or nat.filtering has to admit more.',
    settings: ['firewall.rules', 'nat.forwards', 'nat.filtering', 'firewall.outbound'],
  },
  'no-state': {
    clause: 'RFC 5508 REQ-1',
    why: 'It answers an ICMP query that was not seen, or whose time is over.',
    hint: 'The query has to pass first; a slow answer needs a longer timers.icmp-query.',
    settings: ['timers.icmp-query'],
  },
  'denied': {
    clause: 'firewall.outbound, firewall.inbound6 or nat.hairpinning',
    why: 'The policy admits no new flow in this direction.',
    hint: 'Permit the direction, or this flow by a rule of its own.',
    settings: ['firewall.rules', 'firewall.outbound', 'firewall.inbound6', 'nat.hairpinning'],
  },
  'denied-by-rule': {
    clause: 'RFC 4540 8.8',
    why: 'A disable rule of a MIDCOM agent blocks it.',
    hint: 'End that rule (pinhole ctl list, pinhole ctl delete RULE).',
    settings: [],
  },
  'denied-by-firewall': {
    clause: 'firewall.rules (docs/behaviour.md, Firewall rules)',
    why: 'The first firewall rule that matches it denies.',
    hint: 'Put a rule before that one which permits it; pinhole rules prints them in order.',
    settings: ['firewall.rules'],
  },
  'tcp-midstream': {
    clause: 'firewall.tcp-midstream (RFC 5382 REQ-1)',
    why: 'The segment belongs to no known connection and does not open one: it has no SYN, or RST or ACK beside it.',
    hint: 'The connection has to begin with a SYN; firewall.tcp-midstream: true takes over connections in the middle.',
    settings: ['firewall.tcp-midstream'],
  },
  'host-flows': {
    clause: 'limits.per-host.flows (RFC 6888 REQ-5)',
    why: 'The inside host has as many flows as one host may have; those that it has go on.',
    hint: 'Raise limits.per-host.flows, or find out what the host does.',
    settings: ['limits.per-host.flows'],
  },
  'host-rate': {
    clause: 'limits.per-host.flows-per-second (RFC 6888 REQ-4c)',
    why: 'The inside host has opened more flows in this second than one host may.',
    hint: 'Raise limits.per-host.flows-per-second, or find out what the host does.',
    settings: ['limits.per-host.flows-per-second'],
  },
  'half-open-source': {
    clause: 'limits.half-open-per-source',
    why: 'The source has as many TCP connections waiting for an answer as one host may: a SYN flood, or a scan.',
    hint: 'If it is an honest host, raise limits.half-open-per-source, or shorten timers.tcp-opening.',
    settings: ['limits.half-open-per-source', 'timers.tcp-opening'],
  },
  'half-open-full': {
    clause: 'limits.half-open, limits.full-table (RFC 6888 REQ-11d)',
    why: 'As many TCP connections wait for an answer as may, and none of them is given up for another.',
    hint: 'Raise limits.half-open, bound what one source may have, or give up the oldest (limits.full-table: evict).',
    settings: ['limits.half-open', 'limits.full-table', 'limits.half-open-per-source'],
  },
  'flow-table-full': {
    clause: 'limits.flows, limits.full-table (RFC 6888 REQ-11d)',
    why: 'Every place in the flow table is taken, and no flow is given up for another.',
    hint: 'Raise limits.flows, bound what a host may have (limits.per-host.flows), or give up flows (limits.full-table: evict).',
    settings: ['limits.flows', 'limits.full-table', 'limits.per-host.flows'],
  },
  'tcp-out-of-window': {
    clause: 'checks.tcp-window, RFC 9293 3.10.7.4',
    why: 'The sequence number lies outside of the window that the other end has offered.',
    hint: 'If packets are missing in the capture, checks.tcp-window: loose or off.',
    settings: ['checks.tcp-window'],
  },
  'tcp-bad-ack': {
    clause: 'checks.tcp-window, RFC 9293 3.10.7.4',
    why: 'The segment acknowledges what the other end has not sent, or what is long past.',
    hint: 'If packets are missing in the capture, checks.tcp-window: loose or off.',
    settings: ['checks.tcp-window'],
  },
  'tcp-rst-out-of-window': {
    clause: 'checks.tcp-window, RFC 7857 2.2, RFC 5961 3',
    why: 'By its sequence number the RST is not of this connection: somebody else may have sent it.',
    hint: 'To let resets pass unseen: checks.tcp-window: off.',
    settings: ['checks.tcp-window'],
  },
  'tcp-syn-in-window': {
    clause: 'checks.tcp-window, RFC 5961 4',
    why: 'A SYN inside of the window of an open connection would make an old receiver reset it.',
    hint: 'To let it pass: checks.tcp-window: loose or off.',
    settings: ['checks.tcp-window'],
  },
  'host-ports': {
    clause: 'limits.per-host.ports (RFC 6888 REQ-4)',
    why: 'The inside host has as many outside ports as one host may have, together or of this protocol.',
    hint: 'Raise limits.per-host.ports, or that of the protocol, or find out what the host does.',
    settings: [
      'limits.per-host.ports', 'limits.per-host.udp-ports', 'limits.per-host.tcp-ports', 'limits.per-host.icmp-identifiers',
    ],
  },
  'no-outside-port': {
    clause: 'nat.ports, nat.pool (RFC 4787 REQ-3b)',
    why: 'Every outside port that this inside host may use is taken, and ports are never shared.',
    hint: 'Add addresses to nat.pool, widen nat.ports, or shorten timers.',
    settings: ['nat.ports', 'nat.pool'],
  },
  'protocol-conflict': {
    clause: 'docs/behaviour.md, Flows and mappings',
    why: 'Another inside host talks to the same remote end by this protocol, which has no ports to tell the two apart.',
    hint: 'Add addresses to nat.pool, so that the hosts get different ones.',
    settings: ['nat.pool'],
  },
  'too-big': {
    clause: 'RFC 4787 REQ-13, RFC 1191 4, RFC 8200 5',
    why: 'The packet does not fit the link it would leave by, and may not be fragmented; its sender is told the MTU.',
    hint: 'Raise the MTU of that side, or let TCP agree on less (box.mss).',
    settings: ['box.mtu-inside', 'box.mtu-outside', 'box.mss'],
  },
  'icmp-bad-checksum': {
    clause: 'RFC 5508 REQ-3',
    why: 'The checksum of the ICMP error is wrong.',
    hint: NONE,
    settings: [],
  },
  'icmp-bad-error': {
    clause: 'RFC 5508 REQ-3a, RFC 792',
    why: 'The packet that the ICMP error quotes is cut short or malformed, so that its flow cannot be told.',
    hint: 'If a wrong checksum of the quoted header is the cause: checks.ipv4-checksum: ignore.',
    settings: ['checks.ipv4-checksum'],
  },
  'icmp-error-no-flow': {
    clause: 'RFC 5508 REQ-4, REQ-5',
    why: 'The packet that the ICMP error quotes belongs to no flow that is known now.',
    hint: 'The packet that it complains about has to have passed before, and its flow must still be there.',
    settings: [],
  },
  'icmp-not-forwarded': {
    clause: 'RFC 5508 REQ-11, RFC 4890 4.3',
    why: 'This ICMP type is between neighbours or for the router itself: redirects, router and neighbour discovery and such.',
    hint: 'Nothing to change: no router forwards it between the sides.',
    settings: [],
  },
  'icmp-rate': {
    clause: 'limits.icmp-per-second',
    why: 'More ICMP packets came in this second than the box forwards.',
    hint: 'Raise limits.icmp-per-second, or set it to 0.',
    settings: ['limits.icmp-per-second'],
  },
}
