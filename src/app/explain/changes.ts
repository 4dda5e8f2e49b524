/** What a packet left with that it did not enter with, field by field: found by comparing bytes, so nothing can be forgotten. */
import { print4, print6 } from '../../base/address.ts'
import * as icmp from '../../wire/icmp.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import type { Change } from './explanation.ts'
import { protocolName } from './parse-result.ts'

interface Field { name: string; at: number; bytes: number; print: (v: DataView, at: number) => string }

const number = (bytes: number) => (v: DataView, at: number) =>
  String(bytes === 1 ? v.getUint8(at) : bytes === 2 ? v.getUint16(at) : v.getUint32(at))
const sum = (v: DataView, at: number) => '0x' + v.getUint16(at).toString(16).padStart(4, '0')
const address4 = (v: DataView, at: number) => print4(v.getInt32(at))
const address6 = (v: DataView, at: number) => print6(Int32Array.from([0, 4, 8, 12], (from) => v.getInt32(at + from)))
const hex = (v: DataView, at: number, bytes: number) =>
  Array.from({ length: bytes }, (_, n) => v.getUint8(at + n).toString(16).padStart(2, '0')).join('')
const flags = (v: DataView, at: number) => {
  const word = v.getUint16(at)
  const names = [word & ipv4.DONT_FRAGMENT ? 'DF' : '', word & ipv4.MORE_FRAGMENTS ? 'MF' : ''].filter((name) => name !== '')
  return `${names.join('+') || 'none'}@${(word & ipv4.OFFSET_MASK) << 3}`
}

const CHECKSUM_AT: Record<number, number> = { 6: 16, 17: 6, 33: 6, 136: 6, 1: 2, 58: 2 }
const ERRORS_4 = [3, 4, 5, 11, 12]
/** Different bytes that no field explains are told in one piece, up to so many. */
const MOST_OTHER = 16

/** Fields of the packet at `p`, those of a packet quoted by an ICMP error included. */
function fieldsOf(v: DataView, p: number, end: number, before: string): Field[] {
  const list: Field[] = []
  const add = (name: string, at: number, bytes: number, print = number(bytes)) => {
    if (at + bytes <= end) list.push({ name: before + name, at, bytes, print })
  }
  if (p >= end) return list
  const version = v.getUint8(p) >>> 4
  let l4: number, protocol: number
  if (version === 4 && p + ipv4.HEADER_BYTES <= end) {
    add('type of service', p + 1, 1)
    add('total length', p + 2, 2)
    add('identification', p + 4, 2)
    add('fragment', p + 6, 2, flags)
    add('TTL', p + ipv4.TTL, 1)
    add('header checksum', p + ipv4.CHECKSUM, 2, sum)
    add('source', p + ipv4.SRC, 4, address4)
    add('destination', p + ipv4.DST, 4, address4)
    if ((ipv4.fragment(v, p) & ipv4.OFFSET_MASK) !== 0) return list
    protocol = ipv4.protocol(v, p)
    l4 = p + ipv4.headerBytes(v, p)
  } else if (version === 6 && p + ipv6.HEADER_BYTES <= end) {
    add('payload length', p + 4, 2)
    add('hop limit', p + ipv6.HOP_LIMIT, 1)
    add('source', p + ipv6.SRC, 16, address6)
    add('destination', p + ipv6.DST, 16, address6)
    const walk = ipv6.createWalk()
    if (ipv6.walk(v, p, end, p + ipv6.HEADER_BYTES + ipv6.payloadLength(v, p), walk) !== ipv6.WALK_OK) return list
    protocol = walk.at[ipv6.WALK_PROTOCOL]
    l4 = walk.at[ipv6.WALK_L4]
    const fragment = walk.at[ipv6.WALK_FRAGMENT]
    if (fragment !== 0 && (v.getUint16(fragment + 2) & 0xfff8) !== 0) return list
  } else return list
  if (protocol === 6 || protocol === 17 || protocol === 136 || protocol === 33) {
    add('source port', l4, 2)
    add('destination port', l4 + 2, 2)
  }
  if (protocol === 1 || protocol === 58) {
    if (l4 + icmp.HEADER_BYTES > end) return list
    const type = icmp.type(v, l4)
    const isError = protocol === 1 ? ERRORS_4.includes(type) : type < 128
    if (!isError) add('identifier', l4 + icmp.ID, 2)
    else if (before === '') list.push(...fieldsOf(v, l4 + icmp.HEADER_BYTES, end, 'quoted '))
  }
  if (CHECKSUM_AT[protocol] !== undefined) {
    add(`${protocolName(protocol)} checksum`, l4 + CHECKSUM_AT[protocol], 2, sum)
  }
  return list
}

/**
 * @param a view and offset of the network header before, @param b after
 * @param bytesBefore captured bytes from the network header on
 */
export function changes(
  a: DataView, p: number, bytesBefore: number, b: DataView, q: number, bytesAfter: number,
): Change[] {
  const found: Change[] = []
  const common = Math.min(bytesBefore, bytesAfter)
  const differ = (at: number) => a.getUint8(p + at) !== b.getUint8(q + at)
  const explained = new Set<number>()
  for (const { name, at, bytes, print } of fieldsOf(a, p, p + bytesBefore, '')) {
    const offset = at - p
    if (offset + bytes > common) continue
    let isChanged = false
    for (let n = 0; n < bytes; n++) {
      if (differ(offset + n)) isChanged = true
      explained.add(offset + n)
    }
    if (isChanged) found.push({ field: name, before: print(a, at), after: print(b, q + offset) })
  }
  for (let at = 0; at < common; at++) {
    if (explained.has(at) || !differ(at)) continue
    let end = at + 1
    while (end < common && end - at < MOST_OTHER && differ(end) && !explained.has(end)) end++
    found.push({ field: `bytes ${at}-${end - 1}`, before: hex(a, p + at, end - at), after: hex(b, q + at, end - at) })
    at = end - 1
  }
  return found
}
