import type { Prefix } from '../base/address.ts'
import type { CommandRing, RuleActivity } from '../channel/commands.ts'
import type { Npt6Pair } from '../channel/npt6.ts'
import type { PairedPool } from '../channel/pairing.ts'
import type { Authorizer } from './api.ts'

/** An authorizer that also bounds how many rules an agent may own. */
export interface PolicyAuthorizer extends Authorizer {
  /** Most rules that this agent may own at a time (`max-rules`); absent: no bound but the box's. */
  maxRules?(agent: string): number
}

/** A binding that the configuration makes: the data plane has it from the start, and it never ends. */
export interface FixedBinding {
  protocol: number
  /** A0, or A3 of an address shown to the inside. */
  real: number
  realPort: number
  /** A2, or A1. */
  shown: number
  shownPort: number
  /** Ports from there on; 0: the whole address, and protocol and ports say nothing. */
  count: number
}

/** What a policy core is made of: plain values, checked by whoever read them from a configuration. Addresses are int32. */
export interface PolicyOptions {
  ring: CommandRing
  activity: RuleActivity
  /** IPv4 is translated; false: a pure firewall. */
  nat44: boolean
  /** Outside addresses of which policy owns the ports `portLow` to `portHigh`, UDP and TCP. */
  pool: readonly number[]
  portLow: number
  portHigh: number
  /** Outside addresses that policy owns as a whole; none is in `pool`. */
  addresses: readonly number[]
  /** Which hosts have which part of `pool`; absent: all have all of it. */
  pools?: readonly PairedPool[]
  /** IPv6 prefixes that stand for others; absent: none do. */
  npt6?: readonly Npt6Pair[]
  /** A0 to A2, and A3 to A1. Rules share them. Of several for one real port the first counts. */
  fixedOutside?: readonly FixedBinding[]
  fixedInside?: readonly FixedBinding[]
  /** Addresses shown to the inside in place of external ones; if there are any, IPv4 is twice-NAT capable. */
  insidePool: readonly number[]
  /** Where internal endpoints may be. */
  inside: readonly Prefix[]
  seed: number
  limits: {
    /** Rules at a time, 1 … 2^24. */
    rules: number
    portsPerRule: number
    sessions: number
    /** Outside ports bound or reserved at a time. */
    boundPorts: number
  }
  maxLifetimeSec: number
  /** 0: rules do not end for want of traffic. */
  idleTimeoutSec: number
  /** Lifetimes may be made longer than what is left. */
  extend: boolean
  wildcards: { internal: boolean; external: boolean; ports: boolean }
  /** What an enable rule without a reservation gets, on a box that is twice-NAT capable. */
  service: 'traditional' | 'twice'
  /** Twice-NAT asked of a NAT that is not capable fails; else it counts as traditional. A firewall ignores what is asked. */
  strictNatMode: boolean
  disableRules: boolean
  authorizer: PolicyAuthorizer
  /** Lets a data plane on this thread apply what is in the ring; absent: it runs elsewhere. */
  pump?: () => void
}
