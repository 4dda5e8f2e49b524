/** Runs a capture through the machine on virtual time, and measures. */
import { statSync } from 'node:fs'
import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { CaptureError } from '../../phy/capture-error.ts'
import {
  openCapture, type CaptureFault, type CaptureInterface, type CaptureOptions, type CaptureReader, type CaptureStats,
  type FrameSource,
} from '../../phy/capture-reader.ts'
import { createLoopDevice, preloadCapture, type CaptureStore } from '../../phy/preload.ts'
import { sidesByInterface, sidesBySource } from '../../plane/sides.ts'
import type { Prefix } from '../../base/address.ts'
import type { Frames } from '../../wire/frames.ts'
import type { Config } from '../config/config.ts'
import { compose, composeAuthorizer, composePolicy, type Machine, type PoolShare } from '../compose.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { createPlayer, type Replacement, type ScriptEvent, type StepResult } from '../script/player.ts'
import { asksPolicy, replacesRules, type Step } from '../script/script.ts'
import type { PolicyStatistics } from '../../policy/api.ts'
import type { Explainer } from '../explain/explain.ts'
import { createMover } from './mover.ts'
import { createMappingLog } from '../../channel/mapping-log.ts'
import { createSink } from '../explain/sink.ts'
import { logRecords } from '../mappings/records.ts'
import { createMappingWriter } from '../mappings/writer.ts'

export interface ReplayOptions {
  capture: string
  config: Config
  inside: readonly Prefix[]
  /** Names or numbers of capture interfaces that are the inside; empty: `inside` decides. */
  insideInterfaces: readonly string[]
  seed: number
  /** Which frames of the capture are forwarded; absent: all. */
  keep?: CaptureOptions['keep']
  loops: number
  preload: boolean
  /** Virtual seconds in a second; 0: as fast as it goes. */
  pace: number
  outInside: string | undefined
  outOutside: string | undefined
  /** What agents do meanwhile; null: there are none. Needs `midcom.enabled`. */
  script: readonly Step[] | null
  /** Explains packets; null or absent: nobody asked. */
  explainer?: Explainer | null
  /** Where lines about mappings go; absent: nowhere. */
  logMappings?: string | undefined
  /** Called now and then: bytes of the capture read so far and in all, packets forwarded, and milliseconds of its time. */
  onProgress: ((doneBytes: number, allBytes: number, packets: number, virtualMs: number) => void) | null
  /** Ends the replay before the next batch, with good output files; null: nothing does. */
  stop: AbortSignal | null
}

export interface ReplayResult {
  machine: Machine
  packets: number
  fault: CaptureFault | null
  interfaces: readonly CaptureInterface[]
  stats: Readonly<CaptureStats>
  /** What came of the script. */
  script: {
    results: readonly StepResult[]
    replacements: readonly Replacement[]
    events: readonly ScriptEvent[]
    /** null: no agent had a part in it. */
    statistics: PolicyStatistics | null
  } | null
  /** Records of mappings that were written, and lost; null: nobody asked. */
  mappingLog: { written: number; lost: number } | null
  stopped: boolean
  /** Stopped while the input was silent: a read of it is still under way. */
  leftReading: boolean
  /** Whole run without reading a preload. */
  wallNs: number
  /** On packets alone: no reading, no writing, no waiting. */
  engineNs: number
  /** Hundredths of nanoseconds a packet, by batch; small batches are left out. */
  batches: RecordableHistogram
}

/** Stopped before the first packet: no output was touched, and the input may still be waited for. */
export class StoppedEarly extends Error {
  constructor() {
    super('stopped before the first packet; no output was touched')
    this.name = 'StoppedEarly'
  }
}

/** Between the last packet of one round and the first of the next. */
const LOOP_GAP_NS = 1_000_000
const NS_PER_SEC = 1_000_000_000
/** A pause so short is not worth a timer. */
const LEAST_SLEEP_MS = 1
/** A timer takes no more. */
const LONGEST_SLEEP_MS = 2 ** 31 - 1
/** What a batch costs besides its packets would be most of the figure of a smaller one. */
const LEAST_MEASURED_ROWS = 64

const clockNs = () => performance.now() * 1e6

export async function replay(options: ReplayOptions): Promise<ReplayResult> {
  const { capture, loops, insideInterfaces } = options
  const kept = options.keep === undefined ? {} : { keep: options.keep }
  if (loops > 1 && !options.preload) checkRepeatable(capture)
  const { isStopped, orStop } = createStop(options.stop)
  let interfaces: readonly CaptureInterface[] = []
  const input: { store: CaptureStore | null; reader: CaptureReader | null } = { store: null, reader: null }
  let share: PoolShare = { poolStart: 0, poolEnd: 0 }
  let start = 0

  async function openInput(frames: Frames, itsShare: PoolShare): Promise<void> {
    share = itsShare
    if (options.preload) {
      const store = await orStop(asInput(preloadCapture(capture, frames, { ...share, ...kept })), null)
      if (store === null) throw new StoppedEarly()
      interfaces = store.interfaces
      checkInterfaces(insideInterfaces, interfaces, store.fault)
      start = clockNs()
      input.store = store
      return
    }
    if (insideInterfaces.length > 0 && isRegular(capture)) await probeInterfaces(frames)
    start = clockNs()
    const reader = await orStop(asInput(openCapture(capture, frames, { ...share, ...kept })), null)
    if (reader === null) throw new StoppedEarly()
    interfaces = reader.interfaces
    input.reader = reader
  }

  /** Reads a file as far as it takes to meet all interfaces asked for: mostly that is its beginning. */
  async function probeInterfaces(frames: Frames): Promise<void> {
    const probe = await asInput(openCapture(capture, frames, share))
    try {
      const unknown = () => insideInterfaces.some((one) => !isKnown(one, probe.interfaces))
      do {
        while (unknown() && probe.fill() > 0);
        if (isStopped()) throw new StoppedEarly()
      } while (unknown() && await probe.more())
      checkInterfaces(insideInterfaces, probe.interfaces, probe.fault)
    } finally {
      await probe.close()
    }
  }

  const mappingLog = options.logMappings === undefined ? null : createMappingLog(logRecords(options.config))
  const machine = await compose({
    ...options, clockNs, openInput, mappingLog,
    isReplaceable: replacesRules(options.script),
    interfaceName: (id) => interfaces[id]?.name,
    sides: (frames, inside) => insideInterfaces.length === 0 ? sidesBySource(frames, inside)
      : sidesByInterface(frames, (id) => isInsideInterface(insideInterfaces, id, interfaces[id]?.name)),
  })
  const { frames, plane, writers, watched } = machine
  const mappingSink = mappingLog === null ? null : createSink(options.logMappings!)
  const mappings = mappingSink === null ? null : createMappingWriter(mappingLog!, { isFull: () => false, write: mappingSink.write },
    () => ({ virtualMs: plane.virtualMs(), wallMs: plane.startMs() + plane.virtualMs() }))
  const explainer = options.explainer ?? null
  // The answer has to be the same each time, so nobody is asked but the profiles.
  const mover = createMover(machine)
  const policy = options.script === null || !asksPolicy(options.script) ? null
    : composePolicy(options, machine, composeAuthorizer(options.config, null), mover.pump)
  if (explainer !== null && policy !== null) explainer.midcomRule = policy.ruleInSlot
  const player = options.script === null ? null
    : createPlayer(options.script, policy, mover.move, (rules) => mover.replaceRules(rules, options.inside, options.seed))
  const batches = createHistogram({ lowest: 1, highest: 10_000_000_000, figures: 3 })
  let packets = 0
  let leftReading = false
  let paceStart = 0
  let paceFirst = 0

  /** Bytes of all rounds, those done and all there are. */
  let amount = { done: () => 0, all: 0 }
  const progress = () => options.onProgress?.(amount.done(), amount.all, packets, plane.virtualMs())

  async function drain(source: FrameSource, onBatch: ((count: number) => void) | null): Promise<void> {
    let more = true
    while (more && !isStopped()) {
      for (let count = source.fill(); count > 0 && !isStopped(); count = source.fill()) {
        await forwardBatch(count)
        onBatch?.(count)
        progress()
      }
      if (isStopped()) return
      // Only what waits for the input is left in the middle.
      let answered = false
      more = await orStop(source.more().finally(() => { answered = true }), false)
      leftReading = !answered
    }
  }

  async function forwardBatch(count: number): Promise<void> {
    const before = plane.spentNs()
    watched?.arrived(count)
    plane.begin(count)
    let done = 0
    while (done < count) {
      let due = options.pace === 0 ? count : await untilDue(done, count)
      if (due === done) break
      if (player !== null) {
        mover.start(done)
        await player.happen(mover.at(done))
        due = mover.before(done, due, player.nextMs())
      }
      const reached = watched === null ? plane.run(done, due) : runEach(done, due)
      if (reached < due) await Promise.all([writers.inside?.ready(), writers.outside?.ready()])
      packets += reached - done
      done = reached
      if (options.pace !== 0) progress()
    }
    await explainer?.ready()
    if (mappings !== null) {
      mappings.drain(Infinity)
      await mappingSink!.ready()
    }
    if (done >= LEAST_MEASURED_ROWS) batches.record(Math.max(1, Math.round((plane.spentNs() - before) / done * 100)))
  }

  /** The same one row at a time: what leaves because of a row has left before the next one is decided. */
  function runEach(from: number, to: number): number {
    let i = from
    while (i < to && plane.run(i, i + 1) > i) i++
    return i
  }

  /** Waits for row `from` by the pace; returns one past the last row that is due, or `from` if the replay was stopped. */
  async function untilDue(from: number, count: number): Promise<number> {
    const stamp = (i: number) => frames.sec[i] * 1000 + frames.nsec[i] / 1e6
    if (paceStart === 0) {
      paceStart = performance.now()
      paceFirst = stamp(from)
    }
    while (!isStopped()) {
      const now = paceFirst + (performance.now() - paceStart) * options.pace
      const wait = (stamp(from) - now) / options.pace
      if (wait < LEAST_SLEEP_MS) {
        let due = from + 1
        while (due < count && stamp(due) <= now) due++
        return due
      }
      const nap = sleep(Math.min(wait, LONGEST_SLEEP_MS), undefined, options.stop === null ? {} : { signal: options.stop })
      await nap.catch(() => { /* woken by the stop */ })
    }
    return from
  }

  async function playFile(first: CaptureReader): Promise<Pick<ReplayResult, 'fault' | 'stats'>> {
    const span = createSpan()
    let shiftSec = 0
    let shiftNsec = 0
    let reader = first
    for (let round = 0; ; round++) {
      const before = packets
      try {
        const { stats } = reader
        amount = { done: () => stats.fileBytesRead + round * stats.fileBytes, all: stats.fileBytes * loops }
        await drain(reader, round > 0 || loops === 1 ? null : (count) => { span.add(frames.sec, frames.nsec, count) })
        interfaces = [...reader.interfaces]
      } finally {
        // Closing waits for the read that is under way.
        if (leftReading) void reader.close()
        else await reader.close()
      }
      const { fault } = reader
      // A round without packets takes no time, and so would all that follow.
      if (round + 1 === loops || isStopped() || packets === before) return { fault, stats: { ...reader.stats } }
      shiftNsec += span.nsec() + LOOP_GAP_NS
      shiftSec += span.sec() + Math.floor(shiftNsec / NS_PER_SEC)
      shiftNsec %= NS_PER_SEC
      reader = await asInput(openCapture(capture, frames, { ...share, ...kept, shiftSec, shiftNsec }))
      interfaces = reader.interfaces
    }
  }

  async function playStore(store: CaptureStore): Promise<Pick<ReplayResult, 'fault' | 'stats'>> {
    const device = createLoopDevice(store, frames, { ...share, loops, gapNs: LOOP_GAP_NS })
    amount = { done: () => packets, all: store.frames * loops }
    await drain(device, null)
    return store
  }

  const closeWriters = () => Promise.all([writers.inside?.close(), writers.outside?.close()])
  try {
    const { fault, stats } = input.store !== null ? await playStore(input.store) : await playFile(input.reader!)
    const stopped = isStopped()
    if (!stopped) await player?.finish()
    plane.finish()
    // Of a stream this is known at its end only.
    if (!stopped) checkInterfaces(insideInterfaces, interfaces, fault)
    await closeWriters()
    await explainer?.finish(machine.counters)
    mappings?.drain(Infinity)
    await mappingSink?.close()
    return {
      mappingLog: mappings === null ? null : { written: mappings.written(), lost: mappings.lost() },
      machine, packets, fault, interfaces, stats, stopped, leftReading,
      script: player === null ? null : {
        results: player.results, replacements: player.replacements, events: player.events, statistics: policy?.statistics() ?? null,
      },
      wallNs: clockNs() - start,
      engineNs: plane.spentNs(), batches,
    }
  } catch (error) {
    await closeWriters().catch(() => { /* the first error is the one to tell */ })
    throw error
  }
}

interface Stop {
  isStopped: () => boolean
  /** What `work` comes to, or `otherwise` as soon as the replay is stopped. One at a time. */
  orStop: <T, U>(work: Promise<T>, otherwise: U) => Promise<T | U>
}

function createStop(signal: AbortSignal | null): Stop {
  // One listener for all: a race of promises would keep something for each.
  let wake: (() => void) | null = null
  signal?.addEventListener('abort', () => wake?.())
  return {
    isStopped: () => signal?.aborted === true,
    orStop: (work, otherwise) => new Promise((resolve, reject) => {
      wake = () => resolve(otherwise)
      work.then(resolve, reject)
      if (signal?.aborted === true) wake()
    }),
  }
}

/** A capture that cannot be opened or held is the wrong capture. */
async function asInput<T>(opened: Promise<T>): Promise<T> {
  try {
    return await opened
  } catch (error) {
    if (error instanceof CaptureError) throw new Failure(STATUS.usage, error.message, { cause: error })
    throw error
  }
}

function isRegular(capture: string): boolean {
  return capture !== '-' && statSync(capture, { throwIfNoEntry: false })?.isFile() === true
}

/** A pipe plays once. What is not there, or a folder, is for `openCapture` to refuse. */
function checkRepeatable(capture: string): void {
  const found = capture === '-' ? undefined : statSync(capture, { throwIfNoEntry: false })
  if (capture !== '-' && (found === undefined || found.isFile() || found.isDirectory())) return
  const name = capture === '-' ? 'standard input' : capture
  throw new Failure(STATUS.usage, `${name} can be read once only: --loop needs --preload then`)
}

function isInsideInterface(wanted: readonly string[], id: number, name: string | undefined): boolean {
  return wanted.includes(String(id)) || (name !== undefined && wanted.includes(name))
}

function isKnown(wanted: string, interfaces: readonly CaptureInterface[]): boolean {
  return interfaces.some(({ name }, id) => isInsideInterface([wanted], id, name))
}

/** What `--inside-if` may name. */
function interfacesText(interfaces: readonly CaptureInterface[]): string {
  if (interfaces.length === 0) return 'it has none'
  if (interfaces.length === 1 && interfaces[0]!.name === undefined) return 'it has one, without a name: its number is 0'
  const list = interfaces.map(({ name }, id) => name === undefined ? String(id) : `${id} (${name})`).join(', ')
  return interfaces.every(({ name }) => name === undefined) ? `those it has are without names: ${list}` : `it has ${list}`
}

/** Refuses an interface that is not there. Where damage hides them all, the damage is what there is to tell. */
function checkInterfaces(wanted: readonly string[], interfaces: readonly CaptureInterface[], fault: CaptureFault | null): void {
  if (fault !== null && interfaces.length === 0) return
  for (const one of wanted) {
    if (isKnown(one, interfaces)) continue
    throw new Failure(STATUS.usage, `--inside-if ${one}: the capture has no such interface; ${interfacesText(interfaces)}`)
  }
}

/** Earliest and latest stamp of a capture: how long a round lasts. */
function createSpan() {
  let firstSec = Infinity
  let firstNsec = 0
  let lastSec = -Infinity
  let lastNsec = 0
  function add(sec: Float64Array, nsec: Int32Array, count: number): void {
    for (let i = 0; i < count; i++) {
      if (sec[i] < firstSec || (sec[i] === firstSec && nsec[i] < firstNsec)) {
        firstSec = sec[i]
        firstNsec = nsec[i]
      }
      if (sec[i] > lastSec || (sec[i] === lastSec && nsec[i] > lastNsec)) {
        lastSec = sec[i]
        lastNsec = nsec[i]
      }
    }
  }
  const borrow = () => lastNsec < firstNsec ? 1 : 0
  return {
    add,
    sec: () => lastSec === -Infinity ? 0 : lastSec - firstSec - borrow(),
    nsec: () => lastSec === -Infinity ? 0 : lastNsec - firstNsec + borrow() * NS_PER_SEC,
  }
}
