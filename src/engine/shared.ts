/** What the parts of one engine share. `createEngine` makes it; nobody else keeps one. */
import type { Counters } from '../channel/counters.ts'
import { DROP_FIRST, counterIndex } from '../channel/counters.ts'
import type { Npt6 } from '../channel/npt6.ts'
import { DROP, type Frames } from '../wire/frames.ts'
import type { ExtrasStore } from './extras.ts'
import type { Flows } from './flows.ts'
import type { EngineOptions } from './options.ts'
import type { Pool } from './pool.ts'
import type { Share } from './share.ts'
import { PATH_DROP, type Rows } from './rows.ts'

export interface Shared {
  readonly options: EngineOptions
  readonly frames: Frames
  readonly counters: Counters
  readonly rows: Rows
  readonly pool: Pool
  readonly flows: Flows
  readonly extras: ExtrasStore
  /** null: no IPv6 prefix is translated. */
  readonly npt6: Npt6 | null
  /** null: there is one worker. */
  readonly share: Share | null
}

const DROPS = counterIndex('drop-packets'), DROP_BYTES = counterIndex('drop-bytes')

export function countDrop(counters: Counters, reason: number, bytes: number): void {
  counters[DROP_FIRST + reason]++
  counters[DROPS]++
  counters[DROP_BYTES] += bytes
}

/** The look-ahead's verdict on a row: dropped for `reason` when its turn comes. */
export function reject(rows: Rows, frames: Frames, i: number, reason: number): void {
  rows.path[i] = PATH_DROP
  frames.reason[i] = reason
}

export function drop(shared: Shared, i: number, reason: number): void {
  shared.frames.verdict[i] = DROP
  shared.frames.reason[i] = reason
  countDrop(shared.counters, reason, shared.frames.wireBytes[i])
}
