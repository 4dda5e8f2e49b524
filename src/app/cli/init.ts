/** `pinhole init`: prints a configuration to begin with. */
import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { template } from '../config/template.ts'
import { Failure, STATUS } from './status.ts'

export function registerInit(program: Command): void {
  program.command('init')
    .summary('print a commented configuration')
    .description('Print a configuration with every setting at its default, under a comment that explains it.')
    .option('-o, --output <file>', 'write it to a file, which must not exist')
    .option('--force', 'with --output: overwrite the file')
    .addHelpText('after', `
Examples:
  pinhole init | less
  pinhole init -o pinhole.yaml`)
    .action(({ output, force }: { output?: string; force?: boolean }) => {
      if (output === undefined || output === '-') {
        process.stdout.write(template())
        return
      }
      try {
        writeFileSync(output, template(), { flag: force === true ? 'w' : 'wx' })
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        if (code === 'EEXIST') throw new Failure(STATUS.output, `${output} exists; --force overwrites it`)
        throw new Failure(STATUS.output, message, { cause: error })
      }
    })
}
