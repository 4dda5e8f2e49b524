/** Transport checksums that a translation changes, by its delta (RFC 1624). */

const ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, UDP_LITE = 136
/** Where the transport checksum that covers the addresses lies, or ICMP's, which does not; 0: there is none. */
export const CHECKSUM_AT = new Uint8Array(256)
CHECKSUM_AT[TCP] = 16
CHECKSUM_AT[UDP] = CHECKSUM_AT[DCCP] = CHECKSUM_AT[UDP_LITE] = 6
CHECKSUM_AT[ICMP] = 2

export type UpdateSum = (at: number, protocol: number, delta: number) => void

export function createUpdateSum(view: DataView): UpdateSum {
  /** RFC 768: for UDP 0 says that there is no checksum, and a sum of 0 is sent as 0xffff. The latter also RFC 3828. */
  return function updateSum(at, protocol, delta) {
    const was = view.getUint16(at)
    if (was === 0 && protocol === UDP) return
    const sum = (~was & 0xffff) + delta
    const becomes = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff
    view.setUint16(at, becomes === 0 && (protocol === UDP || protocol === UDP_LITE) ? 0xffff : becomes)
  }
}
