/** Counts of a live box beside those of the packet path: what is its own to answer, and its neighbours. */
const NAMES = [
  'arp-requests', 'arp-replies', 'arp-replies-sent', 'arp-packets-bad',
  'neighbour-messages', 'advertisements-sent', 'neighbour-messages-bad',
  'solicitations-sent', 'neighbours-resolved', 'neighbours-failed', 'neighbours-current',
  /** There was no room to ask for one more. */
  'neighbours-full',
  'neighbour-queue-drops', 'no-route-packets', 'unreachable-errors', 'address-conflicts',
  'echo-requests', 'own-packets-refused',
  /** To an address that the kernel has too, which answers. */
  'kernel-packets',
  /** With a tag behind the one of their VLAN, or of a kind that has no name: whose they are cannot be told. */
  'stacked-tag-frames',
  /** To another worker, from one, and lost on the way. */
  'handed-on-frames', 'taken-over-frames', 'handover-drops',
  /** Fragments that came before the first one of their datagram: no room, or it did not come. */
  'early-fragment-drops',
] as const

export type LiveCounter = (typeof NAMES)[number]
export const LIVE_COUNTERS: readonly LiveCounter[] = NAMES

export function liveCounterIndex(name: LiveCounter): number {
  return NAMES.indexOf(name)
}

export function createLiveCounters(): Float64Array {
  return new Float64Array(NAMES.length)
}
