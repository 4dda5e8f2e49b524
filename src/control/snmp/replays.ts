/**
 * SETs that were carried out, by their MACs, so that none is carried out twice. The time window of USM lets a message come again
 * for five minutes; remembering all of them would take unbounded memory. So the oldest are forgotten when there are too many, and
 * messages from before what was forgotten are refused as if the window ended there: their senders ask for the time and send
 * again.
 */

/** Octets of a MAC that tell messages apart: 52 bits. */
const HIGH_BITS = 20

function keyOf(mac: Uint8Array): number {
  const low = (mac[0]! << 24 | mac[1]! << 16 | mac[2]! << 8 | mac[3]!) >>> 0
  return (mac[4]! << 12 | mac[5]! << 4 | mac[6]! >> 4) % 2 ** HIGH_BITS * 2 ** 32 + low
}

export class SeenSets {
  private readonly keys: Float64Array
  /** Time of the message with that key: snmpEngineTime as its sender thought it is. */
  private readonly times: Float64Array
  private readonly known = new Set<number>()
  private readonly users: string[] = []
  /** Up to which time messages of a user may have been forgotten. */
  private readonly forgotten = new Map<string, number>()
  private next = 0
  private count = 0
  private readonly windowSec: number

  /**
   * @param capacity messages remembered
   * @param windowSec how far a message may be from our time
   */
  constructor(capacity: number, windowSec: number) {
    this.keys = new Float64Array(capacity)
    this.times = new Float64Array(capacity)
    this.windowSec = windowSec
  }

  /** Messages of that user and that time may have been forgotten. */
  isForgotten(user: string, time: number): boolean { return time <= (this.forgotten.get(user) ?? -1) }

  /** Remembers a message, of at least 7 octets of MAC. False: it has come before. `now` is our own time. */
  add(user: string, mac: Uint8Array, time: number, now: number): boolean {
    const key = keyOf(mac)
    if (this.known.has(key)) return false
    const capacity = this.keys.length
    if (this.count === capacity) this.forget(now)
    this.keys[this.next] = key
    this.times[this.next] = time
    this.users[this.next] = user
    this.next = (this.next + 1) % capacity
    this.count++
    this.known.add(key)
    return true
  }

  /** The oldest; the window refuses it by itself if it is old enough. */
  private forget(now: number): void {
    const { keys, times } = this
    const oldest = (this.next - this.count + keys.length) % keys.length
    this.known.delete(keys[oldest]!)
    this.count--
    const user = this.users[oldest]!, time = times[oldest]!
    if (time >= now - this.windowSec) this.forgotten.set(user, Math.max(this.forgotten.get(user) ?? -1, time))
  }
}
