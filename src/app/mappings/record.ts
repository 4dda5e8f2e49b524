/** A record of the mapping log as a line of JSON (docs/mapping-log.md). It names no destination (RFC 6888 REQ-12). */
import {
  ADDRESS_CLOSED, ADDRESS_OPENED, BLOCK_CLOSED, BLOCK_OPENED, LOG_INSIDE, LOG_INSIDE_PORT, LOG_LAST_PORT, LOG_OP, LOG_OUTSIDE,
  LOG_OUTSIDE_PORT, LOG_PROTOCOL, MAPPING_CLOSED, MAPPING_OPENED,
} from '../../channel/mapping-log.ts'
import { print4 } from '../../base/address.ts'

const EVENTS: Record<number, string> = {
  [MAPPING_OPENED]: 'mapping-opened', [MAPPING_CLOSED]: 'mapping-closed', [BLOCK_OPENED]: 'block-opened',
  [BLOCK_CLOSED]: 'block-closed', [ADDRESS_OPENED]: 'address-opened', [ADDRESS_CLOSED]: 'address-closed',
}
const PROTOCOLS: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp' }

/** @param atMs milliseconds since 1970  @param at offset of the record in `words` */
export function recordLine(words: Int32Array, at: number, atMs: number): string {
  const op = words[at + LOG_OP]!, protocol = words[at + LOG_PROTOCOL]!
  const inside = print4(words[at + LOG_INSIDE]!), outside = print4(words[at + LOG_OUTSIDE]!)
  const head = { time: new Date(atMs).toISOString(), event: EVENTS[op] }
  if (op === BLOCK_OPENED || op === BLOCK_CLOSED) {
    const ports = `${words[at + LOG_OUTSIDE_PORT]}-${words[at + LOG_LAST_PORT]}`
    return JSON.stringify({ ...head, inside, outside, ports }) + '\n'
  }
  if (op === ADDRESS_OPENED || op === ADDRESS_CLOSED) return JSON.stringify({ ...head, inside, outside }) + '\n'
  const name = PROTOCOLS[protocol]
  // Of a protocol without ports the address is all there is.
  if (name === undefined) return JSON.stringify({ ...head, protocol: String(protocol), inside, outside }) + '\n'
  return JSON.stringify({
    ...head, protocol: name, inside: `${inside}:${words[at + LOG_INSIDE_PORT]}`,
    outside: `${outside}:${words[at + LOG_OUTSIDE_PORT]}`,
  }) + '\n'
}

/** Records that found no room before `atMs`. */
export function lostLine(records: number, atMs: number): string {
  return JSON.stringify({ time: new Date(atMs).toISOString(), event: 'records-lost', count: records }) + '\n'
}
