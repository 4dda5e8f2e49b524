/**
 * The tables against their slow model: random SETs, most of them nearly right, among what other doors do and time that passes. Every
 * answer, notification, instance and counter is compared after every step. PINHOLE_RUNS soaks.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { disableRequest, enableRequest, reserveRequest, tuple, createRig, type Rig, type RigOptions } from '../../../policy/testing.ts'
import { INTEGER, OCTETS, UNSIGNED32, integer, octets, unsigned32, type Value } from '../mib.ts'
import type { Oid } from '../oid.ts'
import { GROUP_ENTRY, MIDCOM_MIB, RULE_ENTRY, STATISTICS } from './objects.ts'
import { TableModel, indexOf, type Said } from './table.model.ts'
import { createMibRig, plain } from './testing.ts'

const RUNS = Math.max(250, Number(process.env['PINHOLE_RUNS'] ?? 0))
const OWNERS = [...Array<string>(9).fill('alice'), 'bob', '']
const AGENTS = [...Array<string>(7).fill('alice'), 'root', 'root', 'root', 'bob', null]

const address = (text: string) => octets(Uint8Array.from(text.split('.').map(Number)))
const good: Record<number, fc.Arbitrary<Value>> = {
  4: fc.constantFrom(1, 2, 2).map(integer), 6: fc.constant(integer(2)), 7: fc.constantFrom(0, 5, 60, 60).map(unsigned32),
  9: fc.constantFrom(0, 0, 2).map(integer), 10: fc.constantFrom(1, 2, 3).map(integer), 11: fc.constantFrom(0, 0, 20).map(unsigned32),
  12: fc.constantFrom(17, 17, 6, 0).map(unsigned32), 13: fc.constantFrom(1, 2).map(integer), 14: fc.constant(integer(1)), 15: fc.constant(integer(1)),
  16: fc.constantFrom('10.0.0.1', '10.0.0.2').map(address), 17: fc.constantFrom(128, 32, 128, 24).map(unsigned32),
  18: fc.constantFrom(5000, 5002, 0).map(unsigned32), 19: fc.constantFrom('198.51.100.1', '198.51.100.2').map(address),
  20: fc.constantFrom(128, 0, 24).map(unsigned32), 21: fc.constantFrom(6000, 0).map(unsigned32), 26: fc.constantFrom(0, 5, 60, 60, 7200).map(unsigned32),
  27: fc.constantFrom(4, 4, 5, 6, 1, 2).map(integer),
}
/** Of the right type half of the time, and then out of range or just not allowed. */
const wrong = { numbers: fc.constantFrom(-1, 0, 3, 4, 5, 7, 99).map(integer), large: fc.constantFrom(256, 65_536, 2041, 0xffff_ffff).map(unsigned32),
  octets: fc.constantFrom(0, 5, 256, 256).map((length) => octets(new Uint8Array(length))) }
function badFor(column: number): fc.Arbitrary<Value> {
  const same = column === 16 || column === 19 ? wrong.octets : [7, 11, 12, 17, 18, 20, 21, 26].includes(column) ? wrong.large : wrong.numbers
  return fc.oneof({ weight: 3, arbitrary: same }, wrong.numbers, wrong.large, wrong.octets)
}
const names = fc.record({ owner: fc.constantFrom(...OWNERS), group: fc.constantFrom(1, 1, 1, 1, 0xffff_ffff), rule: fc.constantFrom(1, 1, 2) })
const columns = fc.constantFrom(...Object.keys(good).map(Number), 4, 4, 16, 16, 19, 26, 26, 27, 27, 7)
const single: fc.Arbitrary<Said> = fc.record({ name: names, column: columns, flaw: fc.constantFrom(...Array<string>(9).fill(''), 'value', 'value', 'column', 'index') })
  .chain(({ name, column, flaw }) => (flaw === 'value' ? badFor(column) : good[column]!).map((value): Said => ({
    table: 'rule', ...name, value, column: flaw === 'column' ? [1, 2, 3, 5, 8, 22, 25, 28][column % 8]! : column, isBadIndex: flaw === 'index',
  })))
/** A whole request in one SET. */
const whole: fc.Arbitrary<Said[]> = fc.record({
  name: names, create: fc.constantFrom(4, 4, 4, 5, 0), picks: fc.subarray([7, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 26], { minLength: 5 }), admin: fc.constantFrom(1, 2, 2, 0),
}).chain(({ name, create, picks, admin }) => fc.tuple(...picks.map((column) => good[column]!)).map((values) => {
  const said = (column: number, value: Value): Said => ({ table: 'rule', ...name, column, value, isBadIndex: false })
  return [...create === 0 ? [] : [said(27, integer(create))], ...picks.map((column, i) => said(column, values[i]!)), ...admin === 0 ? [] : [said(4, integer(admin))]]
}))
const group: fc.Arbitrary<Said> = fc.record({ name: names, value: good[26]!, column: fc.constantFrom(3, 3, 3, 3, 2), isBadIndex: fc.constantFrom(false, false, false, false, false, true) })
  .map(({ name, ...rest }) => ({ table: 'group', ...name, ...rest }))
const sets = fc.record({
  kind: fc.constant('set' as const), agent: fc.constantFrom(...AGENTS),
  said: fc.oneof({ weight: 4, arbitrary: whole }, { weight: 4, arbitrary: fc.array(single, { minLength: 1, maxLength: 3 }) }, { weight: 1, arbitrary: group.map((one) => [one]) },
    { weight: 1, arbitrary: fc.tuple(whole, whole).map(([a, b]) => [...a, ...b]) }, { weight: 1, arbitrary: fc.tuple(whole, single, group).map(([a, b, c]) => [b, c, ...a]) }),
})
const doors = fc.record({
  kind: fc.constantFrom('enable', 'enable', 'reserve', 'lifetime', 'lifetime', 'disable', 'use', 'administrator'), agent: fc.constantFrom('alice', 'bob'), at: fc.nat(20),
  host: fc.constantFrom('10.0.0.1', '10.0.0.3'), seconds: fc.constantFrom(0, 5, 60),
})
const step = fc.oneof({ weight: 8, arbitrary: sets }, { weight: 4, arbitrary: doors }, { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 1000, 1000, 4999, 5000, 60_000) }) })
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

const seen = new Map<string, number>()
function count(what: string): void { seen.set(what, (seen.get(what) ?? 0) + 1) }

function oidOf({ table, column, owner, group: itsGroup, rule, isBadIndex }: Said): Oid {
  const bytes = [...Buffer.from(owner)]
  const numbers = table === 'rule' ? [itsGroup, rule] : [itsGroup]
  const index = isBadIndex ? [bytes.length + 1, ...bytes, ...numbers] : [bytes.length, ...bytes, ...numbers]
  return [...table === 'rule' ? RULE_ENTRY : GROUP_ENTRY, column, ...index]
}

function elsewhere(rig: Rig, step: Extract<Step, { host: string }>): void {
  const session = rig.open(step.agent)
  const rules = rig.policy.statistics().rules === 0 ? [] : (rig.policy as unknown as { book: { rules(): number[] } }).book.rules()
  const rule = rules[step.at % Math.max(1, rules.length)] ?? 0
  const internal = tuple(step.host, 5000), external = tuple('198.51.100.1', 6000)
  if (step.kind === 'enable') void session.enable(enableRequest({ internal, external, lifetimeSec: step.seconds, group: step.at % 4 }))
  if (step.kind === 'reserve') void session.reserve(reserveRequest({ lifetimeSec: step.seconds }))
  if (step.kind === 'use') void session.enable(enableRequest({ reservation: rule, internal, external }))
  if (step.kind === 'lifetime') void session.changeLifetime(rule, step.seconds)
  if (step.kind === 'disable') void session.disable(disableRequest({ internal, external: tuple('198.51.100.1', 6000), lifetimeSec: 1 }))
  if (step.kind === 'administrator') rig.policy.terminateRule(rule, 'administrator')
  session.end()
}

test('the tables agree with their model after every SET and everything that happens elsewhere (RFC 5190 9)', async () => {
  const boxes = fc.record({ extend: fc.boolean(), few: fc.boolean(), addresses: fc.boolean(), hasTargets: fc.boolean(), isTight: fc.boolean() })
  // Whether somebody looks after a step: rules that come and go unseen count all the same.
  const histories = fc.array(fc.tuple(step, fc.constantFrom(true, true, false)), { minLength: 5, maxLength: 40, size: 'max' })
  await fc.assert(fc.asyncProperty(boxes, histories, async ({ extend, few, addresses, hasTargets, isTight }, steps) => {
    const options: RigOptions = { extend, portHigh: few ? 40_005 : 40_099, addresses: addresses ? [0xc0000264 | 0] : [] }
    const room = isTight ? { idleRows: 3, idleRowsPerOwner: 2 } : { idleRows: 1e6, idleRowsPerOwner: 1e6 }
    const box = createMibRig({ ...options, ...room, hasTargets })
    const other = createRig(options)
    const model = new TableModel(other, room)
    const columnsOf = (oid: Oid) => oid.slice(MIDCOM_MIB.length + 2).join('.')
    for (const [one, isLookedAt] of steps) {
      if (one.kind === 'set') {
        const expected = model.set(one.agent, one.said)
        const answer = await box.set(one.said.map((said) => [oidOf(said), said.value]), one.agent)
        count(`answer ${expected[0]}`)
        assert.deepEqual(answer, expected, `${one.agent}: ${JSON.stringify(one.said)}`)
      } else if (one.kind === 'pass') {
        box.rig.pass(one.ms)
        other.pass(one.ms)
        model.settle()
      } else {
        elsewhere(box.rig, one as Extract<Step, { host: string }>)
        elsewhere(other, one as Extract<Step, { host: string }>)
      }
      count(box.backlog.size === 0 ? 'nothing waits' : 'rules wait')
      if (!isLookedAt) continue
      const cells = [...box.walk(RULE_ENTRY), ...box.walk(GROUP_ENTRY)].map(({ name, value }) => [columnsOf(name), plain(value)])
      assert.deepEqual(cells, model.cells())
      const notes = model.notes.splice(0)
      assert.deepEqual(box.notes(), hasTargets ? notes : notes.filter((note) => !note.startsWith('unsolicited')))
      assert.deepEqual(Array.from({ length: 15 }, (_, i) => box.get([...STATISTICS, i + 1, 0])), model.statistics())
      for (const { state } of model.rows) count(`state ${state}`)
    }
  }), { numRuns: RUNS, includeErrorInReport: true })
})

test('the comparison reaches every state and every error-status of a SET', (t) => {
  t.diagnostic([...seen].sort(([, a], [, b]) => b - a).map(([what, times]) => `${what}: ${times}`).join(', '))
  const wanted = [0, 6, 7, 8, 10, 11, 12, 13, 17, 18].map((status) => `answer ${status}`).concat([1, 2, 4, 6, 7, 8, 9, 10, 11].map((state) => `state ${state}`))
  wanted.push('rules wait')
  assert.deepEqual(wanted.filter((what) => !seen.has(what)), [])
  assert.deepEqual([INTEGER, OCTETS, UNSIGNED32, indexOf('a', 1, 2)], [2, 4, 0x42, '1.97.1.2'])
})
