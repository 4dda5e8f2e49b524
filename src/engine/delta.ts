/** What a mapping does to the checksums of the packets that it translates. */
import { delta16, delta32, fold } from '../wire/checksum.ts'

const ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, UDP_LITE = 136

/** Checksum deltas of a mapping's way out: IPv4 header << 16 | transport (RFC 1624). */
export function mappingDelta(
  protocol: number, inside: number, outside: number, insidePort: number, outsidePort: number,
): number {
  const address = delta32(inside, outside)
  const port = delta16(insidePort, outsidePort)
  let transport = 0
  if (protocol === TCP || protocol === UDP) transport = fold(address + port)
  else if (protocol === ICMP) transport = port
  else if (protocol === UDP_LITE || protocol === DCCP) transport = address
  return (address << 16) | transport
}
