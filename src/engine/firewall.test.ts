/** Flows that are open while the firewall rules are replaced: which stay is what the new set says of the packets that opened them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket } from '../wire/build.ts'
import { DROP, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { anyRule, INBOUND, OUTBOUND, UDP, type FirewallRule } from './firewall-rule.ts'
import { createRuleSet } from './firewall-set.ts'
import { FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT, type EngineOptions } from './options.ts'
import { createRig, type Rig } from './testing.ts'

const HOST = '10.0.0.1', FRIEND = '198.51.100.1', STRANGER = '192.0.2.9', OUTSIDE = '203.0.113.1'
/** Units of work for the examination of all flows of a test. */
const UNITS = 10_000

const setOf = (rules: readonly FirewallRule[]) => createRuleSet(rules, [], 1)

function permitUdp(directions: FirewallRule['directions']): FirewallRule {
  const rule = anyRule(true)
  rule.directions = directions
  rule.protocols = [UDP]
  return rule
}

const PERMIT_OUT = permitUdp(OUTBOUND), PERMIT_IN = permitUdp(INBOUND)

function out(rig: Rig, nowMs: number, dst = FRIEND): number {
  return rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: HOST, srcPort: 5000, dst, dstPort: 53 }), nowMs).verdict
}

function back(rig: Rig, src: string, nowMs: number): number {
  return rig.send(SIDE_OUTSIDE, buildPacket({ proto: 'udp', src, srcPort: 53, dst: OUTSIDE, dstPort: 5000 }), nowMs).verdict
}

/** A mapping that a friend knows, and a flow that a stranger has opened to it because a rule permits that. */
function opened(changes: Partial<EngineOptions>, rules: readonly FirewallRule[]): Rig {
  const rig = createRig({ firewall: { set: setOf(rules), interfaceName: () => undefined }, ...changes })
  assert.equal(out(rig, 0), TO_OUTSIDE)
  assert.equal(back(rig, STRANGER, 0), TO_INSIDE)
  assert.equal(rig.count('flows-current'), 2)
  return rig
}

function replace({ engine }: Rig, rules: readonly FirewallRule[], nowMs: number): void {
  engine.replaceRules(setOf(rules))
  assert.ok(!engine.applyCommands(nowMs, UNITS))
}

test('a flow that a rule let in from outside stays without the rule where the filter lets in anybody (RFC 4787 REQ-8)', () => {
  const rig = opened({ filtering: FILTER_ENDPOINT_INDEPENDENT }, [PERMIT_IN])
  replace(rig, [], 1)
  assert.equal(rig.count('flows-current'), 2)
  assert.equal(back(rig, STRANGER, 2), TO_INSIDE)
  assert.equal(back(rig, FRIEND, 2), TO_INSIDE)
})

test('it ends where the filter knows only acquaintances, and theirs goes on', () => {
  const rig = opened({ filtering: FILTER_ADDRESS_DEPENDENT }, [PERMIT_IN])
  replace(rig, [], 1)
  assert.equal(rig.count('flows-current'), 1)
  assert.equal(back(rig, STRANGER, 2), DROP)
  assert.equal(back(rig, FRIEND, 2), TO_INSIDE)
})

test('it ends where what no rule permits is denied from inside: then the filter lets in nobody by itself', () => {
  const changes = { filtering: FILTER_ENDPOINT_INDEPENDENT, outboundPermit: false }
  const rig = opened(changes, [PERMIT_OUT, PERMIT_IN])
  replace(rig, [PERMIT_OUT], 1)
  assert.equal(rig.count('flows-current'), 1)
  assert.equal(back(rig, STRANGER, 2), DROP)
  assert.equal(back(rig, FRIEND, 2), TO_INSIDE)
})

test('it stays with another rule that permits it, and ends with one that forbids it, whatever the filter', () => {
  const deny = { ...permitUdp(INBOUND), permit: false }
  for (const filtering of [FILTER_ENDPOINT_INDEPENDENT, FILTER_ADDRESS_DEPENDENT]) {
    const rig = opened({ filtering }, [PERMIT_IN])
    replace(rig, [permitUdp(OUTBOUND), permitUdp(INBOUND)], 1)
    assert.equal(rig.count('flows-current'), 2)
    replace(rig, [deny], 2)
    assert.equal(rig.count('flows-current'), 1)
    assert.equal(back(rig, STRANGER, 3), DROP)
    assert.equal(out(rig, 3), TO_OUTSIDE)
  }
})

test('between the replacement and the examination a packet finds the flow as the new set has it', () => {
  const rig = opened({ filtering: FILTER_ADDRESS_DEPENDENT }, [PERMIT_IN])
  rig.engine.replaceRules(setOf([]))
  assert.equal(back(rig, FRIEND, 1), TO_INSIDE)
  assert.equal(back(rig, STRANGER, 1), DROP)
  assert.equal(rig.count('flows-current'), 1)
})
