/**
 * WebAssembly as bytes, from expressions: as much of the binary format (WebAssembly Core Specification 2.0, chapter 5) as a kernel
 * over one memory needs. Values are i32, but for some vectors (v128). Types are not checked here: what is wrong does not validate.
 */

/** Instructions that leave a value, or none, as bytes in lists of lists: each byte is copied once, when the module is made. A
 * number stands for a constant where a value is wanted. */
export type Code = readonly (number | Code)[]
export type Value = Code | number

/** Instructions of vectors begin with this. */
const VECTOR = 0xfd

/** LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = []
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 | 128)
  return [...bytes, value]
}

function signed(value: number): number[] {
  const bytes: number[] = []
  for (; value < -64 || value > 63; value >>= 7) bytes.push(value & 127 | 128)
  return [...bytes, value & 127]
}

function push(value: Value): Code {
  return typeof value === 'number' ? [0x41, ...signed(value | 0)] : value
}

const unary = (opcode: number) => (a: Value): Code => [push(a), opcode]
const binary = (opcode: number) => (a: Value, b: Value): Code => [push(a), push(b), opcode]

export const isZero = unary(0x45), leadingZeros = unary(0x67), trailingZeros = unary(0x68)
export const equal = binary(0x46), notEqual = binary(0x47), less = binary(0x48), lessUnsigned = binary(0x49)
export const greater = binary(0x4a), atMost = binary(0x4c), atLeast = binary(0x4e)
export const plus = binary(0x6a), minus = binary(0x6b), times = binary(0x6c)
export const xor = binary(0x73), shiftLeft = binary(0x74), shiftRight = binary(0x75), shiftRightUnsigned = binary(0x76)
const and2 = binary(0x71), or2 = binary(0x72)

export function and(...values: [Value, ...Value[]]): Code {
  return push(values.reduce((a, b) => and2(a, b)))
}

export function or(...values: [Value, ...Value[]]): Code {
  return push(values.reduce((a, b) => or2(a, b)))
}

/** `a` if the condition is not 0, else `b`; both are computed. */
export function select(condition: Value, a: Value, b: Value): Code {
  return [push(a), push(b), push(condition), 0x1b]
}

/** Memory at `address` + `offset`, both in bytes. A word is aligned. */
export function load(address: Value, offset = 0): Code {
  return [push(address), 0x28, 2, ...unsigned(offset)]
}

export function loadByte(address: Value, offset = 0): Code {
  return [push(address), 0x2d, 0, ...unsigned(offset)]
}

export function load16(address: Value, offset = 0): Code {
  return [push(address), 0x2f, 1, ...unsigned(offset)]
}

export function store(address: Value, offset: number, value: Value): Code {
  return [push(address), push(value), 0x36, 2, ...unsigned(offset)]
}

export function storeByte(address: Value, offset: number, value: Value): Code {
  return [push(address), push(value), 0x3a, 0, ...unsigned(offset)]
}

export function store16(address: Value, offset: number, value: Value): Code {
  return [push(address), push(value), 0x3b, 1, ...unsigned(offset)]
}

/** Of vectors: the address is a multiple of 4. */
export function loadVector(address: Value, offset = 0): Code {
  return [push(address), VECTOR, 0x00, 2, ...unsigned(offset)]
}

export function storeVector(address: Value, offset: number, vector: Code): Code {
  return [push(address), vector, VECTOR, 0x0b, 2, ...unsigned(offset)]
}

/** Four bytes as the first of a vector, the others are 0. */
export function loadFourBytes(address: Value, offset: number): Code {
  return [push(address), VECTOR, 0x5c, 0, ...unsigned(offset)]
}

/** The vector with a word from memory in place of the one that it has in that lane. */
export function loadLane(address: Value, offset: number, vector: Code, lane: number): Code {
  return [push(address), vector, VECTOR, 0x56, 2, ...unsigned(offset), lane]
}

export function storeLane(address: Value, offset: number, vector: Code, lane: number): Code {
  return [push(address), vector, VECTOR, 0x5a, 2, ...unsigned(offset), lane]
}

/** Four words as a vector. */
export function vectorOf(...words: [number, number, number, number]): Code {
  return [VECTOR, 0x0c, ...new Uint8Array(Int32Array.from(words).buffer)]
}

/** A vector of the same word four times. */
export function allLanes(word: Value): Code {
  return typeof word === 'number' ? vectorOf(word, word, word, word) : [word, VECTOR, 0x11]
}

const ofVectors = (...opcode: number[]) => (a: Code, b: Code): Code => [a, b, VECTOR, ...opcode]
const shuffle = (...words: number[]) => ofVectors(0x0d, ...words.flatMap(word => [0, 1, 2, 3].map(byte => 4 * word + byte)))
const ofLanesAndCount = (...opcode: number[]) => (a: Code, count: Value): Code => [a, push(count), VECTOR, ...opcode]

export const andVectors = ofVectors(0x4e), orVectors = ofVectors(0x50), xorVectors = ofVectors(0x51)
/** Of four words each. */
export const plusLanes = ofVectors(0xae, 1), timesLanes = ofVectors(0xb5, 1), leastLanes = ofVectors(0xb6, 1)
/** All ones where a < b, signed. */
export const lessLanes = ofVectors(0x39)
export const shiftLeftLanes = ofLanesAndCount(0xab, 1), shiftRightUnsignedLanes = ofLanesAndCount(0xad, 1)
/** Of eight halves of words, unsigned: all ones where a ≥ b. */
export const atLeastHalves = ofVectors(0x36)
/** Words of two vectors: a0 b0 a1 b1, a2 b2 a3 b3, a0 a1 b0 b1, a2 a3 b2 b3. */
export const interleaveLow = shuffle(0, 4, 1, 5), interleaveHigh = shuffle(2, 6, 3, 7)
export const pairLow = shuffle(0, 1, 4, 5), pairHigh = shuffle(2, 3, 6, 7)
/** For each byte of b, the one of a of that number, or 0 from 16 on. */
export const bytesByNumber = ofVectors(0x0e)

/** The first four bytes of a vector as words. */
export function bytesAsWords(vector: Code): Code {
  return [vector, VECTOR, 0x89, 1, VECTOR, 0xa9, 1]
}

/** Word `lane` of a vector. */
export function wordOf(vector: Code, lane: number): Code {
  return [vector, VECTOR, 0x1b, lane]
}

/** The signs of the sixteen bytes of a vector. */
export function signsOfBytes(vector: Code): Code {
  return [vector, VECTOR, 0x64]
}

export function get(local: number): Code {
  return [0x20, ...unsigned(local)]
}

export function set(local: number, value: Value): Code {
  return [push(value), 0x21, ...unsigned(local)]
}

export function call(functionIndex: number, ...values: Value[]): Code {
  return [values.map(push), 0x10, ...unsigned(functionIndex)]
}

/** Leaves the function with a value. */
export function leave(value: Value): Code {
  return [push(value), 0x0f]
}

/** What it leaves is not wanted. */
export function drop(value: Code): Code {
  return [value, 0x1a]
}

/** The body runs again while the condition is not 0 at its end. */
export function repeatWhile(condition: Value, ...body: Code[]): Code {
  return [0x03, 0x40, body, push(condition), 0x0d, 0, 0x0b]
}

export function when(condition: Value, ...body: Code[]): Code {
  return [push(condition), 0x04, 0x40, body, 0x0b]
}

export interface FunctionCode {
  /** Locals 0 … parameters - 1 are the arguments. */
  parameters: number
  /** Behind the parameters: words, then vectors. */
  locals: number
  vectors: number
  returns: boolean
  body: Code
}

const I32 = 0x7f, V128 = 0x7b, FUNCTION = 0x60

/** The bytes of some code, behind those that are there. */
function write(code: Code, bytes: number[]): number[] {
  for (const one of code) {
    if (typeof one === 'number') bytes.push(one)
    else write(one, bytes)
  }
  return bytes
}

function vector(items: readonly Code[]): number[] {
  return write(items, unsigned(items.length))
}

function name(text: string): number[] {
  return [...unsigned(text.length), ...Array.from(text, letter => letter.charCodeAt(0))]
}

function section(id: number, bytes: readonly number[]): Code {
  return [id, unsigned(bytes.length), bytes]
}

/**
 * A module that imports `env.memory` and, as function 0, 1, …, `env.` + each name of `imports`, whose numbers are of parameters;
 * those return a value. Functions of the module follow; they are exported.
 */
export function moduleOf(imports: Record<string, number>, named: Record<string, FunctionCode>): Uint8Array<ArrayBuffer> {
  const foreign = Object.entries(imports), functions = Object.values(named)
  const type = (parameters: number, returns: boolean) =>
    [FUNCTION, ...vector(new Array<Code>(parameters).fill([I32])), ...vector(returns ? [[I32]] : [])]
  const types = [
    ...foreign.map(([, parameters]) => type(parameters, true)),
    ...functions.map(({ parameters, returns }) => type(parameters, returns)),
  ]
  const imported = [
    [...name('env'), ...name('memory'), 2, 0, ...unsigned(1)],
    ...foreign.map(([text], n) => [...name('env'), ...name(text), 0, ...unsigned(n)]),
  ]
  const bodies = functions.map(({ locals, vectors, body }) => {
    const code = write([body, 0x0b], vector([[...unsigned(locals), I32], [...unsigned(vectors), V128]]))
    return [unsigned(code.length), code]
  })
  return Uint8Array.from(write([
    section(1, vector(types)), section(2, vector(imported)),
    section(3, vector(functions.map((_, n) => unsigned(foreign.length + n)))),
    section(7, vector(Object.keys(named).map((text, n) => [...name(text), 0, ...unsigned(foreign.length + n)]))),
    section(10, vector(bodies)),
  ], [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))
}

/** Numbers of locals by name; parameters come first. */
export function locals<Name extends string>(...names: Name[]): Record<Name, number> {
  return Object.fromEntries(names.map((one, n) => [one, n])) as Record<Name, number>
}

/** Of the global of that name, what is used here. */
declare const WebAssembly: undefined | {
  Memory: new (options: { initial: number }) => { buffer: ArrayBuffer }
  validate: (bytes: Uint8Array<ArrayBuffer>) => boolean
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object
  Instance: new (module: object, imports: object) => { exports: unknown }
}

/** So many bytes and a few more; null where WebAssembly is not to be had. */
export function createMemory(bytes: number): { buffer: ArrayBuffer } | null {
  if (typeof WebAssembly === 'undefined') return null
  try {
    return new WebAssembly.Memory({ initial: Math.ceil(bytes / 65_536) })
  } catch {
    return null
  }
}

/** What a module exports; null if it uses what is not to be had, or there is no room for its code. */
export function instantiate(bytes: Uint8Array<ArrayBuffer>, env: object): unknown {
  if (!WebAssembly!.validate(bytes)) return null
  try {
    return new WebAssembly!.Instance(new WebAssembly!.Module(bytes), { env }).exports
  } catch (error) {
    // What is not as it should be throws others: a CompileError, a LinkError.
    if (error instanceof RangeError) return null
    throw error
  }
}
