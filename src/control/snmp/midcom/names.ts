/** What a SET may name in this module, and the index behind it (RFC 5190 9). */
import { startsWith, type Oid } from '../oid.ts'
import { GROUP_ENTRY, RULE_ENTRY } from './objects.ts'
import { MOST_OWNER_OCTETS } from './rows.ts'

export interface Named {
  table: 'rule' | 'group'
  column: number
  /** Owner, group and, of a rule, its number; null: that is no index. */
  index: { octets: readonly number[]; owner: string; group: number; rule: number } | null
  /** Behind the column. */
  suffix: Oid
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function indexOf(suffix: Oid, numbers: 1 | 2): Named['index'] {
  const length = suffix[0] ?? -1
  if (length < 0 || length > MOST_OWNER_OCTETS || suffix.length !== 1 + length + numbers) return null
  const octets = suffix.slice(1, 1 + length)
  if (octets.some((octet) => octet > 255)) return null
  const group = suffix[1 + length]!, rule = numbers === 2 ? suffix[2 + length]! : 1
  if (group === 0 || rule === 0) return null
  try {
    return { octets, group, rule, owner: UTF8.decode(Uint8Array.from(octets)) }
  } catch {
    return null       // SnmpAdminString is UTF-8 (RFC 3411)
  }
}

/** null: nothing that could be set. */
export function named(name: Oid): Named | null {
  for (const [table, entry, numbers] of [['rule', RULE_ENTRY, 2], ['group', GROUP_ENTRY, 1]] as const) {
    if (!startsWith(name, entry) || name.length === entry.length) continue
    const suffix = name.slice(entry.length + 1)
    return { table, column: name[entry.length]!, suffix, index: indexOf(suffix, numbers) }
  }
  return null
}
