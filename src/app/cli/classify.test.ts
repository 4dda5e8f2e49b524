/** `pinhole classify` as a program. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { ClassifyReport } from '../classify/report.ts'

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'pinhole-classify-'))
after(() => rmSync(scratch, { recursive: true }))
const SETS = resolve('../shared/classbench')

const file = (name: string, text: string | Uint8Array) => writeFileSync(join(scratch, name), text)
const read = (name: string) => readFileSync(join(scratch, name), 'utf8')

function classify(args: string[], input: string | Uint8Array = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'classify', ...args], { cwd: scratch, encoding: 'utf8', input })
  return { status, stdout, stderr }
}

const RULES = `@10.0.0.0/8\t192.0.2.1/32\t0 : 65535\t53 : 53\t0x11/0xFF\t0x0000/0x0000
@10.0.0.0/8\t0.0.0.0/0\t0 : 65535\t0 : 1023\t0x06/0xFF
@10.1.0.0/16\t0.0.0.0/0\t0 : 65535\t0 : 65535\t0x00/0x00
`
const TRACE = `167772161\t3221225985\t4000\t53\t17\t0\t0
167772161\t3221225985\t4000\t80\t6
167837697\t3221225985\t4000\t8080\t6
167772161\t3221225985\t4000\t8080\t6
`
const ANSWERS = '0\n1\n2\n-1\n'
file('rules', RULES)
file('trace', TRACE)
file('rules.gz', gzipSync(RULES))
file('trace.gz', gzipSync(TRACE))

test('classify: prints rules, packets and rates, and writes the first matching rule of each header', () => {
  const { status, stdout, stderr } = classify(['rules', 'trace', '--answers', 'answers', '--rounds', '1'])
  assert.deepEqual([status, stderr], [0, ''])
  assert.match(stdout, /^rules +3, built in [\d.]+ ms, [\d.]+ bytes a rule\npackets +4, 3 match a rule\nlookups +[\d.]+ M\/s \([\d.]+ - [\d.]+ in 1 round\), by the classifier in WebAssembly in batches of 256\n$/)
  assert.equal(read('answers'), ANSWERS)
})

test('classify: gzip, standard input, batches, seeds, updates and each engine give the same answers', () => {
  const runs: [args: string[], input?: string | Uint8Array][] = [
    [['rules.gz', 'trace.gz']], [['-', 'trace'], RULES], [['rules', '-'], gzipSync(TRACE)], [['rules', 'trace', '--batch', '1']],
    [['rules', 'trace', '--engine', 'linear', '--batch', '3', '--seed', '9', '--updates', '50000']],
    [['rules', 'trace', '--engine', 'typescript', '--batch', '3', '--seed', '9', '--updates', '50000']],
  ]
  for (const [args, input] of runs) {
    const { status, stdout, stderr } = classify([...args, '--answers', '-', '--rounds', '1'], input)
    assert.deepEqual([status, stdout], [0, ANSWERS], args.join(' '))
    assert.match(stderr, args.includes('--updates') ? /\nupdated +.* % of that, while [\d,]+ rules\/s are deleted and inserted\n$/ : /\nlookups .*\n$/)
  }
})

test('classify: --json tells programs the same', () => {
  const { status, stdout } = classify(['rules', 'trace', '--json', '--rounds', '2', '--updates', '1000'])
  assert.equal(status, 0)
  const { schema, engine, batch, rounds, rules, packets, lookupsPerSecond, updates } = JSON.parse(stdout) as ClassifyReport
  assert.deepEqual([schema, engine, batch, rounds], ['pinhole-classify/1', 'wasm', 256, 2])
  assert.deepEqual([rules.file, rules.count, rules.bytesPerRule], ['rules', 3, rules.bytes / 3])
  assert.deepEqual(packets, { file: 'trace', count: 4, matched: 3 })
  assert.equal(lookupsPerSecond.rounds.length, 2)
  assert.ok(lookupsPerSecond.least > 0 && lookupsPerSecond.least <= lookupsPerSecond.median)
  assert.deepEqual([updates!.asked, updates!.ofStatic.rounds.length], [1000, 2])
})

test('classify: rules with errors end with status 2 and file:line:column, and nothing is written', () => {
  file('bad', `${RULES}@10.0.0.0/8 1.2.3.4/40 0 : 1 0 : 1 0x06/0xFF\n@0.0.0.0/0 0.0.0.0/0 0 : 1 0 : 1 0x06/0x0F\n`)
  const { status, stdout, stderr } = classify(['bad', 'trace', '--answers', 'none'])
  assert.deepEqual([status, stdout], [2, ''])
  assert.equal(stderr, 'bad:4:21: a prefix length is at most 32\n'
    + 'bad:5:39: a protocol mask is 0xFF (this protocol) or 0x00 (any); no other is supported\n')
  assert.equal(existsSync(join(scratch, 'none')), false)
})

test('classify: a trace with an error ends with status 3 and its line; what comes before is answered', () => {
  file('cut', `${TRACE}167772161 3221225985 40`)
  const { status, stderr } = classify(['rules', 'cut', '--answers', 'before', '--rounds', '1'])
  assert.deepEqual([status, stderr], [3, 'cut:5:24: a port is needed here, not the end of the line\n'])
  assert.equal(read('before'), ANSWERS)
  file('damaged.gz', gzipSync(TRACE).subarray(0, 40))
  const damaged = classify(['rules', 'damaged.gz'])
  assert.deepEqual([damaged.status, damaged.stderr], [3, 'pinhole: damaged.gz: damaged gzip: unexpected end of file\n'])
})

test('classify: what cannot be done is refused before anything is written', () => {
  file('empty', '\n')
  const cases: [args: string[], status: number, message: RegExp][] = [
    [['rules'], 2, /missing required argument 'trace'/],
    [['absent', 'trace'], 2, /^pinhole: cannot read absent: no such file or directory \(ENOENT\)\n$/],
    [['empty', 'trace'], 2, /^pinhole: empty: there is no rule in it\n$/],
    [['rules', 'empty'], 3, /^pinhole: empty: there is no header in it\n$/],
    [['-', '-'], 2, /rules and trace cannot both come from -/],
    [['rules', 'trace', '--json', '--answers', '-'], 2, /cannot both go to standard output/],
    [['rules', 'trace', '--answers', 'rules'], 2, /rules holds the rules: write elsewhere/],
    [['rules', 'trace', '--answers', './trace'], 2, /trace holds the trace: write elsewhere/],
    [['rules', 'trace', '--answers', 'absent/x'], 4, /^pinhole: cannot write absent\/x: /],
    [['rules', 'trace', '--engine', 'tcam'], 2, /Allowed choices are wasm, typescript, linear/],
    [['rules', 'trace', '--batch', '0'], 2, /whole number/],
  ]
  for (const [args, expected, message] of cases) {
    const { status, stdout, stderr } = classify(args)
    assert.deepEqual([status, stdout], [expected, ''], args.join(' '))
    assert.match(stderr, message)
  }
  assert.deepEqual([read('rules'), read('trace')], [RULES, TRACE])
})

test('classify: --help tells the format and an example', () => {
  const { status, stdout } = classify(['--help'])
  assert.equal(status, 0)
  for (const part of ['0x11/0xFF', 'TCP flags may be left out, and are ignored', 'Example:', '--answers <file>', '--updates <n>']) {
    assert.ok(stdout.includes(part), part)
  }
})

for (const [set, ...updates] of [['acl1_1k'], ['fw1_1k', '--updates', '50000'], ['ipc1_10k', '--updates', '50000']]) {
  test(`classify: ${set} is answered as expected${updates.length > 0 ? ', also while rules are deleted and inserted' : ''}`, {
    skip: existsSync(SETS) ? false : 'NOT RUN: ../shared/classbench is not there',
  }, () => {
    const at = (kind: string) => join(SETS, `${set}.${kind}.gz`)
    const { status, stderr } = classify([at('rules'), at('trace'), '--answers', set, '--rounds', '1', ...updates])
    assert.deepEqual([status, stderr], [0, ''])
    assert.equal(read(set), gunzipSync(readFileSync(at('expect'))).toString())
  })
}

test('classify: headers of another set match nothing in one without a rule for all, by each engine', {
  skip: existsSync(SETS) ? false : 'NOT RUN: ../shared/classbench is not there',
}, () => {
  const [rules, trace] = [join(SETS, 'fw1_1k.rules.gz'), join(SETS, 'acl1_1k.trace.gz')]
  for (const engine of ['wasm', 'typescript', 'linear']) {
    assert.equal(classify([rules, trace, '--engine', engine, '--answers', engine, '--rounds', '1']).status, 0)
  }
  assert.match(read('linear'), /^-1$/m)
  for (const engine of ['wasm', 'typescript']) assert.equal(read(engine), read('linear'), engine)
})
