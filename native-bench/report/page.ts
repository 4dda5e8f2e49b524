/** The page: charts, the tables of the text, and what was measured where. One file that needs nothing else. */
import type { BenchResult } from '../result.ts'
import { resultText, targetsText } from '../table.ts'
import { judgeTargets } from '../targets.ts'
import { charts } from './charts.ts'

const STYLE = `body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
h1, h2 { font-weight: 600 } h2 { margin-top: 2em } figure { margin: 0 } svg { max-width: 100%; height: auto }
pre { overflow-x: auto; background: #f6f6f6; padding: 1em; font-size: 12px } dt { font-weight: 600 } dd { margin: 0 0 .4em }
@media (prefers-color-scheme: dark) { body { background: #fff } }`

const MARKS: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
export function escaped(text: string): string { return text.replace(/[&<>"]/g, mark => MARKS[mark]!) }

function facts(result: BenchResult): [string, string][] {
  const { when, commit, changed, node, v8, compiler, machine, rounds, quick, configDigest, flags } = result
  return [
    ['measured', when], ['commit', commit + (changed ? ', with changes' : '')], ['node', `${node}, V8 ${v8}`],
    ['flags of node', flags.join(' ') || 'none'], ['compiler', compiler ?? 'none'],
    ['machine', `${machine.cores} × ${machine.cpu}, ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB, ${machine.platform}`],
    ['rounds', `${rounds}${quick ? ', small rows' : ''}`], ['digest of the configuration', configDigest],
  ]
}

/** @param results of the same machine or not; sorted by time here */
export function page(results: readonly BenchResult[]): string {
  const sorted = [...results].sort((a, b) => a.when < b.when ? -1 : a.when > b.when ? 1 : 0), latest = sorted.at(-1)!
  const figures = charts(sorted).map(({ title, explanation, svg }) =>
    `<h2>${escaped(title)}</h2>\n<p>${escaped(explanation)}</p>\n<figure>${svg}</figure>`)
  const targets = latest.quick ? [] : judgeTargets(latest.rows).filter(({ figure }) => figure !== null)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Pinhole benchmarks, ${escaped(latest.commit.slice(0, 10))}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Pinhole benchmarks</h1>
<dl>${facts(latest).map(([what, is]) => `<dt>${what}</dt><dd>${escaped(is)}</dd>`).join('\n')}</dl>
${figures.join('\n')}
<h2>All figures</h2>
<pre>${escaped(resultText(latest))}</pre>
${targets.length === 0 ? '' : `<h2>Targets</h2>\n<pre>${escaped(targetsText(targets))}</pre>\n`}</body>
</html>
`
}
