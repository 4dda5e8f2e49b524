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
) as fc.Arbitrary<Command>, { maxLength: 24, size: 'max' })

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

const run = fc.record({
  set, lo: port, hi: port, parity: fc.integer({ min: -1, max: 1 }),
  count: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 28, max: 36 }), fc.integer({ min: 60, max: 70 }),
    fc.constantFrom(1024, 2049, 65535)),
})
const block = fc.record({ set, from: port, length: fc.integer({ min: 1, max: 80 }), step: fc.constantFrom(1, 1, 2, 3, 33) })

test('port-set: finds the first run of free ports, of any length and parity, beginning in any range', () => {
  fc.assert(fc.property(fc.array(block, { maxLength: 12, size: 'max' }), fc.array(run, { minLength: 1, maxLength: 12, size: 'max' }), (blocks, runs) => {
    const ports = createPortSets(SETS), model = createPortSetModel(SETS)
    for (const { set, from, length, step } of blocks) {
      for (let p = from; p <= Math.min(from + length * step, 0xffff); p += step) {
        ports.take(set, p)
        model.take(set, p)
      }
    }
    for (const { set, lo, hi, count, parity } of runs) {
      const last = Math.min(hi, 0x10000 - count)
      const expected = model.firstFreeRun(set, lo, last, count, parity)
      assert.equal(ports.firstFreeRun(set, lo, last, count, parity), expected, `${count} from ${lo} to ${last}, parity ${parity}`)
    }
  }), { numRuns: 300 })
})

test('port-set: a run is found in the one gap that is long enough, at every place in its words', () => {
  for (const length of [1, 2, 3, 31, 32, 33, 63, 64, 65, 96, 97]) {
    const ports = createPortSets(1)
    for (let port = 0; port < 0x800; port++) ports.take(0, port)
    for (let start = 1000; start < 1070; start++) {
      for (let i = 0; i < length; i++) ports.release(0, start + i)
      // Gaps that are one port too short, on both sides.
      for (let i = 0; i < length - 1; i++) {
        ports.release(0, 300 + i)
        ports.release(0, 1500 + i)
      }
      assert.equal(ports.firstFreeRun(0, 0, 0x7ff - length + 1, length, -1), start, `${length} at ${start}`)
      assert.equal(ports.firstFreeRun(0, 0, 0x7ff - length + 1, length, start & 1), start)
      assert.equal(ports.firstFreeRun(0, 0, 0x7ff - length + 1, length, 1 - (start & 1)), -1)
      assert.equal(ports.firstFreeRun(0, start, start, length, -1), start)
      assert.equal(ports.firstFreeRun(0, 0, start - 1, length, -1), -1)
      assert.equal(ports.firstFreeRun(0, start + 1, 0x7ff - length + 1, length, -1), -1)
      for (let i = 0; i < length; i++) ports.take(0, start + i)
    }
  }
})

test('port-set: the last ports of a set make a run', () => {
  const ports = createPortSets(2)
  for (let port = 0; port < 0xfff0; port++) ports.take(0, port)
  ports.take(1, 0)
  assert.equal(ports.firstFreeRun(0, 0, 0xfff0, 16, -1), 0xfff0)
  assert.equal(ports.firstFreeRun(0, 0, 0xffef, 17, -1), -1)
  assert.equal(ports.firstFreeRun(0, 0, 0xffff, 1, 1), 0xfff1)
})
