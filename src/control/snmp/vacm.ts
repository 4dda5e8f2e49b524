/**
 * View-based access control (RFC 3415): who may read, write and hear of which objects. A view is a list of subtrees with
 * wildcards; it answers whether it holds a name, and where it goes on behind one that it does not hold, so that a walk need not
 * try everything that is hidden.
 */
import { compareOids, MAX_SUB_ID, type Oid } from './oid.ts'
import type { SecurityLevel } from './mib.ts'

/**
 * A view family (RFC 3415 4, vacmViewTreeFamilyTable). Bit i of the mask, from the top of its first octet on, belongs to
 * sub-identifier i.
 */
export interface ViewFamily {
  readonly subtree: Oid
  /** 0 bits: any sub-identifier will do there. Bits that are missing are 1. */
  readonly mask: Uint8Array
  readonly included: boolean
}

export const NO_MASK: Uint8Array = new Uint8Array(0)

function isFixed(mask: Uint8Array, i: number): boolean { return i >> 3 >= mask.length || (mask[i >> 3]! & 0x80 >> (i & 7)) !== 0 }

/** `name` lies in the family. */
export function isInFamily({ subtree, mask }: Pick<ViewFamily, 'subtree' | 'mask'>, name: Oid): boolean {
  const { length } = subtree
  if (name.length < length) return false
  for (let i = length - 1; i >= 0; i--) if (name[i] !== subtree[i] && isFixed(mask, i)) return false
  return true
}

/**
 * More sub-identifiers first, then the larger subtree: the first family that holds a name decides (RFC 3415 4,
 * vacmViewTreeFamilyType).
 */
export function byPrecedence(a: Pick<ViewFamily, 'subtree'>, b: Pick<ViewFamily, 'subtree'>): number {
  return b.subtree.length - a.subtree.length || compareOids(b.subtree, a.subtree)
}

/** The first name behind everything that begins with the first `length` sub-identifiers of `name`, or null. */
function behindPrefix(name: Oid, length: number): Oid | null {
  for (let i = length - 1; i >= 0; i--) {
    if (name[i]! < MAX_SUB_ID) return [...name.slice(0, i), name[i]! + 1]
  }
  return null
}

/**
 * The first name behind `name`, which is in the family, of at least `least` sub-identifiers and not in the family, or null. A
 * wildcard at its end goes on in the next number there; several of them do if no name is so short that it fits between.
 */
function behindFamily({ subtree, mask }: ViewFamily, name: Oid, least: number): Oid | null {
  let { length } = subtree
  if (!isFixed(mask, length - 1)) length--
  if (least === subtree.length) while (length > 0 && !isFixed(mask, length - 1)) length--
  return behindPrefix(name, length)
}

/** The first name behind `name` at which the family begins (again), or null. `name` is not in the family. */
function nextBeginning({ subtree, mask }: ViewFamily, name: Oid): Oid | null {
  const { length } = subtree
  const least = (from: number, head: number[]) => {
    for (let i = from; i < length; i++) head.push(isFixed(mask, i) ? subtree[i]! : 0)
    return head
  }
  /** The last wildcard before i that could be larger. */
  let wild = -1
  for (let i = 0; i < length; i++) {
    if (i >= name.length) return least(i, name.slice(0, i))
    if (!isFixed(mask, i)) {
      if (name[i]! < MAX_SUB_ID) wild = i
    } else if (subtree[i]! > name[i]!) return least(i, name.slice(0, i))
    else if (subtree[i]! < name[i]!) return wild < 0 ? null : least(wild + 1, [...name.slice(0, wild), name[wild]! + 1])
  }
  return null
}

/** All of `b` lies in `a`, which has as many sub-identifiers and comes before it. */
function overrules(a: ViewFamily, b: ViewFamily): boolean {
  return a.subtree.length === b.subtree.length
    && a.subtree.every((subId, i) => !isFixed(a.mask, i) || isFixed(b.mask, i) && b.subtree[i] === subId)
}

/** Beginnings and ends of families that one search crosses: views have few, unless wildcards overrule wildcards. */
const MAX_BOUNDARIES = 4096

export class View {
  readonly name: string
  /** In the order in which they decide. */
  readonly families: readonly ViewFamily[]
  /** What it may hold names because of: included families that nothing overrules as a whole. */
  private readonly chances: readonly ViewFamily[]

  constructor(name: string, families: readonly ViewFamily[]) {
    this.name = name
    const ordered = this.families = [...families].sort(byPrecedence)
    this.chances = ordered.filter((family, i) => {
      return family.included && !ordered.slice(0, i).some((before) => overrules(before, family))
    })
  }

  contains(name: Oid): boolean { return this.decider(name)?.included ?? false }

  /** The family that decides about a name, or null. */
  private decider(name: Oid): ViewFamily | null {
    const { families } = this
    for (let i = 0; i < families.length; i++) if (isInFamily(families[i]!, name)) return families[i]!
    return null
  }

  /** The first name that this view holds, `name` itself or one behind it, or null. It need not be that of an instance. */
  seek(name: Oid): Oid | null {
    let at: Oid | null = name
    for (let n = 0; at !== null && n < MAX_BOUNDARIES; n++) {
      const decider = this.decider(at)
      if (decider?.included === true) return at
      at = this.nextChance(at, decider)
    }
    return null
  }

  /** The first name behind one that is not held at which that may change: an included family begins, or what overrules one ends. */
  private nextChance(name: Oid, decider: ViewFamily | null): Oid | null {
    let first: Oid | null = null
    for (const family of this.chances) {
      const chance: Oid | null = isInFamily(family, name)
        ? behindFamily(decider!, name, family.subtree.length) : nextBeginning(family, name)
      if (chance !== null && (first === null || compareOids(chance, first) < 0)) first = chance
    }
    return first
  }
}

/** A row of vacmAccessTable. Names of views that do not exist are the empty view. */
export interface AccessEntry {
  readonly group: string
  readonly contextPrefix: string
  readonly isExact: boolean
  /** 0: any model; 3: USM. */
  readonly securityModel: number
  readonly level: SecurityLevel
  readonly read: string
  readonly write: string
  readonly notify: string
}

export interface AccessOptions {
  readonly contexts: readonly string[]
  /** securityName to groupName, all of the user-based model. */
  readonly groups: ReadonlyMap<string, string>
  readonly access: readonly AccessEntry[]
  readonly views: readonly View[]
}

/** The views of one user; null: there is none of that kind (noSuchView). */
export interface Views { readonly read: View | null; readonly write: View | null; readonly notify: View | null }
export type AccessFault = 'noSuchContext' | 'noGroupName' | 'noAccessEntry'

export class Vacm {
  readonly options: AccessOptions
  private readonly views: ReadonlyMap<string, View>
  private readonly answers = new Map<string, Views | AccessFault>()

  constructor(options: AccessOptions) {
    this.options = options
    this.views = new Map(options.views.map((view) => [view.name, view]))
  }

  /** isAccessAllowed (RFC 3415 3.2) but for its last step, which is the view's. */
  viewsOf(securityName: string, level: SecurityLevel, contextName: string): Views | AccessFault {
    if (!this.options.contexts.includes(contextName)) return 'noSuchContext'
    // Names of users come from configuration and of contexts from the list above, so this cannot grow without bound.
    const group = this.options.groups.get(securityName)
    if (group === undefined) return 'noGroupName'
    // With a length in front, for names may hold whatever parts them.
    const key = `${level} ${contextName.length} ${contextName}${securityName}`
    let answer = this.answers.get(key)
    if (answer === undefined) this.answers.set(key, answer = this.find(group, level, contextName))
    return answer
  }

  private find(group: string, level: SecurityLevel, contextName: string): Views | AccessFault {
    const candidates = this.options.access.filter((entry) => entry.group === group && entry.level <= level
      && (entry.securityModel === 0 || entry.securityModel === 3)
      && (entry.isExact ? contextName === entry.contextPrefix : contextName.startsWith(entry.contextPrefix)))
    // RFC 3415 4, vacmAccessTable: the model first, then an exact context, the longer prefix, the higher level.
    const [best] = candidates.sort((a, b) => b.securityModel - a.securityModel
      || Number(b.contextPrefix === contextName) - Number(a.contextPrefix === contextName)
      || b.contextPrefix.length - a.contextPrefix.length || b.level - a.level)
    if (best === undefined) return 'noAccessEntry'
    const view = (name: string) => this.views.get(name) ?? null
    return { read: view(best.read), write: view(best.write), notify: view(best.notify) }
  }
}
