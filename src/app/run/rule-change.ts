/** Replaces the firewall rules of a packet path while packets flow: tables are made a little at a time, then they count at once. */
import type { Prefix } from '../../base/address.ts'
import { counterIndex, type Counters } from '../../channel/counters.ts'
import type { Engine } from '../../engine/engine.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import { buildRuleSet, type RuleSetBuilder } from '../../engine/firewall-set.ts'

/** Of a rule set, in one turn: a few hundredths of a millisecond. */
const BUILD_STEPS = 8

export interface RuleChange {
  /** `pump` has flows examined; `done` is told how many were ended. What is asked for meanwhile takes its place. */
  replace(rules: readonly FirewallRule[], pump: () => void, done: (ended: number) => void): void
  stop(): void
}

export function createRuleChange(
  engine: Pick<Engine, 'replaceRules' | 'firewall'>, counters: Counters, inside: readonly Prefix[], seed: number,
): RuleChange {
  const ENDED = counterIndex('firewall-flows-ended')
  let building: RuleSetBuilder | null = null
  return {
    replace(rules, pump, done) {
      const builder = buildRuleSet(rules, inside, seed)
      building = builder
      const build = () => {
        if (building !== builder) return
        if (builder.step(BUILD_STEPS)) return void setImmediate(build)
        building = null
        const before = counters[ENDED]
        engine.replaceRules(builder.set())
        // The flows that are there follow in slices.
        pump()
        const tell = () => {
          if (engine.firewall.isChanging()) return void setImmediate(tell)
          done(counters[ENDED] - before)
        }
        tell()
      }
      build()
    },
    stop() { building = null },
  }
}
