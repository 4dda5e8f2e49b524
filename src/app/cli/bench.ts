/**
 * `pinhole bench`: the benchmarks of a checkout. They are not part of the package, as they compile C and build revisions; so this
 * runs those of the folder that one stands in.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Command } from 'commander'
import { nearest } from '../config/nearest.ts'
import { Failure, STATUS, type Status } from './status.ts'

const BENCHMARKS = 'build/native-bench'
const SCRIPTS: Record<string, string> = { compare: 'revisions/compare.js', report: 'report/main.js' }

export function registerBench(program: Command): void {
  program.command('bench')
    .summary('run the benchmarks of a checkout, or compare two revisions')
    .description('Run the benchmarks of the checkout of Pinhole that the current folder lies in.')
    .argument('[arguments...]', 'compare <base> [head], report <results...>, or options of npm run bench')
    // Help is the business of what is run.
    .helpOption(false)
    .allowUnknownOption()
    .addHelpText('after', `
Examples:
  pinhole bench --only forward/ --targets
  pinhole bench compare origin/main --markdown summary.md
  pinhole bench compare v1.0 v1.1 --count instructions
  pinhole bench report .bench/*.json -o bench.html

"pinhole bench --help", "pinhole bench compare --help" and "pinhole bench report --help" tell the options.`)
    .action(run)
}

/** The checkout above this folder. @throws Failure if there is none, or it is not built. */
function checkout(): string {
  for (let at = process.cwd(); ; at = dirname(at)) {
    const file = join(at, 'package.json')
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'pinhole') {
      if (existsSync(join(at, BENCHMARKS))) return at
      throw new Failure(STATUS.usage, existsSync(join(at, 'native-bench')) ? `the benchmarks in ${at} are not built: npm run build`
        : `${at} is no checkout: the package has no benchmarks`)
    }
    if (dirname(at) !== at) continue
    throw new Failure(STATUS.usage, 'this folder is in no checkout of Pinhole: the package has no benchmarks')
  }
}

/** Elsewhere than in a checkout, what there would be to run is all that help can tell. */
function checkoutOrHelp(command: Command): string {
  try {
    return checkout()
  } catch (error) {
    if (error instanceof Failure) command.help()
    throw error
  }
}

async function run(args: string[], _flags: object, command: Command): Promise<void> {
  const [first = ''] = args, isHelp = args.some((arg) => arg === '--help' || arg === '-h')
  if (first !== '' && !first.startsWith('-') && !Object.hasOwn(SCRIPTS, first)) {
    const meant = nearest(first, Object.keys(SCRIPTS))
    command.error(`error: bench has no '${first}': it takes ${Object.keys(SCRIPTS).join(', ')}, or options such as --only`
      + (meant === null ? '' : `\n(Did you mean ${meant}?)`))
  }
  const root = isHelp ? checkoutOrHelp(command) : checkout(), script = SCRIPTS[first]
  const rest = script === undefined ? args : args.slice(1)
  const child = spawn(process.execPath, [join(root, BENCHMARKS, script ?? 'bench.js'), ...rest], { stdio: 'inherit' })
  // It ends by itself, and removes what it has made.
  const wait = () => { /* the terminal has told it too */ }
  process.on('SIGINT', wait)
  const end = () => { child.kill('SIGTERM') }
  process.on('SIGTERM', end)
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject).once('exit', (...ended) => resolve(ended))
  })
  process.off('SIGINT', wait)
  process.off('SIGTERM', end)
  process.exitCode = (code ?? (signal === 'SIGTERM' ? STATUS.terminated : STATUS.interrupted)) as Status
}
