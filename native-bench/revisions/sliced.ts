/**
 * Two machines that take turns: each is a process that works for a few milliseconds when it is told to, so that whatever slows the
 * computer down slows both. A pair of processes gives one quotient, the median over its turns; as the compiler decides otherwise
 * from process to process, and memory lies elsewhere, it takes several pairs.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { isDeepStrictEqual } from 'node:util'
import { median } from '../statistics.ts'

export interface Turns {
  /** Batches before any count: the compiler settles. */
  warmBatches: number
  /** Batches of a turn, and turns of each of the two. */
  batches: number
  turns: number
}

export interface PairResult {
  base: number
  head: number
  /** Median of the quotients of turns that followed each other. */
  quotient: number
  /** What the two counted differently; null: nothing. */
  difference: string | null
}

const STDERR_CHARS = 2000
/** Code is compiled where the program stands, not whenever another thread is done: both come to the same code more often. */
export const SLICES_FLAGS = ['--single-threaded']

class SlicedChild {
  private readonly child: ChildProcessWithoutNullStreams
  private readonly lines: AsyncIterator<string>
  private stderr = ''

  constructor(command: string, args: readonly string[]) {
    this.child = spawn(command, args)
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => { this.stderr = (this.stderr + text).slice(-STDERR_CHARS) })
    // A child that ended is found out by reading from it.
    this.child.stdin.on('error', () => { /* see `line` */ })
    this.lines = createInterface(this.child.stdout)[Symbol.asyncIterator]()
    this.child.on('error', error => { this.stderr = error.message })
  }

  private async line(): Promise<string> {
    const { value, done } = await this.lines.next()
    if (done === true) throw new Error(`the machine ended: ${this.stderr.trim()}`)
    return value
  }

  /** Nanoseconds a packet, the median over so many batches. */
  async work(batches: number): Promise<number> {
    this.child.stdin.write(`${batches}\n`)
    const line = await this.line(), value = Number(line)
    if (!(value > 0)) throw new Error(`the machine says ${line.slice(0, 80)}`)
    return value
  }

  async counts(): Promise<Record<string, unknown>> {
    this.child.stdin.end()
    return JSON.parse(await this.line()) as Record<string, unknown>
  }

  end(): void { this.child.kill('SIGKILL') }
}

/**
 * @param programs files that understand `slices`, with `args` behind it: base, head
 * @param isHeadFirst which is started, and begins: to be alternated
 */
export async function measurePair(
  programs: readonly [base: string, head: string], args: readonly string[], { warmBatches, batches, turns }: Turns,
  isHeadFirst: boolean,
): Promise<PairResult> {
  const start = (file: string) => new SlicedChild(process.execPath, [...SLICES_FLAGS, file, 'slices', ...args])
  const first = start(programs[isHeadFirst ? 1 : 0]), second = start(programs[isHeadFirst ? 0 : 1])
  const [base, head] = isHeadFirst ? [second, first] : [first, second]
  try {
    for (const one of [first, second]) await one.work(warmBatches)
    const bases: number[] = [], heads: number[] = []
    for (let turn = 0; turn < turns; turn++) {
      // In turns who is first: what comes second may profit, or suffer, from what was first.
      const isBaseNow = (turn % 2 === 0) !== isHeadFirst
      if (isBaseNow) bases.push(await base.work(batches))
      heads.push(await head.work(batches))
      if (!isBaseNow) bases.push(await base.work(batches))
    }
    const [was, is] = [await base.counts(), await head.counts()]
    const different = Object.keys(was).filter(key => !isDeepStrictEqual(was[key], is[key]))
    return {
      base: median(bases), head: median(heads), quotient: median(heads.map((value, turn) => value / bases[turn]!)),
      difference: different.length === 0 ? null
        : different.map(key => `${key} ${JSON.stringify(was[key])}, then ${JSON.stringify(is[key])}`).join('; '),
    }
  } finally {
    base.end()
    head.end()
  }
}
