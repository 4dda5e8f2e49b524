/** `pinhole replay`: the command line of the replay. */
import { accessSync, constants, fstatSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { InvalidArgumentError, type Command } from 'commander'
import { CaptureError, systemReason } from '../../phy/capture-error.ts'
import { parsePrefix } from '../config/address.ts'
import { defaultConfig, loadConfig } from '../config/load.ts'
import type { Prefix } from '../../base/address.ts'
import { replay, StoppedEarly, type ReplayOptions, type ReplayResult } from '../replay/replay.ts'
import { createReport, summary } from '../replay/report.ts'
import { fileIdentity } from './identity.ts'
import { Failure, STATUS } from './status.ts'

interface ReplayFlags {
  config?: string
  inside: Prefix[]
  insideIf: string[]
  outOutside?: string
  outInside?: string
  report?: string
  pace: number
  loop: number
  seed: number
  preload?: true
}

const PROGRESS_MS = 100
const STDIN = 0, STDOUT = 1
const SIGNAL_STATUS = { SIGINT: STATUS.interrupted, SIGTERM: STATUS.terminated }
type Signal = keyof typeof SIGNAL_STATUS

export function registerReplay(program: Command): void {
  program.command('replay')
    .summary('forward the packets of a capture')
    .description('Forward every packet of a capture as the box would, and write what left the box.')
    .argument('<capture>', 'pcap or pcapng, plain or gzip; - is standard input')
    .option('--config <file>', 'YAML configuration (pinhole init prints one)')
    .option('--inside <prefix>', 'prefix of the inside network instead of those of the configuration, repeatable', prefixes, [])
    .option('--inside-if <name>', 'capture interface (name or number) that is the inside, repeatable: decides instead of '
      + 'source addresses', collect, [])
    .option('--out-outside <file>', 'write what left towards outside (pcapng; - is standard output)')
    .option('--out-inside <file>', 'write what left towards inside (pcapng; - is standard output)')
    .option('--report <file>', 'write a JSON report (- is standard output)')
    .option('--pace <pace>', 'max, original, or a factor such as 2x or 0.5x', pace, 0)
    .option('--loop <n>', 'replay n times, one after the other in time', positive, 1)
    .option('--seed <n>', 'seed of all random choices, 0 … 2^32-1', seed, 1)
    .option('--preload', 'read the capture into memory first')
    .addHelpText('after', `
The same capture, configuration and seed give the same output files and the same digest on any machine.
A damaged capture is replayed up to the damage; exit status 3 and the byte offset tell. An interrupted replay leaves
good output files and a report of what it did; a second signal ends it at once.`)
    .action(run)
  // The default pace is shown by name.
  const option = program.commands.at(-1)?.options.find(({ long }) => long === '--pace')
  if (option !== undefined) option.defaultValueDescription = 'max'
}

async function run(capture: string, flags: ReplayFlags, command: Command): Promise<void> {
  const config = flags.config === undefined ? defaultConfig() : loadConfig(flags.config)
  checkOutputs(capture, flags)
  const stop = new AbortController()
  let heard: Signal = 'SIGINT'
  const onSignal = (signal: Signal) => {
    heard = signal
    stop.abort()
  }
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  const bar = process.stderr.isTTY ? new (await import('cli-progress')).SingleBar({
    format: '{bar} {percentage}% | {packets} packets | {eta_formatted} left', hideCursor: true, clearOnComplete: true,
    stream: process.stderr,
  }) : null
  let shownMs = 0
  const options: ReplayOptions = {
    capture, config, inside: flags.inside.length > 0 ? flags.inside : config.inside, insideInterfaces: flags.insideIf,
    seed: flags.seed, loops: flags.loop, preload: flags.preload === true, pace: flags.pace,
    outInside: flags.outInside, outOutside: flags.outOutside,
    onProgress: bar === null ? null : (done, all, packets) => {
      const now = Date.now()
      if (now - shownMs < PROGRESS_MS || all === 0) return
      if (shownMs === 0) bar.start(all, 0, { packets: 0 })
      shownMs = now
      bar.update(Math.min(done, all), { packets })
    },
    stop: stop.signal,
  }
  let result: ReplayResult
  try {
    result = await replay(options)
  } catch (error) {
    if (!(error instanceof StoppedEarly)) throw asFailure(error)
    process.stderr.write(`pinhole: ${error.message}\n`)
    return leave(capture, heard)
  } finally {
    if (shownMs !== 0) bar?.stop()
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
  const report = createReport(options, result, {
    version: command.parent?.version() ?? 'unknown', configFile: flags.config ?? null,
  })
  // The summary makes way for whatever else goes to standard output.
  const usesStdout = [flags.report, flags.outInside, flags.outOutside].includes('-')
  ;(usesStdout ? process.stderr : process.stdout).write(summary(report) + '\n')
  if (result.fault !== null) {
    process.stderr.write(`pinhole: ${capture}: byte ${result.fault.offset}: ${result.fault.reason}\n`)
    process.exitCode = STATUS.input
  }
  if (flags.report !== undefined) writeReport(flags.report, JSON.stringify(report, null, 2) + '\n')
  if (result.stopped) process.exitCode = SIGNAL_STATUS[heard]
  if (result.leftReading) leave(capture, heard)
}

/**
 * Ends the program while a read is under way. That of a silent pipe holds a thread for which even `process.exit` waits: only the
 * signal itself is stronger. To a shell the status is the same.
 */
function leave(capture: string, signal: Signal): void {
  process.exitCode = SIGNAL_STATUS[signal]
  const stat = capture === '-' ? fstatSync(STDIN) : statSync(capture, { throwIfNoEntry: false })
  if (stat?.isFile() === true) process.exit()
  process.kill(process.pid, signal)
}

/**
 * Two outputs in one file, or an output over what is read, would destroy what somebody wants; and what cannot be written
 * should not be found out after an hour. Nothing is opened or emptied here.
 */
function checkOutputs(capture: string, { config, outInside, outOutside, report }: ReplayFlags): void {
  const taken = new Map<string, string>()
  const take = (path: string | undefined, stdio: number, what: string) => {
    const identity = path === undefined ? null : fileIdentity(path, stdio)
    if (identity !== null) taken.set(identity, what)
  }
  take(capture, STDIN, 'is the input')
  take(config, STDIN, 'is the configuration')
  const outputs = [outInside, outOutside, report].filter((path) => path !== undefined)
  for (const path of outputs) {
    const identity = fileIdentity(path, STDOUT)
    const what = identity === null ? undefined : taken.get(identity)
    if (what !== undefined) throw new Failure(STATUS.usage, `${path} ${what}: write elsewhere`)
    take(path, STDOUT, 'is another output')
  }
  if (outputs.filter((path) => path === '-').length > 1) throw new Failure(STATUS.usage, 'two outputs cannot both go to -')
  for (const path of outputs) checkWritable(path)
}

function checkWritable(path: string): void {
  if (path === '-') return
  try {
    const found = statSync(path, { throwIfNoEntry: false })
    accessSync(found === undefined ? dirname(path) : path, constants.W_OK)
    if (found?.isDirectory() === true) throw new Error('it is a directory')
  } catch (error) {
    throw new Failure(STATUS.output, `cannot write ${path}: ${systemReason(error as Error)}`, { cause: error })
  }
}

function writeReport(path: string, text: string): void {
  try {
    if (path === '-') process.stdout.write(text)
    else writeFileSync(path, text)
  } catch (error) {
    throw new Failure(STATUS.output, `cannot write ${path}: ${systemReason(error as Error)}`, { cause: error })
  }
}

/** What the input is to blame for is a `Failure` already. */
function asFailure(error: unknown): unknown {
  return error instanceof CaptureError ? new Failure(STATUS.output, error.message, { cause: error }) : error
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}

function prefixes(text: string, before: Prefix[]): Prefix[] {
  const parsed = parsePrefix(text)
  if (!parsed.ok) {
    const hint = parsed.suggestion === undefined ? '' : ` (${parsed.suggestion})`
    throw new InvalidArgumentError(parsed.message + hint)
  }
  return [...before, parsed.value]
}

function positive(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('A whole number from 1 to 999,999,999 is needed.')
  return Number(text)
}

function seed(text: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) < 2 ** 32) return Number(text)
  throw new InvalidArgumentError('A whole number from 0 to 2^32-1 is needed.')
}

function pace(text: string): number {
  if (text === 'max') return 0
  if (text === 'original') return 1
  const factor = /^(\d+(?:\.\d+)?|\.\d+)x$/.exec(text)?.[1]
  if (factor === undefined || Number(factor) <= 0) throw new InvalidArgumentError('Expected max, original, or a factor such as 2x.')
  return Number(factor)
}
