/**
 * The log of a box. Others decide what stands in its lines, such as the name that somebody claims, and how many there are. So what
 * is not to be printed is shown by its number, and of a flood so many lines a second are written, and how many were left out.
 */
import { counted } from '../figures.ts'

export const LINES_A_SECOND = 100
const WINDOW_MS = 1000

export interface Log {
  line(text: string): void
  /** Tells of what was left out and not told yet. */
  end(): void
}

/** @param clockMs a clock that never goes back, in milliseconds */
export function createLog(write: (line: string) => void, clockMs: () => number): Log {
  let sinceMs = -Infinity
  let written = 0
  let leftOut = 0

  function end(): void {
    if (leftOut > 0) write(`log: ${counted(leftOut, 'line was', 'lines were')} left out`)
    leftOut = 0
  }

  return {
    line(text) {
      const nowMs = clockMs()
      if (nowMs - sinceMs >= WINDOW_MS) {
        end()
        sinceMs = nowMs
        written = 0
      }
      if (written === LINES_A_SECOND) leftOut++
      else {
        written++
        write(printable(text))
      }
    },
    end,
  }
}

/** No line breaks, no escape sequences, nothing that turns the direction of writing. */
function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)
}
