/** First match among prioritised rules over zones, protocol, two address prefixes and two port ranges. */

/** Words of a rule's condition, in an Int32Array of RULE_KEY_WORDS. */
export const KEY_VERSION = 0        // 4 or 6
export const KEY_ZONES = 1          // bit z set: the rule holds in zone z (0..7): a direction, an interface
export const KEY_PROTOCOL = 2       // 0..255, or -1: any
export const KEY_LOCAL_BITS = 3     // prefix length of the local address, 0..32 / 0..128
export const KEY_PEER_BITS = 4
export const KEY_LOCAL_PORTS = 5    // low << 16 | high, inclusive; 0xffff (0 to 65535) is any
export const KEY_PEER_PORTS = 6
export const KEY_LOCAL = 8          // address words 8..11 (IPv4: word 8), host bits beyond the prefix are ignored
export const KEY_PEER = 12          // 12..15
export const RULE_KEY_WORDS = 16

export interface ClassifierOptions {
  /** Rules at once, 1 … 2^20. */
  capacity: number
  seed: number
}

export interface Classifier {
  /** Enters a rule. `priority` int32 >= 0: the lowest number that matches wins, of equals the lower handle. `value` > 0 is what
   * lookups return. Handle >= 1, or 0: full. */
  insert(key: Int32Array, priority: number, value: number): number
  remove(handle: number): void
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
  readonly count: () => number
  /** Bytes of all tables now. */
  readonly bytes: () => number
}

interface Entry { handle: number; key: Int32Array; priority: number; value: number }

function covers(key: Int32Array, at: number, words: Int32Array, from: number, bits: number): boolean {
  for (let word = 0; bits > 0; word++, bits -= 32) {
    const mask = bits >= 32 ? -1 : -1 << (32 - bits)
    if (((key[at + word] ^ words[from + word]) & mask) !== 0) return false
  }
  return true
}

export function createClassifier({ capacity }: ClassifierOptions): Classifier {
  const rules: Entry[] = []
  const free: number[] = []
  const address = new Int32Array(8)
  let handles = 0

  function insert(key: Int32Array, priority: number, value: number): number {
    if (rules.length === capacity) return 0
    const handle = free.pop() ?? ++handles
    rules.push({ handle, key: key.slice(), priority, value })
    rules.sort((a, b) => a.priority - b.priority || a.handle - b.handle)
    return handle
  }

  function remove(handle: number): void {
    const at = rules.findIndex((rule) => rule.handle === handle)
    if (at < 0) return
    rules.splice(at, 1)
    free.push(handle)
  }

  function find(version: number, zone: number, protocol: number, words: Int32Array, at: number, ports: number): number {
    const localPort = ports >>> 16, peerPort = ports & 0xffff
    for (const { key, value } of rules) {
      const peer = version === 4 ? at + 1 : at + 4
      if (key[KEY_VERSION] === version && (key[KEY_ZONES] >>> zone & 1) === 1
        && (key[KEY_PROTOCOL] < 0 || key[KEY_PROTOCOL] === protocol)
        && covers(key, KEY_LOCAL, words, at, key[KEY_LOCAL_BITS]) && covers(key, KEY_PEER, words, peer, key[KEY_PEER_BITS])
        && localPort >= key[KEY_LOCAL_PORTS] >>> 16 && localPort <= (key[KEY_LOCAL_PORTS] & 0xffff)
        && peerPort >= key[KEY_PEER_PORTS] >>> 16 && peerPort <= (key[KEY_PEER_PORTS] & 0xffff)) return value
    }
    return 0
  }

  function lookup4(zone: number, protocol: number, local: number, peer: number, ports: number): number {
    address[0] = local
    address[1] = peer
    return find(4, zone, protocol, address, 0, ports)
  }

  function lookup6(zone: number, protocol: number, key: Int32Array, at: number, ports: number): number {
    return find(6, zone, protocol, key, at, ports)
  }

  function lookupBatch4(
    count: number, zones: Uint8Array, protocols: Uint8Array, locals: Int32Array, peers: Int32Array, ports: Int32Array,
    answers: Int32Array,
  ): void {
    for (let i = 0; i < count; i++) answers[i] = lookup4(zones[i], protocols[i], locals[i], peers[i], ports[i])
  }

  return {
    insert, remove, lookup4, lookup6, lookupBatch4,
    maintain: () => false,
    count: () => rules.length,
    bytes: () => rules.length * RULE_KEY_WORDS * 4,
  }
}
