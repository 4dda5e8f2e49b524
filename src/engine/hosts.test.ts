/** What one inside host may have (RFC 6888 REQ-4, REQ-5), and what becomes of a new flow when there is no room (REQ-11). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { buildPacket, type PacketSpec } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { NO_LIMITS, createHosts } from './hosts.ts'
import { FILTER_ENDPOINT_INDEPENDENT, type EngineOptions, type HostLimits } from './options.ts'
import { createRig, type Outcome, type Rig } from './testing.ts'
import { DIR_IN, DIR_OUT } from './tcp-state.ts'

const A = '10.0.0.1', B = '10.0.0.2', X = '198.51.100.1', NAT = '203.0.113.1'
const EIF = { filtering: FILTER_ENDPOINT_INDEPENDENT }
const limited = (limits: Partial<HostLimits>, more: Partial<EngineOptions> = {}) => createRig({ perHost: { ...NO_LIMITS, ...limits }, ...more })
const packet = (proto: 'udp' | 'tcp' | 'icmp', n: number, src = A, more: Partial<PacketSpec> = {}) => buildPacket({
  proto, src, dst: X, srcPort: 2000 + n, dstPort: 53, tcpFlags: 2, icmpType: 8, icmpId: n, ...more,
})
const six = (n: number, src: string) => buildPacket({ proto: 'udp', src, dst: '2001:db8::1', srcPort: 2000 + n, dstPort: 53 })
const send = (rig: Rig, bytes: Uint8Array, nowMs = 0) => rig.send(SIDE_INSIDE, bytes, nowMs)
const told = ({ reason, extras }: Outcome, l4 = 20) => [reason, ...extras.map(({ bytes }) => `${bytes[l4]}/${bytes[l4 + 1]}`)].join(' ')

// @req RFC6888 REQ-5, REQ-5a, REQ-11, REQ-11a
test('hosts: one may have so many flows; what it has goes on, others have theirs, and an end makes room (RFC 6888 REQ-5)', () => {
  const rig = limited({ flows: 3 })
  for (const [n, proto] of (['udp', 'tcp', 'icmp'] as const).entries()) assert.equal(send(rig, packet(proto, n)).verdict, TO_OUTSIDE)
  assert.equal(told(send(rig, packet('udp', 9))), 'host-flows 3/13')
  assert.equal(rig.count('drop-host-flows-packets'), 1)
  assert.equal(send(rig, packet('udp', 0)).verdict, TO_OUTSIDE, 'a flow that it has')
  assert.equal(send(rig, packet('udp', 9, B)).verdict, TO_OUTSIDE)
  assert.equal(rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'udp', src: X, dst: NAT, srcPort: 53, dstPort: 2000 }), 0).verdict, TO_INSIDE)
  assert.equal(told(send(rig, packet('udp', 9), 59_999)), 'host-flows 3/13')
  assert.equal(send(rig, packet('udp', 9), 60_000).verdict, TO_OUTSIDE, 'the query is over')
})

test('hosts: flows that the outside opens count for the inside host, and beyond the bound they are dropped in silence', () => {
  const rig = limited({ flows: 2, flowsPerSecond: 2 }, EIF)
  send(rig, packet('udp', 0))
  const from = (n: number) => rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'udp', src: X, dst: NAT, srcPort: 1000 + n, dstPort: 2000 }), 0)
  assert.equal(from(0).verdict, TO_INSIDE)
  assert.equal(told(from(1)), 'host-flows')
  // They cost the host nothing of its rate.
  const other = limited({ flowsPerSecond: 2 }, EIF)
  send(other, packet('udp', 0))
  for (let n = 0; n < 5; n++) {
    assert.equal(other.send(SIDE_OUTSIDE, buildPacket({ proto: 'udp', src: X, dst: NAT, srcPort: 1000 + n, dstPort: 2000 }), 0).verdict, TO_INSIDE)
  }
  assert.equal(send(other, packet('udp', 1)).verdict, TO_OUTSIDE)
  assert.equal(told(send(other, packet('udp', 2))), 'host-rate 3/13')
})

// @req RFC6888 REQ-4c, REQ-5b
test('hosts: new flows come at a rate, known ones at any (RFC 6888 REQ-4c)', () => {
  const rig = limited({ flowsPerSecond: 10 })
  for (let n = 0; n < 10; n++) assert.equal(send(rig, packet('udp', n)).verdict, TO_OUTSIDE)
  for (let n = 0; n < 100; n++) assert.equal(send(rig, packet('udp', n % 10)).verdict, TO_OUTSIDE)
  assert.equal(told(send(rig, packet('udp', 10))), 'host-rate 3/13')
  assert.equal(told(send(rig, packet('udp', 10), 99)), 'host-rate 3/13')
  assert.equal(send(rig, packet('udp', 10), 100).verdict, TO_OUTSIDE)
  assert.equal(send(rig, packet('udp', 10, B), 100).verdict, TO_OUTSIDE, 'another host')
  assert.equal(told(send(rig, packet('tcp', 10), 199)), 'host-rate 3/13', 'any protocol')
})

// @req RFC6888 REQ-4, REQ-4a, REQ-4b
test('hosts: outside ports are bounded for each host, together and by protocol; flows of a mapping share one (RFC 6888 REQ-4)', () => {
  const each = limited({ udpPorts: 2, tcpPorts: 1, identifiers: 1 })
  for (const n of [0, 1]) assert.equal(send(each, packet('udp', n)).verdict, TO_OUTSIDE)
  assert.equal(told(send(each, packet('udp', 2))), 'host-ports 3/13')
  for (let n = 0; n < 10; n++) assert.equal(send(each, packet('udp', 0, A, { dstPort: 100 + n })).verdict, TO_OUTSIDE)
  for (const proto of ['tcp', 'icmp'] as const) {
    assert.equal(send(each, packet(proto, 0)).verdict, TO_OUTSIDE)
    assert.equal(told(send(each, packet(proto, 1))), 'host-ports 3/13')
  }
  assert.equal(send(each, packet('udp', 2, B)).verdict, TO_OUTSIDE)
  const all = limited({ ports: 3 })
  for (const [n, proto] of (['udp', 'tcp', 'icmp'] as const).entries()) assert.equal(send(all, packet(proto, n)).verdict, TO_OUTSIDE)
  for (const proto of ['udp', 'tcp', 'icmp'] as const) assert.equal(told(send(all, packet(proto, 7))), 'host-ports 3/13')
  // GRE has no port.
  assert.equal(send(all, buildPacket({ proto: 47, src: A, dst: X })).verdict, TO_OUTSIDE)
  assert.equal(send(all, packet('udp', 7), 60_000).verdict, TO_OUTSIDE, 'the identifier is free')
})

test('hosts: of IPv6 a /64 is one host, and it has no outside ports', () => {
  const rig = limited({ flows: 2, ports: 1 })
  assert.equal(send(rig, six(0, 'fd00::1')).verdict, TO_OUTSIDE)
  assert.equal(send(rig, six(1, 'fd00::ffff:1')).verdict, TO_OUTSIDE)
  assert.equal(told(send(rig, six(2, 'fd00::2')), 40), 'host-flows 1/1')
  assert.equal(send(rig, six(2, 'fd00:0:0:1::2')).verdict, TO_OUTSIDE)
})

// @req RFC6888 REQ-11b
test('hosts: the inside is told of bounds and lack of room by host unreachable, if so configured (RFC 6888 REQ-11b)', () => {
  const rig = limited({ flows: 1 }, { refusesByHost: true, portLow: 1024, portHigh: 1025, portPreservation: false })
  assert.equal(send(rig, packet('udp', 0)).verdict, TO_OUTSIDE)
  assert.equal(told(send(rig, packet('udp', 1))), 'host-flows 3/1')
  assert.equal(send(rig, packet('udp', 0, B)).verdict, TO_OUTSIDE)
  assert.equal(told(send(rig, packet('udp', 0, '10.0.0.3'))), 'no-outside-port 3/1')
  send(rig, six(0, 'fd00::1'))
  assert.equal(told(send(rig, six(1, 'fd00::2')), 40), 'host-flows 1/3')
  const denied = createRig({ refusesByHost: true, outboundPermit: false })
  assert.equal(told(send(denied, packet('udp', 0))), 'denied 3/13', 'a policy is no lack of room')
})

// @req RFC6888 REQ-11d
test('hosts: a full table refuses a new flow, from either side, rather than give one up, if so configured (RFC 6888 REQ-11d)', () => {
  const rig = createRig({ flows: 16, keepsFlows: true, ...EIF, inboundPermit: true })
  for (let n = 0; n < 16; n++) assert.equal(send(rig, packet('udp', n)).verdict, TO_OUTSIDE)
  assert.equal(told(send(rig, packet('udp', 16), 1)), 'flow-table-full 3/13')
  assert.equal(told(send(rig, six(0, 'fd00::1'), 1), 40), 'flow-table-full 1/1')
  const out = (n: number, nowMs: number) => rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'udp', src: X, dst: NAT, srcPort: 53 + n, dstPort: 2000 }), nowMs)
  assert.equal(told(out(1, 1)), 'flow-table-full')
  assert.equal(rig.count('flows-evicted'), 0)
  for (let n = 0; n < 16; n++) assert.equal(send(rig, packet('udp', n), 2).verdict, TO_OUTSIDE)
  assert.equal(told(send(rig, packet('udp', 16), 300_001)), 'flow-table-full 3/13')
  assert.equal(send(rig, packet('udp', 16), 300_002).verdict, TO_OUTSIDE, 'they are over')
})

// @req RFC6888 REQ-11d
test('hosts: half-open connections are not given up for another one either (RFC 6888 REQ-11d)', () => {
  const rig = createRig({ flows: 64, keepsFlows: true, halfOpen: 4 })
  for (let n = 0; n < 4; n++) assert.equal(send(rig, packet('tcp', n)).verdict, TO_OUTSIDE)
  assert.equal(told(send(rig, packet('tcp', 4))), 'half-open-full 3/13')
  assert.equal(rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'tcp', tcpFlags: 18, src: X, dst: NAT, srcPort: 53, dstPort: 2000 }), 0).verdict, TO_INSIDE)
  assert.equal(send(rig, packet('tcp', 4)).verdict, TO_OUTSIDE, 'one is open now')
})

test('hosts: records count what a list of flows counts, and none is left when the flows are gone', () => {
  const seed = Date.now() & 0xffff, prng = createPrng(seed), limits = { ...NO_LIMITS, flows: 4, udpPorts: 3 }
  const hosts = createHosts({ perHost: limits, flows: 64, seed }), flows: { host: number; mapped: boolean }[] = []
  for (let n = 0; n < 20_000; n++) {
    const host = prng.below(40), own = flows.filter((flow) => flow.host === host), mapped = own.filter((flow) => flow.mapped)
    const words = [host % 2 === 0 ? 4 : 6, host, host % 2 === 0 ? 0 : host] as const
    assert.equal(hosts.refusal(...words, prng.below(2) === 0 ? DIR_OUT : DIR_IN, n) >= 0, own.length >= 4, `seed ${seed}, step ${n}`)
    if (prng.below(2) === 0 && flows.length < 64) {
      hosts.enter(...words, n)
      const isMapped = host % 2 === 0 && hosts.mayMap(host, 0)
      if (host % 2 === 0) assert.equal(isMapped, mapped.length < 3, `seed ${seed}, step ${n}`)
      if (isMapped) hosts.countPort(host, 0, 1)
      flows.push({ host, mapped: isMapped })
    } else if (own.length > 0) {
      const [flow] = flows.splice(flows.indexOf(own[prng.below(own.length)]), 1)
      if (flow.mapped) hosts.countPort(host, 0, -1)
      hosts.leave(...words)
    }
    assert.equal(hosts.count(), new Set(flows.map((flow) => flow.host)).size, `seed ${seed}, step ${n}`)
  }
})
