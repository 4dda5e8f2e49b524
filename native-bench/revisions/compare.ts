/**
 * `pinhole bench compare BASE HEAD`: builds both revisions with the harness of this checkout and measures them interleaved in one
 * job. For CI: exit status 1 on a regression.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Command, InvalidArgumentError, Option } from 'commander'
import { HELP } from '../../src/app/cli/help.ts'
import { ROOT } from '../child.ts'
import { digestOfFiles, roomyDirectory } from '../inputs.ts'
import { machineInfo } from '../result.ts'
import { allRows, type Row } from '../rows.ts'
import { createRunner, ENGINE_CHILD, engineCaptures } from '../runners.ts'
import { median } from '../statistics.ts'
import { checkOut, removeCheckOut, RevisionError, WORK_TREE, type Revision } from './checkout.ts'
import { hasValgrind, instructionsAPacket } from './instructions.ts'
import {
  actionBenchmark, COMPARISON_SCHEMA, comparisonReport, hasRegressed, markdown, type ComparedRow, type Comparison,
} from './report.ts'
import { createProcessors, type Processors } from './processors.ts'
import { measurePair, SLICES_FLAGS, type Turns } from './sliced.ts'
import { judgePairs, looks } from './verdict.ts'

const STATUS = { ok: 0, regressed: 1, usage: 2, failed: 3 } as const
const STATUS_HELP = `
BASE and HEAD are revisions of git; . is the work tree, with what is not committed. Both are built in work trees of their own,
with the benchmarks of this checkout, and removed at the end. Rows forward/ take turns of some milliseconds in two processes
at a time, the others run one after the other, both on one processor; a pair of processes is one quotient. It takes 12 pairs,
and more where those leave it open.

Exit status:
  0  no row regressed
  1  a row regressed
  2  the command line cannot be used, or a revision cannot be built
  3  a row failed`

/** Rows that say most about the packet path in the shortest time. */
const USUAL = ['forward/flows-16k-64b', 'forward/flows-16k-imix', 'forward/flows-1m-zipf-64b', 'open/new-flow',
  'replay/file-to-file']
const KINDS = new Set<Row['kind']>(['engine', 'newflow', 'replay', 'micro'])
const TURNS: Turns = { warmBatches: 6000, batches: 800, turns: 30 }
const QUICK_TURNS: Turns = { warmBatches: 2000, batches: 200, turns: 10 }
/** Passes of the shorter of two runs that are counted, and packets of their capture. */
const COUNTED_PASSES = 6, COUNTED_PACKETS = 50_000

interface Flags {
  only: string[]
  pairs: number
  effect: number
  count?: 'instructions'
  quick?: true
  json?: string
  markdown?: string
  benchmarkJson?: string
}

function whole(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError('A whole number from 1 to 9999 is needed.')
  return Number(text)
}

function percentage(text: string): number {
  const value = Number(text)
  if (!(value >= 2 && value <= 100)) throw new InvalidArgumentError('A number from 2 to 100 is needed.')
  return value / 100
}

const program = new Command('pinhole bench compare')
  .description('Compare the speed of two revisions, interleaved in one job.')
  .argument('<base>', 'revision to compare with')
  .argument('[head]', 'revision that is to be judged', WORK_TREE)
  .option('--only <prefix>', `rows whose name begins so, repeatable (default: ${USUAL.join(', ')})`,
    (text, all: string[]) => [...all, text], [])
  .option('--pairs <n>', 'pairs of processes for each row at the most, 12 at the least', whole, 36)
  .addOption(new Option('--effect <percent>', 'a change of so many per cent must not go unseen')
    .argParser(percentage).default(0.03, '3'))
  .addOption(new Option('--count <what>', 'count too, with valgrind, in rows forward/: no noise, and no caches')
    .choices(['instructions']))
  .option('--quick', 'small rows: does it run?')
  .option('--json <file>', 'write all samples')
  .option('--markdown <file>', 'write a summary for a pull request')
  .option('--benchmark-json <file>', 'write figures of HEAD for github-action-benchmark (customSmallerIsBetter)')
  .addHelpText('after', STATUS_HELP)
  .configureHelp(HELP)
  .configureOutput({ outputError: (text, write) => write(text) })
  .exitOverride(error => process.exit(error.exitCode === 0 ? STATUS.ok : STATUS.usage))
  .parse()
const flags = program.opts<Flags>()
// Bound once both are built: to build, all may be used.
let processors: Processors | null = null
const [baseName, headName] = program.processedArgs as [string, string]

const progress = (text: string) => { if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`) }

function fail(message: string): never {
  progress('')
  process.stderr.write(`bench compare: ${message}\n`)
  process.exit(STATUS.usage)
}

function digestOfTree(directory: string): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts')).sort()) {
    hash.update(name).update(readFileSync(join(directory, name)))
  }
  return hash.digest('hex')
}

/** One pair of processes: what base and head took, and the quotient. */
type Pair = { base: number; head: number; quotient: number; difference: string | null }

/** Until it is decided, or there are as many pairs as may be. */
async function decide(row: ComparedRow, pair: (n: number) => Promise<Pair>): Promise<void> {
  const bases: number[] = [], heads: number[] = []
  for (const most of looks(flags.pairs)) {
    while (row.quotients.length < most) {
      progress(`${row.name}: pair ${row.quotients.length + 1}`)
      processors?.next()
      const { base, head, quotient, difference } = await pair(row.quotients.length)
      bases.push(base)
      heads.push(head)
      row.quotients.push(quotient)
      row.difference ??= difference
    }
    row.judgement = judgePairs(row.quotients, flags.effect)
    if (row.judgement.verdict !== 'undecided') break
  }
  row.base = median(bases)
  row.head = median(heads)
}

async function compareRow(row: Row, base: Revision, head: Revision, directory: string): Promise<ComparedRow> {
  const compared: ComparedRow = {
    name: row.name, unit: row.unit, parameters: { ...row.parameters } as ComparedRow['parameters'], inputDigest: '', base: null,
    head: null, quotients: [], judgement: null, instructions: null, difference: null, error: null,
  }
  progress(`${row.name}: making its captures`)
  try {
    if (row.kind === 'engine') {
      const { paths, args } = engineCaptures(row.parameters, directory)
      compared.inputDigest = await digestOfFiles(paths)
      const programs = [join(base.root, ENGINE_CHILD), join(head.root, ENGINE_CHILD)] as const
      const turns = flags.quick === true ? QUICK_TURNS : TURNS
      // Each of the two begins as often on each processor.
      await decide(compared, n => measurePair(programs, args, turns, (n & 2) !== 0))
      if (flags.count === 'instructions') await count(compared, row.parameters, programs, directory)
    } else {
      const runners = [createRunner(row, directory, base.root), createRunner(row, directory, head.root)] as const
      compared.inputDigest = await digestOfFiles(runners[0].inputs ?? [])
      await decide(compared, async n => {
        const order = (n & 2) === 0 ? [0, 1] as const : [1, 0] as const
        const samples = { [order[0]]: await runners[order[0]].ts(), [order[1]]: await runners[order[1]].ts() }
        const [was, is] = [samples[0]!, samples[1]!]
        const isSame = isDeepStrictEqual(was.counts, is.counts)
        return {
          base: was.value, head: is.value, quotient: is.value / was.value,
          difference: isSame ? null : `${JSON.stringify(was.counts)}, then ${JSON.stringify(is.counts)}`,
        }
      })
      for (const runner of runners) runner.end()
    }
  } catch (error) {
    compared.error = (error as Error).message
  }
  progress('')
  return compared
}

async function count(
  compared: ComparedRow, p: Parameters<typeof engineCaptures>[0], [base, head]: readonly [string, string], directory: string,
): Promise<void> {
  progress(`${compared.name}: counting instructions, some minutes`)
  const argsOf = (passes: number) =>
    ['engine', ...engineCaptures({ ...p, packets: COUNTED_PACKETS, repeat: passes }, directory).args]
  const was = await instructionsAPacket(base, argsOf, COUNTED_PASSES), is = await instructionsAPacket(head, argsOf, COUNTED_PASSES)
  compared.instructions = { base: was, head: is, change: is / was - 1 }
}

function write(path: string | undefined, text: string): void {
  if (path === undefined) return
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

async function main(): Promise<number> {
  const wanted = flags.only.length === 0 ? USUAL : flags.only
  const rows = allRows(flags.quick === true).filter(({ name, kind }) => KINDS.has(kind)
    && wanted.some(prefix => name.startsWith(prefix) || name.startsWith(`micro/${prefix}`)))
  if (rows.length === 0) fail(`no row that can be compared begins with ${wanted.join(' or ')}; npm run bench -- --list names all`)
  if (flags.count !== undefined && !hasValgrind()) fail('--count needs valgrind: apt-get install valgrind')
  const directory = mkdtempSync(join(roomyDirectory(), 'pinhole-compare-'))
  const trees = [join(directory, 'base'), join(directory, 'head')] as const
  process.on('exit', () => {
    for (const tree of trees) removeCheckOut(ROOT, tree)
    rmSync(directory, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))
  progress('building both revisions')
  let base: Revision, head: Revision
  try {
    base = checkOut(ROOT, baseName, trees[0])
    head = checkOut(ROOT, headName, trees[1])
  } catch (error) {
    if (error instanceof RevisionError) fail(error.message)
    throw error
  }
  processors = createProcessors()
  const comparison: Comparison = {
    schema: COMPARISON_SCHEMA, when: new Date().toISOString(), base: { name: base.name, commit: base.commit },
    head: { name: head.name, commit: head.commit },
    passport: {
      machine: machineInfo(), node: process.version, v8: process.versions.v8, flags: [...process.execArgv, ...SLICES_FLAGS],
      harnessDigest: digestOfTree(join(ROOT, 'native-bench')),
    },
    effect: flags.effect, rows: [],
    notes: [
      ...[base, head].filter(({ hasOwnPackages }) => hasOwnPackages)
        .map(({ name }) => `${name} has other packages than this checkout: its own were installed`),
      ...processors === null ? ['processes could not be bound to one processor (taskset): intervals are wider for it'] : [],
    ],
  }
  for (const row of rows) comparison.rows.push(await compareRow(row, base, head, directory))
  console.log(comparisonReport(comparison))
  write(flags.json, JSON.stringify(comparison, null, 2) + '\n')
  write(flags.markdown, markdown(comparison))
  write(flags.benchmarkJson, JSON.stringify(actionBenchmark(comparison), null, 2) + '\n')
  if (comparison.rows.some(({ error }) => error !== null)) return STATUS.failed
  return comparison.rows.some(hasRegressed) ? STATUS.regressed : STATUS.ok
}

process.exitCode = await main()
