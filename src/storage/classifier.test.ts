import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPrng } from '../base/prng.ts'
import { compareWithModel, lookup } from './classifier-model-testing.ts'
import { createRandomRules, ruleKey } from './classifier-testing.ts'
import { createClassifierModel } from './classifier.model.ts'
import {
  createClassifier, KEY_LOCAL, KEY_LOCAL_BITS, KEY_PEER, KEY_PEER_BITS, RULE_KEY_WORDS,
} from './classifier.ts'

test('classifier: answers as a linear search does, while rules come and go', () => {
  fc.assert(fc.property(fc.record({
    seed: fc.integer({ min: 1, max: 0x7fffffff }), steps: fc.constantFrom(60, 400), most: fc.constantFrom(1, 8, 100, 300),
    priorities: fc.constantFrom(1, 3, 1000, 65_536), maintain: fc.constantFrom(0, 1, 3, 1000), alike: fc.constantFrom(0, 0, 6, 8),
    kernel: fc.constantFrom('typescript' as const, 'wasm' as const),
  }), (run) => { compareWithModel(run) }), { numRuns: 120 })
})

test('classifier: thousands of rules that come and go, with re-indexing under way all the time', (t) => {
  const seed = Date.now() & 0x7fffffff
  t.diagnostic(`seed ${seed}`)
  compareWithModel({ seed, steps: 6000, most: 2500, priorities: 2000, maintain: 2, alike: 1, kernel: 'wasm' })
})

test('classifier: an empty one finds nothing and takes little memory', () => {
  const classifier = createClassifier({ capacity: 1 << 20, seed: 1 })
  assert.equal(classifier.lookup4(0, 6, 1, 2, 3), 0)
  assert.equal(classifier.lookup6(0, 6, new Int32Array(8), 0, 3), 0)
  assert.equal(classifier.count(), 0)
  classifier.insert(ruleKey({}), 1, 1)
  classifier.insert(ruleKey({ version: 6 }), 1, 2)
  while (classifier.maintain(1000));
  assert.ok(classifier.bytes() < 2 ** 20, `${classifier.bytes()} bytes`)
})

test('classifier: a full one takes no more, and a free place is used again', () => {
  const classifier = createClassifier({ capacity: 2, seed: 1 })
  const first = classifier.insert(ruleKey({ localBits: 32 }), 1, 1)
  assert.ok(first > 0 && classifier.insert(ruleKey({ version: 6 }), 1, 2) > 0)
  assert.equal(classifier.insert(ruleKey({}), 1, 3), 0)
  classifier.remove(first)
  classifier.remove(first)
  assert.equal(classifier.count(), 1)
  assert.ok(classifier.insert(ruleKey({}), 1, 4) > 0)
  assert.equal(classifier.lookup4(7, 47, 5, 5, 5), 4)
})

test('classifier: handles that are not in use are ignored', () => {
  const classifier = createClassifier({ capacity: 20, seed: 1 })
  for (let n = 0; n < 20; n++) classifier.insert(ruleKey({ localPorts: [n, n + 5] }), n, n + 1)
  for (const handle of [0, 1, 3, 43, 60, 1 << 20, -2]) classifier.remove(handle)
  assert.equal(classifier.count(), 20)
})

/** As many rules for one host, whose ranges of ports lie over each other: a trie. */
const crowded = (many: number, port = 500) => Array.from({ length: many }, (_, n) => ruleKey({ local: [0x0a000001], localBits: 32, localPorts: [n, port + n] }))

test('classifier: no handle but that of a rule takes anything out, and none takes out twice', () => {
  const classifier = createClassifier({ capacity: 200, seed: 1 })
  const handles = crowded(60).map((key, n) => classifier.insert(key, 5, n + 1))
  handles.push(classifier.insert(ruleKey({ version: 6 }), 1, 99))
  // Records of tries lie among those of rules.
  for (let handle = -8; handle < 600; handle++) if (!handles.includes(handle)) classifier.remove(handle)
  assert.equal(classifier.count(), 61)
  for (let n = 0; n < 60; n++) {
    assert.equal(classifier.lookup4(0, 6, 0x0a000001, 1, 100 << 16), n <= 100 ? n + 1 : 0)
    for (let twice = 0; twice < 2; twice++) classifier.remove(handles[n])
    assert.equal(classifier.count(), 60 - n)
  }
  assert.deepEqual([classifier.lookup4(0, 6, 0x0a000001, 1, 100 << 16), classifier.lookup6(0, 6, new Int32Array(8), 0, 0)], [0, 99])
})

test('classifier: of equal priorities the lower handle wins where a trie and rules of another table share a bucket', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const classifier = createClassifier({ capacity: 160, seed }), wide = ruleKey({})
    crowded(40).forEach((key, n) => { classifier.insert(key, 7, n + 1) })
    classifier.insert(wide, 7, 41)
    assert.equal(classifier.lookup4(0, 6, 0x0a000001, 1, 100 << 16), 1, `seed ${seed}`)
    assert.equal(classifier.lookup4(0, 6, 0x0a000001, 1, 900 << 16), 41, `seed ${seed}`)
  }
})

test('classifier: IPv6 tables come and go with their rules, and what is re-indexed meanwhile leaves none out', (t) => {
  const random = Date.now() & 0x7fffffff
  t.diagnostic(`seed ${random}`)
  // With seed 11, tables that are entered while the index is being made anew would be forgotten, if they were not looked at again.
  for (const seed of [11, random]) churn6(seed)
})

function churn6(seed: number): void {
  const { below } = createPrng(seed), model = createClassifierModel(), handles: number[] = []
  const classifier = createClassifier({ capacity: 900, seed })
  let value = 1
  const address = (site: number) => [0x20010db8, site, below(2), 7]
  function add(localBits: number, peerBits: number, localPorts: [number, number], peerPorts: [number, number]): void {
    const key = ruleKey({ version: 6, local: address(1), localBits, peer: address(2), peerBits, localPorts, peerPorts })
    const priority = below(4), handle = classifier.insert(key, priority, value)
    if (handle === 0) return
    handles.push(handle)
    model.insert(handle, key, priority, value++)
  }
  function look(times: number): void {
    for (let n = 0; n < times; n++) {
      const words = Int32Array.from([...address(1), ...address(2)])
      if (below(3) === 0) words[below(8)] ^= 1 << below(32)
      const ports = below(600) << 16 | below(600)
      assert.equal(classifier.lookup6(0, 6, words, 0, ports), model.lookup(6, 0, 6, words, ports), `seed ${seed}`)
    }
  }
  for (let phase = 0; phase < 8; phase++) {
    const budget = below(3) === 0 ? 0 : 1 + below(40), shortest = 65 + below(60)
    for (let table = 0; table < 30; table++) {
      const localBits = 65 + (shortest + table) % 63, peerBits = 65 + below(63)
      for (let n = 0; n < 22; n++) add(localBits, peerBits, [n, 500 + n], [0, 0xffff])
      classifier.maintain(budget)
      if (table % 6 === 0) look(8)
    }
    for (let n = 0; n < 250; n++) {
      const port = below(600), some = (): [number, number] => below(2) === 0 ? [0, 0xffff] : [port, port]
      add(below(129), below(129), some(), some())
      classifier.maintain(budget)
      if (n % 9 === 0) look(8)
    }
    for (const kept = phase % 2 === 0 ? below(60) : 0; handles.length > kept;) {
      const [handle] = handles.splice(below(handles.length), 1)
      classifier.remove(handle)
      model.remove(handle)
      if (below(4) === 0) classifier.maintain(budget)
      if (handles.length % 25 === 0) look(6)
    }
    if (below(2) === 1) while (classifier.maintain(1000));
  }
}

test('classifier: tries that run empty leave their room to others', () => {
  const classifier = createClassifier({ capacity: 320, seed: 1 })
  let most = 0
  for (let round = 0; round < 1000; round++) {
    const handles = crowded(40).map((key, n) => classifier.insert(key, n, n + 1))
    if (round < 5) most = Math.max(most, classifier.bytes())
    for (const handle of handles) classifier.remove(handle)
    classifier.maintain(100)
  }
  assert.ok(classifier.bytes() <= most, `${classifier.bytes()} bytes, in the first rounds ${most}`)
})

test('classifier: the ends of every field count as inside', () => {
  const edges = [0, 1, 4095, 4096, 4127, 4128, 0xfffe, 0xffff]
  for (const low of edges) {
    for (const high of edges.filter((edge) => edge >= low)) {
      const classifier = createClassifier({ capacity: 4, seed: 1 })
      classifier.insert(ruleKey({ localPorts: [low, high], peerPorts: [0xffff - high, 0xffff - low] }), 0x7fffffff, 9)
      for (const port of edges) {
        const inside = low <= port && port <= high ? 9 : 0
        assert.equal(classifier.lookup4(0, 0, 0, 0, port << 16 | 0xffff - port), inside, `${port} in ${low}-${high}`)
      }
    }
  }
  for (const version of [4, 6] as const) {
    for (let bits = 0; bits <= (version === 4 ? 32 : 128); bits++) {
      const classifier = createClassifier({ capacity: 4, seed: bits }), width = version === 4 ? 1 : 4
      const address = new Int32Array(width).fill(0x5a5a5a5a)
      classifier.insert(ruleKey({ version, local: [...address], localBits: bits, peer: [...address], peerBits: bits }), 1, 9)
      for (let bit = 0; bit < 64 * width; bit++) {
        const words = Int32Array.from([...address, ...address])
        words[bit >> 5] ^= 1 << 31 - (bit & 31)
        assert.equal(lookup(classifier, version, 0, 0, words, 0), bit % (32 * width) < bits ? 0 : 9, `bit ${bit} of /${bits}`)
      }
    }
  }
})

test('classifier: host bits beyond a prefix do not count', () => {
  const classifier = createClassifier({ capacity: 4, seed: 1 })
  classifier.insert(ruleKey({ local: [0x0a0a0aff], localBits: 24 }), 1, 7)
  assert.equal(classifier.lookup4(0, 6, 0x0a0a0a01, 0, 0), 7)
})

test('classifier: of equal priorities the lower handle wins, in a chain and in a trie', () => {
  for (const many of [2, 5, 40]) {
    const classifier = createClassifier({ capacity: 64, seed: many })
    const handles = Array.from({ length: many }, (_, n) => classifier.insert(ruleKey({ localPorts: [n, 1000 + n] }), 5, n + 1))
    for (let n = 0; n < many; n++) {
      assert.equal(classifier.lookup4(0, 6, 1, 1, 500 << 16), n + 1)
      classifier.remove(handles[n])
    }
    assert.equal(classifier.lookup4(0, 6, 1, 1, 500 << 16), 0)
  }
})

for (const [what, sixth, alike] of [['IPv4', 0, 0], ['IPv4 and IPv6', 3, 0], ['IPv4, many that differ in ports alone', 0, 2]] as const) {
  test(`classifier: rules entered all at once are found as those entered one by one, and take updates: ${what}`, () => {
    const prng = createPrng(5), random = createRandomRules(prng), many = 3000
    const keys = new Int32Array(many * RULE_KEY_WORDS), order = Int32Array.from({ length: many }, () => prng.below(500))
    const values = Int32Array.from({ length: many }, (_, n) => n + 1), handles = new Int32Array(many)
    const isSix = (n: number) => sixth > 0 && n % sixth === 0
    const like = random.rule(4)
    for (let n = 0; n < many; n++) {
      const key = random.rule(isSix(n) ? 6 : 4)
      if (alike > 0 && n % alike === 0) for (const at of [KEY_LOCAL_BITS, KEY_PEER_BITS, KEY_LOCAL, KEY_PEER]) key[at] = like[at]
      keys.set(key, n * RULE_KEY_WORDS)
    }
    const classifier = createClassifier({ capacity: many, seed: 1, kernel: 'wasm' }), model = createClassifierModel()
    assert.equal(classifier.build(many, keys, order, values, handles), many)
    assert.equal(classifier.build(1, keys, order, values, new Int32Array(1)), 0)
    assert.equal(new Set(handles).size, many)
    for (let n = 0; n < many; n++) {
      model.insert(handles[n], keys.subarray(n * RULE_KEY_WORDS, (n + 1) * RULE_KEY_WORDS), order[n], n + 1)
    }
    for (let n = 0; n < 4000; n++) {
      if (n % 4 === 0 && n / 4 < many) {
        classifier.remove(handles[n / 4])
        model.remove(handles[n / 4])
        classifier.maintain(3)
      }
      const version = isSix(n) ? 6 : 4
      const words = Int32Array.from([...random.address(version), ...random.address(version)])
      if (alike > 0 && n % 3 !== 0) words.set([like[KEY_LOCAL], like[KEY_PEER]])
      const ports = random.port() << 16 | random.port(), zone = random.zone(), protocol = random.protocol()
      assert.equal(lookup(classifier, version, zone, protocol, words, ports), model.lookup(version, zone, protocol, words, ports))
    }
  })
}
