/** What is measured. A row is its name and its parameters: results of different parameters are never compared. */
import type { Distribution, SizeMix } from './traffic.ts'
import { MICRO_ROWS } from './micro/rows.ts'
import { classifyRows, type ClassifyRow } from './classify/rows.ts'
import { midcomRows, type MidcomRow } from './midcom/rows.ts'
import { snmpRows, type SnmpRow } from './snmp/rows.ts'

export interface EngineParameters {
  flows: number
  /** Flows that share an inside endpoint. */
  shared: number
  sizes: SizeMix
  distribution: Distribution
  packets: number
  /** Passes over the packets in one process. */
  repeat: number
  flowCapacity: number
  poolAddresses: number
  batch: number
  seed: number
}
export interface NewFlowParameters { count: number; batch: number; seed: number }
export interface ChurnParameters { hours: number; flowsPerSecond: number; seed: number }
export interface ReplayParameters {
  flows: number
  packets: number
  sizes: SizeMix
  distribution: Distribution
  seed: number
}
export interface MicroParameters { milliseconds: number }

export type Row = { name: string; unit: string } & (
  | { kind: 'engine'; parameters: EngineParameters }
  | { kind: 'newflow'; parameters: NewFlowParameters }
  | { kind: 'churn'; parameters: ChurnParameters }
  | { kind: 'replay'; parameters: ReplayParameters }
  | { kind: 'micro'; parameters: MicroParameters }
) | MidcomRow | ClassifyRow | SnmpRow

const SEED = 1, BATCH = 256
const FLOW_COUNTS = [[1, '1'], [1000, '1k'], [16_384, '16k'], [100_000, '100k'], [1_000_000, '1m']] as const
/** The flow limit of the default configuration, and the one that a million flows need. */
const SMALL_TABLE = { flowCapacity: 262_144, poolAddresses: 4 }
const LARGE_TABLE = { flowCapacity: 1_048_576, poolAddresses: 20 }

function forward(
  name: string, flows: number, sizes: SizeMix, distribution: Distribution, packets: number, repeat: number, shared = 1,
): Row {
  const table = flows > SMALL_TABLE.flowCapacity ? LARGE_TABLE : SMALL_TABLE
  return {
    name: `forward/${name}`, unit: 'ns/packet', kind: 'engine',
    parameters: { flows, shared, sizes, distribution, packets, repeat, ...table, batch: BATCH, seed: SEED },
  }
}

/** All rows, in the order they run: those with the same flows one after another. `quick`: fewer and smaller ones. */
export function allRows(quick: boolean): Row[] {
  const rows: Row[] = []
  for (const [flows, text] of FLOW_COUNTS) {
    if (quick && flows > 16_384) continue
    const million = flows === 1_000_000
    // Many passes over few packets, or few over many: the compiler needs some hundred thousand to settle.
    const [small, smallPasses] = quick ? [100_000, 8] : million ? [2_000_000, 1] : [1_000_000, 2]
    const [large, largePasses] = quick ? [50_000, 12] : million ? [1_000_000, 2] : [500_000, 3]
    rows.push(forward(`flows-${text}-64b`, flows, '64b', 'uniform', small, smallPasses))
    if (quick && flows !== 1000) continue
    rows.push(forward(`flows-${text}-imix`, flows, 'imix', 'uniform', large, largePasses))
    if (flows === 16_384) rows.push(forward('flows-16k-shared-64b', flows, '64b', 'uniform', 1_000_000, 2, 4))
    if (million) rows.push(forward('flows-1m-zipf-64b', flows, '64b', 'zipf', 2_000_000, 1))
  }
  rows.push({
    name: 'open/new-flow', unit: 'ns/flow', kind: 'newflow',
    parameters: { count: quick ? 131_072 : 1_000_000, batch: BATCH, seed: SEED },
  }, {
    name: 'churn/hours', unit: 'last/first hour', kind: 'churn',
    parameters: { hours: quick ? 2 : 8, flowsPerSecond: quick ? 20 : 100, seed: SEED },
  }, {
    name: 'replay/file-to-file', unit: 'ms', kind: 'replay',
    parameters: {
      flows: quick ? 2000 : 16_384, packets: quick ? 500_000 : 2_000_000, sizes: 'mixed', distribution: 'uniform',
      seed: SEED,
    },
  })
  for (const name of MICRO_ROWS) {
    rows.push({ name: `micro/${name}`, unit: 'ns/op', kind: 'micro', parameters: { milliseconds: quick ? 60 : 300 } })
  }
  return [...rows, ...classifyRows(quick), ...midcomRows(quick), ...snmpRows(quick)]
}
