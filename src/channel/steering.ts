/**
 * Which of several workers a packet belongs to: numbers of its header in, the number of a worker out. Flows of an inside host, of
 * every peer and protocol with ports, belong to one worker, so that its mappings depend on nothing else (RFC 4787 REQ-1), and each
 * worker maps to outside ports of its own, so that the way back is told by the port alone. The kernel computes the same
 * (app/workers/program.ts), policy and packet path never ask each other.
 */

/** Numbers alone: what is sent to a worker when it starts. */
export interface SteeringOptions {
  /** 1 … 16. */
  workers: number
  /** Outside ports are dealt out in stripes: so many ports each, from that one on, to one worker after the other. */
  stripeBase: number
  stripePorts: number
  /** IPv6 hosts of a /64 stay together. */
  bySubnet: boolean
}

export interface Steering extends SteeringOptions {
  /** Of an inside IPv4 address, host-order int32. */
  ofAddress4(address: number): number
  /** Of an outside port or ICMP identifier. */
  ofPort(port: number): number
  /** Of the datagram whose identification this is, while its owner is not known. */
  ofIdentification(id: number): number
  /**
   * Of an IPv6 address by the sum of its 16-bit words, of the first four or of all eight (`bySubnet`). It is that of the inside
   * address and that of the outside one: translation of prefixes keeps the sum (RFC 6296 2.6).
   */
  ofSum6(sum: number): number
}

/** Well-known ports are enough for a stripe each. */
export const MOST_WORKERS = 16
/** Of which each worker has one in 1 … 1023, and which parity and runs of ports do not notice. */
export const STRIPE_PORTS = 64
/** All bits of a word count for the upper half of its product; that half, times the workers, has a worker in its own upper half. */
export const HASH_FACTOR = 0x9e3779b1
export const HASH_SHIFT = 16
/** Sums in one's complement are alike modulo this. */
export const SUM_MODULUS = 0xffff

export function createSteering(options: SteeringOptions): Steering {
  const { workers, stripeBase, stripePorts } = options
  const ofWord = (word: number) => (Math.imul(word, HASH_FACTOR) >>> HASH_SHIFT) * workers >>> HASH_SHIFT
  return {
    ...options,
    ofAddress4: ofWord, ofIdentification: ofWord,
    ofPort: (port) => Math.floor((port - stripeBase >>> 0) / stripePorts) % workers,
    ofSum6: (sum) => ofWord(sum % SUM_MODULUS),
  }
}
