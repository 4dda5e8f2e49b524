/** Bytes a rule: what the tables say of themselves, and the difference that rules make to the process. */
import { createBox, enableRules, machineOf, openSession } from './box.ts'
import type { RulesParameters } from './rows.ts'

const collect = globalThis.gc as () => void

function heldBytes(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

export function bytesOfRules({ rules, seed }: RulesParameters): object {
  const create = (limit: number) => createBox(seed, { port: 0, agents: 1, rules: limit }, () => 0)
  // Loads all code there is to load.
  const small = create(16)
  enableRules(small, openSession(small, 0), 16, 600)
  const before = heldBytes()
  const without = machineOf(seed, null)
  const plain = heldBytes()
  const box = create(rules)
  enableRules(box, openSession(box, 0), rules, 600)
  const { machine: { engine, channel }, core } = box
  const made = core.statistics().enableRules
  if (made !== rules) throw new Error(`${made} rules of ${rules}`)
  const resident = heldBytes() - plain - (plain - before)
  const { ring, activity } = channel!
  const shared = ring.words.byteLength + activity.lastUsedMs.byteLength + activity.packets.byteLength + activity.bytes.byteLength
  return {
    policy: core.bytes() / rules, engine: (engine.tableBytes - without.engine.tableBytes + engine.ruleBytes()) / rules,
    channel: shared / rules, resident: resident / rules,
  }
}
