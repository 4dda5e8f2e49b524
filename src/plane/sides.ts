/** Decides by which side of the box a frame of a capture came in. */
import type { InsidePrefixes } from '../engine/options.ts'
import { NET_IPV4, NET_IPV6, SIDE_INSIDE, SIDE_OUTSIDE, type Frames } from '../wire/frames.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'

export interface Sides {
  /** A source that is inside comes from inside by definition, so nothing can be spoofed. */
  readonly isBySource: boolean
  /** Sets `side` of the rows below `count`, whose `net` and `l3` are set. */
  decide(count: number): void
}

/** By source address: inside if a prefix holds it. What has no address came from outside. */
export function sidesBySource(frames: Frames, inside: Pick<InsidePrefixes, 'count4' | 'has6'>): Sides {
  const { view, off, capBytes, net, l3, side } = frames
  const { count4, has6 } = inside

  function decide(count: number): void {
    for (let i = 0; i < count; i++) {
      const p = l3[i]
      const present = off[i] + capBytes[i] - p
      if (net[i] === NET_IPV4 && present >= ipv4.HEADER_BYTES) side[i] = SIDE_OUTSIDE - count4(ipv4.src(view, p))
      else side[i] = net[i] === NET_IPV6 && present >= ipv6.HEADER_BYTES && isInside6(p) ? SIDE_INSIDE : SIDE_OUTSIDE
    }
  }

  function isInside6(p: number): boolean {
    return has6(ipv6.srcWord(view, p, 0), ipv6.srcWord(view, p, 1), ipv6.srcWord(view, p, 2), ipv6.srcWord(view, p, 3))
  }

  return { isBySource: true, decide }
}

/** By capture interface: `isInside(id)` is asked once for each interface. */
export function sidesByInterface(frames: Frames, isInside: (id: number) => boolean): Sides {
  const { iface, side } = frames
  const known: number[] = []

  function decide(count: number): void {
    for (let i = 0; i < count; i++) {
      const id = iface[i]
      known[id] ??= isInside(id) ? SIDE_INSIDE : SIDE_OUTSIDE
      side[i] = known[id]
    }
  }

  return { isBySource: false, decide }
}
