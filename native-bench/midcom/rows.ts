/** What is measured of the doors through which agents set rules, and of the engine while they do. */

export interface AgentsParameters {
  connections: number
  /** Requests that a connection sends at once. */
  pipeline: number
  /** Rules, or keys, at the most. */
  live: number
  /** Transactions a second of both kinds together; 0: as many as there are answers. */
  rate: number
  warmSeconds: number
  seconds: number
  /** What redis-benchmark sets; 0: it does not run, as it has no rate. */
  sets: number
}
export interface LoadedParameters {
  flows: number
  rate: number
  live: number
  connections: number
  /** Length of a stretch with or without load, and how many of each. */
  stretchSeconds: number
  stretches: number
  seed: number
}
export interface CrowdParameters {
  /** Agents that behave; two more do not. */
  connections: number
  rate: number
  live: number
  /** Of the compiler, before anything counts: half of it with troublemakers. */
  warmSeconds: number
  /** Of each stretch, before it counts, and after that; so many stretches with troublemakers, and one more without. */
  settleSeconds: number
  stretchSeconds: number
  stretches: number
}
export interface RulesParameters { rules: number; seed: number }

export type MidcomRow = { name: `midcom/${string}`; unit: string } & (
  | { kind: 'agents'; parameters: AgentsParameters }
  | { kind: 'loaded'; parameters: LoadedParameters }
  | { kind: 'crowd'; parameters: CrowdParameters }
  | { kind: 'rule-bytes'; parameters: RulesParameters }
  | { kind: 'rule-expiry'; parameters: RulesParameters }
)

const CONNECTIONS = 50, SEED = 1

export function midcomRows(quick: boolean): MidcomRow[] {
  // V8 still compiles for some 5 s, on threads that take the processor from whoever is measured.
  const time = quick ? { warmSeconds: 1, seconds: 1 } : { warmSeconds: 6, seconds: 3 }
  const rules = quick ? 10_000 : 100_000
  return [
    {
      name: 'midcom/per-c50-p1', unit: 'us/rule', kind: 'agents',
      parameters: { connections: CONNECTIONS, pipeline: 1, live: 20_000, rate: 0, ...time, sets: quick ? 50_000 : 250_000 },
    }, {
      name: 'midcom/per-c50-p16', unit: 'us/rule', kind: 'agents',
      parameters: { connections: CONNECTIONS, pipeline: 16, live: 64_000, rate: 0, ...time, sets: quick ? 500_000 : 2_500_000 },
    }, {
      name: 'midcom/reply-10k', unit: 'us p99', kind: 'agents',
      parameters: { connections: CONNECTIONS, pipeline: 1, live: 20_000, rate: 10_000, ...time, sets: 0 },
    }, {
      name: 'midcom/forward-10k', unit: 'with/without', kind: 'loaded',
      parameters: {
        flows: 16_384, rate: 10_000, live: 10_000, connections: CONNECTIONS, stretchSeconds: 1,
        stretches: quick ? 1 : 4, seed: SEED,
      },
    },
    {
      name: 'midcom/agents-1000', unit: 'p99 with/without', kind: 'crowd',
      parameters: {
        connections: 998, rate: 10_000, live: 10_000, warmSeconds: quick ? 2 : 6, settleSeconds: quick ? 0.5 : 1.5,
        stretchSeconds: quick ? 1 : 2, stretches: quick ? 1 : 6,
      },
    },
    { name: `midcom/bytes-${rules / 1000}k`, unit: 'bytes/rule', kind: 'rule-bytes', parameters: { rules, seed: SEED } },
    { name: `midcom/expiry-${rules / 1000}k`, unit: 'ms p100', kind: 'rule-expiry', parameters: { rules, seed: SEED } },
  ]
}
