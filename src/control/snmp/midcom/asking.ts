/**
 * From the columns of a row to a request for policy, and from what policy says back to columns (RFC 5190 5.1, RFC 5189 2.3.5).
 * What can be seen to be wrong by the columns alone ends in incorrectRequest with its reason; the rest is policy's to judge.
 */
import {
  ALL_PORTS, PARITY_ANY, PARITY_EVEN, PARITY_SAME, TCP, TRADITIONAL, UDP, type EnableRequest, type Reason, type ReserveRequest,
  type RuleStatus, type Tuple,
} from '../../../policy/api.ts'
import {
  GENERIC_ERROR, INCORRECT_REQUEST, INSIDE_IF, IPV4, IPV6, OUTSIDE_IF, PAIR, REQUEST_REJECTED, SINGLE,
} from './objects.ts'
import type { Granted, Wanted } from './rows.ts'
import { DEFAULTS } from './rows.ts'

/** What the box is, as far as requests depend on it. */
export interface BoxKind {
  /** IPv4 is translated. */
  nat: boolean
  /** What a rule gets on a box that is twice-NAT capable: TRADITIONAL or TWICE. */
  service: number
}

/** Why a request came to nothing: the state, and the text of midcomRuleError. */
export interface Failure { state: number; text: string }

function incorrect(text: string): Failure { return { state: INCORRECT_REQUEST, text } }

const NO_INTERFACE = 'specified NAT interface does not exist'
const NO_NAT = 'specified NAT interface does not support NAT'
const NO_INTERNAL = 'no internal IP wildcarding allowed'
const NO_EXTERNAL = 'no external IP wildcarding allowed'

/** RFC 5190 midcomRuleError lists the first eight; RFC 5189 2.3.8 and 2.3.9 the circumstances. */
const FAILURES: Record<Reason, Failure> = {
  'lack-of-addresses': { state: REQUEST_REJECTED, text: 'lack of IP addresses' },
  'lack-of-ports': { state: REQUEST_REJECTED, text: 'lack of port numbers' },
  'lack-of-resources': { state: REQUEST_REJECTED, text: 'lack of resources' },
  'no-such-interface': incorrect(NO_INTERFACE),
  'interface-not-available': incorrect(NO_NAT),
  'conflict': { state: REQUEST_REJECTED, text: 'conflict with already existing policy rule' },
  'no-internal-wildcarding': incorrect(NO_INTERNAL),
  'no-external-wildcarding': incorrect(NO_EXTERNAL),
  'no-port-wildcarding': incorrect('no port wildcarding allowed'),
  'blocked-by-disable-rule': { state: REQUEST_REJECTED, text: 'conflict with already existing policy rule: it disables' },
  'not-authorized-for-transaction': { state: REQUEST_REJECTED, text: 'agent not authorized for this transaction' },
  'not-authorized-for-rule': { state: REQUEST_REJECTED, text: 'agent not authorized to replace this policy reserve rule' },
  'not-authorized-for-group': { state: REQUEST_REJECTED, text: 'agent not authorized to add members to this group' },
  'not-a-reservation': { state: REQUEST_REJECTED, text: 'no such policy reserve rule' },
  'no-such-rule': { state: REQUEST_REJECTED, text: 'no such policy reserve rule' },
  'no-such-group': { state: REQUEST_REJECTED, text: 'no such group' },
  'reserved-internal-mismatch': incorrect('reserved A0 to requested A0 mismatch'),
  'parity-mismatch': incorrect('the reserved ports have the other parity'),
  'protocol-mismatch': incorrect('reserved for another protocol'),
  'protocol-not-supported': incorrect('protocol not supported'),
  'transaction-not-supported': incorrect('transaction not supported'),
  'ip-version-mismatch': incorrect('no translation between IP versions'),
  'nat-mode-not-supported': incorrect(NO_NAT),
  'inconsistent': incorrect('inconsistent parameters'),
  'illegal-address': incorrect('IP address cannot be an endpoint here'),
  'illegal-port': incorrect('port number out of range'),
  'illegal-range': incorrect('port range out of range'),
  'lifetime-zero': incorrect('no lifetime requested'),
  'lifetime-cannot-be-extended': { state: REQUEST_REJECTED, text: 'lifetime cannot be extended' },
  'session-not-open': { state: GENERIC_ERROR, text: 'agent has lost its session' },
  'configuration-failed': { state: GENERIC_ERROR, text: 'configuration failed' },
}

export function failureOf(reason: Reason): Failure { return FAILURES[reason] }

function hasPorts(protocol: number): boolean { return protocol === TCP || protocol === UDP }

/** Word `i` of an address; octets that are not there are 0. */
function wordOf(address: Uint8Array, i: number): number {
  return address[4 * i]! << 24 | address[4 * i + 1]! << 16 | address[4 * i + 2]! << 8 | address[4 * i + 3]!
}

/** RFC 5190 midcomRuleInternalIpPrefixLength: 0 is any address, more than the address has is all of it. */
function tupleOf(wanted: Wanted, version: 4 | 6, address: Uint8Array, prefix: number, port: number): Tuple {
  const prefixBits = Math.min(prefix, version === 4 ? 32 : 128)
  const isAny = prefixBits === 0
  const { protocol } = wanted
  return {
    version, prefixBits, protocol, range: rangeOf(wanted), port: hasPorts(protocol) ? port : 0,
    word0: isAny ? 0 : wordOf(address, 0), word1: isAny || version === 4 ? 0 : wordOf(address, 1),
    word2: isAny || version === 4 ? 0 : wordOf(address, 2), word3: isAny || version === 4 ? 0 : wordOf(address, 3),
  }
}

function rangeOf({ protocol, portRange }: Wanted): number { return hasPorts(protocol) && portRange === PAIR ? 2 : 1 }

function checkAddress(version: number, address: Uint8Array, prefix: number, which: string): Failure | null {
  if (version !== IPV4 && version !== IPV6) return incorrect(`${which} IP version not supported`)
  if (prefix > 0 && address.length !== (version === IPV4 ? 4 : 16)) return incorrect(`${which} IP address does not fit its version`)
  return null
}

function checkPort({ protocol, portRange }: Wanted, port: number, which: string): Failure | null {
  if (protocol === 0) return null
  if (!hasPorts(protocol)) return port === 0 ? null : incorrect(`${which} port given, but the protocol has none`)
  if (portRange === PAIR && port % 2 === 1) return incorrect(`${which} port of a pair must be even`)
  return null
}

function checkCommon(wanted: Wanted, box: BoxKind): Failure | null {
  const { internalVersion, internalAddress, internalPrefix, internalPort, lifetimeSec } = wanted
  if (wanted.interface !== 0 && wanted.interface !== INSIDE_IF && wanted.interface !== OUTSIDE_IF) return incorrect(NO_INTERFACE)
  const isTranslated = box.nat && internalVersion === IPV4
  if (wanted.interface === INSIDE_IF || (wanted.interface === OUTSIDE_IF && !isTranslated)) return incorrect(NO_NAT)
  return checkAddress(internalVersion, internalAddress, internalPrefix, 'internal')
    ?? checkPort(wanted, internalPort, 'internal') ?? (lifetimeSec === 0 ? failureOf('lifetime-zero') : null)
}

function versionOf(type: number): 4 | 6 { return type === IPV6 ? 6 : 4 }

function internalOf(wanted: Wanted): Tuple {
  const { internalVersion, internalAddress, internalPrefix, internalPort } = wanted
  return tupleOf(wanted, versionOf(internalVersion), internalAddress, internalPrefix, internalPort)
}

export function reserveRequest(wanted: Wanted, group: number, box: BoxKind): ReserveRequest | Failure {
  const wrong = checkCommon(wanted, box)
  if (wrong !== null) return wrong
  const { protocol, portRange, lifetimeSec } = wanted
  const internal = internalOf(wanted)
  if (box.nat && internal.version === 4) {
    // What is reserved is for one host and its ports: an enable rule could not use it otherwise.
    if (internal.prefixBits < 32) return incorrect(NO_INTERNAL)
    if (hasPorts(protocol) && internal.port === 0) return failureOf('no-port-wildcarding')
  }
  return {
    group, internal, protocol, lifetimeSec, service: box.service === TRADITIONAL ? TRADITIONAL : 0,
    internalVersion: internal.version, externalVersion: versionOf(wanted.externalVersion),
    range: hasPorts(protocol) ? rangeOf(wanted) : ALL_PORTS,
    parity: hasPorts(protocol) && portRange === PAIR ? PARITY_EVEN : PARITY_ANY,
  }
}

/** `reservation`: rule that it takes the place of, or 0. */
export function enableRequest(wanted: Wanted, reservation: number, group: number, box: BoxKind): EnableRequest | Failure {
  const { externalVersion, externalAddress, externalPrefix, externalPort, protocol, portRange } = wanted
  const wrong = checkCommon(wanted, box) ?? checkAddress(externalVersion, externalAddress, externalPrefix, 'external')
    ?? checkPort(wanted, externalPort, 'external')
  if (wrong !== null) return wrong
  const internal = internalOf(wanted)
  const parity = hasPorts(protocol) && portRange === PAIR && internal.port !== 0 ? PARITY_SAME : PARITY_ANY
  return {
    reservation, group, parity, internal, direction: wanted.direction, lifetimeSec: wanted.lifetimeSec,
    external: tupleOf(wanted, versionOf(externalVersion), externalAddress, externalPrefix, externalPort),
    maxIdleSec: wanted.maxIdleSec,
  }
}

const NO_ADDRESS = new Uint8Array(0)

function octetsOf({ version, word0, word1, word2, word3 }: Tuple): Uint8Array {
  const octets = new Uint8Array(version === 4 ? 4 : 16)
  const view = new DataView(octets.buffer)
  const words = [word0, word1, word2, word3]
  for (let i = 0; i < octets.length / 4; i++) view.setInt32(4 * i, words[i]!)
  return octets
}

/** A1, A2 and the interface of a rule that is in force. */
export function grantedOf(status: RuleStatus, box: BoxKind): Granted | null {
  if (status.action === 'disable') return null
  const { outside, inside } = status
  // A reservation on a pure firewall, or without twice-NAT, holds nothing there.
  const hasOutside = status.action === 'enable' || outside.prefixBits > 0
  return {
    outsideAddress: hasOutside ? octetsOf(outside) : NO_ADDRESS, outsidePort: outside.port,
    insideAddress: inside === null ? NO_ADDRESS : octetsOf(inside), insidePort: inside?.port ?? 0,
    interface: box.nat && outside.version === 4 ? OUTSIDE_IF : 0,
  }
}

/** The columns that a rule from another door would have been asked for with. More than two ports show as a pair. */
export function wantedOf(status: RuleStatus, before: Wanted = DEFAULTS): Wanted {
  if (status.action === 'disable') return before
  const type = (version: 4 | 6) => version === 4 ? IPV4 : IPV6
  const { outside, internal } = status
  const range = status.action === 'enable' ? status.internal.range : outside.range
  const wanted: Wanted = {
    ...before, lifetimeSec: status.lifetimeSec, protocol: outside.protocol, portRange: range > 1 && range !== ALL_PORTS ? PAIR
      : SINGLE,
    internalVersion: type(outside.version), externalVersion: type(outside.version),
    internalAddress: internal === null ? NO_ADDRESS : octetsOf(internal),
    internalPrefix: internal === null ? 0 : internal.prefixBits, internalPort: internal?.port ?? 0,
  }
  if (status.action === 'reserve') return wanted
  const { external, direction, maxIdleSec } = status
  return {
    ...wanted, direction, maxIdleSec, internalVersion: type(status.internal.version), externalVersion: type(external.version),
    externalAddress: octetsOf(external), externalPrefix: external.prefixBits, externalPort: external.port,
  }
}
