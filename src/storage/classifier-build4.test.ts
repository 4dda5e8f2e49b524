import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng, type Prng } from '../base/prng.ts'
import { builderRoom, createWasmBuilder4 } from './classifier-build4.ts'
import { createLayout } from './classifier-layout.ts'
import { createRules, type RulesMemory } from './classifier-rules.ts'
import {
  createRandomRules, firewallRules, manyTuples, overlappingRanges, pinholes, ruleKey, ruleSet, type RuleSet,
} from './classifier-testing.ts'
import { BULK_COLUMNS, RULE_KEY_WORDS } from './classifier.ts'
import { createMemory } from './wasm-code.ts'

const MANY = 5000

/** The rules that lookups read, word by word, and the work that was left to be done one by one. */
function built({ keys, priorities, values }: RuleSet, inWasm: boolean) {
  const layout = createLayout(4, MANY), room = builderRoom(layout, layout.words * 4, RULE_KEY_WORDS)
  let builders = 0
  const memory = createMemory(room.end)!
  const rulesMemory: RulesMemory = {
    ...room, buffer: memory.buffer,
    createBuilder(bulk) {
      builders++
      return createWasmBuilder4(memory, room, BULK_COLUMNS, bulk)
    },
  }
  const rules = createRules(4, MANY, createPrng(7), layout, inWasm ? rulesMemory : null)
  rules.begin(MANY)
  assert.ok(rules.enterAll(MANY, { ...BULK_COLUMNS, keys }, priorities, values) > 0)
  rules.finish()
  assert.equal(builders, inWasm ? 1 : 0)
  return { words: rules.words.slice(), bytes: rules.bytes() }
}

function randomRules(many: number, packets: number, prng: Prng): RuleSet {
  const { rule } = createRandomRules(prng)
  return ruleSet(Array.from({ length: many }, () => rule(4)), packets, prng, Int32Array.from({ length: many }, () => prng.below(900)))
}

/** Few places, each with many rules whose priorities come in any order. */
function crowds(many: number, packets: number, prng: Prng): RuleSet {
  const { below } = prng
  const rules = Array.from({ length: many }, () => ruleKey({
    zones: 1 << below(8), protocol: below(3) === 0 ? -1 : below(256), local: [below(40) << 24], localBits: 8 + below(25),
    peer: [below(8) << 28], peerBits: 4 + below(20), localPorts: [below(5000), 0xffff - below(5000)],
  }))
  return ruleSet(rules, packets, prng, Int32Array.from({ length: many }, () => below(0x10000)))
}

const SETS = { firewallRules, manyTuples, overlappingRanges, pinholes, randomRules, crowds }
for (const [name, make] of Object.entries(SETS)) {
  test(`classifier: WebAssembly enters many rules to the same bits as TypeScript does: ${name}`, (t) => {
    const seed = Date.now() & 0x7fffffff
    t.diagnostic(`seed ${seed}`)
    const set = make(MANY, 1, createPrng(seed)), expected = built(set, false), found = built(set, true)
    const at = found.words.findIndex((word, n) => word !== expected.words[n])
    assert.equal(at, -1, `word ${at} of ${found.words.length}: ${found.words[at]}, not ${expected.words[at]}`)
    assert.equal(found.bytes, expected.bytes)
  })
}
