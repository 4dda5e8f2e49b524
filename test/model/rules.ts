/**
 * Rules of the model: a list in the order in which they came, searched from one end to the other. Section "Rules (MIDCOM)"
 * of docs/behaviour.md: "Rule of a packet".
 */
import { TCP, UDP, under, type Addr } from './packet.ts'
import type { Endpoint } from './flows.ts'
import type { Way } from './tcp.ts'

/** What one end of a packet must be; ports are inclusive. */
export interface Range { addr: Addr; bits: number; lo: number; hi: number }

export interface Rule {
  /** Rule number, from 1. */
  rule: number
  priority: number
  version: 4 | 6
  /** -1: any. */
  protocol: number
  local: Range
  peer: Range
  disable: boolean
  out: boolean
  in: boolean
  bound: boolean
  twice: boolean
}

/** A packet as rules see it, or the packet that a flow stands for. */
export interface Asked {
  version: 4 | 6
  protocol: number
  way: Way
  local: Endpoint
  peer: Endpoint
  /** It opens a connection, or is no TCP. */
  opens: boolean
  /** From outside without NAT, or to a port or address binding. */
  bound: boolean
}

function within(end: Endpoint, range: Range, ported: boolean): boolean {
  const port = ported ? end.port : 0
  return under(end.addr, range.addr, range.bits) && port >= range.lo && port <= range.hi
}

/** Two concrete ranges of one length stand for as many rules, each with one port of either (RFC 5189 2.3.6). */
function pairs(rule: Rule): boolean {
  const length = (range: Range) => range.hi - range.lo, isAny = (range: Range) => range.lo === 0 && range.hi === 65535
  return !rule.disable && length(rule.local) === length(rule.peer) && !isAny(rule.local) && !isAny(rule.peer)
}

/** Do version, protocol, addresses and ports of the rule hold? */
export function covers(rule: Rule, of: { version: 4 | 6; protocol: number }, local: Endpoint, peer: Endpoint): boolean {
  const ported = of.protocol === TCP || of.protocol === UDP
  return rule.version === of.version && (rule.protocol === -1 || rule.protocol === of.protocol)
    && within(local, rule.local, ported) && within(peer, rule.peer, ported)
    && (!pairs(rule) || !ported || local.port - rule.local.lo === peer.port - rule.peer.lo)
}

export class Rules {
  list: Rule[] = []

  add(rule: Rule): void { this.list.push(rule) }
  remove(number: number): void { this.list = this.list.filter(r => r.rule !== number) }

  /**
   * The rule that decides, or `null`. A rule that admits only what comes to a binding hides those behind it even where it
   * admits nothing.
   */
  of(asked: Asked): Rule | null {
    const matching = this.list.filter(r => {
      if (!covers(r, asked, asked.local, asked.peer)) return false
      if (r.disable) return true
      return asked.opens && r[asked.way]
    })
    const first = matching.reduce<Rule | null>((best, r) => best === null || r.priority < best.priority ? r : best, null)
    const elsewhere = first !== null && !first.disable && first.bound && asked.way === 'in' && !asked.bound
    return elsewhere ? null : first
  }
}
