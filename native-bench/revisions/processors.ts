/**
 * Two processes that are compared have to run on the same processor: the one beside it may be slowed down for seconds by what else
 * the computer does, and then all quotients of a pair are wrong the same way. (Measured on two shared virtual cores: pairs of
 * processes of one program differ by 0.6 % r.m.s. on one processor, by 5 % on whichever the system chooses.)
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

export interface Processors {
  /** Of this process and those that it starts from now on: the next one of those that it may use, in turn. */
  next(): void
}

/** @param list as `0-2,5` in Cpus_allowed_list of /proc/self/status */
export function numbersOf(list: string): number[] {
  return list.trim().split(',').flatMap(part => {
    const [first, last = first] = part.split('-').map(Number) as [number, number?]
    return Array.from({ length: last - first + 1 }, (_, n) => first + n)
  })
}

/** Null: the system has no `taskset`, or does not let processes be bound. */
export function createProcessors(): Processors | null {
  let numbers: number[]
  const bind = (number: number) => {
    execFileSync('taskset', ['--pid', '--cpu-list', `${number}`, `${process.pid}`], { stdio: ['ignore', 'ignore', 'pipe'] })
  }
  try {
    numbers = numbersOf(/^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!)
    bind(numbers[0]!)
  } catch {
    return null
  }
  let at = 0
  return {
    next() {
      bind(numbers[at]!)
      at = (at + 1) % numbers.length
    },
  }
}
