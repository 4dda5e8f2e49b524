/** How rules end in time, and what happens when the data plane does not listen (docs/midcom.md, Identifiers and time, Commands). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { BIDIRECTIONAL, OUTBOUND } from './api.ts'
import { A0, A3, createRig, disableRequest, enableRequest, lines, ok, reasonOf, reserveRequest, tuple } from './testing.ts'
import type { Rig } from './testing.ts'

/** Lifetimes of the rules that ended, in the order in which they did. */
function endings(rig: Rig): string[] {
  return rig.events.splice(0).map((line) => line.replace('alice: rule ', ''))
}

test('lifetime: a rule ends when its time is over, not a millisecond before, and its sessions hear of it (RFC 5189 2.3.13)', () => {
  const rig = createRig()
  const session = rig.open()
  const { rule, lifetimeSec } = ok(session.enable(enableRequest({ lifetimeSec: 10 })))
  assert.equal(lifetimeSec, 10)
  assert.equal(rig.policy.nextDeadlineMs(), rig.nowMs + 10_000)
  rig.pass(9999)
  assert.equal(ok(session.ruleStatus(rule)).lifetimeSec, 1, 'what is left is rounded up')
  assert.deepEqual(endings(rig), [])
  rig.pass(1)
  assert.deepEqual(endings(rig), ['1 0 expired'])
  assert.equal(reasonOf(session.ruleStatus(rule)), 'no-such-rule')
  assert.equal(rig.policy.nextDeadlineMs(), Infinity)
  assert.deepEqual(lines(rig.told()), ['bind-ports 5000+1', 'rule-add 1', 'rule-delete 1', 'unbind-ports 5000+1'])
  assert.equal(rig.policy.statistics().expired, 1)
})

test('lifetime: the box and the authorizer grant no more than they allow (RFC 5189 2.3.8)', () => {
  const rig = createRig({
    maxLifetimeSec: 100,
    authorizer: { decide: ({ kind }) => kind === 'enable' ? { permit: true, maxLifetimeSec: 20 } : { permit: true }, mayAccess: () => false },
  })
  const session = rig.open()
  const reserved = ok(session.reserve(reserveRequest({ lifetimeSec: 1000 })))
  const enabled = ok(session.enable(enableRequest({ lifetimeSec: 1000 })))
  assert.deepEqual([reserved.lifetimeSec, enabled.lifetimeSec], [100, 20])
  assert.deepEqual(ok(session.changeLifetime(enabled.rule, 1000)), { lifetimeSec: 100 })
  assert.equal(ok(session.ruleStatus(enabled.rule)).lifetimeSec, 100)
})

test('lifetime: rules end in order of deadlines, those of one millisecond in order of slots, some at a time', () => {
  const rig = createRig({ ringRecords: 256 })
  const session = rig.open()
  const random = createPrng(5)
  const due: { rule: number; sec: number }[] = []
  for (let i = 0; i < 60; i++) {
    const { rule } = ok(session.enable(enableRequest({ lifetimeSec: 1000 })))
    due.push({ rule, sec: 5 + random.below(6) })
  }
  // Deadlines are moved in an order of their own.
  for (const { rule, sec } of [...due].sort((a, b) => a.sec * 7 % 11 - b.sec * 7 % 11)) ok(session.changeLifetime(rule, sec))
  const expected = due.sort((a, b) => a.sec - b.sec || a.rule - b.rule).map(({ rule }) => `${rule} 0 expired`)
  assert.equal(rig.pass(20_000, 0), true)
  assert.deepEqual(endings(rig), [])
  assert.equal(rig.pass(0, 7), true)
  assert.deepEqual(endings(rig), expected.slice(0, 7))
  assert.equal(rig.pass(0, 53), false)
  assert.deepEqual(endings(rig), expected.slice(7))
})

test('lifetime: more than the 24 days of an int32 in milliseconds', () => {
  const rig = createRig({ maxLifetimeSec: 2 ** 32 - 1 })
  const session = rig.open()
  ok(session.enable(enableRequest({ lifetimeSec: 2 ** 32 - 1 })))
  rig.pass((2 ** 32 - 1) * 1000 - 1)
  assert.deepEqual(endings(rig), [])
  rig.pass(1)
  assert.deepEqual(endings(rig), ['1 0 expired'])
})

test('idle: a rule without packets ends, one with packets when they stop (RFC 5189 2.1.6)', () => {
  const rig = createRig({ idleTimeoutSec: 30, maxLifetimeSec: 10 ** 6 })
  const session = rig.open()
  const make = (maxIdleSec: number) => ok(session.enable(enableRequest({ lifetimeSec: 10 ** 6, maxIdleSec }))).rule
  const [box, own, never] = [make(0), make(10), make(0xffffffff)]
  const reserved = ok(session.reserve(reserveRequest({ lifetimeSec: 10 ** 6 }))).rule
  const disabled = ok(session.disable(disableRequest({ external: tuple('198.51.100.77'), lifetimeSec: 10 ** 6 }))).rule
  rig.told()
  assert.equal(rig.policy.nextDeadlineMs(), rig.nowMs + 10_000)
  rig.pass(4000)
  rig.activity.lastUsedMs[own] = rig.nowMs | 0
  rig.pass(9999)
  assert.deepEqual(endings(rig), [])
  rig.pass(1)
  assert.deepEqual(endings(rig), [`${own} 0 idle`])
  rig.pass(16_000)
  assert.deepEqual(endings(rig), [`${box} 0 idle`, `${reserved} 0 idle`])
  rig.pass(900_000_000)
  assert.deepEqual(ok(session.listRules()).map(({ rule }) => rule), [never, disabled])
  assert.equal(rig.policy.statistics().idle, 3)
  assert.equal(rig.policy.statistics().expired, 0)
})

test('idle: what the slot was used for before the data plane knows the rule does not count', () => {
  const rig = createRig({ idleTimeoutSec: 30, stuck: true })
  const session = rig.open()
  ok(session.enable(enableRequest()))
  rig.pass(20_000)
  rig.activity.lastUsedMs[1] = rig.nowMs | 0
  rig.pass(10_000)
  assert.deepEqual(endings(rig), ['1 0 idle'])
})

test('idle: an idle time of months ends when it is over, though uses are told modulo 2^32 ms', () => {
  const rig = createRig({ maxLifetimeSec: 2 ** 32 - 1 })
  const session = rig.open()
  ok(session.enable(enableRequest({ lifetimeSec: 2 ** 32 - 1, maxIdleSec: 100 * 86400 })))
  rig.told()
  rig.pass(50 * 86_400_000)
  rig.activity.lastUsedMs[1] = rig.nowMs | 0
  for (let day = 1; day < 100; day++) rig.pass(86_400_000)
  assert.deepEqual(endings(rig), [])
  rig.pass(86_400_000 - 1)
  assert.deepEqual(endings(rig), [])
  rig.pass(1)
  assert.deepEqual(endings(rig), ['1 0 idle'])
})

test('idle: a slice of work looks at a bounded number of rules, busy ones too', () => {
  const rig = createRig({ idleTimeoutSec: 30, limits: { rules: 500 }, ringRecords: 1024, nat44: false })
  const session = rig.open()
  for (let i = 0; i < 500; i++) ok(session.enable(enableRequest({ lifetimeSec: 3000 })))
  rig.told()
  rig.pass(29_000)
  rig.activity.lastUsedMs.fill(rig.nowMs | 0)
  assert.equal(rig.pass(1000, 0), true)
  let slices = 1
  while (rig.pass(0, 0)) slices++
  assert.ok(slices > 2 && slices < 20, `${slices} slices`)
  assert.deepEqual(endings(rig), [])
})

test('ring: a transaction whose records do not fit fails before anything has changed (RFC 5189 2.1.4)', () => {
  const rig = createRig({ ringRecords: 16, stuck: true, limits: { portsPerRule: 4 } })
  const session = rig.open()
  for (let i = 0; i < 7; i++) ok(session.enable(enableRequest({ internal: tuple('10.0.0.1', 5000 + i) })))
  const { rule } = ok(session.enable(enableRequest({ internal: tuple('10.0.0.1', 5000) })))
  assert.equal(rig.ring.room(), 1)
  const before = rig.policy.statistics()
  assert.equal(reasonOf(session.enable(enableRequest({ internal: tuple('10.0.0.1', 6000) }))), 'lack-of-resources')
  assert.equal(reasonOf(session.changeLifetime(2, 0)), 'lack-of-resources')
  assert.equal(reasonOf(session.changeGroupLifetime(2, 0)), 'lack-of-resources')
  assert.equal(reasonOf(session.changeLifetime(rule, 0)), 'ok', 'its binding is shared: one record')
  assert.equal(rig.ring.room(), 0)
  assert.equal(reasonOf(session.disable(disableRequest({ external: tuple('198.51.100.9') }))), 'lack-of-resources')
  assert.equal(reasonOf(session.changeLifetime(1, 500)), 'ok', 'a longer life is no business of the data plane')
  assert.equal(reasonOf(session.reserve(reserveRequest())), 'ok', 'nor a reservation')
  const now = rig.policy.statistics()
  assert.deepEqual([now.enableRules, now.boundPorts], [before.enableRules - 1, before.boundPorts + 1])
  assert.equal(rig.told().length, 16)
  assert.equal(reasonOf(session.changeLifetime(2, 0)), 'ok')
})

test('ring: a data plane on this thread makes room in the middle of a transaction', () => {
  const rig = createRig({ ringRecords: 16, limits: { portsPerRule: 4 } })
  const session = rig.open()
  for (let i = 0; i < 90; i++) ok(session.enable(enableRequest({ internal: tuple('10.0.0.1', 5000 + i) })))
  ok(session.disable(disableRequest({ external: tuple('198.51.100.1') })))
  const told = lines(rig.told())
  assert.equal(told.length, 90 * 4 + 1)
  assert.deepEqual(told.slice(-2), ['rule-delete 90', 'unbind-ports 5089+1'])
  assert.equal(rig.policy.statistics().boundPorts, 0)
})

test('ring: victims of a disable rule are over at once, but keep slots and ports until the data plane was told', () => {
  const rig = createRig({ ringRecords: 16, stuck: true, limits: { portsPerRule: 4, rules: 10 } })
  const session = rig.open(), other = rig.open('root')
  for (let i = 0; i < 6; i++) ok(session.enable(enableRequest({ internal: tuple('10.0.0.1', 5000 + i) })))
  rig.told()
  for (let i = 6; i < 8; i++) ok(session.enable(enableRequest({ internal: tuple('10.0.0.1', 5000 + i) })))
  rig.events.length = 0
  const ticketBefore = rig.policy.ticket()
  // 16 records: four are taken, one for the disable rule, five victims of two each: eleven. The sixth has no room.
  const { rule } = ok(other.disable(disableRequest({ external: A3 })))
  assert.deepEqual(ok(other.listRules()).map((entry) => entry.rule), [rule])
  assert.equal(rig.events.filter((line) => line.endsWith('disabled')).length, 16, 'everyone was told of all')
  assert.equal(rig.policy.statistics().boundPorts, 3)
  assert.equal(rig.policy.ticket(), ticketBefore + 17, 'the promise holds when all victims are gone')
  // Their slots are not free: 10 less the disable rule less three that wait, the five that went came back.
  for (let i = 0; i < 6; i++) ok(session.reserve(reserveRequest()))
  assert.equal(reasonOf(session.reserve(reserveRequest())), 'lack-of-resources')
  assert.equal(reasonOf(session.enable(enableRequest({ external: tuple('198.51.100.2', 1) }))), 'lack-of-resources')
  rig.policy.applied()
  assert.equal(rig.policy.statistics().boundPorts, 3 + 6, 'the ring is still full')
  const told = lines(rig.told())
  assert.deepEqual(told.slice(-2), ['rule-delete 5', 'unbind-ports 5004+1'])
  rig.policy.applied()
  assert.deepEqual(lines(rig.told()), [6, 7, 8].flatMap((n) => [`rule-delete ${n}`, `unbind-ports ${4999 + n}+1`]))
  assert.equal(rig.policy.appliedTicket(), ticketBefore + 17)
  assert.equal(rig.policy.statistics().boundPorts, 6)
  assert.equal(reasonOf(session.reserve(reserveRequest())), 'ok')
})

test('ring: expired rules wait for room in their order, before anything that is new', () => {
  const rig = createRig({ ringRecords: 8, stuck: true, limits: { portsPerRule: 4 } })
  const session = rig.open()
  for (let i = 0; i < 4; i++) ok(session.enable(enableRequest({ internal: tuple('10.0.0.1', 5000 + i), lifetimeSec: 10 - i })))
  rig.pass(60_000)
  assert.deepEqual(endings(rig), [4, 3, 2, 1].map((n) => `${n} 0 expired`))
  assert.equal(rig.policy.statistics().rules, 0)
  assert.equal(rig.told().length, 8)
  // Four ends of two records; the new rule would not fit behind them.
  assert.equal(reasonOf(session.enable(enableRequest())), 'lack-of-resources')
  assert.deepEqual(lines(rig.told()), [4, 3, 2, 1].flatMap((n) => [`rule-delete ${n}`, `unbind-ports ${4999 + n}+1`]))
  const { rule } = ok(session.enable(enableRequest()))
  assert.equal(rule & 127, 1, 'the slot freed last')
})

test('ring: nobody overtakes a rule that waits, though their own records would fit', () => {
  const rig = createRig({ ringRecords: 8, stuck: true, limits: { portsPerRule: 4 } })
  const session = rig.open()
  const internal = tuple('10.0.0.1', 6000)
  for (let i = 0; i < 3; i++) ok(session.enable(enableRequest({ internal, lifetimeSec: 500 })))
  ok(session.enable(enableRequest({ lifetimeSec: 10 })))
  ok(session.changeLifetime(3, 20))
  assert.equal(rig.ring.room(), 2)
  ok(session.changeLifetime(2, 0))
  rig.pass(30_000)
  // Rule 4 takes two records and there is room for one, which is all that rule 3 and a rule of its A0 would take.
  assert.equal(rig.ring.room(), 1)
  assert.equal(reasonOf(session.enable(enableRequest({ internal }))), 'lack-of-resources')
  assert.equal(reasonOf(session.changeLifetime(1, 0)), 'lack-of-resources')
  rig.told()
  ok(session.enable(enableRequest({ internal })))
  assert.deepEqual(lines(rig.told()), ['rule-delete 4', 'unbind-ports 5000+1', 'rule-delete 3', 'rule-add 3'])
})

test('ring: rules that wait still share their binding, which goes with the last of them', () => {
  const rig = createRig({ ringRecords: 4, stuck: true, limits: { portsPerRule: 4 } })
  const session = rig.open()
  for (let i = 0; i < 3; i++) ok(session.enable(enableRequest()))
  const ticket = rig.policy.ticket()
  rig.pass(60_000)
  assert.equal(rig.policy.ticket(), ticket + 4)
  assert.deepEqual(lines(rig.told()).slice(1), ['rule-add 1', 'rule-add 2', 'rule-add 3'])
  rig.pass(1)
  assert.deepEqual(lines(rig.told()), ['rule-delete 1', 'rule-delete 2', 'rule-delete 3', 'unbind-ports 5000+1'])
})

test('ring: a group that needs more records than the ring has ends all the same', () => {
  const rig = createRig({ ringRecords: 8, stuck: true, limits: { portsPerRule: 4 } })
  const session = rig.open()
  let group = 0
  for (let i = 0; i < 10; i++) {
    ({ group } = ok(session.enable(enableRequest({ group, internal: tuple('10.0.0.1', 5000 + i) }))))
    rig.told()
  }
  ok(session.changeGroupLifetime(group, 0))
  const ticket = rig.policy.ticket()
  const told: string[] = []
  for (let i = 0; i < 3; i++) {
    told.push(...lines(rig.told()))
    rig.policy.applied()
  }
  assert.equal(rig.policy.appliedTicket(), ticket)
  assert.deepEqual(told, Array.from({ length: 10 }, (_, i) => [`rule-delete ${i + 1}`, `unbind-ports ${5000 + i}+1`]).flat())
})

test('ring: one that could not tell the end of a rule at once is refused when the box is made', () => {
  assert.throws(() => createRig({ ringRecords: 8, limits: { portsPerRule: 16 } }), RangeError)
  assert.throws(() => createRig({ ringRecords: 16, limits: { portsPerRule: 16 }, insidePool: [1] }), RangeError)
  createRig({ ringRecords: 1, limits: { portsPerRule: 16 }, nat44: false })
})

test('the administrator ends a rule, and every session with access hears of it (RFC 5189 2.3.13)', () => {
  const rig = createRig()
  const alice = rig.open('alice')
  rig.open('bob')
  const { rule } = ok(alice.enable(enableRequest({ direction: BIDIRECTIONAL })))
  assert.equal(rig.policy.terminateRule(rule, 'administrator'), true)
  assert.equal(rig.policy.terminateRule(rule, 'administrator'), false)
  assert.deepEqual(rig.events, [`alice: rule ${rule} 0 administrator`])
  assert.equal(rig.told().length, 4)
})

test('the clock never goes back', () => {
  const rig = createRig()
  const session = rig.open()
  const { rule } = ok(session.enable(enableRequest({ internal: A0, lifetimeSec: 10, direction: OUTBOUND })))
  rig.policy.advance(0, 10)
  assert.equal(ok(session.ruleStatus(rule)).lifetimeSec, 10)
})
