/** Quantities as people write them: durations with units, counts with k and M, ranges of ports. */
import { fault, type Parsed } from './address.ts'

const UNIT_MS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const
export const DURATION_PATTERN = '^(?=.)(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?$'
export const COUNT_PATTERN = '^\\d+[kM]?$'
export const PORTS_PATTERN = '^\\d{1,5}-\\d{1,5}$'

const DURATION = new RegExp(DURATION_PATTERN)
const SPELT_OUT = /^(\d+(?:\.\d+)?)\s*(d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|ms|milliseconds?)$/i
const COUNT = new RegExp(COUNT_PATTERN)
const PORTS = new RegExp(PORTS_PATTERN)

/** `5m`, `2h4m`, `500ms`: each unit once, from the longest to the shortest. Milliseconds. */
export function parseDuration(text: string): Parsed<number> {
  const parts = DURATION.exec(text)
  if (parts !== null) {
    const units = Object.values(UNIT_MS)
    return { ok: true, value: parts.slice(1).reduce((ms, part, i) => ms + (parseInt(part ?? '0')) * units[i]!, 0) }
  }
  if (/^\d+$/.test(text)) {
    return fault(`'${text}' has no unit`, `did you mean ${text}s? The units are d, h, m, s and ms`)
  }
  // One quantity, perhaps with a fraction or with its unit spelt out, is clear enough to be put into our form.
  const [, amount, unit] = SPELT_OUT.exec(text) ?? []
  if (unit === undefined) return fault(`'${text}' is not a duration`, 'write one such as 500ms, 30s, 5m or 2h4m')
  const unitMs = /^(ms|mil)/i.test(unit) ? 1 : UNIT_MS[unit[0]!.toLowerCase() as 'd' | 'h' | 'm' | 's']
  return fault(`'${text}' is not a duration`, `did you mean ${durationToText(Math.round(Number(amount) * unitMs))}?`)
}

const INSTANT = /^(\d+)(?:\.(\d+))?(d|h|m|s|ms)$/

/** A duration, or one quantity with a fraction as in `12.4s`, as long as it is whole milliseconds. */
export function parseInstant(text: string): Parsed<number> {
  const [, whole, fraction = '', unit] = INSTANT.exec(text) ?? []
  if (unit === undefined) return parseDuration(text)
  // Whole numbers only: a fraction such as 0.841 is none in binary.
  const parts = (Number(whole) * 10 ** fraction.length + Number(fraction)) * UNIT_MS[unit as keyof typeof UNIT_MS]
  const ms = parts / 10 ** fraction.length
  if (parts % 10 ** fraction.length === 0) return { ok: true, value: ms }
  return fault(`'${text}' is not a whole number of milliseconds`, `did you mean ${durationToText(Math.round(ms))}?`)
}

export function durationToText(ms: number): string {
  let rest = ms
  let text = ''
  for (const [unit, unitMs] of Object.entries(UNIT_MS)) {
    const n = Math.floor(rest / unitMs)
    if (n > 0) text += n + unit
    rest -= n * unitMs
  }
  return text === '' ? '0s' : text
}

/** `1000`, `256k` = 262,144, `1M` = 1,048,576: table sizes are powers of two, so the suffixes are binary. */
export function parseCount(written: string | number): Parsed<number> {
  if (typeof written === 'number') {
    if (Number.isInteger(written)) return { ok: true, value: written }
    return fault(`${written} is not a whole number`)
  }
  if (COUNT.test(written)) {
    const scale = written.endsWith('k') ? 1024 : written.endsWith('M') ? 1024 * 1024 : 1
    return { ok: true, value: parseInt(written) * scale }
  }
  const plain = written.replace(/[\s_,']/g, '').replace(/K$/, 'k').replace(/m$/, 'M').replace(/i?b?$/i, '')
  return fault(`'${written}' is not a count`,
    COUNT.test(plain) ? `did you mean ${plain}?` : 'write a whole number, with k for 1024 or M for 1048576 if you like')
}

/** The shortest text that `parseCount` reads as `n`. */
export function countToText(n: number): string {
  if (n === 0 || n % 1024 !== 0) return String(n)
  return n % (1024 * 1024) === 0 ? `${n / (1024 * 1024)}M` : `${n / 1024}k`
}

/** Ports from `first` to `last`, both included. */
export interface Ports {
  first: number
  last: number
}

export function parsePorts(text: string, lowest: number, highest: number): Parsed<Ports> {
  const [, from, to] = /^(\d{1,9})\s*(?:-|\.\.|:)\s*(\d{1,9})$/.exec(text) ?? []
  if (from === undefined || to === undefined) {
    return fault(`'${text}' is not a range of ports`, `write one such as ${lowest}-${highest}`)
  }
  const first = Number(from), last = Number(to)
  if (first > last) return fault(`'${text}' runs backwards`, `did you mean ${last}-${first}?`)
  if (first < lowest || last > highest) {
    const from = Math.max(first, lowest), to = Math.min(last, highest)
    return fault(`'${text}' leaves the range of ${lowest} to ${highest}`,
      from <= to ? `did you mean ${from}-${to}?` : `write one such as ${lowest}-${highest}`)
  }
  if (!PORTS.test(text)) return fault(`'${text}' is not a range of ports`, `did you mean ${first}-${last}?`)
  return { ok: true, value: { first, last } }
}
