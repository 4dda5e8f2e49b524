/**
 * Two links with hands on them, for tests: what the box sends on each, and what it hears. Inside is 10.0.0.1/24 and 2001:db8:1::1,
 * outside 203.0.113.1/24 and 2001:db8:2::1, with a gateway 203.0.113.254.
 */
import { createPrefixSet, parseAddress, parsePrefix, printAddress } from '../base/address.ts'
import * as arp from '../wire/arp.ts'
import { BROADCAST, NOBODY } from '../wire/ethernet.ts'
import { LINK_ETHERNET, SIDE_INSIDE, SIDE_OUTSIDE, createFrames, type Frames } from '../wire/frames.ts'
import * as ndp from '../wire/ndp.ts'
import { createIcmpErrors } from './errors.ts'
import { createLiveCounters, liveCounterIndex, type LiveCounter } from './live-counters.ts'
import { createNeighbours, NEIGHBOUR_SCRATCH_BYTES, type LinkEnd, type Neighbours } from './neighbours.ts'
import { createOwn, OWN_SCRATCH_BYTES, type Own, type OwnAddress } from './own.ts'
import { createRoutes, type Route } from './routes.ts'

export const MACS = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]] as const
export const HOST_MAC = [2, 0, 0, 0, 0, 9]
/** Room for what a test puts into the pool by itself. */
const ROOM_BYTES = 65_536, QUEUE_BYTES = 1536

export function words(text: string): Int32Array {
  const parsed = parseAddress(text)
  if (!parsed.ok) throw new Error(text)
  return parsed.value.words
}

export function route(side: number, prefix: string, via?: string): Route {
  const parsed = parsePrefix(prefix)
  if (!parsed.ok) throw new Error(prefix)
  const { version, words: network, prefixBits } = parsed.value
  return { side, version, words: network, prefixBits, via: via === undefined ? null : words(via) }
}

export interface LinkRigOptions {
  most?: number
  queueFrames?: number
  addresses?: readonly Partial<OwnAddress>[]
  shown?: [number[], number[]]
  errorsPermitted?: boolean
}

export interface LinkRig {
  frames: Frames
  neighbours: Neighbours
  /** By SIDE_ constant. */
  ends: [LinkEnd, LinkEnd]
  own: Own
  /** Frames that left, by side, since the last look. */
  sent(side: number): Uint8Array[]
  count(name: LiveCounter): number
  conflicts: string[]
  /** Sends an IP packet as the packet path would. */
  send(side: number, packet: Uint8Array): void
  /** Rows of Ethernet frames, with the side each came by; what is left of them, as frames. */
  hear(nowMs: number, ...heard: [side: number, frame: Uint8Array][]): Uint8Array[]
}

const OWN: [number, string][] = [
  [SIDE_INSIDE, '10.0.0.1'], [SIDE_INSIDE, '2001:db8:1::1'], [SIDE_INSIDE, 'fe80::1'],
  [SIDE_OUTSIDE, '203.0.113.1'], [SIDE_OUTSIDE, '2001:db8:2::1'], [SIDE_OUTSIDE, 'fe80::2'],
]

export function createLinkRig(options: LinkRigOptions = {}): LinkRig {
  const { most = 64, queueFrames = 32 } = options
  const queueStart = ROOM_BYTES, scratchStart = queueStart + queueFrames * QUEUE_BYTES
  const ownStart = scratchStart + NEIGHBOUR_SCRATCH_BYTES
  const frames = createFrames({ capacity: 64, poolBytes: ownStart + OWN_SCRATCH_BYTES })
  const counters = createLiveCounters()
  const sent: Uint8Array[][] = [[], []]
  const end = (side: number, source4: string, source6: string): LinkEnd => ({
    mac: MACS[side], source4: () => words(source4)[0], source6: words(source6),
    send(off, bytes) { sent[side].push(frames.pool.slice(off, off + bytes)) },
  })
  const ends: LinkRig['ends'] = [end(SIDE_INSIDE, '10.0.0.1', 'fe80::1'), end(SIDE_OUTSIDE, '203.0.113.1', 'fe80::2')]
  const routes = createRoutes([
    route(SIDE_INSIDE, '10.0.0.0/24'), route(SIDE_INSIDE, '2001:db8:1::/64'), route(SIDE_OUTSIDE, '203.0.113.0/24'),
    route(SIDE_OUTSIDE, '2001:db8:2::/64'), route(SIDE_OUTSIDE, '0.0.0.0/0', '203.0.113.254'),
  ])
  const neighbours = createNeighbours({
    frames, counters, routes, ends, most, queueFrames, queueBytes: QUEUE_BYTES, queueStart, scratchStart,
  })
  const conflicts: string[] = []
  const inside = ['10.0.0.0/24', '2001:db8:1::/64'].map((text) => ({ ...route(0, text), hostBits: false }))
  const own = createOwn({
    frames, counters, ends, neighbours, routes, shown: options.shown ?? [[], [words('203.0.113.2')[0]]], scratchStart: ownStart,
    addresses: OWN.map(([side, text], i): OwnAddress => ({
      side, version: text.includes(':') ? 6 : 4, words: words(text), isKernels: false, isShared: false, ...options.addresses?.[i],
    })),
    inside: createPrefixSet(inside), errors: createIcmpErrors(frames, () => options.errorsPermitted ?? true),
    onConflict: (address) => { conflicts.push(printAddress(address)) },
  })

  function put(at: number, bytes: Uint8Array): void {
    frames.pool.set(bytes, at)
  }

  return {
    frames, neighbours, ends, own, conflicts,
    sent: (side) => sent[side].splice(0),
    count: (name) => counters[liveCounterIndex(name)],
    send(side, packet) {
      put(64, packet)
      neighbours.send(side, 64, packet.length)
    },
    hear(nowMs, ...heard) {
      let at = 64
      for (const [i, [side, frame]] of heard.entries()) {
        put(at, frame)
        frames.off[i] = at
        frames.capBytes[i] = frames.wireBytes[i] = frame.length
        frames.link[i] = LINK_ETHERNET
        frames.iface[i] = side
        at += frame.length + 64
      }
      const kept = own.take(heard.length, nowMs)
      return Array.from({ length: kept }, (_, i) => frames.pool.slice(frames.off[i], frames.off[i] + frames.capBytes[i]))
    },
  }
}

export function ethernet(dst: readonly number[], src: readonly number[], type: number, payload: Uint8Array): Uint8Array {
  return Uint8Array.from([...dst, ...src, type >>> 8, type & 255, ...payload])
}

export function arpFrame(
  operation: number, sender: string, target: string, mac = HOST_MAC, to: readonly number[] = BROADCAST,
): Uint8Array {
  const bytes = new Uint8Array(arp.PACKET_BYTES)
  const [senderAddr] = words(sender), [targetAddr] = words(target)
  arp.emit({ operation, senderMac: mac, senderAddr, targetMac: NOBODY, targetAddr }, new DataView(bytes.buffer), 0)
  return ethernet(to, mac, 0x0806, bytes)
}

export function ndpFrame(type: number, src: string, dst: string, target: string, flags = 0, mac = HOST_MAC): Uint8Array {
  const bytes = new Uint8Array(ndp.PACKET_BYTES)
  ndp.emit({ type, src: words(src), dst: words(dst), target: words(target), flags, mac }, new DataView(bytes.buffer), 0)
  return ethernet([0x33, 0x33, 0, 0, 0, 1], mac, 0x86dd, bytes)
}

/** What an ARP frame says, or null if it is none. */
export function readArp(frame: Uint8Array): arp.Repr | null {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  return view.getUint16(12) === 0x0806 ? arp.parse(view, 14) : null
}
