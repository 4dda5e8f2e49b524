/**
 * Rows that outlast a restart (RFC 5190 midcomRuleStorageType nonVolatile) as entries of the journal: a row with its columns, and
 * of an established one the rule with all that it was granted. Times are those of the calendar, so that lifetimes go on while the
 * box is down.
 */
import type { SavedRule } from '../../../policy/api.ts'
import { isEstablished, isOver } from './objects.ts'
import { DEFAULTS, rowIndex, type Row, type Wanted } from './rows.ts'

const VERSION = 1

/** What stands in an entry. Octets are hex. */
interface Entry {
  version: number
  row: {
    owner: string; group: number; index: number; rowStatus: number; adminStatus: number; operStatus: number; storageTimeSec: number
    error: string; order: number
  }
  wanted: Record<string, number | string>
  /** Of a row that is over: when it goes. */
  removeAtMs?: number
  rule?: SavedRule
  /** When the rule ends. */
  endsAtMs?: number
}

export interface Kept {
  owner: string
  group: number
  index: number
  rowStatus: number
  adminStatus: number
  operStatus: number
  storageTimeSec: number
  error: string
  order: number
  wanted: Wanted
  removeAtMs: number
  /** `remainingMs` is what is left at `wallMs`; below 0: it ended that long ago. null: not established. */
  rule: SavedRule | null
}

export function keyOf(row: Row): string { return rowIndex(row).join('.') }

/** @param offsetMs what the calendar is ahead of the clock of the box */
export function entryOf(row: Row, rule: SavedRule | undefined, nowMs: number, offsetMs: number): string {
  const { group: { owner, index: group }, index, rowStatus, adminStatus, operStatus, storageTimeSec, error, order } = row
  const wanted = Object.fromEntries(Object.entries(row.wanted).map(([name, value]: [string, number | Uint8Array]) =>
    [name, typeof value === 'number' ? value : Buffer.from(value).toString('hex')]))
  const entry: Entry = {
    version: VERSION, wanted,
    row: { owner: owner.name, group, index, rowStatus, adminStatus, operStatus, storageTimeSec, error, order },
    ...isOver(operStatus) && { removeAtMs: row.removeAtMs + offsetMs },
    ...isEstablished(operStatus) && rule !== undefined && { rule, endsAtMs: nowMs + offsetMs + rule.remainingMs },
  }
  return JSON.stringify(entry)
}

/** Reads an entry; null: nothing that this version has written. */
export function keptOf(key: string, text: string, wallMs: number): Kept | null {
  try {
    const { version, row, wanted, removeAtMs, rule, endsAtMs } = JSON.parse(text) as Entry
    const octets = [...Buffer.from(row.owner)]
    if (version !== VERSION || [octets.length, ...octets, row.group, row.index].join('.') !== key) return null
    const read = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]: [string, number | Uint8Array]) => {
      const kept = wanted[name]
      if (typeof kept !== (typeof value === 'number' ? 'number' : 'string')) throw new TypeError(name)
      return [name, typeof kept === 'string' ? Uint8Array.from(Buffer.from(kept, 'hex')) : kept]
    })) as unknown as Wanted
    return {
      ...row, wanted: read, removeAtMs: removeAtMs ?? Infinity,
      rule: rule === undefined || endsAtMs === undefined ? null : { ...rule, remainingMs: endsAtMs - wallMs },
    }
  } catch {
    return null
  }
}

