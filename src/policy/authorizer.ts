/**
 * The built-in policy decision point (RFC 3303 2.9): a profile for each agent, held in memory, answers at once. A profile
 * restricts; what it leaves out is allowed. Agents without a profile are refused.
 */
import type { Prefix } from '../base/address.ts'
import type { Question, Verdict } from './api.ts'
import type { PolicyAuthorizer } from './options.ts'

export type TransactionKind = 'reserve' | 'enable' | 'disable' | 'lifetime' | 'read'

export interface AgentProfile {
  name: string
  transactions?: readonly TransactionKind[]
  /** A0 must lie within these. */
  inside?: readonly Prefix[]
  /** A3 must lie within these. */
  outside?: readonly Prefix[]
  /** Ports of A0, both ends inclusive. */
  insidePorts?: readonly { low: number; high: number }[]
  /** Ports of A3. */
  outsidePorts?: readonly { low: number; high: number }[]
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

export function createAuthorizer(agents: readonly AgentProfile[]): ProfileAuthorizer {
  throw new Error('authorizer for ' + agents.length + ' agents is being built')
}
