import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createPrng } from '../base/prng.ts'
import { firewallRules, overlappingRanges, ruleKey } from './classifier-testing.ts'
import { createClassifier, RULE_KEY_WORDS } from './classifier.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes of heap a call, once it runs compiled: the least of several rounds, for the compiler works beside us. */
async function heapBytesOf(calls: number, work: () => void): Promise<number> {
  let least = Infinity
  for (let round = 0; round < 12; round++) {
    await new Promise((resolve) => { setTimeout(resolve, 10) })
    collect()
    const before = process.memoryUsage().heapUsed
    work()
    least = Math.min(least, (process.memoryUsage().heapUsed - before) / calls)
  }
  return least
}

const PACKETS = 50_000

const SETS = { firewall: firewallRules, 'overlapping ranges': overlappingRanges }
for (const [name, make] of Object.entries(SETS)) for (const kernel of ['typescript', 'wasm'] as const) {
  test(`classifier: looking up allocates nothing: ${name}, ${kernel}`, async () => {
    const set = make(1000, PACKETS, createPrng(1)), handles = new Int32Array(1000)
    const classifier = createClassifier({ capacity: 2000, seed: 1, kernel })
    classifier.build(1000, set.keys, set.priorities, set.values, handles)
    const answers = new Int32Array(PACKETS), { zones, protocols, locals, peers, ports } = set
    const batch = await heapBytesOf(PACKETS, () => {
      classifier.lookupBatch4(PACKETS, zones, protocols, locals, peers, ports, answers)
    })
    assert.ok(batch < 1, `${batch} bytes a packet of a batch`)
    const single = await heapBytesOf(PACKETS, () => {
      for (let n = 0; n < PACKETS; n++) classifier.lookup4(zones[n], protocols[n], locals[n], peers[n], ports[n])
    })
    assert.ok(single < 1, `${single} bytes a look-up`)
  })
}

test('classifier: looking up IPv6 and re-indexing allocate nothing, and an update a few bytes at most', async () => {
  const prng = createPrng(2), many = 2000
  const classifier = createClassifier({ capacity: 2 * many, seed: 1 })
  const rules = Array.from({ length: many }, () => ruleKey({
    version: 6, zones: 1, local: [0x20010db8, prng.next(), 0, 0], localBits: 64, localPorts: [prng.below(1000), 2000],
  }))
  const handles = rules.map((rule, n) => classifier.insert(rule, n, n + 1))
  const keys = new Int32Array(many * 8)
  rules.forEach((rule, n) => keys.set(rule.subarray(8, 16), 8 * n))
  let found = 0
  const single = await heapBytesOf(PACKETS, () => {
    for (let n = 0; n < PACKETS; n++) if (classifier.lookup6(0, 6, keys, n % many * 8, 1500 << 16) !== 0) found++
  })
  assert.ok(found > 0 && single < 1, `${single} bytes a look-up`)
  const update = await heapBytesOf(PACKETS, () => {
    for (let n = 0; n < PACKETS; n++) {
      const which = n % many
      classifier.remove(handles[which])
      handles[which] = classifier.insert(rules[which], which, which + 1)
      classifier.maintain(1)
    }
  })
  assert.ok(update < 1, `${update} bytes an update`)
  assert.equal(rules[0].length, RULE_KEY_WORDS)
})
