/** Runs a capture through the machine on virtual time, and measures. */
import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { openCapture, type CaptureFault, type CaptureInterface, type CaptureStats, type FrameSource }
  from '../../phy/capture-reader.ts'
import { createLoopDevice, preloadCapture } from '../../phy/preload.ts'
import { sidesByInterface, sidesBySource } from '../../plane/sides.ts'
import type { Prefix } from '../../wire/address.ts'
import type { Config } from '../config/config.ts'
import { compose, type Machine } from '../compose.ts'
import { Failure, STATUS } from '../cli/status.ts'

export interface ReplayOptions {
  capture: string
  config: Config
  inside: readonly Prefix[]
  /** Names or numbers of capture interfaces that are the inside; empty: `inside` decides. */
  insideInterfaces: readonly string[]
  seed: number
  loops: number
  preload: boolean
  /** Virtual seconds in a second; 0: as fast as it goes. */
  pace: number
  outInside: string | undefined
  outOutside: string | undefined
  /** Called now and then. */
  onProgress: ((doneBytes: number, allBytes: number, packets: number) => void) | null
  /** Asked between batches; true ends the replay early, with good output files. */
  isStopped: () => boolean
}

export interface ReplayResult {
  machine: Machine
  packets: number
  fault: CaptureFault | null
  interfaces: readonly CaptureInterface[]
  stats: Readonly<CaptureStats>
  stopped: boolean
  /** Whole run without reading a preload. */
  wallNs: number
  /** On packets alone: no reading, no writing, no waiting. */
  engineNs: number
  /** Hundredths of nanoseconds a packet, by batch. */
  batches: RecordableHistogram
}

/** Between the last packet of one round and the first of the next. */
const LOOP_GAP_NS = 1_000_000
const NS_PER_SEC = 1_000_000_000
/** A pause so short is not worth a timer. */
const LEAST_SLEEP_MS = 1

const clockNs = () => performance.now() * 1e6

export async function replay(options: ReplayOptions): Promise<ReplayResult> {
  const { capture, loops } = options
  if (capture === '-' && loops > 1 && !options.preload) {
    throw new Failure(STATUS.usage, 'standard input can be read once only: --loop needs --preload then')
  }
  let interfaces: readonly CaptureInterface[] = []
  const machine = await compose({
    ...options, clockNs,
    sides: (frames, inside) => options.insideInterfaces.length === 0 ? sidesBySource(frames, inside)
      : sidesByInterface(frames, (id) => isInsideInterface(options.insideInterfaces, id, interfaces[id]?.name)),
  })
  const { frames, plane, sourceStart, sourceEnd } = machine
  const share = { poolStart: sourceStart, poolEnd: sourceEnd }
  const batches = createHistogram({ lowest: 1, highest: 10_000_000_000, figures: 3 })
  let packets = 0
  let stopped = false
  let paceStart = 0
  let paceFirst = 0

  async function drain(source: FrameSource, onBatch: (count: number) => void): Promise<void> {
    do {
      for (let count = source.fill(); count > 0 && !stopped; count = source.fill()) {
        await forwardBatch(count)
        onBatch(count)
        stopped = options.isStopped()
      }
    } while (!stopped && await source.more())
  }

  async function forwardBatch(count: number): Promise<void> {
    const before = plane.spentNs()
    plane.begin(count)
    for (let done = 0; done < count;) {
      const due = options.pace === 0 ? count : await untilDue(done, count)
      const reached = plane.run(done, due)
      if (reached < due) await Promise.all([machine.writers.inside?.ready(), machine.writers.outside?.ready()])
      done = reached
    }
    packets += count
    batches.record(Math.max(1, Math.round((plane.spentNs() - before) / count * 100)))
  }

  /** Waits for row `from` by the pace; returns one past the last row that is due. */
  async function untilDue(from: number, count: number): Promise<number> {
    const stamp = (i: number) => frames.sec[i] * 1000 + frames.nsec[i] / 1e6
    if (paceStart === 0) {
      paceStart = performance.now()
      paceFirst = stamp(from)
    }
    for (;;) {
      const now = paceFirst + (performance.now() - paceStart) * options.pace
      const wait = (stamp(from) - now) / options.pace
      if (wait >= LEAST_SLEEP_MS && !options.isStopped()) {
        // In short naps, so that an interruption is heard.
        await sleep(Math.min(wait, 200))
        continue
      }
      let due = from + 1
      while (due < count && stamp(due) <= now) due++
      return due
    }
  }

  let start = clockNs()
  let fault: CaptureFault | null
  let stats: Readonly<CaptureStats>
  if (options.preload) {
    const store = await preloadCapture(capture, frames, share)
    interfaces = store.interfaces
    fault = store.fault
    stats = store.stats
    start = clockNs()
    const device = createLoopDevice(store, frames, { ...share, loops, gapNs: LOOP_GAP_NS })
    await drain(device, () => options.onProgress?.(packets, store.frames * loops, packets))
  } else {
    let shiftSec = 0
    let shiftNsec = 0
    const span = createSpan()
    for (let round = 0; ; round++) {
      const reader = await openCapture(capture, frames, { ...share, shiftSec, shiftNsec })
      interfaces = reader.interfaces
      try {
        await drain(reader, (count) => {
          if (round === 0 && loops > 1) span.add(frames.sec, frames.nsec, count)
          options.onProgress?.(reader.stats.fileBytesRead + round * reader.stats.fileBytes, reader.stats.fileBytes * loops, packets)
        })
        fault = reader.fault
        stats = { ...reader.stats }
        interfaces = [...reader.interfaces]
      } finally {
        await reader.close()
      }
      if (round + 1 === loops || stopped) break
      shiftNsec += span.nsec() + LOOP_GAP_NS
      shiftSec += span.sec() + Math.floor(shiftNsec / NS_PER_SEC)
      shiftNsec %= NS_PER_SEC
    }
  }
  plane.finish()
  if (options.insideInterfaces.length > 0) checkInterfaces(options.insideInterfaces, interfaces)
  await Promise.all([machine.writers.inside?.close(), machine.writers.outside?.close()])
  return {
    machine, packets, fault, interfaces, stats, stopped, wallNs: clockNs() - start, engineNs: plane.spentNs(), batches,
  }
}

function isInsideInterface(wanted: readonly string[], id: number, name: string | undefined): boolean {
  return wanted.includes(String(id)) || (name !== undefined && wanted.includes(name))
}

function checkInterfaces(wanted: readonly string[], interfaces: readonly CaptureInterface[]): void {
  for (const one of wanted) {
    if (interfaces.some((known, id) => isInsideInterface([one], id, known.name))) continue
    const list = interfaces.map((known, id) => known.name === undefined ? String(id) : `${id} (${known.name})`).join(', ')
    throw new Failure(STATUS.usage, `--inside-if ${one}: the capture has no such interface; it has ${list || 'none'}`)
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

