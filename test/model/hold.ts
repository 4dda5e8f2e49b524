/** Random tests of the model: how they are repeated when they fail. */
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import fc from 'fast-check'

/**
 * The property holds in that many runs. What fails says its seed at both ends of a message that may be long: PINHOLE_SEED=N runs
 * the same again. So does standard error from the start, where a run that hangs or is killed leaves nothing else.
 */
export function hold<T>(numRuns: number, property: fc.IProperty<T>): void {
  const seed = Number(process.env['PINHOLE_SEED'] ?? randomInt(2 ** 31))
  console.error(`PINHOLE_SEED=${seed}, ${numRuns} runs`)
  const result = fc.check(property, { numRuns, seed, includeErrorInReport: true })
  if (!result.failed) return
  const again = `again: PINHOLE_SEED=${seed} PINHOLE_RUNS=${process.env['PINHOLE_RUNS'] ?? 'as by default'}, path ${result.counterexamplePath}`
  assert.fail([again, fc.defaultReportMessage(result) ?? '', again].join('\n'))
}
