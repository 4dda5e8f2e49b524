/** UDP header (RFC 768), in place; also UDP-Lite (RFC 3828), whose third word is a coverage instead of a length. */
export const HEADER_BYTES = 8
export const DST_PORT = 2, LENGTH = 4, CHECKSUM = 6

export function srcPort(v: DataView, off: number): number { return v.getUint16(off) }
export function dstPort(v: DataView, off: number): number { return v.getUint16(off + DST_PORT) }
export function length(v: DataView, off: number): number { return v.getUint16(off + LENGTH) }
/** 0 means that the sender computed none, which IPv6 forbids (RFC 8200 8.1). */
export function checksum(v: DataView, off: number): number { return v.getUint16(off + CHECKSUM) }
export function setSrcPort(v: DataView, off: number, port: number): void { v.setUint16(off, port) }
export function setDstPort(v: DataView, off: number, port: number): void { v.setUint16(off + DST_PORT, port) }
export function setChecksum(v: DataView, off: number, sum: number): void { v.setUint16(off + CHECKSUM, sum) }
