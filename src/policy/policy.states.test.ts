/**
 * The state machines of a session (RFC 5189 2.2.5) and of a rule (2.3.14) as tables: every event in every state, what is answered
 * and where it leads. NOAUTH belongs to the protocols, which authenticate before they open a session here. BLOCKING is a
 * disable rule (RFC 4540 8.8). Core and model are held to the same tables.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import { parse4, parsePrefix } from '../base/address.ts'
import { createCommandRing, createRuleActivity } from '../channel/commands.ts'
import {
  INBOUND, PARITY_ANY, TCP, UDP, type EnableRequest, type Outcome, type Policy, type ReserveRequest, type Session, type Tuple,
} from './api.ts'
import type { PolicyOptions } from './options.ts'
import { PolicyModel } from './policy.model.ts'
import { createPolicy } from './policy.ts'

const SUBJECTS: [string, (options: PolicyOptions) => Policy][] = [
  ['the core', createPolicy], ['the model', options => new PolicyModel(options)],
]

const LIFETIME_SEC = 60, IDLE_SEC = 20

function int32(address: string): number {
  const parsed = parse4(address)
  assert.ok(parsed.ok)
  return parsed.value
}

function tuple(address: string, protocol: number, port: number): Tuple {
  return { version: 4, word0: int32(address), word1: 0, word2: 0, word3: 0, prefixBits: 32, protocol, port, range: 1 }
}

interface Rig { policy: Policy; alice: Session; mallory: Session; open(agent: string): Outcome<Session>; nowMs: number }

function rigOf(make: (options: PolicyOptions) => Policy): Rig {
  const inside = parsePrefix('10.0.0.0/8')
  assert.ok(inside.ok)
  const ring = createCommandRing(64)
  const policy = make({
    ring, activity: createRuleActivity(16), nat44: true, pool: [int32('192.0.2.1')], portLow: 40_000, portHigh: 40_999,
    addresses: [], insidePool: [], inside: [inside.value], seed: 1,
    limits: { rules: 16, portsPerRule: 4, sessions: 3, boundPorts: 100 }, maxLifetimeSec: 3600, idleTimeoutSec: IDLE_SEC,
    extend: true,
    wildcards: { internal: true, external: true, ports: true }, service: 'traditional', strictNatMode: false, disableRules: true,
    authorizer: {
      decide: ({ agent }) => agent === 'nobody' ? { permit: false } : { permit: true },
      mayAccess: (agent, owner) => agent === owner,
    },
    pump: () => { while (ring.peek() >= 0) ring.done() },
  })
  policy.advance(0, Infinity)
  const open = (agent: string) =>
    now(policy.openSession(agent, { ruleEvent() {}, groupEvent() {}, terminated() {} }))
  return { policy, alice: valueOf(open('alice')), mallory: valueOf(open('mallory')), open, nowMs: 0 }
}

function now<T>(outcome: Outcome<T> | Promise<Outcome<T>>): Outcome<T> {
  assert.ok(!(outcome instanceof Promise))
  return outcome
}

function valueOf<T>(outcome: Outcome<T> | Promise<Outcome<T>>): T {
  const settled = now(outcome)
  assert.ok(settled.ok)
  return settled.value
}

/** 'ok' or the reason. */
function answer(outcome: Outcome<unknown> | Promise<Outcome<unknown>>): string {
  const settled = now(outcome)
  return settled.ok ? 'ok' : settled.reason
}

const RESERVE: ReserveRequest = {
  group: 0, service: 0, internalVersion: 4, externalVersion: 4, internal: null, protocol: UDP, range: 1, parity: PARITY_ANY,
  lifetimeSec: LIFETIME_SEC,
}
const ENABLE: EnableRequest = {
  reservation: 0, group: 0, direction: INBOUND, parity: PARITY_ANY, internal: tuple('10.0.0.1', UDP, 5000),
  external: tuple('198.51.100.1', UDP, 6000), lifetimeSec: LIFETIME_SEC, maxIdleSec: 0,
}
const DISABLE = { internal: tuple('10.0.0.1', UDP, 5000), external: tuple('198.51.100.1', UDP, 6000), lifetimeSec: LIFETIME_SEC }

// The session.

const SESSION_EVENTS: Record<string, (rig: Rig, session: Session) => string> = {
  'PRR': (_, session) => answer(session.reserve(RESERVE)),
  'PER': (_, session) => answer(session.enable(ENABLE)),
  'PDR': (_, session) => answer(session.disable(DISABLE)),
  'RLC, no such rule': (_, session) => answer(session.changeLifetime(1000, 5)),
  'GLC, no such group': (_, session) => answer(session.changeGroupLifetime(1000, 5)),
  'PRL': (_, session) => answer(session.listRules()),
  'PRS, no such rule': (_, session) => answer(session.ruleStatus(1000)),
  'GL': (_, session) => answer(session.listGroups()),
  'GS, no such group': (_, session) => answer(session.groupStatus(1000)),
  'ST': (_, session) => { session.end(); return '' },
  'AST': ({ policy }) => { policy.terminateSessions('alice', 'administrator'); return '' },
  'time': ({ policy }) => { policy.advance(1e9, Infinity); return '' },
}

/** From, event, answer, to. */
const SESSION_TABLE: [string, string, string, string][] = [
  ['OPEN', 'PRR', 'ok', 'OPEN'],
  ['OPEN', 'PER', 'ok', 'OPEN'],
  ['OPEN', 'PDR', 'ok', 'OPEN'],
  ['OPEN', 'RLC, no such rule', 'no-such-rule', 'OPEN'],
  ['OPEN', 'GLC, no such group', 'no-such-group', 'OPEN'],
  ['OPEN', 'PRL', 'ok', 'OPEN'],
  ['OPEN', 'PRS, no such rule', 'no-such-rule', 'OPEN'],
  ['OPEN', 'GL', 'ok', 'OPEN'],
  ['OPEN', 'GS, no such group', 'no-such-group', 'OPEN'],
  ['OPEN', 'time', '', 'OPEN'],
  ['OPEN', 'ST', '', 'CLOSED'],
  ['OPEN', 'AST', '', 'CLOSED'],
  ...Object.keys(SESSION_EVENTS).map((event): [string, string, string, string] =>
    ['CLOSED', event, ['ST', 'AST', 'time'].includes(event) ? '' : 'session-not-open', 'CLOSED']),
]

for (const [name, make] of SUBJECTS) {
  test(`states: a session of ${name} goes the way of RFC 5189 2.2.5`, () => {
    for (const state of ['OPEN', 'CLOSED']) {
      const events = SESSION_TABLE.filter(([from]) => from === state).map(([, event]) => event)
      assert.deepEqual(events.sort(), Object.keys(SESSION_EVENTS).sort())
    }
    for (const [from, event, answered, to] of SESSION_TABLE) {
      const rig = rigOf(make), row = `${from}, ${event}`
      if (from === 'CLOSED') rig.alice.end()
      assert.equal(SESSION_EVENTS[event](rig, rig.alice), answered, row)
      assert.equal(rig.alice.isOpen ? 'OPEN' : 'CLOSED', to, row)
      assert.equal(rig.mallory.isOpen, true, row + ': the session of another agent')
    }
  })

  test(`states: ${name} refuses a session, and the next attempt is a new one (RFC 5189 2.2.1)`, () => {
    const { open, policy } = rigOf(make)
    assert.equal(answer(open('nobody')), 'not-authorized-for-transaction')
    const third = valueOf(open('alice'))
    assert.equal(answer(open('alice')), 'lack-of-resources', 'three sessions are the limit')
    third.end()
    assert.equal(valueOf(open('alice')).isOpen, true)
    assert.equal(third.isOpen, false)
    assert.equal(policy.statistics().sessions, 3)
  })

  test(`states: rules of ${name} outlive the sessions that made them (RFC 5189 2.2.2 to 2.2.4)`, () => {
    for (const event of ['ST', 'AST']) {
      const rig = rigOf(make)
      const { rule } = valueOf(rig.alice.enable(ENABLE))
      SESSION_EVENTS[event](rig, rig.alice)
      assert.equal(valueOf(valueOf(rig.open('alice')).ruleStatus(rule)).action, 'enable', event)
    }
  })
}

// The rule.

type RuleState = 'UNUSED' | 'RESERVED' | 'ENABLED' | 'BLOCKING'

function reach(state: RuleState, { alice }: Rig): { rule: number; group: number } {
  switch (state) {
    case 'UNUSED': return { rule: 1, group: 1 }
    case 'RESERVED': return valueOf(alice.reserve(RESERVE))
    case 'ENABLED': return valueOf(alice.enable(ENABLE))
    case 'BLOCKING': return { ...valueOf(alice.disable(DISABLE)), group: 1 }
  }
}

function stateOf(rule: number, { alice }: Rig): RuleState {
  const status = now(alice.ruleStatus(rule))
  if (!status.ok) {
    assert.equal(status.reason, 'no-such-rule')
    return 'UNUSED'
  }
  return ({ reserve: 'RESERVED', enable: 'ENABLED', disable: 'BLOCKING' } as const)[status.value.action]
}

const HERE = { internal: tuple('10.0.0.1', UDP, 5000), external: tuple('198.51.100.1', UDP, 6000) }
const RULE_EVENTS: Record<string, (rig: Rig, rule: number, group: number) => string> = {
  'PER of it': ({ alice }, rule) => answer(alice.enable({ ...ENABLE, reservation: rule })),
  'PER of it, wrong protocol': ({ alice }, rule) => answer(alice.enable({
    ...ENABLE, reservation: rule, internal: { ...HERE.internal, protocol: TCP }, external: { ...HERE.external, protocol: TCP },
  })),
  'PER of it, by a stranger': ({ mallory }, rule) => answer(mallory.enable({ ...ENABLE, reservation: rule })),
  'RLC': ({ alice }, rule) => answer(alice.changeLifetime(rule, 100)),
  'RLC 0': ({ alice }, rule) => answer(alice.changeLifetime(rule, 0)),
  'RLC 0, by a stranger': ({ mallory }, rule) => answer(mallory.changeLifetime(rule, 0)),
  'GLC': ({ alice }, _, group) => answer(alice.changeGroupLifetime(group, 100)),
  'GLC 0': ({ alice }, _, group) => answer(alice.changeGroupLifetime(group, 0)),
  'GLC 0, by a stranger': ({ mallory }, _, group) => answer(mallory.changeGroupLifetime(group, 0)),
  'PRL, GL': ({ alice }) => answer(alice.listRules()) + ', ' + answer(alice.listGroups()),
  'GS': ({ alice }, _, group) => answer(alice.groupStatus(group)),
  'a disable rule over it': ({ mallory }) => answer(mallory.disable(DISABLE)),
  'a disable rule beside it': ({ mallory }) => answer(mallory.disable({ ...DISABLE, external: tuple('198.51.100.1', UDP, 6001) })),
  'ARE, the administrator': ({ policy }, rule) => String(policy.terminateRule(rule, 'administrator')),
  'time, less than idle': ({ policy }) => { policy.advance(IDLE_SEC * 1000 - 1, Infinity); return '' },
  'ARE, idle': ({ policy }) => { policy.advance(IDLE_SEC * 1000, Infinity); return '' },
  'ARE, lifetime': ({ policy }) => { policy.advance(LIFETIME_SEC * 1000, Infinity); return '' },
  'ST': ({ alice, open }) => { alice.end(); open('alice'); return '' },
}

type Row = [event: string, from: Record<RuleState, [answer: string, to: RuleState]>]
const stays = (answered: string): Row[1] => ({
  UNUSED: [answered, 'UNUSED'], RESERVED: [answered, 'RESERVED'], ENABLED: [answered, 'ENABLED'], BLOCKING: [answered, 'BLOCKING'],
})
const ends = (answered: string): Row[1] => ({
  UNUSED: [answered, 'UNUSED'], RESERVED: [answered, 'UNUSED'], ENABLED: [answered, 'UNUSED'], BLOCKING: [answered, 'UNUSED'],
})
const RULE_TABLE: Row[] = [
  ['PER of it', { UNUSED: ['no-such-rule', 'UNUSED'], RESERVED: ['ok', 'ENABLED'], ENABLED: ['not-a-reservation', 'ENABLED'],
    BLOCKING: ['not-a-reservation', 'BLOCKING'] }],
  ['PER of it, wrong protocol', { UNUSED: ['no-such-rule', 'UNUSED'], RESERVED: ['protocol-mismatch', 'RESERVED'],
    ENABLED: ['not-a-reservation', 'ENABLED'], BLOCKING: ['not-a-reservation', 'BLOCKING'] }],
  ['PER of it, by a stranger', { UNUSED: ['no-such-rule', 'UNUSED'], RESERVED: ['not-authorized-for-rule', 'RESERVED'],
    ENABLED: ['not-a-reservation', 'ENABLED'], BLOCKING: ['not-a-reservation', 'BLOCKING'] }],
  ['RLC', { ...stays('ok'), UNUSED: ['no-such-rule', 'UNUSED'] }],
  ['RLC 0', { ...ends('ok'), UNUSED: ['no-such-rule', 'UNUSED'] }],
  ['RLC 0, by a stranger', { UNUSED: ['no-such-rule', 'UNUSED'], RESERVED: ['not-authorized-for-rule', 'RESERVED'],
    ENABLED: ['not-authorized-for-rule', 'ENABLED'], BLOCKING: ['not-authorized-for-rule', 'BLOCKING'] }],
  ['GLC', { UNUSED: ['no-such-group', 'UNUSED'], RESERVED: ['ok', 'RESERVED'], ENABLED: ['ok', 'ENABLED'],
    BLOCKING: ['no-such-group', 'BLOCKING'] }],
  ['GLC 0', { UNUSED: ['no-such-group', 'UNUSED'], RESERVED: ['ok', 'UNUSED'], ENABLED: ['ok', 'UNUSED'],
    BLOCKING: ['no-such-group', 'BLOCKING'] }],
  ['GLC 0, by a stranger', { UNUSED: ['no-such-group', 'UNUSED'], RESERVED: ['not-authorized-for-group', 'RESERVED'],
    ENABLED: ['not-authorized-for-group', 'ENABLED'], BLOCKING: ['no-such-group', 'BLOCKING'] }],
  ['PRL, GL', stays('ok, ok')],
  ['GS', { ...stays('ok'), UNUSED: ['no-such-group', 'UNUSED'], BLOCKING: ['no-such-group', 'BLOCKING'] }],
  ['a disable rule over it', { ...stays('ok'), ENABLED: ['ok', 'UNUSED'] }],
  ['a disable rule beside it', stays('ok')],
  ['ARE, the administrator', { ...ends('true'), UNUSED: ['false', 'UNUSED'] }],
  ['time, less than idle', stays('')],
  ['ARE, idle', { ...ends(''), BLOCKING: ['', 'BLOCKING'] }],
  ['ARE, lifetime', ends('')],
  ['ST', stays('')],
]

for (const [name, make] of SUBJECTS) {
  test(`states: a rule of ${name} goes the way of RFC 5189 2.3.14`, () => {
    assert.deepEqual(RULE_TABLE.map(([event]) => event), Object.keys(RULE_EVENTS))
    for (const [event, states] of RULE_TABLE) {
      for (const [from, [answered, to]] of Object.entries(states) as [RuleState, [string, RuleState]][]) {
        const rig = rigOf(make), row = `${from}, ${event}`
        const { rule, group } = reach(from, rig)
        assert.equal(stateOf(rule, rig), from, row)
        assert.equal(RULE_EVENTS[event](rig, rule, group), answered, row)
        if (!rig.alice.isOpen) rig.alice = valueOf(rig.open('alice'))
        // A number that a stranger's rule has taken meanwhile is not alice's to see.
        if (from === 'UNUSED' && event.startsWith('a disable rule')) continue
        assert.equal(stateOf(rule, rig), to, row)
      }
    }
  })

  test(`states: a failed request on a reservation of ${name} leaves its lifetime as it is (RFC 5189 2.3.9)`, () => {
    const rig = rigOf(make)
    const { rule } = valueOf(rig.alice.reserve(RESERVE))
    rig.policy.advance(5000, Infinity)
    assert.equal(answer(rig.alice.enable({ ...ENABLE, reservation: rule, lifetimeSec: 0 })), 'lifetime-zero')
    assert.equal(valueOf(rig.alice.ruleStatus(rule)).lifetimeSec, LIFETIME_SEC - 5)
  })
}
