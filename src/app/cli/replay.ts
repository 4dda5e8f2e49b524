/** `pinhole replay`: the command line of the replay. */
import { existsSync, fstatSync, statSync } from 'node:fs'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { CaptureError } from '../../phy/capture-error.ts'
import { isForwarded, readRecordedSettings, type RecordedSettings } from '../../phy/recording.ts'
import type { Config } from '../config/config.ts'
import { defaultConfig, loadConfig, problemText } from '../config/load.ts'
import { scaled } from '../config/scaled.ts'
import type { Prefix } from '../../base/address.ts'
import { createExplainer, parseAsked, type Asked, type Format } from '../explain/explain.ts'
import { createSink } from '../explain/sink.ts'
import { counted, seconds } from '../figures.ts'
import { FilterError } from '../filter/lex.ts'
import { explainFault } from '../filter/parse.ts'
import { replay, StoppedEarly, type ReplayOptions, type ReplayResult } from '../replay/replay.ts'
import { createReport, summary } from '../replay/report.ts'
import { checkRecorded } from '../run/recorded-settings.ts'
import { loadScript } from '../script/script.ts'
import { checkOutputs, writeReport } from './outputs.ts'
import { Failure, STATUS } from './status.ts'
import { pace, positive, prefixes, seed } from './values.ts'

interface ReplayFlags {
  config?: string
  script?: string
  inside: Prefix[]
  insideIf: string[]
  outOutside?: string
  outInside?: string
  report?: string
  logMappings?: string
  pace: number
  loop: number
  seed: number
  preload?: true
  /** true: the option without a value. */
  explain?: Asked | true
  explainFormat: Format
  explainTo: string
}

/** What `--explain` asks for by itself. */
const DROPS: Asked = { drops: true, filter: null }
const PROGRESS_MS = 100
const STDIN = 0
const SIGNAL_STATUS = { SIGINT: STATUS.interrupted, SIGTERM: STATUS.terminated }
type Signal = keyof typeof SIGNAL_STATUS

export function registerReplay(program: Command): void {
  program.command('replay')
    .summary('forward the packets of a capture')
    .description('Forward every packet of a capture as the box would, and write what left the box.')
    .argument('<capture>', 'pcap or pcapng, plain or gzip; - is standard input')
    .option('--config <file>', 'YAML configuration (pinhole init prints one)')
    .option('--script <file>', 'what MIDCOM agents do, and new firewall rules, at times of the capture (YAML)')
    .option('--inside <prefix>', 'prefix of the inside network instead of those of the configuration, repeatable', prefixes, [])
    .option('--inside-if <name>', 'capture interface (name or number) that is the inside, repeatable: decides instead of '
      + 'source addresses', collect, [])
    .option('--out-outside <file>', 'write what left towards outside (pcapng; - is standard output)')
    .option('--out-inside <file>', 'write what left towards inside (pcapng; - is standard output)')
    .option('--log-mappings <file>', 'write which inside host had which outside ports, a line of JSON each (- is standard output)')
    .option('--report <file>', 'write a JSON report (- is standard output)')
    .option('--pace <pace>', 'max, original, or a factor such as 2x or 0.5x', pace, 0)
    .option('--loop <n>', 'replay n times, one after the other in time', positive, 1)
    .option('--seed <n>', 'seed of all random choices, 0 … 2^32-1', seed, 1)
    .option('--preload', 'read the capture into memory first')
    .option('--explain [filter]', "say what became of each packet that a filter in tcpdump's syntax takes, also as comments in the "
      + 'outputs; drops (the default): count dropped packets by reason and flow', asked)
    .addOption(new Option('--explain-format <format>', 'text, or json for a line of JSON each').choices(['text', 'json'])
      .default('text'))
    .option('--explain-to <file>', 'where explanations go (- is standard output)', '-')
    .addHelpText('after', `
The same capture, configuration and seed give the same output files and the same digest on any machine.
With a script, exit status 1 tells that an answer was not the one that the script expects.
A damaged capture is replayed up to the damage; exit status 3 and the byte offset tell. An interrupted replay leaves
good output files and a report of what it did; a second signal ends it at once. SIGUSR2 has it say how far it is.

A filter of --explain may also ask for drop, sent, held, reason NAME, side inside, to outside, new, answered, hairpin, rule NAME,
fragment:
  pinhole replay capture.pcap --explain
  pinhole replay capture.pcap --explain 'host 10.0.0.5 and udp port 5004'
  pinhole replay capture.pcap --explain 'reason filtered and not net 198.51.100.0/24' --explain-format json
  pinhole replay capture.pcap --explain 'tcp[tcpflags] & tcp-rst != 0' --out-outside wan.pcapng`)
    .action(run)
  // The default pace is shown by name.
  const option = program.commands.at(-1)?.options.find(({ long }) => long === '--pace')
  if (option !== undefined) option.defaultValueDescription = 'max'
}

async function run(capture: string, flags: ReplayFlags, command: Command): Promise<void> {
  const recorded = readRecordedSettings(capture)
  const config = recorded === null ? flags.config === undefined ? defaultConfig() : loadConfig(flags.config)
    : recordedConfig(capture, recorded, flags.config)
  const script = flags.script === undefined ? null : loadScript(flags.script)
  if (script?.some(({ action }) => action !== 'firewall') === true && !config.midcom.enabled) {
    throw new Failure(STATUS.usage, `${flags.script} needs a configuration with midcom.enabled: true and its agents`)
  }
  const { config: configFile, script: scriptFile, outInside, outOutside, report: reportFile } = flags
  const explainTo = flags.explain === undefined ? undefined : flags.explainTo
  const inputs = { capture, config: configFile ?? null, script: scriptFile ?? null }
  checkOutputs(inputs, [outInside, outOutside, reportFile, explainTo, flags.logMappings])
  const explainer = flags.explain === undefined ? null
    : createExplainer(flags.explain === true ? DROPS : flags.explain, flags.explainFormat, createSink(flags.explainTo),
      flags.config ?? null)
  const stop = new AbortController()
  let heard: Signal = 'SIGINT'
  const onSignal = (signal: Signal) => {
    heard = signal
    stop.abort()
  }
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  // Of a paced replay the time to come is not known before its packets are read.
  const bar = process.stderr.isTTY ? new (await import('cli-progress')).SingleBar({
    format: flags.pace === 0 ? '{bar} {percentage}% | {packets} | {eta_formatted} left' : '{packets} | {time} of capture time',
    hideCursor: true, clearOnComplete: true, stream: process.stderr,
  }) : null
  let shownMs = 0
  let soFar = { packets: 0, virtualMs: 0, part: 0 }
  const onAsked = () => {
    const { packets, virtualMs, part } = soFar
    const read = flags.pace === 0 ? `, ${Math.floor(part * 100)} % of the input` : ''
    process.stderr.write(`${counted(packets, 'packet')} so far, ${seconds(virtualMs)} of capture time${read}\n`)
  }
  process.on('SIGUSR2', onAsked)
  const options: ReplayOptions = {
    capture, config, inside: flags.inside.length > 0 ? flags.inside : config.inside,
    insideInterfaces: recorded === null || flags.insideIf.length + flags.inside.length > 0 ? flags.insideIf
      : [recorded.insideInterface],
    script, explainer, seed: recorded !== null && command.getOptionValueSource('seed') === 'default' ? recorded.seed : flags.seed,
    ...recorded !== null && { keep: isForwarded }, loops: flags.loop, preload: flags.preload === true, pace: flags.pace,
    outInside: flags.outInside, outOutside: flags.outOutside, logMappings: flags.logMappings,
    onProgress: (done, all, packets, virtualMs) => {
      soFar = { packets, virtualMs, part: all === 0 ? 0 : Math.min(done / all, 1) }
      const now = Date.now()
      if (bar === null || now - shownMs < PROGRESS_MS || all === 0) return
      const text = { packets: counted(packets, 'packet'), time: seconds(virtualMs) }
      if (shownMs === 0) bar.start(all, 0, text)
      shownMs = now
      bar.update(Math.min(done, all), text)
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
    process.off('SIGUSR2', onAsked)
  }
  const report = createReport(options, result, {
    version: command.parent?.version() ?? 'unknown', configFile: flags.config ?? null, scriptFile: flags.script ?? null,
  })
  // The summary makes way for whatever else goes to standard output.
  const usesStdout = [flags.report, flags.outInside, flags.outOutside, explainTo, flags.logMappings].includes('-')
  ;(usesStdout ? process.stderr : process.stdout).write(summary(report) + '\n')
  for (const { line, do: action, expected, reason, met } of result.script?.results ?? []) {
    if (met) continue
    process.stderr.write(`${flags.script}:${line}: ${action}: expected ${expected}, and the answer is ${reason ?? 'ok'}\n`)
    process.exitCode = STATUS.found
  }
  if (result.fault !== null) {
    process.stderr.write(`pinhole: ${capture}: byte ${result.fault.offset}: ${result.fault.reason}\n`)
    process.exitCode = STATUS.input
  }
  if (flags.report !== undefined) writeReport(flags.report, JSON.stringify(report, null, 2) + '\n')
  if (result.stopped) process.exitCode = SIGNAL_STATUS[heard]
  if (result.leftReading) leave(capture, heard)
}

/** What the box had that was recorded, unless another file is named; its timers in any case. */
function recordedConfig(capture: string, recorded: RecordedSettings, file?: string): Config {
  const { configuration, timeScale, insideInterface, seed } = recorded
  const isKept = file === undefined && configuration !== null
  process.stderr.write(`${capture} is a recording of a box: its settings count that are not given here `
    + `(--inside-if ${insideInterface}, --seed ${seed}${isKept ? ', its configuration' : ''}); `
    + 'what it sent, and what was for itself, is left out\n')
  if (file !== undefined) return scaled(loadConfig(file), timeScale)
  if (configuration === null) return scaled(defaultConfig(), timeScale)
  const { config, problems } = checkRecorded(configuration)
  if (config !== null) return scaled(config, timeScale)
  throw new Failure(STATUS.usage, `the configuration in this recording cannot be used: ${problemText(capture, problems[0]!)}; `
    + 'give one with --config')
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

/** What the input is to blame for is a `Failure` already. */
function asFailure(error: unknown): unknown {
  return error instanceof CaptureError ? new Failure(STATUS.output, error.message, { cause: error }) : error
}

function asked(text: string): Asked {
  try {
    return parseAsked(text)
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    const isFile = /[./]/.test(text) && existsSync(text)
    const advice = 'That is a file: put --explain behind it, or say --explain drops.'
    throw new InvalidArgumentError(isFile ? advice : explainFault(text, error))
  }
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}
