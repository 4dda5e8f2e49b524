/** Processes that measure, and what the rows make of them. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Sample } from './result.ts'

// This file runs as build/native-bench/child.js.
export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const PINHOLE_FILE = 'dist/pinhole.js'
export const PINHOLE = join(ROOT, PINHOLE_FILE)

export interface Runner {
  ts: () => Promise<Sample>
  /** Null: there is no peer in C. */
  c: (() => Promise<Sample>) | null
  /** After the first round of both: what is different between their results, or null. */
  check: (() => string | null) | null
  /** What the peer is, or why there is none. */
  note?: string
  /** Why there is nothing to measure: the row stays without figures. */
  absent?: string
  /** Files that the programs read. */
  inputs?: readonly string[]
  end: () => void
}

/** Both programs take what they need from the environment alone; nothing of npm's goes in. */
export async function run(command: string, args: readonly string[]): Promise<{ stdout: string; wallMs: number }> {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = '', stderr = '', wallMs = 0
    child.stdout.setEncoding('utf8').on('data', text => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', text => { stderr = (stderr + text).slice(-2000) })
    child.on('error', reject)
    child.on('exit', () => { wallMs = performance.now() - start })
    child.on('close', (code, signal) => {
      if (code === 0) resolve({ stdout, wallMs })
      else reject(new Error(`${command} ${args[0]}: ${signal ?? `exit status ${code}`}: ${stderr.trim()}`))
    })
  })
}

export const node = (...args: string[]) => run(process.execPath, args)
