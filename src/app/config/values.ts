/** What the text of a setting means, by the rule that the schema gives it, and whether it may be so. */
import { parseAddress } from '../../base/address.ts'
import { parseProtocol } from '../../control/simco/agent-endpoint.ts'
import { fault, parseIpv4, parseIpv6, parsePrefix, parseRange, type Parsed, type Range } from './address.ts'
import { parseEnd, parseHosts, parseSpan } from './ends.ts'
import { parseRuleText } from './firewall.ts'
import { parseHostAddress, parseInterfaceAddress, parseInterfaceName, parseVlan } from './interfaces.ts'
import { durationToText, parseCount, parseDuration, parseInstant, parsePorts } from './quantity.ts'
import type { ValueRule } from './setting.ts'
import { parseEngineId, parsePassword, parseSubtree } from './snmp-values.ts'
import { parseTuple } from './tuple.ts'

export function parseValue(rule: ValueRule, written: string | number): Parsed<unknown> {
  if (rule.word !== undefined && written === rule.word) return { ok: true, value: written }
  switch (rule.kind) {
    case 'duration': return withinLimits(rule, parseDuration(String(written)), written)
    case 'instant': return parseInstant(String(written))
    case 'count': return withinLimits(rule, parseCount(written), written)
    case 'ports': return parsePorts(String(written), Number(rule.min), Number(rule.max))
    case 'prefix': return parsePrefix(String(written))
    case 'range': return usableRange(String(written))
    case 'ipv4': return usableIpv4(String(written))
    case 'ipv6': return usableIpv6(String(written))
    case 'hosts': return parseHosts(String(written))
    case 'span': return parseSpan(String(written))
    case 'end': return parseEnd(String(written))
    case 'endpoint': return parseEndpoint(String(written), rule.port)
    case 'protocol': return asProtocol(String(written))
    case 'key': return parseKey(String(written))
    case 'certificate': return parseCertificate(String(written))
    case 'url': return parseUrl(String(written))
    case 'name': return parseName(String(written))
    case 'text': return { ok: true, value: String(written) }
    case 'tuple': return parseTuple(String(written))
    case 'password': return parsePassword(String(written))
    case 'engine-id': return parseEngineId(String(written))
    case 'subtree': return parseSubtree(String(written))
    case 'rule': return parseRuleText(String(written))
    case 'interface': return parseInterfaceName(String(written))
    case 'vlan': return parseVlan(String(written))
    case 'interface-address': return parseInterfaceAddress(String(written))
    case 'address': return parseHostAddress(String(written))
    case 'rule-part': throw new Error('a part of a rule needs its path')
  }
}

/** Where a number may stand in place of a text. */
export function takesNumber({ kind }: ValueRule): boolean {
  return kind === 'count' || kind === 'protocol' || kind === 'text' || kind === 'rule-part' || kind === 'vlan'
}

function withinLimits(rule: ValueRule, parsed: Parsed<number>, written: string | number): Parsed<number> {
  if (!parsed.ok || rule.min === undefined || rule.max === undefined) return parsed
  const read = rule.kind === 'duration' ? parseDuration : parseCount
  const min = read(rule.min), max = read(rule.max)
  if (!min.ok || !max.ok) throw new Error(`the limits of ${rule.kind} do not parse`)
  if (parsed.value === 0 && rule.off === true) return parsed
  if (rule.seconds === true && parsed.value % 1000 !== 0) {
    const near = durationToText(Math.max(1000, Math.round(parsed.value / 1000) * 1000))
    return fault(`${written} is not a whole number of seconds`, `did you mean ${near}?`)
  }
  if (parsed.value >= min.value && parsed.value <= max.value) return parsed
  const below = parsed.value < min.value
  const range = `${rule.min} to ${rule.max}${rule.unit === undefined ? '' : ` ${rule.unit}`}`
  const source = below && rule.source !== undefined ? `, ${rule.source}` : ''
  const wrong = rule.kind === 'duration' ? below ? 'short' : 'long' : below ? 'few' : 'many'
  return fault(`${written} is too ${wrong} (${range}${source})`, `write ${below ? rule.min : rule.max}`)
}

// RFC 1122 3.2.1.3: these are no address of a host: this network, loopback, multicast, reserved and broadcast.
function unusable(first: number, last: number): string | null {
  if (first < 0x01000000) return '0.0.0.0/8, which is this network'
  if (last >= 0xe0000000) return '224.0.0.0/3, which is multicast and reserved'
  if (first <= 0x7fffffff && last >= 0x7f000000) return '127.0.0.0/8, which is loopback'
  return null
}

export function usableIpv4(text: string): Parsed<number> {
  const parsed = parseIpv4(text)
  const why = parsed.ok ? unusable(parsed.value >>> 0, parsed.value >>> 0) : null
  return why === null ? parsed : fault(`'${text}' is in ${why}`)
}

export function usableRange(text: string): Parsed<Range> {
  const parsed = parseRange(text)
  const why = parsed.ok ? unusable(parsed.value.first, parsed.value.last) : null
  return why === null ? parsed : fault(`'${text}' reaches into ${why}`)
}

function usableIpv6(text: string): Parsed<Int32Array> {
  const parsed = parseIpv6(text)
  if (!parsed.ok) return parsed
  const [a, b, c, d] = parsed.value
  if (a! >>> 24 === 0xff) return fault(`'${text}' is a multicast address, and a source is needed here`)
  if ((a! | b! | c!) === 0 && d! >>> 0 <= 1) {
    return fault(`'${text}' is no address of an interface`, 'write one such as fe80::1')
  }
  return parsed
}

/** Where a server listens. */
export interface Endpoint {
  /** As the system takes it: no brackets. */
  host: string
  /** 0: the system chooses. */
  port: number
}

/** `127.0.0.1:7626`, `[::1]:7626`. */
export function parseEndpoint(text: string, usual = '7626'): Parsed<Endpoint> {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  if (host === undefined || digits === undefined) {
    if (parseAddress(text).ok) {
      const colon = text.includes(':')
      return fault(`'${text}' has no port`, `did you mean ${colon ? `"[${text}]:${usual}"` : `${text}:${usual}`}?`)
    }
    return fault(`'${text}' is not an address with a port`, `write one such as 127.0.0.1:${usual} or "[::1]:${usual}"`)
  }
  const address = parseAddress(host)
  if (host === 'localhost') return fault(`'${text}' names a host`, `did you mean 127.0.0.1:${digits}?`)
  if (!address.ok) {
    return fault(`'${text}' is not an address with a port: ${address.reason}`,
      `write one such as 127.0.0.1:${usual} or "[::1]:${usual}"`)
  }
  if ((address.value.version === 6) !== (bracketed !== undefined)) {
    const meant = bracketed === undefined ? `"[${host}]:${digits}"` : `${host}:${digits}`
    return fault(`'${text}' is not an address with a port`, `did you mean ${meant}?`)
  }
  const port = Number(digits)
  return port <= 65535 ? { ok: true, value: { host, port } } : fault(`port ${port} is above 65535`)
}

/** Below, somebody could guess it by trying. */
const LEAST_KEY_BYTES = 16

/** Hex, or base64: a text that could be both is hex. */
export function parseKey(text: string): Parsed<Uint8Array> {
  const compact = text.replace(/\s/g, '')
  let key: Uint8Array
  if (/^([0-9a-f]{2})+$/i.test(compact)) key = Buffer.from(compact, 'hex')
  else if (/^[A-Za-z0-9+/_-]+={0,2}$/.test(compact)) key = Buffer.from(compact, 'base64')
  else return fault('this is neither hex nor base64', 'make one by: openssl rand -hex 32')
  if (key.length < LEAST_KEY_BYTES) {
    return fault(`the key has ${key.length} bytes, and ${LEAST_KEY_BYTES} are the least`, 'make one by: openssl rand -hex 32')
  }
  return { ok: true, value: Uint8Array.from(key) }
}

/** A name that a client certificate holds. */
function parseCertificate(text: string): Parsed<string> {
  if (/^(CN|DNS|URI):./.test(text)) return { ok: true, value: text }
  const kind = /^(cn|dns|uri)[:=]\s*(.+)/i.exec(text)
  return fault(`'${text}' does not say which name of a certificate it is`,
    kind === null ? 'write one such as CN:softswitch or DNS:switch.example' : `did you mean ${kind[1]!.toUpperCase()}:${kind[2]}?`)
}

function asProtocol(text: string): Parsed<number> {
  const parsed = parseProtocol(text)
  return parsed.ok ? parsed : fault(`'${text}' is not a protocol`,
    'write udp, tcp, another name such as gre, any, or a number from 0 to 255')
}

function parseUrl(text: string): Parsed<string> {
  if (text === '') return { ok: true, value: '' }
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null) return fault(`'${text}' is not a URL`, 'write one such as http://127.0.0.1:8180/decide')
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return fault(`'${text}' is neither http nor https`)
  return { ok: true, value: text }
}

/** An agent's identity goes over the wire with one byte of length (RFC 4540 4.3.7). */
const NAME_MOST_BYTES = 255

function parseName(text: string): Parsed<string> {
  const bytes = Buffer.byteLength(text)
  if (bytes === 0) return fault('the name is empty')
  if (bytes > NAME_MOST_BYTES) return fault(`the name has ${bytes} bytes, and ${NAME_MOST_BYTES} are the most`)
  if ([...text].some((one) => one < ' ' || one === '\x7f')) return fault('the name holds a control character')
  return { ok: true, value: text }
}
