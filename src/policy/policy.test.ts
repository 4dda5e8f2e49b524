/** What the boxes of RFC 5189 2.3.5 do with rules: bindings and their sharing, groups, owners, lists; and what it costs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pairedIndex } from '../channel/pairing.ts'
import { createCommandRing, createRuleActivity, RULE_BOUND, RULE_IN, RULE_OUT, RULE_TWICE } from '../channel/commands.ts'
import { createPrng } from '../base/prng.ts'
import {
  ALL_PORTS, BIDIRECTIONAL, OUTBOUND, PARITY_ANY, PARITY_EVEN, PARITY_ODD, PARITY_SAME, TCP, TRADITIONAL, TWICE, UDP,
} from './api.ts'
import { createPolicy } from './policy.ts'
import { A0, A3, createRig, disableRequest, enableRequest, ip, lines, ok, reasonOf, reserveRequest, tuple } from './testing.ts'

const PURE = { nat44: false }
const TWICE_BOX = { insidePool: [ip('10.9.0.1'), ip('10.9.0.2')], service: 'twice' as const }

test('firewall: an enable rule opens the way between the tuples as they are, A2 is A0 and A1 is A3 (RFC 5189 2.3.5)', () => {
  const rig = createRig(PURE)
  const internal = tuple('10.0.0.77/24', 0), external = tuple('198.51.100.9', 6000, 4)
  const { rule, outside, inside } = ok(rig.open().enable(enableRequest({ internal, external, direction: OUTBOUND })))
  assert.deepEqual(outside, internal)
  assert.deepEqual(inside, external)
  const [command, ...rest] = rig.told()
  assert.deepEqual(rest, [])
  assert.deepEqual(command, {
    op: 'rule-add', rule, flags: RULE_OUT, priority: 1, version: 4, protocol: UDP, localBits: 24, peerBits: 32,
    localPorts: 0xffff, peerPorts: 6000 << 16 | 6003, local0: ip('10.0.0.0'), local1: 0, local2: 0, local3: 0,
    peer0: ip('198.51.100.9'), peer1: 0, peer2: 0, peer3: 0,
  })
})

test('firewall: a reservation for a prefix that cannot be is refused, as an enable rule is, and not granted for nobody', () => {
  const session = createRig(PURE).open()
  const v6 = { ...A0, version: 6 as const, word0: 0x20010db8 | 0 }
  for (const internal of [{ ...A0, prefixBits: 33 }, { ...A0, prefixBits: -1 }, { ...v6, prefixBits: 129 }]) {
    const request = reserveRequest({ internal, internalVersion: internal.version, externalVersion: 0 })
    assert.equal(reasonOf(session.reserve(request)), 'inconsistent', `/${internal.prefixBits}`)
  }
  ok(session.reserve(reserveRequest({ internal: { ...v6, prefixBits: 128 }, internalVersion: 6, externalVersion: 0 })))
})

test('firewall: a reservation reserves nothing and tells the data plane nothing, but goes through the same states (RFC 5189 2.3.8)', () => {
  const rig = createRig(PURE)
  const session = rig.open()
  const reserved = ok(session.reserve(reserveRequest({ range: 2 })))
  assert.deepEqual([reserved.outside.prefixBits, reserved.outside.protocol, reserved.inside], [0, UDP, null])
  assert.equal(ok(session.ruleStatus(reserved.rule)).action, 'reserve')
  assert.deepEqual(rig.told(), [])
  const enabled = ok(session.enable(enableRequest({
    reservation: reserved.rule, internal: { ...A0, range: 2 }, external: { ...A3, range: 2 },
  })))
  assert.deepEqual([enabled.rule, enabled.group], [reserved.rule, reserved.group])
  assert.equal(ok(session.ruleStatus(reserved.rule)).action, 'enable')
  assert.equal(rig.policy.statistics().reserveRules, 0)
})

test('firewall: IPv6 addresses come back as they were sent, also on a NAT, and their places are used again', () => {
  const rig = createRig({ limits: { rules: 3 } })
  const session = rig.open()
  const requests = [1, 2, 3].map((n) => enableRequest({
    internal: tuple(`fd00::${n}`, 5000), external: tuple(`2001:db8:${n}::/48`, 6000), direction: BIDIRECTIONAL,
  }))
  for (let round = 0; round < 4; round++) {
    const rules = requests.map((request) => ok(session.enable(request)).rule)
    rules.forEach((rule, i) => {
      const status = ok(session.ruleStatus(rule))
      assert.ok(status.action === 'enable')
      assert.deepEqual([status.internal, status.external], [requests[i].internal, requests[i].external])
      assert.deepEqual([status.outside, status.inside], [requests[i].internal, requests[i].external])
    })
    const told = rig.told()
    assert.equal(told.length, 3)
    assert.equal(told[1]['local3'], 2)
    for (const rule of rules) ok(session.changeLifetime(rule, 0))
    rig.told()
  }
})

test('NAPT: a port is bound at the address that A0 is paired with, from a drawn port on (docs/midcom.md, Binding)', () => {
  const rig = createRig()
  const { rule, outside } = ok(rig.open().enable(enableRequest()))
  const { pool, seed, portLow, portHigh } = rig.options
  const start = portLow + createPrng(seed).below(portHigh - portLow + 1)
  assert.deepEqual(outside, { ...A0, word0: pool[pairedIndex(A0.word0, seed, pool.length)], port: start })
  const [bind, add, ...rest] = rig.told()
  assert.deepEqual(rest, [])
  assert.deepEqual(bind, {
    op: 'bind-ports', protocol: UDP, count: 1, local: A0.word0, localPort: 5000, outside: outside.word0, outsidePort: outside.port,
  })
  assert.deepEqual([add['op'], add['rule'], add['flags']], ['rule-add', rule, RULE_IN | RULE_BOUND])
})

test('NAPT: rules of one A0 share its binding, which ends with the last of them (RFC 5189 2.3.9, RFC 5190 5.3.1)', () => {
  const rig = createRig()
  const session = rig.open()
  const first = ok(session.enable(enableRequest()))
  const second = ok(session.enable(enableRequest({ external: tuple('198.51.100.2', 7000) })))
  assert.deepEqual(second.outside, first.outside)
  assert.deepEqual(lines(rig.told()), ['bind-ports 5000+1', 'rule-add 1', 'rule-add 2'])
  ok(session.changeLifetime(first.rule, 0))
  assert.deepEqual(lines(rig.told()), ['rule-delete 1'])
  assert.equal(rig.policy.statistics().boundPorts, 1)
  ok(session.changeLifetime(second.rule, 0))
  assert.deepEqual(lines(rig.told()), ['rule-delete 2', 'unbind-ports 5000+1'])
  assert.equal(rig.policy.statistics().boundPorts, 0)
})

test('NAPT: TCP and UDP ports of one A0 are bound apart', () => {
  const rig = createRig({ portHigh: 40_000 })
  const session = rig.open()
  const udp = ok(session.enable(enableRequest()))
  const tcp = ok(session.enable(enableRequest({ internal: { ...A0, protocol: TCP }, external: { ...A3, protocol: TCP } })))
  assert.deepEqual([udp.outside.port, tcp.outside.port], [40_000, 40_000])
})

test('NAPT: a range is a run of ports, bound by one command, and shared in part (RFC 5189 2.3.5)', () => {
  const rig = createRig()
  const session = rig.open()
  const range = (port: number, count: number) => enableRequest({ internal: tuple('10.0.0.1', port, count), external: { ...A3, range: count } })
  const four = ok(session.enable(range(5000, 4)))
  assert.deepEqual(lines(rig.told()), ['bind-ports 5000+4', 'rule-add 1'])
  const inner = ok(session.enable(range(5001, 2)))
  assert.equal(inner.outside.port, four.outside.port + 1)
  assert.deepEqual(lines(rig.told()), ['rule-add 2'])
  assert.equal(reasonOf(session.enable(range(5003, 2))), 'conflict', 'one of two ports is bound')
  ok(session.changeLifetime(four.rule, 0))
  assert.deepEqual(lines(rig.told()), ['rule-delete 1', 'unbind-ports 5000+1', 'unbind-ports 5003+1'])
  // Ports at both ends are free: another rule over all four finds some bound, some not.
  assert.equal(reasonOf(session.enable(range(5000, 4))), 'conflict')
  ok(session.changeLifetime(inner.rule, 0))
  assert.deepEqual(lines(rig.told()), ['rule-delete 2', 'unbind-ports 5001+2'])
})

test('NAPT: ports that a reservation holds are bound when the first enable rule needs them, each once', () => {
  const rig = createRig()
  const session = rig.open()
  ok(session.reserve(reserveRequest({ internal: tuple('10.0.0.1', 5000), range: 5 })))
  const at = (port: number, count: number) =>
    ok(session.enable(enableRequest({ internal: tuple('10.0.0.1', port, count), external: { ...A3, range: count } })))
  at(5001, 1)
  at(5003, 1)
  assert.deepEqual(lines(rig.told()), ['bind-ports 5001+1', 'rule-add 2', 'bind-ports 5003+1', 'rule-add 3'])
  const all = at(5000, 5)
  assert.deepEqual(lines(rig.told()), ['bind-ports 5000+1', 'bind-ports 5002+1', 'bind-ports 5004+1', 'rule-add 4'])
  ok(session.changeLifetime(all.rule, 0))
  assert.deepEqual(lines(rig.told()), ['rule-delete 4', 'unbind-ports 5000+1', 'unbind-ports 5002+1', 'unbind-ports 5004+1'])
  assert.equal(rig.policy.statistics().boundPorts, 5)
})

test('NAPT: parity of the lowest port is kept if asked for, of every run (RFC 5189 2.3.6)', () => {
  const rig = createRig({ pool: [ip('192.0.2.1')] })
  const session = rig.open()
  for (let i = 0; i < 20; i++) {
    const port = 5000 + 3 * i
    const { outside } = ok(session.enable(enableRequest({
      internal: tuple('10.0.0.1', port, 2), external: { ...A3, range: 2 }, parity: PARITY_SAME,
    })))
    assert.equal(outside.port % 2, port % 2)
    const reserved = ok(session.reserve(reserveRequest({ parity: i % 2 === 0 ? PARITY_EVEN : PARITY_ODD })))
    assert.equal(reserved.outside.port % 2, i % 2)
  }
})

test('NAPT: shared ports of the other parity are a conflict if parity is asked for', () => {
  const rig = createRig({ portLow: 40_001, portHigh: 40_001 })
  const session = rig.open()
  ok(session.enable(enableRequest({ parity: PARITY_ANY })))
  assert.equal(reasonOf(session.enable(enableRequest({ parity: PARITY_SAME }))), 'conflict')
  assert.equal(reasonOf(session.enable(enableRequest({ parity: PARITY_ANY }))), 'ok')
})

test('NAPT: every port can be bound once, at one address after the other; then there is none', () => {
  const rig = createRig({ portHigh: 40_049, ringRecords: 256 })
  const session = rig.open()
  const seen = new Set<string>()
  for (let i = 0; i < 100; i++) {
    const { outside } = ok(session.enable(enableRequest({ internal: tuple('10.0.0.1', 5000 + i) })))
    assert.ok(outside.port >= 40_000 && outside.port <= 40_049)
    seen.add(outside.word0 + ':' + outside.port)
  }
  assert.equal(seen.size, 100)
  rig.policy.terminateRule(17, 'administrator')
  assert.equal(reasonOf(session.enable(enableRequest({ internal: tuple('10.0.0.1', 5016) }))), 'ok')
  assert.equal(reasonOf(session.enable(enableRequest({ internal: tuple('10.0.0.2', 5000) }))), 'lack-of-resources')
})

test('NAPT: a reservation becomes the enable rule of its identifier, group and ports, and binds them (RFC 5189 2.3.9)', () => {
  const rig = createRig()
  const alice = rig.open('alice'), root = rig.open('root')
  const reserved = ok(alice.reserve(reserveRequest({ range: 2, parity: PARITY_EVEN })))
  assert.deepEqual(rig.told(), [])
  const enabled = ok(root.enable(enableRequest({
    reservation: reserved.rule, internal: tuple('10.0.0.1', 5000, 2), external: { ...A3, range: 2 }, parity: PARITY_SAME,
  })))
  assert.deepEqual({ ...enabled.outside }, reserved.outside)
  assert.deepEqual([enabled.rule, enabled.group], [reserved.rule, reserved.group])
  assert.equal(ok(alice.ruleStatus(enabled.rule)).owner, 'alice', 'the owner stays')
  assert.deepEqual(lines(rig.told()), ['bind-ports 5000+2', 'rule-add 1'])
  ok(alice.changeLifetime(enabled.rule, 0))
  assert.deepEqual(lines(rig.told()), ['rule-delete 1', 'unbind-ports 5000+2'])
  assert.equal(rig.policy.statistics().boundPorts, 0)
})

test('NAPT: an A0 that is bound cannot use a reservation of other ports, which stays as it is (RFC 5189 2.3.9)', () => {
  const rig = createRig()
  const session = rig.open()
  ok(session.enable(enableRequest()))
  const { rule: reservation } = ok(session.reserve(reserveRequest({ lifetimeSec: 20 })))
  assert.equal(reasonOf(session.enable(enableRequest({ reservation }))), 'conflict')
  const status = ok(session.ruleStatus(reservation))
  assert.deepEqual([status.action, status.lifetimeSec], ['reserve', 20])
})

test('NAPT: a reservation for an A0 takes over the ports that it has already', () => {
  const rig = createRig()
  const session = rig.open()
  const enabled = ok(session.enable(enableRequest()))
  const reserved = ok(session.reserve(reserveRequest({ internal: A0 })))
  assert.deepEqual([reserved.outside.word0, reserved.outside.port], [enabled.outside.word0, enabled.outside.port])
  ok(session.changeLifetime(enabled.rule, 0))
  assert.deepEqual(lines(rig.told()).at(-1), 'unbind-ports 5000+1')
  assert.equal(rig.policy.statistics().boundPorts, 1, 'the reservation holds it')
  const again = ok(session.enable(enableRequest({ reservation: reserved.rule })))
  assert.equal(again.outside.port, enabled.outside.port)
  assert.deepEqual(lines(rig.told()), ['bind-ports 5000+1', 'rule-add 2'])
})

test('address binding: A0 gets the first free address for all protocols, which its ports then share (docs/midcom.md, Binding)', () => {
  const rig = createRig()
  const session = rig.open()
  const gre = { internal: tuple('10.0.0.1', 0, 1, 47), external: tuple('198.51.100.1', 0, 1, 47), direction: BIDIRECTIONAL }
  const whole = ok(session.enable(enableRequest(gre)))
  assert.deepEqual([whole.outside.word0, whole.outside.port], [ip('192.0.2.100'), 0])
  assert.deepEqual(lines(rig.told()), ['bind-address', 'rule-add 1'])
  const port = ok(session.enable(enableRequest()))
  assert.deepEqual([port.outside.word0, port.outside.port], [ip('192.0.2.100'), 5000], 'ports as they are')
  const dynamic = ok(session.enable(enableRequest({ internal: tuple('10.0.0.1'), direction: OUTBOUND })))
  assert.deepEqual([dynamic.outside.word0, dynamic.outside.port], [ip('192.0.2.100'), 0])
  const { rule: reservation } = ok(session.reserve(reserveRequest()))
  assert.equal(reasonOf(session.enable(enableRequest({ reservation }))), 'conflict', 'ports of another address are reserved')
  assert.deepEqual(lines(rig.told()), ['rule-add 2', 'rule-add 3'])
  const other = ok(session.enable(enableRequest({ ...gre, internal: tuple('10.0.0.2', 0, 1, 47) })))
  assert.equal(other.outside.word0, ip('192.0.2.101'))
  ok(session.changeLifetime(whole.rule, 0))
  assert.equal(rig.policy.statistics().boundAddresses, 2)
  ok(session.changeLifetime(port.rule, 0))
  assert.equal(rig.policy.statistics().boundAddresses, 2, 'what the outbound rule promises stays its own')
  ok(session.changeLifetime(dynamic.rule, 0))
  assert.deepEqual(lines(rig.told()).slice(2), ['rule-delete 1', 'rule-delete 2', 'rule-delete 3', 'unbind-address'])
  assert.equal(rig.policy.statistics().boundAddresses, 1)
})

test('address binding: a reserved address serves the A0 that enables it', () => {
  const rig = createRig()
  const session = rig.open()
  ok(session.reserve(reserveRequest({ range: ALL_PORTS })))
  const { rule: reservation, outside } = ok(session.reserve(reserveRequest({ range: ALL_PORTS })))
  assert.deepEqual([outside.word0, outside.port, outside.range], [ip('192.0.2.101'), 0, ALL_PORTS])
  const enabled = ok(session.enable(enableRequest({ reservation, internal: tuple('10.0.0.1'), direction: OUTBOUND })))
  assert.equal(enabled.outside.word0, outside.word0)
  // What was allocated was all ports (RFC 4540 8.2.3). Of a rule all tuples have one range, which with port 0 says nothing
  // (RFC 5189 2.3.5); 0xffff is no range of a rule (RFC 4540 4.3.9).
  assert.deepEqual([enabled.outside.port, enabled.outside.range], [0, 1])
  assert.deepEqual(lines(rig.told()), ['bind-address', 'rule-add 2'])
})

test('dynamic mapping: an outbound rule without a port binds nothing, A2 is the paired address (docs/midcom.md, Binding)', () => {
  const rig = createRig()
  const session = rig.open()
  const { pool, seed } = rig.options
  const { outside } = ok(session.enable(enableRequest({ internal: tuple('10.0.0.1'), direction: OUTBOUND })))
  assert.deepEqual(outside, { ...tuple('10.0.0.1'), word0: pool[pairedIndex(A0.word0, seed, 2)] })
  const many = ok(session.enable(enableRequest({ internal: tuple('10.0.0.0/8'), direction: OUTBOUND })))
  assert.deepEqual(many.outside, tuple('0.0.0.0/0'))
  assert.equal(rig.told()[0]['flags'], RULE_OUT)
})

test('twice-NAT: A1 stands for A3, bound once for all rules that need it (RFC 5189 2.3.5)', () => {
  const rig = createRig(TWICE_BOX)
  const session = rig.open()
  const first = ok(session.enable(enableRequest()))
  assert.deepEqual(first.inside, tuple('10.9.0.1', 1024))
  const [, bindInside, add] = rig.told()
  assert.deepEqual(bindInside, {
    op: 'bind-inside', protocol: UDP, count: 1, peer: A3.word0, peerPort: 6000, inside: ip('10.9.0.1'), insidePort: 1024,
  })
  assert.equal(add['flags'], RULE_IN | RULE_BOUND | RULE_TWICE)
  const second = ok(session.enable(enableRequest({ internal: tuple('10.0.0.2', 5000) })))
  assert.deepEqual(second.inside, first.inside)
  const odd = ok(session.enable(enableRequest({ internal: tuple('10.0.0.3', 5001), external: tuple('198.51.100.2', 7001) })))
  assert.equal(odd.inside.port, 1025, 'the next free port')
  const even = enableRequest({ internal: tuple('10.0.0.3', 5002), external: tuple('198.51.100.3', 7002), parity: PARITY_SAME })
  assert.equal(ok(session.enable(even)).inside.port, 1026)
  assert.deepEqual(lines(rig.told()).filter((line) => line.startsWith('bind-inside')), ['bind-inside 7001+1', 'bind-inside 7002+1'])
  // A3 without a port takes an inside address as a whole: one of whose ports none is bound.
  const whole = ok(session.enable(enableRequest({ external: tuple('198.51.100.4') })))
  assert.deepEqual([whole.inside.word0, whole.inside.port], [ip('10.9.0.2'), 0])
  assert.equal(reasonOf(session.enable(enableRequest({ external: tuple('198.51.100.5') }))), 'lack-of-addresses')
  assert.equal(reasonOf(session.enable(enableRequest({ external: tuple('198.51.100.1') }))), 'conflict', 'ports of A3 are bound')
})

test('twice-NAT: a reservation holds A1 and A2, and a traditional one A2 alone (RFC 5189 2.3.8)', () => {
  const rig = createRig(TWICE_BOX)
  const session = rig.open()
  const twice = ok(session.reserve(reserveRequest({ range: 2, parity: PARITY_ODD })))
  assert.deepEqual([twice.inside?.word0, twice.inside?.port, twice.inside?.range], [ip('10.9.0.1'), 1025, 2])
  const traditional = ok(session.reserve(reserveRequest({ service: TRADITIONAL })))
  assert.equal(traditional.inside, null)
  const services = [twice, traditional].map(({ rule }) => {
    const status = ok(session.ruleStatus(rule))
    return status.action === 'reserve' && status.service
  })
  assert.deepEqual(services, [TWICE, TRADITIONAL])
  const plain = ok(session.enable(enableRequest({ reservation: traditional.rule })))
  assert.deepEqual(plain.inside, A3)
  const bound = ok(session.enable(enableRequest({
    reservation: twice.rule, internal: tuple('10.0.0.2', 5001, 2), external: tuple('198.51.100.1', 6001, 2), parity: PARITY_SAME,
  })))
  assert.deepEqual([bound.inside.word0, bound.inside.port], [ip('10.9.0.1'), 1025])
  rig.told()
  ok(session.changeLifetime(twice.rule, 0))
  assert.deepEqual(lines(rig.told()), ['rule-delete 1', 'unbind-ports 5001+2', 'unbind-inside 6001+2'])
})

test('twice-NAT: an A3 that has an A1 cannot be given the one of a reservation', () => {
  const rig = createRig(TWICE_BOX)
  const session = rig.open()
  ok(session.enable(enableRequest()))
  const { rule: reservation } = ok(session.reserve(reserveRequest()))
  const before = rig.policy.statistics().boundPorts
  assert.equal(reasonOf(session.enable(enableRequest({ reservation, internal: tuple('10.0.0.2', 5000) }))), 'conflict')
  assert.equal(rig.policy.statistics().boundPorts, before, 'and A2 is left alone')
})

test('groups: live with their members, and change their lifetime together, unseen but for one GEN (RFC 5189 2.4)', () => {
  const rig = createRig()
  const alice = rig.open('alice'), root = rig.open('root')
  const { group, rule: first } = ok(alice.reserve(reserveRequest({ lifetimeSec: 10 })))
  const { rule: second } = ok(root.enable(enableRequest({ group, lifetimeSec: 30 })))
  assert.equal(ok(alice.ruleStatus(second)).owner, 'alice', 'a group has one owner')
  assert.deepEqual(ok(alice.groupStatus(group)), { group, owner: 'alice', lifetimeSec: 30, rules: [first, second] })
  const own = ok(root.reserve(reserveRequest())).group
  assert.deepEqual(ok(root.listGroups()), [{ group, owner: 'alice' }, { group: own, owner: 'root' }])
  assert.deepEqual(ok(alice.listGroups()), [{ group, owner: 'alice' }])
  rig.events.length = 0
  assert.deepEqual(ok(alice.changeGroupLifetime(group, 50)), { lifetimeSec: 50 })
  assert.deepEqual([first, second].map((rule) => ok(alice.ruleStatus(rule)).lifetimeSec), [50, 50])
  ok(alice.changeGroupLifetime(group, 0))
  assert.deepEqual(rig.events, [`root: group ${group} 50`, `root: group ${group} 0`])
  assert.equal(reasonOf(alice.ruleStatus(first)), 'no-such-rule')
  assert.equal(rig.policy.statistics().groups, 1)
})

test('identifiers: the slot freed last is used first, under a new generation (docs/midcom.md, Identifiers)', () => {
  const rig = createRig({ limits: { rules: 6 } })
  const session = rig.open()
  const make = () => ok(session.reserve(reserveRequest()))
  const rules = [make(), make(), make()].map(({ rule }) => rule)
  assert.deepEqual(rules, [1, 2, 3])
  ok(session.changeLifetime(1, 0))
  ok(session.changeLifetime(3, 0))
  const next = [make(), make(), make()]
  assert.deepEqual(next.map(({ rule }) => rule), [8 + 3, 8 + 1, 4])
  assert.deepEqual(next.map(({ group }) => group), [8 + 3, 8 + 1, 4])
  assert.equal(reasonOf(session.ruleStatus(3)), 'no-such-rule')
})

test('lists: rules and owners of those an agent acts for, in order of slots (RFC 5189 2.3.11)', () => {
  const rig = createRig()
  const alice = rig.open('alice'), bob = rig.open('bob'), root = rig.open('root')
  for (const session of [alice, bob, alice, root]) ok(session.reserve(reserveRequest()))
  ok(bob.disable(disableRequest()))
  assert.deepEqual(ok(alice.listRules()), [{ rule: 1, owner: 'alice' }, { rule: 3, owner: 'alice' }])
  assert.deepEqual(ok(root.listRules()).map(({ rule }) => rule), [1, 2, 3, 4, 5])
  assert.deepEqual(ok(bob.listGroups()).length, 1, 'disable rules are in no group')
})

test('disable rules: end what they overlap, whoever owns it, in order of slots, and block it (RFC 4540 8.8)', () => {
  const rig = createRig()
  const alice = rig.open('alice'), bob = rig.open('bob'), root = rig.open('root')
  const hit = [2, 1].map((n) => ok(alice.enable(enableRequest({ internal: tuple('10.0.0.1', 5000 + n) }))).rule)
  const spared = ok(alice.enable(enableRequest({ external: tuple('198.51.100.2', 6000) }))).rule
  const other = ok(bob.enable(enableRequest({ internal: tuple('10.7.0.1', 5000) }))).rule
  const reserved = ok(alice.reserve(reserveRequest())).rule
  rig.events.length = 0
  rig.told()
  const { rule } = ok(root.disable(disableRequest({ external: tuple('198.51.100.1') })))
  assert.deepEqual(lines(rig.told()), [
    `rule-add ${rule}`, 'rule-delete 1', 'unbind-ports 5002+1', 'rule-delete 2', 'unbind-ports 5001+1', 'rule-delete 4',
    'unbind-ports 5000+1',
  ])
  const ren = [...hit, other].flatMap((id) => id === other ? [`bob: rule ${id} 0 disabled`, `root: rule ${id} 0 disabled`]
    : [`alice: rule ${id} 0 disabled`, `root: rule ${id} 0 disabled`])
  assert.deepEqual(rig.events, ren)
  assert.deepEqual(ok(alice.listRules()).map((entry) => entry.rule), [spared, reserved])
  assert.equal(reasonOf(bob.enable(enableRequest())), 'blocked-by-disable-rule')
  ok(root.changeLifetime(rule, 0))
  assert.equal(reasonOf(bob.enable(enableRequest())), 'ok')
})

test('commands: priorities count enable rules from 1, disable rules have 0 (docs/midcom.md, Commands)', () => {
  const rig = createRig(PURE)
  const session = rig.open()
  for (let i = 0; i < 2; i++) ok(session.enable(enableRequest()))
  ok(session.disable(disableRequest({ external: tuple('198.51.100.9') })))
  ok(session.enable(enableRequest()))
  assert.deepEqual(rig.told().map((command) => command['priority']), [1, 2, 0, 3])
})

test('reports: packets and bytes of a rule are those since the data plane knows it', () => {
  const rig = createRig({ stuck: true })
  const session = rig.open()
  const { rule } = ok(session.enable(enableRequest()))
  rig.activity.packets[1] = 99
  assert.deepEqual(rig.policy.ruleTraffic(rule), { packets: 0, bytes: 0 })
  rig.told()
  rig.activity.packets[1] = 5
  rig.activity.bytes[1] = 700
  assert.deepEqual(rig.policy.ruleTraffic(rule), { packets: 5, bytes: 700 })
  assert.equal(rig.policy.ruleTraffic(rule + 1), undefined)
  const reserved = ok(session.reserve(reserveRequest()))
  assert.deepEqual(rig.policy.ruleTraffic(reserved.rule), { packets: 0, bytes: 0 })
})

test('cost: 100,000 rules of one port take 160 bytes each at most, ports and all', () => {
  const rules = 100_000
  const ring = createCommandRing(1024)
  const { options } = createRig()
  const policy = createPolicy({
    ...options, ring, activity: createRuleActivity(rules), portLow: 1024, portHigh: 65535,
    limits: { rules, portsPerRule: 64, sessions: 8, boundPorts: rules },
    pump() { while (ring.peek() >= 0) ring.done() },
  })
  const session = ok(policy.openSession('alice', { ruleEvent() {}, groupEvent() {}, terminated() {} }))
  // One host for each rule: nothing is shared.
  for (let i = 0; i < rules; i++) {
    ok(session.enable(enableRequest({ internal: { ...A0, word0: ip('10.0.0.1') + i } })))
  }
  assert.equal(policy.statistics().enableRules, rules)
  const perRule = policy.bytes() / rules
  assert.ok(perRule <= 160, `${perRule} bytes a rule`)
})
