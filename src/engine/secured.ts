/** IPsec, key exchange and host identity over IPv6, which a gateway lets in by default (RFC 6092 3.2.4). Off the fast line. */
import * as ipv6 from '../wire/ipv6.ts'

const UDP = 17
/** IKE, and IKE with a translator on the way, to which NPTv6 makes it turn (RFC 7296 2.23). */
const IKE = 500, IKE_NAT = 4500

/**
 * Is the packet at `p`, of which the bytes before `end` are there, one of these? `l4` and `protocol`: where the chain of its
 * headers ends. AH and HIP may stand anywhere in it. No SPI and no exchange is looked at (REC-25).
 */
// @req RFC6092 REC-21, REC-22, REC-24, REC-25, REC-26
export function isSecured(view: DataView, p: number, end: number, l4: number, protocol: number): boolean {
  if (protocol === ipv6.ESP || protocol === ipv6.HIP) return true
  if (protocol === UDP && l4 + 4 <= end) {
    const port = view.getUint16(l4 + 2)
    if (port === IKE || port === IKE_NAT) return true
  }
  let next = ipv6.nextHeader(view, p)
  for (let at = p + ipv6.HEADER_BYTES; at < l4;) {
    if (next === ipv6.AUTHENTICATION || next === ipv6.HIP) return true
    const bytes = next === ipv6.FRAGMENT ? ipv6.FRAGMENT_BYTES : (view.getUint8(at + 1) + 1) << 3
    next = view.getUint8(at)
    at += bytes
  }
  return false
}
