/**
 * The ledger of requirements: joins the lists in test/conformance/*.yaml with the @req tags of code and tests, prints a row for
 * each requirement, and writes docs/rfc-ledger.md. It reads sources, so it needs no build.
 *
 *   node scripts/ledger.js            print the rows, write the document
 *   node scripts/ledger.js --check    print nothing, write nothing; status 1 if the document is not what would be written
 *
 * At the line of code that obeys, or that shows what is missing:
 *   // @req RFC4787 REQ-9a
 *   // @req RFC4787 REQ-5, REQ-5c
 *   // @req RFC5382 REQ-4 partly[nothing is sent after six seconds]
 *   // @req RFC4787 REQ-13 no[there is no MTU]
 * In a test file, above the test that shows it (the next `test(` below): the same without partly and no.
 *
 * Status 1 too, with every problem on standard error: a requirement without a tag in code, one that is obeyed and has no test, a
 * tag that names what no list has or that cannot be read, a setting that the configuration does not have. Then nothing is written.
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

/** In the order of the ledger. */
const LISTS = ['rfc4787', 'rfc5382', 'rfc5508', 'rfc7857', 'rfc6888', 'rfc6296', 'rfc6092', 'rfc4890']
const DOCUMENT = 'docs/rfc-ledger.md'
const ID = String.raw`(?:RE[QC]-\d+[a-z]?\d*|\d+(?:\.\d+)*[a-z]?)`
const TAG = new RegExp(String.raw`^(RFC\d+) (${ID}(?:,? ${ID})*)(?: (partly|no)\[([^\]]+)\])?$`)
const TEST = /\b(?:test|check)\(\s*(['"`])((?:\\.|(?!\1)[^\\])+)\1/
/** STATES: the text tells what happens, without a keyword. */
const LEVELS = /^(MUST|MUST NOT|SHOULD|SHOULD NOT|RECOMMENDED|MAY|STATES)(, (MUST|MUST NOT|SHOULD))?$/

const root = process.argv.find(argument => argument.startsWith('--root='))?.slice('--root='.length) ?? '.'
const isCheck = process.argv.includes('--check')
const problems = []

/** All requirements by `RFC id`, in order. */
function readLists() {
  const requirements = new Map()
  for (const name of LISTS) {
    const { rfc, title, requirements: list } = parse(readFileSync(join(root, `test/conformance/${name}.yaml`), 'utf8'))
    for (const entry of list) {
      const key = `${rfc} ${entry.id}`
      if (requirements.has(key)) problems.push(`test/conformance/${name}.yaml: ${key} is there twice`)
      if (!LEVELS.test(entry.level)) problems.push(`test/conformance/${name}.yaml: ${key}: '${entry.level}' is no level`)
      if (entry.permission !== undefined && (entry.permission !== 'unused' || entry.level !== 'MAY')) {
        problems.push(`test/conformance/${name}.yaml: ${key}: permission: unused belongs to MAY`)
      }
      requirements.set(key, { ...entry, rfc, title, settings: entry.settings ?? [], code: [], tests: [] })
    }
  }
  return requirements
}

function sources() {
  return ['src', 'test'].flatMap(folder => readdirSync(join(root, folder), { recursive: true })
    .filter(name => name.endsWith('.ts')).map(name => `${folder}/${name.replaceAll('\\', '/')}`)).sort()
}

/** Puts every tag of the tree into its requirements. */
function readTags(requirements) {
  for (const file of sources()) {
    const text = readFileSync(join(root, file), 'utf8')
    if (!text.includes('@req')) continue
    const isTest = file.endsWith('.test.ts')
    const lines = text.split('\n')
    lines.forEach((line, at) => {
      const comment = /^\s*(?:\/\/|\/?\*+)\s*@req\s+(.*?)\s*(?:\*\/)?$/.exec(line)
      if (comment === null) return
      const where = `${file}:${at + 1}`
      const tag = TAG.exec(comment[1])
      if (tag === null) return problems.push(`${where}: cannot read the tag '@req ${comment[1]}'`)
      const [, rfc, ids, status, note] = tag
      if (!isTest && file.startsWith('test/')) return problems.push(`${where}: a tag is for code of src/ or for a test`)
      if (isTest && status !== undefined) return problems.push(`${where}: ${status}[…] belongs to code, not to a test`)
      const name = isTest ? testBelow(lines, at) : null
      if (isTest && name === null) return problems.push(`${where}: no test follows the tag`)
      for (const id of ids.split(/,? /)) {
        const requirement = requirements.get(`${rfc} ${id}`)
        if (requirement === undefined) problems.push(`${where}: there is no ${rfc} ${id}`)
        else if (isTest) requirement.tests.push({ file, name })
        else requirement.code.push({ file, where, status: status ?? 'obeyed', note: note ?? '' })
      }
    })
  }
}

/** Name of the next test from a line on, with … where it varies. */
function testBelow(lines, at) {
  const found = TEST.exec(lines.slice(at + 1).join('\n'))
  return found === null ? null : found[2].replace(/\$\{[^}]*\}/g, '…').replace(/\\(.)/g, '$1')
}

/** Gives each requirement its status and what is missing. */
function judge(requirements, settings) {
  for (const [key, requirement] of requirements) {
    const { code, tests } = requirement
    const statuses = new Set(code.map(({ status }) => status))
    requirement.status = statuses.has('no') ? 'not' : statuses.has('partly') ? 'partly' : 'obeyed'
    requirement.note = [...new Set(code.map(({ note }) => note))].filter(note => note !== '').join('; ')
    if (code.length === 0) problems.push(`${key}: no tag in code says whether it is obeyed`)
    else if (statuses.has('no') && statuses.size > 1) {
      problems.push(`${key}: both obeyed and not: ${code.map(({ where }) => where).join(', ')}`)
    }
    const isUnshown = code.length > 0 && requirement.status === 'obeyed' && tests.length === 0
    if (isUnshown) problems.push(`${key}: obeyed, but no test shows it`)
    for (const setting of requirement.settings) {
      if (!hasSetting(settings, setting)) problems.push(`${key}: there is no setting ${setting}`)
    }
  }
}

function hasSetting(schema, path) {
  let node = schema
  for (const name of path.split('.')) node = node?.properties?.[name]
  return node !== undefined
}

function testsOf({ tests }) {
  return [...new Set(tests.map(({ name }) => name))]
}

function statusOf({ status, note }) {
  return status === 'obeyed' ? 'obeyed' : `${status}: ${note}`
}

function print(requirements) {
  for (const [key, requirement] of requirements) {
    const cells = [key, statusOf(requirement), testsOf(requirement).join('; ') || '-']
    if (requirement.permission === 'unused') cells.push('a permission that is not used')
    console.log(cells.join(' | '))
  }
  console.error(summary(requirements))
}

function summary(requirements) {
  return [...byRfc(requirements)].map(([rfc, list]) => `${rfc}: ${counts(list)}`).join('\n')
}

function counts(list) {
  return ['obeyed', 'partly', 'not'].map(status => `${list.filter(entry => entry.status === status).length} ${status}`).join(', ')
}

function byRfc(requirements) {
  return Map.groupBy === undefined ? group([...requirements.values()]) : Map.groupBy(requirements.values(), ({ rfc }) => rfc)
}

function group(list) {
  const groups = new Map()
  for (const entry of list) groups.set(entry.rfc, [...groups.get(entry.rfc) ?? [], entry])
  return groups
}

const INTRODUCTION = `# Requirements of the NAT and firewall RFCs, one by one

Written by \`npm run ledger\` out of the lists in \`test/conformance\` and the \`@req\` tags in code and tests; do not edit it here.
A test fails when this file is older than the tags, when a requirement has no row, or when one that is obeyed has no test. *Obeyed*
holds for the default configuration or for the setting that is named. A permission (MAY) that is not used counts as obeyed, and says
so.
`

function documentText(requirements) {
  const parts = [INTRODUCTION]
  for (const [rfc, list] of byRfc(requirements)) {
    parts.push(`## ${rfc.replace('RFC', 'RFC ')}: ${list[0].title}\n\n${counts(list)}.\n`)
    const head = '| no. | level | asks for | by default | setting | status | code | test |'
    parts.push([head, '| --- '.repeat(8) + '|', ...list.map(row), ''].join('\n'))
  }
  return parts.join('\n')
}

function row(requirement) {
  const { id, level, sense, settings, permission, code } = requirement
  const files = [...new Set(code.map(({ file }) => `\`${file}\``))].join(', ')
  const status = requirement.status === 'obeyed' ? 'obeyed' : `**${requirement.status}**: ${requirement.note}`
  const tests = [...new Set(requirement.tests.map(({ file, name }) => `\`${file}\` "${name}"`))].join('; ')
  const byDefault = permission === 'unused' ? `${requirement.default} (permission not used)` : requirement.default
  const names = settings.map(setting => `\`${setting}\``).join(', ')
  const cells = [id, level, sense, byDefault, names || '-', status, files, tests || '-']
  return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

const requirements = readLists()
readTags(requirements)
judge(requirements, JSON.parse(readFileSync(join(root, 'docs/pinhole.schema.json'), 'utf8')))
if (problems.length === 0) {
  const path = join(root, DOCUMENT), text = documentText(requirements)
  if (!isCheck) {
    print(requirements)
    writeFileSync(path, text)
  } else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    problems.push(`${DOCUMENT} is not what the tags say: run npm run ledger`)
  }
}
for (const problem of problems) console.error(problem)
process.exitCode = problems.length > 0 ? 1 : 0
