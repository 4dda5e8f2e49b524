/**
 * Measures one micro row in a process of its own: `micro-child ROW MILLISECONDS`. Prints ns an operation. benchmark.js runs the
 * suite and says what a call costs on the whole; its samples are of many calls, and on a busy machine most of those hold an
 * interruption by another program. So the percentiles, by which rows are compared, are of single calls, and tinybench's.
 */
import Benchmark from 'benchmark'
import { Bench } from 'tinybench'
import { headerChecksum, locate, look, updateChecksum } from './bytes.ts'
import { flowLookup, mappingLookup } from './lookup.ts'
import type { MicroRow } from './rows.ts'
import { allocFree, churn, refresh } from './structures.ts'
import { OPERATIONS, type Task } from './task.ts'

const TASKS: Record<MicroRow, () => Task> = {
  'lookup/flows-16k': () => flowLookup(16_384), 'lookup/flows-1m': () => flowLookup(1_000_000),
  'lookup/mapping-1m': () => mappingLookup(1_000_000),
  'ports/alloc-free-50pct': () => allocFree(0.5), 'ports/alloc-free-90pct': () => allocFree(0.9),
  'ports/alloc-free-99pct': () => allocFree(0.99),
  'wheel/refresh-1m': refresh, 'wheel/churn-1m': churn,
  'checksum/update': updateChecksum, 'checksum/header': headerChecksum, 'parse/link-64b': locate, 'parse/look-64b': look,
}

const [name, milliseconds] = process.argv.slice(2)
const { run, isRight } = TASKS[name as MicroRow]()
const suite = new Benchmark.Suite(), seconds = Number(milliseconds) / 1000
suite.add(name, () => { run() }, { minTime: seconds / 20, maxTime: seconds, minSamples: 10 })
suite.run({ async: false })
const { stats, error } = (suite as unknown as Benchmark[])[0]
if (error !== undefined) throw error as Error
const single = new Bench({ time: Number(milliseconds), warmup: false, throws: true })
single.add(name, () => { run() }, { async: false })
const [task] = await single.run()
const { result } = task
if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`)
if (!isRight()) throw new Error(`${name} did not do its work`)
// Milliseconds for all operations of a call.
const each = (ms: number) => ms * 1e6 / OPERATIONS
const { p50, p99, mean, samplesCount } = result.latency
console.log(JSON.stringify({
  p50: each(p50), p99: each(p99), mean: each(mean), samples: samplesCount,
  // Of the suite: the mean, and its margin of error in per cent.
  suiteMean: each(stats.mean * 1000), suiteMargin: stats.rme,
}))
