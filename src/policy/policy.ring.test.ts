/**
 * A data plane that lags until the command ring is full: policy must never write what cannot be carried out, whoever was refused
 * for want of room changed nothing, and in the end the data plane has exactly the rules that live.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { parse4, parsePrefix } from '../base/address.ts'
import { createCommandRing, createRuleActivity } from '../channel/commands.ts'
import { INBOUND, PARITY_ANY, UDP, type Outcome, type Session, type Tuple } from './api.ts'
import { decode } from './model/commands.ts'
import { AccountingPlane } from './model/plane.ts'
import { createPolicy } from './policy.ts'

const RUNS = Number(process.env['PINHOLE_RUNS'] ?? 400)
const RULES = 12, PORTS_PER_RULE = 4

function int32(address: string): number {
  const parsed = parse4(address)
  assert.ok(parsed.ok)
  return parsed.value
}

function tuple(address: string, port: number, range: number): Tuple {
  return { version: 4, word0: int32(address), word1: 0, word2: 0, word3: 0, prefixBits: 32, protocol: UDP, port, range }
}

const ends = fc.record({
  host: fc.constantFrom('10.0.0.1', '10.0.0.2'), port: fc.integer({ min: 5000, max: 5007 }),
  range: fc.integer({ min: 1, max: PORTS_PER_RULE }),
})
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('enable' as const), ends, lifetimeSec: fc.integer({ min: 1, max: 20 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('disable' as const), ends, lifetimeSec: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('end' as const), at: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(500, 1000, 5000) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('apply' as const), records: fc.integer({ min: 1, max: 6 }) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

const reached = { full: 0, refused: 0, waited: 0 }

function run(steps: Step[], ringRecords: number, twice: boolean): void {
  const inside = parsePrefix('10.0.0.0/8')
  assert.ok(inside.ok)
  const ring = createCommandRing(ringRecords), plane = new AccountingPlane()
  const policy = createPolicy({
    ring, activity: createRuleActivity(RULES), nat44: true, pool: [int32('192.0.2.1')], portLow: 40_000, portHigh: 40_999,
    addresses: [], insidePool: twice ? [int32('10.99.0.1')] : [], inside: [inside.value], seed: 1,
    limits: { rules: RULES, portsPerRule: PORTS_PER_RULE, sessions: 1, boundPorts: 100 }, maxLifetimeSec: 3600, idleTimeoutSec: 0,
    extend: true, wildcards: { internal: true, external: true, ports: true }, service: 'twice', strictNatMode: false,
    disableRules: true, authorizer: { decide: () => ({ permit: true }), mayAccess: () => true },
  })
  const opened = policy.openSession('alice', { ruleEvent() {}, groupEvent() {}, terminated() {} })
  assert.ok(!(opened instanceof Promise) && opened.ok)
  const session: Session = opened.value
  let nowMs = 0
  policy.advance(nowMs, Infinity)

  /** At most so many records; policy is told, as it is by whoever runs the data plane. */
  function apply(records: number): void {
    for (let at = ring.peek(); at >= 0 && records > 0; at = ring.peek(), records--) {
      plane.carryOut(decode(ring.words, at))
      ring.done()
    }
    policy.applied()
  }
  function live(): number[] {
    const listed = session.listRules()
    assert.ok(!(listed instanceof Promise) && listed.ok)
    return listed.value.map(({ rule }) => rule)
  }
  function ask(call: () => Outcome<unknown> | Promise<Outcome<unknown>>): boolean {
    const before = live(), room = ring.room()
    const outcome = call()
    assert.ok(!(outcome instanceof Promise))
    if (outcome.ok) return true
    assert.ok(['lack-of-resources', 'conflict', 'blocked-by-disable-rule', 'lack-of-ports'].includes(outcome.reason), outcome.reason)
    if (outcome.reason === 'lack-of-resources' && before.length < RULES) reached.refused++
    assert.deepEqual(live(), before, 'a refused request changes nothing')
    assert.equal(ring.room(), room, 'and writes nothing')
    return false
  }

  for (const step of steps) {
    switch (step.kind) {
      case 'enable': {
        const { host, port, range } = step.ends
        ask(() => session.enable({
          reservation: 0, group: 0, direction: INBOUND, parity: PARITY_ANY, internal: tuple(host, port, range),
          external: tuple('198.51.100.1', port, range), lifetimeSec: step.lifetimeSec, maxIdleSec: 0,
        }))
        break
      }
      case 'disable': {
        const { host, port, range } = step.ends
        ask(() => session.disable({
          internal: tuple(host, port, range), external: tuple('198.51.100.1', 0, 1), lifetimeSec: step.lifetimeSec,
        }))
        break
      }
      case 'end': {
        const rules = live()
        if (rules.length === 0) break
        const rule = rules[step.at % rules.length]
        if (ask(() => session.changeLifetime(rule, 0))) assert.ok(!live().includes(rule), 'a rule ends at once')
        break
      }
      case 'time': policy.advance(nowMs += step.ms, Infinity); break
      case 'apply': apply(step.records); break
    }
    if (ring.room() === 0) reached.full++
    assert.equal(live().length, policy.statistics().rules)
  }
  // All is carried out, and what waited for room comes after it.
  for (let last = ring.written() - 1; last !== ring.written();) {
    last = ring.written()
    apply(Infinity)
    if (ring.written() !== last) reached.waited++
  }
  assert.equal(plane.rules.size, live().length)
  assert.equal(plane.boundPorts, policy.statistics().boundPorts)
  policy.advance(nowMs + 100_000, Infinity)
  while (ring.peek() >= 0) apply(Infinity)
  assert.deepEqual([plane.rules.size, plane.bound.size, live(), policy.statistics().boundPorts], [0, 0, [], 0])
}

test('a full command ring loses nothing and invents nothing', () => {
  const steps = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' })
  fc.assert(fc.property(steps, fc.constantFrom(8, 16), fc.boolean(), run),
    { numRuns: RUNS, unbiased: true, includeErrorInReport: true })
  assert.ok(RUNS < 400 || Object.values(reached).every(times => times > 0), JSON.stringify(reached))
})
