import test from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from '../child.ts'
import { rowResult, SCHEMA, type BenchResult, type Sample } from '../result.ts'
import { charts, drawn } from './charts.ts'
import { escaped, page } from './page.ts'

const sample = (value: number, figures = {}): Sample => ({ value, p99: 2 * value, mean: value, counts: {}, packets: 1, bytesPerFlow: null, figures })
const flows = (name: string, count: number, ns: number) => rowResult(
  { name, unit: 'ns/packet', parameters: { flows: count, sizes: '64b', distribution: 'uniform', shared: 1 } },
  [ns, ns * 1.1, ns * 0.9].map(value => sample(value)), [sample(20), sample(20), sample(20)], null)
const result = (when: string, rows: BenchResult['rows'], more: Partial<BenchResult> = {}): BenchResult => ({
  schema: SCHEMA, when, commit: 'c0ffee1234', changed: false, node: 'v20', v8: '11', compiler: 'cc <12>', flags: [],
  machine: { cpu: 'one & only', cores: 2, memoryBytes: 2 ** 30, platform: 'p' }, configDigest: 'd', rounds: 3, quick: false, rows, ...more,
})
const rows = () => [flows('forward/flows-1k-64b', 1000, 40), flows('forward/flows-16k-64b', 16_384, 50)]
const texts = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text)

test('a chart has the names of its series, its axis and what it is about; what is drawn is numbers', () => {
  const svg = drawn([{ name: 'one', points: [{ x: 'a', value: 2, low: 1, high: 3 }, { x: 'b', value: 4, low: 4, high: 4 }] }], { y: 'µs' })
  for (const text of ['one', 'a', 'b', 'µs']) assert.ok(texts(svg).includes(text), text)
  assert.doesNotMatch(svg, /NaN|undefined/)
})

test('each kind of row has its chart, history from two results on, and rows that failed have none', () => {
  const failed = rowResult({ name: 'forward/flows-1-64b', unit: 'ns/packet', parameters: { flows: 1 } }, [], [], 'broke')
  const reply = rowResult({ name: 'midcom/reply-10k', unit: 'us p99', parameters: {} }, [sample(9, { p50: 2, p99: 9 })], [sample(3, { p50: 1, p99: 3 })], null)
  const one = result('2024-01-01T00:00:00.000Z', [...rows(), failed, reply])
  assert.deepEqual(charts([one]).map(({ title }) => title), ['Forwarding by number of flows, frames of 64 bytes', 'Latency of replies'])
  const two = result('2024-01-02T00:00:00.000Z', rows())
  assert.deepEqual(charts([one, two]).map(({ title }) => title).slice(1), ['History of forward/flows-1k-64b', 'History of forward/flows-16k-64b'])
  assert.ok(texts(charts([one])[0]!.svg).includes('16384'))
})

test('the page is one file without scripts and links, and what comes from outside is escaped', () => {
  const html = page([result('2024-01-02T00:00:00.000Z', rows(), { commit: 'newest' }), result('2024-01-01T00:00:00.000Z', rows())])
  assert.match(html, /<dt>commit<\/dt><dd>newest<\/dd>/)
  assert.match(html, /cc &lt;12&gt;/)
  assert.match(html, /one &amp; only/)
  assert.doesNotMatch(html, /<script|<link|src=|href="http/)
  assert.match(html, /<h2>Targets<\/h2>/)
  assert.equal(escaped('<a href="x">&'), '&lt;a href=&quot;x&quot;&gt;&amp;')
})

test('pinhole bench report: writes the page, and names a file that is no result', () => {
  const directory = mkdtempSync(join(tmpdir(), 'pinhole-report-test-')), file = (name: string) => join(directory, name)
  const report = (...args: string[]) => spawnSync(process.execPath, [join(ROOT, 'build/src/app/cli/main.js'), 'bench', 'report', ...args], { cwd: ROOT, encoding: 'utf8' })
  try {
    writeFileSync(file('good.json'), JSON.stringify(result('2024-01-01T00:00:00.000Z', rows())))
    writeFileSync(file('old.json'), JSON.stringify({ schema: 'pinhole-bench/1' }))
    const good = report(file('good.json'), '-o', file('page.html'))
    assert.deepEqual([good.status, good.stderr], [0, ''])
    assert.match(readFileSync(file('page.html'), 'utf8'), /<svg/)
    const old = report(file('old.json'))
    assert.equal(old.status, 2)
    assert.match(old.stderr, /old\.json is no result of this version: its schema is pinhole-bench\/1/)
    for (const [text, wanted] of [['', /bad\.json is empty\n$/], ['{', /bad\.json is no result: it is no JSON: /], ['null', /bad\.json is no result of a benchmark\n$/]] as const) {
      writeFileSync(file('bad.json'), text)
      const { status, stderr } = report(file('bad.json'))
      assert.equal(status, 2)
      assert.match(stderr, wanted)
    }
    const absent = report(file('none.json'))
    assert.equal(absent.status, 2)
    assert.match(absent.stderr, /cannot read .*none\.json: no such file or directory \(ENOENT\)/)
    assert.equal(report(file('good.json'), '-o', join(directory, 'no', 'where.html')).status, 4)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test('helps show no empty defaults, and a file that is not there is told in our words', () => {
  const by = (script: string, ...args: string[]) => spawnSync(process.execPath, [join(ROOT, 'build/native-bench', script), ...args], { encoding: 'utf8' })
  for (const script of ['bench.js', 'revisions/compare.js', 'report/main.js']) assert.doesNotMatch(by(script, '--help').stdout, /default: \[\]/, script)
  for (const [script, ...args] of [['report/main.js', 'absent.json'], ['bench.js', '--only', 'lookup/', '--compare', 'absent.json']] as const) {
    const { status, stderr } = by(script, ...args)
    assert.equal(status, 2)
    assert.match(stderr, /^bench(?: report)?: cannot read absent\.json: no such file or directory \(ENOENT\)\n$/)
  }
})
