/** What the documents say is held against the code, as far as it can be read from both: names, numbers, tables. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { checkConfig } from '../src/app/config/load.ts'
import { durationToText, parseCount, parseDuration } from '../src/app/config/quantity.ts'
import { settings } from '../src/app/config/schema.ts'
import { checkScript } from '../src/app/script/script.ts'
import { COUNTERS } from '../src/channel/counters.ts'
import { DROP_REASONS } from '../src/channel/reasons.ts'
import { SIMCO_COUNTERS } from '../src/control/simco/counters.ts'
import { REPLY_CODES } from '../src/control/simco/transactions.ts'
import { SNMP_COUNTERS } from '../src/control/snmp/counters.ts'
import { failureOf } from '../src/control/snmp/midcom/asking.ts'
import { DEVICE_COUNTERS } from '../src/phy/device.ts'
import { LIVE_COUNTERS } from '../src/plane/live-counters.ts'
import { REASONS, type Reason } from '../src/policy/api.ts'

const read = (file: string) => readFileSync(file, 'utf8')
/** Written by hand; the ledger and the comparison with nftables have tests of their own. */
const DOCS = ['README.md', 'ARCHITECTURE.md', 'native-bench/README.md',
  ...readdirSync('docs').filter((name) => name.endsWith('.md') && !/^(rfc|nftables)/.test(name)).map((name) => `docs/${name}`)]
const DOORS = ['simco', 'snmp', 'pdp'].map((door) => `src/control/${door}/README.md`)
const SETTINGS = new Map(settings())

/** What stands between two backticks, in a line. */
function quoted(text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, inner]) => inner)
}

/** Cells of the rows of the table with that head, or of the first one behind a mark. */
function rowsOf(text: string, mark: string): string[][] {
  const table = text.slice(text.indexOf(mark)).match(/(?:^\|.*\n)+/m)
  assert.ok(text.includes(mark) && table !== null, `${mark}: the table is not there`)
  return table[0].trimEnd().split('\n').slice(2).map((line) => line.slice(1, -1).split('|').map((cell) => cell.trim()))
}

test('docs: every setting that they name is one, with its section or without', () => {
  const paths = [...SETTINGS.keys()].map((path) => path.replaceAll('[]', ''))
  const sections = new Set(paths.flatMap((path) => path.split('.').map((_, n, parts) => parts.slice(0, n + 1).join('.'))))
  const first = [...new Set(paths.map((path) => path.split('.')[0]))].join('|')
  for (const file of [...DOCS, ...DOORS]) {
    for (const text of quoted(read(file))) {
      for (const [path] of text.matchAll(new RegExp(`(?<![\\w./-])(?:${first})\\.[\\w.-]*\\w`, 'g'))) {
        assert.ok(sections.has(path), `${file}: ${path} is no setting`)
      }
    }
  }
})

test('docs: every hyphenated name in the contracts is a setting or one of its values, a counter, a reason or a word of its document', () => {
  const known = new Set<string>([
    ...COUNTERS, ...LIVE_COUNTERS, ...DEVICE_COUNTERS, ...DROP_REASONS.map(([name]) => name), ...REASONS,
    ...[...SETTINGS].flatMap(([path, { enum: values = [] }]) => [...path.replaceAll('[]', '').split('.'), ...values.map(String)]),
  ])
  const own: Record<string, string[]> = {
    'docs/behaviour.md': [], 'docs/live.md': [], 'docs/midcom.md': [], 'docs/midcom-mib.md': [],
    'docs/script.md': ['internal-version', 'external-version', 'max-idle'],
  }
  for (const [file, words] of Object.entries(own)) {
    const strange = quoted(read(file)).filter((text) => /^[a-z0-9]+(-[a-z0-9]+)+$/.test(text) && !known.has(text) && !words.includes(text))
    assert.deepEqual(strange, [], file)
  }
})

test('docs: behaviour.md says when each drop happens', () => {
  const named = new Set(quoted(read('docs/behaviour.md')))
  assert.deepEqual(DROP_REASONS.map(([name]) => name).filter((name) => !named.has(name)), [])
})

test('docs: the table of reasons in midcom.md is the list in the code, with the code of SIMCO and the state of the MIDCOM-MIB', () => {
  const text = read('docs/midcom.md')
  const rows = rowsOf(text, '<!-- reasons -->').map(([reason, , code, state]) => [reason, code, state])
  assert.deepEqual(rows, REASONS.map((reason) =>
    [`\`${reason}\``, `0x${REPLY_CODES[reason].toString(16).toUpperCase().padStart(4, '0')}`, String(failureOf(reason).state)]))
  // And the order of checks tells of each when it is the answer, but for those that no check of the box has.
  const told = new Set(quoted(text.slice(0, text.indexOf('<!-- reasons -->')) ))
  const byOthers: Reason[] = ['configuration-failed', 'no-such-interface', 'interface-not-available']
  assert.deepEqual(REASONS.filter((reason) => !told.has(reason)), byOthers)
})

test('docs: every counter of links, of a live box, and of the doors is told of where it belongs', () => {
  const missing = (file: string, names: readonly string[]) => {
    const named = new Set(quoted(read(file)))
    return names.filter((name) => !named.has(name))
  }
  assert.deepEqual(missing('docs/live.md', [...DEVICE_COUNTERS, ...LIVE_COUNTERS]), [])
  assert.deepEqual(missing('src/control/simco/README.md', SIMCO_COUNTERS), [])
  // Those of the MIBs have the names, and the meaning, that the MIBs give them.
  assert.deepEqual(missing('src/control/snmp/README.md', SNMP_COUNTERS.filter((name) => name.includes('-'))), [])
})

/** A default as the README may put it. */
function forms(path: string): string[] {
  const { default: fallback, 'x-value': rule, enum: values } = SETTINGS.get(path)!
  if (values !== undefined || rule === undefined || typeof fallback === 'object') return []
  if (rule.kind === 'duration') {
    const parsed = parseDuration(String(fallback))
    assert.ok(parsed.ok)
    if (parsed.value === 0) return ['never', 'none', 'off', 'no bound']
    const text = durationToText(parsed.value).replace('h', ' h ').replace('m', ' min ').replace(/(\d)s/, '$1 s').trim()
    return [text, `${parsed.value / 1000} s`]
  }
  if (rule.kind !== 'count') return []
  const parsed = parseCount(fallback as string | number)
  assert.ok(parsed.ok)
  return parsed.value === 0 ? ['none', 'off', 'no bound', 'any'] : [parsed.value.toLocaleString('en-US')]
}

test('docs: the defaults in the README are those of the settings that stand beside them', () => {
  const rows = rowsOf(read('README.md'), '## Limits and defaults')
  let held = 0
  for (const [what, defaults, named] of rows) {
    let section = ''
    for (const name of quoted(named)) {
      if (name.startsWith('-')) continue
      const path = name.startsWith('.') ? section + name : name
      section = path.slice(0, path.lastIndexOf('.'))
      const some = [...SETTINGS.keys()].filter((one) => one === path || one.startsWith(`${path}.`) || one.startsWith(`${path}[].`))
      assert.ok(some.length > 0, `${what}: there is no ${path}`)
      if (!SETTINGS.has(path)) continue
      const wanted = forms(path)
      if (wanted.length > 0) held++
      assert.ok(wanted.length === 0 || wanted.some((form) => new RegExp(`(?<![\\d,.])${form}(?![\\d,]*\\d)`).test(defaults)),
        `${what}: ${path} is ${wanted.join(' or ')}, and not ${defaults}`)
    }
  }
  assert.ok(held >= 25, `${held}`)
})

test('docs: every piece of YAML is a configuration without an error, or a script', () => {
  let pieces = 0
  for (const file of DOCS) {
    for (const [, text] of read(file).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)) {
      pieces++
      const { problems } = text.startsWith('- ') ? checkScript(text) : checkConfig(text)
      assert.deepEqual(problems, [], `${file}: ${text}`)
    }
  }
  assert.ok(pieces >= 3, `${pieces}`)
})

test('docs: the rooms of ARCHITECTURE.md may import what lint lets them, and its table of dependencies has them all', () => {
  const text = read('ARCHITECTURE.md')
  const rooms = rowsOf(text, '| room | what lives there | may import |').map(([room, , may]) => [room.replaceAll('`', ''), may])
  const [, source] = /const MAY = \{([\s\S]*?)\n\}/.exec(read('.dependency-cruiser.cjs'))!
  const held = [...source.matchAll(/(\w+): \[([^\]]*)\]/g)].map(([, room, list]) => [room, list.replaceAll("'", '')])
  const inWords: Record<string, string> = { '': 'nothing', '.*': 'everything' }
  assert.deepEqual(rooms.map(([room, may]) => [room, may.replace(/;.*/, '')]), held.map(([room, list]) => [room, inWords[list] ?? list]))
  const packages = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
  const named = new Set(rowsOf(text, '| what | for | reason |').flatMap(([what]) => quoted(what)))
  const missing = ['dependencies', 'optionalDependencies', 'devDependencies'].flatMap((kind) => Object.keys(packages[kind]))
    .filter((name) => !named.has(name) && !name.startsWith('@types/') && name !== '@eslint/js')
  assert.deepEqual(missing, [])
})

test('docs: every file, script of npm and option that they name is there', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const commands = [[], ['replay'], ['run'], ['record'], ['why'], ['check'], ['rules'], ['init'], ['ctl'], ['ctl', 'reserve'], ['ctl', 'enable'],
    ['ctl', 'deny'], ['ctl', 'watch'], ['classify'], ['bench'], ['bench', 'compare'], ['bench', 'report']]
  const helps = commands.map((words) => ['build/src/app/cli/main.js', ...words]).concat([['build/native-bench/live/live.js']])
    .map((words) => spawnSync(process.execPath, [...words, '--help'], { encoding: 'utf8' }))
  for (const { status, stderr } of helps) assert.equal(status, 0, stderr)
  const options = new Set(helps.flatMap(({ stdout }) => [...stdout.matchAll(/(?<![\w-])--[a-z][\w-]*/g)].map(([name]) => name)))
  for (const npms of ['--no-audit', '--no-fund']) options.add(npms)
  for (const file of [...DOCS, 'deploy/pinhole.service']) {
    const text = read(file)
    for (const [, to] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) assert.ok(existsSync(join(dirname(file), to)), `${file}: ${to}`)
    for (const [, to] of text.matchAll(/`((?:docs|pcaps|src|test|native-bench|deploy|scripts|mibs)\/[\w./-]*\w)`/g)) {
      assert.ok(existsSync(to) || to.includes('NNNN'), `${file}: ${to}`)
    }
    for (const [, to] of text.matchAll(/`((?:base|storage|channel|wire|phy|engine|plane|policy|control|app)\/[\w./-]*\w)`/g)) {
      assert.ok([`src/${to}`, `src/${to}.ts`].some(existsSync), `${file}: ${to}`)
    }
    for (const [, script] of text.matchAll(/npm run (?:-s )?([\w:]+)/g)) assert.ok(script in scripts, `${file}: npm run ${script}`)
    for (const [name] of text.matchAll(/(?<![\w-])--[a-z][\w-]*/g)) assert.ok(options.has(name), `${file}: ${name}`)
  }
})

test('docs: every link in a document that the package ships leads to a file that it ships', () => {
  const { status, stdout, stderr } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }], shipped = files.map(({ path }) => path)
  let links = 0
  for (const file of shipped.filter((path) => path.endsWith('.md'))) {
    const text = read(file).replace(/```[\s\S]*?```|`[^`\n]*`/g, '')
    const documents = quoted(read(file)).filter((name) => /^[\w./-]+\/[\w.-]+\.md$/.test(name) && existsSync(name))
    for (const [, to] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) if (!/^\w+:/.test(to)) documents.push(join(dirname(file), to))
    for (const to of documents) {
      links++
      assert.ok(shipped.some((path) => path === to || path.startsWith(`${to.replace(/\/$/, '')}/`)), `${file}: ${to} is not in the package`)
    }
  }
  assert.ok(links > 20, `${links}`)
})
