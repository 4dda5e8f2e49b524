/**
 * The built-in policy decision point (RFC 3303 2.9): a profile for each agent, held in memory, answers at once. A profile
 * restricts; what it leaves out is allowed. Agents without a profile are refused.
 *
 * A wildcard stands for all that it could match: it must lie within what the profile allows as a whole. Ports are a matter of TCP
 * and UDP; a request for any protocol reaches them all. A reservation without A0 is not held against the inside prefixes and
 * ports: it opens nothing, and the enable rule that uses it names A0.
 */
import { maskWord } from '../base/address.ts'
import type { Prefix } from '../base/address.ts'
import { ALL_PORTS, ANY_PROTOCOL } from './api.ts'
import type { Question, Tuple, Verdict } from './api.ts'
import { wordOf } from './checks.ts'
import type { PolicyAuthorizer } from './options.ts'
import { hasPorts } from './records.ts'

export type TransactionKind = 'reserve' | 'enable' | 'disable' | 'lifetime' | 'read'

/** Ports from `low` to `high`, both included. */
export interface PortRange { low: number; high: number }

export interface AgentProfile {
  name: string
  transactions?: readonly TransactionKind[]
  /** A0 must lie within these. */
  inside?: readonly Prefix[]
  /** A3 must lie within these. */
  outside?: readonly Prefix[]
  /** Ports of A0. */
  insidePorts?: readonly PortRange[]
  /** Ports of A3. */
  outsidePorts?: readonly PortRange[]
  protocols?: readonly number[]
  /** INBOUND, OUTBOUND, BIDIRECTIONAL. */
  directions?: readonly number[]
  maxLifetimeSec?: number
  /** Rules that the agent may own at a time. */
  maxRules?: number
  /** Other agents on whose rules this one may act; `*`: all. */
  actsFor?: readonly string[]
}

export interface ProfileAuthorizer extends PolicyAuthorizer {
  decide(question: Question): Verdict
  maxRules(agent: string): number
}

const ANY_PORT_LOW = 1, ANY_PORT_HIGH = 0xffff
const REFUSED: Verdict = { permit: false }
const PERMITTED: Verdict = { permit: true }

/** One of several profiles of a name counts: the last. */
export function createAuthorizer(agents: readonly AgentProfile[]): ProfileAuthorizer {
  const profiles = new Map(agents.map((profile) => [profile.name, createProfile(profile)]))
  // A transaction asks several times about one agent, and those of one agent come together: 2 % of what a rule takes.
  let lastAgent = '', last = profiles.get('')
  function profileOf(agent: string): Profile | undefined {
    if (agent !== lastAgent) {
      last = profiles.get(agent)
      lastAgent = agent
    }
    return last
  }

  return {
    decide: (question) => profileOf(question.agent)?.decide(question) ?? REFUSED,
    mayAccess: (agent, owner) => agent === owner || profiles.get(agent)?.mayActFor(owner) === true,
    maxRules: (agent) => profileOf(agent)?.maxRules ?? Infinity,
  }
}

interface Profile {
  maxRules: number
  decide(question: Question): Verdict
  mayActFor(owner: string): boolean
}

function createProfile(profile: AgentProfile): Profile {
  const transactions = profile.transactions && new Set<string>(profile.transactions)
  const protocols = profile.protocols && new Set(profile.protocols)
  const insidePorts = profile.insidePorts && merged(profile.insidePorts)
  const outsidePorts = profile.outsidePorts && merged(profile.outsidePorts)
  const others = new Set(profile.actsFor)
  const { maxLifetimeSec } = profile
  const permitted: Verdict = maxLifetimeSec === undefined ? PERMITTED : { permit: true, maxLifetimeSec }

  function mayUse(protocol: number): boolean {
    return protocols === undefined || protocols.has(protocol)
  }

  function mayReach(tuple: Tuple, prefixes: readonly Prefix[] | undefined, ports: readonly PortRange[] | undefined): boolean {
    if (prefixes !== undefined && !liesWithin(tuple, prefixes)) return false
    if (ports === undefined || (!hasPorts(tuple.protocol) && tuple.protocol !== ANY_PROTOCOL)) return true
    const isAny = tuple.protocol === ANY_PROTOCOL || tuple.port === 0
    const low = isAny ? ANY_PORT_LOW : tuple.port
    const high = isAny ? ANY_PORT_HIGH : tuple.port + tuple.range - 1
    return ports.some((range) => low >= range.low && high <= range.high)
  }

  function mayConnect(internal: Tuple, external: Tuple): boolean {
    return mayUse(internal.protocol) && mayReach(internal, profile.inside, insidePorts)
      && mayReach(external, profile.outside, outsidePorts)
  }

  function permits(question: Question): boolean {
    if (question.kind === 'session') return true
    if (transactions !== undefined && !transactions.has(question.kind)) return false
    if (question.kind === 'reserve') {
      const { internal, protocol, range } = question.request
      if (!mayUse(protocol)) return false
      if (internal === null) return true
      // The whole address is asked for: that is every port.
      const asked = { ...internal, protocol, range, port: range === ALL_PORTS ? 0 : internal.port }
      return mayReach(asked, profile.inside, insidePorts)
    }
    if (question.kind === 'enable') {
      const { internal, external, direction } = question.request
      return (profile.directions === undefined || profile.directions.includes(direction)) && mayConnect(internal, external)
    }
    return question.kind !== 'disable' || mayConnect(question.request.internal, question.request.external)
  }

  return {
    maxRules: profile.maxRules ?? Infinity,
    decide: (question) => permits(question) ? permitted : REFUSED,
    mayActFor: (owner) => others.has('*') || others.has(owner),
  }
}

/** Ranges in order, with those joined that overlap or touch. */
function merged(ranges: readonly PortRange[]): PortRange[] {
  const joined: PortRange[] = []
  for (const { low, high } of ranges.toSorted((a, b) => a.low - b.low)) {
    const last = joined.at(-1)
    if (last !== undefined && low <= last.high + 1) last.high = Math.max(last.high, high)
    else joined.push({ low, high })
  }
  return joined
}

/** Whether every address of a tuple's prefix is in one of the prefixes: a /8 also lies within its two halves. */
function liesWithin(tuple: Tuple, prefixes: readonly Prefix[]): boolean {
  const words = [0, 1, 2, 3].map((i) => wordOf(tuple, i) & maskWord(tuple.prefixBits, i))
  return isCovered(words, tuple.prefixBits, prefixes.filter((prefix) => prefix.version === tuple.version))
}

function isCovered(words: readonly number[], bits: number, prefixes: readonly Prefix[]): boolean {
  // Those that have anything in common with it.
  const near = prefixes.filter((prefix) => prefix.words.every((word, i) =>
    ((word ^ words[i]) & maskWord(Math.min(bits, prefix.prefixBits), i)) === 0))
  if (near.some((prefix) => prefix.prefixBits <= bits)) return true
  if (near.length < 2) return false
  const upper = words.with(bits >> 5, words[bits >> 5] | 1 << (31 - (bits & 31)))
  return isCovered(words, bits + 1, near) && isCovered(upper, bits + 1, near)
}
