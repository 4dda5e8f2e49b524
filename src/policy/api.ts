/**
 * The door to policy: the transactions of RFC 5189, as every control protocol calls them. A protocol translates its messages
 * into these calls and the results back; it decides nothing. What the words mean is in docs/midcom.md.
 *
 * A transaction is atomic (RFC 5189 2.1.4): it succeeds as a whole, or nothing has changed and one reason says why. Results are
 * values; nothing here throws on account of what an agent sent.
 */

/** Address tuple (RFC 5189 2.3.5). Wildcards: `prefixBits` below the full length, `protocol` 0, `port` 0. */
export interface Tuple {
  version: 4 | 6
  /** Host-order int32. IPv4: `word0`, the others 0. */
  word0: number
  word1: number
  word2: number
  word3: number
  /** Fixed high-order bits, 0..32 or 0..128. */
  prefixBits: number
  /** IANA number; 0: any protocol, and then ports say nothing. */
  protocol: number
  /** Lowest port; 0: any port, and then `range` says nothing. */
  port: number
  /** Consecutive ports from `port` on, 1..65535. */
  range: number
}

export const ANY_PROTOCOL = 0, TCP = 6, UDP = 17
/** `range` of a reservation: all ports, that is the whole address. */
export const ALL_PORTS = 0xffff

/** SIMCO and the MIDCOM-MIB number them alike. */
export const INBOUND = 1, OUTBOUND = 2, BIDIRECTIONAL = 3
export type Direction = typeof INBOUND | typeof OUTBOUND | typeof BIDIRECTIONAL

export const PARITY_ANY = 0, PARITY_ODD = 1, PARITY_EVEN = 2, PARITY_SAME = 3
export const TRADITIONAL = 1, TWICE = 2

/** Why a transaction failed. RFC 5189 lists most; the others are needed to answer in SIMCO (RFC 4540 4.2.3). */
export const REASONS = [
  'not-authorized-for-transaction', 'transaction-not-supported', 'session-not-open', 'no-such-rule', 'not-authorized-for-rule',
  'not-a-reservation', 'no-such-group', 'not-authorized-for-group', 'lack-of-addresses', 'lack-of-ports', 'lack-of-resources',
  'conflict', 'blocked-by-disable-rule', 'no-internal-wildcarding', 'no-external-wildcarding', 'no-port-wildcarding',
  'inconsistent', 'illegal-address', 'illegal-port', 'illegal-range', 'parity-mismatch', 'protocol-mismatch',
  'protocol-not-supported', 'ip-version-mismatch', 'nat-mode-not-supported', 'reserved-internal-mismatch',
  'lifetime-cannot-be-extended', 'lifetime-zero', 'configuration-failed', 'no-such-interface', 'interface-not-available',
] as const
export type Reason = (typeof REASONS)[number]

export type Outcome<T> = { ok: true; value: T } | { ok: false; reason: Reason }

/** PRR (RFC 5189 2.3.8). */
export interface ReserveRequest {
  /** Group to join, or 0: a new one. */
  group: number
  /** TRADITIONAL, TWICE or 0: no preference. */
  service: number
  /** IP version inside and outside: 4, 6 or 0, any. */
  internalVersion: number
  externalVersion: number
  /** A0, which SIMCO cannot say: null. Its port may be 0. */
  internal: Tuple | null
  protocol: number
  /** Consecutive ports, 1..65534, or ALL_PORTS. */
  range: number
  /** PARITY_ANY, PARITY_ODD or PARITY_EVEN: of the lowest port. */
  parity: number
  lifetimeSec: number
}
export interface ReserveReply {
  rule: number
  group: number
  lifetimeSec: number
  /** A2; on a pure firewall nothing but version and protocol count (`prefixBits` 0). */
  outside: Tuple
  /** A1, with twice-NAT only. */
  inside: Tuple | null
}

/** PER (RFC 5189 2.3.9), and with `reservation` SIMCO's PEA. */
export interface EnableRequest {
  /** Reserve rule to turn into this enable rule, or 0. Then `group` says nothing. */
  reservation: number
  group: number
  direction: number
  /** PARITY_ANY or PARITY_SAME. */
  parity: number
  /** A0 and A3; protocol and, unless either is a port wildcard, range are the same in both. */
  internal: Tuple
  external: Tuple
  lifetimeSec: number
  /** Idle time after which this rule ends, in seconds; 0: the box's own; 0xffffffff: never (RFC 5190 midcomRuleMaxIdleTime). */
  maxIdleSec: number
}
export interface EnableReply {
  rule: number
  group: number
  lifetimeSec: number
  /** A1 and A2. */
  inside: Tuple
  outside: Tuple
}

/** PDR (RFC 4540 8.8): blocks what matches, whoever enabled it. */
export interface DisableRequest { internal: Tuple; external: Tuple; lifetimeSec: number }
export interface DisableReply { rule: number; lifetimeSec: number }

/** RLC and GLC: a lifetime of 0 was asked for and ended the rule or the group. */
export interface LifetimeReply { lifetimeSec: number }

export interface RuleListEntry { rule: number; owner: string }
export interface GroupListEntry { group: number; owner: string }

/** PRS (RFC 5189 2.3.12). Tuples of the request come back as they were sent. */
export type RuleStatus =
  | { action: 'reserve'; rule: number; group: number; owner: string; lifetimeSec: number; internal: Tuple | null; outside: Tuple
    inside: Tuple | null; service: number; parity: number }
  | { action: 'enable'; rule: number; group: number; owner: string; lifetimeSec: number; direction: number; parity: number
    internal: Tuple; inside: Tuple; outside: Tuple; external: Tuple; maxIdleSec: number }
  | { action: 'disable'; rule: number; owner: string; lifetimeSec: number; internal: Tuple; external: Tuple }
export interface GroupStatus { group: number; owner: string; lifetimeSec: number; rules: number[] }

/** What the box can do (RFC 5189 2.1.6). */
export interface Capabilities {
  firewall: boolean
  nat: boolean
  portTranslation: boolean
  protocolTranslation: boolean
  twiceNat: boolean
  disableRules: boolean
  internalWildcards: boolean
  externalWildcards: boolean
  portWildcards: boolean
  persistentRules: boolean
  internalVersions: readonly (4 | 6)[]
  externalVersions: readonly (4 | 6)[]
  interfaceRules: boolean
  groupTransactions: boolean
  maxLifetimeSec: number
  /** 0: rules do not end for want of traffic. */
  idleTimeoutSec: number
  maxSessions: number
}

/** RLC or GLC among several: one of `rule` and `group` is 0. */
export interface LifetimeChange { rule: number; group: number; lifetimeSec: number }
export type BatchOutcome<T> = { ok: true; value: T } | { ok: false; reason: Reason; index: number }

/** Why a rule ended or changed, for logs and for protocols that can say so. */
export type Cause = 'agent' | 'expired' | 'idle' | 'disabled' | 'administrator' | 'authorization'
/** Why the box ended a session (STN). */
export type TerminationReason = 'administrator' | 'authorization' | 'shutdown' | 'overload' | 'protocol'

/** Where a session hears what it did not ask for. Called at the end of the transaction that caused it, never inside one. */
export interface SessionListener {
  /** REN: a rule is new, has another lifetime, or is gone (`lifetimeSec` 0). */
  ruleEvent(rule: number, lifetimeSec: number, cause: Cause): void
  /** GEN. */
  groupEvent(group: number, lifetimeSec: number): void
  /** STN: the box has ended the session; nothing more comes. */
  terminated(reason: TerminationReason): void
}

/**
 * Hears of every rule of the box whatever became of it, as a session with access to all would, and of members of groups one by one.
 * Its state may have moved on by then. `lifetimeSec` 0: it is gone. `by`: who asked for it, null: nobody.
 */
export type RuleWatcher = (rule: number, lifetimeSec: number, cause: Cause, by: SessionListener | null) => void

/** What may be asked of an authorizer (the PDP of RFC 3303). */
export type Question =
  | { kind: 'session'; agent: string }
  | { kind: 'reserve'; agent: string; request: ReserveRequest }
  | { kind: 'enable'; agent: string; request: EnableRequest }
  | { kind: 'disable'; agent: string; request: DisableRequest }
  | { kind: 'lifetime'; agent: string; owner: string; rule: number; lifetimeSec: number }
  | { kind: 'read'; agent: string }
/** `reason` is what the agent is told; by default not-authorized-for-transaction. `maxLifetimeSec` lowers what may be granted. */
export type Verdict = { permit: true; maxLifetimeSec?: number } | { permit: false; reason?: Reason }
export interface Authorizer {
  /** Answers at once or later; later ones must settle (a time-out is a refusal), and must not reject. */
  decide(question: Question): Verdict | Promise<Verdict>
  /** May this agent act on rules of that owner? Answers at once; who hears of rules is remembered until `authorizationChanged`. */
  mayAccess(agent: string, owner: string): boolean
}

/**
 * One MIDCOM session (RFC 5189 2.2), open from the start: authentication is the protocol's. Transactions answer at once, or with a
 * promise if the authorizer needs time; the caller must not start the next one before. After a success, packets do what was
 * promised once `Policy.appliedTicket() - ticket >= 0`, with the `ticket` that `Policy.ticket()` gave right after the call.
 */
export interface Session {
  readonly agent: string
  readonly isOpen: boolean
  reserve(request: ReserveRequest): Outcome<ReserveReply> | Promise<Outcome<ReserveReply>>
  enable(request: EnableRequest): Outcome<EnableReply> | Promise<Outcome<EnableReply>>
  disable(request: DisableRequest): Outcome<DisableReply> | Promise<Outcome<DisableReply>>
  changeLifetime(rule: number, lifetimeSec: number): Outcome<LifetimeReply> | Promise<Outcome<LifetimeReply>>
  listRules(): Outcome<RuleListEntry[]> | Promise<Outcome<RuleListEntry[]>>
  ruleStatus(rule: number): Outcome<RuleStatus> | Promise<Outcome<RuleStatus>>
  changeGroupLifetime(group: number, lifetimeSec: number): Outcome<LifetimeReply> | Promise<Outcome<LifetimeReply>>
  listGroups(): Outcome<GroupListEntry[]> | Promise<Outcome<GroupListEntry[]>>
  groupStatus(group: number): Outcome<GroupStatus> | Promise<Outcome<GroupStatus>>
  /** ST, or the connection is lost: the session is over, its rules stay. */
  end(): void
}

export interface Policy {
  readonly capabilities: Capabilities
  /** SE, after authentication. `agent` is the authenticated identity, 1..255 bytes of UTF-8. */
  openSession(agent: string, listener: SessionListener):
    Outcome<Session> | Promise<Outcome<Session>>
  /** The authorizer answers differently from now on. */
  authorizationChanged(): void
  /** Milliseconds of the box's clock, never going back: ends what is over, at most `budget` rules; returns true if more is due. */
  advance(nowMs: number, budget: number): boolean
  /** When `advance` next has something to do, in milliseconds, or Infinity. */
  nextDeadlineMs(): number
  /** Number of the last command given to the data plane, and of the last one it has carried out; both int32, modulo 2^32. */
  ticket(): number
  appliedTicket(): number
  /** Calls back after each turn in which the data plane has carried out commands. */
  onApplied(callback: () => void): void
  /** Lets a data plane on this thread carry out what it has been given; one elsewhere does so by itself. */
  pump(): void
  /** Told by whoever runs the data plane: `appliedTicket` may have moved. */
  applied(): void
  /** The administrator ends a rule: REN to every session with access. False: there is none. */
  terminateRule(rule: number, cause: Cause): boolean
  /** Ends every session of an agent, as when its authorization is withdrawn (RFC 3303 4), or all sessions if undefined. */
  terminateSessions(agent: string | undefined, reason: TerminationReason): number
  /** Rules whose packets and bytes went through, for reports: undefined if there is none. */
  ruleTraffic(rule: number): { packets: number; bytes: number } | undefined
  /** The rule that the packet path knows by this number (1 … limit), for those who explain; undefined: there is none. */
  ruleInSlot(slot: number): { rule: number; owner: string } | undefined
  readonly statistics: () => PolicyStatistics
  /** Bytes of all tables. */
  readonly bytes: () => number
}

export interface PolicyStatistics {
  sessions: number
  rules: number
  reserveRules: number
  enableRules: number
  disableRules: number
  groups: number
  boundPorts: number
  boundAddresses: number
  transactions: number
  failures: Partial<Record<Reason, number>>
  expired: number
  idle: number
}

/**
 * A reserve or enable rule with all that it was granted, as plain values: what a journal keeps of it. `outsideBy` and `insideBy`
 * say what A2 and A1 are: as sent or nothing (0), ports (1), a whole address (2), as packets come (3, 4).
 */
export interface SavedRule {
  action: 'reserve' | 'enable'
  owner: string
  /** Of a reserve rule that names no A0: null. */
  internal: Tuple | null
  /** null in a reserve rule. */
  external: Tuple | null
  /** IP version and protocol of a reserve rule, which it has without A0 too, and how many ports it holds or ALL_PORTS. */
  version: 4 | 6
  protocol: number
  range: number
  direction: number
  parity: number
  service: number
  outsideBy: number
  outsideAddress: number
  outsidePort: number
  insideBy: number
  insideAddress: number
  insidePort: number
  maxIdleSec: number
  remainingMs: number
}

/** A session that can act in another owner's name, and change several lifetimes in one transaction. */
export interface BookSession extends Session {
  /** PRR and PER, with the rule owned by `owner`, on whose rules the agent may act: else `not-authorized-for-group`. */
  reserveFor(owner: string, request: ReserveRequest): Outcome<ReserveReply> | Promise<Outcome<ReserveReply>>
  enableFor(owner: string, request: EnableRequest): Outcome<EnableReply> | Promise<Outcome<EnableReply>>
  /**
   * Why these changes would be refused as things are, or null; changes nothing. An authorizer that takes its time is not asked, so
   * it may yet refuse.
   */
  refusal(changes: readonly LifetimeChange[]): { reason: Reason; index: number } | null
  /** RLC and GLC, several at once: all of them in their order, or none. */
  changeLifetimes(changes: readonly LifetimeChange[]):
    BatchOutcome<LifetimeReply[]> | Promise<BatchOutcome<LifetimeReply[]>>
}

/** For doors that show every rule of the box, each to those who may see it, and for what keeps rules over a restart. */
export interface Book {
  watch(watcher: RuleWatcher): void
  /** As `Policy.openSession`. */
  openSession(agent: string, listener: SessionListener): Outcome<BookSession> | Promise<Outcome<BookSession>>
  /** PRS, whoever asks; undefined: there is none. */
  describe(rule: number): RuleStatus | undefined
  /** Whose rule that is, of which group and kind; undefined: there is none, or it disables. */
  identify(rule: number): { owner: string; group: number; action: 'reserve' | 'enable' } | undefined
  /** What is left of a rule, rounded up; 0: there is none. */
  lifetimeSec(rule: number): number
  /** Every rule but those that disable, in order of slots. */
  rules(): number[]
  /** May this agent act on rules of that owner? */
  mayAccess(agent: string, owner: string): boolean
  /** What brings this rule back, or undefined. */
  save(rule: number): SavedRule | undefined
  /**
   * Brings a rule back, with the ports and addresses that it had, in `group` or, if that is 0, one of its own. It is checked as if
   * its owner asked for it now, but the authorizer is not: what it was granted it has. The number is a new one.
   */
  restore(saved: SavedRule, group: number): Outcome<{ rule: number; group: number }>
}

/** The policy of a box on this thread, with its book. */
export interface PolicyCore extends Policy { readonly book: Book }
