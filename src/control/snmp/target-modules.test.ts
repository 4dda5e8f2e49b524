/** SETs of snmpNotifyFilterType, by which a MIDCOM client begins and ends its session (RFC 5190 7.1, 7.2). */
import assert from 'node:assert/strict'
import test from 'node:test'
import {
  NO_CREATION, INCONSISTENT_VALUE, NOT_WRITABLE, WRONG_TYPE, WRONG_VALUE, integer, isFault, unsigned32, type Request, type Value,
} from './mib.ts'
import { nameIndex } from './objects.ts'
import type { Oid } from './oid.ts'
import { FILTER_TYPE, createNotificationModule } from './target-modules.ts'
import { MIDCOM_EVENTS, SNMP_TRAPS, createTarget } from './targets.ts'

const REQUEST: Request = { securityName: 'u', securityLevel: 3, contextName: '', agent: null, canRead: () => true, canWrite: () => true }
const target = () => createTarget({
  name: 'noc', host: '192.0.2.1', port: 162, user: 'u', type: 'trap', timeoutMs: 1000, retries: 0, isOn: false,
})
const at = (subtree: Oid, name = 'noc'): Oid => [...FILTER_TYPE, ...nameIndex(name, false), ...subtree]
const INCLUDED = integer(1), EXCLUDED = integer(2)

const CASES: [what: string, varbinds: [Oid, Value][], status: number, index: number][] = [
  ['another column', [[[...FILTER_TYPE.slice(0, -1), 5, ...nameIndex('noc', false), ...MIDCOM_EVENTS], integer(6)]], NOT_WRITABLE, 0],
  ['another type', [[at(MIDCOM_EVENTS), unsigned32(1)]], WRONG_TYPE, 0],
  ['a type of filter that is none', [[at(MIDCOM_EVENTS), integer(3)]], WRONG_VALUE, 0],
  ['a target that is not there', [[at(MIDCOM_EVENTS, 'soc'), INCLUDED]], NO_CREATION, 0],
  ['one instance with two values', [[at(SNMP_TRAPS), INCLUDED], [at(MIDCOM_EVENTS), INCLUDED], [at(MIDCOM_EVENTS), EXCLUDED]], INCONSISTENT_VALUE, 2],
]
for (const [what, varbinds, status, index] of CASES) {
  test(`notifications: SET of ${what} is refused (RFC 3416 4.2.5)`, () => {
    const plan = createNotificationModule([target()]).prepare!(REQUEST, varbinds.map(([name, value]) => ({ name, value })))
    assert.deepEqual(plan, { status, index })
  })
}

test('notifications: one filter named twice with one type is set once, and undone once', () => {
  const it = target(), [events] = it.filters
  const module = createNotificationModule([it])
  const names: [Oid, Value][] = [[at(MIDCOM_EVENTS), INCLUDED], [at(SNMP_TRAPS), EXCLUDED], [at(MIDCOM_EVENTS), INCLUDED]]
  const plan = module.prepare!(REQUEST, names.map(([name, value]) => ({ name, value })))
  assert.ok(!isFault(plan))
  assert.equal(plan.commit(), null)
  assert.equal(events!.isIncluded, true)
  assert.deepEqual(module.get(REQUEST, at(MIDCOM_EVENTS)), INCLUDED)
  plan.undo()
  assert.deepEqual(it.filters.map(({ isIncluded }) => isIncluded), [false, true])
})
