/** Ways to find the first rule: the classifier of the packet path, with either kernel, and looking at every rule in order. */
import {
  createClassifier, KEY_LOCAL, KEY_LOCAL_BITS, KEY_LOCAL_PORTS, KEY_PEER, KEY_PEER_BITS, KEY_PEER_PORTS, KEY_PROTOCOL,
  RULE_KEY_WORDS, type Kernel,
} from '../../storage/classifier.ts'
import type { Filters } from './filters.ts'
import type { Headers } from './headers.ts'

export const ENGINES = ['wasm', 'typescript', 'linear'] as const
export type EngineName = (typeof ENGINES)[number]

/** Headers that are looked up in one call. */
export interface Batch {
  count: number
  sources: Int32Array
  destinations: Int32Array
  ports: Int32Array
  protocols: Uint8Array
  zones: Uint8Array
}

export interface Matcher {
  /** TypeScript where there is no WebAssembly. */
  engine: EngineName
  /** answers[i]: one more than the place of the first rule that matches header i of the batch, or 0. */
  find(batch: Batch, answers: Int32Array): void
  /** The rules that `replace` will name by their places here: they lie one behind the other, as messages that come in do. */
  expect(rules: Int32Array): void
  /** Deletes the n-th of them, from 0, and inserts it again. */
  replace(n: number): void
  bytes(): number
}

/** Views of the headers. */
export function batchesOf({ count, sources, destinations, ports, protocols }: Headers, size: number): Batch[] {
  const zones = new Uint8Array(Math.min(size, count))
  return Array.from({ length: Math.ceil(count / size) }, (_, n) => {
    const from = n * size, to = Math.min(count, from + size)
    return {
      count: to - from, zones, sources: sources.subarray(from, to), destinations: destinations.subarray(from, to),
      ports: ports.subarray(from, to), protocols: protocols.subarray(from, to),
    }
  })
}

/** Steps of re-indexing after an update. */
const MAINTENANCE = 2

function classifierMatcher({ count, keys }: Filters, seed: number, kernel: Kernel): Matcher {
  const classifier = createClassifier({ capacity: count, seed, kernel }), handles = new Int32Array(count)
  const priorities = new Int32Array(count), values = new Int32Array(count)
  for (let n = 0; n < count; n++) priorities[n] = values[n] = n + 1
  classifier.build(count, keys, priorities, values, handles)
  const key = new Int32Array(RULE_KEY_WORDS)
  let order: Int32Array = new Int32Array(0), messages = new Int32Array(0)
  return {
    engine: classifier.kernel,
    find({ count, zones, protocols, sources, destinations, ports }, answers) {
      if (count === 1) answers[0] = classifier.lookup4(0, protocols[0], sources[0], destinations[0], ports[0])
      else classifier.lookupBatch4(count, zones, protocols, sources, destinations, ports, answers)
    },
    expect(rules) {
      order = rules
      messages = new Int32Array(rules.length * RULE_KEY_WORDS)
      rules.forEach((rule, n) => {
        const from = rule * RULE_KEY_WORDS
        messages.set(keys.subarray(from, from + RULE_KEY_WORDS), n * RULE_KEY_WORDS)
      })
    },
    replace(n) {
      const at = n * RULE_KEY_WORDS, rule = order[n]
      for (let word = 0; word < RULE_KEY_WORDS; word++) key[word] = messages[at + word]
      classifier.remove(handles[rule])
      handles[rule] = classifier.insert(key, rule + 1, rule + 1)
      classifier.maintain(MAINTENANCE)
    },
    bytes: () => classifier.bytes(),
  }
}

/** A rule: source, its mask, destination, its mask, source ports, destination ports (low << 16 | high), protocol or -1. */
const WORDS = 8, SOURCE_MASK = 1, DESTINATION = 2, DESTINATION_MASK = 3, SOURCE_PORTS = 4, DESTINATION_PORTS = 5, PROTOCOL = 6
/** A protocol that no packet has. */
const DELETED = -2

function linearMatcher({ count, keys }: Filters): Matcher {
  const rules = new Int32Array(count * WORDS)
  let order: Int32Array = new Int32Array(0)
  for (let n = 0; n < count; n++) enter(n)

  function enter(n: number): void {
    const at = n * WORDS, key = n * RULE_KEY_WORDS
    rules[at + SOURCE_MASK] = maskOf(keys[key + KEY_LOCAL_BITS])
    rules[at] = keys[key + KEY_LOCAL] & rules[at + SOURCE_MASK]
    rules[at + DESTINATION_MASK] = maskOf(keys[key + KEY_PEER_BITS])
    rules[at + DESTINATION] = keys[key + KEY_PEER] & rules[at + DESTINATION_MASK]
    rules[at + SOURCE_PORTS] = keys[key + KEY_LOCAL_PORTS]
    rules[at + DESTINATION_PORTS] = keys[key + KEY_PEER_PORTS]
    rules[at + PROTOCOL] = keys[key + KEY_PROTOCOL]
  }

  function first(protocol: number, source: number, destination: number, ports: number): number {
    const sourcePort = ports >>> 16, destinationPort = ports & 0xffff
    for (let n = 0, at = 0; n < count; n++, at += WORDS) {
      if ((source & rules[at + SOURCE_MASK]) !== rules[at]) continue
      if ((destination & rules[at + DESTINATION_MASK]) !== rules[at + DESTINATION]) continue
      if (rules[at + PROTOCOL] !== -1 && rules[at + PROTOCOL] !== protocol) continue
      if (isInside(sourcePort, rules[at + SOURCE_PORTS]) && isInside(destinationPort, rules[at + DESTINATION_PORTS])) return n + 1
    }
    return 0
  }

  return {
    engine: 'linear',
    find({ count, protocols, sources, destinations, ports }, answers) {
      for (let i = 0; i < count; i++) answers[i] = first(protocols[i], sources[i], destinations[i], ports[i])
    },
    expect(rules) { order = rules },
    replace(n) {
      const rule = order[n]
      rules[rule * WORDS + PROTOCOL] = DELETED
      enter(rule)
    },
    bytes: () => rules.byteLength,
  }
}

function maskOf(bits: number): number {
  return bits === 0 ? 0 : -1 << 32 - bits
}

function isInside(port: number, range: number): boolean {
  return port >= range >>> 16 && port <= (range & 0xffff)
}

export function createMatcher(engine: EngineName, filters: Filters, seed: number): Matcher {
  return engine === 'linear' ? linearMatcher(filters) : classifierMatcher(filters, seed, engine)
}
