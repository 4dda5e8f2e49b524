/**
 * Addresses, prefixes and ranges as settings: read by `wire/address.ts`, narrowed to what the setting needs, and with
 * advice when they cannot be read.
 */
import {
  maskWord, parse4, parse6, parseAddress, parsePrefix as readPrefix, parseRange as readRange, print4, printPrefix,
  type Prefix,
} from '../../base/address.ts'

/** IPv4 addresses from `first` to `last`, both included. Unsigned, so that they compare and count. */
export interface Range {
  first: number
  last: number
}

/** A value, or what is wrong with the text and how to put it right. */
export type Parsed<T> = { ok: true; value: T } | Fault
export interface Fault {
  ok: false
  message: string
  suggestion?: string
}

export function fault(message: string, suggestion?: string): Fault {
  return suggestion === undefined ? { ok: false, message } : { ok: false, message, suggestion }
}

/** `10.0.0.0/8`, `fc00::/7`. A lone address is refused: a forgotten length is likelier than a network of one host. */
export function parsePrefix(text: string): Parsed<Prefix> {
  const parsed = readPrefix(text)
  if (!parsed.ok) {
    return fault(`'${text}' is not a prefix: ${parsed.reason}`, 'write one such as 10.0.0.0/8 or fc00::/7')
  }
  const { version, words, prefixBits } = parsed.value
  if (!text.includes('/')) {
    return fault(`'${text}' has no prefix length`, `write ${text}/${prefixBits} for that address only`)
  }
  const masked = words.map((word, i) => word & maskWord(prefixBits, i))
  const network: Prefix = { version, words: masked, prefixBits, hostBits: false }
  if (parsed.value.hostBits) {
    return fault(`'${text}' has bits set after its first ${prefixBits}`, `did you mean ${printPrefix(network)}?`)
  }
  return { ok: true, value: network }
}

/** A host-order int32. */
export function parseIpv4(text: string): Parsed<number> {
  const parsed = parse4(text)
  if (parsed.ok) return parsed
  if (parseAddress(text).ok) return fault(`'${text}' is an IPv6 address, and IPv4 is needed here`)
  return fault(`'${text}' is not an IPv4 address: ${parsed.reason}`, 'write one such as 192.0.0.8')
}

/** Four host-order int32. */
export function parseIpv6(text: string): Parsed<Int32Array> {
  const parsed = parse6(text, new Int32Array(4), 0)
  if (parsed.ok) return parsed
  if (parse4(text).ok) return fault(`'${text}' is an IPv4 address, and IPv6 is needed here`)
  return fault(`'${text}' is not an IPv6 address: ${parsed.reason}`, 'write one such as fe80::1')
}

/** An address, a range `203.0.113.1-203.0.113.4` or a prefix, of which every address counts, the first and last too. */
export function parseRange(text: string): Parsed<Range> {
  if (text.includes('/')) {
    const prefix = parsePrefix(text)
    if (!prefix.ok) return prefix
    return prefix.value.version === 4
      ? { ok: true, value: prefixRange(prefix.value) }
      : fault(`'${text}' is an IPv6 prefix, and IPv4 is needed here`)
  }
  const compact = text.replace(/\s*-\s*/, '-')
  const parsed = readRange(compact)
  if (!parsed.ok && parsed.reason === 'range runs backwards') {
    return fault(`'${text}' runs backwards`, `did you mean ${compact.split('-').reverse().join('-')}?`)
  }
  if (!parsed.ok) {
    return fault(`'${text}' is neither an address, a range nor a prefix: ${parsed.reason}`,
      'write one such as 203.0.113.1, 203.0.113.1-203.0.113.4 or 203.0.113.0/28')
  }
  const { version, first, last } = parsed.value
  if (version === 6) return fault(`'${text}' is IPv6, and IPv4 is needed here`)
  return { ok: true, value: { first: first[0]! >>> 0, last: last[0]! >>> 0 } }
}

export function rangeToText({ first, last }: Range): string {
  return first === last ? print4(first) : `${print4(first)}-${print4(last)}`
}

/** Addresses of an IPv4 prefix. */
export function prefixRange({ words, prefixBits }: Prefix): Range {
  const first = words[0]! >>> 0
  return { first, last: first + 2 ** (32 - prefixBits) - 1 }
}
