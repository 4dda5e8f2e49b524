/** What no schema can say of `nat.npt6`: prefixes that cannot be translated, or that two entries claim (RFC 6296 3.1, 4.1). */
import { maskWord, printPrefix, type Prefix } from '../../base/address.ts'
import { parsePrefix } from './address.ts'
import { pathOf, type Found } from './document.ts'
import { setting } from './schema.ts'
import { entries } from './written.ts'

/** Sums are computed over 64 bits (RFC 6296 3.1). */
const LONGEST = 64
/** What no unicast prefix may touch (RFC 4291 2.4 to 2.7). */
const NO_UNICAST: [text: string, what: string][] = [
  ['ff00::/8', 'multicast'], ['fe80::/10', 'link-local'], ['::/64', 'for loopback, unspecified and IPv4-mapped addresses'],
]

interface Claim { pointer: string; value: Prefix }

export function betweenNpt6(data: unknown, found: Found): void {
  const list = setting(data, 'nat.npt6')
  const inside = entries(data, 'inside', parsePrefix).filter(({ value }) => value.version === 6)
  const claims: Record<'inside' | 'outside', Claim[]> = { inside: [], outside: [] }
  ;(Array.isArray(list) ? list : []).forEach((entry: unknown, n) => {
    const at = `/nat/npt6/${n}`
    const [from, to] = [read(entry, 'inside', at, found), read(entry, 'outside', at, found)]
    if (from === null || to === null) return
    if (!inside.some(({ value }) => value.prefixBits <= from.prefixBits && overlap(value, from))) {
      found([`${at}/inside`], `${printPrefix(from)} is not inside`, 'add it to inside')
    }
    const clash = inside.find(({ value }) => overlap(value, to))
    if (clash !== undefined) {
      found([`${at}/outside`, clash.pointer], `${printPrefix(to)} is inside, by ${printPrefix(clash.value)}`,
        'outside prefixes must not be inside ones')
    }
    // Outside, the shorter of the two counts as if zeros followed: what lies beside that is free.
    const common: Prefix = { ...to, prefixBits: Math.max(from.prefixBits, to.prefixBits) }
    for (const [side, value] of [['inside', from], ['outside', common]] as const) {
      const other = claims[side].find((one) => overlap(one.value, value))
      if (other !== undefined) {
        found([`${at}/${side}`], `${printPrefix(value)} is translated already`, `see ${pathOf(other.pointer)}`)
      }
      claims[side].push({ pointer: `${at}/${side}`, value })
    }
  })
}

function read(entry: unknown, side: 'inside' | 'outside', at: string, found: Found): Prefix | null {
  const text = setting(entry, side, 'nat.npt6[].')
  const parsed = typeof text === 'string' ? parsePrefix(text) : null
  // What is no prefix at all was told already.
  if (parsed === null || !parsed.ok) return null
  const prefix = parsed.value
  const fail = (message: string, suggestion: string) => {
    found([`${at}/${side}`], message, suggestion)
    return null
  }
  if (prefix.version !== 6) return fail(`'${text}' is an IPv4 prefix, and IPv6 is needed here`, 'IPv4 is translated by nat.static')
  if (prefix.prefixBits > LONGEST) return fail(`/${prefix.prefixBits} is too long to be translated`, `write a /${LONGEST} or less`)
  const forbidden = NO_UNICAST.find(([other]) => {
    const known = parsePrefix(other)
    return known.ok && overlap(known.value, prefix)
  })
  return forbidden === undefined ? prefix
    : fail(`${printPrefix(prefix)} reaches into ${forbidden[0]}, which is ${forbidden[1]}`, 'write a unicast prefix')
}

/** Have the two an address in common: is one the other's prefix? */
function overlap(a: Prefix, b: Prefix): boolean {
  const bits = Math.min(a.prefixBits, b.prefixBits)
  return a.words.every((word, index) => ((word ^ b.words[index]!) & maskWord(bits, index)) === 0)
}
