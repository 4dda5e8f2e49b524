import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Oid } from '../../control/snmp/oid.ts'
import { Vacm, type Views } from '../../control/snmp/vacm.ts'
import { checkConfig } from '../config/load.ts'
import { composeSnmpAccess } from './snmp-access.ts'

const PASSWORDS = 'auth-password: abcdefgh, priv-password: abcdefgh'

function views(text: string, user: string): Views {
  const { config, problems } = checkConfig(text)
  assert.deepEqual(problems, [])
  const found = new Vacm(composeSnmpAccess(config!.midcom)).viewsOf(user, 3, '')
  assert.ok(typeof found !== 'string', String(found))
  return found
}

const MIDCOM: Oid = [1, 3, 6, 1, 2, 1, 171]
const owner = (name: string): Oid => [name.length, ...Buffer.from(name)]
const rule = (name: string, column = 5): Oid => [...MIDCOM, 1, 1, 3, 1, column, ...owner(name), 7, 1]
const group = (name: string): Oid => [...MIDCOM, 1, 1, 4, 1, 3, ...owner(name), 7]
const resource = (name: string): Oid => [...MIDCOM, 1, 3, 1, 1, 4, ...owner(name), 7, 1]
/** r, w, n: in the views of reading, writing, notifications. */
const held = ({ read, write, notify }: Views, name: Oid) => {
  return [read?.contains(name) === true ? 'r' : '', write?.contains(name) === true ? 'w' : '', notify?.contains(name) === true ? 'n' : ''].join('')
}

const TWO = `midcom: {agents: [{name: alice}, {name: bob, acts-for: [carol]}, {name: carol}], snmp: {users: [
  {name: a, agent: alice, ${PASSWORDS}}, {name: b, agent: bob, ${PASSWORDS}}], targets: [{name: ta, address: '127.0.0.1:1', user: a}]}}`

test('access: an agent sees, changes and hears of its own rules, and of nobody else\'s (RFC 5190 10)', () => {
  const its = views(TWO, 'a')
  for (const column of [4, 5, 27]) assert.equal(held(its, rule('alice', column)), 'rwn')
  assert.deepEqual([group('alice'), resource('alice')].map((name) => held(its, name)), ['rwn', 'r'])
  for (const name of [rule('bob'), rule('alic'), rule('alicf'), group('bob'), resource('bob')]) assert.equal(held(its, name), '')
  // The box can be read; what configures MIDCOM cannot be written.
  assert.equal(held(its, [...MIDCOM, 1, 2, 1, 0]), 'r')
  assert.equal(held(its, [1, 3, 6, 1, 2, 1, 1, 3, 0]), 'rn')
  assert.equal(held(its, [...MIDCOM, 0, 1]), 'n')
  assert.equal(held(its, [1, 3, 6, 1, 6, 3, 1, 1, 6, 1, 0]), 'rw')
  assert.equal(held(its, [1, 3, 6, 1, 6, 3, 15, 1, 2, 2, 1, 3]), '', 'no users')
})

test('access: an agent turns the events of its own receiver on and off, and of no other (RFC 5190 7.1)', () => {
  const filter = (column: number, name: string): Oid => [1, 3, 6, 1, 6, 3, 13, 1, 3, 1, column, ...owner(name), ...MIDCOM, 0]
  assert.deepEqual([held(views(TWO, 'a'), filter(3, 'ta')), held(views(TWO, 'a'), filter(4, 'ta')), held(views(TWO, 'b'), filter(3, 'ta'))], ['rw', 'r', ''])
})

test('access: acts-for adds the rules of others, and * everything', () => {
  const its = views(TWO, 'b')
  assert.deepEqual([rule('bob'), rule('carol'), rule('alice')].map((name) => held(its, name)), ['rwn', 'rwn', ''])
  const all = views(`midcom: {agents: [{name: a, acts-for: ['*']}], snmp: {users: [{name: u, agent: a, ${PASSWORDS}}]}}`, 'u')
  assert.deepEqual([rule('x'), [1, 3, 6, 1, 6, 3, 15, 1], [...MIDCOM, 1, 2, 1, 0]].map((name) => held(all, name)), ['rwn', 'rn', 'rn'])
})

test('access: by its group and views a user sees another\'s rules and does not change them, or does not see them', () => {
  const text = (include: string, exclude: string) => `midcom: {agents: [{name: alice}, {name: bob}], snmp: {
    users: [{name: m, agent: alice, group: g, ${PASSWORDS}}], groups: [{name: g, read: v, write: w}],
    views: [{name: v, include: [${include}], exclude: [${exclude}]}, {name: w, include: ['rules-of:alice', 1.3.6.1.2.1.171.1.1.3.1.*.9.9.9]}]}}`
  const sees = views(text('1.3.6.1', ''), 'm')
  assert.deepEqual([rule('alice'), rule('bob'), group('bob')].map((name) => held(sees, name)), ['rw', 'r', 'r'])
  const blind = views(text('1.3.6.1', "'rules-of:bob'"), 'm')
  assert.deepEqual([rule('alice'), rule('bob'), group('bob'), resource('bob')].map((name) => held(blind, name)), ['rw', '', '', ''])
  assert.equal(held(sees, [...MIDCOM, 1, 1, 3, 1, 26, 9, 9, 9, 1]), 'rw', 'a wildcard of its own')
})

test('access: a user whose agent is gone is in no group', () => {
  const { config } = checkConfig(TWO)
  config!.midcom.agents = config!.midcom.agents.filter(({ name }) => name !== 'alice')
  assert.equal(new Vacm(composeSnmpAccess(config!.midcom)).viewsOf('a', 3, ''), 'noGroupName')
})
