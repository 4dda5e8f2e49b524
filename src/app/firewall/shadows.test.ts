import assert from 'node:assert/strict'
import test from 'node:test'
import { createPrng } from '../../base/prng.ts'
import * as asked from '../../engine/firewall-asked.ts'
import { firstMatch } from '../../engine/firewall-set.model.ts'
import { prefixOf, randomRules } from '../../engine/firewall-testing.ts'
import { parseRule } from './ipfilter.ts'
import { findingText, findShadows } from './shadows.ts'

const ASSIGNED = ['10.0.0.0/8', 'fd00::/8'].map(prefixOf)

function found(...texts: string[]) {
  const rules = texts.map((text) => {
    const rule = parseRule(text)
    if (!rule.ok) assert.fail(`${text}: ${rule.message}`)
    return rule.value
  })
  const { findings, undecided } = findShadows(rules, ASSIGNED)
  assert.deepEqual(undecided, [])
  return findings.map(({ number, kind, by, redundant }) => `${number} ${kind}${by.length > 0 ? ` by ${by.join(',')}` : ''}${redundant ? ' same' : ''}`)
}

test('shadows: a rule behind one that is wider never decides', () => {
  assert.deepEqual(found('deny in ip from 10.0.0.0/8 to any', 'permit in 6 from 10.1.0.0/16 to any 80'), ['2 shadowed by 1'])
  assert.deepEqual(found('permit in 6 from any to any', 'permit in 6 from any to any 80 setup'), ['2 shadowed by 1 same'])
  assert.deepEqual(found('permit in 6 from any to any 80', 'permit both 6 from any to any 80'), [])
})

test('shadows: several rules together can leave nothing of one', () => {
  assert.deepEqual(found('permit in 6 from any to any 0-999', 'deny in 6 from any to any 1000-65535', 'permit in 6 from any to 10.0.0.1 1-65534'),
    ['3 shadowed by 1,2'])
  assert.deepEqual(found('permit in ip from 0.0.0.0/1 to any', 'permit in ip from 128.0.0.0/1 to any', 'permit in ip from any to any'), [])
  assert.deepEqual(found('permit in ip from 0.0.0.0/0 to any', 'permit in ip from ::/0 to any', 'deny in ip from any to any'), ['3 shadowed by 1,2'])
  assert.deepEqual(found('deny in 6 from any to any tcpflags syn', 'deny in 6 from any to any tcpflags !syn', 'permit in 6 from any to any'),
    ['3 shadowed by 1,2'])
  assert.deepEqual(found('deny both ip from !10.0.0.0/8 to any', 'deny both ip from 10.0.0.0/8 to any', 'permit in ip from 10.0.0.1 to any'),
    ['3 shadowed by 2'])
})

test('shadows: what is never asked about is told with its reason', () => {
  assert.deepEqual(found('deny out 1 from any to any icmptypes 3', 'permit in 1 from any to any icmptypes 8'), ['1 never'])
  assert.deepEqual(found('deny in ip from any to any ipoptions ssrr'), ['1 never'])
  assert.deepEqual(found('permit in ip from 10.0.0.0/8 to 2001:db8::/32'), ['1 never'])
  assert.deepEqual(found('permit in ip from 10.0.0.0/8,!10.0.0.0/7 to any'), ['1 never'])
  assert.deepEqual(found('deny in ip from any to any frag', 'permit in ip from any to any'), [])
  assert.match(findingText({ number: 1, kind: 'never', by: [], redundant: false, reason: 'so' }), /^never matches: so$/)
})

test('shadows: a rule that is found never decides about any of many random packets, and rules that decide are not found', () => {
  const prefixes = ['10.0.0.1', '10.0.0.2', '198.51.100.1', '192.0.2.1', '203.0.113.1'].map((text) => prefixOf(`${text}/32`).words)
  let foundRules = 0
  for (let seed = 1; seed <= 250; seed++) {
    const prng = createPrng(seed), { below, next } = prng, pick = <T>(from: readonly T[]) => from[below(from.length)]!
    const rules = randomRules(prng, 14), hasFrag = rules.some(({ frag }) => frag)
    const { findings } = findShadows(rules, ASSIGNED)
    const never = new Set(findings.map(({ number }) => number))
    foundRules += never.size
    const words = new Int32Array(asked.ASKED_WORDS)
    for (let n = 0; n < 400; n++) {
      const protocol = pick([6, 6, 17, 17, 1, 47])
      words.fill(0)
      words[asked.DIRECTION] = below(2)
      words[asked.VERSION] = 4
      words[asked.PROTOCOL] = protocol
      words[asked.LATER] = hasFrag && below(5) === 0 ? 1 : 0
      words.set(pick(prefixes), asked.LOCAL)
      words.set(pick(prefixes), asked.PEER)
      const isWhole = words[asked.LATER] === 0
      if (isWhole && protocol !== 1 && protocol !== 47) words[asked.PORTS] = pick([0, 53, 80, 1024, 5000]) << 16 | pick([0, 1, 80, 1025, 65535])
      const low = protocol === 6 ? next() & 0x7ff : protocol === 1 ? pick([8, 13]) << 8 : 0
      words[asked.ASPECT] = (isWhole ? low : 0) | (next() & 12) << asked.ASPECT_IP_OPTIONS
      words[asked.INTERFACE] = below(3)
      const first = firstMatch(rules, ASSIGNED, () => undefined, words)
      if (never.has(first)) assert.fail(`seed ${seed}: rule ${first} decides, and is found not to: ${JSON.stringify(findings)}`)
    }
  }
  assert.ok(foundRules > 100, `${foundRules} rules were found`)
})
