import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  CHECKSUM_IGNORE, CHECKSUM_REPAIR_ZERO, CHECKSUM_VERIFY, FILTER_ADDRESS_AND_PORT_DEPENDENT, FILTER_ADDRESS_DEPENDENT,
  FILTER_ENDPOINT_INDEPENDENT,
} from '../engine/options.ts'
import { engineOptions } from './compose.ts'
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
    portPreservation: true, filtering: FILTER_ADDRESS_DEPENDENT, hairpinning: true, outboundPermit: true, inboundPermit: false,
    tcpMidstream: true, udpMs: 300_000, tcpTransitoryMs: 240_000, tcpEstablishedMs: 7_440_000, icmpQueryMs: 60_000, otherMs: 300_000,
    fragmentMs: 2000, flows: 262_144, fragmentDatagrams: 1024, fragmentHold: 256, icmpErrorsPerSecond: 100,
    ipv4Checksum: CHECKSUM_REPAIR_ZERO, boxAddress4: 0xc0000008 | 0, boxAddress6: [0xfe800000 | 0, 0, 0, 1], seed: 1, scratchStart: 64,
  })
  for (const [address, is] of [[0x0a000001, true], [0xac1fffff, true], [0xc0a80001, true], [0x08080808, false], [0xac200000, false]] as const) {
    assert.equal(inside.has4(address | 0), is)
  }
  assert.deepEqual([inside.has6(0xfd000000 | 0, 0, 0, 1), inside.has6(0x20010db8, 0, 0, 1)], [true, false])
})

test('compose: every setting reaches the engine', () => {
  const { inside, ...options } = optionsOf(`
inside: [100.64.0.0/10]
box: {inside-address: 100.64.0.1, address6: 'fe80::2'}
nat: {nat44: false, pool: [192.0.2.1], ports: 2000-2999, port-preservation: false, filtering: endpoint-independent, hairpinning: false}
firewall: {outbound: deny, inbound6: permit, tcp-midstream: false}
timers: {udp: 3m, tcp-transitory: 5m, tcp-established: 3h, icmp-query: 61s, other: 7s, fragment: 3s}
limits: {flows: 32, fragment-datagrams: 5, fragment-hold: 6, icmp-errors-per-second: 8}
checks: {ipv4-checksum: verify}
`)
  assert.deepEqual(options, {
    nat44: false, pool: [0xc0000201 | 0], portLow: 2000, portHigh: 2999, portPreservation: false, filtering: FILTER_ENDPOINT_INDEPENDENT,
    hairpinning: false, outboundPermit: false, inboundPermit: true, tcpMidstream: false, udpMs: 180_000, tcpTransitoryMs: 300_000,
    tcpEstablishedMs: 10_800_000, icmpQueryMs: 61_000, otherMs: 7000, fragmentMs: 3000, flows: 32, fragmentDatagrams: 5, fragmentHold: 6,
    icmpErrorsPerSecond: 8, ipv4Checksum: CHECKSUM_VERIFY, boxAddress4: 0x64400001, boxAddress6: [0xfe800000 | 0, 0, 0, 2], seed: 7,
    scratchStart: 4096,
  })
  assert.deepEqual([inside.has4(0x64400001), inside.has4(0x0a000001)], [true, false])
  assert.equal(optionsOf('nat: {filtering: address-and-port-dependent}').filtering, FILTER_ADDRESS_AND_PORT_DEPENDENT)
  assert.equal(optionsOf('checks: {ipv4-checksum: ignore}').ipv4Checksum, CHECKSUM_IGNORE)
})
