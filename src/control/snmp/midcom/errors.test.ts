/** Every error-status that a SET of these tables can end in (RFC 3416 4.2.5, RFC 5190 9), and that nothing is left of a SET that failed. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { integer, octets, unsigned32, type Value } from '../mib.ts'
import type { Oid } from '../oid.ts'
import { CONFIG, GROUP_ENTRY, MIDCOM_MIB, RULE_ENTRY, STATISTICS } from './objects.ts'
import { cell, createMibRig, groupCell, index, ip4 } from './testing.ts'

const at = (column: number, rule = 1, owner = 'alice') => cell(column, owner, 7, rule)
const NO_ACCESS = 6, WRONG_TYPE = 7, WRONG_LENGTH = 8, WRONG_VALUE = 10, NO_CREATION = 11, INCONSISTENT_VALUE = 12, NOT_WRITABLE = 17, INCONSISTENT_NAME = 18
const text = (words: string): Value => octets(Buffer.from(words))
const BODY: [number, Value][] = [[7, unsigned32(60)], [12, unsigned32(17)], [16, ip4('10.0.0.5')], [18, unsigned32(5004)], [19, ip4('203.0.113.9')], [10, integer(1)]]

/** Row 1 is enabled, row 2 reserved, row 3 new, row 4 over; 9 is not there. */
async function box() {
  const it = createMibRig()
  await it.make('alice', 7, 1, [...BODY, [4, integer(2)]])
  await it.make('alice', 7, 2, [...BODY, [4, integer(1)]])
  await it.make('alice', 7, 3, [])
  await it.make('alice', 7, 4, [...BODY, [9, integer(99)], [4, integer(1)]])
  await it.make('bob', 7, 1, BODY, 'bob')
  assert.deepEqual([1, 2, 3, 4].map((rule) => it.get(at(5, rule))), [8, 7, 1, 4])
  it.notes()
  return it
}

const CASES: [what: string, varbinds: [Oid, Value][], status: number, index: number][] = [
  ['a row of an owner for whom the agent does not act', [[at(26, 1, 'bob'), unsigned32(5)]], NO_ACCESS, 1],
  ['a row to be made for such an owner', [[at(27, 5, 'bob'), integer(4)]], NO_ACCESS, 1],
  ['a column that is only read', [[at(5), integer(8)]], NOT_WRITABLE, 1],
  ['a column of the index', [[at(1), text('alice')]], NOT_WRITABLE, 1],
  ['a column that is not there', [[at(99), integer(1)]], NOT_WRITABLE, 1],
  ['midcomConfigMaxLifetime, which is read only here', [[[...CONFIG, 1, 0], unsigned32(1)]], NOT_WRITABLE, 1],
  ['a counter', [[[...STATISTICS, 1, 0], unsigned32(1)]], NOT_WRITABLE, 1],
  ['a name of no object', [[[...MIDCOM_MIB, 77], integer(1)]], NOT_WRITABLE, 1],
  ['the entry of the table without a column', [[RULE_ENTRY, integer(1)]], NOT_WRITABLE, 1],
  ['another type', [[at(26), text('abc')]], WRONG_TYPE, 1],
  ['INTEGER in place of Unsigned32', [[at(26), integer(60)]], WRONG_TYPE, 1],
  ['Unsigned32 in place of INTEGER', [[at(4, 3), unsigned32(1)]], WRONG_TYPE, 1],
  ['an address of 256 octets', [[at(16, 3), octets(new Uint8Array(256))]], WRONG_LENGTH, 1],
  ['an action that is none', [[at(4, 3), integer(4)]], WRONG_VALUE, 1],
  ['a protocol above 255', [[at(12, 3), unsigned32(256)]], WRONG_VALUE, 1],
  ['a port of 70000', [[at(18, 3), unsigned32(70_000)]], WRONG_VALUE, 1],
  ['a prefix length above 2040', [[at(17, 3), unsigned32(2041)]], WRONG_VALUE, 1],
  ['an IP version that is none', [[at(14, 3), integer(16)]], WRONG_VALUE, 1],
  ['an external IP version with a zone', [[at(15, 3), integer(3)]], WRONG_VALUE, 1],
  ['a negative interface', [[at(9, 3), integer(-1)]], WRONG_VALUE, 1],
  ['RowStatus notReady', [[at(27), integer(3)]], WRONG_VALUE, 1],
  ['a StorageType that is none', [[at(6), integer(0)]], WRONG_VALUE, 1],
  ['an owner of 33 octets', [[[...RULE_ENTRY, 27, 33, ...Array<number>(33).fill(97), 1, 1], integer(4)]], NO_CREATION, 1],
  ['an owner that is not UTF-8', [[[...RULE_ENTRY, 27, 1, 255, 1, 1], integer(4)]], NO_CREATION, 1],
  ['an octet above 255', [[[...RULE_ENTRY, 27, 1, 256, 1, 1], integer(4)]], NO_CREATION, 1],
  ['group 0', [[cell(27, 'alice', 0, 1), integer(4)]], NO_CREATION, 1],
  ['rule 0', [[cell(27, 'alice', 1, 0), integer(4)]], NO_CREATION, 1],
  ['an index that goes on', [[[...at(27), 1], integer(4)]], NO_CREATION, 1],
  ['an index that stops', [[[...RULE_ENTRY, 27, ...index('alice', 7)], integer(4)]], NO_CREATION, 1],
  ['a row that is not there', [[at(26, 9), unsigned32(60)]], INCONSISTENT_NAME, 1],
  ['a group that is not there', [[groupCell('alice', 9), unsigned32(60)]], INCONSISTENT_NAME, 1],
  ['a group column that is the index', [[[...GROUP_ENTRY, 2, ...index('alice', 7)], unsigned32(60)]], NOT_WRITABLE, 1],
  ['a group lifetime of another type', [[groupCell('alice', 7), integer(60)]], WRONG_TYPE, 1],
  ['notSet', [[at(4, 3), integer(3)]], INCONSISTENT_VALUE, 1],
  ['reserving what is enabled', [[at(4), integer(1)]], INCONSISTENT_VALUE, 1],
  ['asking again in a row that is over', [[at(4, 4), integer(1)]], INCONSISTENT_VALUE, 1],
  ['an address of a rule that is reserved', [[at(16, 2), ip4('10.0.0.6')]], INCONSISTENT_VALUE, 1],
  ['the range of a rule that is reserved', [[at(13, 2), integer(2)]], INCONSISTENT_VALUE, 1],
  ['the peer of a rule that is enabled', [[at(19), ip4('203.0.113.1')]], INCONSISTENT_VALUE, 1],
  ['a lifetime of a row that is over', [[at(26, 4), unsigned32(1)]], INCONSISTENT_VALUE, 1],
  ['StorageType permanent', [[at(6), integer(4)]], INCONSISTENT_VALUE, 1],
  ['StorageType readOnly', [[at(6), integer(5)]], INCONSISTENT_VALUE, 1],
  ['nonVolatile on a box without a journal', [[at(6), integer(3)]], INCONSISTENT_VALUE, 1],
  ['making a row that is there', [[at(27), integer(4)]], INCONSISTENT_VALUE, 1],
  ['active, of a row that is not there', [[at(27, 9), integer(1)]], INCONSISTENT_VALUE, 1],
  ['one instance with two values', [[at(7), unsigned32(1)], [at(7), unsigned32(2)]], INCONSISTENT_VALUE, 2],
  ['destroying and enabling at once', [[at(27, 2), integer(6)], [at(4, 2), integer(2)]], INCONSISTENT_VALUE, 1],
  ['making a row with notSet', [[at(27, 9), integer(5)], [at(4, 9), integer(3)]], INCONSISTENT_VALUE, 2],
  ['three good ones and a bad one', [[at(26), unsigned32(9)], [at(27, 9), integer(4)], [at(27, 2), integer(6)], [at(18, 9), unsigned32(65_536)]], WRONG_VALUE, 4],
  ['a bad one before an access that is refused', [[at(26, 1, 'bob'), unsigned32(9)], [at(18, 3), unsigned32(65_536)]], NO_ACCESS, 1],
]
for (const [what, varbinds, status, position] of CASES) {
  test(`SET of ${what} is refused and changes nothing`, async () => {
    const it = await box()
    const shown = () => it.walk(MIDCOM_MIB).filter(({ name }) => name.join('.') !== [...STATISTICS, 2, 0].join('.')).map(({ name, value }) => [name.join('.'), String(value.value)])
    const before = shown()
    assert.deepEqual(await it.set(varbinds), [status, position])
    assert.deepEqual(shown(), before)
    assert.deepEqual(it.notes(), [])
    const made = [at(27, 9), at(27, 5, 'bob')].map((name) => name.join('.'))
    const creations = varbinds.filter(([name, value]) => made.includes(name.join('.')) && (value.value === 4 || value.value === 5)).length
    assert.equal(it.get([...STATISTICS, 2, 0]), creations, 'midcomTotalRejectedRuleEntries')
  })
}

const EFFECTLESS: [what: string, varbinds: [Oid, Value][]][] = [
  ['reserve of what is reserved', [[at(4, 2), integer(1)]]],
  ['enable of what is enabled', [[at(4), integer(2)]]],
  ['destroy of what is not there', [[at(27, 9), integer(6)]]],
  ['one instance twice with one value', [[at(27), integer(1)], [at(27), integer(1)]]],
]
for (const [what, varbinds] of EFFECTLESS) {
  test(`SET of ${what} is accepted and changes nothing (RFC 5190 midcomRuleAdminStatus, RFC 2579 RowStatus)`, async () => {
    const it = await box()
    const before = it.walk(MIDCOM_MIB)
    assert.deepEqual(await it.set(varbinds), [0, 0])
    assert.deepEqual(it.walk(MIDCOM_MIB), before)
    assert.deepEqual(it.notes(), [])
  })
}

test('RowStatus reads active or notInService and stops no rule (RFC 5190 midcomRuleRowStatus)', async () => {
  const it = await box()
  assert.deepEqual(await it.set([[at(27), integer(2)]]), [0, 0])
  assert.deepEqual([it.get(at(27)), it.get(at(5))], [2, 8])
  assert.deepEqual(await it.set([[at(27), integer(1)]]), [0, 0])
  assert.equal(it.get(at(27)), 1)
})

test('an index of the largest numbers is one like any other', async () => {
  const it = await box()
  assert.deepEqual(await it.set([[cell(27, 'alice', 0xffff_ffff, 0xffff_ffff), integer(4)]]), [0, 0])
  assert.equal(it.get(cell(27, 'alice', 0xffff_ffff, 0xffff_ffff)), 1)
})

test('destroy ends the rule, tells it and takes the row away (RFC 5190 midcomRuleRowStatus)', async () => {
  const it = await box()
  assert.deepEqual(await it.set([[at(27), integer(6)], [at(27, 4), integer(6)]]), [0, 0])
  assert.deepEqual([it.get(at(5)), it.get(at(5, 4))], ['noSuchInstance', 'noSuchInstance'])
  assert.deepEqual(it.notes(), ['solicited 5.97.108.105.99.101.7.1 10 0'])
  assert.equal(it.policy.statistics().enableRules, 0)
})

test('what is asked for in one SET counts as if it were set at once, in whatever order (RFC 3416 4.2.5)', async () => {
  const it = await box()
  const varbinds = [...BODY, [4, integer(2)] as [number, Value], [27, integer(4)] as [number, Value]].map(([column, value]): [Oid, Value] => [at(column, 9), value])
  assert.deepEqual(await it.set(varbinds.reverse()), [0, 0])
  assert.equal(it.get(at(5, 9)), 8)
})
