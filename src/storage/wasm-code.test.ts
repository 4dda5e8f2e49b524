/** Code that is made is run: what leaves WebAssembly is what the same would be in TypeScript. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { createClassifier, KEY_PEER_PORTS, KEY_LOCAL_PORTS, KEY_PROTOCOL, KEY_VERSION, KEY_ZONES, RULE_KEY_WORDS } from './classifier.ts'
import * as code from './wasm-code.ts'
import { get, leave, load, loadVector, storeVector, type Code, type FunctionCode, type Value } from './wasm-code.ts'

type Run = (...values: number[]) => number

function functionOf(body: Code, parameters: number): FunctionCode {
  return { parameters, locals: 1, vectors: 1, returns: true, body }
}

/** A memory with other bytes everywhere, and functions of two parameters by name. */
function run(bodies: Record<string, Code>, memoryBytes = 1, imports: Record<string, Run> = {}) {
  const memory = code.createMemory(memoryBytes)!, bytes = new Uint8Array(memory.buffer), { next } = createPrng(1)
  for (let n = 0; n < bytes.length; n++) bytes[n] = next()
  const made = code.moduleOf(Object.fromEntries(Object.entries(imports).map(([name, { length }]) => [name, length])),
    Object.fromEntries(Object.entries(bodies).map(([name, body]) => [name, functionOf(body, 2)])))
  const functions = code.instantiate(made, { memory, ...imports }) as Record<string, Run> | null
  assert.ok(functions !== null, 'it does not validate')
  return { functions, bytes, view: new DataView(memory.buffer) }
}

const flat = (one: Code): number[] => one.flatMap((part) => typeof part === 'number' ? [part] : flat(part))

/** Around the last number of each length. */
const EDGES = [0, 6, 7, 13, 14, 20, 21, 27, 28, 31].flatMap((bits) => [-1, 0, 1].flatMap((by) => [2 ** bits + by, by - 2 ** bits]))

test('constants arrive as they are, at the edges of each length of LEB128', () => {
  const values = [...new Set([...EDGES, 0xffffffff, 0x80000000, -0x80000000])]
  assert.ok(values.length > 50)
  // Above 127 functions, their number and names take more than a byte too.
  const named = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [String(n), leave(values[n % values.length]!)]))
  const { functions } = run(named)
  for (const [name, body] of Object.entries(functions)) assert.equal(body(0, 0), values[Number(name) % values.length]! | 0)
})

test('LEB128 takes the fewest bytes', () => {
  const signed = (value: number) => flat(leave(value)).slice(1, -1), unsigned = (value: number) => flat(load([], value)).slice(2)
  // The examples of DWARF 5, 7.6, and the largest offsets.
  assert.deepEqual([2, -2, 127, -127, 128, -128, 129, -129].map(signed),
    [[2], [0x7e], [0xff, 0], [0x81, 0x7f], [0x80, 1], [0x80, 0x7f], [0x81, 1], [0xff, 0x7e]])
  assert.deepEqual([63, -64, 64, -65].map(signed), [[0x3f], [0x40], [0xc0, 0], [0xbf, 0x7f]])
  assert.deepEqual(signed(0xffffffff), [0x7f])
  assert.deepEqual([2, 127, 128, 129, 12_857].map(unsigned), [[2], [0x7f], [0x80, 1], [0x81, 1], [0xb9, 0x64]])
  assert.deepEqual([2 ** 31, 2 ** 32 - 1].map(unsigned), [[0x80, 0x80, 0x80, 0x80, 8], [0xff, 0xff, 0xff, 0xff, 15]])
})

test('loads and stores meet their bytes alone, at the edges of each length of an offset', () => {
  for (const offset of [0, 1, 127, 128, 129, 255, 256, 16_383, 16_384, 16_385, 2_097_151, 2_097_152]) {
    const vector = loadVector(get(0), 64)
    const { functions: f, bytes, view } = run({
      word: load(get(0), offset), half: code.load16(get(0), offset), byte: code.loadByte(get(0), offset),
      setWord: [code.store(get(0), offset, get(1)), leave(0)], setHalf: [code.store16(get(0), offset, get(1)), leave(0)],
      setByte: [code.storeByte(get(0), offset, get(1)), leave(0)],
      vector: [storeVector(get(1), 0, loadVector(get(0), offset)), leave(0)],
      setVector: [storeVector(get(0), offset, vector), leave(0)],
      four: [storeVector(get(1), 0, code.loadFourBytes(get(0), offset)), leave(0)],
      lane: [storeVector(get(1), 0, code.loadLane(get(0), offset, vector, 2)), leave(0)],
      setLane: [code.storeLane(get(0), offset, vector, 3), leave(0)],
    }, offset + 400)
    const at = 16 + offset, to = offset > 300 ? 128 : offset + 300
    const words = (from: number) => [0, 4, 8, 12].map((by) => view.getInt32(from + by, true))
    bytes.fill(0xf1, at, at + 4)
    assert.deepEqual([f['word']!(16, 0), f['half']!(16, 0), f['byte']!(16, 0)], [0xf1f1f1f1 | 0, 0xf1f1, 0xf1])
    const before = bytes.slice(), expected = new DataView(before.buffer)
    const same = (what: string) => { assert.ok(Buffer.compare(bytes, before) === 0, `${what}, offset ${offset}`) }
    f['setWord']!(16, 0x12345678)
    expected.setInt32(at, 0x12345678, true)
    same('word')
    f['setHalf']!(18, -2)
    expected.setInt16(at + 2, -2, true)
    same('half')
    f['setByte']!(17, 0x1ab)
    expected.setInt8(at + 1, 0xab)
    same('byte')
    f['vector']!(20, to)
    assert.deepEqual(words(to), words(at + 4))
    f['four']!(20, to)
    assert.deepEqual(words(to), [view.getInt32(at + 4, true), 0, 0, 0])
    const [first, second, , last] = words(16 + 64), word = view.getInt32(at, true)
    f['lane']!(16, to)
    assert.deepEqual(words(to), [first, second, word, last])
    before.set(bytes)
    const wanted = words(16 + 64)
    f['setVector']!(16, 0)
    wanted.forEach((one, n) => { expected.setInt32(at + 4 * n, one, true) })
    same('vector')
    const lane = view.getInt32(16 + 64 + 12, true)
    f['setLane']!(16, 0)
    expected.setInt32(at, lane, true)
    same('lane')
  }
})

test('operations on words are those of TypeScript', () => {
  const ours: Record<string, [Code, (a: number, b: number) => number]> = {}
  const of = (name: string, make: (a: Value, b: Value) => Code, wanted: (a: number, b: number) => number) => { ours[name] = [make(get(0), get(1)), wanted] }
  of('isZero', (a) => code.isZero(a), (a) => Number(a === 0))
  of('leadingZeros', (a) => code.leadingZeros(a), (a) => Math.clz32(a))
  of('trailingZeros', (a) => code.trailingZeros(a), (a) => a === 0 ? 32 : 31 - Math.clz32(a & -a))
  of('equal', code.equal, (a, b) => Number(a === b))
  of('notEqual', code.notEqual, (a, b) => Number(a !== b))
  of('less', code.less, (a, b) => Number(a < b))
  of('lessUnsigned', code.lessUnsigned, (a, b) => Number(a >>> 0 < b >>> 0))
  of('greater', code.greater, (a, b) => Number(a > b))
  of('atMost', code.atMost, (a, b) => Number(a <= b))
  of('atLeast', code.atLeast, (a, b) => Number(a >= b))
  of('plus', code.plus, (a, b) => a + b)
  of('minus', code.minus, (a, b) => a - b)
  of('times', code.times, Math.imul)
  of('xor', code.xor, (a, b) => a ^ b)
  of('shiftLeft', code.shiftLeft, (a, b) => a << b)
  of('shiftRight', code.shiftRight, (a, b) => a >> b)
  of('shiftRightUnsigned', code.shiftRightUnsigned, (a, b) => a >>> b)
  of('and', (a, b) => code.and(a, b, 0xffff), (a, b) => a & b & 0xffff)
  of('or', (a, b) => code.or(a, b, 1), (a, b) => a | b | 1)
  of('one', (a) => code.or(a), (a) => a)
  of('select', (a, b) => code.select(a, b, 7), (a, b) => a !== 0 ? b : 7)
  of('when', (a, b) => [code.when(a, leave(b)), get(0)], (a, b) => a !== 0 ? b : a)
  of('drop', (a, b) => [code.drop(push(b)), push(a)], (a) => a)
  // Adds up 1 … 5: the body runs before the condition is asked.
  of('repeatWhile', () => [code.set(0, 0), code.set(1, 0), code.repeatWhile(code.less(get(0), 5),
    code.set(0, code.plus(get(0), 1)), code.set(1, code.plus(get(1), get(0)))), get(1)], () => 15)
  const { functions } = run(Object.fromEntries(Object.entries(ours).map(([name, [body]]) => [name, body])))
  for (const [name, [, wanted]] of Object.entries(ours)) for (const a of EDGES) for (const b of [...EDGES.slice(0, 30), a]) {
    assert.equal(functions[name]!(a, b), wanted(a | 0, b | 0) | 0, `${name} ${a} ${b}`)
  }
})

function push(value: Value): Code {
  return code.or(value, 0)
}

test('operations on vectors are those on their lanes', () => {
  const lanes = (make: (a: number, b: number) => number) => (a: Uint8Array, b: Uint8Array) => {
    const [wa, wb] = [a, b].map((one) => new Int32Array(one.slice().buffer)) as [Int32Array, Int32Array]
    return new Uint8Array(wa.map((word, n) => make(word, wb[n]!)).buffer)
  }
  const words = (...from: number[]) => (a: Uint8Array, b: Uint8Array) =>
    Uint8Array.from(from.flatMap((word) => [0, 1, 2, 3].map((byte) => word < 4 ? a[4 * word + byte]! : b[4 * word - 16 + byte]!)))
  const cases: Record<string, [(a: Code, b: Code) => Code, (a: Uint8Array, b: Uint8Array) => Uint8Array]> = {
    and: [code.andVectors, lanes((a, b) => a & b)], or: [code.orVectors, lanes((a, b) => a | b)], xor: [code.xorVectors, lanes((a, b) => a ^ b)],
    plus: [code.plusLanes, lanes((a, b) => a + b)], times: [code.timesLanes, lanes(Math.imul)], least: [code.leastLanes, lanes((a, b) => Math.min(a, b))],
    less: [code.lessLanes, lanes((a, b) => a < b ? -1 : 0)],
    left: [(a) => code.shiftLeftLanes(a, 3), lanes((a) => a << 3)],
    right: [(a) => code.shiftRightUnsignedLanes(a, 3), lanes((a) => a >>> 3)],
    halves: [code.atLeastHalves, lanes((a, b) => (a >>> 16 >= b >>> 16 ? 0xffff << 16 : 0) | ((a & 0xffff) >= (b & 0xffff) ? 0xffff : 0))],
    interleaveLow: [code.interleaveLow, words(0, 4, 1, 5)], interleaveHigh: [code.interleaveHigh, words(2, 6, 3, 7)],
    pairLow: [code.pairLow, words(0, 1, 4, 5)], pairHigh: [code.pairHigh, words(2, 3, 6, 7)],
    byNumber: [code.bytesByNumber, (a, b) => b.map((number) => number < 16 ? a[number]! : 0)],
    bytesAsWords: [(a) => code.bytesAsWords(a), (a) => new Uint8Array(Int32Array.from(a.slice(0, 4)).buffer)],
    constant: [() => code.vectorOf(1, -2, 3, -0x80000000), () => new Uint8Array(Int32Array.of(1, -2, 3, -0x80000000).buffer)],
    allConstant: [() => code.allLanes(-5), lanes(() => -5)],
    all: [() => code.allLanes(load(16)), lanes((a) => a)],
  }
  const bodies: Record<string, Code> = { signs: code.signsOfBytes(loadVector(16)), word2: code.wordOf(loadVector(16), 2) }
  for (const [name, [make]] of Object.entries(cases)) bodies[name] = [storeVector(48, 0, make(loadVector(16), loadVector(32))), leave(0)]
  const { functions, bytes, view } = run(bodies), { next, below } = createPrng(2)
  for (let n = 0; n < 50; n++) {
    for (let at = 16; at < 48; at++) bytes[at] = below(3) === 0 ? below(20) : next()
    if (n % 3 === 0) bytes.copyWithin(32, 16, 24)
    if (n % 5 === 0) for (let word = 20; word < 32; word += 4) bytes.copyWithin(word, 16, 20)
    const a = bytes.slice(16, 32), b = bytes.slice(32, 48)
    for (const [name, [, wanted]] of Object.entries(cases)) {
      if (name === 'all' && n % 5 !== 0) continue
      functions[name]!(0, 0)
      assert.deepEqual(bytes.slice(48, 64), wanted(a, b), name)
    }
    assert.equal(functions['signs']!(0, 0), a.reduce((signs, byte, at) => signs | byte >>> 7 << at, 0))
    assert.equal(functions['word2']!(0, 0), view.getInt32(24, true))
  }
})

test('functions call what is imported and one another, by number', () => {
  const { functions } = run({
    mixed: code.call(1, get(0), get(1), 3), again: code.plus(code.call(2, get(0), get(1)), code.call(0, get(0))),
  }, 1, { double: (a) => 2 * a, mix: (a, b, c) => 100 * a + 10 * b + c })
  assert.deepEqual([functions['mixed']!(1, 2), functions['again']!(1, 2)], [123, 125])
  const chain = run(Object.fromEntries(Array.from({ length: 200 }, (_, n) =>
    [String(n), n === 0 ? get(0) : code.plus(code.call(n - 1, get(0), get(1)), 1)])))
  assert.equal(chain.functions['199']!(5, 0), 5 + 199)
})

test('a function may have more locals, and more code, than a byte counts', () => {
  const parameters = 2, locals = 20_000, first = parameters, vector = parameters + locals
  const sums = Array.from({ length: locals }, (_, n) => code.set(first + n, code.plus(get(Math.max(0, first + n - 1)), 1)))
  const body = [sums, code.set(vector, code.allLanes(get(vector - 1))), code.wordOf(get(vector), 3)]
  const name = 'n'.repeat(300)
  const bytes = code.moduleOf({}, { [name]: { parameters, locals, vectors: 1, returns: true, body }, nothing: { parameters: 0, locals: 0, vectors: 0, returns: false, body: [] } })
  const made = code.instantiate(bytes, { memory: code.createMemory(1) }) as Record<string, Run>
  assert.equal(made[name]!(5, 7), 7 + locals)
  assert.equal(made['nothing']!(), undefined)
})

test('a memory has whole pages, no fewer bytes than were asked for, and is not to be had beyond 4 GiB', () => {
  assert.deepEqual([1, 65_535, 65_536, 65_537].map((bytes) => code.createMemory(bytes)!.buffer.byteLength), [65_536, 65_536, 65_536, 131_072])
  assert.equal(code.createMemory(2 ** 32 + 1), null)
})

/** Does something where the global has another value. */
function where(webAssembly: unknown, work: () => void): void {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly')!
  Object.defineProperty(globalThis, 'WebAssembly', { ...own, value: webAssembly })
  try {
    work()
  } finally {
    Object.defineProperty(globalThis, 'WebAssembly', own)
  }
}

test('a module for whose code there is no room is none; one that is not as it should be is told', () => {
  const bytes = code.moduleOf({ given: 1 }, { nothing: { parameters: 0, locals: 0, vectors: 0, returns: false, body: [] } })
  const memory = code.createMemory(1), env = { memory, given: (a: number) => a }
  assert.notEqual(code.instantiate(bytes, env), null)
  assert.throws(() => code.instantiate(bytes, { memory }), /LinkError|import/i)
  const own = globalThis as unknown as { WebAssembly: { validate: object; Instance: object; Memory: object } }
  const { validate, Instance, Memory } = own.WebAssembly
  class Module { constructor() { throw new RangeError('WebAssembly.Module(): out of memory: allocate executable memory') } }
  where({ validate, Instance, Memory, Module }, () => { assert.equal(code.instantiate(bytes, env), null) })
})

/** The kernel that a classifier has got, whose answers have to be right whatever it is. */
function kernelHere(): string {
  const many = 5000, key = new Int32Array(many * RULE_KEY_WORDS), numbers = Int32Array.from({ length: many }, (_, n) => n + 1)
  for (let n = 0; n < many; n++) {
    key.set([4, 1], n * RULE_KEY_WORDS + KEY_VERSION)
    key[n * RULE_KEY_WORDS + KEY_ZONES] = 1
    key[n * RULE_KEY_WORDS + KEY_PROTOCOL] = 17
    key[n * RULE_KEY_WORDS + KEY_LOCAL_PORTS] = n << 16 | n
    key[n * RULE_KEY_WORDS + KEY_PEER_PORTS] = 0xffff
  }
  const classifier = createClassifier({ capacity: many, seed: 1, kernel: 'wasm' }), answers = new Int32Array(3)
  assert.equal(classifier.build(many, key, numbers, numbers, new Int32Array(many)), many)
  classifier.lookupBatch4(3, new Uint8Array(3), Uint8Array.of(17, 17, 6), new Int32Array(3), new Int32Array(3), Int32Array.of(7 << 16, 4999 << 16 | 9, 7 << 16), answers)
  assert.deepEqual([...answers], [8, 5000, 0])
  return classifier.kernel
}

test('where there is no WebAssembly, no memory for it, or no vectors, TypeScript does the work', () => {
  const all = globalThis as unknown as { WebAssembly: object }
  const but = (changes: object) => ({ ...Object.fromEntries(Object.getOwnPropertyNames(all.WebAssembly).map((name) => [name, Reflect.get(all.WebAssembly, name) as unknown])), ...changes })
  const Memory = function () { throw new RangeError('could not allocate memory') }
  const Module = function () { throw new TypeError('it does not validate') }
  assert.equal(kernelHere(), 'wasm')
  where(undefined, () => { assert.equal(kernelHere(), 'typescript') })
  where(but({ Memory }), () => { assert.equal(kernelHere(), 'typescript') })
  where(but({ validate: () => false, Module }), () => { assert.equal(kernelHere(), 'typescript') })
  assert.equal(kernelHere(), 'wasm')
})
