/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624). Sums are one's complement sums of 16-bit words
 * held in a small integer; a *delta* is such a sum of `~old + new` over the words that changed, folded to 16 bits. The same
 * delta serves every checksum that covers those words, and its complement undoes it, so a flow carries one for both ways.
 */

/** Folds a sum below 2^31 to 16 bits. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}

/** Delta of a 32-bit word that changes from `was` to `becomes`. */
export function delta32(was: number, becomes: number): number {
  return fold((~was & 0xffff) + (~was >>> 16) + (becomes & 0xffff) + (becomes >>> 16))
}

/** Delta of a 16-bit word that changes from `was` to `becomes`. */
export function delta16(was: number, becomes: number): number {
  return fold((~was & 0xffff) + becomes)
}

/** `checksum` after the words it covers changed by `delta` (RFC 1624, equation 3). */
export function apply(checksum: number, delta: number): number {
  const sum = (~checksum & 0xffff) + delta
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff
}

/** The delta that takes `delta` back. */
export function invert(delta: number): number {
  return ~delta & 0xffff
}

/** Sum over bytes `off` to `end`, an odd last byte padded with zero; `sum` carries on from an earlier part. */
export function sumBytes(v: DataView, off: number, end: number, sum: number): number {
  let total = sum
  const even = off + ((end - off) & ~1)
  for (; off < even; off += 2) {
    total += v.getUint16(off)
    // 65,535 words of 0xffff stay below 2^32; packets are shorter than that by half, so the sum fits without folding.
  }
  if (off < end) total += v.getUint8(off) << 8
  return fold(total)
}

/** Sum of the IPv4 pseudo header: addresses, protocol, length (RFC 768, RFC 9293 3.1). */
export function pseudo4(src: number, dst: number, protocol: number, bytes: number): number {
  return fold((src & 0xffff) + (src >>> 16) + (dst & 0xffff) + (dst >>> 16) + protocol + bytes)
}

/** Sum of the IPv6 pseudo header of the packet at `off` (RFC 8200 8.1), with `protocol` the final next header. */
export function pseudo6(v: DataView, off: number, protocol: number, bytes: number): number {
  return sumBytes(v, off + 8, off + 40, protocol + (bytes >>> 16) + (bytes & 0xffff))
}
