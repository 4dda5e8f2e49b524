/**
 * ARP (RFC 826), in place. After `check`, no accessor reads past `end`. Only the form for Ethernet and IPv4 has a
 * value: no other is answered, or printed in full.
 */
import { print4 } from '../base/address.ts'
import { ADDRESS_BYTES, printMac } from './ethernet.ts'

export const HEADER_BYTES = 8
/** Of a packet for Ethernet and IPv4. */
export const PACKET_BYTES = 28
const PROTOCOL = 2, HARDWARE_BYTES = 4, PROTOCOL_BYTES = 5, OPERATION = 6
export const SENDER_MAC = 8
const SENDER_ADDR = 14, TARGET_MAC = 18, TARGET_ADDR = 24
export const REQUEST = 1, REPLY = 2

/** Bytes of the packet by its own address lengths, or 0 if it is cut short. */
export function check(v: DataView, off: number, end: number): number {
  if (end - off < HEADER_BYTES) return 0
  const bytes = HEADER_BYTES + 2 * (hardwareBytes(v, off) + protocolBytes(v, off))
  return bytes > end - off ? 0 : bytes
}

export function hardware(v: DataView, off: number): number { return v.getUint16(off) }
/** An ethertype. */
export function protocol(v: DataView, off: number): number { return v.getUint16(off + PROTOCOL) }
export function hardwareBytes(v: DataView, off: number): number { return v.getUint8(off + HARDWARE_BYTES) }
export function protocolBytes(v: DataView, off: number): number { return v.getUint8(off + PROTOCOL_BYTES) }
export function operation(v: DataView, off: number): number { return v.getUint16(off + OPERATION) }

/** Addresses are host-order int32. */
export interface Repr {
  operation: number
  senderMac: readonly number[]
  senderAddr: number
  targetMac: readonly number[]
  targetAddr: number
}

/** `null` when hardware and protocol are not Ethernet and IPv4. */
export function parse(v: DataView, off: number): Repr | null {
  if (hardware(v, off) !== 1 || protocol(v, off) !== 0x0800) return null
  if (hardwareBytes(v, off) !== ADDRESS_BYTES || protocolBytes(v, off) !== 4) return null
  const macAt = (at: number) => Array.from({ length: ADDRESS_BYTES }, (_, i) => v.getUint8(off + at + i))
  return {
    operation: operation(v, off), senderMac: macAt(SENDER_MAC), senderAddr: v.getInt32(off + SENDER_ADDR),
    targetMac: macAt(TARGET_MAC), targetAddr: v.getInt32(off + TARGET_ADDR),
  }
}

/** Returns the bytes written. */
export function emit(repr: Repr, v: DataView, off: number): number {
  v.setUint16(off, 1)
  v.setUint16(off + PROTOCOL, 0x0800)
  v.setUint8(off + HARDWARE_BYTES, ADDRESS_BYTES)
  v.setUint8(off + PROTOCOL_BYTES, 4)
  v.setUint16(off + OPERATION, repr.operation)
  repr.senderMac.forEach((byte, i) => v.setUint8(off + SENDER_MAC + i, byte))
  v.setInt32(off + SENDER_ADDR, repr.senderAddr)
  repr.targetMac.forEach((byte, i) => v.setUint8(off + TARGET_MAC + i, byte))
  v.setInt32(off + TARGET_ADDR, repr.targetAddr)
  return PACKET_BYTES
}

export function print(repr: Repr): string {
  const sender = print4(repr.senderAddr)
  if (repr.operation === REQUEST) return 'Request who-has ' + print4(repr.targetAddr) + ' tell ' + sender
  if (repr.operation === REPLY) return 'Reply ' + sender + ' is-at ' + printMac(repr.senderMac)
  return 'operation ' + repr.operation
}
