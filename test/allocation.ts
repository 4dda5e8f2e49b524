/** How many bytes a packet costs on the heap: for the tests that hold the packet path under one. */
import assert from 'node:assert/strict'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Frames that one turn of a measured loop is for. */
export const BATCH = 256
/** Few enough that nothing is collected within one: then the heap grows by all that is allocated. */
const CHUNK_BATCHES = 128
/** Half a million packets: until then code is compiled, thrown away and compiled again, and what is not compiled allocates. */
const WARM_UP_CHUNKS = 16
export const MAX_BYTES = 1

export interface Measured { packets: number; bytesPerPacket: number; collected: number }

/**
 * Heap bytes that a packet costs, once the code is hot: the median over chunks. What allocates for packets does so in every chunk;
 * a compilation that happens to end in one of them is not of the packets.
 */
export function measure(runBatch: () => void, chunks: number): Measured {
  let collected = 0
  const samples: number[] = []
  for (let chunk = -WARM_UP_CHUNKS; chunk < chunks; chunk++) {
    collect()
    const before = process.memoryUsage().heapUsed
    for (let n = 0; n < CHUNK_BATCHES; n++) runBatch()
    const grown = process.memoryUsage().heapUsed - before
    if (chunk < 0) continue
    if (grown < 0) collected++
    else samples.push(grown)
  }
  const packets = chunks * CHUNK_BATCHES * BATCH
  const median = samples.sort((a, b) => a - b)[samples.length >> 1]
  return { packets, bytesPerPacket: median / (CHUNK_BATCHES * BATCH), collected }
}

export function judge({ packets, bytesPerPacket, collected }: Measured): void {
  assert.equal(collected, 0, 'something was collected in between: the measurement says nothing')
  assert.ok(bytesPerPacket < MAX_BYTES, `${bytesPerPacket.toFixed(2)} bytes a packet over ${packets} packets`)
}
