/** Columns of midcomRuleTable: what may be written to each (RFC 5190 9, RFC 3416 4.2.5), and how each is read. */
import {
  INTEGER, OCTETS, UNSIGNED32, WRONG_LENGTH, WRONG_TYPE, WRONG_VALUE, integer, octets, text, unsigned32, type Value,
} from '../mib.ts'
import {
  ADMIN_STATUS, ENABLED, ERROR, EXTERNAL_IP_ADDR, EXTERNAL_IP_PREFIX_LENGTH, EXTERNAL_IP_VERSION, EXTERNAL_PORT, FLOW_DIRECTION,
  INSIDE_IP_ADDR, INSIDE_PORT, INTERFACE, INTERNAL_IP_ADDR, INTERNAL_IP_PREFIX_LENGTH, INTERNAL_IP_VERSION, INTERNAL_PORT, LIFETIME,
  MAX_IDLE_TIME, NEW_ENTRY, OPER_STATUS, OUTSIDE_IP_ADDR, OUTSIDE_PORT, PORT_RANGE, RESERVED, ROW_STATUS, SETTING, STORAGE_TIME,
  STORAGE_TYPE, TRANSPORT_PROTOCOL, isEstablished, isOver,
} from './objects.ts'
import type { Granted, Row, Wanted } from './rows.ts'

const MOST = 0xffff_ffff
const ALWAYS: readonly number[] = []
const BEFORE = [NEW_ENTRY, SETTING], BEFORE_ENABLED = [...BEFORE, RESERVED], UNTIL_OVER = [...BEFORE_ENABLED, ENABLED]

interface Writable {
  tag: typeof INTEGER | typeof UNSIGNED32 | typeof OCTETS
  /** Of numbers; of octets how many. */
  low: number
  high: number
  /** States of midcomRuleOperStatus in which it is written; none: in all. */
  states: readonly number[]
}

function column(tag: Writable['tag'], low: number, high: number, states: readonly number[]): Writable {
  return { tag, low, high, states }
}

const WRITABLE: ReadonlyMap<number, Writable> = new Map([
  [ADMIN_STATUS, column(INTEGER, 1, 3, ALWAYS)],
  [STORAGE_TYPE, column(INTEGER, 1, 5, ALWAYS)],
  [STORAGE_TIME, column(UNSIGNED32, 0, MOST, ALWAYS)],
  [INTERFACE, column(INTEGER, 0, 0x7fff_ffff, BEFORE)],
  [FLOW_DIRECTION, column(INTEGER, 1, 3, BEFORE_ENABLED)],
  [MAX_IDLE_TIME, column(UNSIGNED32, 0, MOST, BEFORE_ENABLED)],
  [TRANSPORT_PROTOCOL, column(UNSIGNED32, 0, 255, BEFORE)],
  // The object says "1, 2" and, of errors, "1, 2, 7": what is reserved is one port or two already.
  [PORT_RANGE, column(INTEGER, 1, 2, BEFORE)],
  [INTERNAL_IP_VERSION, column(INTEGER, 1, 4, BEFORE)],
  [EXTERNAL_IP_VERSION, column(INTEGER, 1, 2, BEFORE)],
  [INTERNAL_IP_ADDR, column(OCTETS, 0, 255, BEFORE)],
  [INTERNAL_IP_PREFIX_LENGTH, column(UNSIGNED32, 0, 2040, BEFORE)],
  [INTERNAL_PORT, column(UNSIGNED32, 0, 65_535, BEFORE)],
  [EXTERNAL_IP_ADDR, column(OCTETS, 0, 255, BEFORE_ENABLED)],
  [EXTERNAL_IP_PREFIX_LENGTH, column(UNSIGNED32, 0, 2040, BEFORE_ENABLED)],
  [EXTERNAL_PORT, column(UNSIGNED32, 0, 65_535, BEFORE_ENABLED)],
  [LIFETIME, column(UNSIGNED32, 0, MOST, UNTIL_OVER)],
  [ROW_STATUS, column(INTEGER, 1, 6, ALWAYS)],
])
const NOT_READY = 3

/** Columns that there are and can be read, in order. */
export const COLUMNS = Array.from({ length: ROW_STATUS - ADMIN_STATUS + 1 }, (_, i) => ADMIN_STATUS + i)

export function isWritable(id: number): boolean { return WRITABLE.has(id) }
export function isWritableIn(id: number, state: number): boolean {
  const { states } = WRITABLE.get(id)!
  return states.length === 0 || states.includes(state)
}

/** error-status of a value for this column, or 0. */
export function checkValue(id: number, value: Value): number {
  const { tag, low, high } = WRITABLE.get(id)!
  if (value.tag !== tag) return WRONG_TYPE
  if (value.tag === OCTETS) return value.value.length > high ? WRONG_LENGTH : 0
  const number = value.value as number
  return number < low || number > high || (id === ROW_STATUS && number === NOT_READY) ? WRONG_VALUE : 0
}

/** What a column asks for, in place of what was asked for before. Octets are copied. */
export function write(wanted: Wanted, id: number, value: Value): Wanted {
  const number = typeof value.value === 'number' ? value.value : 0
  switch (id) {
    case INTERFACE: return { ...wanted, interface: number }
    case FLOW_DIRECTION: return { ...wanted, direction: number }
    case MAX_IDLE_TIME: return { ...wanted, maxIdleSec: number }
    case TRANSPORT_PROTOCOL: return { ...wanted, protocol: number }
    case PORT_RANGE: return { ...wanted, portRange: number }
    case INTERNAL_IP_VERSION: return { ...wanted, internalVersion: number }
    case EXTERNAL_IP_VERSION: return { ...wanted, externalVersion: number }
    case INTERNAL_IP_ADDR: return { ...wanted, internalAddress: Uint8Array.from(value.value as Uint8Array) }
    case INTERNAL_IP_PREFIX_LENGTH: return { ...wanted, internalPrefix: number }
    case INTERNAL_PORT: return { ...wanted, internalPort: number }
    case EXTERNAL_IP_ADDR: return { ...wanted, externalAddress: Uint8Array.from(value.value as Uint8Array) }
    case EXTERNAL_IP_PREFIX_LENGTH: return { ...wanted, externalPrefix: number }
    case EXTERNAL_PORT: return { ...wanted, externalPort: number }
    case LIFETIME: return { ...wanted, lifetimeSec: number }
    default: return wanted
  }
}

const NOTHING: Granted = {
  insideAddress: new Uint8Array(0), insidePort: 0, outsideAddress: new Uint8Array(0), outsidePort: 0, interface: 0,
}

/** Value of a column. `leftSec`: what is left of the row's rule; `nowMs` on the clock of the box. */
export function read(row: Row, id: number, leftSec: number, nowMs: number): Value {
  const { wanted } = row, granted = row.granted ?? NOTHING
  switch (id) {
    case ADMIN_STATUS: return integer(row.adminStatus)
    case OPER_STATUS: return integer(row.operStatus)
    case STORAGE_TYPE: return integer(row.storageType)
    // It counts down from when the row is over (RFC 5190 midcomRuleStorageTime).
    case STORAGE_TIME: {
      return unsigned32(isOver(row.operStatus) ? Math.max(0, Math.ceil((row.removeAtMs - nowMs) / 1000)) : row.storageTimeSec)
    }
    case ERROR: return text(row.error)
    case INTERFACE: return integer(row.granted === null ? wanted.interface : granted.interface)
    case FLOW_DIRECTION: return integer(wanted.direction)
    case MAX_IDLE_TIME: return unsigned32(wanted.maxIdleSec)
    case TRANSPORT_PROTOCOL: return unsigned32(wanted.protocol)
    case PORT_RANGE: return integer(wanted.portRange)
    case INTERNAL_IP_VERSION: return integer(wanted.internalVersion)
    case EXTERNAL_IP_VERSION: return integer(wanted.externalVersion)
    case INTERNAL_IP_ADDR: return octets(wanted.internalAddress)
    case INTERNAL_IP_PREFIX_LENGTH: return unsigned32(wanted.internalPrefix)
    case INTERNAL_PORT: return unsigned32(wanted.internalPort)
    case EXTERNAL_IP_ADDR: return octets(wanted.externalAddress)
    case EXTERNAL_IP_PREFIX_LENGTH: return unsigned32(wanted.externalPrefix)
    case EXTERNAL_PORT: return unsigned32(wanted.externalPort)
    case INSIDE_IP_ADDR: return octets(granted.insideAddress)
    case INSIDE_PORT: return unsigned32(granted.insidePort)
    case OUTSIDE_IP_ADDR: return octets(granted.outsideAddress)
    case OUTSIDE_PORT: return unsigned32(granted.outsidePort)
    case LIFETIME: return unsigned32(isEstablished(row.operStatus) ? leftSec : isOver(row.operStatus) ? 0 : wanted.lifetimeSec)
    default: return integer(row.rowStatus)
  }
}
