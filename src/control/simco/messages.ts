/**
 * SIMCO 3.0 (RFC 4540): numbers of messages and attributes, and a message as a record. The record keeps what was sent, reserved
 * octets and undefined values too, so that encoding it again gives the same octets; what a value means is the session's business.
 */

/* From the specification */
export const SIMCO_PORT = 7626
export const HEADER_BYTES = 8
/** RFC 4540 8.7 limits a message to 65,536 octets, header included, though the length field reaches further. */
export const MAX_PAYLOAD_BYTES = 65_528
/** The largest SE request: version and a challenge of 4,096 octets. Nothing longer comes before a session is open. */
export const MAX_OPENING_PAYLOAD_BYTES = 4_108
export const MAX_CHALLENGE_BYTES = 4_096
export const MAX_OWNER_BYTES = 255
/** PIDs that fit into one PRL reply. */
export const MAX_LISTED_RULES = 8_191

/** Basic message types (RFC 4540 4.2.1): octet 0 of a message. */
export const REQUEST = 1, POSITIVE_REPLY = 2, NEGATIVE_REPLY = 3, NOTIFICATION = 4

/* Message types: octets 0 and 1. */
export const SE_REQUEST = 0x0101, SA_REQUEST = 0x0102, ST_REQUEST = 0x0103
export const PRR_REQUEST = 0x0111, PER_REQUEST = 0x0112, PEA_REQUEST = 0x0113, PDR_REQUEST = 0x0114, PLC_REQUEST = 0x0115
export const PRS_REQUEST = 0x0121, PRL_REQUEST = 0x0122
export const SE_REPLY = 0x0201, SA_REPLY = 0x0202, ST_REPLY = 0x0203
export const PRR_REPLY = 0x0211, PER_REPLY = 0x0212, PDR_REPLY = 0x0214, PLC_REPLY = 0x0215, PRD_REPLY = 0x0216
export const PRS_REPLY = 0x0221, PRL_REPLY = 0x0222, PES_REPLY = 0x0223, PDS_REPLY = 0x0224
export const BFM = 0x0401, AST = 0x0402, ARE = 0x0403

/* Negative replies (RFC 4540 4.2.3). */
export const WRONG_BASIC_TYPE = 0x0310, WRONG_SUB_TYPE = 0x0311, BADLY_FORMED = 0x0312, REPLY_TOO_BIG = 0x0313
export const NOT_APPLICABLE = 0x0320, LACK_OF_RESOURCES = 0x0321, VERSION_MISMATCH = 0x0322, AUTHENTICATION_FAILED = 0x0323
export const NO_AUTHORIZATION = 0x0324, TRANSPORT_PROBLEM = 0x0325, INSUFFICIENT_SECURITY = 0x0326
export const NOT_SUPPORTED = 0x0340, NOT_AUTHORIZED = 0x0341, NO_RESOURCES = 0x0342, NO_SUCH_RULE = 0x0343, NO_SUCH_GROUP = 0x0344
export const RULE_NOT_AUTHORIZED = 0x0345, GROUP_NOT_AUTHORIZED = 0x0346, ADDRESS_SPACE_UNAVAILABLE = 0x0347
export const LACK_OF_ADDRESSES = 0x0348, LACK_OF_PORTS = 0x0349, CONFIGURATION_FAILED = 0x034a, INCONSISTENT = 0x034b
export const WILDCARD_UNSUPPORTED = 0x034c, PROTOCOL_MISMATCH = 0x034d, NAT_MODE_UNSUPPORTED = 0x034e, VERSION_OF_IP = 0x034f
export const CONFLICT = 0x0350, LIFETIME_NOT_AUTHORIZED = 0x0351, LIFETIME_NOT_EXTENDABLE = 0x0352, ILLEGAL_ADDRESS = 0x0353
export const PROTOCOL_UNSUPPORTED = 0x0354, ILLEGAL_PORT = 0x0355, ILLEGAL_RANGE = 0x0356, ALREADY_ENABLED = 0x0357
export const PARITY_MISMATCH = 0x0358

/** Negative replies in words, for logs and tools. */
export const NEGATIVE_NAMES: Readonly<Record<number, string>> = {
  0x0310: 'wrong basic request message type', 0x0311: 'wrong request message sub-type', 0x0312: 'badly formed request',
  0x0313: 'reply message too big', 0x0320: 'request not applicable', 0x0321: 'lack of resources',
  0x0322: 'protocol version mismatch', 0x0323: 'authentication failed', 0x0324: 'no authorization',
  0x0325: 'transport protocol problem', 0x0326: 'security of underlying protocol layers insufficient',
  0x0340: 'transaction not supported', 0x0341: 'agent not authorized for this transaction',
  0x0342: 'no resources available for this transaction', 0x0343: 'specified policy rule does not exist',
  0x0344: 'specified policy rule group does not exist', 0x0345: 'not authorized for accessing specified policy',
  0x0346: 'not authorized for accessing specified group', 0x0347: 'requested address space not available',
  0x0348: 'lack of IP addresses', 0x0349: 'lack of port numbers', 0x034a: 'middlebox configuration failed',
  0x034b: 'inconsistent request', 0x034c: 'requested wildcarding not supported', 0x034d: 'protocol type does not match',
  0x034e: 'NAT mode not supported', 0x034f: 'IP version mismatch', 0x0350: 'conflict with existing rule',
  0x0351: 'not authorized to change lifetime', 0x0352: 'lifetime cannot be extended', 0x0353: 'illegal IP address',
  0x0354: 'protocol type not supported', 0x0355: 'illegal port number', 0x0356: 'illegal number of subsequent ports',
  0x0357: 'already enable PID', 0x0358: 'parity does not match',
}

/* Attributes (RFC 4540 4.3). */
export const VERSION = 1, CHALLENGE = 2, TOKEN = 3, CAPABILITIES = 4, PID = 5, GID = 6, LIFETIME = 7, OWNER = 8, TUPLE = 9
export const PRR_SET = 10, PER_SET = 11

/** Locations of address tuples, and their places in `Message.tuples`. */
export const A0 = 0, A1 = 1, A2 = 2, A3 = 3

/** Octet 0 of a tuple, high nibble. */
export const FULL = 0, PROTOCOLS_ONLY = 1

/** Protocol version 3.0 as its attribute says it. */
export const VERSION_3_0 = 0x03000000

/** Address tuple (RFC 4540 4.3.8) as sent. */
export interface WireTuple {
  /** FULL or PROTOCOLS_ONLY. */
  form: number
  /** Low nibble of octet 0: 1 IPv4, 2 IPv6, anything else is undefined. */
  version: number
  prefixBits: number
  protocol: number
  /** A0 … A3, or undefined values up to 255. */
  location: number
  /** Of the full form; 0 in the other. */
  port: number
  range: number
  /** 4 or 16; 0 in the form without an address. With an undefined version the length of the attribute tells. */
  addressBytes: number
  /** Host-order int32; IPv4 in the first. */
  word0: number
  word1: number
  word2: number
  word3: number
}

/**
 * Any message. Which fields count depends on `type`; optional attributes are there if their bit is set in `present`. Records
 * are lent: a decoder fills the caller's, and byte strings in it are views that hold until the decoder's next call.
 */
export interface Message {
  /** Octets 0 and 1, such as PER_REQUEST. */
  type: number
  /** Transaction identifier, unsigned. */
  tid: number
  /** Bits of attributes, `1 << GID`, and of tuples, `tupleBit(A0)`. Decoding sets all, encoding asks for optional ones only. */
  present: number
  /** The whole attribute: VERSION_3_0. */
  version: number
  challenge: Uint8Array
  token: Uint8Array
  /** Octets 0 to 3, and the maximum lifetime in seconds. */
  capabilities: number
  maxLifetimeSec: number
  pid: number
  gid: number
  lifetimeSec: number
  /** UTF-8, at most 255 bytes. */
  owner: Uint8Array
  /** By location A0 … A3: where the tuple stands in the message decides, not its location field. */
  readonly tuples: readonly [WireTuple, WireTuple, WireTuple, WireTuple]
  /** Whole attributes as unsigned numbers: octet 0 is the highest. */
  prrSet: number
  perSet: number
  /** Of a PRL reply. */
  pids: number[]
}

/** Bit of a tuple in `Message.present`. */
export function tupleBit(location: number): number { return 1 << 16 + location }

const NO_BYTES = new Uint8Array(0)

export function createTuple(): WireTuple {
  return {
    form: FULL, version: 1, prefixBits: 0, protocol: 0, location: 0, port: 0, range: 0, addressBytes: 4,
    word0: 0, word1: 0, word2: 0, word3: 0,
  }
}

export function createMessage(): Message {
  return {
    type: 0, tid: 0, present: 0, version: VERSION_3_0, challenge: NO_BYTES, token: NO_BYTES, capabilities: 0, maxLifetimeSec: 0,
    pid: 0, gid: 0, lifetimeSec: 0, owner: NO_BYTES, tuples: [createTuple(), createTuple(), createTuple(), createTuple()],
    prrSet: 0, perSet: 0, pids: [],
  }
}

/** What stands in a message, in order (RFC 4540 5). Other orders are refused. */
export interface Step {
  attribute: number
  /** For tuples. */
  location: number
  optional: boolean
  /** Comes any number of times: the PIDs of a PRL reply. */
  repeated: boolean
}

function step(attribute: number, optional = false, repeated = false, location = 0): Step {
  return { attribute, location, optional, repeated }
}
function tuple(location: number, optional = false): Step { return step(TUPLE, optional, false, location) }

const pid = step(PID), gid = step(GID), lifetime = step(LIFETIME), owner = step(OWNER)
const enable = [step(PER_SET), tuple(A0), tuple(A3), lifetime]

/** Message formats. Every negative reply but VERSION_MISMATCH is a header alone. */
export const FORMATS: ReadonlyMap<number, readonly Step[]> = new Map<number, readonly Step[]>([
  [SE_REQUEST, [step(VERSION), step(CHALLENGE, true)]],
  [SA_REQUEST, [step(TOKEN, true)]],
  [ST_REQUEST, []],
  [PRR_REQUEST, [step(PRR_SET), lifetime, step(GID, true)]],
  [PER_REQUEST, [...enable, step(GID, true)]],
  [PEA_REQUEST, [...enable, pid]],
  [PDR_REQUEST, [tuple(A0), tuple(A3), lifetime]],
  [PLC_REQUEST, [pid, lifetime]],
  [PRS_REQUEST, [pid]],
  [PRL_REQUEST, []],
  [SE_REPLY, [step(CAPABILITIES)]],
  [SA_REPLY, [step(CHALLENGE, true), step(TOKEN, true)]],
  [ST_REPLY, []],
  [PRR_REPLY, [pid, gid, lifetime, tuple(A2), tuple(A1, true)]],
  // RFC 4540 8.3.3 omits A1 without twice-NAT, its 5.3.10 does not: both are read.
  [PER_REPLY, [pid, gid, lifetime, tuple(A2), tuple(A1, true)]],
  [PDR_REPLY, [pid, lifetime]],
  [PLC_REPLY, [lifetime]],
  [PRD_REPLY, []],
  [PRS_REPLY, [pid, gid, lifetime, tuple(A2), tuple(A1, true), owner]],
  [PRL_REPLY, [step(PID, true, true)]],
  [PES_REPLY, [pid, gid, step(PER_SET), tuple(A0), tuple(A1), tuple(A2), tuple(A3), lifetime, owner]],
  [PDS_REPLY, [pid, tuple(A0), tuple(A3), lifetime, owner]],
  [BFM, []],
  [AST, []],
  [ARE, [pid, lifetime]],
  [VERSION_MISMATCH, [step(VERSION)]],
])
