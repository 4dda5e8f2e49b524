/**
 * Virtual time for a script beside the packets: the same milliseconds as the plane's, counted from the first packet, and what
 * policy tells the packet path is carried out at the time that the script has reached.
 */
import type { Prefix } from '../../base/address.ts'
import { counterIndex } from '../../channel/counters.ts'
import type { Engine } from '../../engine/engine.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import { createRuleSet } from '../../engine/firewall-set.ts'
import type { Machine } from '../compose.ts'

/** Larger leaps are taken in steps that no timer of the engine can jump over. */
const LEAP_MS = 2 ** 30
/** Nobody waits for the end of a slice here. */
const UNITS = 1 << 20

export interface Mover {
  /** The first packet there is has the row `i`; only the first call counts. */
  start(i: number): void
  /** Time of row `i`. */
  at(i: number): number
  /** The first row from `from` on, below `to`, whose time is `atMs` or later, or `to`. */
  before(from: number, to: number, atMs: number): number
  /** Time is `atMs` now. */
  move(atMs: number): void
  /** Carries out what policy has told. */
  pump(engine: Engine): void
  /** Has these firewall rules count from the next packet on, and ends the flows that they forbid. How many. */
  replaceRules(rules: readonly FirewallRule[], inside: readonly Prefix[], seed: number): number
}

const ENDED = counterIndex('firewall-flows-ended')

export function createMover({ frames, plane, engine, counters }: Machine): Mover {
  const { sec, nsec } = frames
  let firstSec = NaN
  let firstNsec = 0
  let nowMs = 0

  const at = (i: number) => (sec[i] - firstSec) * 1000 + Math.floor((nsec[i] - firstNsec) / 1e6)
  function pump(target: Engine): void {
    while (target.applyCommands(nowMs | 0, UNITS));
  }

  return {
    start(i) {
      if (!Number.isNaN(firstSec)) return
      firstSec = sec[i]
      firstNsec = nsec[i]
    },
    at,
    before(from, to, atMs) {
      let i = from
      while (i < to && at(i) < atMs) i++
      return i
    },
    move(atMs) {
      nowMs = Math.max(nowMs, plane.virtualMs())
      while (atMs - nowMs > LEAP_MS) {
        nowMs += LEAP_MS
        engine.expire(nowMs | 0)
      }
      nowMs = atMs
    },
    pump,
    replaceRules(rules, inside, seed) {
      const before = counters[ENDED]
      engine.replaceRules(createRuleSet(rules, inside, seed))
      pump(engine)
      return counters[ENDED] - before
    },
  }
}
