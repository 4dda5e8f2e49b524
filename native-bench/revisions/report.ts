/** What a comparison of two revisions leaves behind: text, Markdown for a pull request, and JSON, of our own and for an action. */
import type { MachineInfo } from '../result.ts'
import { figure, grid } from '../table.ts'
import { LEAST_CHANGE, type Judgement } from './verdict.ts'

export const COMPARISON_SCHEMA = 'pinhole-comparison/1'

export interface ComparedRow {
  name: string
  unit: string
  parameters: Record<string, number | string>
  /** SHA-256 of what the programs read. */
  inputDigest: string
  /** Medians over the pairs. */
  base: number | null
  head: number | null
  /** One for each pair of processes. */
  quotients: number[]
  judgement: Judgement | null
  /** Counted by valgrind; null: not asked for, or not for this row. */
  instructions: { base: number; head: number; change: number } | null
  /** What the two did differently: a change of behaviour, which a change of speed may come from. */
  difference: string | null
  /** Why there is no figure. */
  error: string | null
}

/** All that must be the same for figures to be compared; both sides of one comparison have it in common. */
export interface Passport { machine: MachineInfo; node: string; v8: string; flags: string[]; harnessDigest: string }

export interface Comparison {
  schema: typeof COMPARISON_SCHEMA
  when: string
  base: { name: string; commit: string }
  head: { name: string; commit: string }
  passport: Passport
  /** The change that was not to go unseen, as a part. */
  effect: number
  rows: ComparedRow[]
  notes: string[]
}

export function hasRegressed({ judgement, instructions }: ComparedRow): boolean {
  return judgement?.verdict === 'regressed' || (instructions !== null && instructions.change >= LEAST_CHANGE)
}

export function verdictOf({ judgement, error }: ComparedRow): string {
  if (judgement === null) return error === null ? '-' : 'failed'
  // What is still open at the end is not a change that could be shown.
  return judgement.verdict === 'undecided' ? 'no change' : judgement.verdict
}

const percent = (part: number) => `${part >= 0 ? '+' : ''}${(part * 100).toFixed(1)} %`

function cells(row: ComparedRow): string[] {
  const { judgement: j, instructions: i } = row
  return [
    row.name, verdictOf(row), row.unit, figure(row.base), figure(row.head),
    j === null ? '-' : `${percent(j.change)} (${percent(j.low)} … ${percent(j.high)})`,
    j === null ? '-' : `${(j.visible * 100).toFixed(1)} %`, j === null ? '-' : `${j.pairs}`,
    i === null ? '-' : `${i.base.toFixed(0)} → ${i.head.toFixed(0)} (${percent(i.change)})`,
  ]
}

const HEAD = ['row', 'verdict', 'unit', 'base', 'head', 'change', 'visible', 'pairs', 'instructions']

function remarks({ rows, notes }: Comparison): string[] {
  return [
    ...notes,
    ...rows.flatMap(({ name, difference }) => difference === null ? [] : [`${name}: the two did not do the same: ${difference}`]),
    ...rows.flatMap(({ name, error }) => error === null ? [] : [`${name} failed: ${error}`]),
  ]
}

const short = ({ name, commit }: Comparison['base']) =>
  commit.startsWith(name) ? commit.slice(0, 10) : `${name} (${commit.slice(0, 10)}${commit.endsWith('+') ? ' and changes' : ''})`

const LEGEND = 'change: median over pairs of processes, in brackets its 99.5 % interval; visible: the smallest change that they '
  + `could have shown; below ${LEAST_CHANGE * 100} % none counts.`

export function comparisonReport(comparison: Comparison): string {
  const { base, head: judged, passport: { node, machine } } = comparison
  const head = `${short(base)} against ${short(judged)}, node ${node}, ${machine.cpu}`
  return [head, grid(HEAD, comparison.rows.map(cells)), LEGEND, ...remarks(comparison)].join('\n')
}

export function markdown(comparison: Comparison): string {
  const regressed = comparison.rows.filter(hasRegressed)
  const line = (texts: readonly string[]) => `| ${texts.map(text => text.replaceAll('|', '\\|')).join(' | ')} |`
  const title = regressed.length === 0 ? 'No regression' : `Regressed: ${regressed.map(({ name }) => `\`${name}\``).join(', ')}`
  const { machine, node } = comparison.passport
  return [
    `### ${title}`, '',
    `${short(comparison.base)} against ${short(comparison.head)}, node ${node}, ${machine.cores} × ${machine.cpu}`, '',
    line(HEAD), line(HEAD.map((_, column) => column < 3 ? '---' : '---:')), ...comparison.rows.map(row => line(cells(row))), '',
    LEGEND, ...remarks(comparison).map(text => `- ${text}`), '',
  ].join('\n')
}

/** The format `customSmallerIsBetter` of github-action-benchmark: the figures of head. */
export function actionBenchmark({ rows }: Comparison): object[] {
  return rows.flatMap(row => row.head === null || row.judgement === null ? [] : [{
    name: row.name, unit: row.unit, value: row.head, range: `± ${((row.judgement.high - row.judgement.low) * 50).toFixed(1)} %`,
    extra: `${verdictOf(row)}: ${percent(row.judgement.change)} against base, ${row.judgement.pairs} pairs`,
  }])
}
