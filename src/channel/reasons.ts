/**
 * Why a packet was dropped: the one list. Every drop names exactly one entry, and the sum of these counters is the number
 * of drops. The README's table is checked against this file by a test. Order is the order in which a packet meets them.
 */
export const DROP_REASONS = [
  ['link-unsupported', 'the link type or the encapsulation inside it is not one that Pinhole reads'],
  ['link-truncated', 'the frame ends inside its link header'],
  ['not-ip', 'the ethertype is neither IPv4, IPv6 nor ARP'],
  ['arp', 'ARP belongs to the link; a router never forwards it'],
  ['ip-truncated', 'the captured bytes end inside the IP header or an extension header'],
  ['ip-bad-version', 'the version field does not agree with the link header'],
  ['ipv4-bad-header-length', 'IHL below 5 (RFC 1812 5.2.2)'],
  ['ip-bad-length', 'the length field is below the header or beyond the frame (RFC 1812 5.2.2)'],
  ['ipv4-bad-checksum', 'the header checksum is wrong (RFC 1812 5.2.2)'],
  ['ipv4-bad-options', 'an option runs past the header (RFC 1122 3.2.1.8)'],
  ['ipv4-source-route', 'a source-route option would bypass the mapping (RFC 7126 4.3, 4.4)'],
  ['ipv6-bad-extension', 'an extension header is malformed, out of place or one of too many (RFC 8200 4)'],
  ['ipv6-routing-header-0', 'routing header type 0 (RFC 5095)'],
  ['martian-source', 'a source that cannot be one: unspecified, loopback, multicast, broadcast, one of our own (RFC 1812 5.3.7)'],
  ['land', 'source and destination are one address, as in a LAND attack'],
  ['martian-destination', 'a destination that cannot be one: unspecified, loopback, reserved (RFC 1812 5.3.7)'],
  ['multicast', 'multicast and broadcast, of the network or of the link, are not forwarded between the sides'],
  ['link-local', 'link-local addresses stay on their link (RFC 3927 2.7, RFC 4291 2.5.6)'],
  ['spoofed-source', 'from outside with a source that is inside, or the reverse (RFC 2827)'],
  ['ttl-exceeded', 'TTL or hop limit would reach zero (RFC 1812 5.3.1)'],
  ['transport-truncated', 'the captured bytes end inside the transport header'],
  ['transport-bad-length', 'the packet ends inside the transport header, or that header lies about its length'],
  ['tcp-null', 'a TCP segment with none of SYN, ACK, FIN and RST'],
  ['tcp-xmas', 'FIN, PSH and URG without ACK'],
  ['tcp-syn-fin', 'SYN with FIN'],
  ['tcp-syn-rst', 'SYN with RST'],
  ['tcp-fin-rst', 'FIN with RST'],
  ['tcp-fin-without-ack', 'FIN without ACK (RFC 9293 3.10.7)'],
  ['fragment-tiny', 'the first fragment does not hold the whole transport header (RFC 1858 3, RFC 3128)'],
  ['fragment-overlap', 'fragments overlap (RFC 1858 4, RFC 5722); the rest of the datagram goes too'],
  ['fragment-bad-length', 'a fragment is empty, not a multiple of 8, or ends past 65,535'],
  ['fragment-of-dropped', 'the first fragment of this datagram was dropped'],
  ['fragment-table-full', 'too many datagrams in fragments at once, or too many pieces of one'],
  ['fragment-hold-full', 'no room to hold a fragment that came before the first one'],
  ['fragment-timeout', 'the first fragment did not come in time'],
  ['inside-to-inside', 'both ends are inside: this packet would not cross the box'],
  ['outside-to-outside', 'from outside, to an address that is neither ours nor inside'],
  ['no-mapping', 'from outside, to an outside address and port that nobody inside has opened'],
  ['filtered', 'a mapping exists, but its filter does not admit this remote end (RFC 4787 REQ-8)'],
  ['no-state', 'the answer to an ICMP query that nobody sent'],
  ['denied', 'the firewall policy denies new flows in this direction, or hairpinning is off'],
  ['denied-by-rule', 'a disable rule of MIDCOM blocks it, or a flow that it would open (RFC 4540 8.8)'],
  ['denied-by-firewall', 'a rule of `firewall.rules` denies it, or the flow that it would open'],
  ['tcp-midstream', 'a TCP segment other than SYN without a flow, and midstream pick-up is off'],
  ['no-outside-port', 'every outside port this inside host may use is taken'],
  ['protocol-conflict', 'another inside host talks to the same remote end by this port-less protocol'],
  ['icmp-bad-checksum', 'the checksum of an ICMP error is wrong (RFC 5508 REQ-3a)'],
  ['icmp-bad-error', 'the packet inside an ICMP error is cut short or malformed'],
  ['icmp-error-no-flow', 'the packet inside an ICMP error belongs to no flow (RFC 5508 REQ-4, REQ-5)'],
  ['icmp-not-forwarded', 'an ICMP type that is not forwarded: redirect, router discovery, neighbour discovery and such'],
] as const

export type DropReason = (typeof DROP_REASONS)[number][0]

/** Index of a reason in the list; what `Frames.reason` holds. For module-level constants, not for the packet path. */
export function reasonIndex(name: DropReason): number {
  return DROP_REASONS.findIndex(([known]) => known === name)
}
