/**
 * Flags of a segment that no TCP connection has (RFC 9293 3.10.7): every segment but the first and a reset carries ACK, and SYN,
 * FIN and RST never come together. Scanners and fingerprinters send them. ECE, CWR, PSH and URG say nothing about the connection.
 */
import { reasonIndex } from '../channel/reasons.ts'
import { ACK_FLAG, FIN, PSH, RST, SYN, URG } from '../wire/tcp.ts'

const NULL = reasonIndex('tcp-null'), XMAS = reasonIndex('tcp-xmas')
const SYN_FIN = reasonIndex('tcp-syn-fin'), SYN_RST = reasonIndex('tcp-syn-rst'), FIN_RST = reasonIndex('tcp-fin-rst')
const FIN_WITHOUT_ACK = reasonIndex('tcp-fin-without-ack')

/** Reason to drop a segment with this flags byte, or -1. */
export function judgeFlags(flags: number): number {
  if ((flags & (SYN | ACK_FLAG | FIN | RST)) === 0) return NULL
  if ((flags & (SYN | FIN)) === (SYN | FIN)) return SYN_FIN
  if ((flags & (SYN | RST)) === (SYN | RST)) return SYN_RST
  if ((flags & (FIN | RST)) === (FIN | RST)) return FIN_RST
  if ((flags & (FIN | ACK_FLAG)) !== FIN) return -1
  return (flags & (PSH | URG)) === (PSH | URG) ? XMAS : FIN_WITHOUT_ACK
}

/** Bit n: the low five flags n are impossible, whatever the others are. A shift by the flags byte asks it. */
export const BAD_FLAGS = Array.from({ length: 32 }, (_, flags) => judgeFlags(flags) >= 0 ? 1 << flags : 0)
  .reduce((bits, bit) => bits | bit, 0)
