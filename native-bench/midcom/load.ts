/** The load generator in C (load.c), and what it and redis-benchmark say. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, run } from '../child.ts'
import { LOOPBACK } from './servers.ts'

export const LOAD_DIRECTORY = join(ROOT, 'native-bench/midcom')
export const LOAD = join(LOAD_DIRECTORY, 'load')

/** Latencies in microseconds. */
export interface Answers {
  count: number
  perSecond: number
  p50: number
  p90: number
  p99: number
  p999: number
  max: number
}

export interface LoadReport {
  /** SET or PER, and DEL or PLC with lifetime 0. */
  made: Answers
  removed: Answers
  transactions: number
  transactionsPerSecond: number
  /** With those before and after the time measured. */
  allTransactions: number
  seconds: number
  /** Part of the time in which the generator itself worked. */
  busy: number
  notifications: number
  /** Batches that began more than a millisecond after their hour. */
  late: number
  errors: Record<string, number>
}

export interface LoadOptions {
  connections: number
  pipeline: number
  live: number
  warmSeconds: number
  seconds: number
  /** 0: as fast as there are answers. */
  rate: number
  /** Remove the oldest while new ones come, in place of filling up and emptying. */
  turnover: boolean
}

export function loadArguments(protocol: 'simco' | 'redis', port: number, o: LoadOptions): string[] {
  return [
    protocol, '--port', `${port}`, '--connections', `${o.connections}`, '--pipeline', `${o.pipeline}`, '--live', `${o.live}`,
    '--warm-seconds', `${o.warmSeconds}`, '--seconds', `${o.seconds}`, '--rate', `${o.rate}`, ...o.turnover ? ['--turnover'] : [],
  ]
}

export function checkLoad(): void {
  if (!existsSync(LOAD)) throw new Error('there is no load generator without a C compiler')
}

/** Refusals are no transactions: a rate with refusals in it is not a rate. */
export async function load(protocol: 'simco' | 'redis', port: number, o: LoadOptions): Promise<LoadReport> {
  checkLoad()
  const { stdout } = await run(LOAD, loadArguments(protocol, port, o))
  const report = JSON.parse(stdout) as LoadReport
  const errors = Object.entries(report.errors).map(([code, count]) => `${count} × ${code}`)
  if (errors.length > 0) throw new Error(`${protocol}: requests were refused: ${errors.join(', ')}`)
  if (report.notifications > 0) throw new Error(`${protocol}: ${report.notifications} notifications to strangers`)
  return report
}

/** Debian's own generator: SETs of as many keys as we set, alike in length. Milliseconds there, microseconds here. */
export async function redisBenchmark(
  port: number, o: { connections: number; pipeline: number; live: number; sets: number },
): Promise<{ perSecond: number; p50: number; p99: number }> {
  const { stdout } = await run('redis-benchmark', [
    '-h', LOOPBACK, '-p', `${port}`, '-c', `${o.connections}`, '-P', `${o.pipeline}`, '-n', `${o.sets}`, '-r', `${o.live}`,
    '-t', 'set', '--csv',
  ])
  const [head, line] = stdout.trim().split('\n').map(text => text.split(',').map(cell => cell.replaceAll('"', '')))
  const cell = (name: string) => {
    const number = Number(line?.[head.indexOf(name)])
    if (!(number > 0)) throw new Error(`redis-benchmark says nothing of ${name}: ${stdout}`)
    return number
  }
  return { perSecond: cell('rps'), p50: cell('p50_latency_ms') * 1000, p99: cell('p99_latency_ms') * 1000 }
}
