/** Where captures lie: in memory if there is room, so that no disk is measured. */
import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'

const MEMORY_FILES = '/dev/shm'
/** What a row may need at once: a capture, and what two programs make of it. */
const CAPTURE_BYTES = 3 * 2 ** 30

export function roomyDirectory(): string {
  try {
    const { bavail, bsize } = statfsSync(MEMORY_FILES)
    if (bavail * bsize >= CAPTURE_BYTES) return MEMORY_FILES
  } catch {
    // Not every system has one.
  }
  return tmpdir()
}
