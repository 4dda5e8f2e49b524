/**
 * What the first look at a packet found, one column each, indexed by its row in the batch. The look-ahead fills them; the
 * decision reads them. A packet that is changed in between (a replay plays the outside world) is looked at again.
 */

/** The path a packet takes. */
export const PATH_DROP = 0
/** TTL or hop limit spent. */
export const PATH_EXPIRED = 1
/** IPv4 by its five-tuple. */
export const PATH_4 = 2
/** IPv4 from outside to an outside endpoint: `hash` is its place in the port table. */
export const PATH_4_OWNER = 3
/** IPv4 from outside to an outside address, by a protocol without ports. */
export const PATH_4_PEER = 4
export const PATH_4_ERROR = 5
export const PATH_6 = 6
export const PATH_6_ERROR = 7
/** A fragment after the first. */
export const PATH_LATER = 8
/** Added to the path of a first fragment. */
export const FIRST_FRAGMENT = 16

export interface Rows {
  readonly path: Uint8Array
  /** IPv4 addresses as in the packet. */
  readonly src: Int32Array
  readonly dst: Int32Array
  /** Source port << 16 | destination port as in the packet; an ICMP query has its identifier at its inside end. */
  readonly ports: Int32Array
  /** Version << 8 | protocol. */
  readonly kind: Int32Array
  /** Offset of the transport header. */
  readonly l4: Int32Array
  /** TTL << 24 | protocol << 16 | checksum: the third word of an IPv4 header. */
  readonly word2: Int32Array
  /** Five-tuple hash seen from inside; for packets to an outside address the index into the port table instead. */
  readonly hash: Int32Array
  /** Offset of an IPv6 fragment header, where there is one. */
  readonly fragment: Int32Array
  /** Slot that is probably the flow, or 0. Never believed before its key was compared. */
  readonly hint: Int32Array
}

export function createRows(capacity: number): Rows {
  const column = () => new Int32Array(capacity)
  return {
    path: new Uint8Array(capacity), src: column(), dst: column(), ports: column(), kind: column(), l4: column(),
    word2: column(), hash: column(), fragment: column(), hint: column(),
  }
}
