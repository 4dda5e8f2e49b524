/** `pinhole classify`: how fast a rule set is searched, and what is found. */
import { Option, type Command } from 'commander'
import { systemReason } from '../../phy/capture-error.ts'
import { parseFilters, type Filters } from '../classify/filters.ts'
import { parseHeaders } from '../classify/headers.ts'
import { DamagedError, readInput } from '../classify/input.ts'
import { createMatcher, ENGINES, type EngineName } from '../classify/matcher.ts'
import { measure } from '../classify/measure.ts'
import { tuneCompiler } from '../compiler.ts'
import { createReport, summary } from '../classify/report.ts'
import type { Fault } from '../classify/scanner.ts'
import { fileIdentity } from './identity.ts'
import { checkOutputs, writeReport } from './outputs.ts'
import { Failure, STATUS } from './status.ts'
import { positive, seed } from './values.ts'

interface ClassifyFlags {
  answers?: string
  updates: number
  engine: EngineName
  batch: number
  rounds: number
  seed: number
  json?: true
}

const PROGRESS_MS = 100
const STDIN = 0, STDOUT = 1

export function registerClassify(program: Command): void {
  program.command('classify')
    .summary('measure the rule matcher on a ClassBench rule set')
    .description('Find the first matching rule for every packet header of a trace, and say how fast that goes.')
    .argument('<rules>', 'ClassBench filter set, IPv4, plain or gzip; - is standard input')
    .argument('<trace>', 'packet headers, plain or gzip; - is standard input')
    .option('--answers <file>', 'write the number of the first matching rule for each header, from 0, -1 for none (- is standard '
      + 'output)')
    .option('--updates <n>', 'delete and insert n random rules a second meanwhile, and measure that too', positive, 0)
    .addOption(new Option('--engine <name>', 'what looks up batches: the classifier in WebAssembly, or in TypeScript, as where '
      + 'there is none; linear looks at every rule in order: slow, to compare and to check with')
      .choices(ENGINES).default('wasm'))
    .option('--batch <n>', 'headers that are looked up in one call', positive, 256)
    .option('--rounds <n>', 'rounds of a tenth of a second, or of one pass over the trace if that takes longer', positive, 5)
    .option('--seed <n>', 'seed of hashes and of the rules that --updates chooses, 0 … 2^32-1', seed, 1)
    .option('--json', 'print the result for programs')
    .addHelpText('after', `
A rule is a line, the first has the highest priority:
  @192.0.2.0/24  198.51.100.7/32  0 : 65535  53 : 53  0x11/0xFF  0x0000/0x0000
that is source, destination, source and destination ports, protocol/mask, TCP flags/mask. A protocol mask is 0xFF (this
protocol) or 0x00 (any); another one is an error. TCP flags may be left out, and are ignored. A header is a line of decimal
numbers, source, destination, source port, destination port, protocol; what follows in the line is ignored:
  3221225985  3325256711  40000  53  17
Rates are medians over the rounds, in brackets the least and the greatest, by processor time; rules are entered once, by code
that is not compiled yet. Headers are taken in the order of the trace, and one thread searches. With errors in the rules the
exit status is 2, with one in the trace it is 3: what comes before it is measured.

Example:
  pinhole classify acl1_10k.rules.gz acl1_10k.trace.gz --updates 50000 --answers found.txt`)
    .action(run)
  const option = program.commands.at(-1)?.options.find(({ long }) => long === '--updates')
  if (option !== undefined) option.defaultValueDescription = 'none'
}

async function run(rulesFile: string, traceFile: string, flags: ClassifyFlags, command: Command): Promise<void> {
  const { answers: answersFile, updates: updatesPerSecond, engine, batch, rounds, seed, json = false } = flags
  if (rulesFile === '-' && traceFile === '-') throw new Failure(STATUS.usage, 'rules and trace cannot both come from -')
  if (json && answersFile === '-') throw new Failure(STATUS.usage, '--json and --answers cannot both go to standard output')
  checkAnswers(answersFile, rulesFile, traceFile)
  const filters = readRules(rulesFile)
  if (filters === null) return
  const headers = parseHeaders(readBytes(traceFile))
  const { fault } = headers
  if (fault !== null) {
    process.stderr.write(faultText(traceFile, fault))
    process.exitCode = STATUS.input
  }
  if (headers.count === 0) {
    if (fault === null) throw new Failure(STATUS.input, `${traceFile}: there is no header in it`)
    return
  }
  // By the clock on the wall: the compiler works beside it, and would count twice.
  const begin = performance.now(), matcher = createMatcher(engine, filters, seed), buildMs = performance.now() - begin
  tuneCompiler()
  const bar = await progressBar()
  const measured = measure(matcher, headers, {
    batch, rounds, updatesPerSecond, rules: filters.count, seed, clockMs, onProgress: bar?.show ?? null,
  })
  bar?.stop()
  const report = createReport({
    version: command.parent?.version() ?? 'unknown', rulesFile, traceFile, engine: matcher.engine, batch, rounds, seed,
    updatesPerSecond, rules: filters.count, buildMs, bytes: matcher.bytes(),
  }, measured)
  if (answersFile !== undefined) writeReport(answersFile, measured.answers.join('\n') + '\n')
  if (json) process.stdout.write(JSON.stringify({ ...report, fault }, null, 2) + '\n')
  else (answersFile === '-' ? process.stderr : process.stdout).write(summary(report) + '\n')
}

/** What this process has taken of the processors, so that a busy machine does not look like a slow one. */
function clockMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** The answers must not replace what they are found in. */
function checkAnswers(answers: string | undefined, rules: string, trace: string): void {
  if (answers === undefined) return
  const identity = fileIdentity(answers, STDOUT)
  for (const [path, what] of [[rules, 'the rules'], [trace, 'the trace']]) {
    if (identity !== null && identity === fileIdentity(path, STDIN)) {
      throw new Failure(STATUS.usage, `${answers} holds ${what}: write elsewhere`)
    }
  }
  checkOutputs({ capture: null, config: null }, [answers])
}

function readBytes(path: string): Uint8Array {
  try {
    return readInput(path)
  } catch (error) {
    if (error instanceof DamagedError) throw new Failure(STATUS.input, `${path}: ${error.message}`, { cause: error })
    throw new Failure(STATUS.usage, `cannot read ${path}: ${systemReason(error as Error)}`, { cause: error })
  }
}

/** Null: they have faults, and these have been told. */
function readRules(path: string): Filters | null {
  const filters = parseFilters(readBytes(path))
  if (filters.faults.length === 0) {
    if (filters.count > 0) return filters
    throw new Failure(STATUS.usage, `${path}: there is no rule in it`)
  }
  for (const fault of filters.faults) process.stderr.write(faultText(path, fault))
  process.exitCode = STATUS.usage
  return null
}

function faultText(path: string, { line, column, message }: Fault): string {
  return `${path}:${line}:${column}: ${message}\n`
}

/** A bar for a terminal, that begins when there is something to wait for; null elsewhere. */
async function progressBar(): Promise<{ show: (done: number, all: number) => void; stop: () => void } | null> {
  if (!process.stderr.isTTY) return null
  const { SingleBar } = await import('cli-progress')
  const bar = new SingleBar({
    format: '{bar} {percentage}% | {eta_formatted} left', hideCursor: true, clearOnComplete: true, stream: process.stderr,
  })
  let shownMs = 0
  return {
    show(done, all) {
      const now = Date.now()
      if (now - shownMs < PROGRESS_MS) return
      if (shownMs === 0) bar.start(all, 0)
      shownMs = now
      bar.setTotal(all)
      bar.update(done)
    },
    stop() { if (shownMs !== 0) bar.stop() },
  }
}
