/** Firewall rules whose conditions do not go together, and more of them than the packet path can hold. */
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import { countEntries, MOST_ENTRIES, MOST_INTERFACES, MOST_RULES } from '../../engine/firewall-set.ts'
import { parsePrefix } from './address.ts'
import type { Found } from './document.ts'
import { parsePart, parseRuleText, ruleOf, RULES } from './firewall.ts'
import { setting } from './schema.ts'

/** Only of entries that are good part by part. */
export function betweenRules(data: unknown, found: Found): void {
  const list = setting(data, 'firewall.rules')
  const entries: unknown[] = Array.isArray(list) ? list : []
  const rules: FirewallRule[] = []
  entries.forEach((entry, i) => {
    if (!isGoodEntry(entry)) return
    const { rule, conflict } = ruleOf(entry)
    if (rule !== null) rules.push(rule)
    else found([`/firewall/rules/${i}/${conflict.part}`, `/firewall/rules/${i}`], conflict.message, conflict.suggestion)
  })
  const names = new Set(rules.flatMap(({ interfaces }) => interfaces?.names ?? []))
  if (names.size > MOST_INTERFACES) {
    found(['/firewall/rules'], `${names.size} names of interfaces are too many (0 to ${MOST_INTERFACES})`)
  }
  const inside = setting(data, 'inside')
  const assigned = (Array.isArray(inside) ? inside : []).flatMap((text) => {
    const parsed = typeof text === 'string' ? parsePrefix(text) : null
    return parsed?.ok === true ? [parsed.value] : []
  })
  if (rules.length <= MOST_RULES && countEntries(rules, assigned) > MOST_ENTRIES) {
    found(['/firewall/rules'],
      `the rules take more than ${MOST_ENTRIES} entries: a list counts with each entry of every other list of its rule`,
        'write shorter lists, or prefixes in place of lists')
  }
}

function isGoodEntry(entry: unknown): boolean {
  if (typeof entry === 'string') return parseRuleText(entry).ok
  if (entry === null || typeof entry !== 'object' || Array.isArray(entry)) return false
  return Object.entries(entry).every(([key, written]) => {
    if (key === 'action') return written === 'permit' || written === 'deny'
    const known = RULES.items.properties[key]
    if (known === undefined || !('x-value' in known) || known['x-value']?.kind !== 'rule-part') return known !== undefined
    const list: unknown[] = Array.isArray(written) ? written : [written]
    return list.every((one) => typeof one === 'string' || typeof one === 'number') && parsePart(`/${key}`, written).ok
  })
}
