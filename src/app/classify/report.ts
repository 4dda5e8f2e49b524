/** What `pinhole classify` found out: as an object with a versioned schema, and as text. */
import { median } from 'simple-statistics'
import { counted, grouped, inColumns } from '../figures.ts'
import type { EngineName } from './matcher.ts'
import type { Measured } from './measure.ts'

export const CLASSIFY_SCHEMA = 'pinhole-classify/1'

export interface ClassifyContext {
  version: string
  rulesFile: string
  traceFile: string
  engine: EngineName
  batch: number
  rounds: number
  seed: number
  rules: number
  buildMs: number
  bytes: number
  /** Updates a second that were asked for. */
  updatesPerSecond: number
}

interface Rate { median: number; least: number; most: number; rounds: number[] }

export type ClassifyReport = ReturnType<typeof createReport>

function rate(rounds: number[]): Rate {
  return { median: median(rounds), least: Math.min(...rounds), most: Math.max(...rounds), rounds }
}

export function createReport(context: ClassifyContext, { answers, lookupsPerSecond, updated }: Measured) {
  const { rulesFile, traceFile, rules, buildMs, bytes, engine, batch, rounds, seed, updatesPerSecond } = context
  return {
    schema: CLASSIFY_SCHEMA, version: context.version, engine, batch, rounds, seed,
    rules: { file: rulesFile, count: rules, buildMs, bytes, bytesPerRule: bytes / rules },
    packets: { file: traceFile, count: answers.length, matched: answers.reduce((sum, answer) => sum + (answer < 0 ? 0 : 1), 0) },
    lookupsPerSecond: rate(lookupsPerSecond),
    updates: updated === null ? null : {
      asked: updatesPerSecond, updatesPerSecond: median(updated.updatesPerSecond),
      lookupsPerSecond: rate(updated.lookupsPerSecond),
      /** Of the rate without updates in the same round, 1: the same. */
      ofStatic: rate(updated.lookupsPerSecond.map((it, round) => it / lookupsPerSecond[round])),
    },
  }
}

const ENGINE_TEXT: Record<EngineName, string> = {
  wasm: 'the classifier in WebAssembly', typescript: 'the classifier in TypeScript', linear: 'linear search',
}

export function summary({ engine, batch, rules, packets, lookupsPerSecond, updates }: ClassifyReport): string {
  const lines = [
    ['rules', `${grouped(rules.count)}, built in ${rules.buildMs.toFixed(1)} ms, ${rules.bytesPerRule.toFixed(1)} bytes a rule`],
    ['packets', `${grouped(packets.count)}, ${grouped(packets.matched)} match a rule`],
    ['lookups', `${rateText(lookupsPerSecond)}, by ${ENGINE_TEXT[engine]} in batches of ${batch}`],
  ]
  if (updates !== null) {
    lines.push(['updated', `${rateText(updates.lookupsPerSecond)}: ${(updates.ofStatic.median * 100).toFixed(1)} % of that, while `
      + `${grouped(Math.round(updates.updatesPerSecond))} rules/s are deleted and inserted`])
  }
  return inColumns(lines)
}

function rateText({ median, least, most, rounds }: Rate): string {
  const millions = (perSecond: number) => (perSecond / 1e6).toFixed(perSecond < 1e6 ? 4 : 2)
  return `${millions(median)} M/s (${millions(least)} - ${millions(most)} in ${counted(rounds.length, 'round')})`
}
