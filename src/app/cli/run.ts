/** `pinhole run`: the command line of a box that runs until it is told to stop. */
import { randomInt } from 'node:crypto'
import type { Command } from 'commander'
import type { Prefix } from '../../base/address.ts'
import { ConfigError, loadConfig } from '../config/load.ts'
import { createConfigReader } from '../run/config-reader.ts'
import { createRunReport, runSummary } from '../run/report.ts'
import { simulate, type SimulateOptions } from '../run/simulate.ts'
import { checkOutputs, writeReport } from './outputs.ts'
import { atLeastOnce, pace, prefixes, seed } from './values.ts'
import { Failure, STATUS } from './status.ts'

interface RunFlags {
  simulate?: true
  config?: string
  inside: Prefix[]
  pace: number
  loop: number
  seed?: number
  report?: string
  quiet?: true
}

export function registerRun(program: Command): void {
  program.command('run')
    .summary('run a box that agents can control')
    .description('Run a box until it is told to stop, with its doors open for MIDCOM agents.')
    .argument('[capture]', 'pcap or pcapng, plain or gzip: packets to forward; without it there are none')
    .option('--simulate', 'without interfaces: packets come from the capture, and go nowhere')
    .option('--config <file>', 'YAML configuration with midcom.enabled (pinhole init --lab prints one to try)')
    .option('--inside <prefix>', 'prefix of the inside network instead of those of the configuration, repeatable', prefixes, [])
    .option('--pace <pace>', 'max, original, or a factor such as 2x or 0.5x', pace, 1)
    .option('--loop <n>', 'play the capture n times, or forever', atLeastOnce, 1)
    .option('--seed <n>', 'seed of all random choices, 0 … 2^32-1; without it one is drawn', seed)
    .option('--report <file>', 'write a JSON report at the end (- is standard output)')
    .option('--quiet', 'do not log sessions')
    .addHelpText('after', `
A line that begins with "ready:" says that the doors are open, and which. SIGTERM and SIGINT tell agents that their sessions
end, and end the box with status 0 and a summary; a second signal ends it at once. SIGHUP reads the configuration again: what
agents may do counts from then on, and agents that are gone lose their sessions; firewall.rules count from then on, and flows that
they forbid end at once. Keys, doors and all other settings count from the next start.

Examples:
  pinhole init --lab -o lab.yaml && pinhole run --simulate --config lab.yaml
  pinhole run --simulate capture.pcap --loop forever --config lab.yaml`)
    .action(run)
  const option = program.commands.at(-1)?.options.find(({ long }) => long === '--pace')
  if (option !== undefined) option.defaultValueDescription = 'original'
}

async function run(capture: string | undefined, flags: RunFlags, command: Command): Promise<void> {
  if (flags.simulate !== true) {
    throw new Failure(STATUS.usage, 'live interfaces are not there yet: `pinhole run --simulate` runs a box without them')
  }
  if (flags.config === undefined) {
    throw new Failure(STATUS.usage, 'a configuration is needed: `pinhole init --lab -o lab.yaml` makes one for --config')
  }
  if (capture === '-') throw new Failure(STATUS.usage, 'the capture is read before the box starts: name a file')
  const config = loadConfig(flags.config)
  if (!config.midcom.enabled) {
    throw new Failure(STATUS.usage, `${flags.config}: midcom.enabled is false, so nobody could do anything with this box`)
  }
  checkOutputs({ capture: capture ?? null, config: flags.config }, [flags.report])
  const log = flags.quiet === true ? () => { /* asked for */ } : (line: string) => { process.stderr.write(`${line}\n`) }
  const options: SimulateOptions = {
    config, inside: flags.inside.length > 0 ? flags.inside : config.inside,
    seed: flags.seed ?? randomInt(2 ** 32), capture: capture ?? null,
    pace: flags.pace, loops: flags.loop, log,
  }
  const stopped = new Promise<void>((resolve) => {
    // Once: the second signal has its usual effect.
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  const simulation = await simulate(options)
  const reader = createConfigReader()
  let asked = 0
  const reload = async () => {
    if (flags.config === '-') return log('what came from standard input cannot be read again; the box goes on as it was')
    const mine = ++asked
    try {
      const next = await reader.read(flags.config!)
      // Read once more meanwhile.
      if (mine !== asked) return
      simulation.reload(next)
      log(`reloaded what ${next.midcom.agents.length} agents may do, and ${next.firewall.rules.length} firewall rules; keys, `
        + 'doors and all other settings count from the next start')
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      process.stderr.write(`${error.message}\npinhole: ${flags.config} is not used; the box goes on as it was\n`)
    }
  }
  const onHangup = () => { void reload() }
  process.on('SIGHUP', onHangup)
  process.stdout.write(`ready: ${simulation.doors.join(', ') || 'no door'}\n`)
  await stopped
  const result = await simulation.stop()
  process.off('SIGHUP', onHangup)
  reader.close()
  const report = createRunReport(options, result, { version: command.parent?.version() ?? 'unknown', configFile: flags.config })
  ;(flags.report === '-' ? process.stderr : process.stdout).write(runSummary(report) + '\n')
  if (flags.report !== undefined) writeReport(flags.report, JSON.stringify(report, null, 2) + '\n')
}
