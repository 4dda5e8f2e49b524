/**
 * Runs every compiled test file in a process of its own, under node's test runner, and the lint as one more test. A
 * line for each file, the details of failures only, and the counts as the last line. A file that hangs is killed with
 * all that it started. Arguments, if any, choose files by a part of their path; the lint then stays out.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const AT_ONCE = 2
const FILE_TIMEOUT_MS = 300_000
const SHOWN_CHARS = 8000

const counts = { passed: 0, failed: 0, skipped: 0, todo: 0 }
const scratch = mkdtempSync(join(tmpdir(), 'pinhole-test-'))
const running = new Set()

function filesBelow(root) {
  if (!existsSync(root)) return []
  return readdirSync(root, { recursive: true }).filter(name => name.endsWith('.test.js')).map(name => join(root, name))
}

/** Runs a program in a process group of its own. Resolves with its output, and with how it ended. */
function run(command, args) {
  return new Promise(resolve => {
    const child = spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child.pid)
    let output = '', timedOut = false
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', text => { output = (output + text).slice(-SHOWN_CHARS) })
    }
    const kill = () => { try { process.kill(-child.pid, 'SIGKILL') } catch { /* gone already */ } }
    const timer = setTimeout(() => { timedOut = true; kill() }, FILE_TIMEOUT_MS)
    const end = ending => {
      clearTimeout(timer)
      kill()      // what it may have left behind; its pipes would keep us waiting
      running.delete(child.pid)
      resolve({ output, ending: timedOut ? `killed after ${FILE_TIMEOUT_MS / 1000} s` : ending })
    }
    child.on('error', error => end(error.message))
    child.on('exit', (code, signal) => {
      setImmediate(() => end(code === 0 ? '' : signal === null ? `exit status ${code}` : `killed by ${signal}`))
    })
  })
}

/** One failure: what failed, and indented below it the rest, if there is any. */
function show(what, rest) {
  console.log(`  x ${what}`)
  if (rest.trim() !== '') console.log(rest.trimEnd().replace(/^/gm, '    '))
}

function report(name, startMs, results, problems) {
  const n = result => results.filter(record => record.result === result).length
  const failed = n('failed') + problems.length
  counts.passed += n('passed')
  counts.failed += failed
  counts.skipped += n('skipped')
  counts.todo += n('todo')
  const also = [[failed, 'failed'], [n('skipped'), 'skipped'], [n('todo'), 'todo']]
    .filter(([many]) => many > 0).map(([many, what]) => `, ${many} ${what}`).join('')
  const seconds = ((Date.now() - startMs) / 1000).toFixed(1)
  console.log(`${failed > 0 ? 'FAIL' : 'ok  '} ${name}: ${n('passed')} passed${also} (${seconds} s)`)
  for (const { result, name: test, error, reason } of results) {
    if (result === 'failed') show(test, error)
    if (result === 'skipped') console.log(`  - ${test}: ${reason === '' ? 'skipped' : reason}`)
  }
  for (const { what, output } of problems) show(what, output)
}

async function runFile(file, index) {
  const startMs = Date.now()
  const destination = join(scratch, `${index}.jsonl`)
  const { output, ending } = await run(process.execPath, [
    // With a large young generation nothing is collected while a test counts what a loop allocates.
    '--expose-gc', '--min-semi-space-size=32', '--max-semi-space-size=32', '--enable-source-maps',
    '--test-reporter=./scripts/reporter.js', `--test-reporter-destination=${destination}`, file,
  ])
  let records = []
  try {
    records = readFileSync(destination, 'utf8').split('\n').filter(line => line !== '').map(line => JSON.parse(line))
  } catch {
    // The process did not live to report; its ending says so below.
  }
  const ended = records.some(({ result }) => result === 'end')
  const results = records.filter(({ result }) => result !== 'end')
  const problems = []
  if (!ended || (ending !== '' && !results.some(({ result }) => result === 'failed'))) {
    const last = results.at(-1)
    const where = last === undefined ? '' : `; the last test to end was "${last.name}"`
    const how = ending === '' ? 'it left early' : ending
    problems.push({ what: `the file did not run to its end: ${how}${where}`, output })
  } else if (results.length === 0) {
    problems.push({ what: 'the file holds no test', output })
  }
  report(file.replace(/^build\//, ''), startMs, results, problems)
}

async function runLint() {
  const startMs = Date.now()
  const { output, ending } = await run('npm', ['run', '-s', 'lint'])
  if (ending === '') report('lint', startMs, [{ result: 'passed', name: 'lint' }], [])
  else report('lint', startMs, [], [{ what: `npm run lint: ${ending}`, output }])
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const pid of running) try { process.kill(-pid, 'SIGKILL') } catch { /* gone already */ }
    process.exit(1)
  })
}

const chosen = process.argv.slice(2)
const files = ['build/src', 'build/test', 'build/native-bench'].flatMap(root => filesBelow(root)).sort()
  .filter(file => chosen.length === 0 || chosen.some(part => file.includes(part)))
const jobs = files.map((file, index) => () => runFile(file, index))
if (chosen.length === 0) jobs.unshift(runLint)
try {
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job()
  }))
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
if (counts.passed + counts.failed === 0 || files.length === 0) {
  console.log('no test was run')
  counts.failed++
}
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`)
process.exitCode = counts.failed > 0 ? 1 : 0
