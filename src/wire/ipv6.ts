/**
 * IPv6 header and its extension headers (RFC 8200), in place. Addresses are four int32 words, read one at a time.
 */
export const HEADER_BYTES = 40
export const PAYLOAD_LENGTH = 4, NEXT_HEADER = 6, HOP_LIMIT = 7, SRC = 8, DST = 24

export const HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, ESP = 50, AUTHENTICATION = 51, NO_NEXT = 59, DESTINATION = 60
export const MOBILITY = 135, HIP = 139, SHIM6 = 140

/** Fragment header: next header, reserved, offset<<3 | more, identification. */
export const FRAGMENT_BYTES = 8
export const FRAGMENT_MORE = 1

export function version(v: DataView, off: number): number { return v.getUint8(off) >>> 4 }
export function payloadLength(v: DataView, off: number): number { return v.getUint16(off + PAYLOAD_LENGTH) }
export function nextHeader(v: DataView, off: number): number { return v.getUint8(off + NEXT_HEADER) }
export function hopLimit(v: DataView, off: number): number { return v.getUint8(off + HOP_LIMIT) }
export function setHopLimit(v: DataView, off: number, hops: number): void { v.setUint8(off + HOP_LIMIT, hops) }
/** Word 0 … 3 of the source address. */
export function srcWord(v: DataView, off: number, word: number): number { return v.getInt32(off + SRC + (word << 2)) }
export function dstWord(v: DataView, off: number, word: number): number { return v.getInt32(off + DST + (word << 2)) }

/** Most extension headers in one packet; RFC 8504 5.3 allows a limit. */
export const MAX_EXTENSIONS = 8
export const WALK_OK = 0, WALK_TRUNCATED = 1, WALK_BAD = 2, WALK_ROUTING_0 = 3

/** Where the last walk ended: [offset of the transport header, its protocol, offset of the fragment header or 0]. */
export interface Walk { readonly at: Int32Array }
export const WALK_L4 = 0, WALK_PROTOCOL = 1, WALK_FRAGMENT = 2
export function createWalk(): Walk { return { at: new Int32Array(3) } }

/**
 * Follows the chain from the fixed header at `off` to the transport header. `capEnd` is one past the captured bytes, `netEnd`
 * one past the packet by its own length. Stops at the header after a fragment header whose offset is not zero, because what
 * follows there is payload. A hop-by-hop header anywhere but first is out of place (RFC 8200 4.1).
 */
export function walk(v: DataView, off: number, capEnd: number, netEnd: number, result: Walk): number {
  const at = result.at
  let next = v.getUint8(off + NEXT_HEADER)
  let here = off + HEADER_BYTES
  at[WALK_FRAGMENT] = 0
  for (let count = 0; ; count++) {
    switch (next) {
      case HOP_BY_HOP:
        if (count !== 0) return WALK_BAD
        break
      case ROUTING: case DESTINATION: case MOBILITY: case HIP: case SHIM6: case AUTHENTICATION: case FRAGMENT:
        break
      default:
        at[WALK_L4] = here
        at[WALK_PROTOCOL] = next
        return WALK_OK
    }
    // Mobility and HIP headers carry the packet themselves when nothing follows them: they are matched as protocols.
    if ((next === MOBILITY || next === HIP || next === SHIM6)
      && (here >= Math.min(capEnd, netEnd) || v.getUint8(here) === NO_NEXT)) {
      at[WALK_L4] = here
      at[WALK_PROTOCOL] = next
      return WALK_OK
    }
    if (count === MAX_EXTENSIONS) return WALK_BAD
    if (here + 8 > netEnd) return WALK_BAD
    if (here + 8 > capEnd) return WALK_TRUNCATED
    const following = v.getUint8(here)
    let bytes = (v.getUint8(here + 1) + 1) << 3
    if (next === AUTHENTICATION) bytes = (v.getUint8(here + 1) + 2) << 2
    if (next === FRAGMENT) {
      if (at[WALK_FRAGMENT] !== 0) return WALK_BAD
      bytes = FRAGMENT_BYTES
      at[WALK_FRAGMENT] = here
      if ((v.getUint16(here + 2) & 0xfff8) !== 0) {
        at[WALK_L4] = here + bytes
        at[WALK_PROTOCOL] = following
        return WALK_OK
      }
    }
    if (next === ROUTING && v.getUint8(here + 2) === 0 && v.getUint8(here + 3) !== 0) return WALK_ROUTING_0
    if (here + bytes > netEnd) return WALK_BAD
    if (here + bytes > capEnd) return WALK_TRUNCATED
    here += bytes
    next = following
  }
}
