/** What is looked at before interfaces are opened, on a system made up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAddress, type Address } from '../../base/address.ts'
import type { DriverName } from '../../phy/drivers.ts'
import type { Offload } from '../../phy/offload.ts'
import { checkConfig } from '../config/load.ts'
import { checkSystem, type System } from './live-system.ts'

interface Made {
  /** What stands below /proc/sys/net. */
  settings?: Record<string, string>
  /** Of interfaces of the kernel for VLANs, `in0:7`; undefined where that cannot be seen. */
  vlans?: Record<string, string | undefined>
  addresses?: Record<string, string[]>
  /** `in0 gro`. */
  on?: string[]
  driver?: string
  mtu?: number
}

function setUp(made: Made) {
  const on = new Set(made.on), asked: string[] = [], lines: string[] = []
  const known = (texts: readonly string[]) => new Map(texts.map((text): [string, Address] => {
    const parsed = parseAddress(text)
    if (!parsed.ok) throw new Error(text)
    return [text, parsed.value]
  }))
  const system: System = {
    linkState: () => ({ index: 1, mtu: made.mtu ?? 1500, isUp: 1, isEthernet: 1, queues: 1, driver: made.driver ?? 'e1000e', mac: [2, 0, 0, 0, 0, 1] }),
    kernelVlan: (name, vlan) => made.vlans !== undefined && `${name}:${vlan}` in made.vlans ? made.vlans[`${name}:${vlan}`] : null,
    addresses: (name) => known(made.addresses?.[name] ?? []),
    setting(path) {
      asked.push(path)
      return made.settings?.[path] ?? null
    },
    offloads: () => ({ isOn: (name: string, what: Offload) => on.has(`${name} ${what}`), switchOff: (name: string, what: Offload) => { on.delete(`${name} ${what}`) } }),
  }
  const check = (inside: string, outside: string, driver: DriverName = 'packet', fixOffload = false) => {
    const { config, problems } = checkConfig(`interfaces:
  inside: {${inside}, addresses: [10.0.0.1/24]}
  outside: {${outside}, addresses: [203.0.113.1/24]}
nat: {pool: [203.0.113.1]}
`)
    assert.deepEqual(problems, [])
    return checkSystem(config!, driver, { fixOffload, log: (line) => { lines.push(line) } }, system)
  }
  return { check, asked, lines, on }
}

test('system: of a VLAN the kernel has what its own interface for it has, and nothing of the interface below', () => {
  const made = {
    vlans: { 'in0:7': 'blue' }, addresses: { in0: ['203.0.113.1'], blue: ['10.0.0.1'], out0: ['192.0.2.1'] },
    settings: { 'ipv4/conf/in0/forwarding': '1', 'ipv4/conf/blue/forwarding': '0' },
  }
  const { check, asked } = setUp(made)
  const links = check('name: in0, vlan: 7', 'name: in0, vlan: 9')
  assert.deepEqual(links.map(({ name, vlan, kernelName, kernel }) => [name, vlan, kernelName, [...kernel.keys()]]), [['in0', 7, 'blue', ['10.0.0.1']], ['in0', 9, null, []]])
  assert.deepEqual(asked, ['ipv4/conf/blue/forwarding'])
  assert.throws(() => setUp(made).check('name: in0', 'name: out0, vlan: 9'), /the kernel itself forwards IPv4 packets of in0: sysctl -w net\.ipv4\.conf\.in0\.forwarding=0/)
  assert.throws(() => setUp({ ...made, settings: { 'ipv4/conf/in0.7/forwarding': '1' }, vlans: { 'in0:7': 'in0.7' } }).check('name: in0, vlan: 7', 'name: out0'),
    /the kernel itself forwards IPv4 packets of in0\.7: sysctl -w net\.ipv4\.conf\.in0\/7\.forwarding=0/)
  assert.throws(() => setUp({ ...made, addresses: { blue: ['203.0.113.1'] } }).check('name: in0, vlan: 7', 'name: out0'), /the kernel has 203\.0\.113\.1 on blue too.*ip address del 203\.0\.113\.1 dev blue/)
})

test('system: whether the kernel has an interface for a VLAN may be hidden, and that is said', () => {
  const { check, lines } = setUp({ vlans: { 'in0:7': undefined } })
  check('name: in0, vlan: 7', 'name: out0')
  assert.deepEqual(lines, ['in0:7: whether the kernel has an interface for this VLAN cannot be seen without the compiled driver or root'])
})

test('system: hardware that keeps frames of unknown VLANs off is refused or told not to, unless the kernel has made the VLAN known', () => {
  const on = ['in0 rx-vlan-filter', 'out0 rx-vlan-filter']
  assert.throws(() => setUp({ on }).check('name: in0, vlan: 7', 'name: out0'),
    { message: 'in0: its VLAN filter keeps frames of VLANs off that the kernel has no interface for: ethtool -K in0 rx-vlan-filter off, or --fix-offload' })
  setUp({ on, vlans: { 'in0:7': 'in0.7' } }).check('name: in0, vlan: 7', 'name: out0')
  const fixed = setUp({ on })
  fixed.check('name: in0, vlan: 7', 'name: out0', 'packet', true)
  assert.deepEqual([[...fixed.on], fixed.lines], [['out0 rx-vlan-filter'], ['in0: rx-vlan-filter is switched off']])
})

test('system: offloads are those of the interface below, and XDP in either mode is to find tags in frames, but for veth', () => {
  assert.throws(() => setUp({ on: ['in0 gro'] }).check('name: in0, vlan: 7', 'name: in0, vlan: 9'), /in0: GRO joins frames.*ethtool -K in0 gro off, or --fix-offload/)
  for (const driver of ['xdp', 'xdpdrv', 'xdpgeneric'] as const) {
    assert.throws(() => setUp({ on: ['out0 rxvlan'] }).check('name: in0', 'name: out0', driver), /out0: RXVLAN takes VLAN tags off before XDP sees them: ethtool -K out0 rxvlan off/)
    setUp({ on: ['out0 rxvlan'], driver: 'veth' }).check('name: in0', 'name: out0', driver)
  }
  setUp({ on: ['out0 rxvlan'] }).check('name: in0', 'name: out0', 'packet')
})

test('system: an interface that takes less than every link of IPv6 does is refused (RFC 8200 5)', () => {
  assert.throws(() => setUp({ mtu: 1279 }).check('name: in0', 'name: out0'), { message: 'in0: an MTU of 1279 is too little: ip link set in0 mtu 1280' })
  assert.deepEqual(setUp({ mtu: 1280 }).check('name: in0', 'name: out0').map(({ state }) => state.mtu), [1280, 1280])
})
