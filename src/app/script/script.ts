/**
 * A script: the transactions that agents make at times of a capture. A YAML list, checked as configurations are: whatever is wrong
 * is told with file, line, column and what was probably meant.
 */
import { resolve } from 'node:path'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import type { Reason } from '../../policy/api.ts'
import { childPointer, pathOf, readDocument, type Problem, type SettingsDocument } from '../config/document.ts'
import { ConfigError, folderOf, loadConfig, problemText, readText } from '../config/load.ts'
import { nearest } from '../config/nearest.ts'
import { described, schemaProblems } from '../config/problems.ts'
import type { Setting } from '../config/setting.ts'
import type { WrittenTuple } from '../config/tuple.ts'
import { parseValue } from '../config/values.ts'
import { ACTIONS, actionSchema, isAction, type Action } from './schema.ts'

/** A rule or a group: the step that made it, or its number as it is. */
export type Reference = { step: number } | { number: number }

export interface Step {
  /** Line in the script, from 1. */
  line: number
  atMs: number
  /** Empty: nobody, for the step is not a transaction. */
  agent: string
  action: Action
  label: string | null
  /** What the answer should be, or null: whatever it is. */
  expect: 'ok' | Reason | null
  rule: Reference | null
  reservation: Reference | null
  group: Reference | null
  internal: WrittenTuple | null
  external: WrittenTuple | null
  lifetimeSec: number
  maxIdleSec: number
  direction: 'inbound' | 'outbound' | 'bidirectional'
  parity: 'any' | 'odd' | 'even' | 'same'
  service: 'any' | 'traditional' | 'twice'
  /** Of a reservation. */
  protocol: number
  /** Consecutive ports of a reservation, or `ALL_PORTS`. */
  ports: number
  internalVersion: number
  externalVersion: number
  /** Of a step `firewall`: the file as it is written, and the rules in it. */
  firewall: { file: string; rules: readonly FirewallRule[] } | null
}

/** Does a step replace firewall rules? */
export function replacesRules(steps: readonly Step[] | null): boolean {
  return steps?.some(({ firewall }) => firewall !== null) === true
}

/** Is a step what an agent does? */
export function asksPolicy(steps: readonly Step[]): boolean {
  return steps.some(({ firewall }) => firewall === null)
}

const NEVER_IDLE_SEC = 0xffffffff
const ALL_PORTS = 0xffff

/** Reads and checks a file. Throws `ConfigError`. */
export function loadScript(path: string): Step[] {
  const { steps, problems } = checkScript(readText(path, 'script', 'docs/script.md tells how to write one'), folderOf(path))
  if (steps !== null) return steps
  throw new ConfigError('config-invalid', path, problems, problems.map(problem => problemText(path, problem)).join('\n'))
}

/** @param folder where the files lie that it names */
export function checkScript(text: string, folder = '.'): { steps: Step[]; problems: [] } | { steps: null; problems: Problem[] } {
  const document = readDocument(text.replace(/^\uFEFF/, ''))
  const problems = [...document.problems]
  const tell: Tell = (pointer, message, suggestion, atKey = false) => {
    const { key, value } = document.places.get(pointer) ?? { key: null, value: 0 }
    const place = document.locate(atKey ? key ?? value : value)
    problems.push({ ...place, path: pathOf(pointer), message, ...suggestion !== undefined && { suggestion } })
  }
  const entries = Array.isArray(document.data) ? document.data as unknown[] : []
  if (!Array.isArray(document.data) && problems.length === 0) tell('', 'a list of steps is needed here', HOW_TO_BEGIN)
  const known: Known = { labels: new Map(), atMs: 0, folder }
  const steps = entries.map((entry, i) => {
    const pointer = childPointer('', i)
    const before = problems.length
    const kind = kindOf(entry, pointer, tell)
    if (kind !== null) problems.push(...schemaProblems(document, actionSchema(kind), entry, pointer))
    return problems.length > before ? null : stepOf(document, entry as Record<string, unknown>, i, known, tell)
  })
  if (problems.length > 0) return { steps: null, problems: problems.sort((a, b) => a.line - b.line || a.column - b.column) }
  return { steps: steps as Step[], problems: [] }
}

/** Notes a problem at a value, or at its key. */
type Tell = (pointer: string, message: string, suggestion?: string, atKey?: boolean) => void

/** What the steps so far have said. */
interface Known { labels: Map<string, { step: number; group: boolean }>; atMs: number; folder: string }

const HOW_TO_BEGIN = 'write `- at: 1s`, and below it, indented, `agent: NAME` and `do: enable`'

function meant(near: string | null): string | undefined {
  return near === null ? undefined : `did you mean ${near}?`
}

/** Which schema an entry has to keep; null, and a problem is told, if it does not say. */
function kindOf(entry: unknown, pointer: string, tell: Tell): Action | 'session' | null {
  if (entry === null || typeof entry !== 'object' || Array.isArray(entry)) {
    tell(pointer, 'a step is needed here', HOW_TO_BEGIN)
    return null
  }
  const { do: action, session, firewall } = entry as Record<string, unknown>
  if (action === undefined) {
    if (firewall !== undefined && session === undefined) return 'firewall'
    if (session !== undefined) return 'session'
    // A slip such as `dos: enable` is better told than that something is missing.
    const slip = Object.keys(entry).find(key => key !== 'at' && key !== 'as' && nearest(key, ['do', 'session']) !== null)
    if (slip === undefined) {
      tell(pointer, 'the step does nothing', `add do: ${ACTIONS.join(' | ')}, or session: open | close, or firewall: FILE`)
    }
    else tell(childPointer(pointer, slip), 'no such setting', meant(nearest(slip, ['do', 'session'])), true)
  } else if (session !== undefined) {
    tell(childPointer(pointer, 'session'), 'the step does two things', 'make two steps of it', true)
  } else if (isAction(action)) return action
  else {
    const near = typeof action === 'string' ? nearest(action, ACTIONS) : null
    tell(childPointer(pointer, 'do'), `${described(action)} is none of ${ACTIONS.join(', ')}`, meant(near))
  }
  return null
}

/** The firewall rules of a configuration that a step names. */
function rulesIn(file: string, folder: string, complain: (key: string, message: string) => void): Step['firewall'] {
  try {
    return { file, rules: loadConfig(resolve(folder, file)).firewall.rules }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    complain('firewall', error.message.split('\n')[0]!)
    return null
  }
}

/** Only for an entry that its schema allows. */
function stepOf(document: SettingsDocument, entry: Record<string, unknown>, index: number, known: Known, tell: Tell): Step {
  const pointer = childPointer('', index)
  const action = (entry.do ?? entry.session ?? 'firewall') as Action
  const schema = actionSchema(action === 'firewall' || entry.do !== undefined ? action : 'session').properties as Record<string,
    Setting>
  const plain = <T>(key: string, otherwise: T): T => (entry[key] ?? schema[key]?.default ?? otherwise) as T
  const value = <T>(key: string): T | null => {
    const rule = schema[key]?.['x-value'], written = plain<string | number | null>(key, null)
    if (rule === undefined || written === null) return null
    const parsed = parseValue(rule, written)
    if (!parsed.ok) throw new Error(`${key}: ${parsed.message}`)
    return parsed.value as T
  }
  const complain = (key: string, message: string, suggestion?: string) => tell(childPointer(pointer, key), message, suggestion)
  const reference = (key: string, ofGroup = false): Reference | null => {
    const written = entry[key]
    if (written === undefined) return null
    if (/^\d+$/.test(String(written))) return { number: Number(written) }
    const found = known.labels.get(String(written))
    if (found !== undefined && (found.group || !ofGroup)) return { step: found.step }
    const others = [...known.labels].filter(([, { group }]) => group || !ofGroup).map(([label]) => label)
    complain(key, found === undefined ? `no step before has \`as: ${String(written)}\`` : 'a disable rule is in no group',
      meant(nearest(String(written), others)))
    return null
  }

  const atMs = value<number>('at')!
  if (atMs < known.atMs) complain('at', 'this is before the step above', 'put the steps in the order of their times')
  known.atMs = Math.max(known.atMs, atMs)
  const internal = value<WrittenTuple>('internal'), external = value<WrittenTuple>('external')
  const versions = [internal, external].map(tuple => tuple?.endpoint.version || null).filter(version => version !== null)
  if (versions.length === 2 && versions[0] !== versions[1]) complain('external', 'one end is IPv4 and the other IPv6')
  const label = plain<string | null>('as', null)
  if (label !== null && /^\d+$/.test(label)) {
    complain('as', 'a number alone is the number of a rule', 'begin the name with a letter')
  }
  const seconds = (key: string) => (value<number>(key) ?? 0) / 1000
  const step: Step = {
    line: document.locate(document.places.get(pointer)!.value).line,
    atMs, agent: action === 'firewall' ? '' : String(entry.agent), action, label, expect: plain('expect', null),
    rule: reference('rule'), reservation: reference('reservation'), group: reference('group', true), internal, external,
    lifetimeSec: seconds('lifetime'), maxIdleSec: plain<unknown>('max-idle', '') === 'never' ? NEVER_IDLE_SEC : seconds('max-idle'),
    direction: plain('direction', 'bidirectional'), parity: plain('parity', 'any'), service: plain('service', 'any'),
    protocol: value<number>('protocol') ?? 0, ports: plain<unknown>('ports', 1) === 'all' ? ALL_PORTS : value<number>('ports') ?? 1,
    internalVersion: Number(plain('internal-version', 0)), externalVersion: Number(plain('external-version', 0)),
    firewall: action === 'firewall' ? rulesIn(String(entry.firewall), known.folder, complain) : null,
  }
  if (label !== null) {
    if (known.labels.has(label)) complain('as', `'${label}' is the name of another step`)
    else known.labels.set(label, { step: index, group: action !== 'disable' })
  }
  return step
}
