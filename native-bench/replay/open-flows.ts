/** Lets an engine open flows, to learn which outside endpoints it gives them. */
import { FLOW_BITS, OUTSIDE, OUTSIDE_PORTS } from '../../src/engine/flows.ts'
import { SYN, SYN_ACK, putFrame, type FlowSet } from '../traffic.ts'
import { createMachine, type Machine, type MachineOptions } from './machine.ts'

const BATCH = 256, FRAME_BYTES = 60, TCP = 6

export function openFlows(set: FlowSet, options: Pick<MachineOptions, 'flows' | 'poolFirst' | 'poolSize' | 'seed'>): void {
  openIn(createMachine({ ...options, batchFrames: BATCH, frameBytes: 64 }), set)
}

/** The same in a machine that goes on with these flows; its batches hold 256 frames of 64 bytes at least. */
export function openIn({ frames, engine, stamp, run }: Machine, set: FlowSet): void {
  const { F, findMapping } = engine.flows
  const bytes = Buffer.from(frames.pool.buffer)
  for (let from = 0; from < set.count; from += BATCH) {
    const many = Math.min(BATCH, set.count - from)
    for (let i = 0; i < many; i++) {
      const n = from + i
      frames.off[i] = i * 64
      frames.capBytes[i] = frames.wireBytes[i] = FRAME_BYTES
      stamp(i, n * 1000)
      putFrame(bytes, i * 64, FRAME_BYTES, set.protocol[n], set.inside[n], set.insidePort[n], set.peer[n], set.peerPort[n], SYN)
    }
    run(many)
    // TCP is answered, so that never many of them are half-open.
    let answers = 0
    for (let n = from; n < from + many; n++) {
      const slot = findMapping(set.inside[n], set.insidePort[n], 4 << 8 | set.protocol[n])
      if (slot === 0) throw new Error(`flow ${n} could not be opened`)
      set.outside[n] = F[(slot << FLOW_BITS) + OUTSIDE]
      set.outsidePort[n] = F[(slot << FLOW_BITS) + OUTSIDE_PORTS] >>> 16
      if (set.protocol[n] !== TCP) continue
      const i = answers++
      frames.off[i] = i * 64
      frames.capBytes[i] = frames.wireBytes[i] = FRAME_BYTES
      stamp(i, (from + many - 1) * 1000)
      putFrame(bytes, i * 64, FRAME_BYTES, TCP, set.peer[n], set.peerPort[n], set.outside[n], set.outsidePort[n], SYN_ACK)
    }
    run(answers)
  }
}
