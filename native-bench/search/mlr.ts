/**
 * The throughput of something that can lose packets, searched by the idea of MLRsearch (Multiple Loss Ratio search of the IETF's
 * benchmarking group): trials as of RFC 2544, short ones while the bounds are far apart and long ones near them, and several goals
 * in one search. A load is a lower bound if at most a part of the time of its trials may have lost too much, so that one unlucky
 * trial of a noisy machine decides nothing; what a bound rests on is kept, and both bounds are told.
 */

export interface Goal {
  name: string
  /** Packets that may be lost, as a part: 0 for throughput as of RFC 2544. */
  lossRatio: number
  /** A trial that counts fully, and all trials of a load together. */
  trialSeconds: number
  totalSeconds: number
  /** Part of the time in which trials may lose more. */
  exceedRatio: number
  /** Bounds are near enough when they differ by this part of the upper one. */
  width: number
}

export interface Trial { load: number; seconds: number; lossRatio: number }

export interface Bound {
  goal: string
  /** Packets a second; null: not even the least load was good enough, or the greatest was not too much. */
  lower: number | null
  upper: number | null
  /** Part of the packets that the worst trial of the lower bound has lost. */
  lowerLossRatio: number | null
  trials: number
}

export interface SearchOptions {
  least: number
  most: number
  goals: readonly Goal[]
  /** The first trials. */
  shortSeconds: number
  /** The search ends undecided after so many trials. */
  mostTrials: number
}

type Class = 'lower' | 'upper' | 'undecided'

/** What the trials of one load say with regard to a goal. */
export function classify(trials: readonly Trial[], goal: Goal): Class {
  let goodLong = 0, badLong = 0, goodShort = 0, badShort = 0
  for (const { seconds, lossRatio } of trials) {
    const isLong = seconds >= goal.trialSeconds, isGood = lossRatio <= goal.lossRatio
    if (isLong && isGood) goodLong += seconds
    else if (isLong) badLong += seconds
    else if (isGood) goodShort += seconds
    else badShort += seconds
  }
  // Short trials count against a load, as far as they exceed what may be; for it they do not.
  const allowed = goal.exceedRatio >= 1 ? Infinity : goodShort * goal.exceedRatio / (1 - goal.exceedRatio)
  const bad = badLong + Math.max(0, badShort - allowed)
  const whole = Math.max(goodLong + bad, goal.totalSeconds), mayBeBad = whole * goal.exceedRatio
  const isLowerAtBest = bad <= mayBeBad, isLowerAtWorst = whole - goodLong <= mayBeBad
  return isLowerAtWorst ? 'lower' : isLowerAtBest ? 'undecided' : 'upper'
}

/** @param trial sends at a load for a time; answers the part of the packets that was lost */
export async function search(
  { least, most, goals, shortSeconds, mostTrials }: SearchOptions, trial: (load: number, seconds: number) => Promise<number>,
): Promise<{ bounds: Bound[]; trials: Trial[] }> {
  const trials: Trial[] = []
  const ofLoad = (load: number) => trials.filter((one) => one.load === load)
  const loads = () => [...new Set(trials.map(({ load }) => load))].sort((a, b) => a - b)

  async function measure(load: number, seconds: number): Promise<void> {
    trials.push({ load, seconds, lossRatio: await trial(load, seconds) })
  }

  /** The tightest: the least upper bound, and the greatest lower bound below it. */
  function boundsOf(goal: Goal): { lower: number | null; upper: number | null } {
    let lower: number | null = null, upper: number | null = null
    for (const load of loads()) {
      const what = classify(ofLoad(load), goal)
      if (what === 'upper') {
        upper = load
        break
      }
      if (what === 'lower') lower = load
    }
    return { lower, upper }
  }

  /** Where to measure next for a goal, or null: its bounds are near enough. */
  function next(goal: Goal): number | null {
    const { lower, upper } = boundsOf(goal)
    // A load in between that was measured already comes first: it takes less to decide it than to begin another.
    const open = loads().filter((load) => (lower === null || load > lower) && (upper === null || load < upper))
    if (open.length > 0) return open[open.length - 1]!
    if (upper === null) return lower === most ? null : most
    if (lower === null) return upper === least ? null : least
    if (upper - lower <= goal.width * upper) return null
    return Math.round(Math.sqrt(lower * upper))
  }

  // Short trials first, for the rough place.
  for (const load of new Set([most, least])) await measure(load, shortSeconds)
  for (const goal of goals) {
    for (let load = next(goal); load !== null && trials.length < mostTrials; load = next(goal)) {
      const { lower, upper } = boundsOf(goal)
      const isFar = lower === null || upper === null || upper - lower > 4 * goal.width * upper
      // A short trial that lost nothing can only be confirmed by a long one.
      const isNew = ofLoad(load).length === 0
      await measure(load, isFar && isNew ? shortSeconds : goal.trialSeconds)
    }
  }
  const bounds = goals.map((goal): Bound => {
    const { lower, upper } = boundsOf(goal)
    const lost = lower === null ? null : Math.max(...ofLoad(lower).map(({ lossRatio }) => lossRatio))
    return { goal: goal.name, lower, upper, lowerLossRatio: lost, trials: trials.length }
  })
  return { bounds, trials }
}
