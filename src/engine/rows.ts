/**
 * What the first look at a packet found, one column each, indexed by its row in the batch. The look-ahead fills them; the
 * decision reads them. A packet that is changed in between (a replay plays the outside world) is looked at again.
 */

/** The path a packet takes. */
export const PATH_DROP = 0
/** TTL or hop limit spent. */
export const PATH_EXPIRED = 1
/** IPv4 UDP or TCP through the NAT: from inside, or from outside to an outside address. */
export const PATH_4 = 2
/** The same for ICMP queries and for protocols without ports. */
export const PATH_4_OTHER = 3
/** IPv4 past the NAT: there is none, or from outside to an address that is not one of ours. */
export const PATH_4_PLAIN = 4
export const PATH_4_ERROR = 5
export const PATH_6 = 6
export const PATH_6_ERROR = 7
/** A fragment after the first. */
export const PATH_LATER = 8
/** No row takes it. */
export const NO_PATH = -1
/** Added to the path of a first fragment. */
export const FIRST_FRAGMENT = 16
/** Added to the path of a packet that needs more once its way is known (egress.ts). */
export const EGRESS = 32

export interface Rows {
  readonly path: Uint8Array
  /** IPv4: the end on our side as the packet names it (source from inside, destination from outside), and the other one. */
  readonly local: Int32Array
  readonly peer: Int32Array
  /** Local port << 16 | peer port; the identifier of an ICMP query is its local port. */
  readonly ports: Int32Array
  /** Version << 8 | protocol. */
  readonly kind: Int32Array
  /** Offset of the transport header. */
  readonly l4: Int32Array
  /** TTL << 24 | protocol << 16 | checksum: the third word of an IPv4 header. */
  readonly word2: Int32Array
  /** Where in `Flows.places` the flow is looked for, and the tag its entry there would have. */
  readonly place: Int32Array
  readonly tag: Int32Array
  /** IPv6: the five-tuple hash seen from inside. */
  readonly hash: Int32Array
  /** Offset of an IPv6 fragment header, where there is one. */
  readonly fragment: Int32Array
  /** Slot that is probably the flow, or 0. Never believed before its key was compared. */
  readonly hint: Int32Array
}

export function createRows(capacity: number): Rows {
  const column = () => new Int32Array(capacity)
  return {
    path: new Uint8Array(capacity), local: column(), peer: column(), ports: column(), kind: column(), l4: column(),
    word2: column(), place: column(), tag: column(), hash: column(), fragment: column(), hint: column(),
  }
}
