/**
 * What the record loops share with the reader: a stretch of the pool, and where in the file it came from. A loop moves
 * `pos` over whole records and leaves it at the first one it cannot deliver yet, or never will (`reason` says why).
 */

/** Longest packet taken from a file. The same ceiling as libpcap's MAXIMUM_SNAPLEN: more is a corrupt length. */
export const MAX_PACKET_BYTES = 262_144

/**
 * Longest record that is held in one piece: a packet, its header, and 255 KiB for the options of a pcapng block.
 * Headroom of this size in front of each region takes the record that straddles two.
 */
export const MAX_RECORD_BYTES = 524_288

export const NS_PER_SEC = 1_000_000_000

export interface Cursor {
  /** Next unread byte, and one past the last byte present; offsets in the pool. */
  pos: number
  end: number
  /** Add to an offset in the pool to have the offset in the uncompressed file. */
  base: number
  /** Why the record at `pos` can never be read, or '' while all is well. */
  reason: string
  /** Added to every time stamp; nanoseconds in 0 … 999,999,999. */
  readonly shiftSec: number
  readonly shiftNsec: number
}
