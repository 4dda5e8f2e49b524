/**
 * Endpoints and protocols as people write them, and as tuples of SIMCO (RFC 4540 4.3.8).
 *
 *   10.0.0.5:5004            one port              *                    any address of the other side's IP version, any port
 *   10.0.0.5:5004-5005       from port to port     *:5004               any address, one port
 *   10.0.0.5:5004+2          two ports from 5004   [2001:db8::1]:5060   IPv6 with a port
 *   10.0.0.5, 10.0.0.5:*     any port              2001:db8::/32        a prefix, any port
 *   10.0.0.0/8:5060          a prefix, one port    [2001:db8::/32]:*    the same
 */
import { parse4, parsePrefix, print4, print6, type AddressFault, type Prefix } from '../../base/address.ts'
import { protocolName, protocolNumber } from '../../base/protocols.ts'
import { createTuple, FULL, PROTOCOLS_ONLY, type WireTuple } from './messages.ts'

/** An endpoint, or a set of them. The protocol stands beside it in the rule: all endpoints of a rule have the same. */
export interface Endpoint {
  /** 0: not said, as in `*`; the other endpoint of the rule tells. */
  version: 0 | 4 | 6
  /** As text; `*`: nothing of it is fixed. */
  address: string
  /** Fixed high-order bits, 0 … 32 or 128; 0 for `*`. */
  prefixBits: number
  /** Lowest port; 0: any, and then `range` says nothing. */
  port: number
  /** Consecutive ports from `port` on, 1 … 65535. */
  range: number
}

export type EndpointFault = AddressFault
  | 'bits are set after the prefix' | 'a bracket is not closed' | 'IPv6 with a port needs brackets'
  | 'port expected' | 'port is above 65535' | 'port 0 is none: * is any' | 'range of ports runs backwards'
  | 'number of ports expected' | 'ports beyond 65535'
  | 'udp, tcp, another name such as gre, any, or a number from 0 to 255 expected'

export type ParsedEndpoint = { ok: true; value: Endpoint } | Fault
interface Fault { ok: false; reason: EndpointFault; column: number }

/** A text that is no endpoint or no protocol. */
export class EndpointError extends Error {
  readonly code = 'bad-endpoint'
  readonly text: string
  readonly reason: EndpointFault
  /** From 1. */
  readonly column: number
  constructor(text: string, reason: EndpointFault, column: number) {
    super(`'${text}', column ${column}: ${reason}`)
    this.name = 'EndpointError'
    this.text = text
    this.reason = reason
    this.column = column
  }
}

const MOST_PORT = 0xffff

function fail(reason: EndpointFault, column: number): Fault { return { ok: false, reason, column } }

export function parseEndpoint(text: string): ParsedEndpoint {
  if (text.startsWith('*')) {
    if (text.length > 1 && text[1] !== ':') return fail('unexpected character', 2)
    return withPorts({ version: 0, address: '*', prefixBits: 0 }, text, 1)
  }
  if (text.startsWith('[')) {
    const close = text.indexOf(']')
    if (close < 0) return fail('a bracket is not closed', 1)
    const inner = text.slice(1, close)
    // Brackets are for what has colons of its own.
    if (parse4(inner).ok) return fail('unexpected character', 1)
    const prefix = prefixAt(inner, 1)
    if (!prefix.ok) return prefix
    if (close + 1 < text.length && text[close + 1] !== ':') return fail('unexpected character', close + 2)
    return withPorts(prefix.value, text, close + 1)
  }
  const colon = text.indexOf(':')
  // Bare IPv6 has a second colon, and what stands before its first one is no dotted quad.
  const bare6 = colon >= 0 && text.indexOf(':', colon + 1) >= 0 && !text.slice(0, colon).includes('.')
  const end = colon < 0 || bare6 ? text.length : colon
  const prefix = prefixAt(text.slice(0, end), 0)
  if (!prefix.ok) {
    const port = bare6 ? /^[^/]*\/\d+(?=:)/.exec(text) : null
    return port === null ? prefix : fail('IPv6 with a port needs brackets', port[0].length + 1)
  }
  return withPorts(prefix.value, text, end)
}

type Where = Pick<Endpoint, 'version' | 'address' | 'prefixBits'>

function prefixAt(text: string, before: number): { ok: true; value: Where } | Fault {
  const parsed = parsePrefix(text)
  if (!parsed.ok) return fail(parsed.reason, parsed.column + before)
  if (parsed.value.hostBits) return fail('bits are set after the prefix', before + 1)
  const { version, prefixBits } = parsed.value
  return { ok: true, value: { version, address: addressText(parsed.value), prefixBits } }
}

function addressText({ version, words }: Pick<Prefix, 'version' | 'words'>): string {
  return version === 4 ? print4(words[0]) : print6(words)
}

/** Reads what stands from `at` on: nothing, or a colon and ports. */
function withPorts(where: Where, text: string, at: number): ParsedEndpoint {
  if (at === text.length) return { ok: true, value: { ...where, port: 0, range: 1 } }
  const first = at + 1
  if (text.slice(first) === '*') return { ok: true, value: { ...where, port: 0, range: 1 } }
  const low = numberAt(text, first)
  if (low.end === first) return fail('port expected', first + 1)
  if (low.value > MOST_PORT) return fail('port is above 65535', first + 1)
  if (low.value === 0) return fail('port 0 is none: * is any', first + 1)
  if (low.end === text.length) return { ok: true, value: { ...where, port: low.value, range: 1 } }
  const sign = text[low.end], second = low.end + 1
  if (sign !== '-' && sign !== '+') return fail('unexpected character', low.end + 1)
  const other = numberAt(text, second)
  if (other.end === second) return fail(sign === '-' ? 'port expected' : 'number of ports expected', second + 1)
  if (other.end < text.length) return fail('unexpected character', other.end + 1)
  if (sign === '-' && other.value > MOST_PORT) return fail('port is above 65535', second + 1)
  if (sign === '-' && other.value < low.value) return fail('range of ports runs backwards', second + 1)
  if (sign === '+' && other.value === 0) return fail('number of ports expected', second + 1)
  const range = sign === '-' ? other.value - low.value + 1 : other.value
  if (low.value + range - 1 > MOST_PORT) return fail('ports beyond 65535', second + 1)
  return { ok: true, value: { ...where, port: low.value, range } }
}

function numberAt(text: string, at: number): { value: number; end: number } {
  let value = 0, end = at
  for (; end < text.length; end++) {
    const digit = text.charCodeAt(end) - 48
    if (digit < 0 || digit > 9) break
    value = Math.min(value * 10 + digit, MOST_PORT + 1)
  }
  return { value, end }
}

/** The shortest text that says it; `parseEndpoint` reads it back. */
export function printEndpoint({ version, address, prefixBits, port, range }: Endpoint): string {
  const whole = address === '*' || prefixBits === (version === 4 ? 32 : 128)
  const where = whole ? address : `${address}/${prefixBits}`
  if (port === 0) return where
  const ports = range > 1 ? `${port}-${port + range - 1}` : `${port}`
  return version === 6 && address !== '*' ? `[${where}]:${ports}` : `${where}:${ports}`
}

export function parseProtocol(text: string): { ok: true; value: number } | Fault {
  const name = text.toLowerCase(), named = name === 'any' ? 0 : protocolNumber(name)
  if (named !== undefined) return { ok: true, value: named }
  if (/^\d{1,3}$/.test(text) && Number(text) <= 255) return { ok: true, value: Number(text) }
  return fail('udp, tcp, another name such as gre, any, or a number from 0 to 255 expected', 1)
}

export function printProtocol(protocol: number): string {
  return protocol === 0 ? 'any' : protocolName(protocol) ?? String(protocol)
}

/** @throws {EndpointError} */
export function endpointOf(endpoint: string | Endpoint): Endpoint {
  if (typeof endpoint !== 'string') return endpoint
  const parsed = parseEndpoint(endpoint)
  if (!parsed.ok) throw new EndpointError(endpoint, parsed.reason, parsed.column)
  return parsed.value
}

/** @throws {EndpointError} */
export function protocolOf(protocol: string | number): number {
  const parsed = parseProtocol(String(protocol))
  if (!parsed.ok) throw new EndpointError(String(protocol), parsed.reason, parsed.column)
  return parsed.value
}

/**
 * An endpoint as it is sent. Whole wildcards go in the short form, which has an IP version, though: `version` is that of the
 * rule's other endpoint, or 4. RFC 4540 8.3.1 compares port ranges even where a wildcard makes one of them irrelevant, so
 * `range` is sent with any port.
 * @throws {EndpointError}
 */
export function toTuple(endpoint: Endpoint, location: number, protocol: number, version: 4 | 6, range: number): WireTuple {
  const tuple = createTuple()
  const { address, prefixBits, port } = endpoint
  const own = endpoint.version === 0 ? version : endpoint.version
  tuple.version = own === 4 ? 1 : 2
  tuple.protocol = protocol
  tuple.location = location
  if (address === '*' && port === 0) {
    tuple.form = PROTOCOLS_ONLY
    tuple.addressBytes = 0
    return tuple
  }
  tuple.form = FULL
  tuple.addressBytes = own === 4 ? 4 : 16
  tuple.port = port
  tuple.range = port === 0 ? range : endpoint.range
  if (address === '*') return tuple
  const parsed = parsePrefix(address)
  if (!parsed.ok) throw new EndpointError(address, parsed.reason, parsed.column)
  const { words } = parsed.value
  tuple.prefixBits = prefixBits
  tuple.word0 = words[0]
  if (own === 6) [tuple.word1, tuple.word2, tuple.word3] = [words[1], words[2], words[3]]
  return tuple
}

/** A received tuple as a value; of an undefined IP version only the protocol could be told, so that is null. */
export function fromTuple(tuple: WireTuple): Endpoint | null {
  if (tuple.version !== 1 && tuple.version !== 2) return null
  const version = tuple.version === 1 ? 4 : 6
  if (tuple.form === PROTOCOLS_ONLY) return { version, address: '*', prefixBits: 0, port: 0, range: 1 }
  const address = version === 4 ? print4(tuple.word0) : print6(Int32Array.of(tuple.word0, tuple.word1, tuple.word2, tuple.word3))
  return { version, address, prefixBits: tuple.prefixBits, port: tuple.port, range: tuple.range }
}
