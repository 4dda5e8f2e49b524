/**
 * MIB modules made of scalars and small tables, by description: which objects there are, and how each is read. For modules whose
 * rows are few and change seldom; a large table is better off with an order of its own.
 */
import {
  INCONSISTENT_VALUE, NO_SUCH_INSTANCE, NO_SUCH_OBJECT, type MibModule, type ModuleIdentity, type Request, type SetFault,
  type SetPlan, type Value, type Varbind,
} from './mib.ts'
import { createNames } from './named-twice.ts'
import { compareOids, startsWith, type Oid } from './oid.ts'

/** An object with the one instance .0. */
export interface Scalar { readonly oid: Oid; get(): Value }

export interface Row<T> { readonly index: Oid; readonly row: T }
export interface Table<T> {
  /** OID of the entry, below which columns stand. */
  readonly entry: Oid
  /** By their numbers, which may have gaps; null: this row has no instance of that column. */
  readonly columns: ReadonlyMap<number, (row: T, index: Oid) => Value | null>
  /** In the order of their indices, no two alike. */
  rows(): readonly Row<T>[]
}

/** One thing that is read: where it stands, and what is there. */
interface Part {
  readonly oid: Oid
  get(name: Oid): Value
  next(from: Oid, isIncluding: boolean): Varbind | null
}

function isBehind(name: Oid, from: Oid, isIncluding: boolean): boolean {
  const order = compareOids(name, from)
  return order > 0 || isIncluding && order === 0
}

function scalarPart({ oid, get }: Scalar): Part {
  const name: Oid = [...oid, 0]
  return {
    oid,
    get: (asked) => compareOids(asked, name) === 0 ? get() : NO_SUCH_INSTANCE,
    next: (from, isIncluding) => isBehind(name, from, isIncluding) ? { name, value: get() } : null,
  }
}

function tablePart<T>({ entry, columns, rows }: Table<T>): Part {
  const ids = [...columns.keys()].sort((a, b) => a - b)

  /** Where the first row stands whose index is behind. */
  function firstBehind(all: readonly Row<T>[], index: Oid, isIncluding: boolean): number {
    let low = 0, high = all.length
    while (low < high) {
      const middle = low + high >> 1
      if (isBehind(all[middle]!.index, index, isIncluding)) high = middle
      else low = middle + 1
    }
    return low
  }

  /** The first row whose index stands behind, in a column that has such an instance. */
  function nextInColumn(id: number, index: Oid, isIncluding: boolean): Varbind | null {
    const all = rows(), get = columns.get(id)!
    for (let i = firstBehind(all, index, isIncluding); i < all.length; i++) {
      const value = get(all[i]!.row, all[i]!.index)
      if (value !== null) return { name: [...entry, id, ...all[i]!.index], value }
    }
    return null
  }

  return {
    oid: entry,
    get(name) {
      const get = columns.get(name[entry.length] ?? -1)
      if (get === undefined) return NO_SUCH_OBJECT
      const index = name.slice(entry.length + 1)
      const all = rows(), found = all[firstBehind(all, index, true)]
      if (found === undefined || compareOids(found.index, index) !== 0) return NO_SUCH_INSTANCE
      return get(found.row, index) ?? NO_SUCH_INSTANCE
    },
    next(from, isIncluding) {
      const isBelow = startsWith(from, entry) && from.length > entry.length
      const column = isBelow ? from[entry.length]! : compareOids(from, entry) <= 0 ? -1 : Infinity
      for (const id of ids) {
        if (id < column) continue
        const isSame = id === column
        const found = nextInColumn(id, isSame ? from.slice(entry.length + 1) : [], isSame ? isIncluding : true)
        if (found !== null) return found
      }
      return null
    },
  }
}

export function scalar(oid: Oid, get: () => Value): Part { return scalarPart({ oid, get }) }
export function table<T>(
  entry: Oid, columns: Record<number, (row: T, index: Oid) => Value | null>, rows: () => readonly Row<T>[],
): Part {
  const numbered = Object.entries(columns).map(([id, get]) => [Number(id), get] as const)
  return tablePart({ entry, columns: new Map(numbered), rows })
}

/** Rows that do not change, put in order. */
export function inOrder<T>(rows: readonly Row<T>[]): readonly Row<T>[] {
  return [...rows].sort((a, b) => compareOids(a.index, b.index))
}

/**
 * What may be written of such a module: tries one varbind on its own, and tells what would be done. The plan of a request is the
 * plans of its varbinds, so objects that depend on each other within one request need a module of their own.
 */
export type TrySet = (request: Request, varbind: Varbind) => SetPlan | number

export function createObjects(root: Oid, identity: ModuleIdentity, parts: readonly Part[], trySet?: TrySet): MibModule {
  const ordered = [...parts].sort((a, b) => compareOids(a.oid, b.oid))

  function prepare(request: Request, varbinds: readonly Varbind[]): SetFault | SetPlan {
    const plans: SetPlan[] = []
    const names = createNames()
    for (const [index, varbind] of varbinds.entries()) {
      const tried = trySet!(request, varbind)
      if (typeof tried === 'number') return { status: tried, index }
      const again = names.enter(varbind)
      if (again === INCONSISTENT_VALUE) return { status: again, index }
      if (again === null) plans.push(tried)
    }
    return {
      commit() {
        for (const plan of plans) void plan.commit()
        return null
      },
      undo() { for (const plan of plans.reverse()) plan.undo() },
    }
  }

  return {
    root, identity,
    get(_request, name) {
      return ordered.find(({ oid }) => startsWith(name, oid))?.get(name) ?? NO_SUCH_OBJECT
    },
    next(_request, from, isIncluding) {
      for (const part of ordered) {
        const found = part.next(from, isIncluding)
        if (found !== null) return found
      }
      return null
    },
    ...trySet !== undefined && { prepare },
  }
}

/**
 * Index of a name in a table whose index is that name: its octets, behind their number unless the index is IMPLIED (RFC 2578
 * 7.7).
 */
export function nameIndex(name: string, isImplied: boolean): number[] {
  const octets = [...Buffer.from(name, 'utf8')]
  return isImplied ? octets : [octets.length, ...octets]
}

