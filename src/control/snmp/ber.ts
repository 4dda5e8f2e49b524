/**
 * BER as SNMP uses it (RFC 3417 8): definite lengths, primitive strings. Reading is strict where a lenient reader could be led
 * astray: no indefinite lengths, every length bound by what surrounds it, nothing left over, integers within their width, at most
 * 128 sub-identifiers of at most 32 bits. Lengths need not be minimal, because net-snmp's are not.
 */
import {
  COUNTER32, COUNTER64, END_OF_MIB_VIEW, END_OF_MIB_VIEW_TAG, INTEGER, IP_ADDRESS, NO_SUCH_INSTANCE, NO_SUCH_INSTANCE_TAG,
  NO_SUCH_OBJECT, NO_SUCH_OBJECT_TAG, NULL, NULL_VALUE, OBJECT_ID, OCTETS, OPAQUE, TIME_TICKS, UNSIGNED32, type Value,
} from './mib.ts'
import { MAX_SUB_ID, MAX_SUB_IDS, type Oid } from './oid.ts'

export const SEQUENCE = 0x30

const NO_BYTES: Uint8Array = new Uint8Array(0)
const NO_OID: Oid = []
/** Bits of a Counter64 above this need a BigInt. */
const HIGH_WORD = 0x1_0000_0000

/**
 * Reads forward. The first thing that is wrong is kept in `fault`; from then on everything reads as empty or 0, so that a caller
 * need look only once, at the end.
 */
export class Reader {
  fault: string | null = null
  at = 0
  /** One past the innermost thing that is being read. */
  end = 0
  private bytes: Uint8Array = NO_BYTES

  reset(bytes: Uint8Array, at = 0, end = bytes.length): void {
    this.bytes = bytes
    this.at = at
    this.end = end
    this.fault = null
  }

  fail(what: string): void {
    this.fault ??= what
    this.at = this.end
  }

  get isAtEnd(): boolean { return this.at >= this.end }

  /** The next tag, or -1. */
  peek(): number { return this.at < this.end ? this.bytes[this.at]! : -1 }

  /** Passes over tag and length. Returns the octets of the content, which are all there; 0 after a fault. */
  header(tag: number): number {
    if (this.at + 2 > this.end) { this.fail('cut short'); return 0 }
    if (this.bytes[this.at] !== tag) { this.fail(`tag ${this.bytes[this.at]} in place of ${tag}`); return 0 }
    return this.length()
  }

  private length(): number {
    const { bytes } = this
    let length = bytes[this.at + 1]!
    this.at += 2
    if (length >= 0x80) {
      const many = length & 0x7f
      if (many === 0) { this.fail('indefinite length'); return 0 }
      if (many > 4 || this.at + many > this.end) { this.fail('length of a length'); return 0 }
      length = 0
      for (let i = 0; i < many; i++) length = length * 256 + bytes[this.at++]!
    }
    if (length > this.end - this.at) { this.fail('length beyond what surrounds it'); return 0 }
    return length
  }

  /** Goes into something constructed. Returns where its surroundings end, for `leave`. */
  enter(tag: number): number {
    const outer = this.end, length = this.header(tag)
    this.end = this.at + length
    return outer
  }

  /** Nothing may be left over. */
  leave(outer: number): void {
    if (this.at !== this.end) this.fail('octets left over')
    if (this.fault !== null) this.at = outer
    this.end = outer
  }

  integer(tag: number, min: number, max: number): number {
    const length = this.header(tag)
    if (this.fault !== null) return 0
    if (length === 0 || length > 5) { this.fail('width of an integer'); return 0 }
    let value = this.bytes[this.at]! << 24 >> 24
    for (let i = 1; i < length; i++) value = value * 256 + this.bytes[this.at + i]!
    this.at += length
    if (value < min || value > max) { this.fail(`${value} is out of range`); return 0 }
    return value
  }

  counter64(): bigint {
    const length = this.header(COUNTER64)
    if (this.fault !== null) return 0n
    if (length === 0 || length > 9 || length === 9 && this.bytes[this.at] !== 0 || this.bytes[this.at]! >= 0x80) {
      this.fail('width of a Counter64')
      return 0n
    }
    let value = 0n
    for (let i = 0; i < length; i++) value = value << 8n | BigInt(this.bytes[this.at++]!)
    return value
  }

  /** A view of the octets, which lives as long as the message. */
  octets(tag: number, min: number, max: number): Uint8Array {
    const length = this.header(tag)
    if (this.fault !== null) return NO_BYTES
    if (length < min || length > max) { this.fail(`${length} octets`); return NO_BYTES }
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  oid(): Oid {
    const length = this.header(OBJECT_ID)
    if (this.fault !== null) return NO_OID
    if (length === 0) { this.fail('an empty OID'); return NO_OID }
    const { bytes } = this, end = this.at + length, oid: number[] = []
    while (this.at < end) {
      let subId = 0
      if (bytes[this.at] === 0x80) { this.fail('a padded sub-identifier'); return NO_OID }
      for (;;) {
        if (this.at >= end) { this.fail('a sub-identifier cut short'); return NO_OID }
        const octet = bytes[this.at++]!
        subId = subId * 128 + (octet & 0x7f)
        if (subId > MAX_SUB_ID + 80) { this.fail('a sub-identifier above 32 bits'); return NO_OID }
        if (octet < 0x80) break
      }
      if (oid.length === 0) {
        const first = subId < 40 ? 0 : subId < 80 ? 1 : 2
        oid.push(first)
        subId -= 40 * first
      }
      if (subId > MAX_SUB_ID) { this.fail('a sub-identifier above 32 bits'); return NO_OID }
      if (oid.length === MAX_SUB_IDS) { this.fail('too many sub-identifiers'); return NO_OID }
      oid.push(subId)
    }
    return oid
  }

  value(): Value {
    const tag = this.peek()
    switch (tag) {
      case INTEGER: return { tag, value: this.integer(tag, -0x8000_0000, 0x7fff_ffff) }
      case COUNTER32: case UNSIGNED32: case TIME_TICKS: return { tag, value: this.integer(tag, 0, 0xffff_ffff) }
      case COUNTER64: return { tag, value: this.counter64() }
      case OCTETS: case OPAQUE: return { tag, value: this.octets(tag, 0, 0xffff) }
      case IP_ADDRESS: return { tag, value: this.octets(tag, 4, 4) }
      case OBJECT_ID: return { tag, value: this.oid() }
      case NULL: this.octets(tag, 0, 0); return NULL_VALUE
      case NO_SUCH_OBJECT_TAG: this.octets(tag, 0, 0); return NO_SUCH_OBJECT
      case NO_SUCH_INSTANCE_TAG: this.octets(tag, 0, 0); return NO_SUCH_INSTANCE
      case END_OF_MIB_VIEW_TAG: this.octets(tag, 0, 0); return END_OF_MIB_VIEW
      default:
        this.fail(tag < 0 ? 'cut short' : `no value has tag ${tag}`)
        return NULL_VALUE
    }
  }
}

function lengthBytes(length: number): number { return length < 0x80 ? 1 : length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 4 }
function subIdBytes(subId: number): number {
  return subId < 0x80 ? 1 : subId < 0x4000 ? 2 : subId < 0x20_0000 ? 3 : subId < 0x1000_0000 ? 4 : 5
}
function intBytes(value: number): number {
  return value >= -0x80 && value < 0x80 ? 1 : value >= -0x8000 && value < 0x8000 ? 2 : value >= -0x80_0000 && value < 0x80_0000 ? 3
    : value >= -0x8000_0000 && value < 0x8000_0000 ? 4 : 5
}
function oidBytes(oid: Oid): number {
  let bytes = oid.length < 2 ? 1 : subIdBytes(oid[0]! * 40 + oid[1]!)
  for (let i = 2; i < oid.length; i++) bytes += subIdBytes(oid[i]!)
  return bytes
}
function counter64Bytes(value: bigint): number {
  let bytes = 1
  for (let rest = value; rest >= 0x80n; rest >>= 8n) bytes++
  return bytes
}

function valueBytes({ tag, value }: Value): number {
  switch (tag) {
    case INTEGER: case COUNTER32: case UNSIGNED32: case TIME_TICKS: return intBytes(value)
    case COUNTER64: return counter64Bytes(value)
    case OCTETS: case IP_ADDRESS: case OPAQUE: return value.length
    case OBJECT_ID: return oidBytes(value)
    default: return 0
  }
}

/** Octets before `start` for everything that surrounds varbinds: four names and keys of at most 255 octets, and some numbers. */
const HEADROOM = 1536

/**
 * Writes varbinds forward, and then what surrounds them backward in front of them, so that every length is known when it is
 * written and has its shortest form. One buffer, used again for each message.
 */
export class Writer {
  readonly bytes: Uint8Array
  private readonly capacity: number
  private mostBytes: number
  start = HEADROOM
  end = HEADROOM

  /** @param capacity octets of all varbinds of a message together */
  constructor(capacity: number) {
    this.bytes = new Uint8Array(HEADROOM + capacity)
    this.capacity = this.mostBytes = capacity
  }

  /** Empties it, for varbinds of at most so many octets. */
  reset(mostBytes = this.capacity): void {
    this.start = this.end = HEADROOM
    this.mostBytes = Math.min(mostBytes, this.capacity)
  }

  /** Appends a varbind. False: it does not fit, and nothing was appended. */
  varbind(name: Oid, value: Value): boolean {
    const nameBytes = oidBytes(name), itsBytes = valueBytes(value)
    const inner = 2 + lengthBytes(nameBytes) + nameBytes + lengthBytes(itsBytes) + itsBytes
    if (this.end - HEADROOM + 1 + lengthBytes(inner) + inner > this.mostBytes) return false
    this.head(SEQUENCE, inner)
    this.head(OBJECT_ID, nameBytes)
    this.oid(name)
    this.head(value.tag, itsBytes)
    this.content(value, itsBytes)
    return true
  }

  private head(tag: number, length: number): void {
    const { bytes } = this
    bytes[this.end++] = tag
    this.end = putLength(bytes, this.end, length)
  }

  private oid(oid: Oid): void {
    this.subId(oid.length < 2 ? (oid[0] ?? 0) * 40 : oid[0]! * 40 + oid[1]!)
    for (let i = 2; i < oid.length; i++) this.subId(oid[i]!)
  }

  private subId(subId: number): void {
    const { bytes } = this
    if (subId < 0x80) { bytes[this.end++] = subId; return }
    for (let i = subIdBytes(subId) - 1; i > 0; i--) bytes[this.end++] = Math.floor(subId / 2 ** (7 * i)) & 0x7f | 0x80
    bytes[this.end++] = subId & 0x7f
  }

  private content(value: Value, length: number): void {
    switch (value.tag) {
      case INTEGER: case COUNTER32: case UNSIGNED32: case TIME_TICKS:
        putInteger(this.bytes, this.end, value.value, length)
        this.end += length
        return
      case COUNTER64: {
        const { value: all } = value
        const high = Number(all / BigInt(HIGH_WORD)), low = Number(all % BigInt(HIGH_WORD))
        for (let i = length - 1; i >= 0; i--) {
          this.bytes[this.end++] = i === 8 ? 0 : i >= 4 ? high >>> 8 * (i - 4) : low >>> 8 * i
        }
        return
      }
      case OCTETS: case IP_ADDRESS: case OPAQUE:
        this.bytes.set(value.value, this.end)
        this.end += length
        return
      case OBJECT_ID: this.oid(value.value)
    }
  }

  /* What surrounds, from the inside to the outside. */

  /** Puts tag and length before everything from `start` to `to`. */
  wrap(tag: number, to = this.end): void {
    const length = to - this.start, { bytes } = this
    this.start -= lengthBytes(length)
    putLength(bytes, this.start, length)
    bytes[--this.start] = tag
  }

  /** Puts an INTEGER in front. */
  integerBefore(value: number): void {
    const length = intBytes(value)
    this.start -= length
    putInteger(this.bytes, this.start, value, length)
    this.bytes[--this.start] = length
    this.bytes[--this.start] = INTEGER
  }

  /** Puts an OCTET STRING in front. */
  octetsBefore(octets: Uint8Array): void {
    const to = this.start
    this.start -= octets.length
    this.bytes.set(octets, this.start)
    this.wrap(OCTETS, to)
  }
}

function putLength(bytes: Uint8Array, at: number, length: number): number {
  if (length < 0x80) bytes[at++] = length
  else {
    const many = lengthBytes(length) - 1
    bytes[at++] = 0x80 | many
    for (let i = many - 1; i >= 0; i--) bytes[at++] = length >>> 8 * i
  }
  return at
}

function putInteger(bytes: Uint8Array, at: number, value: number, length: number): void {
  // Five octets: an unsigned number whose first bit is set.
  if (length === 5) { bytes[at++] = 0; length = 4 }
  for (let i = length - 1; i >= 0; i--) bytes[at++] = value >>> 8 * i
}
