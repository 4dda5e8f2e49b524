/** Rules as RFC 6733 4.3.1 alone can say them: what Pinhole says in one rule may take several, and some cannot be said. */
import { INBOUND, OUTBOUND, type AddressTerm, type FirewallRule } from '../../engine/firewall-rule.ts'

export type Strict = { ok: true; rules: FirewallRule[] } | { ok: false; reason: string }

/** Enough for any list that somebody writes; beyond, a device would refuse them as well. */
const MOST = 1024

/** The rules that stand for one, in its place; names are left out, for the form has none. */
export function strictRules(rule: FirewallRule): Strict {
  const { directions, protocols, source, destination, icmp, interfaces } = rule
  if (interfaces !== null) return { ok: false, reason: 'an IPFilterRule names no interface' }
  if (icmp?.some(({ low, high }) => (low & 255) !== 0 || (high & 255) !== 255) === true) {
    return { ok: false, reason: 'an IPFilterRule has types of ICMP, but no codes' }
  }
  const lists = [source, destination].map(apart)
  if (lists.some((list) => list === null)) return { ok: false, reason: 'an IPFilterRule takes nothing out of a list of addresses' }
  const ways = [OUTBOUND, INBOUND].filter((one) => (directions & one) !== 0)
  const numbers = protocols === null ? [null] : protocols.map((one) => [one])
  const [sources, destinations] = lists as AddressTerm[][][]
  if (ways.length * numbers.length * sources!.length * destinations!.length > MOST) {
    return { ok: false, reason: `it would take more than ${MOST} rules` }
  }
  const rules = ways.flatMap((one) => numbers.flatMap((protocol) => sources!.flatMap((from) => destinations!.map((to) =>
    ({ ...rule, name: null, directions: one, protocols: protocol, source: from, destination: to })))))
  return { ok: true, rules }
}

/** Terms that can stand in rules of their own, or null. */
function apart(terms: readonly AddressTerm[]): AddressTerm[][] | null {
  if (terms.length <= 1) return [[...terms]]
  return terms.some(({ not }) => not) ? null : terms.map((term) => [term])
}
