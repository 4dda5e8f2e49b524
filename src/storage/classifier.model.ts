/** What a classifier must do, by looking at every rule in order. */
import {
  KEY_LOCAL, KEY_LOCAL_BITS, KEY_LOCAL_PORTS, KEY_PAIRED, KEY_PEER, KEY_PEER_BITS, KEY_PEER_PORTS, KEY_PROTOCOL, KEY_VERSION,
  KEY_ZONES,
} from './classifier.ts'

export interface ClassifierModel {
  /** The handle is given, for of equal priorities the lower handle comes first. */
  insert(handle: number, key: Int32Array, priority: number, value: number): void
  remove(handle: number): void
  /** Address words: local, then peer. */
  lookup(version: number, zone: number, protocol: number, words: Int32Array, ports: number): number
}

interface Rule { handle: number; key: Int32Array; priority: number; value: number }

function isWithin(words: Int32Array, at: number, prefix: Int32Array, from: number, bits: number): boolean {
  for (let bit = 0; bit < bits; bit++) {
    const word = bit >> 5, one = 1 << 31 - (bit & 31)
    if ((words[at + word] & one) !== (prefix[from + word] & one)) return false
  }
  return true
}

function isInRange(port: number, range: number): boolean {
  return port >= range >>> 16 && port <= (range & 0xffff)
}

function applies(key: Int32Array, version: number, zone: number, protocol: number, words: Int32Array, ports: number): boolean {
  return key[KEY_VERSION] === version
    && (key[KEY_ZONES] >> zone & 1) === 1
    && (key[KEY_PROTOCOL] === -1 || key[KEY_PROTOCOL] === protocol)
    && isInRange(ports >>> 16, key[KEY_LOCAL_PORTS])
    && isInRange(ports & 0xffff, key[KEY_PEER_PORTS])
    && (key[KEY_PAIRED] === 0 || (ports >>> 16) - (key[KEY_LOCAL_PORTS] >>> 16) === (ports & 0xffff) - (key[KEY_PEER_PORTS] >>> 16))
    && isWithin(words, 0, key, KEY_LOCAL, key[KEY_LOCAL_BITS])
    && isWithin(words, words.length / 2, key, KEY_PEER, key[KEY_PEER_BITS])
}

export function createClassifierModel(): ClassifierModel {
  const rules: Rule[] = []
  return {
    insert(handle, key, priority, value) {
      const at = rules.findIndex((rule) => rule.priority > priority || (rule.priority === priority && rule.handle > handle))
      rules.splice(at < 0 ? rules.length : at, 0, { handle, key: key.slice(), priority, value })
    },
    remove(handle) {
      rules.splice(rules.findIndex((rule) => rule.handle === handle), 1)
    },
    lookup(version, zone, protocol, words, ports) {
      return rules.find(({ key }) => applies(key, version, zone, protocol, words, ports))?.value ?? 0
    },
  }
}
