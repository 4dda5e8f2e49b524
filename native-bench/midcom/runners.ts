/** Rows about agents: who is started, and what of their words is kept. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PINHOLE, ROOT, node, type Runner } from '../child.ts'
import type { Figures, Sample } from '../result.ts'
import { boxConfig } from './config.ts'
import { checkLoad, LOAD, load, redisBenchmark, type LoadOptions } from './load.ts'
import { measureCrowd } from './crowd.ts'
import type { AgentsParameters, CrowdParameters, LoadedParameters, MidcomRow, RulesParameters } from './rows.ts'
import { freePort, isInstalled, NO_REDIS, startRedis, startServer } from './servers.ts'

const BOX_CHILD = join(ROOT, 'build/bench/midcom/box-child.js')

function redisNote(compared: string): string {
  const version = execFileSync('redis-server', ['--version'], { encoding: 'utf8' }).match(/v=(\S+)/)?.[1] ?? ''
  return `${compared} redis-server ${version}`
}

function agentsRunner(p: AgentsParameters, directory: string): Runner {
  const options: LoadOptions = { ...p, turnover: p.rate > 0 }
  const hasRedis = isInstalled('redis-server') && isInstalled('redis-benchmark')
  const blank = { mean: null, counts: {}, bytesPerFlow: null }
  const ts = async (): Promise<Sample> => {
    const port = await freePort()
    const file = join(directory, 'pinhole.yaml')
    writeFileSync(file, boxConfig({ port, agents: p.connections, rules: p.live + 2 * p.connections * p.pipeline }))
    const box = await startServer(process.execPath, [PINHOLE, 'run', '--simulate', '--config', file], port)
    try {
      const beforeNs = box.cpuNs()
      const { made, removed, transactions, transactionsPerSecond, busy, allTransactions } = await load('simco', port, options)
      const cpuUs = (box.cpuNs() - beforeNs) / 1000 / allTransactions
      return {
        ...blank, value: p.rate > 0 ? made.p99 : 1e6 / made.perSecond, p99: made.p99, packets: transactions,
        figures: { ...made, removedPerSecond: removed.perSecond, removedP99: removed.p99, transactionsPerSecond, busy, cpuUs },
      }
    } finally {
      await box.stop()
    }
  }
  const c = async (): Promise<Sample> => {
    const redis = await startRedis()
    try {
      const beforeNs = redis.cpuNs()
      const { made, transactions, transactionsPerSecond, busy, allTransactions } = await load('redis', redis.port, options)
      const mine = { transactionsPerSecond, busy, cpuUs: (redis.cpuNs() - beforeNs) / 1000 / allTransactions }
      if (p.sets === 0) return { ...blank, value: made.p99, p99: made.p99, packets: transactions, figures: { ...made, ...mine } }
      const its = await redisBenchmark(redis.port, p)
      return {
        ...blank, value: 1e6 / its.perSecond, p99: its.p99, packets: p.sets,
        figures: { ...its, ourPerSecond: made.perSecond, ourP50: made.p50, ourP99: made.p99, ourP999: made.p999, ...mine },
      }
    } finally {
      await redis.stop()
    }
  }
  const note = !hasRedis ? NO_REDIS : p.sets > 0
    ? redisNote('SET/s and p99 are redis-benchmark\'s; "our" ones are those of the generator that asks Pinhole; against')
    : redisNote('Latency from the hour of a request, half of them PER and half PLC, SET and DEL; against')
  return { ts, c: hasRedis ? c : null, check: null, note, end: () => {} }
}

/** What the box says of itself in a process of its own. */
async function ofBox<T>(mode: string, parameters: object): Promise<T> {
  return JSON.parse((await node('--expose-gc', BOX_CHILD, mode, JSON.stringify(parameters))).stdout) as T
}

function loadedRunner(p: LoadedParameters): Runner {
  return {
    ts: async () => {
      checkLoad()
      const { packets, rise, ...figures } = await ofBox<{ packets: number; rise: number } & Figures>(
        'loaded', { ...p, generator: LOAD })
      return {
        value: rise, p99: null, mean: null, counts: {}, packets, bytesPerFlow: null, figures,
      }
    },
    c: null, check: null, end: () => {},
  }
}

function crowdRunner(p: CrowdParameters, directory: string): Runner {
  return {
    ts: async () => {
      const { transactions, figures } = await measureCrowd(p, directory)
      return {
        value: figures['p99Rise'], p99: figures['withP99'], mean: null, counts: {}, packets: transactions, bytesPerFlow: null,
        figures,
      }
    },
    c: null, check: null, end: () => {},
  }
}

function bytesRunner(p: RulesParameters): Runner {
  return {
    ts: async () => {
      const figures = await ofBox<{ policy: number; engine: number; activity: number } & Figures>('bytes', p)
      const value = figures.policy + figures.engine + figures.activity
      return { value, p99: null, mean: null, counts: {}, packets: 0, bytesPerFlow: null, figures }
    },
    c: null, check: null, end: () => {},
  }
}

function expiryRunner(p: RulesParameters): Runner {
  return {
    ts: async () => {
      const figures = await ofBox<{ longestMs: number; p99Ms: number } & Figures>('expiry', p)
      const { longestMs, p99Ms } = figures
      return { value: longestMs, p99: p99Ms, mean: null, counts: {}, packets: 0, bytesPerFlow: null, figures }
    },
    c: null, check: null, end: () => {},
  }
}

export function midcomRunner(row: MidcomRow, directory: string): Runner {
  switch (row.kind) {
    case 'agents': return agentsRunner(row.parameters, directory)
    case 'loaded': return loadedRunner(row.parameters)
    case 'crowd': return crowdRunner(row.parameters, directory)
    case 'rule-bytes': return bytesRunner(row.parameters)
    case 'rule-expiry': return expiryRunner(row.parameters)
  }
}
