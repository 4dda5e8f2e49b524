/**
 * SIMCO 3.0 (RFC 4540): octets to messages and back, for both ends of a connection. It knows layouts, not meanings: values that
 * the RFC leaves undefined pass, as long as the lengths are right. Attributes come in the order of the RFC's figures and no
 * other (our reading of RFC 4540 6). Bad octets are answered with a code, a position and a reason; nothing throws on account of
 * them. A message that was read is encoded to the very octets it was read from.
 */
import {
  ARE, BADLY_FORMED, BFM, CAPABILITIES, CHALLENGE, FORMATS, FULL, GID, HEADER_BYTES, LIFETIME, MAX_CHALLENGE_BYTES, MAX_OWNER_BYTES,
  MAX_PAYLOAD_BYTES, NEGATIVE_REPLY, NOTIFICATION, OWNER, PER_SET, PID, PROTOCOLS_ONLY, PRR_SET, REQUEST, TOKEN, TUPLE, VERSION,
  WRONG_BASIC_TYPE, WRONG_SUB_TYPE, tupleBit, type Message, type Step, type WireTuple,
} from './messages.ts'

export * from './messages.ts'

/** What is wrong with a message. */
export type FaultReason =
  | 'none' | 'payload-too-long' | 'basic-type-unknown' | 'sub-type-unknown' | 'attribute-missing' | 'attribute-unexpected'
  | 'attribute-duplicate' | 'attribute-unknown' | 'attribute-length' | 'attribute-overrun' | 'trailing-octets' | 'tuple-form'

export interface Fault {
  /** What a middlebox answers: BFM, WRONG_BASIC_TYPE, WRONG_SUB_TYPE or BADLY_FORMED; 0: nothing is wrong. */
  code: number
  /** Octet of the message, its header included, at which it went wrong. */
  position: number
  reason: FaultReason
}

export function createFault(): Fault { return { code: 0, position: 0, reason: 'none' } }

/** Answers of `Decoder.next`. */
export const MORE = 0, MESSAGE = 1, BAD = 2, BROKEN = 3
export type Decoded = typeof MORE | typeof MESSAGE | typeof BAD | typeof BROKEN

export interface Decoder {
  /**
   * Hands over octets `from`..`to` of a chunk, by default all, which the decoder refers to until `next` has answered MORE. What is
   * left of earlier ones is read first.
   */
  push(chunk: Uint8Array, from?: number, to?: number): void
  /** Takes a copy of what is left of chunks, which from now on may change. */
  keep(): void
  /** Forgets what is left of chunks. */
  forget(): void
  /**
   * MESSAGE: one was read into `message`. BAD: one was skipped; its type and TID are in `message`, and `fault` says why. MORE: the
   * rest is kept, push the next chunk. BROKEN: the header cannot be, so nothing behind it can be read; `fault` is a BFM.
   */
  next(message: Message): Decoded
  /** Lent: about the last answer. */
  readonly fault: Fault
  /** Octets kept of a message that is not complete. */
  readonly heldBytes: number
  /** Octets of chunks that `next` has not looked at. */
  readonly unreadBytes: number
  /** Longest payload that is read; may be changed between messages. */
  maxPayloadBytes: number
}

/** A buffer that grows: `bytes` up to `end` are written. `bytes` is replaced when it grows. */
export interface Output { bytes: Uint8Array; view: DataView; end: number }

export function createOutput(capacityBytes = 4096): Output { return outputOver(Buffer.allocUnsafeSlow(capacityBytes)) }

function outputOver(bytes: Uint8Array): Output {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), end: 0 }
}

/** Makes room for `more` octets behind `end`. */
export function ensure(out: Output, more: number): void {
  if (out.end + more <= out.bytes.length) return
  const grown = outputOver(Buffer.allocUnsafeSlow(Math.max(2 * out.bytes.length, out.end + more)))
  grown.bytes.set(out.bytes.subarray(0, out.end))
  out.bytes = grown.bytes
  out.view = grown.view
}

const ATTRIBUTE_HEADER_BYTES = 4
/** Octets of the value; -1: up to a limit of its own; tuples say it themselves. */
const VALUE_BYTES = [-1, 4, -1, -1, 8, 4, 4, 4, -1, -1, 4, 4]
const NO_STEPS: readonly Step[] = []
/** A tuple's value: without an address, in front of an address, and at most. */
const PROTOCOLS_ONLY_BYTES = 4, PORTS_BYTES = 8, MAX_TUPLE_BYTES = 24

/** Layouts by basic type and sub-type: an array read where a map would be a hash. */
const STEPS: readonly (readonly Step[] | undefined)[] = Array.from({ length: 0x0500 }, (_, type) =>
  FORMATS.get(type) ?? (type >> 8 === NEGATIVE_REPLY ? NO_STEPS : undefined))

function u16(b: Uint8Array, off: number): number { return b[off]! << 8 | b[off + 1]! }
function i32(b: Uint8Array, off: number): number { return b[off]! << 24 | b[off + 1]! << 16 | b[off + 2]! << 8 | b[off + 3]! }
function u32(b: Uint8Array, off: number): number { return i32(b, off) >>> 0 }

function bad(fault: Fault, code: number, position: number, reason: FaultReason): typeof BAD {
  fault.code = code
  fault.position = position
  fault.reason = reason
  return BAD
}

/** Value of a tuple attribute, or false if its length and its first octet do not agree. */
function readTuple(b: Uint8Array, off: number, bytes: number, tuple: WireTuple): boolean {
  if (bytes < PROTOCOLS_ONLY_BYTES) return false
  const form = b[off]! >> 4, version = b[off]! & 15
  const addressBytes = bytes - PORTS_BYTES
  tuple.form = form
  tuple.version = version
  tuple.prefixBits = b[off + 1]!
  tuple.protocol = b[off + 2]!
  tuple.location = b[off + 3]!
  tuple.word1 = tuple.word2 = tuple.word3 = 0
  if (form === PROTOCOLS_ONLY) {
    tuple.port = tuple.range = tuple.addressBytes = tuple.word0 = 0
    return bytes === PROTOCOLS_ONLY_BYTES
  }
  // With an undefined version either length will do: what to say about that version is for others to decide.
  if (addressBytes !== 4 && addressBytes !== 16) return false
  if (version === 1 && addressBytes !== 4 || version === 2 && addressBytes !== 16) return false
  tuple.port = u16(b, off + 4)
  tuple.range = u16(b, off + 6)
  tuple.addressBytes = addressBytes
  tuple.word0 = i32(b, off + 8)
  if (addressBytes === 16) {
    tuple.word1 = i32(b, off + 12)
    tuple.word2 = i32(b, off + 16)
    tuple.word3 = i32(b, off + 20)
  }
  return true
}

/** Why the attribute at hand is not the one the format has here. */
function strangerReason(attribute: number, steps: readonly Step[], at: number): FaultReason {
  if (attribute < VERSION || attribute > PER_SET) return 'attribute-unknown'
  const all = steps.filter(step => step.attribute === attribute).length
  const seen = steps.slice(0, at).filter(step => step.attribute === attribute).length
  if (seen > 0 && seen === all) return 'attribute-duplicate'
  return at === steps.length ? 'attribute-unexpected' : all > seen ? 'attribute-missing' : 'attribute-unexpected'
}

/**
 * Reads one whole message: `off` is its first octet, `end` one past its last, as its length field says.
 * @returns MESSAGE, or BAD with type and TID in `message`
 */
export function decodeMessage(
  b: Uint8Array, off: number, end: number, message: Message, fault: Fault,
): typeof MESSAGE | typeof BAD {
  const type = u16(b, off)
  message.type = type
  message.tid = u32(b, off + 4)
  message.present = 0
  const steps = STEPS[type]
  if (steps === undefined) {
    const basic = type >> 8
    return basic < REQUEST || basic > NOTIFICATION ? bad(fault, WRONG_BASIC_TYPE, 0, 'basic-type-unknown')
      : bad(fault, WRONG_SUB_TYPE, 1, 'sub-type-unknown')
  }
  let at = off + HEADER_BYTES, i = 0, pids = 0, present = 0
  while (at < end) {
    if (end - at < ATTRIBUTE_HEADER_BYTES) return bad(fault, BADLY_FORMED, at - off, 'trailing-octets')
    const attribute = u16(b, at), bytes = u16(b, at + 2), value = at + ATTRIBUTE_HEADER_BYTES
    while (i < steps.length && steps[i]!.attribute !== attribute && steps[i]!.optional) i++
    if (i === steps.length || steps[i]!.attribute !== attribute) {
      return bad(fault, BADLY_FORMED, at - off, strangerReason(attribute, steps, i))
    }
    if (bytes > end - value) return bad(fault, BADLY_FORMED, at - off + 2, 'attribute-overrun')
    const step = steps[i]!, fixedBytes = VALUE_BYTES[attribute]
    if (fixedBytes !== -1 && fixedBytes !== bytes) return bad(fault, BADLY_FORMED, at - off + 2, 'attribute-length')
    switch (attribute) {
      case TUPLE:
        if (b[value]! >> 4 > PROTOCOLS_ONLY && bytes > 0) return bad(fault, BADLY_FORMED, value - off, 'tuple-form')
        if (!readTuple(b, value, bytes, message.tuples[step.location as 0])) {
          return bad(fault, BADLY_FORMED, at - off + 2, 'attribute-length')
        }
        present |= tupleBit(step.location)
        break
      case PID:
        if (step.repeated) message.pids[pids++] = u32(b, value)
        else message.pid = u32(b, value)
        break
      case LIFETIME: message.lifetimeSec = u32(b, value); break
      case GID: message.gid = u32(b, value); break
      case PER_SET: message.perSet = u32(b, value); break
      case PRR_SET: message.prrSet = u32(b, value); break
      case VERSION: message.version = u32(b, value); break
      case CAPABILITIES:
        message.capabilities = u32(b, value)
        message.maxLifetimeSec = u32(b, value + 4)
        break
      case CHALLENGE:
      case TOKEN:
        if (bytes > MAX_CHALLENGE_BYTES) return bad(fault, BADLY_FORMED, at - off + 2, 'attribute-length')
        if (attribute === CHALLENGE) message.challenge = b.subarray(value, value + bytes)
        else message.token = b.subarray(value, value + bytes)
        break
      case OWNER:
        if (bytes > MAX_OWNER_BYTES) return bad(fault, BADLY_FORMED, at - off + 2, 'attribute-length')
        message.owner = b.subarray(value, value + bytes)
        break
    }
    if (attribute !== TUPLE) present |= 1 << attribute
    if (!step.repeated) i++
    at = value + bytes
  }
  while (i < steps.length && steps[i]!.optional) i++
  if (i < steps.length) return bad(fault, BADLY_FORMED, end - off, 'attribute-missing')
  message.present = present
  if (message.pids.length !== pids) message.pids.length = pids
  fault.code = 0
  fault.position = 0
  fault.reason = 'none'
  return MESSAGE
}

const NOTHING = Buffer.alloc(0)
/** A kept message starts with this much room, and gives back more than `KEPT_BYTES` when it is complete. */
const FIRST_BYTES = 256, KEPT_BYTES = 4096
/**
 * Copies of long chunks lie in buffers that all decoders share: made anew, they are memory beside the heap, for which the collector
 * goes through all of the heap.
 */
const ROOM_BYTES = 65_536, MOST_ROOMS = 16
const rooms: Uint8Array[] = []

class StreamDecoder implements Decoder {
  readonly fault = createFault()
  heldBytes = 0
  maxPayloadBytes: number
  /** What has not been looked at: octets `at`..`end`. */
  private chunk: Uint8Array = NOTHING
  private at = 0
  private end = 0
  /** The chunk is somebody else's. */
  private isLent = false
  /** Where the chunk lies, if that is to be given back. */
  private room: Uint8Array | null = null
  // The beginning of a message whose rest has not come, heldBytes of it. It grows with what has come, not with what is announced.
  private held: Uint8Array = NOTHING

  constructor(maxPayloadBytes: number) { this.maxPayloadBytes = maxPayloadBytes }

  get unreadBytes(): number { return this.end - this.at }

  push(chunk: Uint8Array, from = 0, to = chunk.length): void {
    this.isLent = this.at === this.end
    if (this.isLent) {
      this.giveRoomBack()
      this.chunk = chunk
      this.at = from
      this.end = to
      return
    }
    const whole = Buffer.concat([this.chunk.subarray(this.at, this.end), chunk.subarray(from, to)])
    this.giveRoomBack()
    this.own(whole, whole.length)
  }

  keep(): void {
    const { unreadBytes } = this
    if (!this.isLent || unreadBytes === 0) return
    this.isLent = false
    const rest = this.chunk.subarray(this.at, this.end)
    if (unreadBytes <= KEPT_BYTES || unreadBytes > ROOM_BYTES) return this.own(Buffer.from(rest), unreadBytes)
    this.room = rooms.pop() ?? Buffer.allocUnsafeSlow(ROOM_BYTES)
    this.room.set(rest)
    this.own(this.room, unreadBytes)
  }

  forget(): void {
    this.own(NOTHING, 0)
    this.giveRoomBack()
  }

  private own(chunk: Uint8Array, bytes: number): void {
    this.chunk = chunk
    this.at = 0
    this.end = bytes
  }

  private giveRoomBack(): void {
    if (this.room === null) return
    if (rooms.length < MOST_ROOMS) rooms.push(this.room)
    this.room = null
  }

  next(message: Message): Decoded {
    if (this.heldBytes > 0) return this.nextHeld(message)
    const chunk = this.chunk, at = this.at, left = this.end - at
    if (left >= HEADER_BYTES) {
      const bytes = HEADER_BYTES + u16(chunk, at + 2)
      if (bytes > HEADER_BYTES + this.maxPayloadBytes) return this.broken(chunk, at, message)
      if (bytes <= left) {
        this.at = at + bytes
        return decodeMessage(chunk, at, at + bytes, message, this.fault)
      }
    }
    this.take(left)
    this.forget()
    return MORE
  }

  private nextHeld(message: Message): Decoded {
    if (this.heldBytes < HEADER_BYTES) {
      this.take(Math.min(HEADER_BYTES - this.heldBytes, this.unreadBytes))
      if (this.heldBytes < HEADER_BYTES) return this.more()
    }
    const bytes = HEADER_BYTES + u16(this.held, 2)
    if (bytes > HEADER_BYTES + this.maxPayloadBytes) return this.broken(this.held, 0, message)
    this.take(Math.min(bytes - this.heldBytes, this.unreadBytes))
    if (this.heldBytes < bytes) return this.more()
    const held = this.held
    this.heldBytes = 0
    if (held.length > KEPT_BYTES) this.held = NOTHING
    return decodeMessage(held, 0, bytes, message, this.fault)
  }

  private more(): typeof MORE {
    this.forget()
    return MORE
  }

  /** Moves octets of the chunk behind what is held. */
  private take(bytes: number): void {
    if (bytes === 0) return
    const wanted = this.heldBytes + bytes
    if (wanted > this.held.length) {
      const room = Math.max(FIRST_BYTES, 2 * this.held.length, wanted)
      const grown = Buffer.allocUnsafeSlow(Math.min(room, HEADER_BYTES + this.maxPayloadBytes))
      grown.set(this.held.subarray(0, this.heldBytes))
      this.held = grown
    }
    this.held.set(this.chunk.subarray(this.at, this.at + bytes), this.heldBytes)
    this.heldBytes = wanted
    this.at += bytes
  }

  private broken(b: Uint8Array, off: number, message: Message): typeof BROKEN {
    message.type = u16(b, off)
    message.tid = u32(b, off + 4)
    message.present = 0
    bad(this.fault, BFM, 2, 'payload-too-long')
    return BROKEN
  }
}

/** @param maxPayloadBytes 8..65,528: MAX_PAYLOAD_BYTES, or MAX_OPENING_PAYLOAD_BYTES before a session is open */
export function createDecoder(maxPayloadBytes = MAX_PAYLOAD_BYTES): Decoder { return new StreamDecoder(maxPayloadBytes) }

/** Octets of a tuple's value. */
export function tupleBytes(tuple: WireTuple): number {
  return tuple.form === PROTOCOLS_ONLY ? PROTOCOLS_ONLY_BYTES : PORTS_BYTES + tuple.addressBytes
}

function writeTuple(v: DataView, at: number, tuple: WireTuple): number {
  const bytes = tupleBytes(tuple)
  v.setInt32(at, TUPLE << 16 | bytes)
  v.setInt32(at + 4, tuple.form << 28 | tuple.version << 24 | tuple.prefixBits << 16 | tuple.protocol << 8 | tuple.location)
  if (tuple.form === FULL) {
    v.setInt32(at + 8, tuple.port << 16 | tuple.range)
    v.setInt32(at + 12, tuple.word0)
    if (tuple.addressBytes === 16) {
      v.setInt32(at + 16, tuple.word1)
      v.setInt32(at + 20, tuple.word2)
      v.setInt32(at + 24, tuple.word3)
    }
  }
  return at + ATTRIBUTE_HEADER_BYTES + bytes
}

function writeWord(v: DataView, at: number, attribute: number, value: number): number {
  v.setInt32(at, attribute << 16 | 4)
  v.setInt32(at + 4, value)
  return at + 8
}

function writeBytes(out: Output, at: number, attribute: number, value: Uint8Array): number {
  out.view.setInt32(at, attribute << 16 | value.length)
  out.bytes.set(value, at + ATTRIBUTE_HEADER_BYTES)
  return at + ATTRIBUTE_HEADER_BYTES + value.length
}

/** A header alone: most failures, and the replies that say nothing more. */
export function encodeHeader(out: Output, type: number, tid: number): void {
  ensure(out, HEADER_BYTES)
  out.view.setInt32(out.end, type << 16)
  out.view.setInt32(out.end + 4, tid)
  out.end += HEADER_BYTES
}

/** ARE: what other agents do is told to many, so its octets are written at once. */
export const EVENT_BYTES = HEADER_BYTES + 2 * 8

/** Appends an ARE (RFC 4540 5.3.19). */
export function encodeEvent(out: Output, tid: number, pid: number, lifetimeSec: number): void {
  ensure(out, EVENT_BYTES)
  const { view, end } = out
  view.setInt32(end, ARE << 16 | EVENT_BYTES - HEADER_BYTES)
  view.setInt32(end + 4, tid)
  out.end = writeWord(view, writeWord(view, end + HEADER_BYTES, PID, pid), LIFETIME, lifetimeSec)
}

/** What a message can take that holds neither byte strings nor a list. */
const MAX_FIXED_BYTES = HEADER_BYTES + 5 * 8 + 4 * (ATTRIBUTE_HEADER_BYTES + MAX_TUPLE_BYTES)

/**
 * Appends a message. Values that do not fit their fields are a mistake of the caller.
 * @throws RangeError if the type is unknown, a byte string is too long, or the whole is above 65,536 octets; `out.end` then stays
 */
export function encode(out: Output, message: Message): void {
  const steps = STEPS[message.type]
  if (steps === undefined) throw new RangeError('no such SIMCO message: ' + message.type)
  const { challenge, token, owner, pids } = message
  if (challenge.length > MAX_CHALLENGE_BYTES || token.length > MAX_CHALLENGE_BYTES || owner.length > MAX_OWNER_BYTES) {
    throw new RangeError('a byte string is too long for its SIMCO attribute')
  }
  ensure(out, MAX_FIXED_BYTES + challenge.length + token.length + owner.length + 12 + 8 * pids.length)
  const v = out.view, start = out.end
  let at = start + HEADER_BYTES
  for (let i = 0; i < steps.length; i++) {
    const { attribute, location, optional, repeated } = steps[i]!
    if (optional && !repeated && (message.present & (attribute === TUPLE ? tupleBit(location) : 1 << attribute)) === 0) continue
    switch (attribute) {
      case TUPLE: at = writeTuple(v, at, message.tuples[location as 0]); break
      case PID:
        if (repeated) for (let n = 0; n < pids.length; n++) at = writeWord(v, at, PID, pids[n]!)
        else at = writeWord(v, at, PID, message.pid)
        break
      case LIFETIME: at = writeWord(v, at, LIFETIME, message.lifetimeSec); break
      case GID: at = writeWord(v, at, GID, message.gid); break
      case PER_SET: at = writeWord(v, at, PER_SET, message.perSet); break
      case PRR_SET: at = writeWord(v, at, PRR_SET, message.prrSet); break
      case VERSION: at = writeWord(v, at, VERSION, message.version); break
      case CAPABILITIES:
        v.setInt32(at, CAPABILITIES << 16 | 8)
        v.setInt32(at + 4, message.capabilities)
        v.setInt32(at + 8, message.maxLifetimeSec)
        at += 12
        break
      case CHALLENGE: at = writeBytes(out, at, CHALLENGE, challenge); break
      case TOKEN: at = writeBytes(out, at, TOKEN, token); break
      case OWNER: at = writeBytes(out, at, OWNER, owner); break
    }
  }
  const payloadBytes = at - start - HEADER_BYTES
  if (payloadBytes > MAX_PAYLOAD_BYTES) throw new RangeError('a SIMCO message of more than 65,536 octets')
  v.setInt32(start, message.type << 16 | payloadBytes)
  v.setInt32(start + 4, message.tid)
  out.end = at
}
