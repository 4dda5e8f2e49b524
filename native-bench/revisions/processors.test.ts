import test from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createProcessors, numbersOf } from './processors.ts'

const allowed = () => /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!

test('a list of processors: single ones and ranges', () => {
  assert.deepEqual(numbersOf('0-2,5'), [0, 1, 2, 5])
  assert.deepEqual(numbersOf('3\n'), [3])
})

test('each processor in turn holds this process and what it starts', () => {
  const before = allowed(), numbers = numbersOf(before), processors = createProcessors()
  assert.ok(processors !== null, 'taskset is part of util-linux, which every Debian has')
  try {
    for (const number of [...numbers, numbers[0]!]) {
      processors.next()
      assert.equal(allowed(), `${number}`)
      const child = execFileSync(process.execPath,
        ['-p', 'require("fs").readFileSync("/proc/self/status", "utf8").match(/Cpus_allowed_list:\\s*(\\S+)/)[1]'], { encoding: 'utf8' })
      assert.equal(child.trim(), `${number}`)
    }
  } finally {
    execFileSync('taskset', ['--pid', '--cpu-list', before, `${process.pid}`])
  }
})
