/** A1 and A2 of a rule, put together from its record (RFC 5189 2.3.5). */
import { NPT6_DONE, NPT6_NONE, NPT6_UNMAPPED, type Npt6 } from '../channel/npt6.ts'
import { ALL_PORTS } from './api.ts'
import type { Tuple } from './api.ts'
import type { Box } from './box.ts'
import {
  ACTION, AS_SENT, BOUND, BY_PORTS, DYNAMIC, ENABLE, INSIDE, IPV6, META, OUTSIDE, PORTS, RANGES, RULE_BITS, SHAPE, UNKNOWN,
  insideKind, outsideKind,
} from './store.ts'
import type { Store } from './store.ts'

function tuple4(word0: number, prefixBits: number, protocol: number, port: number, range: number): Tuple {
  return { version: 4, word0, word1: 0, word2: 0, word3: 0, prefixBits, protocol, port, range }
}

/**
 * A0 of IPv6 as it is seen outside, where prefixes are translated (RFC 6296). Of more than one address nothing is told, nor of one
 * that has no counterpart.
 */
function translated(npt6: Npt6, local: Tuple): Tuple {
  const address = Int32Array.of(local.word0, local.word1, local.word2, local.word3)
  const result = local.prefixBits === 128 ? npt6.outward(address, 0) : NPT6_UNMAPPED
  if (result === NPT6_NONE) return local
  if (result !== NPT6_DONE) return { ...local, word0: 0, word1: 0, word2: 0, word3: 0, prefixBits: 0 }
  return { ...local, word0: address[0], word1: address[1], word2: address[2], word3: address[3] }
}

/** A2. Nothing but version and protocol, and the range asked for, if a reserve rule reserved nothing. */
export function outsideTuple({ store, npt6 }: Pick<Box, 'store' | 'npt6'>, slot: number): Tuple {
  const { words } = store
  const at = slot << RULE_BITS
  const meta = words[at + META], protocol = words[at + SHAPE] & 255
  const port = words[at + PORTS] >>> 16, range = words[at + RANGES] >>> 16
  const isEnable = (meta & ACTION) === ENABLE
  const kind = outsideKind(meta)
  if (kind === AS_SENT) {
    if (isEnable) return npt6 === null || (meta & IPV6) === 0 ? store.local(slot) : translated(npt6, store.local(slot))
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
