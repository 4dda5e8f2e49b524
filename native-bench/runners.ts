/** Starts the two programs and reads what they say. Everything they need lies in one temporary directory. */
import { closeSync, openSync, readFileSync, readSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { node, PINHOLE_FILE, ROOT, run, type Runner } from './child.ts'
import { classifyRunner } from './classify/runners.ts'
import { midcomRunner } from './midcom/runners.ts'
import { openFlows } from './replay/open-flows.ts'
import type { Sample } from './result.ts'
import type {
  ChurnParameters, EngineParameters, MicroParameters, NewFlowParameters, ReplayParameters, Row,
} from './rows.ts'
import { snmpRunner } from './snmp/runners.ts'
import { FIRST_POOL_ADDRESS, makeFlows, writePreNat, writeSteady, writeWarm, type FlowSet } from './traffic.ts'

export const ENGINE_CHILD = 'build/bench/replay/engine-child.js'
const MICRO_CHILD = 'build/bench/micro/micro-child.js'
export const BASELINE_DIRECTORY = join(ROOT, 'native-bench/baseline')
export const NATBASE = join(BASELINE_DIRECTORY, 'natbase')

interface Percentiles { p50: number; p99: number; mean: number }
interface MicroOutput extends Percentiles { samples: number; suiteMean: number; suiteMargin: number }
interface EngineOutput {
  nsPerPacket?: Percentiles
  nsPerFlow?: Percentiles
  packets: number
  dropPackets: number
  drops: unknown
  toOutside: unknown
  toInside: unknown
  flows: { opened: number; expired: number; evicted: number; peak: number }
  bytesPerFlow: number
}

function sampleOf(text: string): Sample {
  const out = JSON.parse(text) as EngineOutput
  const { p50, p99, mean } = out.nsPerPacket ?? out.nsPerFlow!
  const { packets, dropPackets, drops, toOutside, toInside, flows: { opened, expired, evicted, peak } } = out
  return {
    value: p50, p99, mean, counts: { packets, dropPackets, drops, toOutside, toInside, opened, expired, evicted, peak },
    packets, bytesPerFlow: out.bytesPerFlow,
  }
}

/** Flow sets are the dear part, and rows that follow each other often share one. */
let kept: { key: string; set: FlowSet } | null = null

function flowSet(p: Pick<EngineParameters, 'flows' | 'shared' | 'flowCapacity' | 'poolAddresses' | 'seed'>): FlowSet {
  const key = JSON.stringify([p.flows, p.shared, p.flowCapacity, p.poolAddresses, p.seed])
  if (kept?.key === key) return kept.set
  kept = null
  const set = makeFlows(p.flows, p.seed, p.shared)
  openFlows(set, { flows: p.flowCapacity, poolFirst: FIRST_POOL_ADDRESS, poolSize: p.poolAddresses, seed: p.seed })
  kept = { key, set }
  return set
}

/** Captures of a row, and what its programs are told behind the name of their mode. */
export function engineCaptures(p: EngineParameters, directory: string): { paths: string[]; args: string[] } {
  const warm = join(directory, 'warm.pcap'), steady = join(directory, 'steady.pcap')
  const set = flowSet(p)
  writeWarm(warm, set)
  writeSteady(steady, set, { packets: p.packets, sizes: p.sizes, distribution: p.distribution, seed: p.seed + 1 })
  const last = (FIRST_POOL_ADDRESS & 255) + p.poolAddresses - 1
  const args = [warm, steady, '--repeat', `${p.repeat}`, '--pool', `203.0.113.1-203.0.113.${last}`,
    '--flows', `${p.flowCapacity}`, '--seed', `${p.seed}`, '--batch', `${p.batch}`]
  return { paths: [warm, steady], args }
}

function engineRunner(p: EngineParameters, directory: string, root: string): Runner {
  const { paths, args: rest } = engineCaptures(p, directory), args = ['engine', ...rest]
  return {
    ts: async () => sampleOf((await node(join(root, ENGINE_CHILD), ...args)).stdout),
    c: async () => sampleOf((await run(NATBASE, args)).stdout),
    check: null, inputs: paths,
    end: () => { for (const path of paths) rmSync(path, { force: true }) },
  }
}

function newFlowRunner(p: NewFlowParameters, root: string): Runner {
  const args = ['newflow', '--count', `${p.count}`, '--seed', `${p.seed}`, '--batch', `${p.batch}`]
  return {
    ts: async () => sampleOf((await node(join(root, ENGINE_CHILD), ...args)).stdout),
    c: async () => sampleOf((await run(NATBASE, args)).stdout), check: null, end: () => {},
  }
}

/** The first hour warms up; the value is the last one over the second. */
function churnRunner(p: ChurnParameters, root: string): Runner {
  const args = ['churn', '--hours', `${p.hours + 1}`, '--rate', `${p.flowsPerSecond}`, '--seed', `${p.seed}`]
  return {
    ts: async () => {
      const { stdout } = await node(join(root, ENGINE_CHILD), ...args)
      const { hours, packets, dropPackets, flows } = JSON.parse(stdout) as
        { hours: { nsPerPacket: number; flows: number }[]; packets: number; dropPackets: number; flows: object }
      const first = hours[1], last = hours.at(-1)!
      if (last.flows > first.flows * 1.05) throw new Error(`flows pile up: ${first.flows}, then ${last.flows}`)
      return {
        value: last.nsPerPacket / first.nsPerPacket, p99: null, mean: null, counts: { packets, dropPackets, flows },
        packets, bytesPerFlow: null,
      }
    },
    c: null, check: null, end: () => {},
  }
}

function replayRunner(p: ReplayParameters, directory: string, root: string): Runner {
  const capture = join(directory, 'capture.pcap'), report = join(directory, 'report.json')
  const files = (by: string) => [join(directory, `${by}-outside.pcapng`), join(directory, `${by}-inside.pcapng`)] as const
  writePreNat(capture, makeFlows(p.flows, p.seed), { ...p, seed: p.seed + 1 })
  const [outside, inside] = files('ts'), [cOutside, cInside] = files('c')
  const base = { p99: null, mean: null, bytesPerFlow: null }
  const remove = (...paths: string[]) => { for (const path of paths) rmSync(path, { force: true }) }
  let keep = true
  return {
    ts: async () => {
      remove(outside, inside)
      const { wallMs } = await node(join(root, PINHOLE_FILE), 'replay', capture, '--out-outside', outside, '--out-inside', inside,
        '--seed', `${p.seed}`, '--report', report)
      const { packets, out, dropped } = JSON.parse(readFileSync(report, 'utf8')) as
        { packets: number; out: { outside: object; inside: object }; dropped: { packets: number } }
      if (!keep) remove(outside, inside)
      const counts = { packets, toOutside: out.outside, toInside: out.inside, dropPackets: dropped.packets }
      return { ...base, value: wallMs, packets, counts }
    },
    c: async () => {
      remove(cOutside, cInside)
      const { stdout, wallMs } = await run(NATBASE, ['replay', capture, cOutside, cInside, '--seed', `${p.seed}`])
      const { packets, toOutside, toInside, dropPackets } = JSON.parse(stdout) as
        { packets: number; toOutside: object; toInside: object; dropPackets: number }
      if (!keep) remove(cOutside, cInside)
      return { ...base, value: wallMs, packets, counts: { packets, toOutside, toInside, dropPackets } }
    },
    check: () => {
      const difference = firstDifference(outside, cOutside) ?? firstDifference(inside, cInside)
      keep = false
      remove(outside, inside, cOutside, cInside)
      return difference
    },
    inputs: [capture],
    end: () => remove(outside, inside, cOutside, cInside, capture, report),
  }
}

function microRunner(name: string, p: MicroParameters, root: string): Runner {
  return {
    ts: async () => {
      const { p50, p99, mean, samples, suiteMean, suiteMargin } = JSON.parse(
        (await node(join(root, MICRO_CHILD), name, `${p.milliseconds}`)).stdout) as MicroOutput
      // The wheel does most of its work in few calls, which no percentile of the calls shows.
      const value = name.startsWith('wheel/') ? mean : p50
      return { value, p99, mean, counts: {}, packets: samples, bytesPerFlow: null, figures: { suiteMean, suiteMargin } }
    },
    c: null, check: null, end: () => {},
  }
}

/** Where two files differ, or null. */
function firstDifference(a: string, b: string): string | null {
  const what = (at: number) => `the output files differ from byte ${at} on: ${a.replace(/.*\//, '')}`
  const [one, other] = [openSync(a, 'r'), openSync(b, 'r')]
  try {
    const left = Buffer.alloc(1 << 20), right = Buffer.alloc(1 << 20)
    for (let at = 0; ; at += left.length) {
      const got = readSync(one, left, 0, left.length, at)
      const bytes = readSync(other, right, 0, right.length, at)
      if (Buffer.compare(left.subarray(0, got), right.subarray(0, bytes)) !== 0) {
        let i = 0
        while (i < Math.min(got, bytes) && left[i] === right[i]) i++
        return what(at + i)
      }
      if (got < left.length) break
    }
    return statSync(a).size === statSync(b).size ? null : what(Math.min(statSync(a).size, statSync(b).size))
  } finally {
    closeSync(one)
    closeSync(other)
  }
}

/** `root`: the checkout whose program is measured; rows about doors and about finding rules know this one only. */
export function createRunner(row: Row, directory: string, root = ROOT): Runner {
  switch (row.kind) {
    case 'engine': return engineRunner(row.parameters, directory, root)
    case 'newflow': return newFlowRunner(row.parameters, root)
    case 'churn': return churnRunner(row.parameters, root)
    case 'replay': return replayRunner(row.parameters, directory, root)
    case 'micro': return microRunner(row.name.slice('micro/'.length), row.parameters, root)
    case 'classify': return classifyRunner(row.parameters, directory)
    case 'snmp-requests': case 'snmp-walk': return snmpRunner(row, directory)
    default: return midcomRunner(row, directory)
  }
}
