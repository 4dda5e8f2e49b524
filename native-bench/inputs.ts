/** What the programs read, and where it lies. */
import { createHash } from 'node:crypto'
import { createReadStream, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'

const MEMORY_FILES = '/dev/shm'
/** What a row may need at once: a capture, and what two programs make of it. */
const CAPTURE_BYTES = 3 * 2 ** 30

/** In memory if there is room, so that no disk is measured. */
export function roomyDirectory(): string {
  try {
    const { bavail, bsize } = statfsSync(MEMORY_FILES)
    if (bavail * bsize >= CAPTURE_BYTES) return MEMORY_FILES
  } catch {
    // Not every system has one.
  }
  return tmpdir()
}

/** SHA-256 of all of them, one behind the other. */
export async function digestOfFiles(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const path of paths) for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
