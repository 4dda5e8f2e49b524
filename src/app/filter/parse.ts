/**
 * Reads a filter in tcpdump's syntax (pcap-filter(7)) and with words of our own (docs/explain.md). Precedence is tcpdump's: `not`
 * first, then `and` and `or` alike, from left to right. Qualifiers that are left out are those of the identifier before.
 */
import { maskWord, parse4, parseAddress } from '../../base/address.ts'
import { DROP_REASONS, type DropReason } from '../../channel/reasons.ts'
import { nearest } from '../config/nearest.ts'
import { FilterError, tokens, type Token } from './lex.ts'
import { CONSTANTS, ETHER_TYPES, HEADERS, PORTS, PROTOCOLS, PROTOCOL_NUMBERS, type Header } from './names.ts'
import type { Arithmetic, BinarySign, Dir, Expr, Relation } from './syntax.ts'

type Type = 'host' | 'net' | 'port' | 'portrange' | 'proto' | 'any'

/** What stands before an identifier: `tcp src port`. `any`: a host or, with a prefix length, a network. */
interface Head { protocol: string | null; dir: Dir; type: Type; column: number }

const RELATIONS: Record<string, Relation> = { '=': '=', '==': '=', '!=': '!=', '<': '<', '>': '>', '<=': '<=', '>=': '>=' }
/** From the loosest to the tightest. */
const SIGNS: BinarySign[][] = [['|', '^'], ['&'], ['<<', '>>'], ['+', '-'], ['*', '/', '%']]
const OPERATORS: Record<string, 'and' | 'or'> = { and: 'and', '&&': 'and', or: 'or', '||': 'or' }
const TYPES = ['host', 'net', 'port', 'portrange']
const OWN = ['drop', 'dropped', 'sent', 'held', 'reason', 'side', 'to', 'new', 'answered', 'hairpin', 'rule', 'fragment']
const OTHER = ['not', 'and', 'or', 'src', 'dst', 'proto', 'less', 'greater', 'len', 'vlan', 'multicast', 'broadcast', 'mask']
const REFUSED: Record<string, string> = {
  protochain: "'protochain' is not read; 'proto' looks behind a fragment header",
  gateway: "'gateway' needs host names, which are not looked up",
  mpls: "'mpls' is not read: what is behind labels is no packet that Pinhole forwards",
  pppoes: "'pppoes' is not read: what is in such sessions is no packet that Pinhole forwards",
}
const MOST_CHARS = 16_384
const MOST_DEPTH = 100

/** The words that a filter may begin a term with, for suggestions. */
const WORDS = [...Object.keys(PROTOCOLS), ...HEADERS, ...TYPES, ...OWN, ...OTHER]

/** Throws `FilterError`. */
export function parseFilter(text: string): Expr {
  if (text.length > MOST_CHARS) throw new FilterError(MOST_CHARS, `a filter has at most ${MOST_CHARS} characters`)
  const words = tokens(text)
  let at = 0
  let depth = 0
  let last: Head | null = null

  const peek = (ahead = 0): Token => words[Math.min(at + ahead, words.length - 1)]
  const next = (): Token => words[at < words.length - 1 ? at++ : at]
  const isNext = (...texts: string[]) => peek().kind !== 'end' && texts.includes(peek().text)
  const said = (token: Token) => token.kind === 'end' ? 'the end' : `'${token.text}'`

  function fail(token: Token, message: string): never {
    throw new FilterError(token.column, message)
  }
  function expect(text: string, after: string): void {
    if (!isNext(text)) fail(peek(), `'${text}' is missing after ${after}, before ${said(peek())}`)
    next()
  }
  function nested<T>(read: () => T): T {
    if (depth === MOST_DEPTH) fail(peek(), `more than ${MOST_DEPTH} levels`)
    depth++
    try {
      return read()
    } finally {
      depth--
    }
  }

  /* Terms. */

  function expression(): Expr {
    let left = term()
    for (let operator = OPERATORS[peek().text]; operator !== undefined; operator = OPERATORS[peek().text]) {
      next()
      left = { kind: operator, left, right: term() }
    }
    return left
  }

  function term(): Expr {
    if (isNext('not', '!')) {
      next()
      return { kind: 'not', of: nested(term) }
    }
    const compared = comparison()
    if (compared !== null) return compared
    if (isNext('(')) return group(expression)
    if (peek().kind === 'number' || peek().kind === 'address') {
      return identifier(last ?? { protocol: null, dir: 'either', type: 'any', column: peek().column })
    }
    if (peek().kind !== 'word') fail(peek(), `a term of the filter is expected before ${said(peek())}`)
    return worded()
  }

  function group(read: () => Expr): Expr {
    next()
    const inner = nested(read)
    expect(')', 'what is in parentheses')
    return inner
  }

  function worded(): Expr {
    const token = peek(), word = token.text
    const own = ownTerm(token)
    if (own !== null) return own
    switch (word) {
      case 'less': case 'greater': {
        next()
        if (peek().kind !== 'number') fail(peek(), `'${word}' takes a length in bytes`)
        const value: Arithmetic = { kind: 'number', value: next().value }
        return { kind: 'compare', relation: word === 'less' ? '<=' : '>=', left: { kind: 'length' }, right: value }
      }
      case 'vlan':
        next()
        if (peek().kind === 'number' && peek().value > 4095) fail(peek(), 'a VLAN has a number from 0 to 4095')
        return { kind: 'vlan', id: peek().kind === 'number' ? next().value : null }
      case 'multicast': case 'broadcast':
        next()
        return { kind: 'cast', family: 'ether', what: word }
    }
    if (REFUSED[word] !== undefined) fail(token, REFUSED[word])
    if (isProtocol(word) || TYPES.includes(word) || ['src', 'dst', 'proto'].includes(word)) return qualified()
    // With qualifiers at hand it may be the name of a port or a protocol.
    if (last !== null && ['port', 'portrange', 'proto'].includes(last.type)) return identifier(last)
    if (word.includes('.')) fail(token, `'${word}' looks like the name of a host, which is not looked up; write its address`)
    fail(token, `'${word}' is not a word of a filter${suggestion(word, WORDS)}`)
  }

  function suggestion(word: string, known: readonly string[]): string {
    const meant = nearest(word, known)
    return meant === null ? '' : `; did you mean '${meant}'?`
  }

  function isProtocol(word: string): boolean {
    return Object.hasOwn(PROTOCOLS, word) || ['ip', 'ip6', 'arp', 'rarp', 'ether', 'link'].includes(word)
  }

  /** Words that ask for what the box did. */
  function ownTerm(token: Token): Expr | null {
    switch (token.text) {
      case 'drop': case 'dropped': case 'sent': case 'held':
        next()
        return { kind: 'verdict', what: token.text === 'dropped' ? 'drop' : token.text }
      case 'new': case 'answered': case 'hairpin': case 'fragment':
        next()
        return { kind: token.text }
      case 'side': case 'to': {
        next()
        const which = next()
        if (which.text !== 'inside' && which.text !== 'outside') {
          fail(which, `'${token.text}' takes inside or outside, not ${said(which)}`)
        }
        return { kind: token.text, what: which.text }
      }
      case 'reason':
        next()
        return isNext('(') ? group(() => list(reason)) : reason()
      case 'rule': {
        next()
        const name = next()
        if (name.kind !== 'word' && name.kind !== 'number') {
          fail(name, `'rule' takes the name or number of a rule, not ${said(name)}`)
        }
        return { kind: 'rule', name: name.text }
      }
    }
    return null
  }

  function reason(): Expr {
    const token = next()
    const names = DROP_REASONS.map(([name]) => name as string)
    if (!names.includes(token.text)) fail(token, `${said(token)} is no drop reason${suggestion(token.text, names)}`)
    return { kind: 'reason', name: token.text as DropReason }
  }

  /** `a or b`, of one kind of thing. */
  function list(read: () => Expr): Expr {
    const one = (): Expr => {
      if (isNext('not', '!')) {
        next()
        return { kind: 'not', of: nested(one) }
      }
      return isNext('(') ? group(() => list(read)) : read()
    }
    let left = one()
    for (let operator = OPERATORS[peek().text]; operator !== undefined; operator = OPERATORS[peek().text]) {
      next()
      left = { kind: operator, left, right: one() }
    }
    return left
  }

  /* Qualifiers and identifiers. */

  function qualified(): Expr {
    const column = peek().column
    const protocol = isProtocol(peek().text) ? next() : null
    if (protocol !== null && isNext('multicast', 'broadcast')) return cast(protocol)
    const dir = direction()
    let type: Type | null = null
    if (isNext(...TYPES)) type = next().text as Type
    else if (dir === null && isNext('proto')) {
      next()
      type = 'proto'
    }
    if (dir === null && type === null) return bare(protocol!)
    const head: Head = { protocol: protocol?.text ?? null, dir: dir ?? 'either', type: type ?? 'any', column }
    checkHead(head, protocol)
    last = head
    return isNext('(') ? group(() => list(() => identifier(head))) : identifier(head)
  }

  function direction(): Dir | null {
    if (!isNext('src', 'dst')) return null
    const first = next().text
    const other = first === 'src' ? 'dst' : 'src'
    const joined = OPERATORS[peek().text]
    if (joined === undefined || peek(1).text !== other) return first as Dir
    next()
    next()
    return joined === 'or' ? 'either' : 'both'
  }

  function cast(protocol: Token): Expr {
    const what = next()
    const family = protocol.text === 'link' ? 'ether' : protocol.text
    if (family !== 'ether' && family !== 'ip' && family !== 'ip6' || family === 'ip6' && what.text === 'broadcast') {
      fail(what, `there is no '${protocol.text} ${what.text}'`)
    }
    if (family === 'ip' && what.text === 'broadcast') fail(what, "'ip broadcast' needs a netmask, which a capture does not tell")
    return { kind: 'cast', family, what: what.text as 'multicast' | 'broadcast' }
  }

  /** A protocol by itself: `icmp6`. */
  function bare({ text: word, column }: Token): Expr {
    if (word === 'ip' || word === 'ip6' || word === 'arp') return { kind: 'net', what: word }
    if (word === 'rarp') return { kind: 'ethertype', number: ETHER_TYPES['rarp']! }
    const known = PROTOCOLS[word]
    if (known === undefined) throw new FilterError(column, `'${word}' takes host, proto, multicast or broadcast`)
    return { kind: 'protocol', version: known.version, number: known.number }
  }

  /** What goes together: `tcp port` and `ip host`, not `icmp port`. */
  function checkHead({ type }: Head, protocol: Token | null): void {
    if (protocol === null) return
    const families: Record<Type, string[]> = {
      host: ['ip', 'ip6', 'arp', 'rarp', 'ether', 'link'], any: ['ip', 'ip6', 'arp', 'rarp', 'ether', 'link'],
      net: ['ip', 'ip6', 'arp', 'rarp'], port: ['tcp', 'udp', 'sctp', 'ip', 'ip6'], portrange: ['tcp', 'udp', 'sctp', 'ip', 'ip6'],
      proto: ['ip', 'ip6', 'ether', 'link'],
    }
    if (families[type].includes(protocol.text)) return
    const what = type === 'any' ? 'address' : type
    fail(protocol, `'${protocol.text}' has no ${what}: after ${families[type].slice(0, 4).join(', ')} it may stand`)
  }

  function identifier(head: Head): Expr {
    const token = peek()
    last = head
    switch (head.type) {
      case 'port': {
        const port = portOf(next())
        return portExpr(head, port, port)
      }
      case 'portrange': {
        const low = portOf(next())
        if (!isNext('-')) return portExpr(head, low, low)
        next()
        const end = peek(), high = portOf(next())
        if (high < low) fail(end, `the range ${low}-${high} runs backwards`)
        return portExpr(head, low, high)
      }
      case 'proto': return protocolExpr(head, next())
      case 'net': return network(head)
      case 'host': case 'any':
        if (head.protocol === 'ether' || head.protocol === 'link') return mac(head, next())
        if (token.kind === 'number' || token.kind === 'word') {
          fail(token, token.kind === 'word' ? `${said(token)} is no address; names of hosts are not looked up`
            : `${said(token)} is no address${last?.type === 'any' ? "; 'port' or 'net' may be missing" : ''}`)
        }
        if (peek(1).text === '/') {
          if (head.type === 'host') fail(peek(1), "'host' takes an address; a prefix goes with 'net'")
          return network(head)
        }
        return host(head, next())
    }
  }

  function portOf(token: Token): number {
    if (token.kind === 'number' && token.value <= 0xffff) return token.value
    const named = token.kind === 'word' ? PORTS[token.text.replace(/^\\/, '')] : undefined
    if (named !== undefined) return named
    if (token.kind === 'number') fail(token, `${token.text} is no port: the last one is 65535`)
    fail(token, `${said(token)} is no port${token.kind === 'word' ? suggestion(token.text, Object.keys(PORTS)) : ''}`)
  }

  function portExpr({ protocol, dir }: Head, low: number, high: number): Expr {
    const version = protocol === 'ip' ? 4 : protocol === 'ip6' ? 6 : null
    const one = protocol === null || version !== null ? null : PROTOCOLS[protocol].number
    return { kind: 'port', version, protocols: one === null ? [6, 17, 132] : [one], dir, low, high }
  }

  function protocolExpr({ protocol }: Head, token: Token): Expr {
    const isEther = protocol === 'ether' || protocol === 'link'
    const names = isEther ? ETHER_TYPES : PROTOCOL_NUMBERS
    const name = token.text.replace(/^\\/, '')
    const number = token.kind === 'number' ? token.value : Object.hasOwn(names, name) ? names[name] : undefined
    if (number === undefined) fail(token, `${said(token)} is no protocol${suggestion(name, Object.keys(names))}`)
    if (number > (isEther ? 0xffff : 255)) fail(token, `${token.text} is no protocol: the last one is ${isEther ? 65535 : 255}`)
    if (isEther) return { kind: 'ethertype', number }
    return { kind: 'protocol', version: protocol === 'ip' ? 4 : protocol === 'ip6' ? 6 : null, number }
  }

  function familyOf({ protocol }: Head): 'any' | 'ip' | 'ip6' | 'arp' {
    return protocol === null ? 'any' : protocol === 'rarp' ? 'arp' : protocol as 'ip' | 'ip6' | 'arp'
  }

  function host(head: Head, token: Token): Expr {
    const parsed = parseAddress(token.text)
    if (!parsed.ok) throw new FilterError(token.column + parsed.column - 1, `${said(token)}: ${parsed.reason}`)
    return addressExpr(head, token, parsed.value.words, parsed.value.version === 4 ? 32 : 128)
  }

  function addressExpr(head: Head, token: Token, words: Int32Array, bits: number): Expr {
    const version = words.length === 1 ? 4 : 6
    const family = familyOf(head)
    if (family === 'ip6' ? version === 4 : version === 6 && family !== 'any') {
      fail(token, `${said(token)} is an IPv${version} address, and '${head.protocol}' wants the other kind`)
    }
    const masks = words.map((_, index) => maskWord(bits, index))
    if (words.some((word, index) => (word & ~masks[index]) !== 0)) fail(token, `${token.text}/${bits} has bits below its prefix`)
    return { kind: 'address', family, dir: head.dir, version, words, masks }
  }

  /** `10`, `10.1`, `10.0.0.0/8`, `10.0.0.0 mask 255.0.0.0`, `2001:db8::/32`. */
  function network(head: Head): Expr {
    const token = next()
    if (token.kind !== 'address' && token.kind !== 'number') fail(token, `${said(token)} is no network; names are not looked up`)
    const parts = token.text.split('.')
    const isShort = !token.text.includes(':') && parts.length < 4
    const text = isShort ? [...parts, '0', '0', '0'].slice(0, 4).join('.') : token.text
    const parsed = parseAddress(text)
    if (!parsed.ok) throw new FilterError(token.column + parsed.column - 1, `${said(token)}: ${parsed.reason}`)
    const { words, version } = parsed.value
    if (isNext('mask')) return masked(head, token, words)
    let bits = version === 6 ? 128 : isShort ? parts.length * 8 : 32
    if (isNext('/')) {
      next()
      const length = next()
      if (length.kind !== 'number' || length.value > (version === 4 ? 32 : 128)) {
        fail(length, `${said(length)} is no prefix length of IPv${version}`)
      }
      bits = length.value
    }
    return addressExpr(head, token, words, bits)
  }

  function masked(head: Head, token: Token, words: Int32Array): Expr {
    next()
    const mask = next()
    const parsed = words.length === 1 ? parse4(mask.text) : null
    if (parsed === null || !parsed.ok) fail(mask, `${said(mask)} is no IPv4 mask`)
    if ((words[0] & ~parsed.value) !== 0) fail(token, `${token.text} has bits below the mask ${mask.text}`)
    const family = familyOf(head)
    if (family === 'ip6') fail(token, "a mask is for IPv4, and 'ip6' wants the other kind")
    return { kind: 'address', family, dir: head.dir, version: 4, words, masks: Int32Array.of(parsed.value) }
  }

  function mac({ dir }: Head, token: Token): Expr {
    const octets = token.text.split(':').map((octet) => parseInt(octet, 16))
    if (token.kind !== 'address' || octets.length !== 6 || !/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(token.text)) {
      fail(token, `${said(token)} is no link address such as 02:00:00:00:00:01`)
    }
    return { kind: 'mac', dir, octets }
  }

  /* Comparisons of numbers. */

  /** `tcp[13] & 2 != 0` and the like, or null: something else stands here. */
  function comparison(): Expr | null {
    const start = at, token = peek()
    const isHeader = (HEADERS as readonly string[]).includes(token.text) && peek(1).text === '['
    const certain = isHeader || isNext('len', 'length', '-')
    const possible = certain || token.kind === 'number' || isNext('(') || Object.hasOwn(CONSTANTS, token.text)
    if (!possible) return null
    try {
      const left = arithmetic(0)
      const relation = RELATIONS[peek().text]
      if (relation === undefined) fail(peek(), `one of = != < > <= >= is expected before ${said(peek())}`)
      next()
      return { kind: 'compare', relation, left, right: arithmetic(0) }
    } catch (error) {
      if (certain || !(error instanceof FilterError)) throw error
      at = start
      return null
    }
  }

  function arithmetic(level: number): Arithmetic {
    if (level === SIGNS.length) return operand()
    let left = arithmetic(level + 1)
    while (SIGNS[level].includes(peek().text as BinarySign) && peek().kind === 'sign') {
      const sign = next().text as BinarySign
      left = { kind: 'binary', sign, left, right: arithmetic(level + 1) }
    }
    return left
  }

  function operand(): Arithmetic {
    const token = next()
    if (token.kind === 'number') return { kind: 'number', value: token.value }
    if (token.text === '-') return { kind: 'minus', of: nested(operand) }
    if (token.text === '(') {
      const inner = nested(() => arithmetic(0))
      expect(')', 'an expression in parentheses')
      return inner
    }
    if (token.text === 'len' || token.text === 'length') return { kind: 'length' }
    if (token.kind === 'word' && Object.hasOwn(CONSTANTS, token.text)) return { kind: 'number', value: CONSTANTS[token.text] }
    if (token.kind === 'word' && (HEADERS as readonly string[]).includes(token.text)) return load(token)
    if (token.kind === 'end') fail(token, 'a number is expected at the end')
    fail(token, `${said(token)} is no number${token.kind === 'word' ? suggestion(token.text, Object.keys(CONSTANTS)) : ''}`)
  }

  function load(header: Token): Arithmetic {
    expect('[', `'${header.text}'`)
    const where = nested(() => arithmetic(0))
    let bytes: 1 | 2 | 4 = 1
    if (isNext(':')) {
      next()
      const size = next()
      if (size.value !== 1 && size.value !== 2 && size.value !== 4) fail(size, `${said(size)} bytes cannot be read; 1, 2 or 4 can`)
      bytes = size.value
    }
    expect(']', `the bytes of '${header.text}'`)
    return { kind: 'load', header: header.text as Header, at: where, bytes }
  }

  if (peek().kind === 'end') fail(peek(), 'the filter is empty')
  const tree = expression()
  if (peek().kind !== 'end') {
    fail(peek(), isNext(')') ? "')' has no '(' before it" : `'and' or 'or' is expected before ${said(peek())}`)
  }
  return tree
}

/** The text, the column marked below it, and what is wrong. */
export function explainFault(text: string, { column, message }: { column: number; message: string }): string {
  return `column ${column}: ${message}\n  ${text.replace(/[\n\r\t]/g, ' ')}\n  ${' '.repeat(column - 1)}^`
}
