/** Views as RFC 3415 4 tells them, slow and obvious: every family is looked at, and a walk tries every name there is. */
import type { Oid } from './oid.ts'
import type { ViewFamily } from './vacm.ts'

/** A mask as ones and zeros, one for each sub-identifier; what it lacks is one. */
function bits(mask: Uint8Array, length: number): number[] {
  const text = [...mask].map((octet) => octet.toString(2).padStart(8, '0')).join('')
  return Array.from({ length }, (_, i) => i < text.length ? Number(text[i]) : 1)
}

export function modelContains(families: readonly ViewFamily[], name: Oid): boolean {
  const holding = families.filter(({ subtree, mask }) => {
    const fixed = bits(mask, subtree.length)
    return name.length >= subtree.length && subtree.every((subId, i) => fixed[i] === 0 || name[i] === subId)
  })
  const longest = Math.max(...holding.map(({ subtree }) => subtree.length))
  const candidates = holding.filter(({ subtree }) => subtree.length === longest)
  const [first] = candidates.sort((a, b) => modelCompare(b.subtree, a.subtree))
  return first?.included ?? false
}

export function modelCompare(a: Oid, b: Oid): number {
  const i = a.findIndex((subId, at) => subId !== b[at])
  if (i < 0) return a.length - b.length
  return i >= b.length ? 1 : a[i]! - b[i]!
}

/** The first of `names`, which are in order, at or behind `from` that is held. */
export function modelSeek(families: readonly ViewFamily[], names: readonly Oid[], from: Oid): Oid | null {
  return names.find((name) => modelCompare(name, from) >= 0 && modelContains(families, name)) ?? null
}
