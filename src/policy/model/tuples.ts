/**
 * Address tuples for the slow model: an address is a text of zeros and ones, so that prefixes are texts that begin alike.
 * The checks come in the order of docs/midcom.md.
 */
import { PARITY_EVEN, PARITY_ODD, TCP, UDP, type Reason, type Tuple } from '../api.ts'
import type { PolicyOptions } from '../options.ts'

/** All bits of an address, those below a prefix too. */
function bitsText(words: ArrayLike<number>): string {
  return Array.from(words, word => (word >>> 0).toString(2).padStart(32, '0')).join('')
}

/** The same bits as four int32 words, zeros after the end of the text. */
export function wordsOf(bits: string): number[] {
  return [0, 1, 2, 3].map(word => parseInt(bits.slice(word * 32, word * 32 + 32).padEnd(32, '0'), 2) | 0)
}

export function hasPorts(protocol: number): boolean {
  return protocol === TCP || protocol === UDP
}

/** Has the tuple ports that mean something? */
export function namesPorts(tuple: Tuple): boolean {
  return hasPorts(tuple.protocol) && tuple.port !== 0
}

export function isFull(tuple: Tuple): boolean {
  return tuple.prefixBits === fullBits(tuple)
}

function fullBits(tuple: Tuple): number {
  return tuple.version === 4 ? 32 : 128
}

/** The bits that the tuple fixes. */
export function fixedBits(tuple: Tuple): string {
  const words = [tuple.word0, tuple.word1, tuple.word2, tuple.word3].slice(0, tuple.version === 4 ? 1 : 4)
  return bitsText(words).slice(0, tuple.prefixBits)
}

/** Lowest and highest port that match. */
export function portsOf(tuple: Tuple): { low: number; high: number } {
  return namesPorts(tuple) ? { low: tuple.port, high: tuple.port + tuple.range - 1 } : { low: 0, high: 65535 }
}

/** RFC 4540 8.8: is there an endpoint that both match? */
export function overlaps(a: Tuple, b: Tuple): boolean {
  const bitsA = fixedBits(a), bitsB = fixedBits(b)
  const portsA = portsOf(a), portsB = portsOf(b)
  return a.version === b.version
    && (a.protocol === b.protocol || a.protocol === 0 || b.protocol === 0)
    && (bitsA.startsWith(bitsB) || bitsB.startsWith(bitsA))
    && portsA.low <= portsB.high && portsB.low <= portsA.high
}

function isInside(tuple: Tuple, options: PolicyOptions): boolean {
  return options.inside.some(prefix => prefix.version === tuple.version
    && fixedBits(tuple).startsWith(bitsText(prefix.words).slice(0, prefix.prefixBits)))
}

const NOT_FOR_HOSTS = {
  4: ['0'.repeat(32), '1110', '01111111', '1'.repeat(32)],          // unspecified, multicast, loopback, broadcast
  6: ['0'.repeat(128), '11111111', '0'.repeat(127) + '1'],          // unspecified, multicast, loopback
}

function isIllegal(tuple: Tuple): boolean {
  return NOT_FOR_HOSTS[tuple.version].some(bits => fixedBits(tuple).startsWith(bits))
}

/** Checks of versions, protocols and ports: those that come before direction and parity. */
export function checkPorts(internal: Tuple, external: Tuple, portsPerRule: number): Reason | null {
  if (internal.version !== external.version) return 'ip-version-mismatch'
  if (internal.protocol !== external.protocol) return 'inconsistent'
  if (namesPorts(internal) && namesPorts(external) && internal.range !== external.range) return 'inconsistent'
  // Reading: beside a wildcard, the port that is concrete keeps its limits.
  const named = [internal, external].filter(namesPorts)
  if (named.some(tuple => tuple.range === 0)) return 'illegal-range'
  if (named.some(tuple => tuple.port + tuple.range - 1 > 65535)) return 'illegal-port'
  if (named.some(tuple => tuple.range > portsPerRule)) return 'illegal-range'
  return null
}

/** Are both addresses wholly open? */
export function isOpen(internal: Tuple, external: Tuple): boolean {
  return internal.prefixBits === 0 && external.prefixBits === 0
}

/** Checks of prefixes, addresses and wildcards. */
export function checkAddresses(internal: Tuple, external: Tuple, options: PolicyOptions,
  wildcards: PolicyOptions['wildcards']): Reason | null {
  for (const tuple of [internal, external]) {
    if (tuple.prefixBits < 0 || tuple.prefixBits > fullBits(tuple)) return 'inconsistent'
  }
  for (const tuple of [internal, external]) {
    if (isFull(tuple) && isIllegal(tuple)) return 'illegal-address'
  }
  if (isFull(internal) && !isInside(internal, options)) return 'illegal-address'
  if (isFull(external) && isInside(external, options)) return 'illegal-address'
  if (!isFull(internal) && !wildcards.internal) return 'no-internal-wildcarding'
  if (!isFull(external) && !wildcards.external) return 'no-external-wildcarding'
  if (isPortWildcard(internal, external) && !wildcards.ports) return 'no-port-wildcarding'
  return null
}

function isPortWildcard(internal: Tuple, external: Tuple): boolean {
  return internal.protocol === 0 || (hasPorts(internal.protocol) && (internal.port === 0 || external.port === 0))
}

export function parityOf(port: number): number { return port % 2 === 0 ? PARITY_EVEN : PARITY_ODD }

export function portsWord(of: Tuple): number {
  const { low, high } = portsOf(of)
  return low << 16 | high
}

/** A tuple of IPv4 with a whole address unless parts say otherwise. */
export function tuple(parts: Partial<Tuple>): Tuple {
  return { version: 4, word0: 0, word1: 0, word2: 0, word3: 0, prefixBits: 32, protocol: 0, port: 0, range: 1, ...parts }
}
