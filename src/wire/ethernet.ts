/**
 * Ethernet header with any VLAN tags (IEEE 802.3, 802.1Q), in place. After `check`, no accessor reads past the header
 * it measured. A type below 1536 is a length, and an LLC header follows; `link.ts` reads that one.
 */
export const HEADER_BYTES = 14
export const ADDRESS_BYTES = 6
export const SRC = 6, TYPE = 12

export const TYPE_IPV4 = 0x0800, TYPE_ARP = 0x0806, TYPE_IPV6 = 0x86dd
/** 802.1Q, 802.1ad, and the value in use for outer tags before 802.1ad. */
export const TYPE_VLAN = 0x8100, TYPE_SERVICE_VLAN = 0x88a8, TYPE_OLD_VLAN = 0x9100
export const TYPE_MPLS = 0x8847, TYPE_MPLS_UPSTREAM = 0x8848, TYPE_PPPOE_SESSION = 0x8864
/** Smallest value that is a type (802.3 3.2.6). */
export const TYPE_FIRST = 0x0600

/** All hosts of a link; and whoever is not known. */
export const BROADCAST: readonly number[] = [255, 255, 255, 255, 255, 255], NOBODY: readonly number[] = [0, 0, 0, 0, 0, 0]

/** Ours: a stack of tags deeper than this is not read. */
export const MAX_TAGS = 8
export const TAG_BYTES = 4

export function isTag(type: number): boolean {
  return type === TYPE_VLAN || type === TYPE_SERVICE_VLAN || type === TYPE_OLD_VLAN
}

/** Bytes of the header with its tags, or 0 if it is cut short or has too many. */
export function check(v: DataView, off: number, end: number): number {
  let at = off + TYPE
  for (let tags = 0; at + 2 <= end; tags++) {
    if (!isTag(v.getUint16(at))) return at + 2 - off
    if (tags === MAX_TAGS) return 0
    at += TAG_BYTES
  }
  return 0
}

/** The first type field, which may be that of a tag. */
export function type(v: DataView, off: number): number { return v.getUint16(off + TYPE) }
/** The type field that ends a header of `headerBytes`. */
export function lastType(v: DataView, off: number, headerBytes: number): number {
  return v.getUint16(off + headerBytes - 2)
}
export function setLastType(v: DataView, off: number, headerBytes: number, value: number): void {
  v.setUint16(off + headerBytes - 2, value)
}
/** The group bit of the destination: multicast or broadcast. */
export function isGroup(v: DataView, off: number): boolean { return (v.getUint8(off) & 1) !== 0 }

export function swapAddresses(v: DataView, off: number): void {
  const dst4 = v.getInt32(off), dst2 = v.getUint16(off + 4)
  v.setUint16(off, v.getUint16(off + SRC))
  v.setInt32(off + 2, v.getInt32(off + SRC + 2))
  v.setInt32(off + SRC, dst4)
  v.setUint16(off + SRC + 4, dst2)
}

/** The header as a value: for tests and printing. Tags keep their type and all 16 bits of control. */
export interface Repr { dst: readonly number[]; src: readonly number[]; tags: { type: number; control: number }[]; type: number }

/** `headerBytes` is what `check` said. */
export function parse(v: DataView, off: number, headerBytes: number): Repr {
  const bytesAt = (at: number) => Array.from({ length: ADDRESS_BYTES }, (_, i) => v.getUint8(at + i))
  const tags = []
  for (let at = off + TYPE; at < off + headerBytes - 2; at += TAG_BYTES) {
    tags.push({ type: v.getUint16(at), control: v.getUint16(at + 2) })
  }
  return { dst: bytesAt(off), src: bytesAt(off + SRC), tags, type: lastType(v, off, headerBytes) }
}

/** Returns the bytes written. */
export function emit(repr: Repr, v: DataView, off: number): number {
  repr.dst.forEach((byte, i) => v.setUint8(off + i, byte))
  repr.src.forEach((byte, i) => v.setUint8(off + SRC + i, byte))
  let at = off + TYPE
  for (const tag of repr.tags) {
    v.setUint16(at, tag.type)
    v.setUint16(at + 2, tag.control)
    at += TAG_BYTES
  }
  v.setUint16(at, repr.type)
  return at + 2 - off
}

export function printMac(bytes: readonly number[]): string {
  return bytes.map(byte => (byte >>> 4).toString(16) + (byte & 15).toString(16)).join(':')
}
