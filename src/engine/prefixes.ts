/**
 * NPTv6 on packets (RFC 6296): addresses of IPv6 headers, and of headers that ICMP errors quote, are translated where they lie, and
 * what has no counterpart on the other side is dropped. Flows are known by their inside address, so what keeps state never sees
 * a translated one; the translation itself keeps none.
 */
import { NPT6_BAD_IID, NPT6_DONE, NPT6_NONE, type Npt6 } from '../channel/npt6.ts'
import { reasonIndex } from '../channel/reasons.ts'
import type { Frames } from '../wire/frames.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { type Shared, drop } from './shared.ts'

const INSIDE_TO_INSIDE = reasonIndex('inside-to-inside'), DENIED = reasonIndex('denied'), NO_MAPPING = reasonIndex('no-mapping')
const UNMAPPED = reasonIndex('npt6-unmapped'), BAD_IDENTIFIER = reasonIndex('npt6-bad-identifier')

export function createPrefixes({ view }: Pick<Frames, 'view'>, { outward, inward }: Npt6) {
  const $words = new Int32Array(4)

  function load(at: number): void {
    for (let word = 0; word < 4; word++) $words[word] = view.getInt32(at + (word << 2))
  }

  /** Puts four words of an address at `at`. */
  function store(at: number, words: Int32Array, from: number): void {
    for (let word = 0; word < 4; word++) view.setInt32(at + (word << 2), words[from + word])
  }

  // @req RFC6296 3.2, 3.3, 6
  /** Gives the inside address at byte `at` its outside one; an NPT6_ constant. */
  function outwardAt(at: number): number {
    load(at)
    const result = outward($words, 0)
    if (result === NPT6_DONE) store(at, $words, 0)
    return result
  }

  function inwardAt(at: number): number {
    load(at)
    const result = inward($words, 0)
    if (result === NPT6_DONE) store(at, $words, 0)
    return result
  }

  /** Translates the packet at `p` as one that crosses: its source on the way out, its destination on the way in, or both. */
  function cross(p: number, fromInside: boolean): void {
    if (fromInside) outwardAt(p + ipv6.SRC)
    inwardAt(p + ipv6.DST)
  }

  return { store, outwardAt, inwardAt, cross }
}

/** Reason to drop what an NPT6_ constant says. */
export function npt6Reason(result: number): number {
  return result === NPT6_BAD_IID ? BAD_IDENTIFIER : UNMAPPED
}

export interface PrefixGateParts {
  /** Both ends of the packet that is being decided: the one on our side first. */
  key: Int32Array
  /** For the caller: its source as it is seen outside, then its destination as the inside knows it. */
  seen: Int32Array
  /** ICMP errors to its sender. */
  noRoute(i: number, nowMs: number): void
  badSource(i: number, nowMs: number): void
  badField(i: number, field: number, nowMs: number): void
}

/** Which IPv6 packets have a counterpart on the other side. */
export function createPrefixGate(shared: Shared, { key, seen, noRoute, badSource, badField }: PrefixGateParts) {
  const { hairpinning, inside: { has6 } } = shared.options
  const npt6 = shared.npt6!

  function refuse(i: number, reason: number): false {
    drop(shared, i, reason)
    return false
  }

  /** Row i, from inside, may go out, and round if it is for a prefix of ours; else it was dropped. */
  function leaves(i: number, nowMs: number): boolean {
    seen.set(key)
    const source = npt6.outward(seen, 0), destination = npt6.inward(seen, 4)
    if (source > NPT6_DONE) {
      if (has6(key[4], key[5], key[6], key[7])) return refuse(i, INSIDE_TO_INSIDE)
      refuse(i, npt6Reason(source))
      // @req RFC6296 3.2b, 3.7b
      if (source === NPT6_BAD_IID) badField(i, ipv6.SRC, nowMs)
      else badSource(i, nowMs)
      return false
    }
    if (destination === NPT6_NONE) return true
    // Whoever has no outside address would be answered past the box.
    if (source === NPT6_NONE) return refuse(i, INSIDE_TO_INSIDE)
    if (!hairpinning) return refuse(i, DENIED)
    if (destination === NPT6_DONE) return true
    refuse(i, npt6Reason(destination))
    if (destination === NPT6_BAD_IID) badField(i, ipv6.DST, nowMs)
    else noRoute(i, nowMs)
    return false
  }

  /** Row i, from outside, is for somebody, whose inside address `key` has then; else it was dropped. */
  function enters(i: number, nowMs: number): boolean {
    const result = npt6.inward(key, 0)
    if (result === NPT6_DONE) return true
    if (result === NPT6_NONE) return !npt6.isInside(key, 0) || refuse(i, NO_MAPPING)
    refuse(i, npt6Reason(result))
    if (result === NPT6_BAD_IID) badField(i, ipv6.DST, nowMs)
    return false
  }

  return { leaves, enters }
}
