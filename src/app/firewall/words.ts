/**
 * The parts of firewall rules as text, the same in both forms of a rule: `tcp`, `10.0.0.0/8,!10.9.0.0/16`, `80,8000-8999`,
 * `echo-request,3/4`, `syn,!ack`. Lists are joined by commas; `!` before an entry takes it out. What was read prints as a text that
 * reads as the same.
 */
import { maskWord, parsePrefix, printPrefix } from '../../base/address.ts'
import { PROTOCOL_NAMES, protocolNumber } from '../../base/protocols.ts'
import {
  IP_OPTIONS, normalSpans, otherSpans, TCP_FLAGS, TCP_OPTIONS, type AddressTerm, type Bits, type FirewallRule, type Span,
} from '../../engine/firewall-rule.ts'
import { nearest } from '../config/nearest.ts'

/** `column` counts from 1 in the text that was read. */
export type Read<T> = { ok: true; value: T } | TextFault
export interface TextFault { ok: false; column: number; message: string; suggestion?: string }

export function textFault(column: number, message: string, suggestion?: string): TextFault {
  return suggestion === undefined ? { ok: false, column, message } : { ok: false, column, message, suggestion }
}

function meant(word: string, known: readonly string[]): string {
  const near = nearest(word, known)
  return near === null ? `write ${known.slice(0, 6).join(', ')}${known.length > 6 ? ' or another' : ''}` : `did you mean ${near}?`
}

interface Item { text: string; not: boolean; column: number }

/** Entries of a list that must not be empty. */
function itemsOf(text: string): Read<Item[]> {
  const items: Item[] = []
  let column = 1
  for (const part of text.split(',')) {
    const not = part.startsWith('!'), word = not ? part.slice(1) : part
    if (word === '') return textFault(column, 'an entry of the list is empty', 'remove the comma')
    items.push({ text: word, not, column: column + (not ? 1 : 0) })
    column += part.length + 1
  }
  return { ok: true, value: items }
}

/** Reads each entry; those with `!` are taken out of the others, or of everything if there are no others. */
function spansOf(text: string, most: number, read: (item: Item) => Read<Span>): Read<Span[]> {
  const items = itemsOf(text)
  if (!items.ok) return items
  const wanted: Span[] = [], unwanted: Span[] = []
  for (const item of items.value) {
    const span = read(item)
    if (!span.ok) return span
    ;(item.not ? unwanted : wanted).push(span.value)
  }
  const from = wanted.length === 0 ? [{ low: 0, high: most }] : normalSpans(wanted)
  const left = otherSpans(normalSpans([...otherSpans(from, most), ...normalSpans(unwanted)]), most)
  return left.length === 0 ? textFault(1, `nothing is left of '${text}'`) : { ok: true, value: left }
}

function rangeOf({ text, column }: Item, most: number, what: string): Read<Span> {
  const [, from, to] = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(text) ?? []
  if (from === undefined) {
    return textFault(column, `'${text}' is not ${what}`, `write a number from 0 to ${most}, or a range such as 1-9`)
  }
  const low = Number(from), high = Number(to ?? from)
  if (low > high) return textFault(column, `'${text}' runs backwards`, `did you mean ${high}-${low}?`)
  return high > most ? textFault(column, `'${text}' is beyond ${most}`) : { ok: true, value: { low, high } }
}

/* Protocols. */

/** null: any. */
export function readProtocols(text: string): Read<number[] | null> {
  if (text === 'ip' || text === 'any') return { ok: true, value: null }
  const spans = spansOf(text.toLowerCase(), 255, (item) => {
    const named = protocolNumber(item.text)
    if (named !== undefined) return { ok: true, value: { low: named, high: named } }
    if (/^[\d-]+$/.test(item.text)) return rangeOf(item, 255, 'a protocol')
    return textFault(item.column, `'${item.text}' is not a protocol`, meant(item.text, ['ip', ...PROTOCOL_NAMES]))
  })
  if (!spans.ok) return spans
  const all = spans.value.flatMap(({ low, high }) => Array.from({ length: high - low + 1 }, (_, i) => low + i))
  return { ok: true, value: all.length === 256 ? null : all }
}

export function printProtocols(protocols: FirewallRule['protocols']): string {
  if (protocols === null) return 'ip'
  if (protocols.length <= 128) return protocols.join(',')
  const has = new Set(protocols)
  return Array.from({ length: 256 }, (_, i) => i).filter((one) => !has.has(one)).map((one) => `!${one}`).join(',')
}

/* Addresses. */

const ADDRESS_SAMPLE = 'write one such as 10.0.0.0/8, 2001:db8::/32, any or assigned'

export function readAddresses(text: string): Read<AddressTerm[]> {
  if (text === 'any') return { ok: true, value: [] }
  const items = itemsOf(text)
  if (!items.ok) return items
  const terms: AddressTerm[] = []
  for (const { text: word, not, column } of items.value) {
    if (word === 'any') return textFault(column, "'any' stands alone", 'remove the other entries, or this one')
    if (word === 'assigned') {
      terms.push({ not, assigned: true })
      continue
    }
    const parsed = parsePrefix(word)
    if (!parsed.ok) {
      return textFault(column + parsed.column - 1, `'${word}' is not an address or a prefix: ${parsed.reason}`, ADDRESS_SAMPLE)
    }
    const { version, words, prefixBits } = parsed.value
    const prefix = { version, words: words.map((one, i) => one & maskWord(prefixBits, i)), prefixBits, hostBits: false }
    // RFC 6733 4.3.1: the number MUST NOT have bits set beyond the mask.
    if (parsed.value.hostBits) {
      return textFault(column, `'${word}' has bits set after its first ${prefixBits}`, `did you mean ${printPrefix(prefix)}?`)
    }
    terms.push({ not, prefix })
  }
  return { ok: true, value: terms }
}

export function printAddresses(terms: readonly AddressTerm[]): string {
  if (terms.length === 0) return 'any'
  return terms.map((term) => {
    const text = 'prefix' in term ? printPrefix(term.prefix) : 'assigned'
    const host = 'prefix' in term && term.prefix.prefixBits === (term.prefix.version === 4 ? 32 : 128)
    return (term.not ? '!' : '') + (host ? text.slice(0, text.indexOf('/')) : text)
  }).join(',')
}

/* Ports. */

export function readPorts(text: string): Read<Span[]> {
  return spansOf(text, 65535, (item) => rangeOf(item, 65535, 'a port'))
}

function printSpan({ low, high }: Span): string {
  return low === high ? String(low) : `${low}-${high}`
}

export function printPorts(ports: readonly Span[]): string {
  return ports.map(printSpan).join(',')
}

/* ICMP types. */

/** RFC 6733 4.3.1 names them with spaces, for which `-` may stand; ICMPv6 names are those of RFC 4443. */
const ICMP_TYPES: Record<4 | 6, Record<string, number>> = {
  4: {
    'echo-reply': 0, 'destination-unreachable': 3, 'source-quench': 4, 'redirect': 5, 'echo-request': 8, 'router-advertisement': 9,
    'router-solicitation': 10, 'time-to-live-exceeded': 11, 'ip-header-bad': 12, 'timestamp-request': 13, 'timestamp-reply': 14,
    'information-request': 15, 'information-reply': 16, 'address-mask-request': 17, 'address-mask-reply': 18,
  },
  6: {
    'destination-unreachable': 1, 'packet-too-big': 2, 'time-exceeded': 3, 'parameter-problem': 4, 'echo-request': 128,
      'echo-reply': 129,
  },
}

/** Type, range of types, or type/code and type/codes: `8`, `13-14`, `3/4`, `destination-unreachable/0-3`. */
export function readIcmp(text: string, version: 4 | 6): Read<Span[]> {
  return spansOf(text.toLowerCase(), 0xffff, (item) => {
    const slash = item.text.indexOf('/')
    const typeText = slash < 0 ? item.text : item.text.slice(0, slash)
    const named = ICMP_TYPES[version][typeText]
    let types: Span
    if (named !== undefined) types = { low: named, high: named }
    else {
      if (!/^[\d-]+$/.test(typeText)) {
        return textFault(item.column, `'${typeText}' is not a type of ICMP${version === 6 ? 'v6' : ''}`,
          meant(typeText, Object.keys(ICMP_TYPES[version])))
      }
      const range = rangeOf({ ...item, text: typeText }, 255, 'a type')
      if (!range.ok) return range
      types = range.value
    }
    if (slash < 0) return { ok: true, value: { low: types.low << 8, high: types.high << 8 | 255 } }
    const codes = rangeOf({ ...item, text: item.text.slice(slash + 1), column: item.column + slash + 1 }, 255, 'a code')
    if (!codes.ok) return codes
    if (types.low !== types.high) return textFault(item.column, 'codes belong to one type')
    return { ok: true, value: { low: types.low << 8 | codes.value.low, high: types.low << 8 | codes.value.high } }
  })
}

export function printIcmp(spans: readonly Span[]): string {
  return spans.flatMap(({ low, high }) => {
    const texts: string[] = []
    for (let at = low; at <= high;) {
      const type = at >> 8
      const lastFull = ((high + 1) >> 8) - 1
      if ((at & 255) === 0 && lastFull >= type) {
        texts.push(printSpan({ low: type, high: lastFull }))
        at = (lastFull + 1) << 8
      } else {
        const end = Math.min(high, type << 8 | 255)
        texts.push(`${type}/${printSpan({ low: at & 255, high: end & 255 })}`)
        at = end + 1
      }
    }
    return texts
  }).join(',')
}

/* Flags and options. */

function readBits(text: string, names: Readonly<Record<string, number>>, what: string): Read<Bits> {
  const items = itemsOf(text.toLowerCase())
  if (!items.ok) return items
  const bits: Bits = { set: 0, clear: 0 }
  for (const { text: word, not, column } of items.value) {
    const bit = names[word]
    if (bit === undefined) return textFault(column, `'${word}' is not ${what}`, meant(word, Object.keys(names)))
    if (not) bits.clear |= bit
    else bits.set |= bit
    if ((bits.set & bits.clear) !== 0) return textFault(column, `'${word}' is both asked for and excluded`)
  }
  return { ok: true, value: bits }
}

function printBits({ set, clear }: Bits, names: Readonly<Record<string, number>>): string {
  const all = Object.entries(names)
  const named = (mask: number) => all.filter(([, bit]) => (mask & bit) !== 0).map(([name]) => name)
  return [...named(set), ...named(clear).map((name) => `!${name}`)].join(',')
}

export const readFlags = (text: string) => readBits(text, TCP_FLAGS, 'a TCP flag')
export const readTcpOptions = (text: string) => readBits(text, TCP_OPTIONS, 'a TCP option')
export const readIpOptions = (text: string) => readBits(text, IP_OPTIONS, 'an IP option')
export const printFlags = (bits: Bits) => printBits(bits, TCP_FLAGS)
export const printTcpOptions = (bits: Bits) => printBits(bits, TCP_OPTIONS)
export const printIpOptions = (bits: Bits) => printBits(bits, IP_OPTIONS)

/* Interfaces. */

/** All with `!`, or none. */
export function readInterfaces(text: string): Read<NonNullable<FirewallRule['interfaces']>> {
  const items = itemsOf(text)
  if (!items.ok) return items
  const { value } = items, { not } = value[0]!
  const odd = value.find((item) => item.not !== not)
  if (odd !== undefined) return textFault(odd.column, 'interfaces are named either all with ! or all without')
  const names = value.map((item) => item.text)
  const bad = value.find((item) => /[\s!"'/]|^-/.test(item.text))
  if (bad !== undefined) return textFault(bad.column, `'${bad.text}' cannot be named in a rule`,
    'write the number of the interface')
  return { ok: true, value: { names: [...new Set(names)], not } }
}

export function printInterfaces({ names, not }: NonNullable<FirewallRule['interfaces']>): string {
  return names.map((name) => (not ? '!' : '') + name).join(',')
}
