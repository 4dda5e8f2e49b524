/** Files of rules and headers, as bytes: plain or gzip. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

/** The gzip stream of a file is cut short or corrupt. */
export class DamagedError extends Error {}

const STDIN = 0

/** Throws what the system says of the file, or a DamagedError. */
export function readInput(path: string): Uint8Array {
  const bytes = readFileSync(path === '-' ? STDIN : path)
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes
  try {
    return gunzipSync(bytes)
  } catch (error) {
    throw new DamagedError(`damaged gzip: ${(error as Error).message}`, { cause: error })
  }
}
