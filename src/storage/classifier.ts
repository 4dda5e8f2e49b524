/**
 * First match among rules with a priority, over zones, protocol, two address prefixes and two port ranges, while rules come
 * and go.
 *
 * Rules lie in hash tables by prefix lengths, merged into few tables (tuple merge: Daly and others, INFOCOM 2019). Which of them
 * are worth a look for a packet is read from an index that has a bit for each table, and the tables are visited in order of
 * their best priority. `classifier-layout` tells where things lie, `classifier-rules` how rules choose tables, `classifier-index`
 * how the index stays right at every moment and becomes exact again in small steps.
 */
import { createPrng } from '../base/prng.ts'
import { createFinder4 } from './classifier-find4.ts'
import { createFinder6, type Finder6 } from './classifier-find6.ts'
import { builderRoom, createWasmBuilder4 } from './classifier-build4.ts'
import { createBatch4, kernelRoom } from './classifier-kernel4.ts'
import { createLayout } from './classifier-layout.ts'
import { createRules, type Condition, type Rules } from './classifier-rules.ts'
import { createMemory } from './wasm-code.ts'

/** Words of a rule's condition, in an Int32Array of RULE_KEY_WORDS. */
export const KEY_VERSION = 0        // 4 or 6
export const KEY_ZONES = 1          // bit z set: the rule holds in zone z (0..7): a direction, an interface
export const KEY_PROTOCOL = 2       // 0..255, or -1: any
export const KEY_LOCAL_BITS = 3     // prefix length of the local address, 0..32 / 0..128
export const KEY_PEER_BITS = 4
export const KEY_LOCAL_PORTS = 5    // low << 16 | high, inclusive; 0xffff (0 to 65535) is any
export const KEY_PEER_PORTS = 6
/** Not 0: the n-th local port goes with the n-th peer port alone. Both ranges have one length. */
export const KEY_PAIRED = 7
export const KEY_LOCAL = 8          // address words 8..11 (IPv4: word 8), host bits beyond the prefix are ignored
export const KEY_PEER = 12          // 12..15
export const RULE_KEY_WORDS = 16

export interface ClassifierOptions {
  /** Rules at once, 1 … 2^20. */
  capacity: number
  seed: number
  /** What looks up batches of IPv4: TypeScript (default), or WebAssembly where it is to be had. V8 sets gigabytes of addresses
   * aside for the latter, so it is for few classifiers, that are asked about batches. */
  kernel?: Kernel
}

export type Kernel = 'typescript' | 'wasm'

export interface Classifier {
  /** Enters a rule. `priority` int32 >= 0: the lowest number that matches wins, of equals the lower handle. `value` > 0 is what
   * lookups return. Handle >= 1, or 0: full. */
  insert(key: Int32Array, priority: number, value: number): number
  remove(handle: number): void
  /** Enters many rules at once, which is faster, but one long step: keys lie RULE_KEY_WORDS apart. Returns how many were
   * entered before it was full; their handles are in `handles`. */
  build(count: number, keys: Int32Array, priorities: Int32Array, values: Int32Array, handles: Int32Array): number
  /** Value of the first matching rule, or 0. `ports` is local << 16 | peer; 0 for protocols without ports (ICMP: local port =
   * identifier or type << 8 | code as the user of the table decides). */
  lookup4(zone: number, protocol: number, local: number, peer: number, ports: number): number
  /** `key` holds local and peer address in words at .. at+7. */
  lookup6(zone: number, protocol: number, key: Int32Array, at: number, ports: number): number
  /** Batch of IPv4 packets in stages; answers[i] is as lookup4. All arrays are the caller's. */
  lookupBatch4(count: number, zones: Uint8Array, protocols: Uint8Array, locals: Int32Array, peers: Int32Array, ports: Int32Array,
    answers: Int32Array): void
  /** Does up to `budget` units of re-indexing that is due (about a microsecond each at most); returns true while more is due.
   * Lookups are right at any time, before and after. */
  maintain(budget: number): boolean
  /** What looks up batches of IPv4. */
  readonly kernel: Kernel
  readonly count: () => number
  /** Bytes of all tables now. */
  readonly bytes: () => number
}

/** The same columns, for many rules at once. */
export const BULK_COLUMNS = {
  stride: RULE_KEY_WORDS, zones: KEY_ZONES, protocol: KEY_PROTOCOL, localBits: KEY_LOCAL_BITS, peerBits: KEY_PEER_BITS,
  localPorts: KEY_LOCAL_PORTS, peerPorts: KEY_PEER_PORTS, paired: KEY_PAIRED, local: KEY_LOCAL, peer: KEY_PEER,
}

/** Handles of both versions are parted by their last bit. */
const IS_SIX = 1

export function createClassifier({ capacity, seed, kernel = 'typescript' }: ClassifierOptions): Classifier {
  const prng = createPrng(seed)
  const layout = createLayout(4, capacity), room = builderRoom(layout, kernelRoom(layout).end, RULE_KEY_WORDS)
  const memory = kernel === 'wasm' ? createMemory(room.end) : null
  const four = createRules(4, capacity, prng, layout, memory === null ? null : {
    ...room, buffer: memory.buffer, createBuilder: (bulk) => createWasmBuilder4(memory, room, BULK_COLUMNS, bulk),
  })
  const finder4 = createFinder4(four)
  const { lookup4 } = finder4
  const compiled = memory === null ? null : createBatch4(memory, four, finder4)
  const lookupBatch4 = compiled ?? finder4.lookupBatch4
  // Most have no rule for IPv6 and need not reserve anything.
  let six: Rules | null = null
  let finder6: Finder6 | null = null
  let count = 0
  const addresses = new Int32Array(8)
  const condition: Condition = {
    addresses, localBits: 0, peerBits: 0, localPorts: 0, peerPorts: 0, paired: false, protocol: 0, zones: 0,
  }

  function half(version: number): Rules {
    if (version === 4) return four
    if (six === null) {
      six = createRules(6, capacity, prng)
      finder6 = createFinder6(six)
    }
    return six
  }

  function copyPrefix(to: number, width: number, keys: Int32Array, from: number, bits: number): void {
    for (let word = 0; word < width; word++, bits -= 32) {
      addresses[to + word] = bits <= 0 ? 0 : bits >= 32 ? keys[from + word] : keys[from + word] & -1 << 32 - bits
    }
  }

  function enter(keys: Int32Array, at: number, priority: number, value: number): number {
    if (count === capacity) return 0
    const version = keys[at + KEY_VERSION], width = version === 4 ? 1 : 4
    condition.localBits = keys[at + KEY_LOCAL_BITS]
    condition.peerBits = keys[at + KEY_PEER_BITS]
    condition.localPorts = keys[at + KEY_LOCAL_PORTS]
    condition.peerPorts = keys[at + KEY_PEER_PORTS]
    condition.paired = keys[at + KEY_PAIRED] !== 0
    condition.protocol = keys[at + KEY_PROTOCOL]
    condition.zones = keys[at + KEY_ZONES] & 0xff
    copyPrefix(0, width, keys, at + KEY_LOCAL, condition.localBits)
    copyPrefix(width, width, keys, at + KEY_PEER, condition.peerBits)
    const rules = half(version)
    const record = rules.insert(condition, priority, value)
    count++
    return record - rules.layout.firstRecord + 1 << 1 | (version === 4 ? 0 : IS_SIX)
  }

  function insert(key: Int32Array, priority: number, value: number): number {
    return enter(key, 0, priority, value)
  }

  function remove(handle: number): void {
    const rules = (handle & IS_SIX) === 0 ? four : six
    if (rules !== null && rules.remove(rules.layout.firstRecord - 1 + (handle >>> 1))) count--
  }

  function build(many: number, keys: Int32Array, priorities: Int32Array, values: Int32Array, handles: Int32Array): number {
    const least = Math.min(many, capacity - count)
    let ofSix = 0
    for (let n = 0; n < least; n++) if (keys[n * RULE_KEY_WORDS + KEY_VERSION] === 6) ofSix++
    four.begin(least - ofSix)
    if (ofSix > 0) half(6).begin(ofSix)
    const first = ofSix > 0 ? 0 : four.enterAll(least, { ...BULK_COLUMNS, keys }, priorities, values)
    if (first > 0) {
      for (let n = 0; n < least; n++) handles[n] = first - layout.firstRecord + n + 1 << 1
      count += least
    } else for (let n = 0; n < least; n++) handles[n] = enter(keys, n * RULE_KEY_WORDS, priorities[n], values[n])
    four.finish()
    if (ofSix > 0) six!.finish()
    return least
  }

  function lookup6(zone: number, protocol: number, key: Int32Array, at: number, ports: number): number {
    return finder6 === null ? 0 : finder6.lookup6(zone, protocol, key, at, ports)
  }

  function maintain(budget: number): boolean {
    let left = budget
    while (left > 0 && four.index.step()) left--
    while (left > 0 && six !== null && six.index.step()) left--
    return four.index.isDue() || (six !== null && six.index.isDue())
  }

  return {
    insert, remove, build, lookup4, lookup6, lookupBatch4, maintain,
    kernel: compiled === null ? 'typescript' : 'wasm',
    count: () => count,
    bytes: () => four.bytes() + (six === null ? 0 : six.bytes()),
  }
}
