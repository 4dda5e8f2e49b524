/** `pinhole init`: prints a configuration to begin with. */
import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { systemReason } from '../../phy/capture-error.ts'
import { labTemplate, template } from '../config/template.ts'
import { Failure, STATUS } from './status.ts'

export function registerInit(program: Command): void {
  program.command('init')
    .summary('print a commented configuration')
    .description('Print a configuration with every setting at its default, under a comment that explains it.')
    .option('-o, --output <file>', 'write it to a file, which must not exist')
    .option('--lab', 'a box to try MIDCOM agents on: SIMCO on 127.0.0.1:7626 without keys, SNMPv3 on 127.0.0.1:1161')
    .option('--force', 'with --output: overwrite the file')
    .addHelpText('after', `
Examples:
  pinhole init | less
  pinhole init -o pinhole.yaml
  pinhole init --lab -o lab.yaml && pinhole run --simulate --config lab.yaml`)
    .action(({ output, lab, force }: { output?: string; lab?: boolean; force?: boolean }) => {
      const text = lab === true ? labTemplate() : template()
      if (output === undefined || output === '-') {
        process.stdout.write(text)
        return
      }
      try {
        writeFileSync(output, text, { flag: force === true ? 'w' : 'wx' })
      } catch (error) {
        const cause = error as NodeJS.ErrnoException
        if (cause.code === 'EEXIST') throw new Failure(STATUS.output, `${output} exists; --force overwrites it`)
        throw new Failure(STATUS.output, `cannot write ${output}: ${systemReason(cause)}`, { cause })
      }
    })
}
