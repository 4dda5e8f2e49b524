/**
 * Where what must outlast a restart is kept. Who keeps something gives it a key and a text; what a text means is its own business.
 * The implementation is the application's: policy and doors know neither files nor how they are made safe.
 */
export interface JournalChange {
  key: string
  /** null: the entry goes. */
  text: string | null
}

export interface Journal {
  /** What was kept when the journal was opened, in order of keys. */
  readonly entries: ReadonlyMap<string, string>
  /**
   * Makes all changes or, after a crash, none; those of earlier calls come first. Resolves when they are on disk. Rejects if they
   * could not be kept, or those of an earlier call that was still under way: nobody knows then whether they are there after a
   * restart, so whoever made them writes what is to be there. A later call tries again.
   */
  write(changes: readonly JournalChange[]): Promise<void>
}
