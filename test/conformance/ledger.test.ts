/** The ledger of requirements: its lists are whole, it is up to date, and it notices what it must. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'

const RFCS = ['rfc4787', 'rfc5382', 'rfc5508', 'rfc7857', 'rfc6888', 'rfc6296', 'rfc6092', 'rfc4890']

function ledger(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/ledger.js', ...args], { encoding: 'utf8' })
  return { status, stdout, problems: stderr.split('\n').filter(line => line !== '') }
}

function idsOf(rfc: string): string[] {
  return parse(readFileSync(`test/conformance/${rfc}.yaml`, 'utf8')).requirements.map(({ id }: { id: string }) => id)
}

/** How many requirements each RFC numbers, and by how many letters each is followed (RFC 4787 12, 5382 8, 5508 9, 6888 3 to 5). */
const LETTERS: Record<string, number[]> = {
  rfc4787: [0, 0, 1, 0, 3, 1, 0, 1, 1, 1, 0, 2, 1, 1],
  rfc5382: [0, 1, 2, 1, 1, 0, 0, 1, 0, 0],
  rfc5508: [1, 1, 4, 3, 3, 0, 1, 0, 0, 6, 0],
  rfc6888: [4, 0, 0, 3, 2, 0, 0, 3, 0, 0, 4, 0, 0, 0, 0],
}
/** RFC 5508 REQ-10 numbers what stands below three of its letters. */
const NUMBERED: Record<string, number> = { 'rfc5508 REQ-10a': 3, 'rfc5508 REQ-10b': 6, 'rfc5508 REQ-10c': 2 }

for (const [rfc, letters] of Object.entries(LETTERS)) {
  test(`ledger: ${rfc} has a row for each of its ${letters.length} requirements and each of their parts, in order`, () => {
    const expected = letters.flatMap((count, n) => [`REQ-${n + 1}`, ...Array.from({ length: count }, (_, letter) => `REQ-${n + 1}${'abcdef'[letter]}`)])
      .flatMap(id => NUMBERED[`${rfc} ${id}`] === undefined ? [id] : Array.from({ length: NUMBERED[`${rfc} ${id}`] }, (_, n) => `${id}${n + 1}`))
    assert.deepEqual(idsOf(rfc), expected)
  })
}

test('ledger: rfc7857 has a row for each update and clarification of its sections 2 to 12', () => {
  assert.deepEqual(idsOf('rfc7857'), ['2', '2.1a', '2.1b', '2.1c', '2.2a', '2.2b', '2.2c', '3', '4a', '4b', '4c', '5a', '5b', '6a', '6b',
    '7a', '7b', '7.1a', '7.1b', '8a', '8b', '9a', '9b', '9c', '10', '11', '12a', '12b'])
})

// @req RFC6888 REQ-1a, REQ-1b, REQ-1c
test('ledger: what RFC 6888 REQ-1 wants of UDP, TCP and ICMP is obeyed to the last row of its own RFC', () => {
  const sections = readFileSync('docs/rfc-ledger.md', 'utf8').split(/^## /m)
  for (const rfc of ['RFC 4787', 'RFC 5382', 'RFC 5508']) {
    const rows = sections.find(text => text.startsWith(rfc))!.split('\n').filter(line => line.startsWith('| REQ-'))
    assert.deepEqual(rows.filter(line => !line.includes(' | obeyed | ')), [])
    assert.equal(rows.length, idsOf(rfc.toLowerCase().replace(' ', '')).length)
  }
})

test('ledger: rfc6092 has a row for each of its 50 recommendations', () => {
  assert.deepEqual(idsOf('rfc6092'), Array.from({ length: 50 }, (_, n) => `REC-${n + 1}`))
})

test('ledger: every row has a tag, what is obeyed has a test, every tag names a row, and docs/rfc-ledger.md is what they say', () => {
  const { status, problems } = ledger('--check')
  assert.deepEqual(problems, [])
  assert.equal(status, 0)
})

/** A copy of the lists with a tree in which each row is tagged once, and shown by one test. */
function tree(t: { after: (done: () => void) => void }) {
  const root = mkdtempSync(join(tmpdir(), 'pinhole-ledger-'))
  t.after(() => rmSync(root, { recursive: true }))
  for (const folder of ['src', 'docs']) mkdirSync(join(root, folder))
  cpSync('docs/pinhole.schema.json', join(root, 'docs/pinhole.schema.json'))
  cpSync('test/conformance', join(root, 'test/conformance'), { recursive: true, filter: path => !path.endsWith('.ts') })
  const tags = RFCS.flatMap(rfc => idsOf(rfc).map(id => `// @req ${rfc.toUpperCase()} ${id}\n`))
  const write = (file: string, text: string) => writeFileSync(join(root, file), text)
  write('src/a.ts', tags.join(''))
  write('src/a.test.ts', `${tags.join('')}test('it does')`)
  const run = (...args: string[]) => ledger(`--root=${root}`, ...args)
  return { root, tags, write, run }
}

test('ledger: prints a row for each requirement, writes the document, and then finds it up to date', (t) => {
  const { root, tags, run } = tree(t)
  assert.deepEqual(run('--check').problems, ['docs/rfc-ledger.md is not what the tags say: run npm run ledger'])
  const { status, stdout } = run()
  const rows = stdout.trimEnd().split('\n')
  assert.equal(status, 0)
  assert.equal(rows.length, tags.length)
  assert.ok(rows.includes('RFC4787 REQ-9a | obeyed | it does'))
  assert.equal(run('--check').status, 0)
  const text = readFileSync(join(root, 'docs/rfc-ledger.md'), 'utf8')
  assert.equal(text.split('\n').filter(line => /^\| (RE[QC]-)?\d/.test(line)).length, tags.length)
})

test('ledger: partly and not come with what is missing, and need no test', (t) => {
  const { tags, write, run } = tree(t)
  const without = tags.filter(tag => !tag.includes('RFC4787 REQ-9'))
  write('src/a.ts', without.join(''))
  write('src/a.test.ts', `${without.join('')}test('it does')`)
  write('src/b.ts', ' * @req RFC4787 REQ-9 partly[IPv4 only]\n// @req RFC4787 REQ-9 partly[UDP only]\n  // @req RFC4787 REQ-9a no[not yet]\n')
  const rows = run().stdout.split('\n')
  assert.ok(rows.includes('RFC4787 REQ-9 | partly: IPv4 only; UDP only | -'))
  assert.ok(rows.includes('RFC4787 REQ-9a | not: not yet | -'))
})

/** The line behind the last tag. */
const LAST = 1 + RFCS.flatMap(idsOf).length
for (const [what, spoil, problem] of [
  ['a row without a tag', ['src/a.ts', /.*RFC4787 REQ-9a\n/, ''], 'RFC4787 REQ-9a: no tag in code says whether it is obeyed'],
  ['a row that is obeyed and has no test', ['src/a.test.ts', /.*RFC7857 10\n/, ''], 'RFC7857 10: obeyed, but no test shows it'],
  ['a tag in code that names no row', ['src/a.ts', /RFC4787 REQ-9a/, 'RFC4787 REQ-9a, REQ-9b'], 'src/a.ts:16: there is no RFC4787 REQ-9b'],
  ['a tag in a test that names no row', ['src/a.test.ts', /$/, '\n// @req RFC4788 REQ-1\ntest("x")'], `src/a.test.ts:${LAST + 1}: there is no RFC4788 REQ-1`],
  ['a tag with a slip', ['src/a.ts', /$/, '// @req RFC4787 REQ-9a: yes\n'], `src/a.ts:${LAST}: cannot read the tag '@req RFC4787 REQ-9a: yes'`],
  ['a tag below the last test', ['src/a.test.ts', /$/, '\n// @req RFC4787 REQ-9a\n'], `src/a.test.ts:${LAST + 1}: no test follows the tag`],
  ['a test that says partly', ['src/a.test.ts', /REQ-9a/, 'REQ-9a partly[so]'], 'src/a.test.ts:16: partly[…] belongs to code, not to a test'],
  ['both obeyed and not', ['src/a.ts', /$/, '// @req RFC4787 REQ-9a no[not]\n'], `RFC4787 REQ-9a: both obeyed and not: src/a.ts:16, src/a.ts:${LAST}`],
  ['a setting that there is not', ['test/conformance/rfc4787.yaml', /timers\.udp/, 'timers.upd'], 'RFC4787 REQ-5: there is no setting timers.upd'],
] as const) {
  test(`ledger: ${what} is a problem, named with its place, and status 1`, (t) => {
    const { root, run } = tree(t)
    const [file, pattern, text] = spoil, path = join(root, file), before = readFileSync(path, 'utf8')
    const after = before.replace(pattern, text)
    assert.notEqual(after, before)
    writeFileSync(path, after)
    const { status, problems } = run()
    assert.equal(status, 1)
    assert.ok(problems.includes(problem), problems.join('\n'))
    assert.ok(!existsSync(join(root, 'docs/rfc-ledger.md')), 'nothing is written then')
  })
}
