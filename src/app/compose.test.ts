import assert from 'node:assert/strict'
import { NO_LIMITS } from '../engine/hosts.ts'
import { test } from 'node:test'
import {
  CHECKSUM_IGNORE, CHECKSUM_REPAIR_ZERO, CHECKSUM_VERIFY, FILTER_ADDRESS_AND_PORT_DEPENDENT, FILTER_ADDRESS_DEPENDENT,
  FILTER_ENDPOINT_INDEPENDENT, IDENTIFY_ALL, IDENTIFY_FRAGMENTS, SPOOFING_BOTH, SPOOFING_OUTSIDE, WINDOW_LOOSE, WINDOW_OFF, WINDOW_STRICT,
} from '../engine/options.ts'
import { plainNat } from '../engine/nat-options.ts'
import { composeAuthorizer, createChannel, engineOptions, policyOptions, profileOf } from './compose.ts'
import { checkConfig, defaultConfig } from './config/load.ts'

function optionsOf(yaml: string) {
  const { config, problems } = checkConfig(yaml)
  assert.deepEqual(problems, [])
  return engineOptions(config!, config!.inside, 7, 4096)
}

test('compose: the defaults reach the engine', () => {
  const { inside, ...options } = engineOptions(defaultConfig(), defaultConfig().inside, 1, 64)
  assert.deepEqual(options, {
    nat44: true, pool: [0xcb007101, 0xcb007102, 0xcb007103, 0xcb007104].map((address) => address | 0), portLow: 1024, portHigh: 65535,
    portPreservation: true, filtering: FILTER_ADDRESS_DEPENDENT, tcpFiltering: FILTER_ADDRESS_DEPENDENT, hairpinning: true, outboundPermit: true, inboundPermit: false,
    tcpMidstream: true, udpMs: 300_000, udpPorts: [], udpInboundRefresh: true, tcpOpeningMs: 240_000, tcpClosingMs: 240_000, tcpEstablishedMs: 7_440_000, icmpQueryMs: 60_000, otherMs: 300_000,
    fragmentMs: 2000, unsolicitedSynMs: 6000, flows: 262_144, fragmentDatagrams: 1024, fragmentHold: 256, icmpErrorsPerSecond: 100,
    icmpPerSecond: 0, fragmentsPerSecond: 0, halfOpen: 16_384, halfOpenPerSource: 4096, heldSyns: 512, perHost: NO_LIMITS, keepsFlows: false, refusesByHost: false, portHold: { holdMs: 120_000, most: 65_536, isAll: false }, portBlocks: null, tcpWindow: WINDOW_OFF,
    ipv4Checksum: CHECKSUM_REPAIR_ZERO, tcpFlags: true, spoofing: SPOOFING_OUTSIDE, boxAddress4: 0xc0000008 | 0, boxAddress6: [0xfe800000 | 0, 0, 0, 1], seed: 1, scratchStart: 64, firewall: null, midcom: null,
    echo6: true, ipsec6: true, reserved6: false, uniqueLocal: false, associationMs: 7_440_000, associationOpeningMs: 480_000,
    nat: plainNat(4), npt6: [], mtuInside: 0, mtuOutside: 0, mss: 0, identification: IDENTIFY_FRAGMENTS,
  })
  for (const [address, is] of [[0x0a000001, true], [0xac1fffff, true], [0xc0a80001, true], [0x08080808, false], [0xac200000, false]] as const) {
    assert.equal(inside.has4(address | 0), is)
  }
  assert.deepEqual([inside.has6(0xfd000000 | 0, 0, 0, 1), inside.has6(0x20010db8, 0, 0, 1)], [true, false])
})

test('compose: every setting reaches the engine', () => {
  const { inside, ...options } = optionsOf(`
inside: [100.64.0.0/10, 'fd00::/8']
box: {inside-address: 100.64.0.1, address6: 'fe80::2', mtu-inside: 1500, mtu-outside: 1400, mss: mtu}
nat: {identification: all, nat44: false, pool: [192.0.2.1], ports: 2000-2999, port-preservation: false, filtering: endpoint-independent, tcp-filtering: address-dependent, hairpinning: false, port-block: 64, port-blocks-per-host: 3, port-hold: all, npt6: [{inside: 'fd01:203:405::/48', outside: '2001:db8:1::/56'}]}
firewall: {outbound: deny, inbound6: permit, echo6: deny, ipsec6: deny, tcp-midstream: false, unsolicited-syn: drop}
timers: {association: 3h, association-opening: 9m, udp: 3m, udp-ports: [{port: 53, idle: 9s}], udp-inbound-refresh: false, tcp-opening: 1m, tcp-closing: 5m, tcp-established: 3h, icmp-query: 61s, other: 7s, fragment: 3s, unsolicited-syn: 7s, port-hold: 8s}
limits: {flows: 32, fragment-datagrams: 5, fragment-hold: 6, icmp-errors-per-second: 8, icmp-per-second: 9, fragments-per-second: 10, half-open: 11, half-open-per-source: 12, held-syns: 13, per-host: {flows: 14, flows-per-second: 15, ports: 16, udp-ports: 17, tcp-ports: 18, icmp-identifiers: 19}, held-ports: 20, full-table: refuse, refusal: host-unreachable}
checks: {ipv4-checksum: verify, tcp-window: strict, tcp-flags: ignore, spoofing: both, reserved6: drop, unique-local: drop}
`)
  assert.deepEqual(options, {
    echo6: false, ipsec6: false, reserved6: true, uniqueLocal: true, associationMs: 10_800_000, associationOpeningMs: 540_000,
    nat44: false, pool: [0xc0000201 | 0], portLow: 2000, portHigh: 2999, portPreservation: false, filtering: FILTER_ENDPOINT_INDEPENDENT,
    tcpFiltering: FILTER_ADDRESS_DEPENDENT, icmpPerSecond: 9, fragmentsPerSecond: 10, halfOpen: 11, halfOpenPerSource: 12, heldSyns: 0, keepsFlows: true, refusesByHost: true, portHold: { holdMs: 8000, most: 20, isAll: true }, portBlocks: { size: 64, perHost: 3 }, unsolicitedSynMs: 7000, tcpWindow: WINDOW_STRICT,
    hairpinning: false, outboundPermit: false, inboundPermit: true, tcpMidstream: false, udpMs: 180_000,
    udpPorts: [{ port: 53, idleMs: 9000 }], udpInboundRefresh: false, tcpOpeningMs: 60_000, tcpClosingMs: 300_000,
    tcpEstablishedMs: 10_800_000, icmpQueryMs: 61_000, otherMs: 7000, fragmentMs: 3000, flows: 32, fragmentDatagrams: 5, fragmentHold: 6,
    icmpErrorsPerSecond: 8, ipv4Checksum: CHECKSUM_VERIFY, tcpFlags: false, spoofing: SPOOFING_BOTH, boxAddress4: 0x64400001, boxAddress6: [0xfe800000 | 0, 0, 0, 2], seed: 7,
    scratchStart: 4096, firewall: null, midcom: null, nat: plainNat(1),
    perHost: { flows: 14, flowsPerSecond: 15, ports: 16, udpPorts: 17, tcpPorts: 18, identifiers: 19 },
    npt6: [{ inside: [0xfd010203 | 0, 0x04050000], insideBits: 48, outside: [0x20010db8, 0x00010000], outsideBits: 56 }],
    mtuInside: 1500, mtuOutside: 1400, mss: -1, identification: IDENTIFY_ALL,
  })
  assert.deepEqual([inside.has4(0x64400001), inside.has4(0x0a000001)], [true, false])
  assert.equal(optionsOf('nat: {filtering: address-and-port-dependent}').filtering, FILTER_ADDRESS_AND_PORT_DEPENDENT)
  assert.equal(optionsOf('checks: {ipv4-checksum: ignore}').ipv4Checksum, CHECKSUM_IGNORE)
  assert.equal(optionsOf('checks: {tcp-window: loose}').tcpWindow, WINDOW_LOOSE)
  assert.equal(optionsOf('nat: {filtering: endpoint-independent}').tcpFiltering, FILTER_ENDPOINT_INDEPENDENT)
  assert.equal(optionsOf('limits: {held-syns: 13}').heldSyns, 13)
})

test('compose: what the configuration fixes of translation reaches engine and policy', () => {
  const config = checkConfig(`
inside: [10.0.0.0/8]
nat:
  pool: [203.0.113.1]
  pools: [{inside: [10.1.0.0/16, 10.2.0.1], addresses: [203.0.113.8-203.0.113.9]}]
  reserve: [5060-5061]
  static: [{inside: 10.0.0.2/31, outside: 203.0.113.18/31, from: [198.51.100.0/24]}]
  forwards: [{protocol: both, outside: '203.0.113.20:8080-8081', inside: '10.0.0.5:80-81'}]
  untranslated: [{inside: 10.0.0.0/8, outside: 192.0.2.0/24, protocol: tcp, ports: 80-443}]
  aliases: [{alias: 10.99.0.6/31, outside: 198.51.100.6/31}, {alias: '10.99.0.9:53', outside: '198.51.100.9:5353', protocol: udp}]
`).config!
  const { pool, nat } = engineOptions(config, config.inside, 7, 64)
  const anybody = [{ address: 0, bits: 0 }], ip = (last: number) => 0xcb007100 + last | 0
  const forward = { outside: ip(20), outsidePort: 8080, inside: 0x0a000005, insidePort: 80, count: 2, from: anybody }
  const alias = { aliasPort: 0, peerPort: 0, protocol: 0, count: 0 }
  assert.deepEqual(pool, [ip(1), ip(8), ip(9)])
  assert.deepEqual(nat, {
    pools: [
      { inside: [], first: 0, size: 1, hostsPerAddress: 0 },
      { inside: [{ address: 0x0a010000, bits: 16 }, { address: 0x0a020001, bits: 32 }], first: 1, size: 2, hostsPerAddress: 0 },
    ],
    reserved: [{ low: 5060, high: 5061 }],
    statics: [{ inside: 0x0a000002, outside: ip(18), bits: 31, from: [{ address: 0xc6336400 | 0, bits: 24 }] }],
    forwards: [{ ...forward, protocol: 6 }, { ...forward, protocol: 17 }],
    untranslated: [{
      inside: { address: 0x0a000000, bits: 8 }, peer: { address: 0xc0000200 | 0, bits: 24 }, protocol: 6, peerPorts: { low: 80, high: 443 },
    }],
    aliases: [
      { ...alias, alias: 0x0a630006, peer: 0xc6336406 | 0 }, { ...alias, alias: 0x0a630007, peer: 0xc6336407 | 0 },
      { protocol: 17, alias: 0x0a630009, aliasPort: 53, peer: 0xc6336409 | 0, peerPort: 5353, count: 1 },
    ],
  })
  const channel = createChannel(checkConfig('midcom: {enabled: true}').config!)!
  const policy = policyOptions(config, config.inside, 7, channel, composeAuthorizer(config, null), () => { /* elsewhere */ })
  assert.deepEqual([policy.pools, policy.fixedInside?.length], [nat!.pools, 3])
  assert.deepEqual(policy.fixedOutside?.map(({ protocol, real, shown, count }) => [protocol, real, shown, count]), [
    [6, 0x0a000005, ip(20), 2], [17, 0x0a000005, ip(20), 2], [0, 0x0a000002, ip(18), 0], [0, 0x0a000003, ip(19), 0],
  ])
})

test('compose: without midcom there is no channel, and its ring has room for the end of the largest rule', () => {
  assert.equal(createChannel(defaultConfig()), null)
  for (const [limits, records] of [['{}', 4096], ['{rules: 16, ports-per-rule: 1}', 1024], ['{rules: 16, ports-per-rule: 32768}', 65_536], ['{rules: 1k}', 4096]]) {
    const channel = createChannel(checkConfig(`midcom: {enabled: true, limits: ${limits}}`).config!)!
    assert.equal(channel.ring.capacity, records, String(limits))
  }
})

test('compose: every setting of MIDCOM reaches engine, policy and authorizer', () => {
  const config = checkConfig(`
inside: [10.0.0.0/8]
nat: {pool: [203.0.113.1]}
midcom:
  enabled: true
  ports: 2000-2999
  addresses: [203.0.113.9]
  inside-pool: [192.0.2.1]
  service: twice
  strict-nat-mode: false
  max-lifetime: 2m
  idle-timeout: 30s
  extend: false
  disable-rules: false
  wildcards: {internal: true, external: true, ports: false}
  limits: {rules: 32, ports-per-rule: 4, sessions: 5, bound-ports: 6}
  agents:
    - {name: free}
    - name: bound
      may: [enable]
      inside: [10.1.0.0/16]
      outside: [198.51.100.0/24]
      inside-ports: [1-9]
      outside-ports: [10-19]
      protocols: [udp]
      directions: [inbound, bidirectional]
      max-lifetime: 60s
      max-rules: 2
      acts-for: [free]
`).config!
  const channel = createChannel(config)!
  assert.deepEqual(engineOptions(config, config.inside, 7, 64, channel).midcom, {
    rules: 32, boundPorts: 6, portLow: 2000, portHigh: 2999, addresses: [0xcb007109 | 0], insidePool: [0xc0000201 | 0], ...channel,
  })
  const authorizer = composeAuthorizer(config, null), pump = () => { /* elsewhere */ }
  assert.deepEqual(policyOptions(config, config.inside, 7, channel, authorizer, pump), {
    ...channel, nat44: true, pool: [0xcb007101 | 0], portLow: 2000, portHigh: 2999, addresses: [0xcb007109 | 0], insidePool: [0xc0000201 | 0],
    inside: config.inside, seed: 7, limits: { rules: 32, portsPerRule: 4, sessions: 5, boundPorts: 6 }, maxLifetimeSec: 120, idleTimeoutSec: 30,
    extend: false, wildcards: { internal: true, external: true, ports: false }, service: 'twice', strictNatMode: false, disableRules: false,
    authorizer, pump, pools: plainNat(1).pools, npt6: [], fixedOutside: [], fixedInside: [],
  })
  assert.deepEqual(profileOf(config.midcom.agents[0]!), { name: 'free', actsFor: [] })
  const [inside, outside] = [[0x0a010000, 16], [0xc6336400 | 0, 24]].map(([word, prefixBits]) => ({ version: 4, words: Int32Array.of(word!), prefixBits, hostBits: false }))
  assert.deepEqual(profileOf(config.midcom.agents[1]!), {
    name: 'bound', transactions: ['enable'], inside: [inside], outside: [outside], insidePorts: [{ low: 1, high: 9 }],
    outsidePorts: [{ low: 10, high: 19 }], protocols: [17], directions: [1, 3], maxLifetimeSec: 60, maxRules: 2, actsFor: ['free'],
  })
  assert.deepEqual([authorizer.decide({ kind: 'read', agent: 'bound' }), authorizer.decide({ kind: 'session', agent: 'nobody' })],
    [{ permit: false }, { permit: false }])
  assert.deepEqual([authorizer.mayAccess('bound', 'free'), authorizer.mayAccess('free', 'bound'), authorizer.maxRules?.('bound')], [true, false, 2])
})
