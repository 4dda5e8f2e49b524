/** The C programs of `bench:live`: who sends, and the yardstick. */
import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'

const FLAGS = {
  blast: ['-O2'],
  /** As the yardstick of the other rows (baseline/Makefile). */
  forward: ['-O3', '-march=native', '-std=gnu11'],
}

/** Builds a program into a directory; its path. @throws Error with what the compiler says */
export function compile(program: keyof typeof FLAGS, directory: string): string {
  const path = join(directory, program), source = resolve('native-bench/live', `${program}.c`)
  const flags = [...FLAGS[program], '-Wall', '-Wextra']
  const { status, stderr, error } = spawnSync(process.env['CC'] ?? 'cc', [...flags, '-o', path, source], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${source}: ${error?.message ?? stderr}`)
  return path
}
