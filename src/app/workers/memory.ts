/**
 * What the processes of a box with several workers share: one stretch of memory, of which everybody has a view. Each word has one
 * writer. Nothing in it is ever made smaller, and nothing of it is trusted to be there when a worker has died but what the words
 * that say how far one came cover.
 */
import { COMMAND_WORDS } from '../../channel/commands.ts'
import { COUNTERS } from '../../channel/counters.ts'
import { LOG_HEAD_WORDS, LOG_WORDS } from '../../channel/mapping-log.ts'
import { DEVICE_COUNTERS } from '../../phy/device.ts'
import { LIVE_COUNTERS } from '../../plane/live-counters.ts'

export interface MemoryShape {
  workers: number
  /** Records of commands, a power of two; 0: no agent may set rules. */
  commandRecords: number
  rules: number
  /** Records of mappings of each worker, a power of two; 0: nobody asks. */
  logRecords: number
  /** Bytes of the longest frame that is handed on. */
  frameBytes: number
}

/** Frames on their way from one worker to another, a power of two. */
export const HANDED_FRAMES = 256
/** Of a frame that is handed on, in front of it: how long it is, and what it is. */
export const HANDED_BYTES = 0, HANDED_KIND = 4, HANDED_HEADER_BYTES = 64

/** Words of `state`: records of commands written; then those of each worker. */
export const COMMANDS_WRITTEN = 0
export const STATE_HEAD_WORDS = 16, STATE_WORKER_WORDS = 16
/** Of a worker: commands carried out; does it sleep; it lives, as this one grows; how far its interfaces came. */
export const COMMANDS_APPLIED = 0, SLEEPS = 1, BEATS = 2, KEPT = 4
export const stateOf = (worker: number, word: number) => STATE_HEAD_WORDS + worker * STATE_WORKER_WORDS + word

export interface WorkerMemory {
  counters: Float64Array
  live: Float64Array
  /** By SIDE_ constant. */
  devices: [Float64Array, Float64Array]
  /** By rule, as `RuleActivity` has them. */
  lastUsedMs: Int32Array
  packets: Float64Array
  bytes: Float64Array
  logHead: Int32Array
  logWords: Int32Array
}

export interface Memory {
  state: Int32Array
  commands: Int32Array
  workers: WorkerMemory[]
  /** Frames written and read, two words for each pair of workers; see `ringOf`. */
  handed: Int32Array
  /** Where the frames of pair 0 begin, from the beginning of all; those of the next pair follow. */
  handedStart: number
}

/** Number of the ring from one worker to another. */
export const ringOf = (from: number, to: number, workers: number) => from * workers + to
export const handedSlotBytes = ({ frameBytes }: Pick<MemoryShape, 'frameBytes'>) =>
  64 * Math.ceil(frameBytes / 64) + HANDED_HEADER_BYTES

const PAGE_BYTES = 65_536

/** Views of memory that begins at `at` of the buffer; without a buffer only its size is of use. */
export function layOut(shape: MemoryShape, buffer: ArrayBuffer | null, at = 0): { memory: Memory; bytes: number } {
  let end = 0
  const part = (bytes: number) => {
    const start = end
    end += bytes + 63 & ~63
    return start
  }
  const none = new ArrayBuffer(0)
  const ints = (count: number) => {
    const start = part(4 * count)
    return buffer === null ? new Int32Array(none) : new Int32Array(buffer, at + start, count)
  }
  const doubles = (count: number) => {
    const start = part(8 * count)
    return buffer === null ? new Float64Array(none) : new Float64Array(buffer, at + start, count)
  }
  const { workers, commandRecords, rules, logRecords } = shape
  const perRule = commandRecords === 0 ? 0 : rules + 1
  const state = ints(STATE_HEAD_WORDS + workers * STATE_WORKER_WORDS), commands = ints(commandRecords * COMMAND_WORDS)
  const all = Array.from({ length: workers }, (): WorkerMemory => ({
    counters: doubles(COUNTERS.length), live: doubles(LIVE_COUNTERS.length),
    devices: [doubles(DEVICE_COUNTERS.length), doubles(DEVICE_COUNTERS.length)],
    lastUsedMs: ints(perRule), packets: doubles(perRule), bytes: doubles(perRule),
    logHead: ints(LOG_HEAD_WORDS), logWords: ints(logRecords * LOG_WORDS),
  }))
  // A line of the cache for each: those of one pair are never written by those of another.
  const handed = ints(workers * workers * 16)
  const handedStart = part(workers * workers * HANDED_FRAMES * handedSlotBytes(shape))
  return { memory: { state, commands, workers: all, handed, handedStart }, bytes: Math.ceil(end / PAGE_BYTES) * PAGE_BYTES }
}
