/**
 * Keys of the user-based security model: from a password to a key (RFC 3414 A.2), localized to an engine (2.6), the HMACs of RFC
 * 3414 and RFC 7860, and AES in CFB mode (RFC 3826). AES-256 has no RFC; keys grow as net-snmp lets them grow (Blumenthal). MD5
 * and DES are left out on purpose.
 */
import {
  createCipheriv, createDecipheriv, createHash, createHmac, createSecretKey, timingSafeEqual, type KeyObject,
} from 'node:crypto'
import type { Oid } from './oid.ts'

export interface AuthProtocol {
  readonly name: string
  /** usmUserAuthProtocol. */
  readonly oid: Oid
  readonly hash: string
  readonly keyBytes: number
  /** What of the HMAC is sent. */
  readonly macBytes: number
}
export interface PrivProtocol { readonly name: string; readonly oid: Oid; readonly cipher: string; readonly keyBytes: number }

function hmac(name: string, number: number, hash: string, keyBytes: number, macBytes: number): AuthProtocol {
  return { name, oid: [1, 3, 6, 1, 6, 3, 10, 1, 1, number], hash, keyBytes, macBytes }
}

export const AUTH_PROTOCOLS = {
  'SHA': hmac('SHA', 3, 'sha1', 20, 12), 'SHA-224': hmac('SHA-224', 4, 'sha224', 28, 16),
  'SHA-256': hmac('SHA-256', 5, 'sha256', 32, 24), 'SHA-384': hmac('SHA-384', 6, 'sha384', 48, 32),
  'SHA-512': hmac('SHA-512', 7, 'sha512', 64, 48),
} as const satisfies Record<string, AuthProtocol>
export type AuthName = keyof typeof AUTH_PROTOCOLS
export const AUTH_NAMES = Object.keys(AUTH_PROTOCOLS) as AuthName[]

export const PRIV_PROTOCOLS = {
  'AES': { name: 'AES', oid: [1, 3, 6, 1, 6, 3, 10, 1, 2, 4], cipher: 'aes-128-cfb', keyBytes: 16 },
  // Net-snmp's number, in a subtree of its authors' company.
  'AES-256': { name: 'AES-256', oid: [1, 3, 6, 1, 4, 1, 14832, 1, 4], cipher: 'aes-256-cfb', keyBytes: 32 },
} as const satisfies Record<string, PrivProtocol>
export type PrivName = keyof typeof PRIV_PROTOCOLS
export const PRIV_NAMES = Object.keys(PRIV_PROTOCOLS) as PrivName[]

export const NO_AUTH_OID: Oid = [1, 3, 6, 1, 6, 3, 10, 1, 1, 1], NO_PRIV_OID: Oid = [1, 3, 6, 1, 6, 3, 10, 1, 2, 1]

/** RFC 3414 11.2. */
export const MIN_PASSWORD_CHARS = 8
const EXPANDED_BYTES = 1_048_576

/** Ku: the digest of a password repeated to a mebibyte (RFC 3414 A.2). Some milliseconds. */
export function passwordToKey(protocol: AuthProtocol, password: string): Buffer {
  const once = Buffer.from(password, 'utf8')
  return createHash(protocol.hash).update(Buffer.alloc(EXPANDED_BYTES, once)).digest()
}

/** Kul: Ku bound to one engine (RFC 3414 2.6). */
export function localizeKey(protocol: AuthProtocol, ku: Uint8Array, engineId: Uint8Array): Buffer {
  return createHash(protocol.hash).update(ku).update(engineId).update(ku).digest()
}

/** A privacy key from a localized one: its beginning, or Kul | H(Kul) | H(Kul | H(Kul)) ... where that is too short. */
export function privacyKey(protocol: AuthProtocol, privacy: PrivProtocol, kul: Uint8Array): Buffer {
  let key: Buffer = Buffer.from(kul)
  while (key.length < privacy.keyBytes) key = Buffer.concat([key, createHash(protocol.hash).update(key).digest()])
  return key.subarray(0, privacy.keyBytes)
}

/** What one user's messages with one engine are protected by. */
export interface Keys {
  readonly auth: AuthProtocol
  readonly authKey: KeyObject
  /** null: this user has no privacy. */
  readonly priv: PrivProtocol | null
  readonly privKey: KeyObject | null
}

/** The same before localization, for users that talk to several engines. */
export interface MasterKeys {
  readonly auth: AuthProtocol
  readonly authKu: Uint8Array
  readonly priv: PrivProtocol | null
  readonly privKu: Uint8Array | null
}

export function masterKeys(auth: AuthName, authPassword: string, priv: PrivName | null, privPassword: string | null): MasterKeys {
  const protocol: AuthProtocol = AUTH_PROTOCOLS[auth]
  return {
    auth: protocol, authKu: passwordToKey(protocol, authPassword), priv: priv === null ? null : PRIV_PROTOCOLS[priv],
    privKu: priv === null || privPassword === null ? null : passwordToKey(protocol, privPassword),
  }
}

export function localize({ auth, authKu, priv, privKu }: MasterKeys, engineId: Uint8Array): Keys {
  return {
    auth, authKey: createSecretKey(localizeKey(auth, authKu, engineId)), priv,
    privKey: priv === null || privKu === null ? null
      : createSecretKey(privacyKey(auth, priv, localizeKey(auth, privKu, engineId))),
  }
}

/** The MAC of a message in which its own place is zero. */
export function messageMac({ auth, authKey }: Keys, message: Uint8Array): Buffer {
  return createHmac(auth.hash, authKey).update(message).digest().subarray(0, auth.macBytes)
}

/** In constant time. */
export function isSameMac(a: Uint8Array, b: Uint8Array): boolean { return a.length === b.length && timingSafeEqual(a, b) }

export const SALT_BYTES = 8
/** boots | time | salt (RFC 3826 3.1.2.1). Work object. */
const $iv = Buffer.alloc(16)

function initialVector(boots: number, time: number, salt: Uint8Array): Buffer {
  $iv.writeUInt32BE(boots, 0)
  $iv.writeUInt32BE(time, 4)
  $iv.set(salt, 8)
  return $iv
}

/** Only with keys that have privacy. */
export function encrypt({ priv, privKey }: Keys, boots: number, time: number, salt: Uint8Array, plain: Uint8Array): Buffer {
  return createCipheriv(priv!.cipher, privKey!, initialVector(boots, time, salt)).update(plain)
}

export function decrypt({ priv, privKey }: Keys, boots: number, time: number, salt: Uint8Array, secret: Uint8Array): Buffer {
  return createDecipheriv(priv!.cipher, privKey!, initialVector(boots, time, salt)).update(secret)
}
