/** `pinhole check`: says what is wrong with configuration files, and where. Findings go to stdout, as a linter's do. */
import type { Command } from 'commander'
import { digest } from '../config/config.ts'
import { checkConfig, ConfigError, folderOf, problemText, readText, type Checked } from '../config/load.ts'
import { SCHEMA } from '../config/schema.ts'
import { STATUS } from './status.ts'

/** A line of the JSON report. `error` is set when the file could not be read. */
interface FileReport {
  file: string
  ok: boolean
  digest: string | null
  error: string | null
  problems: Checked['problems']
}

export function registerCheck(program: Command): void {
  program.command('check')
    .summary('check configuration files')
    .description('Check configuration files. Each error is printed as file:line:column: message; suggestion.')
    .argument('[file...]', 'YAML files; - is standard input')
    .option('--json', 'print a JSON report instead')
    .option('--schema', 'print the JSON Schema of the configuration, for editors')
    .addHelpText('after', `
Examples:
  pinhole check pinhole.yaml
  pinhole init | pinhole check -
  pinhole check --schema > pinhole.schema.json`)
    .action((files: string[], options: { json?: boolean; schema?: boolean }, command: Command) => {
      if (options.schema === true) {
        if (files.length > 0) command.error('error: --schema takes no files')
        process.stdout.write(schemaText())
        return
      }
      if (files.length === 0) command.error("error: missing required argument 'file'")
      const reports = files.map(checkFile)
      if (reports.some(({ ok }) => !ok)) process.exitCode = STATUS.found
      process.stdout.write(options.json === true
        ? JSON.stringify({ version: 1, ok: reports.every(({ ok }) => ok), files: reports }, null, 2) + '\n'
        : reports.map(reportText).join(''))
    })
}

/** The schema as it is printed and as it stands in docs/. */
export function schemaText(): string {
  return JSON.stringify(SCHEMA, null, 2) + '\n'
}

function checkFile(file: string): FileReport {
  try {
    const { config, problems } = checkConfig(readText(file), folderOf(file))
    return { file, ok: config !== null, digest: config === null ? null : digest(config), error: null, problems }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { file, ok: false, digest: null, error: error.message, problems: [] }
  }
}

function reportText({ file, ok, error, problems }: FileReport): string {
  const lines = ok ? [`${file}: ok`] : error !== null ? [error] : problems.map(problem => problemText(file, problem))
  return lines.join('\n') + '\n'
}
