/** Measures one micro row with tinybench, in a process of its own: `micro-child ROW MILLISECONDS`. Prints ns an operation. */
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
const bench = new Bench({ time: Number(milliseconds), warmupTime: Number(milliseconds) / 3, throws: true })
bench.add(name, () => { run() }, { async: false })
const [task] = await bench.run()
const { result } = task
if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`)
if (!isRight()) throw new Error(`${name} did not do its work`)
const { p50, p99, mean, samplesCount } = result.latency
// Milliseconds for all operations of a call.
const each = (ms: number) => ms * 1e6 / OPERATIONS
console.log(JSON.stringify({ p50: each(p50), p99: each(p99), mean: each(mean), samples: samplesCount }))
