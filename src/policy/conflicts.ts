/**
 * Overlap of an enable rule and a disable rule (RFC 4540 8.8): is there a packet that both are about? Versions equal, protocols
 * equal or one of them any, and at both ends prefixes that nest and ports that intersect.
 */
import { maskWord } from '../base/address.ts'
import type { Tuple } from './api.ts'
import { wordOf } from './checks.ts'
import { hasPorts } from './records.ts'
import { IPV6, LOCAL, META, PEER, PORTS, RANGES, RULE_BITS, SHAPE } from './store.ts'
import type { Store } from './store.ts'

/** Does the rule in `slot` overlap one between these tuples? */
export function overlaps(store: Store, slot: number, local: Tuple, peer: Tuple): boolean {
  const words = store.words
  const at = slot << RULE_BITS
  const shape = words[at + SHAPE]
  const protocol = shape & 255
  if (protocol !== local.protocol && protocol !== 0 && local.protocol !== 0) return false
  if (((words[at + META] & IPV6) !== 0) !== (local.version === 6)) return false
  // Ports say something only where both sides have the same protocol, one with ports.
  if (protocol === local.protocol && hasPorts(protocol)) {
    const ports = words[at + PORTS], ranges = words[at + RANGES]
    if (!portsMeet(ports >>> 16, ranges >>> 16, local.port, local.range)) return false
    if (!portsMeet(ports & 0xffff, ranges & 0xffff, peer.port, peer.range)) return false
  }
  return nests(store, slot, LOCAL, shape >>> 8 & 255, local) && nests(store, slot, PEER, shape >>> 16 & 255, peer)
}

function portsMeet(a: number, aRange: number, b: number, bRange: number): boolean {
  return a === 0 || b === 0 || (a < b + bRange && b < a + aRange)
}

function nests(store: Store, slot: number, tuple: number, prefixBits: number, other: Tuple): boolean {
  const bits = Math.min(prefixBits, other.prefixBits)
  for (let i = 0; i * 32 < bits; i++) {
    if (((store.word(slot, tuple, i) ^ wordOf(other, i)) & maskWord(bits, i)) !== 0) return false
  }
  return true
}
