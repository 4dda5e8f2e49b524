/**
 * Instructions a packet, counted by valgrind: no noise of the machine is in them, but neither are caches and branches. V8 runs on
 * one thread, with fixed seeds, so that it compiles the same at the same places; what is left of starting and compiling goes when
 * a longer run is taken less a shorter one.
 */
import { spawnSync } from 'node:child_process'
import { run } from '../child.ts'

const NODE_FLAGS = ['--single-threaded', '--predictable', '--hash-seed=1', '--random-seed=1']
// Code that the compiler writes anew must be translated anew.
const VALGRIND = ['--tool=cachegrind', '--cache-sim=no', '--cachegrind-out-file=/dev/null',
  '--smc-check=all-non-file', '--log-fd=1']

export function hasValgrind(): boolean {
  return spawnSync('valgrind', ['--version'], { stdio: 'ignore' }).status === 0
}

interface Counted { instructions: number; packets: number }

async function counted(file: string, args: readonly string[]): Promise<Counted> {
  const { stdout } = await run('valgrind', [...VALGRIND, process.execPath, ...NODE_FLAGS, file, ...args])
  const instructions = Number(/I\s+refs:\s+([\d,]+)/.exec(stdout)?.[1]?.replaceAll(',', ''))
  const packets = Number(/"packets":(\d+)/.exec(stdout)?.[1])
  if (!(instructions > 0 && packets > 0)) throw new Error(`valgrind says no count: ${stdout.slice(-300)}`)
  return { instructions, packets }
}

/**
 * @param argsOf arguments of an engine-child for so many passes over its capture
 * @returns instructions a packet of passes that the compiler has behind it
 */
export async function instructionsAPacket(file: string, argsOf: (passes: number) => string[], passes: number): Promise<number> {
  const few = await counted(file, argsOf(passes)), many = await counted(file, argsOf(2 * passes))
  return (many.instructions - few.instructions) / (many.packets - few.packets)
}
