/** What checks between settings ask of a file: the items of a list that can be read, and where ranges overlap. */
import { fault, type Parsed, type Range } from './address.ts'
import { childPointer } from './document.ts'
import { setting } from './schema.ts'

/** Outside addresses that hosts share. */
export const POOL_MOST = 1024

/** The entries of a list that parse, with their pointers; the defaults if the list is absent. */
export function entries<T>(data: unknown, path: string, read: (text: string) => Parsed<T>): { pointer: string; value: T }[] {
  const pointer = '/' + path.replaceAll('.', '/')
  const list = setting(data, path)
  return (Array.isArray(list) ? list : []).flatMap((item, i) => {
    const parsed = typeof item === 'string' ? read(item) : fault('not a text')
    return parsed.ok ? [{ pointer: childPointer(pointer, i), value: parsed.value }] : []
  })
}

export function overlap(a: Range, b: Range): Range | null {
  const first = Math.max(a.first, b.first), last = Math.min(a.last, b.last)
  return first <= last ? { first, last } : null
}
