/**
 * Keeps the workers of a box there: who ends is followed by another one, who ends again and again ends the box, and who hangs is
 * ended. What a worker is told, and what it has in memory, its owner knows (crew.ts).
 */
import type { ChildProcess } from 'node:child_process'
import { Failure, STATUS } from '../cli/status.ts'
import { counted } from '../figures.ts'
import type { FromWorker, ToWorker, WorkerResult } from './messages.ts'

/** A worker that ends so often within so long is not started again: the box ends. */
export const ENDS_MOST = 6, ENDS_MS = 60_000
/** How long a worker may take to be there, and to forward then, and to end. */
export const READY_MS = 20_000, STOP_MS = 5000
/** Whoever shows no sign of life in so many looks hangs. */
export const LOOKS_MOST = 10, LOOK_MS = 1000

export interface KeeperOptions {
  workers: number
  /** A new process, which has been told its settings. */
  launch(worker: number): ChildProcess
  /** Tells it what stands and when time began: from here on it forwards. */
  release(worker: number, child: ChildProcess): void
  /** It is no more. Returns how many flows it had. */
  onEnd(worker: number): number
  /** Of a worker that forwards: numbers that change as long as it lives. */
  signs(worker: number): { beats: number; isBehind: boolean; applied: number }
  onRules(worker: number, id: number, ended: number): void
  log: (line: string) => void
  onFailure: (why: string) => void
  /** A clock that never goes back. */
  nowMs(): number
}

export interface KeptWorker {
  child: ChildProcess | null
  /** It has been released, and what it is told from here on comes after that. */
  isReleased: boolean
  /** It has said that packets pass. */
  isRunning: boolean
  restarts: number
  flowsLost: number
  /** What it told when it ended in order. */
  result: WorkerResult | null
}

export interface Keeper {
  readonly workers: readonly Readonly<KeptWorker>[]
  /** Starts them all. @throws Failure: one of them ended before it was there */
  ready(): Promise<void>
  /** Releases them, and waits until all forward. @throws Failure */
  begin(): Promise<void>
  send(worker: number, message: ToWorker): void
  /** Ends them in order. */
  stop(): Promise<void>
  /** Ends them now. */
  kill(): void
}

interface Member extends KeptWorker {
  ends: number[]
  beats: number
  applied: number
  /** Looks since it last showed that it lives. */
  looks: number
}

export function createKeeper(options: KeeperOptions): Keeper {
  const { launch, release, onEnd, signs, onRules, log, nowMs } = options
  const members = Array.from({ length: options.workers }, (): Member => ({
    child: null, isReleased: false, isRunning: false, restarts: 0, flowsLost: 0, result: null,
    ends: [], beats: 0, applied: 0, looks: 0,
  }))
  let isStopping = false, hasBegun = false, hasFailed = false
  /** Why it cannot begin; told to whoever waits for that. */
  let failure: string | null = null
  let onChange = () => { /* nobody waits */ }
  let looking: NodeJS.Timeout | null = null

  function start(worker: number): Promise<void> {
    const member = members[worker]!, child = launch(worker)
    member.child = child
    member.result = null
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { child.kill('SIGKILL') }, READY_MS)
      child.on('message', (message: FromWorker) => {
        switch (message.kind) {
          case 'ready':
            clearTimeout(timer)
            resolve()
            break
          case 'running':
            member.isRunning = true
            log(`worker ${worker}: forwards, process ${child.pid!}`)
            onChange()
            break
          case 'log': log(message.line); break
          case 'rules': onRules(worker, message.id, message.ended); break
          case 'stopped': member.result = message.result; break
        }
      })
      const gone = (why: string, error?: Error) => {
        clearTimeout(timer)
        reject(new Failure(STATUS.internal, `worker ${worker} ended (${why}) before it was there`, { cause: error }))
        ended(worker, child, why)
      }
      // When it has ended and all that it said has come.
      child.on('close', (code, signal) => { gone(signal ?? String(code)) })
      child.on('error', (error: NodeJS.ErrnoException) => {
        // One that could not be started has no end. One that cannot be told what it has to know is of no use.
        if (child.pid === undefined) gone(error.message, error)
        else if (error.syscall !== 'kill') child.kill('SIGKILL')
      })
    })
  }

  function letGo(worker: number): void {
    const member = members[worker]!
    if (member.child === null) return
    member.isReleased = true
    member.looks = 0
    release(worker, member.child)
  }

  function ended(worker: number, child: ChildProcess, why: string): void {
    const member = members[worker]!
    if (member.child !== child) return
    member.child = null
    member.isReleased = member.isRunning = false
    if (isStopping) return
    if (!hasBegun) {
      failure ??= `worker ${worker} ended (${why}) before it forwarded`
      return onChange()
    }
    const flows = onEnd(worker), now = nowMs()
    if (hasFailed) return
    member.flowsLost += flows
    member.ends = [...member.ends.filter((atMs) => now - atMs < ENDS_MS), now]
    if (member.ends.length >= ENDS_MOST) {
      hasFailed = true
      return options.onFailure(`worker ${worker} ended (${why}) ${ENDS_MOST} times within ${ENDS_MS / 1000} s: the box ends`)
    }
    member.restarts++
    log(`worker ${worker} ended (${why}); its ${counted(flows, 'flow is', 'flows are')} lost, another one takes its place`)
    start(worker).then(() => { if (!isStopping && !hasFailed) letGo(worker) }, () => { /* `ended` has been told */ })
  }

  function look(): void {
    for (const [worker, member] of members.entries()) {
      if (!member.isReleased) continue
      const { beats, applied, isBehind } = signs(worker)
      const isAlive = beats !== member.beats && !(isBehind && applied === member.applied)
      member.beats = beats
      member.applied = applied
      member.looks = isAlive ? 0 : member.looks + 1
      if (member.looks < LOOKS_MOST) continue
      log(`worker ${worker} has hung for ${LOOKS_MOST * LOOK_MS / 1000} s: it is ended`)
      member.looks = 0
      member.child?.kill('SIGKILL')
    }
  }

  function stopLooking(): void {
    isStopping = true
    if (looking !== null) clearInterval(looking)
  }

  function kill(): void {
    stopLooking()
    for (const { child } of members) child?.kill('SIGKILL')
  }

  function stopped(child: ChildProcess): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      child.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
      tell(child, { kind: 'stop' })
    })
  }

  return {
    workers: members, kill,
    async ready() {
      try {
        await Promise.all(members.map((_, worker) => start(worker)))
      } catch (error) {
        kill()
        throw error
      }
    },
    async begin() {
      for (let worker = 0; worker < members.length; worker++) letGo(worker)
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => { reject(new Failure(STATUS.internal, 'workers do not forward')) }, READY_MS)
        onChange = () => {
          if (failure === null && !members.every(({ isRunning }) => isRunning)) return
          clearTimeout(timer)
          onChange = () => { /* nobody waits any more */ }
          if (failure === null) resolve()
          else reject(new Failure(STATUS.internal, failure))
        }
        onChange()
      })
      hasBegun = true
      looking = setInterval(look, LOOK_MS).unref()
    },
    send(worker, message) {
      const { child } = members[worker]!
      if (child !== null) tell(child, message)
    },
    async stop() {
      stopLooking()
      await Promise.all(members.map(({ child }) => child === null ? null : stopped(child)))
    },
  }
}

export function tell(child: ChildProcess, message: ToWorker): void {
  if (child.connected) child.send(message)
}
