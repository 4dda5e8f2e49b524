/** The configuration to begin with: every setting at its default, under a comment that says what it means. */
import { isSection, SCHEMA, type Setting } from './schema.ts'

const WIDTH = 100

export function template(): string {
  const lines = [
    '# Pinhole. Every setting below stands at its default; a line that is removed changes nothing.',
    '# `pinhole check FILE` says what is wrong, and `pinhole check --schema` prints the schema for editors.',
  ]
  for (const [name, node] of Object.entries(SCHEMA.properties)) {
    lines.push('')
    if (!isSection(node)) {
      lines.push(...comment(node, ''), `${name}: ${inYaml(node.default)}`)
      continue
    }
    lines.push(...wrap(node.description, '# '), `${name}:`)
    for (const [key, setting] of Object.entries(node.properties)) {
      lines.push(...comment(setting, '  '), `  ${key}: ${inYaml(setting.default)}`)
    }
  }
  return lines.join('\n') + '\n'
}

function comment(setting: Setting, indent: string): string[] {
  return [...wrap(setting.description, `${indent}# `), ...wrap(limits(setting), `${indent}# `)]
}

/** `2m to 12d; default 5m`. */
export function limits(setting: Setting): string {
  const { min, max, unit = '' } = setting['x-value'] ?? {}
  const range = setting.enum?.join(' | ')
    ?? (setting.type === 'boolean' ? 'true | false' : undefined)
    ?? (min === undefined ? undefined : `${min} to ${max} ${unit}`.trim())
  return `${range === undefined ? 'Default' : `${range}; default`} ${inYaml(setting.default)}`
}

function inYaml(value: unknown): string {
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
}

function wrap(text: string, indent: string): string[] {
  const lines: string[] = []
  let line = indent.trimEnd()
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > WIDTH) { lines.push(line); line = indent.trimEnd() }
    line += ' ' + word
  }
  return [...lines, line]
}
