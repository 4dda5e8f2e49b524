/**
 * Two regions of the pool that take turns: the record loop reads one while the source fills the other.
 *
 *   poolStart                                                        poolEnd
 *   | headroom | region 0 ............ | headroom | region 1 ............ |
 *
 * A record that straddles the end of a region is moved, once, in front of the next region, so that every record is in
 * one piece and its bytes are otherwise where the system put them. A region is given to the source only after `more`
 * was called, which ends the life of the rows that pointed into it.
 */
import { MAX_RECORD_BYTES } from './cursor.ts'
import type { Cursor } from './cursor.ts'
import type { ByteSource } from './source.ts'

export interface Window {
  /** Show more bytes through the cursor; false when there are none left. */
  more(): Promise<boolean>
  /** Bytes of the uncompressed stream so far. */
  readonly streamBytes: number
}

export function regionStart(poolStart: number, regionBytes: number, region: number): number {
  return poolStart + region * (MAX_RECORD_BYTES + regionBytes) + MAX_RECORD_BYTES
}

/** Bytes of the pool that a reader with regions of this size takes. */
export function windowBytes(regionBytes: number): number { return 2 * (MAX_RECORD_BYTES + regionBytes) }

/** `cursor` shows what is already in region 0, and the source goes on behind that. */
export function createWindow(pool: Uint8Array, poolStart: number, regionBytes: number, source: ByteSource,
  cursor: Cursor, ended: boolean): Window {
  const start = [regionStart(poolStart, regionBytes, 0), regionStart(poolStart, regionBytes, 1)]
  const filled = [cursor.end, start[1]!]
  // `current` is read by the record loop, `target` is filled by the source. They differ once `current` is full.
  let current = 0, target = 0
  let reading = false, streamBytes = cursor.end - start[0]!
  let wake: (() => void) | null = null

  function pump(): void {
    if (reading || ended) return
    if (filled[target]! === start[target]! + regionBytes) {
      if (target !== current) return
      target = 1 - current
      filled[target] = start[target]!
    }
    reading = true
    source.read(filled[target]!, start[target]! + regionBytes - filled[target]!, took)
  }
  function took(got: number): void {
    reading = false
    if (got === 0) ended = true
    filled[target]! += got
    streamBytes += got
    pump()
    if (wake !== null) {
      const resume = wake
      wake = null
      resume()
    }
  }
  /** Shows what has arrived. */
  function show(): boolean {
    if (filled[current]! > cursor.end) {
      cursor.end = filled[current]!
      return true
    }
    if (target === current || filled[target]! === start[target]!) return false
    const tailBytes = cursor.end - cursor.pos
    const pos = start[target]! - tailBytes
    pool.copyWithin(pos, cursor.pos, cursor.end)
    cursor.base += cursor.pos - pos
    cursor.pos = pos
    cursor.end = filled[target]!
    current = target
    return true
  }
  pump()
  return {
    get streamBytes() { return streamBytes },
    async more() {
      for (;;) {
        const shown = show()
        pump()
        if (shown) return true
        if (ended) return false
        await new Promise<void>((resolve) => { wake = resolve })
      }
    },
  }
}
