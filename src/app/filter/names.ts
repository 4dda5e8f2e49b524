/** Names that a filter may use for numbers, as in pcap-filter(7). Host names are not among them: nothing is looked up. */

/** Protocols that are a filter by themselves, and in which version of IP: `icmp` is `ip proto 1`. */
export const PROTOCOLS: Readonly<Record<string, { number: number; version: 4 | 6 | null }>> = {
  icmp: { number: 1, version: 4 }, igmp: { number: 2, version: 4 }, igrp: { number: 9, version: 4 },
  tcp: { number: 6, version: null }, udp: { number: 17, version: null }, sctp: { number: 132, version: null },
  ah: { number: 51, version: null }, esp: { number: 50, version: null }, pim: { number: 103, version: null },
  icmp6: { number: 58, version: 6 }, vrrp: { number: 112, version: 4 }, carp: { number: 112, version: 4 },
}

/** What else `proto NAME` may name. */
export const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = {
  ipip: 4, egp: 8, dccp: 33, ipv6: 41, rsvp: 46, gre: 47, eigrp: 88, ospf: 89, ipcomp: 108, l2tp: 115, udplite: 136,
  ...Object.fromEntries(Object.entries(PROTOCOLS).map(([name, { number }]) => [name, number])),
}

export const ETHER_TYPES: Readonly<Record<string, number>> = {
  ip: 0x0800, arp: 0x0806, rarp: 0x8035, ip6: 0x86dd, ipx: 0x8137, lldp: 0x88cc, mpls: 0x8847, pppoes: 0x8864, pppoed: 0x8863,
}

/** Services by name, those that captures are full of. */
export const PORTS: Readonly<Record<string, number>> = {
  'ftp-data': 20, ftp: 21, ssh: 22, telnet: 23, smtp: 25, domain: 53, bootps: 67, bootpc: 68, tftp: 69, http: 80, kerberos: 88,
  pop3: 110, sunrpc: 111, ntp: 123, 'netbios-ns': 137, 'netbios-dgm': 138, 'netbios-ssn': 139, imap: 143, imap2: 143, snmp: 161,
  'snmp-trap': 162, bgp: 179, ldap: 389, https: 443, 'microsoft-ds': 445, isakmp: 500, syslog: 514, submission: 587, ldaps: 636,
  imaps: 993, pop3s: 995, openvpn: 1194, radius: 1812, nfs: 2049, mysql: 3306, stun: 3478, 'ipsec-nat-t': 4500, sip: 5060,
  'sip-tls': 5061, mdns: 5353, postgresql: 5432, simco: 7626,
}

/** Numbers by name in expressions such as `tcp[tcpflags] & tcp-syn != 0`. */
export const CONSTANTS: Readonly<Record<string, number>> = {
  tcpflags: 13, 'tcp-fin': 1, 'tcp-syn': 2, 'tcp-rst': 4, 'tcp-push': 8, 'tcp-ack': 16, 'tcp-urg': 32, 'tcp-ece': 64,
  'tcp-cwr': 128,
  icmptype: 0, icmpcode: 1, 'icmp-echoreply': 0, 'icmp-unreach': 3, 'icmp-sourcequench': 4, 'icmp-redirect': 5, 'icmp-echo': 8,
  'icmp-routeradvert': 9, 'icmp-routersolicit': 10, 'icmp-timxceed': 11, 'icmp-paramprob': 12, 'icmp-tstamp': 13,
  'icmp-tstampreply': 14, 'icmp-ireq': 15, 'icmp-ireqreply': 16, 'icmp-maskreq': 17, 'icmp-maskreply': 18,
  icmp6type: 0, icmp6code: 1, 'icmp6-destinationunreach': 1, 'icmp6-packettoobig': 2, 'icmp6-timeexceeded': 3,
  'icmp6-parameterproblem': 4, 'icmp6-echo': 128, 'icmp6-echoreply': 129, 'icmp6-multicastlistenerquery': 130,
  'icmp6-multicastlistenerreportv1': 131, 'icmp6-multicastlistenerdone': 132, 'icmp6-routersolicit': 133,
  'icmp6-routeradvert': 134, 'icmp6-neighborsolicit': 135, 'icmp6-neighboradvert': 136, 'icmp6-redirect': 137,
}

/** Headers of which an expression may read bytes. */
export const HEADERS = ['ether', 'link', 'ip', 'ip6', 'arp', 'rarp', 'tcp', 'udp', 'sctp', 'icmp', 'icmp6', 'igmp'] as const
export type Header = (typeof HEADERS)[number]
