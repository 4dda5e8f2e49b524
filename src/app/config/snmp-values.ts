/** Texts of the SNMP settings: passwords, engine identifiers, and subtrees of objects. */
import { MIN_PASSWORD_CHARS } from '../../control/snmp/keys.ts'
import { MAX_ENGINE_ID_BYTES, MIN_ENGINE_ID_BYTES } from '../../control/snmp/local-engine.ts'
import { MAX_SUB_IDS, parseOid } from '../../control/snmp/oid.ts'
import { fault, type Parsed } from './address.ts'

/** UTF-8, as octets: what is secret is never a text in a digest or a report. */
export function parsePassword(text: string): Parsed<Uint8Array> {
  const chars = [...text].length
  if (chars < MIN_PASSWORD_CHARS) {
    return fault(`the password has ${chars} characters, and ${MIN_PASSWORD_CHARS} are the least (RFC 3414 11.2)`)
  }
  return { ok: true, value: Uint8Array.from(Buffer.from(text, 'utf8')) }
}

/** Hex, with or without 0x; empty: null. */
export function parseEngineId(text: string): Parsed<Uint8Array | null> {
  if (text === '') return { ok: true, value: null }
  const hex = text.replace(/^0x/i, '').replace(/[\s:]/g, '')
  if (!/^([0-9a-f]{2})+$/i.test(hex)) return fault('this is not hex', 'write one such as 80007ed90500000001')
  const id = Uint8Array.from(Buffer.from(hex, 'hex'))
  if (id.length < MIN_ENGINE_ID_BYTES || id.length > MAX_ENGINE_ID_BYTES) {
    return fault(`an engine identifier has ${MIN_ENGINE_ID_BYTES} to ${MAX_ENGINE_ID_BYTES} bytes, and this one ${id.length}`)
  }
  if (id.every((one) => one === 0) || id.every((one) => one === 0xff)) {
    return fault('all bytes are alike (RFC 3411 5, SnmpEngineID)')
  }
  return { ok: true, value: id }
}

/** A subtree of objects, with wildcards, or the rows of one owner in the tables of rules. */
export type Subtree = { subtree: number[]; wildcards: number[] } | { rulesOf: string }

/** What the setting writes before the name of an owner. */
export const RULES_OF = 'rules-of:'

/** `1.3.6.1.2.1.171`, `1.3.6.1.2.1.171.1.1.3.1.*.5.97.108.105.99.101`, `rules-of:alice`. */
export function parseSubtree(text: string): Parsed<Subtree> {
  if (text.startsWith(RULES_OF)) return { ok: true, value: { rulesOf: text.slice(RULES_OF.length) } }
  const parts = text.replace(/^\./, '').split('.')
  const subtree = parseOid(parts.map((part) => part === '*' ? '0' : part).join('.'))
  if (subtree === null || parts[0] === '*') {
    if (parts.length > MAX_SUB_IDS) return fault(`${parts.length} numbers are too many (${MAX_SUB_IDS})`)
    return fault(`'${text}' is not an object identifier`,
      `write one such as 1.3.6.1.2.1.171, with * for any number, or ${RULES_OF}NAME`)
  }
  return { ok: true, value: { subtree, wildcards: parts.flatMap((part, i) => part === '*' ? [i] : []) } }
}
