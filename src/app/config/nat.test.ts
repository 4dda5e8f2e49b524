import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkConfig, problemText } from './load.ts'

function complaints(text: string): string[] {
  return checkConfig(text).problems.map((problem) => problemText('f', problem).slice('f:'.length))
}

const BASE = 'inside: [10.0.0.0/8]\nnat:\n  pool: [203.0.113.1-203.0.113.4]\n'

/** What follows the pool in the section `nat`, on line 4 and below. */
const FAULTY: [what: string, text: string, expected: string[]][] = [
  ['a pool that holds an address of another', '  pools: [{inside: [10.1.0.0/16], addresses: [203.0.113.4-203.0.113.5]}]\n',
    ['4:47: nat.pools[0].addresses[0]: 203.0.113.4 is in nat.pool already; see nat.pool[0]']],
  ['a pool that reaches inside', '  pools: [{inside: [10.1.0.0/16], addresses: [10.9.0.1]}]\n',
    ['4:47: nat.pools[0].addresses[0]: 10.9.0.1 is inside; outside addresses must not be inside ones']],
  ['a prefix in two pools', '  pools: [{inside: [10.1.0.0/16], addresses: [198.51.100.1]}, {inside: [10.1.0.0/16], addresses: [198.51.100.2]}]\n',
    ['4:73: nat.pools[1].inside[0]: 10.1.0.0/16 has a pool already; see nat.pools[0].inside[0]']],
  ['pools that are too large together', '  pools: [{inside: [10.1.0.0/16], addresses: [198.51.96.0/22]}]\n',
    ['4:10: nat.pools: 1028 addresses of pools and forwards are too many (1 to 1024)']],
  ['a pool without addresses', '  pools: [{inside: [10.1.0.0/16]}]\n', ['4:11: nat.pools[0]: addresses is missing; add addresses: [198.51.100.0/28]']],
  ['static prefixes of two lengths', '  static: [{inside: 10.0.0.0/24, outside: 198.51.100.0/25}]\n',
    ['4:43: nat.static[0].outside: /25 and /24 have not as many addresses; write a /24']],
  ['a static address of the pool', '  static: [{inside: 10.0.0.5, outside: 203.0.113.2}]\n',
    ['4:40: nat.static[0].outside: 203.0.113.2 is in nat.pool already; see nat.pool[0]']],
  ['a static host that is not inside', '  static: [{inside: 172.16.0.5, outside: 198.51.100.2}]\n',
    ['4:21: nat.static[0].inside: 172.16.0.5 is not inside; add it to inside']],
  ['two static addresses of one host', '  static: [{inside: 10.0.0.5, outside: 198.51.100.2}, {inside: 10.0.0.4/31, outside: 198.51.100.8/31}]\n',
    ['4:64: nat.static[1].inside: 10.0.0.5 has a static address already; see nat.static[0]']],
  ['a static address that no host can have', '  static: [{inside: 10.0.0.5, outside: 224.0.0.1}]\n',
    ["4:40: nat.static[0].outside: '224.0.0.1' reaches into 224.0.0.0/3, which is multicast and reserved"]],
  ['a forward of unequal ranges', '  forwards: [{outside: "203.0.113.1:80-90", inside: "10.0.0.5:80"}]\n',
    ['4:53: nat.forwards[0].inside: 1 ports cannot stand for 11; write as many ports on both sides']],
  ['a forward without a port', '  forwards: [{outside: 203.0.113.1, inside: "10.0.0.5:80"}]\n',
    ["4:24: nat.forwards[0].outside: '203.0.113.1' is not an address with ports; write one such as 203.0.113.1:8080 or 203.0.113.1:8080-8090"]],
  ['a forward that runs backwards', '  forwards: [{outside: "203.0.113.1:90-80", inside: "10.0.0.5:80-90"}]\n',
    ["4:24: nat.forwards[0].outside: '203.0.113.1:90-80' runs backwards; did you mean 203.0.113.1:80-90?"]],
  ['a port that is forwarded twice', '  forwards: [{outside: "203.0.113.1:80", inside: "10.0.0.5:80"}, {protocol: both, outside: "203.0.113.1:80", inside: "10.0.0.6:80"}]\n',
    ['4:92: nat.forwards[1].outside: these ports are forwarded already; see nat.forwards[0]']],
  ['a forward to a host with a static address', '  static: [{inside: 10.0.0.5, outside: 198.51.100.2}]\n  forwards: [{outside: "203.0.113.1:80", inside: "10.0.0.5:80"}]\n',
    ['5:50: nat.forwards[0].inside: 10.0.0.5 has a static address already; see nat.static[0]']],
  ['a forward of a static address', '  static: [{inside: 10.0.0.5, outside: 198.51.100.2}]\n  forwards: [{outside: "198.51.100.2:80", inside: "10.0.0.6:80"}]\n',
    ['5:24: nat.forwards[0].outside: 198.51.100.2 is a static address already; see nat.static[0].outside']],
  ['aliases of unequal ends', '  aliases: [{alias: 10.99.0.0/24, outside: "198.51.100.7:80"}]\n',
    ['4:21: nat.aliases[0].alias: the two sides have not as many addresses and ports']],
  ['an alias of ours', '  aliases: [{alias: 203.0.113.1, outside: 198.51.100.7}]\n',
    ['4:21: nat.aliases[0].alias: 203.0.113.1 is in nat.pool already; see nat.pool[0]']],
  ['an alias for an inside host', '  aliases: [{alias: 192.0.2.1, outside: 10.0.0.7}]\n',
    ['4:41: nat.aliases[0].outside: 10.0.0.7 is inside; an alias stands for an outside host']],
  ['an alias for two', '  aliases: [{alias: 192.0.2.1, outside: 198.51.100.7}, {alias: 192.0.2.1, outside: 198.51.100.8}]\n',
    ['4:64: nat.aliases[1].alias: 192.0.2.1 is in the list twice; see nat.aliases[0].alias']],
  ['ports kept for agents', '  forwards: [{outside: "203.0.113.1:40000", inside: "10.0.0.5:80"}]\nmidcom: {enabled: true}\n',
    ['4:24: nat.forwards[0].outside: these ports are kept for rules of agents; change midcom.ports']],
  ['a block of more ports than there are', '  ports: 1024-1100\n  port-block: 128\n',
    ['5:15: nat.port-block: nat.ports has 77 ports, which is less than a block']],
  ['a fixed part of ports, and blocks', '  pools: [{inside: [10.1.0.0/24], addresses: [198.51.100.0/24], hosts-per-address: 4}]\n  port-block: 64\n',
    ['4:84: nat.pools[0].hosts-per-address: each host has its part of the ports, and no blocks; remove it, or nat.port-block']],
  ['more hosts than have a part of the ports', '  pools: [{inside: [10.1.0.0/24, 10.2.0.0/31], addresses: [198.51.100.1-198.51.100.4], hosts-per-address: 64}]\n',
    ['4:107: nat.pools[0].hosts-per-address: 258 hosts are more than 256, for whom there are addresses; add addresses']],
  ['hosts without a port', '  pools: [{inside: [10.1.0.0/24], addresses: [198.51.100.1-198.51.100.8], hosts-per-address: 32}]\n  reserve: [5055-7070]\n',
    []],
  ['hosts without a port', '  pools: [{inside: [10.1.0.0/24], addresses: [198.51.100.1-198.51.100.8], hosts-per-address: 32}]\n  reserve: [5056-7071]\n',
    ['4:94: nat.pools[0].hosts-per-address: nat.reserve[0] leaves some hosts no port; keep it out of nat.ports']],
  ['translation where there is none', '  nat44: false\n  static: [{inside: 10.0.0.5, outside: 198.51.100.2}]\n',
    ['5:12: nat.static[0]: without nat.nat44 no IPv4 address is translated; remove it']],
]

test('config: what goes wrong with translation is told at its place', () => {
  for (const [what, text, expected] of FAULTY) assert.deepEqual(complaints(BASE + text), expected, what)
})

const NPT6 = 'inside: [10.0.0.0/8, "fd01:203::/32"]\nnat:\n'
const FAULTY_NPT6: [what: string, text: string, expected: string[]][] = [
  ['an IPv4 prefix', '  npt6: [{inside: 10.0.0.0/24, outside: "2001:db8:1::/48"}]\n',
    ["3:19: nat.npt6[0].inside: '10.0.0.0/24' is an IPv4 prefix, and IPv6 is needed here; IPv4 is translated by nat.static"]],
  ['a prefix without a length', '  npt6: [{inside: "fd01:203:405::", outside: "2001:db8:1::/48"}]\n',
    ["3:19: nat.npt6[0].inside: 'fd01:203:405::' has no prefix length; write fd01:203:405::/128 for that address only"]],
  ['a prefix with host bits', '  npt6: [{inside: "fd01:203:405:7::/48", outside: "2001:db8:1::/48"}]\n',
    ["3:19: nat.npt6[0].inside: 'fd01:203:405:7::/48' has bits set after its first 48; did you mean fd01:203:405::/48?"]],
  ['a prefix of more than 64 bits', '  npt6: [{inside: "fd01:203:405::/48", outside: "2001:db8:1::/72"}]\n',
    ['3:49: nat.npt6[0].outside: /72 is too long to be translated; write a /64 or less']],
  ['a multicast prefix', '  npt6: [{inside: "fd01:203:405::/48", outside: "ff3e::/48"}]\n',
    ['3:49: nat.npt6[0].outside: ff3e::/48 reaches into ff00::/8, which is multicast; write a unicast prefix']],
  ['an inside prefix that is not inside', '  npt6: [{inside: "fd02::/48", outside: "2001:db8:1::/48"}]\n',
    ['3:19: nat.npt6[0].inside: fd02::/48 is not inside; add it to inside']],
  ['an outside prefix that is', '  npt6: [{inside: "fd01:203:405::/48", outside: "fd01:203:406::/48"}]\n',
    ['3:49: nat.npt6[0].outside: fd01:203:406::/48 is inside, by fd01:203::/32; outside prefixes must not be inside ones']],
  ['an inside prefix twice', '  npt6: [{inside: "fd01:203:405::/48", outside: "2001:db8:1::/48"}, {inside: "fd01:203:405:1::/64", outside: "2001:db8:2::/64"}]\n',
    ['3:78: nat.npt6[1].inside: fd01:203:405:1::/64 is translated already; see nat.npt6[0].inside']],
  ['an outside prefix twice', '  npt6: [{inside: "fd01:203:405::/48", outside: "2001:db8:1::/48"}, {inside: "fd01:203:406::/56", outside: "2001:db8:1:100::/56"}]\n',
    ['3:108: nat.npt6[1].outside: 2001:db8:1:100::/56 is translated already; see nat.npt6[0].outside']],
  ['an entry without its other end', '  npt6: [{inside: "fd01:203:405::/48"}]\n',
    ['3:10: nat.npt6[0]: outside is missing; add outside: "2001:db8:1::/48"']],
]

test('config: what goes wrong with prefixes of IPv6 is told at its place (RFC 6296 3.1, 4.1)', () => {
  for (const [what, text, expected] of FAULTY_NPT6) assert.deepEqual(complaints(NPT6 + text), expected, what)
})

// @req RFC6296 4.1, 4.1a
test('config: prefixes of two lengths, several pairs, and a firewall without NAT are taken', () => {
  for (const text of [
    '  npt6: [{inside: "fd01:203:405::/48", outside: "2001:db8:1:100::/56"}, {inside: "fd01:203:406::/56", outside: "2001:db8:1:200::/56"}]\n',
    '  npt6: [{inside: "fd01:203:405:100::/56", outside: "2001:db8:1::/48"}, {inside: "fd01:203:405:200::/56", outside: "2001:db8:1:200::/56"}]\n',
    '  nat44: false\n  npt6: [{inside: "fd01:203:405::/48", outside: "2001:db8:1::/48"}]\n',
  ]) assert.deepEqual(complaints(NPT6 + text), [], text)
})

test('config: what goes well with translation is taken', () => {
  for (const text of [
    '  forwards: [{outside: "203.0.113.1:80", inside: "10.0.0.5:80"}, {outside: "203.0.113.1:8080", inside: "10.0.0.5:80"}]\n',
    '  forwards: [{outside: "203.0.113.1:53", inside: "10.0.0.5:53"}, {protocol: udp, outside: "203.0.113.1:53", inside: "10.0.0.5:53"}]\n',
    '  forwards: [{outside: "203.0.113.1:40000", inside: "10.0.0.5:80"}]\n',
    '  aliases: [{alias: 10.99.0.0/24, outside: 198.51.100.0/24}]\n',
    '  static: [{inside: 10.2.0.0/16, outside: 100.64.0.0/16}]\n',
    '  pools: [{inside: [10.1.0.0/24], addresses: [198.51.100.1-198.51.100.4], hosts-per-address: 64}]\n',
  ]) assert.deepEqual(complaints(BASE + text), [], text)
})
