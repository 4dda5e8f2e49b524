/** The record of a flow: 64 bytes, a cache line, in words of 32 bits; flows.ts says what it is for. */
export const FLOW_BITS = 4
export const FLOW_WORDS = 1 << FLOW_BITS
// The two faces of a flow lie side by side: a direction (0 out, 1 in) selects the face it arrives at by adding itself, the one it
// leaves by adding its complement. So the packet path serves both directions by the same instructions.
// IPv4
export const INSIDE = 0, OUTSIDE = 1, PEER = 2
/** Checksum deltas of the way out: IPv4 header << 16 | transport. Their complements serve the way in. */
export const DELTA = 3
export const RING_NEXT = 4, RING_PREV = 5
export const MAPPING_CHAIN = 6, PEER_CHAIN = 7
// IPv6: 0–3 inside address, 4–7 peer address.
export const INSIDE6 = 0, PEER6 = 4
// Both
/** Inside port << 16 | peer port; both 0 for protocols without ports. */
export const PORTS = 8
/** IPv4: outside port << 16 | peer port. */
export const OUTSIDE_PORTS = 9
/** Version << 24 | protocol << 16 | state << 8 | flags. The high half is part of the key; for the state see tcp-state.ts. */
export const KIND = 10
export const DEADLINE = 11
export const WHEEL_PREV = 13
export const WHEEL_NEXT = 12
// IPv4
export const PEER_NEXT = 14, PEER_PREV = 15

/** Flags in KIND. */
export const MAPPED = 1, HAIRPIN = 2, MAPPING_HEAD = 4, PEER_HEAD = 8
/** A rule admitted a direction of it; a direction is blocked (BLOCK_OUT << direction); the inside sees A1 for its peer. */
export const RULED = 16, BLOCK_OUT = 32, BLOCK_IN = 64, TWICE = 128
