import assert from 'node:assert/strict'
import test from 'node:test'
import type { Figures } from '../result.ts'
import { judgeTargets } from '../targets.ts'
import { KERNEL } from './place.ts'
import { liveResults, type Measured } from './results.ts'
import { LIVE_ROWS, type Settings } from './rows.ts'
import { liveText } from './table.ts'
import { LIVE_TARGETS } from './targets.ts'

const SETTINGS: Settings = { seconds: 1, load: 1000, isLong: false }
const ALL = ['packet', 'c-packet', 'xdpdrv', 'xdpgeneric', 'libpcap', KERNEL]

/** Two rounds in which everybody has `value` in every row, and some have another one. */
function measured(value: number, others: Record<string, number>): Measured {
  const figures = (who: string): Figures => ({ value: others[who] ?? value, packets: 1, lost: 0 })
  const rounds = new Map(ALL.map((who) => [who, new Map(LIVE_ROWS.filter(({ isOf }) => isOf(who, SETTINGS))
    .map(({ name }) => [name, [figures(who), figures(who)]]))]))
  return { rounds, errors: new Map() }
}
const resultsOf = (all: Measured) => liveResults(LIVE_ROWS, ALL, SETTINGS, all)

test('every target between interfaces is the figure of a row that exists', () => {
  const names = resultsOf(measured(1, {})).map(({ name }) => name)
  for (const { row } of LIVE_TARGETS) assert.ok(names.includes(row), row)
})

test('rates are compared with those of the kernel and of the C program in the same round, and round trips the other way round', () => {
  const judged = (packet: number) => judgeTargets(resultsOf(measured(100, { packet, 'c-packet': 50 })), LIVE_TARGETS, [])
    .filter(({ row }) => row.endsWith('/packet')).map(({ row, unit, figure, passed }) => [`${row} ${unit}`, figure, passed])
  assert.deepEqual(judged(50).slice(0, 4), [
    ['live/64b-4k/packet × nft', 2, true], ['live/rate-0.1/packet × nft', 2, true], ['live/64b-4k/packet × C', 1, true],
    ['live/trip/packet × nft', 0.5, true],
  ])
  assert.deepEqual(judged(200).slice(0, 4).map(([, ...rest]) => rest), [[0.5, false], [0.5, false], [0.25, false], [2, false]])
})

test('who failed in a row has no figure there but an error, and what is compared with it is not measured', () => {
  const all = measured(100, { packet: 50 })
  all.rounds.get(KERNEL)!.delete('trip')
  all.errors.set('packet', new Map([['64b-4k', 'the box ended']])).set(KERNEL, new Map([['trip', 'no echo request was answered']]))
  all.rounds.get('packet')!.delete('64b-4k')
  const results = resultsOf(all), targets = judgeTargets(results, LIVE_TARGETS, [])
  assert.equal(results.find(({ name }) => name === 'live/64b-4k/packet')!.error, 'the box ended')
  for (const row of ['live/64b-4k/packet', 'live/trip/packet', 'live/trip/xdpdrv']) {
    for (const target of targets.filter((one) => one.row === row)) assert.deepEqual([target.figure, target.passed], [null, false], row)
  }
  const text = liveText(LIVE_ROWS, ALL, all)
  assert.match(text, /^FAILED pinhole, packet, 64b-4k: the box ended$/m)
  assert.match(text, /^FAILED kernel, nftables, trip: no echo request was answered$/m)
  assert.match(text, /^64b-64k: .*\n.*\n.*\npinhole, packet +20000 +2\.00 /m)
})
