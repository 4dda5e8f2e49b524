/** A network interface as the turn of a live box sees it: batches in, batches out, and nothing that waits. */

/** Counts of one interface; where the driver writes them, in this order. */
export const DEVICE_COUNTERS = [
  'received-frames', 'received-bytes',
  /** Of a VLAN that is none of ours: they belong to another interface. */
  'tagged-frames',
  /** Where a VLAN is ours: without a tag, or with one that has a priority and no VLAN (802.1Q 6.9.1). */
  'untagged-frames', 'priority-tagged-frames',
  /** With a tag of a provider's (802.1ad), whatever its number. */
  'service-tagged-frames',
  /** Longer than the MTU, and nothing that can be cut. */
  'oversized-frames',
  /** Joined by a sender (TSO, USO of the other end of a veth pair), and cut into frames, each of which counts as received. */
  'segmented-frames',
  /** Longer than the MTU too, and lost: they found no room, or were the first, which only shows that somebody joins. */
  'unsegmented-frames',
  /** Their checksum was left to hardware by who sent them, and is filled in. */
  'completed-checksums',
  /** Came while the ring was full. */
  'ring-full-frames',
  'sent-frames', 'sent-bytes',
  /** Did not leave: the ring was full. */
  'send-full-frames',
  'send-errors',
] as const
export type DeviceCounter = (typeof DEVICE_COUNTERS)[number]

export interface Device {
  /** Of the interface, with the VLAN if it has one. */
  readonly name: string
  /** Which driver has it, and how, as in `packet`, or `xdpdrv, copied`: for people. */
  readonly driver: string
  /** Six octets. */
  readonly mac: readonly number[]
  /** Bytes of a packet. */
  readonly mtu: number
  /**
   * Fills rows from `from` on with frames that have come, at most `most`: offset, lengths, link type, interface. Returns how many;
   * never waits. They stay where they are until `release`.
   */
  receive(from: number, most: number): number
  /**
   * Waits, on the processor, until frames have come to this device or another one of its driver, or for so many nanoseconds: a bit
   * for each, by its place among them, that has some. Absent: its frames come by the event loop.
   */
  spin?(ns: number): number
  /** Ends the life of all frames that `receive` gave. What was sent of them has to be flushed before. */
  release(): void
  /** Takes a frame to send. It stays valid until `flush` if it lies in memory of a device, else it is copied at once. */
  send(off: number, bytes: number): void
  /** Copies what was taken; then the frames may be released. */
  flush(): void
  /** Has each `flush` show what it takes, as pairs of offset and length in `list`, to whoever records; null: to nobody. */
  onSent(see: ((list: Int32Array, frames: number) => void) | null): void
  /** Has the system send it, and what was not flushed. True: it could not send all, and has to be asked again. */
  kick(): boolean
  /** Calls what `onWake` was given once frames wait, or the interface fails. */
  arm(): void
  /** Not any more: while that is due, each frame costs the system a little more. */
  disarm(): void
  onWake(wake: (hasFailed: boolean) => void): void
  /** Of a driver whose frames come by the event loop, which it may keep to itself: has it call `turn` when many frames wait. */
  onFull?(turn: () => void): void
  /** Why the interface failed, if it did since the last call. */
  failure(): string | undefined
  /** Is the interface no more, which it was opened with? Of a driver that opens the next one itself: never. */
  isRemoved(): boolean
  /** Goes on with the interface that has its name now. What waited to be sent is lost. Absent: it cannot. @throws DeviceError */
  renew?(): void
  /** The count of oversized frames alone, which costs nothing. */
  oversized(): number
  /** In the order of DEVICE_COUNTERS, as of now. */
  counters(): Float64Array
  close(): void
}

/** Why an interface cannot be used: `message` is for people. */
export class DeviceError extends Error {
  readonly code: 'driver-absent' | 'no-interface' | 'not-permitted' | 'not-ethernet' | 'interface-down' | 'no-memory' | 'system'
  constructor(code: DeviceError['code'], message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.name = 'DeviceError'
    this.code = code
  }
}
