/** What README.md says by heart is held against the code; what it has in common with the other documents, in docs.test.ts. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { DROP_REASONS } from '../src/channel/reasons.ts'

const readme = readFileSync('README.md', 'utf8')

test('README: its table of drop reasons is the list in the code, in its order', () => {
  const between = /<!-- drop-reasons -->\n([\s\S]*?)<!-- \/drop-reasons -->/.exec(readme)?.[1]
  assert.ok(between !== undefined, 'the table has lost its marks')
  const rows = [...between.matchAll(/^\| `([^`]+)` \| (.*) \|$/gm)].map(([, name, text]) => [name, text])
  assert.deepEqual(rows, DROP_REASONS.map(([name, text]) => [name, text]))
  // Nothing but those rows, and the head of the table.
  assert.equal(between.split('\n').filter((line) => line.startsWith('|')).length, rows.length + 2)
})

test('README: its first sh block is two commands, which set up a fresh clone and pass the tests', () => {
  const block = /^```sh\n([\s\S]*?)^```$/m.exec(readme)?.[1]
  assert.ok(block !== undefined)
  const commands = block.split('\n').filter((line) => line.trim() !== '')
  assert.equal(commands.length, 2, block)
  assert.ok(commands.every((command) => !command.startsWith('#') && !command.endsWith('\\')), 'a command is one line')
  assert.match(commands[0], /\bnpm (ci|install)\b.*\breplay\b/)
  const capture = /\breplay\b.* (pcaps\/\S+)/.exec(commands[0])?.[1]
  assert.ok(capture !== undefined && existsSync(capture), `${capture} is in the repository`)
  // What CI calls is what a reader is told to.
  assert.ok(readFileSync('.ci/run', 'utf8').includes(commands[1]), commands[1])
})

test('README: names every option of pinhole replay, and its tables no option that there is not', () => {
  const optionsOf = (command: string) => {
    const { stdout, status } = spawnSync(process.execPath, ['build/src/app/cli/main.js', command, '--help'], { encoding: 'utf8' })
    assert.equal(status, 0)
    return [...stdout.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(([, name]) => name).filter((name) => name !== '--help')
  }
  const options = optionsOf('replay')
  assert.ok(options.length >= 10, options.join(' '))
  const named = new Set([...readme.matchAll(/`(--[a-z-]+)[ `]/g)].map(([, name]) => name))
  assert.deepEqual(options.filter((name) => !named.has(name) && !['--version', '--debug'].includes(name)), [])
  const table = readme.split('\n').filter((line) => /^\| `--/.test(line)).flatMap((line) => [...line.split('|')[1].matchAll(/`(--[a-z-]+)/g)])
  const known = [...options, ...optionsOf('classify')]
  for (const [, name] of table) assert.ok(known.includes(name), `${name} is an option of neither replay nor classify`)
})

test('README: points to every document', () => {
  assert.deepEqual(readdirSync('docs').filter((name) => !readme.includes(`docs/${name}`)), [])
})
