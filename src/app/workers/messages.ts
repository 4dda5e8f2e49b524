/** What the box and a worker tell each other beside what they share in memory: rare, and large at times. */
import type { Prefix } from '../../base/address.ts'
import type { SteeringOptions } from '../../channel/steering.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import type { Config } from '../config/config.ts'
import type { FirewallReport } from '../firewall/report.ts'
import type { SystemLink } from '../run/live-system.ts'
import type { MemoryShape } from './memory.ts'

export interface WorkerSetup {
  config: Config
  inside: readonly Prefix[]
  seed: number
  links: SystemLink[]
  worker: number
  shape: MemoryShape
  steering: SteeringOptions
  /** Those that count now. */
  rules: readonly FirewallRule[]
}

export interface WorkerResult { firewall: FirewallReport | null; tableBytes: number; ruleBytes: number }

export type ToWorker =
  | { kind: 'setup'; setup: WorkerSetup }
  /** Rules and bindings that stand; when time began, on the clock that all processes of a machine have. */
  | { kind: 'go'; standing: Int32Array; zeroMs: number }
  | { kind: 'rules'; id: number; rules: readonly FirewallRule[] }
  | { kind: 'stop' }

export type FromWorker =
  /** There, and waits for `go`. */
  | { kind: 'ready' }
  /** Rules stand, packets pass. */
  | { kind: 'running' }
  | { kind: 'log'; line: string }
  | { kind: 'rules'; id: number; ended: number }
  | { kind: 'stopped'; result: WorkerResult }

/** Descriptors that a worker finds open; those of bells follow, its own, then of the others by number, then of the box. */
export const FD_MEMORY = 4, FD_INSIDE = 5, FD_OUTSIDE = 6, FD_BELLS = 7

/** Milliseconds on a clock that never goes back and that is one for all processes. */
export function machineMs(): number {
  const [seconds, nanos] = process.hrtime()
  return seconds * 1000 + nanos / 1e6
}
