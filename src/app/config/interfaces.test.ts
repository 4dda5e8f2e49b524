/** The section `interfaces`, and what lies between its settings. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printPrefix } from '../../base/address.ts'
import { insideOf, parseHostAddress, parseInterfaceAddress, parseInterfaceName, parseLinkName } from './interfaces.ts'
import { checkConfig } from './load.ts'

const GOOD = { inside: '{name: in0, addresses: [10.0.0.1/24]}', outside: '{name: out0, addresses: [203.0.113.1/24]}' }
const file = (more: { inside?: string; outside?: string; rest?: string }) => {
  const { inside, outside, rest = '' } = { ...GOOD, ...more }
  return `interfaces:\n  inside: ${inside}\n  outside: ${outside}\n${rest}`
}
const problems = (text: string) => checkConfig(text).problems.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`)

test('interfaces: none are named by default, and both are when one is', () => {
  assert.equal(checkConfig('').config!.interfaces, null)
  assert.equal(checkConfig(file({})).config!.interfaces!.inside.name, 'in0')
  assert.deepEqual(problems('interfaces: {inside: {name: in0, addresses: [10.0.0.1/24]}}'),
    ['1:13 interfaces: the outside interface has no name', '1:13 interfaces: the outside interface has no address'])
  assert.deepEqual(problems('interfaces: {gateways: [203.0.113.254]}'), ['1:24 interfaces.gateways: no interface is named'])
})

test('interfaces: what does not fit is told where it stands', () => {
  const cases: [string, string][] = [
    [file({ outside: '{name: in0, addresses: [203.0.113.1/24]}' }), '3:19 interfaces.outside.name: in0 is inside already'],
    [file({ outside: '{name: out0, addresses: [10.0.0.9/16]}' }), '3:37 interfaces.outside.addresses[0]: 10.0.0.0/16 is on both links'],
    [file({ inside: '{name: in0, addresses: [10.0.0.1/24, 10.0.0.1/24]}' }), '2:48 interfaces.inside.addresses[1]: 10.0.0.1 is there twice'],
    [file({ inside: '{name: in0, addresses: [198.51.100.1/24]}', rest: 'nat: {pool: [198.51.100.7]}' }), '2:11 interfaces.inside: addresses of the pool are in 198.51.100.0/24, which is inside'],
    [file({ rest: '  gateways: [192.0.2.1]' }), '4:14 interfaces.gateways[0]: 192.0.2.1 is on neither link'],
    [file({ rest: '  gateways: [203.0.113.1]' }), '4:14 interfaces.gateways[0]: 203.0.113.1 is the box itself'],
    [file({ rest: '  gateways: [10.0.0.9]' }), '4:14 interfaces.gateways[0]: 10.0.0.9 is inside'],
    [file({ rest: '  gateways: [203.0.113.9, 203.0.113.8]' }), '4:27 interfaces.gateways[1]: this is the second gateway for IPv4'],
    [file({ rest: '  routes: [{to: "2001:db8::/32", via: 10.0.0.2}]' }), '4:39 interfaces.routes[0].via: 10.0.0.2 leads to no IPv6'],
    [file({ rest: '  routes: [{to: 10.1.0.0/16, via: 10.2.0.2}]' }), '4:35 interfaces.routes[0].via: 10.2.0.2 is on neither link'],
  ]
  for (const [text, problem] of cases) assert.deepEqual(problems(text), [problem], text)
})

test('interfaces: a VLAN has a number from 1 to 4094, and both sides may be VLANs of one interface (802.1Q 9.6)', () => {
  const both = (inside: string, outside: string) => file({ inside: `{${inside}, addresses: [10.0.0.1/24]}`, outside: `{${outside}, addresses: [203.0.113.1/24]}` })
  for (const [inside, outside] of [['name: in0, vlan: 1', 'name: out0, vlan: 4094'], ['name: in0, vlan: 7', 'name: in0, vlan: 9'], ['name: in0, vlan: "7"', 'name: out0, vlan: none']] as const) {
    const { problems: found, config } = checkConfig(both(inside, outside))
    assert.deepEqual(found, [])
    assert.equal(config!.interfaces!.inside.vlan, inside.endsWith(' 1') ? 1 : 7)
    assert.equal(config!.interfaces!.outside.vlan, outside.endsWith('4094') ? 4094 : outside.endsWith('9') ? 9 : 0)
  }
  const cases: [string, string, string][] = [
    ['name: in0, vlan: 0', 'name: out0', '2:29 interfaces.inside.vlan: a tag with 0 has a priority, and is of no VLAN'],
    ['name: in0', 'name: out0, vlan: 4095', '3:31 interfaces.outside.vlan: VLAN 4095 is reserved (802.1Q)'],
    ['name: in0, vlan: 4096', 'name: out0', '2:29 interfaces.inside.vlan: VLAN 4096 is too high: a tag has 12 bits'],
    ['name: in0, vlan: -7', 'name: out0', '2:29 interfaces.inside.vlan: \'-7\' is not the number of a VLAN'],
    ['name: in0, vlan: 7.5', 'name: out0', '2:29 interfaces.inside.vlan: the number of a VLAN is needed here, not 7.5'],
    ['name: in0, vlan: blue', 'name: out0', '2:29 interfaces.inside.vlan: \'blue\' is not the number of a VLAN'],
    ['name: "in0:7"', 'name: out0', '2:18 interfaces.inside.name: \'in0:7\' is no name of an interface'],
    ['name: in0, vlan: 7', 'name: in0, vlan: 7', '3:30 interfaces.outside.vlan: in0:7 is inside already'],
    ['name: in0, vlan: 7', 'name: in0', '3:19 interfaces.outside.name: both sides are on in0, and the outside one has no VLAN'],
    ['name: in0', 'name: in0, vlan: 7', '2:18 interfaces.inside.name: both sides are on in0, and the inside one has no VLAN'],
  ]
  for (const [inside, outside, problem] of cases) assert.deepEqual(problems(both(inside, outside)), [problem])
  assert.deepEqual(problems(both('name: in0, vlan: 0', 'name: in0, vlan: 4095')).length, 2, 'what a number that is none would lead to is not told')
  assert.deepEqual(problems('interfaces: {inside: {vlan: 7}}'), ['1:29 interfaces.inside.vlan: no interface is named'])
  assert.equal(checkConfig(both('name: "in0:7"', 'name: out0')).problems[0]!.suggestion, 'did you mean {name: in0, vlan: 7}?')
})

test('interfaces: on the command line a VLAN stands behind a colon, which is in no name', () => {
  assert.deepEqual(parseLinkName('in0'), { ok: true, value: { name: 'in0', vlan: 0 } })
  assert.deepEqual(parseLinkName('eth0.7:4094'), { ok: true, value: { name: 'eth0.7', vlan: 4094 } })
  for (const text of ['in0:', 'in0:0', 'in0:4095', 'in0:4096', 'in0:x', 'in0:7:9', 'in 0:7', `${'a'.repeat(16)}:7`]) assert.equal(parseLinkName(text).ok, false, text)
})

test('interfaces: inside is what is reached by the inside interface', () => {
  const { interfaces } = checkConfig(file({
    inside: '{name: in0, addresses: [10.0.0.1/24, 10.0.0.2/24, "2001:db8:1::1/64", "fe80::1/64"]}',
    rest: '  routes: [{to: 10.1.0.0/16, via: 10.0.0.9}, {to: 192.0.2.0/24, via: 203.0.113.9}]',
  })).config!
  assert.deepEqual(insideOf(interfaces!).map(printPrefix), ['10.0.0.0/24', '2001:db8:1::/64', '10.1.0.0/16'])
})

test('interfaces: addresses are those of hosts, with the length of their prefix', () => {
  const refused = (text: string) => {
    const parsed = parseInterfaceAddress(text)
    return parsed.ok ? null : parsed.message
  }
  for (const text of ['10.0.0.1/24', '10.0.0.0/31', '10.0.0.1/32', '2001:db8::1/64', 'fe80::1/10', '2001:db8::/127']) assert.equal(refused(text), null, text)
  assert.match(refused('10.0.0.1')!, /no prefix length/)
  assert.match(refused('10.0.0.0/24')!, /number of its network/)
  assert.match(refused('10.0.0.255/24')!, /broadcast address/)
  assert.match(refused('2001:db8::/64')!, /number of its network/)
  assert.match(refused('127.0.0.1/8')!, /loopback/)
  assert.match(refused('224.0.0.1/24')!, /no address of a host/)
  assert.match(refused('ff02::1/64')!, /multicast/)
  assert.match(refused('10.0.0.1/33')!, /too large/)
  assert.equal(parseHostAddress('::1').ok, false)
  assert.equal(parseHostAddress('fe80::1').ok, true)
  assert.equal(parseHostAddress('0.0.0.0').ok, false)
})

test('interfaces: names are as the system has them', () => {
  for (const text of ['in0', 'eth0.7', 'wan@1', 'a'.repeat(15)]) assert.equal(parseInterfaceName(text).ok, true, text)
  for (const text of ['a'.repeat(16), 'in 0', 'in/0', 'in0:1', '..']) assert.equal(parseInterfaceName(text).ok, false, text)
})
