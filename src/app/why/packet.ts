/**
 * A packet as people write it: `udp 10.0.0.5:5004 > 203.0.113.7:6000`, and what is behind: `ttl 1`, `flags SA`, `type 8 code 0`,
 * `about PACKET` of an ICMP error. docs/explain.md has the words.
 */
import { parseAddress } from '../../base/address.ts'
import { nearest } from '../config/nearest.ts'
import { endpointText } from '../explain/parse-result.ts'
import { PROTOCOL_NUMBERS } from '../filter/names.ts'
import { buildPacket, fragment, icmpError, type IpSpec, type PacketSpec } from '../../wire/build.ts'

/** A packet that cannot be read: where, and what was meant. `column` counts from 1. */
export class PacketError extends Error {
  readonly code = 'packet-invalid'
  readonly column: number
  constructor(column: number, message: string) {
    super(message)
    this.name = 'PacketError'
    this.column = column
  }
}

export interface WrittenPacket {
  /** From its IP header on. */
  bytes: Uint8Array
  version: 4 | 6
  protocol: number
  src: string
  dst: string
  /** null: the protocol has none, or it is a fragment after the first. */
  srcPort: number | null
  dstPort: number | null
  /** Of an ICMP query or its answer. */
  icmpId: number | null
  text: string
}

interface Word { text: string; column: number }

const FLAGS: Record<string, number> = {
  F: 1, S: 2, R: 4, P: 8, A: 16, '.': 16, U: 32, E: 64, W: 128,
  fin: 1, syn: 2, rst: 4, psh: 8, push: 8, ack: 16, urg: 32, ece: 64, cwr: 128,
}
const TYPES_4: Record<string, number> = {
  'echo-reply': 0, unreachable: 3, redirect: 5, 'echo-request': 8, echo: 8, 'time-exceeded': 11, 'parameter-problem': 12,
  'timestamp-request': 13, 'timestamp-reply': 14,
}
const TYPES_6: Record<string, number> = {
  unreachable: 1, 'packet-too-big': 2, 'time-exceeded': 3, 'parameter-problem': 4, 'echo-request': 128, echo: 128,
  'echo-reply': 129, 'router-solicitation': 133, 'router-advertisement': 134, 'neighbor-solicitation': 135,
  'neighbor-advertisement': 136, redirect: 137,
}
const ERRORS_4 = [3, 4, 5, 11, 12], ERRORS_6 = [1, 2, 3, 4]
const OPTIONS = ['ttl', 'tos', 'len', 'df', 'id', 'fragment', 'checksum', 'header-checksum', 'flags', 'seq', 'ack', 'win', 'type',
  'code', 'icmp-id', 'mtu', 'about']
const MOST_PAYLOAD = 65_000

/** Throws `PacketError`. */
export function parsePacket(text: string): WrittenPacket {
  const words = [...text.matchAll(/\S+/g)].map(({ 0: word, index }) => ({ text: word, column: index + 1 }))
  return read(words, text, 0)
}

function read(words: readonly Word[], text: string, depth: number): WrittenPacket {
  let at = 0
  const end: Word = { text: '', column: text.length + 1 }
  const next = (): Word => words[at++] ?? end
  const fail = ({ column }: Word, message: string): never => { throw new PacketError(column, message) }
  const said = (word: Word) => word.text === '' ? 'the end' : `'${word.text}'`

  const name = next()
  const protocol = protocolOf(name)
  const src = endpoint(next(), 'source')
  const arrow = next()
  if (arrow.text !== '>') fail(arrow, `'>' is expected before ${said(arrow)}`)
  const dst = endpoint(next(), 'destination')
  if (src.version !== dst.version) fail(dst.word, `${dst.word.text} is IPv${dst.version}, and the source is IPv${src.version}`)
  const version = src.version
  if (protocol === 1 && version === 6) fail(name, "over IPv6 it is 'icmp6'")
  if (protocol === 58 && version === 4) fail(name, "over IPv4 it is 'icmp'")

  function protocolOf(word: Word): number {
    if (/^\d+$/.test(word.text) && Number(word.text) < 256) return Number(word.text)
    const known = PROTOCOL_NUMBERS[word.text.toLowerCase()]
    if (known !== undefined) return known
    const meant = nearest(word.text, Object.keys(PROTOCOL_NUMBERS))
    const hint = meant === null ? '' : `; did you mean '${meant}'?`
    return fail(word, `a packet begins with its protocol, and ${said(word)} is none${hint}`)
  }

  function endpoint(word: Word, what: string): { word: Word; address: string; port: number | null; version: 4 | 6 } {
    const match = /^\[([^\]]*)\](?::(\d+))?$/.exec(word.text) ?? /^([^:]*)(?::(\d+))?$/.exec(word.text)
      ?? [word.text, word.text, undefined]
    const [, address = '', port] = match
    const parsed = parseAddress(address)
    if (!parsed.ok) {
      const hint = word.text.includes(':') && !word.text.includes('[') ? '; IPv6 with a port is [2001:db8::1]:53' : ''
      return fail(word, `${said(word)} is no ${what}: ${parsed.reason}${hint}`)
    }
    if (port !== undefined && Number(port) > 65535) fail(word, `${port} is no port: the last one is 65535`)
    return { word, address, port: port === undefined ? null : Number(port), version: parsed.value.version }
  }

  function whole(word: Word, least: number, most: number): number {
    const value = next()
    if (!/^\d+$/.test(value.text) || Number(value.text) < least || Number(value.text) > most) {
      fail(value, `'${word.text}' takes a whole number from ${least} to ${most}, not ${said(value)}`)
    }
    return Number(value.text)
  }

  const ip: IpSpec = { src: src.address, dst: dst.address, ip: version }
  const spec: Partial<PacketSpec> = {}
  let payloadBytes: number | null = null, original: WrittenPacket | null = null, mtu = 0, more = false, isFragment = false
  const only = (word: Word, ...numbers: number[]) => {
    if (!numbers.includes(protocol)) fail(word, `'${word.text}' is not for ${name.text}`)
  }
  for (let word = next(); word.text !== ''; word = next()) {
    switch (word.text) {
      case 'ttl': ip.ttl = whole(word, 0, 255); break
      case 'tos': ip.tos = whole(word, 0, 255); break
      case 'len': payloadBytes = whole(word, 0, MOST_PAYLOAD); break
      case 'id': ip.id = whole(word, 0, version === 4 ? 65535 : 4294967295); break
      case 'df':
        if (version === 6) fail(word, "IPv6 has no 'df': routers never fragment it")
        ip.dontFragment = true
        break
      case 'fragment': {
        const value = next()
        const match = /^(\d+)(\+?)$/.exec(value.text)
        if (match === null || Number(match[1]) % 8 !== 0 || Number(match[1]) > 65528) {
          fail(value, `'fragment' takes an offset, a multiple of 8, and + if more follow: 0+, 1480+, 2960; not ${said(value)}`)
        }
        isFragment = true
        ip.fragOffset = Number(match![1])
        more = match![2] === '+'
        break
      }
      case 'checksum': case 'header-checksum': {
        const value = next()
        if (value.text !== 'wrong' && value.text !== 'zero') fail(value, `'${word.text}' takes wrong or zero, not ${said(value)}`)
        if (word.text === 'header-checksum' && version === 6) fail(word, 'IPv6 has no header checksum')
        ip[word.text === 'checksum' ? 'checksum' : 'ipChecksum'] = value.text as 'wrong' | 'zero'
        break
      }
      case 'flags': only(word, 6); spec.tcpFlags = flags(next()); break
      case 'seq': only(word, 6, 1, 58); spec.seq = spec.icmpSeq = whole(word, 0, protocol === 6 ? 4294967295 : 65535); break
      case 'ack': only(word, 6); spec.ack = whole(word, 0, 4294967295); break
      case 'win': only(word, 6); spec.window = whole(word, 0, 65535); break
      case 'type': only(word, 1, 58); spec.icmpType = icmpType(next()); break
      case 'code': only(word, 1, 58); spec.icmpCode = whole(word, 0, 255); break
      case 'icmp-id': only(word, 1, 58); spec.icmpId = whole(word, 0, 65535); break
      case 'mtu': only(word, 1, 58); mtu = whole(word, 0, 4294967295); break
      case 'about':
        only(word, 1, 58)
        if (depth > 0) fail(word, 'an ICMP error quotes no ICMP error (RFC 1122 3.2.2)')
        if (words[at] === undefined) fail(end, "'about' takes the packet that the error is about")
        original = read(words.slice(at), text, depth + 1)
        if (original.version !== version) fail(words[at], `the packet that it is about is IPv${original.version}`)
        at = words.length
        break
      default: {
        const shorthand = protocol === 6 && /^\[[FSRPAUEW.]+\]$/.test(word.text)
        if (shorthand) {
          spec.tcpFlags = flags({ text: word.text.slice(1, -1), column: word.column + 1 })
          break
        }
        const named = (protocol === 1 ? TYPES_4 : protocol === 58 ? TYPES_6 : {})[word.text]
        if (named !== undefined) {
          spec.icmpType = named
          break
        }
        const meant = nearest(word.text, OPTIONS)
        fail(word, `${said(word)} is no word of a packet${meant === null ? '' : `; did you mean '${meant}'?`}`)
      }
    }
  }

  function flags(word: Word): number {
    const isLetters = /^[FSRPAUEW.]+$/.test(word.text)
    const list = isLetters ? [...word.text] : word.text === 'none' ? [] : word.text.toLowerCase().split(/[,|+]/)
    return list.reduce((sum, flag) => sum | (FLAGS[flag] ?? fail(word, `'${flag}' is no TCP flag; write SA, or syn,ack`)), 0)
  }

  function icmpType(word: Word): number {
    if (/^\d+$/.test(word.text) && Number(word.text) < 256) return Number(word.text)
    const names = protocol === 1 ? TYPES_4 : TYPES_6
    return names[word.text] ?? fail(word, `${said(word)} is no ICMP type; a number, or one of ${Object.keys(names).join(', ')}`)
  }

  /* The bytes. */
  const ports = [6, 17, 33, 136].includes(protocol)
  const isLater = isFragment && ip.fragOffset !== 0
  for (const { word, port } of [src, dst]) {
    if (ports && !isLater && port === null) fail(word, `${name.text} needs a port: ${endpointText(word.text, 53)}`)
    if (!ports && port !== null) fail(word, `${name.text} has no ports`)
  }
  const kinds: Record<number, PacketSpec['proto']> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 33: 'dccp', 58: 'icmp6', 136: 'udplite' }
  const payload = new Uint8Array(payloadBytes ?? (isLater || more ? 64 : 0))
  const type = spec.icmpType ?? (protocol === 58 ? 128 : 8)
  const isError = protocol === 1 ? ERRORS_4.includes(type) : protocol === 58 && ERRORS_6.includes(type)
  if (isError && original === null && !isLater) {
    const sample = `udp ${endpointText(dst.address, 5004)} > ${endpointText(src.address, 6000)}`
    return fail(end, `an ICMP error is about a packet: add 'about' and that, as in: about ${sample}`)
  }
  if (original !== null && !isError) return fail(end, `'about' is for ICMP errors; type ${type} is none`)
  let bytes: Uint8Array
  if (isFragment && !isLater) {
    // The first piece of a longer packet: cut off behind what is asked for.
    const carried = Math.max(8, payload.length & ~7)
    const longer = buildPacket({ ...ip, ...spec, proto: kinds[protocol] ?? protocol, srcPort: src.port ?? 0, dstPort: dst.port ?? 0,
      fragOffset: 0, payload: new Uint8Array(carried + 64), icmpType: type })
    const header = longer.length - carried - 64 - (version === 4 ? 20 : 40)
    bytes = more ? fragment(longer, [(header + carried) & ~7], { id: ip.id ?? 1 })[0] : longer
  } else if (isError && original !== null) {
    bytes = icmpError({ ...ip, icmpType: type, icmpCode: spec.icmpCode ?? 0, original: original.bytes, word: mtu })
  } else {
    bytes = buildPacket({
      ...ip, ...spec, proto: isLater ? protocol : kinds[protocol] ?? protocol, srcPort: src.port ?? 0, dstPort: dst.port ?? 0,
      payload, moreFragments: more, icmpType: type, ...protocol === 6 && { tcpFlags: spec.tcpFlags ?? 2 },
    })
  }
  return {
    bytes, version, protocol, src: src.address, dst: dst.address, text,
    srcPort: ports ? src.port : null, dstPort: ports ? dst.port : null,
    icmpId: (protocol === 1 || protocol === 58) && !isError ? spec.icmpId ?? 0 : null,
  }
}
