import assert from 'node:assert/strict'
import { NO_LIMITS } from '../../engine/hosts.ts'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { parseDocument } from 'yaml'
import { createPrefixSet, parse4 } from '../../base/address.ts'
import { createSimcoServer } from '../../control/simco/server.ts'
import type { Policy } from '../../policy/api.ts'
import { digest, type Config } from './config.ts'
import { checkConfig, ConfigError, defaultConfig, loadConfig, problemText } from './load.ts'
import { durationToText, parseCount, parseDuration } from './quantity.ts'
import { SCHEMA, settings } from './schema.ts'
import type { SectionList, Setting } from './setting.ts'
import { labTemplate, template } from './template.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pinhole-config-'))
after(() => rmSync(scratch, { recursive: true }))

function good(text: string): Config {
  const { config, problems } = checkConfig(text)
  assert.deepEqual(problems, [])
  return config!
}

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
      '3:23: limits.fragment-datagrams: 0 is too few (1 to 65536 datagrams); write 1',
      '4:18: limits.fragment-hold: -1 is too few (0 to 4096 fragments); write 0',
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
    "5:13: firewall.inbound6: 'allow' is none of permit, deny"]],
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
    "9:24: midcom.agents[0].protocols[1]: 'tpc' is not a protocol; write udp, tcp, any, or a number from 0 to 255",
    "9:29: midcom.agents[0].protocols[2]: '256' is not a protocol; write udp, tcp, any, or a number from 0 to 255",
    "10:20: midcom.agents[0].directions[0]: 'in' is none of inbound, outbound, bidirectional",
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

test('config: nothing, comments and empty sections mean the defaults', () => {
  for (const text of ['', '\n', '# nothing\n', '---\n', '---\n...\n', '{}', 'null', 'timers:\n', 'timers:\n  # udp: 5m\nnat:\n',
    '\uFEFF', '\uFEFFnat: {}\n', '\uFEFF# only\r\n']) {
    assert.deepEqual(good(text), defaultConfig(), JSON.stringify(text))
  }
})

test('config: the defaults are those that the RFCs recommend or demand', () => {
  const { timers, limits, nat, inside, box } = defaultConfig()
  assert.deepEqual(timers, {
    udpMs: 300_000, udpPorts: [], udpInboundRefresh: true, tcpOpeningMs: 240_000, tcpClosingMs: 240_000, tcpEstablishedMs: 7_440_000, icmpQueryMs: 60_000, otherMs: 300_000, associationMs: 7_440_000, associationOpeningMs: 480_000,
    fragmentMs: 2000, unsolicitedSynMs: 6000, portHoldMs: 120_000,
  })
  assert.deepEqual(limits, { flows: 262_144, fragmentDatagrams: 1024, fragmentHold: 256, icmpErrorsPerSecond: 100, icmpPerSecond: 0, fragmentsPerSecond: 0, halfOpen: 16_384, halfOpenPerSource: 4096, heldSyns: 512, heldPorts: 65_536, perHost: NO_LIMITS, fullTable: 'evict', refusal: 'prohibited' })
  assert.equal(nat.filtering, 'address-dependent')
  assert.deepEqual(nat.pool.map(word => (word >>> 0).toString(16)), ['cb007101', 'cb007102', 'cb007103', 'cb007104'])
  assert.equal(box.insideAddress >>> 0, 0xc0000008)
  const set = createPrefixSet(inside)
  const has = (text: string) => { const word = parse4(text); assert(word.ok); return set.has4(word.value) }
  assert.deepEqual(['10.9.8.7', '172.31.255.255', '192.168.0.1', '172.32.0.0', '8.8.8.8'].map(has),
    [true, true, true, false, false])
})

const octets = (text: string) => Uint8Array.from(Buffer.from(text))

test('config: every setting is read', () => {
  const config = good(`
inside: [100.64.0.0/10, "2001:db8::/32"]
interfaces:
  inside: {name: in0, vlan: 7, addresses: [10.0.0.1/24]}
  outside: {name: eth0.7, addresses: [192.0.2.9/29, "2001:db8::9/64"]}
  gateways: [192.0.2.10]
  routes: [{to: 10.1.0.0/16, via: 10.0.0.2}]
  driver: packet
box: {inside-address: 192.0.2.1, address6: "2001:db8::1", mtu-inside: 9000, mtu-outside: 1500, mss: 1300}
nat:
  nat44: false
  pool: [198.51.100.7, 198.51.100.16/30, 198.51.100.1 - 198.51.100.2]
  ports: 2000-3000
  port-preservation: false
  filtering: endpoint-independent
  tcp-filtering: same
  hairpinning: false
firewall: {outbound: deny, inbound6: permit, echo6: deny, ipsec6: deny, tcp-midstream: false, unsolicited-syn: drop}
timers: {udp: 2m, udp-ports: [{port: 53, idle: 5s}, {port: '123', idle: 30s}], udp-inbound-refresh: false, tcp-opening: 30s, tcp-closing: 1h, tcp-established: 12d, icmp-query: 1m30s, other: 1s500ms, association: 3h, association-opening: 9m, fragment: 1000ms, unsolicited-syn: 60s, port-hold: 3m}
limits: {flows: 4M, fragment-datagrams: 2k, fragment-hold: 0, icmp-errors-per-second: 1e3, icmp-per-second: 5, fragments-per-second: 6, half-open: 7, half-open-per-source: 8, held-syns: 9, per-host: {flows: 10, flows-per-second: 11, ports: 2k, udp-ports: 12, tcp-ports: 64k, icmp-identifiers: 13}, held-ports: 14, full-table: refuse, refusal: host-unreachable}
checks: {ipv4-checksum: ignore, tcp-flags: ignore, tcp-window: loose, spoofing: both, reserved6: drop, unique-local: drop}
midcom:
  enabled: true
  ports: 1-3
  service: traditional
  strict-nat-mode: false
  max-lifetime: 1d
  idle-timeout: 30s
  extend: false
  disable-rules: false
  wildcards: {internal: true, external: true, ports: false}
  limits: {rules: 1M, ports-per-rule: 2, sessions: 3, bound-ports: 4}
  agents:
    - name: one
    - name: two
      key: 00112233445566778899aabbccddeeff
      certificates: ['CN:two', 'DNS:two.example']
      may: [read]
      inside: [10.0.0.0/8]
      outside: ['::/0']
      inside-ports: [1-2, 5-6]
      outside-ports: [3-4]
      protocols: [udp, 132]
      directions: [inbound]
      max-lifetime: 2m
      max-rules: 0
      acts-for: ['*']
      pdp: true
  simco:
    listen: ['[::1]:0', 127.0.0.1:1]
    tls: {ca: package.json, cert: package.json, key: package.json}
    allow-plain: true
    loopback-agent: two
    challenge: false
    limits: {connections: 1, connections-per-remote: 2, open: 3s, idle: 4s, message: 5s, stalled: 6s, drain: 7s, queued-bytes: 512k, failures-per-minute: 9}
  state: kept
  snmp:
    listen: ['[::1]:0', 127.0.0.1:1161]
    engine-id: '0x8000000001'
    contact: me
    name: box
    location: here
    users:
      - {name: u1, agent: two, auth-password: abcdefgh, priv-password: ijklmnop}
      - {name: u2, group: g, auth: SHA-512, auth-password-file: package.json, priv: AES-256, priv-password-file: tsconfig.json}
    groups: [{name: g, read: v, write: v, notify: v}, {name: h}]
    views: [{name: v, include: [1.3.6.1, 'rules-of:two'], exclude: [.1.3.6.1.*.9]}, {name: w}]
    targets: [{name: t, address: 192.0.2.1:162, user: u1}, {name: i, address: '[2001:db8::1]:1162', user: u2, type: inform, timeout: 2s, retries: 4, events: false}]
    limits: {message-bytes: 484, varbinds: 16, queued-messages: 17, queued-notifications: 18, remembered-sets: 19}
  pdp: {url: 'https://pdp.example/x', timeout: 1s, concurrent: 2, waiting: 3, cache: 4ms, ca: package.json, token-file: package.json}
`)
  assert.deepEqual(config, {
    inside: [
      { version: 4, words: Int32Array.of(0x64400000), prefixBits: 10, hostBits: false },
      { version: 6, words: Int32Array.of(0x20010db8, 0, 0, 0), prefixBits: 32, hostBits: false },
    ],
    interfaces: {
      inside: { name: 'in0', vlan: 7, addresses: [{ version: 4, words: Int32Array.of(0x0a000001), prefixBits: 24 }] },
      outside: {
        name: 'eth0.7', vlan: 0,
        addresses: [
          { version: 4, words: Int32Array.of(0xc0000209 | 0), prefixBits: 29 },
          { version: 6, words: Int32Array.of(0x20010db8, 0, 0, 9), prefixBits: 64 },
        ],
      },
      gateways: [{ version: 4, words: Int32Array.of(0xc000020a | 0) }],
      routes: [{
        to: { version: 4, words: Int32Array.of(0x0a010000), prefixBits: 16, hostBits: false },
        via: { version: 4, words: Int32Array.of(0x0a000002) },
      }],
      driver: 'packet',
    },
    box: { insideAddress: 0xc0000201 | 0, address6: Int32Array.of(0x20010db8, 0, 0, 1), mtuInside: 9000, mtuOutside: 1500, mss: 1300 },
    nat: {
      nat44: false,
      pool: [0xc6336407, 0xc6336410, 0xc6336411, 0xc6336412, 0xc6336413, 0xc6336401, 0xc6336402].map(word => word | 0),
      ports: { first: 2000, last: 3000 }, portPreservation: false, filtering: 'endpoint-independent',
      tcpFiltering: 'endpoint-independent', hairpinning: false,
      // See nat.test.ts and compose.test.ts.
      identification: 'fragments', portBlock: 0, portBlocksPerHost: 8, portHold: 'exposed', pools: [], reserve: [], statics: [], forwards: [], untranslated: [], aliases: [], npt6: [],
    },
    firewall: { outbound: 'deny', inbound6: 'permit', echo6: 'deny', ipsec6: 'deny', tcpMidstream: false, unsolicitedSyn: 'drop', rules: [] },
    timers: {
      udpMs: 120_000, udpPorts: [{ port: 53, idleMs: 5000 }, { port: 123, idleMs: 30_000 }], udpInboundRefresh: false, tcpOpeningMs: 30_000, tcpClosingMs: 3_600_000, tcpEstablishedMs: 1_036_800_000, icmpQueryMs: 90_000, otherMs: 1500, associationMs: 10_800_000, associationOpeningMs: 540_000,
      fragmentMs: 1000, unsolicitedSynMs: 60_000, portHoldMs: 180_000,
    },
    limits: { flows: 4_194_304, fragmentDatagrams: 2048, fragmentHold: 0, icmpErrorsPerSecond: 1000, icmpPerSecond: 5, fragmentsPerSecond: 6, halfOpen: 7, halfOpenPerSource: 8, heldSyns: 9, heldPorts: 14, perHost: { flows: 10, flowsPerSecond: 11, ports: 2048, udpPorts: 12, tcpPorts: 65_536, identifiers: 13 }, fullTable: 'refuse', refusal: 'host-unreachable' },
    checks: { ipv4Checksum: 'ignore', tcpFlags: false, tcpWindow: 'loose', reserved6: 'drop', uniqueLocal: 'drop', spoofing: 'both' },
    midcom: {
      enabled: true, ports: { first: 1, last: 3 }, addresses: [], insidePool: [], service: 'traditional', strictNatMode: false,
      maxLifetimeSec: 86_400, idleTimeoutSec: 30, extend: false, disableRules: false,
      wildcards: { internal: true, external: true, ports: false },
      limits: { rules: 1_048_576, portsPerRule: 2, sessions: 3, boundPorts: 4 },
      agents: [
        {
          name: 'one', key: null, certificates: [], may: null, inside: null, outside: null, insidePorts: null, outsidePorts: null, protocols: null,
          directions: null, maxLifetimeSec: null, maxRules: null, actsFor: [], pdp: false,
        },
        {
          name: 'two', key: Uint8Array.from({ length: 16 }, (_, i) => i * 17), certificates: ['CN:two', 'DNS:two.example'], may: ['read'],
          inside: [{ version: 4, words: Int32Array.of(0x0a000000), prefixBits: 8, hostBits: false }],
          outside: [{ version: 6, words: Int32Array.of(0, 0, 0, 0), prefixBits: 0, hostBits: false }],
          insidePorts: [{ first: 1, last: 2 }, { first: 5, last: 6 }], outsidePorts: [{ first: 3, last: 4 }], protocols: [17, 132],
          directions: ['inbound'], maxLifetimeSec: 120, maxRules: 0, actsFor: ['*'], pdp: true,
        },
      ],
      simco: {
        listen: [{ host: '::1', port: 0 }, { host: '127.0.0.1', port: 1 }],
        tls: { cert: resolve('package.json'), key: resolve('package.json'), ca: resolve('package.json') },
        allowPlain: true, loopbackAgent: 'two', challenge: false,
        limits: {
          connections: 1, connectionsPerRemote: 2, openMs: 3000, idleMs: 4000, messageMs: 5000, stalledMs: 6000, drainMs: 7000, queuedBytes: 524_288,
          failuresPerMinute: 9,
        },
      },
      stateDirectory: resolve('kept'),
      snmp: {
        listen: [{ host: '::1', port: 0 }, { host: '127.0.0.1', port: 1161 }], engineId: Uint8Array.of(0x80, 0, 0, 0, 1),
        contact: 'me', name: 'box', location: 'here',
        users: [
          { name: 'u1', agent: 'two', group: null, auth: 'SHA-256', authPassword: octets('abcdefgh'), priv: 'AES', privPassword: octets('ijklmnop') },
          {
            name: 'u2', agent: null, group: 'g', auth: 'SHA-512', authPassword: octets(readFileSync('package.json', 'utf8').trimEnd()),
            priv: 'AES-256', privPassword: octets(readFileSync('tsconfig.json', 'utf8').trimEnd()),
          },
        ],
        groups: [{ name: 'g', read: 'v', write: 'v', notify: 'v' }, { name: 'h', read: null, write: null, notify: null }],
        views: [
          {
            name: 'v', include: [{ subtree: [1, 3, 6, 1], wildcards: [] }, { rulesOf: 'two' }],
            exclude: [{ subtree: [1, 3, 6, 1, 0, 9], wildcards: [4] }],
          },
          { name: 'w', include: [], exclude: [] },
        ],
        targets: [
          { name: 't', address: { host: '192.0.2.1', port: 162 }, user: 'u1', type: 'trap', timeoutMs: 15_000, retries: 3, events: true },
          { name: 'i', address: { host: '2001:db8::1', port: 1162 }, user: 'u2', type: 'inform', timeoutMs: 2000, retries: 4, events: false },
        ],
        limits: { messageBytes: 484, varbinds: 16, queuedMessages: 17, queuedNotifications: 18, rememberedSets: 19 },
      },
      pdp: {
        url: 'https://pdp.example/x', timeoutMs: 1000, maxConcurrent: 2, maxWaiting: 3, cacheMs: 4, ca: resolve('package.json'),
        tokenFile: resolve('package.json'),
      },
    },
  })
  const apart = good('nat: {pool: [203.0.113.1]}\nmidcom:\n  addresses: [203.0.113.8/31]\n  inside-pool: [192.0.2.1]\n  service: twice\n').midcom
  assert.deepEqual([apart.addresses, apart.insidePool, apart.service], [[0xcb007108 | 0, 0xcb007109 | 0], [0xc0000201 | 0], 'twice'])
})

/** What a file says at a path such as `midcom.limits.rules`. */
function at(written: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], written)
}

/** Settings that stand for themselves, not in an entry of a list. */
const single = () => settings().filter(([path]) => !path.includes('[]'))

/** What parts of a firewall rule need beside them. */
const WITH: Record<string, object> = {
  'source-ports': { protocol: 'tcp' }, 'destination-ports': { protocol: 'udp' }, 'icmp-types': { protocol: 'icmp' },
  'tcp-flags': { protocol: 'tcp' }, 'tcp-options': { protocol: 'tcp' },
}

/** What an entry of a list of sections must have, as the examples have it. */
function required(list: string): Record<string, unknown> {
  let node: unknown = SCHEMA
  for (const key of list.split('.')) node = (node as { properties: Record<string, unknown> }).properties[key]
  const { items } = node as SectionList
  return Object.fromEntries((items.required ?? []).map(key => [key, (items.properties[key] as Setting).examples![0]]))
}

/** A file with one setting, in an entry that has what it must have beside that if it belongs to one. */
function fileOf(path: string, value: unknown): string {
  const [outer, inner] = path.split('[].')
  const whole = inner === undefined ? value : [{ ...required(outer!), ...WITH[inner], [inner]: value }]
  return JSON.stringify(outer!.split('.').reduceRight((part: unknown, key) => ({ [key]: part }), whole))
}

test('config: what `init` prints means the defaults and names every setting', () => {
  assert.deepEqual(good(template()), defaultConfig())
  const written = parseDocument(template()).toJS() as unknown
  for (const [path, { default: fallback, description }] of single()) {
    assert.deepEqual(at(written, path), fallback, path)
    assert(description.length > 10, path)
  }
  assert.deepEqual(Object.keys(written as object), Object.keys(SCHEMA.properties))
  assert(template().split('\n').every(line => line.length <= 100 || line.startsWith('# `pinhole')))
  // Settings of the entries of lists stand in comments.
  for (const [path] of settings()) assert.match(template(), new RegExp(`^ *#? *${path.split(/\.|\[]\./).at(-1)!}:`, 'm'), path)
})

test('config: what `init --lab` prints can be used, and says which values are not the default', () => {
  const config = good(labTemplate()), plain = defaultConfig()
  assert.deepEqual(config.midcom.agents.map(({ name }) => name), ['lab'])
  assert.equal(config.midcom.simco.loopbackAgent, 'lab')
  assert.deepEqual([config.midcom.enabled, config.midcom.simco.challenge], [true, false])
  assert.deepEqual(config.midcom.wildcards, { internal: true, external: true, ports: true })
  assert.deepEqual(config.midcom.simco.listen, [{ host: '127.0.0.1', port: 7626 }])
  assert.deepEqual(config.midcom.snmp.listen, [{ host: '127.0.0.1', port: 1161 }])
  assert.deepEqual(config.midcom.snmp.users.map(({ name, agent, auth, priv }) => [name, agent, auth, priv]), [['lab', 'lab', 'SHA-256', 'AES']])
  assert.equal(config.midcom.stateDirectory, resolve('pinhole-lab-state'))
  assert.deepEqual({ ...config, inside: plain.inside, midcom: plain.midcom }, plain)
  assert.deepEqual(config.inside.length, 1)
})

test('config: two files that mean the same have the same digest', () => {
  const digests = ['', template(), 'timers: {udp: 300s}', 'limits: {flows: 262144}'].map(text => digest(good(text)))
  assert.match(digests[0]!, /^[0-9a-f]{64}$/)
  assert.equal(new Set(digests).size, 1)
  assert.equal(digest(structuredClone(defaultConfig())), digests[0])
  const others = ['timers: {udp: 301s}', 'inside: [10.0.0.0/8]', 'nat: {pool: [203.0.113.1]}', 'box: {address6: fe80::2}']
  assert.equal(new Set([...digests, ...others.map(text => digest(good(text)))]).size, 5)
})

test('config: what the schema offers an editor, the checker takes', () => {
  for (const [path, { examples = [], pattern, enum: choices, default: fallback, items, 'x-value': rule }] of settings()) {
    for (const value of [...fallback === undefined ? [] : [fallback], ...examples, ...choices ?? [], ...items?.enum?.map(one => [one]) ?? []]) {
      // Files, other agents and addresses of the examples need not be there.
      const complaints = checkConfig(fileOf(path, value)).problems.filter(({ message }) => !/there is no|ENOENT|come together|inside-pool|is missing|in no group|has no name|has no address|no interface is named/.test(message))
      assert.deepEqual(complaints, [], `${path}: ${JSON.stringify(value)}`)
      if (pattern !== undefined && typeof value === 'string') assert.match(value, new RegExp(pattern), path)
    }
    assert(rule !== undefined || choices !== undefined || items !== undefined || fallback !== undefined, path)
  }
})

test('config: keys are read as hex or base64, from the file or from one beside it, and do not show in the digest', () => {
  const hex = '00112233445566778899aabbccddeeff', base64 = Buffer.from(hex, 'hex').toString('base64')
  writeFileSync(join(scratch, 'agent.key'), `${hex}\n`)
  const ways = [`key: ${hex}`, `key: '${base64}'`, 'key-file: agent.key', `key: ${hex.toUpperCase()}`].map((line) => {
    const { config, problems } = checkConfig(`midcom: {agents: [{name: a, ${line}}]}`, scratch)
    assert.deepEqual(problems, [], line)
    return config!
  })
  for (const { midcom } of ways) assert.deepEqual(midcom.agents[0]!.key, Uint8Array.from(Buffer.from(hex, 'hex')))
  const other = good(`midcom: {agents: [{name: a, key: ${hex.replace('0', '1')}}]}`)
  assert.equal(digest(other), digest(ways[0]!))
  assert.notEqual(digest(good('midcom: {agents: [{name: a}]}')), digest(ways[0]!))
})

test('config: a file that cannot be read is named, with the reason', () => {
  const write = (name: string, bytes: string | Uint8Array) => {
    writeFileSync(join(scratch, name), bytes)
    return join(scratch, name)
  }
  const cases: [string, RegExp][] = [
    [join(scratch, 'absent'), /absent: there is no such file; `pinhole init`/],
    [scratch, /: this is a directory; name the file in it$/],
    [write('utf16', Uint8Array.of(0xff, 0xfe, 0x61, 0)), /utf16: this is UTF-16; save it as UTF-8$/],
    [write('latin1', Uint8Array.of(0x23, 0xe9, 0x0a)), /latin1: this is not UTF-8 text$/],
    [write('huge', '#'.repeat((1 << 18) + 1)), /huge: 262145 bytes are too many for a configuration$/],
  ]
  for (const [path, message] of cases) {
    assert.throws(() => loadConfig(path), (error: unknown) => {
      assert(error instanceof ConfigError)
      assert.equal(error.code, 'config-unreadable')
      assert.match(error.message, message)
      return true
    })
  }
  const faulty = write('faulty.yaml', 'a: 1\nb: 2\n')
  assert.throws(() => loadConfig(faulty), (error: unknown) => error instanceof ConfigError
    && error.code === 'config-invalid' && error.problems.length === 2 && error.message.split('\n').length === 2)
  assert.deepEqual(loadConfig(write('bom.yaml', '\uFEFFtimers:\r\n  udp: 5m\r\n')), defaultConfig())
})

test('config: a duration printed is the duration read', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 40 }), ms => {
    const parsed = parseDuration(durationToText(ms))
    assert(parsed.ok && parsed.value === ms)
  }))
  assert.deepEqual([parseCount('256k'), parseCount('1M'), parseCount(7), parseCount('7')],
    [262_144, 1_048_576, 7, 7].map(value => ({ ok: true, value })))
})

test('config: the door takes the least and the most that the schema allows it', () => {
  const limits = single().filter(([path]) => path.startsWith('midcom.simco.limits.'))
  assert.equal(limits.length, 9)
  for (const which of ['min', 'max'] as const) {
    const lines = limits.map(([path, { 'x-value': rule }]) => `${path.split('.').at(-1)!}: ${rule![which]!}`)
    const { midcom } = good(`midcom: {simco: {limits: {${lines.join(', ')}}}}\n`)
    const listeners = [{ host: '127.0.0.1', port: 0, challenge: false, loopbackAgent: 'lab' }]
    const policy = { onApplied() { /* nothing is carried out */ } } as unknown as Policy
    createSimcoServer({ policy, agents: [], listeners, limits: midcom.simco.limits })
  }
})

test('config: no text makes the checker throw, and every problem has a place in it', () => {
  const piece = fc.constantFrom('inside', 'nat', 'timers', 'pool', 'udp', ':', ': ', '\n', '\n  ', '\n- ', '[', ']', '{', '}',
    ',', '"', "'", '&a ', '*a', '!!str ', '---\n', '...\n', '%YAML 1.1\n', '\t', '#', '|', '>', '?', '0', '5m', '10.0.0.0/8',
    '::', 'null', '~', '\r', '\uFEFF', '\0', '💥')
  fc.assert(fc.property(fc.array(piece, { maxLength: 30 }).map(parts => parts.join('')), text => {
    const lines = text.split('\n').length
    for (const { line, column, message } of checkConfig(text).problems) {
      assert(line >= 1 && line <= lines && column >= 1, `${line}:${column} in ${JSON.stringify(text)}`)
      assert(!/undefined|\[object/.test(message), message)
    }
  }), { numRuns: 2000 })
})
