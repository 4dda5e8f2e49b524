/** Takes records of mappings from the packet path and writes them down, a line each, in slices. */
import { LOG_AT_MS, type MappingLog } from '../../channel/mapping-log.ts'
import { lostLine, recordLine } from './record.ts'

/** Where lines go. */
export interface LineSink {
  /** No room now: lines would only be piled up. */
  isFull(): boolean
  write(lines: string): void
}

export interface MappingWriter {
  /** Writes at most `most` records: true, if more are there and have room. */
  drain(most: number): boolean
  /** Records written, and lost for want of room. */
  readonly written: () => number
  readonly lost: () => number
}

/** @param now the time of the packet path in ms, and the same since 1970 */
export function createMappingWriter(
  log: MappingLog, sink: LineSink, now: () => { virtualMs: number; wallMs: number },
): MappingWriter {
  let written = 0, told = 0

  function drain(most: number): boolean {
    if (sink.isFull()) return false
    let at = log.peek()
    const lost = (log.lost() - told) >>> 0
    if (at < 0 && lost === 0) return false
    const { virtualMs, wallMs } = now()
    const lines: string[] = []
    for (let n = 0; at >= 0 && n < most; n++) {
      const ageMs = ((virtualMs | 0) - log.words[at + LOG_AT_MS]!) | 0
      lines.push(recordLine(log.words, at, wallMs - ageMs))
      log.done()
      written++
      at = log.peek()
    }
    // Behind those that were there before them.
    if (at < 0 && lost > 0) {
      lines.push(lostLine(lost, wallMs))
      told += lost
    }
    sink.write(lines.join(''))
    return at >= 0
  }

  return { drain, written: () => written, lost: () => log.lost() >>> 0 }
}
