/**
 * Filters that tcpdump and ours must count alike. Where ours sees more on purpose (docs/explain.md), `theirs` says the same in
 * tcpdump's own terms.
 */
export const FILTERS: readonly (string | { ours: string; theirs: string })[] = [
  'ip', 'ip6', 'arp', 'tcp', 'udp', 'icmp', 'icmp6', 'sctp', 'esp', 'ah', 'igmp', 'not ip', 'ip or ip6', 'ip and not tcp',
  'not (tcp or udp)', 'proto 47', 'ip proto 47', 'ip proto \\tcp', 'ip6 proto 6', 'ip6 proto 17', 'proto gre or ospf',
  'port 53', 'port domain', 'udp port 53', 'tcp port 80', 'tcp port http or https', 'src port 80', 'dst port 80',
  'port (80 or 443 or 53)', 'not port 80', 'portrange 1-1023', 'src portrange 1024-65535', 'tcp dst portrange 20-25',
  'src or dst port 80', 'src and dst port 5060', 'udp and not port 53', 'sctp port 80',
  'host 192.168.1.1', 'net 192.168.0.0/16', 'src net 192.168', 'dst net 10', 'net 10.0.0.0/8 or 172.16.0.0/12 or 192.168.0.0/16',
  'src net 10.0.0.0/8 and dst net 10.0.0.0/8', 'net 10.0.0.0 mask 255.0.0.0', 'ip net 224.0.0.0/4', 'arp host 192.168.1.1',
  'ip6 net fe80::/10', 'net 2000::/3', 'dst net ff00::/8', 'src net 10 or 192.168', 'host 10.0.0.1 or 192.168.1.1', 'not host 10.0.0.1 and 192.168.1.1',
  'src 192.168.1.2', 'dst host 8.8.8.8 and udp', 'host 255.255.255.255',
  'less 64', 'greater 1000', 'len > 100', 'len >= 60 and len <= 66', 'len - 14 = 40', 'len % 4 = 0', 'len / 2 < 40',
  'ip[0] = 0x45', 'ip[0] & 0xf != 5', 'ip[8] < 5', 'ip[9] == 6', 'ip[2:2] > 576', 'ip[6:2] & 0x1fff != 0', 'ip[6] & 0x20 != 0',
  'ip[6:2] & 0x3fff = 0 and udp', '(ip[12:4] & 0xff000000) = 0x0a000000', 'ip[16:4] >> 24 = 224', 'ip[12] + ip[15] > 255', 'ip6[6] = 44', 'ip6[7] <= 1',
  'ip6[4:2] = 40', 'icmp[icmptype] = icmp-unreach', 'icmp[icmptype] = icmp-echo or icmp[icmptype] = icmp-echoreply',
  'icmp[0] = 3 and icmp[1] = 3', 'icmp[icmptype] != icmp-echo', 'icmp6[icmp6type] = icmp6-echo', 
  'ether[0] & 1 = 1', 'ether multicast', 'broadcast', 'multicast', 'ip multicast', 'ip6 multicast', 'ether[12:2] = 0x0800',
  'ether host ff:ff:ff:ff:ff:ff', 'ether dst ff:ff:ff:ff:ff:ff', 'tcp and ip', 'arp[6:2] = 1', 'ip and ip[1] & 0xfc != 0',
  'udp and len < 100 or icmp and len > 70', 'not not tcp', '!tcp && !udp', 'tcp || udp',
  { ours: 'tcp[tcpflags] & tcp-syn != 0 and ip', theirs: 'tcp[tcpflags] & tcp-syn != 0' },
  { ours: 'tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn', theirs: 'tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn or (ip6[6] = 6 and ip6[53] & 18 = 2)' },
  { ours: 'tcp[tcpflags] & (tcp-rst|tcp-fin) != 0', theirs: 'tcp[tcpflags] & (tcp-rst|tcp-fin) != 0 or (ip6[6] = 6 and ip6[53] & 5 != 0)' },
  { ours: 'tcp[13] = 2', theirs: 'tcp[13] = 2 or (ip6[6] = 6 and ip6[53] = 2)' },
  { ours: 'tcp[12] & 0xf0 > 0x50 and ip', theirs: 'tcp[12] & 0xf0 > 0x50' },
  { ours: 'ip port 53', theirs: 'ip and port 53' },
  { ours: 'ip6 port 53', theirs: 'ip6 and port 53' },
  { ours: '10.0.0.1 or 0.0.0.0', theirs: 'host 10.0.0.1 or host 0.0.0.0' },
  { ours: 'udp[4:2] > 100', theirs: 'udp[4:2] > 100 or (ip6[6] = 17 and ip6[44:2] > 100)' },
  { ours: 'fragment and ip', theirs: 'ip[6:2] & 0x3fff != 0' },
  { ours: 'fragment and ip6', theirs: 'ip6[6] = 44' },
]
