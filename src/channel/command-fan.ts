/**
 * The ring of commands with one writer and several readers: a record counts as applied once every reader that is there has carried
 * it out. The writer also keeps what is in force, so that a reader that comes later, or anew, can be told all of it.
 */
import {
  COMMAND_WORDS, COUNT, INSIDE_ADDRESS, INSIDE_PORT, LOCAL, LOCAL_PORT, OP, OP_BIND_ADDRESS, OP_BIND_INSIDE, OP_BIND_PORTS,
  OP_RULE_ADD, OP_RULE_DELETE, OUTSIDE_ADDRESS, OUTSIDE_PORT, PEER, PEER_PORT, PROTOCOL, RULE, type CommandRing,
} from './commands.ts'

/** Words of the heads: records written by the writer, and applied by each reader. Offsets in shared memory. */
export interface FanHeads {
  readonly words: Int32Array
  readonly written: number
  appliedOf(reader: number): number
}

export interface CommandFan extends CommandRing {
  /** What is in force: records, one after the other. The reader carries these out before those of the ring. */
  join(reader: number): Int32Array
  /** Nobody waits for it any more. */
  leave(reader: number): void
}

/** What a binding and its end have in common. */
const BINDING = [PROTOCOL, COUNT, LOCAL, LOCAL_PORT, PEER, PEER_PORT, INSIDE_ADDRESS, INSIDE_PORT, OUTSIDE_ADDRESS, OUTSIDE_PORT]

/** @param capacity records, a power of two @param onRule a rule with this number begins */
export function createCommandFan(
  capacity: number, readers: number, heads: FanHeads, words: Int32Array, onRule: (rule: number) => void,
): CommandFan {
  const mask = capacity - 1
  const isThere = new Array<boolean>(readers).fill(false)
  const standing = new Map<string, Int32Array[]>()
  let written = Atomics.load(heads.words, heads.written)

  function applied(): number {
    let least = written
    for (let reader = 0; reader < readers; reader++) {
      if (!isThere[reader]) continue
      const its = Atomics.load(heads.words, heads.appliedOf(reader))
      if ((its - least | 0) < 0) least = its
    }
    return least
  }

  /** Bindings and their ends have neighbouring numbers, and the same name. */
  function nameOf(at: number, op: number): string {
    return `${op} ${BINDING.map((word) => words[at + word]).join(' ')}`
  }

  function keep(at: number): void {
    const op = words[at + OP], record = () => words.slice(at, at + COMMAND_WORDS)
    if (op === OP_RULE_ADD) {
      standing.set(`rule ${words[at + RULE]}`, [record()])
      onRule(words[at + RULE])
    } else if (op === OP_RULE_DELETE) standing.delete(`rule ${words[at + RULE]}`)
    else if (op === OP_BIND_PORTS || op === OP_BIND_ADDRESS || op === OP_BIND_INSIDE) {
      const name = nameOf(at, op)
      standing.set(name, [...standing.get(name) ?? [], record()])
    } else {
      const name = nameOf(at, op - 1), left = (standing.get(name) ?? []).slice(1)
      if (left.length === 0) standing.delete(name)
      else standing.set(name, left)
    }
  }

  return {
    capacity, words, applied,
    room: () => capacity - (written - applied() | 0),
    next() {
      const at = (written & mask) * COMMAND_WORDS
      words.fill(0, at, at + COMMAND_WORDS)
      return at
    },
    publish() {
      keep((written & mask) * COMMAND_WORDS)
      written = written + 1 | 0
      Atomics.store(heads.words, heads.written, written)
    },
    peek: () => -1, done() { /* its readers have rings of their own */ },
    written: () => written,
    join(reader) {
      const all = [...standing.values()].flat()
      const records = new Int32Array(all.length * COMMAND_WORDS)
      all.forEach((record, n) => records.set(record, n * COMMAND_WORDS))
      Atomics.store(heads.words, heads.appliedOf(reader), written)
      isThere[reader] = true
      return records
    },
    leave(reader) { isThere[reader] = false },
  }
}

export interface CommandReader extends CommandRing {
  /** What is in force, before anything that comes by the ring. */
  restore(records: Int32Array): void
}

/** The end of one reader, in another process or thread. */
export function createCommandReader(capacity: number, reader: number, heads: FanHeads, shared: Int32Array): CommandReader {
  const mask = capacity - 1
  const words = new Int32Array(COMMAND_WORDS)
  let standing = new Int32Array(0)
  let restored = 0
  let isFilled = false
  const written = () => Atomics.load(heads.words, heads.written)
  const applied = () => Atomics.load(heads.words, heads.appliedOf(reader))

  return {
    capacity, words, written, applied,
    room: () => 0, next: () => { throw new Error('a reader writes no commands') }, publish() { /* nor this */ },
    restore(records) {
      standing = Int32Array.from(records)
      restored = 0
    },
    peek() {
      if (isFilled) return 0
      if (restored < standing.length) words.set(standing.subarray(restored, restored + COMMAND_WORDS))
      else {
        const at = applied()
        if (at === written()) return -1
        words.set(shared.subarray((at & mask) * COMMAND_WORDS, ((at & mask) + 1) * COMMAND_WORDS))
      }
      isFilled = true
      return 0
    },
    done() {
      isFilled = false
      if (restored < standing.length) {
        restored += COMMAND_WORDS
        if (restored === standing.length) standing = new Int32Array(restored = 0)
      } else Atomics.store(heads.words, heads.appliedOf(reader), applied() + 1 | 0)
    },
  }
}
