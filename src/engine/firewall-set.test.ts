/** The tables of a rule set against looking at every rule in order, with the seed printed where they differ. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { createPrng, type Prng } from '../base/prng.ts'
import * as asked from './firewall-asked.ts'
import { anyRule, type FirewallRule, INBOUND, OUTBOUND } from './firewall-rule.ts'
import { buildRuleSet, countEntries, createRuleSet, MOST_ENTRIES, MOST_INTERFACES, MOST_RULES } from './firewall-set.ts'
import { firstMatch } from './firewall-set.model.ts'
import { prefixOf, randomRule, randomRules } from './firewall-testing.ts'

const ASSIGNED = ['10.0.0.0/29', 'fd00::/16'].map(prefixOf)
const FOUR = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.9', '198.51.100.1', '198.51.100.2', '192.0.2.1', '203.0.113.1']
  .map((text) => prefixOf(`${text}/32`).words)
const SIX = ['fd00::1', 'fd00::2', '2001:db8::1', '2001:db8::2', '2001:db9::1'].map((text) => prefixOf(`${text}/128`).words)
const PORTS = [0, 1, 53, 80, 81, 1000, 1023, 1024, 1025, 1027, 5000, 65535]
const nameOf = (id: number) => id === 3 ? undefined : `eth${id}`

function randomAsked({ below, next }: Prng): Int32Array {
  const words = new Int32Array(asked.ASKED_WORDS), pick = <T>(from: readonly T[]) => from[below(from.length)]!
  const version = pick([4, 4, 4, 6]), protocol = pick([6, 6, 6, 17, 17, 1, 58, 47, 33, 200])
  words[asked.DIRECTION] = below(2)
  words[asked.VERSION] = version
  words[asked.PROTOCOL] = protocol
  words.set(pick(version === 4 ? FOUR : SIX), asked.LOCAL)
  words.set(pick(version === 4 ? FOUR : SIX), asked.PEER)
  words[asked.LATER] = below(6) === 0 ? 1 : 0
  if ((protocol === 6 || protocol === 17) && words[asked.LATER] === 0) words[asked.PORTS] = pick(PORTS) << 16 | pick(PORTS)
  words[asked.INTERFACE] = below(4)
  const low = protocol === 6 ? pick([2, 16, 18, next() & 63]) | (next() & next() & 31) << 6
    : protocol === 1 || protocol === 58 ? pick([8, 13, 128, 0, 3]) << 8 | pick([0, 0, 4]) : 0
  words[asked.ASPECT] = (words[asked.LATER] === 0 ? low : 0) | (version === 4 ? next() & next() & 15 : 0) << 16
    | words[asked.DIRECTION] << asked.ASPECT_DIRECTION
  return words
}

test('the first matching rule is found as by looking at every rule in order (RFC 6733 4.3.1)', () => {
  const start = Number(process.env['PINHOLE_SEED'] ?? 1)
  const seen = new Set<string>()
  for (let seed = start; seed < start + 300; seed++) {
    const prng = createPrng(seed), most = [3, 12, 60, 200][prng.below(4)]!
    const rules = randomRules(prng, most)
    const set = createRuleSet(rules, ASSIGNED, seed)
    set.setInterfaceBits((id) => set.interfaceNames.reduce((bits, name, n) => name === nameOf(id) || name === String(id) ? bits | 1 << n : bits, 0))
    for (let n = 0; n < 300; n++) {
      const words = randomAsked(prng)
      if (words[asked.LATER] !== 0 && !set.hasFrag) continue
      const wanted = firstMatch(rules, ASSIGNED, nameOf, words)
      assert.equal(set.match(words), wanted, `seed ${seed}, question ${n}: ${words.join(' ')}\n${JSON.stringify(rules[wanted - 1])}`)
      if (wanted !== 0) {
        assert.equal(set.permits(wanted), rules[wanted - 1]!.permit)
        seen.add(words[asked.LATER] !== 0 ? 'later' : 'whole')
        if (rules[wanted - 1]!.source.some(({ not }) => not)) seen.add('negated')
        if (rules[wanted - 1]!.tcpFlags.set !== 0) seen.add('flags')
        if (rules[wanted - 1]!.icmp !== null) seen.add('icmp')
        if (rules[wanted - 1]!.interfaces !== null) seen.add('interfaces')
      } else seen.add('none')
    }
  }
  assert.deepEqual([...seen].sort(), ['flags', 'icmp', 'interfaces', 'later', 'negated', 'none', 'whole'])
})

test('a set that is built in slices answers as one that is built at once', () => {
  const rules = randomRules(createPrng(7), 150)
  const builder = buildRuleSet(rules, ASSIGNED, 7)
  assert.throws(() => builder.set(), /not built yet/)
  let slices = 0
  while (builder.step(3)) slices++
  assert.ok(slices > rules.length / 3)
  const [sliced, whole, prng] = [builder.set(), createRuleSet(rules, ASSIGNED, 7), createPrng(8)]
  for (let n = 0; n < 2000; n++) {
    const words = randomAsked(prng)
    assert.equal(sliced.match(words), whole.match(words))
  }
})

test('many rules that only their flags and negations tell apart are found in order', () => {
  const prng = createPrng(5)
  const rules = Array.from({ length: 400 }, () => {
    const rule = randomRule(prng)
    rule.source = [{ not: true, prefix: prefixOf('10.0.0.1/32') }]
    return rule
  })
  const set = createRuleSet(rules, ASSIGNED, 1)
  set.setInterfaceBits(() => 0)
  for (let n = 0; n < 3000; n++) {
    const words = randomAsked(prng)
    words[asked.INTERFACE] = 9
    assert.equal(set.match(words), firstMatch(rules, ASSIGNED, () => undefined, words))
  }
})

test('a rule matches no packet of an IP version that its addresses are not of', () => {
  const rule: FirewallRule = { ...anyRule(true), source: [{ not: true, prefix: prefixOf('10.0.0.0/8') }] }
  const set = createRuleSet([rule], ASSIGNED, 1), words = new Int32Array(asked.ASKED_WORDS)
  words[asked.VERSION] = 6
  assert.equal(set.match(words), 0)
  words[asked.VERSION] = 4
  assert.equal(set.match(words), 1)
  words[asked.LOCAL] = prefixOf('10.1.0.0/16').words[0]!
  assert.equal(set.match(words), 0)
})

test('rules whose ports touch in one port do not hide each other there, whichever comes first', () => {
  const SYN = 2, ACK = 16
  for (const side of ['sourcePorts', 'destinationPorts'] as const) for (const isLowFirst of [true, false]) {
    const rules = Array.from({ length: 20 }, (_, n): FirewallRule => {
      const middle = 1000 * (n >> 1) + 500, isLow = (n & 1) === 0 === isLowFirst
      return {
        ...anyRule(true), protocols: [6], [side]: [isLow ? { low: middle - 100, high: middle } : { low: middle, high: middle + 100 }],
        tcpFlags: { set: n % 2 === 0 ? SYN : ACK, clear: 0 },
      }
    })
    const set = createRuleSet(rules, ASSIGNED, 1), words = new Int32Array(asked.ASKED_WORDS)
    words[asked.VERSION] = 4
    words[asked.PROTOCOL] = 6
    for (let n = 0; n < rules.length; n++) {
      words[asked.PORTS] = (1000 * (n >> 1) + 500) * (side === 'sourcePorts' ? 0x10000 : 1)
      words[asked.ASPECT] = n % 2 === 0 ? SYN : ACK
      assert.equal(set.match(words), n + 1)
    }
  }
})

/** `many` rules that name an interface, each for a host of its own. */
function rulesOfHosts(many: number, hostOf: (n: number) => string): FirewallRule[] {
  return Array.from({ length: many }, (_, n) => ({
    ...anyRule(true), interfaces: { names: ['eth0'], not: false }, source: [{ not: false, prefix: prefixOf(hostOf(n)) }],
  }))
}

test('rules with long lists are built too, and the bytes of a set grow with it', () => {
  const list = Array.from({ length: 100 }, (_, n) => ({ not: false, prefix: prefixOf(`10.2.0.${n}/32`) }))
  const few = rulesOfHosts(20, (n) => `10.1.0.${n}/32`)
  const builder = buildRuleSet([...few, { ...few[0]!, source: list }, { ...few[0]!, source: list, interfaces: { names: ['eth1'], not: false } }], ASSIGNED, 1)
  assert.equal(builder.step(10_000), false)
  const set = builder.set(), words = new Int32Array(asked.ASKED_WORDS)
  set.setInterfaceBits(() => 2)
  words[asked.VERSION] = 4
  words.set(list[99]!.prefix.words, asked.LOCAL)
  assert.equal(set.match(words), 22)
  assert.ok(set.bytes() > createRuleSet(few, ASSIGNED, 1).bytes())
  assert.ok(createRuleSet([], ASSIGNED, 1).bytes() > 0)
})

test('a set takes as many rules, names and entries as its limits say', () => {
  const names = Array.from({ length: MOST_INTERFACES }, (_, n) => `eth${n}`)
  const rules = Array.from({ length: MOST_RULES }, (_, n): FirewallRule => ({ ...anyRule(true), protocols: [n & 255] }))
  rules[MOST_RULES - 1] = { ...anyRule(true), interfaces: { names: [names.at(-1)!], not: false } }
  rules[MOST_RULES - 2] = { ...anyRule(true), interfaces: { names, not: true } }
  const last = createRuleSet(rules.slice(-2), ASSIGNED, 1), words = new Int32Array(asked.ASKED_WORDS)
  last.setInterfaceBits((id) => 1 << id)
  words[asked.VERSION] = 4
  words[asked.INTERFACE] = MOST_INTERFACES - 1
  assert.deepEqual(last.interfaceNames, names)
  assert.equal(last.match(words), 2)
  const set = createRuleSet(rules, ASSIGNED, 1)
  words[asked.PROTOCOL] = 255
  assert.equal(set.match(words), 256)
  const prefixes = Array.from({ length: 256 }, (_, n) => ({ not: false, prefix: prefixOf(`10.3.0.${n}/32`) }))
  const most: FirewallRule = { ...anyRule(true), directions: OUTBOUND, source: prefixes, destination: prefixes }
  assert.equal(countEntries([most], ASSIGNED), MOST_ENTRIES)
  words[asked.LOCAL] = words[asked.PEER] = prefixes[255]!.prefix.words[0]!
  assert.equal(createRuleSet([most], ASSIGNED, 1).match(words), 1)
})

test('limits are counted, and what is beyond them is refused', () => {
  const prefixes = Array.from({ length: 300 }, (_, n) => ({ not: false, prefix: prefixOf(`10.0.${n >> 8}.${n & 255}/32`) }))
  const wide: FirewallRule = { ...anyRule(true), directions: OUTBOUND | INBOUND, source: prefixes, destination: prefixes }
  assert.equal(countEntries([anyRule(true)], ASSIGNED), 4)
  assert.equal(countEntries([{ ...wide, source: prefixes.slice(0, 10), destination: prefixes.slice(0, 5) }], ASSIGNED), 100)
  assert.ok(countEntries([wide], ASSIGNED) > MOST_ENTRIES)
  assert.throws(() => createRuleSet([wide], ASSIGNED, 1), RangeError)
  assert.throws(() => createRuleSet(Array.from({ length: MOST_RULES + 1 }, () => anyRule(true)), ASSIGNED, 1), RangeError)
  const names = Array.from({ length: MOST_INTERFACES + 1 }, (_, n) => `eth${n}`)
  assert.throws(() => createRuleSet([{ ...anyRule(true), interfaces: { names, not: false } }], ASSIGNED, 1), RangeError)
})
