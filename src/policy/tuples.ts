/** A1 and A2 of a rule, put together from its record (RFC 5189 2.3.5). */
import { ALL_PORTS } from './api.ts'
import type { Tuple } from './api.ts'
import {
  ACTION, AS_SENT, BOUND, BY_PORTS, DYNAMIC, ENABLE, INSIDE, IPV6, META, OUTSIDE, PORTS, RANGES, RULE_BITS, SHAPE, UNKNOWN,
  insideKind, outsideKind,
} from './store.ts'
import type { Store } from './store.ts'

function tuple4(word0: number, prefixBits: number, protocol: number, port: number, range: number): Tuple {
  return { version: 4, word0, word1: 0, word2: 0, word3: 0, prefixBits, protocol, port, range }
}

/** A2. Nothing but version and protocol, and the range asked for, if a reserve rule reserved nothing. */
export function outsideTuple(store: Store, slot: number): Tuple {
  const { words } = store
  const at = slot << RULE_BITS
  const meta = words[at + META], protocol = words[at + SHAPE] & 255
  const port = words[at + PORTS] >>> 16, range = words[at + RANGES] >>> 16
  const isEnable = (meta & ACTION) === ENABLE
  const kind = outsideKind(meta)
  if (kind === AS_SENT) {
    if (isEnable) return store.local(slot)
    return { ...tuple4(0, 0, protocol, 0, range), version: (meta & IPV6) === 0 ? 4 : 6 }
  }
  if (kind === UNKNOWN) return tuple4(0, 0, protocol, 0, range)
  if (kind === DYNAMIC) return tuple4(words[at + OUTSIDE], 32, protocol, 0, range)
  if (kind === BY_PORTS) return tuple4(words[at + OUTSIDE], 32, protocol, words[at + BOUND] >>> 16, range)
  return tuple4(words[at + OUTSIDE], 32, protocol, isEnable || range !== ALL_PORTS ? port : 0, range)
}

/** A1. Null: a reserve rule without. */
export function insideTuple(store: Store, slot: number): Tuple | null {
  const { words } = store
  const at = slot << RULE_BITS
  const meta = words[at + META], protocol = words[at + SHAPE] & 255
  const isEnable = (meta & ACTION) === ENABLE
  const kind = insideKind(meta)
  if (kind === AS_SENT) return isEnable ? store.peer(slot) : null
  const range = isEnable ? words[at + RANGES] & 0xffff : words[at + RANGES] >>> 16
  const port = kind === BY_PORTS ? words[at + BOUND] & 0xffff : isEnable ? words[at + PORTS] & 0xffff : 0
  return tuple4(words[at + INSIDE], 32, protocol, port, range)
}
