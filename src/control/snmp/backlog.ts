/**
 * Rules of other doors that no table shows yet, for nobody has asked. Most rules come and go unseen: a row for each, in sorted
 * tables, would cost as much as the rule itself. So tables put a rule off as long as nobody could tell, and before anything is
 * read all are entered, the oldest first.
 */
import type { Book, Cause, SessionListener } from '../../policy/api.ts'
import { ENABLE, RESERVE } from './midcom/objects.ts'
import type { MibModule } from './mib.ts'

/** What a rule does, as far as statistics tell; 0: it must be entered at once. */
export type Kind = 0 | typeof RESERVE | typeof ENABLE

export interface RuleTable {
  /** What has become of a rule; cause and `by` as policy tells them. A rule that was put off is told with its lifetime of now. */
  heard(rule: number, lifetimeSec: number, cause: Cause, by: SessionListener | null): void
  /** May this rule, new or changed, be entered later? Left out: whenever others say so. */
  kindToPutOff?(rule: number, by: SessionListener | null): Kind
  /** It was over before anybody asked. Left out: that makes no difference. */
  missed?(kind: Kind, cause: Cause): void
}

export interface Backlog {
  /** Rules that wait. */
  readonly size: number
  /** Another table, which has entered what there is already. */
  add(table: RuleTable): void
  /** Enters so many rules at most. */
  catchUp(most?: number): void
}

export function createBacklog(book: Pick<Book, 'watch' | 'lifetimeSec'>): Backlog {
  const tables: RuleTable[] = []
  const waiting = new Map<number, Kind>()
  // Goes on where the last piece ended: from the beginning it would pass by all that have left.
  let oldest = waiting.keys()

  function kindToPutOff(rule: number, by: SessionListener | null): Kind {
    let kind: Kind = 0
    for (const table of tables) {
      if (table.kindToPutOff === undefined) continue
      kind = table.kindToPutOff(rule, by)
      if (kind === 0) return 0
    }
    return kind
  }

  book.watch((rule, lifetimeSec, cause, by) => {
    const was = waiting.get(rule)
    if (was === undefined) {
      const kind = lifetimeSec > 0 ? kindToPutOff(rule, by) : 0
      if (kind !== 0) waiting.set(rule, kind)
      else for (const table of tables) table.heard(rule, lifetimeSec, cause, by)
    } else if (lifetimeSec === 0) {
      waiting.delete(rule)
      for (const table of tables) table.missed?.(was, cause)
    } else if (was === RESERVE && kindToPutOff(rule, by) === ENABLE) waiting.set(rule, ENABLE)
  })

  return {
    get size() { return waiting.size },
    add(table) { tables.push(table) },
    catchUp(most = Infinity) {
      for (let left = most; left > 0; left--) {
        const { value: rule, done } = oldest.next()
        if (done === true) {
          oldest = waiting.keys()
          return
        }
        waiting.delete(rule)
        const lifetimeSec = book.lifetimeSec(rule)
        for (const table of tables) table.heard(rule, lifetimeSec, 'agent', null)
      }
    },
  }
}

/** A module that looks into such tables. */
export function withBacklog(backlog: Backlog, module: MibModule): MibModule {
  return {
    ...module,
    get(request, name) {
      backlog.catchUp()
      return module.get(request, name)
    },
    next(request, from, including) {
      backlog.catchUp()
      return module.next(request, from, including)
    },
  }
}
