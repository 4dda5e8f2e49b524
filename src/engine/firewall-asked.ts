/**
 * What a firewall rule is asked about: a packet that would open a flow, or the packet that once opened a flow, as one record of
 * words. Both are the same to the rules, so that what a new rule set says of a flow is what it would have said of its first packet.
 *
 *   0 direction  1 version  2 protocol  3 local port << 16 | peer port (TCP and UDP, else 0)
 *   4–7 local address  8–11 peer address (IPv4: the first word)  12 aspect  13 interface of the capture  14 1: a later fragment
 *
 * An aspect is what of a packet rules may ask beyond its five words, in a word that a flow can keep:
 *
 *   TCP: options << 6 | flags; ICMP: type << 8 | code    bits 0–15
 *   IP options                                           bits 16–19
 *   direction                                            bit 20
 */
export const DIRECTION = 0, VERSION = 1, PROTOCOL = 2, PORTS = 3, LOCAL = 4, PEER = 8, ASPECT = 12, INTERFACE = 13, LATER = 14
export const ASKED_WORDS = 16

export const ASPECT_TCP_OPTIONS = 6, ASPECT_IP_OPTIONS = 16, ASPECT_DIRECTION = 20
/** Interfaces from here on are one, which no rule names. */
export const MOST_INTERFACE = 0xffff

const IP_OPTION_BIT = new Uint8Array(256)
IP_OPTION_BIT[137] = 1      // strict source route
IP_OPTION_BIT[131] = 2      // loose source route
IP_OPTION_BIT[7] = 4        // record route
IP_OPTION_BIT[68] = 8       // timestamp
const TCP_OPTION_BIT = new Uint8Array(256)
TCP_OPTION_BIT[2] = 1       // maximum segment size
TCP_OPTION_BIT[3] = 2       // window scale
TCP_OPTION_BIT[4] = TCP_OPTION_BIT[5] = 4
TCP_OPTION_BIT[8] = 8       // RFC 1323
TCP_OPTION_BIT[11] = TCP_OPTION_BIT[12] = TCP_OPTION_BIT[13] = 16     // RFC 1644

/** Bits of the options between `at` and `end`; the list ends where it makes no sense. */
function optionBits(view: DataView, at: number, end: number, bits: Uint8Array): number {
  let found = 0
  while (at < end) {
    const kind = view.getUint8(at)
    if (kind === 0) break
    if (kind === 1) {
      at++
      continue
    }
    if (at + 1 >= end) break
    const bytes = view.getUint8(at + 1)
    if (bytes < 2 || at + bytes > end) break
    found |= bits[kind]
    at += bytes
  }
  return found
}

/** Options of an IPv4 header of `bytes` at `p`, which were checked to lie in it. */
export function ipOptions(view: DataView, p: number, bytes: number): number {
  return bytes <= 20 ? 0 : optionBits(view, p + 20, p + bytes, IP_OPTION_BIT)
}

/** Flags and options of the TCP header at `l4`, as far as it is there before `end`. */
export function tcpAspect(view: DataView, l4: number, end: number): number {
  const flags = view.getUint8(l4 + 13) & 63
  const bytes = view.getUint8(l4 + 12) >>> 4 << 2
  if (bytes <= 20) return flags
  return flags | optionBits(view, l4 + 20, Math.min(l4 + bytes, end), TCP_OPTION_BIT) << ASPECT_TCP_OPTIONS
}
