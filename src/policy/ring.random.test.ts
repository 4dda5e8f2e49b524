/**
 * Random requests to a core whose data plane listens only now and then, through a ring that is often full. The data plane here
 * believes nothing: every record must fit what it was told before. At last all rules end, and nothing may be left on either side.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { ALL_PORTS, BIDIRECTIONAL, OUTBOUND, PARITY_ANY, PARITY_SAME, TCP, TRADITIONAL, TWICE, UDP } from './api.ts'
import type { Session } from './api.ts'
import type { Command } from './model/commands.ts'
import { createRig, disableRequest, enableRequest, ip, reserveRequest, tuple } from './testing.ts'

/** What a data plane knows: rules by number, each bound port and address with what it is bound to. */
class Plane {
  readonly rules = new Map<number, Command>()
  readonly bound = new Map<string, string>()
  private readonly shown = new Set<string>()

  carryOut(command: Command): void {
    const { op } = command
    if (op === 'rule-add') {
      const rule = Number(command['rule'])
      assert.ok(!this.rules.has(rule), `rule ${rule} is free`)
      this.rules.set(rule, command)
    } else if (op === 'rule-delete') assert.ok(this.rules.delete(Number(command['rule'])), `${JSON.stringify(command)} exists`)
    else {
      const side = op.endsWith('inside') ? 'inside' : 'outside'
      const real = command['local'] ?? command['peer'], seen = command['outside'] ?? command['inside']
      const count = Number(command['count'] ?? 0), protocol = command['protocol'] ?? 'all'
      for (let i = 0; i < Math.max(count, 1); i++) {
        const port = (name: string, other: string) => count === 0 ? '' : Number(command[name] ?? command[other]) + i
        const from = `${side} ${protocol} ${real}:${port('localPort', 'peerPort')}`
        const to = `${side} ${protocol} ${seen}:${port('outsidePort', 'insidePort')}`
        if (op.startsWith('un')) {
          assert.equal(this.bound.get(from), to, op)
          this.bound.delete(from)
          this.shown.delete(to)
        } else {
          assert.ok(!this.bound.has(from), `${from} is bound once`)
          assert.ok(!this.shown.has(to), `${to} is bound once`)
          this.bound.set(from, to)
          this.shown.add(to)
        }
      }
    }
  }
}

const RULES = 24
type Asked = ReturnType<Session['reserve' | 'enable' | 'disable' | 'changeLifetime']> | null

function run(seed: number, hasPump: boolean): { waited: number; refused: number; made: number } {
  const random = createPrng(seed)
  function pick<T>(...from: T[]): T { return from[random.below(from.length)] }
  const plane = new Plane()
  const listen = () => { for (const command of rig.told()) plane.carryOut(command) }
  const rig = createRig({
    ringRecords: 16, stuck: true, limits: { rules: RULES, portsPerRule: 6 }, portHigh: 40_040, insidePool: [ip('10.9.0.1'), ip('10.9.0.2')],
    service: seed % 2 === 0 ? 'twice' : 'traditional', idleTimeoutSec: 40,
    ...(hasPump ? { pump: () => listen() } : {}),
  })
  const session = rig.open('root')
  const seen = { waited: 0, refused: 0, made: 0 }
  let made: number[] = [0], groups: number[] = [0]
  for (let step = 0; step < 1500; step++) {
    const range = pick(1, 1, 1, 2, 5), protocol = pick(TCP, UDP, UDP, 47, 0)
    const internal = tuple(pick('10.0.0.1', '10.0.0.2', '10.0.0.3'), pick(0, 5000, 5000, 5001, 5002), range, protocol)
    const external = tuple(pick('198.51.100.1', '198.51.100.2'), pick(0, 6000, 6002), range, protocol)
    const lifetimeSec = 1 + random.below(90), group = random.below(3) === 0 ? pick(...groups) : 0
    const parity = pick(PARITY_ANY, PARITY_SAME), direction = pick(BIDIRECTIONAL, OUTBOUND)
    const what = random.below(20)
    const rules = rig.policy.statistics().rules
    let outcome: Asked = null
    if (what < 7) outcome = session.enable(enableRequest({ internal, external, lifetimeSec, group, parity, direction }))
    else if (what < 9) outcome = session.enable(enableRequest({ reservation: pick(...made), internal, external, lifetimeSec }))
    else if (what < 12) {
      const service = pick(TRADITIONAL, TWICE), host = pick(null, null, internal)
      outcome = session.reserve(reserveRequest({ protocol, range: pick(range, range, ALL_PORTS), internal: host, lifetimeSec, group, service }))
    } else if (what < 15) outcome = session.changeLifetime(pick(...made), pick(0, 0, lifetimeSec))
    else if (what < 16) outcome = session.changeGroupLifetime(pick(...groups), pick(0, lifetimeSec))
    else if (what < 17 && random.below(4) === 0) outcome = session.disable(disableRequest({ internal, external, lifetimeSec: 3 }))
    if (outcome !== null && 'ok' in outcome) {
      if (!outcome.ok) seen.refused += outcome.reason === 'lack-of-resources' && rules < RULES ? 1 : 0
      else if ('rule' in outcome.value) {
        seen.made++
        made = [...made.slice(-12), outcome.value.rule]
        if ('group' in outcome.value) groups = [...groups.slice(-6), outcome.value.group]
      }
    }
    if (what >= 17) rig.pass(random.below(4000), 1 + random.below(4))
    if (rig.policy.ticket() !== rig.ring.written()) seen.waited++
    if (random.below(12) === 0) {
      const ticket = rig.policy.ticket()
      while (((rig.policy.appliedTicket() - ticket) | 0) < 0) {
        listen()
        rig.policy.applied()
      }
      assert.equal(rig.policy.appliedTicket(), ticket, 'the ticket foretold the number of the last record')
      const { enableRules, disableRules } = rig.policy.statistics()
      assert.equal(plane.rules.size, enableRules + disableRules)
    }
  }
  // All rules end.
  while (rig.pass(1_000_000)) listen()
  const ticket = rig.policy.ticket()
  while (((rig.policy.appliedTicket() - ticket) | 0) < 0) {
    listen()
    rig.policy.applied()
  }
  const { rules, groups: groupsLeft, boundPorts, boundAddresses } = rig.policy.statistics()
  assert.deepEqual({ rules, groupsLeft, boundPorts, boundAddresses }, { rules: 0, groupsLeft: 0, boundPorts: 0, boundAddresses: 0 })
  assert.deepEqual([plane.rules.size, plane.bound.size], [0, 0])
  return seen
}

for (const hasPump of [false, true]) {
  test(`ring: ${hasPump ? 'with' : 'without'} its help the data plane is told nothing that does not fit, and at last all is gone`, () => {
    let waited = 0, refused = 0, made = 0
    for (let seed = 1; seed <= 12; seed++) {
      try {
        const seen = run(seed, hasPump)
        waited += seen.waited
        refused += seen.refused
        made += seen.made
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    assert.ok(made > 1000, `${made} rules made`)
    // With help nothing ever waits for long, without it this is the point.
    if (!hasPump) assert.ok(waited > 500 && refused > 100, `${waited} steps in which rules waited, ${refused} refused for want of room`)
  })
}
