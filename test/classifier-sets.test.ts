/** The classifier with whole rule sets: answers, the longest operation, memory. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../src/base/prng.ts'
import { firewallRules, manyTuples, overlappingRanges, pinholes, type RuleSet } from '../src/storage/classifier-testing.ts'
import { createClassifier, RULE_KEY_WORDS, type Classifier, type Kernel } from '../src/storage/classifier.ts'
import { createClassifierModel } from '../src/storage/classifier.model.ts'
import { readSet, SETS, setsAreHere } from './classifier-sets.ts'

const CAPACITY = 1 << 17

function keyOf({ keys }: RuleSet, n: number): Int32Array {
  return keys.subarray(n * RULE_KEY_WORDS, (n + 1) * RULE_KEY_WORDS)
}

function build(set: RuleSet, kernel: Kernel = 'typescript'): { classifier: Classifier; handles: Int32Array } {
  const classifier = createClassifier({ capacity: CAPACITY, seed: 1, kernel }), handles = new Int32Array(set.values.length)
  assert.equal(classifier.build(handles.length, set.keys, set.priorities, set.values, handles), handles.length)
  return { classifier, handles }
}

function answersOf(classifier: Classifier, { zones, protocols, locals, peers, ports }: RuleSet): Int32Array {
  const answers = new Int32Array(zones.length)
  classifier.lookupBatch4(zones.length, zones, protocols, locals, peers, ports, answers)
  return answers
}

/** Some of the packets, by a model that has the rules in the order of their handles. */
function checkSome(classifier: Classifier, set: RuleSet, handles: ArrayLike<number>, packets: number): void {
  const model = createClassifierModel(), answers = answersOf(classifier, set)
  const order = Array.from(handles, (_, n) => n).sort((a, b) => set.priorities[a] - set.priorities[b] || handles[a] - handles[b])
  // In order, each goes to the end of the model's list; the model need not look for the place.
  for (const n of order.reverse()) model.insert(handles[n], keyOf(set, n), set.priorities[n], set.values[n])
  for (let n = 0; n < packets; n++) {
    const words = Int32Array.of(set.locals[n], set.peers[n])
    assert.equal(answers[n], model.lookup(4, set.zones[n], set.protocols[n], words, set.ports[n]), `packet ${n}`)
  }
}

const KERNELS = ['typescript', 'wasm'] as const

for (const name of SETS) {
  test(`classifier: ${name} is answered as expected, built at once and one by one, with half of it removed and entered again`, {
    skip: setsAreHere ? false : 'NOT RUN: ../shared/classbench is not there',
  }, () => {
    const set = readSet(name), many = set.values.length
    for (const kernel of KERNELS) {
      const { classifier, handles } = build(set, kernel)
      assert.equal(classifier.kernel, kernel)
      assert.deepEqual(answersOf(classifier, set), set.expected)
      for (let n = 0; n < many; n += 2) classifier.remove(handles[n])
      classifier.maintain(500)
      for (let n = 0; n < many; n += 2) handles[n] = classifier.insert(keyOf(set, n), set.priorities[n], n + 1)
      assert.deepEqual(answersOf(classifier, set), set.expected)
      while (classifier.maintain(1000));
      assert.deepEqual(answersOf(classifier, set), set.expected)
      for (let n = 0; n < set.zones.length; n += 7) {
        assert.equal(classifier.lookup4(0, set.protocols[n], set.locals[n], set.peers[n], set.ports[n]), set.expected[n])
      }
      if (many > 90_000) assert.ok(classifier.bytes() <= 120 * many, `${classifier.bytes() / many} bytes a rule`)
    }
  })
}

const adversarial = {
  'ranges that overlap in one bucket': overlappingRanges(1000, 2000, createPrng(1)),
  'a pair of prefix lengths for nearly each rule': manyTuples(2000, 2000, createPrng(2)),
  'pinholes': pinholes(3000, 2000, createPrng(3)),
  'a firewall': firewallRules(3000, 2000, createPrng(4)),
}
for (const [name, set] of Object.entries(adversarial)) for (const kernel of KERNELS) {
  test(`classifier: ${name}, by ${kernel}`, () => {
    const { classifier, handles } = build(set, kernel), { below } = createPrng(9)
    checkSome(classifier, set, handles, 500)
    for (let n = 0; n < 1500; n++) {
      const which = below(handles.length)
      classifier.remove(handles[which])
      classifier.maintain(1)
      handles[which] = classifier.insert(keyOf(set, which), set.priorities[which], set.values[which])
    }
    checkSome(classifier, set, handles, 500)
    for (const handle of handles) classifier.remove(handle)
    assert.equal(answersOf(classifier, set).find(answer => answer !== 0), undefined)
  })
}

test('classifier: a hundred thousand pinholes take no more than 120 bytes each', () => {
  const set = pinholes(100_000, 0, createPrng(1)), { classifier } = build(set)
  assert.ok(classifier.bytes() <= 120 * 100_000, `${classifier.bytes() / 100_000} bytes a rule`)
})

test('classifier: no operation takes a millisecond, from the first of 100,000 rules to the last', () => {
  const sets = [firewallRules(100_000, 0, createPrng(1)), overlappingRanges(20_000, 0, createPrng(1))]
  for (const set of sets) {
    // Noise does not hit the same operation every time: what counts is the least of several runs.
    const many = set.values.length, least = new Float64Array(3 * many).fill(Infinity)
    for (let run = 0; run < 4; run++) {
      const classifier = createClassifier({ capacity: CAPACITY, seed: 1 }), handles = new Int32Array(many)
      let at = 0
      const timed = (work: () => void) => {
        const begin = performance.now()
        work()
        least[at] = Math.min(least[at], performance.now() - begin)
        at++
      }
      for (let n = 0; n < many; n++) {
        timed(() => { handles[n] = classifier.insert(keyOf(set, n), set.priorities[n], n + 1) })
        timed(() => { classifier.maintain(20) })
      }
      for (let n = 0; n < many; n++) timed(() => { classifier.remove(handles[n]) })
    }
    const most = least.reduce((a, b) => Math.max(a, b))
    assert.ok(most < 1, `${most} ms`)
  }
})

test('classifier: a step of re-indexing is bounded, and all steps together by the number of rules', () => {
  const set = firewallRules(100_000, 0, createPrng(1)), classifier = createClassifier({ capacity: CAPACITY, seed: 1 })
  for (let n = 0; n < 100_000; n++) classifier.insert(keyOf(set, n), set.priorities[n], n + 1)
  let steps = 0
  while (classifier.maintain(1)) steps++
  assert.ok(steps > 1000 && steps < 20_000, `${steps} steps`)
})
