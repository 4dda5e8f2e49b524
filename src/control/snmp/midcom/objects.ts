/** Names and numbers of the MIDCOM-MIB (RFC 5190 9). */
import type { Oid } from '../oid.ts'

export const MIDCOM_MIB: Oid = [1, 3, 6, 1, 2, 1, 171]
export const UNSOLICITED_RULE_EVENT: Oid = [...MIDCOM_MIB, 0, 1]
export const SOLICITED_RULE_EVENT: Oid = [...MIDCOM_MIB, 0, 2]
export const SOLICITED_GROUP_EVENT: Oid = [...MIDCOM_MIB, 0, 3]
export const RULE_ENTRY: Oid = [...MIDCOM_MIB, 1, 1, 3, 1]
export const GROUP_ENTRY: Oid = [...MIDCOM_MIB, 1, 1, 4, 1]
export const CONFIG: Oid = [...MIDCOM_MIB, 1, 2]
export const RESOURCE_ENTRY: Oid = [...MIDCOM_MIB, 1, 3, 1, 1]
export const STATISTICS: Oid = [...MIDCOM_MIB, 1, 3, 2]

/* Columns of midcomRuleTable. */
export const ADMIN_STATUS = 4, OPER_STATUS = 5, STORAGE_TYPE = 6, STORAGE_TIME = 7, ERROR = 8, INTERFACE = 9, FLOW_DIRECTION = 10,
  MAX_IDLE_TIME = 11, TRANSPORT_PROTOCOL = 12, PORT_RANGE = 13, INTERNAL_IP_VERSION = 14, EXTERNAL_IP_VERSION = 15,
  INTERNAL_IP_ADDR = 16, INTERNAL_IP_PREFIX_LENGTH = 17, INTERNAL_PORT = 18, EXTERNAL_IP_ADDR = 19,
  EXTERNAL_IP_PREFIX_LENGTH = 20, EXTERNAL_PORT = 21, INSIDE_IP_ADDR = 22, INSIDE_PORT = 23, OUTSIDE_IP_ADDR = 24,
  OUTSIDE_PORT = 25, LIFETIME = 26, ROW_STATUS = 27
/** Of midcomGroupTable. */
export const GROUP_LIFETIME = 3

/* midcomRuleAdminStatus. */
export const RESERVE = 1, ENABLE = 2, NOT_SET = 3

/* midcomRuleOperStatus. */
export const NEW_ENTRY = 1, SETTING = 2, CHECKING_REQUEST = 3, INCORRECT_REQUEST = 4, PROCESSING_REQUEST = 5, REQUEST_REJECTED = 6,
  RESERVED = 7, ENABLED = 8, TIMED_OUT = 9, TERMINATED_ON_REQUEST = 10, TERMINATED = 11, GENERIC_ERROR = 12
export const STATES = 12

/* StorageType and RowStatus (RFC 2579). */
export const VOLATILE = 2, NON_VOLATILE = 3
export const ACTIVE = 1, NOT_IN_SERVICE = 2, NOT_READY = 3, CREATE_AND_GO = 4, CREATE_AND_WAIT = 5, DESTROY = 6

/* InetAddressType (RFC 4001). */
export const UNKNOWN_TYPE = 0, IPV4 = 1, IPV6 = 2, IPV4Z = 3, IPV6Z = 4

export const SINGLE = 1, PAIR = 2

/** The box has two interfaces; it translates at the outside one. */
export const INSIDE_IF = 1, OUTSIDE_IF = 2

export function isInitial(state: number): boolean { return state === NEW_ENTRY || state === SETTING }
export function isEstablished(state: number): boolean { return state === RESERVED || state === ENABLED }
/** An error or termination state: the row is only there to be read until its StorageTime is over. */
export function isOver(state: number): boolean {
  return state === INCORRECT_REQUEST || state === REQUEST_REJECTED || state >= TIMED_OUT
}
