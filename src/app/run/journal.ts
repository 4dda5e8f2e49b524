/**
 * The journal on disk: LevelDB, whose log has a checksum for each record, so that what a crash has torn is recognized and left out.
 * Changes that come while the disk is busy go together in the next write, all of one call or none.
 */
import { mkdirSync } from 'node:fs'
import type { ClassicLevel } from 'classic-level'
import type { Journal, JournalChange } from '../../policy/journal.ts'

export interface OpenJournal extends Journal {
  /** Waits for what is under way. */
  close(): Promise<void>
}

/** Why a journal cannot be used: `message` is for people. */
export class JournalError extends Error {
  readonly code: 'journal-in-use' | 'journal-damaged' | 'journal-unusable'
  constructor(code: JournalError['code'], message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'JournalError'
    this.code = code
  }
}

interface Batch { changes: JournalChange[]; promise: Promise<void>; resolve(): void; reject(error: unknown): void }

function createBatch(): Batch {
  let resolve!: () => void, reject!: (error: unknown) => void
  const promise = new Promise<void>((yes, no) => { resolve = yes; reject = no })
  return { changes: [], promise, resolve, reject }
}

function errorOf(folder: string, error: unknown): JournalError {
  const { code, message, cause } = error as { code?: string; message: string; cause?: { code?: string; message: string } }
  const inner = cause?.code ?? code
  if (inner === 'LEVEL_LOCKED') return new JournalError('journal-in-use', `${folder} is in use by another box`, error)
  if (inner === 'LEVEL_CORRUPTION') {
    return new JournalError('journal-damaged', `${folder} is damaged: ${cause?.message ?? message}; `
      + 'move it away to start without the rules that it kept', error)
  }
  return new JournalError('journal-unusable', `${folder}: ${cause?.message ?? message}`, error)
}

/** @throws JournalError */
export async function openJournal(folder: string): Promise<OpenJournal> {
  const entries = new Map<string, string>()
  let db: ClassicLevel
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    // Native code, which only a box with a journal has to load.
    const level = await import('classic-level')
    db = new level.ClassicLevel(folder)
    await db.open()
    for await (const [key, text] of db.iterator()) entries.set(key, text)
  } catch (error) {
    throw errorOf(folder, error)
  }

  let next: Batch | null = null
  let running: Promise<void> | null = null
  let isTorn = false, isClosed = false

  async function keep(changes: readonly JournalChange[]): Promise<void> {
    if (isClosed) throw new JournalError('journal-unusable', `${folder} is closed`, null)
    // Nothing must stand behind a record that was torn: opening reads what is whole, and begins a new log.
    if (isTorn) {
      await db.close()
      await db.open()
      isTorn = false
    }
    await db.batch(changes.map(({ key, text }) => text === null ? { type: 'del' as const, key }
      : { type: 'put' as const, key, value: text }),
      { sync: true })
  }

  async function run(): Promise<void> {
    while (next !== null) {
      const batch: Batch = next
      next = null
      try {
        // Even after a failure this takes its time, so that `running` is over only after it has begun.
        await keep(batch.changes)
        batch.resolve()
      } catch (error) {
        isTorn = true
        batch.reject(error)
        // Whatever came behind a write that failed would be kept without it.
        const behind = next as Batch | null
        next = null
        behind?.reject(error)
      }
    }
    running = null
  }

  return {
    entries,
    write(changes) {
      next ??= createBatch()
      const { promise } = next
      for (const change of changes) next.changes.push(change)
      running ??= run()
      return promise
    },
    async close() {
      await running
      isClosed = true
      await db.close()
    },
  }
}
