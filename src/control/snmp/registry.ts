/** Which module answers for which name: the whole tree of what is served, in its order. */
import { NO_SUCH_OBJECT, type MibModule, type Request, type Value, type Varbind } from './mib.ts'
import { compareOids, startsWith, type Oid } from './oid.ts'

/** Names outside of the view that one GETNEXT may have to pass by, each a run of hidden instances. */
const MAX_RUNS = 4096

/** What a view does for a walk; see vacm.ts. */
export interface Visible {
  contains(name: Oid): boolean
  seek(name: Oid): Oid | null
}

export class Registry {
  /** By their roots; no root lies below another. */
  readonly modules: readonly MibModule[]

  /** Throws if two modules answer for the same. */
  constructor(modules: readonly MibModule[]) {
    this.modules = [...modules].sort((a, b) => compareOids(a.root, b.root))
    for (const [i, { root }] of this.modules.entries()) {
      const before = this.modules[i - 1]
      if (before !== undefined && startsWith(root, before.root)) {
        throw new Error(`${root.join('.')} lies below ${before.root.join('.')}`)
      }
    }
  }

  /** Index of the module that answers for that name, or -1. */
  find(name: Oid): number {
    const i = this.firstBehind(name) - 1
    return i >= 0 && startsWith(name, this.modules[i]!.root) ? i : -1
  }

  /** Index of the first module whose root stands behind `name`. */
  private firstBehind(name: Oid): number {
    const { modules } = this
    let low = 0, high = modules.length
    while (low < high) {
      const middle = low + high >> 1
      if (compareOids(modules[middle]!.root, name) <= 0) low = middle + 1
      else high = middle
    }
    return low
  }

  get(request: Request, name: Oid): Value {
    const i = this.find(name)
    return i < 0 ? NO_SUCH_OBJECT : this.modules[i]!.get(request, name)
  }

  /** The first instance behind `name` that the view holds, or null. */
  next(request: Request, name: Oid, view: Visible): Varbind | null {
    let from: Oid | null = name, isIncluding = false
    for (let runs = 0; from !== null && runs < MAX_RUNS; runs++) {
      const found = this.nextOfAll(request, from, isIncluding)
      if (found === null || view.contains(found.name)) return found
      from = view.seek(found.name)
      isIncluding = true
    }
    return null
  }

  private nextOfAll(request: Request, from: Oid, isIncluding: boolean): Varbind | null {
    const { modules } = this
    for (let i = Math.max(0, this.firstBehind(from) - 1); i < modules.length; i++) {
      const found = modules[i]!.next(request, from, isIncluding)
      if (found !== null) return found
    }
    return null
  }
}
