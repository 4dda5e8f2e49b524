/** The transactions of RFC 5189 as SETs and GETs of RFC 5190 7, over a real policy core. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { OUTBOUND, UDP, type Verdict } from '../../../policy/api.ts'
import { enableRequest, ok, reserveRequest, tuple } from '../../../policy/testing.ts'
import { integer, octets, unsigned32, type Value } from '../mib.ts'
import type { Oid } from '../oid.ts'
import { CONFIG, GROUP_ENTRY, MIDCOM_MIB, RESOURCE_ENTRY, RULE_ENTRY, STATISTICS } from './objects.ts'
import { MemoryJournal, cell, createMibRig, groupCell, index, ip4, type MibRig } from './testing.ts'

const RESERVE = integer(1), ENABLE = integer(2), NO = 'noSuchInstance'
const RTP: [number, Value][] = [
  [7, unsigned32(60)], [12, unsigned32(17)], [13, integer(2)], [16, ip4('10.0.0.5')], [18, unsigned32(5004)], [26, unsigned32(300)],
]
const PEER: [number, Value][] = [[19, ip4('203.0.113.9')], [21, unsigned32(0)], [10, integer(1)]]

function row(box: MibRig, owner = 'alice', group = 7, rule = 1): Record<number, number | string | null> {
  return Object.fromEntries(Array.from({ length: 24 }, (_, i) => [i + 4, box.get(cell(i + 4, owner, group, rule))]))
}
function gauges(box: MibRig): number[] { return Array.from({ length: 15 }, (_, i) => Number(box.get([...STATISTICS, i + 1, 0]))) }

test('PRR: one SET makes a row and reserves an even pair of ports for A0 (RFC 5190 7.3)', async () => {
  const box = createMibRig()
  assert.deepEqual(await box.make('alice', 7, 1, [...RTP, [4, RESERVE]]), [0, 0])
  const { 24: address, 25: port, ...rest } = row(box)
  assert.match(String(address), /^c000020[12]$/)
  assert.equal(Number(port) % 2, 0)
  assert.deepEqual(rest, {
    4: 1, 5: 7, 6: 2, 7: 60, 8: '', 9: 2, 10: 2, 11: 0, 12: 17, 13: 2, 14: 1, 15: 1, 16: '0a000005', 17: 128, 18: 5004, 19: '', 20: 128, 21: 0,
    22: '', 23: 0, 26: 300, 27: 1,
  })
  assert.deepEqual(box.notes(), ['solicited 5.97.108.105.99.101.7.1 7 300'])
  assert.equal(box.get(groupCell('alice', 7)), 300)
})

test('PER after PRR keeps the row, its ports and what is left of its lifetime (RFC 5190 7.4)', async () => {
  const box = createMibRig()
  await box.make('alice', 7, 1, [...RTP, [4, RESERVE]])
  const before = row(box)
  box.rig.pass(100_000)
  assert.deepEqual(await box.set([...PEER, [4, ENABLE] as [number, Value]].map(([column, value]) => [cell(column, 'alice', 7, 1), value])), [0, 0])
  const after = row(box)
  assert.deepEqual([after[5], after[24], after[25], after[26], after[22], after[23]], [8, before[24], before[25], 200, 'cb007109', 0])
  assert.deepEqual(box.notes(), ['solicited 5.97.108.105.99.101.7.1 7 300', 'solicited 5.97.108.105.99.101.7.1 8 200'])
  assert.equal(box.policy.statistics().rules, 1)
})

test('PER alone, in one SET or in three, comes to the same (RFC 5190 7.5)', async () => {
  const one = createMibRig(), three = createMibRig()
  const columns = [...new Map<number, Value>([...RTP, ...PEER, [26, unsigned32(600)]])]
  await one.make('alice', 9, 1, [...columns, [4, ENABLE]])
  assert.deepEqual(await three.set([[cell(27, 'alice', 9, 1), integer(5)]]), [0, 0])
  assert.deepEqual([three.get(cell(27, 'alice', 9, 1)), three.get(cell(5, 'alice', 9, 1))], [2, 1])
  for (const [column, value] of columns) assert.deepEqual(await three.set([[cell(column, 'alice', 9, 1), value]]), [0, 0])
  assert.equal(three.get(cell(5, 'alice', 9, 1)), 2)
  await three.set([[cell(4, 'alice', 9, 1), ENABLE]])
  assert.equal(one.get(cell(5, 'alice', 9, 1)), 8)
  assert.deepEqual({ ...row(three, 'alice', 9), 27: 1 }, row(one, 'alice', 9))
})

test('RLC and ARE: lifetimes change and end, and rows stay as long as their StorageTime says (RFC 5190 7.6, 7.9)', async () => {
  const box = createMibRig()
  await box.make('alice', 7, 1, [...RTP, ...PEER, [4, ENABLE]])
  await box.make('alice', 7, 2, [...RTP.filter(([column]) => column !== 7), ...PEER, [4, ENABLE]])
  box.notes()
  await box.set([[cell(26, 'alice', 7, 1), unsigned32(9_999_999)]])
  assert.equal(box.get(cell(26, 'alice', 7, 1)), 3600, 'no more than midcomConfigMaxLifetime')
  await box.set([[cell(26, 'alice', 7, 1), unsigned32(0)]])
  assert.deepEqual([5, 26, 7].map((column) => box.get(cell(column, 'alice', 7, 1))), [10, 0, 60])
  assert.deepEqual(await box.set([[cell(26, 'alice', 7, 1), unsigned32(5)]]), [12, 1], 'what is over stays so')
  box.rig.pass(59_000)
  assert.equal(box.get(cell(7, 'alice', 7, 1)), 1)
  box.rig.pass(1000)
  assert.equal(box.get(cell(5, 'alice', 7, 1)), NO)
  box.rig.pass(240_000)
  assert.equal(box.get(cell(5, 'alice', 7, 2)), NO, 'with StorageTime 0 it goes at once')
  assert.deepEqual(box.notes(), [
    'solicited 5.97.108.105.99.101.7.1 8 3600', 'solicited 5.97.108.105.99.101.7.1 10 0', 'unsolicited 5.97.108.105.99.101.7.2 9 0',
  ])
})

test('GLC, GL and GS: a group has the lifetime of its longest member, and gives one to all (RFC 5190 7.10)', async () => {
  const box = createMibRig()
  await box.make('alice', 7, 1, [...RTP, ...PEER, [4, ENABLE]])
  await box.make('alice', 7, 2, [...new Map<number, Value>([...RTP, ...PEER, [26, unsigned32(500)], [4, ENABLE]])])
  await box.make('alice', 7, 3, RTP)
  box.notes()
  assert.equal(box.get(groupCell('alice', 7)), 500)
  assert.deepEqual(await box.set([[groupCell('alice', 7), unsigned32(900)]]), [0, 0])
  assert.deepEqual([1, 2, 3].map((rule) => box.get(cell(26, 'alice', 7, rule))), [900, 900, 300])
  await box.set([[groupCell('alice', 7), unsigned32(0)]])
  assert.deepEqual([1, 2, 3].map((rule) => box.get(cell(5, 'alice', 7, rule))), [10, 10, 2])
  assert.deepEqual(box.notes(), ['group 5.97.108.105.99.101.7 900', 'group 5.97.108.105.99.101.7 0'])
  assert.equal(box.get(groupCell('alice', 7)), 0)
  assert.equal(box.policy.statistics().rules, 0)
  await box.set([[groupCell('alice', 7), unsigned32(5)]])
  assert.deepEqual(box.notes(), ['group 5.97.108.105.99.101.7 0'], 'a group without live rules has no lifetime')
  assert.deepEqual(await box.set([[groupCell('alice', 8), unsigned32(5)]]), [18, 1])
})

test('a PER that fails leaves the reservation as it was, and says why (RFC 5189 2.3.9)', async () => {
  const box = createMibRig()
  await box.make('alice', 7, 1, [...RTP, [4, RESERVE]])
  const before = row(box)
  box.notes()
  assert.deepEqual(await box.set([[cell(19, 'alice', 7, 1), ip4('224.0.0.1')], [cell(4, 'alice', 7, 1), ENABLE]]), [0, 0])
  assert.deepEqual({ ...row(box), 8: '', 4: 1, 19: '' }, before)
  assert.equal(Buffer.from(String(box.get(cell(8, 'alice', 7, 1))), 'hex').toString(), 'IP address cannot be an endpoint here')
  assert.deepEqual(box.notes(), ['solicited 5.97.108.105.99.101.7.1 7 300'])
  await box.set([...PEER, [4, ENABLE] as [number, Value]].map(([column, value]) => [cell(column, 'alice', 7, 1), value]))
  assert.deepEqual([box.get(cell(5, 'alice', 7, 1)), box.get(cell(8, 'alice', 7, 1))], [8, ''], 'a new attempt resets midcomRuleError')
})

const WRONG: [what: string, columns: [number, Value][], action: Value, state: number, text: string][] = [
  ['an address of another version', [[14, integer(2)]], ENABLE, 4, 'internal IP address does not fit its version'],
  ['ipv4z', [[14, integer(3)], [16, octets(new Uint8Array(8))]], ENABLE, 4, 'internal IP version not supported'],
  ['no internal address at all', [[16, octets(new Uint8Array(0))]], RESERVE, 4, 'internal IP address does not fit its version'],
  ['an odd port of a pair', [[18, unsigned32(5005)]], ENABLE, 4, 'internal port of a pair must be even'],
  ['an odd external port of a pair', [[21, unsigned32(5005)]], ENABLE, 4, 'external port of a pair must be even'],
  ['a port of a protocol without', [[12, unsigned32(47)]], ENABLE, 4, 'internal port given, but the protocol has none'],
  ['no lifetime', [[26, unsigned32(0)]], RESERVE, 4, 'no lifetime requested'],
  ['an interface that is not there', [[9, integer(99)]], RESERVE, 4, 'specified NAT interface does not exist'],
  ['the interface that does not translate', [[9, integer(1)]], ENABLE, 4, 'specified NAT interface does not support NAT'],
  ['a wildcard for a reservation', [[17, unsigned32(8)]], RESERVE, 4, 'no internal IP wildcarding allowed'],
  ['an outside host as internal one', [[16, ip4('198.51.100.1')]], ENABLE, 4, 'IP address cannot be an endpoint here'],
  ['another IP version outside', [[15, integer(2)], [19, octets(new Uint8Array(16).fill(9))]], ENABLE, 4, 'no translation between IP versions'],
  ['both ends open', [[17, unsigned32(0)], [20, unsigned32(0)]], ENABLE, 4, 'no external IP wildcarding allowed'],
]
for (const [what, columns, action, state, text] of WRONG) {
  test(`a request with ${what} ends in a state, not in an error of SNMP: ${text} (RFC 5190 midcomRuleError)`, async () => {
    const box = createMibRig()
    const all = new Map<number, Value>([...RTP, ...PEER, ...columns, [4, action]])
    assert.deepEqual(await box.make('alice', 7, 1, [...all]), [0, 0])
    assert.deepEqual([box.get(cell(5, 'alice', 7, 1)), Buffer.from(String(box.get(cell(8, 'alice', 7, 1))), 'hex').toString()], [state, text])
    assert.deepEqual(box.notes(), [`solicited 5.97.108.105.99.101.7.1 ${state} 0`])
    assert.deepEqual(await box.set([[cell(4, 'alice', 7, 1), ENABLE]]), [12, 1], 'there is no second attempt in that row')
    box.rig.pass(60_000)
    assert.equal(box.get(cell(5, 'alice', 7, 1)), NO)
    assert.equal(gauges(box)[action === RESERVE ? 3 : 9], 1)
  })
}

test('a request that the box has nothing for is rejected (RFC 5190 requestRejected)', async () => {
  const box = createMibRig({ portHigh: 40_001, pool: [0xc0000201 | 0] })
  await box.make('alice', 1, 1, [...RTP, [4, RESERVE]])
  await box.make('alice', 1, 2, [...RTP.filter(([column]) => column !== 18), [18, unsigned32(6000)], [4, RESERVE]])
  assert.deepEqual([box.get(cell(5, 'alice', 1, 2)), Buffer.from(String(box.get(cell(8, 'alice', 1, 2))), 'hex').toString()], [6, 'lack of port numbers'])
  assert.deepEqual(gauges(box).slice(3, 9), [0, 1, 1, 0, 0, 0])
})

test('rules of other doors have rows of their own, with all their columns, and managers change them (RFC 5190 5)', async () => {
  const box = createMibRig()
  const simco = box.rig.open('bob')
  const { rule, group } = ok(simco.enable(enableRequest({ internal: tuple('10.0.0.1', 5000, 4), external: tuple('198.51.100.1', 6000, 4) })))
  const [first] = box.walk([...RULE_ENTRY, 5])
  assert.deepEqual(first!.name.slice(-2), [0x8000_0000 + group, 0x8000_0000 + rule])
  const at = (column: number) => cell(column, 'bob', 0x8000_0000 + group, 0x8000_0000 + rule)
  assert.deepEqual([4, 5, 6, 10, 12, 13, 16, 18, 19, 21, 26].map((column) => box.get(at(column))), [2, 8, 2, 1, 17, 2, '0a000001', 5000, 'c6336401', 6000, 60])
  assert.deepEqual(await box.set([[at(26), unsigned32(30)]], 'alice'), [6, 1], 'but not everybody')
  assert.deepEqual(await box.set([[at(26), unsigned32(30)], [at(7), unsigned32(100)]], 'bob'), [0, 0])
  assert.equal(box.rig.events.at(-1), `bob: rule ${rule} 30 agent`)
  box.notes()
  ok(simco.changeLifetime(rule, 20))
  ok(simco.changeLifetime(rule, 0))
  assert.equal(box.get(at(5)), 10)
  assert.deepEqual(box.notes().map((note) => note.split(' ').slice(0, 1).concat(note.split(' ').slice(2))), [['unsolicited', '8', '20'], ['unsolicited', '10', '0']])
})

test('a reservation of a manager that another door enables is the same row (RFC 4540 PEA)', async () => {
  const box = createMibRig()
  await box.make('alice', 7, 1, [...RTP, [4, RESERVE]])
  const simco = box.rig.open('alice')
  ok(simco.enable(enableRequest({ reservation: 1, internal: tuple('10.0.0.5', 5004, 2), external: tuple('198.51.100.1', 6000, 2) })))
  assert.deepEqual([5, 19, 21, 26, 4].map((column) => box.get(cell(column, 'alice', 7, 1))), [8, 'c6336401', 6000, 60, 1])
  ok(simco.reserve(reserveRequest({ group: 1 })))
  assert.equal(box.walk([...RULE_ENTRY, 5]).length, 2)
  assert.deepEqual(box.walk([...GROUP_ENTRY, 3]).map(({ name }) => name.at(-1)), [7], 'a rule that joins the group joins it here')
})

test('a supervisor makes rules in the name of another owner, and they are that owner\'s (RFC 5189 2.1.5)', async () => {
  const box = createMibRig()
  assert.deepEqual(await box.make('alice', 1, 1, [...RTP, ...PEER, [4, ENABLE]], 'root'), [0, 0])
  assert.equal(box.policy.book.describe(1)?.owner, 'alice')
  assert.deepEqual(await box.make('alice', 1, 2, [...RTP, [4, RESERVE]], 'bob'), [6, 1])
  assert.deepEqual(await box.set([[cell(26, 'alice', 1, 1), unsigned32(1)]], null), [6, 1], 'who is no agent changes nothing')
})

test('a rule that a disable rule ends is terminated (RFC 4540 8.8)', async () => {
  const box = createMibRig()
  await box.make('alice', 7, 1, [...RTP, ...PEER, [4, ENABLE]])
  box.notes()
  ok(box.rig.open('root').disable({ internal: tuple('10.0.0.5', 0), external: tuple('203.0.113.9', 0), lifetimeSec: 10 }))
  assert.equal(box.get(cell(5, 'alice', 7, 1)), 11)
  assert.deepEqual(box.notes(), ['unsolicited 5.97.108.105.99.101.7.1 11 0'])
  assert.deepEqual(gauges(box).slice(9), [0, 0, 0, 0, 0, 1])
})

test('MaxIdleTime ends a rule that nothing uses (RFC 5190 midcomRuleMaxIdleTime)', async () => {
  const box = createMibRig()
  await box.make('alice', 7, 1, [...RTP, ...PEER, [11, unsigned32(10)], [4, ENABLE]])
  box.rig.pass(10_000)
  assert.equal(box.get(cell(5, 'alice', 7, 1)), 9)
})

test('an authorizer that takes its time keeps the row in checkingRequest, and nobody touches it (RFC 5190 midcomRuleOperStatus)', async () => {
  let answer: (verdict: Verdict) => void = () => {}
  const box = createMibRig({ authorizer: {
    decide: (question) => question.kind === 'session' || question.kind === 'read' ? { permit: true } : new Promise((resolve) => { answer = resolve }),
    mayAccess: (agent, owner) => agent === owner,
  } })
  const set = box.make('alice', 7, 1, [...RTP, ...PEER, [4, ENABLE]])
  assert.equal(box.get(cell(5, 'alice', 7, 1)), 3)
  assert.deepEqual(await box.set([[cell(26, 'alice', 7, 1), unsigned32(1)]]), [12, 1])
  answer({ permit: true, maxLifetimeSec: 50 })
  assert.deepEqual(await set, [0, 0])
  assert.deepEqual([box.get(cell(5, 'alice', 7, 1)), box.get(cell(26, 'alice', 7, 1))], [8, 50])
  const end = box.set([[cell(26, 'alice', 7, 1), unsigned32(0)]])
  answer({ permit: false })
  assert.deepEqual(await end, [14, 0])
  assert.equal(box.get(cell(5, 'alice', 7, 1)), 8)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(box.notes(), ['solicited 5.97.108.105.99.101.7.1 8 50'])
  const gone = box.set([[cell(27, 'alice', 7, 1), integer(6)]])
  box.rig.pass(50_000)
  answer({ permit: true })
  assert.deepEqual(await gone, [14, 0], 'it ended before the authorizer had made up its mind')
  assert.equal(box.get(cell(5, 'alice', 7, 1)), 9)
})

test('SETs of an agent that come before the authorizer lets it in share one session (RFC 5189 2.2.1)', async () => {
  const answers: ((verdict: Verdict) => void)[] = []
  const box = createMibRig({ limits: { sessions: 2 }, authorizer: {
    decide: ({ kind }) => kind === 'session' ? new Promise((resolve) => { answers.push(resolve) }) : { permit: true },
    mayAccess: (agent, owner) => agent === owner,
  } })
  const sets = [1, 2, 3, 4, 5].map((rule) => box.make('alice', 7, rule, [...RTP, ...PEER, [4, ENABLE]]))
  assert.equal(answers.length, 1)
  answers[0]!({ permit: true })
  assert.deepEqual(await Promise.all(sets), [1, 2, 3, 4, 5].map(() => [0, 0]))
  assert.equal(box.policy.statistics().sessions, 1)
  // Who is refused may ask again.
  const refused = box.make('alice', 8, 1, RTP, 'bob')
  assert.deepEqual(await refused, [6, 1])
})

test('an agent that may not ask is told in the row, and one without a session by noAccess', async () => {
  const box = createMibRig({ authorizer: {
    decide: ({ kind, agent }) => ({ permit: agent !== 'mallory' && kind !== 'enable' }), mayAccess: (agent, owner) => agent === owner,
  } })
  await box.make('alice', 7, 1, [...RTP, ...PEER, [4, ENABLE]])
  assert.deepEqual([box.get(cell(5, 'alice', 7, 1)), Buffer.from(String(box.get(cell(8, 'alice', 7, 1))), 'hex').toString()], [6, 'agent not authorized for this transaction'])
  assert.deepEqual(await box.make('mallory', 7, 1, [...RTP, [4, RESERVE]]), [6, 1])
  assert.equal(box.get(cell(5, 'mallory', 7, 1)), NO)
})

test('midcomConfig says what the box can do (RFC 5190 7.1)', () => {
  const box = createMibRig()
  assert.deepEqual(box.walk(CONFIG).map(({ name }) => name.slice(CONFIG.length).join('.')), ['1.0', '2.0', '3.1.2.1', '3.1.2.2', '3.1.3.1', '3.1.3.2', '4.1.2.0', '4.1.3.0'])
  assert.equal(box.get([...CONFIG, 1, 0]), 3600)
  assert.equal(box.get([...CONFIG, 2, 0]), 2)
  assert.deepEqual([box.get([...CONFIG, 3, 1, 2, 1]), box.get([...CONFIG, 3, 1, 2, 2])], ['fe40', 'fe00'])
  assert.equal(createMibRig({ journal: new MemoryJournal() }).get([...CONFIG, 2, 0]), 1)
})

test('midcomResourceTable names the bindings of NAT-MIB that a rule holds; rules that share one show the same (RFC 5190 5.3.1)', async () => {
  const box = createMibRig()
  await box.make('alice', 7, 1, [...RTP, ...PEER, [4, ENABLE]])
  await box.make('alice', 7, 2, [...RTP, ...PEER.filter(([column]) => column !== 19), [19, ip4('203.0.113.10')], [4, ENABLE]])
  await box.make('alice', 7, 3, RTP)
  const of = (rule: number) => [4, 5, 6, 7, 8, 9, 10].map((column) => box.get([...RESOURCE_ENTRY, column, ...index('alice', 7, rule)]))
  const [mode, id, ...rest] = of(1)
  assert.equal(mode, 2)
  assert.deepEqual(of(2).slice(0, 2), [mode, id])
  assert.deepEqual(rest, [3, 0, 0, 0, 1])
  assert.deepEqual(of(3), [3, 0, 3, 0, 0, 0, 0])
})

test('a walk meets every instance once and in order, and ends (RFC 3416 4.2.2)', async () => {
  const box = createMibRig()
  for (const [owner, group, rule] of [['b', 1, 1], ['aa', 2, 5], ['aa', 2, 4], ['aa', 1, 9], ['a', 4294967295, 4294967295], ['', 1, 1], ['zz', 3, 1]] as const) {
    assert.deepEqual(await box.make(owner, group, rule, RTP, 'root'), [0, 0], owner)
  }
  const names = box.walk(MIDCOM_MIB).map(({ name }) => name)
  for (let i = 1; i < names.length; i++) {
    const [a, b] = [names[i - 1]!, names[i]!]
    const at = a.findIndex((subId, j) => subId !== b[j])
    assert.ok(at < 0 ? a.length < b.length : a[at]! < (b[at] ?? -1), `${a.join('.')} ${b.join('.')}`)
  }
  assert.equal(names.length, 7 * 24 + 6 + 8 + 7 * 7 + 15)
  assert.deepEqual(box.walk([...RULE_ENTRY, 5]).map(({ name }) => name.slice(RULE_ENTRY.length + 1).join('.')), [
    '0.1.1', '1.97.4294967295.4294967295', '1.98.1.1', '2.97.97.1.9', '2.97.97.2.4', '2.97.97.2.5', '2.122.122.3.1',
  ])
  for (const name of names) assert.notEqual(box.get(name), NO, name.join('.'))
})

test('incomplete rows are bounded, in all and by owner, and rows that are over make room (RFC 3416 resourceUnavailable)', async () => {
  const box = createMibRig({ idleRows: 6, idleRowsPerOwner: 4 })
  for (let rule = 1; rule <= 4; rule++) assert.deepEqual(await box.make('alice', 1, rule, RTP), [0, 0])
  assert.deepEqual(await box.make('alice', 1, 5, RTP), [13, 1])
  assert.deepEqual(await box.make('bob', 1, 1, [...RTP, [9, integer(99)], [4, RESERVE]]), [0, 0])
  assert.deepEqual(await box.make('bob', 1, 2, RTP), [0, 0])
  assert.equal(box.get(cell(5, 'bob', 1, 1)), 4)
  assert.deepEqual(await box.make('carol', 1, 1, RTP), [0, 0])
  assert.equal(box.get(cell(5, 'bob', 1, 1)), NO, 'what is only there to be read goes first')
  assert.deepEqual(await box.make('carol', 1, 2, RTP), [13, 1])
  assert.deepEqual(gauges(box).slice(0, 3), [3, 2, 6])
})

test('rows of one SET need room each with its own owner, and none is made beyond it (RFC 3416 resourceUnavailable)', async () => {
  const box = createMibRig({ idleRows: 4, idleRowsPerOwner: 2 })
  const rows = (...names: [string, number][]): [Oid, Value][] => names.map(([owner, rule]) => [cell(27, owner, 1, rule), integer(4)])
  assert.deepEqual(await box.set(rows(['alice', 1], ['bob', 1], ['alice', 2], ['bob', 2]), 'root'), [0, 0], 'two an owner, four in all')
  assert.deepEqual(await box.set(rows(['carol', 1]), 'root'), [13, 1])
  for (const owner of ['alice', 'bob']) await box.set([[cell(27, owner, 1, 1), integer(6)]], owner)
  assert.deepEqual(await box.set(rows(['alice', 3], ['bob', 3], ['bob', 4]), 'root'), [13, 3], 'which row finds none')
  assert.deepEqual(await box.set(rows(['alice', 3], ['bob', 3]), 'root'), [0, 0])
  // One that is over gives way to one, and not to two.
  await box.set([[cell(27, 'bob', 1, 3), integer(6)], [cell(7, 'alice', 1, 3), unsigned32(60)], [cell(9, 'alice', 1, 3), integer(99)], [cell(4, 'alice', 1, 3), RESERVE]], 'root')
  assert.equal(box.get(cell(5, 'alice', 1, 3)), 4)
  assert.deepEqual(await box.set(rows(['carol', 1], ['carol', 2], ['bob', 5]), 'root'), [13, 3])
  assert.equal(box.get(cell(5, 'alice', 1, 3)), 4)
  assert.deepEqual(await box.set(rows(['alice', 4], ['carol', 1]), 'root'), [0, 0])
  assert.equal(box.get(cell(5, 'alice', 1, 3)), NO, 'the owner\'s own')
  assert.equal(box.walk([...RULE_ENTRY, 5]).length, 4)
})

test('names and room are taken while the authorizer makes up its mind, and given back if it refuses (RFC 3416 4.2.5)', async () => {
  const answers: ((verdict: Verdict) => void)[] = []
  const box = createMibRig({ idleRows: 3, idleRowsPerOwner: 2, authorizer: {
    decide: ({ kind }) => kind === 'session' ? new Promise((resolve) => { answers.push(resolve) }) : { permit: true },
    mayAccess: (agent, owner) => agent === owner,
  } })
  const set = box.make('alice', 7, 1, [...RTP, [4, RESERVE]])
  assert.deepEqual(await box.make('alice', 7, 1, RTP), [12, 1], 'it is being made')
  assert.deepEqual(await box.set([[cell(26, 'alice', 7, 1), unsigned32(9)]]), [12, 1])
  const second = box.make('alice', 7, 2, [...RTP, [4, RESERVE]])
  assert.deepEqual(await box.make('alice', 7, 3, RTP), [13, 1])
  answers[0]!({ permit: false })
  assert.deepEqual([await set, await second], [[14, 0], [14, 0]])
  assert.equal(box.walk([...RULE_ENTRY, 5]).length, 0)
  assert.equal(box.get([...STATISTICS, 2, 0]), 3, 'midcomTotalRejectedRuleEntries')
  assert.deepEqual(await box.make('alice', 7, 3, RTP), [0, 0])
})

test('an owner whose name does not fit into an index has no rows (RFC 5190 midcomRuleOwner)', () => {
  const box = createMibRig()
  ok(box.rig.open('x'.repeat(33)).enable(enableRequest()))
  ok(box.rig.open('x'.repeat(32)).enable(enableRequest({ external: tuple('198.51.100.3', 1) })))
  assert.equal(box.walk([...RULE_ENTRY, 5]).length, 1)
  assert.deepEqual([OUTBOUND, UDP], [2, 17])
})

test('rows that are nonVolatile come back with ports, lifetimes and all columns, volatile ones do not (RFC 5190 midcomRuleStorageType)', async () => {
  const journal = new MemoryJournal()
  const before = createMibRig({ journal })
  await before.make('alice', 7, 1, [...RTP, [6, integer(3)], [4, RESERVE]])
  await before.make('alice', 7, 2, [...RTP, ...PEER, [6, integer(3)], [4, ENABLE]])
  await before.make('alice', 7, 3, [...RTP, ...PEER, [4, ENABLE]])
  await before.make('alice', 8, 1, [[6, integer(3)], [16, ip4('10.0.0.9')]])
  await before.make('alice', 8, 2, [[6, integer(3)], [7, unsigned32(1000)], [9, integer(99)], [4, ENABLE]])
  await before.make('alice', 8, 3, [...new Map<number, Value>([...RTP, ...PEER, [26, unsigned32(5)], [6, integer(3)], [4, ENABLE]])])
  const [first, second, incomplete, wrong] = [row(before), row(before, 'alice', 7, 2), row(before, 'alice', 8, 1), row(before, 'alice', 8, 2)]
  // The box is down for ten seconds.
  const after = createMibRig({ journal: new MemoryJournal(journal.entries), wallMs: 1.7e12 + 10_000, startMs: 7 })
  assert.deepEqual([row(after), row(after, 'alice', 7, 2), row(after, 'alice', 8, 1), row(after, 'alice', 8, 2)], [
    { ...first, 26: 290 }, { ...second, 26: 290 }, incomplete, { ...wrong, 7: 990 },
  ])
  assert.equal(after.get(cell(5, 'alice', 7, 3)), NO)
  assert.equal(after.get(cell(5, 'alice', 8, 3)), 9, 'it would have ended while the box was down')
  assert.equal(after.get(cell(7, 'alice', 8, 3)), 55)
  assert.equal(after.policy.statistics().enableRules, 1)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(after.notes(), ['unsolicited 5.97.108.105.99.101.8.3 9 0'])
})

test('what is destroyed or made volatile leaves the journal, and a lifetime that another door changes is kept', async () => {
  const journal = new MemoryJournal()
  const box = createMibRig({ journal })
  for (const rule of [1, 2, 3]) await box.make('alice', 7, rule, [...RTP, [6, integer(3)], [4, RESERVE]])
  assert.equal(journal.entries.size, 3)
  await box.set([[cell(27, 'alice', 7, 1), integer(6)]])
  await box.set([[cell(6, 'alice', 7, 2), integer(2)]])
  assert.equal(journal.entries.size, 1)
  ok(box.rig.open('alice').changeLifetime(3, 1234))
  const [text] = [...journal.entries.values()]
  assert.equal((JSON.parse(text!) as { endsAtMs: number }).endsAtMs, 1.7e12 + 1_234_000)
  box.rig.pass(1_234_000)
  box.get(cell(5, 'alice', 7, 3))
  assert.equal((JSON.parse([...journal.entries.values()][0]!) as { row: { operStatus: number } }).row.operStatus, 9)
  box.rig.pass(60_000)
  box.get(cell(5, 'alice', 7, 3))
  assert.equal(journal.entries.size, 0)
})

test('an answer waits for the journal, and is undoFailed if that cannot be written: the rule stands, and rows are volatile from then on', async () => {
  const journal = new MemoryJournal()
  const box = createMibRig({ journal })
  journal.isStuck = true
  let isAnswered = false
  const set = box.make('alice', 7, 1, [...RTP, [6, integer(3)], [4, RESERVE]]).then((answer) => { isAnswered = true; return answer })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(isAnswered, false)
  journal.release()
  assert.deepEqual(await set, [0, 0])
  journal.isStuck = false
  journal.isBroken = true
  assert.deepEqual(await box.make('alice', 7, 2, [...RTP, [6, integer(3)], [4, RESERVE]]), [15, 0])
  assert.equal(box.get(cell(5, 'alice', 7, 2)), 7)
  assert.equal(box.get(cell(6, 'alice', 7, 2)), 2)
  assert.equal(box.get([...CONFIG, 2, 0]), 2)
  assert.deepEqual(await box.set([[cell(6, 'alice', 7, 2), integer(3)]]), [12, 1])
  assert.equal(box.logged.length, 1)
})

test('while the journal is broken only rows that are on disk as they are say nonVolatile (RFC 2579 StorageType); later it is made true again', async () => {
  const journal = new MemoryJournal()
  const box = createMibRig({ journal })
  for (const rule of [1, 2, 3, 4]) await box.make('alice', 7, rule, [...RTP, [6, integer(3)], [4, RESERVE]])
  const types = () => [1, 2, 3, 4].map((rule) => box.get(cell(6, 'alice', 7, rule)))
  journal.isBroken = true
  assert.deepEqual(await box.set([[cell(27, 'alice', 7, 1), integer(6)]]), [15, 0])
  assert.deepEqual(await box.set([[cell(26, 'alice', 7, 2), unsigned32(60)]]), [15, 0])
  assert.deepEqual(await box.set([[cell(26, 'alice', 7, 2), unsigned32(50)]]), [0, 0], 'it is volatile: nothing is to be kept')
  ok(box.rig.open('alice').changeLifetime(3, 1234))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(types(), [NO, 2, 2, 3])
  assert.deepEqual(await box.set([[cell(27, 'alice', 7, 2), integer(6)]]), [15, 0], 'the disk holds it, and may bring it back')
  assert.deepEqual(await box.make('alice', 7, 5, [...RTP, [6, integer(3)]]), [12, 8], 'nonVolatile cannot be promised now')
  assert.equal(journal.entries.size, 4)
  const { writes } = journal
  journal.isBroken = false
  box.get(cell(5, 'alice', 7, 4))
  assert.equal(journal.writes, writes, 'not at every question')
  box.rig.pass(10_000)
  box.get(cell(5, 'alice', 7, 4))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([...journal.entries.keys()], ['5.97.108.105.99.101.7.4'], 'what is gone or volatile does not come back')
  assert.deepEqual([box.get([...CONFIG, 2, 0]), ...types()], [1, NO, NO, 2, 3], 'who wants a row kept says so again')
  assert.deepEqual(await box.set([[cell(6, 'alice', 7, 3), integer(3)]]), [0, 0])
  assert.equal(journal.entries.size, 2)
  assert.deepEqual(box.logged.map((line) => line.replace(/:[^:]*$/, '')), [
    'midcom: the journal cannot be written, rows that change are volatile from now on', 'midcom',
  ])
})

test('a row that is kept again in the SET that finds the journal whole is on disk as it is then', async () => {
  const journal = new MemoryJournal()
  const box = createMibRig({ journal })
  for (const rule of [1, 2]) await box.make('alice', 7, rule, [...RTP, [6, integer(3)], [4, RESERVE]])
  journal.isBroken = true
  await box.set([[cell(27, 'alice', 7, 1), integer(6)]])
  journal.isBroken = false
  assert.deepEqual(await box.set([[cell(26, 'alice', 7, 2), unsigned32(70)]]), [0, 0], 'a change tries the journal at once')
  assert.deepEqual(await box.make('alice', 7, 1, [...RTP, [6, integer(3)]]), [0, 0])
  const states = [...journal.entries.values()].map((text) => (JSON.parse(text) as { row: { operStatus: number } }).row.operStatus)
  assert.deepEqual(states, [7, 2])
})

test('one SET is one write of the journal, whatever it touches', async () => {
  const journal = new MemoryJournal()
  const box = createMibRig({ journal })
  for (const rule of [1, 2]) await box.make('alice', 7, rule, [...RTP, [6, integer(3)], [9, integer(99)], [4, RESERVE]])
  const { writes } = journal
  await box.set([
    [cell(7, 'alice', 7, 1), unsigned32(0)], [cell(27, 'alice', 7, 2), integer(6)], [cell(27, 'alice', 7, 3), integer(4)],
    [cell(6, 'alice', 7, 3), integer(3)], [cell(16, 'alice', 7, 3), ip4('10.0.0.3')], [cell(4, 'alice', 7, 3), RESERVE],
  ])
  assert.deepEqual([journal.writes - writes, journal.entries.size], [1, 1], 'two are gone, one is new')
})

test('entries of another kind stay in the journal, and are told', () => {
  const entries = new Map([['5.97.108.105.99.101.7.1', '{"version":9}'], ['x', 'y']])
  const journal = new MemoryJournal(entries)
  const box = createMibRig({ journal })
  assert.equal(box.logged.length, 2)
  assert.equal(journal.entries.size, 2)
})
