/**
 * What policy tells the data plane: fixed-size records in a ring with one writer and one reader, ready for a shared buffer.
 * Looking for work costs the reader one load. Records are carried out in order; `applied` is the number of the last one.
 */

export const COMMAND_WORDS = 32

export const OP = 0
/** Adds a rule: everything from RULE on. The number must be free. */
export const OP_RULE_ADD = 1
/** Ends a rule and the flows that only it admitted. */
export const OP_RULE_DELETE = 2
/** Binds COUNT ports from A0:LOCAL_PORT on to A2:OUTSIDE_PORT on, for PROTOCOL (UDP or TCP). */
export const OP_BIND_PORTS = 3
export const OP_UNBIND_PORTS = 4
/** Binds the address A0 to the address A2, all protocols and ports. */
export const OP_BIND_ADDRESS = 5
export const OP_UNBIND_ADDRESS = 6
/** Twice-NAT: inside hosts reach A3:PEER_PORT on at A1:INSIDE_PORT on, COUNT ports; COUNT 0: all of the address. */
export const OP_BIND_INSIDE = 7
export const OP_UNBIND_INSIDE = 8

/** Rule number, 1 … limit. */
export const RULE = 1
/** RULE_ flags. */
export const FLAGS = 2
/** The lowest number that matches decides. */
export const PRIORITY = 3
/** 4 or 6. */
export const VERSION = 4
/** 0 … 255, or -1: any. */
export const PROTOCOL = 5
export const COUNT = 6
export const LOCAL_BITS = 7, PEER_BITS = 8
/** Low << 16 | high, inclusive. */
export const LOCAL_PORTS = 9, PEER_PORTS = 10
export const LOCAL_PORT = 11, PEER_PORT = 12, INSIDE_PORT = 13, OUTSIDE_PORT = 14
/** A0: four words; IPv4 in the first. */
export const LOCAL = 16
/** A3. */
export const PEER = 20
/** A1 and A2: IPv4. */
export const INSIDE_ADDRESS = 24, OUTSIDE_ADDRESS = 25

/** Blocks (RFC 4540 8.8); without it the rule enables. */
export const RULE_DISABLE = 1
/** Directions in which an enable rule admits new flows. */
export const RULE_OUT = 2, RULE_IN = 4
/** From outside, the rule admits only what is addressed to its binding. */
export const RULE_BOUND = 8
/** Flows of this rule show A1 to the inside. */
export const RULE_TWICE = 16

/** Shared between one writer and one reader. Word 0: records written; word 1: records applied; both modulo 2^32. */
export interface CommandRing {
  readonly capacity: number
  /** Free records. */
  room(): number
  /** Words of the next record to write, all zero; `publish` makes it visible. The caller has checked `room`. */
  readonly words: Int32Array
  next(): number
  publish(): void
  /** Reader: offset in `words` of the oldest record that was not applied, or -1. */
  peek(): number
  /** Reader: that record was carried out. */
  done(): void
  /** Numbers of the last record written and of the last one applied. */
  written(): number
  applied(): number
}

/**
 * Both ends on one thread. Once it is empty it begins anew at its first record: what is asked and carried out by turns stays in a
 * few lines of the cache, in place of going round through all of it, which is as long as the second cache of some processors.
 *
 * @param capacity records, a power of two
 */
export function createCommandRing(capacity: number): CommandRing {
  const head = new Int32Array(2)
  const words = new Int32Array(capacity * COMMAND_WORDS)
  const mask = capacity - 1
  const WRITTEN = 0, APPLIED = 1
  /** Number of the record that lies at the beginning. */
  let first = 0
  return {
    capacity, words,
    room: () => capacity - ((head[WRITTEN] - head[APPLIED]) | 0),
    next() {
      if (head[WRITTEN] === head[APPLIED]) first = head[WRITTEN]
      const at = ((head[WRITTEN] - first) & mask) * COMMAND_WORDS
      // `fill` is a call of the runtime.
      for (let word = at; word < at + COMMAND_WORDS; word++) words[word] = 0
      return at
    },
    publish() { head[WRITTEN]++ },
    peek: () => head[WRITTEN] === head[APPLIED] ? -1 : ((head[APPLIED] - first) & mask) * COMMAND_WORDS,
    done() { head[APPLIED]++ },
    written: () => head[WRITTEN],
    applied: () => head[APPLIED],
  }
}

/** What the data plane tells about rules: written by it alone, indexed by rule number, set back when a rule is added. */
export interface RuleActivity {
  /** Virtual milliseconds (int32) of the last packet, or of the rule's beginning. */
  readonly lastUsedMs: Int32Array
  readonly packets: Float64Array
  readonly bytes: Float64Array
  /** Where several packet paths write: brings the numbers of a rule up to date, before somebody reads them. */
  refresh?(rule: number): void
}

export function createRuleActivity(rules: number): RuleActivity {
  return { lastUsedMs: new Int32Array(rules + 1), packets: new Float64Array(rules + 1), bytes: new Float64Array(rules + 1) }
}
