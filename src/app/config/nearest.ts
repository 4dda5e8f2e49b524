/** Letters to insert, remove or replace to make `b` of `a` (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

/** What other firewalls call it. */
const ELSEWHERE: readonly (readonly [meant: string, ...words: string[]])[] = [
  ['permit', 'accept', 'allow', 'pass'], ['deny', 'drop', 'block', 'reject', 'refuse'],
  ['inbound', 'in', 'input'], ['outbound', 'out', 'output'],
]

/**
 * The word that was probably meant, whole or begun, or null if none is near. Case, `_` and camelCase do not count as
 * differences.
 */
export function nearest(written: string, known: readonly string[]): string | null {
  if (written.length > 64) return null
  const plain = (word: string) => word.replace(/([a-z])([A-Z])/g, '$1-$2').toLowerCase().replace(/[_\s]/g, '-')
  const others = new Map(ELSEWHERE.flatMap(([meant, ...words]) => known.includes(meant) ? words.map((word) => [word, meant]) : []))
  const same = others.get(plain(written))
  if (same !== undefined) return same
  const begun = known.filter(word => written.length >= 3 && plain(word).startsWith(plain(written)))
  if (begun.length === 1) return begun[0]!
  let best: string | null = null
  let least = Infinity
  for (const word of [...known, ...others.keys()]) {
    const d = distance(plain(written), plain(word))
    if (d < least && d <= Math.max(1, Math.floor(Math.max(word.length, written.length) / 3))) { best = word; least = d }
  }
  return best === null ? null : others.get(best) ?? best
}
