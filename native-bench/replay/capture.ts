/** A generated capture in memory: frames at multiples of 64 bytes, so that a batch of them is copied in one go. */
import { readFileSync } from 'node:fs'
import { EPOCH_SEC } from './machine.ts'

export interface Capture {
  count: number
  bytes: Uint8Array
  /** One more than there are frames. */
  off: Int32Array
  capBytes: Int32Array
  wireBytes: Int32Array
  /** Nanoseconds since EPOCH_SEC. */
  ns: Float64Array
  longest: number
}

/** Reads what `traffic.ts` writes: classic pcap, little-endian, nanoseconds. */
export function loadCapture(path: string): Capture {
  const file = readFileSync(path)
  if (file.length < 24 || file.readUInt32LE(0) !== 0xa1b23c4d) throw new Error(`${path} is not a capture of this benchmark`)
  let count = 0, room = 0
  for (let at = 24; at < file.length; count++) {
    const bytes = file.readUInt32LE(at + 8)
    room += (bytes + 63) & ~63
    at += 16 + bytes
  }
  const column = () => new Int32Array(count + 1)
  const c: Capture = {
    count, bytes: new Uint8Array(room), off: column(), capBytes: column(), wireBytes: column(),
    ns: new Float64Array(count + 1), longest: 0,
  }
  let to = 0
  for (let at = 24, i = 0; i < count; i++) {
    const bytes = file.readUInt32LE(at + 8)
    c.off[i] = to
    c.capBytes[i] = bytes
    c.wireBytes[i] = file.readUInt32LE(at + 12)
    c.ns[i] = (file.readUInt32LE(at) - EPOCH_SEC) * 1e9 + file.readUInt32LE(at + 4)
    c.bytes.set(file.subarray(at + 16, at + 16 + bytes), to)
    if (bytes > c.longest) c.longest = bytes
    to += (bytes + 63) & ~63
    at += 16 + bytes
  }
  c.off[count] = to
  return c
}

/** Virtual time a capture spans. */
export function spanNs(c: Capture): number {
  return c.count === 0 ? 0 : c.ns[c.count - 1] - c.ns[0]
}
