/** Charts of results, as SVG: drawn here, so that the page needs no script and no network. */
import * as echarts from 'echarts'
import type { BenchResult, RowResult } from '../result.ts'
import { DPDK_NAME } from '../classify/rows.ts'

export interface Chart { title: string; explanation: string; svg: string }
/** Value, and the ends of its interval. */
interface Point { x: string; value: number; low: number; high: number }
interface Series { name: string; points: readonly Point[] }
interface Axes { y: string; isLogarithmic?: boolean; style?: 'line' | 'scatter' | 'bar' }

const WIDTH = 860, HEIGHT = 340
/** Half of the width of the end of an error bar. */
const CAP = 4

type Api = { value(dimension: number): number; coord(at: readonly number[]): [number, number]; style(of: object): object }

/** The interval of a point as a vertical line with ends. */
function spread(name: string, data: (readonly [number, number, number])[]): object {
  return {
    name, type: 'custom', z: 3, data, tooltip: { show: false }, silent: true,
    renderItem(_: unknown, api: Api) {
      const [x, low] = api.coord([api.value(0), api.value(1)]), [, high] = api.coord([api.value(0), api.value(2)])
      const line = (x1: number, y1: number, x2: number, y2: number) =>
        ({ type: 'line', shape: { x1, y1, x2, y2 }, style: { stroke: '#333', lineWidth: 1 } })
      return {
        type: 'group',
        children: [line(x, low, x, high), line(x - CAP, low, x + CAP, low), line(x - CAP, high, x + CAP, high)],
      }
    },
  }
}

export function drawn(series: readonly Series[], { y, isLogarithmic = false, style = 'line' }: Axes): string {
  const xs = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x)))]
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT })
  try {
    chart.setOption({
      animation: false, grid: { left: 70, right: 20, top: 40, bottom: 60 },
      legend: { top: 4, data: series.map(({ name }) => name) },
      xAxis: { type: 'category', data: xs, axisLabel: { hideOverlap: true } },
      yAxis: {
        type: isLogarithmic ? 'log' : 'value', name: y, nameLocation: 'middle', nameGap: 50, min: isLogarithmic ? undefined : 0,
      },
      series: series.flatMap(({ name, points }) => [
        { name, type: style, data: points.map(({ x, value }) => [x, value]), symbolSize: style === 'scatter' ? 10 : 6 },
        // Bars stand beside each other, where a line in the middle would belong to none.
        ...style === 'bar' ? [] : [spread(name, points.map(({ x, low, high }) => [xs.indexOf(x), low, high] as const))],
      ]),
    })
    return chart.renderToSVGString()
  } finally {
    chart.dispose()
  }
}

const isGood = ({ error, ts }: RowResult) => error === null && ts !== null
const named = ({ rows }: BenchResult, beginning: string) => rows.filter(row => isGood(row) && row.name.startsWith(beginning))

/** Nanoseconds as millions a second; the ends change places. */
const rate = (x: string, { median, low, high }: { median: number; low: number; high: number }): Point =>
  ({ x, value: 1000 / median, low: 1000 / high, high: 1000 / low })

function byFlows(result: BenchResult, sizes: string): Series[] {
  const rows = named(result, 'forward/').filter(({ parameters: { sizes: its, distribution, shared } }) =>
    its === sizes && distribution === 'uniform' && shared === 1)
  return [
    { name: 'Pinhole', points: rows.map(row => rate(`${row.parameters['flows']}`, row.ts!)) },
    { name: 'C', points: rows.flatMap(row => row.c === null ? [] : [rate(`${row.parameters['flows']}`, row.c)]) },
  ].filter(({ points }) => points.length > 0)
}

function byRules(result: BenchResult): Series[] {
  const rows = named(result, 'classify/'), set = ({ name }: RowResult) => name.slice('classify/'.length)
  return [
    { name: 'Pinhole', points: rows.map(row => rate(set(row), row.ts!)) },
    { name: 'tuple merge, C++', points: rows.flatMap(row => row.c === null ? [] : [rate(set(row), row.c)]) },
    {
      name: 'DPDK',
      points: rows.flatMap(row => row.others?.[DPDK_NAME] === undefined ? [] : [rate(set(row), row.others[DPDK_NAME].side)]),
    },
  ].filter(({ points }) => points.length > 0)
}

function latencies(result: BenchResult): Series[] {
  const rows = [...named(result, 'midcom/'), ...named(result, 'snmp/')].filter(({ figures: { ts } }) => ts['p50'] !== undefined)
  const series = (name: string, side: 'ts' | 'c', percentile: string): Series => ({
    name,
    points: rows.flatMap(row => {
      const value = row.figures[side][percentile]
      return value === undefined ? [] : [{ x: row.name, value, low: value, high: value }]
    }),
  })
  return [
    series('p50', 'ts', 'p50'), series('p99', 'ts', 'p99'),
    series('p50 of the peer', 'c', 'p50'), series('p99 of the peer', 'c', 'p99'),
  ].filter(({ points }) => points.length > 0)
}

function history(results: readonly BenchResult[], name: string): Series[] {
  const points = results.flatMap(result => {
    const row = result.rows.find(one => one.name === name && isGood(one))
    if (row === undefined) return []
    const { median, low, high } = row.ratio ?? row.ts!
    return [{ x: `${result.when.slice(0, 19).replace('T', ' ')} ${result.commit.slice(0, 7)}`, value: median, low, high }]
  })
  return points.length < 2 ? [] : [{ name, points }]
}

/** @param results by time, the last is the one that is shown */
export function charts(results: readonly BenchResult[]): Chart[] {
  const latest = results.at(-1)!, made: Chart[] = []
  const add = (title: string, explanation: string, series: readonly Series[], axes: Axes) => {
    if (series.length > 0) made.push({ title, explanation, svg: drawn(series, axes) })
  }
  for (const [sizes, text] of [['64b', 'frames of 64 bytes'], ['imix', 'IMIX']] as const) {
    add(`Forwarding by number of flows, ${text}`, 'One thread, median of rounds with its interval.', byFlows(latest, sizes),
      { y: 'million packets/s' })
  }
  add('Finding rules', 'ClassBench sets, distinct headers in random order, one thread.', byRules(latest),
    { y: 'million lookups/s', style: 'scatter' })
  add('Latency of replies', 'Medians over the rounds; the axis is logarithmic.', latencies(latest),
    { y: 'µs', isLogarithmic: true, style: 'bar' })
  const names = new Set(results.flatMap(({ rows }) => rows.map(({ name }) => name)))
  for (const name of names) {
    const rows = results.flatMap(result => result.rows.filter(row => row.name === name && isGood(row)))
    const y = rows.every(({ ratio }) => ratio !== null) ? 'ratio to the peer' : rows[0]?.unit ?? ''
    add(`History of ${name}`, 'Lower is better, whatever the machine was.', history(results, name), { y })
  }
  return made
}
