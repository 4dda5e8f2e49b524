/** A file of firewall rules as text, one in a line; empty lines and what follows a # at the beginning of a line say nothing. */
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import type { Problem } from '../config/document.ts'
import { ConfigError, problemText } from '../config/load.ts'
import { parseRule } from './ipfilter.ts'

/** Rules of a file and not settings: that is what its first line with something in it tells. */
export function looksLikeRules(text: string): boolean {
  return /^(?:\s*(?:#.*)?\n)*[ \t]*(?:permit|deny)[ \t]/i.test(text)
}

/** Rules of the text of that file. Throws `ConfigError` with every mistake. */
export function rulesOf(text: string, path: string): FirewallRule[] {
  const { rules, problems } = parseRules(text)
  if (problems.length === 0) return rules
  throw new ConfigError('config-invalid', path, problems, problems.map((problem) => problemText(path, problem)).join('\n'))
}

export function parseRules(text: string): { rules: FirewallRule[]; problems: Problem[] } {
  const rules: FirewallRule[] = [], problems: Problem[] = []
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue
    const parsed = parseRule(line)
    if (parsed.ok) rules.push({ ...parsed.value, line: i + 1 })
    else {
      const { column, message, suggestion } = parsed
      problems.push({ line: i + 1, column, path: '', message, ...suggestion !== undefined && { suggestion } })
    }
  }
  return { rules, problems }
}
