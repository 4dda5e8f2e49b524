/**
 * How fast headers are looked up. After a first pass over all headers, which gives the answers, and some to warm up, each round
 * makes as many passes as fill a tenth of a second; with updates, as many again while rules come and go. A slow engine makes one
 * pass a round.
 */
import { createPrng } from '../../base/prng.ts'
import type { Headers } from './headers.ts'
import { batchesOf, type Matcher } from './matcher.ts'

export interface MeasureOptions {
  /** Headers in a call. */
  batch: number
  rounds: number
  /** Rules deleted and inserted again in a second, 0: none. */
  updatesPerSecond: number
  rules: number
  seed: number
  /** In lookups. `all` is a guess until the first pass is over. */
  onProgress: ((done: number, all: number) => void) | null
  /** Processor time of this process: others on the machine do not count. */
  clockMs: () => number
}

export interface Measured {
  /** The place of the first rule that matches each header, from 0; -1: none does. */
  answers: Int32Array
  /** A rate for each round. */
  lookupsPerSecond: number[]
  updated: { lookupsPerSecond: number[]; updatesPerSecond: number[] } | null
}

/** Updates have more code than look-ups, which is compiled in more steps. */
const ROUND_MS = 100, WARM_MS = 250, WARM_UPDATES_MS = 1000, TICK_MS = 50
/** The clock of processor time takes microseconds: with updates it is read about so often, or once a batch if that is rarer. */
const CLOCK_MS = 2
/** Rules for one round of updates: if there are more, they come over again. */
const RULES_DRAWN = 16_384
/** Updates after one batch: with more than the machine can do, lookups must go on. */
const MOST_DUE = 1024

export function measure(matcher: Matcher, headers: Headers, options: MeasureOptions): Measured {
  const { batch: size, rounds, updatesPerSecond, rules, seed, onProgress, clockMs } = options
  const batches = batchesOf(headers, size), { next } = createPrng(seed)
  const found = new Int32Array(Math.min(size, headers.count)), answers = new Int32Array(headers.count)
  const passesARound = updatesPerSecond > 0 ? 2 : 1
  // A slow engine makes one pass a round; with a fast one there is nothing to see.
  let done = 0, all = (1 + rounds * passesARound) * headers.count, updates = 0
  let batchesATick = 1, batchesAClock = 1, isWarm = false
  // Updates are spread over the batches; how many a batch is known from the last time that the clock was read.
  let stretchMs = 0, clockedMs = 0, updatesBefore = 0, updatesABatch = 0, due = 0, batchesSinceClock = 0

  /** Finds the answers of all headers once, and tells whether they are those of the first time. */
  function answer(isFirst: boolean): boolean {
    let same = true
    batches.forEach((batch, n) => {
      matcher.find(batch, found)
      for (let i = 0; i < batch.count; i++) {
        const at = n * size + i
        if (isFirst) answers[at] = found[i] - 1
        else if (answers[at] !== found[i] - 1) same = false
      }
      if (isFirst && n % 16 === 0) onProgress?.(n * size, all)
    })
    return same
  }

  function pass(): void {
    for (let start = 0; start < batches.length;) {
      const end = Math.min(batches.length, start + batchesATick)
      for (; start < end; start++) matcher.find(batches[start], found)
      tick(start)
    }
  }

  function updatedPass(): void {
    for (let n = 0; n < batches.length; n++) {
      matcher.find(batches[n], found)
      due += updatesABatch
      if (++batchesSinceClock >= batchesAClock) {
        const nowMs = clockMs()
        due = updatesBefore + (nowMs - stretchMs) * updatesPerSecond / 1000
        updatesABatch = (nowMs - clockedMs) * updatesPerSecond / 1000 / batchesSinceClock
        clockedMs = nowMs
        batchesSinceClock = 0
      }
      for (let many = 0; updates < due && many < MOST_DUE; many++, updates++) matcher.replace(updates % RULES_DRAWN)
      if (n % batchesATick === 0) tick(n)
    }
  }

  function tick(batchesDone: number): void {
    if (isWarm) onProgress?.(Math.min(all, done + batchesDone * size), all)
  }

  function batchesIn(ms: number, passMs: number): number {
    return Math.max(1, Math.round(ms / passMs * batches.length))
  }

  /** Not in the time measured: it takes milliseconds. */
  function drawRules(): void {
    matcher.expect(Int32Array.from({ length: RULES_DRAWN }, () => (next() >>> 0) % rules))
  }

  /** Milliseconds of one pass. */
  function timed(passes: number, work: () => void): number {
    const begin = clockMs()
    stretchMs = clockedMs = begin
    updatesBefore = due = updates
    batchesSinceClock = 0
    for (let n = 0; n < passes; n++) {
      work()
      done += headers.count
    }
    return (clockMs() - begin) / passes
  }

  function warm(work: () => void, passMs: number, leastMs: number): number {
    for (let spentMs = passMs; spentMs < leastMs; spentMs += passMs) passMs = timed(1, work)
    return passMs
  }

  const begin = clockMs()
  answer(true)
  let passMs = warm(pass, Math.max(clockMs() - begin, 1e-3), WARM_MS)
  batchesAClock = batchesIn(CLOCK_MS, passMs)
  if (updatesPerSecond > 0) drawRules()
  if (updatesPerSecond > 0 && passMs < WARM_MS) passMs = Math.max(passMs, warm(updatedPass, 0, WARM_UPDATES_MS))
  isWarm = true
  const passes = Math.max(1, Math.round(ROUND_MS / passMs))
  batchesATick = batchesIn(TICK_MS, passMs)
  done = headers.count
  all = (1 + rounds * passes * passesARound) * headers.count
  const lookupsPerSecond: number[] = []
  const updated = { lookupsPerSecond: [] as number[], updatesPerSecond: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    lookupsPerSecond.push(headers.count / timed(passes, pass) * 1000)
    if (updatesPerSecond === 0) continue
    drawRules()
    const before = updates, ms = timed(passes, updatedPass)
    updated.lookupsPerSecond.push(headers.count / ms * 1000)
    updated.updatesPerSecond.push((updates - before) / (ms * passes) * 1000)
  }
  // A deleted rule was back before the next header came, so nothing may have changed.
  if (updatesPerSecond > 0 && !answer(false)) throw new Error('after the updates there are other answers than before')
  return { answers, lookupsPerSecond, updated: updatesPerSecond > 0 ? updated : null }
}
