/**
 * What a journal keeps of rules brings them back as they were: random rules are saved, brought back into a box that has just been
 * started, and compared; then the rest of their lives is the same. PINHOLE_RUNS soaks.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import {
  ALL_PORTS, BIDIRECTIONAL, INBOUND, OUTBOUND, PARITY_ANY, PARITY_EVEN, PARITY_SAME, TCP, UDP, type BookSession, type PolicyCore,
  type RuleStatus, type SavedRule, type SessionListener,
} from './api.ts'
import { AccountingPlane } from './model/plane.ts'
import { A0, A3, createRig, disableRequest, enableRequest, ip, lines, ok, reasonOf, reserveRequest, tuple, type Rig, type RigOptions } from './testing.ts'

const RUNS = Math.max(200, Number(process.env['PINHOLE_RUNS'] ?? 0))
const listener: SessionListener = { ruleEvent() {}, groupEvent() {}, terminated() {} }

function book(rig: Rig) { return (rig.policy as PolicyCore).book }
function open(rig: Rig, agent = 'alice'): BookSession { return ok(book(rig).openSession(agent, listener)) as BookSession }

/** A status without what a restart may change. */
function lasting(status: RuleStatus | undefined) {
  assert.ok(status !== undefined)
  return { ...status, rule: 0, group: 0 }
}

const hosts = fc.constantFrom('10.0.0.1', '10.0.0.1', '10.0.0.2', 'fd00::1', '10.0.0.0/24')
const peers = fc.constantFrom('198.51.100.1', '198.51.100.2', '2001:db8::1', '0.0.0.0/0')
const step = fc.record({
  what: fc.constantFrom('reserve', 'reserve-whole', 'enable', 'enable', 'enable', 'use', 'end', 'pass'), agent: fc.constantFrom('alice', 'bob'),
  host: hosts, peer: peers, port: fc.constantFrom(5000, 5001, 5002, 0), peerPort: fc.constantFrom(6000, 6001, 0), range: fc.constantFrom(1, 1, 2, 3),
  protocol: fc.constantFrom(UDP, UDP, TCP, 47, 0), direction: fc.constantFrom(INBOUND, OUTBOUND, BIDIRECTIONAL), parity: fc.constantFrom(PARITY_ANY, PARITY_SAME),
  named: fc.boolean(), at: fc.nat(50), seconds: fc.constantFrom(10, 60, 600), idle: fc.constantFrom(0, 0, 30, 0xffffffff),
})
const boxes = fc.record({ nat44: fc.constantFrom(true, true, true, false), twice: fc.boolean(), seed: fc.nat() })
let seen = new Map<string, number>()

test('book: rules that were saved come back with the ports, addresses and lifetimes that they had (RFC 5190 midcomRuleStorageType)', () => {
  seen = new Map()
  fc.assert(fc.property(boxes, fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), ({ nat44, twice, seed }, steps) => {
    const settings: RigOptions = { nat44, seed, service: twice ? 'twice' : 'traditional', insidePool: twice ? [ip('10.99.0.1'), ip('10.99.0.2')] : [], limits: { portsPerRule: 4 } }
    const before = createRig(settings)
    const sessions = { alice: open(before, 'alice'), bob: open(before, 'bob') }
    const made: number[] = []
    for (const s of steps) {
      const session = sessions[s.agent as 'alice' | 'bob']
      const internal = tuple(s.host, s.port, s.range, s.protocol), external = tuple(s.peer, s.peerPort, s.range, s.protocol)
      const group = s.at % 3 === 0 ? s.at % 5 : 0
      if (s.what === 'reserve' || s.what === 'reserve-whole') {
        const outcome = session.reserve(reserveRequest({
          internal: s.named ? internal : null, internalVersion: internal.version, externalVersion: internal.version, protocol: s.protocol,
          range: s.what === 'reserve' ? s.range : ALL_PORTS, lifetimeSec: s.seconds, parity: s.parity === PARITY_SAME ? PARITY_EVEN : PARITY_ANY, group,
        }))
        if (!(outcome instanceof Promise) && outcome.ok) made.push(outcome.value.rule)
      } else if (s.what === 'enable' || s.what === 'use') {
        const reservation = s.what === 'use' ? made[s.at % Math.max(1, made.length)] ?? 0 : 0
        const outcome = session.enable(enableRequest({ reservation, internal, external, direction: s.direction, parity: s.parity, lifetimeSec: s.seconds, maxIdleSec: s.idle, group }))
        if (!(outcome instanceof Promise) && outcome.ok) made.push(outcome.value.rule)
      } else if (s.what === 'end') reasonOf(session.changeLifetime(made[s.at % Math.max(1, made.length)] ?? 0, 0))
      else before.pass(s.at * 100)
    }
    const rules = book(before).rules()
    const saved = rules.map((rule) => book(before).save(rule)!)
    for (const { action, outsideBy, insideBy } of saved) {
      const what = `${action} ${outsideBy} ${insideBy}`
      seen.set(what, (seen.get(what) ?? 0) + 1)
    }

    const after = createRig(settings)
    const groups = new Map<number, number>()
    // Written down and read again.
    const read = JSON.parse(JSON.stringify(saved)) as SavedRule[]
    const again = read.map((rule, i) => {
      const group = (book(before).describe(rules[i]) as { group: number }).group
      const { value } = book(after).restore(rule, groups.get(group) ?? 0) as { value: { rule: number; group: number } }
      assert.ok(value !== undefined, JSON.stringify(rule))
      groups.set(group, value.group)
      return value.rule
    })
    assert.deepEqual(again.map((rule) => lasting(book(after).describe(rule))), rules.map((rule) => lasting(book(before).describe(rule))))
    assert.deepEqual(again.map((rule) => ({ ...book(after).save(rule)! })), saved)
    const numbers = ({ policy }: Rig) => {
      const { rules: count, reserveRules, enableRules, groups: those, boundPorts, boundAddresses } = policy.statistics()
      return { count, reserveRules, enableRules, those, boundPorts, boundAddresses }
    }
    assert.deepEqual(numbers(after), numbers(before))
    // The data plane can keep the books of what it is told, and in the end has nothing left.
    const plane = new AccountingPlane()
    for (const command of after.told()) plane.carryOut(command)
    after.pass(3_600_000, 1000)
    for (const command of after.told()) plane.carryOut(command)
    assert.deepEqual(numbers(after), { count: 0, reserveRules: 0, enableRules: 0, those: 0, boundPorts: 0, boundAddresses: 0 })
  }), { numRuns: RUNS, includeErrorInReport: true })
})

test('the comparison has met ports, whole addresses, dynamic mappings, twice-NAT and rules without translation', (t) => {
  t.diagnostic([...seen].map(([what, times]) => `${what}: ${times}`).join(', '))
  const wanted = ['reserve 1 0', 'reserve 2 0', 'reserve 0 0', 'reserve 1 1', 'enable 1 0', 'enable 2 0', 'enable 3 0', 'enable 4 0', 'enable 0 0', 'enable 1 1']
  assert.deepEqual(wanted.filter((what) => !seen.has(what)), [])
})

test('book: a rule whose ports somebody else has by now does not come back', () => {
  const before = createRig({ seed: 1 }), after = createRig({ seed: 1 })
  ok(open(before).enable(enableRequest()))
  const saved = book(before).save(1)!
  ok(open(after).enable(enableRequest({ internal: tuple('10.0.0.9', 5000) })))
  const taken = book(after).save(1)!
  const outcome = book(after).restore({ ...saved, outsideAddress: taken.outsideAddress, outsidePort: taken.outsidePort }, 0)
  assert.equal(reasonOf(outcome), 'conflict')
  assert.equal(reasonOf(book(after).restore({ ...saved, outsidePort: 39_999 }, 0)), 'lack-of-ports')
  assert.equal(reasonOf(book(after).restore({ ...saved, outsideAddress: ip('192.0.2.77') }, 0)), 'lack-of-addresses')
  assert.equal(reasonOf(book(createRig({ nat44: false })).restore(saved, 0)), 'lack-of-addresses', 'the box no longer translates')
  assert.equal(reasonOf(book(after).restore({ ...saved, remainingMs: 0 }, 0)), 'lifetime-zero')
  assert.equal(after.policy.statistics().rules, 1)
  assert.equal(reasonOf(book(after).restore(saved, 0)), 'ok')
})

test('book: whoever watches hears of each rule, of members of groups too, and who asked', () => {
  const rig = createRig()
  const heard: string[] = []
  const mine: SessionListener = { ...listener }
  book(rig).watch((rule, lifetimeSec, cause, by) => heard.push(`${rule} ${lifetimeSec} ${cause} ${by === null ? 'nobody' : by === mine ? 'mine' : 'other'}`))
  const session = ok(book(rig).openSession('alice', mine)) as BookSession
  const { group } = ok(session.enable(enableRequest()))
  ok(rig.open('bob').reserve(reserveRequest()))
  ok(session.enable(enableRequest({ group, external: tuple('198.51.100.9', 6000) })))
  ok(session.changeGroupLifetime(group, 30))
  ok(session.changeLifetime(1, 20))
  rig.pass(20_000)
  rig.policy.terminateRule(2, 'administrator')
  ok(session.changeGroupLifetime(group, 0))
  assert.deepEqual(heard, [
    '1 60 agent mine', '2 60 agent other', '3 60 agent mine', '1 30 agent mine', '3 30 agent mine', '1 20 agent mine', '1 0 expired nobody',
    '2 0 administrator nobody', '3 0 agent mine',
  ])
})

test('book: who acts in the name of another does not hear of it; whoever else may, does (RFC 5189 2.3.4)', () => {
  const rig = createRig()
  const heard: string[] = []
  const root = ok(book(rig).openSession('root', { ...listener, ruleEvent: (rule) => heard.push(`root ${rule}`) })) as BookSession
  ok(root.reserveFor('alice', reserveRequest()))
  assert.deepEqual([heard, rig.events], [[], []])
  rig.open('alice')
  ok(root.enableFor('alice', enableRequest()))
  assert.deepEqual([heard, rig.events], [[], ['alice: rule 2 60 agent']])
})

test('book: several lifetimes change in one transaction, or none does', () => {
  const rig = createRig({ extend: false })
  const session = open(rig)
  const first = ok(session.enable(enableRequest())), second = ok(session.enable(enableRequest({ external: tuple('198.51.100.7', 1) })))
  const wrong = [{ rule: first.rule, group: 0, lifetimeSec: 10 }, { rule: second.rule, group: 0, lifetimeSec: 61 }]
  assert.deepEqual(session.refusal(wrong), { reason: 'lifetime-cannot-be-extended', index: 1 })
  assert.deepEqual(session.changeLifetimes(wrong), { ok: false, reason: 'lifetime-cannot-be-extended', index: 1 })
  assert.equal(book(rig).lifetimeSec(first.rule), 60)
  const right = [{ rule: first.rule, group: 0, lifetimeSec: 0 }, { rule: 0, group: second.group, lifetimeSec: 20 }]
  assert.equal(session.refusal(right), null)
  assert.deepEqual(session.changeLifetimes(right), { ok: true, value: [{ lifetimeSec: 0 }, { lifetimeSec: 20 }] })
  assert.deepEqual([first, second].map(({ rule }) => book(rig).lifetimeSec(rule)), [0, 20])
  assert.deepEqual(session.refusal([{ rule: first.rule, group: 0, lifetimeSec: 5 }]), { reason: 'no-such-rule', index: 0 })
  assert.deepEqual(open(rig, 'bob').refusal([{ rule: second.rule, group: 0, lifetimeSec: 5 }]), { reason: 'not-authorized-for-rule', index: 0 })
  session.end()
  assert.equal(session.refusal(right)?.reason, 'session-not-open')
})

test('book: an authorizer that takes its time is asked when lifetimes change, not whether they would', async () => {
  const asked: string[] = []
  let permit = false
  const rig = createRig({
    authorizer: {
      decide: (question) => {
        asked.push(question.kind)
        return question.kind === 'lifetime' ? Promise.resolve(permit ? { permit } : { permit: false as const }) : { permit: true }
      },
      mayAccess: (agent, owner) => agent === owner,
    },
  })
  const session = open(rig)
  const { rule } = ok(session.enable(enableRequest()))
  const change = [{ rule, group: 0, lifetimeSec: 0 }]
  assert.equal(session.refusal(change), null)
  assert.deepEqual(await session.changeLifetimes(change), { ok: false, reason: 'not-authorized-for-transaction', index: 0 })
  permit = true
  assert.deepEqual(await session.changeLifetimes(change), { ok: true, value: [{ lifetimeSec: 0 }] })
})

test('book: rules that disable are not in it, and a rule that is gone is not there', () => {
  const rig = createRig()
  const session = open(rig)
  ok(session.disable(disableRequest()))
  assert.deepEqual(book(rig).rules(), [])
  assert.equal(book(rig).save(1), undefined)
  assert.equal(book(rig).describe(99), undefined)
  assert.equal(book(rig).save(99), undefined)
  assert.equal(book(rig).lifetimeSec(99), 0)
  assert.deepEqual(lines(rig.told()), ['rule-add 1'])
  assert.equal(book(rig).mayAccess('root', 'alice'), true)
  assert.deepEqual([A0.port, A3.port], [5000, 6000])
})
