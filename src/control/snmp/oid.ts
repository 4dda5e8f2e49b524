/**
 * Object identifiers as lists of sub-identifiers, and their order (RFC 3416 4.2.2): number by number, a prefix before the rest.
 */

/** Sub-identifiers 0..2^32-1, at most 128 of them (RFC 2578 3.5). Never changed once it was given away. */
export type Oid = readonly number[]

export const MAX_SUB_IDS = 128
export const MAX_SUB_ID = 0xffff_ffff

/** Below 0, 0 or above 0, as `a` stands before `b`, is `b`, or stands behind it. */
export function compareOids(a: Oid, b: Oid): number {
  const length = a.length < b.length ? a.length : b.length
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1
  return a.length - b.length
}

/** `oid` is `prefix` or lies below it. */
export function startsWith(oid: Oid, prefix: Oid): boolean {
  if (oid.length < prefix.length) return false
  for (let i = prefix.length - 1; i >= 0; i--) if (oid[i] !== prefix[i]) return false
  return true
}

/** `1.3.6.1` to [1, 3, 6, 1]; a leading dot is allowed. null: that is not an OID that BER could carry. */
export function parseOid(text: string): number[] | null {
  if (!/^\.?\d+(\.\d+)+$/.test(text)) return null
  const oid = text.replace(/^\./, '').split('.').map(Number)
  const fits = oid.length <= MAX_SUB_IDS && oid.every((subId) => subId <= MAX_SUB_ID)
  return fits && oid[0]! <= 2 && (oid[0] === 2 || oid[1]! < 40) ? oid : null
}

export function oidText(oid: Oid): string { return oid.join('.') }
