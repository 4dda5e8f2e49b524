/** Values of options, as commander has them read. */
import { InvalidArgumentError } from 'commander'
import type { Prefix } from '../../base/address.ts'
import { MOST_WORKERS } from '../../channel/steering.ts'
import { parsePrefix } from '../config/address.ts'

export function prefixes(text: string, before: Prefix[]): Prefix[] {
  const parsed = parsePrefix(text)
  if (!parsed.ok) {
    const hint = parsed.suggestion === undefined ? '' : ` (${parsed.suggestion})`
    throw new InvalidArgumentError(parsed.message + hint)
  }
  return [...before, parsed.value]
}

export function positive(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('A whole number from 1 to 999,999,999 is needed.')
  return Number(text)
}

export function workers(text: string): number {
  if (/^\d{1,2}$/.test(text) && Number(text) >= 1 && Number(text) <= MOST_WORKERS) return Number(text)
  throw new InvalidArgumentError(`A whole number from 1 to ${MOST_WORKERS} is needed.`)
}

export function seed(text: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) < 2 ** 32) return Number(text)
  throw new InvalidArgumentError('A whole number from 0 to 2^32-1 is needed.')
}

export function pace(text: string): number {
  if (text === 'max') return 0
  if (text === 'original') return 1
  const factor = /^(\d+(?:\.\d+)?|\.\d+)x$/.exec(text)?.[1]
  if (factor === undefined || Number(factor) <= 0) throw new InvalidArgumentError('Expected max, original, or a factor such as 2x.')
  return Number(factor)
}

/** How often; `forever` is Infinity. */
export function atLeastOnce(text: string): number {
  return text === 'forever' ? Infinity : positive(text)
}
