/** Requests and replies of an agent as values, to and from messages. What the values mean is RFC 5189's business. */
import {
  A0, A1, A2, A3, createMessage, GID, PDR_REPLY, PDR_REQUEST, PDS_REPLY, PEA_REQUEST, PER_REPLY, PER_REQUEST, PES_REPLY,
  PLC_REPLY, PLC_REQUEST, PRD_REPLY, PRL_REPLY, PRL_REQUEST, PRR_REPLY, PRR_REQUEST, PRS_REPLY, PRS_REQUEST, ST_REPLY,
  ST_REQUEST, tupleBit, type Message,
} from './messages.ts'
import { endpointOf, fromTuple, protocolOf, toTuple, type Endpoint } from './agent-endpoint.ts'


/** A protocol by name, as text of a number, or as IANA number; any: 0. */
export type Protocol = 'udp' | 'tcp' | 'any' | (string & {}) | number
export type Direction = 'inbound' | 'outbound' | 'bidirectional'

/** What the middlebox can do, as it says when a session opens (RFC 4540 4.3.3). */
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
  internalVersions: (4 | 6)[]
  externalVersions: (4 | 6)[]
  maxLifetimeSec: number
}

/** PRR: ports, or an address, on the outside. */
export interface ReserveRequest {
  /** `any`: an address alone. */
  protocol: Protocol
  /** Consecutive ports, 1 (the default) … 65534, or `all` of an address. */
  ports?: number | 'all'
  /** Of the lowest port; `any` by default. */
  parity?: 'any' | 'odd' | 'even'
  /** `traditional` by default; `twice` reserves on the inside too. */
  service?: 'traditional' | 'twice'
  insideVersion?: 4 | 6
  outsideVersion?: 4 | 6
  /** Group to join; a new one by default. */
  group?: number
  lifetimeSec: number
}
export interface Reservation {
  rule: number
  group: number
  lifetimeSec: number
  protocol: number
  /** A2. On a pure firewall nothing is reserved, and its address is `*`. */
  outside: Endpoint
  /** A1, with twice-NAT. */
  inside: Endpoint | null
}

/** PER, and with `reservation` PEA. */
export interface EnableRequest {
  protocol: Protocol
  /** A0 and A3: text as `parseEndpoint` reads it, or a value. */
  internal: string | Endpoint
  external: string | Endpoint
  direction: Direction
  /** `same`: outside ports are odd where inside ports are. `any` by default. */
  parity?: 'any' | 'same'
  lifetimeSec: number
  /** Group to join; a new one by default. Not with a reservation, which has its group. */
  group?: number
  /** Reserve rule that becomes this rule, under the same number. */
  reservation?: number
}
export interface EnabledRule {
  rule: number
  group: number
  lifetimeSec: number
  protocol: number
  /** A2: where the outside reaches A0. */
  outside: Endpoint
  /** A1: where the inside reaches A3. A middlebox without twice-NAT may leave it out (RFC 4540 8.3.3): then it is A3. */
  inside: Endpoint | null
}

/** PDR: blocks what matches, and ends every enable rule that would let part of it through. */
export interface DisableRequest {
  protocol: Protocol
  internal: string | Endpoint
  external: string | Endpoint
  lifetimeSec: number
}
export interface DisabledRule { rule: number; lifetimeSec: number }

/** PRS. `owner` is the agent that made the rule. */
export type RuleStatus =
  | { action: 'reserve'; rule: number; group: number; owner: string; lifetimeSec: number; protocol: number
    outside: Endpoint; inside: Endpoint | null }
  | { action: 'enable'; rule: number; group: number; owner: string; lifetimeSec: number; protocol: number
    direction: Direction; parity: 'any' | 'same'; internal: Endpoint; inside: Endpoint; outside: Endpoint; external: Endpoint }
  | { action: 'disable'; rule: number; owner: string; lifetimeSec: number; protocol: number
    internal: Endpoint; external: Endpoint }

/** A message that is no answer to its request, or says what is not defined. */
export class Unexpected extends Error {
  constructor(what: string) {
    super(what)
    this.name = 'Unexpected'
  }
}

/** A request, ready to be sent but for its TID, and how to read its reply. */
export interface Exchange<T> {
  message: Message
  /** @throws {Unexpected} */
  read: (reply: Message) => T
}

const MOST_U32 = 0xffffffff, ALL_PORTS = 0xffff
const PARITY = { any: 0, odd: 1, even: 2, same: 3 } as const
const DIRECTIONS = ['', 'inbound', 'outbound', 'bidirectional'] as const
const [TRADITIONAL, TWICE] = [1, 2]

function blank(type: number): Message {
  const message = createMessage()
  message.type = type
  return message
}

/** @throws {RangeError} */
function whole(value: number, least: number, most: number, what: string): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${what} is a whole number from ${least} to ${most}, not ${value}`)
  }
  return value
}

/** @throws {RangeError} */
function oneOf<V>(table: Readonly<Record<string, V>>, name: string, what: string): V {
  if (!Object.hasOwn(table, name)) throw new RangeError(`${what} is one of ${Object.keys(table).join(', ')}, not ${name}`)
  return table[name]!
}

const lifetime = (value: number) => whole(value, 0, MOST_U32, 'lifetimeSec')
const ruleNumber = (value: number) => whole(value, 0, MOST_U32, 'rule')

export function reserveExchange(request: ReserveRequest): Exchange<Reservation> {
  const message = blank(PRR_REQUEST)
  const { ports = 1, parity = 'any', service = 'traditional', insideVersion, outsideVersion, group } = request
  const modes = { traditional: TRADITIONAL, twice: TWICE }
  const bits = oneOf(modes, service, 'service') << 6 | oneOf({ any: 0, odd: 1, even: 2 }, parity, 'parity') << 4
    | versionBits(insideVersion, 'insideVersion') << 2 | versionBits(outsideVersion, 'outsideVersion')
  const range = ports === 'all' ? ALL_PORTS : whole(ports, 1, ALL_PORTS - 1, 'ports')
  message.prrSet = (bits << 24 | protocolOf(request.protocol) << 16 | range) >>> 0
  message.lifetimeSec = lifetime(request.lifetimeSec)
  setGroup(message, group)
  return {
    message,
    read(reply) {
      expect(reply, PRR_REPLY)
      return granted(reply)
    },
  }
}

/** IPv4 1, IPv6 2, either 0. */
function versionBits(version: 4 | 6 | undefined, what: string): number {
  return version === undefined ? 0 : oneOf({ 4: 1, 6: 2 }, String(version), what)
}

function setGroup(message: Message, group: number | undefined): void {
  if (group === undefined) return
  message.gid = whole(group, 0, MOST_U32, 'group')
  message.present |= 1 << GID
}

/** A0 and A3 of a request. */
function setTuples(message: Message, request: Pick<EnableRequest, 'protocol' | 'internal' | 'external'>): void {
  const protocol = protocolOf(request.protocol)
  const internal = endpointOf(request.internal), external = endpointOf(request.external)
  const version = (internal.version || external.version || 4) as 4 | 6
  const externalVersion = (external.version || version) as 4 | 6
  const range = internal.port !== 0 ? internal.range : external.port !== 0 ? external.range : 1
  Object.assign(message.tuples[A0], toTuple(internal, A0, protocol, version, range))
  Object.assign(message.tuples[A3], toTuple(external, A3, protocol, externalVersion, range))
}

export function enableExchange(request: EnableRequest): Exchange<EnabledRule> {
  const { parity = 'any', direction, group, reservation } = request
  const message = blank(reservation === undefined ? PER_REQUEST : PEA_REQUEST)
  if (reservation !== undefined) {
    if (group !== undefined) throw new RangeError('a reservation has its group: do not give another')
    message.pid = whole(reservation, 0, MOST_U32, 'reservation')
  }
  const directions = { inbound: 1, outbound: 2, bidirectional: 3 }
  const sameOrAny = { any: PARITY.any, same: PARITY.same }
  message.perSet = oneOf(sameOrAny, parity, 'parity') << 24 | oneOf(directions, direction, 'direction') << 16
  message.lifetimeSec = lifetime(request.lifetimeSec)
  setGroup(message, group)
  setTuples(message, request)
  return {
    message,
    read(reply) {
      expect(reply, PER_REPLY)
      return granted(reply)
    },
  }
}

export function disableExchange(request: DisableRequest): Exchange<DisabledRule> {
  const message = blank(PDR_REQUEST)
  message.lifetimeSec = lifetime(request.lifetimeSec)
  setTuples(message, request)
  return {
    message,
    read(reply) {
      expect(reply, PDR_REPLY)
      return { rule: reply.pid, lifetimeSec: reply.lifetimeSec }
    },
  }
}

/** The lifetime that was granted; 0: the rule is gone. */
export function lifetimeExchange(rule: number, lifetimeSec: number): Exchange<number> {
  const message = blank(PLC_REQUEST)
  message.pid = ruleNumber(rule)
  message.lifetimeSec = lifetime(lifetimeSec)
  return {
    message,
    read(reply) {
      // A middlebox may grant less than was asked for, and so 0 (RFC 4540 8.5).
      if (reply.type === PRD_REPLY) return 0
      expect(reply, PLC_REPLY)
      return reply.lifetimeSec
    },
  }
}

export function listExchange(): Exchange<number[]> {
  return {
    message: blank(PRL_REQUEST),
    read(reply) {
      expect(reply, PRL_REPLY)
      return [...reply.pids]
    },
  }
}

export function endExchange(): Exchange<void> {
  return { message: blank(ST_REQUEST), read: (reply) => expect(reply, ST_REPLY) }
}

export function statusExchange(rule: number): Exchange<RuleStatus> {
  const message = blank(PRS_REQUEST)
  message.pid = ruleNumber(rule)
  return { message, read: readStatus }
}

function readStatus(reply: Message): RuleStatus {
  const { pid: rule, gid: group, lifetimeSec, tuples } = reply
  const owner = new TextDecoder().decode(reply.owner)
  if (reply.type === PDS_REPLY) {
    return {
      action: 'disable', rule, owner, lifetimeSec, protocol: tuples[A0].protocol,
      internal: endpoint(reply, A0), external: endpoint(reply, A3),
    }
  }
  if (reply.type === PES_REPLY) {
    const direction = DIRECTIONS[reply.perSet >>> 16 & 255], parity = reply.perSet >>> 24
    if (direction === undefined || direction === '') throw new Unexpected(`direction ${reply.perSet >>> 16 & 255}`)
    if (parity !== PARITY.any && parity !== PARITY.same) throw new Unexpected(`parity ${parity}`)
    return {
      action: 'enable', rule, group, owner, lifetimeSec, protocol: tuples[A0].protocol,
      direction, parity: parity === PARITY.same ? 'same' : 'any', internal: endpoint(reply, A0),
      inside: endpoint(reply, A1), outside: endpoint(reply, A2), external: endpoint(reply, A3),
    }
  }
  expect(reply, PRS_REPLY)
  return {
    action: 'reserve', rule, group, owner, lifetimeSec, protocol: tuples[A2].protocol,
    outside: endpoint(reply, A2), inside: optional(reply, A1),
  }
}

/** What a PRR and a PER reply have in common. */
function granted(reply: Message): Reservation & EnabledRule {
  const { pid: rule, gid: group, lifetimeSec, tuples } = reply
  return {
    rule, group, lifetimeSec, protocol: tuples[A2].protocol, outside: endpoint(reply, A2), inside: optional(reply, A1),
  }
}

function expect(reply: Message, type: number): void {
  if (reply.type !== type) throw new Unexpected(`a reply of type 0x${reply.type.toString(16).padStart(4, '0')}`)
}

function endpoint(reply: Message, location: 0 | 1 | 2 | 3): Endpoint {
  const found = fromTuple(reply.tuples[location])
  if (found === null) throw new Unexpected(`IP version ${reply.tuples[location].version} in an address tuple`)
  return found
}

function optional(reply: Message, location: 0 | 1 | 2 | 3): Endpoint | null {
  return (reply.present & tupleBit(location)) === 0 ? null : endpoint(reply, location)
}

export function readCapabilities({ capabilities, maxLifetimeSec }: Message): Capabilities {
  const type = capabilities >>> 24, more = capabilities >>> 16
  const has = (bits: number, bit: number) => (bits & bit) !== 0
  const versions = (bits: number) => ([4, 6] as const).filter((_, i) => has(bits, 1 << i))
  return {
    firewall: has(type, 0x80), nat: has(type, 0x40), disableRules: has(type, 0x10),
    portTranslation: has(type, 0x01), protocolTranslation: has(type, 0x02), twiceNat: has(type, 0x04),
    internalWildcards: has(more, 0x80), externalWildcards: has(more, 0x40), portWildcards: has(more, 0x20),
    persistentRules: has(more, 0x10), internalVersions: versions(more >>> 2 & 3), externalVersions: versions(more & 3),
    maxLifetimeSec,
  }
}
