/**
 * One YAML 1.2 document as plain values, with the place of each in the file. Of YAML only what a list of settings needs
 * is taken: mappings with text keys, lists, scalars. Anchors, aliases, tags, directives, duplicate keys and a second
 * document are refused, each at its own place.
 */
import { createRequire } from 'node:module'
import type * as Yaml from 'yaml'
import type { CST, ErrorCode, ParsedNode, YAMLError } from 'yaml'

// Loaded by the first file that is read: a run without one starts a tenth of a second sooner, with the validator in load.ts.
let yaml: typeof Yaml

/** Something wrong, at a place. `path` is the setting, as in `timers.udp`, or empty. Lines and columns count from 1. */
export interface Problem {
  line: number
  column: number
  path: string
  message: string
  suggestion?: string
}

/** Where a setting stands in the file: the key, unless it is an item of a list, and the value. */
export interface Place {
  key: number | null
  value: number
}

/** Tells a problem at the first of these places that the file has. */
export type Found = (pointers: string[], message: string, suggestion?: string) => void

/** Adds to `problems`. A list that is absent has no place; then the other party to the conflict has to answer for it. */
export function reporter({ places, locate }: SettingsDocument, problems: Problem[]): Found {
  return (pointers, message, suggestion) => {
    const pointer = pointers.find((candidate) => places.has(candidate)) ?? ''
    const place = locate(places.get(pointer)?.value ?? 0)
    problems.push({ ...place, path: pathOf(pointer), message, ...suggestion !== undefined && { suggestion } })
  }
}

export interface SettingsDocument {
  /** Objects have no prototype, so that a key such as `__proto__` is a key like all others. */
  data: unknown
  /** By JSON pointer. */
  places: Map<string, Place>
  problems: Problem[]
  /** Line and column of an offset. */
  locate(offset: number): { line: number; column: number }
}

export function childPointer(pointer: string, key: string | number): string {
  return `${pointer}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/** `/nat/pool/0` as people say it: `nat.pool[0]`. */
export function pathOf(pointer: string): string {
  return pointer.split('/').slice(1).map(part => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part, i) => /^\d+$/.test(part) ? `[${part}]` : i === 0 ? part : `.${part}`).join('')
}

/** Our words for what the parser says, where ours are plainer, and what to do about it. */
function syntaxAdvice(code: ErrorCode, message: string): [message: string, suggestion?: string] {
  const theirs = message.charAt(0).toLowerCase() + message.slice(1)
  const quotes = 'put quotes around a text that holds a colon'
  switch (code) {
    case 'TAB_AS_INDENT': return ['a tab is used as indentation', 'indent with spaces']
    case 'TAG_RESOLVE_FAILED': return [theirs, 'tags are not used here']
    case 'BAD_SCALAR_START': return [theirs, 'put quotes around a text that begins with this character']
    case 'BLOCK_IN_FLOW': return [theirs, quotes]
    case 'BLOCK_AS_IMPLICIT_KEY': return [theirs, `check the indentation, or ${quotes}`]
    case 'MULTILINE_IMPLICIT_KEY': return [theirs, 'write `key: value`, with a space after the colon']
    case 'BAD_INDENT': return message.startsWith('Flow')
      ? ['a bracket is not closed']
      : [theirs, 'indent all settings of a section by the same number of spaces']
    case 'MISSING_CHAR': return message.includes('quote')
      ? ['a quote is not closed']
      : [theirs, 'write `key: value`, with a space after the colon']
    default: return [theirs]
  }
}

/** Deeper than any setting lies, and far from what the composer, which recurses, could stand. */
const DEEPEST = 16

/** Offset of the first token that is nested too deeply, or -1. */
function tooDeep(tokens: CST.Token[]): number {
  let level: (CST.Token | null | undefined)[] = tokens
  for (let depth = 0; depth < DEEPEST && level.length > 0; depth++) {
    level = level.flatMap(token => {
      if (token === null || token === undefined) return []
      if (token.type === 'document') return [token.value]
      return 'items' in token ? token.items.flatMap(item => [item.key, item.value]) : []
    })
  }
  return level.find(token => token !== null && token !== undefined)?.offset ?? -1
}

export function readDocument(text: string): SettingsDocument {
  yaml ??= createRequire(import.meta.url)('yaml') as typeof Yaml
  const lines = new yaml.LineCounter()
  const problems: Problem[] = []
  const places = new Map<string, Place>()
  const locate = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const found = (offset: number, pointer: string, message: string, suggestion?: string) => {
    problems.push({ ...locate(offset), path: pathOf(pointer), message, ...suggestion !== undefined && { suggestion } })
  }
  const result = (data: unknown): SettingsDocument => ({ data, places, problems, locate })

  const tokens = [...new yaml.Parser(lines.addNewLine).parse(text)]
  const deep = tooDeep(tokens)
  if (deep >= 0) {
    found(deep, '', 'nested too deeply', 'no setting lies so deep')
    return result(null)
  }
  const composer = new yaml.Composer<ParsedNode>({ prettyErrors: false, uniqueKeys: false, version: '1.2' })
  const documents = [...composer.compose(tokens, true, text.length)]
  const faults: YAMLError[] = documents.flatMap(document => [...document.errors, ...document.warnings])
  const faultyLines = new Set<number>()
  for (const { code, message, pos } of faults.sort((a, b) => a.pos[0] - b.pos[0])) {
    const { line } = locate(pos[0])
    if (faultyLines.has(line)) continue      // one slip often makes the parser complain twice
    faultyLines.add(line)
    found(pos[0], '', ...syntaxAdvice(code, message))
  }
  const [document, second] = documents
  if (document === undefined) throw new Error('the composer was told to make a document')
  if (second !== undefined) {
    const from = text.slice(0, second.range[1]).search(/(?<=\n)---(?![\s\S]*\n---)/)
    found(from < 0 ? second.range[0] : from, '', 'a second document begins here', 'put all settings into one document')
  }
  const directive = /^%.*/m.exec(text.slice(0, document.range[1]))
  if (directive !== null && document.directives?.yaml.explicit === true && document.directives.yaml.version !== '1.2') {
    found(directive.index, '', 'the file asks for another YAML than 1.2', 'remove this line')
  }
  if (faults.length > 0) return result(null)

  const plain = (node: ParsedNode | null, pointer: string): unknown => {
    if (node === null) return null
    if (yaml.isAlias(node)) {
      found(node.range[0], pointer, `'*${node.source}' is an alias, and aliases are not used here`,
        'write the value itself')
      return undefined
    }
    // The node's range begins after its anchor and tag.
    if (node.anchor !== undefined) {
      const at = text.lastIndexOf('&' + node.anchor, node.range[0])
      found(at < 0 ? node.range[0] : at, pointer, `'&${node.anchor}' is an anchor, and anchors are not used here`,
        'remove it')
    }
    if (node.tag !== undefined) {
      let at = text.lastIndexOf('!', node.range[0])
      if (text[at - 1] === '!') at--
      found(at < 0 ? node.range[0] : at, pointer, `'${node.tag}' is a tag, and tags are not used here`, 'remove it')
    }
    if (yaml.isSeq(node)) {
      return node.items.map((item, i) => {
        const child = childPointer(pointer, i)
        places.set(child, { key: null, value: (item as ParsedNode).range[0] })
        return plain(item as ParsedNode, child)
      }).filter(item => item !== undefined)
    }
    if (!yaml.isMap(node)) return yaml.isScalar(node) ? node.value : undefined
    const object = Object.create(null) as Record<string, unknown>
    for (const { key, value } of node.items) {
      if (!yaml.isScalar(key) || key.value === null || key.value === '') {
        found(key.range[0], pointer, 'a key is needed here', 'write `key: value`')
        continue
      }
      const name = String(key.value)
      const child = childPointer(pointer, name)
      const before = places.get(child)
      if (before !== undefined) {
        found(key.range[0], child, `'${name}' is set a second time`,
          `remove one of the two; the first is in line ${locate(before.key!).line}`)
        continue
      }
      const empty = value === null || value.range[0] === value.range[1]
      places.set(child, { key: key.range[0], value: empty ? key.range[0] : value.range[0] })
      if (key.anchor !== undefined) found(key.range[0], child, 'anchors are not used here', 'remove it')
      const part = plain(value, child)
      if (part !== undefined) object[name] = part
    }
    return object
  }
  places.set('', { key: null, value: document.contents?.range[0] ?? 0 })
  return result(plain(document.contents, ''))
}
