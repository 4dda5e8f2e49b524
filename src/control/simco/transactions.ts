/**
 * Rule requests of SIMCO as transactions of `policy/api.ts`, and their results as replies (RFC 4540 8). The door decides nothing:
 * what only SIMCO can say, such as where a tuple stands or an undefined value, is handed to policy in a form that policy refuses
 * for that same reason, so that the checks in front of it still answer first (RFC 4540 8.2.1, 8.3.1, 8.4.1).
 *
 * Policy gives tuples back as they were sent, so nothing is kept here. Protocols-only, which policy does not know, is
 * `range` 0 with prefix 0 and port 0, and `word0` holds the octet of the prefix length, which then says nothing: no full tuple
 * has `range` 0.
 */
import {
  A0, A1, A2, A3, ADDRESS_SPACE_UNAVAILABLE, CONFIGURATION_FAILED, CONFLICT, FULL, GID, GROUP_NOT_AUTHORIZED, ILLEGAL_ADDRESS,
  ILLEGAL_PORT, ILLEGAL_RANGE, INCONSISTENT, LACK_OF_ADDRESSES, LACK_OF_PORTS, LIFETIME_NOT_EXTENDABLE, MAX_LISTED_RULES,
  NAT_MODE_UNSUPPORTED, NOT_AUTHORIZED, NOT_SUPPORTED, NO_RESOURCES, NO_SUCH_GROUP, NO_SUCH_RULE, PARITY_MISMATCH, PDR_REPLY,
  PDR_REQUEST, PDS_REPLY, PEA_REQUEST, PER_REPLY, PER_REQUEST, PES_REPLY, PLC_REPLY, PLC_REQUEST, PRD_REPLY, PRL_REPLY, PRL_REQUEST,
  PRS_REQUEST, PROTOCOLS_ONLY, PROTOCOL_MISMATCH, PROTOCOL_UNSUPPORTED, PRR_REPLY, PRR_REQUEST, PRS_REPLY, REPLY_TOO_BIG,
  RULE_NOT_AUTHORIZED, VERSION_OF_IP, WILDCARD_UNSUPPORTED, createMessage, encode, encodeHeader, tupleBit,
  type Message, type Output, type WireTuple,
} from './codec.ts'
import { BIDIRECTIONAL, TCP, UDP } from '../../policy/api.ts'
import type {
  Capabilities, DisableReply, EnableReply, LifetimeReply, Outcome, Reason, ReserveReply, RuleListEntry, RuleStatus, Session, Tuple,
} from '../../policy/api.ts'

/** Policy's reasons as negative replies (RFC 4540 4.2.3); where two would do, the text of the processing sections decides. */
export const REPLY_CODES: Readonly<Record<Reason, number>> = {
  'not-authorized-for-transaction': NOT_AUTHORIZED, 'transaction-not-supported': NOT_SUPPORTED, 'session-not-open': NOT_AUTHORIZED,
  'no-such-rule': NO_SUCH_RULE, 'not-authorized-for-rule': RULE_NOT_AUTHORIZED,
  // RFC 4540 8.4.1, not 0x0357.
  'not-a-reservation': INCONSISTENT,
  'no-such-group': NO_SUCH_GROUP, 'not-authorized-for-group': GROUP_NOT_AUTHORIZED,
  'lack-of-addresses': LACK_OF_ADDRESSES, 'lack-of-ports': LACK_OF_PORTS, 'lack-of-resources': NO_RESOURCES,
  'conflict': CONFLICT, 'blocked-by-disable-rule': CONFLICT,
  'no-internal-wildcarding': WILDCARD_UNSUPPORTED, 'no-external-wildcarding': WILDCARD_UNSUPPORTED,
  'no-port-wildcarding': WILDCARD_UNSUPPORTED,
  'inconsistent': INCONSISTENT, 'reserved-internal-mismatch': INCONSISTENT,
  'illegal-address': ILLEGAL_ADDRESS, 'illegal-port': ILLEGAL_PORT, 'illegal-range': ILLEGAL_RANGE,
  'parity-mismatch': PARITY_MISMATCH, 'protocol-mismatch': PROTOCOL_MISMATCH, 'protocol-not-supported': PROTOCOL_UNSUPPORTED,
  'ip-version-mismatch': VERSION_OF_IP, 'nat-mode-not-supported': NAT_MODE_UNSUPPORTED,
  'lifetime-cannot-be-extended': LIFETIME_NOT_EXTENDABLE,
  'lifetime-zero': CONFIGURATION_FAILED, 'configuration-failed': CONFIGURATION_FAILED,
  'no-such-interface': ADDRESS_SPACE_UNAVAILABLE, 'interface-not-available': ADDRESS_SPACE_UNAVAILABLE,
}

export type Result = Outcome<ReserveReply | EnableReply | DisableReply | LifetimeReply | RuleListEntry[] | RuleStatus>

/** Names no rule and no group: those are below 2^31. The 0 of the wire is such a name, but means "none" to policy. */
const NOBODY = 0xffffffff
function named(id: number): number { return id === 0 ? NOBODY : id }

/** Octets 0 to 3 of the capabilities attribute (RFC 4540 4.3.3). */
export function capabilityWord(c: Capabilities): number {
  const versions = (of: readonly (4 | 6)[]) => (of.includes(4) ? 1 : 0) | (of.includes(6) ? 2 : 0)
  const box = (c.firewall ? 0x80 : 0) | (c.nat ? 0x40 : 0) | (c.disableRules ? 0x10 : 0) |
    // Bits of a NAT say nothing without one.
    (c.nat && c.twiceNat ? 4 : 0) | (c.nat && c.protocolTranslation ? 2 : 0) | (c.nat && c.portTranslation ? 1 : 0)
  const can = (c.internalWildcards ? 0x80 : 0) | (c.externalWildcards ? 0x40 : 0) | (c.portWildcards ? 0x20 : 0) |
    (c.persistentRules ? 0x10 : 0) | versions(c.internalVersions) << 2 | versions(c.externalVersions)
  return (box << 24 | can << 16) >>> 0
}

/** A tuple of a request for policy. An undefined version is taken as 4; `tupleFault` has seen it. */
function toPolicy(w: WireTuple): Tuple {
  const full = w.form === FULL
  return {
    version: w.version === 2 ? 6 : 4, word0: full ? w.word0 : w.prefixBits, word1: w.word1, word2: w.word2, word3: w.word3,
    prefixBits: full ? w.prefixBits : 0, protocol: w.protocol, port: w.port, range: w.range,
  }
}

/** A tuple of policy for a reply, in the form in which it was sent. */
function fromPolicy(t: Tuple, location: number, w: WireTuple): void {
  w.form = t.range === 0 && t.port === 0 && t.prefixBits === 0 ? PROTOCOLS_ONLY : FULL
  w.version = t.version === 6 ? 2 : 1
  w.addressBytes = t.version === 6 ? 16 : 4
  w.location = location
  w.protocol = t.protocol
  w.prefixBits = w.form === FULL ? t.prefixBits : t.word0 & 255
  w.port = t.port
  // RFC 4540 4.3.8: at least 1, also where it says nothing.
  w.range = t.range === 0 ? 1 : t.range
  w.word0 = t.word0
  w.word1 = t.word1
  w.word2 = t.word2
  w.word3 = t.word3
}

/** A tuple that a NAT has allocated: always with an address (RFC 4540 8.2.3, 8.3.3). */
function allocated(t: Tuple, location: number, w: WireTuple): void {
  fromPolicy(t, location, w)
  if (w.form === FULL) return
  w.form = FULL
  w.prefixBits = w.word0 = 0
}

/** What a reserve rule on a pure firewall says: version and protocol (RFC 4540 8.2.2). */
function nothingReserved(t: Tuple, w: WireTuple): void {
  fromPolicy(t, A2, w)
  w.form = PROTOCOLS_ONLY
  w.prefixBits = 0
}

type TupleFault = 'none' | 'inconsistent' | 'ip-version-mismatch' | 'illegal-range' | 'illegal-port'

function undefinedVersion(w: WireTuple): boolean { return w.version !== 1 && w.version !== 2 }
function portsOverflow(w: WireTuple): boolean {
  return (w.protocol === TCP || w.protocol === UDP) && w.port > 0 && w.port + w.range - 1 > 0xffff
}

/** Checks of RFC 4540 8.3.1 that policy cannot make, because it does not see location, form or ranges that say nothing. */
function tupleFault(internal: WireTuple, external: WireTuple): TupleFault {
  if (internal.location !== A0 || external.location !== A3) return 'inconsistent'
  if (undefinedVersion(internal) || undefinedVersion(external)) return 'ip-version-mismatch'
  if (internal.protocol !== external.protocol) return 'inconsistent'
  if (internal.form === FULL && internal.range === 0 || external.form === FULL && external.range === 0) return 'illegal-range'
  // Also where the port is a wildcard, as the text has it; 0xffff is tolerated there.
  if (internal.form === FULL && external.form === FULL && internal.range !== external.range &&
    internal.range !== 0xffff && external.range !== 0xffff) return 'inconsistent'
  return portsOverflow(internal) || portsOverflow(external) ? 'illegal-port' : 'none'
}

/** Wildcards of a tuple other than the protocol's. Without a protocol, or with one that has no ports, ports are none. */
function wildAddress(w: WireTuple): boolean { return w.form === PROTOCOLS_ONLY || w.prefixBits < (w.version === 2 ? 128 : 32) }
function wildPort(w: WireTuple): boolean { return (w.protocol === TCP || w.protocol === UDP) && w.port === 0 }

/** RFC 4540 8.3.1, last check of wildcards: bidirectional rules may leave the protocol open, nothing else. */
function bidirectionalFault(internal: WireTuple, external: WireTuple, capabilities: Capabilities): boolean {
  const port = wildPort(internal) || wildPort(external), a0 = wildAddress(internal), a3 = wildAddress(external)
  // A wildcard that is not supported at all is refused before, by policy; with the protocol, ports are open too.
  const { portWildcards, internalWildcards, externalWildcards } = capabilities
  if ((port || internal.protocol === 0) && !portWildcards || a0 && !internalWildcards || a3 && !externalWildcards) return false
  return port || a0 || a3
}

/** Makes policy refuse the request for `fault`, at that place in its order of checks. */
function spoil(fault: TupleFault, internal: Tuple, external: Tuple): void {
  external.version = internal.version = 4
  switch (fault) {
    case 'ip-version-mismatch': external.version = 6; break
    case 'inconsistent': external.protocol = internal.protocol ^ 1; break
    default:
      external.protocol = internal.protocol = UDP
      external.port = internal.port = fault === 'illegal-range' ? 1 : 0xffff
      external.range = internal.range = fault === 'illegal-range' ? 0 : 2
  }
}

function enable(session: Session, m: Message, capabilities: Capabilities): Result | Promise<Result> {
  const a0 = m.tuples[A0], a3 = m.tuples[A3], internal = toPolicy(a0), external = toPolicy(a3)
  const direction = m.perSet >>> 16 & 255
  let fault = tupleFault(a0, a3)
  if (fault === 'none' && direction === BIDIRECTIONAL && bidirectionalFault(a0, a3, capabilities)) fault = 'inconsistent'
  if (fault !== 'none') spoil(fault, internal, external)
  return session.enable({
    reservation: m.type === PEA_REQUEST ? named(m.pid) : 0, group: (m.present & 1 << GID) !== 0 ? named(m.gid) : 0,
    direction, parity: m.perSet >>> 24, internal, external, lifetimeSec: m.lifetimeSec, maxIdleSec: 0,
  })
}

function disable(session: Session, m: Message): Result | Promise<Result> {
  const a0 = m.tuples[A0], a3 = m.tuples[A3], internal = toPolicy(a0), external = toPolicy(a3), fault = tupleFault(a0, a3)
  if (fault !== 'none') spoil(fault, internal, external)
  return session.disable({ internal, external, lifetimeSec: m.lifetimeSec })
}

const UNDEFINED = 3
/** IP versions of the PRR set as policy has them. */
const IP_VERSIONS = [0, 4, 6]

function reserve(session: Session, m: Message): Result | Promise<Result> {
  const set = m.prrSet, service = set >>> 30, parity = set >>> 28 & 3, internal = set >>> 26 & 3, external = set >>> 24 & 3
  const mismatch = internal === UNDEFINED || external === UNDEFINED
  return session.reserve({
    group: (m.present & 1 << GID) !== 0 ? named(m.gid) : 0,
    // Undefined values become what policy refuses: two versions that disagree, and a parity that no reservation has.
    internalVersion: mismatch ? 4 : IP_VERSIONS[internal]!, externalVersion: mismatch ? 6 : IP_VERSIONS[external]!,
    service, parity: service === 0 || service === UNDEFINED ? UNDEFINED : parity,
    internal: null, protocol: set >>> 16 & 255, range: set & 0xffff, lifetimeSec: m.lifetimeSec,
  })
}

/** Carries out a rule request that is well formed; `m.type` is one of PRR, PER, PEA, PDR, PLC, PRS, PRL. */
export function transact(session: Session, m: Message, capabilities: Capabilities): Result | Promise<Result> {
  switch (m.type) {
    case PER_REQUEST:
    case PEA_REQUEST: return enable(session, m, capabilities)
    case PLC_REQUEST: return session.changeLifetime(m.pid, m.lifetimeSec)
    case PRS_REQUEST: return session.ruleStatus(m.pid)
    case PRL_REQUEST: return session.listRules()
    case PRR_REQUEST: return reserve(session, m)
    default: return capabilities.disableRules ? disable(session, m) : { ok: false, reason: 'transaction-not-supported' }
  }
}

/** Work object: a reply is filled and encoded before anything else happens. */
const $reply = createMessage()
const A1_BIT = tupleBit(A1)

function reserveTuples(outside: Tuple, inside: Tuple | null): void {
  if (outside.prefixBits === 0) nothingReserved(outside, $reply.tuples[A2])
  else allocated(outside, A2, $reply.tuples[A2])
  $reply.present = inside === null ? 0 : A1_BIT
  if (inside !== null) allocated(inside, A1, $reply.tuples[A1])
}

/** A1 and A2 of an enable rule. IPv6 passes a pure firewall, and so does IPv4 without NAT: there A2 is A0 as it was sent. */
function enableTuples(inside: Tuple, outside: Tuple, capabilities: Capabilities): void {
  if (capabilities.nat && outside.version === 4) allocated(outside, A2, $reply.tuples[A2])
  else fromPolicy(outside, A2, $reply.tuples[A2])
  fromPolicy(inside, A1, $reply.tuples[A1])
  $reply.present = A1_BIT
}

function status(s: RuleStatus, capabilities: Capabilities): void {
  $reply.pid = s.rule
  $reply.lifetimeSec = s.lifetimeSec
  $reply.owner = Buffer.from(s.owner, 'utf8')
  if (s.action !== 'disable') $reply.gid = s.group
  if (s.action === 'reserve') {
    $reply.type = PRS_REPLY
    reserveTuples(s.outside, s.inside)
    return
  }
  fromPolicy(s.internal, A0, $reply.tuples[A0])
  fromPolicy(s.external, A3, $reply.tuples[A3])
  $reply.type = PDS_REPLY
  if (s.action === 'enable') {
    $reply.type = PES_REPLY
    $reply.perSet = (s.parity << 24 | s.direction << 16) >>> 0
    enableTuples(s.inside, s.outside, capabilities)
  }
}

/**
 * Appends the reply to a request of `type`.
 * @returns 0, or the code of a negative reply
 */
export function reply(out: Output, type: number, tid: number, result: Result, capabilities: Capabilities): number {
  if (!result.ok) {
    const code = REPLY_CODES[result.reason]
    encodeHeader(out, code, tid)
    return code
  }
  const { value } = result
  $reply.tid = tid
  switch (type) {
    case PER_REQUEST:
    case PEA_REQUEST: {
      const enabled = value as EnableReply
      $reply.type = PER_REPLY
      $reply.pid = enabled.rule
      $reply.gid = enabled.group
      $reply.lifetimeSec = enabled.lifetimeSec
      enableTuples(enabled.inside, enabled.outside, capabilities)
      break
    }
    case PLC_REQUEST: {
      const { lifetimeSec } = value as LifetimeReply
      $reply.type = lifetimeSec === 0 ? PRD_REPLY : PLC_REPLY
      $reply.lifetimeSec = lifetimeSec
      break
    }
    case PRR_REQUEST: {
      const reserved = value as ReserveReply
      $reply.type = PRR_REPLY
      $reply.pid = reserved.rule
      $reply.gid = reserved.group
      $reply.lifetimeSec = reserved.lifetimeSec
      reserveTuples(reserved.outside, reserved.inside)
      break
    }
    case PDR_REQUEST: {
      const disabled = value as DisableReply
      $reply.type = PDR_REPLY
      $reply.pid = disabled.rule
      $reply.lifetimeSec = disabled.lifetimeSec
      break
    }
    case PRL_REQUEST: {
      const rules = value as RuleListEntry[]
      if (rules.length > MAX_LISTED_RULES) {
        encodeHeader(out, REPLY_TOO_BIG, tid)
        return REPLY_TOO_BIG
      }
      $reply.type = PRL_REPLY
      for (let i = 0; i < rules.length; i++) $reply.pids.push(rules[i]!.rule)
      break
    }
    default: status(value as RuleStatus, capabilities)
  }
  encode(out, $reply)
  if (type === PRL_REQUEST) $reply.pids.length = 0
  return 0
}
