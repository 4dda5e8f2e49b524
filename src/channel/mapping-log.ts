/**
 * Which inside host had which outside ports, and when (RFC 6888 4): records that the packet path writes as mappings and blocks of
 * ports come and go, for somebody else to write down. A ring with one writer and one reader, ready for a shared buffer.
 * Destinations are not in it (RFC 6888 REQ-12). When it is full a record is lost and counted: a packet never waits.
 */
export const LOG_WORDS = 8

/** Words of a record. */
export const LOG_OP = 0, LOG_AT_MS = 1, LOG_PROTOCOL = 2, LOG_INSIDE = 3, LOG_OUTSIDE = 4
/** Ports or identifiers; of a block the first and the last outside port. */
export const LOG_INSIDE_PORT = 5, LOG_OUTSIDE_PORT = 6, LOG_LAST_PORT = 7

export const MAPPING_OPENED = 1, MAPPING_CLOSED = 2, BLOCK_OPENED = 3, BLOCK_CLOSED = 4, ADDRESS_OPENED = 5, ADDRESS_CLOSED = 6

export interface MappingLog {
  readonly words: Int32Array
  /** Writer. `atMs` is virtual time modulo 2^32. */
  write(
    op: number, atMs: number, protocol: number, inside: number, insidePort: number, outside: number, outsidePort: number,
    lastPort: number,
  ): void
  /** Reader: offset in `words` of the oldest record, or -1. */
  peek(): number
  done(): void
  /** Records that found no room, modulo 2^32. */
  lost(): number
}

export const LOG_HEAD_WORDS = 3

/** @param capacity records, a power of two  @param head, words memory that is shared, all zero; absent: it is made */
export function createMappingLog(
  capacity: number, head: Int32Array = new Int32Array(LOG_HEAD_WORDS), words: Int32Array = new Int32Array(capacity * LOG_WORDS),
): MappingLog {
  const mask = capacity - 1
  const WRITTEN = 0, READ = 1, LOST = 2
  return {
    words,
    write(op, atMs, protocol, inside, insidePort, outside, outsidePort, lastPort) {
      if (((head[WRITTEN] - head[READ]) | 0) === capacity) {
        head[LOST]++
        return
      }
      const at = (head[WRITTEN] & mask) * LOG_WORDS
      words[at + LOG_OP] = op
      words[at + LOG_AT_MS] = atMs
      words[at + LOG_PROTOCOL] = protocol
      words[at + LOG_INSIDE] = inside
      words[at + LOG_OUTSIDE] = outside
      words[at + LOG_INSIDE_PORT] = insidePort
      words[at + LOG_OUTSIDE_PORT] = outsidePort
      words[at + LOG_LAST_PORT] = lastPort
      // Whoever sees this sees the record.
      Atomics.store(head, WRITTEN, head[WRITTEN] + 1)
    },
    peek: () => Atomics.load(head, WRITTEN) === head[READ] ? -1 : (head[READ] & mask) * LOG_WORDS,
    done() { head[READ]++ },
    lost: () => head[LOST],
  }
}
