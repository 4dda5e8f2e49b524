/**
 * The turns of a box on one thread: rules that are over, commands for the packet path, packets, then whoever waits at the doors.
 * A turn has a ceiling for each; what is left over comes in the next one, after the doors had theirs. With nothing to do there is
 * no turn: a timer waits for the next rule or packet.
 */
import type { Engine } from '../../engine/engine.ts'
import type { Policy } from '../../policy/api.ts'

/** Rules ended in one go, and how long a turn goes on with that: each session that may know is told of each. */
const RULES = 8
const RULES_MS = 0.04
/** Units of `Engine.applyCommands`, each well under a microsecond: what requests ask for, and what a turn does by itself. */
const UNITS = 256
const UNITS_OF_TURN = 96
/** Of so many questions in one pass of the event loop one has the clock read: that takes a fortieth of what a question takes. */
const QUESTIONS = 8
/** The engine ends its flows when it is told the time; without packets nobody else tells it. A timer takes no more than 24 days. */
const LONGEST_MS = 3_600_000

/** Where packets come from. */
export interface Traffic {
  /** Forwards what is due, at most a batch; `nowMs` is asked for when it is time to know. True: more is due already. */
  turn(nowMs: () => number): boolean
  /** When the next packet is due, on the clock of `Turns`, or Infinity. */
  nextMs(): number
}

/** Of policy, what turns need: of a worker it is somewhere else, and its commands alone come here. */
export type PolicyOfTurns = Pick<Policy, 'advance' | 'pump' | 'ticket' | 'appliedTicket' | 'nextDeadlineMs' | 'applied'>
export type EngineOfTurns = Pick<Engine, 'applyCommands' | 'expire'>

export interface TurnsOptions {
  /** Where time began on the clock; absent: now. */
  zeroMs?: number
  /** Others carry commands out, and wake this one when they have: it does not turn until then. */
  isRemote?: boolean
}

export interface Turns {
  /** Whole milliseconds since the start, never going back. */
  nowMs(): number
  /** For policy: lets the packet path carry out a slice of what it was told. */
  pump(engine: EngineOfTurns): void
  /** Policy has something new. */
  wake(): void
  /** The turn now, for who keeps the event loop from coming to it. */
  turnNow(): void
  /** Moves policy's time, before something is asked of it. */
  advance(): void
  /** `policy` null: nobody may set rules. */
  start(policy: PolicyOfTurns | null, traffic: Traffic | null): void
  /** No packet from now on; rules and commands go on. */
  stopTraffic(): void
  stop(): void
  readonly count: number
}

/** @param clockMs a clock that never goes back, in milliseconds */
export function createTurns(
  engine: EngineOfTurns, clockMs: () => number, { zeroMs = clockMs(), isRemote = false }: TurnsOptions = {},
): Turns {
  let latestMs = 0
  let advancedMs = -1
  /** Questions that may be asked before the clock is read; none in the next pass. */
  let timely = 0
  let isPassing = false
  let policy: PolicyOfTurns | null = null
  let isStarted = false
  let traffic: Traffic | null = null
  let immediate: NodeJS.Immediate | null = null
  let timer: NodeJS.Timeout | null = null
  let timerMs = Infinity
  let isStopped = false
  /** The engine has work left: what it was told, or its own housekeeping after that. */
  let isUnfinished = false
  let isTurning = false
  let count = 0

  function nowMs(): number {
    latestMs = Math.max(latestMs, Math.floor(clockMs() - zeroMs))
    return latestMs
  }

  function wake(): void {
    if (isStopped || immediate !== null) return
    immediate = setImmediate(turn)
  }

  function pump(target: EngineOfTurns): void {
    isUnfinished = target.applyCommands(nowMs() | 0, isTurning ? UNITS_OF_TURN : UNITS)
    policy?.applied()
    if (mustGoOn()) wake()
  }

  /** Is there something that the packet path has not carried out yet? */
  function isBehind(): boolean {
    return policy !== null && (policy.appliedTicket() - policy.ticket() | 0) < 0
  }

  function mustGoOn(): boolean {
    return isUnfinished || (!isRemote && isBehind())
  }

  function turn(): void {
    immediate = null
    if (isStopped || !isStarted) return
    count++
    isTurning = true
    const now = nowMs(), untilMs = clockMs() + RULES_MS
    let more = false
    if (policy !== null) {
      do more = policy.advance(now, RULES)
      while (more && clockMs() < untilMs)
      // What others have carried out is told to policy, too.
      if (isRemote || isBehind() || isUnfinished) policy.pump()
    } else if (isUnfinished) pump(engine)
    isTurning = false
    engine.expire(nowMs() | 0)
    const busy = traffic?.turn(nowMs) ?? false
    if (more || busy || mustGoOn()) wake()
    else sleep()
  }

  function sleep(): void {
    const dueMs = Math.min(policy?.nextDeadlineMs() ?? Infinity, traffic?.nextMs() ?? Infinity, nowMs() + LONGEST_MS)
    if (timer !== null && timerMs === dueMs) return
    if (timer !== null) clearTimeout(timer)
    timerMs = dueMs
    // A timer may come a little early; a turn before its time would only have to wait again.
    timer = setTimeout(() => {
      timer = null
      timerMs = Infinity
      turn()
    }, Math.max(1, Math.ceil(dueMs - nowMs())))
  }

  function passed(): void {
    isPassing = false
    timely = 0
  }

  return {
    nowMs, pump, wake,
    turnNow() {
      if (immediate !== null) clearImmediate(immediate)
      turn()
    },
    advance() {
      if (--timely > 0) return
      timely = QUESTIONS
      if (!isPassing) setImmediate(passed)
      isPassing = true
      const now = nowMs()
      if (now === advancedMs || policy === null) return
      advancedMs = now
      if (policy.advance(now, RULES)) wake()
    },
    start(itsPolicy, itsTraffic) {
      policy = itsPolicy
      traffic = itsTraffic
      isStarted = true
      wake()
    },
    stopTraffic() { traffic = null },
    stop() {
      isStopped = true
      if (immediate !== null) clearImmediate(immediate)
      if (timer !== null) clearTimeout(timer)
      immediate = timer = null
    },
    get count() { return count },
  }
}
