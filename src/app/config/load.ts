/**
 * From a file to `Config`, or to everything that is wrong with it. The schema is checked first, setting by setting;
 * then what lies between settings: a pool too large, two entries that overlap, a pool that reaches inside.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { ErrorObject, SchemaValidateFunction, ValidateFunction } from 'ajv'
import { printPrefix, type Prefix } from '../../base/address.ts'
import {
  fault, parseIpv4, parseIpv6, parsePrefix, parseRange, prefixRange, rangeToText, type Fault, type Parsed, type Range,
} from './address.ts'
import type { ChecksumCheck, Config, Filtering, Policy } from './config.ts'
import { childPointer, pathOf, readDocument, type Problem, type SettingsDocument } from './document.ts'
import { nearest } from './nearest.ts'
import { durationToText, parseCount, parseDuration, parsePorts } from './quantity.ts'
import { SCHEMA, settings, type Section, type Setting, type ValueRule } from './schema.ts'

/** A configuration that cannot be used. `code` is stable; `message` has a line for each problem. */
export class ConfigError extends Error {
  readonly code: 'config-unreadable' | 'config-invalid'
  readonly file: string
  /** Empty when the file could not be read at all. */
  readonly problems: Problem[]
  constructor(code: ConfigError['code'], file: string, problems: Problem[], message: string) {
    super(message)
    this.name = 'ConfigError'
    this.code = code
    this.file = file
    this.problems = problems
  }
}

export type Checked = { config: Config; problems: [] } | { config: null; problems: Problem[] }

export const POOL_MOST = 1024
/** Far above any real file, far below what would make the parser slow. */
const FILE_MOST_BYTES = 1 << 18

/** Reads and checks a file; `-` is standard input. Throws `ConfigError`. */
export function loadConfig(path: string): Config {
  const { config, problems } = checkConfig(readText(path))
  if (config !== null) return config
  const lines = problems.map(problem => problemText(path, problem))
  throw new ConfigError('config-invalid', path, problems, lines.join('\n'))
}

export function defaultConfig(): Config {
  return assemble({})
}

/** `file:line:column: message; suggestion`, which editors and terminals make a link of. */
export function problemText(file: string, { line, column, path, message, suggestion }: Problem): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`
    + (suggestion === undefined ? '' : `; ${suggestion}`)
}

/** The text of a file, or `ConfigError`. */
export function readText(path: string): string {
  const unreadable = (what: string) => new ConfigError('config-unreadable', path, [], `${path}: ${what}`)
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path === '-' ? 0 : path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw unreadable('there is no such file; `pinhole init` prints one to begin with')
    if (code === 'EISDIR') throw unreadable('this is a directory; name the file in it')
    if (code === 'EACCES') throw unreadable('no permission to read this file')
    throw unreadable(message)
  }
  if (bytes.length > FILE_MOST_BYTES) throw unreadable(`${bytes.length} bytes are too many for a configuration`)
  if (bytes[0] === 0xff && bytes[1] === 0xfe || bytes[0] === 0xfe && bytes[1] === 0xff) {
    throw unreadable('this is UTF-16; save it as UTF-8')
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)      // drops a byte order mark
  } catch {
    throw unreadable('this is not UTF-8 text')
  }
}

/** Checks the text of a file: its settings, or every problem, in the order of the file. */
export function checkConfig(text: string): Checked {
  const document = readDocument(text.replace(/^\uFEFF/, ''))
  const problems = [...document.problems]
  const validate = validator()
  if (!validate(document.data)) problems.push(...schemaProblems(document, validate.errors ?? []))
  problems.push(...betweenSettings(document))
  if (problems.length === 0) return { config: assemble(document.data), problems: [] }
  return { config: null, problems: problems.sort((a, b) => a.line - b.line || a.column - b.column) }
}

/* The schema. */

function parseValue(rule: ValueRule, written: string | number): Parsed<unknown> {
  switch (rule.kind) {
    case 'duration': return withinLimits(rule, parseDuration(String(written)), written)
    case 'count': return withinLimits(rule, parseCount(written), written)
    case 'ports': return parsePorts(String(written), Number(rule.min), Number(rule.max))
    case 'prefix': return parsePrefix(String(written))
    case 'range': return usableRange(String(written))
    case 'ipv4': return usableIpv4(String(written))
    case 'ipv6': return usableIpv6(String(written))
  }
}

function withinLimits(rule: ValueRule, parsed: Parsed<number>, written: string | number): Parsed<number> {
  if (!parsed.ok || rule.min === undefined || rule.max === undefined) return parsed
  const read = rule.kind === 'duration' ? parseDuration : parseCount
  const min = read(rule.min), max = read(rule.max)
  if (!min.ok || !max.ok) throw new Error(`the limits of ${rule.kind} do not parse`)
  if (parsed.value >= min.value && parsed.value <= max.value) return parsed
  const below = parsed.value < min.value
  const range = `${rule.min} to ${rule.max}${rule.unit === undefined ? '' : ` ${rule.unit}`}`
  const source = below && rule.source !== undefined ? `, ${rule.source}` : ''
  const wrong = rule.kind === 'duration' ? below ? 'short' : 'long' : below ? 'few' : 'many'
  return fault(`${written} is too ${wrong} (${range}${source})`, `write ${below ? rule.min : rule.max}`)
}

// RFC 1122 3.2.1.3: these are no address of a host: this network, loopback, multicast, reserved and broadcast.
function unusable(first: number, last: number): string | null {
  if (first < 0x01000000) return '0.0.0.0/8, which is this network'
  if (last >= 0xe0000000) return '224.0.0.0/3, which is multicast and reserved'
  if (first <= 0x7fffffff && last >= 0x7f000000) return '127.0.0.0/8, which is loopback'
  return null
}

function usableIpv4(text: string): Parsed<number> {
  const parsed = parseIpv4(text)
  const why = parsed.ok ? unusable(parsed.value >>> 0, parsed.value >>> 0) : null
  return why === null ? parsed : fault(`'${text}' is in ${why}`)
}

function usableRange(text: string): Parsed<Range> {
  const parsed = parseRange(text)
  const why = parsed.ok ? unusable(parsed.value.first, parsed.value.last) : null
  return why === null ? parsed : fault(`'${text}' reaches into ${why}`)
}

function usableIpv6(text: string): Parsed<Int32Array> {
  const parsed = parseIpv6(text)
  if (!parsed.ok) return parsed
  const [a, b, c, d] = parsed.value
  if (a! >>> 24 === 0xff) return fault(`'${text}' is a multicast address, and a source is needed here`)
  if ((a! | b! | c!) === 0 && d! >>> 0 <= 1) {
    return fault(`'${text}' is no address of an interface`, 'write one such as fe80::1')
  }
  return parsed
}

const readValue: SchemaValidateFunction = (rule: ValueRule, written: unknown) => {
  // Of a value that is not even of the right type, `type` complains.
  if (typeof written !== 'string' && (typeof written !== 'number' || rule.kind !== 'count')) return true
  const parsed = parseValue(rule, written)
  if (parsed.ok) return true
  readValue.errors = [{ keyword: 'x-value', message: parsed.message, params: parsed }]
  return false
}

let compiled: ValidateFunction | null = null

/** The schema, compiled when the first file is read; see document.ts. */
function validator(): ValidateFunction {
  if (compiled !== null) return compiled
  const { Ajv } = createRequire(import.meta.url)('ajv') as typeof import('ajv')
  const ajv = new Ajv({ allErrors: true, verbose: true, allowUnionTypes: true })
  ajv.addKeyword({ keyword: 'x-value', schemaType: 'object', validate: readValue, errors: 'full' })
  return (compiled = ajv.compile(SCHEMA))
}

/** One problem for a value, however many keywords it violates. */
function schemaProblems({ places, locate }: SettingsDocument, errors: ErrorObject[]): Problem[] {
  const problems = new Map<string, Problem>()
  for (const error of errors) {
    const { keyword, instancePath } = error
    if (keyword === 'pattern') continue      // the same value fails `x-value`, which knows why
    const unknown = keyword === 'additionalProperties'
    const name = unknown ? String((error.params as { additionalProperty: string }).additionalProperty) : ''
    const pointer = unknown ? childPointer(instancePath, name) : instancePath
    if (problems.has(pointer)) continue
    const place = places.get(pointer) ?? { key: null, value: 0 }
    const { message, suggestion } = unknown ? unknownKey(instancePath, name) : wrongValue(error)
    problems.set(pointer, {
      ...locate(unknown ? place.key ?? place.value : place.value), path: pathOf(pointer), message,
      ...suggestion !== undefined && { suggestion },
    })
  }
  return [...problems.values()]
}

function unknownKey(pointer: string, name: string): Fault {
  const section = pathOf(pointer)
  const parent = section === '' ? SCHEMA : SCHEMA.properties[section] as Section
  const here = Object.keys(parent.properties)
  const near = nearest(name, here)
  if (near !== null) return fault('no such setting', `did you mean ${near}?`)
  const paths = settings().map(([path]) => path)
  const last = (path: string) => path.slice(path.indexOf('.') + 1)
  const similar = nearest(name, paths.map(last))
  const elsewhere = paths.find(path => last(path) === name || path.replace('.', '-') === name)
    ?? paths.find(path => last(path) === similar)
  if (elsewhere !== undefined) return fault('no such setting', `did you mean ${elsewhere}?`)
  return fault('no such setting', `known ${section === '' ? 'here' : `in ${section}`}: ${here.join(', ')}`)
}

function wrongValue({ keyword, params, data, parentSchema, instancePath }: ErrorObject): Fault {
  const schema = parentSchema as unknown as Setting
  if (keyword === 'x-value') return params as Fault
  if (keyword === 'minItems') return fault('the list is empty', `write at least one, such as ${sample(schema)}`)
  if (keyword === 'maxItems') {
    return fault(`the list has ${(data as unknown[]).length} entries, and at most ${schema.maxItems} are allowed`)
  }
  if (keyword === 'enum') {
    const choices = schema.enum ?? []
    const near = nearest(String(data), choices)
    const suggestion = near === null ? undefined : `did you mean ${near}?`
    return fault(`'${String(data)}' is none of ${choices.join(', ')}`, suggestion)
  }
  if (keyword !== 'type') return fault(`${keyword} is violated`)

  const section = 'properties' in schema
  if (data === null) return fault('the value is missing', `write ${sample(schema)}, or remove the line for the default`)
  const need = (what: string, suggestion: string) => fault(`${what} is needed here, not ${described(data)}`, suggestion)
  if (section) {
    const [key, setting] = Object.entries((schema as unknown as Section).properties)[0]!
    return instancePath === '' && typeof data !== 'object'
      ? fault('this is not a list of settings', 'write `section:` and below it, indented, `key: value`')
      : need('a section', `write below it, indented, settings such as ${key}: ${sample(setting as Setting)}`)
  }
  if (schema.type === 'array') {
    return need('a list', typeof data === 'string' ? `write [${data}]` : `write one such as ${sample(schema)}`)
  }
  if (schema.type === 'boolean') {
    const word = String(data).toLowerCase()
    const meant = ['yes', 'on', 'true', '1', 'y'].includes(word) ? 'true'
      : ['no', 'off', 'false', '0', 'n'].includes(word) ? 'false' : 'true or false'
    return need('true or false', `write ${meant}`)
  }
  if (schema.enum !== undefined) return need(`one of ${schema.enum.join(', ')}`, `write ${sample(schema)}`)
  const rule = schema['x-value']!
  if (typeof data === 'object' && !Array.isArray(data)) {
    return need(KINDS[rule.kind], 'put quotes around a text that holds a colon')
  }
  if (rule.kind === 'duration' && typeof data === 'number') {
    const ms = Math.round(data * 1000)
    const meant = ms > 0 ? durationToText(ms) : sample(schema)
    return fault(`${data} has no unit`, `did you mean ${meant}? The units are d, h, m, s and ms`)
  }
  if (rule.kind === 'ports' && typeof data === 'number') return need(KINDS.ports, `did you mean ${data}-${rule.max}?`)
  return need(KINDS[rule.kind], `write one such as ${sample(schema)}`)
}

const KINDS: Record<ValueRule['kind'], string> = {
  duration: 'a duration', count: 'a whole number', ports: 'a range of ports', prefix: 'a prefix',
  range: 'an address, a range or a prefix', ipv4: 'an IPv4 address', ipv6: 'an IPv6 address',
}

function described(data: unknown): string {
  if (Array.isArray(data)) return 'a list'
  if (typeof data === 'object') return 'a section'
  return typeof data === 'string' ? `'${data}'` : String(data)
}

function sample({ examples }: Setting): string {
  const [first] = examples ?? []
  return Array.isArray(first) ? `[${first.join(', ')}]` : String(first)
}

/* Between settings. */

/** The entries of a list that parse, with their pointers; the defaults if the list is absent. */
function entries<T>(data: unknown, path: string, read: (text: string) => Parsed<T>): { pointer: string; value: T }[] {
  const pointer = '/' + path.replace('.', '/')
  const list = setting(data, path)
  return (Array.isArray(list) ? list : []).flatMap((item, i) => {
    const parsed = typeof item === 'string' ? read(item) : fault('not a text')
    return parsed.ok ? [{ pointer: childPointer(pointer, i), value: parsed.value }] : []
  })
}

function betweenSettings({ data, places, locate, problems: earlier }: SettingsDocument): Problem[] {
  const problems: Problem[] = []
  // A list that is absent has no place; then the other party to the conflict has to answer for it.
  const found = (pointers: string[], message: string, suggestion?: string) => {
    const pointer = pointers.find(candidate => places.has(candidate)) ?? ''
    const place = locate(places.get(pointer)?.value ?? 0)
    problems.push({ ...place, path: pathOf(pointer), message, ...suggestion !== undefined && { suggestion } })
  }
  if (data === null && earlier.length > 0) return []

  const inside = entries(data, 'inside', parsePrefix)
  inside.forEach(({ pointer, value }, i) => {
    const text = printPrefix(value)
    if (inside.slice(0, i).some(other => printPrefix(other.value) === text)) {
      found([pointer], `${text} is in the list twice`, 'remove it')
    }
  })
  const pool = entries(data, 'nat.pool', usableRange)
  const addresses = pool.reduce((n, { value }) => n + value.last - value.first + 1, 0)
  if (addresses > POOL_MOST) {
    found(['/nat/pool'], `${addresses} addresses are too many (1 to ${POOL_MOST})`, 'write a shorter range or prefix')
  }
  if (setting(data, 'nat.nat44') === false) return problems
  pool.forEach(({ pointer, value }, i) => {
    for (const other of pool.slice(0, i)) {
      const both = overlap(value, other.value)
      if (both !== null) {
        found([pointer], `${rangeToText(both)} is in the pool twice`, `${pathOf(other.pointer)} holds it already`)
        break
      }
    }
    for (const prefix of inside) {
      const both = prefix.value.version === 4 ? overlap(value, prefixRange(prefix.value)) : null
      if (both === null) continue
      found([pointer, prefix.pointer],
        `${rangeToText(both)} is both in the pool and inside, in ${printPrefix(prefix.value)}`,
        'outside addresses must not be inside ones')
      break
    }
  })
  const own = usableIpv4(String(setting(data, 'box.inside-address')))
  const taken = own.ok ? { first: own.value >>> 0, last: own.value >>> 0 } : null
  const holder = taken === null ? undefined : pool.find(({ value }) => overlap(value, taken) !== null)
  if (holder !== undefined) {
    found(['/box/inside-address', holder.pointer], `${rangeToText(taken!)} is in nat.pool`,
      'write an address outside of the pool')
  }
  return problems
}

function overlap(a: Range, b: Range): Range | null {
  const first = Math.max(a.first, b.first), last = Math.min(a.last, b.last)
  return first <= last ? { first, last } : null
}

/* Assembly. */

/** What is written for a setting, or its default. */
function setting(data: unknown, path: string): unknown {
  let written = data
  for (const key of path.split('.')) {
    if (written === null || typeof written !== 'object' || !Object.hasOwn(written, key)) { written = undefined; break }
    written = (written as Record<string, unknown>)[key]
  }
  return written ?? FALLBACK.get(path)
}

const FALLBACK = new Map(settings().map(([path, { default: fallback }]) => [path, fallback]))
const RULES = new Map(settings().map(([path, node]) => [path, node['x-value'] ?? node.items?.['x-value']]))

/** Only for settings that have been found good. */
function assemble(data: unknown): Config {
  const read = <T>(path: string, written: unknown): T => {
    const parsed = parseValue(RULES.get(path)!, written as string)
    if (!parsed.ok) throw new Error(`${path}: ${parsed.message}`)
    return parsed.value as T
  }
  const plain = <T>(path: string) => setting(data, path) as T
  const value = <T>(path: string) => read<T>(path, setting(data, path))
  const list = <T>(path: string) => (setting(data, path) as unknown[]).map(item => read<T>(path, item))
  return {
    inside: list<Prefix>('inside'),
    box: { insideAddress: value('box.inside-address'), address6: value('box.address6') },
    nat: {
      nat44: plain('nat.nat44'),
      pool: list<Range>('nat.pool').flatMap(rangeWords),
      ports: value('nat.ports'),
      portPreservation: plain('nat.port-preservation'),
      filtering: plain<Filtering>('nat.filtering'),
      hairpinning: plain('nat.hairpinning'),
    },
    firewall: {
      outbound: plain<Policy>('firewall.outbound'),
      inbound6: plain<Policy>('firewall.inbound6'),
      tcpMidstream: plain('firewall.tcp-midstream'),
    },
    timers: {
      udpMs: value('timers.udp'),
      tcpTransitoryMs: value('timers.tcp-transitory'),
      tcpEstablishedMs: value('timers.tcp-established'),
      icmpQueryMs: value('timers.icmp-query'),
      otherMs: value('timers.other'),
      fragmentMs: value('timers.fragment'),
    },
    limits: {
      flows: value('limits.flows'),
      fragmentDatagrams: value('limits.fragment-datagrams'),
      fragmentHold: value('limits.fragment-hold'),
      icmpErrorsPerSecond: value('limits.icmp-errors-per-second'),
    },
    checks: { ipv4Checksum: plain<ChecksumCheck>('checks.ipv4-checksum') },
  }
}

function rangeWords({ first, last }: Range): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i | 0)
}
