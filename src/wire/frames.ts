/**
 * A batch of frames: bytes stay where the device put them, in one pool; a frame is a row of numbers. Devices fill the
 * first group of columns, the link layer the second, the engine the third. Columns are typed arrays and the pool has one
 * `DataView`, made once, so that the code that closes over them can be compiled with their addresses known.
 */

/** Link types as pinhole numbers them inside a batch. Values are libpcap's LINKTYPE_ numbers, all below 512. */
export const LINK_NULL = 0
export const LINK_ETHERNET = 1
export const LINK_RAW = 101
export const LINK_LOOP = 108
export const LINK_LINUX_SLL = 113
export const LINK_IPV4 = 228
export const LINK_IPV6 = 229
export const LINK_LINUX_SLL2 = 276

/** Which interface of the box a frame came in by. */
export const SIDE_INSIDE = 0
export const SIDE_OUTSIDE = 1

/** What the link header says of its payload. The four below NET_IPV4 never reach the engine. */
export const NET_LINK_UNSUPPORTED = 0
export const NET_LINK_TRUNCATED = 1
export const NET_NOT_IP = 2
export const NET_ARP = 3
export const NET_IPV4 = 4
export const NET_IPV6 = 6

/** Verdicts: where the frame goes. A held fragment gets its verdict later. */
export const DROP = 0
export const TO_INSIDE = 1
export const TO_OUTSIDE = 2
export const HELD = 3

export interface Frames {
  /** Every byte of every frame, and scratch space of the device. */
  readonly pool: Uint8Array
  /** Over the pool and `POOL_SLACK_BYTES` more: code that reads a fixed few bytes on, only to mask them out, need not ask. */
  readonly view: DataView
  /** Most frames in a batch. */
  readonly capacity: number

  /* Filled by the device. */
  /** Offset of the first byte of the frame. */
  readonly off: Int32Array
  /** Bytes present at `off`. */
  readonly capBytes: Int32Array
  /** Bytes the frame had on the wire, ≥ capBytes (a capture's snap length cuts). */
  readonly wireBytes: Int32Array
  /** LINK_ constant, or any other LINKTYPE_ number, which is then unsupported. */
  readonly link: Int32Array
  /** Capture interface the frame was seen on, counted from 0 over all sections of a file. */
  readonly iface: Int32Array
  /** Time stamp: seconds since 1970 and nanoseconds 0 … 999,999,999. */
  readonly sec: Float64Array
  readonly nsec: Int32Array

  /* Filled by the link layer and by whoever decides sides. */
  /** NET_ constant. */
  readonly net: Uint8Array
  /** Offset of the network header, valid for NET_IPV4 and NET_IPV6. */
  readonly l3: Int32Array
  /** 1 if the link header is addressed to a group or to all, else 0. */
  readonly group: Uint8Array
  /** SIDE_ constant. */
  readonly side: Uint8Array

  /* Filled by the engine. */
  /** DROP, TO_INSIDE, TO_OUTSIDE or HELD. */
  readonly verdict: Uint8Array
  /** Index into the list of drop reasons, when the verdict is DROP. */
  readonly reason: Uint8Array
  /** Bytes of the network packet by its own length field: what follows in the frame is padding. */
  readonly netBytes: Int32Array
}

export interface FramesOptions {
  /** Most frames in a batch. */
  capacity: number
  /** Size of the pool in bytes, at most 2^30. */
  poolBytes: number
  /** Memory for it, of `poolBytes + POOL_SLACK_BYTES`, where a device has its own; absent: it is made. */
  buffer?: ArrayBufferLike
}

export const POOL_SLACK_BYTES = 64

export function createFrames(options: FramesOptions): Frames {
  const { capacity, poolBytes, buffer = new ArrayBuffer(poolBytes + POOL_SLACK_BYTES) } = options
  const column = () => new Int32Array(capacity)
  return {
    pool: new Uint8Array(buffer, 0, poolBytes), view: new DataView(buffer), capacity,
    off: column(), capBytes: column(), wireBytes: column(), link: column(), iface: column(),
    sec: new Float64Array(capacity), nsec: column(),
    net: new Uint8Array(capacity), l3: column(), group: new Uint8Array(capacity), side: new Uint8Array(capacity),
    verdict: new Uint8Array(capacity), reason: new Uint8Array(capacity), netBytes: column(),
  }
}
