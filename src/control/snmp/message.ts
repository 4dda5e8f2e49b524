/**
 * SNMPv3 messages (RFC 3412 6) with the parameters of the user-based security model (RFC 3414 2.4): octets to fields and back.
 * What is inside, encrypted or not, stays where it is.
 */
import { Reader, SEQUENCE, type Writer } from './ber.ts'
import { encrypt, messageMac, SALT_BYTES, type Keys } from './keys.ts'
import { INTEGER, OCTETS } from './mib.ts'

export const AUTH_FLAG = 1, PRIV_FLAG = 2, REPORTABLE_FLAG = 4
export const USM = 3
/** RFC 3412 6.2: everybody must be able to take as much. */
export const MIN_MESSAGE_BYTES = 484
/** What fits a UDP datagram. */
export const MAX_MESSAGE_BYTES = 65_507
export const MAX_INT = 0x7fff_ffff
const VERSION_3 = 3

const MAX_USER_NAME_BYTES = 32, MAX_MAC_BYTES = 64

export interface Message {
  msgId: number
  /** What the sender takes. */
  maxBytes: number
  flags: number
  engineId: Uint8Array
  boots: number
  time: number
  userName: Uint8Array
  /** The MAC: a view, and where it stands in the message. */
  mac: Uint8Array
  macAt: number
  salt: Uint8Array
  /** The scoped PDU, encrypted if the flags say so. */
  scopedPdu: Uint8Array
}

/** Why a message is dropped without a word, by the counter of RFC 3412 or RFC 3418 that tells of it. */
export type MessageFault = 'snmpInASNParseErrs' | 'snmpInBadVersions' | 'snmpUnknownSecurityModels' | 'snmpInvalidMsgs'

const $reader = new Reader()

/** Steps 1 to 8 of RFC 3412 7.2, and step 1 of RFC 3414 3.2. */
export function readMessage(bytes: Uint8Array): Message | MessageFault {
  const reader = $reader
  reader.reset(bytes)
  const outer = reader.enter(SEQUENCE)
  const version = reader.integer(INTEGER, -MAX_INT - 1, MAX_INT)
  if (reader.fault !== null) return 'snmpInASNParseErrs'
  if (version !== VERSION_3) return 'snmpInBadVersions'
  const inHeader = reader.enter(SEQUENCE)
  const msgId = reader.integer(INTEGER, 0, MAX_INT), maxBytes = reader.integer(INTEGER, MIN_MESSAGE_BYTES, MAX_INT)
  const flags = reader.octets(OCTETS, 1, 1)[0] ?? 0
  const securityModel = reader.integer(INTEGER, 1, MAX_INT)
  reader.leave(inHeader)
  if (reader.fault !== null) return 'snmpInASNParseErrs'
  if (securityModel !== USM) return 'snmpUnknownSecurityModels'
  if ((flags & (AUTH_FLAG | PRIV_FLAG)) === PRIV_FLAG) return 'snmpInvalidMsgs'
  const inParameters = reader.enter(OCTETS), inUsm = reader.enter(SEQUENCE)
  // Of any length: an identifier that is none is answered with ours (RFC 3414 3.2 3), and a MAC that is none is a wrong one.
  const engineId = reader.octets(OCTETS, 0, MAX_INT)
  const boots = reader.integer(INTEGER, 0, MAX_INT), time = reader.integer(INTEGER, 0, MAX_INT)
  const userName = reader.octets(OCTETS, 0, MAX_USER_NAME_BYTES)
  const mac = reader.octets(OCTETS, 0, MAX_INT), macAt = reader.at - mac.length
  const salt = reader.octets(OCTETS, 0, MAX_INT)
  reader.leave(inUsm)
  reader.leave(inParameters)
  let scopedPdu: Uint8Array
  if ((flags & PRIV_FLAG) !== 0) scopedPdu = reader.octets(OCTETS, 0, MAX_INT)
  else {
    const { at } = reader, length = reader.header(SEQUENCE)
    reader.at += length
    scopedPdu = bytes.subarray(at, reader.at)
  }
  reader.leave(outer)
  if (reader.fault !== null || !reader.isAtEnd) return 'snmpInASNParseErrs'
  return { msgId, maxBytes, flags, engineId, boots, time, userName, mac, macAt, salt, scopedPdu }
}

/** What surrounds a scoped PDU that is sent. */
export interface Envelope {
  msgId: number
  /** What we take ourselves. */
  maxBytes: number
  flags: number
  engineId: Uint8Array
  boots: number
  time: number
  userName: Uint8Array
  /** null: neither authenticated nor encrypted, whatever the flags say about reports. */
  keys: Keys | null
  /** Used if the flags ask for privacy. */
  salt: Uint8Array
}

const NO_OCTETS: Uint8Array = new Uint8Array(0), NO_MAC: Uint8Array = new Uint8Array(MAX_MAC_BYTES)
const $flags = new Uint8Array(1)

/** Octets that an envelope of that user may take, at most; the header and the lengths included. */
export function envelopeBytes(engineId: Uint8Array, userName: Uint8Array, keys: Keys | null): number {
  return 60 + engineId.length + userName.length + (keys === null ? 0 : keys.auth.macBytes + SALT_BYTES)
}

/** Encrypts and wraps the scoped PDU that `writer` holds, and signs the whole. Returns a copy: the writer may be used again. */
export function sealMessage(writer: Writer, envelope: Envelope): Buffer {
  const { keys, flags, boots, time, salt } = envelope
  const isPrivate = (flags & PRIV_FLAG) !== 0, isAuthentic = (flags & AUTH_FLAG) !== 0
  if (isPrivate) {
    writer.bytes.set(encrypt(keys!, boots, time, salt, writer.bytes.subarray(writer.start, writer.end)), writer.start)
    writer.wrap(OCTETS)
  }
  const behindUsm = writer.start
  writer.octetsBefore(isPrivate ? salt : NO_OCTETS)
  const macBytes = isAuthentic ? keys!.auth.macBytes : 0, macEnd = writer.start
  writer.octetsBefore(NO_MAC.subarray(0, macBytes))
  writer.octetsBefore(envelope.userName)
  writer.integerBefore(time)
  writer.integerBefore(boots)
  writer.octetsBefore(envelope.engineId)
  writer.wrap(SEQUENCE, behindUsm)
  writer.wrap(OCTETS, behindUsm)
  const behindHeader = writer.start
  writer.integerBefore(USM)
  $flags[0] = flags
  writer.octetsBefore($flags)
  writer.integerBefore(envelope.maxBytes)
  writer.integerBefore(envelope.msgId)
  writer.wrap(SEQUENCE, behindHeader)
  writer.integerBefore(VERSION_3)
  writer.wrap(SEQUENCE)
  const message = Buffer.from(writer.bytes.subarray(writer.start, writer.end))
  if (isAuthentic) message.set(messageMac(keys!, message), macEnd - macBytes - writer.start)
  return message
}
