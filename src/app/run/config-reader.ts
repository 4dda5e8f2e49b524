/** Reads a configuration again while packets flow: another thread parses and checks it, and hands it over in small pieces. */
import { Worker } from 'node:worker_threads'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import type { Config } from '../config/config.ts'
import { ConfigError } from '../config/load.ts'

export interface Question { id: number; path: string }
export type Answer =
  | { id: number; rules: FirewallRule[] }
  | { id: number; config: Config }
  | { id: number; fault: Pick<ConfigError, 'code' | 'file' | 'problems' | 'message'> }
  /** The system, or a bug of ours. */
  | { id: number; failure: string }

/** Unpacked in well under a tenth of a millisecond. */
export const RULES_IN_MESSAGE = 32

export interface ConfigReader {
  /** Rejects with `ConfigError`, or another error if it could not be read for want of a thread, of memory and the like. */
  read(path: string): Promise<Config>
  close(): void
}

/** @param thread for tests: another one */
export function createConfigReader(thread = THREAD): ConfigReader {
  interface Waiting { rules: FirewallRule[]; resolve: (config: Config) => void; reject: (error: Error) => void }
  const waiting = new Map<number, Waiting>()
  let last = 0
  /** null: there is none, and the next question starts another one. */
  let worker: Worker | null = null

  function hear(answer: Answer): void {
    const one = waiting.get(answer.id)
    if (one === undefined) return
    if ('rules' in answer) {
      for (const rule of answer.rules) one.rules.push(rule)
      return
    }
    waiting.delete(answer.id)
    if ('failure' in answer) one.reject(new Error(answer.failure))
    else if ('fault' in answer) {
      const { code, file, problems, message } = answer.fault
      one.reject(new ConfigError(code, file, problems, message))
    } else one.resolve({ ...answer.config, firewall: { ...answer.config.firewall, rules: one.rules } })
  }

  function start(): Worker {
    const mine = new Worker(thread)
    mine.unref()
    const lose = (error: unknown) => {
      if (worker !== mine) return
      worker = null
      for (const one of waiting.values()) one.reject(error instanceof Error ? error : new Error(String(error)))
      waiting.clear()
    }
    mine.on('message', hear)
    mine.on('error', lose)
    mine.on('exit', () => { lose(new Error('the thread that reads configurations has ended')) })
    return mine
  }

  return {
    read: (path) => new Promise((resolve, reject) => {
      worker ??= start()
      const id = ++last
      waiting.set(id, { rules: [], resolve, reject })
      worker.postMessage({ id, path } satisfies Question)
    }),
    close() { void worker?.terminate() },
  }
}

/** Beside this file once compiled, and beside the bundle. */
const THREAD = new URL('./config-thread.js', import.meta.url)
