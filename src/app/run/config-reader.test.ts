/** The thread that reads a configuration again: what becomes of a question when it cannot. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ConfigError } from '../config/load.ts'
import { createConfigReader } from './config-reader.ts'

const dir = mkdtempSync(join(tmpdir(), 'pinhole-reader-'))
// The thread keeps no process alive, and the test waits for it.
const alive = setInterval(() => { /* nothing */ }, 1000)
after(() => {
  clearInterval(alive)
  rmSync(dir, { recursive: true })
})
const file = join(dir, 'a.yaml')
writeFileSync(file, 'firewall: {rules: [deny in 17 from any to any]}\n')

/** A thread of that code, which may import `parentPort`. */
function threadOf(code: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(`import { parentPort } from 'node:worker_threads'\n${code}`)}`)
}

test('reader: a configuration comes whole, and what is wrong with one as its error', async () => {
  const reader = createConfigReader()
  assert.equal((await reader.read(file)).firewall.rules.length, 1)
  writeFileSync(join(dir, 'b.yaml'), 'nat: {pol: []}\n')
  await assert.rejects(reader.read(join(dir, 'b.yaml')), ConfigError)
  await assert.rejects(reader.read(join(dir, 'absent.yaml')), ConfigError)
  reader.close()
})

test('reader: a thread that throws or ends rejects every question, and the next one starts another', async () => {
  const ways: [string, RegExp][] = [
    ["parentPort.on('message', () => { throw new RangeError('too much') })", /too much/],
    ["parentPort.on('message', () => process.exit())", /has ended/],
    ["throw new Error('not even begun')", /not even begun/],
  ]
  for (const [code, wanted] of ways) {
    const reader = createConfigReader(threadOf(code))
    for (let round = 0; round < 2; round++) {
      const asked = await Promise.allSettled([reader.read(file), reader.read(file)])
      for (const one of asked) {
        assert.ok(one.status === 'rejected' && !(one.reason instanceof ConfigError))
        assert.match((one.reason as Error).message, wanted)
      }
    }
    reader.close()
  }
})
