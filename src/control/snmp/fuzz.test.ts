/** An engine under mutated datagrams: nothing is thrown, nothing is set, and memory stays where it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng, type Prng } from '../../base/prng.ts'
import { messageMac } from './keys.ts'
import { readMessage } from './message.ts'
import { integer, NULL_VALUE, text, type Varbind } from './mib.ts'
import { GET, GET_BULK, GET_NEXT, INFORM, RESPONSE, SET, TRAP } from './pdu.ts'
import { createTestMib, SECURE, TEST_ROOT, TestEngine, type Manager } from './testing.ts'

const ROUNDS = 20_000
const seed = Number(process.env['SEED'] ?? 1)

const cell = (row: number): Varbind => ({ name: [...TEST_ROOT, 1, 1, row], value: NULL_VALUE })
/** SETs of it are refused whatever they hold: they name a row that is not there. A mutation must not make one that is carried out. */
const absent: Varbind = { name: [...TEST_ROOT, 1, 1, 4_294_967_295], value: integer(5) }

function corpus(manager: Manager, flags: number): Buffer[] {
  const varbinds = [cell(1), { name: [1, 3, 6, 1, 2, 1, 1, 1, 0], value: text('a text') }]
  return [
    ...[GET, GET_NEXT, INFORM, TRAP, RESPONSE].map((type) => manager.seal({ type, varbinds, flags })),
    manager.seal({ type: GET_BULK, first: 1, second: 10, varbinds, flags }), manager.seal({ type: SET, varbinds: [absent], flags }),
  ]
}

function mutated(bytes: Buffer, prng: Prng): Buffer {
  let out = Buffer.from(bytes)
  for (let n = 1 + prng.below(4); n > 0; n--) {
    const at = prng.below(out.length)
    switch (prng.below(5)) {
      case 0: out[at] = prng.below(256); break
      case 1: out[at]! ^= 1 << prng.below(8); break
      case 2: out[at] = [0, 0x7f, 0x80, 0x82, 0x84, 0xff][prng.below(6)]!; break
      case 3: out = out.subarray(0, Math.max(1, at)); break
      default: out = Buffer.concat([out.subarray(0, at), out.subarray(prng.below(out.length)), out.subarray(at)]).subarray(0, 2000)
    }
  }
  return out
}

/** Puts the right MAC on a message that still has a place for it: it comes from somebody who has the keys. */
function resigned(bytes: Buffer, manager: Manager): boolean {
  const message = readMessage(bytes)
  if (typeof message === 'string' || message.mac.length !== manager.keys.auth.macBytes) return false
  bytes.fill(0, message.macAt, message.macAt + message.mac.length)
  bytes.set(messageMac(manager.keys, bytes), message.macAt)
  return true
}

function heapBytes(): number {
  globalThis.gc!()
  globalThis.gc!()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

for (const signed of [false, true]) {
  test(`fuzz: ${ROUNDS} mutated datagrams${signed ? ' with good MACs' : ''}: none is carried out, and nothing is kept (seed ${seed})`, () => {
    const mib = createTestMib(), box = new TestEngine({ modules: [mib], limits: { rememberedSets: 256 } }), manager = box.manager()
    const prng = createPrng(seed + (signed ? 1000 : 0))
    const good = [...corpus(manager, SECURE), ...corpus(manager, 5), ...corpus(manager, 4)]
    let genuine = 0, answers = 0
    const round = () => {
      const bytes = mutated(good[prng.below(good.length)]!, prng)
      if (signed && resigned(bytes, manager)) genuine++
      box.sent.length = 0
      box.receive(bytes)
      answers += box.sent.length
      assert.ok(box.sent.length <= 1, 'one answer at most')
      for (const sent of box.sent) {
        // Whatever was asked, what answers is a message.
        assert.ok(typeof readMessage(sent) !== 'string')
        assert.ok(sent.length <= 65_507)
      }
      box.log.length = 0
    }
    for (let i = 0; i < ROUNDS / 4; i++) round()
    const before = heapBytes()
    for (let i = ROUNDS / 4; i < ROUNDS; i++) round()
    const grown = heapBytes() - before
    assert.equal(mib.commits, 0)
    assert.deepEqual(box.counters['in-messages'], ROUNDS)
    assert.ok(answers > ROUNDS / 20, `${answers} answers`)
    if (signed) assert.ok(genuine > ROUNDS / 10, `${genuine} genuine ones`)
    assert.ok(grown < 1_000_000, `${grown} bytes more`)
    // It still works.
    assert.equal(box.request(manager, { type: GET, varbinds: [cell(1)] }).varbinds[0]!.value.value, 0)
  })
}
