/** Bytes a rule: what the tables say of themselves, and the difference that rules make to the process. */
import { createBox, enableRules, machineOf, openSession } from './box.ts'
import type { RulesParameters } from './rows.ts'

const collect = globalThis.gc as () => void

/** Tables are made for all rules at once, but a page of them takes memory from its first use on. */
function residentBytes(): number {
  collect()
  return process.memoryUsage.rss()
}

export function bytesOfRules({ rules, seed }: RulesParameters): object {
  const create = (limit: number) => createBox(seed, { port: 0, agents: 1, rules: limit }, () => 0)
  // Loads all code there is to load.
  const small = create(16)
  enableRules(small, openSession(small, 0), 16, 600)
  const before = residentBytes()
  const without = machineOf(seed, null)
  const plain = residentBytes()
  const box = create(rules)
  enableRules(box, openSession(box, 0), rules, 600)
  const { machine: { engine, channel }, core } = box
  const made = core.statistics().enableRules
  if (made !== rules) throw new Error(`${made} rules of ${rules}`)
  const resident = residentBytes() - plain - (plain - before)
  const { ring, activity } = channel!
  const { lastUsedMs, packets, bytes } = activity
  return {
    policy: core.bytes() / rules, engine: (engine.tableBytes - without.engine.tableBytes + engine.ruleBytes()) / rules,
    activity: (lastUsedMs.byteLength + packets.byteLength + bytes.byteLength) / rules, ring: ring.words.byteLength / rules,
    resident: resident / rules,
  }
}
