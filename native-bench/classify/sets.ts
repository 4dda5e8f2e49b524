/** ClassBench sets, which do not belong to the repository: those who have them put them beside it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { createPrng } from '../../src/base/prng.ts'
import { ROOT } from '../child.ts'

const FOLDER = join(ROOT, '../shared/classbench')

export const NO_SETS = 'nothing is measured: the ClassBench sets are not in ../shared/classbench'

export function hasSet(name: string): boolean {
  return ['rules', 'trace', 'expect'].every(kind => existsSync(join(FOLDER, `${name}.${kind}.gz`)))
}

export interface SetFiles {
  rules: string
  headers: string
  /** What a program must write. */
  answers: string
}

function text(name: string): string {
  return gunzipSync(readFileSync(join(FOLDER, name))).toString()
}

/** Of few headers in the same order again and again a processor learns every branch by heart. */
const LEAST_HEADERS = 1 << 17

/**
 * Writes rules and headers as plain text. Headers come in bursts in a trace: here each is there as often as any other, in random
 * order, and in another order the next time.
 */
export function writeSet(name: string, directory: string, seed: number): SetFiles {
  const expected = text(`${name}.expect.gz`).trimEnd().split('\n')
  const distinct = new Map(text(`${name}.trace.gz`).trimEnd().split('\n')
    .map((line, n) => [line.split('\t').slice(0, 5).join('\t'), expected[n]]))
  const once = [...distinct.entries()], { next } = createPrng(seed)
  const headers: typeof once = []
  while (headers.length < LEAST_HEADERS) {
    for (let n = once.length - 1; n > 0; n--) {
      const other = (next() >>> 0) % (n + 1), kept = once[n]
      once[n] = once[other]
      once[other] = kept
    }
    for (const header of once) headers.push(header)
  }
  const files = { rules: join(directory, 'set.rules'), headers: join(directory, 'set.trace') }
  writeFileSync(files.rules, text(`${name}.rules.gz`))
  writeFileSync(files.headers, headers.map(([header]) => `${header}\n`).join(''))
  return { ...files, answers: headers.map(([, answer]) => `${answer}\n`).join('') }
}
