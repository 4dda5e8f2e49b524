/** Finding rules. Packets are in random order, and there are so many that no cache holds what they touch. */
import { createPrng } from '../../src/base/prng.ts'
import { createClassifier, RULE_KEY_WORDS } from '../../src/storage/classifier.ts'
import {
  firewallRules, manyTuples, overlappingRanges, pinholes, type RuleSet,
} from '../../src/storage/classifier-testing.ts'
import { OPERATIONS, type Task } from './task.ts'

const SEED = 1, BATCH = 256
const PACKETS = 1 << 16

function built(set: RuleSet) {
  const many = set.values.length, handles = new Int32Array(many)
  const classifier = createClassifier({ capacity: 2 * many, seed: SEED })
  classifier.build(many, set.keys, set.priorities, set.values, handles)
  return { classifier, handles }
}

/** Batches of the packets, as views. */
function batches({ zones, protocols, locals, peers, ports }: RuleSet) {
  return Array.from({ length: PACKETS / BATCH }, (_, n) => {
    const from = n * BATCH, to = from + BATCH
    return {
      zones: zones.subarray(from, to), protocols: protocols.subarray(from, to), locals: locals.subarray(from, to),
      peers: peers.subarray(from, to), ports: ports.subarray(from, to),
    }
  })
}

function lookups(set: RuleSet, updatesABatch = 0): Task {
  const { classifier, handles } = built(set), parts = batches(set), answers = new Int32Array(BATCH)
  const keys = Array.from(handles, (_, n) => set.keys.subarray(n * RULE_KEY_WORDS, (n + 1) * RULE_KEY_WORDS))
  const { next } = createPrng(SEED)
  let at = 0, missing = 0
  return {
    run() {
      for (let n = 0; n < OPERATIONS; n += BATCH) {
        const { zones, protocols, locals, peers, ports } = parts[at]
        at = at + 1 === parts.length ? 0 : at + 1
        classifier.lookupBatch4(BATCH, zones, protocols, locals, peers, ports, answers)
        if (updatesABatch === 0 && answers[n % BATCH] === 0) missing++
        for (let update = 0; update < updatesABatch; update++) {
          const which = (next() >>> 0) % handles.length
          classifier.remove(handles[which])
          handles[which] = classifier.insert(keys[which], set.priorities[which], set.values[which])
          classifier.maintain(2)
        }
      }
    },
    isRight: () => missing === 0 && classifier.count() === handles.length,
  }
}

/** An operation is a rule removed and entered again, and its share of re-indexing. */
function updates(set: RuleSet): Task {
  const { classifier, handles } = built(set)
  const keys = Array.from(handles, (_, n) => set.keys.subarray(n * RULE_KEY_WORDS, (n + 1) * RULE_KEY_WORDS))
  const { next } = createPrng(SEED)
  return {
    run() {
      for (let n = 0; n < OPERATIONS; n++) {
        const which = (next() >>> 0) % handles.length
        classifier.remove(handles[which])
        handles[which] = classifier.insert(keys[which], set.priorities[which], set.values[which])
        classifier.maintain(2)
      }
    },
    isRight: () => classifier.count() === handles.length,
  }
}

function empty(): Task {
  const { lookup4 } = createClassifier({ capacity: 1024, seed: SEED })
  let sum = 0
  return {
    run() { for (let n = 0; n < OPERATIONS; n++) sum += lookup4(0, 6, n, n, n) },
    isRight: () => sum === 0,
  }
}

const prng = () => createPrng(SEED)
/** Rows of this file: names as `rows.ts` lists them, tasks as `micro-child.ts` runs them. */
export const CLASSIFY_TASKS = {
  'classify/empty': empty,
  'classify/firewall-1k': () => lookups(firewallRules(1000, PACKETS, prng())),
  'classify/firewall-10k': () => lookups(firewallRules(10_000, PACKETS, prng())),
  'classify/firewall-100k': () => lookups(firewallRules(100_000, PACKETS, prng())),
  'classify/firewall-100k-updated': () => lookups(firewallRules(100_000, PACKETS, prng()), 1),
  'classify/pinholes-100k': () => lookups(pinholes(100_000, PACKETS, prng())),
  'classify/ranges-1k': () => lookups(overlappingRanges(1000, PACKETS, prng())),
  'classify/tuples-1k': () => lookups(manyTuples(1000, PACKETS, prng())),
  'classify/update-100k': () => updates(firewallRules(100_000, PACKETS, prng())),
  'classify/update-ranges-1k': () => updates(overlappingRanges(1000, PACKETS, prng())),
} as const satisfies Record<string, () => Task>
