/**
 * Messages as plain JSON, as `docs/simco-vectors.json` has them: numbers are those on the wire, names are the RFC's, attributes
 * stand in their order. Reserved octets are zero in this form, so it is for messages as they should be.
 */
import {
  CAPABILITIES, CHALLENGE, FORMATS, FULL, GID, LIFETIME, NEGATIVE_NAMES, NEGATIVE_REPLY, OWNER, PER_SET, PID, PROTOCOLS_ONLY,
  PRR_SET, TOKEN, TUPLE, VERSION, createMessage, tupleBit, type Message, type WireTuple,
} from './messages.ts'
import { parseAddress, print4, print6 } from '../../base/address.ts'

export type JsonAttribute =
  | { attribute: 'version'; major: number; minor: number }
  | { attribute: 'challenge' | 'token'; octets: string }
  | { attribute: 'capabilities'; middleboxType: number; support: number; maxLifetimeSec: number }
  | { attribute: 'pid' | 'gid'; value: number }
  | { attribute: 'lifetime'; seconds: number }
  | { attribute: 'owner'; text: string }
  | JsonTuple
  | { attribute: 'prr-set'; natMode: number; portParity: number; insideIpVersion: number; outsideIpVersion: number
    protocol: number; portRange: number }
  | { attribute: 'per-set'; portParity: number; direction: number }

/** `port`, `portRange` and `address` with `form` full. */
export interface JsonTuple {
  attribute: 'tuple'; form: 'full' | 'protocols-only'; ipVersion: number; prefixLength: number; protocol: number; location: number
  port?: number; portRange?: number; address?: string
}

export interface JsonMessage {
  /** Octets 0 and 1, such as '0x0112'. */
  type: string
  /** What that is called, such as 'PER request'. */
  name: string
  tid: number
  attributes: JsonAttribute[]
}

const REQUESTS: Readonly<Record<number, string>> = {
  0x01: 'SE', 0x02: 'SA', 0x03: 'ST', 0x11: 'PRR', 0x12: 'PER', 0x13: 'PEA', 0x14: 'PDR', 0x15: 'PLC', 0x16: 'PRD',
  0x21: 'PRS', 0x22: 'PRL', 0x23: 'PES', 0x24: 'PDS',
}
const NOTIFICATIONS: Readonly<Record<number, string>> = { 1: 'BFM', 2: 'AST', 3: 'ARE' }

/** Name of a message type, such as 'PER request', 'PRD reply', 'ARE', 'negative reply: lack of port numbers'. */
export function messageName(type: number): string {
  const basic = type >> 8, sub = type & 255
  if (basic === NEGATIVE_REPLY) return `negative reply: ${NEGATIVE_NAMES[type] ?? 'unassigned'}`
  return basic === 4 ? NOTIFICATIONS[sub] ?? 'unknown' : `${REQUESTS[sub] ?? 'unknown'} ${basic === 1 ? 'request' : 'reply'}`
}

function tupleJson(t: WireTuple): JsonTuple {
  const { version: ipVersion, prefixBits: prefixLength, protocol, location } = t
  const common = { attribute: 'tuple', ipVersion, prefixLength, protocol, location } as const
  if (t.form === PROTOCOLS_ONLY) return { ...common, form: 'protocols-only' }
  const address = t.addressBytes === 4 ? print4(t.word0) : print6(Int32Array.of(t.word0, t.word1, t.word2, t.word3))
  return { ...common, form: 'full', port: t.port, portRange: t.range, address }
}

function tupleFrom(json: JsonTuple, t: WireTuple): void {
  const parsed = parseAddress(json.address ?? '0.0.0.0')
  if (!parsed.ok) throw new RangeError(`${json.address} is not an address`)
  const { version, words } = parsed.value
  t.form = json.form === 'full' ? FULL : PROTOCOLS_ONLY
  t.version = json.ipVersion
  t.prefixBits = json.prefixLength
  t.protocol = json.protocol
  t.location = json.location
  t.port = json.port ?? 0
  t.range = json.portRange ?? 0
  t.addressBytes = json.form === 'full' ? version === 4 ? 4 : 16 : 0
  t.word0 = json.form === 'full' ? words[0]! : 0
  t.word1 = words[1] ?? 0
  t.word2 = words[2] ?? 0
  t.word3 = words[3] ?? 0
}

function attributeJson(m: Message, attribute: number, location: number): JsonAttribute {
  switch (attribute) {
    case VERSION: return { attribute: 'version', major: m.version >>> 24, minor: m.version >>> 16 & 255 }
    case CHALLENGE: return { attribute: 'challenge', octets: Buffer.from(m.challenge).toString('hex') }
    case TOKEN: return { attribute: 'token', octets: Buffer.from(m.token).toString('hex') }
    case CAPABILITIES: return {
      attribute: 'capabilities', middleboxType: m.capabilities >>> 24, support: m.capabilities >>> 16 & 255,
      maxLifetimeSec: m.maxLifetimeSec,
    }
    case PID: return { attribute: 'pid', value: m.pid }
    case GID: return { attribute: 'gid', value: m.gid }
    case LIFETIME: return { attribute: 'lifetime', seconds: m.lifetimeSec }
    case OWNER: return { attribute: 'owner', text: Buffer.from(m.owner).toString('utf8') }
    case TUPLE: return tupleJson(m.tuples[location as 0])
    case PRR_SET: return {
      attribute: 'prr-set', natMode: m.prrSet >>> 30, portParity: m.prrSet >>> 28 & 3, insideIpVersion: m.prrSet >>> 26 & 3,
      outsideIpVersion: m.prrSet >>> 24 & 3, protocol: m.prrSet >>> 16 & 255, portRange: m.prrSet & 0xffff,
    }
    default: return { attribute: 'per-set', portParity: m.perSet >>> 24, direction: m.perSet >>> 16 & 255 }
  }
}

/** A message that was decoded without a fault. */
export function toJson(m: Message): JsonMessage {
  const attributes: JsonAttribute[] = []
  for (const { attribute, location, repeated } of FORMATS.get(m.type) ?? []) {
    if (repeated) for (const value of m.pids) attributes.push({ attribute: 'pid', value })
    else if ((m.present & (attribute === TUPLE ? tupleBit(location) : 1 << attribute)) !== 0) {
      attributes.push(attributeJson(m, attribute, location))
    }
  }
  return { type: '0x' + m.type.toString(16).padStart(4, '0'), name: messageName(m.type), tid: m.tid, attributes }
}

const CODES = {
  version: VERSION, challenge: CHALLENGE, token: TOKEN, capabilities: CAPABILITIES, pid: PID, gid: GID, lifetime: LIFETIME,
  owner: OWNER, tuple: TUPLE, 'prr-set': PRR_SET, 'per-set': PER_SET,
} as const

/**
 * The message to encode.
 * @throws RangeError if an attribute has no place in a message of this type
 */
export function fromJson(json: JsonMessage): Message {
  const m = createMessage(), steps = FORMATS.get(Number(json.type)) ?? []
  m.type = Number(json.type)
  m.tid = json.tid
  let at = 0
  for (const a of json.attributes) {
    while (at < steps.length && steps[at]!.attribute !== CODES[a.attribute]) at++
    const step = steps[at]
    if (step === undefined) throw new RangeError(`${a.attribute} has no place in ${json.name}`)
    m.present |= step.attribute === TUPLE ? tupleBit(step.location) : 1 << step.attribute
    if (!step.repeated) at++
    switch (a.attribute) {
      case 'version': m.version = (a.major << 24 | a.minor << 16) >>> 0; break
      case 'challenge': m.challenge = Buffer.from(a.octets, 'hex'); break
      case 'token': m.token = Buffer.from(a.octets, 'hex'); break
      case 'capabilities':
        m.capabilities = (a.middleboxType << 24 | a.support << 16) >>> 0
        m.maxLifetimeSec = a.maxLifetimeSec
        break
      case 'pid':
        if (step.repeated) m.pids.push(a.value)
        else m.pid = a.value
        break
      case 'gid': m.gid = a.value; break
      case 'lifetime': m.lifetimeSec = a.seconds; break
      case 'owner': m.owner = Buffer.from(a.text, 'utf8'); break
      case 'tuple': tupleFrom(a, m.tuples[step.location as 0]); break
      case 'prr-set':
        m.prrSet = (a.natMode << 30 | a.portParity << 28 | a.insideIpVersion << 26 | a.outsideIpVersion << 24 | a.protocol << 16 |
          a.portRange) >>> 0
        break
      case 'per-set': m.perSet = (a.portParity << 24 | a.direction << 16) >>> 0; break
    }
  }
  return m
}
