/** What a schema finds wrong with a document, in words, each at its place, with what was probably meant. */
import { createRequire } from 'node:module'
import type { ErrorObject, SchemaValidateFunction, ValidateFunction } from 'ajv'
import { fault, type Fault, type Parsed } from './address.ts'
import { parsePart } from './firewall.ts'
import { childPointer, pathOf, type Problem, type SettingsDocument } from './document.ts'
import { nearest } from './nearest.ts'
import { durationToText } from './quantity.ts'
import { inYaml, isSection, isSectionList, type Section, type Setting, type SectionList, type ValueRule } from './setting.ts'
import { parseValue, takesNumber } from './values.ts'

const readValue: SchemaValidateFunction = (rule: ValueRule, written: unknown, _schema, at) => {
  if (rule.kind === 'rule-part') return isGood(readValue, parseRulePart(at?.instancePath ?? '', written))
  // Of a value that is not even of the right type, `type` complains.
  if (typeof written !== 'string' && (typeof written !== 'number' || !takesNumber(rule))) return true
  return isGood(readValue, parseValue(rule, written))
}

function isGood(of: SchemaValidateFunction, parsed: Parsed<unknown>): boolean {
  if (!parsed.ok) of.errors = [{ keyword: 'x-value', message: parsed.message, params: parsed }]
  return parsed.ok
}

/** A list counts as a whole: what one entry leaves, another may take out. */
function parseRulePart(pointer: string, written: unknown): Parsed<unknown> {
  const entries: unknown[] = Array.isArray(written) ? written : [written]
  // Of what is not even a text or a number, `type` complains.
  if (entries.length > 0 && !entries.every((one) => typeof one === 'string' || Number.isInteger(one))) return { ok: true,
    value: null }
  return parsePart(pointer, written)
}

const compiled = new WeakMap<Section, ValidateFunction>()

/** A schema, compiled when the first file is read; see document.ts. */
function validatorOf(schema: Section): ValidateFunction {
  const before = compiled.get(schema)
  if (before !== undefined) return before
  const { Ajv } = createRequire(import.meta.url)('ajv') as typeof import('ajv')
  const ajv = new Ajv({ allErrors: true, verbose: true, allowUnionTypes: true })
  ajv.addKeyword({ keyword: 'x-value', schemaType: 'object', validate: readValue, errors: 'full' })
  const validate = ajv.compile(schema)
  compiled.set(schema, validate)
  return validate
}

/**
 * Checks a part of a document against the schema of a section. One problem for a value, however many keywords it violates.
 * @param pointer where the part stands in the document
 */
export function schemaProblems({ places, locate }: SettingsDocument, schema: Section, part: unknown, pointer = ''): Problem[] {
  const validate = validatorOf(schema)
  if (validate(part)) return []
  const problems = new Map<string, Problem>()
  for (const error of validate.errors ?? []) {
    const { keyword, instancePath } = error
    if (keyword === 'pattern') continue      // the same value fails `x-value`, which knows why
    const unknown = keyword === 'additionalProperties'
    const name = unknown ? String((error.params as { additionalProperty: string }).additionalProperty) : ''
    const at = pointer + (unknown ? childPointer(instancePath, name) : instancePath)
    // What is missing is said beside whatever else is wrong with an entry.
    const key = keyword === 'required' ? `${at} ${(error.params as { missingProperty: string }).missingProperty}` : at
    if (problems.has(key)) continue
    const place = places.get(at) ?? { key: null, value: 0 }
    const { message, suggestion } = unknown
      ? unknownKey(schema, error.parentSchema as unknown as Section, pathOf(pointer + instancePath), name) : wrongValue(error)
    problems.set(key, {
      ...locate(unknown ? place.key ?? place.value : place.value), path: pathOf(at), message,
      ...suggestion !== undefined && { suggestion },
    })
  }
  return [...problems.values()]
}

/** Paths of all settings and sections below a section, as in `timers.udp`, those of the entries of a list as in `agents[].key`. */
function paths(section: Section, before: string): string[] {
  return Object.entries(section.properties).flatMap(([name, node]) => {
    const path = before + name
    if (isSection(node)) return [path, ...paths(node, `${path}.`)]
    return isSectionList(node) ? [path, ...paths(node.items, `${path}[].`)] : [path]
  })
}

function unknownKey(root: Section, section: Section, path: string, name: string): Fault {
  const here = Object.keys(section.properties)
  const near = nearest(name, here)
  if (near !== null) return fault('no such setting', `did you mean ${near}?`)
  const all = paths(root, '')
  const last = (one: string) => one.slice(one.lastIndexOf('.') + 1)
  const similar = nearest(name, all.map(last))
  const elsewhere = all.find(one => last(one) === name || one.replaceAll('.', '-') === name)
    ?? all.find(one => last(one) === similar)
  if (elsewhere !== undefined) return fault('no such setting', `did you mean ${elsewhere}?`)
  return fault('no such setting', `known ${path === '' ? 'here' : `in ${path}`}: ${here.join(', ')}`)
}

/** A longer list is not one that anybody reads. */
const MOST_CHOICES = 12

function wrongValue({ keyword, params, data, parentSchema, instancePath }: ErrorObject): Fault {
  const schema = parentSchema as unknown as Setting
  if (keyword === 'x-value') return params as Fault
  if (keyword === 'minItems') return fault('the list is empty', `write at least one, such as ${sample(schema)}`)
  if (keyword === 'maxItems') {
    return fault(`the list has ${(data as unknown[]).length} entries, and at most ${schema.maxItems} are allowed`)
  }
  if (keyword === 'enum') {
    const choices = (schema.enum ?? []).map(String)
    const near = typeof data === 'object' ? null : nearest(String(data), choices)
    const isLong = choices.length > MOST_CHOICES
    const otherwise = isLong ? `write one such as ${choices.slice(0, 3).join(', ')}` : undefined
    return fault(`${described(data)} is none of ${isLong ? `the ${choices.length} that are known here` : choices.join(', ')}`,
      near === null ? otherwise : `did you mean ${near}?`)
  }
  if (keyword === 'required') {
    const { missingProperty } = params as { missingProperty: string }
    const missing = (parentSchema as unknown as Section).properties[missingProperty] as Setting
    return fault(`${missingProperty} is missing`, `add ${missingProperty}: ${sample(missing)}`)
  }
  if (keyword !== 'type') return fault(`${keyword} is violated`)

  const section = 'properties' in schema
  if (data === null && !section) {
    const rest = schema.default === undefined ? '' : ' for the default'
    return fault('the value is missing', `write ${sample(schema)}, or remove the line${rest}`)
  }
  const need = (what: string, suggestion: string) => fault(`${what} is needed here, not ${described(data)}`, suggestion)
  if (section) {
    const [key, setting] = Object.entries((schema as unknown as Section).properties)[0]!
    if (schema.type.includes('string')) {
      return need('a section or a text', 'write {action: permit} or "permit in ip from any to any"')
    }
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
  if (schema.enum !== undefined) {
    const { length } = schema.enum
    const shown = length > MOST_CHOICES ? `${schema.enum.slice(0, 4).join(', ')} and ${length - 4} more` : schema.enum.join(', ')
    return need(`one of ${shown}`, `write ${sample(schema)}`)
  }
  const rule = schema['x-value']!
  if (typeof data === 'object' && !Array.isArray(data)) {
    return need(KINDS[rule.kind], 'put quotes around a text that holds a colon')
  }
  if (rule.kind === 'tuple' && typeof data === 'object') return need(KINDS.tuple, 'put quotes around it')
  if (rule.kind === 'instant' && typeof data === 'number') return need(KINDS.instant, `did you mean ${data}s?`)
  if (rule.kind === 'duration' && typeof data === 'number') {
    const ms = Math.round(data * 1000)
    const meant = ms > 0 ? durationToText(ms) : sample(schema)
    return fault(`${data} has no unit`, `did you mean ${meant}? The units are d, h, m, s and ms`)
  }
  if (typeof data === 'number' && QUOTED.includes(rule.kind)) return need(KINDS[rule.kind], 'put quotes around it')
  if (rule.kind === 'ports' && typeof data === 'number') return need(KINDS.ports, `did you mean ${data}-${rule.max}?`)
  return need(KINDS[rule.kind], `write one such as ${sample(schema)}`)
}

/** Texts that YAML may take for a number. */
const QUOTED: readonly ValueRule['kind'][] = ['key', 'name', 'text', 'password', 'engine-id', 'subtree']

const KINDS: Record<ValueRule['kind'], string> = {
  duration: 'a duration', count: 'a whole number', ports: 'a range of ports', prefix: 'a prefix',
  range: 'an address, a range or a prefix', ipv4: 'an IPv4 address', ipv6: 'an IPv6 address', endpoint: 'an address with a port',
  protocol: 'a protocol', key: 'a key', certificate: 'a name in a certificate', url: 'a URL', name: 'a name', text: 'a text',
  instant: 'a time', tuple: 'an address tuple', password: 'a password', 'engine-id': 'an engine identifier',
  subtree: 'an object identifier',
  hosts: 'an address or a prefix', span: 'an address with ports',
  end: 'an address, a prefix or an address with ports',
  interface: 'a name of an interface', vlan: 'the number of a VLAN', 'interface-address': 'an address with a prefix length',
  address: 'an address',
  rule: 'a rule', 'rule-part': 'a text, a number or a list of them',
}

/** A value that does not fit, in a few words. */
export function described(data: unknown): string {
  if (Array.isArray(data)) return 'a list'
  if (typeof data === 'object') return 'a section'
  return typeof data === 'string' ? `'${data}'` : String(data)
}

function sample(node: Setting | SectionList): string {
  if (isSectionList(node)) {
    return `[{${(node.items.required ?? []).map(key => `${key}: ${sample(node.items.properties[key] as Setting)}`).join(', ')}}]`
  }
  return inYaml(node.examples?.[0])
}
