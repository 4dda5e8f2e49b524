/** Words of a filter in tcpdump's syntax, with the columns at which they stand. */

/** A filter that cannot be read: where, and what was meant. `column` counts from 1. */
export class FilterError extends Error {
  readonly code = 'filter-invalid'
  readonly column: number
  constructor(column: number, message: string) {
    super(message)
    this.name = 'FilterError'
    this.column = column
  }
}

export interface Token {
  /** `number`: decimal, octal or hexadecimal. `address`: with dots or colons, a prefix length apart. `end`: behind the last. */
  kind: 'word' | 'number' | 'address' | 'sign' | 'end'
  text: string
  column: number
  /** Of a number, 0 … 2^32-1. */
  value: number
}

const SIGNS = ['&&', '||', '!=', '>=', '<=', '<<', '>>', '==',
  '(', ')', '[', ']', ':', '!', '=', '>', '<', '+', '-', '*', '/', '%', '&', '|', '^']
/** A number that is followed by a colon is a range inside brackets, or the beginning of an address outside. */
const ADDRESS = /^(?:[0-9a-fA-F]{0,4}:[0-9a-fA-F:]*:[0-9a-fA-F:.]*|\d+(?:\.\d+){1,3})(?![\w.])/
const MAC = /^[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}(?![\w:])/
const NUMBER = /^(?:0[xX][0-9a-fA-F]+|\d+)(?![\w.])/
const WORD = /^\\?[A-Za-z](?:[\w.-]*\w)?/
/** What begins like a number or an address and is none. */
const ODD = /^[\w.:]+/

export function tokens(text: string): Token[] {
  const found: Token[] = []
  let depth = 0
  for (let at = 0; at < text.length;) {
    const rest = text.slice(at), column = at + 1
    const space = /^\s+/.exec(rest)
    if (space !== null) {
      at += space[0].length
      continue
    }
    // Inside brackets a colon parts an offset from a size.
    const match = (depth === 0 ? take('address', MAC) ?? take('address', ADDRESS) : null) ?? take('number', NUMBER)
      ?? take('word', WORD) ?? sign()
    if (match === null) throw new FilterError(column, `'${ODD.exec(rest)?.[0] ?? rest[0]}' is no word, number or address`)
    found.push(match)
    at += match.text.length
    if (match.text === '[') depth++
    if (match.text === ']') depth--

    function take(kind: Token['kind'], pattern: RegExp): Token | null {
      const word = pattern.exec(rest)?.[0]
      if (word === undefined) return null
      if (kind !== 'number') return { kind, text: word, column, value: 0 }
      const value = Number(/^0\d/.test(word) ? `0o${word}` : word)
      if (Number.isNaN(value) || value > 0xffffffff) throw new FilterError(column, `${word} is not a number from 0 to 2^32-1`)
      return { kind, text: word, column, value }
    }
    function sign(): Token | null {
      const one = SIGNS.find((known) => rest.startsWith(known))
      return one === undefined ? null : { kind: 'sign', text: one, column, value: 0 }
    }
  }
  found.push({ kind: 'end', text: '', column: text.length + 1, value: 0 })
  return found
}
