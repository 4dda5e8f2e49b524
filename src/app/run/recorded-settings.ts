/** The settings of a live box as a recording keeps them: those that decide about packets, with nothing that is a secret. */
import { print4, print6, printPrefix, type Prefix } from '../../base/address.ts'
import type { Config } from '../config/config.ts'
import { readDocument } from '../config/document.ts'
import { checkConfig, readText, type Checked } from '../config/load.ts'
import { MAX_OPTION_BYTES } from '../../phy/pcapng-blocks.ts'

/** Of an option of pcapng, most; the rest is for what else stands there. */
const MOST_BYTES = MAX_OPTION_BYTES - 2048
/** Of `midcom` what agents need, who they are and where they come in is left out: nobody asks anything in a replay. */
const LEFT_OUT = ['agents', 'simco', 'snmp', 'pdp', 'state']

type Section = Record<string, unknown>

export interface RunningSettings {
  /** File of the configuration, or none. */
  file: string | undefined
  /** `--pool`, which counts instead of that of the file. */
  pool: readonly string[]
  /** With what was not set and the interfaces have. */
  config: Config
  inside: readonly Prefix[]
}

/** JSON in the form of a configuration file; null: it is too long, or was read from a pipe. */
export function recordedConfiguration({ file, pool, config, inside }: RunningSettings): string | null {
  if (file === '-') return null
  const given = (file === undefined ? {} : readDocument(readText(file)).data ?? {}) as Section
  const part = (name: string) => given[name] as Section | undefined
  const { box } = config
  const settings: Section = { ...given, inside: inside.map(printPrefix) }
  delete settings.interfaces
  settings.box = {
    ...part('box'), 'inside-address': print4(box.insideAddress), address6: print6(box.address6), 'mtu-inside': box.mtuInside,
    'mtu-outside': box.mtuOutside,
  }
  if (pool.length > 0) settings.nat = { ...part('nat'), pool }
  const text = JSON.stringify(withoutAgents(settings))
  return JSON.stringify(text).length <= MOST_BYTES && checkConfig(text).config !== null ? text : null
}

function withoutAgents(settings: Section): Section {
  const midcom = settings.midcom as unknown
  if (midcom === null || typeof midcom !== 'object') return settings
  return { ...settings, midcom: Object.fromEntries(Object.entries(midcom).filter(([name]) => !LEFT_OUT.includes(name))) }
}

/** Checks the configuration of a recording, which somebody else may have written: it names no file that would be looked at. */
export function checkRecorded(text: string): Checked {
  let settings: unknown
  try {
    settings = JSON.parse(text)
  } catch {
    return checkConfig(text)
  }
  return checkConfig(settings === null || typeof settings !== 'object' ? text : JSON.stringify(withoutAgents(settings as Section)))
}
