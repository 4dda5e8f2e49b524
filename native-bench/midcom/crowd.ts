/**
 * A thousand agents, two of whom do harm: one sends garbage, one asks and never reads (trouble.c). What the others wait for their
 * answers with and without those two, and with those two at another box, in stretches by turns, and what they cost the box in
 * memory.
 */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PINHOLE } from '../child.ts'
import type { Figures } from '../result.ts'
import { median } from '../statistics.ts'
import { boxConfig } from './config.ts'
import { checkLoad, load, LOAD_DIRECTORY, type LoadOptions, type LoadReport } from './load.ts'
import type { CrowdParameters } from './rows.ts'
import { freePort, startServer, type Server } from './servers.ts'

export const TROUBLE = join(LOAD_DIRECTORY, 'trouble')

/** What trouble.c tells of one of its two agents. */
interface Mischief {
  connections: number
  opened: number
  closed: number
  octetsSent: number
  octetsReceived: number
  bfm: number
  ast: number
}
export interface TroubleReport { garbage: Mischief; deaf: Mischief & { requests: number } }

const TROUBLEMAKERS = 2, RULES_OF_EACH = 1000
/** A client that takes nothing for a minute is cut off: here much sooner, so that it comes again and again. */
const STALLED_MS = 250, DRAIN_MS = 100
/** A stretch with fewer transactions than this part of the rate says nothing. */
const LEAST_RATE = 0.95

const MIB = 1 << 20

/** Resident memory of a process, and the most that it was since `forget`; NaN where the system does not tell. */
function createMemory(pid: number) {
  const read = (name: string): number => {
    try {
      const [, kib] = readFileSync(`/proc/${pid}/status`, 'latin1').match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm')) ?? []
      return Number(kib) * 1024 / MIB
    } catch {
      return NaN
    }
  }
  return {
    residentMiB: () => read('VmRSS'),
    peakMiB: () => read('VmHWM'),
    forget() {
      try {
        writeFileSync(`/proc/${pid}/clear_refs`, '5')
      } catch { /* then the peak is that since the start */ }
    },
  }
}

/**
 * The two who do harm, until `end`. They take what others leave of the processors, so that it is the box alone through which they
 * do it.
 */
function startTrouble(port: number, agent: number): { end: () => Promise<TroubleReport> } {
  const child = spawn(TROUBLE, ['--port', `${port}`, '--agent', `${agent}`], { stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = () => { child.kill('SIGKILL') }
  process.on('exit', kill)
  let stdout = '', stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', text => { stderr += text })
  const ended = new Promise<number | null>((resolve, reject) => { child.on('error', reject).on('close', resolve) })
  return {
    async end() {
      child.kill('SIGTERM')
      const status = await ended
      process.off('exit', kill)
      if (status !== 0) throw new Error(`the troublemakers ended: ${stderr.trim() || status}`)
      return JSON.parse(stdout) as TroubleReport
    },
  }
}

interface Stretch { report: LoadReport; residentMiB: number; peakMiB: number; seconds: number; trouble: TroubleReport | null }

/** `harmed`: the box at which harm is done meanwhile; null: at none. */
async function measureStretch(box: Server, options: LoadOptions, harmed: Server | null): Promise<Stretch> {
  const memory = createMemory(box.pid)
  memory.forget()
  const begin = performance.now()
  const trouble = harmed === null ? null : startTrouble(harmed.port, options.connections)
  let report: LoadReport
  try {
    report = await load('simco', box.port, options)
  } catch (error) {
    await trouble?.end()
    throw error
  }
  const seconds = (performance.now() - begin) / 1000
  const its = await trouble?.end() ?? null
  if (report.transactionsPerSecond < options.rate * LEAST_RATE) {
    throw new Error(`only ${Math.round(report.transactionsPerSecond)} transactions/s were answered`)
  }
  return { report, residentMiB: memory.residentMiB(), peakMiB: memory.peakMiB(), seconds, trouble: its }
}

/** Of neighbours without troublemakers, how much longer the slower one waited: what the machine does by itself. */
const spreadOf = (values: readonly number[]) =>
  median(values.slice(1).map((value, i) => Math.max(value, values[i]) / Math.min(value, values[i])))

/** Counters of the box, from its report at the end. */
function readCounters(report: string): Record<string, number> {
  return (JSON.parse(readFileSync(report, 'utf8')) as { simco: Record<string, number> }).simco
}

/** A box of its own process, with room for the crowd and for the two. */
async function startBox(p: CrowdParameters, directory: string, name: string): Promise<{ box: Server; report: string }> {
  const port = await freePort()
  const file = join(directory, `${name}.yaml`), report = join(directory, `${name}-report.json`)
  writeFileSync(file, boxConfig({
    port, agents: p.connections, rules: p.live + 4 * p.connections,
    trouble: { agents: TROUBLEMAKERS, rules: RULES_OF_EACH, stalledMs: STALLED_MS, drainMs: DRAIN_MS },
  }))
  const box = await startServer(process.execPath, [PINHOLE, 'run', '--simulate', '--config', file, '--report', report], port)
  return { box, report }
}

export async function measureCrowd(p: CrowdParameters, directory: string): Promise<{ transactions: number; figures: Figures }> {
  checkLoad()
  const options: LoadOptions = { ...p, pipeline: 1, turnover: true, seconds: p.stretchSeconds, warmSeconds: p.settleSeconds }
  const without: Stretch[] = [], troubled: Stretch[] = [], elsewhere: Stretch[] = []
  const { box, report: reportFile } = await startBox(p, directory, 'crowd')
  try {
    const { box: other } = await startBox(p, directory, 'other')
    try {
      // The compiler has its say about all of them first.
      const warm = { ...options, seconds: p.warmSeconds }
      for (const harmed of [null, box, other]) await measureStretch(box, warm, harmed)
      for (let n = 0; n < p.stretches; n++) {
        without.push(await measureStretch(box, options, null))
        troubled.push(await measureStretch(box, options, box))
        elsewhere.push(await measureStretch(box, options, other))
      }
      without.push(await measureStretch(box, options, null))
    } finally {
      await other.stop()
    }
  } finally {
    await box.stop()
  }
  for (const who of ['garbage', 'deaf'] as const) {
    if (troubled.every(({ trouble }) => trouble![who].closed === 0)) throw new Error(`${who}: the box never ended a connection`)
  }
  const counters = readCounters(reportFile)
  const of = (some: readonly Stretch[], read: (stretch: Stretch) => number) => median(some.map(read))
  const p50 = (stretch: Stretch) => stretch.report.made.p50, p99 = (stretch: Stretch) => stretch.report.made.p99
  const peak = (stretch: Stretch) => stretch.peakMiB
  const perSecond = (read: (trouble: TroubleReport) => number) => of(troubled, ({ trouble, seconds }) => read(trouble!) / seconds)
  return {
    transactions: [...without, ...troubled, ...elsewhere].reduce((sum, { report }) => sum + report.transactions, 0),
    figures: {
      p99Rise: of(troubled, p99) / of(without, p99), p50Rise: of(troubled, p50) / of(without, p50),
      p99OfElsewhere: of(troubled, p99) / of(elsewhere, p99), elsewhereP50: of(elsewhere, p50), elsewhereP99: of(elsewhere, p99),
      withoutP50: of(without, p50), withoutP99: of(without, p99), withP50: of(troubled, p50), withP99: of(troubled, p99),
      p50Spread: spreadOf(without.map(p50)), p99Spread: spreadOf(without.map(p99)),
      grownMiB: of(troubled, peak) - of(without, peak), peakMiB: Math.max(...troubled.map(peak)),
      residentBeforeMiB: without[0].residentMiB, residentAfterMiB: without.at(-1)!.residentMiB,
      garbageConnectionsPerSecond: perSecond(({ garbage }) => garbage.closed),
      garbageOctetsPerSecond: perSecond(({ garbage }) => garbage.octetsSent),
      deafConnectionsPerSecond: perSecond(({ deaf }) => deaf.closed),
      deafOctetsPerSecond: perSecond(({ deaf }) => deaf.octetsSent),
      badMessageConnections: counters['drop-bad-message-connections'],
      stalledConnections: counters['drop-stalled-connections'], notReadingConnections: counters['drop-not-reading-connections'],
    },
  }
}
