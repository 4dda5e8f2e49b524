/**
 * One instance that a SET names more than once. RFC 3416 4.2.5 assigns all varbinds as if at once, so two values are no order but a
 * contradiction: inconsistentValue, in every module alike. The same value again is none, and counts once.
 */
import { INCONSISTENT_VALUE, NO_ERROR, type Value, type Varbind } from './mib.ts'
import { compareOids, oidText, type Oid } from './oid.ts'

/** A module asks for each varbind of its part in order, once that is known to be good by itself. */
export interface Names {
  /** null: it is named for the first time. NO_ERROR: again with that value, and nothing is to be done. Else the error-status. */
  enter(varbind: Varbind): null | typeof NO_ERROR | typeof INCONSISTENT_VALUE
}

export function createNames(): Names {
  const values = new Map<string, Value>()
  return {
    enter({ name, value }) {
      const key = oidText(name), before = values.get(key)
      if (before !== undefined) return isSame(before, value) ? NO_ERROR : INCONSISTENT_VALUE
      values.set(key, value)
      return null
    },
  }
}

function isSame(a: Value, b: Value): boolean {
  if (a.tag !== b.tag) return false
  if (a.value instanceof Uint8Array) return Buffer.compare(a.value, b.value as Uint8Array) === 0
  return Array.isArray(a.value) ? compareOids(a.value as Oid, b.value as Oid) === 0 : a.value === b.value
}
