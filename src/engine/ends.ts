/**
 * One end of an IPv4 packet replaced by another, as twice-NAT does beside what its flow does: address and port, checksums with them
 * (RFC 1624). What was replaced can be put back to the letter, for an ICMP error that shows the packet as it came.
 */
import { apply, delta16, delta32, fold } from '../wire/checksum.ts'
import * as ipv4 from '../wire/ipv4.ts'
import { CLASS_OF, CLASS_TCP } from './ports.ts'
import type { Shared } from './shared.ts'
import { CHECKSUM_AT, type UpdateSum } from './transport-sums.ts'

const ICMP = 1

/** @param updateSum puts a delta into the transport checksum at an offset, by the rules of its protocol */
export function createEnds(shared: Omit<Shared, 'extras'>, updateSum: UpdateSum) {
  const { view, off, capBytes, l3, netBytes } = shared.frames
  const { kind: kindColumn, l4: l4Column } = shared.rows
  // The row remembered: its number + 1; then destination, port or -1, header checksum, transport checksum or -1.
  const $was = new Int32Array(5)
  const ROW = 0, ADDRESS = 1, PORT = 2, HEADER_SUM = 3, SUM = 4

  /** Gives row i another source or destination: address, and port unless that is -1. The sums follow. */
  function replaceEnd(i: number, addressAt: number, portAt: number, address: number, port: number): void {
    const p = l3[i], l4 = l4Column[i], protocol = kindColumn[i] & 255
    const delta = delta32(view.getInt32(p + addressAt), address)
    view.setInt32(p + addressAt, address)
    ipv4.setChecksum(view, p, apply(ipv4.checksum(view, p), delta))
    let transport = delta
    if (port >= 0 && CLASS_OF[protocol] <= CLASS_TCP) {
      transport = fold(delta + delta16(view.getUint16(l4 + portAt), port))
      view.setUint16(l4 + portAt, port)
    }
    const at = sumOverAddresses(i, protocol)
    if (at !== 0) updateSum(at, protocol, transport)
  }

  /** Where the transport checksum of row i that covers its addresses lies, or 0: there is none, or it was not captured. */
  function sumOverAddresses(i: number, protocol: number): number {
    const at = l4Column[i] + CHECKSUM_AT[protocol]
    const isThere = protocol !== ICMP && at !== l4Column[i] && at + 2 <= Math.min(l3[i] + netBytes[i], off[i] + capBytes[i])
    return isThere ? at : 0
  }

  /** Remembers the destination of row i. */
  function remember(i: number): void {
    const p = l3[i], protocol = kindColumn[i] & 255
    const at = sumOverAddresses(i, protocol)
    $was[ROW] = i + 1
    $was[ADDRESS] = ipv4.dst(view, p)
    $was[PORT] = CLASS_OF[protocol] <= CLASS_TCP ? view.getUint16(l4Column[i] + 2) : -1
    $was[HEADER_SUM] = ipv4.checksum(view, p)
    $was[SUM] = at !== 0 ? view.getUint16(at) : -1
  }

  /** Puts back what was remembered of row i, if it was: a sum of 0 that is put forward and back would not be 0. */
  function restore(i: number): void {
    if ($was[ROW] !== i + 1) return
    const p = l3[i]
    view.setInt32(p + ipv4.DST, $was[ADDRESS])
    if ($was[PORT] >= 0) view.setUint16(l4Column[i] + 2, $was[PORT])
    ipv4.setChecksum(view, p, $was[HEADER_SUM])
    if ($was[SUM] >= 0) view.setUint16(sumOverAddresses(i, kindColumn[i] & 255), $was[SUM])
  }

  function forget(): void {
    $was[ROW] = 0
  }

  return { replaceEnd, remember, restore, forget }
}
