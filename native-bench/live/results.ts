/** The rounds of `bench:live` as rows of a result: a row and a driver of Pinhole each, beside the C program and the kernel. */
import { rowResult, type Figures, type RowResult, type Sample } from '../result.ts'
import { C, KERNEL } from './place.ts'
import type { LiveRow, Settings } from './rows.ts'

/** By who forwarded, then by row. */
export interface Measured {
  rounds: Map<string, Map<string, Figures[]>>
  errors: Map<string, Map<string, string>>
}

export function figuresOf({ rounds }: Measured, who: string, row: string): readonly Figures[] {
  return rounds.get(who)?.get(row) ?? []
}

const isPinhole = (who: string) => who !== KERNEL && !who.startsWith(C)
export const rowName = (row: string, driver: string) => `live/${row}/${driver}`

export function liveResults(rows: readonly LiveRow[], all: readonly string[], settings: Settings, measured: Measured): RowResult[] {
  const sample = ({ value, p99, packets, ...figures }: Figures, kernel: Figures | undefined): Sample => ({
    value, p99: p99 ?? null, mean: null, counts: {}, packets, bytesPerFlow: null, figures,
    ...kernel === undefined ? {} : { others: { [KERNEL]: kernel.value } },
  })
  return all.filter(isPinhole).flatMap((driver) => rows.filter(({ isOf }) => isOf(driver, settings)).map((row) => {
    const kernels = figuresOf(measured, KERNEL, row.name)
    const ts = figuresOf(measured, driver, row.name).map((figures, round) => sample(figures, kernels[round]))
    const c = figuresOf(measured, C + driver, row.name).map((figures) => sample(figures, undefined))
    const parameters = { driver, ...row.traffic, seconds: settings.seconds, load: settings.load, long: Number(settings.isLong) }
    const error = measured.errors.get(driver)?.get(row.name) ?? null
    return rowResult({ name: rowName(row.name, driver), unit: row.unit, parameters }, ts, c, error)
  }))
}
