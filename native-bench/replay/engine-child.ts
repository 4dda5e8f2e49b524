/**
 * What `natbase engine` and `natbase newflow` do, with the engine of src/: the same captures, the same counts, the same JSON.
 * It is a process of its own so that its code is compiled for one machine only, and bundled like the command line, whose
 * constants the compiler then sees alike.
 */
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { tuneCompiler } from '../../src/app/compiler.ts'
import { parse4 } from '../../src/base/address.ts'
import { loadCapture, spanNs, type Capture } from './capture.ts'
import { churn } from './churn.ts'
import { createMachine, type Machine } from './machine.ts'
import { makeFrame } from './newflow.ts'

tuneCompiler()
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    pool: { type: 'string', default: '203.0.113.1-203.0.113.4' }, flows: { type: 'string', default: '262144' },
    seed: { type: 'string', default: '1' }, batch: { type: 'string', default: '256' },
    repeat: { type: 'string', default: '1' }, count: { type: 'string', default: '0' },
    hours: { type: 'string', default: '8' }, rate: { type: 'string', default: '100' },
  },
})
const [mode, ...files] = positionals
const batch = Number(values.batch), repeat = Number(values.repeat), count = Number(values.count)
const POOL_FIRST = 0xcb007101 | 0

/** Percentiles over batches, nearest rank; the mean over packets. */
function samplesText(samples: Float64Array, ns: number, packets: number) {
  samples.sort()
  const rank = (part: number) => samples.length === 0 ? 0 : samples[Math.floor((samples.length - 1) * part)]
  return { p50: rank(0.5), p99: rank(0.99), max: rank(1), mean: packets === 0 ? 0 : ns / packets }
}

/** Passes a capture once; returns nanoseconds, and puts a sample for each batch into `samples` from `at` on. */
function pass(machine: Machine, capture: Capture, shiftNs: number, samples: Float64Array | null, at: number): number {
  let total = 0
  for (let from = 0; from < capture.count; from += batch) {
    const many = Math.min(batch, capture.count - from)
    machine.fill(capture, from, many, shiftNs)
    const took = machine.run(many)
    total += took
    if (samples !== null) samples[at++] = took / many
  }
  return total
}

/** A warm machine, and the capture that it is to pass again and again. */
function prepare() {
  const [first, last] = values.pool.split('-').map(text => {
    const parsed = parse4(text)
    if (!parsed.ok) throw new Error(`--pool ${values.pool}: ${parsed.reason}`)
    return parsed.value
  })
  const warm = loadCapture(files[0]), steady = loadCapture(files[1])
  const machine = createMachine({
    flows: Number(values.flows), poolFirst: first, poolSize: last - first + 1, seed: Number(values.seed), batchFrames: batch,
    frameBytes: Math.max(warm.longest, steady.longest),
  })
  const warmNs = pass(machine, warm, 0, null, 0)
  const warmOpened = machine.counts().flows.opened
  machine.clearCounts()
  // Time goes on after the warming, and from one round to the next.
  const after = warm.ns[warm.count - 1] + 1_000_000 - steady.ns[0]
  return { machine, warm, steady, warmNs, warmOpened, shift: Math.max(0, after), span: spanNs(steady) + 1_000_000 }
}

function engine(): object {
  const { machine, warm, steady, warmNs, warmOpened, shift, span } = prepare()
  const batches = Math.ceil(steady.count / batch)
  const samples = new Float64Array(batches * repeat)
  let ns = 0
  for (let i = 0; i < repeat; i++) ns += pass(machine, steady, shift + i * span, samples, i * batches)
  const counts = machine.counts()
  return {
    mode, nsPerPacket: samplesText(samples, ns, counts.packets), batch, repeat,
    warm: { packets: warm.count, flowsOpened: warmOpened, ns: warmNs }, ...counts, engineNs: ns,
  }
}

/**
 * Does as much as it is told, and then waits, so that another machine may have the processor meanwhile: for each line with a
 * number of batches it passes those and prints the median over them, in nanoseconds a packet. At the end of the lines it prints
 * what it has counted.
 */
async function slices(): Promise<object> {
  const { machine, steady, shift, span } = prepare()
  let from = 0, round = 0
  for await (const line of createInterface(process.stdin)) {
    const samples = new Float64Array(Number(line))
    for (let i = 0; i < samples.length; i++) {
      const many = Math.min(batch, steady.count - from)
      machine.fill(steady, from, many, shift + round * span)
      samples[i] = machine.run(many) / many
      from += many
      if (from < steady.count) continue
      from = 0
      round++
    }
    samples.sort()
    process.stdout.write(`${samples[samples.length >> 1]}\n`)
  }
  const { packets, dropPackets, drops, toOutside, toInside } = machine.counts()
  return { packets, dropPackets, drops, toOutside, toInside }
}

function newflow(): object {
  const machine = createMachine({
    flows: count, poolFirst: POOL_FIRST, poolSize: Math.max(4, Math.floor(count / 32768) + 1), seed: Number(values.seed),
    batchFrames: batch, frameBytes: 64,
  })
  const { frames } = machine
  const bytes = Buffer.from(frames.pool.buffer)
  const samples = new Float64Array(Math.ceil(count / batch))
  const hosts = Math.floor(count / 16) + 1
  let ns = 0, n = 0
  for (let k = 0; k < samples.length; k++) {
    const many = Math.min(batch, count - n)
    for (let i = 0; i < many; i++, n++) {
      frames.off[i] = i * 64
      frames.capBytes[i] = frames.wireBytes[i] = 64
      machine.stamp(i, n * 1000)
      makeFrame(bytes, i * 64, n, hosts)
    }
    const took = machine.run(many)
    ns += took
    samples[k] = took / many
  }
  return { mode, nsPerFlow: samplesText(samples, ns, count), ...machine.counts(), engineNs: ns }
}

const MODES: Record<string, () => object | Promise<object>> = {
  engine, slices, newflow, churn: () => churn(Number(values.hours), Number(values.rate), Number(values.seed)),
}
const run = MODES[mode]
if (run === undefined) throw new Error(`unknown mode ${mode}`)
console.log(JSON.stringify(await run()))
