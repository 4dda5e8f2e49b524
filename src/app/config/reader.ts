/** Settings of a section that has been found good, each as what its text means. */
import { setting, settings } from './schema.ts'
import { parseValue } from './values.ts'

const RULES = new Map(settings().map(([path, node]) => [path, node['x-value'] ?? node.items?.['x-value']]))

/** Reads settings below `before` out of a section that has been found good. */
export function reader(data: unknown, before: string) {
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
