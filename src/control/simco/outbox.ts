/**
 * What waits to be sent on one connection, in order. A success may be told only when the data plane does what was promised,
 * so octets carry the ticket after which they may leave, and hold back what stands behind them. Everything that may leave goes in
 * one write. While the other side does not take it, replies gather here, back to back, and not as a list of small writes.
 *
 * Buffers come from a pool that all connections share, so a connection at rest holds none.
 */
import { createOutput, type Output } from './codec.ts'

/** The sending end of a connection. */
export interface Link {
  /** Takes the first octets of a buffer, which is the link's until `queuedBytes` is 0 again. It then calls `Outbox.written`. */
  write(buffer: Uint8Array, bytes: number): void
  /** Octets taken and not yet given to the system. */
  readonly queuedBytes: number
}

/** The part of policy that says what has been carried out. */
export interface Tickets { appliedTicket(): number }

const FIRST_BYTES = 4096, MOST_POOLED_BYTES = 65_536, MOST_POOLED = 128

export class OutputPool {
  private readonly free: Output[] = []

  take(): Output { return this.free.pop() ?? createOutput(FIRST_BYTES) }

  give(out: Output): void {
    out.end = 0
    if (out.bytes.length <= MOST_POOLED_BYTES && this.free.length < MOST_POOLED) this.free.push(out)
  }
}

export class Outbox {
  private out: Output | null = null
  private inFlight: Output | null = null
  /**
   * From octet `starts[i]` of `out` on, nothing leaves before `tickets[i]`, for i below `holds`; both grow. The lists keep their
   * room: emptied, they would be made anew for the next reply, an eighth of all that a transaction allocates.
   */
  private readonly starts: number[] = []
  private readonly tickets: number[] = []
  private holds = 0
  private readonly link: Link
  private readonly policy: Tickets
  private readonly pool: OutputPool

  constructor(link: Link, policy: Tickets, pool: OutputPool) {
    this.link = link
    this.policy = policy
    this.pool = pool
  }

  /** Where to encode. Lent: `holdFrom` and `flush` may change it. */
  get output(): Output { return this.out ??= this.pool.take() }

  /** What was encoded from `start` on leaves when `ticket` has been applied. */
  holdFrom(start: number, ticket: number): void {
    const { tickets, holds } = this
    if (holds === 0 ? (this.policy.appliedTicket() - ticket | 0) >= 0 : tickets[holds - 1] === ticket) return
    tickets[holds] = ticket
    this.starts[holds] = start
    this.holds++
  }

  /** Octets encoded and not sent, and those sent that the system has not taken. */
  get queuedBytes(): number { return (this.out === null ? 0 : this.out.end) + this.link.queuedBytes }

  get isEmpty(): boolean { return (this.out === null || this.out.end === 0) && this.inFlight === null }

  /** Something waits, and not for the other side: the data plane has not come so far. */
  get isHeld(): boolean { return this.out !== null && this.out.end > 0 && this.inFlight === null }

  /** Sends what may leave, unless earlier octets still wait for the other side. Returns how many octets were sent. */
  flush(): number {
    const { out, starts, holds } = this
    if (out === null || this.inFlight !== null) return 0
    let leaving = out.end
    if (holds > 0) {
      const applied = this.policy.appliedTicket()
      if ((applied - this.tickets[holds - 1]! | 0) < 0) leaving = this.release(applied)
      else this.holds = 0
    }
    if (leaving === 0) {
      if (out.end === 0) this.drop()
      return 0
    }
    this.out = null
    if (leaving < out.end) {
      const rest = this.out = this.pool.take()
      if (rest.bytes.length < out.end - leaving) this.out = createOutput(2 * (out.end - leaving))
      this.out.bytes.set(out.bytes.subarray(leaving, out.end))
      this.out.end = out.end - leaving
      for (let i = 0; i < this.holds; i++) starts[i]! -= leaving
    }
    this.inFlight = out
    this.link.write(out.bytes, leaving)
    // Mostly the system has taken all of it by now, and the buffer serves the next connection.
    if (this.link.queuedBytes === 0) this.written()
    return leaving
  }

  /** The link has given everything to the system. */
  written(): void {
    if (this.inFlight === null) return
    this.pool.give(this.inFlight)
    this.inFlight = null
  }

  /** Forgets everything; what is in flight belongs to the link. */
  clear(): void {
    this.drop()
    this.inFlight = null
    this.holds = 0
  }

  private drop(): void {
    if (this.out !== null) this.pool.give(this.out)
    this.out = null
  }

  /** Strikes out the tickets that have been applied. Returns where the first of the others begins. */
  private release(applied: number): number {
    const { starts, tickets, holds } = this
    let done = 0
    while ((applied - tickets[done]! | 0) >= 0) done++
    tickets.copyWithin(0, done, holds)
    starts.copyWithin(0, done, holds)
    this.holds = holds - done
    return starts[0]!
  }
}
