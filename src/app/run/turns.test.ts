import assert from 'node:assert/strict'
import { setImmediate as others, setTimeout as pause } from 'node:timers/promises'
import { test } from 'node:test'
import type { Engine } from '../../engine/engine.ts'
import type { Policy } from '../../policy/api.ts'
import { timed } from './timed.ts'
import { createTurns, type Traffic } from './turns.ts'

/** A box in which `ends` rules are over and `commands` units of work wait for the packet path. */
function box({ ends = 0, commands = 0, deadlineMs = Infinity } = {}) {
  let clockMs = 1000.25
  const seen = { budgets: [] as number[], units: [] as number[], advancedMs: [] as number[], expired: 0, applied: 0 }
  let ticket = commands > 0 ? 1 : 0
  const engine = {
    applyCommands(_nowMs: number, budget: number) {
      seen.units.push(budget)
      commands = Math.max(0, commands - budget)
      if (commands === 0) ticket = 0
      return commands > 0
    },
    expire() { seen.expired++ },
  } as unknown as Engine
  const policy = {
    advance(nowMs: number, budget: number) {
      seen.advancedMs.push(nowMs)
      seen.budgets.push(budget)
      ends = Math.max(0, ends - budget)
      clockMs += 0.2
      return ends > 0
    },
    nextDeadlineMs: () => deadlineMs,
    ticket: () => ticket, appliedTicket: () => 0,
    pump: () => turns.pump(engine),
    applied: () => { seen.applied++ },
  } as unknown as Policy
  const turns = createTurns(engine, () => clockMs)
  return { turns, policy, seen, move: (ms: number) => { clockMs += ms }, put(units: number) { commands = units; ticket = 1 } }
}

test('turns: a backlog of rules and commands is spread over turns, and others come in between', async (t) => {
  const { turns, policy, seen } = box({ ends: 1000, commands: 5000 })
  t.after(turns.stop)
  turns.start(policy, null)
  let between = 0
  for (let n = 0; n < 150; n++) {
    await others()
    if (turns.count > 0 && turns.count < 125) between++
  }
  // 1000 rules, 8 in 0.2 ms, which is more than a turn goes on with; 5000 units, 96 a turn.
  assert.equal(turns.count, 125)
  assert.ok(between >= 120, `${between} times`)
  assert.deepEqual([new Set(seen.budgets), seen.budgets.length, new Set(seen.units), seen.units.length], [new Set([8]), 125, new Set([96]), 53])
  assert.equal(seen.applied, 53)
})

test('turns: packets that are always due leave room for others, turn by turn', async (t) => {
  const { turns, policy } = box()
  t.after(turns.stop)
  let batches = 0
  const traffic: Traffic = { turn: () => { batches++; return true }, nextMs: () => 0 }
  turns.start(policy, traffic)
  for (let n = 0; n < 20; n++) {
    const before = batches
    await others()
    assert.ok(batches - before <= 2, `${batches - before} batches in one go`)
  }
  assert.ok(batches >= 15)
  turns.stopTraffic()
  await others()
  const after = batches
  for (let n = 0; n < 5; n++) await others()
  assert.equal(batches, after)
})

test('turns: time is whole milliseconds from the start, and never goes back', () => {
  const { turns, move } = box()
  assert.equal(turns.nowMs(), 0)
  move(1.5)
  assert.equal(turns.nowMs(), 1)
  move(-1)
  assert.equal(turns.nowMs(), 1)
})

test('turns: with nothing to do there is none, until a deadline comes or something is asked', async () => {
  const idle = box()
  idle.turns.start(idle.policy, null)
  for (let n = 0; n < 20; n++) await others()
  await pause(20)
  assert.equal(idle.turns.count, 1)
  idle.turns.wake()
  idle.turns.wake()
  for (let n = 0; n < 5; n++) await others()
  assert.equal(idle.turns.count, 2)
  idle.turns.stop()

  const soon = box({ deadlineMs: 5 })
  soon.turns.start(soon.policy, null)
  while (soon.turns.count < 2) await pause(1)
  soon.turns.stop()
  const count = soon.turns.count
  await pause(20)
  assert.equal(soon.turns.count, count)
})

test('turns: what policy tells outside of a turn is carried out in slices too', async (t) => {
  const { turns, policy, seen, put } = box()
  t.after(turns.stop)
  turns.start(policy, null)
  await others()
  put(3000)
  policy.pump()
  assert.equal(seen.units.length, 1)
  // 256 units at once, the others 96 a turn.
  for (let n = 0; n < 40; n++) await others()
  assert.equal(seen.units.length, 30)
})

test('timed: policy knows the time before it is asked, and whoever waits for its deadlines is told afterwards', async () => {
  const log: string[] = []
  const inner = {
    agent: 'lab', isOpen: true,
    ...Object.fromEntries(['reserve', 'enable', 'disable', 'changeLifetime', 'listRules', 'ruleStatus', 'changeGroupLifetime', 'listGroups', 'groupStatus', 'end']
      .map((name) => [name, () => { log.push(name); return { ok: true, value: name } }])),
  }
  const answers: unknown[] = [{ ok: true, value: inner }, Promise.resolve({ ok: true, value: inner }), { ok: false, reason: 'lack-of-resources' }]
  const policy = timed({
    openSession: () => answers.shift(), terminateRule: () => { log.push('terminateRule'); return true }, terminateSessions: () => 3, ticket: () => 7,
  } as unknown as Policy, () => { log.push('before') }, () => { log.push('after') })
  const listener = { ruleEvent() { /* none */ }, groupEvent() { /* none */ }, terminated() { /* none */ } }
  const opened = policy.openSession('lab', listener)
  assert.ok(!(opened instanceof Promise) && opened.ok)
  const session = opened.value
  assert.deepEqual([session.agent, session.isOpen, policy.ticket()], ['lab', true, 7])
  for (const [name, ask] of Object.entries(session)) {
    if (typeof ask !== 'function' || name === 'end') continue
    log.length = 0
    assert.deepEqual((ask as () => unknown)(), { ok: true, value: name })
    assert.deepEqual(log, ['before', name, 'after'])
  }
  log.length = 0
  session.end()
  assert.deepEqual(log, ['end'])
  log.length = 0
  const later = policy.openSession('lab', listener)
  assert.deepEqual(log, ['before'])
  assert.ok((await later).ok)
  assert.deepEqual(log, ['before', 'after'])
  assert.deepEqual(policy.openSession('lab', listener), { ok: false, reason: 'lack-of-resources' })
  assert.equal(policy.terminateRule(1, 'administrator'), true)
  assert.equal(policy.terminateSessions(undefined, 'shutdown'), 3)
})

test('turns: where nobody may set rules, packets still have their turns, and work of the engine is carried on', async (t) => {
  let left = 3, packets = 0
  const engine = { expire() { /* nothing ends */ }, applyCommands: () => --left > 0 } as unknown as Engine
  const turns = createTurns(engine, () => performance.now())
  t.after(turns.stop)
  turns.start(null, { turn: () => { packets++; return false }, nextMs: () => Infinity })
  turns.pump(engine)
  for (let n = 0; n < 10; n++) await others()
  assert.equal(left, 0)
  assert.ok(packets >= 1)
})

test('turns: of questions in one pass of the event loop every eighth has the clock read, and the first of the next pass', async (t) => {
  const { turns, policy, seen, move } = box({ deadlineMs: 1e9 })
  t.after(turns.stop)
  turns.start(policy, null)
  await others()
  seen.advancedMs.length = 0
  for (let n = 0; n < 9; n++) {
    turns.advance()
    move(10)
  }
  assert.deepEqual(seen.advancedMs, [0, 80])
  await others()
  turns.advance()
  assert.deepEqual(seen.advancedMs, [0, 80, 90])
})
