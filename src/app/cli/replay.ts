/** `pinhole replay`: the command line of the replay. */
import { InvalidArgumentError, type Command } from 'commander'
import { Failure, STATUS } from './status.ts'

export function registerReplay(program: Command): void {
  program.command('replay')
    .summary('forward the packets of a capture')
    .description('Forward every packet of a capture as the box would, and write what left the box.')
    .argument('<capture>', 'pcap or pcapng, plain or gzip; - is standard input')
    .option('--config <file>', 'YAML configuration')
    .option('--inside <prefix>', 'prefix of the inside network, repeatable', collect, [])
    .option('--inside-if <name>', 'capture interface that is the inside, instead of prefixes')
    .option('--out-outside <file>', 'write what left towards outside (pcapng)')
    .option('--out-inside <file>', 'write what left towards inside (pcapng)')
    .option('--report <file>', 'write a JSON report')
    .option('--pace <pace>', 'max, original or a factor such as 2x', 'max')
    .option('--loop <n>', 'replay n times', wholeNumber, 1)
    .option('--seed <n>', 'seed of all random choices', wholeNumber, 1)
    .option('--preload', 'read the capture into memory first')
    .action(() => { throw new Failure(STATUS.internal, 'replay is not there yet') })
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('A whole number is needed.')
  return Number(text)
}
