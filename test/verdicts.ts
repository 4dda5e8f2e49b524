/**
 * What the box must do with each packet of real captures, and why: found by reading the packets with tshark and the contract
 * (docs/behaviour.md), not by asking the box. Settings are the defaults, but for `inside`.
 */
import type { DropReason } from '../src/channel/reasons.ts'

/** Packets `from` … `to` of the capture, counted from 1. `sent`: to the other side than it came from. */
export interface Row { from: number; to: number; verdict: 'sent' | 'held' | DropReason; why: string }

export interface Judged { capture: string; inside?: readonly string[]; rows: readonly Row[] }

const row = (from: number, to: number, verdict: Row['verdict'], why: string): Row => ({ from, to, verdict, why })

export const VERDICTS: readonly Judged[] = [
  /* Fragments. */
  {
    capture: 'frag-PcapPlusPlus-frag_http_req.pcap',
    rows: [
      row(1, 1, 'sent', 'first fragment of a TCP segment with data: the whole header is in it, and a connection may be picked up in the middle (firewall.tcp-midstream)'),
      row(2, 11, 'sent', 'later fragments, in order and without gaps: they go where the first one went'),
    ],
  },
  {
    capture: 'frag-suricata-verify-frag-12.pcap', inside: ['2001:db8:1::2/128'],
    rows: [
      row(1, 1, 'sent', 'echo request from inside'),
      row(2, 2, 'sent', 'its reply'),
      row(3, 4, 'multicast', 'router advertisement and listener report, to ff02::; that the source is link-local is looked at later'),
      row(5, 5, 'ipv6-bad-extension', 'a chain of 175 fragment headers: at most 8 extension headers are walked'),
      row(6, 6, 'icmp-bad-error', 'a parameter problem that quotes packet 5, whose chain cannot be walked there either'),
      row(7, 7, 'multicast', 'listener report'),
      row(8, 9, 'sent', 'echo and reply'),
    ],
  },
  {
    capture: 'frag-suricata-verify-frag-2.pcap', inside: ['2001:db8:1::2/128'],
    rows: [
      row(1, 2, 'sent', 'echo and reply'),
      row(3, 4, 'multicast', 'router advertisement and listener report'),
      row(5, 5, 'sent', 'first fragment of an echo request, 408 bytes'),
      row(6, 6, 'sent', 'bytes 408 to 807 of it, more follow'),
      row(7, 7, 'multicast', 'listener report'),
      row(8, 8, 'ttl-exceeded', 'the same bytes again, but the hop limit is 1, and that is looked at before fragments are'),
      row(9, 9, 'held', 'the last fragment, at 3001 ms: the datagram was known from 1000 ms on for 2 s (timers.fragment), so this one waits for a first that never comes'),
      row(10, 11, 'sent', 'echo and reply'),
    ],
  },
  {
    capture: 'frag-suricata-verify-frag-eth-vlan-ip-tcp-syn.pcap', inside: ['1.1.1.1/32'],
    rows: [row(1, 3, 'multicast', 'the frames are addressed to 05:04:03:02:01:00, which is a group: RFC 1812 5.3.4 comes before tiny fragments')],
  },
  {
    capture: 'frag-zeek-fragmented-1.pcap', inside: ['164.1.123.163/32'],
    rows: [
      row(1, 1, 'fragment-bad-length', 'more follow, but 18 bytes are no multiple of 8; nothing is remembered of it'),
      row(2, 2, 'held', 'bytes 48 to 163, before the first fragment'),
      row(3, 3, 'fragment-overlap', 'bytes 0 to 303 cover what packet 2 brought: both go (RFC 5722)'),
    ],
  },

  /* ICMP. */
  {
    capture: 'icmp-PcapPlusPlus-IcmpPackets.pcapng',
    rows: [
      row(1, 1, 'multicast', 'router solicitation to 224.0.0.2'),
      row(2, 2, 'icmp-not-forwarded', 'redirect: the type is looked at before it is asked where it goes'),
      row(3, 4, 'multicast', 'router advertisements to 255.255.255.255; addresses come before the TTL of 1'),
      row(5, 6, 'icmp-error-no-flow', 'time exceeded and port unreachable about traceroute packets that the capture does not hold'),
      row(7, 8, 'inside-to-inside', 'time stamp query and reply between two hosts of 192.168.0.0/16'),
      row(9, 10, 'sent', 'echo request to 8.8.8.8 and its reply'),
      row(11, 11, 'icmp-error-no-flow', 'time exceeded about an echo request that was never seen'),
      row(12, 12, 'land', 'host unreachable that a host sends itself: source and destination are one address, which comes before its type'),
      row(13, 13, 'icmp-not-forwarded', 'source quench is deprecated (RFC 6633) and no error that is forwarded'),
      row(14, 15, 'icmp-not-forwarded', 'address mask request and reply'),
    ],
  },
  {
    capture: 'icmp-pcap4j-IcmpV4ParameterProblemPacketTest.pcap',
    rows: [row(1, 1, 'icmp-error-no-flow', 'from outside, quoting a packet of 192.0.2.2, which is no outside address of a flow')],
  },
  {
    capture: 'icmp-zeek-5-pings.pcap',
    rows: [row(1, 10, 'sent', 'five echo requests and their replies')],
  },
  {
    capture: 'icmp-zeek-icmp-destunreach-udp.pcap',
    rows: [row(1, 1, 'icmp-error-no-flow', 'port unreachable from inside, about an answer of a name server that was never seen')],
  },
  {
    capture: 'icmp-zeek-icmp-timeexceeded.pcap',
    rows: [row(1, 1, 'icmp-error-no-flow', 'time exceeded from inside, about a packet that was never seen')],
  },
  {
    capture: 'icmp-zeek-icmp6-toobig.pcap',
    rows: [row(1, 1, 'link-local', 'fe80::dead to fe80::beef; that the frame is a broadcast is looked at later')],
  },
  {
    capture: 'icmp-zeek-icmp6.pcap', inside: ['3ffe:507:0:1::/64'],
    rows: [
      row(1, 2, 'link-local', 'neighbour discovery between link-local addresses'),
      row(3, 6, 'icmp-not-forwarded', 'neighbour discovery between global addresses'),
      row(7, 10, 'link-local', 'neighbour discovery between link-local addresses'),
      row(11, 22, 'icmp-error-no-flow', 'answers to a traceroute whose packets the capture does not hold'),
      row(23, 28, 'sent', 'three echo requests out and their replies'),
      row(29, 30, 'icmp-not-forwarded', 'neighbour discovery between global addresses'),
      row(31, 32, 'multicast', 'router solicitation and advertisement'),
      row(33, 34, 'link-local', 'neighbour discovery between link-local addresses'),
      row(35, 35, 'icmp-error-no-flow', 'port unreachable about an answer of a name server that was never seen'),
      row(36, 36, 'multicast', 'neighbour solicitation to a solicited-node address'),
      row(37, 37, 'icmp-not-forwarded', 'its advertisement'),
      row(38, 47, 'inside-to-inside', 'echo requests and replies between two hosts of the inside prefix'),
      row(48, 49, 'link-local', 'neighbour discovery between link-local addresses'),
    ],
  },

  /* TCP. */
  {
    capture: 'tcp-arkime-wireshark-retrans.pcap', inside: ['172.17.96.143/32'],
    rows: [row(1, 108, 'sent', 'one connection from SYN to FIN, everything up to four times: repeats are the receiver\'s business')],
  },
  {
    capture: 'tcp-suricata-verify-split-handshake-4whs.pcap', inside: ['1.1.1.1/32'],
    rows: [
      row(1, 1, 'sent', 'SYN from inside'),
      row(2, 2, 'multicast', 'the answering SYN is addressed to 11:11:11:11:11:11, a group'),
      row(3, 3, 'sent', 'SYN,ACK from inside, of the flow that packet 1 opened'),
      row(4, 4, 'multicast', 'ACK, to a group again'),
      row(5, 5, 'sent', 'data from inside'),
      row(6, 6, 'multicast', 'ACK, to a group again'),
      row(7, 7, 'sent', 'RST of the sender itself'),
    ],
  },
  {
    capture: 'tcp-suricata-verify-tcp-opt.pcap',
    rows: [row(1, 42, 'sent', 'one connection with selective acknowledgements, a FIN that is sent four times, and an RST at its end')],
  },
  {
    capture: 'tcp-suricata-verify-tcp-overlap.pcap', inside: ['1.1.1.1/32'],
    rows: [
      row(1, 1, 'multicast', 'the SYN is addressed to 05:04:03:02:01:00, a group'),
      row(2, 2, 'no-mapping', 'so nobody has opened what the SYN,ACK is for'),
      row(3, 3, 'multicast', 'to a group'),
      row(4, 4, 'no-mapping', 'no mapping'),
      row(5, 6, 'multicast', 'data, to a group'),
      row(7, 7, 'no-mapping', 'no mapping'),
    ],
  },
  {
    capture: 'tcp-suricata-verify-tcp-session-midstream-policy.pcap', inside: ['192.0.2.0/24'],
    rows: [row(1, 3, 'sent', 'data in the middle of a connection opens a flow from inside (firewall.tcp-midstream), and the answer is its own')],
  },
  {
    capture: 'tcp-suricata-verify-tcp-session-stream-out-of-window.pcap', inside: ['192.0.2.0/24'],
    rows: [
      row(1, 2, 'sent', 'SYN and SYN,ACK'),
      row(3, 3, 'sent', 'data far outside the window: sequence numbers are not checked by default'),
    ],
  },
  {
    capture: 'tcp-suricata-verify-tcp-urgent1.pcap',
    rows: [row(1, 16, 'inside-to-inside', 'both ends in 10.0.0.0/8')],
  },
  {
    capture: 'tcp-suricata-verify-tcp_fastopen_segmentation.pcap', inside: ['10.0.0.50/32'],
    rows: [row(1, 20, 'sent', 'two connections by TCP fast open: data on the SYN is allowed (RFC 7413), RST after FIN, too')],
  },
  {
    capture: 'tcp-tcpdump-gso-ipv4.pcap',
    rows: [row(1, 1, 'inside-to-inside', 'a segment of 7292 bytes, as offloading leaves it: its lengths agree, and both ends are inside')],
  },
  {
    capture: 'tcp-zeek-missing-syn.pcap', inside: ['141.42.0.0/16'],
    rows: [
      row(1, 1, 'no-mapping', 'SYN,ACK to a SYN that the capture does not hold'),
      row(2, 21, 'sent', 'the ACK from inside opens a flow in the middle of the connection; the rest belongs to it'),
    ],
  },
  {
    capture: 'tcp-zeek-rst-inject-rae.pcap', inside: ['1.2.0.2/32'],
    rows: [
      row(1, 1, 'sent', 'SYN from inside'),
      row(2, 2, 'sent', 'an injected RST: it belongs to the flow, which it does not end at once'),
      row(3, 6, 'sent', 'so the real SYN,ACK and what follows get through'),
      row(7, 9, 'sent', 'another RST, data and the last RST, within the transitory time'),
    ],
  },
  {
    capture: 'tcp-zeek-window-scale-range.pcap', inside: ['10.0.0.1/32'],
    rows: [row(1, 5, 'sent', 'a connection with an odd window scale')],
  },

  /* Malformed. */
  {
    capture: 'mal-tcpdump-esp_truncated.pcap',
    rows: [row(1, 1, 'martian-source', 'the header sum was left 0, which is repaired; a source in 0.0.0.0/8 is not')],
  },
  {
    capture: 'mal-tcpdump-gre-heapoverflow-1.pcap',
    rows: [
      row(1, 1, 'not-ip', 'ethertype 0x3030'),
      row(2, 2, 'ip-bad-version', 'ethertype IPv4, and the header begins with 0x08: version 0'),
    ],
  },
  {
    capture: 'mal-tcpdump-icmp-cksum-oobr-1.pcap',
    rows: [row(1, 1, 'ip-bad-length', 'a total length of 13,911 in a frame with 188 bytes of IP')],
  },
  {
    capture: 'mal-tcpdump-ipv4_invalid_hdr_length.pcap',
    rows: [row(1, 1, 'ipv4-bad-header-length', 'IHL 4: 16 bytes')],
  },
  {
    capture: 'mal-tcpdump-ipv4_invalid_total_length.pcap',
    rows: [row(1, 1, 'ip-bad-length', 'a total length of 85 in a frame with 84 bytes of IP')],
  },
  {
    capture: 'mal-tcpdump-ipv6_39_byte_header.pcap',
    rows: [row(1, 1, 'ip-truncated', '25 of the 40 bytes of the header were captured')],
  },
  {
    capture: 'mal-tcpdump-olsr-oobr-2.pcap',
    rows: [
      row(1, 2, 'link-truncated', 'no byte was captured'),
      row(3, 3, 'ttl-exceeded', 'odd addresses, but none that is reserved; hop limit 0'),
    ],
  },
  {
    capture: 'mal-tcpdump-tcp_header_heapoverflow.pcap',
    rows: [row(1, 1, 'ipv4-bad-checksum', 'lengths within the frame, header sum 0x3030 where 0x69a8 would be right')],
  },
  {
    capture: 'mal-tcpdump-udp-length-heapoverflow.pcap',
    rows: [row(1, 1, 'ipv4-bad-checksum', 'the same, for UDP')],
  },
]
