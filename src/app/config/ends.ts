/** Endpoints in settings of translation: an address or a prefix, or an address with ports. All of them IPv4. */
import { print4 } from '../../base/address.ts'
import { fault, parseIpv4, parsePrefix, type Parsed, type Range } from './address.ts'

/** Host-order int32; `bits` 0 … 32. */
export interface Hosts { address: number; bits: number }
/** Both ports belong to it; the lower one is -1 where there are none. */
export interface End extends Hosts { first: number; last: number }

/** `10.0.0.5`, `10.0.0.0/24`. */
export function parseHosts(text: string): Parsed<Hosts> {
  if (!text.includes('/')) {
    const parsed = parseIpv4(text)
    return parsed.ok ? { ok: true, value: { address: parsed.value, bits: 32 } } : parsed
  }
  const parsed = parsePrefix(text)
  if (!parsed.ok) return parsed
  if (parsed.value.version === 6) return fault(`'${text}' is an IPv6 prefix, and IPv4 is needed here`)
  return { ok: true, value: { address: parsed.value.words[0]!, bits: parsed.value.prefixBits } }
}

/** `203.0.113.1:8080`, `203.0.113.1:8080-8090`. */
export function parseSpan(text: string): Parsed<End> {
  const [, host, from, to] = /^([^:]*):(\d{1,9})(?:-(\d{1,9}))?$/.exec(text) ?? []
  if (host === undefined || from === undefined) {
    return fault(`'${text}' is not an address with ports`, 'write one such as 203.0.113.1:8080 or 203.0.113.1:8080-8090')
  }
  const address = parseIpv4(host)
  if (!address.ok) return address
  const first = Number(from), last = to === undefined ? first : Number(to)
  if (last > 65535) return fault(`port ${last} is above 65535`)
  if (first === 0) return fault('port 0 is none')
  if (first > last) return fault(`'${text}' runs backwards`, `did you mean ${host}:${last}-${first}?`)
  return { ok: true, value: { address: address.value, bits: 32, first, last } }
}

/** Either. */
export function parseEnd(text: string): Parsed<End> {
  if (text.includes(':') && !text.includes('/')) return parseSpan(text)
  const parsed = parseHosts(text)
  return parsed.ok ? { ok: true, value: { ...parsed.value, first: -1, last: -1 } } : parsed
}

export function rangeOf({ address, bits }: Hosts): Range {
  const first = address >>> 0
  return { first, last: first + 2 ** (32 - bits) - 1 }
}

export function hostsText({ address, bits }: Hosts): string {
  return bits === 32 ? print4(address) : `${print4(address)}/${bits}`
}
