/** Results as text. */
import type { RowComparison } from './compare.ts'
import { LEAST_EFFECT } from './compare.ts'
import type { BenchResult, RowResult } from './result.ts'
import { classifyText } from './classify/table.ts'
import { midcomText } from './midcom/table.ts'
import { snmpText } from './snmp/table.ts'
import type { TargetResult } from './targets.ts'

const LEFT = new Set([0])

export function grid(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((text, column) => Math.max(text.length, ...rows.map(row => (row[column] ?? '').length)))
  const line = (cells: readonly string[]) => cells
    .map((text, column) => LEFT.has(column) ? text.padEnd(widths[column]) : text.padStart(widths[column]))
    .join('  ').trimEnd()
  return [line(head), line(widths.map(width => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined) return '-'
  return value >= 1000 ? value.toFixed(0) : value >= 100 ? value.toFixed(1) : value.toFixed(2)
}

function millionsASecond(row: RowResult): string {
  if (row.unit !== 'ns/packet' || row.ts === null) return '-'
  return (1000 / row.ts.median).toFixed(2)
}

export function rowCells(row: RowResult): string[] {
  if (row.error !== null) return [row.name, `failed: ${row.error}`]
  const { ts, c, ratio } = row
  return [
    row.name, row.unit, figure(ts?.median), figure(ts?.p99), figure(c?.median), figure(c?.p99),
    ratio === null ? '-' : `${ratio.median.toFixed(2)} (${ratio.low.toFixed(2)} - ${ratio.high.toFixed(2)})`,
    row.meanRatio === null ? '-' : row.meanRatio.median.toFixed(2), millionsASecond(row), figure(row.bytesPerFlow),
  ]
}

const HEAD = ['row', 'unit', 'TS p50', 'p99', 'C p50', 'p99', 'TS / C', 'of means', 'M packets/s', 'bytes/flow']

export function resultText(result: BenchResult): string {
  const bad = result.rows.filter(row => row.error !== null)
  const named = (beginning: string) => result.rows.filter(row => row.error === null && row.name.startsWith(beginning))
  const ofRules = named('classify/'), ofAgents = named('midcom/'), ofSnmp = named('snmp/')
  const apart = new Set([...ofRules, ...ofAgents, ...ofSnmp])
  const good = result.rows.filter(row => row.error === null && !apart.has(row))
  const confidence = good.find(row => row.ratio !== null)?.ratio?.confidence
  const parts = good.length === 0 ? [] : [grid(HEAD, good.map(rowCells))]
  if (confidence !== undefined) {
    const percent = (confidence * 100).toFixed(0)
    parts.push(`TS / C: median of ${result.rounds} rounds, in brackets the ${percent} % interval. `
      + 'p50 and p99 are over batches of 256 packets.')
  }
  if (ofRules.length > 0) parts.push(...classifyText(ofRules))
  if (ofAgents.length > 0) parts.push(...midcomText(ofAgents))
  if (ofSnmp.length > 0) parts.push(...snmpText(ofSnmp))
  for (const row of bad) parts.push(`FAILED ${row.name}: ${row.error}`)
  return parts.join('\n')
}

export function comparisonText(rows: readonly RowComparison[]): string {
  const percent = (value: number | null) => value === null ? '-'
    : `${value >= 0 ? '+' : ''}${(value * 100).toFixed(1)} %`
  const cells = rows.map(row => [
    row.name, row.verdict, row.by === 'ratio' ? 'TS / C' : row.by === 'value' ? 'TS' : '-',
    figure(row.old), figure(row.now), percent(row.change),
    row.visible === null ? '-' : `${(row.visible * 100).toFixed(1)} %`, row.why ?? '',
  ])
  return grid(['row', 'verdict', 'by', 'old', 'new', 'change', 'visible', ''], cells)
    + `\nvisible: the least change these samples could have shown; below ${LEAST_EFFECT * 100} % none counts.`
}

export function targetsText(targets: readonly TargetResult[]): string {
  const cells = targets.map(({ what, figure: value, limit, unit, least, passed }) => [
    what, figure(value), `${least === true ? '>=' : '<='} ${limit}`, unit,
    passed ? 'pass' : value === null ? 'not measured' : 'FAIL',
  ])
  return grid(['target', 'figure', 'limit', '', ''], cells)
}
