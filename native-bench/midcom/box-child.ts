/**
 * What the rows about agents measure inside of the box: `box-child loaded|bytes|expiry PARAMETERS`, the parameters of the row
 * as JSON; and with `listen` the agent that one of them needs. It is a process of its own and bundled, for the same reasons as
 * engine-child.
 */
import { tuneCompiler } from '../../src/app/compiler.ts'
import { bytesOfRules } from './bytes.ts'
import { expireAtOnce, listen } from './expiry.ts'
import { underLoad } from './loaded.ts'
import type { LoadedParameters, RulesParameters } from './rows.ts'

tuneCompiler()
const [mode, text] = process.argv.slice(2)
const parameters: unknown = JSON.parse(text)
const MODES: Record<string, () => object | Promise<object>> = {
  loaded: () => underLoad(parameters as LoadedParameters & { generator: string }),
  bytes: () => bytesOfRules(parameters as RulesParameters),
  expiry: () => expireAtOnce(parameters as RulesParameters),
  listen: () => listen(parameters as { port: number; events: number }),
}
const run = MODES[mode]
if (run === undefined) throw new Error(`unknown mode ${mode}`)
console.log(JSON.stringify(await run()))
process.exit()
