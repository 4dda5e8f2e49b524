/**
 * Reads records of numbers out of text, a line each. The first thing that is wrong in a line is kept in `fault` with its place,
 * and whatever is read after it in that line is 0: who reads a record looks at `fault` once, at its end.
 */

export interface Fault { line: number; column: number; message: string }

const LF = 10, CR = 13, TAB = 9, SPACE = 32, ZERO = 48, NINE = 57
const LONGEST_SHOWN = 20

export class Scanner {
  fault: Fault | null = null
  /** Where the next byte is read. */
  at = 0
  private readonly bytes: Uint8Array
  private line = 0
  private lineStart = 0
  private nextStart = 0

  constructor(bytes: Uint8Array) { this.bytes = bytes }

  /** Goes to the next line that holds something, and forgets the fault. False: there is none. */
  nextRecord(): boolean {
    this.fault = null
    while (this.nextStart < this.bytes.length) {
      const end = this.bytes.indexOf(LF, this.nextStart)
      this.at = this.lineStart = this.nextStart
      this.nextStart = end < 0 ? this.bytes.length : end + 1
      this.line++
      this.skipBlanks()
      if (!this.isAtEnd()) return true
    }
    return false
  }

  isAtEnd(): boolean {
    const byte = this.bytes[this.at]
    return byte === undefined || byte === LF || (byte === CR && this.at + 1 >= this.nextStart - 1)
  }

  /** @param start where the wrong part begins */
  fail(message: string, start = this.at): void {
    this.fault ??= { line: this.line, column: start - this.lineStart + 1, message }
  }

  skipBlanks(): void {
    while (this.bytes[this.at] === SPACE || this.bytes[this.at] === TAB) this.at++
  }

  /** Blanks that part two fields. */
  gap(): void {
    const start = this.at
    this.skipBlanks()
    if (this.at === start && !this.isAtEnd()) this.fail(`a blank is needed here, not ${this.shown()}`)
  }

  take(char: string): void {
    if (this.bytes[this.at] === char.charCodeAt(0)) this.at++
    else this.fail(`${char} is needed here, not ${this.shown()}`)
  }

  /** @param what for the message: `a port`. */
  decimal(what: string, most: number): number {
    if (this.fault !== null) return 0
    const start = this.at
    let value = 0
    for (let byte = this.bytes[start]; byte >= ZERO && byte <= NINE; byte = this.bytes[++this.at]) {
      value = value * 10 + byte - ZERO
    }
    if (this.at === start) this.fail(`${what} is needed here, not ${this.shown()}`)
    else if (value > most) this.fail(`${what} is at most ${most}`, start)
    return this.fault === null ? value : 0
  }

  /** Begins with 0x. */
  hexadecimal(what: string, most: number): number {
    if (this.fault !== null) return 0
    const start = this.at
    let value = 0
    if (this.bytes[start] === ZERO && (this.bytes[start + 1] | 32) === 0x78) {
      this.at += 2
      for (let digit = hexDigit(this.bytes[this.at]); digit >= 0; digit = hexDigit(this.bytes[++this.at])) {
        value = value * 16 + digit
      }
    }
    if (this.at < start + 3) {
      this.at = start
      this.fail(`${what} such as 0x${most.toString(16)} is needed here, not ${this.shown()}`)
    } else if (value > most) this.fail(`${what} is at most 0x${most.toString(16)}`, start)
    return this.fault === null ? value : 0
  }

  private shown(): string {
    if (this.isAtEnd()) return 'the end of the line'
    let end = this.at
    while (end < this.nextStart && end - this.at < LONGEST_SHOWN && this.bytes[end] > SPACE) end++
    return JSON.stringify(Buffer.from(this.bytes.subarray(this.at, Math.max(end, this.at + 1))).toString('latin1'))
  }
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= ZERO && byte <= NINE) return byte - ZERO
  const letter = (byte | 32) - 0x61
  return letter >= 0 && letter < 6 ? letter + 10 : -1
}

/** Lines at the most, for tables that are made before the text is read. */
export function linesOf(bytes: Uint8Array): number {
  let lines = 1
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) lines++
  return lines
}
