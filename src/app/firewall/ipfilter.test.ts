import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { createPrng } from '../../base/prng.ts'
import { anyRule, INBOUND, OUTBOUND, type FirewallRule } from '../../engine/firewall-rule.ts'
import { prefixOf, randomRule } from '../../engine/firewall-testing.ts'
import { conflictIn } from './conditions.ts'
import { parseRule, printRule, RULE_MOST_CHARS } from './ipfilter.ts'

function good(text: string): FirewallRule {
  const rule = parseRule(text)
  if (!rule.ok) assert.fail(`${text}\n${rule.column}: ${rule.message}`)
  return rule.value
}

const is = (text: string) => ({ not: false, prefix: prefixOf(text) })

test('ipfilter: what RFC 6733 4.3.1 has is read, in is from the terminal and out is to it', () => {
  assert.deepEqual(good('permit in ip from any to any'), { ...anyRule(true), directions: OUTBOUND })
  assert.deepEqual(good('deny out ip from any to any'), { ...anyRule(false), directions: INBOUND })
  assert.deepEqual(good('permit in 6 from 10.0.0.1 to 192.0.2.10/32 80,8000-8999 setup'), {
    ...anyRule(true), directions: OUTBOUND, protocols: [6], source: [is('10.0.0.1/32')], destination: [is('192.0.2.10/32')],
    destinationPorts: [{ low: 80, high: 80 }, { low: 8000, high: 8999 }], tcpFlags: { set: 2, clear: 16 },
  })
  assert.deepEqual(good('deny in ip from !assigned to any').source, [{ not: true, assigned: true }])
  assert.deepEqual(good('deny in ip from ! assigned to any').source, [{ not: true, assigned: true }])
  assert.deepEqual(good('permit out 17 from !2001:db8::/32 53 to any').sourcePorts, [{ low: 53, high: 53 }])
  assert.equal(good('deny out ip from any to any frag').frag, true)
  assert.deepEqual(good('deny out ip from any to any ipoptions rr,!ts').ipOptions, { set: 4, clear: 8 })
  assert.deepEqual(good('permit in 6 from any to any tcpoptions mss,window,!cc').tcpOptions, { set: 3, clear: 16 })
  assert.equal(good('permit out 6 from any to any established').established, true)
  assert.deepEqual(good('permit out 6 from any to any tcpflags syn,!ack,!rst').tcpFlags, { set: 2, clear: 20 })
  assert.deepEqual(good('permit in 1 from any to any icmptypes echo request,13-14').icmp, [{ low: 0x800, high: 0x8ff }, { low: 0xd00, high: 0xeff }])
  assert.deepEqual(good('permit in 1 from any to any icmptypes IP header bad, time-to-live exceeded frag'.replace(' frag', '')).icmp,
    [{ low: 0xb00, high: 0xcff }])
})

test('ipfilter: what goes beyond the RFC is read: both, names, lists with !, type/code, recv, a name', () => {
  assert.deepEqual(good('permit both tcp,udp from 10.0.0.0/8,!10.9.0.0/16 to any !1-1023 recv !eth0,!2 // all // of it'), {
    ...anyRule(true), protocols: [6, 17], source: [is('10.0.0.0/8'), { not: true, prefix: prefixOf('10.9.0.0/16') }],
    destinationPorts: [{ low: 0, high: 0 }, { low: 1024, high: 65535 }], interfaces: { names: ['eth0', '2'], not: true }, name: 'all // of it',
  })
  assert.equal(good('permit both !tcp from any to any').protocols!.length, 255)
  assert.deepEqual(good('permit both icmp6 from any to any icmptypes destination-unreachable/0-3').icmp, [{ low: 0x100, high: 0x103 }])
})

for (const [text, column, message] of [
  ['', 1, /ends where an action is expected/],
  ['allow in ip from any to any', 1, /'allow' stands where an action is expected; did you mean permit\?/],
  ['permt in ip from any to any', 1, /did you mean permit/],
  ['permit inn ip from any to any', 8, /did you mean in/],
  ['permit in tpc from any to any', 11, /'tpc' is not a protocol; write ip, icmp/],
  ['permit in 256 from any to any', 11, /beyond 255/],
  ['permit in ip form any to any', 14, /'form' stands where 'from' is expected; write from/],
  ['permit in ip from 10.0.0.1/8 to any', 19, /bits set after its first 8; did you mean 10.0.0.0\/8/],
  ['permit in ip from 10.0.0.256 to any', 26, /an octet is above 255/],
  ['permit in ip from any to 10.0.0.0/33', 35, /prefix length is too large/],
  ['permit in ip from any to', 25, /ends where the destination is expected/],
  ['permit in 6 from any 80 ot any', 25, /'ot' stands where 'to' is expected; write to/],
  ['permit in 6 from any to any 80-70', 29, /runs backwards; did you mean 70-80/],
  ['permit in 6 from any to any 65536', 29, /beyond 65535/],
  ['permit in 6 from any to any 80,,81', 32, /an entry of the list is empty/],
  ['permit in ip from any to any 80', 30, /ports are those of TCP and UDP/],
  ['permit in 132 from any to any 80', 31, /ports are those of TCP and UDP/],
  ['permit in 6 from any to any 80 frag', 32, /has no ports/],
  ['permit in 17 from any to any setup', 30, /TCP flags need the protocol tcp/],
  ['permit in 6 from any to any setup tcpflags ack', 35, /both asked for and excluded/],
  ['permit in 6 from any to any tcpflags syn,fnord', 42, /'fnord' is not a TCP flag/],
  ['permit in 6 from any to any icmptypes 8', 39, /types of ICMP need/],
  ['permit in 1 from any to any icmptypes echo-requets', 39, /did you mean echo-request/],
  ['permit in 1 from any to any icmptypes', 38, /ends where a type of ICMP/],
  ['permit in 6 from any to any setup setup', 35, /a second time/],
  ['permit in ip from any to any estblished', 30, /did you mean established/],
  ['permit in ip from any to any recv eth0,!eth1', 41, /either all with !/],
  ['permit in ip from any to any //', 29, /the name is empty/],
  ['permit in ip from 0.0.0.0/0,any to any', 29, /'any' stands alone/],
  ['permit in 6 from any to any !0-65535', 29, /nothing is left/],
] as const) {
  test(`ipfilter: refused at its column: ${text === '' ? 'nothing' : text}`, () => {
    const rule = parseRule(text)
    assert.ok(!rule.ok, 'it is refused')
    assert.match(`${rule.message}; ${rule.suggestion ?? ''}`, message)
    assert.equal(rule.column, column)
  })
}

test('ipfilter: a rule that is printed reads as the same rule', () => {
  fc.assert(fc.property(fc.integer(), (seed) => {
    const rule = randomRule(createPrng(seed))
    const text = printRule(rule)
    assert.deepEqual(good(text), rule, text)
    assert.equal(printRule(good(text)), text)
  }), { numRuns: 3000 })
})

test('ipfilter: any text is read or refused at a column in it, and what is read is without conflict and prints', () => {
  const words = ['permit', 'deny', 'in', 'out', 'both', 'ip', 'tcp', '6', '17', '1', 'from', 'to', 'any', '!', '10.0.0.0/8', '!::1', 'assigned', '80',
    '!80-90', 'frag', 'setup', 'established', 'tcpflags', 'syn,!ack', 'ipoptions', 'rr', 'tcpoptions', 'mss', 'icmptypes', 'echo', 'reply', '8/1', 'recv',
    'eth0', '//', 'name', ',', '-', '%']
  const sentence = fc.array(fc.constantFrom(...words), { maxLength: 16, size: 'max' }).map((list) => list.join(' '))
  const begun = fc.tuple(fc.constantFrom('permit in 6 from any to any ', 'deny out ip from ', 'permit both 1 from any to any icmptypes '), sentence)
    .map((parts) => parts.join(''))
  fc.assert(fc.property(fc.oneof(sentence, begun, fc.string(), fc.string({ unit: 'binary' })), (text) => {
    const rule = parseRule(text)
    if (!rule.ok) {
      assert.ok(rule.column >= 1 && rule.column <= text.length + 1, `column ${rule.column} of ${JSON.stringify(text)}`)
      return
    }
    assert.equal(conflictIn(rule.value), null)
    assert.deepEqual(good(printRule(rule.value)), rule.value)
  }), { numRuns: 5000 })
  assert.equal(parseRule(`permit in ip from any to any // ${'x'.repeat(RULE_MOST_CHARS)}`).ok, false)
})
