/**
 * midcomRuleRowStatus by the table of RFC 2579 (RowStatus): each state of a row, and each value, wrong ones among them. RFC 5190
 * gives every column a default, so no row is ever notReady; and RowStatus neither starts nor stops a rule, nor does it keep other
 * columns from being written.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import {
  counter32, counter64, integer, IP_ADDRESS, NO_SUCH_INSTANCE, NULL_VALUE, objectId, octets, OPAQUE, text, timeTicks, unsigned32, type Value,
} from '../mib.ts'
import type { Oid } from '../oid.ts'
import { MIDCOM_MIB, STATISTICS } from './objects.ts'
import { cell, createMibRig, ip4, type MibRig } from './testing.ts'

const at = (column: number, rule = 1, owner = 'alice'): Oid => cell(column, owner, 7, rule)
/* Columns. */
const ADMIN = 4, OPER = 5, STORAGE_TIME = 7, PROTOCOL = 12, LIFETIME = 26, STATUS = 27
/* error-status (RFC 3416 3). */
const NO_ERROR = 0, WRONG_TYPE = 7, WRONG_VALUE = 10, INCONSISTENT_VALUE = 12, INCONSISTENT_NAME = 18
const GONE = 'noSuchInstance'
/* RowStatus. */
const ACTIVE = 1, NOT_IN_SERVICE = 2, NOT_READY = 3, CREATE_AND_GO = 4, CREATE_AND_WAIT = 5, DESTROY = 6

const REQUEST: [number, Value][] = [
  [STORAGE_TIME, unsigned32(60)], [PROTOCOL, unsigned32(17)], [16, ip4('10.0.0.5')], [18, unsigned32(5004)], [19, ip4('203.0.113.9')], [10, integer(1)],
]
const FAILING: [number, Value][] = [...REQUEST, [9, integer(99)]]

/** How a row gets to where it stands: made by `create`, with these columns; then, if it was, with the other status. */
interface State { name: string; status: number | null; create: number; columns: [number, Value][]; oper: number }
const state = (name: string, status: number | null, create = 0, oper = 0, columns: [number, Value][] = []): State => ({ name, status, create, columns, oper })
const STATES: State[] = [
  state('A: does not exist', null),
  state('C: notInService, new', NOT_IN_SERVICE, CREATE_AND_WAIT, 1), state('C: notInService, set', NOT_IN_SERVICE, CREATE_AND_WAIT, 2, REQUEST),
  state('C: notInService, reserved', NOT_IN_SERVICE, CREATE_AND_WAIT, 7, [...REQUEST, [ADMIN, integer(1)]]),
  state('C: notInService, enabled', NOT_IN_SERVICE, CREATE_AND_WAIT, 8, [...REQUEST, [ADMIN, integer(2)]]),
  state('C: notInService, over', NOT_IN_SERVICE, CREATE_AND_WAIT, 4, [...FAILING, [ADMIN, integer(2)]]),
  state('D: active, new', ACTIVE, CREATE_AND_GO, 1), state('D: active, set', ACTIVE, CREATE_AND_GO, 2, REQUEST),
  state('D: active, reserved', ACTIVE, CREATE_AND_GO, 7, [...REQUEST, [ADMIN, integer(1)]]),
  state('D: active, enabled', ACTIVE, CREATE_AND_GO, 8, [...REQUEST, [ADMIN, integer(2)]]),
  state('D: active, over', ACTIVE, CREATE_AND_GO, 4, [...FAILING, [ADMIN, integer(2)]]),
]

async function rowIn({ status, create, columns, oper }: State): Promise<MibRig> {
  const it = createMibRig()
  // A neighbour, so that owner and group are there in every state.
  await it.make('alice', 7, 2, [])
  if (status !== null) {
    assert.deepEqual(await it.set([[at(STATUS), integer(create)], ...columns.map(([column, value]): [Oid, Value] => [at(column), value])]), [NO_ERROR, 0])
    assert.deepEqual([it.get(at(STATUS)), it.get(at(OPER))], [status, oper])
  }
  it.notes()
  return it
}

/** The table of RFC 2579: error-status in state A, in C, in D, and what RowStatus reads behind a noError. */
const VALUES: [what: string, value: Value, absent: number, there: number, reads: number | typeof GONE][] = [
  ['active', integer(ACTIVE), INCONSISTENT_VALUE, NO_ERROR, ACTIVE],
  ['notInService', integer(NOT_IN_SERVICE), INCONSISTENT_VALUE, NO_ERROR, NOT_IN_SERVICE],
  ['createAndGo', integer(CREATE_AND_GO), NO_ERROR, INCONSISTENT_VALUE, ACTIVE],
  ['createAndWait', integer(CREATE_AND_WAIT), NO_ERROR, INCONSISTENT_VALUE, NOT_IN_SERVICE],
  ['destroy', integer(DESTROY), NO_ERROR, NO_ERROR, GONE],
  // It is read and never written; and what no RowStatus is (RFC 3416 4.2.5 6).
  ['notReady', integer(NOT_READY), WRONG_VALUE, WRONG_VALUE, GONE],
  ...[0, 7, -1, 256 + ACTIVE, 0x7fff_ffff, -0x8000_0000].map((number): typeof VALUES[number] => [`${number}`, integer(number), WRONG_VALUE, WRONG_VALUE, GONE]),
  // RFC 3416 4.2.5 3: looked at before the value, and before whether there is such a row.
  ...([
    ['Unsigned32', unsigned32(ACTIVE)], ['Counter32', counter32(CREATE_AND_GO)], ['Counter64', counter64(CREATE_AND_GO)], ['Opaque', { tag: OPAQUE, value: Uint8Array.of(2, 1, 4) }],
    ['TimeTicks', timeTicks(ACTIVE)], ['OCTET STRING', text('4')], ['an empty OCTET STRING', octets(new Uint8Array(0))], ['OBJECT IDENTIFIER', objectId([0, 4])],
    ['IpAddress', { tag: IP_ADDRESS, value: Uint8Array.of(0, 0, 0, 4) }], ['NULL', NULL_VALUE], ['noSuchInstance', NO_SUCH_INSTANCE],
  ] as [string, Value][]).map(([type, value]): typeof VALUES[number] => [`${type} in place of INTEGER`, value, WRONG_TYPE, WRONG_TYPE, GONE]),
]

/** All instances but midcomTotalRejectedRuleEntries. */
function shown(it: MibRig): [string, string][] {
  return it.walk(MIDCOM_MIB).map(({ name, value }): [string, string] => [name.join('.'), String(value.value)]).filter(([name]) => name !== [...STATISTICS, 2, 0].join('.'))
}

for (const where of STATES) {
  for (const [what, value, absent, there, reads] of VALUES) {
    const status = where.status === null ? absent : there
    test(`RowStatus ${where.name}: ${what} is error-status ${status} (RFC 2579 RowStatus)`, async () => {
      const it = await rowIn(where), before = shown(it)
      assert.deepEqual(await it.set([[at(STATUS), value]]), [status, status === NO_ERROR ? 0 : 1])
      if (status !== NO_ERROR) {
        assert.deepEqual([shown(it), it.notes()], [before, []])
        return
      }
      assert.equal(it.get(at(STATUS)), reads)
      if (reads === GONE) {
        assert.equal(it.get(at(OPER)), GONE)
        assert.equal(it.policy.statistics().rules, 0)
        // Only what had a rule ends (RFC 5190 midcomSolicitedRuleEvent).
        assert.deepEqual(it.notes(), where.oper === 7 || where.oper === 8 ? ['solicited 5.97.108.105.99.101.7.1 10 0'] : [])
        return
      }
      // Nothing but the status has changed: a rule goes on, and a new row has its defaults.
      assert.equal(it.get(at(OPER)), where.status === null ? 1 : where.oper)
      assert.deepEqual(it.notes(), [])
      if (where.status !== null) assert.deepEqual(shown(it).filter(([name]) => name !== at(STATUS).join('.')), before.filter(([name]) => name !== at(STATUS).join('.')))
    })
  }

  test(`RowStatus ${where.name}: another column alone is ${where.status === null ? 'inconsistentName' : 'written, and the status stays'} (RFC 2579 RowStatus 4, 5)`, async () => {
    const it = await rowIn(where), isThere = where.status !== null
    assert.deepEqual(await it.set([[at(STORAGE_TIME), unsigned32(77)]]), isThere ? [NO_ERROR, 0] : [INCONSISTENT_NAME, 1])
    assert.deepEqual([it.get(at(STORAGE_TIME)), it.get(at(STATUS))], isThere ? [77, where.status] : [GONE, GONE])
  })

  test(`RowStatus ${where.name}: two values for it in one SET are refused at the second, and nothing of it is done (RFC 3416 4.2.5)`, async () => {
    const good = where.status === null ? [CREATE_AND_GO, CREATE_AND_WAIT] : [ACTIVE, NOT_IN_SERVICE, DESTROY]
    for (const first of good) {
      for (const second of good.filter((other) => other !== first)) {
        const it = await rowIn(where), before = shown(it)
        assert.deepEqual(await it.set([[at(STATUS), integer(first)], [at(STATUS), integer(second)]]), [INCONSISTENT_VALUE, 2], `${first}, then ${second}`)
        assert.deepEqual(shown(it), before)
      }
    }
  })
}

const column = (id: number, value: Value): [Oid, Value] => [at(id), value]
const TOGETHER: [what: string, state: string, varbinds: [Oid, Value][], outcome: [number, number], reads: [status: number | string, oper: number | string, storageTime: number | string]][] = [
  ['createAndGo behind a column of the row', 'A', [column(STORAGE_TIME, unsigned32(5)), column(STATUS, integer(CREATE_AND_GO))], [NO_ERROR, 0], [ACTIVE, 2, 5]],
  ['createAndWait behind a column of the row', 'A', [column(STORAGE_TIME, unsigned32(5)), column(STATUS, integer(CREATE_AND_WAIT))], [NO_ERROR, 0], [NOT_IN_SERVICE, 2, 5]],
  ['createAndWait with a whole request', 'A', [column(STATUS, integer(CREATE_AND_WAIT)), ...REQUEST.map(([id, value]) => column(id, value)), column(ADMIN, integer(2))], [NO_ERROR, 0], [NOT_IN_SERVICE, 8, 60]],
  ['createAndGo with a column that is wrong', 'A', [column(STATUS, integer(CREATE_AND_GO)), column(PROTOCOL, unsigned32(256))], [WRONG_VALUE, 2], [GONE, GONE, GONE]],
  ['createAndGo twice', 'A', [column(STATUS, integer(CREATE_AND_GO)), column(STATUS, integer(CREATE_AND_GO))], [NO_ERROR, 0], [ACTIVE, 1, 0]],
  ['active with a column', 'A', [column(STATUS, integer(ACTIVE)), column(STORAGE_TIME, unsigned32(5))], [INCONSISTENT_VALUE, 1], [GONE, GONE, GONE]],
  ['a column before active', 'A', [column(STORAGE_TIME, unsigned32(5)), column(STATUS, integer(ACTIVE))], [INCONSISTENT_NAME, 1], [GONE, GONE, GONE]],
  ['destroy with a column', 'A', [column(STATUS, integer(DESTROY)), column(STORAGE_TIME, unsigned32(5))], [INCONSISTENT_NAME, 2], [GONE, GONE, GONE]],
  ['destroy before createAndGo', 'A', [column(STATUS, integer(DESTROY)), column(STATUS, integer(CREATE_AND_GO))], [INCONSISTENT_VALUE, 1], [GONE, GONE, GONE]],
  ['active with a column', 'C', [column(STATUS, integer(ACTIVE)), column(STORAGE_TIME, unsigned32(5))], [NO_ERROR, 0], [ACTIVE, 2, 5]],
  ['createAndGo behind a column', 'C', [column(STORAGE_TIME, unsigned32(5)), column(STATUS, integer(CREATE_AND_GO))], [INCONSISTENT_VALUE, 2], [NOT_IN_SERVICE, 1, 0]],
  ['notInService with a column', 'D', [column(STATUS, integer(NOT_IN_SERVICE)), column(STORAGE_TIME, unsigned32(5))], [NO_ERROR, 0], [NOT_IN_SERVICE, 2, 5]],
  ['a column that is wrong behind notInService', 'D', [column(STATUS, integer(NOT_IN_SERVICE)), column(LIFETIME, integer(5))], [WRONG_TYPE, 2], [ACTIVE, 1, 0]],
  ['destroy with a column', 'D', [column(STATUS, integer(DESTROY)), column(STORAGE_TIME, unsigned32(5))], [NO_ERROR, 0], [GONE, GONE, GONE]],
  ['destroy with a request', 'D', [column(ADMIN, integer(2)), column(STATUS, integer(DESTROY))], [INCONSISTENT_VALUE, 1], [ACTIVE, 1, 0]],
]
for (const [what, letter, varbinds, [status, index], reads] of TOGETHER) {
  test(`RowStatus ${letter}: ${what} in one SET is error-status ${status} (RFC 2579 RowStatus, RFC 3416 4.2.5)`, async () => {
    const it = await rowIn(STATES.find(({ name }) => name.startsWith(letter))!)
    assert.deepEqual(await it.set(varbinds), [status, index])
    assert.deepEqual([it.get(at(STATUS)), it.get(at(OPER)), it.get(at(STORAGE_TIME))], reads)
  })
}
