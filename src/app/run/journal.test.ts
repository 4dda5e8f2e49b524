import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { JournalError, openJournal } from './journal.ts'

/** Reason to skip, or false. With CI=true nothing is skipped: what is not there fails. */
const NO_LIMIT = spawnSync('prlimit', ['--version']).error === undefined || process.env['CI'] === 'true' ? false
  : 'NOT RUN: prlimit not on PATH (apt-get install util-linux)'

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pinhole-journal-'))
  try {
    await work(join(folder, 'rules'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function logOf(folder: string): string {
  const logs = readdirSync(folder).filter((name) => name.endsWith('.log')).sort()
  return join(folder, logs.at(-1)!)
}

test('journal: what was written is there after it was opened again, in order of keys', () => inFolder(async (folder) => {
  const first = await openJournal(folder)
  assert.deepEqual([...first.entries], [])
  await Promise.all([first.write([{ key: 'b', text: '1' }, { key: 'a', text: '2' }]), first.write([{ key: 'b', text: null }, { key: 'c', text: 'é' }])])
  await first.close()
  const second = await openJournal(folder)
  assert.deepEqual([...second.entries], [['a', '2'], ['c', 'é']])
  await second.close()
}))

test('journal: a write that was torn is left out as a whole, and what came before it is there', () => inFolder(async (folder) => {
  const journal = await openJournal(folder)
  await journal.write([{ key: 'a', text: 'x'.repeat(100) }])
  const log = logOf(folder)
  const before = statSync(log).size
  await journal.write([{ key: 'b', text: 'y'.repeat(100) }, { key: 'c', text: 'z'.repeat(100) }])
  const whole = readFileSync(log)
  await journal.close()
  for (let size = before; size < whole.length; size += 13) {
    writeFileSync(log, whole)
    truncateSync(log, size)
    const again = await openJournal(folder)
    assert.deepEqual([...again.entries.keys()], ['a'], `cut to ${size} of ${whole.length} octets`)
    await again.close()
    // Opening has made a new log; the one that was cut is to be read again.
    rmSync(folder, { recursive: true })
    const fresh = await openJournal(folder)
    await fresh.write([{ key: 'a', text: 'x'.repeat(100) }])
    await fresh.write([{ key: 'b', text: 'y'.repeat(100) }, { key: 'c', text: 'z'.repeat(100) }])
    await fresh.close()
  }
}))

test('journal: octets behind the last record that are no record are ignored', () => inFolder(async (folder) => {
  const journal = await openJournal(folder)
  await journal.write([{ key: 'a', text: '1' }])
  await journal.close()
  appendFileSync(logOf(folder), Buffer.alloc(40, 0x5a))
  const again = await openJournal(folder)
  assert.deepEqual([...again.entries], [['a', '1']])
  await again.close()
}))

test('journal: two boxes cannot use the same one, and a file in its place is told', () => inFolder(async (folder) => {
  const journal = await openJournal(folder)
  await assert.rejects(openJournal(folder), (error: JournalError) => error.code === 'journal-in-use' && /in use by another box/.test(error.message))
  await journal.close()
  rmSync(folder, { recursive: true })
  writeFileSync(folder, '')
  await assert.rejects(openJournal(folder), (error: JournalError) => error.code === 'journal-unusable')
}))

test('journal: writes that come while the disk is busy go together', () => inFolder(async (folder) => {
  const journal = await openJournal(folder)
  await Promise.all(Array.from({ length: 1000 }, (_, i) => journal.write([{ key: String(i % 100), text: String(i) }])))
  await journal.close()
  const again = await openJournal(folder)
  assert.equal(again.entries.size, 100)
  assert.equal(again.entries.get('99'), '999')
  await again.close()
}))

test('journal: one that is closed refuses each call', () => inFolder(async (folder) => {
  const journal = await openJournal(folder)
  await journal.write([{ key: 'a', text: '1' }])
  await journal.close()
  for (let n = 0; n < 5; n++) {
    const ended = await Promise.race([journal.write([{ key: 'b', text: '2' }]).then(() => 'kept', () => 'refused'), after(1000)])
    assert.equal(ended, 'refused', `call ${n}`)
  }
}))

test('journal: what comes with or behind a write that fails is refused too; once there is room again, calls are kept', { skip: NO_LIMIT },
  () => inFolder(async (folder) => {
    const journal = await openJournal(folder)
    await journal.write([{ key: 'a', text: '1' }])
    const ignore = () => { /* the write says EFBIG instead of ending the process */ }
    process.on('SIGXFSZ', ignore)
    try {
      limitFiles('20000')
      const calls = Array.from({ length: 4 }, (_, i) => journal.write([{ key: `b${i}`, text: 'x'.repeat(50_000) }]))
      const small = journal.write([{ key: 'c', text: '1' }])
      const ended = await Promise.allSettled([...calls, small])
      assert.deepEqual(ended.map(({ status }) => status), Array(5).fill('rejected'))
      await assert.rejects(journal.write([{ key: 'd', text: 'x'.repeat(50_000) }]), 'still too long')
    } finally {
      limitFiles('unlimited')
      process.off('SIGXFSZ', ignore)
    }
    await Promise.all([journal.write([{ key: 'b0', text: null }]), journal.write([{ key: 'e', text: '3' }])])
    await journal.close()
    const again = await openJournal(folder)
    assert.deepEqual([...again.entries], [['a', '1'], ['e', '3']])
    await again.close()
  }))

function limitFiles(bytes: string): void { execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:unlimited`]) }

function after(ms: number): Promise<string> {
  return new Promise((resolve) => { setTimeout(resolve, ms, 'nothing').unref() })
}
