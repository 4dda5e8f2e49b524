/**
 * What SIMCO's opaque challenge and token hold here (RFC 4540 4.3.2 leaves both open). One algorithm, HMAC-SHA-256 with a key
 * that agent and middlebox share:
 *
 *     challenge   01 | n | name (n octets of UTF-8) | nonce (32 octets)
 *     token       01 | n | name (n octets of UTF-8) | mac (32 octets)
 *     mac         HMAC-SHA-256(key, role | 00 | length | own challenge | length | peer's challenge)
 *
 * `role` is the ASCII text "agent" or "mbox" of who makes the token, so that a token cannot be sent back to its maker. "Own" is
 * the challenge that the maker of the token has sent, "peer's" the one it answers, as whole attribute values; lengths are 16 bit
 * and an absent challenge is empty. Names are the agent's; a middlebox leaves its own empty.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

export const ALGORITHM_HMAC_SHA256 = 1
export const NONCE_BYTES = 32, MAC_BYTES = 32
/** Names are owners of rules, so they fit into that attribute. */
export const MAX_NAME_BYTES = 255

export type Role = 'agent' | 'mbox'

/** A challenge or a token, taken apart. `value` is the nonce or the mac. */
export interface Credential { name: string; value: Uint8Array }

const NONE: Uint8Array = new Uint8Array(0)

/** A challenge from `nonce`, 32 octets, or a token from a mac. */
function compose(name: string, value: Uint8Array): Uint8Array {
  const nameBytes = Buffer.from(name, 'utf8')
  if (nameBytes.length > MAX_NAME_BYTES) throw new RangeError('an agent name of more than 255 octets')
  return Buffer.concat([Uint8Array.of(ALGORITHM_HMAC_SHA256, nameBytes.length), nameBytes, value])
}

/** @param nonce 32 octets nobody can foretell, used once */
export function composeChallenge(name: string, nonce: Uint8Array): Uint8Array { return compose(name, nonce) }

/** A challenge or a token; undefined if it is of another algorithm, has another length, or its name is not UTF-8. */
export function readCredential(bytes: Uint8Array): Credential | undefined {
  if (bytes.length < 2 || bytes[0] !== ALGORITHM_HMAC_SHA256) return undefined
  const nameEnd = 2 + bytes[1]!
  if (bytes.length !== nameEnd + MAC_BYTES) return undefined
  try {
    const name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(2, nameEnd))
    return { name, value: bytes.subarray(nameEnd) }
  } catch {
    return undefined
  }
}

/** @param own, peer whole challenge values; empty if there is none */
export function computeMac(key: Uint8Array, role: Role, own: Uint8Array, peer: Uint8Array): Uint8Array {
  const length = (bytes: Uint8Array) => Uint8Array.of(bytes.length >> 8, bytes.length & 255)
  return createHmac('sha256', key).update(role, 'ascii').update(Uint8Array.of(0))
    .update(length(own)).update(own).update(length(peer)).update(peer).digest()
}

/** The answer of `role` to `peer`. */
export function composeToken(name: string, key: Uint8Array, role: Role, own = NONE, peer = NONE): Uint8Array {
  return compose(name, computeMac(key, role, own, peer))
}

/**
 * Checks a token that `role` has made: `own` is that side's challenge, `peer` the one it had to answer. Takes the same time
 * whether and wherever the macs differ.
 */
export function verifyToken(token: Uint8Array, key: Uint8Array, role: Role, own = NONE, peer = NONE): boolean {
  const mac = computeMac(key, role, own, peer), credential = readCredential(token)
  return credential !== undefined && timingSafeEqual(credential.value, mac)
}
