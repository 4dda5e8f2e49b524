/** The file a run leaves behind, and its parts. */
import { availableParallelism, cpus, totalmem } from 'node:os'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { digest } from '../src/app/config/config.ts'
import { defaultConfig } from '../src/app/config/load.ts'
import { systemReason } from '../src/phy/capture-error.ts'
import { estimate, median, ratios, type Estimate } from './statistics.ts'

/** Changes whenever a reader of the file would have to. */
export const SCHEMA = 'pinhole-bench/2'

export interface MachineInfo { cpu: string; cores: number; memoryBytes: number; platform: string }

/** What one process said. `value` is what rounds are compared by: the median over batches, or a wall time. */
export interface Sample {
  value: number
  p99: number | null
  mean: number | null
  /** What must agree between the two programs. */
  counts: Record<string, unknown>
  packets: number
  bytesPerFlow: number | null
  /** Whatever else is worth keeping, by name. */
  figures?: Figures
  /** Values of further programs that did the same in the same round, by name. */
  others?: Figures
}

export type Figures = Record<string, number>

export interface RowResult {
  name: string
  unit: string
  parameters: Record<string, number | string>
  /** SHA-256 of the captures, rules and headers that the programs read, or null where they make all themselves. */
  inputDigest: string | null
  /** Why there is no figure to believe. */
  error: string | null
  ts: Side | null
  c: Side | null
  /** TS over C, round by round. */
  ratio: Estimate | null
  /** The same of the means over all packets, where there are batches. */
  meanRatio: Estimate | null
  /** For people: what the counts were. */
  packets: number
  dropPackets: number
  bytesPerFlow: number | null
  /** Medians over the rounds of what else was measured, of either side. */
  figures: { ts: Figures; c: Figures }
  /** What is known of further programs, and TS over each, round by round. */
  others?: Record<string, { side: Estimate; ratio: Estimate }>
  /** What the row was measured against, or why against nothing. */
  note: string | null
}

export interface Side extends Estimate {
  samples: number[]
  p99: number | null
  means: number[] | null
}

export interface BenchResult {
  schema: typeof SCHEMA
  when: string
  commit: string
  changed: boolean
  node: string
  v8: string
  compiler: string | null
  machine: MachineInfo
  /** Of node, for all processes. */
  flags: string[]
  configDigest: string
  rounds: number
  quick: boolean
  rows: RowResult[]
}

export function machineInfo(): MachineInfo {
  return {
    cpu: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), memoryBytes: totalmem(),
    platform: `${process.platform}-${process.arch}`,
  }
}

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return ''
  }
}

export function newResult(rounds: number, quick: boolean, compiler: string | null): BenchResult {
  return {
    schema: SCHEMA, when: new Date().toISOString(), commit: git('rev-parse', 'HEAD') || 'unknown',
    changed: git('status', '--porcelain', '--', 'src', 'native-bench') !== '',
    node: process.version, v8: process.versions.v8, compiler, machine: machineInfo(),
    flags: [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(' ').filter(flag => flag !== '')],
    configDigest: digest(defaultConfig()), rounds, quick, rows: [],
  }
}

function side(samples: readonly Sample[]): Side | null {
  if (samples.length === 0) return null
  const values = samples.map(sample => sample.value)
  const p99 = samples.flatMap(sample => sample.p99 ?? []), means = samples.flatMap(sample => sample.mean ?? [])
  return {
    ...estimate(values), samples: values, p99: p99.length === 0 ? null : median(p99),
    means: means.length === 0 ? null : means,
  }
}

function medians(samples: readonly Sample[]): Figures {
  const names = Object.keys(samples[0]?.figures ?? {})
  return Object.fromEntries(names.map(name => [name, median(samples.map(({ figures }) => figures![name]))]))
}

/** What further programs took, by name: in the samples of either side. */
function othersOf(ts: readonly Sample[], told: readonly Sample[]): NonNullable<RowResult['others']> {
  const names = Object.keys(told[0].others!)
  return Object.fromEntries(names.map(name => {
    const values = told.flatMap(({ others }) => others?.[name] ?? [])
    return [name, { side: estimate(values), ratio: estimate(ratios(ts.map(({ value }) => value), values)) }]
  }))
}

export function rowResult(
  row: { name: string; unit: string; parameters: object }, ts: readonly Sample[], c: readonly Sample[],
  error: string | null, note: string | null = null, inputDigest: string | null = null,
): RowResult {
  const a = side(ts), b = side(c), told = c[0]?.others === undefined ? ts : c
  return {
    name: row.name, unit: row.unit, parameters: { ...row.parameters } as Record<string, number | string>, inputDigest, error,
    ts: a, c: b,
    ratio: a !== null && b !== null ? estimate(ratios(a.samples, b.samples)) : null,
    meanRatio: a?.means && b?.means ? estimate(ratios(a.means, b.means)) : null,
    packets: ts[0]?.packets ?? 0, dropPackets: Number(ts[0]?.counts['dropPackets'] ?? 0),
    bytesPerFlow: ts[0]?.bytesPerFlow ?? null, figures: { ts: medians(ts), c: medians(c) },
    ...(told[0]?.others === undefined ? {} : { others: othersOf(ts, told) }), note,
  }
}

/** @throws Error for people: there is no such file, or it is no result of this version */
export function readResult(file: string): BenchResult {
  let text: string, result: BenchResult | null
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new Error(`cannot read ${file}: ${systemReason(error as NodeJS.ErrnoException)}`, { cause: error })
  }
  if (text.trim() === '') throw new Error(`${file} is empty`)
  try {
    result = JSON.parse(text) as BenchResult | null
  } catch (error) {
    throw new Error(`${file} is no result: it is no JSON: ${(error as Error).message}`, { cause: error })
  }
  if (result?.schema === SCHEMA) return result
  const its: unknown = result?.schema
  throw new Error(typeof its !== 'string' ? `${file} is no result of a benchmark`
    : `${file} is no result of this version: its schema is ${its}, not ${SCHEMA}`)
}
