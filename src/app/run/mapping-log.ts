/**
 * The log of mappings of a running box: lines go to a file or standard output from a thread of their own, so that neither packets
 * nor agents wait for it. If it cannot follow, records are lost, and a line says how many.
 */
import { createWriteStream, openSync } from 'node:fs'
import type { MappingLog } from '../../channel/mapping-log.ts'
import { systemReason } from '../../phy/capture-error.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { createMappingWriter } from '../mappings/writer.ts'
import type { Traffic } from './turns.ts'

/** Records written in a turn, each in about a microsecond. */
const RECORDS = 64
/** Lines that wait for the disk; those of records beyond stay where they are. */
const MOST_CHARS = 1 << 20
/** How long a box that ends waits for what is left. */
const LAST_MS = 1000
const STDOUT = 1

export interface RunningLog {
  /** Has it records that nobody has taken out? */
  isBehind(): boolean
  /** Packets, and in each of their turns some records. */
  beside(traffic: Traffic | null): Traffic
  /** Writes what is left. */
  close(): Promise<void>
  counts(): { written: number; lost: number }
}

/**
 * @param nowMs time of the packet path  @param wake there is room again
 * @param complain says that nothing can be written any more, once
 */
export function openMappingLog(
  path: string, log: MappingLog, nowMs: () => number, wake: () => void, complain: (line: string) => void,
): RunningLog {
  const stream = createWriteStream('', path === '-' ? { fd: STDOUT, autoClose: false } : { fd: opened(path) })
  let isBroken = false
  stream.on('drain', wake)
  stream.on('error', (error) => {
    if (!isBroken) complain(`mapping log: cannot write ${path}: ${systemReason(error)}; records are counted and lost from here on`)
    isBroken = true
  })
  const writer = createMappingWriter(log, {
    isFull: () => isBroken || stream.writableLength > MOST_CHARS,
    write(lines) { stream.write(lines) },
  }, () => ({ virtualMs: nowMs(), wallMs: Date.now() }))

  /** Records that are still there when the box ends are lost too. */
  let leftBehind = 0

  return {
    isBehind: () => !isBroken && log.peek() >= 0,
    beside: (traffic) => ({
      turn(now) {
        const isBusy = traffic?.turn(now) ?? false
        return writer.drain(RECORDS) || isBusy
      },
      nextMs: () => traffic?.nextMs() ?? Infinity,
    }),
    async close() {
      while (writer.drain(RECORDS));
      for (; log.peek() >= 0; log.done()) leftBehind++
      if (isBroken) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LAST_MS)
        const finish = () => {
          clearTimeout(timer)
          resolve()
        }
        stream.once('error', finish)
        stream.end(finish)
      })
    },
    counts: () => ({ written: writer.written(), lost: writer.lost() + leftBehind }),
  }
}

/** At once, for the box may not be allowed to later. */
function opened(path: string): number {
  try {
    return openSync(path, 'a')
  } catch (error) {
    throw new Failure(STATUS.output, `cannot write ${path}: ${systemReason(error as Error)}`, { cause: error })
  }
}
