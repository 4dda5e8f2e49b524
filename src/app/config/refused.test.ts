/** What a configuration is refused for, and how that is told. */
import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { checkConfig, problemText } from './load.ts'

function complaints(text: string): string[] {
  const { config, problems } = checkConfig(text)
  assert.equal(config === null, problems.length > 0)
  return problems.map(problem => problemText('f', problem).slice('f:'.length))
}

/** Every problem of every text, with its place, as a user reads it. */
const FAULTY: [what: string, text: string, expected: string[]][] = [
  ['an unknown section', 'timer:\n  udp: 5m\n', ['1:1: timer: no such setting; did you mean timers?']],
  ['an unknown setting', 'limits:\n  flow: 1k\n', ['2:3: limits.flow: no such setting; did you mean flows?']],
  ['a setting in camel case', 'timers:\n  tcpEstablished: 3h\n',
    ['2:3: timers.tcpEstablished: no such setting; did you mean tcp-established?']],
  ['a setting that was only begun', 'timers: {tcp-est: 3h}\n',
    ['1:10: timers.tcp-est: no such setting; did you mean tcp-established?']],
  ['a setting of another section', 'udp: 5m\nnat:\n  tcp-midstream: true\n', [
    '1:1: udp: no such setting; did you mean timers.udp?',
    '3:3: nat.tcp-midstream: no such setting; did you mean firewall.tcp-midstream?']],
  ['a port of UDP that has two times, or none', 'timers:\n  udp-ports:\n    - {port: 53, idle: 5s}\n    - {port: "53", idle: 6s}\n    - {port: 1024, idle: 5s}\n    - {port: 54}\n', [
    '4:14: timers.udp-ports[1].port: port 53 is in the list twice; timers.udp-ports[0] has it already',
    '5:14: timers.udp-ports[2].port: 1024 is too many (0 to 1023 ports); write 1023',
    '6:7: timers.udp-ports[3]: idle is missing; add idle: 30s']],
  ['nothing like a setting', 'frobnicate: 1\nbox:\n  frobnicate: 1\n', [
    '1:1: frobnicate: no such setting; known here: inside, interfaces, box, nat, firewall, timers, limits, checks, midcom',
    '3:3: box.frobnicate: no such setting; known in box: inside-address, address6, mtu-inside, mtu-outside, mss']],
  ['names that JavaScript gives a meaning', '__proto__: 1\nconstructor: {}\nbox:\n  __proto__: 2\n', [
    '1:1: __proto__: no such setting; known here: inside, interfaces, box, nat, firewall, timers, limits, checks, midcom',
    '2:1: constructor: no such setting; known here: inside, interfaces, box, nat, firewall, timers, limits, checks, midcom',
    '4:3: box.__proto__: no such setting; known in box: inside-address, address6, mtu-inside, mtu-outside, mss']],
  ['a merge key', '<<: {a: 1}\n',
    ['1:1: <<: no such setting; known here: inside, interfaces, box, nat, firewall, timers, limits, checks, midcom']],

  ['a duplicate key', 'timers:\n  udp: 5m\n  udp: 6m\n',
    ["3:3: timers.udp: 'udp' is set a second time; remove one of the two; the first is in line 2"]],
  ['a text where settings are', 'pinhole\n',
    ['1:1: this is not a list of settings; write `section:` and below it, indented, `key: value`']],
  ['a list where settings are', '- inside\n',
    ['1:1: a section is needed here, not a list; '
      + 'write below it, indented, settings such as inside: [10.0.0.0/8, "fc00::/7"]']],
  ['a value where a section is', 'timers: 5m\n',
    ["1:9: timers: a section is needed here, not '5m'; write below it, indented, settings such as udp: 5m"]],
  ['a setting without a value', 'timers:\n  udp:\n',
    ['2:3: timers.udp: the value is missing; write 5m, or remove the line for the default']],

  ['a tab', 'timers:\n\tudp: 5m\n', ['2:1: a tab is used as indentation; indent with spaces']],
  ['uneven indentation', 'nat:\n  nat44: true\n   hairpinning: true\n',
    ['2:10: nested mappings are not allowed in compact mappings; '
      + 'check the indentation, or put quotes around a text that holds a colon']],
  ['an open bracket', 'nat:\n  pool: [203.0.113.1\nbox: {}\n', ['3:1: a bracket is not closed']],
  ['an open quote', 'nat:\n  pool: "203.0.113.1\n', ['3:1: a quote is not closed']],
  ['an anchor and its alias', 'inside: &net [10.0.0.0/8]\nbox:\n  inside-address: *net\n', [
    "1:9: inside: '&net' is an anchor, and anchors are not used here; remove it",
    "3:19: box.inside-address: '*net' is an alias, and aliases are not used here; write the value itself"]],
  ['a tag', 'nat:\n  nat44: !!bool true\n',
    ["2:10: nat.nat44: 'tag:yaml.org,2002:bool' is a tag, and tags are not used here; remove it"]],
  ['a tag of the user', 'nat: !mine {}\n', ['1:6: unresolved tag: !mine; tags are not used here']],
  ['two documents', 'nat: {}\n---\nbox: {}\n',
    ['2:1: a second document begins here; put all settings into one document']],
  ['an older YAML, where yes is true', '%YAML 1.1\n---\nnat: {nat44: true}\n',
    ['1:1: the file asks for another YAML than 1.2; remove this line']],
  ['a list as a key', '? [a, b]\n: 1\n', ['1:3: a key is needed here; write `key: value`']],
  ['a bottomless list', '['.repeat(10_000), ['1:16: nested too deeply; no setting lies so deep']],

  ['durations without units', 'timers:\n  udp: 300\n  other: "30"\n', [
    '2:8: timers.udp: 300 has no unit; did you mean 5m? The units are d, h, m, s and ms',
    "3:10: timers.other: '30' has no unit; did you mean 30s? The units are d, h, m, s and ms"]],
  ['durations in other words', 'timers:\n  udp: 5 minutes\n  other: 1.5h\n  icmp-query: soon\n', [
    "2:8: timers.udp: '5 minutes' is not a duration; did you mean 5m?",
    "3:10: timers.other: '1.5h' is not a duration; did you mean 1h30m?",
    "4:15: timers.icmp-query: 'soon' is not a duration; write one such as 500ms, 30s, 5m or 2h4m"]],
  ['durations below what the RFCs demand',
    'timers:\n  udp: 119s\n  tcp-closing: 3m59s\n  tcp-established: 2h3m\n  icmp-query: 59s\n', [
      '2:8: timers.udp: 119s is too short (2m to 12d, RFC 4787 REQ-5); write 2m',
      '3:16: timers.tcp-closing: 3m59s is too short (4m to 12d, RFC 5382 REQ-5); write 4m',
      '4:20: timers.tcp-established: 2h3m is too short (2h4m to 12d, RFC 5382 REQ-5); write 2h4m',
      '5:15: timers.icmp-query: 59s is too short (60s to 12d, RFC 5508 REQ-2); write 60s']],
  ['durations that are too long', 'timers:\n  udp: 12d1ms\n  fragment: 61s\n', [
    '2:8: timers.udp: 12d1ms is too long (2m to 12d); write 12d',
    '3:13: timers.fragment: 61s is too long (1s to 60s); write 60s']],
  ['counts out of range',
    'limits:\n  flows: 5M\n  fragment-datagrams: 0\n  fragment-hold: -1\n  icmp-errors-per-second: 1000001\n', [
      '2:10: limits.flows: 5M is too many (16 to 4M flows); write 4M',
      '3:23: limits.fragment-datagrams: 0 is too few (1 to 64k datagrams); write 1',
      '4:18: limits.fragment-hold: -1 is too few (0 to 4k fragments); write 0',
      '5:27: limits.icmp-errors-per-second: 1000001 is too many (0 to 1000000 errors a second); write 1000000']],
  ['counts that are none', 'limits:\n  flows: 256K\n  fragment-hold: 1.5\n  fragment-datagrams: 1,000\n', [
    "2:10: limits.flows: '256K' is not a count; did you mean 256k?",
    '3:18: limits.fragment-hold: a whole number is needed here, not 1.5; write one such as 256',
    "4:23: limits.fragment-datagrams: '1,000' is not a count; did you mean 1000?"]],
  ['something like a truth value', 'nat:\n  nat44: no\n  hairpinning: 1\n  port-preservation: perhaps\n', [
    "2:10: nat.nat44: true or false is needed here, not 'no'; write false",
    '3:16: nat.hairpinning: true or false is needed here, not 1; write true',
    "4:22: nat.port-preservation: true or false is needed here, not 'perhaps'; write true or false"]],
  ['something like a choice', 'nat:\n  filtering: adress-dependent\nfirewall:\n  outbound: true\n  inbound6: allow\n', [
    "2:14: nat.filtering: 'adress-dependent' is none of endpoint-independent, address-dependent, "
      + 'address-and-port-dependent; did you mean address-dependent?',
    '4:13: firewall.outbound: one of permit, deny is needed here, not true; write permit',
    "5:13: firewall.inbound6: 'allow' is none of permit, deny; did you mean permit?"]],
  ['port ranges', 'nat:\n  ports: 65535-1024\n', ["2:10: nat.ports: '65535-1024' runs backwards; did you mean 1024-65535?"]],
  ['ports below 1024', 'nat:\n  ports: 80-2000\n',
    ["2:10: nat.ports: '80-2000' leaves the range of 1024 to 65535; did you mean 1024-2000?"]],
  ['ports above 65535', 'nat:\n  ports: 70000-80000\n',
    ["2:10: nat.ports: '70000-80000' leaves the range of 1024 to 65535; write one such as 1024-65535"]],
  ['a single port', 'nat:\n  ports: 2048\n',
    ['2:10: nat.ports: a range of ports is needed here, not 2048; did you mean 2048-65535?']],

  ['prefixes with host bits', 'inside:\n  - 10.0.0.1/8\n  - fc00::1/7\n', [
    "2:5: inside[0]: '10.0.0.1/8' has bits set after its first 8; did you mean 10.0.0.0/8?",
    "3:5: inside[1]: 'fc00::1/7' has bits set after its first 7; did you mean fc00::/7?"]],
  ['prefixes that are none', 'inside: [10.0.0.0, 10.0.0.0/33, 010.0.0.0/8, lan, 5, fc00::]\n', [
    "1:10: inside[0]: '10.0.0.0' has no prefix length; write 10.0.0.0/32 for that address only",
    "1:20: inside[1]: '10.0.0.0/33' is not a prefix: prefix length is too large; "
      + 'write one such as 10.0.0.0/8 or fc00::/7',
    "1:33: inside[2]: '010.0.0.0/8' is not a prefix: an octet has a leading zero; "
      + 'write one such as 10.0.0.0/8 or fc00::/7',
    "1:46: inside[3]: 'lan' is not a prefix: unexpected character; write one such as 10.0.0.0/8 or fc00::/7",
    '1:51: inside[4]: a prefix is needed here, not 5; write one such as 10.0.0.0/8',
    '1:54: inside[5]: a prefix is needed here, not a section; put quotes around a text that holds a colon']],
  ['no prefixes', 'inside: []\n', ['1:9: inside: the list is empty; write at least one, such as [10.0.0.0/8, "fc00::/7"]']],
  ['one prefix twice', 'inside: [10.0.0.0/8, "fc00::/7", "FC00:0::/7"]\n',
    ['1:34: inside[2]: fc00::/7 is in the list twice; remove it']],
  ['a lone prefix', 'inside: 10.0.0.0/8\n', ["1:9: inside: a list is needed here, not '10.0.0.0/8'; write [10.0.0.0/8]"]],

  ['a pool that runs backwards', 'nat:\n  pool: [203.0.113.4-203.0.113.1]\n',
    ["2:10: nat.pool[0]: '203.0.113.4-203.0.113.1' runs backwards; did you mean 203.0.113.1-203.0.113.4?"]],
  ['a pool that is too large', 'nat:\n  pool:\n    - 198.51.100.0/22\n    - 203.0.113.9\n',
    ['3:5: nat.pool: 1025 addresses are too many (1 to 1024); write a shorter range or prefix']],
  ['a pool of everything', 'nat: {nat44: false, pool: [1.0.0.0/8]}\n',
    ['1:27: nat.pool: 16777216 addresses are too many (1 to 1024); write a shorter range or prefix']],
  ['a pool with an address twice', 'nat:\n  pool: [203.0.113.0/28, 203.0.113.15-203.0.113.20]\n',
    ['2:26: nat.pool[1]: 203.0.113.15 is in the pool twice; nat.pool[0] holds it already']],
  ['a pool that reaches inside', 'nat:\n  pool: [192.167.255.255-192.168.0.1]\n',
    ['2:10: nat.pool[0]: 192.168.0.0-192.168.0.1 is both in the pool and inside, in 192.168.0.0/16; '
      + 'outside addresses must not be inside ones']],
  ['an inside that reaches into the default pool', 'inside: [203.0.113.0/24]\n',
    ['1:10: inside[0]: 203.0.113.1-203.0.113.4 is both in the pool and inside, in 203.0.113.0/24; '
      + 'outside addresses must not be inside ones']],
  ['a pool of IPv6', 'nat:\n  pool: ["2001:db8::1", "2001:db8::/120"]\n', [
    "2:10: nat.pool[0]: '2001:db8::1' is IPv6, and IPv4 is needed here",
    "2:25: nat.pool[1]: '2001:db8::/120' is an IPv6 prefix, and IPv4 is needed here"]],
  ['a pool of what no host can be', 'nat:\n  pool: [127.0.0.1, 224.0.0.0/30, 0.0.0.1, 255.255.255.255]\n', [
    "2:10: nat.pool[0]: '127.0.0.1' reaches into 127.0.0.0/8, which is loopback",
    "2:21: nat.pool[1]: '224.0.0.0/30' reaches into 224.0.0.0/3, which is multicast and reserved",
    "2:35: nat.pool[2]: '0.0.0.1' reaches into 0.0.0.0/8, which is this network",
    "2:44: nat.pool[3]: '255.255.255.255' reaches into 224.0.0.0/3, which is multicast and reserved"]],
  ['addresses of the wrong version', 'box:\n  inside-address: fe80::1\n  address6: 192.0.0.8\n', [
    "2:19: box.inside-address: 'fe80::1' is an IPv6 address, and IPv4 is needed here",
    "3:13: box.address6: '192.0.0.8' is an IPv4 address, and IPv6 is needed here"]],
  ['addresses that no box can have', 'box:\n  inside-address: 224.0.0.1\n  address6: ff02::1\n', [
    "2:19: box.inside-address: '224.0.0.1' is in 224.0.0.0/3, which is multicast and reserved",
    "3:13: box.address6: 'ff02::1' is a multicast address, and a source is needed here"]],
  ['a box that is in the pool', 'box:\n  inside-address: 203.0.113.2\n',
    ['2:19: box.inside-address: 203.0.113.2 is in nat.pool; write an address outside of the pool']],

  ['a section that belongs into another', 'simco:\n  listen: []\n', ['1:1: simco: no such setting; did you mean midcom.simco?']],
  ['a setting of a section in a section', 'midcom:\n  wildcards:\n    extern: true\n  port: 1-2\n', [
    '3:5: midcom.wildcards.extern: no such setting; did you mean external?',
    '4:3: midcom.port: no such setting; did you mean ports?']],
  ['an agent without a name, and one with an unknown setting', 'midcom:\n  agents:\n    - may: [read]\n    - name: a\n      mays: []\n', [
    '3:7: midcom.agents[0]: name is missing; add name: softswitch',
    '5:7: midcom.agents[1].mays: no such setting; did you mean may?']],
  ['an agent with nothing right', `midcom:
  agents:
    - name: ''
      key: 0123
      may: [reserve, delete]
      inside: [10.0.0.1/8]
      outside: []
      inside-ports: [70000-80000]
      protocols: [udp, tpc, 256]
      directions: [in]
      max-lifetime: 1500ms
      max-rules: many
      pdp: 1
`, [
    '3:13: midcom.agents[0].name: the name is empty',
    '4:12: midcom.agents[0].key: a key is needed here, not 123; put quotes around it',
    "5:22: midcom.agents[0].may[1]: 'delete' is none of reserve, enable, disable, lifetime, read",
    "6:16: midcom.agents[0].inside[0]: '10.0.0.1/8' has bits set after its first 8; did you mean 10.0.0.0/8?",
    '7:16: midcom.agents[0].outside: the list is empty; write at least one, such as [198.51.100.0/24]',
    "8:22: midcom.agents[0].inside-ports[0]: '70000-80000' leaves the range of 1 to 65535; write one such as 1-65535",
    "9:24: midcom.agents[0].protocols[1]: 'tpc' is not a protocol; write udp, tcp, another name such as gre, any, or a number from 0 to 255",
    "9:29: midcom.agents[0].protocols[2]: '256' is not a protocol; write udp, tcp, another name such as gre, any, or a number from 0 to 255",
    "10:20: midcom.agents[0].directions[0]: 'in' is none of inbound, outbound, bidirectional; did you mean inbound?",
    '11:21: midcom.agents[0].max-lifetime: 1500ms is not a whole number of seconds; did you mean 2s?',
    "12:18: midcom.agents[0].max-rules: 'many' is not a count; write a whole number, with k for 1024 or M for 1048576 if you like",
    '13:12: midcom.agents[0].pdp: true or false is needed here, not 1; write true',
  ]],
  ['names of certificates', 'midcom: {agents: [{name: a, certificates: [softswitch, dns=x.example]}]}\n', [
    "1:44: midcom.agents[0].certificates[0]: 'softswitch' does not say which name of a certificate it is; write one such as CN:softswitch or DNS:switch.example",
    "1:56: midcom.agents[0].certificates[1]: 'dns=x.example' does not say which name of a certificate it is; did you mean DNS:x.example?"]],
  ['a certificate of two agents', 'midcom: {agents: [{name: a, certificates: [CN:x]}, {name: b, certificates: [CN:y, CN:x]}]}\n',
    ["1:83: midcom.agents[1].certificates[1]: 'CN:x' would be two agents; midcom.agents[0].certificates[0] has it already"]],
  ['a door without TLS that is not on loopback', 'midcom:\n  enabled: true\n  simco: {listen: [127.0.0.1:1, 192.0.2.1:2, "[::1]:3", "[::]:4"]}\n', [
    '3:33: midcom.simco.listen[1]: without TLS only addresses of loopback are listened on; set midcom.simco.tls, or allow-plain: true',
    '3:57: midcom.simco.listen[3]: without TLS only addresses of loopback are listened on; set midcom.simco.tls, or allow-plain: true']],
  ['keys that are none', 'midcom:\n  agents:\n    - {name: a, key: secret!}\n    - {name: b, key: 00ff}\n    - {name: c, key-file: absent.key}\n'
    + '    - {name: d, key: 00112233445566778899aabbccddeeff, key-file: x}\n', [
    '3:22: midcom.agents[0].key: this is neither hex nor base64; make one by: openssl rand -hex 32',
    '4:22: midcom.agents[1].key: the key has 2 bytes, and 16 are the least; make one by: openssl rand -hex 32',
    `5:27: midcom.agents[2].key-file: ${resolve('absent.key')}: no such file or directory (ENOENT); make one by: openssl rand -hex 32`,
    '6:66: midcom.agents[3].key-file: the agent has a key already; remove one of the two']],
  ['agents that are not there', 'midcom:\n  agents:\n    - {name: lab, acts-for: [lap, "*", nobody], pdp: true}\n    - {name: lab}\n  simco:\n    loopback-agent: Lab1\n', [
    "3:30: midcom.agents[0].acts-for[0]: there is no agent 'lap'; did you mean lab?",
    "3:40: midcom.agents[0].acts-for[2]: there is no agent 'nobody'; add it to midcom.agents",
    '3:54: midcom.agents[0].pdp: there is no policy decision point to ask; set midcom.pdp.url',
    "4:14: midcom.agents[1].name: 'lab' is the name of two agents; midcom.agents[0] has it already",
    "6:21: midcom.simco.loopback-agent: there is no agent 'Lab1'; did you mean lab?"]],
  ['doors that cannot be opened', 'midcom:\n  simco:\n    listen: [127.0.0.1, 127.0.0.1:70000, "::1", "::1:80", localhost:80, box:80]\n    tls: {cert: absent.pem}\n  pdp: {url: ftp://x}\n', [
    "3:14: midcom.simco.listen[0]: '127.0.0.1' has no port; did you mean 127.0.0.1:7626?",
    '3:25: midcom.simco.listen[1]: port 70000 is above 65535',
    '3:42: midcom.simco.listen[2]: \'::1\' has no port; did you mean "[::1]:7626"?',
    '3:49: midcom.simco.listen[3]: \'::1:80\' has no port; did you mean "[::1:80]:7626"?',
    "3:59: midcom.simco.listen[4]: 'localhost:80' names a host; did you mean 127.0.0.1:80?",
    "3:73: midcom.simco.listen[5]: 'box:80' is not an address with a port: unexpected character; write one such as 127.0.0.1:7626 or \"[::1]:7626\"",
    `4:17: midcom.simco.tls.cert: ${resolve('absent.pem')}: no such file or directory (ENOENT)`,
    '4:17: midcom.simco.tls.cert: a certificate and its private key come together; name both',
    '5:14: midcom.pdp.url: \'ftp://x\' is neither http nor https']],
  ['addresses that two own', 'midcom:\n  enabled: true\n  addresses: [203.0.113.4-203.0.113.9, 10.0.0.0/30, 198.51.100.1]\n  inside-pool: [198.51.100.0/30, 192.0.0.8]\n', [
    '3:15: midcom.addresses[0]: 203.0.113.4 is in nat.pool too; nat.pool[0] holds it already',
    '3:40: midcom.addresses[1]: 10.0.0.0-10.0.0.3 is both an outside address and inside; inside[0] holds it already',
    '4:17: midcom.inside-pool[0]: 198.51.100.1 is in midcom.addresses too; midcom.addresses[2] holds it already',
    '4:34: midcom.inside-pool[1]: 192.0.0.8 is the address of the box; box.inside-address holds it already']],
  ['what cannot work together', 'nat: {ports: 40000-45000}\nmidcom: {enabled: true, service: twice}\n', [
    '1:14: nat.ports: midcom.ports leaves no port of nat.ports to other flows; write a part of them',
    '2:34: midcom.service: twice-NAT needs addresses that stand for outside hosts; set midcom.inside-pool, or write traditional']],
  ['outside addresses of a box that does not translate', 'nat: {nat44: false}\nmidcom: {enabled: true, addresses: [203.0.113.9]}\n',
    ['2:37: midcom.addresses[0]: without nat.nat44 no address is translated; remove it']],
]

for (const [what, text, expected] of FAULTY) {
  test(`config: refused at its place: ${what}`, () => assert.deepEqual(complaints(text), expected))
}

test('config: all problems are reported, in the order of the file', () => {
  const places = complaints('bogus: 1\ntimers:\n  udp: 1\nnat:\n  pool: [10.0.0.1]\n  nat44: no\nlimits: {flows: 0}\n')
    .map(line => line.split(' ')[0])
  assert.deepEqual(places, ['1:1:', '3:8:', '5:10:', '6:10:', '7:17:'])
})
