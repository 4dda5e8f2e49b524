/**
 * Transaction identifiers that a session has used: no request may use one again (RFC 4540 4.2.5), and one that does is a recorded
 * request played back. Agents count, so a run of consecutive numbers is one record, and the last run is the place to look. An agent
 * that draws them at random leaves runs of one; then the table is full at some time, and the run farthest from the newest
 * one is forgotten.
 */
const MAX_RUNS = 1024, FIRST_RUNS = 4

export class UsedTids {
  /** First and last identifier of each run, in order, not touching each other. */
  private runs = new Uint32Array(2 * FIRST_RUNS)
  private count = 0
  /** The run that grew last. */
  private at = 0

  /** Runs held, at most 1,024. */
  get size(): number { return this.count }

  /** Marks an identifier, 0..2^32-1, as used. False: it was already. */
  add(tid: number): boolean {
    const { runs, at } = this
    // The common case: one more than the last, and the next run is not there yet.
    if (this.count > 0 && tid === runs[2 * at + 1]! + 1 && (at + 1 === this.count || tid + 1 < runs[2 * at + 2]!)) {
      runs[2 * at + 1] = tid
      return true
    }
    return this.insert(tid)
  }

  private insert(tid: number): boolean {
    const { runs } = this
    // The first run that begins above tid.
    let low = 0, high = this.count
    while (low < high) {
      const middle = low + high >> 1
      if (runs[2 * middle]! <= tid) low = middle + 1
      else high = middle
    }
    const before = low - 1
    if (before >= 0 && tid <= runs[2 * before + 1]!) return false
    const joinsBefore = before >= 0 && runs[2 * before + 1]! + 1 === tid, joinsAfter = low < this.count && runs[2 * low] === tid + 1
    if (joinsBefore) {
      runs[2 * before + 1] = joinsAfter ? runs[2 * low + 1]! : tid
      if (joinsAfter) this.remove(low)
      this.at = before
    } else if (joinsAfter) {
      runs[2 * low] = tid
      this.at = low
    } else this.insertRun(low, tid)
    return true
  }

  private insertRun(at: number, tid: number): void {
    if (this.count === MAX_RUNS) {
      if (2 * at > this.count) {
        this.remove(0)
        at--
      } else this.count--
    }
    if (2 * this.count === this.runs.length) {
      const grown = new Uint32Array(2 * this.runs.length)
      grown.set(this.runs)
      this.runs = grown
    }
    this.runs.copyWithin(2 * at + 2, 2 * at, 2 * this.count)
    this.runs[2 * at] = this.runs[2 * at + 1] = tid
    this.count++
    this.at = at
  }

  private remove(at: number): void {
    this.runs.copyWithin(2 * at, 2 * at + 2, 2 * this.count)
    this.count--
  }
}
