/**
 * Outside ports: which are free on each outside address, and which one a new mapping gets (RFC 4787 REQ-3, REQ-4;
 * docs/behaviour.md, Ports). UDP, TCP and ICMP identifiers are apart.
 *
 * @req RFC6888 REQ-8, REQ-8a, REQ-8b, REQ-8c no[a port may be given again at once]
 */
import { createPrng } from '../base/prng.ts'
import { createPortSets } from '../storage/port-set.ts'
import type { EngineOptions } from './options.ts'
import type { Pool } from './pool.ts'

export const CLASS_UDP = 0, CLASS_TCP = 1, CLASS_ICMP = 2, CLASS_NONE = 3
export const CLASSES = 3

/** Port class by IPv4 protocol. */
export const CLASS_OF = new Uint8Array(256).fill(CLASS_NONE)
CLASS_OF[17] = CLASS_UDP
CLASS_OF[6] = CLASS_TCP
CLASS_OF[1] = CLASS_ICMP

/** The set of a class on an address is `pool index * CLASSES + class`. */
// @req RFC7857 5a, 5b
export function createPorts(options: EngineOptions, pool: Pool) {
  const { isFree, take, release, firstFree } = createPortSets(options.nat44 ? pool.shared * CLASSES : 1)
  const { below } = createPrng(options.seed | 0)

  /** UDP or TCP ports that are never free to a dynamic mapping. */
  function keep(portClass: number, low: number, high: number, first = 0, last = options.pool.length - 1): void {
    for (let index = first; index <= last; index++) {
      for (let port = low; port <= high; port++) take(index * CLASSES + portClass, port)
    }
  }

  if (options.nat44) {
    const { midcom, nat } = options
    const reserved = [...nat?.reserved ?? [], ...midcom ? [{ low: midcom.portLow, high: midcom.portHigh }] : []]
    for (const { low, high } of reserved) {
      keep(CLASS_UDP, low, high)
      keep(CLASS_TCP, low, high)
    }
    for (const { protocol, outside, outsidePort, count } of nat?.forwards ?? []) {
      const index = pool.indexOf(outside)
      keep(CLASS_OF[protocol], outsidePort, outsidePort + count - 1, index, index)
    }
  }

  /** Outside port for a new mapping, or -1 (docs/behaviour.md, Ports). Takes it. */
  function choose(poolIndex: number, portClass: number, insidePort: number): number {
    const set = poolIndex * CLASSES + portClass
    let low = options.portLow
    let high = options.portHigh
    if (portClass === CLASS_ICMP) {
      low = 0
      high = 0xffff
    } else if (insidePort < 1024) {
      // @req RFC4787 REQ-3a
      // RFC 4787 REQ-3a: well-known ports stay among themselves.
      low = 1
      high = 1023
    }
    // @req RFC7857 9a, 9b, 9c
    // @req RFC6888 REQ-15
    let port = insidePort
    if (!options.portPreservation || port < low || port > high || !isFree(set, port)) {
      const start = low + below(high - low + 1)
      // @req RFC4787 REQ-4
      // @req RFC7857 8a
      const parity = insidePort & 1
      port = firstFree(set, start, high, parity)
      if (port < 0) port = firstFree(set, low, start - 1, parity)
      if (port < 0) port = firstFree(set, start, high, parity ^ 1)
      if (port < 0) port = firstFree(set, low, start - 1, parity ^ 1)
      if (port < 0) return -1
    }
    // @req RFC4787 REQ-3
    // @req RFC5382 REQ-7
    // @req RFC7857 3
    // @req RFC6888 REQ-13
    take(set, port)
    return port
  }

  return { choose, take, release }
}
