/** What links know of each other, and what the system says of the VLANs it has interfaces for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { namesOf, vlanByAddon, vlanInTable } from './link-state.ts'
import { besideOf, linkName } from './vlan.ts'

test('VLANs: a link is named by its interface and its VLAN, and knows the other one on the same interface', () => {
  assert.deepEqual([{ name: 'in0' }, { name: 'in0', vlan: 0 }, { name: 'in0', vlan: 7 }].map(linkName), ['in0', 'in0', 'in0:7'])
  const stick = [{ name: 'in0', vlan: 7 }, { name: 'in0', vlan: 9 }]
  assert.deepEqual([0, 1].map((n) => besideOf(stick, n)), [{ other: 9, counts: true }, { other: 7, counts: false }])
  const apart = [{ name: 'in0', vlan: 7 }, { name: 'out0', vlan: 7 }]
  assert.deepEqual([0, 1].map((n) => besideOf(apart, n)), [{ other: 0, counts: true }, { other: 0, counts: true }])
})

test('VLANs: the interface of the kernel is found by what is below it and its number, whatever its name', () => {
  const its: Record<string, { below: string; vlan: number }> = { 'in0.7': { below: 'out0', vlan: 7 }, blue: { below: 'in0', vlan: 7 }, 'in0.9': { below: 'in0', vlan: 9 } }
  const addon = { vlan: (name: string) => its[name] }
  const names = namesOf('Inter-|   Receive  |  Transmit\n face |bytes    packets|bytes    packets\n    lo:     100       1     100       1\n  in0.7: 0\n  blue:1\nin0.9: 0 0\n')
  assert.deepEqual(names, ['lo', 'in0.7', 'blue', 'in0.9'])
  assert.deepEqual([vlanByAddon(addon, names, 'in0', 7), vlanByAddon(addon, names, 'in0', 8), vlanByAddon(addon, names, 'out0', 9)], ['blue', null, null])
  const table = 'VLAN Dev name    | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\nin0.7          | 7  | out0\nblue           | 7  | in0\n'
  assert.deepEqual([vlanInTable(table, 'in0', 7), vlanInTable(table, 'in0', 70), vlanInTable(table, 'out0', 7)], ['blue', null, 'in0.7'])
})
