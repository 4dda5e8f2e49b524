/** The rounds of `bench:live` as text: a table a row, a line for each who forwarded. */
import { max, median } from 'simple-statistics'
import type { Figures } from '../result.ts'
import { ratios } from '../statistics.ts'
import { figure, grid } from '../table.ts'
import { C, KERNEL } from './place.ts'
import { figuresOf, type Measured } from './results.ts'
import type { Kind, LiveRow } from './rows.ts'

interface Column { head: string; text: (rounds: readonly Figures[], kernel: readonly Figures[], c: readonly Figures[]) => string }

const list = (rounds: readonly Figures[], what: string) => rounds.flatMap((one) => one[what] ?? [])
const percent = (part: number) => `${(part * 100).toFixed(part < 0.01 ? 2 : 1)} %`
const middle = (head: string, what: string, print: (value: number) => string = figure): Column => ({
  head, text: (rounds) => list(rounds, what).length === 0 ? '-' : print(median(list(rounds, what))),
})
/** Neighbours in time are compared with each other. `isRate`: how many as many in the same time. */
const compared = (head: string, what: string, isRate: boolean, peer: 'kernel' | 'c'): Column => ({
  head,
  text(its, kernel, c) {
    const over = list(its, what), under = list(peer === 'kernel' ? kernel : c, what)
    if (over.length === 0 || under.length === 0) return '-'
    const rounds = Math.min(over.length, under.length)
    return median((isRate ? ratios(under, over) : ratios(over, under)).slice(0, rounds)).toFixed(2)
  },
})
const thousands: Column = { head: 'k/s', text: (rounds) => figure(1e6 / median(list(rounds, 'value'))) }
const best: Column = { head: 'best', text: (rounds) => figure(max(list(rounds, 'value').map((ns) => 1e6 / ns))) }
const rates = [thousands, compared('× nft', 'value', true, 'kernel'), compared('× C', 'value', true, 'c')]
const lost = middle('lost', 'lost', percent)

const COLUMNS: Record<Kind, readonly Column[]> = {
  rate: [
    ...rates, best, lost,
    middle('cpu ns', 'cpuNs'), compared('× nft', 'cpuNs', false, 'kernel'), compared('× C', 'cpuNs', false, 'c'),
    middle('box ns', 'boxNs'), compared('× C', 'boxNs', false, 'c'),
  ],
  flows: [...rates, best, lost],
  trip: [
    middle('p50 us', 'value'), compared('× nft', 'value', false, 'kernel'), compared('× C', 'value', false, 'c'),
    middle('p99 us', 'p99'), compared('× nft', 'p99', false, 'kernel'), compared('× C', 'p99', false, 'c'),
    middle('unanswered', 'unanswered', percent), lost,
  ],
  idle: [middle('%', 'value')],
  search: [...rates, middle('less than', 'upper'), middle('trials', 'trials')],
}

const LEGEND = `k/s: thousands a second that came through while the sender was at it. × nft and × C: medians of the ratios to the
kernel and to the C program on the same kind of sockets in the same round. cpu ns: processor time a packet of all but
the sending; box ns: of the box.`

function nameOf(who: string): string {
  return who === KERNEL ? 'kernel, nftables' : who.startsWith(C) ? `C, ${who.slice(C.length)}` : `pinhole, ${who}`
}

export function liveText(rows: readonly LiveRow[], all: readonly string[], measured: Measured): string {
  const failed = [...measured.errors].flatMap(([who, errors]) => [...errors]
    .map(([row, why]) => `FAILED ${nameOf(who)}, ${row}: ${why}`))
  const tables = rows.flatMap(({ name, title, kind }) => {
    const columns = COLUMNS[kind], kernel = figuresOf(measured, KERNEL, name)
    const lines = all.filter((who) => figuresOf(measured, who, name).length > 0).map((who) => {
      const c = who === KERNEL || who.startsWith(C) ? [] : figuresOf(measured, C + who, name)
      return [nameOf(who), ...columns.map(({ text }) => text(figuresOf(measured, who, name), who === KERNEL ? [] : kernel, c))]
    })
    return lines.length === 0 ? [] : [`${name}: ${title}\n` + grid(['', ...columns.map(({ head }) => head)], lines)]
  })
  return [...tables, LEGEND, ...failed].join('\n\n')
}
