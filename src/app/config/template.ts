/** The configuration to begin with: every setting at its value, under a comment that says what it means. */
import { SCHEMA } from './schema.ts'
import { inYaml, isSection, isSectionList, type Section, type SectionList, type Setting } from './setting.ts'

const WIDTH = 100

/** Values in place of defaults, by path; of a list of sections, its entries. */
export type Values = Readonly<Record<string, unknown>>

/** A box to try things on: agents come in from this machine and need no key, and may do what there is. */
const LAB: Values = {
  inside: ['10.0.0.0/8'],
  'midcom.enabled': true,
  'midcom.wildcards.internal': true,
  'midcom.wildcards.external': true,
  'midcom.agents': [{ name: 'lab', 'acts-for': ['*'] }],
  'midcom.simco.loopback-agent': 'lab',
  'midcom.simco.challenge': false,
  // Whoever writes an agent sends what cannot be, and is answered at once.
  'midcom.simco.limits.faults-per-minute': 1_000_000,
  'midcom.state': 'pinhole-lab-state',
  'midcom.snmp.listen': ['127.0.0.1:1161'],
  'midcom.snmp.users': [{
    name: 'lab', agent: 'lab', auth: 'SHA-256', 'auth-password': 'labauthpass', priv: 'AES', 'priv-password': 'labprivpass',
  }],
}

export function template(): string {
  return write([
    '# Pinhole. Every setting below stands at its default; a line that is removed changes nothing.',
    '# `pinhole check FILE` says what is wrong, and `pinhole check --schema` prints the schema for editors.',
  ], {})
}

/** For `pinhole run --simulate`. */
export function labTemplate(): string {
  return write([
    '# Pinhole, a box to try things on: `pinhole run --simulate --config FILE` runs it, without any interface. Whoever',
    '# connects to SIMCO at 127.0.0.1:7626 from this machine is the agent lab. The user lab of SNMPv3 at 127.0.0.1:1161 is the',
    '# same agent (SHA-256 with labauthpass, AES with labprivpass); the number of its starts is kept in pinhole-lab-state.',
    '# NOT for a network: lab needs no key, and may do everything. Inside is 10.0.0.0/8, outside addresses are 203.0.113.1',
    '# to 203.0.113.4. Where a value is not the default, the comment above it says what the default is.',
  ], LAB)
}

function write(head: string[], values: Values): string {
  return [...head, ...body(SCHEMA, '', '', values)].join('\n') + '\n'
}

function body(section: Section, before: string, indent: string, values: Values): string[] {
  return Object.entries(section.properties).flatMap(([name, node]) => {
    const path = before + name
    // What is grouped stands apart.
    const lines = indent === '' ? [''] : []
    if (isSection(node)) {
      const inner = body(node, `${path}.`, `${indent}  `, values)
      return [...lines, ...wrap(node.description, `${indent}# `), `${indent}${name}:`, ...inner]
    }
    if (isSectionList(node)) return [...lines, ...listBody(node, name, indent, values[path] as Record<string, unknown>[] ?? [])]
    return [...lines, ...comment(node, indent), `${indent}${name}: ${inYaml(values[path] ?? node.default)}`]
  })
}

/** The entries, or none and how one would look. */
function listBody({ description, items }: SectionList, name: string, indent: string, entries: Record<string, unknown>[]): string[] {
  const lines = wrap(description, `${indent}# `)
  const sampleOf = (key: string, node: Setting) => `${key}: ${inYaml(node.examples?.[0])}`
  const example = Object.entries(items.properties).flatMap(([key, node]) => [
    ...wrap(`  ${(node as Setting).description}`, `${indent}#   `), `${indent}#     ${sampleOf(key, node as Setting)}`,
  ])
  lines.push(`${indent}# An entry:`, ...example.map(line => line.replace(/^( *# {2}) {2}( {2}name:)/, '$1  $2')))
  if (entries.length === 0) return [...lines, `${indent}${name}: []`]
  return [...lines, `${indent}${name}:`, ...entries.flatMap(entry => Object.entries(entry)
    .map(([key, written], i) => `${indent}  ${i === 0 ? '- ' : '  '}${key}: ${inYaml(written)}`))]
}

function comment(setting: Setting, indent: string): string[] {
  return [...wrap(setting.description, `${indent}# `), ...wrap(limits(setting), `${indent}# `)]
}

/** `2m to 12d; default 5m`. */
export function limits(setting: Setting): string {
  const { kind, min, max, unit = '', off, word } = setting['x-value'] ?? {}
  const beside = [...off === true ? [kind === 'duration' ? '0s' : '0'] : [], ...word === undefined ? [] : [word]].join(', ')
  const range = setting.enum?.join(' | ')
    ?? (setting.type === 'boolean' ? 'true | false' : undefined)
    ?? (min === undefined ? undefined : `${beside === '' ? '' : `${beside}, or `}${min} to ${max} ${unit}`.trim())
  return `${range === undefined ? 'Default' : `${range}; default`} ${inYaml(setting.default)}`
}

function wrap(text: string, indent: string): string[] {
  const lines: string[] = []
  let line = indent.trimEnd()
  for (const word of text.trim().split(' ')) {
    if (line.length + 1 + word.length > WIDTH) { lines.push(line); line = indent.trimEnd() }
    line += (line.length < indent.length ? indent.slice(line.length) : ' ') + word
  }
  return [...lines, line]
}
