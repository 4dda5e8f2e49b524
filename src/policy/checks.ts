/** What can be said of a request by itself, in the order of docs/midcom.md: the first check that fails is the reason. */
import { createPrefixSet } from '../base/address.ts'
import { BIDIRECTIONAL, INBOUND, PARITY_ANY, PARITY_SAME } from './api.ts'
import type { EnableRequest, Reason, Tuple } from './api.ts'
import type { PolicyOptions } from './options.ts'
import { hasPorts } from './records.ts'

export interface Checks {
  enable(request: EnableRequest): Reason | null
  disable(internal: Tuple, external: Tuple): Reason | null
}

/** Everything between `low` and `high` but nothing with a fraction, as tables hold integers. */
export function isWithin(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high
}

export function fullBits(tuple: Tuple): number { return tuple.version === 4 ? 32 : 128 }

/** Word 0..3 of an address. */
export function wordOf(tuple: Tuple, index: number): number {
  return index === 0 ? tuple.word0 : index === 1 ? tuple.word1 : index === 2 ? tuple.word2 : tuple.word3
}

/** Unspecified, multicast, loopback, broadcast. */
function isIllegal(t: Tuple): boolean {
  if (t.version === 4) return t.word0 === 0 || t.word0 >>> 28 === 0xe || t.word0 >>> 24 === 127 || t.word0 === -1
  return t.word0 >>> 24 === 0xff || (t.word0 === 0 && t.word1 === 0 && t.word2 === 0 && (t.word3 === 0 || t.word3 === 1))
}

/** Version, protocol and ports. A concrete port has a range; only two concrete ones are compared. */
function checkShape(a: Tuple, b: Tuple, portsPerRule: number): Reason | null {
  if (a.version !== b.version || (a.version !== 4 && a.version !== 6)) return 'ip-version-mismatch'
  if (a.protocol !== b.protocol) return 'inconsistent'
  if (!isWithin(a.protocol, 0, 255)) return 'protocol-not-supported'
  if (!isWithin(a.port, 0, 0xffff) || !isWithin(b.port, 0, 0xffff)) return 'illegal-port'
  if (!isWithin(a.range, 0, 0xffff) || !isWithin(b.range, 0, 0xffff)) return 'illegal-range'
  if (!hasPorts(a.protocol)) return null
  const aRange = a.port === 0 ? 1 : a.range, bRange = b.port === 0 ? 1 : b.range
  if (a.port !== 0 && b.port !== 0 && aRange !== bRange) return 'inconsistent'
  if (aRange === 0 || bRange === 0) return 'illegal-range'
  if (a.port + aRange > 0x10000 || b.port + bRange > 0x10000) return 'illegal-port'
  if (Math.max(aRange, bRange) > portsPerRule) return 'illegal-range'
  return null
}

export function createChecks({ inside, limits, wildcards }: PolicyOptions): Checks {
  const insideSet = createPrefixSet(inside)

  function isInside(t: Tuple): boolean {
    return t.version === 4 ? insideSet.has4(t.word0) : insideSet.has6(t.word0, t.word1, t.word2, t.word3)
  }

  function checkAddresses(internal: Tuple, external: Tuple): Reason | null {
    const bits = fullBits(internal)
    if (!isWithin(internal.prefixBits, 0, bits) || !isWithin(external.prefixBits, 0, bits)) return 'inconsistent'
    if (internal.prefixBits === bits && (isIllegal(internal) || !isInside(internal))) return 'illegal-address'
    if (external.prefixBits === bits && (isIllegal(external) || isInside(external))) return 'illegal-address'
    return null
  }

  function checkWildcards(internal: Tuple, external: Tuple): Reason | null {
    const bits = fullBits(internal)
    if (internal.prefixBits < bits && !wildcards.internal) return 'no-internal-wildcarding'
    if (external.prefixBits < bits && !wildcards.external) return 'no-external-wildcarding'
    const anyPort = internal.protocol === 0 || (hasPorts(internal.protocol) && (internal.port === 0 || external.port === 0))
    if (anyPort && !wildcards.ports) return 'no-port-wildcarding'
    // RFC 5189 6: with both ends open the box would guard nothing.
    return internal.prefixBits === 0 && external.prefixBits === 0 ? 'no-external-wildcarding' : null
  }

  function enable({ internal, external, direction, parity }: EnableRequest): Reason | null {
    const shape = checkShape(internal, external, limits.portsPerRule)
    if (shape !== null) return shape
    if (!isWithin(direction, INBOUND, BIDIRECTIONAL) || (parity !== PARITY_ANY && parity !== PARITY_SAME)) return 'inconsistent'
    return checkAddresses(internal, external) ?? checkWildcards(internal, external)
  }

  function disable(internal: Tuple, external: Tuple): Reason | null {
    const reason = checkShape(internal, external, limits.portsPerRule) ?? checkAddresses(internal, external)
    if (reason !== null) return reason
    const isEverything = internal.prefixBits === 0 && external.prefixBits === 0 && internal.protocol === 0
    return isEverything ? 'no-external-wildcarding' : null
  }

  return { enable, disable }
}
