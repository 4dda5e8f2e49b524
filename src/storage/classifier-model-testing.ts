/** The classifier and its model on the same random rules that come and go, lookup by lookup: for tests and for a soak. */
import { createPrng } from '../base/prng.ts'
import { createRandomRules } from './classifier-testing.ts'
import { createClassifierModel } from './classifier.model.ts'
import { createClassifier, type Classifier, type Kernel } from './classifier.ts'

/** One packet, by the classifier and by its batch of one. */
export function lookup(
  classifier: Classifier, version: number, zone: number, protocol: number, words: Int32Array, ports: number,
): number {
  if (version === 6) return classifier.lookup6(zone, protocol, words, 0, ports)
  const answer = classifier.lookup4(zone, protocol, words[0], words[1], ports)
  const answers = new Int32Array(1)
  classifier.lookupBatch4(1, Uint8Array.of(zone), Uint8Array.of(protocol), words.subarray(0, 1), words.subarray(1, 2),
    Int32Array.of(ports), answers)
  if (answers[0] !== answer) throw new Error(`a batch answers ${answers[0]}, not ${answer}`)
  return answer
}

const LOOKUPS_A_STEP = 3

export interface Run {
  seed: number
  steps: number
  /** Rules there are at most, so that they are inserted and removed all the time. */
  most: number
  /** Priorities are below this: 1 makes all equal. */
  priorities: number
  /** Steps of re-indexing after each update. */
  maintain: number
  /** Of 8 rules so many are a variation of one condition, in its ports alone. */
  alike: number
  /** What looks up batches. */
  kernel: Kernel
}

/** @returns lookups that were compared. @throws Error at the first difference */
export function compareWithModel({ seed, steps, most, priorities, maintain, alike, kernel }: Run): number {
  const prng = createPrng(seed), { below } = prng
  const random = createRandomRules(prng)
  const classifier = createClassifier({ capacity: most, seed, kernel }), model = createClassifierModel()
  const live: number[] = []
  const like = random.rule(4)
  for (let n = 1; n <= steps; n++) {
    if (live.length < most && below(16) < (n < steps / 2 ? 12 : 6)) {
      const key = random.rule(below(3) === 0 ? 6 : 4)
      if (below(8) < alike) {
        const ports = random.rule(4)
        key.set(like)
        key.set(ports.subarray(5, 7), 5)
      }
      const priority = below(priorities)
      const handle = classifier.insert(key, priority, n)
      if (handle <= 0) throw new Error(`no room for rule ${live.length + 1} of ${most}, step ${n} of seed ${seed}`)
      live.push(handle)
      model.insert(handle, key, priority, n)
    } else if (live.length > 0) {
      const [handle] = live.splice(below(live.length), 1)
      classifier.remove(handle)
      model.remove(handle)
    }
    classifier.maintain(maintain)
    if (classifier.count() !== live.length) {
      throw new Error(`${classifier.count()} rules, not ${live.length}: step ${n} of seed ${seed}`)
    }
    for (let packet = 0; packet < LOOKUPS_A_STEP; packet++) {
      const version = below(3) === 0 ? 6 : 4
      const words = Int32Array.from([...random.address(version), ...random.address(version)])
      if (version === 4 && below(8) < alike) words.set([like[8], like[12]])
      const ports = random.port() << 16 | random.port(), zone = random.zone(), protocol = random.protocol()
      const found = lookup(classifier, version, zone, protocol, words, ports)
      const right = model.lookup(version, zone, protocol, words, ports)
      if (found !== right) throw new Error(`found ${found}, not ${right}: step ${n} of seed ${seed}`)
    }
  }
  return steps * LOOKUPS_A_STEP
}
