import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSteering } from '../../channel/steering.ts'
import { checkConfig, problemText } from '../config/load.ts'
import { configOfWorker, sharingFaults, steeringOf } from './plan.ts'

function read(text: string) {
  const { config, problems } = checkConfig(text)
  assert.ok(config !== null, JSON.stringify(problems))
  return config
}

const faults = (text: string, workers = 3) =>
  checkConfig(text, '.', (config) => sharingFaults(config, workers)).problems.map((one) => problemText('f', one))

test('plan: what several workers cannot share is told where it stands, and nothing else is', () => {
  assert.deepEqual(faults('nat: {pool: [203.0.113.1]}\n', 16), [])
  assert.deepEqual(faults('nat:\n  pools: [{inside: [10.1.0.0/24], addresses: [203.0.113.8]},\n    {inside: [10.0.0.0/24], addresses: [203.0.113.9], hosts-per-address: 256}]\n'),
    ['f:3:74: nat.pools[1].hosts-per-address: --workers 3: hosts with ports of their own on a fixed address need one worker; leave it out, or run one worker'])
  const prefixes = (bits: number) => `inside: [10.0.0.0/24, "fd00:1::/${bits}"]\nnat: {npt6: [{inside: "fd00:1::/${bits}", outside: "2001:db8:7::/${bits}"}]}\n`
  assert.deepEqual(faults(`${prefixes(48)}limits: {per-host: {flows: 1}}\n`), [])
  assert.deepEqual(faults(prefixes(56)), [])
  assert.deepEqual(faults(`${prefixes(56)}limits: {per-host: {flows: 1}}\n`),
    ['f:2:14: nat.npt6[0]: --workers 3: a prefix longer than 48 bits and bounds of an IPv6 /64 (limits.per-host) need one worker; leave one of them out, or run one worker'])
})

test('plan: it is told of the first pool as well', () => {
  assert.match(faults('nat: {pools: [{inside: [10.0.0.0/24], addresses: [203.0.113.9], hosts-per-address: 256}]}\n')[0]!, /^f:1:84: nat\.pools\[0\]/)
})

test('plan: each worker has ports for a stripe at least, or a block', () => {
  // From 1024 on, a stripe is worker 16 % 3's.
  assert.deepEqual(faults('nat: {ports: 1024-1215}\n'), [])
  assert.deepEqual(faults('nat: {ports: 1024-1214}\n'), ['f:1:14: nat.ports: --workers 3: 191 ports are too few: each worker has 64 at least; write a longer range'])
  assert.deepEqual(faults('nat: {ports: 1048-1239}\n'), [], 'part of a stripe at both ends is as good')
  assert.deepEqual(faults('nat: {ports: 1024-4095, port-block: 1024}\n'), [])
  assert.deepEqual(faults('nat: {ports: 1024-4094, port-block: 1024}\n'),
    ['f:1:37: nat.port-block: --workers 3: 2 blocks an address are too few: a worker has at least one; write fewer ports a block'])
  assert.deepEqual(faults('nat: {nat44: false, ports: 1024-1030}\n'), [])
})

test('plan: stripes are of 64 ports from port 0, and with blocks as long as those and from the first one', () => {
  assert.deepEqual(steeringOf(read(''), 4), { workers: 4, stripeBase: 0, stripePorts: 64, bySubnet: false })
  assert.deepEqual(steeringOf(read('nat: {ports: 2000-60000, port-block: 500}\nlimits: {per-host: {ports: 7}}\n'), 2),
    { workers: 2, stripeBase: 2000, stripePorts: 500, bySubnet: true })
  const { ofPort } = createSteering(steeringOf(read('nat: {ports: 2000-60000, port-block: 500}\n'), 2))
  assert.deepEqual([2000, 2499, 2500, 2999, 3000].map(ofPort), [0, 0, 1, 1, 0])
})

test('plan: bounds of the box are shared out, those of a host are not, and no worker knows an agent or a key', () => {
  const config = read(`limits: {flows: 1000, fragment-datagrams: 100, fragment-hold: 50, icmp-errors-per-second: 10, icmp-per-second: 7, fragments-per-second: 8,
  half-open: 9, half-open-per-source: 5, held-syns: 11, held-ports: 20, per-host: {flows: 99}}
midcom:
  enabled: true
  state: /nowhere
  agents: [{name: lab, key: 00112233445566778899aabbccddeeff, inside: [10.0.0.0/24]}]
  simco: {listen: ["127.0.0.1:7626"], allow-plain: true}
  snmp: {listen: ["127.0.0.1:1161"], users: [{name: lab, agent: lab, auth-password: labauthpass, priv-password: labprivpass}]}
  pdp: {url: "http://127.0.0.1:1/"}
  limits: {rules: 77}
`)
  const { limits, midcom } = configOfWorker(config, 3)
  const { flows, fragmentDatagrams, fragmentHold, icmpErrorsPerSecond, icmpPerSecond, fragmentsPerSecond, halfOpen, heldSyns, heldPorts } = limits
  assert.deepEqual([flows, fragmentDatagrams, fragmentHold, icmpErrorsPerSecond, icmpPerSecond, fragmentsPerSecond, halfOpen, heldSyns, heldPorts],
    [334, 34, 17, 4, 3, 3, 3, 4, 7])
  assert.deepEqual([limits.halfOpenPerSource, limits.perHost], [5, config.limits.perHost])
  assert.equal(configOfWorker(config, 16).limits.flows, 63)
  assert.equal(configOfWorker(read('limits: {flows: 16}\n'), 16).limits.flows, 16, 'tables have no fewer')
  assert.deepEqual([midcom.agents, midcom.simco.listen, midcom.snmp.listen, midcom.snmp.users, midcom.snmp.targets, midcom.pdp.url, midcom.pdp.tokenFile],
    [[], [], [], [], [], null, null])
  assert.deepEqual([midcom.enabled, midcom.limits], [true, config.midcom.limits])
  assert.equal(/00112233|labauthpass|labprivpass/.test(JSON.stringify(configOfWorker(config, 3))), false)
})
