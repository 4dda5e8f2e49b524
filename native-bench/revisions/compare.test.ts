import test from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from '../child.ts'
import type { Comparison } from './report.ts'

const MAIN = join(ROOT, 'build/src/app/cli/main.js')
const isCheckout = existsSync(join(ROOT, '.git'))
const skip = isCheckout ? false : 'these files are no checkout: there are no revisions to compare'

function bench(...args: string[]) {
  return spawnSync(process.execPath, [MAIN, 'bench', ...args], { cwd: join(ROOT, 'native-bench'), encoding: 'utf8' })
}
const trees = () => execFileSync('git', ['worktree', 'list', '--porcelain'], { cwd: ROOT, encoding: 'utf8' })

test('pinhole bench compare: a revision with the work tree, text and files, and nothing left behind', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'pinhole-bench-test-'))
  try {
    const file = (name: string) => join(directory, name)
    const { status, stdout, stderr } = bench('compare', 'HEAD', '--quick', '--only', 'forward/flows-1-64b', '--pairs', '12', '--effect', '50',
      '--json', file('all.json'), '--markdown', file('summary.md'), '--benchmark-json', file('action.json'))
    // Whether it is called changed is a matter of the machine, and not of this test.
    assert.ok(status === 0 || status === 1, stderr)
    assert.match(stdout, /^forward\/flows-1-64b .*ns\/packet/m)
    const { schema, rows: [row], head } = JSON.parse(readFileSync(file('all.json'), 'utf8')) as Comparison
    assert.deepEqual([schema, row!.quotients.length, row!.error, row!.judgement!.pairs], ['pinhole-comparison/1', 12, null, 12])
    assert.match(row!.inputDigest, /^[\da-f]{64}$/)
    assert.equal(head.name, '.')
    assert.match(readFileSync(file('summary.md'), 'utf8'), /^### /)
    assert.equal((JSON.parse(readFileSync(file('action.json'), 'utf8')) as unknown[]).length, 1)
    assert.doesNotMatch(trees(), /pinhole-compare-/)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test('pinhole bench compare: a revision that is not there, and a row that is not, are said before anything is built', { skip }, () => {
  const unknown = bench('compare', 'no-such-revision')
  assert.deepEqual([unknown.status, unknown.stderr], [2, 'bench compare: there is no revision no-such-revision here\n'])
  const row = bench('compare', 'HEAD', '--only', 'nothing/')
  assert.equal(row.status, 2)
  assert.match(row.stderr, /no row that can be compared begins with nothing\//)
})

test('pinhole bench outside of a checkout says that the package has no benchmarks', () => {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, 'bench'], { cwd: tmpdir(), encoding: 'utf8' })
  assert.deepEqual([status, stderr], [2, 'pinhole: this folder is in no checkout of Pinhole: the package has no benchmarks\n'])
})
