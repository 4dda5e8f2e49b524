/**
 * Addresses, prefixes and ranges as people write them. An IPv4 address is a host-order int32, an IPv6 address four of
 * them, as on the packet path; they become unsigned only when printed (RFC 5952 for IPv6).
 * Refused: octets with leading zeros, which some readers take for octal, and zone identifiers (`fe80::1%eth0`).
 */
import { isIPv6 } from 'node:net'

/** A prefix of the inside network: 1 word for IPv4, 4 for IPv6. Host bits are zero. */
export interface Prefix {
  family: 4 | 6
  words: number[]
  bits: number
}

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

const IPV4 = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/

/** Host-order int32, or null. */
export function ipv4FromText(text: string): number | null {
  const octets = IPV4.exec(text)?.slice(1).map(Number)
  if (octets === undefined || octets.some(octet => octet > 255)) return null
  return octets.reduce((word, octet) => word << 8 | octet, 0)
}

/** Four host-order int32, or null. */
export function ipv6FromText(text: string): number[] | null {
  if (!isIPv6(text) || text.includes('%')) return null
  let hex = text
  const dotted = /[^:]+\.[^:]+$/.exec(text)
  if (dotted !== null) {
    const word = ipv4FromText(dotted[0])
    if (word === null) return null
    hex = text.slice(0, dotted.index) + (word >>> 16).toString(16) + ':' + (word & 0xffff).toString(16)
  }
  const [head, tail] = hex.split('::').map(half => half === '' ? [] : half.split(':'))
  const groups = tail === undefined ? head! : [...head!, ...Array(8 - head!.length - tail.length).fill('0'), ...tail]
  return [0, 2, 4, 6].map(i => parseInt(groups[i]!, 16) << 16 | parseInt(groups[i + 1]!, 16))
}

export function ipv4ToText(word: number): string {
  return [word >>> 24, word >>> 16 & 255, word >>> 8 & 255, word & 255].join('.')
}

/** RFC 5952: lower case, the longest run of two or more zero groups, the first of equals, becomes `::`. */
export function ipv6ToText(words: readonly number[]): string {
  const groups = words.flatMap(word => [word >>> 16, word & 0xffff])
  let from = 0, run = 1
  for (let i = 0; i < 8; i++) {
    let n = 0
    while (i + n < 8 && groups[i + n] === 0) n++
    if (n > run) { from = i; run = n }
  }
  const hex = groups.map(group => group.toString(16))
  return run < 2 ? hex.join(':') : hex.slice(0, from).join(':') + '::' + hex.slice(from + run).join(':')
}

export function prefixToText({ family, words, bits }: Prefix): string {
  return (family === 4 ? ipv4ToText(words[0]!) : ipv6ToText(words)) + '/' + bits
}

/** Words with everything after the first `bits` bits cleared. */
function masked(words: readonly number[], bits: number): number[] {
  return words.map((word, i) => {
    const kept = Math.min(Math.max(bits - 32 * i, 0), 32)
    return kept === 0 ? 0 : word & -1 << 32 - kept
  })
}

/** `10.0.0.0/8`, `fc00::/7`. A bare address is refused: a forgotten length is more likely than a network of one host. */
export function parsePrefix(text: string): Parsed<Prefix> {
  const [address, length, ...rest] = text.split('/')
  const word = ipv4FromText(address!)
  const words = word === null ? ipv6FromText(address!) : [word]
  if (words === null || rest.length > 0) {
    return fault(`'${text}' is not a prefix`, 'write one such as 10.0.0.0/8 or fc00::/7')
  }
  const family = word === null ? 6 : 4
  const most = family === 4 ? 32 : 128
  if (length === undefined) return fault(`'${text}' has no prefix length`, `write ${text}/${most} for that one address`)
  if (!/^\d{1,3}$/.test(length) || Number(length) > most) {
    return fault(`'${length}' is not a prefix length of IPv${family}: 0 to ${most}`)
  }
  const bits = Number(length)
  const network = masked(words, bits)
  const prefix: Prefix = { family, words: network, bits }
  if (network.some((part, i) => part !== words[i])) {
    return fault(`'${text}' has bits set after its first ${bits}`, `did you mean ${prefixToText(prefix)}?`)
  }
  return { ok: true, value: prefix }
}

export function parseIpv4(text: string): Parsed<number> {
  const word = ipv4FromText(text)
  if (word !== null) return { ok: true, value: word }
  if (ipv6FromText(text) !== null) return fault(`'${text}' is an IPv6 address, and IPv4 is needed here`)
  return fault(`'${text}' is not an IPv4 address`, 'write four numbers of 0 to 255, such as 192.0.0.8')
}

export function parseIpv6(text: string): Parsed<number[]> {
  const words = ipv6FromText(text)
  if (words !== null) return { ok: true, value: words }
  if (ipv4FromText(text) !== null) return fault(`'${text}' is an IPv4 address, and IPv6 is needed here`)
  if (text.includes('%')) return fault(`'${text}' has a zone`, `write ${text.slice(0, text.indexOf('%'))}`)
  return fault(`'${text}' is not an IPv6 address`, 'write one such as fe80::1')
}

/** An address, a range `203.0.113.1-203.0.113.4` or a prefix, of which every address counts, the first and last too. */
export function parseRange(text: string): Parsed<Range> {
  if (text.includes('/')) {
    const prefix = parsePrefix(text)
    if (!prefix.ok) return prefix
    if (prefix.value.family === 6) return fault(`'${text}' is an IPv6 prefix, and IPv4 is needed here`)
    const first = prefix.value.words[0]! >>> 0
    return { ok: true, value: { first, last: first + 2 ** (32 - prefix.value.bits) - 1 } }
  }
  const [from, to, ...rest] = text.split('-').map(end => end.trim())
  const first = parseIpv4(from!)
  const last = to === undefined ? first : parseIpv4(to)
  if (!first.ok || !last.ok || rest.length > 0) {
    const wrong = first.ok ? last : first
    if (!wrong.ok && wrong.message.includes('IPv6')) return wrong
    return fault(`'${text}' is neither an address, a range nor a prefix`,
      'write one such as 203.0.113.1, 203.0.113.1-203.0.113.4 or 203.0.113.0/28')
  }
  const range = { first: first.value >>> 0, last: last.value >>> 0 }
  if (range.first > range.last) return fault(`'${text}' runs backwards`, `did you mean ${to}-${from}?`)
  return { ok: true, value: range }
}

export function rangeToText({ first, last }: Range): string {
  return first === last ? ipv4ToText(first) : `${ipv4ToText(first)}-${ipv4ToText(last)}`
}

/** Addresses of an IPv4 prefix. */
export function prefixRange(prefix: Prefix): Range {
  const first = prefix.words[0]! >>> 0
  return { first, last: first + 2 ** (32 - prefix.bits) - 1 }
}
