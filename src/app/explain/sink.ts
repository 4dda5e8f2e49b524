/** Where explanations and logs of a replay go: a file or standard output, in pieces, so that a long replay holds little of them. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { systemReason } from '../../phy/capture-error.ts'
import { Failure, STATUS } from '../cli/status.ts'

export interface Sink {
  write(text: string): void
  /** Resolves when what was written is on its way. */
  ready(): Promise<void>
  /** Writes what is left. Throws `Failure`. */
  close(): Promise<void>
}

const PIECE_CHARS = 65_536

/** A file is opened, and emptied, when the first text comes or at the end: never before the input is open. */
export function createSink(path: string): Sink {
  let waiting: string[] = [], chars = 0
  let fd = -1

  function guarded<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw new Failure(STATUS.output, `cannot write ${path}: ${systemReason(error as Error)}`, { cause: error })
    }
  }

  async function flush(): Promise<void> {
    const text = waiting.join('')
    waiting = []
    chars = 0
    if (path === '-') {
      // A reader that has gone (EPIPE) is told of elsewhere; waiting for it would be for ever.
      if (text !== '') await new Promise<void>((resolve) => { process.stdout.write(text, () => resolve()) })
      return
    }
    guarded(() => {
      if (fd < 0) fd = openSync(path, 'w')
      const bytes = Buffer.from(text)
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
    })
  }

  return {
    write(text) {
      waiting.push(text)
      chars += text.length
    },
    async ready() { if (chars >= PIECE_CHARS) await flush() },
    async close() {
      await flush()
      if (fd >= 0) guarded(() => closeSync(fd))
    },
  }
}
