/**
 * `npm run bench`: the packet path against the C program of `baseline/`, finding rules against DPDK and tuple merge in C++, and
 * the doors of agents against redis-server, in one run, round by round. Each figure comes from a process of its own; in every
 * round all programs run one after the other, so that what disturbs the machine disturbs all.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Command, InvalidArgumentError } from 'commander'
import { HELP } from '../src/app/cli/help.ts'
import { checkOutputs } from '../src/app/cli/outputs.ts'
import { systemReason } from '../src/phy/capture-error.ts'
import type { Runner } from './child.ts'
import { digestOfFiles, roomyDirectory } from './inputs.ts'
import { changedParameters, compareResults, obstacles } from './compare.ts'
import { LOAD_DIRECTORY } from './midcom/load.ts'
import { SNMP_DIRECTORY } from './snmp/runners.ts'
import { newResult, readResult, rowResult, type BenchResult, type Sample } from './result.ts'
import { allRows, type Row } from './rows.ts'
import { BASELINE_DIRECTORY, createRunner } from './runners.ts'
import { comparisonText, resultText, targetsText } from './table.ts'
import { judgeTargets } from './targets.ts'

const STATUS = { ok: 0, found: 1, usage: 2, failed: 3 } as const
const STATUS_HELP = `
Rows are named <what>/<size or mix>; --only takes the beginning of a name, without or with "micro/".

Exit status:
  0  done
  1  --compare: a row regressed; --targets: a target is missed
  2  the command line cannot be used, or the old result cannot be compared
  3  a row failed: a program broke down, or the two did not do the same`

interface Flags {
  only: string[]
  rounds?: number
  quick?: true
  json: string
  compare?: string
  targets?: true
  list?: true
}

function whole(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError('A whole number from 1 to 9999 is needed.')
  return Number(text)
}

const program = new Command('bench')
  .description('Measure the packet path and the doors of agents, alternately with the same work in C.')
  .option('--only <prefix>', 'rows whose name begins so, repeatable', (text, all: string[]) => [...all, text], [])
  .option('--rounds <n>', 'rounds of each row (default: 7, with --quick 3)', whole)
  .option('--quick', 'small rows, few rounds: does it run?')
  .option('--json <file>', 'where the result goes', '.bench/latest.json')
  .option('--compare <file>', 'an earlier result: say what regressed and improved since')
  .option('--targets', 'hold the figures against the targets of the project')
  .option('--list', 'name the rows and end')
  .addHelpText('after', STATUS_HELP)
  .configureHelp(HELP)
  .configureOutput({ outputError: (text, write) => write(text) })
  .exitOverride(error => process.exit(error.exitCode === 0 ? STATUS.ok : STATUS.usage))
  .parse()
const flags = program.opts<Flags>()

function fail(message: string): never {
  process.stderr.write(`bench: ${message}\n`)
  process.exit(STATUS.usage)
}

/** The name of the compiler that made the baseline, or null with a word on why there is none. */
function buildBaseline(): string | null {
  const compiler = process.env['CC'] ?? 'cc'
  let version: string
  try {
    const text = execFileSync(compiler, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    version = text.split('\n')[0]
  } catch {
    process.stderr.write(`bench: there is no C compiler (${compiler}): only the TypeScript side is measured\n`)
    return null
  }
  try {
    for (const directory of [BASELINE_DIRECTORY, LOAD_DIRECTORY, SNMP_DIRECTORY]) {
      execFileSync('make', ['-s', '-C', directory], { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
    }
  } catch (error) {
    const why = (error as Error).message
    process.stderr.write(`bench: the C program cannot be built, only the TypeScript side is measured: ${why}\n`)
    return null
  }
  return version
}

const progress = (text: string) => { if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`) }

/** What the two programs counted differently in the same round. */
function disagreement(ts: Sample, c: Sample): string | null {
  const keys = Object.keys(ts.counts)
    .filter(key => key in c.counts && !isDeepStrictEqual(ts.counts[key], c.counts[key]))
  if (keys.length === 0) return null
  const shown = keys.map(key => `${key} ${JSON.stringify(ts.counts[key])}, in C ${JSON.stringify(c.counts[key])}`)
  return `the two programs differ: ${shown.join('; ')}`
}

async function measure(row: Row, rounds: number, withC: boolean, directory: string) {
  const ts: Sample[] = [], c: Sample[] = []
  let error: string | null = null, inputDigest: string | null = null
  let runner: Runner | null = null
  try {
    progress(`${row.name}: making its captures`)
    runner = createRunner(row, directory)
    if (runner.absent !== undefined) return rowResult(row, [], [], null, runner.absent)
    if (runner.inputs !== undefined) inputDigest = await digestOfFiles(runner.inputs)
    for (let round = 0; round < rounds && error === null; round++) {
      progress(`${row.name}: round ${round + 1} of ${rounds}`)
      ts.push(await runner.ts())
      if (runner.c === null || !withC) continue
      c.push(await runner.c())
      error = disagreement(ts[round], c[round])
      if (round === 0 && error === null && runner.check !== null) error = runner.check()
    }
  } catch (problem) {
    error = (problem as Error).message
  } finally {
    runner?.end()
    progress('')
  }
  return rowResult(row, ts, c, error, runner?.note ?? null, inputDigest)
}

function readOld(path: string): BenchResult {
  try {
    return readResult(path)
  } catch (error) {
    fail((error as Error).message)
  }
}

async function main(): Promise<number> {
  const quick = flags.quick === true
  const rows = allRows(quick).filter(({ name }) => flags.only.length === 0
    || flags.only.some(prefix => name.startsWith(prefix) || name.startsWith(`micro/${prefix}`)))
  if (rows.length === 0) fail(`no row begins with ${flags.only.join(' or ')}; --list names them`)
  if (quick && flags.targets === true) fail('the targets are for the full rows: --targets without --quick')
  if (flags.list === true) {
    console.log(rows.map(({ name, parameters }) => `${name} ${JSON.stringify(parameters)}`).join('\n'))
    return STATUS.ok
  }
  const rounds = flags.rounds ?? (quick ? 3 : 7)
  const old = flags.compare === undefined ? null : readOld(flags.compare)
  try {
    // Before an hour is spent on it.
    mkdirSync(dirname(flags.json), { recursive: true })
    checkOutputs({ capture: null, config: null }, [flags.json])
  } catch (error) {
    fail(`${flags.json}: ${systemReason(error as NodeJS.ErrnoException)}`)
  }
  const compiler = buildBaseline()
  const result = newResult(rounds, quick, compiler)
  if (old !== null) {
    // Before, too.
    const named = { ...result, rows: rows.map(row => rowResult(row, [], [], null)) }
    const why = [...obstacles(old, result), ...changedParameters(old, named)]
    if (why.length > 0) fail(`${flags.compare} cannot be compared:\n  ${why.join('\n  ')}`)
  }
  const directory = mkdtempSync(join(roomyDirectory(), 'pinhole-bench-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))
  for (const row of rows) result.rows.push(await measure(row, rounds, compiler !== null, directory))

  writeFileSync(flags.json, JSON.stringify(result, null, 2) + '\n')
  console.log(resultText(result))
  let status: number = STATUS.ok
  if (flags.targets === true) {
    const targets = judgeTargets(result.rows)
    console.log('\n' + targetsText(targets))
    if (targets.some(({ passed, figure }) => !passed && figure !== null)) status = STATUS.found
  }
  if (old !== null) {
    const compared = compareResults(old, result)
    console.log('\n' + comparisonText(compared.filter(({ verdict }) => verdict !== 'gone' || flags.only.length === 0)))
    if (compared.some(({ verdict }) => verdict === 'regressed')) status = STATUS.found
  }
  return result.rows.some(({ error }) => error !== null) ? STATUS.failed : status
}

process.exitCode = await main()
