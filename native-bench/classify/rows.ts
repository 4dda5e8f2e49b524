/** What is measured of finding rules: ClassBench sets, that of `pinhole classify` against programs in C++. */

export interface ClassifyParameters {
  set: string
  /** Headers in a call. */
  batch: number
  /** Rules deleted and inserted again in a second, in the part of a round that has updates. */
  updates: number
  /** Rounds within each process, of which it tells the median. */
  rounds: number
  seed: number
}

export type ClassifyRow = { name: `classify/${string}`; unit: string; kind: 'classify'; parameters: ClassifyParameters }

/** Name of DPDK's figures beside those of the C++ program. */
export const DPDK_NAME = 'dpdk'

const SMALL_SETS = ['acl1_1k', 'fw1_1k', 'ipc1_1k'], SETS = [...SMALL_SETS, 'acl1_10k', 'fw1_10k', 'ipc1_10k', 'ipc1_100k']

export function classifyRows(quick: boolean): ClassifyRow[] {
  return (quick ? SMALL_SETS : SETS).map(set => ({
    name: `classify/${set}`, unit: 'ns/lookup', kind: 'classify',
    parameters: { set, batch: 256, updates: 50_000, rounds: quick ? 3 : 5, seed: 1 },
  }))
}
