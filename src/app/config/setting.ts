/**
 * What a setting is, as a piece of JSON Schema (draft 7), and short ways to write one down. Standard keywords say what a
 * schema can say; `x-value` names the grammar of a text and its limits, which only our checker reads.
 */
import { countToText, COUNT_PATTERN, DURATION_PATTERN, parseCount, PORTS_PATTERN } from './quantity.ts'

/** What a text means, and the least and the most it may be, both as they are written in the file. */
export interface ValueRule {
  kind: 'duration' | 'count' | 'ports' | 'prefix' | 'range' | 'ipv4' | 'ipv6' | 'endpoint' | 'protocol' | 'key' | 'certificate'
    | 'hosts' | 'span' | 'end' | 'url' | 'name' | 'text' | 'instant' | 'tuple' | 'password' | 'engine-id' | 'subtree'
    | 'rule' | 'rule-part' | 'interface' | 'vlan' | 'interface-address' | 'address'
  min?: string
  max?: string
  /** Who sets the limit, to be cited, or what is counted. */
  source?: string
  unit?: string
  /** A duration of 0 is allowed beside the range: never. */
  off?: true
  /** A duration in whole seconds. */
  seconds?: true
  /** A word that may stand in place of the value. */
  word?: string
  /** Of an endpoint: the port that is meant if none is written. */
  port?: string
}

/** One setting. Without a default it may be left out and then says nothing. */
export interface Setting {
  type: string | string[]
  description: string
  default?: unknown
  examples?: unknown[]
  pattern?: string
  enum?: (string | number)[]
  items?: Item
  minItems?: number
  maxItems?: number
  'x-value'?: ValueRule
}

export interface Item {
  type: string | string[]
  description: string
  examples: unknown[]
  enum?: string[]
  'x-value'?: ValueRule
}

export type Node = Setting | Section | SectionList

// A section may be null: `timers:` with nothing but comments under it is a section whose settings are all defaults.
export interface Section {
  type: ['object', 'null'] | 'object' | ['object', 'string']
  description: string
  additionalProperties: false
  properties: Record<string, Node>
  required?: string[]
  /** Of a text that may stand in place of the section. */
  'x-value'?: ValueRule
}

/** A list whose entries are sections. */
export interface SectionList {
  type: 'array'
  description: string
  default: unknown[]
  examples?: unknown[]
  maxItems: number
  items: Section
}

export function isSection(node: Node): node is Section {
  return 'properties' in node
}

export function isSectionList(node: Node): node is SectionList {
  return 'items' in node && node.items !== undefined && 'properties' in node.items
}

/** A value as it is written in a file. */
export function inYaml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inYaml).join(', ')}]`
  const text = String(value)
  // What is neither a plain word nor a number needs quotes, and so does an IPv6 address in a list: YAML would see a mapping.
  if (typeof value !== 'string' || /^[\w/.+]([\w/.+: -]*[\w/.+-])?$/.test(text) && !/: |::/.test(text)) return text
  return JSON.stringify(text)
}

/** Everything that waits, waits at most so long: in milliseconds it stays below 2^30. */
export const LONGEST = '12d'

type Duration = Omit<ValueRule, 'kind'>

function text(rule: ValueRule, fallback: unknown, example: unknown, description: string): Setting {
  return {
    type: 'string', description, ...fallback !== undefined && { default: fallback }, examples: [example], 'x-value': rule,
  }
}

export function duration(
  fallback: string, min: string, max: string, source: string, description: string, more: Duration = {},
): Setting {
  return {
    type: 'string', description, default: fallback, examples: [fallback], pattern: DURATION_PATTERN,
    'x-value': { kind: 'duration', min, max, ...source !== '' && { source }, ...more },
  }
}

export function count(
  fallback: number | string, min: string, max: string, unit: string, description: string, more: Duration = {},
): Setting {
  const usual = shortest(fallback)
  return {
    type: ['integer', 'string'], description, default: usual, examples: [usual], pattern: COUNT_PATTERN,
    'x-value': { kind: 'count', min: String(shortest(min)), max: String(shortest(max)), unit, ...more },
  }
}

/** As people write it in the file: in k and M where it is whole in them. */
function shortest(count: number | string): number | string {
  const parsed = parseCount(count)
  const text = parsed.ok ? countToText(parsed.value) : String(count)
  return /^\d+$/.test(text) ? Number(text) : text
}

export function flag(fallback: boolean, description: string): Setting {
  return { type: 'boolean', description, default: fallback, examples: [fallback] }
}

export function choice(fallback: string, choices: string[], description: string): Setting {
  return { type: 'string', description, default: fallback, examples: [fallback], enum: choices }
}

export function ports(fallback: string, min: string, max: string, description: string): Setting {
  return {
    type: 'string', description, default: fallback, examples: [fallback], pattern: PORTS_PATTERN,
    'x-value': { kind: 'ports', min, max },
  }
}

/** A text of that kind; without a default it may be left out. */
export function value(kind: ValueRule['kind'], example: string, description: string, fallback?: string): Setting {
  return text({ kind }, fallback, example, description)
}

/** The same setting as one that may be left out and then says nothing. */
export function optional(setting: Setting): Setting {
  const copy = { ...setting }
  delete copy.default
  return copy
}

export function list(
  item: Item, most: number, fallback: unknown[] | undefined, examples: unknown[][], description: string, least = 0,
): Setting {
  return {
    type: 'array', description, ...fallback !== undefined && { default: fallback }, examples, ...least > 0 && { minItems: least },
    maxItems: most, items: item,
  }
}

export function item(kind: ValueRule['kind'], example: unknown, description: string, limits: Duration = {}): Item {
  return {
    type: kind === 'protocol' ? ['string', 'integer'] : 'string', description, examples: [example], 'x-value': { kind, ...limits },
  }
}

export function oneOf(choices: string[], description: string): Item {
  return { type: 'string', description, examples: [choices[0]], enum: choices }
}

export function section(description: string, properties: Record<string, Node>): Section {
  return { type: ['object', 'null'], description, additionalProperties: false, properties }
}

/** A list of sections; `required` settings have no default. */
export function sections(
  description: string, most: number, entry: string, required: string[], properties: Record<string, Node>,
): SectionList {
  return {
    type: 'array', description, default: [], maxItems: most,
    items: { type: 'object', description: entry, additionalProperties: false, required, properties },
  }
}
