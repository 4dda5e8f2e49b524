/**
 * The classifier under random updates, against linear search: `node build/test/classifier-soak.js [LOOKUPS [SEED]]`. Run by
 * hand: ten million look-ups unless told otherwise, some minutes. A short form of it is in classifier.test.ts.
 */
import { createPrng } from '../src/base/prng.ts'
import { createRandomRules } from '../src/storage/classifier-testing.ts'
import { createClassifierModel } from '../src/storage/classifier.model.ts'
import { createClassifier } from '../src/storage/classifier.ts'

const lookups = Number(process.argv[2] ?? 1e7), seed = Number(process.argv[3] ?? Date.now() & 0x7fffffff)
const LOOKUPS_AN_UPDATE = 5, MOST_RULES = 400, UPDATES_A_LIFE = 20_000
console.log(`seed ${seed}`)
const prng = createPrng(seed), { below } = prng
const random = createRandomRules(prng)
let done = 0, updates = 0
while (done < lookups) {
  const classifier = createClassifier({ capacity: MOST_RULES, seed: prng.next() }), model = createClassifierModel()
  const live: number[] = []
  const pace = [0, 1, 4, 1000][below(4)], priorities = [1, 5, 1000, 65_536][below(4)]
  let most = MOST_RULES
  for (let n = 0; n < UPDATES_A_LIFE && done < lookups; n++) {
    // Full, nearly empty, full again.
    if (n % 2500 === 0) most = [MOST_RULES, 10, 100, MOST_RULES][below(4)]
    if (live.length < most && below(8) < 5) {
      const key = random.rule(below(3) === 0 ? 6 : 4), priority = below(priorities)
      const handle = classifier.insert(key, priority, ++updates)
      live.push(handle)
      model.insert(handle, key, priority, updates)
    } else if (live.length > 0) {
      const [handle] = live.splice(below(live.length), 1)
      classifier.remove(handle)
      model.remove(handle)
    }
    classifier.maintain(pace)
    for (let packet = 0; packet < LOOKUPS_AN_UPDATE; packet++) {
      const version = below(3) === 0 ? 6 : 4
      const words = Int32Array.from([...random.address(version), ...random.address(version)])
      const ports = random.port() << 16 | random.port(), zone = random.zone(), protocol = random.protocol()
      const got = version === 6 ? classifier.lookup6(zone, protocol, words, 0, ports)
        : classifier.lookup4(zone, protocol, words[0], words[1], ports)
      const wanted = model.lookup(version, zone, protocol, words, ports)
      if (got !== wanted) throw new Error(`seed ${seed}, look-up ${done}: ${got} instead of ${wanted}`)
      done++
    }
  }
  console.log(`${done} look-ups, ${updates} rules entered`)
}
