/**
 * A recording into files: one, or a ring of which the oldest make room, named as dumpcap names them. It cuts the stream of pcapng
 * between blocks, and begins each file with the same description of section and interfaces, so that each can be read by itself.
 */
import * as fs from 'node:fs'
import * as path from 'node:path'
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
  /** Takes a piece of the stream. False: there are as many packets as were asked for. Throws `Failure`. */
  take(piece: Buffer): boolean
  close(): RecordSummary
}

const LEAST_BLOCK_BYTES = 12

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
  let head: Buffer = Buffer.alloc(0)
  let rest: Buffer = Buffer.alloc(0)

  function tried<T>(what: string, work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw new Failure(STATUS.output, `cannot ${what} ${name}: ${systemReason(error as NodeJS.ErrnoException)}`, { cause: error })
    }
  }

  function open(): void {
    sinceMs = nowMs()
    name = isRing ? ringName(options.path, ++opened, new Date(sinceMs)) : options.path
    fd = options.path === '-' ? 1 : tried('write', () => fs.openSync(name, 'w'))
    files.push(name)
    fileBytes = filePackets = 0
    write(head)
    if (files.length <= options.files) return
    fs.rmSync(files.shift()!, { force: true })
    deletedFiles++
  }

  function write(piece: Buffer): void {
    for (let at = 0; at < piece.length;) {
      try {
        at += fs.writeSync(fd, piece, at)
      } catch (error) {
        // A pipe whose reader is slower.
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') continue
        throw new Failure(STATUS.output, `cannot write ${name}: ${systemReason(error as NodeJS.ErrnoException)}`, { cause: error })
      }
    }
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
    take(piece) {
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
            write(all.subarray(from, at))
            from = end
          } else {
            if (isRing && isDue(at - from + blockBytes)) {
              write(all.subarray(from, at))
              from = at
              closeFile()
              open()
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
      write(all.subarray(from, at))
      rest = Buffer.from(all.subarray(at))
      return packets < count
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
