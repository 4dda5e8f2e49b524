/** Sessions, the authorizer that takes its time, and who hears of what (RFC 5189 2.2, 2.3.4, 2.3.13). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Outcome, Question, Session, Verdict } from './api.ts'
import { createAuthorizer } from './authorizer.ts'
import { createRig, disableRequest, enableRequest, lines, ok, reasonOf, reserveRequest, tuple } from './testing.ts'

const YES: Verdict = { permit: true }

/** An authorizer that answers when it is told to, but for sessions. */
function slowAuthorizer() {
  const waiting: { question: Question; resolve(verdict: Verdict): void; reject(error: Error): void }[] = []
  return {
    waiting,
    authorizer: {
      decide: (question: Question) => question.kind === 'session' ? YES
        : new Promise<Verdict>((resolve, reject) => { waiting.push({ question, resolve, reject }) }),
      mayAccess: (agent: string, owner: string) => agent === owner || agent === 'root',
    },
  }
}

function later<T>(outcome: Outcome<T> | Promise<Outcome<T>>): Promise<Outcome<T>> {
  assert.ok(outcome instanceof Promise, 'an answer that takes its time')
  return outcome
}

test('sessions: count from their opening to their end, and rules outlive them (RFC 5189 2.2.2)', () => {
  const rig = createRig({ limits: { sessions: 1 } })
  const session = rig.open()
  const { rule } = ok(session.enable(enableRequest()))
  assert.equal(rig.policy.statistics().sessions, 1)
  assert.equal(session.isOpen, true)
  session.end()
  session.end()
  assert.equal(session.isOpen, false)
  assert.equal(rig.policy.statistics().sessions, 0)
  const again = rig.open()
  assert.deepEqual(ok(again.listRules()), [{ rule, owner: 'alice' }])
})

test('sessions: the box ends those of an agent, or all, and tells them why (RFC 5189 2.2.3)', () => {
  const rig = createRig()
  const [a, b, c] = ['alice', 'bob', 'alice'].map((agent) => rig.open(agent))
  assert.equal(rig.policy.terminateSessions('alice', 'authorization'), 2)
  assert.deepEqual([a, b, c].map((session) => session.isOpen), [false, true, false])
  assert.equal(rig.policy.terminateSessions(undefined, 'shutdown'), 1)
  assert.deepEqual(rig.events, ['alice: terminated authorization', 'alice: terminated authorization', 'bob: terminated shutdown'])
  assert.equal(reasonOf(b.reserve(reserveRequest())), 'session-not-open')
})

test('sessions: other sessions with access hear of a change, the same agent\'s too, in order of opening (RFC 5189 2.3.4)', () => {
  const rig = createRig()
  const names: string[] = []
  const open = (agent: string, name: string) => rig.open(agent, {
    ruleEvent: (rule, lifetimeSec, cause) => names.push(`${name}: ${rule} ${lifetimeSec} ${cause}`),
  })
  open('root', 'first')
  const alice = open('alice', 'second')
  open('bob', 'third')
  open('alice', 'fourth')
  const { rule } = ok(alice.enable(enableRequest()))
  ok(alice.changeLifetime(rule, 5))
  ok(alice.changeLifetime(rule, 0))
  assert.deepEqual(names, [60, 5, 0].flatMap((sec) => [`first: ${rule} ${sec} agent`, `fourth: ${rule} ${sec} agent`]))
  names.length = 0
  ok(alice.enable(enableRequest()))
  rig.policy.terminateRule(128 + 1, 'administrator')
  assert.deepEqual(names.slice(2), ['first', 'second', 'fourth'].map((name) => `${name}: 129 0 administrator`))
})

test('sessions: who may hear of a rule follows the sessions that come and go, and what the authorizer says from a change on', () => {
  let mayHear = true
  const rig = createRig({ authorizer: { decide: () => YES, mayAccess: (agent, owner) => agent === owner || mayHear } })
  const alice = rig.open('alice')
  const bob = rig.open('bob')
  const { rule } = ok(alice.enable(enableRequest()))
  rig.open('carol')
  ok(alice.changeLifetime(rule, 9))
  bob.end()
  ok(alice.changeLifetime(rule, 8))
  mayHear = false
  rig.policy.authorizationChanged()
  ok(alice.changeLifetime(rule, 7))
  assert.deepEqual(rig.events, [`bob: rule ${rule} 60 agent`, `bob: rule ${rule} 9 agent`, `carol: rule ${rule} 9 agent`, `carol: rule ${rule} 8 agent`])
})

test('sessions: a listener that throws keeps nobody else from hearing', () => {
  const rig = createRig()
  rig.open('root', { ruleEvent() { throw new Error('a door slams') }, terminated() { throw new Error('again') } })
  rig.open('root')
  ok(rig.open('alice').enable(enableRequest()))
  assert.deepEqual(rig.events, ['root: rule 1 60 agent'])
  assert.equal(rig.policy.terminateSessions('root', 'shutdown'), 2)
  assert.deepEqual(rig.events.at(-1), 'root: terminated shutdown')
})

test('sessions: a listener may start transactions; what they cause is told after what came first', () => {
  const rig = createRig()
  const heard: string[] = []
  const root: Session = rig.open('root', {
    ruleEvent(rule, lifetimeSec) {
      heard.push(`root: ${rule} ${lifetimeSec}`)
      if (lifetimeSec === 60) ok(root.changeLifetime(rule, 0))
    },
  })
  const alice = rig.open('alice', { ruleEvent: (rule, lifetimeSec) => { heard.push(`alice: ${rule} ${lifetimeSec}`) } })
  rig.open('root', { ruleEvent: (rule, lifetimeSec) => { heard.push(`other: ${rule} ${lifetimeSec}`) } })
  const { rule } = ok(alice.enable(enableRequest()))
  assert.deepEqual(heard, [`root: ${rule} 60`, `other: ${rule} 60`, `alice: ${rule} 0`, `other: ${rule} 0`])
  assert.equal(rig.policy.statistics().rules, 0)
})

test('sessions: who opens one in answer to a notification does not hear of what came before', () => {
  const rig = createRig()
  const opener = rig.open('root', { ruleEvent() { rig.open('root') } })
  const alice = rig.open('alice', { ruleEvent() {} })
  ok(alice.enable(enableRequest()))
  assert.equal(rig.policy.statistics().sessions, 3)
  // Two notifications at once: who came between them was not there when they arose.
  rig.policy.terminateSessions('root', 'overload')
  rig.events.length = 0
  ok(alice.enable(enableRequest()))
  opener.end()
  rig.open('root', { ruleEvent() { rig.open('root') } })
  ok(rig.open('carol').disable(disableRequest()))
  assert.deepEqual(rig.events, [])
})

test('authorizer: while it thinks nothing is held, and its answers set the order of transactions', async () => {
  const { authorizer, waiting } = slowAuthorizer()
  const rig = createRig({ authorizer })
  const alice = rig.open('alice'), bob = rig.open('bob')
  const first = later(alice.enable(enableRequest())), second = later(bob.enable(enableRequest({ internal: tuple('10.0.0.2', 5000) })))
  assert.equal(rig.policy.statistics().rules, 0)
  waiting[1].resolve(YES)
  const b = await second
  waiting[0].resolve({ permit: true, maxLifetimeSec: 7 })
  const a = await first
  assert.ok(a.ok && b.ok)
  assert.deepEqual([b.value.rule, a.value.rule], [1, 2])
  assert.equal(a.value.lifetimeSec, 7)
})

test('authorizer: when its answer comes, the session may have ended and the rule be gone', async () => {
  const { authorizer, waiting } = slowAuthorizer()
  const rig = createRig({ authorizer })
  const alice = rig.open('alice')
  const made = later(alice.reserve(reserveRequest()))
  waiting[0].resolve(YES)
  const reserved = await made
  assert.ok(reserved.ok)
  const gone = later(alice.changeLifetime(reserved.value.rule, 5))
  rig.policy.terminateRule(reserved.value.rule, 'administrator')
  waiting[1].resolve(YES)
  assert.deepEqual(await gone, { ok: false, reason: 'no-such-rule' })
  const late = later(alice.reserve(reserveRequest()))
  alice.end()
  waiting[2].resolve(YES)
  assert.deepEqual(await late, { ok: false, reason: 'session-not-open' })
  assert.equal(rig.policy.statistics().rules, 0)
})

test('authorizer: one that fails does not permit', async () => {
  const { authorizer, waiting } = slowAuthorizer()
  const rig = createRig({ authorizer })
  const alice = rig.open('alice')
  const refused = later(alice.listRules())
  waiting[0].resolve({ permit: false, reason: 'lack-of-resources' })
  assert.deepEqual(await refused, { ok: false, reason: 'lack-of-resources' })
  const broken = later(alice.listRules())
  waiting[1].reject(new Error('no connection'))
  assert.deepEqual(await broken, { ok: false, reason: 'not-authorized-for-transaction' })
  const throwing = createRig({ authorizer: { decide: () => { throw new Error('no') }, mayAccess: () => false } })
  assert.equal(reasonOf(throwing.policy.openSession('alice', { ruleEvent() {}, groupEvent() {}, terminated() {} })),
    'not-authorized-for-transaction')
})

test('authorizer: is asked what the request is about, of groups too', () => {
  const asked: Question[] = []
  const rig = createRig({ authorizer: { decide: (question) => { asked.push(question); return YES }, mayAccess: () => true } })
  const alice = rig.open('alice'), bob = rig.open('bob')
  const request = enableRequest()
  const { rule, group } = ok(alice.enable(request))
  ok(bob.changeLifetime(rule, 9))
  ok(bob.changeGroupLifetime(group, 8))
  reasonOf(bob.changeLifetime(77, 9))
  ok(bob.groupStatus(group))
  assert.deepEqual(asked.slice(2), [
    { kind: 'enable', agent: 'alice', request },
    { kind: 'lifetime', agent: 'bob', owner: 'alice', rule, lifetimeSec: 9 },
    { kind: 'lifetime', agent: 'bob', owner: 'alice', rule: 0, lifetimeSec: 8 },
    { kind: 'lifetime', agent: 'bob', owner: '', rule: 77, lifetimeSec: 9 },
    { kind: 'read', agent: 'bob' },
  ])
})

test('authorizer: the built-in one works with the core: profiles, quota, acts-for', () => {
  const rig = createRig({
    authorizer: createAuthorizer([
      { name: 'alice', maxRules: 1, maxLifetimeSec: 9, protocols: [17] }, { name: 'bob', actsFor: ['alice'], transactions: ['lifetime', 'enable'] },
    ]),
  })
  const alice = rig.open('alice'), bob = rig.open('bob')
  const { rule, group, lifetimeSec } = ok(alice.enable(enableRequest()))
  assert.equal(lifetimeSec, 9)
  assert.equal(reasonOf(alice.reserve(reserveRequest())), 'lack-of-resources')
  assert.equal(reasonOf(bob.enable(enableRequest({ group }))), 'lack-of-resources', 'it would be a rule of alice')
  assert.equal(reasonOf(bob.listRules()), 'not-authorized-for-transaction')
  ok(bob.changeLifetime(rule, 0))
  assert.equal(reasonOf(alice.reserve(reserveRequest({ protocol: 6 }))), 'not-authorized-for-transaction')
  assert.equal(reasonOf(rig.policy.openSession('carol', { ruleEvent() {}, groupEvent() {}, terminated() {} })),
    'not-authorized-for-transaction')
})

test('data plane: who waits for a ticket is called when it may have come, never inside a transaction', () => {
  const calls: number[] = []
  const rig = createRig({
    ringRecords: 16,
    pump() {
      while (rig.ring.peek() >= 0) rig.ring.done()
      rig.policy.applied()
    },
  })
  rig.policy.onApplied(() => { throw new Error('a waiter falls') })
  rig.policy.onApplied(() => {
    calls.push(rig.policy.statistics().rules)
    // A waiter goes on with the next request at once.
    if (calls.length === 1) ok(other.reserve(reserveRequest()))
  })
  const alice = rig.open('alice'), other = rig.open('bob')
  ok(alice.enable(enableRequest()))
  const ticket = rig.policy.ticket()
  assert.equal(rig.policy.appliedTicket() - ticket < 0, true)
  rig.policy.pump()
  assert.equal(rig.policy.appliedTicket() - ticket >= 0, true)
  assert.deepEqual(calls, [1])
  for (let i = 0; i < 12; i++) ok(alice.enable(enableRequest({ internal: tuple('10.0.0.1', 5001 + i) })))
  // In the middle of a transaction the ring was emptied: the call came when the rule was there.
  assert.deepEqual(calls, [1, 11])
})

test('statistics: every transaction counts once, and its failure by reason', () => {
  const rig = createRig()
  const session = rig.open()
  ok(session.enable(enableRequest()))
  reasonOf(session.changeLifetime(9, 1))
  reasonOf(session.ruleStatus(9))
  ok(session.listGroups())
  session.end()
  reasonOf(session.listRules())
  const { transactions, failures } = rig.policy.statistics()
  assert.equal(transactions, 6)
  assert.deepEqual(failures, { 'no-such-rule': 2, 'session-not-open': 1 })
  assert.deepEqual(lines(rig.told()), ['bind-ports 5000+1', 'rule-add 1'])
})
