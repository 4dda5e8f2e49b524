/**
 * What a box records of its interfaces, as pcapng: two interfaces, inside and outside; frames with their direction (epb_flags) and
 * a comment on those that were for the box itself; in a comment of the section the settings under which the box would do the same
 * again. So a replay of it takes what the box took to forward, and makes the rest anew.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { LINK_ETHERNET } from '../wire/frames.ts'
import { encodeBlock, encodeOptions, interfaceBlock, OPT_COMMENT, sectionBlock, type BlockOption } from './pcapng-blocks.ts'
import {
  BLOCK_ENHANCED_PACKET, BLOCK_INTERFACE_STATISTICS, BYTE_ORDER_MAGIC, BLOCK_SECTION, IF_DESCRIPTION, IF_NAME, PACKET_DATA,
} from './pcapng.ts'
import { MARK_OUTSIDE, MARK_OWN, MARK_SENT } from './tap.ts'

/* "Enhanced Packet Block": the options of a frame are of fixed form here. */
const EPB_FLAGS = 2, DIRECTION_MASK = 3, INBOUND = 1, OUTBOUND = 2
const TRAILER_BYTES = 4, FLAGS_BYTES = 8, END_OF_OPTIONS_BYTES = 4
const IF_MAC = 6, IF_FILTER = 11
const ISB_START = 2, ISB_END = 3, ISB_RECEIVED = 4, ISB_DROPPED = 5, ISB_ACCEPTED = 6

/** The comment on a frame that the packet path did not see. */
export const OWN_COMMENT = 'for the box itself'
const own = encodeOptions([[OPT_COMMENT, OWN_COMMENT]]).slice(0, -END_OF_OPTIONS_BYTES)
const SETTINGS_PREFIX = 'pinhole-replay: '

export interface RecordedLink { name: string; mac: readonly number[] }

/** What a replay has to know. */
export interface RecordedSettings {
  /** The interface that is the inside. */
  insideInterface: string
  seed: number
  /** What its timers were divided by. */
  timeScale: number
  /** The configuration, as JSON in the form of the YAML file; null: it could not be kept. */
  configuration: string | null
}

/** The beginning of a file. `links`: by SIDE_ constant. */
export function recordingHead(
  links: readonly RecordedLink[], snapBytes: number, filter: string, about: string, settings: RecordedSettings,
): Uint8Array {
  const told: BlockOption[] = filter === '' ? [] : [[IF_FILTER, Uint8Array.of(0, ...new TextEncoder().encode(filter))]]
  const blocks = [
    sectionBlock([about, SETTINGS_PREFIX + JSON.stringify(settings)]),
    ...links.map(({ name, mac }, side) => interfaceBlock(LINK_ETHERNET, snapBytes, [
      [IF_NAME, name], [IF_DESCRIPTION, side === MARK_OUTSIDE ? 'outside' : 'inside'], [IF_MAC, Uint8Array.from(mac)], ...told,
    ])),
  ]
  return Buffer.concat(blocks)
}

/** Bytes of the block of a frame. */
export function frameBlockBytes(keptBytes: number, marks: number): number {
  return PACKET_DATA + (keptBytes + 3 & ~3) + FLAGS_BYTES + ((marks & MARK_OWN) === 0 ? 0 : own.length) + END_OF_OPTIONS_BYTES
    + TRAILER_BYTES
}

const NS_PER_SEC = 1_000_000_000n

/** Writes the block of a frame at `at`; there is room. Returns where it ends. */
export function putFrame(
  to: Uint8Array, view: DataView, at: number, frame: Uint8Array, wireBytes: number, marks: number, sec: number, nsec: number,
): number {
  const kept = frame.length, bytes = frameBlockBytes(kept, marks), isOwn = (marks & MARK_OWN) !== 0
  view.setUint32(at, BLOCK_ENHANCED_PACKET, true)
  view.setUint32(at + 4, bytes, true)
  view.setUint32(at + 8, marks & MARK_OUTSIDE, true)
  const stamp = BigInt(sec) * NS_PER_SEC + BigInt(nsec)
  view.setUint32(at + 12, Number(stamp >> 32n), true)
  view.setUint32(at + 16, Number(stamp & 0xffffffffn), true)
  view.setUint32(at + 20, kept, true)
  view.setUint32(at + 24, wireBytes, true)
  let end = at + PACKET_DATA + (kept + 3 & ~3)
  view.setUint32(end - 4, 0, true)
  to.set(frame, at + PACKET_DATA)
  view.setUint16(end, EPB_FLAGS, true)
  view.setUint16(end + 2, 4, true)
  view.setUint32(end + 4, (marks & MARK_SENT) === 0 ? INBOUND : OUTBOUND, true)
  end += FLAGS_BYTES
  if (isOwn) {
    to.set(own, end)
    end += own.length
  }
  view.setUint32(end, 0, true)
  view.setUint32(end + END_OF_OPTIONS_BYTES, bytes, true)
  return at + bytes
}

export interface SideStatistics { seen: number; lost: number; accepted: number }

/** "Interface Statistics Block". @param startMs milliseconds since 1970 */
export function statisticsBlock(
  side: number, startMs: number, endMs: number, { seen, lost, accepted }: SideStatistics,
): Uint8Array {
  const body = new DataView(new ArrayBuffer(12))
  const stamp = (ms: number) => {
    const ns = BigInt(Math.floor(ms)) * 1_000_000n, halves = new DataView(new ArrayBuffer(8))
    halves.setUint32(0, Number(ns >> 32n), true)
    halves.setUint32(4, Number(ns & 0xffffffffn), true)
    return new Uint8Array(halves.buffer)
  }
  const count = (n: number) => {
    const value = new DataView(new ArrayBuffer(8))
    value.setBigUint64(0, BigInt(n), true)
    return new Uint8Array(value.buffer)
  }
  body.setUint32(0, side, true)
  new Uint8Array(body.buffer).set(stamp(endMs), 4)
  return encodeBlock(BLOCK_INTERFACE_STATISTICS, new Uint8Array(body.buffer), encodeOptions([
    [ISB_START, stamp(startMs)], [ISB_END, stamp(endMs)], [ISB_RECEIVED, count(seen)], [ISB_DROPPED, count(lost)],
    [ISB_ACCEPTED, count(accepted)],
  ]))
}

/** The options of a block that `statisticsBlock` made: what was lost. */
export function lostInStatistics(block: Uint8Array): number {
  const view = new DataView(block.buffer, block.byteOffset, block.length)
  return Number(optionAt(view, 20, block.length - TRAILER_BYTES, ISB_DROPPED, (at) => view.getBigUint64(at, true)) ?? 0n)
}

/** The first option of that code between two offsets, little endian. */
function optionAt<T>(
  view: DataView, from: number, end: number, wanted: number, read: (at: number, bytes: number) => T,
): T | undefined {
  for (let at = from; at + 4 <= end;) {
    const code = view.getUint16(at, true), bytes = view.getUint16(at + 2, true)
    if (code === 0 || at + 4 + bytes > end) return undefined
    if (code === wanted) return read(at + 4, bytes)
    at += 4 + (bytes + 3 & ~3)
  }
  return undefined
}

function textAt(view: DataView, at: number, bytes: number): string {
  return Buffer.from(view.buffer as ArrayBuffer, view.byteOffset + at, bytes).toString()
}

/**
 * Is a frame of a recording what the packet path took? Not what the box sent, nor what was for the box itself.
 * @param off where its bytes begin, in the block they were read from
 */
export function isForwarded(view: DataView, off: number, capBytes: number): boolean {
  const start = off - PACKET_DATA, end = start + view.getUint32(start + 4, true) - TRAILER_BYTES
  const options = off + (capBytes + 3 & ~3)
  const direction = optionAt(view, options, end, EPB_FLAGS, (at) => view.getUint32(at, true) & DIRECTION_MASK)
  return direction === INBOUND && optionAt(view, options, end, OPT_COMMENT, (at, bytes) => textAt(view, at, bytes)) !== OWN_COMMENT
}

const HEAD_MOST_BYTES = 200_000, SECTION_OPTIONS = 24

/** The settings of a recording; null: this is another kind of file, or none that can be read twice. */
export function readRecordedSettings(path: string): RecordedSettings | null {
  if (path === '-' || statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return null
  const head = Buffer.alloc(HEAD_MOST_BYTES)
  let present: number
  try {
    const fd = openSync(path, 'r')
    try {
      present = readSync(fd, head, 0, head.length, 0)
    } finally {
      closeSync(fd)
    }
  } catch {
    // Whoever opens it to read it all says why that is not possible.
    return null
  }
  if (present < SECTION_OPTIONS || head.readUInt32LE(0) !== BLOCK_SECTION || head.readUInt32LE(8) !== BYTE_ORDER_MAGIC) return null
  const end = Math.min(head.readUInt32LE(4), present) - TRAILER_BYTES
  const view = new DataView(head.buffer, head.byteOffset, head.length)
  for (let at = SECTION_OPTIONS; at + 4 <= end;) {
    const code = view.getUint16(at, true), bytes = view.getUint16(at + 2, true)
    if (code === 0 || at + 4 + bytes > end) return null
    const text = code === OPT_COMMENT ? textAt(view, at + 4, bytes) : ''
    if (text.startsWith(SETTINGS_PREFIX)) return settingsOf(text.slice(SETTINGS_PREFIX.length))
    at += 4 + (bytes + 3 & ~3)
  }
  return null
}

function settingsOf(text: string): RecordedSettings | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (value === null || typeof value !== 'object') return null
  const { insideInterface, seed, timeScale, configuration } = value as Record<string, unknown>
  if (typeof insideInterface !== 'string' || typeof seed !== 'number' || seed >>> 0 !== seed) return null
  if (typeof timeScale !== 'number' || !(timeScale >= 1)) return null
  if (configuration !== null && typeof configuration !== 'string') return null
  return { insideInterface, seed, timeScale, configuration }
}
