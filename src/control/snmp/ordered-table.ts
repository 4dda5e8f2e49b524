/** A part of a module: a large table over sorted rows. An instance is found, and a walk goes on, by one search. */
import type { Ordered } from '../../storage/ordered.ts'
import { NO_SUCH_INSTANCE, NO_SUCH_OBJECT, type Value, type Varbind } from './mib.ts'
import { compareOids, startsWith, type Oid } from './oid.ts'

export interface OrderedTable<T> {
  /** OID of the entry, below which columns stand. */
  readonly entry: Oid
  /** Those that can be read, ascending; each row has an instance of each. */
  readonly columns: readonly number[]
  readonly rows: Pick<Ordered<T>, 'find' | 'from' | 'after'>
  /** As the index of a row stands to an index, which may be of any length and hold anything. */
  compare(row: T, index: Oid): number
  index(row: T): Oid
  read(row: T, column: number): Value
}

export function orderedTable<T>({ entry, columns, rows, compare, index, read }: OrderedTable<T>) {
  const at = entry.length

  function get(name: Oid): Value {
    const column = name[at]
    if (column === undefined || !columns.includes(column)) return NO_SUCH_OBJECT
    const wanted = name.slice(at + 1)
    const row = rows.find((other) => compare(other, wanted))
    return row === undefined ? NO_SUCH_INSTANCE : read(row, column)
  }

  // A walk asks for what comes after the very name that it was given last.
  let lastName: Oid | null = null, lastRow: T | undefined, lastColumn = 0

  function found(row: T, column: number): Varbind {
    const name = [...entry, column, ...index(row)]
    lastName = name
    lastRow = row
    lastColumn = column
    return { name, value: read(row, column) }
  }

  function next(from: Oid, isIncluding: boolean): Varbind | null {
    if (from === lastName && !isIncluding) {
      const row = rows.after(lastRow!)
      return row === undefined ? inColumns(lastColumn + 1, [], true) : found(row, lastColumn)
    }
    const isBelow = from.length > at && startsWith(from, entry)
    if (!isBelow && compareOids(from, entry) > 0) return null
    return isBelow ? inColumns(from[at]!, from.slice(at + 1), isIncluding) : inColumns(0, [], true)
  }

  /** First instance from this index on in the first of these columns, or the first one of a later column. */
  function inColumns(first: number, wanted: Oid, isIncluding: boolean): Varbind | null {
    for (const column of columns) {
      if (column < first) continue
      const isFirst = column === first
      const row = rows.from((other) => {
        const order = compare(other, isFirst ? wanted : [])
        return order === 0 && isFirst && !isIncluding ? -1 : order
      })
      if (row !== undefined) return found(row, column)
    }
    return null
  }

  return { oid: entry, get, next }
}
