/** docs/rfc3304.md answers every requirement of RFC 3304; what it points to is held against the tree. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const REQUIREMENTS = [
  ...Array.from({ length: 12 }, (_, i) => `2.1.${i + 1}`), ...Array.from({ length: 11 }, (_, i) => `2.2.${i + 1}`),
  ...Array.from({ length: 4 }, (_, i) => `2.3.${i + 1}`),
]

/** Cells of the table: number, what is asked, how it is met, code, tests. */
const rows = readFileSync('docs/rfc3304.md', 'utf8').split('\n').filter(line => /^\| 2\.\d/.test(line))
  .map(line => line.split('|').slice(1, -1).map(cell => cell.trim()))

test('RFC 3304: the table has a row for each of the 27 requirements, in their order', () => {
  assert.deepEqual(rows.map(([number]) => number), REQUIREMENTS)
  for (const cells of rows) {
    assert.equal(cells.length, 5, cells[0])
    assert.ok(cells.every(cell => cell !== ''), `${cells[0]} has an empty cell`)
  }
})

test('RFC 3304: every file of code that the table names exists', () => {
  for (const [number, , , code] of rows) {
    const files = [...code.matchAll(/`([^`]+)`/g)].map(([, file]) => file)
    assert.ok(files.length > 0, `${number} names no code`)
    for (const file of files) assert.ok(existsSync(file) && !file.endsWith('.test.ts'), `${number}: ${file}`)
  }
})

test('RFC 3304: every test that the table names exists under that name', () => {
  for (const [number, , , , tests] of rows) {
    const named = [...tests.matchAll(/`([^`]+)` "([^"]+)"/g)]
    assert.ok(named.length > 0, `${number} names no test`)
    for (const [, file, name] of named) {
      assert.ok(/\.test\.ts$/.test(file) && existsSync(file), `${number}: ${file}`)
      // The name of a test may follow that of its subject: `${subject}: name`.
      const names = [...readFileSync(file, 'utf8').matchAll(/\b(?:test|check|it)\((['"`])(?:\$\{\w+\}: )?((?:(?!\1).)+)\1/g)]
      assert.ok(names.some(([, , text]) => text === name), `${number}: ${file} has no test "${name}"`)
    }
  }
})
