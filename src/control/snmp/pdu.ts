/** Scoped PDUs (RFC 3412 6, RFC 3416 3): the part of a message that says what is asked. */
import { SEQUENCE, type Reader, type Writer } from './ber.ts'
import { INTEGER, OCTETS, type Varbind } from './mib.ts'

export const GET = 0xa0, GET_NEXT = 0xa1, RESPONSE = 0xa2, SET = 0xa3, GET_BULK = 0xa5, INFORM = 0xa6, TRAP = 0xa7, REPORT = 0xa8

const MAX_INT = 0x7fff_ffff

export interface Pdu {
  type: number
  requestId: number
  /** error-status, or the non-repeaters of GETBULK. */
  first: number
  /** error-index, or the max-repetitions of GETBULK. */
  second: number
  varbinds: Varbind[]
  /** There were more varbinds than the limit; those beyond it were passed over. */
  isCut: boolean
}

export interface ScopedPdu extends Pdu {
  contextEngineId: Uint8Array
  contextName: Uint8Array
}

/** null: these octets are no scoped PDU, and `reader.fault` says why. Octets behind it are padding. */
export function readScopedPdu(reader: Reader, mostVarbinds: number): ScopedPdu | null {
  const outer = reader.enter(SEQUENCE)
  // Of any length: what is no SnmpEngineID or SnmpAdminString names nothing here, and is answered so (RFC 3412 6.6).
  const contextEngineId = reader.octets(OCTETS, 0, MAX_INT), contextName = reader.octets(OCTETS, 0, MAX_INT)
  const type = reader.peek()
  if (type < GET || type > REPORT) reader.fail(`no PDU has tag ${type}`)
  const inPdu = reader.enter(type)
  const requestId = reader.integer(INTEGER, -MAX_INT - 1, MAX_INT)
  const first = reader.integer(INTEGER, -MAX_INT - 1, MAX_INT), second = reader.integer(INTEGER, -MAX_INT - 1, MAX_INT)
  const inList = reader.enter(SEQUENCE), varbinds: Varbind[] = []
  let isCut = false
  while (!reader.isAtEnd) {
    const inVarbind = reader.enter(SEQUENCE)
    const name = reader.oid(), value = reader.value()
    reader.leave(inVarbind)
    if (varbinds.length < mostVarbinds) varbinds.push({ name, value })
    else isCut = true
  }
  reader.leave(inList)
  reader.leave(inPdu)
  reader.leave(outer)
  return reader.fault === null ? { contextEngineId, contextName, type, requestId, first, second, varbinds, isCut } : null
}

/** The request-id of a PDU that may be cut short or worse, or 0: for reports (RFC 3412 7.1 3c). */
export function readRequestId(reader: Reader): number {
  reader.enter(SEQUENCE)
  reader.octets(OCTETS, 0, MAX_INT)
  reader.octets(OCTETS, 0, MAX_INT)
  reader.enter(reader.peek())
  return reader.integer(INTEGER, -MAX_INT - 1, MAX_INT)
}

/** Puts what surrounds them before the varbinds that `writer` holds. */
export function wrapScopedPdu(
  writer: Writer, type: number, requestId: number, first: number, second: number,
  contextEngineId: Uint8Array, contextName: Uint8Array,
): void {
  writer.wrap(SEQUENCE)
  writer.integerBefore(second)
  writer.integerBefore(first)
  writer.integerBefore(requestId)
  writer.wrap(type)
  writer.octetsBefore(contextName)
  writer.octetsBefore(contextEngineId)
  writer.wrap(SEQUENCE)
}
