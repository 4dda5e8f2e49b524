/**
 * What `bench:live` measures of each box. A packet of "64b" has 64 bytes on the wire and 60 in the frame that is sent. All figures
 * of one box come from one process, row after row.
 */
import type { Figures } from '../result.ts'
import { search, type Goal } from '../search/mlr.ts'
import { C, KERNEL, processNs, type Box, type Sent, type Traffic } from './place.ts'

const SMALL = 60, LARGE = 1396, FEW = { flows: 4096, bytes: SMALL }
/** Until the code of a box is compiled, and before each figure. */
export const WARM: Traffic = FEW
export const WARM_SECONDS = 2
const AGAIN_SECONDS = 0.4
const PING_SECONDS = 0.7, PING_AGAIN_SECONDS = 0.2, WOKEN_GAP_US = 2000, LOADED_GAP_US = 500
/** After that a box sleeps. */
const QUIET_MS = 300, IDLE_MS = 1200
/** Fewer than any ring holds. */
const WINDOW = 1024
/** Others than those of the other rows. */
const NEW_FLOWS = { first: 65_536, flows: 65_536, bytes: SMALL }
const LEAST_RATE = 10_000, MOST_TRIALS = 120

export interface Settings {
  seconds: number
  /** Packets a second behind which round trips are measured. */
  load: number
  /** The search for rates without loss takes its time. */
  isLong: boolean
}

export interface Bench extends Settings {
  box: Box
  /** Processor time of sending such traffic, in ns a packet. */
  sendingNs: (traffic: Traffic) => number
}

export type Kind = 'rate' | 'flows' | 'trip' | 'idle' | 'search'

export interface LiveRow {
  name: string
  title: string
  kind: Kind
  /** Of `value`, of which less is better. */
  unit: string
  traffic: Traffic
  /** Is there such a figure? */
  isOf: (who: string, settings: Settings) => boolean
  /** `value` and what else is told. @throws Error if there is no figure to believe */
  measure: (bench: Bench) => Promise<Figures>
}

const pause = async (ms: number) => new Promise((wake) => setTimeout(wake, ms))
const everybody = () => true

function someThrough(sent: Sent): Sent {
  if (sent.through < sent.sent / 100) throw new Error(`${sent.sent} packets were sent, and ${sent.through} came through`)
  return sent
}

function rate(name: string, title: string, traffic: Traffic): LiveRow {
  return {
    name, title, traffic, kind: 'rate', unit: 'ns/packet', isOf: everybody,
    async measure({ box, seconds, sendingNs }) {
      box.blast('send', traffic, AGAIN_SECONDS, 0)
      const before = box.pid === null ? 0 : processNs(box.pid)
      const { sent, through, arrived, wallNs, cpuNs } = someThrough(box.blast('send', traffic, seconds, 0))
      const boxNs = box.pid === null ? 0 : processNs(box.pid) - before
      return {
        value: wallNs / through, packets: through, lost: Math.max(0, 1 - arrived / sent), sent: sent / wallNs * 1e6,
        cpuNs: (cpuNs - sendingNs(traffic) * sent + boxNs) / arrived, boxNs: boxNs / arrived,
      }
    },
  }
}

const newFlows: LiveRow = {
  name: 'new-flows', title: `new flows of 64 B, ${WINDOW} under way`, traffic: NEW_FLOWS, kind: 'flows', unit: 'ns/flow',
  isOf: everybody,
  async measure({ box }) {
    const { sent, through, wallNs } = someThrough(box.blast('open', NEW_FLOWS, WINDOW))
    return { value: wallNs / through, packets: through, lost: Math.max(0, 1 - through / sent) }
  },
}

/** `gapUs` 0: the next request as soon as the answer is here, so that the box polls. */
function trip(name: string, title: string, gapUs: number, isLoaded: boolean): LiveRow {
  return {
    name, title, traffic: FEW, kind: 'trip', unit: 'us', isOf: everybody,
    async measure({ box, load }) {
      // Over the echo requests before any figure: a box that has answered none has code to compile.
      box.blast('ping', FEW, PING_AGAIN_SECONDS, 0, 0)
      const { sent, arrived, rest } = box.blast('ping', FEW, PING_SECONDS, isLoaded ? load : 0, gapUs)
      const [answered, unanswered, p50, p99] = rest
      if (answered === 0) throw new Error('no echo request was answered')
      const asked = answered + unanswered
      return {
        value: p50 / 1000, p99: p99 / 1000, packets: answered, unanswered: unanswered / asked,
        ...isLoaded ? { lost: Math.max(0, 1 - (arrived - asked) / sent) } : {},
      }
    },
  }
}

const idle: LiveRow = {
  name: 'idle', title: 'processor time without traffic', traffic: FEW, kind: 'idle', unit: '% of a core',
  isOf: (who) => who !== KERNEL,
  async measure({ box }) {
    await pause(QUIET_MS)
    const before = processNs(box.pid!), from = performance.now()
    await pause(IDLE_MS)
    return { value: (processNs(box.pid!) - before) / (performance.now() - from) / 1e6 * 100, packets: 0 }
  },
}

/* Search for the highest rate without loss. */

const QUICK: Goal = { name: '0.1 % lost', lossRatio: 0.001, trialSeconds: 0.5, totalSeconds: 1, exceedRatio: 0.5, width: 0.05 }
const LONG: Goal = { ...QUICK, trialSeconds: 1, totalSeconds: 5 }
const SHORT_SECONDS = 0.2
/** The sender is interrupted, too. */
const NOT_OFFERED = 0.03

function searched(name: string, title: string, wanted: (isLong: boolean) => Goal, isOf: LiveRow['isOf']): LiveRow {
  return {
    name, title, traffic: FEW, kind: 'search', unit: 'ns/packet', isOf,
    async measure({ box, isLong }) {
      const { sent, wallNs } = box.blast('send', FEW, AGAIN_SECONDS, 0)
      const most = Math.ceil(sent / wallNs * 1e9)
      const { bounds: [bound] } = await search(
        { least: LEAST_RATE, most, goals: [wanted(isLong)], shortSeconds: SHORT_SECONDS, mostTrials: MOST_TRIALS },
        async (load, seconds) => {
          const trial = box.blast('send', FEW, seconds, load)
          // What the sender could not send was not offered: the trial says nothing about so high a load.
          if (trial.sent < load * seconds * (1 - NOT_OFFERED)) return 1
          return Math.max(0, 1 - trial.arrived / trial.sent)
        })
      if (bound.lower === null) throw new Error(`more is lost at ${LEAST_RATE} packets/s already`)
      return { value: 1e9 / bound.lower, packets: 0, upper: (bound.upper ?? most) / 1000, trials: bound.trials }
    },
  }
}

/** In the order in which a box goes through them. */
export const LIVE_ROWS: readonly LiveRow[] = [
  rate('64b-4k', '64 B, 4k flows', FEW),
  rate('1400b-4k', '1400 B, 4k flows', { flows: 4096, bytes: LARGE }),
  // The C program too where there is time.
  searched('rate-0.1', 'highest rate with no more than 0.1 % lost, 64 B, 4k flows', (isLong) => isLong ? LONG : QUICK,
    (who, { isLong }) => isLong || !who.startsWith(C)),
  searched('rate-0', 'highest rate without any loss, 64 B, 4k flows', () => ({ ...LONG, name: 'no loss', lossRatio: 0 }),
    (_, { isLong }) => isLong),
  trip('trip', 'round trip of echo requests, one after the other: who polls does not sleep', 0, false),
  trip('trip-woken', 'round trip, an echo request every 2 ms: the box sleeps in between', WOKEN_GAP_US, false),
  trip('trip-loaded', 'round trip beside a load below capacity', LOADED_GAP_US, true),
  idle,
  rate('64b-64k', '64 B, 64k flows', { flows: 65_536, bytes: SMALL }),
  newFlows,
]
