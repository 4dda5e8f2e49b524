/** ICMP (RFC 792) and ICMPv6 (RFC 4443) headers, in place: both are type, code, checksum and one word. */
export const HEADER_BYTES = 8
export const CODE = 1, CHECKSUM = 2, ID = 4, SEQUENCE = 6

export const ECHO_REPLY = 0, UNREACHABLE = 3, REDIRECT = 5, ECHO_REQUEST = 8, TIME_EXCEEDED = 11
export const PARAMETER_PROBLEM = 12, TIMESTAMP_REQUEST = 13, TIMESTAMP_REPLY = 14
/** Codes of UNREACHABLE. */
export const HOST_UNREACHABLE = 1, PORT_UNREACHABLE = 3, FRAGMENTATION_NEEDED = 4, ADMINISTRATIVELY_PROHIBITED = 13

export const V6_UNREACHABLE = 1, V6_TOO_BIG = 2, V6_TIME_EXCEEDED = 3, V6_PARAMETER_PROBLEM = 4
export const V6_ECHO_REQUEST = 128, V6_ECHO_REPLY = 129, V6_REDIRECT = 137
export const V6_HOME_AGENT_REQUEST = 144, V6_MOBILE_PREFIX_ADVERTISEMENT = 147
/** Codes of V6_UNREACHABLE. */
export const V6_NO_ROUTE = 0, V6_ADMINISTRATIVELY_PROHIBITED = 1, V6_ADDRESS_UNREACHABLE = 3, V6_SOURCE_POLICY = 5

export function type(v: DataView, off: number): number { return v.getUint8(off) }
export function code(v: DataView, off: number): number { return v.getUint8(off + CODE) }
export function checksum(v: DataView, off: number): number { return v.getUint16(off + CHECKSUM) }
export function id(v: DataView, off: number): number { return v.getUint16(off + ID) }
export function setChecksum(v: DataView, off: number, sum: number): void { v.setUint16(off + CHECKSUM, sum) }
export function setId(v: DataView, off: number, value: number): void { v.setUint16(off + ID, value) }
