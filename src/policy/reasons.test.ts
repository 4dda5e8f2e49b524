/** Every reason that a transaction can fail for, with the request that brings it about: docs/midcom.md, Checks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ALL_PORTS, BIDIRECTIONAL, INBOUND, OUTBOUND, PARITY_EVEN, PARITY_ODD, PARITY_SAME, TCP, TRADITIONAL, TWICE, UDP,
} from './api.ts'
import type { Reason } from './api.ts'
import { A0, A3, createRig, disableRequest, enableRequest, ok, reasonOf, reserveRequest, tuple } from './testing.ts'
import type { Rig, RigOptions } from './testing.ts'

/** Reasons that this core never gives, each with who does or why not. */
const ELSEWHERE: Partial<Record<Reason, string>> = {
  'configuration-failed': 'the data plane carries out every command that it is given; doors use it for failures of their own',
  'no-such-interface': 'rules are not bound to interfaces: capability interfaceRules is false (RFC 5189 2.3.7)',
  'interface-not-available': 'the same',
}
/** Without a member for each reason of api.ts this does not compile. */
const ALL: Record<Reason, true> = {
  'not-authorized-for-transaction': true, 'transaction-not-supported': true, 'session-not-open': true, 'no-such-rule': true,
  'not-authorized-for-rule': true, 'not-a-reservation': true, 'no-such-group': true, 'not-authorized-for-group': true,
  'lack-of-addresses': true, 'lack-of-ports': true, 'lack-of-resources': true, conflict: true, 'blocked-by-disable-rule': true,
  'no-internal-wildcarding': true, 'no-external-wildcarding': true, 'no-port-wildcarding': true, inconsistent: true,
  'illegal-address': true, 'illegal-port': true, 'illegal-range': true, 'parity-mismatch': true, 'protocol-mismatch': true,
  'protocol-not-supported': true, 'ip-version-mismatch': true, 'nat-mode-not-supported': true, 'reserved-internal-mismatch': true,
  'lifetime-cannot-be-extended': true, 'lifetime-zero': true, 'configuration-failed': true, 'no-such-interface': true,
  'interface-not-available': true,
}
const seen = new Set<string>()

/** Asks for it. `mark` notes the state that a failure must leave as it is. */
type Ask = (rig: Rig, mark: () => void) => string
/** A case: the reason expected, or 'ok', how the box is set up, and what is asked. */
type Case = [reason: Reason | 'ok', what: string, options: RigOptions, ask: Ask]

function check(transaction: string, cases: Case[]): void {
  for (const [reason, what, options, ask] of cases) {
    test(`${transaction}: ${what}: ${reason}`, () => {
      const rig = createRig(options)
      const before = () => {
        const { rules, groups, boundPorts, boundAddresses } = rig.policy.statistics()
        return { rules, groups, boundPorts, boundAddresses, commands: rig.ring.written() }
      }
      let unchanged: unknown
      const got = ask(rig, () => { unchanged = before() })
      assert.equal(got, reason)
      seen.add(got)
      if (got === 'ok') return
      assert.equal(rig.policy.statistics().failures[reason as Reason], 1)
      // RFC 5189 2.1.4: a failed request changes nothing.
      if (unchanged !== undefined) assert.deepEqual(before(), unchanged)
    })
  }
}

function enable(parts: Parameters<typeof enableRequest>[0], options: RigOptions = {}): [RigOptions, Ask] {
  return [options, (rig, mark) => {
    const session = rig.open()
    mark()
    return reasonOf(session.enable(enableRequest(parts)))
  }]
}
function reserve(parts: Parameters<typeof reserveRequest>[0], options: RigOptions = {}): [RigOptions, Ask] {
  return [options, (rig, mark) => {
    const session = rig.open()
    mark()
    return reasonOf(session.reserve(reserveRequest(parts)))
  }]
}
function disable(parts: Parameters<typeof disableRequest>[0], options: RigOptions = {}): [RigOptions, Ask] {
  return [options, (rig, mark) => {
    const session = rig.open()
    mark()
    return reasonOf(session.disable(disableRequest(parts)))
  }]
}
/** Reserves, then enables that reservation. */
function useReservation(
  reserving: Parameters<typeof reserveRequest>[0], enabling: Parameters<typeof enableRequest>[0], options: RigOptions = {},
): [RigOptions, Ask] {
  return [options, (rig, mark) => {
    const session = rig.open()
    const { rule: reservation } = ok(session.reserve(reserveRequest(reserving)))
    mark()
    const reason = reasonOf(session.enable(enableRequest({ reservation, ...enabling })))
    if (reason !== 'ok') assert.equal(ok(session.ruleStatus(reservation)).action, 'reserve', 'the reservation is untouched')
    return reason
  }]
}

const TIGHT: RigOptions = { wildcards: { internal: false, external: false, ports: false } }
const PURE: RigOptions = { nat44: false }
const both = (protocol: number) => ({ internal: { ...A0, protocol }, external: { ...A3, protocol } })

check('session', [
  ['not-authorized-for-transaction', 'an agent that the authorizer refuses', {
    authorizer: { decide: () => ({ permit: false }), mayAccess: () => false },
  }, ({ policy }) => reasonOf(policy.openSession('eve', { ruleEvent() {}, groupEvent() {}, terminated() {} }))],
  ['not-authorized-for-transaction', 'an agent without a name', {},
    ({ policy }) => reasonOf(policy.openSession('', { ruleEvent() {}, groupEvent() {}, terminated() {} }))],
  ['not-authorized-for-transaction', 'a name of 256 bytes', {},
    ({ policy }) => reasonOf(policy.openSession('é'.repeat(128), { ruleEvent() {}, groupEvent() {}, terminated() {} }))],
  ['ok', 'a name of 255 bytes', {},
    ({ policy }) => reasonOf(policy.openSession('é'.repeat(127) + 'e', { ruleEvent() {}, groupEvent() {}, terminated() {} }))],
  ['lack-of-resources', 'more sessions than the limit', { limits: { sessions: 1 } }, (rig) => {
    rig.open()
    return reasonOf(rig.policy.openSession('bob', { ruleEvent() {}, groupEvent() {}, terminated() {} }))
  }],
  ['session-not-open', 'a transaction after the end', {}, (rig) => {
    const session = rig.open()
    session.end()
    return reasonOf(session.listRules())
  }],
])

check('PRR (RFC 5189 2.3.8)', [
  ['no-such-group', 'a group that is not there', ...reserve({ group: 9 })],
  ['not-authorized-for-group', 'a group of somebody else', {}, (rig) => {
    const { group } = ok(rig.open('alice').reserve(reserveRequest()))
    return reasonOf(rig.open('bob').reserve(reserveRequest({ group })))
  }],
  ['ip-version-mismatch', 'IPv4 inside, IPv6 outside', ...reserve({ externalVersion: 6 })],
  ['ip-version-mismatch', 'A0 of the other version', ...reserve({ internal: tuple('fd00::1', 5000) })],
  ['ip-version-mismatch', 'a version that does not exist', ...reserve({ internalVersion: 5, externalVersion: 5 })],
  ['ok', 'one version is told, the other one follows', ...reserve({ internalVersion: 0, externalVersion: 6 })],
  ['protocol-not-supported', 'a protocol above 255', ...reserve({ protocol: 256 })],
  ['illegal-range', 'no ports', ...reserve({ range: 0 })],
  ['illegal-range', 'more ports than a rule may have', ...reserve({ range: 17 })],
  ['ok', 'as many ports as a rule may have', ...reserve({ range: 16 })],
  ['ok', 'all ports', ...reserve({ range: ALL_PORTS })],
  ['ok', 'a protocol without ports: whatever the range', ...reserve({ protocol: 47, range: 17 })],
  ['ok', 'a protocol without ports on a firewall: whatever the range', ...reserve({ protocol: 47, range: 17 }, { nat44: false })],
  ['illegal-range', 'no ports of a protocol without ports: zero is not valid (RFC 4540 4.3.9)', ...reserve({ protocol: 47, range: 0 })],
  ['illegal-range', 'the same on a firewall', ...reserve({ protocol: 47, range: 0 }, { nat44: false })],
  ['inconsistent', 'an undefined parity', ...reserve({ parity: PARITY_SAME })],
  ['inconsistent', 'an undefined service', ...reserve({ service: 3 })],
  ['nat-mode-not-supported', 'twice-NAT of a box that has none, taken strictly', ...reserve({ service: TWICE }, { strictNatMode: true })],
  ['ok', 'twice-NAT of a pure firewall, taken strictly: it ignores the service (RFC 5189 2.3.8, RFC 4540 8.2.2)',
    ...reserve({ service: TWICE }, { strictNatMode: true, nat44: false })],
  ['ok', 'twice-NAT of IPv6, which passes a pure firewall, taken strictly (RFC 5189 2.3.8)',
    ...reserve({ service: TWICE, internalVersion: 6, externalVersion: 6 }, { strictNatMode: true })],
  ['ok', 'twice-NAT of a box that has none', ...reserve({ service: TWICE })],
  ['lifetime-zero', 'no lifetime', ...reserve({ lifetimeSec: 0 })],
  ['lack-of-resources', 'more rules than the limit', {}, (rig) => {
    const session = rig.open()
    for (let i = 0; i < 100; i++) ok(session.reserve(reserveRequest()))
    return reasonOf(session.reserve(reserveRequest()))
  }],
  ['lack-of-resources', 'more ports than the limit', ...reserve({ range: 11 }, { limits: { boundPorts: 10 } })],
  ['lack-of-ports', 'no run of this length', ...reserve({ range: 12 }, { portHigh: 40_010 })],
  ['lack-of-ports', 'no port of this parity', ...reserve({ parity: PARITY_ODD }, { portHigh: 40_000 })],
  ['ok', 'a port of the other parity', ...reserve({ parity: PARITY_EVEN }, { portHigh: 40_000 })],
  ['lack-of-addresses', 'no whole address', ...reserve({ range: ALL_PORTS }, { addresses: [] })],
  ['lack-of-addresses', 'no inside address free of ports', { insidePool: [0x0a090000], addresses: [1, 2] }, (rig, mark) => {
    const session = rig.open()
    ok(session.reserve(reserveRequest()))
    mark()
    return reasonOf(session.reserve(reserveRequest({ range: ALL_PORTS })))
  }],
  ['inconsistent', 'A0 that is not one address', ...reserve({ internal: tuple('10.0.0.0/8', 5000) })],
  ['inconsistent', 'A0 without a port for ports', ...reserve({ internal: tuple('10.0.0.1') })],
  ['illegal-port', 'ports of A0 above 65535', ...reserve({ internal: tuple('10.0.0.1', 65535), range: 2 })],
])

check('PER (RFC 5189 2.3.9)', [
  ['no-such-rule', 'a reservation that is not there', ...enable({ reservation: 3 })],
  ['not-a-reservation', 'an enable rule as reservation', {}, (rig) => {
    const session = rig.open()
    const { rule: reservation } = ok(session.enable(enableRequest()))
    return reasonOf(session.enable(enableRequest({ reservation })))
  }],
  ['not-authorized-for-rule', 'a reservation of somebody else', {}, (rig) => {
    const { rule: reservation } = ok(rig.open('alice').reserve(reserveRequest()))
    return reasonOf(rig.open('bob').enable(enableRequest({ reservation })))
  }],
  ['no-such-group', 'a group that is not there', ...enable({ group: 1 })],
  ['not-authorized-for-group', 'a group of somebody else', {}, (rig) => {
    const { group } = ok(rig.open('alice').enable(enableRequest()))
    return reasonOf(rig.open('bob').enable(enableRequest({ group })))
  }],
  ['ip-version-mismatch', 'IPv4 inside, IPv6 outside', ...enable({ external: tuple('2001:db8::1', 6000) })],
  ['inconsistent', 'two protocols', ...enable({ external: { ...A3, protocol: TCP } })],
  ['protocol-not-supported', 'a protocol above 255', ...enable(both(256))],
  ['inconsistent', 'two ranges', ...enable({ internal: { ...A0, range: 2 } })],
  ['ok', 'two ranges, but one is of any port', ...enable({ internal: { ...A0, range: 2 }, external: tuple('198.51.100.1', 0, 1) })],
  ['illegal-range', 'no ports', ...enable({ internal: { ...A0, range: 0 }, external: { ...A3, range: 0 } })],
  ['illegal-port', 'ports above 65535', ...enable({ internal: tuple('10.0.0.1', 65535, 2), external: { ...A3, range: 2 } })],
  ['illegal-port', 'a port above 65535', ...enable({ internal: tuple('10.0.0.1', 65536) })],
  ['illegal-range', 'more ports than a rule may have', ...enable({ internal: { ...A0, range: 17 }, external: { ...A3, range: 17 } })],
  ['inconsistent', 'no direction', ...enable({ direction: 0 })],
  ['inconsistent', 'an undefined parity', ...enable({ parity: PARITY_EVEN })],
  ['inconsistent', 'a prefix of 33 bits', ...enable({ external: tuple('198.51.100.1/33', 6000) })],
  ['illegal-address', 'A0 unspecified', ...enable({ internal: tuple('0.0.0.0', 5000) })],
  ['illegal-address', 'A0 not inside', ...enable({ internal: tuple('11.0.0.1', 5000) })],
  ['no-internal-wildcarding', 'A0 prefix not inside, where none is allowed (RFC 4540 8.3.1)', ...enable({ internal: tuple('11.0.0.0/8', 5000) }, TIGHT)],
  ['no-internal-wildcarding', 'A0 prefix wider than the inside, where none is allowed (RFC 4540 8.3.1)', ...enable({ internal: tuple('10.0.0.0/7', 5000) }, TIGHT)],
  ['illegal-address', 'A3 inside', ...enable({ external: tuple('10.0.0.9', 6000) })],
  ['illegal-address', 'A3 multicast', ...enable({ external: tuple('239.1.1.1', 6000) })],
  ['illegal-address', 'A3 loopback', ...enable({ external: tuple('127.0.0.1', 6000) })],
  ['illegal-address', 'A3 broadcast', ...enable({ external: tuple('255.255.255.255', 6000) })],
  ['illegal-address', 'A3 multicast, IPv6', ...enable({ internal: tuple('fd00::1', 5000), external: tuple('ff02::1', 6000) })],
  ['illegal-address', 'A3 loopback, IPv6', ...enable({ internal: tuple('fd00::1', 5000), external: tuple('::1', 6000) })],
  ['illegal-address', 'A3 unspecified, IPv6', ...enable({ internal: tuple('fd00::1', 5000), external: tuple('::', 6000) })],
  ['no-internal-wildcarding', 'A0 prefix where none is allowed', ...enable({ internal: tuple('10.0.0.0/24', 5000) }, TIGHT)],
  ['no-external-wildcarding', 'A3 prefix where none is allowed', ...enable({ external: tuple('198.51.100.0/24', 6000) }, TIGHT)],
  ['no-port-wildcarding', 'any port where none is allowed', ...enable({ external: tuple('198.51.100.1') }, TIGHT)],
  ['no-port-wildcarding', 'any protocol where no port wildcard is allowed', ...enable(both(0), TIGHT)],
  ['ok', 'a protocol without ports is no wildcard', ...enable(both(47), TIGHT)],
  ['no-external-wildcarding', 'both ends open (RFC 5189 6)', ...enable(
    { internal: tuple('0.0.0.0/0', 5000), external: tuple('0.0.0.0/0', 6000), direction: OUTBOUND })],
  ['blocked-by-disable-rule', 'what a disable rule blocks (RFC 4540 8.8)', {}, (rig, mark) => {
    const session = rig.open()
    ok(session.disable(disableRequest()))
    mark()
    return reasonOf(session.enable(enableRequest()))
  }],
  ['ip-version-mismatch', 'a reservation of the other version', ...useReservation(
    {}, { internal: tuple('fd00::1', 5000), external: tuple('2001:db8::1', 6000) })],
  ['protocol-mismatch', 'a reservation of another protocol', ...useReservation({}, both(TCP))],
  ['inconsistent', 'a reservation of more ports', ...useReservation({ range: 2 }, {})],
  ['inconsistent', 'a reservation of ports for any port', ...useReservation({}, { internal: tuple('10.0.0.1') })],
  ['inconsistent', 'a reservation of ports of A1 for any port of A3', ...useReservation(
    { service: TWICE }, { external: tuple('198.51.100.1') }, { insidePool: [0x0a090000] })],
  ['parity-mismatch', 'a reserved port of the other parity', ...useReservation({ parity: PARITY_ODD }, { parity: PARITY_SAME })],
  ['parity-mismatch', 'a reserved port of A1 of the other parity than A3 (RFC 5189 2.3.6)', ...useReservation(
    { parity: PARITY_EVEN, service: TWICE }, { parity: PARITY_SAME, external: tuple('198.51.100.1', 6001) }, { insidePool: [0x0a090000] })],
  ['reserved-internal-mismatch', 'another A0 than the reservation was for', ...useReservation(
    { internal: A0 }, { internal: tuple('10.0.0.2', 5000) })],
  ['reserved-internal-mismatch', 'another port of A0', ...useReservation({ internal: A0 }, { internal: tuple('10.0.0.1', 5001) })],
  ['ok', 'another port of A0 whose address is reserved', ...useReservation(
    { internal: A0, range: ALL_PORTS }, { internal: tuple('10.0.0.1') })],
  ['lifetime-zero', 'no lifetime', ...enable({ lifetimeSec: 0 })],
  ['lifetime-zero', 'less than a second', ...enable({ lifetimeSec: 0.5 })],
  ['lack-of-resources', 'more rules than the limit', {}, (rig, mark) => {
    const session = rig.open()
    for (let i = 0; i < 100; i++) ok(session.enable(enableRequest()))
    mark()
    return reasonOf(session.enable(enableRequest()))
  }],
  ['lack-of-resources', 'more rules than the agent may own', {
    authorizer: { decide: () => ({ permit: true }), mayAccess: () => true, maxRules: () => 2 },
  }, (rig, mark) => {
    const session = rig.open()
    ok(session.enable(enableRequest()))
    ok(session.reserve(reserveRequest()))
    mark()
    return reasonOf(session.enable(enableRequest()))
  }],
  ['lack-of-ports', 'no run of this length', ...enable(
    { internal: { ...A0, range: 12 }, external: { ...A3, range: 12 } }, { portHigh: 40_010 })],
  ['lack-of-addresses', 'no whole address', ...enable({ internal: tuple('10.0.0.1') }, { addresses: [] })],
  ['lack-of-addresses', 'no address to be mapped to', ...enable(
    { internal: tuple('10.0.0.1'), direction: OUTBOUND }, { addresses: [], pool: [] })],
  ['no-internal-wildcarding', 'inbound to many hosts behind a NAT', ...enable({ internal: tuple('10.0.0.0/24', 5000) })],
  ['ok', 'inbound to many hosts behind a firewall', ...enable({ internal: tuple('10.0.0.0/24', 5000) }, PURE)],
  ['ok', 'outbound from many hosts', ...enable({ internal: tuple('10.0.0.0/24', 5000), direction: OUTBOUND })],
  ['no-internal-wildcarding', 'a reservation for many hosts', ...useReservation(
    {}, { internal: tuple('10.0.0.0/24', 5000), direction: OUTBOUND })],
  ['no-external-wildcarding', 'twice-NAT for many peers', ...enable(
    { external: tuple('198.51.100.0/24', 6000) }, { insidePool: [0x0a090000], service: 'twice' })],
  ['conflict', 'a whole address for an A0 with bound ports', {}, (rig, mark) => {
    const session = rig.open()
    ok(session.enable(enableRequest()))
    mark()
    return reasonOf(session.enable(enableRequest({ internal: tuple('10.0.0.1'), direction: BIDIRECTIONAL })))
  }],
])

check('PDR (RFC 4540 8.8)', [
  ['transaction-not-supported', 'a box without disable rules', ...disable({}, { disableRules: false })],
  ['ip-version-mismatch', 'two versions', ...disable({ external: tuple('2001:db8::1') })],
  ['inconsistent', 'two protocols', ...disable({ external: { ...A3, protocol: TCP } })],
  ['inconsistent', 'a prefix of 33 bits', ...disable({ external: tuple('198.51.100.1/33') })],
  ['illegal-address', 'A0 not inside', ...disable({ internal: tuple('11.0.0.1') })],
  ['illegal-range', 'more ports than a rule may have', ...disable({ external: tuple('198.51.100.1', 6000, 17) })],
  ['no-external-wildcarding', 'everything', ...disable(
    { internal: tuple('0.0.0.0/0', 0, 1, 0), external: tuple('0.0.0.0/0', 0, 1, 0) })],
  ['ok', 'everything of one protocol, where no wildcard is allowed', ...disable(
    { internal: tuple('0.0.0.0/0'), external: tuple('0.0.0.0/0') }, TIGHT)],
  ['lifetime-zero', 'no lifetime', ...disable({ lifetimeSec: 0 })],
  ['lack-of-resources', 'more rules than the limit', {}, (rig) => {
    const session = rig.open()
    for (let i = 0; i < 100; i++) ok(session.disable(disableRequest()))
    return reasonOf(session.disable(disableRequest()))
  }],
])

check('RLC and GLC (RFC 5189 2.3.10, 2.4.2)', [
  ['no-such-rule', 'a rule that is not there', {}, (rig) => reasonOf(rig.open().changeLifetime(1, 5))],
  ['not-authorized-for-rule', 'a rule of somebody else', {}, (rig) => {
    const { rule } = ok(rig.open('alice').reserve(reserveRequest()))
    return reasonOf(rig.open('bob').changeLifetime(rule, 0))
  }],
  ['lifetime-cannot-be-extended', 'longer than what is left', { extend: false }, (rig) => {
    const session = rig.open()
    const { rule } = ok(session.reserve(reserveRequest({ lifetimeSec: 60 })))
    rig.pass(1)
    return reasonOf(session.changeLifetime(rule, 60))
  }],
  ['ok', 'as long as what is left', { extend: false }, (rig) => {
    const session = rig.open()
    const { rule } = ok(session.reserve(reserveRequest({ lifetimeSec: 60 })))
    rig.pass(1000)
    return reasonOf(session.changeLifetime(rule, 59))
  }],
  ['lifetime-zero', 'a lifetime of which nothing is granted', {
    authorizer: { decide: ({ kind }) => kind === 'lifetime' ? { permit: true, maxLifetimeSec: 0 } : { permit: true }, mayAccess: () => true },
  }, (rig, mark) => {
    const session = rig.open()
    const { rule } = ok(session.reserve(reserveRequest()))
    mark()
    return reasonOf(session.changeLifetime(rule, 5))
  }],
  ['no-such-group', 'a group that is not there', {}, (rig) => reasonOf(rig.open().changeGroupLifetime(1, 5))],
  ['not-authorized-for-group', 'a group of somebody else', {}, (rig) => {
    const { group } = ok(rig.open('alice').reserve(reserveRequest()))
    return reasonOf(rig.open('bob').changeGroupLifetime(group, 0))
  }],
  ['lifetime-cannot-be-extended', 'a group, longer than its longest member', { extend: false }, (rig) => {
    const session = rig.open()
    const { group } = ok(session.reserve(reserveRequest({ lifetimeSec: 60 })))
    ok(session.reserve(reserveRequest({ lifetimeSec: 10, group })))
    return reasonOf(session.changeGroupLifetime(group, 61))
  }],
])

check('PRS and GS (RFC 5189 2.3.12, 2.4.4)', [
  ['no-such-rule', 'a rule that is over', {}, (rig) => {
    const session = rig.open()
    const { rule } = ok(session.reserve(reserveRequest()))
    ok(session.changeLifetime(rule, 0))
    return reasonOf(session.ruleStatus(rule))
  }],
  ['not-authorized-for-rule', 'a rule of somebody else', {}, (rig) => {
    const { rule } = ok(rig.open('alice').reserve(reserveRequest({ service: TRADITIONAL, protocol: UDP })))
    return reasonOf(rig.open('bob').ruleStatus(rule))
  }],
  ['no-such-group', 'a group whose last member is over', {}, (rig) => {
    const session = rig.open()
    const { rule, group } = ok(session.enable(enableRequest({ direction: INBOUND })))
    ok(session.changeLifetime(rule, 0))
    return reasonOf(session.groupStatus(group))
  }],
  ['not-authorized-for-group', 'a group of somebody else', {}, (rig) => {
    const { group } = ok(rig.open('alice').reserve(reserveRequest()))
    return reasonOf(rig.open('bob').groupStatus(group))
  }],
])

test('each reason is given at least once, or said to be given elsewhere', () => {
  const missing = Object.keys(ALL).filter((reason) => !seen.has(reason) && !(reason in ELSEWHERE))
  const wrongly = Object.keys(ELSEWHERE).filter((reason) => seen.has(reason))
  assert.deepEqual({ missing, wrongly }, { missing: [], wrongly: [] })
})
