import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog, LINES_A_SECOND } from './log.ts'

test('log: a line stays a line, whatever name somebody claims', () => {
  const lines: string[] = []
  createLog((line) => lines.push(line), () => 0).line('simco: authentication-failed #1 [::1]:5 a b\n\x1b[31mü\u2028\u202e')
  assert.deepEqual(lines, ['simco: authentication-failed #1 [::1]:5 a b\\u{a}\\u{1b}[31mü\\u{2028}\\u{202e}'])
})

test('log: of a flood so many lines a second are written, and how many were left out', () => {
  const lines: string[] = []
  let nowMs = 0
  const log = createLog((line) => lines.push(line), () => nowMs)
  for (; nowMs < 2000; nowMs++) log.line(`at ${nowMs}`)
  assert.equal(lines.length, 2 * LINES_A_SECOND + 1)
  assert.deepEqual(lines.slice(LINES_A_SECOND - 1, LINES_A_SECOND + 2), ['at 99', 'log: 900 lines were left out', 'at 1000'])
  log.end()
  log.end()
  assert.equal(lines.at(-1), 'log: 900 lines were left out')
  assert.equal(lines.length, 2 * LINES_A_SECOND + 2)
})
