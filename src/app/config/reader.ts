/** Reads settings that have been found good, out of a file's data or an entry of a list in it. */
import { setting, settings } from './schema.ts'
import { parseValue } from './values.ts'

export interface Reader {
  /** As it is written. */
  plain<T>(path: string): T
  /** What its text means. */
  value<T>(path: string): T
  /** What its items mean; null: the setting is left out, and has no default. */
  list<T>(path: string): T[] | null
}

const RULES = new Map(settings().map(([path, node]) => [path, node['x-value'] ?? node.items?.['x-value']]))

/** @param before path of what `data` is, with its last dot or as `list[].`; empty: all */
export function reader(data: unknown, before: string): Reader {
  const plain = <T>(path: string) => setting(data, path, before) as T
  const read = <T>(path: string, written: unknown): T => {
    const parsed = parseValue(RULES.get(before + path)!, written as string)
    if (!parsed.ok) throw new Error(`${path}: ${parsed.message}`)
    return parsed.value as T
  }
  const value = <T>(path: string) => read<T>(path, plain(path))
  const list = <T>(path: string) => plain<unknown[] | undefined>(path)?.map(item => read<T>(path, item)) ?? null
  return { plain, value, list }
}
