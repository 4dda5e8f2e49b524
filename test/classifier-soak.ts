/**
 * The classifier against a linear search, over many random rule sets under random updates:
 * `node build/test/classifier-soak.js [LOOKUPS] [SEED]`. Short forms are in classifier.test.ts.
 */
import { createPrng } from '../src/base/prng.ts'
import { compareWithModel } from '../src/storage/classifier-model-testing.ts'

const [lookups = '10000000', seedText] = process.argv.slice(2)
const seed = seedText === undefined ? Date.now() >>> 0 : Number(seedText)
const { below } = createPrng(seed), oneOf = (values: readonly number[]) => values[below(values.length)]!
console.log(`seed ${seed}`)
let done = 0, sets = 0, told = 0
while (done < Number(lookups)) {
  done += compareWithModel({
    seed: 1 + below(0x7fffffff), steps: oneOf([400, 4000, 20_000]), most: oneOf([8, 100, 300, 1000]),
    priorities: oneOf([1, 3, 1000, 65_536]), maintain: oneOf([0, 1, 3, 1000]), alike: oneOf([0, 0, 6, 8]),
    kernel: sets % 2 === 0 ? 'wasm' : 'typescript',
  })
  sets++
  if (done - told < 1_000_000) continue
  told = done
  console.log(`${done} lookups, ${sets} rule sets: no difference`)
}
console.log(`${done} lookups, ${sets} rule sets: no difference`)
