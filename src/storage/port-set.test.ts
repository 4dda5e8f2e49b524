import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPortSetModel } from './port-set.model.ts'
import { createPortSets } from './port-set.ts'

const SETS = 3
const set = fc.integer({ min: 0, max: SETS - 1 })
/** Often at the edges of words (32 ports) and of summary words (1,024 ports). */
const port = fc.oneof(
  fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 96 }), fc.integer({ min: 0xffc0, max: 0xffff }),
  fc.tuple(fc.integer({ min: 0, max: 64 }), fc.integer({ min: -2, max: 2 }))
    .map(([word, by]) => Math.min(Math.max(word * 1024 + by, 0), 0xffff)),
)
const parity = fc.integer({ min: 0, max: 1 })
type Command = { do: 'take' | 'release'; set: number; from: number; to: number; step: number }
  | { do: 'find'; set: number; lo: number; hi: number; parity: number }
const commands = fc.array(fc.oneof(
  // Stretches fill words and summaries; a step of 2 fills one parity only.
  fc.record({ do: fc.constantFrom('take', 'take', 'release'), set, from: port, to: port, step: fc.constantFrom(1, 1, 2, 37) }),
  fc.record({ do: fc.constantFrom('take', 'release'), set, from: port, to: port, step: fc.constant(0x10000) }),
  fc.record({ do: fc.constant('find'), set, lo: port, hi: port, parity }),
) as fc.Arbitrary<Command>, { maxLength: 24 })

test('port-set: takes, releases and finds what a plain set does, by parity, in any range, in each set apart', () => {
  fc.assert(fc.property(commands, (list) => {
    const ports = createPortSets(SETS), model = createPortSetModel(SETS)
    for (const command of list) {
      if (command.do === 'find') {
        const { set, lo, hi, parity } = command
        assert.equal(ports.firstFree(set, lo, hi, parity), model.firstFree(set, lo, hi, parity), `${lo}-${hi}`)
        continue
      }
      for (let p = command.from; p <= command.to; p += command.step) {
        ports[command.do](command.set, p)
        model[command.do](command.set, p)
      }
    }
    for (let s = 0; s < SETS; s++) {
      for (let p = 0; p <= 0xffff; p += 1) {
        if (ports.isFree(s, p) !== model.isFree(s, p)) assert.fail(`set ${s}, port ${p}`)
      }
      for (const even of [0, 1]) assert.equal(ports.firstFree(s, 0, 0xffff, even), model.firstFree(s, 0, 0xffff, even))
    }
  }), { numRuns: 150 })
})

test('port-set: in a full set the one port that is given back is found, wherever it is', () => {
  const ports = createPortSets(1)
  for (let port = 0; port <= 0xffff; port++) ports.take(0, port)
  assert.equal(ports.firstFree(0, 0, 0xffff, 0), -1)
  assert.equal(ports.firstFree(0, 0, 0xffff, 1), -1)
  for (let port = 0; port <= 0xffff; port++) {
    ports.release(0, port)
    const parity = port & 1
    assert.equal(ports.firstFree(0, 0, 0xffff, parity), port)
    assert.equal(ports.firstFree(0, port, port, parity), port)
    assert.equal(ports.firstFree(0, 0, 0xffff, 1 - parity), -1)
    assert.equal(ports.firstFree(0, port + 1, 0xffff, parity), -1)
    assert.equal(ports.firstFree(0, 0, port - 1, parity), -1)
    ports.take(0, port)
  }
})

test('port-set: every port is handed out once, then there is none', () => {
  const ports = createPortSets(1)
  for (const parity of [0, 1]) {
    for (let expected = 1024 + parity; expected <= 0xffff; expected += 2) {
      const port = ports.firstFree(0, 1024, 0xffff, parity)
      if (port !== expected) assert.fail(`${port} instead of ${expected}`)
      ports.take(0, port)
    }
    assert.equal(ports.firstFree(0, 1024, 0xffff, parity), -1)
  }
  assert.equal(ports.firstFree(0, 0, 0xffff, 0), 0)
})
