/** The rows about SNMP as text. */
import type { RowResult } from '../result.ts'
import { figure, grid } from '../table.ts'

const rate = (row: RowResult, side: 'ts' | 'c', name: string) => figure(row.figures[side][name])
const ratio = ({ ratio: it }: RowResult, invert: boolean) => {
  if (it === null) return '-'
  const [middle, low, high] = invert ? [1 / it.median, 1 / it.high, 1 / it.low] : [it.median, it.low, it.high]
  return `${middle.toFixed(2)} (${low.toFixed(2)} - ${high.toFixed(2)})`
}

export function snmpText(rows: readonly RowResult[]): string[] {
  const requests = rows.filter(({ unit }) => unit === 'us/request'), walks = rows.filter(({ unit }) => unit === 'ms')
  const parts: string[] = []
  if (requests.length > 0) {
    const head = ['managers ask all they can', 'ours/s', 'snmpd/s', 'ours / snmpd', 'p50 us', 'p99 us', 'snmpd p50', 'p99 us']
    parts.push(grid(head,
      requests.map(row => [
        row.name, rate(row, 'ts', 'perSecond'), rate(row, 'c', 'perSecond'), ratio(row, true), rate(row, 'ts', 'p50'),
        rate(row, 'ts', 'p99'), rate(row, 'c', 'p50'), rate(row, 'c', 'p99'),
      ])))
  }
  if (walks.length > 0) {
    parts.push(grid(['net-snmp walks a column', 'ours ms', 'snmpd ms', 'ours / snmpd'],
      walks.map(row => [row.name, figure(row.ts?.median), figure(row.c?.median), ratio(row, false)])))
  }
  return [...parts, ...new Set(rows.flatMap(({ note }) => note ?? []))]
}
