/**
 * Frames that leave because of a packet, besides that packet: held fragments that its arrival releases, and the ICMP error it
 * provokes. They lie in the engine's own part of the frame pool and are valid until the next row is decided.
 */
import type { Frames } from '../wire/frames.ts'

/** A whole frame, with the link header it came with. */
export const EXTRA_RELEASED = 0
/** A network packet of our own, without a link header. */
export const EXTRA_REPLY = 1
/** The same about a frame that came some time ago: see `Engine.late`. */
export const EXTRA_LATE_REPLY = 2

/** A further piece of a packet, or of a held fragment, that was cut for the link it leaves by. With the link header, as above. */
export const EXTRA_PIECE = 3

/** Room for one held frame: a jumbo frame's packet, and its link header with as many tags as are read. */
export const HOLD_NET_BYTES = 9216
export const HOLD_LINK_BYTES = 64
export const HOLD_BYTES = HOLD_NET_BYTES + HOLD_LINK_BYTES
/** Room for one ICMP error of ours. */
export const REPLY_BYTES = 1280
/** Most pieces of one datagram, and one reply. */
export const LEAST_FRAMES = 65

export interface Extras {
  count(): number
  readonly kind: Uint8Array
  readonly verdict: Uint8Array
  readonly off: Int32Array
  readonly l3: Int32Array
  readonly capBytes: Int32Array
  readonly wireBytes: Int32Array
  readonly link: Int32Array
  readonly iface: Int32Array
}

export interface ExtrasStore extends Extras {
  push(
    kind: number, verdict: number, off: number, l3: number, capBytes: number, wireBytes: number, link: number, iface: number,
  ): void
  clear(): void
  /** Takes out what has this verdict; the others keep their order. */
  drop(verdict: number): void
}

/** @param more frames beside the pieces of a datagram and a reply */
export function createExtras(more = 0): ExtrasStore {
  let count = 0
  const most = LEAST_FRAMES + more
  const column = () => new Int32Array(most)
  const store = {
    kind: new Uint8Array(most), verdict: new Uint8Array(most), off: column(), l3: column(), capBytes: column(),
    wireBytes: column(), link: column(), iface: column(),
  }
  function push(
    kind: number, verdict: number, off: number, l3: number, capBytes: number, wireBytes: number, link: number, iface: number,
  ): void {
    store.kind[count] = kind
    store.verdict[count] = verdict
    store.off[count] = off
    store.l3[count] = l3
    store.capBytes[count] = capBytes
    store.wireBytes[count] = wireBytes
    store.link[count] = link
    store.iface[count] = iface
    count++
  }
  function drop(verdict: number): void {
    const all = count
    count = 0
    for (let n = 0; n < all; n++) {
      if (store.verdict[n] === verdict) continue
      push(store.kind[n], store.verdict[n], store.off[n], store.l3[n], store.capBytes[n], store.wireBytes[n], store.link[n],
        store.iface[n])
    }
  }
  return { ...store, push, drop, count: () => count, clear: () => { count = 0 } }
}

/** Copies bytes inside the pool without allocating. */
export function copyBytes(frames: Frames, from: number, to: number, bytes: number): void {
  frames.pool.copyWithin(to, from, from + bytes)
}
