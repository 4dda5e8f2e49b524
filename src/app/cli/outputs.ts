/** Files that a command writes: looked at before it begins. */
import { accessSync, constants, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemReason } from '../../phy/capture-error.ts'
import { fileIdentity } from './identity.ts'
import { Failure, STATUS } from './status.ts'

const STDIN = 0, STDOUT = 1
const ANOTHER = 'is another output'
const TWO_TO_STDOUT = 'two outputs cannot both go to standard output (-): name a file for one of them'

/** Files that are read; null: there is none. */
export interface Inputs { capture: string | null; config: string | null; script?: string | null }

/**
 * Two outputs in one file, or an output over what is read, would destroy what somebody wants; and what cannot be written
 * should not be found out after an hour. Nothing is opened or emptied here.
 */
export function checkOutputs({ capture, config, script = null }: Inputs, paths: (string | undefined)[]): void {
  const taken = new Map<string, string>()
  const take = (path: string | null, stdio: number, what: string) => {
    const identity = path === null ? null : fileIdentity(path, stdio)
    if (identity !== null) taken.set(identity, what)
  }
  take(capture, STDIN, 'is the input')
  take(config, STDIN, 'is the configuration')
  take(script, STDIN, 'is the script')
  const outputs = paths.filter((path) => path !== undefined)
  for (const path of outputs) {
    const identity = fileIdentity(path, STDOUT)
    const what = identity === null ? undefined : taken.get(identity)
    if (what !== undefined) {
      throw new Failure(STATUS.usage, path === '-' && what === ANOTHER ? TWO_TO_STDOUT : `${path} ${what}: write elsewhere`)
    }
    take(path, STDOUT, ANOTHER)
  }
  if (outputs.filter((path) => path === '-').length > 1) throw new Failure(STATUS.usage, TWO_TO_STDOUT)
  for (const path of outputs) checkWritable(path)
}

function checkWritable(path: string): void {
  if (path === '-') return
  try {
    const found = statSync(path, { throwIfNoEntry: false })
    accessSync(found === undefined ? dirname(path) : path, constants.W_OK)
    if (found?.isDirectory() === true) throw new Error('it is a directory')
  } catch (error) {
    throw new Failure(STATUS.output, `cannot write ${path}: ${systemReason(error as Error)}`, { cause: error })
  }
}

export function writeReport(path: string, text: string): void {
  try {
    if (path === '-') process.stdout.write(text)
    else writeFileSync(path, text)
  } catch (error) {
    throw new Failure(STATUS.output, `cannot write ${path}: ${systemReason(error as Error)}`, { cause: error })
  }
}
