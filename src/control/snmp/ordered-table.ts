/** A part of a module: a large table over sorted rows. An instance is found, and a walk goes on, by one search. */
import type { Ordered } from '../../storage/ordered.ts'
import { NO_SUCH_INSTANCE, NO_SUCH_OBJECT, type Value, type Varbind } from './mib.ts'
import { compareOids, startsWith, type Oid } from './oid.ts'

export interface OrderedTable<T> {
  /** OID of the entry, below which columns stand. */
  readonly entry: Oid
  /** Those that can be read, ascending; each row has an instance of each. */
  readonly columns: readonly number[]
  readonly rows: Pick<Ordered<T>, 'find' | 'from'>
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

  function next(from: Oid, isIncluding: boolean): Varbind | null {
    const isBelow = from.length > at && startsWith(from, entry)
    if (!isBelow && compareOids(from, entry) > 0) return null
    const start = isBelow ? from[at]! : -1
    for (const column of columns) {
      if (column < start) continue
      const wanted = column === start ? from.slice(at + 1) : []
      const row = rows.from((other) => {
        const order = compare(other, wanted)
        return order === 0 && !isIncluding ? -1 : order
      })
      if (row !== undefined) return { name: [...entry, column, ...index(row)], value: read(row, column) }
    }
    return null
  }

  return { oid: entry, get, next }
}
