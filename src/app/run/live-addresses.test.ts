/** What a live box makes of its interfaces, on links made up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAddress, print4, printAddress, type Address } from '../../base/address.ts'
import type { Device } from '../../phy/device.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import { checkConfig } from '../config/load.ts'
import { filledIn, linkEnd, ownAddresses, routesOf, shownAddresses } from './live-addresses.ts'
import type { SystemLink } from './live-system.ts'

const MACS = [[0x02, 0x10, 0x20, 0x30, 0x40, 0x50], [0x00, 0x11, 0x22, 0x33, 0x44, 0x55]]
/** Those of RFC 4291 appendix A: the bit that says "universal" is turned over. */
const LINK_LOCALS = ['fe80::10:20ff:fe30:4050', 'fe80::211:22ff:fe33:4455']
const SIDES = [SIDE_INSIDE, SIDE_OUTSIDE]

function address(text: string): Address {
  const parsed = parseAddress(text)
  if (!parsed.ok) throw new Error(text)
  return parsed.value
}

function links({ kernel = [[], []], mtu = [1500, 1500] }: { kernel?: string[][]; mtu?: number[] } = {}): SystemLink[] {
  return SIDES.map((side) => ({
    name: side === SIDE_INSIDE ? 'in0' : 'out0', vlan: 0, kernelName: null,
    state: { index: 1, mtu: mtu[side], isUp: 1, isEthernet: 1, queues: 1, driver: 'veth', mac: MACS[side] },
    kernel: new Map(kernel[side].map((text) => [text, address(text)])),
  }))
}

function box(inside: string, outside: string, more = '', beside = '') {
  const { config, problems } = checkConfig(`interfaces:
  inside: {name: in0, addresses: [${inside}]}
  outside: {name: out0, addresses: [${outside}]}
${more}
${beside}
`)
  assert.deepEqual(problems, [])
  return config!
}

const print = (version: 4 | 6, words: Int32Array) => printAddress({ version, words })

test('box: where no setting says it, the box speaks from its first IPv4 address inside and from a global IPv6 one, rather of the outside', () => {
  const said = (inside: string, outside: string, beside = '') => {
    const { insideAddress, address6 } = filledIn(box(inside, outside, '', beside), links()).box
    return [print4(insideAddress), print(6, address6)]
  }
  assert.deepEqual(said('"2001:db8:1::1/64", 10.0.0.1/24, 10.1.0.1/24', '203.0.113.1/24, "fe80::7/64", "2001:db8:2::1/64"'), ['10.0.0.1', '2001:db8:2::1'])
  assert.deepEqual(said('"fe80::9/64", "2001:db8:1::1/64"', '203.0.113.1/24, "fe80::7/64"'), ['192.0.0.8', '2001:db8:1::1'])
  assert.deepEqual(said('10.0.0.1/24', '203.0.113.1/24, "fe80::7/64"'), ['10.0.0.1', 'fe80::1'], 'a link-local one says nothing beyond its link')
  assert.deepEqual(said('10.0.0.1/24, "2001:db8:1::1/64"', '203.0.113.1/24', 'box: {inside-address: 10.0.0.9, address6: "2001:db8:9::9"}'), ['10.0.0.9', '2001:db8:9::9'])
})

test('box: the MTU of a link is the shorter of what the interface has and of what is set, and no longer than a packet of IP', () => {
  const said = (mtu: number[], beside = '') => {
    const { mtuInside, mtuOutside } = filledIn(box('10.0.0.1/24', '203.0.113.1/24', '', beside), links({ mtu })).box
    return [mtuInside, mtuOutside]
  }
  assert.deepEqual(said([9000, 1400]), [9000, 1400])
  assert.deepEqual(said([1400, 9000], 'box: {mtu-inside: 1500, mtu-outside: 1492}'), [1400, 1492])
  assert.deepEqual(said([65_536, 100_000]), [65_535, 65_535])
})

test('routes: prefixes of the links, networks behind routers on the side of the router, and gateways outside, by default routes', () => {
  const { interfaces } = box('10.0.0.1/24, "2001:db8:1::1/64"', '203.0.113.1/29', `  gateways: [203.0.113.6, "fe80::1"]
  routes:
    - {to: 10.1.0.0/16, via: 10.0.0.2}
    - {to: 192.0.2.0/24, via: 203.0.113.2}
    - {to: "2001:db8:5::/48", via: "2001:db8:1::2"}
    - {to: "2001:db8:6::/48", via: "fe80::2"}`)
  assert.deepEqual(routesOf(interfaces!).map(({ side, version, words, prefixBits, via }) =>
    `${side === SIDE_INSIDE ? 'inside' : 'outside'} ${print(version, words)}/${prefixBits} ${via === null ? 'link' : print(version, via)}`), [
    'inside 10.0.0.0/24 link', 'inside 2001:db8:1::/64 link', 'outside 203.0.113.0/29 link',
    'inside 10.1.0.0/16 10.0.0.2', 'outside 192.0.2.0/24 203.0.113.2', 'inside 2001:db8:5::/48 2001:db8:1::2', 'outside 2001:db8:6::/48 fe80::2',
    'outside 0.0.0.0/0 203.0.113.6', 'outside ::/0 fe80::1',
  ])
})

test('neighbours are asked from the address whose link they are on, else from the first; over IPv6 from a link-local one', () => {
  const { interfaces } = box('10.0.0.1/24, 10.1.0.1/16, "2001:db8:1::1/64"', '203.0.113.1/24')
  const device = { send: () => { /* nothing is sent */ } } as unknown as Device
  const [inside, outside] = SIDES.map((side) => linkEnd(interfaces!, side, device, links()[side]))
  const asker = (target: string) => print4(inside.source4(address(target).words[0]))
  assert.deepEqual(['10.0.0.9', '10.1.255.9', '10.2.0.9'].map(asker), ['10.0.0.1', '10.1.0.1', '10.0.0.1'])
  assert.deepEqual([inside.mac, print(6, inside.source6!), outside.mac, outside.source6], [MACS[SIDE_INSIDE], LINK_LOCALS[SIDE_INSIDE], MACS[SIDE_OUTSIDE], null])
  const set = box('"2001:db8:1::1/64", "fe80::7/64"', '203.0.113.1/24').interfaces!
  const end = linkEnd(set, SIDE_INSIDE, device, links()[SIDE_INSIDE])
  assert.deepEqual([print(6, end.source6!), end.source4(1)], ['fe80::7', 0], 'one that is set comes before one that is made; without IPv4 there is no asker')
})

test('own addresses: a link with IPv6 has a link-local one, set or made of its Ethernet address; a link without has none', () => {
  const own = (inside: string, outside: string) => ownAddresses(box(inside, outside), links())
    .map(({ side, version, words }) => `${side === SIDE_INSIDE ? 'inside' : 'outside'} ${print(version, words)}`)
  assert.deepEqual(own('10.0.0.1/24, "2001:db8:1::1/64"', '203.0.113.1/24, "2001:db8:2::1/64"'), [
    'inside 10.0.0.1', 'inside 2001:db8:1::1', `inside ${LINK_LOCALS[SIDE_INSIDE]}`, 'outside 203.0.113.1', 'outside 2001:db8:2::1', `outside ${LINK_LOCALS[SIDE_OUTSIDE]}`,
  ])
  assert.deepEqual(own('10.0.0.1/24', '"2001:db8:2::1/64", "fe80::7/64"'), ['inside 10.0.0.1', 'outside 2001:db8:2::1', 'outside fe80::7'])
})

test('own addresses: those that the kernel has on the same link are the kernel\'s, those that the NAT uses are shared', () => {
  const config = box('10.0.0.1/24, "2001:db8:1::1/64"', '203.0.113.1/24, 203.0.113.2/24', '', 'nat: {pool: [203.0.113.1]}')
  const kernel = [['10.0.0.1', '203.0.113.2', LINK_LOCALS[SIDE_INSIDE]], ['2001:db8:1::1', '203.0.113.2']]
  assert.deepEqual(ownAddresses(config, links({ kernel })).map(({ version, words, isKernels, isShared }) => [print(version, words), isKernels, isShared]), [
    ['10.0.0.1', true, false], ['2001:db8:1::1', false, false], [LINK_LOCALS[SIDE_INSIDE], true, false], ['203.0.113.1', false, true], ['203.0.113.2', true, false],
  ])
})

test('own addresses: an IPv6 one whose first word is that of an outside IPv4 address is not shared', () => {
  const config = box('10.0.0.1/24', '32.1.13.184/24, "2001:db8::1/64"', '', 'nat: {pool: [32.1.13.184]}')
  assert.deepEqual(ownAddresses(config, links()).filter(({ isShared }) => isShared).map(({ version, words }) => print(version, words)), ['32.1.13.184'])
})

test('the NAT shows its outside addresses outside, and inside those that stand for outside hosts; without NAT nothing is shown', () => {
  const nat = 'nat: {pool: [203.0.113.9], aliases: [{outside: 198.51.100.5, alias: 10.9.9.9}]'
  const shown = (beside: string) => shownAddresses(box('10.0.0.1/24', '203.0.113.1/24', '', beside)).map((list) => list.map(print4))
  assert.deepEqual(shown(`${nat}}\nmidcom: {inside-pool: [10.8.8.8], addresses: [203.0.113.20]}`), [['10.8.8.8', '10.9.9.9'], ['203.0.113.9', '203.0.113.20']])
  assert.deepEqual(shown('nat: {nat44: false}'), [[], []])
})
