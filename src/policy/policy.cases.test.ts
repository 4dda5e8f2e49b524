/** Cases whose answers were worked out by hand from docs/midcom.md, put to the core and to its slow model alike. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { parse4, parsePrefix } from '../base/address.ts'
import { createPrng } from '../base/prng.ts'
import {
  createCommandRing, createRuleActivity, RULE_BOUND, RULE_DISABLE, RULE_IN, RULE_OUT, RULE_TWICE,
} from '../channel/commands.ts'
import {
  ALL_PORTS, BIDIRECTIONAL, INBOUND, OUTBOUND, PARITY_ANY, PARITY_EVEN, PARITY_SAME, TCP, UDP,
  type DisableRequest, type EnableRequest, type Outcome, type Policy, type ReserveRequest, type Session, type Tuple,
} from './api.ts'
import { decode, type Command } from './model/commands.ts'
import type { PolicyOptions } from './options.ts'
import { PolicyModel } from './policy.model.ts'
import { createPolicy } from './policy.ts'

const SUBJECTS: [string, (options: PolicyOptions) => Policy][] = [
  ['core', createPolicy], ['model', options => new PolicyModel(options)],
]

const SEED = 7, LOW = 40_000, HIGH = 40_099

function ip(address: string): number {
  const parsed = parse4(address)
  assert.ok(parsed.ok)
  return parsed.value
}

function tuple(address: string, protocol: number, port: number, range = 1, prefixBits = 32): Tuple {
  return { version: 4, word0: ip(address), word1: 0, word2: 0, word3: 0, prefixBits, protocol, port, range }
}

interface Rig {
  policy: Policy
  options: PolicyOptions
  open(agent: string): Session
  /** Notifications so far. */
  events: string[]
  /** Commands since the last call. */
  told(): Command[]
}

function rigOf(make: (options: PolicyOptions) => Policy, parts: Partial<PolicyOptions>): Rig {
  const inside = parsePrefix('10.0.0.0/8')
  assert.ok(inside.ok)
  const ring = createCommandRing(32), commands: Command[] = []
  const options: PolicyOptions = {
    ring, activity: createRuleActivity(8), nat44: true, pool: [ip('192.0.2.1')], portLow: LOW, portHigh: HIGH,
    addresses: [ip('192.0.2.100'), ip('192.0.2.101')], insidePool: [], inside: [inside.value], seed: SEED,
    limits: { rules: 8, portsPerRule: 16, sessions: 4, boundPorts: 100 }, maxLifetimeSec: 3600, idleTimeoutSec: 0, extend: true,
    wildcards: { internal: true, external: true, ports: true }, service: 'traditional', strictNatMode: false, disableRules: true,
    authorizer: { decide: () => ({ permit: true }), mayAccess: (agent, owner) => agent === owner || agent === 'root' },
    pump() {
      for (let at = ring.peek(); at >= 0; at = ring.peek()) {
        commands.push(decode(ring.words, at))
        ring.done()
      }
    },
    ...parts,
  }
  const policy = make(options), events: string[] = []
  policy.advance(0, Infinity)
  const open = (agent: string): Session => now(policy.openSession(agent, {
    ruleEvent: (rule, lifetimeSec, cause) => { events.push(`${agent} ${rule} ${lifetimeSec} ${cause}`) },
    groupEvent: (group, lifetimeSec) => { events.push(`${agent} group ${group} ${lifetimeSec}`) },
    terminated: reason => { events.push(`${agent} ${reason}`) },
  }))
  const told = () => {
    if (policy instanceof PolicyModel) return policy.commands.splice(0)
    policy.pump()
    return commands.splice(0)
  }
  return { policy, options, open, events, told }
}

function now<T>(outcome: Outcome<T> | Promise<Outcome<T>>): T {
  assert.ok(!(outcome instanceof Promise))
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.reason)
  return outcome.value
}

function reasonOf(outcome: Outcome<unknown> | Promise<Outcome<unknown>>): string {
  assert.ok(!(outcome instanceof Promise) && !outcome.ok)
  return outcome.reason
}

function enable(parts: Partial<EnableRequest> = {}): EnableRequest {
  return {
    reservation: 0, group: 0, direction: INBOUND, parity: PARITY_ANY, internal: tuple('10.0.0.1', UDP, 5000),
    external: tuple('198.51.100.1', UDP, 6000), lifetimeSec: 60, maxIdleSec: 0, ...parts,
  }
}

function reserve(parts: Partial<ReserveRequest> = {}): ReserveRequest {
  return {
    group: 0, service: 0, internalVersion: 4, externalVersion: 4, internal: null, protocol: UDP, range: 1, parity: PARITY_ANY,
    lifetimeSec: 60, ...parts,
  }
}

/** The port at which the n-th allocation starts to look. */
function start(n: number): number {
  const prng = createPrng(SEED)
  for (let i = 0; i < n; i++) prng.below(HIGH - LOW + 1)
  return LOW + prng.below(HIGH - LOW + 1)
}

/** Puts a case to core and model. */
function check(name: string, run: (rig: Rig) => void, parts: Partial<PolicyOptions> = {}): void {
  for (const [subject, make] of SUBJECTS) test(`${subject}: ${name}`, () => run(rigOf(make, parts)))
}

// @req RFC7857 8b
check('a reserved pair keeps ports and number when enabled, and the data plane hears of it then (RFC 5189 2.3.9)', ({ open, told }) => {
  const alice = open('alice')
  const reserved = now(alice.reserve(reserve({ range: 2, parity: PARITY_EVEN })))
  const even = start(0) + start(0) % 2
  assert.deepEqual(reserved, { rule: 1, group: 1, lifetimeSec: 60, outside: tuple('192.0.2.1', UDP, even, 2), inside: null })
  assert.equal(told().length, 0)
  const { outside, rule, group } = now(alice.enable(enable({
    reservation: 1, parity: PARITY_SAME, internal: tuple('10.0.0.1', UDP, 5000, 2), external: tuple('198.51.100.1', UDP, 6000, 2),
  })))
  assert.deepEqual({ outside, rule, group }, { outside: tuple('192.0.2.1', UDP, even, 2), rule: 1, group: 1 })
  const [bind, add] = told()
  assert.deepEqual(bind, {
    op: 'bind-ports', protocol: UDP, count: 2, local: ip('10.0.0.1'), localPort: 5000, outside: ip('192.0.2.1'), outsidePort: even,
  })
  assert.equal(add.op, 'rule-add')
  assert.deepEqual([add.rule, add.flags, add.priority, add.localPorts, add.peerPorts],
    [1, RULE_IN | RULE_BOUND, 1, 5000 << 16 | 5001, 6000 << 16 | 6001])
})

check('rules of one endpoint share its binding, and the last one to end takes it away (RFC 5189 2.3.9)', ({ open, told }) => {
  const alice = open('alice')
  const ends = (port: number, range: number, peer: string) =>
    ({ internal: tuple('10.0.0.1', UDP, port, range), external: tuple(peer, UDP, 0, range) })
  const first = now(alice.enable(enable(ends(5000, 3, '198.51.100.1'))))
  const second = now(alice.enable(enable(ends(5001, 1, '198.51.100.2'))))
  assert.equal(second.outside.port, first.outside.port + 1)
  told()
  now(alice.changeLifetime(first.rule, 0))
  // The middle port stays bound for the second rule, so the run ends in two pieces.
  const ended = () => told().map(({ op, rule, localPort }) => [op, rule ?? localPort])
  assert.deepEqual(ended(), [['rule-delete', 1], ['unbind-ports', 5000], ['unbind-ports', 5002]])
  now(alice.changeLifetime(second.rule, 0))
  assert.deepEqual(ended(), [['rule-delete', 2], ['unbind-ports', 5001]])
})

check('what other rules have bound of a run is not bound again (RFC 5189 2.3.9)', ({ open, told }) => {
  const alice = open('alice')
  const { rule, outside } = now(alice.reserve(reserve({ internal: tuple('10.0.0.1', UDP, 5000, 3), range: 3 })))
  const middle = now(alice.enable(enable({ internal: tuple('10.0.0.1', UDP, 5001) })))
  assert.equal(middle.outside.port, outside.port + 1, 'it shares the port that is reserved')
  told()
  now(alice.enable(enable({
    reservation: rule, internal: tuple('10.0.0.1', UDP, 5000, 3), external: tuple('198.51.100.1', UDP, 6000, 3),
  })))
  assert.deepEqual(told().map(({ op, localPort, count }) => [op, localPort, count]),
    [['bind-ports', 5000, 1], ['bind-ports', 5002, 1], ['rule-add', undefined, undefined]])
})

check('what an endpoint has already cannot be had again elsewhere (RFC 5189 2.3.9)', ({ open }) => {
  const alice = open('alice')
  now(alice.enable(enable()))
  const reserved = now(alice.reserve(reserve()))
  assert.equal(reasonOf(alice.enable(enable({ reservation: reserved.rule }))), 'conflict', 'it has other ports')
  const half = enable({ internal: tuple('10.0.0.1', UDP, 5000, 2), external: tuple('198.51.100.1', UDP, 0, 2) })
  assert.equal(reasonOf(alice.enable(half)), 'conflict', 'only half of the run is bound')
  const whole = enable({ internal: tuple('10.0.0.1', 0, 0), external: tuple('198.51.100.1', 0, 0) })
  assert.equal(reasonOf(alice.enable(whole)), 'conflict', 'a host with bound ports gets no address of its own')
})

check('a whole address goes to one host, whose ports show themselves (RFC 5189 2.3.9)', ({ open, told }) => {
  const alice = open('alice')
  const all = now(alice.reserve(reserve({ protocol: TCP, range: ALL_PORTS })))
  assert.equal(all.outside.word0, ip('192.0.2.100'))
  const web = { internal: tuple('10.0.0.1', TCP, 0), external: tuple('198.51.100.1', TCP, 0) }
  const bound = now(alice.enable(enable({ reservation: all.rule, ...web })))
  assert.deepEqual(bound.outside, tuple('192.0.2.100', TCP, 0))
  assert.deepEqual(told()[0], { op: 'bind-address', local: ip('10.0.0.1'), outside: ip('192.0.2.100') })
  const shared = now(alice.enable(enable()))
  assert.deepEqual(shared.outside, tuple('192.0.2.100', UDP, 5000))
  assert.deepEqual(told().map(({ op }) => op), ['rule-add'])
  const tunnel = (host: string) => enable({ internal: tuple(host, 47, 0), external: tuple('198.51.100.1', 47, 0) })
  now(alice.enable(tunnel('10.0.0.2')))
  assert.equal(reasonOf(alice.enable(tunnel('10.0.0.3'))), 'lack-of-addresses')
})

check('an outbound rule without a port binds nothing, and its host shows the address that it is paired with', ({ open, told }) => {
  const { outside } = now(open('alice').enable(enable({ direction: OUTBOUND, internal: tuple('10.0.0.1', UDP, 0) })))
  assert.deepEqual([outside.word0, outside.port], [ip('192.0.2.1'), 0])
  assert.deepEqual(told().map(({ op, flags }) => [op, flags]), [['rule-add', RULE_OUT]])
})

check('twice-NAT shows A3 at a port of the inside pool, 1024 first (RFC 5189 2.3.5)', ({ open, told }) => {
  const alice = open('alice')
  const { inside } = now(alice.enable(enable({ direction: BIDIRECTIONAL })))
  assert.deepEqual(inside, tuple('10.99.0.1', UDP, 1024))
  const odd = { internal: tuple('10.0.0.1', UDP, 5001), external: tuple('198.51.100.1', UDP, 6001) }
  assert.equal(now(alice.enable(enable({ parity: PARITY_SAME, ...odd }))).inside.port, 1025)
  const commands = told()
  assert.deepEqual(commands.map(({ op }) => op).slice(0, 3), ['bind-ports', 'bind-inside', 'rule-add'])
  assert.equal(commands[2].flags, RULE_OUT | RULE_IN | RULE_BOUND | RULE_TWICE)
  const refused = enable({ external: tuple('198.51.100.1', UDP, 0), internal: tuple('10.0.0.1', UDP, 5002) })
  assert.equal(reasonOf(alice.enable(refused)), 'conflict', 'a peer with shown ports gets no inside address of its own')
}, { insidePool: [ip('10.99.0.1')], service: 'twice' })

check('a disable rule ends what it overlaps, whoever owns it, and keeps it away (RFC 4540 8.8)', ({ policy, events, open, told }) => {
  const alice = open('alice'), bob = open('bob')
  open('root')
  now(alice.enable(enable()))
  told()
  events.length = 0
  const block: DisableRequest = {
    internal: tuple('0.0.0.0', UDP, 0, 1, 0), external: tuple('198.51.100.1', UDP, 0), lifetimeSec: 10,
  }
  assert.equal(now(bob.disable(block)).rule, 2)
  assert.deepEqual(events, ['root 2 10 agent', 'alice 1 0 disabled', 'root 1 0 disabled'])
  const commands = told()
  assert.deepEqual(commands.map(({ op }) => op), ['rule-add', 'rule-delete', 'unbind-ports'])
  assert.equal(commands[0].flags, RULE_DISABLE)
  assert.equal(reasonOf(alice.enable(enable())), 'blocked-by-disable-rule')
  policy.advance(10_000, Infinity)
  now(alice.enable(enable()))
})

check('a slot freed last is taken first, under its next number', ({ open }) => {
  const alice = open('alice')
  const ids = [5000, 5001, 5002].map(port => now(alice.enable(enable({ internal: tuple('10.0.0.1', UDP, port) }))).rule)
  assert.deepEqual(ids, [1, 2, 3])
  now(alice.changeLifetime(1, 0))
  now(alice.changeLifetime(3, 0))
  const again = [5000, 5002, 5003].map(port => now(alice.enable(enable({ internal: tuple('10.0.0.1', UDP, port) }))).rule)
  assert.deepEqual(again, [1 << 4 | 3, 1 << 4 | 1, 4], 'limits.rules 8 needs four bits')
})

check('rules end in order of deadlines, idle ones when their last use is long enough ago (RFC 5189 2.1.6)', ({ policy, options, events, open, told }) => {
  const alice = open('alice')
  for (const [port, lifetimeSec, maxIdleSec] of [[5000, 20, 0xffffffff], [5001, 60, 0], [5002, 60, 5]]) {
    now(alice.enable(enable({ internal: tuple('10.0.0.1', UDP, port), lifetimeSec, maxIdleSec })))
  }
  assert.equal(policy.nextDeadlineMs(), 5000)
  told()
  options.activity.lastUsedMs[3] = 4000
  assert.equal(policy.advance(8999, Infinity), false)
  assert.equal(policy.nextDeadlineMs(), 9000)
  assert.equal(policy.advance(40_000, 2), true)
  assert.equal(policy.advance(40_000, 2), false)
  assert.deepEqual(events, ['alice 3 0 idle', 'alice 2 0 idle', 'alice 1 0 expired'])
  const { expired, idle, rules } = policy.statistics()
  assert.deepEqual({ expired, idle, rules }, { expired: 1, idle: 2, rules: 0 })
}, { idleTimeoutSec: 15 })

check('a group is extended and ended as one (RFC 5189 2.4.1)', ({ policy, events, open }) => {
  const alice = open('alice'), root = open('root')
  const { group } = now(alice.enable(enable()))
  const second = now(alice.reserve(reserve({ group, lifetimeSec: 30 })))
  assert.equal(second.group, group)
  policy.advance(10_000, Infinity)
  events.length = 0
  assert.deepEqual(now(alice.groupStatus(group)), { group, owner: 'alice', lifetimeSec: 50, rules: [1, 2] })
  now(alice.changeGroupLifetime(group, 100))
  assert.equal(now(root.ruleStatus(2)).lifetimeSec, 100)
  now(root.changeGroupLifetime(group, 0))
  assert.deepEqual(events, [`root group ${group} 100`, `alice group ${group} 0`])
  assert.equal(reasonOf(alice.groupStatus(group)), 'no-such-group')
  assert.equal(policy.statistics().rules, 0)
})

check('who acts for an owner may do what the owner may, and a stranger may nothing (RFC 5189 2.1.5)', ({ open }) => {
  const alice = open('alice'), root = open('root'), bob = open('bob')
  const { rule, group } = now(alice.reserve(reserve()))
  assert.deepEqual(now(root.listRules()), [{ rule, owner: 'alice' }])
  assert.deepEqual(now(bob.listRules()), [])
  assert.equal(reasonOf(bob.ruleStatus(rule)), 'not-authorized-for-rule')
  assert.equal(reasonOf(bob.enable(enable({ group }))), 'not-authorized-for-group')
  now(root.enable(enable({ reservation: rule })))
  const joined = now(root.enable(enable({ group, internal: tuple('10.0.0.2', UDP, 5000) })))
  assert.equal(now(alice.ruleStatus(joined.rule)).owner, 'alice', 'the owner of the group')
  assert.deepEqual(now(alice.groupStatus(group)).rules, [rule, joined.rule])
})

check('a request that fails leaves no trace but its reason (RFC 5189 2.1.4)', ({ policy, events, open, told }) => {
  const alice = open('alice')
  open('root')
  // A1 is wanted only after A2 was found: a peer without a full address has none.
  const request = enable({ external: tuple('198.51.100.0', UDP, 6000, 1, 24) })
  assert.equal(reasonOf(alice.enable(request)), 'no-external-wildcarding')
  const { transactions, failures, ...rest } = policy.statistics()
  assert.deepEqual({ transactions, failures }, { transactions: 3, failures: { 'no-external-wildcarding': 1 } })
  assert.deepEqual(rest, {
    sessions: 2, rules: 0, reserveRules: 0, enableRules: 0, disableRules: 0, groups: 0, boundPorts: 0, boundAddresses: 0,
    expired: 0, idle: 0,
  })
  assert.deepEqual([told(), events, policy.nextDeadlineMs()], [[], [], Infinity])
  assert.equal(now(alice.enable(enable())).rule, 1)
}, { insidePool: [ip('10.99.0.1')], service: 'twice' })
