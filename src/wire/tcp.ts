/** TCP header (RFC 9293), in place. After 20 captured bytes are known to be there, no accessor reads past them. */
export const HEADER_BYTES = 20
export const DST_PORT = 2, SEQ = 4, ACK = 8, DATA_OFFSET = 12, FLAGS = 13, WINDOW = 14, CHECKSUM = 16
export const FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK_FLAG = 16, URG = 32

export function srcPort(v: DataView, off: number): number { return v.getUint16(off) }
export function dstPort(v: DataView, off: number): number { return v.getUint16(off + DST_PORT) }
/** Both ports as one word, source above destination; UDP has them in the same place. */
export function ports(v: DataView, off: number): number { return v.getInt32(off) }
export function seq(v: DataView, off: number): number { return v.getInt32(off + SEQ) }
export function ack(v: DataView, off: number): number { return v.getInt32(off + ACK) }
/** Length of the header in bytes as it states itself, 0 … 60. */
export function headerBytes(v: DataView, off: number): number { return (v.getUint8(off + DATA_OFFSET) >>> 4) << 2 }
export function flags(v: DataView, off: number): number { return v.getUint8(off + FLAGS) }
export function window(v: DataView, off: number): number { return v.getUint16(off + WINDOW) }
export function checksum(v: DataView, off: number): number { return v.getUint16(off + CHECKSUM) }
export function setSrcPort(v: DataView, off: number, port: number): void { v.setUint16(off, port) }
export function setDstPort(v: DataView, off: number, port: number): void { v.setUint16(off + DST_PORT, port) }
export function setChecksum(v: DataView, off: number, sum: number): void { v.setUint16(off + CHECKSUM, sum) }
