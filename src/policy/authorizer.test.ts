import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePrefix } from '../base/address.ts'
import type { Prefix } from '../base/address.ts'
import { ALL_PORTS, INBOUND, OUTBOUND, TCP, UDP } from './api.ts'
import type { Tuple } from './api.ts'
import { createAuthorizer } from './authorizer.ts'
import type { AgentProfile } from './authorizer.ts'
import { A0, A3, disableRequest, enableRequest, reserveRequest, tuple } from './testing.ts'

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  assert.ok(parsed.ok, text)
  return parsed.value
}

/** May an agent with this profile enable packets between these tuples? */
function mayEnable(profile: Omit<AgentProfile, 'name'>, internal: Tuple, external = A3, direction = INBOUND): boolean {
  const authorizer = createAuthorizer([{ name: 'alice', ...profile }])
  return authorizer.decide({ kind: 'enable', agent: 'alice', request: enableRequest({ internal, external, direction }) }).permit
}

test('authorizer: an agent without a profile may do nothing, one with an empty profile everything (RFC 3303 2.9)', () => {
  const authorizer = createAuthorizer([{ name: 'alice' }])
  for (const agent of ['alice', 'bob']) {
    const permit = agent === 'alice'
    assert.equal(authorizer.decide({ kind: 'session', agent }).permit, permit)
    assert.equal(authorizer.decide({ kind: 'read', agent }).permit, permit)
    assert.equal(authorizer.decide({ kind: 'reserve', agent, request: reserveRequest() }).permit, permit)
    assert.equal(authorizer.decide({ kind: 'enable', agent, request: enableRequest() }).permit, permit)
    assert.equal(authorizer.decide({ kind: 'disable', agent, request: disableRequest() }).permit, permit)
    assert.equal(authorizer.decide({ kind: 'lifetime', agent, owner: 'alice', rule: 1, lifetimeSec: 5 }).permit, permit)
    assert.equal(authorizer.maxRules(agent), Infinity)
  }
})

test('authorizer: transactions that are not named are refused, a session is not one of them', () => {
  const authorizer = createAuthorizer([{ name: 'alice', transactions: ['read', 'reserve'] }])
  const agent = 'alice'
  assert.equal(authorizer.decide({ kind: 'session', agent }).permit, true)
  assert.equal(authorizer.decide({ kind: 'read', agent }).permit, true)
  assert.equal(authorizer.decide({ kind: 'reserve', agent, request: reserveRequest() }).permit, true)
  assert.equal(authorizer.decide({ kind: 'enable', agent, request: enableRequest() }).permit, false)
  assert.equal(authorizer.decide({ kind: 'disable', agent, request: disableRequest() }).permit, false)
  assert.equal(authorizer.decide({ kind: 'lifetime', agent, owner: 'alice', rule: 1, lifetimeSec: 0 }).permit, false)
})

test('authorizer: A0 and A3 must lie within the prefixes of the profile, wildcards as a whole', () => {
  const inside = ['10.1.0.0/16', '10.2.0.0/16', 'fd00::/64'].map(prefix)
  const cases: [string, boolean][] = [
    ['10.1.2.3', true], ['10.2.255.255', true], ['10.3.0.0', false], ['10.1.0.0/24', true], ['10.1.0.0/16', true],
    ['10.0.0.0/15', false], ['10.0.0.0/8', false], ['0.0.0.0/0', false], ['fd00::7', true], ['fd00::/64', true], ['fd00::/63', false],
    ['fd00:0:0:1::1', false],
  ]
  for (const [text, expected] of cases) {
    const external = tuple(text.includes(':') ? '2001:db8::1' : '198.51.100.1', 6000)
    assert.equal(mayEnable({ inside }, tuple(text, 5000), external), expected, text)
    assert.equal(mayEnable({ outside: inside }, external, tuple(text, 5000)), expected, text)
  }
})

test('authorizer: a wildcard lies within the prefixes that together cover it, and no address less', () => {
  const halves = ['10.0.0.0/9', '10.128.0.0/10', '10.192.0.0/10'].map(prefix)
  assert.equal(mayEnable({ inside: halves }, tuple('10.0.0.0/8', 1)), true)
  assert.equal(mayEnable({ inside: halves.slice(0, 2) }, tuple('10.0.0.0/8', 1)), false)
  assert.equal(mayEnable({ inside: ['0.0.0.0/1', '128.0.0.0/1'].map(prefix) }, tuple('0.0.0.0/0', 1)), true)
  const hosts = ['fd00::0/128', 'fd00::1/128', 'fd00::2/128'].map(prefix)
  assert.equal(mayEnable({ inside: hosts }, tuple('fd00::/127', 1), tuple('2001:db8::1', 1)), true)
  assert.equal(mayEnable({ inside: hosts }, tuple('fd00::/126', 1), tuple('2001:db8::1', 1)), false)
  // Bits beyond the prefix say nothing.
  assert.equal(mayEnable({ inside: [prefix('10.1.0.0/16')] }, tuple('10.1.2.3/16', 1)), true)
})

test('authorizer: ports must lie within the ranges of the profile, a wildcard is all of them', () => {
  const insidePorts = [{ low: 5000, high: 5009 }, { low: 5010, high: 5019 }, { low: 7000, high: 7000 }]
  const cases: [Tuple, boolean][] = [
    [tuple('10.0.0.1', 5000), true], [tuple('10.0.0.1', 4999), false], [tuple('10.0.0.1', 5008, 4), true],
    [tuple('10.0.0.1', 5018, 3), false], [tuple('10.0.0.1', 7000, 1), true], [tuple('10.0.0.1', 0), false],
    [tuple('10.0.0.1', 5000, 1, 0), false],       // any protocol: ports say nothing, so all are meant
    [tuple('10.0.0.1', 0, 1, 47), true],          // GRE has none
  ]
  for (const [internal, expected] of cases) {
    const external = { ...A3, protocol: internal.protocol }
    assert.equal(mayEnable({ insidePorts }, internal, external), expected, JSON.stringify(internal))
    assert.equal(mayEnable({ outsidePorts: insidePorts }, external, internal), expected, JSON.stringify(internal))
  }
  assert.equal(mayEnable({ insidePorts: [{ low: 1, high: 65535 }] }, tuple('10.0.0.1', 0)), true)
})

test('authorizer: protocols and directions that are not named are refused, and any protocol is not TCP and UDP', () => {
  assert.equal(mayEnable({ protocols: [UDP] }, A0), true)
  assert.equal(mayEnable({ protocols: [TCP, 47] }, A0), false)
  assert.equal(mayEnable({ protocols: [TCP, UDP] }, { ...A0, protocol: 0 }, { ...A3, protocol: 0 }), false)
  assert.equal(mayEnable({ protocols: [0] }, { ...A0, protocol: 0 }, { ...A3, protocol: 0 }), true)
  assert.equal(mayEnable({ directions: [OUTBOUND] }, A0, A3, OUTBOUND), true)
  assert.equal(mayEnable({ directions: [OUTBOUND] }, A0, A3, INBOUND), false)
})

test('authorizer: reservations are held to protocols, and to A0 if they name it', () => {
  const authorizer = createAuthorizer([{
    name: 'alice', protocols: [UDP], inside: [prefix('10.1.0.0/16')], insidePorts: [{ low: 5000, high: 5009 }],
  }])
  const permit = (parts: Parameters<typeof reserveRequest>[0]) =>
    authorizer.decide({ kind: 'reserve', agent: 'alice', request: reserveRequest(parts) }).permit
  assert.equal(permit({}), true)
  assert.equal(permit({ protocol: TCP }), false)
  assert.equal(permit({ internal: tuple('10.1.0.1', 5000) }), true)
  assert.equal(permit({ internal: tuple('10.1.0.1', 5008), range: 2 }), true)
  assert.equal(permit({ internal: tuple('10.1.0.1', 5008), range: 3 }), false)
  assert.equal(permit({ internal: tuple('10.2.0.1', 5000) }), false)
  // The whole address is asked for, and with it all ports.
  assert.equal(permit({ internal: tuple('10.1.0.1', 5000), range: ALL_PORTS }), false)
})

test('authorizer: a disable rule needs what it blocks to lie within the profile', () => {
  const authorizer = createAuthorizer([{ name: 'alice', inside: [prefix('10.1.0.0/16')] }])
  const permit = (internal: Tuple) =>
    authorizer.decide({ kind: 'disable', agent: 'alice', request: disableRequest({ internal }) }).permit
  assert.equal(permit(tuple('10.1.0.0/16')), true)
  assert.equal(permit(tuple('0.0.0.0/0')), false)
})

test('authorizer: lifetime and quota of a profile are told to the core', () => {
  const authorizer = createAuthorizer([{ name: 'alice', maxLifetimeSec: 90, maxRules: 3 }, { name: 'bob' }])
  assert.deepEqual(authorizer.decide({ kind: 'read', agent: 'alice' }), { permit: true, maxLifetimeSec: 90 })
  assert.deepEqual(authorizer.decide({ kind: 'read', agent: 'bob' }), { permit: true })
  assert.equal(authorizer.maxRules('alice'), 3)
  assert.equal(authorizer.maxRules('bob'), Infinity)
})

test('authorizer: an agent may act on its own rules, and on those of agents it acts for (RFC 5189 2.1.5)', () => {
  const authorizer = createAuthorizer([{ name: 'alice' }, { name: 'bob', actsFor: ['alice'] }, { name: 'root', actsFor: ['*'] }])
  const access = ['alice', 'bob', 'root', 'nobody'].map((agent) =>
    ['alice', 'bob', 'carol'].filter((owner) => authorizer.mayAccess(agent, owner)).join(' '))
  assert.deepEqual(access, ['alice', 'alice bob', 'alice bob carol', ''])
})
