/** Finding flows in the table, one after the other: no look-ahead, so a large table shows the latency of memory. */
import { createCounters } from '../../src/channel/counters.ts'
import { engineOptions } from '../../src/app/compose.ts'
import { createFlows } from '../../src/engine/flows.ts'
import { UDP_FLOW } from '../../src/engine/tcp-state.ts'
import { createPool } from '../../src/engine/pool.ts'
import { benchConfig } from '../replay/machine.ts'
import { FIRST_POOL_ADDRESS, makeFlows } from '../traffic.ts'
import { createPrng } from '../../src/base/prng.ts'
import { OPERATIONS, type Task } from './task.ts'

const SEED = 1

function table(count: number) {
  const poolSize = count > 262_144 ? 20 : 4
  const capacity = Math.max(262_144, 2 ** Math.ceil(Math.log2(count)))
  const config = benchConfig({ flows: capacity, poolFirst: FIRST_POOL_ADDRESS, poolSize })
  const options = engineOptions(config, config.inside, SEED, 0)
  const flows = createFlows(options, createPool(options.pool, SEED), createCounters())
  const set = makeFlows(count, SEED)
  for (let i = 0; i < count; i++) {
    const ports = set.insidePort[i] << 16 | set.peerPort[i]
    const slot = flows.openOut(set.inside[i], set.peer[i], ports, 4 << 8 | set.protocol[i], UDP_FLOW, 0, 0)
    if (slot <= 0) throw new Error(`flow ${i}`)
  }
  const { next } = createPrng(SEED + 1)
  const order = Int32Array.from({ length: 1 << 20 }, () => Math.floor((next() >>> 0) / 2 ** 32 * count))
  return { flows, set, order }
}

export function flowLookup(count: number): Task {
  const { flows: { hash4, find4 }, set: { inside, peer, insidePort, peerPort, protocol }, order } = table(count)
  let at = 0, missing = 0
  return {
    run() {
      for (let n = 0; n < OPERATIONS; n++) {
        const i = order[at]
        at = (at + 1) & (1 << 20) - 1
        const ports = insidePort[i] << 16 | peerPort[i], kind = 4 << 8 | protocol[i]
        if (find4(hash4(inside[i], peer[i], ports, kind), inside[i], peer[i], ports, kind) === 0) missing++
      }
    },
    isRight: () => missing === 0,
  }
}

export function mappingLookup(count: number): Task {
  const { flows: { findMapping }, set: { inside, insidePort, protocol }, order } = table(count)
  let at = 0, missing = 0
  return {
    run() {
      for (let n = 0; n < OPERATIONS; n++) {
        const i = order[at]
        at = (at + 1) & (1 << 20) - 1
        if (findMapping(inside[i], insidePort[i], 4 << 8 | protocol[i]) === 0) missing++
      }
    },
    isRight: () => missing === 0,
  }
}
