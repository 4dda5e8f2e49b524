/** What the project has set itself between two interfaces. */
import type { RowResult } from '../result.ts'
import type { Target } from '../targets.ts'
import { KERNEL } from './place.ts'
import { rowName } from './results.ts'

const RINGS = ['packet', 'xdpdrv', 'xdpgeneric'], DRIVERS = [...RINGS, 'libpcap']
const LEAST_OF_NFT: Record<string, Record<string, number>> = {
  '64b-4k': { packet: 1.4, xdpdrv: 1.7, xdpgeneric: 1.7, libpcap: 0.7 },
  '64b-64k': { xdpdrv: 2, xdpgeneric: 2 },
  'rate-0.1': { packet: 1.4, xdpdrv: 1.4, xdpgeneric: 1.4 },
}

const overC = (row: RowResult) => row.ratio === null ? null : 1 / row.ratio.median
const value = (row: RowResult) => row.ts?.median ?? null
const timesOfNft = (row: RowResult) => row.others?.[KERNEL]?.ratio.median ?? null
const overNft = (row: RowResult) => {
  const times = timesOfNft(row)
  return times === null ? null : 1 / times
}

export const LIVE_TARGETS: readonly Target[] = [
  ...Object.entries(LEAST_OF_NFT).flatMap(([row, limits]) => Object.entries(limits).map(([driver, limit]) => (
    { what: `${driver}: ${row}`, row: rowName(row, driver), limit, unit: '× nft', least: true, figure: overNft }))),
  ...RINGS.map((driver) => (
    { what: `${driver}: 64b-4k`, row: rowName('64b-4k', driver), limit: 0.95, unit: '× C', least: true, figure: overC })),
  ...RINGS.map((driver) => (
    { what: `${driver}: p50 of trip`, row: rowName('trip', driver), limit: 1.5, unit: '× nft', figure: timesOfNft })),
  ...DRIVERS.map((driver) => (
    { what: `${driver}: idle`, row: rowName('idle', driver), limit: 2, unit: '% of a core', figure: value })),
]
