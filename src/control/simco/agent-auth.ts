/**
 * Both sides of the challenge and response over a shared key. RFC 4540 leaves the contents of challenges and tokens open; ours:
 *
 *   challenge = 1 | name length | name | nonce of 32 octets
 *   token     = 1 | name length | name | HMAC-SHA-256(key, role | 0 | length | own challenge | length | peer's challenge)
 *
 * The first octet names the algorithm, lengths in the MAC have 16 bits, `role` is "agent" or "mbox", a challenge that was not
 * sent is empty. The name is the agent's: in its challenge, so that the middlebox knows which key to prove, and in its token.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

export type Role = 'agent' | 'mbox'

const HMAC_SHA_256 = 1
export const NONCE_BYTES = 32
const MAC_BYTES = 32
const MOST_NAME_BYTES = 255

export interface SharedKey {
  /** Who the agent is: 1 … 255 bytes of UTF-8. */
  name: string
  /** At least 16 bytes. */
  key: Uint8Array
}

/** @throws {RangeError} for a key or a name that cannot be used */
export function checkSharedKey({ name, key }: SharedKey): void {
  const bytes = Buffer.byteLength(name)
  if (bytes < 1 || bytes > MOST_NAME_BYTES) throw new RangeError('the name of a shared key has 1 to 255 bytes of UTF-8')
  if (key.length < 16) throw new RangeError('a shared key has at least 16 bytes')
}

/** `nonce`: random, used once. */
export function createChallenge(name: string, nonce: Uint8Array = randomBytes(NONCE_BYTES)): Uint8Array {
  return Buffer.concat([header(name), nonce])
}

export function createToken(role: Role, { name, key }: SharedKey, own: Uint8Array, peers: Uint8Array): Uint8Array {
  return Buffer.concat([header(name), mac(role, key, own, peers)])
}

/**
 * Does this token prove that its maker, in that role, has the key? `own` is the challenge of the token's maker and `peers` the
 * one it answers. Which name a middlebox puts into its token says nothing.
 */
export function proves(token: Uint8Array, role: Role, key: Uint8Array, own: Uint8Array, peers: Uint8Array): boolean {
  if (token.length < 2 || token[0] !== HMAC_SHA_256 || token.length !== 2 + token[1]! + MAC_BYTES) return false
  return timingSafeEqual(token.subarray(token.length - MAC_BYTES), mac(role, key, own, peers))
}

function header(name: string): Buffer {
  const bytes = Buffer.from(name)
  return Buffer.concat([Uint8Array.of(HMAC_SHA_256, bytes.length), bytes])
}

function mac(role: Role, key: Uint8Array, own: Uint8Array, peers: Uint8Array): Buffer {
  const hmac = createHmac('sha256', key).update(role).update(Uint8Array.of(0))
  for (const challenge of [own, peers]) {
    hmac.update(Uint8Array.of(challenge.length >>> 8, challenge.length & 255)).update(challenge)
  }
  return hmac.digest()
}
