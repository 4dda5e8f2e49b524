/** Rules that no table shows yet: whoever asks sees what would have been there all along. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { enableRequest, ok, reserveRequest, tuple } from '../../policy/testing.ts'
import { MemoryJournal, createMibRig, groupCell, index, ip4, type MibRig } from './midcom/testing.ts'
import { RULE_ENTRY, STATISTICS } from './midcom/objects.ts'
import { integer, unsigned32 } from './mib.ts'
import type { Bind } from './nat/binds.ts'

const seed = Number(process.env['PINHOLE_SEED'] ?? Date.now() % 1e9)
/** midcomCurrentEnableRules, midcomExpiredEnableRules, midcomTerminatedOnRqEnableRules, midcomTerminatedEnableRules. */
const ENABLE_COUNTS = [12, 13, 14, 15]

function quiet(more: Parameters<typeof createMibRig>[0] = {}): MibRig { return createMibRig({ hasTargets: false, ...more }) }

function enable(box: MibRig, n: number, lifetimeSec = 60): number {
  const request = enableRequest({ internal: tuple('10.0.0.1', 5000 + n), external: tuple('198.51.100.1', 6000 + n), lifetimeSec })
  const session = box.rig.open('alice')
  const { rule } = ok(session.enable(request))
  session.end()
  return rule
}

function counts(box: MibRig): unknown[] { return ENABLE_COUNTS.map((n) => box.get([...STATISTICS, n, 0])) }

test('rules of other doors wait until somebody asks, and then have their rows and bindings', () => {
  const box = quiet()
  for (let n = 0; n < 10; n++) enable(box, n)
  assert.deepEqual([box.backlog.size, box.binds.ports.size], [10, 0])
  assert.equal(box.walk([...RULE_ENTRY, 5]).length, 10)
  assert.deepEqual([box.backlog.size, box.binds.ports.size], [0, 10])
})

test('rules that are over before anybody asks are counted as what ended them', () => {
  const box = quiet()
  const session = box.rig.open('alice')
  const [first, second] = [enable(box, 1), enable(box, 2), enable(box, 3, 5), enable(box, 4)]
  ok(session.changeLifetime(first!, 0))
  box.policy.terminateRule(second!, 'administrator')
  box.rig.pass(6000)
  assert.equal(box.backlog.size, 1)
  assert.deepEqual(counts(box), [1, 1, 1, 1])
})

test('a reservation that is enabled before anybody asks is counted as what it became', () => {
  const box = quiet()
  const session = box.rig.open('alice')
  const reservation = ok(session.reserve(reserveRequest({ lifetimeSec: 60 }))).rule
  const rule = ok(session.enable(enableRequest({ reservation }))).rule
  assert.equal(box.backlog.size, 1)
  ok(session.changeLifetime(rule, 0))
  assert.deepEqual(counts(box), [0, 0, 1, 0])
})

test('with receivers of notifications nothing waits, for they are told of each rule by its row', () => {
  const box = createMibRig()
  const rule = enable(box, 1)
  assert.equal(box.backlog.size, 0)
  ok(box.rig.open('alice').changeLifetime(rule, 0))
  assert.equal(box.notes().length, 1)
})

test('a rule that joins a manager\'s group is shown there, also when the group\'s own rules are over by then', async () => {
  const box = quiet()
  const columns = [
    [7, unsigned32(600)], [12, unsigned32(17)], [16, ip4('10.0.0.5')], [18, unsigned32(5004)], [26, unsigned32(5)], [4, integer(1)],
  ] as const
  assert.deepEqual(await box.make('alice', 7, 1, columns.map(([column, value]) => [column, value])), [0, 0])
  const [rule] = box.policy.book.rules()
  const { group } = box.policy.book.identify(rule!)!
  const other = ok(box.rig.open('alice').enable(enableRequest({ group, lifetimeSec: 60 }))).rule
  box.rig.pass(10_000)
  assert.equal(box.get(groupCell('alice', 7)), 50)
  assert.equal(box.get([...RULE_ENTRY, 5, ...index('alice', 7, 0x8000_0000 + other)]), 8)
})

test('a rule that came back after a restart and ends before anybody asks has its row, timed out', async () => {
  const journal = new MemoryJournal(), before = quiet({ journal })
  const columns = [
    [6, integer(3)], [7, unsigned32(600)], [12, unsigned32(17)], [16, ip4('10.0.0.5')], [18, unsigned32(5004)], [26, unsigned32(60)],
    [4, integer(1)],
  ] as const
  assert.deepEqual(await before.make('alice', 7, 1, columns.map(([column, value]) => [column, value])), [0, 0])
  const after = quiet({ journal: new MemoryJournal(journal.entries) })
  after.rig.pass(61_000)
  assert.equal(after.get([...RULE_ENTRY, 5, ...index('alice', 7, 1)]), 9)
})

test('owners with names too long for the tables are not counted there either', () => {
  const box = quiet()
  const session = box.rig.open('a'.repeat(33))
  const rule = ok(session.enable(enableRequest())).rule
  ok(session.changeLifetime(rule, 0))
  assert.deepEqual(counts(box), [0, 0, 0, 0])
})

test('what waits is worked off in pieces, the oldest first', () => {
  const box = quiet({ portHigh: 40_999, ringRecords: 4096, limits: { rules: 200, boundPorts: 200 } })
  for (let n = 0; n < 200; n++) enable(box, n)
  const pieces: number[] = []
  for (let isDone = false; !isDone;) {
    isDone = box.module.catchUp!()
    pieces.push(box.binds.ports.size)
  }
  assert.deepEqual(pieces, [64, 128, 192, 200])
  assert.deepEqual(box.walk([...RULE_ENTRY, 5]).map(({ name }) => name.at(-1)! - 0x8000_0000), box.policy.book.rules())
})

test(`bindings are the same as if each rule had been entered at once (seed ${seed})`, () => {
  const step = fc.record({
    kind: fc.constantFrom('enable', 'enable', 'reserve', 'use', 'end', 'pass', 'look'), at: fc.nat(30), range: fc.constantFrom(1, 1, 2), seconds: fc.constantFrom(1, 5, 60),
  })
  const plain = (bind: Bind) => ({ ...bind, id: 0 })
  const shown = ({ binds }: MibRig) => [...binds.addresses, ...binds.ports].map(plain)
  let waited = 0
  fc.assert(fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
    const lazy = quiet(), eager = createMibRig()
    for (const { kind, at, range, seconds } of steps) {
      for (const box of [lazy, eager]) {
        const rules = box.policy.book.rules(), rule = rules[at % Math.max(1, rules.length)] ?? 0
        const session = box.rig.open('alice')
        const internal = tuple('10.0.0.1', 5000 + 2 * at, range), external = tuple('198.51.100.1', 6000 + 2 * at, range)
        if (kind === 'enable') void session.enable(enableRequest({ internal, external, lifetimeSec: seconds }))
        if (kind === 'reserve') void session.reserve(reserveRequest({ lifetimeSec: seconds }))
        if (kind === 'use') void session.enable(enableRequest({ reservation: rule, internal: tuple('10.0.0.1', 5000 + 2 * at), lifetimeSec: seconds }))
        if (kind === 'end') void session.changeLifetime(rule, 0)
        if (kind === 'pass') box.rig.pass(seconds * 500)
        session.end()
      }
      waited += lazy.backlog.size
      if (kind !== 'look') continue
      lazy.backlog.catchUp()
      assert.deepEqual(shown(lazy), shown(eager))
    }
    lazy.backlog.catchUp()
    assert.deepEqual(shown(lazy), shown(eager))
  }), { seed, numRuns: Math.max(200, Number(process.env['PINHOLE_RUNS'] ?? 0)) })
  assert.ok(waited > 100, `${waited} rules waited`)
})
