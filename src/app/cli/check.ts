/** `pinhole check`: says what is wrong with configuration files, and where. Findings go to stdout, as a linter's do. */
import type { Command } from 'commander'
import { digest } from '../config/config.ts'
import { checkConfig, ConfigError, folderOf, problemText, readText, type Checked } from '../config/load.ts'
import { SCHEMA } from '../config/schema.ts'
import { checkAgainst, type AgainstFlags } from './check-against.ts'
import { STATUS } from './status.ts'
import { prefixes } from './values.ts'

type CheckFlags = Omit<AgainstFlags, 'against'> & { against?: string; schema?: boolean }

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
    .option('--against <capture>',
      'what the one file would change for the flows of this capture, and which of its firewall rules do nothing')
    .option('--config <file>', 'with --against: the configuration that counts now (default: the default settings)')
    .option('--inside <prefix>', 'with --against: prefix of the inside network instead of those of either file, repeatable',
      prefixes, [])
    .option('--schema', 'print the JSON Schema of the configuration, for editors')
    .addHelpText('after', `
Examples:
  pinhole check pinhole.yaml
  pinhole init | pinhole check -
  pinhole check --schema > pinhole.schema.json
  pinhole check --against office.pcapng new.yaml --config pinhole.yaml

Status 0: nothing is wrong. 1: something is. 2: a file cannot be read, whatever is wrong with others.
With --against both configurations forward the capture, each as if it had counted from the first packet on; by which side a packet
comes, its source tells. Status 1 tells that a flow would change, or that a rule can never decide; 3 that the capture is damaged. A
rule is shadowed if rules before it match all that it could match, whatever packets come; a rule without a packet of this capture is
told too, and changes no status.`)
    .action(async (files: string[], options: CheckFlags, command: Command) => {
      if (options.schema === true) {
        if (files.length > 0) command.error('error: --schema takes no files')
        process.stdout.write(schemaText())
        return
      }
      if (files.length === 0) command.error("error: missing required argument 'file'")
      const { against } = options
      if (against !== undefined) {
        if (files.length > 1) command.error('error: --against takes one file')
        return checkAgainst(files[0]!, { ...options, against })
      }
      if (options.config !== undefined || options.inside.length > 0) command.error('error: --config and --inside go with --against')
      const reports = files.map(checkFile)
      // Whoever cannot read a file knows nothing of what is in it.
      if (reports.some(({ error }) => error !== null)) process.exitCode = STATUS.usage
      else if (reports.some(({ ok }) => !ok)) process.exitCode = STATUS.found
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
