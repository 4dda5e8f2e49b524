/**
 * RowStatus columns of tables that show the configuration: nothing that a manager sets makes, changes or removes a row there, and each
 * such SET is notWritable, which comes before type and value (RFC 3416 4.2.5 2). midcomRuleRowStatus has a test of its own.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSnmpCounters } from './counters.ts'
import { integer, NOT_WRITABLE, NULL_VALUE, text, unsigned32, type Value, type Varbind } from './mib.ts'
import type { Oid } from './oid.ts'
import { GET, GET_BULK, RESPONSE, SET } from './pdu.ts'
import { createUsmModule, createVacmModule } from './security-modules.ts'
import { createNotificationModule, createTargetModule } from './target-modules.ts'
import { createTarget } from './targets.ts'
import { openAccess, TestEngine, testKeys } from './testing.ts'
import { Vacm } from './vacm.ts'

const COLUMNS: [name: string, column: string][] = [
  ['usmUserStatus', '1.3.6.1.6.3.15.1.2.2.1.13'], ['vacmSecurityToGroupStatus', '1.3.6.1.6.3.16.1.2.1.5'], ['vacmAccessStatus', '1.3.6.1.6.3.16.1.4.1.9'],
  ['vacmViewTreeFamilyStatus', '1.3.6.1.6.3.16.1.5.2.1.6'], ['snmpTargetAddrRowStatus', '1.3.6.1.6.3.12.1.2.1.9'], ['snmpTargetParamsRowStatus', '1.3.6.1.6.3.12.1.3.1.7'],
  ['snmpNotifyRowStatus', '1.3.6.1.6.3.13.1.1.1.5'], ['snmpNotifyFilterProfileRowStatus', '1.3.6.1.6.3.13.1.2.1.3'], ['snmpNotifyFilterRowStatus', '1.3.6.1.6.3.13.1.3.1.5'],
]
const VALUES: Value[] = [...[1, 2, 3, 4, 5, 6, 0, 7, -1].map(integer), unsigned32(4), text('4'), NULL_VALUE]
const ACTIVE = 1

function createBox(): TestEngine {
  const counters = createSnmpCounters(), access = openAccess(['lab']), vacm = new Vacm(access)
  const targets = [createTarget({ name: 'noc', host: '192.0.2.1', port: 162, user: 'lab', type: 'trap', timeoutMs: 1000, retries: 0, isOn: false })]
  const user = new TestEngine({ users: { lab: testKeys() } })
  return new TestEngine({
    access, modules: [
      createUsmModule(user.local.id, [...user.users.values()], counters), createVacmModule(() => vacm), createTargetModule(targets, counters), createNotificationModule(targets),
    ],
  })
}

for (const [name, column] of COLUMNS) {
  test(`${name} reads active and cannot be written, of a row that is there or not, with any value of any type`, () => {
    const box = createBox(), manager = box.manager(), at: Oid = column.split('.').map(Number)
    const walk = () => box.request(manager, { type: GET_BULK, second: 200, varbinds: [{ name: [1, 3], value: NULL_VALUE }] }).varbinds
    const before = walk(), row = before.find(({ name: oid }) => at.every((subId, i) => oid[i] === subId))
    assert.equal(row?.value.value, ACTIVE)
    const absent: Oid = [...row!.name.slice(0, -1), row!.name.at(-1)! + 1]
    assert.equal(box.request(manager, { type: GET, varbinds: [{ name: absent, value: NULL_VALUE }] }).varbinds[0]!.value.value, null)
    for (const value of VALUES) {
      for (const instance of [row!.name, absent, at]) {
        const varbinds: Varbind[] = [{ name: instance, value }]
        const answer = box.request(manager, { type: SET, varbinds })
        assert.deepEqual([answer.type, answer.first, answer.second, answer.varbinds], [RESPONSE, NOT_WRITABLE, 1, varbinds], `${instance.join('.')} = ${value.tag}:${String(value.value)}`)
      }
    }
    assert.deepEqual(walk(), before)
  })
}
