/**
 * A firewall rule as a value: what configuration, the text form and the analysis of rules speak of. The packet path never reads
 * one; `firewall-set` makes tables of them. Every condition has to hold; what is null, empty or 0 says nothing.
 */
import type { Prefix } from '../base/address.ts'

/** Bits of `directions`: 1 << direction. */
export const OUTBOUND = 1, INBOUND = 2

/** IP options by name, and the bits that stand for them (RFC 6733 4.3.1). */
export const IP_OPTIONS = { ssrr: 1, lsrr: 2, rr: 4, ts: 8 } as const
/** TCP options by name. */
export const TCP_OPTIONS = { mss: 1, window: 2, sack: 4, ts: 8, cc: 16 } as const
/** TCP flags by name: the low six bits of their octet (RFC 9293 3.1). */
export const TCP_FLAGS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const

/** `rr,!ts`: all bits of `set` are there and none of `clear`. */
export interface Bits { set: number; clear: number }

/** From `low` to `high`, inclusive. */
export interface Span { low: number; high: number }

/** A prefix, or the inside network; with `not` the addresses that are not in it. */
export type AddressTerm = { not: boolean; prefix: Prefix } | { not: boolean; assigned: true }

export interface FirewallRule {
  name: string | null
  /** Where it stands, from 1; 0: nowhere. Means nothing to packets. */
  line: number
  permit: boolean
  directions: number
  /** Names or numbers of interfaces by which the packet comes in: one of `names`, or with `not` none of them. */
  interfaces: { names: readonly string[]; not: boolean } | null
  /** Ascending, without doubles; null: any. */
  protocols: readonly number[] | null
  /**
   * One of the terms without `not`, if there are such of the packet's IP version, and none of those with `not`. An IP version
   * that no term is of does not match. Empty: any.
   */
  source: readonly AddressTerm[]
  destination: readonly AddressTerm[]
  /** Ascending, apart from one another; null: any, and of protocols without ports too. */
  sourcePorts: readonly Span[] | null
  destinationPorts: readonly Span[] | null
  /** Type << 8 | code, ascending, apart from one another; null: any. */
  icmp: readonly Span[] | null
  tcpFlags: Bits
  /** RST or ACK is set. */
  established: boolean
  tcpOptions: Bits
  ipOptions: Bits
  /** A fragment that is not the first of its datagram. */
  frag: boolean
}

export const ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58

/** A rule that matches every packet. */
export function anyRule(permit: boolean): FirewallRule {
  return {
    name: null, line: 0, permit, directions: OUTBOUND | INBOUND, interfaces: null, protocols: null, source: [], destination: [],
    sourcePorts: null, destinationPorts: null, icmp: null, tcpFlags: { set: 0, clear: 0 }, established: false,
    tcpOptions: { set: 0, clear: 0 }, ipOptions: { set: 0, clear: 0 }, frag: false,
  }
}

/** Does the rule look at what only the first fragment of a datagram, or a whole packet, has? */
export function looksAtTransport(rule: FirewallRule): boolean {
  const { sourcePorts, destinationPorts, icmp, tcpFlags, established, tcpOptions } = rule
  return sourcePorts !== null || destinationPorts !== null || icmp !== null || established
    || (tcpFlags.set | tcpFlags.clear | tcpOptions.set | tcpOptions.clear) !== 0
}

/** Sorted, and joined where they touch. */
export function normalSpans(spans: readonly Span[]): Span[] {
  const sorted = [...spans].sort((a, b) => a.low - b.low)
  const joined: Span[] = []
  for (const { low, high } of sorted) {
    const last = joined.at(-1)
    if (last !== undefined && low <= last.high + 1) last.high = Math.max(last.high, high)
    else joined.push({ low, high })
  }
  return joined
}

/** What lies between 0 and `most` and in none of them, which are normal. */
export function otherSpans(spans: readonly Span[], most: number): Span[] {
  const others: Span[] = []
  let next = 0
  for (const { low, high } of spans) {
    if (low > next) others.push({ low: next, high: low - 1 })
    next = high + 1
  }
  if (next <= most) others.push({ low: next, high: most })
  return others
}
