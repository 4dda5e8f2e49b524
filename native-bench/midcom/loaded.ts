/**
 * A box that forwards at full pace and answers agents on the same thread: what a packet costs with and without them, in
 * stretches by turns, and whether a packet of a flow that no rule concerns is lost.
 */
import { spawn } from 'node:child_process'
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Traffic } from '../../src/app/run/turns.ts'
import { createPrng } from '../../src/base/prng.ts'
import type { Machine } from '../replay/machine.ts'
import { openIn } from '../replay/open-flows.ts'
import { median } from '../statistics.ts'
import { ACK, makeFlows, putFrame, type FlowSet } from '../traffic.ts'
import { BATCH_FRAMES, createBox, FRAME_BYTES, openDoor } from './box.ts'
import { loadArguments, type LoadReport } from './load.ts'
import type { LoadedParameters } from './rows.ts'

/** Frames to choose from, more than a cache holds; a multiple of a batch. */
const FRAMES = 131_072
const FRAME_CAPTURED = 60
const WARM_MS = 2000, SETTLE_MS = 500
/** A stretch that had fewer transactions than this part of the rate says nothing. */
const LEAST_RATE = 0.95
const POLL_MS = 10

/** Packets of known flows, half of them from outside. */
function foreignFrames(set: FlowSet, seed: number): Buffer {
  const bytes = Buffer.alloc(FRAMES * FRAME_BYTES)
  const { next } = createPrng(seed)
  for (let n = 0; n < FRAMES; n++) {
    const i = (next() >>> 0) % set.count
    const [src, srcPort, dst, dstPort] = (next() & 0x8000) === 0
      ? [set.inside[i], set.insidePort[i], set.peer[i], set.peerPort[i]]
      : [set.peer[i], set.peerPort[i], set.outside[i], set.outsidePort[i]]
    putFrame(bytes, n * FRAME_BYTES, FRAME_CAPTURED, set.protocol[i], src, srcPort, dst, dstPort, ACK)
  }
  return bytes
}

/** A batch a turn, at full pace; puts ns/packet of each into `samples`, if there are any. */
function createFlood({ frames, run, stamp }: Machine, source: Buffer): Traffic & { samples: RecordableHistogram | null } {
  const pool = Buffer.from(frames.pool.buffer)
  for (let i = 0; i < BATCH_FRAMES; i++) {
    frames.off[i] = i * FRAME_BYTES
    frames.capBytes[i] = frames.wireBytes[i] = FRAME_CAPTURED
  }
  let from = 0
  const flood = {
    samples: null as RecordableHistogram | null,
    turn(nowMs: () => number) {
      source.copy(pool, 0, from, from + BATCH_FRAMES * FRAME_BYTES)
      from = (from + BATCH_FRAMES * FRAME_BYTES) % source.length
      const ns = nowMs() * 1e6
      for (let i = 0; i < BATCH_FRAMES; i++) stamp(i, ns)
      const took = run(BATCH_FRAMES)
      flood.samples?.record(Math.max(1, Math.round(took / BATCH_FRAMES * 100)))
      return true
    },
    nextMs: () => 0,
  }
  return flood
}

/** `generator`: path of the load generator. */
export async function underLoad(p: LoadedParameters & { generator: string }): Promise<object> {
  const box = createBox(p.seed, { port: 0, agents: p.connections, rules: p.live + 4 * p.connections }, () => performance.now())
  const { machine, core, turns } = box
  const set = makeFlows(p.flows, p.seed)
  openIn(machine, set)
  machine.clearCounts()
  const flood = createFlood(machine, foreignFrames(set, p.seed + 1))
  // The flows were opened at one a microsecond, and time does not go back.
  while (turns.nowMs() <= p.flows / 1000) await sleep(POLL_MS)
  const { server, port } = await openDoor(box, p.connections, null)
  turns.start(core, flood)

  const transactions = () => core.statistics().transactions
  async function measure(): Promise<{ p50: number; mean: number; perSecond: number }> {
    const samples = createHistogram({ lowest: 1, highest: 1_000_000_000, figures: 3 })
    const begin = performance.now(), first = transactions()
    flood.samples = samples
    await sleep(p.stretchSeconds * 1000)
    flood.samples = null
    const perSecond = (transactions() - first) / (performance.now() - begin) * 1000
    return { p50: samples.percentile(50) / 100, mean: samples.mean / 100, perSecond }
  }

  async function loaded(): Promise<{ p50: number; mean: number; perSecond: number; replyP99: number }> {
    const generator = spawn(p.generator, loadArguments('simco', port, {
      ...p, pipeline: 1, turnover: true, warmSeconds: SETTLE_MS / 1000, seconds: p.stretchSeconds + SETTLE_MS / 1000,
    }), { stdio: ['ignore', 'pipe', 'inherit'] })
    let stdout = '', ended: number | null = null
    generator.stdout.setEncoding('utf8').on('data', text => { stdout += text })
    const over = new Promise<void>(resolve => { generator.on('close', code => { ended = code ?? 1; resolve() }) })
    const filled = transactions() + p.live + p.rate * SETTLE_MS / 1000
    while (transactions() < filled && ended === null) await sleep(POLL_MS)
    const figures = await measure()
    await over
    if (ended !== 0) throw new Error('the load generator failed')
    const { errors, made } = JSON.parse(stdout) as LoadReport
    if (Object.keys(errors).length > 0) throw new Error(`requests were refused: ${JSON.stringify(errors)}`)
    const { perSecond } = figures
    if (perSecond < p.rate * LEAST_RATE) throw new Error(`only ${Math.round(perSecond)} transactions/s were answered`)
    return { ...figures, replyP99: made.p99 }
  }

  await sleep(WARM_MS)
  const without: Awaited<ReturnType<typeof measure>>[] = [], withAgents: Awaited<ReturnType<typeof loaded>>[] = []
  for (let n = 0; n < p.stretches; n++) {
    await sleep(SETTLE_MS)
    without.push(await measure())
    withAgents.push(await loaded())
  }
  turns.stop()
  await server.close()
  const { packets, toOutside, toInside } = machine.counts()
  return {
    rise: median(withAgents.map(({ p50 }, n) => p50 / without[n].p50)),
    withNs: median(withAgents.map(({ p50 }) => p50)), withoutNs: median(without.map(({ p50 }) => p50)),
    meanWithNs: median(withAgents.map(({ mean }) => mean)), meanWithoutNs: median(without.map(({ mean }) => mean)),
    lost: packets - toOutside.packets - toInside.packets, packets,
    transactionsPerSecond: median(withAgents.map(({ perSecond }) => perSecond)),
    replyP99: median(withAgents.map(({ replyP99 }) => replyP99)),
  }
}
