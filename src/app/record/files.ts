/**
 * A recording into files: one, or a ring of which the oldest make room, named as dumpcap names them. It cuts the stream of pcapng
 * between blocks, and begins each file with the same description of section and interfaces, so that each can be read by itself.
 * A pipe may be the one file: while its reader is slower, nothing is taken from the box, which loses frames and counts them.
 */
import * as fs from 'node:fs'
import * as path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemReason } from '../../phy/capture-error.ts'
import { BLOCK_ENHANCED_PACKET, BLOCK_INTERFACE_STATISTICS } from '../../phy/pcapng.ts'
import { lostInStatistics } from '../../phy/recording.ts'
import { Failure, STATUS } from '../cli/status.ts'

export interface RecordFilesOptions {
  /** `-` is standard output. */
  path: string
  /** Files that are kept; Infinity: all. */
  files: number
  /** A file ends before it has more, or when it has been open so long. Infinity: never. With neither there is one file. */
  sizeBytes: number
  ageMs: number
  /** Packets taken in all. */
  count: number
  /** Milliseconds since 1970. */
  nowMs: () => number
  /** Is a pipe that nobody reads given up? Absent: never. */
  signal?: AbortSignal
}

export interface RecordSummary {
  packets: number
  /** Of all files, deleted ones too. */
  bytes: number
  /** Those that are there, oldest first. */
  files: string[]
  deletedFiles: number
  /** Frames that had no room on their way here. */
  lostPackets: number
  /** The box has told that this is all. */
  isWhole: boolean
}

export interface RecordFiles {
  /** Takes a piece of the stream. False: nobody wants more, or there are as many packets as were asked for. Throws `Failure`. */
  take(piece: Buffer): Promise<boolean>
  close(): RecordSummary
}

const LEAST_BLOCK_BYTES = 12
/** A pipe that is full is tried again after that. */
const FULL_MS = 5
/** Of a FIFO, neither opening nor writing holds up whoever asks for the end. */
const OPEN = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_TRUNC | fs.constants.O_NONBLOCK

/** Opens the first file. Throws `Failure`. */
export function openRecordFiles(options: RecordFilesOptions): RecordFiles {
  const { count, sizeBytes, ageMs, nowMs } = options
  const isRing = sizeBytes !== Infinity || ageMs !== Infinity
  const files: string[] = []
  let opened = 0, deletedFiles = 0
  let fd = -1
  let name = ''
  let fileBytes = 0, filePackets = 0, sinceMs = 0
  let packets = 0, bytes = 0, lostPackets = 0
  let isWhole = false
  /** The reader of a pipe has gone, with what it wanted. */
  let isUnread = false
  let head: Buffer = Buffer.alloc(0)
  let rest: Buffer = Buffer.alloc(0)

  function tried<T>(what: string, work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw failure(what, error as NodeJS.ErrnoException)
    }
  }

  function shown(): string {
    return options.path === '-' ? 'standard output' : name
  }

  function failure(what: string, cause: NodeJS.ErrnoException): Failure {
    const why = cause.code === 'ENXIO' ? 'nobody reads this pipe: start its reader first' : systemReason(cause)
    return new Failure(STATUS.output, `cannot ${what} ${shown()}: ${why}`, { cause })
  }

  function open(): void {
    sinceMs = nowMs()
    name = isRing ? ringName(options.path, ++opened, new Date(sinceMs)) : options.path
    fd = options.path === '-' ? 1 : tried('write', () => fs.openSync(name, OPEN, 0o666))
    files.push(name)
    fileBytes = filePackets = 0
    if (files.length <= options.files) return
    const oldest = files.shift()!
    tried(`delete ${oldest} for`, () => { fs.rmSync(oldest, { force: true }) })
    deletedFiles++
  }

  async function write(piece: Buffer): Promise<void> {
    for (let at = 0; at < piece.length && !isUnread;) {
      try {
        at += fs.writeSync(fd, piece, at)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'EPIPE') isUnread = true
        else if (code !== 'EAGAIN') throw failure('write', error as NodeJS.ErrnoException)
        else if (options.signal?.aborted === true) {
          throw new Failure(STATUS.output, `nobody reads ${shown()}: the end of the recording is lost`)
        } else await sleep(FULL_MS)
      }
    }
    if (isUnread) return
    fileBytes += piece.length
    bytes += piece.length
  }

  function closeFile(): void {
    if (fd > 1) tried('write', () => fs.closeSync(fd))
    fd = -1
  }

  function isDue(blockBytes: number): boolean {
    return filePackets > 0 && (fileBytes + blockBytes > sizeBytes || nowMs() - sinceMs >= ageMs)
  }

  open()
  return {
    async take(piece) {
      const all = rest.length === 0 ? piece : Buffer.concat([rest, piece])
      // Blocks from `from` on are whole and not written yet.
      let from = 0, at = 0
      while (all.length - at >= 8) {
        const type = all.readUInt32LE(at), blockBytes = all.readUInt32LE(at + 4)
        if (blockBytes < LEAST_BLOCK_BYTES) throw new Failure(STATUS.connection, 'what comes from the box is no recording')
        if (all.length - at < blockBytes) break
        const end = at + blockBytes
        if (type === BLOCK_ENHANCED_PACKET) {
          if (packets === count) {
            await write(all.subarray(from, at))
            from = end
          } else {
            if (isRing && isDue(at - from + blockBytes)) {
              await write(all.subarray(from, at))
              from = at
              closeFile()
              open()
              await write(head)
            }
            packets++
            filePackets++
          }
        } else if (type === BLOCK_INTERFACE_STATISTICS) {
          lostPackets += lostInStatistics(all.subarray(at, end))
          isWhole = true
        } else if (packets === 0) head = Buffer.concat([head, all.subarray(at, end)])
        at = end
      }
      await write(all.subarray(from, at))
      rest = Buffer.from(all.subarray(at))
      return packets < count && !isUnread
    },
    close() {
      closeFile()
      return { packets, bytes, files, deletedFiles, lostPackets, isWhole }
    },
  }
}

/** `lab.pcapng` as `lab_00001_20261129193000.pcapng`. */
export function ringName(file: string, number: number, time: Date): string {
  const { dir, name, ext } = path.parse(file)
  const two = (n: number) => String(n).padStart(2, '0')
  const day = `${time.getFullYear()}${two(time.getMonth() + 1)}${two(time.getDate())}`
  const stamp = `${day}${two(time.getHours())}${two(time.getMinutes())}${two(time.getSeconds())}`
  return path.join(dir, `${name}_${String(number).padStart(5, '0')}_${stamp}${ext}`)
}
