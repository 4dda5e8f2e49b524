/**
 * Addresses as text and as numbers, and sets of prefixes. IPv4 is one host-order int32, IPv6 four int32 words, so that
 * the packet path compares small integers; they are made unsigned only here, when printed or ordered. Text is read
 * strictly: IPv4 without leading zeros (they are octal elsewhere), IPv6 as RFC 4291 2.2 has it and without a zone.
 */

/** A value, or why there is none and at which column of the text (from 1). */
export type Parsed<T> = { ok: true; value: T } | { ok: false; reason: AddressFault; column: number }

export type AddressFault =
  | 'not an address' | 'an octet is missing' | 'an octet is above 255' | 'an octet has a leading zero'
  | 'a group has more than four digits' | 'too many groups' | 'too few groups' | 'a second ::' | 'a lone colon'
  | 'a zone is not allowed here' | 'unexpected character'
  | 'prefix length expected' | 'prefix length has a leading zero' | 'prefix length is too large'
  | 'range of two IP versions' | 'range runs backwards'

/** One address of either version: 1 word or 4. */
export interface Address { version: 4 | 6; words: Int32Array }

/** `words` are as written: when `hostBits` is set, some of them lie below the prefix. */
export interface Prefix extends Address { prefixBits: number; hostBits: boolean }

/** Both ends belong to the range. */
export interface AddressRange { version: 4 | 6; first: Int32Array; last: Int32Array }

const DOT = 46, SLASH = 47, COLON = 58, PERCENT = 37, ZERO = 48

function fail(reason: AddressFault, column: number): { ok: false; reason: AddressFault; column: number } {
  return { ok: false, reason, column }
}

function digitAt(text: string, at: number): number {
  const code = text.charCodeAt(at)
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** Reads a dotted quad that fills text from `at` to `end`. */
function quad(text: string, at: number, end: number): Parsed<number> {
  let addr = 0
  for (let octet = 0; octet < 4; octet++) {
    if (octet > 0) {
      if (at >= end) return fail('an octet is missing', at + 1)
      if (text.charCodeAt(at) !== DOT) return fail('unexpected character', at + 1)
      at++
    }
    const start = at
    let value = 0
    for (; at < end; at++) {
      const digit = digitAt(text, at)
      if (digit < 0 || digit > 9) break
      value = value * 10 + digit
      if (value > 255) return fail('an octet is above 255', start + 1)
    }
    if (at === start) {
      return fail(at < end && text.charCodeAt(at) !== DOT ? 'unexpected character' : 'an octet is missing', at + 1)
    }
    if (at - start > 1 && text.charCodeAt(start) === ZERO) return fail('an octet has a leading zero', start + 1)
    addr = addr << 8 | value
  }
  return at < end ? fail('unexpected character', at + 1) : { ok: true, value: addr }
}

function strangerAt(text: string, at: number) {
  return fail(text.charCodeAt(at) === PERCENT ? 'a zone is not allowed here' : 'unexpected character', at + 1)
}

/** Reads eight groups that fill text from `start` to `end`. */
function groups(text: string, start: number, end: number, into: Int32Array, offset: number): Parsed<Int32Array> {
  const halves = new Uint16Array(8)
  let count = 0, gap = -1, at = start
  if (at >= end) return fail('not an address', at + 1)
  while (at < end) {
    if (text.charCodeAt(at) === COLON) {
      if (at + 1 < end && text.charCodeAt(at + 1) === COLON) {
        if (gap >= 0) return fail('a second ::', at + 1)
        gap = count
        at += 2
        if (at === end) break
        if (text.charCodeAt(at) === COLON) return fail('a lone colon', at + 1)
      } else {
        if (count === 0 || at + 1 === end) return fail('a lone colon', at + 1)
        at++
      }
    } else if (count > 0) return strangerAt(text, at)
    const first = at
    let value = 0
    for (; at < end; at++) {
      const digit = digitAt(text, at)
      if (digit < 0) break
      if (at - first === 4) return fail('a group has more than four digits', first + 1)
      value = value << 4 | digit
    }
    if (at < end && text.charCodeAt(at) === DOT) {
      // RFC 4291 2.2 (3): the last 32 bits may be a dotted quad, which takes the place of two groups.
      if (count > 6) return fail('too many groups', first + 1)
      const tail = quad(text, first, end)
      if (!tail.ok) return tail
      halves[count++] = tail.value >>> 16
      halves[count++] = tail.value
      break
    }
    if (at === first) return strangerAt(text, at)
    if (count === 8) return fail('too many groups', first + 1)
    halves[count++] = value
  }
  if (gap < 0 && count < 8) return fail('too few groups', end + 1)
  // RFC 4291 2.2 (2): "::" stands for one group or more, so eight written groups leave it nothing.
  if (gap >= 0) {
    if (count === 8) return fail('too many groups', end)
    const moved = count - gap
    halves.copyWithin(8 - moved, gap, count)
    halves.fill(0, gap, 8 - moved)
  }
  for (let i = 0; i < 4; i++) into[offset + i] = halves[2 * i] << 16 | halves[2 * i + 1]
  return { ok: true, value: into }
}

/** A dotted quad as host-order int32. */
export function parse4(text: string): Parsed<number> { return quad(text, 0, text.length) }

/** Writes four words at `offset` of `into`; on failure `into` is untouched. */
export function parse6(text: string, into: Int32Array, offset: number): Parsed<Int32Array> {
  return groups(text, 0, text.length, into, offset)
}

function addressIn(text: string, start: number, end: number): Parsed<Address> {
  for (let at = start; at < end; at++) {
    if (text.charCodeAt(at) !== COLON) continue
    const words = new Int32Array(4), parsed = groups(text, start, end, words, 0)
    return parsed.ok ? { ok: true, value: { version: 6, words } } : parsed
  }
  if (start >= end) return fail('not an address', start + 1)
  const parsed = quad(text, start, end)
  return parsed.ok ? { ok: true, value: { version: 4, words: Int32Array.of(parsed.value) } } : parsed
}

/** An address of either version: a colon anywhere makes it IPv6. */
export function parseAddress(text: string): Parsed<Address> { return addressIn(text, 0, text.length) }

/** `a/len`, or an address alone, which is the prefix of its full length. */
export function parsePrefix(text: string): Parsed<Prefix> {
  let slash = 0
  while (slash < text.length && text.charCodeAt(slash) !== SLASH) slash++
  const parsed = addressIn(text, 0, slash)
  if (!parsed.ok) return parsed
  const { version, words } = parsed.value
  const mostBits = version === 4 ? 32 : 128
  let prefixBits = mostBits
  if (slash < text.length) {
    const first = slash + 1
    prefixBits = 0
    if (first === text.length) return fail('prefix length expected', first + 1)
    for (let at = first; at < text.length; at++) {
      const digit = digitAt(text, at)
      if (digit < 0 || digit > 9) return fail(at === first ? 'prefix length expected' : 'unexpected character', at + 1)
      prefixBits = prefixBits * 10 + digit
      if (prefixBits > mostBits) return fail('prefix length is too large', first + 1)
    }
    if (text.length - first > 1 && text.charCodeAt(first) === ZERO) {
      return fail('prefix length has a leading zero', first + 1)
    }
  }
  let hostBits = false
  for (let i = 0; i < words.length; i++) if ((words[i] & ~maskWord(prefixBits, i)) !== 0) hostBits = true
  return { ok: true, value: { version, words, prefixBits, hostBits } }
}

/** `a-b`, both ends included, or an address alone. */
export function parseRange(text: string): Parsed<AddressRange> {
  const dash = text.indexOf('-')
  const first = addressIn(text, 0, dash < 0 ? text.length : dash)
  if (!first.ok) return first
  const { version, words } = first.value
  if (dash < 0) return { ok: true, value: { version, first: words, last: words } }
  const last = addressIn(text, dash + 1, text.length)
  if (!last.ok) return last
  if (version !== last.value.version) return fail('range of two IP versions', dash + 2)
  if (compareWords(words, last.value.words) > 0) return fail('range runs backwards', dash + 2)
  return { ok: true, value: { version, first: words, last: last.value.words } }
}

/** Mask of word `index` (0 for IPv4) under a prefix of `prefixBits`. */
export function maskWord(prefixBits: number, index: number): number {
  const bits = prefixBits - 32 * index
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits)
}

/** Order of two addresses of one version as unsigned numbers: negative, 0 or positive. */
export function compareWords(a: Int32Array, b: Int32Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] >>> 0 < b[i] >>> 0 ? -1 : 1
  return 0
}

export function print4(addr: number): string {
  return (addr >>> 24) + '.' + (addr >>> 16 & 255) + '.' + (addr >>> 8 & 255) + '.' + (addr & 255)
}

/**
 * RFC 5952: lower case, no leading zeros, `::` for the longest run of two zero groups or more, the first of equals.
 * Our reading of its section 5: of the well-known prefixes, only ::ffff:0:0/96 ends in a dotted quad.
 */
export function print6(words: Int32Array, offset = 0): string {
  const mapped = words[offset] === 0 && words[offset + 1] === 0 && words[offset + 2] === 0xffff
  if (mapped) return '::ffff:' + print4(words[offset + 3])
  const group = (i: number) => i & 1 ? words[offset + (i >> 1)] & 0xffff : words[offset + (i >> 1)] >>> 16
  let runAt = -1, runGroups = 1
  for (let i = 0; i < 8; i++) {
    let to = i
    while (to < 8 && group(to) === 0) to++
    if (to - i > runGroups) { runAt = i; runGroups = to - i }
    if (to > i) i = to
  }
  let text = ''
  for (let i = 0; i < 8; i++) {
    if (i === runAt) {
      text += '::'
      i += runGroups - 1
    } else {
      if (i > 0 && i !== runAt + runGroups) text += ':'
      text += group(i).toString(16)
    }
  }
  return text
}

export function printAddress(a: Address): string { return a.version === 4 ? print4(a.words[0]) : print6(a.words) }

export function printPrefix(p: Prefix): string { return printAddress(p) + '/' + p.prefixBits }

export interface PrefixSet {
  has4(addr: number): boolean
  /** The same as 1 or 0, without a branch on the answer: for callers that cannot foretell it. */
  count4(addr: number): number
  has6(w0: number, w1: number, w2: number, w3: number): boolean
}

/* What the table over the upper 16 bits of an IPv4 address says of its 65,536 addresses. */
const NONE = 0, ALL = 1, SOME = 2

/**
 * Membership only: which prefix it was is not kept. Host bits of a prefix are ignored. IPv4 costs one load unless a
 * prefix longer than /16 shares the upper half; those, and all of IPv6, are compared one after the other.
 */
export function createPrefixSet(prefixes: readonly Prefix[]): PrefixSet {
  const upper = new Uint8Array(65536)
  const long4 = prefixes.filter(p => p.version === 4 && p.prefixBits > 16)
  const all6 = prefixes.filter(p => p.version === 6)
  // net4: mask, network; net6: four masks, four network words.
  const net4 = new Int32Array(2 * long4.length), net6 = new Int32Array(8 * all6.length)
  const words4 = net4.length, words6 = net6.length
  long4.forEach((p, i) => {
    net4[2 * i] = maskWord(p.prefixBits, 0)
    net4[2 * i + 1] = p.words[0] & net4[2 * i]
    upper[p.words[0] >>> 16] = SOME
  })
  for (const p of prefixes) {
    if (p.version === 6 || p.prefixBits > 16) continue
    const first = (p.words[0] & maskWord(p.prefixBits, 0)) >>> 16
    upper.fill(ALL, first, first + 2 ** (16 - p.prefixBits))
  }
  all6.forEach((p, i) => {
    for (let w = 0; w < 4; w++) {
      net6[8 * i + w] = maskWord(p.prefixBits, w)
      net6[8 * i + 4 + w] = p.words[w] & net6[8 * i + w]
    }
  })

  function has4(addr: number): boolean {
    const known = upper[addr >>> 16]
    if (known !== SOME) return known !== NONE
    for (let i = 0; i < words4; i += 2) if ((addr & net4[i]) === net4[i + 1]) return true
    return false
  }
  function count4(addr: number): number {
    const known = upper[addr >>> 16]
    return known !== SOME ? known : has4(addr) ? 1 : 0
  }
  function has6(w0: number, w1: number, w2: number, w3: number): boolean {
    for (let i = 0; i < words6; i += 8) {
      if ((w0 & net6[i]) === net6[i + 4] && (w1 & net6[i + 1]) === net6[i + 5] &&
        (w2 & net6[i + 2]) === net6[i + 6] && (w3 & net6[i + 3]) === net6[i + 7]) return true
    }
    return false
  }
  return { has4, count4, has6 }
}
