/**
 * Filter sets as ClassBench writes them (Taylor and Turner, INFOCOM 2005), one rule a line, the first has the highest priority:
 *
 *   @source/len  destination/len  low : high  low : high  protocol/mask  [flags/mask]
 *
 * Addresses are dotted, ports decimal and inclusive, protocol and flags hexadecimal. Bits of an address beyond its prefix are
 * ignored. A protocol mask is 0xFF (this protocol) or 0x00 (any); others are refused. TCP flags are read and ignored: rules
 * that differ in nothing else are equal, and the first one wins. Lines without anything in them do not count.
 */
import {
  KEY_LOCAL, KEY_LOCAL_BITS, KEY_LOCAL_PORTS, KEY_PEER, KEY_PEER_BITS, KEY_PEER_PORTS, KEY_PROTOCOL, KEY_VERSION, KEY_ZONES,
  RULE_KEY_WORDS,
} from '../../storage/classifier.ts'
import { linesOf, Scanner, type Fault } from './scanner.ts'

export interface Filters {
  count: number
  /** Conditions of the classifier, RULE_KEY_WORDS apart: the source is the local side, the destination its peer. */
  keys: Int32Array
  faults: Fault[]
}

/** What a classifier takes. */
export const MOST_RULES = 1 << 20
const MOST_FAULTS = 10
/** There are no directions here: all rules and all packets are in zone 0. */
const ZONE_0 = 1

/** Reads on after a fault, to name several at once; with any fault the rules are not all there. */
export function parseFilters(bytes: Uint8Array): Filters {
  const scanner = new Scanner(bytes), faults: Fault[] = []
  const keys = new Int32Array(Math.min(linesOf(bytes), MOST_RULES) * RULE_KEY_WORDS)
  let count = 0
  while (faults.length < MOST_FAULTS && scanner.nextRecord()) {
    if (count === MOST_RULES) scanner.fail(`there are more than ${MOST_RULES} rules`)
    else parseRule(scanner, keys, count * RULE_KEY_WORDS)
    if (scanner.fault === null) count++
    else faults.push(scanner.fault)
    if (count === MOST_RULES && faults.length > 0) break
  }
  return { count, keys, faults }
}

function parseRule(scanner: Scanner, keys: Int32Array, at: number): void {
  keys[at + KEY_VERSION] = 4
  keys[at + KEY_ZONES] = ZONE_0
  scanner.take('@')
  parsePrefix(scanner, keys, at + KEY_LOCAL, at + KEY_LOCAL_BITS)
  scanner.gap()
  parsePrefix(scanner, keys, at + KEY_PEER, at + KEY_PEER_BITS)
  scanner.gap()
  keys[at + KEY_LOCAL_PORTS] = parseRange(scanner)
  scanner.gap()
  keys[at + KEY_PEER_PORTS] = parseRange(scanner)
  scanner.gap()
  keys[at + KEY_PROTOCOL] = parseProtocol(scanner)
  scanner.gap()
  if (!scanner.isAtEnd()) {
    scanner.hexadecimal('TCP flags', 0xffff)
    scanner.take('/')
    scanner.hexadecimal('a mask of TCP flags', 0xffff)
    scanner.skipBlanks()
    if (!scanner.isAtEnd()) scanner.fail('a rule ends with its TCP flags')
  }
}

function parsePrefix(scanner: Scanner, keys: Int32Array, at: number, bitsAt: number): void {
  let address = 0
  for (let byte = 0; byte < 4; byte++) {
    if (byte > 0) scanner.take('.')
    address = address << 8 | scanner.decimal('a byte of an IPv4 address', 255)
  }
  keys[at] = address
  scanner.take('/')
  keys[bitsAt] = scanner.decimal('a prefix length', 32)
}

function parseRange(scanner: Scanner): number {
  const start = scanner.at, low = scanner.decimal('a port', 0xffff)
  scanner.skipBlanks()
  scanner.take(':')
  scanner.skipBlanks()
  const high = scanner.decimal('a port', 0xffff)
  if (low > high) scanner.fail(`the range ${low} : ${high} ends before it begins`, start)
  return low << 16 | high
}

function parseProtocol(scanner: Scanner): number {
  const protocol = scanner.hexadecimal('a protocol', 0xff)
  scanner.take('/')
  const start = scanner.at, mask = scanner.hexadecimal('a protocol mask', 0xff)
  if (mask !== 0 && mask !== 0xff) {
    scanner.fail('a protocol mask is 0xFF (this protocol) or 0x00 (any); no other is supported', start)
  }
  return mask === 0 ? -1 : protocol
}
