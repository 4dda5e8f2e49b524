/** `pinhole bench report`: results as one HTML file. */
import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { systemReason } from '../../src/phy/capture-error.ts'
import { readResult, type BenchResult } from '../result.ts'
import { page } from './page.ts'

const STATUS = { ok: 0, usage: 2, output: 4 } as const

const program = new Command('pinhole bench report')
  .description('Draw results of the benchmarks into one HTML file that needs nothing else.')
  .argument('[results...]', 'files that npm run bench has written; the last one by its time is shown, all are the history',
    ['.bench/latest.json'])
  .option('-o, --output <file>', 'where the page goes, - is standard output', 'bench.html')
  .addHelpText('after', '\nExit status:\n  0  done\n  2  a file cannot be read, or is no result\n  4  the page cannot be written')
  .configureOutput({ outputError: (text, write) => write(text) })
  .exitOverride(error => process.exit(error.exitCode === 0 ? STATUS.ok : STATUS.usage))
  .parse()

function fail(status: number, message: string): never {
  process.stderr.write(`bench report: ${message}\n`)
  process.exit(status)
}

function read(file: string): BenchResult {
  try {
    return readResult(file)
  } catch (error) {
    fail(STATUS.usage, (error as Error).message)
  }
}

const { output } = program.opts<{ output: string }>(), html = page((program.processedArgs[0] as string[]).map(read))
try {
  writeFileSync(output === '-' ? 1 : output, html)
} catch (error) {
  fail(STATUS.output, `cannot write ${output}: ${systemReason(error as NodeJS.ErrnoException)}`)
}
