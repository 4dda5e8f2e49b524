/**
 * Counters shared by the packet path, which alone writes, and everybody who reads. One `Float64Array`: exact up to 2^53,
 * and an increment is a load, an add and a store. Names follow the grammar direction-what-unit.
 */
import { DROP_REASONS } from './reasons.ts'

const BASE = [
  'in-inside-packets', 'in-inside-bytes', 'in-outside-packets', 'in-outside-bytes',
  'out-inside-packets', 'out-inside-bytes', 'out-outside-packets', 'out-outside-bytes',
  'drop-packets', 'drop-bytes',
  'flows-opened', 'flows-expired', 'flows-evicted', 'flows-current', 'flows-peak',
  'mappings-opened', 'mappings-closed',
  'hairpin-packets', 'icmp-errors-translated', 'icmp-errors-originated', 'icmp-errors-suppressed',
  'rules-current', 'rules-added', 'rules-ended', 'rule-flows-opened', 'rule-flows-ended', 'bindings-current',
  'firewall-replacements', 'firewall-flows-ended',
  'fragments-held', 'fragments-released', 'fragments-held-current',
  'half-open-current', 'half-open-evicted', 'syns-held', 'syns-held-current', 'syns-solicited', 'syns-unheld',
  'ports-held-current', 'ports-held-early', 'port-blocks-current',
  'tcp-out-of-window-passed', 'tcp-challenges-expected',
] as const

export type BaseCounter = (typeof BASE)[number]
// @req RFC6888 REQ-10
export const COUNTERS: readonly string[] = [...BASE, ...DROP_REASONS.map(([name]) => `drop-${name}-packets`)]

/** Index of the first reason's counter: reason r counts at DROP_FIRST + r. */
export const DROP_FIRST = BASE.length

export function counterIndex(name: BaseCounter): number {
  return BASE.indexOf(name)
}

export type Counters = Float64Array
export function createCounters(): Counters {
  return new Float64Array(COUNTERS.length)
}

/** Counters by name, for reports. */
export function readCounters(counters: Counters): Record<string, number> {
  return Object.fromEntries(COUNTERS.map((name, i) => [name, counters[i]]))
}
