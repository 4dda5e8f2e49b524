/** A rate: `perSecond` in a second, evenly, and as many at once after a pause. */
export class Bucket {
  // In thousandths, so that a millisecond fills as many as are allowed in a second.
  private filled: number
  private latestMs: number | null = null
  private readonly perSecond: number

  constructor(perSecond: number) {
    this.perSecond = perSecond
    this.filled = perSecond * 1000
  }

  take(nowMs: number): boolean {
    if (!this.has(nowMs)) return false
    this.filled -= 1000
    return true
  }

  /** Is there something to take? */
  has(nowMs: number): boolean {
    const elapsedMs = this.latestMs === null ? 0 : (nowMs - this.latestMs) >>> 0
    this.latestMs = nowMs
    this.filled = Math.min(this.perSecond * 1000, this.filled + elapsedMs * this.perSecond)
    return this.filled >= 1000
  }
}
