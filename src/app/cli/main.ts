#!/usr/bin/env node
/** The `pinhole` program: reads the command line, hands over to a subcommand, turns what went wrong into a status. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { systemReason } from '../../phy/capture-error.ts'
import { tuneCompiler } from '../compiler.ts'
import { ConfigError } from '../config/load.ts'
import { registerBench } from './bench.ts'
import { registerCheck } from './check.ts'
import { registerClassify } from './classify.ts'
import { registerCtl } from './ctl.ts'
import { nameTheirHelp, speakAlike } from './help.ts'
import { registerInit } from './init.ts'
import { registerRecord } from './record.ts'
import { registerReplay } from './replay.ts'
import { registerRules } from './rules.ts'
import { registerRun } from './run.ts'
import { registerWhy } from './why.ts'
import { Failure, STATUS, STATUS_HELP, type Status } from './status.ts'

function createProgram(): Command {
  const program = new Command('pinhole')
    .description('A userspace NAT/firewall engine: forwards the packets of a capture as the box would.')
    .version(ownVersion(), '-V, --version')
    .option('--debug', 'show the stack of an error (also: PINHOLE_DEBUG=1)')
    .addHelpText('after', `
Examples:
  pinhole replay capture.pcapng --out-outside wan.pcapng --report report.json
  pinhole init -o pinhole.yaml && pinhole check pinhole.yaml
  pinhole replay capture.pcapng --config pinhole.yaml --pace original
  pinhole init --lab -o lab.yaml && pinhole run --simulate --config lab.yaml
${STATUS_HELP}`)
  speakAlike(program)
  registerReplay(program)
  registerRun(program)
  registerRecord(program)
  registerWhy(program)
  registerCheck(program)
  registerRules(program)
  registerInit(program)
  registerCtl(program)
  registerClassify(program)
  registerBench(program)
  nameTheirHelp(program)
  return program
}

/** The nearest package.json above: the bundle and the compiled sources lie at different depths. */
function ownVersion(): string {
  for (let up = 1; up < 6; up++) {
    try {
      const text = readFileSync(new URL('../'.repeat(up) + 'package.json', import.meta.url), 'utf8')
      const { name, version } = JSON.parse(text) as { name?: string; version?: string }
      if (name === 'pinhole' && version !== undefined) return version
    } catch {
      // Not here; look further up.
    }
  }
  return 'unknown'
}

function statusOf(error: unknown): Status {
  if (error instanceof Failure) return error.status
  if (error instanceof ConfigError) return STATUS.usage
  // Commander ends by throwing after --help and --version too; it has printed its message by then.
  if (error instanceof CommanderError) return error.exitCode === 0 ? STATUS.ok : STATUS.usage
  return STATUS.internal
}

function report(error: unknown, debug: boolean): void {
  process.exitCode = statusOf(error)
  if (error instanceof CommanderError) return
  const message = error instanceof Error ? error.message : String(error)
  const bug = process.exitCode === STATUS.internal && !debug ? ' (a bug; --debug shows where)' : ''
  // What we say ourselves may show a place in a text below it.
  const told = error instanceof Failure ? message : message.split('\n')[0]
  const text = error instanceof ConfigError ? message : `pinhole: ${told}${bug}`
  process.stderr.write(text + '\n')
  if (debug && error instanceof Error) process.stderr.write(`${error.stack}\n`)
}

function debugWanted(): boolean {
  return process.argv.includes('--debug') || !['', '0', undefined].includes(process.env.PINHOLE_DEBUG)
}

if (debugWanted()) process.setSourceMapsEnabled(true)
// A reader that closes our output early, as `head` does, has what it wants; what we write elsewhere still matters.
for (const [name, stream] of [['output', process.stdout], ['error', process.stderr]] as const) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return
    report(new Failure(STATUS.output, `cannot write standard ${name}: ${systemReason(error)}`, { cause: error }), debugWanted())
  })
}
process.on('uncaughtException', error => {
  report(error, debugWanted())
  process.exit()
})

// Node would open its debugger to whoever is on this machine.
process.on('SIGUSR1', () => { /* not here */ })
const program = createProgram()
// `classify` does so when its rules are entered: until then it would wait for the compiler.
program.hook('preAction', (_, command) => { if (command.name() !== 'classify') tuneCompiler() })
if (process.argv.length <= 2) {
  program.outputHelp({ error: true })
  process.exitCode = STATUS.usage
} else {
  try {
    await program.parseAsync()
  } catch (error) {
    report(error, debugWanted())
  }
}
